//! What was made of messages once, as rows: header fields, ENVELOPE and BODYSTRUCTURE, what SORT
//! and THREAD compare, and previews.
//!
//! ```text
//!   delivery, APPEND ─▶ made of what is in memory ─┐
//!   COPY, MOVE       ─▶ copied                     ├─▶ one row a kind, in the transaction that
//!   asked for and    ─▶ made of the message's bytes┘   writes the message; those made later in one
//!   not there, or by `chores`                          of their own
//! ```
//! Asked for very many messages it is one walk over rows that lie side by side; nobody opens a
//! message. Invariants: a row goes with its message; what is answered is what the message itself
//! would give, whether there was a row or not; losing such rows loses nothing.
//! Not here: what they hold (`grace_imap::facts`), asking for them (`imap::desk`).

use std::iter::Peekable;

use gracedb::engine::Durability;
use gracedb::error::Error as StoreError;
use gracedb::large::LargeReader;
use gracedb::table::Table;
use gracedb::view::{Rows, Snapshot, View};
use gracedb::write::WriteTx;

use grace_imap::facts::{self, FORMAT, Facts, START_BYTES, Shape, header_end};
use grace_imap::keys::Keys;
use grace_imap::machine::PreviewOf;
use grace_mail::mime::Tree;

use super::Mailboxes;
use crate::store::failure::Failure;
use crate::store::messages::{Bytes, FactKind, FactRow, MessageRow};

/// So many bytes of a header are read at first; nearly all headers fit.
const HEADER_BYTES: usize = 16 * 1024;

/// Answers to one question stop short of this many bytes, after one message at least: rows of 250
/// letters fit, and a header of many megabytes stands alone.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// UIDs are walked over, and not looked for one by one, while there is one message asked for among
/// so many places: a step costs a tenth of a search.
const WALK_SPARSE_MAX: usize = 8;

/// Every kind there is.
const KINDS: [FactKind; 4] = [FactKind::Fields, FactKind::Shape, FactKind::Keys, FactKind::Preview];

/// What is known of one message.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Its UID.
    pub uid: u32,
    /// INTERNALDATE, seconds since 1970 UTC.
    pub internal_date_s: i64,
    /// Offset from UTC to show it with, in minutes.
    pub internal_zone_min: i16,
    /// Its size in bytes.
    pub size: u64,
    /// A header block with the fields of `grace_imap::facts::FIELDS`, if that was asked for.
    pub fields: Vec<u8>,
    /// ENVELOPE and BODYSTRUCTURE, if that was asked for.
    pub shape: Option<Shape>,
    /// What SORT and THREAD compare, if that was asked for.
    pub keys: Option<Keys>,
    /// PREVIEW, if that was asked for, and is there or was to be made.
    pub preview: Option<String>,
}

/// What is asked of each message, beside date and size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Header fields.
    pub fields: bool,
    /// ENVELOPE and BODYSTRUCTURE.
    pub shape: bool,
    /// What SORT and THREAD compare.
    pub keys: bool,
    /// PREVIEW.
    pub preview: Option<PreviewOf>,
}

impl Wanted {
    /// Date and size alone.
    const NOTHING: Self = Self { fields: false, shape: false, keys: false, preview: None };

    /// What is to be made where there is no row.
    fn made(self) -> Self {
        Self { preview: self.preview.filter(|preview| *preview == PreviewOf::Any), ..self }
    }
}

impl Mailboxes {
    /// What is known of messages, by ascending UID, of those that are there; and how many of the
    /// UIDs were looked at, which may be fewer than all where there is much to say.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn facts(
        &self,
        mailbox: u64,
        uids: &[u32],
        wanted: Wanted,
    ) -> Result<(usize, Vec<Known>), Failure> {
        let snapshot = self.db.snapshot();
        let mut looking = Looking::new(&snapshot, mailbox, uids, wanted);
        let (mut known, mut bytes) = (Vec::with_capacity(uids.len()), 0);
        let mut looked_at = 0;
        for &uid in uids {
            if bytes >= ANSWER_BYTES_MAX {
                break;
            }
            looked_at += 1;
            if let Some(one) = looking.at(uid)? {
                bytes += one.fields.len() + one.shape.as_ref().map_or(0, Shape::bytes);
                bytes += one.preview.as_ref().map_or(0, String::len);
                known.push(one);
            }
        }
        self.keep_later(&looking.made);
        Ok((looked_at, known))
    }

    /// Keeps what had to be made of messages' bytes, for the next time.
    fn keep_later(&self, made: &[(MessageRow, Facts)]) {
        if made.is_empty() {
            return;
        }
        let kept = self.db.write_with(Durability::Buffered, |tx| {
            for (message, facts) in made {
                // It may be gone since.
                if tx.contains::<MessageRow>(&(message.mailbox, message.uid))? {
                    add(tx, message, facts)?;
                }
            }
            Ok::<_, Failure>(())
        });
        // Whoever cannot write reads the message again.
        if let Err(error) = kept {
            tracing::debug!(target: "grace", event = "FactsNotKept", %error);
        }
    }
}

/// Rows of one table that are asked for in ascending order.
pub(super) struct Walk<T: Table> {
    rows: Option<Peekable<Rows<T>>>,
}

impl<T: Table> Walk<T> {
    /// Those at these UIDs, which `between` gives from the first to the last.
    pub(super) fn over(uids: &[u32], between: impl FnOnce(u32, u32) -> Rows<T>) -> Self {
        let ends = uids.first().copied().zip(uids.last().copied());
        let ends = ends.filter(|(first, last)| {
            let places = last.checked_sub(*first).map_or(usize::MAX, |span| span as usize);
            places / WALK_SPARSE_MAX <= uids.len() && uids.is_sorted()
        });
        Self { rows: ends.map(|(first, last)| between(first, last).peekable()) }
    }

    /// None: nothing is asked of it.
    fn nothing() -> Self {
        Self { rows: None }
    }

    /// The row at `uid`: by walking there, or else as `get` finds it.
    pub(super) fn at(
        &mut self,
        uid: u32,
        uid_of: impl Fn(&T) -> u32,
        get: impl FnOnce() -> Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let Some(rows) = &mut self.rows else { return get() };
        let is_before =
            |row: &Result<T, StoreError>| row.as_ref().is_ok_and(|row| uid_of(row) < uid);
        while rows.next_if(is_before).is_some() {}
        rows.next_if(|row| row.as_ref().map_or(true, |row| uid_of(row) == uid)).transpose()
    }
}

/// Looks for messages, one after the other.
struct Looking<'a> {
    snapshot: &'a Snapshot,
    mailbox: u64,
    wanted: Wanted,
    messages: Walk<MessageRow>,
    fields: Walk<FactRow>,
    shapes: Walk<FactRow>,
    keys: Walk<FactRow>,
    previews: Walk<FactRow>,
    /// What had to be made.
    made: Vec<(MessageRow, Facts)>,
}

impl<'a> Looking<'a> {
    fn new(snapshot: &'a Snapshot, mailbox: u64, uids: &[u32], wanted: Wanted) -> Self {
        let facts = |kind: FactKind, is_wanted: bool| match is_wanted {
            false => Walk::nothing(),
            true => Walk::over(uids, |first, last| {
                let kind = kind as u8;
                snapshot.range::<FactRow>((mailbox, kind, first)..=(mailbox, kind, last))
            }),
        };
        let fields = facts(FactKind::Fields, wanted.fields);
        let shapes = facts(FactKind::Shape, wanted.shape);
        let keys = facts(FactKind::Keys, wanted.keys);
        let previews = facts(FactKind::Preview, wanted.preview.is_some());
        let messages = match wanted.made() {
            Wanted::NOTHING => Walk::over(uids, |first, last| {
                snapshot.range::<MessageRow>((mailbox, first)..=(mailbox, last))
            }),
            _ => Walk::nothing(),
        };
        let made = Vec::new();
        Self { snapshot, mailbox, wanted, messages, fields, shapes, keys, previews, made }
    }

    /// What is wanted of a message; `None`: it is gone.
    fn at(&mut self, uid: u32) -> Result<Option<Known>, Failure> {
        let mut known = Known::default();
        let (mut lacks, mut is_there) = (self.wanted.made(), false);
        for kind in KINDS {
            if let Some(row) = self.fact(kind, uid)? {
                is_there = true;
                known.add(kind, row, &mut lacks);
            }
        }
        if is_there && lacks == Wanted::NOTHING {
            return Ok(Some(known));
        }
        let (snapshot, mailbox) = (self.snapshot, self.mailbox);
        let get = || snapshot.get::<MessageRow>(&(mailbox, uid));
        let message = match lacks {
            Wanted::NOTHING => self.messages.at(uid, |row| row.uid, get)?,
            _ => get()?,
        };
        let Some(message) = message else { return Ok(None) };
        known.uid = uid;
        known.internal_date_s = message.internal_date_s;
        known.internal_zone_min = message.internal_zone_min;
        known.size = message.size();
        if lacks != Wanted::NOTHING {
            self.make(&mut known, message, lacks)?;
        }
        Ok(Some(known))
    }

    /// A row that is wanted and still counts.
    fn fact(&mut self, kind: FactKind, uid: u32) -> Result<Option<FactRow>, Failure> {
        let Wanted { fields, shape, keys, preview } = self.wanted;
        let (walk, is_wanted) = match kind {
            FactKind::Fields => (&mut self.fields, fields),
            FactKind::Shape => (&mut self.shapes, shape),
            FactKind::Keys => (&mut self.keys, keys),
            FactKind::Preview => (&mut self.previews, preview.is_some()),
        };
        if !is_wanted {
            return Ok(None);
        }
        let (snapshot, mailbox) = (self.snapshot, self.mailbox);
        let get = || snapshot.get::<FactRow>(&(mailbox, kind as u8, uid));
        let row = walk.at(uid, |row| row.uid, get)?;
        Ok(row.filter(|row| row.format == FORMAT))
    }

    /// Makes what is lacking of the message's bytes, and remembers what can be kept of it.
    fn make(
        &mut self,
        known: &mut Known,
        message: MessageRow,
        lacks: Wanted,
    ) -> Result<(), Failure> {
        let mut reader = self.snapshot.open_large(&message.body);
        let (raw, facts) = match lacks {
            Wanted { shape: true, .. } => {
                let size = usize::try_from(message.size()).unwrap_or(usize::MAX);
                let raw = reader.read_all(size)?;
                let facts = Facts::of(&raw);
                (raw, facts)
            }
            Wanted { preview: Some(_), .. } => {
                let raw = read_start(&mut reader)?;
                let facts = Facts::of_start(&raw);
                (raw, facts)
            }
            _ => {
                let raw = read_header(&mut reader)?;
                let facts = Facts::of_header(&raw);
                (raw, facts)
            }
        };
        let block = raw.get(..header_end(&raw, 0).unwrap_or(raw.len())).unwrap_or_default();
        if lacks.shape {
            let shape = facts.shape.clone();
            known.shape = Some(shape.unwrap_or_else(|| facts::shape(&raw, &Tree::parse(&raw))));
        }
        if lacks.fields {
            known.fields = facts.fields.clone().unwrap_or_else(|| block.to_vec());
        }
        if lacks.keys {
            known.keys = Some(Keys::of(known.uid, known.internal_date_s, known.size, block));
        }
        if lacks.preview.is_some() {
            known.preview.clone_from(&facts.preview);
        }
        let can_be_kept = (lacks.fields && facts.fields.is_some())
            || (lacks.shape && facts.shape.is_some())
            || lacks.keys
            || lacks.preview.is_some();
        if can_be_kept {
            self.made.push((message, facts));
        }
        Ok(())
    }
}

impl Known {
    /// Adds what a row tells; what it tells is lacking no more.
    fn add(&mut self, kind: FactKind, row: FactRow, lacks: &mut Wanted) {
        self.uid = row.uid;
        self.internal_date_s = row.internal_date_s;
        self.internal_zone_min = row.internal_zone_min;
        self.size = row.size;
        match kind {
            FactKind::Fields => (self.fields, lacks.fields) = (row.bytes.0, false),
            FactKind::Shape => {
                self.shape = shape_of(&row);
                lacks.shape = self.shape.is_none();
            }
            FactKind::Keys => {
                self.keys = Keys::unpack(row.uid, row.internal_date_s, row.size, &row.bytes.0);
                lacks.keys = self.keys.is_none();
            }
            FactKind::Preview => {
                self.preview = String::from_utf8(row.bytes.0).ok();
                lacks.preview = lacks.preview.filter(|_| self.preview.is_none());
            }
        }
    }
}

/// The shape a row holds.
fn shape_of(row: &FactRow) -> Option<Shape> {
    let (middle, holes) = row.places.split_first()?;
    let middle = usize::try_from(*middle).ok()?;
    let (envelope, structure) = row.bytes.0.split_at_checked(middle)?;
    let extensions = holes.chunks_exact(2).filter_map(|hole| match hole {
        [start, end] => Some((*start, *end)),
        _ => None,
    });
    let extensions = extensions.collect();
    Some(Shape { envelope: envelope.to_vec(), structure: structure.to_vec(), extensions })
}

/// Bytes that facts take in a transaction, roughly.
pub(super) fn bytes_of(facts: &Facts) -> usize {
    let fields = facts.fields.as_ref().map_or(0, Vec::len);
    let keys = facts.keys.as_ref().map_or(0, Vec::len);
    let preview = facts.preview.as_ref().map_or(0, String::len);
    let shape = facts.shape.as_ref().map_or(0, Shape::bytes);
    fields + shape + keys + preview + KINDS.len() * ROW_BYTES
}

/// Bytes of a row beside what it holds.
const ROW_BYTES: usize = 48;

/// Keeps facts of a new message, and none of another one that had its place before a repair.
pub(super) fn keep(
    tx: &mut WriteTx<'_>,
    message: &MessageRow,
    facts: &Facts,
) -> Result<(), Failure> {
    if facts.fields.is_none() {
        forget_kind(tx, message.mailbox, FactKind::Fields, message.uid)?;
    }
    if facts.shape.is_none() {
        forget_kind(tx, message.mailbox, FactKind::Shape, message.uid)?;
    }
    if facts.keys.is_none() {
        forget_kind(tx, message.mailbox, FactKind::Keys, message.uid)?;
    }
    if facts.preview.is_none() {
        forget_kind(tx, message.mailbox, FactKind::Preview, message.uid)?;
    }
    add(tx, message, facts)
}

/// Writes facts of a message beside those that are there.
pub(super) fn add(
    tx: &mut WriteTx<'_>,
    message: &MessageRow,
    facts: &Facts,
) -> Result<(), Failure> {
    let row = |kind: FactKind, bytes: Vec<u8>, places: Vec<u32>| FactRow {
        mailbox: message.mailbox,
        kind: kind as u8,
        uid: message.uid,
        format: FORMAT,
        internal_date_s: message.internal_date_s,
        internal_zone_min: message.internal_zone_min,
        size: message.size(),
        bytes: Bytes(bytes),
        places,
    };
    if let Some(fields) = &facts.fields {
        tx.put(&row(FactKind::Fields, fields.clone(), Vec::new()))?;
    }
    if let Some(keys) = &facts.keys {
        tx.put(&row(FactKind::Keys, keys.clone(), Vec::new()))?;
    }
    if let Some(preview) = &facts.preview {
        tx.put(&row(FactKind::Preview, preview.clone().into_bytes(), Vec::new()))?;
    }
    if let Some(shape) = &facts.shape {
        let middle = u32::try_from(shape.envelope.len()).unwrap_or(u32::MAX);
        let holes = shape.extensions.iter().flat_map(|(start, end)| [*start, *end]);
        let places = std::iter::once(middle).chain(holes).collect();
        let bytes = [shape.envelope.as_slice(), &shape.structure].concat();
        tx.put(&row(FactKind::Shape, bytes, places))?;
    }
    Ok(())
}

/// Forgets the facts of a message that goes.
pub(super) fn forget(tx: &mut WriteTx<'_>, mailbox: u64, uid: u32) -> Result<(), Failure> {
    KINDS.into_iter().try_for_each(|kind| forget_kind(tx, mailbox, kind, uid))
}

/// Whether something may be kept of a message that is not there.
pub(super) fn is_lacking(snapshot: &Snapshot, (mailbox, uid): (u64, u32)) -> Result<bool, Failure> {
    for kind in KINDS {
        let row = snapshot.get::<FactRow>(&(mailbox, kind as u8, uid))?;
        if row.is_none_or(|row| row.format != FORMAT) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn forget_kind(
    tx: &mut WriteTx<'_>,
    mailbox: u64,
    kind: FactKind,
    uid: u32,
) -> Result<(), Failure> {
    tx.delete::<FactRow>(&(mailbox, kind as u8, uid))?;
    Ok(())
}

/// Copies the facts of a message to those of its copy; says how many bytes that took.
pub(super) fn copy(
    tx: &mut WriteTx<'_>,
    from: (u64, u32),
    to: (u64, u32),
) -> Result<usize, Failure> {
    let mut bytes = 0;
    for kind in KINDS {
        match tx.get::<FactRow>(&(from.0, kind as u8, from.1))? {
            Some(row) => {
                bytes += row.bytes.0.len() + ROW_BYTES;
                tx.put(&FactRow { mailbox: to.0, uid: to.1, ..row })?;
            }
            None => forget_kind(tx, to.0, kind, to.1)?,
        }
    }
    Ok(bytes)
}

/// The header, and whatever else is in the first [`START_BYTES`].
pub(super) fn read_start(reader: &mut LargeReader) -> Result<Vec<u8>, Failure> {
    let mut start = read_header(reader)?;
    let end = usize::try_from(reader.len()).unwrap_or(usize::MAX).min(START_BYTES);
    while start.len() < end {
        let mut piece = vec![0; end - start.len()];
        let count = reader.read_at(start.len() as u64, &mut piece)?;
        if count == 0 {
            break;
        }
        start.extend_from_slice(piece.get(..count).unwrap_or_default());
    }
    Ok(start)
}

/// Everything up to and with the first empty line.
pub(crate) fn read_header(reader: &mut LargeReader) -> Result<Vec<u8>, Failure> {
    let mut header: Vec<u8> = Vec::new();
    let mut searched = 0;
    loop {
        let mut piece = vec![0; HEADER_BYTES];
        let count = reader.read_at(header.len() as u64, &mut piece)?;
        piece.truncate(count);
        header.extend_from_slice(&piece);
        if let Some(end) = header_end(&header, searched) {
            header.truncate(end);
            return Ok(header);
        }
        if count == 0 {
            return Ok(header);
        }
        // The line ends of an empty line may be cut apart.
        searched = header.len().saturating_sub(4);
    }
}
