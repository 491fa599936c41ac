//! The table of keys that sign URLs (URLAUTH, RFC 4467).

use serde::{Deserialize, Serialize};

use gracedb::table::Table;

/// The key that signs URLs of messages of a mailbox. It is made when it is first needed, and
/// another one makes all URLs worthless that were signed before (RFC 4467 2).
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 51, name = "url_key")]
pub struct UrlKeyRow {
    /// Whose mailbox it is.
    #[key]
    pub account: u64,
    /// The mailbox.
    #[key]
    pub mailbox: u64,
    /// The key: random bytes.
    pub key: Vec<u8>,
}
