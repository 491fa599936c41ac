//! One admin connection: drives the session machine of `grace_ipc` with a socket, the bus and the
//! desk.
//!
//! Invariants: one loop owns the connection; a change that was begun is ended, and so told, even if
//! the peer is gone by then, but long work is cancelled when the peer says no more; bytes, requests
//! and events are bounded by the machine.
//! Not here: what is said ([`grace_ipc::session::server`]), what is done ([`super::desk`]).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use grace_ipc::database::DbProgress;
use grace_ipc::message::{Answer, Code, Failure, RequestBody, Rows};
use grace_ipc::session::server::{EVENTS_KEPT_MAX_DEFAULT, Session, Settings, Step};
use grace_ipc::transport::listen::{Peer, Stream};

use super::database::Job;
use super::desk::{Desk, Outcome, SOFTWARE};
use super::{figures, people};
use crate::telemetry::bus::{Batch, Reader, claim};

/// Bytes read at once. A request is smaller, as a rule.
const READ_BYTES: usize = 4 * 1_024;

/// Events taken from the bus at once.
const EVENTS_BATCH_MAX: usize = 256;

/// Least time between two words on how far long work is: nobody reads faster.
const PROGRESS_WAIT: Duration = Duration::from_millis(200);

/// A word comes at least so often, so that a client can tell slow work from a dead daemon.
const PROGRESS_WAIT_MAX: Duration = Duration::from_secs(5);

/// A request that is being worked on.
type Work<'a> = Pin<Box<dyn Future<Output = Result<Outcome, Failure>> + Send + 'a>>;

/// Serves one connection to its end.
pub(super) async fn run(desk: Arc<Desk>, stream: Stream, peer: Peer) {
    let seat = desk.seat();
    let settings = Settings {
        software: SOFTWARE.to_owned(),
        allowed: peer.allowed,
        busy: seat.is_none(),
        events_kept_max: EVENTS_KEPT_MAX_DEFAULT,
    };
    let by = people::user(peer.uid);
    let mut talk = Talk {
        session: Session::new(settings, Instant::now()),
        desk: &desk,
        by: &by,
        reader: None,
        work: None,
        long: None,
        list: None,
        input_ended: false,
    };
    let reason = talk.go(&stream).await;
    talk.cancel();
    // Nobody hears its parts any more.
    talk.long = None;
    let work = talk.work.take();
    // What was begun is ended; nobody waits for the answer any more.
    if let Some((_, work)) = work {
        drop(work.await);
    }
    tracing::info!(target: "grace", event = "AdminSessionClosed", by = by, reason = reason);
}

struct Talk<'a> {
    session: Session,
    desk: &'a Desk,
    by: &'a str,
    reader: Option<Reader>,
    work: Option<(u32, Work<'a>)>,
    long: Option<Long>,
    list: Option<List>,
    input_ended: bool,
}

/// A list on its way out.
struct List {
    id: u32,
    parts: std::vec::IntoIter<Rows>,
    answer: Answer,
}

/// Long work that the peer waits for.
struct Long {
    id: u32,
    job: Job,
    progress: watch::Receiver<DbProgress>,
    parts: mpsc::Receiver<Rows>,
    told_at: Instant,
}

/// Everything that can happen to a connection.
enum Happened {
    Wrote(io::Result<usize>),
    Read(io::Result<usize>),
    Worked(Result<Outcome, Failure>),
    Progress,
    Part(Rows),
    Events(Batch),
    Time,
    Stop,
}

impl Talk<'_> {
    /// Talks until the end, and says why it ended.
    async fn go(&mut self, stream: &Stream) -> String {
        let mut buffer = vec![0; READ_BYTES];
        let mut stopping = false;
        loop {
            if let Some(reason) = self.take_steps() {
                return reason;
            }
            self.list_on();
            let happened = self.wait(stream, &mut buffer, stopping).await;
            let now = Instant::now();
            match happened {
                None => return "the peer has gone".to_owned(),
                Some(Happened::Wrote(Ok(bytes))) => self.session.sent(bytes),
                Some(Happened::Read(Ok(0))) => {
                    self.input_ended = true;
                    // Nobody can be waiting for hours on a connection that cannot say a word.
                    self.cancel();
                }
                Some(Happened::Read(Ok(length))) => {
                    self.session.receive(now, buffer.get(..length).unwrap_or_default());
                }
                Some(Happened::Wrote(Err(e)) | Happened::Read(Err(e))) => return e.to_string(),
                Some(Happened::Worked(outcome)) => self.worked(outcome),
                Some(Happened::Progress) => self.tell_progress(now),
                Some(Happened::Part(rows)) => self.tell_part(now, rows),
                Some(Happened::Events(batch)) => {
                    self.session.add_lost(batch.lost);
                    batch.events.iter().for_each(|event| self.session.offer(event));
                }
                Some(Happened::Time) => {}
                Some(Happened::Stop) => {
                    stopping = true;
                    let failure = Failure::new(Code::Stopping, "the server is stopping");
                    self.session.goodbye(now, failure);
                }
            }
        }
    }

    /// Waits for one thing to happen; `None` if nothing can any more.
    async fn wait(
        &mut self,
        stream: &Stream,
        buffer: &mut [u8],
        stopping: bool,
    ) -> Option<Happened> {
        let may_read = self.session.wants_bytes() && !self.input_ended;
        let deadline = self.session.deadline();
        let wants_events = self.session.wants_events();
        let has_room = self.session.has_room();
        let out = self.session.fill();
        let working = self.work.is_some();
        // Who has said its last word gets the answers it asked for and what is pushed until the
        // first pause: a peer that is gone altogether looks just the same.
        if self.input_ended && !working && out.is_empty() {
            return None;
        }
        let stop = &self.desk.services().porter.stop;
        let (mut reading, mut writing) = (stream, stream);
        Some(tokio::select! {
            wrote = writing.write(out), if !out.is_empty() => Happened::Wrote(wrote),
            read = reading.read(buffer), if may_read => Happened::Read(read),
            outcome = worked(&mut self.work), if working => Happened::Worked(outcome),
            told = told(&mut self.long, has_room) => told,
            batch = news(&mut self.reader), if wants_events => Happened::Events(batch),
            () = until(deadline) => Happened::Time,
            () = stop.wait(), if !stopping => Happened::Stop,
        })
    }

    /// Does what the machine asks for; `Some` is the reason to close.
    fn take_steps(&mut self) -> Option<String> {
        let now = Instant::now();
        while let Some(step) = self.session.poll(now) {
            match step {
                Step::Opened { software, role, .. } => {
                    let software = claim(software.as_bytes());
                    let (by, role) = (self.by, role.to_string());
                    let event = "AdminSessionOpened";
                    tracing::info!(target: "grace", event, by, software, role);
                }
                Step::Ask { id, body } if body.is_long() => self.begin_long(id, body),
                Step::Cancel { .. } => self.cancel(),
                Step::Ask { id, body } => {
                    let (desk, by) = (self.desk, self.by);
                    self.work = Some((id, Box::pin(desk.handle(body, by))));
                }
                Step::BeginEvents { .. } => self.begin_events(&step),
                Step::StatsDue => match figures::stats(self.desk, false) {
                    Ok(stats) => self.session.offer_stats(now, &stats),
                    Err(e) => {
                        let failure = Failure::new(Code::Internal, e.to_string());
                        self.session.goodbye(now, failure);
                    }
                },
                Step::Close { reason } => return Some(reason),
            }
        }
        None
    }

    /// Events of the past from a reader of its own; the one that goes on may be older or newer, and
    /// the machine takes no event twice.
    fn begin_events(&mut self, step: &Step) {
        let mut reader = self.desk.services().porter.bus.reader(usize::MAX);
        let past = reader.take(usize::MAX);
        self.session.begin_events(step, &past.events);
        self.reader.get_or_insert(reader);
    }

    fn begin_long(&mut self, id: u32, body: RequestBody) {
        let (desk, by, (job, parts)) = (self.desk, self.by, Job::new());
        let (progress, told_at) = (job.progress(), Instant::now());
        self.long = Some(Long { id, job: job.clone(), progress, parts, told_at });
        self.work = Some((id, Box::pin(desk.work(body, by, job))));
        if self.input_ended {
            self.cancel();
        }
    }

    fn cancel(&self) {
        if let Some(long) = &self.long {
            long.job.cancel();
        }
    }

    /// A word on how far long work is, unless the peer has not taken the ones before.
    fn tell_progress(&mut self, now: Instant) {
        let Some(long) = &mut self.long else { return };
        long.told_at = now;
        let progress = long.progress.borrow_and_update().clone();
        if self.session.has_room() {
            self.session.part(long.id, Rows::DbProgress(progress));
        }
    }

    fn tell_part(&mut self, now: Instant, rows: Rows) {
        let Some(long) = &mut self.long else { return };
        long.told_at = now;
        self.session.part(long.id, rows);
    }

    fn worked(&mut self, outcome: Result<Outcome, Failure>) {
        let Some((id, _)) = self.work.take() else { return };
        let mut told = Vec::new();
        if let Some(mut long) = self.long.take() {
            told.extend(std::iter::from_fn(|| long.parts.try_recv().ok()));
        }
        let (parts, answer) = match outcome {
            Ok(Outcome::Answer(answer)) if told.is_empty() => {
                return self.session.done(id, answer);
            }
            Ok(Outcome::Answer(answer)) => (told, answer),
            Ok(Outcome::Parts(parts, answer)) => {
                told.extend(parts);
                (told, answer)
            }
            Err(failure) => return self.session.failed(id, failure),
        };
        self.list = Some(List { id, parts: parts.into_iter(), answer });
    }

    /// Writes as much of a list as there is room for.
    fn list_on(&mut self) {
        while self.session.has_room() {
            let Some(list) = &mut self.list else { return };
            match list.parts.next() {
                Some(rows) => self.session.part(list.id, rows),
                None => {
                    let Some(list) = self.list.take() else { return };
                    self.session.done(list.id, list.answer);
                }
            }
        }
    }
}

async fn worked(work: &mut Option<(u32, Work<'_>)>) -> Result<Outcome, Failure> {
    match work {
        Some((_, work)) => work.await,
        None => std::future::pending().await,
    }
}

/// Waits until there is something to tell about long work: what it found, if there is room for
/// that, or how far it is.
async fn told(long: &mut Option<Long>, has_room: bool) -> Happened {
    let Some(long) = long else { return std::future::pending().await };
    let (first, latest) = (long.told_at + PROGRESS_WAIT, long.told_at + PROGRESS_WAIT_MAX);
    let progress = async {
        sleep_until(first.into()).await;
        tokio::select! {
            // The sender lives beside it; the error cannot come.
            changed = long.progress.changed() => drop(changed),
            () = sleep_until(latest.into()) => {}
        }
    };
    tokio::select! {
        Some(rows) = long.parts.recv(), if has_room => Happened::Part(rows),
        () = progress => Happened::Progress,
    }
}

async fn news(reader: &mut Option<Reader>) -> Batch {
    match reader {
        Some(reader) => reader.next(EVENTS_BATCH_MAX).await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
