//! Peers that are no mail servers: other protocols, and random bytes by seed.

use grace_mail::address::Charset;

use super::*;
use crate::command::{self, Command};
use crate::dsn::{OriginalRecipient, parse_envelope_id};
use crate::parameters::Offered;
use crate::scram::{Challenge, Channel, Verdict};
use crate::settings::{Extensions, FutureReleaseLimits};
use crate::testing::Random;

#[test]
fn other_protocols_are_hung_up_on() {
    let foreign = [
        ("R: GET / HTTP/1.0\\r\\n\\r\\n", "GET / HTTP/1.0"),
        ("R: POST / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nMAIL FROM:<a@b>\\r\\n", "POST / HTTP/1.1"),
        ("R: OPTIONS sip:nm SIP/2.0\\r\\n", "OPTIONS sip:nm SIP/2.0"),
        ("R: \\x16\\x03\\x01\\x02\\0\\x01", ""),
        ("R: \\x80\\x9e\\x01\\x03\\x01", ""),
        ("R: \\x1b%-12345X@PJL\\r\\n", ""),
        ("R: \\0\\x1e\\0\\x06", ""),
    ];
    for (sent, noted) in foreign {
        let note = if noted.is_empty() {
            String::new()
        } else {
            format!("N: {noted} | 500 5.5.1 this is a mail server speaking SMTP, closing")
        };
        check(
            Role::Mx,
            &format!(
                "S: 220 mx.grace.test ESMTP Grace
                 {sent}
                 S: 500 5.5.1 this is a mail server speaking SMTP, closing
                 {note}
                 -- closed: not SMTP"
            ),
        );
    }
}

/// Words that lead deep into the machine.
const WORDS: &[&[u8]] = &[
    b"EHLO x\r\n",
    b"EHLO MX.grace.test.\r\n",
    b"HELO [IPv6:::1\r\n",
    b"HELO \r\n",
    b"MAIL FROM:<a@x.example>\r\n",
    b"MAIL FROM:<nospace@x.example> SMTPUTF8\r\n",
    b"MAIL FROM:<nobegin@x.example> SIZE=5\r\n",
    b"MAIL FROM:<nostore@x.example>\r\n",
    b"RCPT TO:<anna@grace.test>\r\n",
    b"RCPT TO:<b@x>\r\n",
    b"DATA\r\n",
    b"BDAT 10\r\n",
    b"BDAT 3 LAST\r\n",
    b"BDAT 5000\r\n",
    b".\r\n",
    b"\r\n.\r\n",
    b"\n",
    b"\r",
    b"RSET\r\n",
    b"AUTH PLAIN\r\n",
    b"AUTH PLAIN AGFubmEAc2VjcmV0\r\n",
    b"AUTH LOGIN\r\n",
    b"YW5uYQ==\r\n",
    b"*\r\n",
    b"STARTTLS\r\n",
    b"MAIL FROM:<\"",
    b"RCPT TO:<@",
    b">",
    b"\xff\x00",
    b"MAIL FROM:<a@x.example> BODY=BINARYMIME\r\n",
    b"MAIL FROM:<a@x.example> RET=HDRS ENVID=a+2Bb REQUIRETLS\r\n",
    b"MAIL FROM:<a@x.example> HOLDFOR=60 BY=600;RT MT-PRIORITY=-9\r\n",
    b"MAIL FROM:<a@x.example> HOLDUNTIL=1970-01-01T00:20:00.5Z\r\n",
    b"RCPT TO:<bob@grace.test> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;g\\x{FC}n+40\r\n",
    // What anna's client says, right and tied, and pieces of it.
    b"AUTH SCRAM-SHA-256 biwsbj1hbm5hLHI9YWJj\r\n",
    b"AUTH SCRAM-SHA-256-PLUS cD10bHMtZXhwb3J0ZXIsLG49YW5uYSxyPWFiYw==\r\n",
    b"AUTH SCRAM-SHA-256\r\n",
    b"AUTH OAUTHBEARER\r\n",
    b"biwsbj1hbm5hLHI9YWJj\r\n",
    b"Yz1iaXdzLHI9YWJjeHl6LHA9AAAA\r\n",
    b"\r\n",
    b" ORCPT=utf-8;\\x{",
    b" HOLDUNTIL=1970-01-",
    b" BY=-",
    b"=",
    b";",
    b"+",
];

/// Random sessions: nothing panics, buffers stay bounded (`World::drive` looks), every body that
/// was begun ended or was dropped.
#[test]
fn random_sessions() {
    for seed in 0..3_000_u64 {
        let mut random = Random(seed);
        let roles = [Role::Mx, Role::Submission, Role::Submissions];
        let role = roles[random.below(roles.len())];
        let mut settings = Settings { message_bytes_max: 3_000, ..settings(role) };
        settings.errors_max = 200;
        settings.login_without_tls = random.below(2) == 0;
        settings.tarpit.errors_free = Some(2).filter(|_| random.below(2) == 0);
        settings.tarpit.recipients_free = Some(1);
        settings.oauth_bearer = random.below(2) == 0;
        let hold_max = Duration::from_secs(random.next());
        let began_s = random.next().cast_signed();
        let future_release = Some(FutureReleaseLimits { hold_max, began_s });
        settings.extensions = Extensions { future_release, ..Extensions::DEFAULT };
        let mut world = World::new(settings);
        for _ in 0..random.below(80) {
            let bytes = match random.below(12) {
                0 => (0..random.below(3_000)).map(|_| random.next().to_le_bytes()[0]).collect(),
                1 => vec![b'x'; random.below(5_000)],
                _ => WORDS[random.below(WORDS.len())].to_vec(),
            };
            let step = 1 + random.below(2 * bytes.len().max(1));
            world.send(&bytes, step);
            if random.below(300) == 0 {
                world.pass(Duration::from_secs(10_000));
            }
        }
        assert!(world.closed || world.replies.len() < 1_000_000, "seed {seed}");
        if world.closed {
            assert!(world.envelope.is_none(), "a body was forgotten, seed {seed}");
        }
    }
}

/// Pieces of parameters, right and wrong.
const PIECES: &[&str] = &[
    " ",
    "=",
    ";",
    ",",
    "+",
    "-",
    "\\",
    "{",
    "}",
    "+2B",
    "+0A",
    "+FF",
    "\\x{",
    "\\x{FC}",
    "\\x{0}",
    "ü",
    "😀",
    "RET",
    "HDRS",
    "ENVID",
    "NOTIFY",
    "NEVER",
    "DELAY",
    "ORCPT",
    "rfc822",
    "utf-8",
    "BY",
    "R",
    "NT",
    "SIZE",
    "99999999999999999999",
    "HOLDFOR",
    "HOLDUNTIL",
    "2026-11-23",
    "T",
    "19:00:00",
    ".5",
    "Z",
    "+01:00",
    "MT-PRIORITY",
    "-9",
    "0",
    "BODY",
    "BINARYMIME",
    "REQUIRETLS",
    "SMTPUTF8",
    "AUTH",
    "<>",
    "a@x",
];

/// Random parameters: nothing panics, and what is read can be written and read again.
#[test]
fn random_parameters() {
    let offered = Offered {
        dsn: true,
        binary_mime: true,
        require_tls: true,
        future_release: true,
        deliver_by: true,
        mt_priority: true,
    };
    let mut taken = 0;
    for seed in 0..60_000_u64 {
        let mut random = Random(seed);
        let starts = [
            "MAIL FROM:<> ENVID=",
            "RCPT TO:<a@x> ORCPT=utf-8;",
            "RCPT TO:<a@x> ORCPT=x;",
            "MAIL FROM:<> BY=",
            "MAIL FROM:<> HOLDUNTIL=",
            "MAIL FROM:<a@x> ",
        ];
        let mut line = starts[random.below(starts.len())].to_owned();
        for _ in 0..1 + random.below(6) {
            line.push_str(PIECES[random.below(PIECES.len())]);
        }
        let charset = if random.below(2) == 0 { Charset::Ascii } else { Charset::Utf8 };
        match command::parse(line.as_bytes(), charset, offered) {
            Ok(Command::Mail { parameters, .. }) => {
                taken += 1;
                if let Some(id) = parameters.envelope_id {
                    let written = crate::dsn::encode_xtext(&id);
                    assert!(written.is_ascii() && !written.contains([' ', '=']), "{written:?}");
                    // Written, every byte beyond ASCII takes three: it may be too long now.
                    assert!(parse_envelope_id(&written).is_none_or(|again| again == id));
                }
            }
            Ok(Command::Rcpt { parameters, .. }) => {
                taken += 1;
                if let Some(original) = parameters.original {
                    let written = original.to_string();
                    assert!(written.is_ascii() && !written.contains([' ', '=']), "{written:?}");
                    assert_eq!(OriginalRecipient::parse(&written), Some(original), "{line:?}");
                }
            }
            Ok(other) => panic!("{other:?} from {line:?}"),
            Err(reply) => assert!([501, 553, 555].contains(&reply.code()), "{reply} to {line:?}"),
        }
    }
    assert!(taken > 1_000, "most of the grammar is never reached: {taken}");
}

/// Random messages of SCRAM and OAUTHBEARER: nothing panics, and nobody gets in who does not know
/// the password.
#[test]
fn random_logins() {
    let channel = Channel { bindings: tls_facts().bindings, plus_offered: true };
    let anna = keys("anna");
    let pieces = [
        "n",
        "y",
        "p=",
        "tls-exporter",
        ",",
        ",,",
        "a=",
        "n=",
        "anna",
        "=2C",
        "=3D",
        "=",
        "r=",
        "abc",
        "xyz",
        "c=biws",
        "p=",
        "AAAA",
        "m=",
        "x=1",
        "\u{1}",
        "auth=Bearer ",
        "good",
        "é",
        "\0",
    ];
    let mut challenged = 0;
    for seed in 0..60_000_u64 {
        let mut random = Random(seed);
        let mut text = |start: &str, most: usize| {
            let mut text = start.to_owned();
            for _ in 0..random.below(most) {
                text.push_str(pieces[random.below(pieces.len())]);
            }
            text
        };
        let starts = ["", "n,,", "n,,n=anna,r=abc", "p=tls-exporter,,n=anna,"];
        let start = starts[usize::try_from(seed).unwrap() % starts.len()];
        let first = text(start, 6);
        let last = text(if seed % 3 == 0 { "c=biws,r=abcxyz" } else { "" }, 6);
        let _ = crate::bearer::parse(&first);
        let Ok(first) = ClientFirst::parse(&first, start.starts_with('p'), &channel) else {
            continue;
        };
        challenged += 1;
        let challenge = Challenge::new(first, anna.clone(), &scram::tests::nonce("xyz"));
        let verdict = challenge.finish(&last);
        assert!(!matches!(verdict, Ok(Verdict::Right { .. })), "seed {seed}");
    }
    assert!(challenged > 1_000, "most of the grammar is never reached: {challenged}");
}
