//! Two servers, one of them the other's smart host: a login of a real account at its submission
//! door, a source address, a wrong password that is mended, and tests of a delivery.
//!
//! Not here: servers without manners, and what a smart host must prove (`server/src/outbound`).

use std::fs;

use grace_tests::house::{Account, House};
use grace_tests::log::{self, Mark};
use grace_tests::script;
use grace_tests::zone::Zone;
use serde_json::{Value, json};

/// `near` sends, through `far` or straight to it: ann lives at both, bob at `far.test`.
struct World {
    near: House,
    far: House,
    /// Answers for the names as long as it lives.
    _zone: Zone,
    ann: Account,
    bob: Account,
}

impl World {
    fn open() -> Self {
        let zone = Zone::start();
        let dns = format!("[dns]\nresolvers = [\"{}\"]\n", zone.address());
        let far = House::start_with(&dns);
        far.ctl_ok(&["domain", "create", "far.test"]);
        let bob = far.account_of("bob@far.test", "far away");
        zone.mx("far.test", 10, "mx.far.test");
        zone.a("mx.far.test", "127.0.0.1");
        let near = House::start_with(&format!(
            "{dns}[queue]\nport = {}\nsource_ipv4 = [\"127.0.0.2\"]\n[transport]\nroots = \"{}\"\n",
            far.port("Smtp"),
            far.certificate().display(),
        ));
        let ann = near.account("ann");
        assert_eq!(far.account("ann"), ann, "one password at both");
        Self { near, far, _zone: zone, ann, bob }
    }

    /// Sends everything through the other server, as ann, with this password.
    fn route(&self, password: &str) {
        let file = self.near.folder().join("relay.password");
        fs::write(&file, password).expect("the folder is writable");
        let (file, server) = (file.to_string_lossy(), self.smart_host());
        let login = &self.ann.address;
        #[rustfmt::skip]
        let set = [
            "route", "set", "*", "--smart-host", &server, "--login", login,
            "--password-file", &file,
        ];
        assert_eq!(self.near.ctl_ok(&set).trim(), "route to * set");
    }

    fn smart_host(&self) -> String {
        format!("127.0.0.1:{}", self.far.port("Submission"))
    }

    fn send(&self) {
        script::send_one(&self.near, &[&self.ann, &self.bob], &self.bob.address);
    }
}

fn kinds(test: &Value) -> Vec<&str> {
    let steps = test["steps"].as_array().into_iter().flatten();
    steps.map(|step| log::text(step, "kind")).collect()
}

#[test]
fn mail_goes_through_a_smart_host_with_a_login_from_an_address_of_ours() {
    let world = World::open();
    let (near, far) = (&world.near, &world.far);
    world.route("not the password of ann");
    world.send();
    let refused = near.log().wait(Mark::START, "SmartHostRefused", |_| true);
    assert_eq!(log::text(&refused, "host"), world.smart_host());
    assert!(log::text(&refused, "reason").starts_with("535 "), "{refused}");
    near.log().wait(Mark::START, "RecipientDeferred", |event| {
        log::text(event, "reason").contains("login refused: 535")
    });
    let waiting = near.ctl_json(&["queue", "list"]);
    assert_eq!(waiting.as_array().map(Vec::len), Some(1), "{waiting}");

    // Mended, what waits goes at once: its time would be a minute later.
    world.route(&world.ann.password);
    let sent = near.log().wait(Mark::START, "RecipientSent", |_| true);
    assert!(log::text(&sent, "tls").starts_with("TLSv1.3"), "{sent}");
    let login = far.log().wait(Mark::START, "LoginSucceeded", |event| {
        log::text(event, "account") == world.ann.address
    });
    assert!(log::text(&login, "peer").starts_with("127.0.0.2:"), "{login}");
    far.log().wait(Mark::START, "MessageDelivered", |event| {
        log::text(event, "account") == world.bob.address
    });

    // Nobody is told a password.
    let list = near.ctl_json(&["route", "list"]);
    assert_eq!(log::text(&list[0], "pattern"), "*");
    let shown = [list.to_string(), near.ctl_ok(&["route", "list"]), near.log().text()];
    for shown in shown {
        assert!(!shown.contains(&world.ann.password) && !shown.contains("not the password"));
    }
    assert_eq!(near.ctl_ok(&["route", "remove", "*"]).trim(), "route to * removed");
    assert_eq!(near.ctl_json(&["route", "list"]), json!([]));
    let missing = near.ctl(&["route", "remove", "*"]);
    assert_eq!(missing.status.code(), Some(1));
    let keep = ["route", "set", "*", "--smart-host", "x", "--login", "y", "--keep-password"];
    assert_eq!(near.ctl(&keep).status.code(), Some(1), "it is not known any more");
}

#[test]
fn a_delivery_is_tried_and_nothing_is_sent() {
    let world = World::open();
    let (near, far) = (&world.near, &world.far);
    let test = near.ctl_json(&["test", "delivery", "bob@far.test", "--from", &world.ann.address]);
    assert_eq!(test["verdict"], json!("Accepted"), "{test}");
    assert_eq!(
        kinds(&test),
        [
            "Recipient",
            "Route",
            "Mx",
            "Addresses",
            "Connect",
            "Greeting",
            "Hello",
            "StartTls",
            "StartTls",
            "Certificate",
            "Hello",
            "Mail",
            "Rcpt",
            "Reset",
            "Quit",
        ],
        "{test}"
    );
    let step = |kind: &str| -> Value {
        let steps = test["steps"].as_array().into_iter().flatten();
        let mut steps = steps.filter(|step| step["kind"] == json!(kind));
        steps.next().cloned().expect("there is such a step")
    };
    assert!(log::text(&step("Connect"), "text").ends_with("from 127.0.0.2"));
    // The server's own certificate names another host than its domain does.
    assert_eq!(step("Certificate")["result"], json!("Caution"));
    assert!(log::text(&step("Certificate"), "text").contains("for mail.grace.test, localhost"));
    assert!(log::text(&step("Rcpt"), "text").contains("RCPT TO:<bob@far.test> → 250 "));

    let refused = near.ctl(&["test", "delivery", "nobody@far.test"]);
    let text = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("no    rcpt"), "{text}");
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with("no: mx.far.test: 550 5.1.1"), "{text}");
    let local = near.ctl_ok(&["test", "delivery", &world.ann.address]);
    assert!(local.contains("local: ann@grace.test is the account ann@grace.test here"), "{local}");
    let wrong = near.ctl(&["test", "delivery", "no address"]);
    assert_eq!(wrong.status.code(), Some(1));

    // Through a smart host, with its login.
    world.route(&world.ann.password);
    let test = near.ctl_ok(&["test", "delivery", "bob@far.test", "--from", &world.ann.address]);
    assert!(test.contains("AUTH PLAIN (not shown) → 235 "), "{test}");
    assert!(test.contains("it proves that this is 127.0.0.1"), "{test}");
    assert!(!test.contains(&world.ann.password), "{test}");
    assert_eq!(far.messages(&world.bob), 0, "nothing was sent");
}
