//! The table of the keys that sign mail (RFC 6376).
//!
//! ```text
//!   Waiting ──▶ Signing ──▶ Retired ──▶ (gone)
//!   its record is published by an admin     mail on its way is checked for some days
//! ```
//! Invariant: a domain's keys go with it, in the same transaction.
//! Not here: who makes and uses them (`signing`).

use std::fmt;

use serde::{Deserialize, Serialize};

use gracedb::table::Table;
use gracedb::view::View as _;
use gracedb::write::WriteTx;

use super::failure::Failure;

/// A key of a domain.
#[derive(Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 14, name = "dkim_key")]
pub struct DkimKeyRow {
    /// The domain that signs, as A-labels, lower case.
    #[key]
    pub domain: String,
    /// What the key is called there (RFC 6376 3.1).
    #[key]
    pub selector: String,
    /// As a number of [`KeyAlgorithm`].
    pub algorithm: u8,
    /// As a number of [`KeyState`].
    pub state: u8,
    /// PKCS#8.
    pub private_key: Vec<u8>,
    /// What is published, as `p=` has it (RFC 6376 3.6.1, RFC 8463 4).
    pub public_key: Vec<u8>,
    /// When it was made, microseconds since 1970 UTC.
    pub created_us: u64,
    /// When its state changed last, microseconds since 1970 UTC.
    pub changed_us: u64,
}

/// The private key is not shown.
impl fmt::Debug for DkimKeyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DkimKeyRow")
            .field("domain", &self.domain)
            .field("selector", &self.selector)
            .field("algorithm", &self.algorithm)
            .field("state", &self.state)
            .field("created_us", &self.created_us)
            .field("changed_us", &self.changed_us)
            .finish_non_exhaustive()
    }
}

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyAlgorithm {
    /// RSA of 2048 bits with SHA-256 (RFC 8301 3).
    Rsa = 0,
    /// Ed25519 with SHA-256 (RFC 8463).
    Ed25519 = 1,
}

impl KeyAlgorithm {
    /// The algorithm a row's number stands for.
    #[must_use]
    pub fn from_row(number: u8) -> Self {
        if number == Self::Rsa as u8 { Self::Rsa } else { Self::Ed25519 }
    }
}

/// What a key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyState {
    /// It was made; its record is to be published.
    Waiting = 0,
    /// It signs.
    Signing = 1,
    /// It signs no more; its record stays published while mail it signed is on its way.
    Retired = 2,
}

impl KeyState {
    /// The state a row's number stands for.
    #[must_use]
    pub fn from_row(number: u8) -> Self {
        match number {
            0 => Self::Waiting,
            1 => Self::Signing,
            _ => Self::Retired,
        }
    }
}

/// Removes all keys of a domain; gives their selectors.
///
/// # Errors
/// The database failed.
pub(crate) fn remove_keys(tx: &mut WriteTx<'_>, domain: &str) -> Result<Vec<String>, Failure> {
    let keys = tx.prefix::<DkimKeyRow>(&(domain,));
    let selectors = keys.map(|key| Ok(key?.selector)).collect::<Result<_, Failure>>()?;
    tx.delete_prefix::<DkimKeyRow, _>(&(domain,))?;
    Ok(selectors)
}
