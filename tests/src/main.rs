//! `grace-tests`: the long tests, for as long as one likes.
//!
//! ```text
//!   grace-tests crash [--minutes N] [--from SEED] [--drill NAME]
//!   grace-tests powercut [--cuts N] [--mode none|prefix|subset|tear] [--sector 512|4096]
//!                        [--no-sync] [--seed S] [--image FILE]
//! ```
//! Not here: what they do ([`crash`], [`grace_tests::powercut`]).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it says what it finds")]

mod crash;

use std::process::ExitCode;

use grace_tests::powercut;

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
    let usage = || format!("usage: {}\n       {}", crash::USAGE, powercut::USAGE);
    let (word, options) = arguments.split_first().ok_or_else(usage)?;
    if let Some(outcome) = powercut::run(word, options) {
        return outcome;
    }
    if word != "crash" {
        return Err(usage());
    }
    crash::run(options).unwrap_or_else(|| Err(usage()))
}
