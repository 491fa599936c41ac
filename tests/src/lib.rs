//! The house seen from outside: starts the built programs and drives them as the world would.
//!
//! A scenario (`scenarios/*.rs`) tells a story with these pieces: [`house`] runs a daemon on free
//! loopback ports and talks to it through `gracectl`, [`log`] is what the daemon said, [`wire`]
//! holds a conversation with it line by line, [`script`] runs the Python programs of `scripts/`,
//! [`usage`] reads what a process costs, [`display`] gives the console a screen; [`postfix`] and
//! [`sink`] are servers to exchange mail with, [`killed`] is what happens in between, [`dovecot`]
//! is one to be compared with; [`imap`] is a client of our own, of which [`stress`] has many, and
//! which is cut off in [`resync`]. [`drill`] puts the database alone on a disk that fails,
//! [`powercut`] on a drive that loses what was not synced.
//!
//! Invariants: nothing here looks inside the product, only at its doors; whatever a piece starts it
//! ends when dropped; nothing waits for a time to pass where it can wait for something to happen.
//! Not here: the scenarios themselves, and the rules of the source tree (`tidy/`).

pub mod corpus;
pub mod display;
#[cfg(unix)]
pub mod dovecot;
pub mod drill;
pub mod house;
pub mod imap;
#[cfg(unix)]
pub mod killed;
pub mod log;
pub mod policy_host;
#[cfg(unix)]
pub mod postfix;
pub mod powercut;
pub mod program;
pub mod resync;
pub mod script;
pub mod seed;
#[cfg(unix)]
pub mod sink;
pub mod stress;
pub mod submit;
pub mod tap;
pub mod usage;
pub mod wire;
pub mod zone;

use std::io::Write as _;

/// Writes `FIGURE: …`, past the test runner's capture: what was measured is part of the result.
pub fn figure(text: &str) {
    announce("FIGURE", text);
}

/// Writes `SKIPPED: …`, past the test runner's capture: a test that did not run must not look
/// green.
pub fn skipped(text: &str) {
    announce("SKIPPED", text);
}

/// One line on standard error, whole even when tests run side by side.
fn announce(what: &str, text: &str) {
    let line = format!("{what}: {text}\n");
    // Standard error gone means nobody reads; the test's own result does not depend on it.
    drop(std::io::stderr().write_all(line.as_bytes()));
}
