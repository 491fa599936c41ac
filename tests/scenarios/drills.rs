//! The database on a disk that fails at every operation: some thousand drills, as many as fit some
//! minutes. `cargo run --release -p grace-tests -- crash --minutes N` goes on for longer.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use grace_tests::drill::chore::{self, Chore};
use grace_tests::drill::{Drill, Failing, Then, points};
use grace_tests::figure;

/// Runs every `step`-th drill of some seeds.
fn check(failing: Failing, then: Then, seeds: std::ops::Range<u64>, step: usize) {
    let mut count = 0;
    for seed in seeds.clone() {
        let all = 1..=points(failing, seed);
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

/// Runs the drills of a chore, all of some seeds.
fn check_chore(chore: Chore, failing: Failing, then: Then, seeds: std::ops::Range<u64>) {
    let mut count = 0;
    for seed in seeds {
        for operation in 1..=chore::points(chore, seed) {
            let drill = chore::Drill { chore, failing, then, seed, operation };
            if let Err(words) = drill.attempt() {
                panic!("drill {drill}: {words}");
            }
            count += 1;
        }
    }
    figure(&format!("drills {chore:?} with {failing:?} then {then:?}: {count}, none violated"));
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

#[test]
fn the_disk_is_full_for_some_time_and_then_is_not() {
    check(Failing::Brim, Then::PowerCut, 600..606, 1);
    check(Failing::Brim, Then::Restart, 610..613, 1);
}

#[test]
fn a_read_fails() {
    check(Failing::Read, Then::PowerCut, 700..703, 2);
    check(Failing::Read, Then::Restart, 710..713, 2);
}

#[test]
fn a_bit_flips_while_nobody_looks() {
    check(Failing::Flip, Then::PowerCut, 800..808, 1);
    check(Failing::Flip, Then::Restart, 810..818, 1);
}

#[test]
fn a_backup_is_broken_off() {
    check_chore(Chore::Backup, Failing::PowerCut, Then::PowerCut, 900..904);
    check_chore(Chore::Again, Failing::PowerCut, Then::PowerCut, 910..916);
    check_chore(Chore::Again, Failing::Eio, Then::Restart, 920..924);
    check_chore(Chore::Again, Failing::Full, Then::PowerCut, 930..934);
}

#[test]
fn a_change_of_keys_is_broken_off() {
    check_chore(Chore::Rekey, Failing::PowerCut, Then::PowerCut, 940..943);
    check_chore(Chore::Rekey, Failing::Full, Then::Restart, 950..952);
}

#[test]
fn a_compaction_is_broken_off() {
    check_chore(Chore::Compact, Failing::PowerCut, Then::PowerCut, 960..963);
    check_chore(Chore::Compact, Failing::Eio, Then::PowerCut, 970..972);
}
