//! What is said about mailboxes that are shared, and about how much may be kept.
//!
//! Invariants: as those of [`crate::message`]; everything here came with version 5. An owner of
//! mailboxes is an account, named by its address, or a domain's public mailboxes, named `@domain`.
//! Not here: the requests themselves ([`crate::message`]), what rights mean (RFC 4314 2.1).

use serde::{Deserialize, Serialize};

/// The limit that is none, whatever the default.
pub const ANY_NUMBER: u64 = u64::MAX;

/// What an account, or a domain as a whole, uses and may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaRow {
    /// The account's address, or `@domain`.
    pub of: String,
    /// Bytes of its messages.
    pub bytes: u64,
    /// Most bytes, by a limit of its own; 0: the default, [`ANY_NUMBER`]: any number.
    pub bytes_max: u64,
    /// Its messages.
    pub messages: u64,
    /// Most messages, likewise.
    pub messages_max: u64,
}

/// What somebody may do with a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RightsRow {
    /// Whose mailbox it is.
    pub owner: String,
    /// Its name there.
    pub mailbox: String,
    /// An account's address, `anyone`, or `$` and the address of a group; with `-` before it: what
    /// is taken from them.
    pub who: String,
    /// The rights, by their letters.
    pub rights: String,
}

/// A mailbox that is nobody's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicRow {
    /// The domain whose people may be given rights on it.
    pub domain: String,
    /// Its name, below `Public/`.
    pub name: String,
    /// Messages in it.
    pub messages: u32,
    /// Bytes of those messages.
    pub stored_bytes: u64,
}
