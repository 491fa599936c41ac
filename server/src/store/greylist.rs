//! The tables of greylisting (RFC 6647): what waits, and who is known.
//!
//! ```text
//!   grey_waiting   generation │ triple ─▶ first seen
//!   grey_known     generation │ kind, who ─▶ how often, when last
//! ```
//! A generation is the second when it began, a whole number of its length since 1970. A row that is
//! used moves to the generation of today; those of the one before the last go at once, as a range.
//! Invariant: addresses are kept as keyed hashes alone, so that the tables tell nobody who writes
//! to whom.
//! Not here: who writes and reads them (`guard`).

use std::fmt;

use serde::{Deserialize, Serialize};

use gracedb::table::Table;

/// A client, a sender and a recipient that were asked to come again.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 25, name = "grey_waiting")]
pub struct GreyWaitingRow {
    /// When its generation began, seconds since 1970 UTC.
    #[key]
    pub generation_s: u64,
    /// Hash of the three.
    #[key]
    pub triple: u128,
    /// When they came first, seconds since 1970 UTC.
    pub first_s: u64,
}

/// Who need not wait.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 26, name = "grey_known")]
pub struct GreyKnownRow {
    /// When its generation began, seconds since 1970 UTC.
    #[key]
    pub generation_s: u64,
    /// What is known, as a number of [`KnownKind`].
    #[key]
    pub kind: u8,
    /// Hash of what it is.
    #[key]
    pub who: u128,
    /// How many triples of a client came again; 1 for the other kinds.
    pub count: u32,
    /// When it was used last, give or take an eighth of its life; seconds since 1970 UTC.
    pub seen_s: u64,
}

/// What is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KnownKind {
    /// A triple that came again.
    Triple = 1,
    /// A network, or a domain that the peer may speak for.
    Client = 2,
    /// An address that one of our people wrote to.
    Correspondent = 3,
}

/// The key of the hashes; one row.
#[derive(Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 27, name = "grey_secret")]
pub struct GreySecretRow {
    /// 0.
    #[key]
    pub id: u8,
    /// 32 random bytes.
    pub secret: Vec<u8>,
}

/// The secret is not shown.
impl fmt::Debug for GreySecretRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GreySecretRow").field("id", &self.id).finish_non_exhaustive()
    }
}
