//! Policies of MTA-STS: their texts, and how they are fetched, kept and renewed.

use std::path::{Path, PathBuf};

use gracedb::options::Options;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::policy::PolicyError;
use super::*;
use crate::dns::testing::{Server, Zone};
use crate::store::SCHEMA;
use crate::store::transport::TlsResultRow;
use crate::transport::certificate::Roots;
use crate::transport::testing::{Authority, Time, https};

const GOOD: &str = "version: STSv1\nmode: enforce\nmx: mx.far.test\nmax_age: 86400\n";

fn parse(text: &str) -> Result<Policy, PolicyError> {
    Policy::parse(text.as_bytes())
}

#[test]
fn policies_are_read() {
    let policy = parse(GOOD).expect("a policy");
    assert_eq!((policy.mode, policy.max_age_s), (Mode::Enforce, 86_400));
    assert_eq!(
        policy.lines(),
        ["version: STSv1", "mode: enforce", "mx: mx.far.test", "max_age: 86400"]
    );
    let lenient = "max_age:1  \r\nmode:testing\r\nmode: enforce\r\nmx:  *.Far.test.\r\n\r\n\
                   later: what comes: later\r\nversion: STSv1";
    let policy = parse(lenient).expect("a policy");
    assert_eq!(
        (policy.mode, policy.mx.as_slice()),
        (Mode::Testing, &["*.far.test".to_owned()][..])
    );
    assert_eq!(parse("version: STSv1\nmode: none\nmax_age: 0").map(|p| p.mode), Ok(Mode::None));
    let many = |count: usize| {
        format!("version: STSv1\nmode: testing\n{}max_age: 1", "mx: a.test\n".repeat(count))
    };
    assert!(parse(&many(200)).is_ok());
    for (text, error) in [
        ("", PolicyError::Version),
        ("garbage", PolicyError::NotAField),
        ("version: STSv2\nmode: none\nmax_age: 1", PolicyError::Version),
        ("Version: STSv1\nmode: none\nmax_age: 1", PolicyError::Version),
        ("version: STSv1\nmode: doubt\nmx: a.test\nmax_age: 1", PolicyError::Mode),
        ("version: STSv1\nmode: enforce\nmax_age: 1", PolicyError::MxCount),
        ("version: STSv1\nmode: none\nmax_age: -1", PolicyError::MaxAge),
        ("version: STSv1\nmode: none\nmax_age: +1", PolicyError::MaxAge),
        ("version: STSv1\nmode: none\nmax_age: 31557601", PolicyError::MaxAge),
        ("version: STSv1\nmode: none", PolicyError::MaxAge),
        ("version: STSv1\nmode: testing\nmx: *.*.test\nmax_age: 1", PolicyError::Mx),
        ("version: STSv1\nmode: testing\nmx: a..test\nmax_age: 1", PolicyError::Mx),
        (many(201).as_str(), PolicyError::MxCount),
    ] {
        assert_eq!(parse(text), Err(error), "{text:?}");
    }
    assert_eq!(Policy::parse(b"version: STSv1\xFF"), Err(PolicyError::NotText));
}

#[test]
fn a_wildcard_stands_for_one_label() {
    let text = "version: STSv1\nmode: enforce\nmx: mx.far.test\nmx: *.pool.test\nmax_age: 1";
    let policy = parse(text).expect("a policy");
    for host in ["mx.far.test", "MX.far.test.", "a.pool.test", "A.Pool.Test"] {
        assert!(policy.names(host), "{host}");
    }
    for host in ["far.test", "b.mx.far.test", "pool.test", "a.b.pool.test", ".pool.test", ""] {
        assert!(!policy.names(host), "{host}");
    }
}

#[test]
fn records_have_an_id() {
    let id = |texts: &[&str]| {
        let texts: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        record_id(&texts)
    };
    let found = Some("20160831085700Z".to_owned());
    assert_eq!(id(&["v=STSv1; id=20160831085700Z;"]), found);
    assert_eq!(id(&["v=spf1 -all", "v=STSv1;id=20160831085700Z"]), found);
    assert_eq!(id(&["v=STSv1 ; x=1; id=20160831085700Z ; id=2"]), found);
    for texts in [
        &[][..],
        &["v=STSv1; id=1", "v=STSv1; id=1"],
        &["v=STSv1;"],
        &["v=STSv1; id="],
        &["v=STSv1; id=a-b"],
        &["v=STSv1; id=1; nonsense"],
        &["v=STSv10; id=1"],
        &["v=stsv1; id=1"],
        &["v=STSv1; id=123456789012345678901234567890123"],
    ] {
        assert_eq!(id(texts), None, "{texts:?}");
    }
}

/// The policies of another implementation's tests, which its name says to be good or bad.
#[test]
fn policies_of_others_are_judged_alike() {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora");
    let corpora = std::env::var_os("GRACE_CORPORA").map_or_else(beside, PathBuf::from);
    let file = corpora.join("auth/Snawoot+postfix-mta-sts-resolver/tests/nginx.conf");
    let Ok(text) = std::fs::read_to_string(&file) else {
        eprintln!("SKIPPED: policies_of_others_are_judged_alike: no {}", file.display());
        return;
    };
    let mut judged = 0;
    for server in text.split("server_name mta-sts.").skip(1) {
        let name = server.split(';').next().unwrap_or_default();
        let Some((_, answer)) = server.split_once("return 200 \"") else { continue };
        let answer = answer.split('"').next().unwrap_or_default().replace("\\n", "\n");
        // Of these it is not the policy that is bad.
        let is_bad = name.starts_with("bad-policy") && !name.starts_with("bad-policy3");
        assert_eq!(parse(&answer).is_err(), is_bad, "{name}: {answer}");
        judged += 1;
    }
    assert!(judged >= 10, "{judged} policies are there");
}

/// Whatever comes is read or refused; what is read reads back from its own lines.
#[test]
fn any_text_is_a_policy_or_none() {
    let pieces = [
        "version: STSv1",
        "mode: enforce",
        "mode: testing",
        "mx: a.test",
        "mx: *.b.test",
        "mx:",
        "max_age: 1",
        "max_age: 99999999999",
        ":",
        "\n",
        "\r\n",
        " ",
        "\t",
        "\u{0}",
        "é",
        "mode",
    ];
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let mut good = 0;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..next(12) {
            text.push_str(pieces[next(pieces.len())]);
            if next(4) > 0 {
                text.push('\n');
            }
        }
        let mut bytes = text.into_bytes();
        if next(3) == 0 && !bytes.is_empty() {
            let at = next(bytes.len());
            bytes[at] = u8::try_from(next(256)).unwrap();
        }
        let Ok(policy) = Policy::parse(&bytes) else { continue };
        good += 1;
        assert_eq!(Policy::parse(policy.lines().join("\n").as_bytes()), Ok(policy));
    }
    assert!(good > 20, "{good} were policies");
}

/// A domain with a policy host, and who fetches from it.
struct World {
    policies: Policies,
    db: Db,
    _names: Server,
    _tasks: JoinSet<()>,
    _folder: TempDir,
}

impl World {
    /// `far.test`, whose record is `record`, and whose host answers so.
    async fn open(record: Option<&str>, answer: &str, host: &str) -> Self {
        let mut tasks = JoinSet::new();
        let authority = Authority::new("root");
        let leaf = authority.leaf(&[host], Time::Now);
        let port = https(&leaf, answer.as_bytes().to_vec(), &mut tasks).await;
        let folder = TempDir::new().unwrap();
        let roots = Roots::open(Some(authority.write(folder.path()).as_ref())).unwrap();
        let mut zone = Zone::default().a("mta-sts.far.test", "127.0.0.1");
        if let Some(record) = record {
            zone = zone.txt("_mta-sts.far.test", record);
        }
        let names = Server::start(zone).await;
        let db = Db::open(Options::new(folder.path().join("store")), SCHEMA).unwrap();
        let settings =
            limits::Transport { mta_sts_port: u64::from(port), ..limits::Transport::default() };
        let results = Results::new(db.clone(), &settings);
        let policies = Policies::new(db.clone(), names.resolver(), roots, results, &settings);
        Self { policies, db, _names: names, _tasks: tasks, _folder: folder }
    }

    async fn find(&self) -> Found {
        self.policies.find("far.test").await
    }

    /// Puts a policy there as if it had been fetched so long ago.
    async fn keep(&self, id: &str, age_s: u64) {
        let row = StsPolicyRow {
            domain: "far.test".to_owned(),
            id: id.to_owned(),
            mode: Mode::Testing as u8,
            mx: vec!["kept.far.test".to_owned()],
            max_age_s: 86_400,
            fetched_ms: now_us() / 1_000 - age_s * 1_000,
        };
        self.db.write(|tx| tx.put(&row)).unwrap().await.unwrap();
    }

    /// What was counted, and how often.
    async fn results(&self) -> Vec<(u8, u64)> {
        // What was written before this is there when this is.
        self.db.write(|_| Ok::<_, Error>(())).unwrap().await.unwrap();
        let rows = self.db.snapshot();
        let rows = rows.scan::<TlsResultRow>().map(Result::unwrap);
        rows.map(|row| (row.result, row.count)).collect()
    }
}

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn good() -> String {
    answer("200 OK\r\nContent-Type: text/plain; charset=utf-8", GOOD)
}

const RECORD: &str = "v=STSv1; id=1;";

#[tokio::test]
async fn a_policy_is_fetched_once_and_kept() {
    let world = World::open(Some(RECORD), &good(), "mta-sts.far.test").await;
    let wanted = Found::Policy(parse(GOOD).unwrap());
    assert_eq!(world.find().await, wanted);
    let kept = world.db.snapshot().get::<StsPolicyRow>(&"far.test".to_owned()).unwrap().unwrap();
    assert_eq!((kept.id.as_str(), kept.mode), ("1", Mode::Enforce as u8));
    drop(world._tasks);
    assert_eq!(world.policies.find("far.test").await, wanted, "its host is gone, and not asked");
    assert_eq!(world.policies.find("other.test").await, Found::None);
}

#[tokio::test]
async fn a_new_id_or_age_renews_it_and_a_failure_does_not_end_it() {
    let fresh = Found::Policy(parse(GOOD).unwrap());
    let is_kept = |found: &Found| match found {
        Found::Policy(policy) => policy.mx == ["kept.far.test".to_owned()],
        _ => false,
    };
    for (id, age_s, is_renewed) in [("1", 0, false), ("0", 0, true), ("1", 50_000, true)] {
        let world = World::open(Some(RECORD), &good(), "mta-sts.far.test").await;
        world.keep(id, age_s).await;
        let found = world.find().await;
        assert_eq!(found == fresh, is_renewed, "{id} {age_s}: {found:?}");
        assert!(is_renewed || is_kept(&found));
    }
    // The host fails, or the record is gone: for as long as it holds.
    let failing = World::open(Some(RECORD), &answer("404 Not Found", ""), "mta-sts.far.test").await;
    failing.keep("0", 50_000).await;
    assert!(is_kept(&failing.find().await));
    failing.keep("0", 90_000).await;
    assert!(matches!(failing.find().await, Found::Unknown(_)), "it is over");
    let gone = World::open(None, &good(), "mta-sts.far.test").await;
    gone.keep("1", 80_000).await;
    assert!(is_kept(&gone.find().await));
    gone.keep("1", 90_000).await;
    assert_eq!(gone.find().await, Found::None);
}

#[tokio::test]
async fn what_is_no_good_answer_is_no_policy() {
    let large = "x: y\n".repeat(20_000);
    let (plain, fetch) = ("200 OK\r\nContent-Type: text/plain", TlsResult::StsPolicyFetchError);
    let elsewhere = "301 Moved\r\nLocation: https://mta-sts.far.test/.well-known/mta-sts.txt";
    let cases = [
        (answer("404 Not Found\r\nContent-Type: text/plain", GOOD), fetch),
        (answer(elsewhere, GOOD), fetch),
        (answer("200 OK\r\nContent-Type: text/html", GOOD), fetch),
        (answer("200 OK", GOOD), fetch),
        (answer(plain, &large), fetch),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), fetch),
        (format!("HTTP/1.1 {plain}\r\nContent-Length: 999\r\n\r\n{GOOD}"), fetch),
        (answer(plain, "garbage"), TlsResult::StsPolicyInvalid),
    ];
    for (answer, result) in cases {
        let world = World::open(Some(RECORD), &answer, "mta-sts.far.test").await;
        let found = world.find().await;
        assert!(matches!(found, Found::Unknown(_)), "{answer:.60}: {found:?}");
        assert_eq!(world.find().await, found);
        // It is not tried again so soon.
        assert_eq!(world.results().await, [(result as u8, 1)], "{answer:.60}");
    }
    let forged = World::open(Some(RECORD), &good(), "mta-sts.near.test").await;
    let found = forged.find().await;
    assert!(matches!(&found, Found::Unknown(why) if why.contains("certificate")), "{found:?}");
    assert_eq!(forged.results().await, [(TlsResult::StsWebpkiInvalid as u8, 1)]);
}
