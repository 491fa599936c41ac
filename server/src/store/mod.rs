//! The tables of the daemon, opening the database they are in, and what `mailbox` and `directory`
//! do to them in common.
//!
//! ```text
//!   1 domain      2 account        8 uid_validity
//!   3 mailbox     4 subscription   5 message     7 vanished
//!   9 trace      10 trace_page    11 statistic
//!  12 outgoing   13 outgoing_recipient
//!  14 dkim_key   15 alias
//!  20 sts_policy 21 tls_result
//! ```
//! Invariant: a table's id and name never change meaning; a table that is given up keeps its id:
//! 6, `body`.

pub mod accounts;
pub mod closed;
pub mod copied;
pub mod dkim;
mod earlier;
pub mod failure;
pub mod health;
pub mod key;
pub mod messages;
pub mod open;
pub mod outgoing;
pub mod refusal;
pub mod removal;
pub mod report;
pub mod seed;
pub mod statistics;
pub mod target;
pub mod traces;
pub mod transport;

use gracedb::schema::Schema;
use gracedb::table::Table as _;

use self::accounts::{Account, Alias, Domain};
use self::dkim::DkimKeyRow;
use self::messages::{MailboxRow, MessageRow, Subscription, UidValidity, Vanished};
use self::outgoing::{OutgoingRecipientRow, OutgoingRow};
use self::statistics::StatisticRow;
use self::traces::{TracePage, TraceRow};
use self::transport::{StsPolicyRow, TlsResultRow};

/// Every table of the daemon.
pub const SCHEMA: Schema = Schema::new(&[
    Domain::DEF,
    Account::DEF,
    MailboxRow::DEF,
    Subscription::DEF,
    MessageRow::DEF,
    Vanished::DEF,
    UidValidity::DEF,
    TraceRow::DEF,
    TracePage::DEF,
    StatisticRow::DEF,
    OutgoingRow::DEF,
    OutgoingRecipientRow::DEF,
    DkimKeyRow::DEF,
    Alias::DEF,
    StsPolicyRow::DEF,
    TlsResultRow::DEF,
]);
