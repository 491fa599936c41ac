//! Addresses that guess passwords: counted over all their sessions, then kept out for a while.
//!
//! ```text
//!   failed ── so many guesses within the window ──▶ banned ── time is over ──▶ forgotten
//!      ▲                                              │
//!      └── succeeded: guesses for this login go ──────┤
//!                     and it is known here ──────────▶└── may log in from here all the same
//! ```
//! A guess is a login with a password. The same one again is no other guess: a mail program that
//! has an old password tries it all day. Who logged in from an address lately is not kept from it
//! by what others do there, unless the guesses are at that very login.
//! Invariants: what one address does costs no other one anything, nor any login elsewhere; memory
//! is bounded; neither logins nor passwords are kept, only hashes with a key of this process;
//! loopback is never banned, for all who come through a proxy on this machine come from there.
//! Not here: what a session does about wrong passwords (`directory::guest`).

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::gate::network;
use crate::config::limits::Limits;

/// Addresses whose guesses are remembered: some 20 MB, and 90 MB if each has guessed much. An
/// attack from more of them is slowed down by each of its sessions all the same.
const ADDRESSES_MAX: usize = 100_000;

/// Guesses of one address that are told apart; what comes after counts each time.
const GUESSES_MAX: usize = 32;

/// Addresses from which logins are known, a few dozen bytes each; the one without a login for the
/// longest time makes room.
const KNOWN_ADDRESSES_MAX: usize = 20_000;

/// Logins known at one address: an office. The one that was not used for the longest time makes
/// room.
const KNOWN_LOGINS_MAX: usize = 100;

/// Who has guessed, and who is kept out.
#[derive(Debug)]
pub struct Bans {
    failures_max: u32,
    window: Duration,
    ban: Duration,
    known: Duration,
    hashes: RandomState,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    records: HashMap<IpAddr, Record>,
    known: HashMap<IpAddr, Vec<Known>>,
}

#[derive(Debug, Clone)]
struct Record {
    guesses: Vec<Guess>,
    /// Guesses beyond those.
    more: u32,
    /// When what is counted, or the ban, is forgotten.
    until: Instant,
    is_banned: bool,
}

/// What was tried, as hashes; `None`: a proof without a password, which is never the same again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Guess {
    login: u64,
    password: Option<u64>,
}

/// A login that succeeded from an address.
#[derive(Debug, Clone, Copy)]
struct Known {
    login: u64,
    until: Instant,
    /// Guesses at it since.
    guesses: u32,
}

/// What a wrong password led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Guesses from this address of late.
    pub guesses: u32,
    /// This one was too many: the address is kept out from now on.
    pub begins_ban: bool,
}

impl Record {
    fn new(until: Instant) -> Self {
        Self { guesses: Vec::new(), more: 0, until, is_banned: false }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.guesses.len()).unwrap_or(u32::MAX).saturating_add(self.more)
    }

    /// Counts a guess; says whether it is another one.
    fn add(&mut self, guess: Guess) -> bool {
        if guess.password.is_some() && self.guesses.contains(&guess) {
            return false;
        }
        if self.guesses.len() < GUESSES_MAX {
            self.guesses.push(guess);
        } else {
            self.more = self.more.saturating_add(1);
        }
        true
    }
}

impl Bans {
    /// Counts by these settings.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            failures_max: u32::try_from(limits.login_failures_ban).unwrap_or(u32::MAX),
            window: Duration::from_secs(limits.login_failures_window_s),
            ban: Duration::from_secs(limits.login_ban_s),
            known: Duration::from_secs(limits.login_known_days * 24 * 3_600),
            hashes: RandomState::new(),
            books: Mutex::default(),
        }
    }

    /// A login from here failed. `password`: what was tried; `None`: nobody can tell.
    pub fn failed(
        &self,
        now: Instant,
        address: IpAddr,
        login: &str,
        password: Option<&[u8]>,
    ) -> Count {
        let address = address.to_canonical();
        if self.failures_max == 0 || address.is_loopback() {
            return Count { guesses: 0, begins_ban: false };
        }
        let address = network(address);
        let login = self.hash(login);
        let guess = Guess { login, password: password.map(|text| self.hashes.hash_one(text)) };
        let mut books = self.books();
        if !books.has_room(now, address) {
            return Count { guesses: 1, begins_ban: false };
        }
        let until = now + self.window;
        let record = books.records.entry(address).or_insert_with(|| Record::new(until));
        if record.until <= now {
            *record = Record::new(until);
        }
        let is_new = record.add(guess);
        let guesses = record.count();
        let begins_ban = guesses >= self.failures_max && !record.is_banned;
        if begins_ban {
            (record.is_banned, record.until) = (true, now + self.ban);
        }
        if is_new {
            books.doubt(address, login, self.failures_max);
        }
        Count { guesses, begins_ban }
    }

    /// This login succeeded from here.
    pub fn succeeded(&self, now: Instant, address: IpAddr, login: &str) {
        let address = address.to_canonical();
        if address.is_loopback() {
            return;
        }
        let (address, login) = (network(address), self.hash(login));
        let mut books = self.books();
        // Only those: who has an account must not make room for guesses at others.
        if let Some(record) = books.records.get_mut(&address) {
            record.guesses.retain(|guess| guess.login != login);
            if record.count() == 0 && !record.is_banned {
                books.records.remove(&address);
            }
        }
        if !self.known.is_zero() {
            books.learn(address, Known { login, until: now + self.known, guesses: 0 }, now);
        }
    }

    /// Whether an address is kept out, with all who might come from there.
    #[must_use]
    pub fn is_banned(&self, now: Instant, address: IpAddr) -> bool {
        let address = network(address);
        let books = self.books();
        books.has_ban(now, address)
            && !books.known.get(&address).is_some_and(|all| all.iter().any(|k| k.until > now))
    }

    /// Whether this login may be tried from here.
    #[must_use]
    pub fn may_try(&self, now: Instant, address: IpAddr, login: &str) -> bool {
        let (address, login) = (network(address), self.hash(login));
        let books = self.books();
        let is_known = |all: &Vec<Known>| all.iter().any(|k| k.login == login && k.until > now);
        !books.has_ban(now, address) || books.known.get(&address).is_some_and(is_known)
    }

    fn hash(&self, login: &str) -> u64 {
        self.hashes.hash_one(login.to_lowercase())
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// Whether guesses of this address can be counted; makes room if it can.
    fn has_room(&mut self, now: Instant, address: IpAddr) -> bool {
        if self.records.contains_key(&address) || self.records.len() < ADDRESSES_MAX {
            return true;
        }
        self.records.retain(|_, record| record.until > now && record.is_banned);
        self.records.len() < ADDRESSES_MAX
    }

    fn has_ban(&self, now: Instant, address: IpAddr) -> bool {
        let record = self.records.get(&address);
        record.is_some_and(|record| record.is_banned && record.until > now)
    }

    /// Somebody guessed at a login that is known here: after so many it is known no more.
    fn doubt(&mut self, address: IpAddr, login: u64, guesses_max: u32) {
        let Some(all) = self.known.get_mut(&address) else { return };
        for known in all.iter_mut().filter(|known| known.login == login) {
            known.guesses = known.guesses.saturating_add(1);
        }
        all.retain(|known| known.guesses < guesses_max);
        if all.is_empty() {
            self.known.remove(&address);
        }
    }

    fn learn(&mut self, address: IpAddr, known: Known, now: Instant) {
        if !self.known.contains_key(&address) && self.known.len() >= KNOWN_ADDRESSES_MAX {
            let last = |all: &[Known]| all.iter().map(|known| known.until).max();
            self.known.retain(|_, all| last(all).is_some_and(|until| until > now));
            let oldest = self.known.iter().min_by_key(|(_, all)| last(all)).map(|(at, _)| *at);
            if let Some(oldest) = oldest.filter(|_| self.known.len() >= KNOWN_ADDRESSES_MAX) {
                self.known.remove(&oldest);
            }
        }
        let all = self.known.entry(address).or_default();
        all.retain(|other| other.login != known.login && other.until > now);
        if all.len() >= KNOWN_LOGINS_MAX {
            // In the order of their last success.
            all.remove(0);
        }
        all.push(known);
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
            login_known_days: 1,
            ..Limits::default()
        };
        Bans::new(&limits)
    }

    /// Guesses another password each time.
    fn guess(bans: &Bans, now: Instant, address: &str, login: &str, number: u32) -> Count {
        bans.failed(now, ip(address), login, Some(&number.to_be_bytes()))
    }

    fn ban(bans: &Bans, now: Instant, address: &str, login: &str) {
        for number in 0..3 {
            guess(bans, now, address, login, number);
        }
    }

    #[test]
    fn who_guesses_is_kept_out_for_a_while_and_nobody_else() {
        let (bans, start) = (bans(), Instant::now());
        let after = |s| start + Duration::from_secs(s);
        let count = |guesses, begins_ban| Count { guesses, begins_ban };
        assert_eq!(guess(&bans, after(0), "192.0.2.1", "anna", 1), count(1, false));
        assert_eq!(guess(&bans, after(1), "::ffff:192.0.2.1", "bob", 2), count(2, false));
        assert!(!bans.is_banned(after(2), ip("192.0.2.1")));
        assert_eq!(guess(&bans, after(2), "192.0.2.1", "carl", 3), count(3, true));
        assert!(bans.is_banned(after(2), ip("192.0.2.1")));
        assert!(!bans.may_try(after(2), ip("192.0.2.1"), "anna"));
        assert!(!bans.is_banned(after(2), ip("192.0.2.2")));
        assert!(
            bans.may_try(after(2), ip("192.0.2.2"), "anna"),
            "others' guesses cost her nothing"
        );
        assert_eq!(guess(&bans, after(3), "192.0.2.1", "carl", 4), count(4, false));
        assert!(bans.is_banned(after(601), ip("192.0.2.1")));
        assert!(!bans.is_banned(after(602), ip("192.0.2.1")));
        assert_eq!(guess(&bans, after(603), "192.0.2.1", "carl", 5), count(1, false), "anew");
    }

    #[test]
    fn the_same_password_again_is_no_other_guess() {
        let (bans, now) = (bans(), Instant::now());
        for _ in 0..10 {
            assert_eq!(guess(&bans, now, "192.0.2.1", "anna", 1).guesses, 1);
        }
        assert_eq!(guess(&bans, now, "192.0.2.1", "bob", 1).guesses, 2, "another login");
        assert!(bans.failed(now, ip("192.0.2.1"), "bob", None).begins_ban, "a proof tells nothing");
        assert_eq!(bans.failed(now, ip("192.0.2.1"), "bob", None).guesses, 4);
    }

    #[test]
    fn a_success_and_time_are_forgiving() {
        let (bans, start) = (bans(), Instant::now());
        guess(&bans, start, "2001:db8::1", "anna", 1);
        guess(&bans, start, "2001:db8::2", "bob", 2);
        bans.succeeded(start, ip("2001:db8::3"), "Anna");
        assert_eq!(guess(&bans, start, "2001:db8::1", "bob", 3).guesses, 2, "hers are forgotten");
        let later = start + Duration::from_secs(61);
        assert_eq!(guess(&bans, later, "2001:db8::1", "bob", 4).guesses, 1, "the window is over");
        assert_eq!(guess(&bans, later, "2001:db8:0:1::1", "bob", 4).guesses, 1, "another network");
    }

    #[test]
    fn who_is_known_at_an_address_is_not_kept_from_it_by_others() {
        let (bans, start) = (bans(), Instant::now());
        let office = ip("192.0.2.1");
        bans.succeeded(start, office, "anna");
        ban(&bans, start, "192.0.2.1", "bob");
        assert!(!bans.is_banned(start, office), "the door cannot know who comes");
        assert!(bans.may_try(start, office, "ANNA"));
        assert!(!bans.may_try(start, office, "bob"));
        bans.succeeded(start, office, "anna");
        assert!(!bans.may_try(start, office, "bob"), "her success helps nobody else");
        let later = start + Duration::from_secs(24 * 3_600 + 1);
        ban(&bans, later, "192.0.2.1", "bob");
        assert!(bans.is_banned(later, office), "she has not been here for long");
        assert!(!bans.may_try(later, office, "anna"));
    }

    #[test]
    fn guesses_at_a_known_login_end_that() {
        let (bans, now) = (bans(), Instant::now());
        bans.succeeded(now, ip("192.0.2.1"), "anna");
        bans.succeeded(now, ip("192.0.2.9"), "anna");
        ban(&bans, now, "192.0.2.1", "anna");
        assert!(!bans.may_try(now, ip("192.0.2.1"), "anna"));
        assert!(bans.is_banned(now, ip("192.0.2.1")));
        assert!(bans.may_try(now, ip("192.0.2.9"), "anna"));
    }

    #[test]
    fn this_machine_is_never_kept_out() {
        let (bans, now) = (bans(), Instant::now());
        for number in 0..10 {
            assert_eq!(guess(&bans, now, "127.0.0.1", "anna", number).guesses, 0);
        }
        assert!(!bans.is_banned(now, ip("127.0.0.1")));
    }

    #[test]
    fn memory_is_bounded() {
        let (bans, now) = (bans(), Instant::now());
        let address = |number: u32| IpAddr::V4((0x0a00_0000 + number).into());
        for number in 0..1_000 {
            bans.failed(now, address(8_000_000), &number.to_string(), None);
        }
        for number in 0..u32::try_from(ADDRESSES_MAX).expect("it fits") + 1_000 {
            bans.failed(now, address(number), "anna", Some(b"x"));
        }
        for number in 0..u32::try_from(KNOWN_ADDRESSES_MAX).expect("it fits") + 10 {
            bans.succeeded(now + Duration::from_secs(number.into()), address(number), "anna");
        }
        for number in 0..KNOWN_LOGINS_MAX + 10 {
            bans.succeeded(now, address(7_000_000), &number.to_string());
        }
        let books = bans.books();
        assert!(books.records.len() <= ADDRESSES_MAX);
        assert_eq!(books.known.len(), KNOWN_ADDRESSES_MAX);
        assert!(!books.known.contains_key(&address(0)), "the oldest made room");
        assert!(books.known.values().all(|all| all.len() <= KNOWN_LOGINS_MAX));
        assert_eq!(books.records[&address(8_000_000)].guesses.len(), GUESSES_MAX);
    }
}
