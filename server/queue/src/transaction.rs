//! What waits: the recipients of one message at one destination that are tried together.
//!
//! ```text
//!               due                next()               finished(): later
//!   Sleeping ────────▶ Ready ─────────────────▶ Running ──────────────────▶ Sleeping
//!       │                │ ▲                       │ settled: gone
//!       └──── hold ──────┴─┼──▶ Held               └ hold, then later: Held
//!                release └─┴─────┘
//! ```
//! Invariant: a transaction has a recipient, unless all of them were taken out while it runs.

use crate::schedule::Life;
use crate::time::Time;

/// One message for one destination.
#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    pub(crate) message: u64,
    pub(crate) recipients: Recipients,
    /// Who is to be treated fairly.
    pub(crate) sender: u64,
    /// MT-PRIORITY (RFC 6710): -9 to 9.
    pub(crate) priority: i8,
    /// The number of its destination.
    pub(crate) to: u32,
    pub(crate) life: Life,
    /// When it is tried next.
    pub(crate) due: Time,
    pub(crate) state: State,
}

/// Memory for each transaction; the indexes over it come on top.
const _: () = assert!(size_of::<Option<Transaction>>() <= 88);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Its time has not come.
    Sleeping,
    /// Its time has come, its turn not.
    Ready,
    /// It is being tried.
    Running,
    /// An admin keeps it back.
    Held,
}

impl Transaction {
    /// When something is to happen to it though nobody tries it.
    pub(crate) fn timer(&self) -> Option<Time> {
        match self.state {
            State::Sleeping => Some(self.life.deadline().min(self.due)),
            State::Ready => Some(self.life.deadline()),
            State::Running | State::Held => None,
        }
    }
}

/// Numbers of recipients. Most messages have one, which needs no memory of its own.
#[derive(Debug, Clone)]
pub(crate) enum Recipients {
    One(u32),
    Many(Box<[u32]>),
}

impl Recipients {
    pub(crate) fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Takes those out that `is_out` names.
    pub(crate) fn take(&mut self, is_out: impl Fn(u32) -> bool) -> Vec<u32> {
        let (out, stay): (Vec<u32>, Vec<u32>) =
            self.as_slice().iter().partition(|&&recipient| is_out(recipient));
        if !out.is_empty() {
            *self = Self::from(stay);
        }
        out
    }
}

impl From<Vec<u32>> for Recipients {
    fn from(recipients: Vec<u32>) -> Self {
        match *recipients {
            [one] => Self::One(one),
            _ => Self::Many(recipients.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_are_taken_out() {
        let mut recipients = Recipients::from(vec![1, 2, 3]);
        assert_eq!(recipients.take(|number| number > 1), [2, 3]);
        assert!(matches!(recipients, Recipients::One(1)));
        assert_eq!(recipients.take(|_| false), []);
        assert_eq!((recipients.take(|_| true), recipients.len()), (vec![1], 0));
    }
}
