//! SMTP as it is spoken: the exact answers at the MX port, line by line, and submission through
//! smtplib.
//!
//! Not here: every rule of the receiver (tests of `grace-smtp`); these are the ones that sockets,
//! settings, the directory and the store take part in.

use std::fmt::Write as _;

use grace_tests::house::{HOSTNAME, House};
use grace_tests::log::Mark;
use grace_tests::script;
use grace_tests::wire::Wire;
use serde_json::json;

/// Small enough to reach.
const SETTINGS: &str = "[limits]\nmessage_bytes_max = 65536\nsmtp_errors_max = 4\n\
                        login_failure_delay_ms = 0\nrecipients_max = 100\n";

/// A house with one account, and a conversation at its MX port after EHLO.
fn greeted(house: &House) -> Wire {
    let mut wire = Wire::connect(house.port("Smtp"));
    wire.check(&format!(
        "S: 220 {HOSTNAME} ESMTP*
         C: EHLO client.example.org
         S: 250 *"
    ));
    wire
}

#[test]
fn what_is_offered() {
    let house = House::start_with(SETTINGS);
    let mut wire = Wire::connect(house.port("Smtp"));
    wire.check(&format!("S: 220 {HOSTNAME} ESMTP*"));
    wire.send(b"EHLO client.example.org\r\n");
    let mut offered: Vec<String> =
        wire.reply().iter().skip(1).map(|line| line.split_at(4).1.to_owned()).collect();
    offered.sort();
    assert_eq!(
        offered,
        [
            "8BITMIME",
            "CHUNKING",
            "DSN",
            "ENHANCEDSTATUSCODES",
            "LIMITS MAILMAX=1000 RCPTMAX=100",
            "PIPELINING",
            "SIZE 65536",
            "SMTPUTF8",
            "STARTTLS"
        ]
    );
    wire.check(
        "C: HELO client.example.org
         S: 250 *
         C: NOOP
         S: 250 2.0.0 *
         C: VRFY ann
         S: 252 2.5.*
         C: HELP
         S: 214 *
         C: AUTH PLAIN AGEAYg==
         S: 50* *
         C: QUIT
         S: 221 2.0.0 *
         -- closed",
    );
}

#[test]
fn a_message_and_its_trace() {
    let house = House::start_with(SETTINGS);
    let ann = house.account("ann");
    let mark = house.log().mark();
    greeted(&house).check(
        "C: MAIL FROM:<bob@example.org> SIZE=40 BODY=8BITMIME
         S: 250 2.1.0 *
         C: RCPT TO:<ANN@Grace.Test>
         S: 250 2.1.5 *
         C: DATA
         S: 354 *
         c: Subject: hello\\r\\n\\r\\n..dot\\r\\n.\\r\\n
         S: 250 2.0.0 *
         C: QUIT
         S: 221 2.0.0 *
         -- closed",
    );
    let accepted = house.log().wait(mark, "MessageAccepted", |_| true);
    let delivered = house.log().wait(mark, "MessageDelivered", |_| true);
    assert_eq!(accepted["sender"], "bob@example.org");
    assert_eq!(accepted["recipients"], 1);
    assert_eq!(delivered["account"], ann.address);
    assert_eq!(delivered["queue_id"], accepted["queue_id"]);
    // One trace joins the connection, the acceptance and the delivery.
    let opened = house.log().wait(mark, "ConnectionOpened", |_| true);
    let closed = house.log().wait(mark, "ConnectionClosed", |_| true);
    for event in [&accepted, &delivered, &closed] {
        assert_eq!(event["trace"], opened["trace"], "{event}");
    }
}

#[test]
fn refusals_say_why() {
    let house = House::start_with(SETTINGS);
    let _ann = house.account("ann");
    greeted(&house).check(
        "C: MAIL FROM:<bob@example.org> SIZE=65537
         S: 552 5.3.4 *
         C: MAIL FROM:<bob@example.org>
         S: 250 2.1.0 *
         C: RCPT TO:<nobody@grace.test>
         S: 550 5.1.1 *
         C: RCPT TO:<ann@elsewhere.example>
         S: 550 5.7.1 *
         C: DATA
         S: 554 5.5.1 *
         C: QUIT
         S: 221 2.0.0 *
         -- closed",
    );
    // The null sender (RFC 5321 4.5.5), postmaster (4.5.1) without a domain, sequence, syntax.
    greeted(&house).check(
        "C: RCPT TO:<ann@grace.test>
         S: 503 5.5.1 *
         C: MAIL FROM:<>
         S: 250 2.1.0 *
         C: RCPT TO:<ann@grace.test>
         S: 250 2.1.5 *
         C: MAIL FROM:<>
         S: 503 5.5.1 *
         C: RSET
         S: 250 2.0.0 *
         C: MAIL FROM:<a@b@c>
         S: 501 5.1.7 *
         C: MAIL FRM:<a@b>
         S: 501 5.5.4 *
         S: 421 4.7.0 *
         -- closed",
    );
    house.log().wait_count(Mark::START, "CommandRefused", 8, |_| true);
}

#[test]
fn too_large_is_told_after_the_data() {
    let house = House::start_with(SETTINGS);
    let ann = house.account("ann");
    let mut wire = greeted(&house);
    wire.check(
        "C: MAIL FROM:<bob@example.org>
         S: 250 2.1.0 *
         C: RCPT TO:<ann@grace.test>
         S: 250 2.1.5 *
         C: DATA
         S: 354 *",
    );
    for _ in 0..80 {
        wire.send(&[&b"x".repeat(998)[..], &b"\r\n"[..]].concat());
    }
    wire.check(
        "C: .
         S: 552 5.3.4 *
         C: MAIL FROM:<bob@example.org>
         S: 250 2.1.0 *
         C: QUIT
         S: 221 2.0.0 *",
    );
    assert_eq!(house.messages(&ann), 0);
}

/// Every way to end a message that is not CRLF.CRLF: where one server takes it for the end and the
/// next does not, a second message is smuggled in (CVE-2023-51764 to 51766).
#[test]
fn nothing_but_crlf_dot_crlf_ends_a_message() {
    let house = House::start_with(SETTINGS);
    let ann = house.account("ann");
    const ENDS: &[&str] = &[
        "\\n.\\n",
        "\\n.\\r\\n",
        "\\r\\n.\\n",
        "\\r.\\r",
        "\\r.\\r\\n",
        "\\r\\n.\\r",
        "\\r\\n\\0.\\r\\n",
        "\\r\\n.\\0\\r\\n",
        "\\r\\r\\n.\\r\\r\\n",
        "\\n\\n.\\r\\n",
    ];
    for end in ENDS {
        greeted(&house).check(&format!(
            "C: MAIL FROM:<bob@example.org>
             S: 250 2.1.0 *
             C: RCPT TO:<ann@grace.test>
             S: 250 2.1.5 *
             C: DATA
             S: 354 *
             c: Subject: one\\r\\n\\r\\nbody{end}MAIL FROM:<evil@example.org>\\r\\n\
             RCPT TO:<ann@grace.test>\\r\\nDATA\\r\\nSubject: two\\r\\n\\r\\nsmuggled\\r\\n.\\r\\n
             S: * *
             C: QUIT
             S: 221 2.0.0 *
             -- closed"
        ));
    }
    // One message or none each, never two, whatever the one reply was.
    house.log().wait_count(Mark::START, "ConnectionClosed", ENDS.len(), |_| true);
    let accepted = house.log().events(Mark::START, "MessageAccepted");
    assert!(accepted.iter().all(|event| event["sender"] == "bob@example.org"), "{accepted:?}");
    assert!(house.messages(&ann) <= ENDS.len() as u64);
}

#[test]
fn lone_line_feeds_are_refused() {
    let house = House::start_with(SETTINGS);
    let ann = house.account("ann");
    greeted(&house).check(
        "C: MAIL FROM:<bob@example.org>
         S: 250 2.1.0 *
         C: RCPT TO:<ann@grace.test>
         S: 250 2.1.5 *
         C: DATA
         S: 354 *
         c: Subject: one\\r\\n\\r\\nbare\\nline\\r\\n.\\r\\n
         S: 550 5.6.0 *
         C: QUIT
         S: 221 2.0.0 *",
    );
    assert_eq!(house.messages(&ann), 0);
    let refused = house.log().wait(Mark::START, "MessageRefused", |_| true);
    assert_eq!(refused["sender"], "bob@example.org");
}

#[test]
fn many_commands_in_one_piece() {
    let house = House::start_with(SETTINGS);
    let ann = house.account("ann");
    greeted(&house).check(
        "c: MAIL FROM:<bob@example.org>\\r\\nRCPT TO:<ann@grace.test>\\r\\n\
         RCPT TO:<no@grace.test>\\r\\nDATA\\r\\n
         S: 250 2.1.0 *
         S: 250 2.1.5 *
         S: 550 5.1.1 *
         S: 354 *
         c: Subject: one\\r\\n\\r\\nhi\\r\\n.\\r\\nMAIL FROM:<bob@example.org>\\r\\n\
         RCPT TO:<ann@grace.test>\\r\\n
         S: 250 2.0.0 *
         S: 250 2.1.0 *
         S: 250 2.1.5 *
         c: BDAT 4\\r\\na: bBDAT 8 LAST\\r\\n\\r\\n\\r\\n.\\r\\n\\n
         S: 250 2.0.0 *
         S: 250 2.0.0 *
         C: QUIT
         S: 221 2.0.0 *
         -- closed",
    );
    assert_eq!(house.messages(&ann), 2);
}

#[test]
fn too_many_errors_end_it() {
    let house = House::start_with(SETTINGS);
    greeted(&house).check(
        "C: NONSENSE
         S: 500 5.5.1 *
         C: MORE NONSENSE
         S: 500 5.5.1 *
         C: STILL
         S: 500 5.5.1 *
         C: AGAIN
         S: 500 5.5.1 *
         S: 421 4.7.0 *
         -- closed",
    );
    let mut long = Wire::connect(house.port("Smtp"));
    long.check("S: 220 *");
    long.send(&[&b"EHLO "[..], &b"x".repeat(5_000)[..], &b"\r\n"[..]].concat());
    long.check(
        "S: 500 5.5.2 *
         C: QUIT
         S: 221 2.0.0 *",
    );
    // A browser is told what it found and let go (RFC 5321 has no such command).
    let mut browser = Wire::connect(house.port("Smtp"));
    browser.check(
        "S: 220 *
         C: GET / HTTP/1.1
         S: 500 5.5.1 *
         -- closed",
    );
}

#[test]
fn more_recipients_than_allowed() {
    let house = House::start_with(SETTINGS);
    let _ann = house.account("ann");
    let mut script = String::from("C: MAIL FROM:<bob@example.org>\nS: 250 2.1.0 *\n");
    for _ in 0..100 {
        writeln!(script, "C: RCPT TO:<ann@grace.test>\nS: 250 2.1.5 *")
            .expect("a String takes any text");
    }
    script.push_str("C: RCPT TO:<ann@grace.test>\nS: 452 4.5.3 *\n");
    greeted(&house).check(&script);
}

#[test]
fn limits_at_the_door_and_patience_inside() {
    let house = House::start_with(
        "[limits]\nconnections_per_address_max = 3\nsmtp_idle_probe_s = 5\nimap_login_s = 10\n\
         [door]\ntrusted_networks = []\nhelo_mismatch = \"ignore\"\n",
    );
    let mut first = greeted(&house);
    let _second = greeted(&house);
    let mut silent = Wire::connect(house.port("Smtp"));
    silent.check("S: 220 *");
    Wire::connect(house.port("Smtp")).check("S: 421 4.7.0 *\n-- closed");
    Wire::connect(house.port("Imap")).check("S: * BYE *\n-- closed");
    assert_eq!(house.log().wait_count(Mark::START, "ConnectionRefused", 2, |_| true).len(), 2);
    // Who says nothing at all is let go, and makes room.
    silent.check("S: 421 4.4.2 *\n-- closed");
    let is_silent = |closed: &serde_json::Value| closed["duration_ms"].as_u64() > Some(4_000);
    house.log().wait(Mark::START, "ConnectionClosed", is_silent);
    greeted(&house).check("C: QUIT\nS: 221 *\n-- closed");
    // Who is in the middle of something has longer.
    first.check("C: NOOP\nS: 250 *");
}

#[test]
fn submission_by_smtplib() {
    let house = House::start_with("[limits]\nlogin_failure_delay_ms = 0\n");
    let (ann, bob) = (house.account("ann"), house.account("bob"));
    let result = script::run("submission", &script::about(&house, &[&ann, &bob]));
    assert_eq!(result["problems"], json!([]), "{result:#}");
    house.log().wait(Mark::START, "LoginSucceeded", |login| login["account"] == ann.address);
    house.log().wait_count(Mark::START, "LoginFailed", 2, |_| true);
}

#[test]
fn nothing_is_injected_before_tls() {
    let house = House::start();
    let result = script::run("starttls", &script::about(&house, &[]));
    assert_eq!(result["problems"], json!([]), "{result:#}");
    assert_eq!(result["did"].as_object().map(|doors| doors.len()), Some(4), "{result:#}");
}
