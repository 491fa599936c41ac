//! IMAP's names for pieces of a message: `1.2`, `1.2.MIME`, `2.HEADER.FIELDS (FROM TO)`, `TEXT`.
//!
//! RFC 9051 6.4.5.1 and 9 (section-spec). A part number walks down the tree: into the parts of a
//! multipart, through a message to the parts of the message inside it; a message that is not a
//! multipart has one part, number 1, its body. Invariant: an answer is a range of the message or,
//! for a subset of a header, copies of its lines; a piece that does not exist is `None`, never
//! something near it.
//! Not here: partial fetches (`<0.100>`) and how the answer is written on the wire.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use crate::header;
use crate::mime::{self, Kind, Part, Tree};

/// Most numbers in one path. No part lies deeper than this many steps.
pub const PATH_LEN_MAX: usize = mime::DEPTH_MAX + 1;

/// A piece of a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Section {
    /// The part numbers, each from 1; empty for the message itself.
    pub path: Vec<u32>,
    /// Which piece of that part.
    pub what: What,
}

/// Which piece of a part.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum What {
    /// The part's body; with an empty path the whole message.
    Whole,
    /// HEADER: the header of the message (or of the message inside the part).
    Header,
    /// HEADER.FIELDS: those fields of it that have one of these names.
    Fields(Vec<Vec<u8>>),
    /// HEADER.FIELDS.NOT: those fields of it that have none of these names.
    FieldsNot(Vec<Vec<u8>>),
    /// TEXT: the body of the message (or of the message inside the part).
    Text,
    /// MIME: the part's own header. Needs a path.
    Mime,
}

/// Why a section could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionError {
    /// A part number is 0, too large or not a number.
    Number,
    /// More than [`PATH_LEN_MAX`] part numbers.
    TooDeep,
    /// An unknown word, or MIME without a part number.
    Word,
    /// HEADER.FIELDS without a list of names in parentheses.
    Names,
}

impl fmt::Display for SectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "a part number must be from 1 to 4294967295",
            Self::TooDeep => "the part path is too deep",
            Self::Word => "expected HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT, or N.MIME",
            Self::Names => "expected a list of field names in parentheses",
        })
    }
}

impl std::error::Error for SectionError {}

impl Section {
    /// The whole message.
    pub const MESSAGE: Section = Section { path: Vec::new(), what: What::Whole };

    /// Reads what stands between the brackets of `BODY[…]`. Field names are atoms here; a caller
    /// whose grammar also allows strings makes the [`What`] itself.
    ///
    /// # Errors If it is not a section.
    pub fn parse(text: &[u8]) -> Result<Section, SectionError> {
        let mut path = Vec::new();
        let mut rest = text;
        while rest.first().is_some_and(u8::is_ascii_digit) {
            let len = rest.iter().position(|&byte| byte == b'.').unwrap_or(rest.len());
            let (digits, after) = rest.split_at_checked(len).ok_or(SectionError::Number)?;
            path.push(part_number(digits).ok_or(SectionError::Number)?);
            if path.len() > PATH_LEN_MAX {
                return Err(SectionError::TooDeep);
            }
            rest = match after.strip_prefix(b".") {
                Some([]) => return Err(SectionError::Word),
                Some(more) => more,
                None => after,
            };
        }
        let what = What::parse(rest)?;
        if what == What::Mime && path.is_empty() {
            return Err(SectionError::Word);
        }
        Ok(Section { path, what })
    }

    /// Where the piece lies. For a subset of a header: where that header lies.
    #[must_use]
    pub fn range(&self, tree: &Tree) -> Option<Range<usize>> {
        if self.path.is_empty() {
            return match self.what {
                What::Whole => Some(tree.root().whole()),
                What::Mime => None,
                _ => self.of_message(tree.root()),
            };
        }
        let part = part(tree, &self.path)?;
        match self.what {
            What::Whole => Some(part.body.clone()),
            What::Mime => Some(part.header.clone()),
            // RFC 9051 6.4.5.1: with a number before them, the others want a MESSAGE/RFC822 part.
            _ => self.of_message(tree.embedded(part)?),
        }
    }

    fn of_message(&self, message: &Part) -> Option<Range<usize>> {
        match self.what {
            What::Header | What::Fields(_) | What::FieldsNot(_) => Some(message.header.clone()),
            What::Text => Some(message.body.clone()),
            What::Whole | What::Mime => None,
        }
    }

    /// The bytes of the piece; `tree` must have been made from `raw`.
    #[must_use]
    pub fn bytes<'a>(&self, raw: &'a [u8], tree: &Tree) -> Option<Cow<'a, [u8]>> {
        let piece = raw.get(self.range(tree)?)?;
        Some(match &self.what {
            What::Fields(names) => Cow::Owned(header::select(piece, names, false)),
            What::FieldsNot(names) => Cow::Owned(header::select(piece, names, true)),
            What::Whole | What::Header | What::Text | What::Mime => Cow::Borrowed(piece),
        })
    }
}

impl What {
    fn parse(text: &[u8]) -> Result<What, SectionError> {
        let word_len = text.iter().position(|&byte| byte == b' ').unwrap_or(text.len());
        let (word, names) = text.split_at_checked(word_len).ok_or(SectionError::Word)?;
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if is(b"HEADER.FIELDS") {
            return Ok(What::Fields(field_names(names)?));
        }
        if is(b"HEADER.FIELDS.NOT") {
            return Ok(What::FieldsNot(field_names(names)?));
        }
        match () {
            () if !names.is_empty() => Err(SectionError::Word),
            () if is(b"") => Ok(What::Whole),
            () if is(b"HEADER") => Ok(What::Header),
            () if is(b"TEXT") => Ok(What::Text),
            () if is(b"MIME") => Ok(What::Mime),
            () => Err(SectionError::Word),
        }
    }
}

/// nz-number of RFC 9051 9.
fn part_number(digits: &[u8]) -> Option<u32> {
    let plain = digits.first() != Some(&b'0') && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
}

fn field_names(list: &[u8]) -> Result<Vec<Vec<u8>>, SectionError> {
    let inside = list.strip_prefix(b" (").and_then(|list| list.strip_suffix(b")"));
    let names: Vec<Vec<u8>> = inside
        .ok_or(SectionError::Names)?
        .split(|&byte| byte == b' ')
        .map(<[u8]>::to_vec)
        .collect();
    if names.iter().any(Vec::is_empty) { Err(SectionError::Names) } else { Ok(names) }
}

/// The part that `path` leads to; the root for an empty path.
#[must_use]
pub fn part<'a>(tree: &'a Tree, path: &[u32]) -> Option<&'a Part> {
    let mut here = tree.root();
    // A message that is not a multipart has one part: itself.
    let mut at_message = true;
    for &number in path {
        if !at_message && here.kind == Kind::Message {
            here = tree.embedded(here)?;
            at_message = true;
        }
        if here.kind == Kind::Multipart {
            here = tree.child(here, number)?;
        } else if !at_message || number != 1 {
            return None;
        }
        at_message = false;
    }
    Some(here)
}
