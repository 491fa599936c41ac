//! Long work on the database: checks, copies, tidying up, other keys.
//!
//! ```text
//!   session ──request──▶ desk: is another one going on? ──▶ a thread of its own
//!      ▲                                                     │ how far it is: the newest word only
//!      └────── parts of progress, at most five a second ◀────┘ cancelled? stopping? then it ends
//! ```
//! Invariants: one work at a time; it ends soon after its connection, and after the daemon's word
//! to stop; the thread waits for no admin program.
//! Not here: who may ask (`grace_ipc`), the work itself (`gracedb`).

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};

use gracedb::db::Db;
use gracedb::disk::Disk;
use gracedb::disk::real::RealDisk;
use gracedb::error::Error;
use gracedb::progress::Progress;

use grace_ipc::database::{DbKeyChanged, DbMoment, DbProgress, PROBLEMS_PER_PART_MAX};
use grace_ipc::message::{Answer, Code, Failure, ROWS_PER_PART_MAX, RequestBody, Rows};

use super::desk::Outcome;
use crate::config::Config;
use crate::services::Services;
use crate::store::{key, report, target};
use crate::telemetry::stop::Stop;

/// Parts that may wait for the session; then the work waits.
const PARTS_MAX: usize = 16;

/// One long work, as its session and whoever does it see it.
#[derive(Debug, Clone)]
pub(super) struct Job {
    cancelled: Stop,
    progress: Arc<watch::Sender<DbProgress>>,
    parts: mpsc::Sender<Rows>,
}

impl Job {
    /// One, and where what it tells comes out.
    pub(super) fn new() -> (Self, mpsc::Receiver<Rows>) {
        let progress = Arc::new(watch::Sender::new(DbProgress::default()));
        let (parts, told) = mpsc::channel(PARTS_MAX);
        (Self { cancelled: Stop::default(), progress, parts }, told)
    }

    /// The work is to end soon.
    pub(super) fn cancel(&self) {
        self.cancelled.say();
    }

    /// Waits until it is to end soon.
    pub(super) async fn cancelled(&self) {
        self.cancelled.wait().await;
    }

    /// Tells a part of what is found, while the work goes on.
    pub(super) async fn part(&self, rows: Rows) {
        // Who listened may be gone; then the work is cancelled.
        drop(self.parts.send(rows).await);
    }

    /// How far it is, from now on.
    pub(super) fn progress(&self) -> watch::Receiver<DbProgress> {
        self.progress.subscribe()
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.is_said()
    }

    /// How far it is.
    pub(super) fn tell(&self, progress: DbProgress) {
        self.progress.send_replace(progress);
    }
}

/// What goes on, in words.
type Going = Option<String>;

/// Sees to it that one work goes on at a time. Cloning gives another handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Turn(Arc<Mutex<Going>>);

/// The right to work, until dropped. Session and thread share it: a session may end while its
/// thread still works, and has the answer to give when that has ended.
#[derive(Debug)]
pub(super) struct Working(Turn);

impl Working {
    /// Does the work on a thread of its own, and ends the turn with it.
    async fn on_thread<T: Send + 'static>(
        self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let shared = Arc::new(self);
        let of_thread = Arc::clone(&shared);
        let thread = tokio::task::spawn_blocking(move || {
            let _working = of_thread;
            work()
        });
        let done = thread.await;
        drop(shared);
        done.unwrap_or_else(|e| Err(Failure::new(Code::Internal, e.to_string())))
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        *self.0.going() = None;
    }
}

impl Turn {
    fn going(&self) -> MutexGuard<'_, Going> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the turn for work that is described like this.
    pub(super) fn take(&self, what: String) -> Result<Working, Failure> {
        let mut going = self.going();
        if let Some(other) = &*going {
            let text = format!(
                "other long work on the database goes on: {other}; wait for its end, or cancel it"
            );
            return Err(Failure::new(Code::Busy, text));
        }
        *going = Some(what);
        Ok(Working(self.clone()))
    }
}

/// Ends the work when nobody waits for it any more.
struct Cancelling(Job);

impl Drop for Cancelling {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Does long work on a thread of its own.
pub(super) async fn work(
    services: &Services,
    turn: &Turn,
    body: RequestBody,
    by: &str,
    job: Job,
) -> Result<Outcome, Failure> {
    let work = body.rule().name;
    let working = turn.take(format!("{work}, asked for by {by}"))?;
    tracing::info!(target: "grace", event = "DatabaseWorkBegan", work, by);
    let _cancelling = Cancelling(job.clone());
    let stop = services.porter.stop.clone();
    let (db, config) = (services.db.clone(), Arc::clone(&services.config));
    let done = working.on_thread(move || Thread { db, config, job, stop }.run(body)).await;
    let outcome = done.as_ref().err().map_or("done", |failure| failure.text.as_str());
    tracing::info!(target: "grace", event = "DatabaseWorkEnded", work, by, outcome);
    done
}

/// Figures of the database; they take a look at every file.
pub(super) async fn stats(services: &Services) -> Result<Outcome, Failure> {
    let (db, config) = (services.db.clone(), Arc::clone(&services.config));
    let looked = tokio::task::spawn_blocking(move || {
        let found = db.inventory().and_then(|found| Ok((found, db.stats()?)));
        let (found, stats) = found.map_err(|e| Failure::new(Code::Internal, report::error(&e)))?;
        let folder = config.data.join(crate::store::open::FOLDER).display().to_string();
        let open = Some((&stats, config.store.restore_hours * 3_600));
        let mut rows = report::segments(&found);
        let mut parts = Vec::new();
        while !rows.is_empty() {
            let rest = rows.split_off(rows.len().min(ROWS_PER_PART_MAX));
            parts.push(Rows::DbSegments(std::mem::replace(&mut rows, rest)));
        }
        let answer = Answer::DbStats(Box::new(report::stats(folder, &found, open)));
        Ok(Outcome::Parts(parts, answer))
    });
    looked.await.unwrap_or_else(|e| Err(Failure::new(Code::Internal, e.to_string())))
}

/// What the thread has.
struct Thread {
    db: Db,
    config: Arc<Config>,
    job: Job,
    stop: Stop,
}

impl Thread {
    fn run(&self, body: RequestBody) -> Result<Outcome, Failure> {
        match body {
            RequestBody::DbVerify => self.verify(),
            RequestBody::DbBackup { to } => self.copy(&to, None),
            RequestBody::DbRestore { to, moment } => self.copy(&to, Some(moment)),
            RequestBody::DbCompact => {
                let compacted = report::compact(&self.db, &mut |progress| self.goes_on(progress));
                Ok(Outcome::Answer(Answer::DbCompacted(compacted.map_err(|e| self.failed(&e))?)))
            }
            RequestBody::DbChangeKey { new_key_file } => self.change_key(new_key_file),
            other => {
                let text = format!("{} is no long work", other.rule().name);
                Err(Failure::new(Code::Unsupported, text))
            }
        }
    }

    fn goes_on(&self, progress: Progress) -> bool {
        self.job.tell(report::progress(progress));
        !self.job.is_cancelled() && !self.stop.is_said()
    }

    fn verify(&self) -> Result<Outcome, Failure> {
        let report = self.db.verify(&mut |progress| self.goes_on(progress));
        let report = report.map_err(|e| self.failed(&e))?;
        let parts = report.problems.chunks(PROBLEMS_PER_PART_MAX);
        let parts = parts.map(|part| Rows::DbProblems(part.iter().map(report::problem).collect()));
        Ok(Outcome::Parts(parts.collect(), Answer::DbVerified(report::verified(&report))))
    }

    /// Backs up, or copies the database as it was at a moment.
    fn copy(&self, to: &str, moment: Option<DbMoment>) -> Result<Outcome, Failure> {
        let folder = target::check(Path::new(to), &self.config.data)
            .map_err(|text| Failure::new(Code::Invalid, text))?;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(&folder));
        let watcher: &mut dyn FnMut(Progress) -> bool = &mut |progress| self.goes_on(progress);
        let copied = match moment {
            None => self.db.backup(&disk, watcher),
            Some(moment) => self.db.restore_to(report::moment(moment), &disk, watcher),
        };
        let name = folder.display().to_string();
        let copied = copied.map_err(|e| {
            let Failure { code, text } = self.failed(&e);
            // Files are called the same here and there.
            let text =
                if text.contains(&name) { text } else { format!("copying to {name}: {text}") };
            Failure { code, text }
        })?;
        Ok(Outcome::Answer(Answer::DbCopied(report::copied(name, &copied))))
    }

    fn change_key(&self, new_key_file: bool) -> Result<Outcome, Failure> {
        let file = self.config.store.key_file(&self.config.data).ok_or_else(|| {
            let text = "the database is not encrypted: store.key says \"none\"; set a file and \
                        start graced again, and what is written from then on is encrypted";
            Failure::new(Code::Unsupported, text)
        })?;
        let watcher: &mut dyn FnMut(Progress) -> bool = &mut |progress| self.goes_on(progress);
        let changed = if new_key_file {
            let replaced = key::replace(&self.db, &file, watcher).map_err(|e| {
                let Failure { code, text } = self.failed(&e);
                let waits = key::waits(&file).map(|waits| format!("{text}; {waits}"));
                Failure { code, text: waits.unwrap_or(text) }
            });
            replaced.map(|replaced| DbKeyChanged {
                key_file: Some(file.display().to_string()),
                earlier_key_file: Some(replaced.earlier.display().to_string()),
            })
        } else {
            let changed = self.db.change_key(None, watcher).map_err(|e| self.failed(&e));
            changed.map(|()| DbKeyChanged::default())
        };
        Ok(Outcome::Answer(Answer::DbKeyChanged(changed?)))
    }

    /// The database's no in the protocol's words.
    fn failed(&self, error: &Error) -> Failure {
        let code = match error {
            Error::Stopped if self.stop.is_said() => {
                return Failure::new(Code::Stopping, "the server is stopping");
            }
            Error::Stopped => return Failure::new(Code::Cancelled, "it was cancelled"),
            Error::Closed => Code::Stopping,
            Error::NotEmpty { .. } => Code::NotEmpty,
            Error::NotRestorable { .. } => Code::NotFound,
            Error::Locked { .. } => Code::Busy,
            Error::Settings { .. } => Code::Unsupported,
            _ => Code::Internal,
        };
        Failure::new(code, report::error(error))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn the_turn_ends_with_the_thread_and_not_with_its_session() {
        let turn = Turn::default();
        let working = turn.take("a copy".to_owned()).unwrap();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (end, may_end) = mpsc::channel::<()>();
        let (ended, has_ended) = tokio::sync::oneshot::channel();
        let session = tokio::spawn(working.on_thread(move || {
            begun.send(()).unwrap();
            // Ends when the other side is dropped.
            assert!(may_end.recv().is_err());
            Ok(Told(Some(ended)))
        }));
        has_begun.await.unwrap();
        session.abort();
        assert!(session.await.unwrap_err().is_cancelled());
        let busy = turn.take("another".to_owned()).unwrap_err();
        assert!(busy.text.contains("a copy"), "{busy:?}");
        drop(end);
        // The result is dropped after the turn is over.
        has_ended.await.unwrap();
        drop(turn.take("another".to_owned()).unwrap());
    }

    /// Tells when it is dropped.
    #[derive(Debug)]
    struct Told(Option<tokio::sync::oneshot::Sender<()>>);

    impl Drop for Told {
        fn drop(&mut self) {
            if let Some(tell) = self.0.take() {
                tell.send(()).unwrap_or_default();
            }
        }
    }
}
