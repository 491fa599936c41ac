//! The body on its way out, as DATA or in chunks (RFC 3030), and the reply to the whole message.
//!
//! Invariants: the driver is asked for one piece at a time; once the end is sent and until it is
//! answered, the message may have been delivered; a message that cannot be sent to its end is never
//! ended, for the peer would take it for whole.
//! Not here: dots and line ends (`dots`).

use std::time::Instant;

use crate::sender::dots::DotStuffer;
use crate::sender::outcome::{Failure, Reason};
use crate::sender::reply::PeerReply;
use crate::sender::settings::PIPELINED_CHUNKS_MAX;
use crate::sender::{Action, Asked, Line, Phase, Sender};

/// How a body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After DATA (RFC 5321 4.1.1.4).
    Dots(DotStuffer),
    /// With BDAT. The last chunk has no bytes, so that no piece must be held back to be the last.
    Chunks,
}

impl Sender {
    pub(super) fn begin_body(&mut self, framing: Framing) {
        self.body_bytes = 0;
        self.enter(Phase::Body(framing));
        self.actions.push_back(Action::NeedBody);
    }

    /// Answers [`Action::NeedBody`] with the next piece. Does nothing if the job was settled since.
    pub fn body(&mut self, now: Instant, piece: &[u8]) {
        self.now = now;
        if self.is_gone {
            return;
        }
        match &mut self.phase {
            Phase::Body(Framing::Dots(stuffer)) => {
                self.output.reserve(piece.len());
                stuffer.feed(piece, &mut self.output);
            }
            Phase::Body(Framing::Chunks) if piece.is_empty() => {}
            Phase::Body(Framing::Chunks) => {
                let line = format!("BDAT {}", piece.len());
                self.command(Asked::Chunk, &line, &line);
                if self.phase == Phase::Closed {
                    return;
                }
                self.write(piece);
            }
            _ => return,
        }
        self.since = now;
        self.body_bytes = self.body_bytes.saturating_add(piece.len() as u64);
        // With chunks, more is asked for when enough of them are answered.
        if matches!(self.phase, Phase::Body(_)) && self.unanswered.len() < self.chunks_max() {
            self.actions.push_back(Action::NeedBody);
        }
    }

    fn chunks_max(&self) -> usize {
        if self.extensions.pipelining { PIPELINED_CHUNKS_MAX } else { 1 }
    }

    /// Answers [`Action::NeedBody`]: there is no more. Does nothing if the job was settled since.
    pub fn body_end(&mut self, now: Instant) {
        self.now = now;
        let Phase::Body(framing) = self.phase else { return };
        if self.is_gone {
            return;
        }
        self.note(Line::Body(self.body_bytes));
        self.enter(Phase::Ending);
        match framing {
            Framing::Dots(stuffer) => {
                stuffer.finish(&mut self.output);
                self.wait_for(Asked::End);
            }
            Framing::Chunks => self.command(Asked::End, "BDAT 0 LAST", "BDAT 0 LAST"),
        }
    }

    /// Answers [`Action::NeedBody`]: the message cannot be read. The connection is cut, for there
    /// is no way to take back what was sent of it.
    pub fn body_failed(&mut self, now: Instant) {
        self.now = now;
        if matches!(self.phase, Phase::Body(_)) {
            self.fail(Failure::found(Reason::BodyFailed));
        }
    }

    pub(super) fn chunk_answered(&mut self, reply: PeerReply) {
        let has_room = self.unanswered.len() + 1 == self.chunks_max();
        match (reply.class(), &self.phase) {
            (2, Phase::Body(_)) if has_room => self.actions.push_back(Action::NeedBody),
            (2, Phase::Body(_) | Phase::Ending) => {}
            // The replies to chunks that were sent ahead, of a message that was refused.
            (2 | 4 | 5, Phase::Clearing) => self.chunks_cleared(),
            (4 | 5, _) => {
                self.refuse(reply);
                // RFC 3030 2: after a refused BDAT the client says RSET.
                self.phase = Phase::Clearing;
                self.chunks_cleared();
            }
            _ => self.unexpected(Asked::Chunk, reply),
        }
    }

    fn refuse(&mut self, reply: PeerReply) {
        if let Some(transaction) = &mut self.transaction {
            transaction.refuse(Failure::replied(reply));
        }
        self.settle();
    }

    fn chunks_cleared(&mut self) {
        if self.unanswered.is_empty() {
            self.reset();
        }
    }

    /// The reply to the whole message. With LMTP (RFC 2033 4.2) there would be one for each
    /// accepted recipient, each with its own `Asked::End`.
    pub(super) fn end_answered(&mut self, reply: PeerReply) {
        match (reply.class(), &mut self.transaction) {
            (2, Some(transaction)) => {
                transaction.deliver(&reply, &self.extensions);
                self.settle();
                self.next_job();
            }
            (4 | 5, Some(_)) => {
                self.refuse(reply);
                self.next_job();
            }
            // The last of the chunks of a message that was refused in its middle.
            (2 | 4 | 5, None) => self.chunks_cleared(),
            _ => self.unexpected(Asked::End, reply),
        }
    }

    /// The peer refuses a message that is not sent to its end. There is no way to end it that is
    /// not taken for its end, so the connection is cut.
    pub(super) fn refused_early(&mut self, reply: PeerReply) {
        let failure = Failure::replied(reply.clone());
        if reply.code != 421 {
            self.refuse(reply);
        }
        self.fail(failure);
    }
}
