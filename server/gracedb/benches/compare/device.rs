//! The drive under a folder: what was written to it, by the kernel's count of the whole drive.
//!
//! It counts what everybody writes, the file system's own notes as well; so it is read while nobody
//! else writes, after the dirty pages of all were written.
//! Not here: what one process wrote (`process`).

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::Outcome;

/// Bytes of a sector in the kernel's counts, whatever the drive has.
const SECTOR_BYTES: u64 = 512;
/// Places in the line of counts (Documentation/admin-guide/iostats.rst, from 0).
const SECTORS_WRITTEN: usize = 6;
const FLUSHES: usize = 15;

/// A drive.
pub(crate) struct Device {
    counts: PathBuf,
}

/// What was written to a drive since it was there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) flushes: u64,
}

impl Device {
    /// The drive that a folder is on, where the kernel tells.
    pub(crate) fn of(dir: &Path) -> Outcome<Self> {
        let number = fs::metadata(dir)?.dev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        Ok(Self { counts: PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat")) })
    }

    /// The counts as of now; zeros where there are none.
    pub(crate) fn written(&self) -> Written {
        let line = fs::read_to_string(&self.counts).unwrap_or_default();
        let count = |at: usize| {
            line.split_whitespace().nth(at).and_then(|count| count.parse().ok()).unwrap_or(0u64)
        };
        Written { bytes: count(SECTORS_WRITTEN) * SECTOR_BYTES, flushes: count(FLUSHES) }
    }
}

impl Written {
    /// What came on top of `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        let bytes = self.bytes.saturating_sub(before.bytes);
        Self { bytes, flushes: self.flushes.saturating_sub(before.flushes) }
    }
}

/// Brings every file of a folder to the drive, and nobody else's.
pub(crate) fn sync_files(dir: &Path) -> Outcome<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_files(&path)?;
        } else {
            File::open(path)?.sync_all()?;
        }
    }
    Ok(())
}

/// Bytes that the files of a folder take.
pub(crate) fn taken_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => taken_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * SECTOR_BYTES,
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}
