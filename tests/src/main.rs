//! `grace-tests`: the long tests, for as long as one likes.
//!
//! ```text
//!   grace-tests crash [--minutes N] [--from SEED] [--drill NAME]
//!   grace-tests powercut [--cuts N] [--mode none|prefix|subset|tear] [--sector 512|4096]
//!                        [--no-sync] [--seed S] [--image FILE]
//! ```
//! Not here: the drills ([`grace_tests::drill`]), the power cuts ([`grace_tests::powercut`]).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it says what it finds")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use grace_tests::drill::chore::{self, Chore};
use grace_tests::drill::{Drill, Failing, Then, points};
use grace_tests::powercut;

const CRASH: &str = "grace-tests crash [--minutes N] [--from SEED] [--drill NAME]";

/// What is drilled, in turn.
#[derive(Clone, Copy)]
enum Way {
    /// Transactions.
    Work(Failing, Then),
    /// A chore.
    Chore(Chore, Failing, Then),
}

const WAYS: [Way; 19] = [
    Way::Work(Failing::PowerCut, Then::PowerCut),
    Way::Work(Failing::PowerCut, Then::Restart),
    Way::Work(Failing::Eio, Then::PowerCut),
    Way::Work(Failing::PowerCut, Then::PowerCut),
    Way::Work(Failing::Eio, Then::Restart),
    Way::Work(Failing::Full, Then::PowerCut),
    Way::Work(Failing::Lie, Then::PowerCut),
    Way::Work(Failing::Read, Then::PowerCut),
    Way::Work(Failing::Brim, Then::Restart),
    Way::Work(Failing::Brim, Then::PowerCut),
    Way::Work(Failing::Flip, Then::PowerCut),
    Way::Work(Failing::Flip, Then::Restart),
    Way::Chore(Chore::Backup, Failing::PowerCut, Then::PowerCut),
    Way::Chore(Chore::Again, Failing::PowerCut, Then::PowerCut),
    Way::Chore(Chore::Again, Failing::Eio, Then::Restart),
    Way::Chore(Chore::Rekey, Failing::PowerCut, Then::PowerCut),
    Way::Chore(Chore::Rekey, Failing::Full, Then::PowerCut),
    Way::Chore(Chore::Compact, Failing::PowerCut, Then::PowerCut),
    Way::Chore(Chore::Compact, Failing::Eio, Then::PowerCut),
];

impl Way {
    fn points(self, seed: u64) -> u64 {
        match self {
            Self::Work(failing, _) => points(failing, seed),
            Self::Chore(chore, ..) => chore::points(chore, seed),
        }
    }

    fn attempt(self, seed: u64, operation: u64) -> Result<(), String> {
        let named = |name: &dyn std::fmt::Display| format!("drill {name}: ");
        match self {
            Self::Work(failing, then) => {
                let drill = Drill { failing, then, seed, operation };
                drill.attempt().map_err(|words| named(&drill) + &words)
            }
            Self::Chore(chore, failing, then) => {
                let drill = chore::Drill { chore, failing, then, seed, operation };
                drill.attempt().map_err(|words| named(&drill) + &words)
            }
        }
    }
}

/// Repeats the drill of this name.
fn replay(name: &str) -> Result<(), String> {
    match name.parse::<chore::Drill>() {
        Ok(drill) => drill.attempt(),
        Err(_) => name.parse::<Drill>()?.attempt(),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            eprintln!("{words}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), String> {
    let usage = || format!("usage: {CRASH}\n       {}", powercut::USAGE);
    let (word, options) = arguments.split_first().ok_or_else(usage)?;
    if let Some(outcome) = powercut::run(word, options) {
        return outcome;
    }
    if word != "crash" {
        return Err(usage());
    }
    let (mut minutes, mut from) = (1u64, 1_000u64);
    for pair in options.chunks(2) {
        let [name, value] = pair else { return Err(usage()) };
        let number = || value.parse::<u64>().map_err(|_| usage());
        match name.as_str() {
            "--minutes" => minutes = number()?,
            "--from" => from = number()?,
            "--drill" => return replay(value),
            _ => return Err(usage()),
        }
    }
    crash(Duration::from_secs(minutes * 60), from)
}

/// Runs drills until the time is over or one shows a violation.
fn crash(limit: Duration, from: u64) -> Result<(), String> {
    let (began, seeds, points) = (Instant::now(), AtomicU64::new(from), AtomicU64::new(0));
    let violation = Mutex::new(None);
    let found = || violation.lock().is_ok_and(|violation| violation.is_some());
    // A violation is told in one place; a panic's own words would only repeat it.
    std::panic::set_hook(Box::new(|_| {}));
    let cores = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while began.elapsed() < limit && !found() {
                    let seed = seeds.fetch_add(1, Ordering::Relaxed);
                    let way = usize::try_from(seed).unwrap_or(0) % WAYS.len();
                    let Some(&way) = WAYS.get(way) else { continue };
                    for operation in 1..=way.points(seed) {
                        if began.elapsed() >= limit || found() {
                            break;
                        }
                        if let Err(words) = way.attempt(seed, operation)
                            && let Ok(mut violation) = violation.lock()
                        {
                            *violation = Some(words);
                        }
                        points.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let points = points.into_inner();
    println!(
        "{points} crash points over seeds {from} to {} in {:.0} s",
        seeds.into_inner() - 1,
        began.elapsed().as_secs_f64()
    );
    match violation.into_inner() {
        Ok(None) => {
            println!("no violation");
            Ok(())
        }
        Ok(Some(words)) => Err(words),
        Err(_) => Err("a thread of the drills panicked".to_owned()),
    }
}
