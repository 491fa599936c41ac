//! Our sender against our receiver, in memory: what is sent arrives, byte for byte.

use super::*;
use crate::receiver::{Action as Asks, Receiver};
use crate::reply::Reply;
use crate::settings::{Role, Settings as ReceiverSettings};

/// A message that arrived.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arrived {
    recipients: Vec<String>,
    body: Vec<u8>,
}

/// Both machines and the wires between them.
struct Pair {
    sender: Sender,
    receiver: Receiver,
    now: Instant,
    /// How many bytes cross the wire at once.
    step: usize,
    to_receiver: Vec<u8>,
    to_sender: Vec<u8>,
    /// What is left to send, and to hand over.
    message: Vec<u8>,
    needs_body: bool,
    arriving: Arrived,
    arrived: Vec<Arrived>,
    outcomes: Vec<Outcome>,
    is_ready: bool,
    sender_closed: Option<CloseReason>,
}

impl Pair {
    fn new(settings: Settings, receiver: ReceiverSettings, step: usize) -> Self {
        let now = Instant::now();
        Self {
            sender: Sender::new(now, settings, None),
            receiver: Receiver::new(now, receiver, None),
            now,
            step,
            to_receiver: Vec::new(),
            to_sender: Vec::new(),
            message: Vec::new(),
            needs_body: false,
            arriving: Arrived::default(),
            arrived: Vec::new(),
            outcomes: Vec::new(),
            is_ready: false,
            sender_closed: None,
        }
    }

    /// Sends one job to its end.
    fn send(&mut self, job: Job, message: &[u8]) -> Vec<Outcome> {
        self.message = message.to_vec();
        self.is_ready = false;
        self.sender.deliver(self.now, job).expect("it takes a job");
        self.run();
        std::mem::take(&mut self.outcomes)
    }

    fn quit(&mut self) {
        self.sender.quit(self.now);
        self.run();
        assert_eq!(self.sender_closed, Some(CloseReason::Quit));
    }

    /// Moves bytes and answers until nothing moves.
    fn run(&mut self) {
        loop {
            let moved = self.run_sender() | self.run_receiver();
            let crossed = self.cross();
            if !moved && !crossed {
                break;
            }
        }
    }

    fn cross(&mut self) -> bool {
        let room = self.receiver.room().min(self.step).min(self.to_receiver.len());
        let bytes: Vec<u8> = self.to_receiver.drain(..room).collect();
        self.receiver.receive(self.now, &bytes);
        let room = self.sender.room().min(self.step).min(self.to_sender.len());
        let answers: Vec<u8> = self.to_sender.drain(..room).collect();
        self.sender.receive(self.now, &answers);
        !bytes.is_empty() || !answers.is_empty()
    }

    fn run_sender(&mut self) -> bool {
        let mut moved = false;
        while let Some(action) = self.sender.poll() {
            moved = true;
            match action {
                Action::Send(bytes) => self.to_receiver.extend_from_slice(&bytes),
                Action::StartTls => self.sender.tls_started(self.now, tls(true)),
                Action::NeedBody => self.needs_body = true,
                Action::Settled(outcomes) => self.outcomes = outcomes,
                Action::Ready => self.is_ready = true,
                Action::Note(_) => {}
                Action::Close(reason) => self.sender_closed = Some(reason),
            }
        }
        // A piece goes out when the one before is on its way.
        if self.needs_body && self.to_receiver.is_empty() {
            self.needs_body = false;
            let count = BODY_PIECE_BYTES_MAX.min(self.step).min(self.message.len());
            let piece: Vec<u8> = self.message.drain(..count).collect();
            match piece.as_slice() {
                [] => self.sender.body_end(self.now),
                piece => self.sender.body(self.now, piece),
            }
            moved = true;
        }
        moved
    }

    fn run_receiver(&mut self) -> bool {
        let (mut moved, now) = (false, self.now);
        while let Some(action) = self.receiver.poll() {
            moved = true;
            match action {
                Asks::Send(bytes) => self.to_sender.extend_from_slice(&bytes),
                Asks::CheckSender(_) => self.receiver.answer_sender(now, Ok(())),
                Asks::CheckRecipient(recipient) => {
                    let no = Reply::new(550, (5, 1, 1), "no such mailbox");
                    let is_known = !recipient.to_string().starts_with("no");
                    self.receiver.answer_recipient(now, if is_known { Ok(()) } else { Err(no) });
                }
                Asks::BodyBegin(envelope) => {
                    let recipients = envelope.recipients.iter().map(ToString::to_string).collect();
                    self.arriving = Arrived { recipients, body: Vec::new() };
                    self.receiver.answer_body(now, Ok(()));
                }
                Asks::Body(bytes) => self.arriving.body.extend_from_slice(&bytes),
                Asks::BodyEnd => {
                    self.arrived.push(std::mem::take(&mut self.arriving));
                    self.receiver.answer_end(now, Ok("1".to_owned()));
                }
                Asks::StartTls => panic!("it was not offered"),
                _ => {}
            }
        }
        moved
    }
}

fn far_side() -> ReceiverSettings {
    ReceiverSettings { starttls: false, ..ReceiverSettings::new("mx.grace.test", Role::Mx) }
}

fn is_delivered(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Delivered { .. })
}

/// Every message, with DATA and with BDAT, in pieces of several sizes, in one session.
#[test]
fn bodies_arrive_byte_for_byte() {
    let lines = "To: you\r\n\r\n.\r\n..\r\n.a\r\n...\r\n".repeat(300);
    let long = "x".repeat(200_000);
    let messages: &[&[u8]] = &[
        b"Hi\r\n",
        b"",
        b".",
        b".\r\n",
        b"no end",
        lines.as_bytes(),
        long.as_bytes(),
        b"\xff\x00\r\n",
    ];
    for chunked in [false, true] {
        for step in [1, 7, 4_096, usize::MAX] {
            let settings = Settings { chunking_preferred: chunked, ..settings() };
            let mut pair = Pair::new(settings, far_side(), step);
            for message in messages.iter().filter(|message| step > 1 || message.len() < 10_000) {
                let words = "a@x.example b@y.example,nobody2@y.example,c@y.example 8bit";
                let outcomes = pair.send(job(words, message.len() as u64), message);
                let delivered: Vec<bool> = outcomes.iter().map(is_delivered).collect();
                assert_eq!(delivered, [true, false, true], "{outcomes:?}");
                assert!(matches!(&outcomes[1], Outcome::Never(no) if no.status.detail == 1));
                let mut body = message.to_vec();
                if !chunked && !body.is_empty() && !body.ends_with(b"\r\n") {
                    body.extend_from_slice(b"\r\n");
                }
                let recipients = vec!["b@y.example".to_owned(), "c@y.example".to_owned()];
                assert_eq!(pair.arrived.pop(), Some(Arrived { recipients, body }));
                assert!(pair.is_ready && pair.to_receiver.is_empty() && pair.to_sender.is_empty());
            }
            pair.quit();
        }
    }
}

/// 1,000 recipients at a server that takes 100: ten transactions, each recipient once.
#[test]
fn a_thousand_recipients() {
    for (ours, theirs) in [(100, 1_000), (1_000, 100)] {
        let receiver = ReceiverSettings { recipients_max: theirs, ..far_side() };
        let sender = Settings { recipients_max: ours, ..settings() };
        let mut pair = Pair::new(sender, receiver, usize::MAX);
        let names: Vec<String> = (0..1_000).map(|n| format!("r{n}@y.example")).collect();
        let mut job = job(&format!("a@x.example {}", names.join(",")), 4);
        let mut got = Vec::new();
        for _ in 0..10 {
            let outcomes = pair.send(job.clone(), b"Hi\r\n");
            let arrived = pair.arrived.pop().expect("a message");
            assert_eq!(arrived.body, b"Hi\r\n");
            assert_eq!(arrived.recipients.len(), 100);
            got.extend(arrived.recipients);
            let mut outcomes = outcomes.into_iter();
            job.recipients.retain(|_| match outcomes.next() {
                Some(Outcome::NotAttempted) => true,
                other => {
                    assert!(other.as_ref().is_some_and(is_delivered), "{other:?}");
                    false
                }
            });
        }
        assert!(job.recipients.is_empty());
        assert_eq!(got, names);
        pair.quit();
    }
}

#[test]
fn refusals_of_the_receiver() {
    let receiver = ReceiverSettings { message_bytes_max: 10, ..far_side() };
    let mut pair = Pair::new(settings(), receiver, usize::MAX);
    // By the size it offers, without a word.
    let outcomes = pair.send(job("a@x.example b@y.example", 11), b"12345678\r\n\r\n");
    assert!(matches!(&outcomes[..], [Outcome::Never(no)] if no.status.to_string() == "5.3.4"));
    // By what really came: the size was a lie.
    let outcomes = pair.send(job("a@x.example b@y.example", 9), b"12345678\r\n\r\n");
    assert!(matches!(&outcomes[..], [Outcome::Never(no)] if no.status.to_string() == "5.3.4"));
    let outcomes = pair.send(job("a@x.example no@y.example,no2@y.example", 4), b"Hi\r\n");
    assert!(matches!(&outcomes[..], [Outcome::Never(_), Outcome::Never(_)]));
    assert!(pair.is_ready && pair.arrived.is_empty());
    let outcomes = pair.send(job("a@x.example b@y.example", 4), b"Hi\r\n");
    assert!(is_delivered(&outcomes[0]));
    pair.quit();
}
