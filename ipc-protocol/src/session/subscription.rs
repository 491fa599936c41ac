//! One subscription of one connection: what it wants and what waits to be sent.
//!
//! Invariants: at most `events_kept_max` events wait; the one dropped is the oldest, and every one
//! dropped is counted and told; an event is taken once, whether it comes as past or as news.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::event::{Event, TEXT_MAX};
use crate::frame::FROM_SERVER_BYTES_MAX;
use crate::message::{BACKLOG_EVENTS_MAX, EventFilter, STATS_INTERVAL_MS_MIN, Stats};
use crate::version::Version;

/// Most events in one push. The fullest event has four texts.
pub(super) const EVENTS_PER_PUSH_MAX: usize = 256;
const _: () = assert!(EVENTS_PER_PUSH_MAX * (4 * TEXT_MAX + 128) < FROM_SERVER_BYTES_MAX);

/// A subscription to events.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) id: u32,
    filter: EventFilter,
    version: Version,
    kept: VecDeque<Arc<Event>>,
    kept_max: usize,
    lost: u64,
    /// Greatest number of an event that was offered. No older one is taken any more.
    seen_seq: u64,
}

impl Events {
    pub(super) fn new(id: u32, filter: EventFilter, version: Version, kept_max: usize) -> Self {
        let kept = VecDeque::new();
        Self { id, filter, version, kept, kept_max: kept_max.max(1), lost: 0, seen_seq: 0 }
    }

    /// Takes from the past, oldest first, the newest `backlog` events after `after_seq`.
    pub(super) fn begin(&mut self, past: &[Arc<Event>], backlog: u32, after_seq: u64) {
        self.seen_seq = past.last().map_or(0, |newest| newest.seq);
        let most = usize::try_from(backlog.min(BACKLOG_EVENTS_MAX)).unwrap_or(usize::MAX);
        let mut skipped = 0;
        for event in past.iter().rev() {
            if event.seq <= after_seq {
                break;
            }
            if !self.wants(event) {
                continue;
            }
            if self.kept.len() < most.min(self.kept_max) {
                self.kept.push_front(Arc::clone(event));
            } else {
                skipped += 1;
            }
        }
        // Who comes back with a number wants to know what is missing since then, also of what the
        // daemon itself has forgotten. Who comes anew asked for the newest few and misses nothing.
        if after_seq > 0 {
            let oldest = past.first().map_or(after_seq + 1, |oldest| oldest.seq);
            self.lost = skipped + oldest.saturating_sub(after_seq + 1);
        }
    }

    fn wants(&self, event: &Event) -> bool {
        event.kind.since() <= self.version && self.filter.passes(event)
    }

    /// Takes news. The oldest event makes room.
    pub(super) fn offer(&mut self, event: &Arc<Event>) {
        if event.seq <= self.seen_seq {
            return;
        }
        self.seen_seq = event.seq;
        if !self.wants(event) {
            return;
        }
        if self.kept.len() >= self.kept_max {
            self.kept.pop_front();
            self.lost += 1;
        }
        self.kept.push_back(Arc::clone(event));
    }

    /// Counts events that were dropped before they got here.
    pub(super) fn add_lost(&mut self, count: u64) {
        self.lost += count;
    }

    /// Takes what is next to be pushed: how many were lost before, and the events.
    pub(super) fn take(&mut self) -> Option<(u64, Vec<Arc<Event>>)> {
        if self.kept.is_empty() && self.lost == 0 {
            return None;
        }
        let count = self.kept.len().min(EVENTS_PER_PUSH_MAX);
        Some((std::mem::take(&mut self.lost), self.kept.drain(..count).collect()))
    }
}

/// A push of events that borrows them. Written exactly as [`crate::message::ServerMessage::Push`]
/// writes its own; a test compares the bytes.
#[derive(Serialize)]
pub(super) enum ServerMessageRef<'a> {
    #[expect(dead_code, reason = "holds the place of the variant, which is its number")]
    Reply,
    Push(PushRef<'a>),
}

#[derive(Serialize)]
pub(super) struct PushRef<'a> {
    pub(super) subscription: u32,
    pub(super) body: PushBodyRef<'a>,
}

#[derive(Serialize)]
pub(super) enum PushBodyRef<'a> {
    Events { lost: u64, events: Vec<&'a Event> },
    Stats(&'a Stats),
}

/// A subscription to counters.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) id: u32,
    interval: Duration,
    pub(super) next_at: Instant,
    sent: Option<Stats>,
}

impl Counters {
    pub(super) fn new(id: u32, interval_ms: u32, now: Instant) -> Self {
        let interval = Duration::from_millis(u64::from(interval_ms.max(STATS_INTERVAL_MS_MIN)));
        Self { id, interval, next_at: now, sent: None }
    }

    /// Is this the time, and are these counters news? Then they count as sent.
    pub(super) fn take(&mut self, now: Instant, stats: &Stats) -> bool {
        if now < self.next_at {
            return false;
        }
        self.next_at = now + self.interval;
        if self.sent.as_ref().is_some_and(|sent| sent.same_counts(stats)) {
            return false;
        }
        self.sent = Some(stats.clone());
        true
    }

    /// Leaves the counters for the next time.
    pub(super) fn skip(&mut self, now: Instant) {
        if now >= self.next_at {
            self.next_at = now + self.interval;
        }
    }
}
