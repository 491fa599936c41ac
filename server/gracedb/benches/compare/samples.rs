//! Everything that was measured, one line of JSON for each job, kept for another look.
//!
//! Invariants: a median is over the samples that were not noisy, or over all where every one was;
//! what failed is kept with its reason and counts nowhere.
//! Not here: what the figures are compared with (`goals`).

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::engine::Kind;
use crate::job::{Figures, Job, Set};
use crate::machine::Machine;
use crate::noise::NOISY_PERCENT;

/// What holds for all samples of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) machine: Machine,
    pub(crate) set: Set,
    pub(crate) seconds: f64,
    pub(crate) repetitions: usize,
    pub(crate) cache_bytes: usize,
    pub(crate) engines: Vec<Kind>,
    /// Crates of the peers, with their versions.
    pub(crate) versions: Vec<(String, String)>,
}

/// What came of one job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) engine: Kind,
    pub(crate) job: Job,
    pub(crate) repetition: usize,
    pub(crate) figures: Figures,
    pub(crate) foreign_percent: f64,
    pub(crate) stolen_percent: f64,
    /// Why there are no figures.
    pub(crate) failed: Option<String>,
}

impl Sample {
    pub(crate) fn is_noisy(&self) -> bool {
        self.foreign_percent >= NOISY_PERCENT
    }
}

/// A figure over its repetitions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) count: usize,
    /// Others used the processors while every one of them was taken.
    pub(crate) noisy: bool,
}

impl Figure {
    fn of(mut values: Vec<f64>, noisy: bool) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let (half, count) = (values.len() / 2, values.len());
        let upper = *values.get(half)?;
        let lower = if count.is_multiple_of(2) { *values.get(half - 1)? } else { upper };
        Some(Self { median: f64::midpoint(lower, upper), least, most, count, noisy })
    }
}

/// The samples of a run.
#[derive(Debug, Clone)]
pub(crate) struct Samples {
    pub(crate) about: About,
    pub(crate) all: Vec<Sample>,
}

impl Samples {
    /// One figure of an engine's job.
    pub(crate) fn figure(&self, engine: Kind, job: Job, name: &str) -> Option<Figure> {
        let of_job = |sample: &&Sample| sample.engine == engine && sample.job == job;
        let values = |noisy: bool| -> Vec<f64> {
            let kept = self.all.iter().filter(of_job).filter(|s| noisy || !s.is_noisy());
            kept.filter_map(|sample| sample.figures.get(name).copied()).collect()
        };
        Figure::of(values(false), false).or_else(|| Figure::of(values(true), true))
    }

    /// Those that were taken while others used the processors.
    pub(crate) fn noisy_count(&self) -> usize {
        self.all.iter().filter(|sample| sample.is_noisy()).count()
    }
}

/// Where the samples go while they are taken.
pub(crate) struct Writer {
    file: File,
}

impl Writer {
    pub(crate) fn create(path: &Path, about: &About) -> Outcome<Self> {
        let mut file = File::create(path)?;
        writeln!(file, "{}", serde_json::to_string(about)?)?;
        Ok(Self { file })
    }

    pub(crate) fn write(&mut self, sample: &Sample) -> Outcome<()> {
        Ok(writeln!(self.file, "{}", serde_json::to_string(sample)?)?)
    }
}

/// The samples of an earlier run.
pub(crate) fn read(path: &Path) -> Outcome<Samples> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read samples from {}: {error}", path.display()))?;
    let mut lines = text.lines();
    let about = serde_json::from_str(lines.next().unwrap_or_default())
        .map_err(|error| format!("{} does not begin as samples do: {error}", path.display()))?;
    let all: Result<Vec<Sample>, _> = lines.map(serde_json::from_str).collect();
    Ok(Samples { about, all: all? })
}
