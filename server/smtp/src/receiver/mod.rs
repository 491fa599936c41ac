//! The receiving side of SMTP as a machine: bytes, time and answers in, actions out.
//!
//! ```text
//!   Pause ─▶ Command ◀──────────────┐        the driver calls, and reads only when there's `room`:
//!              │  ▲                 │          receive(now, bytes)    what the peer sent
//!        a line│  │answer_*         │          timeout(now)           the deadline has passed
//!              ▼  │                 │          answer_*(now, ..)      to what an action asked
//!            Asked┼──▶ Login ───────┤          poll() -> Action       until it gives none
//!                 ├──▶ Body ──▶ Asked (stored?)
//!                 └──▶ Chunk ─▶ Asked, or Command for the next chunk
//! ```
//! Invariants: while an answer is outstanding nothing is parsed and `room` is zero, so a peer that
//! sends faster than we store waits in its own TCP window; input is bounded by `settings`; every
//! body that was begun either ends in `BodyEnd` or in `BodyDropped`, or in a closed session.
//! Not here: sockets, TLS, the clock, who has a mailbox (`server::inbound`).

mod asked;
mod body;
mod commands;
mod helo;
mod input;
mod logins;
mod offers;
mod overheard;
mod tarpit;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::bearer::Token;
use crate::body::BodyDecoder;
use crate::channel_binding::ChannelBindings;
use crate::command::Hello;
use crate::login::{Credentials, Exchange, KeysWanted, Mechanism, Proof};
use crate::parameters::{MailParameters, RcptParameters};
use crate::path::{Recipient, ReversePath};
use crate::receiver::input::Input;
use crate::reply::{Reply, fixed};
use crate::scram::{ClientFirst, Nonce, StoredKeys};
use crate::settings::{self, Settings};

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes.
    Send(Vec<u8>),
    /// May this one send? Answer with [`Receiver::answer_sender`].
    CheckSender(ReversePath),
    /// Does this one get mail here? Answer with [`Receiver::answer_recipient`].
    CheckRecipient(Recipient),
    /// Is this the right password? Answer with [`Receiver::answer_login`].
    Authenticate(Credentials),
    /// Which keys belong to this login? Answer with [`Receiver::answer_keys`].
    FindKeys(KeysWanted),
    /// A login by SCRAM was checked, and was right or wrong. Answer with
    /// [`Receiver::answer_login`]: yes only if it was right and the account may still log in.
    ProofChecked(Proof),
    /// Is this token good, and whose is it? Answer with [`Receiver::answer_login`].
    CheckToken(Token),
    /// Does the certificate that was shown name this one, or anybody if this is empty? Answer with
    /// [`Receiver::answer_login`].
    CheckCertificate(String),
    /// A body comes. Answer with [`Receiver::answer_body`].
    BodyBegin(Envelope),
    /// The next piece of the body: decoded, at most `2 * BODY_INPUT_BYTES_MAX + 2` bytes.
    Body(Vec<u8>),
    /// The body is whole. Keep it, then answer with [`Receiver::answer_end`].
    BodyEnd,
    /// The body that was begun will not be kept: forget it. No answer.
    BodyDropped,
    /// Everything before this is sent: start TLS. Answer with [`Receiver::tls_started`].
    StartTls,
    /// Wait so long before anything else, or until the server stops. No answer.
    Wait(Duration),
    /// Tell whoever watches.
    Note(Note),
    /// Send what is to be sent and hang up. Nothing comes after this.
    Close(CloseReason),
}

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A command was refused. Passwords are not in it.
    CommandRefused {
        /// The command, printable and cut.
        command: String,
        /// The reply line.
        reply: String,
    },
    /// A message was refused after its body began.
    MessageRefused {
        /// Who it was from.
        sender: String,
        /// The reply line.
        reply: String,
    },
    /// A peer did not wait where it must, and was let through.
    Hasty {
        /// The command that something followed.
        command: String,
    },
    /// A line came, while somebody listens in. No password is in it.
    Heard(String),
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer said QUIT.
    Quit,
    /// The peer was silent, or too slow.
    Timeout,
    /// Too many refused commands.
    TooManyErrors,
    /// Too many refused recipients.
    TooManyRecipientsRefused,
    /// Too many recipients that are to be tried later.
    TooManyRecipientsPutOff,
    /// As many messages as one session may have.
    Enough,
    /// Too many commands that bring no mail closer.
    TooManyIdleCommands,
    /// Too many wrong passwords.
    TooManyLogins,
    /// What came was no SMTP.
    NotSmtp,
    /// The peer sent on where it must wait.
    Hasty,
    /// The peer spoke before the greeting.
    EarlyTalker,
    /// Bytes followed STARTTLS in the clear.
    StartTlsInjection,
    /// A message went on and on past its limit.
    Overrun,
    /// A BDAT without a size: where the next command begins is unknown.
    LostTrack,
    /// Who logged in may not any more.
    LoginRevoked,
    /// We shut down.
    Shutdown,
    /// An admin ended it.
    Disconnected,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quit => "quit",
            Self::Timeout => "timeout",
            Self::TooManyErrors => "too many errors",
            Self::TooManyRecipientsRefused => "too many unknown recipients",
            Self::TooManyRecipientsPutOff => "too many recipients put off",
            Self::Enough => "as many messages as a session may have",
            Self::TooManyIdleCommands => "too many commands without mail",
            Self::TooManyLogins => "too many failed logins",
            Self::NotSmtp => "not SMTP",
            Self::Hasty => "did not wait for an answer",
            Self::EarlyTalker => "spoke before the greeting",
            Self::StartTlsInjection => "bytes in the clear after STARTTLS",
            Self::Overrun => "message far too large",
            Self::LostTrack => "BDAT without a valid size",
            Self::LoginRevoked => "the login was revoked",
            Self::Shutdown => "shutdown",
            Self::Disconnected => "ended by an admin",
        })
    }
}

/// Who a message is from and for, as it was said and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Who bounces go to.
    pub sender: ReversePath,
    /// What MAIL said about the message.
    pub parameters: MailParameters,
    /// Who it is for: those the driver said yes to, in order.
    pub recipients: Vec<EnvelopeRecipient>,
}

/// One who a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeRecipient {
    /// Who.
    pub address: Recipient,
    /// What RCPT said about this one.
    pub parameters: RcptParameters,
}

impl fmt::Display for EnvelopeRecipient {
    /// The address without angle brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// What is known about a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// How the peer introduced itself.
    pub hello: Option<Hello>,
    /// TLS, if it is up.
    pub tls: Option<TlsFacts>,
    /// The account that logged in, as the driver named it.
    pub login: Option<String>,
}

/// What was agreed in a TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// For instance `TLS1.3`.
    pub version: String,
    /// For instance `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// What a login can be tied to.
    pub bindings: ChannelBindings,
    /// The peer showed a certificate that names somebody.
    pub is_certified: bool,
}

/// What the driver found about a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginAnswer {
    /// It is right; this is the account.
    Yes(String),
    /// It is wrong, or there is no such account: the peer must not learn which.
    No,
    /// It cannot be told now.
    Later,
}

/// What the driver found for a login by SCRAM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysAnswer {
    /// The keys of the account, with the salt that [`salt`](crate::scram::salt) gives its login,
    /// and a nonce made for this one login. For a login that nobody has, or an account without
    /// keys, those of [`made_up`](crate::scram::made_up): the peer must not learn which.
    Keys(StoredKeys, Nonce),
    /// It cannot be told now.
    Later,
}

/// Where a message stands between its commands.
#[derive(Debug)]
enum Mailing {
    /// There is none.
    None,
    /// MAIL was accepted; recipients come.
    Begun(Envelope),
    /// Some BDAT was accepted; more come.
    Chunked(Incoming),
}

/// A message whose body is on its way.
#[derive(Debug)]
struct Incoming {
    envelope: Envelope,
    decoder: BodyDecoder,
    size_bytes: u64,
    began: Instant,
    /// Why it will be refused at its end, once that is known.
    refused: Option<Reply>,
}

/// How a body arrives.
#[derive(Debug, Clone, Copy)]
enum Arrival {
    Data,
    Chunk { left_bytes: u64, last: bool },
}

/// What a login is decided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    Password,
    Proof { is_right: bool },
    Token,
    Certificate,
}

/// What we wait for the driver to say.
#[derive(Debug)]
enum Question {
    Sender(Envelope),
    Recipient(Envelope, EnvelopeRecipient),
    Login(Means),
    Keys(Mechanism, Box<ClientFirst>),
    Body(Incoming, Arrival),
    End(Incoming),
    Tls,
}

#[derive(Debug)]
enum Phase {
    /// The peer must be silent until we greet.
    Pause,
    /// A command line is next.
    Command(Mailing),
    /// A line of a login is next.
    Login(Mechanism, Exchange),
    /// The body is next.
    Body(Incoming, Arrival),
    /// The bytes of a refused BDAT are next: nobody wants them, this is the reply to them.
    Unwanted { left_bytes: u64, line: String, reply: Reply },
    /// The driver is next.
    Asked(Question),
    /// Nothing is next.
    Closed,
}

/// What a session has used up.
#[derive(Debug, Default)]
struct Counts {
    errors: u32,
    recipients_refused: u32,
    recipients_put_off: u32,
    messages: u32,
    idle_commands: u32,
    login_failures: u32,
    waits: u32,
}

/// One session, seen from the server.
#[derive(Debug)]
pub struct Receiver {
    settings: Settings,
    session: Session,
    phase: Phase,
    input: Input,
    actions: VecDeque<Action>,
    replies: Vec<u8>,
    counts: Counts,
    /// When the session began.
    began: Instant,
    /// The newest time we were told.
    now: Instant,
    /// Since when we wait for the peer.
    since: Instant,
    /// Since when we wait for its EHLO: the greeting, or TLS.
    opened: Instant,
    /// Why the session ends as soon as nothing is outstanding.
    ending: Option<(CloseReason, Reply)>,
    /// How many unknown lines must stay out of the notes: after a refused AUTH comes a password.
    lines_hidden: u8,
    /// The last command we know; empty: none yet.
    last_command: &'static str,
    /// Somebody listens in.
    is_overheard: bool,
}

impl Receiver {
    /// A session that just connected; `tls` if that is up already.
    pub fn new(now: Instant, settings: Settings, tls: Option<TlsFacts>) -> Self {
        let mut receiver = Self {
            session: Session { hello: None, tls, login: None },
            phase: Phase::Pause,
            input: Input::default(),
            actions: VecDeque::new(),
            replies: Vec::new(),
            counts: Counts::default(),
            began: now,
            now,
            since: now,
            opened: now,
            ending: None,
            lines_hidden: 0,
            last_command: "",
            is_overheard: false,
            settings,
        };
        if receiver.settings.greet_pause.is_zero() {
            receiver.greet();
        }
        receiver
    }

    /// What is known about the session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The size that MAIL gave the message (RFC 1870), while a recipient is asked about.
    pub fn declared_bytes(&self) -> Option<u64> {
        match &self.phase {
            Phase::Asked(Question::Recipient(envelope, _)) => envelope.parameters.size_bytes,
            _ => None,
        }
    }

    /// What was set.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many bytes [`receive`](Self::receive) takes now. Read no more than this from the peer,
    /// and nothing while it is zero: then the driver owes an answer, or the session is over.
    pub fn room(&self) -> usize {
        let bytes_max = match self.phase {
            Phase::Asked(_) | Phase::Closed => 0,
            Phase::Pause | Phase::Command(_) | Phase::Login(..) => {
                settings::COMMAND_INPUT_BYTES_MAX
            }
            Phase::Body(..) | Phase::Unwanted { .. } => settings::BODY_INPUT_BYTES_MAX,
        };
        bytes_max.saturating_sub(self.input.len())
    }

    /// Takes what the peer sent, as far as there is [`room`](Self::room); says how much that was.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) -> usize {
        self.now = now;
        let bytes = bytes.get(..self.room()).unwrap_or(bytes);
        if bytes.is_empty() {
            return 0;
        }
        match self.phase {
            Phase::Pause => self.close(CloseReason::EarlyTalker, &fixed::TALKED_TOO_EARLY),
            Phase::Body(..) | Phase::Unwanted { .. } => {
                self.since = now;
                self.input.push(bytes);
            }
            _ => self.input.push(bytes),
        }
        bytes.len()
    }

    /// When [`timeout`](Self::timeout) must be called. `None` while we do not wait for the peer.
    pub fn deadline(&self) -> Option<Instant> {
        let settings = &self.settings;
        let after = |pause: Duration| self.since.checked_add(pause);
        match &self.phase {
            Phase::Pause => after(settings.greet_pause),
            Phase::Command(_) if self.session.hello.is_none() => {
                let whole = self.opened.checked_add(settings.hello_timeout);
                after(settings.command_timeout).into_iter().chain(whole).min()
            }
            Phase::Command(_) => after(settings.command_timeout),
            Phase::Login(..) => after(settings.login_timeout),
            Phase::Unwanted { .. } => after(settings.body_timeout),
            Phase::Body(incoming, _) => {
                let whole = incoming.began.checked_add(settings.body_time_max);
                after(settings.body_timeout).into_iter().chain(whole).min()
            }
            Phase::Asked(_) | Phase::Closed => None,
        }
    }

    /// Tells what time it is. Does nothing before the [`deadline`](Self::deadline).
    pub fn timeout(&mut self, now: Instant) {
        self.now = now;
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.phase {
            Phase::Pause => self.greet(),
            // RFC 5321 3.8: a server that gives up says 421.
            _ => self.close(CloseReason::Timeout, &fixed::IDLE),
        }
    }

    /// Ends the session as soon as nothing is outstanding: what the driver is asked to keep, and
    /// keeps, is still acknowledged (RFC 5321 3.8 has the 421).
    pub fn shut_down(&mut self, now: Instant) {
        self.now = now;
        self.ending = Some((CloseReason::Shutdown, fixed::SHUTTING_DOWN));
    }

    /// Ends the session in the same way: its login is not good any more.
    pub fn revoke_login(&mut self, now: Instant) {
        self.now = now;
        self.ending = Some((CloseReason::LoginRevoked, fixed::LOGIN_REVOKED));
    }

    /// Ends the session in the same way: an admin wants it so.
    pub fn disconnect(&mut self, now: Instant) {
        self.now = now;
        self.ending = Some((CloseReason::Disconnected, fixed::DISCONNECTED));
    }

    /// The next thing to do. `None`: read, or answer.
    pub fn poll(&mut self) -> Option<Action> {
        loop {
            match self.actions.front() {
                Some(Action::Note(_)) => return self.actions.pop_front(),
                Some(_) if self.replies.is_empty() => return self.actions.pop_front(),
                Some(_) => return Some(self.flush()),
                None => {}
            }
            // RFC 2920 3.2: replies to pipelined commands go out together.
            let full = self.replies.len() >= settings::REPLIES_BYTES_MAX;
            if full || !self.step() {
                return (!self.replies.is_empty()).then(|| self.flush());
            }
        }
    }

    fn flush(&mut self) -> Action {
        Action::Send(std::mem::take(&mut self.replies))
    }

    /// Goes one step further with the input there is. Says whether that did anything.
    fn step(&mut self) -> bool {
        match &self.phase {
            Phase::Asked(_) | Phase::Closed => false,
            _ if self.ending.is_some() => {
                if let Some((reason, reply)) = self.ending.take() {
                    self.close(reason, &reply);
                }
                true
            }
            Phase::Pause => false,
            Phase::Command(_) | Phase::Login(..) => self.step_line(),
            Phase::Body(..) => self.step_body(),
            Phase::Unwanted { .. } => self.step_unwanted(),
        }
    }

    fn greet(&mut self) {
        // RFC 5321 4.2: the greeting begins with our name.
        let greeting = format!("220 {} ESMTP Grace\r\n", self.settings.hostname);
        self.replies.extend_from_slice(greeting.as_bytes());
        self.enter(Phase::Command(Mailing::None));
        self.opened = self.now;
    }

    /// Goes to a phase, and gives the peer its time anew.
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = self.now;
    }

    fn ask(&mut self, question: Question, action: Action) {
        self.enter(Phase::Asked(question));
        self.actions.push_back(action);
    }

    fn reply(&mut self, reply: &Reply) {
        match self.actions.back_mut() {
            // Behind a wait: nothing may overtake what is sent after it.
            Some(Action::Send(later)) => reply.encode(later),
            _ => reply.encode(&mut self.replies),
        }
    }

    /// Says why and ends the session.
    fn close(&mut self, reason: CloseReason, reply: &Reply) {
        self.reply(reply);
        if let Phase::Command(Mailing::Chunked(incoming)) | Phase::Body(incoming, _) =
            std::mem::replace(&mut self.phase, Phase::Closed)
        {
            self.drop_body(&incoming);
        }
        self.input.clear();
        self.actions.push_back(Action::Close(reason));
    }

    /// Tells the driver to forget a body that it still holds.
    fn drop_body(&mut self, incoming: &Incoming) {
        if incoming.refused.is_none() {
            self.actions.push_back(Action::BodyDropped);
        }
    }

    /// Refuses a command, and ends the session of a peer that was refused too often.
    fn refuse(&mut self, command: String, reply: &Reply) {
        self.actions
            .push_back(Action::Note(Note::CommandRefused { command, reply: reply.to_string() }));
        let count = self.counts.errors.saturating_add(1);
        self.reply_slowly(reply, count, self.settings.tarpit.errors_free);
        self.count_error();
    }

    fn count_error(&mut self) {
        self.counts.errors += 1;
        if self.counts.errors >= self.settings.errors_max {
            self.close(CloseReason::TooManyErrors, &fixed::TOO_MANY_ERRORS);
        }
    }
}
