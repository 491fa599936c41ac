//! Conversations about the body: dots, chunks, early refusals, and a driver that cannot read it.

use super::*;

const DATA: &str = "> send a@x.example b@y.example OPTIONS
    S: 220 mx.example
    C: EHLO mail.grace.test
    S: 250 mx.example
    C: MAIL FROM:<a@x.example>
    S: 250 ok
    C: RCPT TO:<b@y.example>
    S: 250 ok
    C: DATA
    S: 354 go on
    ";

/// A conversation that starts behind DATA; `job` ends the line that hands the job over.
#[track_caller]
fn check_data(job: &str, script: &str) {
    check(&format!("{}{script}", DATA.replace("OPTIONS", job)));
}

/// One that starts behind RCPT, at a server that takes chunks.
#[track_caller]
fn check_chunks(offered: &str, job: &str, mail: &str, script: &str) {
    check_with(
        &Settings { chunking_preferred: true, ..settings() },
        &format!(
            "> send a@x.example b@y.example by-hand {job}
             S: 220 mx.example
             C: EHLO mail.grace.test
             S: 250-mx.example
             S: 250-CHUNKING
             S: 250-BINARYMIME
             S: 250 {offered}
             C: MAIL FROM:<a@x.example>{mail}
             S: 250 ok
             C: RCPT TO:<b@y.example>
             S: 250 ok
             {script}"
        ),
    );
}

#[test]
fn dots_and_ends() {
    for (body, sent) in [
        ("", ".\\r\\n"),
        ("x", "x\\r\\n.\\r\\n"),
        (".", "..\\r\\n.\\r\\n"),
        ("a\\r\\n.\\r\\n..b\\r\\n", "a\\r\\n..\\r\\n...b\\r\\n.\\r\\n"),
        ("a\\n.\\nb", "a\\r\\n..\\r\\nb\\r\\n.\\r\\n"),
    ] {
        check_data(
            &format!("| {body}"),
            &format!(
                "c: {sent}
                 S: 250 ok
                 -- b@y.example delivered: 250 ok
                 -- ready"
            ),
        );
    }
}

#[test]
fn verdicts() {
    for (verdict, outcome) in [
        ("250 ok", "delivered: 250 ok"),
        ("251 hm", "delivered: 251 hm"),
        ("451 4.3.0 no disk", "later 4.3.0 (message): \"451 4.3.0 no disk\""),
        ("452 4.3.1 no disk", "later 4.3.1 (host): \"452 4.3.1 no disk\""),
        ("552 too big", "never 5.3.4 (message): \"552 too big\""),
        ("554 5.7.1 spam", "never 5.7.1 (message): \"554 5.7.1 spam\""),
    ] {
        check_data(
            "",
            &format!(
                "C: Hi
                 C: .
                 S: {verdict}
                 -- b@y.example {outcome}
                 -- ready"
            ),
        );
    }
}

#[test]
fn refused_in_the_middle() {
    check_data(
        "by-hand",
        "> body Dear
         c: Dear
         S: 552 5.3.4 too big
         -- b@y.example never 5.3.4 (message): \"552 5.3.4 too big\"
         -- closed: failed: 552 5.3.4 too big",
    );
    check_data(
        "by-hand",
        "> body Dear
         c: Dear
         S: 421 4.3.2 shutting down
         -- b@y.example later 4.3.2 (host): \"421 4.3.2 shutting down\"
         -- closed: failed: 421 4.3.2 shutting down
         > body friend
         > end",
    );
    // 421 is for those, too, who were not to be sent to yet.
    check_with(
        &Settings { recipients_max: 1, ..settings() },
        &format!(
            "{}
             > body Dear
             c: Dear
             S: 421 4.3.2 shutting down
             -- b@y.example later 4.3.2 (host): \"421 4.3.2 shutting down\"
             -- c@y.example later 4.3.2 (host): \"421 4.3.2 shutting down\"
             -- closed: failed: 421 4.3.2 shutting down",
            DATA.replace(" OPTIONS", ",c@y.example by-hand"),
        ),
    );
    // A yes before the end is for something else.
    check_data(
        "by-hand",
        "> body Dear
         c: Dear
         S: 250 ok
         -- b@y.example later 4.5.0 (host): more replies than commands
         -- closed: failed: 4.5.0 more replies than commands",
    );
}

#[test]
fn unreadable() {
    check_data(
        "by-hand",
        "> body Dear
         c: Dear
         > unreadable
         -- b@y.example later 4.3.0 (message): the message could not be read here
         -- closed: failed: 4.3.0 the message could not be read here",
    );
}

#[test]
fn pieces_of_no_bytes() {
    check_data(
        "by-hand",
        "> body \n > body .\n > body \n > end
         c: ..\\r\\n.\\r\\n
         S: 250 ok
         -- b@y.example delivered: 250 ok
         -- ready",
    );
    check_chunks("HELP", "", "", "> body \n > end\n C: BDAT 0 LAST");
}

#[test]
fn chunks_one_by_one() {
    check_chunks(
        "HELP",
        "binary",
        " BODY=BINARYMIME",
        "> body .\\r\\n\\0
         c: BDAT 4\\r\\n.\\r\\n\\0
         S: 250 4 octets
         > body b
         c: BDAT 1\\r\\nb
         S: 250 1 octet
         > end
         C: BDAT 0 LAST
         S: 250 queued
         -- b@y.example delivered: 250 queued
         -- ready",
    );
}

#[test]
fn chunks_are_for_binary_messages_unless_preferred() {
    check(
        "> send a@x.example b@y.example
         S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250-mx.example
         S: 250-CHUNKING
         S: 250 BINARYMIME
         C: MAIL FROM:<a@x.example>
         S: 250 ok
         C: RCPT TO:<b@y.example>
         S: 250 ok
         C: DATA",
    );
}

/// With PIPELINING as many chunks are ahead as the limit says, and no more.
#[test]
fn chunks_ahead_of_their_replies() {
    let chunked = Settings { chunking_preferred: true, ..settings() };
    let mut world = open(chunked, 1, &["PIPELINING", "CHUNKING"]);
    world.command("send a@x.example b@y.example | 123456");
    world.said.clear();
    world.hear(b"250 ok\r\n250 ok\r\n", usize::MAX);
    assert_eq!(settings::PIPELINED_CHUNKS_MAX, 4);
    expect_said(&mut world, b"BDAT 1\r\n1BDAT 1\r\n2BDAT 1\r\n3BDAT 1\r\n4");
    world.hear(b"250 ok\r\n", usize::MAX);
    expect_said(&mut world, b"BDAT 1\r\n5");
    world.hear(b"250 ok\r\n250 ok\r\n", usize::MAX);
    expect_said(&mut world, b"BDAT 1\r\n6BDAT 0 LAST\r\n");
    world.hear(b"250 ok\r\n250 ok\r\n250 ok\r\n250 queued\r\n", usize::MAX);
    assert_eq!(world.events, ["b@y.example delivered: 250 queued", "ready"]);
    assert_eq!(world.said, b"");
}

#[test]
fn chunks_refused() {
    check_chunks(
        "HELP",
        "",
        "",
        "> body abc
         c: BDAT 3\\r\\nabc
         S: 552 5.3.4 too big
         C: RSET
         -- b@y.example never 5.3.4 (message): \"552 5.3.4 too big\"
         S: 250 ok
         -- ready",
    );
    check_chunks(
        "HELP",
        "",
        "",
        "> end
         C: BDAT 0 LAST
         S: 451 4.3.0 no disk
         -- b@y.example later 4.3.0 (message): \"451 4.3.0 no disk\"
         -- ready",
    );
    let chunked = Settings { chunking_preferred: true, ..settings() };
    let mut world = open(chunked, 2, &["PIPELINING", "CHUNKING"]);
    world.command("send a@x.example b@y.example | 123456");
    world.hear(b"250 ok\r\n250 ok\r\n", usize::MAX);
    assert!(world.said.ends_with(b"BDAT 2\r\n56BDAT 0 LAST\r\n"));
    world.said.clear();
    world.hear(b"250 ok\r\n552 5.3.4 too big\r\n", usize::MAX);
    let refused = "b@y.example never 5.3.4 (message): \"552 5.3.4 too big\"";
    assert_eq!(world.events, [refused]);
    // The rest was on its way already; whatever is said to it means nothing.
    world.hear(b"503 5.5.1 no\r\n250 fine\r\n", usize::MAX);
    expect_said(&mut world, b"RSET\r\n");
    world.hear(b"250 ok\r\n", usize::MAX);
    assert_eq!(world.events, [refused, "ready"]);
}

#[test]
fn chunks_whose_answer_is_lost() {
    check_chunks(
        "HELP",
        "",
        "",
        "> body abc
         c: BDAT 3\\r\\nabc
         > gone
         -- b@y.example later 4.4.2 (host): connection lost waiting for the body to be taken
         -- closed: failed: 4.4.2 connection lost waiting for the body to be taken",
    );
    check_chunks(
        "HELP",
        "",
        "",
        "> end
         C: BDAT 0 LAST
         > gone
         -- b@y.example later 4.4.2 (host): \
         no answer to the end of the message: it may have been delivered
         -- closed: failed: 4.4.2 connection lost waiting for the reply to the message",
    );
}

#[test]
fn nobody_for_the_chunks() {
    check_with(
        &Settings { chunking_preferred: true, ..settings() },
        "> send a@x.example b@y.example
         S: 220 mx.example
         C: EHLO mail.grace.test
         S: 250-mx.example
         S: 250-PIPELINING
         S: 250 CHUNKING
         C: MAIL FROM:<a@x.example>
         C: RCPT TO:<b@y.example>
         S: 250 ok
         S: 550 5.1.1 no
         C: RSET
         -- b@y.example never 5.1.1 (recipient): \"550 5.1.1 no\"",
    );
}
