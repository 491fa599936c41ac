//! The database on a disk that fails at every operation: some thousand drills, as many as fit two
//! minutes. `cargo run --release -p grace-tests -- crash --minutes N` goes on for longer.

use grace_tests::drill::{Drill, Failing, Then, operations};
use grace_tests::figure;

/// Runs every `step`-th drill of some seeds.
fn check(failing: Failing, then: Then, seeds: std::ops::Range<u64>, step: usize) {
    let mut count = 0;
    for seed in seeds.clone() {
        let all = 1..=operations(seed);
        for operation in all.skip(usize::try_from(seed).unwrap() % step).step_by(step) {
            let drill = Drill { failing, then, seed, operation };
            if let Err(words) = drill.attempt() {
                panic!("drill {drill}: {words}");
            }
            count += 1;
        }
    }
    figure(&format!("drills {failing:?} then {then:?}: {count}, none violated"));
    assert!(count > 100, "only {count} drills");
}

#[test]
fn the_power_goes_at_every_operation() {
    check(Failing::PowerCut, Then::PowerCut, 0..6, 1);
}

#[test]
fn the_process_dies_at_every_operation() {
    check(Failing::PowerCut, Then::Restart, 100..104, 1);
}

#[test]
fn an_operation_fails_and_the_power_goes() {
    check(Failing::Eio, Then::PowerCut, 200..203, 1);
}

#[test]
fn an_operation_fails_and_the_process_starts_again() {
    check(Failing::Eio, Then::Restart, 300..303, 1);
}

#[test]
fn the_disk_is_full_at_every_operation() {
    check(Failing::Full, Then::PowerCut, 400..404, 1);
}

#[test]
fn a_sync_lies() {
    check(Failing::Lie, Then::PowerCut, 500..504, 1);
}
