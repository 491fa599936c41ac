//! The meta file: the manifest on disk, as a list of edits that grows.
//!
//! ```text
//!   header 4096, keys in it │ record: edits │ record: edits │ …
//! ```
//! Opening reads the file with the highest number and writes the next one, which holds what counts
//! of it; so does growing beyond a limit, a change of keys, and a failed write, after which nobody
//! knows how the file ends. A file gets its name when it is whole and durable.
//! The keys stand in a second file, too, which is read by nobody but who mends a broken database.
//! Invariants: an edit counts when its record is synced; a torn last record was never reported as
//! done and is cut off; any other damage is an error.
//! Not here: what edits mean (`manifest`).

use std::sync::Arc;

use crate::crc;
use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::files::Files;
use crate::format::{
    self, FILE_HEADER_LEN, FileHeader, FileKind, Kind, Place, RECORD_HEADER_LEN, RecordAt,
    RecordHeader,
};
use crate::manifest::{self, Edit, Manifest, When};
use crate::scan::{FIRST, Scan};
use crate::seal::{self, Cipher, Key, Keyring};

/// A file is written anew when it has grown by so many bytes and by as much as it began with.
const GROWTH_BYTES: u64 = 256 << 10;
/// Edits in one record of a new file; with the longest keys they are two megabytes.
const RECORD_EDITS: usize = 256;

/// The meta file being written.
pub(crate) struct Meta {
    files: Arc<Files>,
    pub(crate) manifest: Manifest,
    open: Open,
    /// The end of the file is not known: the next edit begins a new one.
    broken: bool,
}

/// A meta file that edits are appended to.
struct Open {
    file: Arc<dyn DiskFile>,
    header: FileHeader,
    cipher: Option<Cipher>,
    life: u64,
    records: u64,
    written: u64,
    began_at: u64,
}

/// What a meta file says.
pub(crate) struct Loaded {
    pub(crate) manifest: Manifest,
    pub(crate) keys: Keyring,
    pub(crate) database: [u8; 16],
    pub(crate) number: u64,
    /// Bytes of a torn last record.
    pub(crate) cut: u64,
}

/// The number of the newest meta file.
pub(crate) fn newest(names: &[String]) -> Option<u64> {
    let numbers = names.iter().filter_map(|name| FileKind::parse(name));
    numbers.filter(|(kind, _)| *kind == FileKind::Meta).map(|(_, number)| number).max()
}

/// Reads the meta file with this number.
pub(crate) fn load(disk: &dyn Disk, number: u64, key: Option<&Key>) -> Result<Loaded, Error> {
    let name = FileKind::Meta.name(number);
    let file = disk.open(&name).map_err(|error| Error::io("open", &name, error))?;
    let mut bytes = vec![0; FILE_HEADER_LEN];
    let read = file.read_at(0, &mut bytes).map_err(|error| Error::io("read", &name, error))?;
    bytes.truncate(read);
    let (header, own) = FileHeader::read(&name, FileKind::Meta, number, &bytes)?;
    let keys = Keyring::read(&name, header.database, own, key)?;
    let mut scan = Scan::new(header, file, keys.cipher(&header)?)?;
    let mut manifest = Manifest::default();
    let end = read_edits(&mut scan, &mut manifest)?;
    let behind = scan.look_behind(end)?;
    if behind.vouched > end {
        return Err(scan.corrupt(end, "no record where one must be"));
    }
    let (database, cut) = (header.database, behind.dirty_end - end);
    Ok(Loaded { manifest, keys, database, number, cut })
}

/// Reads edits up to the first record that is not whole; says where that is.
fn read_edits(scan: &mut Scan, manifest: &mut Manifest) -> Result<u64, Error> {
    let (mut at, mut count, mut life) = (FIRST, 0, None);
    loop {
        let header = match scan.record(at)? {
            RecordAt::Record(header) => header,
            RecordAt::Unknown(kind, flags) => return Err(scan.unknown(at, kind, flags)),
            RecordAt::None => return Ok(at),
        };
        let follows = header.kind == Kind::Edits
            && header.sequence == count + 1
            && header.life == *life.get_or_insert(header.life);
        if !follows {
            return Ok(at);
        }
        let Some(payload) = scan.payload(at, &header)? else { return Ok(at) };
        let (when, edits) = manifest::decode(&payload)
            .ok_or_else(|| scan.corrupt(at, "edits of a kind that is not known"))?;
        manifest.apply(when, &edits).map_err(|what| scan.corrupt(at, what))?;
        at = header.next_offset(at, scan.header.align);
        count += 1;
    }
}

impl Meta {
    /// Writes a manifest as the meta file with this number.
    pub(crate) fn create(
        files: Arc<Files>,
        manifest: Manifest,
        number: u64,
    ) -> Result<Self, Error> {
        let open = Open::create(&files, &manifest, number)?;
        Ok(Self { files, manifest, open, broken: false })
    }

    /// Makes edits durable, then applies them. On failure they may count after the next open; what
    /// they are about must be there then, as must be what it was before.
    pub(crate) fn commit(&mut self, time_ms: u64, edits: &[Edit]) -> Result<(), Error> {
        let when = When { edition: self.manifest.edition + 1, time_ms };
        let mut next = self.manifest.clone();
        next.apply(when, edits).map_err(|what| Error::Internal { what })?;
        let grown = self.open.written - self.open.began_at;
        if self.broken || grown > GROWTH_BYTES.max(self.open.began_at) {
            return self.begin(next);
        }
        let mut payload = Vec::new();
        manifest::encode(when, edits, &mut payload);
        match self.open.append(&self.files, payload, true) {
            Ok(()) => {
                self.manifest = next;
                Ok(())
            }
            Err(error) => {
                self.broken = true;
                Err(error)
            }
        }
    }

    /// Goes on in a new file, with the keys as they are now.
    pub(crate) fn rewrite(&mut self) -> Result<(), Error> {
        self.begin(self.manifest.clone())
    }

    /// Changes the manifest in memory, in a way that the next file says by itself.
    pub(crate) fn forget_points(&mut self, since_ms: u64) {
        self.manifest.forget_points(since_ms);
    }

    fn begin(&mut self, manifest: Manifest) -> Result<(), Error> {
        let before = self.open.header.number;
        // Until this has gone well nobody knows which of the two files the next open will read.
        self.broken = true;
        self.open = Open::create(&self.files, &manifest, before + 1)?;
        self.manifest = manifest;
        self.broken = false;
        // The older file is not read any more; should it stay, the next open removes it.
        for kind in [FileKind::Meta, FileKind::Keys] {
            drop(self.files.disk.remove(&kind.name(before)));
        }
        Ok(())
    }
}

/// Writes the keys a second time, in a file of their own: a broken sector must not take everything.
fn write_keys(files: &Files, number: u64, keys: &[u8]) -> Result<(), Error> {
    let name = FileKind::Keys.name(number);
    let failed = |doing| {
        let name = name.clone();
        move |error| Error::writing(doing, &name, error)
    };
    let header = files.new_header(FileKind::Keys, number, 8)?;
    let file = files.disk.create(&name).map_err(failed("create"))?;
    file.write_at(0, &header.to_bytes(keys)).map_err(failed("write"))?;
    file.sync().map_err(failed("sync"))
}

impl Open {
    fn create(files: &Files, manifest: &Manifest, number: u64) -> Result<Self, Error> {
        let (name, draft) = (FileKind::Meta.name(number), FileKind::Meta.draft(number));
        let failed =
            |doing| move |error| Error::writing(doing, &FileKind::Meta.name(number), error);
        let disk = files.disk.as_ref();
        // Left over from an attempt on a full disk, or that nobody knows the end of.
        for left in disk.list().map_err(failed("list"))? {
            if left == draft || left == name || left == FileKind::Keys.name(number) {
                disk.remove(&left).map_err(failed("remove"))?;
            }
        }
        let keys = files.keys().to_bytes()?;
        if !keys.is_empty() {
            write_keys(files, number, &keys)?;
        }
        let header = files.new_header(FileKind::Meta, number, 8)?;
        let file = disk.create(&draft).map_err(failed("create"))?;
        let bytes = header.to_bytes(&keys);
        file.write_at(0, &bytes).map_err(failed("write"))?;
        let life = files.random()?;
        let cipher = files.cipher(&header)?;
        let written = FIRST;
        let mut open = Self { file, header, cipher, life, records: 0, written, began_at: written };
        for (when, edits) in manifest.edits() {
            open.append_pieces(files, when, &edits)?;
        }
        open.file.sync().map_err(failed("sync"))?;
        disk.rename(&draft, &name).map_err(failed("rename"))?;
        disk.sync_dir().map_err(failed("sync the folder of"))?;
        open.began_at = open.written;
        Ok(open)
    }

    /// Appends many edits of one edition in records of bounded size.
    fn append_pieces(&mut self, files: &Files, when: When, edits: &[Edit]) -> Result<(), Error> {
        let empty: &[Edit] = &[];
        let nothing = edits.is_empty().then_some(empty);
        for piece in edits.chunks(RECORD_EDITS).chain(nothing) {
            let mut payload = Vec::new();
            manifest::encode(when, piece, &mut payload);
            self.append(files, payload, false)?;
        }
        Ok(())
    }

    fn append(&mut self, files: &Files, mut payload: Vec<u8>, sync: bool) -> Result<(), Error> {
        let name = || FileKind::Meta.name(self.header.number);
        let mut header = RecordHeader {
            kind: Kind::Edits,
            last: false,
            sealed: self.cipher.is_some(),
            len: 0,
            crc: 0,
            life: self.life,
            sequence: self.records + 1,
            // Every record is synced before the next one is written.
            synced: if sync { self.written } else { 0 },
        };
        if let Some(cipher) = &self.cipher {
            let nonce = seal::nonce(self.life, self.written);
            let tag = cipher.seal(nonce, &header.authenticated(), &mut payload)?;
            payload.extend_from_slice(&tag);
        }
        header.len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        header.crc = crc::of(&payload);
        let place = Place { segment: self.header.number, offset: self.written };
        let mut bytes = Vec::with_capacity(RECORD_HEADER_LEN + payload.len() + 8);
        bytes.extend_from_slice(&header.to_bytes(&files.database, place));
        bytes.extend_from_slice(&payload);
        bytes.resize(usize::try_from(format::record_len(payload.len())).unwrap_or(0), 0);
        let written = self.file.write_at(self.written, &bytes);
        written.map_err(|error| Error::writing("write", &name(), error))?;
        if sync {
            self.file.sync().map_err(|error| Error::writing("sync", &name(), error))?;
        }
        self.written += bytes.len() as u64;
        self.records += 1;
        Ok(())
    }
}
