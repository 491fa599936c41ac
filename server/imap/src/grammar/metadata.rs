//! Grammar of GETMETADATA and SETMETADATA (RFC 5464 5).
//!
//! Not here: what entries mean (`metadata`).

use crate::command::{GetMetadata, Verb};
use crate::cursor::{Cursor, Parsed, Refusal};
use crate::grammar::{Dialect, mailbox};
use crate::metadata::{Depth, ENTRIES_MAX, Entry, VALUE_BYTES_MAX};
use crate::name::MailboxName;
use crate::response::Code;

/// `GETMETADATA [options] mailbox entries`; the RFC's own examples have the options behind the
/// mailbox.
pub(crate) fn get(cursor: &mut Cursor<'_>, dialect: Dialect) -> Parsed<Verb> {
    let mut get = GetMetadata::default();
    if cursor.rest().starts_with(b" (") {
        options(cursor, &mut get)?;
    }
    get.mailbox = target(cursor, dialect)?;
    let mut ahead = cursor.clone();
    if options(&mut ahead, &mut get).is_ok() {
        *cursor = ahead;
    }
    cursor.space()?;
    get.entries = entries(cursor)?;
    Ok(Verb::GetMetadata(get))
}

fn options(cursor: &mut Cursor<'_>, get: &mut GetMetadata) -> Parsed<()> {
    cursor.space()?;
    cursor.list(1, |cursor| {
        if cursor.eat_text("MAXSIZE ") {
            get.bytes_max = Some(cursor.number64("a size in bytes")?);
        } else if cursor.eat_text("DEPTH ") {
            get.depth = match cursor.word("0, 1 or infinity")?.as_str() {
                "0" => Depth::Zero,
                "1" => Depth::One,
                "INFINITY" => Depth::Infinity,
                _ => return cursor.fail("0, 1 or infinity before this"),
            };
        } else {
            return cursor.fail("MAXSIZE or DEPTH");
        }
        Ok(())
    })?;
    Ok(())
}

/// A mailbox, or `""` for the account itself.
fn target(cursor: &mut Cursor<'_>, dialect: Dialect) -> Parsed<Option<MailboxName>> {
    cursor.space()?;
    let wire = cursor.astring("a mailbox name or an empty string")?;
    if wire.is_empty() { Ok(None) } else { mailbox::name_of(&wire, dialect).map(Some) }
}

/// One entry, or several in parentheses.
pub(crate) fn entries(cursor: &mut Cursor<'_>) -> Parsed<Vec<Entry>> {
    let entries = match cursor.peek() {
        Some(b'(') => cursor.list(1, entry)?,
        _ => vec![entry(cursor)?],
    };
    if entries.len() > ENTRIES_MAX {
        let text = format!("at most {ENTRIES_MAX} entries may be named");
        return Err(Refusal::No(Some(Code::Limit), text));
    }
    Ok(entries)
}

fn entry(cursor: &mut Cursor<'_>) -> Parsed<Entry> {
    let start = cursor.clone();
    let text = cursor.text("the name of an entry")?;
    Entry::parse(&text).map_or_else(|| start.fail("an entry below /private/ or /shared/"), Ok)
}

/// `SETMETADATA mailbox (entry value …)`.
pub(crate) fn set(cursor: &mut Cursor<'_>, dialect: Dialect) -> Parsed<Verb> {
    let mailbox = target(cursor, dialect)?;
    cursor.space()?;
    let changes = cursor.list(1, |cursor| {
        let entry = entry(cursor)?;
        cursor.space()?;
        let value = cursor.nstring()?;
        if value.as_ref().is_some_and(|value| value.len() > VALUE_BYTES_MAX) {
            let code = Code::MetadataMaxSize(VALUE_BYTES_MAX as u64);
            return Err(Refusal::No(Some(code), "the value is too long".to_owned()));
        }
        Ok((entry, value))
    })?;
    Ok(Verb::SetMetadata(mailbox, changes))
}
