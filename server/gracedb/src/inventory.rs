//! What a database takes on disk, and what of that counts.
//!
//! ```text
//!   files by what they are ─▶ rows, journal, kept for restore points, spare, meta
//!   runs level by level, segments with what rows still point to
//!   the window of moments that it can be brought back to
//! ```
//! Invariant: nothing is changed; every file of the folder that is the database's is counted once.
//! Not here: counters of an open database (`db::Stats`), whether any of it is sound (`verify`).

use std::collections::BTreeMap;
use std::io;

use crate::closed::Closed;
use crate::copy::{Moment, NOTE};
use crate::db::Db;
use crate::error::Error;
use crate::format::{self, DRAFT, FileKind};
use crate::frame::Frame;
use crate::local::live_bytes;
use crate::options::Options;
use crate::seal::LockedBy;
use crate::version::LEVELS;

/// What a file is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Runs of sorted rows.
    Rows,
    /// Segments of the journal: transactions, and large values where they were first written.
    Journal,
    /// Runs and segments of the past, for moments that it can be brought back to.
    Kept,
    /// Segments written ahead or to be used again, and files that are about to be removed.
    Spare,
    /// The meta file, and the copy of its keys.
    Meta,
}

impl Purpose {
    /// All of them, in the order of [`Inventory::files`].
    pub const ALL: [Self; 5] = [Self::Rows, Self::Journal, Self::Kept, Self::Spare, Self::Meta];
}

/// Files of one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilesOf {
    /// What they are there for.
    pub purpose: Purpose,
    /// How many.
    pub files: u64,
    /// Their bytes, as the file system counts a file's length.
    pub bytes: u64,
    /// Those that count: of rows, all but tombstones (a value that a newer one hides counts until
    /// they are merged); of the journal, large values that rows point to. `None`: not told apart.
    pub live_bytes: Option<u64>,
}

/// Runs of one level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LevelUse {
    /// How many.
    pub runs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Values and tombstones in them.
    pub entries: u64,
    /// The tombstones among those.
    pub tombstones: u64,
}

/// A segment of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentUse {
    /// Its number, which is its file's name.
    pub number: u64,
    /// Where its records end.
    pub bytes: u64,
    /// Bytes of large values in it that rows point to.
    pub live_bytes: u64,
}

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// Version of the files' format.
    pub format: u32,
    /// The folder is a backup.
    pub is_backup: bool,
    /// What opens it.
    pub locked_by: LockedBy,
    /// Data keys that files are encrypted with.
    pub data_keys: u64,
    /// Number of the newest transaction.
    pub sequence: u64,
    /// Runs and segments that rows need were missing or could not be measured: how many.
    pub missing: u64,
    /// Files by purpose, in the order of [`Purpose::ALL`].
    pub files: Vec<FilesOf>,
    /// Levels of runs, from level 0 on.
    pub levels: Vec<LevelUse>,
    /// Segments that rows may point into, by number; the last one is being written.
    pub segments: Vec<SegmentUse>,
    /// The first transaction that it can be brought back to; the last one is the newest.
    pub restorable: u64,
    /// The time of the oldest restore point, in milliseconds since 1970 UTC.
    pub restorable_ms: u64,
    /// Restore points.
    pub points: u64,
}

impl Inventory {
    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|files| files.bytes).sum()
    }
}

/// Looks at an open database.
pub(crate) fn open(db: &Db) -> Result<Inventory, Error> {
    let local = db.local()?;
    take(&local.frame())
}

/// Looks at a database that is not open, or at a backup.
pub fn closed(options: &Options) -> Result<Inventory, Error> {
    let closed = Closed::open(options)?;
    take(&closed.frame(Moment::Newest)?)
}

fn take(frame: &Frame) -> Result<Inventory, Error> {
    let (files, manifest) = (&frame.reading.files, &frame.manifest);
    let mut levels = vec![LevelUse::default(); 1 + LEVELS];
    let (mut purposes, mut rows_live) = (BTreeMap::new(), 0);
    for (level, run) in frame.view.state.base.version.runs() {
        let info = &run.info;
        if let Some(level) = levels.get_mut(level) {
            level.runs += 1;
            level.bytes += info.len;
            level.entries += info.entries;
            level.tombstones += info.tombstones;
        }
        let values = info.entries - info.tombstones.min(info.entries);
        rows_live += share(info.len, values, info.entries);
        purposes.insert((FileKind::Index, info.number), Purpose::Rows);
    }
    let live: BTreeMap<u64, u64> = live_bytes(&frame.view)?.into_iter().collect();
    let segments: Vec<SegmentUse> = frame
        .segments
        .iter()
        .map(|(&number, &bytes)| {
            let live_bytes = live.get(&number).copied().unwrap_or(0);
            SegmentUse { number, bytes, live_bytes }
        })
        .collect();
    for number in frame.segments.keys() {
        purposes.insert((FileKind::Journal, *number), Purpose::Journal);
    }
    let live_of = |purpose| match purpose {
        Purpose::Rows => Some(rows_live),
        Purpose::Journal => Some(segments.iter().map(|segment| segment.live_bytes).sum()),
        _ => None,
    };
    let needed = purposes.len() as u64;
    let kept = manifest.runs.keys().map(|number| (FileKind::Index, *number));
    let kept = kept.chain(manifest.segments.keys().map(|number| (FileKind::Journal, *number)));
    for file in kept {
        purposes.entry(file).or_insert(Purpose::Kept);
    }
    let names = files.disk.list();
    let names = names.map_err(|error| Error::io("list", &files.disk.label(), error))?;
    let mut sums: BTreeMap<Purpose, (u64, u64)> = BTreeMap::new();
    let mut found = 0;
    for name in &names {
        let Some(purpose) = purpose(name, &purposes) else { continue };
        // A file may go while it is looked for.
        let Some(bytes) = measure(files.disk.as_ref(), name)? else { continue };
        found += u64::from(matches!(purpose, Purpose::Rows | Purpose::Journal));
        let sum = sums.entry(purpose).or_default();
        *sum = (sum.0 + 1, sum.1 + bytes);
    }
    let files_of = Purpose::ALL.map(|purpose| {
        let (files, bytes) = sums.get(&purpose).copied().unwrap_or_default();
        FilesOf { purpose, files, bytes, live_bytes: live_of(purpose) }
    });
    let keys = files.keys();
    let oldest = manifest.points.first().copied().unwrap_or_default();
    Ok(Inventory {
        format: format::VERSION,
        is_backup: names.iter().any(|name| name == NOTE),
        locked_by: keys.locked_by(),
        data_keys: keys.numbers().len() as u64,
        sequence: frame.view.state.sequence,
        missing: needed.saturating_sub(found),
        files: files_of.to_vec(),
        levels,
        segments,
        restorable: manifest.restorable,
        restorable_ms: oldest.when.time_ms,
        points: manifest.points.len() as u64,
    })
}

/// `part` of `whole`, of so many bytes.
fn share(bytes: u64, part: u64, whole: u64) -> u64 {
    let share = u128::from(bytes) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(bytes)
}

/// What a file is there for; `None`: it is none of the database's.
fn purpose(name: &str, purposes: &BTreeMap<(FileKind, u64), Purpose>) -> Option<Purpose> {
    if let Some(name) = name.strip_suffix(DRAFT) {
        return FileKind::parse(name).map(|_| Purpose::Spare);
    }
    let (kind, number) = FileKind::parse(name)?;
    Some(match kind {
        FileKind::Meta | FileKind::Keys => Purpose::Meta,
        _ => purposes.get(&(kind, number)).copied().unwrap_or(Purpose::Spare),
    })
}

fn measure(disk: &dyn crate::disk::Disk, name: &str) -> Result<Option<u64>, Error> {
    match disk.open(name).and_then(|file| file.len()) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("measure", name, error)),
    }
}
