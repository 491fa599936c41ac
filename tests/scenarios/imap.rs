//! IMAP as clients use it: every command the house offers, two clients on one mailbox, many shapes
//! of answer looked at by imaplib.

use grace_tests::house::House;
use grace_tests::seed::Seed;
use grace_tests::{figure, script};
use serde_json::json;

#[test]
fn what_mail_programs_do_all_day() {
    let house = House::start_with("[limits]\nlogin_failure_delay_ms = 0\n");
    let ann = house.account("ann");
    let result = script::run("imap_features", &script::about(&house, &[&ann]));
    assert_eq!(result["problems"], json!([]), "{result:#}");
}

#[test]
fn two_clients_see_each_others_changes() {
    const STEPS: u64 = 300;
    let house = House::start();
    let ann = house.account("ann");
    let seed = Seed::of_today();
    let mut arguments = script::about(&house, &[&ann]);
    arguments["seed"] = json!(seed.start());
    arguments["steps"] = json!(STEPS);
    // A failure shows its seed with the arguments it was run with.
    println!("seed {}", seed.start());
    let result = script::run("two_sessions", &arguments);
    assert_eq!(result["steps"], STEPS);
    figure(&format!("two clients, {STEPS} changes (seed {}): both always agreed", seed.start()));
}
