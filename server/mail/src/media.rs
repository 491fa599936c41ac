//! What the Content-* fields of a part say: type, parameters, disposition, language and the rest.
//!
//! Values are the bytes that were written, unfolded, without comments, quotes and their
//! backslashes; RFC 2231 continuations (`name*0*=`) stay as they are, which is how IMAP hands them
//! on. A value may hold any byte but a line end, NUL and 8-bit among them.
//! Invariant: a [`Media`] always has a type and a subtype; where the field is missing or broken
//! they are RFC 2045's default.
//! Not here: decoding ([`crate::transfer`], [`crate::charset`]).

use crate::header;
use crate::transfer;

/// Most parameters kept of one field. Real mail has a handful, RFC 2231 pieces a few dozen; a
/// thousand still bounds what one line can make us send back.
pub const PARAMS_MAX: usize = 1_000;

/// `attribute=value`, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// The attribute, in the case it was written in.
    pub name: Vec<u8>,
    /// The value, unquoted.
    pub value: Vec<u8>,
}

/// What a part says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// The type, in the case it was written in: `text`, `Multipart`.
    pub kind: Vec<u8>,
    /// The subtype, in the case it was written in.
    pub subtype: Vec<u8>,
    /// The parameters of Content-Type, in their order.
    pub params: Vec<Param>,
    /// Content-ID, with its angle brackets.
    pub id: Option<Vec<u8>>,
    /// Content-Description, not decoded.
    pub description: Option<Vec<u8>>,
    /// Content-Transfer-Encoding as written; `None`: 7bit (RFC 2045 6.1).
    pub encoding: Option<Vec<u8>>,
    /// Content-MD5.
    pub md5: Option<Vec<u8>>,
    /// Content-Disposition.
    pub disposition: Option<Disposition>,
    /// The tags of Content-Language; empty if there are none.
    pub languages: Vec<Vec<u8>>,
    /// Content-Location.
    pub location: Option<Vec<u8>>,
}

/// Content-Disposition (RFC 2183): `attachment; filename=a.pdf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disposition {
    /// `inline`, `attachment` or something else, in the case it was written in.
    pub kind: Vec<u8>,
    /// Its parameters, in their order.
    pub params: Vec<Param>,
}

impl Media {
    /// What a part with no Content-* field is: text/plain in US-ASCII (RFC 2045 5.2).
    #[must_use]
    pub fn plain_text() -> Media {
        let charset = Param { name: b"charset".to_vec(), value: b"us-ascii".to_vec() };
        Media { params: vec![charset], ..Media::bare(b"text", b"plain") }
    }

    /// A media type and nothing else.
    #[must_use]
    pub fn bare(kind: &[u8], subtype: &[u8]) -> Media {
        Media {
            kind: kind.to_vec(),
            subtype: subtype.to_vec(),
            params: Vec::new(),
            id: None,
            description: None,
            encoding: None,
            md5: None,
            disposition: None,
            languages: Vec::new(),
            location: None,
        }
    }

    /// Reads the Content-* fields of a header block. `in_digest`: the part lies directly in a
    /// multipart/digest, where the default is message/rfc822 (RFC 2046 5.1.5).
    /// Of a field that occurs twice the first one counts.
    #[must_use]
    pub fn of_header(block: &[u8], in_digest: bool) -> Media {
        let mut media =
            if in_digest { Media::bare(b"message", b"rfc822") } else { Media::plain_text() };
        let mut typed = false;
        let mut disposed = false;
        for field in header::fields(block) {
            let Some(rest) = strip_prefix_ignore_case(field.name, b"content-") else { continue };
            let is = |name: &[u8]| rest.eq_ignore_ascii_case(name);
            let value = header::unfold(field.value);
            let text = || Some(value.to_vec()).filter(|text| !text.is_empty());
            if is(b"type") && !typed {
                typed = true;
                media.read_type(&value, in_digest);
            } else if is(b"transfer-encoding") && media.encoding.is_none() {
                media.encoding = first_token(&value);
            } else if is(b"disposition") && !disposed {
                disposed = true;
                media.disposition = Disposition::parse(&value);
            } else if is(b"id") && media.id.is_none() {
                media.id = text();
            } else if is(b"description") && media.description.is_none() {
                media.description = text();
            } else if is(b"md5") && media.md5.is_none() {
                media.md5 = text();
            } else if is(b"language") && media.languages.is_empty() {
                media.languages = languages(&value);
            } else if is(b"location") && media.location.is_none() {
                media.location = text();
            }
        }
        media
    }

    /// Takes over a Content-Type. A type that cannot be read leaves the default of RFC 2045 5.2
    /// with what parameters could be read.
    fn read_type(&mut self, value: &[u8], in_digest: bool) {
        let mut scan = Scan { bytes: value, at: 0 };
        let kind = scan.token();
        let subtype = if scan.eat(b'/') { scan.token() } else { Vec::new() };
        let params = scan.params();
        if !kind.is_empty() && !subtype.is_empty() {
            (self.kind, self.subtype, self.params) = (kind, subtype, params);
        } else if !in_digest && params.iter().any(|p| p.name.eq_ignore_ascii_case(b"charset")) {
            self.params = params;
        } else {
            self.params.extend(params);
        }
    }

    /// Is this the type `kind/subtype` (ASCII, in any case)?
    #[must_use]
    pub fn is(&self, kind: &[u8], subtype: &[u8]) -> bool {
        self.is_kind(kind) && self.subtype.eq_ignore_ascii_case(subtype)
    }

    /// Is this some `kind/…`?
    #[must_use]
    pub fn is_kind(&self, kind: &[u8]) -> bool {
        self.kind.eq_ignore_ascii_case(kind)
    }

    /// The first Content-Type parameter called `name` (in any case).
    #[must_use]
    pub fn param(&self, name: &[u8]) -> Option<&[u8]> {
        find_param(&self.params, name)
    }
}

impl Disposition {
    /// Reads the value of a Content-Disposition field.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Disposition> {
        let mut scan = Scan { bytes: value, at: 0 };
        let kind = scan.token();
        let params = scan.params();
        (!kind.is_empty()).then_some(Disposition { kind, params })
    }

    /// The first parameter called `name` (in any case).
    #[must_use]
    pub fn param(&self, name: &[u8]) -> Option<&[u8]> {
        find_param(&self.params, name)
    }
}

/// Joins what RFC 2231 lets a sender split and percent-encode: `name*0*=utf-8''a; name*1=b`. Gives
/// the charset (empty if none is said) and the bytes. A plain `name=` wins over the split form.
#[must_use]
pub fn joined_param(params: &[Param], name: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    if let Some(plain) = find_param(params, name) {
        return Some((Vec::new(), plain.to_vec()));
    }
    let mut pieces: Vec<(usize, bool, &[u8])> = Vec::new();
    for param in params {
        let Some(rest) = strip_prefix_ignore_case(&param.name, name) else { continue };
        let Some(rest) = rest.strip_prefix(b"*") else { continue };
        let (digits, encoded) = match rest.strip_suffix(b"*") {
            Some(digits) => (digits, true),
            None => (rest, rest.is_empty()),
        };
        // RFC 2231 3 and 4: `name*` is a single encoded value, `name*N` and `name*N*` are pieces.
        let digits = if digits.is_empty() { b"0" } else { digits };
        let Some(number) = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()) else {
            continue;
        };
        pieces.push((number, encoded, &param.value));
    }
    pieces.sort_by_key(|&(number, ..)| number);
    pieces.dedup_by_key(|&mut (number, ..)| number);
    let mut charset = Vec::new();
    let mut out = Vec::new();
    for (at, &(number, encoded, value)) in pieces.iter().enumerate() {
        if number != at {
            break;
        }
        let value = match (encoded, at) {
            (true, 0) => after_charset(value, &mut charset),
            _ => value,
        };
        if encoded {
            transfer::decode_codes(value, b'%', &mut out);
        } else {
            out.extend_from_slice(value);
        }
    }
    pieces.first().is_some_and(|&(number, ..)| number == 0).then_some((charset, out))
}

/// Splits `charset'language'value`.
fn after_charset<'a>(value: &'a [u8], charset: &mut Vec<u8>) -> &'a [u8] {
    let mut fields = value.splitn(3, |&byte| byte == b'\'');
    match (fields.next(), fields.next(), fields.next()) {
        (Some(name), Some(_language), Some(rest)) => {
            charset.extend_from_slice(name);
            rest
        }
        _ => value,
    }
}

fn find_param<'a>(params: &'a [Param], name: &[u8]) -> Option<&'a [u8]> {
    let param = params.iter().find(|param| param.name.eq_ignore_ascii_case(name))?;
    Some(&param.value)
}

fn strip_prefix_ignore_case<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn first_token(value: &[u8]) -> Option<Vec<u8>> {
    let token = Scan { bytes: value, at: 0 }.token();
    (!token.is_empty()).then_some(token)
}

/// RFC 3282: tags with commas between them and comments anywhere.
fn languages(value: &[u8]) -> Vec<Vec<u8>> {
    let mut scan = Scan { bytes: value, at: 0 };
    let mut tags = Vec::new();
    while scan.peek().is_some() && tags.len() < PARAMS_MAX {
        let tag = scan.token();
        if !tag.is_empty() {
            tags.push(tag);
        } else if !scan.eat(b',') {
            scan.at += 1;
        }
    }
    tags
}

/// A reader of one unfolded structured value. Every method moves forward only.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    /// The next byte that is neither white space nor in a comment.
    fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.bytes.get(self.at).copied()
    }

    fn eat(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'(' => self.skip_comment(),
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => return,
            }
        }
    }

    /// RFC 5322 3.2.2: comments nest. One that never ends goes to the end.
    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'\\' => self.at += 1,
                b'(' => depth += 1,
                b')' if depth == 1 => return,
                b')' => depth -= 1,
                _ => {}
            }
        }
    }

    /// A token of RFC 2045 5.1, 8-bit bytes allowed; empty if none starts here.
    fn token(&mut self) -> Vec<u8> {
        self.skip_space();
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let len = rest.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or(&[]).to_vec()
    }

    /// `; name=value` as often as it comes. Junk between parameters is stepped over.
    fn params(&mut self) -> Vec<Param> {
        let mut params = Vec::new();
        while self.peek().is_some() && params.len() < PARAMS_MAX {
            if self.eat(b';') {
                continue;
            }
            let name = self.token();
            if self.eat(b'=') {
                let value = self.value();
                if !name.is_empty() {
                    params.push(Param { name, value });
                }
            } else if name.is_empty() {
                self.at += 1;
            }
        }
        params
    }

    fn value(&mut self) -> Vec<u8> {
        match self.peek() {
            Some(b'"') => header::quoted_string(self.bytes, &mut self.at),
            _ => self.unquoted(),
        }
    }

    /// What should have been a token: senders leave out the quotes (`name=my file.pdf`), so all up
    /// to the next semicolon or comment counts.
    fn unquoted(&mut self) -> Vec<u8> {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let end = |pair: &[u8]| matches!(pair, [b';', ..] | [b' ' | b'\t', b'(', ..]);
        let len = (0..rest.len()).find(|&at| rest.get(at..).is_some_and(end)).unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or(&[]).trim_ascii().to_vec()
    }
}

/// RFC 2045 5.1: any CHAR but SPACE, CTLs and tspecials. 8-bit is taken along: it is what was
/// written.
fn is_token_byte(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(params: &[Param]) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        params.iter().map(|p| format!(" {}=<{}>", text(&p.name), text(&p.value))).collect()
    }

    /// Reads a Content-Type value and renders it as `type/subtype name=<value>`.
    fn check(value: &str, expected: &str) {
        let media = Media::of_header(format!("Content-Type:{value}\r\n\r\n").as_bytes(), false);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let shown =
            format!("{}/{}{}", text(&media.kind), text(&media.subtype), show(&media.params));
        assert_eq!(shown, expected, "{value:?}");
    }

    #[test]
    fn types_and_parameters() {
        check(" text/html; charset=utf-8", "text/html charset=<utf-8>");
        check(" Text/HTML;charset=\"utf-8\";x=1", "Text/HTML charset=<utf-8> x=<1>");
        check(" multipart/mixed; boundary=\"foo\r\n bar\"", "multipart/mixed boundary=<foo bar>");
        check(" a/b; q=\"say \\\"hi\\\" \\\\\"", "a/b q=<say \"hi\" \\>");
        check(" text / plain ; charset = us-ascii", "text/plain charset=<us-ascii>");
    }

    #[test]
    fn continuations_stay_as_written() {
        check(
            " a/b; name*0*=utf-8''%e2%82%ac; name*1=x",
            "a/b name*0*=<utf-8''%e2%82%ac> name*1=<x>",
        );
    }

    #[test]
    fn continuations_can_be_joined() {
        let check = |value: &str, expected: Option<(&str, &str)>| {
            let media =
                Media::of_header(format!("Content-Type: a/b; {value}\n\n").as_bytes(), false);
            let joined = joined_param(&media.params, b"name");
            let expected = expected.map(|(c, v)| (c.as_bytes().to_vec(), v.as_bytes().to_vec()));
            assert_eq!(joined, expected, "{value}");
        };
        check("name=plain; name*0=split", Some(("", "plain")));
        check("NAME*1=b; name*0=a", Some(("", "ab")));
        check("name*0*=utf-8'en'%C3%A4; name*1=%C3; name*2*=%zz", Some(("utf-8", "\u{e4}%C3%zz")));
        check("name*=utf-8''%C3%A4", Some(("utf-8", "\u{e4}")));
        check("name*1=b", None);
        check("names*0=b", None);
    }

    #[test]
    fn comments_are_left_out() {
        check(" text/plain (a (nested) one); charset=x (really)", "text/plain charset=<x>");
        check(" text/plain; (c) charset (c) = (c) \"x\" (c)", "text/plain charset=<x>");
        check(" text/plain; charset=x (never ends", "text/plain charset=<x>");
    }

    #[test]
    fn what_is_broken_is_text_in_ascii() {
        check("", "text/plain charset=<us-ascii>");
        check(" text", "text/plain charset=<us-ascii>");
        check(" /plain", "text/plain charset=<us-ascii>");
        check(" text; charset=utf-8", "text/plain charset=<utf-8>");
        check(" ;;;===", "text/plain charset=<us-ascii>");
    }

    #[test]
    fn sloppy_parameters_are_understood() {
        check(" a/b; name=my file.pdf; x=1", "a/b name=<my file.pdf> x=<1>");
        check(" a/b; name=\"never ends; x=1", "a/b name=<never ends; x=1>");
        check(" a/b; flag; x=1;", "a/b x=<1>");
        check(" a/b; x=; y=2", "a/b x=<> y=<2>");
        check(" a/b charset=utf-8", "a/b charset=<utf-8>");
        check(" a/b; boundary=----=_Part_1", "a/b boundary=<----=_Part_1>");
    }

    #[test]
    fn the_other_fields() {
        let block = b"content-ID: <a@example.org>\r\nContent-Description: a\r\n folded one\r\n\
            Content-Transfer-Encoding: (c) Base64 (c)\r\nContent-MD5: Q2h==\r\n\
            Content-Disposition: attachment; filename=\"a b.pdf\"\r\n\
            Content-Language: en, (c) de-CH\r\nContent-Location: http://example.org/\r\n\
            Content-ID: <second@example.org>\r\n\r\n";
        let media = Media::of_header(block, false);
        assert_eq!(media.id.as_deref(), Some(&b"<a@example.org>"[..]));
        assert_eq!(media.description.as_deref(), Some(&b"a folded one"[..]));
        assert_eq!(media.encoding.as_deref(), Some(&b"Base64"[..]));
        assert_eq!(media.md5.as_deref(), Some(&b"Q2h=="[..]));
        assert_eq!(media.languages, [b"en".to_vec(), b"de-CH".to_vec()]);
        assert_eq!(media.location.as_deref(), Some(&b"http://example.org/"[..]));
        let disposition = media.disposition.expect("there is one");
        assert_eq!(disposition.kind, b"attachment");
        assert_eq!(show(&disposition.params), " filename=<a b.pdf>");
    }

    #[test]
    fn the_default_in_a_digest_is_a_message() {
        assert!(Media::of_header(b"\r\n", true).is(b"message", b"RFC822"));
        assert!(Media::of_header(b"Content-Type: text/plain\r\n\r\n", true).is_kind(b"TEXT"));
    }

    #[test]
    fn a_long_row_of_parameters_is_cut() {
        let value = format!(" a/b{}", "; x=1".repeat(PARAMS_MAX + 5));
        let media = Media::of_header(format!("Content-Type:{value}\n\n").as_bytes(), false);
        assert_eq!(media.params.len(), PARAMS_MAX);
    }
}
