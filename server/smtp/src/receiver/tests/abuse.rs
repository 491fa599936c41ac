//! Conversations with peers that pretend to be us, and with those that try names.

use super::*;
use crate::settings::{HeloChecks, ImpossibleName, Tarpit};

/// Says HELO with a name and sends to anna; what RCPT is answered.
#[track_caller]
fn check_claim(settings: &Settings, claim: &str, expected: &str) {
    check_with(
        settings,
        &format!(
            "S: 220 mx.grace.test ESMTP Grace
             C: HELO {claim}
             S: 250 mx.grace.test
             C: MAIL FROM:<a@x.example>
             S: 250 2.1.0 sender ok
             C: RCPT TO:<anna@grace.test>
             S: {expected}
             C: QUIT
             S: 221 2.0.0 goodbye
             -- closed: quit"
        ),
    );
}

const OK: &str = "250 2.1.5 recipient ok";
const OURS: &str = "550 5.7.1 in EHLO you said that you are me, say who you are";
const IMPOSSIBLE: &str = "550 5.7.1 in EHLO you said a name that no host can have";

fn with(checks: HeloChecks, role: Role) -> Settings {
    Settings { helo_checks: checks, ..settings(role) }
}

fn checks() -> HeloChecks {
    HeloChecks {
        refuse_own: true,
        own_addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        impossible: ImpossibleName::RefuseRecipients,
    }
}

#[test]
fn nobody_else_is_us() {
    let settings = with(checks(), Role::Mx);
    let ours = [
        "mx.grace.test",
        "MX.Grace.TEST",
        "mx.grace.test.",
        "[192.0.2.1]",
        "192.0.2.1",
        "[IPv6:2001:db8::1]",
        "[ipv6:2001:DB8:0::1]",
        "[IPv6:::ffff:192.0.2.1]",
        "2001:db8::1",
    ];
    for claim in ours {
        check_claim(&settings, claim, OURS);
        let trusting = HeloChecks { refuse_own: false, ..checks() };
        check_claim(&with(trusting, Role::Mx), claim, OK);
    }
    for claim in ["mx2.grace.test", "grace.test", "[192.0.2.2]", "192.0.2.2", "localhost", "x"] {
        check_claim(&settings, claim, OK);
    }
}

#[test]
fn names_that_no_host_can_have() {
    let names = ["a b", "-x", "x..y", "[192.0.2]", "[192.0.2.2", "user@host", "(none)", "[]", "."];
    for claim in names {
        check_claim(&settings(Role::Mx), claim, IMPOSSIBLE);
        let mild = HeloChecks { impossible: ImpossibleName::Accept, ..checks() };
        check_claim(&with(mild, Role::Mx), claim, OK);
        let strict = HeloChecks { impossible: ImpossibleName::RefuseHello, ..checks() };
        check_with(
            &with(strict, Role::Mx),
            &format!(
                "S: 220 mx.grace.test ESMTP Grace
                 C: EHLO {claim}
                 S: 501 5.5.4 no host can have this name
                 N: EHLO {claim} | 501 5.5.4 no host can have this name
                 C: MAIL FROM:<a@x.example>
                 S: 503 5.5.1 say EHLO first
                 C: HELO x_y.example
                 S: 250 mx.grace.test
                 C: MAIL FROM:<a@x.example>
                 S: 250 2.1.0 sender ok
                 C: RCPT TO:<anna@grace.test>
                 S: 250 2.1.5 recipient ok"
            ),
        );
    }
}

#[test]
fn our_own_people_may_say_what_they_like() {
    for claim in ["mx.grace.test", "Anna's PC", "[192.0.2.1]"] {
        check_with(
            &with(checks(), Role::Submissions),
            &format!(
                "S: 220 mx.grace.test ESMTP Grace
                 C: HELO {claim}
                 S: 250 mx.grace.test
                 C: AUTH PLAIN AGFubmEAc2VjcmV0
                 S: 235 2.7.0 you are logged in
                 C: MAIL FROM:<anna@grace.test>
                 S: 250 2.1.0 sender ok
                 C: RCPT TO:<bob@grace.test>
                 S: 250 2.1.5 recipient ok"
            ),
        );
    }
}

fn slow() -> Settings {
    let tarpit = Tarpit { recipients_free: Some(1), errors_free: Some(2), ..Tarpit::DEFAULT };
    Settings { tarpit, recipients_refused_max: 6, ..settings(Role::Mx) }
}

#[test]
fn who_tries_names_waits_longer_each_time() {
    let mut script = "S: 220 mx.grace.test ESMTP Grace
        C: HELO x
        S: 250 mx.grace.test
        C: MAIL FROM:<a@x.example>
        S: 250 2.1.0 sender ok\n"
        .to_owned();
    for (name, waits) in [("aa", ""), ("ab", "1s"), ("ac", "2s"), ("ad", "4s"), ("ae", "5s")] {
        script.push_str(&format!(
            "C: RCPT TO:<{name}@grace.test>
             S: 550 5.1.1 no mailbox <{name}@grace.test> here\n"
        ));
        if !waits.is_empty() {
            script.push_str(&format!("-- waited {waits}\n"));
        }
    }
    script.push_str(
        "C: RCPT TO:<anna@grace.test>
         S: 250 2.1.5 recipient ok
         C: RCPT TO:<af@grace.test>
         S: 550 5.1.1 no mailbox <af@grace.test> here
         S: 421 4.7.0 too many unknown recipients, closing
         -- waited 5s
         -- closed: too many unknown recipients",
    );
    check_with(&slow(), &script);
}

#[test]
fn who_is_put_off_tries_no_names_but_not_for_ever() {
    check_with(
        &Settings { recipients_max: 2, ..slow() },
        "S: 220 mx.grace.test ESMTP Grace
         C: HELO x
         S: 250 mx.grace.test
         C: MAIL FROM:<a@x.example>
         S: 250 2.1.0 sender ok
         C: RCPT TO:<later@grace.test>
         S: 450 4.7.1 come again later
         C: RCPT TO:<later@grace.test>
         S: 450 4.7.1 come again later
         S: 421 4.7.0 too many recipients to try later, closing
         -- closed: too many recipients put off",
    );
}

#[test]
fn a_wait_does_not_cost_the_peer_its_own_time() {
    let tarpit = Tarpit {
        errors_free: Some(0),
        wait_first: Duration::from_secs(250),
        wait_max: Duration::from_secs(250),
        ..Tarpit::DEFAULT
    };
    check_with(
        &Settings { tarpit, ..settings(Role::Mx) },
        "S: 220 mx.grace.test ESMTP Grace
         C: HELO x
         S: 250 mx.grace.test
         C: WIZ
         S: 500 5.5.1 unknown command
         -- waited 250s
         +299s
         C: NOOP
         S: 250 2.0.0 ok",
    );
}

#[test]
fn commands_wait_where_that_is_set() {
    check_with(
        &slow(),
        "S: 220 mx.grace.test ESMTP Grace
         C: WIZ
         C: WIZ
         C: WIZ
         C: NOOP
         C: WIZ
         S: 500 5.5.1 unknown command
         S: 500 5.5.1 unknown command
         S: 500 5.5.1 unknown command
         S: 250 2.0.0 ok
         S: 500 5.5.1 unknown command
         -- waited 1s
         -- waited 2s",
    );
    // By default only recipients do.
    let mut script = "S: 220 mx.grace.test ESMTP Grace\n".to_owned();
    script.push_str(&"C: WIZ\n S: 500 5.5.1 unknown command\n".repeat(19));
    check(Role::Mx, &script);
}

#[test]
fn nobody_who_logged_in_waits() {
    let patient = Settings { role: Role::Submissions, ..slow() };
    let mut script = "S: 220 mx.grace.test ESMTP Grace
        C: HELO x
        S: 250 mx.grace.test
        C: AUTH PLAIN AGFubmEAc2VjcmV0
        S: 235 2.7.0 you are logged in
        C: MAIL FROM:<anna@grace.test>
        S: 250 2.1.0 sender ok\n"
        .to_owned();
    for _ in 0..5 {
        script.push_str(
            "C: RCPT TO:<nobody@grace.test>
             S: 550 5.1.1 no mailbox <nobody@grace.test> here
             C: WIZ
             S: 500 5.5.1 unknown command\n",
        );
    }
    check_with(&patient, &script);
}

#[test]
fn what_was_answered_before_is_sent_before_the_wait() {
    let mut receiver = Receiver::new(Instant::now(), slow(), None);
    let now = Instant::now();
    let commands = b"HELO x\r\nWIZ\r\nWIZ\r\nNOOP\r\nWIZ\r\nNOOP\r\nQUIT\r\n";
    assert_eq!(receiver.receive(now, commands), commands.len());
    let mut seen = Vec::new();
    while let Some(action) = receiver.poll() {
        match action {
            Action::Send(bytes) => seen.push(String::from_utf8(bytes).unwrap()),
            Action::Wait(time) => seen.push(format!("{time:?}")),
            Action::Close(reason) => seen.push(reason.to_string()),
            _ => {}
        }
    }
    let wiz = "500 5.5.1 unknown command\r\n";
    let ok = "250 2.0.0 ok\r\n";
    let greeting = "220 mx.grace.test ESMTP Grace\r\n250 mx.grace.test\r\n";
    let expected = [
        format!("{greeting}{wiz}{wiz}{ok}"),
        "1s".to_owned(),
        wiz.to_owned(),
        format!("{ok}221 2.0.0 goodbye\r\n"),
        "quit".to_owned(),
    ];
    assert_eq!(seen, expected);
}
