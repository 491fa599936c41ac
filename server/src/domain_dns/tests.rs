//! A domain whose records are all there, each record missing, each wrong in the ways there are, and
//! a DNS that says nothing.

use std::sync::Arc;

use gracedb::db::Db;
use gracedb::options::Options;
use hickory_resolver::proto::rr::rdata::{SRV, TLSA};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tempfile::TempDir;

use grace_ipc::domain_dns::{DnsPurpose, DnsVerdict};

use super::*;
use crate::config::Config;
use crate::dns::testing::{Server, Zone};
use crate::store;
use crate::telemetry::bus::Bus;

const HOST: &str = "mail.grace.test";
const DOMAIN: &str = "grace.test";

/// What is published: type, name, value.
type Published = Vec<(String, String, String)>;

/// A server with a domain and its keys, whatever the DNS says.
struct House {
    folder: TempDir,
    db: Db,
    settings: &'static str,
}

impl House {
    async fn open(settings: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(Options::new(folder.path().join("store")), store::SCHEMA).unwrap();
        let house = Self { folder, db, settings };
        let services = house.services(&Server::start(Zone::default()).await);
        services.directory.create_domain(DOMAIN, "test").await.unwrap();
        services.signing.create(DOMAIN, "test").await.unwrap();
        house
    }

    fn services(&self, names: &Server) -> Services {
        let file = self.folder.path().join("c.toml");
        let text = format!("hostname = \"{HOST}\"\n{}", self.settings);
        std::fs::write(&file, text).unwrap();
        let mut config = Config::load(Some(&file), Some(self.folder.path())).unwrap();
        config.dns = names.settings();
        // The addresses of these tests are nobody's.
        config.transport.mta_sts = "off".to_owned();
        Services::new(Arc::new(config), Bus::new(100), self.db.clone()).unwrap().0
    }

    /// What is to be published.
    async fn wanted(&self) -> Published {
        let services = self.services(&Server::start(Zone::default()).await);
        let rows = of(&services, DOMAIN, false).await.unwrap();
        assert!(rows.iter().all(|row| row.verdict == DnsVerdict::Unchecked && !row.why.is_empty()));
        rows.into_iter().map(|row| (row.record_type, row.name, row.value)).collect()
    }

    async fn check(&self, zone: Zone) -> Vec<DomainDnsRow> {
        let names = Server::start(zone).await;
        of(&self.services(&names), DOMAIN, true).await.unwrap()
    }
}

/// Every door, at an address that others reach.
const PUBLIC: &str = "[listen]\n\
    smtp = [\"192.0.2.25:25\", \"[2001:db8::25]:25\"]\n\
    submission = []\n\
    imap = [\"192.0.2.25:1143\"]\n";

fn zone(published: &Published) -> Zone {
    published.iter().fold(Zone::default(), |zone, (kind, name, value)| {
        let mut words = value.split(' ');
        let mut number = || words.next().unwrap().parse::<u16>().unwrap();
        match kind.as_str() {
            "A" => zone.a(name, value),
            "AAAA" => zone.aaaa(name, value),
            "TXT" => zone.txt(name, value),
            "CNAME" => zone.cname(name, value),
            "PTR" => zone.ptr(name, value),
            "MX" => zone.mx(name, number(), words.next().unwrap()),
            "SRV" => {
                let (priority, weight, port) = (number(), number(), number());
                let target = Name::from_ascii(words.next().unwrap()).unwrap();
                zone.with(name, RData::SRV(SRV::new(priority, weight, port, target)))
            }
            "TLSA" => {
                let mut byte = || u8::try_from(number()).unwrap();
                let (usage, selector, matching) = (byte(), byte(), byte());
                let hex = words.next().unwrap().as_bytes().chunks(2);
                let hex_byte =
                    |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
                let data = hex.map(hex_byte).collect();
                let (usage, selector) = (usage.into(), selector.into());
                zone.with(name, RData::TLSA(TLSA::new(usage, selector, matching.into(), data)))
            }
            "file" => zone,
            other => panic!("{other}"),
        }
    })
}

fn row<'a>(rows: &'a [DomainDnsRow], kind: &str, name: &str) -> &'a DomainDnsRow {
    let found = rows.iter().find(|row| row.record_type == kind && row.name == name);
    found.unwrap_or_else(|| panic!("no {kind} of {name}"))
}

#[tokio::test]
async fn what_is_published_as_wanted_is_found() {
    let house = House::open(PUBLIC).await;
    let wanted = house.wanted().await;
    let rows = house.check(zone(&wanted)).await;
    for row in &rows {
        let expected =
            if row.record_type == "file" { DnsVerdict::Unchecked } else { DnsVerdict::Found };
        assert_eq!(row.verdict, expected, "{row:#?}");
    }
    let purposes = DnsPurpose::ALL.into_iter();
    let without: Vec<_> =
        purposes.filter(|purpose| rows.iter().all(|row| row.purpose != *purpose)).collect();
    assert_eq!(without, [], "every purpose has a record");
    assert_eq!(row(&rows, "SRV", "_imap._tcp.grace.test").value, "0 1 1143 mail.grace.test.");
    assert_eq!(row(&rows, "SRV", "_submission._tcp.grace.test").value, "0 0 0 .");
    assert_eq!(row(&rows, "PTR", "25.2.0.192.in-addr.arpa").value, "mail.grace.test.");
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let house = House::open(PUBLIC).await;
    let wanted = house.wanted().await;
    for (place, (kind, name, _)) in wanted.iter().enumerate() {
        if kind == "file" {
            continue;
        }
        let mut published = wanted.clone();
        published.remove(place);
        let rows = house.check(zone(&published)).await;
        let row = row(&rows, kind, name);
        assert_eq!(row.verdict, DnsVerdict::Missing, "{row:#?}");
        assert!(!row.advice.is_empty(), "{row:#?}");
    }
}

/// Type and name of a record, what is published instead of it, and what is said of that.
const OTHERWISE: &[&str] = &[
    "MX | grace.test | 10 mx.far.test. | wrong | other servers than mail.grace.test",
    "MX | grace.test | 0 . | wrong | takes no mail",
    "MX | grace.test | 5 mx.far.test. & 9 mail.grace.test. | found | mx.far.test is asked before",
    "MX | grace.test | 9 mx.far.test. & 5 Mail.Grace.test. | found | ",
    "A | mail.grace.test | 192.0.2.26 | wrong | another address than its own",
    "A | mail.grace.test | 192.0.2.26 & 192.0.2.25 | found | the other addresses",
    "TXT | grace.test | hello | missing | publish it",
    "TXT | grace.test | v=spf1 mx a:x.test -all | found | ",
    "TXT | grace.test | hello & V=SPF1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ?all | found | ",
    "TXT | grace.test | v=spf1 ip4:192.0.2.25 -all | wrong | does not let 2001:db8::25 send",
    "TXT | grace.test | v=spf1 -all | wrong | does not let 192.0.2.25 send",
    "TXT | grace.test | v=spf1 +all | wrong | lets everybody",
    "TXT | grace.test | v=spf1 mx -all & v=spf1 a -all | wrong | more than one record",
    "TXT | grace.test | v=spf1 ip4:none -all | wrong | makes no sense",
    "TXT | _dmarc.grace.test | v=DMARC1; p=reject | found | ",
    "TXT | _dmarc.grace.test | v=DMARC1;p=none;rua=mailto:a@b.test | found | p=none",
    "TXT | _dmarc.grace.test | v=DMARC1; p=refuse | wrong | p=refuse is no policy",
    "TXT | _dmarc.grace.test | v=DMARC1; rua=mailto:a@b.test | wrong | no policy, p=",
    "TXT | _dmarc.grace.test | v=DMARC1; p=none & v=DMARC1; p=reject | wrong | there are 2",
    "TXT | _dmarc.grace.test | p=reject | wrong | no text there begins with v=DMARC1",
    "TXT | _mta-sts.grace.test | v=STSv1; id=20261130 | found | ",
    "TXT | _mta-sts.grace.test | v=STSv1; id=2026-11-30 | wrong | id is not",
    "TXT | _smtp._tls.grace.test | v=TLSRPTv1; rua=https://r.test/ | found | ",
    "TXT | _smtp._tls.grace.test | v=TLSRPTv1; rua=here | wrong | no place for reports",
    "TLSA | _25._tcp.mail.grace.test | 3 1 1 00ff | wrong | no record has the key in use",
    "SRV | _imaps._tcp.grace.test | 0 1 993 imap.far.test. | wrong | in another place",
    "SRV | _imaps._tcp.grace.test | 0 1 994 mail.grace.test. | wrong | in another place",
    "SRV | _imaps._tcp.grace.test | 0 0 0 . | wrong | not offered, and it is",
    "SRV | _pop3._tcp.grace.test | 0 1 110 mail.grace.test. | wrong | not offered here",
    "PTR | 25.2.0.192.in-addr.arpa | host.far.test. | wrong | does not have this address",
    "PTR | 25.2.0.192.in-addr.arpa | autoconfig.grace.test. | found | its name is autoconfig.grace.test",
    "CNAME | autoconfig.grace.test | web.grace.test. | found | another server",
];

#[tokio::test]
async fn what_is_otherwise_is_judged_by_what_it_does() {
    let house = House::open(PUBLIC).await;
    let mut wanted = house.wanted().await;
    wanted.push(("A".to_owned(), "web.grace.test".to_owned(), "192.0.2.80".to_owned()));
    for line in OTHERWISE {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let [kind, name, instead, verdict, advice] = parts[..] else { panic!("{line}") };
        let mut published = wanted.clone();
        published.retain(|(k, n, _)| (k.as_str(), n.as_str()) != (kind, name));
        let values = instead.split(" & ").map(str::to_owned);
        published.extend(values.map(|value| (kind.to_owned(), name.to_owned(), value)));
        let rows = house.check(zone(&published)).await;
        let row = row(&rows, kind, name);
        assert_eq!(row.verdict.name(), verdict, "{line}: {row:#?}");
        assert!(row.advice.contains(advice), "{line}: {row:#?}");
        assert_eq!(row.advice.is_empty(), advice.is_empty(), "{line}: {row:#?}");
        let nothing_found = row.verdict == DnsVerdict::Missing;
        assert_eq!(row.found.is_empty(), nothing_found, "{line}: {row:#?}");
    }
}

#[tokio::test]
async fn an_alias_is_no_mail_server_and_another_key_no_key() {
    let house = House::open(PUBLIC).await;
    let mut published = house.wanted().await;
    for (kind, name, value) in &mut published {
        if name == HOST && kind != "TXT" {
            *name = "real.grace.test".to_owned();
        } else if name.contains("_domainkey") {
            *value = "v=DKIM1; p=AAAA".to_owned();
        }
    }
    let alias = ("CNAME".to_owned(), HOST.to_owned(), "real.grace.test".to_owned());
    published.push(alias);
    let rows = house.check(zone(&published)).await;
    let mx = row(&rows, "MX", DOMAIN);
    assert_eq!(mx.verdict, DnsVerdict::Wrong);
    assert!(mx.advice.contains("is an alias (CNAME) of real.grace.test"), "{mx:?}");
    let keys: Vec<_> = rows.iter().filter(|row| row.purpose == DnsPurpose::Dkim).collect();
    assert_eq!(keys.len(), 2);
    assert!(keys.iter().all(|row| row.verdict == DnsVerdict::Wrong), "{keys:?}");
}

#[tokio::test]
async fn what_nobody_says_is_unknown() {
    let house = House::open(PUBLIC).await;
    let wanted = house.wanted().await;
    let zone = zone(&wanted)
        .broken(DOMAIN, RecordType::MX)
        .broken(DOMAIN, RecordType::TXT)
        .silent(HOST, RecordType::A)
        .broken("_dmarc.grace.test", RecordType::TXT)
        .broken("_25._tcp.mail.grace.test", RecordType::TLSA)
        .broken("_imaps._tcp.grace.test", RecordType::SRV);
    let rows = house.check(zone).await;
    for (kind, name) in [
        ("MX", DOMAIN),
        ("TXT", DOMAIN),
        ("A", HOST),
        ("TXT", "_dmarc.grace.test"),
        ("TLSA", "_25._tcp.mail.grace.test"),
        ("SRV", "_imaps._tcp.grace.test"),
    ] {
        let row = row(&rows, kind, name);
        assert_eq!(row.verdict, DnsVerdict::Unknown, "{row:#?}");
        assert!(!row.advice.is_empty(), "{row:#?}");
    }
    assert_eq!(row(&rows, "AAAA", HOST).verdict, DnsVerdict::Found);
}

#[tokio::test]
async fn mail_through_another_server_comes_from_there() {
    let house = House::open("[queue]\nsmart_host = \"relay.far.test:587\"\n").await;
    let services = house.services(&Server::start(Zone::default()).await);
    for key in services.signing.list(Some(DOMAIN)).unwrap() {
        services.signing.delete(DOMAIN, &key.selector, "test").await.unwrap();
    }
    let spf = "v=spf1 mx a:relay.far.test ~all";
    let of_zone = Zone::default()
        .a("relay.far.test", "192.0.2.99")
        .a(HOST, "10.0.0.1")
        .mx(DOMAIN, 10, HOST)
        .txt(DOMAIN, spf);
    let rows = house.check(of_zone.clone()).await;
    let policy = row(&rows, "TXT", DOMAIN);
    assert_eq!((policy.value.as_str(), policy.verdict), (spf, DnsVerdict::Found), "{policy:?}");
    // What the settings do not know is taken from the DNS, and judged all the same.
    let address = row(&rows, "A", HOST);
    assert_eq!((address.value.as_str(), address.verdict), ("10.0.0.1", DnsVerdict::Wrong));
    assert!(rows.iter().all(|row| row.record_type != "PTR"), "nobody names a private address");
    let key = row(&rows, "TXT", "_domainkey.grace.test");
    assert_eq!(key.verdict, DnsVerdict::Missing);
    assert!(key.zone_line().starts_with("; _domainkey.grace.test. TXT: make keys"), "{key:?}");

    let rows = house.check(Zone::default().txt(DOMAIN, spf)).await;
    assert_eq!(row(&rows, "A", HOST).verdict, DnsVerdict::Missing, "nobody knows where we are");
    let policy = row(&rows, "TXT", DOMAIN);
    assert_eq!(policy.verdict, DnsVerdict::Unknown, "{policy:?}");
    let none = of(&services, "far.test", true).await;
    assert!(matches!(none, Err(Refusal::Missing(_))), "{none:?}");
}
