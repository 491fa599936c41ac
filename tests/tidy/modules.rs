//! Which module of the daemon may use which. They meet in the store or through an event, so that
//! one can be read, tested and rewritten without the others.

use crate::tree::{self, nothing_breaks};

/// Modules of `server/src` by level, the lowest first. A module uses lower levels only, never a
/// sibling.
const LEVELS: &[&[&str]] = &[
    &["config", "signals", "telemetry"],
    &["open_files"],
    &["dkim", "dns", "net", "store"],
    &[
        "authenticity",
        "guard",
        "mailbox",
        "directory",
        "history",
        "outgoing",
        "route",
        "signing",
        "transport",
        "words",
    ],
    &["services"],
    &["domain_dns"],
    &["inbound", "outbound", "imap", "admin", "welcome"],
    &["house"],
];

/// Words that reach the network or the clock. A protocol that asks for the time cannot be replayed.
const CLOCKS: &[&str] = &[
    "Instant::now(",
    "SystemTime::now(",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "thread::sleep",
];

/// Folders whose crates are given the time instead of asking for it.
const WITHOUT_CLOCK: &[&str] =
    &["server/filter/", "server/imap/", "server/mail/", "server/queue/", "server/smtp/"];

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|modules| modules.contains(&module))
}

/// The module of a file below `server/src`, or none for the programs, which may use all.
fn module_of(path: &str) -> Option<&str> {
    let below = path.strip_prefix("server/src/")?;
    let module = below.split('/').next()?.trim_end_matches(".rs");
    (!["lib", "main", "bin"].contains(&module)).then_some(module)
}

/// The modules a text names as `crate::module`, also in `crate::{a, b}`.
fn modules_used(text: &str) -> Vec<String> {
    let mut used = Vec::new();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    for part in code.collect::<Vec<_>>().join("\n").split("crate::").skip(1) {
        let list = part.strip_prefix('{').and_then(|list| list.split('}').next()).unwrap_or(part);
        let names = if list.len() == part.len() { vec![part] } else { list.split(',').collect() };
        for name in names {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            used.push(name.trim_start().chars().take_while(|c| is_name(*c)).collect());
        }
    }
    used
}

/// The part of a file that is no test.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or_default()
}

#[test]
fn the_daemon_s_modules_point_one_way() {
    let mut broken = Vec::new();
    for file in tree::with_extension("rs") {
        let Some(module) = module_of(&file.path) else { continue };
        let Some(from) = level(module) else {
            broken.push(format!("{}: {module} has no level in tests/tidy/modules.rs", file.path));
            continue;
        };
        for used in modules_used(without_tests(&file.text())) {
            let higher = level(&used).is_some_and(|to| to >= from);
            if used != module && higher {
                broken.push(format!("{}: {module} uses {used}", file.path));
            }
        }
    }
    broken.dedup();
    nothing_breaks("a module of the daemon uses lower levels only", &broken);
}

#[test]
fn protocols_are_given_the_time() {
    let mut broken = Vec::new();
    for file in tree::with_extension("rs") {
        let pure = WITHOUT_CLOCK.iter().any(|folder| file.path.starts_with(folder));
        if !pure || file.path.contains("/tests/") || file.path.ends_with("tests.rs") {
            continue;
        }
        let text = file.text();
        for (number, line) in without_tests(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(clock) = CLOCKS.iter().find(|clock| code.contains(**clock)) {
                broken.push(format!("{}:{}: {clock}", file.path, number + 1));
            }
        }
    }
    nothing_breaks("protocol crates have no clock and no socket", &broken);
}

#[test]
fn uses_are_found() {
    let text = "use crate::net::Visit;\nuse crate::{config, telemetry::bus};\n// crate::house\n";
    assert_eq!(modules_used(text), ["net", "config", "telemetry"]);
    assert_eq!(module_of("server/src/imap/session.rs"), Some("imap"));
    assert_eq!(module_of("server/src/services.rs"), Some("services"));
    assert_eq!(module_of("server/src/bin/gracectl.rs"), None);
}
