//! Moments: milliseconds since 1970-01-01 00:00 UTC.
//!
//! Due times are kept on disk and must mean the same after a restart, which an `Instant` cannot.
//! Invariant: no arithmetic here overflows; it stops at the ends.
//! Not here: a clock. Whoever knows the time brings it along.

use std::time::Duration;

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    /// 1970-01-01 00:00 UTC: before anything that happens here.
    pub const EPOCH: Self = Self(0);
    /// Later than everything.
    pub const NEVER: Self = Self(u64::MAX);

    /// So many milliseconds after 1970.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// So many seconds after 1970.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// The moment `wait` later.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(millis(wait)))
    }

    /// The moment `wait` earlier.
    #[must_use]
    pub fn before(self, wait: Duration) -> Self {
        Self(self.0.saturating_sub(millis(wait)))
    }

    /// How long after `earlier` this is; nothing if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// A span in whole milliseconds.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_stops_at_the_ends() {
        let second = Duration::from_secs(1);
        assert_eq!(Time::from_secs(2).before(second), Time::from_millis(1_000));
        assert_eq!(Time::EPOCH.before(second), Time::EPOCH);
        assert_eq!(Time::NEVER.after(second), Time::NEVER);
        assert_eq!(Time::EPOCH.after(Duration::MAX), Time::NEVER);
        assert_eq!(Time::from_secs(3).since(Time::from_secs(1)), 2 * second);
        assert_eq!(Time::from_secs(1).since(Time::from_secs(3)), Duration::ZERO);
    }
}
