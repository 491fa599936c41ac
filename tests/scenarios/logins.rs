//! Logins from outside: SCRAM by hand, application passwords, and what an admin sets.

use std::process::Command;

use grace_tests::house::{Account, House};
use grace_tests::log::{Mark, number, text};
use grace_tests::wire::Wire;
use grace_tests::{program, script};
use serde_json::json;

/// A house in which wrong passwords cost no time.
fn house() -> House {
    House::start_with("[limits]\nlogin_failure_delay_ms = 0\n")
}

fn app_password(house: &House, account: &Account, name: &str, scope: &str) -> String {
    let made = ["account", "app-password", "add", &account.address, name, "--for", scope];
    house.ctl_ok(&made).trim_end().to_owned()
}

#[test]
fn scram_and_application_passwords() {
    let house = house();
    // SASLprep knows all letters of these.
    let (ann, bob) = (house.account("ann"), house.account("bob"));
    let more = json!({
        "sends": app_password(&house, &ann, "laptop", "smtp"),
        "reads": app_password(&house, &ann, "reader", "imap"),
    });
    let arguments = script::with(script::about(&house, &[&ann, &bob]), &more);
    let result = script::run("logins", &arguments);
    assert_eq!(result["problems"], json!([]), "{result:#}");
    let listed = house.ctl_json(&["account", "app-password", "list", &ann.address]);
    let rows: Vec<_> = listed.as_array().into_iter().flatten().collect();
    let names: Vec<&str> = rows.iter().map(|row| text(row, "name")).collect();
    assert_eq!(names, ["laptop", "reader"]);
    for row in rows {
        assert_eq!(text(row, "used_from"), "127.0.0.1");
        assert!(number(row, "used_us") >= number(row, "created_us") - 1, "{row}");
    }
    let shown = house.log().text();
    for secret in [&more["sends"], &more["reads"]] {
        assert!(!shown.contains(secret.as_str().unwrap_or_default()), "a password in the log");
    }
}

#[test]
fn a_password_that_is_taken_back_ends_its_sessions() {
    let house = house();
    let ann = house.account("ann");
    let phone = app_password(&house, &ann, "phone", "both");
    let swaks = |password: &str| {
        let mut command = Command::new("swaks");
        command
            .args(["--server", "127.0.0.1", "--port", &house.port("Submissions").to_string()])
            .args(["--tls-on-connect", "--auth", "PLAIN", "--auth-user", &ann.address])
            .args(["--auth-password", password, "--helo", "client.example.org"])
            .args(["--to", &ann.address, "--from", &ann.address, "--timeout", "30"]);
        program::run(&mut command)
    };
    let sent = swaks(&phone);
    assert!(sent.status.success(), "{}", program::both(&sent));
    let mut reader = Wire::connect(house.port("Imap"));
    let mut sender = Wire::connect(house.port("Submission"));
    reader.check(&format!(
        "S: * OK *
         C: a LOGIN {} {phone}
         S: a OK *
         C: b SELECT INBOX",
        ann.address
    ));
    while !reader.line().starts_with("b OK") {}
    reader.check("C: c IDLE\n S: + *");
    sender.check(&format!(
        "S: 220 *
         C: EHLO client.example.org
         S: 250 *
         C: AUTH PLAIN {}
         S: 235 *",
        plain(&ann.address, &phone)
    ));
    house.ctl_ok(&["account", "app-password", "remove", &ann.address, "phone"]);
    reader.check("S: * BYE your login is not valid any more\n -- closed");
    sender.check("S: 421 4.7.0 your login is not valid any more, closing\n -- closed");
    // "Authentication failed".
    assert_eq!(swaks(&phone).status.code(), Some(28));
    assert!(house.lets_in(&ann.address, &ann.password));
}

/// The message of PLAIN (RFC 4616 2) as it is sent.
fn plain(login: &str, password: &str) -> String {
    let code = "import base64, sys\n\
                print(base64.b64encode('\\0'.join(['', *sys.argv[1:]]).encode()).decode())";
    let said = program::run_ok(script::python().args(["-c", code, login, password]));
    said.trim_end().to_owned()
}

#[test]
fn what_an_admin_sets_holds() {
    let house = house();
    let ann = house.account("ann");
    let shown = house.ctl_json(&["domain", "show", "grace.test"]);
    let keys: Vec<&str> =
        shown.as_array().into_iter().flatten().map(|row| text(row, "key")).collect();
    assert_eq!(keys, ["disabled", "subaddress-separator", "message-bytes-max"]);
    house.ctl_ok(&["account", "set", &ann.address, "state", "no-login"]);
    assert!(!house.lets_in(&ann.address, &ann.password));
    house.log().wait(Mark::START, "LoginFailed", |event| {
        text(event, "reason") == "the account is disabled"
    });
    house.ctl_ok(&["account", "set", &ann.address, "state", "active"]);
    assert!(house.lets_in(&ann.address, &ann.password));
    house.ctl_ok(&["alias", "set", "team@grace.test", &ann.address]);
    house.ctl_ok(&["alias", "option", "team@grace.test", "taken-from", "members"]);
    house.ctl_ok(&["domain", "set", "grace.test", "subaddress-separator", "="]);
    let rcpt = |to: &str, answer: &str| {
        Wire::connect(house.port("Smtp")).check(&format!(
            "S: 220 *
             C: EHLO client.example.org
             S: 250 *
             C: MAIL FROM:<sender@example.org>
             S: 250 *
             C: RCPT TO:<{to}@grace.test>
             S: {answer}
             C: QUIT
             S: 221 *"
        ));
    };
    rcpt("team", "550 5.7.2 *");
    rcpt("ann=shop", "250 *");
    rcpt("ann+shop", "550 5.1.1 *");
    house.ctl_ok(&["domain", "set", "grace.test", "disabled", "yes"]);
    rcpt("ann", "450 4.2.1 *");
    assert!(!house.lets_in(&ann.address, &ann.password));
    let refused = house.ctl(&["domain", "set", "grace.test", "disabled", "perhaps"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(program::both(&refused).contains("disabled: \"perhaps\" is not yes or no"));
}
