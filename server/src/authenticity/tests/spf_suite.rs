//! The test suite of RFC 7208, run through the checks: a peer, a HELO and a MAIL FROM in, the
//! result and its explanation out.

use std::collections::BTreeMap;
use std::fs;

use hickory_resolver::proto::rr::RecordType;
use yaml_rust2::{Yaml, YamlLoader};

use super::super::verdict::Outcome;
use super::support::{House, corpus, facts, settle};
use crate::dns::testing::Zone;

/// What fails, and why.
const KNOWN: &[(&str, &str)] = &[(
    "v-macro-ip6",
    "wants %{i} of IPv6 in capitals; RFC 7208 7.4 shows it in small letters, and the DNS does not care",
)];

fn text(yaml: &Yaml) -> String {
    match yaml {
        Yaml::String(text) | Yaml::Real(text) => text.clone(),
        Yaml::Integer(number) => number.to_string(),
        Yaml::Null | Yaml::BadValue => String::new(),
        other => panic!("no text: {other:?}"),
    }
}

fn list(yaml: &Yaml) -> Vec<String> {
    match yaml {
        Yaml::Array(items) => items.iter().map(text).collect(),
        one => vec![text(one)],
    }
}

/// The zone of one part of the suite. A type SPF record is a TXT record unless the name has one.
fn zone(data: &Yaml) -> Zone {
    let mut zone = Zone::default();
    for (name, records) in data.as_hash().expect("a zone") {
        let name = text(name);
        let mut texts: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
        let mut silent = false;
        for record in records.as_vec().expect("records") {
            let Some(record) = record.as_hash() else {
                silent = text(record) == "TIMEOUT";
                continue;
            };
            let (kind, value) = record.iter().next().expect("a record");
            zone = match text(kind).as_str() {
                "A" => zone.a(&name, &text(value)),
                "AAAA" => zone.aaaa(&name, &text(value)),
                "MX" => {
                    let value = list(value);
                    let host = if value[1].is_empty() { "." } else { &value[1] };
                    zone.mx(&name, value[0].parse().expect("a number"), host)
                }
                "PTR" => zone.ptr(&name, &text(value)),
                "CNAME" => zone.cname(&name, &text(value)),
                kind @ ("TXT" | "SPF") => {
                    texts.entry(kind.to_owned()).or_default().push(list(value));
                    zone
                }
                other => panic!("no such record: {other}"),
            };
        }
        let texts = texts.remove("TXT").or_else(|| texts.remove("SPF")).unwrap_or_default();
        for strings in texts.iter().filter(|strings| !strings.iter().any(|text| text == "NONE")) {
            // RFC 1035 3.3.14: there is at least one string, be it empty. No server sends none.
            let none = [Vec::new()];
            let strings = bytes(strings);
            zone = zone.txt_strings(&name, if strings.is_empty() { &none } else { &strings });
        }
        if silent {
            for kind in [RecordType::TXT, RecordType::A, RecordType::AAAA, RecordType::MX] {
                zone = zone.silent_where_empty(&name, kind);
            }
        }
    }
    zone
}

/// Letters of the suite beyond ASCII stand for one byte each.
fn bytes(strings: &[String]) -> Vec<Vec<u8>> {
    let byte = |c: char| u8::try_from(u32::from(c)).expect("Latin 1");
    strings.iter().map(|text| text.chars().map(byte).collect()).collect()
}

#[tokio::test]
async fn rfc_7208() {
    let Some(file) = corpus("sdgathman+pyspf/test/rfc7208-tests.yml", "rfc_7208") else { return };
    let suite = fs::read_to_string(file).expect("a readable suite");
    let parts = YamlLoader::load_from_str(&suite).expect("YAML");
    let (mut run, mut failed) = (0, Vec::new());
    for part in &parts {
        let house = House::new(zone(&part["zonedata"])).await;
        for (name, test) in part["tests"].as_hash().expect("tests") {
            run += 1;
            let (peer, helo) = (text(&test["host"]), text(&test["helo"]));
            let facts = facts(&peer, &helo, &text(&test["mailfrom"]));
            let spf = house.check(facts, b"\r\n").await.mail_from;
            let (found, wanted) = (spf.found.outcome.word(), list(&test["result"]));
            let explained = text(&test["explanation"]);
            let explained = Some(explained).filter(|words| !words.is_empty() && words != "DEFAULT");
            let spoke = spf.found.outcome != Outcome::Fail
                || explained.is_none()
                || spf.explanation == explained;
            if !wanted.iter().any(|word| word == found) || !spoke {
                let why =
                    format!("{found} {:?}, wanted {wanted:?} {explained:?}", spf.explanation,);
                failed.push((text(name), why));
            }
        }
    }
    settle("RFC 7208 suite", run, &failed, KNOWN);
}
