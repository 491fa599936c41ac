//! Two servers: mail from people of one to people of the other, by names of a zone of the test's
//! own; and what is left of it when the one that sends is killed.
//!
//! Not here: servers without manners (`server/src/outbound`).

use std::time::Duration;

use grace_tests::figure;
use grace_tests::house::{Account, House};
use grace_tests::log::{self, Mark};
use grace_tests::script::{self, Partner};
use grace_tests::seed::{self, Seed};
use grace_tests::zone::Zone;
use serde_json::{Value, json};

/// How often the daemon that sends is killed.
const KILLS: u64 = 20;
/// Longest time from the first acknowledgement to the kill, in milliseconds.
const MOMENT_MS_MAX: u64 = 300;
/// Messages submitted at most between two kills.
const MESSAGES: u64 = 50;

/// Two servers and the names that join them: `grace.test` with ann, `far.test` with bob.
struct World {
    near: House,
    far: House,
    zone: Zone,
    ann: Account,
    bob: Account,
}

impl World {
    fn open() -> Self {
        let zone = Zone::start();
        let far = House::start_with(&format!(
            "[dns]\nresolvers = [\"{}\"]\n[authenticity]\nunchecked_networks = []\n",
            zone.address(),
        ));
        far.ctl_ok(&["domain", "create", "far.test"]);
        let bob = far.account_of("bob@far.test", "far away");
        zone.mx("far.test", 10, "mx.far.test");
        zone.a("mx.far.test", "127.0.0.1");
        let near = House::start_with(&format!(
            "[dns]\nresolvers = [\"{}\"]\n[queue]\nport = {}\nretry_after = [\"1s\"]\n",
            zone.address(),
            far.port("Smtp"),
        ));
        let ann = near.account("ann");
        Self { near, far, zone, ann, bob }
    }

    fn partner(&self) -> Partner {
        let arguments = script::about(&self.near, &[&self.ann, &self.bob]);
        Partner::start("relay", &arguments)
    }

    fn send(&self, count: u64) -> Value {
        let submission = self.near.port("Submission");
        json!({ "do": "send", "submission": submission, "to": self.bob.address, "count": count })
    }

    fn read(&self) -> Value {
        json!({ "do": "read", "imap": self.far.port("Imap") })
    }

    /// What waits here for other servers.
    fn waiting(&self) -> Vec<Value> {
        let list = self.near.ctl_json(&["queue", "list"]);
        list.as_array().cloned().unwrap_or_default()
    }
}

fn numbers(answer: &Value, field: &str) -> Vec<u64> {
    let numbers = answer[field].as_array().into_iter().flatten();
    let mut numbers: Vec<u64> = numbers.filter_map(Value::as_u64).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn mail_goes_from_one_server_to_the_other_encrypted() {
    let world = World::open();
    let mut partner = world.partner();
    let sent = partner.ask(&world.send(5));
    assert_eq!(numbers(&sent, "acknowledged"), [0, 1, 2, 3, 4]);
    world.near.log().wait_count(Mark::START, "RecipientSent", 5, |event| {
        log::text(event, "tls").starts_with("TLSv1.3")
            && log::text(event, "remote") == "mx.far.test"
    });
    let read = partner.ask(&world.read());
    assert_eq!(numbers(&read, "arrived"), [0, 1, 2, 3, 4]);
    assert_eq!(read["broken"], json!([]));
    assert!(world.waiting().is_empty());
}

#[test]
fn an_unknown_recipient_is_told_and_an_admin_sees_what_waits() {
    let world = World::open();
    let mut partner = world.partner();
    let mut order = world.send(1);
    order["to"] = json!("nobody@far.test");
    partner.ask(&order);
    let failed = world.near.log().wait(Mark::START, "RecipientFailed", |_| true);
    assert_eq!(log::text(&failed, "reason"), "550 5.1.1 no mailbox <nobody@far.test> here");
    world
        .near
        .log()
        .wait(Mark::START, "SenderNotified", |event| log::text(event, "to") == world.ann.address);

    // A server that is not there: it waits, and an admin gives it up.
    world.zone.mx("dead.test", 10, "mx.dead.test");
    world.zone.a("mx.dead.test", "127.0.0.9");
    order["to"] = json!("bob@dead.test");
    partner.ask(&order);
    world.near.log().wait(Mark::START, "RecipientDeferred", |_| true);
    let waiting = world.waiting();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    let text = world.near.ctl_ok(&["queue", "list"]);
    assert!(text.contains("bob@dead.test") && text.contains("127.0.0.9"), "{text}");
    let id = log::text(&waiting[0], "queue_id").to_owned();
    assert_eq!(world.near.ctl_ok(&["queue", "hold", &id]).trim(), "1 recipient held");
    assert!(world.near.ctl_ok(&["queue", "list"]).contains("held"));
    let refused = world.near.ctl(&["queue", "delete"]);
    assert_eq!(refused.status.code(), Some(1), "all of it only if that is said");
    assert_eq!(world.near.ctl_ok(&["queue", "delete", "--all"]).trim(), "1 recipient deleted");
    assert!(world.waiting().is_empty());
}

#[test]
fn what_one_server_signs_the_other_verifies() {
    let world = World::open();
    let mut partner = world.partner();
    let made = world.near.ctl_json(&["dkim", "create", "grace.test"]);
    let keys = made.as_array().cloned().unwrap_or_default();
    assert_eq!(keys.len(), 2, "{made}");
    let early = world.near.ctl(&["dkim", "activate", "grace.test"]);
    assert_eq!(early.status.code(), Some(1), "nothing is published yet");
    for key in &keys {
        world.zone.txt(log::text(key, "record_name"), log::text(key, "record_text"));
    }
    // Whoever sends for the domain, and that nobody else may.
    world.zone.txt("grace.test", "v=spf1 ip4:127.0.0.1 -all");
    world.zone.txt("_dmarc.grace.test", "v=DMARC1; p=reject");
    world.near.ctl_ok(&["dkim", "activate", "grace.test"]);
    partner.ask(&world.send(1));
    let checked = world.far.log().wait(Mark::START, "SenderChecked", |_| true);
    let found = |field: &str| log::text(&checked, field).to_owned();
    assert_eq!(
        [found("spf"), found("dkim"), found("dmarc"), found("consequence")],
        ["pass", "pass grace.test", "pass", "accepted"],
        "{checked}"
    );
    world.near.log().wait(Mark::START, "RecipientSent", |_| true);
}

#[test]
fn a_group_is_told_once_each() {
    let world = World::open();
    let house = &world.far;
    let carl = house.account_of("carl@far.test", "far away");
    let set = ["alias", "set", "all@far.test", &world.bob.address, &carl.address];
    assert_eq!(house.ctl_ok(&set).trim(), "all@far.test set");
    assert!(house.ctl_ok(&["alias", "list"]).contains("bob@far.test carl@far.test"));
    let mut order = world.send(1);
    order["to"] = json!("all@far.test");
    world.partner().ask(&order);
    house.log().wait_count(Mark::START, "MessageDelivered", 2, |_| true);
    assert_eq!((house.messages(&world.bob), house.messages(&carl)), (1, 1));
}

#[test]
fn killed_while_it_sends() {
    let kills = seed::times("GRACE_CRASH_KILLS", KILLS);
    let mut chance = Seed::of_today();
    let seed = chance.start();
    let mut world = World::open();
    let mut partner = world.partner();
    let mut acknowledged = Vec::new();
    for _ in 0..kills {
        partner.tell(&world.send(MESSAGES));
        // The moment is the test's input, not a wait for something.
        std::thread::sleep(Duration::from_millis(chance.between(0, MOMENT_MS_MAX)));
        world.near.kill();
        acknowledged.extend(numbers(&partner.answer(), "acknowledged"));
        world.near.start_again();
    }
    acknowledged.extend(numbers(&partner.ask(&world.send(1)), "acknowledged"));
    let last = *acknowledged.last().expect("the last one is acknowledged");
    // What waits is tried at once after each start; the rest follows in its order.
    let mut arrived = Vec::new();
    let complete = |arrived: &[u64]| acknowledged.iter().all(|number| arrived.contains(number));
    let mark = world.far.log().mark();
    while !complete(&arrived) {
        let read = partner.ask(&world.read());
        assert_eq!(read["broken"], json!([]), "seed {seed}");
        arrived = numbers(&read, "arrived");
        if complete(&arrived) {
            break;
        }
        // More is on its way, or this fails when nothing comes.
        world.far.log().wait(mark, "MessageDelivered", |_| true);
    }
    assert!(arrived.contains(&last), "seed {seed}");
    let mut once = arrived.clone();
    once.dedup();
    let twice = arrived.len() - once.len();
    figure(&format!(
        "{kills} kills (seed {seed}) while sending: {} acknowledged, 0 lost, {twice} sent twice, {} \
         more arrived of which the answer was not heard",
        acknowledged.len(),
        once.len() - acknowledged.len(),
    ));
    assert!(twice as u64 <= kills * 20, "at most what is under way at a kill is sent twice");
}
