//! The framer with its decisions, and the grammar.
//!
//! What must hold: bytes that come one by one make the same frames as bytes that come at once; a
//! command that was read is read again the same; a refusal that is an answer is one line of text.

use grace_imap::cursor::Refusal;
use grace_imap::framer::{Frame, Framer};
use grace_imap::grammar::{self, Dialect};

/// Feeds the framer, and what it finds to the grammar.
pub(crate) fn commands(input: &[u8]) {
    let whole = frames(input, usize::MAX);
    assert_eq!(whole, frames(input, 1), "bytes that come alone make other frames");
    for frame in whole {
        let Frame::Command(command) = frame else { continue };
        for (utf8, no_charset) in [(false, false), (true, false), (true, true)] {
            let dialect = Dialect { utf8, no_charset };
            match grammar::command(&command, dialect) {
                Ok(read) => assert_eq!(Ok(read), grammar::command(&command, dialect)),
                Err(Refusal::Bad(text) | Refusal::BadWith(_, text) | Refusal::No(_, text)) => {
                    let is_line = !text.contains(['\r', '\n', '\0']);
                    assert!(is_line && text.len() < 1_000, "{text:?} is said to a client");
                }
            }
        }
    }
}

/// Everything the framer finds; pieces of a streamed literal joined, for they depend on the cut.
fn frames(input: &[u8], step: usize) -> Vec<Frame> {
    let mut framer = Framer::default();
    let mut frames: Vec<Frame> = Vec::new();
    for piece in input.chunks(step.min(input.len().max(1))) {
        framer.push(piece);
        while let Some(frame) = framer.next_frame() {
            match (&frame, frames.last_mut()) {
                (Frame::Announced(announced), _) => match announced.size % 5 {
                    0 => framer.stream(),
                    1 => framer.refuse(),
                    _ if announced.size > 1_000 => framer.refuse(),
                    _ => framer.collect(),
                },
                (Frame::Chunk(more), Some(Frame::Chunk(bytes))) if !more.is_empty() => {
                    bytes.extend_from_slice(more);
                    continue;
                }
                // How much of it had come when it was noticed depends on the cut.
                (Frame::TooLong(_), _) => {
                    frames.push(Frame::TooLong(Vec::new()));
                    continue;
                }
                _ => {}
            }
            frames.push(frame);
        }
    }
    frames
}
