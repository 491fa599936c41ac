//! Rows in memory become a run of level 0.
//!
//! ```text
//!   full ─▶ frozen ─▶ all before it synced in the journal ─▶ run written and synced
//!        ─▶ edits: the run, where replay begins now, segments left behind ─▶ installed
//! ```
//! Invariants: replay begins after the rows of a run only when the run is on disk; the oldest rows
//! go first.
//! Not here: when rows are frozen (`commit`), merging runs (`compact`).

use std::sync::atomic::Ordering;

use crate::error::Error;
use crate::index::run::RunInfo;
use crate::index::writer::Writer;
use crate::local::Local;
use crate::manifest::{Edit, Flushed};
use crate::state::Frozen;
use crate::sync::locked;
use crate::tree::Cursor;

/// Writes the oldest frozen rows to disk; false: there are none.
pub(crate) fn step(local: &Local) -> Result<bool, Error> {
    let Some(frozen) = local.commits.rows().base.frozen.first().cloned() else { return Ok(false) };
    // What is in the runs must not be newer than what the journal has for sure.
    local.commits.await_synced(frozen.place)?;
    let number = local.next_run();
    let info = match write(local, number, &frozen) {
        Ok(info) => info,
        Err(error) => {
            local.discard_run(number);
            return Err(error);
        }
    };
    local.figures.flushes.fetch_add(1, Ordering::Relaxed);
    local.figures.flushed_bytes.fetch_add(info.len, Ordering::Relaxed);
    install(local, &frozen, info)?;
    Ok(true)
}

fn write(local: &Local, number: u64, frozen: &Frozen) -> Result<RunInfo, Error> {
    let mut writer = Writer::create(&local.files, number, 0, local.options.block_bytes)?;
    let mut cursor = Cursor::new(frozen.mem.tree.clone());
    cursor.seek(&[]);
    while cursor.is_valid() {
        writer.add(cursor.key(), cursor.value())?;
        cursor.next();
    }
    let info = writer.finish(&frozen.mem.ranges, frozen.sequence)?;
    let disk = &local.files.disk;
    disk.sync_dir().map_err(|error| Error::writing("sync the folder", &disk.label(), error))?;
    Ok(info)
}

fn install(local: &Local, frozen: &Frozen, info: RunInfo) -> Result<(), Error> {
    let mut meta = local.meta();
    let Frozen { sequence, place, life, .. } = *frozen;
    let mut edits = vec![Edit::Run(0, info.clone())];
    let passed: Vec<(u64, u64)> = {
        let complete = locked(&local.commits.complete);
        complete.range(..place.segment).map(|(number, end)| (*number, *end)).collect()
    };
    edits.extend(passed.iter().map(|(number, end)| Edit::Segment(*number, *end)));
    edits.push(Edit::Flushed(Flushed { sequence, place, life }));
    let now_ms = local.now_ms();
    meta.commit(now_ms, &edits)?;
    meta.forget_points(local.retained_since(now_ms));
    locked(&local.commits.complete).retain(|number, _| *number >= place.segment);
    let version = local.commits.version().change([(0, local.run(info))], &[], Vec::new());
    local.commits.install(version, 1);
    Ok(())
}

/// Freezes what is in memory and writes everything to disk.
pub(crate) fn all(local: &Local) -> Result<(), Error> {
    local.commits.freeze();
    if local.workers.is_running() {
        return local.commits.await_flushed(0);
    }
    while step(local)? {}
    Ok(())
}
