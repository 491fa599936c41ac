//! Takes a message body off the wire: the dots and the end of DATA (RFC 5321 4.5.2), and CRs and
//! LFs that stand alone, in DATA and BDAT alike.
//!
//! ```text
//!   state        next byte:  CR       LF            '.'        other
//!   LineStart                Cr       lone LF       Dot        Text
//!   Dot                      DotCr    lone LF       Text       Text        (the dot is taken off)
//!   DotCr                    lone CR  END           lone CR    lone CR
//!   Text                     Cr       lone LF       Text       Text
//!   Cr                       lone CR  LineStart     lone CR    lone CR
//! ```
//! Invariants: only CRLF.CRLF ends DATA; after a lone line end no dot is special, so that no two
//! servers can differ on where a message ends. What comes out is at most twice what came in, and 2.
//! Not here: how long a body may be (`receiver`).

use crate::settings::LoneLineEnds;

/// How the end of a body is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// DATA: a line with a single dot ends it, other leading dots are doubled.
    Dots,
    /// BDAT: bytes are counted, dots mean nothing.
    Counted,
    /// BDAT with BODY=BINARYMIME: bytes are counted and mean nothing (RFC 3030 3). A CR or LF alone
    /// is neither refused nor repaired, for there need be no lines.
    Binary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    LineStart,
    Dot,
    DotCr,
    Text,
    Cr,
}

/// Decodes one body.
#[derive(Debug)]
pub struct BodyDecoder {
    framing: Framing,
    lone_line_ends: LoneLineEnds,
    state: State,
    lone_seen: bool,
}

/// How far [`BodyDecoder::feed`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fed {
    /// Bytes of the input that belong to the body. All of it, unless it ended.
    pub taken: usize,
    /// Whether the final CRLF.CRLF was among them.
    pub ended: bool,
}

impl BodyDecoder {
    /// A decoder at the start of a body.
    pub fn new(framing: Framing, lone_line_ends: LoneLineEnds) -> Self {
        Self { framing, lone_line_ends, state: State::LineStart, lone_seen: false }
    }

    /// Whether the body must be refused for a CR or LF that stands alone.
    pub fn is_refused(&self) -> bool {
        self.lone_seen && self.lone_line_ends == LoneLineEnds::Refuse
    }

    /// Decodes `input` and appends the body's bytes to `out`.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Fed {
        if self.framing == Framing::Binary {
            out.extend_from_slice(input);
            return Fed { taken: input.len(), ended: false };
        }
        let mut at = 0;
        while let Some((&byte, rest)) = input.get(at..).and_then(<[u8]>::split_first) {
            at += 1;
            match (self.state, byte) {
                (State::DotCr, b'\n') => {
                    self.state = State::LineStart;
                    return Fed { taken: at, ended: true };
                }
                (State::Cr, b'\n') => {
                    out.extend_from_slice(b"\r\n");
                    self.state = State::LineStart;
                }
                // A CR without its LF. The byte after it is looked at again, as part of a line.
                (State::Cr | State::DotCr, _) => {
                    self.lone_cr(out);
                    self.state = State::Text;
                    at -= 1;
                }
                (State::Dot, b'\r') => self.state = State::DotCr,
                (_, b'\r') => self.state = State::Cr,
                (_, b'\n') => {
                    self.lone_lf(out);
                    self.state = State::Text;
                }
                (State::LineStart, b'.') if self.framing == Framing::Dots => {
                    self.state = State::Dot;
                }
                // RFC 5321 4.5.2: after the first dot of a line that is not the end comes the text.
                (State::LineStart | State::Dot | State::Text, _) => {
                    self.state = State::Text;
                    out.push(byte);
                    let run = rest.iter().position(|b| matches!(b, b'\r' | b'\n'));
                    let run = run.unwrap_or(rest.len());
                    out.extend_from_slice(rest.get(..run).unwrap_or_default());
                    at += run;
                }
            }
        }
        Fed { taken: at, ended: false }
    }

    /// The counted end of a body: a CR may still be held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Cr {
            self.lone_cr(out);
        }
        self.state = State::LineStart;
    }

    fn lone_cr(&mut self, out: &mut Vec<u8>) {
        self.lone_seen = true;
        // CR CR LF, the commonest case, must not become an empty line: that would end the header.
        out.push(b' ');
    }

    fn lone_lf(&mut self, out: &mut Vec<u8>) {
        self.lone_seen = true;
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes whole and byte by byte. `expected` is the body, then `|` and what follows its end.
    #[track_caller]
    fn check(framing: Framing, input: &str, expected: &str) {
        for step in [input.len().max(1), 1, 2, 3] {
            let mut decoder = BodyDecoder::new(framing, LoneLineEnds::Repair);
            let (mut out, mut left, mut ended) = (Vec::new(), input.as_bytes(), false);
            while !left.is_empty() && !ended {
                let fed = decoder.feed(&left[..step.min(left.len())], &mut out);
                left = &left[fed.taken..];
                ended = fed.ended;
            }
            if framing != Framing::Dots {
                decoder.finish(&mut out);
            }
            let body = String::from_utf8(out).unwrap();
            let rest = std::str::from_utf8(left).unwrap();
            let found = if ended { format!("{body}|{rest}") } else { body };
            assert_eq!(found, expected, "{input:?} in steps of {step}");
            let lone = input.contains("\n\n") || decoder.lone_seen;
            assert_eq!(decoder.lone_seen, lone, "{input:?}");
        }
    }

    #[test]
    fn dots_are_taken_off_and_end_it() {
        check(Framing::Dots, ".\r\nQUIT\r\n", "|QUIT\r\n");
        check(Framing::Dots, "a\r\n.\r\n", "a\r\n|");
        check(Framing::Dots, "..\r\n.\r\n", ".\r\n|");
        check(Framing::Dots, "...a\r\n.b\r\n.\r\n", "..a\r\nb\r\n|");
        check(Framing::Dots, "a.\r\n.\r\n", "a.\r\n|");
        check(Framing::Dots, "a\r\n", "a\r\n");
        check(Framing::Counted, ".\r\n..\r\n", ".\r\n..\r\n");
    }

    #[test]
    fn nothing_else_ends_it() {
        let ends =
            ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r.\r", "\n.\r", "\r\n.\r", "\r\n.\r\r\n"];
        for end in ends {
            let mut decoder = BodyDecoder::new(Framing::Dots, LoneLineEnds::Refuse);
            let input = format!("a{end}MAIL FROM:<x@y>\r\n");
            let fed = decoder.feed(input.as_bytes(), &mut Vec::new());
            assert_eq!(fed, Fed { taken: input.len(), ended: false }, "{end:?}");
            assert!(decoder.is_refused(), "{end:?}");
        }
    }

    #[test]
    fn lone_line_ends_are_repaired() {
        check(Framing::Dots, "a\nb\r\n.\r\n", "a\r\nb\r\n|");
        check(Framing::Dots, "a\n.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n|");
        check(Framing::Dots, "a\r\r\n.\r\n", "a \r\n|");
        check(Framing::Dots, ".\nb\r\n.\r\n", "\r\nb\r\n|");
        check(Framing::Dots, ".\rb\r\n.\r\n", " b\r\n|");
        check(Framing::Counted, "a\nb\rc\r", "a\r\nb c ");
    }

    #[test]
    fn binary_bodies_stay_as_they_are() {
        let input = ".\r\n\n\r.\r\n.\r\n\0\r";
        let mut decoder = BodyDecoder::new(Framing::Binary, LoneLineEnds::Refuse);
        let mut out = Vec::new();
        assert!(!decoder.feed(input.as_bytes(), &mut out).ended);
        decoder.finish(&mut out);
        assert_eq!((out.as_slice(), decoder.is_refused()), (input.as_bytes(), false));
    }
}
