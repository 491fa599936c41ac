//! What is said about the past of messages: which there were, and what happened to one.
//!
//! Invariants: as those of [`crate::message`]; everything here came with version 4.
//! Not here: the requests themselves ([`crate::message`]), events ([`crate::event`]), what is kept
//! and for how long (`history` of the daemon).

use serde::{Deserialize, Serialize};

/// Messages in one part of a reply: with ten recipients and a reason each takes 9 KiB at most.
pub const TRACE_ROWS_PER_PART_MAX: usize = 100;
/// Events in one part of a reply: none takes more than 7 KiB.
pub const TRACE_EVENTS_PER_PART_MAX: usize = 100;
/// Messages that one search tells of at most; the next one goes on where it ended.
pub const TRACE_ROWS_MAX: u32 = 10_000;
/// Recipients that a row names. There may be more.
pub const TRACE_RECIPIENTS_MAX: usize = 10;

/// Which messages. What is set must fit; nothing set: all that are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceFilter {
    /// From this envelope sender: an address, `@domain`, `begin*@domain`; empty or `<>`: nobody.
    pub sender: Option<String>,
    /// To this recipient; as that of `sender`.
    pub recipient: Option<String>,
    /// With this Message-ID, with or without its brackets.
    pub message_id: Option<String>,
    /// With this number.
    pub queue_id: Option<String>,
    /// That began at or after this moment, in microseconds since 1970-01-01 UTC.
    pub from_us: Option<u64>,
    /// That began before this moment.
    pub to_us: Option<u64>,
    /// Of which something came to this.
    pub outcome: Option<TraceOutcome>,
}

/// What came of a message for a recipient, or of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraceOutcome {
    /// It stands in a mailbox here, or another server took it.
    Delivered,
    /// It stands where doubtful mail is kept.
    Junk,
    /// It was put off.
    Deferred,
    /// It was given up after it had been taken.
    Failed,
    /// It was not taken.
    Refused,
}

impl TraceOutcome {
    /// Every outcome, in the order of the wire.
    pub const ALL: [Self; 5] =
        [Self::Delivered, Self::Junk, Self::Deferred, Self::Failed, Self::Refused];

    /// What it is, in a word, for lists and command lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Junk => "junk",
            Self::Deferred => "deferred",
            Self::Failed => "bounced",
            Self::Refused => "refused",
        }
    }
}

/// A message, or recipients that were refused before there was one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRow {
    /// Where it stands among all. Later ones are greater.
    pub place: u64,
    /// Its number; empty: there was no message.
    pub queue_id: String,
    /// Joins the events of the connection it came by.
    pub trace: u64,
    /// When it began, in microseconds since 1970-01-01 UTC.
    pub began_us: u64,
    /// When something last happened to it.
    pub last_us: u64,
    /// Envelope sender; empty: `<>`.
    pub sender: String,
    /// Its first recipients.
    pub recipients: Vec<String>,
    /// How many there are in all.
    pub recipients_count: u32,
    /// Its Message-ID, without brackets; empty: none.
    pub message_id: String,
    /// Bytes of the message; 0: not known.
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
    /// What the last one who put it off, gave it up or refused it said; empty: nobody did.
    pub reason: String,
}

impl TraceRow {
    /// What it came to, in a word, for lists: the worst of what is certain, else that it waits.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        let settled = u64::from(self.delivered) + u64::from(self.junk) + u64::from(self.failed);
        match self {
            _ if self.refused > 0 => TraceOutcome::Refused.name(),
            _ if self.failed > 0 => TraceOutcome::Failed.name(),
            _ if settled < u64::from(self.recipients_count) && self.deferred > 0 => {
                TraceOutcome::Deferred.name()
            }
            _ if self.junk > 0 => TraceOutcome::Junk.name(),
            _ if self.delivered > 0 => TraceOutcome::Delivered.name(),
            _ => "under way",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_that_is_certain_is_told() {
        let row = TraceRow { recipients_count: 2, delivered: 1, ..TraceRow::default() };
        assert_eq!(row.outcome(), "delivered");
        assert_eq!(TraceRow { deferred: 1, ..row.clone() }.outcome(), "deferred");
        assert_eq!(TraceRow { deferred: 1, junk: 1, ..row.clone() }.outcome(), "junk");
        assert_eq!(TraceRow { deferred: 1, failed: 1, ..row.clone() }.outcome(), "bounced");
        assert_eq!(TraceRow { refused: 1, ..row }.outcome(), "refused");
        assert_eq!(TraceRow::default().outcome(), "under way");
    }
}
