//! Drills: the database on a dying disk, against a model in memory.
//!
//! One seed makes one workload. It runs once to count the disk's operations, then once for every
//! operation with the disk failing there. After each failure the database is opened again,
//! sometimes with the power going once more meanwhile, and must be exactly the model as of some
//! transaction not older than the last one acknowledged and not newer than the last one made;
//! everything that belongs together must agree. Where a disk may break its word (a sync that lies,
//! a bit that flips) what is shown must still be some whole state, or an error that names the
//! damage.
//!
//! Settings are so small that a hundred transactions flush, merge, clean and roll over many times;
//! background work is done between transactions, in an order that the seed decides.
//! Invariants: a drill is repeated by its name alone: `fault:then:seed:operation`.
//! Not here: what the transactions do ([`model`]), disks that fail under a backup, a change of keys
//! or a compaction ([`chore`]).

#![expect(clippy::panic, reason = "a violation is a panic, which `attempt` turns into words")]

pub mod chore;
pub mod model;

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::str::FromStr;
use std::sync::Arc;

use gracedb::db::Db;
use gracedb::disk::Disk as _;
use gracedb::disk::sim::{Fault, SimDisk};
use gracedb::error::Error;
use gracedb::options::{Ahead, Options};
use gracedb::seal::Key;
use gracedb::view::View as _;
use gracedb::workers::Stepper;

use self::model::{Life, Model, SCHEMA, Waiting, compare};
use crate::seed::Seed;

/// Groups of transactions in the workload of one seed.
const ROUNDS: usize = 10;

/// Background work that has not come to an end after so many steps never will.
const TIDY_STEPS_MAX: usize = 1_000;

/// How the disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    /// The power goes.
    PowerCut,
    /// An operation fails with EIO.
    Eio,
    /// An operation finds the disk full.
    Full,
    /// The disk is full for some time, and then has room again.
    Brim,
    /// A read fails with EIO: while the database works, or while it is opened.
    Read,
    /// A sync says that it has done what it has not.
    Lie,
    /// A bit of a file flips while nobody looks.
    Flip,
}

impl Failing {
    fn fault(self) -> Option<Fault> {
        match self {
            Self::PowerCut => Some(Fault::PowerCut),
            Self::Eio => Some(Fault::Eio),
            Self::Full => Some(Fault::NoSpace),
            Self::Lie => Some(Fault::Lie),
            Self::Brim | Self::Read | Self::Flip => None,
        }
    }
}

/// What happens after the failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The power goes: what was not synced is there in any part or not at all.
    PowerCut,
    /// The process alone is started again.
    Restart,
}

/// One drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drill {
    /// How the disk fails.
    pub failing: Failing,
    /// What happens then.
    pub then: Then,
    /// What decides about the workload.
    pub seed: u64,
    /// The operation of the disk that fails; the read; or what else decides where it hits.
    pub operation: u64,
}

const FAILINGS: [(&str, Failing); 7] = [
    ("cut", Failing::PowerCut),
    ("eio", Failing::Eio),
    ("full", Failing::Full),
    ("brim", Failing::Brim),
    ("read", Failing::Read),
    ("lie", Failing::Lie),
    ("flip", Failing::Flip),
];
const THENS: [(&str, Then); 2] = [("cut", Then::PowerCut), ("restart", Then::Restart)];

impl fmt::Display for Drill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failing, then) = (name_of(&FAILINGS, self.failing), name_of(&THENS, self.then));
        write!(f, "{failing}:{then}:{}:{}", self.seed, self.operation)
    }
}

fn name_of<T: PartialEq + Copy>(names: &[(&'static str, T)], of: T) -> &'static str {
    names.iter().find(|(_, each)| *each == of).map_or("", |(name, _)| name)
}

fn named<T: Copy>(names: &[(&str, T)], name: &str) -> Option<T> {
    names.iter().find(|(each, _)| *each == name).map(|(_, each)| *each)
}

impl FromStr for Drill {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a drill, such as cut:restart:17:204");
        let parts: Vec<&str> = text.split(':').collect();
        let [failing, then, seed, operation] = parts.as_slice() else { return Err(wrong()) };
        let failing = named(&FAILINGS, failing).ok_or_else(wrong)?;
        let then = named(&THENS, then).ok_or_else(wrong)?;
        let number = |text: &str| text.parse().map_err(|_| wrong());
        Ok(Self { failing, then, seed: number(seed)?, operation: number(operation)? })
    }
}

/// The settings of a seed: small ones, of every kind.
fn options(disk: &SimDisk, seed: u64) -> Options {
    let mut chance = Seed::new(seed ^ 0x5EED);
    let aheads = [Ahead::Zeros, Ahead::Reserve, Ahead::Auto, Ahead::Nothing];
    let ahead = aheads.get(usize::try_from(chance.number() % 4).unwrap_or(0)).copied();
    Options {
        key: (seed % 3 == 1).then(|| Key::from_bytes([7; 32])),
        segment_bytes: 16 << 10,
        ahead: ahead.unwrap_or_default(),
        ahead_bytes: 4096,
        chunk_bytes: 700,
        inline_bytes_max: 128,
        mem_bytes: 1024 + usize::try_from(chance.number() % 4096).unwrap_or(0),
        unflushed_bytes: 16 << 10,
        block_bytes: 256,
        cache_bytes: 64 << 10,
        open_files_max: 8,
        fresh_runs: 2,
        level_bytes: 4 << 10,
        level_factor: 2,
        run_bytes: 1 << 10,
        clean_below_percent: 60,
        retention_s: (chance.number() % 3) / 2 * 3600,
        clock: || 1_800_000_000_000,
        identity: Some(*b"a simulated disk"),
        ..Options::with_disk(Arc::new(disk.clone()))
    }
}

/// One opening of the database and its workload.
struct Run {
    life: Life,
    stepper: Stepper,
}

impl Run {
    fn open(disk: &SimDisk, seed: u64, chance: u64, model: Model) -> Result<Self, Error> {
        Self::open_with(options(disk, seed), chance, model)
    }

    fn open_with(options: Options, chance: u64, model: Model) -> Result<Self, Error> {
        let (db, stepper) = Db::open_stepped(options, SCHEMA, &[])?;
        Ok(Self { life: Life::new(db, chance, model), stepper })
    }

    /// Some transactions as one group, then some background work. Stops at an error.
    fn round(&mut self) -> Result<(), Error> {
        let mut waiting = Vec::new();
        let made = self.transactions(&mut waiting);
        self.stepper.commit();
        for waiting in waiting {
            self.life.settle(waiting)?;
        }
        made?;
        for _ in 0..self.life.decide(5) {
            self.background()?;
        }
        Ok(())
    }

    fn transactions(&mut self, waiting: &mut Vec<Waiting>) -> Result<(), Error> {
        for _ in 0..=self.life.decide(4) {
            waiting.extend(self.life.transaction()?);
            if self.life.decide(12) == 0 {
                self.life.orphan()?;
            }
        }
        Ok(())
    }

    fn background(&mut self) -> Result<(), Error> {
        match self.life.decide(8) {
            0 => self.stepper.sync(),
            1 => self.stepper.freeze(),
            2 | 3 => drop(self.stepper.ahead()),
            4 => drop(self.stepper.flush()?),
            5 | 6 => drop(self.stepper.compact()?),
            _ => drop(self.stepper.clean()?),
        }
        Ok(())
    }

    fn rounds(&mut self, count: usize) -> Result<(), Error> {
        (0..count).try_for_each(|_| self.round())
    }

    /// Does all background work there is.
    fn tidy(&mut self) -> Result<(), Error> {
        for _ in 0..TIDY_STEPS_MAX {
            if !self.stepper.flush()? && !self.stepper.compact()? && !self.stepper.clean()? {
                return Ok(());
            }
        }
        panic!("background work does not come to an end");
    }

    /// Everything that belongs together agrees, and rows are those of the model.
    fn check(&self, model: &Model) {
        compare(&self.life.db.snapshot(), model).expect("it reads");
        let report = self.life.db.verify(&mut |_| true).expect("it can be checked");
        assert!(report.is_sound(), "{:?}", report.problems);
    }
}

/// Opens after a failure, and compares with what must be there.
fn reopen(disk: &SimDisk, seed: u64, chance: u64, before: &Life, then: Then) -> Run {
    reopen_with(options(disk, seed), chance, before, then)
}

fn reopen_with(options: Options, chance: u64, before: &Life, then: Then) -> Run {
    let run = Run::open_with(options, chance, Model::default());
    let run = run.unwrap_or_else(|error| panic!("does not open: {error}"));
    let sequence = run.life.db.snapshot().sequence();
    let (kept, synced) = before.kept();
    let least = if then == Then::PowerCut { synced } else { kept };
    assert!(sequence >= least, "lost: {sequence} after {least} was acknowledged");
    let model = before.model(sequence);
    let model = model.unwrap_or_else(|| panic!("transaction {sequence} is older than all")).clone();
    run.check(&model);
    let Run { life, stepper } = run;
    Run { life: Life::new(life.db, chance, model), stepper }
}

fn fail(disk: &SimDisk, then: Then) {
    match then {
        Then::PowerCut => disk.cut_power(),
        Then::Restart => disk.restart(),
    }
}

/// Bits flipped, and times that the disk is full, of one seed.
const CHANCES: u64 = 60;

/// How many drills of this kind a seed has: the last operation of its workload that can fail.
///
/// # Panics
/// When the workload fails although the disk does not.
#[must_use]
pub fn points(failing: Failing, seed: u64) -> u64 {
    if matches!(failing, Failing::Brim | Failing::Flip) {
        return CHANCES;
    }
    let disk = SimDisk::new(seed);
    let mut run = Run::open(&disk, seed, seed, Model::default()).expect("a new disk");
    run.rounds(ROUNDS).expect("nothing fails");
    let (operations, reads) = (disk.operations(), disk.reads());
    let model = run.life.newest().clone();
    run.stepper.commit();
    run.stepper.sync();
    run.check(&model);
    if failing == Failing::Read { reads } else { operations }
}

impl Drill {
    /// Runs the drill; a violation is a panic.
    fn run(&self) {
        let Self { failing, then, seed, operation } = *self;
        let disk = SimDisk::new(seed ^ (operation << 20));
        if let Some(fault) = failing.fault() {
            disk.plan(operation, fault);
        }
        let run = match Run::open(&disk, seed, seed, Model::default()) {
            Ok(run) => run,
            Err(_) => {
                // It failed while being created; nothing was promised.
                fail(&disk, then);
                Run::open(&disk, seed, seed, Model::default()).expect("a new database")
            }
        };
        match failing {
            Failing::PowerCut | Failing::Eio => self.die_and_rise(&disk, run),
            Failing::Full => self.go_on_when_full(&disk, run),
            Failing::Brim => self.go_on_when_there_is_room_again(&disk, run),
            Failing::Read => self.live_with_a_failed_read(&disk, run),
            Failing::Lie => {
                let mut run = run;
                drop(run.rounds(ROUNDS));
                drop(run.stepper);
                fail(&disk, then);
                self.never_show_damage(&disk, &run.life);
            }
            Failing::Flip => self.flip(&disk, run),
        }
    }

    fn die_and_rise(&self, disk: &SimDisk, mut run: Run) {
        let Self { then, seed, operation, .. } = *self;
        let failed = run.rounds(ROUNDS);
        if let Err(error) = failed {
            let is_expected = matches!(
                error,
                Error::Poisoned { .. } | Error::Io { .. } | Error::Closed | Error::LargeLost
            );
            assert!(is_expected, "an unexpected failure: {error}");
        }
        let mut chance = Seed::new(seed ^ operation);
        let mut life = run.life;
        drop(run.stepper);
        for generation in 0..2 {
            fail(disk, then);
            // The power also goes while opening.
            if chance.number().is_multiple_of(2) {
                disk.plan(1 + chance.number() % 8, Fault::PowerCut);
                drop(Run::open(disk, seed, 0, Model::default()));
                fail(disk, then);
            }
            let mut next = reopen(disk, seed, seed + 1 + generation, &life, then);
            // What opening showed must be there after the next failure, too.
            if !chance.number().is_multiple_of(3) {
                disk.plan(disk.operations() + 1 + chance.number() % 30, Fault::PowerCut);
                drop(next.rounds(3));
            }
            life = next.life;
        }
        fail(disk, then);
        let mut last = reopen(disk, seed, 0, &life, then);
        last.rounds(1).expect("a sound disk");
        last.stepper.sync();
        last.tidy().expect("a sound disk");
        let model = last.life.newest().clone();
        last.check(&model);
    }

    /// A full disk refuses and heals by itself.
    fn go_on_when_full(&self, disk: &SimDisk, mut run: Run) {
        let Self { then, seed, .. } = *self;
        for _ in 0..ROUNDS {
            match run.round() {
                Ok(()) => {}
                Err(error) if error.is_no_space() => {
                    // What was refused is not there; the rest is, and more may be written.
                    run.stepper.commit();
                    run.life.forget_lost();
                    run.check(&run.life.newest().clone());
                }
                // A full disk met by a sync, or while a name is made durable, may have done
                // anything.
                Err(error) => {
                    let end = run.life.db.check();
                    assert!(matches!(end, Err(Error::Poisoned { .. })), "{error}, then {end:?}");
                    break;
                }
            }
        }
        drop(run.stepper);
        fail(disk, then);
        reopen(disk, seed, 1, &run.life, then);
    }

    /// A disk that was full takes everything again when it is not, without a new start.
    fn go_on_when_there_is_room_again(&self, disk: &SimDisk, mut run: Run) {
        let Self { then, seed, operation, .. } = *self;
        let mut chance = Seed::new(seed ^ (operation << 24));
        let (before, during) = (chance.between(0, 6), chance.between(1, 3));
        let before = usize::try_from(before).unwrap_or(0);
        run.rounds(before).expect("the disk has room");
        let room = usize::try_from(chance.between(0, 12_000)).unwrap_or(0);
        disk.limit(Some(disk.bytes() + room));
        for _ in 0..during {
            if let Err(error) = run.round() {
                let is_expected = error.is_no_space() || matches!(error, Error::LargeLost);
                assert!(is_expected, "a full disk is told as something else: {error}");
                run.stepper.commit();
                run.life.forget_lost();
            }
            run.life.db.check().expect("a full disk ends nothing");
            compare(&run.life.db.snapshot(), run.life.newest()).expect("it reads");
        }
        disk.limit(None);
        run.rounds(ROUNDS).expect("the disk has room again");
        run.stepper.sync();
        run.tidy().expect("the disk has room again");
        run.check(&run.life.newest().clone());
        drop(run.stepper);
        fail(disk, then);
        reopen(disk, seed, 1, &run.life, then);
    }

    /// A read that fails is told to who asked, and changes nothing.
    fn live_with_a_failed_read(&self, disk: &SimDisk, mut run: Run) {
        let Self { then, seed, operation, .. } = *self;
        let is_while_opening = operation.is_multiple_of(3);
        if !is_while_opening {
            disk.plan_read(operation);
        }
        for _ in 0..ROUNDS {
            if let Err(error) = run.round() {
                assert!(matches!(error, Error::Io { .. }), "a read failed, told was: {error}");
                run.stepper.commit();
            }
            run.life.db.check().expect("a failed read ends nothing");
        }
        run.check(&run.life.newest().clone());
        drop(run.stepper);
        fail(disk, then);
        if is_while_opening {
            disk.plan_read(1 + operation % 40);
            match Run::open(disk, seed, 1, Model::default()) {
                Ok(_) | Err(Error::Io { .. }) => {}
                Err(error) => panic!("a read failed while opening, told was: {error}"),
            }
            fail(disk, then);
        }
        let mut last = reopen(disk, seed, 1, &run.life, then);
        last.rounds(1).expect("a sound disk");
        last.stepper.sync();
        last.tidy().expect("a sound disk");
        last.check(&last.life.newest().clone());
    }

    /// A bit flips in a database that is not open: closed in good order, or not.
    fn flip(&self, disk: &SimDisk, mut run: Run) {
        let Self { then, seed, operation, .. } = *self;
        run.rounds(ROUNDS).expect("nothing fails");
        match then {
            Then::Restart => run.stepper.finish(),
            Then::PowerCut => drop(run.stepper),
        }
        fail(disk, then);
        let mut chance = Seed::new(seed ^ (operation << 24));
        let mut pick = |count: usize| {
            let at = chance.number() % u64::try_from(count.max(1)).unwrap_or(1);
            usize::try_from(at).unwrap_or(0)
        };
        let names = disk.list().expect("it lists");
        let name = names.get(pick(names.len())).cloned().unwrap_or_default();
        let len = disk.file(&name).map_or(0, |bytes| bytes.len());
        let (offset, bit) = (pick(len), pick(8));
        if len > 0 {
            assert!(disk.damage(&name, offset, 1 << bit), "{name} has a byte {offset}");
        }
        self.never_show_damage(disk, &run.life);
    }

    /// Where a disk broke its word something may be lost; what is shown then is a whole state as of
    /// some transaction, or damage that is named.
    fn never_show_damage(&self, disk: &SimDisk, before: &Life) {
        let Self { failing, then, seed, .. } = *self;
        let mut again = match Run::open(disk, seed, 0, Model::default()) {
            Ok(again) => again,
            Err(
                Error::Corrupt { .. }
                | Error::MetaMissing { .. }
                | Error::Unknown { .. }
                | Error::WrongKey { .. }
                | Error::Io { .. },
            ) => return,
            Err(error) => panic!("{error}"),
        };
        let sequence = again.life.db.snapshot().sequence();
        let (kept, _) = before.kept();
        if failing == Failing::Flip && then == Then::Restart {
            // It was closed in good order: every record is vouched for by a later one.
            assert!(sequence >= kept, "silently lost: {sequence} after {kept} was acknowledged");
        }
        let model = before.model(sequence).expect("a transaction that was made").clone();
        let is_plain = |error: &Error| {
            matches!(error, Error::Corrupt { .. } | Error::Io { .. } | Error::Row { .. })
        };
        match compare(&again.life.db.snapshot(), &model) {
            Ok(()) => {}
            Err(error) if is_plain(&error) => return,
            Err(error) => panic!("{error}"),
        }
        // It may go on until it meets the damage.
        again.life = Life::new(again.life.db.clone(), seed, model);
        if let Err(error) = again.rounds(2) {
            assert!(is_plain(&error) || matches!(error, Error::Poisoned { .. }), "{error}");
        }
    }

    /// Runs the drill, and says what went wrong.
    ///
    /// # Errors
    /// What the panic said, with the command that repeats it.
    pub fn attempt(&self) -> Result<(), String> {
        attempt(self, || self.run())
    }
}

/// Runs a drill, and turns a panic into words and the command that repeats it.
fn attempt(drill: &dyn fmt::Display, run: impl FnOnce()) -> Result<(), String> {
    panic::catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let words = payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(|words| (*words).to_owned()));
        let words = words.unwrap_or_else(|| "a panic without words".to_owned());
        format!("{words}\nreplay: cargo run --release -p grace-tests -- crash --drill {drill}")
    })
}
