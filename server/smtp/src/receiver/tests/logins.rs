//! Conversations about STARTTLS and AUTH.

use super::*;

const TLS: &str = "S: 220 mx.grace.test ESMTP Grace
    C: HELO x
    S: 250 mx.grace.test
    ";

#[test]
fn submission_wants_tls_then_a_login() {
    check(
        Role::Submission,
        r#"S: 220 mx.grace.test ESMTP Grace
           C: EHLO x
           S: 250-mx.grace.test
           S: 250-PIPELINING
           S: 250-SIZE 52428800
           S: 250-8BITMIME
           S: 250-BINARYMIME
           S: 250-SMTPUTF8
           S: 250-ENHANCEDSTATUSCODES
           S: 250-CHUNKING
           S: 250-DSN
           S: 250-LIMITS MAILMAX=1000 RCPTMAX=1000
           S: 250-DELIVERBY 300
           S: 250-MT-PRIORITY
           S: 250 STARTTLS
           C: MAIL FROM:<anna@grace.test>
           S: 530 5.7.0 say STARTTLS first
           C: AUTH PLAIN AGFubmEAc2VjcmV0
           S: 538 5.7.11 passwords only after STARTTLS
           C: STARTTLS now
           S: 501 5.5.4 this command takes no argument
           C: STARTTLS
           S: 220 2.0.0 ready to start TLS
           -- tls
           C: MAIL FROM:<anna@grace.test>
           S: 503 5.5.1 say EHLO first
           C: EHLO x
           S: 250-mx.grace.test
           S: 250-PIPELINING
           S: 250-SIZE 52428800
           S: 250-8BITMIME
           S: 250-BINARYMIME
           S: 250-SMTPUTF8
           S: 250-ENHANCEDSTATUSCODES
           S: 250-CHUNKING
           S: 250-DSN
           S: 250-LIMITS MAILMAX=1000 RCPTMAX=1000
           S: 250-DELIVERBY 300
           S: 250-MT-PRIORITY
           S: 250-REQUIRETLS
           S: 250 AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN
           C: STARTTLS
           S: 503 5.5.1 TLS is already active
           C: MAIL FROM:<anna@grace.test>
           S: 530 5.7.0 log in first
           C: AUTH PLAIN AGFubmEAc2VjcmV0
           S: 235 2.7.0 you are logged in
           C: AUTH PLAIN AGFubmEAc2VjcmV0
           S: 503 5.5.1 already logged in
           C: MAIL FROM:<anna@grace.test>
           S: 250 2.1.0 sender ok"#,
    );
}

#[test]
fn the_ways_of_auth() {
    check(
        Role::Submissions,
        &format!(
            "{TLS}
             C: AUTH PLAIN
             S: 334 
             C: AGFubmEAc2VjcmV0
             S: 235 2.7.0 you are logged in"
        ),
    );
    check(
        Role::Submissions,
        &format!(
            "{TLS}
             C: auth login
             S: 334 VXNlcm5hbWU6
             C: YW5uYQ==
             S: 334 UGFzc3dvcmQ6
             C: c2VjcmV0
             S: 235 2.7.0 you are logged in"
        ),
    );
    let mechanisms = "504 5.5.4 mechanisms: SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN";
    check(
        Role::Submissions,
        &format!(
            "{TLS}
             C: AUTH LOGIN YW5uYQ
             S: 334 UGFzc3dvcmQ6
             C: *
             S: 501 5.7.0 authentication canceled
             N: AUTH LOGIN | 501 5.7.0 authentication canceled
             C: AUTH CRAM-MD5
             S: {mechanisms}
             N: AUTH (not shown) | {mechanisms}
             C: AUTH
             S: 501 5.5.4 syntax: AUTH mechanism [initial-response]
             C: AUTH PLAIN !
             S: 501 5.5.2 cannot decode the response
             C: AUTH PLAIN =
             S: 501 5.5.2 cannot decode the response
             C: AUTH LOGIN =
             S: 535 5.7.8 wrong login or password
             C: AUTH PLAIN bGF0ZXIAbGF0ZXIAcHc=
             S: 454 4.7.0 cannot check the password now
             C: AUTH PLAIN b3RoZXIAYW5uYQBzZWNyZXQ=
             S: 535 5.7.8 wrong login or password"
        ),
    );
}

#[test]
fn guessers_are_hung_up_on() {
    let strict = Settings { login_failures_max: 2, ..settings(Role::Submissions) };
    check_with(
        &strict,
        &format!(
            "{TLS}
             C: AUTH PLAIN AGFubmEAd3Jvbmc=
             S: 535 5.7.8 wrong login or password
             C: AUTH PLAIN AGFubmEAd3Jvbmc=
             S: 535 5.7.8 wrong login or password
             S: 421 4.7.0 too many failed logins, closing
             -- closed: too many failed logins"
        ),
    );
}

#[test]
fn passwords_stay_out_of_the_notes() {
    check(
        Role::Mx,
        "S: 220 mx.grace.test ESMTP Grace
         C: HELO x
         S: 250 mx.grace.test
         C: AUTH LOGIN YW5uYQ==
         S: 502 5.5.1 not offered here
         N: AUTH LOGIN | 502 5.5.1 not offered here
         C: c2VjcmV0
         S: 500 5.5.1 unknown command
         N: (not shown: it followed a refused AUTH) | 500 5.5.1 unknown command",
    );
}

#[test]
fn long_logins() {
    let long = "A".repeat(settings::AUTH_LINE_BYTES_MAX);
    check(
        Role::Submissions,
        &format!(
            "{TLS}
             C: AUTH PLAIN
             S: 334 
             C: {long}
             S: 500 5.5.6 authentication line too long
             C: NOOP
             S: 250 2.0.0 ok
             C: AUTH PLAIN {}
             S: 501 5.5.2 cannot decode the response",
            &long[..8_000],
        ),
    );
    check(
        Role::Submissions,
        &format!(
            "{TLS} C: AUTH PLAIN\n S: 334 \n +1m\n S: 421 4.4.2 idle too long, closing\n -- closed: timeout"
        ),
    );
}

#[test]
fn loopback_may_do_without_tls() {
    let local = Settings { login_without_tls: true, ..settings(Role::Submission) };
    check_with(
        &local,
        &format!(
            "{TLS}
             C: MAIL FROM:<anna@grace.test>
             S: 530 5.7.0 log in first
             C: AUTH PLAIN AGFubmEAc2VjcmV0
             S: 235 2.7.0 you are logged in"
        ),
    );
}

#[test]
fn nothing_comes_between_starttls_and_tls() {
    check_whole(
        &settings(Role::Mx),
        "S: 220 mx.grace.test ESMTP Grace
         C: HELO x
         S: 250 mx.grace.test
         C: STARTTLS
         C: MAIL FROM:<mallory@x.example>
         S: 503 5.5.1 nothing may follow STARTTLS before TLS, closing
         -- closed: bytes in the clear after STARTTLS",
    );
    check(
        Role::Submissions,
        "S: 220 mx.grace.test ESMTP Grace
         C: STARTTLS
         S: 503 5.5.1 TLS is already active",
    );
}

#[test]
fn tls_makes_everything_new() {
    check(
        Role::Mx,
        "S: 220 mx.grace.test ESMTP Grace
         C: HELO x
         S: 250 mx.grace.test
         C: MAIL FROM:<a@x.example>
         S: 250 2.1.0 sender ok
         C: RCPT TO:<anna@grace.test>
         S: 250 2.1.5 recipient ok
         R: BDAT 3\\r\\nabc
         S: 250 2.0.0 chunk received
         C: STARTTLS
         S: 220 2.0.0 ready to start TLS
         -- dropped
         -- tls
         C: BDAT 0 LAST
         S: 503 5.5.1 there is no message to add this to",
    );
}

/// A peer at the door who showed a certificate, and what it was answered.
fn certified(script: &str) -> String {
    let mut world = World::new(settings(Role::Submissions));
    let facts = TlsFacts { is_certified: true, ..tls_facts() };
    world.receiver = Receiver::new(world.now, settings(Role::Submissions), Some(facts));
    world.drive();
    world.replies.clear();
    for line in script.lines() {
        world.send(format!("{}\r\n", line.trim()).as_bytes(), 1);
    }
    world.replies
}

#[test]
fn a_certificate_is_a_way_in_where_one_was_shown() {
    let replies = certified("EHLO x");
    let ways = "AUTH EXTERNAL SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN";
    assert!(replies.contains(ways), "{replies}");
    for (said, answer) in [
        ("AUTH EXTERNAL =", "235 2.7.0 you are logged in\r\n"),
        ("AUTH EXTERNAL\n=", "334 \r\n501 "),
        ("AUTH EXTERNAL\n\n", "334 \r\n235 "),
        // anna@grace.test, bob@grace.test
        ("AUTH EXTERNAL YW5uYUBncmFjZS50ZXN0", "235 "),
        ("AUTH EXTERNAL Ym9iQGdyYWNlLnRlc3Q=", "535 "),
        ("AUTH EXTERNAL\n*", "334 \r\n501 "),
        ("AUTH EXTERNAL !", "501 "),
    ] {
        let replies = certified(&format!("HELO x\n{said}"));
        let (_, after) = replies.split_once("\r\n").expect("an answer to HELO");
        assert!(after.starts_with(answer), "{said:?}: {after:?}");
    }
    // Without a certificate it is not a way.
    let mechanisms = "504 5.5.4 mechanisms: SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN";
    check(
        Role::Submissions,
        &format!(
            "{TLS}C: AUTH EXTERNAL =\nS: {mechanisms}\n\
        N: AUTH EXTERNAL | {mechanisms}"
        ),
    );
}

/// What somebody who listens in hears of these lines, said at once or byte by byte.
fn heard(script: &str, step: usize) -> Vec<String> {
    let mut world = World::new(settings(Role::Submissions));
    world.receiver.listen_in(true);
    for line in script.lines() {
        world.send(format!("{}\r\n", line.trim()).as_bytes(), step);
    }
    world
        .notes
        .into_iter()
        .filter_map(|note| Some(note.strip_prefix("heard ")?.to_owned()))
        .collect()
}

#[test]
fn who_listens_in_hears_no_secret() {
    for step in [1, 1_000] {
        let script = "EHLO x
            AUTH PLAIN AGFubmEAc2VjcmV0";
        assert_eq!(heard(script, step), ["EHLO x", "AUTH PLAIN ***"]);
        let script = "EHLO x
            AUTH LOGIN
            YW5uYQ==
            c2VjcmV0
            NOOP";
        assert_eq!(heard(script, step), ["EHLO x", "AUTH LOGIN", "***", "***", "NOOP"]);
        let script = "EHLO x
            AUTH SCRAM-SHA-256
            bixhPWFubmEs
            *
            MAIL FROM:<anna@grace.test>";
        let lines = heard(script, step);
        assert!(lines.iter().all(|line| !line.contains("bixh")), "{lines:?}");
        assert_eq!(lines.last().map(String::as_str), Some("MAIL FROM:<anna@grace.test>"));
        let script = "EHLO x
            AUTH FROB c2VjcmV0
            c2VjcmV0
            PASS c2VjcmV0";
        assert_eq!(heard(script, step), ["EHLO x", "AUTH *** ***", "***", "***"]);
    }
}
