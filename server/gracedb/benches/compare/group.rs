//! Group commit in front of an engine that has none: who waits is written by who came first.
//!
//! ```text
//!   first to come ──▶ leads: takes all that wait, writes them at once ─▶ names the next leader,
//!   others        ──▶ sleep ─────────────────────────────────────────▶ then wakes its group
//! ```
//! Invariants: one leader at a time; everything is written by exactly one; the next group starts
//! before the last one is told, so that the drive is not kept waiting.
//! Not here: what a group is written to (`log`, `commits`).

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

use crate::Outcome;

const WAITING: u8 = 0;
const LEAD: u8 = 1;
const DONE: u8 = 2;
const FAILED: u8 = 3;

/// Those who wait.
pub(crate) struct Line<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    waiting: Vec<(T, Arc<Seat>)>,
    is_led: bool,
}

struct Seat {
    thread: Thread,
    told: AtomicU8,
}

impl Seat {
    fn tell(&self, what: u8) {
        self.told.store(what, Ordering::Release);
        self.thread.unpark();
    }

    fn wait(&self) -> u8 {
        loop {
            let told = self.told.load(Ordering::Acquire);
            if told != WAITING {
                return told;
            }
            thread::park();
        }
    }
}

impl<T> Line<T> {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State { waiting: Vec::new(), is_led: false }) }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when `item` was written: by this thread with all others that wait, or by another.
    pub(crate) fn pass(&self, item: T, write: impl FnOnce(&[T]) -> Outcome<()>) -> Outcome<()> {
        let seat = Arc::new(Seat { thread: thread::current(), told: AtomicU8::new(WAITING) });
        let mut state = self.state();
        state.waiting.push((item, Arc::clone(&seat)));
        if std::mem::replace(&mut state.is_led, true) {
            drop(state);
            match seat.wait() {
                DONE => return Ok(()),
                FAILED => return Err("the group this was written with failed".into()),
                _ => state = self.state(),
            }
        }
        let (items, seats): (Vec<T>, Vec<_>) =
            std::mem::take(&mut state.waiting).into_iter().unzip();
        drop(state);
        let written = write(&items);
        self.hand_over();
        let outcome = if written.is_ok() { DONE } else { FAILED };
        seats.iter().filter(|other| !Arc::ptr_eq(other, &seat)).for_each(|s| s.tell(outcome));
        written
    }

    fn hand_over(&self) {
        let mut state = self.state();
        match state.waiting.first() {
            Some((_, next)) => {
                let next = Arc::clone(next);
                drop(state);
                next.tell(LEAD);
            }
            None => state.is_led = false,
        }
    }
}
