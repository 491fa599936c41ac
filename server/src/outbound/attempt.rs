//! One attempt: a batch of recipients of one message, at the hosts of their destination.
//!
//! ```text
//!   rows ─▶ [idle connection] ─▶ hosts ─▶ terms ─▶ addresses ─▶ connection ─▶ fates of the
//!                                  └── the next one, while none came to speak of it   recipients
//! ```
//! Invariants: every recipient of the batch gets a fate; none is tried at a second host once one
//! has spoken of it; when the server stops, only an attempt that waits for the answer to the end of
//! a message goes on.
//! Not here: what a fate leads to (`settle`), when another attempt is made (`grace_queue`), how a
//! server is called (`calls`).

use std::net::SocketAddr;

use gracedb::view::View as _;
use tokio::sync::watch;

use grace_ipc::event::{EventKind, TraceId};
use grace_mail::address::{Charset, Mailbox};
use grace_queue::capacity::Behavior;
use grace_queue::queue::Batch;
use grace_smtp::dsn::{Notify, OriginalRecipient, Return};
use grace_smtp::parameters::{ByMode, DeliverBy};
use grace_smtp::path::{Recipient, ReversePath};
use grace_smtp::sender::job::{Content, Job, JobRecipient, Message};
use grace_smtp::sender::outcome::{Cause, Failure as Refusal, Fault, Outcome, Reason, Stage};
use grace_smtp::sender::reply::PeerReply;
use grace_smtp::sender::settings::TlsPolicy;

use super::calls::{self, Caller};
use super::connection::{Body, Connection, Sent};
use super::{now, security};
use crate::route::rules::Way;
use crate::route::{CIRCLE, Host, NoRoute};
use crate::services::Services;
use crate::store::outgoing::{BodyKind, DeliverByRow, OutgoingRecipientRow, OutgoingRow, notify};
use crate::telemetry::bus::claim;
use crate::transport::{Destination, Terms};

/// Most seconds that BY can say (RFC 2852 4: nine digits).
const BY_SECONDS_MAX: i64 = 999_999_999;

/// What became of one recipient.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    /// Another server took the message.
    Sent {
        /// Which.
        remote: String,
        /// How it was encrypted; empty: not at all.
        tls: String,
        /// What it said.
        reply: String,
        /// Whether it notifies the sender of success, if he wants to hear of it.
        notifies: bool,
        /// Whether the sender is to hear of it in any case (RFC 2852 4).
        is_traced: bool,
    },
    /// It may yet work.
    Later(Trouble),
    /// It never will.
    Never(Trouble),
    /// It was not asked about, and goes again at once.
    Untried,
}

/// What went wrong.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    /// The other server, if it said so; else empty.
    pub(super) remote: String,
    /// Enhanced status code (RFC 3463).
    pub(super) status: (u16, u16, u16),
    /// What it said, or what else happened.
    pub(super) reason: String,
}

impl Fate {
    /// Whether the queue is done with it.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self, Self::Sent { .. } | Self::Never(_))
    }
}

/// What came of an attempt.
pub(super) struct Report {
    /// By the recipients' numbers.
    pub(super) fates: Vec<(u32, Fate)>,
    /// Those who were taken out meanwhile.
    pub(super) gone: Vec<u32>,
    /// How the hosts behaved.
    pub(super) behavior: Behavior,
    /// Why it failed, if it did.
    pub(super) reason: Option<String>,
    /// A connection that is still good.
    pub(super) connection: Option<Connection>,
    /// The server stops: nothing happened, and nothing follows.
    pub(super) is_stopped: bool,
}

impl Report {
    /// An attempt that broke for a reason of ours.
    pub(super) fn broken(reason: &str) -> Self {
        Self {
            fates: Vec::new(),
            gone: Vec::new(),
            behavior: Behavior::Unknown,
            reason: Some(reason.to_owned()),
            connection: None,
            is_stopped: false,
        }
    }
}

/// What is sent.
pub(super) struct Mail {
    pub(super) message: OutgoingRow,
    recipients: Vec<OutgoingRecipientRow>,
    deliver_by: Option<DeliverByRow>,
    pub(super) body: Body,
}

/// Tries a batch.
pub(super) async fn run(services: Services, batch: Batch, idle: Option<Connection>) -> Report {
    let mail = match load(&services, &batch) {
        Ok(Some(mail)) => mail,
        Ok(None) => {
            return Report { gone: batch.recipients, reason: None, ..Report::broken("") };
        }
        Err(error) => return Report::broken(&format!("it cannot be read here: {error}")),
    };
    let Some(first) = mail.recipients.first() else { return Report::broken("it is for nobody") };
    let way = services.router.way(&first.destination, &mail.message.sender);
    // Routes may have changed since the queue was told.
    let idle = idle.filter(|_| way.hop == *batch.destination);
    let known: Vec<u32> = mail.recipients.iter().map(|row| row.number).collect();
    let (stop, verdict) = (services.porter.stop.clone(), watch::Sender::new(false));
    let mut awaits = verdict.subscribe();
    let mut attempt = Attempt { services, mail, way, verdict };
    let report = tokio::select! {
        report = attempt.run(idle) => Some(report),
        () = async {
            stop.wait().await;
            // What may have been delivered is waited for (RFC 1047).
            drop(awaits.wait_for(|awaits| !awaits).await);
        } => None,
    };
    let Some(mut report) = report else {
        return Report { is_stopped: true, ..Report::broken("the server stops") };
    };
    report.gone = batch.recipients.into_iter().filter(|number| !known.contains(number)).collect();
    report
}

fn load(services: &Services, batch: &Batch) -> Result<Option<Mail>, gracedb::error::Error> {
    let snapshot = services.db.snapshot();
    let Some(message) = snapshot.get::<OutgoingRow>(&batch.message)? else { return Ok(None) };
    let mut recipients = Vec::with_capacity(batch.recipients.len());
    for number in &batch.recipients {
        recipients.extend(snapshot.get::<OutgoingRecipientRow>(&(batch.message, *number))?);
    }
    let deliver_by = snapshot.get::<DeliverByRow>(&batch.message)?;
    let body = Body::new(snapshot.open_large(&message.body));
    Ok((!recipients.is_empty()).then_some(Mail { message, recipients, deliver_by, body }))
}

pub(super) struct Attempt {
    pub(super) services: Services,
    pub(super) mail: Mail,
    way: Way,
    /// Whether the end of the message waits for its answer.
    verdict: watch::Sender<bool>,
}

/// How it went at one host.
pub(super) enum Visit {
    /// It spoke of the message, or the message cannot go there.
    Spoken(Box<Report>),
    /// Nobody there came to speak of it; the next host may.
    Silent(Trouble, Behavior),
    /// It cannot give what the message asks for, and never will; the next host may.
    Unfit(Trouble),
    /// It is this server: whoever comes after it is no better (RFC 5321 5.1).
    Ourselves,
}

impl Attempt {
    async fn run(&mut self, idle: Option<Connection>) -> Report {
        let is_proved = self.way.is_proved();
        let destination = self.services.transport.destination(&self.way.to, is_proved).await;
        if let Some(connection) = idle {
            match self.terms(&destination, connection.host(), connection.peer().port()).await {
                Ok(terms) if connection.meets(&terms) => {
                    if let Some(report) = self.reuse(connection).await {
                        return report;
                    }
                }
                _ => connection.part(),
            }
        }
        self.try_hosts(&destination).await
    }

    /// Over a connection that waited. `None`: it was closed meanwhile, and nothing was sent.
    async fn reuse(&mut self, mut connection: Connection) -> Option<Report> {
        self.mail.body.rewind();
        let sent = connection.send(self.job(), &mut self.mail.body, &self.verdict).await?;
        // A server that had waited long enough says so to MAIL, and means the session.
        let is_over = |outcome: &Outcome| match outcome {
            Outcome::Later(refusal) => {
                matches!(&refusal.cause, Cause::Reply(reply) if reply.stage == Stage::Mail)
            }
            _ => false,
        };
        if !sent.is_open && sent.outcomes.iter().all(is_over) {
            return None;
        }
        match self.judge(connection, sent) {
            Visit::Spoken(report) => Some(*report),
            Visit::Silent(..) | Visit::Unfit(_) | Visit::Ourselves => None,
        }
    }

    async fn try_hosts(&mut self, destination: &Destination) -> Report {
        // Whatever came of a connection that waited, nothing was delivered over it.
        self.verdict.send_replace(false);
        let chance = self.mail.message.id ^ self.mail.message.trace;
        let hosts = match self.services.router.hosts(&self.way.to, chance).await {
            Ok(hosts) => hosts,
            Err(no_route) => return self.unroutable(no_route),
        };
        let mut last: Option<(Trouble, Behavior)> = None;
        let (mut no_address, mut unfit) = (None, None);
        for host in hosts {
            let terms = match self.terms(destination, &host.name, host.port).await {
                Ok(terms) => terms,
                Err(Visit::Unfit(trouble)) => {
                    unfit = Some(trouble);
                    continue;
                }
                Err(Visit::Silent(trouble, behavior)) => {
                    last = Some((trouble, behavior));
                    continue;
                }
                Err(Visit::Spoken(report)) => return *report,
                Err(Visit::Ourselves) => return self.circle(&host, last, unfit),
            };
            match self.services.router.addresses(&host).await {
                Ok(addresses) => {
                    for address in self.way.sorted(addresses) {
                        match self.visit(&host, address, &terms).await {
                            Visit::Spoken(report) => return *report,
                            Visit::Unfit(trouble) => {
                                // Nothing was delivered, nor waits for its answer.
                                self.verdict.send_replace(false);
                                unfit = Some(trouble);
                            }
                            Visit::Silent(trouble, behavior) => last = Some((trouble, behavior)),
                            Visit::Ourselves => return self.circle(&host, last, unfit),
                        }
                    }
                }
                // One that may be there later leaves more hope than one that never is.
                Err(error @ NoRoute::Later { .. }) => no_address = Some(error),
                Err(error) => {
                    no_address.get_or_insert(error);
                }
            }
        }
        match (last, no_address, unfit) {
            (Some((trouble, behavior)), _, _) => self.all(behavior, &Fate::Later(trouble)),
            (None, Some(no_route @ NoRoute::Later { .. }), _) => self.unroutable(no_route),
            (None, _, Some(trouble)) => self.all(Behavior::Unknown, &Fate::Never(trouble)),
            (None, Some(no_route), None) => self.unroutable(no_route),
            (None, None, None) => Report::broken("the destination has no hosts"),
        }
    }

    /// One address, with TLS if it is offered; without it if that fails and it need not be.
    async fn visit(&mut self, host: &Host, address: SocketAddr, terms: &Terms) -> Visit {
        let mut silent = None;
        let caller = Caller { services: &self.services, way: &self.way };
        for call in caller.calls(host, address, terms) {
            let offers_tls = call.settings.tls != TlsPolicy::Never;
            let connection = match Connection::open(call).await {
                Ok(connection) if calls::is_ourselves(&self.services, &connection) => {
                    connection.part();
                    return Visit::Ourselves;
                }
                Ok(connection) => connection,
                Err(reason) => {
                    let trouble = Trouble::found((4, 4, 1), &reason);
                    return Visit::Silent(trouble, Behavior::Unreachable);
                }
            };
            let (visit, tls_failed) = self.speak(connection, offers_tls).await;
            match visit {
                Visit::Silent(trouble, behavior) => {
                    // Nothing was delivered: what comes next need not be waited for.
                    self.verdict.send_replace(false);
                    silent = Some(Visit::Silent(trouble, behavior));
                    if !tls_failed {
                        break;
                    }
                }
                ended => return ended,
            }
        }
        silent.unwrap_or_else(|| {
            let trouble = Trouble::found((4, 4, 0), "the connection ended before it began");
            Visit::Silent(trouble, Behavior::Unreachable)
        })
    }

    async fn speak(&mut self, mut connection: Connection, offers_tls: bool) -> (Visit, bool) {
        self.mail.body.rewind();
        let sent = connection.send(self.job(), &mut self.mail.body, &self.verdict).await;
        let tls_failed = connection.tls_failed();
        if offers_tls {
            self.note(&connection, sent.as_ref());
        }
        let visit = match sent {
            Some(sent) => self.judge(connection, sent),
            None => {
                let trouble = Trouble::found((4, 4, 2), "the session ended before it began");
                Visit::Silent(trouble, Behavior::Unreachable)
            }
        };
        (visit, tls_failed)
    }

    /// What the outcomes mean.
    fn judge(&self, connection: Connection, sent: Sent) -> Visit {
        let remote = connection.host().to_owned();
        let is_host = |outcome: &Outcome| match outcome {
            Outcome::Later(refusal) | Outcome::Never(refusal) => refusal.fault == Fault::Host,
            _ => false,
        };
        let first = sent.outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Later(refusal) | Outcome::Never(refusal) => Some(refusal),
            _ => None,
        });
        match first.map(|refusal| &refusal.cause) {
            Some(Cause::Found(Reason::OwnName)) => return Visit::Ourselves,
            Some(Cause::Found(Reason::LoginRefused(reply))) => self.tell_refused(reply),
            _ => {}
        }
        if let Some(trouble) = self.lacking(&sent.outcomes, &remote) {
            if sent.is_open {
                connection.part();
            }
            return Visit::Unfit(trouble);
        }
        if sent.outcomes.iter().all(is_host)
            && let Some(refusal) = first
            && may_ask_another(refusal)
        {
            return security::silent(refusal, &remote, connection.terms());
        }
        let behavior =
            if sent.outcomes.iter().any(is_host) { Behavior::Busy } else { Behavior::Well };
        let reason = first.map(ToString::to_string);
        let tls = connection.tls();
        let fates = self.mail.recipients.iter().zip(sent.outcomes).map(|(row, outcome)| {
            let is_traced = self.is_traced(row, &outcome);
            (row.number, fate(outcome, &remote, &tls, is_traced))
        });
        let fates = fates.collect();
        let connection = sent.is_open.then_some(connection);
        let report = Report::broken("");
        Visit::Spoken(Box::new(Report { fates, behavior, reason, connection, ..report }))
    }

    /// Whether the sender is to hear that it went on: he asked to, or it went to who knows of no
    /// deadline and he is to hear of delays (RFC 2852 4).
    fn is_traced(&self, row: &OutgoingRecipientRow, outcome: &Outcome) -> bool {
        let (Some(by), Outcome::Delivered { keeps_time, .. }) = (self.mail.deliver_by, outcome)
        else {
            return false;
        };
        by.is_traced || (!by.returns && !keeps_time && row.notify & notify::DELAY != 0)
    }

    /// A login of ours is for us to mend: an admin hears of it.
    fn tell_refused(&self, reply: &PeerReply) {
        let Some(smart) = &self.way.smart_host else { return };
        let event = EventKind::SmartHostRefused {
            host: smart.to_string(),
            login: smart.login.as_ref().map(|login| login.name.clone()).unwrap_or_default(),
            reason: claim(reply.to_string().as_bytes()),
        };
        self.services.porter.bus.emit(TraceId(self.mail.message.trace), event);
    }

    /// Mail that would come back to this server. Where a better server is only silent now it waits;
    /// where a route leads here an admin is to mend that.
    fn circle(
        &self,
        host: &Host,
        last: Option<(Trouble, Behavior)>,
        unfit: Option<Trouble>,
    ) -> Report {
        if self.way.smart_host.is_some() {
            let reason = format!("the smart host {} is this server itself", host.name);
            let trouble = Trouble::found((4, 4, 6), &reason);
            return self.all(Behavior::Unreachable, &Fate::Later(trouble));
        }
        match last {
            Some((trouble, behavior)) => self.all(behavior, &Fate::Later(trouble)),
            None => {
                let trouble = unfit.unwrap_or_else(|| Trouble::found((5, 4, 6), CIRCLE));
                self.all(Behavior::Unknown, &Fate::Never(trouble))
            }
        }
    }

    fn job(&self) -> Job {
        let Mail { message, recipients, .. } = &self.mail;
        let content = match BodyKind::from_row(message.body_kind) {
            BodyKind::SevenBit => Content::SevenBit,
            BodyKind::EightBit => Content::EightBit,
            BodyKind::Binary => Content::Binary,
        };
        let address = |text: &str| Mailbox::parse(text, Charset::Utf8).ok();
        Job {
            sender: address(&message.sender).map_or(ReversePath::Null, ReversePath::Mailbox),
            recipients: recipients
                .iter()
                .map(|row| JobRecipient {
                    address: address(&row.address)
                        .map_or(Recipient::Postmaster, Recipient::Mailbox),
                    notify: Some(Notify {
                        success: row.notify & notify::SUCCESS != 0,
                        failure: row.notify & notify::FAILURE != 0,
                        delay: row.notify & notify::DELAY != 0,
                    })
                    .filter(|wanted| *wanted != Notify::default()),
                    original: OriginalRecipient::parse(&row.original),
                })
                .collect(),
            message: Message { size_bytes: message.body.len(), content, utf8: message.utf8 },
            returned: message.return_full.then_some(Return::Full),
            envelope_id: Some(message.envelope_id.clone()).filter(|id| !id.is_empty()),
            require_tls: message.require_tls,
            deliver_by: self.mail.deliver_by.as_ref().map(left),
        }
    }

    fn unroutable(&self, no_route: NoRoute) -> Report {
        match no_route {
            NoRoute::Never { status, text } => {
                self.all(Behavior::Unknown, &Fate::Never(Trouble::found(status, &text)))
            }
            NoRoute::Later { status, text } => {
                self.all(Behavior::Unreachable, &Fate::Later(Trouble::found(status, &text)))
            }
        }
    }

    /// The same for every recipient.
    fn all(&self, behavior: Behavior, fate: &Fate) -> Report {
        let reason = match fate {
            Fate::Later(trouble) | Fate::Never(trouble) => Some(trouble.reason.clone()),
            _ => None,
        };
        let fates = self.mail.recipients.iter().map(|row| (row.number, fate.clone())).collect();
        Report { fates, behavior, reason, ..Report::broken("") }
    }
}

/// Whether another host may be asked: not where this one may have taken the message, nor where it
/// spoke of it.
pub(super) fn may_ask_another(refusal: &Refusal) -> bool {
    match &refusal.cause {
        Cause::Reply(reply) => {
            matches!(reply.stage, Stage::Greeting | Stage::Hello | Stage::StartTls | Stage::Auth)
        }
        Cause::Found(reason) => !matches!(reason, Reason::AnswerLost | Reason::SlowTransaction),
    }
}

impl Trouble {
    pub(super) fn found(status: (u16, u16, u16), reason: &str) -> Self {
        Self { remote: String::new(), status, reason: reason.to_owned() }
    }

    pub(super) fn of(refusal: &Refusal, remote: &str) -> Self {
        let status = &refusal.status;
        let status = (u16::from(status.class), status.subject, status.detail);
        match &refusal.cause {
            Cause::Reply(reply) => {
                Self { remote: remote.to_owned(), status, reason: reply.to_string() }
            }
            Cause::Found(reason) => Self::found(status, &format!("{remote}: {reason}")),
        }
    }
}

/// How much is left of a message's time (RFC 2852 4): nine digits of seconds at most.
fn left(by: &DeliverByRow) -> DeliverBy {
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let left_s = (signed(by.deadline_ms) - signed(now().millis())) / 1_000;
    let time_s = i32::try_from(left_s.clamp(-BY_SECONDS_MAX, BY_SECONDS_MAX)).unwrap_or_default();
    let mode = if by.returns { ByMode::Return } else { ByMode::Notify };
    DeliverBy { time_s, mode, trace: by.is_traced }
}

fn fate(outcome: Outcome, remote: &str, tls: &str, is_traced: bool) -> Fate {
    match outcome {
        Outcome::Delivered { reply, notifies, .. } => Fate::Sent {
            remote: remote.to_owned(),
            tls: tls.to_owned(),
            reply: reply.to_string(),
            notifies,
            is_traced,
        },
        Outcome::Later(refusal) => Fate::Later(Trouble::of(&refusal, remote)),
        Outcome::Never(refusal) => Fate::Never(Trouble::of(&refusal, remote)),
        Outcome::NotAttempted => Fate::Untried,
    }
}
