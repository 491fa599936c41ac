//! Ranges of keys that are gone as a whole.
//!
//! A layer's ranges hide what older layers hold and nothing of the layer's own: what is put after
//! a range was deleted stands in the same layer and is there.
//! Invariants: sorted, not empty, neither overlapping nor touching; the upper end is not included.
//! Not here: single keys that are gone (`tree`, `block`).

use std::sync::Arc;

/// One range, from `low` up to, not including, `high`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) low: Box<[u8]>,
    pub(crate) high: Box<[u8]>,
}

/// A set of ranges. A clone is free.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ranges {
    /// `None`: no range.
    list: Option<Arc<Vec<Range>>>,
}

impl Ranges {
    fn list(&self) -> &[Range] {
        self.list.as_ref().map_or(&[], |list| list.as_slice())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list().is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.list().len()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Range> {
        self.list().iter()
    }

    /// The range that `key` is in.
    pub(crate) fn covering(&self, key: &[u8]) -> Option<&Range> {
        let after = self.list().partition_point(|range| *range.low <= *key);
        let range = self.list().get(after.checked_sub(1)?)?;
        (*key < *range.high).then_some(range)
    }

    /// Whether any key from `low` up to `high` is in a range; `None`: no bound.
    pub(crate) fn touches(&self, low: &[u8], high: Option<&[u8]>) -> bool {
        let after = self.list().partition_point(|range| *range.high <= *low);
        self.list().get(after).is_some_and(|range| high.is_none_or(|high| *range.low < *high))
    }

    /// Adds a range and joins it with those it meets.
    pub(crate) fn add(&mut self, low: &[u8], high: &[u8]) {
        if low >= high {
            return;
        }
        let first = self.list().partition_point(|range| *range.high < *low);
        let end = self.list().partition_point(|range| *range.low <= *high);
        let list = Arc::make_mut(self.list.get_or_insert_default());
        let met = list.get(first..end).unwrap_or_default();
        let low = met.first().map_or(low, |range| low.min(&range.low));
        let high = met.last().map_or(high, |range| high.max(&range.high));
        let joined = Range { low: low.into(), high: high.into() };
        list.splice(first..end.max(first), [joined]);
    }

    /// The parts that lie from `low` up to, not including, `high`; `None`: no bound.
    pub(crate) fn cut(&self, low: Option<&[u8]>, high: Option<&[u8]>) -> Self {
        let mut cut = Vec::new();
        for range in self.list() {
            let start = low.map_or(&*range.low, |low| low.max(&*range.low));
            let end = high.map_or(&*range.high, |high| high.min(&*range.high));
            if start < end {
                cut.push(Range { low: start.into(), high: end.into() });
            }
        }
        Self { list: (!cut.is_empty()).then(|| Arc::new(cut)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::next_random;

    fn words(ranges: &Ranges) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ranges.iter().map(|range| format!("{}-{}", text(&range.low), text(&range.high))).collect()
    }

    #[test]
    fn what_meets_is_joined() {
        let mut ranges = Ranges::default();
        for (low, high) in [("m", "p"), ("a", "b"), ("d", "f"), ("c", "c"), ("b", "d")] {
            ranges.add(low.as_bytes(), high.as_bytes());
        }
        assert_eq!(words(&ranges), ["a-f", "m-p"]);
        ranges.add(b"e", b"z");
        assert_eq!(words(&ranges), ["a-z"]);
        assert_eq!(words(&ranges.cut(Some(b"c"), Some(b"d"))), ["c-d"]);
        assert_eq!(words(&ranges.cut(Some(b"z"), None)), Vec::<String>::new());
    }

    #[test]
    fn they_cover_what_a_set_of_keys_does() {
        for seed in 0..50 {
            let mut random = seed;
            let mut byte = || u8::try_from(next_random(&mut random) % 64).unwrap();
            let (mut ranges, mut model) = (Ranges::default(), [false; 64]);
            for _ in 0..12 {
                let (low, high) = (byte(), byte());
                ranges.add(&[low], &[high]);
                for key in low..high {
                    model[usize::from(key)] = true;
                }
                for key in 0..64u8 {
                    let covering = ranges.covering(&[key]);
                    assert_eq!(covering.is_some(), model[usize::from(key)]);
                    for end in key..64 {
                        let touched = (key..end).any(|key| model[usize::from(key)]);
                        assert_eq!(ranges.touches(&[key], Some(&[end])) && key < end, touched);
                    }
                }
            }
        }
    }
}
