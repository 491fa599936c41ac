//! Mail that goes on to people elsewhere: in whose name, with what on top, to whom once, and what
//! comes back.

use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator};

use super::senders::{house, mailbox, session};
use super::submissions::{LOGIN, inbox, waiting};
use super::*;
use crate::authenticity::Facts;
use crate::directory::Refusal;
use crate::dns::testing::{Server, Zone};
use crate::outgoing::Success;
use crate::store::accounts::Account;
use crate::store::forwards::ForwardRow;
use crate::store::outgoing::notify;

/// Somebody whose server we are, as far as SPF knows.
const CARL: &str = "carl@x.example";
const LETTER: &str = "From: carl@x.example\r\nSubject: hi\r\n\r\ntext\r\n";

fn zone() -> Zone {
    Zone::default().txt("x.example", "v=spf1 ip4:127.0.0.1 -all")
}

fn addresses(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

async fn forward(house: &House, account: &str, targets: &[&str], keeps: bool) {
    let directory = &house.services.directory;
    directory.set_forward(account, &addresses(targets), keeps, "test").await.unwrap();
}

async fn alias(house: &House, address: &str, targets: &[&str]) {
    let directory = &house.services.directory;
    directory.set_alias_targets(address, &addresses(targets), "test").await.unwrap();
}

/// A session with a message of this sender for these recipients.
fn letter(sender: &str, recipients: &[&str], text: &str) -> Vec<u8> {
    let lines: String = recipients.iter().map(|to| format!("RCPT TO:<{to}>\r\n")).collect();
    format!("EHLO x.example\r\nMAIL FROM:<{sender}>\r\n{lines}DATA\r\n{text}.\r\nQUIT\r\n").into()
}

/// Whom the rows are for, with their senders.
fn goes(house: &House) -> Vec<(String, String)> {
    let rows = waiting(house).into_iter().flat_map(|(message, recipients, _)| {
        let sender = message.sender;
        recipients.into_iter().map(move |row| (sender.clone(), row.address))
    });
    rows.collect()
}

fn text_of(found: &[String]) -> &str {
    let [text] = found else { panic!("one message: {found:?}") };
    text
}

#[tokio::test]
async fn a_message_goes_on_in_our_name_and_its_bounce_comes_back() {
    let (house, _dns) = house(zone()).await;
    forward(&house, "anna@grace.test", &["anna@far.test"], false).await;
    let answers = house.say(&session(CARL, LETTER)).await;
    assert!(answers.contains("250 2.0.0 ok, queued as"), "{answers}");
    assert_eq!(mailbox(&house, "INBOX"), [""; 0]);
    let rows = waiting(&house);
    let [(message, recipients, text)] = rows.as_slice() else { panic!("{rows:?}") };
    let sender = message.sender.clone();
    assert!(sender.starts_with("SRS0="), "{sender}");
    assert!(sender.ends_with("=x.example=carl@grace.test"), "{sender}");
    let row = &recipients[0];
    assert_eq!((row.address.as_str(), row.destination.as_str()), ("anna@far.test", "far.test"));
    assert_eq!(row.notify, notify::FAILURE | notify::DELAY);
    assert_eq!(row.original, "rfc822;anna@grace.test");
    assert!(text.starts_with("Delivered-To: anna@grace.test\r\nAuthentication-Results:"), "{text}");
    assert!(text.ends_with(&format!("+0000\r\n{LETTER}")), "{text}");
    assert!(!text.contains("Return-Path"), "{text}");

    // A server that refuses it late writes to that address, and carl hears of it.
    let notice = "Subject: failed\r\n\r\nno\r\n";
    let answers = house.say(&letter("", &[&sender.to_lowercase()], notice)).await;
    assert!(answers.contains("250 2.0.0 ok, queued as"), "{answers}");
    assert_eq!(goes(&house)[1], (String::new(), CARL.to_owned()));
    // Nobody else writes there, nor to what we did not write.
    let answers = house.say(&letter("a@b.example", &[&sender], notice)).await;
    assert!(answers.contains("550 5.7.1") && answers.contains("notifications alone"), "{answers}");
    let forged = sender.replace("=carl", "=dora");
    let answers = house.say(&letter("", &[&forged, "SRS0=a=b=c=d@grace.test"], notice)).await;
    assert_eq!(answers.matches("550 5.1.1 no mailbox").count(), 2, "{answers}");
    assert_eq!(waiting(&house).len(), 2);
    house.close().await;
}

#[tokio::test]
async fn what_goes_on_is_sealed() {
    let (house, _dns) = house(zone()).await;
    let signing = &house.services.signing;
    signing.create("grace.test", "test").await.unwrap();
    signing.activate("grace.test", true, "test").await.unwrap();
    let keys = signing.records("grace.test").unwrap();
    forward(&house, "anna@grace.test", &["anna@far.test"], true).await;
    house.say(&session(CARL, LETTER)).await;
    let rows = waiting(&house);
    let text = &rows[0].2;
    assert!(text.starts_with("ARC-Seal: a=rsa-sha256;"), "{text}");
    assert!(text.contains("\r\nARC-Authentication-Results: i=1; mail.grace.test;"), "{text}");

    // By the library, and by our own eyes.
    let zone = keys.iter().fold(zone(), |zone, record| zone.txt(&record.name, &record.text));
    let names = Server::start(zone).await;
    let library = MessageAuthenticator(names.resolver().hickory().clone());
    let read = AuthenticatedMessage::parse(text.as_bytes()).unwrap();
    assert_eq!(*library.verify_arc(&read).await.result(), DkimResult::Pass);
    let settings = limits::Authenticity {
        arc_trusted: vec!["grace.test".parse().unwrap()],
        ..limits::Authenticity::default()
    };
    let checker = Authenticity::new(&settings, "mx.far.test", &names.resolver());
    let end = text.find("\r\n\r\n").unwrap() + 4;
    let (header, body) = text.as_bytes().split_at(end);
    let facts = Facts {
        peer: "192.0.2.1".parse().unwrap(),
        helo: "mail.grace.test".to_owned(),
        sender: rows[0].0.sender.clone(),
    };
    let mut check = checker.begin(facts, header);
    check.feed(body);
    let verdict = check.finish(header).await;
    assert_eq!(verdict.arc.found.outcome, Outcome::Pass, "{:?}", verdict.arc);
    assert_eq!(verdict.arc.sealers, ["grace.test"]);
    house.close().await;
}

#[tokio::test]
async fn a_copy_is_kept_and_nobody_hears_of_the_other() {
    let (house, _dns) = house(zone()).await;
    forward(&house, "anna@grace.test", &["anna@far.test", "a@near.test"], true).await;
    house.say(&session(CARL, LETTER)).await;
    let kept = mailbox(&house, "INBOX");
    let kept = text_of(&kept);
    assert!(kept.starts_with("Return-Path: <carl@x.example>\r\nAuthentication-"), "{kept}");
    assert!(kept.ends_with(LETTER) && !kept.contains("Delivered-To"), "{kept}");
    let rows = waiting(&house);
    let [(_, recipients, _)] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!(recipients.iter().map(|row| row.notify).collect::<Vec<_>>(), [0, 0]);
    house.services.directory.delete_forward("anna@grace.test", "test").await.unwrap();
    house.say(&session(CARL, LETTER)).await;
    assert_eq!((mailbox(&house, "INBOX").len(), waiting(&house).len()), (2, 1));
    house.close().await;
}

#[tokio::test]
async fn a_group_reaches_everybody_once() {
    let (house, _dns) = house(zone()).await;
    alias(&house, "team@grace.test", &["anna@grace.test", "Carl@far.test", "dora@far.test"]).await;
    let all = ["bob@grace.test", "team@grace.test", "anna@grace.test", "Carl@far.test"];
    alias(&house, "all@grace.test", &all).await;
    forward(&house, "bob@grace.test", &["team@grace.test"], true).await;
    let to = ["all@grace.test", "anna@grace.test", "team@grace.test", "all+x@grace.test"];
    let answers = house.say(&letter(CARL, &to, LETTER)).await;
    assert!(answers.contains("250 2.0.0 ok, queued as"), "{answers}");
    assert_eq!((inbox(&house, "anna").len(), inbox(&house, "bob").len()), (1, 1));
    let mut people: Vec<String> = goes(&house).into_iter().map(|(_, to)| to).collect();
    people.sort();
    assert_eq!(people, ["Carl@far.test", "dora@far.test"]);
    house.close().await;
}

#[tokio::test]
async fn who_is_named_himself_gets_it_as_himself() {
    let house = House::open(Service::Submission).await;
    alias(&house, "all@grace.test", &["bob@grace.test", "carl@far.test", "dora@far.test"]).await;
    house
        .say(
            format!(
                "{LOGIN}MAIL FROM:<anna@grace.test>\r\nRCPT TO:<all@grace.test>\r\n\
                 RCPT TO:<carl@far.test>\r\nDATA\r\nFrom: anna@grace.test\r\n\r\nhi\r\n.\r\n\
                 QUIT\r\n"
            )
            .as_bytes(),
        )
        .await;
    // Our own people's domain knows us: the sender stays.
    let anna = || "anna@grace.test".to_owned();
    let expected = [(anna(), "carl@far.test".to_owned()), (anna(), "dora@far.test".to_owned())];
    assert_eq!(goes(&house), expected);
    let rows = waiting(&house);
    assert!(!rows[0].2.contains("Delivered-To"), "{}", rows[0].2);
    assert!(rows[1].2.starts_with("Delivered-To: all@grace.test\r\n"), "{}", rows[1].2);
    assert_eq!(inbox(&house, "bob").len(), 1);
    house.close().await;
}

#[tokio::test]
async fn doubtful_mail_stays_here_or_is_refused() {
    let zone = Zone::default().txt("_dmarc.wary.example", "v=DMARC1; p=quarantine");
    let (house, _dns) = house(zone).await;
    forward(&house, "anna@grace.test", &["anna@far.test"], false).await;
    alias(&house, "out@grace.test", &["dora@far.test"]).await;
    let doubtful = "From: ceo@wary.example\r\n\r\nhi\r\n";
    let answers = house.say(&session("a@b.example", doubtful)).await;
    assert!(answers.contains("250 2.0.0 ok, queued as"), "{answers}");
    assert_eq!((mailbox(&house, "Junk").len(), mailbox(&house, "INBOX").len()), (1, 0));
    let answers = house.say(&letter("a@b.example", &["out@grace.test"], doubtful)).await;
    assert!(answers.contains("550 5.7.1 <out@grace.test> takes no mail that"), "{answers}");
    assert!(waiting(&house).is_empty());
    house.close().await;
}

#[tokio::test]
async fn what_was_sent_on_before_does_not_go_again() {
    let (house, _dns) = house(zone()).await;
    forward(&house, "anna@grace.test", &["anna@far.test"], true).await;
    for trace in ["anna@grace.test", "<Anna@Grace.Test>"] {
        let returned = format!("Delivered-To: {trace}\r\n{LETTER}");
        let answers = house.say(&session(CARL, &returned)).await;
        assert!(answers.contains("554 5.4.6 the message was sent on from <anna@"), "{answers}");
    }
    let from_elsewhere = format!("Delivered-To: anna@far.test\r\n{LETTER}");
    let answers = house.say(&session(CARL, &from_elsewhere)).await;
    assert!(answers.contains("250 2.0.0 ok, queued as"), "{answers}");
    house.close().await;
}

#[tokio::test]
async fn a_sender_who_may_be_another_is_not_written_to() {
    let (house, _dns) = house(Zone::default()).await;
    alias(&house, "out@grace.test", &["dora@far.test"]).await;
    forward(&house, "bob@grace.test", &["bob@far.test"], true).await;
    let to = ["out@grace.test", "bob@grace.test"];
    house.say(&letter(CARL, &to, LETTER)).await;
    let rows = waiting(&house);
    let mut notify: Vec<(&str, u8)> = rows
        .iter()
        .flat_map(|(_, recipients, _)| recipients)
        .map(|row| (row.address.as_str(), row.notify))
        .collect();
    notify.sort_unstable();
    let to_postmaster = notify::FAILURE | notify::DELAY | notify::POSTMASTER;
    assert_eq!(notify, [("bob@far.test", 0), ("dora@far.test", to_postmaster)]);
    house.close().await;
}

#[tokio::test]
async fn a_full_queue_takes_nothing_that_goes_on() {
    let (house, _dns) = house(zone()).await;
    forward(&house, "anna@grace.test", &["anna@far.test"], true).await;
    house.services.outgoing.set_waiting(u64::MAX);
    let answers = house.say(&letter(CARL, &["anna@grace.test", "bob@grace.test"], LETTER)).await;
    assert!(answers.contains("452 4.3.1 too much mail waits"), "{answers}");
    assert!(answers.contains("250 2.0.0 ok, queued as"), "bob's stays here: {answers}");
    house.close().await;
}

#[tokio::test]
async fn circles_are_not_set_and_end_where_they_are() {
    let house = House::open(Service::Smtp).await;
    let directory = &house.services.directory;
    let set = async |account: &str, to: &str| {
        directory.set_forward(account, &addresses(&[to]), false, "test").await
    };
    let invalid = |done: Result<(), Refusal>| match done {
        Err(Refusal::Invalid(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(invalid(set("anna@grace.test", "anna@grace.test").await).contains("back to itself"));
    set("anna@grace.test", "bob@grace.test").await.unwrap();
    assert!(invalid(set("bob@grace.test", "anna@grace.test").await).contains("back to itself"));
    alias(&house, "a@grace.test", &["bob@grace.test"]).await;
    alias(&house, "b@grace.test", &["a@grace.test"]).await;
    let below = addresses(&["b@grace.test"]);
    let circle = directory.set_alias_targets("a@grace.test", &below, "test");
    assert!(invalid(circle.await).contains("back to itself"));
    assert!(invalid(set("bob@grace.test", "b@grace.test").await).contains("back to itself"));
    assert!(matches!(set("bob@grace.test", "x@grace.test").await, Err(Refusal::Missing(_))));
    assert!(matches!(set("bob@grace.test", "nonsense").await, Err(Refusal::Invalid(_))));
    assert!(matches!(set("x@grace.test", "a@far.test").await, Err(Refusal::Missing(_))));
    let wrong = directory.set_alias_targets("c@grace.test", &[], "test");
    assert!(matches!(wrong.await, Err(Refusal::Invalid(_))));

    // As a database of another time may hold it.
    let bob = "bob@grace.test".parse().unwrap();
    let Ok(Destination::Account(bob)) = directory.resolve(&bob) else { panic!("bob lives here") };
    let row = ForwardRow {
        account: bob.id,
        targets: addresses(&["anna@grace.test"]),
        keeps: false,
        created_us: 0,
    };
    house.services.db.write(|tx| tx.put(&row)).unwrap().await.unwrap();
    let to = ["anna@grace.test", "a@grace.test"];
    let answers = house.say(&letter(CARL, &to, LETTER)).await;
    assert!(answers.contains("250 2.0.0 ok, queued as"), "{answers}");
    let kept = inbox(&house, "anna").len() + inbox(&house, "bob").len();
    assert_eq!(kept, 1, "it is kept once, by who comes last");
    house.close().await;
}

#[tokio::test]
async fn ways_are_bounded_and_forgotten_with_their_owners() {
    let house = House::open(Service::Smtp).await;
    let directory = &house.services.directory;
    alias(&house, "a0@grace.test", &["bob@grace.test"]).await;
    let mut refused = None;
    for depth in 1..20 {
        let address = format!("a{depth}@grace.test");
        let below = addresses(&[&format!("a{}@grace.test", depth - 1)]);
        if let Err(refusal) = directory.set_alias_targets(&address, &below, "test").await {
            refused = Some((depth, refusal.to_string()));
            break;
        }
    }
    let (depth, why) = refused.expect("there is an end");
    assert!(depth > 5 && why.contains("through too many others"), "{depth}: {why}");
    // Whose target is gone keeps what comes; an alias of which nothing is left is none.
    forward(&house, "bob@grace.test", &["anna@grace.test"], false).await;
    alias(&house, "c@grace.test", &["a0@grace.test"]).await;
    directory.delete_alias("a0@grace.test", "test").await.unwrap();
    directory.delete_account("anna@grace.test", "test").await.unwrap();
    let answers = house.say(&letter(CARL, &["bob@grace.test", "c@grace.test"], LETTER)).await;
    assert!(answers.contains("550 5.1.1 no mailbox <c@grace.test>"), "{answers}");
    assert_eq!(inbox(&house, "bob").len(), 1);
    directory.delete_account("bob@grace.test", "test").await.unwrap();
    let snapshot = house.services.db.snapshot();
    assert_eq!(gracedb::view::View::scan::<ForwardRow>(&snapshot).count(), 0);
    assert_eq!(gracedb::view::View::scan::<Account>(&snapshot).count(), 1);
    house.close().await;
}

#[tokio::test]
async fn success_is_told_as_it_went() {
    let folder = TempDir::new().unwrap();
    let (services, mut orders) = with_orders(folder.path());
    let house = House::of(Service::Submission, folder, services).await.with_people().await;
    alias(&house, "one@grace.test", &["carl@far.test"]).await;
    alias(&house, "two@grace.test", &["dora@far.test", "anna@grace.test"]).await;
    let to = |name: &str| format!("RCPT TO:<{name}@grace.test> NOTIFY=SUCCESS\r\n");
    let answers = house
        .say(
            format!(
                "{LOGIN}MAIL FROM:<anna@grace.test>\r\n{}{}{}RCPT TO:<postmaster@grace.test>\r\n\
                 DATA\r\nFrom: anna@grace.test\r\n\r\nhi\r\n.\r\nQUIT\r\n",
                to("bob"),
                to("one"),
                to("two")
            )
            .as_bytes(),
        )
        .await;
    assert!(answers.contains("250 2.0.0 ok, queued as"), "{answers}");
    let mut told = Vec::new();
    while let Ok(order) = orders.try_recv() {
        if let Order::Succeeded(success, message) = order {
            let names = message.recipients.into_iter().map(|row| row.address);
            told.push((success, names.collect::<Vec<_>>()));
        }
    }
    let names = |name: &str| vec![name.to_owned()];
    let expected =
        [(Success::Arrived, names("bob@grace.test")), (Success::Expanded, names("two@grace.test"))];
    assert_eq!(told, expected);
    // Where one takes the place of another, success is told of there; of several, here alone.
    let rows = waiting(&house);
    let notify: Vec<(&str, u8)> = rows
        .iter()
        .flat_map(|(_, recipients, _)| recipients)
        .map(|row| (row.address.as_str(), row.notify))
        .collect();
    assert_eq!(notify, [("carl@far.test", notify::SUCCESS), ("dora@far.test", 0)]);
    house.close().await;
}

#[tokio::test]
async fn a_message_has_so_many_copies_at_most() {
    let house = House::open(Service::Smtp).await;
    let group = |number: u64| -> Vec<String> {
        (0..999).map(|person| format!("p{person}@g{number}.test")).collect()
    };
    let directory = &house.services.directory;
    for number in 0..2 {
        let address = format!("g{number}@grace.test");
        directory.set_alias_targets(&address, &group(number), "test").await.unwrap();
    }
    alias(&house, "g2@grace.test", &["anna@grace.test", "bob@grace.test"]).await;
    let all = addresses(&["g0@grace.test", "g1@grace.test", "g2@grace.test"]);
    directory.set_alias_targets("fit@grace.test", &all, "test").await.unwrap();
    let more = [all, addresses(&["postmaster@grace.test"])].concat();
    let refused = directory.set_alias_targets("all@grace.test", &more, "test").await;
    assert!(refused.unwrap_err().to_string().contains("too many people"));
    let to = ["fit@grace.test", "postmaster@grace.test"];
    let answers = house.say(&letter(CARL, &to, LETTER)).await;
    assert!(answers.contains("452 4.2.2 the message would go to too many people"), "{answers}");
    let answers = house.say(&letter(CARL, &to[..1], LETTER)).await;
    assert!(answers.contains("250 2.0.0 ok, queued as"), "{answers}");
    assert_eq!(waiting(&house).iter().map(|row| row.1.len()).sum::<usize>(), 1_998);
    house.close().await;
}
