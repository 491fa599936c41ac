//! Conversations that end before their time: silence, slowness, broken connections, 421, and
//! replies that are none.

use super::*;

/// Where a session can break: what is said until then, what is waited for, and how long.
fn stages() -> Vec<(String, &'static str, &'static str)> {
    let steps = [
        ("", "the greeting", "300s"),
        ("S: 220 mx.example\n C: EHLO mail.grace.test", "the reply to EHLO", "300s"),
        ("S: 250 mx.example\n C: MAIL FROM:<a@x.example>", "the reply to MAIL", "300s"),
        ("S: 250 ok\n C: RCPT TO:<b@y.example>", "the reply to RCPT", "300s"),
        ("S: 250 ok\n C: DATA", "the reply to DATA", "120s"),
        ("S: 354 go on\n > body Hi\n c: Hi", "the body to be taken", "180s"),
        ("> end\n c: \\r\\n.\\r\\n", "the reply to the message", "600s"),
    ];
    let mut script = "> send a@x.example b@y.example by-hand\n".to_owned();
    steps
        .into_iter()
        .map(|(step, stage, time)| {
            script.push_str(step);
            script.push('\n');
            (script.clone(), stage, time)
        })
        .collect()
}

/// The one reason of its own: it may have been delivered.
const PERHAPS: &str = "no answer to the end of the message: it may have been delivered";

fn is_end(stage: &str) -> bool {
    stage == "the reply to the message"
}

#[test]
fn silence() {
    for (script, stage, time) in stages() {
        let reason = format!("timed out waiting for {stage}");
        let outcome = if is_end(stage) { PERHAPS } else { &reason };
        let seconds: u64 = time.trim_end_matches('s').parse().unwrap();
        check(&format!(
            "{script}
             +{}s
             +1s
             -- b@y.example later 4.4.2 (host): {outcome}
             -- closed: failed: 4.4.2 {reason}",
            seconds - 1
        ));
    }
}

#[test]
fn broken_connections() {
    for (script, stage, _) in stages() {
        let reason = format!("connection lost waiting for {stage}");
        let outcome = if is_end(stage) { PERHAPS } else { &reason };
        // Half a reply says nothing.
        for half in ["", "R: 250 o"] {
            check(&format!(
                "{script}
                 {half}
                 > gone
                 -- b@y.example later 4.4.2 (host): {outcome}
                 -- closed: failed: 4.4.2 {reason}"
            ));
        }
    }
}

#[test]
fn shutdowns() {
    for (script, _, _) in stages() {
        check(&format!(
            "{script}
             S: 421 4.3.2 shutting down
             -- b@y.example later 4.3.2 (host): \"421 4.3.2 shutting down\"
             -- closed: failed: 421 4.3.2 shutting down"
        ));
    }
}

#[test]
fn replies_that_are_none() {
    for (script, stage, _) in stages() {
        for (reply, status, reason) in [
            ("HTTP/1.1 400 Bad Request", "4.5.0", "not a reply of SMTP: HTTP/1.1 400 Bad Request"),
            ("150 wait", "4.5.0", "not a reply of SMTP: 150 wait"),
            ("650 what", "4.5.0", "not a reply of SMTP: 650 what"),
            ("250\u{7f}ok", "4.5.0", "not a reply of SMTP: 250?ok"),
        ] {
            let outcome = if is_end(stage) {
                format!("later 4.4.2 (host): {PERHAPS}")
            } else {
                format!("later {status} (host): {reason}")
            };
            check(&format!(
                "{script}
                 S: {reply}
                 -- b@y.example {outcome}
                 -- closed: failed: {status} {reason}"
            ));
        }
    }
}

#[test]
fn replies_that_do_not_fit() {
    for (script, stage, _) in stages() {
        let code = match stage {
            "the reply to DATA" => "250",
            "the body to be taken" => continue,
            _ => "354",
        };
        let reason = format!("unexpected in place of {stage}: {code} hm");
        let outcome = if is_end(stage) {
            format!("later 4.4.2 (host): {PERHAPS}")
        } else {
            format!("later 4.5.0 (host): {reason}")
        };
        check(&format!(
            "{script}
             S: {code} hm
             -- b@y.example {outcome}
             -- closed: failed: 4.5.0 {reason}"
        ));
    }
}

#[test]
fn endless_replies() {
    for (script, stage, _) in stages() {
        let outcome = if is_end(stage) {
            format!("later 4.4.2 (host): {PERHAPS}")
        } else {
            "later 4.5.0 (host): a reply was too long".to_owned()
        };
        let long = "x".repeat(settings::REPLY_LINE_BYTES_MAX);
        let many = "S: 250-x\n".repeat(settings::REPLY_LINES_MAX + 1);
        for endless in [format!("R: 250-{long}"), many] {
            check_whole(
                &settings(),
                &format!(
                    "{script}
                     {endless}
                     -- b@y.example {outcome}
                     -- closed: failed: 4.5.0 a reply was too long"
                ),
            );
        }
    }
}

/// One byte a second keeps every timeout from passing but that of the reply as a whole.
#[test]
fn one_byte_a_second() {
    for (script, stage, _) in stages() {
        let outcome = if is_end(stage) { PERHAPS } else { "a reply took too long to arrive" };
        let trickle = "R: 2\n +1s\n R: 5\n +1s\n R: 0\n +1s\n R: -\n +1s\n".to_owned();
        let trickle = trickle + &"R: x\n +1s\n".repeat(56);
        check(&format!(
            "{script}
             {trickle}
             -- b@y.example later 4.4.2 (host): {outcome}
             -- closed: failed: 4.4.2 a reply took too long to arrive"
        ));
    }
    // A reply that takes its time but ends is a reply.
    let slow = "R: 2\n +59s\n R: 20 mx.example\\r\\n\n C: EHLO mail.grace.test";
    check(slow);
}

/// Each reply has its own time, and each piece of the body.
#[test]
fn patience() {
    check(
        "> send a@x.example b@y.example by-hand
         S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250-mx.example
         S: 250 PIPELINING
         C: MAIL FROM:<a@x.example>
         C: RCPT TO:<b@y.example>
         C: DATA
         +299s
         S: 250 ok
         +299s
         S: 250 ok
         +119s
         S: 354 go on
         +179s
         > body Dear
         c: Dear
         +179s
         > body friend
         c: friend
         +179s
         > end
         c: \\r\\n.\\r\\n
         +599s
         S: 250 ok
         -- b@y.example delivered: 250 ok
         -- ready",
    );
}

#[test]
fn a_transaction_that_takes_for_ever() {
    let names: Vec<String> = (0..60).map(|n| format!("r{n}@y.example")).collect();
    let mut world = open(settings(), 1, &[]);
    world.command(&format!("send a@x.example {}", names.join(",")));
    let mut answered = 0;
    while !world.closed {
        world.pass(Duration::from_secs(299));
        world.hear(b"250 ok\r\n", usize::MAX);
        answered += 1;
        assert!(answered < 60, "it ends before all are answered");
    }
    assert!(
        world.events.contains(&"closed: failed: 4.4.2 the transaction took too long".to_owned())
    );
}

/// What was answered stays; the rest is tried again.
#[test]
fn a_group_that_is_cut_short() {
    let group = "> send a@x.example b@y.example,c@y.example,d@y.example
         S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250-mx.example
         S: 250 PIPELINING
         C: MAIL FROM:<a@x.example>
         C: RCPT TO:<b@y.example>
         C: RCPT TO:<c@y.example>
         C: RCPT TO:<d@y.example>
         C: DATA
         S: 250 ok
         S: 550 5.1.1 no
         S: 250 ok";
    check(&format!(
        "{group}
         S: 421 4.7.0 too many errors
         -- b@y.example never 5.1.1 (recipient): \"550 5.1.1 no\"
         -- c@y.example later 4.7.0 (host): \"421 4.7.0 too many errors\"
         -- d@y.example later 4.7.0 (host): \"421 4.7.0 too many errors\"
         -- closed: failed: 421 4.7.0 too many errors"
    ));
    check(&format!(
        "{group}
         > gone
         -- b@y.example never 5.1.1 (recipient): \"550 5.1.1 no\"
         -- c@y.example later 4.4.2 (host): connection lost waiting for the reply to RCPT
         -- d@y.example later 4.4.2 (host): connection lost waiting for the reply to RCPT
         -- closed: failed: 4.4.2 connection lost waiting for the reply to RCPT"
    ));
}

/// The recipients that were not to be sent to are not in doubt.
#[test]
fn a_lost_answer_is_for_those_who_were_sent_to() {
    check_with(
        &Settings { recipients_max: 2, ..settings() },
        "> send a@x.example b@y.example,c@y.example,d@y.example
         S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250 mx.example
         C: MAIL FROM:<a@x.example>
         S: 250 ok
         C: RCPT TO:<b@y.example>
         S: 250 ok
         C: RCPT TO:<c@y.example>
         S: 550 5.1.1 no
         C: DATA
         S: 354 go on
         C: Hi
         C: .
         > gone
         -- b@y.example later 4.4.2 (host): \
         no answer to the end of the message: it may have been delivered
         -- c@y.example never 5.1.1 (recipient): \"550 5.1.1 no\"
         -- d@y.example later 4.4.2 (host): connection lost waiting for the reply to the message
         -- closed: failed: 4.4.2 connection lost waiting for the reply to the message",
    );
}

/// What came before the connection broke still counts, even if it was not looked at.
#[test]
fn a_reply_and_then_the_end() {
    let (script, _, _) = stages().pop().unwrap();
    let mut world = World::new(settings(), None, 1);
    for line in script.lines().map(str::trim_start) {
        match line.split_at(line.len().min(3)) {
            ("S: ", text) => world.hear(format!("{text}\r\n").as_bytes(), usize::MAX),
            (">", _) | ("> s" | "> b" | "> e", _) => world.command(line.trim_start_matches("> ")),
            _ => {}
        }
    }
    world.sender.receive(world.now, b"250 2.0.0 queued\r\n");
    world.sender.peer_gone(world.now);
    world.drive();
    assert_eq!(
        world.events,
        [
            "b@y.example delivered: 250 2.0.0 queued",
            "ready",
            "closed: the peer ended an idle session"
        ]
    );
}

#[test]
fn idle_sessions() {
    let idle = "S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250 mx.example
         -- ready";
    check(&format!("{idle}\n S: 421 4.4.2 idle\n -- closed: the peer ended an idle session"));
    check(&format!("{idle}\n > gone\n -- closed: the peer ended an idle session"));
    check(&format!(
        "{idle}
         S: 250 what
         -- closed: failed: 4.5.0 more replies than commands"
    ));
    check(&format!(
        "{idle}
         +29s
         +1s
         C: QUIT
         > send a@x.example b@y.example
         -- given back
         S: 221 bye
         -- closed: no more to send"
    ));
    // The answer to QUIT is of no interest, and not waited for long.
    for end in ["+30s", "> gone", "S: 421 bye", "S: what", "S: 500 what"] {
        check(&format!("{idle}\n > quit\n C: QUIT\n {end}\n -- closed: quit"));
    }
}

#[test]
fn more_replies_than_commands() {
    check_whole(
        &settings(),
        "> send a@x.example b@y.example
         S: 220 mx.example
         S: 250 too early
         -- b@y.example later 4.5.0 (host): more replies than commands
         -- closed: failed: 4.5.0 more replies than commands",
    );
    // A server that has had enough says so at once.
    check_whole(
        &settings(),
        "> send a@x.example b@y.example,c@y.example
         S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250 mx.example
         C: MAIL FROM:<a@x.example>
         S: 250 ok
         C: RCPT TO:<b@y.example>
         S: 550 5.1.1 no
         S: 421 4.7.0 too many errors
         -- b@y.example never 5.1.1 (recipient): \"550 5.1.1 no\"
         -- c@y.example later 4.7.0 (host): \"421 4.7.0 too many errors\"
         -- closed: failed: 421 4.7.0 too many errors",
    );
}

#[test]
fn words_of_the_peer_stay_in_their_line() {
    let long = "x".repeat(1_500);
    let cut = &long[..settings::REPLY_TEXT_BYTES_MAX];
    check(&format!(
        "> send a@x.example b@y.example
         R: 554 \\x1b[31m\\0\\xffred\\r\\n
         C: QUIT
         -- b@y.example never 5.0.0 (host): \"554 ?[31m??red\"
         N: it: 554 ?[31m??red
         N: we: QUIT
         R: 221 {long}\\r\\n
         N: it: 221 {cut}
         -- closed: failed: 554 ?[31m??red"
    ));
}
