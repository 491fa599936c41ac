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
use grace_mail::dsn::{Body, HEADER_BYTES_MAX, Original, Recipient, Report, Return};
use grace_queue::schedule::Life;
use grace_queue::time::Time;

use super::attempt::Trouble;
use super::now;
use crate::directory::Destination;
use crate::directory::expansion::Mode;
use crate::mailbox::append::{self, Placed, Upload, Uploaded};
use crate::outgoing::{self, new_number};
use crate::services::Services;
use crate::store::failure::Failure;
use crate::store::outgoing::{
    BodyKind, Onward, OutgoingRecipientRow, OutgoingRow, base32, enqueue, notify,
};
use crate::telemetry::bus::claim;

/// How much of a header is read, in bytes: one more than is given back, so that a field that is cut
/// here is left out.
const HEADER_BYTES_READ: usize = HEADER_BYTES_MAX + 1;
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
    /// It went on, and its sender wants to hear where in any case (RFC 2852 4).
    Traced { remote: String, reply: String },
    /// It is in a mailbox here.
    Delivered,
    /// It goes on to several.
    Expanded,
}

impl What {
    fn event(&self) -> Event {
        match self {
            Self::Failed(_) => Event::Failed,
            Self::Late(_) => Event::Late,
            Self::Relayed { .. } | Self::Traced { .. } => Event::Relayed,
            Self::Delivered => Event::Delivered,
            Self::Expanded => Event::Expanded,
        }
    }
}

/// A notification that is ready to be put.
pub(super) struct Notification {
    /// Its number.
    number: u64,
    to: String,
    about: String,
    /// As it stands in mailboxes.
    text: Uploaded,
    /// The accounts here that get it.
    accounts: Vec<u64>,
    /// Where else it goes.
    onward: Option<Box<Onward>>,
}

/// Who reads a notification.
struct Readers {
    /// Whom it names as its reader.
    to: Mailbox,
    accounts: Vec<u64>,
    elsewhere: Vec<Mailbox>,
}

impl Notification {
    /// Puts it where it goes.
    pub(super) fn put(&self, tx: &mut WriteTx<'_>) -> Result<Vec<Placed>, Failure> {
        if let Some(onward) = &self.onward {
            enqueue(tx, onward)?;
        }
        append::deliver(tx, &self.accounts, &self.text)
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
        let notified = EventKind::SenderNotified {
            queue_id: queue_id.clone(),
            to: to.clone(),
            about: self.about,
        };
        bus.emit(trace, notified);
        let identified = EventKind::MessageIdentified {
            queue_id: base32(self.number),
            sender: String::new(),
            message_id: String::new(),
            recipients: vec![to],
            about: queue_id,
        };
        bus.emit(trace, identified);
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
        self.onward.into_iter().map(|onward| onward.message.id).collect()
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
    let Some(readers) = readers(services, sender)? else { return Ok(None) };
    let Readers { to, accounts, elsewhere } = readers;
    let number = new_number();
    let upload = services.mailboxes.upload();
    let (text, shape) = write(services, upload, message, &told, (number, &to)).await?;
    let onward = (!elsewhere.is_empty())
        .then(|| Box::new(onward(services, message, number, &elsewhere, &text, shape)));
    // RFC 5321 4.4: written where a message comes to its end.
    let mut kept = services.mailboxes.upload();
    kept.write(b"Return-Path: <>\r\n").await?;
    let text = kept.finish_before(&text).await?;
    let (to, about) = (to.to_string(), words(&told));
    Ok(Some(Notification { number, to, about, text, accounts, onward }))
}

/// What of it somebody is told, and whether that is the postmaster.
fn wanted<'a>(message: &OutgoingRow, told: &'a [Told]) -> (Vec<(&'a Told, Action)>, bool) {
    let mut to_postmaster = false;
    let wanted = told.iter().filter_map(|told| {
        let bits = told.row.notify;
        let is_known = !message.sender.is_empty() && bits & notify::POSTMASTER == 0;
        let sender = if is_known { Sender::Known } else { Sender::Null };
        let wants = Wants {
            // Who wants to hear of nothing hears of nothing.
            success: bits & notify::SUCCESS != 0
                || (matches!(told.what, What::Traced { .. }) && bits != 0),
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

/// Who reads it: the sender, wherever his mail goes. `None`: nobody can.
fn readers(services: &Services, sender: Option<Mailbox>) -> Result<Option<Readers>, Failure> {
    let directory = &services.directory;
    if let Some(sender) = sender {
        let expansion = directory.expand(&[Some(&sender)], Mode::Onward)?;
        let mut accounts = expansion.accounts;
        let mut elsewhere: Vec<Mailbox> =
            expansion.onward.into_iter().map(|onward| onward.address).collect();
        match directory.resolve(&sender)? {
            Destination::Account(_) | Destination::Rewritten(_) => {}
            // Whoever of a group wrote, one of them is told.
            Destination::Alias(_) => {
                accounts.truncate(1);
                elsewhere.truncate(1 - accounts.len());
            }
            Destination::Elsewhere => elsewhere = vec![sender.clone()],
            // Who sent it is gone; the postmaster reads it.
            Destination::Nobody => {}
        }
        if !(accounts.is_empty() && elsewhere.is_empty()) {
            return Ok(Some(Readers { to: sender, accounts, elsewhere }));
        }
    }
    let Destination::Account(person) = directory.resolve_postmaster()? else { return Ok(None) };
    let address = Mailbox::parse(&person.address, Charset::Utf8).ok();
    let accounts = vec![person.id];
    Ok(address.map(|to| Readers { to, accounts, elsewhere: Vec::new() }))
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
        What::Relayed { remote, reply } | What::Traced { remote, reply } => {
            ((2, 0, 0), remote.as_str(), reply.as_str(), None)
        }
        What::Delivered | What::Expanded => ((2, 1, 5), "", "", None),
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
    while block.len() < HEADER_BYTES_READ {
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
    block.truncate(HEADER_BYTES_READ);
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
    to: &[Mailbox],
    text: &Uploaded,
    shape: Shape,
) -> Onward {
    let at = now();
    let life = Life::new(&services.outgoing.settings().schedule, at, None, None);
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
    let row =
        |(at, to)| OutgoingRecipientRow { notify: 0, ..outgoing::recipient(number, at, to, &life) };
    let recipients = (0..).zip(to).map(row).collect();
    Onward { message, recipients, deliver_by: None }
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
    let actions =
        [Action::Failed, Action::Delayed, Action::Relayed, Action::Delivered, Action::Expanded];
    for action in actions {
        let count = told.iter().filter(|(_, each)| *each == action).count();
        if count > 0 {
            let noun = if count == 1 { "recipient" } else { "recipients" };
            words.push(format!("{count} {noun} {action}"));
        }
    }
    words.join(", ")
}
