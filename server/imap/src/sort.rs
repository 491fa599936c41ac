//! The order of SORT (RFC 5256 3, RFC 5957).
//!
//! Invariants: pure; what is equal by every criterion stands in the order it came; of each message
//! only what the criteria name is kept. Messages never change, so that an order once found stays
//! that of those messages ([`Places`]).
//! Not here: what is compared (`keys`).

use std::cmp::{Ordering, Reverse};

use crate::keys::Keys;
use crate::machine::Need;

/// What SORT compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// ARRIVAL: INTERNALDATE
    Arrival,
    /// CC
    Cc,
    /// DATE
    Date,
    /// FROM
    From,
    /// SIZE
    Size,
    /// SUBJECT
    Subject,
    /// TO
    To,
    /// DISPLAYFROM (RFC 5957)
    DisplayFrom,
    /// DISPLAYTO (RFC 5957)
    DisplayTo,
    /// RELEVANCY: what fits best comes first (RFC 6203 5)
    Relevancy,
}

impl Key {
    /// Every key with its wire spelling.
    pub const NAMES: [(Self, &str); 10] = [
        (Self::Arrival, "ARRIVAL"),
        (Self::Cc, "CC"),
        (Self::Date, "DATE"),
        (Self::From, "FROM"),
        (Self::Size, "SIZE"),
        (Self::Subject, "SUBJECT"),
        (Self::To, "TO"),
        (Self::DisplayFrom, "DISPLAYFROM"),
        (Self::DisplayTo, "DISPLAYTO"),
        (Self::Relevancy, "RELEVANCY"),
    ];
}

/// One criterion: a key, and whether REVERSE stands before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Criterion {
    /// What is compared.
    pub key: Key,
    /// The largest comes first.
    pub reverse: bool,
}

/// How much of a message must be read to compare it.
pub fn need(criteria: &[Criterion]) -> Need {
    let facts = |one: &Criterion| matches!(one.key, Key::Arrival | Key::Size | Key::Relevancy);
    if criteria.iter().all(facts) { Need::Facts } else { Need::Header }
}

/// A value that orders.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Number(i64),
    Size(u64),
    Text(Box<str>),
}

/// What the criteria say of one message: orders as SORT does, but for the order things came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rank(Vec<(Value, bool)>);

impl Rank {
    /// The rank of a message that fits as well as `relevancy` says.
    pub fn new(criteria: &[Criterion], keys: &Keys, relevancy: u8) -> Self {
        let value = |key: Key| match key {
            Key::Arrival => Value::Number(keys.arrival_s),
            Key::Date => Value::Number(keys.sent_s),
            Key::Size => Value::Size(keys.size),
            Key::Cc => Value::Text(keys.cc.clone()),
            Key::From => Value::Text(keys.from.clone()),
            Key::To => Value::Text(keys.to.clone()),
            Key::Subject => Value::Text(keys.subject.clone()),
            Key::DisplayFrom => Value::Text(keys.display_from.clone()),
            Key::Relevancy => Value::Number(-i64::from(relevancy)),
            Key::DisplayTo => Value::Text(keys.display_to.clone()),
        };
        Self(criteria.iter().map(|one| (value(one.key), one.reverse)).collect())
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        let pairs = self.0.iter().zip(&other.0);
        let orders = pairs.map(|((ours, reverse), (theirs, _))| match reverse {
            false => ours.cmp(theirs),
            true => Reverse(ours).cmp(&Reverse(theirs)),
        });
        orders.fold(Ordering::Equal, Ordering::then)
    }
}

/// Messages whose places are kept at most: 8 bytes each, in every session that sorts.
const PLACES_MAX: usize = 200_000;

/// The places of messages in an order that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    criteria: Vec<Criterion>,
    /// UID and place, by ascending UID.
    places: Vec<(u32, u32)>,
}

impl Places {
    /// Keeps the order of these messages; `None`: they are too many, or the order is no other
    /// search's.
    pub fn new(criteria: &[Criterion], uids: impl ExactSizeIterator<Item = u32>) -> Option<Self> {
        let is_relevancy = |one: &Criterion| one.key == Key::Relevancy;
        if uids.len() > PLACES_MAX || criteria.iter().any(is_relevancy) {
            return None;
        }
        let mut places: Vec<(u32, u32)> = uids.zip(0..).collect();
        places.sort_unstable();
        Some(Self { criteria: criteria.to_vec(), places })
    }

    /// The places of messages by ascending UID; `None`: it is another order, or does not know all.
    pub fn of(&self, criteria: &[Criterion], uids: impl Iterator<Item = u32>) -> Option<Vec<u32>> {
        if criteria != self.criteria {
            return None;
        }
        let mut known = self.places.iter();
        uids.map(|uid| known.find(|(known, _)| *known >= uid).filter(|(known, _)| *known == uid))
            .map(|found| found.map(|(_, place)| *place))
            .collect()
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: &[Criterion] = &[Criterion { key: Key::Subject, reverse: false }];

    #[test]
    fn places_are_those_of_the_same_order_and_of_messages_that_were_in_it() {
        let places = Places::new(SUBJECT, [7, 2, 9, 4].into_iter()).expect("kept");
        let of = |uids: &[u32]| places.of(SUBJECT, uids.iter().copied());
        assert_eq!(of(&[2, 4, 7, 9]), Some(vec![1, 3, 0, 2]));
        assert_eq!(of(&[4, 9]), Some(vec![3, 2]));
        assert_eq!(of(&[]), Some(vec![]));
        for unknown in [&[3][..], &[2, 3], &[9, 10], &[1, 2], &[2, 5, 9]] {
            assert_eq!(of(unknown), None, "{unknown:?}");
        }
        let reverse = [Criterion { key: Key::Subject, reverse: true }];
        assert_eq!(places.of(&reverse, [2].into_iter()), None);
        assert_eq!(places.of(&[], [2].into_iter()), None);
        let relevancy = [Criterion { key: Key::Relevancy, reverse: false }];
        assert_eq!(Places::new(&relevancy, [1].into_iter()), None);
        assert_eq!(Places::new(SUBJECT, vec![1; PLACES_MAX + 1].into_iter()), None);
    }
}
