//! What GraceDb is to reach, and whether it does.
//!
//! A goal is a limit, or a share of what another engine reached in the same run. Where an engine
//! was measured with and without a group commit in front, the better figure is its figure.
//! Not here: how it looks (`table`, `page`).

use std::cmp::Ordering;

use crate::engine::Kind;
use crate::job::{Job, What};
use crate::plan::{CHURN_WRITERS, WRITERS, ways};
use crate::samples::{Figure, Samples};

/// MiB that GraceDb may take beside its cache.
const MEMORY_MIB_MAX: f64 = 64.0;
/// Bytes of the cache that it takes by itself (`Options::cache_bytes`), in MiB.
const OWN_CACHE_MIB: f64 = 32.0;

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// Digits after the point.
    pub(crate) digits: usize,
    /// Whether more is better.
    more: bool,
    figure: &'static str,
    job: fn(Kind) -> Vec<Job>,
    goals: &'static [Goal],
}

/// What is compared with.
#[derive(Debug, Clone, Copy)]
enum Goal {
    /// At least so many times the figure of the best other database.
    BestPeer(f64),
    /// The same, LMDB left out.
    BestOther(f64),
    /// At least so many times the figure of LMDB.
    Lmdb(f64),
    /// At least so many times the figure of the better bare log.
    Log(f64),
    /// Not more than this.
    Most(f64),
    /// Not more than any other database.
    Least,
}

fn commits(kind: Kind, what: What, writers: usize) -> Vec<Job> {
    let job = |grouped: &bool| Job::Commits { what, writers, grouped: *grouped };
    ways(kind, writers).iter().map(job).collect()
}

fn row_commits<const N: usize>(kind: Kind) -> Vec<Job> {
    commits(kind, What::Row, N)
}

fn letter_commits<const N: usize>(kind: Kind) -> Vec<Job> {
    commits(kind, What::Letter, N)
}

fn reads(_: Kind) -> Vec<Job> {
    vec![Job::Reads]
}

const fn commit_row(name: &'static str, job: fn(Kind) -> Vec<Job>, goals: &'static [Goal]) -> Row {
    Row { name, unit: "commits/s", digits: 0, more: true, figure: "commits_s", job, goals }
}

const fn read_row(name: &'static str, figure: &'static str, goals: &'static [Goal]) -> Row {
    Row { name, unit: "per second", digits: 0, more: true, figure, job: reads, goals }
}

const ONE: usize = WRITERS[0];
const SOME: usize = WRITERS[1];
const MANY: usize = WRITERS[2];

/// The rows, as they stand in the table.
pub(crate) const ROWS: &[Row] = &[
    commit_row(
        "row of 200 bytes, 1 writer",
        row_commits::<ONE>,
        &[Goal::BestPeer(1.2), Goal::Log(0.9)],
    ),
    commit_row(
        "row of 200 bytes, 8 writers",
        row_commits::<SOME>,
        &[Goal::BestPeer(1.1), Goal::Log(0.9)],
    ),
    commit_row(
        "row of 200 bytes, 64 writers",
        row_commits::<MANY>,
        &[Goal::BestPeer(1.0), Goal::Log(0.9)],
    ),
    commit_row("letter of 16 KiB, 1 writer", letter_commits::<ONE>, &[Goal::BestPeer(1.5)]),
    commit_row("letter of 16 KiB, 8 writers", letter_commits::<SOME>, &[Goal::BestPeer(1.5)]),
    commit_row("letter of 16 KiB, 64 writers", letter_commits::<MANY>, &[Goal::BestPeer(1.5)]),
    Row {
        name: "bytes on the drive per byte of mail",
        unit: "bytes",
        digits: 2,
        more: false,
        figure: "device_bytes_per_byte",
        job: |kind| vec![Job::Churn { writers: CHURN_WRITERS, grouped: kind.is_peer() }],
        goals: &[Goal::Most(1.2), Goal::Least],
    },
    read_row("row of 200 bytes by key", "rows_s", &[Goal::Lmdb(0.5), Goal::BestOther(1.3)]),
    read_row("body of 16 KiB", "bodies_s", &[Goal::Lmdb(0.6), Goal::BestOther(1.5)]),
    read_row("rows in order", "scanned_s", &[Goal::Lmdb(0.6), Goal::BestOther(1.0)]),
    Row {
        name: "open after a kill, warm",
        unit: "ms",
        digits: 1,
        more: false,
        figure: "ready_ms",
        job: |_| vec![Job::Reopen { cold: false }],
        goals: &[Goal::Most(50.0)],
    },
    Row {
        name: "open after a kill, cold",
        unit: "ms",
        digits: 1,
        more: false,
        figure: "ready_ms",
        job: |_| vec![Job::Reopen { cold: true }],
        goals: &[Goal::Most(150.0)],
    },
    Row {
        name: "memory under all of it",
        unit: "MiB",
        digits: 0,
        more: false,
        figure: "peak_kib",
        job: |_| vec![Job::Footprint],
        goals: &[Goal::Most(MEMORY_MIB_MAX + OWN_CACHE_MIB)],
    },
];

/// One goal, and how GraceDb stands to it.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    /// What was asked for, in words.
    pub(crate) goal: String,
    /// What was reached, in words.
    pub(crate) reached: String,
    pub(crate) met: bool,
}

/// A row with its figures.
pub(crate) struct Judged {
    pub(crate) row: Row,
    /// The figure of each engine that has one, with whether a group commit stood in front.
    pub(crate) figures: Vec<(Kind, Figure, bool)>,
    pub(crate) verdicts: Vec<Verdict>,
}

impl Row {
    /// A figure in the row's unit.
    fn scaled(&self, figure: Figure) -> Figure {
        let by = if self.figure == "peak_kib" { 1.0 / 1024.0 } else { 1.0 };
        let Figure { median, least, most, .. } = figure;
        Figure { median: median * by, least: least * by, most: most * by, ..figure }
    }

    fn better(&self, one: f64, other: f64) -> Ordering {
        if self.more { one.total_cmp(&other) } else { other.total_cmp(&one) }
    }

    /// The engine's figure, the better one if there are several.
    fn figure(&self, samples: &Samples, kind: Kind) -> Option<(Figure, bool)> {
        let found = (self.job)(kind).into_iter().filter_map(|job| {
            let grouped = matches!(
                job,
                Job::Commits { grouped: true, .. } | Job::Churn { grouped: true, .. }
            );
            let figure = samples.figure(kind, job, self.figure)?;
            Some((self.scaled(figure), grouped))
        });
        found.max_by(|one, other| self.better(one.0.median, other.0.median))
    }
}

impl Judged {
    /// The figure of an engine.
    pub(crate) fn of(&self, kind: Kind) -> Option<Figure> {
        let found = self.figures.iter().find(|(other, _, _)| *other == kind);
        found.map(|(_, figure, _)| *figure)
    }

    /// The best engine that `among` holds of.
    fn best(&self, among: impl Fn(Kind) -> bool) -> Option<(Kind, f64)> {
        let figures = self.figures.iter().filter(|(kind, _, _)| among(*kind));
        let best = figures.max_by(|one, other| self.row.better(one.1.median, other.1.median));
        best.map(|(kind, figure, _)| (*kind, figure.median))
    }

    fn at_least(&self, ours: f64, share: f64, than: Option<(Kind, f64)>) -> Option<Verdict> {
        let (kind, theirs) = than?;
        let ratio = ours / theirs;
        Some(Verdict {
            goal: format!("≥ {share} × {}", kind.name()),
            reached: format!("{ratio:.2} × {}", kind.name()),
            met: ratio >= share,
        })
    }

    fn at_most(&self, ours: f64, most: f64) -> Verdict {
        let (digits, unit) = (self.row.digits, self.row.unit);
        Verdict {
            goal: format!("≤ {most} {unit}"),
            reached: format!("{ours:.digits$} {unit}"),
            met: ours <= most,
        }
    }

    fn judge(&self, goal: Goal) -> Option<Verdict> {
        let ours = self.of(Kind::Grace)?.median;
        match goal {
            Goal::BestPeer(share) => self.at_least(ours, share, self.best(Kind::is_peer)),
            Goal::BestOther(share) => {
                let others = |kind: Kind| kind.is_peer() && kind != Kind::Lmdb;
                self.at_least(ours, share, self.best(others))
            }
            Goal::Lmdb(share) => self.at_least(ours, share, self.best(|kind| kind == Kind::Lmdb)),
            Goal::Log(share) => self.at_least(ours, share, self.best(Kind::is_log)),
            Goal::Most(most) => Some(self.at_most(ours, most)),
            Goal::Least => {
                let (kind, theirs) = self.best(Kind::is_peer)?;
                let digits = self.row.digits;
                Some(Verdict {
                    goal: "the least of all".to_owned(),
                    reached: format!("{ours:.digits$}; {} {theirs:.digits$}", kind.name()),
                    met: ours <= theirs,
                })
            }
        }
    }
}

/// Every row that something was measured for.
pub(crate) fn judge(samples: &Samples) -> Vec<Judged> {
    let rows = ROWS.iter().map(|row| {
        let figure = |kind| row.figure(samples, kind).map(|(figure, by)| (kind, figure, by));
        let figures = Kind::ALL.into_iter().filter_map(figure).collect();
        let mut judged = Judged { row: *row, figures, verdicts: Vec::new() };
        judged.verdicts = row.goals.iter().filter_map(|goal| judged.judge(*goal)).collect();
        judged
    });
    rows.filter(|judged| !judged.figures.is_empty()).collect()
}
