//! Many IMAP sessions at once on shared mailboxes: what each is told must be possible, and in the
//! end all agree. `grace-tests imap-stress` does the same for as long as one likes.

use std::time::Duration;

use grace_tests::figure;
use grace_tests::seed::Seed;
use grace_tests::stress::{self, Order};

/// How long it runs; the last round is not cut short.
const TIME: Duration = Duration::from_secs(20);

#[test]
fn twenty_sessions_are_told_the_truth() {
    let order = Order { seed: Seed::of_today().start(), sessions: 20, time: TIME };
    match stress::run(order) {
        Ok(outcome) => figure(&format!("IMAP: {outcome}")),
        Err(why) => panic!("{why}"),
    }
}
