//! One SMTP session: the receiver machine of `grace-smtp` joined to a stream, the directory and the
//! mailboxes. It decides nothing about SMTP, and waits for everything that must be waited for.
//!
//! Invariants: every read and write has a deadline; while the machine waits for an answer nothing
//! is read; when this function returns, in whatever way, nothing of the session is left: an upload
//! that was not finished is dropped, and the store forgets it.
//! Not here: the rules of SMTP (`grace_smtp::receiver`), the way of a message (`inbound`), what is
//! asked about strangers (`door`).

mod door;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, sleep_until, timeout};
use zeroize::Zeroizing;

use grace_ipc::event::{EventKind, Service, TraceId};
use grace_mail::date::Date;
use grace_smtp::login::{Credentials, KeysWanted, Mechanism, Proof};
use grace_smtp::path::{Recipient, ReversePath};
use grace_smtp::receiver::{
    Action, CloseReason, Envelope, KeysAnswer, LoginAnswer, Note, Receiver, TlsFacts,
};
use grace_smtp::reply::Reply;
use grace_smtp::settings::{
    COMMAND_INPUT_BYTES_MAX, Extensions, FutureReleaseLimits, Haste, Role, Settings,
};
use grace_smtp::trace;

use self::door::Stranger;
use super::incoming::{Incoming, Lines, Stuck};
use super::names::Names;
use super::submitted::Submitter;
use super::{mailbox, new_queue_id, resolve, since_1970, store_down, store_reply};
use crate::authenticity::Facts;
use crate::directory::expansion::{Mode, Reached};
use crate::directory::guest::{Guest, Verdict};
use crate::directory::settings::Taken;
use crate::directory::tickets::{Ticket, revoked};
use crate::directory::{Destination, Person};
use crate::net::Visit;
use crate::net::client_names;
use crate::net::listener::{self, Ended};
use crate::net::sessions::Live;
use crate::net::stream::Stream;
use crate::net::transcript::Scribe;
use crate::services::Services;
use crate::store::failure::Failure;
use crate::telemetry::bus::claim;

/// Memory to read commands into, in bytes: every idle session has it.
const COMMAND_READ_BYTES: usize = 2 * 1_024;
/// Memory to read bodies into, in bytes.
const BODY_READ_BYTES: usize = 32 * 1_024;
/// After we hang up, how long and how much we still read. Without that the system answers what the
/// peer sent meanwhile with a reset, and the peer never sees our last words.
const LINGER_WAIT: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 256 * 1_024;
/// What the log says of a peer that ended without a word.
const PEER_GONE: &str = "the peer went away";

/// Runs one session to its end.
pub fn run(services: Services, visit: Visit) -> impl Future<Output = Ended> + Send {
    // On the heap, and put there before there is a future: that would have room for it, and for
    // what it is made of, beside it.
    let session = Box::new(session(services, visit));
    session.hold()
}

fn session(services: Services, visit: Visit) -> Session {
    let Visit { service, peer, local, trace, live, stream } = visit;
    let settings = settings(&services, service, peer, local);
    let is_machine = service == Service::Smtp && services.guard.may_relay(peer.ip());
    let receiver = Receiver::new(Instant::now(), settings, tls_facts(&stream));
    let porter = services.porter.clone();
    let guest = Guest::new(services.directory.clone(), porter, service, peer, trace);
    Session {
        bytes: stream.bytes(),
        stream: Some(stream),
        live,
        scribe: None,
        buffer: Vec::new(),
        services,
        service,
        peer,
        trace,
        receiver,
        guest,
        person: None,
        ticket: None,
        is_machine,
        stranger: Stranger::default(),
        goes_on: false,
        body: None,
        sender: String::new(),
        dropped: None,
    }
}

/// What this door allows.
fn settings(
    services: &Services,
    service: Service,
    peer: SocketAddr,
    local: SocketAddr,
) -> Settings {
    let role = match service {
        Service::Submission => Role::Submission,
        Service::Submissions => Role::Submissions,
        _ => Role::Mx,
    };
    let limits = &services.config.limits;
    let count = |limit: u64| u32::try_from(limit).unwrap_or(u32::MAX);
    let defaults = Settings::new(services.config.hostname.clone(), role);
    let rules = services.guard.rules();
    Settings {
        // A password that crosses loopback in the clear is seen by nobody who could not see more.
        login_without_tls: peer.ip().to_canonical().is_loopback(),
        extensions: extensions(services),
        helo_checks: door::helo_checks(services, role, peer, local),
        tarpit: door::tarpit(rules),
        haste: if rules.hasty == "refuse" { Haste::Refuse } else { Haste::Tolerate },
        message_bytes_max: limits.message_bytes_max,
        overrun_bytes_max: limits.message_bytes_max,
        recipients_max: usize::try_from(limits.recipients_max).unwrap_or(usize::MAX),
        errors_max: count(limits.smtp_errors_max),
        messages_max: count(limits.smtp_messages_max),
        recipients_refused_max: count(limits.smtp_recipients_refused_max),
        idle_commands_max: count(limits.smtp_idle_commands_max),
        login_failures_max: count(limits.login_failures_max),
        greet_pause: match role {
            Role::Mx => Duration::from_millis(limits.smtp_greet_pause_ms),
            Role::Submission | Role::Submissions => Duration::ZERO,
        },
        hello_timeout: Duration::from_secs(limits.smtp_idle_probe_s),
        command_timeout: Duration::from_secs(limits.smtp_command_s),
        login_timeout: Duration::from_secs(limits.smtp_login_s),
        body_timeout: Duration::from_secs(limits.smtp_data_s),
        body_time_max: Duration::from_secs(limits.smtp_message_s),
        ..defaults
    }
}

fn extensions(services: &Services) -> Extensions {
    let offered = Extensions {
        // No mail program shows a body that is not made of lines.
        binary_mime: false,
        ..Extensions::DEFAULT
    };
    if services.config.try_mode {
        return Extensions { future_release: None, ..offered };
    }
    let hold_days_max = services.config.queue.hold_days_max;
    let began_s = i64::try_from(since_1970().as_secs()).unwrap_or(i64::MAX);
    let hold_max = Duration::from_secs(hold_days_max * 24 * 3_600);
    let limits = FutureReleaseLimits { hold_max, began_s };
    Extensions { future_release: (hold_days_max > 0).then_some(limits), ..offered }
}

fn tls_facts(stream: &Stream) -> Option<TlsFacts> {
    stream.tls_info().map(|info| TlsFacts {
        version: info.version,
        cipher: info.cipher,
        bindings: stream.bindings(),
        is_certified: !stream.peer_addresses().is_empty(),
    })
}

/// Why the connection is gone, in words.
struct Lost(String);

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A reset, or TLS cut off without its close: not worth more words.
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Self(PEER_GONE.to_owned()),
            _ => Self(format!("connection lost: {error}")),
        }
    }
}

struct Session {
    services: Services,
    service: Service,
    peer: SocketAddr,
    trace: TraceId,
    /// `None` while a TLS handshake has it, and when that failed.
    stream: Option<Stream>,
    /// Bytes in and out before the stream was given to a TLS handshake.
    bytes: (u64, u64),
    /// Its place in the list of those that are open.
    live: Arc<Live>,
    /// Writes down what is spoken, while somebody listens in.
    scribe: Option<Box<Scribe>>,
    buffer: Vec<u8>,
    receiver: Receiver,
    guest: Guest,
    /// Who logged in.
    person: Option<Person>,
    /// Theirs, for as long as they may be in.
    ticket: Option<Ticket>,
    /// It is a machine of ours, which may relay.
    is_machine: bool,
    /// What is found out about somebody else.
    stranger: Stranger,
    /// One of its recipients leads elsewhere.
    goes_on: bool,
    /// The message that comes in; on the heap, for most sessions have none most of the time.
    body: Option<Box<Incoming>>,
    /// The envelope sender that was named last; empty: nobody, as of notifications.
    sender: String,
    /// The names of a message whose body is not wanted any more. On the heap: hardly any session
    /// has them.
    dropped: Option<Box<Names>>,
}

impl Session {
    /// Talks, and parts.
    async fn hold(mut self: Box<Self>) -> Ended {
        let reason = match self.converse().await {
            Ok(reason) => {
                self.hang_up(reason).await;
                reason.to_string()
            }
            Err(lost) => lost.0,
        };
        let bytes = self.stream.as_ref().map_or(self.bytes, Stream::bytes);
        Ended { bytes, reason }
    }

    /// Talks until one side ends it.
    async fn converse(&mut self) -> Result<CloseReason, Lost> {
        loop {
            while let Some(action) = self.receiver.poll() {
                if let Action::Close(reason) = action {
                    return Ok(reason);
                }
                self.act(action).await?;
            }
            self.listen().await?;
        }
    }

    /// Waits for the peer, the clock, or the end of the server.
    async fn listen(&mut self) -> Result<(), Lost> {
        self.begin_inquiry();
        self.be_listed();
        let room = self.receiver.room();
        let in_body = room > COMMAND_INPUT_BYTES_MAX;
        let wanted = if in_body { BODY_READ_BYTES } else { COMMAND_READ_BYTES };
        if self.buffer.len() != wanted {
            self.buffer = vec![0; wanted];
        }
        let stop = &self.services.porter.stop;
        let stream = self.stream.as_mut().ok_or_else(gone)?;
        let deadline = self.receiver.deadline();
        let buffer = self.buffer.get_mut(..room.min(wanted)).unwrap_or_default();
        tokio::select! {
            biased;
            () = stop.wait() => self.receiver.shut_down(Instant::now()),
            () = self.live.asked() => {
                if self.live.is_over() {
                    self.receiver.disconnect(Instant::now());
                }
            }
            () = revoked(self.ticket.as_ref()) => {
                // Said once; the machine ends it.
                self.ticket = None;
                self.receiver.revoke_login(Instant::now());
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now).into()) => {
                self.receiver.timeout(Instant::now());
            }
            read = stream.read(buffer) => {
                let count = read?;
                if count == 0 {
                    return Err(Lost(PEER_GONE.to_owned()));
                }
                let bytes = buffer.get_mut(..count).unwrap_or_default();
                self.receiver.receive(Instant::now(), bytes);
                if !in_body {
                    // There may have been a password.
                    bytes.fill(0);
                }
            }
        }
        Ok(())
    }

    /// Tells the list what it shows, and begins or ends to write down what is spoken.
    fn be_listed(&mut self) {
        if let Some(stream) = &self.stream {
            self.live.count(stream.bytes());
        }
        self.live.commanded(self.receiver.last_command());
        if let Some(hello) = &self.receiver.session().hello {
            self.live.introduced(&hello.claim);
        }
        let is_watched = self.live.is_watched();
        if is_watched != self.scribe.is_some() {
            self.scribe = is_watched.then(|| Box::new(Scribe::new(false)));
            self.receiver.listen_in(is_watched);
        }
    }

    /// Does one thing that the machine asks for. What takes much memory to wait for is put on the
    /// heap, for as long as it takes: each session would have room for it else, idle or not.
    async fn act(&mut self, action: Action) -> Result<(), Lost> {
        match action {
            Action::Send(bytes) => self.send(&bytes).await?,
            Action::CheckSender(sender) => {
                self.sender = sender.to_string();
                let answer = self.check_sender(&sender);
                self.receiver.answer_sender(Instant::now(), answer);
            }
            Action::CheckRecipient(recipient) => {
                let answer = Box::pin(self.check_recipient(&recipient)).await;
                if let Err(reply) = &answer {
                    self.recipient_refused(&recipient, reply);
                }
                self.receiver.answer_recipient(Instant::now(), answer);
            }
            Action::Authenticate(credentials) => Box::pin(self.log_in(credentials)).await,
            Action::FindKeys(KeysWanted { mechanism, login }) => {
                let found = Box::pin(self.guest.keys(mechanism.name(), &login)).await;
                let answer =
                    found.map_or(KeysAnswer::Later, |(k, nonce)| KeysAnswer::Keys(k, nonce));
                self.receiver.answer_keys(Instant::now(), answer);
            }
            Action::ProofChecked(Proof { mechanism, login, right }) => {
                let proof = self.guest.proof(mechanism.name(), &login, right);
                let verdict = Box::pin(proof).await;
                self.answer_login(verdict);
            }
            // Not offered, so never asked.
            Action::CheckToken(token) => {
                let (way, login) = (Mechanism::OauthBearer.name(), token.login.unwrap_or_default());
                let verdict = Box::pin(self.guest.unknown_way(way, &login)).await;
                self.answer_login(verdict);
            }
            Action::CheckCertificate(wish) => Box::pin(self.certify(&wish)).await,
            Action::Wait(time) => self.pause(time).await,
            Action::BodyBegin(envelope) => {
                self.begin_body(envelope);
                self.receiver.answer_body(Instant::now(), Ok(()));
            }
            Action::Body(bytes) => self.keep(&bytes).await,
            Action::BodyEnd => {
                let answer = Box::pin(self.end_body()).await;
                self.receiver.answer_end(Instant::now(), answer);
            }
            Action::BodyDropped => self.drop_body(),
            Action::StartTls => Box::pin(self.start_tls()).await?,
            Action::Note(note) => self.tell(note),
            Action::Close(_) => {}
        }
        Ok(())
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        if let Some(scribe) = &mut self.scribe {
            scribe.sent(&self.live, bytes);
        }
        let wait = Duration::from_secs(self.services.porter.limits.write_s);
        let stream = self.stream.as_mut().ok_or_else(gone)?;
        let sent = timeout(wait, async {
            stream.write_all(bytes).await?;
            stream.flush().await
        });
        match sent.await {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(Lost(format!("the peer read nothing for {} s", wait.as_secs()))),
        }
    }

    /// Whether this sender may be used here, and now.
    fn check_sender(&mut self, sender: &ReversePath) -> Result<(), Reply> {
        self.goes_on = false;
        self.may_use(sender)?;
        self.count_message()
    }

    /// Whether who logged in may send as this one.
    fn may_use(&self, sender: &ReversePath) -> Result<(), Reply> {
        // RFC 8098 3: a mail program sends its receipts with the null path.
        let (Some(person), Some(address)) = (&self.person, sender.mailbox()) else {
            return Ok(());
        };
        match self.services.directory.may_send_as(person, address) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let words = format!("{} may not send as <{address}>", person.address);
                Err(Reply::new(553, (5, 7, 1), &words))
            }
            Err(failure) => Err(self.store_failed(&failure)),
        }
    }

    /// Whether mail for this recipient is taken here.
    async fn check_recipient(&mut self, recipient: &Recipient) -> Result<(), Reply> {
        self.is_at_home(recipient)?;
        self.check_at_door(recipient).await
    }

    /// Whether mail for this recipient is ours to take.
    fn is_at_home(&mut self, recipient: &Recipient) -> Result<(), Reply> {
        match resolve(&self.services.directory, recipient) {
            Ok(Destination::Rewritten(_)) if !self.sender.is_empty() => {
                let words = format!("<{recipient}> takes notifications alone");
                Err(Reply::new(550, (5, 7, 1), &words))
            }
            Ok(Destination::Account(_) | Destination::Alias(_) | Destination::Rewritten(_)) => {
                self.check_way(recipient)
            }
            Ok(Destination::Nobody) => {
                // Of a domain that is disabled nobody is refused for good.
                self.check_taken(recipient)?;
                Err(nobody(recipient))
            }
            Ok(Destination::Elsewhere) if self.person.is_some() || self.is_machine => {
                self.check_onward(recipient)
            }
            Ok(Destination::Elsewhere) if !self.lives_somebody_here()? => {
                let words = "this server has no domain yet, please try again later";
                Err(Reply::new(451, (4, 3, 0), words))
            }
            Ok(Destination::Elsewhere) => {
                Err(Reply::new(550, (5, 7, 1), &format!("<{recipient}>: relaying denied")))
            }
            Err(failure) => Err(self.store_failed(&failure)),
        }
    }

    /// Whether the address of somebody here takes this message, as far as that is known yet.
    fn check_taken(&self, recipient: &Recipient) -> Result<(), Reply> {
        let Recipient::Mailbox(address) = recipient else { return Ok(()) };
        let directory = &self.services.directory;
        let failed = |failure| self.store_failed(&failure);
        match directory.takes(address, self.person.as_ref()).map_err(failed)? {
            Taken::Yes => {}
            // RFC 3463 3.3: X.2.1, mailbox disabled.
            Taken::Later => {
                let words = format!("<{recipient}> takes no mail now, please try again later");
                return Err(Reply::new(450, (4, 2, 1), &words));
            }
            // RFC 3463 3.8: X.7.2, mailing list expansion prohibited.
            Taken::NotFromThere => {
                let words = format!("<{recipient}> does not take mail from you");
                return Err(Reply::new(550, (5, 7, 2), &words));
            }
        }
        let bytes_max = address.domain().map(|domain| directory.message_bytes_max(domain));
        match bytes_max.transpose().map_err(failed)?.flatten() {
            Some(bytes_max) if self.receiver.declared_bytes() > Some(bytes_max) => {
                Err(super::too_large(bytes_max))
            }
            _ => Ok(()),
        }
    }

    /// Whether what a recipient here leads to takes mail.
    fn check_way(&mut self, recipient: &Recipient) -> Result<(), Reply> {
        self.check_taken(recipient)?;
        let expanded = self.services.directory.expand(&[mailbox(recipient)], Mode::Onward);
        let expansion = expanded.map_err(|failure| self.store_failed(&failure))?;
        if expansion.recipients.contains(&Reached::Nobody) {
            return Err(nobody(recipient));
        }
        if !expansion.onward.is_empty() {
            self.check_onward(recipient)?;
            self.goes_on = true;
        }
        self.check_room(recipient, &expansion.accounts)
    }

    /// Whether all of a recipient's accounts have room for the message, as far as its size is known
    /// (RFC 1870 6.2).
    fn check_room(&self, recipient: &Recipient, accounts: &[u64]) -> Result<(), Reply> {
        let Services { mailboxes, guard, .. } = &self.services;
        let bytes = self.receiver.declared_bytes().unwrap_or(0);
        // RFC 3463 3.3: X.2.2, mailbox full.
        let words = format!("<{recipient}> has no room for it");
        for &account in accounts {
            if guard.leaves_out(Instant::now(), account, &self.sender) {
                // Another message may be smaller: it is never for good.
                return Err(Reply::new(452, (4, 2, 2), &words));
            }
            let room = mailboxes.has_room(account, bytes);
            if room.map_err(|failure| self.store_failed(&failure))? {
                continue;
            }
            return Err(match guard.rules().mailbox_full.as_str() {
                "refuse" => Reply::new(552, (5, 2, 2), &words),
                _ => Reply::new(452, (4, 2, 2), &words),
            });
        }
        Ok(())
    }

    /// Whether mail for somebody elsewhere is taken.
    fn check_onward(&self, recipient: &Recipient) -> Result<(), Reply> {
        if self.services.config.try_mode {
            let words = format!("<{recipient}>: nothing is sent to other servers while trying");
            return Err(Reply::new(550, (5, 7, 1), &words));
        }
        if !self.services.outgoing.has_room() {
            let words = "too much mail waits for other servers, please try again later";
            return Err(Reply::new(452, (4, 3, 1), words));
        }
        Ok(())
    }

    /// Whether any domain is ours. Before there is one nobody is refused for good: the admin may
    /// not be done, or looks for the database.
    fn lives_somebody_here(&self) -> Result<bool, Reply> {
        self.services.directory.has_domains().map_err(|failure| self.store_failed(&failure))
    }

    async fn log_in(&mut self, credentials: Credentials) {
        let Credentials { mechanism, login, password } = credentials;
        let password = Zeroizing::new(password.expose().as_bytes().to_vec());
        let verdict = self.guest.password(mechanism.name(), &login, password).await;
        self.answer_login(verdict);
    }

    /// Lets in who showed a certificate for who it wants to be.
    async fn certify(&mut self, wish: &str) {
        let addresses = self.stream.as_ref().map(Stream::peer_addresses).unwrap_or_default();
        let login = client_names::asked(&addresses, wish);
        let verdict = self.guest.certificate(Mechanism::External.name(), login).await;
        self.answer_login(verdict);
    }

    /// Tells the machine what became of a login.
    fn answer_login(&mut self, verdict: Verdict) {
        let answer = match verdict {
            Verdict::Welcome(person, ticket) => {
                let account = person.address.clone();
                self.live.logged_in(&account);
                (self.person, self.ticket) = (Some(person), Some(ticket));
                LoginAnswer::Yes(account)
            }
            Verdict::No => LoginAnswer::No,
            Verdict::Limited | Verdict::NotNow => LoginAnswer::Later,
        };
        self.receiver.answer_login(Instant::now(), answer);
    }

    /// Lets time pass, unless the server stops.
    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = self.services.porter.stop.wait() => {}
            () = sleep(time) => {}
        }
    }

    /// Makes room for a message, and writes down what stands on top of it (RFC 5321 4.4).
    fn begin_body(&mut self, envelope: Envelope) {
        self.dropped = None;
        let queue_id = new_queue_id();
        let now_s = i64::try_from(since_1970().as_secs()).unwrap_or_default();
        let received = Date::from_timestamp(now_s).map(|date| {
            trace::Received {
                session: self.receiver.session(),
                peer: self.peer.ip(),
                hostname: &self.services.config.hostname,
                queue_id: &queue_id,
                parameters: &envelope.parameters,
                recipients: &envelope.recipients,
                date,
            }
            .line()
        });
        let lines = Lines {
            return_path: trace::return_path(&envelope.sender),
            received: received.unwrap_or_default(),
            results: self.results(),
        };
        let facts = self.facts(&envelope);
        let upload = self.services.mailboxes.upload();
        let limit = self.services.porter.limits.header_bytes_max;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let incoming = Incoming::new(queue_id, envelope, lines, upload, limit);
        self.body = Some(Box::new(match (facts, &self.person) {
            (Some(facts), _) => {
                let checked = incoming.checked(self.services.authenticity.clone(), facts);
                if self.goes_on { checked.passed_on() } else { checked }
            }
            (None, Some(Person { id, address })) => {
                incoming.submitted(Submitter { account: *id, address: address.clone() })
            }
            (None, None) if self.is_machine => incoming.submitted(Submitter::machine()),
            (None, None) => incoming,
        }));
    }

    /// What is known of the sender, where it is to be checked: of mail from other servers.
    fn facts(&self, envelope: &Envelope) -> Option<Facts> {
        let peer = self.peer.ip();
        let is_other = self.service == Service::Smtp && self.person.is_none() && !self.is_machine;
        if !is_other || !self.services.authenticity.concerns(peer) {
            return None;
        }
        let hello = self.receiver.session().hello.as_ref();
        let helo = hello.map_or_else(String::new, |hello| hello.claim.clone());
        Some(Facts { peer, helo, sender: envelope.sender.to_string() })
    }

    /// Passes a piece of the body on. Waits while the store is behind; so does the peer.
    async fn keep(&mut self, bytes: &[u8]) {
        if let Some(scribe) = &mut self.scribe {
            scribe.message(&self.live, bytes);
        }
        let Some(body) = &mut self.body else { return };
        let Err(stuck) = body.take(bytes).await else { return };
        self.drop_body();
        let reply = match stuck {
            Stuck::HeaderTooLarge(bytes_max) => Stuck::too_large(bytes_max),
            Stuck::Store(failure) => self.store_failed(&failure),
        };
        self.receiver.fail_body(reply);
    }

    /// Walks the message to its end: `Ok` means on disk for good.
    async fn end_body(&mut self) -> Result<String, Reply> {
        // Without a body the machine was told why before.
        let Some(incoming) = self.body.take() else {
            return Err(store_down());
        };
        match incoming.end(self.trace, self.peer).walk(&self.services).await {
            Ok(stored) => Ok(stored.queue_id),
            Err(rejection) => {
                match &rejection {
                    super::Rejection::Later(super::Cause::Store(failure)) => {
                        self.store_failed(failure);
                    }
                    super::Rejection::Later(super::Cause::Unsigned(why)) => {
                        self.emit(EventKind::StoreFailed { reason: why.clone() });
                    }
                    _ => {}
                }
                Err(rejection.reply())
            }
        }
    }

    /// Tells of a failed store; returns what the peer is told.
    fn store_failed(&self, failure: &Failure) -> Reply {
        if matches!(failure, Failure::Store(_) | Failure::Full(_)) {
            self.emit(EventKind::StoreFailed { reason: failure.to_string() });
        }
        store_reply(failure)
    }

    async fn start_tls(&mut self) -> Result<(), Lost> {
        let stream = self.stream.take().ok_or_else(gone)?;
        self.bytes = stream.bytes();
        let porter = &self.services.porter;
        let secured = listener::secure(porter, self.service, self.peer, self.trace, stream).await;
        let stream = secured.map_err(Lost)?;
        let facts = tls_facts(&stream).ok_or_else(gone)?;
        stream.tls_info().iter().for_each(|info| self.live.secured(info));
        self.stream = Some(stream);
        self.receiver.tls_started(Instant::now(), facts);
        Ok(())
    }

    fn tell(&mut self, note: Note) {
        match note {
            Note::CommandRefused { command, reply } => self.emit(EventKind::CommandRefused {
                service: self.service,
                peer: self.peer,
                command: claim(command.as_bytes()),
                reply,
            }),
            Note::MessageRefused { sender, reply } => {
                if let Some(names) = self.dropped.take() {
                    names.tell(&self.services.porter.bus, self.trace);
                }
                let sender = claim(sender.as_bytes());
                self.emit(EventKind::MessageRefused { sender, reply });
            }
            // Let through, so nothing was decided.
            Note::Hasty { .. } => {}
            Note::Heard(line) => {
                if let Some(scribe) = &mut self.scribe {
                    scribe.heard(&self.live, &line);
                }
            }
        }
    }

    fn recipient_refused(&self, recipient: &Recipient, reply: &Reply) {
        self.emit(EventKind::RecipientRefused {
            peer: self.peer,
            sender: claim(self.sender.as_bytes()),
            recipient: claim(recipient.to_string().as_bytes()),
            reply: reply.to_string(),
        });
    }

    /// Forgets a body that is not wanted, but not whose it is: that is told when it is refused.
    fn drop_body(&mut self) {
        self.dropped = self.body.take().map(|body| Box::new(body.names()));
    }

    fn emit(&self, event: EventKind) {
        self.services.porter.bus.emit(self.trace, event);
    }

    /// Closes our side, and waits a moment for the peer to hear it.
    async fn hang_up(&mut self, reason: CloseReason) {
        let Some(stream) = self.stream.as_mut() else { return };
        let farewell = async {
            stream.shutdown().await?;
            if reason == CloseReason::Quit {
                return Ok(());
            }
            let mut left = LINGER_BYTES_MAX;
            self.buffer.resize(COMMAND_READ_BYTES, 0);
            while left > 0 {
                let count = stream.read(&mut self.buffer).await?;
                if count == 0 {
                    break;
                }
                left = left.saturating_sub(count);
            }
            Ok::<(), io::Error>(())
        };
        // The session is over; a peer that is gone already loses nothing. A stop waits for this
        // too: a reset could take an unread 250 along, and the peer would send the message again.
        drop(timeout(LINGER_WAIT, farewell).await);
    }
}

fn nobody(recipient: &Recipient) -> Reply {
    Reply::new(550, (5, 1, 1), &format!("no mailbox <{recipient}> here"))
}

fn gone() -> Lost {
    Lost("the connection is gone".to_owned())
}
