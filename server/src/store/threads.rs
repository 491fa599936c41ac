//! The tables of conversations, and of work that can wait.
//!
//! ```text
//!   message (mailbox, uid) ──▶ thread (mailbox, uid): what its THREADID says
//!   thread_reference (account, name) ──▶ the thread of messages that bear that name
//!   chore (kind, of, first) ──▶ what is to be made, or looked over, some time
//! ```
//! A name is a message identifier together with a base subject, as a number: one that a message has
//! or refers to. Invariants: a `thread` row is written once, on disk before anybody hears of it,
//! and goes with its message; a `thread_reference` row goes some time after the last message of its
//! thread went from the account.
//! Not here: which thread a message is of (`mailbox::threads`), who does the work
//! (`mailbox::chores`).

use serde::{Deserialize, Serialize};

use gracedb::error::Error;
use gracedb::table::Table;
use gracedb::view::View as _;
use gracedb::write::WriteTx;

use super::messages::FirstPlace;

/// A conversation. The older of two is the lesser one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Thread {
    /// INTERNALDATE of the message it began with, seconds since 1970 UTC.
    pub begun_s: i64,
    /// Where that message first stood, which is what its THREADID says (RFC 8474 5.2).
    pub first: FirstPlace,
}

/// Which conversation a message belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 53, name = "thread")]
pub struct ThreadRow {
    /// The mailbox the message is in.
    #[key]
    pub mailbox: u64,
    /// Its UID there.
    #[key]
    pub uid: u32,
    /// The conversation.
    pub thread: Thread,
}

/// Where messages belong that have a name, or refer to it.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 52, name = "thread_reference")]
pub struct ThreadReferenceRow {
    /// Whose messages.
    #[key]
    pub account: u64,
    /// The name.
    #[key]
    pub name: u64,
    /// The conversation.
    pub thread: Thread,
}

/// Work that can wait, and does so over a restart.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 54, name = "chore")]
pub struct ChoreRow {
    /// What is to be done, as a number of [`Chore`].
    #[key]
    pub kind: u8,
    /// A mailbox, or an account.
    #[key]
    pub of: u64,
    /// Of messages: the first UID.
    #[key]
    pub first: u32,
    /// The last one.
    pub last: u32,
    /// Since when it waits, seconds since 1970 UTC.
    pub since_s: i64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Chore {
    /// Nothing: everything that was older than such rows was noted down, and `last` says for which
    /// format of facts.
    Noted = 0,
    /// Facts and threads of messages between two UIDs of a mailbox are to be made.
    Make = 1,
    /// Messages of an account went: names that lead to no message any more are to go. `first` is 1
    /// while somebody is about it.
    Sweep = 2,
}

/// Notes that facts and thread of a message are to be made.
pub(crate) fn note_unmade(
    tx: &mut WriteTx<'_>,
    (mailbox, uid): (u64, u32),
    since_s: i64,
) -> Result<(), Error> {
    let kind = Chore::Make as u8;
    tx.put(&ChoreRow { kind, of: mailbox, first: uid, last: uid, since_s })
}

/// Notes that messages of an account went.
pub(crate) fn note_gone(tx: &mut WriteTx<'_>, account: u64, since_s: i64) -> Result<(), Error> {
    let kind = Chore::Sweep as u8;
    // The time of the first of them counts, or where mail goes all day it would never be done.
    match tx.contains::<ChoreRow>(&(kind, account, 0))? {
        true => Ok(()),
        false => tx.put(&ChoreRow { kind, of: account, first: 0, last: 0, since_s }),
    }
}

/// Forgets the threads of a mailbox that goes as a whole; it takes as long for one message as for a
/// million.
pub(super) fn forget_mailbox(tx: &mut WriteTx<'_>, mailbox: u64) -> Result<(), Error> {
    tx.delete_prefix::<ThreadRow, _>(&(mailbox,))?;
    tx.delete_prefix::<ChoreRow, _>(&(Chore::Make as u8, mailbox))
}

/// Forgets the names in an account's messages, when it has none any more.
pub(crate) fn forget_account(tx: &mut WriteTx<'_>, account: u64) -> Result<(), Error> {
    tx.delete_prefix::<ThreadReferenceRow, _>(&(account,))?;
    tx.delete_prefix::<ChoreRow, _>(&(Chore::Sweep as u8, account))
}

/// Has everything noted down anew that is to be made.
pub(super) fn forget_noted(tx: &mut WriteTx<'_>) -> Result<(), Error> {
    tx.delete_prefix::<ChoreRow, _>(&(Chore::Noted as u8,))
}
