//! Mailboxes and messages: the only owner of their tables.
//!
//! Every change is one transaction, or for very many messages a row of them (`batch`); what a
//! function returns as done is on disk. The database wakes the sessions that watch the mailbox, and
//! they read what changed since the mod-sequence they know.
//! Invariants: UIDs of a mailbox only grow; a mailbox's counts agree with its messages.
//! Not here: IMAP (`imap`), who may do what (sessions know their account).

pub mod append;
mod batch;
pub mod change;
pub mod expunge;
pub mod names;
pub mod read;
pub mod usage;

use gracedb::db::Db;

use crate::telemetry::bus::Bus;

/// The level separator in mailbox names.
pub const SEPARATOR: char = '/';

/// Mailboxes and messages. Cloning gives another handle.
#[derive(Clone)]
pub struct Mailboxes {
    db: Db,
    bus: Bus,
    mailboxes_per_account_max: u64,
}

impl Mailboxes {
    /// The mailboxes kept in `db`.
    #[must_use]
    pub fn new(db: Db, bus: Bus, mailboxes_per_account_max: u64) -> Self {
        Self { db, bus, mailboxes_per_account_max }
    }
}
