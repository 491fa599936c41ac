//! The disk as GraceDb sees it: one folder of files, with nothing promised before a sync.
//!
//! Everything the database does to files goes through [`Disk`], so that a simulated disk can stand
//! in. Names are plain file names inside the folder. Invariants asked of an implementation: after
//! [`DiskFile::sync`] the file's written bytes and length survive a power cut, after
//! [`DiskFile::write_durable_at`] the bytes it wrote do; after [`Disk::sync_dir`] so do created,
//! renamed and removed names; before, any part of them may.
//! Not here: what is in the files (`format`).

mod buffer;
pub mod real;
pub mod sim;

pub(crate) use self::buffer::Buffer;

use std::io;
use std::sync::Arc;

/// Sectors are written whole or not at all on every drive this was made for, in bytes. Groups of
/// the journal start at multiples of this or of what the drive asks for, if that is more.
pub const SECTOR_BYTES: usize = 512;

/// Buffers start at multiples of this, which every drive can read from directly.
pub(crate) const MEMORY_ALIGN: usize = 4096;

/// How a group of the journal gets to the drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JournalIo {
    /// One write past the page cache that returns when the drive has it (`O_DIRECT`, `O_DSYNC`),
    /// where the file system can do that; else as [`JournalIo::Buffered`].
    #[default]
    Direct,
    /// A write to the page cache, then `fdatasync`.
    Buffered,
}

/// A folder.
pub trait Disk: Send + Sync + 'static {
    /// The folder's name, for messages.
    fn label(&self) -> String;
    /// Takes the folder for this process; `None` when another has it. Released by dropping.
    fn lock(&self) -> io::Result<Option<Box<dyn DiskLock>>>;
    /// Names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Creates a file that must not exist.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file that must exist, for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file that must exist, for [`DiskFile::write_durable_at`] done in this way.
    fn open_journal(&self, name: &str, how: JournalIo) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name; a file that had it is gone at the same moment.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes created, renamed and removed names durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// The right to use a folder, until dropped.
pub trait DiskLock: Send {}

/// A file.
pub trait DiskFile: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Reads into `head` and on into `body`, as one read where the system can.
    fn read_two_at(&self, offset: u64, head: &mut [u8], body: &mut [u8]) -> io::Result<usize> {
        let first = self.read_at(offset, head)?;
        if first < head.len() {
            return Ok(first);
        }
        Ok(first + self.read_at(offset + first as u64, body)?)
    }
    /// Bytes that will be read soon: a system that can, fetches them meanwhile.
    fn will_read(&self, _offset: u64, _len: u64) {}
    /// Writes all bytes, growing the file if needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Writes all bytes and makes them durable, with nothing said of bytes written otherwise.
    fn write_durable_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_at(offset, bytes)?;
        self.sync()
    }
    /// What offset and length of a durable write must be multiples of to take the quickest way.
    fn write_align(&self) -> usize {
        SECTOR_BYTES
    }
    /// Takes room for the bytes up to `len`, which reads as zeros; the file grows to it. Where the
    /// file system cannot, nothing happens.
    fn reserve(&self, len: u64) -> io::Result<()>;
    /// Cuts the file off, or grows it by zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the bytes written so far, and the length, durable.
    fn sync(&self) -> io::Result<()>;
}
