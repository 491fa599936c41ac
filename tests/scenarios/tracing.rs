//! A message from its submission here to its delivery there, trouble and a restart between: found
//! by everything it can be found by, and told as one story; and what was refused or given up.
//!
//! Not here: how it is kept and found (`server/src/history`).

use grace_tests::house::{Account, House};
use grace_tests::log::{self, Mark};
use grace_tests::script;
use grace_tests::wire::Wire;
use grace_tests::zone::Zone;
use serde_json::{Value, json};

/// How often a search is repeated: what has just happened is written a tenth of a second later, and
/// nothing tells when.
const SEARCHES_MAX: usize = 500;
/// An address of loopback where nobody listens.
const NOBODY: &str = "127.0.0.9";

/// `grace.test` with ann, and `far.test` with bob at an address that the test decides.
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
        let dns = format!("[dns]\nresolvers = [\"{}\"]\n", zone.address());
        let far = House::start_with(&dns);
        far.ctl_ok(&["domain", "create", "far.test"]);
        let bob = far.account_of("bob@far.test", "far away");
        zone.mx("far.test", 10, "mx.far.test");
        let port = far.port("Smtp");
        let near =
            House::start_with(&format!("{dns}[queue]\nport = {port}\nretry_after = [\"1h\"]\n"));
        let ann = near.account("ann");
        Self { near, far, zone, ann, bob }
    }

    /// Ann sends one message.
    fn send(&self, to: &str) {
        script::send_one(&self.near, &[&self.ann, &self.bob], to);
    }

    fn far_is_at(&self, address: &str) {
        self.zone.forget("mx.far.test");
        self.zone.a("mx.far.test", address);
    }
}

fn search(house: &House, what: &[&str]) -> Vec<Value> {
    let rows = house.ctl_json(&[&["trace", "search"], what].concat());
    rows.as_array().cloned().unwrap_or_default()
}

/// The one message that is found so, once it is there.
fn found(house: &House, what: &[&str]) -> Value {
    let mut rows = Vec::new();
    for _ in 0..SEARCHES_MAX {
        rows = search(house, what);
        if !rows.is_empty() {
            break;
        }
    }
    assert_eq!(rows.len(), 1, "{what:?}: {rows:?}");
    rows.remove(0)
}

fn story(house: &House, id: &str) -> Vec<Value> {
    let lines = house.ctl_ok(&["trace", "show", id, "--json"]);
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn names(story: &[Value]) -> Vec<&str> {
    story.iter().map(|event| log::text(event, "event")).collect()
}

#[test]
fn a_message_is_found_by_each_key_and_is_one_story() {
    let mut world = World::open();
    world.far_is_at(NOBODY);
    world.send(&world.bob.address);
    world.near.log().wait(Mark::START, "RecipientDeferred", |_| true);
    let deferred = found(&world.near, &["--outcome", "deferred"]);
    let id = log::text(&deferred, "queue_id").to_owned();
    let message_id = log::text(&deferred, "message_id").to_owned();
    assert_eq!(message_id, format!("{id}@mail.grace.test"), "the server gave it one");
    assert!(log::text(&deferred, "reason").contains(NOBODY), "{deferred}");
    assert!(world.near.ctl_ok(&["trace", "search"]).contains("deferred"));

    world.near.stop();
    world.near.start_again();
    world.far_is_at("127.0.0.1");
    world.near.ctl_ok(&["queue", "retry", &id]);
    world.near.log().wait(Mark::START, "RecipientSent", |_| true);
    let delivered = found(&world.near, &["--outcome", "delivered"]);
    for what in [
        ["--sender", "Ann@grace.test"],
        ["--sender", "@grace.test"],
        ["--recipient", "bob@far.test"],
        ["--recipient", "b*@far.test"],
        ["--message-id", &message_id],
        ["--queue-id", &id],
        ["--outcome", "deferred"],
        ["--since", "1h"],
    ] {
        assert_eq!(found(&world.near, &what), delivered, "{what:?}");
    }
    assert!(search(&world.near, &["--until", "1h"]).is_empty());
    assert!(search(&world.near, &["--sender", "bob@far.test"]).is_empty());
    assert_eq!((log::number(&delivered, "deferred"), log::number(&delivered, "delivered")), (1, 1));

    let story = story(&world.near, &id);
    let names = names(&story);
    let of_message: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| name.starts_with("Message") || name.starts_with("Recipient"))
        .collect();
    assert_eq!(
        of_message,
        ["MessageIdentified", "MessageAccepted", "RecipientDeferred", "RecipientSent"]
    );
    assert_eq!(names.first(), Some(&"ConnectionOpened"), "{names:?}");
    assert!(names.contains(&"LoginSucceeded") && names.contains(&"ConnectionClosed"), "{names:?}");
    let text = world.near.ctl_ok(&["trace", "show", &id]);
    assert_eq!(text.lines().count(), story.len());

    // The same message at the other side.
    let arrived = found(&world.far, &["--message-id", &message_id]);
    assert_eq!(log::text(&arrived, "sender"), world.ann.address);
    assert_eq!(found(&world.far, &["--recipient", &world.bob.address]), arrived);
}

#[test]
fn what_was_refused_and_what_came_back_is_found() {
    let world = World::open();
    world.far_is_at("127.0.0.1");
    let mark = world.far.log().mark();
    Wire::connect(world.far.port("Smtp")).check(
        "S: 220 *
         C: EHLO client.example.org
         S: 250 *
         C: MAIL FROM:<eve@example.org>
         S: 250 *
         C: RCPT TO:<nobody@far.test>
         S: 550 *
         C: QUIT
         S: 221 *",
    );
    world.far.log().wait(mark, "RecipientRefused", |_| true);
    let refused = found(&world.far, &["--recipient", "nobody@far.test"]);
    assert_eq!(log::text(&refused, "sender"), "eve@example.org");
    assert_eq!(log::text(&refused, "reason"), "550 5.1.1 no mailbox <nobody@far.test> here");
    assert_eq!(
        found(&world.far, &["--sender", "eve@example.org", "--outcome", "refused"]),
        refused
    );
    let events = story(&world.far, &log::number(&refused, "trace").to_string());
    assert!(names(&events).contains(&"RecipientRefused"), "{events:?}");

    world.send("nobody@far.test");
    world.near.log().wait(Mark::START, "SenderNotified", |_| true);
    let bounced = found(&world.near, &["--outcome", "bounced"]);
    assert_eq!(bounced["recipients"], json!(["nobody@far.test"]));
    let id = log::text(&bounced, "queue_id").to_owned();
    let events = story(&world.near, &id);
    let names = names(&events);
    let after: Vec<&str> =
        names.iter().copied().skip_while(|name| *name != "RecipientFailed").collect();
    let of_message: Vec<&str> =
        after.iter().copied().filter(|name| *name != "ConnectionClosed").collect();
    assert_eq!(
        of_message,
        ["RecipientFailed", "SenderNotified", "MessageIdentified", "MessageDelivered"]
    );
    // The notification is a message of its own, from nobody.
    let notification = found(&world.near, &["--sender", "<>"]);
    assert_eq!(story(&world.near, log::text(&notification, "queue_id")), events);
}
