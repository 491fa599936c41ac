//! The way of a message in, from its last byte to the answer `250`.
//!
//! ```text
//!   session ─▶ Received ─▶ Authenticated ─▶ Placed ─▶ Stored ─▶ 250 queued as ...
//!   (the only  body in     who it is        who gets   ONE transaction,
//!   one who    the journal really from      it here    on disk for good
//!   talks)
//! ```
//! Each step owns the one before, so that none can be left out and none done twice. One more comes
//! before `Placed` when letters are judged.
//! Invariants: nothing is acknowledged before it is `Stored`; a message that cannot go to all its
//! recipients goes to none, and the sender hears so while it is still there.
//! Not here: the dialogue ([`session`]), mailboxes (`mailbox`), who lives here (`directory`).

pub mod incoming;
pub mod session;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use grace_ipc::event::{EventKind, TraceId};
use grace_smtp::path::Recipient;
use grace_smtp::receiver::Envelope;
use grace_smtp::reply::Reply;

use self::incoming::Lines;
use crate::authenticity::verdict::{Consequence, Outcome, Verdict};
use crate::authenticity::{Check, results};
use crate::directory::{Destination, Directory};
use crate::mailbox::append::{Upload, Uploaded};
use crate::services::Services;
use crate::store::failure::Failure;
use crate::telemetry::bus::{Moments, claim};

/// A message whose last byte is here; nobody was told so.
pub struct Received {
    /// Joins its events with those of its session.
    pub trace: TraceId,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Its number, which the sender will be told.
    pub queue_id: String,
    /// Who it is from and for.
    pub envelope: Envelope,
    /// The lines we put on top.
    pub lines: Lines,
    /// Its header block, as it came.
    pub header: Vec<u8>,
    /// Its body, in the journal.
    pub body: Upload,
    /// What the body showed of its sender; none: it is not checked.
    pub check: Option<Check>,
}

/// A message of which is known who it is from, as far as that is asked.
#[derive(Debug)]
pub struct Authenticated {
    trace: TraceId,
    queue_id: String,
    envelope: Envelope,
    /// Its bytes, with the lines that we put above them.
    message: Uploaded,
    /// It goes to where doubtful mail is kept.
    aside: bool,
}

/// A message and the accounts that get it.
#[derive(Debug)]
pub struct Placed {
    message: Authenticated,
    accounts: Vec<u64>,
}

/// A message that is on disk for good.
#[derive(Debug)]
pub struct Stored {
    /// Its number.
    pub queue_id: String,
}

/// Why a message is not taken, by who must act.
#[derive(Debug)]
pub enum Rejection {
    /// It may heal by itself: the sender is to come back.
    Later(Cause),
    /// The author's domain does not want it taken.
    Forged(Reply),
}

/// What is behind a rejection.
#[derive(Debug)]
pub enum Cause {
    /// The database failed.
    Store(Failure),
    /// A recipient was removed while the message came in. When the sender comes back, RCPT says so.
    RecipientGone(Recipient),
    /// The author could not be checked.
    Unchecked(Reply),
}

impl Rejection {
    /// What the sender is told.
    #[must_use]
    pub fn reply(&self) -> Reply {
        match self {
            Self::Later(Cause::Store(failure)) => store_reply(failure),
            Self::Later(Cause::RecipientGone(recipient)) => {
                Reply::new(451, (4, 2, 1), &format!("<{recipient}> has just been removed"))
            }
            Self::Later(Cause::Unchecked(reply)) | Self::Forged(reply) => reply.clone(),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Later(Cause::Store(failure)) => failure.fmt(f),
            Self::Later(Cause::RecipientGone(recipient)) => {
                write!(f, "{recipient} was removed meanwhile")
            }
            Self::Later(Cause::Unchecked(reply)) | Self::Forged(reply) => reply.fmt(f),
        }
    }
}

impl std::error::Error for Rejection {}

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        Self::Later(Cause::Store(failure))
    }
}

impl Received {
    /// Walks the message to its end.
    ///
    /// # Errors
    /// It stands nowhere; why, and what the sender is told.
    pub async fn walk(self, services: &Services) -> Result<Stored, Rejection> {
        let authenticated = self.authenticate(services).await?;
        let placed = authenticated.place(&services.directory)?;
        placed.store(services).await
    }

    /// Finds out who it is really from, and completes its head with that.
    async fn authenticate(self, services: &Services) -> Result<Authenticated, Rejection> {
        let Self { trace, peer, queue_id, envelope, lines, header, body, check } = self;
        let hostname = &services.config.hostname;
        let mut head = lines.return_path;
        let mut aside = false;
        let header = if let Some(check) = check {
            // On the heap, and only now: each session would have room for it else, idle or not.
            let verdict = Box::pin(check.finish(&header)).await;
            let found = checked(&envelope, peer, &verdict);
            services.porter.bus.emit(trace, found);
            head += &results::field(hostname, &verdict);
            match verdict.consequence {
                Consequence::Accept => {}
                Consequence::Quarantine => aside = true,
                Consequence::Reject(reply) => return Err(Rejection::Forged(reply)),
                Consequence::Later(reply) => return Err(Rejection::Later(Cause::Unchecked(reply))),
            }
            results::without_forged(&header, hostname)
        } else {
            header
        };
        head += &lines.received;
        let mut head = head.into_bytes();
        head.extend_from_slice(&header);
        let message = body.finish_behind(&head).await?;
        Ok(Authenticated { trace, queue_id, envelope, message, aside })
    }
}

impl Authenticated {
    /// Finds who gets it. Asked anew, for minutes may lie between RCPT and the last byte.
    fn place(self, directory: &Directory) -> Result<Placed, Rejection> {
        let mut accounts = Vec::with_capacity(self.envelope.recipients.len());
        for recipient in &self.envelope.recipients {
            match resolve(directory, recipient)? {
                Destination::Account(person) => accounts.push(person.id),
                Destination::Nobody | Destination::Elsewhere => {
                    return Err(Rejection::Later(Cause::RecipientGone(recipient.clone())));
                }
            }
        }
        Ok(Placed { message: self, accounts })
    }
}

impl Placed {
    /// Puts it on disk, in one transaction, and tells of it.
    async fn store(self, services: &Services) -> Result<Stored, Rejection> {
        let Self { message, accounts } = self;
        let Authenticated { trace, queue_id, envelope, message, aside } = message;
        let size = message.size();
        let placed = if aside {
            services.mailboxes.put_aside(&accounts, message).await?
        } else {
            services.mailboxes.deliver(&accounts, message).await?
        };
        let accepted = EventKind::MessageAccepted {
            queue_id: queue_id.clone(),
            sender: claim(envelope.sender.to_string().as_bytes()),
            recipients: u32::try_from(envelope.recipients.len()).unwrap_or(u32::MAX),
            size,
        };
        let bus = &services.porter.bus;
        bus.emit(trace, accepted);
        for place in placed {
            let delivered = EventKind::MessageDelivered {
                queue_id: queue_id.clone(),
                account: place.account,
                mailbox: place.name,
                uid: place.uid,
                size,
            };
            bus.emit(trace, delivered);
        }
        Ok(Stored { queue_id })
    }
}

/// What is told of a check.
fn checked(envelope: &Envelope, peer: SocketAddr, verdict: &Verdict) -> EventKind {
    let word = |outcome: Outcome| outcome.word().to_owned();
    let dkim = verdict.best_signature().map_or_else(
        || word(Outcome::None),
        |best| format!("{} {}", best.found.outcome, best.domain),
    );
    let reason = match &verdict.consequence {
        Consequence::Accept => String::new(),
        Consequence::Quarantine => verdict.dmarc.found.reason.clone(),
        Consequence::Reject(reply) | Consequence::Later(reply) => reply.to_string(),
    };
    EventKind::SenderChecked {
        peer,
        sender: claim(envelope.sender.to_string().as_bytes()),
        author: claim(verdict.dmarc.domain.as_bytes()),
        iprev: word(verdict.iprev.found.outcome),
        spf: word(verdict.mail_from.found.outcome),
        dkim: claim(dkim.as_bytes()),
        arc: word(verdict.arc.found.outcome),
        dmarc: word(verdict.dmarc.found.outcome),
        consequence: verdict.consequence.word().to_owned(),
        reason: claim(reason.as_bytes()),
    }
}

/// Where mail for a recipient goes.
fn resolve(directory: &Directory, recipient: &Recipient) -> Result<Destination, Failure> {
    match recipient {
        Recipient::Postmaster => directory.resolve_postmaster(),
        Recipient::Mailbox(address) => directory.resolve(address),
    }
}

/// What a peer is told when the store did not do something.
fn store_reply(failure: &Failure) -> Reply {
    match failure {
        Failure::Limit(limit) => Reply::new(452, (4, 2, 2), limit),
        Failure::NoSuchMailbox => Reply::new(451, (4, 2, 1), "a recipient has just been removed"),
        // RFC 5321 4.2.3: "insufficient system storage".
        Failure::Full(_) => {
            Reply::new(452, (4, 3, 1), "no room to store mail now, please try again later")
        }
        Failure::Exists | Failure::NotAllowed(_) | Failure::Store(_) => store_down(),
    }
}

/// What a peer is told while the database fails.
fn store_down() -> Reply {
    Reply::new(451, (4, 3, 0), "cannot store mail now, please try again later")
}

/// A message's number: the microsecond of its birth, made unique, in base 32.
fn new_queue_id() -> String {
    static MOMENTS: Moments = Moments::new();
    base32(MOMENTS.next_us())
}

/// Digits and letters that are not mistaken for each other when read aloud.
fn base32(mut number: u64) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut digits = Vec::new();
    loop {
        digits.extend(DIGITS.get((number % 32) as usize).copied().map(char::from));
        number /= 32;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

fn since_1970() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
