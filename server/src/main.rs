//! `graced`: reads the command line and the configuration, and serves in the foreground.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use graced::config::Config;
use graced::telemetry::log::{self, Format};
use graced::{admin, house};

/// The mail server of Grace.
#[derive(Debug, Parser)]
#[command(name = "graced", version, about)]
struct Arguments {
    /// Configuration file [default: /etc/grace/graced.toml if there is one, else try mode]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of everything that is kept; wins over the configuration
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How the log on standard error is written
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    log_format: Option<Format>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the configuration and end
    Check,
    /// Join standard input and output to the admin socket, for ssh
    AdminStdio,
}

fn main() -> ExitCode {
    // clap ends with 2 on wrong usage, as the exit codes promise.
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let config = Config::load(arguments.config.as_deref(), arguments.data.as_deref())
        .map_err(|e| e.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("the system gives no threads: {e}"))?;
    match &arguments.command {
        None => {
            log::install(arguments.log_format.unwrap_or_default());
            runtime.block_on(house::run(config))
        }
        Some(Command::Check) => Ok(()),
        Some(Command::AdminStdio) => admin::stdio(&config.admin),
    }
}

#[expect(clippy::print_stderr, reason = "standard error is where a program says why it ends")]
fn complain(why: &str) {
    eprintln!("graced: {why}");
}
