//! Where mail goes to: every destination by name, what waits for it, whether it can take more now.
//!
//! ```text
//!             something ready, room, its time      its time is yet to come
//!   Nowhere ───────────────────────────▶ Open ◀──▶ Opens(at)
//!      │ nothing waits, nothing runs
//!      ▼
//!     idle ── after a while, or when too many are ── forgotten
//! ```
//! Invariants: `open` and `opening` hold exactly what `Standing` says; a destination that something
//! waits for or runs to is never forgotten; those that are idle are bounded in number.
//! Not here: in which order its mail is tried ([`crate::lines`]).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use crate::capacity::Capacity;
use crate::settings::Limits;
use crate::slab::Slab;
use crate::time::Time;

/// Longest reason that is kept for people to read, in bytes.
const REASON_BYTES_MAX: usize = 512;

/// One destination.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) name: Arc<str>,
    pub(crate) capacity: Capacity,
    /// Transactions that wait for it, are tried or are held.
    pub(crate) transactions: usize,
    /// Transactions whose time has come.
    pub(crate) ready: usize,
    /// Recipients that wait.
    pub(crate) waiting: usize,
    /// Recipients that are held.
    pub(crate) held: usize,
    /// Attempts on their way.
    pub(crate) running: u32,
    /// Attempts that ended and whose outcome is not on disk yet.
    pub(crate) unwritten: u32,
    /// Who had the last turn here.
    pub(crate) last_sender: u64,
    /// Why the last attempt that failed did so.
    pub(crate) reason: Option<Box<str>>,
    rate: Option<u32>,
    standing: Standing,
    /// Forgotten then.
    idle_until: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Nowhere,
    Open,
    Opens(Time),
}

impl Destination {
    fn new(name: Arc<str>, limits: &Limits) -> Self {
        let rate = limits.rates.get(&*name).copied().or(limits.attempts_per_minute);
        Self {
            name,
            capacity: Capacity::new(limits),
            transactions: 0,
            ready: 0,
            waiting: 0,
            held: 0,
            running: 0,
            unwritten: 0,
            last_sender: 0,
            reason: None,
            rate,
            standing: Standing::Nowhere,
            idle_until: None,
        }
    }

    /// An attempt begins.
    pub(crate) fn start(&mut self, now: Time) {
        self.running += 1;
        self.capacity.started(now, self.rate);
    }

    /// Keeps why an attempt failed.
    pub(crate) fn blame(&mut self, reason: &str) {
        let end = reason.floor_char_boundary(REASON_BYTES_MAX);
        self.reason = reason.get(..end).map(Box::from);
    }

    fn is_idle(&self) -> bool {
        self.transactions == 0 && self.running == 0 && self.unwritten == 0
    }

    fn stands(&self, now: Time) -> Standing {
        let opens_at = self.capacity.opens_at();
        if self.ready == 0 || self.running + self.unwritten >= self.capacity.limit() {
            Standing::Nowhere
        } else if opens_at <= now {
            Standing::Open
        } else {
            Standing::Opens(opens_at)
        }
    }
}

/// All destinations.
#[derive(Debug, Clone)]
pub(crate) struct Destinations {
    all: Slab<Destination>,
    names: BTreeMap<Arc<str>, u32>,
    open: BTreeSet<u32>,
    opening: BTreeSet<(Time, u32)>,
    idle: BTreeSet<(Time, u32)>,
    /// The one that had the last turn.
    last: u32,
}

impl Destinations {
    pub(crate) const fn new() -> Self {
        Self {
            all: Slab::new(),
            names: BTreeMap::new(),
            open: BTreeSet::new(),
            opening: BTreeSet::new(),
            idle: BTreeSet::new(),
            last: 0,
        }
    }

    pub(crate) fn get(&self, to: u32) -> Option<&Destination> {
        self.all.get(to)
    }

    pub(crate) fn get_mut(&mut self, to: u32) -> Option<&mut Destination> {
        self.all.get_mut(to)
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// All of them by name, from the one after `name` on.
    pub(crate) fn after(&self, name: Option<&str>) -> impl Iterator<Item = &Destination> {
        let from = name.map_or(Unbounded, Excluded);
        let names = self.names.range::<str, _>((from, Unbounded));
        names.filter_map(|(_, &to)| self.all.get(to))
    }

    /// The number of the destination called `name`, a new one if need be.
    pub(crate) fn enter(&mut self, name: &str, limits: &Limits) -> Option<u32> {
        if let Some(to) = self.find(name) {
            return Some(to);
        }
        let name: Arc<str> = name.into();
        let to = self.all.insert(Destination::new(Arc::clone(&name), limits))?;
        self.names.insert(name, to);
        Some(to)
    }

    pub(crate) fn is_open(&self, to: u32) -> bool {
        self.open.contains(&to)
    }

    /// The next one in the round that can take something now.
    pub(crate) fn next_open(&mut self) -> Option<u32> {
        let after = self.open.range((Excluded(self.last), Unbounded)).next();
        self.last = *after.or_else(|| self.open.first())?;
        Some(self.last)
    }

    /// Where the round stands.
    pub(crate) fn last(&self) -> u32 {
        self.last
    }

    /// When the next one opens.
    pub(crate) fn opens_at(&self) -> Option<Time> {
        self.opening.first().map(|&(at, _)| at)
    }

    /// Lets time pass: opens what may open and forgets what nobody asked for.
    pub(crate) fn advance(&mut self, now: Time, limits: &Limits) {
        while let Some(&(at, to)) = self.opening.first()
            && at <= now
        {
            self.opening.pop_first();
            if let Some(destination) = self.all.get_mut(to) {
                destination.standing = Standing::Nowhere;
            }
            self.changed(to, now, limits);
        }
        while let Some(&(until, to)) = self.idle.first()
            && (until <= now || self.idle.len() > limits.idle_max)
        {
            self.idle.pop_first();
            if let Some(destination) = self.all.remove(to) {
                self.names.remove(&destination.name);
            }
        }
    }

    /// Puts a destination where it belongs after anything about it changed.
    pub(crate) fn changed(&mut self, to: u32, now: Time, limits: &Limits) {
        let Some(destination) = self.all.get_mut(to) else { return };
        let stands = destination.stands(now);
        if stands != destination.standing {
            match destination.standing {
                Standing::Nowhere => {}
                Standing::Open => drop(self.open.remove(&to)),
                Standing::Opens(at) => drop(self.opening.remove(&(at, to))),
            }
            match stands {
                Standing::Nowhere => {}
                Standing::Open => drop(self.open.insert(to)),
                Standing::Opens(at) => drop(self.opening.insert((at, to))),
            }
            destination.standing = stands;
        }
        match destination.idle_until {
            None if destination.is_idle() => {
                let until = destination.capacity.closed_until().max(now.after(limits.idle_keep));
                destination.idle_until = Some(until);
                self.idle.insert((until, to));
            }
            Some(until) if !destination.is_idle() => {
                destination.idle_until = None;
                self.idle.remove(&(until, to));
            }
            None | Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Time = Time::from_secs(1_000_000);

    #[test]
    fn the_idle_are_forgotten_and_bounded() {
        let limits = Limits { idle_max: 2, ..Limits::default() };
        let mut destinations = Destinations::new();
        let names = |destinations: &mut Destinations, now| {
            destinations.advance(now, &limits);
            destinations.after(None).map(|found| found.name.to_string()).collect::<Vec<_>>()
        };
        for (second, name) in (0..).zip(["d", "c", "b", "a"]) {
            let to = destinations.enter(name, &limits).unwrap();
            destinations.changed(to, NOW.after(Duration::from_secs(second)), &limits);
        }
        assert_eq!(names(&mut destinations, NOW), ["a", "b"]);
        let kept = NOW.after(limits.idle_keep + Duration::from_secs(2));
        assert_eq!(names(&mut destinations, kept), ["a"]);
        let to = destinations.find("a").unwrap();
        destinations.get_mut(to).unwrap().transactions = 1;
        destinations.changed(to, kept, &limits);
        assert_eq!(names(&mut destinations, Time::NEVER), ["a"]);
    }

    #[test]
    fn a_reason_is_cut_at_a_character() {
        let mut destination = Destination::new("x".into(), &Limits::default());
        destination.blame(&"\u{e4}".repeat(600));
        assert_eq!(destination.reason.unwrap().len(), REASON_BYTES_MAX);
    }
}
