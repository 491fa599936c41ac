//! What somebody who listens in is told of the client: everything but secrets.

#![allow(clippy::panic, reason = "a test that is wrong should say so")]

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use grace_imap::machine::Overheard;
use support::{Client, Store, settings};

/// A session somebody listens in on, with the lines of the client told so far.
struct Tapped(Client);

impl Tapped {
    fn new() -> Self {
        let mut store = Store::default();
        store.make("INBOX");
        let mut settings = settings();
        settings.sasl = vec!["SCRAM-SHA-256"];
        let mut client = Client::new(&Rc::new(RefCell::new(store)), settings);
        client.session.listen_in(true);
        Self(client)
    }

    /// Sends lines, whole or byte by byte, and gives what was told of them.
    fn told(&mut self, text: &str, step: usize) -> Vec<String> {
        text.as_bytes().chunks(step).for_each(|bytes| self.0.send(bytes));
        let told = std::mem::take(&mut self.0.overheard);
        told.into_iter()
            .map(|said| match said {
                Overheard::Line(line) => line,
                Overheard::Message(bytes) => format!("({} bytes)", bytes.len()),
            })
            .collect()
    }
}

/// What is told of these lines before a login.
fn check(text: &str, expected: &[&str]) {
    for step in [text.len(), 1] {
        assert_eq!(Tapped::new().told(text, step), expected, "{text:?} in steps of {step}");
    }
}

/// "\0ann\0secret "word"" and its halves.
const PLAIN: &str = "AGFubgBzZWNyZXQgIndvcmQi";

#[test]
fn no_way_to_log_in_shows_its_secret() {
    check("a LOGIN ann \"secret \\\"word\\\"\"\r\n", &["a LOGIN ***"]);
    check("a LOGIN {3+}\r\nann {13+}\r\nsecret \"word\"\r\n", &["a LOGIN ***", "***", "***"]);
    check("a login ann wrong\r\nb LOGIN ann {3}\r\n", &["a LOGIN ***", "b LOGIN ***"]);
    check("a LOGIN ann\r\n", &["a LOGIN ***"]);
    check(&format!("a AUTHENTICATE PLAIN\r\n{PLAIN}\r\n"), &["a AUTHENTICATE PLAIN ***", "***"]);
    check(&format!("a AUTHENTICATE PLAIN {PLAIN}\r\n"), &["a AUTHENTICATE PLAIN ***"]);
    check(
        "a AUTHENTICATE LOGIN\r\nYW5u\r\nc2VjcmV0\r\n",
        &["a AUTHENTICATE LOGIN ***", "***", "***"],
    );
    check(
        "a AUTHENTICATE SCRAM-SHA-256\r\nd2hv\r\ncmlnaHQ=\r\n",
        &["a AUTHENTICATE SCRAM-SHA-256 ***", "***", "***"],
    );
    check("a AUTHENTICATE PLAIN\r\n*\r\n", &["a AUTHENTICATE PLAIN ***", "*"]);
}

#[test]
fn what_may_be_a_password_in_the_wrong_place_is_not_shown() {
    // The answer to a login that was refused.
    check(&format!("a AUTHENTICATE FROB\r\n{PLAIN}\r\n"), &["a AUTHENTICATE ***", "***"]);
    check(&format!("a AUTHENTICATE {PLAIN}\r\n"), &["a AUTHENTICATE ***"]);
    // Another protocol, a mistyped command, a command before its time.
    check("USER ann\r\nPASS secret\r\n", &["***", "***"]);
    check("a LOGN ann secret\r\n", &["***"]);
    // Nor does the answer say it.
    let mut tapped = Tapped::new();
    tapped.told("a secret\r\nsecret\r\na LOGN ann secret\r\n", 1);
    let said = String::from_utf8_lossy(&tapped.0.output).to_ascii_lowercase();
    assert!(!said.contains("secret"), "{said}");
    check("a SELECT secret\r\n", &["a SELECT ***"]);
    let mut tapped = Tapped::new();
    tapped.told("a LOGIN ann \"secret \\\"word\\\"\"\r\n", 100);
    assert_eq!(tapped.told(&format!("{PLAIN}\r\n"), 1), ["***"]);
    assert_eq!(tapped.told("b LOGIN ann secret\r\n", 1), ["b LOGIN ***"]);
}

#[test]
fn everything_else_is() {
    check("a NOOP\r\nb ID (\"name\" \"x\")\r\n", &["a NOOP", "b ID (\"name\" \"x\")"]);
    for step in [1, 1_000] {
        let mut tapped = Tapped::new();
        tapped.told("a LOGIN ann \"secret \\\"word\\\"\"\r\n", step);
        let search = "b SELECT INBOX\r\nc SEARCH SUBJECT {5+}\r\nhello SEEN\r\n";
        let told = ["b SELECT INBOX", "c SEARCH SUBJECT {5+}", "hello", " SEEN"];
        assert_eq!(tapped.told(search, step), told);
        assert_eq!(tapped.0.session.last_command(), "SEARCH");
        assert_eq!(tapped.told("d IDLE\r\nDONE\r\n", step), ["d IDLE", "DONE"]);
        assert_eq!(tapped.told("e UID FROB 1\r\n", step), ["e UID FROB 1"]);
        assert_eq!(tapped.0.session.last_command(), "IDLE", "what we know alone");
    }
    let mut tapped = Tapped::new();
    tapped.told("a LOGIN ann \"secret \\\"word\\\"\"\r\n", 100);
    let told = tapped.told("b APPEND INBOX {11+}\r\na: b\r\n\r\nxyz\r\n", 1_000);
    assert_eq!(told, ["b APPEND INBOX {11+}", "(11 bytes)", "(0 bytes)"]);
}

#[test]
fn nothing_is_told_while_nobody_listens() {
    let mut tapped = Tapped::new();
    tapped.0.session.listen_in(false);
    assert_eq!(tapped.told("a NOOP\r\nb ID (\"name\" \"x\" \"version\" \"1\")\r\n", 1), [""; 0]);
    assert_eq!(tapped.0.introduced, "x 1");
    // Somebody begins to listen in the middle of a login.
    let mut tapped = Tapped::new();
    tapped.0.session.listen_in(false);
    tapped.told("a AUTHENTICATE PLAIN\r\n", 1);
    tapped.0.session.listen_in(true);
    assert_eq!(tapped.told(&format!("{PLAIN}\r\n"), 1), ["***"]);
}

#[test]
fn an_admin_ends_a_session_with_bye() {
    let mut tapped = Tapped::new();
    tapped.0.output.clear();
    tapped.0.session.disconnect();
    tapped.0.run();
    assert_eq!(tapped.0.output, b"* BYE an administrator ended this session\r\n");
    assert!(tapped.0.closed);
}
