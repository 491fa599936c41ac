//! A thousand messages over ten connections while a client waits in IDLE: all arrive, all are
//! announced, every byte is as sent below the header fields a receiver adds.
//!
//! smtplib sends, imaplib reads (`scripts/thousand.py`). And one message that is as large as a
//! thousand, which must not take that much memory.

use std::process::Command;

use grace_tests::house::House;
use grace_tests::log::Mark;
use grace_tests::seed::Seed;
use grace_tests::wire::Wire;
use grace_tests::{figure, program, script, usage};
use serde_json::json;

const MESSAGES: usize = 1_000;
const CONNECTIONS: usize = 10;

/// Size of a large message: below the limit of 50 MiB.
const LARGE_BYTES: usize = 45 * 1_024 * 1_024;
/// How much more memory than before it may take to receive and to give out, in KiB. Bodies go
/// through bounded buffers; a tenth of the message is enough for all of them.
const LARGE_KIB_MAX: u64 = 16 * 1_024;

#[test]
fn a_large_message_goes_through_small_buffers() {
    let house = House::start();
    let ann = house.account("ann");
    Wire::deliver(&house, &ann, "small");
    let before = usage::peak_kib(house.id());
    let mut message = b"Subject: large\r\n\r\n".to_vec();
    while message.len() < LARGE_BYTES {
        message.extend_from_slice(&[b'x'; 76]);
        message.extend_from_slice(b"\r\n");
    }
    let mark = house.log().mark();
    let mut wire = Wire::connect(house.port("Smtp"));
    wire.check(&format!(
        "S: 220 *
         C: EHLO client.example.org
         S: 250 *
         C: MAIL FROM:<sender@example.org> SIZE={}
         S: 250 *
         C: RCPT TO:<{}>
         S: 250 *
         C: DATA
         S: 354 *",
        message.len(),
        ann.address
    ));
    wire.send(&message);
    wire.check("C: .\nS: 250 *");
    house.log().wait(mark, "MessageDelivered", |_| true);
    let received = usage::peak_kib(house.id());

    let file = house.folder().join("read.eml");
    let url = format!("imaps://127.0.0.1:{}/INBOX;UID=2", house.port("Imaps"));
    let user = format!("{}:{}", ann.address, ann.password);
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--insecure", "--user", &user, &url, "--output"]);
    program::run_ok(curl.arg(&file));
    let given = usage::peak_kib(house.id());
    let read = std::fs::read(&file).expect("curl wrote it");
    assert!(read.ends_with(&message), "{} bytes read, {} sent", read.len(), message.len());
    figure(&format!(
        "a message of {} MiB: at most {} KiB more memory to receive it, {} KiB to give it out",
        LARGE_BYTES >> 20,
        received - before,
        given - received
    ));
    assert!(given - before <= LARGE_KIB_MAX, "{before} KiB before, {received}, {given}");
}

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
    house.log().wait_count(Mark::START, "MessageAccepted", MESSAGES, |_| true);
    assert_eq!(house.log().events(Mark::START, "EventsLost").len(), 0);
    figure(&format!(
        "{MESSAGES} messages over {CONNECTIONS} connections in {} s, announced in {} EXISTS, the last \
         {} ms after the last 250",
        result["sent_s"], result["announcements"], result["last_announced_ms_after"]
    ));
}
