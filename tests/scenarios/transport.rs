//! Two servers, names that are signed, and a host of policies: to whom mail goes, and to whom not.
//!
//! ```text
//!   near ──names──▶ a root of the test's own (DNSSEC)      far.test, plain domains: far's
//!     ├──policy──▶ a web server (MTA-STS)
//!     └──mail────▶ far, with whatever certificate the test gives it
//! ```
//! Not here: every rule by itself (`server/src/transport`).

use grace_tests::house::{Account, Folder, House};
use grace_tests::log::{self, Mark};
use grace_tests::policy_host::{Authority, Identity, PolicyHost};
use grace_tests::script::{self, Partner};
use grace_tests::zone::Zone;
use serde_json::{Value, json};

/// How often mail is tried again, a second after the last time.
const RETRIES: usize = 32;
/// A domain whose records are signed.
const SIGNED: &str = "far.test";
/// One whose records are not.
const UNSIGNED: &str = "far.plain";

struct World {
    near: House,
    far: House,
    zone: Zone,
    policy_host: PolicyHost,
    authority: Authority,
    partner: Partner,
    folder: Folder,
}

impl World {
    /// Both servers; far's certificate is for its name, and signed by an authority near believes.
    fn open() -> Self {
        Self::open_with("far.plain")
    }

    /// The same; the host of policies is that of this domain.
    fn open_with(policy_domain: &str) -> Self {
        let (folder, zone, authority) = (Folder::new(), Zone::start(), Authority::new());
        let at = folder.path();
        authority.identity("mx.far.test").write(at);
        let far = House::start_with(&format!(
            "[dns]\nresolvers = [\"{}\"]\n[tls]\ncertificate = \"{path}/chain.pem\"\n\
             key = \"{path}/key.pem\"\n",
            zone.address(),
            path = at.display(),
        ));
        for domain in [SIGNED, UNSIGNED] {
            far.ctl_ok(&["domain", "create", domain]);
            far.account_of(&format!("bob@{domain}"), "far away");
            zone.mx(domain, 10, "mx.far.test");
        }
        zone.a("mx.far.test", "127.0.0.1");
        let host = authority.identity(&format!("mta-sts.{policy_domain}"));
        let policy_host = PolicyHost::start(&host, "");
        let near = House::start_with(&format!(
            "[dns]\nresolvers = [\"{}\"]\ntrust_anchor = \"{}\"\n\
             [queue]\nport = {}\nretry_after = [{}]\nback_off_first_s = 1\n\
             back_off_max_s = 1\nidle_s = 0\n\
             [transport]\nroots = \"{}\"\nmta_sts_port = {}\n",
            zone.address(),
            zone.anchor(at).display(),
            far.port("Smtp"),
            "\"1s\",".repeat(RETRIES),
            authority.write(at).display(),
            policy_host.port(),
        ));
        let ann = near.account("ann");
        let bob = Account { address: format!("bob@{SIGNED}"), password: "far away".to_owned() };
        let partner = Partner::start("relay", &script::about(&near, &[&ann, &bob]));
        Self { near, far, zone, policy_host, authority, partner, folder }
    }

    /// Gives far another certificate.
    fn show(&self, identity: &Identity) {
        let mark = self.far.log().mark();
        identity.write(self.folder.path());
        self.far.signal("HUP");
        self.far.log().wait(mark, "CertificateReloaded", |_| true);
    }

    /// Publishes a policy of a domain.
    fn publish(&self, domain: &str, id: &str, mode: &str, mx: &str) {
        let text = format!("version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n");
        self.policy_host.say(&text);
        self.zone.a(&format!("mta-sts.{domain}"), "127.0.0.1");
        let record = format!("_mta-sts.{domain}");
        self.zone.forget(&record);
        self.zone.txt(&record, &format!("v=STSv1; id={id};"));
    }

    /// Publishes the record of a certificate's key.
    fn vouch(&self, identity: &Identity) {
        let name = self.tlsa_name();
        self.zone.forget(&name);
        self.zone.tlsa(&name, (3, 1, 0), &identity.spki());
    }

    fn tlsa_name(&self) -> String {
        format!("_{}._tcp.mx.far.test", self.far.port("Smtp"))
    }

    /// Sends bob a letter; gives the place in near's log before that.
    fn send(&mut self, domain: &str) -> Mark {
        self.send_with(domain, &json!({}))
    }

    fn send_with(&mut self, domain: &str, more: &Value) -> Mark {
        let mark = self.near.log().mark();
        let submission = self.near.port("Submission");
        let to = format!("bob@{domain}");
        let order = json!({ "do": "send", "submission": submission, "to": to, "count": 1 });
        let sent = self.partner.ask(&script::with(order, more));
        let acknowledged = sent.get("acknowledged").and_then(Value::as_array);
        assert_eq!(acknowledged.map(Vec::len), Some(1), "{sent}");
        mark
    }

    /// How the letter went out.
    fn sent(&self, mark: Mark) -> String {
        let sent = self.near.log().wait(mark, "RecipientSent", |_| true);
        log::text(&sent, "tls").to_owned()
    }

    /// Why it waits.
    fn deferred(&self, mark: Mark) -> String {
        let deferred = self.near.log().wait(mark, "RecipientDeferred", |_| true);
        log::text(&deferred, "reason").to_owned()
    }

    /// Why it came back.
    fn failed(&self, mark: Mark) -> String {
        let failed = self.near.log().wait(mark, "RecipientFailed", |_| true);
        log::text(&failed, "reason").to_owned()
    }

    /// What a test of a delivery to bob tells, and whether it went well.
    fn tested(&self, domain: &str) -> (String, bool) {
        let test = self.near.ctl(&["test", "delivery", &format!("bob@{domain}")]);
        (String::from_utf8_lossy(&test.stdout).into_owned(), test.status.success())
    }

    /// Takes out what waits, so that the next letter is alone.
    fn clear(&self) {
        self.near.ctl_ok(&["queue", "delete", "--all"]);
    }

    /// What was wrong with TLS, as it is counted.
    fn counted(&self, mark: Mark) -> [String; 3] {
        let found = self.near.log().wait(mark, "TransportInsecure", |_| true);
        ["domain", "policy", "result"].map(|field| log::text(&found, field).to_owned())
    }
}

#[test]
fn any_certificate_will_do_where_nothing_is_said() {
    let mut world = World::open();
    let stranger = Authority::new();
    world.show(&stranger.identity("somebody.else.test"));
    for domain in [UNSIGNED, SIGNED] {
        let mark = world.send(domain);
        let tls = world.sent(mark);
        assert!(tls.starts_with("TLSv1.3") && !tls.contains("verified"), "{domain}: {tls}");
    }
    // That it must stay encrypted cannot be promised: the list of servers is not signed.
    let mark = world.send_with(UNSIGNED, &json!({ "options": ["REQUIRETLS"] }));
    let reason = world.failed(mark);
    assert!(reason.contains("neither DNSSEC nor MTA-STS"), "{reason}");
}

#[test]
fn a_policy_is_followed() {
    let mut world = World::open();
    world.publish(UNSIGNED, "1", "enforce", "mx.far.test");
    let mark = world.send(UNSIGNED);
    assert!(world.sent(mark).ends_with(", verified by MTA-STS"));

    // A certificate for another name: refused, until it is right again.
    let (good, bad) =
        ["mx.far.test", "mx.near.test"].map(|name| world.authority.identity(name)).into();
    world.show(&bad);
    let mark = world.send(UNSIGNED);
    let reason = world.deferred(mark);
    assert!(reason.contains("the certificate is not for mx.far.test"), "{reason}");
    assert!(reason.ends_with("asked for by far.plain's policy (MTA-STS, enforce)"), "{reason}");
    assert_eq!(world.counted(mark), ["far.plain", "sts", "certificate-host-mismatch"]);
    // Whoever says that it need not be safe gets it there.
    let waived = world.send_with(UNSIGNED, &json!({ "header": { "TLS-Required": "No" } }));
    let tls = world.sent(waived);
    assert!(tls.starts_with("TLSv1.3") && !tls.contains("verified"), "{tls}");
    let before = world.near.log().mark();
    world.show(&good);
    assert!(world.sent(before).ends_with(", verified by MTA-STS"), "the one that waited");

    // A server that the policy does not name gets nothing, good as its certificate is.
    world.publish(UNSIGNED, "2", "enforce", "*.other.test");
    let mark = world.send(UNSIGNED);
    let reason = world.deferred(mark);
    assert!(reason.contains("the domain's policy does not name it"), "{reason}");
    world.clear();

    // In testing failures are told of, and mail goes on.
    world.show(&bad);
    world.publish(UNSIGNED, "3", "testing", "mx.far.test");
    let mark = world.send(UNSIGNED);
    let tls = world.sent(mark);
    assert!(tls.starts_with("TLSv1.3") && !tls.contains("verified"), "{tls}");
    assert_eq!(world.counted(mark), ["far.plain", "sts", "certificate-host-mismatch"]);
    assert!(world.near.ctl_json(&["queue", "list"]).as_array().is_some_and(Vec::is_empty));
}

#[test]
fn records_of_a_certificate_are_followed() {
    let mut world = World::open();
    // Signed by nobody near believes, and for another name: the record alone counts.
    let stranger = Authority::new();
    let (good, bad) = ["a.test", "mx.far.test"].map(|name| stranger.identity(name)).into();
    world.vouch(&good);
    world.show(&good);
    let mark = world.send(SIGNED);
    assert!(world.sent(mark).ends_with(", verified by DANE"));
    let (told, is_well) = world.tested(SIGNED);
    assert!(told.contains("DANE: the certificate must fit the record published"), "{told}");
    assert!(told.contains("it is what is asked for; verified by DANE") && is_well, "{told}");

    world.show(&bad);
    let (told, is_well) = world.tested(SIGNED);
    assert!(told.contains("asked for by mx.far.test's TLSA records (DANE)") && !is_well, "{told}");
    let mark = world.send(SIGNED);
    let reason = world.deferred(mark);
    assert!(reason.contains("the certificate is that of no TLSA record"), "{reason}");
    assert!(reason.ends_with("asked for by mx.far.test's TLSA records (DANE)"), "{reason}");
    assert_eq!(world.counted(mark), ["far.test", "tlsa", "validation-failure"]);
    assert_eq!(world.far.ctl_json(&["account", "list"]).as_array().map(Vec::len), Some(2));
    // The domain whose list of servers is not signed is not bound by it.
    let other = world.send(UNSIGNED);
    assert!(world.sent(other).starts_with("TLSv1.3"));
    world.vouch(&bad);
    assert!(world.sent(other).starts_with("TLSv1.3"));
    world.near.log().wait(mark, "RecipientSent", |event| {
        log::text(event, "tls").ends_with(", verified by DANE")
    });

    // By another name of the server (RFC 7672 2.2.3).
    world.zone.cname("alias.far.test", "mx.far.test");
    world.zone.forget(SIGNED);
    world.zone.mx(SIGNED, 10, "alias.far.test");
    let mark = world.send(SIGNED);
    assert!(world.sent(mark).ends_with(", verified by DANE"));

    // Forged: nobody knows whose they are, so nobody gets the mail.
    world.zone.unsign(&world.tlsa_name());
    let mark = world.send(SIGNED);
    let reason = world.deferred(mark);
    assert!(reason.contains("what the DNS says of its certificate cannot be had"), "{reason}");
    assert_eq!(world.counted(mark), ["far.test", "tlsa", "dnssec-invalid"]);
    world.clear();
    world.zone.forget(&world.tlsa_name());
    let mark = world.send(SIGNED);
    assert!(!world.sent(mark).contains("verified"), "the records are gone");
}

#[test]
fn the_dns_stands_above_a_policy() {
    let mut world = World::open_with(SIGNED);
    // A policy that any good certificate meets.
    world.publish(SIGNED, "1", "enforce", "mx.far.test");
    let trusted = world.authority.identity("mx.far.test");
    world.show(&trusted);
    let mark = world.send(SIGNED);
    assert!(world.sent(mark).ends_with(", verified by MTA-STS"));

    // Good by the policy, and not by the records.
    let vouched = Authority::new().identity("a.test");
    world.vouch(&vouched);
    let mark = world.send(SIGNED);
    let reason = world.deferred(mark);
    assert!(reason.ends_with("asked for by mx.far.test's TLSA records (DANE)"), "{reason}");
    // And the other way round.
    world.show(&vouched);
    assert!(world.sent(mark).ends_with(", verified by DANE"));
}

#[test]
fn what_must_stay_encrypted_goes_to_who_promises_that() {
    let mut world = World::open();
    let requires = json!({ "options": ["REQUIRETLS"] });
    // The list of servers is signed, and the certificate is good.
    let mark = world.send_with(SIGNED, &requires);
    assert!(world.sent(mark).ends_with(", verified by a trusted authority"));
    // By a policy in place of signed names.
    world.publish(UNSIGNED, "1", "testing", "mx.far.test");
    let mark = world.send_with(UNSIGNED, &requires);
    assert!(world.sent(mark).ends_with(", verified by a trusted authority"));
    // By the records.
    let stranger = Authority::new().identity("a.test");
    world.show(&stranger);
    let mark = world.send_with(SIGNED, &requires);
    let reason = world.deferred(mark);
    assert!(reason.ends_with("asked for by the message (REQUIRETLS)"), "{reason}");
    world.vouch(&stranger);
    assert!(world.sent(mark).ends_with(", verified by DANE"));
    // Others go there as ever.
    let mark = world.send(UNSIGNED);
    assert!(world.sent(mark).starts_with("TLSv1.3"));
}
