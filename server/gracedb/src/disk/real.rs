//! Real files.
//!
//! Invariants: a file's sync is `fdatasync` or what the platform has for it; bytes reach the drive
//! past the page cache only where offset, length and memory fit, and otherwise through it.
//! Not here: any retry; a failed sync is final (`commit`).

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
#[cfg(target_os = "linux")]
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, DiskFile, DiskLock, JournalIo, SECTOR_BYTES};

/// Name of the lock file. It holds the process id of the owner, for a person to read.
const LOCK_NAME: &str = "lock";

/// What Linux fetches at least when it is told of bytes that will be read.
#[cfg(target_os = "linux")]
const FETCH_BYTES: u64 = 128 << 10;

/// A folder of the file system.
#[derive(Debug, Clone)]
pub struct RealDisk {
    dir: PathBuf,
}

impl RealDisk {
    /// The folder `dir`, made by the first lock if it does not exist.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    fn open_options() -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        options
    }
}

struct RealFile {
    file: File,
    /// The same file, opened for direct and durable writes.
    direct: Option<Direct>,
}

/// The system releases the lock with the file.
struct RealLock(#[expect(dead_code, reason = "held, not used")] Option<File>);

impl DiskLock for RealLock {}

impl Disk for RealDisk {
    fn label(&self) -> String {
        self.dir.display().to_string()
    }

    fn lock(&self) -> io::Result<Option<Box<dyn DiskLock>>> {
        let above = |dir: &Path| {
            let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
            parent.unwrap_or(Path::new(".")).to_path_buf()
        };
        let missing: Vec<&Path> = self.dir.ancestors().take_while(|dir| !dir.is_dir()).collect();
        let missing: Vec<PathBuf> = missing.into_iter().map(above).collect();
        fs::create_dir_all(&self.dir)?;
        missing.iter().try_for_each(|dir| sync_folder(dir))?;
        // Every time: whoever created the folder may have been killed before this.
        sync_folder(&above(&self.dir))?;
        let path = self.dir.join(LOCK_NAME);
        let mut options = Self::open_options();
        let mut file = match options.create(true).truncate(false).open(path) {
            // Nobody writes there, so nobody is in the way; whoever tries to will be told.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                return Ok(Some(Box::new(RealLock(None))));
            }
            opened => opened?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Some(Box::new(RealLock(Some(file)))))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = Self::open_options();
        options.create_new(true);
        // Mail is in these files: nobody but the server's user may read them.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Arc::new(RealFile { file: options.open(self.dir.join(name))?, direct: None }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.dir.join(name);
        let file = match Self::open_options().open(&path) {
            // A backup on a medium of its own can still be checked and copied.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(&path)?,
            opened => opened?,
        };
        Ok(Arc::new(RealFile { file, direct: None }))
    }

    fn open_journal(&self, name: &str, how: JournalIo) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.dir.join(name);
        let file = Self::open_options().open(&path)?;
        let direct = match how {
            JournalIo::Direct => Direct::open(&path),
            JournalIo::Buffered => None,
        };
        Ok(Arc::new(RealFile { file, direct }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.dir.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        sync_folder(&self.dir)
    }
}

#[cfg(unix)]
fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Elsewhere a folder cannot be synced; the file system journals its names by itself.
#[cfg(not(unix))]
fn sync_folder(_dir: &Path) -> io::Result<()> {
    Ok(())
}

/// A file opened for writes that go to the drive and return when it has them.
struct Direct {
    file: File,
    align: usize,
}

#[cfg(target_os = "linux")]
impl Direct {
    /// `None` where the file system cannot do it.
    fn open(path: &Path) -> Option<Self> {
        use rustix::fs::{AtFlags, OFlags, StatxFlags};
        let flags = i32::try_from((OFlags::DIRECT | OFlags::DSYNC).bits()).ok()?;
        let mut options = OpenOptions::new();
        options.write(true);
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags);
        let file = options.open(path).ok()?;
        // Asked since Linux 6.1; a page suits the file systems that do not say.
        let mask = StatxFlags::DIOALIGN;
        let status = rustix::fs::statx(&file, "", AtFlags::EMPTY_PATH, mask).ok();
        let align = match status.map(|status| status.stx_dio_offset_align) {
            Some(align) if align.is_power_of_two() => usize::try_from(align).ok()?,
            _ => super::MEMORY_ALIGN,
        };
        (align <= super::MEMORY_ALIGN).then_some(Self { file, align: align.max(SECTOR_BYTES) })
    }
}

#[cfg(not(target_os = "linux"))]
impl Direct {
    fn open(_path: &Path) -> Option<Self> {
        None
    }
}

impl Direct {
    fn fits(&self, offset: u64, bytes: &[u8]) -> bool {
        offset.is_multiple_of(self.align as u64)
            && bytes.len().is_multiple_of(self.align)
            && bytes.as_ptr().addr().is_multiple_of(self.align)
    }
}

#[cfg(unix)]
fn read_some(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_some(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

#[cfg(unix)]
fn write_some(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_some(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}

fn write_all(file: &File, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match write_some(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                offset += count as u64;
                bytes = bytes.get(count..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn reserve(file: &File, len: u64) -> io::Result<()> {
    use rustix::fs::FallocateFlags;
    use rustix::io::Errno;
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len) {
        // Such a file system takes the room when it is written.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        result => Ok(result?),
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve(_file: &File, _len: u64) -> io::Result<()> {
    Ok(())
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len();
        while !buffer.is_empty() {
            match read_some(&self.file, buffer, offset) {
                Ok(0) => break,
                Ok(count) => {
                    offset += count as u64;
                    buffer = buffer.get_mut(count..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(wanted - buffer.len())
    }

    #[cfg(target_os = "linux")]
    fn read_two_at(&self, offset: u64, head: &mut [u8], body: &mut [u8]) -> io::Result<usize> {
        let wanted = head.len() + body.len();
        let mut parts = [io::IoSliceMut::new(head), io::IoSliceMut::new(body)];
        let count = rustix::io::preadv(&self.file, &mut parts, offset).unwrap_or(0);
        if count == wanted {
            return Ok(count);
        }
        // Interrupted, cut short or failed: piece by piece, which says what it was.
        let first = self.read_at(offset, head)?;
        if first < head.len() {
            return Ok(first);
        }
        Ok(first + self.read_at(offset + first as u64, body)?)
    }

    /// Linux fetches little at a time, however much it is told of.
    #[cfg(target_os = "linux")]
    fn will_read(&self, offset: u64, len: u64) {
        let end = offset.saturating_add(len);
        let mut at = offset;
        while let Some(step) = NonZeroU64::new(end.saturating_sub(at).min(FETCH_BYTES)) {
            let advice = rustix::fs::Advice::WillNeed;
            if rustix::fs::fadvise(&self.file, at, Some(step), advice).is_err() {
                return;
            }
            at += step.get();
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        write_all(&self.file, offset, bytes)
    }

    fn write_durable_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Some(direct) = &self.direct
            && direct.fits(offset, bytes)
        {
            // A write that is cut short goes on at an offset that may not fit any more.
            let mut done = 0;
            while done < bytes.len() {
                let rest = bytes.get(done..).unwrap_or_default();
                let at = offset + done as u64;
                if !direct.fits(at, rest) {
                    self.write_at(at, rest)?;
                    return self.sync();
                }
                match write_some(&direct.file, rest, at) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => done += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            return Ok(());
        }
        self.write_at(offset, bytes)?;
        self.sync()
    }

    fn write_align(&self) -> usize {
        self.direct.as_ref().map_or(SECTOR_BYTES, |direct| direct.align)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        reserve(&self.file, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
