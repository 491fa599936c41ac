//! What a run is told by its arguments.
//!
//! Invariant: what is not understood is an error that says what is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Outcome;
use crate::engine::Kind;
use crate::job::Set;

/// What the arguments ask for.
pub(crate) enum Command {
    Help,
    /// Measures, then reports.
    Measure(Settings),
    /// Reports what an earlier run measured.
    Report(Settings),
}

/// How to explain itself.
pub(crate) const HELP: &str = "\
Measures GraceDb beside other engines and says which of its goals are met.

cargo bench -p gracedb --features peers --bench compare -- [OPTION]…

  --quick            a small set, one repetition, one second a row; writes no page
  --engines A,B,…    gracedb, sqlite, redb, fjall, lmdb, rocksdb, log, log-direct; all
  --only A,B,…       raw, rows, reads, letters, memory, churn, reopen; all
  --repetitions N    3
  --seconds S        how long each row of the table is measured: 3
  --rows N           small rows that are read: 2000000
  --bodies N         bodies that are read: 100000
  --letters N        letters that come in while flags change: 125000
  --cache-mib N      cache of each engine that has one of its own: 128
  --quiet-wait-s S   how long to wait in all for others to leave the machine alone: 1800
  --dir FOLDER       where the data goes; GRACE_BENCH_DIR, or else the build folder
  --samples FILE     where the samples go; beside the data
  --page FILE        the page to write; docs/benchmarks.md after a whole run
  --report           takes no samples, but reports those of --samples

The data takes some 30 GB and goes when the run ends. The cold reopen empties the page cache of the
machine, which only root can do.";

/// A part of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Raw,
    Rows,
    Reads,
    Letters,
    Memory,
    Churn,
    Reopen,
}

impl Topic {
    const ALL: [(&'static str, Self); 7] = [
        ("raw", Self::Raw),
        ("rows", Self::Rows),
        ("reads", Self::Reads),
        ("letters", Self::Letters),
        ("memory", Self::Memory),
        ("churn", Self::Churn),
        ("reopen", Self::Reopen),
    ];
}

/// The settings of a run.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) engines: Vec<Kind>,
    pub(crate) topics: Vec<Topic>,
    pub(crate) repetitions: usize,
    pub(crate) seconds: f64,
    pub(crate) set: Set,
    pub(crate) cache_bytes: usize,
    pub(crate) quiet_wait: Duration,
    pub(crate) dir: PathBuf,
    pub(crate) samples: PathBuf,
    pub(crate) page: Option<PathBuf>,
}

impl Settings {
    fn whole() -> Self {
        let build = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let dir = std::env::var_os("GRACE_BENCH_DIR").map_or(build, PathBuf::from);
        Self {
            engines: Kind::ALL.into_iter().collect(),
            topics: Topic::ALL.into_iter().map(|(_, topic)| topic).collect(),
            repetitions: 3,
            seconds: 3.0,
            set: Set { rows: 2_000_000, bodies: 100_000, letters: 125_000 },
            cache_bytes: 128 << 20,
            quiet_wait: Duration::from_secs(1_800),
            samples: dir.join("compare-samples.jsonl"),
            dir,
            page: None,
        }
    }

    fn make_quick(&mut self) {
        self.repetitions = 1;
        self.seconds = 1.0;
        self.set = Set { rows: 200_000, bodies: 5_000, letters: 5_000 };
    }

    pub(crate) fn wants(&self, topic: Topic) -> bool {
        self.topics.contains(&topic)
    }

    /// The databases among the engines.
    pub(crate) fn databases(&self) -> Vec<Kind> {
        self.engines.iter().copied().filter(|kind| kind.is_database()).collect()
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Outcome<T> {
    value.parse().map_err(|_| format!("{name} needs a number, not {value:?}").into())
}

fn positive(name: &str, value: &str) -> Outcome<u64> {
    match number(name, value)? {
        0 => Err(format!("{name} must not be 0").into()),
        number => Ok(number),
    }
}

fn seconds(name: &str, value: &str) -> Outcome<f64> {
    let seconds: f64 = number(name, value)?;
    if (0.1..=600.0).contains(&seconds) {
        return Ok(seconds);
    }
    Err(format!("{name} must be between 0.1 and 600").into())
}

fn list<T>(name: &str, value: &str, of: impl Fn(&str) -> Option<T>) -> Outcome<Vec<T>> {
    let unknown = |word: &str| format!("{name} does not know {word:?}; --help lists what it does");
    value.split(',').map(|word| of(word).ok_or_else(|| unknown(word).into())).collect()
}

fn topic(word: &str) -> Option<Topic> {
    Topic::ALL.into_iter().find(|(name, _)| *name == word).map(|(_, topic)| topic)
}

impl Settings {
    /// Takes one setting with its value; false: there is none of that name.
    fn take(&mut self, name: &str, value: &str) -> Outcome<bool> {
        match name {
            "--engines" => self.engines = list(name, value, Kind::of)?,
            "--only" => self.topics = list(name, value, topic)?,
            "--repetitions" => self.repetitions = usize::try_from(positive(name, value)?)?,
            "--seconds" => self.seconds = seconds(name, value)?,
            "--rows" => self.set.rows = positive(name, value)?,
            "--bodies" => self.set.bodies = positive(name, value)?,
            "--letters" => self.set.letters = positive(name, value)?,
            "--cache-mib" => self.cache_bytes = usize::try_from(positive(name, value)?)? << 20,
            "--quiet-wait-s" => self.quiet_wait = Duration::from_secs(number(name, value)?),
            "--dir" => self.dir = PathBuf::from(value),
            "--samples" => self.samples = PathBuf::from(value),
            "--page" => self.page = Some(PathBuf::from(value)),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Reads the arguments.
pub(crate) fn parse(arguments: &[String]) -> Outcome<Command> {
    let mut settings = Settings::whole();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    if has("--help") || has("-h") {
        return Ok(Command::Help);
    }
    if has("--quick") {
        settings.make_quick();
    }
    let mut rest = arguments.iter();
    let mut is_whole = !has("--quick");
    while let Some(name) = rest.next() {
        if name == "--quick" || name == "--report" {
            continue;
        }
        let value = rest.next().ok_or_else(|| format!("{name} needs a value; see --help"))?;
        if !settings.take(name, value)? {
            return Err(format!("there is no {name}; see --help").into());
        }
        is_whole &= !matches!(name.as_str(), "--engines" | "--only");
        if name == "--dir" && !has("--samples") {
            settings.samples = settings.dir.join("compare-samples.jsonl");
        }
    }
    if is_whole && settings.page.is_none() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        settings.page = Some(top.join("docs/benchmarks.md"));
    }
    Ok(if has("--report") { Command::Report(settings) } else { Command::Measure(settings) })
}
