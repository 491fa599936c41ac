//! Reading a set that the page cache holds: rows by key, bodies by number, rows in order.
//!
//! One thread, one reader. Everything is read once before anything is counted, so that what an
//! engine keeps is warm, and what it does not keep is in the page cache.
//! Not here: how the set came in (`load`).

use std::time::Instant;

use crate::Outcome;
use crate::data::{self, BODY_BYTES, TEXT_BYTES};
use crate::engine::Reader;
use crate::job::{Figures, Order, Set, figures, float};
use crate::process::{self, Watcher};

/// Lookups between two looks at the clock.
const LOOKUPS: u64 = 500;
/// Rows of one scan.
const SCANNED: usize = 100_000;
/// Scans begin within the first of so many parts of the set, so that none reaches its end.
const PARTS: u64 = 4;

/// How many a second, done for some seconds. `step` says how many it did.
fn rate(seconds: f64, mut step: impl FnMut() -> Outcome<u64>) -> Outcome<f64> {
    let (start, mut done) = (Instant::now(), 0);
    loop {
        done += step()?;
        let elapsed = start.elapsed().as_secs_f64();
        if elapsed >= seconds {
            return Ok(float(done) / elapsed);
        }
    }
}

/// Looks at a value, which must have so many bytes.
fn check(found: bool, len: usize, wanted: usize) -> Outcome<()> {
    if found && len >= wanted {
        return Ok(());
    }
    Err(format!("{len} bytes were read where {wanted} were written").into())
}

/// The rates of one reader, after everything was read once.
pub(crate) struct Rates {
    pub(crate) rows_s: f64,
    pub(crate) bodies_s: f64,
    pub(crate) scanned_s: f64,
}

/// Reads everything once, then counts.
pub(crate) fn measure(reader: &mut dyn Reader, set: Set, seconds: f64) -> Outcome<Rates> {
    let mut len = 0;
    for id in 0..set.bodies {
        let found = reader.body(id, &mut |bytes| len = data::touch(bytes))?;
        check(found, len, BODY_BYTES)?;
    }
    let everything = usize::try_from(set.rows)?;
    let seen = reader.scan(0, 0, everything, &mut |bytes| len = data::touch(bytes))?;
    check(seen == everything, len, TEXT_BYTES)?;
    let mut state = 7;
    let mut row = |state: &mut u64| -> Outcome<()> {
        let id = data::chance(state) % set.rows;
        let found = reader.row(data::account(id), id, &mut |bytes| len = data::touch(bytes))?;
        check(found, len, TEXT_BYTES)
    };
    let mut rows = || (0..LOOKUPS).try_for_each(|_| row(&mut state)).map(|()| LOOKUPS);
    // What an engine keeps by what was asked for lately.
    rate(seconds / 2.0, &mut rows)?;
    let rows_s = rate(seconds, rows)?;
    let bodies_s = rate(seconds, || {
        for _ in 0..LOOKUPS {
            let id = data::chance(&mut state) % set.bodies;
            let found = reader.body(id, &mut |bytes| len = data::touch(bytes))?;
            check(found, len, BODY_BYTES)?;
        }
        Ok(LOOKUPS)
    })?;
    // Accounts are spread evenly, so a share of them holds that share of the rows.
    let scanned = SCANNED.min(everything / 2);
    let scanned_s = rate(seconds, || {
        let account = data::account(data::chance(&mut state)) / PARTS;
        let seen = reader.scan(account, 0, scanned, &mut |bytes| len = data::touch(bytes))?;
        check(seen == scanned, len, TEXT_BYTES)?;
        Ok(seen as u64)
    })?;
    Ok(Rates { rows_s, bodies_s, scanned_s })
}

pub(crate) fn run(order: &Order) -> Outcome<Figures> {
    let watcher = Watcher::start();
    let engine = order.open(1, 0)?;
    let rates = measure(&mut *engine.reader()?, order.set, order.seconds)?;
    Ok(figures([
        ("rows_s", rates.rows_s),
        ("bodies_s", rates.bodies_s),
        ("scanned_s", rates.scanned_s),
        ("peak_kib", float(process::peak_kib())),
        ("anon_kib", float(watcher.peak_kib())),
    ]))
}
