//! The process that opens a database after a power cut and says what is wrong with it.
//!
//! ```text
//!   tip N            N transactions are there
//!   found FLAW words
//!   done
//! ```
//! Invariant: without its last line something went wrong that it could not tell.
//! Not here: what must be there (`case`, `workload`).

use std::io::{self, Write as _};
use std::path::Path;
use std::process;

use gracedb::db::Db;

use super::case::Case;
use super::workload::{Finding, Model, SCHEMA, compare, options, tip};
use super::writer::words;
use super::{Flaw, end_with_input};
use crate::seed::Seed;

/// Findings told; the first say it all.
const FINDINGS_MAX: usize = 8;

/// Checks the database in a folder against a case. `life` decides whether it is closed in good
/// order or left as a killed process leaves it.
///
/// # Errors
/// The case cannot be read.
pub fn run(folder: &Path, case: &Path, life: u64) -> Result<(), String> {
    end_with_input();
    let case = Case::read(case)?;
    let mut findings = Vec::new();
    let mut lines = String::new();
    let opened = Db::open(options(folder, case.seed), SCHEMA);
    match &opened {
        Ok(db) => look(db, &case, &mut findings, &mut lines),
        Err(error) => findings.push((Flaw::Unopened, words(error))),
    }
    for (flaw, words) in findings.iter().take(FINDINGS_MAX) {
        lines.push_str(&format!("found {} {}\n", flaw.name(), words.replace('\n', " ")));
    }
    lines.push_str("done\n");
    if let Ok(db) = opened
        && Seed::new(case.seed ^ life).number().is_multiple_of(2)
    {
        db.close();
    }
    let told = io::stdout().write_all(lines.as_bytes());
    // Its threads, if any are left, end here.
    process::exit(i32::from(told.is_err()));
}

fn look(db: &Db, case: &Case, findings: &mut Vec<Finding>, lines: &mut String) {
    let snapshot = db.snapshot();
    let number = match tip(&snapshot) {
        Ok(tip) => tip.map_or(0, |tip| tip.number),
        Err(error) => return findings.push((Flaw::Wrong, format!("tip: {}", words(&error)))),
    };
    lines.push_str(&format!("tip {number}\n"));
    if number < case.floor {
        let words = format!("{number} are there, {} were promised", case.floor);
        findings.push((Flaw::Lost, words));
    }
    let steps = usize::try_from(number).ok().and_then(|number| case.steps.get(..number));
    match steps {
        Some(steps) => {
            findings.extend(compare(&snapshot, &Model::after(case.seed, steps)));
        }
        None => {
            findings.push((Flaw::Half, format!("{number} are there, {} were made", case.made())));
        }
    }
    match db.verify(&mut |_| true) {
        Ok(report) => {
            findings.extend(report.problems.iter().map(|each| (Flaw::Unsound, each.to_string())));
        }
        Err(error) => findings.push((Flaw::Unsound, format!("verify: {}", words(&error)))),
    }
}
