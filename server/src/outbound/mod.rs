//! Sends what waits for other servers: one loop that owns the queue, attempts and settlements as
//! tasks of their own.
//!
//! ```text
//!   rows ─▶ queue ─▶ batch ─▶ attempt: route, connect, converse ─▶ report ─▶ queue: what follows
//!    ▲        ▲                                                                │
//!    │      orders (submitted, changes of an admin), time                      ▼
//!    └─────────────────────────────────────────── settlement: ONE transaction ─┘
//! ```
//! Invariants: rows say what is left to do, the queue when; whoever is killed on the way repeats an
//! attempt at most, and loses nothing. When [`run`] returns no task of it is alive.
//! Not here: when what is tried (`grace_queue`), the dialogue (`grace_smtp::sender`), where to
//! (`route`).

mod attempt;
mod calls;
mod connection;
mod idle;
mod notify;
mod orders;
mod probe;
mod rows;
mod security;
mod settle;
#[cfg(test)]
mod tests;
mod watched;

use std::collections::HashMap;
use std::future::pending;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{sleep, timeout};

use grace_queue::admin::Which;
use grace_queue::queue::{Batch, BatchId, Lapse, Outcome, Queue};
use grace_queue::time::Time;

use self::attempt::{Fate, Report};
use self::idle::Idle;
use crate::outgoing::{Order, new_number};
use crate::services::Services;
use crate::store::failure::Failure;
use crate::telemetry::stop::Stop;

/// Sends until told to stop, then waits for the answers to messages that are sent to their end, as
/// long as a stop may take.
///
/// # Errors
/// The database failed, or a part of this did: nothing is sent any more, and nothing is lost.
pub async fn run(
    services: Services,
    orders: mpsc::Receiver<Order>,
    stop: Stop,
) -> Result<(), String> {
    let mut runner = Runner::open(services, orders)?;
    let ended = runner.work(&stop).await;
    runner.close().await;
    ended
}

/// What was written down, and the attempt whose place it frees.
type Settled = (Option<BatchId>, Result<Vec<u64>, Failure>);

struct Runner {
    services: Services,
    orders: mpsc::Receiver<Order>,
    queue: Queue,
    attempts: JoinSet<Report>,
    /// Which batch a task tries.
    batches: HashMap<Id, Batch>,
    settlements: JoinSet<Settled>,
    /// Recipients that an admin gave up while they were tried, and whether their sender is told: it
    /// is done when the attempt ends.
    doomed: HashMap<(u64, u32), bool>,
    /// Deliveries that an admin wants to see tried.
    tests: JoinSet<()>,
    idle: Idle,
}

impl Runner {
    fn open(services: Services, orders: mpsc::Receiver<Order>) -> Result<Self, String> {
        let settings = services.outgoing.settings().clone();
        let mut queue = Queue::new(settings, new_number())
            .map_err(|e| format!("the settings in [queue]: {e}"))?;
        rows::load(&services, &mut queue, now());
        let keep = Duration::from_secs(services.config.queue.idle_s);
        Ok(Self {
            services,
            orders,
            queue,
            attempts: JoinSet::new(),
            batches: HashMap::new(),
            settlements: JoinSet::new(),
            doomed: HashMap::new(),
            tests: JoinSet::new(),
            idle: Idle::new(keep),
        })
    }

    /// Does what there is to do, and waits for more.
    async fn work(&mut self, stop: &Stop) -> Result<(), String> {
        loop {
            self.start();
            self.lapse();
            self.services.outgoing.set_waiting(self.queue.len() as u64);
            let wake = self.wake_in();
            tokio::select! {
                () = stop.wait() => return Ok(()),
                Some(order) = self.orders.recv() => self.order(order).await?,
                Some(ended) = self.attempts.join_next_with_id() => self.ended(ended)?,
                Some(settled) = self.settlements.join_next() => self.settled(settled).await?,
                // Who asked for it has its answer.
                Some(_) = self.tests.join_next() => {}
                () = sleep_at_most(wake) => self.idle.tidy(),
            }
        }
    }

    /// Begins every attempt that is due and allowed.
    fn start(&mut self) {
        while let Some(batch) = self.queue.next(now()) {
            let idle = batch.may_reuse.then(|| self.idle.take(&batch.destination)).flatten();
            let attempt = attempt::run(self.services.clone(), batch.clone(), idle);
            let task = self.attempts.spawn(attempt);
            self.batches.insert(task.id(), batch);
        }
    }

    /// Sees to what time did to mail that nobody tried.
    fn lapse(&mut self) {
        while let Some(lapse) = self.queue.lapsed(now()) {
            let services = self.services.clone();
            match lapse {
                Lapse::Late { message, recipients, until, notice_at, .. } => {
                    let late = settle::Late { message, recipients, until, notice_at };
                    self.settlements.spawn(async { (None, settle::late(services, late).await) });
                }
                Lapse::Expired { message, recipients, .. } => {
                    let expired = settle::expired(services, message, recipients);
                    self.settlements.spawn(async { (None, expired.await) });
                }
            }
        }
    }

    /// How long nothing happens by itself.
    fn wake_in(&self) -> Option<Duration> {
        let queue = self.queue.wake_at().map(|at| at.since(now()));
        queue.into_iter().chain(self.idle.wake_in()).min()
    }

    /// An attempt ended: the queue says what follows, a settlement writes it.
    fn ended(&mut self, ended: Result<(Id, Report), JoinError>) -> Result<(), String> {
        let (id, report) = match ended {
            Ok((id, report)) => (id, report),
            // A panic is a fault of this program: the mail waits as after any failure.
            Err(error) => (error.id(), Report::broken(&error.to_string())),
        };
        let Some(batch) = self.batches.remove(&id) else {
            return Err("an attempt ended that nobody began".to_owned());
        };
        let Report { fates, gone, behavior, reason, connection, is_stopped } = report;
        if is_stopped {
            // Its rows say what they said before, and the next start reads them.
            return Ok(());
        }
        if let Some(connection) = connection {
            self.idle.keep(&batch.destination, connection);
        }
        let number = |wanted: fn(&Fate) -> bool| -> Vec<u32> {
            fates.iter().filter(|(_, fate)| wanted(fate)).map(|(number, _)| *number).collect()
        };
        let settled: Vec<u32> = number(Fate::is_settled).into_iter().chain(gone).collect();
        let untried: Vec<u32> = number(|fate| matches!(fate, Fate::Untried));
        let outcome =
            Outcome { behavior, settled: &settled, untried: &untried, reason: reason.as_deref() };
        let after = self.queue.finished(now(), batch.id, &outcome);
        let doomed = self.take_doomed(&batch, &settled);
        let id = batch.id;
        let settlement = settle::Settlement { batch, fates, after, doomed };
        let written = settle::attempted(self.services.clone(), settlement);
        self.settlements.spawn(async move { (Some(id), written.await) });
        Ok(())
    }

    /// Those of an attempt whom an admin gave up meanwhile and whom it did not settle.
    fn take_doomed(&mut self, batch: &Batch, settled: &[u32]) -> HashMap<u32, bool> {
        let mut doomed = HashMap::new();
        for &number in &batch.recipients {
            let Some(is_told) = self.doomed.remove(&(batch.message, number)) else { continue };
            if !settled.contains(&number) {
                self.queue.remove(now(), Which::Recipient(batch.message, number));
                doomed.insert(number, is_told);
            }
        }
        doomed
    }

    /// A settlement is on disk; there may be notifications to send.
    async fn settled(&mut self, settled: Result<Settled, JoinError>) -> Result<(), String> {
        match settled {
            Ok((batch, Ok(notifications))) => {
                if let Some(id) = batch {
                    self.queue.written(now(), id);
                }
                for message in notifications {
                    rows::submitted(&self.services, &mut self.queue, now(), message)?;
                }
                Ok(())
            }
            // What was delivered stands in the rows still: nobody may go on as if it did not.
            Ok((_, Err(failure))) => Err(format!("a delivery cannot be written down: {failure}")),
            Err(error) => Err(format!("writing down a delivery: {error}")),
        }
    }

    /// Waits for attempts that wait for the answer to a whole message, the others end by
    /// themselves; and ends what takes too long.
    async fn close(mut self) {
        self.tests.shutdown().await;
        let patience = Duration::from_secs(self.services.config.limits.shutdown_s);
        let work = async {
            while let Some(ended) = self.attempts.join_next_with_id().await {
                if self.ended(ended).is_err() {
                    break;
                }
            }
            while self.settlements.join_next().await.is_some() {}
        };
        let in_time = timeout(patience, work).await;
        drop(in_time);
        self.attempts.shutdown().await;
        // What is being written down is written.
        while self.settlements.join_next().await.is_some() {}
    }
}

async fn sleep_at_most(wake: Option<Duration>) {
    match wake {
        Some(wake) => sleep(wake).await,
        None => pending().await,
    }
}

/// The moment, as the queue counts.
fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
