//! Conversations about commands, their order, their limits and the session's end.

use super::*;

#[test]
fn a_message_comes_in() {
    check(
        Role::Mx,
        r#"S: 220 mx.grace.test ESMTP Grace
           C: EHLO mail.example
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
           S: 250 STARTTLS
           C: MAIL FROM:<carl@x.example> SIZE=20 BODY=8BITMIME
           S: 250 2.1.0 sender ok
           C: RCPT TO:<anna@grace.test>
           S: 250 2.1.5 recipient ok
           C: RCPT TO:<nobody@grace.test>
           S: 550 5.1.1 no mailbox <nobody@grace.test> here
           N: RCPT TO:<nobody@grace.test> | 550 5.1.1 no mailbox <nobody@grace.test> here
           C: RCPT TO:<bob@grace.test>
           S: 250 2.1.5 recipient ok
           C: DATA
           S: 354 send the message, end with CRLF.CRLF
           C: Subject: hi
           C:
           C: ..dot
           C: .
           S: 250 2.0.0 ok, queued as 7f3a
           -- stored carl@x.example: anna@grace.test,bob@grace.test "Subject: hi\r\n\r\n.dot\r\n"
           C: QUIT
           S: 221 2.0.0 goodbye
           -- closed: quit"#,
    );
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    check(
        Role::Mx,
        r#"S: 220 mx.grace.test ESMTP Grace
           C: HELO mail.example
           S: 250 mx.grace.test
           C: MAIL FROM:<>
           C: RCPT TO:<anna@grace.test>
           C: RCPT TO:<nobody@grace.test>
           C: DATA
           S: 250 2.1.0 sender ok
           S: 250 2.1.5 recipient ok
           S: 550 5.1.1 no mailbox <nobody@grace.test> here
           S: 354 send the message, end with CRLF.CRLF
           C: .
           C: MAIL FROM:<carl@x.example>
           C: RCPT TO:<bob@grace.test>
           C: RSET
           C: NOOP hello
           C: QUIT
           C: NOOP
           S: 250 2.0.0 ok, queued as 7f3a
           S: 250 2.1.0 sender ok
           S: 250 2.1.5 recipient ok
           S: 250 2.0.0 ok
           S: 250 2.0.0 ok
           S: 221 2.0.0 goodbye
           -- stored : anna@grace.test ""
           -- closed: quit"#,
    );
}

#[test]
fn commands_out_of_order() {
    check(
        Role::Mx,
        "S: 220 mx.grace.test ESMTP Grace
         C: MAIL FROM:<a@x.example>
         S: 503 5.5.1 say EHLO first
         C: RCPT TO:<anna@grace.test>
         S: 503 5.5.1 say EHLO first
         C: HELO x
         S: 250 mx.grace.test
         C: RCPT TO:<anna@grace.test>
         S: 503 5.5.1 MAIL comes first
         C: DATA
         S: 503 5.5.1 MAIL comes first
         C: MAIL FROM:<a@x.example>
         S: 250 2.1.0 sender ok
         C: MAIL FROM:<b@x.example>
         S: 503 5.5.1 a message is already under way
         C: DATA
         S: 554 5.5.1 no valid recipients
         C: RCPT TO:<anna@grace.test>
         S: 250 2.1.5 recipient ok
         C: HELO again
         S: 250 mx.grace.test
         C: DATA
         S: 503 5.5.1 MAIL comes first
         C: AUTH PLAIN
         S: 502 5.5.1 not offered here
         C: EXPN staff
         S: 502 5.5.1 not offered here
         C: VRFY anna
         S: 252 2.5.0 cannot verify; send it and I will do my best
         C: HELP
         S: 214 2.0.0 this is Grace; see RFC 5321",
    );
}

#[test]
fn what_real_clients_write() {
    check(
        Role::Mx,
        "S: 220 mx.grace.test ESMTP Grace
         C: ehlo [192.168.1.114]
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
         S: 250 STARTTLS
         C: mail from: <a@x.example> auth=<> size=3
         S: 250 2.1.0 sender ok
         C: RCPT To: <anna@GRACE.test>
         S: 250 2.1.5 recipient ok
         C: RCPT TO:<@relay.example,@other.example:bob@grace.test>
         S: 250 2.1.5 recipient ok
         C: RCPT TO:bob@grace.test
         S: 250 2.1.5 recipient ok
         C: rcpt to:<PostMaster>
         S: 250 2.1.5 recipient ok
         C: RCPT TO:<\"bob\"@grace.test>
         S: 250 2.1.5 recipient ok
         R: NOOP\\n
         S: 250 2.0.0 ok
         C: NOOP  
         S: 250 2.0.0 ok
         C: RSET
         S: 250 2.0.0 ok",
    );
}

#[test]
fn lines_that_are_no_command() {
    check_with(
        &Settings { errors_max: 100, ..settings(Role::Mx) },
        "S: 220 mx.grace.test ESMTP Grace
         C: 
         S: 500 5.5.2 an empty line is no command
         C: .
         S: 500 5.5.1 unknown command
         C: WIZ
         S: 500 5.5.1 unknown command
         R: NO\\0OP\\r\\n
         S: 500 5.5.2 a command is a line of text without control characters
         R: NOOP \\xff\\r\\n
         S: 500 5.5.2 a command is a line of text without control characters
         R: NOOP a\\rb\\r\\n
         S: 500 5.5.2 a command is a line of text without control characters
         C: EHLO
         S: 501 5.5.4 say EHLO and your name
         C: HELO zero\u{200b}width
         S: 501 5.5.4 say EHLO and your name
         C: HELO x
         S: 250 mx.grace.test
         C: DATA now
         S: 501 5.5.4 this command takes no argument
         C: MAIL <a@x.example>
         S: 501 5.5.4 syntax: MAIL FROM:<address>
         C: MAIL FROM:<a@x.example
         S: 501 5.5.4 syntax: MAIL FROM:<address>
         C: MAIL FROM:<a@x.example>x
         S: 501 5.5.4 syntax: MAIL FROM:<address>
         C: MAIL FROM:<a b@x.example>
         S: 501 5.1.7 bad sender: the part before the @ is not valid
         C: MAIL FROM:<a@x.example> SIZE=big
         S: 501 5.5.4 SIZE is a number of bytes
         C: MAIL FROM:<a@x.example> BODY=9BIT
         S: 501 5.5.4 BODY is 7BIT, 8BITMIME or, if offered, BINARYMIME
         C: MAIL FROM:<a@x.example> COLOR=BLUE
         S: 555 5.5.4 unknown parameter
         C: MAIL FROM:<a@x.example> SIZE
         S: 501 5.5.4 this parameter needs a value
         C: MAIL FROM:<a@x.example> SMTPUTF8=YES
         S: 501 5.5.4 this parameter has no value
         C: MAIL FROM:<a@x.example> SIZE=1 size=2
         S: 501 5.5.4 a parameter stands only once
         C: MAIL FROM:<a@x.example>
         S: 250 2.1.0 sender ok
         C: RCPT TO:<anna>
         S: 501 5.1.3 bad recipient: an address is user@domain
         C: RCPT TO:<anna@grace.test> SIZE=1
         S: 555 5.5.4 unknown parameter",
    );
}

#[test]
fn a_recipient_stands_in_brackets() {
    check(
        Role::Mx,
        "S: 220 mx.grace.test ESMTP Grace
         C: HELO x
         S: 250 mx.grace.test
         C: MAIL FROM:<a@x.example>
         S: 250 2.1.0 sender ok
         C: RCPT <anna@grace.test>
         S: 501 5.5.4 syntax: RCPT TO:<address>
         C: RCPT TO:<anna@grace.test
         S: 501 5.5.4 syntax: RCPT TO:<address>
         C: RCPT TO:<anna@grace.test>
         S: 250 2.1.5 recipient ok",
    );
}

#[test]
fn the_driver_may_refuse_a_sender() {
    check(
        Role::Mx,
        "S: 220 mx.grace.test ESMTP Grace
         C: HELO x
         S: 250 mx.grace.test
         C: MAIL FROM:<banned@x.example>
         S: 553 5.7.1 not your address
         N: MAIL FROM:<banned@x.example> | 553 5.7.1 not your address
         C: RCPT TO:<anna@grace.test>
         S: 503 5.5.1 MAIL comes first",
    );
}

#[test]
fn international_addresses() {
    check(
        Role::Mx,
        r#"S: 220 mx.grace.test ESMTP Grace
           C: HELO x
           S: 250 mx.grace.test
           C: MAIL FROM:<käthe@x.example>
           S: 553 5.6.7 this address needs SMTPUTF8
           C: MAIL FROM:<a@x.example>
           S: 250 2.1.0 sender ok
           C: RCPT TO:<grüße@grace.test>
           S: 553 5.6.7 this address needs SMTPUTF8
           C: RSET
           S: 250 2.0.0 ok
           C: MAIL FROM:<käthe@bücher.example> SMTPUTF8
           S: 250 2.1.0 sender ok
           C: RCPT TO:<grüße@grace.test>
           S: 250 2.1.5 recipient ok
           C: RCPT TO:<müller@grace.test>
           S: 550 5.1.1 no mailbox <m?ller@grace.test> here
           C: DATA
           S: 354 send the message, end with CRLF.CRLF
           C: .
           S: 250 2.0.0 ok, queued as 7f3a
           -- stored käthe@xn--bcher-kva.example: grüße@grace.test """#,
    );
}

#[test]
fn limits_of_a_session() {
    let strict =
        Settings { errors_max: 3, idle_commands_max: 4, recipients_max: 1, ..settings(Role::Mx) };
    check_with(
        &strict,
        "S: 220 mx.grace.test ESMTP Grace
         C: HELO x
         S: 250 mx.grace.test
         C: MAIL FROM:<a@x.example>
         S: 250 2.1.0 sender ok
         C: RCPT TO:<anna@grace.test>
         S: 250 2.1.5 recipient ok
         C: RCPT TO:<bob@grace.test>
         S: 452 4.5.3 too many recipients, send the rest in another message
         C: WIZ
         S: 500 5.5.1 unknown command
         C: WIZ
         S: 500 5.5.1 unknown command
         C: WIZ
         C: NOOP
         S: 500 5.5.1 unknown command
         S: 421 4.7.0 too many errors, closing
         -- closed: too many errors",
    );
    check_with(
        &strict,
        "S: 220 mx.grace.test ESMTP Grace
         C: NOOP
         C: RSET
         C: VRFY x
         C: HELP
         S: 250 2.0.0 ok
         S: 250 2.0.0 ok
         S: 252 2.5.0 cannot verify; send it and I will do my best
         S: 214 2.0.0 this is Grace; see RFC 5321
         C: NOOP
         S: 250 2.0.0 ok
         S: 421 4.7.0 too many commands without mail, closing
         -- closed: too many commands without mail",
    );
}

#[test]
fn harvesters_and_endless_senders() {
    let strict = Settings { recipients_refused_max: 2, messages_max: 1, ..settings(Role::Mx) };
    check_with(
        &strict,
        r#"S: 220 mx.grace.test ESMTP Grace
           C: HELO x
           S: 250 mx.grace.test
           C: MAIL FROM:<a@x.example>
           S: 250 2.1.0 sender ok
           C: RCPT TO:<aa@grace.test>
           S: 550 5.1.1 no mailbox <aa@grace.test> here
           C: RCPT TO:<ab@grace.test>
           S: 550 5.1.1 no mailbox <ab@grace.test> here
           S: 421 4.7.0 too many unknown recipients, closing
           -- closed: too many unknown recipients"#,
    );
    check_with(
        &strict,
        r#"S: 220 mx.grace.test ESMTP Grace
           C: HELO x
           S: 250 mx.grace.test
           C: MAIL FROM:<a@x.example>
           S: 250 2.1.0 sender ok
           C: RCPT TO:<anna@grace.test>
           S: 250 2.1.5 recipient ok
           C: DATA
           S: 354 send the message, end with CRLF.CRLF
           C: .
           S: 250 2.0.0 ok, queued as 7f3a
           -- stored a@x.example: anna@grace.test ""
           C: MAIL FROM:<a@x.example>
           S: 421 4.7.0 enough messages for one session, please connect again
           -- closed: as many messages as a session may have"#,
    );
}

#[test]
fn a_stored_message_pays_the_errors_off() {
    let strict = Settings { errors_max: 2, ..settings(Role::Mx) };
    let mut script = "S: 220 mx.grace.test ESMTP Grace
         C: HELO x
         S: 250 mx.grace.test\n"
        .to_owned();
    for _ in 0..3 {
        script.push_str(
            r#"C: WIZ
               S: 500 5.5.1 unknown command
               C: MAIL FROM:<a@x.example>
               S: 250 2.1.0 sender ok
               C: RCPT TO:<anna@grace.test>
               S: 250 2.1.5 recipient ok
               C: DATA
               S: 354 send the message, end with CRLF.CRLF
               C: .
               S: 250 2.0.0 ok, queued as 7f3a
               -- stored a@x.example: anna@grace.test ""
            "#,
        );
    }
    check_with(&strict, &script);
}

#[test]
fn lines_that_are_too_long() {
    let long = "x".repeat(settings::COMMAND_LINE_BYTES_MAX);
    check(
        Role::Mx,
        &format!(
            "S: 220 mx.grace.test ESMTP Grace
             C: NOOP {long}
             C: NOOP
             S: 500 5.5.2 line too long
             S: 250 2.0.0 ok
             C: NOOP {}
             S: 500 5.5.2 line too long
             C: NOOP {}
             S: 250 2.0.0 ok",
            long.repeat(20),
            &long[..settings::COMMAND_LINE_BYTES_MAX - 7],
        ),
    );
    check(
        Role::Mx,
        &format!(
            "S: 220 mx.grace.test ESMTP Grace
             R: {}
             S: 421 4.7.0 too many errors, closing
             -- closed: too many errors",
            "x".repeat(settings::LONG_LINE_BYTES_MAX + settings::COMMAND_INPUT_BYTES_MAX),
        ),
    );
}

#[test]
fn silence() {
    check(
        Role::Mx,
        "S: 220 mx.grace.test ESMTP Grace
         +30s
         C: NOOP
         S: 250 2.0.0 ok
         +30s
         S: 421 4.4.2 idle too long, closing
         -- closed: timeout",
    );
    check(
        Role::Mx,
        "S: 220 mx.grace.test ESMTP Grace
         +59s
         C: HELO x
         S: 250 mx.grace.test
         +299s
         R: NOO
         +1s
         S: 421 4.4.2 idle too long, closing
         -- closed: timeout",
    );
    let in_data = r#"S: 220 mx.grace.test ESMTP Grace
         C: HELO x
         S: 250 mx.grace.test
         C: MAIL FROM:<a@x.example>
         S: 250 2.1.0 sender ok
         C: RCPT TO:<anna@grace.test>
         S: 250 2.1.5 recipient ok
         C: DATA
         S: 354 send the message, end with CRLF.CRLF
         "#;
    let end = "S: 421 4.4.2 idle too long, closing
         -- dropped
         -- closed: timeout";
    check(Role::Mx, &format!("{in_data} +5m\n {end}"));
    let trickle = "R: x\n +4m\n".repeat(15);
    check(Role::Mx, &format!("{in_data} {trickle} {end}"));
}

#[test]
fn a_pause_before_the_greeting() {
    let patient = Settings { greet_pause: Duration::from_secs(5), ..settings(Role::Mx) };
    check_with(
        &patient,
        "+4s
         +1s
         S: 220 mx.grace.test ESMTP Grace
         C: NOOP
         S: 250 2.0.0 ok",
    );
    check_with(
        &patient,
        "+4s
         C: EHLO ylmf-pc
         S: 554 5.5.1 you spoke before the greeting, closing
         -- closed: spoke before the greeting",
    );
}

#[test]
fn peers_that_do_not_wait() {
    check_whole(
        &settings(Role::Mx),
        r#"S: 220 mx.grace.test ESMTP Grace
           C: EHLO x
           C: MAIL FROM:<a@x.example>
           N: hasty after EHLO x
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
           S: 250 STARTTLS
           S: 250 2.1.0 sender ok
           C: RCPT TO:<anna@grace.test>
           C: DATA
           C: body
           C: .
           N: hasty after DATA
           S: 250 2.1.5 recipient ok
           S: 354 send the message, end with CRLF.CRLF
           S: 250 2.0.0 ok, queued as 7f3a
           -- stored a@x.example: anna@grace.test "body\r\n""#,
    );
    // What follows a refused DATA is a body: none of it may be obeyed.
    check_whole(
        &settings(Role::Mx),
        "S: 220 mx.grace.test ESMTP Grace
         C: HELO x
         S: 250 mx.grace.test
         C: MAIL FROM:<a@x.example>
         C: RCPT TO:<nobody@grace.test>
         C: DATA
         C: MAIL FROM:<inner@x.example>
         C: .
         S: 250 2.1.0 sender ok
         S: 550 5.1.1 no mailbox <nobody@grace.test> here
         S: 554 5.5.1 no valid recipients
         S: 503 5.5.1 wait for the answer before you send on, closing
         -- closed: did not wait for an answer",
    );
    check_whole(
        &Settings { haste: Haste::Refuse, ..settings(Role::Mx) },
        "S: 220 mx.grace.test ESMTP Grace
         C: EHLO x
         C: MAIL FROM:<a@x.example>
         S: 503 5.5.1 wait for the answer before you send on, closing
         -- closed: did not wait for an answer",
    );
}

#[test]
fn what_ends_a_session_from_here_waits_only_for_what_is_outstanding() {
    let bye = "421 4.3.2 shutting down, please come back soon\r\nshutdown";
    ends_after_what_is_outstanding(Receiver::shut_down, bye);
    let bye = "421 4.7.0 your login is not valid any more, closing\r\nthe login was revoked";
    ends_after_what_is_outstanding(Receiver::revoke_login, bye);
    let bye = "421 4.3.2 an administrator ended this session, closing\r\nended by an admin";
    ends_after_what_is_outstanding(Receiver::disconnect, bye);
}

#[track_caller]
fn ends_after_what_is_outstanding(end: fn(&mut Receiver, Instant), bye: &str) {
    let now = Instant::now();
    let mut receiver = Receiver::new(now, settings(Role::Mx), None);
    let sent = |receiver: &mut Receiver| {
        let mut text = String::new();
        while let Some(action) = receiver.poll() {
            match action {
                Action::Send(bytes) => text.push_str(&String::from_utf8(bytes).unwrap()),
                Action::CheckSender(_) => receiver.answer_sender(now, Ok(())),
                Action::CheckRecipient(_) => receiver.answer_recipient(now, Ok(())),
                Action::BodyBegin(_) => receiver.answer_body(now, Ok(())),
                Action::Close(reason) => text.push_str(&reason.to_string()),
                _ => {}
            }
        }
        text
    };
    receiver.receive(now, b"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n");
    assert!(sent(&mut receiver).ends_with("354 send the message, end with CRLF.CRLF\r\n"));
    receiver.receive(now, b".\r\nNOOP\r\n");
    assert_eq!(sent(&mut receiver), "");
    end(&mut receiver, now);
    assert_eq!(sent(&mut receiver), "", "the store still works on it");
    receiver.answer_end(now, Ok("7f3a".to_owned()));
    assert_eq!(sent(&mut receiver), format!("250 2.0.0 ok, queued as 7f3a\r\n{bye}"));
}
