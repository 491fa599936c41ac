//! Mailboxes and messages: the only owner of their tables.
//!
//! Every change is one transaction; what a function returns as done is on disk. After the commit
//! the sessions that watch the mailbox are woken, and read what changed since the mod-sequence they
//! know.
//! Invariants: UIDs of a mailbox only grow; a mailbox's counts agree with its messages; a body's
//! `references` is the number of messages that point to it.
//! Not here: IMAP (`imap`), who may do what (sessions know their account).

pub mod append;
pub mod change;
pub mod names;
pub mod read;
pub mod usage;
pub mod wake;

use std::sync::Arc;

use gracedb::db::Db;

use self::wake::Wakers;
use crate::telemetry::bus::Bus;

/// The level separator in mailbox names.
pub const SEPARATOR: char = '/';

/// Mailboxes and messages. Cloning gives another handle.
#[derive(Clone)]
pub struct Mailboxes {
    db: Db,
    bus: Bus,
    wakers: Arc<Wakers>,
    mailboxes_per_account_max: u64,
}

impl Mailboxes {
    /// The mailboxes kept in `db`.
    #[must_use]
    pub fn new(db: Db, bus: Bus, mailboxes_per_account_max: u64) -> Self {
        Self { db, bus, wakers: Arc::default(), mailboxes_per_account_max }
    }
}
