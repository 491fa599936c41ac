//! The tables of the index of texts.
//!
//! ```text
//!   word_segment (mailbox, first UID): messages with UIDs from first to last
//!          └──▶ word_slab (mailbox, first UID, field, number): some of the terms in them
//! ```
//! Everything here follows from the messages and is made anew where it is missing. What is deleted
//! stays in it until the next merge, as unreadable to people as the messages are.

use serde::{Deserialize, Serialize};

use gracedb::error::Error;
use gracedb::large::Large;
use gracedb::table::Table;
use gracedb::write::WriteTx;

/// A part of the index of a mailbox: of all messages between two UIDs that there were.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 45, name = "word_segment")]
pub struct WordSegmentRow {
    /// The mailbox.
    #[key]
    pub mailbox: u64,
    /// The first UID.
    #[key]
    pub first: u32,
    /// The last UID.
    pub last: u32,
    /// UIDVALIDITY that both belong to.
    pub uid_validity: u32,
    /// How terms and slabs are made; others than today's are of no use.
    pub format: u32,
    /// How many messages there were.
    pub messages: u32,
    /// UIDs of messages that not all terms are known of, ascending.
    pub unsure: Vec<u32>,
}

/// Some of the terms of a segment, and which messages have them.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 46, name = "word_slab")]
pub struct WordSlabRow {
    /// The mailbox.
    #[key]
    pub mailbox: u64,
    /// The first UID of the segment.
    #[key]
    pub first: u32,
    /// Where the terms stand, as a number of [`Field`].
    #[key]
    pub field: u8,
    /// Slabs of one field are numbered by their terms.
    #[key]
    pub number: u32,
    /// The slab.
    pub bytes: Large,
}

/// Where in a message a term stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Field {
    /// In its header.
    Head = 0,
    /// In what SEARCH BODY looks into.
    Body = 1,
}

/// Forgets the index of a mailbox; it takes as long for one message as for a million.
pub(crate) fn remove_words(tx: &mut WriteTx<'_>, mailbox: u64) -> Result<(), Error> {
    tx.delete_prefix::<WordSegmentRow, _>(&(mailbox,))?;
    tx.delete_prefix::<WordSlabRow, _>(&(mailbox,))
}

/// Forgets the whole index.
pub(crate) fn remove_all_words(tx: &mut WriteTx<'_>) -> Result<(), Error> {
    tx.delete_range::<WordSegmentRow>(..)?;
    tx.delete_range::<WordSlabRow>(..)
}
