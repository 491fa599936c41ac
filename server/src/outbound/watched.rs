//! What is seen of a connection, as steps of a test: each command with its reply, the handshake,
//! and what the certificate says.
//!
//! Invariant: a step is told when its reply has come, in the order of the replies.
//! Not here: the connection (`connection`), which steps there are beside these (`probe`).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use rustls_pki_types::CertificateDer;
use tokio::sync::mpsc;

use grace_ipc::route::{StepKind, StepResult};
use grace_mail::date::Date;
use grace_smtp::sender::outcome::Reason;
use grace_smtp::sender::reply::PeerReply;
use grace_smtp::sender::{Line, Note, Tls};

use super::connection::{Call, Connection, Seen};
use super::probe::Told;
use crate::net::certificate::Facts;
use crate::route::Host;
use crate::services::Services;
use crate::transport::Terms;
use crate::transport::decision::Demand;

/// Names of a certificate that are told; of the others, how many there are.
const NAMES_SHOWN_MAX: usize = 8;

/// A connection that is watched.
pub(super) struct Watched {
    told: Told,
    host: String,
    address: SocketAddr,
    /// What the server must show.
    terms: Terms,
    seen: mpsc::UnboundedReceiver<Seen>,
    /// Commands that wait for their replies, and since when.
    asked: VecDeque<(StepKind, String, Instant)>,
    has_greeted: bool,
    /// When the last step ended.
    since: Instant,
}

impl Watched {
    pub(super) fn new(
        told: Told,
        host: &Host,
        address: SocketAddr,
        terms: Terms,
        seen: mpsc::UnboundedReceiver<Seen>,
    ) -> Self {
        Self {
            told,
            host: host.name.clone(),
            address,
            terms,
            seen,
            asked: VecDeque::new(),
            has_greeted: false,
            since: Instant::now(),
        }
    }

    /// Opens it.
    ///
    /// # Errors
    /// It does not open, for this reason.
    pub(super) async fn open(
        &mut self,
        services: &Services,
        call: Call,
    ) -> Result<Connection, String> {
        let source = call.source.map(|source| format!(" from {source}")).unwrap_or_default();
        let opened = Connection::open(call).await;
        let (result, text) = match &opened {
            Ok(connection) => {
                let from = connection.local().map(|local| local.ip().to_string());
                let from = from.unwrap_or_else(|| "somewhere".to_owned());
                (StepResult::Good, format!("{} from {from}", self.address))
            }
            Err(reason) => (StepResult::Failed, format!("{reason}{source}")),
        };
        self.tell(Instant::now(), StepKind::Connect, result, text).await;
        // TLS that comes first has been seen by now.
        self.drain(services).await;
        opened
    }

    /// Does something with it, and tells what is seen meanwhile.
    pub(super) async fn follow<T>(
        &mut self,
        services: &Services,
        doing: impl Future<Output = T>,
    ) -> T {
        let mut doing = std::pin::pin!(doing);
        loop {
            tokio::select! {
                biased;
                Some(seen) = self.seen.recv() => self.see(services, seen).await,
                done = &mut doing => {
                    self.drain(services).await;
                    return done;
                }
            }
        }
    }

    async fn drain(&mut self, services: &Services) {
        while let Ok(seen) = self.seen.try_recv() {
            self.see(services, seen).await;
        }
    }

    async fn see(&mut self, services: &Services, seen: Seen) {
        match seen {
            Seen::Note(Note { at, line: Line::Command(command) }) => {
                let kind = kind(&command, self.asked.back().map(|asked| asked.0));
                self.asked.push_back((kind, command, at));
            }
            Seen::Note(Note { at, line: Line::Reply(reply) }) => self.replied(at, &reply).await,
            Seen::Note(Note { line: Line::Body(_), .. }) => {}
            Seen::Handshake(at, Ok((tls, chain))) => {
                let Tls { version, cipher, is_verified } = tls;
                let text = format!("{version} {cipher}");
                self.tell(at, StepKind::StartTls, StepResult::Good, text).await;
                self.certificate(services, &chain, is_verified).await;
            }
            Seen::Handshake(at, Err(why)) => {
                let text = match self.terms.demand() {
                    Demand::Nothing => why,
                    _ => format!("{why}; {}", self.terms),
                };
                self.tell(at, StepKind::StartTls, StepResult::Failed, text).await;
            }
        }
    }

    async fn replied(&mut self, at: Instant, reply: &PeerReply) {
        let (kind, text) = match self.asked.pop_front() {
            Some((kind, command, since)) => {
                self.since = since;
                (kind, format!("{command} → {reply}"))
            }
            None if !self.has_greeted => (StepKind::Greeting, reply.to_string()),
            None => (StepKind::Quit, reply.to_string()),
        };
        self.has_greeted = true;
        let result = match (reply.code, kind) {
            (200..=399, _) => StepResult::Good,
            // It goes on without them.
            (_, StepKind::Hello | StepKind::StartTls | StepKind::Reset | StepKind::Quit) => {
                StepResult::Caution
            }
            _ => StepResult::Failed,
        };
        self.tell(at, kind, result, text).await;
    }

    /// What the certificate says, whether it proves that it is this server's, and by what it was
    /// found good if that was asked.
    async fn certificate(
        &mut self,
        services: &Services,
        chain: &[CertificateDer<'static>],
        is_verified: bool,
    ) {
        let Some(leaf) = chain.first() else { return };
        let facts = match Facts::read(leaf) {
            Some(facts) => words(&facts),
            None => "it cannot be read".to_owned(),
        };
        let (result, proof) = match services.transport.proves(chain, &self.host) {
            Ok(()) => (StepResult::Good, format!("it proves that this is {}", self.host)),
            Err(_) if is_verified => (StepResult::Good, "it is what is asked for".to_owned()),
            Err(why) => (StepResult::Caution, format!("it proves nothing: {why}")),
        };
        let by = match is_verified {
            true => format!("; verified by {}", self.terms.verified_by()),
            false => String::new(),
        };
        let text = format!("{facts}; {proof}{by}");
        self.tell(Instant::now(), StepKind::Certificate, result, text).await;
    }

    /// What we found by ourselves, where a reply would have been told.
    pub(super) async fn found(&mut self, reason: &Reason) {
        // Told when it happened.
        if matches!(reason, Reason::TlsFailed(_) | Reason::LoginRefused(_)) {
            return;
        }
        let kind = match self.asked.front() {
            Some((kind, _, _)) => *kind,
            None if self.has_greeted => StepKind::Hello,
            None => StepKind::Greeting,
        };
        self.tell(Instant::now(), kind, StepResult::Failed, reason.to_string()).await;
    }

    async fn tell(&mut self, at: Instant, kind: StepKind, result: StepResult, text: String) {
        let since = std::mem::replace(&mut self.since, at);
        self.told.tell((since, at), (kind, result), &self.host, text).await;
    }
}

/// What a command is about; what is not shown goes on with the login before it.
fn kind(command: &str, before: Option<StepKind>) -> StepKind {
    match command.split(' ').next().unwrap_or_default() {
        "EHLO" | "HELO" => StepKind::Hello,
        "STARTTLS" => StepKind::StartTls,
        "MAIL" => StepKind::Mail,
        "RCPT" => StepKind::Rcpt,
        "RSET" => StepKind::Reset,
        "QUIT" => StepKind::Quit,
        "AUTH" => StepKind::Login,
        _ => before.unwrap_or(StepKind::Login),
    }
}

/// What a certificate says, on one line.
fn words(facts: &Facts) -> String {
    let Facts { names, issuer, from_s, until_s } = facts;
    let shown: Vec<&str> = names.iter().take(NAMES_SHOWN_MAX).map(String::as_str).collect();
    let more = match names.len().saturating_sub(NAMES_SHOWN_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown = if shown.is_empty() { "nobody".to_owned() } else { shown.join(", ") };
    let issuer = if issuer.is_empty() { "somebody without a name" } else { issuer };
    let (from, until) = (day(*from_s), day(*until_s));
    format!("for {shown}{more}; signed by {issuer}; good from {from} to {until}")
}

/// `2026-11-30`.
fn day(seconds: i64) -> String {
    match Date::from_timestamp(seconds) {
        Some(Date { year, month, day, .. }) => format!("{year:04}-{month:02}-{day:02}"),
        None => "a day that is none".to_owned(),
    }
}
