//! The threads of an open database.
//!
//! ```text
//!   gracedb-commit   writes the groups of those who await, syncs buffered commits in time
//!   gracedb-ahead    makes room ahead of the journal
//!   gracedb-flush    rows in memory ─▶ level 0
//!   gracedb-tidy     merges runs, cleans segments, forgets restore points
//! ```
//! A full disk is tried again from time to time; any other failure ends writing for good.
//! Invariants: each thread is joined before the files are given up; without threads the same work
//! is done by [`Stepper`], in an order that a test decides.
//! Not here: the work itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::commit::{Bell, Woken};
use crate::error::Error;
use crate::local::Local;
use crate::sync::{Mutex, locked, thread};
use crate::{clean, compact, flush};

/// How long to wait before a full disk is tried again, in milliseconds.
const RETRY_MS: u64 = 500;
/// How often to look for what has grown too old, in milliseconds.
const LOOK_MS: u64 = 60_000;

/// The threads, while they run.
#[derive(Default)]
pub(crate) struct Workers {
    threads: Mutex<Vec<(Role, thread::JoinHandle<()>)>>,
    running: AtomicBool,
    /// Held while the database is being closed: who closes it as well waits for that.
    closing: Mutex<()>,
    pub(crate) tidy_bell: Bell,
    /// Held while something is tidied up, by the thread or by who asked for it.
    pub(crate) tidying: Mutex<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Commit,
    Ahead,
    Flush,
    Tidy,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Commit => "gracedb-commit",
            Self::Ahead => "gracedb-ahead",
            Self::Flush => "gracedb-flush",
            Self::Tidy => "gracedb-tidy",
        }
    }

    fn run(self, local: &Local) {
        match self {
            Self::Commit => commit(local),
            Self::Ahead => ahead(local),
            Self::Flush => flush(local),
            Self::Tidy => tidy(local),
        }
    }
}

impl Workers {
    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }
}

/// Starts the threads.
pub(crate) fn start(local: &Arc<Local>) -> Result<(), Error> {
    local.commits.set_worked_at(true);
    local.workers.running.store(true, Ordering::Relaxed);
    for role in [Role::Commit, Role::Ahead, Role::Flush, Role::Tidy] {
        let shared = Arc::clone(local);
        let spawned = thread::Builder::new().name(role.name().to_owned()).spawn(move || {
            role.run(&shared);
        });
        match spawned {
            Ok(handle) => locked(&local.workers.threads).push((role, handle)),
            Err(error) => {
                close(local);
                return Err(Error::io("start a thread", role.name(), error));
            }
        }
    }
    // There may be something left from the last time.
    local.commits.flush_bell.ring();
    local.workers.tidy_bell.ring();
    Ok(())
}

/// Writes what is on its way, ends and joins the threads, and gives the folder free.
pub(crate) fn close(local: &Local) {
    let workers = &local.workers;
    let _closing = locked(&workers.closing);
    let mut threads = std::mem::take(&mut *locked(&workers.threads));
    // First those who need commits to go on until they have ended.
    local.pace.stop();
    local.commits.set_worked_at(false);
    let commits = &local.commits;
    for bell in [&commits.ahead_bell, &commits.flush_bell, &workers.tidy_bell] {
        bell.stop();
    }
    join(&mut threads, |role| role != Role::Commit);
    local.commits.queue().close();
    local.commits.bell.stop();
    join(&mut threads, |_| true);
    local.commits.close();
    local.commits.watches.close();
    local.unlock();
}

fn join(threads: &mut Vec<(Role, thread::JoinHandle<()>)>, which: impl Fn(Role) -> bool) {
    let mut others = Vec::new();
    for (role, handle) in threads.drain(..) {
        if which(role) {
            // A panic of a thread has been told to every caller already.
            drop(handle.join());
        } else {
            others.push((role, handle));
        }
    }
    *threads = others;
}

/// Ends writing for good when a thread panics: the state it left is unknown.
struct Guard<'a>(&'a Local);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.commits.die(Error::Internal { what: "a thread of the database panicked" });
        }
    }
}

fn commit(local: &Local) {
    let _guard = Guard(local);
    let commits = &local.commits;
    let patience = Duration::from_millis(local.options.buffered_sync_ms);
    let mut since = None;
    loop {
        // From the first that is not synced on, however often the bell rings meanwhile.
        since = if commits.is_unsynced() { since.or_else(|| Some(Instant::now())) } else { None };
        let left = since.map(|since: Instant| patience.saturating_sub(since.elapsed()));
        let limit = left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        let woken = commits.bell.wait(limit);
        let is_due = since.is_some_and(|since| since.elapsed() >= patience);
        if (woken == Woken::TimedOut || is_due) && commits.is_unsynced() {
            commits.queue().join(true);
            since = None;
        }
        while commits.lead_once().is_some() {}
        if woken == Woken::Stopped {
            return;
        }
    }
}

fn ahead(local: &Local) {
    let _guard = Guard(local);
    let bell = &local.commits.ahead_bell;
    while bell.wait(None) != Woken::Stopped {
        let step = || local.commits.room.step(&local.files, local.options.journal_io);
        while !bell.is_stopped() && step() {}
    }
}

fn flush(local: &Local) {
    let _guard = Guard(local);
    let bell = &local.commits.flush_bell;
    let mut limit = None;
    while bell.wait(limit) != Woken::Stopped {
        limit = None;
        while !bell.is_stopped() {
            match flush::step(local) {
                Ok(true) => local.workers.tidy_bell.ring(),
                Ok(false) => break,
                Err(error) => {
                    if !bear(local, &error) {
                        return;
                    }
                    local.commits.set_backlog_failed(error);
                    limit = Some(RETRY_MS);
                    break;
                }
            }
        }
    }
}

fn tidy(local: &Local) {
    let _guard = Guard(local);
    let bell = &local.workers.tidy_bell;
    let mut limit = LOOK_MS;
    while bell.wait(Some(limit)) != Woken::Stopped {
        limit = LOOK_MS;
        while !bell.is_stopped() {
            match tidy_once(local) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    if !bear(local, &error) {
                        return;
                    }
                    limit = if error.is_no_space() { RETRY_MS } else { LOOK_MS };
                    break;
                }
            }
        }
    }
}

fn tidy_once(local: &Local) -> Result<bool, Error> {
    let _tidying = locked(&local.workers.tidying);
    Ok(compact::step(local)? || clean::step(local)?)
}

/// Tidies up on this thread until there is nothing to do.
pub(crate) fn finish_tidying(local: &Local) -> Result<(), Error> {
    while tidy_once(local)? {}
    Ok(())
}

/// Whether the work that failed may be tried again.
fn bear(local: &Local, error: &Error) -> bool {
    match error {
        error if error.is_no_space() => true,
        Error::Closed | Error::Poisoned { .. } => false,
        // Damage that is met while merging is told of and hurts nobody who does not read it.
        Error::Corrupt { .. }
        | Error::Unknown { .. }
        | Error::TooLarge { .. }
        | Error::Io { doing: "read" | "open", .. } => {
            local.note_damage(error);
            true
        }
        error => {
            local.commits.die(error.clone());
            false
        }
    }
}

/// Does the work of the threads of a database that has none, when a test says so. Dropped, it is a
/// crash: what was not stepped is not written.
pub struct Stepper {
    local: Arc<Local>,
}

impl Stepper {
    pub(crate) fn new(local: Arc<Local>) -> Self {
        Self { local }
    }

    /// Writes, syncs and answers everything queued now, group by group.
    pub fn commit(&self) {
        while self.local.commits.lead_once().is_some() {}
    }

    /// Syncs buffered commits.
    pub fn sync(&self) {
        self.local.commits.queue().join(true);
        self.commit();
    }

    /// Makes room ahead of the journal; false: there is nothing to do.
    pub fn ahead(&self) -> bool {
        self.local.commits.room.step(&self.local.files, self.local.options.journal_io)
    }

    /// Freezes the rows in memory, as if they were too many.
    pub fn freeze(&self) {
        self.local.commits.freeze();
    }

    /// Writes frozen rows to disk; false: there are none.
    ///
    /// # Errors
    /// The disk failed. What a thread would do then is done.
    pub fn flush(&self) -> Result<bool, Error> {
        self.borne(flush::step(&self.local))
    }

    /// Merges runs once; false: all is well.
    ///
    /// # Errors
    /// As [`Stepper::flush`].
    pub fn compact(&self) -> Result<bool, Error> {
        self.borne(compact::step(&self.local))
    }

    /// Does one piece of cleaning; false: there is none.
    ///
    /// # Errors
    /// As [`Stepper::flush`].
    pub fn clean(&self) -> Result<bool, Error> {
        self.borne(clean::step(&self.local))
    }

    fn borne(&self, result: Result<bool, Error>) -> Result<bool, Error> {
        if let Err(error) = &result {
            bear(&self.local, error);
        }
        result
    }

    /// Closes in good order.
    pub fn finish(self) {
        close(&self.local);
    }
}
