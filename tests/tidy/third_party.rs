//! Every crate from outside is on the page about licences, under one that `.deny.toml` allows.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::tree::{self, nothing_breaks};

const PAGE: &str = "docs/third-party.md";

fn text(path: &str) -> String {
    let files = tree::files();
    files
        .iter()
        .find(|file| file.path == path)
        .expect("the page and both manifests are there")
        .text()
}

/// The crates the workspace names that are not its own.
fn named() -> BTreeSet<String> {
    let manifest: Table = text("Cargo.toml").parse().expect("a manifest is TOML");
    let workspace = manifest.get("workspace").and_then(Value::as_table).expect("a workspace");
    let all = workspace.get("dependencies").and_then(Value::as_table).expect("dependencies");
    let foreign = |value: &Value| value.get("path").is_none();
    all.iter().filter(|(_, value)| foreign(value)).map(|(name, _)| name.clone()).collect()
}

/// The rows of the page's table of crates: `| `name` | licence | what for |`.
fn listed() -> BTreeMap<String, String> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        let name = cells.next()?.strip_suffix('`')?.to_owned();
        Some((name, cells.next()?.to_owned()))
    };
    text(PAGE).lines().filter_map(row).collect()
}

fn allowed() -> BTreeSet<String> {
    let deny: Table = text(".deny.toml").parse().expect("cargo-deny's settings are TOML");
    let licences = deny.get("licenses").and_then(Value::as_table).expect("a section on licences");
    let allow = licences.get("allow").and_then(Value::as_array).expect("a list of licences");
    allow.iter().map(|licence| licence.as_str().expect("a name").to_owned()).collect()
}

#[test]
fn foreign_crates_are_on_the_page() {
    let (named, listed) = (named(), listed());
    let missing = named.iter().filter(|name| !listed.contains_key(*name));
    let stale = listed.keys().filter(|name| !named.contains(*name));
    let mut broken: Vec<String> = missing.map(|name| format!("{PAGE} lacks {name}")).collect();
    broken.extend(stale.map(|name| format!("{PAGE} lists {name}, which nobody names any more")));
    nothing_breaks("the page about licences lists what Cargo.toml names", &broken);
}

#[test]
fn licences_on_the_page_are_allowed() {
    let allowed = allowed();
    let fits = |licence: &str| licence.split(" OR ").any(|one| allowed.contains(one));
    let mut broken = Vec::new();
    for (name, licence) in listed() {
        if !fits(&licence) {
            broken.push(format!("{name}: {licence}"));
        }
    }
    nothing_breaks("licences of crates are among those .deny.toml allows", &broken);
}
