//! Blocks that were read lately, up to so many bytes.
//!
//! Sixteen parts with a lock each, so that readers seldom meet. Each is a clock: a hand goes round,
//! takes what was not asked for since it came by last, and spares the rest once. What is asked for
//! is one look into a table away; the clock itself is touched only to make room. Once a part is
//! full, what comes by for the first time in a while is turned away: a walk over everything, or
//! reads without a pattern, push nothing out that is read again and again.
//! Invariants: the weights of what is in sum up to the limit at most; file numbers are never used
//! twice, so what is in for a file that is gone is merely forgotten in time.
//! Not here: reading (`run`).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::sync::{Mutex, locked};

/// Parts of the cache.
const PARTS: usize = 16;
/// Blocks turned away that a part remembers.
const TURNED_AWAY: usize = 1024;
/// What a block costs besides its bytes: table, clock, allocation.
const OVERHEAD: usize = 96;

/// A file, and a place in it.
type Id = (u64, u64);

struct Kept {
    bytes: Arc<[u8]>,
    asked: bool,
}

#[derive(Default)]
struct Part {
    kept: HashMap<Id, Kept, BuildHasherDefault<Mix>>,
    clock: Vec<Id>,
    hand: usize,
    bytes: usize,
    /// Marks of those turned away, each at the place its mark leads to.
    turned_away: Vec<u32>,
}

/// The cache.
pub(crate) struct Cache {
    parts: Vec<Mutex<Part>>,
    bytes_max: usize,
    /// Bytes held for good outside of the parts, on the same account.
    pinned: AtomicUsize,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// A hasher for numbers.
#[derive(Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_isize(&mut self, value: isize) {
        self.write_u64(value.unsigned_abs() as u64);
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(29) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

fn mark(id: Id) -> u64 {
    let mut mix = Mix::default();
    mix.write_u64(id.0);
    mix.write_u64(id.1);
    mix.finish()
}

impl Cache {
    /// A cache of at most `bytes_max` bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            parts: (0..PARTS).map(|_| Mutex::new(Part::default())).collect(),
            bytes_max,
            pinned: AtomicUsize::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    fn part(&self, mark: u64) -> &Mutex<Part> {
        // The table within the part goes by other bits of the same number.
        let at = usize::try_from(mark >> 13).unwrap_or(0) % PARTS;
        self.parts.get(at).expect("the remainder is one of the parts")
    }

    /// What was read of this file at this place.
    pub(crate) fn get(&self, file: u64, offset: u64) -> Option<Arc<[u8]>> {
        let id = (file, offset);
        let mut part = locked(self.part(mark(id)));
        let found = part.kept.get_mut(&id).map(|kept| {
            kept.asked = true;
            Arc::clone(&kept.bytes)
        });
        drop(part);
        let count = if found.is_some() { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Keeps something, and lets go of other things to make room.
    pub(crate) fn put(&self, file: u64, offset: u64, bytes: &Arc<[u8]>) {
        let id = (file, offset);
        let weight = bytes.len() + OVERHEAD;
        let room = self.bytes_max.saturating_sub(self.pinned.load(Ordering::Relaxed)) / PARTS;
        if weight > room / 2 {
            return;
        }
        let mark = mark(id);
        let mut part = locked(self.part(mark));
        if part.bytes + weight > room && part.turns_away(mark) || part.kept.contains_key(&id) {
            return;
        }
        let gone = part.make_room(room - weight);
        part.clock.push(id);
        part.kept.insert(id, Kept { bytes: Arc::clone(bytes), asked: false });
        part.bytes += weight;
        drop(part);
        // Freed when nobody waits for the lock.
        drop(gone);
    }

    /// Takes bytes on the account that their owner keeps for good; false: half of the limit is
    /// spent on such already.
    pub(crate) fn pin(&self, weight: usize) -> bool {
        let add = |pinned: usize| Some(pinned + weight).filter(|sum| *sum <= self.bytes_max / 2);
        self.pinned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    /// The owner keeps them no longer.
    pub(crate) fn unpin(&self, weight: usize) {
        self.pinned.fetch_sub(weight, Ordering::Relaxed);
    }

    /// Bytes in it.
    pub(crate) fn bytes(&self) -> usize {
        let parts: usize = self.parts.iter().map(|part| locked(part).bytes).sum();
        parts + self.pinned.load(Ordering::Relaxed)
    }

    /// How often something was found, and how often not.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }
}

impl Part {
    /// Whether what has this mark was not here lately.
    fn turns_away(&mut self, mark: u64) -> bool {
        if self.turned_away.is_empty() {
            self.turned_away = vec![0; TURNED_AWAY];
        }
        let at = usize::try_from(mark >> 17).unwrap_or(0) % TURNED_AWAY;
        // The bits that neither led to the part nor to the place; never zero.
        let mark = u32::try_from(mark >> 32).unwrap_or(0) | 1;
        match self.turned_away.get_mut(at) {
            Some(known) if *known == mark => {
                *known = 0;
                false
            }
            Some(known) => {
                *known = mark;
                true
            }
            None => false,
        }
    }

    fn make_room(&mut self, bytes_max: usize) -> Vec<Kept> {
        let mut gone = Vec::new();
        while self.bytes > bytes_max && !self.clock.is_empty() {
            if self.hand >= self.clock.len() {
                self.hand = 0;
            }
            let Some(id) = self.clock.get(self.hand).copied() else { break };
            if let Some(kept) = self.kept.get_mut(&id)
                && std::mem::take(&mut kept.asked)
            {
                self.hand += 1;
                continue;
            }
            self.clock.swap_remove(self.hand);
            if let Some(kept) = self.kept.remove(&id) {
                self.bytes -= kept.bytes.len() + OVERHEAD;
                gone.push(kept);
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(len: usize) -> Arc<[u8]> {
        vec![7; len].into()
    }

    #[test]
    fn it_keeps_to_its_limit_and_keeps_what_is_asked_for() {
        let cache = Cache::new(1 << 20);
        cache.put(1, 0, &block(1_000));
        for offset in 0..10_000 {
            cache.put(2, offset, &block(1_000));
            assert!(cache.get(1, 0).is_some(), "after {offset}");
            assert!(cache.bytes() <= 1 << 20);
        }
        assert!(cache.bytes() > 900 << 10);
        let kept = (0..10_000).filter(|offset| cache.get(2, *offset).is_some()).count();
        assert!((600..1_000).contains(&kept), "{kept}");
        assert_eq!(cache.counts().0, 10_000 + kept as u64);
        cache.put(3, 0, &block(100_000));
        assert!(cache.get(3, 0).is_none(), "more than its part can bear");
    }

    #[test]
    fn what_is_pinned_leaves_less_for_the_rest() {
        let cache = Cache::new(1 << 20);
        assert!(cache.pin(500_000) && !cache.pin(500_000));
        for offset in 0..10_000 {
            cache.put(2, offset, &block(1_000));
        }
        assert!(cache.bytes() <= 1 << 20);
        cache.unpin(500_000);
        assert!(cache.pin(500_000));
    }
}
