//! The tables of what is set about domains and addresses. Where there is no row, all is as usual.
//!
//! Invariant: what is set about something goes with it, in the same transaction.
//! Not here: what each setting may be and does (`directory::settings`).

use serde::{Deserialize, Serialize};

use gracedb::table::Table;

/// What parts an address from a detail that its owner made up (RFC 5233 1), where nothing else is
/// set: `anna+shop@x` is anna's, and tells her who gave it away.
pub const DETAIL_SEPARATOR: char = '+';

/// What is set about a domain.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 36, name = "domain_settings")]
pub struct DomainSettings {
    /// Its name, as that of its row.
    #[key]
    pub domain: String,
    /// Nobody there logs in, and its mail is to come again later.
    pub is_disabled: bool,
    /// What parts an address from a detail; empty: there are no details.
    pub separator: String,
    /// Largest message its addresses take, in bytes; 0: as large as this server takes them.
    pub message_bytes_max: u64,
}

impl DomainSettings {
    /// What holds for a domain about which nothing is set.
    #[must_use]
    pub fn usual(domain: &str) -> Self {
        Self {
            domain: domain.to_owned(),
            is_disabled: false,
            separator: DETAIL_SEPARATOR.to_string(),
            message_bytes_max: 0,
        }
    }
}

/// What is set about an address: of an account, or of an alias.
#[derive(Debug, Clone, Default, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 37, name = "address_settings")]
pub struct AddressSettings {
    /// The address, as that of its row.
    #[key]
    pub address: String,
    /// As a number of [`State`].
    pub state: u8,
    /// What people call whom it belongs to.
    pub name: String,
    /// Other addresses its account may send as; `@domain` for all of one.
    pub senders: Vec<String>,
    /// As a number of [`TakenFrom`].
    pub taken_from: u8,
}

/// Whether an account is in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// It is.
    #[default]
    Active = 0,
    /// Nobody logs in; mail is taken as ever.
    NoLogin = 1,
    /// Nobody logs in, and mail for its address is to come again later.
    Disabled = 2,
}

impl State {
    /// The state a row's number stands for. One of a later program is the most careful one.
    #[must_use]
    pub fn from_row(number: u8) -> Self {
        match number {
            0 => Self::Active,
            1 => Self::NoLogin,
            _ => Self::Disabled,
        }
    }
}

/// Whose mail an address takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum TakenFrom {
    /// Anybody's.
    #[default]
    Anyone = 0,
    /// That of people who logged in here.
    Local = 1,
    /// That of the accounts it stands for, when they logged in here.
    Members = 2,
}

impl TakenFrom {
    /// What a row's number stands for. One of a later program is the most careful one.
    #[must_use]
    pub fn from_row(number: u8) -> Self {
        match number {
            0 => Self::Anyone,
            1 => Self::Local,
            _ => Self::Members,
        }
    }
}
