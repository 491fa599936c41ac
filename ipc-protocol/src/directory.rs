//! What is said about application passwords, and about what is set for domains and addresses.
//!
//! Invariants: as those of [`crate::message`]; everything here came with version 4. Names of
//! settings and their values are texts, so that a new setting is no new message.
//! Not here: the requests themselves ([`crate::message`]), what settings do (`directory` of the
//! daemon).

use serde::{Deserialize, Serialize};

/// What an application password is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppScope {
    /// To send mail and to read it.
    Both,
    /// To send mail.
    Smtp,
    /// To read mail.
    Imap,
}

impl AppScope {
    /// Every one, in the order of the wire.
    pub const ALL: [Self; 3] = [Self::Both, Self::Smtp, Self::Imap];

    /// Its name on command lines and screens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Smtp => "smtp",
            Self::Imap => "imap",
        }
    }
}

/// A password for one program of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppPasswordRow {
    /// What its owner calls it.
    pub name: String,
    /// What it is good for.
    pub scope: AppScope,
    /// When it was made, in microseconds since 1970-01-01 UTC.
    pub created_us: u64,
    /// When somebody logged in with it, to the hour; 0: never.
    pub used_us: u64,
    /// The address they came from; empty: never.
    pub used_from: String,
}

/// One thing that can be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingRow {
    /// Its name.
    pub key: String,
    /// What it is.
    pub value: String,
    /// What it is where nothing is set.
    pub usual: String,
    /// What it does, and what it may be.
    pub help: String,
}
