//! Memory under all of it: what an engine takes with the settings it comes with.
//!
//! Rows and letters by 64 writers, then everything read once, rows, bodies and scans: one process.
//! Its own share is some MiB: bodies, latencies, the stacks of 64 threads.
//! Not here: rates, which count elsewhere.

use crate::Outcome;
use crate::commits::{Front, change, count, handles};
use crate::job::{Figures, Order, What, figures, float};
use crate::process::{self, Watcher};
use crate::reads;

const WRITERS: usize = 64;
/// Numbers left between what is written in two turns.
const GAP: u64 = 1 << 24;

pub(crate) fn run(order: &Order) -> Outcome<Figures> {
    let watcher = Watcher::start();
    let grouped = order.engine.is_peer();
    let engine = order.open(handles(WRITERS, grouped), 0)?;
    let front = Front::new(&*engine, grouped);
    let seconds = order.seconds;
    count(&front, WRITERS, seconds, |id| change(What::Row, id), order.first)?;
    count(&front, WRITERS, seconds, |id| change(What::Letter, id), order.first + GAP)?;
    reads::measure(&mut *engine.reader()?, order.set, seconds / 2.0)?;
    engine.settle()?;
    Ok(figures([("peak_kib", float(process::peak_kib())), ("anon_kib", float(watcher.peak_kib()))]))
}
