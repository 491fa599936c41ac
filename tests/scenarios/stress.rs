//! Many IMAP sessions at once on shared mailboxes: what each is told must be possible, and in the
//! end all agree. `grace-tests imap-stress` does the same for as long as one likes. And one client
//! that is cut off, wherever that is.

use std::time::Duration;

use grace_tests::seed::{self, Seed};
use grace_tests::stress::{self, Order};
use grace_tests::{figure, resync};

/// How long it runs; the last round is not cut short.
const TIME: Duration = Duration::from_secs(20);
/// How often a client is cut off. `GRACE_CUTS` says how often else; as many as an exchange has
/// bytes are one at each.
const CUTS: u64 = 150;

#[test]
fn twenty_sessions_are_told_the_truth() {
    let order = Order { seed: Seed::of_today().start(), sessions: 20, time: TIME };
    match stress::run(order) {
        Ok(outcome) => figure(&format!("IMAP: {outcome}")),
        Err(why) => panic!("{why}"),
    }
}

#[test]
fn a_client_that_is_cut_off_comes_back() {
    let seed = Seed::of_today().start();
    let cuts = usize::try_from(seed::times("GRACE_CUTS", CUTS)).unwrap_or_default();
    match resync::run(seed, cuts) {
        Ok(outcome) => figure(&format!("IMAP: {outcome}")),
        Err(why) => panic!("{why}"),
    }
}
