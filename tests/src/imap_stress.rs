//! `grace-tests imap-stress`: many IMAP sessions on shared mailboxes, for as long as one likes.
//!
//! Not here: what must hold ([`grace_tests::stress`]).

use std::time::Duration;

use grace_tests::seed::Seed;
use grace_tests::stress::{self, Order};

/// What it is called with.
pub(crate) const USAGE: &str = "grace-tests imap-stress [--seed S] [--sessions N] [--minutes M]";

/// Does what the options say; `None`: they say nothing that makes sense.
pub(crate) fn run(options: &[String]) -> Option<Result<(), String>> {
    let minute = Duration::from_secs(60);
    let mut order = Order { seed: Seed::of_today().start(), sessions: 20, time: 5 * minute };
    for pair in options.chunks(2) {
        let [name, value] = pair else { return None };
        match name.as_str() {
            "--seed" => order.seed = value.parse().ok()?,
            "--sessions" => order.sessions = value.parse().ok().filter(|n| *n > 0)?,
            "--minutes" => order.time = value.parse::<u32>().ok()? * minute,
            _ => return None,
        }
    }
    Some(stress::run(order).map(|outcome| println!("{outcome}")))
}
