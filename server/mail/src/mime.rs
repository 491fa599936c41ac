//! The parts of a message, as byte ranges.
//!
//! ```text
//!   part 0   multipart/mixed     header 0..180    body 180..2000
//!     part 1   text/plain        header 210..250  body 250..700
//!     part 2   message/rfc822    header 730..760  body 760..1900
//!       part 3   text/html       header 760..900  body 900..1900    (the message inside)
//! ```
//! One walk over the lines, with a stack of the parts that are open. Invariants: there is always a
//! root, and it covers the whole message; a part's header ends where its body starts; a child's
//! header and body lie inside its parent's body; siblings do not overlap; a multipart has at least
//! one child and a message exactly one. Time is linear: a line is compared with at most
//! [`DEPTH_MAX`] boundaries.
//!
//! Where mail is broken: a closing delimiter that is missing is assumed at the end of the enclosing
//! part; a multipart whose delimiter never comes has one child, all of its body, so that nothing is
//! hidden from the reader; a part that starts with a line that is no field has no header; a line
//! inside a header that is no field ends the header, unless a well-known field follows before the
//! next blank line.
//! Not here: what the Content-* fields say ([`crate::media`]), IMAP's numbering
//! ([`crate::section`]).

use std::ops::Range;

use crate::header;
use crate::media::{self, Media};

/// Deepest nesting that is followed. What lies deeper stays one piece (application/octet-stream).
/// Real mail rarely passes ten, even when it has been forwarded many times; Dovecot stops at 100
/// too.
pub const DEPTH_MAX: usize = 100;

/// Most parts that are told apart in one message; the last one takes the rest. A digest of a busy
/// list has hundreds. Bounds the tree to a few megabytes of memory.
pub const PARTS_MAX: usize = 10_000;

/// What a part is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its body is content.
    Leaf,
    /// Its body holds parts between delimiters (RFC 2046 5.1).
    Multipart,
    /// Its body is a message: message/rfc822 (RFC 2046 5.2.1) or message/global (RFC 6532 3.7).
    Message,
}

/// One part of a message.
#[derive(Debug, Clone)]
pub struct Part {
    /// What it is made of.
    pub kind: Kind,
    /// Its header block, with the blank line that ends it.
    pub header: Range<usize>,
    /// Its body, without the line end that belongs to the delimiter after it.
    pub body: Range<usize>,
    /// Line ends (LF) in the body.
    pub lines: usize,
    /// How deep it lies: the root is at 0.
    pub depth: usize,
    /// What its Content-* fields say.
    pub media: Media,
    children: Vec<usize>,
}

impl Part {
    /// Header and body.
    #[must_use]
    pub fn whole(&self) -> Range<usize> {
        self.header.start..self.body.end
    }
}

/// A message taken apart. It holds no bytes of the message, only ranges and the Content-* fields.
#[derive(Debug, Clone)]
pub struct Tree {
    parts: Vec<Part>,
    is_cut: bool,
}

impl Tree {
    /// Takes a message apart.
    #[must_use]
    pub fn parse(raw: &[u8]) -> Tree {
        let mut builder = Builder { raw, parts: Vec::new(), open: Vec::new(), is_cut: false };
        builder.open_part(Mark::default(), false);
        builder.walk();
        Tree { parts: builder.parts, is_cut: builder.is_cut }
    }

    /// The message itself.
    #[must_use]
    pub fn root(&self) -> &Part {
        self.parts.first().expect("parse opens a root before anything else")
    }

    /// The parts directly inside `part`, which must be of this tree.
    pub fn children<'a>(&'a self, part: &'a Part) -> impl DoubleEndedIterator<Item = &'a Part> {
        part.children.iter().filter_map(|&index| self.parts.get(index))
    }

    /// The child number `number`, counted from 1 as IMAP does.
    #[must_use]
    pub fn child<'a>(&'a self, part: &Part, number: u32) -> Option<&'a Part> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.parts.get(*part.children.get(index)?)
    }

    /// The message inside a [`Kind::Message`]; `None` for other parts.
    #[must_use]
    pub fn embedded<'a>(&'a self, part: &Part) -> Option<&'a Part> {
        if part.kind == Kind::Message { self.child(part, 1) } else { None }
    }

    /// All parts, each before what is inside it.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = &Part> {
        self.parts.iter()
    }

    /// Did [`DEPTH_MAX`] or [`PARTS_MAX`] keep us from following the structure to its end?
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }
}

/// A place in the message and the number of LFs before it.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    at: usize,
    lf: usize,
}

/// A part whose end has not been seen. Only the last one on the stack takes lines.
struct Open {
    part: usize,
    /// Where the body starts; while the header lasts, where that started.
    floor: Mark,
    state: State,
}

enum State {
    Header {
        /// A field has been seen.
        any_field: bool,
        /// The line before belongs to a field.
        in_field: bool,
        /// The first line of a run of lines that are no fields.
        junk: Option<Mark>,
    },
    /// A leaf, a multipart after its closing delimiter, or a message, whose child takes the lines.
    Body,
    /// A multipart that waits for `--boundary`.
    Between { boundary: Vec<u8> },
}

/// A delimiter line that was recognized.
struct Hit {
    level: usize,
    closes: bool,
}

struct Builder<'a> {
    raw: &'a [u8],
    parts: Vec<Part>,
    open: Vec<Open>,
    is_cut: bool,
}

impl Builder<'_> {
    fn walk(&mut self) {
        let mut here = Mark::default();
        loop {
            let line = header::line_at(self.raw, here.at);
            let hit = line.and_then(|line| self.delimiter(line));
            let ends = hit.is_some() || line.is_none_or(header::is_blank);
            if ends && let Some(junk) = self.junk() {
                // The lines since `junk` were no header after all: read them again, as a body.
                self.end_header(junk);
                here = junk;
                continue;
            }
            let Some(line) = line else { break };
            let lf = usize::from(line.ends_with(b"\n"));
            let next = Mark { at: here.at + line.len(), lf: here.lf + lf };
            match hit {
                Some(hit) => self.cross(&hit, here, next),
                None => match self.header_line(line, here) {
                    HeaderLine::Inside => {}
                    HeaderLine::Last => self.end_header(next),
                    HeaderLine::BodySince(start) => {
                        self.end_header(start);
                        here = start;
                        continue;
                    }
                },
            }
            here = next;
        }
        self.close_from(0, here, here);
    }

    fn junk(&self) -> Option<Mark> {
        match self.open.last()?.state {
            State::Header { junk, .. } => junk,
            State::Body | State::Between { .. } => None,
        }
    }

    /// What `line` means to the header that is being read, if one is.
    fn header_line(&mut self, line: &[u8], here: Mark) -> HeaderLine {
        let Some(Open { state: State::Header { any_field, in_field, junk }, floor, .. }) =
            self.open.last_mut()
        else {
            return HeaderLine::Inside;
        };
        if header::is_blank(line) {
            return HeaderLine::Last;
        }
        if *in_field && header::is_continuation(line) {
            return HeaderLine::Inside;
        }
        let name_len =
            if header::is_continuation(line) { None } else { header::field_name_len(line) };
        if let Some(name_len) = name_len {
            *in_field = junk.is_none();
            *any_field = true;
            if junk.is_some() && line.get(..name_len).is_some_and(is_well_known) {
                *in_field = true;
                *junk = None;
            }
            return HeaderLine::Inside;
        }
        *in_field = false;
        let start = *junk.get_or_insert(here);
        // Some mail starts with the line that mbox files put before each message, or with one of
        // white space. Any other line before the first field is text, and so is, anywhere, what
        // looks like a delimiter.
        let is_mbox_line = here.at == floor.at && is_mbox_line(line);
        let may_go_on = *any_field || is_mbox_line || line.trim_ascii().is_empty();
        if may_go_on && !line.starts_with(b"--") {
            HeaderLine::Inside
        } else {
            HeaderLine::BodySince(start)
        }
    }

    /// Is this line the delimiter of a multipart that is open? RFC 2046 5.1.1: the line starts with
    /// two hyphens and the boundary; white space may follow, and what comes after that does not
    /// matter. A line that goes on without white space is another boundary with the same beginning.
    fn delimiter(&self, line: &[u8]) -> Option<Hit> {
        let line = line.strip_prefix(b"--")?;
        for (level, open) in self.open.iter().enumerate().rev() {
            let State::Between { boundary } = &open.state else { continue };
            let Some(rest) = line.strip_prefix(boundary.as_slice()) else { continue };
            for (closes, rest) in [(false, Some(rest)), (true, rest.strip_prefix(b"--"))] {
                if rest.is_some_and(|r| r.first().is_none_or(u8::is_ascii_whitespace)) {
                    return Some(Hit { level, closes });
                }
            }
        }
        None
    }

    /// Passes a delimiter line at `here..next`.
    fn cross(&mut self, hit: &Hit, here: Mark, next: Mark) {
        if !hit.closes && self.parts.len() >= PARTS_MAX {
            self.is_cut = true;
            return;
        }
        // RFC 2046 5.1.1: the line end before the delimiter belongs to the delimiter, and each
        // delimiter has its own; two on adjacent lines have no part between them.
        if !hit.closes && self.open.len() == hit.level + 2 && self.restarts(here, next) {
            return;
        }
        let before = self.raw.get(..here.at).unwrap_or(&[]);
        let eol_len = before.len() - header::without_line_end(before).len();
        let end = Mark { at: here.at - eol_len, lf: here.lf - usize::from(eol_len > 0) };
        self.close_from(hit.level + 1, here, end);
        let Some(multipart) = self.open.last_mut() else { return };
        if hit.closes {
            multipart.state = State::Body;
            return;
        }
        let parent = self.parts.get(multipart.part);
        let in_digest = parent.is_some_and(|part| part.media.is(b"multipart", b"digest"));
        self.open_part(next, in_digest);
    }

    /// If the last open part starts at `here`, lets it start at `next`.
    fn restarts(&mut self, here: Mark, next: Mark) -> bool {
        let Some(open) = self.open.last_mut() else { return false };
        if !matches!(open.state, State::Header { .. }) || open.floor.at != here.at {
            return false;
        }
        open.floor = next;
        if let Some(part) = self.parts.get_mut(open.part) {
            part.header = next.at..next.at;
            part.body = next.at..next.at;
        }
        true
    }

    /// Opens a part whose header starts at `here`, inside the last one open.
    fn open_part(&mut self, here: Mark, in_digest: bool) {
        let index = self.parts.len();
        if let Some(parent) = self.open.last()
            && let Some(parent) = self.parts.get_mut(parent.part)
        {
            parent.children.push(index);
        }
        self.parts.push(Part {
            kind: Kind::Leaf,
            header: here.at..here.at,
            body: here.at..here.at,
            lines: 0,
            depth: self.open.len(),
            // Until the header has been read, only the default is known.
            media: Media::of_header(&[], in_digest),
            children: Vec::new(),
        });
        let state = State::Header { any_field: false, in_field: false, junk: None };
        self.open.push(Open { part: index, floor: here, state });
    }

    /// The header of the last open part ends, and its body starts, at `here`.
    fn end_header(&mut self, here: Mark) {
        let depth = self.open.len();
        let room = depth <= DEPTH_MAX && self.parts.len() < PARTS_MAX;
        let Some(open) = self.open.last_mut() else { return };
        let Some(part) = self.parts.get_mut(open.part) else { return };
        part.header.end = here.at;
        part.body = here.at..here.at;
        open.floor = here;
        open.state = State::Body;
        let in_digest = part.media.is(b"message", b"rfc822");
        part.media = Media::of_header(self.raw.get(part.header.clone()).unwrap_or(&[]), in_digest);
        let is_message =
            part.media.is(b"message", b"rfc822") || part.media.is(b"message", b"global");
        let is_multipart = part.media.is_kind(b"multipart");
        if !is_message && !is_multipart {
            return;
        }
        if !room {
            self.is_cut = true;
            (part.media.kind, part.media.subtype) = (b"application".into(), b"octet-stream".into());
            return;
        }
        if is_message {
            part.kind = Kind::Message;
            self.open_part(here, false);
            return;
        }
        part.kind = Kind::Multipart;
        // RFC 2046 5.1.1: a boundary does not end in white space.
        let boundary = media::joined_param(&part.media.params, b"boundary");
        let boundary = boundary.map(|(_, bytes)| bytes.trim_ascii_end().to_vec());
        if let Some(boundary) = boundary.filter(|boundary| !boundary.is_empty()) {
            open.state = State::Between { boundary };
        }
    }

    /// Closes all parts from `level` on, before a delimiter line (or the end) at `line`; `end` is
    /// the same place without the line end that belongs to the delimiter.
    fn close_from(&mut self, level: usize, line: Mark, end: Mark) {
        while let Some(Open { state: State::Header { .. }, .. }) =
            self.open.get(level..).and_then(<[Open]>::last)
        {
            self.end_header(line);
        }
        let mut limit = line;
        for open in self.open.drain(level..) {
            let next_index = self.parts.len();
            let Some(part) = self.parts.get_mut(open.part) else { continue };
            let floor = if open.floor.at < limit.at { open.floor } else { limit };
            let end = if end.at > floor.at { end } else { floor };
            part.header = part.header.start.min(floor.at)..floor.at;
            part.body = floor.at..end.at;
            part.lines = end.lf - floor.lf;
            limit = end;
            if part.kind == Kind::Multipart && part.children.is_empty() {
                part.children.push(next_index);
                let only = Part {
                    kind: Kind::Leaf,
                    header: floor.at..floor.at,
                    depth: part.depth + 1,
                    media: Media::plain_text(),
                    children: Vec::new(),
                    ..part.clone()
                };
                self.parts.push(only);
            }
        }
    }
}

enum HeaderLine {
    /// It belongs to the header, or no header is being read.
    Inside,
    /// It is the blank line.
    Last,
    /// It shows that the header has ended there.
    BodySince(Mark),
}

fn is_mbox_line(line: &[u8]) -> bool {
    line.starts_with(b"From ") || line.starts_with(b">From ")
}

/// A name that proves we are still in a header. Prose has colons too (`https:`, `Note:`).
fn is_well_known(name: &[u8]) -> bool {
    const PREFIXES: [&str; 9] =
        ["content-", "x-", "list-", "arc-", "dkim-", "resent-", "received", "mime-", "return-"];
    const NAMES: [&str; 13] = [
        "bcc",
        "cc",
        "date",
        "from",
        "in-reply-to",
        "message-id",
        "precedence",
        "references",
        "reply-to",
        "sender",
        "subject",
        "to",
        "user-agent",
    ];
    let name = name.trim_ascii_end();
    let starts_with = |prefix: &str| {
        name.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
        || PREFIXES.iter().any(|prefix| starts_with(prefix))
}
