//! The tables of mailboxes and messages.
//!
//! ```text
//!   mailbox ──▶ message (mailbox, uid) ──▶ bytes in the journal, written once
//!          ├──▶ fact (mailbox, kind, uid), made of those bytes
//!          ├──▶ picture (mailbox, part), of what it held at some time
//!          ├──▶ origin (mailbox, uid), beside copies
//!          ├──▶ thread (mailbox, uid), see `threads`
//!          └──▶ vanished (mailbox, modseq, first UID)
//! ```
//! A message is a small row that points to its bytes; however many mailboxes hold it, they stand
//! once, and the database gives their room back when the last of those rows is gone.

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

/// A message in a mailbox. Row and index begin with the mailbox, so that all of one go at once.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 5, name = "message")]
#[index(id = 1, name = MessageByModseq, fields(mailbox, modseq))]
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
    /// System flags, as bits of [`flag`].
    pub flags: u8,
    /// Keywords, in the spelling they were first set with.
    pub keywords: Vec<String>,
    /// Its bytes, which rows in other mailboxes may share.
    pub body: Large,
}

impl MessageRow {
    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.body.len()
    }

    /// Whether it has `\Deleted`.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.flags & flag::DELETED != 0
    }
}

/// Something that was made of a message's bytes once, so that they need not be read again
/// (`grace_imap::facts`). It goes with its message; one that is missing, or of another format, is
/// made when it is asked for. Rows of one kind stand together, for clients ask for them of very
/// many messages at once.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 43, name = "fact")]
pub struct FactRow {
    /// The mailbox the message is in.
    #[key]
    pub mailbox: u64,
    /// What it is, as a number of [`FactKind`].
    #[key]
    pub kind: u8,
    /// The message's UID.
    #[key]
    pub uid: u32,
    /// Which program made it.
    pub format: u8,
    /// INTERNALDATE, as the message's row says, so that it need not be read.
    pub internal_date_s: i64,
    /// Likewise.
    pub internal_zone_min: i16,
    /// The message's size in bytes.
    pub size: u64,
    /// What was made; of a shape ENVELOPE and BODYSTRUCTURE.
    pub bytes: Bytes,
    /// Of a shape: where in the bytes the structure begins, then start and end of each place in the
    /// structure that BODY leaves out.
    pub places: Vec<u32>,
}

/// What a large mailbox held at some time, so that whoever opens it reads what changed since and
/// not every message's row. A part is some thousand messages.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 44, name = "picture")]
pub struct PictureRow {
    /// The mailbox.
    #[key]
    pub mailbox: u64,
    /// Which part, counted from 0.
    #[key]
    pub part: u32,
    /// How many there are.
    pub parts: u32,
    /// The mailbox's UIDVALIDITY then.
    pub uid_validity: u32,
    /// Its mod-sequence then.
    pub modseq: u64,
    /// UIDs, mod-sequences and flags.
    pub bytes: Bytes,
}

/// What a fact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FactKind {
    /// Header fields that clients show in lists.
    Fields = 1,
    /// ENVELOPE and BODYSTRUCTURE.
    Shape = 2,
    /// What SORT and THREAD compare.
    Keys = 3,
    /// PREVIEW, in UTF-8.
    Preview = 4,
}

/// Bytes of a row, which are copied as a whole and not one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
        }

        deserializer.deserialize_byte_buf(Visitor)
    }
}

/// Where a message came from, if something of that does not follow from its row: it was put into
/// its mailbox at another time than INTERNALDATE says, or it is a copy. What was delivered has no
/// such row.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 40, name = "origin")]
pub struct Origin {
    /// The mailbox the message is in.
    #[key]
    pub mailbox: u64,
    /// Its UID there.
    #[key]
    pub uid: u32,
    /// SAVEDATE: when it was put there (RFC 8514), seconds since 1970 UTC.
    pub saved_s: i64,
    /// Where it first stood.
    pub first: FirstPlace,
}

/// Where a message first stood, which is what its EMAILID says (RFC 8474 5.1): all copies of it
/// share that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FirstPlace {
    /// The mailbox.
    pub mailbox: u64,
    /// Its UIDVALIDITY then.
    pub uid_validity: u32,
    /// The UID there.
    pub uid: u32,
}

/// An annotation of a mailbox, or of an account (RFC 5464).
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 42, name = "metadata")]
pub struct MetadataRow {
    /// Whose it is.
    #[key]
    pub account: u64,
    /// The mailbox it is about; 0: the account itself.
    #[key]
    pub mailbox: u64,
    /// The entry's name, in lower case.
    #[key]
    pub entry: String,
    /// Its value.
    pub value: Vec<u8>,
}

/// Messages that went at one time, for sessions that still count them. None of the mailbox's
/// messages has a UID in the range any more; not every UID in it need have been in use.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 7, name = "vanished")]
pub struct Vanished {
    /// The mailbox they were in.
    #[key]
    pub mailbox: u64,
    /// The mod-sequence of their removal.
    #[key]
    pub modseq: u64,
    /// The first UID.
    #[key]
    pub first: u32,
    /// The last UID.
    pub last: u32,
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
