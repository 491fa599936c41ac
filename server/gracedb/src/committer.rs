//! The one thread that writes: takes what is queued as a group, writes it, syncs once, answers.
//!
//! ```text
//!   take group -> fill ahead -> write -> sync -> publish the newest state -> answer each commit
//!                    | full                | failed
//!                    v                     v
//!         give up what is queued,     the same, and take nothing more until reopened
//!         go on with the next
//! ```
//! Invariants: a state is published, and its commits answered, only after the sync that covers
//! them; a failed write or sync is never tried again; a group without a transaction is not synced.
//! Not here: places (`queue`), bytes (`journal`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::DiskLock;
use crate::error::Error;
use crate::format;
use crate::journal::{Failure, Journal};
use crate::queue::{Commit, Entry, Queue};
use crate::state::State;

/// Counts of a running database.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) journal_bytes: AtomicU64,
    pub(crate) large_bytes: AtomicU64,
    pub(crate) segments: AtomicU64,
}

/// What the committer and the database's handles share.
pub(crate) struct Shared {
    pub(crate) queue: Arc<Queue>,
    /// The state after every transaction queued. Its lock is what makes transactions run alone.
    pub(crate) newest: Mutex<State>,
    /// The state after every transaction on disk.
    pub(crate) durable: Mutex<State>,
    pub(crate) counters: Counters,
}

/// A state is replaced whole, so a panic elsewhere cannot leave it half changed.
pub(crate) fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread's own.
pub(crate) struct Committer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) journal: Journal,
    /// Released when the thread is done with the files.
    #[expect(dead_code, reason = "held, not used")]
    pub(crate) lock: Box<dyn DiskLock>,
}

impl Committer {
    /// Works until the queue is closed and empty, or until the disk fails.
    pub(crate) fn run(mut self) {
        while let Some(entries) = self.shared.queue.take() {
            if self.work(entries) {
                return;
            }
        }
        self.finish();
    }

    /// Writes one group. True: the disk failed, for good.
    pub(crate) fn work(&mut self, entries: Vec<Entry>) -> bool {
        let mut waiting = VecDeque::from(entries);
        match self.write_group(&mut waiting) {
            Ok(()) => false,
            Err((failure, failed)) => self.fail(failure, failed, waiting),
        }
    }

    /// Marks the end of the journal as known good.
    pub(crate) fn finish(mut self) {
        // Nothing acknowledged depends on the closing mark; without it the next open checks more.
        drop(self.journal.close());
    }

    /// Writes everything waiting, segment by segment. On failure also returns what was being
    /// written.
    fn write_group(&mut self, waiting: &mut VecDeque<Entry>) -> Result<(), (Failure, Vec<Entry>)> {
        while !waiting.is_empty() {
            let number = self.journal.number;
            let here = |entry: &Entry| entry.record().is_none_or(|r| r.place.segment == number);
            let count = waiting.iter().position(|entry| !here(entry)).unwrap_or(waiting.len());
            let run: Vec<Entry> = waiting.drain(..count).collect();
            if let Err(failure) = self.write_run(&run) {
                return Err((failure, run));
            }
            self.publish(run);
            if !waiting.is_empty() {
                self.roll().map_err(|failure| (failure, Vec::new()))?;
            }
        }
        Ok(())
    }

    fn write_run(&mut self, run: &[Entry]) -> Result<(), Failure> {
        let records = || run.iter().filter_map(Entry::record);
        if let Some(last) = records().next_back() {
            self.journal.fill_to(last.place.offset + format::record_len(last.payload.len()))?;
            self.journal.write(records())?;
        }
        if run.iter().any(|entry| matches!(entry, Entry::Transaction(..))) {
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Failure> {
        self.shared.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.journal.sync()
    }

    fn roll(&mut self) -> Result<(), Failure> {
        if self.journal.synced < self.journal.written {
            self.sync()?;
        }
        let sequence = locked(&self.shared.durable).sequence;
        self.journal.roll(sequence)?;
        self.shared.counters.segments.fetch_add(1, Ordering::Relaxed);
        let header = format::SEGMENT_HEADER_LEN as u64;
        self.shared.counters.journal_bytes.fetch_add(header, Ordering::Relaxed);
        Ok(())
    }

    fn publish(&self, run: Vec<Entry>) {
        let counters = &self.shared.counters;
        let newest = run.iter().rev().find_map(|entry| match entry {
            Entry::Transaction(_, commit) => Some(commit.state.clone()),
            Entry::Chunk(_) | Entry::Barrier(_) => None,
        });
        if let Some(newest) = newest {
            *locked(&self.shared.durable) = newest;
        }
        for entry in run {
            if let Some(record) = entry.record() {
                let bytes = format::record_len(record.payload.len());
                counters.journal_bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            match entry {
                Entry::Chunk(record) => {
                    let bytes = record.payload.len() as u64;
                    counters.large_bytes.fetch_add(bytes, Ordering::Relaxed);
                }
                Entry::Transaction(_, commit) => {
                    counters.commits.fetch_add(1, Ordering::Relaxed);
                    commit.promise.keep(Ok(()));
                }
                Entry::Barrier(promise) => promise.keep(Ok(())),
            }
        }
    }

    /// Gives up what was not acknowledged and goes back to the durable state. True: for good.
    fn fail(&self, failure: Failure, failed: Vec<Entry>, waiting: VecDeque<Entry>) -> bool {
        let (error, dead) = match failure {
            Failure::Full(error) => (error, false),
            Failure::Fatal(reason) => (Error::Poisoned { reason: Arc::new(reason) }, true),
        };
        let queued = self.give_up(dead.then(|| error.clone()));
        for entry in failed.into_iter().chain(waiting).chain(queued) {
            match entry {
                Entry::Chunk(_) => {}
                Entry::Transaction(_, Commit { promise, .. }) | Entry::Barrier(promise) => {
                    promise.keep(Err(error.clone()));
                }
            }
        }
        dead
    }

    fn give_up(&self, dead: Option<Error>) -> Vec<Entry> {
        // While this lock is held no transaction runs, so none builds on the ones given up.
        let mut newest = locked(&self.shared.newest);
        let queued = self.shared.queue.give_up(self.journal.place(), dead);
        *newest = locked(&self.shared.durable).clone();
        queued
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = Error::Settings { what: "the committer thread panicked; report this" };
            // Dropping the entries answers those who wait.
            drop(self.give_up(Some(Error::Poisoned { reason: Arc::new(reason) })));
        }
    }
}
