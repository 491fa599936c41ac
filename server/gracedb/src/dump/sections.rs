//! Sections of an index segment, one after the other, and its footer.
//!
//! Goes from head to head and not by the index, so that a broken index hides nothing.
//! Not here: what a run says of a key (`index`).

use crate::error::Error;
use crate::format::{ALIGN, FILE_HEADER_LEN};
use crate::index::block::Block;
use crate::index::run::{
    CRC_LEN, FOOTER_LEN, FOOTER_MAGIC, HEAD_LEN, Section, SectionKind, footer_crc, section_crc,
    section_room,
};
use crate::row;
use crate::salvage::{IN_VAIN_MAX, head_at};
use crate::seal::{self, TAG_LEN};

use super::sheet::{Row, Sheet, number};
use super::{Shown, value_words};

/// Bytes of a key's suffix in a slot.
const SLOT_SAMPLE: usize = 2;

/// Shows the sections that are wanted, and the footer.
pub(super) fn show(sheet: &mut Sheet<'_>, shown: &Shown<'_>) -> Result<(), Error> {
    let mut at = FILE_HEADER_LEN as u64;
    let footer = shown.len.saturating_sub(FOOTER_LEN as u64);
    while at < footer && sheet.goes_on() {
        match head_at(shown.file.as_ref(), at, shown.len) {
            Some((kind, section)) if is_whole(shown, kind, section)? => {
                let next = at + section_room(section.1);
                if sheet.begin(next) {
                    show_section(sheet, shown, kind, section)?;
                }
                at = next;
            }
            _ => at = gap(sheet, shown, at, footer)?,
        }
    }
    if shown.len >= (FILE_HEADER_LEN + FOOTER_LEN) as u64 && sheet.begin(shown.len) {
        show_footer(sheet, shown, footer)?;
    }
    Ok(())
}

/// The stored bytes of a section, with its head and checksum.
fn read(shown: &Shown<'_>, at: u64, len: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; len];
    let read = shown.file.read_at(at, &mut bytes);
    let read = read.map_err(|error| Error::io("read", shown.name, error))?;
    bytes.truncate(read);
    Ok(bytes)
}

fn is_whole(shown: &Shown<'_>, kind: SectionKind, (at, len): Section) -> Result<bool, Error> {
    let bytes = read(shown, at + HEAD_LEN as u64, len + CRC_LEN)?;
    let Some((stored, crc)) = bytes.split_last_chunk::<CRC_LEN>() else { return Ok(false) };
    let is_right = section_crc(&shown.header, at, kind, stored) == u32::from_le_bytes(*crc);
    Ok(stored.len() == len && is_right)
}

/// Goes on to the next section, and shows what stands before it; says where it is.
fn gap(sheet: &mut Sheet<'_>, shown: &Shown<'_>, from: u64, footer: u64) -> Result<u64, Error> {
    let (mut at, mut in_vain) = (from, 0);
    while at < footer {
        at += ALIGN;
        let found = head_at(shown.file.as_ref(), at, shown.len);
        let found = found.filter(|(kind, _)| *kind == SectionKind::Rows || in_vain < IN_VAIN_MAX);
        if let Some((kind, section)) = found {
            if is_whole(shown, kind, section)? {
                break;
            }
            in_vain += section.1 as u64;
        }
    }
    let end = at.min(footer);
    if sheet.begin(end) {
        sheet.line("")?;
        let what = match head_at(shown.file.as_ref(), from, shown.len) {
            Some((kind, section)) => format!(
                "the checksum of {} of {} bytes is wrong, or its head",
                kind_words(kind),
                section.1
            ),
            None => "no section begins here".to_owned(),
        };
        sheet.broken(from, &format!("{what}; {} bytes up to {end} are no section", end - from))?;
        sheet.field(from, &read(shown, from, 32)?, "?", "")?;
    }
    Ok(end)
}

fn kind_words(kind: SectionKind) -> &'static str {
    match kind {
        SectionKind::Rows => "rows",
        SectionKind::Index => "index of the rows' blocks",
        SectionKind::Filter => "filter",
        SectionKind::Ranges => "ranges of keys that are gone",
    }
}

fn show_section(
    sheet: &mut Sheet<'_>,
    shown: &Shown<'_>,
    kind: SectionKind,
    (at, len): Section,
) -> Result<(), Error> {
    let mut bytes = read(shown, at, HEAD_LEN + len + CRC_LEN)?;
    let crc_at = bytes.len().saturating_sub(CRC_LEN);
    let crc = bytes.split_off(crc_at);
    let stored = bytes.split_off(HEAD_LEN.min(bytes.len()));
    let room = section_room(len);
    sheet.heading(&format!("section at {at}, {room} bytes: {}", kind_words(kind)))?;
    let mut row = Row { sheet, at, rest: &bytes };
    row.number(HEAD_LEN, "head", |_| format!("kind {}, length {len}", kind as u8))?;
    let start = row.at;
    contents(sheet, shown, (kind, at), start, stored)?;
    sheet.field(start + len as u64, &crc, "crc32c", "of place, head and stored bytes: right")
}

/// What stands between the head of a section and its checksum.
fn contents(
    sheet: &mut Sheet<'_>,
    shown: &Shown<'_>,
    (kind, at): (SectionKind, u64),
    start: u64,
    mut stored: Vec<u8>,
) -> Result<(), Error> {
    if shown.header.key != 0 {
        let text_len = stored.len().saturating_sub(TAG_LEN);
        let (text, tag) = stored.split_at(text_len);
        sheet.field(start, text, "encrypted", &format!("{text_len} bytes"))?;
        sheet.field(start + text_len as u64, tag, "tag", "")?;
        let Some(cipher) = &shown.cipher else { return Ok(()) };
        if cipher.open(seal::nonce(0, at), &[kind as u8], &mut stored).is_none() {
            return sheet.broken(at, "the encryption does not verify");
        }
        stored.truncate(text_len);
        sheet.line("  decrypted:")?;
    }
    match kind {
        SectionKind::Filter => {
            let set: u64 = stored.iter().map(|byte| u64::from(byte.count_ones())).sum();
            let meaning = format!("{} lines of 64 bytes, {set} bits set", stored.len() / 64);
            sheet.field(start, &stored, "bits", &meaning)
        }
        _ => show_block(sheet, shown, kind, start, &stored),
    }
}

fn show_block(
    sheet: &mut Sheet<'_>,
    shown: &Shown<'_>,
    kind: SectionKind,
    at: u64,
    bytes: &[u8],
) -> Result<(), Error> {
    let Some(block) = Block::parse(bytes) else {
        sheet.broken(at, "the layout of a block leads out of its bytes")?;
        return sheet.field(at, bytes, "?", "");
    };
    let width = bytes.get(6).map_or(2, |width| usize::from(*width));
    let mut row = Row { sheet, at, rest: bytes };
    row.number(4, "entries", |count| count.to_string())?;
    row.number(2, "prefix", |len| format!("its length: {len}"))?;
    row.number(1, "width", |width| format!("bytes of an offset in a slot: {width}"))?;
    row.zeros(1)?;
    row.take(block.prefix().len(), "prefix", |_| "what every key starts with".to_owned())?;
    for slot in 0..block.len() {
        row.take(width, "slot", |offset| {
            format!("of entry {slot}: it starts at {}", number(offset))
        })?;
        row.take(SLOT_SAMPLE, "sample", |_| String::new())?;
    }
    let entries_at = bytes.len() - row.rest.len();
    for entry in 0..block.len() {
        if !show_entry(sheet, shown, kind, (at, entries_at), &block, bytes, entry)? {
            return sheet.broken(at, &format!("entry {entry} leads out of the block"));
        }
    }
    Ok(())
}

/// Shows an entry; false: there is none.
fn show_entry(
    sheet: &mut Sheet<'_>,
    shown: &Shown<'_>,
    kind: SectionKind,
    (at, entries_at): (u64, usize),
    block: &Block<'_>,
    bytes: &[u8],
    entry: usize,
) -> Result<bool, Error> {
    let Some(found) = block.entry(entry) else { return Ok(false) };
    let Some(start) = block.start(entry).filter(|start| *start >= entries_at) else {
        return Ok(false);
    };
    let suffix = block.bytes(found.suffix.clone());
    let key = [block.prefix(), suffix].concat();
    let rest = bytes.get(start..).unwrap_or_default();
    let mut row = Row { sheet, at: at + start as u64, rest };
    row.varint("suffix", |len| format!("of entry {entry}: {len} bytes"))?;
    row.varint("value", |code| match code.checked_sub(1) {
        None => "none: the key is gone".to_owned(),
        Some(len) => format!("{len} bytes"),
    })?;
    let name = if kind == SectionKind::Rows { "key" } else { "from" };
    row.take(suffix.len(), name, |_| shown.words.key(&key))?;
    if let Some(value) = found.value {
        match kind {
            SectionKind::Ranges => row.take(value.len(), "up to", |high| shown.words.key(high))?,
            SectionKind::Index => row.take(value.len(), "block", place_words)?,
            _ => row.take(value.len(), "value", |value| value_words(shown.words, &key, value))?,
        };
    }
    Ok(true)
}

fn place_words(mut value: &[u8]) -> String {
    match (row::take_varint(&mut value), row::take_varint(&mut value)) {
        (Some(offset), Some(len)) => format!("at {offset}, {len} stored bytes"),
        _ => "NOT A PLACE".to_owned(),
    }
}

fn show_footer(sheet: &mut Sheet<'_>, shown: &Shown<'_>, at: u64) -> Result<(), Error> {
    let bytes = read(shown, at, FOOTER_LEN)?;
    sheet.heading(&format!("footer at {at}, {FOOTER_LEN} bytes"))?;
    let Some((body, crc)) = bytes.split_last_chunk::<CRC_LEN>() else { return Ok(()) };
    let is_right = footer_crc(&shown.header, at, body) == u32::from_le_bytes(*crc);
    let mut row = Row { sheet, at, rest: &bytes };
    row.take(8, "magic", |magic| String::from_utf8_lossy(magic).into_owned())?;
    for name in ["index", "filter", "ranges"] {
        row.number(8, name, |at| format!("at {at}"))?;
        row.number(4, "", |len| format!("{len} stored bytes"))?;
    }
    row.number(8, "sequence", |sequence| format!("the newest transaction: {sequence}"))?;
    row.number(1, "level", |level| format!("made for level {level}"))?;
    row.zeros(7)?;
    row.number(4, "crc32c", |_| if is_right { "right" } else { "WRONG" }.to_owned())?;
    if !is_right || !body.starts_with(&FOOTER_MAGIC) {
        sheet.broken(at, "this is no footer: the file was cut, or never finished")?;
    }
    Ok(())
}

/// A block of each kind, of any bytes.
#[cfg(test)]
pub(super) fn show_any(
    sheet: &mut Sheet<'_>,
    shown: &Shown<'_>,
    bytes: &[u8],
) -> Result<(), Error> {
    for kind in [SectionKind::Rows, SectionKind::Index, SectionKind::Ranges] {
        show_block(sheet, shown, kind, 0, bytes)?;
    }
    Ok(())
}
