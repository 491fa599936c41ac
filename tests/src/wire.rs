//! A conversation over a plain TCP connection, written down as it is spoken.
//!
//! ```text
//! S: 220 mail.grace.test *      an expected SMTP reply, or IMAP line; `*` stands for any text
//! C: EHLO client.example        a line we send, CRLF added
//! c: MAIL FROM:<a@b\r           bytes we send as they are; \r \n \0 \t \\ \xHH are understood
//! S: 250 *                      of a reply of many lines the last one is compared, as `250 text`
//! -- closed                     the server ends the connection
//! ```
//! Invariant: what differs is shown with everything said so far.
//! Not here: TLS; that is left to clients that have it ([`crate::script`]).

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::house::{Account, House};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection, and what was said on it.
#[derive(Debug)]
pub struct Wire {
    stream: BufReader<TcpStream>,
    said: String,
}

impl Wire {
    /// Connects to a loopback port.
    ///
    /// # Panics
    /// When nobody listens there.
    #[must_use]
    pub fn connect(port: u16) -> Self {
        Self::connect_from(Ipv4Addr::LOCALHOST, port)
    }

    /// The same from another address of loopback, as if it were somebody else.
    ///
    /// # Panics
    /// When nobody listens there.
    #[must_use]
    pub fn connect_from(from: Ipv4Addr, port: u16) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let at = |address: Ipv4Addr, port: u16| SockAddr::from(SocketAddr::from((address, port)));
        socket.bind(&at(from, 0)).expect("all of 127.0.0.0/8 is this machine");
        socket.connect(&at(Ipv4Addr::LOCALHOST, port)).expect("the port is open");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_nodelay(true).expect("a socket option can be set");
        Self { stream: BufReader::new(stream), said: String::new() }
    }

    /// Delivers one small message through the MX port of a house, and waits until it is announced.
    pub fn deliver(house: &House, to: &Account, subject: &str) -> Value {
        Self::deliver_from("sender@example.org", house, to, subject)
    }

    /// The same from a sender of one's choice.
    pub fn deliver_from(sender: &str, house: &House, to: &Account, subject: &str) -> Value {
        let mark = house.log().mark();
        Self::connect(house.port("Smtp")).check(&format!(
            "S: 220 *
             C: EHLO client.example.org
             S: 250 *
             C: MAIL FROM:<{sender}>
             S: 250 *
             C: RCPT TO:<{}>
             S: 250 *
             C: DATA
             S: 354 *
             C: Subject: {subject}
             C:
             C: .
             S: 250 *
             C: QUIT
             S: 221 *",
            to.address
        ));
        house.log().wait(mark, "MessageDelivered", |_| true)
    }

    /// Holds the conversation written in `script`.
    ///
    /// # Panics
    /// At the first line that differs.
    pub fn check(&mut self, script: &str) -> &mut Self {
        for line in script.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("C:", text) => self.send(&[&unescape(text), &b"\r\n"[..]].concat()),
                ("c:", text) => self.send(&unescape(text)),
                ("S:", pattern) => self.expect(pattern),
                ("--", "closed") => self.expect_closed(),
                other => self.fail(&format!("a line the test means: {other:?}")),
            }
        }
        self
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        let shown = String::from_utf8_lossy(bytes.get(..bytes.len().min(200)).unwrap_or_default());
        writeln!(self.said, "C: {shown:?}").expect("a String takes any text");
        // A server may have ended the conversation; what it says next is compared all the same.
        drop(self.stream.get_mut().write_all(bytes));
    }

    /// Reads one reply, all its lines.
    pub fn reply(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            // RFC 5321 4.2.1: a hyphen after the code says that more lines follow.
            let more = line.as_bytes().get(3) == Some(&b'-')
                && line.bytes().take(3).all(|b| b.is_ascii_digit());
            lines.push(line);
            if !more {
                return lines;
            }
        }
    }

    /// Reads one line, without its CRLF; empty at the end of the connection.
    pub fn line(&mut self) -> String {
        let mut bytes = Vec::new();
        match self.stream.read_until(b'\n', &mut bytes) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => self.fail(&format!("no answer: {error}")),
        }
        let line = String::from_utf8_lossy(&bytes).into_owned();
        writeln!(self.said, "S: {line:?}").expect("a String takes any text");
        if !line.is_empty() && !line.ends_with("\r\n") {
            self.fail("a line without CRLF");
        }
        line.trim_end_matches("\r\n").to_owned()
    }

    /// Ends our half: no more bytes will come.
    pub fn finish(&mut self) {
        // Fails only when the connection is already down.
        drop(self.stream.get_ref().shutdown(Shutdown::Write));
    }

    fn expect(&mut self, pattern: &str) {
        let reply = self.reply();
        let mut last = reply.last().cloned().unwrap_or_default();
        if !matches(pattern, &last) {
            if last.is_empty() {
                last.push_str("the end of the connection");
            }
            self.fail(&format!("expected {pattern:?}, got {last:?}"));
        }
    }

    fn expect_closed(&mut self) {
        let line = self.line();
        if !line.is_empty() {
            self.fail(&format!("expected the end, got {line:?}"));
        }
    }

    #[expect(clippy::panic, reason = "the end of a conversation that went wrong")]
    fn fail(&self, what: &str) -> ! {
        panic!("{what}\nthe conversation so far:\n{}", self.said)
    }
}

/// Whether `text` is what `pattern` says, `*` standing for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(head) else { return false };
    text.char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .any(|at| matches(rest, text.get(at..).unwrap_or_default()))
}

/// The bytes a text stands for: `\r \n \t \0 \\ \xHH` are understood, all else stands for itself.
///
/// # Panics
/// When `\x` is not followed by two hexadecimal digits.
#[must_use]
pub fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let [escape, after @ ..] = rest else { break };
        rest = after;
        match escape {
            b'r' => bytes.push(b'\r'),
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'0' => bytes.push(0),
            b'x' => {
                let (digits, after) = rest.split_at(rest.len().min(2));
                let digits = std::str::from_utf8(digits).unwrap_or_default();
                bytes.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
                rest = after;
            }
            other => bytes.push(*other),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that says its part whatever it hears, then leaves.
    fn server(says: &'static str) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback is there");
        let port = listener.local_addr().expect("bound").port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody comes");
            stream.write_all(says.as_bytes()).expect("somebody reads");
        });
        port
    }

    #[test]
    fn a_conversation_is_followed() {
        Wire::connect(server("220 here\r\n250-one\r\n250 two\r\n")).check(
            "S: 220 *
             C: EHLO x
             S: 250 two
             -- closed",
        );
    }

    #[test]
    #[should_panic(expected = "expected \"250 *\", got \"550 no\"")]
    fn a_difference_is_shown() {
        Wire::connect(server("550 no\r\n")).check("S: 250 *");
    }

    #[test]
    #[should_panic(expected = "a line without CRLF")]
    fn bare_line_feeds_are_seen() {
        Wire::connect(server("220 here\n")).check("S: 220 here");
    }

    #[test]
    fn patterns_and_escapes() {
        assert!(matches("250 2.1.* ok*", "250 2.1.0 sender ok."));
        assert!(matches("*", "") && !matches("a*b", "ac") && !matches("a", "ab"));
        assert_eq!(unescape(r"a\r\n\x00\\."), b"a\r\n\0\\.");
    }
}
