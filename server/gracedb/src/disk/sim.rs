//! A simulated disk: promises nothing that [`crate::disk`] does not, and breaks by seed.
//!
//! It keeps what a process sees apart from what a power cut leaves. A write is pending until its
//! file is synced; a name, until the folder is. [`SimDisk::cut_power`] keeps any part of the
//! pending: nothing, all, a prefix, or any subset of 512-byte sectors, which may also bring back an
//! older pending version of a sector. A failed sync drops what it was to write and forgets that it
//! did, as real systems do.
//! Invariants: the same seed and the same calls give the same disk. Operations are counted from 1;
//! only those that change something count.
//! Not here: latency, bit rot (tests flip bits with [`SimDisk::damage`]).

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile, DiskLock};

/// What a drive writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// What happens at one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The power goes: this operation may have any effect, and every later one fails.
    PowerCut,
    /// The operation fails with EIO; a write may have written a part, a sync drops its bytes.
    Eio,
    /// The operation fails with ENOSPC and has no effect.
    NoSpace,
}

#[derive(Clone, Default)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync, cut into sectors.
    pending: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone)]
enum NameChange {
    Add(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Default)]
struct World {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    names_durable: BTreeMap<String, usize>,
    names_pending: Vec<NameChange>,
    locked: bool,
    operations: u64,
    faults: BTreeMap<u64, Fault>,
    dead: bool,
    random: u64,
    bytes_max: Option<usize>,
}

/// The simulated disk. Clones are handles of the same one.
#[derive(Clone)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
}

fn eio() -> io::Error {
    io::Error::other("simulated input/output error")
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn change_names(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Add(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        NameChange::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        NameChange::Remove(name) => {
            names.remove(name);
        }
    }
}

fn overwrite(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    if let Some(target) = file.get_mut(offset..end) {
        target.copy_from_slice(bytes);
    }
}

/// Cuts a write at sector boundaries.
fn sectors(mut offset: usize, mut bytes: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let len = (SECTOR - offset % SECTOR).min(bytes.len());
        let (piece, rest) = bytes.split_at_checked(len).unwrap_or((bytes, &[]));
        pieces.push((offset, piece.to_vec()));
        offset += len;
        bytes = rest;
    }
    pieces
}

impl World {
    /// SplitMix64.
    fn random(&mut self, below: usize) -> usize {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % (below.max(1) as u64)).unwrap_or(0)
    }

    /// Counts an operation and says what goes wrong with it.
    fn operate(&mut self) -> io::Result<Option<Fault>> {
        if self.dead {
            return Err(eio());
        }
        self.operations += 1;
        let fault = self.faults.get(&self.operations).copied();
        match fault {
            Some(Fault::PowerCut) => self.dead = true,
            Some(Fault::NoSpace) => return Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Eio) | None => {}
        }
        Ok(fault)
    }

    fn write(&mut self, inode: usize, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let fault = self.operate()?;
        let end = offset + bytes.len();
        let used: usize =
            self.names.values().filter_map(|at| self.inodes.get(*at)).map(|i| i.seen.len()).sum();
        let grows = end.saturating_sub(self.inodes.get(inode).map_or(0, |i| i.seen.len()));
        if self.bytes_max.is_some_and(|bytes_max| used + grows > bytes_max && grows > 0) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut pieces = sectors(offset, bytes);
        if fault == Some(Fault::Eio) {
            let kept = self.random(pieces.len() + 1);
            pieces.truncate(kept);
        }
        let Some(file) = self.inodes.get_mut(inode) else { return Err(not_found()) };
        for (offset, piece) in &pieces {
            overwrite(&mut file.seen, *offset, piece);
        }
        file.pending.extend(pieces);
        if fault.is_some() { Err(eio()) } else { Ok(()) }
    }

    fn sync(&mut self, inode: usize) -> io::Result<()> {
        let fault = self.operate()?;
        match fault {
            Some(Fault::PowerCut) => return Err(eio()),
            Some(_) => {
                // Some of it was written; all of it is forgotten.
                self.keep_some(inode);
                return Err(eio());
            }
            None => {}
        }
        if let Some(file) = self.inodes.get_mut(inode) {
            for (offset, piece) in std::mem::take(&mut file.pending) {
                overwrite(&mut file.durable, offset, &piece);
            }
            // The length is synced with the bytes.
            let len = file.seen.len();
            file.durable.resize(len, 0);
        }
        Ok(())
    }

    /// Moves any part of a file's pending writes to the disk and forgets the others.
    fn keep_some(&mut self, inode: usize) {
        let mode = self.random(4);
        let pending = self.inodes.get_mut(inode).map(|file| std::mem::take(&mut file.pending));
        let pending = pending.unwrap_or_default();
        let prefix = self.random(pending.len() + 1);
        for (at, (offset, piece)) in pending.into_iter().enumerate() {
            let kept = match mode {
                0 => false,
                1 => true,
                2 => at < prefix,
                _ => self.random(2) == 0,
            };
            if kept && let Some(file) = self.inodes.get_mut(inode) {
                overwrite(&mut file.durable, offset, &piece);
            }
        }
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        let fault = self.operate()?;
        if fault == Some(Fault::Eio) {
            return Err(eio());
        }
        change_names(&mut self.names, &change);
        self.names_pending.push(change);
        if fault.is_some() { Err(eio()) } else { Ok(()) }
    }

    fn sync_names(&mut self) -> io::Result<()> {
        if self.operate()?.is_some() {
            return Err(eio());
        }
        for change in std::mem::take(&mut self.names_pending) {
            change_names(&mut self.names_durable, &change);
        }
        Ok(())
    }

    fn cut_power(&mut self) {
        for inode in 0..self.inodes.len() {
            self.keep_some(inode);
        }
        for file in &mut self.inodes {
            file.seen.clone_from(&file.durable);
        }
        // Names are journaled by the file system: what is kept is a prefix.
        let kept = self.random(self.names_pending.len() + 1);
        for change in std::mem::take(&mut self.names_pending).iter().take(kept) {
            change_names(&mut self.names_durable, change);
        }
        self.names.clone_from(&self.names_durable);
        self.revive();
    }

    fn revive(&mut self) {
        self.locked = false;
        self.dead = false;
        self.operations = 0;
        self.faults.clear();
    }
}

impl SimDisk {
    /// An empty disk that decides by `seed`.
    pub fn new(seed: u64) -> Self {
        let world = World { random: seed, ..World::default() };
        Self { world: Arc::new(Mutex::new(world)) }
    }

    fn lock_world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Operations so far, since the start or the last [`SimDisk::cut_power`] or
    /// [`SimDisk::restart`].
    pub fn operations(&self) -> u64 {
        self.lock_world().operations
    }

    /// Lets a later operation go wrong.
    pub fn plan(&self, operation: u64, fault: Fault) {
        self.lock_world().faults.insert(operation, fault);
    }

    /// Limits the bytes of all files together, or lifts the limit.
    pub fn limit(&self, bytes_max: Option<usize>) {
        self.lock_world().bytes_max = bytes_max;
    }

    /// Bytes of all files together.
    pub fn bytes(&self) -> usize {
        let world = self.lock_world();
        let files = world.names.values().filter_map(|inode| world.inodes.get(*inode));
        files.map(|file| file.seen.len()).sum()
    }

    /// The power goes and comes back: pending writes and names survive in part or not at all.
    pub fn cut_power(&self) {
        self.lock_world().cut_power();
    }

    /// The process dies and starts again: what it saw is what it sees.
    pub fn restart(&self) {
        self.lock_world().revive();
    }

    /// Flips bits of a byte, on the disk and in every memory of it. False: there is no such byte.
    pub fn damage(&self, name: &str, offset: usize, bits: u8) -> bool {
        let mut world = self.lock_world();
        let Some(inode) = world.names.get(name).copied() else { return false };
        let Some(file) = world.inodes.get_mut(inode) else { return false };
        for bytes in [&mut file.seen, &mut file.durable] {
            match bytes.get_mut(offset) {
                Some(byte) => *byte ^= bits,
                None => return false,
            }
        }
        true
    }

    /// The bytes of a file, as a process sees them.
    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        let world = self.lock_world();
        let inode = world.names.get(name)?;
        world.inodes.get(*inode).map(|file| file.seen.clone())
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

struct SimLock(SimDisk);

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.lock_world().locked = false;
    }
}

impl Disk for SimDisk {
    fn label(&self) -> String {
        "simulated disk".to_owned()
    }

    fn lock(&self) -> io::Result<Option<Box<dyn DiskLock>>> {
        let was_locked = std::mem::replace(&mut self.lock_world().locked, true);
        if was_locked { Ok(None) } else { Ok(Some(Box::new(SimLock(self.clone())))) }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock_world().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.lock_world();
        if world.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = world.inodes.len();
        world.inodes.push(Inode::default());
        world.change_name(NameChange::Add(name.to_owned(), inode))?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.lock_world().names.get(name).copied().ok_or_else(not_found)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.lock_world();
        if !world.names.contains_key(from) {
            return Err(not_found());
        }
        world.change_name(NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.lock_world();
        if !world.names.contains_key(name) {
            return Err(not_found());
        }
        world.change_name(NameChange::Remove(name.to_owned()))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.lock_world().sync_names()
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        let world = self.disk.lock_world();
        Ok(world.inodes.get(self.inode).map_or(0, |file| file.seen.len() as u64))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let world = self.disk.lock_world();
        let file = world.inodes.get(self.inode).ok_or_else(not_found)?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = file.seen.get(offset..).unwrap_or_default();
        let count = bytes.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(bytes) {
            *to = *from;
        }
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.disk.lock_world().write(self.inode, offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.lock_world().sync(self.inode)
    }
}
