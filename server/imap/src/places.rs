//! The order that SORT found, kept for those who sort so again.
//!
//! ```text
//!   messages that were sorted so before ─▶ their places ─────────────────────▶ the order
//!   some that came since ─▶ each halves where it may stand, by keys of a few ─▶ now
//! ```
//! Invariants: pure; messages never change, so that an order once found stays that of those
//! messages; what comes out is what sorting all of them anew would give.
//! Not here: what is compared (`sort`, `keys`), keeping orders.

use std::collections::HashMap;

use crate::keys::Keys;
use crate::sort::{Criterion, Key, Rank};

/// Messages that are put into a known order one by one: one answer of keys for each halving.
/// Beyond, all are sorted anew.
const NEW_MAX: usize = 200;

/// A new message for so many known ones: below, sorting them all is as quick.
const KNOWN_MIN: usize = 8;

/// Relevancy, which a known order knows nothing of.
const NO_RELEVANCY: u8 = 0;

/// The places of messages in an order that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    criteria: Vec<Criterion>,
    /// UID and place, by ascending UID.
    places: Vec<(u32, u32)>,
}

impl Places {
    /// Whether an order by these criteria is that of its messages for ever, whoever looks for them.
    pub fn is_lasting(criteria: &[Criterion]) -> bool {
        criteria.iter().all(|one| one.key != Key::Relevancy)
    }

    /// The order of these messages.
    pub fn new(criteria: &[Criterion], uids: impl Iterator<Item = u32>) -> Self {
        let mut places: Vec<(u32, u32)> = uids.zip(0..).collect();
        places.sort_unstable();
        Self { criteria: criteria.to_vec(), places }
    }

    /// What it is the order by.
    pub fn criteria(&self) -> &[Criterion] {
        &self.criteria
    }

    /// Bytes they take, roughly.
    pub fn bytes(&self) -> usize {
        self.places.len() * size_of::<(u32, u32)>()
    }

    /// Begins to put messages in order, which are given by ascending UID; `None`: sorting them anew
    /// is as quick.
    pub fn order(&self, uids: impl Iterator<Item = u32>) -> Option<Insertion> {
        let mut slots = vec![None; self.places.len()];
        let mut new = Vec::new();
        let mut rest = self.places.iter().peekable();
        for uid in uids {
            while rest.next_if(|(known, _)| *known < uid).is_some() {}
            match rest.next_if(|(known, _)| *known == uid) {
                Some((_, place)) => {
                    let slot = usize::try_from(*place).ok().and_then(|at| slots.get_mut(at))?;
                    *slot = Some(uid);
                }
                None if new.len() < NEW_MAX => new.push(uid),
                None => return None,
            }
        }
        let known: Vec<u32> = slots.into_iter().flatten().collect();
        if known.len() < new.len() * KNOWN_MIN {
            return None;
        }
        let anywhere = |uid| New { uid, from: 0, to: known.len() };
        let new = new.into_iter().map(anywhere).collect();
        Some(Insertion { criteria: self.criteria.clone(), known, new, ranks: HashMap::new() })
    }
}

/// New messages find their places among known ones.
#[derive(Debug)]
pub struct Insertion {
    criteria: Vec<Criterion>,
    /// UIDs in their order.
    known: Vec<u32>,
    new: Vec<New>,
    /// Ranks of new ones, and of known ones that some were compared with.
    ranks: HashMap<u32, Rank>,
}

/// A new message, which stands at one of the places from … to.
#[derive(Debug)]
struct New {
    uid: u32,
    from: usize,
    to: usize,
}

impl New {
    /// What it is compared with next; `None`: its place is found.
    fn middle(&self, known: &[u32]) -> Option<u32> {
        let is_open = self.from < self.to;
        known.get(self.from.midpoint(self.to)).copied().filter(|_| is_open)
    }
}

impl Insertion {
    /// Messages whose keys must be known to go on, at most some hundred; none: the order is found.
    pub fn wants(&self) -> Vec<u32> {
        let asks = |new: &New| {
            let middle = new.middle(&self.known)?;
            let is_known = |uid: u32| self.ranks.contains_key(&uid);
            [new.uid, middle].into_iter().find(|uid| !is_known(*uid))
        };
        // The first time the new ones themselves are what is not known.
        let mut wanted: Vec<u32> = self.new.iter().filter_map(asks).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    /// Takes keys in that were wanted, and compares. `false`: some were not given, for a message is
    /// gone, and the order cannot be found like this.
    #[must_use]
    pub fn learn(&mut self, keys: Vec<Keys>) -> bool {
        let wanted = self.wants();
        for keys in keys {
            self.ranks.insert(keys.uid, Rank::new(&self.criteria, keys, NO_RELEVANCY));
        }
        for new in &mut self.new {
            while let Some(middle) = new.middle(&self.known)
                && let (Some(ours), Some(theirs)) =
                    (self.ranks.get(&new.uid), self.ranks.get(&middle))
            {
                let at = new.from.midpoint(new.to);
                match (ours, new.uid) < (theirs, middle) {
                    true => new.to = at,
                    false => new.from = at + 1,
                }
            }
        }
        wanted.iter().all(|uid| self.ranks.contains_key(uid))
    }

    /// Whether there are messages that the known order did not have.
    pub fn is_new(&self) -> bool {
        !self.new.is_empty()
    }

    /// Every message in its order.
    pub fn finish(mut self) -> Vec<u32> {
        let ranks = &self.ranks;
        self.new.sort_unstable_by(|one, other| {
            let rank = |new: &New| (new.from, ranks.get(&new.uid), new.uid);
            rank(one).cmp(&rank(other))
        });
        let mut new = self.new.iter().peekable();
        let mut all = Vec::with_capacity(self.known.len() + self.new.len());
        for (place, uid) in self.known.iter().enumerate() {
            while let Some(before) = new.next_if(|new| new.from <= place) {
                all.push(before.uid);
            }
            all.push(*uid);
        }
        all.extend(new.map(|new| new.uid));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: &[Criterion] = &[Criterion { key: Key::Subject, reverse: false }];

    fn letter(uid: u32) -> Keys {
        // Few subjects for many letters, so that some are equal.
        let subject = format!("{}", uid.wrapping_mul(2_654_435_761) % 50);
        Keys { uid, subject: subject.into(), sent_s: i64::from(uid % 7), ..Keys::default() }
    }

    fn sorted(criteria: &[Criterion], uids: &[u32]) -> Vec<u32> {
        let mut all: Vec<(Rank, u32)> =
            uids.iter().map(|uid| (Rank::new(criteria, letter(*uid), 0), *uid)).collect();
        all.sort();
        all.into_iter().map(|(_, uid)| uid).collect()
    }

    /// The order of `uids`, and how often keys were asked for.
    fn found(places: &Places, uids: &[u32]) -> Option<(Vec<u32>, usize)> {
        let mut insertion = places.order(uids.iter().copied())?;
        let mut times = 0;
        loop {
            let wanted = insertion.wants();
            if wanted.is_empty() {
                return Some((insertion.finish(), times));
            }
            assert!(wanted.len() <= NEW_MAX);
            times += 1;
            assert!(insertion.learn(wanted.iter().map(|uid| letter(*uid)).collect()));
        }
    }

    #[test]
    fn an_order_that_is_known_serves_some_of_its_messages_and_those_that_came_since() {
        let both = [Criterion { key: Key::Date, reverse: true }, SUBJECT[0]];
        for criteria in [SUBJECT, &both] {
            let all: Vec<u32> = (1..=5_000).collect();
            let places = Places::new(criteria, sorted(criteria, &all).into_iter());
            assert_eq!(found(&places, &all), Some((sorted(criteria, &all), 0)));
            let some: Vec<u32> = all.iter().copied().filter(|uid| uid % 3 == 0).collect();
            assert_eq!(found(&places, &some), Some((sorted(criteria, &some), 0)));
            assert_eq!(found(&places, &[]), Some((Vec::new(), 0)));

            let more: Vec<u32> = (2..=5_150).collect();
            let (order, times) = found(&places, &more).unwrap();
            assert_eq!(order, sorted(criteria, &more));
            assert!(times <= 1 + 13, "{times}");
            // Messages between known ones, which were left out of the earlier search.
            let thirds = Places::new(criteria, sorted(criteria, &some).into_iter());
            let mut with: Vec<u32> = some.clone();
            with.extend([1, 2, 1_000, 4_999, 5_000]);
            with.sort_unstable();
            assert_eq!(found(&thirds, &with).unwrap().0, sorted(criteria, &with));
        }
    }

    #[test]
    fn too_many_new_messages_are_sorted_anew_and_one_that_is_gone_is_told() {
        let all: Vec<u32> = (1..=1_000).collect();
        let places = Places::new(SUBJECT, sorted(SUBJECT, &all).into_iter());
        assert!(places.order(1..=1_201).is_none());
        assert!(places.order(980..=1_010).is_none());
        let mut insertion = places.order(1..=1_001).unwrap();
        let wanted = insertion.wants();
        assert_eq!(wanted, [1_001]);
        assert!(!insertion.learn(Vec::new()));
        assert!(!Places::is_lasting(&[Criterion { key: Key::Relevancy, reverse: false }]));
        assert!(Places::is_lasting(SUBJECT));
    }
}
