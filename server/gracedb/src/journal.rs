//! The end of the journal: the segment being written.
//!
//! ```text
//!            synced        written         filled ahead
//!   |header|rrrrrrrr|rrrrrrrrrrr|00000000000000000000|
//! ```
//! Zeros are written ahead of the records, so that a sync of records changes neither the file's
//! length nor its map of blocks. Invariants: records are written only into bytes that were filled
//! before, so a full disk is met while filling, when no record is half written; a segment begins
//! only when the one before is synced to its end; `synced <= written <= filled`.
//! Not here: when to sync, whom to tell (`committer`).

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::format::{self, Kind, Place, RecordHeader, SegmentHeader};
use crate::queue::Record;

/// Records are gathered to this many bytes for one write call.
const WRITE_BYTES: usize = 1 << 20;
/// Zeros are written in pieces of this many bytes.
const ZEROS: [u8; 16 << 10] = [0; 16 << 10];
/// What of the write buffer is kept while idle.
const IDLE_BYTES: usize = 64 << 10;

/// How a step failed.
pub(crate) enum Failure {
    /// The disk is full and no record was touched.
    Full(Error),
    /// What the disk holds is unknown.
    Fatal(Error),
}

/// The segment being written.
pub(crate) struct Journal {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) database: [u8; 16],
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) number: u64,
    pub(crate) written: u64,
    pub(crate) filled: u64,
    pub(crate) synced: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) ahead_bytes: u64,
    pub(crate) buffer: Vec<u8>,
}

impl Journal {
    /// Where the next record goes.
    pub(crate) fn place(&self) -> Place {
        Place { segment: self.number, offset: self.written }
    }

    fn name(&self) -> String {
        format::segment_name(self.number)
    }

    /// Writes zeros so that records up to `end` go into bytes that exist.
    pub(crate) fn fill_to(&mut self, end: u64) -> Result<(), Failure> {
        if end <= self.filled {
            return Ok(());
        }
        let mut goal = end.next_multiple_of(self.ahead_bytes).max(end);
        if end <= self.segment_bytes {
            goal = goal.min(self.segment_bytes);
        }
        while self.filled < goal {
            let len =
                usize::try_from(goal - self.filled).map_or(ZEROS.len(), |n| n.min(ZEROS.len()));
            let zeros = ZEROS.get(..len).unwrap_or(&ZEROS);
            match self.file.write_at(self.filled, zeros) {
                Ok(()) => self.filled += len as u64,
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    return Err(Failure::Full(Error::NoSpace {
                        file: self.name(),
                        bytes: goal - self.filled,
                    }));
                }
                Err(error) => return Err(Failure::Fatal(Error::io("write", &self.name(), error))),
            }
        }
        Ok(())
    }

    /// Writes records, which stand one after the other from [`Journal::place`] on.
    pub(crate) fn write<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Record>,
    ) -> Result<(), Failure> {
        for record in records {
            let header = RecordHeader {
                kind: record.kind,
                len: u32::try_from(record.payload.len()).unwrap_or(u32::MAX),
                crc: record.crc,
                sequence: record.sequence,
                synced: self.synced,
            };
            self.buffer.extend_from_slice(&header.to_bytes(&self.database, record.place));
            self.buffer.extend_from_slice(&record.payload);
            self.buffer.resize(self.buffer.len().next_multiple_of(8), 0);
            if self.buffer.len() >= WRITE_BYTES {
                self.flush()?;
            }
        }
        self.flush()?;
        self.buffer.shrink_to(IDLE_BYTES);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let result = self.file.write_at(self.written, &self.buffer);
        let bytes = self.buffer.len() as u64;
        self.buffer.clear();
        result.map_err(|error| Failure::Fatal(Error::io("write", &self.name(), error)))?;
        self.written += bytes;
        self.filled = self.filled.max(self.written);
        Ok(())
    }

    /// Makes everything written durable. Never tried again when it fails: the system may have
    /// dropped the bytes and forgotten that it did.
    pub(crate) fn sync(&mut self) -> Result<(), Failure> {
        let result = self.file.sync();
        result.map_err(|error| Failure::Fatal(Error::io("sync", &self.name(), error)))?;
        self.synced = self.written;
        Ok(())
    }

    /// Goes on in the next segment. The caller has synced this one.
    pub(crate) fn roll(&mut self, sequence: u64) -> Result<(), Failure> {
        let header = SegmentHeader {
            database: self.database,
            number: self.number + 1,
            previous: self.place(),
            sequence,
        };
        self.file = create_segment(self.disk.as_ref(), header)?;
        self.number = header.number;
        self.written = format::SEGMENT_HEADER_LEN as u64;
        self.filled = self.written;
        self.synced = self.written;
        Ok(())
    }

    /// Writes the record that tells the next open that everything before it is on disk.
    pub(crate) fn close(&mut self) -> Result<(), Failure> {
        if self.written > self.synced {
            self.sync()?;
        }
        let end = self.written + format::record_len(0);
        if end > self.segment_bytes {
            return Ok(());
        }
        self.fill_to(end)?;
        let payload = Vec::new();
        let crc = crc32c::crc32c(&payload);
        let mark = Record { place: self.place(), kind: Kind::Mark, sequence: 0, crc, payload };
        self.write(std::iter::once(&mark))?;
        self.sync()
    }
}

/// Makes a segment that holds nothing but its header, durable with its name.
///
/// It gets its name only when the header is on disk: a segment with a torn header does not exist.
pub(crate) fn create_segment(
    disk: &dyn Disk,
    header: SegmentHeader,
) -> Result<Arc<dyn DiskFile>, Failure> {
    let name = format::segment_name(header.number);
    let draft = format!("{name}.new");
    let full = |doing: &'static str, error: io::Error| {
        if error.kind() == io::ErrorKind::StorageFull {
            let bytes = format::SEGMENT_HEADER_LEN as u64;
            Failure::Full(Error::NoSpace { file: name.clone(), bytes })
        } else {
            Failure::Fatal(Error::io(doing, &name, error))
        }
    };
    // Left over when the disk was full the last time.
    if disk.list().map_err(|error| full("list", error))?.contains(&draft) {
        disk.remove(&draft).map_err(|error| full("remove", error))?;
    }
    let file = disk.create(&draft).map_err(|error| full("create", error))?;
    file.write_at(0, &header.to_bytes()).map_err(|error| full("write", error))?;
    file.sync().map_err(|error| full("sync", error))?;
    disk.rename(&draft, &name).map_err(|error| full("rename", error))?;
    // From here on the name may or may not survive, so a failure is not "nothing happened".
    disk.sync_dir().map_err(|error| Failure::Fatal(Error::io("sync the folder", &name, error)))?;
    Ok(file)
}
