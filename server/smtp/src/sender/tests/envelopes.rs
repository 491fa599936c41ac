//! Conversations about MAIL, RCPT and DATA: their words, groups of them, refusals and limits.

use super::*;

/// A conversation that starts behind EHLO, with these extensions.
#[track_caller]
fn check_offered(offered: &str, script: &str) {
    check_offered_with(&settings(), offered, script);
}

#[track_caller]
fn check_offered_with(settings: &Settings, offered: &str, script: &str) {
    let lines: String = offered.split(", ").map(|line| format!("S: 250-{line}\n")).collect();
    check_with(
        settings,
        &format!(
            "S: 220 mx.example
             C: EHLO mail.grace.test
             S: 250-mx.example
             {lines}
             S: 250 HELP
             -- ready
             {script}"
        ),
    );
}

#[test]
fn pipelined() {
    check_offered(
        "PIPELINING",
        "> send a@x.example b@y.example,c@y.example,d@y.example | Hi\\r\\n
         C: MAIL FROM:<a@x.example>
         C: RCPT TO:<b@y.example>
         C: RCPT TO:<c@y.example>
         C: RCPT TO:<d@y.example>
         C: DATA
         S: 250 2.1.0 ok
         S: 250 2.1.5 ok
         S: 550 5.1.1 no such user
         S: 450 4.2.1 greylisted
         S: 354 go on
         C: Hi
         C: .
         S: 250 2.0.0 queued
         -- b@y.example delivered: 250 2.0.0 queued
         -- c@y.example never 5.1.1 (recipient): \"550 5.1.1 no such user\"
         -- d@y.example later 4.2.1 (recipient): \"450 4.2.1 greylisted\"
         -- ready
         > send <> b@y.example
         C: MAIL FROM:<>
         C: RCPT TO:<b@y.example>
         C: DATA",
    );
}

#[test]
fn one_by_one() {
    check_offered(
        "8BITMIME",
        "> send a@x.example b@y.example,c@y.example | Hi\\r\\n
         C: MAIL FROM:<a@x.example>
         S: 250 ok
         C: RCPT TO:<b@y.example>
         S: 551 5.1.6 moved
         C: RCPT TO:<c@y.example>
         S: 251 will forward
         C: DATA
         S: 354 go on
         C: Hi
         C: .
         S: 250 ok
         -- b@y.example never 5.1.6 (recipient): \"551 5.1.6 moved\"
         -- c@y.example delivered: 250 ok
         -- ready",
    );
}

#[test]
fn parameters() {
    check_offered(
        "SIZE, 8BITMIME, SMTPUTF8, DSN",
        "> send a+b@x.example b@y.example 8bit utf8 ret=HDRS envid=QQ+1 notify=SUCCESS,DELAY \
         orcpt=rfc822;b+2Bc@z.example size=7
         C: MAIL FROM:<a+b@x.example> SIZE=7 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+2B1
         S: 250 ok
         C: RCPT TO:<b@y.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bc@z.example
         S: 250 ok
         C: DATA
         S: 354 go on
         C: Hi
         C: .
         S: 250 ok
         -- b@y.example delivered, notifies: 250 ok
         -- ready",
    );
    // What is not offered is not said.
    check_offered(
        "HELP",
        "> send a@x.example b@y.example ret=HDRS envid=QQ1 notify=NEVER orcpt=rfc822;c@z.example
         C: MAIL FROM:<a@x.example>
         S: 250 ok
         C: RCPT TO:<b@y.example>
         S: 250 ok
         C: DATA
         S: 354 go on
         C: Hi
         C: .
         S: 250 ok
         -- b@y.example delivered: 250 ok
         -- ready",
    );
}

#[test]
fn what_is_not_sound_is_left_out() {
    let id = "x".repeat(crate::dsn::ENVELOPE_ID_BYTES_MAX + 1);
    let mut world = open(settings(), 1, &["DSN"]);
    let mut job = job(&format!("a@x.example b@y.example envid={id}"), 1);
    let kind = "rfc822\r\nQUIT\r\n".to_owned();
    job.recipients[0].original = Some(OriginalRecipient { kind, address: "c".to_owned() });
    world.job = Some(vec!["b@y.example".to_owned()]);
    world.sender.deliver(world.now, job).expect("it is ready");
    world.drive();
    world.hear(b"250 ok\r\n", usize::MAX);
    let said = String::from_utf8(world.said).unwrap();
    assert_eq!(said, "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\n");
}

#[test]
fn what_the_peer_cannot_take() {
    for (offered, options, outcome) in [
        (
            "SIZE 10",
            "size=11",
            "never 5.3.4 (message): the host takes messages of 10 bytes at most",
        ),
        ("SIZE 10", "8bit", "never 5.6.3 (message): the host takes no 8-bit messages"),
        ("CHUNKING", "binary", "never 5.6.3 (message): the host takes no binary messages"),
        ("BINARYMIME", "binary", "never 5.6.3 (message): the host takes no binary messages"),
        (
            "8BITMIME",
            "utf8",
            "never 5.6.7 (message): the host takes no international addresses or headers",
        ),
        (
            "REQUIRETLS",
            "requiretls",
            "never 5.7.30 (message): the host does not promise to keep TLS (REQUIRETLS)",
        ),
    ] {
        check_offered(
            offered,
            &format!(
                "> send a@x.example b@y.example,c@y.example {options}
                 -- b@y.example {outcome}
                 -- c@y.example {outcome}
                 -- ready"
            ),
        );
    }
    check_offered(
        "SIZE 10",
        "> send a@x.example b@y.example size=10\n C: MAIL FROM:<a@x.example> SIZE=10",
    );
    check_offered(
        "SIZE 0",
        "> send a@x.example b@y.example size=11\n C: MAIL FROM:<a@x.example> SIZE=11",
    );
}

#[test]
fn international_addresses() {
    check_offered(
        "8BITMIME",
        "> send käthe@x.example b@y.example
         -- b@y.example never 5.6.7 (message): the host takes no international addresses or headers
         -- ready
         > send a@x.example grüße@y.example,b@bücher.example | Hi\\r\\n
         C: MAIL FROM:<a@x.example>
         S: 250 ok
         C: RCPT TO:<b@xn--bcher-kva.example>
         S: 250 ok
         C: DATA
         S: 354 go on
         C: Hi
         C: .
         S: 250 ok
         -- grüße@y.example never 5.6.7 (message): \
         the host takes no international addresses or headers
         -- b@xn--bcher-kva.example delivered: 250 ok
         -- ready",
    );
    check_offered(
        "PIPELINING, SMTPUTF8",
        "> send a@x.example grüße@y.example,b@y.example
         C: MAIL FROM:<a@x.example> SMTPUTF8
         C: RCPT TO:<grüße@y.example>
         C: RCPT TO:<b@y.example>
         C: DATA",
    );
}

#[test]
fn messages_that_must_stay_encrypted() {
    for (is_verified, offered, is_sent) in
        [(true, "REQUIRETLS", true), (false, "REQUIRETLS", false), (true, "HELP", false)]
    {
        let end = if is_sent {
            "C: MAIL FROM:<a@x.example> REQUIRETLS"
        } else {
            "-- b@y.example never 5.7.30 (message): \
             the host does not promise to keep TLS (REQUIRETLS)
             -- ready"
        };
        let script = format!(
            "> send a@x.example b@y.example requiretls
             S: 220 mx.example
             C: EHLO mail.grace.test
             S: 250-mx.example
             S: 250 {offered}
             {end}"
        );
        play(&settings(), Some(tls(is_verified)), &script, 1, 1);
    }
}

#[test]
fn mail_refused() {
    check_offered(
        "PIPELINING",
        "> send a@x.example b@y.example,c@y.example
         C: MAIL FROM:<a@x.example>
         C: RCPT TO:<b@y.example>
         C: RCPT TO:<c@y.example>
         C: DATA
         S: 550 5.7.1 we do not know you
         S: 503 5.5.1 MAIL first
         S: 250 ok
         S: 503 5.5.1 MAIL first
         -- b@y.example never 5.7.1 (message): \"550 5.7.1 we do not know you\"
         -- c@y.example never 5.7.1 (message): \"550 5.7.1 we do not know you\"
         -- ready",
    );
    check_offered(
        "HELP",
        "> send a@x.example b@y.example
         C: MAIL FROM:<a@x.example>
         S: 451 4.7.650 rate limited
         -- b@y.example later 4.7.650 (host): \"451 4.7.650 rate limited\"
         -- ready",
    );
}

#[test]
fn nobody_accepted() {
    check_offered(
        "HELP",
        "> send a@x.example b@y.example
         C: MAIL FROM:<a@x.example>
         S: 250 ok
         C: RCPT TO:<b@y.example>
         S: 550 no
         C: RSET
         -- b@y.example never 5.2.0 (recipient): \"550 no\"
         S: 250 ok
         -- ready",
    );
    check_offered(
        "PIPELINING",
        "> send a@x.example b@y.example
         C: MAIL FROM:<a@x.example>
         C: RCPT TO:<b@y.example>
         C: DATA
         S: 250 ok
         S: 550 no
         S: 554 no valid recipients
         C: RSET
         -- b@y.example never 5.2.0 (recipient): \"550 no\"
         S: 250 ok
         -- ready",
    );
    // A peer that cannot forget gets nothing else.
    check_offered(
        "HELP",
        "> send a@x.example b@y.example
         C: MAIL FROM:<a@x.example>
         S: 250 ok
         C: RCPT TO:<b@y.example>
         S: 550 no
         C: RSET
         -- b@y.example never 5.2.0 (recipient): \"550 no\"
         S: 502 5.5.1 not implemented
         C: QUIT
         S: 221 bye
         -- closed: failed: 502 5.5.1 not implemented",
    );
    // Nor does one that breaks there; the recipient was spoken of.
    for (end, closed) in [
        ("+59s\n +1s", "4.4.2 timed out waiting for the reply to RSET"),
        ("> gone", "4.4.2 connection lost waiting for the reply to RSET"),
        ("S: 421 4.3.2 shutting down", "421 4.3.2 shutting down"),
        ("S: what", "4.5.0 not a reply of SMTP: what"),
    ] {
        check_offered(
            "HELP",
            &format!(
                "> send a@x.example b@y.example
                 C: MAIL FROM:<a@x.example>
                 S: 250 ok
                 C: RCPT TO:<b@y.example>
                 S: 550 no
                 C: RSET
                 -- b@y.example never 5.2.0 (recipient): \"550 no\"
                 {end}
                 -- closed: failed: {closed}"
            ),
        );
    }
}

/// RFC 2920 3.1: a server may take DATA although it took nobody.
#[test]
fn a_body_that_nobody_waits_for() {
    for (mail, refusal) in [("250 ok", "550 no"), ("550 no", "503 MAIL first")] {
        for verdict in ["554 no valid recipients", "250 queued", "451 what was that"] {
            let outcome = if mail == "250 ok" {
                "never 5.2.0 (recipient): \"550 no\""
            } else {
                "never 5.0.0 (message): \"550 no\""
            };
            check_offered(
                "PIPELINING",
                &format!(
                    "> send a@x.example b@y.example | Hi\\r\\n
                     C: MAIL FROM:<a@x.example>
                     C: RCPT TO:<b@y.example>
                     C: DATA
                     S: {mail}
                     S: {refusal}
                     S: 354 go on
                     C: .
                     -- b@y.example {outcome}
                     S: {verdict}
                     -- ready"
                ),
            );
        }
    }
    check_offered(
        "PIPELINING",
        "> send a@x.example b@y.example
         C: MAIL FROM:<a@x.example>
         C: RCPT TO:<b@y.example>
         C: DATA
         S: 250 ok
         S: 550 no
         S: 354 go on
         C: .
         -- b@y.example never 5.2.0 (recipient): \"550 no\"
         S: 421 closing
         -- closed: failed: 421 closing",
    );
}

#[test]
fn data_refused() {
    for (offered, refusal, outcome) in [
        ("PIPELINING", "451 4.3.0 not now", "later 4.3.0 (message): \"451 4.3.0 not now\""),
        ("HELP", "554 5.7.1 spam", "never 5.7.1 (message): \"554 5.7.1 spam\""),
    ] {
        let (before, between) = if offered == "PIPELINING" {
            ("C: RCPT TO:<b@y.example>\n C: RCPT TO:<c@y.example>\n C: DATA\n S: 250 ok", "")
        } else {
            ("S: 250 ok\n C: RCPT TO:<b@y.example>", "C: RCPT TO:<c@y.example>")
        };
        let data = if offered == "PIPELINING" { "" } else { "C: DATA" };
        check_offered(
            offered,
            &format!(
                "> send a@x.example b@y.example,c@y.example
                 C: MAIL FROM:<a@x.example>
                 {before}
                 S: 250 ok
                 {between}
                 S: 550 5.1.1 no
                 {data}
                 S: {refusal}
                 C: RSET
                 -- b@y.example {outcome}
                 -- c@y.example never 5.1.1 (recipient): \"550 5.1.1 no\"
                 S: 250 ok
                 -- ready"
            ),
        );
    }
}

#[test]
fn too_many_recipients() {
    for refusal in ["452 too many", "452 4.5.3 too many", "552 too many", "550 5.5.3 too many"] {
        check_offered(
            "HELP",
            &format!(
                "> send a@x.example b@y.example,c@y.example | Hi\\r\\n
                 C: MAIL FROM:<a@x.example>
                 S: 250 ok
                 C: RCPT TO:<b@y.example>
                 S: 250 ok
                 C: RCPT TO:<c@y.example>
                 S: {refusal}
                 C: DATA
                 S: 354 go on
                 C: Hi
                 C: .
                 S: 250 ok
                 -- b@y.example delivered: 250 ok
                 -- c@y.example not attempted
                 -- ready"
            ),
        );
    }
    // If nobody got in, it was not the number.
    for (refusal, outcome) in [
        ("452 full", "later 4.3.1 (recipient)"),
        ("452 4.3.1 full", "later 4.3.1 (host)"),
        ("552 full", "later 4.2.2 (recipient)"),
        ("552 5.2.2 mailbox full", "never 5.2.2 (recipient)"),
        ("550 5.5.3 too many", "never 5.5.3 (recipient)"),
    ] {
        check_offered(
            "HELP",
            &format!(
                "> send a@x.example b@y.example
                 C: MAIL FROM:<a@x.example>
                 S: 250 ok
                 C: RCPT TO:<b@y.example>
                 S: {refusal}
                 C: RSET
                 -- b@y.example {outcome}: \"{refusal}\""
            ),
        );
    }
}

#[test]
fn limits_of_the_peer() {
    check_offered(
        "PIPELINING, LIMITS RCPTMAX=1 MAILMAX=2",
        "> send a@x.example b@y.example,c@y.example
         C: MAIL FROM:<a@x.example>
         C: RCPT TO:<b@y.example>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 354 go on
         C: Hi
         C: .
         S: 250 ok
         -- b@y.example delivered: 250 ok
         -- c@y.example not attempted
         -- ready
         > send a@x.example c@y.example,d@y.example
         C: MAIL FROM:<a@x.example>
         C: RCPT TO:<c@y.example>
         C: DATA
         S: 450 not now
         S: 503 MAIL first
         S: 503 MAIL first
         C: QUIT
         -- c@y.example later 4.0.0 (message): \"450 not now\"
         -- d@y.example later 4.0.0 (message): \"450 not now\"
         S: 221 bye
         -- closed: as much as one session may have",
    );
    check_offered(
        "LIMITS RCPTDOMAINMAX=1",
        "> send a@x.example b@y.example,c@z.example,d@y.example
         C: MAIL FROM:<a@x.example>
         S: 250 ok
         C: RCPT TO:<b@y.example>
         S: 250 ok
         C: RCPT TO:<d@y.example>
         S: 250 ok
         C: DATA
         S: 354 go on
         C: Hi
         C: .
         S: 250 ok
         C: QUIT
         -- b@y.example delivered: 250 ok
         -- c@z.example not attempted
         -- d@y.example delivered: 250 ok",
    );
    check_offered_with(
        &Settings { recipients_max: 1, transactions_max: 1, ..settings() },
        "HELP",
        "> send a@x.example b@y.example,c@y.example
         C: MAIL FROM:<a@x.example>
         S: 250 ok
         C: RCPT TO:<b@y.example>
         S: 250 ok
         C: DATA
         S: 354 go on
         C: Hi
         C: .
         S: 250 ok
         C: QUIT
         -- b@y.example delivered: 250 ok
         -- c@y.example not attempted",
    );
}

#[test]
fn more_recipients_than_one_group_has() {
    let count = 2 * settings::PIPELINED_COMMANDS_MAX;
    let names: Vec<String> = (0..count).map(|n| format!("r{n}@y.example")).collect();
    let mut world = open(Settings { recipients_max: count, ..settings() }, 1, &["PIPELINING"]);
    world.command(&format!("send a@x.example {}", names.join(",")));
    let lines = |world: &World| world.said.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines(&world), settings::PIPELINED_COMMANDS_MAX, "one group");
    // A half-empty window is filled, not one that lacks a command.
    let mut answered = settings::PIPELINED_COMMANDS_MAX / 2 - 1;
    world.hear(&b"250 ok\r\n".repeat(answered), usize::MAX);
    assert_eq!(lines(&world), settings::PIPELINED_COMMANDS_MAX, "still one group");
    while answered < lines(&world) && !world.said.ends_with(b"DATA\r\n") {
        world.hear(b"250 ok\r\n", usize::MAX);
        answered += 1;
        assert!(lines(&world) - answered <= settings::PIPELINED_COMMANDS_MAX);
    }
    assert_eq!(lines(&world), count + 2, "MAIL, RCPT, DATA");
    let said = String::from_utf8(world.said.clone()).unwrap();
    assert!(names.iter().all(|name| said.contains(&format!("<{name}>"))));
}

#[test]
fn jobs_for_nobody_and_jobs_at_the_wrong_time() {
    check_offered(
        "HELP",
        "> send a@x.example nobody
         -- ready
         > send a@x.example b@y.example
         C: MAIL FROM:<a@x.example>
         > body x
         > end
         > unreadable
         S: 250 ok
         C: RCPT TO:<b@y.example>",
    );
    let mut world = World::new(settings(), None, 1);
    let job = job("a@x.example b@y.example", 1);
    assert_eq!(world.sender.deliver(world.now, job.clone()), Ok(()));
    assert_eq!(world.sender.deliver(world.now, job.clone()), Err(job));
}

#[test]
fn a_deadline_goes_on_with_the_message() {
    for (by, command) in [("120;R", "BY=120;R"), ("-5;NT", "BY=-5;NT"), ("240;RT", "BY=240;RT")] {
        check_offered(
            "DELIVERBY 120",
            &format!(
                "> send a@x.example b@y.example by={by} | Hi\\r\\n
                 C: MAIL FROM:<a@x.example> {command}
                 S: 250 ok
                 C: RCPT TO:<b@y.example>
                 S: 250 ok
                 C: DATA
                 S: 354 go on
                 C: Hi
                 C: .
                 S: 250 2.0.0 queued
                 -- b@y.example delivered, in time: 250 2.0.0 queued
                 -- ready"
            ),
        );
    }
}

#[test]
fn what_is_to_come_back_in_time_goes_to_who_promises_that() {
    let promises = "the host does not promise to deliver in time (DELIVERBY)";
    for (offered, by, reason) in [
        ("DSN", "120;R", promises),
        ("DELIVERBY 240", "239;R", "the host needs 240 s, and less is left"),
        ("DELIVERBY", "0;R", "the host needs 1 s, and less is left"),
    ] {
        check_offered(
            offered,
            &format!(
                "> send a@x.example b@y.example by={by}
                 -- b@y.example never 5.4.7 (message): {reason}
                 -- ready"
            ),
        );
    }
    // Who only wants to hear of it may be told by us.
    check_offered(
        "SIZE",
        "> send a@x.example b@y.example by=10;N | Hi\\r\\n
         C: MAIL FROM:<a@x.example> SIZE=4
         S: 550 5.7.1 no
         -- b@y.example never 5.7.1 (message): \"550 5.7.1 no\"
         -- ready",
    );
}

/// As far as RCPT and no further, whatever the peer offers.
#[test]
fn a_try_sends_no_message() {
    let only = Settings { envelope_only: true, ..settings() };
    for offered in ["PIPELINING", "PIPELINING, CHUNKING"] {
        check_offered_with(
            &Settings { chunking_preferred: true, ..only.clone() },
            offered,
            "> send a@x.example b@y.example,c@y.example
             C: MAIL FROM:<a@x.example>
             C: RCPT TO:<b@y.example>
             C: RCPT TO:<c@y.example>
             S: 250 2.1.0 ok
             S: 250 2.1.5 ok
             S: 550 5.1.1 no such user
             -- b@y.example not attempted
             -- c@y.example never 5.1.1 (recipient): \"550 5.1.1 no such user\"
             C: RSET
             S: 250 2.0.0 ok
             -- ready
             > quit
             C: QUIT
             S: 221 bye
             -- closed: quit",
        );
    }
    check_offered_with(
        &only,
        "SIZE",
        "> send a@x.example b@y.example
         C: MAIL FROM:<a@x.example> SIZE=4
         S: 250 ok
         C: RCPT TO:<b@y.example>
         S: 450 4.2.1 greylisted
         -- b@y.example later 4.2.1 (recipient): \"450 4.2.1 greylisted\"
         C: RSET",
    );
}

/// From the end of a message to its answer nobody may hang up.
#[test]
fn the_end_of_a_message_is_waited_for() {
    let mut world = open(settings(), 4, &[]);
    world.command("send a@x.example b@y.example by-hand | Hi");
    world.hear(b"250 ok\r\n250 ok\r\n354 go on\r\n", 8);
    assert!(!world.sender.awaits_verdict());
    world.command("body Hi\\r\\n");
    assert!(!world.sender.awaits_verdict());
    world.command("end");
    assert!(world.sender.awaits_verdict());
    world.hear(b"250 queued\r\n", 4);
    assert!(!world.sender.awaits_verdict());
}
