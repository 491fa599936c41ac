//! Encryption at rest: who may open the files, and the cipher of each.
//!
//! ```text
//!   key file, or passphrase ─Argon2id─▶ master key ─AES-256-GCM─▶ data keys, in the meta file
//!   data key ─HKDF-SHA256 with the file's kind, number and random salt─▶ one key for each file
//! ```
//! Invariants: a cipher key never meets a nonce twice: each file has a key of its own, and within a
//! file the nonce says where the bytes stand and which life wrote them. Keys are wiped when dropped
//! and have no `Debug`.
//! Not here: where the wrapped keys stand (`meta`), which bytes are sealed (`journal`, `index`).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use zeroize::Zeroizing;

use crate::disk::Disk;
use crate::error::Error;
use crate::format::{FILE_HEADER_LEN, Fields, FileHeader, FileKind};

/// Bytes of a key.
const KEY_LEN: usize = 32;
/// Bytes that encryption adds to what it seals.
pub(crate) const TAG_LEN: usize = 16;
/// Bytes of a wrapped key: number, nonce, key, tag.
pub(crate) const WRAPPED_LEN: usize = 4 + 12 + KEY_LEN + TAG_LEN;
/// Data keys a database can have at once: what fits the meta file's header. `compact` drops those
/// that no file is written with any more.
pub(crate) const KEYS_MAX: usize = 32;
/// Argon2id for passphrases: the second choice of RFC 9106 4, with one lane, for small machines.
const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;
const LANES: u32 = 1;
/// Costs that a meta file may ask for; a forged one must not take the machine.
const COSTS_MAX: [u32; 3] = [1 << 20, 64, 16];

type Bytes32 = Zeroizing<[u8; KEY_LEN]>;

/// What opens an encrypted database.
#[derive(Clone)]
pub struct Key(Secret);

#[derive(Clone)]
enum Secret {
    Bytes(Bytes32),
    Passphrase(Zeroizing<String>),
}

impl Key {
    /// A key of 32 random bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(Secret::Bytes(Zeroizing::new(bytes)))
    }

    /// A passphrase. Opening then takes a second of one core and 64 MiB (Argon2id).
    #[must_use]
    pub fn from_passphrase(passphrase: impl Into<String>) -> Self {
        Self(Secret::Passphrase(Zeroizing::new(passphrase.into())))
    }

    /// Reads a key file: 64 hexadecimal digits.
    pub fn read_file(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|e| Error::io("read the key", &name, e))?;
        let text = Zeroizing::new(text);
        let digits: Option<Vec<u8>> = text
            .trim()
            .chars()
            .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
            .collect();
        let digits = Zeroizing::new(digits.unwrap_or_default());
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        if digits.len() != 2 * KEY_LEN {
            return Err(Error::KeyFile { file: name });
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
        }
        Ok(Self(Secret::Bytes(bytes)))
    }

    /// Makes a key file with a random key, readable by its owner alone, durable before this
    /// returns. The file must not exist.
    pub fn create_file(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let failed = |e: io::Error| Error::io("make a key file", &name, e);
        let key = random::<KEY_LEN>()?;
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(failed)?;
        let text: Zeroizing<String> =
            Zeroizing::new(key.iter().map(|byte| format!("{byte:02x}")).collect());
        writeln!(file, "{}", text.as_str()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        #[cfg(unix)]
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        Ok(Self::from_bytes(key))
    }

    fn master(&self, lock: &Lock) -> Result<Bytes32, Error> {
        match (&self.0, lock.kind) {
            (Secret::Bytes(bytes), LockKind::KeyFile) => Ok(bytes.clone()),
            (Secret::Passphrase(words), LockKind::Passphrase) => {
                let mut master = Zeroizing::new([0; KEY_LEN]);
                if lock.cost.iter().zip(COSTS_MAX).any(|(cost, max)| *cost > max) {
                    return Err(Error::Settings {
                        what: "the meta file asks for Argon2id beyond 1 GiB, 64 passes or 16 lanes",
                    });
                }
                let [memory, passes, lanes] = lock.cost;
                let made =
                    argon2::Params::new(memory, passes, lanes, Some(KEY_LEN)).and_then(|p| {
                        argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, p)
                            .hash_password_into(words.as_bytes(), &lock.salt, master.as_mut())
                    });
                made.map(|()| master)
                    .map_err(|_| Error::Settings { what: "the meta file's Argon2id costs" })
            }
            (Secret::Bytes(_), LockKind::Passphrase) => {
                Err(Error::KeyNeeded { what: "a passphrase, not a key file" })
            }
            (Secret::Passphrase(_), LockKind::KeyFile) => {
                Err(Error::KeyNeeded { what: "a key file, not a passphrase" })
            }
        }
    }
}

/// Random bytes from the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    #[cfg(test)]
    if fixed::fill(&mut bytes) {
        return Ok(bytes);
    }
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::io("ask the system for random bytes", "", error.into()))?;
    Ok(bytes)
}

/// Random bytes that are the same every time, for the golden files. They are in no program: only
/// the crate's own tests are compiled with them, and only the thread that asks for them has them.
#[cfg(test)]
pub(crate) mod fixed {
    use std::cell::Cell;

    thread_local! {
        static SEED: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// While this is held, random bytes follow from a seed.
    pub(crate) struct Fixed;

    impl Fixed {
        pub(crate) fn new(seed: u64) -> Self {
            SEED.set(Some(seed));
            Self
        }
    }

    impl Drop for Fixed {
        fn drop(&mut self) {
            SEED.set(None);
        }
    }

    /// Fills bytes, if that is asked for.
    pub(super) fn fill(bytes: &mut [u8]) -> bool {
        let Some(mut seed) = SEED.get() else { return false };
        for word in bytes.chunks_mut(8) {
            let random = crate::disk::sim::next_random(&mut seed).to_le_bytes();
            word.copy_from_slice(&random[..word.len()]);
        }
        SEED.set(Some(seed));
        true
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LockKind {
    KeyFile = 1,
    Passphrase = 2,
}

/// What opens a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockedBy {
    /// Nothing: it is not encrypted.
    Nothing,
    /// A key file.
    KeyFile,
    /// A passphrase.
    Passphrase,
}

impl LockedBy {
    /// Says what opens the database, or backup, in a folder: from its meta file, or from the copy
    /// of its keys if that one is broken. Needs no key.
    pub fn of(disk: &dyn Disk) -> Result<Self, Error> {
        let label = disk.label();
        let names = disk.list().map_err(|error| Error::io("list", &label, error))?;
        let mut headers = Vec::new();
        for wanted in [FileKind::Meta, FileKind::Keys] {
            let files = names.iter().filter_map(|name| FileKind::parse(name));
            let numbers = files.filter(|(kind, _)| *kind == wanted).map(|(_, number)| number);
            headers.extend(numbers.max().map(|number| (wanted, number)));
        }
        let mut failed = Error::MetaMissing { dir: label };
        for (kind, number) in headers {
            match read_own(disk, kind, number) {
                Ok(own) => return Ok(kind_of(&own)),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// The part of a file's header that is about keys.
fn read_own(disk: &dyn Disk, kind: FileKind, number: u64) -> Result<Vec<u8>, Error> {
    let name = kind.name(number);
    let file = disk.open(&name).map_err(|error| Error::io("open", &name, error))?;
    let mut bytes = vec![0; FILE_HEADER_LEN];
    let read = file.read_at(0, &mut bytes).map_err(|error| Error::io("read", &name, error))?;
    bytes.truncate(read);
    let (_, own) = FileHeader::read(&name, kind, number, &bytes)?;
    Ok(own.to_vec())
}

fn kind_of(own: &[u8]) -> LockedBy {
    match Fields(own).u32() {
        Some(1) => LockedBy::KeyFile,
        Some(2) => LockedBy::Passphrase,
        _ => LockedBy::Nothing,
    }
}

/// How the master key comes about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lock {
    kind: LockKind,
    /// Argon2id: memory in KiB, passes, lanes.
    cost: [u32; 3],
    salt: [u8; 16],
}

impl Lock {
    fn new(key: &Key) -> Result<Self, Error> {
        let (kind, cost) = match key.0 {
            Secret::Bytes(_) => (LockKind::KeyFile, [0; 3]),
            Secret::Passphrase(_) => (LockKind::Passphrase, [MEMORY_KIB, PASSES, LANES]),
        };
        Ok(Self { kind, cost, salt: random()? })
    }
}

/// The data keys of an open database.
#[derive(Clone)]
pub(crate) struct Keyring {
    database: [u8; 16],
    lock: Option<Lock>,
    master: Option<Bytes32>,
    keys: BTreeMap<u32, Bytes32>,
    /// Those that only files are written with which are gone, but for who still looks at them.
    retired: BTreeMap<u32, Bytes32>,
    /// The one that new files are written with; 0: none.
    current: u32,
}

impl Keyring {
    /// No keys: everything is written in the clear.
    pub(crate) fn plain(database: [u8; 16]) -> Self {
        Self {
            database,
            lock: None,
            master: None,
            keys: BTreeMap::new(),
            retired: BTreeMap::new(),
            current: 0,
        }
    }

    pub(crate) fn current(&self) -> u32 {
        self.current
    }

    pub(crate) fn locked_by(&self) -> LockedBy {
        match self.lock.as_ref().map(|lock| lock.kind) {
            None => LockedBy::Nothing,
            Some(LockKind::KeyFile) => LockedBy::KeyFile,
            Some(LockKind::Passphrase) => LockedBy::Passphrase,
        }
    }

    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.keys.keys().copied().collect()
    }

    /// From now on another key file or passphrase opens the database.
    pub(crate) fn change_lock(&mut self, key: &Key) -> Result<(), Error> {
        let lock = Lock::new(key)?;
        self.master = Some(key.master(&lock)?);
        self.lock = Some(lock);
        Ok(())
    }

    /// Adds a data key; says its number.
    pub(crate) fn add_key(&mut self) -> Result<u32, Error> {
        if self.keys.len() >= KEYS_MAX {
            return Err(Error::Settings { what: "too many data keys are in use; run `compact`" });
        }
        let numbers = self.keys.keys().chain(self.retired.keys());
        let number = numbers.copied().max().unwrap_or(0).max(self.current) + 1;
        self.keys.insert(number, Zeroizing::new(random()?));
        Ok(number)
    }

    /// From now on new files are written with this data key.
    pub(crate) fn use_key(&mut self, number: u32) {
        self.current = number;
    }

    /// Forgets the keys that no file needs; who has such a file open still reads it.
    pub(crate) fn keep_keys(&mut self, needed: impl Fn(u32) -> bool) {
        let current = self.current;
        let (kept, retired): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.keys)
            .into_iter()
            .partition(|(number, _)| *number == current || needed(*number));
        self.keys = kept;
        self.retired.extend(retired);
    }

    /// The cipher of a file; `None`: it is in the clear.
    pub(crate) fn cipher(&self, file: &FileHeader) -> Result<Option<Cipher>, Error> {
        if file.key == 0 {
            return Ok(None);
        }
        let Some(key) = self.keys.get(&file.key).or_else(|| self.retired.get(&file.key)) else {
            return Err(Error::Corrupt {
                file: file.kind.name(file.number),
                offset: 48,
                what: format!("it is encrypted with data key {}, which is gone", file.key),
            });
        };
        let kind = [file.kind as u8];
        let number = file.number.to_le_bytes();
        let info: [&[u8]; 3] = [b"GraceDb file", &kind, &number];
        let mut derived = Zeroizing::new([0; KEY_LEN]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, &file.salt)
            .extract(key.as_ref())
            .expand(&info, hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(derived.as_mut()))
            .map_err(|_| Error::Settings { what: "a cipher key could not be derived" })?;
        Cipher::new(&derived).map(Some)
    }

    /// The part of the meta file's header that is about keys.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let (Some(lock), Some(master)) = (&self.lock, &self.master) else {
            return Ok(bytes);
        };
        bytes.extend_from_slice(&(lock.kind as u32).to_le_bytes());
        for cost in lock.cost {
            bytes.extend_from_slice(&cost.to_le_bytes());
        }
        bytes.extend_from_slice(&lock.salt);
        bytes.extend_from_slice(&self.current.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(self.keys.len()).unwrap_or(0).to_le_bytes());
        let cipher = Cipher::new(master)?;
        for (number, key) in &self.keys {
            let nonce = random::<12>()?;
            let mut sealed = Zeroizing::new(key.to_vec());
            let tag = cipher.seal(nonce, &self.wrapping(*number), &mut sealed)?;
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(&nonce);
            bytes.extend_from_slice(&sealed);
            bytes.extend_from_slice(&tag);
        }
        Ok(bytes)
    }

    /// What binds a wrapped key to its database and number.
    fn wrapping(&self, number: u32) -> Vec<u8> {
        [b"GraceDb key".as_slice(), &self.database, &number.to_le_bytes()].concat()
    }

    /// Unwraps the keys that [`Keyring::to_bytes`] has written.
    pub(crate) fn read(
        file: &str,
        database: [u8; 16],
        bytes: &[u8],
        key: Option<&Key>,
    ) -> Result<Self, Error> {
        let corrupt = || Error::Corrupt {
            file: file.to_owned(),
            offset: crate::format::FILE_FIELDS_LEN as u64,
            what: "the list of keys is malformed".to_owned(),
        };
        let mut fields = Fields(bytes);
        let kind = match fields.u32().ok_or_else(corrupt)? {
            0 => return Ok(Self::plain(database)),
            1 => LockKind::KeyFile,
            2 => LockKind::Passphrase,
            _ => return Err(corrupt()),
        };
        let mut cost = [0; 3];
        for each in &mut cost {
            *each = fields.u32().ok_or_else(corrupt)?;
        }
        let lock = Lock { kind, cost, salt: fields.take().ok_or_else(corrupt)? };
        let current = fields.u32().ok_or_else(corrupt)?;
        let count = fields.u32().ok_or_else(corrupt)?;
        let key = key.ok_or(Error::KeyNeeded { what: "a key file or a passphrase" })?;
        let master = key.master(&lock)?;
        let cipher = Cipher::new(&master)?;
        let mut ring = Self::plain(database);
        for _ in 0..count {
            let wrapped = fields.take::<WRAPPED_LEN>().ok_or_else(corrupt)?;
            let mut parts = Fields(&wrapped);
            let number = parts.u32().ok_or_else(corrupt)?;
            let nonce = parts.take::<12>().ok_or_else(corrupt)?;
            let mut sealed = Zeroizing::new(parts.0.to_vec());
            let opened = cipher.open(nonce, &ring.wrapping(number), &mut sealed);
            let opened = opened.ok_or(Error::WrongKey { file: file.to_owned() })?;
            let bytes: [u8; KEY_LEN] = (&*opened).try_into().map_err(|_| corrupt())?;
            ring.keys.insert(number, Zeroizing::new(bytes));
        }
        (ring.lock, ring.master, ring.current) = (Some(lock), Some(master), current);
        Ok(ring)
    }
}

/// The cipher of one file: AES-256-GCM.
pub(crate) struct Cipher(LessSafeKey);

impl Cipher {
    fn new(key: &[u8; KEY_LEN]) -> Result<Self, Error> {
        UnboundKey::new(&AES_256_GCM, key)
            .map(|key| Self(LessSafeKey::new(key)))
            .map_err(|_| Error::Settings { what: "the cipher could not be set up" })
    }

    /// Encrypts in place; the tag belongs after the bytes.
    pub(crate) fn seal(
        &self,
        nonce: [u8; 12],
        authenticated: &[u8],
        bytes: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Error> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(authenticated), bytes);
        tag.ok()
            .and_then(|tag| tag.as_ref().try_into().ok())
            .ok_or(Error::Settings { what: "the cipher refused to encrypt" })
    }

    /// Decrypts in place bytes that end with their tag; `None`: they are not what was sealed.
    pub(crate) fn open<'a>(
        &self,
        nonce: [u8; 12],
        authenticated: &[u8],
        bytes: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.open_in_place(nonce, Aad::from(authenticated), bytes).ok()
    }
}

/// The nonce of bytes at this offset of a file, written in this life. Everything that is sealed
/// starts at a multiple of 8 and below 32 GiB.
pub(crate) fn nonce(life: u64, offset: u64) -> [u8; 12] {
    let place = u32::try_from(offset / crate::format::ALIGN).unwrap_or(u32::MAX);
    let mut nonce = [0; 12];
    let fields = life.to_le_bytes().into_iter().chain(place.to_le_bytes());
    for (to, from) in nonce.iter_mut().zip(fields) {
        *to = from;
    }
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATABASE: [u8; 16] = [7; 16];

    fn ring(key: &Key) -> Keyring {
        let mut ring = Keyring::plain(DATABASE);
        ring.change_lock(key).unwrap();
        let number = ring.add_key().unwrap();
        ring.use_key(number);
        ring
    }

    fn file(ring: &Keyring, number: u64) -> FileHeader {
        FileHeader {
            kind: FileKind::Journal,
            database: DATABASE,
            number,
            align: 512,
            key: ring.current(),
            recycled: false,
            salt: [3; 16],
        }
    }

    fn reopened(ring: &Keyring, key: Option<&Key>) -> Result<Keyring, Error> {
        Keyring::read("f.gm", DATABASE, &ring.to_bytes()?, key)
    }

    #[test]
    fn only_the_right_key_opens_and_says_so() {
        let key = Key::from_bytes([1; 32]);
        let ring = ring(&key);
        let again = reopened(&ring, Some(&key)).unwrap();
        let header = file(&ring, 1);
        let mut bytes = b"a letter".to_vec();
        let tag = ring.cipher(&header).unwrap().unwrap().seal([0; 12], b"x", &mut bytes).unwrap();
        bytes.extend_from_slice(&tag);
        let cipher = again.cipher(&header).unwrap().unwrap();
        let mut other = bytes.clone();
        assert!(cipher.open([0; 12], b"y", &mut other).is_none());
        assert_eq!(cipher.open([0; 12], b"x", &mut bytes).unwrap(), b"a letter");
        let wrong = reopened(&ring, Some(&Key::from_bytes([2; 32])));
        assert!(matches!(wrong, Err(Error::WrongKey { .. })));
        assert!(matches!(reopened(&ring, None), Err(Error::KeyNeeded { .. })));
        let words = Key::from_passphrase("words");
        assert!(matches!(reopened(&ring, Some(&words)), Err(Error::KeyNeeded { .. })));
    }

    #[test]
    fn keys_and_locks_change_and_old_files_stay_readable() {
        let (old, new) = (Key::from_bytes([1; 32]), Key::from_passphrase("correct horse"));
        let mut ring = ring(&old);
        let first = file(&ring, 1);
        ring.change_lock(&new).unwrap();
        let number = ring.add_key().unwrap();
        ring.use_key(number);
        assert_eq!(ring.current(), 2);
        let mut again = reopened(&ring, Some(&new)).unwrap();
        assert!(again.cipher(&first).unwrap().is_some());
        assert!(matches!(reopened(&ring, Some(&old)), Err(Error::KeyNeeded { .. })));
        again.keep_keys(|_| false);
        assert!(again.cipher(&first).unwrap().is_some());
        let again = reopened(&again, Some(&new)).unwrap();
        assert!(again.cipher(&first).is_err());
        assert!(again.cipher(&file(&again, 1)).unwrap().is_some());
    }

    #[test]
    fn a_key_file_is_made_once_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.key");
        let Key(Secret::Bytes(made)) = Key::create_file(&path).unwrap() else { panic!() };
        let Key(Secret::Bytes(read)) = Key::read_file(&path).unwrap() else { panic!() };
        assert_eq!(made, read);
        assert!(Key::create_file(&path).is_err());
        fs::write(&path, "not a key").unwrap();
        assert!(matches!(Key::read_file(&path), Err(Error::KeyFile { .. })));
    }

    #[test]
    fn nonces_differ_by_place_and_life() {
        let mut all = vec![];
        for life in [1, 2] {
            for offset in [0, 8, 4096, 1 << 32, (1 << 32) + 8, (1 << 35) - 8] {
                all.push(nonce(life, offset));
            }
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
