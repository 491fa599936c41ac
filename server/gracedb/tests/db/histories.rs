//! Histories of several threads: is there one order of what they did that explains what they saw?
//!
//! ```text
//!   thread 1   ├── write ──┤      ├─ read ─┤
//!   thread 2        ├─ write ─┤ ├──── write ────┤
//!              time ─▶   every one took effect at one moment between its two ends
//! ```
//! Threads read and write some cells in transactions and look at snapshots; when each call began
//! and ended is noted. [`explain`] then looks for an order, as Wing and Gong do ("Testing and
//! Verifying Concurrent Objects", 1993): the next one is any that began before every other that is
//! left had ended, and only if it saw what stands in the cells.
//! Invariants: every history has such an order; snapshots of one thread never go back; what was
//! acknowledged to a thread is in every snapshot it takes from then on.
//! Not here: what is there after a crash (the drills of `grace-tests`).

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use gracedb::db::Db;
use gracedb::disk::sim::{SimDisk, next_random};
use gracedb::engine::Durability;
use gracedb::options::Options;
use gracedb::pending::block_on;
use gracedb::schema::Schema;
use gracedb::table::Table;
use gracedb::view::View;
use serde::{Deserialize, Serialize};

const CELLS: usize = 3;
const THREADS: u64 = 4;
/// Calls of one thread in one history: all of them are at most 64, the bits of a set.
const CALLS: u64 = 6;

/// A number in one place of one history.
#[derive(Debug, Serialize, Deserialize, Table)]
#[table(id = 1, name = "cell")]
struct Cell {
    #[key]
    history: u64,
    #[key]
    place: u8,
    number: u64,
}

const SCHEMA: Schema = Schema::new(&[Cell::DEF]);

type Cells = [u64; CELLS];

/// What one thread did, and when.
#[derive(Debug, Clone, Copy)]
struct Call {
    began: u64,
    ended: u64,
    /// What it saw in the cells that it looked at.
    saw: [Option<u64>; CELLS],
    /// What it put there.
    put: [Option<u64>; CELLS],
}

impl Call {
    fn fits(&self, cells: &Cells) -> bool {
        self.saw.iter().zip(cells).all(|(saw, cell)| saw.is_none_or(|saw| saw == *cell))
    }

    fn make(&self, cells: &Cells) -> Cells {
        let mut after = *cells;
        for (cell, put) in after.iter_mut().zip(self.put) {
            *cell = put.unwrap_or(*cell);
        }
        after
    }
}

/// Whether there is an order of the calls in which each sees what those before it left.
fn explain(calls: &[Call]) -> bool {
    assert!(calls.len() <= 64, "a set of calls is a number");
    let all = u64::MAX.checked_shr(64 - u32::try_from(calls.len()).unwrap()).unwrap_or(0);
    let mut tried = HashSet::new();
    let mut open = vec![(0u64, [0; CELLS])];
    while let Some((done, cells)) = open.pop() {
        if done == all {
            return true;
        }
        let left = || calls.iter().enumerate().filter(|(at, _)| done & (1 << at) == 0);
        let first_end = left().map(|(_, call)| call.ended).min().unwrap_or(u64::MAX);
        for (at, call) in left() {
            if call.began < first_end && call.fits(&cells) {
                let next = (done | 1 << at, call.make(&cells));
                if tried.insert(next) {
                    open.push(next);
                }
            }
        }
    }
    false
}

/// What all threads share.
struct Stage<'a> {
    db: &'a Db,
    history: u64,
    clock: AtomicU64,
}

impl Stage<'_> {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn look(&self, view: &impl View, place: usize) -> u64 {
        let key = (self.history, u8::try_from(place).unwrap());
        view.get::<Cell>(&key).unwrap().map_or(0, |cell| cell.number)
    }

    /// Looks at some cells and writes some, in one transaction.
    fn write(&self, random: &mut u64) -> (Call, u64) {
        let (looks, puts) = (next_random(random) % 8, next_random(random) % 8);
        let durability = if next_random(random).is_multiple_of(3) {
            Durability::Buffered
        } else {
            Durability::Synced
        };
        let number = next_random(random);
        let (mut saw, mut put) = ([None; CELLS], [None; CELLS]);
        let began = self.now();
        let pending = self.db.write_with(durability, |tx| {
            for place in (0..CELLS).filter(|place| looks & (1 << place) != 0) {
                if let Some(saw) = saw.get_mut(place) {
                    *saw = Some(self.look(tx, place));
                }
            }
            for place in (0..CELLS).filter(|place| puts & (1 << place) != 0) {
                if let Some(put) = put.get_mut(place) {
                    *put = Some(number);
                }
                let (history, at) = (self.history, u8::try_from(place).unwrap());
                tx.put(&Cell { history, place: at, number })?;
            }
            Ok::<_, gracedb::error::Error>(tx.sequence())
        });
        let pending = pending.unwrap();
        let before =
            if number.is_multiple_of(2) { pending.wait() } else { block_on(pending) }.unwrap();
        let ended = self.now();
        let own = before + u64::from(puts & 7 != 0);
        (Call { began, ended, saw, put }, own)
    }

    /// Looks at all cells at once.
    fn read(&self) -> (Call, u64) {
        let began = self.now();
        let snapshot = self.db.snapshot();
        let ended = self.now();
        let mut saw = [None; CELLS];
        for (place, saw) in saw.iter_mut().enumerate() {
            *saw = Some(self.look(&snapshot, place));
        }
        (Call { began, ended, saw, put: [None; CELLS] }, snapshot.sequence())
    }

    fn calls(&self, seed: u64) -> Vec<Call> {
        let mut random = seed;
        let (mut calls, mut newest) = (Vec::new(), 0);
        for _ in 0..CALLS {
            let is_read = next_random(&mut random).is_multiple_of(3);
            let (call, sequence) = if is_read { self.read() } else { self.write(&mut random) };
            assert!(!is_read || sequence >= newest, "a snapshot went back: {sequence} < {newest}");
            newest = newest.max(sequence);
            calls.push(call);
        }
        calls
    }
}

fn check(options: Options, seed: u64, histories: u64) {
    let db = Db::open(options, SCHEMA).unwrap();
    for history in 0..histories {
        let stage = Stage { db: &db, history, clock: AtomicU64::new(0) };
        let calls: Vec<Call> = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let stage = &stage;
                    let seed = (seed << 32) ^ (history << 8) ^ thread;
                    scope.spawn(move || stage.calls(seed))
                })
                .collect();
            if history % 4 == 3 {
                db.settle().unwrap();
            }
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert!(explain(&calls), "seed {seed}, history {history} has no order: {calls:#?}");
    }
    assert!(db.verify(&mut |_| true).unwrap().is_sound());
}

fn small(options: Options) -> Options {
    Options {
        segment_bytes: 16 << 10,
        mem_bytes: 1 << 10,
        unflushed_bytes: 16 << 10,
        level_bytes: 4 << 10,
        run_bytes: 1 << 10,
        ..options
    }
}

#[test]
fn every_history_on_a_simulated_disk_has_an_order() {
    for seed in 0..12 {
        check(small(Options::with_disk(Arc::new(SimDisk::new(seed)))), seed, 60);
    }
}

#[test]
fn every_history_on_a_real_disk_has_an_order() {
    let dir = tempfile::tempdir().unwrap();
    check(small(Options::new(dir.path())), 99, 60);
}

/// One that cannot be explained is found.
#[test]
fn what_cannot_be_is_not_explained() {
    let call = |(began, ended), saw: Option<u64>, put: Option<u64>| Call {
        began,
        ended,
        saw: [saw, None, None],
        put: [put, None, None],
    };
    // One after the other, and beside each other, in either order.
    assert!(explain(&[]));
    assert!(explain(&[call((0, 1), None, Some(5)), call((2, 3), Some(5), None)]));
    assert!(explain(&[call((0, 3), None, Some(5)), call((1, 2), Some(0), None)]));
    assert!(explain(&[call((0, 3), None, Some(5)), call((1, 2), Some(5), None)]));
    // A stale read, a read of what was never there, two who found the cell empty and filled it.
    assert!(!explain(&[call((0, 1), None, Some(5)), call((2, 3), Some(0), None)]));
    assert!(!explain(&[call((0, 3), None, Some(5)), call((1, 2), Some(7), None)]));
    assert!(!explain(&[call((0, 3), Some(0), Some(5)), call((1, 2), Some(0), Some(6))]));
    // Two readers who disagree about which of two writes came first.
    let (five, six) = (call((0, 9), None, Some(5)), call((0, 9), None, Some(6)));
    let looks = |began, saw| call((began, began + 1), Some(saw), None);
    assert!(explain(&[five, six, looks(2, 5), looks(4, 6)]));
    assert!(!explain(&[five, six, looks(2, 5), looks(4, 6), looks(6, 5)]));
}
