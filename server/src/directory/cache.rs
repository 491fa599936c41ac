//! Passwords that were right a moment ago: a mail program opens five connections, and the password
//! of each would cost 40 ms and 46 MiB to check.
//!
//! Invariants: what is kept is an HMAC with a key that never leaves this process; it is of the
//! password's hash, too, so that it ends with the password; only right passwords are kept, so a
//! wrong one always takes its time; memory is bounded.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::store::accounts::Account;

/// Accounts whose password is remembered, some 100 bytes each. Those of more are checked each time.
const ACCOUNTS_MAX: usize = 10_000;

/// The passwords that were right.
#[derive(Debug)]
pub(super) struct Cache {
    /// `None`: nothing is remembered.
    key: Option<hmac::Key>,
    time: Duration,
    seen: Mutex<HashMap<u64, Seen>>,
}

#[derive(Debug)]
struct Seen {
    tag: hmac::Tag,
    until: Instant,
}

impl Cache {
    /// Remembers for `time_s` seconds; 0: not at all.
    pub(super) fn new(time_s: u64) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        // Without random bytes nothing is remembered: slower, and no less safe.
        let has_key = time_s > 0 && getrandom::fill(bytes.as_mut_slice()).is_ok();
        let key = has_key.then(|| hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice()));
        Self { key, time: Duration::from_secs(time_s), seen: Mutex::default() }
    }

    /// The password was found to be right.
    pub(super) fn remember(&self, now: Instant, account: &Account, password: &[u8]) {
        let Some(key) = &self.key else { return };
        let tag = hmac::sign(key, &told(account, password));
        let mut seen = self.seen();
        if seen.len() >= ACCOUNTS_MAX {
            seen.retain(|_, seen| seen.until > now);
        }
        if seen.len() < ACCOUNTS_MAX || seen.contains_key(&account.id) {
            seen.insert(account.id, Seen { tag, until: now + self.time });
        }
    }

    /// Whether it was, lately, and still is the account's.
    pub(super) fn knows(&self, now: Instant, account: &Account, password: &[u8]) -> bool {
        let Some(key) = &self.key else { return false };
        let told = told(account, password);
        let seen = self.seen();
        let found = seen.get(&account.id).filter(|seen| seen.until > now);
        // Takes the same time wherever they differ.
        found.is_some_and(|seen| hmac::verify(key, &told, seen.tag.as_ref()).is_ok())
    }

    /// Forgets what was an account's.
    pub(super) fn forget(&self, account: u64) {
        self.seen().remove(&account);
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<u64, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is signed. The hash has no NUL, so nothing can be moved from one part to the other.
fn told(account: &Account, password: &[u8]) -> Zeroizing<Vec<u8>> {
    let id = account.id.to_be_bytes();
    Zeroizing::new([&id, account.password_hash.as_bytes(), &[0], password].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(id: u64, hash: &str) -> Account {
        let (address, password_hash) = (format!("{id}@x.example"), hash.to_owned());
        Account { id, address, password_hash, created_us: 0 }
    }

    #[test]
    fn a_right_password_is_known_for_a_while() {
        let (cache, now) = (Cache::new(300), Instant::now());
        let anna = account(1, "$argon2id$1");
        assert!(!cache.knows(now, &anna, b"secret"));
        cache.remember(now, &anna, b"secret");
        assert!(cache.knows(now + Duration::from_secs(299), &anna, b"secret"));
        assert!(!cache.knows(now + Duration::from_secs(300), &anna, b"secret"));
        assert!(!cache.knows(now, &anna, b"Secret"));
        assert!(!cache.knows(now, &account(2, "$argon2id$1"), b"secret"));
        assert!(!cache.knows(now, &account(1, "$argon2id$2"), b"secret"), "it was changed");
        cache.forget(1);
        assert!(!cache.knows(now, &anna, b"secret"));
    }

    #[test]
    fn it_can_be_switched_off_and_is_bounded() {
        let (off, now) = (Cache::new(0), Instant::now());
        off.remember(now, &account(1, "x"), b"secret");
        assert!(!off.knows(now, &account(1, "x"), b"secret"));
        let cache = Cache::new(10);
        for id in 0..ACCOUNTS_MAX as u64 + 5 {
            cache.remember(now, &account(id, "x"), b"secret");
        }
        assert_eq!(cache.seen().len(), ACCOUNTS_MAX);
        let later = now + Duration::from_secs(10);
        cache.remember(later, &account(70_000, "x"), b"secret");
        assert_eq!(cache.seen().len(), 1);
    }
}
