//! Puts a message body on the wire for DATA: dots doubled, lines ended, the final dot (RFC 5321
//! 4.5.2). The twin of `crate::body`.
//!
//! ```text
//!   state        next byte:  CR       LF             '.'       other      the end
//!   LineStart                Cr       CRLF, Start    .. Text   Text       .CRLF
//!   Text                     Cr       CRLF, Start    . Text    Text       CRLF.CRLF
//!   Cr                       SP, Cr   CRLF, Start    SP, Text  SP, Text   CRLF.CRLF
//! ```
//! Invariants: CR and LF leave only as CRLF (RFC 5321 2.3.8), so that no server can find the end of
//! a message where another does not; a body that has no others passes unchanged; what comes out is
//! at most twice what came in, and 1.
//! Not here: reading the body (the driver), BDAT, which needs nothing of this (`body`).

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    LineStart,
    Text,
    Cr,
}

/// Encodes one body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DotStuffer {
    state: State,
}

impl DotStuffer {
    pub(super) fn new() -> Self {
        Self { state: State::LineStart }
    }

    /// Encodes the next piece and appends it to `out`.
    pub(super) fn feed(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        while let Some((&byte, rest)) = piece.split_first() {
            match (self.state, byte) {
                (_, b'\n') => {
                    out.extend_from_slice(b"\r\n");
                    self.state = State::LineStart;
                    piece = rest;
                }
                // A CR without its LF. The byte after it is looked at again, as part of a line. A
                // space, as the receiver makes of it: a line end might end the header.
                (State::Cr, _) => {
                    out.push(b' ');
                    self.state = State::Text;
                }
                (_, b'\r') => {
                    self.state = State::Cr;
                    piece = rest;
                }
                (State::LineStart | State::Text, _) => {
                    if self.state == State::LineStart && byte == b'.' {
                        out.push(b'.');
                    }
                    let run = piece.iter().position(|b| matches!(b, b'\r' | b'\n'));
                    let (text, after) =
                        piece.split_at_checked(run.unwrap_or(piece.len())).unwrap_or((piece, &[]));
                    out.extend_from_slice(text);
                    self.state = State::Text;
                    piece = after;
                }
            }
        }
    }

    /// Appends the end: the line end that the last line may lack, and the final dot.
    pub(super) fn finish(self, out: &mut Vec<u8>) {
        if self.state != State::LineStart {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{BodyDecoder, Framing};
    use crate::settings::LoneLineEnds;

    /// Encodes whole and in pieces of every size.
    #[track_caller]
    fn check(body: &str, expected: &str) {
        for step in 1..=body.len().max(1) {
            let (mut stuffer, mut out) = (DotStuffer::new(), Vec::new());
            for piece in body.as_bytes().chunks(step) {
                stuffer.feed(piece, &mut out);
            }
            stuffer.finish(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{body:?} in steps of {step}");
        }
    }

    #[test]
    fn bodies() {
        check("", ".\r\n");
        check("a", "a\r\n.\r\n");
        check("a\r\n", "a\r\n.\r\n");
        check(".", "..\r\n.\r\n");
        check(".\r\n..\r\n.a\r\n", "..\r\n...\r\n..a\r\n.\r\n");
        check("a.\r\n\r\n.\r\n", "a.\r\n\r\n..\r\n.\r\n");
        check("a\r", "a\r\n.\r\n");
    }

    #[test]
    fn lone_line_ends_never_leave() {
        check("a\nb", "a\r\nb\r\n.\r\n");
        check("a\n.\nb", "a\r\n..\r\nb\r\n.\r\n");
        check("a\r.\rb", "a . b\r\n.\r\n");
        check("a\r\r\nb", "a \r\nb\r\n.\r\n");
        check("\r.\r\n", " .\r\n.\r\n");
        check("\n.\r\n.\n", "\r\n..\r\n..\r\n.\r\n");
    }

    /// What the receiver's decoder makes of it is what went in.
    #[test]
    fn the_receiver_reads_it_back() {
        let letters = [b'.', b'\r', b'\n', b'a'];
        for number in 0..4_usize.pow(6) {
            let body: Vec<u8> = (0..6).map(|at| letters[number / 4_usize.pow(at) % 4]).collect();
            let (mut stuffer, mut sent) = (DotStuffer::new(), Vec::new());
            stuffer.feed(&body, &mut sent);
            assert!(sent.len() <= 2 * body.len() + 1);
            stuffer.finish(&mut sent);
            let mut decoder = BodyDecoder::new(Framing::Dots, LoneLineEnds::Refuse);
            let mut read = Vec::new();
            let fed = decoder.feed(&sent, &mut read);
            assert!(fed.ended && fed.taken == sent.len() && !decoder.is_refused(), "{body:?}");
            let mut repairing = BodyDecoder::new(Framing::Counted, LoneLineEnds::Repair);
            let mut expected = Vec::new();
            // A CR that ends a body is the half of a line end.
            let end: &[u8] = if body.ends_with(b"\r") { b"\n" } else { b"" };
            repairing.feed(&[&body, end].concat(), &mut expected);
            repairing.finish(&mut expected);
            if !expected.is_empty() && !expected.ends_with(b"\r\n") {
                expected.extend_from_slice(b"\r\n");
            }
            let (read, body) = (read.escape_ascii(), body.escape_ascii());
            assert_eq!(read.to_string(), expected.escape_ascii().to_string(), "{body}");
        }
    }
}
