//! SIGKILL at random moments of a stream of deliveries: what was acknowledged is there after the
//! restart, once, whole; what was not is there whole or not at all.
//!
//! `scripts/crash.py` delivers (two recipients each), appends, flags and expunges, and remembers
//! what it was told. `GRACE_CRASH_KILLS` says how often; `GRACE_SEED` replays sizes and moments. A
//! killed process loses what it had not handed to the system; what a power cut takes beyond that is
//! shown by the database's simulated disk. Not here: that disk (`server/gracedb`).

use std::time::Duration;

use grace_tests::figure;
use grace_tests::house::House;
use grace_tests::log::{self, Mark};
use grace_tests::script::{self, Partner};
use grace_tests::seed::{self, Seed};
use grace_tests::wire::Wire;
use serde_json::{Value, json};

/// How often the daemon is killed.
const KILLS: u64 = 50;
/// Longest time from the first acknowledgement to the kill, in milliseconds.
const MOMENT_MS_MAX: u64 = 400;
/// Longest time the store may take to open, in milliseconds.
const OPENING_MS_MAX: u64 = 1_000;

fn order(house: &House, what: &str) -> Value {
    script::with(script::about(house, &[]), &json!({ "do": what }))
}

#[test]
fn killed_at_random_moments() {
    let kills = seed::times("GRACE_CRASH_KILLS", KILLS);
    let mut chance = Seed::of_today();
    let seed = chance.start();
    let mut house = House::start();
    let (ann, bob) = (house.account("ann"), house.account("bob"));
    let mut arguments = script::about(&house, &[&ann, &bob]);
    arguments["seed"] = json!(seed);
    let mailbox = json!({ "make": { "Appended": 0 } });
    let _state = script::run("state", &script::with(arguments.clone(), &mailbox));
    let mut partner = Partner::start("crash", &arguments);
    let (mut slowest_ms, mut replayed_most, mut cuts, mut acknowledged) = (0, 0, 0, 0);
    for kill in 1..=kills {
        let told = |answer: &Value| format!("seed {seed}, kill {kill}: {answer}");
        let begun = partner.ask(&order(&house, "send"));
        assert_eq!(begun["begun"], true, "{}", told(&begun));
        // The moment is the test's input, not a wait for something.
        std::thread::sleep(Duration::from_millis(chance.between(0, MOMENT_MS_MAX)));
        house.kill();
        let died = partner.ask(&json!({"do": "died"}));
        assert_eq!(died["problems"], json!([]), "{}", told(&died));
        acknowledged = log::number(&died, "acknowledged");

        house.start_again();
        let opened = house.log().wait(Mark::START, "StoreOpened", |_| true);
        slowest_ms = slowest_ms.max(log::number(&opened, "took_ms"));
        replayed_most = replayed_most.max(log::number(&opened, "replayed"));
        cuts += u64::from(log::number(&opened, "cut_bytes") > 0);
        assert!(slowest_ms < OPENING_MS_MAX, "{}", told(&opened));
        let check = partner.ask(&order(&house, "check"));
        assert_eq!(check["problems"], json!([]), "{}", told(&check));
    }
    let compared = partner.ask(&order(&house, "compare"));
    assert_eq!(compared["problems"], json!([]), "seed {seed}: {compared}");
    house.stop();
    figure(&format!(
        "{kills} kills (seed {seed}): {acknowledged} acknowledged, 0 lost, 0 twice, 0 half; slowest \
         reopening {slowest_ms} ms, most transactions replayed {replayed_most}, torn tails {cuts}"
    ));
}

/// One client, one message after the other: nothing can share a sync, so each `250` needs its own.
#[test]
fn every_acknowledgment_waits_for_the_disk() {
    const MESSAGES: u64 = 20;
    let house = House::start();
    let ann = house.account("ann");
    let syncs = || log::number(&house.ctl_json(&["stats"]), "db_syncs");
    let before = syncs();
    for number in 0..MESSAGES {
        Wire::deliver(&house, &ann, &number.to_string());
    }
    let waited = syncs() - before;
    assert!(waited >= MESSAGES, "{MESSAGES} acknowledgments, but only {waited} syncs");
}
