//! Connections to other servers that wait for the next message.
//!
//! Invariants: a destination has at most [`PER_DESTINATION_MAX`] of them; none is kept longer than
//! allowed.
//! Not here: what is said over them (`connection`).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::connection::Connection;

/// Connections kept for one destination: mail that comes one by one needs no more.
const PER_DESTINATION_MAX: usize = 2;

/// What waits.
pub(super) struct Idle {
    keep: Duration,
    by_destination: HashMap<String, Vec<(Instant, Connection)>>,
}

impl Idle {
    /// Keeps connections so long.
    pub(super) fn new(keep: Duration) -> Self {
        Self { keep, by_destination: HashMap::new() }
    }

    /// The one for a destination that was used last.
    pub(super) fn take(&mut self, destination: &str) -> Option<Connection> {
        let kept = self.by_destination.get_mut(destination)?;
        let (_, connection) = kept.pop()?;
        if kept.is_empty() {
            self.by_destination.remove(destination);
        }
        Some(connection)
    }

    /// Keeps one, if there is room.
    pub(super) fn keep(&mut self, destination: &str, connection: Connection) {
        let kept = self.by_destination.entry(destination.to_owned()).or_default();
        if self.keep.is_zero() || kept.len() >= PER_DESTINATION_MAX {
            connection.part();
        } else {
            kept.push((Instant::now() + self.keep, connection));
        }
    }

    /// How long until one is to be closed.
    pub(super) fn wake_in(&self) -> Option<Duration> {
        let until = self.by_destination.values().flatten().map(|(until, _)| *until).min()?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// Closes those whose time is over.
    pub(super) fn tidy(&mut self) {
        let now = Instant::now();
        self.by_destination.retain(|_, kept| {
            for (_, connection) in kept.extract_if(.., |(until, _)| *until <= now) {
                connection.part();
            }
            !kept.is_empty()
        });
    }
}
