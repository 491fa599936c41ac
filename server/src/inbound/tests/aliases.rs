//! Addresses that stand for accounts: other names, groups, what catches the rest.

use super::*;
use crate::directory::Refusal;

async fn alias(house: &House, address: &str, accounts: &[&str]) {
    let accounts: Vec<String> = accounts.iter().map(|name| format!("{name}@grace.test")).collect();
    house.services.directory.set_alias(address, &accounts, "test").await.unwrap();
}

/// The accounts that a message for these recipients was delivered to, and our answers.
async fn delivered(house: &House, recipients: &[&str]) -> (Vec<String>, String) {
    let lines: String =
        recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>\r\n")).collect();
    let reader = &mut house.services.porter.bus.reader(usize::MAX);
    reader.take(usize::MAX);
    let session = format!(
        "EHLO x\r\nMAIL FROM:<c@x.example>\r\n{lines}DATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n"
    );
    let answers = house.say(session.as_bytes()).await;
    let mut accounts = Vec::new();
    for event in reader.take(usize::MAX).events {
        if let EventKind::MessageDelivered { account, .. } = &event.kind {
            accounts.push(account.clone());
        }
    }
    accounts.sort();
    (accounts, answers)
}

#[tokio::test]
async fn an_alias_reaches_all_it_stands_for_once() {
    let house = House::open(Service::Smtp).await;
    alias(&house, "Sales@grace.test", &["anna", "bob"]).await;
    alias(&house, "a@grace.test", &["anna"]).await;
    let to = ["sales@grace.test", "a@grace.test", "sales+x@grace.test", "anna@grace.test"];
    let (accounts, answers) = delivered(&house, &to).await;
    assert_eq!(accounts, ["anna@grace.test", "bob@grace.test"], "{answers}");
    house.services.directory.delete_account("bob@grace.test", "test").await.unwrap();
    let (accounts, _) = delivered(&house, &["sales@grace.test"]).await;
    assert_eq!(accounts, ["anna@grace.test"]);
    house.services.directory.delete_account("anna@grace.test", "test").await.unwrap();
    let (accounts, answers) = delivered(&house, &["sales@grace.test"]).await;
    assert!(accounts.is_empty() && answers.contains("550 5.1.1"), "{answers}");
    house.close().await;
}

#[tokio::test]
async fn what_has_no_place_is_caught() {
    let house = House::open(Service::Smtp).await;
    let (_, answers) = delivered(&house, &["whoever@grace.test"]).await;
    assert!(answers.contains("550 5.1.1"), "{answers}");
    alias(&house, "@grace.test", &["bob"]).await;
    for (to, account) in [("whoever", "bob"), ("anna", "anna"), ("postmaster", "postmaster")] {
        let (accounts, _) = delivered(&house, &[&format!("{to}@grace.test")]).await;
        assert_eq!(accounts, [format!("{account}@grace.test")], "{to}");
    }
    house.services.directory.delete_alias("@grace.test", "test").await.unwrap();
    let (_, answers) = delivered(&house, &["whoever@grace.test"]).await;
    assert!(answers.contains("550 5.1.1"), "{answers}");
    house.close().await;
}

#[tokio::test]
async fn an_alias_is_no_account_and_no_alias_of_aliases() {
    let house = House::open(Service::Smtp).await;
    let directory = &house.services.directory;
    alias(&house, "a@grace.test", &["anna"]).await;
    let set = async |address: &str, accounts: &[&str]| {
        let accounts: Vec<String> = accounts.iter().map(|&account| account.to_owned()).collect();
        directory.set_alias(address, &accounts, "test").await
    };
    assert!(matches!(set("anna@grace.test", &["bob@grace.test"]).await, Err(Refusal::Exists(_))));
    assert!(matches!(set("b@grace.test", &["a@grace.test"]).await, Err(Refusal::Missing(_))));
    assert!(matches!(set("b@other.test", &["anna@grace.test"]).await, Err(Refusal::Missing(_))));
    assert!(matches!(set("b@grace.test", &[]).await, Err(Refusal::Invalid(_))));
    assert!(matches!(set("b", &["anna@grace.test"]).await, Err(Refusal::Invalid(_))));
    let password = Zeroizing::new("correct horse".to_owned());
    let made = directory.create_account("a@grace.test", password, "test").await;
    assert!(matches!(made, Err(Refusal::Exists(_))));
    house.close().await;
}

#[tokio::test]
async fn who_an_alias_stands_for_may_send_as_it() {
    let house = House::open(Service::Submission).await;
    alias(&house, "sales@grace.test", &["anna"]).await;
    alias(&house, "press@grace.test", &["bob"]).await;
    let answers = house
        .say(
            b"EHLO x\r\nAUTH PLAIN AGFubmFAZ3JhY2UudGVzdABjb3JyZWN0IGhvcnNl\r\n\
              MAIL FROM:<press@grace.test>\r\nMAIL FROM:<sales@grace.test>\r\nQUIT\r\n",
        )
        .await;
    let refused = "553 5.7.1 anna@grace.test may not send as <press@grace.test>\r\n\
                   250 2.1.0 sender ok\r\n";
    assert!(answers.contains(refused), "{answers}");
    house.close().await;
}
