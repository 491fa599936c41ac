//! The table of counts by time.
//!
//! Invariant: a number of [`Figure`] or [`Resolution`] never changes its meaning.
//! Not here: who writes and reads it (`history`).

use serde::{Deserialize, Serialize};

use gracedb::table::Table;

/// What was counted in a minute, or in an hour. Where nothing was, there is no row.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 11, name = "statistic")]
pub struct StatisticRow {
    /// How long it is, as a number of [`Resolution`].
    #[key]
    pub resolution: u8,
    /// When it begins, seconds since 1970 UTC.
    #[key]
    pub start_s: u64,
    /// Counts by the number of their [`Figure`], ascending; those left out are 0.
    pub counts: Vec<(u8, u64)>,
}

/// How long a time is that is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Resolution {
    /// 60 seconds.
    Minute = 1,
    /// 3600 seconds.
    Hour = 2,
}

impl Resolution {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Minute, Self::Hour];

    /// Its length in seconds.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Figure {
    /// Connections for SMTP between servers.
    ConnectionsSmtp = 1,
    /// Connections for submission with STARTTLS.
    ConnectionsSubmission = 2,
    /// Connections for submission over TLS.
    ConnectionsSubmissions = 3,
    /// Connections for IMAP with STARTTLS.
    ConnectionsImap = 4,
    /// Connections for IMAP over TLS.
    ConnectionsImaps = 5,
    /// Connections turned away at the door.
    ConnectionsRefused = 6,
    /// Commands answered with a refusal.
    CommandsRefused = 7,
    /// Successful logins.
    LoginsSucceeded = 8,
    /// Failed logins.
    LoginsFailed = 9,
    /// Messages acknowledged by SMTP.
    MessagesAccepted = 10,
    /// Messages refused after their data began.
    MessagesRefused = 11,
    /// Messages placed into mailboxes, one per mailbox.
    MessagesDelivered = 12,
    /// Messages stored by APPEND.
    MessagesAppended = 13,
    /// Messages removed for good.
    MessagesExpunged = 14,
    /// TLS handshakes that failed.
    TlsFailed = 15,
    /// Sessions that ended by a panic of ours.
    SessionsPanicked = 16,
    /// Events that could not be kept as traces.
    TracesLost = 17,
    /// Senders and recipients refused by rules of the door.
    DoorRefused = 18,
}

impl Figure {
    /// Every figure, by ascending number.
    pub const ALL: [Self; 18] = [
        Self::ConnectionsSmtp,
        Self::ConnectionsSubmission,
        Self::ConnectionsSubmissions,
        Self::ConnectionsImap,
        Self::ConnectionsImaps,
        Self::ConnectionsRefused,
        Self::CommandsRefused,
        Self::LoginsSucceeded,
        Self::LoginsFailed,
        Self::MessagesAccepted,
        Self::MessagesRefused,
        Self::MessagesDelivered,
        Self::MessagesAppended,
        Self::MessagesExpunged,
        Self::TlsFailed,
        Self::SessionsPanicked,
        Self::TracesLost,
        Self::DoorRefused,
    ];
}

impl StatisticRow {
    /// The count of a figure.
    #[must_use]
    pub fn count(&self, figure: Figure) -> u64 {
        let found = self.counts.iter().find(|(number, _)| *number == figure as u8);
        found.map_or(0, |(_, count)| *count)
    }

    /// Adds to the count of a figure.
    pub fn add(&mut self, figure: Figure, more: u64) {
        match self.counts.binary_search_by_key(&(figure as u8), |(number, _)| *number) {
            Ok(at) => {
                if let Some((_, count)) = self.counts.get_mut(at) {
                    *count = count.saturating_add(more);
                }
            }
            Err(at) => self.counts.insert(at, (figure as u8, more)),
        }
    }
}
