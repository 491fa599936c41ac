//! Opening: from the files to the newest rows.
//!
//! ```text
//!   meta file ─▶ runs, and where replay begins
//!   journal from there ─▶ records, one after the other ─▶ rows in memory
//!        a record is believed at once when a later one says that the disk had it;
//!        what the last write left is checked byte by byte, and cut off where it is torn
//! ```
//! Invariants: what was acknowledged is there, or opening fails and says which file is damaged
//! where; what was not is there whole or not at all; what opening shows survives the next power
//! cut. The time it takes grows with what was not flushed, and with nothing else.
//! Not here: what a commit writes (`journal`), older formats (`upgrade`).

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ahead::Room;
use crate::commit::{self, Commits};
use crate::disk::{Disk, DiskLock};
use crate::error::Error;
use crate::files::{self, Files};
use crate::format::{
    DRAFT, FileHeader, FileKind, Kind, RECORD_HEADER_LEN, RecordAt, RecordHeader, segment_name,
};
use crate::index::cache::Cache;
use crate::index::run::{Reading, Run};
use crate::journal::{Journal, Segment};
use crate::local::Local;
use crate::manifest::{Edit, Flushed, Manifest};
use crate::meta::{self, Loaded, Meta};
use crate::options::Options;
use crate::queue::{self, Queue};
use crate::row;
use crate::scan::{FIRST, READ_BYTES_MAX, Scan};
use crate::seal::{self, Keyring};
use crate::state::State;
use crate::sync::Mutex;
use crate::version::{Version, Yard};

/// A torn end that was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The segment's file.
    pub file: String,
    /// Where the journal ends now.
    pub offset: u64,
    /// Bytes from there to the last byte of the torn write.
    pub bytes: u64,
}

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// There was no database; now there is.
    pub created: bool,
    /// The last user closed it in good order.
    pub clean: bool,
    /// It was written by an older version and has been rewritten.
    pub upgraded: bool,
    /// Journal segments read.
    pub segments: u64,
    /// Transactions replayed.
    pub transactions: u64,
    /// Bytes of the journal gone through.
    pub journal_bytes: u64,
    /// The torn end of the last write to the journal, which nobody was told is kept.
    pub cut: Option<Cut>,
    /// The same of the meta file, in bytes.
    pub meta_cut_bytes: u64,
}

/// Opens the database, or creates it. Also gives the text of its schema.
pub(crate) fn open(options: Options) -> Result<(Local, Option<String>), Error> {
    options.check()?;
    let disk = Arc::clone(&options.disk);
    let label = disk.label();
    let lock = disk.lock().map_err(|error| Error::io("lock", &label, error))?;
    let lock = lock.ok_or_else(|| Error::Locked { dir: label.clone() })?;
    open_locked(options, lock)
}

/// The same for one who holds the lock of the folder.
pub(crate) fn open_locked(
    options: Options,
    lock: Box<dyn DiskLock>,
) -> Result<(Local, Option<String>), Error> {
    let disk = Arc::clone(&options.disk);
    let upgraded = crate::upgrade::is_needed(disk.as_ref())?;
    if upgraded {
        crate::upgrade::run(&options)?;
    }
    let Some(loaded) = load(&options)? else {
        let names = disk.list().map_err(|error| Error::io("list", &disk.label(), error))?;
        // A copy of the keys is written first of all: alone it is a database that never was.
        let kinds = names.iter().filter_map(|name| FileKind::parse(name));
        if kinds.map(|(kind, _)| kind).any(|kind| kind != FileKind::Keys) {
            return Err(Error::MetaMissing { dir: disk.label() });
        }
        let manifest = Manifest::empty((options.clock)());
        return Ok((create(options, manifest, lock)?, None));
    };
    let Loaded { manifest, keys, database, number, cut } = loaded;
    let keys = with_key(keys, &options)?;
    let files = files_of(&options, keys, database, number + 1);
    check_files(disk.as_ref(), &manifest)?;
    let reading = Arc::new(Reading { files, cache: Cache::new(options.cache_bytes) });
    let yard = Arc::new(Yard::default());
    let version = version(&manifest, &reading, &yard);
    let state = State { sequence: manifest.flushed().sequence, ..State::new(version) };
    let replayed = replay(&reading.files, state, manifest.flushed())?;
    let others = others(&reading.files, &manifest, &replayed)?;
    // Only what a meta file does without that is on disk: the last edits of the one that was read
    // may be in the system's memory alone.
    let meta = Meta::create(Arc::clone(&reading.files), manifest, number + 1)?;
    for name in others {
        disk.remove(&name).map_err(|error| Error::io("remove", &name, error))?;
    }
    remove_old_meta(disk.as_ref(), number + 1)?;
    let opened = Opened { upgraded, meta_cut_bytes: cut, ..replayed.opened.clone() };
    start(options, reading, meta, yard, replayed, opened, lock)
}

/// The files of an opening that writes this meta file. With an identity given, everything that is
/// random otherwise follows from it and from the file's number, which no other opening has.
fn files_of(options: &Options, keys: Keyring, database: [u8; 16], meta: u64) -> Arc<Files> {
    let files = Files::new(Arc::clone(&options.disk), keys, database, options.open_files_max);
    Arc::new(match options.identity {
        Some(identity) => {
            let (low, high) = identity.split_at(8);
            let half = |half: &[u8]| half.try_into().map_or(0, u64::from_le_bytes);
            files.seeded(half(low) ^ half(high).rotate_left(32) ^ meta.rotate_left(17))
        }
        None => files,
    })
}

/// Reads the newest meta file; `None`: there is none.
fn load(options: &Options) -> Result<Option<Loaded>, Error> {
    let disk = options.disk.as_ref();
    let label = disk.label();
    let names = disk.list().map_err(|error| Error::io("list", &label, error))?;
    for draft in names.iter().filter(|name| name.ends_with(DRAFT)) {
        disk.remove(draft).map_err(|error| Error::io("remove", draft, error))?;
    }
    let newest = meta::newest(&names);
    newest.map(|number| meta::load(disk, number, options.key.as_ref())).transpose()
}

/// A database in the clear that is given a key is encrypted from now on.
fn with_key(mut keys: Keyring, options: &Options) -> Result<Keyring, Error> {
    if let Some(key) = &options.key
        && keys.current() == 0
    {
        keys.change_lock(key)?;
        let number = keys.add_key()?;
        keys.use_key(number);
    }
    Ok(keys)
}

/// Makes the files of a new database.
pub(crate) fn create(
    options: Options,
    manifest: Manifest,
    lock: Box<dyn DiskLock>,
) -> Result<Local, Error> {
    let database = match options.identity {
        Some(identity) => identity,
        None => seal::random()?,
    };
    let keys = with_key(Keyring::plain(database), &options)?;
    let files = files_of(&options, keys, database, 1);
    let reading = Arc::new(Reading { files, cache: Cache::new(options.cache_bytes) });
    let flushed = manifest.flushed();
    let meta = Meta::create(Arc::clone(&reading.files), manifest, 1)?;
    let yard = Arc::new(Yard::default());
    let state = State::new(Version::new(Arc::clone(&yard)));
    let replayed = replay(&reading.files, state, flushed)?;
    let opened = Opened { created: true, clean: true, ..Opened::default() };
    start(options, reading, meta, yard, replayed, opened, lock).map(|(local, _)| local)
}

/// Where replay begins in a database that never flushed.
fn beginning(flushed: Flushed) -> Flushed {
    if flushed.place.segment > 0 {
        return flushed;
    }
    Flushed { place: crate::format::Place { segment: 1, offset: FIRST }, ..flushed }
}

fn start(
    options: Options,
    reading: Arc<Reading>,
    meta: Meta,
    yard: Arc<Yard>,
    replayed: Replayed,
    opened: Opened,
    lock: Box<dyn DiskLock>,
) -> Result<(Local, Option<String>), Error> {
    let files = &reading.files;
    let Replayed { state, tail, complete, .. } = replayed;
    let complete = Arc::new(Mutex::new(complete.into_iter().collect()));
    let segment = match &tail {
        Tail::In(header, _) => Segment::open(files, *header, options.journal_io)?,
        Tail::Begin(number) => Segment::create(files, *number, options.journal_io)
            .map_err(crate::journal::Failure::into_error)?,
    };
    let end = match tail {
        Tail::In(_, end) => end,
        Tail::Begin(_) => FIRST,
    };
    let foreign = segment.header.key != files.keys().current();
    let room = Arc::new(Room::new(options.ahead, options.segment_bytes, options.ahead_bytes));
    let journal = Journal::new(
        Arc::clone(files),
        options.journal_io,
        segment,
        end,
        Arc::clone(&room),
        Arc::clone(&complete),
    )?;
    let limits = queue::Limits {
        segment_bytes: options.segment_bytes,
        chunk_bytes_max: options.queue_bytes_max,
    };
    let mut queue =
        Queue::new(journal.place(), journal.align(), journal.tag_len(), journal.life, &limits);
    queue.push_life(state.sequence);
    if foreign {
        // What is written from now on is written with the newest key, which is another file's.
        queue.roll();
        queue.set_tag_len(if files.keys().current() == 0 { 0 } else { seal::TAG_LEN });
    }
    let schema = meta.manifest.schema.clone();
    let last_run = meta.manifest.last_run();
    let limits = commit::Limits {
        mem_bytes: options.mem_bytes,
        unflushed_bytes: options.unflushed_bytes,
        segment_bytes: options.segment_bytes,
        frozen_max: options.frozen_max,
    };
    let commits = Commits::new(journal, queue, state, limits, room, complete);
    let local = Local::new(options, reading, commits, meta, yard, last_run, opened, lock);
    Ok((local, schema))
}

/// The runs of a manifest.
pub(crate) fn version(manifest: &Manifest, reading: &Arc<Reading>, yard: &Arc<Yard>) -> Version {
    let lives = manifest.runs.values().filter(|entry| entry.gone.is_none());
    let mut runs: Vec<_> = lives
        .map(|entry| {
            let (info, reading) = (entry.info.clone(), Arc::clone(reading));
            (entry.level(), Arc::new(Run::new(info, reading)))
        })
        .collect();
    // Level 0 takes them oldest first.
    runs.sort_by_key(|(_, run)| (run.info.sequence, run.info.number));
    Version::new(Arc::clone(yard)).change(runs, &[], Vec::new())
}

/// Refuses to go on without files that rows are in.
fn check_files(disk: &dyn Disk, manifest: &Manifest) -> Result<(), Error> {
    let names = disk.list().map_err(|error| Error::io("list", &disk.label(), error))?;
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let runs = manifest.runs.iter().filter(|(_, run)| run.gone.is_none());
    let segments = manifest.segments.iter().filter(|(_, segment)| segment.gone.is_none());
    let needed = runs
        .map(|(number, _)| FileKind::Index.name(*number))
        .chain(segments.map(|(number, _)| segment_name(*number)));
    for file in needed {
        if !names.contains(file.as_str()) {
            return Err(Error::Corrupt { file, offset: 0, what: "the file is missing".to_owned() });
        }
    }
    Ok(())
}

/// What a crash left between making a file and noting it, or the other way round.
fn others(files: &Files, manifest: &Manifest, replayed: &Replayed) -> Result<Vec<String>, Error> {
    let disk = files.disk.as_ref();
    let first = beginning(manifest.flushed()).place.segment;
    let last = match replayed.tail {
        Tail::In(header, _) => header.number,
        Tail::Begin(number) => number - 1,
    };
    let names = disk.list().map_err(|error| Error::io("list", &disk.label(), error))?;
    let mut others = Vec::new();
    for name in names {
        let is_needed = match FileKind::parse(&name) {
            Some((FileKind::Index, number)) => manifest.runs.contains_key(&number),
            Some((FileKind::Journal, number)) => {
                let is_known = manifest.segments.contains_key(&number);
                if number > last && !is_known && has_begun(files, number)? {
                    // Whoever wrote that had written all before it.
                    let (file, what) = (
                        segment_name(last + 1),
                        "it is missing, or the end of the \
                         one before it is damaged: there are later ones"
                            .to_owned(),
                    );
                    return Err(Error::Corrupt { file, offset: 0, what });
                }
                (first..=last).contains(&number) || is_known
            }
            Some((FileKind::Meta | FileKind::Keys, _)) | None => true,
        };
        if !is_needed {
            others.push(name);
        }
    }
    Ok(others)
}

/// Whether anything was written to a journal segment.
fn has_begun(files: &Files, number: u64) -> Result<bool, Error> {
    let name = segment_name(number);
    let file = files.disk.open(&name).map_err(|error| Error::io("open", &name, error))?;
    let Ok(header) = files::read_header(file.as_ref(), FileKind::Journal, number) else {
        return Ok(false);
    };
    if header.database != files.database {
        return Ok(false);
    }
    let mut scan = Scan::new(header, file, None)?;
    Ok(!matches!(scan.record(FIRST)?, RecordAt::None))
}

fn remove_old_meta(disk: &dyn Disk, current: u64) -> Result<(), Error> {
    let names = disk.list().map_err(|error| Error::io("list", &disk.label(), error))?;
    for name in names {
        let old = FileKind::parse(&name).filter(|(_, number)| *number < current);
        if matches!(old, Some((FileKind::Meta | FileKind::Keys, _))) {
            disk.remove(&name).map_err(|error| Error::io("remove", &name, error))?;
        }
    }
    Ok(())
}

/// Where the journal goes on.
pub(crate) enum Tail {
    /// In this segment, whose records end there.
    In(FileHeader, u64),
    /// In a segment that is not there yet.
    Begin(u64),
}

/// How far to go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until {
    /// Not beyond this transaction, which the caller knows to be in the journal whole: what follows
    /// it may be in the middle of being written, and is not looked at,
    pub(crate) sequence: u64,
    /// nor beyond one made after this time.
    pub(crate) time_ms: u64,
}

impl Until {
    pub(crate) const ALL: Self = Self { sequence: u64::MAX, time_ms: u64::MAX };
}

/// What the journal holds after the runs.
pub(crate) struct Replayed {
    pub(crate) state: State,
    pub(crate) tail: Tail,
    pub(crate) opened: Opened,
    /// The segments that are complete, with their ends.
    pub(crate) complete: Vec<(u64, u64)>,
    /// When the last of the transactions was made, in milliseconds since 1970 UTC.
    pub(crate) time_ms: Option<u64>,
}

/// Goes through the journal from where the runs end, and makes what it finds durable.
fn replay(files: &Files, state: State, flushed: Flushed) -> Result<Replayed, Error> {
    let replayed = read(files, state, flushed, true, Until::ALL)?;
    // The last user may have been killed between naming a file and making the name durable.
    let label = files.disk.label();
    files.disk.sync_dir().map_err(|error| Error::io("sync the folder", &label, error))?;
    Ok(replayed)
}

/// Goes through the journal from where the runs end. `settle`: makes what the last write left
/// durable.
pub(crate) fn read(
    files: &Files,
    state: State,
    flushed: Flushed,
    settle: bool,
    until: Until,
) -> Result<Replayed, Error> {
    let flushed = beginning(flushed);
    let mut replay = Replay {
        files,
        state,
        life: flushed.life,
        opened: Opened::default(),
        complete: Vec::new(),
        waiting: Vec::new(),
        until,
        is_over: flushed.sequence >= until.sequence,
        time_ms: None,
        settle,
    };
    let (mut number, mut from) = (flushed.place.segment, flushed.place.offset);
    loop {
        let Some(mut scan) = replay.open(number)? else {
            if from != FIRST {
                let (file, what) = (segment_name(number), "the file is missing".to_owned());
                return Err(Error::Corrupt { file, offset: 0, what });
            }
            return Ok(replay.done(Tail::Begin(number)));
        };
        match replay.segment(&mut scan, from)? {
            Step::Complete(end) => {
                replay.complete.push((number, end));
                (number, from) = (number + 1, FIRST);
            }
            Step::Tail { end, vouched, dirty_end } => {
                if settle {
                    make_durable(&mut scan, vouched.max(FIRST), end, dirty_end)?;
                }
                return Ok(replay.done(Tail::In(scan.header, end)));
            }
        }
    }
}

/// How going through a segment ended.
enum Step {
    /// The segment is complete, and its records end there.
    Complete(u64),
    /// The journal ends there; up to `vouched` the disk is known to have it, and torn bytes follow
    /// up to `dirty_end`.
    Tail { end: u64, vouched: u64, dirty_end: u64 },
}

/// A record that nobody has vouched for yet.
struct Waiting {
    offset: u64,
    end: u64,
    header: RecordHeader,
    /// Of a transaction, checked.
    payload: Vec<u8>,
}

struct Replay<'a> {
    files: &'a Files,
    state: State,
    life: u64,
    opened: Opened,
    complete: Vec<(u64, u64)>,
    waiting: Vec<Waiting>,
    until: Until,
    /// Nothing more is to be replayed.
    is_over: bool,
    time_ms: Option<u64>,
    settle: bool,
}

impl Replay<'_> {
    fn done(self, tail: Tail) -> Replayed {
        let Self { state, opened, complete, time_ms, .. } = self;
        Replayed { state, tail, opened, complete, time_ms }
    }

    fn open(&self, number: u64) -> Result<Option<Scan>, Error> {
        let name = segment_name(number);
        let names = self.files.disk.list();
        let names = names.map_err(|e| Error::io("list", &self.files.disk.label(), e))?;
        if !names.contains(&name) {
            return Ok(None);
        }
        let file = self.files.disk.open(&name).map_err(|e| Error::io("open", &name, e))?;
        let header = files::read_header(file.as_ref(), FileKind::Journal, number)?;
        if header.database != self.files.database {
            let what = "it belongs to another database".to_owned();
            return Err(Error::Corrupt { file: name, offset: 16, what });
        }
        Scan::new(header, file, self.files.cipher(&header)?).map(Some)
    }

    fn segment(&mut self, scan: &mut Scan, from: u64) -> Result<Step, Error> {
        self.opened.segments += 1;
        let (mut at, mut vouched, mut is_marked) = (from, from, false);
        let broken = loop {
            if self.is_over {
                return Ok(Step::Tail { end: at, vouched: at, dirty_end: at });
            }
            let header = match scan.record(at)? {
                RecordAt::Record(header) => header,
                RecordAt::Unknown(kind, flags) => return Err(scan.unknown(at, kind, flags)),
                RecordAt::None => break "no record where one must be",
            };
            if !self.belongs(&header) {
                break "a record from another life of the file";
            }
            let payload = match header.kind {
                Kind::Transaction => match scan.payload(at, &header)? {
                    Some(payload) => payload,
                    None => break "the record's checksum is wrong",
                },
                Kind::Edits => return Err(scan.corrupt(at, "a record of a meta file")),
                Kind::Chunk | Kind::Mark | Kind::Life | Kind::End => Vec::new(),
            };
            self.life = header.life;
            is_marked = header.kind == Kind::Mark;
            vouched = vouched.max(header.synced);
            let end = header.next_offset(at, scan.header.align);
            if header.kind == Kind::Transaction && header.sequence == self.until.sequence {
                vouched = vouched.max(end);
            }
            self.waiting.push(Waiting { offset: at, end, header, payload });
            self.believe(scan, vouched)?;
            self.opened.journal_bytes += end - at;
            at = end;
            if header.kind == Kind::End && self.is_complete(scan)? {
                return Ok(Step::Complete(at));
            }
        };
        let (end, dirty_end) = self.cut(scan, at, broken)?;
        self.opened.clean = is_marked && dirty_end <= end;
        if dirty_end > end {
            let bytes = dirty_end - end;
            self.opened.cut = Some(Cut { file: scan.name(), offset: end, bytes });
        }
        Ok(Step::Tail { end, vouched: vouched.min(end), dirty_end })
    }

    /// Whether a record goes on from the ones before it: only the beginning of a life may be of
    /// another one, and it says after which transaction it begins.
    fn belongs(&self, header: &RecordHeader) -> bool {
        if header.kind != Kind::Life {
            return header.life == self.life;
        }
        let waiting = self.waiting.iter().filter(|each| each.header.kind == Kind::Transaction);
        header.sequence == self.state.sequence + waiting.count() as u64
    }

    /// Applies what the disk is known to have.
    fn believe(&mut self, scan: &Scan, vouched: u64) -> Result<(), Error> {
        let count = self.waiting.iter().take_while(|waiting| waiting.end <= vouched).count();
        let believed: Vec<Waiting> = self.waiting.drain(..count).collect();
        believed.iter().try_for_each(|waiting| self.apply(scan, waiting))
    }

    fn apply(&mut self, scan: &Scan, waiting: &Waiting) -> Result<(), Error> {
        let Waiting { offset, header, payload, .. } = waiting;
        if header.kind != Kind::Transaction || self.is_over {
            return Ok(());
        }
        if header.sequence != self.state.sequence + 1 {
            let (found, before) = (header.sequence, self.state.sequence);
            let what = format!("transaction {found} follows transaction {before}");
            return Err(scan.corrupt(*offset, &what));
        }
        let mut operations = payload.as_slice();
        let time_ms = row::take_varint(&mut operations);
        let time_ms =
            time_ms.ok_or_else(|| scan.corrupt(*offset, "a transaction without a time"))?;
        if time_ms > self.until.time_ms {
            self.is_over = true;
            return Ok(());
        }
        self.state.apply(operations).map_err(|what| scan.corrupt(*offset, what))?;
        self.state.sequence = header.sequence;
        self.is_over = header.sequence >= self.until.sequence;
        self.time_ms = Some(time_ms);
        self.opened.transactions += 1;
        Ok(())
    }

    /// Whether what follows the end of a segment proves that it is complete; else the end may be
    /// part of a torn write, and what waits is checked.
    fn is_complete(&mut self, scan: &mut Scan) -> Result<bool, Error> {
        let next = self.open(scan.header.number + 1)?;
        let goes_on = match next {
            Some(mut next) => matches!(
                next.record(FIRST)?,
                RecordAt::Record(header) if header.life == self.life || header.kind == Kind::Life
            ),
            None => false,
        };
        if goes_on {
            self.believe(scan, u64::MAX)?;
            return Ok(true);
        }
        for at in 0..self.waiting.len() {
            if !self.is_whole(scan, at)? {
                return Ok(false);
            }
        }
        let waiting = std::mem::take(&mut self.waiting);
        let vouched = waiting.first().map_or(FIRST, |waiting| waiting.offset);
        let end = waiting.last().map_or(FIRST, |waiting| waiting.end);
        waiting.iter().try_for_each(|waiting| self.apply(scan, waiting))?;
        if self.settle {
            make_durable(scan, vouched, end, end)?;
        }
        Ok(true)
    }

    fn is_whole(&self, scan: &mut Scan, at: usize) -> Result<bool, Error> {
        match self.waiting.get(at) {
            Some(waiting) if waiting.header.kind == Kind::Chunk => {
                scan.is_whole(waiting.offset, &waiting.header)
            }
            _ => Ok(true),
        }
    }

    /// Finds where what nobody has vouched for is torn, and applies the groups before that. A group
    /// is there whole or not at all.
    fn cut(&mut self, scan: &mut Scan, at: u64, broken: &str) -> Result<(u64, u64), Error> {
        let behind = scan.look_behind(at)?;
        if behind.vouched > at {
            return Err(scan.corrupt(at, broken));
        }
        if let Some(mut next) = self.open(scan.header.number + 1)?
            && !matches!(next.record(FIRST)?, RecordAt::None)
        {
            // The next segment begins when this one is complete and synced.
            return Err(scan.corrupt(at, broken));
        }
        let (mut whole, mut end) = (0, self.waiting.first().map_or(at, |first| first.offset));
        for index in 0..self.waiting.len() {
            if !self.is_whole(scan, index)? {
                break;
            }
            if let Some(last) = self.waiting.get(index).filter(|waiting| waiting.header.last) {
                (whole, end) = (index + 1, last.end);
            }
        }
        if behind.vouched > end {
            return Err(scan.corrupt(end, "a large value's checksum is wrong"));
        }
        self.waiting.truncate(whole);
        let waiting = std::mem::take(&mut self.waiting);
        waiting.iter().try_for_each(|waiting| self.apply(scan, waiting))?;
        Ok((end, behind.dirty_end.max(at)))
    }
}

/// Writes what was found once more and syncs it: the system may show bytes of a write that failed
/// and that it will never write again. What is torn becomes zeros.
fn make_durable(scan: &mut Scan, from: u64, end: u64, dirty_end: u64) -> Result<(), Error> {
    let name = scan.name();
    let failed = |doing| {
        let name = name.clone();
        move |error| Error::writing(doing, &name, error)
    };
    let mut at = from;
    while at < end.min(scan.len) {
        let step = usize::try_from(end - at).unwrap_or(usize::MAX).min(READ_BYTES_MAX);
        let bytes = scan.bytes(at, step)?.to_vec();
        if bytes.is_empty() {
            break;
        }
        scan.file.write_at(at, &bytes).map_err(failed("write"))?;
        at += bytes.len() as u64;
    }
    let (zeros, mut at) = (vec![0; 4096], end);
    while at < dirty_end {
        let step = usize::try_from(dirty_end - at).unwrap_or(usize::MAX).min(zeros.len());
        let piece = zeros.get(..step).unwrap_or(&zeros);
        scan.file.write_at(at, piece).map_err(failed("write"))?;
        at += step as u64;
    }
    scan.file.sync().map_err(failed("sync"))
}

/// The first edit of a database: its schema.
pub(crate) fn schema_edit(text: &str) -> Edit {
    Edit::Schema(text.to_owned())
}

const _: () = assert!(RECORD_HEADER_LEN.is_multiple_of(8), "records stay aligned");
