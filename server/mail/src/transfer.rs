//! Content transfer encodings: what is sent as base64 or quoted-printable, as the bytes it stands
//! for.
//!
//! Tolerant: what is no code is passed over (RFC 2045 6.8) or taken as it is (RFC 2045 6.7, note
//! 5), so that as much as possible of damaged mail can be read. Time and memory are linear.
//! Not here: charsets ([`crate::charset`]) and encoding for sending.

use std::borrow::Cow;

/// Decodes `body` as the value of Content-Transfer-Encoding says; an unknown encoding is taken as
/// none.
#[must_use]
pub fn decode<'a>(encoding: Option<&[u8]>, body: &'a [u8]) -> Cow<'a, [u8]> {
    match encoding {
        Some(name) if name.eq_ignore_ascii_case(b"base64") => Cow::Owned(base64(body)),
        Some(name) if name.eq_ignore_ascii_case(b"quoted-printable") => {
            Cow::Owned(quoted_printable(body))
        }
        _ => Cow::Borrowed(body),
    }
}

/// RFC 2045 6.8. Bytes outside the alphabet are passed over; `=` ends a group, and what follows
/// starts a new one, as in bodies glued together from encoded pieces.
#[must_use]
pub fn base64(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() / 4 * 3 + 3);
    let mut group = 0_u32;
    let mut digits = 0_usize;
    for &byte in body {
        if let Some(value) = base64_value(byte) {
            group = (group << 6) | u32::from(value);
            digits += 1;
            if digits == 4 {
                flush_group(group, digits, &mut out);
                (group, digits) = (0, 0);
            }
        } else if byte == b'=' {
            flush_group(group, digits, &mut out);
            (group, digits) = (0, 0);
        }
    }
    flush_group(group, digits, &mut out);
    out
}

fn flush_group(group: u32, digits: usize, out: &mut Vec<u8>) {
    let missing = 4_usize.saturating_sub(digits);
    let [_, bytes @ ..] = (group << (6 * missing)).to_be_bytes();
    out.extend(bytes.iter().take(digits.saturating_sub(1)));
}

fn base64_value(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// RFC 2045 6.7. An `=` that starts no code stays.
#[must_use]
pub fn quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    for line in body.split_inclusive(|&byte| byte == b'\n') {
        let text = line.trim_ascii_end();
        let (text, soft) = match text.strip_suffix(b"=") {
            Some(text) => (text, true),
            None => (text, false),
        };
        decode_codes(text, b'=', &mut out);
        // Rule 3: white space at the end of a line was added on the way. Rule 5: `=` joins lines.
        if !soft {
            let end = line.len() - crate::header::without_line_end(line).len();
            out.extend_from_slice(line.get(line.len() - end..).unwrap_or(&[]));
        }
    }
    out
}

/// Replaces `=41` by `A`; other bytes are copied.
pub(crate) fn decode_codes(text: &[u8], escape: u8, out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let code = text.get(at + 1..at + 3).filter(|_| byte == escape);
        let decoded = match code {
            Some([high, low]) => hex_pair(*high, *low),
            _ => None,
        };
        out.push(decoded.unwrap_or(byte));
        at += if decoded.is_some() { 3 } else { 1 };
    }
}

pub(crate) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_tolerant() {
        let check = |code: &str, plain: &str| {
            assert_eq!(String::from_utf8_lossy(&base64(code.as_bytes())), plain, "{code:?}");
        };
        check("", "");
        check("aGVsbG8=", "hello");
        check("aGVs\r\nbG8=\r\n", "hello");
        check("aGVsbG8", "hello");
        check("aGVsbG8=aGVsbG8=", "hellohello");
        check("a*G!V\u{e4}sbG8=", "hello");
        check("a", "");
        check("====", "");
        assert_eq!(base64(b"+/+/"), [0xfb, 0xff, 0xbf]);
    }

    #[test]
    fn quoted_printable_is_tolerant() {
        let check = |code: &str, plain: &str| {
            let bytes = quoted_printable(code.as_bytes());
            assert_eq!(String::from_utf8_lossy(&bytes), plain, "{code:?}");
        };
        check("a=3Db=c3=A4\r\n", "a=b\u{e4}\r\n");
        check("soft=\r\nbreak= \t\nhere", "softbreakhere");
        check("added space  \r\n\tx\t\n", "added space\r\n\tx\n");
        check("100% = 1=G0 =", "100% = 1=G0 ");
        check("kept=20 \n", "kept \n");
        check("\r\n\n", "\r\n\n");
        check("=\r\n=", "");
    }

    #[test]
    fn the_encoding_is_chosen_by_name() {
        assert_eq!(decode(Some(b"BASE64"), b"QQ==").as_ref(), b"A");
        assert_eq!(decode(Some(b"Quoted-Printable"), b"=41").as_ref(), b"A");
        assert_eq!(decode(Some(b"x-uuencode"), b"=41").as_ref(), b"=41");
        assert_eq!(decode(None, b"=41").as_ref(), b"=41");
    }
}
