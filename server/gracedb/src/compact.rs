//! Merging runs, level by level: what is hidden is dropped for good.
//!
//! ```text
//!   level 0 has too many runs        ─▶ all of them, with what they meet in level 1
//!   a level is larger than it may be ─▶ one run of it, with what it meets in the next
//!   a run holds mostly tombstones, or ranges that are gone ─▶ the same, when nothing else is to do
//! ```
//! A dropped row that points to large values, and that was replaced or deleted without being read,
//! has a use left; those are taken back in transactions of our own, before the merge counts. To do
//! so twice is no harm.
//! Invariants: a tombstone or range goes only when nothing below can be hidden by it; a merge
//! counts as a whole or not at all; memory is a block per run and the heads.
//! Not here: giving the large values' room back (`clean`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::Error;
use crate::format::{FILE_HEADER_LEN, FileKind};
use crate::index::cursor::{LevelCursor, RunCursor};
use crate::index::merge::Layer;
use crate::index::run::{Run, RunInfo};
use crate::index::writer::Writer;
use crate::large::Part;
use crate::local::Local;
use crate::manifest::Edit;
use crate::options::Options;
use crate::ranges::Ranges;
use crate::space;
use crate::sync::Mutex;
use crate::transact::parts_of;
use crate::version::{FileId, LEVELS, Version};

/// Uses taken back in one transaction.
const USES_AT_ONCE: usize = 256;
/// Bytes written between two looks at the pace.
const PACE_BYTES: u64 = 256 << 10;
/// A run with more tombstones than this share of its entries, in percent, is merged when idle.
const TOMBSTONES_PERCENT: u64 = 20;

/// Where the next merge of each level begins, so that all its keys get their turn.
pub(crate) type Turns = Mutex<[Box<[u8]>; LEVELS]>;

/// Runs to be merged.
pub(crate) struct Job {
    /// The upper ones, of this level.
    level: usize,
    upper: Vec<Arc<Run>>,
    /// Those they meet in the level that the outcome goes to.
    lower: Vec<Arc<Run>>,
    output: usize,
}

/// Bytes that a level may have.
fn level_bytes_max(options: &Options, level: usize) -> u64 {
    let mut bytes = options.level_bytes;
    for _ in 1..level {
        bytes = bytes.saturating_mul(options.level_factor);
    }
    bytes
}

/// Bytes of a run of a level: larger further down, so that their number stays small.
fn run_bytes_max(options: &Options, level: usize) -> u64 {
    options.run_bytes << level.saturating_sub(1).min(3)
}

/// Bytes of runs, without their headers: small ones are mostly header.
fn bytes(runs: &[Arc<Run>]) -> u64 {
    runs.iter().map(|run| run.info.len.saturating_sub(FILE_HEADER_LEN as u64)).sum()
}

/// Whether so much of a run is gone that it is worth writing it anew.
pub(crate) fn is_mostly_gone(info: &RunInfo) -> bool {
    info.ranges > 0 || info.tombstones * 100 > info.entries * TOMBSTONES_PERCENT
}

/// How far merging is behind: 1 and more means that something has to be done.
pub(crate) fn is_behind(options: &Options, version: &Version) -> bool {
    version.fresh.len() > 2 * options.fresh_runs
}

impl Job {
    /// Runs of a level, to be merged into the next.
    pub(crate) fn new(version: &Version, level: usize, upper: Vec<Arc<Run>>) -> Self {
        let low = upper.iter().map(|run| &run.info.first).min().cloned().unwrap_or_default();
        let high = upper.iter().map(|run| &run.info.end).max().cloned().unwrap_or_default();
        let lower = version.levels.get(level).map_or(Vec::new(), |lower| {
            lower.iter().filter(|run| run.overlaps(&low, &high)).cloned().collect()
        });
        Self { level, upper, lower, output: level + 1 }
    }

    /// What is to be merged next; `None`: all is well.
    pub(crate) fn pick(options: &Options, version: &Version, turns: &Turns) -> Option<Self> {
        if version.fresh.len() >= options.fresh_runs {
            return Some(Self::new(version, 0, version.fresh.to_vec()));
        }
        for (level, runs) in (1..).zip(&version.levels) {
            if level < LEVELS && bytes(runs) > level_bytes_max(options, level) {
                let run = Self::turn(runs, level, turns)?;
                return Some(Self::new(version, level, vec![run]));
            }
        }
        Self::pick_idle(version)
    }

    /// The run whose turn it is.
    fn turn(runs: &[Arc<Run>], level: usize, turns: &Turns) -> Option<Arc<Run>> {
        if let Some(run) = runs.iter().find(|run| is_mostly_gone(&run.info)) {
            return Some(Arc::clone(run));
        }
        let mut turns = crate::sync::locked(turns);
        let turn = turns.get_mut(level - 1)?;
        let next = runs.iter().find(|run| run.info.first > *turn).or(runs.first())?;
        turn.clone_from(&next.info.first);
        Some(Arc::clone(next))
    }

    /// What holds mostly tombstones, for when nothing else is to be done.
    fn pick_idle(version: &Version) -> Option<Self> {
        if version.fresh.iter().any(|run| is_mostly_gone(&run.info)) {
            return Some(Self::new(version, 0, version.fresh.to_vec()));
        }
        for (level, runs) in (1..).zip(&version.levels) {
            if let Some(run) = runs.iter().find(|run| is_mostly_gone(&run.info)) {
                let info = &run.info;
                let upper = vec![Arc::clone(run)];
                if level < LEVELS && version.is_below(level, &info.first, &info.end) {
                    return Some(Self::new(version, level, upper));
                }
                // Nothing below: written anew where it is, it loses all of them.
                return Some(Self { level, upper, lower: Vec::new(), output: level });
            }
        }
        None
    }

    /// A run, to be written anew where it is.
    pub(crate) fn rewrite(level: usize, run: &Arc<Run>) -> Self {
        Self { level, upper: vec![Arc::clone(run)], lower: Vec::new(), output: level }
    }

    /// Bytes of the upper runs.
    pub(crate) fn upper_bytes(&self) -> u64 {
        bytes(&self.upper)
    }

    /// A run that meets nothing where it goes need not be written anew.
    fn is_move(&self) -> bool {
        matches!(self.upper.as_slice(), [only] if !is_mostly_gone(&only.info))
            && self.lower.is_empty()
            && self.level > 0
            && self.output != self.level
    }
}

/// Merges what is to be merged next; false: all is well.
pub(crate) fn step(local: &Local) -> Result<bool, Error> {
    let version = local.commits.version();
    local.pace.set_hurry(is_behind(&local.options, &version));
    match Job::pick(&local.options, &version, &local.turns) {
        Some(job) => run(local, &version, &job).map(|()| true),
        None => Ok(false),
    }
}

/// Does a job over the version it was picked from.
pub(crate) fn run(local: &Local, version: &Version, job: &Job) -> Result<(), Error> {
    if job.is_move() {
        return move_down(local, job);
    }
    let mut merge = Merge::new(local, version, job)?;
    let merged = merge.run();
    let made = std::mem::take(&mut merge.made);
    match merged {
        Ok(()) => install(local, job, &made),
        Err(error) => {
            let unfinished = merge.writing.take();
            made.iter().for_each(|info| local.discard_run(info.number));
            unfinished.into_iter().for_each(|(number, _)| local.discard_run(number));
            Err(error)
        }
    }
}

fn move_down(local: &Local, job: &Job) -> Result<(), Error> {
    let mut meta = local.meta();
    let runs: Vec<_> = job.upper.iter().map(|run| (job.output, Arc::clone(run))).collect();
    let moved = |run: &Arc<Run>| Edit::RunMoved(run.info.number, job.output);
    let edits: Vec<Edit> = job.upper.iter().map(moved).collect();
    meta.commit(local.now_ms(), &edits)?;
    let numbers: Vec<u64> = job.upper.iter().map(|run| run.info.number).collect();
    let version = local.commits.version().change(runs, &numbers, Vec::new());
    local.install(version);
    Ok(())
}

fn install(local: &Local, job: &Job, made: &[RunInfo]) -> Result<(), Error> {
    let mut meta = local.meta();
    let gone: Vec<u64> = job.upper.iter().chain(&job.lower).map(|run| run.info.number).collect();
    let mut edits: Vec<Edit> =
        made.iter().map(|info| Edit::Run(job.output, info.clone())).collect();
    edits.extend(gone.iter().map(|number| Edit::RunGone(*number)));
    let files: Vec<FileId> = gone.iter().map(|number| (FileKind::Index, *number)).collect();
    let buried = local.gone(&files, &mut edits);
    meta.commit(local.now_ms(), &edits)?;
    let runs = made.iter().map(|info| (job.output, local.run(info.clone())));
    let version = local.commits.version().change(runs, &gone, buried);
    local.install(version);
    let figures = &local.figures;
    figures.compactions.fetch_add(1, Ordering::Relaxed);
    let written = made.iter().map(|info| info.len).sum();
    figures.compacted_bytes.fetch_add(written, Ordering::Relaxed);
    Ok(())
}

/// A merge in progress.
struct Merge<'a> {
    local: &'a Local,
    version: &'a Version,
    job: &'a Job,
    /// From the newest to the oldest.
    layers: Vec<Layer>,
    /// Ranges that go on to hide what is below.
    ranges: Ranges,
    sequence: u64,
    made: Vec<RunInfo>,
    writing: Option<(u64, Writer)>,
    /// Where the run being written begins: keys before it are in the run before.
    begins: Option<Vec<u8>>,
    paid: u64,
    stale: Vec<(Part, Vec<u8>)>,
    has_ranges: bool,
}

impl<'a> Merge<'a> {
    fn new(local: &'a Local, version: &'a Version, job: &'a Job) -> Result<Self, Error> {
        let mut layers = Vec::new();
        let mut level = |runs: &[Arc<Run>]| {
            let has_ranges = runs.iter().any(|run| run.info.ranges > 0);
            let cursor = LevelCursor::past_cache(Arc::new(runs.to_vec()));
            layers.push(Layer::Level(Box::new(cursor), has_ranges));
        };
        if job.level > 0 {
            level(&job.upper);
        }
        if !job.lower.is_empty() {
            level(&job.lower);
        }
        if job.level == 0 {
            for run in job.upper.iter().rev() {
                let has_ranges = run.info.ranges > 0;
                let cursor = RunCursor::past_cache(Arc::clone(run))?;
                layers.insert(0, Layer::Run(Box::new(cursor), has_ranges));
            }
        }
        let mut ranges = Ranges::default();
        for run in job.upper.iter().chain(&job.lower).filter(|run| run.info.ranges > 0) {
            let head = run.head()?;
            for range in head.ranges.iter() {
                if version.is_below(job.output, &range.low, &range.high) {
                    ranges.add(&range.low, &range.high);
                }
            }
        }
        let inputs = job.upper.iter().chain(&job.lower);
        let sequence = inputs.map(|run| run.info.sequence).max().unwrap_or(0);
        let has_ranges = job.upper.iter().chain(&job.lower).any(|run| run.info.ranges > 0);
        Ok(Self {
            local,
            version,
            job,
            layers,
            ranges,
            sequence,
            made: Vec::new(),
            writing: None,
            begins: None,
            paid: 0,
            stale: Vec::new(),
            has_ranges,
        })
    }

    fn run(&mut self) -> Result<(), Error> {
        for layer in &mut self.layers {
            layer.seek(&[])?;
        }
        let (mut key, mut standing) = (Vec::new(), Vec::new());
        while self.next_key(&mut key, &mut standing) {
            self.one(&key, &standing)?;
            for at in &standing {
                if let Some(layer) = self.layers.get_mut(*at) {
                    layer.next()?;
                }
            }
        }
        if self.writing.is_none() && !self.ranges.cut(self.begins.as_deref(), None).is_empty() {
            self.begin()?;
        }
        self.end(None)?;
        self.take_back()
    }

    /// The smallest key any layer stands on, and those that do.
    fn next_key(&self, key: &mut Vec<u8>, standing: &mut Vec<usize>) -> bool {
        standing.clear();
        let mut best: &[u8] = &[];
        for (at, layer) in self.layers.iter().enumerate().filter(|(_, layer)| layer.is_valid()) {
            if standing.is_empty() || layer.key() < best {
                standing.clear();
                best = layer.key();
                standing.push(at);
            } else if layer.key() == best {
                standing.push(at);
            }
        }
        key.clear();
        key.extend_from_slice(best);
        !standing.is_empty()
    }

    /// Deals with one key: the newest entry stays unless something hides it.
    fn one(&mut self, key: &[u8], standing: &[usize]) -> Result<(), Error> {
        let Some(&newest) = standing.first() else { return Ok(()) };
        let mut is_hidden = false;
        let newer = self.layers.iter().take(if self.has_ranges { newest } else { 0 });
        for layer in newer {
            is_hidden = is_hidden || layer.covering(key)?.is_some();
        }
        let stays = self.layers.get(newest).and_then(Layer::value).filter(|_| !is_hidden);
        if space::is_row(key) {
            let kept = stays.map_or(Ok(Vec::new()), parts_of)?;
            for at in standing {
                let value = self.layers.get(*at).and_then(Layer::value);
                let parts = value.map_or(Ok(Vec::new()), parts_of)?;
                let stale = parts.into_iter().filter(|part| !kept.contains(part));
                self.stale.extend(stale.map(|part| (part, key.to_vec())));
            }
        }
        let hides_more = !is_hidden
            && stays.is_none()
            && self.version.is_below(self.job.output, key, &space::after(key));
        if stays.is_some() || hides_more {
            let value = stays.map(<[u8]>::to_vec);
            self.put(key, value.as_deref())?;
        }
        if self.stale.len() >= USES_AT_ONCE {
            self.take_back()?;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Error> {
        let number = self.local.next_run();
        let block_bytes = self.local.options.block_bytes;
        let writer = Writer::create(&self.local.files, number, self.job.output, block_bytes);
        if writer.is_err() {
            self.local.discard_run(number);
        }
        self.writing = Some((number, writer?));
        self.paid = 0;
        Ok(())
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        let bytes_max = run_bytes_max(&self.local.options, self.job.output);
        if self.writing.as_ref().is_some_and(|(_, writer)| writer.bytes() >= bytes_max) {
            self.end(Some(key))?;
        }
        if self.writing.is_none() {
            self.begin()?;
        }
        let Some((_, writer)) = &mut self.writing else { return Ok(()) };
        writer.add(key, value)?;
        let bytes = writer.bytes();
        if bytes.saturating_sub(self.paid) >= PACE_BYTES {
            let spent = bytes - self.paid;
            self.paid = bytes;
            if !self.local.pace.spend(spent) {
                return Err(Error::Closed);
            }
        }
        Ok(())
    }

    /// Ends the run being written, before `next`.
    fn end(&mut self, next: Option<&[u8]>) -> Result<(), Error> {
        if let Some((number, writer)) = self.writing.take() {
            let ranges = self.ranges.cut(self.begins.as_deref(), next);
            match writer.finish(&ranges, self.sequence) {
                Ok(info) => self.made.push(info),
                Err(error) => {
                    self.local.discard_run(number);
                    return Err(error);
                }
            }
            let disk = &self.local.files.disk;
            let synced = disk.sync_dir();
            synced.map_err(|error| Error::writing("sync the folder", &disk.label(), error))?;
        }
        self.begins = next.map(<[u8]>::to_vec);
        Ok(())
    }

    /// Takes back uses of rows that are dropped.
    fn take_back(&mut self) -> Result<(), Error> {
        let stale = std::mem::take(&mut self.stale);
        if stale.is_empty() {
            return Ok(());
        }
        let bytes_max = self.local.options.transaction_bytes_max / 4;
        let mut stale = stale.iter().peekable();
        while stale.peek().is_some() {
            self.local.transact_within(&mut |tx| {
                while tx.bytes() < bytes_max
                    && let Some((part, row)) = stale.next()
                {
                    tx.drop_stale_use(part, row)?;
                }
                Ok(true)
            })?;
        }
        Ok(())
    }
}
