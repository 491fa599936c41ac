//! GraceDb's own files as a store of ordered bytes.
//!
//! ```text
//!   write ─▶ transact ─▶ commit ─▶ journal          flush: rows in memory ─▶ level 0
//!   snapshot ─▶ state: mem, frozen, runs            compact: level by level
//!   large values ─▶ journal                         clean: segments ─▶ head of the journal
//! ```
//! Invariants: whatever changes which files there are holds the lock of the meta file while it
//! commits the change and installs it; every thread is named and joined before the files are given
//! up.
//! Not here: what each step does (the modules above), tables (`db`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use crate::commit::Commits;
use crate::compact::Turns;
use crate::crc;
use crate::disk::DiskLock;
use crate::engine::{Durability, Engine, Entry, Reader, Scan, Writer};
use crate::error::Error;
use crate::files::{Files, OpenFile};
use crate::format::{FileKind, RECORD_HEADER_LEN};
use crate::frame::Frame;
use crate::index::merge::Merge;
use crate::index::run::{Reading, Run, RunInfo};
use crate::large::{Fresh, Part};
use crate::manifest::Edit;
use crate::mem::{Found, Mem};
use crate::meta::Meta;
use crate::options::Options;
use crate::pace::Pace;
use crate::pending::Ticket;
use crate::recover::Opened;
use crate::seal::TAG_LEN;
use crate::space;
use crate::state::{self, State, Value};
use crate::sync::{Mutex, MutexGuard, locked};
use crate::unwritten::Unwritten;
use crate::version::{FileId, Version, Yard};
use crate::watch::Watch;

/// What transactions keep to.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) transaction_bytes_max: usize,
    pub(crate) inline_bytes_max: usize,
    pub(crate) clock: fn() -> u64,
}

impl Limits {
    pub(crate) fn of(options: &Options) -> Self {
        Self {
            transaction_bytes_max: options.transaction_bytes_max,
            inline_bytes_max: options.inline_bytes_max,
            clock: options.clock,
        }
    }
}

/// An open database on files.
pub(crate) struct Local {
    pub(crate) options: Options,
    pub(crate) limits: Limits,
    pub(crate) files: Arc<Files>,
    pub(crate) reading: Arc<Reading>,
    pub(crate) commits: Arc<Commits>,
    meta: Mutex<Meta>,
    pub(crate) yard: Arc<Yard>,
    /// Number of the newest index segment.
    last_run: AtomicU64,
    pub(crate) opened: Opened,
    pub(crate) pace: Pace,
    pub(crate) turns: Turns,
    /// Segments that could not be read when they were to be cleaned.
    pub(crate) damaged: Mutex<BTreeSet<u64>>,
    /// The share of live bytes below which cleaning a segment is worth it, in percent, as learned.
    pub(crate) clean_limit: Mutex<u64>,
    /// What background work could not read, the newest last.
    damage: Mutex<Vec<Error>>,
    pub(crate) workers: crate::workers::Workers,
    /// What background work has done so far.
    pub(crate) figures: Figures,
    /// Released when everything else is done with the files.
    lock: Mutex<Option<Box<dyn DiskLock>>>,
}

/// What background work has done since the database was opened.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) flushes: AtomicU64,
    pub(crate) flushed_bytes: AtomicU64,
    pub(crate) compactions: AtomicU64,
    pub(crate) compacted_bytes: AtomicU64,
    pub(crate) segments_cleaned: AtomicU64,
    pub(crate) moved_bytes: AtomicU64,
}

impl Local {
    #[expect(clippy::too_many_arguments, reason = "the parts of a database, each made elsewhere")]
    pub(crate) fn new(
        options: Options,
        reading: Arc<Reading>,
        commits: Commits,
        meta: Meta,
        yard: Arc<Yard>,
        last_run: u64,
        opened: Opened,
        lock: Box<dyn DiskLock>,
    ) -> Self {
        Self {
            limits: Limits::of(&options),
            files: Arc::clone(&reading.files),
            reading,
            commits: Arc::new(commits),
            meta: Mutex::new(meta),
            yard,
            last_run: AtomicU64::new(last_run),
            opened,
            pace: Pace::new(options.background_bytes_s),
            turns: Turns::default(),
            damaged: Mutex::default(),
            clean_limit: Mutex::new(options.clean_below_percent),
            damage: Mutex::default(),
            workers: crate::workers::Workers::default(),
            figures: Figures::default(),
            lock: Mutex::new(Some(lock)),
            options,
        }
    }

    pub(crate) fn meta(&self) -> MutexGuard<'_, Meta> {
        locked(&self.meta)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        (self.options.clock)()
    }

    /// From when on every commit is to stay restorable.
    pub(crate) fn retained_since(&self, now_ms: u64) -> u64 {
        match self.options.retention_s {
            0 => u64::MAX,
            seconds => now_ms.saturating_sub(seconds.saturating_mul(1000)),
        }
    }

    /// A number for a new index segment.
    pub(crate) fn next_run(&self) -> u64 {
        self.last_run.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn run(&self, info: RunInfo) -> Arc<Run> {
        Arc::new(Run::new(info, Arc::clone(&self.reading)))
    }

    /// The acknowledged rows as of now.
    pub(crate) fn view(&self) -> View {
        View::new(self.commits.rows(), Arc::clone(&self.files))
    }

    /// The acknowledged rows, and the files they stand in, as of now.
    pub(crate) fn frame(&self) -> Frame {
        self.commits.at_rest(|state, end| self.frame_of(state, end))
    }

    /// The journal is held: what holds it waits for whoever has the meta file, never the other way
    /// round.
    fn frame_of(&self, state: State, end: crate::format::Place) -> Frame {
        let meta = self.meta();
        let kept = meta.manifest.segments.iter().filter(|(_, segment)| segment.gone.is_none());
        let mut segments: BTreeMap<u64, u64> =
            kept.map(|(number, segment)| (*number, segment.end)).collect();
        let complete = locked(&self.commits.complete);
        segments.extend(complete.range(..end.segment).map(|(number, end)| (*number, *end)));
        drop(complete);
        segments.insert(end.segment, end.offset);
        Frame {
            reading: Arc::clone(&self.reading),
            manifest: meta.manifest.clone(),
            keys: self.files.keys(),
            view: View::new(state, Arc::clone(&self.files)),
            segments,
            time_ms: self.now_ms(),
        }
    }

    /// Runs a transaction of the engine itself, and waits for it.
    pub(crate) fn transact_within(
        &self,
        body: &mut dyn FnMut(&mut crate::transact::Transaction<'_>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let ticket = self.commits.transact(&self.files, self.limits, Durability::Synced, body)?;
        ticket.map_or(Ok(()), Ticket::wait)
    }

    /// Goes on with other runs; the caller holds the lock of the meta file.
    pub(crate) fn install(&self, version: Version) {
        self.commits.install(version, 0);
    }

    /// What is to become of files that are gone: without restore points they are forgotten at once,
    /// in edits of the same commit, and removed when nobody looks at them any more.
    pub(crate) fn gone(&self, files: &[FileId], edits: &mut Vec<Edit>) -> Vec<FileId> {
        if self.options.retention_s > 0 {
            return Vec::new();
        }
        edits.extend(files.iter().map(|file| Edit::Forgotten(*file)));
        files.to_vec()
    }

    /// Notes damage that was met where nobody waits for an answer.
    pub(crate) fn note_damage(&self, error: &Error) {
        const KEPT: usize = 16;
        let mut damage = locked(&self.damage);
        if damage.len() < KEPT && !damage.iter().any(|e| e.to_string() == error.to_string()) {
            damage.push(error.clone());
        }
    }

    /// Damage that background work has met since the database was opened.
    pub(crate) fn damage(&self) -> Vec<Error> {
        locked(&self.damage).clone()
    }

    /// Removes a file that failed to be made, if it is there.
    pub(crate) fn discard_run(&self, number: u64) {
        self.files.forget(FileKind::Index, number);
        drop(self.files.disk.remove(&FileKind::Index.name(number)));
    }

    /// Gives the folder free for others.
    pub(crate) fn unlock(&self) {
        drop(locked(&self.lock).take());
    }
}

impl Engine for Local {
    fn snapshot(&self) -> Arc<dyn Reader> {
        Arc::new(self.view())
    }

    fn write(
        &self,
        durability: Durability,
        body: &mut dyn FnMut(&mut dyn Writer) -> bool,
    ) -> Result<Option<Ticket>, Error> {
        self.commits.transact(&self.files, self.limits, durability, &mut |tx| Ok(body(tx)))
    }

    fn part_bytes(&self) -> usize {
        self.options.chunk_bytes
    }

    fn poll_room(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.commits.poll_room(context)
    }

    fn put_part(&self, bytes: Vec<u8>) -> Result<(Part, Fresh), Error> {
        self.commits.push_chunk(bytes)
    }

    fn watch(&self, prefix: &[u8]) -> Watch {
        self.commits.watches.add(prefix)
    }

    fn check(&self) -> Result<(), Error> {
        self.commits.check()
    }

    fn close(&self) {
        crate::workers::close(self);
    }
}

/// Rows as of one moment, for a transaction with what is on its way over them.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) state: State,
    /// The newest first.
    pub(crate) over: Vec<Mem>,
    pub(crate) files: Arc<Files>,
    /// Of a transaction: what its rows point to may be on its way yet.
    pub(crate) unwritten: Option<Arc<Unwritten>>,
}

impl View {
    pub(crate) fn new(state: State, files: Arc<Files>) -> Self {
        Self { state, over: Vec::new(), files, unwritten: None }
    }
}

impl Reader for View {
    fn sequence(&self) -> u64 {
        self.state.sequence
    }

    fn get(&self, key: &[u8]) -> Result<Option<Value>, Error> {
        match state::find(self.over.iter(), key) {
            Found::Value(value) => Ok(Some(value)),
            Found::Gone => Ok(None),
            Found::NotHere => self.state.get(key),
        }
    }

    fn scan(&self, low: &[u8], high: Option<&[u8]>) -> Result<Box<dyn Scan>, Error> {
        Ok(Box::new(Walk::new(self.clone(), low, high)))
    }

    fn read_part(&self, part: &Part, bytes: &mut [u8]) -> Result<(), Error> {
        match &self.unwritten {
            Some(unwritten) if unwritten.read(part, bytes) => Ok(()),
            _ => read_part(&self.files, part, bytes),
        }
    }

    fn share(&self) -> Arc<dyn Reader> {
        Arc::new(self.clone())
    }
}

/// Reads and checks a part of a large value.
pub(crate) fn read_part(files: &Files, part: &Part, bytes: &mut [u8]) -> Result<(), Error> {
    let open = files.get(FileKind::Journal, part.segment)?;
    read_part_of(files, &open, part, bytes)
}

/// The same from a segment that is open.
pub(crate) fn read_part_of(
    files: &Files,
    open: &OpenFile,
    part: &Part,
    bytes: &mut [u8],
) -> Result<(), Error> {
    let corrupt = |what: &str| open.corrupt(part.offset, what);
    if bytes.len() != part.bytes() || part.bytes() > crate::format::PAYLOAD_BYTES_MAX {
        return Err(corrupt("a row asks for more bytes than a record has"));
    }
    let failed = |error| Error::io("read", &open.name(), error);
    let Some(cipher) = &open.cipher else {
        let at = part.offset + RECORD_HEADER_LEN as u64;
        if open.file.read_at(at, bytes).map_err(failed)? != bytes.len() {
            return Err(corrupt("the file ends within a large value"));
        }
        if crc::of(bytes) != part.crc {
            return Err(corrupt("a large value's checksum is wrong"));
        }
        return Ok(());
    };
    let mut head = [0; RECORD_HEADER_LEN];
    let mut sealed = vec![0; bytes.len() + TAG_LEN];
    let read = open.file.read_two_at(part.offset, &mut head, &mut sealed).map_err(failed)?;
    if read != head.len() + sealed.len() {
        return Err(corrupt("the file ends within a large value"));
    }
    let place = crate::format::Place { segment: part.segment, offset: part.offset };
    let header = match crate::format::RecordHeader::read(&files.database, place, &head) {
        crate::format::RecordAt::Record(header) => header,
        crate::format::RecordAt::None | crate::format::RecordAt::Unknown(..) => {
            return Err(corrupt("a large value's record header is not the one written"));
        }
    };
    let nonce = crate::seal::nonce(header.life, part.offset);
    match cipher.open(nonce, &header.authenticated(), &mut sealed) {
        // The checksum says that these are the bytes the row means, and no others that stood there.
        Some(plain) if plain.len() == bytes.len() && crc::of(plain) == part.crc => {
            bytes.copy_from_slice(plain);
        }
        _ => return Err(corrupt("a large value's encryption does not verify")),
    }
    Ok(())
}

/// A walk over a range of keys, from both ends.
pub(crate) struct Walk {
    state: State,
    over: Vec<Mem>,
    low: Vec<u8>,
    high: Option<Vec<u8>>,
    front: Option<Merge>,
    back: Option<Merge>,
    over_now: bool,
}

impl Walk {
    pub(crate) fn new(view: View, low: &[u8], high: Option<&[u8]>) -> Self {
        let View { state, over, .. } = view;
        Self::over(state, over, low, high)
    }

    pub(crate) fn over(state: State, over: Vec<Mem>, low: &[u8], high: Option<&[u8]>) -> Self {
        let high = high.map(<[u8]>::to_vec);
        Self { state, over, low: low.to_vec(), high, front: None, back: None, over_now: false }
    }

    fn merge(&self) -> Result<Merge, Error> {
        self.state.merge(&self.over, &self.low, self.high.as_deref())
    }

    fn step_front(&mut self) -> Result<(), Error> {
        if let Some(front) = &mut self.front {
            return front.next();
        }
        let mut front = self.merge()?;
        front.seek(&self.low)?;
        self.front = Some(front);
        Ok(())
    }

    fn step_back(&mut self) -> Result<(), Error> {
        if let Some(back) = &mut self.back {
            return back.previous();
        }
        let mut back = self.merge()?;
        back.seek_before(self.high.as_deref())?;
        self.back = Some(back);
        Ok(())
    }
}

impl Scan for Walk {
    fn next(&mut self) -> Result<Option<Entry<'_>>, Error> {
        if self.over_now {
            return Ok(None);
        }
        let stepped = self.step_front();
        let end = match &self.back {
            Some(back) => Some(back.key()),
            None => self.high.as_deref(),
        };
        let inside = |front: &&Merge| front.is_valid() && end.is_none_or(|end| front.key() < end);
        if stepped.is_err() || !self.front.as_ref().is_some_and(|front| inside(&front)) {
            self.over_now = true;
        }
        stepped?;
        let front = self.front.as_ref().filter(|_| !self.over_now);
        Ok(front.map(|front| (front.key(), front.value())))
    }

    fn next_back(&mut self) -> Result<Option<Entry<'_>>, Error> {
        if self.over_now {
            return Ok(None);
        }
        let stepped = self.step_back();
        let inside = |back: &Merge| {
            back.is_valid()
                && match &self.front {
                    Some(front) => back.key() > front.key(),
                    None => back.key() >= &*self.low,
                }
        };
        if stepped.is_err() || !self.back.as_ref().is_some_and(inside) {
            self.over_now = true;
        }
        stepped?;
        let back = self.back.as_ref().filter(|_| !self.over_now);
        Ok(back.map(|back| (back.key(), back.value())))
    }
}

/// The live bytes of every segment that has some.
pub(crate) fn live_bytes(view: &View) -> Result<Vec<(u64, u64)>, Error> {
    let prefix = space::live_key(None);
    let end = space::prefix_end(&prefix);
    let mut walk = view.scan(&prefix, end.as_deref())?;
    let mut all = Vec::new();
    while let Some((key, value)) = walk.next()? {
        let segment = space::parse_live(key);
        let bytes = crate::row::take_varint(&mut &*value);
        let (Some(segment), Some(bytes)) = (segment, bytes) else {
            return Err(Error::Internal { what: "a segment's live bytes are malformed" });
        };
        all.push((segment, bytes));
    }
    Ok(all)
}
