//! Tidying everything at once, for whoever asks: `compact`, and a change of keys.
//!
//! ```text
//!   rows in memory ─▶ disk;  runs ─▶ level by level down to the last
//!   segments that are mostly garbage, or written with an old key ─▶ what is live is moved out
//!   keys that no file needs any more ─▶ forgotten
//! ```
//! The database goes on meanwhile; what is written in the meantime is not the concern of this
//! round.
//! Invariants: a new data key is in the meta file, durable, before anything is written with it; an
//! old one is forgotten when no file is left that was.
//! Not here: what one merge or one cleaning does (`compact`, `clean`).

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::clean;
use crate::compact::{self, Job};
use crate::error::Error;
use crate::flush;
use crate::format::FileKind;
use crate::index::run::Run;
use crate::local::Local;
use crate::progress::{Count, Watcher};
use crate::seal::Key;
use crate::sync::locked;
use crate::version::{LEVELS, Version};
use crate::workers;

/// Segments with less garbage than this are left alone, in percent.
const GARBAGE_PERCENT: u64 = 5;

/// The journal goes on in a new segment if the newest one is filled by this share.
const SHARE_OF_SEGMENT: u64 = 16;

/// What `compact` did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of all files before.
    pub bytes_before: u64,
    /// Bytes of all files after.
    pub bytes_after: u64,
}

/// Tidies everything up.
pub(crate) fn compact(local: &Local, watcher: &mut Watcher<'_>) -> Result<(), Error> {
    let written = local.commits.queue().cursor().offset;
    if written > local.options.segment_bytes / SHARE_OF_SEGMENT {
        // What is garbage in the newest segment is to go, too.
        roll(local)?;
    }
    flush::all(local)?;
    let segments: Vec<_> = {
        let all = clean::segments(local)?.into_iter();
        all.filter(|each| is_worth_it(local, each)).collect()
    };
    let runs: u64 = local.commits.version().runs().map(|(_, run)| run.info.len).sum();
    let live: u64 = segments.iter().map(|each| each.live).sum();
    let mut count = Count::new(watcher, runs + live);
    count.begin("merge")?;
    for level in 0..LEVELS {
        merge_down(local, level, &mut count)?;
    }
    rewrite_runs(local, &mut count)?;
    count.begin("clean")?;
    for segment in segments {
        let _tidying = locked(&local.workers.tidying);
        clean::clean(local, segment)?;
        count.add(segment.live)?;
    }
    count.begin("finish")?;
    // Rows that point to the new places go to disk, and the old places can go.
    flush::all(local)?;
    workers::finish_tidying(local)?;
    forget_keys(local)?;
    count.begin("done")
}

/// From now on everything is written with a new data key, and what is there is written again; with
/// `key`, that key and no other opens the database from now on.
///
/// The watcher's first word comes when that is on disk. After an error before that word either key
/// may open the database: the new meta file was on its way, and nobody knows how far it came.
pub(crate) fn change_key(
    local: &Local,
    key: Option<&Key>,
    watcher: &mut Watcher<'_>,
) -> Result<(), Error> {
    let used = {
        let mut meta = local.meta();
        // The files of a closed database may be another one's by now.
        local.commits.check()?;
        let before = local.files.keys();
        let mut keys = before.clone();
        if keys.current() == 0 {
            return Err(Error::Settings {
                what: "the database is not encrypted; open it with a key first",
            });
        }
        if let Some(key) = key {
            keys.change_lock(key)?;
        }
        let number = keys.add_key()?;
        local.files.set_keys(keys.clone());
        if let Err(e) = meta.rewrite() {
            // The next meta file, whoever has it written, must not take the new key after all when
            // nobody is there to keep it. Nothing is written with the new data key yet.
            local.files.set_keys(before);
            return Err(e);
        }
        keys.use_key(number);
        local.files.set_keys(keys);
        meta.rewrite()
    };
    // Told even if the second file failed: the first one has the key.
    let told = Count::new(watcher, 0).begin("key");
    used.and(told)?;
    roll(local)?;
    compact(local, watcher)
}

/// Completes the segment that the journal is in.
fn roll(local: &Local) -> Result<(), Error> {
    local.commits.queue().roll();
    local.commits.settle()
}

/// Whether a segment has enough garbage, or is not written as it would be now.
fn is_worth_it(local: &Local, segment: &clean::SegmentUse) -> bool {
    segment.live * 100 < segment.bytes * (100 - GARBAGE_PERCENT)
        || is_foreign(local, FileKind::Journal, segment.number)
}

/// Whether a file is written with another key than the newest.
fn is_foreign(local: &Local, kind: FileKind, number: u64) -> bool {
    let current = local.files.keys().current();
    local.files.get(kind, number).is_ok_and(|file| file.header.key != current)
}

fn level_of(version: &Version, level: usize) -> &[Arc<Run>] {
    match level.checked_sub(1) {
        None => &version.fresh,
        Some(at) => version.levels.get(at).map_or(&[], |runs| runs),
    }
}

/// Merges every run of a level into the next, if there is anything further down.
fn merge_down(local: &Local, level: usize, count: &mut Count<'_, '_>) -> Result<(), Error> {
    let is_last = |version: &Version| {
        level > 0 && (level + 1..=LEVELS).all(|below| level_of(version, below).is_empty())
    };
    let numbers: Vec<u64> = {
        let version = local.commits.version();
        level_of(&version, level).iter().map(|run| run.info.number).collect()
    };
    for number in numbers {
        let _tidying = locked(&local.workers.tidying);
        let version = local.commits.version();
        let runs = level_of(&version, level);
        if is_last(&version) {
            return Ok(());
        }
        if !runs.iter().any(|run| run.info.number == number) {
            // Merged meanwhile.
            continue;
        }
        // Runs of level 0 lie over each other: they go together.
        let upper = runs.iter().filter(|run| level == 0 || run.info.number == number);
        let job = Job::new(&version, level, upper.cloned().collect());
        let bytes = job.upper_bytes();
        compact::run(local, &version, &job)?;
        count.add(bytes)?;
    }
    Ok(())
}

/// Writes runs of the last level anew that hold what is gone, or were written with an old key.
fn rewrite_runs(local: &Local, count: &mut Count<'_, '_>) -> Result<(), Error> {
    let mut done = BTreeSet::new();
    loop {
        let _tidying = locked(&local.workers.tidying);
        let version = local.commits.version();
        let next = version.runs().find(|(level, run)| {
            *level > 0
                && !done.contains(&run.info.number)
                && (compact::is_mostly_gone(&run.info)
                    || is_foreign(local, FileKind::Index, run.info.number))
        });
        let Some((level, run)) = next else { return Ok(()) };
        done.insert(run.info.number);
        compact::run(local, &version, &Job::rewrite(level, run))?;
        count.add(run.info.len)?;
    }
}

/// Forgets the data keys that no file is written with.
fn forget_keys(local: &Local) -> Result<(), Error> {
    // Before the meta file is held; segments that come later are written with the newest key.
    let journal = local.commits.journal_segment();
    let mut meta = local.meta();
    let mut keys = local.files.keys();
    if keys.numbers().len() < 2 {
        return Ok(());
    }
    // Those of restore points as well, and of what is not in the meta file yet.
    let runs = meta.manifest.runs.keys().map(|number| (FileKind::Index, *number));
    let newer = meta.manifest.flushed().place.segment..=journal;
    let segments = meta.manifest.segments.keys().copied().chain(newer.filter(|first| *first > 0));
    let mut needed = BTreeSet::new();
    for (kind, number) in runs.chain(segments.map(|number| (FileKind::Journal, number))) {
        needed.insert(local.files.get(kind, number)?.header.key);
    }
    keys.keep_keys(|number| needed.contains(&number));
    local.files.set_keys(keys);
    meta.rewrite()
}
