//! Replies of the peer: finding them in what it sends, and what they say.
//!
//! ```text
//!   250-mx.example              550-5.1.1 no such
//!   250 SIZE 10000      Raw     550 5.1.1 mailbox     PeerReply: 550, 5.1.1, "no such mailbox"
//! ```
//! Invariants: what is not a reply, or longer than the limits of `settings`, is an error after a
//! bounded number of bytes; the text of a reply is printable ASCII and cut.
//! Not here: what a reply means for a message (`outcome`).

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::reply::printable;
use crate::sender::outcome::Stage;
use crate::sender::settings::{
    INPUT_BYTES_MAX, LINE_SHOWN_BYTES_MAX, REPLY_BYTES_MAX, REPLY_LINE_BYTES_MAX, REPLY_LINES_MAX,
    REPLY_TEXT_BYTES_MAX,
};

/// An enhanced status code (RFC 3463 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// 2: it worked; 4: it may yet work; 5: it never will.
    pub class: u8,
    /// What it is about: addresses, mailboxes, the system, …
    pub subject: u16,
    /// What exactly.
    pub detail: u16,
}

impl Status {
    pub(super) const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// Reads the code that a text begins with (RFC 2034 4). It must be of the class of the reply.
    fn parse(text: &str, class: u8) -> Option<Self> {
        let word = text.split(' ').next()?;
        let mut numbers = word.split('.');
        let (spoken, subject, detail) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let is_number = |n: &str| (1..=3).contains(&n.len()) && n.bytes().all(is_digit);
        if numbers.next().is_some() || !is_number(subject) || !is_number(detail) {
            return None;
        }
        let status = Self::new(spoken.parse().ok()?, subject.parse().ok()?, detail.parse().ok()?);
        (spoken.len() == 1 && status.class == class).then_some(status)
    }

    /// What a reply without an enhanced code says by its basic one: RFC 5321 4.2.2 and 4.2.3 in the
    /// words of RFC 3463.
    fn derived(code: u16, stage: Stage) -> Self {
        let class = class(code);
        let (subject, detail) = match code {
            421 => (3, 2),
            450 | 550 if stage == Stage::Rcpt => (2, 0),
            451 => (3, 0),
            452 => (3, 1),
            454 | 530 => (7, 0),
            500 => (5, 2),
            501 | 504 | 555 => (5, 4),
            502 | 503 => (5, 1),
            521 => (3, 2),
            534 => (7, 9),
            535 => (7, 8),
            551 => (1, 6),
            552 if stage == Stage::Rcpt => (2, 2),
            552 => (3, 4),
            553 if stage == Stage::Mail => (1, 7),
            553 => (1, 3),
            // RFC 7504 4: the domain takes no mail.
            556 => (1, 10),
            _ => (0, 0),
        };
        Self::new(class, subject, detail)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// What the peer answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerReply {
    /// What it was the answer to.
    pub stage: Stage,
    /// The three digits.
    pub code: u16,
    /// The enhanced code, if there was one.
    pub spoken: Option<Status>,
    /// The lines as one, without codes: printable ASCII, at most [`REPLY_TEXT_BYTES_MAX`].
    pub text: Arc<str>,
}

impl PeerReply {
    pub(super) fn new(raw: &RawReply, stage: Stage) -> Self {
        let first = raw.lines.first().map_or("", String::as_str);
        let spoken = Status::parse(first, class(raw.code));
        let mut text = String::new();
        for line in &raw.lines {
            // RFC 2034 4: the code stands in every line.
            let line = match (spoken, line.split_once(' ')) {
                (Some(_), Some((word, rest))) if Status::parse(word, class(raw.code)) == spoken => {
                    rest
                }
                (Some(_), None) if Status::parse(line, class(raw.code)) == spoken => "",
                _ => line,
            };
            let line = line.trim();
            if !text.is_empty() && !line.is_empty() {
                text.push(' ');
            }
            text.push_str(line);
        }
        let text = printable(&text, REPLY_TEXT_BYTES_MAX).into();
        Self { stage, code: raw.code, spoken, text }
    }

    /// The same without its text, which tells something nobody may read.
    pub(super) fn hidden(self) -> Self {
        Self { text: "(not shown)".into(), ..self }
    }

    /// The enhanced code: as it was spoken, or what the basic code stands for.
    pub fn status(&self) -> Status {
        self.spoken.unwrap_or_else(|| Status::derived(self.code, self.stage))
    }

    /// The first digit of the code: 2, 3, 4 or 5.
    pub fn class(&self) -> u8 {
        class(self.code)
    }
}

impl fmt::Display for PeerReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(status) = self.spoken {
            write!(f, " {status}")?;
        }
        if self.text.is_empty() { Ok(()) } else { write!(f, " {}", self.text) }
    }
}

/// A whole reply: its code, and its lines without it, printable.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RawReply {
    pub(super) code: u16,
    pub(super) lines: Vec<String>,
}

/// Why what came is no reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadReply {
    /// A line that is none of a reply, printable and cut.
    Garbage(String),
    /// Longer than the limits.
    TooLong,
}

/// Cuts what comes into replies.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    bytes: Vec<u8>,
    start: usize,
    /// How far the bytes were searched for a line end.
    searched: usize,
    /// The lines of a reply whose last one has not come.
    partial: Option<RawReply>,
    partial_bytes: usize,
    /// When the first byte of the reply came that is not whole yet.
    began: Option<Instant>,
}

impl ReplyReader {
    /// How many bytes may come.
    pub(super) fn room(&self) -> usize {
        INPUT_BYTES_MAX.saturating_sub(self.bytes.len() - self.start)
    }

    /// Whether nothing came that was not taken out.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len() && self.partial.is_none()
    }

    /// When the reply began that is not whole yet.
    pub(super) fn began(&self) -> Option<Instant> {
        self.began
    }

    pub(super) fn push(&mut self, now: Instant, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        if !bytes.is_empty() {
            self.began.get_or_insert(now);
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Forgets everything and gives its memory back.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes the next reply out, if it is whole.
    pub(super) fn next(&mut self, now: Instant) -> Option<Result<RawReply, BadReply>> {
        loop {
            let line = match self.next_line()? {
                Ok(line) => line,
                Err(bad) => return Some(Err(bad)),
            };
            match self.add_line(&line) {
                Ok(None) => {}
                Ok(Some(reply)) => {
                    self.began = (!self.is_empty()).then_some(now);
                    return Some(Ok(reply));
                }
                Err(bad) => return Some(Err(bad)),
            }
        }
    }

    /// Cuts the next line off. A lone LF ends one too: nothing can be smuggled into a reply.
    fn next_line(&mut self) -> Option<Result<Vec<u8>, BadReply>> {
        let unread = self.bytes.get(self.start..).unwrap_or_default();
        let fresh = unread.get(self.searched..).unwrap_or_default();
        let end = fresh.iter().position(|b| *b == b'\n').map(|at| self.searched + at);
        let bytes = end.map_or(unread.len(), |end| end + 1);
        if bytes > REPLY_LINE_BYTES_MAX {
            return Some(Err(BadReply::TooLong));
        }
        let Some(end) = end else {
            self.searched = unread.len();
            return None;
        };
        let line = unread.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        self.start += bytes;
        self.searched = 0;
        self.partial_bytes += bytes;
        if self.start == self.bytes.len() {
            self.bytes = Vec::new();
            self.start = 0;
        }
        Some(Ok(line))
    }

    /// `Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF`
    /// (RFC 5321 4.2).
    fn add_line(&mut self, line: &[u8]) -> Result<Option<RawReply>, BadReply> {
        let text = shown(line, REPLY_LINE_BYTES_MAX);
        let garbage = || BadReply::Garbage(shown(line, LINE_SHOWN_BYTES_MAX));
        let (code, rest) = text.split_at_checked(3).ok_or_else(garbage)?;
        // RFC 5321 4.2.1: the first digit is 2 to 5; a 1yz is no reply of SMTP.
        if !code.bytes().all(is_digit) || !code.starts_with(['2', '3', '4', '5']) {
            return Err(garbage());
        }
        let code: u16 = code.parse().map_err(|_| garbage())?;
        let is_last = match rest.bytes().next() {
            None | Some(b' ') => true,
            Some(b'-') => false,
            Some(_) => return Err(garbage()),
        };
        let partial = self.partial.get_or_insert_with(|| RawReply { code, lines: Vec::new() });
        // RFC 5321 4.2.1: the code is the same in every line.
        if partial.code != code {
            return Err(garbage());
        }
        if partial.lines.len() == REPLY_LINES_MAX || self.partial_bytes > REPLY_BYTES_MAX {
            return Err(BadReply::TooLong);
        }
        partial.lines.push(rest.get(1..).unwrap_or_default().to_owned());
        if !is_last {
            return Ok(None);
        }
        self.partial_bytes = 0;
        Ok(self.partial.take())
    }
}

/// A line of the peer as printable ASCII, cut.
fn shown(line: &[u8], bytes_max: usize) -> String {
    printable(&String::from_utf8_lossy(line).replace('\t', " "), bytes_max)
}

fn class(code: u16) -> u8 {
    u8::try_from(code / 100).unwrap_or(u8::MAX)
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads whole and byte by byte; `expected` has a reply a line, or `!` and what is wrong.
    #[track_caller]
    fn check(input: &str, expected: &str) {
        for step in [input.len().max(1), 1, 3] {
            let found = read(input, step).join("\n");
            assert_eq!(found, expected, "in steps of {step}");
        }
    }

    fn read(input: &str, step: usize) -> Vec<String> {
        let (now, mut reader, mut found) = (Instant::now(), ReplyReader::default(), Vec::new());
        for piece in input.as_bytes().chunks(step) {
            reader.push(now, piece);
            while let Some(reply) = reader.next(now) {
                match reply {
                    Ok(raw) => found.push(PeerReply::new(&raw, Stage::Rcpt).to_string()),
                    Err(BadReply::Garbage(line)) => {
                        found.push(format!("!{line}"));
                        return found;
                    }
                    Err(BadReply::TooLong) => {
                        found.push("!too long".to_owned());
                        return found;
                    }
                }
            }
            assert_eq!(reader.began().is_some(), !reader.is_empty());
        }
        found
    }

    #[test]
    fn replies() {
        check("250 ok\r\n", "250 ok");
        check("250\r\n250 \n", "250\n250");
        check(
            "550-5.1.1 no such\r\n550-5.1.1\r\n550 5.1.1 mailbox\r\n",
            "550 5.1.1 no such mailbox",
        );
        check("550-5.1.1 no\r\n550 see 5.1.1\r\n", "550 5.1.1 no see 5.1.1");
        check("550 4.1.1 of another class\r\n", "550 4.1.1 of another class");
        check("250 \u{7}\u{e4}\t<b>\r\n25", "250 ?? <b>");
    }

    #[test]
    fn what_is_none() {
        check("SSH-2.0-x\r\n", "!SSH-2.0-x");
        check("\r\n", "!");
        check("25\r\n", "!25");
        check("250ok\r\n", "!250ok");
        check("150 wait\r\n", "!150 wait");
        check("650 what\r\n", "!650 what");
        check("\u{e4}\u{e4}\u{e4}\r\n", "!???");
        check("250-a\r\n550 b\r\n", "!550 b");
        let long = "x".repeat(REPLY_LINE_BYTES_MAX - 5);
        check(&format!("250 {long}\n"), &format!("250 {}", &long[..REPLY_TEXT_BYTES_MAX]));
        check(&format!("250 {long}x\n"), "!too long");
        check(&"x".repeat(REPLY_LINE_BYTES_MAX + 1), "!too long");
        check(&"250-x\r\n".repeat(REPLY_LINES_MAX + 1), "!too long");
        check(
            &format!("250-{long}\n").repeat(REPLY_BYTES_MAX / REPLY_LINE_BYTES_MAX + 1),
            "!too long",
        );
    }

    #[test]
    fn statuses() {
        let cases = [
            ("5.1.1 x", Some((1, 1))),
            ("5.7.509", Some((7, 509))),
            ("5.1.1: x", None),
            ("5.1", None),
            ("5.1.1.1", None),
            ("5.1.1000", None),
            ("5..1", None),
            ("2.1.1", None),
            ("05.1.1", None),
        ];
        for (text, expected) in cases {
            let found = Status::parse(text, 5).map(|status| (status.subject, status.detail));
            assert_eq!(found, expected, "{text:?}");
        }
        for (code, stage, expected) in [
            (421, Stage::Mail, "4.3.2"),
            (550, Stage::Rcpt, "5.2.0"),
            (550, Stage::End, "5.0.0"),
            (552, Stage::Rcpt, "5.2.2"),
            (552, Stage::End, "5.3.4"),
            (553, Stage::Mail, "5.1.7"),
            (299, Stage::End, "2.0.0"),
        ] {
            assert_eq!(Status::derived(code, stage).to_string(), expected, "{code}");
        }
    }
}
