//! The segment files, open for reading, shared by every reader of large values.
//!
//! Invariants: at most [`OPEN_MAX`] are kept open; bytes are returned only when both checksums
//! of their record, and the one in the row, agree.
//! Not here: writing (`journal`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::format::{self, Kind, Place, RECORD_HEADER_LEN, RecordAt, RecordHeader};
use crate::large::Extent;

/// Most segment files kept open. 64 of 64 MiB serve 4 GiB of mail without reopening any.
const OPEN_MAX: usize = 64;

/// The readable segments.
pub(crate) struct Segments {
    disk: Arc<dyn Disk>,
    database: [u8; 16],
    open: Mutex<BTreeMap<u64, Arc<dyn DiskFile>>>,
}

impl Segments {
    pub(crate) fn new(disk: Arc<dyn Disk>, database: [u8; 16]) -> Self {
        Self { disk, database, open: Mutex::new(BTreeMap::new()) }
    }

    fn file(&self, number: u64) -> Result<Arc<dyn DiskFile>, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&number) {
            return Ok(Arc::clone(file));
        }
        let name = format::segment_name(number);
        let file = self.disk.open(&name).map_err(|error| Error::io("open", &name, error))?;
        if open.len() >= OPEN_MAX {
            // Old mail is read less than new.
            open.pop_first();
        }
        open.insert(number, Arc::clone(&file));
        Ok(file)
    }

    /// Reads and checks one extent into `buffer`, replacing what is in it.
    pub(crate) fn read(&self, extent: &Extent, buffer: &mut Vec<u8>) -> Result<(), Error> {
        let len = usize::try_from(extent.len).unwrap_or(usize::MAX);
        let corrupt = |what: &str| Error::Corrupt {
            file: format::segment_name(extent.segment),
            offset: extent.offset,
            what: what.to_owned(),
        };
        if len > format::PAYLOAD_BYTES_MAX {
            return Err(corrupt("the row asks for more bytes than a record has"));
        }
        let file = self.file(extent.segment)?;
        buffer.clear();
        buffer.resize(RECORD_HEADER_LEN + len, 0);
        let read = file
            .read_at(extent.offset, buffer)
            .map_err(|error| Error::io("read", &format::segment_name(extent.segment), error))?;
        if read != buffer.len() {
            buffer.clear();
            return Err(corrupt("the file ends within a large value"));
        }
        let place = Place { segment: extent.segment, offset: extent.offset };
        let header = match RecordHeader::read(&self.database, place, buffer) {
            RecordAt::Record(header) => Some(header),
            RecordAt::None | RecordAt::Unknown(..) => None,
        };
        let expected = |header: &RecordHeader| {
            (header.kind, header.len, header.crc) == (Kind::Chunk, extent.len, extent.crc)
        };
        buffer.drain(..RECORD_HEADER_LEN);
        if !header.as_ref().is_some_and(expected) {
            buffer.clear();
            return Err(corrupt("the large value's record header is not the one written"));
        }
        if crc32c::crc32c(buffer) != extent.crc {
            buffer.clear();
            return Err(corrupt("the large value's checksum is wrong"));
        }
        Ok(())
    }
}
