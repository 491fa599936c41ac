//! Durable commits: so many writers, each waits for its own before it makes the next.
//!
//! ```text
//!   writers begin ─ warm up ─┬─ counted ─┬─ writers end ─ background work ends
//! ```
//! Invariant: counted are commits that were answered within the counted time.
//! Not here: what is in a row or a letter (`data`).

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::data::{self, Change};
use crate::device::{self, Device};
use crate::engine::Engine;
use crate::group::Line;
use crate::job::{Figures, Order, What, figures, float};
use crate::process::{self, Watcher};

/// Before anything is counted.
const WARM_UP: Duration = Duration::from_millis(500);
/// Room a bare log makes for each second: more than it can fill.
const ROW_ROOM_BYTES_S: u64 = 64 << 20;
const LETTER_ROOM_BYTES_S: u64 = 512 << 20;

const WARMING: u8 = 0;
const COUNTED: u8 = 1;
const OVER: u8 = 2;

/// An engine, with a group commit in front of it or without.
pub(crate) struct Front<'e> {
    engine: &'e dyn Engine,
    line: Option<Line<Change>>,
}

impl<'e> Front<'e> {
    pub(crate) fn new(engine: &'e dyn Engine, grouped: bool) -> Self {
        Self { engine, line: grouped.then(Line::new) }
    }

    /// Commits one change; durable when it returns.
    pub(crate) fn commit(&self, writer: usize, change: Change) -> Outcome<()> {
        match &self.line {
            None => self.engine.commit(writer, &[change]),
            Some(line) => line.pass(change, |changes| self.engine.commit(0, changes)),
        }
    }
}

/// Handles that an engine needs for so many writers.
pub(crate) fn handles(writers: usize, grouped: bool) -> usize {
    if grouped { 1 } else { writers }
}

pub(crate) fn change(what: What, id: u64) -> Change {
    match what {
        What::Row => Change::Row(data::later_row(id)),
        What::Letter => {
            let (message, body) = data::letter(id);
            Change::Letter(message, body)
        }
    }
}

/// How long commits took, and how long they were counted.
pub(crate) struct Counted {
    took_us: Vec<u32>,
    seconds: f64,
}

impl Counted {
    fn per_second(&self) -> f64 {
        float(self.took_us.len() as u64) / self.seconds
    }

    /// The time that so many of a thousand commits did not exceed, in milliseconds.
    fn per_mille_ms(&self, rank: usize) -> f64 {
        let at = self.took_us.len().saturating_sub(1) * rank / 1_000;
        self.took_us.get(at).map_or(0.0, |us| f64::from(*us) / 1e3)
    }
}

/// Commits with `writers` threads for some seconds.
pub(crate) fn count(
    front: &Front<'_>,
    writers: usize,
    seconds: f64,
    make: impl Fn(u64) -> Change + Sync,
    first: u64,
) -> Outcome<Counted> {
    let (next, stage) = (AtomicU64::new(first), AtomicU8::new(WARMING));
    let write = |writer: usize| -> Outcome<Vec<u32>> {
        let mut took_us = Vec::new();
        while stage.load(Ordering::Relaxed) != OVER {
            let change = make(next.fetch_add(1, Ordering::Relaxed));
            let start = Instant::now();
            front.commit(writer, change)?;
            if stage.load(Ordering::Relaxed) == COUNTED {
                took_us.push(u32::try_from(start.elapsed().as_micros())?);
            }
        }
        Ok(took_us)
    };
    let write = &write;
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..writers).map(|writer| scope.spawn(move || write(writer))).collect();
        thread::sleep(WARM_UP);
        stage.store(COUNTED, Ordering::Relaxed);
        let start = Instant::now();
        thread::sleep(Duration::from_secs_f64(seconds));
        stage.store(OVER, Ordering::Relaxed);
        let seconds = start.elapsed().as_secs_f64();
        let mut all = Vec::new();
        for thread in threads {
            all.append(&mut thread.join().map_err(|_| "a writer panicked")??);
        }
        all.sort_unstable();
        Ok(Counted { took_us: all, seconds })
    })
}

pub(crate) fn run(order: &Order, what: What, writers: usize, grouped: bool) -> Outcome<Figures> {
    let watcher = Watcher::start();
    let room_bytes_s = if what == What::Row { ROW_ROOM_BYTES_S } else { LETTER_ROOM_BYTES_S };
    let seconds = WARM_UP.as_secs() + Duration::from_secs_f64(order.seconds).as_secs() + 1;
    let engine = order.open(handles(writers, grouped), seconds * room_bytes_s)?;
    let device = Device::of(&order.dir)?;
    let before = device.written();
    let front = Front::new(&*engine, grouped);
    let counted = count(&front, writers, order.seconds, |id| change(what, id), order.first)?;
    let written = device.written().since(before);
    engine.settle()?;
    drop(engine);
    device::sync_files(&order.dir)?;
    Ok(figures([
        ("commits_s", counted.per_second()),
        ("p50_ms", counted.per_mille_ms(500)),
        ("p99_ms", counted.per_mille_ms(990)),
        ("p999_ms", counted.per_mille_ms(999)),
        ("flushes", float(written.flushes)),
        ("peak_kib", float(process::peak_kib())),
        ("anon_kib", float(watcher.peak_kib())),
    ]))
}
