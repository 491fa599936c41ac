//! The tables that `mailbox` and `directory` keep, and what they do to them in common.
//!
//! ```text
//!   1 domain      2 account      8 uid_validity
//!   3 mailbox     4 subscription   5 message     6 body     7 vanished
//! ```
//! Invariant: a table's id and name never change meaning; a table that is given up keeps its id.

pub mod accounts;
pub mod failure;
pub mod messages;
pub mod removal;
pub mod seed;

use gracedb::schema::Schema;
use gracedb::table::Table as _;

use self::accounts::{Account, Domain};
use self::messages::{Body, MailboxRow, MessageRow, Subscription, UidValidity, Vanished};

/// Every table of the daemon.
pub const SCHEMA: Schema = Schema::new(&[
    Domain::DEF,
    Account::DEF,
    MailboxRow::DEF,
    Subscription::DEF,
    MessageRow::DEF,
    Body::DEF,
    Vanished::DEF,
    UidValidity::DEF,
]);
