//! Some real power cuts, and the proof that the rig would see what they cost.
//!
//! It needs Linux, root and `/dev/fuse`, so it is only built with the feature `powercut`:
//! `cargo test -p grace-tests --features powercut --test powercut`.
//! More of them: `cargo run --release -p grace-tests --features powercut -- powercut --cuts N`.

use std::process::Command;

use grace_tests::{figure, program, skipped};

/// Runs the rig to its end, which must be a good one; says nothing if it cannot be run here.
fn powercut(options: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grace-tests"));
    let output = program::run(command.arg("powercut").args(options));
    let said = program::both(&output);
    for line in said.lines() {
        if let Some(why) = line.strip_prefix("SKIPPED: ") {
            return skipped(why);
        }
        if let Some(measured) = line.strip_prefix("FIGURE: ") {
            figure(measured);
        }
    }
    assert!(output.status.success(), "{said}");
    assert!(said.contains("lost commits"), "it ended without a table:\n{said}");
}

#[test]
fn what_was_acknowledged_survives() {
    powercut(&["--cuts", "24"]);
}

#[test]
fn a_drive_that_does_not_sync_is_caught() {
    powercut(&["--cuts", "16", "--no-sync"]);
}
