//! A simulated disk: promises nothing that [`crate::disk`] does not, and breaks by seed.
//!
//! It keeps what a process sees apart from what a power cut leaves. A write is pending until its
//! file is synced; a name, until the folder is. [`SimDisk::cut_power`] keeps any part of the
//! pending: nothing, all, a prefix, or any subset of 512-byte sectors, which may also bring back an
//! older pending version of a sector. A failed sync drops what it was to write and forgets that it
//! did, as real systems do; a lying one says that all is well and leaves everything pending.
//! Invariants: the same seed and the same calls give the same disk. Operations are counted from 1;
//! only those that change something count. Reads are counted apart.
//! Not here: latency, bit rot (tests flip bits with [`SimDisk::damage`]).

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile, DiskLock, JournalIo, SECTOR_BYTES};

/// What happens at one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The power goes: this operation may have any effect, and every later one fails.
    PowerCut,
    /// The operation fails with EIO; a write may have written a part, a sync drops its bytes.
    Eio,
    /// The operation fails with ENOSPC; a write may have written a part.
    NoSpace,
    /// A sync or durable write returns as if it had done its work, and has not. Other operations
    /// are not touched.
    Lie,
}

/// Something done to a file that a power cut may undo.
#[derive(Clone)]
enum Change {
    /// Bytes within one sector.
    Write(usize, Vec<u8>),
    /// Another length.
    Length(usize),
    /// At least this length.
    Reserve(usize),
}

#[derive(Clone, Default)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// What was done since the last sync, in order.
    pending: Vec<Change>,
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
    reads: u64,
    faults: BTreeMap<u64, Fault>,
    read_faults: BTreeMap<u64, Fault>,
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

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                let end = offset + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                if let Some(target) = file.get_mut(*offset..end) {
                    target.copy_from_slice(bytes);
                }
            }
            Self::Length(len) => file.resize(*len, 0),
            Self::Reserve(len) => file.resize(file.len().max(*len), 0),
        }
    }

    /// Whether a durable write there takes this along: what is pending in the same sectors, and
    /// lengths, for the file system journals them in order.
    fn goes_with(&self, offset: usize, len: usize) -> bool {
        let sectors = offset / SECTOR_BYTES..=(offset + len.max(1) - 1) / SECTOR_BYTES;
        match self {
            Self::Write(at, _) => sectors.contains(&(at / SECTOR_BYTES)),
            Self::Length(_) | Self::Reserve(_) => true,
        }
    }
}

/// Cuts a write at sector boundaries.
fn sectors(mut offset: usize, mut bytes: &[u8]) -> Vec<Change> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let len = (SECTOR_BYTES - offset % SECTOR_BYTES).min(bytes.len());
        let (piece, rest) = bytes.split_at_checked(len).unwrap_or((bytes, &[]));
        pieces.push(Change::Write(offset, piece.to_vec()));
        offset += len;
        bytes = rest;
    }
    pieces
}

/// SplitMix64: the random numbers of every simulation here.
pub fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

impl World {
    fn random(&mut self, below: usize) -> usize {
        let random = next_random(&mut self.random);
        usize::try_from(random % (below.max(1) as u64)).unwrap_or(0)
    }

    /// Counts an operation and says what goes wrong with it.
    fn operate(&mut self) -> io::Result<Option<Fault>> {
        if self.dead {
            return Err(eio());
        }
        self.operations += 1;
        let fault = self.faults.get(&self.operations).copied();
        if fault == Some(Fault::PowerCut) {
            self.dead = true;
        }
        Ok(fault)
    }

    /// Counts a read and says whether it fails.
    fn look(&mut self) -> io::Result<()> {
        if self.dead {
            return Err(eio());
        }
        self.reads += 1;
        if self.read_faults.contains_key(&self.reads) { Err(eio()) } else { Ok(()) }
    }

    fn used(&self) -> usize {
        self.names.values().filter_map(|at| self.inodes.get(*at)).map(|i| i.seen.len()).sum()
    }

    /// Whether a file may have this length on a disk of limited size.
    fn fits(&self, inode: usize, len: usize) -> bool {
        let grows = len.saturating_sub(self.inodes.get(inode).map_or(0, |i| i.seen.len()));
        grows == 0 || self.bytes_max.is_none_or(|bytes_max| self.used() + grows <= bytes_max)
    }

    /// What a write does before its fate is known: the pieces that reach the file, and the fault.
    fn begin_write(
        &mut self,
        inode: usize,
        offset: usize,
        bytes: &[u8],
    ) -> io::Result<(Vec<Change>, Option<Fault>)> {
        let mut fault = self.operate()?;
        if !self.fits(inode, offset + bytes.len()) {
            fault = Some(Fault::NoSpace);
        }
        let mut pieces = sectors(offset, bytes);
        if matches!(fault, Some(Fault::Eio | Fault::NoSpace)) {
            let kept = self.random(pieces.len() + 1);
            pieces.truncate(kept);
            // A full disk has no room to grow for the part, either.
            if fault == Some(Fault::NoSpace) {
                pieces.retain(|piece| match piece {
                    Change::Write(at, bytes) => self.fits(inode, at + bytes.len()),
                    Change::Length(_) | Change::Reserve(_) => false,
                });
            }
        }
        Ok((pieces, fault))
    }

    fn write(&mut self, inode: usize, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let (pieces, fault) = self.begin_write(inode, offset, bytes)?;
        let Some(file) = self.inodes.get_mut(inode) else { return Err(not_found()) };
        for piece in &pieces {
            piece.apply(&mut file.seen);
        }
        file.pending.extend(pieces);
        failed(fault)
    }

    /// As `O_DIRECT | O_DSYNC`: what was pending in the same sectors goes first.
    fn write_durable(&mut self, inode: usize, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let (pieces, fault) = self.begin_write(inode, offset, bytes)?;
        let Some(file) = self.inodes.get_mut(inode) else { return Err(not_found()) };
        for piece in &pieces {
            piece.apply(&mut file.seen);
        }
        if fault.is_some() {
            // What an unfinished write has done by now is anyone's guess, as for a pending one.
            file.pending.extend(pieces);
            return failed(fault);
        }
        let pending = std::mem::take(&mut file.pending);
        for change in pending {
            if change.goes_with(offset, bytes.len()) {
                change.apply(&mut file.durable);
            } else {
                file.pending.push(change);
            }
        }
        for piece in &pieces {
            piece.apply(&mut file.durable);
        }
        Ok(())
    }

    fn set_len(&mut self, inode: usize, len: usize, only_more: bool) -> io::Result<()> {
        let fault = self.operate()?;
        match fault {
            Some(Fault::Eio) => return Err(eio()),
            Some(Fault::NoSpace) => return Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::PowerCut | Fault::Lie) | None => {}
        }
        if !self.fits(inode, len) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let Some(file) = self.inodes.get_mut(inode) else { return Err(not_found()) };
        let change = if only_more { Change::Reserve(len) } else { Change::Length(len) };
        change.apply(&mut file.seen);
        file.pending.push(change);
        failed(fault)
    }

    fn sync(&mut self, inode: usize) -> io::Result<()> {
        match self.operate()? {
            Some(Fault::PowerCut) => return Err(eio()),
            Some(Fault::Lie) => return Ok(()),
            Some(Fault::Eio | Fault::NoSpace) => {
                // Some of it was written; all of it is forgotten.
                self.keep_some(inode);
                return Err(eio());
            }
            None => {}
        }
        if let Some(file) = self.inodes.get_mut(inode) {
            for change in std::mem::take(&mut file.pending) {
                change.apply(&mut file.durable);
            }
        }
        Ok(())
    }

    /// Moves any part of a file's pending changes to the disk and forgets the others.
    fn keep_some(&mut self, inode: usize) {
        let mode = self.random(4);
        let pending = self.inodes.get_mut(inode).map(|file| std::mem::take(&mut file.pending));
        let pending = pending.unwrap_or_default();
        let prefix = self.random(pending.len() + 1);
        for (at, change) in pending.into_iter().enumerate() {
            let kept = match mode {
                0 => false,
                1 => true,
                2 => at < prefix,
                _ => self.random(2) == 0,
            };
            if kept && let Some(file) = self.inodes.get_mut(inode) {
                change.apply(&mut file.durable);
            }
        }
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        let fault = self.operate()?;
        match fault {
            Some(Fault::Eio) => return Err(eio()),
            Some(Fault::NoSpace) => return Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::PowerCut | Fault::Lie) | None => {}
        }
        change_names(&mut self.names, &change);
        self.names_pending.push(change);
        failed(fault)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        match self.operate()? {
            Some(Fault::Lie) => return Ok(()),
            Some(_) => return Err(eio()),
            None => {}
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
        self.reads = 0;
        self.faults.clear();
        self.read_faults.clear();
        self.forget_unnamed();
    }

    /// Frees the bytes of files that no name leads to any more.
    fn forget_unnamed(&mut self) {
        let named: Vec<usize> =
            self.names.values().chain(self.names_durable.values()).copied().collect();
        for (at, inode) in self.inodes.iter_mut().enumerate() {
            if !named.contains(&at) {
                *inode = Inode::default();
            }
        }
    }
}

fn failed(fault: Option<Fault>) -> io::Result<()> {
    match fault {
        Some(Fault::PowerCut | Fault::Eio) => Err(eio()),
        Some(Fault::NoSpace) => Err(io::ErrorKind::StorageFull.into()),
        Some(Fault::Lie) | None => Ok(()),
    }
}

impl SimDisk {
    /// An empty disk that decides by `seed`.
    pub fn new(seed: u64) -> Self {
        let world = World { random: seed, ..World::default() };
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// Another disk in the same state, which decides by `seed` from now on.
    pub fn fork(&self, seed: u64) -> Self {
        let world = self.lock_world();
        let world = World {
            inodes: world.inodes.clone(),
            names: world.names.clone(),
            names_durable: world.names_durable.clone(),
            names_pending: world.names_pending.clone(),
            bytes_max: world.bytes_max,
            random: seed,
            ..World::default()
        };
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

    /// Reads so far, counted as [`SimDisk::operations`] are.
    pub fn reads(&self) -> u64 {
        self.lock_world().reads
    }

    /// Lets a later operation go wrong.
    pub fn plan(&self, operation: u64, fault: Fault) {
        self.lock_world().faults.insert(operation, fault);
    }

    /// Lets a later read fail with EIO.
    pub fn plan_read(&self, read: u64) {
        self.lock_world().read_faults.insert(read, Fault::Eio);
    }

    /// Limits the bytes of all files together, or lifts the limit.
    pub fn limit(&self, bytes_max: Option<usize>) {
        self.lock_world().bytes_max = bytes_max;
    }

    /// Bytes of all files together.
    pub fn bytes(&self) -> usize {
        self.lock_world().used()
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

    /// Puts a whole file there, durable, over one of that name if there is one.
    pub fn put_file(&self, name: &str, bytes: &[u8]) {
        let mut world = self.lock_world();
        let at = world.inodes.len();
        let (seen, durable) = (bytes.to_vec(), bytes.to_vec());
        world.inodes.push(Inode { seen, durable, pending: Vec::new() });
        world.names.insert(name.to_owned(), at);
        world.names_durable.insert(name.to_owned(), at);
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl SimFile {
    fn offset(offset: u64) -> io::Result<usize> {
        usize::try_from(offset).map_err(io::Error::other)
    }
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

    fn open_journal(&self, name: &str, _how: JournalIo) -> io::Result<Arc<dyn DiskFile>> {
        self.open(name)
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
        let mut world = self.disk.lock_world();
        world.look()?;
        let file = world.inodes.get(self.inode).ok_or_else(not_found)?;
        let bytes = file.seen.get(Self::offset(offset)?..).unwrap_or_default();
        let count = bytes.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.lock_world().write(self.inode, Self::offset(offset)?, bytes)
    }

    fn write_durable_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.lock_world().write_durable(self.inode, Self::offset(offset)?, bytes)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.disk.lock_world().set_len(self.inode, Self::offset(len)?, true)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.lock_world().set_len(self.inode, Self::offset(len)?, false)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.lock_world().sync(self.inode)
    }
}
