//! The lines in which transactions stand whose time has come: one for each sender at each
//! destination.
//!
//! ```text
//!   destination a ─┬─ sender 1 ─ urgent, oldest, …         turns go round the senders of one
//!                  └─ sender 7 ─ …                         destination, and round all senders
//!   destination b ─── sender 1 ─ …
//! ```
//! Each is a range of one ordered set, so that a million lines of one cost no more than one line of
//! a million. Invariants: `pairs` names a sender at a destination exactly while that line is not
//! empty; between two turns of a sender every other one in the round has had its turn.
//! Not here: which destinations can take anything now ([`crate::destinations`]).

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Included, Unbounded};

use crate::time::Time;

/// How many senders one turn may look at, and how many destinations of each, to find one that can
/// be tried: a turn must stay cheap where nearly all destinations are full. The next turn goes on
/// from there.
const SENDERS_PER_TURN: usize = 16;
const DESTINATIONS_PER_SENDER: usize = 8;

/// A transaction's place. The order of the fields is the order of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) to: u32,
    pub(crate) sender: u64,
    pub(crate) priority: Reverse<i8>,
    pub(crate) due: Time,
    pub(crate) slot: u32,
}

impl Place {
    /// Before everything in a line.
    const fn start(to: u32, sender: u64) -> Self {
        Self { to, sender, priority: Reverse(i8::MAX), due: Time::EPOCH, slot: 0 }
    }

    /// Behind everything in a line.
    const fn end(to: u32, sender: u64) -> Self {
        Self { to, sender, priority: Reverse(i8::MIN), due: Time::NEVER, slot: u32::MAX }
    }
}

/// All lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines {
    places: BTreeSet<Place>,
    pairs: BTreeSet<(u64, u32)>,
    /// The sender that had the last turn among all.
    sender: u64,
}

impl Lines {
    pub(crate) fn insert(&mut self, place: Place) {
        self.places.insert(place);
        self.pairs.insert((place.sender, place.to));
    }

    pub(crate) fn remove(&mut self, place: Place) {
        self.places.remove(&place);
        if self.first(place.to, place.sender).is_none() {
            self.pairs.remove(&(place.sender, place.to));
        }
    }

    /// Who is next at `to`, where `last` had the last turn.
    pub(crate) fn next_at(&self, to: u32, last: u64) -> Option<Place> {
        let after = (Excluded(Place::end(to, last)), Included(Place::end(to, u64::MAX)));
        let around = Place::start(to, 0)..=Place::end(to, last);
        self.places.range(after).next().or_else(|| self.places.range(around).next()).copied()
    }

    /// Who is next among all senders, as far as `is_open` says that the destination can take it.
    /// `from` is where among the destinations of a sender the search begins.
    pub(crate) fn next_sender(
        &mut self,
        from: u32,
        is_open: impl Fn(u32) -> bool,
    ) -> Option<Place> {
        for _ in 0..SENDERS_PER_TURN {
            let after = (Excluded((self.sender, u32::MAX)), Unbounded);
            let next = self.pairs.range(after).next().or_else(|| self.pairs.first());
            self.sender = next?.0;
            let after = (Excluded((self.sender, from)), Included((self.sender, u32::MAX)));
            let around = (self.sender, 0)..=(self.sender, from);
            let destinations = self.pairs.range(after).chain(self.pairs.range(around));
            let mut destinations = destinations.take(DESTINATIONS_PER_SENDER);
            if let Some(&(_, to)) = destinations.find(|(_, to)| is_open(*to)) {
                return self.first(to, self.sender);
            }
        }
        None
    }

    fn first(&self, to: u32, sender: u64) -> Option<Place> {
        let line = Place::start(to, sender)..=Place::end(to, sender);
        self.places.range(line).next().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of `(to, sender, priority, due)`; the slot is the position.
    fn lines(places: &[(u32, u64, i8, u64)]) -> Lines {
        let mut lines = Lines::default();
        for (slot, &(to, sender, priority, due)) in (0..).zip(places) {
            let due = Time::from_millis(due);
            lines.insert(Place { to, sender, priority: Reverse(priority), due, slot });
        }
        lines
    }

    /// The slots in the order they have their turn at destination 1.
    fn turns(mut lines: Lines) -> Vec<u32> {
        let (mut last, mut slots) = (0, Vec::new());
        while let Some(place) = lines.next_at(1, last) {
            lines.remove(place);
            last = place.sender;
            slots.push(place.slot);
        }
        assert_eq!(lines.pairs.iter().filter(|pair| pair.1 == 1).count(), 0);
        slots
    }

    #[test]
    fn senders_take_turns() {
        let places = [(1, 5, 0, 1), (1, 5, 0, 2), (1, 5, 0, 3), (1, 9, 0, 4), (2, 9, 0, 0)];
        assert_eq!(turns(lines(&places)), [0, 3, 1, 2]);
        let ends = [(1, 0, 0, 1), (1, u64::MAX, 0, 2), (1, u64::MAX, 0, 3), (1, 0, 0, 4)];
        assert_eq!(turns(lines(&ends)), [1, 0, 2, 3]);
    }

    #[test]
    fn urgent_before_old_inside_a_sender() {
        let places = [(1, 5, 0, 1), (1, 5, 9, 3), (1, 5, -9, 0), (1, 5, 0, 0), (1, 6, -9, 9)];
        assert_eq!(turns(lines(&places)), [1, 4, 3, 0, 2]);
    }

    #[test]
    fn all_senders_take_turns_whatever_their_number_of_destinations() {
        let mut places: Vec<(u32, u64, i8, u64)> = (0..1_000).map(|to| (to, 5, 0, 0)).collect();
        places.push((7, 6, 0, 0));
        let mut lines = lines(&places);
        let mut senders = Vec::new();
        while senders.len() < 3 {
            let place = lines.next_sender(500, |_| true).unwrap();
            lines.remove(place);
            senders.push((place.sender, place.to));
        }
        assert_eq!(senders, [(5, 501), (6, 7), (5, 502)]);
    }

    #[test]
    fn a_turn_looks_at_a_few_only_and_the_next_one_goes_on() {
        let places: Vec<(u32, u64, i8, u64)> = (1..=100).map(|sender| (1, sender, 0, 0)).collect();
        let mut lines = lines(&places);
        lines.insert(Place { to: 2, ..Place::start(2, 40) });
        let is_open = |to| to == 2;
        let tries = (0..).find(|_| lines.next_sender(0, is_open).is_some());
        assert_eq!(tries, Some(2), "senders 1 to 16, 17 to 32, then 40");
    }
}
