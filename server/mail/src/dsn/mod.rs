//! Delivery status notifications: "your message could not be delivered".
//!
//! ```text
//!   multipart/report; report-type=delivery-status          RFC 6522
//!     text/plain                  for a person             `words`
//!     message/delivery-status     for a program, RFC 3464  `fields`
//!     message/rfc822              the message itself, streamed by the caller between the pieces
//!     or text/rfc822-headers      its header
//! ```
//! Where an address of the envelope needs UTF-8, the last two are their message/global forms
//! (RFC 6533) and the notification is to be sent with SMTPUTF8. [`notice`] decides whether there is
//! a notification at all.
//!
//! Invariants: what strangers wrote (replies, addresses, headers) cannot leave the line or the part
//! it is put in; no line of ours is longer than RFC 5321 4.5.3.1.6 allows; the notification is sent
//! with an empty reverse path, so that it is never answered (RFC 3464 2, RFC 5321 6.1).
//! Not here: sending it, and when mail counts as late or lost (`grace_queue`).

mod fields;
pub mod notice;
mod quoted;
mod returned;
pub mod status;
mod words;

use crate::address::Mailbox;
use crate::date::Date;
use crate::header;
use status::{Action, Status};

/// How much of a header is given back, in bytes: whole fields. Real ones have 2 to 20 KiB.
pub const HEADER_BYTES_MAX: usize = 64 * 1_024;
/// Longest part of an identifier that is used, in bytes. With what we put around it a boundary
/// stays below the 70 of RFC 2046 5.1.1.
const UNIQUE_BYTES_MAX: usize = 48;
/// Longest Message-ID of the original that is referred to, in bytes.
const MESSAGE_ID_BYTES_MAX: usize = 250;

/// Everything a notification says.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// Our name.
    pub hostname: &'a str,
    /// Whom it is from: MAILER-DAEMON with us.
    pub from: &'a Mailbox,
    /// Whom it is for: the reverse path of the message, or the postmaster.
    pub to: &'a Mailbox,
    /// Letters, digits, dots and dashes that no other notification has and nobody can guess: they
    /// are in its Message-ID and in its boundary.
    pub unique: &'a str,
    /// Now.
    pub date: Date,
    /// ENVID of the message, decoded.
    pub envelope_id: Option<&'a str>,
    /// When the message came to us.
    pub arrived: Option<Date>,
    /// What became of each recipient.
    pub recipients: &'a [Recipient<'a>],
    /// The message.
    pub original: Original<'a>,
}

/// What became of one recipient.
#[derive(Debug, Clone, Copy)]
pub struct Recipient<'a> {
    /// Its address when that happened.
    pub address: &'a str,
    /// The address the sender wrote to, with its kind (ORCPT, RFC 3461 4.2).
    pub original: Option<(&'a str, &'a str)>,
    /// What happened.
    pub action: Action,
    /// Why.
    pub status: Status,
    /// The host that said so.
    pub remote: Option<&'a str>,
    /// What it said.
    pub reply: Option<&'a str>,
    /// When we last tried.
    pub last_attempt: Option<Date>,
    /// How long we go on.
    pub will_retry_until: Option<Date>,
}

/// The message a notification is about.
#[derive(Debug, Clone, Copy)]
pub struct Original<'a> {
    /// Its header block.
    pub header: &'a [u8],
    /// What the sender wants back of it.
    pub wanted: Return,
    /// What its body is made of.
    pub body: Body,
    /// It came with SMTPUTF8.
    pub is_utf8: bool,
}

/// How much of a message a notification of failure gives back (RET, RFC 3461 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// The whole message.
    Full,
    /// Its header.
    Headers,
}

/// What a body is made of (RFC 1652, RFC 3030).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Lines of ASCII.
    SevenBit,
    /// Lines of any bytes.
    EightBit,
    /// Any bytes.
    Binary,
}

/// A notification, to be written in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pieces {
    /// Up to where the original begins.
    pub head: Vec<u8>,
    /// Whether the whole original follows here, as it is.
    pub whole_follows: bool,
    /// The rest.
    pub tail: Vec<u8>,
    /// It is to be sent with BODY=8BITMIME.
    pub is_8bit: bool,
    /// It is to be sent with SMTPUTF8.
    pub is_utf8: bool,
}

impl Report<'_> {
    /// The notification.
    #[must_use]
    pub fn compose(&self) -> Pieces {
        let is_utf8 = self.original.is_utf8 || !self.to.is_ascii();
        let text = words::text(self);
        let text_encoding = quoted::encoding(&text);
        let status = fields::delivery_status(self, is_utf8);
        let whole_follows = self.gives_all_back();
        let header = returned::header(self.original.header, is_utf8);
        let is_whole_8bit = self.original.body == Body::EightBit || !header.is_ascii();
        let returned_8bit = if whole_follows { is_whole_8bit } else { !header.is_ascii() };
        let is_8bit = is_utf8 || returned_8bit;

        let boundary = format!("=_{}_dsn", self.unique());
        let mut head = self.header(&boundary, is_8bit);
        let part = |head: &mut String, kind: &str, encoding: &str| {
            head.push_str(&format!("--{boundary}\r\nContent-Type: {kind}\r\n"));
            head.push_str(&format!("Content-Transfer-Encoding: {encoding}\r\n\r\n"));
        };
        part(&mut head, text_encoding.content_type(), text_encoding.name());
        head.push_str(&text_encoding.encode(&text));
        head.push_str("\r\n");
        part(&mut head, kinds(is_utf8).status, bits(!status.is_ascii()));
        head.push_str(&status);
        head.push_str("\r\n");
        let kinds = kinds(is_utf8);
        let kind = if whole_follows { kinds.whole } else { kinds.header };
        part(&mut head, kind, bits(returned_8bit));
        let mut head = head.into_bytes();
        if !whole_follows {
            head.extend_from_slice(&header);
        }
        let tail = format!("\r\n--{boundary}--\r\n").into_bytes();
        Pieces { head, whole_follows, tail, is_8bit, is_utf8 }
    }

    /// RFC 3461 4.3: RET is about failures; all other notifications give the header back. Binary
    /// would need a way that takes binary all along.
    fn gives_all_back(&self) -> bool {
        let failed = self.recipients.iter().any(|recipient| recipient.action == Action::Failed);
        failed && self.original.wanted == Return::Full && self.original.body != Body::Binary
    }

    fn header(&self, boundary: &str, is_8bit: bool) -> String {
        let Self { from, to, hostname, .. } = self;
        let mut out = format!("From: Mail Delivery System <{from}>\r\nTo: <{to}>\r\n");
        out.push_str(&header::fold("Subject", words::subject(self.recipients)));
        out.push_str(&format!("Date: {}\r\n", self.date.to_rfc5322()));
        out.push_str(&format!("Message-ID: <{}.dsn@{hostname}>\r\n", self.unique()));
        if let Some(id) = self.original_id() {
            // RFC 3834 3.1.5: so that it is shown beside what it answers.
            out.push_str(&format!("In-Reply-To: {id}\r\nReferences: {id}\r\n"));
        }
        // RFC 3834 3.1.7, 5: no vacation notice answers what says this.
        out.push_str("Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n");
        out.push_str("Content-Type: multipart/report; report-type=delivery-status;\r\n");
        out.push_str(&format!(" boundary=\"{boundary}\"\r\n"));
        // RFC 2045 6.4: a multipart is as wide as its widest part.
        out.push_str(&format!("Content-Transfer-Encoding: {}\r\n\r\n", bits(is_8bit)));
        out
    }

    fn unique(&self) -> String {
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        self.unique.chars().filter(is_plain).take(UNIQUE_BYTES_MAX).collect()
    }

    /// The Message-ID of the original, if it is one that can be repeated.
    fn original_id(&self) -> Option<String> {
        let id = header::value(self.original.header, b"message-id")?;
        let is_sound = id.len() <= MESSAGE_ID_BYTES_MAX
            && id.starts_with(b"<")
            && id.ends_with(b">")
            && id.iter().all(u8::is_ascii_graphic);
        if !is_sound { None } else { String::from_utf8(id.into_owned()).ok() }
    }
}

/// The media types of the parts (RFC 6522 3, RFC 6533 5).
struct Kinds {
    status: &'static str,
    whole: &'static str,
    header: &'static str,
}

const fn kinds(is_utf8: bool) -> Kinds {
    if is_utf8 {
        Kinds {
            status: "message/global-delivery-status",
            whole: "message/global",
            header: "message/global-headers",
        }
    } else {
        Kinds {
            status: "message/delivery-status",
            whole: "message/rfc822",
            header: "text/rfc822-headers",
        }
    }
}

const fn bits(is_8bit: bool) -> &'static str {
    if is_8bit { "8bit" } else { "7bit" }
}
