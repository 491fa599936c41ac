//! Conversations with the sender, each behind `check`: with the server's lines in one piece
//! (consecutive `S:` lines together) and in small ones, the body in large pieces and in small ones.
//!
//! ```text
//!   S: line        the server sends it with CRLF      R: bytes    raw: \r \n \0 \xNN, no CRLF
//!   C: line        we say it                          c: bytes    raw
//!   N: text        the next note                      +5m         time passes (s, m, h)
//!   > what         the driver does                    -- event    the driver was told
//! ```
//! `> send a@x b@y,c@y options | body` hands over a job; see `job` for the options.

use std::collections::VecDeque;

use grace_mail::address::{Charset, Mailbox};

use super::*;
use crate::dsn::{Notify, OriginalRecipient, Return};
use crate::login::Secret;
use crate::parameters::{ByMode, DeliverBy};
use crate::path::{Recipient, ReversePath};
use crate::sender::job::{Content, JobRecipient, Message};
use crate::sender::outcome::{Cause, Fault};
use crate::sender::settings::{BODY_PIECE_BYTES_MAX, INPUT_BYTES_MAX, Login, TlsPolicy};
use crate::testing::{duration, unescape};

mod bodies;
mod both_sides;
mod endings;
mod envelopes;
mod garbage;
mod openings;

/// What one action may send at most: a whole group of the longest commands, or a stuffed piece.
const SENT_BYTES_MAX: usize = 2 * BODY_PIECE_BYTES_MAX + 1_024;

/// A driver that answers at once, unless a job says `by-hand`.
struct World {
    sender: Sender,
    now: Instant,
    /// The message, what is left of it, and how much of it goes out at once.
    body: Vec<u8>,
    piece: usize,
    by_hand: bool,
    needs_body: bool,
    /// The recipients of the job that is under way.
    job: Option<Vec<String>>,
    said: Vec<u8>,
    events: VecDeque<String>,
    notes: VecDeque<String>,
    closed: bool,
}

impl World {
    fn new(settings: Settings, tls: Option<Tls>, piece: usize) -> Self {
        let now = Instant::now();
        let mut world = Self {
            sender: Sender::new(now, settings, tls),
            now,
            body: Vec::new(),
            piece,
            by_hand: false,
            needs_body: false,
            job: None,
            said: Vec::new(),
            events: VecDeque::new(),
            notes: VecDeque::new(),
            closed: false,
        };
        world.drive();
        world
    }

    fn hear(&mut self, mut bytes: &[u8], step: usize) {
        while !bytes.is_empty() && !self.closed {
            let piece = &bytes[..step.min(bytes.len())];
            let taken = self.sender.receive(self.now, piece);
            assert!(taken > 0 || self.closed, "no room for {piece:?}");
            bytes = &bytes[taken..];
            self.drive();
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.sender.timeout(self.now);
        self.drive();
    }

    /// Does what the machine says until it says nothing.
    fn drive(&mut self) {
        loop {
            while let Some(action) = self.sender.poll() {
                assert!(!self.closed, "{action:?} after Close");
                self.act(action);
                assert!(self.sender.input.room() <= INPUT_BYTES_MAX);
                assert!(self.sender.actions.len() < 500, "{:?}", self.sender.actions);
            }
            if !self.needs_body || self.by_hand {
                break;
            }
            self.needs_body = false;
            let count = self.piece.min(self.body.len());
            let piece: Vec<u8> = self.body.drain(..count).collect();
            if piece.is_empty() {
                self.sender.body_end(self.now);
            } else {
                self.sender.body(self.now, &piece);
            }
        }
        assert_eq!(self.sender.deadline().is_some(), !self.closed, "who waits has a deadline");
        let is_deaf = self.closed || self.sender.phase == Phase::Tls;
        assert_eq!(self.sender.room() == 0, is_deaf, "read only what may be looked at");
        assert!(self.job.is_none() || !self.closed, "a job has no outcome");
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send(bytes) => {
                assert!(!bytes.is_empty() && bytes.len() <= SENT_BYTES_MAX, "{}", bytes.len());
                self.said.extend_from_slice(&bytes);
            }
            Action::StartTls => self.events.push_back("tls".to_owned()),
            Action::NeedBody => {
                assert!(!self.needs_body && self.job.is_some(), "asked twice, or for nothing");
                self.needs_body = true;
            }
            Action::Settled(outcomes) => {
                let recipients = self.job.take().expect("a job is under way");
                assert_eq!(recipients.len(), outcomes.len());
                self.needs_body = false;
                for (recipient, outcome) in recipients.iter().zip(&outcomes) {
                    self.events.push_back(format!("{recipient} {}", shown(outcome)));
                }
            }
            Action::Ready => self.events.push_back("ready".to_owned()),
            Action::Note(Note { at, line }) => {
                assert_eq!(at, self.now);
                self.notes.push_back(match line {
                    Line::Command(command) => format!("we: {command}"),
                    Line::Body(bytes) => format!("we: body of {bytes}"),
                    Line::Reply(reply) => format!("it: {reply}"),
                });
            }
            Action::Close(reason) => {
                self.events.push_back(format!("closed: {reason}"));
                self.closed = true;
            }
        }
    }

    /// What the driver does by itself.
    fn command(&mut self, text: &str) {
        let now = self.now;
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match (word, rest) {
            ("send", _) => {
                let (words, body) = rest.split_once(" | ").unwrap_or((rest, "Hi\\r\\n"));
                self.body = unescape(body);
                self.by_hand = words.contains(" by-hand");
                let job = job(words, self.body.len() as u64);
                let recipients = job.recipients.iter().map(|to| to.address.to_string()).collect();
                match self.sender.deliver(now, job) {
                    Ok(()) => self.job = Some(recipients),
                    Err(_) => self.events.push_back("given back".to_owned()),
                }
            }
            ("body", _) => {
                self.needs_body = false;
                self.sender.body(now, &unescape(rest));
            }
            ("end", "") => {
                self.needs_body = false;
                self.sender.body_end(now);
            }
            ("unreadable", "") => self.sender.body_failed(now),
            ("tls", "") => self.sender.tls_started(now, tls(false)),
            ("tls", "verified") => self.sender.tls_started(now, tls(true)),
            ("tls", why) => self.sender.tls_failed(now, why),
            ("quit", "") => self.sender.quit(now),
            ("gone", "") => self.sender.peer_gone(now),
            _ => panic!("the driver cannot {text:?}"),
        }
        self.drive();
    }
}

/// A world whose session is open, at a server that offers this.
fn open(settings: Settings, piece: usize, offered: &[&str]) -> World {
    let mut world = World::new(settings, None, piece);
    world.hear(b"220 mx.example\r\n", usize::MAX);
    let offered: String = offered.iter().map(|line| format!("250-{line}\r\n")).collect();
    world.hear(format!("250-mx.example\r\n{offered}250 HELP\r\n").as_bytes(), usize::MAX);
    assert_eq!(world.events.pop_front().as_deref(), Some("ready"));
    world.said.clear();
    world
}

/// `a@x.example b@y.example,c@y.example 8bit size=9`
fn job(words: &str, size_bytes: u64) -> Job {
    let mut words = words.split_whitespace();
    let mailbox = |text: &str| Mailbox::parse(text, Charset::Utf8).expect("an address");
    let sender = match words.next().expect("a sender") {
        "<>" => ReversePath::Null,
        text => ReversePath::Mailbox(mailbox(text)),
    };
    let recipient = |text: &str| JobRecipient {
        address: match text {
            "postmaster" => Recipient::Postmaster,
            text => Recipient::Mailbox(mailbox(text)),
        },
        notify: None,
        original: None,
    };
    let to = words.next().expect("recipients");
    let mut job = Job {
        sender,
        recipients: to.split(',').filter(|to| *to != "nobody").map(recipient).collect(),
        message: Message { size_bytes, content: Content::SevenBit, utf8: false },
        returned: None,
        envelope_id: None,
        require_tls: false,
        deliver_by: None,
    };
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("8bit", "") => job.message.content = Content::EightBit,
            ("binary", "") => job.message.content = Content::Binary,
            ("utf8", "") => job.message.utf8 = true,
            ("size", bytes) => job.message.size_bytes = bytes.parse().unwrap(),
            ("requiretls", "") => job.require_tls = true,
            ("by", value) => job.deliver_by = Some(deliver_by(value)),
            ("ret", value) => job.returned = Return::parse(value),
            ("envid", value) => job.envelope_id = Some(value.to_owned()),
            ("notify", value) => {
                job.recipients.iter_mut().for_each(|to| to.notify = Notify::parse(value));
            }
            ("orcpt", value) => {
                let original = OriginalRecipient::parse(value);
                job.recipients.iter_mut().for_each(|to| to.original.clone_from(&original));
            }
            ("by-hand", "") => {}
            _ => panic!("no such option: {word}"),
        }
    }
    job
}

/// `120;R`, as BY has it.
fn deliver_by(value: &str) -> DeliverBy {
    let (time, mode) = value.split_once(';').expect("a time and a mode");
    DeliverBy {
        time_s: time.parse().expect("seconds"),
        mode: if mode.starts_with('R') { ByMode::Return } else { ByMode::Notify },
        trace: mode.ends_with('T'),
    }
}

fn shown(outcome: &Outcome) -> String {
    let failed = |word: &str, failure: &Failure| {
        assert_eq!(failure.status.class, if word == "later" { 4 } else { 5 });
        let fault = match failure.fault {
            Fault::Host => "host",
            Fault::Message => "message",
            Fault::Recipient => "recipient",
        };
        let cause = match &failure.cause {
            Cause::Reply(reply) => format!("\"{reply}\""),
            Cause::Found(reason) => reason.to_string(),
        };
        format!("{word} {} ({fault}): {cause}", failure.status)
    };
    match outcome {
        Outcome::Delivered { reply, notifies, keeps_time } => {
            let notifies = if *notifies { ", notifies" } else { "" };
            let in_time = if *keeps_time { ", in time" } else { "" };
            format!("delivered{notifies}{in_time}: {reply}")
        }
        Outcome::Later(failure) => failed("later", failure),
        Outcome::Never(failure) => failed("never", failure),
        Outcome::NotAttempted => "not attempted".to_owned(),
    }
}

fn tls(is_verified: bool) -> Tls {
    let cipher = "TLS_AES_256_GCM_SHA384".to_owned();
    Tls { version: "TLS1.3".to_owned(), cipher, is_verified }
}

fn settings() -> Settings {
    Settings::new("mail.grace.test", TlsPolicy::Opportunistic)
}

/// At a smart host.
fn with_login() -> Settings {
    let password = Secret::new("secret".to_owned());
    Settings { login: Some(Login { name: "anna".to_owned(), password }), ..settings() }
}

/// Plays a conversation with the defaults.
#[track_caller]
fn check(script: &str) {
    check_with(&settings(), script);
}

#[track_caller]
fn check_with(settings: &Settings, script: &str) {
    for (step, piece) in [(usize::MAX, BODY_PIECE_BYTES_MAX), (1, 1), (7, 3), (2, 1_000)] {
        play(settings, None, script, step, piece);
    }
}

/// A conversation about what arrives together.
#[track_caller]
fn check_whole(settings: &Settings, script: &str) {
    play(settings, None, script, usize::MAX, BODY_PIECE_BYTES_MAX);
}

#[track_caller]
fn play(settings: &Settings, tls: Option<Tls>, script: &str, step: usize, piece: usize) {
    let mut world = World::new(settings.clone(), tls, piece);
    let mut to_hear = Vec::new();
    let lines = script.lines().map(str::trim_start).filter(|line| !line.is_empty());
    for line in lines.chain(std::iter::once("end")) {
        if let Some(text) = line.strip_prefix("S:") {
            let text = text.strip_prefix(' ').unwrap_or(text);
            to_hear.extend_from_slice(format!("{text}\r\n").as_bytes());
            continue;
        }
        if let Some(raw) = line.strip_prefix("R: ") {
            to_hear.extend_from_slice(&unescape(raw));
            continue;
        }
        world.hear(&std::mem::take(&mut to_hear), step);
        if let Some(expected) = line.strip_prefix("C: ") {
            expect_said(&mut world, &[expected.as_bytes(), b"\r\n"].concat());
        } else if let Some(expected) = line.strip_prefix("c: ") {
            expect_said(&mut world, &unescape(expected));
        } else if let Some(expected) = line.strip_prefix("N: ") {
            let found = world.notes.pop_front().unwrap_or_default();
            assert_eq!(found, expected, "in steps of {step}");
        } else if let Some(expected) = line.strip_prefix("-- ") {
            let found = world.events.pop_front().unwrap_or_default();
            assert_eq!(found, expected, "in steps of {step}");
        } else if let Some(time) = line.strip_prefix('+') {
            world.pass(duration(time));
        } else if let Some(text) = line.strip_prefix("> ") {
            world.command(text);
        } else {
            assert_eq!(line, "end", "no such script line");
        }
    }
    assert_eq!(world.said.escape_ascii().to_string(), "", "left over, in steps of {step}");
    assert_eq!(world.events, VecDeque::<String>::new(), "left over, in steps of {step}");
}

#[track_caller]
fn expect_said(world: &mut World, expected: &[u8]) {
    let count = expected.len().min(world.said.len());
    let found: Vec<u8> = world.said.drain(..count).collect();
    let (found, rest) = (found.escape_ascii().to_string(), world.said.escape_ascii());
    assert_eq!(found, expected.escape_ascii().to_string(), "before {rest:.200}");
}

/// Something of each kind that we find by ourselves, as conversations show it.
fn found() -> Vec<Reason> {
    let reply = || {
        let raw = RawReply { code: 454, lines: vec!["not now".to_owned()] };
        PeerReply::new(&raw, Stage::StartTls)
    };
    let all = vec![
        Reason::Timeout(Stage::Greeting),
        Reason::SlowReply,
        Reason::SlowTransaction,
        Reason::ConnectionLost(Stage::Greeting),
        Reason::AnswerLost,
        Reason::Garbage(String::new()),
        Reason::ReplyTooLong,
        Reason::Unexpected(reply()),
        Reason::OutOfStep,
        Reason::NoStartTls,
        Reason::StartTlsRefused(reply()),
        Reason::StartTlsInjection,
        Reason::TlsFailed(String::new()),
        Reason::NoLogin,
        Reason::LoginNeedsTls,
        Reason::LoginRefused(reply()),
        Reason::TooLarge(0),
        Reason::NoEightBit,
        Reason::NoBinary,
        Reason::NoUtf8,
        Reason::NoRequireTls,
        Reason::BodyFailed,
        Reason::NoDeliverBy,
        Reason::TooLate(0),
        Reason::OwnName,
    ];
    // Whoever adds a reason is told here to add it above.
    for reason in &all {
        match reason {
            Reason::Timeout(_) | Reason::SlowReply | Reason::SlowTransaction => {}
            Reason::ConnectionLost(_) | Reason::AnswerLost | Reason::Garbage(_) => {}
            Reason::ReplyTooLong | Reason::Unexpected(_) | Reason::OutOfStep => {}
            Reason::NoStartTls | Reason::StartTlsRefused(_) | Reason::StartTlsInjection => {}
            Reason::TlsFailed(_) | Reason::NoLogin | Reason::LoginNeedsTls => {}
            Reason::LoginRefused(_) | Reason::TooLarge(_) | Reason::NoEightBit => {}
            Reason::NoBinary | Reason::NoUtf8 | Reason::NoRequireTls | Reason::BodyFailed => {}
            Reason::NoDeliverBy | Reason::TooLate(_) | Reason::OwnName => {}
        }
    }
    all
}

/// What no conversation meets may be wrong, or never happen.
#[test]
fn everything_the_sender_finds_is_found_in_a_conversation() {
    const CONVERSATIONS: &[&str] = &[
        include_str!("tests/bodies.rs"),
        include_str!("tests/both_sides.rs"),
        include_str!("tests/endings.rs"),
        include_str!("tests/envelopes.rs"),
        include_str!("tests/garbage.rs"),
        include_str!("tests/openings.rs"),
    ];
    let mut missing = Vec::new();
    let is_met = |words: &str| CONVERSATIONS.iter().any(|text| text.contains(words));
    for reason in found() {
        let words = reason.to_string();
        // What stands for a stage, a reply or a number differs.
        let fixed = words.split(" in place of ").next().unwrap_or(&words);
        let fixed = fixed.split_inclusive(" for ").next().unwrap_or(fixed);
        let fixed = fixed.split([':', '0']).next().unwrap_or(fixed);
        missing.extend((!is_met(fixed)).then(|| fixed.to_owned()));
    }
    let stages = [
        Stage::Greeting,
        Stage::Hello,
        Stage::StartTls,
        Stage::Auth,
        Stage::Mail,
        Stage::Rcpt,
        Stage::Data,
        Stage::Body,
        Stage::End,
        Stage::Reset,
    ];
    // What comes in answer to QUIT is of no interest, and nothing is said of it.
    for stage in stages {
        missing.extend((!is_met(&stage.to_string())).then(|| stage.to_string()));
    }
    for command in
        ["EHLO", "HELO", "STARTTLS", "AUTH PLAIN", "AUTH LOGIN", "MAIL FROM:", "RCPT TO:"]
            .into_iter()
            .chain(["DATA", "BDAT", "RSET", "QUIT"])
    {
        missing.extend((!is_met(&format!("C: {command}"))).then(|| command.to_owned()));
    }
    assert_eq!(missing, [] as [String; 0]);
}
