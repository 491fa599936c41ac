//! The tables of the directory.

use serde::{Deserialize, Serialize};

use gracedb::table::Table;

use grace_mail::address::{Charset, Domain as DomainName};

use super::refusal::Refusal;

/// A domain whose mail is kept here.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 1, name = "domain")]
pub struct Domain {
    /// The domain as A-labels, lower case.
    #[key]
    pub name: String,
    /// When it was made, microseconds since 1970 UTC.
    pub created_us: u64,
}

/// An address that stands for accounts: another name of one, a group of several, or with nothing
/// before the `@` whatever else a domain is sent.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 15, name = "alias")]
pub struct Alias {
    /// `local@domain`, lower case; `@domain` for all that has no other place.
    #[key]
    pub address: String,
    /// The accounts by their numbers. Those that are gone do not count.
    pub accounts: Vec<u64>,
    /// When it was made, microseconds since 1970 UTC.
    pub created_us: u64,
}

/// Somebody who has mail here.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 2, name = "account")]
#[index(id = 1, name = AccountByAddress, fields(address), unique)]
pub struct Account {
    /// Never used again, not even after the account is gone.
    #[key]
    pub id: u64,
    /// `local@domain`, lower case.
    pub address: String,
    /// Argon2id, in the PHC string format.
    pub password_hash: String,
    /// When it was made, microseconds since 1970 UTC.
    pub created_us: u64,
}

/// A domain's name as rows have it.
///
/// # Errors
/// It is none.
pub(crate) fn domain_name(text: &str) -> Result<String, Refusal> {
    DomainName::parse(text, Charset::Utf8)
        .map(|domain| domain.as_str().to_owned())
        .map_err(|e| Refusal::Invalid(format!("{text:?} is not a domain: {e}")))
}
