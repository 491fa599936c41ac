//! Bringing the set in: small rows and bodies, in large transactions.

use std::time::Instant;

use crate::Outcome;
use crate::data::{self, BODY_BYTES, Change, TEXT_BYTES};
use crate::device::{self, Device};
use crate::engine::Engine;
use crate::job::{Figures, Order, figures, float};
use crate::process::Watcher;

/// Rows of one transaction.
const ROWS_AT_ONCE: u64 = 5_000;
/// Bodies of one transaction.
const BODIES_AT_ONCE: u64 = 100;

fn bring(
    engine: &dyn Engine,
    count: u64,
    at_once: u64,
    make: impl Fn(u64) -> Change,
) -> Outcome<f64> {
    let start = Instant::now();
    for first in (0..count).step_by(usize::try_from(at_once)?) {
        let changes: Vec<Change> = (first..count.min(first + at_once)).map(&make).collect();
        engine.commit(0, &changes)?;
    }
    Ok(start.elapsed().as_secs_f64())
}

pub(crate) fn run(order: &Order) -> Outcome<Figures> {
    let watcher = Watcher::start();
    let engine = order.open(1, 0)?;
    let device = Device::of(&order.dir)?;
    let (before, set) = (device.written(), order.set);
    let rows_s = bring(&*engine, set.rows, ROWS_AT_ONCE, |id| Change::Row(data::row(id)))?;
    let body = |id| Change::Body(id, data::body(id));
    let bodies_s = bring(&*engine, set.bodies, BODIES_AT_ONCE, body)?;
    engine.settle()?;
    drop(engine);
    device::sync_files(&order.dir)?;
    let bytes = set.rows * (16 + TEXT_BYTES as u64) + set.bodies * (8 + BODY_BYTES as u64);
    Ok(figures([
        ("rows_s", rows_s),
        ("bodies_s", bodies_s),
        ("data_bytes", float(bytes)),
        ("taken_bytes", float(device::taken_bytes(&order.dir))),
        ("device_bytes", float(device.written().since(before).bytes)),
        ("anon_kib", float(watcher.peak_kib())),
    ]))
}
