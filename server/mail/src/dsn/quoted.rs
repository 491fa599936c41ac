//! Text as lines that every mail system takes: as it is, or quoted-printable (RFC 2045 6.7).

use std::fmt::Write as _;

/// Longest line that needs no encoding, in bytes (RFC 5321 4.5.3.1.6 has 1000 with its end).
const LINE_BYTES_MAX: usize = 998;
/// Longest encoded line, in bytes (RFC 2045 6.7, rule 5).
const QUOTED_LINE_BYTES_MAX: usize = 76;

/// How a text travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Quoted,
}

/// What `text` needs; its lines end in CRLF.
pub(super) fn encoding(text: &str) -> Encoding {
    let is_plain = text.is_ascii() && text.lines().all(|line| line.len() <= LINE_BYTES_MAX);
    if is_plain { Encoding::Plain } else { Encoding::Quoted }
}

impl Encoding {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Plain => "text/plain; charset=us-ascii",
            Self::Quoted => "text/plain; charset=utf-8",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "7bit",
            Self::Quoted => "quoted-printable",
        }
    }

    pub(super) fn encode(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Quoted => text.lines().map(quoted_line).collect(),
        }
    }
}

fn quoted_line(line: &str) -> String {
    let mut out = String::with_capacity(line.len() + 2);
    let mut width = 0;
    let last = line.len().saturating_sub(1);
    for (at, byte) in line.bytes().enumerate() {
        // Rule 3: white space at the end of a line would be lost.
        let is_plain = matches!(byte, b'!'..=b'<' | b'>'..=b'~') || (byte == b' ' && at < last);
        let needs = if is_plain { 1 } else { 3 };
        if width + needs >= QUOTED_LINE_BYTES_MAX {
            out.push_str("=\r\n");
            width = 0;
        }
        if is_plain {
            out.push(char::from(byte));
        } else {
            _ = write!(out, "={byte:02X}");
        }
        width += needs;
    }
    out.push_str("\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer;

    #[test]
    fn text_comes_back_as_it_was() {
        for text in
            ["", "a\r\n", "\u{e4} = b \r\n\r\nc\td\r\n", &format!("{}\r\n", "\u{e4}x".repeat(99))]
        {
            let encoded = Encoding::Quoted.encode(text);
            assert!(encoded.is_ascii());
            assert!(encoded.lines().all(|line| line.len() <= QUOTED_LINE_BYTES_MAX), "{encoded}");
            assert_eq!(transfer::quoted_printable(encoded.as_bytes()), text.as_bytes());
        }
    }

    #[test]
    fn only_what_needs_it_is_encoded() {
        assert_eq!(encoding("plain\r\n"), Encoding::Plain);
        assert_eq!(encoding("\u{e4}\r\n"), Encoding::Quoted);
        assert_eq!(encoding(&"x".repeat(999)), Encoding::Quoted);
    }
}
