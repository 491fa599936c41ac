//! Mailboxes and messages: the only owner of their tables.
//!
//! Every change is one transaction, or for very many messages a row of them (`batch`); what a
//! function returns as done is on disk. The database wakes the sessions that watch the mailbox, and
//! they read what changed since the mod-sequence they know.
//! Invariants: UIDs of a mailbox only grow; a mailbox's counts agree with its messages, and what
//! its owner uses with its counts.
//! Not here: IMAP (`imap`), which command needs which right (`imap` asks `rights`).

pub mod append;
mod batch;
pub mod change;
pub mod chores;
pub mod expunge;
pub mod facts;
pub mod metadata;
pub mod names;
pub mod picture;
pub mod public;
pub mod quota;
pub mod read;
pub mod rights;
pub mod threads;
pub mod urls;
pub mod usage;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use gracedb::db::Db;
use gracedb::error::Error as StoreError;

use grace_ipc::event::{EventKind, TraceId};

use self::picture::Pictures;
use crate::config::limits::{Limits, QuotaRules};
use crate::store::quota::Defaults;
use crate::telemetry::bus::Bus;

/// The level separator in mailbox names.
pub const SEPARATOR: char = '/';

/// Mailboxes and messages. Cloning gives another handle.
#[derive(Clone)]
pub struct Mailboxes {
    db: Db,
    bus: Bus,
    mailboxes_per_account_max: u64,
    /// What may be kept where nobody set a limit.
    quota: Defaults,
    /// What mailboxes hold, for those who open them next.
    pictures: Arc<Pictures>,
    /// Damage that readers met and that was told.
    damage: Arc<Mutex<BTreeSet<String>>>,
}

/// Of so many broken places is told at most; the check of the database finds them all.
const DAMAGE_TOLD_MAX: usize = 1_000;

impl Mailboxes {
    /// The mailboxes kept in `db`.
    #[must_use]
    pub fn new(db: Db, bus: Bus, limits: &Limits) -> Self {
        let mailboxes_per_account_max = limits.mailboxes_per_account_max;
        let pictures_bytes = limits.mailbox_pictures_mib.saturating_mul(1 << 20);
        let pictures = Pictures::new(usize::try_from(pictures_bytes).unwrap_or(usize::MAX));
        let pictures = Arc::new(pictures);
        let (quota, damage) = (Defaults::default(), Arc::default());
        Self { db, bus, mailboxes_per_account_max, quota, pictures, damage }
    }

    /// The same with what may be kept where nobody set a limit.
    #[must_use]
    pub fn with_quota(self, rules: &QuotaRules) -> Self {
        let QuotaRules { account_bytes, account_messages, domain_bytes, domain_messages } = *rules;
        let (account, domain) =
            ((account_bytes, account_messages), (domain_bytes, domain_messages));
        Self { quota: Defaults { account, domain }, ..self }
    }

    /// Tells of damage that a reader of a message met, of each place once.
    pub fn tell_damage(&self, trace: TraceId, account: &str, error: &StoreError) {
        if !matches!(error, StoreError::Corrupt { .. } | StoreError::Unknown { .. }) {
            return;
        }
        let what = error.to_string();
        let mut told = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < DAMAGE_TOLD_MAX && told.insert(what.clone()) {
            let what = format!("{what}; met in a message of {account}");
            self.bus.emit(trace, EventKind::StoreDamaged { what });
        }
    }
}
