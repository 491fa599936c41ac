//! The house from its keeper's side: `gracectl`, signals, certificates, what an idle daemon costs.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use grace_tests::house::{self, DOMAIN, HOSTNAME, House};
use grace_tests::log::{self, Mark};
use grace_tests::usage;
use grace_tests::wire::Wire;
use grace_tests::{figure, program};
use serde_json::{Value, json};

/// Most resident memory of an idle daemon, in KiB: 19 MB in this unoptimised build, of which more
/// than half are pages of the program's own file.
const IDLE_KIB_MAX: u64 = 19_000_000 / 1_024;
/// Longest time a stop may take when nothing is under way.
const STOP_MAX: Duration = Duration::from_secs(2);

#[test]
fn domains_and_accounts_come_and_go() {
    let house = House::start();
    let ann = house.account("ann");
    house.ctl_ok(&["domain", "create", "Second.Example"]);
    let domains = house.ctl_json(&["domain", "list"]);
    let names: Vec<&str> =
        domains.as_array().expect("a list").iter().map(|row| log::text(row, "name")).collect();
    assert_eq!(names, [DOMAIN, "second.example"]);
    let rows = house.ctl_json(&["account", "list", "--domain", DOMAIN]);
    assert_eq!(rows[0]["address"], ann.address);
    assert_eq!(rows[0]["messages"], 0);
    assert_eq!(house.ctl_json(&["account", "list", "--domain", "second.example"]), json!([]));
    assert!(house.ctl_ok(&["account", "list"]).contains(&ann.address));

    Wire::deliver(&house, &ann, "kept");
    assert_eq!(house.messages(&ann), 1);
    let stats = house.ctl_json(&["stats"]);
    for (counter, value) in [("messages_accepted", 1), ("messages_delivered", 1), ("accounts", 1)] {
        assert_eq!(log::number(&stats, counter), value, "{counter}: {stats}");
    }

    let deleted = house.ctl_json(&["account", "delete", &ann.address]);
    assert_eq!(deleted["what"], ann.address);
    house.ctl_ok(&["domain", "delete", "second.example"]);
    assert_eq!(house.ctl_json(&["account", "list"]), json!([]));
    // Each change is told.
    house.log().wait_count(Mark::START, "DirectoryChanged", 5, |_| true);
}

#[test]
fn refusals_end_with_1_and_wrong_usage_with_2() {
    let house = House::start();
    let ann = house.account("ann");
    let password = house.folder().join("ann.password");
    let password = password.to_string_lossy();
    let create =
        |address: &str| house.ctl(&["account", "create", address, "--password-file", &password]);
    for (output, part) in [
        (create(&ann.address), "ann@grace.test"),
        (create("bob@nowhere.example"), "nowhere.example"),
        (create("no address"), "no address"),
        (house.ctl(&["account", "delete", "bob@grace.test"]), "bob@grace.test"),
        (house.ctl(&["domain", "create", DOMAIN]), DOMAIN),
        (house.ctl(&["domain", "delete", DOMAIN]), DOMAIN),
        (house.ctl(&["account", "create", "x@grace.test", "--password-file", "/none"]), "/none"),
    ] {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("gracectl: ") && said.contains(part), "{said}");
        assert!(output.stdout.is_empty(), "refusals go to standard error");
    }
    for arguments in [&["account"][..], &["nonsense"], &["domain", "create"], &["stats", "--x"]] {
        assert_eq!(house.ctl(arguments).status.code(), Some(2), "{arguments:?}");
    }
    // Nobody there: which socket, and what to do.
    let mut absent = Command::new(program::ours("gracectl"));
    let output = program::run(absent.args(["--socket", "/nonexistent/admin.sock", "stats"]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/nonexistent/admin.sock"), "{said}");
    let mut lost = Command::new(program::ours("gracectl"));
    let output = program::run(lost.arg("stats").current_dir(house.folder()));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("is graced running?") && said.contains("--socket"), "{said}");
}

#[test]
fn a_new_password_counts_and_the_old_one_does_not() {
    let house = House::start_with("[limits]\nlogin_failure_delay_ms = 0\n");
    let mut ann = house.account("ann");
    assert!(house.lets_in(&ann.address, &ann.password));
    let old = ann.clone();
    ann.password = "a new one".to_owned();
    let file = house.folder().join("new.password");
    fs::write(&file, "a new one\nsecond line\n").expect("the folder is writable");
    let file = file.to_string_lossy();
    house.ctl_ok(&["account", "password", &ann.address, "--password-file", &file]);
    assert!(house.lets_in(&ann.address, &ann.password), "the new password");
    assert!(!house.lets_in(&old.address, &old.password), "the old password");
}

#[test]
fn events_are_followed() {
    let house = House::start();
    let ann = house.account("ann");
    let mut follower = house
        .ctl_command()
        .args(["events", "--follow", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gracectl starts");
    let lines = BufReader::new(follower.stdout.take().expect("piped")).lines();
    let mut events = lines.map(|line| {
        let line = line.expect("gracectl writes lines");
        serde_json::from_str::<Value>(&line).expect("each line is an object")
    });
    // What already happened comes first, so its first line says that the subscription stands.
    events.next().expect("the house has a past");
    let delivered = Wire::deliver(&house, &ann, "followed");
    let seen = events.find(|event| event["event"] == "MessageDelivered").expect("it is told");
    assert_eq!(seen["account"], ann.address);
    assert_eq!(seen["queue_id"], delivered["queue_id"]);
    follower.kill().expect("it runs until stopped");
    follower.wait().expect("it ends");
    let past = house.ctl_ok(&["events", "--backlog", "5", "--json"]);
    assert_eq!(past.lines().count(), 5, "{past}");
}

/// A self-signed certificate for the house's name with a subject to tell it by.
fn certificate(folder: &Path, subject: &str) {
    program::run_ok(
        Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-days", "2", "-subj", &format!("/CN={subject}")])
            .args(["-addext", &format!("subjectAltName=DNS:{HOSTNAME}")])
            .arg("-keyout")
            .arg(folder.join("key.pem"))
            .arg("-out")
            .arg(folder.join("certificate.pem")),
    );
}

/// The subject of the certificate a door shows.
fn shown(house: &House, service: &str) -> String {
    let port = house.port(service).to_string();
    let line = format!(
        "openssl s_client -connect 127.0.0.1:{port} </dev/null 2>/dev/null | \
         openssl x509 -noout -subject"
    );
    program::run_ok(Command::new("sh").args(["-c", &line])).trim().to_owned()
}

#[test]
fn a_new_certificate_is_read_on_hangup() {
    let keys = house::Folder::new();
    certificate(keys.path(), "first");
    let path = keys.path().display();
    let house = House::start_with(&format!(
        "[tls]\ncertificate = \"{path}/certificate.pem\"\nkey = \"{path}/key.pem\"\n"
    ));
    assert!(shown(&house, "Imaps").ends_with("first"));
    // A client that is here stays while the certificate changes.
    let mut client = Wire::connect(house.port("Smtp"));
    client.check("S: 220 *");
    certificate(keys.path(), "second");
    let mark = house.log().mark();
    house.signal("HUP");
    house.log().wait(mark, "CertificateReloaded", |_| true);
    assert!(shown(&house, "Imaps").ends_with("second"));
    assert!(shown(&house, "Submissions").ends_with("second"));
    client.check("C: NOOP\nS: 250 *");
    // One that cannot be used is refused, and the old one stays.
    fs::write(keys.path().join("certificate.pem"), "no certificate").expect("writable");
    let mark = house.log().mark();
    house.signal("HUP");
    let rejected = house.log().wait(mark, "CertificateRejected", |_| true);
    assert!(log::text(&rejected, "reason").contains("certificate.pem"), "{rejected}");
    assert!(shown(&house, "Imaps").ends_with("second"));
}

#[test]
fn a_stop_says_goodbye_and_keeps_everything() {
    let mut house = House::start();
    let ann = house.account("ann");
    let idle = house.stop();
    house.start_again();
    assert!(idle < STOP_MAX, "nothing was under way, and it took {idle:?}");
    Wire::deliver(&house, &ann, "kept");
    let mut smtp = Wire::connect(house.port("Smtp"));
    smtp.check("S: 220 *");
    let mut imap = Wire::connect(house.port("Imap"));
    imap.check("S: * OK*");
    let took = house.stop();
    smtp.check("S: 421 4.3.2 *\n-- closed");
    imap.check("S: * BYE*\n-- closed");
    assert!(took < STOP_MAX, "idle clients do not hold it up, and it took {took:?}");
    house.start_again();
    assert_eq!(house.messages(&ann), 1);
    house.signal("INT");
    house.stop_was_asked();
    figure(&format!("stop: {idle:.1?} with nobody there, {took:.1?} with idle clients"));
}

#[test]
fn an_idle_daemon_is_small_and_quiet() {
    let house = House::start();
    let _ann = house.account("ann");
    // Two readings a second apart: what it needs at rest, and whether it rests.
    let before = usage::processor_ms(house.id());
    std::thread::sleep(Duration::from_secs(3));
    let busy_ms = usage::processor_ms(house.id()) - before;
    let usage = house.usage();
    figure(&format!(
        "idle graced: {} KiB resident (Pss {} KiB), {} threads, {busy_ms} ms of processor in 3 s, \
         open {:.0?} after its start",
        usage.resident_kib,
        usage.proportional_kib,
        usage.threads,
        house.opening()
    ));
    assert!(usage.resident_kib < IDLE_KIB_MAX, "{usage:?}, at most {IDLE_KIB_MAX} KiB");
    assert!(busy_ms <= 30, "an idle daemon does nothing, and this one used {busy_ms} ms in 3 s");
}

#[test]
fn wrong_configuration_is_told_with_file_and_setting() {
    let folder = house::Folder::new();
    let file = folder.path().join("graced.toml");
    for (text, part) in [
        ("hostnme = \"x\"\n", "hostnme"),
        ("hostname = \"mail.grace.test\"\n[limits]\nrecipients_max = 1\n", "limits.recipients_max"),
        ("hostname = \"mail.grace.test\"\n[listen]\nsmtp = [\"25\"]\n", "listen.smtp"),
    ] {
        fs::write(&file, text).expect("the folder is writable");
        let mut check = Command::new(program::ours("graced"));
        let output = program::run(check.arg("check").arg("--config").arg(&file));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("graced.toml") && said.contains(part), "{said}");
    }
    fs::write(&file, "hostname = \"mail.grace.test\"\n").expect("the folder is writable");
    program::run_ok(Command::new(program::ours("graced")).arg("check").arg("--config").arg(&file));
}

#[test]
fn a_second_daemon_does_not_touch_the_first_ones_data() {
    let house = House::start();
    let ann = house.account("ann");
    let mut second = Command::new("timeout");
    second.arg("20").arg(program::ours("graced"));
    let output = program::run(second.arg("--config").arg(house.folder().join("graced.toml")));
    assert_eq!(output.status.code(), Some(1), "{}", program::both(&output));
    Wire::deliver(&house, &ann, "still here");
    assert_eq!(house.messages(&ann), 1);
}
