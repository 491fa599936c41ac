//! What is said about outgoing mail: what waits, why, and what an admin does about it.
//!
//! Invariants: as those of [`crate::message`]; everything here came with version 3.
//! Not here: the requests themselves ([`crate::message`]), when mail is tried (`grace_queue`).

use serde::{Deserialize, Serialize};

/// Recipients in one part of a reply. With two addresses and a reason each a part stays under
/// 700 KiB.
pub const QUEUE_ROWS_PER_PART_MAX: usize = 500;

/// Which recipients of outgoing mail. What is set must fit; nothing set: all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueFilter {
    /// Of the message with this number.
    pub queue_id: Option<String>,
    /// From this envelope sender; empty: `<>`.
    pub sender: Option<String>,
    /// To this address.
    pub recipient: Option<String>,
    /// On their way to this destination.
    pub destination: Option<String>,
}

/// One recipient that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRow {
    /// The message's number.
    pub queue_id: String,
    /// Joins its events.
    pub trace: u64,
    /// Envelope sender; empty: `<>`.
    pub sender: String,
    /// The recipient.
    pub recipient: String,
    /// Where it goes: a domain, or what an admin chose.
    pub destination: String,
    /// Bytes of the message.
    pub size: u64,
    /// When the message was taken, in microseconds since 1970-01-01 UTC.
    pub created_us: u64,
    /// When it is tried next, in microseconds since 1970-01-01 UTC.
    pub next_us: u64,
    /// Attempts so far.
    pub attempts: u32,
    /// Held back until it is released.
    pub held: bool,
    /// The other server at the last attempt; empty: none was reached.
    pub remote: String,
    /// What it said, or what else went wrong; empty: not tried yet.
    pub reason: String,
}

/// What is done to recipients that wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueueChange {
    /// Try now, whatever went before.
    Retry,
    /// Do not try until released.
    Hold,
    /// Try again as if never held.
    Release,
    /// Send to another destination.
    Reroute {
        /// A domain, or a server as `[name]` or `[name]:port`.
        to: String,
    },
    /// Give up, and tell the sender.
    Bounce,
    /// Give up, and tell nobody.
    Delete,
}

impl QueueChange {
    /// What was done, in a word, for events and lists.
    #[must_use]
    pub fn done(&self) -> &'static str {
        match self {
            Self::Retry => "retried",
            Self::Hold => "held",
            Self::Release => "released",
            Self::Reroute { .. } => "rerouted",
            Self::Bounce => "bounced",
            Self::Delete => "deleted",
        }
    }
}
