//! A sender with a full queue is killed again and again: everything arrives, and only what was
//! under way at a kill arrives twice.
//!
//! `GRACE_SENDER_KILLS` says how often, `GRACE_SENDER_MESSAGES` how full the queue is at first;
//! `grace-tests smtp-kill` is the same for longer. Not here: what must hold ([`killed`]).

#![cfg(unix)]

use grace_tests::{figure, killed, postfix, seed, skipped};

/// How often the daemon is killed.
const KILLS: u64 = 30;
/// Messages in its queue at first.
const MESSAGES: u64 = 1_000;

#[test]
fn nothing_is_lost_and_little_comes_twice() {
    if let Some(why) = postfix::absent() {
        return skipped(&format!("a sender is not killed: {why}, and smtp-sink comes with it"));
    }
    let messages = seed::times("GRACE_SENDER_MESSAGES", MESSAGES);
    let kills = seed::times("GRACE_SENDER_KILLS", KILLS);
    let outcome = killed::run(messages, kills);
    figure(&outcome.to_string());
    assert!(outcome.kills >= kills / 2, "{outcome}: the queue was empty too early");
}
