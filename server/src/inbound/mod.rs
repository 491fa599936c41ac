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

mod forwarded;
pub mod incoming;
mod names;
pub mod session;
mod submitted;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use grace_ipc::event::{EventKind, TraceId};
use grace_mail::address::Mailbox as Address;
use grace_mail::submitted::hops;
use grace_smtp::path::Recipient;
use grace_smtp::receiver::Envelope;
use grace_smtp::reply::Reply;

use self::forwarded::{Forwarding, Testimony};
use self::incoming::Lines;
use self::names::Names;
use self::submitted::{Going, Submitter};
use crate::authenticity::verdict::{Consequence, Outcome, Verdict};
use crate::authenticity::{Check, results};
use crate::directory::expansion::{Expansion, Mode, Reached};
use crate::directory::{Destination, Directory};
use crate::mailbox::append::Upload;
use crate::outgoing::new_number;
use crate::services::Services;
use crate::signing::sign;
use crate::store::failure::Failure;
use crate::store::outgoing::{Onward, base32, from_base32};
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
    /// Who of our own people or machines submitted it.
    pub submitter: Option<Submitter>,
    /// Its body, to be signed or sealed.
    pub signed: Option<sign::Body>,
}

/// A message of which is known who it is from, as far as that is asked.
pub struct Authenticated {
    trace: TraceId,
    queue_id: String,
    envelope: Envelope,
    /// The line that stands above all where it comes to its end.
    return_path: String,
    /// What stands above its body: the lines that we put there, and its header block.
    head: Vec<u8>,
    /// Its body, in the journal.
    body: Upload,
    /// What was found out about its sender, for those it may be passed on to.
    testimony: Option<Testimony>,
    /// It goes to where doubtful mail is kept.
    aside: bool,
    /// Who of our own people submitted it.
    submitter: Option<Submitter>,
    /// The envelope sender is who it says: he may be told of what becomes of it.
    is_sender_known: bool,
}

/// A message and who gets it.
pub struct Placed {
    message: Authenticated,
    expansion: Expansion,
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
    /// A recipient takes messages of so many bytes at most.
    TooLarge(u64),
    /// It was sent on from this address before, and has come back.
    Returned(Address),
    /// Who it is for keeps nothing here, and doubtful mail is not sent on.
    Doubtful(Recipient),
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
            Self::TooLarge(bytes_max) => too_large(*bytes_max),
            Self::Returned(address) => {
                let words = format!("the message was sent on from <{address}> before");
                Reply::new(554, (5, 4, 6), &words)
            }
            Self::Doubtful(recipient) => {
                let words =
                    format!("<{recipient}> takes no mail that its author does not stand for");
                Reply::new(550, (5, 7, 1), &words)
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
            Self::TooLarge(bytes_max) => write!(f, "more than {bytes_max} bytes"),
            Self::Returned(address) => write!(f, "the message was sent on from {address} before"),
            Self::Doubtful(recipient) => write!(f, "doubtful mail for {recipient} is not sent on"),
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
        let missing = self.missing(services);
        let names = Names::of(&self.queue_id, &self.envelope, &self.header, &missing);
        names.tell(&services.porter.bus, self.trace);
        self.check_hops(services)?;
        let authenticated = self.authenticate(services, &missing).await?;
        let placed = authenticated.place(services)?;
        placed.store(services).await
    }

    /// The fields that a mail program left out.
    fn missing(&self, services: &Services) -> String {
        let person = self.submitter.as_ref().filter(|submitter| submitter.is_person());
        let missing = person.map(|submitter| {
            let names = (services.config.hostname.as_str(), self.queue_id.as_str());
            submitted::missing(&self.header, submitter, names, now_ms())
        });
        missing.unwrap_or_default()
    }

    /// RFC 5321 6.3: ends what goes in circles.
    fn check_hops(&self, services: &Services) -> Result<(), Rejection> {
        let hops = hops(&self.header);
        let hops_max = services.porter.limits.hops_max;
        if hops as u64 > hops_max { Err(Rejection::Looping(hops)) } else { Ok(()) }
    }

    /// Finds out who it is really from, and completes its head with that. What one of our own
    /// submitted is given no `Return-Path`, for it may go on, and what it lacks, if a mail program
    /// wrote it.
    async fn authenticate(
        self,
        services: &Services,
        missing: &str,
    ) -> Result<Authenticated, Rejection> {
        let Self { trace, peer, queue_id, envelope, lines, .. } = self;
        let Self { header, body, check, submitter, signed, .. } = self;
        let hostname = &services.config.hostname;
        let (mut aside, mut testimony, mut signed) = (false, None, signed);
        let mut head = String::new();
        let mut is_sender_known = submitter.is_some();
        let header = if let Some(check) = check {
            // On the heap, and only now: each session would have room for it else, idle or not.
            let verdict = Box::pin(check.finish(&header)).await;
            is_sender_known |= verdict.mail_from.found.outcome == Outcome::Pass;
            let found = checked(&envelope, peer, &verdict);
            services.porter.bus.emit(trace, found);
            head += &results::field(hostname, &verdict, &lines.results);
            testimony = signed.take().and_then(|body| Testimony::new(&verdict, body));
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
            Some(submitter) if submitter.is_person() => {
                [missing.as_bytes(), &submitted::without_secrets(&header)].concat()
            }
            _ => header,
        };
        if let (Some(submitter), Some(body)) = (&submitter, signed) {
            let sender = envelope.sender.to_string();
            head += &signature(services, submitter, &sender, &header, body)?;
        }
        let mut head = head.into_bytes();
        head.extend_from_slice(&header);
        Ok(Authenticated {
            trace,
            queue_id,
            envelope,
            return_path: lines.return_path,
            head,
            body,
            testimony,
            aside,
            submitter,
            is_sender_known,
        })
    }
}

/// The signatures of a message of one of our own people (RFC 6376): by the author's domain, if that
/// is the one the submitter may speak for, else by that of the envelope. A machine of ours may
/// speak for every domain of ours.
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
    let may_speak = |author: &String| {
        !submitter.is_person() || own.iter().any(|domain| domain.eq_ignore_ascii_case(author))
    };
    let domain = match author.filter(may_speak) {
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
    fn place(self, services: &Services) -> Result<Placed, Rejection> {
        let recipients: Vec<Option<&Address>> =
            self.envelope.recipients.iter().map(|recipient| mailbox(&recipient.address)).collect();
        let mode = if self.aside { Mode::Here } else { Mode::Onward };
        let expansion = services.directory.expand(&recipients, mode)?;
        for (recipient, reached) in self.envelope.recipients.iter().zip(&expansion.recipients) {
            self.check_size(&services.directory, &recipient.address)?;
            match reached {
                Reached::Somebody { .. } => {}
                Reached::Elsewhere if self.submitter.is_some() => {}
                Reached::Nobody if self.aside => {
                    return Err(Rejection::Doubtful(recipient.address.clone()));
                }
                Reached::Nobody | Reached::Elsewhere => {
                    return Err(Rejection::Later(Cause::RecipientGone(recipient.address.clone())));
                }
            }
        }
        if let Some(address) = forwarded::sent_on_before(&self.head, &expansion) {
            return Err(Rejection::Returned(address.clone()));
        }
        Ok(Placed { message: self, expansion })
    }

    /// Whether a recipient's domain takes messages as large as this one.
    fn check_size(&self, directory: &Directory, recipient: &Recipient) -> Result<(), Rejection> {
        let Recipient::Mailbox(address) = recipient else { return Ok(()) };
        let bytes_max = address.domain().map(|domain| directory.message_bytes_max(domain));
        match bytes_max.transpose()?.flatten() {
            Some(bytes_max) if self.body.size() + self.head.len() as u64 > bytes_max => {
                Err(Rejection::TooLarge(bytes_max))
            }
            _ => Ok(()),
        }
    }
}

impl Placed {
    /// Puts it on disk, in one transaction, and tells of it.
    async fn store(self, services: &Services) -> Result<Stored, Rejection> {
        let Self { message, expansion } = self;
        let Authenticated { trace, queue_id, envelope, return_path, head, body, .. } = message;
        let Authenticated { testimony, aside, submitter, is_sender_known, .. } = message;
        let goes_on = submitter.is_some() || !expansion.onward.is_empty();
        let (message, kept) = if goes_on {
            let message = body.finish_behind(&head).await?;
            let kept = if expansion.accounts.is_empty() {
                message.clone()
            } else {
                let mut copy = services.mailboxes.upload();
                copy.write(return_path.as_bytes()).await?;
                copy.finish_before(&message).await?
            };
            (message, kept)
        } else {
            let kept = body.finish_behind(&[return_path.as_bytes(), &head].concat()).await?;
            (kept.clone(), kept)
        };
        let going = Going {
            id: from_base32(&queue_id).unwrap_or_else(new_number),
            trace: trace.0,
            account: submitter.as_ref().map_or(0, |submitter| submitter.account),
            envelope: &envelope,
            message: &message,
            now_ms: now_ms(),
        };
        let direct = going.direct(&services.outgoing.settings().schedule, &expansion);
        let testimony = testimony.as_ref();
        let (head, expansion) = (head.as_slice(), &expansion);
        let forwarding =
            Forwarding { services, going, expansion, head, testimony, is_sender_known };
        let (forwarded, told): (Vec<Onward>, Vec<EventKind>) =
            forwarding.rows().await?.into_iter().unzip();
        let onward: Vec<Onward> = direct.into_iter().chain(forwarded).collect();
        let size = kept.size();
        let accounts = &expansion.accounts;
        let placed = if aside {
            services.mailboxes.put_aside(accounts, kept).await
        } else {
            services.mailboxes.deliver(accounts, kept, &onward).await
        };
        let is_alone = accounts.len() == 1 && onward.is_empty();
        if matches!(placed, Err(Failure::OverQuota)) && !is_alone {
            let full = services.mailboxes.without_room(accounts, size)?;
            services.guard.did_not_fit(Instant::now(), &full, &envelope.sender.to_string());
        }
        let placed = placed?;
        for onward in &onward {
            if submitter.is_some() {
                befriend(services, onward).await;
            }
            services.outgoing.submitted(onward.message.id).await;
        }
        // Else a stranger could have us write to whom he likes.
        if is_sender_known {
            going.tell_of_success(services, expansion).await;
        }
        let accepted = EventKind::MessageAccepted {
            queue_id: queue_id.clone(),
            sender: claim(envelope.sender.to_string().as_bytes()),
            recipients: u32::try_from(envelope.recipients.len()).unwrap_or(u32::MAX),
            size: message.size(),
        };
        let bus = &services.porter.bus;
        bus.emit(trace, accepted);
        told.into_iter().for_each(|told| bus.emit(trace, told));
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

/// Whom one of our own writes to may write back without being put off.
async fn befriend(services: &Services, onward: &Onward) {
    let Some(greylist) = services.guard.greylist() else { return };
    let addresses: Vec<String> = onward.recipients.iter().map(|row| row.address.clone()).collect();
    if let Err(failure) = greylist.wrote_to(now_ms() / 1_000, &addresses).await {
        // The message is on disk; whoever answers it waits once.
        tracing::warn!(target: "grace", event = "GreylistNotWritten", error = %failure);
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

/// What a peer is told whose message is larger than a recipient takes (RFC 3463 3.4).
fn too_large(bytes_max: u64) -> Reply {
    Reply::new(552, (5, 3, 4), &format!("a recipient takes {bytes_max} bytes at most"))
}

/// Where mail for a recipient goes.
fn resolve(directory: &Directory, recipient: &Recipient) -> Result<Destination, Failure> {
    match recipient {
        Recipient::Postmaster => directory.resolve_postmaster(),
        Recipient::Mailbox(address) => directory.resolve(address),
    }
}

/// The address of a recipient; `None`: the postmaster's without a domain.
fn mailbox(recipient: &Recipient) -> Option<&Address> {
    match recipient {
        Recipient::Postmaster => None,
        Recipient::Mailbox(address) => Some(address),
    }
}

/// What a peer is told when the store did not do something.
fn store_reply(failure: &Failure) -> Reply {
    match failure {
        Failure::Limit(limit) => Reply::new(452, (4, 2, 2), limit),
        // RFC 3463 3.3: X.2.2, mailbox full. When it comes again, RCPT says whose.
        Failure::OverQuota => {
            Reply::new(452, (4, 2, 2), "a recipient has no room for it now, please try again later")
        }
        Failure::NoSuchMailbox | Failure::NoSuchMessage => {
            Reply::new(451, (4, 2, 1), "a recipient has just been removed")
        }
        // RFC 5321 4.2.3: "insufficient system storage".
        Failure::Full(_) => {
            Reply::new(452, (4, 3, 1), "no room to store mail now, please try again later")
        }
        Failure::Exists | Failure::NotAllowed(_) | Failure::NoPermission | Failure::Store(_) => {
            store_down()
        }
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
