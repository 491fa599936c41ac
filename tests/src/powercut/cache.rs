//! A drive's volatile cache: what was written, and what of it is there after the power went.
//!
//! ```text
//!   write ─▶ current ─▶ unsynced ── sync ──▶ durable
//!                           │                   ▲
//!                           └── power cut: none, some or parts of it, as the mode says
//! ```
//! Invariants: a sector is there whole or not at all; a later write of a sector never gives way to
//! an earlier one; once the power is gone nothing is taken in or given out until it is back.
//! Not here: how the kernel reaches the drive (`drive`), what is on it (`rig`).

use std::mem;

use super::Mode;
use crate::seed::Seed;

/// How the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// What happens to writes that were not synced.
    pub mode: Mode,
    /// Bytes that are written whole or not at all.
    pub sector_bytes: usize,
    /// What decides among the possibilities.
    pub seed: u64,
}

/// What the drive says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// There is no such place on the drive.
    Outside,
    /// The power went during this request.
    Cut,
    /// The power is gone.
    Off,
}

struct Write {
    at: usize,
    bytes: Vec<u8>,
}

/// The drive's memory.
pub struct Cache {
    /// What a read sees.
    current: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Write>,
    /// How many of them a sync has covered while syncs were held back.
    covered: usize,
    /// Syncs are answered and not done.
    is_holding: bool,
    is_off: bool,
    /// Writes and syncs until the power goes.
    armed: Option<(u64, Cut)>,
    /// Where `current` is not what is durable, since the power went.
    stale: Vec<(usize, usize)>,
}

impl Cache {
    /// An empty drive of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            current: vec![0; bytes],
            durable: vec![0; bytes],
            unsynced: Vec::new(),
            covered: 0,
            is_holding: false,
            is_off: false,
            armed: None,
            stale: Vec::new(),
        }
    }

    /// Bytes of the drive.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.current.len()
    }

    /// Up to so many bytes from a place on; `None`: the power is gone.
    #[must_use]
    pub fn read(&self, offset: u64, bytes: usize) -> Option<&[u8]> {
        if self.is_off {
            return None;
        }
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.current.len());
        let to = from.saturating_add(bytes).min(self.current.len());
        self.current.get(from..to)
    }

    /// Takes bytes in. The write that meets the power cut is in the cache, but not acknowledged.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Answer {
        if self.is_off {
            return Answer::Off;
        }
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let place = self.current.get_mut(at..at.saturating_add(bytes.len()));
        let Some(place) = place else { return Answer::Outside };
        place.copy_from_slice(bytes);
        self.unsynced.push(Write { at, bytes: bytes.to_vec() });
        self.count()
    }

    /// Makes all that was written durable. The sync that meets the power cut is not done.
    pub fn sync(&mut self) -> Answer {
        if self.is_off {
            return Answer::Off;
        }
        let answer = self.count();
        if answer == Answer::Done {
            self.covered = self.unsynced.len();
            if !self.is_holding {
                self.settle();
            }
        }
        answer
    }

    fn count(&mut self) -> Answer {
        match self.armed.take() {
            Some((1, cut)) => {
                self.cut(&cut);
                Answer::Cut
            }
            Some((left, cut)) => {
                self.armed = Some((left - 1, cut));
                Answer::Done
            }
            None => Answer::Done,
        }
    }

    fn settle(&mut self) {
        let count = mem::take(&mut self.covered);
        for write in self.unsynced.drain(..count) {
            land(&mut self.durable, &write, 0, |_| true);
        }
    }

    /// The power goes at the so-manieth write or sync from now, at the next for 0 and 1.
    pub fn arm(&mut self, operations: u64, cut: Cut) {
        self.armed = Some((operations.max(1), cut));
    }

    /// Answers syncs without doing them, or does at once what was answered and goes on as a drive
    /// should.
    pub fn hold(&mut self, is_holding: bool) {
        self.is_holding = is_holding;
        if !is_holding && !self.is_off {
            self.settle();
        }
    }

    /// Whether the power is gone.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.is_off
    }

    /// The power goes. Nothing happens if it is gone.
    pub fn cut(&mut self, cut: &Cut) {
        if self.is_off {
            return;
        }
        (self.is_off, self.armed, self.covered) = (true, None, 0);
        let writes = mem::take(&mut self.unsynced);
        self.stale = writes.iter().map(|write| (write.at, write.bytes.len())).collect();
        let (durable, sector) = (&mut self.durable, cut.sector_bytes);
        let mut chance = Seed::new(cut.seed);
        match cut.mode {
            Mode::None => {}
            Mode::Prefix => {
                let count = up_to(&mut chance, writes.len());
                writes.iter().take(count).for_each(|write| land(durable, write, sector, |_| true));
            }
            Mode::Tear => {
                // The newest write is where the most interesting record is.
                let is_last = chance.number().is_multiple_of(2);
                let last = writes.len().saturating_sub(1);
                let torn = if is_last { last } else { up_to(&mut chance, last) };
                for write in writes.iter().take(torn) {
                    land(durable, write, sector, |_| true);
                }
                writes.iter().skip(torn).take(1).for_each(|write| {
                    tear(durable, write, sector, &mut chance);
                });
            }
            Mode::Subset => subset(durable, &writes, sector, &mut chance),
        }
    }

    /// The power is back: the drive holds what was durable.
    pub fn restore(&mut self) {
        for (at, len) in mem::take(&mut self.stale) {
            let (to, from) = (self.current.get_mut(at..at + len), self.durable.get(at..at + len));
            if let (Some(to), Some(from)) = (to, from) {
                to.copy_from_slice(from);
            }
        }
        (self.is_off, self.is_holding) = (false, false);
    }

    /// Another drive of the same size, with the power on.
    pub fn load(&mut self, image: &[u8]) {
        for memory in [&mut self.current, &mut self.durable] {
            memory.clear();
            memory.extend_from_slice(image);
        }
        self.unsynced.clear();
        self.stale.clear();
        self.covered = 0;
        (self.is_off, self.is_holding, self.armed) = (false, false, None);
    }

    /// Writes that were not synced when the power went, until it is back.
    #[must_use]
    pub fn unsynced_at_cut(&self) -> usize {
        self.stale.len()
    }

    /// What would be there if all that was not synced were lost.
    #[must_use]
    pub fn durable(&self) -> &[u8] {
        &self.durable
    }
}

fn up_to(chance: &mut Seed, most: usize) -> usize {
    usize::try_from(chance.between(0, most as u64)).unwrap_or(0)
}

/// Puts those sectors of a write on the drive that `lands` picks by their number within the write.
/// A `sector_bytes` of 0 takes the write as one sector.
fn land(
    durable: &mut [u8],
    write: &Write,
    sector_bytes: usize,
    mut lands: impl FnMut(usize) -> bool,
) {
    let (mut at, mut rest, mut number) = (write.at, write.bytes.as_slice(), 0);
    while !rest.is_empty() {
        let room = at.checked_rem(sector_bytes).map_or(rest.len(), |into| sector_bytes - into);
        let (sector, after) = rest.split_at(room.min(rest.len()));
        if lands(number)
            && let Some(place) = durable.get_mut(at..at + sector.len())
        {
            place.copy_from_slice(sector);
        }
        (at, rest, number) = (at + sector.len(), after, number + 1);
    }
}

/// Tears a write between its sectors: its beginning is there, or some of its sectors are.
fn tear(durable: &mut [u8], write: &Write, sector_bytes: usize, chance: &mut Seed) {
    if chance.number().is_multiple_of(2) {
        let count = up_to(chance, write.bytes.len().div_ceil(sector_bytes.max(1)));
        land(durable, write, sector_bytes, |number| number < count);
    } else {
        land(durable, write, sector_bytes, |_| chance.number().is_multiple_of(2));
    }
}

/// Each write or each sector for itself is there or lost, with few, half or most of them lost.
fn subset(durable: &mut [u8], writes: &[Write], sector_bytes: usize, chance: &mut Seed) {
    let by_write = chance.number().is_multiple_of(4);
    let eighths = [1, 4, 7].get(up_to(chance, 2)).copied().unwrap_or(4);
    for write in writes {
        let is_there = chance.number() % 8 < eighths;
        land(durable, write, sector_bytes, |_| {
            if by_write { is_there } else { chance.number() % 8 < eighths }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTOR: usize = 512;

    /// A drive with `old` synced in three places and `new` written over it, and its states after
    /// each write, as one byte a sector.
    fn cut(mode: Mode, seed: u64) -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut cache = Cache::new(16 * SECTOR);
        cache.write(0, &[1; 16 * SECTOR]);
        cache.sync();
        let mut states = vec![vec![1; 16]];
        for (number, (at, count)) in [(0, 4), (8, 8), (2, 4)].into_iter().enumerate() {
            let value = u8::try_from(number).unwrap() + 2;
            cache.write((at * SECTOR) as u64, &vec![value; count * SECTOR]);
            let mut state = states.last().unwrap().clone();
            state[at..at + count].fill(value);
            states.push(state);
        }
        cache.cut(&Cut { mode, sector_bytes: SECTOR, seed });
        assert!(cache.read(0, 1).is_none());
        assert_eq!(cache.unsynced_at_cut(), 3);
        assert_eq!(cache.write(0, &[9]), Answer::Off);
        assert_eq!(cache.sync(), Answer::Off);
        cache.restore();
        assert_eq!(cache.read(0, 16 * SECTOR).unwrap(), cache.durable());
        let sectors = cache.durable().chunks(SECTOR).map(|sector| {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "half a sector");
            sector[0]
        });
        (sectors.collect(), states)
    }

    #[test]
    fn what_was_not_synced_is_lost() {
        let (after, states) = cut(Mode::None, 1);
        assert_eq!(after, states[0]);
    }

    #[test]
    fn writes_land_in_order() {
        let mut seen = [0; 4];
        for seed in 0..200 {
            let (after, states) = cut(Mode::Prefix, seed);
            seen[states.iter().position(|state| *state == after).expect("a prefix")] += 1;
        }
        assert!(seen.iter().all(|count| *count > 10), "{seen:?}");
    }

    #[test]
    fn one_write_is_torn() {
        let mut torn = 0;
        for seed in 0..200 {
            let (after, states) = cut(Mode::Tear, seed);
            let between = states.windows(2).any(|pair| {
                let sectors = after.iter().zip(pair[0].iter().zip(&pair[1]));
                sectors.into_iter().all(|(found, (old, new))| found == old || found == new)
            });
            assert!(between, "{after:?}");
            torn += usize::from(!states.contains(&after));
        }
        assert!(torn > 100, "{torn}");
    }

    #[test]
    fn any_sector_may_be_lost_but_none_goes_back() {
        let mut odd = 0;
        for seed in 0..200 {
            let (after, states) = cut(Mode::Subset, seed);
            for (sector, found) in after.iter().enumerate() {
                assert!(states.iter().any(|state| state[sector] == *found));
            }
            odd += usize::from(!states.contains(&after));
        }
        assert!(odd > 100, "{odd}");
    }

    #[test]
    fn the_power_goes_at_the_armed_operation() {
        let mut cache = Cache::new(4 * SECTOR);
        let cut = Cut { mode: Mode::None, sector_bytes: SECTOR, seed: 1 };
        cache.arm(3, cut);
        assert_eq!(cache.write(0, &[1; SECTOR]), Answer::Done);
        assert_eq!(cache.sync(), Answer::Done);
        assert_eq!(cache.write(0, &[2; SECTOR]), Answer::Cut);
        cache.restore();
        assert_eq!(cache.read(0, 1), Some(&[1][..]));
        cache.arm(1, cut);
        assert_eq!(cache.sync(), Answer::Cut);
        assert_eq!(cache.write(4 * 512 - 1, &[1, 2]), Answer::Off);
        cache.restore();
        assert_eq!(cache.write(4 * 512 - 1, &[1, 2]), Answer::Outside);
    }

    #[test]
    fn a_held_sync_is_done_later_or_never() {
        let mut cache = Cache::new(4 * SECTOR);
        cache.hold(true);
        cache.write(0, &[1; SECTOR]);
        assert_eq!(cache.sync(), Answer::Done);
        cache.write(512, &[2; SECTOR]);
        assert_eq!(cache.durable()[0], 0);
        cache.hold(false);
        assert_eq!((cache.durable()[0], cache.durable()[512]), (1, 0));
        cache.hold(true);
        cache.sync();
        cache.cut(&Cut { mode: Mode::None, sector_bytes: SECTOR, seed: 1 });
        cache.restore();
        assert_eq!(cache.read(512, 1), Some(&[0][..]));
    }
}
