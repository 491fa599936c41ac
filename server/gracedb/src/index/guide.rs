//! Which block of a run may hold a key.
//!
//! ```text
//!   separators of the blocks, but the first, which is before everything:
//!     prefix of all │ 8 bytes: the group │ shared by the group │ 8 bytes: the block │ the rest
//! ```
//! A run has one guide in memory, and a search goes through its numbers: over the groups, then over
//! the blocks of one group. Only blocks that agree in all that are told apart by their separators.
//! Keys that start with wide numbers differ late, and so would any eight bytes from one place be
//! the same in most of them.
//! Invariant: whatever the bytes of an index say, a search ends, within the run.
//! Not here: what a block holds (`block`), reading (`run`).

use crate::format::ALIGN;
use crate::row;

use super::block::{Block, common_prefix};

/// Numbers that are looked at together: two lines of a processor's cache.
const STRIDE: usize = 16;

/// Ascending numbers, to be searched with few looks at memory that was not looked at lately.
#[derive(Default)]
struct Ascending {
    numbers: Vec<u64>,
    /// The first of every [`STRIDE`] numbers.
    top: Vec<u64>,
}

impl Ascending {
    fn push(&mut self, number: u64) {
        if self.numbers.len().is_multiple_of(STRIDE) {
            self.top.push(number);
        }
        self.numbers.push(number);
    }

    /// How many are less than or equal to this one.
    fn up_to(&self, number: u64) -> usize {
        let stride = self.top.partition_point(|first| *first <= number).saturating_sub(1);
        let start = stride * STRIDE;
        let end = (start + STRIDE).min(self.numbers.len());
        let stride = self.numbers.get(start..end).unwrap_or_default();
        start + stride.iter().filter(|other| **other <= number).count()
    }
}

/// Blocks whose separators have the same eight bytes after the prefix of all.
struct Group {
    /// Its first block.
    start: u32,
    /// Bytes that their separators have in common after the prefix of all.
    shared: u32,
}

/// One block.
struct Slot {
    /// The eight bytes of the separator after what its group shares.
    sample: u64,
    /// Where the block stands, in steps of [`ALIGN`].
    place: u32,
    len: u32,
}

/// The index of a run.
pub(crate) struct Guide {
    /// The index as it stands in the file: a block of separators.
    index: Vec<u8>,
    prefix: Box<[u8]>,
    /// The eight bytes of each group.
    samples: Ascending,
    /// One more than there are, so that each is followed by where it ends.
    groups: Box<[Group]>,
    slots: Box<[Slot]>,
}

/// The first eight bytes, zeros where there are fewer.
fn sample(bytes: &[u8]) -> u64 {
    if let Some(first) = bytes.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_be_bytes(first)
}

/// A separator after the first `len` bytes.
fn separator<'a>(index: &Block<'a>, at: usize, len: usize) -> Option<&'a [u8]> {
    index.suffix(at)?.get(len..)
}

impl Guide {
    /// Reads an index; `None`: it is none.
    pub(crate) fn new(index: Vec<u8>) -> Option<Self> {
        let block = Block::parse(&index)?;
        let mut slots = Vec::with_capacity(block.len());
        for at in 0..block.len() {
            let mut bytes = block.value(at)??;
            let offset = row::take_varint(&mut bytes)?;
            let place = u32::try_from(offset / ALIGN).ok()?;
            let len = u32::try_from(row::take_varint(&mut bytes)?).ok()?;
            slots.push(Slot { sample: 0, place, len });
        }
        let mut prefix: Box<[u8]> = Box::default();
        if block.len() > 1 {
            let first = separator(&block, 1, 0)?;
            let len = common_prefix(first, separator(&block, block.len() - 1, 0)?);
            prefix = first.get(..len)?.into();
        }
        let (mut samples, mut groups) = (Ascending::default(), Vec::new());
        let mut at = 1;
        while at < block.len() {
            let first = separator(&block, at, prefix.len())?;
            let of_group = sample(first);
            let mut end = at + 1;
            while end < block.len() && sample(separator(&block, end, prefix.len())?) == of_group {
                end += 1;
            }
            let shared = common_prefix(first, separator(&block, end - 1, prefix.len())?);
            for slot in at..end {
                let rest = separator(&block, slot, prefix.len() + shared)?;
                slots.get_mut(slot)?.sample = sample(rest);
            }
            samples.push(of_group);
            groups.push(Group {
                start: u32::try_from(at).ok()?,
                shared: u32::try_from(shared).ok()?,
            });
            at = end;
        }
        groups.push(Group { start: u32::try_from(at).ok()?, shared: 0 });
        Some(Self { prefix, samples, groups: groups.into(), slots: slots.into(), index })
    }

    /// Blocks.
    pub(crate) fn blocks(&self) -> usize {
        self.slots.len()
    }

    /// Bytes it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        let groups = self.groups.len() * (size_of::<Group>() + 9);
        self.index.len() + size_of::<Slot>() * self.slots.len() + groups
    }

    /// The number of the block that may hold `key`. `None`: there is none.
    pub(crate) fn block_of(&self, key: &[u8]) -> Option<usize> {
        let last = self.slots.len().checked_sub(1)?;
        let Some(rest) = key.strip_prefix(&*self.prefix) else {
            return Some(if *key < *self.prefix { 0 } else { last });
        };
        let wanted = sample(rest);
        let Some(at) = self.samples.up_to(wanted).checked_sub(1) else { return Some(0) };
        let end = self.groups.get(at + 1)?.start as usize;
        if self.samples.numbers.get(at).is_some_and(|sample| *sample < wanted) {
            return Some(end - 1);
        }
        self.block_in(self.groups.get(at)?, end, rest)
    }

    /// The same among the blocks of the group that the key would belong to.
    fn block_in(&self, group: &Group, end: usize, rest: &[u8]) -> Option<usize> {
        let index = Block::parse(&self.index)?;
        let start = group.start as usize;
        let of = |at| separator(&index, at, self.prefix.len());
        let shared = of(start)?.get(..group.shared as usize)?;
        let Some(own) = rest.strip_prefix(shared) else {
            return Some(if rest < shared { start - 1 } else { end - 1 });
        };
        let wanted = sample(own);
        let slots = self.slots.get(start..end)?;
        let low = slots.partition_point(|slot| slot.sample < wanted);
        let agree = slots.get(low..)?.partition_point(|slot| slot.sample == wanted);
        // Those that agree in every number.
        let (mut low, mut high) = (start + low, start + low + agree);
        while low < high {
            let middle = low.midpoint(high);
            if of(middle)? <= rest { low = middle + 1 } else { high = middle }
        }
        low.checked_sub(1)
    }

    /// What the keys of a block are not less than. `None`: there is no such block.
    pub(crate) fn separator(&self, block: usize) -> Option<Vec<u8>> {
        let index = Block::parse(&self.index)?;
        (block < index.len()).then_some(())?;
        Some([index.prefix(), index.suffix(block)?].concat())
    }

    /// Where a block stands: offset and length.
    pub(crate) fn place(&self, block: usize) -> Option<(u64, usize)> {
        let slot = self.slots.get(block)?;
        Some((u64::from(slot.place) * ALIGN, usize::try_from(slot.len).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::BlockBuilder;
    use super::*;
    use crate::row::put_varint;

    fn guide(separators: &[Vec<u8>]) -> Vec<u8> {
        let mut builder = BlockBuilder::default();
        for (at, separator) in separators.iter().enumerate() {
            let mut place = Vec::new();
            put_varint(4096 + 8 * at as u64, &mut place);
            put_varint(at as u64, &mut place);
            builder.add(separator, Some(&place));
        }
        builder.finish()
    }

    fn check(mut separators: Vec<Vec<u8>>, keys: &[Vec<u8>]) {
        separators.push(Vec::new());
        separators.sort();
        separators.dedup();
        let guide = Guide::new(guide(&separators)).unwrap();
        assert_eq!(guide.blocks(), separators.len());
        for key in keys.iter().chain(&separators) {
            let expected = separators.partition_point(|separator| separator <= key) - 1;
            assert_eq!(guide.block_of(key), Some(expected), "{key:?} among {separators:?}");
            assert_eq!(guide.place(expected), Some((4096 + 8 * expected as u64, expected)));
        }
    }

    #[test]
    fn every_key_is_led_to_the_last_block_that_does_not_begin_after_it() {
        let mut seed = 5;
        let mut random = move |below: u64| crate::disk::sim::next_random(&mut seed) % below;
        for case in 0..2_000 {
            // Wide numbers with few values, then short keys of few letters, so that much is shared.
            let mut key = |at: usize| -> Vec<u8> {
                if case % 2 == 0 {
                    let parts = [random(2), random(3), random(300)];
                    let mut key: Vec<u8> = parts.iter().flat_map(|n| n.to_be_bytes()).collect();
                    key.truncate(24 - usize::try_from(random(10)).unwrap());
                    key
                } else {
                    let len = random(if at.is_multiple_of(3) { 20 } else { 5 });
                    (0..len).map(|_| u8::try_from(random(2) * 255).unwrap()).collect()
                }
            };
            let separators = (0..40).map(&mut key).collect();
            let keys: Vec<_> = (0..60).map(&mut key).collect();
            check(separators, &keys);
        }
        check(vec![], &[vec![], vec![1], vec![255; 9]]);
    }

    #[test]
    fn no_blocks_lead_nowhere_and_broken_ones_never_out_of_the_run() {
        let none = Guide::new(guide(&[])).unwrap();
        assert_eq!((none.blocks(), none.block_of(b"x")), (0, None));
        let separators: Vec<_> = (0..30_u64).map(|n| (n * n).to_be_bytes()[3..].to_vec()).collect();
        let bytes = guide(&separators);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Some(guide) = Guide::new(flipped) else { continue };
            for key in &separators {
                assert!(guide.block_of(key).is_none_or(|block| block < guide.blocks()));
            }
        }
    }
}
