//! What is spoken in a session as lines for those who listen in, without its secrets.
//!
//! ```text
//!   the machine ──what the client said, secrets taken out──▶ ┐
//!   driver ──bytes to the client──▶ lines, literals apart ──▶ ├─▶ Live ─▶ who listens
//!          ──pieces of a message──▶ lines, or how many bytes ▶ ┘
//! ```
//! Invariants: what answers a login never stands in a line, nor does what gives access to a
//! message; a line has at most [`SESSION_LINE_BYTES_MAX`] bytes; it begins between two answers.
//! Not here: what is secret in what the client says (`grace_imap`, `grace_smtp`).

use grace_ipc::live::{SESSION_LINE_BYTES_MAX, SessionSide};

use super::sessions::{For, Live};

/// What stands where a secret stood.
const HIDDEN: &str = "***";

/// Behind these letters a URL says what lets its reader in (RFC 4467 9).
const URL_ACCESS: &str = ":internal:";

/// Writes down one session.
#[derive(Debug, Default)]
pub struct Scribe {
    /// Lines may announce literals (RFC 9051 4.3).
    has_literals: bool,
    /// What the server said of its present line.
    line: Line,
    /// So many bytes of the present literal are to come, of so many.
    literal: (u64, u64),
    /// The message that comes from the client: how many bytes, and its present line.
    message: (u64, Line),
}

/// A line that is not whole yet.
#[derive(Debug, Default)]
struct Line(Vec<u8>);

impl Line {
    /// Takes bytes up to the end of the line; gives what is left, if it ends.
    fn take<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (line, rest) = match end.and_then(|end| bytes.split_at_checked(end + 1)) {
            Some((line, rest)) => (line, Some(rest)),
            None => (bytes, None),
        };
        self.0.extend_from_slice(line);
        if self.0.len() > SESSION_LINE_BYTES_MAX {
            // The end of a long line is kept, for it may announce a literal.
            let tail = self.0.split_off(self.0.len() - ANNOUNCEMENT_BYTES_MAX);
            self.0.truncate(SESSION_LINE_BYTES_MAX - ANNOUNCEMENT_BYTES_MAX - MORE.len());
            self.0.extend_from_slice(MORE);
            self.0.extend_from_slice(&tail);
        }
        rest
    }

    /// The line, without its end.
    fn end(&mut self) -> Vec<u8> {
        let mut line = std::mem::take(&mut self.0);
        while matches!(line.last(), Some(b'\r' | b'\n')) {
            line.pop();
        }
        line
    }
}

/// Says that a line is longer than what is shown.
const MORE: &[u8] = b" [...] ";

/// A literal's announcement and the end of its line: 20 digits, braces, `+`, CRLF.
const ANNOUNCEMENT_BYTES_MAX: usize = 25;

const _: () = assert!(ANNOUNCEMENT_BYTES_MAX + MORE.len() < SESSION_LINE_BYTES_MAX);

impl Scribe {
    /// For a protocol with or without literals.
    #[must_use]
    pub fn new(has_literals: bool) -> Self {
        Self { has_literals, ..Self::default() }
    }

    /// The client said a line; the machine took its secrets out.
    pub fn heard(&mut self, live: &Live, text: &str) {
        self.message_ends(live);
        live.say(SessionSide::Client, For::All, &cut(text));
    }

    /// A piece of a message came from the client.
    pub fn message(&mut self, live: &Live, bytes: &[u8]) {
        let (size, line) = &mut self.message;
        *size += bytes.len() as u64;
        let mut rest = Some(bytes);
        while let Some(bytes) = rest.filter(|bytes| !bytes.is_empty()) {
            rest = line.take(bytes);
            if rest.is_some() {
                let text = String::from_utf8_lossy(&line.end()).into_owned();
                live.say(SessionSide::Client, For::Bodies, &text);
            }
        }
    }

    /// The message is over.
    pub fn message_ends(&mut self, live: &Live) {
        let (size, mut line) = std::mem::take(&mut self.message);
        if !line.0.is_empty() {
            let text = String::from_utf8_lossy(&line.end()).into_owned();
            live.say(SessionSide::Client, For::Bodies, &text);
        }
        if size > 0 {
            live.say(SessionSide::Client, For::Sizes, &format!("({size} bytes)"));
        }
    }

    /// Bytes go to the client.
    pub fn sent(&mut self, live: &Live, bytes: &[u8]) {
        self.message_ends(live);
        let mut rest = bytes;
        while !rest.is_empty() {
            rest =
                if self.literal.0 > 0 { self.literal(live, rest) } else { self.line(live, rest) };
        }
    }

    /// Takes what there is of a line; gives the rest.
    fn line<'a>(&mut self, live: &Live, bytes: &'a [u8]) -> &'a [u8] {
        let Some(rest) = self.line.take(bytes) else { return &[] };
        let line = self.line.end();
        if self.has_literals
            && let Some(size) = announced(&line)
        {
            self.literal = (size, size);
        }
        let text = String::from_utf8_lossy(&line);
        live.say(SessionSide::Server, For::All, &server_line(&text));
        rest
    }

    /// Takes what there is of a literal; gives the rest.
    fn literal<'a>(&mut self, live: &Live, bytes: &'a [u8]) -> &'a [u8] {
        let most = usize::try_from(self.literal.0).unwrap_or(usize::MAX);
        let (ours, rest) = bytes.split_at_checked(most).unwrap_or((bytes, &[]));
        self.literal.0 -= ours.len() as u64;
        let mut left = Some(ours);
        while let Some(bytes) = left.filter(|bytes| !bytes.is_empty()) {
            left = self.line.take(bytes);
            let is_last = left.is_none() && self.literal.0 == 0;
            if left.is_some() || is_last {
                let text = String::from_utf8_lossy(&self.line.end()).into_owned();
                live.say(SessionSide::Server, For::Bodies, &text);
            }
        }
        if self.literal.0 == 0 {
            let text = format!("({} bytes)", self.literal.1);
            live.say(SessionSide::Server, For::Sizes, &text);
        }
        rest
    }
}

/// The size of the literal that a line announces (`{310}`, `~{310}`).
fn announced(line: &[u8]) -> Option<u64> {
    let inside = line.strip_suffix(b"}")?;
    let start = inside.iter().rposition(|byte| *byte == b'{')?;
    std::str::from_utf8(inside.get(start + 1..)?).ok()?.parse().ok()
}

/// A line of the server without what answers a login, and without what lets a reader in.
fn server_line(line: &str) -> String {
    let is_challenge = |rest: &str| !rest.is_empty() && !rest.contains(' ');
    // RFC 9051 6.2.2 and RFC 4954 4: a challenge is base64, and so has no space in it.
    for start in ["+ ", "334 "] {
        if line.strip_prefix(start).is_some_and(is_challenge) {
            return format!("{start}{HIDDEN}");
        }
    }
    without_access(line)
}

/// Text without what stands behind [`URL_ACCESS`].
fn without_access(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let (mut shown, mut at) = (String::new(), 0);
    while let Some(found) = lower.get(at..).and_then(|rest| rest.find(URL_ACCESS)) {
        let secret = at + found + URL_ACCESS.len();
        let rest = text.get(secret..).unwrap_or_default();
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        shown.push_str(text.get(at..secret).unwrap_or_default());
        shown.push_str(HIDDEN);
        at = secret + length;
    }
    shown.push_str(text.get(at..).unwrap_or_default());
    shown
}

/// A client's line of a length that can be told.
fn cut(text: &str) -> String {
    let text = without_access(text);
    if text.len() <= SESSION_LINE_BYTES_MAX {
        return text;
    }
    let end = text.floor_char_boundary(SESSION_LINE_BYTES_MAX - MORE.len());
    format!("{} [...]", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use grace_ipc::event::{Service, TraceId};
    use grace_ipc::live::SessionChoice;

    use super::*;
    use crate::net::sessions::Sessions;

    /// What those hear who want sizes, and those who want bodies, whole and byte by byte.
    fn check(has_literals: bool, bytes: &[u8], sizes: &[&str], bodies: &[&str]) {
        for step in [bytes.len(), 1, 3] {
            let sessions = Sessions::default();
            let peer = "192.0.2.1:1".parse().expect("an address");
            let live = sessions.begin(Service::Imap, peer, TraceId(1));
            let watch = |bodies| sessions.watch(SessionChoice::Session(1), bodies).expect("there");
            let mut watching = [watch(false), watch(true)];
            let mut scribe = Scribe::new(has_literals);
            bytes.chunks(step).for_each(|bytes| scribe.sent(&live, bytes));
            for (watching, expected) in watching.iter_mut().zip([sizes, bodies]) {
                let lines = std::iter::from_fn(|| watching.lines.try_recv().ok());
                let texts: Vec<String> = lines.map(|line| line.text).collect();
                assert_eq!(texts, expected, "in steps of {step}");
            }
        }
    }

    #[test]
    fn literals_are_told_by_size_or_by_line() {
        let bytes = b"* 1 FETCH (BODY[] {12}\r\na: b\r\n\r\nxyz\n FLAGS ())\r\na OK done\r\n";
        check(
            true,
            bytes,
            &["* 1 FETCH (BODY[] {12}", "(12 bytes)", " FLAGS ())", "a OK done"],
            &["* 1 FETCH (BODY[] {12}", "a: b", "", "xyz", " FLAGS ())", "a OK done"],
        );
        // A literal that holds an announcement, and one of no bytes.
        let bytes = b"* x {5}\r\n{99}\n)\r\n* y {0}\r\n)\r\n";
        check(
            true,
            bytes,
            &["* x {5}", "(5 bytes)", ")", "* y {0}", ")"],
            &["* x {5}", "{99}", ")", "* y {0}", ")"],
        );
        check(false, b"250 {5}\r\n250 x\r\n", &["250 {5}", "250 x"], &["250 {5}", "250 x"]);
    }

    #[test]
    fn challenges_and_access_are_hidden() {
        let secret = "cj1yT3ByTkdmd0VleHk=";
        let check = |line: &str, expected: &str| assert_eq!(server_line(line), expected);
        check(&format!("+ {secret}"), "+ ***");
        check(&format!("334 {secret}"), "334 ***");
        check("+ go on", "+ go on");
        check("+ idling; say DONE to end", "+ idling; say DONE to end");
        check("334 ", "334 ");
        check("250 2.1.0 fine", "250 2.1.0 fine");
        check(
            "* GENURLAUTH \"imap://a@b/c/;UID=1;URLAUTH=anonymous:internal:91354a473744909d\" x",
            "* GENURLAUTH \"imap://a@b/c/;UID=1;URLAUTH=anonymous:internal:***\" x",
        );
        check("a:INTERNAL:01 b:internal:02", "a:INTERNAL:*** b:internal:***");
    }

    #[test]
    fn long_lines_are_cut_and_still_announce() {
        let long = "x".repeat(5_000);
        let mut line = Line::default();
        let text = format!("* {long} {{5}}\r\n");
        assert_eq!(line.take(text.as_bytes()), Some(&b""[..]));
        let line = line.end();
        assert!(line.len() <= SESSION_LINE_BYTES_MAX, "{}", line.len());
        assert_eq!(announced(&line), Some(5));
        assert!(cut(&long).len() <= SESSION_LINE_BYTES_MAX);
    }
}
