//! The sending side of SMTP as a machine: bytes, time and answers in, actions out. The twin of
//! [`receiver`](crate::receiver).
//!
//! ```text
//!   Opening ───────────▶ Idle ──deliver──▶ Envelope ─────▶ Body ─────▶ Ending
//!    greeting, EHLO,      ▲ │               MAIL, RCPT,     NeedBody     the final reply
//!    STARTTLS ⇄ Tls,      │ │               DATA                            │
//!    EHLO, AUTH           │ └─ quit,          │    Settled                  │
//!                         │    time           ▼                             │
//!                         └───────────────  Clearing (RSET)  ◀──────────────┘
//!   from everywhere: Quitting (QUIT) ─▶ Closed
//!
//!   the driver calls                             and does what poll() says until it gives none
//!     receive(now, bytes)  what the peer sent      Send      write it, and mind the deadline()
//!     timeout(now)         deadline() has passed   StartTls  ─▶ tls_started / tls_failed
//!     peer_gone(now)       the connection broke    NeedBody  ─▶ body / body_end / body_failed
//!     deliver(now, job)    at once, or at Ready    Settled   keep it: the job is done
//!     quit(now)            no more jobs            Ready     ─▶ deliver / quit, or wait
//!                                                  Close     flush, hang up: the last action
//! ```
//! A driver reads from the peer all the time, also while it writes and while it fetches a piece of
//! the body: a server may refuse a message in its middle, and one that cannot write its replies
//! reads no commands. It reads nothing while [`room`](Sender::room) is zero. One piece of the body
//! is under way at a time, so that a message of any size takes the memory of one piece.
//!
//! A [`Job`] may be given at once, before the session is open: then it hears why when it does not
//! open. Each job is answered with one `Settled`, whatever happens, before `Close`.
//!
//! Invariants: a recipient is delivered only by a 2yz to the whole message; a reply counts for the
//! command it answers, and what cannot be assigned ends the session; input, output and time are
//! bounded by `settings`; no password gets into a note.
//! Not here: sockets, TLS, the clock; which host, and what to do when it fails (`server::outbound`,
//! `grace_queue`).

mod body;
mod dots;
mod envelope;
pub mod extensions;
pub mod job;
mod opening;
pub mod outcome;
pub mod reply;
pub mod settings;
#[cfg(test)]
mod tests;
mod transaction;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::reply::printable;
use crate::sender::body::Framing;
use crate::sender::extensions::Extensions;
use crate::sender::job::Job;
use crate::sender::outcome::{Failure, Outcome, Reason, Stage};
use crate::sender::reply::{BadReply, PeerReply, RawReply, ReplyReader};
use crate::sender::settings::{LINE_SHOWN_BYTES_MAX, Settings};
use crate::sender::transaction::{Progress, Transaction, Used};

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes. If that is not done by the deadline, call [`Sender::timeout`]. There may
    /// be a password in them: a trace is made of `Note`, not of this.
    Send(Vec<u8>),
    /// Everything before this is sent: start TLS. Answer with [`Sender::tls_started`] or
    /// [`Sender::tls_failed`].
    StartTls,
    /// The next piece of the job's message. Answer with [`Sender::body`] and a piece of at most
    /// [`BODY_PIECE_BYTES_MAX`](settings::BODY_PIECE_BYTES_MAX), or with [`Sender::body_end`], or
    /// with [`Sender::body_failed`]. `Settled` withdraws it.
    NeedBody,
    /// The job is done: what became of each recipient, in the order of the job.
    Settled(Vec<Outcome>),
    /// The session is open and idle: give it a job with [`Sender::deliver`], or [`Sender::quit`].
    Ready,
    /// Tell whoever watches.
    Note(Note),
    /// Send what is to be sent and hang up. Nothing comes after this.
    Close(CloseReason),
}

/// A line of the dialogue, for a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// When it was said or heard.
    pub at: Instant,
    /// What.
    pub line: Line,
}

/// What was said or heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Our command, cut; passwords are not in it.
    Command(String),
    /// The body was sent: its size as it came from the driver, in bytes.
    Body(u64),
    /// The peer's reply.
    Reply(PeerReply),
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The driver wanted it.
    Quit,
    /// There was no job for a while.
    Idle,
    /// As many messages, or domains, as one session may have: by our settings or by the peer's
    /// limits. For more, connect again.
    Enough,
    /// The peer ended it while nothing was under way, which is its right.
    PeerLeft,
    /// It could not go on. What had no outcome got this one.
    Failed(Failure),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quit => f.write_str("quit"),
            Self::Idle => f.write_str("no more to send"),
            Self::Enough => f.write_str("as much as one session may have"),
            Self::PeerLeft => f.write_str("the peer ended an idle session"),
            Self::Failed(failure) => write!(f, "failed: {failure}"),
        }
    }
}

/// What was agreed in a TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// For instance `TLS1.3`.
    pub version: String,
    /// For instance `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Whether the certificate is that of the host the mail is for: by DANE, by MTA-STS, or by a
    /// name that was configured. REQUIRETLS needs it (RFC 8689 4.2.1).
    pub is_verified: bool,
}

/// A command that waits for its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Auth(opening::Login),
    Mail,
    /// With the recipient's place in the job.
    Rcpt(usize),
    Data,
    Chunk,
    /// The final dot, or the last chunk.
    End,
    /// A final dot for nobody (RFC 2920 3.1).
    LoneDot,
    Reset,
    Quit,
}

impl Asked {
    fn stage(self) -> Stage {
        match self {
            Self::Greeting => Stage::Greeting,
            Self::Ehlo | Self::Helo => Stage::Hello,
            Self::StartTls => Stage::StartTls,
            Self::Auth(_) => Stage::Auth,
            Self::Mail => Stage::Mail,
            Self::Rcpt(_) => Stage::Rcpt,
            Self::Data => Stage::Data,
            Self::Chunk => Stage::Body,
            Self::End | Self::LoneDot => Stage::End,
            Self::Reset => Stage::Reset,
            Self::Quit => Stage::Quit,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// Greeting, EHLO, STARTTLS, AUTH.
    Opening,
    /// The driver does the TLS handshake.
    Tls,
    /// Nothing is under way.
    Idle,
    /// Commands of the envelope are under way.
    Envelope,
    /// The driver has the next piece of the body, or the peer the last ones.
    Body(Framing),
    /// The whole message is sent.
    Ending,
    /// All is settled, but the peer has something left to answer.
    Clearing,
    /// QUIT is sent.
    Quitting(CloseReason),
    /// Nothing is next.
    Closed,
}

/// One session, seen from the client.
#[derive(Debug)]
pub struct Sender {
    settings: Settings,
    phase: Phase,
    tls: Option<Tls>,
    peer_name: Option<String>,
    extensions: Extensions,
    unanswered: VecDeque<Asked>,
    transaction: Option<Transaction>,
    /// Bytes of the body so far, as they came from the driver.
    body_bytes: u64,
    used: Used,
    input: ReplyReader,
    output: Vec<u8>,
    actions: VecDeque<Action>,
    /// The newest time we were told.
    now: Instant,
    /// Since when we wait.
    since: Instant,
    is_stopping: bool,
    /// The connection broke: what came before is still read, nothing is sent.
    is_gone: bool,
}

impl Sender {
    /// A session that just connected; `tls` if that is up already (port 465, RFC 8314).
    pub fn new(now: Instant, settings: Settings, tls: Option<Tls>) -> Self {
        Self {
            settings,
            phase: Phase::Opening,
            tls,
            peer_name: None,
            extensions: Extensions::default(),
            unanswered: VecDeque::from([Asked::Greeting]),
            transaction: None,
            body_bytes: 0,
            used: Used::default(),
            input: ReplyReader::default(),
            output: Vec::new(),
            actions: VecDeque::new(),
            now,
            since: now,
            is_stopping: false,
            is_gone: false,
        }
    }

    /// What the peer offers, as far as is known.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// What the peer calls itself in its reply to EHLO, printable and cut. A claim, not a fact; but
    /// if it is our own name, we talk to ourselves.
    pub fn peer_name(&self) -> Option<&str> {
        self.peer_name.as_deref()
    }

    /// TLS, if it is up.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Whether a message is sent to its end and not answered: it may have been delivered, and who
    /// hangs up now delivers it twice (RFC 1047).
    pub fn awaits_verdict(&self) -> bool {
        self.unanswered.contains(&Asked::End)
    }

    /// How many bytes [`receive`](Self::receive) takes now. Read no more than this from the peer,
    /// and nothing while it is zero: then TLS is to be started, or the session is over.
    pub fn room(&self) -> usize {
        match self.phase {
            Phase::Tls | Phase::Closed => 0,
            _ => self.input.room(),
        }
    }

    /// Takes what the peer sent, as far as there is [`room`](Self::room); says how much that was.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) -> usize {
        self.now = now;
        let bytes = bytes.get(..self.room()).unwrap_or(bytes);
        self.input.push(now, bytes);
        bytes.len()
    }

    /// The connection broke, or the peer closed it. What came before still counts: when a write
    /// fails, read what is left first, for it may say why.
    pub fn peer_gone(&mut self, now: Instant) {
        self.now = now;
        self.is_gone = true;
        self.output.clear();
    }

    /// Hands over a job: before the session is open, or when it is [`Action::Ready`]. Gives it back
    /// if the session takes none now: another one is under way, or the session is ending.
    pub fn deliver(&mut self, now: Instant, job: Job) -> Result<(), Job> {
        self.now = now;
        let takes_jobs = matches!(self.phase, Phase::Opening | Phase::Tls | Phase::Idle);
        if self.transaction.is_some() || self.is_stopping || self.is_gone || !takes_jobs {
            return Err(job);
        }
        self.transaction = Some(Transaction::new(job));
        if self.phase == Phase::Idle {
            self.begin_job();
        }
        Ok(())
    }

    /// Ends the session with QUIT as soon as no job is under way.
    pub fn quit(&mut self, now: Instant) {
        self.now = now;
        self.is_stopping = true;
        if self.phase == Phase::Idle {
            self.say_quit(CloseReason::Quit);
        }
    }

    /// When [`timeout`](Self::timeout) must be called: whatever is waited for, the peer's replies,
    /// its reading of what is sent, the handshake, or the driver's next job. `None` once closed.
    pub fn deadline(&self) -> Option<Instant> {
        self.limits().into_iter().filter_map(|(end, _)| end).min()
    }

    /// What ends when, and what is to blame then.
    fn limits(&self) -> [(Option<Instant>, Reason); 3] {
        let stage = self.stage();
        let began = self.transaction.as_ref().and_then(Transaction::began);
        let pause = match self.phase {
            Phase::Tls => self.settings.tls_timeout,
            _ => self.timeout_of(stage),
        };
        let after = |since: Option<Instant>, pause: Duration| {
            since.filter(|_| self.phase != Phase::Closed)?.checked_add(pause)
        };
        [
            (after(Some(self.since), pause), Reason::Timeout(stage)),
            (after(self.input.began(), self.settings.reply_time_max), Reason::SlowReply),
            (after(began, self.settings.transaction_time_max), Reason::SlowTransaction),
        ]
    }

    fn timeout_of(&self, stage: Stage) -> Duration {
        let settings = &self.settings;
        match stage {
            Stage::Greeting => settings.greeting_timeout,
            Stage::Hello | Stage::StartTls => settings.hello_timeout,
            Stage::Auth => settings.login_timeout,
            Stage::Mail => settings.mail_timeout,
            Stage::Rcpt => settings.rcpt_timeout,
            Stage::Data => settings.data_timeout,
            Stage::Body => settings.block_timeout,
            Stage::End => settings.end_timeout,
            Stage::Reset => settings.reset_timeout,
            Stage::Quit => settings.quit_timeout,
            Stage::Idle => settings.idle_timeout,
        }
    }

    /// Tells what time it is. Does nothing before the [`deadline`](Self::deadline).
    pub fn timeout(&mut self, now: Instant) {
        self.now = now;
        let is_over = |end: Option<Instant>| end.is_some_and(|end| now >= end);
        let Some((_, reason)) = self.limits().into_iter().find(|(end, _)| is_over(*end)) else {
            return;
        };
        match self.phase {
            Phase::Idle => self.say_quit(CloseReason::Idle),
            _ => self.fail(Failure::found(reason)),
        }
    }

    /// The next thing to do. `None`: read, write, or wait.
    pub fn poll(&mut self) -> Option<Action> {
        loop {
            match self.actions.front() {
                Some(Action::Note(_)) => return self.actions.pop_front(),
                Some(_) if self.output.is_empty() => return self.actions.pop_front(),
                Some(_) => return Some(self.flush()),
                None => {}
            }
            // What is to be sent goes out before more replies are looked at, so that it is bounded.
            if !self.output.is_empty() {
                return Some(self.flush());
            }
            if !self.step() {
                return None;
            }
        }
    }

    fn flush(&mut self) -> Action {
        Action::Send(std::mem::take(&mut self.output))
    }

    /// Takes the next reply, if there is one. Says whether there was anything to do.
    fn step(&mut self) -> bool {
        if self.phase == Phase::Closed {
            return false;
        }
        match self.input.next(self.now) {
            Some(Ok(raw)) => self.answered(&raw),
            Some(Err(BadReply::Garbage(line))) => {
                self.fail(Failure::found(Reason::Garbage(line)));
            }
            Some(Err(BadReply::TooLong)) => self.fail(Failure::found(Reason::ReplyTooLong)),
            None if self.is_gone && self.phase == Phase::Idle => {
                self.hang_up(CloseReason::PeerLeft);
            }
            None if self.is_gone => {
                self.fail(Failure::found(Reason::ConnectionLost(self.stage())));
            }
            None => return false,
        }
        true
    }

    /// What we wait for.
    fn stage(&self) -> Stage {
        match (self.unanswered.front(), &self.phase) {
            (Some(asked), _) => asked.stage(),
            (None, Phase::Body(_)) => Stage::Body,
            (None, Phase::Opening | Phase::Tls) => Stage::StartTls,
            (None, _) => Stage::Idle,
        }
    }

    /// One whole reply came.
    fn answered(&mut self, raw: &RawReply) {
        let stage = self.stage();
        let asked = self.unanswered.pop_front();
        let mut reply = PeerReply::new(raw, stage);
        if matches!(asked, Some(Asked::Auth(_))) && self.tells_login(raw) {
            reply = reply.hidden();
        }
        self.since = self.now;
        self.note(Line::Reply(reply.clone()));
        let Some(asked) = asked else { return self.unasked(reply) };
        if reply.code == 421 && asked != Asked::Quit {
            // RFC 5321 3.8: it hangs up, whatever it was asked.
            return self.fail(Failure::replied(reply));
        }
        match asked {
            Asked::Greeting => self.greeted(reply),
            Asked::Ehlo | Asked::Helo => self.hello_answered(asked, raw, reply),
            Asked::StartTls => self.start_tls_answered(reply),
            Asked::Auth(login) => self.auth_answered(login, reply),
            Asked::Mail | Asked::Rcpt(_) | Asked::Data => self.envelope_answered(asked, reply),
            Asked::Chunk => self.chunk_answered(reply),
            Asked::End => self.end_answered(reply),
            Asked::LoneDot | Asked::Reset => self.cleared(asked, reply),
            Asked::Quit => {
                if let Phase::Quitting(reason) = self.phase.clone() {
                    self.hang_up(reason);
                }
            }
        }
    }

    /// A reply came and nothing was asked: the peer ends the session, or the message in its middle;
    /// anything else can only be taken for the reply to something else.
    fn unasked(&mut self, reply: PeerReply) {
        match self.phase {
            Phase::Idle if reply.code == 421 => self.hang_up(CloseReason::PeerLeft),
            Phase::Body(_) if reply.class() >= 4 => self.refused_early(reply),
            _ => self.fail(Failure::found(Reason::OutOfStep)),
        }
    }

    /// A reply that has no meaning where it came.
    fn unexpected(&mut self, asked: Asked, reply: PeerReply) {
        self.unanswered.push_front(asked);
        self.fail(Failure::found(Reason::Unexpected(reply)));
    }

    /// Writes one command and waits for its reply.
    fn command(&mut self, asked: Asked, line: &str, shown: &str) {
        if self.unanswered.is_empty() && !self.input.is_empty() {
            return self.out_of_step();
        }
        let shown = printable(shown, LINE_SHOWN_BYTES_MAX);
        self.note(Line::Command(shown));
        self.write(line.as_bytes());
        self.write(b"\r\n");
        self.wait_for(asked);
    }

    /// More came than was asked for. It is not to be taken for the reply to the next command; but a
    /// server that has had enough says no to one command and 421 at once.
    fn out_of_step(&mut self) {
        let failure = match self.input.next(self.now) {
            Some(Ok(raw)) if raw.code == 421 => {
                let reply = PeerReply::new(&raw, self.stage());
                self.note(Line::Reply(reply.clone()));
                Failure::replied(reply)
            }
            _ => Failure::found(Reason::OutOfStep),
        };
        self.fail(failure);
    }

    fn write(&mut self, bytes: &[u8]) {
        if !self.is_gone {
            self.output.extend_from_slice(bytes);
        }
    }

    fn wait_for(&mut self, asked: Asked) {
        if self.unanswered.is_empty() {
            self.since = self.now;
        }
        self.unanswered.push_back(asked);
    }

    /// Goes to a phase that has its own time.
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = self.now;
    }

    fn note(&mut self, line: Line) {
        self.actions.push_back(Action::Note(Note { at: self.now, line }));
    }

    /// Nothing is under way, and nothing unanswered: what next?
    fn next_job(&mut self) {
        let limits = self.extensions.limits;
        let transactions_max =
            limits.transactions_max.unwrap_or(u32::MAX).min(self.settings.transactions_max);
        if self.transaction.is_some() {
            self.begin_job();
        } else if self.is_stopping {
            self.say_quit(CloseReason::Quit);
        } else if self.used.transactions >= transactions_max || self.used.domains_full {
            self.say_quit(CloseReason::Enough);
        } else {
            self.enter(Phase::Idle);
            self.actions.push_back(Action::Ready);
        }
    }

    /// Reports the job that is under way.
    fn settle(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            self.actions.push_back(Action::Settled(transaction.into_outcomes()));
        }
    }

    /// The session can go on no further, but the peer can still be told (RFC 5321 4.1.1.10).
    fn give_up(&mut self, failure: Failure) {
        self.break_off(&failure);
        self.say_quit(CloseReason::Failed(failure));
    }

    fn say_quit(&mut self, reason: CloseReason) {
        self.phase = Phase::Quitting(reason);
        self.unanswered.clear();
        self.command(Asked::Quit, "QUIT", "QUIT");
    }

    /// The session is over: what is under way gets this outcome.
    fn fail(&mut self, failure: Failure) {
        let reason = match &self.phase {
            Phase::Closed => return,
            // All is settled, and the reply to QUIT is of no interest.
            Phase::Quitting(reason) => reason.clone(),
            _ => {
                self.break_off(&failure);
                CloseReason::Failed(failure)
            }
        };
        self.hang_up(reason);
    }

    fn break_off(&mut self, failure: &Failure) {
        let whole_sent = self.unanswered.contains(&Asked::End);
        if let Some(transaction) = &mut self.transaction {
            transaction.break_off(failure, whole_sent);
        }
        self.settle();
    }

    fn hang_up(&mut self, reason: CloseReason) {
        self.phase = Phase::Closed;
        self.unanswered.clear();
        self.input.clear();
        self.actions.push_back(Action::Close(reason));
    }
}
