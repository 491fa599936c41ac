//! What a person would read in a message, and finding words in it: IMAP's SEARCH.
//!
//! Text is taken out of its transfer encoding and charset. Matching ignores case in the way of
//! Unicode's full case folding (RFC 9051 6.4.4: substring, case-insensitive): `STRASSE` finds
//! `Straße`. Time and memory are linear in the message.
//! Not here: what an index of such texts holds (`terms`); HTML is searched as its source.

use icu_normalizer::DecomposingNormalizerBorrowed;

use crate::charset;
use crate::encoded_word;
use crate::header;
use crate::media;
use crate::mime::{Kind, Part, Tree};
use crate::transfer;

/// The decoded text of a text/* leaf; `None` for other parts. `raw` is the message the part is of.
#[must_use]
pub fn of_part(raw: &[u8], part: &Part) -> Option<String> {
    if part.kind != Kind::Leaf || !part.media.is_kind(b"text") {
        return None;
    }
    let body = raw.get(part.body.clone())?;
    let bytes = transfer::decode(part.media.encoding.as_deref(), body);
    let charset = media::joined_param(&part.media.params, b"charset");
    let charset = charset.map(|(_, name)| name).unwrap_or_default();
    Some(charset::decode(&charset, &bytes).into_owned())
}

/// The fields of a header block as decoded text, one `Name: value` per line.
#[must_use]
pub fn of_header(block: &[u8]) -> String {
    let mut out = String::with_capacity(block.len());
    for field in header::fields(block) {
        out.push_str(&String::from_utf8_lossy(field.name));
        out.push_str(": ");
        out.push_str(&encoded_word::decode_folded(field.value));
        out.push('\n');
    }
    out
}

/// The decoded value of each field called `name`.
pub fn of_fields<'a>(block: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = String> + 'a {
    let named = header::fields(block).filter(move |field| field.is(name));
    named.map(|field| encoded_word::decode_folded(field.value))
}

/// What SEARCH BODY looks into, one text after the other: all text parts, and the headers of the
/// parts inside the message.
pub fn of_body<'a>(raw: &'a [u8], tree: &'a Tree) -> impl Iterator<Item = String> + 'a {
    tree.parts().flat_map(move |part| of_body_part(raw, part))
}

/// Those of one part.
pub fn of_body_part<'a>(raw: &'a [u8], part: &'a Part) -> impl Iterator<Item = String> + 'a {
    let inner = Some(part).filter(|part| part.depth > 0);
    let header = inner.into_iter().filter_map(move |part| part_header(raw, part));
    header.chain(std::iter::once_with(move || of_part(raw, part)).flatten())
}

/// What SEARCH TEXT looks into besides: the message's own header.
#[must_use]
pub fn of_head(raw: &[u8], tree: &Tree) -> Option<String> {
    part_header(raw, tree.root())
}

/// SEARCH BODY: is it in one of the texts of [`of_body`]?
#[must_use]
pub fn body_contains(raw: &[u8], tree: &Tree, needle: &Needle) -> bool {
    of_body(raw, tree).any(|text| needle.is_in(&text))
}

/// SEARCH TEXT: the message's header or its body.
#[must_use]
pub fn message_contains(raw: &[u8], tree: &Tree, needle: &Needle) -> bool {
    of_head(raw, tree).is_some_and(|text| needle.is_in(&text)) || body_contains(raw, tree, needle)
}

fn part_header(raw: &[u8], part: &Part) -> Option<String> {
    raw.get(part.header.clone()).map(of_header)
}

/// A text to look for, prepared for many comparisons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle {
    folded: String,
}

impl Needle {
    /// Prepares `text`. The empty text is found everywhere.
    #[must_use]
    pub fn new(text: &str) -> Needle {
        Needle { folded: fold(text) }
    }

    /// The text as it is compared.
    #[must_use]
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// Does `text` contain it, in any case?
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        self.is_in_folded(&fold(text))
    }

    /// Does a text contain it that was folded before?
    #[must_use]
    pub fn is_in_folded(&self, folded: &str) -> bool {
        memchr::memmem::find(folded.as_bytes(), self.folded.as_bytes()).is_some()
    }
}

/// Case folding: upper case first, so that `ß` becomes `ss` and final sigma a sigma.
#[must_use]
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c.to_ascii_lowercase());
        } else {
            out.extend(c.to_uppercase().flat_map(char::to_lowercase));
        }
    }
    out
}

/// A text whose bytes order as RFC 5051 (`i;unicode-casemap`) orders texts: folded, then taken
/// apart into letters and marks, so that `Änne` stands before `Zoe`.
#[must_use]
pub fn collated(text: &str) -> String {
    let folded = fold(text);
    if folded.is_ascii() {
        return folded;
    }
    DecomposingNormalizerBorrowed::new_nfkd().normalize(&folded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matching_ignores_case() {
        let check = |needle: &str, text: &str| Needle::new(needle).is_in(text);
        assert!(check("", ""));
        assert!(check("HELLO", "say hello"));
        assert!(check("STRASSE", "Lange Stra\u{df}e 1"));
        assert!(check("\u{c4}RGER", "viel \u{e4}rger"));
        assert!(check(
            "\u{3c3}\u{3bf}\u{3c6}\u{3cc}\u{3c2}",
            "\u{3a3}\u{39f}\u{3a6}\u{38c}\u{3a3}"
        ));
        assert!(check("\u{43f}\u{440}", "\u{41f}\u{420}\u{418}"));
        assert!(!check("hello!", "hello"));
        assert!(!check("a", ""));
    }

    #[test]
    fn letters_with_marks_stand_beside_those_without() {
        let mut names = ["Zoe", "\u{c4}nne", "anton", "azra", "A\u{308}nne", "Bob", "\u{fb01}n"];
        names.sort_by_key(|name| collated(name));
        let order = ["anton", "azra", "\u{c4}nne", "A\u{308}nne", "Bob", "\u{fb01}n", "Zoe"];
        assert_eq!(names, order);
        assert_eq!(collated("\u{c4}"), collated("a\u{308}"));
        assert_eq!(collated("ABC d"), "abc d");
    }

    const MESSAGE: &[u8] = b"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n\
        --b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\nsch=F6=\r\nn\r\n\
        --b\r\nContent-Type: text/html; charset*=us-ascii''utf-8\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nPGI+ZmV0dDwvYj4=\r\n\
        --b\r\nContent-Type: application/pdf; name=\"invoice.pdf\"\r\n\r\nbinary\r\n--b--\r\n";

    #[test]
    fn text_is_decoded_before_it_is_searched() {
        let tree = Tree::parse(MESSAGE);
        let body = |needle: &str| body_contains(MESSAGE, &tree, &Needle::new(needle));
        let all = |needle: &str| message_contains(MESSAGE, &tree, &Needle::new(needle));
        assert!(body("SCH\u{d6}N") && body("fett</b>") && body("invoice.PDF"));
        assert!(!body("gr\u{fc}\u{df}e") && all("gr\u{fc}\u{df}e") && all("GR\u{dc}SSE"));
        assert!(!all("binary") && !all("PGI+"));
        assert_eq!(of_fields(MESSAGE, b"subject").collect::<Vec<_>>(), ["Gr\u{fc}\u{df}e"]);
    }
}
