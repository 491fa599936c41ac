//! Strangers at the door of a daemon: block lists, greylisting across a restart, proxies, limits,
//! and machines that may relay.
//!
//! Strangers come from 127.0.0.2 and its neighbours; 127.0.0.1 alone is trusted.
//! Not here: each rule by itself (`server/src/guard`, `server/src/inbound`).

use std::net::Ipv4Addr;

use grace_tests::house::House;
use grace_tests::log::{self, Mark};
use grace_tests::program;
use grace_tests::script;
use grace_tests::wire::Wire;
use grace_tests::zone::Zone;

/// "\0ann@grace.test\0" and her password.
const LOGIN: &str = "AGFubkBncmFjZS50ZXN0AHBhc3Mgd29yZCBvZiBhbm4gInF1b3RlZFwi";

fn house(zone: &Zone, rules: &str) -> House {
    House::start_with(&format!(
        "{rules}[dns]\nresolvers = [\"{}\"]\n[queue]\nretry_after = [\"1s\"]\n",
        zone.address(),
    ))
}

/// A new connection of the stranger 127.0.0.`last`.
fn stranger(house: &House, last: u8) -> Wire {
    Wire::connect_from(Ipv4Addr::new(127, 0, 0, last), house.port("Smtp"))
}

/// Sends to ann; what her RCPT is answered.
fn offer(house: &House, last: u8, sender: &str, expected: &str) {
    stranger(house, last).check(&format!(
        "S: 220 *
         C: EHLO client.example.org
         S: 250 *
         C: MAIL FROM:<{sender}>
         S: 250 *
         C: RCPT TO:<ann@grace.test>
         S: {expected}
         C: QUIT
         S: 221 *
         -- closed"
    ));
}

#[test]
fn a_block_list_is_asked_and_says_why() {
    let zone = Zone::start();
    zone.a("2.0.0.127.bl.test", "127.0.0.4");
    zone.txt("2.0.0.127.bl.test", "spam seen");
    zone.a("3.0.0.127.bl.test", "127.255.255.254");
    let rules = "[door]\ntrusted_networks = [\"127.0.0.1\"]\nblock_lists = [\"bl.test\"]\n";
    let house = house(&zone, rules);
    let ann = house.account("ann");
    offer(&house, 2, "a@x.example", "554 5.7.1 127.0.0.2 is listed in bl.test: spam seen");
    let told = house.log().wait(Mark::START, "DoorRefused", |_| true);
    assert_eq!((log::text(&told, "rule"), log::number(&told, "count")), ("bl.test", 1));
    let _delivered = Wire::deliver(&house, &ann, "from this machine");
    // A list that refuses to answer us lists nobody, and is left alone.
    offer(&house, 3, "a@x.example", "250 *");
    house
        .log()
        .wait(Mark::START, "BlockListChanged", |event| log::text(event, "list") == "bl.test");
    offer(&house, 2, "a@x.example", "250 *");
}

#[test]
fn a_stranger_waits_once_even_across_a_restart() {
    let zone = Zone::start();
    let rules = "[door]\ntrusted_networks = [\"127.0.0.1\"]\ngreylisting = \"on\"\n\
                 greylist_delay_s = 0\nipv4_network_bits = 32\n";
    let mut house = house(&zone, rules);
    let _ann = house.account("ann");
    let waits = "451 4.7.1 you are new here, *";
    offer(&house, 2, "a@x.example", waits);
    house.stop();
    house.start_again();
    offer(&house, 3, "a@x.example", waits);
    offer(&house, 2, "b@x.example", waits);
    offer(&house, 2, "a@x.example", "250 *");
    offer(&house, 2, "a@x.example", "250 *");
    // Ann writes to somebody, who may then write to her.
    offer(&house, 4, "friend@far.test", waits);
    Wire::connect(house.port("Submission")).check(&format!(
        "S: 220 *
         C: EHLO desk
         S: 250 *
         C: AUTH PLAIN {LOGIN}
         S: 235 *
         C: MAIL FROM:<ann@grace.test>
         S: 250 *
         C: RCPT TO:<Friend@far.test>
         S: 250 *
         C: DATA
         S: 354 *
         C: Subject: hello
         C:
         C: .
         S: 250 *"
    ));
    offer(&house, 5, "friend@far.test", "250 *");
    offer(&house, 5, "stranger@far.test", waits);
}

#[test]
fn a_proxy_says_whom_it_speaks_for_at_every_door() {
    let house = House::start_with("proxy_networks = [\"127.0.0.8\"]\n");
    let header =
        r"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x09\xc6\x33\x64\x01\x13\x88\x00\x19";
    let mut wire = Wire::connect_from(Ipv4Addr::new(127, 0, 0, 8), house.port("Smtp"));
    wire.send(&grace_tests::wire::unescape(header));
    wire.check("S: 220 *\nC: QUIT\nS: 221 *\n-- closed");
    let is_smtp = |event: &serde_json::Value| log::text(event, "service") == "Smtp";
    let opened = house.log().wait(Mark::START, "ConnectionOpened", is_smtp);
    assert_eq!(log::text(&opened, "peer"), "192.0.2.9:5000");
    // TLS begins behind the header.
    let code = "import socket, ssl, sys\n\
                server, proxy = ('127.0.0.1', int(sys.argv[1])), ('127.0.0.8', 0)\n\
                tcp = socket.create_connection(server, 30, proxy)\n\
                tcp.sendall(bytes.fromhex(sys.argv[2]))\n\
                context = ssl.create_default_context()\n\
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE\n\
                print(context.wrap_socket(tcp).recv(99).decode())";
    let header = "0d0a0d0a000d0a515549540a2111000cc000020ac6336401138803e1";
    let port = house.port("Imaps").to_string();
    let greeting = program::run_ok(script::python().args(["-c", code, &port, header]));
    assert!(greeting.starts_with("* OK "), "{greeting}");
    let is_imaps = |event: &serde_json::Value| log::text(event, "service") == "Imaps";
    let opened = house.log().wait(Mark::START, "ConnectionOpened", is_imaps);
    assert_eq!(log::text(&opened, "peer"), "192.0.2.10:5000");
    // Version 1, and no header at all, are turned away.
    let mut wire = Wire::connect_from(Ipv4Addr::new(127, 0, 0, 8), house.port("Smtp"));
    wire.check("C: PROXY TCP4 192.0.2.1 198.51.100.1 5000 25\n-- closed");
    house.log().wait(Mark::START, "ConnectionRefused", |event| {
        log::text(event, "reason").contains("version 1")
    });
}

#[test]
fn who_comes_too_often_is_told_of_once() {
    const FLOOD: u64 = 100;
    let house = House::start_with(
        "[door]\ntrusted_networks = [\"127.0.0.1\"]\nconnections_per_minute_address = 3\n\
         messages_per_hour_address = 1\n",
    );
    let _ann = house.account("ann");
    offer(&house, 2, "a@x.example", "250 *");
    stranger(&house, 2).check(
        "S: 220 *
         C: EHLO client.example.org
         S: 250 *
         C: MAIL FROM:<a@x.example>
         S: 451 4.7.1 too many messages from your address in an hour, *",
    );
    stranger(&house, 2).check("S: 220 *");
    for _ in 0..FLOOD {
        stranger(&house, 2).check("S: 421 4.7.0 Too many connections from your address");
    }
    stranger(&house, 3).check("S: 220 *");
    let told = house.log().events(Mark::START, "ConnectionRefused");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(log::text(&told[0], "reason"), "door.connections_per_minute_address is reached");
    let stats = house.ctl_json(&["stats"]);
    let events = stats["events"].as_array().into_iter().flatten();
    let mut counts = events.filter(|event| event["name"] == "DoorRefused");
    assert_eq!(counts.next().map(|event| log::number(event, "count")), Some(1), "{stats}");
}

#[test]
fn machines_of_ours_send_anywhere_and_strangers_do_not() {
    let zone = Zone::start();
    let far = House::start();
    far.ctl_ok(&["domain", "create", "far.test"]);
    let _bob = far.account("bob");
    far.ctl_ok(&["alias", "set", "bob@far.test", "bob@grace.test"]);
    zone.mx("far.test", 10, "mx.far.test");
    zone.a("mx.far.test", "127.0.0.1");
    let near = House::start_with(&format!(
        "[door]\ntrusted_networks = []\nrelay_networks = [\"127.0.0.2\"]\n\
         [dns]\nresolvers = [\"{}\"]\n[queue]\nport = {}\n",
        zone.address(),
        far.port("Smtp"),
    ));
    stranger(&near, 3).check(
        "S: 220 *
         C: EHLO printer
         S: 250 *
         C: MAIL FROM:<printer@grace.test>
         S: 250 *
         C: RCPT TO:<bob@far.test>
         S: 550 5.7.1 <bob@far.test>: relaying denied",
    );
    stranger(&near, 2).check(
        "S: 220 *
         C: EHLO the printer
         S: 250 *
         C: MAIL FROM:<printer@grace.test>
         S: 250 *
         C: RCPT TO:<bob@far.test>
         S: 250 *
         C: DATA
         S: 354 *
         C: Subject: scan
         C:
         C: .
         S: 250 *",
    );
    near.log().wait(Mark::START, "RecipientSent", |_| true);
    let delivered = far.log().wait(Mark::START, "MessageDelivered", |_| true);
    assert_eq!(log::text(&delivered, "account"), "bob@grace.test");
}
