//! The disk as GraceDb sees it: one folder of files, with nothing promised before a sync.
//!
//! Everything the database does to files goes through [`Disk`], so that a simulated disk can stand
//! in. Names are plain file names inside the folder. Invariants asked of an implementation: after
//! [`DiskFile::sync`] the file's written bytes and length survive a power cut; after
//! [`Disk::sync_dir`] so do created, renamed and removed names; before, any part of them may.
//! Not here: what is in the files (`format`).

pub mod real;
pub mod sim;

use std::io;
use std::sync::Arc;

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
    /// Gives a file another name, which must be free.
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
    /// Writes all bytes, growing the file if needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes the bytes written so far, and the length, durable.
    fn sync(&self) -> io::Result<()>;
}
