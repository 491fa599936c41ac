//! Grammar of FETCH and UID FETCH (RFC 9051 6.4.5): items, macros, sections, partials.
//!
//! Invariants: part numbers are at least 1 and nest at most [`PATH_LEN_MAX`] deep.
//! Not here: what the sections mean in a message (`section`).

use grace_mail::section::{PATH_LEN_MAX, Section, What};

use crate::command::{Fetch, FetchItem, SectionSpelling, Verb, Window};
use crate::cursor::{Cursor, Parsed, Refusal};
use crate::grammar::sequence_set;
use crate::response::Code;

/// Most items of one FETCH. A client that asks for each part of a letter and its head names some
/// dozens.
const ITEMS_MAX: usize = 500;

pub(crate) fn fetch(cursor: &mut Cursor<'_>, uid: bool) -> Parsed<Verb> {
    cursor.space()?;
    let set = sequence_set(cursor)?;
    cursor.space()?;
    let mut items = if cursor.eat(b'(') {
        items(cursor)?
    } else {
        match macro_items(cursor) {
            Some(items) => items,
            None => vec![item(cursor)?],
        }
    };
    let (mut changed_since, mut vanished, mut partial) = (None, false, None);
    if cursor.eat(b' ') && cursor.peek().is_some() {
        // RFC 7162 3.1.4.1 and 3.2.6, RFC 9394 3.2: fetch-modifier.
        cursor.list(1, |cursor| {
            if cursor.eat_text("VANISHED") {
                vanished = true;
            } else if cursor.eat_text("CHANGEDSINCE ") {
                changed_since = Some(cursor.number64("a modification sequence")?);
            } else if cursor.eat_text("PARTIAL ") {
                partial = Some(window(cursor)?);
            } else {
                return cursor.fail("CHANGEDSINCE, VANISHED or PARTIAL");
            }
            Ok(())
        })?;
    }
    let only_of_uids = if vanished { "VANISHED" } else { "PARTIAL" };
    if !uid && (vanished || partial.is_some()) {
        return Err(Refusal::Bad(format!("{only_of_uids} belongs to UID FETCH")));
    }
    if vanished && changed_since.is_none() {
        return Err(Refusal::Bad("VANISHED needs CHANGEDSINCE beside it".to_owned()));
    }
    // RFC 7162 3.1.4.1: CHANGEDSINCE always tells the MODSEQ.
    if changed_since.is_some() && !items.contains(&FetchItem::ModSeq) {
        items.push(FetchItem::ModSeq);
    }
    Ok(Verb::Fetch(Fetch { uid, set, items, changed_since, vanished, partial }))
}

/// `1:100` or `-1:-100` (RFC 9394 4: partial-range).
pub(crate) fn window(cursor: &mut Cursor<'_>) -> Parsed<Window> {
    let from_end = cursor.eat(b'-');
    let one = cursor.positive("a place in the results")?;
    cursor.expect(b':', "':'")?;
    if from_end {
        cursor.expect(b'-', "'-'")?;
    }
    let other = cursor.positive("a place in the results")?;
    Ok(Window { first: one.min(other), last: one.max(other), from_end })
}

/// Items up to a parenthesis that was opened before, each once.
pub(super) fn items(cursor: &mut Cursor<'_>) -> Parsed<Vec<FetchItem>> {
    let mut items = vec![item(cursor)?];
    while !cursor.eat(b')') {
        cursor.expect(b' ', "a space or ')'")?;
        let item = item(cursor)?;
        if items.contains(&item) {
            continue;
        }
        items.push(item);
        if items.len() > ITEMS_MAX {
            let text = format!("FETCH takes at most {ITEMS_MAX} items");
            return Err(Refusal::No(Some(Code::Limit), text));
        }
    }
    Ok(items)
}

/// `ALL`, `FAST` and `FULL`, which stand alone.
fn macro_items(cursor: &mut Cursor<'_>) -> Option<Vec<FetchItem>> {
    use FetchItem::{Body, Envelope, Flags, InternalDate, Size};
    let mut ahead = cursor.clone();
    let items = match ahead.item_name("an item").ok()?.as_str() {
        "ALL" => vec![Flags, InternalDate, Size, Envelope],
        "FAST" => vec![Flags, InternalDate, Size],
        "FULL" => vec![Flags, InternalDate, Size, Envelope, Body],
        _ => return None,
    };
    *cursor = ahead;
    Some(items)
}

pub(super) fn item(cursor: &mut Cursor<'_>) -> Parsed<FetchItem> {
    let start = cursor.clone();
    let name = cursor.item_name("a FETCH item")?;
    let bracket = cursor.peek() == Some(b'[');
    Ok(match (name.as_str(), bracket) {
        ("FLAGS", false) => FetchItem::Flags,
        ("UID", false) => FetchItem::Uid,
        ("INTERNALDATE", false) => FetchItem::InternalDate,
        ("RFC822.SIZE", false) => FetchItem::Size,
        ("MODSEQ", false) => FetchItem::ModSeq,
        ("ENVELOPE", false) => FetchItem::Envelope,
        ("BODY", false) => FetchItem::Body,
        ("BODYSTRUCTURE", false) => FetchItem::BodyStructure,
        ("RFC822", false) => old_name(What::Whole, SectionSpelling::Rfc822, false),
        ("RFC822.HEADER", false) => old_name(What::Header, SectionSpelling::Rfc822Header, true),
        ("RFC822.TEXT", false) => old_name(What::Text, SectionSpelling::Rfc822Text, false),
        // RFC 1730 6.4.5: Outlook still asks for these.
        ("RFC822.PEEK", false) => old_name(What::Whole, SectionSpelling::Rfc822, true),
        ("RFC822.TEXT.PEEK", false) => old_name(What::Text, SectionSpelling::Rfc822Text, true),
        ("SAVEDATE", false) => FetchItem::SaveDate,
        ("EMAILID", false) => FetchItem::EmailId,
        ("THREADID", false) => FetchItem::ThreadId,
        ("PREVIEW", false) => preview(cursor)?,
        ("BODY" | "BODY.PEEK", true) => {
            let section = section(cursor)?;
            let peek = name == "BODY.PEEK";
            let partial = partial(cursor)?;
            FetchItem::Section { section, spelling: SectionSpelling::Body, peek, partial }
        }
        ("BINARY" | "BINARY.PEEK", true) => {
            let part = binary_part(cursor)?;
            FetchItem::Binary { part, peek: name == "BINARY.PEEK", partial: partial(cursor)? }
        }
        ("BINARY.SIZE", true) => FetchItem::BinarySize(binary_part(cursor)?),
        _ => return start.fail("a FETCH item"),
    })
}

/// RFC 8970 3.1: ` (LAZY)` may follow.
fn preview(cursor: &mut Cursor<'_>) -> Parsed<FetchItem> {
    if !cursor.eat_text(" (") {
        return Ok(FetchItem::Preview { lazy: false });
    }
    if !cursor.eat_text("LAZY)") {
        return cursor.fail("LAZY and ')'");
    }
    Ok(FetchItem::Preview { lazy: true })
}

fn old_name(what: What, spelling: SectionSpelling, peek: bool) -> FetchItem {
    let section = Section { path: Vec::new(), what };
    FetchItem::Section { section, spelling, peek, partial: None }
}

/// `[1.2.HEADER.FIELDS (From To)]`.
fn section(cursor: &mut Cursor<'_>) -> Parsed<Section> {
    cursor.expect(b'[', "'['")?;
    let mut part = Vec::new();
    while cursor.peek().is_some_and(|byte| byte.is_ascii_digit()) {
        part.push(cursor.positive("a part number")?);
        if part.len() > PATH_LEN_MAX {
            return cursor.fail("a part number with fewer levels");
        }
        if !cursor.eat(b'.') {
            cursor.expect(b']', "'.' or ']'")?;
            return Ok(Section { path: part, what: What::Whole });
        }
    }
    let what = section_what(cursor, &part)?;
    cursor.expect(b']', "']'")?;
    Ok(Section { path: part, what })
}

fn section_what(cursor: &mut Cursor<'_>, part: &[u32]) -> Parsed<What> {
    let start = cursor.clone();
    if cursor.peek() == Some(b']') && part.is_empty() {
        return Ok(What::Whole);
    }
    Ok(match cursor.item_name("a section")?.as_str() {
        "HEADER" => What::Header,
        "TEXT" => What::Text,
        // RFC 9051 6.4.5.1: MIME needs a part number.
        "MIME" if !part.is_empty() => What::Mime,
        "HEADER.FIELDS" => What::Fields(field_names(cursor)?),
        "HEADER.FIELDS.NOT" => What::FieldsNot(field_names(cursor)?),
        _ => return start.fail("HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT, MIME or a part"),
    })
}

fn field_names(cursor: &mut Cursor<'_>) -> Parsed<Vec<Vec<u8>>> {
    cursor.space()?;
    cursor.list(1, |cursor| Ok(cursor.astring("a header field's name")?.to_ascii_uppercase()))
}

/// `[1.2]` or `[]`.
fn binary_part(cursor: &mut Cursor<'_>) -> Parsed<Vec<u32>> {
    let start = cursor.clone();
    let section = section(cursor)?;
    match section.what {
        What::Whole => Ok(section.path),
        _ => start.fail("a part number in BINARY"),
    }
}

/// `<0.2048>`.
fn partial(cursor: &mut Cursor<'_>) -> Parsed<Option<(u64, u64)>> {
    if !cursor.eat(b'<') {
        return Ok(None);
    }
    let offset = cursor.number64("an offset")?;
    cursor.expect(b'.', "'.'")?;
    let start = cursor.clone();
    let length = cursor.number64("a length")?;
    if length == 0 {
        // RFC 9051 9: partial's length is nz-number64.
        return start.fail("a length from 1 on");
    }
    cursor.expect(b'>', "'>'")?;
    Ok(Some((offset, length)))
}
