//! Notifications of senders: to whom they go, and into which transaction.
//!
//! ```text
//!   what happened to recipients ─▶ who wants to hear of it ─▶ text ─▶ INBOX here, or the queue
//! ```
//! Invariants: nobody is told of what happened to a notification but the postmaster; a notification
//! stands in the transaction that makes it true.
//! Not here: what it looks like (`grace_mail::dsn`), what happened (`settle`).

use gracedb::large::LargeReader;
use gracedb::view::View as _;
use gracedb::write::WriteTx;

use grace_ipc::event::{EventKind, TraceId};
use grace_mail::address::{Charset, Mailbox};
use grace_mail::date::Date;
use grace_mail::dsn::notice::{self, Event, Notice, Sender, Wants};
use grace_mail::dsn::status::{Action, Status};
use grace_mail::dsn::{Body, Original, Recipient, Report, Return};
use grace_queue::schedule::Life;
use grace_queue::time::Time;

use super::attempt::Trouble;
use super::now;
use crate::directory::Destination;
use crate::mailbox::append::{self, Placed, Upload, Uploaded};
use crate::outgoing::{self, new_number};
use crate::services::Services;
use crate::store::failure::Failure;
use crate::store::outgoing::{
    BodyKind, Onward, OutgoingRecipientRow, OutgoingRow, base32, enqueue, notify,
};
use crate::telemetry::bus::claim;

/// Longest header block of a message that is given back, in bytes: what is longer is cut, for no
/// person reads it.
const HEADER_BYTES_MAX: usize = 256 * 1_024;
/// How much is read or written at once, in bytes.
const PIECE_BYTES: usize = 64 * 1_024;

/// What a sender may have to hear.
pub(super) struct Told {
    pub(super) row: OutgoingRecipientRow,
    pub(super) what: What,
}

/// What happened.
pub(super) enum What {
    /// It will not arrive.
    Failed(Trouble),
    /// It is late; how long we go on.
    Late(Time),
    /// It went to a server that tells nobody of success.
    Relayed { remote: String, reply: String },
    /// It is in a mailbox here.
    Delivered,
}

impl What {
    fn event(&self) -> Event {
        match self {
            Self::Failed(_) => Event::Failed,
            Self::Late(_) => Event::Late,
            Self::Relayed { .. } => Event::Relayed,
            Self::Delivered => Event::Delivered,
        }
    }
}

/// A notification that is ready to be put.
pub(super) struct Notification {
    /// Its number.
    number: u64,
    to: String,
    about: String,
    text: Uploaded,
    target: Target,
}

/// Where it goes.
enum Target {
    /// To somebody here.
    Account(u64),
    /// To another server.
    Onward(Box<Onward>),
}

impl Notification {
    /// Puts it where it goes.
    pub(super) fn put(&self, tx: &mut WriteTx<'_>) -> Result<Vec<Placed>, Failure> {
        match &self.target {
            Target::Account(account) => append::deliver(tx, &[*account], &self.text),
            Target::Onward(onward) => {
                enqueue(tx, &onward.message, &onward.recipients)?;
                Ok(Vec::new())
            }
        }
    }

    /// Tells of it when it is on disk; gives the number of one that is to be sent.
    pub(super) fn tell(
        self,
        services: &Services,
        about: &OutgoingRow,
        places: Vec<Placed>,
    ) -> Vec<u64> {
        let (bus, trace) = (&services.porter.bus, TraceId(about.trace));
        let queue_id = base32(about.id);
        let to = claim(self.to.as_bytes());
        bus.emit(trace, EventKind::SenderNotified { queue_id, to, about: self.about });
        let size = self.text.size();
        for place in places {
            let delivered = EventKind::MessageDelivered {
                queue_id: base32(self.number),
                account: place.account,
                mailbox: place.name,
                uid: place.uid,
                size,
            };
            bus.emit(trace, delivered);
        }
        match self.target {
            Target::Account(_) => Vec::new(),
            Target::Onward(onward) => vec![onward.message.id],
        }
    }
}

/// Composes what is to be told, if anything.
pub(super) async fn compose(
    services: &Services,
    message: &OutgoingRow,
    told: &[Told],
) -> Result<Option<Notification>, Failure> {
    let (told, to_postmaster) = wanted(message, told);
    if told.is_empty() {
        return Ok(None);
    }
    let sender = Mailbox::parse(&message.sender, Charset::Utf8).ok().filter(|_| !to_postmaster);
    let Some((to, account)) = reader(services, sender)? else { return Ok(None) };
    let number = new_number();
    let mut upload = services.mailboxes.upload();
    if account.is_some() {
        // RFC 5321 4.4: written where a message comes to its end.
        upload.write(b"Return-Path: <>\r\n").await?;
    }
    let (text, shape) = write(services, upload, message, &told, (number, &to)).await?;
    let target = match account {
        Some(account) => Target::Account(account),
        None => Target::Onward(Box::new(onward(services, message, number, &to, &text, shape))),
    };
    Ok(Some(Notification { number, to: to.to_string(), about: words(&told), text, target }))
}

/// What of it somebody is told, and whether that is the postmaster.
fn wanted<'a>(message: &OutgoingRow, told: &'a [Told]) -> (Vec<(&'a Told, Action)>, bool) {
    let sender = if message.sender.is_empty() { Sender::Null } else { Sender::Known };
    let mut to_postmaster = false;
    let wanted = told.iter().filter_map(|told| {
        let bits = told.row.notify;
        let wants = Wants {
            success: bits & notify::SUCCESS != 0,
            failure: bits & notify::FAILURE != 0,
            delay: bits & notify::DELAY != 0,
        };
        match notice::notice(told.what.event(), wants, sender) {
            Notice::None => None,
            Notice::ToSender(action) => Some((told, action)),
            Notice::ToPostmaster(action) => {
                to_postmaster = true;
                Some((told, action))
            }
        }
    });
    (wanted.collect(), to_postmaster)
}

/// Who reads it, and the account if that is here. `None`: nobody can.
fn reader(
    services: &Services,
    sender: Option<Mailbox>,
) -> Result<Option<(Mailbox, Option<u64>)>, Failure> {
    let directory = &services.directory;
    if let Some(sender) = sender {
        match directory.resolve(&sender)? {
            Destination::Account(person) => return Ok(Some((sender, Some(person.id)))),
            // Whoever of a group wrote, one of them is told.
            Destination::Alias(people) => {
                let account = people.first().map(|person| person.id);
                return Ok(account.map(|account| (sender, Some(account))));
            }
            Destination::Elsewhere => return Ok(Some((sender, None))),
            // Who sent it is gone; the postmaster reads it.
            Destination::Nobody => {}
        }
    }
    let Destination::Account(person) = directory.resolve_postmaster()? else { return Ok(None) };
    let address = Mailbox::parse(&person.address, Charset::Utf8).ok();
    Ok(address.map(|address| (address, Some(person.id))))
}

/// How a notification is to be sent.
#[derive(Clone, Copy)]
struct Shape {
    is_8bit: bool,
    is_utf8: bool,
}

/// Writes the text of a notification with this number, for its reader.
async fn write(
    services: &Services,
    mut upload: Upload,
    message: &OutgoingRow,
    told: &[(&Told, Action)],
    (number, to): (u64, &Mailbox),
) -> Result<(Uploaded, Shape), Failure> {
    let hostname = services.config.hostname.as_str();
    let mut original = services.db.snapshot().open_large(&message.body);
    let header = header(&mut original)?;
    let recipients: Vec<Recipient<'_>> =
        told.iter().map(|(told, action)| of(told, *action)).collect();
    // RFC 5321 4.5.1: there is a postmaster wherever there is a mailer daemon, and he is asked.
    let from = Mailbox::parse(&format!("MAILER-DAEMON@{hostname}"), Charset::Ascii);
    let Ok(from) = from else { return Err(Failure::NotAllowed("the hostname is no domain")) };
    let unique = format!("{}.{}", base32(number), random()?);
    let pieces = Report {
        hostname,
        from: &from,
        to,
        unique: &unique,
        date: date(now()),
        envelope_id: Some(message.envelope_id.as_str()).filter(|id| !id.is_empty()),
        arrived: Some(date(Time::from_millis(message.created_ms))),
        recipients: &recipients,
        original: Original {
            header: &header,
            // RFC 8689 5: what had to stay encrypted is not given back whole.
            wanted: match message.return_full && !message.require_tls {
                true => Return::Full,
                false => Return::Headers,
            },
            body: match BodyKind::from_row(message.body_kind) {
                BodyKind::SevenBit => Body::SevenBit,
                BodyKind::EightBit => Body::EightBit,
                BodyKind::Binary => Body::Binary,
            },
            is_utf8: message.utf8,
        },
    }
    .compose();
    upload.write(&pieces.head).await?;
    if pieces.whole_follows {
        copy(&mut original, &mut upload).await?;
    }
    upload.write(&pieces.tail).await?;
    let shape = Shape { is_8bit: pieces.is_8bit, is_utf8: pieces.is_utf8 };
    Ok((upload.finish().await?, shape))
}

/// What nobody can guess: who could would end a part of the notification where he likes.
fn random() -> Result<String, Failure> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|_| Failure::NotAllowed("the system gives no random numbers"))?;
    Ok(base32(u64::from_le_bytes(bytes)))
}

/// What is said of one recipient.
fn of(told: &Told, action: Action) -> Recipient<'_> {
    let row = &told.row;
    let tried = (row.tried_ms > 0).then(|| date(Time::from_millis(row.tried_ms)));
    let (status, remote, reply, until) = match &told.what {
        What::Failed(trouble) => {
            (trouble.status, trouble.remote.as_str(), trouble.reason.as_str(), None)
        }
        // RFC 3463 3.5: "delivery time expired" is what 4.4.7 says; here it is not yet.
        What::Late(until) => ((4, 4, 1), row.remote.as_str(), row.reason.as_str(), Some(*until)),
        What::Relayed { remote, reply } => ((2, 0, 0), remote.as_str(), reply.as_str(), None),
        What::Delivered => ((2, 1, 5), "", "", None),
    };
    let (class, subject, detail) = status;
    let original = row.original.split_once(';');
    Recipient {
        address: &row.address,
        original: original.filter(|(kind, _)| !kind.is_empty()),
        action,
        status: Status { class: u8::try_from(class).unwrap_or(5), subject, detail },
        remote: Some(remote).filter(|remote| !remote.is_empty()),
        reply: Some(reply).filter(|reply| !reply.is_empty()),
        last_attempt: tried,
        will_retry_until: until.map(date),
    }
}

/// The header block of a message.
fn header(original: &mut LargeReader) -> Result<Vec<u8>, Failure> {
    let mut block = Vec::new();
    let mut piece = vec![0; PIECE_BYTES];
    while block.len() < HEADER_BYTES_MAX {
        let count = original.read_at(block.len() as u64, &mut piece)?;
        if count == 0 {
            break;
        }
        let from = block.len().saturating_sub(3);
        block.extend_from_slice(piece.get(..count).unwrap_or_default());
        let tail = block.get(from..).unwrap_or_default();
        if let Some(end) = tail.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            block.truncate(from + end + 2);
            return Ok(block);
        }
    }
    block.truncate(HEADER_BYTES_MAX);
    Ok(block)
}

/// Copies a message into another.
async fn copy(original: &mut LargeReader, upload: &mut Upload) -> Result<(), Failure> {
    let (mut offset, mut piece) = (0, vec![0; PIECE_BYTES]);
    loop {
        let count = original.read_at(offset, &mut piece)?;
        if count == 0 {
            return Ok(());
        }
        upload.write(piece.get(..count).unwrap_or_default()).await?;
        offset += count as u64;
    }
}

/// The rows of a notification that goes to another server.
fn onward(
    services: &Services,
    about: &OutgoingRow,
    number: u64,
    to: &Mailbox,
    text: &Uploaded,
    shape: Shape,
) -> Onward {
    let at = now();
    let schedule = outgoing::settings(&services.config.queue).schedule;
    let life = Life::new(&schedule, at, None, None);
    let message = OutgoingRow {
        id: number,
        trace: about.trace,
        sender: String::new(),
        account: 0,
        created_ms: at.millis(),
        body_kind: if shape.is_8bit { BodyKind::EightBit } else { BodyKind::SevenBit } as u8,
        utf8: shape.is_utf8,
        // RFC 8689 4.3: a bounce of such a message is protected likewise.
        require_tls: about.require_tls,
        envelope_id: String::new(),
        return_full: false,
        priority: 0,
        body: text.bytes(),
    };
    let recipients =
        vec![OutgoingRecipientRow { notify: 0, ..outgoing::recipient(number, 0, to, &life) }];
    Onward { message, recipients }
}

fn date(at: Time) -> Date {
    /// A clock that is off by thousands of years does not keep a notification back.
    const LAST: Date =
        Date { year: 9_999, month: 12, day: 31, hour: 23, minute: 59, second: 59, zone_minutes: 0 };
    let seconds = i64::try_from(at.millis() / 1_000).unwrap_or(i64::MAX);
    Date::from_timestamp(seconds).unwrap_or(LAST)
}

/// What it says, in words for an event.
fn words(told: &[(&Told, Action)]) -> String {
    let mut words = Vec::new();
    for action in [Action::Failed, Action::Delayed, Action::Relayed, Action::Delivered] {
        let count = told.iter().filter(|(_, each)| *each == action).count();
        if count > 0 {
            let noun = if count == 1 { "recipient" } else { "recipients" };
            words.push(format!("{count} {noun} {action}"));
        }
    }
    words.join(", ")
}
