//! What is set about domains and addresses, and what a peer sees of it.

use super::*;

async fn set(house: &House, address: &str, key: &str, value: &str) {
    house.services.directory.set_address(address, key, value, "test").await.unwrap();
}

async fn set_domain(house: &House, key: &str, value: &str) {
    house.services.directory.set_domain("grace.test", key, value, "test").await.unwrap();
}

/// What a stranger hears about a recipient.
async fn rcpt(house: &House, to: &str) -> String {
    let session = format!("EHLO x\r\nMAIL FROM:<c@x.example>\r\nRCPT TO:<{to}>\r\nQUIT\r\n");
    answer(&house.say(session.as_bytes()).await, "250 2.1.0 sender ok")
}

/// What anna hears about a recipient when she logged in.
async fn annas_rcpt(house: &House, to: &str) -> String {
    let session = format!(
        "EHLO x\r\nAUTH PLAIN AGFubmFAZ3JhY2UudGVzdABjb3JyZWN0IGhvcnNl\r\n\
         MAIL FROM:<anna@grace.test>\r\nRCPT TO:<{to}>\r\nQUIT\r\n"
    );
    answer(&house.say(session.as_bytes()).await, "250 2.1.0 sender ok")
}

/// The line after another one.
fn answer(answers: &str, after: &str) -> String {
    let mut lines = answers.lines().skip_while(|line| *line != after).skip(1);
    lines.next().unwrap_or(answers).to_owned()
}

const OK: &str = "250 2.1.5 recipient ok";

#[tokio::test]
async fn who_is_disabled_gets_mail_later_or_as_ever() {
    let house = House::open(Service::Smtp).await;
    set(&house, "anna@grace.test", "state", "no-login").await;
    assert_eq!(rcpt(&house, "anna@grace.test").await, OK);
    set(&house, "anna@grace.test", "state", "disabled").await;
    let later = |to: &str| format!("450 4.2.1 <{to}> takes no mail now, please try again later");
    for to in ["anna@grace.test", "anna+shop@grace.test"] {
        assert_eq!(rcpt(&house, to).await, later(to));
    }
    assert_eq!(rcpt(&house, "bob@grace.test").await, OK);
    set(&house, "anna@grace.test", "state", "active").await;
    assert_eq!(rcpt(&house, "anna@grace.test").await, OK);
    set_domain(&house, "disabled", "yes").await;
    for to in ["bob@grace.test", "nobody@grace.test"] {
        assert_eq!(rcpt(&house, to).await, later(to));
    }
    house.close().await;
}

#[tokio::test]
async fn a_group_takes_mail_from_whom_it_may() {
    let directory = |house: &House| house.services.directory.clone();
    let mx = House::open(Service::Smtp).await;
    let bob = ["bob@grace.test".to_owned()];
    directory(&mx).set_alias("team@grace.test", &bob, "test").await.unwrap();
    set(&mx, "team@grace.test", "taken-from", "local").await;
    let no = "550 5.7.2 <team@grace.test> does not take mail from you";
    assert_eq!(rcpt(&mx, "team@grace.test").await, no);
    set(&mx, "postmaster@grace.test", "taken-from", "local").await;
    assert_eq!(rcpt(&mx, "postmaster@grace.test").await, OK, "the postmaster takes all");
    mx.close().await;

    let house = House::open(Service::Submission).await;
    directory(&house).set_alias("team@grace.test", &bob, "test").await.unwrap();
    set(&house, "team@grace.test", "taken-from", "local").await;
    assert_eq!(annas_rcpt(&house, "team@grace.test").await, OK);
    set(&house, "team@grace.test", "taken-from", "members").await;
    assert_eq!(annas_rcpt(&house, "team@grace.test").await, no);
    let both = ["anna@grace.test".to_owned(), bob[0].clone()];
    directory(&house).set_alias("team@grace.test", &both, "test").await.unwrap();
    assert_eq!(annas_rcpt(&house, "team@grace.test").await, OK);
    // What was set goes with it.
    directory(&house).delete_alias("team@grace.test", "test").await.unwrap();
    directory(&house).set_alias("team@grace.test", &bob, "test").await.unwrap();
    assert_eq!(annas_rcpt(&house, "team@grace.test").await, OK);
    house.close().await;
}

#[tokio::test]
async fn settings_fit_what_they_are_set_for() {
    let house = House::open(Service::Smtp).await;
    let directory = &house.services.directory;
    let bob = ["bob@grace.test".to_owned()];
    directory.set_alias("team@grace.test", &bob, "test").await.unwrap();
    for (address, key, value) in [
        ("team@grace.test", "state", "no-login"),
        ("team@grace.test", "send-as", "x@grace.test"),
        ("anna@grace.test", "taken-from", "members"),
        ("nobody@grace.test", "state", "disabled"),
        ("@grace.test", "state", "disabled"),
        ("anna", "state", "disabled"),
    ] {
        assert!(directory.set_address(address, key, value, "test").await.is_err(), "{address}");
    }
    assert!(directory.set_domain("other.test", "disabled", "yes", "test").await.is_err());
    set(&house, "anna@grace.test", "name", "Anna Smith").await;
    let shown = directory.address_settings("Anna@grace.test").unwrap();
    let name = shown.iter().find(|one| one.key == "name").unwrap();
    assert_eq!((name.value.as_str(), name.usual.as_str()), ("Anna Smith", ""));
    let domain = directory.domain_settings("grace.test").unwrap();
    assert!(domain.iter().all(|one| one.value == one.usual));
    house.close().await;
}

#[tokio::test]
async fn a_domain_says_what_parts_details_and_how_large_mail_is() {
    let house = House::open(Service::Smtp).await;
    set_domain(&house, "subaddress-separator", "-").await;
    assert_eq!(rcpt(&house, "anna-shop@grace.test").await, OK);
    assert!(rcpt(&house, "anna+shop@grace.test").await.starts_with("550 5.1.1"));
    set_domain(&house, "subaddress-separator", "none").await;
    assert!(rcpt(&house, "anna-shop@grace.test").await.starts_with("550 5.1.1"));
    set_domain(&house, "message-bytes-max", "65536").await;
    let declared = b"EHLO x\r\nMAIL FROM:<c@x.example> SIZE=70000\r\nRCPT TO:<anna@grace.test>\r\n\
                     QUIT\r\n";
    let large = "552 5.3.4 a recipient takes 65536 bytes at most";
    let answers = house.say(declared).await;
    assert!(answers.contains(large), "{answers}");
    let body = "x".repeat(70) + "\r\n";
    let message = |lines: usize| {
        format!(
            "EHLO x\r\nMAIL FROM:<c@x.example>\r\nRCPT TO:<anna@grace.test>\r\nDATA\r\n\
             Subject: x\r\n\r\n{}.\r\nQUIT\r\n",
            body.repeat(lines)
        )
    };
    let answers = house.say(message(1_000).as_bytes()).await;
    assert!(answers.contains(large), "{answers}");
    let answers = house.say(message(100).as_bytes()).await;
    assert!(answers.contains("250 2.0.0 ok, queued as "), "{answers}");
    house.close().await;
}

#[tokio::test]
async fn who_was_allowed_to_may_send_as_somebody_else() {
    let house = House::open(Service::Submission).await;
    set(&house, "anna@grace.test", "send-as", "Bob@grace.test @other.example").await;
    let answers = house
        .say(
            b"EHLO x\r\nAUTH PLAIN AGFubmFAZ3JhY2UudGVzdABjb3JyZWN0IGhvcnNl\r\n\
              MAIL FROM:<bob@grace.test>\r\nRSET\r\nMAIL FROM:<who@Other.example>\r\nRSET\r\n\
              MAIL FROM:<who@an-other.example>\r\nMAIL FROM:<postmaster@grace.test>\r\nQUIT\r\n",
        )
        .await;
    assert_eq!(answers.matches("250 2.1.0 sender ok").count(), 2, "{answers}");
    assert_eq!(answers.matches("553 5.7.1").count(), 2, "{answers}");
    house.close().await;
}
