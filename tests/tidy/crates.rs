//! Which crate may use which: the picture of `docs/ARCHITECTURE.md`, read from every `Cargo.toml`.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::tree::{self, nothing_breaks};

/// Who may use whom: the folder of a crate, its name, and the crates of ours it may depend on.
#[rustfmt::skip]
const EDGES: &[(&str, &str, &[&str])] = &[
    ("console",               "grace-console",  &["grace-gpu", "grace-ipc", "grace-ui"]),
    ("console/gpu",           "grace-gpu",      &["grace-shaders"]),
    ("console/ui",            "grace-ui",       &["grace-gpu"]),
    ("ipc-protocol",          "grace-ipc",      &[]),
    ("server",                "graced",         DAEMON),
    ("server/filter",         "grace-filter",   &["grace-mail"]),
    ("server/gracedb",        "gracedb",        &["gracedb-derive"]),
    ("server/gracedb/derive", "gracedb-derive", &["gracedb"]),
    ("server/imap",           "grace-imap",     &["grace-mail"]),
    ("server/mail",           "grace-mail",     &[]),
    ("server/queue",          "grace-queue",    &["grace-mail"]),
    ("server/smtp",           "grace-smtp",     &["grace-mail"]),
    ("shaders",               "grace-shaders",  &[]),
];

/// What the daemon wires together: every server crate, and the words it speaks with the console.
const DAEMON: &[&str] = &[
    "gracedb",
    "gracedb-derive",
    "grace-filter",
    "grace-imap",
    "grace-ipc",
    "grace-mail",
    "grace-queue",
    "grace-smtp",
];

/// The one crate that may depend on every other, because none depends on it.
const TESTS: (&str, &str) = ("tests", "grace-tests");

/// Crates without sockets and tasks: protocols that cannot reach the network, formats, shaders.
const PURE: &[&str] = &[
    "gracedb",
    "gracedb-derive",
    "grace-filter",
    "grace-imap",
    "grace-mail",
    "grace-queue",
    "grace-shaders",
    "grace-smtp",
    "grace-ui",
];

/// What reaches a socket or a runtime; no pure crate may name it.
const IMPURE: &[&str] =
    &["async-std", "interprocess", "mio", "rustls", "smol", "socket2", "tokio", "tokio-rustls"];

/// What reaches the graphics card; only `grace-gpu` may name it.
const VULKAN: &[&str] = &["ash", "ash-window", "glyphon", "gpu-allocator", "wgpu"];

/// The manifests by folder.
fn manifests() -> BTreeMap<String, Table> {
    let files = tree::with_extension("toml");
    let manifest = |file: &tree::File| {
        let folder = file.path.strip_suffix("Cargo.toml")?.trim_end_matches('/').to_owned();
        Some((folder, file.text().parse::<Table>().expect("a manifest is TOML")))
    };
    files.iter().filter_map(manifest).collect()
}

/// The manifests of crates, without the workspace's.
fn crates() -> BTreeMap<String, Table> {
    let mut crates = manifests();
    crates.remove("").expect("the workspace has a manifest");
    // What is a workspace of its own is a tool that nobody here depends on.
    crates.retain(|_, manifest| manifest.get("workspace").is_none());
    crates
}

/// Names of everything a crate depends on, under any condition.
fn dependencies(manifest: &Table) -> BTreeSet<String> {
    const KINDS: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];
    let mut names = BTreeSet::new();
    let mut tables = vec![manifest];
    let targets = manifest.get("target").and_then(Value::as_table);
    tables.extend(targets.into_iter().flat_map(Table::values).filter_map(Value::as_table));
    for table in tables {
        for kind in KINDS {
            let entries = table.get(*kind).and_then(Value::as_table);
            for (name, entry) in entries.into_iter().flatten() {
                // `renamed = { package = "real" }`
                let real = entry.get("package").and_then(Value::as_str).unwrap_or(name);
                names.insert(real.to_owned());
            }
        }
    }
    names
}

fn package<'a>(manifest: &'a Table, field: &str) -> Option<&'a Value> {
    manifest.get("package")?.get(field)
}

fn is_inherited(value: Option<&Value>) -> bool {
    value.and_then(|value| value.get("workspace")).and_then(Value::as_bool) == Some(true)
}

#[test]
fn every_crate_has_its_place() {
    let found: Vec<(String, String)> = crates()
        .iter()
        .filter_map(|(folder, manifest)| {
            Some((folder.clone(), package(manifest, "name")?.as_str()?.to_owned()))
        })
        .collect();
    let mut wanted: Vec<(String, String)> =
        EDGES.iter().map(|e| (e.0.into(), e.1.into())).collect();
    wanted.push((TESTS.0.into(), TESTS.1.into()));
    assert_eq!(found, wanted, "the crates are those of the picture");
}

#[test]
fn dependencies_point_one_way() {
    let crates = crates();
    let ours: BTreeSet<&str> = EDGES.iter().map(|edge| edge.1).chain([TESTS.1]).collect();
    let mut broken = Vec::new();
    for (folder, name, allowed) in EDGES {
        for dependency in crates.get(*folder).map(dependencies).unwrap_or_default() {
            if ours.contains(dependency.as_str()) && !allowed.contains(&dependency.as_str()) {
                broken.push(format!("{name} uses {dependency}"));
            }
        }
    }
    nothing_breaks("a crate uses only what the picture lets it", &broken);
}

#[test]
fn pure_crates_reach_no_socket_and_only_one_reaches_vulkan() {
    let mut broken = Vec::new();
    for (folder, manifest) in crates() {
        let name =
            package(&manifest, "name").and_then(Value::as_str).unwrap_or_default().to_owned();
        for dependency in dependencies(&manifest) {
            let dependency = dependency.as_str();
            let socket = PURE.contains(&name.as_str()) && IMPURE.contains(&dependency);
            let vulkan = name != "grace-gpu" && VULKAN.contains(&dependency);
            if socket || vulkan {
                broken.push(format!("{folder}: {name} uses {dependency}"));
            }
        }
    }
    nothing_breaks("no socket in a pure crate, no Vulkan outside grace-gpu", &broken);
}

#[test]
fn every_crate_follows_the_workspace() {
    let mut broken = Vec::new();
    for (folder, manifest) in crates() {
        if !is_inherited(manifest.get("lints")) {
            broken.push(format!("{folder}: [lints] workspace = true"));
        }
        for field in ["publish", "version", "edition", "rust-version"] {
            if !is_inherited(package(&manifest, field)) {
                broken.push(format!("{folder}: {field}.workspace = true"));
            }
        }
        if package(&manifest, "description").is_none() {
            broken.push(format!("{folder}: a description"));
        }
        for (name, entry) in
            manifest.get("dependencies").and_then(Value::as_table).into_iter().flatten()
        {
            if !is_inherited(Some(entry)) {
                broken.push(format!("{folder}: {name}.workspace = true"));
            }
        }
    }
    nothing_breaks("a crate takes lints, versions and publish from the workspace", &broken);
}

/// The licence is the owner's decision, so nothing may be published by accident.
#[test]
fn nothing_is_published() {
    let manifests = manifests();
    let workspace = manifests.get("").and_then(|m| m.get("workspace")).expect("a workspace");
    let publish = workspace.get("package").and_then(|package| package.get("publish"));
    assert_eq!(publish.and_then(Value::as_bool), Some(false));
    let members = workspace.get("members").and_then(Value::as_array).expect("members");
    assert_eq!(members.len(), EDGES.len() + 1, "every crate of the picture is a member");
}

/// Everything comes from the public index by its lock file, whoever builds it.
#[test]
fn the_lock_names_the_public_index_only() {
    const INDEX: &str = "registry+https://github.com/rust-lang/crates.io-index";
    let lock = tree::files().into_iter().find(|file| file.path == "Cargo.lock").expect("a lock");
    let broken: Vec<String> = lock
        .text()
        .lines()
        .filter(|line| line.starts_with("source = ") && !line.contains(INDEX))
        .map(str::to_owned)
        .collect();
    nothing_breaks("every dependency comes from the public index", &broken);
}
