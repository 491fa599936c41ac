//! The end of the journal: the segment being written.
//!
//! ```text
//!            synced        written         room ahead
//!   │header│rrrrrrrr│rrrrrrrrrrr│00000000000000000000│
//! ```
//! A group of records is one write that starts at a whole sector, so nothing that was acknowledged
//! is ever written again. Invariants: a segment begins only when the one before is complete and
//! synced; `synced <= written`; after a failed write a new life begins, so that what may stand
//! beyond the end is never taken for what follows.
//! Not here: when to write what, whom to tell (`commit`), making room (`ahead`).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::ahead::Room;
use crate::crc;
use crate::disk::{Buffer, DiskFile, JournalIo};
use crate::error::Error;
use crate::files::Files;
use crate::format::{
    FileHeader, FileKind, Kind, Place, RECORD_HEADER_LEN, RecordHeader, segment_name,
};
use crate::scan::FIRST;
use crate::seal::{self, Cipher};
use crate::sync::{Mutex, locked};

/// What of the write buffer is kept while idle.
const IDLE_BYTES: usize = 256 << 10;

/// How a step failed.
pub(crate) enum Failure {
    /// The disk is full. What was to be written is not there; more may be tried.
    Full(Error),
    /// What the disk holds is unknown.
    Fatal(Error),
}

impl Failure {
    pub(crate) fn of(doing: &'static str, file: &str, error: io::Error) -> Self {
        let is_full =
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let error = Error::writing(doing, file, error);
        if is_full { Self::Full(error) } else { Self::Fatal(error) }
    }

    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Full(error) | Self::Fatal(error) => error,
        }
    }
}

/// A record to be written.
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) sequence: u64,
    /// Checksum of the payload in the clear.
    pub(crate) crc: u32,
    pub(crate) payload: Arc<Vec<u8>>,
}

impl Record {
    /// A record without a payload.
    pub(crate) fn empty(kind: Kind, sequence: u64) -> Self {
        Self { kind, sequence, crc: crc::of(&[]), payload: Arc::default() }
    }
}

/// A segment open for writing.
pub(crate) struct Segment {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) header: FileHeader,
    cipher: Option<Cipher>,
    /// Bytes that were written before.
    ready: u64,
}

impl Segment {
    pub(crate) fn name(&self) -> String {
        segment_name(self.header.number)
    }

    /// Opens a segment that is there.
    pub(crate) fn open(files: &Files, header: FileHeader, io: JournalIo) -> Result<Self, Error> {
        let name = segment_name(header.number);
        let file = files.disk.open_journal(&name, io);
        let file = file.map_err(|error| Error::io("open", &name, error))?;
        Ok(Self { file, header, cipher: files.cipher(&header)?, ready: 0 })
    }

    /// Makes a segment that holds nothing but its header, durable with its name.
    pub(crate) fn create(files: &Files, number: u64, io: JournalIo) -> Result<Self, Failure> {
        let failed = |doing| move |error| Failure::of(doing, &segment_name(number), error);
        remove_left_over(files, number)?;
        let draft = FileKind::Journal.draft(number);
        drop(files.disk.create(&draft).map_err(failed("create"))?);
        Self::from_draft(files, number, io, false)
    }

    /// Makes it out of a segment that nobody needs any more. Its bytes were written before, so the
    /// file system has nothing to note when they are written again.
    pub(crate) fn recycle(
        files: &Files,
        old: u64,
        number: u64,
        io: JournalIo,
    ) -> Result<Self, Failure> {
        let failed = |doing| move |error| Failure::of(doing, &segment_name(old), error);
        remove_left_over(files, number)?;
        let draft = FileKind::Journal.draft(number);
        files.disk.rename(&segment_name(old), &draft).map_err(failed("rename"))?;
        Self::from_draft(files, number, io, true)
    }

    /// It gets its name only when the header is on disk: a segment with a torn header does not
    /// exist.
    fn from_draft(
        files: &Files,
        number: u64,
        io: JournalIo,
        recycled: bool,
    ) -> Result<Self, Failure> {
        let (name, draft) = (segment_name(number), FileKind::Journal.draft(number));
        let failed = |doing| {
            let name = name.clone();
            move |error| Failure::of(doing, &name, error)
        };
        let disk = files.disk.as_ref();
        let file = disk.open_journal(&draft, io).map_err(failed("open"))?;
        let align = u32::try_from(file.write_align()).unwrap_or(4096);
        let header = files.new_header(FileKind::Journal, number, align);
        let header = FileHeader { recycled, ..header.map_err(Failure::Fatal)? };
        file.write_at(0, &header.to_bytes(&[])).map_err(failed("write"))?;
        file.sync().map_err(failed("sync"))?;
        disk.rename(&draft, &name).map_err(failed("rename"))?;
        disk.sync_dir().map_err(failed("sync the folder of"))?;
        files.forget(FileKind::Journal, number);
        let ready = file.len().map_err(failed("measure"))?;
        let cipher = files.cipher(&header).map_err(Failure::Fatal)?;
        Ok(Self { file, header, cipher, ready })
    }
}

/// Removes what is left of a segment that was made when the disk was full, or never used.
fn remove_left_over(files: &Files, number: u64) -> Result<(), Failure> {
    let failed = |doing| move |error| Failure::of(doing, &segment_name(number), error);
    let (name, draft) = (segment_name(number), FileKind::Journal.draft(number));
    for left in files.disk.list().map_err(failed("list"))? {
        if left == draft || left == name {
            files.disk.remove(&left).map_err(failed("remove"))?;
        }
    }
    Ok(())
}

/// The segment being written, and how far it is.
pub(crate) struct Journal {
    files: Arc<Files>,
    io: JournalIo,
    segment: Segment,
    pub(crate) life: u64,
    pub(crate) written: u64,
    pub(crate) synced: u64,
    /// The segment is complete; what follows goes into the next.
    ended: bool,
    buffer: Buffer,
    room: Arc<Room>,
    complete: Complete,
}

/// Segments that are complete and not in the manifest yet, with their ends.
pub(crate) type Complete = Arc<Mutex<BTreeMap<u64, u64>>>;

impl Journal {
    /// Goes on in a segment whose records end at `end`, in a new life.
    pub(crate) fn new(
        files: Arc<Files>,
        io: JournalIo,
        segment: Segment,
        end: u64,
        room: Arc<Room>,
        complete: Complete,
    ) -> Result<Self, Error> {
        room.begin(segment.header.number, Arc::clone(&segment.file), end, segment.ready);
        let life = files.random()?;
        let buffer = Buffer::default();
        let (written, synced, ended) = (end, end, false);
        Ok(Self { files, io, segment, life, written, synced, ended, buffer, room, complete })
    }

    /// Where the next group goes.
    pub(crate) fn place(&self) -> Place {
        if self.ended {
            return Place { segment: self.segment.header.number + 1, offset: FIRST };
        }
        let offset = self.written.next_multiple_of(u64::from(self.segment.header.align));
        Place { segment: self.segment.header.number, offset }
    }

    /// Where the records end.
    pub(crate) fn end(&self) -> Place {
        Place { segment: self.segment.header.number, offset: self.written }
    }

    /// Whether everything written is known to be on disk.
    pub(crate) fn is_synced(&self) -> bool {
        self.synced == self.written
    }

    pub(crate) fn align(&self) -> u32 {
        self.segment.header.align
    }

    /// Bytes that encryption adds to a payload of the next segment.
    pub(crate) fn tag_len(&self) -> usize {
        if self.segment.cipher.is_some() { seal::TAG_LEN } else { 0 }
    }

    /// Writes records as one group at `place`, where the last group ended or where the next segment
    /// begins. `ends`: the segment is complete after them. `sync`: they and all before them are
    /// durable on return.
    pub(crate) fn write(
        &mut self,
        place: Place,
        records: &[Record],
        ends: bool,
        sync: bool,
    ) -> Result<(), Failure> {
        if place.segment != self.segment.header.number {
            self.enter(place.segment)?;
        }
        self.assemble(place, records, ends).map_err(Failure::Fatal)?;
        let end = place.offset + self.buffer.len() as u64;
        self.room.claim(end);
        let result = self.put(place.offset, sync || ends);
        self.buffer.clear(IDLE_BYTES);
        result?;
        self.written = end;
        self.ended = ends;
        if sync || ends {
            self.synced = end;
        }
        if ends {
            // Before anybody hears of it: a flush that goes by must find it.
            locked(&self.complete).insert(place.segment, end);
        }
        self.room.written(end);
        Ok(())
    }

    fn put(&self, offset: u64, sync: bool) -> Result<(), Failure> {
        let failed = |doing| move |error| Failure::of(doing, &self.segment.name(), error);
        let file = &self.segment.file;
        if sync && self.synced == self.written {
            return file.write_durable_at(offset, self.buffer.bytes()).map_err(failed("write"));
        }
        file.write_at(offset, self.buffer.bytes()).map_err(failed("write"))?;
        if sync {
            // Never tried again when it fails: the system may have dropped the bytes and forgotten
            // that it did.
            let synced = file.sync();
            let name = self.segment.name();
            synced.map_err(|error| Failure::Fatal(Error::io("sync", &name, error)))?;
        }
        Ok(())
    }

    fn assemble(&mut self, place: Place, records: &[Record], ends: bool) -> Result<(), Error> {
        let end = ends.then(|| Record::empty(Kind::End, 0));
        let count = records.len() + usize::from(ends);
        let bytes: usize = records.iter().map(|record| record.payload.len() + 80).sum();
        self.buffer.reserve(bytes + 8192);
        for (at, record) in records.iter().chain(&end).enumerate() {
            let start = self.buffer.len();
            let here = Place { offset: place.offset + start as u64, ..place };
            let cipher = self.segment.cipher.as_ref().filter(|_| !record.payload.is_empty());
            let mut header = RecordHeader {
                kind: record.kind,
                last: at + 1 == count,
                sealed: cipher.is_some(),
                len: 0,
                crc: record.crc,
                life: self.life,
                sequence: record.sequence,
                synced: if place.offset == FIRST { FIRST } else { self.synced },
            };
            self.buffer.extend(&[0; RECORD_HEADER_LEN]);
            self.buffer.extend(&record.payload);
            if let Some(cipher) = cipher {
                let nonce = seal::nonce(self.life, here.offset);
                let payload = self.buffer.tail_mut(start + RECORD_HEADER_LEN);
                let tag = cipher.seal(nonce, &header.authenticated(), payload)?;
                self.buffer.extend(&tag);
                header.crc = crc::of(self.buffer.tail_mut(start + RECORD_HEADER_LEN));
            }
            let len = self.buffer.len() - start - RECORD_HEADER_LEN;
            header.len = u32::try_from(len).unwrap_or(u32::MAX);
            let bytes = header.to_bytes(&self.files.database, here);
            if let Some(to) = self.buffer.tail_mut(start).first_chunk_mut() {
                *to = bytes;
            }
            self.buffer.pad(8);
        }
        self.buffer.pad(usize::try_from(self.align()).unwrap_or(1));
        Ok(())
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&mut self) -> Result<(), Failure> {
        if self.synced < self.written {
            let synced = self.segment.file.sync();
            let name = self.segment.name();
            synced.map_err(|error| Failure::Fatal(Error::io("sync", &name, error)))?;
            self.synced = self.written;
        }
        Ok(())
    }

    /// Goes on in a segment that may have been made ahead.
    fn enter(&mut self, number: u64) -> Result<(), Failure> {
        let key = self.files.keys().current();
        let spare = self.room.take_spare(number).filter(|spare| spare.header.key == key);
        let segment = match spare {
            Some(spare) => spare,
            None => Segment::create(&self.files, number, self.io)?,
        };
        self.room.retire(Arc::clone(&self.segment.file), self.written);
        self.room.begin(number, Arc::clone(&segment.file), FIRST, segment.ready);
        self.segment = segment;
        (self.written, self.synced, self.ended) = (FIRST, FIRST, false);
        Ok(())
    }

    /// Begins a new life after a failed write, at the place that [`Journal::place`] then says.
    pub(crate) fn begin_life(&mut self) -> Result<(), Error> {
        self.life = self.files.random()?;
        Ok(())
    }

    /// Writes the record that tells the next open that everything before it is on disk, and gives
    /// the room ahead back.
    pub(crate) fn close(&mut self, sequence: u64) -> Result<(), Failure> {
        self.sync()?;
        let mark = Record::empty(Kind::Mark, sequence);
        self.write(self.place(), &[mark], false, true)?;
        if let Some(offered) = self.room.stop() {
            drop(self.files.disk.remove(&segment_name(offered)));
        }
        // The next open works as well with zeros at the end.
        drop(self.segment.file.set_len(self.written));
        Ok(())
    }
}
