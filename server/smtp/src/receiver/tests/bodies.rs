//! Conversations about DATA and BDAT: size, line ends, smuggling, and a driver that cannot store.

use super::*;

const BEGUN: &str = "S: 220 mx.grace.test ESMTP Grace
    C: HELO x
    S: 250 mx.grace.test
    C: MAIL FROM:<a@x.example>
    S: 250 2.1.0 sender ok
    C: RCPT TO:<anna@grace.test>
    S: 250 2.1.5 recipient ok
    ";

/// A conversation that starts behind MAIL and RCPT.
#[track_caller]
fn check_begun(settings: &Settings, script: &str) {
    check_with(settings, &format!("{BEGUN}{script}"));
}

fn small() -> Settings {
    Settings { message_bytes_max: 10, overrun_bytes_max: 20, ..settings(Role::Mx) }
}

#[test]
fn too_large_by_its_own_word() {
    check_with(
        &small(),
        "S: 220 mx.grace.test ESMTP Grace
         C: HELO x
         S: 250 mx.grace.test
         C: MAIL FROM:<a@x.example> SIZE=11
         S: 552 5.3.4 the message is too large
         C: MAIL FROM:<a@x.example> SIZE=99999999999999999999
         S: 552 5.3.4 the message is too large
         C: MAIL FROM:<a@x.example> SIZE=10
         S: 250 2.1.0 sender ok",
    );
}

#[test]
fn too_large_in_fact() {
    check_begun(
        &small(),
        r#"C: DATA
           S: 354 send the message, end with CRLF.CRLF
           C: ..345678
           C: .
           S: 250 2.0.0 ok, queued as 7f3a
           -- stored a@x.example: anna@grace.test ".345678\r\n""#,
    );
    check_begun(
        &small(),
        "C: DATA
         S: 354 send the message, end with CRLF.CRLF
         C: 123456789
         C: more
         C: .
         S: 552 5.3.4 the message is too large
         -- dropped
         C: NOOP
         S: 250 2.0.0 ok
         C: DATA
         S: 503 5.5.1 MAIL comes first",
    );
    check_begun(
        &small(),
        "C: DATA
         S: 354 send the message, end with CRLF.CRLF
         C: 1234567890123456789012345678901
         S: 552 5.3.4 the message is too large
         -- dropped
         -- closed: message far too large",
    );
}

#[test]
fn lone_line_ends_are_refused_at_the_real_end() {
    for smuggled in ["\\n.\\n", "\\n.\\r\\n", "\\r\\n.\\n", "\\r.\\r\\n", "\\r\\n.\\r", "\\n.\\r"] {
        check_begun(
            &settings(Role::Mx),
            &format!(
                "C: DATA
                 S: 354 send the message, end with CRLF.CRLF
                 R: hello{smuggled}MAIL FROM:<b@x.example>\\r\\nRCPT TO:<bob@grace.test>\\r\\n
                 R: DATA\\r\\nsmuggled\\r\\n.\\r\\n
                 S: 550 5.6.0 the message has a CR or LF that is not part of CRLF
                 -- dropped
                 C: RCPT TO:<bob@grace.test>
                 S: 503 5.5.1 MAIL comes first"
            ),
        );
    }
}

#[test]
fn lone_line_ends_are_repaired_where_that_is_set() {
    let mild = Settings { lone_line_ends_in_data: LoneLineEnds::Repair, ..settings(Role::Mx) };
    check_begun(
        &mild,
        r#"C: DATA
           S: 354 send the message, end with CRLF.CRLF
           R: a\n.\nb\r\r\n\r\n.\r\n
           S: 250 2.0.0 ok, queued as 7f3a
           -- stored a@x.example: anna@grace.test "a\r\n.\r\nb \r\n\r\n""#,
    );
}

#[test]
fn chunks() {
    check_begun(
        &settings(Role::Mx),
        r#"R: BDAT 5\r\n.\r\nab
           S: 250 2.0.0 chunk received
           C: RCPT TO:<bob@grace.test>
           S: 503 5.5.1 after BDAT only BDAT or RSET
           C: DATA
           S: 503 5.5.1 after BDAT only BDAT or RSET
           C: MAIL FROM:<b@x.example>
           S: 503 5.5.1 a message is already under way
           R: BDAT 3\r\nc\nd
           R: BDAT 0 LAST\r\n
           S: 250 2.0.0 chunk received
           S: 250 2.0.0 ok, queued as 7f3a
           -- stored a@x.example: anna@grace.test ".\r\nabc\r\nd"
           C: NOOP
           S: 250 2.0.0 ok"#,
    );
    check_begun(
        &settings(Role::Mx),
        "R: BDAT 3\\r\\nabc
         S: 250 2.0.0 chunk received
         C: RSET
         S: 250 2.0.0 ok
         -- dropped
         R: BDAT 6 LAST\\r\\nQUIT\\r\\n
         S: 503 5.5.1 there is no message to add this to
         C: NOOP
         S: 250 2.0.0 ok",
    );
}

#[test]
fn chunks_that_are_refused_are_still_read() {
    check_begun(
        &small(),
        "R: BDAT 6\\r\\n123456
         S: 250 2.0.0 chunk received
         R: BDAT 6 LAST\\r\\nQUIT\\r\\n
         S: 552 5.3.4 the message is too large
         -- dropped
         R: BDAT 12 LAST\\r\\nDATA\\r\\nQUIT\\r\\n
         S: 503 5.5.1 there is no message to add this to",
    );
    check_begun(
        &small(),
        "R: BDAT 11 LAST\\r\\n12345678\\r\\n1
         S: 552 5.3.4 the message is too large
         R: BDAT 31 LAST\\r\\n
         S: 552 5.3.4 the message is too large
         -- closed: message far too large",
    );
    let strict = Settings { lone_line_ends_in_chunks: LoneLineEnds::Refuse, ..settings(Role::Mx) };
    check_begun(
        &strict,
        "R: BDAT 3 LAST\\r\\na\\nb
         S: 550 5.6.0 the message has a CR or LF that is not part of CRLF
         -- dropped",
    );
    check_begun(
        &settings(Role::Mx),
        "C: BDAT many LAST
         C: QUIT
         S: 501 5.5.4 syntax: BDAT size [LAST], closing
         -- closed: BDAT without a valid size",
    );
}

#[test]
fn a_driver_that_cannot_store() {
    let from = |sender: &str, rest: &str| {
        check(
            Role::Mx,
            &format!(
                "S: 220 mx.grace.test ESMTP Grace
                 C: HELO x
                 S: 250 mx.grace.test
                 C: MAIL FROM:<{sender}@x.example>
                 S: 250 2.1.0 sender ok
                 C: RCPT TO:<anna@grace.test>
                 S: 250 2.1.5 recipient ok
                 {rest}
                 C: NOOP
                 S: 250 2.0.0 ok"
            ),
        );
    };
    let data = "C: DATA
        S: 354 send the message, end with CRLF.CRLF
        C: text
        C: .\n";
    from("nobegin", "C: DATA\n S: 451 4.3.0 no space");
    from("nobegin", "R: BDAT 4 LAST\\r\\ntext\n S: 451 4.3.0 no space");
    from("nobegin", "R: BDAT 0 LAST\\r\\n\n S: 451 4.3.0 no space");
    from("nospace", &format!("{data} S: 451 4.3.0 no space"));
    from("nospace", "R: BDAT 4\\r\\ntext\n S: 451 4.3.0 no space");
    from(
        "nostore",
        &format!(
            "{data} S: 451 4.3.0 no disk\n N: message of nostore@x.example | 451 4.3.0 no disk"
        ),
    );
}

#[test]
fn a_large_body_comes_in_bounded_pieces() {
    let settings = settings(Role::Mx);
    let mut world = World::new(settings);
    world
        .send(b"HELO x\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<anna@grace.test>\r\nDATA\r\n", 7_000);
    let line = [b"x".repeat(997), b"\r\n".to_vec()].concat();
    for _ in 0..3_000 {
        world.send(&line, usize::MAX);
    }
    assert_eq!(world.body.len(), 3_000 * line.len());
    world.send(b".\r\n", 1);
    assert!(world.replies.ends_with("250 2.0.0 ok, queued as 7f3a\r\n"));
}
