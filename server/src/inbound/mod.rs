//! The way of a message in, from its last byte to the answer `250`.
//!
//! ```text
//!   session (the only one who talks) ─▶ Received ─▶ Placed ─▶ Stored ─▶ 250 queued as ...
//!                                       body in     who gets   ONE transaction,
//!                                       the journal it here    on disk for good
//! ```
//! Each step owns the one before, so that none can be left out and none done twice. More steps come
//! between the first two when senders are checked and letters judged.
//! Invariants: nothing is acknowledged before it is `Stored`; a message that cannot go to all its
//! recipients goes to none, and the sender hears so while it is still there.
//! Not here: the dialogue ([`session`]), mailboxes (`mailbox`), who lives here (`directory`).

pub mod session;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use grace_ipc::event::{EventKind, TraceId};
use grace_smtp::path::Recipient;
use grace_smtp::receiver::Envelope;
use grace_smtp::reply::Reply;

use crate::directory::{Destination, Directory};
use crate::mailbox::append::Uploaded;
use crate::services::Services;
use crate::store::failure::Failure;
use crate::telemetry::bus::{Moments, claim};

/// A message whose last byte is here; nobody was told so.
#[derive(Debug)]
pub struct Received {
    /// Joins its events with those of its session.
    pub trace: TraceId,
    /// Its number, which the sender will be told.
    pub queue_id: String,
    /// Who it is from and for.
    pub envelope: Envelope,
    /// Its bytes, with the lines that we put above them.
    pub message: Uploaded,
}

/// A message and the accounts that get it.
#[derive(Debug)]
pub struct Placed {
    received: Received,
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
}

/// What is behind a rejection.
#[derive(Debug)]
pub enum Cause {
    /// The database failed.
    Store(Failure),
    /// A recipient was removed while the message came in. When the sender comes back, RCPT says so.
    RecipientGone(Recipient),
}

impl Rejection {
    /// What the sender is told.
    #[must_use]
    pub fn reply(&self) -> Reply {
        let Self::Later(cause) = self;
        match cause {
            Cause::Store(failure) => store_reply(failure),
            Cause::RecipientGone(recipient) => {
                Reply::new(451, (4, 2, 1), &format!("<{recipient}> has just been removed"))
            }
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Later(cause) = self;
        match cause {
            Cause::Store(failure) => failure.fmt(f),
            Cause::RecipientGone(recipient) => write!(f, "{recipient} was removed meanwhile"),
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
        let placed = self.place(&services.directory)?;
        placed.store(services).await
    }

    /// Finds who gets it. Asked anew, for minutes may lie between RCPT and the last byte.
    fn place(self, directory: &Directory) -> Result<Placed, Rejection> {
        let mut accounts = Vec::with_capacity(self.envelope.recipients.len());
        for recipient in &self.envelope.recipients {
            match resolve(directory, &recipient.address)? {
                Destination::Account(person) => accounts.push(person.id),
                Destination::Nobody | Destination::Elsewhere => {
                    return Err(Rejection::Later(Cause::RecipientGone(recipient.address.clone())));
                }
            }
        }
        Ok(Placed { received: self, accounts })
    }
}

impl Placed {
    /// Puts it on disk, in one transaction, and tells of it.
    async fn store(self, services: &Services) -> Result<Stored, Rejection> {
        let Self { received: Received { trace, queue_id, envelope, message }, accounts } = self;
        let size = message.size();
        let placed = services.mailboxes.deliver(&accounts, message, None).await?;
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
