//! What is said about sessions that are open, what is spoken there, and the mailboxes of accounts.
//!
//! Invariants: as those of [`crate::message`]; everything here came with version 5. No password and
//! no answer of a login stands in a line of a session.
//! Not here: the requests themselves ([`crate::message`]), what was ([`crate::trace`]).

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::event::Service;

/// Sessions in one part of a reply: with the longest names each takes some 2 KiB.
pub const SESSIONS_PER_PART_MAX: usize = 200;

/// Lines of a session in one part of a reply: with the longest ones it stays below 300 KiB.
pub const SESSION_LINES_PER_PART_MAX: usize = 100;

/// Longest line of a session, in bytes; the rest of a longer one is left out.
pub const SESSION_LINE_BYTES_MAX: usize = 2_000;

/// Mailboxes in one part of a reply: a name has at most 1,000 bytes.
pub const MAILBOXES_PER_PART_MAX: usize = 500;

/// Which sessions. What is set must fit; nothing set: all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionFilter {
    /// Of this account.
    pub account: Option<String>,
    /// From this address.
    pub peer: Option<IpAddr>,
}

/// Which session to listen in on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionChoice {
    /// The open one of this number.
    Session(u64),
    /// The next one from this address.
    NextFrom(IpAddr),
    /// The next one in which this account logs in, from then on.
    NextOf(String),
}

/// A session that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// Its number, which joins its events, too.
    pub id: u64,
    /// The door it came through.
    pub service: Service,
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// When it began, in microseconds since 1970-01-01 UTC.
    pub began_us: u64,
    /// When something was last heard from the other end.
    pub heard_us: u64,
    /// TLS in the names of the IANA registries, such as `TLSv1.3 TLS_AES_256_GCM_SHA384`; empty:
    /// none.
    pub tls: String,
    /// Who logged in; empty: nobody.
    pub account: String,
    /// What the other end calls itself (IMAP's ID, SMTP's EHLO): a claim; empty: nothing.
    pub client: String,
    /// The selected mailbox; empty: none.
    pub mailbox: String,
    /// The last command, without its arguments; empty: none.
    pub command: String,
    /// Bytes read, those of TLS itself left out.
    pub bytes_in: u64,
    /// Bytes written, likewise.
    pub bytes_out: u64,
    /// How many listen in on it.
    pub watchers: u32,
}

/// Who says a line of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionSide {
    /// The other end.
    Client,
    /// The daemon.
    Server,
    /// Nobody: what happens between the lines, in words.
    Note,
}

/// A line of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLine {
    /// When, in microseconds since 1970-01-01 UTC.
    pub at_us: u64,
    /// Who says it.
    pub side: SessionSide,
    /// How many lines are missing before this one, because the reader was slow.
    pub lost: u64,
    /// The line, without its end. What is secret in it is not there, and says so.
    pub text: String,
}

/// A mailbox of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxRow {
    /// Its name, with `/` between the levels.
    pub name: String,
    /// Its messages.
    pub messages: u32,
    /// Those that nobody has seen.
    pub unseen: u32,
    /// Bytes of its messages.
    pub stored_bytes: u64,
    /// The UID the next message gets.
    pub uid_next: u32,
    /// UIDVALIDITY.
    pub uid_validity: u32,
}
