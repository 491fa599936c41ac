//! Power cuts: the database in a process of its own, on a real file system, on a drive of ours that
//! loses what a drive may lose.
//!
//! ```text
//!   powercut ─▶ powercut-rig             in a mount namespace of its own, which ends with it
//!                │   drive (FUSE) ◀─ loop device ◀─ ext4
//!                ├─▶ powercut-writer     writes there and tells what was acknowledged
//!                │     ... the power goes, the writer is killed, the power is back ...
//!                └─▶ powercut-check      opens what is left and compares
//! ```
//! [`cache`] is the drive, `drive` brings it to the kernel, `rig` cuts and counts. Invariants: what
//! was acknowledged as synced is there after every cut, whole and in order; a rig whose syncs are
//! left out must find losses.
//! Not here: cuts at every single operation of a simulated disk ([`crate::drill`]).

pub mod cache;
pub mod case;
pub mod check;
#[cfg(all(target_os = "linux", feature = "powercut"))]
mod drive;
#[cfg(all(target_os = "linux", feature = "powercut"))]
mod programs;
#[cfg(all(target_os = "linux", feature = "powercut"))]
mod report;
#[cfg(all(target_os = "linux", feature = "powercut"))]
mod rig;
pub mod workload;
pub mod writer;

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process;
use std::str::FromStr;
use std::thread;

use crate::seed::Seed;

/// How it is called.
pub const USAGE: &str = "grace-tests powercut [--cuts N] [--mode none|prefix|subset|tear] \
                         [--sector 512|4096] [--no-sync] [--seed S] [--image FILE]";

/// What happens to writes that were not synced when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// All are lost.
    None,
    /// Those up to some point are there.
    Prefix,
    /// Any of their sectors are there.
    Subset,
    /// Those up to some point are there, and the next one is torn between its sectors.
    Tear,
}

const MODES: [(&str, Mode); 4] = [
    ("none", Mode::None),
    ("prefix", Mode::Prefix),
    ("subset", Mode::Subset),
    ("tear", Mode::Tear),
];

const SECTORS: [usize; 2] = [512, 4096];

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(MODES.iter().find(|each| each.1 == *self).map_or("", |each| each.0))
    }
}

/// What can be wrong after a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// The database does not open.
    Unopened,
    /// A transaction that was acknowledged as synced, or seen so, is not there.
    Lost,
    /// Some rows of a transaction are there and some are not, or one before it is missing.
    Half,
    /// A row, large value or index is not what was written.
    Wrong,
    /// The database's own check finds something.
    Unsound,
    /// The writer failed while the power was on, or panicked.
    Failed,
}

const FLAWS: [(&str, Flaw); 6] = [
    ("unopened", Flaw::Unopened),
    ("lost", Flaw::Lost),
    ("half", Flaw::Half),
    ("wrong", Flaw::Wrong),
    ("unsound", Flaw::Unsound),
    ("failed", Flaw::Failed),
];

impl Flaw {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        FLAWS.iter().find(|each| each.1 == self).map_or("", |each| each.0)
    }
}

impl FromStr for Flaw {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let flaw = FLAWS.iter().find(|each| each.0 == text).map(|each| each.1);
        flaw.ok_or_else(|| format!("{text:?} is no flaw"))
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Power cuts in all.
    pub cuts: u64,
    /// The modes, in turn.
    pub modes: Vec<Mode>,
    /// Bytes of a sector, in turn.
    pub sectors: Vec<usize>,
    /// Whether the drive does the syncs it is asked for.
    pub syncs: bool,
    /// The seed of the first database; the next one has the next.
    pub seed: u64,
    /// The image of a drive to check, which an earlier run has kept.
    pub image: Option<PathBuf>,
}

impl Order {
    /// Reads an order.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(options: &[String]) -> Result<Self, String> {
        let mut order = Self {
            cuts: 400,
            modes: MODES.map(|each| each.1).to_vec(),
            sectors: SECTORS.to_vec(),
            syncs: true,
            seed: Seed::of_today().start(),
            image: None,
        };
        let mut options = options.iter();
        while let Some(name) = options.next() {
            if name == "--no-sync" {
                order.syncs = false;
                continue;
            }
            let value = options.next().ok_or_else(|| format!("usage: {USAGE}"))?;
            let wrong = |what: &str| format!("{name} {value}: {what}; usage: {USAGE}");
            let number = || value.parse::<u64>().map_err(|_| wrong("not a number"));
            match name.as_str() {
                "--cuts" => order.cuts = number()?.max(1),
                "--seed" => order.seed = number()?,
                "--image" => order.image = Some(PathBuf::from(value)),
                "--mode" => {
                    let mode = MODES.iter().find(|each| each.0 == value);
                    order.modes = vec![mode.ok_or_else(|| wrong("no such mode"))?.1];
                }
                "--sector" => {
                    let sector = SECTORS.iter().find(|bytes| bytes.to_string() == *value);
                    order.sectors = vec![*sector.ok_or_else(|| wrong("no such sector"))?];
                }
                _ => return Err(wrong("unknown")),
            }
        }
        Ok(order)
    }
}

/// Runs one of the commands, if it is one of these.
#[must_use]
pub fn run(word: &str, options: &[String]) -> Option<Result<(), String>> {
    let texts: Vec<&str> = options.iter().map(String::as_str).collect();
    match (word, texts.as_slice()) {
        ("powercut", _) => Some(Order::parse(options).and_then(|order| start(&order, options))),
        ("powercut-rig", _) => Some(Order::parse(options).and_then(|order| inside(&order))),
        ("powercut-writer", [folder, seed, life]) => Some(
            numbers(seed, life).and_then(|(seed, life)| writer::run(Path::new(folder), seed, life)),
        ),
        ("powercut-check", [folder, case, life]) => Some(
            numbers("0", life)
                .and_then(|(_, life)| check::run(Path::new(folder), Path::new(case), life)),
        ),
        _ => None,
    }
}

/// Ends this process when its standard input ends, which is when whoever started it does.
fn end_with_input() {
    thread::spawn(|| {
        drop(io::stdin().read_to_end(&mut Vec::new()));
        process::exit(1);
    });
}

fn numbers(one: &str, two: &str) -> Result<(u64, u64), String> {
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not a number"));
    Ok((number(one)?, number(two)?))
}

#[cfg(all(target_os = "linux", feature = "powercut"))]
fn start(order: &Order, options: &[String]) -> Result<(), String> {
    rig::start(order, options)
}

#[cfg(all(target_os = "linux", feature = "powercut"))]
fn inside(order: &Order) -> Result<(), String> {
    rig::run(order)
}

/// What to do where the rig is not part of the program.
#[cfg(not(all(target_os = "linux", feature = "powercut")))]
const ABSENT: &str = "the power-cut rig is not in this program; it needs Linux, and is built by \
                      cargo run --release -p grace-tests --features powercut -- powercut";

#[cfg(not(all(target_os = "linux", feature = "powercut")))]
fn start(_order: &Order, _options: &[String]) -> Result<(), String> {
    Err(ABSENT.to_owned())
}

#[cfg(not(all(target_os = "linux", feature = "powercut")))]
fn inside(_order: &Order) -> Result<(), String> {
    Err(ABSENT.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str) -> Result<Order, String> {
        let options: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Order::parse(&options)
    }

    #[test]
    fn orders_are_read() {
        let one = order("--no-sync --mode tear --sector 4096 --seed 7 --cuts 3").unwrap();
        assert_eq!((one.modes, one.sectors), (vec![Mode::Tear], vec![4096]));
        assert_eq!((one.syncs, one.seed, one.cuts), (false, 7, 3));
        let all = order("").unwrap();
        assert_eq!((all.modes.len(), all.sectors.len(), all.syncs), (4, 2, true));
        for wrong in ["--mode most", "--sector 1024", "--cuts", "--cuts x", "--color red"] {
            assert!(order(wrong).is_err(), "{wrong}");
        }
    }
}
