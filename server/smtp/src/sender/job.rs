//! What is to be sent: one message for some recipients at one host.
//!
//! Not here: which host that is (`server::outbound`), the bytes of the message, which the driver
//! hands over piece by piece.

use crate::dsn::{Notify, OriginalRecipient, Return};
use crate::parameters::DeliverBy;
use crate::path::{Recipient, ReversePath};

/// One message for some recipients at one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Who bounces go to.
    pub sender: ReversePath,
    /// Who it is for. Those beyond what one transaction takes come back as
    /// [`NotAttempted`](crate::sender::outcome::Outcome::NotAttempted).
    pub recipients: Vec<JobRecipient>,
    /// What must be known of the message before it is sent.
    pub message: Message,
    /// What a notification gives back (RET, RFC 3461 4.3).
    pub returned: Option<Return>,
    /// The sender's own number for the message, decoded (ENVID, RFC 3461 4.4).
    pub envelope_id: Option<String>,
    /// Whether it may only travel encrypted, here and from there on (REQUIRETLS, RFC 8689).
    pub require_tls: bool,
    /// Until when it must have arrived (BY, RFC 2852), counted from now.
    pub deliver_by: Option<DeliverBy>,
}

/// One recipient of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecipient {
    /// The address.
    pub address: Recipient,
    /// What the sender wants to hear of (RFC 3461 4.1). `None`: nothing was said.
    pub notify: Option<Notify>,
    /// Who the sender wrote to (RFC 3461 4.2).
    pub original: Option<OriginalRecipient>,
}

/// What must be known of a message before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Its size with CRLF line ends, in bytes (RFC 1870 3).
    pub size_bytes: u64,
    /// What its bytes are.
    pub content: Content,
    /// Whether its header has UTF-8 (RFC 6532), so that it needs SMTPUTF8 whatever the addresses.
    pub utf8: bool,
}

/// What the bytes of a message are (BODY, RFC 6152 and RFC 3030).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Lines of ASCII.
    SevenBit,
    /// Lines of any bytes.
    EightBit,
    /// Any bytes at all.
    Binary,
}
