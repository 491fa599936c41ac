//! Conversations with the receiver, each behind `check`: once with the client's lines in one piece
//! (consecutive `C:` lines together, as a pipelining client sends them) and once byte by byte.
//!
//! ```text
//!   C: line        the client sends it with CRLF      R: bytes    raw: \r \n \0 \xNN, no CRLF
//!   S: line        we answer it                       N: text     the next note
//!   +5m            time passes (s, m, h)              -- event    the driver was told
//! ```
//! The driver of these tests knows anna@grace.test, bob@grace.test, anna's password `secret` and
//! her token `good`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::*;
use crate::scram;
use crate::settings::{Haste, LoneLineEnds, Role};
use crate::testing::{duration, unescape};

mod abuse;
mod bodies;
mod garbage;
mod logins;
mod parameters;
mod scrams;
mod sessions;

/// A driver that stores nothing and answers at once.
struct World {
    receiver: Receiver,
    now: Instant,
    envelope: Option<Envelope>,
    body: Vec<u8>,
    replies: String,
    events: VecDeque<String>,
    notes: VecDeque<String>,
    closed: bool,
}

impl World {
    fn new(settings: Settings) -> Self {
        let now = Instant::now();
        let tls = (settings.role == Role::Submissions).then(tls_facts);
        let mut world = Self {
            receiver: Receiver::new(now, settings, tls),
            now,
            envelope: None,
            body: Vec::new(),
            replies: String::new(),
            events: VecDeque::new(),
            notes: VecDeque::new(),
            closed: false,
        };
        world.drive();
        world
    }

    fn send(&mut self, mut bytes: &[u8], step: usize) {
        while !bytes.is_empty() && !self.closed {
            let piece = &bytes[..step.min(bytes.len())];
            let taken = self.receiver.receive(self.now, piece);
            assert!(taken > 0 || self.closed, "no room for {piece:?}");
            bytes = &bytes[taken..];
            self.drive();
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.receiver.timeout(self.now);
        self.drive();
    }

    /// Does what the machine says until it says nothing.
    fn drive(&mut self) {
        while let Some(action) = self.receiver.poll() {
            assert!(!self.closed, "{action:?} after Close");
            self.act(action);
            assert!(self.receiver.input.len() <= settings::BODY_INPUT_BYTES_MAX);
            assert!(self.receiver.actions.len() < 100, "{:?}", self.receiver.actions);
        }
        let waits = self.receiver.deadline().is_some();
        assert_eq!(waits, !self.closed, "a session that waits has a deadline");
        assert_eq!(self.receiver.room() > 0, !self.closed);
    }

    fn act(&mut self, action: Action) {
        let now = self.now;
        match action {
            Action::Send(bytes) => self.replies.push_str(&String::from_utf8(bytes).unwrap()),
            Action::CheckSender(sender) => {
                let banned = sender.to_string().starts_with("banned@");
                let no = || Reply::new(553, (5, 7, 1), "not your address");
                self.receiver.answer_sender(now, if banned { Err(no()) } else { Ok(()) });
            }
            Action::CheckRecipient(recipient) => {
                let known = ["anna@grace.test", "bob@grace.test", "postmaster", "grüße@grace.test"];
                let known = known.contains(&recipient.to_string().as_str());
                let no = || match recipient.to_string().as_str() {
                    "later@grace.test" => Reply::new(450, (4, 7, 1), "come again later"),
                    other => Reply::new(550, (5, 1, 1), &format!("no mailbox <{other}> here")),
                };
                self.receiver.answer_recipient(now, if known { Ok(()) } else { Err(no()) });
            }
            Action::Authenticate(credentials) => {
                let answer = match (credentials.login.as_str(), credentials.password.expose()) {
                    ("anna", "secret") => LoginAnswer::Yes("anna@grace.test".to_owned()),
                    ("later", _) => LoginAnswer::Later,
                    _ => LoginAnswer::No,
                };
                self.receiver.answer_login(now, answer);
            }
            Action::FindKeys(wanted) => {
                let answer = match wanted.login.as_str() {
                    "later" => KeysAnswer::Later,
                    login => KeysAnswer::Keys(keys(login), scram::tests::nonce("xyz")),
                };
                self.receiver.answer_keys(now, answer);
            }
            Action::ProofChecked(proof) => {
                self.events.push_back(format!("{proof:?}"));
                // A driver that says yes to anything: the machine must know better.
                self.receiver.answer_login(now, LoginAnswer::Yes(proof.login));
            }
            Action::CheckToken(token) => {
                let answer = match token.token.expose() {
                    "good" => LoginAnswer::Yes("anna@grace.test".to_owned()),
                    "later" => LoginAnswer::Later,
                    _ => LoginAnswer::No,
                };
                self.receiver.answer_login(now, answer);
            }
            Action::CheckCertificate(wish) => {
                let answer = match wish.as_str() {
                    "" | "anna@grace.test" => LoginAnswer::Yes("anna@grace.test".to_owned()),
                    _ => LoginAnswer::No,
                };
                self.receiver.answer_login(now, answer);
            }
            Action::BodyBegin(envelope) => {
                assert!(self.envelope.is_none(), "two bodies at once");
                let answer = if envelope.sender.to_string().starts_with("nobegin@") {
                    Err(Reply::new(451, (4, 3, 0), "no space"))
                } else {
                    self.envelope = Some(envelope);
                    Ok(())
                };
                self.receiver.answer_body(now, answer);
            }
            Action::Body(bytes) => {
                let envelope = self.envelope.as_ref().expect("a body was begun");
                assert!(!bytes.is_empty() && bytes.len() <= 2 * settings::BODY_INPUT_BYTES_MAX + 2);
                if envelope.sender.to_string().starts_with("nospace@") {
                    self.envelope = None;
                    self.receiver.fail_body(Reply::new(451, (4, 3, 0), "no space"));
                } else {
                    self.body.extend_from_slice(&bytes);
                }
            }
            Action::BodyEnd => self.end_body(),
            Action::BodyDropped => {
                assert!(self.envelope.take().is_some(), "no body to drop");
                self.body.clear();
                self.events.push_back("dropped".to_owned());
            }
            Action::StartTls => {
                self.events.push_back("tls".to_owned());
                self.receiver.tls_started(now, tls_facts());
            }
            Action::Wait(time) => {
                assert!(self.receiver.replies.is_empty(), "replies that could be sent before");
                self.now += time;
                self.events.push_back(format!("waited {time:?}"));
            }
            Action::Note(note) => self.notes.push_back(match note {
                Note::CommandRefused { command, reply } => format!("{command} | {reply}"),
                Note::MessageRefused { sender, reply } => format!("message of {sender} | {reply}"),
                Note::Hasty { command } => format!("hasty after {command}"),
                Note::Heard(line) => format!("heard {line}"),
            }),
            Action::Close(reason) => {
                self.events.push_back(format!("closed: {reason}"));
                self.closed = true;
            }
        }
    }

    fn end_body(&mut self) {
        let Some(envelope) = self.envelope.take() else {
            // What `fail_body` said counts, not this.
            return self.receiver.answer_end(self.now, Ok("never".to_owned()));
        };
        let body = std::mem::take(&mut self.body);
        if envelope.sender.to_string().starts_with("nostore@") {
            return self.receiver.answer_end(self.now, Err(Reply::new(451, (4, 3, 0), "no disk")));
        }
        let to: Vec<String> = envelope.recipients.iter().map(ToString::to_string).collect();
        let text = body.escape_ascii();
        self.events.push_back(format!("stored {}: {} \"{text}\"", envelope.sender, to.join(",")));
        self.receiver.answer_end(self.now, Ok("7f3a".to_owned()));
    }
}

fn tls_facts() -> TlsFacts {
    TlsFacts {
        version: "TLS1.3".to_owned(),
        cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
        bindings: ChannelBindings { exporter: Some([7; 32]), server_end_point: None },
        is_certified: false,
    }
}

/// Anna's keys, and made-up ones for everybody else.
fn keys(login: &str) -> StoredKeys {
    match login {
        "anna" => scram::tests::keys(&["secret"], &[5; scram::SALT_BYTES], scram::tests::FEW),
        _ => scram::made_up(&[1; 32], login, scram::tests::FEW),
    }
}

fn settings(role: Role) -> Settings {
    Settings::new("mx.grace.test", role)
}

/// Plays a conversation at the given door, whole and byte by byte.
#[track_caller]
fn check(role: Role, script: &str) {
    check_with(&settings(role), script);
}

#[track_caller]
fn check_with(settings: &Settings, script: &str) {
    play(settings, script, usize::MAX);
    play(settings, script, 1);
}

/// A conversation about what arrives together.
#[track_caller]
fn check_whole(settings: &Settings, script: &str) {
    play(settings, script, usize::MAX);
}

#[track_caller]
fn play(settings: &Settings, script: &str, step: usize) {
    let mut world = World::new(settings.clone());
    let mut to_send = Vec::new();
    let lines = script.lines().map(str::trim_start).filter(|line| !line.is_empty());
    for line in lines.chain(std::iter::once("end")) {
        if let Some(text) = line.strip_prefix("C:") {
            let text = text.strip_prefix(' ').unwrap_or(text);
            to_send.extend_from_slice(format!("{text}\r\n").as_bytes());
            continue;
        }
        if let Some(raw) = line.strip_prefix("R: ") {
            to_send.extend_from_slice(&unescape(raw));
            continue;
        }
        world.send(&std::mem::take(&mut to_send), step);
        if let Some(expected) = line.strip_prefix("S: ") {
            let (found, rest) = world.replies.split_once("\r\n").unwrap_or((&world.replies, ""));
            assert_eq!(found, expected, "in steps of {step}, before {rest:?}");
            world.replies = rest.to_owned();
        } else if let Some(expected) = line.strip_prefix("N: ") {
            let found = world.notes.pop_front().unwrap_or_default();
            assert_eq!(found, expected, "in steps of {step}");
        } else if let Some(expected) = line.strip_prefix("-- ") {
            let found = world.events.pop_front().unwrap_or_default();
            assert_eq!(found, expected, "in steps of {step}");
        } else if let Some(time) = line.strip_prefix('+') {
            world.pass(duration(time));
        } else {
            assert_eq!(line, "end", "no such script line");
        }
    }
    assert_eq!(world.replies, "", "left over, in steps of {step}");
    assert_eq!(world.events, VecDeque::<String>::new(), "left over, in steps of {step}");
}

/// A reply that no conversation hears may be wrong, or one that nobody ever gets.
#[test]
fn every_reply_is_heard_in_a_conversation() {
    const CONVERSATIONS: &[&str] = &[
        include_str!("tests/abuse.rs"),
        include_str!("tests/bodies.rs"),
        include_str!("tests/garbage.rs"),
        include_str!("tests/logins.rs"),
        include_str!("tests/parameters.rs"),
        include_str!("tests/scrams.rs"),
        include_str!("tests/sessions.rs"),
    ];
    for reply in fixed::ALL.iter().chain([&fixed::GO_AHEAD]) {
        let line = reply.to_string();
        assert!(CONVERSATIONS.iter().any(|text| text.contains(&line)), "{line:?}");
    }
}
