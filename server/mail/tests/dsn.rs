//! Notifications as they are sent: three in full, and every kind read again by this crate's own
//! MIME tree and by Python's `email`, which knows nothing of us.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use grace_mail::address::Mailbox;
use grace_mail::date::Date;
use grace_mail::dsn::status::{Action, Status};
use grace_mail::dsn::{Body, Original, Pieces, Recipient, Report, Return};
use grace_mail::header;
use grace_mail::mime::{Kind, Part, Tree};
use grace_mail::text;

const HEADER: &str = "Received: from laptop ([192.0.2.1])\r\n\tby mx.grace.test with ESMTPSA\r\n\
    From: Bob <bob@grace.test>\r\nTo: Anna <anna@example.org>\r\n\
    Subject: =?utf-8?Q?Lunch_at_the_caf=C3=A9?=\r\nDate: Mon, 23 Nov 2026 19:00:00 +0100\r\n\
    Message-ID: <1@grace.test>\r\n\r\n";

fn mailbox(text: &str) -> Mailbox {
    text.parse().unwrap()
}

fn date(seconds: i64) -> Date {
    Date::from_timestamp(1_795_456_800 + seconds).unwrap()
}

fn anna(action: Action, status: &str) -> Recipient<'static> {
    Recipient {
        address: "anna@example.org",
        original: None,
        action,
        status: Status::parse(status).unwrap(),
        remote: None,
        reply: None,
        last_attempt: None,
        will_retry_until: None,
    }
}

/// A report to `to` about `header`, sent an hour after the message came.
fn compose(to: &str, header: &[u8], recipients: &[Recipient<'_>]) -> Pieces {
    change(to, header, recipients, |_| {})
}

fn change(
    to: &str,
    header: &[u8],
    recipients: &[Recipient<'_>],
    change: impl Fn(&mut Report<'_>),
) -> Pieces {
    let (from, to) = (mailbox("MAILER-DAEMON@mx.grace.test"), mailbox(to));
    let body = Body::SevenBit;
    let mut report = Report {
        hostname: "mx.grace.test",
        from: &from,
        to: &to,
        unique: "7f3a.5c0e",
        date: date(3_600),
        envelope_id: Some("QQ314159"),
        arrived: Some(date(0)),
        recipients,
        original: Original { header, wanted: Return::Headers, body, is_utf8: false },
    };
    change(&mut report);
    report.compose()
}

/// The whole notification, `original` in its place.
fn whole(pieces: &Pieces, original: &[u8]) -> Vec<u8> {
    let original = if pieces.whole_follows { original } else { &[] };
    [&pieces.head, original, &pieces.tail].concat()
}

/// Compares a notification with what it is to be, lines ending in LF.
#[track_caller]
fn check_golden(pieces: &Pieces, expected: &str) {
    let found = String::from_utf8(whole(pieces, &[])).unwrap();
    assert!(found.split('\n').all(|line| line.is_empty() || line.ends_with('\r')));
    let found = found.replace("\r\n", "\n");
    assert_eq!(found, expected, "\n{found}");
}

#[test]
fn a_failure() {
    let failed = Recipient {
        remote: Some("mail.example.org"),
        reply: Some(
            "550 5.1.1 <anna@example.org>: Recipient address rejected: User unknown in \
                     virtual mailbox table",
        ),
        last_attempt: Some(date(3_599)),
        ..anna(Action::Failed, "5.1.1")
    };
    check_golden(&compose("bob@grace.test", HEADER.as_bytes(), &[failed]), FAILURE);
}

#[test]
fn a_delay() {
    let late = Recipient {
        original: Some(("rfc822", "anna@old.example")),
        reply: Some("connection timed out"),
        last_attempt: Some(date(3_599)),
        will_retry_until: Some(date(5 * 86_400)),
        ..anna(Action::Delayed, "4.4.1")
    };
    check_golden(&compose("bob@grace.test", HEADER.as_bytes(), &[late]), DELAY);
}

#[test]
fn a_success() {
    let delivered = anna(Action::Delivered, "2.1.5");
    check_golden(&compose("bob@grace.test", HEADER.as_bytes(), &[delivered]), SUCCESS);
}

/// Everything the parts of a notification say, read by our own MIME tree.
fn read(raw: &[u8]) -> (Tree, Vec<Part>) {
    let tree = Tree::parse(raw);
    let parts = tree.children(tree.root()).cloned().collect();
    (tree, parts)
}

fn media(part: &Part) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_lowercase();
    format!("{}/{}", text(&part.media.kind), text(&part.media.subtype))
}

#[test]
fn the_whole_message_is_streamed_between_the_pieces() {
    let original = format!("{HEADER}One line.\r\n--=_7f3a.5c0e\r\nanother\r\n");
    let failed = [anna(Action::Failed, "5.1.1")];
    let full = |report: &mut Report<'_>| report.original.wanted = Return::Full;
    let pieces = change("bob@grace.test", HEADER.as_bytes(), &failed, full);
    assert!(pieces.whole_follows && !pieces.is_8bit);
    let raw = whole(&pieces, original.as_bytes());
    let (tree, parts) = read(&raw);
    assert_eq!(
        parts.iter().map(media).collect::<Vec<_>>(),
        ["text/plain", "message/delivery-status", "message/rfc822"]
    );
    assert_eq!(parts[2].kind, Kind::Message);
    assert_eq!(&raw[parts[2].body.clone()], original.as_bytes(), "to the last byte");
    let inside = tree.embedded(&parts[2]).unwrap();
    let subject = text::of_fields(&raw[inside.header.clone()], b"subject").next();
    assert_eq!(subject.as_deref(), Some("Lunch at the caf\u{e9}"));
}

#[test]
fn the_whole_goes_back_with_failures_only_and_never_as_binary() {
    let full = |report: &mut Report<'_>| report.original.wanted = Return::Full;
    let late = [anna(Action::Delayed, "4.4.1"), anna(Action::Delivered, "2.0.0")];
    assert!(!change("bob@grace.test", HEADER.as_bytes(), &late, full).whole_follows);
    let binary = |report: &mut Report<'_>| {
        (report.original.wanted, report.original.body) = (Return::Full, Body::Binary);
    };
    let failed = [anna(Action::Failed, "5.1.1")];
    assert!(!change("bob@grace.test", HEADER.as_bytes(), &failed, binary).whole_follows);
}

#[test]
fn eight_bits_are_declared_where_they_are() {
    let failed = [anna(Action::Failed, "5.1.1")];
    let declared = |pieces: &Pieces, original: &[u8]| {
        let raw = whole(pieces, original);
        let (tree, parts) = read(&raw);
        let encoding = |part: &Part| part.media.encoding.clone().unwrap_or_default();
        let all = [encoding(tree.root()), encoding(&parts[1]), encoding(&parts[2])];
        (pieces.is_8bit, all.map(|bytes| String::from_utf8(bytes).unwrap()).join(" "))
    };
    let plain = compose("bob@grace.test", HEADER.as_bytes(), &failed);
    assert_eq!(declared(&plain, b""), (false, "7bit 7bit 7bit".to_owned()));
    let latin = compose("bob@grace.test", b"Subject: caf\xe9\r\n\r\n", &failed);
    assert_eq!(declared(&latin, b""), (true, "8bit 7bit 8bit".to_owned()));
    let body = change("bob@grace.test", HEADER.as_bytes(), &failed, |report| {
        (report.original.wanted, report.original.body) = (Return::Full, Body::EightBit);
    });
    let original = [HEADER.as_bytes(), b"caf\xe9\r\n"].concat();
    assert_eq!(declared(&body, &original), (true, "8bit 7bit 8bit".to_owned()));
}

#[test]
fn addresses_beyond_ascii_need_utf8_only_where_the_way_has_it() {
    let joerg = Recipient {
        address: "j\u{f6}rg@example.org",
        reply: Some("550 5.6.7 j\u{f6}rg?"),
        ..anna(Action::Failed, "5.6.7")
    };
    let ascii = compose("bob@grace.test", HEADER.as_bytes(), &[joerg]);
    let raw = String::from_utf8(whole(&ascii, b"")).unwrap();
    assert!(!ascii.is_utf8 && !ascii.is_8bit && raw.is_ascii());
    assert!(raw.contains("\r\nFinal-Recipient: utf-8; j\\x{F6}rg@example.org\r\n"), "{raw}");
    assert!(raw.contains("\r\nDiagnostic-Code: x-grace; 550 5.6.7 j?rg?\r\n"), "{raw}");

    let utf8 = compose("b\u{f6}b@grace.test", HEADER.as_bytes(), &[joerg]);
    let raw = whole(&utf8, b"");
    assert!(utf8.is_utf8 && utf8.is_8bit);
    let (_, parts) = read(&raw);
    assert_eq!(
        parts[1..].iter().map(media).collect::<Vec<_>>(),
        ["message/global-delivery-status", "message/global-headers"]
    );
    let raw = String::from_utf8(raw).unwrap();
    assert!(raw.contains("\r\nTo: <b\u{f6}b@grace.test>\r\n"), "{raw}");
    assert!(raw.contains("\r\nFinal-Recipient: utf-8; j\u{f6}rg@example.org\r\n"), "{raw}");
}

#[test]
fn what_strangers_wrote_stays_where_it_was_put() {
    const EVIL: &str =
        "x\r\n\r\n--=_7f3a.5c0e_dsn\r\nContent-Type: text/html\r\n\r\n<b>\r\nBcc: eve@x";
    let evil = Recipient {
        address: EVIL,
        original: Some(("rfc822\r\nAction: delivered", EVIL)),
        remote: Some(EVIL),
        reply: Some(EVIL),
        ..anna(Action::Failed, "5.1.1")
    };
    let header = format!(
        "Subject: =?utf-8?Q?a=0D=0A=0D=0A--=3D=5F7f3a.5c0e=5Fdsn=0D=0A?=\r\n\
         Message-ID: <a@b>\n--=_7f3a.5c0e_dsn\n\r\n{EVIL}"
    );
    let pieces = change("bob@grace.test", header.as_bytes(), &[evil], |report| {
        report.envelope_id = Some(EVIL);
        report.unique = "7f3a.5c0e\r\n\"";
    });
    let raw = whole(&pieces, b"");
    let (tree, parts) = read(&raw);
    assert_eq!(
        parts.iter().map(media).collect::<Vec<_>>(),
        ["text/plain", "message/delivery-status", "text/rfc822-headers"]
    );
    let names = |block: &[u8]| {
        let fields = header::fields(block);
        fields.map(|field| String::from_utf8_lossy(field.name).into_owned()).collect::<Vec<_>>()
    };
    assert!(!names(&raw[tree.root().header.clone()]).contains(&"Bcc".to_owned()));
    let status = &raw[parts[1].body.clone()];
    let blocks: Vec<&[u8]> = status.split(|&byte| byte == b'\n').filter(|l| *l == b"\r").collect();
    assert_eq!(blocks.len(), 1, "one blank line, before the one recipient");
    assert_eq!(names(&raw[parts[2].body.clone()]), ["Subject", "Message-ID"]);
}

#[test]
fn lines_are_short_whatever_was_said() {
    let word = "\u{e4}".repeat(10_000);
    let failed = Recipient { reply: Some(&word), ..anna(Action::Failed, "5.0.0") };
    let header = format!("Subject: {word}\r\nTo: {word}\r\nX: {word}\r\n\r\n");
    for to in ["bob@grace.test", "b\u{f6}b@grace.test"] {
        let pieces = compose(to, header.as_bytes(), &[failed]);
        let raw = whole(&pieces, b"");
        assert!(raw.split(|&byte| byte == b'\n').all(|line| line.len() <= 999));
    }
}

/// What Python makes of a notification: type, encoding and text of each part, then the fields of
/// the delivery status.
const READER: &str = r#"
import email, email.policy, sys
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
assert not m.defects, m.defects
print(m.get_content_type(), m["auto-submitted"], m["to"], m["date"].datetime.isoformat())
text, status, original = m.iter_parts()
for part in (text, status, original):
    assert not part.defects, part.defects
    print(part.get_content_type(), part["content-transfer-encoding"])
print(text.get_content().splitlines()[2])
for block in status.get_payload():
    for name, value in block.items():
        print(f"{name}={value}")
if original.get_content_type() == "message/rfc822":
    print(original.get_content()["subject"])
else:
    print(email.message_from_string(original.get_content())["message-id"])
"#;

/// Runs Python; none if there is none.
#[expect(clippy::print_stderr, reason = "what was not tested is said aloud")]
fn python(raw: &[u8]) -> Option<String> {
    let mut command = Command::new("python3");
    command.args(["-c", READER]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("SKIPPED: nobody else reads our notifications, python3: {error}");
            return None;
        }
    };
    child.stdin.take().unwrap().write_all(raw).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(raw));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn python_reads_a_failure_with_its_original() {
    let long = "550 5.1.1 no ".repeat(20);
    let failed = Recipient { reply: Some(&long), ..anna(Action::Failed, "5.1.1") };
    let bert = Recipient { address: "bert@example.org", ..anna(Action::Failed, "4.4.7") };
    let pieces = change("bob@grace.test", HEADER.as_bytes(), &[failed, bert], |report| {
        report.original.wanted = Return::Full;
    });
    let raw = whole(&pieces, format!("{HEADER}Hello\r\n").as_bytes());
    let Some(found) = python(&raw) else { return };
    let said: Vec<&str> = found.lines().collect();
    assert_eq!(said[0], "multipart/report auto-replied bob@grace.test 2026-11-23T19:00:00+00:00");
    assert_eq!(
        said[1..5],
        [
            "text/plain quoted-printable",
            "message/delivery-status 7bit",
            "message/rfc822 7bit",
            "Your message was NOT delivered to:",
        ]
    );
    let diagnostic = format!("Diagnostic-Code=x-grace; {}", long.trim());
    assert_eq!(
        said[5..],
        [
            "Original-Envelope-Id=QQ314159",
            "Reporting-MTA=dns; mx.grace.test",
            "Arrival-Date=Mon, 23 Nov 2026 18:00:00 +0000",
            "Final-Recipient=rfc822; anna@example.org",
            "Action=failed",
            "Status=5.1.1",
            &diagnostic,
            "Final-Recipient=rfc822; bert@example.org",
            "Action=failed",
            "Status=4.4.7",
            "Lunch at the caf\u{e9}",
        ]
    );
}

#[test]
fn python_reads_every_other_kind() {
    let kinds = [
        (Action::Delayed, "4.0.0", "Your message has not been delivered yet to:"),
        (Action::Delivered, "2.0.0", "Your message is in the mailbox of:"),
        (
            Action::Relayed,
            "2.0.0",
            "Your message was passed on, to a mail system that will not tell",
        ),
        (Action::Expanded, "2.0.0", "Your message was passed on to all those who are behind this"),
    ];
    for (action, status, text) in kinds {
        let pieces = compose("bob@grace.test", HEADER.as_bytes(), &[anna(action, status)]);
        let Some(found) = python(&whole(&pieces, b"")) else { return };
        let said: Vec<&str> = found.lines().collect();
        assert_eq!(said[3], "text/rfc822-headers 7bit");
        assert!(said[4].starts_with(text), "{found}");
        assert_eq!(said[9], format!("Action={action}"));
        assert_eq!(said.last(), Some(&"<1@grace.test>"));
    }
}

const FAILURE: &str = r#"From: Mail Delivery System <MAILER-DAEMON@mx.grace.test>
To: <bob@grace.test>
Subject: Your message could not be delivered
Date: Mon, 23 Nov 2026 19:00:00 +0000
Message-ID: <7f3a.5c0e.dsn@mx.grace.test>
In-Reply-To: <1@grace.test>
References: <1@grace.test>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
 boundary="=_7f3a.5c0e_dsn"
Content-Transfer-Encoding: 7bit

--=_7f3a.5c0e_dsn
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

This is the mail system at mx.grace.test.

Your message was NOT delivered to:

  anna@example.org
    There is no mailbox with this address.
    Look for a typing mistake in the address. If there is none, ask the
    person for the right one in another way.

It is about this message:

  Subject: Lunch at the caf=C3=A9
  To: Anna <anna@example.org>
  Date: Mon, 23 Nov 2026 19:00:00 +0100

For technicians:

  anna@example.org (5.1.1)
    mail.example.org said: 550 5.1.1 <anna@example.org>: Recipient address
    rejected: User unknown in virtual mailbox table

--=_7f3a.5c0e_dsn
Content-Type: message/delivery-status
Content-Transfer-Encoding: 7bit

Original-Envelope-Id: QQ314159
Reporting-MTA: dns; mx.grace.test
Arrival-Date: Mon, 23 Nov 2026 18:00:00 +0000

Final-Recipient: rfc822; anna@example.org
Action: failed
Status: 5.1.1
Remote-MTA: dns; mail.example.org
Diagnostic-Code: smtp; 550 5.1.1 <anna@example.org>: Recipient address
 rejected: User unknown in virtual mailbox table
Last-Attempt-Date: Mon, 23 Nov 2026 18:59:59 +0000

--=_7f3a.5c0e_dsn
Content-Type: text/rfc822-headers
Content-Transfer-Encoding: 7bit

Received: from laptop ([192.0.2.1])
	by mx.grace.test with ESMTPSA
From: Bob <bob@grace.test>
To: Anna <anna@example.org>
Subject: =?utf-8?Q?Lunch_at_the_caf=C3=A9?=
Date: Mon, 23 Nov 2026 19:00:00 +0100
Message-ID: <1@grace.test>

--=_7f3a.5c0e_dsn--
"#;

const DELAY: &str = r#"From: Mail Delivery System <MAILER-DAEMON@mx.grace.test>
To: <bob@grace.test>
Subject: Your message is delayed
Date: Mon, 23 Nov 2026 19:00:00 +0000
Message-ID: <7f3a.5c0e.dsn@mx.grace.test>
In-Reply-To: <1@grace.test>
References: <1@grace.test>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
 boundary="=_7f3a.5c0e_dsn"
Content-Transfer-Encoding: 7bit

--=_7f3a.5c0e_dsn
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

This is the mail system at mx.grace.test.

Your message has not been delivered yet to:

  anna@example.org (you wrote to anna@old.example)
    The mail server of the other side could not be reached.
    You need not do anything. We keep trying until Sat, 28 Nov 2026
    18:00:00 +0000, and tell you if it fails.

It is about this message:

  Subject: Lunch at the caf=C3=A9
  To: Anna <anna@example.org>
  Date: Mon, 23 Nov 2026 19:00:00 +0100

For technicians:

  anna@example.org (4.4.1)
    connection timed out

--=_7f3a.5c0e_dsn
Content-Type: message/delivery-status
Content-Transfer-Encoding: 7bit

Original-Envelope-Id: QQ314159
Reporting-MTA: dns; mx.grace.test
Arrival-Date: Mon, 23 Nov 2026 18:00:00 +0000

Original-Recipient: rfc822; anna@old.example
Final-Recipient: rfc822; anna@example.org
Action: delayed
Status: 4.4.1
Diagnostic-Code: x-grace; connection timed out
Last-Attempt-Date: Mon, 23 Nov 2026 18:59:59 +0000
Will-Retry-Until: Sat, 28 Nov 2026 18:00:00 +0000

--=_7f3a.5c0e_dsn
Content-Type: text/rfc822-headers
Content-Transfer-Encoding: 7bit

Received: from laptop ([192.0.2.1])
	by mx.grace.test with ESMTPSA
From: Bob <bob@grace.test>
To: Anna <anna@example.org>
Subject: =?utf-8?Q?Lunch_at_the_caf=C3=A9?=
Date: Mon, 23 Nov 2026 19:00:00 +0100
Message-ID: <1@grace.test>

--=_7f3a.5c0e_dsn--
"#;

const SUCCESS: &str = r#"From: Mail Delivery System <MAILER-DAEMON@mx.grace.test>
To: <bob@grace.test>
Subject: Your message was delivered
Date: Mon, 23 Nov 2026 19:00:00 +0000
Message-ID: <7f3a.5c0e.dsn@mx.grace.test>
In-Reply-To: <1@grace.test>
References: <1@grace.test>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
 boundary="=_7f3a.5c0e_dsn"
Content-Transfer-Encoding: 7bit

--=_7f3a.5c0e_dsn
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

This is the mail system at mx.grace.test.

Your message is in the mailbox of:

  anna@example.org
    This does not mean that it was read.

It is about this message:

  Subject: Lunch at the caf=C3=A9
  To: Anna <anna@example.org>
  Date: Mon, 23 Nov 2026 19:00:00 +0100

--=_7f3a.5c0e_dsn
Content-Type: message/delivery-status
Content-Transfer-Encoding: 7bit

Original-Envelope-Id: QQ314159
Reporting-MTA: dns; mx.grace.test
Arrival-Date: Mon, 23 Nov 2026 18:00:00 +0000

Final-Recipient: rfc822; anna@example.org
Action: delivered
Status: 2.1.5

--=_7f3a.5c0e_dsn
Content-Type: text/rfc822-headers
Content-Transfer-Encoding: 7bit

Received: from laptop ([192.0.2.1])
	by mx.grace.test with ESMTPSA
From: Bob <bob@grace.test>
To: Anna <anna@example.org>
Subject: =?utf-8?Q?Lunch_at_the_caf=C3=A9?=
Date: Mon, 23 Nov 2026 19:00:00 +0100
Message-ID: <1@grace.test>

--=_7f3a.5c0e_dsn--
"#;
