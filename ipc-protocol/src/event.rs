//! Everything that happens in the house, as one typed stream.
//!
//! The daemon's event bus carries these values; logs, the admin protocol and tests read the same
//! stream. Invariants: `seq` grows by one per event and never repeats while a daemon runs; strings
//! that come from a peer are cut to [`TEXT_MAX`] bytes before they get here and are claims, not facts.
//! Not here: how events are delivered (`server::telemetry`, [`crate::message`]).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Longest text an event carries from a peer, in bytes. A refused command needs no more to be
/// understood, and a thousand kept events then stay under a megabyte.
pub const TEXT_MAX: usize = 512;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Number of the event since the daemon started, from 1.
    pub seq: u64,
    /// When, in microseconds since 1970-01-01 UTC.
    pub time_us: u64,
    /// The connection or message it belongs to.
    pub trace: TraceId,
    /// What happened.
    pub kind: EventKind,
}

/// Joins the events of one connection, from its first byte to the last delivery. 0: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TraceId(pub u64);

/// A door of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Service {
    /// SMTP between servers (port 25, RFC 5321).
    Smtp,
    /// Submission with STARTTLS (port 587, RFC 6409).
    Submission,
    /// Submission over TLS (port 465, RFC 8314).
    Submissions,
    /// IMAP with STARTTLS (port 143, RFC 9051).
    Imap,
    /// IMAP over TLS (port 993, RFC 8314).
    Imaps,
    /// The admin protocol.
    Admin,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// The daemon serves; `version` is its version.
    ServerStarted { version: String },
    /// The daemon was told to stop and finishes what it acknowledged.
    ServerStopping,
    /// A door is open at `address` (a socket address, or the path of the admin socket).
    Listening { service: Service, address: String },
    /// A peer connected.
    ConnectionOpened { service: Service, peer: SocketAddr },
    /// A peer was turned away at the door.
    ConnectionRefused { service: Service, peer: SocketAddr, reason: String },
    /// A connection ended.
    ConnectionClosed {
        service: Service,
        peer: SocketAddr,
        reason: String,
        duration_ms: u64,
        bytes_in: u64,
        bytes_out: u64,
    },
    /// TLS is up on a connection.
    TlsEstablished { service: Service, peer: SocketAddr, version: String, cipher: String },
    /// A TLS handshake failed.
    TlsFailed { service: Service, peer: SocketAddr, reason: String },
    /// A command was answered with a refusal.
    CommandRefused { service: Service, peer: SocketAddr, command: String, reply: String },
    /// Somebody logged in.
    LoginSucceeded { service: Service, peer: SocketAddr, account: String, mechanism: String },
    /// Somebody failed to log in. `login` is what was claimed.
    LoginFailed {
        service: Service,
        peer: SocketAddr,
        login: String,
        mechanism: String,
        reason: String,
    },
    /// A message is on disk for good and was acknowledged.
    MessageAccepted { queue_id: String, sender: String, recipients: u32, size: u64 },
    /// A message was refused after its data began.
    MessageRefused { sender: String, reply: String },
    /// A message stands in a mailbox. `uid` is its IMAP UID there.
    MessageDelivered { queue_id: String, account: String, mailbox: String, uid: u32, size: u64 },
    /// A client stored a message with APPEND.
    MessageAppended { account: String, mailbox: String, uid: u32, size: u64 },
    /// Messages were removed from a mailbox for good.
    MessagesExpunged { account: String, mailbox: String, count: u32 },
    /// A mailbox was opened by a client.
    MailboxSelected { account: String, mailbox: String, messages: u32 },
    /// A mailbox was made, renamed or removed; `change` says which, in one word.
    MailboxChanged { account: String, mailbox: String, change: String },
    /// An admin changed the directory; `what` names the object, `change` the verb.
    DirectoryChanged { what: String, change: String, by: String },
    /// The TLS certificate was read again.
    CertificateReloaded { subject: String },
    /// The TLS certificate could not be read again; the old one stays in use.
    CertificateRejected { reason: String },
    /// The database opened; `replayed` transactions came from the journal.
    StoreOpened { replayed: u64, cut_bytes: u64, took_ms: u64 },
    /// The database failed; nothing more is acknowledged.
    StoreFailed { reason: String },
    /// A connection's task panicked and was ended alone.
    SessionPanicked { service: Service, peer: SocketAddr },
}
