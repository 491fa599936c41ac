//! The tables of mailboxes and messages.
//!
//! ```text
//!   mailbox ──▶ message (mailbox, uid) ──▶ body ──▶ bytes in the journal, written once
//!          └──▶ vanished (mailbox, modseq, uid)
//! ```
//! A message is a small row that points to a body; however many mailboxes hold it, the body stands
//! once, with a count of who points to it.

use serde::{Deserialize, Serialize};

use gracedb::large::Large;
use gracedb::table::Table;

/// A mailbox (RFC 9051 2.3).
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 3, name = "mailbox")]
#[index(id = 1, name = MailboxByName, fields(account, name), unique)]
pub struct MailboxRow {
    /// Never used again.
    #[key]
    pub id: u64,
    /// Whose it is.
    pub account: u64,
    /// Full name in UTF-8, levels separated by `/`; `INBOX` in capitals.
    pub name: String,
    /// Special use (RFC 6154), as a number of [`SpecialUse`]; 0: none.
    pub special_use: u8,
    /// RFC 9051 2.3.1.1: grows whenever a name is made anew.
    pub uid_validity: u32,
    /// The UID the next message gets.
    pub uid_next: u32,
    /// The highest mod-sequence any change in here got (RFC 7162 3.1).
    pub modseq: u64,
    /// Messages with this UID or a higher one were not yet shown to any session as `\Recent`.
    pub recent_from: u32,
    /// How many messages there are.
    pub messages: u32,
    /// How many lack `\Seen`.
    pub unseen: u32,
    /// How many have `\Deleted`.
    pub deleted: u32,
    /// Sum of the messages' sizes in bytes.
    pub bytes: u64,
}

/// A name an account is subscribed to; it may outlive its mailbox (RFC 9051 6.3.7).
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 4, name = "subscription")]
pub struct Subscription {
    /// Whose it is.
    #[key]
    pub account: u64,
    /// The mailbox's name.
    #[key]
    pub name: String,
}

/// A message in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 5, name = "message")]
#[index(id = 1, name = MessageByModseq, fields(mailbox, modseq, uid))]
pub struct MessageRow {
    /// The mailbox it is in.
    #[key]
    pub mailbox: u64,
    /// Its UID there.
    #[key]
    pub uid: u32,
    /// The mod-sequence of its last change.
    pub modseq: u64,
    /// INTERNALDATE: seconds since 1970 UTC.
    pub internal_date_s: i64,
    /// Offset from UTC that INTERNALDATE is shown with, in minutes.
    pub internal_zone_min: i16,
    /// Bytes of the body.
    pub size: u64,
    /// System flags, as bits of [`flag`].
    pub flags: u8,
    /// Keywords, in the spelling they were first set with.
    pub keywords: Vec<String>,
    /// The body it points to.
    pub body: u64,
}

/// A message's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 6, name = "body")]
pub struct Body {
    /// Never used again.
    #[key]
    pub id: u64,
    /// How many messages point here; at 0 the row goes.
    pub references: u32,
    /// Where the bytes are.
    pub bytes: Large,
}

/// A message that is gone, for sessions that still count it.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 7, name = "vanished")]
pub struct Vanished {
    /// The mailbox it was in.
    #[key]
    pub mailbox: u64,
    /// The mod-sequence of its removal.
    #[key]
    pub modseq: u64,
    /// Its UID there.
    #[key]
    pub uid: u32,
}

/// The newest UIDVALIDITY handed out; one row.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 8, name = "uid_validity")]
pub struct UidValidity {
    /// Always 0.
    #[key]
    pub one: u8,
    /// The newest.
    pub last: u32,
}

/// System flags (RFC 9051 2.3.2).
pub mod flag {
    /// `\Seen`
    pub const SEEN: u8 = 1;
    /// `\Answered`
    pub const ANSWERED: u8 = 2;
    /// `\Flagged`
    pub const FLAGGED: u8 = 4;
    /// `\Deleted`
    pub const DELETED: u8 = 8;
    /// `\Draft`
    pub const DRAFT: u8 = 16;
}

/// What a mailbox is for (RFC 6154 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SpecialUse {
    /// `\Archive`
    Archive = 1,
    /// `\Drafts`
    Drafts = 2,
    /// `\Junk`
    Junk = 3,
    /// `\Sent`
    Sent = 4,
    /// `\Trash`
    Trash = 5,
    /// `\Flagged`: a view of flagged messages; clients may name a mailbox so.
    Flagged = 6,
    /// `\All`
    All = 7,
}

impl SpecialUse {
    /// The use a row's number stands for.
    #[must_use]
    pub fn from_row(number: u8) -> Option<Self> {
        [Self::Archive, Self::Drafts, Self::Junk, Self::Sent, Self::Trash, Self::Flagged, Self::All]
            .into_iter()
            .find(|&known| known as u8 == number)
    }
}
