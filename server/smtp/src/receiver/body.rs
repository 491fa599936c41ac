//! Bodies on their way in: DATA, BDAT, and the bytes of a BDAT that nobody wants.
//!
//! Invariants: a body that is refused in its middle is read to its real end, so that no byte of it
//! is ever taken for a command; how much is read away for nothing is limited.
//! Not here: the decoding (`crate::body`), when a body may begin (`commands`).

use std::time::Instant;

use crate::body::{BodyDecoder, Framing};
use crate::parameters::BodyType;
use crate::receiver::{
    Action, Arrival, CloseReason, Envelope, Incoming, Mailing, Note, Phase, Question, Receiver,
};
use crate::reply::{Reply, fixed};
use crate::settings::{LoneLineEnds, Settings};

impl Incoming {
    pub(super) fn new(
        envelope: Envelope,
        arrival: Arrival,
        settings: &Settings,
        now: Instant,
    ) -> Self {
        let is_binary = envelope.parameters.body == BodyType::Binary;
        let (framing, lone_line_ends): (Framing, LoneLineEnds) = match arrival {
            Arrival::Data => (Framing::Dots, settings.lone_line_ends_in_data),
            Arrival::Chunk { .. } if is_binary => {
                (Framing::Binary, settings.lone_line_ends_in_chunks)
            }
            Arrival::Chunk { .. } => (Framing::Counted, settings.lone_line_ends_in_chunks),
        };
        let decoder = BodyDecoder::new(framing, lone_line_ends);
        Self { envelope, decoder, size_bytes: 0, began: now, refused: None }
    }
}

impl Receiver {
    /// Decodes the input there is.
    pub(super) fn step_body(&mut self) -> bool {
        let Phase::Body(mut incoming, arrival) = std::mem::replace(&mut self.phase, Phase::Closed)
        else {
            return false;
        };
        let nothing_left = matches!(arrival, Arrival::Chunk { left_bytes: 0, .. });
        if self.input.is_empty() && !nothing_left {
            self.phase = Phase::Body(incoming, arrival);
            return false;
        }
        let mut piece = Vec::with_capacity(self.input.len());
        let (ended, arrival) = self.decode(&mut incoming, arrival, &mut piece);
        incoming.size_bytes = incoming.size_bytes.saturating_add(piece.len() as u64);
        if incoming.size_bytes > self.settings.message_bytes_max {
            self.refuse_rest(&mut incoming, fixed::TOO_LARGE);
        } else if incoming.decoder.is_refused() {
            self.refuse_rest(&mut incoming, fixed::LONE_LINE_END);
        } else if incoming.refused.is_none() && !piece.is_empty() {
            self.actions.push_back(Action::Body(piece));
            if matches!(arrival, Arrival::Chunk { .. }) {
                // A chunk is answered when the driver has taken its bytes: it may fail to.
                self.phase = Phase::Body(incoming, arrival);
                return true;
            }
        }
        if ended {
            self.body_ended(incoming, arrival);
            return true;
        }
        let bytes_max =
            self.settings.message_bytes_max.saturating_add(self.settings.overrun_bytes_max);
        let overrun = incoming.size_bytes > bytes_max;
        self.phase = Phase::Body(incoming, arrival);
        if overrun {
            self.close(CloseReason::Overrun, &fixed::TOO_LARGE);
        }
        true
    }

    /// Takes from the input what belongs to the body; says whether the body, or the chunk, ended.
    fn decode(
        &mut self,
        incoming: &mut Incoming,
        arrival: Arrival,
        piece: &mut Vec<u8>,
    ) -> (bool, Arrival) {
        match arrival {
            Arrival::Data => {
                let fed = incoming.decoder.feed(self.input.as_slice(), piece);
                self.input.skip(fed.taken);
                (fed.ended, arrival)
            }
            Arrival::Chunk { left_bytes, last } => {
                let input = self.input.as_slice();
                let count = usize::try_from(left_bytes).unwrap_or(usize::MAX).min(input.len());
                incoming.decoder.feed(input.get(..count).unwrap_or_default(), piece);
                self.input.skip(count);
                let left_bytes = left_bytes - count as u64;
                if left_bytes == 0 && last {
                    incoming.decoder.finish(piece);
                }
                (left_bytes == 0, Arrival::Chunk { left_bytes, last })
            }
        }
    }

    fn body_ended(&mut self, incoming: Incoming, arrival: Arrival) {
        if let Some(reply) = incoming.refused {
            self.phase = Phase::Command(Mailing::None);
            self.message_refused(&incoming.envelope, &reply);
            return;
        }
        match arrival {
            Arrival::Data | Arrival::Chunk { last: true, .. } => {
                self.ask(Question::End(incoming), Action::BodyEnd);
            }
            Arrival::Chunk { last: false, .. } => {
                self.reply(&fixed::CHUNK_OK);
                self.enter(Phase::Command(Mailing::Chunked(incoming)));
            }
        }
    }

    /// Refuses a message after its body began. The caller has left the body's phase.
    pub(super) fn message_refused(&mut self, envelope: &Envelope, reply: &Reply) {
        self.actions.push_back(Action::Note(Note::MessageRefused {
            sender: envelope.sender.to_string(),
            reply: reply.to_string(),
        }));
        self.reply(reply);
        self.enter(Phase::Command(Mailing::None));
        self.count_error();
    }

    /// From here on the body is read only to find its end.
    fn refuse_rest(&mut self, incoming: &mut Incoming, reply: Reply) {
        if incoming.refused.is_none() {
            self.actions.push_back(Action::BodyDropped);
            incoming.refused = Some(reply);
        }
    }

    /// Reads away the bytes of a BDAT that was refused (RFC 3030 2: they come in any case).
    pub(super) fn step_unwanted(&mut self) -> bool {
        let Phase::Unwanted { left_bytes, line, reply } = &mut self.phase else { return false };
        let count = usize::try_from(*left_bytes).unwrap_or(usize::MAX).min(self.input.len());
        self.input.skip(count);
        *left_bytes -= count as u64;
        if *left_bytes > 0 {
            return count > 0;
        }
        let (line, reply) = (std::mem::take(line), reply.clone());
        self.enter(Phase::Command(Mailing::None));
        self.refuse(line, &reply);
        true
    }

    /// The driver cannot keep the body it is given (a full disk, say): the peer hears `reply` when
    /// it has sent everything. The driver forgets the body by itself.
    pub fn fail_body(&mut self, reply: Reply) {
        if let Phase::Body(incoming, _)
        | Phase::Command(Mailing::Chunked(incoming))
        | Phase::Asked(Question::End(incoming)) = &mut self.phase
        {
            incoming.refused.get_or_insert(reply);
            self.actions.retain(|action| !matches!(action, Action::Body(_) | Action::BodyDropped));
        }
    }
}
