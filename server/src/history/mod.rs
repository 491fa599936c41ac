//! What is kept of the past: events of connections and messages, and counts by time.
//!
//! ```text
//!   bus ──▶ keep, one task ──┬─▶ events, some dozens a transaction ──▶ trace, trace_page
//!                            │     and what their messages are found by ─▶ traced, trace_word
//!   counters ──▶ every minute└─▶ what came since ──▶ statistic, by the minute and by the hour
//! ```
//! It is written as `Buffered`: a killed daemon loses nothing that was written, a power cut the
//! last second. Old events go page by page, old counts as one range, once an hour.
//! Invariants: nobody waits for this: what does not get written in time falls out of the bus, is
//! counted and told; when [`History::keep`] returns, all that was told before the stop is written.
//! Not here: the tables (`store`), who may look (`admin`).

mod index;
pub mod search;
pub mod statistics;
mod story;
pub mod traces;

use std::sync::Arc;
use std::time::Duration;

use gracedb::db::Db;
use gracedb::engine::Durability;
use gracedb::error::Error as StoreError;
use gracedb::write::WriteTx;
use tokio::time::{Instant, sleep_until, timeout_at};

use grace_ipc::event::{Event, TraceId};

use self::index::Index;
use self::statistics::Tally;
use crate::config::limits::Store;
use crate::telemetry::bus::{Batch, Bus, Reader, now_us};
use crate::telemetry::stop::Stop;

/// Events of one transaction at most: a millisecond of work.
const EVENTS_AT_ONCE: usize = 128;
/// How long an event waits for others to be written with it: nobody looks sooner, and a quiet
/// daemon writes five transactions for a message at most.
const GATHER: Duration = Duration::from_millis(100);
/// How often counts are written, in seconds.
const COUNT_S: u64 = 60;
/// How often old things are looked for, in seconds.
const EXPIRE_S: u64 = 3_600;

const US: u64 = 1_000_000;

/// What is kept of the past. Cloning gives another handle.
#[derive(Clone)]
pub struct History {
    db: Db,
    settings: Settings,
}

/// How long what is kept.
#[derive(Debug, Clone, Copy)]
struct Settings {
    traces_us: u64,
    traces_max: u64,
    minutes_s: u64,
    hours_s: u64,
}

impl History {
    /// The past kept in `db`, as long as the settings say.
    #[must_use]
    pub fn new(db: Db, store: &Store) -> Self {
        let settings = Settings {
            traces_us: store.trace_hours * 3_600 * US,
            traces_max: store.traces_max,
            minutes_s: store.minutes_kept_hours * 3_600,
            hours_s: store.hours_kept_days * 86_400,
        };
        Self { db, settings }
    }

    /// Keeps what the bus tells from its oldest event on, until `stop` is said.
    pub async fn keep(self, bus: Bus, stop: Stop) {
        let now_s = now_us() / US;
        let mut keeper = Keeper {
            reader: bus.reader(usize::MAX),
            waiting: Waiting::default(),
            index: Index::default(),
            tally: Tally::default(),
            since_s: now_s,
            expired_s: 0,
            lost_untold: 0,
            lost: 0,
            history: self,
            bus,
        };
        keeper.expire(now_s).await;
        // Of all turns together: events may come in every one of them.
        let mut count_at = next_count();
        loop {
            let keeps_traces = keeper.history.settings.traces_us > 0;
            tokio::select! {
                () = gather(&mut keeper.reader, &mut keeper.waiting), if keeps_traces => {
                    keeper.write_events().await;
                }
                () = sleep_until(count_at) => {
                    keeper.count(now_us() / US).await;
                    count_at = next_count();
                }
                () = stop.wait() => break,
            }
        }
        if keeper.history.settings.traces_us > 0 {
            keeper.waiting.add(keeper.reader.take(usize::MAX));
            keeper.write_events().await;
        }
        keeper.count(now_us() / US).await;
    }

    /// Runs a transaction that a power cut may take back, and waits until it is written.
    async fn write<T>(
        &self,
        transaction: impl FnOnce(&mut WriteTx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.db.write_with(Durability::Buffered, transaction)?.await
    }
}

/// When counts are written next: as a minute of the clock begins.
fn next_count() -> Instant {
    Instant::now() + Duration::from_secs(COUNT_S - now_us() / US % COUNT_S)
}

/// Events that wait to be written.
#[derive(Debug, Default)]
struct Waiting {
    events: Vec<Arc<Event>>,
    /// Events that fell out of the bus.
    lost: u64,
    /// When the oldest has waited long enough.
    due: Option<Instant>,
}

impl Waiting {
    /// Takes what came. Events that belong to no connection or message are no traces.
    fn add(&mut self, batch: Batch) {
        self.lost += batch.lost;
        self.events.extend(batch.events.into_iter().filter(|event| event.trace != TraceId(0)));
        if !self.events.is_empty() && self.due.is_none() {
            self.due = Some(Instant::now() + GATHER);
        }
    }
}

/// Waits until there is enough to be written, or for long enough. Cancel safe: what came waits.
async fn gather(reader: &mut Reader, waiting: &mut Waiting) {
    while waiting.events.len() < EVENTS_AT_ONCE {
        let room = EVENTS_AT_ONCE - waiting.events.len();
        let batch = match waiting.due {
            None => reader.next(room).await,
            Some(due) => match timeout_at(due, reader.next(room)).await {
                Ok(batch) => batch,
                Err(_) => return,
            },
        };
        waiting.add(batch);
    }
}

/// The state of the one task.
struct Keeper {
    history: History,
    bus: Bus,
    reader: Reader,
    waiting: Waiting,
    /// Which messages connections are at.
    index: Index,
    tally: Tally,
    /// Since when is counted what was not written yet, seconds since 1970 UTC.
    since_s: u64,
    /// When old things were looked for last.
    expired_s: u64,
    /// Events that could not be kept, ever and since that was told last.
    lost: u64,
    lost_untold: u64,
}

impl Keeper {
    /// Writes the events that wait.
    async fn write_events(&mut self) {
        let Waiting { events, lost, .. } = std::mem::take(&mut self.waiting);
        self.lose(lost, "they came faster than they could be written");
        for events in events.chunks(EVENTS_AT_ONCE) {
            let index = &mut self.index;
            match self.history.write(|tx| traces::put(tx, events, index)).await {
                Ok(begins_page) if begins_page => self.expire_traces(now_us() / US).await,
                Ok(_) => {}
                Err(e) => self.lose(events.len() as u64, &e.to_string()),
            }
        }
    }

    /// Writes what was counted since the last time, and lets go of what is old.
    async fn count(&mut self, now_s: u64) {
        self.tell_lost();
        let counts = self.tally.take(self.bus.counters(), self.lost);
        let since_s = std::mem::replace(&mut self.since_s, now_s);
        if !counts.is_empty() {
            let written = self.history.write(|tx| statistics::add(tx, since_s, &counts)).await;
            if let Err(e) = written {
                tracing::warn!(target: "grace", event = "StatisticsLost", error = %e);
            }
        }
        if now_s / EXPIRE_S != self.expired_s / EXPIRE_S {
            self.expire(now_s).await;
        }
    }

    /// Lets go of what is old.
    async fn expire(&mut self, now_s: u64) {
        self.expired_s = now_s;
        let settings = self.history.settings;
        let kept_s = (settings.minutes_s, settings.hours_s);
        let gone = self.history.write(|tx| statistics::expire(tx, now_s, kept_s));
        is_cut(gone.await);
        self.expire_traces(now_s).await;
    }

    /// Lets go of old events; also whenever a page begins, for there may be millions in an hour.
    async fn expire_traces(&self, now_s: u64) {
        let Settings { traces_us, traces_max, .. } = self.history.settings;
        let oldest_us = (now_s * US).saturating_sub(traces_us);
        is_cut(self.history.write(|tx| traces::expire(tx, oldest_us, traces_max)).await);
    }

    /// Counts events that could not be kept. The first ones are told at once.
    fn lose(&mut self, count: u64, reason: &str) {
        if count > 0 && self.lost_untold == 0 {
            tracing::warn!(target: "grace", event = "TracesLost", count, reason);
        }
        self.lost += count;
        self.lost_untold += count;
    }

    /// Tells how many were lost since the last time; within a minute the first only were told.
    fn tell_lost(&mut self) {
        let count = std::mem::take(&mut self.lost_untold);
        if count > 0 {
            tracing::warn!(target: "grace", event = "TracesLost", count, reason = "in a minute");
        }
    }
}

/// Tells if old things could not be let go.
fn is_cut(gone: Result<(), StoreError>) {
    if let Err(e) = gone {
        // Tried again in an hour; until then there is more than there should be.
        tracing::warn!(target: "grace", event = "HistoryNotCut", error = %e);
    }
}

#[cfg(test)]
mod tests {
    use grace_ipc::event::{EventKind, Service};
    use gracedb::options::Options;
    use gracedb::view::View as _;
    use tokio::time::sleep;

    use super::*;
    use crate::store::SCHEMA;
    use crate::store::statistics::Resolution;
    use crate::store::traces::TraceRow;

    fn emit(bus: &Bus) {
        let address = "127.0.0.1:25".parse().unwrap();
        bus.emit(TraceId(1), EventKind::ConnectionOpened { service: Service::Smtp, peer: address });
    }

    /// No time passes here but what is waited for.
    #[tokio::test(start_paused = true)]
    async fn counts_are_written_while_events_never_pause() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(Options::new(folder.path()), SCHEMA).unwrap();
        let (bus, stop) = (Bus::new(100_000), Stop::default());
        let history = History::new(db.clone(), &Store::default());
        let keeping = tokio::spawn(history.clone().keep(bus.clone(), stop.clone()));
        let counted = || !history.statistics(Resolution::Minute, 0..u64::MAX).unwrap().is_empty();
        // Ten minutes, and an event before each page of events is due.
        let mut turns = 0;
        while !counted() {
            assert!(turns < 12_000, "nothing was counted");
            turns += 1;
            emit(&bus);
            sleep(GATHER / 2).await;
        }
        stop.say();
        keeping.await.unwrap();
    }

    #[tokio::test]
    async fn a_flood_of_events_keeps_to_the_limit() {
        const LIMIT: u64 = 10_000;
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(Options::new(folder.path()), SCHEMA).unwrap();
        let (bus, stop) = (Bus::new(100_000), Stop::default());
        let settings = Store { traces_max: LIMIT, ..Store::default() };
        (0..40_000).for_each(|_| emit(&bus));
        stop.say();
        History::new(db.clone(), &settings).keep(bus, stop).await;
        let kept = db.snapshot().scan::<TraceRow>().count() as u64;
        assert!(kept <= LIMIT + u64::from(traces::PAGE_ROWS_MAX), "{kept}");
    }
}
