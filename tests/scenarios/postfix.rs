//! Mail to and from Debian's Postfix: both ways through names of a zone, encrypted, byte by byte,
//! with what goes wrong told to the sender.
//!
//! ```text
//!   ann ─587─▶ graced ─MX far.test──▶ Postfix ─▶ maildir of bob
//!              graced ◀─grace.test── Postfix ◀─25─ who writes for bob
//! ```
//! Not here: servers without manners (`server/src/outbound`), what Postfix costs (`smtp-load`).

#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use grace_tests::house::{Account, House};
use grace_tests::log::{self, Mark};
use grace_tests::postfix::{self, Postfix};
use grace_tests::tap::Tap;
use grace_tests::wire::Wire;
use grace_tests::zone::Zone;
use grace_tests::{figure, program, skipped};

/// A large message, in bytes: many windows of TCP, many pieces of every buffer on the way.
const LARGE_BYTES: usize = 20 * 1_024 * 1_024;
/// Who owns maildirs: nobody.
const MAIL_USER: &str = "65534";

/// Two servers and the names that join them.
struct World {
    house: House,
    postfix: Postfix,
    ann: Account,
    _zone: Zone,
}

impl World {
    /// Postfix has these settings more.
    fn open(settings: &str) -> Option<Self> {
        Self::open_through(settings, |_| None)
    }

    /// The same with something between Grace and Postfix: a function that gives the port to use
    /// instead of Postfix's.
    fn open_through(settings: &str, way: impl Fn(u16) -> Option<u16>) -> Option<Self> {
        if let Some(why) = postfix::absent() {
            skipped(&format!("mail to and from Postfix: {why}"));
            return None;
        }
        let zone = Zone::start();
        zone.mx("far.test", 10, "mx.far.test");
        zone.a("mx.far.test", "127.0.0.1");
        zone.txt("far.test", "v=spf1 ip4:127.0.0.1 -all");
        let port = postfix::free_port();
        let house = House::start_with(&format!(
            "[dns]\nresolvers = [\"{}\"]\n[authenticity]\nunchecked_networks = []\n\
             [queue]\nport = {}\n",
            zone.address(),
            way(port).unwrap_or(port),
        ));
        let ann = house.account("ann");
        let postfix = Postfix::start_on(port, &far_settings(house.port("Smtp"), settings));
        let mail = postfix.folder().join("mail");
        fs::create_dir(&mail).expect("the folder is writable");
        program::run_ok(Command::new("chown").arg(MAIL_USER).arg(&mail));
        Some(Self { house, postfix, ann, _zone: zone })
    }

    /// Waits for a message in the mailbox of somebody at Postfix whose subject this is.
    fn arrived(&self, who: &str, subject: &str) -> String {
        let folder = self.postfix.folder().join("mail").join(who).join("new");
        let field = format!("\nSubject: {subject}");
        self.postfix.wait_until(&format!("{subject:?} is with {who}"), || {
            letters(&folder).into_iter().find(|letter| letter.contains(&field))
        })
    }

    /// Submits a message to graced, as ann.
    fn submit(&self, mail: &str, recipients: &[&str], message: &[u8]) -> String {
        let Account { address, password } = &self.ann;
        let secret = BASE64_STANDARD.encode(format!("\0{address}\0{password}"));
        let mut wire = Wire::connect(self.house.port("Submission"));
        wire.check("S: 220 *\nC: EHLO client.example.org\nS: 250 *");
        wire.check(&format!("C: AUTH PLAIN {secret}\nS: 235 *"));
        send(&mut wire, &format!("<{address}>{mail}"), recipients, message)
    }

    /// Gives a message to Postfix, from bob.
    fn submit_far(&self, mail: &str, recipients: &[&str], message: &[u8]) -> String {
        let mut wire = Wire::connect(self.postfix.port());
        wire.check("S: 220 *\nC: EHLO client.far.test\nS: 250 *");
        send(&mut wire, &format!("<bob@far.test>{mail}"), recipients, message)
    }

    /// Waits for a message in ann's inbox, and returns it as it is kept.
    fn delivered(&self, mark: Mark) -> Vec<u8> {
        let event = self.house.log().wait(mark, "MessageDelivered", |_| true);
        let uid = log::number(&event, "uid");
        let file = self.house.folder().join(format!("{uid}.eml"));
        let url = format!("imaps://127.0.0.1:{}/INBOX;UID={uid}", self.house.port("Imaps"));
        let user = format!("{}:{}", self.ann.address, self.ann.password);
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--insecure", "--user", &user, &url, "--output"]);
        program::run_ok(curl.arg(&file));
        fs::read(&file).expect("curl wrote it")
    }
}

/// Sends one message and returns what was said to it.
fn send(wire: &mut Wire, mail: &str, recipients: &[&str], message: &[u8]) -> String {
    wire.check(&format!("C: MAIL FROM:{mail}\nS: 250 *"));
    for recipient in recipients {
        wire.check(&format!("C: RCPT TO:{recipient}\nS: 250 *"));
    }
    wire.check("C: DATA\nS: 354 *");
    wire.send(&stuffed(message));
    wire.send(b".\r\n");
    wire.reply().pop().unwrap_or_default()
}

/// With a dot before lines that begin with one (RFC 5321 4.5.2).
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(message.len());
    let mut at_start = true;
    for &byte in message {
        if at_start && byte == b'.' {
            stuffed.push(b'.');
        }
        stuffed.push(byte);
        at_start = byte == b'\n';
    }
    stuffed
}

fn letters(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let read = |path: PathBuf| fs::read(path).ok();
    let letters = entries.filter_map(|entry| read(entry.path()));
    letters.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

/// Postfix with mailboxes of its own, a certificate, and a way to Grace.
fn far_settings(grace: u16, more: &str) -> String {
    format!(
        "transport_maps = inline:{{ {{grace.test = smtp:[127.0.0.1]:{grace}}} }}\n\
         default_transport = error:nobody lives there\n\
         virtual_mailbox_domains = far.test\n\
         virtual_mailbox_base = @DIR@/mail\n\
         virtual_mailbox_maps = inline:{{ {{bob@far.test = bob/}}, {{zoë@far.test = zoe/}} }}\n\
         virtual_uid_maps = static:{MAIL_USER}\nvirtual_gid_maps = static:{MAIL_USER}\n\
         message_size_limit = 52428800\nvirtual_mailbox_limit = 0\n\
         smtpd_tls_loglevel = 1\nsmtp_tls_loglevel = 1\n\
         smtp_tls_security_level = may\n{more}\n"
    )
}

/// A certificate for Postfix, which signs it itself.
fn certificate(folder: &Path) -> String {
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    openssl.args(["-nodes", "-days", "7", "-subj", "/CN=mx.far.test", "-keyout"]);
    program::run_ok(openssl.arg(&key).arg("-out").arg(&certificate));
    format!(
        "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\n",
        certificate.display(),
        key.display()
    )
}

/// Messages with one difficulty each: what is told of it, parameters of MAIL, the message. All have
/// what a submission would be given else.
fn letters_to_send() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let head = |subject: &str| {
        format!(
            "From: <ann@grace.test>\r\nTo: <bob@far.test>\r\nSubject: {subject}\r\n\
             Date: Mon, 30 Nov 2026 17:00:00 +0000\r\nMessage-ID: <{subject}@grace.test>\r\n"
        )
    };
    let whole = |subject: &str, body: &str| [&head(subject), "\r\n", body].concat().into_bytes();
    let large = format!("{}\r\n", "0123456789".repeat(7)).repeat(LARGE_BYTES / 72);
    let long = format!("{}\r\n.{}\r\n", "x".repeat(998), "y".repeat(997));
    vec![
        ("short", "", whole("short", "Hello.\r\n")),
        ("empty", "", whole("empty", "")),
        ("dots", "", whole("dots", ".\r\n..\r\n...\r\n.x\r\n\r\n.\r\n")),
        ("blank", "", whole("blank", "\r\n\r\n \t\r\n\r\n")),
        ("long", "", whole("long", &long)),
        ("eight", " BODY=8BITMIME", whole("eight", "Grüße, 世界\r\n")),
        ("large", "", whole("large", &large)),
    ]
}

/// Whether a file of a maildir, whose lines end as files' lines do, ends with a message.
fn ends_with(found: &str, sent: &[u8]) -> bool {
    found.replace("\r\n", "\n").ends_with(&String::from_utf8_lossy(sent).replace("\r\n", "\n"))
}

#[test]
fn every_letter_reaches_postfix_encrypted_and_whole() {
    let folder = grace_tests::house::Folder::new();
    let Some(world) = World::open(&certificate(folder.path())) else { return };
    for (subject, mail, message) in letters_to_send() {
        let mark = world.house.log().mark();
        let said = world.submit(mail, &["<bob@far.test>"], &message);
        assert!(said.starts_with("250 2.0.0"), "{subject}: {said}");
        let found = world.arrived("bob", subject);
        assert!(ends_with(&found, &message), "{subject}: {found:.400}");
        let sent = world.house.log().wait(mark, "RecipientSent", |_| true);
        assert!(log::text(&sent, "tls").starts_with("TLSv1.3"), "{sent}");
        assert_eq!(log::text(&sent, "remote"), "mx.far.test");
    }
    assert!(world.postfix.log().contains("Anonymous TLS connection established from"));
    figure(&format!("{} letters to Postfix, each byte as sent", letters_to_send().len()));
}

#[test]
fn every_letter_of_postfix_arrives_encrypted_and_whole() {
    let Some(world) = World::open("") else { return };
    for (subject, mail, message) in letters_to_send() {
        let mark = world.house.log().mark();
        world.submit_far(mail, &["<ann@grace.test>"], &message);
        let found = world.delivered(mark);
        assert!(found.ends_with(&message), "{subject}: {:.400}", String::from_utf8_lossy(&found));
        let top = String::from_utf8_lossy(&found).into_owned();
        assert!(top.starts_with("Return-Path: <bob@far.test>\r\n"), "{subject}: {top:.200}");
        assert!(top.contains("with ESMTPS\r\n\t(TLSv1.3 "), "{subject}: {top:.400}");
        world.house.log().wait(mark, "SenderChecked", |e| log::text(e, "spf") == "pass");
    }
    assert!(world.postfix.log().contains("TLS connection established to 127.0.0.1"));
}

#[test]
fn addresses_beyond_ascii_go_both_ways() {
    let Some(world) = World::open("") else { return };
    let message = |subject: &str| {
        format!(
            "From: <ann@grace.test>\r\nTo: <zoë@far.test>\r\nSubject: {subject}\r\n\
             Date: Mon, 30 Nov 2026 17:00:00 +0000\r\nMessage-ID: <{subject}@grace.test>\r\n\r\n\
             Grüße\r\n"
        )
    };
    let there = message("hinüber").into_bytes();
    world.submit(" SMTPUTF8 BODY=8BITMIME", &["<zoë@far.test>"], &there);
    assert!(ends_with(&world.arrived("zoe", "hinüber"), &there));

    let mark = world.house.log().mark();
    let back = message("zurück").into_bytes();
    world.submit_far(" SMTPUTF8 BODY=8BITMIME", &["<ann@grace.test>"], &back);
    let found = world.delivered(mark);
    assert!(found.ends_with(&back));
    let found = String::from_utf8_lossy(&found).into_owned();
    assert!(found.contains(" with UTF8SMTPS"), "{found}");
}

#[test]
fn what_postfix_cannot_take_goes_back() {
    let settings = "smtputf8_enable = no\nsmtpd_discard_ehlo_keywords = 8bitmime\n";
    let Some(world) = World::open(settings) else { return };
    let message = b"Subject: hin\xC3\xBCber\r\n\r\nx\r\n";
    for (mail, to, status) in
        [(" SMTPUTF8", "<zoë@far.test>", "5.6.7"), (" BODY=8BITMIME", "<bob@far.test>", "5.6.3")]
    {
        let mark = world.house.log().mark();
        world.submit(mail, &[to], message);
        let failed = world.house.log().wait(mark, "RecipientFailed", |_| true);
        let report = String::from_utf8_lossy(&world.delivered(mark)).into_owned();
        assert!(report.contains(&format!("\r\nStatus: {status}\r\n")), "{failed}\n{report}");
    }
}

#[test]
fn an_unknown_recipient_is_told_to_the_sender_on_both_sides() {
    let Some(world) = World::open("") else { return };
    let mark = world.house.log().mark();
    let message = b"Subject: to nobody\r\n\r\nHello.\r\n";
    world.submit(" RET=HDRS ENVID=QQ1234", &["<nobody@far.test>"], message);
    let report = String::from_utf8_lossy(&world.delivered(mark)).into_owned();
    for part in [
        "\r\nContent-Type: multipart/report",
        "\r\nOriginal-Envelope-Id: QQ1234\r\n",
        "\r\nAction: failed\r\n",
        "\r\nStatus: 5.1.1\r\n",
        "\r\nRemote-MTA: dns; mx.far.test\r\n",
        "\r\nDiagnostic-Code: smtp; 550 5.1.1 <nobody@far.test>",
    ] {
        assert!(report.contains(part), "{part:?} is not in\n{report}");
    }

    world.submit_far("", &["<nobody@grace.test>"], message);
    let report = world.arrived("bob", "Undelivered Mail Returned to Sender");
    for part in ["\nAction: failed\n", "\nStatus: 5.1.1\n", "no mailbox <nobody@grace.test> here"] {
        assert!(report.contains(part), "{part:?} is not in\n{report}");
    }
}

#[test]
fn a_success_that_was_asked_for_is_told_on_both_sides() {
    let Some(world) = World::open("") else { return };
    let message = b"Subject: tell me\r\n\r\nHello.\r\n";
    let mark = world.house.log().mark();
    let to = "<bob@far.test> NOTIFY=SUCCESS ORCPT=rfc822;robert@far.test";
    world.submit(" RET=HDRS ENVID=QQ5678", &[to], message);
    world.arrived("bob", "tell me");
    // Postfix tells it, from far to here.
    let report = String::from_utf8_lossy(&world.delivered(mark)).into_owned();
    for part in [
        "\r\nReporting-MTA: dns; mx.far.test\r\n",
        "\r\nOriginal-Envelope-Id: QQ5678\r\n",
        "\r\nOriginal-Recipient: rfc822;robert@far.test\r\n",
        "\r\nAction: delivered\r\n",
    ] {
        assert!(report.contains(part), "{part:?} is not in\n{report}");
    }

    let to = "<ann@grace.test> NOTIFY=SUCCESS ORCPT=rfc822;anna@grace.test";
    world.submit_far(" RET=HDRS ENVID=QQ9012", &[to], message);
    let notified = world.house.log().wait(mark, "SenderNotified", |_| true);
    let report = world.postfix.wait_until(&format!("bob is told: {notified}"), || {
        let folder = world.postfix.folder().join("mail/bob/new");
        letters(&folder).into_iter().find(|letter| letter.contains("\nAction: delivered\n"))
    });
    for part in [
        "\nReporting-MTA: dns; mail.grace.test\n",
        "\nOriginal-Envelope-Id: QQ9012\n",
        "\nOriginal-Recipient: rfc822; anna@grace.test\n",
        "\nReturn-Path: <>\n",
    ] {
        assert!(format!("\n{report}").contains(part), "{part:?} is not in\n{report}");
    }
}

#[test]
fn commands_are_pipelined_both_ways() {
    let tap = std::cell::OnceCell::new();
    let way = |port| Some(tap.get_or_init(|| Tap::to(port)).port());
    let Some(world) = World::open_through("", way) else { return };
    let message = b"Subject: at once\r\n\r\nHello.\r\n";
    world.submit("", &["<bob@far.test>"], message);
    world.arrived("bob", "at once");
    let together = |said: &[String]| {
        said.iter().any(|read| {
            ["MAIL FROM:", "RCPT TO:", "DATA\r\n"].iter().all(|part| read.contains(part))
        })
    };
    let said = tap.get().map(Tap::said).unwrap_or_default();
    assert!(together(&said), "{said:#?}");

    // Postfix to Grace, through another wire, in the clear.
    let wire = Tap::to(world.house.port("Smtp"));
    let settings = far_settings(wire.port(), "smtp_tls_security_level = none\n");
    let far = Postfix::start(&settings);
    let mark = world.house.log().mark();
    let mut client = Wire::connect(far.port());
    client.check("S: 220 *\nC: EHLO client.far.test\nS: 250 *");
    send(&mut client, "<bob@far.test>", &["<ann@grace.test>"], message);
    assert!(world.delivered(mark).ends_with(b"\r\n\r\nHello.\r\n"));
    assert!(together(&wire.said()), "{:#?}", wire.said());
}
