//! Three servers: ann at the first writes to people at the second, which sends her mail on to the
//! third; names from a zone of the test's own.
//!
//! ```text
//!   grace.test ──ann──▶ b.test ──in ann's place: SRS, sealed: ARC──▶ c.test
//!        ◀──────────────── notifications, the way back ◀────────────────┘
//! ```
//! Not here: what a seal (`server/src/signing`) and a rewritten sender (`grace_mail::srs`) are.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use grace_tests::house::{Account, House};
use grace_tests::log::{self, Mark};
use grace_tests::script;
use grace_tests::wire::Wire;
use grace_tests::zone::Zone;
use serde_json::{Value, json};

/// The servers' addresses, in the order of the picture.
const ADDRESSES: [Ipv4Addr; 3] =
    [Ipv4Addr::new(127, 0, 0, 3), Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];

struct World {
    first: House,
    second: House,
    third: House,
    ann: Account,
    bob: Account,
    carl: Account,
    _zone: Zone,
}

impl World {
    fn open() -> Self {
        let zone = Zone::start();
        let port = free_port();
        let [first, second, third] = ADDRESSES.map(|ip| SocketAddr::from((ip, port)));
        let base = format!(
            "[dns]\nresolvers = [\"{}\"]\n[queue]\nport = {port}\nretry_after = [\"1s\"]\n",
            zone.address(),
        );
        // What comes from the other one was changed by nobody, but it fails all the same: its
        // word that it was genuine is taken.
        let wary = format!(
            "{base}[authenticity]\nunchecked_networks = []\narc_trusted = [\"b.test\", \"c.test\"]\n"
        );
        let first = House::start_at(first, &base);
        let second = House::start_named("mx.b.test", second, &wary);
        let third = House::start_named("mx.c.test", third, &wary);
        for (domain, address) in ["grace.test", "b.test", "c.test"].into_iter().zip(ADDRESSES) {
            zone.mx(domain, 10, &format!("mx.{domain}"));
            zone.a(&format!("mx.{domain}"), &address.to_string());
            zone.txt(domain, "v=spf1 ip4:127.0.0.1 -all");
        }
        zone.txt("_dmarc.grace.test", "v=DMARC1; p=reject");
        // Where the first says to be, who writes notifications in that name.
        zone.txt("_dmarc.mail.grace.test", "v=DMARC1; p=none");
        let ann = first.account("ann");
        let bob = settle(&second, &zone, "b.test", "bob");
        let carl = settle(&third, &zone, "c.test", "carl");
        Self { first, second, third, ann, bob, carl, _zone: zone }
    }

    fn send(&self, to: &str) {
        script::send_one(&self.first, &[&self.ann, &self.carl], to);
    }

    /// Waits until ann gets a message, which nobody writes to her but servers.
    fn ann_is_told(&self) {
        let to_ann = |event: &Value| log::text(event, "account") == self.ann.address;
        self.first.log().wait(Mark::START, "MessageDelivered", to_ann);
        assert_eq!(self.first.messages(&self.ann), 1);
    }
}

/// A port that is free at all addresses.
fn free_port() -> u16 {
    let [first, others @ ..] = ADDRESSES;
    loop {
        let held = TcpListener::bind((first, 0)).expect("loopback has a free port");
        let port = held.local_addr().expect("a bound socket").port();
        if others.iter().all(|ip| TcpListener::bind((*ip, port)).is_ok()) {
            return port;
        }
    }
}

/// Gives a house its own domain with a key that is published, and somebody in it.
fn settle(house: &House, zone: &Zone, domain: &str, name: &str) -> Account {
    house.ctl_ok(&["domain", "delete", "grace.test"]);
    house.ctl_ok(&["domain", "create", domain]);
    for key in house.ctl_json(&["dkim", "create", domain]).as_array().into_iter().flatten() {
        zone.txt(log::text(key, "record_name"), log::text(key, "record_text"));
    }
    house.ctl_ok(&["dkim", "activate", domain]);
    house.account_of(&format!("{name}@{domain}"), "far away")
}

#[test]
fn what_is_sent_on_is_believed_and_its_bounce_finds_the_sender() {
    let world = World::open();
    let set = ["account", "forward", "set", "bob@b.test", "carl@c.test"];
    world.second.ctl_ok(&set);
    world.send("bob@b.test");
    let forwarded = world.second.log().wait(Mark::START, "MessageForwarded", |_| true);
    assert_eq!(forwarded["sealed"], json!(true), "{forwarded}");
    let sender = log::text(&forwarded, "sender");
    assert!(sender.starts_with("SRS0=") && sender.ends_with("ann@b.test"), "{sender}");
    let checked = world.third.log().wait(Mark::START, "SenderChecked", |_| true);
    let found = |field: &str| log::text(&checked, field).to_owned();
    assert_eq!(found("sender"), sender);
    // Without ann's key only the seal speaks for her: SPF speaks for who sent it on.
    assert_eq!(
        [found("spf"), found("dkim"), found("dmarc"), found("arc"), found("consequence")],
        ["pass", "none", "fail", "pass", "accepted"],
        "{checked}"
    );
    world.third.log().wait(Mark::START, "MessageDelivered", |_| true);
    assert_eq!((world.second.messages(&world.bob), world.third.messages(&world.carl)), (0, 1));

    // A server that took it, and could not keep it after all.
    Wire::connect(world.second.port("Smtp")).check(&format!(
        "S: 220 *
         C: EHLO mx.c.test
         S: 250 *
         C: MAIL FROM:<>
         S: 250 *
         C: RCPT TO:<{}>
         S: 250 *
         C: DATA
         S: 354 *
         C: Subject: not delivered
         C:
         C: so it is
         C: .
         S: 250 *
         C: QUIT
         S: 221 *",
        sender.to_lowercase(),
    ));
    world.ann_is_told();
}

#[test]
fn a_refusal_comes_back_to_the_sender() {
    let world = World::open();
    world.second.ctl_ok(&["alias", "set", "out@b.test", "nobody@c.test"]);
    assert!(world.second.ctl_ok(&["alias", "list"]).contains("nobody@c.test"));
    world.send("out@b.test");
    let failed = world.second.log().wait(Mark::START, "RecipientFailed", |_| true);
    assert_eq!(log::text(&failed, "reason"), "550 5.1.1 no mailbox <nobody@c.test> here");
    world.ann_is_told();
}

#[test]
fn a_group_gets_one_copy_each_wherever_they_are() {
    let world = World::open();
    let house = &world.second;
    house.ctl_ok(&["alias", "set", "team@b.test", "bob@b.test", "carl@c.test"]);
    let all = ["alias", "set", "all@b.test", "team@b.test", "bob@b.test", "carl@c.test"];
    house.ctl_ok(&all);
    let keep = ["account", "forward", "set", "--keep", "bob@b.test", "carl@c.test"];
    house.ctl_ok(&keep);
    let shown = house.ctl_ok(&["account", "forward", "show"]);
    assert!(shown.contains("bob@b.test") && shown.contains("kept"), "{shown}");
    world.send("all@b.test");
    house.log().wait(Mark::START, "RecipientSent", |_| true);
    world.third.log().wait(Mark::START, "MessageDelivered", |_| true);
    assert_eq!((house.messages(&world.bob), world.third.messages(&world.carl)), (1, 1));
    assert_eq!(house.log().events(Mark::START, "MessageForwarded").len(), 1);
    house.ctl_ok(&["account", "forward", "remove", "bob@b.test"]);
    assert_eq!(house.ctl_json(&["account", "forward", "show"]), json!([]));
}

#[test]
fn what_goes_in_circles_ends_with_its_sender() {
    let world = World::open();
    world.second.ctl_ok(&["account", "forward", "set", "bob@b.test", "carl@c.test"]);
    world.third.ctl_ok(&["account", "forward", "set", "carl@c.test", "bob@b.test"]);
    world.send("bob@b.test");
    let failed = world.third.log().wait(Mark::START, "RecipientFailed", |_| true);
    let reason = log::text(&failed, "reason");
    assert_eq!(reason, "554 5.4.6 the message was sent on from <bob@b.test> before");
    // Back over both, each of which knows the one before it.
    let back = world.third.log().wait(Mark::START, "MessageForwarded", |_| true);
    assert!(log::text(&back, "sender").starts_with("SRS1="), "{back}");
    world.ann_is_told();
    assert_eq!((world.second.messages(&world.bob), world.third.messages(&world.carl)), (0, 0));
}
