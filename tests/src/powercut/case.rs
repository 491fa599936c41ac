//! What is known of one database under power cuts, as a file: what to write or expect, and how much
//! of it was promised.
//!
//! ```text
//!   seed 17
//!   sector 512
//!   floor 2        transactions that must be there
//!   step 1 0 0     transaction 1: life 1, thread 0, turn 0
//!   step 1 2 0     transaction 2
//!   step 1 0 1     transaction 3, which may be there
//! ```
//! Not here: what the steps mean (`workload`).

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use super::workload::Step;

/// The case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Case {
    /// What decides about settings and transactions.
    pub seed: u64,
    /// Bytes of the drive's sectors.
    pub sector_bytes: usize,
    /// Number of the newest transaction that must be there.
    pub floor: u64,
    /// All transactions that may be there, from number 1 on.
    pub steps: Vec<Step>,
}

impl Case {
    /// A transaction began. What was there of this number and after it is not there any more.
    ///
    /// # Errors
    /// There is a gap, or a transaction that must be there is not.
    pub fn begin(&mut self, number: u64, step: Step) -> Result<(), String> {
        let before = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        match before {
            Some(before) if before <= self.steps.len() && number > self.floor => {
                self.steps.truncate(before);
                self.steps.push(step);
                Ok(())
            }
            _ => Err(format!(
                "transaction {number} began after {} were made and {} promised",
                self.steps.len(),
                self.floor
            )),
        }
    }

    /// Transactions that were made, at most.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.steps.len() as u64
    }

    /// Reads a case.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path);
        let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
        text.parse().map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Writes the case.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        fs::write(path, self.to_string()).map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}\nsector {}\nfloor {}", self.seed, self.sector_bytes, self.floor)?;
        for Step { life, thread, turn } in &self.steps {
            writeln!(f, "step {life} {thread} {turn}")?;
        }
        Ok(())
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut case = Self::default();
        for line in text.lines() {
            let wrong = || format!("{line:?} is no line of a case");
            let (name, numbers) = line.split_once(' ').ok_or_else(wrong)?;
            let numbers: Result<Vec<u64>, _> = numbers.split(' ').map(str::parse).collect();
            match (name, numbers.map_err(|_| wrong())?.as_slice()) {
                ("seed", [seed]) => case.seed = *seed,
                ("sector", [bytes]) => {
                    case.sector_bytes = usize::try_from(*bytes).map_err(|_| wrong())?;
                }
                ("floor", [number]) => case.floor = *number,
                ("step", [life, thread, turn]) => {
                    case.steps.push(Step { life: *life, thread: *thread, turn: *turn });
                }
                _ => return Err(wrong()),
            }
        }
        Ok(case)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written() {
        let mut case = Case { seed: 17, sector_bytes: 512, ..Case::default() };
        let step = |turn| Step { life: 1, thread: 2, turn };
        case.begin(1, step(0)).unwrap();
        case.begin(2, step(1)).unwrap();
        // The second one failed, and another took its number.
        case.begin(2, step(2)).unwrap();
        assert_eq!(case.steps, [step(0), step(2)]);
        case.floor = 2;
        assert_eq!(case.to_string().parse(), Ok(case.clone()));
        assert!(case.begin(2, step(3)).is_err(), "it was promised");
        assert!(case.begin(4, step(3)).is_err(), "there is a gap");
        assert!("seed x".parse::<Case>().is_err());
    }
}
