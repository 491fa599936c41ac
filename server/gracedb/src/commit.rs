//! The way of a commit: from a transaction over the newest rows to an answer.
//!
//! ```text
//!   transaction, alone ─▶ queue ─▶ a leader: write, sync ─▶ rows ─▶ answers
//!   over: open │ flying │ rows
//!
//!   whoever waits on a thread leads if nobody does; for those who await, the committer thread
//!
//!   failed write, disk full           any other failure
//!         │                                  │
//!         v                                  v
//!   forget what is not in rows,       the same, and take nothing more until reopened
//!   answer all, go on in a new life
//! ```
//! The acknowledged rows are changed in place, by the leader, when a group is on disk; who looks at
//! them meanwhile keeps the pages he has. Transactions see what is on its way as thin layers over
//! them.
//! Invariants: transactions run one after the other in the order of their numbers; rows change, and
//! commits are answered, only after the write that covers them; a failed sync is never tried again.
//! Locks are taken in the order journal, newest, queue, rows.
//! Not here: places (`queue`), bytes (`journal`), what a transaction does (`transact`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use crate::ahead::Room;
use crate::crc;
use crate::error::Error;
use crate::format::{Kind, Place};
use crate::journal::{Complete, Failure, Journal};
use crate::large::{Fresh, Part};
use crate::mem::Mem;
use crate::pending::{Lead, Round, Ticket};
use crate::pins::Pins;
use crate::queue::{Group, Queue};
use crate::row;
use crate::state::State;
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError, locked};
use crate::unwritten::Unwritten;
use crate::version::Version;
use crate::watch::Watches;

/// Counts of a running database.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) syncs: AtomicU64,
}

/// What transactions have changed that is not acknowledged yet. Its lock is what makes transactions
/// run alone.
pub(crate) struct Newest {
    /// Number of the newest transaction.
    pub(crate) sequence: u64,
    /// Changes of transactions that are queued.
    pub(crate) open: Mem,
    /// Changes of transactions up to a number, of which some are being written; the newest last.
    pub(crate) flying: Vec<(u64, Mem)>,
}

impl Newest {
    /// The layers over the acknowledged rows, the newest first.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &Mem> {
        std::iter::once(&self.open).chain(self.flying.iter().rev().map(|(_, mem)| mem))
    }
}

/// Wakes a thread that has something to do.
#[derive(Default)]
pub(crate) struct Bell {
    state: Mutex<BellState>,
    rung: Condvar,
}

#[derive(Default)]
struct BellState {
    rung: bool,
    stopped: bool,
}

/// What a thread woke up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    Rung,
    TimedOut,
    Stopped,
}

impl Bell {
    pub(crate) fn ring(&self) {
        let mut state = locked(&self.state);
        if !state.rung {
            state.rung = true;
            drop(state);
            self.rung.notify_one();
        }
    }

    /// Ends every wait, now and later.
    pub(crate) fn stop(&self) {
        locked(&self.state).stopped = true;
        self.rung.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        locked(&self.state).stopped
    }

    /// Waits until it is rung or stopped, or so many milliseconds are over.
    pub(crate) fn wait(&self, limit_ms: Option<u64>) -> Woken {
        let mut state = locked(&self.state);
        loop {
            if state.rung {
                state.rung = false;
                return Woken::Rung;
            }
            if state.stopped {
                return Woken::Stopped;
            }
            state = match limit_ms {
                None => self.rung.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(limit_ms) => {
                    let limit = std::time::Duration::from_millis(limit_ms);
                    let waited = self.rung.wait_timeout(state, limit);
                    let (state, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
                    if timed_out.timed_out() && !state.rung && !state.stopped {
                        return Woken::TimedOut;
                    }
                    state
                }
            };
        }
    }
}

/// Everything a commit meets.
pub(crate) struct Commits {
    pub(crate) newest: Mutex<Newest>,
    queue: Mutex<Queue>,
    /// The acknowledged rows.
    rows: Mutex<State>,
    /// Who holds it leads.
    journal: Mutex<Journal>,
    /// For the committer thread.
    pub(crate) bell: Bell,
    /// For the thread that writes rows to disk.
    pub(crate) flush_bell: Bell,
    /// For the thread that makes room ahead of the journal.
    pub(crate) ahead_bell: Bell,
    backlog: Mutex<Backlog>,
    /// Rung when rows in memory became fewer, or will not; when something is synced.
    relieved: Condvar,
    /// Where the journal stood when rows were last frozen, and how far it may go before they are
    /// again.
    frozen_at: Mutex<Place>,
    limits: Limits,
    unsynced: AtomicBool,
    pub(crate) counters: Counters,
    pub(crate) watches: Watches,
    pub(crate) room: Arc<Room>,
    pub(crate) pins: Arc<Pins>,
    pub(crate) unwritten: Arc<Unwritten>,
    pub(crate) complete: Complete,
}

/// When rows are frozen, and when commits wait for that.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) mem_bytes: usize,
    pub(crate) unflushed_bytes: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) frozen_max: usize,
}

/// How far writing rows to disk is behind.
#[derive(Default)]
struct Backlog {
    frozen: usize,
    /// All before it in the journal is known to be on disk.
    synced: Place,
    /// Somebody works at it; else waiting for it would be waiting forever.
    worked_at: bool,
    failed: Option<Error>,
    dead: bool,
    /// Somebody is to be told when the journal is free.
    wants_journal: bool,
}

impl Commits {
    pub(crate) fn new(
        journal: Journal,
        queue: Queue,
        rows: State,
        limits: Limits,
        room: Arc<Room>,
        complete: Complete,
    ) -> Self {
        let place = journal.place();
        let newest = Newest { sequence: rows.sequence, open: Mem::default(), flying: Vec::new() };
        Self {
            newest: Mutex::new(newest),
            backlog: Mutex::new(Backlog { synced: place, ..Backlog::default() }),
            queue: Mutex::new(queue),
            rows: Mutex::new(rows),
            journal: Mutex::new(journal),
            bell: Bell::default(),
            flush_bell: Bell::default(),
            ahead_bell: Bell::default(),
            relieved: Condvar::new(),
            frozen_at: Mutex::new(place),
            limits,
            unsynced: AtomicBool::new(false),
            counters: Counters::default(),
            watches: Watches::default(),
            room,
            pins: Arc::default(),
            unwritten: Arc::default(),
            complete,
        }
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        locked(&self.queue)
    }

    /// The acknowledged rows as of now.
    pub(crate) fn rows(&self) -> State {
        locked(&self.rows).clone()
    }

    /// The runs as of now.
    pub(crate) fn version(&self) -> Version {
        locked(&self.rows).base.version.clone()
    }

    /// Looks at the acknowledged rows, and where the journal ends with them, while nothing is
    /// written or acknowledged.
    pub(crate) fn at_rest<R>(&self, look: impl FnOnce(State, Place) -> R) -> R {
        self.with_journal(|journal| look(self.rows(), journal.end()))
    }

    /// The segment that is being written.
    pub(crate) fn journal_segment(&self) -> u64 {
        self.with_journal(|journal| journal.end().segment)
    }

    /// Looks at the journal. Whoever wanted to lead meanwhile went to sleep, for somebody else
    /// seemed to: so somebody is called afterwards.
    fn with_journal<R>(&self, look: impl FnOnce(&Journal) -> R) -> R {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = look(&journal);
        drop(journal);
        self.hand_over();
        seen
    }

    /// Number of the newest acknowledged transaction.
    pub(crate) fn sequence(&self) -> u64 {
        locked(&self.rows).sequence
    }

    /// Why the database takes no more writes, if so.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.queue().check_open()
    }

    /// Why nothing is written any more, if so; a database that closes still writes.
    pub(crate) fn check_alive(&self) -> Result<(), Error> {
        self.queue().check_alive()
    }

    /// Whether something acknowledged is not synced yet.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.unsynced.load(Ordering::Relaxed)
    }

    /// Queues a part of a large value; says where it will be.
    pub(crate) fn push_chunk(&self, payload: Vec<u8>) -> Result<(Part, Fresh), Error> {
        let crc = crc::of(&payload);
        let payload = Arc::new(payload);
        let mut queue = self.queue();
        queue.check_open()?;
        let part = queue.push_chunk(Arc::clone(&payload), crc);
        self.unwritten.put(&part, &payload);
        // Before anybody can write it, so before its segment can be complete and seem unused.
        let pin = Arc::new(self.pins.pin(part.segment));
        let (epoch, is_full) = (queue.epoch, queue.is_full());
        drop(queue);
        if is_full {
            self.bell.ring();
        }
        Ok((part, Fresh::new(epoch, Some(pin))))
    }

    /// Ready when there is room for one more chunk.
    pub(crate) fn poll_room(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let polled = self.queue().poll_room(context);
        if polled.is_pending() {
            self.bell.ring();
        }
        polled
    }

    /// Waits on this thread until everything queued by now is on disk, buffered commits as well.
    pub(crate) fn settle(self: &Arc<Self>) -> Result<(), Error> {
        let round = {
            let mut queue = self.queue();
            queue.check_open()?;
            queue.join(true)
        };
        let lead: Arc<dyn Lead> = Arc::<Self>::clone(self);
        Ticket::new(round, lead).wait()
    }

    /// From now on everybody looks at these runs; the oldest `flushed` of the frozen rows are in
    /// them.
    pub(crate) fn install(&self, version: Version, flushed: usize) {
        let mut rows = locked(&self.rows);
        rows.rebase(version, flushed);
        self.note_backlog(rows.base.frozen.len());
    }

    /// Freezes the acknowledged rows in memory; false: there are none.
    pub(crate) fn freeze(&self) -> bool {
        self.with_journal(|journal| self.freeze_at(journal, &mut locked(&self.rows)))
    }

    fn freeze_at(&self, journal: &Journal, rows: &mut State) -> bool {
        *locked(&self.frozen_at) = journal.place();
        if rows.mem.is_empty() {
            return false;
        }
        rows.freeze(journal.place(), journal.life);
        self.note_backlog(rows.base.frozen.len());
        self.flush_bell.ring();
        true
    }

    /// Whether the rows in memory are to be written to disk.
    fn must_freeze(&self, journal: &Journal, rows: &State) -> bool {
        let (at, place) = (*locked(&self.frozen_at), journal.place());
        let segments = place.segment.saturating_sub(at.segment);
        let grown = (segments * self.limits.segment_bytes + place.offset).saturating_sub(at.offset);
        rows.mem.bytes() >= self.limits.mem_bytes || grown >= self.limits.unflushed_bytes
    }

    fn note_backlog(&self, frozen: usize) {
        let mut backlog = locked(&self.backlog);
        backlog.frozen = frozen;
        backlog.failed = None;
        drop(backlog);
        self.relieved.notify_all();
    }

    fn note_synced(&self, place: Place) {
        self.unsynced.store(false, Ordering::Relaxed);
        let mut backlog = locked(&self.backlog);
        backlog.synced = place;
        let is_waited_for = backlog.frozen > 0;
        drop(backlog);
        if is_waited_for {
            self.relieved.notify_all();
        }
    }

    /// Says whether there is a thread that writes rows to disk.
    pub(crate) fn set_worked_at(&self, worked_at: bool) {
        locked(&self.backlog).worked_at = worked_at;
        self.relieved.notify_all();
    }

    /// Writing rows to disk failed for now.
    pub(crate) fn set_backlog_failed(&self, error: Error) {
        locked(&self.backlog).failed = Some(error);
        self.relieved.notify_all();
    }

    /// Waits until everything before a place of the journal, where a group ended, is on disk.
    ///
    /// What is queued is not written for it: on a full disk that fails, and what was written before
    /// can be synced all the same.
    pub(crate) fn await_synced(&self, place: Place) -> Result<(), Error> {
        loop {
            self.check_alive()?;
            {
                let mut backlog = locked(&self.backlog);
                if backlog.synced >= place {
                    return Ok(());
                }
                // Before we look whether it is free: who holds it then sees this.
                backlog.wants_journal = true;
            }
            match self.journal.try_lock() {
                Ok(mut journal) => {
                    self.counters.syncs.fetch_add(1, Ordering::Relaxed);
                    match journal.sync() {
                        Ok(()) => self.note_synced(journal.place()),
                        Err(failure) => self.fail(&mut journal, None, failure),
                    }
                    drop(journal);
                    self.hand_over();
                }
                Err(TryLockError::Poisoned(poisoned)) => {
                    drop(poisoned);
                    self.die_unwritten();
                }
                // Not waited for by its lock: who holds it may wait for us, and has synced then.
                Err(TryLockError::WouldBlock) => {
                    let backlog = locked(&self.backlog);
                    if backlog.wants_journal && backlog.synced < place && !backlog.dead {
                        drop(self.relieved.wait(backlog));
                    }
                }
            }
        }
    }

    /// Waits until no more than `frozen` row sets wait to be written to disk, or they cannot be for
    /// now.
    pub(crate) fn await_flushed(&self, frozen: usize) -> Result<(), Error> {
        self.flush_bell.ring();
        let mut backlog = locked(&self.backlog);
        while backlog.frozen > frozen && backlog.worked_at && !backlog.dead {
            if let Some(error) = &backlog.failed {
                return Err(error.clone());
            }
            backlog = self.relieved.wait(backlog).unwrap_or_else(PoisonError::into_inner);
        }
        drop(backlog);
        self.check_alive()
    }

    /// Makes commits wait while too many rows wait in memory to be written to disk.
    fn await_backlog(&self, journal: &mut Journal) -> Result<(), Failure> {
        let is_too_long =
            |backlog: &Backlog| backlog.worked_at && backlog.frozen > self.limits.frozen_max;
        if !is_too_long(&locked(&self.backlog)) {
            return Ok(());
        }
        // Whoever writes them waits for this, and we hold what he would need to do it.
        journal.sync()?;
        self.note_synced(journal.place());
        let mut backlog = locked(&self.backlog);
        while is_too_long(&backlog) && !backlog.dead {
            if let Some(error) = &backlog.failed {
                return Err(Failure::Full(error.clone()));
            }
            backlog = self.relieved.wait(backlog).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Writes one group. `None`: there is none, or somebody else is writing.
    pub(crate) fn lead_once(&self) -> Option<()> {
        match self.journal.try_lock() {
            Ok(journal) => self.lead_with(journal),
            Err(TryLockError::Poisoned(poisoned)) => {
                drop(poisoned);
                self.die_unwritten();
                None
            }
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whoever panicked left the file in a state that nobody knows.
    fn die_unwritten(&self) {
        self.die(Error::Internal { what: "a thread panicked while it wrote the journal" });
    }

    fn lead_with(&self, mut journal: MutexGuard<'_, Journal>) -> Option<()> {
        let taken = self.take_group();
        if let Some((group, waiting)) = &taken {
            waiting.iter().for_each(Waker::wake_by_ref);
            self.write(&mut journal, group);
        }
        drop(journal);
        // Even if there was nothing: what came since was left to us.
        self.hand_over();
        taken.map(drop)
    }

    /// The oldest group, and those who wait for the room that it took.
    fn take_group(&self) -> Option<(Group, Vec<Waker>)> {
        let mut newest = locked(&self.newest);
        let mut queue = self.queue();
        let group = queue.take()?;
        if !newest.open.is_empty() {
            let open = std::mem::take(&mut newest.open);
            let sequence = newest.sequence;
            newest.flying.push((sequence, open));
        }
        Some((group, queue.take_waiting()))
    }

    fn write(&self, journal: &mut Journal, group: &Group) {
        let result = self.await_backlog(journal).and_then(|()| {
            if !group.records.is_empty() || group.ends {
                journal.write(group.place, &group.records, group.ends, group.sync)
            } else if group.sync {
                journal.sync()
            } else {
                Ok(())
            }
        });
        if group.sync {
            self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        }
        match result {
            Ok(()) => self.publish(journal, group),
            Err(failure) => self.fail(journal, Some(group), failure),
        }
    }

    /// Lets others at the journal, which is free again: first of all who writes what has been
    /// queued meanwhile.
    fn hand_over(&self) {
        let round = self.queue().next_round();
        if let Some(round) = round
            && !round.call_leader()
        {
            self.bell.ring();
        }
        if self.room.is_wanted() {
            self.ahead_bell.ring();
        }
        if std::mem::take(&mut locked(&self.backlog).wants_journal) {
            self.relieved.notify_all();
        }
    }

    /// Changes the rows, and answers.
    fn publish(&self, journal: &Journal, group: &Group) {
        if group.transactions > 0 {
            let sequence = {
                let mut rows = locked(&self.rows);
                for record in group.records.iter().filter(|r| r.kind == Kind::Transaction) {
                    let mut operations = record.payload.as_slice();
                    let applied =
                        row::take_varint(&mut operations).and_then(|_| rows.apply(operations).ok());
                    debug_assert!(applied.is_some(), "a transaction wrote what it cannot read");
                    rows.sequence = record.sequence;
                }
                if self.must_freeze(journal, &rows) {
                    self.freeze_at(journal, &mut rows);
                }
                rows.sequence
            };
            let landed = {
                let mut newest = locked(&self.newest);
                let (landed, flying): (Vec<_>, Vec<_>) =
                    std::mem::take(&mut newest.flying).into_iter().partition(|f| f.0 <= sequence);
                newest.flying = flying;
                landed
            };
            // Freed when nobody waits for the lock.
            drop(landed);
            self.counters.commits.fetch_add(group.transactions, Ordering::Relaxed);
        }
        if journal.is_synced() {
            self.note_synced(journal.place());
        } else if !self.unsynced.swap(true, Ordering::Relaxed) {
            // The committer syncs it when its time has come.
            self.bell.ring();
        }
        self.unwritten.remove(&group.parts);
        self.watches.tell(&group.records);
        group.round.answer(Ok(()));
    }

    /// Gives up what was not acknowledged.
    fn fail(&self, journal: &mut Journal, failed: Option<&Group>, failure: Failure) {
        let (error, dead) = match failure {
            Failure::Full(error) => (error, false),
            Failure::Fatal(reason) => (Error::Poisoned { reason: Arc::new(reason) }, true),
        };
        let dead = journal.begin_life().is_err() || dead;
        let reason = dead.then(|| error.clone());
        let parts = failed.map_or(&[][..], |group| &group.parts);
        let rounds = self.give_up(journal.place(), journal.life, parts, reason);
        for round in failed.map(|group| &group.round).into_iter().chain(&rounds) {
            round.answer(Err(error.clone()));
        }
    }

    fn give_up(
        &self,
        place: Place,
        life: u64,
        failed: &[Part],
        dead: Option<Error>,
    ) -> Vec<Arc<Round>> {
        // While this lock is held no transaction runs, so none builds on the ones given up.
        let mut newest = locked(&self.newest);
        let mut queue = self.queue();
        let is_dead = dead.is_some();
        let groups = queue.give_up(place, life, dead);
        // Before their places are given out again.
        groups.iter().for_each(|group| self.unwritten.remove(&group.parts));
        self.unwritten.remove(failed);
        let waiting = queue.take_waiting();
        let sequence = self.sequence();
        *newest = Newest { sequence, open: Mem::default(), flying: Vec::new() };
        if !is_dead {
            queue.push_life(sequence);
        }
        drop(queue);
        drop(newest);
        locked(&self.backlog).dead |= is_dead;
        self.relieved.notify_all();
        waiting.into_iter().for_each(Waker::wake);
        groups.into_iter().map(|group| group.round).collect()
    }

    /// Takes nothing more: something failed that nobody knows the extent of.
    pub(crate) fn die(&self, reason: Error) {
        let error = Error::Poisoned { reason: Arc::new(reason) };
        let place = self.queue().cursor();
        for round in self.give_up(place, 0, &[], Some(error.clone())) {
            round.answer(Err(error.clone()));
        }
    }

    /// Takes nothing more, writes what is queued, and marks the end of the journal as known good.
    pub(crate) fn close(&self) {
        {
            let mut queue = self.queue();
            queue.close();
            if queue.check_alive().is_ok() {
                // What nobody waits for goes out as well: first of all that this life began.
                queue.join(true);
            }
        }
        // Whoever writes now is waited for: he would call one who sleeps or ring for the committer,
        // and who is about to sleep hears neither.
        loop {
            let led = match self.journal.lock() {
                Ok(journal) => self.lead_with(journal),
                Err(poisoned) => {
                    drop(poisoned);
                    self.die_unwritten();
                    None
                }
            };
            if led.is_none() {
                break;
            }
        }
        let sequence = self.sequence();
        if self.check_alive().is_ok()
            && let Ok(mut journal) = self.journal.lock()
        {
            // Nothing acknowledged depends on the closing mark; without it the next open checks
            // more.
            drop(journal.close(sequence));
        }
    }
}

impl Lead for Commits {
    fn lead(&self) -> bool {
        self.lead_once().is_some()
    }

    fn ring(&self) {
        self.bell.ring();
    }
}
