//! The tables of what happened: events of connections and messages, in pages of a bounded time and
//! number.
//!
//! ```text
//!   trace_page  began 09:00:00.1 │ began 10:00:00.7 │ began 10:20:15.3 │ …
//!   trace       0 1 2 3 … 8061   │ 0 1 2 … 16383    │ 0 1 2 …
//! ```
//! Row and index begin with the page, so that a page goes at once, however much is on it.
//! Invariants: pages begin one after the other; the numbers on a page begin at 0 and have no gap.
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
