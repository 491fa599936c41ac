//! Addresses that guess passwords: counted over all their sessions, then kept out for a while.
//!
//! ```text
//!   failed ── so many within the window ──▶ banned ── time is over ──▶ forgotten
//!      ▲                                      │
//!      └── succeeded: the count begins anew ──┘ (who is banned gets no session to succeed in)
//! ```
//! Invariants: what one address does costs no other one anything; memory is bounded by
//! `ADDRESSES_MAX`; loopback is never banned, for all who come through a proxy on this machine
//! come from there.
//! Not here: what a session does about wrong passwords (`inbound`, `imap`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::gate::network;
use crate::config::limits::Limits;

/// Addresses that are remembered: some 10 MB. An attack from more of them is slowed down by each of
/// its sessions all the same.
const ADDRESSES_MAX: usize = 100_000;

/// Who has guessed, and who is kept out.
#[derive(Debug)]
pub struct Bans {
    failures_max: u32,
    window: Duration,
    ban: Duration,
    records: Mutex<HashMap<IpAddr, Record>>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    failures: u32,
    /// When what is counted, or the ban, is forgotten.
    until: Instant,
    is_banned: bool,
}

impl Bans {
    /// Counts by these settings.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            failures_max: u32::try_from(limits.login_failures_ban).unwrap_or(u32::MAX),
            window: Duration::from_secs(limits.login_failures_window_s),
            ban: Duration::from_secs(limits.login_ban_s),
            records: Mutex::default(),
        }
    }

    /// A login from here failed; says how many did of late.
    pub fn failed(&self, now: Instant, address: IpAddr) -> u32 {
        let address = address.to_canonical();
        if self.failures_max == 0 || address.is_loopback() {
            return 0;
        }
        let mut records = self.records();
        let address = network(address);
        if !records.contains_key(&address) && records.len() >= ADDRESSES_MAX {
            records.retain(|_, record| record.until > now && record.is_banned);
            if records.len() >= ADDRESSES_MAX {
                return 1;
            }
        }
        let fresh = Record { failures: 0, until: now + self.window, is_banned: false };
        let record = records.entry(address).or_insert(fresh);
        if record.until <= now {
            *record = fresh;
        }
        record.failures = record.failures.saturating_add(1);
        if record.failures >= self.failures_max && !record.is_banned {
            (record.is_banned, record.until) = (true, now + self.ban);
        }
        record.failures
    }

    /// Somebody from here logged in.
    pub fn succeeded(&self, address: IpAddr) {
        let address = network(address);
        let mut records = self.records();
        if records.get(&address).is_some_and(|record| !record.is_banned) {
            records.remove(&address);
        }
    }

    /// Whether an address is kept out.
    #[must_use]
    pub fn is_banned(&self, now: Instant, address: IpAddr) -> bool {
        let record = self.records().get(&network(address)).copied();
        record.is_some_and(|record| record.is_banned && record.until > now)
    }

    fn records(&self) -> MutexGuard<'_, HashMap<IpAddr, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn bans() -> Bans {
        let limits = Limits {
            login_failures_ban: 3,
            login_failures_window_s: 60,
            login_ban_s: 600,
            ..Limits::default()
        };
        Bans::new(&limits)
    }

    #[test]
    fn who_guesses_is_kept_out_for_a_while_and_nobody_else() {
        let (bans, start) = (bans(), Instant::now());
        let after = |s| start + Duration::from_secs(s);
        assert_eq!(bans.failed(after(0), ip("192.0.2.1")), 1);
        assert_eq!(bans.failed(after(1), ip("::ffff:192.0.2.1")), 2);
        assert!(!bans.is_banned(after(2), ip("192.0.2.1")));
        assert_eq!(bans.failed(after(2), ip("192.0.2.1")), 3);
        assert!(bans.is_banned(after(2), ip("192.0.2.1")));
        assert!(!bans.is_banned(after(2), ip("192.0.2.2")));
        assert!(bans.is_banned(after(601), ip("192.0.2.1")));
        assert!(!bans.is_banned(after(602), ip("192.0.2.1")));
        assert_eq!(bans.failed(after(603), ip("192.0.2.1")), 1, "it begins anew");
    }

    #[test]
    fn a_success_and_time_are_forgiving() {
        let (bans, start) = (bans(), Instant::now());
        let address = ip("2001:db8::1");
        bans.failed(start, address);
        bans.failed(start, ip("2001:db8::2"));
        bans.succeeded(address);
        assert_eq!(bans.failed(start, address), 1);
        let later = start + Duration::from_secs(61);
        assert_eq!(bans.failed(later, address), 1, "the window is over");
    }

    #[test]
    fn this_machine_is_never_kept_out() {
        let (bans, now) = (bans(), Instant::now());
        for _ in 0..10 {
            assert_eq!(bans.failed(now, ip("127.0.0.1")), 0);
        }
        assert!(!bans.is_banned(now, ip("127.0.0.1")));
    }

    #[test]
    fn memory_is_bounded() {
        let (bans, now) = (bans(), Instant::now());
        for number in 0..u32::try_from(ADDRESSES_MAX).expect("it fits") + 1_000 {
            bans.failed(now, IpAddr::V4((0x0a00_0000 + number).into()));
        }
        assert!(bans.records().len() <= ADDRESSES_MAX);
    }
}
