//! Header blocks: lines, fields, folding.
//!
//! A header block is the bytes from the first field up to and including the blank line that ends it
//! (or up to the end of the bytes when that line is missing). Lines end in CRLF or in a bare LF; a
//! CR alone is data. A line that is neither a field nor the continuation of one belongs to no
//! field.
//! Invariants: every range lies inside the bytes given; fields come in their order and do not
//! overlap.
//! Not here: what a field means ([`crate::media`], [`crate::envelope`]) and RFC 2047
//! ([`crate::encoded_word`]).

use std::borrow::Cow;
use std::ops::Range;

/// Where a written header line is broken, in bytes without the line end.
/// RFC 5322 2.1.1: a line should be no longer than 78 characters.
pub const LINE_LEN: usize = 78;

/// Longest field name taken as one, in bytes. RFC 5322 2.1.1 limits a line to 998 characters; a
/// line with more before its first colon is text, not a field.
pub const NAME_LEN_MAX: usize = 998;

/// One field of a header block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name as written, without the colon.
    pub name: &'a [u8],
    /// All after the colon, still folded, without the last line end.
    pub value: &'a [u8],
    /// The whole field: name, colon, value and the last line end.
    pub raw: &'a [u8],
    /// Where `raw` starts in the header block.
    pub start: usize,
}

impl Field<'_> {
    /// Is this the field called `name` (ASCII, in any case)?
    #[must_use]
    pub fn is(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Where the field lies in the header block.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start..self.start.saturating_add(self.raw.len())
    }
}

/// The fields of a header block, in order. Stops at the blank line.
#[must_use]
pub fn fields(block: &[u8]) -> Fields<'_> {
    Fields { block, at: 0 }
}

/// The first field called `name`.
#[must_use]
pub fn first<'a>(block: &'a [u8], name: &[u8]) -> Option<Field<'a>> {
    fields(block).find(|field| field.is(name))
}

/// The unfolded value of the first field called `name`.
#[must_use]
pub fn value<'a>(block: &'a [u8], name: &[u8]) -> Option<Cow<'a, [u8]>> {
    first(block, name).map(|field| unfold(field.value))
}

/// Walks the fields of a header block; made by [`fields`].
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        loop {
            let start = self.at;
            let line = line_at(self.block, start)?;
            if is_blank(line) {
                self.at = self.block.len();
                return None;
            }
            self.at = start + line.len();
            let Some(name_len) = field_name_len(line) else { continue };
            while let Some(more) = line_at(self.block, self.at)
                && is_continuation(more)
            {
                self.at += more.len();
            }
            let raw = self.block.get(start..self.at)?;
            let name = raw.get(..name_len)?.trim_ascii_end();
            let value = without_line_end(raw.get(name_len + 1..)?);
            return Some(Field { name, value, raw, start });
        }
    }
}

/// The line that starts at `at`, with its line end; `None` at the end of the bytes.
#[must_use]
pub fn line_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
    match memchr::memchr(b'\n', rest) {
        Some(lf) => rest.get(..=lf),
        None => Some(rest),
    }
}

/// The line without its CRLF or LF.
#[must_use]
pub fn without_line_end(line: &[u8]) -> &[u8] {
    let Some(line) = line.strip_suffix(b"\n") else { return line };
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Does this line end a header? CRs before the line end do not count: some gateways double them.
#[must_use]
pub fn is_blank(line: &[u8]) -> bool {
    let Some(mut line) = line.strip_suffix(b"\n") else { return false };
    while let Some(shorter) = line.strip_suffix(b"\r") {
        line = shorter;
    }
    line.is_empty()
}

/// Does this line continue the field above it? RFC 5322 2.2.3, and 4.2 for lines of white space
/// only.
#[must_use]
pub fn is_continuation(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}

/// The length of what stands before the colon, if this line starts a field.
#[must_use]
pub fn field_name_len(line: &[u8]) -> Option<usize> {
    let colon = line.iter().take(NAME_LEN_MAX + 1).position(|&byte| byte == b':')?;
    // RFC 5322 4.5: obsolete fields may have white space before the colon.
    let name = line.get(..colon)?.trim_ascii_end();
    // RFC 5322 2.2: printable US-ASCII except the colon.
    let printable = !name.is_empty() && name.iter().all(|&byte| (33..=126).contains(&byte));
    printable.then_some(colon)
}

/// Unfolds a value (RFC 5322 2.2.3: take out each line end that white space follows) and trims it.
/// Line ends that have no business inside a value go too, so that the result is one line.
#[must_use]
pub fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    let value = value.trim_ascii();
    if memchr::memchr(b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut out = Vec::with_capacity(value.len());
    for line in value.split_inclusive(|&byte| byte == b'\n') {
        out.extend_from_slice(without_line_end(line));
    }
    Cow::Owned(out)
}

/// The text of the quoted string whose opening quote stands at `at`, quoted pairs taken apart
/// (RFC 5322 3.2.4); `at` moves behind it. One that never ends goes to the end.
pub(crate) fn quoted_string(bytes: &[u8], at: &mut usize) -> Vec<u8> {
    let mut text = Vec::new();
    *at += 1;
    while let Some(&byte) = bytes.get(*at) {
        *at += 1;
        match byte {
            b'"' => break,
            b'\\' => {
                text.extend(bytes.get(*at));
                *at += 1;
            }
            byte => text.push(byte),
        }
    }
    text
}

/// Writes a field as lines of at most [`LINE_LEN`] bytes where white space allows it, ending in
/// CRLF. Line ends inside `value` become spaces, so that no value can smuggle in another field.
#[must_use]
pub fn fold(name: &str, value: &str) -> String {
    let mut out = format!("{name}:");
    let mut line_len = out.len();
    for word in value.split_ascii_whitespace() {
        if line_len + 1 + word.len() > LINE_LEN && line_len > name.len() + 1 {
            out.push_str("\r\n");
            line_len = 0;
        }
        out.push(' ');
        out.push_str(word);
        line_len += 1 + word.len();
    }
    out.push_str("\r\n");
    out
}

/// Copies the fields of `block` called one of `names` (or, when `others`, called none of them),
/// each as it was written, then the blank line if the block has one.
///
/// RFC 9051 6.4.5.1: HEADER.FIELDS and HEADER.FIELDS.NOT; names match in any case, and subsetting
/// does not exclude the delimiting blank line.
#[must_use]
pub fn select<N: AsRef<[u8]>>(block: &[u8], names: &[N], others: bool) -> Vec<u8> {
    let lower = |name: &N| name.as_ref().trim_ascii_end().to_ascii_lowercase();
    let mut names: Vec<Vec<u8>> = names.iter().map(lower).collect();
    names.sort_unstable();
    let is_named = |field: &Field<'_>| {
        let lower = |byte: &u8| byte.to_ascii_lowercase();
        let compared = |name: &Vec<u8>| name.iter().copied().cmp(field.name.iter().map(lower));
        names.binary_search_by(compared).is_ok()
    };
    let mut out = Vec::new();
    for field in fields(block) {
        if is_named(&field) != others {
            out.extend_from_slice(field.raw);
        }
    }
    out.extend_from_slice(blank_line(block));
    out
}

/// The blank line a header block ends with; empty if it has none.
#[must_use]
pub fn blank_line(block: &[u8]) -> &[u8] {
    let Some(before_lf) = block.strip_suffix(b"\n") else { return &[] };
    let line_start = before_lf.iter().rposition(|&byte| byte == b'\n').map_or(0, |lf| lf + 1);
    block.get(line_start..).filter(|line| is_blank(line)).unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Renders the fields as `name=value|`, unfolded.
    fn check(block: &str, expected: &str) {
        let shown: String = fields(block.as_bytes())
            .map(|field| {
                let (name, value) = (String::from_utf8_lossy(field.name), unfold(field.value));
                format!("{name}={}|", String::from_utf8_lossy(&value))
            })
            .collect();
        assert_eq!(shown, expected, "{block:?}");
        for field in fields(block.as_bytes()) {
            assert_eq!(&block.as_bytes()[field.range()], field.raw);
        }
    }

    #[test]
    fn fields_are_found_with_either_line_end() {
        check("From: a\r\nTo: b\r\n\r\nBody: no", "From=a|To=b|");
        check("From: a\nTo: b\n\nBody: no", "From=a|To=b|");
        check("From:a\nTo:\tb", "From=a|To=b|");
        check("", "");
        check("\r\nBody: no", "");
    }

    #[test]
    fn folded_values_become_one_line() {
        check("Subject: one\r\n two\r\n\tthree\r\nTo: x\r\n\r\n", "Subject=one two\tthree|To=x|");
        check("Subject: one\n \n two\n\n", "Subject=one  two|");
        check("Subject:\r\n late start\r\n", "Subject=late start|");
    }

    #[test]
    fn lines_that_are_no_fields_belong_to_none() {
        check("From old@example.org Mon\nTo: b\n\n", "To=b|");
        check("A: 1\nno colon here\n folded junk\nB: 2\n\n", "A=1|B=2|");
        check(": no name\nB : obsolete space\n\n", "B=obsolete space|");
        check("Sch\u{f6}n: 1\nB: 2\n\n", "B=2|");
        check(" starts folded\nB: 2\n\n", "B=2|");
    }

    #[test]
    fn a_value_may_be_empty_or_binary() {
        check("A:\nB: \n\n", "A=|B=|");
        let block = b"A: \0\xff\r\n\r\n";
        assert_eq!(first(block, b"a").map(|field| field.value), Some(&b" \0\xff"[..]));
    }

    #[test]
    fn a_doubled_cr_still_ends_the_header() {
        check("A: 1\r\n\r\r\nB: 2\r\n", "A=1|");
    }

    #[test]
    fn select_keeps_bytes_and_the_blank_line() {
        let block = b"From: a\r\nTO:  b\r\n c\r\nSubject: s\r\nTo: d\r\n\r\n";
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(text(select(block, &["to"], false)), "TO:  b\r\n c\r\nTo: d\r\n\r\n");
        assert_eq!(text(select(block, &["to"], true)), "From: a\r\nSubject: s\r\n\r\n");
        assert_eq!(text(select(block, &["x"], false)), "\r\n");
        assert_eq!(text(select(b"A: 1\nB: 2\n\n", &["b"], false)), "B: 2\n\n");
        assert_eq!(text(select(b"A: 1\nB: 2", &["b"], false)), "B: 2");
        let many = ["zoo", "TO", "b", "Subject ", "a"];
        assert_eq!(text(select(block, &many, true)), "From: a\r\n\r\n");
    }

    #[test]
    fn fold_breaks_at_spaces_only_and_never_lets_a_line_in() {
        assert_eq!(fold("Subject", "short"), "Subject: short\r\n");
        assert_eq!(fold("A", "x\r\nEvil: y"), "A: x Evil: y\r\n");
        let long = fold("Subject", &"word ".repeat(40));
        assert!(long.lines().all(|line| line.len() <= LINE_LEN), "{long}");
        assert_eq!(unfold(long.as_bytes()).len(), "Subject: ".len() + 40 * 5 - 1);
    }
}
