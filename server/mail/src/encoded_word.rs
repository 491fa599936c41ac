//! RFC 2047 encoded words in header values: `=?utf-8?Q?=C3=A4?=` is `ä`.
//!
//! Tolerant where senders are sloppy: words inside quoted strings and glued to other text are
//! decoded, spaces inside a word are allowed, and a character split over two words of one charset
//! is put together again. What is no encoded word stays as it is. Time is linear.
//! Not here: unfolding ([`crate::header::unfold`]) and RFC 2231 ([`crate::media::joined_param`]).

use std::borrow::Cow;

use crate::charset;
use crate::transfer;

/// Longest charset name (with an RFC 2231 language) that is looked for, in bytes. The longest name
/// registered with IANA has 45 characters.
const CHARSET_LEN_MAX: usize = 100;

/// Decodes an unfolded header value to text.
#[must_use]
pub fn decode(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    // Bytes of encoded words that stand side by side in one charset.
    let mut run: Option<(&[u8], Vec<u8>)> = None;
    let mut plain_start = 0;
    let mut at = 0;
    // Once no `?=` was found there is none further on either.
    let mut may_end = true;
    while may_end && let Some(start) = find(value, b"=?", at) {
        let Some(word) = Word::parse(value, start, &mut may_end) else {
            at = start + 2;
            continue;
        };
        let between = value.get(plain_start..start).unwrap_or(&[]);
        // RFC 2047 6.2: white space between two encoded words is not shown.
        let adjacent = run.is_some() && between.trim_ascii().is_empty();
        match &mut run {
            Some((charset, bytes)) if adjacent && may_join(charset, word.charset) => {
                bytes.extend_from_slice(&word.bytes);
            }
            _ => {
                flush(&mut run, &mut out);
                if !adjacent {
                    out.push_str(&charset::decode(b"", between));
                }
                run = Some((word.charset, word.bytes));
            }
        }
        at = word.end;
        plain_start = word.end;
    }
    flush(&mut run, &mut out);
    out.push_str(&charset::decode(b"", value.get(plain_start..).unwrap_or(&[])));
    out
}

/// Decodes the unfolded value of a header field; `value` may still be folded.
#[must_use]
pub fn decode_folded(value: &[u8]) -> String {
    let unfolded: Cow<'_, [u8]> = crate::header::unfold(value);
    decode(&unfolded)
}

/// May a character start in a word of one charset and end in the next? Not where words switch
/// between alphabets (ISO-2022): each of those starts afresh, RFC 2047 3.
fn may_join(first: &[u8], second: &[u8]) -> bool {
    let switches = first.get(..8).is_some_and(|head| head.eq_ignore_ascii_case(b"iso-2022"));
    first.eq_ignore_ascii_case(second) && !switches
}

fn flush(run: &mut Option<(&[u8], Vec<u8>)>, out: &mut String) {
    if let Some((charset, bytes)) = run.take() {
        out.push_str(&charset::decode(charset, &bytes));
    }
}

struct Word<'a> {
    charset: &'a [u8],
    bytes: Vec<u8>,
    end: usize,
}

impl<'a> Word<'a> {
    /// `=?charset?encoding?text?=` at `start`.
    fn parse(value: &'a [u8], start: usize, may_end: &mut bool) -> Option<Word<'a>> {
        let rest = value.get(start + 2..)?;
        let len = rest.iter().take(CHARSET_LEN_MAX).position(|&byte| byte == b'?')?;
        let charset = rest.get(..len)?;
        let [b'?', encoding, b'?', ..] = rest.get(len..)? else { return None };
        let text_start = start + 2 + len + 3;
        let Some(text_end) = find(value, b"?=", text_start) else {
            *may_end = false;
            return None;
        };
        let text = value.get(text_start..text_end)?;
        let bytes = match encoding {
            b'B' | b'b' => transfer::base64(text),
            b'Q' | b'q' => q_decode(text),
            _ => return None,
        };
        // RFC 2231 5: a language may follow the charset.
        let charset = charset.split(|&byte| byte == b'*').next().unwrap_or(charset);
        (!charset.is_empty()).then_some(Word { charset, bytes, end: text_end + 2 })
    }
}

/// RFC 2047 4.2.
fn q_decode(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'_' { b' ' } else { byte }).collect();
    let mut out = Vec::with_capacity(spaced.len());
    transfer::decode_codes(&spaced, b'=', &mut out);
    out
}

fn find(bytes: &[u8], pair: &[u8; 2], from: usize) -> Option<usize> {
    let at = memchr::memmem::find(bytes.get(from..)?, pair)?;
    Some(from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: &str) {
        assert_eq!(decode(value.as_bytes()), expected, "{value:?}");
    }

    #[test]
    fn words_of_the_rfc() {
        // RFC 2047 8.
        check("=?ISO-8859-1?Q?a?=", "a");
        check("=?ISO-8859-1?Q?a?= b", "a b");
        check("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab");
        check("=?ISO-8859-1?Q?a?=    \t=?ISO-8859-1?Q?b?=", "ab");
        check("=?ISO-8859-1?Q?a_b?=", "a b");
        check("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b");
        check(
            "=?US-ASCII*EN?Q?Keith_Moore?= <moore@example.org>",
            "Keith Moore <moore@example.org>",
        );
    }

    #[test]
    fn charsets_and_encodings() {
        check("=?utf-8?B?w6TDtsO8?=", "\u{e4}\u{f6}\u{fc}");
        check("=?utf-8?q?=C3=A4?=", "\u{e4}");
        check("=?windows-1252?Q?=80?=", "\u{20ac}");
        check("=?iso-2022-jp?B?GyRCJDMbKEI=?=", "\u{3053}");
    }

    #[test]
    fn a_character_split_over_two_words() {
        check("=?utf-8?Q?=C3?= =?UTF-8?Q?=A4?=", "\u{e4}");
        check("=?utf-8?B?4oI=?=\t=?utf-8?B?rA==?=", "\u{20ac}");
        let japanese = "=?ISO-2022-JP?B?GyRCJUYbKEI=?=";
        check(&format!("{japanese} {japanese}"), "\u{30c6}\u{30c6}");
    }

    #[test]
    fn sloppy_words() {
        check("\"=?utf-8?Q?quoted?=\" <a@example.org>", "\"quoted\" <a@example.org>");
        check("Re:=?utf-8?Q?glued?=on", "Re:gluedon");
        check("=?utf-8?Q?with spaces inside?=", "with spaces inside");
        check("=?utf-8?Q?=zz=4?=", "=zz=4");
        check("=?utf-8?Q??=", "");
    }

    #[test]
    fn what_is_no_word_stays() {
        for text in [
            "",
            "plain",
            "=?",
            "=?utf-8?",
            "=?utf-8?Q?open",
            "=?utf-8?X?a?=",
            "a =?= b",
            "=??Q?a?=",
        ] {
            check(text, text);
        }
        check("raw \u{e4} too", "raw \u{e4} too");
        assert_eq!(decode(b"raw \xe4 too"), "raw \u{e4} too");
    }

    #[test]
    fn many_open_words_take_linear_time() {
        let value = "=?x?q?y".repeat(200_000);
        check(&value, &value);
    }
}
