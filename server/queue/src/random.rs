//! Chance from a seed, so that a run can be had again.
//!
//! For spreading load over time, never for secrets.

use std::time::Duration;

use crate::time::millis;

/// SplitMix64 (Steele, Lea and Flood, 2014): 64 bits of state, every value once per period.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, any of them as likely.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A span from `min` to `max`, as far between them as `chance` is between 0 and its largest value.
#[must_use]
pub(crate) fn between(chance: u64, min: Duration, max: Duration) -> Duration {
    let span = u128::from(millis(max.saturating_sub(min)));
    let part = (u128::from(chance) * (span + 1)) >> 64;
    min + Duration::from_millis(u64::try_from(part).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_stays_between_its_bounds_and_reaches_both() {
        let (min, max) = (Duration::from_millis(10), Duration::from_millis(20));
        assert_eq!(between(0, min, max), min);
        assert_eq!(between(u64::MAX, min, max), max);
        assert_eq!(between(u64::MAX / 2, min, max), Duration::from_millis(15));
        assert_eq!(between(u64::MAX, max, min), max, "bounds the wrong way round");
        let mut random = Random::new(1);
        let mut seen = [0_u32; 11];
        for _ in 0..11_000 {
            let millis = between(random.next(), min, max).as_millis();
            seen[usize::try_from(millis - 10).unwrap()] += 1;
        }
        assert!(seen.iter().all(|times| (800..1_200).contains(times)), "{seen:?}");
    }

    #[test]
    fn a_seed_gives_the_same_run() {
        let run = |seed| {
            let mut random = Random::new(seed);
            [random.next(), random.next(), random.next()]
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}
