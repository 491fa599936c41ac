//! The keys local domains sign their mail with (DKIM, RFC 6376), from their making to their end.
//!
//! ```text
//!   create ─▶ Waiting ─▶ an admin publishes ─▶ activate ─▶ Signing ─▶ the next one ─▶ Retired
//!             RSA and     the records           checks                 is activated      │ days
//!             Ed25519                           the DNS                                  ▼ later
//!                                                                                      delete
//! ```
//! Invariants: a key signs only when others can look it up, or an admin said so; a private key
//! leaves this module for the database alone; every change is an event.
//! Not here: what a signature looks like ([`sign`]), or a seal ([`seal`]); checking others'
//! (`authenticity`).

mod keys;
pub mod record;
pub mod seal;
pub mod sign;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gracedb::db::Db;
use gracedb::view::View as _;
use gracedb::write::WriteTx;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout_at};

use grace_ipc::event::{EventKind, TraceId};
use grace_mail::date::civil_from_days;

use self::keys::{Made, Signer};
use self::record::{Published, Record};
use crate::dns::Resolver;
use crate::store::accounts::{Domain, domain_name};
use crate::store::dkim::{DkimKeyRow, KeyAlgorithm, KeyState};
use crate::store::failure::Failure;
use crate::store::refusal::Refusal;
use crate::telemetry::bus::{Bus, now_us};

/// Keys of one domain. A rotation has two that wait and two that sign; what is retired goes soon.
const KEYS_PER_DOMAIN_MAX: usize = 12;
/// How long a check of records may take in all; somebody sits before a screen.
const CHECK_TIME_MAX: Duration = Duration::from_secs(10);
/// Records asked about at once.
const CHECKS_AT_ONCE_MAX: usize = 16;

const DAY_US: u64 = 86_400_000_000;

/// The keys of local domains. Cloning gives another handle.
#[derive(Clone)]
pub struct Signing {
    db: Db,
    bus: Bus,
    dns: Resolver,
    /// Keys made ready to sign, by domain. A copy of rows, and used only while it is one.
    ready: Arc<Mutex<HashMap<String, Arc<[Signer]>>>>,
}

/// A key, without what is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The domain that signs.
    pub domain: String,
    /// What the key is called there.
    pub selector: String,
    /// How it signs.
    pub algorithm: KeyAlgorithm,
    /// What it is good for.
    pub state: KeyState,
    /// When it was made, microseconds since 1970 UTC.
    pub created_us: u64,
    /// When its state changed last, microseconds since 1970 UTC.
    pub changed_us: u64,
    /// What is to be published.
    pub record: Record,
}

impl Signing {
    /// The keys kept in `db`. `dns` is asked for their records, and should not remember answers:
    /// who has just published one asks again.
    #[must_use]
    pub fn new(db: Db, bus: Bus, dns: Resolver) -> Self {
        Self { db, bus, dns, ready: Arc::default() }
    }

    /// Makes an RSA and an Ed25519 key for a domain: few can check the latter yet, and those who
    /// can need not trust the former. `by` is who asked, for the events.
    ///
    /// # Errors
    /// There is no such domain, keys of it wait already, it has too many, or the database failed.
    pub async fn create(&self, domain: &str, by: &str) -> Result<Vec<Key>, Refusal> {
        let domain = domain_name(domain)?;
        let now = now_us();
        // Some tenths of a second of arithmetic.
        let made = spawn_blocking(keys::make_pair)
            .await
            .map_err(|e| Refusal::Invalid(e.to_string()))?
            .map_err(Refusal::Invalid)?;
        let made = self.db.write(|tx| add(tx, &domain, made, now))?.await?;
        for key in &made {
            self.tell(key, "created", by);
        }
        Ok(made)
    }

    /// The keys of a domain, or of all, by name.
    ///
    /// # Errors
    /// There is no such domain, or the database failed.
    pub fn list(&self, domain: Option<&str>) -> Result<Vec<Key>, Refusal> {
        let snapshot = self.db.snapshot();
        let rows = match domain {
            None => snapshot.scan::<DkimKeyRow>(),
            Some(domain) => {
                let domain = domain_name(domain)?;
                if !snapshot.contains::<Domain>(&domain)? {
                    return Err(Refusal::Missing(format!("domain {domain}")));
                }
                snapshot.prefix::<DkimKeyRow>(&(domain,))
            }
        };
        rows.map(|row| Ok(Key::of(&row?))).collect()
    }

    /// What a domain publishes of its keys.
    ///
    /// # Errors
    /// There is no such domain, or the database failed.
    pub fn records(&self, domain: &str) -> Result<Vec<Record>, Refusal> {
        Ok(self.list(Some(domain))?.into_iter().map(|key| key.record).collect())
    }

    /// The keys of a domain, or of all, each with what the DNS says of it. Ends in time, whatever
    /// the DNS does.
    ///
    /// # Errors
    /// There is no such domain, or the database failed.
    pub async fn check(&self, domain: Option<&str>) -> Result<Vec<(Key, Published)>, Refusal> {
        Ok(self.look_up(self.list(domain)?).await)
    }

    /// Lets the keys of a domain that wait sign from now on, and retires those that signed. Not
    /// before the records of the new ones are found, unless `force` says so.
    ///
    /// # Errors
    /// No key waits, a record is not found (says which, and why), or the database failed.
    pub async fn activate(&self, domain: &str, force: bool, by: &str) -> Result<(), Refusal> {
        let domain = domain_name(domain)?;
        let mut waiting = self.list(Some(&domain))?;
        waiting.retain(|key| key.state == KeyState::Waiting);
        if !force {
            let checked = self.look_up(waiting.clone()).await;
            if let Some((key, published)) = checked.iter().find(|(_, p)| !p.is_found()) {
                return Err(Refusal::Invalid(format!(
                    "the record {} {published}; mail signed now would not be believed: publish \
                     it, wait until it is found, and activate again (or force it)",
                    key.record.name
                )));
            }
        }
        let selectors: Vec<String> = waiting.into_iter().map(|key| key.selector).collect();
        let now = now_us();
        let changed = self.db.write(|tx| switch(tx, &domain, &selectors, now))?.await?;
        for key in &changed {
            let change = if key.state == KeyState::Signing { "signing" } else { "retired" };
            self.tell(key, change, by);
        }
        Ok(())
    }

    /// Lets a key sign no more. Its record stays published until mail it signed has arrived.
    ///
    /// # Errors
    /// There is no such key, it does not sign, or the database failed.
    pub async fn retire(&self, domain: &str, selector: &str, by: &str) -> Result<(), Refusal> {
        let domain = domain_name(domain)?;
        let now = now_us();
        let key = self
            .db
            .write(|tx| {
                let row = require(tx, &domain, selector)?;
                if KeyState::from_row(row.state) != KeyState::Signing {
                    return Err(Refusal::Invalid(format!("the key {selector} does not sign")));
                }
                turn(tx, row, KeyState::Retired, now)
            })?
            .await?;
        self.tell(&key, "retired", by);
        Ok(())
    }

    /// Removes a key, for good. If it signs, the domain signs without it from now on.
    ///
    /// # Errors
    /// There is no such key, or the database failed.
    pub async fn delete(&self, domain: &str, selector: &str, by: &str) -> Result<(), Refusal> {
        let domain = domain_name(domain)?;
        let key = self
            .db
            .write(|tx| {
                let row = require(tx, &domain, selector)?;
                tx.delete::<DkimKeyRow>(&(row.domain.as_str(), row.selector.as_str()))?;
                Ok::<_, Refusal>(Key::of(&row))
            })?
            .await?;
        self.tell(&key, "deleted", by);
        Ok(())
    }

    /// Asks the DNS about each.
    async fn look_up(&self, keys: Vec<Key>) -> Vec<(Key, Published)> {
        let deadline = Instant::now() + CHECK_TIME_MAX;
        let turns = Arc::new(Semaphore::new(CHECKS_AT_ONCE_MAX));
        let mut tasks = JoinSet::new();
        for (place, key) in keys.iter().enumerate() {
            let (dns, turns, record) = (self.dns.clone(), Arc::clone(&turns), key.record.clone());
            tasks.spawn(async move {
                let published = timeout_at(deadline, async {
                    let _turn = turns.acquire().await;
                    record.look_up(&dns).await
                });
                (place, published.await.ok())
            });
        }
        let mut published: HashMap<usize, Published> = HashMap::new();
        while let Some(done) = tasks.join_next().await {
            if let Ok((place, Some(one))) = done {
                published.insert(place, one);
            }
        }
        let late = || Published::Unknown("the DNS did not answer in time".to_owned());
        let keys = keys.into_iter().enumerate();
        keys.map(|(place, key)| (key, published.remove(&place).unwrap_or_else(late))).collect()
    }

    fn tell(&self, key: &Key, change: &str, by: &str) {
        let what = format!("dkim {} of {}", key.selector, key.domain);
        let (change, by) = (change.to_owned(), by.to_owned());
        self.bus.emit(TraceId(0), EventKind::DirectoryChanged { what, change, by });
    }
}

impl Key {
    fn of(row: &DkimKeyRow) -> Self {
        let algorithm = KeyAlgorithm::from_row(row.algorithm);
        Self {
            domain: row.domain.clone(),
            selector: row.selector.clone(),
            algorithm,
            state: KeyState::from_row(row.state),
            created_us: row.created_us,
            changed_us: row.changed_us,
            record: Record::new(&row.domain, &row.selector, algorithm, &row.public_key),
        }
    }
}

/// Adds keys that were made, under selectors that are free.
fn add(tx: &mut WriteTx<'_>, domain: &str, made: [Made; 2], now: u64) -> Result<Vec<Key>, Refusal> {
    if !tx.contains::<Domain>(domain)? {
        return Err(Refusal::Missing(format!(
            "domain {domain}; make it first: gracectl domain create {domain}"
        )));
    }
    let known = keys_of(tx, domain)?;
    if let Some(waiting) = known.iter().find(|row| is(row, KeyState::Waiting)) {
        return Err(Refusal::Exists(format!(
            "a key of {domain} that waits to be activated, {},",
            waiting.selector
        )));
    }
    if known.len() + made.len() > KEYS_PER_DOMAIN_MAX {
        return Err(Refusal::Invalid(format!(
            "{domain} has {} keys, and {KEYS_PER_DOMAIN_MAX} at most; delete those that are \
             retired",
            known.len()
        )));
    }
    let stem = selector_stem(&known, now);
    let rows = made.map(|Made { algorithm, private_key, public_key }| DkimKeyRow {
        domain: domain.to_owned(),
        selector: stem(algorithm),
        algorithm: algorithm as u8,
        state: KeyState::Waiting as u8,
        private_key,
        public_key,
        created_us: now,
        changed_us: now,
    });
    for row in &rows {
        tx.insert(row)?;
    }
    Ok(rows.iter().map(Key::of).collect())
}

/// Selectors of this day that none of these keys has, such as `g20261130r` and `g20261130e`; both
/// of a pair have the same number behind.
fn selector_stem(known: &[DkimKeyRow], now: u64) -> impl Fn(KeyAlgorithm) -> String {
    let (year, month, day) = civil_from_days(i64::try_from(now / DAY_US).unwrap_or(i64::MAX));
    let name = move |algorithm: KeyAlgorithm, number: usize| {
        let letter = match algorithm {
            KeyAlgorithm::Rsa => 'r',
            KeyAlgorithm::Ed25519 => 'e',
        };
        let number = if number > 1 { number.to_string() } else { String::new() };
        format!("g{year:04}{month:02}{day:02}{letter}{number}")
    };
    let is_free = |number: usize| {
        [KeyAlgorithm::Rsa, KeyAlgorithm::Ed25519].into_iter().all(|algorithm| {
            let name = name(algorithm, number);
            known.iter().all(|row| row.selector != name)
        })
    };
    // One of as many numbers as there are keys, and one more, is free.
    let number = (1..=known.len() + 1).find(|number| is_free(*number)).unwrap_or(known.len() + 1);
    move |algorithm| name(algorithm, number)
}

/// Lets these keys sign, if they still wait, and retires those that do.
fn switch(
    tx: &mut WriteTx<'_>,
    domain: &str,
    selectors: &[String],
    now: u64,
) -> Result<Vec<Key>, Refusal> {
    let keys = keys_of(tx, domain)?;
    let chosen = |row: &DkimKeyRow| is(row, KeyState::Waiting) && selectors.contains(&row.selector);
    if !keys.iter().any(chosen) {
        return Err(Refusal::Missing(format!(
            "key of {domain} that waits; make one: gracectl dkim create {domain}"
        )));
    }
    let mut changed = Vec::new();
    for row in keys {
        if chosen(&row) {
            changed.push(turn(tx, row, KeyState::Signing, now)?);
        } else if is(&row, KeyState::Signing) {
            changed.push(turn(tx, row, KeyState::Retired, now)?);
        }
    }
    Ok(changed)
}

fn turn(tx: &mut WriteTx<'_>, row: DkimKeyRow, state: KeyState, now: u64) -> Result<Key, Refusal> {
    let row = DkimKeyRow { state: state as u8, changed_us: now, ..row };
    tx.put(&row)?;
    Ok(Key::of(&row))
}

fn keys_of(tx: &WriteTx<'_>, domain: &str) -> Result<Vec<DkimKeyRow>, Failure> {
    Ok(tx.prefix::<DkimKeyRow>(&(domain,)).collect::<Result<_, _>>()?)
}

fn require(tx: &WriteTx<'_>, domain: &str, selector: &str) -> Result<DkimKeyRow, Refusal> {
    tx.get::<DkimKeyRow>(&(domain, selector))?
        .ok_or_else(|| Refusal::Missing(format!("key {selector} of {domain}")))
}

fn is(row: &DkimKeyRow, state: KeyState) -> bool {
    KeyState::from_row(row.state) == state
}
