//! The tables of outgoing mail.
//!
//! ```text
//!   outgoing ──▶ bytes in the journal, shared with what was delivered here
//!      ├──▶ deliver_by: where its sender set a time
//!      └──▶ outgoing_recipient (message, number): one row each until it is settled
//! ```
//! Invariants: a message's rows go with the last of its recipients, in the same transaction; a
//! recipient's row changes only when an attempt has ended or an admin says so.
//! Not here: when it is tried (`grace_queue`), who tries it (`outbound`).

use serde::{Deserialize, Serialize};

use gracedb::large::Large;
use gracedb::table::Table;
use gracedb::view::View as _;
use gracedb::write::WriteTx;

use super::failure::Failure;

/// A message that has to go to other servers.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 12, name = "outgoing")]
pub struct OutgoingRow {
    /// The number its sender was told, which [`base32`] spells.
    #[key]
    pub id: u64,
    /// Joins its events with those of the session it came in by.
    pub trace: u64,
    /// Envelope sender; empty: `<>`.
    pub sender: String,
    /// The account that submitted it; 0: this server itself.
    pub account: u64,
    /// When it was taken, milliseconds since 1970 UTC.
    pub created_ms: u64,
    /// What its body holds, as a number of [`BodyKind`].
    pub body_kind: u8,
    /// Its header or its addresses are in UTF-8 (RFC 6531).
    pub utf8: bool,
    /// Only over TLS, and only to servers that promise the same (RFC 8689).
    pub require_tls: bool,
    /// ENVID (RFC 3461 4.4), decoded; empty: none.
    pub envelope_id: String,
    /// RET (RFC 3461 4.3): give the whole message back when it fails.
    pub return_full: bool,
    /// MT-PRIORITY (RFC 6710), -9 to 9.
    pub priority: i8,
    /// Its bytes, as they go out.
    pub body: Large,
}

/// One recipient of an outgoing message.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 13, name = "outgoing_recipient")]
pub struct OutgoingRecipientRow {
    /// The message.
    #[key]
    pub message: u64,
    /// Which of its recipients, from 0.
    #[key]
    pub number: u32,
    /// The address.
    pub address: String,
    /// Where it goes: the domain, or another one that an admin chose.
    pub destination: String,
    /// NOTIFY (RFC 3461 4.1), as bits of [`notify`].
    pub notify: u8,
    /// ORCPT (RFC 3461 4.2), as it is sent; empty: none.
    pub original: String,
    /// An admin holds it back.
    pub held: bool,
    /// Attempts so far.
    pub attempts: u16,
    /// When it was first to be tried, milliseconds since 1970 UTC, as all that follow.
    pub started_ms: u64,
    /// When it is tried next.
    pub due_ms: u64,
    /// When its sender is to hear that it takes long.
    pub notice_ms: u64,
    /// When it is given up.
    pub expires_ms: u64,
    /// The sender set that end (RFC 2852): nothing may be tried after it.
    pub is_strict: bool,
    /// When it was last tried; 0: never.
    pub tried_ms: u64,
    /// The other server's name at that time; empty: none was reached.
    pub remote: String,
    /// What it said, or what else went wrong.
    pub reason: String,
}

/// The time a sender set for a message to arrive (RFC 2852).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 24, name = "deliver_by")]
pub struct DeliverByRow {
    /// The message.
    #[key]
    pub message: u64,
    /// Until when, milliseconds since 1970 UTC.
    pub deadline_ms: u64,
    /// By-mode R: it comes back then. Else N: its sender is told.
    pub returns: bool,
    /// The sender wants to hear where it goes on to.
    pub is_traced: bool,
}

/// A message and its recipients elsewhere, to be written.
#[derive(Debug, Clone)]
pub struct Onward {
    /// The message.
    pub message: OutgoingRow,
    /// Its recipients, one at least.
    pub recipients: Vec<OutgoingRecipientRow>,
    /// When it is to arrive, if its sender said so.
    pub deliver_by: Option<DeliverByRow>,
}

/// What the body of a message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum BodyKind {
    /// Lines of ASCII.
    SevenBit = 0,
    /// Lines of any bytes (RFC 6152).
    EightBit = 1,
    /// Any bytes (RFC 3030).
    Binary = 2,
}

impl BodyKind {
    /// The kind a row's number stands for.
    #[must_use]
    pub fn from_row(number: u8) -> Self {
        match number {
            0 => Self::SevenBit,
            1 => Self::EightBit,
            _ => Self::Binary,
        }
    }
}

/// What a sender wants to hear of (RFC 3461 4.1).
pub mod notify {
    /// That it was delivered.
    pub const SUCCESS: u8 = 1;
    /// That it could not be.
    pub const FAILURE: u8 = 2;
    /// That it takes long.
    pub const DELAY: u8 = 4;
    /// Nothing: whether he is the sender nobody knows. Of failures the postmaster hears.
    pub const POSTMASTER: u8 = 8;
}

/// Writes a message with its recipients.
///
/// # Errors
/// The number is in use, or the database failed.
pub(crate) fn enqueue(tx: &mut WriteTx<'_>, onward: &Onward) -> Result<(), Failure> {
    tx.insert(&onward.message)?;
    for recipient in &onward.recipients {
        tx.insert(recipient)?;
    }
    if let Some(by) = &onward.deliver_by {
        tx.insert(by)?;
    }
    Ok(())
}

/// Takes a recipient away; with the last one the message. Says whether it was there.
///
/// # Errors
/// The database failed.
pub(crate) fn settle(tx: &mut WriteTx<'_>, message: u64, number: u32) -> Result<bool, Failure> {
    let was_there = tx.get::<OutgoingRecipientRow>(&(message, number))?.is_some();
    tx.delete::<OutgoingRecipientRow>(&(message, number))?;
    if tx.prefix::<OutgoingRecipientRow>(&(message,)).next().transpose()?.is_none() {
        tx.delete::<OutgoingRow>(&message)?;
        tx.delete::<DeliverByRow>(&message)?;
    }
    Ok(was_there)
}

/// A message's number as people read it.
#[must_use]
pub fn base32(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.extend(DIGITS.get((number % 32) as usize).copied().map(char::from));
        number /= 32;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

/// The number that [`base32`] spelled so.
#[must_use]
pub fn from_base32(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > 13 {
        return None;
    }
    text.bytes().try_fold(0u64, |number, byte| {
        let digit = DIGITS.iter().position(|digit| *digit == byte.to_ascii_lowercase())?;
        number.checked_mul(32)?.checked_add(digit as u64)
    })
}

/// Digits and letters that are not mistaken for each other when read aloud.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_spelled() {
        for number in [0, 1, 31, 32, 1_700_000_000_000_000, u64::MAX] {
            assert_eq!(from_base32(&base32(number)), Some(number));
        }
        for text in ["", "u", "a b", "zzzzzzzzzzzzz", "00000000000000"] {
            assert_eq!(from_base32(text), None, "{text:?}");
        }
    }
}
