//! What an admin sees of each destination.

use std::sync::Arc;

use crate::destinations::Destination;
use crate::queue::Queue;
use crate::time::Time;

/// One destination at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Its name.
    pub destination: Arc<str>,
    /// Recipients that wait.
    pub waiting: usize,
    /// Recipients that are held.
    pub held: usize,
    /// Attempts on their way.
    pub running: u32,
    /// Attempts at once that it can take.
    pub limit: u32,
    /// Left alone until then, because of failures.
    pub closed_until: Option<Time>,
    /// Why the last attempt that failed did so.
    pub reason: Option<String>,
}

impl Queue {
    /// All destinations we know of by name, from the one after `name` on: page by page.
    pub fn figures(&self, now: Time, after: Option<&str>) -> impl Iterator<Item = Figures> {
        self.destinations.after(after).map(move |destination| figures(destination, now))
    }

    /// One destination, if we know of it.
    #[must_use]
    pub fn figures_of(&self, now: Time, destination: &str) -> Option<Figures> {
        let to = self.destinations.find(destination)?;
        self.destinations.get(to).map(|destination| figures(destination, now))
    }
}

fn figures(destination: &Destination, now: Time) -> Figures {
    let closed_until = destination.capacity.closed_until();
    Figures {
        destination: Arc::clone(&destination.name),
        waiting: destination.waiting,
        held: destination.held,
        running: destination.running,
        limit: destination.capacity.limit(),
        closed_until: (closed_until > now).then_some(closed_until),
        reason: destination.reason.as_deref().map(str::to_owned),
    }
}
