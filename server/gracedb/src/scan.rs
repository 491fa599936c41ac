//! Reading records one after the other: the journal at open, the meta file, and for those who
//! check.
//!
//! Invariants: memory is one record and one window of the file; bytes are believed only when their
//! checksum fits, and their tag if they are encrypted.
//! Not here: what the records mean (`recover`, `meta`, `verify`).

use std::sync::Arc;

use crate::crc;
use crate::disk::DiskFile;
use crate::error::Error;
use crate::format::{
    ALIGN, FILE_HEADER_LEN, FileHeader, Place, RECORD_HEADER_LEN, RecordAt, RecordHeader,
};
use crate::seal::{self, Cipher, TAG_LEN};

/// What is read at a time while records follow each other.
pub(crate) const READ_BYTES_MAX: usize = 256 << 10;
/// What is read first after a jump over a chunk, most of the time one or two small records.
const READ_BYTES_MIN: usize = 4 << 10;
/// How far ahead of the records the system is told to fetch. What was written past the page cache
/// is not in it, and each jump over a chunk would wait for the drive.
const AHEAD_BYTES: u64 = 64 << 20;
/// Where the first record of a file stands.
pub(crate) const FIRST: u64 = FILE_HEADER_LEN as u64;

/// A file being read forwards, through one buffer.
pub(crate) struct Scan {
    pub(crate) header: FileHeader,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) len: u64,
    cipher: Option<Cipher>,
    buffer: Vec<u8>,
    start: u64,
    read_bytes: usize,
    /// Up to where the system was told to fetch.
    asked: u64,
}

/// What lies behind the last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Behind {
    /// Where the last byte that is not zero ends.
    pub(crate) dirty_end: u64,
    /// The most that a whole record there says was on disk before it.
    pub(crate) vouched: u64,
}

impl Scan {
    pub(crate) fn new(
        header: FileHeader,
        file: Arc<dyn DiskFile>,
        cipher: Option<Cipher>,
    ) -> Result<Self, Error> {
        let name = header.kind.name(header.number);
        let len = file.len().map_err(|error| Error::io("measure", &name, error))?;
        let (buffer, start, read_bytes) = (Vec::new(), 0, READ_BYTES_MIN);
        Ok(Self { header, file, len, cipher, buffer, start, read_bytes, asked: 0 })
    }

    pub(crate) fn name(&self) -> String {
        self.header.kind.name(self.header.number)
    }

    pub(crate) fn corrupt(&self, offset: u64, what: &str) -> Error {
        Error::Corrupt { file: self.name(), offset, what: what.to_owned() }
    }

    pub(crate) fn unknown(&self, offset: u64, kind: u8, flags: u8) -> Error {
        let what = format!("a record of kind {kind} with flags {flags:#04x}");
        Error::Unknown { file: self.name(), offset, what }
    }

    fn place(&self, offset: u64) -> Place {
        Place { segment: self.header.number, offset }
    }

    /// The bytes from `offset` on: `len` of them, fewer only at the end of the file.
    pub(crate) fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8], Error> {
        let inside = |start: u64, buffer: &[u8]| {
            let skip = usize::try_from(offset.checked_sub(start)?).ok()?;
            (skip <= buffer.len()).then_some(skip)
        };
        let found = inside(self.start, &self.buffer);
        if found.is_none_or(|skip| self.buffer.len() - skip < len) {
            // Reading on: take more at a time. After a jump: little.
            self.read_bytes = match found {
                Some(_) => (self.read_bytes * 2).min(READ_BYTES_MAX),
                None => READ_BYTES_MIN,
            };
            // Who looks at one record only does not go on.
            if !self.buffer.is_empty() {
                self.fetch(offset);
            }
            let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
            self.buffer.clear();
            self.buffer.resize(len.max(self.read_bytes).min(left), 0);
            let read = self.file.read_at(offset, &mut self.buffer);
            let read = read.map_err(|error| Error::io("read", &self.name(), error))?;
            self.buffer.truncate(read);
            self.start = offset;
        }
        let skip = inside(self.start, &self.buffer).unwrap_or(0);
        let rest = self.buffer.get(skip..).unwrap_or_default();
        Ok(rest.get(..len).unwrap_or(rest))
    }

    /// Has what follows `offset` fetched, half as far ahead as it goes at once.
    fn fetch(&mut self, offset: u64) {
        let (from, to) = (self.asked.max(offset), (offset + AHEAD_BYTES).min(self.len));
        if to > from && from - offset < AHEAD_BYTES / 2 {
            self.file.will_read(from, to - from);
            self.asked = to;
        }
    }

    /// What stands at `offset`. A record that would be longer than the file is none.
    pub(crate) fn record(&mut self, offset: u64) -> Result<RecordAt, Error> {
        let (database, place) = (self.header.database, self.place(offset));
        let at = RecordHeader::read(&database, place, self.bytes(offset, RECORD_HEADER_LEN)?);
        Ok(match at {
            RecordAt::Record(header) if offset + header.total_len() > self.len => {
                // The padding may be cut off, the payload not.
                let end = offset + (RECORD_HEADER_LEN as u64) + u64::from(header.len);
                if end > self.len { RecordAt::None } else { at }
            }
            _ => at,
        })
    }

    /// Whether the payload of the record at `offset` is as it was written.
    pub(crate) fn is_whole(&mut self, offset: u64, header: &RecordHeader) -> Result<bool, Error> {
        let len = usize::try_from(header.len).unwrap_or(usize::MAX);
        let stored = self.bytes(offset + RECORD_HEADER_LEN as u64, len)?;
        Ok(stored.len() == len && crc::of(stored) == header.crc)
    }

    /// The payload of the record at `offset`, decrypted; `None`: it is not as it was written.
    pub(crate) fn payload(
        &mut self,
        offset: u64,
        header: &RecordHeader,
    ) -> Result<Option<Vec<u8>>, Error> {
        if !self.is_whole(offset, header)? {
            return Ok(None);
        }
        let len = usize::try_from(header.len).unwrap_or(usize::MAX);
        let mut payload = self.bytes(offset + RECORD_HEADER_LEN as u64, len)?.to_vec();
        if header.sealed {
            let cipher = self.cipher.as_ref();
            let cipher = cipher.ok_or_else(|| {
                self.corrupt(offset, "an encrypted record in a file that is not encrypted")
            })?;
            let nonce = seal::nonce(header.life, offset);
            if cipher.open(nonce, &header.authenticated(), &mut payload).is_none() {
                return Ok(None);
            }
            payload.truncate(len.saturating_sub(TAG_LEN));
        } else if self.cipher.is_some() && len > 0 {
            return Err(self.corrupt(offset, "a record in the clear in an encrypted file"));
        }
        Ok(Some(payload))
    }

    /// Looks through what follows the last record.
    pub(crate) fn look_behind(&mut self, from: u64) -> Result<Behind, Error> {
        let mut behind = Behind { dirty_end: from, vouched: 0 };
        let mut at = from;
        loop {
            let FileHeader { database, number, recycled: is_recycled, .. } = self.header;
            let len = self.len;
            // Read in steps, each long enough for a header that starts in it.
            let step = READ_BYTES_MAX / 2;
            let bytes = self.bytes(at, step + RECORD_HEADER_LEN)?;
            if bytes.is_empty() {
                return Ok(behind);
            }
            let step = bytes.len().min(step);
            let stepped = bytes.get(..step).unwrap_or_default();
            if let Some(last) = stepped.iter().rposition(|byte| *byte != 0) {
                // In a file that was another one before, only records count.
                if !is_recycled {
                    behind.dirty_end = at + last as u64 + 1;
                }
                for skip in (0..step).step_by(8) {
                    let place = Place { segment: number, offset: at + skip as u64 };
                    let here = bytes.get(skip..).unwrap_or_default();
                    if let RecordAt::Record(header) = RecordHeader::read(&database, place, here) {
                        behind.vouched = behind.vouched.max(header.synced);
                        let end = place.offset + header.total_len();
                        behind.dirty_end = behind.dirty_end.max(end.min(len));
                    }
                }
            }
            at += step as u64;
        }
    }
}

const _: () = assert!(ALIGN == 8, "look_behind steps by records' alignment");
