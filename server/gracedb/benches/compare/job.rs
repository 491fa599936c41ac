//! What a process of the comparison is told to do, and what it answers.
//!
//! An order goes out as one argument, the figures come back as one line. Each job has a process of
//! its own, so that memory and an engine's caches are its own too.
//! Not here: which jobs, when (`plan`); what they do (`load`, `commits`, …).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::engine::{self, Engine, Kind, Opening};
use crate::log::Io;
use crate::{churn, commits, footprint, load, raw, reads, reopen};

/// The argument before an order.
pub(crate) const WORD: &str = "carry-out";

/// Figures by name, each with its unit in the name.
pub(crate) type Figures = BTreeMap<String, f64>;

/// How much data there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Set {
    /// Small rows that are loaded.
    pub(crate) rows: u64,
    /// Bodies that are loaded.
    pub(crate) bodies: u64,
    /// Letters that come in while flags change.
    pub(crate) letters: u64,
}

/// What is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// One small row.
    Row,
    /// One letter: a body and four rows.
    Letter,
}

/// A job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Job {
    /// Brings the set in.
    Load,
    /// Commits for some seconds. `grouped`: by a group commit in front of the engine.
    Commits { what: What, writers: usize, grouped: bool },
    /// Takes letters in and changes flags, into an empty database.
    Churn { writers: usize, grouped: bool },
    /// Reads rows and bodies, and scans.
    Reads,
    /// Takes letters in until it is killed.
    Fill,
    /// Opens what was killed, and looks whether all is there.
    Reopen { cold: bool },
    /// Some of everything, with the engine's own settings.
    Footprint,
    /// Synced appends without an engine.
    Raw { io: Io, bytes: usize, streams: usize },
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grouped = |grouped: bool| if grouped { ", grouped" } else { "" };
        match *self {
            Self::Load => f.write_str("load"),
            Self::Commits { what, writers, grouped: by } => {
                let what = if what == What::Row { "rows" } else { "letters" };
                write!(f, "{what} by {writers}{}", grouped(by))
            }
            Self::Churn { writers, grouped: by } => write!(f, "churn by {writers}{}", grouped(by)),
            Self::Reads => f.write_str("reads"),
            Self::Fill => f.write_str("fill"),
            Self::Reopen { cold } => write!(f, "reopen {}", if cold { "cold" } else { "warm" }),
            Self::Footprint => f.write_str("footprint"),
            Self::Raw { io, bytes, streams } => write!(f, "{bytes} bytes by {streams}, {io}"),
        }
    }
}

/// A job with all it needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) engine: Kind,
    pub(crate) job: Job,
    /// The engine's folder.
    pub(crate) dir: PathBuf,
    /// Bytes of the engine's cache; `None`: what it takes by itself.
    pub(crate) cache_bytes: Option<usize>,
    /// How long each row of the table is measured.
    pub(crate) seconds: f64,
    pub(crate) set: Set,
    /// Number of the first new row or letter.
    pub(crate) first: u64,
    /// Fill: letters' bytes after which it may be killed.
    pub(crate) unflushed_bytes: u64,
}

impl Order {
    /// Opens the order's engine for so many writers.
    pub(crate) fn open(&self, writers: usize, room_bytes: u64) -> Outcome<Box<dyn Engine>> {
        let (dir, cache_bytes) = (self.dir.as_path(), self.cache_bytes);
        engine::open(self.engine, &Opening { dir, cache_bytes, writers, room_bytes })
    }

    /// Does the job.
    pub(crate) fn carry_out(&self) -> Outcome<Figures> {
        match self.job {
            Job::Load => load::run(self),
            Job::Commits { what, writers, grouped } => commits::run(self, what, writers, grouped),
            Job::Churn { writers, grouped } => churn::run(self, writers, grouped),
            Job::Reads => reads::run(self),
            Job::Fill => reopen::fill(self),
            Job::Reopen { .. } => reopen::run(self),
            Job::Footprint => footprint::run(self),
            Job::Raw { io, bytes, streams } => raw::run(self, io, bytes, streams),
        }
    }
}

/// Figures of pairs of name and value.
pub(crate) fn figures<const N: usize>(pairs: [(&str, f64); N]) -> Figures {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A count as a figure: exact up to 2^53, more than anything here.
#[expect(clippy::cast_precision_loss, reason = "counts of one run are far below 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}
