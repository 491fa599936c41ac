//! What a message from our own people is given on its way: the header fields it lacks, and rows for
//! its recipients elsewhere.
//!
//! Invariant: nothing of a message is changed but what RFC 6409 8 lets a submission server add, and
//! that who gets a copy in secret is named to nobody.
//! Not here: who may submit (`session`), sending (`outbound`).

use grace_mail::address::{Charset, Mailbox};
use grace_mail::date::Date;
use grace_mail::header;
use grace_mail::submitted::{SenderRule, Submission, repairs};
use grace_queue::schedule::{DeliverBy as Deadline, Life};
use grace_queue::settings::Schedule;
use grace_queue::time::Time;
use grace_smtp::dsn::{Notify, Return};
use grace_smtp::parameters::{BodyType, ByMode};
use grace_smtp::path::Recipient;
use grace_smtp::receiver::{Envelope, EnvelopeRecipient};

use super::forwarded;
use crate::directory::expansion::{Expansion, Reached};
use crate::mailbox::append::Uploaded;
use crate::outgoing::{self, Success};
use crate::services::Services;
use crate::store::outgoing::{
    BodyKind, DeliverByRow, Onward, OutgoingRecipientRow, OutgoingRow, notify,
};

/// Who submitted a message: one of our people, or a machine of ours that may relay.
#[derive(Debug, Clone)]
pub struct Submitter {
    /// The account's number; 0: a machine.
    pub account: u64,
    /// Its address; of a machine empty.
    pub address: String,
}

impl Submitter {
    /// A machine of ours (`door.relay_networks`).
    #[must_use]
    pub fn machine() -> Self {
        Self { account: 0, address: String::new() }
    }

    /// Whether a mail program speaks here, whose messages are given what they lack.
    #[must_use]
    pub fn is_person(&self) -> bool {
        self.account != 0
    }
}

/// The header fields that a submitted message lacks.
pub(super) fn missing(
    header: &[u8],
    submitter: &Submitter,
    (hostname, queue_id): (&str, &str),
    now_ms: u64,
) -> String {
    let own: Vec<Mailbox> = Mailbox::parse(&submitter.address, Charset::Utf8).into_iter().collect();
    let seconds = i64::try_from(now_ms / 1_000).unwrap_or(i64::MAX);
    // A clock thousands of years off adds nothing.
    let Some(date) = Date::from_timestamp(seconds) else { return String::new() };
    let sender = SenderRule::IfAnother;
    repairs(header, &Submission { date, unique: queue_id, hostname, own: &own, sender })
}

/// The header block without the names of those who get a copy in secret (RFC 5322 3.6.3): some mail
/// programs leave it to the server to take them out.
pub(super) fn without_secrets(header: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(header.len());
    let mut at = 0;
    for field in header::fields(header).filter(|field| field.is(b"bcc") || field.is(b"resent-bcc"))
    {
        kept.extend_from_slice(header.get(at..field.range().start).unwrap_or_default());
        at = field.range().end;
    }
    kept.extend_from_slice(header.get(at..).unwrap_or_default());
    kept
}

/// What is known of a message that goes on.
#[derive(Clone, Copy)]
pub(super) struct Going<'a> {
    /// Its number.
    pub(super) id: u64,
    /// Joins its events.
    pub(super) trace: u64,
    /// Who submitted it.
    pub(super) account: u64,
    /// Its envelope.
    pub(super) envelope: &'a Envelope,
    /// Its bytes.
    pub(super) message: &'a Uploaded,
    /// When it was taken, milliseconds since 1970 UTC.
    pub(super) now_ms: u64,
}

impl Going<'_> {
    /// The rows of the message and of these recipients.
    pub(super) fn rows(&self, schedule: &Schedule, recipients: &[&EnvelopeRecipient]) -> Onward {
        let life = self.life(schedule);
        let rows = (0..).zip(recipients).filter_map(|(number, recipient)| {
            let Recipient::Mailbox(address) = &recipient.address else { return None };
            let row = outgoing::recipient(self.id, number, address, &life);
            Some(asked_for(row, recipient))
        });
        let (message, deliver_by) = (self.message_row(), self.deliver_by());
        Onward { message, recipients: rows.collect(), deliver_by }
    }

    /// The rows of those recipients that are elsewhere themselves; `None`: there are none.
    pub(super) fn direct(&self, schedule: &Schedule, expansion: &Expansion) -> Option<Onward> {
        let all = self.envelope.recipients.iter().zip(&expansion.recipients);
        let elsewhere = all.filter(|(_, reached)| **reached == Reached::Elsewhere);
        let elsewhere: Vec<_> = elsewhere.map(|(recipient, _)| recipient).collect();
        (!elsewhere.is_empty()).then(|| self.rows(schedule, &elsewhere))
    }

    /// Tells a sender who wants to hear of it that it arrived (RFC 3461 5.2.3), or that it went on
    /// to several (5.2.7.2). Nearly nobody does.
    pub(super) async fn tell_of_success(&self, services: &Services, expansion: &Expansion) {
        if self.envelope.sender.mailbox().is_none() {
            return;
        }
        let (mut arrived, mut expanded) = (Vec::new(), Vec::new());
        for (at, recipient) in self.envelope.recipients.iter().enumerate() {
            let is_asked_for = recipient.parameters.notify.is_some_and(|wanted| wanted.success);
            match expansion.recipients.get(at) {
                Some(Reached::Somebody { .. }) if !is_asked_for => {}
                Some(Reached::Somebody { .. }) if forwarded::is_expanded(expansion, at) => {
                    expanded.push(recipient);
                }
                // To one address elsewhere alone: what the sender wants goes along.
                Some(Reached::Somebody { here: 0, onward: 1 }) => {}
                Some(Reached::Somebody { .. }) => arrived.push(recipient),
                Some(Reached::Elsewhere | Reached::Nobody) | None => {}
            }
        }
        let told = [(Success::Arrived, arrived), (Success::Expanded, expanded)];
        for (success, asking) in told.into_iter().filter(|(_, asking)| !asking.is_empty()) {
            let rows = self.rows(&services.outgoing.settings().schedule, &asking);
            if !rows.recipients.is_empty() {
                services.outgoing.succeeded(success, rows).await;
            }
        }
    }

    fn message_row(&self) -> OutgoingRow {
        let parameters = &self.envelope.parameters;
        let body_kind = match parameters.body {
            BodyType::SevenBit => BodyKind::SevenBit,
            BodyType::EightBit => BodyKind::EightBit,
            BodyType::Binary => BodyKind::Binary,
        };
        OutgoingRow {
            id: self.id,
            trace: self.trace,
            sender: self.envelope.sender.to_string(),
            account: self.account,
            created_ms: self.now_ms,
            body_kind: body_kind as u8,
            utf8: parameters.utf8,
            require_tls: parameters.require_tls,
            envelope_id: parameters.envelope_id.clone().unwrap_or_default(),
            return_full: parameters.ret == Some(Return::Full),
            priority: parameters.priority.unwrap_or_default(),
            body: self.message.bytes(),
        }
    }

    fn life(&self, schedule: &Schedule) -> Life {
        let accepted = Time::from_millis(self.now_ms);
        let now_s = i64::try_from(self.now_ms / 1_000).unwrap_or(i64::MAX);
        let second = |s: i64| Time::from_secs(u64::try_from(s).unwrap_or_default());
        let hold = self.envelope.parameters.hold.map(|hold| second(hold.release_s(now_s)));
        let deadline = self.deliver_by().map(|by| {
            let at = Time::from_millis(by.deadline_ms);
            if by.returns { Deadline::Return(at) } else { Deadline::Notify(at) }
        });
        Life::new(schedule, accepted, hold, deadline)
    }

    /// When it is to arrive (RFC 2852), if its sender said so.
    fn deliver_by(&self) -> Option<DeliverByRow> {
        let by = self.envelope.parameters.deliver_by?;
        let left_ms = i64::from(by.time_s) * 1_000;
        Some(DeliverByRow {
            message: self.id,
            deadline_ms: self.now_ms.saturating_add_signed(left_ms),
            returns: by.mode == ByMode::Return,
            is_traced: by.trace,
        })
    }
}

/// The row with what RCPT said.
pub(super) fn asked_for(
    row: OutgoingRecipientRow,
    recipient: &EnvelopeRecipient,
) -> OutgoingRecipientRow {
    let wanted = recipient.parameters.notify.unwrap_or_default();
    let original = recipient.parameters.original.as_ref();
    OutgoingRecipientRow {
        notify: bits(wanted),
        original: original.map(ToString::to_string).unwrap_or_default(),
        ..row
    }
}

fn bits(wanted: Notify) -> u8 {
    let bit = |is_wanted: bool, bit: u8| if is_wanted { bit } else { 0 };
    bit(wanted.success, notify::SUCCESS)
        | bit(wanted.failure, notify::FAILURE)
        | bit(wanted.delay, notify::DELAY)
}
