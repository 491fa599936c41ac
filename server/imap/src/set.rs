//! Sets of sequence numbers or UIDs as commands name them (RFC 9051 9: sequence-set), and
//! lists of numbers as responses print them.
//!
//! Invariants: no number in a set is 0; a resolved set is sorted, merged and never overlaps, so
//! that walking it costs what the mailbox holds, not what the client wrote (`1:4294967295` is
//! cheap).
//! Not here: which messages a set names; that takes a mailbox (`view`).

use std::fmt::{self, Write};
use std::ops::RangeInclusive;

/// Most ranges one command may name. The longest seen in the wild (a client that lists every
/// UID of a thinned mailbox) fit the command limit with room to spare.
pub const RANGES_MAX: usize = 32 * 1024;

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A number, never 0.
    Number(u32),
    /// `*`: the largest number in use.
    Last,
}

/// What a command names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SequenceSet {
    /// Numbers and ranges, as written.
    Ranges(Vec<(Point, Point)>),
    /// `$`: what the last SEARCH saved (RFC 5182 2).
    Saved,
}

/// A sorted, merged set of numbers: first and last of each range.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranges(Vec<(u32, u32)>);

impl SequenceSet {
    /// The set with `*` replaced by `last`. A saved result is empty here; its owner resolves it.
    pub fn resolve(&self, last: u32) -> Ranges {
        let Self::Ranges(ranges) = self else { return Ranges::default() };
        let number = |point: &Point| match point {
            Point::Number(number) => *number,
            Point::Last => last,
        };
        // RFC 9051 9: "2:4 and 4:2 are equivalent".
        let pairs = ranges.iter().map(|(a, b)| {
            let (a, b) = (number(a), number(b));
            (a.min(b), a.max(b))
        });
        Ranges::new(pairs.collect())
    }

    /// Its numbers one by one, if they are known, ascend and are at most `most`.
    pub fn ascending(&self, most: usize) -> Option<Vec<u32>> {
        let Self::Ranges(ranges) = self else { return None };
        let mut numbers: Vec<u32> = Vec::new();
        for range in ranges {
            let (Point::Number(first), Point::Number(last)) = range else { return None };
            let length = usize::try_from(last.checked_sub(*first)?).ok()? + 1;
            if numbers.last().is_some_and(|before| before >= first) || numbers.len() + length > most
            {
                return None;
            }
            numbers.extend(*first..=*last);
        }
        Some(numbers)
    }

    /// A number written alone that is larger than `last`, if there is one.
    pub fn single_beyond(&self, last: u32) -> Option<u32> {
        let Self::Ranges(ranges) = self else { return None };
        ranges.iter().find_map(|range| match range {
            (Point::Number(a), Point::Number(b)) if a == b && *a > last => Some(*a),
            _ => None,
        })
    }
}

impl Ranges {
    fn new(mut pairs: Vec<(u32, u32)>) -> Self {
        pairs.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(pairs.len());
        for (first, last) in pairs {
            match merged.last_mut() {
                Some(open) if first <= open.1.saturating_add(1) => open.1 = open.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    /// The ranges, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.0.iter().copied()
    }

    /// The set of these ranges of numbers.
    pub fn of(ranges: impl IntoIterator<Item = RangeInclusive<u32>>) -> Self {
        Self::new(ranges.into_iter().map(|range| (*range.start(), *range.end())).collect())
    }

    /// What is in both sets.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let (mut ours, mut theirs) = (self.iter().peekable(), other.iter().peekable());
        let mut both = Vec::new();
        while let (Some(&(a, b)), Some(&(c, d))) = (ours.peek(), theirs.peek()) {
            if a.max(c) <= b.min(d) {
                both.push((a.max(c), b.min(d)));
            }
            if b < d {
                ours.next()
            } else {
                theirs.next()
            };
        }
        Self(both)
    }

    /// What is in the set, but for these numbers, which ascend.
    #[must_use]
    pub fn without(&self, numbers: &[u32]) -> Self {
        let mut left = Vec::new();
        for (first, last) in self.iter() {
            let from = numbers.partition_point(|number| *number < first);
            let mut start = Some(first);
            for &number in numbers.get(from..).unwrap_or_default() {
                let Some(begin) = start.filter(|_| number <= last) else { break };
                if begin < number {
                    left.push((begin, number - 1));
                }
                start = number.checked_add(1);
            }
            left.extend(start.filter(|begin| *begin <= last).map(|begin| (begin, last)));
        }
        Self(left)
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a number is in the set.
    pub fn contains(&self, number: u32) -> bool {
        let after = self.0.partition_point(|range| range.0 <= number);
        let range = after.checked_sub(1).and_then(|place| self.0.get(place));
        range.is_some_and(|range| number <= range.1)
    }
}

/// Printed as a sequence-set.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}:{last}")?,
            }
        }
        Ok(())
    }
}

/// Numbers as a sequence-set, in the order given: `1:3,7`. Empty for none. COPYUID pairs its two
/// sets by position (RFC 4315 3), so nothing is sorted here.
pub fn print(numbers: &[u32]) -> String {
    let mut text = String::new();
    let mut numbers = numbers.iter().copied().peekable();
    while let Some(first) = numbers.next() {
        let mut last = first;
        while numbers.peek().is_some_and(|next| last.checked_add(1) == Some(*next)) {
            last = numbers.next().unwrap_or(last);
        }
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = match last {
            _ if last == first => write!(text, "{comma}{first}"),
            _ => write!(text, "{comma}{first}:{last}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_resolve_sorted_and_merged() {
        use Point::{Last, Number};
        let set = SequenceSet::Ranges(vec![
            (Number(7), Number(5)),
            (Number(1), Number(1)),
            (Number(2), Number(3)),
            (Last, Number(100)),
        ]);
        let ranges = set.resolve(9);
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [(1, 3), (5, 7), (9, 100)]);
        assert!(ranges.contains(6) && !ranges.contains(4) && !ranges.contains(101));
        assert_eq!(set.single_beyond(9), None);
        let set = SequenceSet::Ranges(vec![(Number(10), Number(10))]);
        assert_eq!(set.single_beyond(9), Some(10));
        let everything = SequenceSet::Ranges(vec![(Number(1), Number(u32::MAX))]);
        assert!(everything.resolve(0).contains(u32::MAX));
    }

    #[test]
    fn sets_are_cut() {
        let set = |text: &[(u32, u32)]| Ranges::of(text.iter().map(|(a, b)| *a..=*b));
        let both = set(&[(1, 5), (8, 9), (20, u32::MAX)]).and(&set(&[(3, 8), (30, 40)]));
        assert_eq!(both.to_string(), "3:5,8,30:40");
        assert_eq!(set(&[(1, 5), (8, 9)]).without(&[1, 3, 9, 12]).to_string(), "2,4:5,8");
        assert_eq!(set(&[(5, u32::MAX)]).without(&[u32::MAX]).to_string(), "5:4294967294");
        assert!(set(&[(7, 7)]).without(&[7]).is_empty());
    }

    #[test]
    fn printing() {
        assert_eq!(print(&[]), "");
        assert_eq!(print(&[1, 2, 3, 7, 9, 10]), "1:3,7,9:10");
        assert_eq!(print(&[u32::MAX - 1, u32::MAX]), "4294967294:4294967295");
        assert_eq!(print(&[5, 6, 3]), "5:6,3");
    }
}
