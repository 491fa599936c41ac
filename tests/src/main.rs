//! `grace-tests`: the long tests, for as long as one likes.
//!
//! ```text
//!   grace-tests crash [--minutes N] [--from SEED] [--drill NAME]
//!   grace-tests powercut [--cuts N] [--mode none|prefix|subset|tear] [--sector 512|4096]
//!                        [--no-sync] [--seed S] [--image FILE]
//!   grace-tests imap-idle [--sessions N] [--deliveries N]
//!   grace-tests imap-resync [--seed S] [--cuts N]
//!   grace-tests imap-stress [--seed S] [--sessions N] [--minutes M]
//!   grace-tests smtp-kill [--messages N] [--kills N]
//!   grace-tests smtp-load [--repetitions N] [--messages N]
//!   grace-tests imap-load [--repetitions N] [--messages N] [--letters N] [--connections N,N…]
//!                         [--only WORD] [--million]
//! ```
//! Not here: what they do ([`crash`], [`grace_tests::killed`], [`load`],
//! [`imap_load`], [`grace_tests::powercut`], [`grace_tests::resync`], [`grace_tests::stress`]).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it says what it finds")]

mod crash;
#[cfg(unix)]
mod daemon;
#[cfg(target_os = "linux")]
mod imap_idle;
#[cfg(unix)]
mod imap_load;
mod imap_resync;
mod imap_stress;
#[cfg(unix)]
mod kill;
#[cfg(unix)]
mod load;
#[cfg(unix)]
mod spread;

use std::process::ExitCode;

use grace_tests::powercut;

/// How the commands are called.
const USAGES: &[&str] = &[
    crash::USAGE,
    powercut::USAGE,
    #[cfg(target_os = "linux")]
    imap_idle::USAGE,
    imap_resync::USAGE,
    imap_stress::USAGE,
    #[cfg(unix)]
    kill::USAGE,
    #[cfg(unix)]
    load::USAGE,
    #[cfg(unix)]
    imap_load::USAGE,
];

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
    let usage = || format!("usage: {}", USAGES.join("\n       "));
    let (word, options) = arguments.split_first().ok_or_else(usage)?;
    if let Some(outcome) = powercut::run(word, options) {
        return outcome;
    }
    let outcome = match word.as_str() {
        "crash" => crash::run(options),
        #[cfg(target_os = "linux")]
        "imap-idle" => imap_idle::run(options),
        "imap-resync" => imap_resync::run(options),
        "imap-stress" => imap_stress::run(options),
        #[cfg(unix)]
        "smtp-kill" => kill::run(options),
        #[cfg(unix)]
        "smtp-load" => load::run(options),
        #[cfg(unix)]
        "imap-load" => imap_load::run(options),
        _ => None,
    };
    outcome.unwrap_or_else(|| Err(usage()))
}
