//! What is told of a message and of who was refused, so that both can be found later.

use super::*;

#[tokio::test]
async fn whatever_becomes_of_a_message_its_names_are_told() {
    let house = House::open(Service::Smtp).await;
    let many: String = (0..12).map(|n| format!("RCPT TO:<anna+{n}@grace.test>\r\n")).collect();
    let too_long = format!("X: {}\r\n", "x".repeat(70)).repeat(10_000);
    let answers = house
        .say(
            format!(
                "EHLO x\r\nMAIL FROM:<eve@x.example>\r\nRCPT TO:<nobody@grace.test>\r\n\
                 RCPT TO:<anna@grace.test>\r\nDATA\r\nMessage-ID: <1@x.example>\r\n{too_long}\
                 \r\n.\r\nMAIL FROM:<>\r\n{many}DATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n"
            )
            .as_bytes(),
        )
        .await;
    assert!(answers.contains("552 5.3.4") && answers.contains("250 2.0.0 ok"), "{answers}");
    let mut reader = house.services.porter.bus.reader(usize::MAX);
    let events = reader.take(usize::MAX).events;
    let told = events.iter().filter_map(|event| match &event.kind {
        EventKind::MessageIdentified { sender, message_id, recipients, about, .. } => {
            assert_eq!(about, "");
            Some(format!("<{sender}> <{message_id}> to {}", recipients.len()))
        }
        EventKind::RecipientRefused { sender, recipient, reply, .. } => {
            Some(format!("<{sender}> not to {recipient}: {reply}"))
        }
        EventKind::MessageRefused { sender, .. } => Some(format!("<{sender}> refused")),
        EventKind::MessageAccepted { sender, .. } => Some(format!("<{sender}> accepted")),
        _ => None,
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            "<eve@x.example> not to nobody@grace.test: \
             550 5.1.1 no mailbox <nobody@grace.test> here",
            "<eve@x.example> <1@x.example> to 1",
            "<eve@x.example> refused",
            "<> <> to 10",
            "<> <> to 2",
            "<> accepted",
        ]
    );
    house.close().await;
}
