//! The driver's answers to what it was asked.
//!
//! Invariants: an answer fits the question that is open; another one is a mistake of ours and
//! panics, for the session's state is then unknown (DESIGN: a panic ends its session alone).
//! Not here: the questions (`commands`, `body`), answers about logins (`logins`).

use std::time::Instant;

use crate::receiver::{
    Action, Arrival, CloseReason, Mailing, Note, Phase, Question, Receiver, Session, TlsFacts,
};
use crate::reply::{Reply, fixed};

impl Receiver {
    /// Answers [`Action::CheckSender`].
    pub fn answer_sender(&mut self, now: Instant, answer: Result<(), Reply>) {
        let Question::Sender(envelope) = self.answered(now) else { wrong("a sender") };
        match answer {
            Ok(()) => {
                self.reply(&fixed::SENDER_OK);
                self.enter(Phase::Command(Mailing::Begun(envelope)));
            }
            Err(reply) => {
                self.enter(Phase::Command(Mailing::None));
                self.refuse(format!("MAIL FROM:<{}>", envelope.sender), &reply);
            }
        }
    }

    /// Answers [`Action::CheckRecipient`].
    pub fn answer_recipient(&mut self, now: Instant, answer: Result<(), Reply>) {
        let Question::Recipient(mut envelope, recipient) = self.answered(now) else {
            wrong("a recipient")
        };
        match answer {
            Ok(()) => {
                envelope.recipients.push(recipient);
                self.reply(&fixed::RECIPIENT_OK);
                self.enter(Phase::Command(Mailing::Begun(envelope)));
            }
            Err(reply) => {
                self.enter(Phase::Command(Mailing::Begun(envelope)));
                self.note(Note::CommandRefused {
                    command: format!("RCPT TO:<{recipient}>"),
                    reply: reply.to_string(),
                });
                if reply.code() < 500 {
                    return self.put_off(&reply);
                }
                self.counts.recipients_refused += 1;
                let count = self.counts.recipients_refused;
                self.reply_slowly(&reply, count, self.settings.tarpit.recipients_free);
                if self.counts.recipients_refused >= self.settings.recipients_refused_max {
                    let reason = CloseReason::TooManyRecipientsRefused;
                    self.close(reason, &fixed::TOO_MANY_REFUSED);
                }
            }
        }
    }

    /// Says that a recipient is to be tried later. Who is put off does not try names, so that it is
    /// neither slowed down nor counted with those who do; but it is not for ever.
    fn put_off(&mut self, reply: &Reply) {
        self.reply(reply);
        self.counts.recipients_put_off += 1;
        let count = usize::try_from(self.counts.recipients_put_off).unwrap_or(usize::MAX);
        if count >= self.settings.recipients_max {
            self.close(CloseReason::TooManyRecipientsPutOff, &fixed::TOO_MANY_PUT_OFF);
        }
    }

    /// Answers [`Action::BodyBegin`].
    pub fn answer_body(&mut self, now: Instant, answer: Result<(), Reply>) {
        let Question::Body(mut incoming, arrival) = self.answered(now) else { wrong("a body") };
        match (answer, arrival) {
            (Ok(()), Arrival::Data) => {
                self.reply(&fixed::GO_AHEAD);
                self.enter(Phase::Body(incoming, arrival));
            }
            (Ok(()), Arrival::Chunk { .. }) => self.enter(Phase::Body(incoming, arrival)),
            (Err(reply), Arrival::Data) => {
                let hasty = !self.input.is_empty();
                self.message_refused(&incoming.envelope, &reply);
                if hasty {
                    self.end_hasty();
                }
            }
            // The chunk comes in any case: read it away, then say no.
            (Err(reply), Arrival::Chunk { .. }) => {
                incoming.refused = Some(reply);
                self.enter(Phase::Body(incoming, arrival));
            }
        }
    }

    /// Answers [`Action::BodyEnd`]: the message's number, once it is on disk for good.
    pub fn answer_end(&mut self, now: Instant, answer: Result<String, Reply>) {
        let Question::End(incoming) = self.answered(now) else { wrong("the end of a body") };
        // A body that could not be kept in its middle is not kept at its end.
        match incoming.refused.clone().map_or(answer, Err) {
            Ok(queue_id) => {
                self.counts.errors = 0;
                self.counts.idle_commands = 0;
                self.counts.messages += 1;
                self.reply(&Reply::new(250, (2, 0, 0), &format!("ok, queued as {queue_id}")));
                self.enter(Phase::Command(Mailing::None));
            }
            Err(reply) => self.message_refused(&incoming.envelope, &reply),
        }
    }

    /// Answers [`Action::StartTls`]. If the handshake failed, drop the session instead.
    pub fn tls_started(&mut self, now: Instant, facts: TlsFacts) {
        let Question::Tls = self.answered(now) else { wrong("TLS") };
        // RFC 3207 4.2: what was said in the clear is forgotten.
        self.session = Session { hello: None, tls: Some(facts), login: None };
        self.opened = now;
        self.enter(Phase::Command(Mailing::None));
    }

    pub(super) fn answered(&mut self, now: Instant) -> Question {
        self.now = now;
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Asked(question) => question,
            _ => wrong("nothing"),
        }
    }

    /// Ends the session of a peer whose next bytes are the body of a message we refused.
    pub(super) fn end_hasty(&mut self) {
        if !matches!(self.phase, Phase::Closed) {
            self.close(CloseReason::Hasty, &fixed::HASTE);
        }
    }

    pub(super) fn note(&mut self, note: Note) {
        self.actions.push_back(Action::Note(note));
    }
}

#[expect(clippy::panic, reason = "the driver answered what it was not asked: a bug of ours")]
pub(super) fn wrong(answered: &str) -> ! {
    panic!("an answer about {answered} that does not fit the open question")
}
