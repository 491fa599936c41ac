//! A delivery that is tried up to RCPT, each step told with its time: can somebody be reached, and
//! what happens on the way? No message is sent.
//!
//! ```text
//!   recipient ─▶ here: done
//!      └─▶ route ─▶ servers ─▶ policy, addresses ─▶ connection ─▶ dialogue ─▶ RSET, QUIT
//!                                 └── the next one, as an attempt would try it
//! ```
//! Invariants: the way is that of an attempt (`attempt`), with its own calls (`calls`); it ends in
//! [`TIME_MAX`], and when nobody listens any more; a password is not told.
//! Not here: what a watched connection tells (`watched`), who may ask for it (`admin`).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use grace_ipc::route::{DeliveryStep, DeliveryVerdict, StepKind, StepResult};
use grace_mail::address::{Host as Domain, Mailbox};
use grace_smtp::path::{Recipient, ReversePath};
use grace_smtp::sender::job::{Content, Job, JobRecipient, Message};
use grace_smtp::sender::outcome::{Cause, Failure as Refusal, Fault, Outcome, Reason};
use grace_smtp::sender::settings::Settings;

use super::attempt::may_ask_another;
use super::calls::{self, Caller};
use super::connection::{Body, Call, Connection, Sent};
use super::security;
use super::watched::Watched;
use crate::directory::Destination;
use crate::outgoing::{Test, Tested};
use crate::route::rules::Way;
use crate::route::{CIRCLE, Host, NoRoute};
use crate::services::Services;
use crate::transport::{Destination as NextHop, Terms, Transport};

/// How long a test may take: admins wait for it.
const TIME_MAX: Duration = Duration::from_secs(170);
/// How long one reply may take, shorter than for mail, for the same reason.
const REPLY_WAIT_MAX: Duration = Duration::from_secs(60);
/// Size that MAIL tells, in bytes: a short letter's.
const SIZE_BYTES: u64 = 2_000;

/// Tries it.
pub(super) async fn run(services: Services, test: Test) {
    let Test { to, from, steps, mut reply } = test;
    let told = Told { began: Instant::now(), steps };
    let mut probe = Probe { services, to, from, told };
    let tested = tokio::select! {
        tested = timeout(TIME_MAX, probe.go()) => tested.unwrap_or_else(|_| Tested {
            verdict: DeliveryVerdict::Later,
            text: format!("it took longer than {} s; a message would go on", TIME_MAX.as_secs()),
        }),
        () = reply.closed() => return,
    };
    // Who asked may have gone this moment.
    drop(reply.send(tested));
}

/// Who is told, and since when.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) began: Instant,
    pub(super) steps: mpsc::Sender<DeliveryStep>,
}

impl Told {
    /// Tells of a step that took from `since` until `at`.
    pub(super) async fn tell(
        &self,
        (since, at): (Instant, Instant),
        (kind, result): (StepKind, StepResult),
        host: &str,
        text: String,
    ) {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (at_us, took_us) = (us(at.duration_since(self.began)), us(at.duration_since(since)));
        let step = DeliveryStep { at_us, took_us, kind, result, host: host.to_owned(), text };
        // Who listens no more ends the test by that.
        drop(self.steps.send(step).await);
    }
}

struct Probe {
    services: Services,
    to: Mailbox,
    from: Option<Mailbox>,
    told: Told,
}

/// How it went at one host.
enum Visit {
    /// It spoke of the recipient, or nobody else is to be asked.
    Spoken(Tested),
    /// It did not come to that, for this reason.
    Silent(String),
}

impl Probe {
    async fn go(&mut self) -> Tested {
        let began = Instant::now();
        if let Some(tested) = self.here(began).await {
            return tested;
        }
        let destination = match self.to.host() {
            Domain::Domain(domain) => domain.as_str().to_owned(),
            literal @ Domain::Literal(_) => literal.to_string(),
        };
        let sender = self.from.as_ref().map(ToString::to_string).unwrap_or_default();
        let way = self.services.router.way(&destination, &sender);
        let words = match &way.smart_host {
            None => format!("to the servers of {}", way.to),
            Some(smart) => match &smart.login {
                None => format!("through the smart host {smart}"),
                Some(login) => format!("through the smart host {smart}, as {}", login.name),
            },
        };
        self.tell(began, StepKind::Route, StepResult::Good, "", words).await;
        self.try_hosts(&way).await
    }

    /// What the address is here; `None`: it is not ours.
    async fn here(&self, began: Instant) -> Option<Tested> {
        use DeliveryVerdict::{Later, Local, Never};
        let to = &self.to;
        let (result, verdict, text) = match self.services.directory.resolve(to) {
            Ok(Destination::Account(person)) => {
                (StepResult::Good, Local, format!("{to} is the account {} here", person.address))
            }
            Ok(Destination::Alias(people)) => {
                let names: Vec<&str> = people.iter().map(|person| &*person.address).collect();
                let text = match names.as_slice() {
                    [] => format!("{to} stands for addresses elsewhere"),
                    names => format!("{to} stands for {} here", names.join(", ")),
                };
                (StepResult::Good, Local, text)
            }
            Ok(Destination::Rewritten(sender)) => {
                let text = format!("{to} takes notifications alone, for {sender}");
                (StepResult::Good, Local, text)
            }
            Ok(Destination::Nobody) => {
                (StepResult::Failed, Never, format!("{to} is nobody, and its domain is ours"))
            }
            Ok(Destination::Elsewhere) => {
                let text = format!("the domain of {to} is not ours");
                self.tell(began, StepKind::Recipient, StepResult::Good, "", text).await;
                return None;
            }
            Err(failure) => (StepResult::Failed, Later, failure.to_string()),
        };
        self.tell(began, StepKind::Recipient, result, "", text.clone()).await;
        Some(Tested { verdict, text })
    }

    async fn try_hosts(&mut self, way: &Way) -> Tested {
        let hosts = match self.hosts(way).await {
            Ok(hosts) => hosts,
            Err(tested) => return tested,
        };
        let mut last = Tested {
            verdict: DeliveryVerdict::Later,
            text: "no server of the destination can be reached".to_owned(),
        };
        let transport = self.services.transport.uncounted();
        let destination = transport.destination(&way.to, way.is_proved()).await;
        for host in &hosts {
            let terms = match self.terms(&transport, &destination, host).await {
                Ok(terms) => terms,
                Err(tested) => {
                    last = tested;
                    continue;
                }
            };
            match self.addresses(host).await {
                Ok(addresses) => {
                    for address in way.sorted(addresses) {
                        match self.visit(way, host, address, &terms).await {
                            Visit::Spoken(tested) => return tested,
                            Visit::Silent(text) => last.text = text,
                        }
                    }
                }
                Err(tested) => last = tested,
            }
        }
        last
    }

    async fn hosts(&self, way: &Way) -> Result<Vec<Host>, Tested> {
        let began = Instant::now();
        let hosts = match self.services.router.hosts(&way.to, 0).await {
            Ok(hosts) => hosts,
            Err(no_route) => return Err(self.unroutable(began, StepKind::Mx, "", no_route).await),
        };
        if way.to.starts_with('[') {
            return Ok(hosts);
        }
        let names: Vec<&str> = hosts.iter().map(|host| &*host.name).collect();
        let text = match names.as_slice() {
            [one] if *one == way.to => format!("{one} names no server, and is one itself"),
            names => names.join(", "),
        };
        self.tell(began, StepKind::Mx, StepResult::Good, "", text).await;
        Ok(hosts)
    }

    /// What a host must show.
    async fn terms(
        &self,
        transport: &Transport,
        destination: &NextHop,
        host: &Host,
    ) -> Result<Terms, Tested> {
        let (began, kind) = (Instant::now(), StepKind::Policy);
        let Host { name, port } = host;
        match transport.terms(destination, (name, *port), false, || false).await {
            Ok(terms) => {
                let is_well = !terms.is_amiss();
                let result = if is_well { StepResult::Good } else { StepResult::Caution };
                if let Some(words) = terms.words() {
                    self.tell(began, kind, result, name, words).await;
                }
                Ok(terms)
            }
            Err(unfit) => {
                self.tell(began, kind, StepResult::Failed, name, unfit.to_string()).await;
                let is_final = unfit.status().0 == 5;
                let verdict =
                    if is_final { DeliveryVerdict::Never } else { DeliveryVerdict::Later };
                Err(Tested { verdict, text: format!("{name}: {unfit}") })
            }
        }
    }

    async fn addresses(&self, host: &Host) -> Result<Vec<SocketAddr>, Tested> {
        let began = Instant::now();
        match self.services.router.addresses(host).await {
            Ok(addresses) => {
                let words: Vec<String> =
                    addresses.iter().map(|address| address.ip().to_string()).collect();
                let (kind, words) = (StepKind::Addresses, words.join(", "));
                self.tell(began, kind, StepResult::Good, &host.name, words).await;
                Ok(addresses)
            }
            Err(error) => Err(self.unroutable(began, StepKind::Addresses, &host.name, error).await),
        }
    }

    async fn unroutable(
        &self,
        began: Instant,
        kind: StepKind,
        host: &str,
        no_route: NoRoute,
    ) -> Tested {
        let (verdict, text) = match no_route {
            NoRoute::Never { text, .. } => (DeliveryVerdict::Never, text),
            NoRoute::Later { text, .. } => (DeliveryVerdict::Later, text),
        };
        self.tell(began, kind, StepResult::Failed, host, text.clone()).await;
        Tested { verdict, text }
    }

    /// One address, as an attempt would visit it.
    async fn visit(&mut self, way: &Way, host: &Host, address: SocketAddr, terms: &Terms) -> Visit {
        let caller = Caller { services: &self.services, way };
        let mut silent = Visit::Silent(format!("{address} cannot be reached"));
        for call in caller.calls(host, address, terms) {
            let (watcher, seen) = mpsc::unbounded_channel();
            let call = Call { settings: hurried(call.settings), watcher: Some(watcher), ..call };
            let watched = Watched::new(self.told.clone(), host, address, terms.clone(), seen);
            let (visit, tls_failed) = self.converse(call, watched).await;
            silent = visit;
            if !tls_failed {
                break;
            }
        }
        silent
    }

    /// One connection; also whether it was TLS that failed.
    async fn converse(&self, call: Call, mut watched: Watched) -> (Visit, bool) {
        let mut connection = match watched.open(&self.services, call).await {
            Ok(connection) => connection,
            Err(reason) => return (Visit::Silent(reason), false),
        };
        if calls::is_ourselves(&self.services, &connection) {
            let now = Instant::now();
            let (kind, host) = (StepKind::Connect, connection.host().to_owned());
            self.tell(now, kind, StepResult::Failed, &host, CIRCLE.to_owned()).await;
            let tested = Tested { verdict: DeliveryVerdict::Never, text: CIRCLE.to_owned() };
            return (Visit::Spoken(tested), false);
        }
        let (mut body, verdict) = (Body::none(), watch::Sender::new(false));
        let sent = {
            let sending = connection.send(self.job(), &mut body, &verdict);
            watched.follow(&self.services, sending).await
        };
        let tls_failed = connection.tls_failed();
        let visit = match sent {
            Some(Sent { outcomes, is_open }) => {
                let visit = self.judge(outcomes, &connection, &mut watched).await;
                if is_open {
                    watched.follow(&self.services, connection.quit()).await;
                }
                visit
            }
            None => Visit::Silent("the session ended before it began".to_owned()),
        };
        (visit, tls_failed)
    }

    async fn judge(
        &self,
        outcomes: Vec<Outcome>,
        connection: &Connection,
        watched: &mut Watched,
    ) -> Visit {
        let (to, host) = (&self.to, connection.host());
        let (verdict, refusal) = match outcomes.into_iter().next() {
            Some(Outcome::Later(refusal)) => (DeliveryVerdict::Later, refusal),
            Some(Outcome::Never(refusal)) => (DeliveryVerdict::Never, refusal),
            // Nothing was sent that could have been delivered.
            Some(Outcome::NotAttempted | Outcome::Delivered { .. }) | None => {
                let text = format!("{host} would take a message for {to}");
                return Visit::Spoken(Tested { verdict: DeliveryVerdict::Accepted, text });
            }
        };
        if let Cause::Found(reason) = &refusal.cause {
            watched.found(reason).await;
        }
        let text = format!("{host}: {refusal}{}", security::asked(&refusal, connection.terms()));
        match &refusal.cause {
            Cause::Found(Reason::OwnName) => Visit::Spoken(Tested { verdict, text }),
            _ if is_for_all(&refusal) => Visit::Silent(text),
            _ => Visit::Spoken(Tested { verdict, text }),
        }
    }

    fn job(&self) -> Job {
        let sender = self.from.clone().map_or(ReversePath::Null, ReversePath::Mailbox);
        let address = Recipient::Mailbox(self.to.clone());
        Job {
            sender,
            recipients: vec![JobRecipient { address, notify: None, original: None }],
            message: Message { size_bytes: SIZE_BYTES, content: Content::SevenBit, utf8: false },
            returned: None,
            envelope_id: None,
            require_tls: false,
            deliver_by: None,
        }
    }

    /// Tells of a step that ends now.
    async fn tell(
        &self,
        since: Instant,
        kind: StepKind,
        result: StepResult,
        host: &str,
        text: String,
    ) {
        self.told.tell((since, Instant::now()), (kind, result), host, text).await;
    }
}

/// Whether an attempt would ask the next host.
fn is_for_all(refusal: &Refusal) -> bool {
    refusal.fault == Fault::Host && may_ask_another(refusal)
}

/// The same with less patience, and no message.
fn hurried(settings: Settings) -> Settings {
    Settings {
        envelope_only: true,
        greeting_timeout: settings.greeting_timeout.min(REPLY_WAIT_MAX),
        hello_timeout: settings.hello_timeout.min(REPLY_WAIT_MAX),
        mail_timeout: settings.mail_timeout.min(REPLY_WAIT_MAX),
        rcpt_timeout: settings.rcpt_timeout.min(REPLY_WAIT_MAX),
        ..settings
    }
}
