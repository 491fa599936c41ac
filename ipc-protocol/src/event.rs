//! Everything that happens in the house, as one typed stream.
//!
//! The daemon's event bus carries these values; logs, the admin protocol and tests read the same
//! stream. Invariants: `seq` grows by one per event and never repeats while a daemon runs; strings
//! that come from a peer are cut to [`TEXT_MAX`] bytes before they get here and are claims, not
//! facts.
//! Not here: how events are delivered (`server::telemetry`, [`crate::message`]).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::version::Version;

/// Longest text an event carries from a peer, in bytes. A refused command needs no more to be
/// understood, and a thousand kept events then stay under a few megabytes.
pub const TEXT_MAX: usize = 512;

/// Recipients that one [`EventKind::MessageIdentified`] names: nearly every message has fewer.
pub const IDENTIFIED_RECIPIENTS_MAX: usize = 10;

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
///
/// The place of a variant is its number on the wire: new ones go to the end, with a version of
/// their own in [`EventKind::since`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// The daemon serves.
    ServerStarted {
        /// Version of the daemon.
        version: String,
    },
    /// The daemon was told to stop and finishes what it acknowledged.
    ServerStopping,
    /// A door is open.
    Listening {
        /// Which door.
        service: Service,
        /// A socket address, or the path of the admin socket.
        address: String,
    },
    /// A peer connected.
    ConnectionOpened {
        /// At which door.
        service: Service,
        /// Where it comes from.
        peer: SocketAddr,
    },
    /// A peer was turned away at the door.
    ConnectionRefused {
        /// At which door.
        service: Service,
        /// Where it comes from.
        peer: SocketAddr,
        /// Why, in words.
        reason: String,
    },
    /// A connection ended.
    ConnectionClosed {
        /// At which door it came in.
        service: Service,
        /// Where it came from.
        peer: SocketAddr,
        /// Who ended it and why, in words.
        reason: String,
        /// How long it was open, in milliseconds.
        duration_ms: u64,
        /// Bytes the peer sent.
        bytes_in: u64,
        /// Bytes the peer was sent.
        bytes_out: u64,
    },
    /// TLS is up on a connection.
    TlsEstablished {
        /// At which door.
        service: Service,
        /// Where the peer comes from.
        peer: SocketAddr,
        /// Version of TLS.
        version: String,
        /// Cipher suite in use.
        cipher: String,
    },
    /// A TLS handshake failed.
    TlsFailed {
        /// At which door.
        service: Service,
        /// Where the peer comes from.
        peer: SocketAddr,
        /// Why, in words.
        reason: String,
    },
    /// A command was answered with a refusal.
    CommandRefused {
        /// At which door.
        service: Service,
        /// Where the peer comes from.
        peer: SocketAddr,
        /// The command as it was sent, without secrets.
        command: String,
        /// Our answer.
        reply: String,
    },
    /// Somebody logged in.
    LoginSucceeded {
        /// At which door.
        service: Service,
        /// Where the peer comes from.
        peer: SocketAddr,
        /// The account that is now in use.
        account: String,
        /// SASL mechanism, or LOGIN.
        mechanism: String,
    },
    /// Somebody failed to log in.
    LoginFailed {
        /// At which door.
        service: Service,
        /// Where the peer comes from.
        peer: SocketAddr,
        /// The name that was claimed.
        login: String,
        /// SASL mechanism, or LOGIN.
        mechanism: String,
        /// Why, in words.
        reason: String,
    },
    /// A message is on disk for good and was acknowledged.
    MessageAccepted {
        /// The id the sender was told.
        queue_id: String,
        /// Envelope sender; empty for a bounce.
        sender: String,
        /// Number of envelope recipients.
        recipients: u32,
        /// Bytes of the message.
        size: u64,
    },
    /// A message was refused after its data began.
    MessageRefused {
        /// Envelope sender.
        sender: String,
        /// Our answer.
        reply: String,
    },
    /// A message stands in a mailbox.
    MessageDelivered {
        /// The id under which it was accepted.
        queue_id: String,
        /// Whose mailbox.
        account: String,
        /// Name of the mailbox.
        mailbox: String,
        /// Its IMAP UID there.
        uid: u32,
        /// Bytes of the message.
        size: u64,
    },
    /// A client stored a message with APPEND.
    MessageAppended {
        /// Whose mailbox.
        account: String,
        /// Name of the mailbox.
        mailbox: String,
        /// Its IMAP UID there.
        uid: u32,
        /// Bytes of the message.
        size: u64,
    },
    /// Messages were removed from a mailbox for good.
    MessagesExpunged {
        /// Whose mailbox.
        account: String,
        /// Name of the mailbox.
        mailbox: String,
        /// How many.
        count: u32,
    },
    /// A mailbox was opened by a client.
    MailboxSelected {
        /// Whose mailbox.
        account: String,
        /// Name of the mailbox.
        mailbox: String,
        /// Messages in it.
        messages: u32,
    },
    /// A mailbox was made, renamed or removed.
    MailboxChanged {
        /// Whose mailbox.
        account: String,
        /// Name of the mailbox.
        mailbox: String,
        /// Which of them, in one word.
        change: String,
    },
    /// An admin changed the directory.
    DirectoryChanged {
        /// The object: a domain or an address.
        what: String,
        /// The verb.
        change: String,
        /// Who did it.
        by: String,
    },
    /// The TLS certificate was read again.
    CertificateReloaded {
        /// The file it was read from.
        file: String,
    },
    /// The TLS certificate could not be read again; the old one stays in use.
    CertificateRejected {
        /// Why, in words.
        reason: String,
    },
    /// The database opened.
    StoreOpened {
        /// Transactions that came from the journal.
        replayed: u64,
        /// Bytes of a torn tail that were cut off.
        cut_bytes: u64,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// The database failed; nothing more is acknowledged.
    StoreFailed {
        /// Why, in words.
        reason: String,
    },
    /// A connection's task panicked and was ended alone.
    SessionPanicked {
        /// At which door.
        service: Service,
        /// Where the peer comes from.
        peer: SocketAddr,
    },
    /// Work in the background met damage in the database's files; what is not damaged goes on.
    StoreDamaged {
        /// Which file, where in it, and what to do.
        what: String,
    },
    /// Another server took a message for a recipient.
    RecipientSent {
        /// The id under which it was accepted.
        queue_id: String,
        /// The recipient.
        recipient: String,
        /// The other server.
        remote: String,
        /// How it was encrypted; empty: not at all.
        tls: String,
        /// What it said.
        reply: String,
    },
    /// A message could not be handed over for a recipient now.
    RecipientDeferred {
        /// The id under which it was accepted.
        queue_id: String,
        /// The recipient.
        recipient: String,
        /// The other server; empty: none was reached.
        remote: String,
        /// What it said, or what else went wrong.
        reason: String,
        /// Attempts so far.
        attempts: u32,
        /// When it is tried next, in microseconds since 1970-01-01 UTC.
        next_us: u64,
    },
    /// A message will not reach a recipient.
    RecipientFailed {
        /// The id under which it was accepted.
        queue_id: String,
        /// The recipient.
        recipient: String,
        /// The other server; empty: none was reached.
        remote: String,
        /// What it said, or what else went wrong.
        reason: String,
    },
    /// A sender was told what became of a message.
    SenderNotified {
        /// The id under which it was accepted.
        queue_id: String,
        /// Whom the notification goes to; empty: nobody, for it was a notification itself.
        to: String,
        /// What it says of how many recipients, in words.
        about: String,
    },
    /// An admin did something to outgoing mail.
    QueueChanged {
        /// Which: a number, an address, a destination, or all.
        what: String,
        /// The verb.
        change: String,
        /// How many recipients there were.
        recipients: u64,
        /// Who did it.
        by: String,
    },
    /// It was found out who a message is really from. The results are words of RFC 8601.
    SenderChecked {
        /// Where it came from.
        peer: SocketAddr,
        /// Envelope sender; empty for a bounce.
        sender: String,
        /// Domain of the author; empty: none, or more than one.
        author: String,
        /// Whether the name of the peer's address has that address.
        iprev: String,
        /// SPF of the envelope sender.
        spf: String,
        /// DKIM of the best signature, and who signed.
        dkim: String,
        /// ARC.
        arc: String,
        /// DMARC of the author.
        dmarc: String,
        /// What follows: accepted, quarantined, refused or put off.
        consequence: String,
        /// Why, in words; empty for what is accepted.
        reason: String,
    },
    /// The names of a message that came whole, whatever becomes of it. A message with more
    /// recipients than [`IDENTIFIED_RECIPIENTS_MAX`] has several of these. Version 4.
    MessageIdentified {
        /// The id under which it is accepted, if it is.
        queue_id: String,
        /// Envelope sender; empty for a bounce.
        sender: String,
        /// Its Message-ID, without brackets; empty: none.
        message_id: String,
        /// Envelope recipients.
        recipients: Vec<String>,
        /// The id of the message that this one notifies the sender of; empty: it is no notification
        /// of ours.
        about: String,
    },
    /// A recipient was not taken. Version 4.
    RecipientRefused {
        /// Where the sender comes from.
        peer: SocketAddr,
        /// Envelope sender; empty for a bounce.
        sender: String,
        /// The recipient.
        recipient: String,
        /// Our answer.
        reply: String,
    },
    /// A peer, or what it sent, was refused at the door. What is refused again for the same reason
    /// is told once a minute. Version 4.
    DoorRefused {
        /// At which door.
        service: Service,
        /// Where the peer comes from; its port of the last time.
        peer: SocketAddr,
        /// What it did: `connect`, or the SMTP command.
        command: String,
        /// The setting that forbids it, or the block list.
        rule: String,
        /// Why, in words.
        reason: String,
        /// How often since this was told last.
        count: u64,
    },
    /// A block list is not asked for a while, or is asked again. Version 4.
    BlockListChanged {
        /// Which.
        list: String,
        /// Whether it is asked.
        is_asked: bool,
        /// Why, in words.
        reason: String,
    },
    /// A message that was accepted goes on to people elsewhere. Version 4.
    MessageForwarded {
        /// The id of the message that was accepted.
        queue_id: String,
        /// The id it goes on with, which the events of its recipients have.
        onward_id: String,
        /// The address here that leads there.
        by: String,
        /// The envelope sender it goes on with; empty for a bounce.
        sender: String,
        /// Number of those it goes to.
        recipients: u32,
        /// Whether it is sealed (ARC).
        sealed: bool,
    },
    /// A smart host refused our login. Mail waits until that is mended.
    SmartHostRefused {
        /// The smart host, with its port.
        host: String,
        /// The login.
        login: String,
        /// What it said.
        reason: String,
    },
    /// An account, or a domain as a whole, has come to keep so much of what it may. Version 5.
    QuotaReached {
        /// The account's address, or `@domain`.
        of: String,
        /// How much, in percent of the limit it is nearest to.
        percent: u32,
    },
}

/// What an event is about. A subscription may ask for some of these only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Topic {
    /// The daemon itself: start, stop, doors, certificates.
    Server,
    /// Connections, TLS, refused commands.
    Connection,
    /// Logins, good and bad.
    Login,
    /// Messages accepted, refused, delivered, appended, sent on.
    Message,
    /// Mailboxes opened and changed, messages removed.
    Mailbox,
    /// Domains and accounts changed by an admin.
    Directory,
    /// The database.
    Store,
}

impl Service {
    /// Every door, in the order of the wire.
    pub const ALL: [Self; 6] =
        [Self::Smtp, Self::Submission, Self::Submissions, Self::Imap, Self::Imaps, Self::Admin];

    /// Its name in logs and on screens.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Submission => "submission",
            Self::Submissions => "submissions",
            Self::Imap => "imap",
            Self::Imaps => "imaps",
            Self::Admin => "admin",
        }
    }
}

impl Topic {
    /// Every topic, in the order of the wire.
    pub const ALL: [Self; 7] = [
        Self::Server,
        Self::Connection,
        Self::Login,
        Self::Message,
        Self::Mailbox,
        Self::Directory,
        Self::Store,
    ];
}

impl EventKind {
    /// Name of the variant, topic, and the version of the protocol that brought it.
    #[rustfmt::skip]
    const fn row(&self) -> (&'static str, Topic, Version) {
        use Topic::{Connection, Directory, Login, Mailbox, Message, Server, Store};
        use Version::{V1, V2, V3, V4, V5};
        match self {
            Self::ServerStarted { .. }       => ("ServerStarted",       Server,     V1),
            Self::ServerStopping             => ("ServerStopping",      Server,     V1),
            Self::Listening { .. }           => ("Listening",           Server,     V1),
            Self::ConnectionOpened { .. }    => ("ConnectionOpened",    Connection, V1),
            Self::ConnectionRefused { .. }   => ("ConnectionRefused",   Connection, V1),
            Self::ConnectionClosed { .. }    => ("ConnectionClosed",    Connection, V1),
            Self::TlsEstablished { .. }      => ("TlsEstablished",      Connection, V1),
            Self::TlsFailed { .. }           => ("TlsFailed",           Connection, V1),
            Self::CommandRefused { .. }      => ("CommandRefused",      Connection, V1),
            Self::LoginSucceeded { .. }      => ("LoginSucceeded",      Login,      V1),
            Self::LoginFailed { .. }         => ("LoginFailed",         Login,      V1),
            Self::MessageAccepted { .. }     => ("MessageAccepted",     Message,    V1),
            Self::MessageRefused { .. }      => ("MessageRefused",      Message,    V1),
            Self::MessageDelivered { .. }    => ("MessageDelivered",    Message,    V1),
            Self::MessageAppended { .. }     => ("MessageAppended",     Message,    V1),
            Self::MessagesExpunged { .. }    => ("MessagesExpunged",    Mailbox,    V1),
            Self::MailboxSelected { .. }     => ("MailboxSelected",     Mailbox,    V1),
            Self::MailboxChanged { .. }      => ("MailboxChanged",      Mailbox,    V1),
            Self::DirectoryChanged { .. }    => ("DirectoryChanged",    Directory,  V1),
            Self::CertificateReloaded { .. } => ("CertificateReloaded", Server,     V1),
            Self::CertificateRejected { .. } => ("CertificateRejected", Server,     V1),
            Self::StoreOpened { .. }         => ("StoreOpened",         Store,      V1),
            Self::StoreFailed { .. }         => ("StoreFailed",         Store,      V1),
            Self::SessionPanicked { .. }     => ("SessionPanicked",     Connection, V1),
            Self::StoreDamaged { .. }        => ("StoreDamaged",        Store,      V2),
            Self::RecipientSent { .. }       => ("RecipientSent",       Message,    V3),
            Self::RecipientDeferred { .. }   => ("RecipientDeferred",   Message,    V3),
            Self::RecipientFailed { .. }     => ("RecipientFailed",     Message,    V3),
            Self::SenderNotified { .. }      => ("SenderNotified",      Message,    V3),
            Self::QueueChanged { .. }        => ("QueueChanged",        Message,    V3),
            Self::SenderChecked { .. }       => ("SenderChecked",       Message,    V3),
            Self::MessageIdentified { .. }   => ("MessageIdentified",   Message,    V4),
            Self::RecipientRefused { .. }    => ("RecipientRefused",    Message,    V4),
            Self::DoorRefused { .. }         => ("DoorRefused",         Connection, V4),
            Self::BlockListChanged { .. }    => ("BlockListChanged",    Server,     V4),
            Self::MessageForwarded { .. }    => ("MessageForwarded",    Message,    V4),
            Self::SmartHostRefused { .. }    => ("SmartHostRefused",    Message,    V4),
            Self::QuotaReached { .. }        => ("QuotaReached",        Mailbox,    V5),
        }
    }

    /// Name of the variant, as logs and counters spell it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.row().0
    }

    /// What it is about.
    #[must_use]
    pub const fn topic(&self) -> Topic {
        self.row().1
    }

    /// The version of the protocol that knows it. Older peers are not sent it.
    #[must_use]
    pub const fn since(&self) -> Version {
        self.row().2
    }
}
