//! MAIL, RCPT and DATA: what goes out when, and what the replies mean.
//!
//! ```text
//!   the replies are                       then
//!   DATA accepted, somebody got in        the body
//!   DATA accepted, nobody got in          a lone dot, whose reply means nothing (RFC 2920 3.1)
//!   somebody got in, chunks are wanted    the body, in chunks
//!   anything else, or the envelope only   settled; RSET if the peer has a transaction open
//! ```
//! Invariants: with PIPELINING a group of commands goes out in one piece and ends with DATA;
//! without it, every command waits for the reply to the one before.
//! Not here: the words of the commands and who is accepted (`transaction`), the body (`body`).

use crate::sender::body::Framing;
use crate::sender::dots::DotStuffer;
use crate::sender::outcome::Failure;
use crate::sender::reply::PeerReply;
use crate::sender::settings::PIPELINED_COMMANDS_MAX;
use crate::sender::{Asked, CloseReason, Phase, Progress, Sender};

impl Sender {
    /// The turn of the job has come.
    pub(super) fn begin_job(&mut self) {
        let Some(transaction) = &mut self.transaction else { return };
        let peer = (&self.extensions, self.tls.as_ref());
        transaction.begin(self.now, peer, &self.settings, &mut self.used);
        self.enter(Phase::Envelope);
        self.go_on();
    }

    pub(super) fn envelope_answered(&mut self, asked: Asked, reply: PeerReply) {
        let Some(transaction) = &mut self.transaction else { return };
        match (asked, reply.class()) {
            (Asked::Mail, 2) => transaction.mail_accepted(),
            (Asked::Mail, 4 | 5) => transaction.mail_refused(reply),
            (Asked::Rcpt(index), 2 | 4 | 5) => transaction.rcpt_answered(index, reply),
            (Asked::Data, 3) => transaction.data_answered(true),
            (Asked::Data, 4 | 5) => {
                transaction.data_answered(false);
                transaction.refuse(Failure::replied(reply));
            }
            _ => return self.unexpected(asked, reply),
        }
        self.go_on();
    }

    /// Sends what may be sent; when all of it is answered, goes on to the body or to the end.
    fn go_on(&mut self) {
        self.fill();
        let Some(transaction) = &self.transaction else { return };
        if !self.unanswered.is_empty() {
            return;
        }
        match (transaction.data(), transaction.has_accepted()) {
            (Progress::Accepted, true) => self.begin_body(Framing::Dots(DotStuffer::new())),
            (Progress::Accepted, false) => {
                self.settle();
                self.enter(Phase::Clearing);
                self.command(Asked::LoneDot, ".", ".");
            }
            (Progress::Unsent, true) if !self.settings.envelope_only => {
                self.begin_body(Framing::Chunks);
            }
            _ => {
                let is_open = transaction.mail() == Progress::Accepted;
                self.settle();
                if is_open { self.reset() } else { self.next_job() }
            }
        }
    }

    /// Sends commands ahead of their replies, as far as the peer allows. A half-empty window is
    /// filled, so that a reply a command does not become a packet a command.
    fn fill(&mut self) {
        let window = if self.extensions.pipelining { PIPELINED_COMMANDS_MAX } else { 1 };
        if self.unanswered.len() > window / 2 {
            return;
        }
        while self.unanswered.len() < window {
            let Some(transaction) = &mut self.transaction else { return };
            let unanswered = self.unanswered.len();
            let next = transaction.next_command(&self.extensions, &self.settings, unanswered);
            let Some((asked, line)) = next else { return };
            if asked == Asked::Mail {
                self.used.transactions = self.used.transactions.saturating_add(1);
            }
            self.command(asked, &line, &line);
        }
    }

    /// The peer has a transaction open that nobody wants.
    pub(super) fn reset(&mut self) {
        if self.is_stopping {
            return self.say_quit(CloseReason::Quit);
        }
        self.enter(Phase::Clearing);
        self.command(Asked::Reset, "RSET", "RSET");
    }

    /// What was left to answer is answered: the session is as it was before the job.
    pub(super) fn cleared(&mut self, asked: Asked, reply: PeerReply) {
        match (asked, reply.class()) {
            // RFC 2920 3.1: 554 or anything; even a 250 is for nobody.
            (Asked::LoneDot, 2 | 4 | 5) | (_, 2) => self.next_job(),
            // A peer that cannot even forget is not to be trusted with another message.
            (_, 4 | 5) => self.give_up(Failure::replied(reply)),
            _ => self.unexpected(asked, reply),
        }
    }
}
