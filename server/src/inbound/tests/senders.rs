//! Senders are checked on their way in: what is written on top, what is put aside, what is refused,
//! and that what is stored is what came.

use grace_mail::address::Mailbox as Address;
use grace_smtp::parameters::MailParameters;
use grace_smtp::path::ReversePath;

use super::super::incoming::Incoming;
use super::*;
use crate::dns::testing::{Server, Zone};

/// A server that checks its peers on loopback too, and the names it may ask for.
pub(super) async fn house(zone: Zone) -> (House, Server) {
    house_at(Service::Smtp, zone).await
}

async fn house_at(service: Service, zone: Zone) -> (House, Server) {
    let dns = Server::start(zone).await;
    let folder = TempDir::new().unwrap();
    let mut services = services(folder.path());
    let settings =
        limits::Authenticity { unchecked_networks: Vec::new(), ..limits::Authenticity::default() };
    services.dns = dns.resolver();
    services.authenticity = Authenticity::new(&settings, "mail.grace.test", &services.dns);
    (House::of(service, folder, services).await.with_people().await, dns)
}

/// What a mailbox of anna holds, in the order of its UIDs.
pub(super) fn mailbox(house: &House, name: &str) -> Vec<String> {
    let services = &house.services;
    let anna: Address = "anna@grace.test".parse().unwrap();
    let Ok(Destination::Account(anna)) = services.directory.resolve(&anna) else {
        panic!("anna lives here")
    };
    let row = services.mailboxes.find(anna.id, name).unwrap().unwrap();
    let text = |uid| {
        let (_, mut reader) = services.mailboxes.message(row.id, uid).unwrap()?;
        Some(String::from_utf8(reader.read_all(1 << 20).unwrap()).unwrap())
    };
    (1..row.uid_next).filter_map(text).collect()
}

pub(super) fn session(sender: &str, message: &str) -> Vec<u8> {
    format!(
        "EHLO client.example\r\nMAIL FROM:<{sender}>\r\nRCPT TO:<anna@grace.test>\r\nDATA\r\n\
         {message}.\r\nQUIT\r\n"
    )
    .into_bytes()
}

async fn event(house: &House) -> EventKind {
    house.event(|event| matches!(event, EventKind::SenderChecked { .. })).await
}

#[tokio::test]
async fn results_stand_on_top_and_forged_ones_are_gone() {
    let zone = Zone::default().txt("x.example", "v=spf1 ip4:127.0.0.1 -all");
    let (house, _dns) = house(zone).await;
    let message = "Authentication-Results: Mail.Grace.Test; dmarc=pass header.from=bank.example\r\n\
                   Subject: hi\r\nauthentication-results: other.example; spf=fail\r\n\
                   From: carl@x.example\r\n\r\nThe body.\r\n\r\nFrom: none\r\n";
    let answers = house.say(&session("carl@x.example", message)).await;
    assert!(answers.contains("250 2.0.0 ok, queued as"), "{answers}");
    let found = mailbox(&house, "INBOX");
    let [stored] = found.as_slice() else { panic!("{found:?}") };
    let top = "Return-Path: <carl@x.example>\r\nAuthentication-Results: mail.grace.test;\r\n";
    assert!(stored.starts_with(top), "{stored}");
    assert!(stored.contains("\tspf=pass\r\n\t  smtp.mailfrom=x.example;\r\n"), "{stored}");
    assert!(stored.contains("\r\nReceived: from client.example"), "{stored}");
    assert!(stored.ends_with(
        "+0000\r\nSubject: hi\r\nauthentication-results: other.example; spf=fail\r\n\
         From: carl@x.example\r\n\r\nThe body.\r\n\r\nFrom: none\r\n"
    ));
    let EventKind::SenderChecked { peer, sender, author, spf, dkim, consequence, .. } =
        event(&house).await
    else {
        unreachable!("it was just matched")
    };
    assert!(peer.ip().is_loopback());
    let found = [sender, author, spf, dkim, consequence];
    assert_eq!(found, ["carl@x.example", "x.example", "pass", "none", "accepted"]);
    house.close().await;
}

#[tokio::test]
async fn an_author_s_domain_is_obeyed() {
    let zone = Zone::default()
        .txt("_dmarc.strict.example", "v=DMARC1; p=reject")
        .txt("_dmarc.wary.example", "v=DMARC1; p=quarantine");
    let (house, _dns) = house(zone).await;
    let letter = |from: &str| session("a@b.example", &format!("From: {from}\r\n\r\nhi\r\n"));
    let answers = house.say(&letter("ceo@strict.example")).await;
    assert!(answers.contains("550 5.7.1 strict.example does not allow this mail"), "{answers}");
    let refused = house.event(|event| matches!(event, EventKind::MessageRefused { .. })).await;
    assert!(refused.to_string().contains("550 5.7.1 strict.example"), "{refused}");
    let answers = house.say(&letter("ceo@wary.example")).await;
    assert!(answers.contains("250 2.0.0 ok, queued as"), "{answers}");
    assert_eq!(mailbox(&house, "INBOX"), [""; 0]);
    let aside = mailbox(&house, "Junk");
    assert!(aside.len() == 1 && aside[0].contains("From: ceo@wary.example"), "{aside:?}");
    house.close().await;
}

#[tokio::test]
async fn mail_waits_for_a_broken_dns() {
    use hickory_resolver::proto::rr::RecordType;
    let zone = Zone::default().broken("_dmarc.x.example", RecordType::TXT);
    let (house, _dns) = house(zone).await;
    let answers = house.say(&session("a@x.example", "From: a@x.example\r\n\r\nhi\r\n")).await;
    assert!(answers.contains("451 4.7.5 cannot check x.example now"), "{answers}");
    assert_eq!(mailbox(&house, "INBOX"), [""; 0]);
    house.close().await;
}

#[tokio::test]
async fn people_who_logged_in_are_not_checked() {
    let (house, dns) = house_at(Service::Submission, Zone::default()).await;
    // "\0anna@grace.test\0correct horse"
    let answers = house
        .say(
            b"EHLO x\r\nAUTH PLAIN AGFubmFAZ3JhY2UudGVzdABjb3JyZWN0IGhvcnNl\r\n\
              MAIL FROM:<anna@grace.test>\r\nRCPT TO:<anna@grace.test>\r\nDATA\r\n\
              From: anna@grace.test\r\n\r\nto myself\r\n.\r\nQUIT\r\n",
        )
        .await;
    assert!(answers.contains("250 2.0.0 ok, queued as"), "{answers}");
    let found = mailbox(&house, "INBOX");
    assert!(found.len() == 1 && !found[0].contains("Authentication-Results"), "{found:?}");
    assert_eq!(dns.asked.udp.load(std::sync::atomic::Ordering::SeqCst), 0, "{:?}", dns.asked);
    house.close().await;
}

#[tokio::test]
async fn messages_of_any_shape_are_stored_as_they_came() {
    let (house, _dns) = house(Zone::default()).await;
    let shapes = [
        "\r\nno header\r\n",
        "Subject: no body\r\n",
        "Subject: no body\r\n\r\n",
        "no field and no body\r\n",
        "Subject: a\r\n b\r\n\tc\r\nno field\r\n\r\n\r\nbody\r\n\r\n",
        "",
    ];
    for message in shapes {
        let answers = house.say(&session("", message)).await;
        assert!(answers.contains("250 2.0.0 ok, queued as"), "{message:?}: {answers}");
    }
    let found = mailbox(&house, "INBOX");
    assert_eq!(found.len(), shapes.len());
    for (message, stored) in shapes.into_iter().zip(&found) {
        assert!(stored.ends_with(&format!("+0000\r\n{message}")), "{message:?}: {stored:?}");
    }
    house.close().await;
}

#[tokio::test]
async fn a_header_without_end_is_refused() {
    let (house, _dns) = house(Zone::default()).await;
    let endless = "X: 0123456789\r\n".repeat(40_000);
    let answers = house.say(&session("", &endless)).await;
    assert!(answers.contains("552 5.3.4 the header is larger than 524288 bytes"), "{answers}");
    assert!(answers.ends_with("221 2.0.0 goodbye\r\n"), "{answers}");
    assert_eq!(mailbox(&house, "INBOX"), [""; 0]);
    house.close().await;
}

/// A message cut into pieces anywhere is the same message.
#[tokio::test]
async fn pieces_do_not_matter() {
    let (house, _dns) = house(Zone::default()).await;
    let message = b"From: a@x.example\r\nSubject: s\r\n\r\nbody\r\n\r\nmore\r\n";
    let head = message.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    for size in 1..=message.len() {
        let envelope = Envelope {
            sender: ReversePath::Null,
            parameters: MailParameters::default(),
            recipients: Vec::new(),
        };
        let lines =
            Lines { return_path: String::new(), received: String::new(), results: Vec::new() };
        let upload = house.services.mailboxes.upload();
        let mut incoming = Incoming::new("q".to_owned(), envelope, lines, upload, 1_000);
        for piece in message.chunks(size) {
            incoming.take(piece).await.unwrap();
        }
        let received = incoming.end(TraceId(1), house.address);
        assert_eq!(received.header, &message[..head], "pieces of {size}");
        assert_eq!(received.body.size(), (message.len() - head) as u64, "pieces of {size}");
    }
    house.close().await;
}
