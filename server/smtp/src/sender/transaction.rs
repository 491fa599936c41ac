//! One message on its way: what is said about it, and what became of each recipient so far.
//!
//! ```text
//!   Waiting ──RCPT──▶ Named ──2yz──▶ Accepted ──end of the message──▶ Settled
//!      ▲                └──────── 4yz, 5yz ────────────────────────────▶┘
//!   Held (no room)      └──────── x.5.3 ──▶ TooMany, decided at the end
//! ```
//! Invariants: a recipient is settled once, and what was settled first stays; every recipient is
//! settled when the transaction ends.
//! Not here: when a command may go out and what comes in (`envelope`, `body`).

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Instant;

use grace_mail::address::Host;

use crate::dsn::{self, ENVELOPE_ID_BYTES_MAX, ORIGINAL_RECIPIENT_BYTES_MAX, OriginalRecipient};
use crate::parameters::ByMode;
use crate::path::{Recipient, ReversePath};
use crate::sender::extensions::Extensions;
use crate::sender::job::{Content, Job, JobRecipient};
use crate::sender::outcome::{Cause, Failure, Outcome, Reason};
use crate::sender::reply::PeerReply;
use crate::sender::settings::Settings;
use crate::sender::{Asked, Tls};

/// Where a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Unsent,
    Sent,
    Accepted,
    Refused,
}

/// What became of a recipient so far.
#[derive(Debug)]
enum Fate {
    Waiting,
    Held,
    Named,
    Accepted,
    TooMany(Failure),
    Settled(Outcome),
}

/// One message on its way.
#[derive(Debug)]
pub(super) struct Transaction {
    job: Job,
    fates: Vec<Fate>,
    /// The first recipient that was not looked at for RCPT.
    next: usize,
    mail: Progress,
    data: Progress,
    /// Whether any recipient was accepted.
    got_in: bool,
    /// Since when it is under way; `None` until its turn comes.
    began: Option<Instant>,
}

/// What a session has used of the peer's limits (RFC 9422).
#[derive(Debug, Default)]
pub(super) struct Used {
    pub(super) transactions: u32,
    domains: HashSet<String>,
    /// Whether a recipient found no room among the domains.
    pub(super) domains_full: bool,
}

impl Transaction {
    pub(super) fn new(job: Job) -> Self {
        let fates = job.recipients.iter().map(|_| Fate::Waiting).collect();
        Self {
            job,
            fates,
            next: 0,
            mail: Progress::Unsent,
            data: Progress::Unsent,
            got_in: false,
            began: None,
        }
    }

    pub(super) fn began(&self) -> Option<Instant> {
        self.began
    }

    pub(super) fn mail(&self) -> Progress {
        self.mail
    }

    pub(super) fn data(&self) -> Progress {
        self.data
    }

    /// Whether the body goes out as BDAT (RFC 3030).
    pub(super) fn is_chunked(&self, extensions: &Extensions, settings: &Settings) -> bool {
        let wanted = settings.chunking_preferred || self.job.message.content == Content::Binary;
        extensions.chunking && wanted
    }

    /// Whether somebody waits for the body.
    pub(super) fn has_accepted(&self) -> bool {
        self.fates.iter().any(|fate| matches!(fate, Fate::Accepted))
    }

    /// Its turn has come: settles what this peer cannot take, and holds back what it takes later.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        (extensions, tls): (&Extensions, Option<&Tls>),
        settings: &Settings,
        used: &mut Used,
    ) {
        self.began = Some(now);
        if let Some(reason) = self.refused_whole(extensions, tls) {
            self.settle_all(&Failure::found(reason));
            return;
        }
        let limits = extensions.limits;
        let count_max = limits.recipients_max.and_then(|max| usize::try_from(max).ok());
        let count_max = count_max.unwrap_or(usize::MAX).min(settings.recipients_max.max(1));
        let domains_max = limits.domains_max.and_then(|max| usize::try_from(max).ok());
        let mut count = 0;
        for (recipient, fate) in self.job.recipients.iter().zip(&mut self.fates) {
            if !is_ascii(&recipient.address) && !extensions.utf8 {
                *fate = Fate::Settled(Outcome::failed(Failure::found(Reason::NoUtf8)));
            } else if count == count_max {
                *fate = Fate::Held;
            } else if !used.has_room(&recipient.address, domains_max) {
                used.domains_full = true;
                *fate = Fate::Held;
            } else {
                count += 1;
            }
        }
    }

    /// Why the peer cannot take the message, whoever it is for.
    fn refused_whole(&self, extensions: &Extensions, tls: Option<&Tls>) -> Option<Reason> {
        let message = &self.job.message;
        // RFC 8689 4.2.1: encrypted, to the host that was meant, which says it will go on so.
        let keeps_tls = extensions.require_tls && tls.is_some_and(|tls| tls.is_verified);
        let sender_is_ascii = self.job.sender.mailbox().is_none_or(|sender| sender.is_ascii());
        match extensions.size_bytes_max {
            _ if self.job.require_tls && !keeps_tls => Some(Reason::NoRequireTls),
            Some(bytes_max) if message.size_bytes > bytes_max => Some(Reason::TooLarge(bytes_max)),
            _ if message.content == Content::Binary && !extensions.binary => Some(Reason::NoBinary),
            // RFC 6152 3: otherwise it would have to be encoded anew, which breaks signatures.
            _ if message.content == Content::EightBit && !extensions.eight_bit => {
                Some(Reason::NoEightBit)
            }
            _ if (message.utf8 || !sender_is_ascii) && !extensions.utf8 => Some(Reason::NoUtf8),
            _ => self.refused_in_time(extensions),
        }
    }

    /// RFC 2852 4: what comes back when it is late goes on only to who does the same, in time.
    fn refused_in_time(&self, extensions: &Extensions) -> Option<Reason> {
        let by = self.job.deliver_by.filter(|by| by.mode == ByMode::Return)?;
        let needs_s = extensions.deliver_by_min_s.unwrap_or_default().max(1);
        match extensions.deliver_by {
            false => Some(Reason::NoDeliverBy),
            true if i64::from(by.time_s) < i64::from(needs_s) => Some(Reason::TooLate(needs_s)),
            true => None,
        }
    }

    /// The next command of the envelope. `None`: there is none, or what comes next depends on
    /// replies.
    pub(super) fn next_command(
        &mut self,
        extensions: &Extensions,
        settings: &Settings,
        unanswered: usize,
    ) -> Option<(Asked, String)> {
        match self.mail {
            Progress::Unsent => {
                if !self.fates.iter().any(|fate| matches!(fate, Fate::Waiting)) {
                    return None;
                }
                self.mail = Progress::Sent;
                return Some((Asked::Mail, self.mail_command(extensions)));
            }
            Progress::Refused => return None,
            Progress::Sent | Progress::Accepted => {}
        }
        while let Some(fate) = self.fates.get_mut(self.next) {
            let index = self.next;
            self.next += 1;
            if matches!(fate, Fate::Waiting) {
                *fate = Fate::Named;
                let recipient = self.job.recipients.get(index)?;
                return Some((Asked::Rcpt(index), rcpt_command(recipient, extensions)));
            }
        }
        // RFC 2920 3.1: DATA may go out before the replies to RCPT have come, if it is the last of
        // the group. A chunk would be sent in vain if nobody got in.
        let may_get_in = self.has_accepted() || unanswered > 0;
        let is_in_vain = !may_get_in || settings.envelope_only;
        if self.data != Progress::Unsent || is_in_vain || self.is_chunked(extensions, settings) {
            return None;
        }
        self.data = Progress::Sent;
        Some((Asked::Data, "DATA".to_owned()))
    }

    /// `MAIL FROM:<a@x> SIZE=.. BODY=.. SMTPUTF8 RET=.. ENVID=.. REQUIRETLS BY=..`
    fn mail_command(&self, extensions: &Extensions) -> String {
        let job = &self.job;
        let mut command = format!("MAIL FROM:<{}>", job.sender);
        if extensions.size {
            let _ = write!(command, " SIZE={}", job.message.size_bytes);
        }
        match job.message.content {
            Content::SevenBit => {}
            Content::EightBit => command.push_str(" BODY=8BITMIME"),
            Content::Binary => command.push_str(" BODY=BINARYMIME"),
        }
        if self.needs_utf8() {
            command.push_str(" SMTPUTF8");
        }
        if extensions.dsn {
            if let Some(returned) = job.returned {
                let _ = write!(command, " RET={returned}");
            }
            let id = job.envelope_id.as_deref().map(dsn::encode_xtext).unwrap_or_default();
            if !id.is_empty() && id.len() <= ENVELOPE_ID_BYTES_MAX {
                let _ = write!(command, " ENVID={id}");
            }
        }
        if job.require_tls {
            command.push_str(" REQUIRETLS");
        }
        if let Some(by) = job.deliver_by.filter(|_| extensions.deliver_by) {
            let _ = write!(command, " BY={by}");
        }
        command
    }

    /// RFC 6531 3.4: the header, the sender, or one who is named in this transaction.
    fn needs_utf8(&self) -> bool {
        let mut named = self.job.recipients.iter().zip(&self.fates);
        let is_waiting = |fate: &Fate| matches!(fate, Fate::Waiting);
        let sender_is_ascii = match &self.job.sender {
            ReversePath::Null => true,
            ReversePath::Mailbox(mailbox) => mailbox.is_ascii(),
        };
        self.job.message.utf8
            || !sender_is_ascii
            || named.any(|(recipient, fate)| is_waiting(fate) && !is_ascii(&recipient.address))
    }

    pub(super) fn mail_accepted(&mut self) {
        self.mail = Progress::Accepted;
    }

    /// RFC 5321 3.3: no sender, no message, whoever it is for.
    pub(super) fn mail_refused(&mut self, reply: PeerReply) {
        self.mail = Progress::Refused;
        self.settle_all(&Failure::replied(reply));
    }

    pub(super) fn rcpt_answered(&mut self, index: usize, reply: PeerReply) {
        let Some(fate @ Fate::Named) = self.fates.get_mut(index) else { return };
        if reply.class() == 2 {
            self.got_in = true;
            *fate = Fate::Accepted;
            return;
        }
        let has_detail = |subject, detail| {
            reply.spoken.is_some_and(|s| s.subject == subject && s.detail == detail)
        };
        // RFC 5321 4.5.3.1.10: too many recipients is 452; 552 was an error of RFC 821 and means
        // the same. With an enhanced code that says something else (a full mailbox), it is that.
        let too_many = matches!(reply.code, 452 | 552) && reply.spoken.is_none();
        let too_many = too_many || has_detail(5, 3);
        let is_552 = reply.code == 552;
        let failure = Failure::replied(reply);
        *fate = match (too_many, is_552) {
            (true, true) => Fate::TooMany(failure.later()),
            (true, false) => Fate::TooMany(failure),
            (false, _) => Fate::Settled(Outcome::failed(failure)),
        };
    }

    pub(super) fn data_answered(&mut self, accepted: bool) {
        self.data = if accepted { Progress::Accepted } else { Progress::Refused };
    }

    /// Those who were waiting for the body have it.
    pub(super) fn deliver(&mut self, reply: &PeerReply, extensions: &Extensions) {
        let (notifies, keeps_time) = (extensions.dsn, extensions.deliver_by);
        self.settle_accepted(&Outcome::Delivered { reply: reply.clone(), notifies, keeps_time });
    }

    /// Those who were waiting for the body do not get it.
    pub(super) fn refuse(&mut self, failure: Failure) {
        self.settle_accepted(&Outcome::failed(failure));
    }

    /// RFC 2033 4.2 (LMTP) would settle one accepted recipient a reply; SMTP has one for all.
    fn settle_accepted(&mut self, outcome: &Outcome) {
        for fate in self.fates.iter_mut().filter(|fate| matches!(fate, Fate::Accepted)) {
            *fate = Fate::Settled(outcome.clone());
        }
    }

    /// All who are not settled get this.
    fn settle_all(&mut self, failure: &Failure) {
        for fate in self.fates.iter_mut().filter(|fate| !matches!(fate, Fate::Settled(_))) {
            *fate = Fate::Settled(Outcome::failed(failure.clone()));
        }
    }

    /// The session ended in the middle. `whole_sent`: the message was sent to its end, and the
    /// reply to it is missing.
    pub(super) fn break_off(&mut self, failure: &Failure, whole_sent: bool) {
        if whole_sent && matches!(failure.cause, Cause::Found(_)) {
            self.refuse(Failure::found(Reason::AnswerLost));
        }
        self.settle_all(failure);
    }

    /// What became of each recipient, in their order.
    pub(super) fn into_outcomes(self) -> Vec<Outcome> {
        let got_in = self.got_in;
        let outcome = |fate| match fate {
            Fate::Settled(outcome) => outcome,
            Fate::TooMany(failure) if !got_in => Outcome::failed(failure),
            // There was room for others, so there will be for these.
            Fate::TooMany(_) | Fate::Held => Outcome::NotAttempted,
            Fate::Waiting | Fate::Named | Fate::Accepted => Outcome::NotAttempted,
        };
        self.fates.into_iter().map(outcome).collect()
    }
}

impl Used {
    /// Whether the session may name this domain, which is then used.
    fn has_room(&mut self, recipient: &Recipient, domains_max: Option<usize>) -> bool {
        let Some(domains_max) = domains_max else { return true };
        let domain = match recipient {
            Recipient::Postmaster => String::new(),
            Recipient::Mailbox(mailbox) => match mailbox.host() {
                Host::Domain(domain) => domain.as_str().to_owned(),
                literal @ Host::Literal(_) => literal.to_string(),
            },
        };
        if self.domains.len() >= domains_max && !self.domains.contains(&domain) {
            return false;
        }
        self.domains.insert(domain);
        true
    }
}

/// `RCPT TO:<b@y> NOTIFY=.. ORCPT=..`
fn rcpt_command(recipient: &JobRecipient, extensions: &Extensions) -> String {
    let mut command = format!("RCPT TO:<{}>", recipient.address);
    if !extensions.dsn {
        return command;
    }
    if let Some(notify) = recipient.notify {
        let _ = write!(command, " NOTIFY={notify}");
    }
    if let Some(original) = recipient.original.as_ref().filter(|original| is_sound(original)) {
        let _ = write!(command, " ORCPT={original}");
    }
    command
}

/// Whether it may stand in a command: what is not as it must be is left out, for it is only a help.
fn is_sound(original: &OriginalRecipient) -> bool {
    let is_kind = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let value = original.to_string();
    !original.kind.is_empty()
        && original.kind.bytes().all(is_kind)
        && value.bytes().all(|b| b.is_ascii_graphic())
        && value.len() <= ORIGINAL_RECIPIENT_BYTES_MAX
}

fn is_ascii(recipient: &Recipient) -> bool {
    match recipient {
        Recipient::Postmaster => true,
        Recipient::Mailbox(mailbox) => mailbox.is_ascii(),
    }
}
