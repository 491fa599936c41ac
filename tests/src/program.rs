//! Finds the built programs, and the tools the tests call.
//!
//! Invariant: a missing program is told with the command that brings it.
//! Not here: running them ([`crate::house`], [`crate::script`]).

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Path of a program of ours, as built beside this one (`<target>/debug/<name>`).
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn ours(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a program knows its own path");
    let folder = this.parent().expect("a program lies in a folder");
    // A test is <target>/debug/deps/<test>-<hash>.
    let above = folder.parent().filter(|_| folder.ends_with("deps"));
    let folder = above.unwrap_or(folder);
    let program = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.exists(),
        "{} is not built. Build first, with the same CARGO_TARGET_DIR: cargo build --workspace --bins",
        program.display()
    );
    program
}

/// The folder of this package, `tests/`.
#[must_use]
pub fn tests_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The top of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    tests_folder().parent().expect("tests/ lies in the repository").to_path_buf()
}

/// A command for a server that ends with whoever started it, even if that one is killed: the kernel
/// sends it the signal to stop.
#[must_use]
pub fn bound(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    command
}

/// Runs a tool to its end and returns what it said.
///
/// # Panics
/// When the tool cannot be started: tests do not pass because a tool is missing.
#[must_use]
pub fn run(command: &mut Command) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null());
    command.output().unwrap_or_else(|error| missing(&name, &error))
}

/// Runs a tool, which must succeed, and returns its standard output.
///
/// # Panics
/// When it fails, with everything it said.
pub fn run_ok(command: &mut Command) -> String {
    let output = run(command);
    let text = both(&output);
    assert!(output.status.success(), "{command:?} ended with {}:\n{text}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard output and standard error of a finished tool, as one text.
#[must_use]
pub fn both(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

/// Ends the test: a tool is not there.
#[expect(clippy::panic, reason = "a missing tool is the tester's to mend, and is told so")]
pub fn missing(name: &str, error: &std::io::Error) -> ! {
    panic!("cannot start {name}: {error}. tests/run installs what the tests need")
}
