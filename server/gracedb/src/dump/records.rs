//! Records of a journal segment or a meta file.
//!
//! Not here: what edits do (`manifest`), what operations do (`state`).

use std::sync::Arc;

use crate::crc;
use crate::error::Error;
use crate::format::{ALIGN, FileKind, Kind, Place, RECORD_HEADER_LEN, RecordAt, RecordHeader};
use crate::manifest::{self, Edit, Flushed};
use crate::scan::{FIRST, Scan};
use crate::seal::{self, TAG_LEN};
use crate::state::{self, Operation};
use crate::version::FileId;

use super::sheet::{Row, Sheet, time};
use super::{Shown, value_words};

/// Shows the records that are wanted.
pub(super) fn show(sheet: &mut Sheet<'_>, shown: &Shown<'_>) -> Result<(), Error> {
    let mut scan = Scan::new(shown.header, Arc::clone(&shown.file), None)?;
    let mut at = FIRST;
    while at < shown.len && sheet.goes_on() {
        match scan.record(at)? {
            RecordAt::Record(header) => {
                let next = header.next_offset(at, shown.header.align);
                if sheet.begin(next) {
                    record(sheet, shown, &mut scan, at, &header)?;
                }
                at = next;
            }
            other => at = gap(sheet, shown, &mut scan, at, other)?,
        }
    }
    Ok(())
}

/// Goes on to the next record, and shows what stands before it; says where it is.
fn gap(
    sheet: &mut Sheet<'_>,
    shown: &Shown<'_>,
    scan: &mut Scan,
    from: u64,
    found: RecordAt,
) -> Result<u64, Error> {
    let mut at = from;
    let mut dirty: Option<(u64, u64)> = None;
    while at < shown.len {
        let step = scan.bytes(at, usize::try_from(ALIGN).unwrap_or(0))?;
        if step.iter().any(|byte| *byte != 0) {
            dirty = Some((dirty.map_or(at, |(first, _)| first), at + step.len() as u64));
        }
        at += ALIGN;
        if at < shown.len && matches!(scan.record(at)?, RecordAt::Record(_)) {
            break;
        }
    }
    let end = at.min(shown.len);
    if !sheet.begin(end) {
        return Ok(end);
    }
    sheet.line("")?;
    let Some((first, last)) = dirty else {
        sheet.line(&format!("zeros from {from} to {end}, {} bytes", end - from))?;
        return Ok(end);
    };
    let is_last = end == shown.len;
    let why = match found {
        RecordAt::Unknown(kind, flags) => {
            format!(
                "a record of kind {kind} with flags {flags:#04x}, which only a newer program knows"
            )
        }
        _ => why_not(scan, shown, from)?.to_owned(),
    };
    if is_last && shown.header.recycled {
        let what =
            format!("{} bytes that are no record: this file was another one before", end - from);
        sheet.line(&format!("from {from} to {end}: {what}"))?;
    } else {
        sheet.broken(from, &format!("{why}; {} bytes up to {end} are no record", end - from))?;
        if is_last {
            sheet.line("If a daemon is writing to the file, this is what it has not finished.")?;
        }
    }
    let len = usize::try_from(last - first).unwrap_or(usize::MAX).min(RECORD_HEADER_LEN);
    let bytes = scan.bytes(first, len)?.to_vec();
    sheet.field(first, &bytes, "?", "")?;
    Ok(end)
}

/// Why there is no record.
fn why_not(scan: &mut Scan, shown: &Shown<'_>, at: u64) -> Result<&'static str, Error> {
    let head = scan.bytes(at, RECORD_HEADER_LEN)?;
    if head.len() < RECORD_HEADER_LEN {
        return Ok("the file ends within the header of a record");
    }
    if !head.starts_with(b"GrRc") {
        return Ok("no record begins here");
    }
    let place = Place { segment: shown.header.number, offset: at };
    Ok(match RecordHeader::read(&shown.header.database, place, head) {
        RecordAt::None => "the record header's checksum is wrong",
        _ => "the file ends within the payload of a record",
    })
}

fn kind_words(kind: Kind) -> &'static str {
    match kind {
        Kind::Transaction => "transaction",
        Kind::Chunk => "part of a large value",
        Kind::Mark => "mark: closed in good order",
        Kind::Life => "life: the database was opened",
        Kind::End => "end: the segment is complete",
        Kind::Edits => "edits of the meta file",
    }
}

fn record(
    sheet: &mut Sheet<'_>,
    shown: &Shown<'_>,
    scan: &mut Scan,
    at: u64,
    header: &RecordHeader,
) -> Result<(), Error> {
    let head = scan.bytes(at, RECORD_HEADER_LEN)?.to_vec();
    let is_whole = scan.is_whole(at, header)?;
    sheet.heading(&format!(
        "record at {at}, {} bytes: {}",
        header.total_len(),
        kind_words(header.kind)
    ))?;
    let mut row = Row { sheet, at, rest: &head };
    row.take(4, "magic", |_| "GrRc".to_owned())?;
    row.number(1, "kind", |_| kind_words(header.kind).to_owned())?;
    row.number(1, "flags", |_| {
        let last = header.last.then_some("last of its group");
        let sealed = header.sealed.then_some("encrypted");
        last.into_iter().chain(sealed).collect::<Vec<_>>().join(", ")
    })?;
    row.zeros(2)?;
    row.number(4, "length", |len| format!("of the payload: {len}"))?;
    row.number(4, "crc32c", |_| format!("of the payload: {}", right(is_whole)))?;
    row.take(8, "life", |_| format!("{:016x}", header.life))?;
    row.number(8, "sequence", |sequence| sequence.to_string())?;
    row.number(8, "synced", |synced| format!("the disk had all before {synced}"))?;
    row.zeros(4)?;
    row.number(4, "crc32c", |_| "of header and place: right".to_owned())?;
    payload(sheet, shown, scan, at, header, is_whole)
}

fn right(is_right: bool) -> &'static str {
    if is_right { "right" } else { "WRONG" }
}

fn payload(
    sheet: &mut Sheet<'_>,
    shown: &Shown<'_>,
    scan: &mut Scan,
    at: u64,
    header: &RecordHeader,
    is_whole: bool,
) -> Result<(), Error> {
    if header.len == 0 {
        return Ok(());
    }
    let start = at + RECORD_HEADER_LEN as u64;
    let len = usize::try_from(header.len).unwrap_or(usize::MAX);
    let mut payload = scan.bytes(start, len)?.to_vec();
    if !is_whole {
        sheet.broken(at, "the payload's checksum is wrong")?;
        return sheet.field(start, &payload, "payload", "as it stands there");
    }
    if header.sealed {
        let text_len = payload.len().saturating_sub(TAG_LEN);
        let (text, tag) = payload.split_at(text_len);
        sheet.field(start, text, "encrypted", &format!("{text_len} bytes"))?;
        sheet.field(start + text_len as u64, tag, "tag", "")?;
        let Some(cipher) = &shown.cipher else { return Ok(()) };
        let nonce = seal::nonce(header.life, at);
        if cipher.open(nonce, &header.authenticated(), &mut payload).is_none() {
            return sheet.broken(at, "the encryption does not verify");
        }
        payload.truncate(text_len);
        sheet.line("  decrypted:")?;
    } else if shown.header.key != 0 {
        sheet.broken(at, "a record in the clear in an encrypted file")?;
    }
    let row = Row { sheet, at: start, rest: &payload };
    match header.kind {
        Kind::Transaction => transaction(row, shown),
        Kind::Edits => edits(row, shown),
        _ => {
            let meaning = format!("{} bytes, crc32c {:08x}", payload.len(), crc::of(&payload));
            row.sheet.field(start, &payload, "bytes", &meaning)
        }
    }
}

fn transaction(mut row: Row<'_, '_, '_>, shown: &Shown<'_>) -> Result<(), Error> {
    if row.varint("time", time)?.is_none() {
        return row.sheet.broken(row.at, "a transaction without a time");
    }
    while !row.rest.is_empty() {
        let mut rest = row.rest;
        match state::take_operation(&mut rest) {
            Ok(Some(operation)) => show_operation(&mut row, operation, shown)?,
            Ok(None) => return Ok(()),
            Err(what) => {
                row.sheet.broken(row.at, what)?;
                return row.sheet.field(row.at, row.rest, "?", "");
            }
        }
    }
    Ok(())
}

fn show_operation(
    row: &mut Row<'_, '_, '_>,
    operation: Operation<'_>,
    shown: &Shown<'_>,
) -> Result<(), Error> {
    let length = |row: &mut Row<'_, '_, '_>| row.varint("length", |len| len.to_string());
    let key = |row: &mut Row<'_, '_, '_>, name, key: &[u8]| {
        length(row)?;
        row.take(key.len(), name, |key| shown.words.key(key)).map(drop)
    };
    match operation {
        Operation::Put(at, value) => {
            row.take(1, "put", |_| String::new())?;
            key(row, "key", at)?;
            length(row)?;
            row.take(value.len(), "value", |value| value_words(shown.words, at, value)).map(drop)
        }
        Operation::Delete(at) => {
            row.take(1, "delete", |_| String::new())?;
            key(row, "key", at)
        }
        Operation::DeleteRange(low, high) => {
            row.take(1, "delete", |_| "every key of a range".to_owned())?;
            key(row, "from", low)?;
            key(row, "up to", high)
        }
    }
}

fn edits(mut row: Row<'_, '_, '_>, shown: &Shown<'_>) -> Result<(), Error> {
    let edition = row.varint("edition", |edition| edition.to_string())?;
    if edition.is_none() || row.varint("time", time)?.is_none() {
        return row.sheet.broken(row.at, "edits without an edition and a time");
    }
    while !row.rest.is_empty() {
        let mut rest = row.rest;
        let Some(edit) = manifest::take_edit(&mut rest) else {
            row.sheet.broken(row.at, "an edit that is none")?;
            return row.sheet.field(row.at, row.rest, "?", "");
        };
        let len = row.rest.len() - rest.len();
        let (name, meaning) = edit_words(&edit);
        row.take(len, name, |_| meaning)?;
        match &edit {
            Edit::Schema(text) => {
                for line in text.lines() {
                    row.sheet.line(&format!("{:>10}  {line}", ""))?;
                }
            }
            Edit::Run(_, info) => {
                let (first, end) = (shown.words.key(&info.first), shown.words.key(&info.end));
                row.sheet.line(&format!("{:>10}  from {first}", ""))?;
                row.sheet.line(&format!("{:>10}  up to {end}", ""))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn edit_words(edit: &Edit) -> (&'static str, String) {
    match edit {
        Edit::Run(level, info) => {
            let (entries, tombstones, ranges) = (info.entries, info.tombstones, info.ranges);
            let counts = format!("{entries} entries, {tombstones} of them gone, {ranges} ranges");
            let file = FileKind::Index.name(info.number);
            let upto = info.sequence;
            let len = info.len;
            (
                "run",
                format!("{file} on level {level}: {len} bytes, {counts}, up to transaction {upto}"),
            )
        }
        Edit::RunGone(number) => ("run gone", FileKind::Index.name(*number)),
        Edit::RunMoved(number, level) => {
            ("run moved", format!("{} to level {level}", FileKind::Index.name(*number)))
        }
        Edit::Flushed(Flushed { sequence, place, .. }) if place.segment == 0 => {
            ("flushed", format!("up to transaction {sequence}; replay begins with the journal"))
        }
        Edit::Flushed(Flushed { sequence, place, life }) => {
            let (file, offset) = (FileKind::Journal.name(place.segment), place.offset);
            let meaning = format!(
                "up to transaction {sequence}; replay begins in {file} at {offset}, life {life:016x}"
            );
            ("flushed", meaning)
        }
        Edit::Segment(number, end) => {
            ("segment", format!("{} ends at {end}", FileKind::Journal.name(*number)))
        }
        Edit::SegmentGone(number, sequence) => {
            let file = FileKind::Journal.name(*number);
            ("gone", format!("{file}: no row points into it after transaction {sequence}"))
        }
        Edit::Schema(text) => ("schema", format!("{} bytes of text", text.len())),
        Edit::Restorable(sequence) => ("restorable", format!("from transaction {sequence} on")),
        Edit::Forgotten((kind, number)) => ("forgotten", name_of((*kind, *number))),
    }
}

fn name_of((kind, number): FileId) -> String {
    kind.name(number)
}

/// The payload of a transaction and of edits, of any bytes.
#[cfg(test)]
pub(super) fn show_any(
    sheet: &mut Sheet<'_>,
    shown: &Shown<'_>,
    bytes: &[u8],
) -> Result<(), Error> {
    transaction(Row { sheet, at: 0, rest: bytes }, shown)?;
    edits(Row { sheet, at: 0, rest: bytes }, shown)
}
