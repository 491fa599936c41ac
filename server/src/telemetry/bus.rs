//! The event bus: one ring of recent events that any number of readers follow at their own pace.
//!
//! ```text
//!   emit ──▶ [ seq 7 | 8 | 9 | … | 1006 ]      one ring, the oldest falls out
//!                    ▲           ▲
//!                 reader A    reader B          a cursor each, nothing else
//! ```
//! Invariants: emitting never waits for a reader and never fails; a reader sees events in order,
//! each once, and is told how many fell out before it came to them. A reader costs one cursor, so
//! nobody listening costs nothing.
//! Not here: what is done with the events ([`super::log`], `admin`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use grace_ipc::event::{Event, EventKind, TEXT_MAX, TraceId};

use super::counters::Counters;

/// The bus. Cloning gives another handle of the same one.
#[derive(Debug, Clone)]
pub struct Bus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    /// Number of the newest event; readers sleep on it.
    newest: watch::Sender<u64>,
    traces: Moments,
    counters: Counters,
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    capacity: usize,
    next_seq: u64,
}

/// What a reader got: events in order, and how many it was too slow for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Events that fell out of the ring before this reader came to them.
    pub lost: u64,
    /// The events, oldest first.
    pub events: Vec<Arc<Event>>,
}

/// One reader of the bus.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    newest: watch::Receiver<u64>,
    next_seq: u64,
}

impl Bus {
    /// A bus that keeps the last `capacity` events.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let ring = Ring { events: VecDeque::new(), capacity: capacity.max(1), next_seq: 1 };
        Self {
            shared: Arc::new(Shared {
                ring: Mutex::new(ring),
                newest: watch::Sender::new(0),
                traces: Moments::new(),
                counters: Counters::default(),
            }),
        }
    }

    /// Says that something happened. Text from a peer is cut to [`TEXT_MAX`] by [`claim`]
    /// beforehand.
    pub fn emit(&self, trace: TraceId, kind: EventKind) {
        self.shared.counters.count(&kind);
        let time_us = now_us();
        let seq = {
            let mut ring = self.shared.ring();
            let seq = ring.next_seq;
            ring.next_seq += 1;
            if ring.events.len() == ring.capacity {
                ring.events.pop_front();
            }
            ring.events.push_back(Arc::new(Event { seq, time_us, trace, kind }));
            seq
        };
        // Two emitters may come here in either order; the number only ever grows.
        self.shared.newest.send_if_modified(|newest| {
            let grows = seq > *newest;
            *newest = seq.max(*newest);
            grows
        });
    }

    /// A number for a new connection or message: the microsecond of its birth, made unique. So it
    /// is another one in the next life of the daemon, too, and tells from when on its events are.
    #[must_use]
    pub fn new_trace(&self) -> TraceId {
        TraceId(self.shared.traces.next_us())
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// A reader that begins with the `backlog` newest events already there.
    #[must_use]
    pub fn reader(&self, backlog: usize) -> Reader {
        let next_seq = {
            let ring = self.shared.ring();
            let kept = backlog.min(ring.events.len());
            ring.next_seq - kept as u64
        };
        Reader {
            shared: Arc::clone(&self.shared),
            newest: self.shared.newest.subscribe(),
            next_seq,
        }
    }
}

impl Shared {
    /// The ring; a panic elsewhere cannot leave it half changed, so a poisoned lock is still good.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// Waits until there is something to read, then takes up to `max` events.
    ///
    /// Cancel safe: nothing is taken until the future is ready.
    pub async fn next(&mut self, max: usize) -> Batch {
        loop {
            self.newest.mark_unchanged();
            let batch = self.take(max);
            if batch.lost > 0 || !batch.events.is_empty() {
                return batch;
            }
            if self.newest.changed().await.is_err() {
                // The sender lives in `shared`, which this reader holds.
                return Batch::default();
            }
        }
    }

    /// Takes up to `max` events that are there now; maybe none.
    pub fn take(&mut self, max: usize) -> Batch {
        let ring = self.shared.ring();
        let oldest = ring.next_seq - ring.events.len() as u64;
        let lost = oldest.saturating_sub(self.next_seq);
        let first = self.next_seq.max(oldest);
        let skip = usize::try_from(first - oldest).unwrap_or(usize::MAX);
        let events: Vec<_> = ring.events.iter().skip(skip).take(max).cloned().collect();
        self.next_seq = first + events.len() as u64;
        Batch { lost, events }
    }
}

/// A peer's words as an event may carry them: at most [`TEXT_MAX`] bytes, control characters shown
/// as escapes, so that no log line can be forged and no terminal be driven.
#[must_use]
pub fn claim(bytes: &[u8]) -> String {
    let mut text = String::new();
    for c in String::from_utf8_lossy(bytes).chars() {
        let printed: String =
            if c.is_control() { c.escape_default().collect() } else { c.to_string() };
        if text.len() + printed.len() > TEXT_MAX {
            break;
        }
        text.push_str(&printed);
    }
    text
}

/// Gives out microseconds, none twice.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    last: AtomicU64,
}

impl Moments {
    /// None was given out yet.
    pub(crate) const fn new() -> Self {
        Self { last: AtomicU64::new(0) }
    }

    /// The microsecond now, since 1970 UTC, or the first after the last that was given out.
    pub(crate) fn next_us(&self) -> u64 {
        let now = now_us();
        let last = self.last.fetch_max(now, Ordering::Relaxed);
        if now > last { now } else { self.last.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

/// Microseconds since 1970 UTC.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(batch: &Batch) -> Vec<u64> {
        batch.events.iter().map(|event| event.seq).collect()
    }

    fn emit(bus: &Bus, count: usize) {
        for _ in 0..count {
            bus.emit(TraceId(0), EventKind::ServerStopping);
        }
    }

    #[test]
    fn a_slow_reader_loses_the_oldest_and_is_told() {
        let bus = Bus::new(3);
        let mut reader = bus.reader(0);
        emit(&bus, 5);
        let batch = reader.take(2);
        assert_eq!((batch.lost, numbers(&batch)), (2, vec![3, 4]));
        let batch = reader.take(9);
        assert_eq!((batch.lost, numbers(&batch)), (0, vec![5]));
        assert_eq!(reader.take(9), Batch::default());
    }

    #[test]
    fn a_late_reader_gets_the_backlog_it_asks_for() {
        let bus = Bus::new(10);
        emit(&bus, 4);
        assert_eq!(numbers(&bus.reader(2).take(9)), vec![3, 4]);
        assert_eq!(numbers(&bus.reader(99).take(9)), vec![1, 2, 3, 4]);
        assert_eq!(numbers(&bus.reader(0).take(9)), Vec::<u64>::new());
    }

    #[tokio::test]
    async fn a_waiting_reader_wakes() {
        let bus = Bus::new(10);
        let mut reader = bus.reader(0);
        let waiting = tokio::spawn(async move { reader.next(9).await });
        tokio::task::yield_now().await;
        emit(&bus, 1);
        assert_eq!(numbers(&waiting.await.expect("no panic")), vec![1]);
    }

    #[test]
    fn a_claim_cannot_forge_a_line() {
        assert_eq!(claim(b"a\r\nb\x1b[0m"), "a\\r\\nb\\u{1b}[0m");
        assert_eq!(claim(&vec![b'x'; TEXT_MAX * 2]).len(), TEXT_MAX);
    }
}
