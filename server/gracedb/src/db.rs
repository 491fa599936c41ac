//! A database: opening it, writing to it, looking at it.
//!
//! ```text
//!   write(closure): alone over `newest` -> queued -> written -> synced -> `durable` = that state
//!                                                                     -> its Pending resolves
//!   snapshot(): a copy of `durable`
//! ```
//! Invariants: transactions run one after the other, in the order of their numbers; a snapshot
//! never shows what a power cut could take back.
//! Not here: the thread behind it (`committer`), what opening reads (`recovery`).

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::committer::{Committer, Counters, Shared, locked};
use crate::disk::real::RealDisk;
use crate::disk::{Disk, DiskLock};
use crate::error::Error;
use crate::format::{self, Kind, Place, SegmentHeader};
use crate::journal::{self, Failure, Journal};
use crate::large::LargeWriter;
use crate::pending::{self, Pending};
use crate::queue::{Commit, Queue, Record};
use crate::recovery::{self, Opened, Recovered, Segment};
use crate::schema::Schema;
use crate::segments::Segments;
use crate::state::State;
use crate::view::{Snapshot, View};
use crate::write::WriteTx;

/// How to open a database.
#[derive(Clone)]
pub struct Options {
    /// The folder, real or simulated.
    pub disk: Arc<dyn Disk>,
    /// A segment is followed by the next one at this size, in bytes. 64 MiB: a thousand segments
    /// hold 64 GB of mail, and one is read in well under a second at open.
    pub segment_bytes: u64,
    /// Zeros are written ahead of the records in steps of this many bytes. 1 MiB: one sync in some
    /// hundred touches the file's length, and an empty database takes no more than this.
    pub ahead_bytes: u64,
    /// A large value is cut into chunks of this many bytes; one is held per open writer and reader.
    /// 128 KiB holds nine letters of ten in one chunk.
    pub chunk_bytes: usize,
    /// Bytes of chunks that may be on their way to the disk before writers of large values wait.
    /// 4 MiB is some milliseconds of a disk's work.
    pub queue_bytes_max: usize,
    /// Most bytes of the operations of one transaction. 16 MiB: some hundred thousand rows.
    pub transaction_bytes_max: usize,
    /// The identity of a database that is created, for reproducible files. Random if `None`.
    pub identity: Option<[u8; 16]>,
}

impl Options {
    /// The defaults, for a folder of real files. It is created if it does not exist.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self::with_disk(Arc::new(RealDisk::new(dir)))
    }

    /// The defaults, for any disk.
    pub fn with_disk(disk: Arc<dyn Disk>) -> Self {
        Self {
            disk,
            segment_bytes: 64 << 20,
            ahead_bytes: 1 << 20,
            chunk_bytes: 128 << 10,
            queue_bytes_max: 4 << 20,
            transaction_bytes_max: 16 << 20,
            identity: None,
        }
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = |what| Err(Error::Settings { what });
        if self.segment_bytes < 16 << 10 || !self.segment_bytes.is_multiple_of(4096) {
            return wrong("segment_bytes must be a multiple of 4096 and at least 16 KiB");
        }
        if self.ahead_bytes < 4096 || !self.ahead_bytes.is_multiple_of(4096) {
            return wrong("ahead_bytes must be a multiple of 4096, and not 0");
        }
        if self.chunk_bytes == 0 || self.chunk_bytes > format::PAYLOAD_BYTES_MAX / 4 {
            return wrong("chunk_bytes must be between 1 and 16 MiB");
        }
        if self.queue_bytes_max == 0 {
            return wrong("queue_bytes_max must not be 0");
        }
        let transactions = (128 << 10)..=format::PAYLOAD_BYTES_MAX;
        if !transactions.contains(&self.transaction_bytes_max) {
            return wrong("transaction_bytes_max must be between 128 KiB and 64 MiB");
        }
        Ok(())
    }
}

/// A handle of an open database. Cheap to clone; the last one dropped closes it.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    segments: Arc<Segments>,
    opened: Opened,
    chunk_bytes: usize,
    transaction_bytes_max: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The committer of a database opened by [`Db::open_stepped`]. Dropped, it is a crash: what was
/// not stepped is not written.
pub struct Stepper {
    committer: Committer,
}

impl Stepper {
    /// Writes, syncs and answers everything queued now, as one group.
    pub fn step(&mut self) {
        let entries = self.committer.shared.queue.take_now();
        self.committer.work(entries);
    }

    /// Closes in good order.
    pub fn finish(mut self) {
        self.step();
        self.committer.shared.queue.close();
        self.committer.finish();
    }
}

/// Figures of an open database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Rows of all tables.
    pub rows: u64,
    /// Number of the newest acknowledged transaction.
    pub sequence: u64,
    /// Segment files.
    pub segments: u64,
    /// Bytes of the journal up to its end.
    pub journal_bytes: u64,
    /// Bytes of large values in the journal.
    pub large_bytes_stored: u64,
    /// Those of them that rows point to.
    pub large_bytes_live: u64,
    /// Transactions acknowledged since the database was opened.
    pub commits: u64,
    /// Syncs since the database was opened.
    pub syncs: u64,
}

impl Db {
    /// Opens the database, or creates it. Replays the journal first.
    #[expect(clippy::needless_pass_by_value, reason = "options are made where they are used")]
    pub fn open(options: Options, schema: Schema) -> Result<Self, Error> {
        let (db, committer) = Self::prepare(&options, schema)?;
        let thread = thread::Builder::new()
            .name("gracedb-commit".to_owned())
            .spawn(move || committer.run())
            .map_err(|error| Error::io("start a thread", "gracedb-commit", error))?;
        *db.inner.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(db)
    }

    /// As [`Db::open`], but nothing is written until the caller says so: for simulations that are
    /// to run the same way every time.
    #[expect(clippy::needless_pass_by_value, reason = "options are made where they are used")]
    pub fn open_stepped(options: Options, schema: Schema) -> Result<(Self, Stepper), Error> {
        let (db, committer) = Self::prepare(&options, schema)?;
        Ok((db, Stepper { committer }))
    }

    fn prepare(options: &Options, schema: Schema) -> Result<(Self, Committer), Error> {
        options.check()?;
        let label = options.disk.label();
        let lock = options.disk.lock().map_err(|error| Error::io("lock", &label, error))?;
        let lock = lock.ok_or(Error::Locked { dir: label })?;
        let recovered = match recovery::recover(options.disk.as_ref())? {
            Some(recovered) => recovered,
            None => create(options)?,
        };
        let Recovered { last, end, state, schema: stored, report } = recovered;
        let must_store = match &stored {
            None => true,
            Some(stored) => schema.check(stored)?,
        };
        let mut journal = Journal {
            disk: Arc::clone(&options.disk),
            database: last.header.database,
            file: last.file,
            number: last.header.number,
            written: end,
            filled: last.len.max(end),
            synced: end,
            segment_bytes: options.segment_bytes,
            ahead_bytes: options.ahead_bytes,
            buffer: Vec::new(),
        };
        if must_store {
            store_schema(&mut journal, &schema, state.sequence).map_err(failure_error)?;
        }
        Ok(Self::start(options, journal, lock, state, report))
    }

    fn start(
        options: &Options,
        journal: Journal,
        lock: Box<dyn DiskLock>,
        state: State,
        opened: Opened,
    ) -> (Self, Committer) {
        let segments = Segments::new(Arc::clone(&options.disk), journal.database);
        let queue = Queue::new(journal.place(), options.segment_bytes, options.queue_bytes_max);
        let counters = Counters::default();
        counters.segments.store(opened.segments, Ordering::Relaxed);
        counters.journal_bytes.store(opened.journal_bytes, Ordering::Relaxed);
        counters.large_bytes.store(opened.large_bytes, Ordering::Relaxed);
        let shared = Arc::new(Shared {
            queue: Arc::new(queue),
            newest: Mutex::new(state.clone()),
            durable: Mutex::new(state),
            counters,
        });
        let committer = Committer { shared: Arc::clone(&shared), journal, lock };
        let inner = Inner {
            shared,
            segments: Arc::new(segments),
            opened,
            chunk_bytes: options.chunk_bytes,
            transaction_bytes_max: options.transaction_bytes_max,
            thread: Mutex::new(None),
        };
        (Self { inner: Arc::new(inner) }, committer)
    }

    /// What opening found.
    pub fn opened(&self) -> &Opened {
        &self.inner.opened
    }

    /// The acknowledged state as of now. Never waits for a writer.
    pub fn snapshot(&self) -> Snapshot {
        let state = locked(&self.inner.shared.durable).clone();
        Snapshot { view: View { state }, segments: Arc::clone(&self.inner.segments) }
    }

    /// Runs a transaction, now and alone, over the newest state; what other transactions have done
    /// is there even if it is still on its way to the disk.
    ///
    /// An error of the closure means that nothing happened. Else the transaction is on its way, and
    /// the returned [`Pending`] says when it is on disk. The closure holds up every other writer:
    /// it does nothing but read and change rows.
    pub fn write<T, E: From<Error>>(
        &self,
        transaction: impl FnOnce(&mut WriteTx<'_>) -> Result<T, E>,
    ) -> Result<Pending<T>, E> {
        let shared = &self.inner.shared;
        let mut newest = locked(&shared.newest);
        let epoch = shared.queue.epoch()?;
        let mut tx = WriteTx::new(newest.clone(), self.inner.transaction_bytes_max, epoch);
        let value = transaction(&mut tx)?;
        let (mut state, operations) = tx.into_parts();
        let (pending, promise) = pending::pending(value);
        if operations.is_empty() {
            // It may have read what is not on disk yet.
            if locked(&shared.durable).sequence == newest.sequence {
                promise.keep(Ok(()));
            } else {
                shared.queue.push_barrier(promise)?;
            }
            return Ok(pending);
        }
        state.sequence += 1;
        shared.queue.push_transaction(operations, Commit { state: state.clone(), promise })?;
        *newest = state;
        Ok(pending)
    }

    /// Starts a large value.
    pub fn large_writer(&self) -> LargeWriter {
        LargeWriter::new(Arc::clone(&self.inner.shared.queue), self.inner.chunk_bytes)
    }

    /// Figures as of now.
    pub fn stats(&self) -> Stats {
        let shared = &self.inner.shared;
        let (rows, sequence, large_bytes_live) = {
            let state = locked(&shared.durable);
            (state.rows, state.sequence, state.large_bytes)
        };
        Stats {
            rows,
            sequence,
            segments: shared.counters.segments.load(Ordering::Relaxed),
            journal_bytes: shared.counters.journal_bytes.load(Ordering::Relaxed),
            large_bytes_stored: shared.counters.large_bytes.load(Ordering::Relaxed),
            large_bytes_live,
            commits: shared.counters.commits.load(Ordering::Relaxed),
            syncs: shared.counters.syncs.load(Ordering::Relaxed),
        }
    }

    /// Why the database takes no more writes, if so.
    pub fn check(&self) -> Result<(), Error> {
        self.inner.shared.queue.epoch().map(|_| ())
    }

    /// Writes what is on its way, closes the files and waits for the thread. Handles left over
    /// answer [`Error::Closed`]; snapshots stay readable.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn close(&self) {
        self.shared.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the thread has been told to every caller already.
            drop(thread.join());
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

fn failure_error(failure: Failure) -> Error {
    match failure {
        Failure::Full(error) | Failure::Fatal(error) => error,
    }
}

fn create(options: &Options) -> Result<Recovered, Error> {
    let database = match options.identity {
        Some(identity) => identity,
        None => {
            let mut identity = [0; 16];
            getrandom::fill(&mut identity)
                .map_err(|error| Error::io("ask the system for random bytes", "", error.into()))?;
            identity
        }
    };
    let header = SegmentHeader { database, number: 1, previous: Place::default(), sequence: 0 };
    let file = journal::create_segment(options.disk.as_ref(), header).map_err(failure_error)?;
    let len = format::SEGMENT_HEADER_LEN as u64;
    let report =
        Opened { created: true, clean: true, segments: 1, journal_bytes: len, ..Opened::default() };
    let last = Segment { name: format::segment_name(1), header, file, len };
    Ok(Recovered { last, end: len, state: State::default(), schema: None, report })
}

fn store_schema(journal: &mut Journal, schema: &Schema, sequence: u64) -> Result<(), Failure> {
    let payload = schema.text().into_bytes();
    let end = journal.written + format::record_len(payload.len());
    if end > journal.segment_bytes && journal.written > format::SEGMENT_HEADER_LEN as u64 {
        journal.roll(sequence)?;
    }
    journal.fill_to(journal.written + format::record_len(payload.len()))?;
    let crc = crc32c::crc32c(&payload);
    let record = Record { place: journal.place(), kind: Kind::Schema, sequence: 0, crc, payload };
    journal.write(std::iter::once(&record))?;
    journal.sync()
}
