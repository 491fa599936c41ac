//! PREVIEW: the first words of a letter, as a list of letters shows them (RFC 8970).
//!
//! ```text
//!   parts ─▶ the first text that is no attachment ─▶ quotations, signature, markup off
//!         ─▶ runs of white space become one space ─▶ at most 200 characters
//! ```
//! Invariants: pure and linear in what is given; the answer has at most [`PREVIEW_CHARS_MAX`]
//! characters and no control characters; a letter without text has the empty preview.
//! Not here: keeping them (`facts`).

use grace_mail::mime::{Part, Tree};
use grace_mail::text;

/// RFC 8970 3.2: "the server SHOULD limit the length of the preview text to 200 preview
/// characters".
pub const PREVIEW_CHARS_MAX: usize = 200;

/// The preview of a message, of which `raw` may be the beginning alone.
pub fn of(raw: &[u8], tree: &Tree) -> String {
    let is_text = |part: &&Part, subtype: &[u8]| {
        part.media.is_kind(b"text")
            && part.media.subtype.eq_ignore_ascii_case(subtype)
            && !is_attachment(part)
    };
    let find = |subtype: &[u8]| tree.parts().find(|part| is_text(part, subtype));
    if let Some(found) = find(b"plain").and_then(|part| text::of_part(raw, part)) {
        let own = squeezed(own_lines(&found));
        if !own.is_empty() {
            return own;
        }
    }
    let page = find(b"html").and_then(|part| text::of_part(raw, part));
    page.map_or_else(String::new, |page| squeezed(visible(&page).lines()))
}

fn is_attachment(part: &Part) -> bool {
    let disposition = part.media.disposition.as_ref();
    disposition.is_some_and(|it| it.kind.eq_ignore_ascii_case(b"attachment"))
}

/// The lines the writer wrote: no quotations, nothing from the signature on.
fn own_lines(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().take_while(|line| *line != "-- " && *line != "--");
    lines.filter(|line| !line.trim_start().starts_with('>'))
}

/// Words with one space between, cut where there are enough characters.
fn squeezed<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut preview = String::new();
    let mut count = 0;
    for word in lines.flat_map(|line| line.split(|c: char| c.is_whitespace() || c.is_control())) {
        if word.is_empty() {
            continue;
        }
        let space = (count > 0).then_some(' ');
        for letter in space.into_iter().chain(word.chars()) {
            if count == PREVIEW_CHARS_MAX {
                return preview.trim_end().to_owned();
            }
            preview.push(letter);
            count += 1;
        }
    }
    preview
}

/// The text of a page: no tags, no comments, nothing of `style`, `script`, `head` and `title`.
fn visible(page: &str) -> String {
    const HIDDEN: [&str; 4] = ["style", "script", "head", "title"];
    let mut out = String::new();
    let mut rest = page;
    while let Some((before, tag)) = rest.split_once('<') {
        entities(before, &mut out);
        out.push(' ');
        if let Some(comment) = tag.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let Some((inside, after)) = tag.split_once('>') else { return out };
        rest = after;
        let name = inside.split(|c: char| c.is_whitespace() || c == '/').next().unwrap_or("");
        let hidden = HIDDEN.iter().find(|hidden| hidden.eq_ignore_ascii_case(name));
        if let Some(hidden) = hidden.filter(|_| !inside.ends_with('/')) {
            rest = after_end_of(hidden, rest);
        }
    }
    entities(rest, &mut out);
    out
}

/// What follows `</name`, or nothing where it is never closed.
fn after_end_of<'a>(name: &str, page: &'a str) -> &'a str {
    let mut rest = page;
    while let Some((_, after)) = rest.split_once("</") {
        if after.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) {
            return after.split_once('>').map_or("", |(_, after)| after);
        }
        rest = after;
    }
    ""
}

/// The entities that letters are full of; others stay as they are written.
fn entities(text: &str, out: &mut String) {
    const NAMED: [(&str, &str); 7] = [
        ("amp", "&"),
        ("lt", "<"),
        ("gt", ">"),
        ("quot", "\""),
        ("apos", "'"),
        ("nbsp", " "),
        // Newsletters fill their previews with these, so that nothing else shows.
        ("zwnj", ""),
    ];
    /// The longest entity looked for is `&#x10FFFF;`.
    const NAME_BYTES_MAX: usize = 8;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        rest = after;
        let end = after.bytes().take(NAME_BYTES_MAX + 1).position(|byte| byte == b';');
        let Some(name) = end.and_then(|end| after.get(..end)) else {
            out.push('&');
            continue;
        };
        let code = match name.strip_prefix('#') {
            Some(hex) if hex.starts_with(['x', 'X']) => {
                hex.get(1..).and_then(|hex| u32::from_str_radix(hex, 16).ok())
            }
            Some(number) => number.parse().ok(),
            None => None,
        };
        let named = NAMED.iter().find(|(known, _)| *known == name);
        match (code.and_then(char::from_u32), named) {
            (Some(letter), _) => out.push(letter),
            (None, Some((_, text))) => out.push_str(text),
            (None, None) => {
                out.push('&');
                continue;
            }
        }
        rest = after.get(name.len() + 1..).unwrap_or_default();
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, expected: &str) {
        let raw = message.replace('\n', "\r\n").into_bytes();
        assert_eq!(of(&raw, &Tree::parse(&raw)), expected, "{message}");
    }

    #[test]
    fn the_first_own_words() {
        check("Subject: a\n\nHello   Ann,\n\n> you wrote\nyes.\n-- \nBob\n", "Hello Ann, yes.");
        check("Subject: a\n\n", "");
        check("", "");
        let long = format!("a: b\n\n{}", "word ".repeat(100));
        let raw = long.into_bytes();
        let preview = of(&raw, &Tree::parse(&raw));
        assert_eq!(preview.chars().count(), PREVIEW_CHARS_MAX - 1, "the last space is taken off");
        let wide = format!("a: b\n\n{}", "ä".repeat(500)).replace('\n', "\r\n").into_bytes();
        assert_eq!(of(&wide, &Tree::parse(&wide)).chars().count(), PREVIEW_CHARS_MAX);
    }

    #[test]
    fn pages_are_read_as_people_see_them() {
        let page = "Content-Type: text/html; charset=utf-8\n\n<html><HEAD><title>no</title>\
            <style>p {}</style></head><body><!-- <p>no --><p>Fish &amp; chips&nbsp;&#8364;5 \
            <script>if (a < b) {}</script>a&b &unknown; <br/>c < d";
        check(page, "Fish & chips €5 a&b &unknown; c");
    }

    #[test]
    fn attachments_are_passed_over() {
        let both = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\
            Content-Disposition: attachment\n\nnot this\n--b\nContent-Type: text/plain\n\
            Content-Transfer-Encoding: base64\n\nVGhpcyBvbmU=\n--b--\n";
        check(both, "This one");
        check("Content-Type: image/gif\n\nGIF89a", "");
    }
}
