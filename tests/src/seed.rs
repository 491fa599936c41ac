//! Chance that can be replayed: a test prints its seed, `GRACE_SEED` runs it again.
//!
//! Not here: anything secret; this generator is for tests only.

use std::time::{SystemTime, UNIX_EPOCH};

/// A small generator (SplitMix64), the same on every machine.
#[derive(Debug, Clone)]
pub struct Seed {
    state: u64,
    start: u64,
}

impl Seed {
    /// The seed of `GRACE_SEED`, or a new one.
    #[must_use]
    pub fn of_today() -> Self {
        let new = || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            now.as_secs() * 1_000_000 + u64::from(now.subsec_micros())
        };
        let given = std::env::var("GRACE_SEED").ok().and_then(|text| text.parse().ok());
        Self::new(given.unwrap_or_else(new))
    }

    /// A generator that starts at `start`.
    #[must_use]
    pub fn new(start: u64) -> Self {
        Self { state: start, start }
    }

    /// What to give as `GRACE_SEED` to see the same again.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.number() % (high - low + 1)
    }

    /// Random bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// A number from the environment: how many times a long test repeats.
#[must_use]
pub fn times(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself() {
        let (mut one, mut two) = (Seed::new(8841), Seed::new(8841));
        assert_eq!(one.bytes(100), two.bytes(100));
        assert!((0..1_000).all(|_| (3..=5).contains(&one.between(3, 5))));
        // The published first value of SplitMix64 from 0.
        assert_eq!(Seed::new(0).number(), 0xE220_A839_7B1D_CDAF);
    }
}
