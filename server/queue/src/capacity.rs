//! How much a destination can take at once, learned from how its hosts behave.
//!
//! ```text
//!   went well       one more at once after so many       reachable again: the limit as it was left
//!   busy (421)      half as many                         at one already: left alone for a while
//!   unreachable     half as many, and left alone for a while, which doubles each time;
//!                   then a single attempt finds out, for all that wait
//! ```
//! Invariants: the limit lies between 1 and its maximum; attempts that were on their way together
//! count as one failure, so that five of them at a dead host are one sign of it.
//! Not here: what waits for the destination ([`crate::queue`]).

use std::time::Duration;

use crate::random;
use crate::settings::Limits;
use crate::time::Time;

/// How the hosts of a destination behaved in one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behavior {
    /// They talked with us to the end, whatever they said about the recipients.
    Well,
    /// They said that we are too many or too fast: 421, or a 4xx that is about us.
    Busy,
    /// None could be reached, or none came as far as an answer about the message.
    Unreachable,
    /// Nothing to be learned: the attempt ended for a reason of ours.
    Unknown,
}

/// What is known of one destination.
#[derive(Debug, Clone)]
pub(crate) struct Capacity {
    /// Attempts at once while it is well.
    limit: u32,
    /// Attempts that went well since the limit last changed.
    successes: u32,
    /// Failures in a row.
    failures: u32,
    /// Attempts with a lower number were on their way when the last failure became known.
    blamed_before: u64,
    /// Left alone until then.
    closed_until: Time,
    /// The rate allows the next attempt then.
    paced_until: Time,
}

impl Capacity {
    /// Of a destination nobody has talked with.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            limit: limits.destination_start,
            successes: 0,
            failures: 0,
            blamed_before: 0,
            closed_until: Time::EPOCH,
            paced_until: Time::EPOCH,
        }
    }

    /// Attempts at once: while it is in doubt whether anybody is there, a single one.
    pub(crate) fn limit(&self) -> u32 {
        if self.failures > 0 { 1 } else { self.limit }
    }

    /// Whether the last we heard was that nobody is there.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.failures > 0
    }

    /// Left alone until then, because of failures.
    pub(crate) fn closed_until(&self) -> Time {
        self.closed_until
    }

    /// From when on an attempt may be made.
    pub(crate) fn opens_at(&self) -> Time {
        self.closed_until.max(self.paced_until)
    }

    /// An attempt begins.
    pub(crate) fn started(&mut self, now: Time, per_minute: Option<u32>) {
        if let Some(rate) = per_minute {
            self.paced_until = now.after(Duration::from_secs(60) / rate.max(1));
        }
    }

    /// An attempt ended.
    pub(crate) fn learn(&mut self, limits: &Limits, how: Behavior, attempt: Attempt, chance: u64) {
        match how {
            Behavior::Unknown => {}
            Behavior::Well => self.went_well(limits),
            Behavior::Busy | Behavior::Unreachable if attempt.number < self.blamed_before => {}
            Behavior::Busy if self.limit() > 1 => self.halve(attempt),
            Behavior::Busy | Behavior::Unreachable => {
                self.halve(attempt);
                self.failures = self.failures.saturating_add(1);
                self.closed_until = attempt.ended.after(self.back_off(limits, chance));
            }
        }
    }

    /// Somebody who knows better says that it is worth trying now.
    pub(crate) fn reopen(&mut self) {
        self.closed_until = Time::EPOCH;
    }

    fn went_well(&mut self, limits: &Limits) {
        if self.failures > 0 {
            (self.failures, self.successes) = (0, 0);
            self.closed_until = Time::EPOCH;
        }
        self.successes += 1;
        if self.successes >= limits.successes_per_step && self.limit < limits.destination_max {
            self.limit += 1;
            self.successes = 0;
        }
    }

    fn halve(&mut self, attempt: Attempt) {
        self.limit = (self.limit / 2).max(1);
        self.successes = 0;
        self.blamed_before = attempt.next;
    }

    /// Twice as long for each failure in a row, give or take a fifth.
    fn back_off(&self, limits: &Limits, chance: u64) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(31);
        let wait = limits.back_off_first.saturating_mul(1 << doublings).min(limits.back_off_max);
        random::between(chance, wait * 4 / 5, wait * 6 / 5)
    }
}

/// An attempt that ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    /// Its number: later ones have higher ones.
    pub(crate) number: u64,
    /// The number the next attempt will have.
    pub(crate) next: u64,
    /// When it ended.
    pub(crate) ended: Time,
}

#[cfg(test)]
mod tests {
    use super::*;
    use Behavior::{Busy, Unknown, Unreachable, Well};

    const NOW: Time = Time::from_secs(1_000_000);
    /// The middle: no jitter.
    const MIDDLE: u64 = u64::MAX / 2;

    struct Peer {
        limits: Limits,
        capacity: Capacity,
        number: u64,
    }

    impl Peer {
        fn new() -> Self {
            let limits = Limits::default();
            let capacity = Capacity::new(&limits);
            Self { limits, capacity, number: 0 }
        }

        /// One attempt after the other.
        fn alone(&mut self, how: Behavior) -> &mut Self {
            self.together(1, how)
        }

        /// Attempts that are all on their way before the first one ends.
        fn together(&mut self, count: u64, how: Behavior) -> &mut Self {
            let next = self.number + count;
            for number in self.number..next {
                let attempt = Attempt { number, next, ended: NOW };
                self.capacity.learn(&self.limits, how, attempt, MIDDLE);
            }
            self.number = next;
            self
        }

        /// The limit, and for how many seconds it is left alone.
        #[track_caller]
        fn is(&self, limit: u32, closed_s: u64) {
            let closed = self.capacity.closed_until().since(NOW).as_secs();
            assert_eq!((self.capacity.limit(), closed), (limit, closed_s));
        }
    }

    #[test]
    fn what_goes_well_earns_more_at_once() {
        let mut peer = Peer::new();
        peer.together(4, Well).is(5, 0);
        peer.alone(Well).is(6, 0);
        peer.together(1_000, Well).is(20, 0);
    }

    #[test]
    fn a_busy_host_gets_half_and_once_per_round() {
        let mut peer = Peer::new();
        peer.together(75, Well).is(20, 0);
        peer.together(20, Busy).is(10, 0);
        peer.together(10, Busy).is(5, 0);
        peer.together(5, Busy).is(2, 0);
        peer.alone(Busy).is(1, 0);
        peer.alone(Busy).is(1, 60);
    }

    #[test]
    fn a_dead_host_is_left_alone_for_longer_and_longer() {
        let mut peer = Peer::new();
        peer.together(5, Unreachable).is(1, 60);
        for closed_s in [120, 240, 480, 960, 1_920, 3_600, 3_600] {
            peer.alone(Unreachable).is(1, closed_s);
        }
        peer.alone(Well).is(1, 0);
        peer.together(4, Well).is(2, 0);
    }

    #[test]
    fn who_recovers_has_half_the_limit_left() {
        let mut peer = Peer::new();
        peer.together(75, Well).together(20, Unreachable).is(1, 60);
        peer.alone(Well).is(10, 0);
    }

    #[test]
    fn nothing_is_learned_from_a_reason_of_ours() {
        let mut peer = Peer::new();
        peer.together(100, Unknown).is(5, 0);
    }

    #[test]
    fn chance_moves_the_back_off_by_a_fifth() {
        for (chance, seconds) in [(0, 48), (u64::MAX, 72)] {
            let mut peer = Peer::new();
            let attempt = Attempt { number: 0, next: 1, ended: NOW };
            peer.capacity.learn(&peer.limits, Unreachable, attempt, chance);
            peer.is(1, seconds);
        }
    }

    #[test]
    fn a_rate_spaces_the_attempts() {
        let mut peer = Peer::new();
        peer.capacity.started(NOW, Some(6));
        assert_eq!(peer.capacity.opens_at().since(NOW), Duration::from_secs(10));
        peer.capacity.reopen();
        assert_eq!(peer.capacity.opens_at().since(NOW), Duration::from_secs(10), "stays");
    }
}
