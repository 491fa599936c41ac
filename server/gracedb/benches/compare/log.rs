//! A bare log: what any database on this drive could reach at best.
//!
//! Records with a checksum, one after the other, written by the group; no index, no reading,
//! nothing in the background. All its room is written before it is measured, so a sync touches no
//! metadata.
//! ```text
//!   Synced   one write to the page cache at the next byte, then fdatasync
//!   Direct   one write past it at the next whole sector, back when the drive has it
//! ```
//! Invariant: a commit is on the drive when it returns.
//! Not here: a database.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crc_fast::CrcAlgorithm;
use rustix::fs::{Advice, OFlags};
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::aligned::{Aligned, SECTOR};
use crate::data::Change;
use crate::engine::{Engine, Reader};
use crate::group::Line;
use crate::pairs::{self, Batch, Part};

/// Bytes of one file of the log.
const FILE_BYTES: u64 = 256 << 20;
/// Zeros of one write.
const ZEROS_BYTES: usize = 1 << 20;

/// How bytes get to the drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Io {
    /// By the page cache and `fdatasync`.
    Synced,
    /// Past the page cache: `O_DIRECT` and `O_DSYNC`.
    Direct,
}

impl fmt::Display for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Synced => "fdatasync",
            Self::Direct => "O_DIRECT|O_DSYNC",
        })
    }
}

/// A file whose every byte was written, opened to be written once more.
pub(crate) fn written_ahead(path: &Path, bytes: u64, io: Io) -> Outcome<File> {
    let mut file = File::create(path)?;
    let zeros = vec![0; ZEROS_BYTES];
    for _ in 0..bytes.div_ceil(ZEROS_BYTES as u64) {
        file.write_all(&zeros)?;
    }
    file.sync_all()?;
    let mut options = OpenOptions::new();
    options.write(true);
    if io == Io::Direct {
        // Pages left in the cache would have to be dropped by every write past it.
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
        options.custom_flags(i32::try_from((OFlags::DIRECT | OFlags::DSYNC).bits())?);
    }
    Ok(options.open(path)?)
}

/// Writes bytes that are on the drive when this returns.
pub(crate) fn write(file: &File, bytes: &[u8], at: u64, io: Io) -> Outcome<()> {
    file.write_all_at(bytes, at)?;
    if io == Io::Synced {
        file.sync_data()?;
    }
    Ok(())
}

/// The log.
pub(crate) struct Log {
    line: Line<Vec<u8>>,
    tail: Mutex<Tail>,
}

struct Tail {
    dir: PathBuf,
    io: Io,
    /// Files that were written ahead, the next one last.
    ahead: Vec<File>,
    made: u64,
    file: File,
    at: u64,
    buffer: Aligned,
}

impl Log {
    /// A new log with room for so many bytes at least.
    pub(crate) fn create(dir: &Path, io: Io, room_bytes: u64) -> Outcome<Self> {
        let files = room_bytes.div_ceil(FILE_BYTES).max(1);
        let file = written_ahead(&dir.join("log-0"), FILE_BYTES, io)?;
        let ahead: Outcome<Vec<_>> = (1..files)
            .map(|n| written_ahead(&dir.join(format!("log-{n}")), FILE_BYTES, io))
            .collect();
        let (dir, ahead, buffer) = (dir.to_owned(), ahead?, Aligned::zeros(SECTOR));
        let tail = Tail { dir, io, ahead, made: files, file, at: 0, buffer };
        Ok(Self { line: Line::new(), tail: Mutex::new(tail) })
    }
}

impl Tail {
    fn write(&mut self, records: &[Vec<u8>]) -> Outcome<()> {
        let bytes: usize = records.iter().map(Vec::len).sum();
        let padded = match self.io {
            Io::Synced => bytes,
            Io::Direct => bytes.next_multiple_of(SECTOR),
        };
        let to = self.buffer.first_mut(padded);
        let (mut rest, pad) = to.split_at_mut_checked(bytes).unwrap_or_default();
        for record in records {
            let (here, after) = rest.split_at_mut_checked(record.len()).unwrap_or_default();
            here.copy_from_slice(record);
            rest = after;
        }
        pad.fill(0);
        if self.at + padded as u64 > FILE_BYTES {
            self.next_file()?;
        }
        write(&self.file, self.buffer.first(padded), self.at, self.io)?;
        self.at += padded as u64;
        Ok(())
    }

    fn next_file(&mut self) -> Outcome<()> {
        self.file = match self.ahead.pop() {
            Some(file) => file,
            None => {
                let path = self.dir.join(format!("log-{}", self.made));
                self.made += 1;
                written_ahead(&path, FILE_BYTES, self.io)?
            }
        };
        self.at = 0;
        Ok(())
    }
}

/// The record of a transaction: its length, a checksum, then keys and values.
struct Record(Vec<u8>);

impl Record {
    /// Bytes before the keys.
    const HEAD: usize = 8;

    fn new() -> Self {
        Self(vec![0; Self::HEAD])
    }

    fn finish(mut self) -> Outcome<Vec<u8>> {
        let (head, payload) = self.0.split_at_mut_checked(Self::HEAD).unwrap_or_default();
        let crc = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, payload);
        let len = u32::try_from(payload.len())?;
        let (first, second) = head.split_at_mut_checked(4).unwrap_or_default();
        first.copy_from_slice(&len.to_le_bytes());
        second.copy_from_slice(&u32::try_from(crc)?.to_le_bytes());
        Ok(self.0)
    }
}

impl Batch for Record {
    fn put(&mut self, _part: Part, key: &[u8], value: &[u8]) -> Outcome<()> {
        for bytes in [key, value] {
            self.0.extend_from_slice(&u32::try_from(bytes.len())?.to_le_bytes());
            self.0.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn delete(&mut self, part: Part, key: &[u8]) -> Outcome<()> {
        self.put(part, key, &[])
    }

    fn mail(&mut self, _key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        Err("a log gives nothing back".into())
    }
}

impl Engine for Log {
    fn commit(&self, _writer: usize, changes: &[Change]) -> Outcome<()> {
        let mut record = Record::new();
        pairs::apply(changes, &mut record)?;
        self.line.pass(record.finish()?, |records| {
            self.tail.lock().unwrap_or_else(PoisonError::into_inner).write(records)
        })
    }

    fn reader(&self) -> Outcome<Box<dyn Reader + '_>> {
        Err("a log gives nothing back".into())
    }

    fn settle(&self) -> Outcome<()> {
        Ok(())
    }
}
