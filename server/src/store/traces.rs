//! The tables of what happened: events of connections and messages, in pages of a bounded time and
//! number.
//!
//! ```text
//!   trace_page  began 09:00:00.1 │ began 10:00:00.7 │ began 10:20:15.3 │ …
//!   trace       0 1 2 3 … 8061   │ 0 1 2 … 16383    │ 0 1 2 …
//!   traced      what the events on the page say of one message: sender, recipients, outcomes
//!   trace_word  its addresses and its Message-ID, to find it by
//!   trace_later on which later pages a message goes on
//! ```
//! Rows and index begin with the page, so that a page goes at once, however much is on it.
//! Invariants: pages begin one after the other; the numbers on a page begin at 0 and have no gap;
//! what is found by a word is on the page of the event that has it.
//! Not here: who writes and reads them (`history`).

use serde::{Deserialize, Serialize};

use grace_ipc::event::EventKind;
use gracedb::table::Table;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 9, name = "trace")]
#[index(id = 1, name = TraceById, fields(page, trace))]
pub struct TraceRow {
    /// The page it is on.
    #[key]
    pub page: u64,
    /// Its number there.
    #[key]
    pub number: u32,
    /// The connection or message it belongs to; never 0.
    pub trace: u64,
    /// Its number in the life of the daemon that told it.
    pub seq: u64,
    /// When, microseconds since 1970 UTC.
    pub time_us: u64,
    /// What happened. Kinds are only ever added at the end, so old rows stay readable.
    pub kind: EventKind,
}

/// A page of events.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 10, name = "trace_page")]
pub struct TracePage {
    /// Time of its first event, or a microsecond after the page before began: its name.
    #[key]
    pub began_us: u64,
    /// Time of its newest event, microseconds since 1970 UTC.
    pub newest_us: u64,
    /// How many events are on it.
    pub rows: u32,
}

/// What the events on one page say of a message, or of recipients refused before there was one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 33, name = "traced")]
pub struct TracedRow {
    /// The page.
    #[key]
    pub page: u64,
    /// Which message, as [`StoryId::number`] has it.
    #[key]
    pub story: u64,
    /// The connection it came by.
    pub trace: u64,
    /// When the last of these events was, microseconds since 1970 UTC.
    pub last_us: u64,
    /// Envelope sender; `None`: none of them says it.
    pub sender: Option<String>,
    /// Recipients they name, and no more than are shown.
    pub recipients: Vec<String>,
    /// How many recipients they name or count.
    pub recipients_count: u32,
    /// Message-ID without brackets; empty: none of them says it.
    pub message_id: String,
    /// Bytes of the message; 0: none of them says it.
    pub size: u64,
    /// How often it was delivered, here or to another server.
    pub delivered: u32,
    /// How often it was put where doubtful mail is kept.
    pub junk: u32,
    /// How often it was put off.
    pub deferred: u32,
    /// How many recipients were given up.
    pub failed: u32,
    /// How often it, or a recipient, was refused.
    pub refused: u32,
    /// What the last who put it off, gave it up or refused it said.
    pub reason: String,
}

/// A word that a message is found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Table, Serialize, Deserialize)]
#[table(id = 34, name = "trace_word")]
pub struct TraceWordRow {
    /// The page of the event that has it.
    #[key]
    pub page: u64,
    /// What it is, as a number of [`WordKind`].
    #[key]
    pub kind: u8,
    /// The word, folded.
    #[key]
    pub word: String,
    /// Which message.
    #[key]
    pub story: u64,
}

/// A message that goes on, on a page that began after it did.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 35, name = "trace_later")]
pub struct TraceLaterRow {
    /// Which message.
    #[key]
    pub story: u64,
    /// The page.
    #[key]
    pub page: u64,
}

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum WordKind {
    /// Envelope sender, as `domain@local`.
    Sender = 1,
    /// Envelope recipient or account, likewise.
    Recipient = 2,
    /// Message-ID without brackets.
    MessageId = 3,
}

/// What is traced: a message, or a connection on which there was none. Both are named by the
/// microsecond in which they began, and stand in the order of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoryId(u64);

impl StoryId {
    /// A message by its number.
    #[must_use]
    pub fn message(number: u64) -> Self {
        Self(number << 1)
    }

    /// A connection by its trace.
    #[must_use]
    pub fn connection(trace: u64) -> Self {
        Self(trace << 1 | 1)
    }

    /// The story with this number.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// Its number in rows.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// The first of all that began in this microsecond.
    #[must_use]
    pub fn first_of(moment_us: u64) -> Self {
        Self(moment_us.saturating_mul(2))
    }

    /// When it began, microseconds since 1970 UTC: also the message's number, or the trace.
    #[must_use]
    pub fn began_us(self) -> u64 {
        self.0 >> 1
    }

    /// Whether it is a message.
    #[must_use]
    pub fn is_message(self) -> bool {
        self.0 & 1 == 0
    }
}
