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
mod submitted;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use grace_ipc::event::{EventKind, TraceId};
use grace_mail::submitted::hops;
use grace_smtp::path::Recipient;
use grace_smtp::receiver::{Envelope, EnvelopeRecipient};
use grace_smtp::reply::Reply;
use grace_smtp::trace;

use self::incoming::Lines;
use self::submitted::{Going, Submitter};
use crate::authenticity::verdict::{Consequence, Outcome, Verdict};
use crate::authenticity::{Check, results};
use crate::directory::{Destination, Directory};
use crate::mailbox::append::{Upload, Uploaded};
use crate::outgoing::new_number;
use crate::services::Services;
use crate::signing::sign;
use crate::store::failure::Failure;
use crate::store::outgoing::{base32, from_base32};
use crate::telemetry::bus::claim;

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
    /// Who of our own people submitted it.
    pub submitter: Option<Submitter>,
    /// Its body, to be signed.
    pub signed: Option<sign::Body>,
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
    /// Who of our own people submitted it.
    submitter: Option<Submitter>,
    /// The envelope sender is who it says: he may be told of what becomes of it.
    is_sender_known: bool,
}

/// A message and the accounts that get it.
#[derive(Debug)]
pub struct Placed {
    message: Authenticated,
    accounts: Vec<u64>,
    /// Those of its recipients, by their places, that are here, and those that are elsewhere.
    here: Vec<usize>,
    elsewhere: Vec<usize>,
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
    /// It has passed so many servers that it must be going in circles.
    Looping(usize),
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
    /// It cannot be signed; why.
    Unsigned(String),
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
            Self::Later(Cause::Unsigned(_)) => {
                Reply::new(451, (4, 3, 5), "the message cannot be signed, please try again later")
            }
            Self::Later(Cause::Unchecked(reply)) | Self::Forged(reply) => reply.clone(),
            Self::Looping(hops) => {
                let words = format!("the message has passed {hops} servers, it goes in circles");
                Reply::new(554, (5, 4, 6), &words)
            }
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
            Self::Later(Cause::Unsigned(why)) => f.write_str(why),
            Self::Later(Cause::Unchecked(reply)) | Self::Forged(reply) => reply.fmt(f),
            Self::Looping(hops) => write!(f, "the message has passed {hops} servers"),
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
        self.check_hops(services)?;
        let authenticated = self.authenticate(services).await?;
        let placed = authenticated.place(&services.directory)?;
        placed.store(services).await
    }

    /// RFC 5321 6.3: ends what goes in circles.
    fn check_hops(&self, services: &Services) -> Result<(), Rejection> {
        let hops = hops(&self.header);
        let hops_max = services.porter.limits.hops_max;
        if hops as u64 > hops_max { Err(Rejection::Looping(hops)) } else { Ok(()) }
    }

    /// Finds out who it is really from, and completes its head with that. What one of our own
    /// submitted is given what it lacks, and no `Return-Path`: it may go on.
    async fn authenticate(self, services: &Services) -> Result<Authenticated, Rejection> {
        let Self { trace, peer, queue_id, envelope, lines, .. } = self;
        let Self { header, body, check, submitter, signed, .. } = self;
        let hostname = &services.config.hostname;
        let mut aside = false;
        let (mut head, mut missing) = (String::new(), String::new());
        let mut is_sender_known = submitter.is_some();
        match &submitter {
            Some(submitter) => {
                let names = (hostname.as_str(), queue_id.as_str());
                missing = submitted::missing(&header, submitter, names, now_ms());
            }
            None => head = lines.return_path,
        }
        let header = if let Some(check) = check {
            // On the heap, and only now: each session would have room for it else, idle or not.
            let verdict = Box::pin(check.finish(&header)).await;
            is_sender_known |= verdict.mail_from.found.outcome == Outcome::Pass;
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
        let header = match &submitter {
            Some(_) => [missing.as_bytes(), &submitted::without_secrets(&header)].concat(),
            None => header,
        };
        if let (Some(submitter), Some(body)) = (&submitter, signed) {
            let sender = envelope.sender.to_string();
            head += &signature(services, submitter, &sender, &header, body)?;
        }
        let mut head = head.into_bytes();
        head.extend_from_slice(&header);
        let message = body.finish_behind(&head).await?;
        Ok(Authenticated { trace, queue_id, envelope, message, aside, submitter, is_sender_known })
    }
}

/// The signatures of a message of one of our own people (RFC 6376): by the author's domain, if that
/// is the one the submitter may speak for, else by that of the envelope.
fn signature(
    services: &Services,
    submitter: &Submitter,
    sender: &str,
    header: &[u8],
    body: sign::Body,
) -> Result<String, Rejection> {
    let own: Vec<&str> = [sender, submitter.address.as_str()]
        .into_iter()
        .filter_map(|address| address.rsplit_once('@').map(|(_, domain)| domain))
        .collect();
    let signing = &services.signing;
    let author = signing.signer(header, "")?;
    let domain = match author.filter(|author| own.iter().any(|d| d.eq_ignore_ascii_case(author))) {
        Some(author) => Some(author),
        None => signing.signer(b"", sender)?,
    };
    let Some(domain) = domain else { return Ok(String::new()) };
    signing.sign_fed(&domain, header, body).map_err(|failure| match failure {
        sign::Failure::Store(failure) => Rejection::from(failure),
        sign::Failure::Key(why) => Rejection::Later(Cause::Unsigned(why)),
    })
}

impl Authenticated {
    /// Finds who gets it. Asked anew, for minutes may lie between RCPT and the last byte.
    fn place(self, directory: &Directory) -> Result<Placed, Rejection> {
        let mut accounts = Vec::with_capacity(self.envelope.recipients.len());
        let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
        for (at, recipient) in self.envelope.recipients.iter().enumerate() {
            match resolve(directory, &recipient.address)? {
                Destination::Account(person) => {
                    accounts.push(person.id);
                    here.push(at);
                }
                Destination::Alias(people) => {
                    accounts.extend(people.into_iter().map(|person| person.id));
                    here.push(at);
                }
                Destination::Elsewhere if self.submitter.is_some() => elsewhere.push(at),
                Destination::Nobody | Destination::Elsewhere => {
                    return Err(Rejection::Later(Cause::RecipientGone(recipient.address.clone())));
                }
            }
        }
        Ok(Placed { message: self, accounts, here, elsewhere })
    }
}

impl Placed {
    /// Puts it on disk, in one transaction, and tells of it.
    async fn store(self, services: &Services) -> Result<Stored, Rejection> {
        let Self { message, accounts, here, elsewhere } = self;
        let (aside, submitter) = (message.aside, message.submitter.clone());
        let is_sender_known = message.is_sender_known;
        let Authenticated { trace, queue_id, envelope, message, .. } = message;
        let size = message.size();
        let going = Going {
            id: from_base32(&queue_id).unwrap_or_else(new_number),
            trace: trace.0,
            account: submitter.as_ref().map_or(0, |submitter| submitter.account),
            envelope: &envelope,
            message: &message,
            now_ms: now_ms(),
        };
        let some = |places: &[usize]| -> Vec<&EnvelopeRecipient> {
            places.iter().filter_map(|&at| envelope.recipients.get(at)).collect()
        };
        let onward =
            (!elsewhere.is_empty()).then(|| going.rows(&services.config, &some(&elsewhere)));
        // Else a stranger could have us write to whom he likes.
        let told = if is_sender_known { some(&here) } else { Vec::new() };
        let arrived = going.asking_for_success(&services.config, &told);
        let kept = match &submitter {
            Some(_) if !accounts.is_empty() => {
                let mut copy = services.mailboxes.upload();
                copy.write(trace::return_path(&envelope.sender).as_bytes()).await?;
                copy.finish_before(&message).await?
            }
            _ => message.clone(),
        };
        let placed = if aside {
            services.mailboxes.put_aside(&accounts, kept).await?
        } else {
            services.mailboxes.deliver(&accounts, kept, onward.as_ref()).await?
        };
        if let Some(onward) = onward {
            services.outgoing.submitted(onward.message.id).await;
        }
        if let Some(arrived) = arrived {
            services.outgoing.arrived(arrived).await;
        }
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
        Failure::NoSuchMailbox | Failure::NoSuchMessage => {
            Reply::new(451, (4, 2, 1), "a recipient has just been removed")
        }
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

/// A message's number, as it is told.
fn new_queue_id() -> String {
    base32(new_number())
}

/// Milliseconds since 1970 UTC.
fn now_ms() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}

fn since_1970() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
