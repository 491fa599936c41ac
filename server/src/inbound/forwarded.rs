//! A message on its way to those elsewhere whom people here stand for: whose name it goes on in,
//! the lines it is given, and rows for its recipients.
//!
//! ```text
//!   ARC set           what we found out about its sender, sealed (RFC 8617)
//!   Delivered-To:     who here sent it on, to be known if it comes back
//!   ── the message as it came, below our Received line
//! ```
//! Invariants: nothing of the message itself is changed, so that its signatures hold; the sender is
//! told of what becomes of it only if it is known to be his, and then by an address of ours that
//! stands for him.
//! Not here: who it goes to (`directory::expansion`), its way there (`outbound`).

use std::collections::HashMap;

use grace_ipc::event::EventKind;
use grace_mail::address::{Charset, Host, Mailbox};
use grace_mail::header;
use grace_smtp::dsn::{Notify, OriginalRecipient};
use grace_smtp::path::{Recipient, ReversePath};
use grace_smtp::receiver::{Envelope, EnvelopeRecipient};

use super::submitted::Going;
use super::{Cause, Rejection, new_number};
use crate::authenticity::results;
use crate::authenticity::verdict::{Outcome, Verdict};
use crate::directory::expansion::{Expansion, Onward as Leading, Reached};
use crate::services::Services;
use crate::signing::seal::{Statement, Validation};
use crate::signing::sign;
use crate::store::outgoing::{Onward, base32, notify};
use crate::telemetry::bus::claim;

/// `Delivered-To` fields that are looked at: each forwarder adds one, and more of them than hops
/// there cannot be.
const TRACES_MAX: usize = 1_000;

/// What was found out about the sender, as a seal says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Testimony {
    results: String,
    validation: Validation,
    body_hash: Vec<u8>,
}

impl Testimony {
    /// Of this verdict; `None`: it is not known whether the chain holds, and who finds that out
    /// later is not to read that it does not.
    pub(super) fn new(verdict: &Verdict, body: sign::Body) -> Option<Self> {
        let validation = match verdict.arc.found.outcome {
            Outcome::None => Validation::None,
            Outcome::Pass => Validation::Pass,
            Outcome::TempError => return None,
            _ => Validation::Fail,
        };
        Some(Self { results: results::results(verdict, &[]), validation, body_hash: body.hash() })
    }
}

/// A message that goes on.
pub(super) struct Forwarding<'a> {
    pub(super) services: &'a Services,
    /// How it came.
    pub(super) going: Going<'a>,
    /// Who it leads to.
    pub(super) expansion: &'a Expansion,
    /// All that stands above the body, without our `Return-Path`.
    pub(super) head: &'a [u8],
    pub(super) testimony: Option<&'a Testimony>,
    /// The sender of the envelope is who it says.
    pub(super) is_sender_known: bool,
}

impl Forwarding<'_> {
    /// A message and its recipients for each address here that leads elsewhere, with what is told
    /// of it when it is on disk.
    pub(super) async fn rows(&self) -> Result<Vec<(Onward, EventKind)>, Rejection> {
        let mut groups: Vec<(&Mailbox, Vec<&Leading>)> = Vec::new();
        let mut places: HashMap<&Mailbox, usize> = HashMap::new();
        for leading in &self.expansion.onward {
            let place = *places.entry(&leading.by).or_insert(groups.len());
            match groups.get_mut(place) {
                Some((_, group)) => group.push(leading),
                None => groups.push((&leading.by, vec![leading])),
            }
        }
        let mut rows = Vec::with_capacity(groups.len());
        let mut seals: HashMap<&Host, String> = HashMap::new();
        for (by, group) in groups {
            let seal = match seals.get(by.host()) {
                Some(seal) => seal,
                None => seals.entry(by.host()).or_insert(self.seal(by)?),
            };
            let onward = self.row(by, &group, seal).await?;
            let told = EventKind::MessageForwarded {
                queue_id: base32(self.going.id),
                onward_id: base32(onward.message.id),
                by: claim(by.to_string().as_bytes()),
                sender: claim(onward.message.sender.as_bytes()),
                recipients: u32::try_from(onward.recipients.len()).unwrap_or(u32::MAX),
                sealed: !seal.is_empty(),
            };
            rows.push((onward, told));
        }
        Ok(rows)
    }

    /// One message, in the name of who leads there.
    async fn row(&self, by: &Mailbox, group: &[&Leading], seal: &str) -> Result<Onward, Rejection> {
        let mut copy = self.services.mailboxes.upload();
        copy.write(format!("{seal}Delivered-To: {by}\r\n").as_bytes()).await?;
        let message = copy.finish_before(self.going.message).await?;
        let recipients: Vec<(EnvelopeRecipient, &Leading)> =
            group.iter().map(|leading| (self.recipient(leading), *leading)).collect();
        let mut parameters = self.going.envelope.parameters.clone();
        parameters.utf8 |= !by.is_ascii() || group.iter().any(|to| !to.address.is_ascii());
        let sender = self.sender(by).await?;
        let envelope = Envelope { sender, parameters, recipients: Vec::new() };
        let going =
            Going { id: new_number(), envelope: &envelope, message: &message, ..self.going };
        let asked: Vec<&EnvelopeRecipient> = recipients.iter().map(|(asked, _)| asked).collect();
        let mut onward = going.rows(&self.services.outgoing.settings().schedule, &asked);
        for (row, (_, leading)) in onward.recipients.iter_mut().zip(&recipients) {
            // Else a stranger could have us write to whom he likes. Where a copy is kept nothing
            // is lost, and nobody is asked.
            if !self.is_sender_known && !leading.is_kept && row.notify & notify::FAILURE != 0 {
                row.notify |= notify::POSTMASTER;
            }
        }
        Ok(onward)
    }

    /// Who bounces go to: an address of ours in the sender's place (SRS).
    async fn sender(&self, by: &Mailbox) -> Result<ReversePath, Rejection> {
        let sender = &self.going.envelope.sender;
        let (Some(mailbox), Some(domain)) = (sender.mailbox(), by.domain()) else {
            return Ok(sender.clone());
        };
        let rewritten = self.services.directory.rewritten(mailbox, domain).await?;
        Ok(ReversePath::Mailbox(rewritten))
    }

    /// RFC 3461 5.2.7: what its sender asked for goes along where one address takes the place of
    /// another. Where several do, success was told of here (5.2.7.2), and where a copy stays, the
    /// message has arrived with that (5.2.7.3).
    fn recipient(&self, leading: &Leading) -> EnvelopeRecipient {
        let asked = self.going.envelope.recipients.get(leading.recipient);
        let mut parameters = asked.map(|asked| asked.parameters.clone()).unwrap_or_default();
        let wanted = parameters.notify.unwrap_or_default();
        parameters.notify = Some(if leading.is_kept {
            Notify::NEVER
        } else if is_alone(self.expansion, leading.recipient) {
            wanted
        } else {
            Notify { success: false, ..wanted }
        });
        let told = asked.map(|asked| asked.address.to_string());
        parameters.original = parameters.original.or_else(|| {
            let kind =
                if told.as_ref().is_some_and(|told| told.is_ascii()) { "rfc822" } else { "utf-8" };
            told.map(|address| OriginalRecipient { kind: kind.to_owned(), address })
        });
        EnvelopeRecipient { address: Recipient::Mailbox(leading.address.clone()), parameters }
    }

    /// The set of the domain that it goes on from; empty: nothing is known of its sender, or the
    /// domain has no key.
    fn seal(&self, by: &Mailbox) -> Result<String, Rejection> {
        let (Some(testimony), Some(domain)) = (self.testimony, by.domain()) else {
            return Ok(String::new());
        };
        let statement = Statement {
            hostname: &self.services.config.hostname,
            results: &testimony.results,
            validation: testimony.validation,
        };
        let signing = &self.services.signing;
        let set = signing.seal(domain.as_str(), &statement, self.head, &testimony.body_hash);
        set.map_err(|failure| match failure {
            sign::Failure::Store(failure) => Rejection::from(failure),
            sign::Failure::Key(why) => Rejection::Later(Cause::Unsigned(why)),
        })
    }
}

/// Whether a recipient leads to one address elsewhere and to nobody else.
fn is_alone(expansion: &Expansion, recipient: usize) -> bool {
    let reached = expansion.recipients.get(recipient);
    matches!(reached, Some(Reached::Somebody { here: 0, onward: 1 }))
}

/// Whether a recipient leads to several, some of them elsewhere (RFC 3461 5.2.7.2).
pub(super) fn is_expanded(expansion: &Expansion, recipient: usize) -> bool {
    let is_his = |leading: &&Leading| leading.recipient == recipient && !leading.is_kept;
    !is_alone(expansion, recipient) && expansion.onward.iter().any(|leading| is_his(&leading))
}

/// The address here that has sent the message on before, if one of those that would do so now has.
pub(super) fn sent_on_before<'a>(header: &[u8], expansion: &'a Expansion) -> Option<&'a Mailbox> {
    if expansion.onward.is_empty() {
        return None;
    }
    let traces = header::fields(header).filter(|field| field.is(b"Delivered-To"));
    let traces: Vec<String> = traces
        .take(TRACES_MAX)
        .filter_map(|field| {
            let text = header::unfold(field.value);
            let text = std::str::from_utf8(&text).ok()?.trim();
            let text = text.strip_prefix('<').and_then(|t| t.strip_suffix('>')).unwrap_or(text);
            Some(Mailbox::parse(text, Charset::Utf8).ok()?.to_string().to_lowercase())
        })
        .collect();
    let mut by = expansion.onward.iter().map(|leading| &leading.by);
    by.find(|by| traces.contains(&by.to_string().to_lowercase()))
}
