//! A block: some sorted entries, what all their keys start with written once.
//!
//! ```text
//!   count u32 │ prefix length u16 │ offset width u8 │ 0 │ prefix │ slots │ entries
//!   slot: where its entry starts, from the first one on, in 2 or 4 bytes
//!         │ the first two bytes of its suffix, big-endian, zeros where there are fewer
//!   entry: suffix length varint │ 0, or value length + 1, varint │ suffix │ value
//! ```
//! 0 instead of a length: a tombstone. Most of a search goes through the slots alone, which stand
//! together. Invariants: keys ascend; a block that parses never leads out of its bytes, whatever
//! stands in it.
//! Not here: checksums and encryption (`run`), which block to look into (`run`).

use std::cmp::Ordering;
use std::ops::Range;

use crate::row::put_varint;

const HEAD_LEN: usize = 8;
/// Bytes of a suffix that stand in its slot.
const SAMPLE_LEN: usize = 2;

/// Where things stand in a block.
#[derive(Debug, Clone, Copy)]
struct Layout {
    count: usize,
    prefix_end: usize,
    wide: bool,
    entries: usize,
}

/// The bytes of a block, looked at as one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block<'a> {
    bytes: &'a [u8],
    layout: Layout,
}

/// An entry's place within its block.
pub(crate) struct Entry {
    pub(crate) suffix: Range<usize>,
    /// `None`: a tombstone.
    pub(crate) value: Option<Range<usize>>,
}

impl Layout {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let head = bytes.first_chunk::<HEAD_LEN>()?;
        let [c0, c1, c2, c3, prefix_low, prefix_high, width, _] = *head;
        let count = usize::try_from(u32::from_le_bytes([c0, c1, c2, c3])).ok()?;
        let prefix_end = HEAD_LEN + usize::from(u16::from_le_bytes([prefix_low, prefix_high]));
        let wide = match width {
            2 => false,
            4 => true,
            _ => return None,
        };
        let slots = count.checked_mul(usize::from(width) + SAMPLE_LEN)?;
        let entries = prefix_end.checked_add(slots)?;
        (entries <= bytes.len()).then_some(Self { count, prefix_end, wide, entries })
    }
}

impl<'a> Block<'a> {
    /// Reads the layout; `None`: these are not the bytes of a block.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        Layout::parse(bytes).map(|layout| Self { bytes, layout })
    }

    /// Entries.
    pub(crate) fn len(&self) -> usize {
        self.layout.count
    }

    /// What every key in it starts with.
    pub(crate) fn prefix(&self) -> &'a [u8] {
        self.bytes.get(HEAD_LEN..self.layout.prefix_end).unwrap_or_default()
    }

    /// Where an entry starts, and the sample of its suffix.
    fn slot(&self, at: usize) -> Option<(usize, u16)> {
        if at >= self.layout.count {
            return None;
        }
        let (start, sample) = if self.layout.wide {
            let at = self.layout.prefix_end + 6 * at;
            let [o0, o1, o2, o3, s0, s1] = *self.bytes.get(at..)?.first_chunk::<6>()?;
            (u32::from_le_bytes([o0, o1, o2, o3]) as usize, [s0, s1])
        } else {
            let at = self.layout.prefix_end + 4 * at;
            let [o0, o1, s0, s1] = *self.bytes.get(at..)?.first_chunk::<4>()?;
            (usize::from(u16::from_le_bytes([o0, o1])), [s0, s1])
        };
        Some((self.layout.entries.checked_add(start)?, u16::from_be_bytes(sample)))
    }

    /// An entry; `None`: there is none, or the block is not what a writer makes.
    pub(crate) fn entry(&self, at: usize) -> Option<Entry> {
        let (start, _) = self.slot(at)?;
        let mut rest = self.bytes.get(start..)?;
        let before = rest.len();
        let suffix_len = take_length(&mut rest)?;
        let code = take_length(&mut rest)?;
        let start = start + before - rest.len();
        let suffix = start..start.checked_add(suffix_len)?;
        let value = match code.checked_sub(1) {
            Some(len) => Some(suffix.end..suffix.end.checked_add(len)?),
            None => None,
        };
        let end = value.as_ref().map_or(suffix.end, |value| value.end);
        (end <= self.bytes.len()).then_some(Entry { suffix, value })
    }

    /// Where an entry starts, within the block.
    pub(crate) fn start(&self, at: usize) -> Option<usize> {
        self.slot(at).map(|(start, _)| start)
    }

    /// What follows the prefix in the key of an entry.
    pub(crate) fn suffix(&self, at: usize) -> Option<&'a [u8]> {
        let (start, _) = self.slot(at)?;
        // Lengths of one and two bytes are nearly all there are.
        match *self.bytes.get(start..)?.first_chunk::<2>()? {
            [len @ 0..0x80, 0..0x80] => self.bytes.get(start + 2..start + 2 + usize::from(len)),
            _ => self.bytes.get(self.entry(at)?.suffix),
        }
    }

    /// The value of an entry. The inner `None`: a tombstone.
    pub(crate) fn value(&self, at: usize) -> Option<Option<&'a [u8]>> {
        let entry = self.entry(at)?;
        Some(entry.value.map(|range| self.bytes(range)))
    }

    /// The bytes of a range.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &'a [u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    /// The first entry that is not before `key`, and whether it is that key. `None`: the block is
    /// not what a writer makes.
    pub(crate) fn find(&self, key: &[u8]) -> Option<Result<usize, usize>> {
        let prefix = self.prefix();
        let suffix = match key.strip_prefix(prefix) {
            Some(suffix) => suffix,
            None if key < prefix => return Some(Err(0)),
            None => return Some(Err(self.layout.count)),
        };
        let wanted = sample(suffix);
        let (mut low, mut high) = (0, self.layout.count);
        while low < high {
            let middle = low.midpoint(high);
            let (_, found) = self.slot(middle)?;
            // Only those that agree so far are looked at.
            let order = match found.cmp(&wanted) {
                Ordering::Equal => self.suffix(middle)?.cmp(suffix),
                order => order,
            };
            match order {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Some(Ok(middle)),
            }
        }
        Some(Err(low))
    }
}

fn sample(suffix: &[u8]) -> u16 {
    match *suffix {
        [] => 0,
        [first] => u16::from_be_bytes([first, 0]),
        [first, second, ..] => u16::from_be_bytes([first, second]),
    }
}

/// A varint that is a length: one byte, most of the time.
fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(usize::from(first));
    }
    usize::try_from(crate::row::take_varint(bytes)?).ok()
}

/// Gathers entries for one block. Keys come in order.
#[derive(Default)]
pub(crate) struct BlockBuilder {
    keys: Vec<u8>,
    values: Vec<u8>,
    /// Ends of key and value of each entry; whether it has a value.
    ends: Vec<(usize, usize, bool)>,
}

impl BlockBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes the block will have, a little more than less.
    pub(crate) fn bytes(&self) -> usize {
        HEAD_LEN + self.keys.len() + self.values.len() + 7 * self.ends.len()
    }

    pub(crate) fn add(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.keys.extend_from_slice(key);
        self.values.extend_from_slice(value.unwrap_or_default());
        self.ends.push((self.keys.len(), self.values.len(), value.is_some()));
    }

    fn key(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |e| e.0);
        let end = self.ends.get(at).map_or(start, |ends| ends.0);
        self.keys.get(start..end).unwrap_or_default()
    }

    /// The last key added.
    pub(crate) fn last_key(&self) -> &[u8] {
        self.key(self.ends.len().saturating_sub(1))
    }

    /// The block's bytes; the builder is empty afterwards.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let prefix_len = common_prefix(self.key(0), self.last_key()).min(usize::from(u16::MAX));
        let (mut slots, mut entries) = (Vec::with_capacity(self.ends.len()), Vec::new());
        entries.reserve(self.keys.len() + self.values.len() + 4 * self.ends.len());
        let mut value_start = 0;
        for (at, &(_, value_end, has_value)) in self.ends.iter().enumerate() {
            let suffix = self.key(at).get(prefix_len..).unwrap_or_default();
            slots.push((u32::try_from(entries.len()).unwrap_or(u32::MAX), sample(suffix)));
            let value = self.values.get(value_start..value_end).unwrap_or_default();
            put_varint(suffix.len() as u64, &mut entries);
            put_varint(if has_value { value.len() as u64 + 1 } else { 0 }, &mut entries);
            entries.extend_from_slice(suffix);
            entries.extend_from_slice(value);
            value_start = value_end;
        }
        let wide = slots.last().is_some_and(|(start, _)| u16::try_from(*start).is_err());
        let mut bytes = Vec::with_capacity(HEAD_LEN + prefix_len + 6 * slots.len() + entries.len());
        bytes.extend_from_slice(&u32::try_from(slots.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(prefix_len).unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&[if wide { 4 } else { 2 }, 0]);
        bytes.extend_from_slice(self.key(0).get(..prefix_len).unwrap_or_default());
        for (start, sample) in slots {
            let offset = start.to_le_bytes();
            bytes.extend_from_slice(offset.get(..if wide { 4 } else { 2 }).unwrap_or_default());
            bytes.extend_from_slice(&sample.to_be_bytes());
        }
        bytes.extend_from_slice(&entries);
        self.keys.clear();
        self.values.clear();
        self.ends.clear();
        bytes
    }
}

/// How many bytes two keys have in common at their start.
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Entries = Vec<(Vec<u8>, Option<Vec<u8>>)>;

    fn build(entries: &Entries) -> Vec<u8> {
        let mut builder = BlockBuilder::default();
        for (key, value) in entries {
            builder.add(key, value.as_deref());
        }
        builder.finish()
    }

    fn some_entries(count: usize, value_len: usize) -> Entries {
        let value =
            |n: usize| (n % 5 != 3).then(|| vec![u8::try_from(n % 256).unwrap(); value_len]);
        (0..count).map(|n| (format!("row/{n:05}").into_bytes(), value(n))).collect()
    }

    #[test]
    fn block_bytes_are_frozen() {
        let entries = vec![
            (b"ab1".to_vec(), Some(b"x".to_vec())),
            (b"ab22".to_vec(), None),
            (b"ab3".to_vec(), Some(vec![])),
        ];
        #[rustfmt::skip]
        assert_eq!(build(&entries), [
            3, 0, 0, 0,  2, 0, 2, 0,  b'a', b'b',
            0, 0, b'1', 0,  4, 0, b'2', b'2',  8, 0, b'3', 0,
            1, 2, b'1', b'x',  2, 0, b'2', b'2',  1, 1, b'3',
        ]);
    }

    #[test]
    fn every_entry_is_found_and_nothing_else() {
        for (count, value_len) in [(0, 0), (1, 3), (40, 90), (300, 500)] {
            let entries = some_entries(count, value_len);
            let bytes = build(&entries);
            let block = Block::parse(&bytes).unwrap();
            assert_eq!(block.len(), count);
            for (at, (key, value)) in entries.iter().enumerate() {
                assert_eq!(block.find(key), Some(Ok(at)));
                assert_eq!([block.prefix(), block.suffix(at).unwrap()].concat(), *key);
                assert_eq!(block.value(at).unwrap(), value.as_deref());
                let after = [key.as_slice(), b"\0"].concat();
                assert_eq!(block.find(&after), Some(Err(at + 1)));
            }
            assert_eq!(block.find(b"a"), Some(Err(0)));
            assert_eq!(block.find(b"z"), Some(Err(count)));
        }
    }

    #[test]
    fn keys_with_zeros_and_of_any_length_are_told_apart() {
        let mut keys: Vec<Vec<u8>> = vec![vec![]];
        for byte in [0, 1, 255] {
            for rest in [&[][..], &[0], &[0, 0], &[0, 0, 0], &[1], &[255, 255, 7]] {
                keys.push([&[byte], rest].concat());
            }
        }
        keys.sort();
        keys.dedup();
        let bytes = build(&keys.iter().map(|key| (key.clone(), Some(key.clone()))).collect());
        let block = Block::parse(&bytes).unwrap();
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(block.find(key), Some(Ok(at)), "{key:?}");
        }
        assert_eq!(block.find(&[0, 2]), Some(Err(6)));
    }

    #[test]
    fn cut_or_changed_bytes_are_refused_or_lead_nowhere() {
        let bytes = build(&some_entries(20, 10));
        let look = |bytes: &[u8]| {
            let Some(block) = Block::parse(bytes) else { return };
            for at in 0..block.len().min(1_000) {
                let _ = (block.suffix(at), block.value(at));
            }
            let _ = block.find(b"row/00007");
        };
        for len in 0..bytes.len() {
            look(&bytes[..len]);
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            look(&flipped);
        }
    }
}
