//! What a session asks about whoever it speaks with: how much it may send, and of strangers,
//! whether a list has them, whether their names fit, and whether they come again.
//!
//! ```text
//!   EHLO ─▶ the questions begin, beside the dialogue ─▶ RCPT waits for what was found
//! ```
//! Invariants: a stranger is who came to the door for other servers, is not trusted, is no machine
//! of ours and did not log in; the questions end with the session.
//! Not here: what the answers mean (`guard`).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use grace_ipc::event::{EventKind, Service};
use grace_smtp::path::Recipient;
use grace_smtp::reply::Reply;
use grace_smtp::settings::{HeloChecks, ImpossibleName, Role, Tarpit};
use tokio::task::JoinSet;

use super::Session;
use crate::authenticity::Facts;
use crate::authenticity::results::Extra;
use crate::authenticity::verdict::{Found, Outcome};
use crate::config::limits::DoorRules;
use crate::guard::greylist::{Client, Greylist, Judgement};
use crate::guard::lists::Listing;
use crate::guard::names::Fit;
use crate::guard::{Counted, Findings, Refusal};
use crate::inbound::now_ms;
use crate::net::refusals::Refused;
use crate::services::Services;
use crate::store::failure::Failure;

/// What is found out about a stranger.
#[derive(Debug, Default)]
pub(super) struct Stranger {
    inquiry: Inquiry,
    /// Who has its word for the message that is begun; none: not asked yet.
    client: Option<Client>,
}

/// How far the questions are.
#[derive(Debug, Default)]
enum Inquiry {
    #[default]
    NotBegun,
    Asking(JoinSet<Findings>),
    Known(Box<Findings>),
}

/// What a peer may call itself.
pub(super) fn helo_checks(
    services: &Services,
    role: Role,
    peer: SocketAddr,
    local: SocketAddr,
) -> HeloChecks {
    let rules = services.guard.rules();
    let is_house = peer.ip().to_canonical().is_loopback() || peer.ip() == local.ip();
    let impossible = match (role, rules.helo_impossible.as_str()) {
        // Printers and mail programs call themselves all sorts of things.
        (Role::Submission | Role::Submissions, _) | (Role::Mx, "accept") => ImpossibleName::Accept,
        (Role::Mx, _) if services.guard.may_relay(peer.ip()) => ImpossibleName::Accept,
        (Role::Mx, "refuse_hello") => ImpossibleName::RefuseHello,
        (Role::Mx, _) => ImpossibleName::RefuseRecipients,
    };
    HeloChecks {
        refuse_own: !is_house && rules.helo_own == "refuse",
        own_addresses: vec![local.ip()],
        impossible,
    }
}

/// How refusals are slowed down.
pub(super) fn tarpit(rules: &DoorRules) -> Tarpit {
    Tarpit {
        recipients_free: Some(u32::try_from(rules.tarpit_recipients_free).unwrap_or(u32::MAX)),
        wait_first: Duration::from_millis(rules.tarpit_wait_ms),
        wait_max: Duration::from_millis(rules.tarpit_wait_max_ms),
        ..Tarpit::DEFAULT
    }
}

impl Session {
    fn is_stranger(&self) -> bool {
        let is_other = self.service == Service::Smtp && self.person.is_none() && !self.is_machine;
        is_other && !self.services.guard.is_trusted(self.peer.ip())
    }

    /// Begins to ask about a stranger, once it has introduced itself.
    pub(super) fn begin_inquiry(&mut self) {
        if !matches!(self.stranger.inquiry, Inquiry::NotBegun) || !self.is_stranger() {
            return;
        }
        let Some(hello) = &self.receiver.session().hello else { return };
        let guard = self.services.guard.clone();
        let mut asking = JoinSet::new();
        asking.spawn(guard.inquire(self.peer.ip(), hello.claim.clone()));
        self.stranger.inquiry = Inquiry::Asking(asking);
    }

    /// What was found out about a stranger; waits for it.
    async fn findings(&mut self) -> &Findings {
        self.begin_inquiry();
        if let Inquiry::Asking(asking) = &mut self.stranger.inquiry {
            let found = asking.join_next().await.and_then(Result::ok);
            self.stranger.inquiry = Inquiry::Known(Box::new(found.unwrap_or_default()));
        }
        static NOTHING: Findings = Findings::NOTHING;
        match &self.stranger.inquiry {
            Inquiry::Known(findings) => findings,
            Inquiry::NotBegun | Inquiry::Asking(_) => &NOTHING,
        }
    }

    /// Counts a message that begins.
    pub(super) fn count_message(&mut self) -> Result<(), Reply> {
        self.stranger.client = None;
        let Some(who) = self.counted() else { return Ok(()) };
        let counted = self.services.guard.may_send(Instant::now(), who);
        counted.map_err(|refusal| self.refused("MAIL", refusal))
    }

    /// Whose sending is counted.
    fn counted(&self) -> Option<Counted<'_>> {
        match &self.person {
            Some(person) => Some(Counted::Account(person.id, &person.address)),
            None if self.services.guard.is_trusted(self.peer.ip()) => None,
            None => Some(Counted::Address(self.peer.ip())),
        }
    }

    /// Whether the door lets mail for somebody through who would get it.
    pub(super) async fn check_at_door(&mut self, recipient: &Recipient) -> Result<(), Reply> {
        let is_stranger = self.is_stranger();
        let rules = self.services.guard.rules();
        let is_spared = rules.postmaster == "accept" && is_postmaster(recipient);
        if is_stranger {
            let (peer, guard) = (self.peer.ip(), self.services.guard.clone());
            let refusal = self.findings().await.refusal(guard.rules(), peer);
            if let Some(refusal) = refusal.filter(|_| !is_spared) {
                return Err(self.refused("RCPT", refusal));
            }
        }
        if let Some(who) = self.counted() {
            let counted = self.services.guard.may_reach(Instant::now(), who);
            counted.map_err(|refusal| self.refused("RCPT", refusal))?;
        }
        if is_stranger && !is_spared { self.check_greylist(recipient).await } else { Ok(()) }
    }

    /// Whether a stranger is to come again.
    async fn check_greylist(&mut self, recipient: &Recipient) -> Result<(), Reply> {
        let guard = self.services.guard.clone();
        let Some(greylist) = guard.greylist() else { return Ok(()) };
        if guard.is_allowed(self.peer.ip()) || self.findings().await.allowed.is_some() {
            return Ok(());
        }
        match self.judge(greylist, recipient).await {
            Ok(Judgement::Pass) => Ok(()),
            Ok(Judgement::Wait(wait_s)) => {
                // The code says that it is for now (RFC 6647 2), and policy (RFC 3463 3.8).
                let words = format!("you are new here, please come again in {wait_s} s");
                Err(self.refused(
                    "RCPT",
                    Refusal {
                        rule: "door.greylisting".to_owned(),
                        reason: "a stranger is to come again (door.greylisting)".to_owned(),
                        reply: Reply::new(451, (4, 7, 1), &words),
                    },
                ))
            }
            // Whether mail can be kept is found out soon enough.
            Err(failure) => {
                self.emit(EventKind::StoreFailed { reason: failure.to_string() });
                Ok(())
            }
        }
    }

    async fn judge(
        &mut self,
        greylist: &Greylist,
        recipient: &Recipient,
    ) -> Result<Judgement, Failure> {
        let now_s = now_ms() / 1_000;
        let network = Client::Network(self.services.guard.network(self.peer.ip()));
        if greylist.knows(now_s, &network).await? {
            return Ok(Judgement::Pass);
        }
        let client = match self.stranger.client.take() {
            Some(client) => client,
            None => self.domain().await.map_or(network, Client::Domain),
        };
        let (sender, recipient) = (&self.sender, recipient.to_string());
        let judgement = greylist.judge(now_s, &client, sender, &recipient).await;
        self.stranger.client = Some(client);
        judgement
    }

    /// The domain that the peer may speak for.
    async fn domain(&self) -> Option<String> {
        let peer = self.peer.ip();
        if !self.services.authenticity.concerns(peer) {
            return None;
        }
        let hello = self.receiver.session().hello.as_ref();
        let helo = hello.map_or_else(String::new, |hello| hello.claim.clone());
        let sender = self.sender.clone();
        let facts = Facts { peer: peer.to_canonical(), helo, sender };
        Box::pin(self.services.authenticity.speaks_for(&facts)).await
    }

    /// Tells of a refusal; returns what the peer is told.
    fn refused(&self, command: &'static str, refusal: Refusal) -> Reply {
        let Refusal { rule, reason, reply } = refusal;
        let refused = Refused { service: self.service, peer: self.peer, command, rule, reason };
        self.services.porter.refusals.tell(Instant::now(), self.trace, refused);
        reply
    }

    /// What was found out about a stranger, as a header tells it.
    pub(super) fn results(&self) -> Vec<Extra> {
        let Inquiry::Known(findings) = &self.stranger.inquiry else { return Vec::new() };
        let Findings { listed, allowed, helo, .. } = &**findings;
        let mut results: Vec<Extra> = listed
            .iter()
            .map(|listing| of_list("x-dnsbl", Outcome::Fail, listing))
            // RFC 8904 has the method.
            .chain(allowed.iter().map(|listing| of_list("dnswl", Outcome::Pass, listing)))
            .collect();
        let claim = self.receiver.session().hello.as_ref().map(|hello| hello.claim.clone());
        let outcome = match helo {
            Fit::Fits => Some(Outcome::Pass),
            Fit::Differs => Some(Outcome::Fail),
            Fit::Unknown => None,
        };
        results.extend(outcome.map(|outcome| Extra {
            method: "x-helo",
            found: Found { outcome, reason: String::new() },
            properties: vec![("smtp.helo", claim.unwrap_or_default())],
        }));
        results
    }
}

fn of_list(method: &'static str, outcome: Outcome, listing: &Listing) -> Extra {
    let Listing { zone, answer, text } = listing;
    Extra {
        method,
        found: Found { outcome, reason: text.clone() },
        properties: vec![("dns.zone", zone.clone()), ("policy.ip", answer.to_string())],
    }
}

/// Whether this is the postmaster, here or of any domain of ours (RFC 5321 4.5.1).
fn is_postmaster(recipient: &Recipient) -> bool {
    match recipient {
        Recipient::Postmaster => true,
        Recipient::Mailbox(address) => address.local().as_str().eq_ignore_ascii_case("postmaster"),
    }
}
