//! What FETCH answers for one message (RFC 9051 7.5.2).
//!
//! Invariants: asks for no more of a message than its items need, and for nothing that rows tell; a
//! message that is fetched raw and whole is never held here, it goes from the store to the client.
//! Not here: which messages, `\Seen`, and the tagged answer (`session`).

use std::borrow::Cow;
use std::sync::Arc;

use grace_mail::mime::{Kind, Tree};
use grace_mail::section::{self, Section, What};
use grace_mail::transfer;

use crate::command::{FetchItem, SectionSpelling};
use crate::date::DateTime;
use crate::facts::{self, Shape};
use crate::machine::{Beside, Message, Need, PreviewOf, Wanted};
use crate::response::Out;
use crate::rows::Row;
use crate::structure;

/// How much of a message these items need; `None`: the view knows it all.
pub fn need(items: &[FetchItem]) -> Option<Need> {
    items.iter().filter_map(item_need).max()
}

fn item_need(item: &FetchItem) -> Option<Need> {
    match item {
        FetchItem::Flags | FetchItem::Uid | FetchItem::ModSeq => None,
        FetchItem::InternalDate
        | FetchItem::Size
        | FetchItem::SaveDate
        | FetchItem::EmailId
        | FetchItem::ThreadId
        | FetchItem::Preview { .. } => Some(Need::Facts),
        FetchItem::Envelope => Some(Need::Header),
        FetchItem::Section { section, .. } if is_raw(section) => Some(Need::Held),
        FetchItem::Section { section, .. } if section.path.is_empty() => match section.what {
            What::Header | What::Fields(_) | What::FieldsNot(_) => Some(Need::Header),
            What::Whole | What::Text | What::Mime => Some(Need::Whole),
        },
        _ => Some(Need::Whole),
    }
}

/// What rows tell of all that these items need; `None`: it takes the message, or nothing at all.
pub fn wanted(items: &[FetchItem]) -> Option<Wanted> {
    need(items)?;
    let mut wanted = Wanted::default();
    for item in items {
        match item {
            FetchItem::Envelope | FetchItem::Body | FetchItem::BodyStructure => wanted.shape = true,
            FetchItem::Section { section: Section { path, what: What::Fields(names) }, .. }
                if path.is_empty() && names.iter().all(|name| facts::keeps(name)) =>
            {
                wanted.fields = true;
            }
            item if item_need(item) > Some(Need::Facts) => return None,
            _ => {}
        }
    }
    Some(wanted)
}

/// What these items need beside rows and bytes.
pub fn beside(items: &[FetchItem]) -> Beside {
    let preview = |item: &FetchItem| match item {
        FetchItem::Preview { lazy: true } => Some(PreviewOf::Kept),
        FetchItem::Preview { lazy: false } => Some(PreviewOf::Any),
        _ => None,
    };
    Beside {
        origin: items.iter().any(|item| matches!(item, FetchItem::SaveDate | FetchItem::EmailId)),
        thread: items.contains(&FetchItem::ThreadId),
        preview: items.iter().filter_map(preview).max(),
    }
}

/// `BODY[]`: the message as it is.
fn is_raw(section: &Section) -> bool {
    section.path.is_empty() && section.what == What::Whole
}

/// Something an item asked for could not be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownEncoding;

/// Which message an answer speaks of.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Its sequence number.
    pub sequence: u32,
    /// The client wants its UID instead (RFC 9586).
    pub uid_only: bool,
    /// It is recent.
    pub is_recent: bool,
}

/// `* n FETCH (…)` of one message on its way out: item by item, so that many items of a large
/// message are never in memory together.
#[derive(Debug)]
pub struct Response {
    place: Place,
    row: Row,
    items: Arc<[FetchItem]>,
    /// So many of them are written.
    written: usize,
    message: Option<Message>,
    tree: Option<Tree>,
    known: Result<(), UnknownEncoding>,
}

impl Response {
    /// What is to be written; `message` holds what [`need`] asked for.
    pub fn new(place: Place, row: Row, items: Arc<[FetchItem]>, message: Option<Message>) -> Self {
        let told = message.as_ref().unwrap_or(&NOTHING);
        let tree = match need(&items) {
            // What the shape tells needs no parts.
            Some(Need::Header | Need::Whole)
                if told.shape.is_none() || items.iter().any(is_section) =>
            {
                Some(Tree::parse(&told.bytes))
            }
            _ => None,
        };
        Self { place, row, items, written: 0, message, tree, known: Ok(()) }
    }

    /// Writes one item more, or as many as are made of nothing large. True: it was the last.
    pub fn go_on(&mut self, out: &mut Out) -> bool {
        let message = self.message.as_ref().unwrap_or(&NOTHING);
        if self.written == 0 {
            out.fetch_head(self.place.uid_only, self.place.sequence, self.row.uid);
        }
        while let Some(item) = self.items.get(self.written) {
            out.raw(if self.written == 0 { "" } else { " " });
            self.written += 1;
            if *item == FetchItem::Flags {
                out.raw("FLAGS ").flags(&self.row.flags, self.place.is_recent);
                continue;
            }
            let written = one_item(out, &self.row, item, message, self.tree.as_ref());
            self.known = self.known.and(written);
            let is_large =
                message.bytes.len() >= LARGE_BYTES && item_need(item) > Some(Need::Facts);
            if is_large && self.written < self.items.len() {
                return false;
            }
        }
        out.say(")");
        true
    }

    /// Whether all items could be given.
    ///
    /// # Errors
    /// A BINARY part has an encoding nobody knows; its place holds NIL.
    pub fn ends(self) -> Result<(), UnknownEncoding> {
        self.known
    }
}

/// From so many bytes on each item of a message is written by itself.
const LARGE_BYTES: usize = 256 * 1024;

const NO_DATE: DateTime = DateTime { time_s: 0, zone_min: 0 };

static NOTHING: Message = Message {
    date: NO_DATE,
    saved: NO_DATE,
    email_id: String::new(),
    thread_id: String::new(),
    preview: None,
    size: 0,
    bytes: Vec::new(),
    shape: None,
};

fn is_section(item: &FetchItem) -> bool {
    matches!(item, FetchItem::Section { .. })
}

/// Writes an item that the shape tells; false: it is another one.
fn by_shape(out: &mut Out, item: &FetchItem, shape: &Shape) -> bool {
    match item {
        FetchItem::Envelope => out.raw("ENVELOPE ").raw_bytes(&shape.envelope),
        FetchItem::Body => out.raw("BODY ").raw_bytes(&shape.body()),
        FetchItem::BodyStructure => out.raw("BODYSTRUCTURE ").raw_bytes(&shape.structure),
        _ => return false,
    };
    true
}

fn one_item(
    out: &mut Out,
    row: &Row,
    item: &FetchItem,
    message: &Message,
    tree: Option<&Tree>,
) -> Result<(), UnknownEncoding> {
    if message.shape.as_ref().is_some_and(|shape| by_shape(out, item, shape)) {
        return Ok(());
    }
    let raw = message.bytes.as_slice();
    match (item, tree) {
        (FetchItem::Uid, _) => {
            out.raw("UID ").number(u64::from(row.uid));
        }
        (FetchItem::ModSeq, _) => {
            out.raw("MODSEQ (").number(row.modseq).raw(")");
        }
        (FetchItem::InternalDate, _) => {
            out.raw(&format!("INTERNALDATE \"{}\"", message.date));
        }
        (FetchItem::SaveDate, _) => {
            out.raw(&format!("SAVEDATE \"{}\"", message.saved));
        }
        (FetchItem::EmailId, _) => {
            out.raw("EMAILID (").raw(&message.email_id).raw(")");
        }
        (FetchItem::ThreadId, _) => {
            match message.thread_id.as_str() {
                "" => out.raw("THREADID NIL"),
                id => out.raw("THREADID (").raw(id).raw(")"),
            };
        }
        (FetchItem::Preview { .. }, _) => {
            out.raw("PREVIEW ");
            match &message.preview {
                Some(preview) => out.string(preview.as_bytes()),
                // RFC 8970 3.1: LAZY, and there is none yet.
                None => out.raw("NIL"),
            };
        }
        (FetchItem::Size, _) => {
            out.raw("RFC822.SIZE ").number(message.size);
        }
        (FetchItem::Section { section, spelling, partial, .. }, _) if is_raw(section) => {
            section_label(out, section, *spelling, *partial);
            let (start, length) = cut(message.size, *partial);
            out.literal_head(length).message(row.uid, start, length);
        }
        (FetchItem::Envelope, Some(tree)) => {
            out.raw("ENVELOPE ");
            structure::envelope(out, raw.get(tree.root().header.clone()).unwrap_or_default());
        }
        (FetchItem::Body, Some(tree)) => {
            out.raw("BODY ");
            structure::body(out, raw, tree, false);
        }
        (FetchItem::BodyStructure, Some(tree)) => {
            out.raw("BODYSTRUCTURE ");
            structure::body(out, raw, tree, true);
        }
        (FetchItem::Section { section, spelling, partial, .. }, Some(tree)) => {
            section_label(out, section, *spelling, *partial);
            match section.bytes(raw, tree) {
                Some(bytes) => out.literal(slice(&bytes, *partial)),
                None => out.raw("NIL"),
            };
        }
        (FetchItem::Binary { part, partial, .. }, Some(tree)) => {
            out.raw("BINARY").raw(&path(part)).raw(&origin(*partial)).raw(" ");
            let bytes = decoded(raw, tree, part);
            match &bytes {
                Ok(Some(bytes)) => binary(out, slice(bytes, *partial)),
                Ok(None) | Err(_) => {
                    out.raw("NIL");
                }
            }
            bytes?;
        }
        (FetchItem::BinarySize(part), Some(tree)) => {
            let bytes = decoded(raw, tree, part);
            let size = bytes.as_ref().ok().and_then(Option::as_ref).map_or(0, |b| b.len());
            out.raw("BINARY.SIZE").raw(&path(part)).raw(" ").number(size as u64);
            bytes?;
        }
        // Flags were written; `need` asks for the bytes that the others are made of.
        (FetchItem::Flags, _) | (_, None) => {}
    }
    Ok(())
}

/// RFC 9051 9: literal8 where the bytes hold NUL.
fn binary(out: &mut Out, bytes: &[u8]) {
    if bytes.contains(&0) {
        out.raw("~");
    }
    out.literal(bytes);
}

/// A part without its transfer encoding; `None`: there is no such part.
fn decoded<'a>(
    raw: &'a [u8],
    tree: &Tree,
    path: &[u32],
) -> Result<Option<Cow<'a, [u8]>>, UnknownEncoding> {
    const KNOWN: [&[u8]; 5] = [b"7bit", b"8bit", b"binary", b"base64", b"quoted-printable"];
    if path.is_empty() {
        return Ok(Some(Cow::Borrowed(raw)));
    }
    let Some(part) = section::part(tree, path) else { return Ok(None) };
    let body = raw.get(part.body.clone()).unwrap_or_default();
    // RFC 2045 6.4: a composite part has no encoding of its own.
    let encoding = part.media.encoding.as_deref().filter(|_| part.kind == Kind::Leaf);
    match encoding {
        Some(name) if !KNOWN.iter().any(|known| known.eq_ignore_ascii_case(name)) => {
            Err(UnknownEncoding)
        }
        encoding => Ok(Some(transfer::decode(encoding, body))),
    }
}

/// Offset and length of a partial within `size` bytes (RFC 9051 6.4.5: what lies beyond is empty).
fn cut(size: u64, partial: Option<(u64, u64)>) -> (u64, u64) {
    let (start, length) = partial.unwrap_or((0, size));
    let start = start.min(size);
    (start, length.min(size - start))
}

fn slice(bytes: &[u8], partial: Option<(u64, u64)>) -> &[u8] {
    let (start, length) = cut(bytes.len() as u64, partial);
    let bounds = usize::try_from(start).ok().zip(usize::try_from(start + length).ok());
    bounds.and_then(|(start, end)| bytes.get(start..end)).unwrap_or_default()
}

fn origin(partial: Option<(u64, u64)>) -> String {
    partial.map_or_else(String::new, |(start, _)| format!("<{start}>"))
}

fn path(part: &[u32]) -> String {
    let numbers: Vec<String> = part.iter().map(u32::to_string).collect();
    format!("[{}]", numbers.join("."))
}

fn section_label(
    out: &mut Out,
    section: &Section,
    spelling: SectionSpelling,
    partial: Option<(u64, u64)>,
) {
    match spelling {
        SectionSpelling::Rfc822 => out.raw("RFC822 "),
        SectionSpelling::Rfc822Header => out.raw("RFC822.HEADER "),
        SectionSpelling::Rfc822Text => out.raw("RFC822.TEXT "),
        SectionSpelling::Body => {
            out.raw("BODY[");
            let numbers: Vec<String> = section.path.iter().map(u32::to_string).collect();
            out.raw(&numbers.join("."));
            let word = match &section.what {
                What::Whole => "",
                What::Header => "HEADER",
                What::Fields(_) => "HEADER.FIELDS",
                What::FieldsNot(_) => "HEADER.FIELDS.NOT",
                What::Text => "TEXT",
                What::Mime => "MIME",
            };
            out.raw(if numbers.is_empty() || word.is_empty() { "" } else { "." }).raw(word);
            if let What::Fields(names) | What::FieldsNot(names) = &section.what {
                out.raw(" (");
                for (place, name) in names.iter().enumerate() {
                    out.raw(if place == 0 { "" } else { " " });
                    field_name(out, name);
                }
                out.raw(")");
            }
            out.raw("]").raw(&origin(partial)).raw(" ")
        }
    };
}

/// A field name as an atom where it is one: that is how clients expect to see it again.
fn field_name(out: &mut Out, name: &[u8]) {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    match std::str::from_utf8(name) {
        Ok(text) if !name.is_empty() && name.iter().all(plain) => out.raw(text),
        _ => out.string(name),
    };
}
