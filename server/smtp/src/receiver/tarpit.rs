//! Refusals that take their time: who tries names at our door gets slower with each.
//!
//! Invariants: what was answered before is sent before the wait; a wait is never longer than
//! `Tarpit::wait_max`; who logged in never waits.
//! Not here: the clock (the driver waits), hanging up (`asked`, `Receiver::count_error`).

use std::time::Duration;

use crate::receiver::{Action, Receiver};
use crate::reply::Reply;

/// After so many doublings a wait has long met its bound.
const DOUBLINGS_MAX: u32 = 16;

impl Receiver {
    /// Says no, now or later: `count` is the how-many-eth such refusal this is, `free` how many are
    /// answered at once (`None`: all).
    pub(super) fn reply_slowly(&mut self, reply: &Reply, count: u32, free: Option<u32>) {
        if self.session.login.is_some() || free.is_none_or(|free| count <= free) {
            return self.reply(reply);
        }
        let wait = self.next_wait();
        if wait.is_zero() {
            return self.reply(reply);
        }
        if !self.replies.is_empty() {
            let earlier = self.flush();
            self.actions.push_back(earlier);
        }
        let mut line = Vec::new();
        reply.encode(&mut line);
        self.actions.extend([Action::Wait(wait), Action::Send(line)]);
        // The peer's own time begins when it has its answer.
        self.since = self.now.checked_add(wait).unwrap_or(self.now);
    }

    /// Each wait of a session is twice as long as the one before.
    fn next_wait(&mut self) -> Duration {
        let tarpit = &self.settings.tarpit;
        let factor = 1_u32 << self.counts.waits.min(DOUBLINGS_MAX);
        self.counts.waits = self.counts.waits.saturating_add(1);
        tarpit.wait_first.saturating_mul(factor).min(tarpit.wait_max)
    }
}
