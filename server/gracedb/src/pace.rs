//! How fast background work may write.
//!
//! Work that keeps up is held to a rate, so that it leaves the disk to who waits for it; work that
//! is behind goes as fast as it can, for then somebody will soon wait for it.
//! Invariants: waiting ends at once when the database closes; a rate is kept over any second.
//! Not here: what is written.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex, locked};

/// Work goes on without a wait for so many milliseconds' worth of bytes.
const BURST_MS: u64 = 50;

/// A rate.
pub(crate) struct Pace {
    bytes_s: u64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// When everything written so far is paid for.
    paid_at: Instant,
    hurry: bool,
    stopped: bool,
}

impl Pace {
    pub(crate) fn new(bytes_s: u64) -> Self {
        let state = State { paid_at: Instant::now(), hurry: false, stopped: false };
        Self { bytes_s: bytes_s.max(1), state: Mutex::new(state), changed: Condvar::new() }
    }

    /// From now on work is behind, or is not any more.
    pub(crate) fn set_hurry(&self, hurry: bool) {
        locked(&self.state).hurry = hurry;
        self.changed.notify_all();
    }

    /// Ends every wait, now and later.
    pub(crate) fn stop(&self) {
        locked(&self.state).stopped = true;
        self.changed.notify_all();
    }

    /// Waits until so many more bytes may be written; false: the database closes.
    pub(crate) fn spend(&self, bytes: u64) -> bool {
        let mut state = locked(&self.state);
        if state.stopped || state.hurry {
            return !state.stopped;
        }
        let now = Instant::now();
        let cost = Duration::from_micros(bytes.saturating_mul(1_000_000) / self.bytes_s);
        state.paid_at = state.paid_at.max(now) + cost;
        let until = state.paid_at.checked_sub(Duration::from_millis(BURST_MS)).unwrap_or(now);
        while !state.stopped && !state.hurry {
            let Some(left) = until.checked_duration_since(Instant::now()) else { break };
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        !state.stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told_to_hurry_or_to_stop_does_not_wait() {
        let pace = Pace::new(1);
        pace.set_hurry(true);
        assert!(pace.spend(u64::MAX / 2_000_000));
        pace.set_hurry(false);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pace.spend(1_000_000));
            pace.stop();
            assert!(!waiting.join().unwrap());
        });
    }
}
