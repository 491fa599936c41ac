//! The header of the original, as a notification gives it back.
//!
//! Invariants: every line begins with a field's name or with white space, so that none can be a
//! delimiter; lines end in CRLF and are at most 998 bytes long; without NUL and lone CR, which no
//! encoding but binary may have (RFC 2045 2.8).

use super::HEADER_BYTES_MAX;
use crate::header;

/// Longest line, in bytes (RFC 5322 2.1.1).
const LINE_BYTES_MAX: usize = 998;

/// The fields of a header block up to its limit, without the blank line.
pub(super) fn header(block: &[u8], is_utf8: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for field in header::fields(block) {
        if out.len() + field.raw.len() > HEADER_BYTES_MAX {
            break;
        }
        for line in field.raw.split_inclusive(|&byte| byte == b'\n') {
            let line = header::without_line_end(line);
            // RFC 6532 3: a header that is said to be UTF-8 must be.
            match is_utf8 {
                true => push_line(&mut out, String::from_utf8_lossy(line).as_bytes()),
                false => push_line(&mut out, line),
            }
        }
    }
    out
}

fn push_line(out: &mut Vec<u8>, line: &[u8]) {
    let mut width = 0;
    for &byte in line {
        // Not inside a character of UTF-8, which has 4 bytes at most.
        let may_break = !matches!(byte, 0x80..=0xbf) || width == LINE_BYTES_MAX;
        if width > LINE_BYTES_MAX - 4 && may_break {
            out.extend_from_slice(b"\r\n ");
            width = 1;
        }
        out.push(if is_allowed(byte) { byte } else { b'?' });
        width += 1;
    }
    out.extend_from_slice(b"\r\n");
}

const fn is_allowed(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(block: &[u8], expected: &[u8]) {
        assert_eq!(header(block, false), expected);
    }

    #[test]
    fn fields_come_back_as_they_were_and_nothing_else() {
        check(b"A: 1\r\n b\r\nB: \xe4\r\n\r\nbody: no\r\n", b"A: 1\r\n b\r\nB: \xe4\r\n");
        check(b"A: 1\nB: 2\n", b"A: 1\r\nB: 2\r\n");
        check(b"A: \0\x07\rb\r\n", b"A: ???b\r\n");
        check(b"A: 1\r\n--=_x_dsn\r\nB: 2\r\n", b"A: 1\r\nB: 2\r\n");
        check(b"", b"");
    }

    #[test]
    fn long_lines_are_folded_and_long_headers_cut() {
        let long = header(format!("A: {}\r\n", "x".repeat(3_000)).as_bytes(), false);
        assert!(long.split(|&byte| byte == b'\n').all(|line| line.len() <= 999));
        assert_eq!(header::fields(&long).count(), 1);
        let many = header("A: 1\r\n".repeat(1_000_000).as_bytes(), false);
        assert!(many.len() <= HEADER_BYTES_MAX && many.ends_with(b"A: 1\r\n"));
    }

    #[test]
    fn utf8_is_utf8() {
        assert_eq!(header(b"A: \xe4\r\n", true), "A: \u{fffd}\r\n".as_bytes());
        for shift in 0..4 {
            let block = format!("A: {}{}\r\n", "x".repeat(shift), "\u{1f600}".repeat(1_000));
            let back = String::from_utf8(header(block.as_bytes(), true)).unwrap();
            assert_eq!(back.replace("\r\n ", ""), block);
        }
    }
}
