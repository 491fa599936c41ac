//! The desktop program of Grace: shows what the daemon does while it does it.
//!
//! ```text
//! daemon ──socket──▶ link (thread) ──Inbox──▶ Model ──screen──▶ boxes ──▶ Scene ──▶ GPU
//!                                     person ──▶ Ui ──Action──▶ ▲
//! ```
//! Invariants: only `link` talks to the daemon and only `app` to the window system; everything
//! between them is data and tested as such. Not here: the toolkit (`grace-ui`), the renderer
//! (`grace-gpu`).

mod app;
mod args;
mod filter;
mod link;
mod model;
mod picture;
mod platform;
mod screen;
mod shortcut;
mod stream;
mod trend;
mod units;
mod words;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;

/// Nothing could be shown.
const EXIT_FAILED: u8 = 1;
/// The Vulkan validation layers had something to say.
const EXIT_VALIDATION: u8 = 3;

fn main() -> ExitCode {
    let args = Args::parse();
    match app::run(args) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(messages) => {
            say(&format!("the Vulkan validation layers gave {messages} messages"));
            ExitCode::from(EXIT_VALIDATION)
        }
        Err(reason) => {
            say(&reason);
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// A line for whoever started the program from a terminal.
#[expect(clippy::print_stderr, reason = "the program's only way to speak without a window")]
fn say(text: &str) {
    eprintln!("grace-console: {text}");
}
