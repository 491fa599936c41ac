//! What reads a line, an address, parameters or a header, and what is written of it.
//!
//! What must hold: what was read can be written and is read as the same again; what is written has
//! no line that was not meant.

use grace_mail::address::{Charset, Mailbox};
use grace_mail::date::Date;
use grace_mail::dsn::status::{Action, Status};
use grace_mail::dsn::{Body, Original, Recipient, Report, Return};
use grace_mail::{encoded_word, header, mailbox_list, mime, submitted};
use grace_smtp::command::{self, Command};
use grace_smtp::dsn::{Notify, OriginalRecipient, encode_xtext, parse_envelope_id};
use grace_smtp::parameters::Offered;
use grace_smtp::reply::Reply;

use crate::machines::are_lines;

/// Everything.
const OFFERED: Offered = Offered {
    dsn: true,
    binary_mime: true,
    require_tls: true,
    future_release: true,
    deliver_by: true,
    mt_priority: true,
};

pub(crate) const COMMANDS: &[&[u8]] = &[
    b"EHLO mail.example.org",
    b"HELO [IPv6:2001:db8::1]",
    b"MAIL FROM:<a@x.example> SIZE=1 BODY=8BITMIME",
    b"RCPT TO:<\"a b\"@x.example>",
    b"BDAT 86 LAST",
    b"AUTH PLAIN AGEAYg==",
    b"VRFY x",
    b"STARTTLS",
    b"GET / HTTP/1.0",
];

pub(crate) const PATHS: &[&[u8]] = &[
    b"a@x.example",
    b"\"a\\\"b c\"@[192.0.2.1]",
    b"zo\xC3\xAB@gr\xC3\xBC\xC3\x9Fe.example",
    b"a.b+c@[IPv6:2001:db8::1]",
    b"@one,@two:a@x.example",
];

pub(crate) const PARAMETERS: &[&[u8]] = &[
    b"MAIL FROM:<> RET=HDRS ENVID=a+2Bb SIZE=10",
    b"MAIL FROM:<a@x> BY=-60;NT HOLDUNTIL=2026-11-23T19:00:00.5+01:00 MT-PRIORITY=-9 AUTH=<>",
    b"RCPT TO:<a@x> NOTIFY=SUCCESS,FAILURE ORCPT=utf-8;zo\\x{EB}n+40x",
];

pub(crate) const HEADERS: &[&[u8]] = &[
    b"From: =?utf-8?q?Zo=C3=AB?= <a@x.example>, \"B, C\" <b@y.example>\r\n\
      Subject: one\r\n two\r\nDate: Mon, 30 Nov 2026 17:00:00 +0000 (UTC)\r\n\
      Message-ID: <1@x.example>\r\n\r\nbody\r\n",
    b"To: undisclosed:;\nReceived: from a\n\tby b; Mon, 30 Nov 2026 17:00:00 GMT\n\nx",
    b"Content-Type: multipart/mixed; boundary=\"b\"\r\n\
      Authentication-Results: mx.grace.test; spf=pass\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
];

pub(crate) const NOTIFICATIONS: &[&[u8]] = &[
    b"\0550 5.1.1 <b@y.example>: no such user\xffmx.example\xffQQ1\xff\
      rfc822\xffb@y.example\xffSubject: hello\r\nMessage-ID: <1@x.example>\r\n\r\n",
    b"\x07451 4.7.1 \xE4\xB8\x96 later\xff[192.0.2.1]\xff\xffutf-8\xffzo\xC3\xAB\xff\
      Subject: \xC3\xBC\r\n",
];

pub(crate) fn command(input: &[u8]) {
    for charset in [Charset::Ascii, Charset::Utf8] {
        for offered in [OFFERED, Offered::default()] {
            if let Err(reply) = command::parse(input, charset, offered) {
                look_at(&reply);
            }
        }
    }
}

fn look_at(reply: &Reply) {
    assert!((400..600).contains(&reply.code()), "{reply}");
    assert!(are_lines(format!("{reply}\r\n").as_bytes()), "{reply:?}");
}

/// An address is read, written and read again.
pub(crate) fn path(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for charset in [Charset::Ascii, Charset::Utf8] {
        let Ok(mailbox) = Mailbox::parse(&text, charset) else { continue };
        let written = mailbox.to_string();
        assert!(are_lines(format!("{written}\r\n").as_bytes()), "{written:?}");
        assert_eq!(Mailbox::parse(&written, charset).as_ref(), Ok(&mailbox), "{written:?}");
        // In brackets it is the same one.
        let line = format!("RCPT TO:<{written}>");
        let parsed = command::parse(line.as_bytes(), charset, OFFERED);
        let Ok(Command::Rcpt { recipient, .. }) = parsed else {
            assert!(written.len() > 254, "{line:?}: {parsed:?}");
            continue;
        };
        assert_eq!(recipient.to_string(), written);
    }
}

pub(crate) fn parameters(input: &[u8]) {
    for charset in [Charset::Ascii, Charset::Utf8] {
        match command::parse(input, charset, OFFERED) {
            Ok(Command::Mail { parameters, .. }) => {
                let Some(id) = parameters.envelope_id else { continue };
                let written = encode_xtext(&id);
                assert!(written.is_ascii() && !written.contains([' ', '=']), "{written:?}");
                // Written, a byte beyond ASCII takes three: it may be too long now.
                assert!(parse_envelope_id(&written).is_none_or(|again| again == id));
            }
            Ok(Command::Rcpt { parameters, .. }) => {
                if let Some(original) = parameters.original {
                    let written = original.to_string();
                    assert!(written.is_ascii() && !written.contains([' ', '=']), "{written:?}");
                    let again = OriginalRecipient::parse(&written);
                    assert!(again.is_none_or(|again| again == original), "{written:?}");
                }
                if let Some(notify) = parameters.notify {
                    assert_eq!(Notify::parse(&notify.to_string()), Some(notify));
                }
            }
            Ok(_) => {}
            Err(reply) => look_at(&reply),
        }
    }
}

/// The parts of a header lie in it; what is folded unfolds to itself.
pub(crate) fn header(input: &[u8]) {
    let mut at = 0;
    for field in header::fields(input) {
        let range = field.range();
        assert!(at <= range.start && range.end <= input.len(), "{range:?} after {at}");
        at = range.end;
        let value = header::unfold(field.value);
        assert!(!value.contains(&b'\n'), "{:?}", value.escape_ascii().to_string());
        drop(mailbox_list::parse(field.value));
        if let Some(date) = Date::parse(field.value) {
            let again = Date::parse(date.to_rfc5322().as_bytes());
            assert_eq!(again.map(|date| date.timestamp_s()), Some(date.timestamp_s()));
        }
        drop(encoded_word::decode(&value));
    }
    assert!(submitted::hops(input) <= input.len());
    for range in submitted::forged_results(input, &["mx.grace.test"]) {
        assert!(range.start < range.end && range.end <= input.len());
    }
    let text = String::from_utf8_lossy(input);
    let folded = header::fold("Subject", &text);
    assert_eq!(header::fields(folded.as_bytes()).count(), 1, "{folded:?}");
    assert!(mime::Tree::parse(input).parts().len() > 0);
}

/// A notification is one message of the fields and parts that it should have, whatever others said.
pub(crate) fn notification(input: &[u8]) {
    let Some((&choice, input)) = input.split_first() else { return };
    let mut parts = input.split(|&byte| byte == 0xFF);
    let mut bytes = || parts.next().unwrap_or_default();
    let mut text = || String::from_utf8_lossy(bytes()).into_owned();
    let (reply, remote, envelope_id, kind, address) = (text(), text(), text(), text(), text());
    let original_header = bytes();
    let mailbox = |text: &str| Mailbox::parse(text, Charset::Utf8).expect("an address");
    let (from, to) = (mailbox("MAILER-DAEMON@grace.test"), mailbox("a@x.example"));
    let actions = [Action::Failed, Action::Delayed, Action::Delivered, Action::Relayed];
    let date = Date::from_timestamp(1_796_000_000).expect("a date");
    let recipient = Recipient {
        address: &address,
        original: Some((&kind, &address)),
        action: actions[usize::from(choice & 3)],
        status: Status { class: 5, subject: 1, detail: 1 },
        remote: Some(&remote),
        reply: Some(&reply),
        last_attempt: Some(date),
        will_retry_until: None,
    };
    let bodies = [Body::SevenBit, Body::EightBit, Body::Binary];
    let report = Report {
        hostname: "mail.grace.test",
        from: &from,
        to: &to,
        unique: "1k1g8c2qzk4.fyabz5kgtjtt4",
        date,
        envelope_id: Some(&envelope_id),
        arrived: Some(date),
        recipients: &[recipient],
        original: Original {
            header: original_header,
            wanted: if choice & 4 == 0 { Return::Headers } else { Return::Full },
            body: bodies[usize::from(choice >> 3) % bodies.len()],
            is_utf8: choice & 0x40 != 0,
        },
    };
    let pieces = report.compose();
    let whole = [&pieces.head[..], &pieces.tail[..]].concat();
    for line in whole.split_inclusive(|&byte| byte == b'\n') {
        let text = line.strip_suffix(b"\r\n").expect("a line ends with CRLF");
        assert!(!text.contains(&b'\r') && !text.contains(&0), "{:?}", text.escape_ascii());
        assert!(text.len() <= 998, "a line of {} bytes", text.len());
    }
    assert!(pieces.is_8bit || whole.is_ascii());
    const FIELDS: &[&str] = &[
        "from",
        "to",
        "subject",
        "date",
        "message-id",
        "in-reply-to",
        "references",
        "auto-submitted",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
    ];
    for field in header::fields(&whole) {
        let name = String::from_utf8_lossy(field.name).to_lowercase();
        assert!(FIELDS.contains(&name.as_str()), "{name:?} was never meant");
    }
    let tree = mime::Tree::parse(&whole);
    assert_eq!(tree.children(tree.root()).count(), 3, "a report has three parts");
}
