//! One SMTP session: the receiver machine of `grace-smtp` joined to a stream, the directory and the
//! mailboxes. It decides nothing about SMTP, and waits for everything that must be waited for.
//!
//! Invariants: every read and write has a deadline; while the machine waits for an answer nothing
//! is read; when this function returns, in whatever way, nothing of the session is left: an upload
//! that was not finished is dropped, and the store forgets it.
//! Not here: the rules of SMTP (`grace_smtp::receiver`), the way of a message (`inbound`).

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, sleep_until, timeout};
use zeroize::Zeroizing;

use grace_ipc::event::{EventKind, Service, TraceId};
use grace_mail::date::Date;
use grace_smtp::channel_binding::ChannelBindings;
use grace_smtp::login::Credentials;
use grace_smtp::path::{Recipient, ReversePath};
use grace_smtp::receiver::{
    Action, CloseReason, Envelope, KeysAnswer, LoginAnswer, Note, Receiver, TlsFacts,
};
use grace_smtp::reply::Reply;
use grace_smtp::settings::{
    COMMAND_INPUT_BYTES_MAX, Extensions, FutureReleaseLimits, HeloChecks, Role, Settings,
};
use grace_smtp::trace;

use super::incoming::{Incoming, Lines, Stuck};
use super::submitted::Submitter;
use super::{new_queue_id, resolve, since_1970, store_down, store_reply};
use crate::authenticity::Facts;
use crate::directory::{Destination, Login, Person};
use crate::net::Visit;
use crate::net::listener::{self, Ended};
use crate::net::stream::Stream;
use crate::services::Services;
use crate::store::failure::Failure;
use crate::telemetry::bus::claim;

/// Memory to read commands into, in bytes: every idle session has it.
const COMMAND_READ_BYTES: usize = 2 * 1_024;
/// Memory to read bodies into, in bytes.
const BODY_READ_BYTES: usize = 32 * 1_024;
/// How often the wait after a wrong password doubles: eight times the first is the longest.
const DELAY_DOUBLINGS_MAX: u32 = 3;
/// After we hang up, how long and how much we still read. Without that the system answers what the
/// peer sent meanwhile with a reset, and the peer never sees our last words.
const LINGER_WAIT: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 256 * 1_024;
/// What the log says of a peer that ended without a word.
const PEER_GONE: &str = "the peer went away";

/// Runs one session to its end.
pub async fn run(services: Services, visit: Visit) -> Ended {
    let Visit { service, peer, local, trace, stream } = visit;
    let settings = settings(&services, service, peer, local);
    let receiver = Receiver::new(Instant::now(), settings, tls_facts(&stream));
    let mut session = Session {
        bytes: stream.bytes(),
        stream: Some(stream),
        buffer: Vec::new(),
        services,
        service,
        peer,
        trace,
        receiver,
        person: None,
        login_failures: 0,
        body: None,
    };
    let reason = match session.converse().await {
        Ok(reason) => {
            session.hang_up(reason).await;
            reason.to_string()
        }
        Err(lost) => lost.0,
    };
    let bytes = session.stream.as_ref().map_or(session.bytes, Stream::bytes);
    Ended { bytes, reason }
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
    let is_house = peer.ip().to_canonical().is_loopback() || peer.ip() == local.ip();
    Settings {
        // A password that crosses loopback in the clear is seen by nobody who could not see more.
        login_without_tls: peer.ip().to_canonical().is_loopback(),
        extensions: extensions(services, role),
        // Nothing but hashes is kept of passwords.
        scram: false,
        helo_checks: HeloChecks {
            refuse_own: !is_house,
            own_addresses: vec![local.ip()],
            ..defaults.helo_checks
        },
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

fn extensions(services: &Services, role: Role) -> Extensions {
    let offered = Extensions {
        // No mail program shows a body that is not made of lines.
        binary_mime: false,
        // To keep that promise on the way out, a server's certificate must be known to be its own.
        require_tls: role == Role::Mx,
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
        bindings: ChannelBindings::default(),
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
    buffer: Vec<u8>,
    receiver: Receiver,
    /// Who logged in.
    person: Option<Person>,
    login_failures: u32,
    /// The message that comes in; on the heap, for most sessions have none most of the time.
    body: Option<Box<Incoming>>,
}

impl Session {
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
            () = stop.wait() => self.receiver.shut_down(Instant::now()),
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

    /// Does one thing that the machine asks for. What takes much memory to wait for is put on the
    /// heap, for as long as it takes: each session would have room for it else, idle or not.
    async fn act(&mut self, action: Action) -> Result<(), Lost> {
        match action {
            Action::Send(bytes) => self.send(&bytes).await?,
            Action::CheckSender(sender) => {
                let answer = self.check_sender(&sender);
                self.receiver.answer_sender(Instant::now(), answer);
            }
            Action::CheckRecipient(recipient) => {
                let answer = self.check_recipient(&recipient);
                self.receiver.answer_recipient(Instant::now(), answer);
            }
            Action::Authenticate(credentials) => {
                let answer = Box::pin(self.log_in(credentials)).await;
                self.receiver.answer_login(Instant::now(), answer);
            }
            // Not offered, so never asked.
            Action::FindKeys(_) => self.receiver.answer_keys(Instant::now(), KeysAnswer::Later),
            Action::ProofChecked(_) | Action::CheckToken(_) => {
                self.receiver.answer_login(Instant::now(), LoginAnswer::Later);
            }
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
            Action::BodyDropped => self.body = None,
            Action::StartTls => Box::pin(self.start_tls()).await?,
            Action::Note(note) => self.tell(note),
            Action::Close(_) => {}
        }
        Ok(())
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Lost> {
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

    /// Whether this sender may be used here.
    fn check_sender(&self, sender: &ReversePath) -> Result<(), Reply> {
        // RFC 8098 3: a mail program sends its receipts with the null path.
        let (Some(person), Some(address)) = (&self.person, sender.mailbox()) else {
            return Ok(());
        };
        match self.services.directory.resolve(address) {
            Ok(Destination::Account(owner)) if owner.id == person.id => Ok(()),
            Ok(Destination::Alias(people)) if people.contains(person) => Ok(()),
            Ok(_) => {
                let words = format!("{} may not send as <{address}>", person.address);
                Err(Reply::new(553, (5, 7, 1), &words))
            }
            Err(failure) => Err(self.store_failed(&failure)),
        }
    }

    /// Whether mail for this recipient is taken here.
    fn check_recipient(&self, recipient: &Recipient) -> Result<(), Reply> {
        match resolve(&self.services.directory, recipient) {
            Ok(Destination::Account(_) | Destination::Alias(_)) => Ok(()),
            Ok(Destination::Nobody) => {
                Err(Reply::new(550, (5, 1, 1), &format!("no mailbox <{recipient}> here")))
            }
            Ok(Destination::Elsewhere) if self.person.is_some() => self.check_onward(recipient),
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

    /// Whether mail for somebody elsewhere is taken from one of our own people.
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

    /// Checks a password, and takes its time over a wrong one.
    async fn log_in(&mut self, credentials: Credentials) -> LoginAnswer {
        let Credentials { mechanism, login, password } = credentials;
        let password = Zeroizing::new(password.expose().as_bytes().to_vec());
        let (service, peer) = (self.service, self.peer);
        let mechanism = mechanism.name().to_owned();
        let failed = |reason: &str| EventKind::LoginFailed {
            service,
            peer,
            login: claim(login.as_bytes()),
            mechanism: mechanism.clone(),
            reason: reason.to_owned(),
        };
        match self.services.directory.authenticate(&login, password).await {
            Login::Welcome(person) => {
                let account = person.address.clone();
                self.services.porter.bans.succeeded(peer.ip());
                self.person = Some(person);
                self.emit(EventKind::LoginSucceeded {
                    service,
                    peer,
                    account: account.clone(),
                    mechanism,
                });
                LoginAnswer::Yes(account)
            }
            Login::Wrong => {
                self.emit(failed("wrong login or password"));
                self.slow_down().await;
                LoginAnswer::No
            }
            Login::Unavailable(reason) => {
                self.emit(failed(&reason));
                LoginAnswer::Later
            }
        }
    }

    /// Makes guessing slow: each wrong password of a session waits twice as long as the one before.
    async fn slow_down(&mut self) {
        let first_ms = self.services.porter.limits.login_failure_delay_ms;
        let of_address = self.services.porter.bans.failed(Instant::now(), self.peer.ip());
        let before = self.login_failures.max(of_address.saturating_sub(1));
        let doublings = before.min(DELAY_DOUBLINGS_MAX);
        self.login_failures += 1;
        self.pause(Duration::from_millis(first_ms << doublings)).await;
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
        };
        let facts = self.facts(&envelope);
        let upload = self.services.mailboxes.upload();
        let limit = self.services.porter.limits.header_bytes_max;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let incoming = Incoming::new(queue_id, envelope, lines, upload, limit);
        self.body = Some(Box::new(match (facts, &self.person) {
            (Some(facts), _) => incoming.checked(self.services.authenticity.clone(), facts),
            (None, Some(Person { id, address })) => {
                incoming.submitted(Submitter { account: *id, address: address.clone() })
            }
            (None, None) => incoming,
        }));
    }

    /// What is known of the sender, where it is to be checked: of mail from other servers.
    fn facts(&self, envelope: &Envelope) -> Option<Facts> {
        let peer = self.peer.ip();
        let is_other = self.service == Service::Smtp && self.person.is_none();
        if !is_other || !self.services.authenticity.concerns(peer) {
            return None;
        }
        let hello = self.receiver.session().hello.as_ref();
        let helo = hello.map_or_else(String::new, |hello| hello.claim.clone());
        Some(Facts { peer, helo, sender: envelope.sender.to_string() })
    }

    /// Passes a piece of the body on. Waits while the store is behind; so does the peer.
    async fn keep(&mut self, bytes: &[u8]) {
        let Some(body) = &mut self.body else { return };
        let Err(stuck) = body.take(bytes).await else { return };
        self.body = None;
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
        self.stream = Some(stream);
        self.receiver.tls_started(Instant::now(), facts);
        Ok(())
    }

    fn tell(&self, note: Note) {
        match note {
            Note::CommandRefused { command, reply } => self.emit(EventKind::CommandRefused {
                service: self.service,
                peer: self.peer,
                command: claim(command.as_bytes()),
                reply,
            }),
            Note::MessageRefused { sender, reply } => {
                let sender = claim(sender.as_bytes());
                self.emit(EventKind::MessageRefused { sender, reply });
            }
            // Let through, so nothing was decided.
            Note::Hasty { .. } => {}
        }
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

fn gone() -> Lost {
    Lost("the connection is gone".to_owned())
}
