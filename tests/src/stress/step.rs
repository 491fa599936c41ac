//! What a session does next: drawn from its seed, the same whatever the server answers.
//!
//! Invariant: each step takes as many numbers from the seed as any other, so that two runs with one
//! seed draw the same steps, however their sessions meet.
//! Not here: which messages a step means in the mailbox as it is then (`session`).

use super::FLAGS;
use crate::seed::Seed;

/// One step.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// What is done.
    pub(super) kind: Kind,
    /// Where in the mailbox, in parts of [`WHOLE`].
    pub(super) place: usize,
    /// How many messages from there on.
    pub(super) count: usize,
    /// Which flags, as bits.
    flags: u64,
    /// By UID, if there is a choice.
    pub(super) uid: bool,
    /// In silence, into the same mailbox, with PEEK: the other way of doing it.
    pub(super) other: bool,
    /// `+`, `-` or none.
    pub(super) sign: &'static str,
    /// How long to wait in IDLE, in milliseconds.
    pub(super) idle_ms: u64,
}

/// Parts that places are told in.
pub(super) const WHOLE: usize = 1_000;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// NOOP.
    Look,
    /// APPEND.
    Append,
    /// APPEND of two messages, the second without bytes.
    AppendRefused,
    /// STORE.
    Store,
    /// STORE with UNCHANGEDSINCE.
    StoreUnchanged,
    /// STORE of `\Deleted`.
    Mark,
    /// EXPUNGE.
    Expunge,
    /// UID EXPUNGE.
    UidExpunge,
    /// COPY.
    Copy,
    /// MOVE.
    Move,
    /// SEARCH.
    Search,
    /// FETCH of flags.
    FetchFlags,
    /// FETCH of bytes.
    FetchBody,
    /// IDLE.
    Idle,
    /// Another mailbox, or this one anew.
    Select,
    /// CLOSE.
    Close,
    /// STATUS of another mailbox.
    Status,
}

/// How often what is done, in hundredths.
const OFTEN: &[(u64, Kind)] = &[
    (6, Kind::Look),
    (15, Kind::Append),
    (2, Kind::AppendRefused),
    (13, Kind::Store),
    (5, Kind::StoreUnchanged),
    (7, Kind::Mark),
    (5, Kind::Expunge),
    (4, Kind::UidExpunge),
    (6, Kind::Copy),
    (6, Kind::Move),
    (7, Kind::Search),
    (6, Kind::FetchFlags),
    (6, Kind::FetchBody),
    (5, Kind::Idle),
    (3, Kind::Select),
    (1, Kind::Close),
    (3, Kind::Status),
];

impl Step {
    /// The next one.
    pub(super) fn draw(seed: &mut Seed) -> Self {
        let mut part = seed.between(0, 99);
        let mut kind = Kind::Look;
        for (often, it) in OFTEN {
            kind = *it;
            if part < *often {
                break;
            }
            part -= often;
        }
        let number = |number: u64| usize::try_from(number).unwrap_or_default();
        Self {
            kind,
            place: number(seed.between(0, WHOLE as u64 - 1)),
            count: number(seed.between(1, 5)),
            flags: seed.number(),
            uid: seed.between(0, 1) == 0,
            other: seed.between(0, 1) == 0,
            sign: ["+", "-", ""].get(number(seed.between(0, 2))).copied().unwrap_or_default(),
            idle_ms: seed.between(1, 150),
        }
    }

    /// Some of the flags, one at least; `\Deleted` is set by [`Kind::Mark`] alone, or all would go.
    pub(super) fn flags(&self) -> Vec<&'static str> {
        let others = FLAGS.iter().filter(|flag| **flag != "\\Deleted");
        let drawn = others.clone().enumerate().filter(|(bit, _)| self.flags >> bit & 3 == 3);
        let mut flags: Vec<&'static str> = drawn.map(|(_, flag)| *flag).collect();
        if flags.is_empty() {
            flags.extend(others.clone().nth(self.place % (FLAGS.len() - 1)));
        }
        flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_repeat_and_all_kinds_come() {
        assert_eq!(OFTEN.iter().map(|(often, _)| often).sum::<u64>(), 100);
        let (mut one, mut two) = (Seed::new(5), Seed::new(5));
        let steps: Vec<Step> = (0..2_000).map(|_| Step::draw(&mut one)).collect();
        for step in &steps {
            assert_eq!(format!("{step:?}"), format!("{:?}", Step::draw(&mut two)));
            assert!(!step.flags().is_empty());
        }
        for (_, kind) in OFTEN {
            assert!(steps.iter().any(|step| step.kind == *kind), "{kind:?}");
        }
    }
}
