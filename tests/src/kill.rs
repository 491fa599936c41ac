//! `grace-tests smtp-kill`: a sender with a full queue, killed as often as one likes.
//!
//! Not here: what must hold ([`grace_tests::killed`]).

use grace_tests::{killed, postfix};

/// What it is called with.
pub(crate) const USAGE: &str = "grace-tests smtp-kill [--messages N] [--kills N]";

/// Does what the options say; `None`: they say nothing that makes sense.
pub(crate) fn run(options: &[String]) -> Option<Result<(), String>> {
    let (mut messages, mut kills) = (2_000u64, 200u64);
    for pair in options.chunks(2) {
        let [name, value] = pair else { return None };
        match name.as_str() {
            "--messages" => messages = value.parse().ok()?,
            "--kills" => kills = value.parse().ok()?,
            _ => return None,
        }
    }
    if let Some(why) = postfix::absent() {
        return Some(Err(format!("SKIPPED: {why}")));
    }
    println!("{}", killed::run(messages, kills));
    Some(Ok(()))
}
