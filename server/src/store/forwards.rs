//! The tables of where mail goes on to, and of the keys that sign its senders.
//!
//! ```text
//!   alias ──▶ alias_target (its address)      account ──▶ forward (its number)
//! ```
//! Invariants: a row goes with the alias or the account it is of, in the same transaction; an
//! address in a row may be of this server or of another, which is found out when mail comes.
//! Not here: how they are followed (`directory::expansion`).

use std::fmt;

use serde::{Deserialize, Serialize};

use gracedb::table::Table;

/// Accounts and addresses elsewhere that one message may go to through aliases and forwards, at
/// least. They are rows of one transaction, each of which names all pieces of the body.
const COPIES_MAX: u64 = 2_000;

/// How many copies one message may have, where an envelope has at most so many recipients.
#[must_use]
pub fn copies_max(recipients_max: u64) -> u64 {
    recipients_max.max(COPIES_MAX)
}

/// Where an alias leads besides the accounts that stand in its own row.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 30, name = "alias_target")]
pub struct AliasTargets {
    /// The address of the alias.
    #[key]
    pub address: String,
    /// Addresses of other aliases, and of people elsewhere, as an admin wrote them.
    pub targets: Vec<String>,
}

/// Where the mail of an account goes on to.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 31, name = "forward")]
pub struct ForwardRow {
    /// The account's number.
    #[key]
    pub account: u64,
    /// The addresses, one at least.
    pub targets: Vec<String>,
    /// A copy stays here.
    pub keeps: bool,
    /// When it was set, microseconds since 1970 UTC.
    pub created_us: u64,
}

/// A key that signs rewritten senders (`grace_mail::srs`).
#[derive(Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 32, name = "srs_key")]
pub struct SrsKeyRow {
    /// When it was made, microseconds since 1970 UTC. The newest one signs.
    #[key]
    pub created_us: u64,
    /// The key.
    pub key: Vec<u8>,
}

/// The key is not shown.
impl fmt::Debug for SrsKeyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrsKeyRow").field("created_us", &self.created_us).finish_non_exhaustive()
    }
}
