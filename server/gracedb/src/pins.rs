//! Segments that must stay although no row points into them yet.
//!
//! Invariant: a segment is pinned as long as a guard for it is held. A part of a large value is
//! pinned before it can be written.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sync::{Mutex, locked};

/// How many guards each segment has.
#[derive(Default)]
pub(crate) struct Pins {
    counts: Mutex<BTreeMap<u64, usize>>,
}

/// Keeps a segment.
pub(crate) struct Pin {
    pins: Arc<Pins>,
    segment: u64,
}

impl Pins {
    pub(crate) fn pin(self: &Arc<Self>, segment: u64) -> Pin {
        *locked(&self.counts).entry(segment).or_default() += 1;
        Pin { pins: Arc::clone(self), segment }
    }

    pub(crate) fn is_pinned(&self, segment: u64) -> bool {
        locked(&self.counts).contains_key(&segment)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut counts = locked(&self.pins.counts);
        if let Some(count) = counts.get_mut(&self.segment) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.segment);
            }
        }
    }
}
