//! Notifications of mail that was sent on for somebody here, and of that which goes to them.

use super::*;
use crate::outgoing::Success;

/// The address that stands for carl in what is sent on from here.
async fn rewritten(house: &House) -> String {
    let carl = Mailbox::parse("carl@far.test", Charset::Ascii).unwrap();
    let ours = "grace.test".parse().unwrap();
    let rewritten = house.services.directory.rewritten(&carl, &ours).await.unwrap();
    assert!(rewritten.to_string().starts_with("SRS0="), "{rewritten}");
    rewritten.to_string()
}

#[tokio::test]
async fn a_rewritten_sender_is_told_where_he_is() {
    let (peer, port) = Peer::open("127.0.0.1", 0, Manners::Good).await;
    let mut house = House::open(far(), port, |_| {}).await;
    house.send();
    let sender = rewritten(&house).await;
    house.take(&sender, &["no@far.test"], LETTER).await;
    house.sent(1).await;
    let letters = peer.taken().letters;
    assert!(letters[0].starts_with("MAIL FROM:<> SIZE="), "{letters:?}");
    assert!(letters[0].contains("RCPT TO:<carl@far.test>\r\n"), "{letters:?}");
    assert!(!letters[0].contains("Return-Path:"), "{letters:?}");
    house.close().await;
}

#[tokio::test]
async fn who_may_be_another_is_not_told_but_the_postmaster_is() {
    let (_peer, port) = Peer::open("127.0.0.1", 0, Manners::Good).await;
    let mut house = House::open(far(), port, |_| {}).await;
    house.send();
    let sender = rewritten(&house).await;
    let unknown = |onward: &mut Onward| {
        onward.recipients.iter_mut().for_each(|row| row.notify |= notify::POSTMASTER);
    };
    house.take_with(&sender, &["no@far.test"], LETTER, unknown).await;
    let letter = house.letter("postmaster@grace.test").await;
    assert!(letter.contains("Final-Recipient: rfc822; no@far.test\r\n"), "{letter}");
    assert!(house.waiting().is_empty());
    house.close().await;
}

#[tokio::test]
async fn notifications_go_where_the_mail_of_their_reader_goes() {
    let (peer, port) = Peer::open("127.0.0.1", 0, Manners::Good).await;
    let mut house = House::open(far(), port, |_| {}).await;
    house.send();
    let targets = ["anna@far.test".to_owned()];
    let directory = &house.services.directory;
    directory.set_forward("anna@grace.test", &targets, true, "test").await.unwrap();
    house.take("anna@grace.test", &["no@far.test"], LETTER).await;
    let kept = house.letter("anna@grace.test").await;
    assert!(kept.starts_with("Return-Path: <>\r\n"), "{kept}");
    house.sent(1).await;
    let letters = peer.taken().letters;
    assert!(letters[0].contains("RCPT TO:<anna@far.test>\r\n"), "{letters:?}");
    assert!(!letters[0].contains("Return-Path:"), "{letters:?}");
    house.close().await;
}

#[tokio::test]
async fn who_asks_hears_that_it_went_on_to_several() {
    let (_peer, port) = Peer::open("127.0.0.1", 0, Manners::Silent).await;
    let mut house = House::open(far(), port, |_| {}).await;
    let ask = |onward: &mut Onward| {
        onward.recipients.iter_mut().for_each(|row| row.notify = notify::SUCCESS);
    };
    let id = house.take_with("anna@grace.test", &["all@grace.test"], LETTER, ask).await;
    let snapshot = house.services.db.snapshot();
    let message = snapshot.get::<OutgoingRow>(&id).unwrap().unwrap();
    let recipients = snapshot.prefix::<store::outgoing::OutgoingRecipientRow>(&(id,));
    let recipients = recipients.map(Result::unwrap).collect();
    let told = Onward { message, recipients, deliver_by: None };
    house.services.outgoing.succeeded(Success::Expanded, told).await;
    house.send();
    let letter = house.letter("anna@grace.test").await;
    assert!(letter.contains("Action: expanded\r\n"), "{letter}");
    house.close().await;
}
