//! The receiving machine, driven by a driver that answers at once.
//!
//! What must hold: a session that waits has a deadline and room; what it sends is lines; a body
//! that was begun ends or is dropped, and its pieces are bounded; nothing comes after `Close`;
//! silence ends it; and a session whose bytes come one by one says and stores the same as one whose
//! bytes come at once.

use std::time::{Duration, Instant};

use grace_smtp::channel_binding::ChannelBindings;
use grace_smtp::receiver::{Action, CloseReason, KeysAnswer, LoginAnswer, Receiver, TlsFacts};
use grace_smtp::reply::Reply;
use grace_smtp::settings::{BODY_INPUT_BYTES_MAX, Role, Settings};

use crate::machines::{BEGAN, Next, are_lines, parts};

/// Actions that one call may lead to: some for each command in a full input.
const ACTIONS_MAX: usize = 20_000;
/// Longer than every timeout.
const AGES: Duration = Duration::from_secs(100_000);

pub(crate) const SESSIONS: &[&[u8]] = &[
    b"\0EHLO x.example\r\nMAIL FROM:<a@x.example> SIZE=20\r\nRCPT TO:<anna@grace.test>\r\nDATA\r\n\
      Subject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n",
    b"\0EHLO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nBDAT 12\r\nSubject: x\r\n\
      BDAT 5 LAST\r\n\r\nhi\nRSET\r\nNOOP\r\nHELP\r\nVRFY x\r\nQUIT\r\n",
    b"\x01EHLO [127.0.0.1]\r\nSTARTTLS\r\n\xF5\x07EHLO x\r\nAUTH PLAIN AGFubmEAc2VjcmV0\r\n\
      MAIL FROM:<anna@grace.test> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb BY=600;R\r\n\
      RCPT TO:<b@y.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@y.example\r\nDATA\r\nx\r\n.\r\n",
    b"\x02AUTH LOGIN\r\nYW5uYQ==\r\nc2VjcmV0\r\nMAIL FROM:<nobody@grace.test>\r\n\xF5\x00",
    b"\x22AUTH SCRAM-SHA-256 biwsbj1hbm5hLHI9YWJj\r\nYz1iaXdzLHI9YWJjeHl6LHA9AAAA\r\n\xF5\x01",
    b"\x40EHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<no@grace.test>\r\nDATA\r\nGET / HTTP/1.0\r\n",
];

/// What came of a session.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    said: Vec<u8>,
    stored: Vec<Vec<u8>>,
    reason: Option<CloseReason>,
}

struct Driver {
    receiver: Receiver,
    now: Instant,
    body: Option<Vec<u8>>,
    refuses_bodies: bool,
    came: Came,
}

/// A session with its bytes at once, and one with each alone.
pub(crate) fn sessions(input: &[u8]) {
    let Some((&choice, input)) = input.split_first() else { return };
    let whole = session(choice, input, usize::MAX);
    // Who is hung up on for what came too early is not, when it comes later.
    let early = [CloseReason::Hasty, CloseReason::StartTlsInjection, CloseReason::EarlyTalker];
    if whole.reason.is_some_and(|reason| early.contains(&reason)) {
        return;
    }
    let alone = session(choice, input, 1);
    if !alone.reason.is_some_and(|reason| early.contains(&reason)) {
        assert_eq!(whole, alone, "bytes that come alone say the same");
    }
}

fn session(choice: u8, input: &[u8], step: usize) -> Came {
    let settings = settings(choice);
    let tls = (settings.role == Role::Submissions).then(tls_facts);
    let mut driver = Driver {
        receiver: Receiver::new(*BEGAN, settings, tls),
        now: *BEGAN,
        body: None,
        refuses_bodies: false,
        came: Came { said: Vec::new(), stored: Vec::new(), reason: None },
    };
    driver.drive();
    for next in parts(input) {
        match next {
            Next::Bytes(bytes) => driver.hear(bytes, step),
            Next::Event(0) => driver.pass(Duration::from_secs(10)),
            Next::Event(1) => driver.pass(AGES),
            Next::Event(2) => driver.refuses_bodies = !driver.refuses_bodies,
            Next::Event(3) => {
                driver.receiver.shut_down(driver.now);
                driver.drive();
            }
            Next::Event(_) => driver.pass(Duration::from_secs(1)),
        }
    }
    let came = Came {
        said: driver.came.said.clone(),
        stored: driver.came.stored.clone(),
        reason: driver.came.reason,
    };
    for _ in 0..4 {
        driver.pass(AGES);
    }
    assert!(driver.came.reason.is_some(), "silence does not end it");
    came
}

fn settings(choice: u8) -> Settings {
    let role = match choice % 3 {
        0 => Role::Mx,
        1 => Role::Submission,
        _ => Role::Submissions,
    };
    let mut settings = Settings::new("mx.grace.test", role);
    settings.message_bytes_max = 3_000;
    settings.overrun_bytes_max = 3_000;
    settings.login_without_tls = choice & 0x10 != 0;
    settings.oauth_bearer = choice & 0x20 != 0;
    settings.tarpit.errors_free = (choice & 0x40 != 0).then_some(2);
    if choice & 0x80 != 0 {
        settings.greet_pause = Duration::from_secs(5);
    }
    settings
}

fn tls_facts() -> TlsFacts {
    TlsFacts {
        version: "TLSv1.3".to_owned(),
        cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
        bindings: ChannelBindings { exporter: Some([7; 32]), server_end_point: None },
        is_certified: false,
    }
}

impl Driver {
    fn hear(&mut self, mut bytes: &[u8], step: usize) {
        while !bytes.is_empty() && self.came.reason.is_none() {
            let piece = bytes.get(..step).unwrap_or(bytes);
            let taken = self.receiver.receive(self.now, piece);
            assert!(taken > 0, "it waits for bytes and takes none");
            bytes = bytes.get(taken..).unwrap_or_default();
            self.drive();
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.receiver.timeout(self.now);
        self.drive();
    }

    fn drive(&mut self) {
        let mut actions = 0;
        while let Some(action) = self.receiver.poll() {
            assert!(self.came.reason.is_none(), "{action:?} after Close");
            self.act(action);
            actions += 1;
            assert!(actions < ACTIONS_MAX, "no end of actions");
        }
        let waits = self.came.reason.is_none();
        assert_eq!(self.receiver.deadline().is_some(), waits, "who waits has a deadline");
        assert_eq!(self.receiver.room() > 0, waits, "who waits has room");
    }

    fn act(&mut self, action: Action) {
        let now = self.now;
        match action {
            Action::Send(bytes) => {
                assert!(are_lines(&bytes), "{:?}", bytes.escape_ascii().to_string());
                self.came.said.extend_from_slice(&bytes);
            }
            Action::CheckSender(sender) => {
                let is_known = !sender.to_string().starts_with("nobody");
                let no = || Reply::new(553, (5, 7, 1), &format!("not yours: <{sender}>"));
                self.receiver.answer_sender(now, is_known.then_some(()).ok_or_else(no));
            }
            Action::CheckRecipient(recipient) => {
                let is_known = !recipient.to_string().starts_with("no");
                let no = || Reply::new(550, (5, 1, 1), &format!("no mailbox <{recipient}>"));
                self.receiver.answer_recipient(now, is_known.then_some(()).ok_or_else(no));
            }
            Action::Authenticate(credentials) => {
                let answer = match credentials.password.expose() {
                    "secret" => LoginAnswer::Yes(credentials.login),
                    "later" => LoginAnswer::Later,
                    _ => LoginAnswer::No,
                };
                self.receiver.answer_login(now, answer);
            }
            Action::FindKeys(_) => self.receiver.answer_keys(now, KeysAnswer::Later),
            Action::ProofChecked(_) | Action::CheckToken(_) | Action::CheckCertificate(_) => {
                self.receiver.answer_login(now, LoginAnswer::No);
            }
            Action::StartTls => self.receiver.tls_started(now, tls_facts()),
            Action::Wait(time) => self.now += time,
            Action::Note(_) => {}
            Action::Close(reason) => self.came.reason = Some(reason),
            Action::BodyBegin(_) | Action::Body(_) | Action::BodyEnd | Action::BodyDropped => {
                self.keep(action);
            }
        }
    }

    fn keep(&mut self, action: Action) {
        match action {
            Action::BodyBegin(envelope) => {
                assert!(self.body.is_none(), "two bodies at once");
                assert!(!envelope.recipients.is_empty(), "a body for nobody");
                self.body = Some(Vec::new());
                self.receiver.answer_body(self.now, Ok(()));
            }
            Action::Body(bytes) => {
                assert!(!bytes.is_empty() && bytes.len() <= 2 * BODY_INPUT_BYTES_MAX + 2);
                // A piece that is under way when the body is given up is nobody's.
                if let Some(body) = &mut self.body {
                    body.extend_from_slice(&bytes);
                }
            }
            Action::BodyEnd => {
                let body = self.body.take().expect("an end of nothing");
                assert!(body.len() <= 3_000, "larger than allowed: {}", body.len());
                let answer = if self.refuses_bodies {
                    Err(Reply::new(451, (4, 3, 0), "no room"))
                } else {
                    self.came.stored.push(body);
                    Ok("7f3a".to_owned())
                };
                self.receiver.answer_end(self.now, answer);
            }
            _ => assert!(self.body.take().is_some(), "nothing to drop"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else the fuzzer begins at the door.
    #[test]
    fn seeds_lead_to_stored_messages() {
        let stored = |seed: &[u8]| session(seed[0], &seed[1..], usize::MAX).stored;
        assert_eq!(stored(SESSIONS[0]), [b"Subject: x\r\n\r\n.dot\r\n".to_vec()]);
        assert_eq!(stored(SESSIONS[1]).len(), 1);
        assert_eq!(stored(SESSIONS[2]).len(), 1);
    }
}
