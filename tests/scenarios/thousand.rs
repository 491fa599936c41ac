//! A thousand messages over ten connections while a client waits in IDLE: all arrive, all are
//! announced, every byte is as sent below the header fields a receiver adds.
//!
//! smtplib sends, imaplib reads (`scripts/thousand.py`). And one message that is as large as a
//! thousand, which must not take that much memory.

use grace_tests::house::House;
use grace_tests::log::Mark;
use grace_tests::seed::Seed;
use grace_tests::wire::Wire;
use grace_tests::{figure, script, usage};
use serde_json::json;

const MESSAGES: usize = 1_000;
const CONNECTIONS: usize = 10;

/// Size of a large message: the limit.
const LARGE_BYTES: usize = 50 * 1_024 * 1_024;
/// How much more memory than before it may take to receive and to give out, in KiB. Bodies go
/// through bounded buffers.
const LARGE_KIB_MAX: u64 = 8 * 1_024;

#[test]
fn a_large_message_goes_through_small_buffers() {
    let house = House::start();
    let ann = house.account("ann");
    Wire::deliver(&house, &ann, "small");
    // A login takes more memory than all that is measured here: it comes before.
    let mut reader = Wire::connect(house.port("Imap"));
    reader.check("S: * OK *").send(format!("1 LOGIN {} ", ann.address).as_bytes());
    reader.send(format!("{{{}+}}\r\n{}\r\n", ann.password.len(), ann.password).as_bytes());
    until_tag(&mut reader, "1");
    usage::forget_peak(house.id());
    let before = usage::peak_kib(house.id());
    let mut message = b"Subject: large\r\n\r\n".to_vec();
    while message.len() < LARGE_BYTES {
        let room = LARGE_BYTES - message.len();
        message.extend(std::iter::repeat_n(b'x', room.min(78).saturating_sub(2)));
        message.extend_from_slice(b"\r\n");
    }
    assert_eq!(message.len(), LARGE_BYTES);
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

    reader.send(b"2 SELECT INBOX\r\n");
    until_tag(&mut reader, "2");
    usage::forget_peak(house.id());
    let before_reading = usage::peak_kib(house.id());
    reader.send(b"3 FETCH 2 BODY.PEEK[]\r\n");
    let read = until_tag(&mut reader, "3");
    let given = usage::peak_kib(house.id());
    let sent = String::from_utf8(message).expect("ASCII");
    assert!(read.contains(&sent), "{} bytes read, {} sent", read.len(), sent.len());
    figure(&format!(
        "a message of {} MiB: at most {} KiB more memory to receive it, {} KiB to give it out",
        LARGE_BYTES >> 20,
        received - before,
        given - before_reading
    ));
    assert!(received - before <= LARGE_KIB_MAX, "{before} KiB before, {received}");
    assert!(given - before_reading <= LARGE_KIB_MAX, "{before_reading} KiB before, {given}");
}

/// What comes up to the line with this tag, which must say OK.
fn until_tag(wire: &mut Wire, tag: &str) -> String {
    let mut all = String::new();
    loop {
        let line = wire.line();
        if let Some(rest) = line.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' ')) {
            assert!(rest.starts_with("OK"), "{line}");
            return all;
        }
        assert!(!line.is_empty() || all.len() < 2 * LARGE_BYTES, "the connection is closed");
        all.push_str(&line);
        all.push_str("\r\n");
    }
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
