//! `grace-tests imap-resync`: an IMAP client cut off at every byte of what it hears.
//!
//! Not here: what must hold ([`grace_tests::resync`]).

use grace_tests::resync;
use grace_tests::seed::Seed;

/// What it is called with.
pub(crate) const USAGE: &str = "grace-tests imap-resync [--seed S] [--cuts N]";

/// Does what the options say; `None`: they say nothing that makes sense.
pub(crate) fn run(options: &[String]) -> Option<Result<(), String>> {
    let (mut seed, mut cuts) = (Seed::of_today().start(), 1_000);
    for pair in options.chunks(2) {
        let [name, value] = pair else { return None };
        match name.as_str() {
            "--seed" => seed = value.parse().ok()?,
            "--cuts" => cuts = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(resync::run(seed, cuts).map(|outcome| println!("{outcome}")))
}
