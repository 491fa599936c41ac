//! Bytes in the charset a sender named, as Unicode text.
//!
//! What cannot be decoded becomes U+FFFD. Text with no charset, or one nobody knows, is UTF-8 if it
//! is valid as such and windows-1252 otherwise, which is what most such mail was written in.
//! Not here: the tables; those are mail-parser's and encoding_rs's.

use std::borrow::Cow;

use mail_parser::decoders::charsets::map::charset_decoder;

/// Decodes `bytes`, which are said to be in `charset` (empty: nothing was said).
#[must_use]
pub fn decode<'a>(charset: &[u8], bytes: &'a [u8]) -> Cow<'a, str> {
    let charset = charset.trim_ascii();
    let named_utf8 =
        charset.eq_ignore_ascii_case(b"utf-8") || charset.eq_ignore_ascii_case(b"utf8");
    if named_utf8 || bytes.is_empty() {
        return String::from_utf8_lossy(bytes);
    }
    // Much mail says US-ASCII, or nothing, and is UTF-8.
    let vague = charset.is_empty() || charset.eq_ignore_ascii_case(b"us-ascii");
    let decoder = if vague { None } else { charset_decoder(charset) };
    match (decoder, std::str::from_utf8(bytes)) {
        (Some(decode), _) => Cow::Owned(decode(bytes)),
        (None, Ok(text)) => Cow::Borrowed(text),
        (None, Err(_)) => match charset_decoder(b"windows-1252") {
            Some(decode) => Cow::Owned(decode(bytes)),
            None => String::from_utf8_lossy(bytes),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_charsets() {
        assert_eq!(decode(b"ISO-8859-15", b"\xa4"), "\u{20ac}");
        assert_eq!(decode(b"koi8-r", b"\xd7"), "\u{432}");
        assert_eq!(decode(b"Shift_JIS", b"\x83\x6e"), "\u{30cf}");
        assert_eq!(decode(b"utf-16", b"\xfe\xff\0a"), "a");
        assert_eq!(decode(b"UTF-8", b"a\xffb"), "a\u{fffd}b");
    }

    #[test]
    fn vague_or_unknown_charsets() {
        for charset in [&b""[..], b"us-ascii", b"x-nobody-knows"] {
            assert_eq!(decode(charset, "\u{e4}".as_bytes()), "\u{e4}");
            assert_eq!(decode(charset, b"\xe4\x80"), "\u{e4}\u{20ac}");
        }
    }

    /// The decoders are not ours; whatever bytes come, they must not panic.
    #[test]
    fn no_decoder_panics_on_short_input() {
        let charsets = [
            "big5",
            "euc-jp",
            "euc-kr",
            "gb18030",
            "gbk",
            "hz-gb-2312",
            "iso-2022-jp",
            "iso-2022-kr",
            "iso-8859-8",
            "koi8-u",
            "macintosh",
            "replacement",
            "shift_jis",
            "tis-620",
            "utf-16",
            "utf-16be",
            "utf-16le",
            "utf-7",
            "windows-1258",
            "x-user-defined",
        ];
        for charset in charsets {
            for first in 0..=u8::MAX {
                let _ = decode(charset.as_bytes(), &[first]);
                for second in 0..=u8::MAX {
                    let _ = decode(charset.as_bytes(), &[first, second]);
                    let _ = decode(charset.as_bytes(), &[0x1b, first, second]);
                    let _ = decode(charset.as_bytes(), &[b'+', first, second, b'-']);
                }
            }
        }
    }
}
