//! The tables of what people log in with, beside the password of the account itself.
//!
//! Invariant: both go with their account, in the same transaction.
//! Not here: who makes and checks them (`directory`).

use std::fmt;

use serde::{Deserialize, Serialize};

use gracedb::table::Table;
use gracedb::write::WriteTx;

use super::failure::Failure;

/// The account that nobody has. Its row in [`ScramKeyRow`] holds the secret that salts, and keys
/// for logins that nobody has, are made of.
pub const NOBODY: u64 = 0;

/// What is kept of an account's password for SCRAM (RFC 5802 3). Accounts whose password cannot be
/// used with SCRAM have no row.
#[derive(Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 28, name = "scram_key")]
pub struct ScramKeyRow {
    /// The account; [`NOBODY`] for the secret, which stands in `stored_key`.
    #[key]
    pub account: u64,
    /// The salt.
    pub salt: Vec<u8>,
    /// How often the password was hashed.
    pub iterations: u32,
    /// `StoredKey`.
    pub stored_key: Vec<u8>,
    /// `ServerKey`.
    pub server_key: Vec<u8>,
}

/// A password for one program of an account.
#[derive(Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 29, name = "app_password")]
pub struct AppPasswordRow {
    /// The account.
    #[key]
    pub account: u64,
    /// What its owner calls it.
    #[key]
    pub name: String,
    /// As a number of [`Scope`].
    pub scope: u8,
    /// Random bytes that make equal passwords different.
    pub salt: Vec<u8>,
    /// HMAC-SHA-256 of the password with the salt as its key. The password has 100 random bits: no
    /// slower hash makes it safer.
    pub hash: Vec<u8>,
    /// The salt of SCRAM.
    pub scram_salt: Vec<u8>,
    /// How often the password was hashed for it.
    pub iterations: u32,
    /// `StoredKey`.
    pub stored_key: Vec<u8>,
    /// `ServerKey`.
    pub server_key: Vec<u8>,
    /// When it was made, microseconds since 1970 UTC.
    pub created_us: u64,
    /// When somebody logged in with it, to the hour; microseconds since 1970 UTC, 0: never.
    pub used_us: u64,
    /// The address it was used from then; empty: never.
    pub used_from: String,
}

/// Keys are not shown.
impl fmt::Debug for ScramKeyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramKeyRow").field("account", &self.account).finish_non_exhaustive()
    }
}

/// Hashes and keys are not shown.
impl fmt::Debug for AppPasswordRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppPasswordRow")
            .field("account", &self.account)
            .field("name", &self.name)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// What an application password is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Scope {
    /// To send mail and to read it.
    Both = 0,
    /// To send mail.
    Smtp = 1,
    /// To read mail.
    Imap = 2,
}

impl Scope {
    /// The scope a row's number stands for. One of a later program is good for nothing here.
    #[must_use]
    pub fn from_row(number: u8) -> Option<Self> {
        [Self::Both, Self::Smtp, Self::Imap].into_iter().find(|scope| *scope as u8 == number)
    }
}

/// Removes all that an account logs in with, but its own row.
///
/// # Errors
/// The database failed.
pub(crate) fn remove_logins(tx: &mut WriteTx<'_>, account: u64) -> Result<(), Failure> {
    tx.delete::<ScramKeyRow>(&account)?;
    tx.delete_prefix::<AppPasswordRow, _>(&(account,))?;
    Ok(())
}
