//! How often something may happen in a span of time, for each of many who do it.
//!
//! ```text
//!   each one: `used_up`, the moment by which all it took has been given back
//!      now ──────────── used_up ───────── now + span
//!       └── taken already ──┴── still free ──┘      one more costs span / count
//! ```
//! The generic cell rate algorithm (ITU-T I.371 A): a token bucket that is one moment each.
//! Invariants: at most `count` at once, and at most twice as many in any `span`; a refusal takes
//! nothing; memory is bounded by `keys_max`, and while it is full those who are new are not
//! limited, for nobody may be shut out by others.
//! Not here: the clock (time is passed in), what is counted ([`super::gate`], `guard`).

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// While it is full, how often is looked for keys that are used no more: a look at all of them.
const SWEEP_PAUSE: Duration = Duration::from_secs(60);

/// Counts by key.
#[derive(Debug)]
pub struct Rates<K> {
    count: u32,
    span: Duration,
    keys_max: usize,
    used_up: HashMap<K, Instant>,
    swept: Option<Instant>,
}

impl<K: Eq + Hash> Rates<K> {
    /// At most `count` in a `span` for each key; 0: any number.
    #[must_use]
    pub fn new(count: u64, span: Duration, keys_max: u64) -> Self {
        Self {
            count: u32::try_from(count).unwrap_or(u32::MAX),
            span,
            keys_max: usize::try_from(keys_max).unwrap_or(usize::MAX),
            used_up: HashMap::new(),
            swept: None,
        }
    }

    /// Takes one.
    ///
    /// # Errors
    /// It is too much; how long to wait for the next one.
    pub fn take(&mut self, now: Instant, key: K) -> Result<(), Duration> {
        if self.count == 0 {
            return Ok(());
        }
        let price = self.span / self.count;
        if let Some(used_up) = self.used_up.get_mut(&key) {
            let next = (*used_up).max(now) + price;
            let over = next.saturating_duration_since(now).saturating_sub(self.span);
            if !over.is_zero() {
                return Err(over);
            }
            *used_up = next;
        } else if self.has_room(now) {
            self.used_up.insert(key, now + price);
        }
        Ok(())
    }

    /// Whether one more key can be remembered.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.used_up.len() < self.keys_max {
            return true;
        }
        if self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_PAUSE) {
            self.swept = Some(now);
            self.used_up.retain(|_, used_up| *used_up > now);
        }
        self.used_up.len() < self.keys_max
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn so_many_at_once_and_then_one_by_one() {
        let (mut rates, start) = (Rates::new(60, HOUR, 9), Instant::now());
        for _ in 0..60 {
            assert_eq!(rates.take(start, 1), Ok(()));
        }
        assert_eq!(rates.take(start, 1), Err(Duration::from_secs(60)));
        assert_eq!(rates.take(start, 2), Ok(()), "nobody pays for another one");
        let later = start + Duration::from_secs(59);
        assert_eq!(rates.take(later, 1), Err(Duration::from_secs(1)));
        assert_eq!(rates.take(start + Duration::from_secs(60), 1), Ok(()));
        assert!(rates.take(start + Duration::from_secs(60), 1).is_err());
    }

    #[test]
    fn nothing_is_limited_by_nought() {
        let mut rates = Rates::new(0, HOUR, 9);
        let now = Instant::now();
        assert!((0..10_000).all(|_| rates.take(now, 1).is_ok()));
        assert!(rates.used_up.is_empty());
    }

    #[test]
    fn memory_is_bounded_and_who_is_new_is_not_shut_out() {
        let (mut rates, start) = (Rates::new(1, HOUR, 100), Instant::now());
        for key in 0..10_000 {
            assert_eq!(rates.take(start, key), Ok(()));
        }
        assert_eq!(rates.used_up.len(), 100);
        assert!(rates.take(start, 5).is_err(), "who is known is limited");
        assert_eq!(rates.take(start + HOUR, 10_000), Ok(()));
        assert_eq!(rates.used_up.len(), 1, "who is done with is forgotten");
    }

    /// A random walk against the rule itself: in any span no more than twice the count, at once no
    /// more than the count, and after a whole span of silence everything is free again.
    #[test]
    fn the_rule_holds_whatever_happens() {
        for seed in 1_u64..200 {
            let mut chance = seed;
            let mut below = |bound: u64| {
                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed | 1);
                (chance >> 33) % bound
            };
            let count = 1 + below(20);
            let span = Duration::from_millis(1 + below(5_000));
            let (mut rates, mut now) = (Rates::new(count, span, 9), Instant::now());
            let mut taken: VecDeque<Instant> = VecDeque::new();
            let mut at_once = 0;
            for _ in 0..500 {
                let pause = Duration::from_millis(below(3) * below(300));
                now += pause;
                at_once = if pause.is_zero() { at_once } else { 0 };
                while taken.front().is_some_and(|&at| at + span <= now) {
                    taken.pop_front();
                }
                match rates.take(now, ()) {
                    Ok(()) => {
                        taken.push_back(now);
                        at_once += 1;
                    }
                    Err(wait) => {
                        assert!(!taken.is_empty(), "seed {seed}: refused after a span of silence");
                        assert!(wait <= span, "seed {seed}: {wait:?}");
                        assert!(rates.take(now, ()).is_err(), "seed {seed}: a refusal is free");
                        let (later, mut then) = (now + wait, Rates::new(count, span, 9));
                        then.used_up.clone_from(&rates.used_up);
                        assert!(then.take(later, ()).is_ok(), "seed {seed}: the wait is enough");
                    }
                }
                assert!(taken.len() as u64 <= 2 * count, "seed {seed}: {}", taken.len());
                assert!(at_once <= count, "seed {seed}: {at_once}");
            }
        }
    }
}
