//! The files of the database, open for reading, shared by everybody who reads.
//!
//! Invariants: a bounded number is kept open; a file is handed out only when its header is sound
//! and of this database, together with the cipher for it.
//! Not here: what is in them (`index`, `large`), writing them.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use crate::disk::sim::next_random;
use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::format::{FILE_HEADER_LEN, FileHeader, FileKind};
use crate::index::cache::Mix;
use crate::seal::{Cipher, Keyring};
use crate::sync::{Mutex, locked};

/// A file open for reading.
pub(crate) struct OpenFile {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) header: FileHeader,
    pub(crate) cipher: Option<Cipher>,
    /// Tells when it was used last, in steps of a counter.
    used: AtomicU64,
}

/// Files by kind and number.
type OpenFiles = HashMap<(FileKind, u64), Arc<OpenFile>, BuildHasherDefault<Mix>>;

/// All files of one database.
pub(crate) struct Files {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) database: [u8; 16],
    keys: RwLock<Keyring>,
    open: Mutex<OpenFiles>,
    open_max: usize,
    clock: AtomicU64,
    /// For simulations: where random numbers come from instead of the system.
    seed: Option<Mutex<u64>>,
}

impl OpenFile {
    /// Name, for messages.
    pub(crate) fn name(&self) -> String {
        self.header.kind.name(self.header.number)
    }

    /// Something in the file is not as it was written.
    pub(crate) fn corrupt(&self, offset: u64, what: &str) -> Error {
        Error::Corrupt { file: self.name(), offset, what: what.to_owned() }
    }
}

impl Files {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        keys: Keyring,
        database: [u8; 16],
        open_max: usize,
    ) -> Self {
        Self {
            seed: None,
            disk,
            database,
            keys: RwLock::new(keys),
            open: Mutex::new(HashMap::default()),
            open_max: open_max.max(8),
            clock: AtomicU64::new(0),
        }
    }

    /// From now on random numbers follow from a seed that no other opening of the database has.
    pub(crate) fn seeded(mut self, seed: u64) -> Self {
        self.seed = Some(Mutex::new(seed));
        self
    }

    /// A random number.
    pub(crate) fn random(&self) -> Result<u64, Error> {
        match &self.seed {
            Some(seed) => Ok(next_random(&mut locked(seed))),
            None => crate::seal::random().map(u64::from_le_bytes),
        }
    }

    /// A copy of the keys as of now.
    pub(crate) fn keys(&self) -> Keyring {
        self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Goes on with other keys.
    pub(crate) fn set_keys(&self, keys: Keyring) {
        *self.keys.write().unwrap_or_else(std::sync::PoisonError::into_inner) = keys;
    }

    /// The cipher for a file with this header.
    pub(crate) fn cipher(&self, header: &FileHeader) -> Result<Option<Cipher>, Error> {
        self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner).cipher(header)
    }

    /// A header for a new file, written with the newest key.
    pub(crate) fn new_header(
        &self,
        kind: FileKind,
        number: u64,
        align: u32,
    ) -> Result<FileHeader, Error> {
        let key = self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner).current();
        let mut salt = [0; 16];
        for half in salt.chunks_exact_mut(8) {
            half.copy_from_slice(&self.random()?.to_le_bytes());
        }
        let (database, recycled) = (self.database, false);
        Ok(FileHeader { kind, database, number, align, key, recycled, salt })
    }

    /// The file with this number, opened and checked if it is not open yet.
    pub(crate) fn get(&self, kind: FileKind, number: u64) -> Result<Arc<OpenFile>, Error> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        if let Some(open) = locked(&self.open).get(&(kind, number)) {
            open.used.store(now, Ordering::Relaxed);
            return Ok(Arc::clone(open));
        }
        // Two who come at once both open it; one of the two stays.
        let open = Arc::new(self.open(kind, number)?);
        open.used.store(now, Ordering::Relaxed);
        let mut all = locked(&self.open);
        if all.len() >= self.open_max {
            let oldest = all.iter().min_by_key(|(_, open)| open.used.load(Ordering::Relaxed));
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                all.remove(&oldest);
            }
        }
        all.insert((kind, number), Arc::clone(&open));
        Ok(open)
    }

    fn open(&self, kind: FileKind, number: u64) -> Result<OpenFile, Error> {
        let name = kind.name(number);
        let file = self.disk.open(&name).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let (file, what) = (name.clone(), "the file is missing".to_owned());
                Error::Corrupt { file, offset: 0, what }
            }
            _ => Error::io("open", &name, error),
        })?;
        let header = read_header(file.as_ref(), kind, number)?;
        if header.database != self.database {
            let what = "it belongs to another database".to_owned();
            return Err(Error::Corrupt { file: name, offset: 16, what });
        }
        let cipher = self.cipher(&header)?;
        Ok(OpenFile { file, header, cipher, used: AtomicU64::new(0) })
    }

    /// The file with this number, even if its header is broken: what is in it has checksums of its
    /// own. For who saves what can be saved.
    pub(crate) fn get_broken(&self, kind: FileKind, number: u64) -> Result<Arc<OpenFile>, Error> {
        let Err(error) = self.get(kind, number) else { return self.get(kind, number) };
        let Ok(file) = self.disk.open(&kind.name(number)) else { return Err(error) };
        let mut bytes = vec![0; FILE_HEADER_LEN];
        if !file.read_at(0, &mut bytes).is_ok_and(|read| read == bytes.len()) {
            return Err(error);
        }
        let header = FileHeader::guess(kind, self.database, number, &bytes);
        let header = FileHeader { key: self.known_key(header.key), ..header };
        let cipher = self.cipher(&header)?;
        Ok(Arc::new(OpenFile { file, header, cipher, used: AtomicU64::new(0) }))
    }

    /// A data key's number, or that of the newest if there is no such key.
    fn known_key(&self, number: u32) -> u32 {
        let keys = self.keys();
        if keys.numbers().contains(&number) { number } else { keys.current() }
    }

    /// Lets go of a file that is about to be removed.
    pub(crate) fn forget(&self, kind: FileKind, number: u64) {
        locked(&self.open).remove(&(kind, number));
    }
}

/// Reads and checks the header of a file.
pub(crate) fn read_header(
    file: &dyn DiskFile,
    kind: FileKind,
    number: u64,
) -> Result<FileHeader, Error> {
    let name = kind.name(number);
    let mut bytes = vec![0; FILE_HEADER_LEN];
    let read = file.read_at(0, &mut bytes).map_err(|error| Error::io("read", &name, error))?;
    bytes.truncate(read);
    FileHeader::read(&name, kind, number, &bytes).map(|(header, _)| header)
}
