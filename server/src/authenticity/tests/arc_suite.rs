//! The validation suite for ARC (RFC 8617), run through the checks.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;

use super::super::verdict::Outcome;
use super::support::{House, corpus, facts, settle, with_crlf};
use crate::dns::testing::Zone;

/// What fails, and why.
const KNOWN: &[(&str, &str)] = &[
    ("ams_fields_c_na", "wants relaxed without `c=`; RFC 8617 4.1.2 with RFC 6376 3.5 says simple"),
    ("ams_fields_h_empty", "wants a signature over no field; RFC 6376 3.5 asks for one at least"),
];

#[derive(Deserialize)]
struct Part {
    tests: BTreeMap<String, Test>,
    #[serde(rename = "txt-records")]
    texts: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Test {
    message: String,
    /// Empty: the suite leaves it open.
    cv: String,
}

#[tokio::test]
async fn chains_are_validated() {
    let file = "postalsys+mailauth/test/fixtures/arc/arc-draft-validation-tests.json";
    let Some(file) = corpus(file, "chains_are_validated") else { return };
    let suite = fs::read_to_string(file).expect("a readable suite");
    let parts: Vec<Part> = serde_json::from_str(&suite).expect("the suite's JSON");
    let (mut run, mut failed) = (0, Vec::new());
    for part in &parts {
        let zone =
            part.texts.iter().fold(Zone::default(), |zone, (name, text)| zone.txt(name, text));
        let house = House::new(zone).await;
        for (name, test) in &part.tests {
            run += 1;
            let facts = facts("192.0.2.1", "relay.example", "jqd@d1.example");
            let found = house.check(facts, &with_crlf(&test.message)).await.arc.found;
            let wanted = match test.cv.as_str() {
                "Pass" => vec![Outcome::Pass],
                "Fail" => vec![Outcome::Fail],
                "None" => vec![Outcome::None],
                _ => vec![Outcome::Pass, Outcome::Fail, Outcome::None],
            };
            if !wanted.contains(&found.outcome) {
                failed.push((name.clone(), format!("{found:?}, wanted {wanted:?}")));
            }
        }
    }
    settle("ARC validation suite", run, &failed, KNOWN);
}
