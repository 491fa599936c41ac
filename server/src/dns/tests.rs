//! The resolver against a name server that is there: every kind of answer, and none.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hickory_resolver::proto::rr::rdata::MX;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::secure::Security;
use super::testing::{Server, Zone};
use super::{Cause, Failure, Mx, Resolver};
use crate::config::limits::Dns;
use crate::config::names::Nameserver;

fn mx(preference: u16, host: &str) -> Mx {
    Mx { preference, host: host.to_owned() }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn cause<T: std::fmt::Debug>(answer: Result<T, Failure>) -> Cause {
    answer.expect_err("no answer").cause
}

#[tokio::test]
async fn mail_hosts_come_in_the_order_of_their_preference() {
    let zone = Zone::default()
        .mx("example.org", 20, "Second.Example.ORG")
        .mx("example.org", 10, "first.example.org")
        .mx("quiet.example.org", 0, ".");
    let server = Server::start(zone).await;
    let resolver = server.resolver();
    let found = resolver.mx("example.org").await.expect("two hosts");
    assert_eq!(found, [mx(10, "first.example.org"), mx(20, "second.example.org")]);
    // RFC 7505
    assert_eq!(resolver.mx("quiet.example.org").await, Ok(vec![mx(0, "")]));
    assert_eq!(resolver.mx("Example.ORG.").await, Ok(found));
}

#[tokio::test]
async fn a_host_has_addresses_of_both_kinds_or_of_one() {
    let zone = Zone::default()
        .a("both.example", "192.0.2.1")
        .a("both.example", "192.0.2.2")
        .aaaa("both.example", "2001:db8::1")
        .a("four.example", "192.0.2.4")
        .aaaa("six.example", "2001:db8::6")
        .a("half.example", "192.0.2.5")
        .broken("half.example", RecordType::AAAA)
        .cname("alias.example", "six.example")
        .txt("none.example", "no address here")
        .broken("broken.example", RecordType::AAAA);
    let server = Server::start(zone).await;
    let resolver = server.resolver();
    let mut both = resolver.addresses("both.example").await.expect("three addresses");
    both[1..].sort_unstable();
    assert_eq!(both, [ip("2001:db8::1"), ip("192.0.2.1"), ip("192.0.2.2")]);
    assert_eq!(resolver.addresses("four.example").await, Ok(vec![ip("192.0.2.4")]));
    assert_eq!(resolver.addresses("alias.example").await, Ok(vec![ip("2001:db8::6")]));
    assert_eq!(resolver.addresses("half.example").await, Ok(vec![ip("192.0.2.5")]));
    assert_eq!(cause(resolver.addresses("none.example").await), Cause::NoRecord);
    assert_eq!(cause(resolver.addresses("nobody.example").await), Cause::NotThere);
    // One kind is not there, of the other nobody knows.
    let failure = resolver.addresses("broken.example").await.expect_err("one is broken");
    assert!(failure.is_temporary(), "{failure}");
}

#[tokio::test]
async fn texts_are_put_together_of_their_strings() {
    let long = "x".repeat(600);
    let zone = Zone::default()
        .txt_strings("two.example", &["v=spf1 a:192.", "0.2.1 -all"])
        .txt_strings("eight.example", &[b"caf\xe9"])
        .txt("long.example", &long);
    let server = Server::start(zone).await;
    let resolver = server.resolver();
    let found = resolver.txt("two.example").await;
    assert_eq!(found, Ok(vec![b"v=spf1 a:192.0.2.1 -all".to_vec()]));
    assert_eq!(resolver.txt("eight.example").await, Ok(vec![b"caf\xe9".to_vec()]));
    assert_eq!(resolver.txt("long.example").await, Ok(vec![long.into_bytes()]));
}

#[tokio::test]
async fn addresses_have_names() {
    let zone = Zone::default()
        .ptr("192.0.2.25", "Mail.Example.ORG")
        .ptr("2001:db8::25", "mail6.example.org");
    let server = Server::start(zone).await;
    let resolver = server.resolver();
    let found = resolver.ptr(ip("192.0.2.25")).await;
    assert_eq!(found, Ok(vec!["mail.example.org".to_owned()]));
    let found = resolver.ptr(ip("2001:db8::25")).await;
    assert_eq!(found, Ok(vec!["mail6.example.org".to_owned()]));
    let failure = resolver.ptr(ip("192.0.2.26")).await.expect_err("no name");
    assert_eq!(failure.to_string(), "192.0.2.26 does not exist");
}

#[tokio::test]
async fn there_is_none_and_nobody_knows_are_told_apart() {
    let zone = Zone::default()
        .a("example.org", "192.0.2.1")
        .broken("broken.example", RecordType::MX)
        .silent("silent.example", RecordType::MX);
    let server = Server::start(zone).await;
    let resolver = server.resolver();
    let words = async |name: &str| resolver.mx(name).await.expect_err("no answer").to_string();
    assert_eq!(words("nobody.example").await, "nobody.example does not exist");
    assert_eq!(words("example.org").await, "example.org has no MX record");
    assert_eq!(words("a..b").await, "\"a..b\" is no domain name");
    assert_eq!(cause(resolver.mx(&"x".repeat(64)).await), Cause::NoName);
    let broken = words("broken.example").await;
    assert_eq!(broken, "looking up MX of broken.example: the name server answered Server Failure");
    let silent = resolver.mx("silent.example").await.expect_err("silence");
    assert!(silent.is_temporary(), "{silent}");
    assert!(silent.to_string().ends_with("no name server answered in time"), "{silent}");
}

#[tokio::test]
async fn strange_names_are_looked_up_and_shown_so_that_none_is_mistaken() {
    let dot_inside = RData::MX(MX::new(1, Name::from_labels([&b"a.b"[..], b"x\n"]).unwrap()));
    let zone =
        Zone::default().mx("a:b/c d.example", 0, "e:f/g.example").with("dots.example", dot_inside);
    let server = Server::start(zone).await;
    let resolver = server.resolver();
    assert_eq!(resolver.mx("A:b/c d.example").await, Ok(vec![mx(0, "e:f/g.example")]));
    assert_eq!(resolver.mx("dots.example").await, Ok(vec![mx(1, "a\\046b.x\\010")]));
}

#[tokio::test]
async fn silence_ends_in_time() {
    let server = Server::start(Zone::default().silent("silent.example", RecordType::TXT)).await;
    let settings = Dns { timeout_ms: 200, attempts: 3, ..server.settings() };
    let resolver = Resolver::new(&settings).expect("settings with a server");
    let began = Instant::now();
    let failure = resolver.txt("silent.example").await.expect_err("silence");
    assert!(failure.is_temporary(), "{failure}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(server.asked.udp.load(Ordering::SeqCst) >= 3, "asked {:?}", server.asked);
}

#[tokio::test]
async fn nobody_at_the_address_is_temporary() {
    // A port that was free a moment ago.
    let closed = Server::start(Zone::default()).await.address;
    let resolvers = vec![Nameserver(closed)];
    let settings = Dns { resolvers, timeout_ms: 300, ..Dns::default() };
    let resolver = Resolver::new(&settings).expect("settings with a server");
    let failure = resolver.mx("example.org").await.expect_err("nobody is there");
    assert!(failure.is_temporary(), "{failure}");
}

#[tokio::test]
async fn two_hundred_hosts_come_by_tcp_and_a_part_is_taken() {
    let mut zone = Zone::default();
    for number in (0..200_u16).rev() {
        zone = zone.mx("many.example", number, &format!("host-{number}.example.net"));
    }
    let server = Server::start(zone).await;
    let found = server.resolver().mx("many.example").await.expect("many hosts");
    assert_eq!(found.len(), 100);
    assert_eq!(found.first(), Some(&mx(0, "host-0.example.net")));
    assert_eq!(found.last(), Some(&mx(99, "host-99.example.net")));
    assert_eq!(server.asked.tcp.load(Ordering::SeqCst), 1, "asked {:?}", server.asked);
    let settings = Dns { records_max: 1_000, ..server.settings() };
    let resolver = Resolver::new(&settings).expect("settings with a server");
    assert_eq!(resolver.mx("many.example").await.map(|all| all.len()), Ok(200));
}

#[tokio::test]
async fn an_answer_is_asked_for_once() {
    let server = Server::start(Zone::default().mx("example.org", 10, "mx.example.org")).await;
    let resolver = server.resolver();
    for _ in 0..3 {
        resolver.clone().mx("example.org").await.expect("one host");
    }
    assert_eq!(server.asked.udp.load(Ordering::SeqCst), 1, "asked {:?}", server.asked);
    let forgetful = Dns { cache_answers: 0, ..server.settings() };
    let resolver = Resolver::new(&forgetful).expect("settings with a server");
    for _ in 0..3 {
        resolver.mx("example.org").await.expect("one host");
    }
    assert_eq!(server.asked.udp.load(Ordering::SeqCst), 4, "asked {:?}", server.asked);
}

#[tokio::test]
async fn where_nothing_is_signed_nothing_is_missing() {
    let zone = Zone::default()
        .mx("example.org", 10, "mx.example.org")
        .cname("mx.example.org", "a.example.org")
        .a("a.example.org", "192.0.2.1")
        .broken("broken.example", RecordType::MX);
    let server = Server::start(zone).await;
    let resolver = server.resolver().validated();
    let found = resolver.secure_mx("example.org").await.expect("one host");
    assert_eq!(found.hosts, [mx(10, "mx.example.org")]);
    assert_eq!((found.security, found.name.as_str()), (Security::Insecure, "example.org"));
    let host = resolver.secure_host("mx.example.org").await.expect("it has an address");
    assert_eq!((host.security, host.name.as_str()), (Security::Insecure, "a.example.org"));
    assert_eq!(cause(resolver.tlsa("_25._tcp.a.example.org").await), Cause::NotThere);
    assert!(cause_is_temporary(&cause(resolver.secure_mx("broken.example").await)));
    let off = Dns { dnssec: "off".to_owned(), ..server.settings() };
    let before = server.asked.udp.load(Ordering::SeqCst);
    let resolver = Resolver::new(&off).expect("settings with a server").validated();
    assert_eq!(resolver.secure_mx("example.org").await, Ok(found));
    let asked = server.asked.udp.load(Ordering::SeqCst) - before;
    assert_eq!(asked, 1, "the root's keys are not asked for");
}

fn cause_is_temporary(cause: &Cause) -> bool {
    let (name, kind, cause) = (String::new(), RecordType::MX, cause.clone());
    Failure { name, kind, cause }.is_temporary()
}

#[test]
fn a_trust_anchor_must_be_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("root.key");
    let open = |text: &str| {
        std::fs::write(&file, text).expect("writable");
        let trust_anchor = file.to_string_lossy().into_owned();
        let resolvers = vec![Nameserver::LOCAL];
        Resolver::new(&Dns { trust_anchor, resolvers, ..Dns::default() }).map(drop)
    };
    let key =
        "mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==";
    assert_eq!(open(&format!(". 0 IN DNSKEY 257 3 13 {key}\n")), Ok(()));
    for text in
        ["", "nonsense", ". 0 IN A 192.0.2.1\n", &format!("x. 0 IN DNSKEY 257 3 13 {key}\n")]
    {
        let error = open(text).expect_err(text);
        assert!(error.starts_with("dns.trust_anchor: ") && error.contains("root.key"), "{error}");
    }
}
