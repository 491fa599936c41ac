//! The run: which jobs, in which order, and what came of them.
//!
//! ```text
//!   load: once for each database; kept for all repetitions
//!   a repetition:
//!     raw ─▶ rows, reads: engine after engine ─▶ letters, memory: on a copy, which goes
//!         ─▶ churn: in a new folder, which goes ─▶ reopen: on the loaded set
//! ```
//! Each row of the table is taken from all engines before the next one is begun, in an order that
//! moves on with each repetition, so that an hour in which the machine was slow is nobody's alone.
//! Invariant: before a job nobody else's dirty pages are left and, while there is patience, nobody
//! else uses the processors.
//! Not here: the jobs (`job`), the figures' meaning (`goals`).

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::Outcome;
use crate::data::{BODY_BYTES, TEXT_BYTES};
use crate::engine::Kind;
use crate::job::{self, Figures, Job, Order, What};
use crate::log::Io;
use crate::machine::Machine;
use crate::noise::{self, Patience};
use crate::samples::{About, Sample, Samples, Writer};
use crate::settings::{Settings, Topic};

/// Writers of the rows of the table.
pub(crate) const WRITERS: [usize; 3] = [1, 8, 64];
/// Writers while flags change.
pub(crate) const CHURN_WRITERS: usize = 8;
/// Sizes of raw appends: a sector, a page, a letter with its rows.
pub(crate) const RAW_BYTES: [usize; 3] = [512, 4 << 10, 17 << 10];
/// Streams of raw appends.
pub(crate) const RAW_STREAMS: [usize; 2] = [1, 8];
/// Letters' bytes before the kill. GraceDb writes its rows to disk at 64 MiB of journal, so this is
/// close to the most that can be left to be replayed.
const UNFLUSHED_BYTES: u64 = 60 << 20;
/// Numbers that one job may use up.
const NUMBERS: u64 = 1 << 26;
/// A job that has said nothing by then has failed.
const JOB_WAIT: Duration = Duration::from_secs(1_800);
/// The set is on the disk so often, and the letters, at most: an engine's own overhead, a copy.
const SET_COPIES: u64 = 5;
const LETTER_COPIES: u64 = 3;

/// Whether a job is grouped, for the engine: those that sync for every commit are tried both ways.
pub(crate) fn ways(kind: Kind, writers: usize) -> &'static [bool] {
    if kind.is_peer() && writers > 1 { &[false, true] } else { &[false] }
}

struct Plan<'s> {
    settings: &'s Settings,
    dir: PathBuf,
    samples: Samples,
    writer: Writer,
    patience: Patience,
    repetition: usize,
    first: u64,
}

/// Takes all samples.
pub(crate) fn run(settings: &Settings) -> Outcome<Samples> {
    let dir = settings.dir.join("compare");
    fs::create_dir_all(&dir)?;
    check_room(settings, &dir)?;
    let about = About {
        machine: Machine::here(&dir)?,
        set: settings.set,
        seconds: settings.seconds,
        repetitions: settings.repetitions,
        cache_bytes: settings.cache_bytes,
        engines: settings.engines.clone(),
        versions: versions()?,
    };
    let writer = Writer::create(&settings.samples, &about)?;
    eprintln!("samples go to {}", settings.samples.display());
    let mut plan = Plan {
        settings,
        dir: dir.clone(),
        samples: Samples { about, all: Vec::new() },
        writer,
        patience: Patience::new(settings.quiet_wait),
        repetition: 0,
        // Beyond the numbers of the set.
        first: settings.set.rows.max(settings.set.bodies).next_multiple_of(NUMBERS),
    };
    let done = plan.all();
    fs::remove_dir_all(&dir)?;
    done.map(|()| plan.samples)
}

fn check_room(settings: &Settings, dir: &Path) -> Outcome<()> {
    let set = settings.set;
    let loaded = set.rows * TEXT_BYTES as u64 + set.bodies * BODY_BYTES as u64;
    let databases = settings.databases().len() as u64;
    let wanted = loaded * (databases + SET_COPIES)
        + set.letters * BODY_BYTES as u64 * LETTER_COPIES
        + RAW_STREAMS.iter().map(|streams| *streams as u64).sum::<u64>() * (64 << 20);
    let volume = rustix::fs::statvfs(dir)?;
    let free = volume.f_bavail * volume.f_frsize;
    if free >= wanted {
        return Ok(());
    }
    let (free, wanted) = (free >> 20, wanted >> 20);
    let dir = dir.display();
    Err(format!("{dir} has {free} MiB free and some {wanted} are needed: --dir, or --quick").into())
}

/// The peers' crates as the lock file has them.
fn versions() -> Outcome<Vec<(String, String)>> {
    const CRATES: [&str; 7] = [
        "fjall",
        "heed",
        "lmdb-master-sys",
        "redb",
        "librocksdb-sys",
        "rusqlite",
        "libsqlite3-sys",
    ];
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock"))?;
    let version = |name: &str| {
        let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        Some((name.to_owned(), rest.split('"').next()?.to_owned()))
    };
    Ok(CRATES.into_iter().filter_map(version).collect())
}

impl Plan<'_> {
    fn all(&mut self) -> Outcome<()> {
        for kind in self.settings.databases() {
            if self.needs_the_set() {
                self.take(kind, Job::Load, &self.folder(kind))?;
            }
        }
        for repetition in 0..self.settings.repetitions {
            self.repetition = repetition;
            self.raw()?;
            self.rows()?;
            self.reads()?;
            self.letters_and_memory()?;
            self.churn()?;
            self.reopen()?;
        }
        Ok(())
    }

    fn needs_the_set(&self) -> bool {
        self.settings.topics.iter().any(|topic| !matches!(topic, Topic::Raw | Topic::Churn))
    }

    fn folder(&self, kind: Kind) -> PathBuf {
        self.dir.join(kind.folder())
    }

    /// The engines that `wanted` holds of, another one first in each repetition.
    fn turn(&self, wanted: impl Fn(Kind) -> bool) -> Vec<Kind> {
        let mut kinds: Vec<Kind> =
            self.settings.engines.iter().copied().filter(|kind| wanted(*kind)).collect();
        let shift = self.repetition % kinds.len().max(1);
        kinds.rotate_left(shift);
        kinds
    }

    fn raw(&mut self) -> Outcome<()> {
        if !self.settings.wants(Topic::Raw) {
            return Ok(());
        }
        let dir = self.dir.join("raw");
        for bytes in RAW_BYTES {
            for streams in RAW_STREAMS {
                for io in [Io::Synced, Io::Direct] {
                    self.take(Kind::Drive, Job::Raw { io, bytes, streams }, &dir)?;
                }
            }
        }
        remove(&dir)
    }

    fn rows(&mut self) -> Outcome<()> {
        if !self.settings.wants(Topic::Rows) {
            return Ok(());
        }
        for writers in WRITERS {
            for kind in self.turn(|kind| kind.is_database() || kind.is_log()) {
                self.commits(kind, What::Row, writers, &self.folder(kind))?;
            }
        }
        Ok(())
    }

    fn commits(&mut self, kind: Kind, what: What, writers: usize, dir: &Path) -> Outcome<()> {
        for grouped in ways(kind, writers) {
            self.take(kind, Job::Commits { what, writers, grouped: *grouped }, dir)?;
        }
        if kind.is_log() {
            remove(dir)?;
        }
        Ok(())
    }

    fn reads(&mut self) -> Outcome<()> {
        if !self.settings.wants(Topic::Reads) {
            return Ok(());
        }
        for kind in self.turn(|kind| !kind.is_log()) {
            self.take(kind, Job::Reads, &self.folder(kind))?;
        }
        Ok(())
    }

    fn letters_and_memory(&mut self) -> Outcome<()> {
        let (letters, memory) =
            (self.settings.wants(Topic::Letters), self.settings.wants(Topic::Memory));
        for kind in self.turn(|kind| kind.is_database() || kind.is_log()) {
            let dir = self.dir.join(format!("{}-copy", kind.name()));
            if kind.is_database() && (letters || memory) {
                copy(&self.folder(kind), &dir)?;
            }
            for writers in WRITERS.into_iter().filter(|_| letters) {
                self.commits(kind, What::Letter, writers, &dir)?;
            }
            if kind.is_database() && memory {
                self.take(kind, Job::Footprint, &dir)?;
            }
            remove(&dir)?;
        }
        Ok(())
    }

    fn churn(&mut self) -> Outcome<()> {
        if !self.settings.wants(Topic::Churn) {
            return Ok(());
        }
        for kind in self.turn(Kind::is_database) {
            let dir = self.dir.join(format!("{}-churn", kind.name()));
            let job = Job::Churn { writers: CHURN_WRITERS, grouped: kind.is_peer() };
            self.take(kind, job, &dir)?;
            remove(&dir)?;
        }
        Ok(())
    }

    fn reopen(&mut self) -> Outcome<()> {
        if !self.settings.wants(Topic::Reopen) {
            return Ok(());
        }
        for cold in [false, true] {
            for kind in self.turn(Kind::is_database) {
                let dir = self.folder(kind);
                self.take(kind, Job::Fill, &dir)?;
                if cold && !drop_caches() {
                    eprintln!("the page cache cannot be emptied: no cold reopen");
                    return Ok(());
                }
                self.take(kind, Job::Reopen { cold }, &dir)?;
            }
        }
        Ok(())
    }

    /// Has one job done, and keeps what came of it.
    fn take(&mut self, engine: Kind, job: Job, dir: &Path) -> Outcome<()> {
        self.first += NUMBERS;
        let settings = self.settings;
        let order = Order {
            engine,
            job,
            dir: dir.to_owned(),
            cache_bytes: (job != Job::Footprint).then_some(settings.cache_bytes),
            seconds: settings.seconds,
            set: settings.set,
            first: self.first,
            unflushed_bytes: UNFLUSHED_BYTES.min(settings.set.letters * BODY_BYTES as u64 / 2),
        };
        // What is on its way already must not be written beside it.
        rustix::fs::sync();
        self.patience.await_quiet();
        let before = noise::look();
        let done = obtain(&order);
        let noise = noise::look().since(before);
        let (figures, failed) = match done {
            Ok(figures) => (figures, None),
            Err(error) => (Figures::new(), Some(error.to_string())),
        };
        let sample = Sample {
            engine,
            job,
            repetition: self.repetition,
            figures,
            foreign_percent: noise.foreign_percent,
            stolen_percent: noise.stolen_percent,
            failed,
        };
        self.writer.write(&sample)?;
        eprintln!("{}", crate::table::line(&sample));
        self.samples.all.push(sample);
        Ok(())
    }
}

/// Has an order carried out by a process of its own.
fn obtain(order: &Order) -> Outcome<Figures> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(job::WORD)
        .arg(serde_json::to_string(order)?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let answer = answer(&mut child);
    if order.job == Job::Fill || answer.is_err() {
        // SIGKILL: no destructor runs, nothing is written any more.
        child.kill()?;
    }
    let mut complaint = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut complaint)?;
    }
    let status = child.wait()?;
    let answer = answer.map_err(|error| format!("{error}; {status}; {}", complaint.trim()))?;
    if order.job != Job::Fill && !status.success() {
        return Err(format!("{status}; {}", complaint.trim()).into());
    }
    Ok(answer)
}

/// The line of figures that a process prints.
fn answer(child: &mut Child) -> Outcome<Figures> {
    let stdout = child.stdout.take().ok_or("the process has no standard output")?;
    let (sender, receiver) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        // Nobody waits any more when it comes too late.
        drop(sender.send(read.map(|_| line)));
    });
    let line = receiver.recv_timeout(JOB_WAIT).map_err(|_| "no answer in time")??;
    drop(reader.join());
    if line.is_empty() {
        return Err("no figures".into());
    }
    Ok(serde_json::from_str(&line)?)
}

fn remove(dir: &Path) -> Outcome<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Outcome<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Empties the page cache of the machine; false: we may not.
fn drop_caches() -> bool {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}
