//! One client's session as a machine: bytes in with `receive`, actions out with `poll`.
//!
//! ```text
//!   NotAuthenticated ──LOGIN, AUTHENTICATE──▶ Authenticated ──SELECT──▶ Selected
//!          │                                     ▲   └────CLOSE, UNSELECT───┘
//!          └──LOGOUT, too many errors, timeout, shutdown──▶ Ended ◀── from everywhere
//! ```
//! Invariants: commands run one after the other, in the order they came; between [`Action::Ask`]
//! and `answer` nothing happens; every command gets exactly one tagged answer or the connection
//! ends with BYE; what is buffered is bounded by `framer` and by one message.
//! Not here: sockets, clocks, the store (`server::imap`), what each command does (the modules
//! below).

pub(crate) mod append;
pub(crate) mod context;
pub(crate) mod dispatch;
pub(crate) mod elsewhere;
pub(crate) mod fetch;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod mailbox;
pub(crate) mod messages;
pub(crate) mod metadata;
pub(crate) mod notify;
pub(crate) mod overheard;
pub(crate) mod rights;
pub(crate) mod search;
pub(crate) mod sources;
pub(crate) mod urlauth;

use std::collections::VecDeque;

use crate::cursor::Refusal;
use crate::framer::{COMMAND_BYTES_MAX, Frame, Framer, LineTooLong};
use crate::grammar::{self, Dialect};
use crate::machine::{Action, Answer, Request, Why};
use crate::name::MailboxName;
use crate::response::{Code, Out, Piece};
use crate::rights::Rights;
use crate::view::{Allowed, View};

/// Bad commands in a row after which we hang up before a login. No client sends one; a port scanner
/// or a browser sends nothing else. After a login [`Settings::errors_max`] counts.
const STRANGER_ERRORS_MAX: u64 = 5;

/// Longest command before a login, in bytes: a login with long names fits many times.
const STRANGER_BYTES_MAX: usize = 8 * 1024;

/// What a session needs to know of its server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server's name, for the greeting.
    pub hostname: String,
    /// The server's version, for ID.
    pub version: String,
    /// TLS is up from the first byte.
    pub tls: bool,
    /// STARTTLS can be had.
    pub offers_starttls: bool,
    /// Passwords may come without TLS: the connection stays on this machine.
    pub plain_login: bool,
    /// Ways to log in that the driver knows, beyond PLAIN and LOGIN: the names of their mechanisms
    /// in capitals, the strongest first.
    pub sasl: Vec<&'static str>,
    /// Largest message APPEND takes, in bytes.
    pub append_bytes_max: u64,
    /// How long a client may take to log in, in seconds.
    pub login_s: u64,
    /// How long a client may be silent after that, in seconds. RFC 9051 5.4: at least 30 minutes.
    pub silence_s: u64,
    /// Bad commands in a row after which we hang up.
    pub errors_max: u64,
    /// Failed logins after which we hang up.
    pub login_failures_max: u64,
}

/// Where the session stands (RFC 9051 3).
#[derive(Debug)]
enum Stage {
    NotAuthenticated,
    Authenticated,
    Selected(Box<Selected>),
    Ended,
}

/// The selected mailbox.
#[derive(Debug)]
struct Selected {
    name: MailboxName,
    uid_validity: u32,
    /// EXAMINE.
    read_only: bool,
    /// What this one may do with it.
    rights: Rights,
    view: View,
    /// The client was told of an earlier modification sequence than the newest, for an EXPUNGE
    /// waits.
    holds_modseq_back: bool,
    /// UIDs that `$` stands for (RFC 5182), ascending.
    saved: Vec<u32>,
    /// Searches that are kept up to date (RFC 5267).
    contexts: Vec<context::Context>,
}

/// What the client switched on.
#[derive(Debug, Clone, Copy, Default)]
struct Enabled {
    rev2: bool,
    utf8: bool,
    condstore: bool,
    qresync: bool,
    uid_only: bool,
}

impl Enabled {
    /// Has a view speak as the client wants it.
    fn shape(self, view: &mut View) {
        view.condstore = self.condstore;
        view.says_recent = !self.rev2;
        view.says_vanished = self.qresync;
        view.uid_only = self.uid_only;
    }
}

/// What is under way.
#[derive(Debug)]
enum Job {
    Login(login::LoginJob),
    Sasl(login::Sasl),
    List(Box<list::ListJob>),
    Status { tag: String, mailbox: MailboxName, items: Vec<crate::command::StatusItem> },
    Select(mailbox::SelectJob),
    Resync(mailbox::ResyncJob),
    Unauthenticate { tag: String },
    Metadata(metadata::MetadataJob),
    Rights(rights::RightsJob),
    Filters(Box<metadata::FilterJob>),
    Leave { tag: String, done: &'static str, then: Option<Request> },
    Left,
    Simple { tag: String, done: &'static str },
    Rename { tag: String, from: MailboxName, to: MailboxName },
    Store(messages::StoreJob),
    Copy { tag: String, moves: bool },
    Expunge { tag: String, closes: bool },
    Fetch(fetch::FetchJob),
    Search(Box<search::SearchJob>),
    Append(append::AppendJob),
    Finish(messages::Finish),
    Update(Box<context::UpdateJob>),
    Idle { tag: String, asked: bool },
    Url(Box<urlauth::UrlJob>),
    UrlReset { tag: String, all: bool },
    Notify(notify::NotifyJob),
    Arrivals(Box<notify::ArrivalsJob>),
}

/// Whether a step got anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Go on.
    Made,
    /// Only more bytes, or a wake-up, help.
    NeedsInput,
}

/// One client's session.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    framer: Framer,
    out: Out,
    stage: Stage,
    enabled: Enabled,
    /// What the client wants to be told unasked, if it said so (RFC 5465).
    notified: Option<Box<notify::Notified>>,
    job: Option<Job>,
    ask: Option<Request>,
    /// An [`Action::Ask`] is with the driver.
    waiting: bool,
    answer: Option<Answer>,
    /// What the driver is to do once everything said is sent.
    switch: Option<Action>,
    /// COMPRESS was answered.
    compressed: bool,
    /// The time, as far as the driver told: seconds since 1970 UTC.
    now_s: i64,
    /// The mailbox changed while in IDLE.
    woken: bool,
    /// Why the session ended; taken by [`Action::Close`].
    farewell: Option<String>,
    bad_in_row: u64,
    logins_failed: u64,
    /// What the driver is told beside all else.
    notes: VecDeque<Action>,
    /// Somebody listens in.
    is_overheard: bool,
    /// The last command we know; empty: none yet.
    last_command: &'static str,
    /// What the command under way is called, for the event of its refusal.
    command: String,
}

impl Session {
    /// A connection was accepted: the greeting is the first thing `poll` gives.
    pub fn new(settings: Settings) -> Self {
        let mut session = Self {
            settings,
            framer: Framer::default(),
            out: Out::default(),
            stage: Stage::NotAuthenticated,
            enabled: Enabled::default(),
            notified: None,
            job: None,
            ask: None,
            waiting: false,
            answer: None,
            switch: None,
            compressed: false,
            now_s: 0,
            woken: false,
            farewell: None,
            bad_in_row: 0,
            logins_failed: 0,
            notes: VecDeque::new(),
            is_overheard: false,
            last_command: "",
            command: String::new(),
        };
        let code = Code::Capability(session.capabilities());
        let text = format!("{} Grace ready", session.settings.hostname);
        session.out.status("OK", Some(&code), &text);
        session
    }

    /// Takes bytes from the client. Call it only when `poll` gave `None`, with one read's worth.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.framer.push(bytes);
    }

    /// The time in seconds since 1970 UTC, before whatever else the driver has to say.
    pub fn set_time(&mut self, now_s: i64) {
        self.now_s = now_s;
    }

    /// The answer to the last [`Action::Ask`].
    pub fn answer(&mut self, answer: Answer) {
        debug_assert!(self.waiting, "an answer nobody asked for");
        self.waiting = false;
        self.answer = Some(answer);
    }

    /// TLS is up.
    pub fn tls_started(&mut self) {
        self.settings.tls = true;
    }

    /// The ways to log in that the driver knows from now on: TLS brings more.
    pub fn offer_sasl(&mut self, names: Vec<&'static str>) {
        self.settings.sasl = names;
    }

    /// A mailbox changed. IDLE hears of it at once, and who said NOTIFY between commands, too;
    /// other commands look when they end.
    pub fn wake(&mut self) {
        self.woken = true;
    }

    /// Whether the session is in IDLE and wants `wake`.
    pub fn is_idle(&self) -> bool {
        matches!(self.job, Some(Job::Idle { .. }))
    }

    /// Whether a message is on its way in, so that reading more at once pays.
    pub fn is_receiving(&self) -> bool {
        matches!(self.job, Some(Job::Append(_)))
    }

    /// Whether somebody is logged in.
    pub fn is_authenticated(&self) -> bool {
        matches!(self.stage, Stage::Authenticated | Stage::Selected(_))
    }

    /// How long the client may be silent now, in seconds.
    pub fn silence_s_max(&self) -> u64 {
        if self.is_authenticated() { self.settings.silence_s } else { self.settings.login_s }
    }

    /// Something harmless for a client in IDLE, so that routers on the way remember the connection
    /// and a client that vanished is noticed.
    pub fn keep_alive(&mut self) {
        if self.is_idle() {
            self.out.say("* OK Still here");
        }
    }

    /// The client was silent for too long.
    pub fn timeout(&mut self) {
        self.bye(None, "autologout: you were silent for too long");
    }

    /// The server stops.
    pub fn stop(&mut self) {
        self.bye(Some(&Code::Unavailable), "the server is stopping");
    }

    /// Who logged in may not any more.
    pub fn revoke_login(&mut self) {
        self.bye(None, "your login is not valid any more");
    }

    /// An admin ends the session.
    pub fn disconnect(&mut self) {
        self.bye(None, "an administrator ended this session");
    }

    /// What the driver is to do next; `None`: only bytes, a wake-up or the clock help.
    pub fn poll(&mut self) -> Option<Action> {
        loop {
            if let Some(note) = self.notes.pop_front() {
                return Some(note);
            }
            let ended = matches!(self.stage, Stage::Ended);
            if self.out.is_full() || self.switch.is_some() || ended {
                if let Some(action) = self.next_send() {
                    return Some(action);
                }
                if let Some(action) = self.switch.take() {
                    return Some(action);
                }
                if ended {
                    return self.farewell.take().map(Action::Close);
                }
            }
            if self.waiting {
                return self.next_send();
            }
            if let Some(request) = self.ask.take() {
                self.waiting = true;
                return Some(Action::Ask(request));
            }
            let progress = match self.job.take() {
                Some(job) => self.advance(job),
                None => self.between_commands(),
            };
            if progress == Progress::NeedsInput {
                return self.next_send();
            }
        }
    }

    /// Goes on with the next command, or with what is to be told where there is none.
    fn between_commands(&mut self) -> Progress {
        let progress = self.next_command();
        if progress == Progress::NeedsInput && self.woken && self.notified.is_some() {
            self.look_for_news(context::After::Between);
            return Progress::Made;
        }
        progress
    }

    fn next_send(&mut self) -> Option<Action> {
        Some(match self.out.next_piece()? {
            Piece::Bytes(bytes) => Action::Send(bytes),
            Piece::Message { uid, start, length } => Action::SendMessage { uid, start, length },
        })
    }

    /// Goes on with what is under way.
    fn advance(&mut self, job: Job) -> Progress {
        let answer = self.answer.take();
        match job {
            Job::Login(job) => self.login_answered(&job, answer),
            Job::Sasl(sasl) => return self.sasl_step(sasl),
            Job::List(job) => self.list_answered(*job, answer),
            Job::Status { tag, mailbox, items } => {
                self.status_answered(&tag, &mailbox, &items, answer);
            }
            Job::Select(job) => self.select_answered(job, answer),
            Job::Resync(job) => self.resync_answered(job, answer),
            Job::Rights(job) => self.rights_answered(job, answer),
            Job::Metadata(job) => self.metadata_answered(job, answer),
            Job::Filters(job) => self.filters_answered(*job, answer),
            Job::Unauthenticate { tag } => self.unauthenticated(&tag, answer),
            Job::Leave { tag, done, then } => self.left(tag, done, then),
            // The mailbox was left, and the client knows.
            Job::Left => {}
            Job::Simple { tag, done } => self.simple_answered(&tag, done, answer),
            Job::Rename { tag, from, to } => self.renamed(&tag, &from, &to, answer),
            Job::Store(job) => self.store_answered(job, answer),
            Job::Copy { tag, moves } => self.copy_answered(tag, moves, answer),
            Job::Expunge { tag, closes } => self.expunge_answered(tag, closes, answer),
            Job::Fetch(job) => self.fetch_step(job, answer),
            Job::Search(job) => self.search_step(*job, answer),
            Job::Append(job) => return self.append_step(job, answer),
            Job::Finish(finish) => self.finish_answered(finish, answer),
            Job::Update(job) => self.update_step(*job, answer),
            Job::Idle { tag, asked } => return self.idle_step(tag, asked, answer),
            Job::Url(job) => self.url_answered(*job, answer),
            Job::UrlReset { tag, all } => self.url_reset(tag, all, answer),
            Job::Notify(job) => self.notify_answered(job, answer),
            Job::Arrivals(job) => self.arrivals_step(*job, answer),
        }
        Progress::Made
    }

    /// Looks for the next command in what was received.
    fn next_command(&mut self) -> Progress {
        let Some(frame) = self.next_frame() else { return Progress::NeedsInput };
        match frame {
            // Some clients end a literal or a DONE with one line end too many.
            Frame::Command(input) if input.is_empty() => {}
            Frame::Command(input) => {
                if !self.is_authenticated() && input.len() > STRANGER_BYTES_MAX {
                    self.bad_input(&input, None, "the command is too long");
                } else {
                    self.command(&input);
                }
            }
            Frame::Announced(announced) => self.announced(announced),
            Frame::TooLong(start) => {
                let text = format!("a command may have at most {COMMAND_BYTES_MAX} bytes");
                self.bad_input(&start, None, &text);
            }
            // Chunks come only while an APPEND is under way, and that takes them itself.
            Frame::Chunk(_) => {}
        }
        Progress::Made
    }

    fn dialect(&self) -> Dialect {
        let utf8 = self.enabled.utf8 || self.enabled.rev2;
        Dialect { utf8, no_charset: self.enabled.utf8 }
    }

    fn command(&mut self, input: &[u8]) {
        self.command = self.shown_name(input);
        match grammar::command(input, self.dialect()) {
            Ok(command) => self.run(command),
            Err(refusal) => self.refuse_input(input, &refusal),
        }
    }

    /// What the event of a refusal calls a command. Before the login what is no command may be a
    /// password.
    fn shown_name(&self, input: &[u8]) -> String {
        let name = command_name(input);
        match self.is_authenticated() || overheard::known(&name).is_some() {
            true => name,
            false => "(not shown)".to_owned(),
        }
    }

    /// A command could not be parsed.
    fn refuse_input(&mut self, input: &[u8], refusal: &Refusal) {
        match refusal {
            Refusal::Bad(text) => self.bad_input(input, None, text),
            Refusal::BadWith(code, text) => self.bad_input(input, Some(code), text),
            Refusal::No(code, text) => {
                self.search_failed(grammar::search::saves(input));
                // RFC 9051 6.3.2: after a SELECT that fails nothing is selected.
                let leaves = grammar::selects(input) && self.selected().is_some();
                if leaves {
                    self.stage = Stage::Authenticated;
                    self.out.status("OK", Some(&Code::Closed), "the previous mailbox is left");
                    self.ask = Some(Request::Leave);
                    self.job = Some(Job::Left);
                }
                let tag = grammar::tag(input).unwrap_or_else(|| "*".to_owned());
                self.no(&tag, code.as_ref(), text);
                if !self.is_authenticated() {
                    self.count_bad();
                }
            }
        }
    }

    /// BAD for something that is no command; too many of them end the session.
    fn bad_input(&mut self, input: &[u8], code: Option<&Code>, text: &str) {
        let tag = grammar::tag(input);
        self.command = self.shown_name(input);
        self.bad_with(tag.as_deref().unwrap_or("*"), code, text);
    }

    fn ok(&mut self, tag: &str, code: Option<&Code>, text: &str) {
        self.out.tagged(tag, "OK", code, text);
        self.bad_in_row = 0;
    }

    fn no(&mut self, tag: &str, code: Option<&Code>, text: &str) {
        self.out.tagged(tag, "NO", code, text);
        let command = std::mem::take(&mut self.command);
        self.notes.push_back(Action::Refused { command, reply: format!("NO {text}") });
        match (self.is_authenticated(), code) {
            (true, _) => self.bad_in_row = 0,
            (false, Some(Code::PrivacyRequired)) => self.count_bad(),
            // Failed logins are counted by themselves; a mechanism may be looked for.
            (false, _) => {}
        }
    }

    fn bad(&mut self, tag: &str, text: &str) {
        self.bad_with(tag, None, text);
    }

    /// RFC 9586 3: the client gave sequence numbers up.
    fn uid_required(&mut self, tag: &str) {
        let text = "after ENABLE UIDONLY messages have no numbers, only UIDs";
        self.bad_with(tag, Some(&Code::UidRequired), text);
    }

    fn bad_with(&mut self, tag: &str, code: Option<&Code>, text: &str) {
        self.out.tagged(tag, "BAD", code, text);
        let command = std::mem::take(&mut self.command);
        self.notes.push_back(Action::Refused { command, reply: format!("BAD {text}") });
        self.count_bad();
    }

    /// A command that was sound is no good one if it is given where it is illegal: a client in a
    /// circle is ended, too.
    fn count_bad(&mut self) {
        self.bad_in_row += 1;
        let most = match self.is_authenticated() {
            true => self.settings.errors_max,
            false => self.settings.errors_max.min(STRANGER_ERRORS_MAX),
        };
        if self.bad_in_row >= most {
            self.bye(None, "too many bad commands");
        }
    }

    fn bye(&mut self, code: Option<&Code>, text: &str) {
        if !matches!(self.stage, Stage::Ended) {
            self.out.status("BYE", code, text);
            self.end(text);
        }
    }

    fn end(&mut self, why: &str) {
        self.stage = Stage::Ended;
        self.farewell = Some(why.to_owned());
        self.job = None;
        self.ask = None;
        self.framer.forget();
    }

    /// NO for what the store refused. `missing` is the code for a mailbox that is not there.
    fn refused(&mut self, tag: &str, why: Why, missing: Code) {
        let (code, text) = match why {
            Why::WrongPassword => {
                (Code::AuthenticationFailed, "the user name or password is wrong".to_owned())
            }
            Why::LoginLimited => {
                (Code::Unavailable, "too many failed logins; try later".to_owned())
            }
            Why::NoSuchMailbox => (missing, "there is no such mailbox".to_owned()),
            Why::NoPermission => (Code::NoPerm, "you have no right to do that".to_owned()),
            Why::Exists => (Code::AlreadyExists, "there is a mailbox of that name".to_owned()),
            Why::NotAllowed(text) => (Code::Cannot, text),
            Why::Limit(text) => (Code::Limit, text),
            Why::OverQuota => (Code::OverQuota, "there is no room for that".to_owned()),
            Why::BadUrl(url) => {
                (Code::BadUrl(url), "the URL names nothing that can be read".to_owned())
            }
            Why::MetadataTooMany => {
                let text = "there are as many entries as there may be";
                (Code::MetadataTooMany, text.to_owned())
            }
            Why::TooBig => {
                let most = self.settings.append_bytes_max;
                (Code::TooBig, format!("a message may have at most {most} bytes"))
            }
            Why::MessageGone => (Code::Nonexistent, "the message to replace is gone".to_owned()),
            Why::Broken => {
                (Code::ServerBug, "the server failed to do this; its admin must look".to_owned())
            }
        };
        self.no(tag, Some(&code), &text);
    }

    /// An answer of the wrong kind is our own mistake: said, and survived.
    fn misanswered(&mut self, tag: &str, answer: Option<Answer>) {
        match answer {
            Some(Answer::Refused(why)) => self.refused(tag, why, Code::Nonexistent),
            answer => {
                debug_assert!(false, "not the answer to what was asked: {answer:?}");
                self.refused(tag, Why::Broken, Code::Nonexistent);
            }
        }
    }

    fn simple_answered(&mut self, tag: &str, done: &str, answer: Option<Answer>) {
        match answer {
            Some(Answer::Done) => {
                self.names_changed();
                self.finish(tag, done, Allowed::Everything);
            }
            Some(Answer::Created(mailbox_id)) => {
                self.names_changed();
                let code = Some(Code::MailboxId(mailbox_id));
                let finish = messages::Finish::ok(tag.to_owned(), done, Allowed::Everything);
                self.finish_with(messages::Finish { code, ..finish });
            }
            answer => self.misanswered(tag, answer),
        }
    }

    /// RFC 9051 6.3.13: IDLE ends with DONE; until then every change is told at once.
    fn idle_step(&mut self, tag: String, asked: bool, answer: Option<Answer>) -> Progress {
        if asked {
            match answer {
                Some(Answer::Changes(changes)) => {
                    let after = context::After::Idle { tag };
                    self.tell_then(changes, Allowed::Everything, after);
                    return Progress::Made;
                }
                Some(Answer::Refused(Why::NoSuchMailbox)) => self.mailbox_is_gone(),
                _ => self.bye(Some(&Code::ServerBug), "the mailbox cannot be read"),
            }
            if !matches!(self.stage, Stage::Ended) {
                self.job = Some(Job::Idle { tag, asked: false });
            }
            return Progress::Made;
        }
        if let Some(line) = self.next_line(false) {
            match line {
                Ok(line) if line.trim_ascii().eq_ignore_ascii_case(b"DONE") => {
                    self.finish(&tag, "IDLE done", Allowed::Everything);
                }
                // RFC 9051 6.3.13: "The client MUST NOT send a command while the server is waiting
                // for the DONE".
                Ok(_) => self.bad(&tag, "expected DONE"),
                Err(LineTooLong) => self.bye(None, "expected DONE"),
            }
            return Progress::Made;
        }
        if self.woken && self.notified.is_some() {
            self.look_for_news(context::After::Idle { tag });
            return Progress::Made;
        }
        let since = self.selected().map(|selected| selected.view.modseq());
        let ask = std::mem::take(&mut self.woken) && since.is_some();
        self.job = Some(Job::Idle { tag, asked: ask });
        match since {
            Some(since) if ask => {
                self.ask = Some(Request::Changes { since });
                Progress::Made
            }
            _ => Progress::NeedsInput,
        }
    }

    fn selected(&mut self) -> Option<&mut Selected> {
        match &mut self.stage {
            Stage::Selected(selected) => Some(selected),
            _ => None,
        }
    }
}

/// The beginning of a command for the event bus: its name, never its arguments, which may hold a
/// password.
fn command_name(input: &[u8]) -> String {
    let mut words = input.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    let word = words.next().unwrap_or(first);
    let word = word.get(..word.len().min(40)).unwrap_or_default();
    let mut name = String::from_utf8_lossy(word).to_ascii_uppercase();
    if name == "UID" {
        let word = words.next().unwrap_or_default();
        let word = word.get(..word.len().min(40)).unwrap_or_default();
        name = format!("UID {}", String::from_utf8_lossy(word).to_ascii_uppercase());
    }
    name
}
