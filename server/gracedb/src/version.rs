//! Which runs there are, and what becomes of files that newer versions do without.
//!
//! ```text
//!   level 0   fresh runs, the newest first, over each other
//!   level 1…  runs side by side, each level some times larger than the one above
//! ```
//! Invariants: a version never changes; a file is given to the yard only when nobody holds a
//! version, or an older one, that needs it.
//! Not here: the file that remembers all this (`meta`), removing files (`clean`).

use std::mem;
use std::sync::{Arc, OnceLock};

use crate::error::Error;
use crate::format::FileKind;
use crate::index::cursor::{LevelCursor, RunCursor};
use crate::index::filter;
use crate::index::merge::Layer;
use crate::index::run::{BlockValue, Run};
use crate::mem::Found;
use crate::sync::{Mutex, locked};

/// Levels below level 0. With levels growing eightfold from 32 MiB they hold terabytes of rows.
pub(crate) const LEVELS: usize = 6;

/// A file of the database.
pub(crate) type FileId = (FileKind, u64);

/// Files that nobody needs any more, waiting for the cleaner.
#[derive(Default)]
pub(crate) struct Yard {
    files: Mutex<Vec<FileId>>,
}

impl Yard {
    pub(crate) fn take(&self) -> Vec<FileId> {
        mem::take(&mut *locked(&self.files))
    }

    pub(crate) fn put(&self, files: Vec<FileId>) {
        locked(&self.files).extend(files);
    }
}

/// Files that versions up to some point need and later ones do not. Holds all later graves, so it
/// is gone only after every older one is.
pub(crate) struct Grave {
    files: Mutex<Vec<FileId>>,
    next: OnceLock<Arc<Grave>>,
    yard: Arc<Yard>,
}

impl Grave {
    pub(crate) fn new(yard: Arc<Yard>) -> Arc<Self> {
        Arc::new(Self { files: Mutex::new(Vec::new()), next: OnceLock::new(), yard })
    }

    /// Buries files; later versions hold the grave that is returned.
    pub(crate) fn bury(self: &Arc<Self>, files: Vec<FileId>) -> Arc<Self> {
        if files.is_empty() {
            return Arc::clone(self);
        }
        locked(&self.files).extend(files);
        Arc::clone(self.next.get_or_init(|| Self::new(Arc::clone(&self.yard))))
    }
}

impl Drop for Grave {
    fn drop(&mut self) {
        self.yard.put(mem::take(&mut *locked(&self.files)));
        // A long row of graves falls one after the other, not one within the other.
        let mut next = self.next.take();
        while let Some(mut grave) = next.and_then(Arc::into_inner) {
            next = grave.next.take();
        }
    }
}

/// Runs side by side, sorted by their keys.
pub(crate) type Level = Arc<Vec<Arc<Run>>>;

/// All runs as of one moment.
#[derive(Clone)]
pub(crate) struct Version {
    /// Level 0, the newest first.
    pub(crate) fresh: Level,
    /// Level 1 and below.
    pub(crate) levels: [Level; LEVELS],
    pub(crate) grave: Arc<Grave>,
    /// Grows with each change.
    pub(crate) number: u64,
}

impl Version {
    pub(crate) fn new(yard: Arc<Yard>) -> Self {
        let (fresh, levels) = (Level::default(), Default::default());
        Self { fresh, levels, grave: Grave::new(yard), number: 0 }
    }

    /// The version after some runs came and others went. Runs for level 0 come oldest first.
    pub(crate) fn change(
        &self,
        add: impl IntoIterator<Item = (usize, Arc<Run>)>,
        remove: &[u64],
        buried: Vec<FileId>,
    ) -> Self {
        let mut fresh = self.fresh.to_vec();
        let mut levels = self.levels.clone().map(|level| level.to_vec());
        if !remove.is_empty() {
            let stays = |run: &Arc<Run>| !remove.contains(&run.info.number);
            fresh.retain(stays);
            levels.iter_mut().for_each(|level| level.retain(stays));
        }
        for (level, run) in add {
            match level.checked_sub(1).and_then(|at| levels.get_mut(at)) {
                None => fresh.insert(0, run),
                Some(level) => {
                    let at = level.partition_point(|other| other.info.first < run.info.first);
                    level.insert(at, run);
                }
            }
        }
        Self {
            fresh: Arc::new(fresh),
            levels: levels.map(Arc::new),
            grave: self.grave.bury(buried),
            number: self.number + 1,
        }
    }

    /// Every run with its level.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (usize, &Arc<Run>)> {
        let below = self.levels.iter().enumerate();
        let below = below.flat_map(|(at, level)| level.iter().map(move |run| (at + 1, run)));
        self.fresh.iter().map(|run| (0, run)).chain(below)
    }

    /// The run of a level that may hold `key`.
    pub(crate) fn run_of<'a>(level: &'a [Arc<Run>], key: &[u8]) -> Option<&'a Arc<Run>> {
        let at = level.partition_point(|run| *run.info.end <= *key);
        level.get(at).filter(|run| run.reaches(key))
    }

    /// Whether runs below `level` may hold any key from `low` up to, not including, `high`.
    pub(crate) fn is_below(&self, level: usize, low: &[u8], high: &[u8]) -> bool {
        self.levels.iter().skip(level).any(|level| {
            let at = level.partition_point(|run| *run.info.end <= *low);
            level.get(at).is_some_and(|run| run.overlaps(low, high))
        })
    }

    /// What the runs say of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Found<BlockValue>, Error> {
        let hash = filter::hash(key);
        for run in self.fresh.iter().filter(|run| run.reaches(key)) {
            match run.get(key, hash)? {
                Found::NotHere => {}
                found => return Ok(found),
            }
        }
        for level in &self.levels {
            if let Some(run) = Self::run_of(level, key) {
                match run.get(key, hash)? {
                    Found::NotHere => {}
                    found => return Ok(found),
                }
            }
        }
        Ok(Found::NotHere)
    }

    /// The layers that may hold keys from `low` up to, not including, `high`, the newest first.
    pub(crate) fn layers(
        &self,
        low: &[u8],
        high: Option<&[u8]>,
        layers: &mut Vec<Layer>,
    ) -> Result<(), Error> {
        let overlaps = |run: &Arc<Run>| {
            *low < *run.info.end && high.is_none_or(|high| *run.info.first < *high)
        };
        let has_ranges = |run: &Arc<Run>| -> Result<bool, Error> {
            if run.info.ranges == 0 || !overlaps(run) {
                return Ok(false);
            }
            Ok(run.head()?.ranges.touches(low, high))
        };
        for run in self.fresh.iter().filter(|run| overlaps(run)) {
            let cursor = RunCursor::new(Arc::clone(run))?;
            layers.push(Layer::Run(Box::new(cursor), has_ranges(run)?));
        }
        for level in self.levels.iter().filter(|level| level.iter().any(overlaps)) {
            let mut with_ranges = false;
            for run in level.iter() {
                with_ranges = with_ranges || has_ranges(run)?;
            }
            layers.push(Layer::Level(Box::new(LevelCursor::new(Arc::clone(level))), with_ranges));
        }
        Ok(())
    }
}
