//! The newest rows, in memory: what was put and deleted since the layer below was made.
//!
//! Invariant: a key that is put after a range it lies in was deleted is there; one that was put
//! before is not.
//! Not here: how they get to disk (`flush`), what is below (`state`).

use std::sync::Arc;

use crate::ranges::Ranges;
use crate::tree::{Page, Tree};

/// A layer in memory. A clone is free.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mem {
    pub(crate) tree: Tree,
    pub(crate) ranges: Ranges,
}

/// What one layer says of a key.
pub(crate) enum Found<T> {
    /// It is there.
    Value(T),
    /// It is gone, whatever older layers say.
    Gone,
    /// Ask the next older layer.
    NotHere,
}

impl Mem {
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.tree.put(key, Some(value));
    }

    pub(crate) fn delete(&mut self, key: &[u8]) {
        self.tree.put(key, None);
    }

    /// Deletes from `low` up to, not including, `high`.
    pub(crate) fn delete_range(&mut self, low: &[u8], high: &[u8]) {
        self.tree.remove_range(low, high);
        self.ranges.add(low, high);
    }

    /// The page and slot of a value.
    pub(crate) fn get(&self, key: &[u8]) -> Found<(&Arc<Page>, usize)> {
        if let Some((page, at)) = self.tree.find(key) {
            let is_there = page.leaf().is_some_and(|leaf| leaf.value(at).is_some());
            return if is_there { Found::Value((page, at)) } else { Found::Gone };
        }
        if self.ranges.covering(key).is_some() { Found::Gone } else { Found::NotHere }
    }

    /// What it takes, roughly, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let ends = |range: &crate::ranges::Range| range.low.len() + range.high.len() + 64;
        self.tree.bytes() + self.ranges.iter().map(ends).sum::<usize>()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tree.is_empty() && self.ranges.is_empty()
    }
}
