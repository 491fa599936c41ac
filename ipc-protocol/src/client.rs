//! The blocking client of `gracectl` and the console: a thread, a socket, no runtime.
//!
//! Two ways to use it. [`Client`] asks and waits, and gives pushes one by one: right for a command
//! line. [`Client::split`] gives a [`Sender`] and a [`Receiver`] for two threads: right for a
//! window, where one thread waits for whatever comes and another one asks.
//! Invariants: a push that comes while a reply is awaited is kept, up to [`PUSHES_KEPT_MAX`], then
//! the oldest is dropped and counted as lost, as the daemon does it. Not here: coming back after a
//! lost connection (the caller's business), asynchronous use.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::message::{
    AccountRow, Answer, DomainRow, EventFilter, Failure, Outcome, Push, PushBody, RequestBody,
    Rows, ServerInfo, ServerMessage, Stats,
};
use crate::role::Role;
use crate::session::asker::{
    AskError, Asker, Established, Greeting, GreetingError, HearError, Hearer, Welcome,
};
use crate::transport;
use crate::transport::blocking::Hangup;

/// Pushes kept while a reply is awaited.
pub const PUSHES_KEPT_MAX: usize = 64;

/// Bytes asked for in one read.
const READ_BYTES: usize = 16 * 1024;

/// How to connect.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name and version of this program, for the daemon's log.
    pub software: String,
    /// The role to work in. The daemon may grant less: see [`Welcome::role`].
    pub role: Role,
    /// Longest wait for the hello and for a piece of a reply. Only where the operating system can
    /// (not on Windows' named pipes). `None`: for ever.
    pub patience: Option<Duration>,
}

impl Options {
    /// A program of this name and version; role owner, patience 30 seconds.
    #[must_use]
    pub fn new(software: impl Into<String>) -> Self {
        let patience = Some(Duration::from_secs(30));
        Self { software: software.into(), role: Role::Owner, patience }
    }
}

/// A connection to the daemon that asks and waits.
#[derive(Debug)]
pub struct Client {
    welcome: Welcome,
    sender: Sender,
    receiver: Receiver,
    kept: VecDeque<Push>,
    patience: Option<Duration>,
}

/// What came of a request that went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complete {
    /// The pieces of a list, in order; empty if it was none.
    pub parts: Vec<Rows>,
    /// The last word.
    pub answer: Answer,
}

impl Client {
    /// Connects to the daemon's socket (on Windows: its pipe) and exchanges hellos.
    ///
    /// # Errors
    /// Nobody listens there, or it does not want to talk.
    pub fn connect(path: &Path, options: &Options) -> Result<Self, ClientError> {
        let (read, write, hangup) = transport::blocking::connect(path)
            .map_err(|source| ClientError::Connect { path: path.to_owned(), source })?;
        Self::begin(read, write, hangup, options)
    }

    /// The same over any two streams, such as the standard output and input of an `ssh` that runs
    /// `graced admin-stdio`. There is no patience here: end the process to end the wait.
    ///
    /// # Errors
    /// The other side is no Grace server, or does not want to talk.
    pub fn over(
        read: Box<dyn Read + Send>,
        write: Box<dyn Write + Send>,
        options: &Options,
    ) -> Result<Self, ClientError> {
        Self::begin(read, write, Hangup::none(), options)
    }

    fn begin(
        mut read: Box<dyn Read + Send>,
        mut write: Box<dyn Write + Send>,
        hangup: Hangup,
        options: &Options,
    ) -> Result<Self, ClientError> {
        hangup.bound_reads(options.patience)?;
        hangup.bound_writes(options.patience)?;
        let mut greeting = Greeting::new(&options.software, options.role);
        // A server that refuses may be gone before this is written; its hello says why.
        let written = write.write_all(&greeting.to_bytes()).and_then(|()| write.flush());
        let Established { welcome, asker, hearer } = loop {
            let bytes = match read_some(&mut *read) {
                Err(ClientError::Closed { .. }) if written.is_err() => {
                    return Err(written.err().map_or(ClientError::closed(), ClientError::Io));
                }
                other => other?,
            };
            if let Some(done) = greeting.receive(&bytes).map_err(ClientError::Greeting)? {
                break done;
            }
        };
        let sender = Sender { asker, write, hangup: hangup.clone() };
        let early = VecDeque::new();
        let receiver = Receiver { hearer, read, hangup, early, ended: false };
        Ok(Self { welcome, sender, receiver, kept: VecDeque::new(), patience: options.patience })
    }

    /// What both sides agreed on.
    #[must_use]
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Asks and waits for the last word.
    ///
    /// # Errors
    /// The daemon refused or failed, or the connection did.
    pub fn request(&mut self, body: RequestBody) -> Result<Complete, ClientError> {
        let id = self.sender.send(body)?;
        let mut parts = Vec::new();
        loop {
            let reply = match self.receiver.next_within(self.patience)? {
                ServerMessage::Reply(reply) => reply,
                ServerMessage::Push(push) => {
                    self.keep(push);
                    continue;
                }
                ServerMessage::Goodbye(failure) => return Err(ClientError::Goodbye(failure)),
            };
            if reply.id != id {
                continue;
            }
            match reply.outcome {
                Outcome::Part(rows) => parts.push(rows),
                Outcome::Done(answer) => return Ok(Complete { parts, answer }),
                Outcome::Failed(failure) => return Err(ClientError::Failed(failure)),
            }
        }
    }

    /// Asks for long work and waits for its end. `hear` is given what is told meanwhile, and says
    /// whether to go on; if not, the work is cancelled, and how it ended is the answer as ever.
    ///
    /// # Errors
    /// As [`Client::request`]; [`crate::message::Code::Cancelled`] if it was cancelled in time.
    pub fn work(
        &mut self,
        body: RequestBody,
        hear: &mut dyn FnMut(Rows) -> bool,
    ) -> Result<Answer, ClientError> {
        let id = self.sender.send(body)?;
        let mut is_cancelled = false;
        loop {
            let reply = match self.receiver.next_within(self.patience)? {
                ServerMessage::Reply(reply) => reply,
                ServerMessage::Push(push) => {
                    self.keep(push);
                    continue;
                }
                ServerMessage::Goodbye(failure) => return Err(ClientError::Goodbye(failure)),
            };
            // The answer to the cancel says nothing that the end of the work does not.
            if reply.id != id {
                continue;
            }
            match reply.outcome {
                Outcome::Part(rows) => {
                    if !hear(rows) && !is_cancelled {
                        self.sender.send(RequestBody::Cancel { request: id })?;
                        is_cancelled = true;
                    }
                }
                Outcome::Done(answer) => return Ok(answer),
                Outcome::Failed(failure) => return Err(ClientError::Failed(failure)),
            }
        }
    }

    /// Asks for something that has no answer but "done".
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn order(&mut self, body: RequestBody) -> Result<(), ClientError> {
        match self.request(body)?.answer {
            Answer::Done => Ok(()),
            _ => Err(ClientError::Unexpected),
        }
    }

    /// The daemon.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn server_info(&mut self) -> Result<ServerInfo, ClientError> {
        match self.request(RequestBody::ServerInfo)?.answer {
            Answer::ServerInfo(info) => Ok(info),
            _ => Err(ClientError::Unexpected),
        }
    }

    /// The counters.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn stats(&mut self) -> Result<Stats, ClientError> {
        match self.request(RequestBody::Stats)?.answer {
            Answer::Stats(stats) => Ok(stats),
            _ => Err(ClientError::Unexpected),
        }
    }

    /// All domains.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn domains(&mut self) -> Result<Vec<DomainRow>, ClientError> {
        let mut all = Vec::new();
        for part in self.request(RequestBody::DomainList)?.parts {
            let Rows::Domains(rows) = part else { return Err(ClientError::Unexpected) };
            all.extend(rows);
        }
        Ok(all)
    }

    /// All accounts, or those of one domain.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn accounts(&mut self, domain: Option<&str>) -> Result<Vec<AccountRow>, ClientError> {
        let mut all = Vec::new();
        let body = RequestBody::AccountList { domain: domain.map(str::to_owned) };
        for part in self.request(body)?.parts {
            let Rows::Accounts(rows) = part else { return Err(ClientError::Unexpected) };
            all.extend(rows);
        }
        Ok(all)
    }

    /// Subscribes to events; see [`RequestBody::SubscribeEvents`]. Gives the subscription's id.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn subscribe_events(
        &mut self,
        filter: EventFilter,
        backlog: u32,
        after_seq: u64,
    ) -> Result<u32, ClientError> {
        self.subscribe(RequestBody::SubscribeEvents { filter, backlog, after_seq })
    }

    /// Subscribes to counters; see [`RequestBody::SubscribeStats`]. Gives the subscription's id.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn subscribe_stats(&mut self, interval_ms: u32) -> Result<u32, ClientError> {
        self.subscribe(RequestBody::SubscribeStats { interval_ms })
    }

    fn subscribe(&mut self, body: RequestBody) -> Result<u32, ClientError> {
        match self.request(body)?.answer {
            Answer::Subscribed { subscription } => Ok(subscription),
            _ => Err(ClientError::Unexpected),
        }
    }

    /// The next push; waits for ever if `wait` is `None`, else at most so long.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`] if nothing came in time, or the connection failed.
    pub fn next_push(&mut self, wait: Option<Duration>) -> Result<Push, ClientError> {
        if let Some(push) = self.kept.pop_front() {
            return Ok(push);
        }
        loop {
            match self.receiver.next_within(wait)? {
                ServerMessage::Push(push) => return Ok(push),
                ServerMessage::Reply(_) => {}
                ServerMessage::Goodbye(failure) => return Err(ClientError::Goodbye(failure)),
            }
        }
    }

    /// The next push that came while a reply was awaited; does not wait. After the answer to
    /// [`RequestBody::Ping`] the whole past of an earlier subscription is here.
    pub fn kept_push(&mut self) -> Option<Push> {
        self.kept.pop_front()
    }

    /// Two halves for two threads. Pushes that were kept come out of the receiver first.
    #[must_use]
    pub fn split(self) -> (Sender, Receiver) {
        let mut receiver = self.receiver;
        receiver.early = self.kept;
        (self.sender, receiver)
    }

    fn keep(&mut self, push: Push) {
        self.kept.push_back(push);
        if self.kept.len() <= PUSHES_KEPT_MAX {
            return;
        }
        let Some(Push { subscription, body: PushBody::Events { lost, events } }) =
            self.kept.pop_front()
        else {
            return;
        };
        let gone = lost + events.len() as u64;
        let next = self.kept.iter_mut().find(|push| push.subscription == subscription);
        if let Some(Push { body: PushBody::Events { lost, .. }, .. }) = next {
            *lost += gone;
        }
    }
}

/// The half that asks.
pub struct Sender {
    asker: Asker,
    write: Box<dyn Write + Send>,
    hangup: Hangup,
}

impl Sender {
    /// Sends a request and gives its id; the reply comes out of the [`Receiver`].
    ///
    /// # Errors
    /// The request cannot be written, or the connection is gone.
    pub fn send(&mut self, body: RequestBody) -> Result<u32, ClientError> {
        let (id, bytes) = self.asker.ask(body).map_err(ClientError::Ask)?;
        self.write.write_all(&bytes).and_then(|()| self.write.flush()).map_err(ClientError::Io)?;
        Ok(id)
    }

    /// Ends the connection; a receiver that waits in another thread gets
    /// [`ClientError::Closed`]. Over two plain streams and on Windows the wait ends when the other
    /// side closes.
    pub fn hang_up(&self) {
        self.hangup.hang_up();
    }
}

/// The half that hears.
pub struct Receiver {
    hearer: Hearer,
    read: Box<dyn Read + Send>,
    hangup: Hangup,
    /// Kept by the client before it was split.
    early: VecDeque<Push>,
    ended: bool,
}

impl Receiver {
    /// Waits for the next message.
    ///
    /// # Errors
    /// The connection ended or is damaged; nothing more comes.
    #[expect(clippy::should_implement_trait, reason = "the end has a reason, not only a None")]
    pub fn next(&mut self) -> Result<ServerMessage, ClientError> {
        self.next_within(None)
    }

    /// Waits at most so long for the next message, where the operating system can.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`] if nothing came in time; otherwise as [`Receiver::next`].
    pub fn next_within(&mut self, wait: Option<Duration>) -> Result<ServerMessage, ClientError> {
        if let Some(push) = self.early.pop_front() {
            return Ok(ServerMessage::Push(push));
        }
        loop {
            if let Some(message) = self.hearer.next().map_err(ClientError::Hear)? {
                return Ok(message);
            }
            if self.ended {
                return Err(ClientError::Closed { inside_message: self.hearer.is_inside_frame() });
            }
            self.hangup.bound_reads(wait)?;
            match read_some(&mut *self.read) {
                Ok(bytes) => self.hearer.receive(&bytes),
                Err(ClientError::Closed { .. }) => self.ended = true,
                Err(other) => return Err(other),
            }
        }
    }
}

fn read_some(read: &mut dyn Read) -> Result<Vec<u8>, ClientError> {
    let mut bytes = vec![0; READ_BYTES];
    loop {
        match read.read(&mut bytes) {
            Ok(0) => return Err(ClientError::closed()),
            Ok(length) => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::TimedOut,
                    // The peer died with our bytes unread, or we hung up ourselves.
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                        ClientError::closed()
                    }
                    _ => ClientError::Io(error),
                });
            }
        }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("asker", &self.asker).finish_non_exhaustive()
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// Why the client cannot go on.
#[derive(Debug)]
pub enum ClientError {
    /// Nobody listens there.
    Connect {
        /// Where.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The hello failed.
    Greeting(GreetingError),
    /// The request could not be written.
    Ask(AskError),
    /// The daemon said what we cannot read.
    Hear(HearError),
    /// The daemon refused the request or failed at it; the connection goes on.
    Failed(Failure),
    /// The daemon ended the connection and says why.
    Goodbye(Failure),
    /// The daemon answered another question: its mistake.
    Unexpected,
    /// Nothing came in time; the connection goes on.
    TimedOut,
    /// The connection is over.
    Closed {
        /// It was cut in the middle of a message.
        inside_message: bool,
    },
    /// The operating system failed.
    Io(io::Error),
}

impl ClientError {
    fn closed() -> Self {
        Self::Closed { inside_message: false }
    }
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { path, source } => {
                let hint = match source.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                        "is graced running?"
                    }
                    io::ErrorKind::PermissionDenied => "are you its owner, or in the admin group?",
                    _ => "can it be reached?",
                };
                write!(f, "cannot connect to {}: {source}; {hint}", path.display())
            }
            Self::Greeting(error) => error.fmt(f),
            Self::Ask(error) => error.fmt(f),
            Self::Hear(error) => write!(f, "the daemon's words cannot be read: {error}"),
            Self::Failed(failure) => failure.fmt(f),
            Self::Goodbye(failure) => write!(f, "the daemon ended the connection: {failure}"),
            Self::Unexpected => f.write_str("the daemon gave an answer that fits no question"),
            Self::TimedOut => f.write_str("the daemon did not answer in time"),
            Self::Closed { inside_message: false } => f.write_str("the connection was closed"),
            Self::Closed { inside_message: true } => {
                f.write_str("the connection was cut in the middle of a message")
            }
            Self::Io(error) => write!(f, "the connection failed: {error}"),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect { source, .. } | Self::Io(source) => Some(source),
            Self::Greeting(error) => Some(error),
            Self::Ask(error) => Some(error),
            Self::Hear(error) => Some(error),
            Self::Failed(failure) | Self::Goodbye(failure) => Some(failure),
            _ => None,
        }
    }
}
