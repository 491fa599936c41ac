//! A domain from its making to a zone where every record is right, and then each of them broken, as
//! an admin sees it.
//!
//! Not here: every way in which a record can be wrong (`server/src/domain_dns`).

use grace_tests::house::{Folder, House};
use grace_tests::log;
use grace_tests::policy_host::{Authority, PolicyHost};
use grace_tests::zone::Zone;
use serde_json::Value;

const DOMAIN: &str = "grace.test";
const HOST: &str = "mail.grace.test";
const ADDRESS: &str = "192.0.2.25";

/// A server whose name has an address of the world, and a domain with keys.
fn house(zone: &Zone) -> House {
    house_with(zone, "mta_sts = \"off\"\n")
}

fn house_with(zone: &Zone, transport: &str) -> House {
    let house = House::start_with(&format!(
        "[dns]\nresolvers = [\"{}\"]\n[transport]\n{transport}",
        zone.address()
    ));
    house.ctl_ok(&["dkim", "create", DOMAIN]);
    house
}

/// What the server says, and whether a script is told that it is well.
fn check(house: &House) -> (Vec<Value>, bool) {
    let output = house.ctl(&["domain", "dns", DOMAIN, "--json"]);
    let rows: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    (rows.as_array().cloned().expect("a list"), output.status.success())
}

fn row<'a>(rows: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is_it =
        |row: &&Value| log::text(row, "record_type") == kind && log::text(row, "name") == name;
    rows.iter().find(is_it).expect("the record is wanted")
}

fn verdict(row: &Value) -> &str {
    log::text(row, "verdict")
}

fn publish(zone: &Zone, row: &Value) {
    let (name, value) = (log::text(row, "name"), log::text(row, "value"));
    let words: Vec<&str> = value.split(' ').collect();
    let number = |at: usize| {
        let word = words.get(at).expect("as many words as the type has");
        word.parse::<u16>().expect("a number")
    };
    let last = words.last().copied().unwrap_or_default();
    match log::text(row, "record_type") {
        "A" => zone.a(name, value),
        "TXT" => zone.txt(name, value),
        "CNAME" => zone.cname(name, value),
        "PTR" => zone.ptr(name, value),
        "MX" => zone.mx(name, number(0), last),
        "SRV" => zone.srv(name, (number(0), number(1), number(2)), last),
        "TLSA" => {
            let byte = |pair: &[u8]| {
                let pair = std::str::from_utf8(pair).expect("ASCII");
                u8::from_str_radix(pair, 16).expect("hexadecimal")
            };
            let bytes: Vec<u8> = last.as_bytes().chunks(2).map(byte).collect();
            zone.tlsa(name, (3, 1, 1), &bytes);
        }
        "file" => {}
        other => assert_eq!(other, "", "a type of record the test knows"),
    }
}

#[test]
fn a_zone_is_filled_found_and_broken() {
    let zone = Zone::start();
    zone.a(HOST, ADDRESS);
    let house = house(&zone);
    let (wanted, is_well) = check(&house);
    assert!(!is_well, "nothing is published");
    assert_eq!(verdict(row(&wanted, "A", HOST)), "Found");
    assert_eq!(verdict(row(&wanted, "MX", DOMAIN)), "Missing");
    let text = house.ctl(&["domain", "dns", DOMAIN]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("missing    required     MX          MX     grace.test"), "{text}");
    assert!(text.contains("publish: 10 mail.grace.test."), "{text}");

    zone.forget(HOST);
    wanted.iter().for_each(|row| publish(&zone, row));
    let (rows, is_well) = check(&house);
    for row in &rows {
        let expected = if log::text(row, "record_type") == "file" { "Unchecked" } else { "Found" };
        assert_eq!(verdict(row), expected, "{row}");
    }
    assert!(is_well, "a script is told so");
    let lines = house.ctl_ok(&["domain", "dns", DOMAIN, "--zone"]);
    for line in
        ["grace.test. 3600 IN MX 10 mail.grace.test.", "mail.grace.test. 3600 IN A 192.0.2.25"]
    {
        assert!(lines.lines().any(|found| found == line), "{lines}");
    }
    assert!(lines.lines().any(|line| line.starts_with(';') && line.contains("STSv1")), "{lines}");

    for broken in &wanted {
        let (kind, name) = (log::text(broken, "record_type"), log::text(broken, "name"));
        // Without an address nothing is known of the rest.
        if kind == "file" || name == HOST {
            continue;
        }
        zone.forget(name);
        let (rows, is_well) = check(&house);
        assert_eq!(verdict(row(&rows, kind, name)), "Missing", "{kind} {name}");
        let is_required = log::text(broken, "importance") == "Required";
        assert_eq!(is_well, !is_required, "{kind} {name}");
        wanted
            .iter()
            .filter(|row| log::text(row, "name") == name)
            .for_each(|row| publish(&zone, row));
    }

    // Wrong ones, each in its way.
    zone.forget(DOMAIN);
    zone.mx(DOMAIN, 0, "");
    zone.txt(DOMAIN, "v=spf1 ip4:192.0.2.1 -all");
    zone.forget("_dmarc.grace.test");
    zone.txt("_dmarc.grace.test", "v=DMARC1; p=everything");
    let (rows, is_well) = check(&house);
    assert!(!is_well);
    let advice = |kind: &str, name: &str| {
        let row = row(&rows, kind, name);
        assert_eq!(verdict(row), "Wrong", "{row}");
        log::text(row, "advice").to_owned()
    };
    assert!(advice("MX", DOMAIN).contains("takes no mail"));
    assert!(advice("TXT", DOMAIN).contains("does not let 192.0.2.25 send"));
    assert!(advice("TXT", "_dmarc.grace.test").contains("p=everything is no policy"));
    let stranger = house.ctl(&["domain", "dns", "far.test"]);
    assert_eq!(stranger.status.code(), Some(1), "only domains of this server");
}

#[test]
fn the_policy_is_fetched_as_others_fetch_it() {
    let (zone, folder, authority) = (Zone::start(), Folder::new(), Authority::new());
    zone.a(HOST, ADDRESS);
    zone.a("mta-sts.grace.test", "127.0.0.1");
    let host = PolicyHost::start(&authority.identity("mta-sts.grace.test"), "");
    let roots = authority.write(folder.path());
    let house = house_with(
        &zone,
        &format!("mta_sts_port = {}\nroots = \"{}\"\n", host.port(), roots.display()),
    );
    let file = "https://mta-sts.grace.test/.well-known/mta-sts.txt";
    let look = |verdict: &str, advice: &str| {
        let (rows, _) = check(&house);
        let row = row(&rows, "file", file);
        assert_eq!(self::verdict(row), verdict, "{row}");
        assert!(log::text(row, "advice").contains(advice), "{row}");
    };
    look("Wrong", "version");
    let (rows, _) = check(&house);
    host.say(log::text(row(&rows, "file", file), "value"));
    look("Found", "testing");
    host.say("version: STSv1\r\nmode: enforce\r\nmx: *.grace.test\r\nmax_age: 86400\r\n");
    look("Found", "");
    host.say("version: STSv1\nmode: enforce\nmx: mx.far.test\nmax_age: 86400\n");
    look("Wrong", "it does not name mail.grace.test");
    zone.forget("mta-sts.grace.test");
    look("Missing", "it is not served: mta-sts.grace.test: ");
    zone.a("mta-sts.grace.test", "127.0.0.1");
    let stranger = PolicyHost::start(&Authority::new().identity("mta-sts.grace.test"), "");
    let house = house_with(
        &zone,
        &format!("mta_sts_port = {}\nroots = \"{}\"\n", stranger.port(), roots.display()),
    );
    let (rows, _) = check(&house);
    assert_eq!(verdict(row(&rows, "file", file)), "Wrong", "nobody believes its certificate");
}
