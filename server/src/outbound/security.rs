//! What transport security means for an attempt: the terms of each host, and what its failures lead
//! to.
//!
//! Invariant: what a host lacks that the message asks for ends the message once no host has it
//! (RFC 8689 4.2.1); what the destination asks for and its host lacks makes mail wait, for one of
//! the two is wrong and will be mended.
//! Not here: what is asked for (`transport`).

use grace_queue::capacity::Behavior;
use grace_smtp::sender::outcome::{Cause, Failure as Refusal, Outcome, Reason, Stage};

use super::attempt::{Attempt, Trouble, Visit};
use super::connection::{Connection, Sent};
use crate::services::Services;
use crate::transport::decision::{Basis, Demand, Unfit};
use crate::transport::{Destination, Ended, Terms, waives};

impl Attempt {
    /// What a host must show.
    ///
    /// # Errors
    /// It gets no message.
    pub(super) async fn terms(
        &mut self,
        destination: &Destination,
        host: &str,
        port: u16,
    ) -> Result<Terms, Visit> {
        let Services { config, transport, .. } = &self.services;
        let header_bytes_max = usize::try_from(config.limits.header_bytes_max);
        let body = &mut self.mail.body;
        let waives = || waives(&body.header(header_bytes_max.unwrap_or(usize::MAX)));
        let require_tls = self.mail.message.require_tls;
        let terms = transport.terms(destination, (host, port), require_tls, waives).await;
        terms.map_err(|unfit| visit(unfit, host))
    }

    /// Counts what came of encrypting a connection.
    pub(super) fn note(&self, connection: &Connection, sent: Option<&Sent>) {
        let is_clear = || sent.is_some_and(|sent| sent.outcomes.iter().any(is_without_tls));
        let ended = connection.ended().or_else(|| is_clear().then_some(Ended::Clear));
        if let Some(ended) = ended {
            self.services.transport.note(connection.terms(), connection.between(), ended);
        }
    }

    /// What a host lacks for good that the message asks for (RFC 8689 4.2.1): TLS, or the promise
    /// to keep it. A bad certificate is none of that: it will be mended.
    pub(super) fn lacking(&self, outcomes: &[Outcome], host: &str) -> Option<Trouble> {
        if !self.mail.message.require_tls {
            return None;
        }
        let mut lacks = None;
        for outcome in outcomes {
            let (Outcome::Later(failure) | Outcome::Never(failure)) = outcome else { return None };
            let status = match &failure.cause {
                Cause::Found(Reason::NoRequireTls) => (5, 7, 30),
                Cause::Found(Reason::NoStartTls) => (5, 7, 10),
                _ => return None,
            };
            lacks.get_or_insert((status, failure));
        }
        let (status, failure) = lacks?;
        let Cause::Found(reason) = &failure.cause else { return None };
        let asked_for = "asked for by the message (REQUIRETLS)";
        Some(Trouble::found(status, &format!("{host}: {reason}; {asked_for}")))
    }
}

/// What it means that a host did not come to speak of the message, and who asked for what it lacks.
pub(super) fn silent(refusal: &Refusal, remote: &str, terms: &Terms) -> Visit {
    let behavior = match refusal.cause {
        Cause::Reply(_) => Behavior::Busy,
        // What one message asks for others need not suffer for.
        Cause::Found(_)
            if is_about_tls(refusal)
                && terms.demand() == Demand::Certificate(Basis::RequireTls) =>
        {
            Behavior::Unknown
        }
        Cause::Found(_) => Behavior::Unreachable,
    };
    let mut trouble = Trouble::of(refusal, remote);
    trouble.reason.push_str(&asked(refusal, terms));
    Visit::Silent(trouble, behavior)
}

/// Who asked for what went wrong, to stand behind the reason; empty: nobody.
pub(super) fn asked(refusal: &Refusal, terms: &Terms) -> String {
    let is_asked = terms.demand() != Demand::Nothing && is_about_tls(refusal);
    if is_asked { format!("; {terms}") } else { String::new() }
}

fn is_about_tls(refusal: &Refusal) -> bool {
    let Cause::Found(reason) = &refusal.cause else { return false };
    matches!(
        reason,
        Reason::NoStartTls
            | Reason::StartTlsRefused(_)
            | Reason::StartTlsInjection
            | Reason::TlsFailed(_)
    )
}

fn visit(unfit: Unfit, host: &str) -> Visit {
    let trouble = Trouble::found(unfit.status(), &format!("{host}: {unfit}"));
    if unfit.status().0 == 5 {
        return Visit::Unfit(trouble);
    }
    let is_common = unfit.is_of_destination();
    Visit::Silent(trouble, if is_common { Behavior::Unreachable } else { Behavior::Unknown })
}

/// Whether it came so far that a server which has TLS would have offered it.
fn is_without_tls(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Delivered { .. } | Outcome::NotAttempted => true,
        Outcome::Later(failure) | Outcome::Never(failure) => match &failure.cause {
            Cause::Reply(reply) => !matches!(
                reply.stage,
                Stage::Greeting | Stage::Hello | Stage::StartTls | Stage::Quit | Stage::Idle
            ),
            Cause::Found(reason) => {
                matches!(reason, Reason::NoStartTls | Reason::StartTlsRefused(_))
            }
        },
    }
}
