//! The drive as the kernel sees it: one file of a file system of our own (FUSE).
//!
//! ```text
//!   ext4 ─▶ loop device ─▶ kernel's FUSE ─▶ Disk ─▶ Cache
//! ```
//! A loop device on the file turns its flushes into `fsync` of the file, so what the database asks
//! of a drive arrives here as it would at one. Invariants: the file is never in the page cache;
//! once the power is gone every request fails with EIO.
//! Not here: what a cut leaves (`cache`), loop devices and mounts (`rig`).

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};

use super::cache::{Answer, Cache, Cut};
use super::programs::Event;

/// The inode of the file.
const FILE: INodeNo = INodeNo(2);
/// Names and lengths never change, so the kernel may believe them this long.
const BELIEVED: Duration = Duration::from_secs(3600);

struct Shared {
    cache: Mutex<Cache>,
    /// Who hears of a power cut.
    listener: Mutex<Option<Sender<Event>>>,
    /// How often the file is open.
    opened: Mutex<usize>,
    released: Condvar,
}

/// A drive that is mounted while this is held.
pub(super) struct Drive {
    shared: Arc<Shared>,
    /// Its drop unmounts.
    _session: BackgroundSession,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drive {
    /// Mounts a drive of so many bytes as the file `name` in `folder`.
    pub(super) fn mount(folder: &Path, name: &str, bytes: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            cache: Mutex::new(Cache::new(bytes)),
            listener: Mutex::new(None),
            opened: Mutex::new(0),
            released: Condvar::new(),
        });
        let mut config = Config::default();
        config.mount_options.push(MountOption::FSName("grace-powercut".to_owned()));
        let disk = Disk { shared: Arc::clone(&shared), name: name.to_owned(), bytes: bytes as u64 };
        let session = fuser::spawn_mount(disk, folder, &config)?;
        Ok(Self { shared, _session: session })
    }

    /// The drive's memory.
    pub(super) fn cache(&self) -> MutexGuard<'_, Cache> {
        locked(&self.shared.cache)
    }

    /// The power goes at the so-manieth write or sync from now; `listener` is told.
    pub(super) fn arm(&self, operations: u64, cut: Cut, listener: Sender<Event>) {
        *locked(&self.shared.listener) = Some(listener);
        self.cache().arm(operations, cut);
    }

    /// Waits until nobody has the file open; false: somebody still has.
    pub(super) fn await_released(&self, limit: Duration) -> bool {
        let opened = locked(&self.shared.opened);
        let waited = self.shared.released.wait_timeout_while(opened, limit, |opened| *opened > 0);
        let (opened, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *opened == 0
    }
}

struct Disk {
    shared: Arc<Shared>,
    name: String,
    bytes: u64,
}

impl Disk {
    fn attributes(&self, inode: INodeNo) -> Option<FileAttr> {
        let folder = FileAttr {
            ino: INodeNo::ROOT,
            size: 0,
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: FileType::Directory,
            perm: 0o700,
            nlink: 2,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        };
        let (size, blocks) = (self.bytes, self.bytes / 512);
        let (kind, perm) = (FileType::RegularFile, 0o600);
        match inode {
            INodeNo::ROOT => Some(folder),
            FILE => Some(FileAttr { ino: FILE, size, blocks, kind, perm, nlink: 1, ..folder }),
            _ => None,
        }
    }

    /// What the kernel is told of an answer.
    fn outcome(&self, answer: Answer) -> Result<(), Errno> {
        match answer {
            Answer::Done => Ok(()),
            Answer::Outside => Err(Errno::ENOSPC),
            Answer::Off => Err(Errno::EIO),
            Answer::Cut => {
                if let Some(listener) = locked(&self.shared.listener).take() {
                    // Who does not listen any more has cut the power himself.
                    drop(listener.send(Event::Cut));
                }
                Err(Errno::EIO)
            }
        }
    }
}

impl Filesystem for Disk {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.attributes(FILE) {
            Some(attributes) if parent == INodeNo::ROOT && name == self.name.as_str() => {
                reply.entry(&BELIEVED, &attributes, Generation(0));
            }
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        match self.attributes(inode) {
            Some(attributes) => reply.attr(&BELIEVED, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _request: &Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        *locked(&self.shared.opened) += 1;
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn release(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let mut opened = locked(&self.shared.opened);
        *opened = opened.saturating_sub(1);
        drop(opened);
        self.shared.released.notify_all();
        reply.ok();
    }

    fn read(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let cache = locked(&self.shared.cache);
        match cache.read(offset, usize::try_from(size).unwrap_or(usize::MAX)) {
            Some(bytes) => reply.data(bytes),
            None => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let answer = locked(&self.shared.cache).write(offset, data);
        match self.outcome(answer) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(error),
        }
    }

    fn fsync(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        let answer = locked(&self.shared.cache).sync();
        match self.outcome(answer) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    /// Closing a file is no sync.
    fn flush(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn readdir(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        if offset == 0 {
            // One entry fits every buffer.
            let _ = reply.add(FILE, 1, FileType::RegularFile, &self.name);
        }
        reply.ok();
    }
}
