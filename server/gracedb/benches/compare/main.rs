//! GraceDb beside the engines one would take instead: one run, one disk, the same data.
//!
//! `cargo bench -p gracedb --features peers --bench compare -- --help`
//! ```text
//!   plan ── order ──▶ a process of its own: one engine, one job ── figures ──▶ plan
//!    │                  engines: grace │ sqlite redb fjall lmdb rocks │ log (no database)
//!    │                  jobs:    load commits reads churn reopen footprint raw
//!    └─▶ samples ─▶ goals ─▶ table, page
//! ```
//! Invariants: every engine is given the same rows in the same order; what is counted was durable
//! when it was counted; a figure is the median of its repetitions, with the ends beside it.
//! Not here: the parts of GraceDb one by one (`benches/engine.rs`).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints its figures")]

#[cfg(not(target_os = "linux"))]
compile_error!("the comparison reads what Linux tells of processes and disks, and runs there only");

mod aligned;
mod churn;
mod commits;
mod data;
mod device;
mod engine;
mod fjall;
mod footprint;
mod goals;
mod grace;
mod group;
mod job;
mod lmdb;
mod load;
mod log;
mod machine;
mod noise;
mod page;
mod pairs;
mod plan;
mod process;
mod raw;
mod reads;
mod redb;
mod reopen;
mod rocks;
mod samples;
mod settings;
mod sqlite;
mod table;

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use crate::settings::{Command, Settings};

/// What can fail, with a reason for a person.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo adds it to whatever it runs as a bench.
    arguments.retain(|argument| argument != "--bench");
    let done = match arguments.first().map(String::as_str) {
        Some(job::WORD) => obey(arguments.get(1).map_or("", String::as_str)),
        _ => measure(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does one job and prints its figures: what the processes do that the plan starts.
fn obey(order: &str) -> Outcome<()> {
    let order: job::Order = serde_json::from_str(order)?;
    let figures = order.carry_out()?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(std::io::stdout().flush()?)
}

fn measure(arguments: &[String]) -> Outcome<()> {
    let (settings, samples) = match settings::parse(arguments)? {
        Command::Help => {
            println!("{}", settings::HELP);
            return Ok(());
        }
        Command::Report(settings) => {
            let samples = samples::read(&settings.samples)?;
            (settings, samples)
        }
        Command::Measure(settings) => {
            let samples = plan::run(&settings)?;
            (settings, samples)
        }
    };
    report(&settings, &samples)
}

fn report(settings: &Settings, samples: &samples::Samples) -> Outcome<()> {
    let verdicts = goals::judge(samples);
    print!("{}", table::text(samples, &verdicts));
    if let Some(page) = &settings.page {
        // What others measured stands behind it and stays.
        let before = std::fs::read_to_string(page).unwrap_or_default();
        let others = before.find(page::OTHERS).and_then(|at| before.get(at..)).unwrap_or_default();
        std::fs::write(page, page::markdown(samples, &verdicts) + others)?;
        println!("written: {}", page.display());
    }
    Ok(())
}
