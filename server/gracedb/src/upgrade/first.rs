//! The journal of format 1.
//!
//! ```text
//!   0        4096                      end of records
//!   ├─ header ─┼─ record ─┬─ record ─┬─ … ─┼─ zeros
//!   record: GrRc │ kind │ 0 0 0 │ length │ crc │ sequence │ synced │ 0 │ header's crc │ payload
//! ```
//! All rows of such a database were held in memory, and so they are here, once.
//! Invariants: nothing is written; what was acknowledged is read, or it is said which file is
//! damaged where. A record's `synced` says how much of its segment was on disk when it was written:
//! up to there damage is damage, behind it it is the torn end of the last write.
//! Not here: what becomes of the rows (`upgrade`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::crc;
use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::format::segment_name;
use crate::row::take_varint;
use crate::state::{self, Operation};

const MAGIC: &[u8] = b"GraceDbJ";
const RECORD_MAGIC: &[u8] = b"GrRc";
const VERSION: u32 = 1;
const HEADER_LEN: usize = 4096;
const RECORD_LEN: usize = 40;
const ALIGN: usize = 8;
/// Most bytes of a payload.
const PAYLOAD_MAX: usize = 64 << 20;
/// Most large values of a row.
const LARGES_MAX: u64 = 1 << 16;
const TRANSACTION: u8 = 1;
const CHUNK: u8 = 2;
const SCHEMA: u8 = 3;
const MARK: u8 = 4;

/// Whether the first segment of a journal is there and of this format.
pub(crate) fn is_there(disk: &dyn Disk, names: &[String]) -> Result<bool, Error> {
    let first = segment_name(1);
    Ok(names.contains(&first) && is_of_format(disk, &first)?)
}

/// Whether a segment is of this format.
pub(crate) fn is_of_format(disk: &dyn Disk, name: &str) -> Result<bool, Error> {
    let failed = |error| Error::io("read", name, error);
    let mut bytes = [0; 12];
    let read = disk.open(name).map_err(failed)?.read_at(0, &mut bytes).map_err(failed)?;
    let version = bytes.last_chunk().map(|version| u32::from_le_bytes(*version));
    Ok(read == bytes.len() && bytes.starts_with(MAGIC) && version == Some(VERSION))
}

/// One piece of a large value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    len: u32,
    crc: u32,
}

/// The pieces of each large value of a row, and the row's fields.
pub(crate) fn take_larges(mut value: &[u8]) -> Option<(Vec<Vec<Extent>>, &[u8])> {
    let bytes = &mut value;
    let count = take_varint(bytes).filter(|count| *count <= LARGES_MAX)?;
    let mut larges = Vec::new();
    for _ in 0..count {
        let total = take_varint(bytes)?;
        // An extent takes at least 7 bytes.
        let extents = usize::try_from(take_varint(bytes)?).ok()?;
        let extents = Some(extents).filter(|count| *count <= bytes.len() / 7)?;
        let extents: Option<Vec<_>> = (0..extents).map(|_| take_extent(bytes)).collect();
        let extents = extents?;
        if extents.iter().map(|extent| u64::from(extent.len)).sum::<u64>() != total {
            return None;
        }
        larges.push(extents);
    }
    Some((larges, value))
}

fn take_extent(bytes: &mut &[u8]) -> Option<Extent> {
    let (segment, offset) = (take_varint(bytes)?, take_varint(bytes)?);
    let len = u32::try_from(take_varint(bytes)?).ok()?;
    let (crc, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(Extent { segment, offset, len, crc: u32::from_le_bytes(*crc) })
}

/// A database of format 1, read.
#[derive(Default)]
pub(crate) struct Old {
    /// Keys and values as of the last transaction, rows and index entries alike.
    pub(crate) rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What it says of its tables.
    pub(crate) schema: Option<String>,
    files: Vec<Arc<dyn DiskFile>>,
    database: [u8; 16],
    sequence: u64,
}

impl Old {
    /// Reads all of it.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Self, Error> {
        let names = super::names(disk)?;
        let mut old = Self::default();
        let mut segments = Vec::new();
        for number in 1u64.. {
            let name = segment_name(number);
            if !names.contains(&name) || !is_of_format(disk, &name)? {
                break;
            }
            let file = disk.open(&name).map_err(|error| Error::io("open", &name, error))?;
            let segment = Segment::read(number, file.as_ref())?;
            if number == 1 {
                old.database = segment.database;
            }
            if segment.database != old.database {
                return Err(segment.corrupt(16, "the segment belongs to another database"));
            }
            old.files.push(file);
            segments.push(segment.without_bytes());
        }
        let ends = segments.iter().skip(1).map(|next| Some(next.previous_end)).chain([None]);
        for ((segment, end), file) in segments.iter().zip(ends).zip(old.files.clone()) {
            let segment = Segment::read(segment.number, file.as_ref())?;
            old.segment(&segment, end)?;
        }
        Ok(old)
    }

    /// How many segments it has.
    pub(crate) fn segments(&self) -> u64 {
        self.files.len() as u64
    }

    /// The bytes of a piece of a large value.
    pub(crate) fn chunk(&self, extent: &Extent) -> Result<Vec<u8>, Error> {
        let name = segment_name(extent.segment);
        let corrupt = |what: &str| {
            let (file, what) = (name.clone(), what.to_owned());
            Error::Corrupt { file, offset: extent.offset, what }
        };
        let file = usize::try_from(extent.segment.wrapping_sub(1)).ok();
        let file = file.and_then(|index| self.files.get(index));
        let file = file.ok_or_else(|| corrupt("the file is missing"))?;
        let len = usize::try_from(extent.len).unwrap_or(usize::MAX);
        if len > PAYLOAD_MAX {
            return Err(corrupt("a large value has a part that is too long"));
        }
        let mut bytes = vec![0; RECORD_LEN + len];
        let read = file.read_at(extent.offset, &mut bytes);
        let read = read.map_err(|error| Error::io("read", &name, error))?;
        let place = (extent.segment, extent.offset);
        let record = Record::read(&self.database, place, &bytes);
        let is_it = record.is_some_and(|record| record.kind == CHUNK && record.len == len);
        let payload = bytes.split_off(RECORD_LEN);
        if read != RECORD_LEN + len || !is_it || crc::of(&payload) != extent.crc {
            return Err(corrupt("a large value's checksum is wrong"));
        }
        Ok(payload)
    }

    /// Does what the records of a segment say; `end`: where the next segment says they end.
    fn segment(&mut self, segment: &Segment, end: Option<usize>) -> Result<(), Error> {
        if segment.sequence != self.sequence {
            return Err(segment.corrupt(0, "it does not go on where the one before ended"));
        }
        let end = match end {
            Some(end) => end,
            None => segment.end()?,
        };
        let mut at = HEADER_LEN;
        while at < end {
            let (record, payload) = segment
                .record(at)
                .ok_or_else(|| segment.corrupt(at, "no record where one must be"))?;
            let is_whole = crc::of(payload) == record.crc;
            match record.kind {
                CHUNK | MARK => {}
                SCHEMA | TRANSACTION if !is_whole => {
                    return Err(segment.corrupt(at, "the record's checksum is wrong"));
                }
                SCHEMA => {
                    let text = String::from_utf8(payload.to_vec());
                    let text = text.map_err(|_| segment.corrupt(at, "the schema is not text"))?;
                    self.schema = Some(text);
                }
                TRANSACTION if record.sequence == self.sequence + 1 => {
                    self.apply(payload).map_err(|what| segment.corrupt(at, what))?;
                    self.sequence = record.sequence;
                }
                TRANSACTION => {
                    return Err(segment.corrupt(at, "transactions do not follow each other"));
                }
                kind => {
                    let (file, what) = (segment.name.clone(), format!("a record of kind {kind}"));
                    return Err(Error::Unknown { file, offset: at as u64, what });
                }
            }
            at += record.total_len();
        }
        Ok(())
    }

    fn apply(&mut self, mut operations: &[u8]) -> Result<(), &'static str> {
        while let Some(operation) = state::take_operation(&mut operations)? {
            match operation {
                Operation::Put(key, value) => {
                    self.rows.insert(key.to_vec(), value.to_vec());
                }
                Operation::Delete(key) => {
                    self.rows.remove(key);
                }
                Operation::DeleteRange(low, high) if low < high => {
                    let mut tail = self.rows.split_off(low);
                    let mut after = tail.split_off(high);
                    self.rows.append(&mut after);
                }
                Operation::DeleteRange(..) => {}
            }
        }
        Ok(())
    }
}

/// A segment, in memory.
struct Segment {
    name: String,
    number: u64,
    database: [u8; 16],
    /// Where the records of the one before end.
    previous_end: usize,
    /// The last transaction before it.
    sequence: u64,
    bytes: Vec<u8>,
}

impl Segment {
    fn read(number: u64, file: &dyn DiskFile) -> Result<Self, Error> {
        let name = segment_name(number);
        let failed = |error| Error::io("read", &name, error);
        let len = file.len().map_err(failed)?;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let read = file.read_at(0, &mut bytes).map_err(failed)?;
        bytes.truncate(read);
        let (database, previous_end, sequence) = ([0; 16], 0, 0);
        let mut segment = Self { name, number, database, previous_end, sequence, bytes };
        let fields = segment.header();
        let fields = fields.ok_or_else(|| segment.corrupt(0, "the segment's header is damaged"))?;
        (segment.database, segment.previous_end, segment.sequence) = fields;
        Ok(segment)
    }

    fn header(&self) -> Option<([u8; 16], usize, u64)> {
        let header = self.bytes.get(..HEADER_LEN)?;
        let (body, crc) = header.split_last_chunk::<4>()?;
        let number = u64_at(body, 32)?;
        let is_whole = u32::from_le_bytes(*crc) == crc::of(body) && number == self.number;
        let previous_end = usize::try_from(u64_at(body, 48)?).ok()?;
        // A cipher was provided for and never used.
        let is_plain = u32_at(body, 64)? == 0;
        let database = *body.get(16..)?.first_chunk()?;
        (is_whole && is_plain).then_some((database, previous_end, u64_at(body, 56)?))
    }

    fn without_bytes(mut self) -> Self {
        self.bytes = Vec::new();
        self
    }

    fn corrupt(&self, at: usize, what: &str) -> Error {
        let (file, what) = (self.name.clone(), what.to_owned());
        Error::Corrupt { file, offset: at as u64, what }
    }

    /// The record at a place, with its payload.
    fn record(&self, at: usize) -> Option<(Record, &[u8])> {
        let bytes = self.bytes.get(at..)?;
        let record = Record::read(&self.database, (self.number, at as u64), bytes)?;
        let payload = bytes.get(RECORD_LEN..RECORD_LEN + record.len)?;
        Some((record, payload))
    }

    /// Where the records of the last segment end.
    fn end(&self) -> Result<usize, Error> {
        let (mut at, mut vouched, mut chunks) = (HEADER_LEN, HEADER_LEN, Vec::new());
        while let Some((record, payload)) = self.record(at) {
            if record.kind == CHUNK {
                chunks.push((at, crc::of(payload) == record.crc));
            } else if crc::of(payload) != record.crc {
                break;
            }
            vouched = vouched.max(record.synced);
            at += record.total_len();
        }
        // A whole record further on may say that more than this was on disk once.
        let behind = (at..self.bytes.len()).step_by(ALIGN);
        let behind = behind.filter_map(|at| self.record(at)).map(|(record, _)| record.synced);
        let behind = behind.max().unwrap_or(0);
        if behind > at {
            return Err(self.corrupt(at, "no whole record where one must be"));
        }
        let torn = chunks.into_iter().find(|(at, is_whole)| *at >= vouched && !is_whole);
        match torn {
            Some((at, _)) if behind > at => {
                Err(self.corrupt(at, "a large value's checksum is wrong"))
            }
            Some((at, _)) => Ok(at),
            None => Ok(at),
        }
    }
}

/// The header of a record.
struct Record {
    kind: u8,
    len: usize,
    crc: u32,
    sequence: u64,
    synced: usize,
}

impl Record {
    fn read(database: &[u8; 16], place: (u64, u64), bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..RECORD_LEN)?;
        let (body, own) = header.split_last_chunk::<4>()?;
        let place = [place.0.to_le_bytes(), place.1.to_le_bytes()].concat();
        if !body.starts_with(RECORD_MAGIC)
            || u32::from_le_bytes(*own) != crc::of(&[database.as_slice(), &place, body].concat())
        {
            return None;
        }
        let len = usize::try_from(u32_at(body, 8)?).ok().filter(|len| *len <= PAYLOAD_MAX)?;
        Some(Self {
            kind: *body.get(4)?,
            len,
            crc: u32_at(body, 12)?,
            sequence: u64_at(body, 16)?,
            synced: usize::try_from(u64_at(body, 24)?).ok()?,
        })
    }

    fn total_len(&self) -> usize {
        (RECORD_LEN + self.len).next_multiple_of(ALIGN)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|field| u32::from_le_bytes(*field))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|field| u64::from_le_bytes(*field))
}
