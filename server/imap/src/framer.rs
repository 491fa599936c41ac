//! Where commands begin and end: bytes in, whole commands, lines and literal pieces out.
//!
//! ```text
//!  Line ──line without literal──▶ Frame::Command
//!    └──line ends {n}──▶ Frame::Announced ──collect──▶ Line, n bytes later
//!                                         ├─stream───▶ Frame::Chunk …, then Line (the tail)
//!                                         └─refuse───▶ Skip: the rest is swallowed
//! ```
//! Invariants: holds at most one command of [`COMMAND_BYTES_MAX`] bytes and what one read brought;
//! the answer does not depend on how the bytes were cut.
//! Not here: grammar, and who decides about literals (`session`).

/// Longest command with its literals, a message excepted, in bytes. RFC 7162 4 wants 8,192 at
/// least; clients that list single UIDs of a big mailbox send more.
pub const COMMAND_BYTES_MAX: usize = 64 * 1024;

const _: () = assert!(COMMAND_BYTES_MAX >= 8_192);

/// A literal is about to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcement {
    /// How many bytes.
    pub size: u64,
    /// The client waits for `+` (RFC 9051 4.3; not so for `{n+}`, RFC 7888).
    pub synchronizing: bool,
    /// It may hold any byte, NUL too (`~{n}`, RFC 3516 4.4).
    pub binary: bool,
}

/// What the framer found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A whole command, or the tail of one whose literal was streamed, without its line end.
    Command(Vec<u8>),
    /// A literal is about to come: `collect`, `stream` or `refuse` it. See [`Framer::so_far`].
    Announced(Announcement),
    /// A piece of a streamed literal; empty at its end.
    Chunk(Vec<u8>),
    /// A command was too long and is swallowed up to its end; this is its beginning.
    TooLong(Vec<u8>),
}

/// A line that is no command has more than [`COMMAND_BYTES_MAX`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineTooLong;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A line of a command.
    Line,
    /// A literal was announced and waits for a decision.
    Announced(Announcement),
    /// So many bytes of a literal belong to the command.
    Collect(u64),
    /// So many bytes of a literal are handed on.
    Stream(u64),
    /// A line of a refused command.
    SkipLine(Tail),
    /// So many bytes of a refused command's literal.
    SkipLiteral(u64),
}

/// The end of a line that is not kept, as far as it may announce a literal: `{`, digits, `+`, `}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Tail {
    /// It is none.
    #[default]
    Plain,
    /// `{`
    Opened,
    /// Digits behind that.
    Size(u64),
    /// `+` behind that.
    Plus(u64),
    /// `}`; with the size, if the client sends the literal in any case.
    Closed(Option<u64>),
    /// CR behind that.
    Return(Option<u64>),
}

impl Tail {
    /// The tail with one more byte.
    fn with(self, byte: u8) -> Self {
        let digit = u64::from(byte.wrapping_sub(b'0'));
        match (self, byte) {
            (_, b'{') => Self::Opened,
            (Self::Opened, b'0'..=b'9') => Self::Size(digit),
            (Self::Size(size), b'0'..=b'9') => {
                Self::Size(size.saturating_mul(10).saturating_add(digit))
            }
            (Self::Size(size), b'+') => Self::Plus(size),
            (Self::Size(_), b'}') => Self::Closed(None),
            (Self::Plus(size), b'}') => Self::Closed(Some(size)),
            (Self::Closed(size), b'\r') => Self::Return(size),
            _ => Self::Plain,
        }
    }

    /// What comes behind a line that ends so.
    fn next(self) -> State {
        match self {
            Self::Closed(Some(size)) | Self::Return(Some(size)) => State::SkipLiteral(size),
            _ => State::Line,
        }
    }
}

/// Cuts a stream of bytes.
#[derive(Debug)]
pub struct Framer {
    input: Vec<u8>,
    /// Start of what is not yet used in `input`.
    used: usize,
    /// How far `input` was searched for a line end.
    searched: usize,
    command: Vec<u8>,
    state: State,
}

impl Default for Framer {
    fn default() -> Self {
        Self { input: Vec::new(), used: 0, searched: 0, command: Vec::new(), state: State::Line }
    }
}

impl Framer {
    /// Takes bytes that the client sent.
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.drain(..self.used);
        self.searched = self.searched.saturating_sub(self.used);
        self.used = 0;
        self.input.extend_from_slice(bytes);
    }

    /// Forgets everything not yet handed out (RFC 9051 6.2.1: what was pipelined behind STARTTLS
    /// was not protected).
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether bytes wait that no command has used yet.
    pub fn has_input(&self) -> bool {
        self.used < self.input.len()
    }

    /// The command up to the announcement, with the announcement cut off.
    pub fn so_far(&self) -> &[u8] {
        let end = self.command.iter().rposition(|byte| *byte == b'{').unwrap_or(0);
        let head = self.command.get(..end).unwrap_or_default();
        head.strip_suffix(b"~").unwrap_or(head)
    }

    /// The same as it was sent, with the announcement.
    pub fn collected(&self) -> &[u8] {
        &self.command
    }

    /// The announced literal belongs to the command.
    pub fn collect(&mut self) {
        if let State::Announced(announced) = self.state {
            self.state = State::Collect(announced.size);
        }
    }

    /// The announced literal is handed on in pieces; what was read of the command is dropped.
    pub fn stream(&mut self) {
        if let State::Announced(announced) = self.state {
            self.command.clear();
            self.state = State::Stream(announced.size);
        }
    }

    /// The announced literal is not wanted; neither is the rest of its command.
    pub fn refuse(&mut self) {
        if let State::Announced(announced) = self.state {
            self.command.clear();
            // RFC 9051 4.3: a client that waits for `+` and is refused does not send the literal.
            self.state = match announced.synchronizing {
                true => State::Line,
                false => State::SkipLiteral(announced.size),
            };
        }
    }

    /// Drops the rest of the present command.
    pub fn skip_command(&mut self) {
        self.command.clear();
        self.state = match self.state {
            State::Stream(left) => State::SkipLiteral(left),
            _ => State::SkipLine(Tail::default()),
        };
    }

    /// A line that is no command: a SASL answer, `DONE`. `Err` if it is too long.
    pub fn next_line(&mut self) -> Option<Result<Vec<u8>, LineTooLong>> {
        match self.line() {
            Some(line) => Some(Ok(line)),
            None if self.waiting() > COMMAND_BYTES_MAX => Some(Err(LineTooLong)),
            None => None,
        }
    }

    /// The next thing found, or `None` until more bytes come.
    pub fn next_frame(&mut self) -> Option<Frame> {
        loop {
            match self.state {
                State::Announced(_) => return None,
                State::Line => {
                    if let Some(frame) = self.command_line()? {
                        return Some(frame);
                    }
                }
                State::Collect(left) => {
                    let piece = self.piece(left)?;
                    self.command.extend_from_slice(&piece);
                    let left = left - piece.len() as u64;
                    self.state = if left == 0 { State::Line } else { State::Collect(left) };
                }
                State::Stream(left) => {
                    let piece = self.piece(left)?;
                    let left = left - piece.len() as u64;
                    // The empty piece that ends a literal comes on its own.
                    self.state = if piece.is_empty() { State::Line } else { State::Stream(left) };
                    return Some(Frame::Chunk(piece));
                }
                State::SkipLiteral(left) => {
                    let piece = self.piece(left)?;
                    let left = left - piece.len() as u64;
                    self.state = match left {
                        0 => State::SkipLine(Tail::default()),
                        left => State::SkipLiteral(left),
                    };
                }
                State::SkipLine(tail) => self.skip_line(tail)?,
            }
        }
    }

    fn waiting(&self) -> usize {
        self.input.len() - self.used
    }

    /// A line of a command: `None` for more bytes, `Some(None)` to look again.
    fn command_line(&mut self) -> Option<Option<Frame>> {
        let Some(line) = self.line() else {
            if self.command.len() + self.waiting() > COMMAND_BYTES_MAX {
                return Some(Some(self.too_long(State::SkipLine(Tail::default()))));
            }
            return None;
        };
        let announced = announcement(&line);
        let size = announced.map_or(0, |announced| announced.size);
        if self.command.len() + line.len() > COMMAND_BYTES_MAX {
            self.command.extend_from_slice(line.get(..COMMAND_BYTES_MAX).unwrap_or(&line));
            let state = match announced {
                Some(Announcement { synchronizing: false, .. }) => State::SkipLiteral(size),
                _ => State::Line,
            };
            return Some(Some(self.too_long(state)));
        }
        self.command.extend_from_slice(&line);
        let Some(announced) = announced else {
            return Some(Some(Frame::Command(std::mem::take(&mut self.command))));
        };
        self.command.extend_from_slice(b"\r\n");
        self.state = State::Announced(announced);
        Some(Some(Frame::Announced(announced)))
    }

    fn too_long(&mut self, state: State) -> Frame {
        let mut start = std::mem::take(&mut self.command);
        if start.is_empty() {
            start = self.input.get(self.used..).unwrap_or_default().to_vec();
        }
        start.truncate(256);
        self.state = state;
        Frame::TooLong(start)
    }

    /// The next line without its end. RFC 9051 2.2: CRLF; a bare LF is forgiven.
    fn line(&mut self) -> Option<Vec<u8>> {
        let from = self.searched.max(self.used);
        let found = self.input.get(from..)?.iter().position(|byte| *byte == b'\n');
        let Some(found) = found else {
            self.searched = self.input.len();
            return None;
        };
        let end = from + found;
        let line = self.input.get(self.used..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        self.used = end + 1;
        self.searched = self.used;
        Some(line)
    }

    /// What has come of a literal with `left` bytes to go; `None` if nothing has.
    fn piece(&mut self, left: u64) -> Option<Vec<u8>> {
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let length = left.min(self.waiting());
        if length == 0 && left > 0 {
            return None;
        }
        let piece = self.input.get(self.used..self.used + length)?.to_vec();
        self.used += length;
        self.searched = self.used;
        Some(piece)
    }

    /// Swallows a line, or what there is of it: `None` for more bytes.
    fn skip_line(&mut self, mut tail: Tail) -> Option<()> {
        let rest = self.input.get(self.used..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b'\n');
        let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        tail = line.iter().fold(tail, |tail, byte| tail.with(*byte));
        self.used += line.len() + usize::from(end.is_some());
        self.searched = self.used;
        self.state = if end.is_some() { tail.next() } else { State::SkipLine(tail) };
        end.map(|_| ())
    }
}

/// `{310}`, `{310+}` or `{310-}` at the end of a line.
pub(crate) fn announcement(line: &[u8]) -> Option<Announcement> {
    let inside = line.strip_suffix(b"}")?;
    let start = inside.iter().rposition(|byte| *byte == b'{')?;
    let binary = inside.get(..start)?.ends_with(b"~");
    let inside = inside.get(start + 1..)?;
    let (digits, synchronizing) = match inside.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (inside, true),
    };
    let text = std::str::from_utf8(digits).ok()?;
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A size beyond u64 is a size that we refuse anyway.
    all_digits.then(|| {
        let size = text.parse().unwrap_or(u64::MAX);
        Announcement { size, synchronizing, binary }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input`, collecting every literal up to 1,000 bytes and refusing others; whole and one
    /// byte at a time must give the same.
    fn check(input: &str, expected: &[&str]) {
        for step in [input.len().max(1), 1, 7] {
            let mut framer = Framer::default();
            let mut found = Vec::new();
            for bytes in input.as_bytes().chunks(step) {
                framer.push(bytes);
                while let Some(frame) = framer.next_frame() {
                    found.push(match frame {
                        Frame::Command(text) => String::from_utf8(text).expect("text"),
                        Frame::TooLong(_) => "too long".to_owned(),
                        Frame::Chunk(_) => "chunk".to_owned(),
                        Frame::Announced(announced) if announced.size <= 1_000 => {
                            framer.collect();
                            continue;
                        }
                        Frame::Announced(announced) => {
                            framer.refuse();
                            format!("refused {}", announced.size)
                        }
                    });
                }
            }
            assert_eq!(found, expected, "{input:?} in steps of {step}");
        }
    }

    #[test]
    fn commands_and_literals() {
        check("a NOOP\r\nb NOOP\n", &["a NOOP", "b NOOP"]);
        check("a LOGIN {2}\r\nme {3+}\r\na\nb\r\n", &["a LOGIN {2}\r\nme {3+}\r\na\nb"]);
        check("a X {0}\r\n\r\nb NOOP\r\n", &["a X {0}\r\n", "b NOOP"]);
        check("a X {5000}\r\nb NOOP\r\n", &["refused 5000", "b NOOP"]);
        let swallowed =
            format!("a X {{2000+}}\r\n{} y {{2+}}\r\nab z\r\nb NOOP\r\n", "x".repeat(2000));
        check(&swallowed, &["refused 2000", "b NOOP"]);
        check("a X {99999999999999999999999}\r\nb\r\n", &["refused 18446744073709551615", "b"]);
        // In a line that is skipped, too, however many digits it has.
        let zeros = "0".repeat(60);
        let skipped = format!(
            "a X {{5000+}}\r\n{}b {{{zeros}3+}}\r\nx\ny{{9}}\r\nc NOOP\r\n",
            "z".repeat(5_000)
        );
        check(&skipped, &["refused 5000", "c NOOP"]);
        let odd = format!("a X {{5000+}}\r\n{}{{{{3+}}x\r\nc {{3+}}\r\nabc\r\n", "z".repeat(5_000));
        check(&odd, &["refused 5000", "c {3+}\r\nabc"]);
        check("a {x}\r\n{}\r\n", &["a {x}", "{}"]);
        check(
            &format!("a {}\r\nb NOOP\r\n", "x".repeat(COMMAND_BYTES_MAX)),
            &["too long", "b NOOP"],
        );
    }

    #[test]
    fn streaming() {
        let mut framer = Framer::default();
        framer.push(b"a APPEND x {5}\r\n");
        let announced = Announcement { size: 5, synchronizing: true, binary: false };
        assert_eq!(framer.next_frame(), Some(Frame::Announced(announced)));
        assert_eq!(framer.so_far(), b"a APPEND x ");
        framer.stream();
        framer.push(b"hel");
        assert_eq!(framer.next_frame(), Some(Frame::Chunk(b"hel".to_vec())));
        assert_eq!(framer.next_frame(), None);
        framer.push(b"lo\r\nb NOOP\r\n");
        assert_eq!(framer.next_frame(), Some(Frame::Chunk(b"lo".to_vec())));
        assert_eq!(framer.next_frame(), Some(Frame::Chunk(Vec::new())));
        assert_eq!(framer.next_frame(), Some(Frame::Command(Vec::new())));
        assert_eq!(framer.next_frame(), Some(Frame::Command(b"b NOOP".to_vec())));
    }
}
