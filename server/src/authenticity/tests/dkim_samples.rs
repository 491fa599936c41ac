//! Signed messages of other projects, and the examples of RFC 6376 and RFC 8463, through the
//! checks.

use std::fs;
use std::path::Path;

use super::super::verdict::Verdict;
use super::support::{House, corpus, facts, settle, with_crlf};
use crate::dns::testing::Zone;

/// What fails, and why.
const KNOWN: &[(&str, &str)] =
    &[("dkim/005.txt", "its x= lies in the past, and the library asks the clock of the system")];

fn read(folder: &Path, file: &str) -> String {
    let bytes = fs::read(folder.join(file)).expect("a readable sample");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Each signature as `domain outcome`.
fn results(verdict: &Verdict) -> Vec<String> {
    let mut results: Vec<String> =
        verdict.dkim.iter().map(|one| format!("{} {}", one.domain, one.found.outcome)).collect();
    results.sort();
    results
}

/// Lines of a name and a text.
fn zone(lines: &str) -> Zone {
    lines
        .lines()
        .filter_map(|line| line.split_once(' '))
        .fold(Zone::default(), |zone, (name, text)| zone.txt(name, text))
}

async fn check(zone: Zone, message: &[u8]) -> Verdict {
    House::new(zone).await.check(facts("192.0.2.1", "x.example", ""), message).await
}

/// A file of names and texts, a blank line, and a signed message.
#[tokio::test]
async fn messages_with_their_keys() {
    let test = "messages_with_their_keys";
    let Some(folder) = corpus("stalwartlabs+mail-auth/resources", test) else { return };
    let (mut run, mut failed) = (0, Vec::new());
    for kind in ["dkim", "arc"] {
        let mut files: Vec<_> = fs::read_dir(folder.join(kind))
            .expect("a readable folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        files.sort();
        for file in files {
            run += 1;
            let text = read(&folder.join(kind), &file);
            let (names, message) = text.split_once("\n\n").expect("names and a message");
            let verdict = check(zone(names), &with_crlf(message)).await;
            let found = results(&verdict);
            let arc = verdict.arc.found.outcome.word();
            let passes = found.iter().any(|one| one.ends_with(" pass"));
            if !passes || kind == "arc" && arc != "pass" {
                failed.push((format!("{kind}/{file}"), format!("{found:?} arc={arc} {verdict:?}")));
            }
        }
    }
    settle("DKIM and ARC samples of mail-auth", run, &failed, KNOWN);
}

/// RFC 8463 A.2: the keys of the example's domain.
const FOOTBALL: &str = "\
brisbane._domainkey.football.example.com v=DKIM1; k=ed25519; \
p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
test._domainkey.football.example.com v=DKIM1; k=rsa; \
p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J1\
6JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3\
Ip3G+2kryOTIKT+l/K4w3QIDAQAB
";

/// The messages of dkimpy and mailauth with the keys that belong to them.
#[tokio::test]
async fn examples_of_the_rfcs_and_of_others() {
    let test = "examples_of_the_rfcs_and_of_others";
    let Some(dkimpy) = corpus("dkimpy-1.1.8/data", test) else { return };
    let Some(mailauth) = corpus("postalsys+mailauth/test/dkim/ec/fixtures", test) else { return };
    let key = |file: &str| format!("test._domainkey.football.example.com {}", read(&dkimpy, file));
    let football = || FOOTBALL.to_owned();
    let exim = format!("sed._domainkey.test.ex {}", read(&dkimpy, "eximtest.dns"));
    let of = |domain: &'static str, outcomes: &[&str]| -> Vec<String> {
        outcomes.iter().map(|outcome| format!("{domain} {outcome}")).collect()
    };
    let ours = |outcomes: &[&str]| of("football.example.com", outcomes);
    let foreign = "1024_testkey_wo_markers.pub.txt";
    let nothing = String::new;
    let rows = [
        (&dkimpy, "rfc6376.signed.msg", football(), ours(&["pass", "pass"])),
        (&dkimpy, "rfc6376.signed.rsa.msg", football(), ours(&["pass"])),
        (&mailauth, "signed.eml", football(), ours(&["pass", "pass"])),
        (&dkimpy, "ed25519test2.msg", exim, of("test.ex", &["pass"])),
        // Its tags were changed after it was signed.
        (&dkimpy, "rfc6376.signed.no_t.msg", football(), ours(&["fail"])),
        // Keys that say something else of themselves, a key of others, and none.
        (&dkimpy, "rfc6376.signed.rsa.msg", key("badk.txt"), ours(&["permerror"])),
        (&dkimpy, "rfc6376.signed.rsa.msg", key("badversion.txt"), ours(&["permerror"])),
        (&dkimpy, "rfc6376.signed.rsa.msg", key(foreign), ours(&["fail"])),
        (&dkimpy, "rfc6376.signed.rsa.msg", nothing(), ours(&["permerror"])),
        (&dkimpy, "message.mbox", nothing(), of("kitterman.com", &["permerror"])),
        // A domain with a bracket in it, which some cut off there.
        (
            &dkimpy,
            "test.message.baddomain",
            nothing(),
            of("legitimate.com(.attacker.com", &["permerror"]),
        ),
        (&dkimpy, "test.message", nothing(), Vec::new()),
        (&dkimpy, "test_nofrom.message", nothing(), Vec::new()),
    ];
    let run = rows.len();
    let mut failed = Vec::new();
    for (folder, file, keys, expected) in rows {
        let verdict = check(zone(&keys), &with_crlf(&read(folder, file))).await;
        let found = results(&verdict);
        if found != expected {
            let reasons: Vec<_> = verdict.dkim.iter().map(|one| &one.found).collect();
            failed.push((file.to_owned(), format!("{reasons:?}, wanted {expected:?}")));
        }
    }
    settle("DKIM samples of dkimpy and mailauth", run, &failed, &[]);
}
