//! What our own people send: to people here, to people elsewhere, and what each of them gets.

use gracedb::view::View as _;

use super::*;
use crate::store::outgoing::{OutgoingRecipientRow, OutgoingRow, notify};

/// EHLO and a login as anna, whose password is "correct horse".
pub(super) const LOGIN: &str = "EHLO x\r\nAUTH PLAIN AGFubmFAZ3JhY2UudGVzdABjb3JyZWN0IGhvcnNl\r\n";

/// What waits for other servers.
pub(super) fn waiting(house: &House) -> Vec<(OutgoingRow, Vec<OutgoingRecipientRow>, String)> {
    let snapshot = house.services.db.snapshot();
    let rows = snapshot.scan::<OutgoingRow>().map(Result::unwrap);
    rows.map(|row| {
        let recipients = snapshot.prefix::<OutgoingRecipientRow>(&(row.id,));
        let recipients = recipients.map(Result::unwrap).collect();
        let text = snapshot.open_large(&row.body).read_all(1 << 20).unwrap();
        (row, recipients, String::from_utf8(text).unwrap())
    })
    .collect()
}

/// What stands in the INBOX of somebody here.
pub(super) fn inbox(house: &House, name: &str) -> Vec<String> {
    let services = &house.services;
    let address = format!("{name}@grace.test").parse().unwrap();
    let Ok(Destination::Account(person)) = services.directory.resolve(&address) else {
        panic!("{name} lives here")
    };
    let row = services.mailboxes.find(person.id, "INBOX").unwrap().unwrap();
    let text = |uid| {
        let (_, mut reader) = services.mailboxes.message(row.id, uid).unwrap()?;
        Some(String::from_utf8(reader.read_all(1 << 20).unwrap()).unwrap())
    };
    (1..row.uid_next).filter_map(text).collect()
}

#[tokio::test]
async fn one_message_goes_here_and_elsewhere() {
    let house = House::open(Service::Submission).await;
    let answers = house
        .say(
            format!(
                "{LOGIN}MAIL FROM:<anna@grace.test> BODY=8BITMIME RET=FULL ENVID=QQ1\r\n\
                 RCPT TO:<bob@grace.test>\r\n\
                 RCPT TO:<carl@far.test> NOTIFY=FAILURE ORCPT=rfc822;carl+2Bx@far.test\r\n\
                 RCPT TO:<dora@[192.0.2.1]>\r\n\
                 DATA\r\nFrom: anna@grace.test\r\nSubject: hi\r\n\r\ntext\r\n.\r\nQUIT\r\n"
            )
            .as_bytes(),
        )
        .await;
    assert!(answers.contains("250 2.0.0 ok, queued as "), "{answers}");
    let waiting = waiting(&house);
    let [(row, recipients, text)] = waiting.as_slice() else { panic!("{waiting:?}") };
    assert_eq!((row.sender.as_str(), row.body_kind, row.return_full), ("anna@grace.test", 1, true));
    assert_eq!(row.envelope_id, "QQ1");
    let goes: Vec<_> = recipients
        .iter()
        .map(|row| (row.address.as_str(), row.destination.as_str(), row.notify))
        .collect();
    let by_default = notify::FAILURE | notify::DELAY;
    assert_eq!(
        goes,
        [
            ("carl@far.test", "far.test", notify::FAILURE),
            ("dora@[192.0.2.1]", "[192.0.2.1]", by_default),
        ]
    );
    assert_eq!(recipients[0].original, "rfc822;carl+2Bx@far.test");
    assert!(text.starts_with("Received: from x "), "{text}");
    for field in ["\r\nDate: ", "\r\nMessage-ID: <", "\r\nSubject: hi\r\n\r\ntext\r\n"] {
        assert!(text.contains(field), "{field:?} in {text}");
    }
    assert!(!text.contains("Return-Path:"), "{text}");
    let here = inbox(&house, "bob");
    assert_eq!(here, [format!("Return-Path: <anna@grace.test>\r\n{text}")]);
    house.close().await;
}

#[tokio::test]
async fn what_is_complete_is_left_as_it_is() {
    let house = House::open(Service::Submission).await;
    let message = "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\nFrom: anna@grace.test\r\n\
                   Message-ID: <1@x>\r\n\r\n";
    house
        .say(
            format!(
                "{LOGIN}MAIL FROM:<anna@grace.test>\r\nRCPT TO:<carl@far.test>\r\n\
                 DATA\r\n{message}.\r\nQUIT\r\n"
            )
            .as_bytes(),
        )
        .await;
    let waiting = waiting(&house);
    let (_, _, text) = &waiting[0];
    let (_, after) = text.split_once(" +0000\r\n").unwrap();
    assert_eq!(after, message);
    house.close().await;
}

#[tokio::test]
async fn who_gets_a_copy_in_secret_is_named_to_nobody() {
    let house = House::open(Service::Submission).await;
    house
        .say(
            format!(
                "{LOGIN}MAIL FROM:<anna@grace.test>\r\nRCPT TO:<carl@far.test>\r\n\
                 RCPT TO:<bob@grace.test>\r\nDATA\r\nFrom: anna@grace.test\r\n\
                 BCC: bob@grace.test,\r\n dora@far.test\r\nSubject: hi\r\n\r\nBcc: text\r\n.\r\n\
                 QUIT\r\n"
            )
            .as_bytes(),
        )
        .await;
    for text in [&waiting(&house)[0].2, &inbox(&house, "bob")[0]] {
        assert!(!text.contains("BCC") && !text.contains("dora"), "{text}");
        assert!(text.ends_with("From: anna@grace.test\r\nSubject: hi\r\n\r\nBcc: text\r\n"));
    }
    house.close().await;
}

#[tokio::test]
async fn a_held_message_waits_for_its_time() {
    let house = House::open(Service::Submission).await;
    let began_ms = now_ms();
    house
        .say(
            format!(
                "{LOGIN}MAIL FROM:<anna@grace.test> HOLDFOR=3600\r\nRCPT TO:<carl@far.test>\r\n\
                 DATA\r\nFrom: anna@grace.test\r\n\r\n.\r\nQUIT\r\n"
            )
            .as_bytes(),
        )
        .await;
    let waiting = waiting(&house);
    let due_ms = waiting[0].1[0].due_ms;
    assert!((3_599_000..3_700_000).contains(&(due_ms - began_ms)), "{due_ms} after {began_ms}");
    house.close().await;
}

#[tokio::test]
async fn what_goes_in_circles_is_refused() {
    let house = House::open(Service::Smtp).await;
    let hops = "Received: from a by b; Thu, 1 Jan 1970 00:00:00 +0000\r\n";
    let message = |count| {
        format!(
            "EHLO x\r\nMAIL FROM:<c@x.example>\r\nRCPT TO:<anna@grace.test>\r\n\
             DATA\r\n{}Subject: x\r\n\r\n.\r\nQUIT\r\n",
            hops.repeat(count)
        )
    };
    let answers = house.say(message(50).as_bytes()).await;
    assert!(answers.contains("250 2.0.0 ok, queued as "), "{answers}");
    let answers = house.say(message(51).as_bytes()).await;
    assert!(answers.contains("554 5.4.6 the message has passed 51 servers"), "{answers}");
    house.close().await;
}

#[tokio::test]
async fn strangers_relay_nothing() {
    let house = House::open(Service::Smtp).await;
    let answers = house
        .say(b"EHLO x\r\nMAIL FROM:<c@x.example>\r\nRCPT TO:<carl@far.test>\r\nQUIT\r\n")
        .await;
    assert!(answers.contains("550 5.7.1 <carl@far.test>: relaying denied"), "{answers}");
    assert!(waiting(&house).is_empty());
    house.close().await;
}
