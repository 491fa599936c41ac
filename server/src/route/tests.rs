//! Where mail goes, with a store and names of the test's own.

use super::*;

#[test]
fn servers_are_read() {
    let host = |text| server(text, 25).map(|host| (host.name, host.port));
    let found = |name: &str, port| Some((name.to_owned(), port));
    assert_eq!(host("[mx.example.org]"), found("mx.example.org", 25));
    assert_eq!(host("[mx.example.org]:2525"), found("mx.example.org", 2525));
    assert_eq!(host("[192.0.2.1]"), found("192.0.2.1", 25));
    assert_eq!(host("[IPv6:2001:db8::1]"), found("2001:db8::1", 25));
    for text in ["mx", "[]", "[mx", "[mx]:", "[mx]:0x", "[mx]:70000"] {
        assert_eq!(host(text), None, "{text}");
    }
    let smart = |text| smart_host(text, 25).map(|host| (host.name, host.port));
    assert_eq!(smart("Relay.example.org"), found("relay.example.org", 25));
    assert_eq!(smart("relay.example.org:587"), found("relay.example.org", 587));
    assert_eq!(smart("relay example:587"), None);
}

use gracedb::options::Options;
use tempfile::TempDir;
use zeroize::Zeroizing;

use self::change::{Change, ROUTES_MAX, SOURCES_MAX, Target};
use crate::config::limits::Dns;
use crate::store::SCHEMA;
use crate::store::refusal::Refusal;
use crate::store::routes::{Of, Tls};

const CONFIG: &str = "hostname = \"mail.grace.test\"\n\
                      [listen]\nsmtp = [\"0.0.0.0:25\"]\n[dns]\nresolvers = [\"127.0.0.1\"]\n";

fn router(folder: &TempDir) -> Router {
    let file = folder.path().join("c.toml");
    std::fs::write(&file, CONFIG).unwrap();
    let config = Config::load(Some(&file), Some(folder.path())).unwrap();
    let db = Db::open(Options::new(folder.path().join("store")), SCHEMA).unwrap();
    let resolver = Resolver::new(&Dns::clone(&config.dns)).unwrap();
    Router::new(resolver, &config, db, Bus::new(100)).unwrap()
}

fn relay(login: Option<&str>, password: Option<&str>) -> Target {
    Target::SmartHost {
        host: "Relay.Test".to_owned(),
        port: 587,
        tls: Tls::StartTls,
        login: login.map(str::to_owned),
        password: password.map(|password| Zeroizing::new(password.to_owned())),
    }
}

fn to(pattern: &str, to: Target) -> Change {
    Change { of: Of::Recipient, pattern: pattern.to_owned(), to, sources: Vec::new() }
}

fn password(router: &Router, destination: &str) -> Option<String> {
    let smart = router.way(destination, "").smart_host?;
    smart.login.as_ref().map(|login| login.password.expose().to_owned())
}

#[tokio::test]
async fn a_login_has_one_password_that_nobody_is_told() {
    let folder = TempDir::new().unwrap();
    let router = router(&folder);
    let unknown = router.set_route(to("a.test", relay(Some("anna"), None)), "test").await;
    assert!(matches!(unknown, Err(Refusal::Invalid(why)) if why.contains("not known yet")));
    router.set_route(to("a.test", relay(Some("anna"), Some("one"))), "test").await.unwrap();
    router.set_route(to(".B.Test", relay(Some("anna"), None)), "test").await.unwrap();
    assert_eq!(password(&router, "x.b.test").as_deref(), Some("one"));
    router.set_route(to(".b.test", relay(Some("anna"), Some("two"))), "test").await.unwrap();
    assert_eq!(password(&router, "a.test").as_deref(), Some("two"), "one login, one password");
    let rows = router.routes().unwrap();
    let listed: Vec<_> =
        rows.iter().map(|row| (&*row.pattern, &*row.host, &*row.password)).collect();
    assert_eq!(listed, [(".b.test", "relay.test", ""), ("a.test", "relay.test", "")]);
    router.remove_route(Of::Recipient, "a.test", "test").await.unwrap();
    let again = router.remove_route(Of::Recipient, "a.test", "test").await;
    assert!(matches!(again, Err(Refusal::Missing(what)) if what == "route to a.test"));
    assert_eq!((password(&router, "a.test"), router.routes().unwrap().len()), (None, 1));
    router.db.close();
}

#[tokio::test]
async fn what_cannot_be_used_is_not_set() {
    let folder = TempDir::new().unwrap();
    let router = router(&folder);
    let of_sender = |pattern: &str| Change { of: Of::Sender, ..to(pattern, Target::Direct) };
    let from =
        |source: &str| Change { sources: vec![source.to_owned()], ..to("a.test", Target::Unsaid) };
    let at = |host: &str, port| {
        let (tls, login, password) = (Tls::Opportunistic, None, None);
        to("a.test", Target::SmartHost { host: host.to_owned(), port, tls, login, password })
    };
    let many = vec!["192.0.2.1".to_owned(); SOURCES_MAX + 1];
    let cases = [
        (to("no domain", Target::Direct), "is no domain"),
        (of_sender("*"), "is no domain"),
        (to("a.test", Target::Unsaid), "where mail goes"),
        (from("out.test"), "is no address to send from"),
        (Change { sources: many, ..to("a.test", Target::Direct) }, "sources at most"),
        (at("relay.test", 0), "a port from 1"),
        (at("relay test", 25), "neither the name of a server nor an address"),
        (at("Mail.grace.test", 25), "this server itself"),
        (to("a.test", relay(None, Some("secret"))), "say which"),
        (to("a.test", relay(Some(""), Some("secret"))), "a login has"),
        (to("a.test", relay(Some("a\r\nb"), Some("secret"))), "a login has"),
        (to("a.test", relay(Some("a"), Some(""))), "a password has"),
        (to("a.test", relay(Some("a"), Some("\0"))), "a password has"),
    ];
    for (change, expected) in cases {
        let what = format!("{change:?}");
        let refused = router.set_route(change, "test").await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{what}: {refused}");
        assert!(!refused.contains("secret"), "{refused}");
    }
    assert!(router.routes().unwrap().is_empty());
    // The same name at another port is another server.
    router.set_route(at("mail.grace.test", 587), "test").await.unwrap();
    router.set_route(from("192.0.2.1=out.test"), "test").await.unwrap();
    router.db.close();
}

#[tokio::test]
async fn there_are_only_so_many_routes() {
    let folder = TempDir::new().unwrap();
    let router = router(&folder);
    router.set_route(to("a.test", Target::Direct), "test").await.unwrap();
    let row = router.routes().unwrap().remove(0);
    let filled = router.db.write(|tx| {
        for number in 1..ROUTES_MAX {
            let mut row = row.clone();
            row.pattern = format!("d{number}.test");
            tx.put(&row)?;
        }
        Ok::<_, gracedb::error::Error>(())
    });
    filled.unwrap().wait().unwrap();
    let full = router.set_route(to("z.test", Target::Direct), "test").await.unwrap_err();
    assert!(full.to_string().contains("routes already"), "{full}");
    router.set_route(to("a.test", relay(None, None)), "test").await.expect("it is there already");
    router.db.close();
}
