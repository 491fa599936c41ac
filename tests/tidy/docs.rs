//! What must be written down for people, and that what is written points at what is there.

use std::collections::BTreeSet;

use crate::tree::{self, nothing_breaks};

/// The pages every reader counts on.
const PAGES: &[&str] = &[
    "README.md",
    "docs/ARCHITECTURE.md",
    "docs/CHANGELOG.md",
    "docs/DEVELOPING.md",
    "docs/admin-protocol.md",
    "docs/benchmarks-smtp.md",
    "docs/benchmarks.md",
    "docs/configuration.md",
    "docs/gracedb-format.md",
    "docs/search.md",
    "docs/standards.md",
    "docs/third-party.md",
];

/// What a page must say, because somebody would look for it there.
const SAID: &[(&str, &[&str])] = &[
    (
        "README.md",
        &["cargo run --release", "tests/run", "grace-console", "docs/images/console.png"],
    ),
    ("docs/ARCHITECTURE.md", &["server/", "ipc-protocol/", "console/", "shaders/", "tests/"]),
    ("docs/benchmarks.md", &["cargo bench -p gracedb", "GRACE_BENCH_DIR", "fair"]),
    ("docs/DEVELOPING.md", &["tests/run", "GRACE_SEED", "GRACE_TARGET", "tests/tidy"]),
];

/// The targets of a page's links: `[text](target)` and `![text](target)`, without anchors.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for part in line.split("](").skip(1) {
            let target = part.split(')').next().unwrap_or_default();
            links.push(target.split('#').next().unwrap_or_default().to_owned());
        }
    }
    links.retain(|target| !target.is_empty() && !target.contains("://"));
    links
}

/// The files of Rust that a page names by their whole path: `server/src/lib.rs`.
fn sources(text: &str) -> Vec<&str> {
    let named = text.split('`').skip(1).step_by(2).filter(|name| name.ends_with(".rs"));
    let is_whole = |name: &&str| {
        let top = name.split('/').next().unwrap_or_default();
        ["server", "console", "ipc-protocol", "shaders", "tests"].contains(&top)
    };
    named.filter(is_whole).collect()
}

/// `docs/../x` as `x`.
fn resolve(page: &str, target: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn the_pages_are_there() {
    let files = tree::files();
    let mut broken = Vec::new();
    for page in PAGES {
        match files.iter().find(|file| file.path == *page) {
            Some(file) if file.bytes.len() > 200 => {}
            Some(_) => broken.push(format!("{page} is empty")),
            None => broken.push(format!("{page} is missing")),
        }
    }
    for (page, words) in SAID {
        let Some(file) = files.iter().find(|file| file.path == *page) else { continue };
        let text = file.text();
        let missing = words.iter().filter(|word| !text.contains(**word));
        broken.extend(missing.map(|word| format!("{page} does not say {word}")));
    }
    nothing_breaks("the house is described", &broken);
}

#[test]
fn links_point_at_something() {
    let files = tree::files();
    let mut there: BTreeSet<String> = files.iter().map(|file| file.path.clone()).collect();
    for file in &files {
        let mut folder = file.path.as_str();
        while let Some((above, _)) = folder.rsplit_once('/') {
            there.insert(above.to_owned());
            folder = above;
        }
    }
    let mut broken = Vec::new();
    for page in files.iter().filter(|file| file.has_extension("md")) {
        for target in links(&page.text()) {
            if !there.contains(&resolve(&page.path, &target)) {
                broken.push(format!("{}: {target}", page.path));
            }
        }
        let text = page.text();
        let gone = sources(&text).into_iter().filter(|name| !there.contains(*name));
        broken.extend(gone.map(|name| format!("{}: {name}", page.path)));
    }
    nothing_breaks("a link in a page leads somewhere", &broken);
}

#[test]
fn links_are_found() {
    let text = "[a](b.md#c) ![d](../e.png) [f](https://g) `x`\n```\n[no](no)\n```\n";
    assert_eq!(links(text), ["b.md", "../e.png"]);
    assert_eq!(resolve("docs/a.md", "../tests/run"), "tests/run");
    let text = "`server/src/lib.rs`, `lib.rs` and `tests/run` | `tests/src/log.rs`";
    assert_eq!(sources(text), ["server/src/lib.rs", "tests/src/log.rs"]);
}
