//! Sessions as an admin sees them: their list, what is spoken there without its secrets, their end.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use grace_tests::house::{Account, House};
use grace_tests::log::{number, text};
use grace_tests::wire::Wire;
use grace_tests::{program, script};
use serde_json::Value;

/// `gracectl session watch` at work.
struct Watch {
    child: Child,
    lines: BufReader<ChildStdout>,
    said: String,
}

impl Watch {
    /// Returns when the daemon listens.
    fn begin(house: &House, which: &[&str]) -> Self {
        let mark = house.log().mark();
        let mut command = house.ctl_command();
        command.args(["session", "watch"]).args(which).stdout(Stdio::piped());
        let mut child = command.spawn().expect("gracectl starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        house.log().wait(mark, "SessionWatched", |_| true);
        Self { child, lines, said: String::new() }
    }

    /// Reads to the line that ends like this.
    fn until(&mut self, end: &str) {
        loop {
            let mut line = String::new();
            let count = self.lines.read_line(&mut line).expect("text");
            self.said.push_str(&line);
            assert!(count > 0, "no line ends with {end:?}:\n{}", self.said);
            if line.trim_end().ends_with(end) {
                return;
            }
        }
    }

    /// Reads to the end; gracectl must have ended well. Gives everything that was said.
    fn end(mut self) -> String {
        self.until("-- the session ended");
        assert!(self.child.wait().expect("it runs").success());
        self.said
    }
}

/// The one open session of this door.
fn session(house: &House, door: &str) -> Value {
    let rows = house.ctl_json(&["session", "list"]);
    let rows = rows.as_array().cloned().unwrap_or_default();
    let mut found = rows.into_iter().filter(|row| text(row, "service") == door);
    let row = found.next().expect("a session of that door");
    assert!(found.next().is_none(), "one session");
    row
}

/// The message of PLAIN (RFC 4616 2) as it is sent.
fn plain(account: &Account) -> String {
    let code = "import base64, sys\n\
                print(base64.b64encode('\\0'.join(['', *sys.argv[1:]]).encode()).decode())";
    let arguments = ["-c", code, &account.address, &account.password];
    program::run_ok(script::python().args(arguments)).trim_end().to_owned()
}

/// Reads up to the tagged answer.
fn answered(wire: &mut Wire, tag: &str) {
    while !wire.line().starts_with(&format!("{tag} OK")) {}
}

#[test]
fn an_imap_session_is_listed_read_along_and_ended() {
    let house = House::start();
    let ann = house.account("ann");
    let secret = plain(&ann);
    let mut reader = Wire::connect(house.port("Imap"));
    reader.check("S: * OK *");
    let id = number(&session(&house, "Imap"), "id").to_string();
    let mut watch = Watch::begin(&house, &[&id]);
    let mut bodies = Watch::begin(&house, &[&id, "--bodies"]);
    reader.check(&format!(
        "C: a ID (\"name\" \"Reader\" \"version\" \"7\")
         S: * ID *
         S: a OK *
         C: b AUTHENTICATE PLAIN
         S: + *
         C: {secret}
         S: b OK *"
    ));
    reader.check("C: c SELECT INBOX");
    answered(&mut reader, "c");
    reader.check("C: d APPEND INBOX {22}\n S: + *\n c: Subject: x\\r\\n\\r\\nhidden\\r\\n\\r\\n");
    answered(&mut reader, "d");
    reader.check("C: e FETCH 1 BODY[]");
    answered(&mut reader, "e");
    watch.until("S: e OK FETCH done");
    bodies.until("S: e OK FETCH done");
    let row = session(&house, "Imap");
    assert_eq!(text(&row, "account"), ann.address);
    assert_eq!(text(&row, "client"), "Reader 7");
    assert_eq!(text(&row, "mailbox"), "INBOX");
    assert_eq!(text(&row, "command"), "FETCH");
    assert_eq!(number(&row, "watchers"), 2);
    assert!(number(&row, "bytes_in") > 100 && number(&row, "bytes_out") > 100, "{row}");
    let mine = house.ctl_json(&["session", "list", "--account", &ann.address]);
    assert_eq!(mine.as_array().map(Vec::len), Some(1));
    let others = house.ctl_json(&["session", "list", "--from", "192.0.2.1"]);
    assert_eq!(others.as_array().map(Vec::len), Some(0));
    let boxes = house.ctl_json(&["mailbox", "list", &ann.address]);
    let inbox = boxes.as_array().into_iter().flatten().find(|row| text(row, "name") == "INBOX");
    let inbox = inbox.expect("INBOX is listed");
    assert_eq!((number(inbox, "messages"), number(inbox, "stored_bytes")), (1, 22));
    house.ctl_ok(&["session", "disconnect", &id]);
    reader.check("S: * BYE an administrator ended this session\n -- closed");
    let (said, whole) = (watch.end(), bodies.end());
    for shown in ["C: b AUTHENTICATE PLAIN ***", "C: ***", "C: (22 bytes)", "S: (22 bytes)"] {
        assert!(said.contains(shown), "{shown:?} is missing:\n{said}");
    }
    assert!(!said.contains("hidden") && whole.contains("C: hidden"), "{said}\n{whole}");
    for said in [said, whole] {
        assert!(!said.contains(&secret), "a password:\n{said}");
    }
    assert_eq!(house.ctl(&["session", "disconnect", &id]).status.code(), Some(1));
}

#[test]
fn smtp_sessions_are_read_along_without_passwords_or_messages() {
    let house = House::start();
    let ann = house.account("ann");
    let secret = plain(&ann);
    // The next session of ann, whichever it will be.
    let mut next = Watch::begin(&house, &["--next-of", &ann.address]);
    let mut from = Watch::begin(&house, &["--next-from", "127.0.0.1"]);
    let mut sender = Wire::connect(house.port("Submission"));
    sender.check(&format!(
        "S: 220 *
         C: EHLO client.example.org
         S: 250 *
         C: AUTH PLAIN {secret}
         S: 235 *
         C: MAIL FROM:<{0}>
         S: 250 *
         C: RCPT TO:<{0}>
         S: 250 *
         C: DATA
         S: 354 *
         c: Subject: x\\r\\n\\r\\nhidden\\r\\n.\\r\\n
         S: 250 *",
        ann.address
    ));
    let row = session(&house, "Submission");
    assert_eq!(text(&row, "account"), ann.address);
    assert_eq!(text(&row, "client"), "client.example.org");
    assert_eq!(text(&row, "command"), "DATA");
    let id = number(&row, "id").to_string();
    next.until("C: (22 bytes)");
    from.until("C: (22 bytes)");
    house.ctl_ok(&["session", "disconnect", &id]);
    sender.check("S: 421 4.3.2 an administrator ended this session, closing\n -- closed");
    let (next, from) = (next.end(), from.end());
    assert!(from.contains("C: AUTH PLAIN ***") && !next.contains("AUTH"), "{from}\n{next}");
    for said in [next, from] {
        assert!(said.contains("C: MAIL FROM:<ann@grace.test>"), "{said}");
        assert!(!said.contains(&secret) && !said.contains("hidden"), "a secret:\n{said}");
    }
    // A stranger at the door for other servers.
    let mut stranger = Wire::connect(house.port("Smtp"));
    stranger.check("S: 220 *\n C: EHLO mx.example.org\n S: 250 *");
    let row = session(&house, "Smtp");
    assert_eq!((text(&row, "client"), text(&row, "account")), ("mx.example.org", ""));
    house.ctl_ok(&["session", "disconnect", &number(&row, "id").to_string()]);
    stranger.check("S: 421 4.3.2 *\n -- closed");
}

#[test]
fn a_session_is_ended_amid_a_command_that_goes_on_for_long() {
    const LETTERS: usize = 64;
    let house = House::start();
    let ann = house.account("ann");
    let mut reader = Wire::connect(house.port("Imap"));
    reader.check(&format!("S: * OK *\n C: a AUTHENTICATE PLAIN {}", plain(&ann)));
    answered(&mut reader, "a");
    reader.check("C: b SELECT INBOX");
    answered(&mut reader, "b");
    let letter = format!("Subject: large\r\n\r\n{}", format!("{:998}\r\n", "x").repeat(1_000));
    reader.send(format!("c APPEND INBOX {{{}+}}\r\n{letter}\r\n", letter.len()).as_bytes());
    answered(&mut reader, "c");
    for times in 0..LETTERS.ilog2() {
        reader.check(&format!("C: d{times} COPY 1:* INBOX"));
        answered(&mut reader, &format!("d{times}"));
    }
    // More than the system takes for who does not read.
    reader.check(&format!("C: e FETCH 1:{LETTERS} BODY.PEEK[]"));
    assert!(reader.line().starts_with("* 1 FETCH"));
    house.ctl_ok(&["session", "disconnect", &number(&session(&house, "Imap"), "id").to_string()]);
    loop {
        let line = reader.line();
        assert!(!line.starts_with("e OK"), "the command went on to its end");
        if line == "* BYE an administrator ended this session" {
            break;
        }
    }
    reader.check("-- closed");
}
