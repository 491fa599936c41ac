//! Messages to several people of which one had no room: whom to send on alone when they come again.
//!
//! ```text
//!   RCPT ann 250, RCPT bob 250, DATA ─▶ 452, it does not fit bob     noted: bob, and from whom
//!   again: RCPT ann 250, RCPT bob 452, DATA ─▶ 250                   struck out
//! ```
//! Without that, a message whose size nobody said, or two that came at once, would be refused again
//! and again to those who have room for it.
//! Invariants: a note holds up one recipient once, for a while, and nothing is lost by that; memory
//! is bounded; the oldest note makes room.
//! Not here: who has room (`mailbox`).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Notes kept, some 400 bytes each. Whoever loses one is put off once more.
const NOTES_MAX: usize = 1_000;

/// How long a note is kept: servers come again within hours (RFC 5321 4.5.4.1).
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// Whom messages did not fit.
#[derive(Debug, Default)]
pub(super) struct Misfits(VecDeque<Note>);

#[derive(Debug)]
struct Note {
    account: u64,
    sender: String,
    since: Instant,
}

impl Misfits {
    /// Notes that a message of a sender did not fit an account and was refused to others for it.
    pub(super) fn note(&mut self, now: Instant, account: u64, sender: &str) {
        self.strike_out(now, account, sender);
        if self.0.len() >= NOTES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Note { account, sender: sender.to_owned(), since: now });
    }

    /// Strikes a note out; whether there was one.
    pub(super) fn strike_out(&mut self, now: Instant, account: u64, sender: &str) -> bool {
        self.0.retain(|note| now.saturating_duration_since(note.since) < KEPT);
        let before = self.0.len();
        self.0.retain(|note| note.account != account || note.sender != sender);
        self.0.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_counts_once_and_for_a_while() {
        let (mut misfits, start) = (Misfits::default(), Instant::now());
        misfits.note(start, 7, "ann@example.org");
        assert!(!misfits.strike_out(start, 7, "bob@example.org"));
        assert!(!misfits.strike_out(start, 8, "ann@example.org"));
        assert!(misfits.strike_out(start, 7, "ann@example.org"));
        assert!(!misfits.strike_out(start, 7, "ann@example.org"));
        misfits.note(start, 7, "ann@example.org");
        assert!(!misfits.strike_out(start + KEPT, 7, "ann@example.org"));
        for account in 0..=NOTES_MAX as u64 {
            misfits.note(start, account, "ann@example.org");
            misfits.note(start, account, "ann@example.org");
        }
        assert_eq!(misfits.0.len(), NOTES_MAX);
        assert!(!misfits.strike_out(start, 0, "ann@example.org"));
        assert!(misfits.strike_out(start, 1, "ann@example.org"));
    }
}
