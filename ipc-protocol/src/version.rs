//! The ledger of versions of the admin protocol.
//!
//! Invariants: a released version never changes meaning; what a version adds is written beside it
//! and marked with it (`since`) where it is defined. Two peers speak the newest version both know.
//! Not here: the handshake that finds it ([`crate::hello`]).

/// A version of the admin protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Version {
    /// The first one: ping, server info, counters, domains, accounts, event and counter
    /// subscriptions.
    V1 = 1,
    /// The database: the event that it met damage, its figures, checks and copies; work that tells
    /// how far it is and can be cancelled.
    V2 = 2,
    /// Mail with other servers: what waits for them, what is done about it, the events of its
    /// delivery, that a sender was checked, and the keys that sign mail.
    V3 = 3,
    /// Application passwords, what is set about domains and addresses, the DNS of domains, and the
    /// past of messages; abuse at the door; aliases that lead elsewhere and accounts whose mail
    /// goes on; routes of outgoing mail, tests of a delivery, and how many of the recipients that
    /// an order was given for are under way.
    V4 = 4,
    /// Shared and public mailboxes, the rights on them, and quota; sessions that are open: their
    /// list, their end, what is spoken there; the mailboxes of an account.
    V5 = 5,
    /// What may be kept where nobody set a limit.
    V6 = 6,
}

/// The oldest version this build speaks.
pub const OLDEST: Version = Version::V1;
/// The newest version this build speaks.
pub const NEWEST: Version = Version::V6;

impl Version {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The version with this number, if this build speaks it.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            3 => Some(Self::V3),
            4 => Some(Self::V4),
            5 => Some(Self::V5),
            6 => Some(Self::V6),
            _ => None,
        }
    }

    /// The newest version in both ranges, if there is one.
    #[must_use]
    pub fn meet(their_oldest: u16, their_newest: u16) -> Option<Self> {
        let newest = NEWEST.number().min(their_newest);
        if newest < OLDEST.number().max(their_oldest) {
            return None;
        }
        Self::from_number(newest)
    }
}

const _: () = assert!(OLDEST.number() <= NEWEST.number());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_meet_or_not() {
        assert_eq!(Version::meet(1, 1), Some(Version::V1));
        assert_eq!(Version::meet(0, 900), Some(NEWEST));
        assert_eq!(Version::meet(NEWEST.number() + 1, 900), None);
        assert_eq!(Version::meet(0, 0), None);
        assert_eq!(Version::meet(9, 1), None, "a range that is no range");
    }
}
