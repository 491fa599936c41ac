//! Conversations until a session takes mail: greeting, EHLO and HELO, STARTTLS, AUTH.

use super::*;

fn required() -> Settings {
    Settings { tls: TlsPolicy::Required, ..settings() }
}

/// A smart host on loopback, where a password may go in the clear.
fn local_login() -> Settings {
    Settings { login_without_tls: true, ..with_login() }
}

#[test]
fn a_plain_session() {
    check(
        "S: 220 mx.example ESMTP
         C: EHLO mail.grace.test
         S: 250-mx.example hello
         S: 250 HELP
         -- ready
         > send a@x.example b@y.example | Hi\\r\\n
         C: MAIL FROM:<a@x.example>
         S: 250 ok
         C: RCPT TO:<b@y.example>
         S: 250 ok
         C: DATA
         S: 354 go on
         C: Hi
         C: .
         S: 250 2.0.0 queued as 1
         -- b@y.example delivered: 250 2.0.0 queued as 1
         -- ready
         > quit
         C: QUIT
         S: 221 bye
         -- closed: quit",
    );
}

#[test]
fn greetings() {
    check(
        "S: 220-mx.example ESMTP
         S: 220-We do not take spam.
         S: 220 Really.
         C: EHLO mail.grace.test
         S: 250 mx.example
         -- ready",
    );
    check(
        "> send a@x.example b@y.example
         S: 554 5.7.1 192.0.2.1 is listed
         C: QUIT
         -- b@y.example never 5.7.1 (host): \"554 5.7.1 192.0.2.1 is listed\"
         S: 221 bye
         -- closed: failed: 554 5.7.1 192.0.2.1 is listed",
    );
    check(
        "> send a@x.example b@y.example
         S: 521 no mail here
         C: QUIT
         -- b@y.example never 5.3.2 (host): \"521 no mail here\"
         > gone
         -- closed: failed: 521 no mail here",
    );
    check(
        "> send a@x.example b@y.example
         S: 421 4.7.0 too many connections
         -- b@y.example later 4.7.0 (host): \"421 4.7.0 too many connections\"
         -- closed: failed: 421 4.7.0 too many connections",
    );
    check(
        "S: 450 busy
         C: QUIT
         +30s
         -- closed: failed: 450 busy",
    );
    check(
        "> send a@x.example b@y.example
         S: 250 mx.example
         -- b@y.example later 4.5.0 (host): unexpected in place of the greeting: 250 mx.example
         -- closed: failed: 4.5.0 unexpected in place of the greeting: 250 mx.example",
    );
}

#[test]
fn a_server_that_knows_no_ehlo() {
    for refusal in ["500 what?", "502 5.5.1 not implemented", "550 go away"] {
        check(&format!(
            "S: 220 mx.example
             C: EHLO mail.grace.test
             S: {refusal}
             C: HELO mail.grace.test
             S: 250-mx.example
             S: 250 PIPELINING
             -- ready
             > send <> postmaster 8bit
             -- postmaster never 5.6.3 (message): the host takes no 8-bit messages
             -- ready
             > send <> postmaster
             C: MAIL FROM:<>
             S: 250 ok
             C: RCPT TO:<postmaster>"
        ));
    }
    check(
        "> send a@x.example b@y.example
         S: 220 mx.example
         C: EHLO mail.grace.test
         S: 500 what?
         C: HELO mail.grace.test
         S: 501 5.5.4 bad name
         C: QUIT
         -- b@y.example never 5.5.4 (host): \"501 5.5.4 bad name\"
         S: 221 bye
         -- closed: failed: 501 5.5.4 bad name",
    );
    check(
        "> send a@x.example b@y.example
         S: 220 mx.example
         C: EHLO mail.grace.test
         S: 451 4.3.0 no DNS
         C: QUIT
         -- b@y.example later 4.3.0 (host): \"451 4.3.0 no DNS\"",
    );
    check_with(
        &required(),
        "> send a@x.example b@y.example
         S: 220 mx.example
         C: EHLO mail.grace.test
         S: 502 what?
         C: HELO mail.grace.test
         S: 250 mx.example
         C: QUIT
         -- b@y.example later 4.7.4 (host): TLS is required, and the host does not offer it",
    );
}

#[test]
fn tls_where_it_is_offered() {
    check(
        "S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250-mx.example
         S: 250-PIPELINING
         S: 250-SIZE 10
         S: 250 STARTTLS
         C: STARTTLS
         S: 220 2.0.0 ready
         -- tls
         > send a@x.example b@y.example size=11
         > tls
         C: EHLO mail.grace.test
         S: 250-mx.example
         S: 250 STARTTLS
         C: MAIL FROM:<a@x.example>
         S: 250 ok
         C: RCPT TO:<b@y.example>",
    );
    check(
        "S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250-mx.example
         S: 250 STARTTLS
         C: STARTTLS
         S: 454 4.7.0 TLS not available
         -- ready",
    );
    // What was learnt before TLS is not used after it.
    check(
        "S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250-mx.example
         S: 250-PIPELINING
         S: 250 STARTTLS
         C: STARTTLS
         S: 220 2.0.0 ready
         -- tls
         > tls
         C: EHLO mail.grace.test
         S: 500 not again
         C: HELO mail.grace.test
         S: 250 mx.example
         -- ready
         > send a@x.example b@y.example
         C: MAIL FROM:<a@x.example>",
    );
    check_with(
        &Settings { tls: TlsPolicy::Never, ..settings() },
        "S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250-mx.example
         S: 250 STARTTLS
         -- ready",
    );
    let script = "S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250-mx.example
         S: 250 STARTTLS
         -- ready";
    play(&required(), Some(tls(true)), script, 1, 1);
}

#[test]
fn tls_where_it_must_be() {
    check_with(
        &required(),
        "> send a@x.example b@y.example
         S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250 mx.example
         C: QUIT
         -- b@y.example later 4.7.4 (host): TLS is required, and the host does not offer it
         S: 221 bye
         -- closed: failed: 4.7.4 TLS is required, and the host does not offer it",
    );
    check_with(
        &required(),
        "> send a@x.example b@y.example
         S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250-mx.example
         S: 250 STARTTLS
         C: STARTTLS
         S: 454 4.7.0 not now
         C: QUIT
         -- b@y.example later 4.7.4 (host): TLS is required, and the host refused it: \
         454 4.7.0 not now",
    );
}

#[test]
fn handshakes_that_fail() {
    let begun = "> send a@x.example b@y.example
         S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250-mx.example
         S: 250 STARTTLS
         C: STARTTLS
         S: 220 2.0.0 ready
         -- tls";
    check(&format!(
        "{begun}
         > tls bad\u{7} certificate
         -- b@y.example later 4.7.5 (host): TLS handshake failed: bad? certificate
         -- closed: failed: 4.7.5 TLS handshake failed: bad? certificate"
    ));
    check(&format!(
        "{begun}
         > gone
         -- b@y.example later 4.4.2 (host): connection lost waiting for TLS
         -- closed: failed: 4.4.2 connection lost waiting for TLS"
    ));
    check(&format!(
        "{begun}
         +1m
         -- b@y.example later 4.4.2 (host): timed out waiting for TLS
         -- closed: failed: 4.4.2 timed out waiting for TLS"
    ));
    // Where no action asked for it, an answer about TLS changes nothing.
    check("> tls\n > tls failed\n S: 220 mx.example\n C: EHLO mail.grace.test");
}

#[test]
fn nothing_in_the_clear_after_starttls() {
    check_whole(
        &settings(),
        "> send a@x.example b@y.example
         S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250-mx.example
         S: 250 STARTTLS
         C: STARTTLS
         S: 220 ready
         S: 250 evil.example
         -- b@y.example later 4.7.5 (host): bytes in the clear after STARTTLS
         -- closed: failed: 4.7.5 bytes in the clear after STARTTLS",
    );
}

#[test]
fn logins() {
    check_with(
        &local_login(),
        "S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250-mx.example
         S: 250 AUTH LOGIN PLAIN
         C: AUTH PLAIN AGFubmEAc2VjcmV0
         S: 235 2.7.0 welcome
         -- ready
         N: it: 220 mx.example
         N: we: EHLO mail.grace.test
         N: it: 250 mx.example AUTH LOGIN PLAIN
         N: we: AUTH PLAIN (not shown)
         N: it: 235 2.7.0 welcome",
    );
    check_with(
        &local_login(),
        "S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250-mx.example
         S: 250 AUTH=LOGIN
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         C: YW5uYQ==
         S: 334 UGFzc3dvcmQ6
         C: c2VjcmV0
         S: 235 2.7.0 welcome
         -- ready
         N: it: 220 mx.example
         N: we: EHLO mail.grace.test
         N: it: 250 mx.example AUTH=LOGIN
         N: we: AUTH LOGIN
         N: it: 334 VXNlcm5hbWU6
         N: we: (not shown)
         N: it: 334 UGFzc3dvcmQ6
         N: we: (not shown)
         N: it: 235 2.7.0 welcome",
    );
}

#[test]
fn logins_that_fail() {
    let offered = "> send a@x.example b@y.example
         S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250-mx.example";
    check_with(
        &local_login(),
        &format!(
            "{offered}
             S: 250 AUTH PLAIN
             C: AUTH PLAIN AGFubmEAc2VjcmV0
             S: 535 5.7.8 wrong password
             C: QUIT
             -- b@y.example later 4.7.8 (host): login refused: 535 5.7.8 wrong password"
        ),
    );
    check_with(
        &local_login(),
        &format!(
            "{offered}
             S: 250 AUTH PLAIN
             C: AUTH PLAIN AGFubmEAc2VjcmV0
             S: 454 4.7.0 directory down
             C: QUIT
             -- b@y.example later 4.7.0 (host): \"454 4.7.0 directory down\""
        ),
    );
    check_with(
        &local_login(),
        &format!(
            "{offered}
             S: 250 AUTH PLAIN
             C: AUTH PLAIN AGFubmEAc2VjcmV0
             S: 334
             -- b@y.example later 4.5.0 (host): unexpected in place of the reply to AUTH: 334
             -- closed: failed: 4.5.0 unexpected in place of the reply to AUTH: 334"
        ),
    );
    check_with(
        &local_login(),
        &format!(
            "{offered}
             S: 250 AUTH GSSAPI
             C: QUIT
             -- b@y.example later 4.7.4 (host): the host offers no login we can do"
        ),
    );
    check_with(
        &with_login(),
        &format!(
            "{offered}
             S: 250 AUTH PLAIN
             C: QUIT
             -- b@y.example later 4.7.11 (host): no login without TLS"
        ),
    );
}

#[test]
fn a_peer_that_repeats_the_password() {
    for repeated in ["secret", "c2VjcmV0", "AGFubmEAc2VjcmV0"] {
        check_with(
            &local_login(),
            &format!(
                "> send a@x.example b@y.example
                 S: 220 mx.example
                 C: EHLO mail.grace.test
                 S: 250-mx.example
                 S: 250 AUTH PLAIN
                 C: AUTH PLAIN AGFubmEAc2VjcmV0
                 S: 535 5.7.8 wrong: {repeated}
                 C: QUIT
                 -- b@y.example later 4.7.8 (host): login refused: 535 5.7.8 (not shown)
                 N: it: 220 mx.example
                 N: we: EHLO mail.grace.test
                 N: it: 250 mx.example AUTH PLAIN
                 N: we: AUTH PLAIN (not shown)
                 N: it: 535 5.7.8 (not shown)"
            ),
        );
    }
}

#[test]
fn a_driver_that_changes_its_mind() {
    check(
        "> quit
         > send a@x.example b@y.example
         -- given back
         S: 220 mx.example
         C: QUIT
         S: 221 bye
         -- closed: quit",
    );
    check(
        "S: 220 mx.example
         C: EHLO mail.grace.test
         > quit
         S: 250-mx.example
         S: 250 STARTTLS
         C: QUIT
         S: 221 bye
         -- closed: quit",
    );
    // A job in hand is done first.
    check(
        "> send a@x.example b@y.example
         > quit
         S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250 mx.example
         C: MAIL FROM:<a@x.example>
         S: 550 5.7.1 no
         C: QUIT
         -- b@y.example never 5.7.1 (message): \"550 5.7.1 no\"",
    );
}

#[test]
fn what_is_known_of_the_peer() {
    let mut world = World::new(settings(), None, 1);
    world.hear(b"220 a.example ESMTP\r\n", 1);
    world.hear(b"250-b.example\xff hello\r\n250 DSN\r\n", 1);
    assert_eq!(world.sender.peer_name(), Some("b.example?"));
    assert!(world.sender.extensions().dsn && world.sender.tls().is_none());
}

#[test]
fn we_do_not_talk_to_ourselves() {
    let own_name = Some("mail.grace.test".to_owned());
    let settings = Settings { hostname: "out.grace.test".to_owned(), own_name, ..settings() };
    check_with(
        &settings,
        "> send a@x.example b@y.example
         S: 220 Mail.grace.test
         C: EHLO out.grace.test
         S: 250 MAIL.grace.test
         -- b@y.example never 5.4.6 (host): the host calls itself by our name: it is ourselves
         C: QUIT
         S: 221 bye
         -- closed: failed: 5.4.6 the host calls itself by our name: it is ourselves",
    );
    check_with(
        &settings,
        "S: 220 mail.grace.test
         C: EHLO out.grace.test
         S: 250 mail2.grace.test
         -- ready",
    );
}
