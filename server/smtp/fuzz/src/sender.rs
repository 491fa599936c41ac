//! The sending machine, driven by a driver that has a job whenever there is none, and what it
//! reads: replies.
//!
//! What must hold: a session that waits has a deadline and, but for TLS, room; each job has one
//! outcome for each recipient, before `Close`, and nothing comes after that; what is sent beside
//! the body is lines; what is told of a reply is a line; silence ends it.

use std::time::{Duration, Instant};

use grace_mail::address::{Charset, Mailbox};
use grace_smtp::parameters::{ByMode, DeliverBy};
use grace_smtp::path::{Recipient, ReversePath};
use grace_smtp::sender::job::{Content, Job, JobRecipient, Message};
use grace_smtp::sender::outcome::{Cause, Outcome};
use grace_smtp::sender::settings::{BODY_PIECE_BYTES_MAX, Settings, TlsPolicy};
use grace_smtp::sender::{Action, CloseReason, Line, Sender, Tls};

use crate::machines::{BEGAN, Next, are_lines, parts};

/// Actions that one call may lead to.
const ACTIONS_MAX: usize = 20_000;
/// Jobs of a session.
const JOBS_MAX: usize = 50;
/// Longer than every timeout.
const AGES: Duration = Duration::from_secs(100_000);

pub(crate) const REPLIES: &[&[u8]] = &[
    b"220 x\r\n250-x\r\n250-PIPELINING\r\n250-SIZE 9999\r\n250 8BITMIME\r\n250 ok\r\n250 ok\r\n\
      354 go\r\n",
    b"550 5.7.1 go\r\n away\r\n",
    b"220-one\r\n220-two\r\n220 three\n421 4.3.2 \x1b[31mbye\r\n",
    b"250-\xff\0\r\n250\r\n",
];

pub(crate) const SESSIONS: &[&[u8]] = &[
    b"\0220 x\r\n250-x\r\n250-PIPELINING\r\n250-SIZE 9999\r\n250-8BITMIME\r\n250 DSN\r\n250 ok\r\n\
      250 ok\r\n354 go\r\n250 2.0.0 kept\r\n250 ok\r\n450 4.2.1 later\r\n354 go\r\n\
      554 no\r\n221 bye\r\n",
    b"\x05220 x\r\n250-x\r\n250-STARTTLS\r\n250 SMTPUTF8\r\n220 go\r\n\xF5\x02250-x\r\n\
      250 CHUNKING\r\n250 ok\r\n250 ok\r\n250 chunk\r\n250 kept\r\n",
    b"\x06220 x\r\n250-x\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250-PIPELINING\r\n\
      250 LIMITS RCPTMAX=2\r\n250 ok\r\n250 ok\r\n250 chunk\r\n250 kept\r\n250 ok\r\n250 ok\r\n\
      452 4.5.3 many\r\n\xF5\x01",
    b"\x02220 x\r\n500 what\r\n250 x\r\n250 ok\r\n550 no\r\n250 ok\r\n\xF5\x04\xF5\x05",
];

struct Driver {
    sender: Sender,
    now: Instant,
    /// Recipients of the job that is under way.
    job: Option<usize>,
    jobs: usize,
    needs_body: bool,
    in_body: bool,
    tls: bool,
    closed: bool,
    /// Recipients that were delivered.
    delivered: usize,
}

/// What a server says, whatever was asked.
pub(crate) fn replies(input: &[u8]) {
    let mut driver = Driver::new(0);
    driver.drive();
    input.split_inclusive(|&byte| byte == b'\n').for_each(|line| driver.hear(line));
    driver.end();
}

pub(crate) fn sessions(input: &[u8]) {
    if let Some((&choice, input)) = input.split_first() {
        session(choice, input);
    }
}

/// How many recipients were delivered.
fn session(choice: u8, input: &[u8]) -> usize {
    let mut driver = Driver::new(choice);
    driver.drive();
    for next in parts(input) {
        match next {
            // A server answers what it has read; more at once is out of step, mostly.
            Next::Bytes(bytes) if choice & 0x20 != 0 => driver.hear(bytes),
            Next::Bytes(bytes) => {
                bytes.split_inclusive(|&byte| byte == b'\n').for_each(|line| driver.hear(line));
            }
            Next::Event(0) => driver.pass(Duration::from_secs(10)),
            Next::Event(1) => driver.pass(AGES),
            Next::Event(2) => driver.answer_tls(true),
            Next::Event(3) => driver.answer_tls(false),
            Next::Event(4) => driver.sender.quit(driver.now),
            Next::Event(5) => driver.sender.peer_gone(driver.now),
            Next::Event(6) if driver.needs_body => {
                driver.needs_body = false;
                driver.sender.body_failed(driver.now);
            }
            Next::Event(_) => driver.pass(Duration::from_secs(1)),
        }
        driver.drive();
    }
    driver.end();
    driver.delivered
}

fn settings(choice: u8) -> Settings {
    let policies = [TlsPolicy::Never, TlsPolicy::Opportunistic, TlsPolicy::Required];
    let policy = policies[usize::from(choice) % policies.len()];
    let mut settings = Settings::new("mail.grace.test", policy);
    settings.chunking_preferred = choice & 0x04 != 0;
    settings.recipients_max = 1 + usize::from(choice >> 6);
    settings
}

/// One of some jobs.
fn job(number: usize) -> Job {
    let mailbox = |text: &str| Mailbox::parse(text, Charset::Utf8).expect("an address");
    let recipient = |text: &str| JobRecipient {
        address: Recipient::Mailbox(mailbox(text)),
        notify: None,
        original: None,
    };
    let recipients: &[&str] = match number % 3 {
        0 => &["b@y.example"],
        1 => &["b@y.example", "c@y.example", "d@z.example"],
        _ => &["zoë@y.example"],
    };
    let content = [Content::SevenBit, Content::EightBit, Content::Binary];
    Job {
        sender: match number % 4 {
            0 => ReversePath::Null,
            _ => ReversePath::Mailbox(mailbox("a@x.example")),
        },
        recipients: recipients.iter().map(|text| recipient(text)).collect(),
        message: Message {
            size_bytes: 9,
            content: content[number % content.len()],
            utf8: number % 5 == 4,
        },
        returned: None,
        envelope_id: None,
        require_tls: number % 7 == 6,
        deliver_by: (number % 11 == 10).then_some(DeliverBy {
            time_s: 120,
            mode: if number.is_multiple_of(2) { ByMode::Return } else { ByMode::Notify },
            trace: number % 3 == 0,
        }),
    }
}

impl Driver {
    fn new(choice: u8) -> Self {
        Self {
            sender: Sender::new(*BEGAN, settings(choice), None),
            now: *BEGAN,
            job: None,
            jobs: 0,
            needs_body: false,
            in_body: false,
            tls: false,
            closed: false,
            delivered: 0,
        }
    }

    fn hear(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.closed && !self.tls {
            let taken = self.sender.receive(self.now, bytes);
            assert!(taken > 0, "it waits for bytes and takes none");
            bytes = bytes.get(taken..).unwrap_or_default();
            self.drive();
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.sender.timeout(self.now);
        self.drive();
    }

    fn answer_tls(&mut self, is_up: bool) {
        if !std::mem::take(&mut self.tls) {
            return;
        }
        let cipher = "TLS_AES_256_GCM_SHA384".to_owned();
        let tls = Tls { version: "TLSv1.3".to_owned(), cipher, is_verified: false };
        if is_up {
            self.sender.tls_started(self.now, tls);
        } else {
            self.sender.tls_failed(self.now, "no handshake");
        }
    }

    /// Silence, to the end.
    fn end(&mut self) {
        for _ in 0..6 {
            self.pass(AGES);
        }
        assert!(self.closed, "silence does not end it");
    }

    fn drive(&mut self) {
        let mut actions = 0;
        loop {
            while let Some(action) = self.sender.poll() {
                assert!(!self.closed, "{action:?} after Close");
                self.act(action);
                actions += 1;
                assert!(actions < ACTIONS_MAX, "no end of actions");
            }
            if !std::mem::take(&mut self.needs_body) {
                break;
            }
            if std::mem::replace(&mut self.in_body, true) {
                self.in_body = false;
                self.sender.body_end(self.now);
            } else {
                self.sender.body(self.now, b".\r\nbody\r\n");
            }
        }
        assert_eq!(self.sender.deadline().is_some(), !self.closed, "who waits has a deadline");
        let is_deaf = self.closed || self.tls;
        assert_eq!(self.sender.room() == 0, is_deaf, "read only what may be looked at");
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send(bytes) => {
                assert!(!bytes.is_empty() && bytes.len() <= 2 * BODY_PIECE_BYTES_MAX + 1_024);
                assert!(are_lines(&bytes), "{:?}", bytes.escape_ascii().to_string());
            }
            Action::StartTls => self.tls = true,
            Action::NeedBody => {
                assert!(!self.needs_body && self.job.is_some(), "asked twice, or for nothing");
                self.needs_body = true;
            }
            Action::Settled(outcomes) => {
                let recipients = self.job.take().expect("an outcome of nothing");
                assert_eq!(recipients, outcomes.len());
                (self.needs_body, self.in_body) = (false, false);
                outcomes.iter().for_each(look);
                let is_delivered = |o: &&Outcome| matches!(o, Outcome::Delivered { .. });
                self.delivered += outcomes.iter().filter(is_delivered).count();
            }
            Action::Ready if self.jobs < JOBS_MAX => {
                let job = job(self.jobs);
                self.jobs += 1;
                self.job = Some(job.recipients.len());
                assert!(self.sender.deliver(self.now, job).is_ok(), "ready, and takes no job");
            }
            Action::Ready => self.sender.quit(self.now),
            Action::Note(note) => match note.line {
                Line::Command(text) => look_at(&text),
                Line::Reply(reply) => look_at(&reply.to_string()),
                Line::Body(_) => {}
            },
            Action::Close(reason) => {
                assert!(self.job.is_none(), "a job has no outcome");
                if let CloseReason::Failed(failure) = &reason {
                    look_at(&failure.to_string());
                }
                self.closed = true;
            }
        }
    }
}

/// What is told of an outcome is one line, and its class fits.
fn look(outcome: &Outcome) {
    let (failure, class) = match outcome {
        Outcome::Delivered { reply, .. } => return look_at(&reply.to_string()),
        Outcome::Later(failure) => (failure, 4),
        Outcome::Never(failure) => (failure, 5),
        Outcome::NotAttempted => return,
    };
    assert_eq!(failure.status.class, class);
    if let Cause::Reply(reply) = &failure.cause {
        look_at(&reply.to_string());
    }
}

fn look_at(text: &str) {
    assert!(!text.contains(['\r', '\n', '\0', '\x1b']), "{text:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else the fuzzer begins at the door.
    #[test]
    fn seeds_lead_to_delivered_messages() {
        let delivered = |seed: &[u8]| session(seed[0], &seed[1..]);
        assert_eq!(delivered(SESSIONS[0]), 1);
        assert_eq!(delivered(SESSIONS[1]), 1);
        assert_eq!(delivered(SESSIONS[2]), 1);
    }
}
