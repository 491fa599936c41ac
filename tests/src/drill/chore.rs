//! Drills over what is done to a whole database while it is in use: a backup, a change of keys, a
//! compaction.
//!
//! ```text
//!   some rounds ─▶ [backup] ─▶ some rounds ─▶ the chore, the disk failing at one operation
//!              ─▶ opened again, compared ─▶ the chore once more, now to its end ─▶ compared
//! ```
//! Invariants: a backup that was broken off is the earlier one or the new one, whole, or is refused
//! in words; a database whose keys were being changed opens with exactly one of the two; a drill is
//! repeated by its name alone: `chore:fault:then:seed:operation`.
//! Not here: disks that fail while transactions are made ([`super::Drill`]).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use gracedb::copy::{self, Copied, Moment};
use gracedb::disk::Disk;
use gracedb::disk::sim::{Fault, SimDisk};
use gracedb::error::Error;
use gracedb::options::Options;
use gracedb::progress::Progress;
use gracedb::seal::Key;
use gracedb::verify;
use gracedb::view::View as _;

use super::model::{Life, Model, SCHEMA};
use super::{Failing, Run, THENS, Then, attempt, fail, name_of, named, options, reopen_with};
use crate::seed::Seed;

/// Groups of transactions before the chore; twice as many where a backup lies between them.
const ROUNDS: usize = 5;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chore {
    /// A backup into an empty folder.
    Backup,
    /// A backup into an earlier one.
    Again,
    /// Another key.
    Rekey,
    /// Everything merged and cleaned.
    Compact,
}

/// One drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drill {
    /// What is done.
    pub chore: Chore,
    /// How the disk fails: the power goes, an operation fails, or the disk is full.
    pub failing: Failing,
    /// What happens then.
    pub then: Then,
    /// What decides about the workload.
    pub seed: u64,
    /// The operation of the chore that fails.
    pub operation: u64,
}

const CHORES: [(&str, Chore); 4] = [
    ("backup", Chore::Backup),
    ("again", Chore::Again),
    ("rekey", Chore::Rekey),
    ("compact", Chore::Compact),
];
const FAILINGS: [(&str, Failing); 3] =
    [("cut", Failing::PowerCut), ("eio", Failing::Eio), ("full", Failing::Full)];

impl fmt::Display for Drill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chore = name_of(&CHORES, self.chore);
        let (failing, then) = (name_of(&FAILINGS, self.failing), name_of(&THENS, self.then));
        write!(f, "{chore}:{failing}:{then}:{}:{}", self.seed, self.operation)
    }
}

impl FromStr for Drill {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a drill, such as backup:cut:cut:17:20");
        let parts: Vec<&str> = text.split(':').collect();
        let [chore, failing, then, seed, operation] = parts.as_slice() else {
            return Err(wrong());
        };
        let chore = named(&CHORES, chore).ok_or_else(wrong)?;
        let failing = named(&FAILINGS, failing).ok_or_else(wrong)?;
        let then = named(&THENS, then).ok_or_else(wrong)?;
        let number = |text: &str| text.parse().map_err(|_| wrong());
        Ok(Self { chore, failing, then, seed: number(seed)?, operation: number(operation)? })
    }
}

fn go_on(_: Progress) -> bool {
    true
}

/// The database, and what is done to it.
struct Scene {
    disk: SimDisk,
    run: Run,
    /// Where backups go.
    to: SimDisk,
    seed: u64,
    /// Number of the newest transaction of the earlier backup.
    earlier: Option<u64>,
}

/// The key that a change of keys brings.
fn new_key() -> Key {
    Key::from_bytes([9; 32])
}

impl Scene {
    fn new(chore: Chore, seed: u64, chance: u64) -> Self {
        // Every third seed is encrypted, and only those have keys to change.
        let seed = if chore == Chore::Rekey { seed * 3 + 1 } else { seed };
        let (disk, to) = (SimDisk::new(seed ^ chance << 20), SimDisk::new(seed ^ chance << 21));
        let mut run = Run::open(&disk, seed, seed, Model::default()).expect("a new disk");
        run.rounds(ROUNDS).expect("nothing fails");
        let mut scene = Self { disk, run, to, seed, earlier: None };
        if chore == Chore::Again {
            scene.earlier = Some(scene.back_up().expect("nothing fails").sequence);
            scene.run.rounds(ROUNDS).expect("nothing fails");
        }
        scene
    }

    fn target(&self) -> Arc<dyn Disk> {
        Arc::new(self.to.clone())
    }

    fn back_up(&self) -> Result<Copied, Error> {
        self.run.life.db.backup(&self.target(), &mut go_on)
    }

    fn work(&self, chore: Chore) -> Result<(), Error> {
        let db = &self.run.life.db;
        match chore {
            Chore::Backup | Chore::Again => self.back_up().map(drop),
            Chore::Rekey => db.change_key(Some(&new_key()), &mut go_on),
            Chore::Compact => db.compact(&mut go_on).map(drop),
        }
    }

    /// The disk whose operations the chore counts in.
    fn fragile(&self, chore: Chore) -> &SimDisk {
        match chore {
            Chore::Backup | Chore::Again => &self.to,
            Chore::Rekey | Chore::Compact => &self.disk,
        }
    }

    /// The settings that open the copy.
    fn options_of(&self, disk: &SimDisk) -> Options {
        options(disk, self.seed)
    }
}

/// How many operations this chore takes when nothing fails.
///
/// # Panics
/// When the chore fails although no disk does.
#[must_use]
pub fn points(chore: Chore, seed: u64) -> u64 {
    let scene = Scene::new(chore, seed, 0);
    let before = scene.fragile(chore).operations();
    scene.work(chore).expect("nothing fails");
    let model = scene.run.life.newest().clone();
    scene.run.check(&model);
    scene.fragile(chore).operations() - before
}

impl Drill {
    /// Runs the drill, and says what went wrong.
    ///
    /// # Errors
    /// What the panic said, with the command that repeats it.
    pub fn attempt(&self) -> Result<(), String> {
        attempt(self, || self.run())
    }

    fn run(&self) {
        let Self { chore, failing, then, operation, .. } = *self;
        let scene = Scene::new(chore, self.seed, operation);
        let fragile = scene.fragile(chore);
        let fault = match failing {
            Failing::PowerCut => Fault::PowerCut,
            Failing::Full => Fault::NoSpace,
            _ => Fault::Eio,
        };
        fragile.plan(fragile.operations() + operation, fault);
        let done = scene.work(chore);
        if let Err(error) = &done {
            let is_expected =
                matches!(error, Error::Poisoned { .. } | Error::Io { .. } | Error::NoSpace { .. });
            assert!(is_expected, "an unexpected failure: {error}");
        }
        match chore {
            Chore::Backup | Chore::Again => self.check_backup(scene, done.is_ok()),
            Chore::Rekey => check_keys(scene, then, done.is_ok()),
            Chore::Compact => check_database(scene, then),
        }
    }

    /// The power goes in both houses.
    fn check_backup(&self, scene: Scene, is_done: bool) {
        let Self { chore, then, seed, operation, .. } = *self;
        fail(&scene.to, then);
        let newest = scene.run.life.db.snapshot().sequence();
        let mut allowed: Vec<u64> = scene.earlier.into_iter().collect();
        if is_done {
            allowed.clear();
        }
        allowed.push(newest);
        match restored(&scene, &allowed) {
            Ok(()) => {}
            Err(error) => {
                // Nothing was promised of a folder that no backup was ever finished in.
                let is_refused = matches!(error, Error::MetaMissing { .. } | Error::Corrupt { .. });
                let is_allowed = chore == Chore::Backup && !is_done && is_refused;
                assert!(is_allowed, "the backup is lost: {error}");
            }
        }
        if Seed::new(seed ^ operation).number().is_multiple_of(2) {
            // The same folder is backed up into by the database that goes on.
            scene.back_up().expect("a sound disk");
            restored(&scene, &[newest]).expect("a sound backup");
            return;
        }
        // Or by the one that was opened again.
        let Scene { disk, run, to, seed, .. } = scene;
        let Run { life, stepper } = run;
        drop(stepper);
        fail(&disk, then);
        let mut run = reopen_with(options(&disk, seed), seed + 1, &life, then);
        run.rounds(2).expect("a sound disk");
        let scene = Scene { disk, run, to, seed, earlier: None };
        let copied = scene.back_up().expect("a sound disk");
        restored(&scene, &[copied.sequence]).expect("a sound backup");
    }
}

/// Checks every byte of a backup, restores it and compares it with what the database was like.
fn restored(scene: &Scene, allowed: &[u64]) -> Result<(), Error> {
    let from = scene.options_of(&scene.to);
    let report = verify::closed(&from, SCHEMA, &mut go_on)?;
    assert!(report.is_sound(), "the backup: {:?}", report.problems);
    let fresh = SimDisk::new(1);
    let to: Arc<dyn Disk> = Arc::new(fresh.clone());
    let copied = copy::restore_closed(&from, Moment::Newest, &to, &mut go_on)?;
    assert!(allowed.contains(&copied.sequence), "{} of {allowed:?}", copied.sequence);
    let run = Run::open_with(scene.options_of(&fresh), 0, Model::default())?;
    assert_eq!(run.life.db.snapshot().sequence(), copied.sequence, "the restored database");
    let model = scene.run.life.model(copied.sequence).expect("a transaction that was made");
    run.check(model);
    Ok(())
}

fn check_database(scene: Scene, then: Then) {
    let Scene { disk, run, seed, .. } = scene;
    let Run { life, stepper } = run;
    drop(stepper);
    fail(&disk, then);
    finish(options(&disk, seed), seed, &life, then, |run| {
        run.life.db.compact(&mut go_on).map(drop)
    });
}

fn check_keys(scene: Scene, then: Then, is_done: bool) {
    let Scene { disk, run, seed, .. } = scene;
    let Run { life, stepper } = run;
    drop(stepper);
    fail(&disk, then);
    let with_new = Options { key: Some(new_key()), ..options(&disk, seed) };
    let with_old = options(&disk, seed);
    let opens = |options: &Options| match verify::closed(options, SCHEMA, &mut go_on) {
        Ok(report) => {
            assert!(report.is_sound(), "{:?}", report.problems);
            true
        }
        Err(Error::WrongKey { .. }) => false,
        Err(error) => panic!("neither opened nor refused for its key: {error}"),
    };
    let (new, old) = (opens(&with_new), opens(&with_old));
    assert!(new != old, "opens with the new key: {new}, with the old one: {old}");
    assert!(new || !is_done, "the key was changed, and the old one opens");
    let options = if new { with_new.clone() } else { with_old.clone() };
    finish(options, seed, &life, then, |run| run.life.db.change_key(Some(&new_key()), &mut go_on));
    assert!(opens(&with_new) && !opens(&with_old), "the key was changed, and the old one opens");
}

/// Opens and compares, does the chore to its end, and opens and compares again.
fn finish(
    options: Options,
    seed: u64,
    life: &Life,
    then: Then,
    chore: impl FnOnce(&Run) -> Result<(), Error>,
) {
    let mut run = reopen_with(options, seed + 1, life, then);
    chore(&run).expect("a sound disk");
    run.check(&run.life.newest().clone());
    run.rounds(1).expect("a sound disk");
    run.stepper.sync();
    run.tidy().expect("a sound disk");
    run.check(&run.life.newest().clone());
    run.stepper.finish();
}
