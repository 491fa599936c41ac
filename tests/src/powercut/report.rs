//! What was found, as a table: one row for each mode and sector size.
//!
//! Not here: finding it (`rig`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::{FLAWS, Flaw, Mode};

/// Counts of one mode with one size of sectors.
#[derive(Debug, Clone, Default)]
struct Row {
    cuts: u64,
    /// The power went before the database was open.
    while_opening: u64,
    unmounted: u64,
    /// Cuts after which something was wrong, in this way.
    flaws: BTreeMap<Flaw, u64>,
    lost: u64,
}

/// What processes did until the power went.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Work {
    /// Whether the database was open.
    pub(super) was_open: bool,
    /// Transactions that were begun, and lines that said that one must survive.
    pub(super) begun: u64,
    /// See [`Work::begun`].
    pub(super) acknowledged: u64,
    /// Row sets written to disk, merges, segments cleaned, as last told.
    pub(super) background: [u64; 3],
    /// Writes of the drive that were not synced when the power went.
    pub(super) unsynced: usize,
}

/// All counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    rows: BTreeMap<(Mode, usize), Row>,
    begun: u64,
    acknowledged: u64,
    background: [u64; 3],
    unsynced: u64,
    /// Cuts with such writes.
    unsynced_cuts: u64,
}

impl Report {
    fn row(&mut self, kind: (Mode, usize)) -> &mut Row {
        self.rows.entry(kind).or_default()
    }

    /// The power went.
    pub(super) fn cut(&mut self, kind: (Mode, usize), work: &Work) {
        let row = self.row(kind);
        row.cuts += 1;
        row.while_opening += u64::from(!work.was_open);
        self.begun += work.begun;
        self.acknowledged += work.acknowledged;
        self.unsynced += work.unsynced as u64;
        self.unsynced_cuts += u64::from(work.unsynced > 0);
        for (sum, more) in self.background.iter_mut().zip(work.background) {
            *sum += more;
        }
    }

    /// The file system itself could not be mounted again.
    pub(super) fn unmounted(&mut self, kind: (Mode, usize)) {
        self.row(kind).unmounted += 1;
    }

    /// Something is wrong with the database after a cut.
    pub(super) fn wrong(&mut self, kind: (Mode, usize), flaws: &BTreeSet<Flaw>, lost: u64) {
        let row = self.row(kind);
        row.lost += lost;
        for flaw in flaws {
            *row.flaws.entry(*flaw).or_default() += 1;
        }
    }

    /// Cuts so far.
    pub(super) fn cuts(&self) -> u64 {
        self.rows.values().map(|row| row.cuts).sum()
    }

    /// Cuts of one kind so far.
    pub(super) fn cuts_of(&self, kind: (Mode, usize)) -> u64 {
        self.rows.get(&kind).map_or(0, |row| row.cuts)
    }

    /// How often each flaw was found.
    pub(super) fn flaws(&self) -> u64 {
        self.rows.values().flat_map(|row| row.flaws.values()).sum()
    }

    /// The line of figures below the table.
    pub(super) fn figure(&self, took: Duration) -> String {
        let [flushes, merges, cleaned] = self.background;
        format!(
            "{} power cuts in {:.0} s, {} of them with unsynced writes, {} in all; {} transactions \
             begun, {} told to be safe; at least {flushes} flushes, {merges} merges, {cleaned} \
             segments cleaned",
            self.cuts(),
            took.as_secs_f64(),
            self.unsynced_cuts,
            self.unsynced,
            self.begun,
            self.acknowledged,
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7}{:>7}{:>6}{:>9}{:>9}", "mode", "sector", "cuts", "opening", "no mount")?;
        for (name, _) in FLAWS {
            write!(f, "{name:>9}")?;
        }
        writeln!(f, "{:>14}", "lost commits")?;
        for ((mode, sector), row) in &self.rows {
            let (early, unmounted) = (row.while_opening, row.unmounted);
            write!(f, "{mode:7}{sector:>7}{:>6}{early:>9}{unmounted:>9}", row.cuts)?;
            for (_, flaw) in FLAWS {
                write!(f, "{:>9}", row.flaws.get(&flaw).copied().unwrap_or(0))?;
            }
            writeln!(f, "{:>14}", row.lost)?;
        }
        Ok(())
    }
}
