//! A thousand messages over ten connections while a client waits in IDLE: all arrive, all are
//! announced, every byte is as sent below the header fields a receiver adds.
//!
//! smtplib sends, imaplib reads (`scripts/thousand.py`).

use grace_tests::house::House;
use grace_tests::log::Mark;
use grace_tests::seed::Seed;
use grace_tests::{figure, script};
use serde_json::json;

const MESSAGES: usize = 1_000;
const CONNECTIONS: usize = 10;

#[test]
fn a_thousand_messages_while_a_client_idles() {
    let house = House::start();
    let ann = house.account("ann");
    let seed = Seed::of_today();
    let mut arguments = script::about(&house, &[&ann]);
    arguments["messages"] = json!(MESSAGES);
    arguments["connections"] = json!(CONNECTIONS);
    arguments["seed"] = json!(seed.start());

    let result = script::run("thousand", &arguments);

    let told = format!("seed {}: {result}", seed.start());
    assert_eq!(result["problems"], json!([]), "{told}");
    assert_eq!(result["arrived"], MESSAGES, "{told}");
    assert_eq!(result["announced"], MESSAGES, "{told}");
    // The admin's side of the same story: one acceptance and one delivery each, none refused.
    house.log().wait_count(Mark::START, "MessageDelivered", MESSAGES, |_| true);
    assert_eq!(house.log().events(Mark::START, "MessageAccepted").len(), MESSAGES);
    assert_eq!(house.log().events(Mark::START, "EventsLost").len(), 0);
    figure(&format!(
        "{MESSAGES} messages over {CONNECTIONS} connections in {} s, announced in {} EXISTS, the last \
         {} ms after the last 250",
        result["sent_s"], result["announcements"], result["last_announced_ms_after"]
    ));
}
