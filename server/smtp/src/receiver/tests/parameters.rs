//! Conversations about the parameters of MAIL and RCPT, and what of them reaches the driver.

use super::*;
use crate::parameters::{BodyType, ByMode, Hold};
use crate::settings::{DeliverByLimits, Extensions, FutureReleaseLimits};

const GREETED: &str = "S: 220 mx.grace.test ESMTP Grace
    C: HELO x
    S: 250 mx.grace.test
    ";

/// Plays MAIL, RCPT and a message at a door, and gives back the envelope the driver got.
#[track_caller]
fn envelope(settings: &Settings, mail: &str, rcpt: &str) -> Envelope {
    let mut world = World::new(settings.clone());
    world.send(b"HELO x\r\n", usize::MAX);
    if settings.role.needs_login() {
        world.send(b"AUTH PLAIN AGFubmEAc2VjcmV0\r\n", usize::MAX);
    }
    let commands = format!(
        "MAIL FROM:<anna@grace.test> {mail}\r\nRCPT TO:<bob@grace.test> {rcpt}\r\nBDAT 1\r\n."
    );
    world.send(commands.as_bytes(), usize::MAX);
    assert!(world.replies.ends_with("250 2.0.0 chunk received\r\n"), "{}", world.replies);
    world.envelope.take().expect("a message was begun")
}

/// A door for our own people that holds messages for a day at most; the session began in 1970.
fn patient() -> Settings {
    let hold_max = Duration::from_secs(86_400);
    let future_release = Some(FutureReleaseLimits { hold_max, began_s: 1_000 });
    let extensions = Extensions { future_release, ..Extensions::DEFAULT };
    Settings { extensions, ..settings(Role::Submissions) }
}

#[test]
fn what_was_said_reaches_the_driver() {
    let mail = "RET=HDRS ENVID=QQ+2B1 BODY=8BITMIME SMTPUTF8 SIZE=9";
    let envelope =
        envelope(&settings(Role::Mx), mail, "NOTIFY=SUCCESS,DELAY ORCPT=utf-8;grüße@x.example");
    let said = &envelope.parameters;
    assert_eq!(said.ret, Some(crate::dsn::Return::Headers));
    assert_eq!(said.envelope_id.as_deref(), Some("QQ+1"));
    assert_eq!((said.body, said.utf8, said.size_bytes), (BodyType::EightBit, true, Some(9)));
    assert_eq!((said.hold, said.deliver_by, said.priority), (None, None, None));
    let [recipient] = envelope.recipients.as_slice() else { panic!("not one recipient") };
    assert_eq!(recipient.to_string(), "bob@grace.test");
    assert_eq!(
        recipient.parameters.notify.map(|n| n.to_string()).as_deref(),
        Some("SUCCESS,DELAY")
    );
    let original = recipient.parameters.original.as_ref().map(|o| o.address.as_str());
    assert_eq!(original, Some("grüße@x.example"));
}

#[test]
fn what_was_said_at_submission() {
    let envelope = envelope(&patient(), "REQUIRETLS HOLDFOR=3600 BY=+7200;RT MT-PRIORITY=-4", "");
    let said = &envelope.parameters;
    assert!(said.require_tls);
    assert_eq!(said.hold, Some(Hold::For(Duration::from_secs(3_600))));
    let by = said.deliver_by.expect("it was said");
    assert_eq!((by.time_s, by.mode, by.trace), (7_200, ByMode::Return, true));
    assert_eq!(said.priority, Some(-4));
    assert_eq!(envelope.recipients.first().map(|r| r.parameters.clone()), Some(Default::default()));
}

#[test]
fn notifications() {
    let long = "x".repeat(101);
    let far = "x".repeat(500);
    check(
        Role::Mx,
        &format!(
            "{GREETED}
             C: MAIL FROM:<a@x.example> RET=BODY
             S: 501 5.5.4 RET is FULL or HDRS
             C: MAIL FROM:<a@x.example> RET=FULL RET=FULL
             S: 501 5.5.4 a parameter stands only once
             C: MAIL FROM:<a@x.example> ENVID=a+0D+0Ab
             S: 501 5.5.4 ENVID is xtext of at most 100 bytes
             C: MAIL FROM:<a@x.example> ENVID={long}
             S: 501 5.5.4 ENVID is xtext of at most 100 bytes
             C: MAIL FROM:<a@x.example> ENVID
             S: 501 5.5.4 this parameter needs a value
             C: MAIL FROM:<a@x.example> NOTIFY=NEVER
             S: 555 5.5.4 unknown parameter
             C: MAIL FROM:<a@x.example> ret=full ENVID=1
             S: 250 2.1.0 sender ok
             C: RCPT TO:<anna@grace.test> NOTIFY=NEVER,SUCCESS
             S: 501 5.5.4 NOTIFY is NEVER, or some of SUCCESS,FAILURE,DELAY
             C: RCPT TO:<anna@grace.test> NOTIFY
             S: 501 5.5.4 NOTIFY is NEVER, or some of SUCCESS,FAILURE,DELAY
             C: RCPT TO:<anna@grace.test> NOTIFY=DELAY NOTIFY=DELAY
             S: 501 5.5.4 a parameter stands only once
             C: RCPT TO:<anna@grace.test> ORCPT=anna@grace.test
             S: 501 5.5.4 ORCPT is type;address in xtext, of at most 500 bytes
             C: RCPT TO:<anna@grace.test> ORCPT=rfc822;{far}
             S: 501 5.5.4 ORCPT is type;address in xtext, of at most 500 bytes
             C: RCPT TO:<anna@grace.test> ORCPT=utf-8;grüße@x.example
             S: 501 5.5.4 ORCPT is type;address in xtext, of at most 500 bytes
             C: RCPT TO:<anna@grace.test> ORCPT=utf-8;gr\\x{{FC}}n@x.example
             S: 250 2.1.5 recipient ok
             C: RCPT TO:<bob@grace.test> orcpt=rfc822;a+40b notify=never
             S: 250 2.1.5 recipient ok"
        ),
    );
}

#[test]
fn binary_bodies_come_in_chunks() {
    check(
        Role::Mx,
        &format!(
            "{GREETED}
             C: MAIL FROM:<a@x.example> BODY=BINARYMIME
             S: 250 2.1.0 sender ok
             C: RCPT TO:<anna@grace.test>
             S: 250 2.1.5 recipient ok
             C: DATA
             S: 503 5.5.1 BODY=BINARYMIME goes with BDAT, not with DATA
             R: BDAT 7\\r\\na\\n\\0\\r\\r\\n.
             S: 250 2.0.0 chunk received
             R: BDAT 3 LAST\\r\\n\\r\\n\\r
             S: 250 2.0.0 ok, queued as 7f3a
             -- stored a@x.example: anna@grace.test \"a\\n\\x00\\r\\r\\n.\\r\\n\\r\""
        ),
    );
    // The next message of the session is one of lines again.
    check(
        Role::Mx,
        &format!(
            "{GREETED}
             C: MAIL FROM:<a@x.example> BODY=BINARYMIME
             S: 250 2.1.0 sender ok
             C: RSET
             S: 250 2.0.0 ok
             C: MAIL FROM:<a@x.example>
             S: 250 2.1.0 sender ok
             C: RCPT TO:<anna@grace.test>
             S: 250 2.1.5 recipient ok
             R: BDAT 3 LAST\\r\\na\\nb
             S: 250 2.0.0 ok, queued as 7f3a
             -- stored a@x.example: anna@grace.test \"a\\r\\nb\""
        ),
    );
    // Behind a refused DATA comes a body: none of it may be obeyed.
    check_whole(
        &settings(Role::Mx),
        &format!(
            "{GREETED}
             C: MAIL FROM:<a@x.example> BODY=BINARYMIME
             C: RCPT TO:<anna@grace.test>
             C: DATA
             C: MAIL FROM:<inner@x.example>
             C: .
             S: 250 2.1.0 sender ok
             S: 250 2.1.5 recipient ok
             S: 503 5.5.1 BODY=BINARYMIME goes with BDAT, not with DATA
             S: 503 5.5.1 wait for the answer before you send on, closing
             -- closed: did not wait for an answer"
        ),
    );
}

#[test]
fn tls_for_who_requires_it() {
    check(
        Role::Mx,
        "S: 220 mx.grace.test ESMTP Grace
         C: HELO x
         S: 250 mx.grace.test
         C: MAIL FROM:<a@x.example> REQUIRETLS
         S: 530 5.7.0 REQUIRETLS only after STARTTLS
         C: STARTTLS
         S: 220 2.0.0 ready to start TLS
         -- tls
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
         S: 250 REQUIRETLS
         C: MAIL FROM:<a@x.example> REQUIRETLS=YES
         S: 501 5.5.4 this parameter has no value
         C: MAIL FROM:<a@x.example> REQUIRETLS REQUIRETLS
         S: 501 5.5.4 a parameter stands only once
         C: MAIL FROM:<a@x.example> REQUIRETLS
         S: 250 2.1.0 sender ok",
    );
}

const AT_HOME: &str = "C: AUTH PLAIN AGFubmEAc2VjcmV0
    S: 235 2.7.0 you are logged in
    ";

#[test]
fn messages_that_wait() {
    check_with(
        &patient(),
        &format!(
            "{GREETED}
             {AT_HOME}
             +1m
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
             S: 250-FUTURERELEASE 86400 1970-01-02T00:17:40Z
             S: 250-DELIVERBY 300
             S: 250-MT-PRIORITY
             S: 250 REQUIRETLS
             C: MAIL FROM:<a@x.example> HOLDFOR=86401
             S: 501 5.5.4 the time to hold it is over, or longer than EHLO said
             C: MAIL FROM:<a@x.example> HOLDUNTIL=1970-01-02T00:17:41Z
             S: 501 5.5.4 the time to hold it is over, or longer than EHLO said
             C: MAIL FROM:<a@x.example> HOLDUNTIL=1970-01-01T00:17:39Z
             S: 501 5.5.4 the time to hold it is over, or longer than EHLO said
             C: MAIL FROM:<a@x.example> HOLDFOR=5 HOLDUNTIL=1970-01-01T01:00:00Z
             S: 501 5.5.4 HOLDFOR or HOLDUNTIL, not both
             C: MAIL FROM:<a@x.example> HOLDFOR=tomorrow
             S: 501 5.5.4 HOLDFOR is a number of seconds
             C: MAIL FROM:<a@x.example> HOLDUNTIL=tomorrow
             S: 501 5.5.4 HOLDUNTIL is a time such as 2026-11-23T19:00:00Z
             C: MAIL FROM:<a@x.example> HOLDUNTIL=1970-01-02T00:17:40Z
             S: 250 2.1.0 sender ok
             C: RSET
             S: 250 2.0.0 ok
             C: MAIL FROM:<a@x.example> HOLDFOR=86400
             S: 250 2.1.0 sender ok"
        ),
    );
}

#[test]
fn messages_in_a_hurry() {
    check(
        Role::Submissions,
        &format!(
            "{GREETED}
             {AT_HOME}
             C: MAIL FROM:<a@x.example> BY=299;R
             S: 501 5.5.4 BY with R wants more time, EHLO said how much
             C: MAIL FROM:<a@x.example> BY=-1;R
             S: 501 5.5.4 BY is seconds;N or seconds;R, with T behind for a trace
             C: MAIL FROM:<a@x.example> BY=600;R BY=600;R
             S: 501 5.5.4 a parameter stands only once
             C: MAIL FROM:<a@x.example> MT-PRIORITY=10
             S: 501 5.5.2 MT-PRIORITY is a number from -9 to 9
             C: MAIL FROM:<a@x.example> HOLDFOR=5
             S: 555 5.5.4 unknown parameter
             C: MAIL FROM:<a@x.example> BY=300;R MT-PRIORITY=9
             S: 250 2.1.0 sender ok
             C: RSET
             S: 250 2.0.0 ok
             C: MAIL FROM:<a@x.example> BY=-1;N
             S: 250 2.1.0 sender ok"
        ),
    );
    let at_once =
        Extensions { deliver_by: Some(DeliverByLimits { return_min_s: 0 }), ..Extensions::DEFAULT };
    check_with(
        &Settings { extensions: at_once, ..settings(Role::Submissions) },
        &format!(
            "{GREETED}
             {AT_HOME}
             C: MAIL FROM:<a@x.example> BY=1;R
             S: 250 2.1.0 sender ok"
        ),
    );
}

#[test]
fn strangers_get_no_more_than_a_relay_needs() {
    for parameter in ["HOLDFOR=5", "HOLDUNTIL=1970-01-01T01:00:00Z", "BY=600;R", "MT-PRIORITY=1"] {
        check_with(
            &Settings { role: Role::Mx, ..patient() },
            &format!(
                "{GREETED}
                 C: MAIL FROM:<a@x.example> {parameter}
                 S: 555 5.5.4 unknown parameter"
            ),
        );
    }
}

#[test]
fn what_is_switched_off_is_unknown() {
    let bare = Extensions { binary_mime: false, limits: false, ..Extensions::WITHOUT_QUEUE };
    let mut script = format!(
        "{GREETED}
         {AT_HOME}
         C: EHLO x
         S: 250-mx.grace.test
         S: 250-PIPELINING
         S: 250-SIZE 52428800
         S: 250-8BITMIME
         S: 250-SMTPUTF8
         S: 250-ENHANCEDSTATUSCODES
         S: 250 CHUNKING\n"
    );
    let all = [
        "RET=HDRS",
        "ENVID=1",
        "BODY=BINARYMIME",
        "REQUIRETLS",
        "HOLDFOR=1",
        "HOLDUNTIL=2026-11-23T19:00:00Z",
        "BY=1;R",
        "MT-PRIORITY=1",
    ];
    for parameter in all {
        script.push_str(&format!(
            "C: MAIL FROM:<a@x.example> {parameter}
             S: 555 5.5.4 unknown parameter\n"
        ));
    }
    script.push_str(
        "C: MAIL FROM:<a@x.example>
         S: 250 2.1.0 sender ok
         C: RCPT TO:<anna@grace.test> NOTIFY=NEVER
         S: 555 5.5.4 unknown parameter
         C: RCPT TO:<anna@grace.test> ORCPT=rfc822;a@x
         S: 555 5.5.4 unknown parameter",
    );
    check_with(&Settings { extensions: bare, ..settings(Role::Submissions) }, &script);
}
