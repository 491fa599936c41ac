//! Sets of UIDs of one segment.
//!
//! Invariant: memory is one bit for each UID between the first and the last, of which there are
//! [`SPAN_MAX`] at most.
//! Not here: sets of a whole mailbox.

use std::ops::RangeInclusive;

/// Most UIDs from the first to the last of a segment: two megabytes of a set.
pub(super) const SPAN_MAX: u32 = 1 << 24;

/// Some UIDs between two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bits {
    first: u32,
    words: Vec<u64>,
    /// How many are in.
    count: u32,
}

impl Bits {
    /// None of the UIDs of a range; of one that is too long the end is left out.
    pub(super) fn none(range: &RangeInclusive<u32>) -> Self {
        let span = range.end().saturating_sub(*range.start()).min(SPAN_MAX);
        let words = usize::try_from(span / 64 + 1).unwrap_or_default();
        Self { first: *range.start(), words: vec![0; words], count: 0 }
    }

    /// Puts one in.
    pub(super) fn insert(&mut self, uid: u32) {
        let Some((word, bit)) = self.place(uid) else { return };
        if let Some(word) = self.words.get_mut(word) {
            self.count += u32::from(*word & bit == 0);
            *word |= bit;
        }
    }

    /// Whether one is in.
    pub(super) fn contains(&self, uid: u32) -> bool {
        let place = self.place(uid);
        place.is_some_and(|(word, bit)| self.words.get(word).is_some_and(|word| word & bit != 0))
    }

    /// Keeps what is in the other one, too, which is of the same range.
    pub(super) fn keep(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(ours, theirs)| *ours &= theirs);
        self.count = self.words.iter().map(|word| word.count_ones()).sum();
    }

    /// Adds what is in the other one, which is of the same range.
    pub(super) fn add(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(ours, theirs)| *ours |= theirs);
        self.count = self.words.iter().map(|word| word.count_ones()).sum();
    }

    /// How many are in.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Those that are in, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let starts = (0u32..).map(|place| self.first.saturating_add(place.saturating_mul(64)));
        self.words.iter().zip(starts).flat_map(|(word, start)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                left &= left.checked_sub(1)?;
                Some(start.saturating_add(bit))
            })
        })
    }

    fn place(&self, uid: u32) -> Option<(usize, u64)> {
        let offset = uid.checked_sub(self.first)?;
        Some((usize::try_from(offset / 64).ok()?, 1 << (offset % 64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out() {
        let uids = [7, 8, 70, 71, 200];
        let mut bits = Bits::none(&(7..=200));
        assert_eq!(bits.count(), 0);
        uids.iter().for_each(|uid| bits.insert(*uid));
        assert_eq!(bits.iter().collect::<Vec<_>>(), uids);
        assert!(bits.contains(70) && !bits.contains(72) && !bits.contains(6));
        // Outside its range nothing is in, whatever is put there.
        bits.insert(6);
        bits.insert(100_000);
        assert_eq!((bits.iter().count(), bits.count()), (uids.len(), 5));
        let mut other = Bits::none(&(7..=200));
        [8, 9, 200].iter().for_each(|uid| other.insert(*uid));
        let mut both = bits.clone();
        both.keep(&other);
        assert_eq!(both.iter().collect::<Vec<_>>(), [8, 200]);
        other.add(&bits);
        assert_eq!((both.count(), other.count()), (2, 6));
        assert_eq!(other.iter().collect::<Vec<_>>(), [7, 8, 9, 70, 71, 200]);
        let last = Bits::none(&(u32::MAX..=u32::MAX));
        assert!(!last.contains(u32::MAX));
    }
}
