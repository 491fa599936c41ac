//! Strangers at the door: lists, names, greylisting, limits, relays and proxies, over real sockets.
//!
//! Peers come from 127.0.0.2 and its neighbours; here only 127.0.0.1 is trusted.

use gracedb::view::View as _;
use tokio::net::TcpSocket;

use super::*;
use crate::config::limits::DoorRules;
use crate::dns::testing::{Server, Zone};
use crate::store::outgoing::{OutgoingRecipientRow, OutgoingRow};

fn rules() -> DoorRules {
    DoorRules { trusted_networks: vec!["127.0.0.1".parse().unwrap()], ..DoorRules::default() }
}

/// A server by these rules, and the names it may ask for.
async fn house(service: Service, rules: DoorRules, zone: Zone) -> (House, Server) {
    house_behind(service, rules, zone, &[]).await
}

async fn house_behind(
    service: Service,
    rules: DoorRules,
    zone: Zone,
    proxies: &[&str],
) -> (House, Server) {
    let dns = Server::start(zone).await;
    let folder = TempDir::new().unwrap();
    let authenticity =
        limits::Authenticity { unchecked_networks: Vec::new(), ..limits::Authenticity::default() };
    let config = Config {
        door: rules,
        dns: dns.settings(),
        authenticity,
        proxies: proxies.iter().map(|network| network.parse().unwrap()).collect(),
        ..config(folder.path())
    };
    let services = services_of(config);
    (House::of(service, folder, services).await.with_people().await, dns)
}

async fn connect(house: &House, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    socket.connect(house.address).await.unwrap()
}

/// Sends all of `text` from an address of this machine, and returns what is answered.
async fn say(house: &House, from: &str, text: &str) -> String {
    let mut peer = connect(house, from).await;
    peer.write_all(text.as_bytes()).await.unwrap();
    peer.shutdown().await.unwrap();
    hear(&mut peer).await
}

fn mail(sender: &str, recipients: &[&str]) -> String {
    let mut text = format!("EHLO client.example\r\nMAIL FROM:<{sender}>\r\n");
    for recipient in recipients {
        text += &format!("RCPT TO:<{recipient}>\r\n");
    }
    text + "DATA\r\nFrom: c@x.example\r\nSubject: hi\r\n\r\ntext\r\n.\r\nQUIT\r\n"
}

/// Replies with 4xx and 5xx, in order.
fn refusals(answers: &str) -> Vec<&str> {
    answers.lines().filter(|line| line.starts_with(['4', '5'])).collect()
}

async fn refused(house: &House, rule: &str) -> (String, u64) {
    let event = house
        .event(|event| matches!(event, EventKind::DoorRefused { rule: found, .. } if found == rule))
        .await;
    let EventKind::DoorRefused { command, count, .. } = event else { unreachable!() };
    (command, count)
}

/// What stands in the INBOX of anna.
fn inbox(house: &House) -> Vec<String> {
    let services = &house.services;
    let Ok(Destination::Account(anna)) =
        services.directory.resolve(&"anna@grace.test".parse().unwrap())
    else {
        panic!("anna lives here")
    };
    let row = services.mailboxes.find(anna.id, "INBOX").unwrap().unwrap();
    let text = |uid| {
        let (_, mut reader) = services.mailboxes.message(row.id, uid).unwrap()?;
        Some(String::from_utf8(reader.read_all(1 << 20).unwrap()).unwrap())
    };
    (1..row.uid_next).filter_map(text).collect()
}

fn listing_zone() -> Zone {
    Zone::default()
        .a("2.0.0.127.bl.example", "127.0.0.4")
        .txt("2.0.0.127.bl.example", "spam seen, see https://bl.example/")
        .a("3.0.0.127.bl.example", "127.0.0.4")
        .a("3.0.0.127.wl.example", "127.0.10.3")
        .a("4.0.0.127.bl.example", "127.0.0.4")
        .a("client.example", "127.0.0.5")
}

fn listing_rules() -> DoorRules {
    DoorRules {
        block_lists: vec!["bl.example".parse().unwrap()],
        allow_lists: vec!["wl.example".parse().unwrap()],
        allow_networks: vec!["127.0.0.4".parse().unwrap()],
        ..rules()
    }
}

#[tokio::test]
async fn who_is_listed_reaches_the_postmaster_alone() {
    let (house, _dns) = house(Service::Smtp, listing_rules(), listing_zone()).await;
    let text = mail("c@x.example", &["nobody@grace.test", "anna@grace.test", "postmaster"]);
    let answers = say(&house, "127.0.0.2", &text).await;
    assert_eq!(
        refusals(&answers),
        [
            "550 5.1.1 no mailbox <nobody@grace.test> here",
            "554 5.7.1 127.0.0.2 is listed in bl.example: spam seen, see https://bl.example/",
        ]
    );
    assert!(answers.contains("250 2.0.0 ok, queued as"), "{answers}");
    assert_eq!(refused(&house, "bl.example").await, ("RCPT".to_owned(), 1));
    for from in ["127.0.0.1", "127.0.0.3", "127.0.0.4", "127.0.0.5"] {
        let answers = say(&house, from, &mail("c@x.example", &["anna@grace.test"])).await;
        assert_eq!(refusals(&answers), [""; 0], "{from}");
    }
    assert_eq!(inbox(&house).len(), 4);
    house.close().await;
}

#[tokio::test]
async fn what_was_found_out_stands_in_the_header() {
    let rules = DoorRules { listed: "tag".to_owned(), ..listing_rules() };
    let (house, _dns) = house(Service::Smtp, rules, listing_zone()).await;
    for from in ["127.0.0.2", "127.0.0.3", "127.0.0.5"] {
        let answers = say(&house, from, &mail("c@x.example", &["anna@grace.test"])).await;
        assert_eq!(refusals(&answers), [""; 0], "{from}");
    }
    let found = inbox(&house);
    let [listed, both, named] = found.as_slice() else { panic!("{found:?}") };
    let dnsbl = "\tx-dnsbl=fail\r\n\t  (spam seen, see https://bl.example/)\r\n\t  \
                 dns.zone=bl.example\r\n\t  policy.ip=127.0.0.4;\r\n\tx-helo=fail\r\n\t  \
                 smtp.helo=client.example\r\n";
    assert!(listed.contains(dnsbl), "{listed}");
    let dnswl = "\tdnswl=pass\r\n\t  dns.zone=wl.example\r\n\t  policy.ip=127.0.10.3";
    assert!(both.contains(dnswl) && both.contains("x-dnsbl=fail"), "{both}");
    let helo = "\tx-helo=pass\r\n\t  smtp.helo=client.example\r\n";
    assert!(named.contains(helo) && !named.contains("x-dnsbl"), "{named}");
    house.close().await;
}

#[tokio::test]
async fn a_stranger_comes_again_and_whoever_we_wrote_to_need_not() {
    let zone = Zone::default().txt("big.example", "v=spf1 ip4:127.0.0.0/8 -all");
    let rules = DoorRules {
        greylisting: "on".to_owned(),
        greylist_delay_s: 0,
        ipv4_network_bits: 32,
        greylist_learn_after: 2,
        ..rules()
    };
    let (house, _dns) = house(Service::Smtp, rules, zone).await;
    let waits = "451 4.7.1 you are new here, please come again in 0 s";
    let no_recipient = "554 5.5.1 no valid recipients";
    let check = async |from: &str, sender: &str, is_taken: bool| {
        let answers = say(&house, from, &mail(sender, &["anna@grace.test"])).await;
        let refusals = refusals(&answers);
        if is_taken {
            assert_eq!(refusals, [""; 0], "{sender} from {from}");
        } else {
            assert_eq!(refusals[0], waits, "{sender} from {from}: {answers}");
            assert!(refusals[1].starts_with("554 5.5.1"), "{no_recipient} in {answers}");
        }
    };
    check("127.0.0.1", "c@x.example", true).await;
    check("127.0.0.2", "c@x.example", false).await;
    check("127.0.0.3", "c@x.example", false).await;
    check("127.0.0.2", "c@x.example", true).await;
    check("127.0.0.2", "d@x.example", false).await;
    check("127.0.0.2", "d@x.example", true).await;
    check("127.0.0.2", "", true).await;
    // Pools: another address, the same domain.
    check("127.0.0.4", "c@big.example", false).await;
    check("127.0.0.5", "c@big.example", true).await;
    // A friend.
    let greylist = house.services.guard.greylist().unwrap();
    greylist.wrote_to(now_ms() / 1_000, &["dora@far.example".to_owned()]).await.unwrap();
    check("127.0.0.6", "dora@far.example", true).await;
    assert_eq!(refused(&house, "door.greylisting").await, ("RCPT".to_owned(), 1));
    house.close().await;
}

#[tokio::test]
async fn an_address_has_its_hour() {
    let rules =
        DoorRules { messages_per_hour_address: 2, recipients_per_hour_address: 3, ..rules() };
    let (house, _dns) = house(Service::Smtp, rules, Zone::default()).await;
    let both = ["anna@grace.test", "bob@grace.test"];
    let answers = say(&house, "127.0.0.2", &mail("c@x.example", &both)).await;
    assert_eq!(refusals(&answers), [""; 0]);
    let answers = say(&house, "127.0.0.2", &mail("c@x.example", &both)).await;
    let [over] = *refusals(&answers).as_slice() else { panic!("{answers}") };
    assert!(over.starts_with("452 4.7.1 too many recipients from your address in an hour"));
    let answers = say(&house, "127.0.0.2", &mail("c@x.example", &both)).await;
    assert!(refusals(&answers)[0].starts_with("451 4.7.1 too many messages from your address"));
    let answers = say(&house, "127.0.0.3", &mail("c@x.example", &both)).await;
    assert_eq!(refusals(&answers), [""; 0], "nobody pays for another one");
    for _ in 0..5 {
        let answers = say(&house, "127.0.0.1", &mail("c@x.example", &both)).await;
        assert_eq!(refusals(&answers), [""; 0], "who is trusted is not counted");
    }
    let told = refused(&house, "door.messages_per_hour_address").await;
    assert_eq!(told, ("MAIL".to_owned(), 1));
    house.close().await;
}

#[tokio::test]
async fn an_account_has_its_hour_wherever_it_is_used() {
    let rules = DoorRules { recipients_per_hour_account: 2, ..rules() };
    let (house, _dns) = house(Service::Submission, rules, Zone::default()).await;
    // "\0anna@grace.test\0correct horse"
    let text = "EHLO x\r\nAUTH PLAIN AGFubmFAZ3JhY2UudGVzdABjb3JyZWN0IGhvcnNl\r\n\
                MAIL FROM:<anna@grace.test>\r\nRCPT TO:<bob@grace.test>\r\n\
                RCPT TO:<anna@grace.test>\r\nRCPT TO:<c@far.test>\r\nQUIT\r\n";
    let answers = say(&house, "127.0.0.1", text).await;
    let [over] = *refusals(&answers).as_slice() else { panic!("{answers}") };
    assert!(over.starts_with("452 4.7.1 too many recipients from anna@grace.test in an hour"));
    assert_eq!(refused(&house, "door.recipients_per_hour_account").await.0, "RCPT");
    house.close().await;
}

#[tokio::test]
async fn machines_of_ours_relay_and_nobody_else() {
    let rules = DoorRules {
        relay_networks: vec!["127.0.0.2".parse().unwrap()],
        trusted_networks: Vec::new(),
        ..rules()
    };
    let (house, _dns) = house(Service::Smtp, rules, Zone::default()).await;
    let text = mail("printer@grace.test", &["c@far.test", "anna@grace.test"]);
    let text = text.replace("EHLO client.example", "EHLO my printer");
    let answers = say(&house, "127.0.0.2", &text).await;
    assert_eq!(refusals(&answers), [""; 0], "{answers}");
    let answers = say(&house, "127.0.0.3", &mail("c@x.example", &["c@far.test"])).await;
    assert_eq!(refusals(&answers)[0], "550 5.7.1 <c@far.test>: relaying denied");
    let snapshot = house.services.db.snapshot();
    let rows: Vec<OutgoingRow> = snapshot.scan().map(Result::unwrap).collect();
    let goes: Vec<OutgoingRecipientRow> = snapshot.scan().map(Result::unwrap).collect();
    let ([row], [goes]) = (rows.as_slice(), goes.as_slice()) else { panic!("{rows:?}") };
    assert_eq!((row.account, row.sender.as_str()), (0, "printer@grace.test"));
    assert_eq!(goes.address, "c@far.test");
    let text = snapshot.open_large(&row.body).read_all(1 << 20).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("Received: from "), "{text}");
    // Nothing is added but that.
    assert!(text.ends_with("\r\nFrom: c@x.example\r\nSubject: hi\r\n\r\ntext\r\n"), "{text}");
    assert!(!text.contains("Message-ID") && !text.contains("Authentication-Results"), "{text}");
    let here = inbox(&house);
    assert_eq!(here, [format!("Return-Path: <printer@grace.test>\r\n{text}")]);
    house.close().await;
}

/// A header of the PROXY protocol, version 2, for a peer of IPv4.
fn proxied(from: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C".to_vec();
    header.extend(from);
    header.extend([198, 51, 100, 1, 0x13, 0x88, 0, 25]);
    header
}

#[tokio::test]
async fn a_proxy_says_whom_it_speaks_for() {
    let zone = Zone::default().a("9.2.0.192.bl.example", "127.0.0.2");
    let (house, _dns) = house_behind(Service::Smtp, listing_rules(), zone, &["127.0.0.8"]).await;
    let text = mail("c@x.example", &["anna@grace.test"]);
    let mut peer = connect(&house, "127.0.0.8").await;
    peer.write_all(&[proxied([192, 0, 2, 9]), text.clone().into_bytes()].concat()).await.unwrap();
    let answers = hear(&mut peer).await;
    assert_eq!(refusals(&answers)[0], "554 5.7.1 192.0.2.9 is listed in bl.example");
    let opened = house.event(|event| matches!(event, EventKind::ConnectionOpened { .. })).await;
    let EventKind::ConnectionOpened { peer: told, .. } = opened else { unreachable!() };
    assert_eq!(told, "192.0.2.9:5000".parse().unwrap());
    let mut peer = connect(&house, "127.0.0.8").await;
    peer.write_all(&[proxied([192, 0, 2, 10]), text.into_bytes()].concat()).await.unwrap();
    assert_eq!(refusals(&hear(&mut peer).await), [""; 0]);
    let [message] = &inbox(&house)[..] else { panic!("one came") };
    assert!(message.contains("Received: from client.example ([192.0.2.10])"), "{message}");
    // Whether we are alive: the proxy itself.
    let mut peer = connect(&house, "127.0.0.8").await;
    peer.write_all(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0QUIT\r\n").await.unwrap();
    assert!(hear(&mut peer).await.contains("221 2.0.0 goodbye"));
    house.close().await;
}

#[tokio::test]
async fn a_proxy_that_does_not_say_it_is_not_listened_to() {
    let rules = DoorRules { proxy_header_s: 1, ..rules() };
    let (house, _dns) = house_behind(Service::Smtp, rules, Zone::default(), &["127.0.0.8"]).await;
    for text in ["PROXY TCP4 192.0.2.1 198.51.100.1 5000 25\r\nQUIT\r\n", "EHLO x.example\r\n", ""]
    {
        let mut peer = connect(&house, "127.0.0.8").await;
        peer.write_all(text.as_bytes()).await.unwrap();
        let mut answers = Vec::new();
        // What was not read may end it with a reset.
        let ended = timeout(PATIENCE, peer.read_to_end(&mut answers)).await.expect("it ends");
        assert!(ended.is_err() || answers.is_empty(), "{text:?}: {answers:?}");
    }
    let told = async |part: &str| {
        house
            .event(|event| {
                let EventKind::ConnectionRefused { reason, .. } = event else { return false };
                reason.contains(part)
            })
            .await
    };
    told("version 1: set the proxy to version 2").await;
    told("begins with something else").await;
    told("within 1 s").await;
    // Nobody else may say it.
    let mut peer = connect(&house, "127.0.0.2").await;
    peer.write_all(&proxied([192, 0, 2, 9])).await.unwrap();
    peer.shutdown().await.unwrap();
    assert!(hear(&mut peer).await.starts_with("220 mail.grace.test"));
    house.close().await;
}

#[tokio::test]
async fn connections_of_whom_a_proxy_speaks_for_are_counted() {
    let rules = DoorRules { connections_per_network_max: 1, ..rules() };
    let (house, _dns) = house_behind(Service::Smtp, rules, Zone::default(), &["127.0.0.8"]).await;
    let mut first = connect(&house, "127.0.0.8").await;
    first.write_all(&proxied([192, 0, 2, 9])).await.unwrap();
    hear_until(&mut first, "220 ").await;
    let mut second = connect(&house, "127.0.0.8").await;
    second.write_all(&proxied([192, 0, 2, 10])).await.unwrap();
    let answers = hear(&mut second).await;
    assert_eq!(answers, "421 4.7.0 Too many connections from your network\r\n");
    let mut other = connect(&house, "127.0.0.8").await;
    other.write_all(&proxied([198, 51, 100, 7])).await.unwrap();
    hear_until(&mut other, "220 ").await;
    house.services.porter.stop.say();
    house.close().await;
}
