//! The order of SORT (RFC 5256 3, RFC 5957).
//!
//! Invariants: pure; what is equal by every criterion stands in the order it came; of each message
//! only what the criteria name is kept.
//! Not here: what is compared (`keys`), orders that were found before (`places`).

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
    pub fn new(criteria: &[Criterion], mut keys: Keys, relevancy: u8) -> Self {
        // Whoever names a key twice compares the first time it stands there.
        let text = std::mem::take::<Box<str>>;
        let mut value = |key: Key| match key {
            Key::Arrival => Value::Number(keys.arrival_s),
            Key::Date => Value::Number(keys.sent_s),
            Key::Size => Value::Size(keys.size),
            Key::Cc => Value::Text(text(&mut keys.cc)),
            Key::From => Value::Text(text(&mut keys.from)),
            Key::To => Value::Text(text(&mut keys.to)),
            Key::Subject => Value::Text(text(&mut keys.subject)),
            Key::DisplayFrom => Value::Text(text(&mut keys.display_from)),
            Key::Relevancy => Value::Number(-i64::from(relevancy)),
            Key::DisplayTo => Value::Text(text(&mut keys.display_to)),
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

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
