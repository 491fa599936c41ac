//! What clients ask of message after message, made once: header fields, ENVELOPE, BODYSTRUCTURE,
//! what SORT and THREAD compare, and PREVIEW.
//!
//! ```text
//!   a whole message ─▶ fields  the header fields that clients show in lists, as they were written
//!                   └▶ shape   ENVELOPE and BODYSTRUCTURE as they go to the client; BODY is the
//!                              latter with holes
//!   its beginning   ─▶ preview its first words
//! ```
//! Invariants: what is answered from them is byte for byte what the message itself would give;
//! where that cannot be (a header that is broken, or too long) there are none. A change of what
//! they hold is a new [`FORMAT`], and whoever kept old ones makes them anew.
//! Not here: keeping them, and asking for them (`machine`).

use grace_mail::header;
use grace_mail::mime::Tree;

use crate::keys::Keys;
use crate::preview;
use crate::response::Out;
use crate::structure;

/// Which program made them.
pub const FORMAT: u8 = 2;

/// Most bytes of kept fields. Fields for a hundred recipients fit; what is longer is rare, and is
/// read from the message.
pub const FIELDS_BYTES_MAX: usize = 8 * 1024;

/// Most bytes of a shape: a message with some fifty parts.
pub const SHAPE_BYTES_MAX: usize = 16 * 1024;

/// So much of a message is enough for its preview, a longer header aside: the text of nearly every
/// letter begins within, even behind a picture or two.
pub const START_BYTES: usize = 256 * 1024;

/// The fields that are kept: those ENVELOPE, SORT and THREAD are made of, and those that mail
/// programs (Thunderbird, Apple Mail, mutt, K-9, Roundcube) ask for of every letter in a list.
/// What servers write for each other is not among them, for it is most of a header.
pub const FIELDS: [&str; 34] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Description",
    "MIME-Version",
    "Priority",
    "X-Priority",
    "Importance",
    "Newsgroups",
    "Lines",
    "List-Id",
    "List-Post",
    "List-Subscribe",
    "List-Unsubscribe",
    "Mail-Followup-To",
    "Mail-Reply-To",
    "Disposition-Notification-To",
    "Delivered-To",
    "X-Label",
    "X-Mailer",
    "User-Agent",
    "X-K9mail-Identity",
    "X-Uniform-Type-Identifier",
    "X-Universally-Unique-Identifier",
];

/// Whether a field of this name is kept.
pub fn keeps(name: &[u8]) -> bool {
    let name = name.trim_ascii_end();
    FIELDS.iter().any(|kept| kept.as_bytes().eq_ignore_ascii_case(name))
}

/// ENVELOPE and BODYSTRUCTURE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shape {
    /// ENVELOPE as it goes to the client.
    pub envelope: Vec<u8>,
    /// BODYSTRUCTURE likewise.
    pub structure: Vec<u8>,
    /// Where in the structure that begins and ends which BODY leaves out, ascending.
    pub extensions: Vec<(u32, u32)>,
}

impl Shape {
    /// BODY: the structure without its extension data (RFC 9051 7.5.2).
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.structure.len());
        let mut from = 0;
        for (start, end) in &self.extensions {
            body.extend_from_slice(piece(&self.structure, from, *start));
            from = *end;
        }
        body.extend_from_slice(piece(&self.structure, from, u32::MAX));
        body
    }

    /// Bytes it takes.
    pub fn bytes(&self) -> usize {
        self.envelope.len() + self.structure.len() + 8 * self.extensions.len()
    }
}

fn piece(bytes: &[u8], from: u32, to: u32) -> &[u8] {
    let place = |at: u32| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    bytes.get(place(from)..place(to)).unwrap_or_default()
}

/// What is kept of a message; `None` where something cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The fields of [`FIELDS`], each as it was written, and the empty line.
    pub fields: Option<Vec<u8>>,
    /// ENVELOPE and BODYSTRUCTURE.
    pub shape: Option<Shape>,
    /// Packed [`Keys`].
    pub keys: Option<Vec<u8>>,
    /// PREVIEW.
    pub preview: Option<String>,
}

impl Facts {
    /// Those of a whole message.
    pub fn of(raw: &[u8]) -> Self {
        let tree = Tree::parse(raw);
        let shape = Some(shape(raw, &tree)).filter(fits);
        let keys = Some(Keys::pack(block(raw)));
        let preview = match start(raw) {
            start if start.len() == raw.len() => preview::of(raw, &tree),
            start => preview::of(start, &Tree::parse(start)),
        };
        Self { fields: fields(raw, &tree), shape, keys, preview: Some(preview) }
    }

    /// Those that the beginning of a message tells, at least [`START_BYTES`] of it and the header:
    /// all but the shape.
    pub fn of_start(raw: &[u8]) -> Self {
        let start = start(raw);
        let preview = preview::of(start, &Tree::parse(start));
        Self { preview: Some(preview), ..Self::of_header(block(raw)) }
    }

    /// Those that a header block alone tells: neither shape nor preview.
    pub fn of_header(block: &[u8]) -> Self {
        let keys = Some(Keys::pack(block));
        Self { fields: fields(block, &Tree::parse(block)), shape: None, keys, preview: None }
    }
}

fn fits(shape: &Shape) -> bool {
    shape.bytes() <= SHAPE_BYTES_MAX
}

/// What a preview is made of.
fn start(raw: &[u8]) -> &[u8] {
    let end = header_end(raw, 0).unwrap_or(raw.len()).max(START_BYTES);
    raw.get(..end).unwrap_or(raw)
}

/// The header block of a message.
fn block(raw: &[u8]) -> &[u8] {
    raw.get(..header_end(raw, 0).unwrap_or(raw.len())).unwrap_or_default()
}

/// The fields that are kept of a message, if they say all there is to say.
fn fields(raw: &[u8], tree: &Tree) -> Option<Vec<u8>> {
    let block = block(raw);
    // Where lines that are no fields stand in between, readers differ on where a header ends.
    if tree.root().header != (0..block.len()) {
        return None;
    }
    let kept = header::select(block, &FIELDS, false);
    (kept.len() <= FIELDS_BYTES_MAX).then_some(kept)
}

/// ENVELOPE and BODYSTRUCTURE of a whole message.
pub fn shape(raw: &[u8], tree: &Tree) -> Shape {
    let mut out = Out::default();
    structure::envelope(&mut out, raw.get(tree.root().header.clone()).unwrap_or_default());
    let envelope = out.take_bytes();
    let extensions = structure::body(&mut out, raw, tree, true);
    let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let extensions = extensions.iter().map(|hole| (place(hole.start), place(hole.end))).collect();
    Shape { envelope, structure: out.take_bytes(), extensions }
}

/// Where the first empty line ends, which is also at the very start if that is empty; looked for
/// from a byte on. `None`: there is none.
pub fn header_end(bytes: &[u8], from: usize) -> Option<usize> {
    for start in [b"\r\n".as_slice(), b"\n"] {
        if from == 0 && bytes.starts_with(start) {
            return Some(start.len());
        }
    }
    let rest = bytes.get(from..)?;
    for (at, byte) in rest.iter().enumerate() {
        if *byte != b'\n' {
            continue;
        }
        let after = rest.get(at + 1..).unwrap_or_default();
        for end in [b"\n".as_slice(), b"\r\n"] {
            if after.starts_with(end) {
                return Some(from + at + 1 + end.len());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use grace_mail::section::{Section, What};

    use super::*;

    #[test]
    fn headers_end_at_the_first_empty_line() {
        let check = |bytes: &[u8], end: Option<usize>| assert_eq!(header_end(bytes, 0), end);
        check(b"a: b\r\n\r\nbody", Some(8));
        check(b"a: b\n\nbody\r\n\r\n", Some(6));
        check(b"\r\nbody", Some(2));
        check(b"a: b\r\n c\r\n", None);
        check(b"", None);
    }

    /// Holds that a message's facts say what the message does.
    fn check(raw: &[u8]) {
        let (facts, tree) = (Facts::of(raw), Tree::parse(raw));
        let header = raw.get(..header_end(raw, 0).unwrap_or(raw.len())).unwrap();
        let shown = String::from_utf8_lossy(raw);
        if let Some(kept) = &facts.fields {
            let names = vec![b"subject".to_vec(), b"To".to_vec(), b"x-label".to_vec()];
            let section = Section { path: Vec::new(), what: What::Fields(names) };
            let told = section.bytes(kept, &Tree::parse(kept)).unwrap().into_owned();
            assert_eq!(told, section.bytes(raw, &tree).unwrap().into_owned(), "{shown}");
            assert_eq!(Keys::of(1, 2, 3, kept), Keys::of(1, 2, 3, header), "{shown}");
        }
        let keys = Keys::unpack(1, 2, 3, &facts.keys.unwrap());
        assert_eq!(keys.as_ref(), Some(&Keys::of(1, 2, 3, header)), "{shown}");
        let preview = facts.preview.unwrap();
        assert_eq!(preview, preview::of(raw, &tree), "{shown}");
        assert_eq!(Facts::of_start(raw).preview, Some(preview), "{shown}");
        let shape = facts.shape.unwrap();
        let mut out = Out::default();
        structure::body(&mut out, raw, &tree, false);
        assert_eq!(shape.body(), out.take_bytes(), "{shown}");
        if facts.fields.is_some() {
            assert_eq!(Facts::of_header(header).fields, facts.fields, "{shown}");
        }
    }

    #[test]
    fn facts_say_what_the_message_does() {
        check(b"");
        check(b"\r\nno header");
        check(b"no field\r\nSubject: x\r\n\r\nbody");
        check(b"Subject: x\r\n y\r\nReceived: z\r\nTo: a@b, c\r\nTO : d@e\r\n\r\nbody\r\n");
        check(b"X-Label: only\nDate: x\nDKIM-Signature: long\n\nbody");
        check(b"Subject: no end");
        check(
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\
              Content-Disposition: inline\r\nContent-Language: de\r\n\r\n<p>\r\n--b\r\n\
              Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\
              Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\na\r\n--c--\r\n\
              --b--\r\n",
        );
    }

    #[test]
    fn what_cannot_be_told_exactly_is_not_kept() {
        assert_eq!(Facts::of(b"Subject: x\r\nno field\r\n\r\nbody").fields, None);
        let long = format!("To: {}\r\n\r\n", "a@example.org,\r\n ".repeat(1_000));
        assert_eq!(Facts::of(long.as_bytes()).fields, None);
        assert!(keeps(b"SUBJECT ") && !keeps(b"Received"));
    }
}
