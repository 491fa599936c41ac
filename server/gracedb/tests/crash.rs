//! The database on a dying disk, against a model in memory.
//!
//! One seed makes one workload: transactions of puts, deletes and large values in groups. It runs
//! once to count the disk's operations, then once for every operation with the disk failing there.
//! After each failure the database is opened again and must be exactly the model as of some
//! transaction not older than the last one acknowledged and not newer than the last one made.
//! Replay one failure with the line it prints: `GRACEDB_CRASH=seed:operation cargo test …`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells its seed"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use gracedb::db::{Db, Options, Stepper};
use gracedb::disk::sim::{Fault, SimDisk};
use gracedb::error::Error;
use gracedb::large::Large;
use gracedb::pending::{Pending, block_on};
use gracedb::schema::Schema;
use gracedb::table::Table;
use gracedb::view::View;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 1, name = "letter")]
#[index(id = 1, name = LetterByTag, fields(tag))]
#[index(id = 2, name = LetterByNumber, fields(number), unique)]
struct Letter {
    #[key]
    mailbox: u8,
    #[key]
    uid: u16,
    tag: u8,
    number: u64,
    body: Large,
}

const SCHEMA: Schema = Schema::new(&[Letter::DEF]);

/// What a letter must be: tag, number, and the seed and length of its body.
type Model = BTreeMap<(u8, u16), (u8, u64, u64, usize)>;

struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % below
    }
    fn byte(&mut self, below: u64) -> u8 {
        u8::try_from(self.below(below)).unwrap()
    }
}

fn body(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.byte(256)).collect()
}

fn options(disk: &SimDisk) -> Options {
    Options {
        segment_bytes: 16 << 10,
        ahead_bytes: 4096,
        chunk_bytes: 700,
        identity: Some(*b"a simulated disk"),
        ..Options::with_disk(Arc::new(disk.clone()))
    }
}

/// One life of the database, and what it must hold.
struct Life {
    db: Db,
    stepper: Stepper,
    random: Random,
    /// The model after each transaction; the first is the one opened with.
    models: Vec<Model>,
    /// Number of the transaction that `models` starts after.
    base: u64,
    acknowledged: u64,
    next_number: u64,
}

impl Life {
    fn open(disk: &SimDisk, seed: u64, model: Model) -> Result<Self, Error> {
        let (db, stepper) = Db::open_stepped(options(disk), SCHEMA)?;
        let base = db.snapshot().sequence();
        let next_number = model.values().map(|letter| letter.1 + 1).max().unwrap_or(0);
        let random = Random(seed);
        let models = vec![model];
        Ok(Self { db, stepper, random, models, base, acknowledged: base, next_number })
    }

    /// Some transactions at once, written as one group. Stops at an error of the database.
    fn round(&mut self) -> Result<(), Error> {
        let mut pendings = Vec::new();
        for _ in 0..=self.random.below(3) {
            pendings.push(self.transaction()?);
            if self.random.below(6) == 0 {
                // Half a letter whose sender hung up.
                let mut orphan = self.db.large_writer();
                block_on(orphan.write(&body(1, 1_000)))?;
            }
        }
        self.stepper.step();
        for pending in pendings {
            match pending.wait() {
                Ok(sequence) => self.acknowledged = sequence,
                Err(error) => {
                    let kept = usize::try_from(self.acknowledged - self.base).unwrap() + 1;
                    if error.is_no_space() {
                        self.models.truncate(kept);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn transaction(&mut self) -> Result<Pending<u64>, Error> {
        let mut model = self.models.last().unwrap().clone();
        let sequence = self.base + self.models.len() as u64;
        let mut puts = Vec::new();
        for _ in 0..=self.random.below(3) {
            let (seed, len) = (self.random.below(1_000), self.random.below(2_500));
            let bytes = body(seed, usize::try_from(len).unwrap());
            let large = block_on(async {
                let mut writer = self.db.large_writer();
                writer.write(&bytes).await?;
                writer.finish().await
            })?;
            // One body, several letters.
            for _ in 0..=self.random.below(2) {
                let key = (self.random.byte(3), u16::from(self.random.byte(20)));
                let tag = self.random.byte(4);
                model.insert(key, (tag, self.next_number, seed, bytes.len()));
                puts.push(Letter {
                    mailbox: key.0,
                    uid: key.1,
                    tag,
                    number: self.next_number,
                    body: large.clone(),
                });
                self.next_number += 1;
            }
        }
        let gone = (self.random.byte(3), u16::from(self.random.byte(20)));
        model.remove(&gone);
        let mailbox_gone = (self.random.below(8) == 0).then(|| self.random.byte(3));
        if let Some(mailbox) = mailbox_gone {
            model.retain(|key, _| key.0 != mailbox);
        }
        let pending = self.db.write(|tx| {
            for letter in &puts {
                tx.put(letter)?;
            }
            tx.delete::<Letter>(&gone)?;
            if let Some(mailbox) = mailbox_gone {
                tx.delete_prefix::<Letter>(&(mailbox,))?;
            }
            assert_eq!(tx.scan::<Letter>().count(), model.len());
            Ok::<_, Error>(sequence)
        })?;
        self.models.push(model);
        Ok(pending)
    }

    fn rounds(&mut self, count: usize) -> Result<(), Error> {
        (0..count).try_for_each(|_| self.round())
    }
}

/// Compares rows, bodies and indexes with the model.
fn check_rows(db: &Db, model: &Model) {
    let snap = db.snapshot();
    let rows: Vec<Letter> = snap.scan::<Letter>().map(Result::unwrap).collect();
    let found: Vec<_> = rows.iter().map(|row| (row.mailbox, row.uid)).collect();
    assert!(found.iter().eq(model.keys()), "rows {found:?}, expected {:?}", model.keys());
    for row in &rows {
        let (tag, number, seed, len) = model[&(row.mailbox, row.uid)];
        assert_eq!((row.tag, row.number), (tag, number));
        let bytes = snap.open_large(&row.body).unwrap().read_all(10_000).unwrap();
        assert!(bytes == body(seed, len), "the body of {}/{}", row.mailbox, row.uid);
    }
    check_indexes(&snap, &rows);
    let mut bodies: Vec<_> = rows.iter().map(|row| format!("{:?}", row.body)).collect();
    bodies.sort();
    bodies.dedup();
    let live: u64 = rows
        .iter()
        .map(|row| (format!("{:?}", row.body), row.body.len()))
        .collect::<BTreeMap<_, _>>()
        .values()
        .sum();
    assert_eq!((db.stats().rows, db.stats().large_bytes_live), (rows.len() as u64, live));
}

fn check_indexes(view: &View, rows: &[Letter]) {
    let mut by_tag: Vec<_> = rows.iter().map(|row| (row.tag, row.mailbox, row.uid)).collect();
    by_tag.sort_unstable();
    let found = view.by_index_range::<LetterByTag>(..).map(Result::unwrap);
    assert!(found.map(|row| (row.tag, row.mailbox, row.uid)).eq(by_tag), "the index by tag");
    let mut numbers: Vec<_> = rows.iter().map(|row| row.number).collect();
    numbers.sort_unstable();
    let found = view.by_index_range::<LetterByNumber>(..).map(Result::unwrap);
    assert!(found.map(|row| row.number).eq(numbers), "the index by number");
}

/// Opens after a failure; gives back the database and the model it must agree with.
fn reopen(disk: &SimDisk, life: &Life) -> (Life, Model) {
    let next = Life::open(disk, life.random.0, Model::new()).unwrap_or_else(|error| {
        panic!("does not open: {error}");
    });
    let sequence = next.base;
    assert!(sequence >= life.acknowledged, "lost: {sequence} after {}", life.acknowledged);
    let model = life.models.get(usize::try_from(sequence - life.base).unwrap());
    let model = model.unwrap_or_else(|| panic!("transaction {sequence} was never made")).clone();
    check_rows(&next.db, &model);
    (next, model)
}

fn reopened(disk: &SimDisk, life: &Life, seed: u64) -> Life {
    let (next, model) = reopen(disk, life);
    drop(next);
    disk.restart();
    let life = Life::open(disk, seed, model.clone()).unwrap();
    check_rows(&life.db, &model);
    life
}

const ROUNDS: usize = 8;

/// What follows the failure.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    PowerCut,
    Restart,
}

/// Runs a workload that fails at `operation`, then goes on with what is left, twice.
fn fail_at(seed: u64, operation: u64, fault: Fault, then: Then) {
    let disk = SimDisk::new(seed ^ (operation << 20));
    disk.plan(operation, fault);
    let mut life = match Life::open(&disk, seed, Model::new()) {
        Ok(mut life) => {
            drop(life.rounds(ROUNDS));
            life
        }
        Err(_) => {
            // It failed while being created; nothing was promised.
            disk.cut_power();
            Life::open(&disk, seed, Model::new()).unwrap()
        }
    };
    let mut random = Random(seed ^ operation);
    for generation in 0..3 {
        match then {
            Then::PowerCut => disk.cut_power(),
            Then::Restart => disk.restart(),
        }
        // The power also goes while opening.
        if random.below(2) == 0 {
            disk.plan(1 + random.below(4), Fault::PowerCut);
            drop(Life::open(&disk, 0, Model::new()));
            disk.cut_power();
        }
        let mut next = reopened(&disk, &life, seed + 1 + generation);
        // What opening showed must be there after the next cut, too.
        if random.below(3) == 0 {
            disk.cut_power();
        } else {
            disk.plan(disk.operations() + 1 + random.below(12), Fault::PowerCut);
            drop(next.rounds(3));
            disk.cut_power();
        }
        life = next;
    }
    reopened(&disk, &life, 0);
}

/// Operations of the workload when nothing fails.
fn operations(seed: u64) -> u64 {
    let disk = SimDisk::new(seed);
    let mut life = Life::open(&disk, seed, Model::new()).unwrap();
    life.rounds(ROUNDS).unwrap();
    assert!(life.db.stats().segments > 1, "the workload never begins a second segment");
    let count = disk.operations();
    drop(reopened_after_restart(&disk, &life));
    count
}

fn reopened_after_restart(disk: &SimDisk, life: &Life) -> Life {
    disk.restart();
    reopened(disk, life, 0)
}

/// Fails at every operation of the workloads of some seeds.
fn check(name: &str, seeds: std::ops::Range<u64>, fault: Fault, then: Then) {
    let only = std::env::var("GRACEDB_CRASH").ok();
    let only = only.as_deref().and_then(|text| text.split_once(':'));
    let mut points = 0;
    for seed in seeds {
        for operation in 1..=operations(seed) {
            if only.is_some_and(|(s, o)| s != seed.to_string() || o != operation.to_string()) {
                continue;
            }
            points += 1;
            let run = std::panic::catch_unwind(|| fail_at(seed, operation, fault, then));
            if let Err(panic) = run {
                eprintln!(
                    "replay with: GRACEDB_CRASH={seed}:{operation} cargo test -p gracedb --test crash {name}"
                );
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{name}: {points} failures, none lost anything");
    assert!(only.is_some() || points > 500, "only {points} points");
}

#[test]
fn power_cut_at_every_operation() {
    check("power_cut_at_every_operation", 0..60, Fault::PowerCut, Then::PowerCut);
}

#[test]
fn killed_at_every_operation() {
    check("killed_at_every_operation", 100..120, Fault::PowerCut, Then::Restart);
}

#[test]
fn input_output_error_at_every_operation_then_power_cut() {
    let name = "input_output_error_at_every_operation_then_power_cut";
    check(name, 200..220, Fault::Eio, Then::PowerCut);
}

#[test]
fn input_output_error_at_every_operation_then_restart() {
    let name = "input_output_error_at_every_operation_then_restart";
    check(name, 300..320, Fault::Eio, Then::Restart);
}

#[test]
fn a_failed_sync_poisons_and_says_so() {
    let disk = SimDisk::new(1);
    let mut life = Life::open(&disk, 1, Model::new()).unwrap();
    life.rounds(2).unwrap();
    // The next round: zeros ahead, or the records, then the sync.
    let mut error = None;
    for operation in 1..20 {
        disk.plan(disk.operations() + operation, Fault::Eio);
    }
    for _ in 0..3 {
        error = life.round().err().or(error);
    }
    let error = error.unwrap();
    assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    assert!(error.to_string().contains(".gj: "), "{error}");
    assert!(matches!(life.db.check(), Err(Error::Poisoned { .. })));
    // Reading goes on.
    let kept = usize::try_from(life.acknowledged).unwrap();
    check_rows(&life.db, &life.models[kept]);
}

#[test]
fn a_full_disk_refuses_and_heals_by_itself() {
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        let mut life = Life::open(&disk, seed, Model::new()).unwrap();
        let mut refused = 0;
        for round in 0..30u64 {
            let full = round % 3 == 1;
            disk.limit(full.then(|| disk.bytes() + usize::try_from(seed * 100).unwrap()));
            if let Err(error) = life.round() {
                assert!(full && error.is_no_space(), "seed {seed}: {error}");
                refused += 1;
            }
            let kept = usize::try_from(life.acknowledged - life.base).unwrap();
            assert_eq!(kept + 1, life.models.len(), "seed {seed}");
            check_rows(&life.db, &life.models[kept]);
        }
        assert!(refused > 0, "seed {seed}");
        disk.limit(None);
        disk.cut_power();
        reopened(&disk, &life, 0);
    }
}

#[test]
fn a_full_disk_at_every_operation() {
    for seed in 0..10 {
        for operation in 10..operations(seed) {
            let disk = SimDisk::new(seed);
            let mut life = Life::open(&disk, seed, Model::new()).unwrap();
            disk.plan(operation, Fault::NoSpace);
            for _ in 0..ROUNDS {
                if let Err(error) = life.round() {
                    if matches!(error, Error::Poisoned { .. }) {
                        break;
                    }
                    assert!(error.is_no_space(), "{error}");
                }
            }
            disk.cut_power();
            reopened(&disk, &life, 0);
        }
    }
}

#[test]
fn a_large_value_lost_with_a_full_disk_cannot_be_referenced() {
    let disk = SimDisk::new(3);
    let mut life = Life::open(&disk, 3, Model::new()).unwrap();
    let write = |db: &Db| {
        block_on(async {
            let mut writer = db.large_writer();
            writer.write(&[7; 9_000]).await.unwrap();
            writer.finish().await.unwrap()
        })
    };
    let letter = |body| Letter { mailbox: 1, uid: 1, tag: 1, number: 1, body };
    let large = write(&life.db);
    disk.limit(Some(disk.bytes()));
    life.stepper.step();
    disk.limit(None);
    let refused = life.db.write(|tx| tx.put(&letter(large)));
    assert!(matches!(refused, Err(Error::LargeLost)));
    let again = write(&life.db);
    let pending = life.db.write(|tx| tx.put(&letter(again))).unwrap();
    life.stepper.step();
    pending.wait().unwrap();
    let snap = life.db.snapshot();
    let row = snap.get::<Letter>(&(1, 1)).unwrap().unwrap();
    assert_eq!(snap.open_large(&row.body).unwrap().read_all(9_000).unwrap(), [7; 9_000]);
}

/// Reads everything there is; true when all of it is as the model says.
fn all_reads_agree(db: &Db, model: &Model) -> bool {
    let snap = db.snapshot();
    let mut agree = true;
    for row in snap.scan::<Letter>() {
        let Ok(row) = row else { return false };
        let (tag, number, seed, len) = model[&(row.mailbox, row.uid)];
        assert_eq!((row.tag, row.number), (tag, number));
        match snap.open_large(&row.body).unwrap().read_all(10_000) {
            Ok(bytes) => assert!(bytes == body(seed, len), "damaged bytes were returned"),
            Err(Error::Corrupt { file, offset, .. }) => {
                assert!(file.ends_with(".gj") && offset > 0);
                agree = false;
            }
            Err(error) => panic!("{error}"),
        }
    }
    agree && snap.scan::<Letter>().count() == model.len()
}

#[test]
fn damage_is_an_error_and_never_data() {
    let disk = SimDisk::new(5);
    let mut life = Life::open(&disk, 5, Model::new()).unwrap();
    life.rounds(4).unwrap();
    let (model, sequence) = (life.models.last().unwrap().clone(), life.acknowledged);
    life.stepper.finish();
    drop(life.db);
    disk.restart();
    let (mut refused, mut unread) = (0, 0);
    // The first segments, and the one that was being written.
    let names: Vec<_> = (1..99).map(|number| format!("{number:010}.gj")).collect();
    let names: Vec<_> = names.iter().filter(|name| disk.file(name).is_some()).collect();
    assert!(names.len() > 2);
    for name in [names[0], names[1], names[names.len() - 1]] {
        let len = disk.file(name).unwrap().len();
        for offset in (0..len).step_by(7) {
            assert!(disk.damage(name, offset, 1 << (offset % 8)));
            let before = disk.file(name).unwrap();
            match Db::open_stepped(options(&disk), SCHEMA) {
                Err(Error::Corrupt { file, .. } | Error::Unknown { file, .. }) => {
                    assert_eq!(&file, name);
                    assert_eq!(disk.file(name).unwrap(), before, "a refused file was changed");
                    refused += 1;
                }
                Err(error) => panic!("{error}"),
                Ok((db, _)) => {
                    assert_eq!(db.snapshot().sequence(), sequence, "{name} {offset}");
                    unread += u32::from(!all_reads_agree(&db, &model));
                }
            }
            disk.restart();
            if disk.file(name).unwrap() == before {
                assert!(disk.damage(name, offset, 1 << (offset % 8)));
            }
        }
    }
    assert!(refused > 100 && unread > 100, "refused {refused}, unreadable bodies {unread}");
}

#[test]
fn a_cut_record_does_not_come_back_behind_a_later_one() {
    let disk = SimDisk::new(1);
    let letter = |uid, tag| Letter { mailbox: 1, uid, tag, number: 0, body: Large::default() };
    let (db, mut stepper) = Db::open_stepped(options(&disk), SCHEMA).unwrap();
    let before = disk.file("0000000001.gj").unwrap();
    let first_at = before.iter().rposition(|byte| *byte != 0).unwrap().next_multiple_of(8);
    // Two in one group; the power goes while it is synced, and the first loses a sector.
    let first = db.write(|tx| tx.insert(&letter(1, 1))).unwrap();
    let second = db.write(|tx| tx.put(&letter(1, 2))).unwrap();
    disk.plan(disk.operations() + 2, Fault::PowerCut);
    stepper.step();
    assert!(first.wait().is_err() && second.wait().is_err());
    drop((db, stepper));
    disk.restart();
    assert!(disk.damage("0000000001.gj", first_at + 45, 0xFF));
    // Another one takes the first one's place, with the same number and the same length.
    let (db, mut stepper) = Db::open_stepped(options(&disk), SCHEMA).unwrap();
    let cut = db.opened().cut.clone().unwrap();
    assert_eq!((cut.offset, db.snapshot().sequence()), (first_at as u64, 0));
    let third = db.write(|tx| tx.insert(&letter(1, 3))).unwrap();
    stepper.step();
    third.wait().unwrap();
    drop((db, stepper));
    disk.restart();
    let (db, _) = Db::open_stepped(options(&disk), SCHEMA).unwrap();
    assert_eq!(db.snapshot().get::<Letter>(&(1, 1)).unwrap().unwrap().tag, 3);
    assert_eq!((db.snapshot().sequence(), &db.opened().cut), (1, &None));
}

#[test]
fn the_whole_file_is_frozen() {
    let disk = SimDisk::new(1);
    let (db, mut stepper) = Db::open_stepped(options(&disk), SCHEMA).unwrap();
    let large = block_on(async {
        let mut writer = db.large_writer();
        writer.write(b"Subject: hi\r\n\r\nhello\r\n").await.unwrap();
        writer.finish().await.unwrap()
    });
    let letter = Letter { mailbox: 1, uid: 2, tag: 3, number: 4, body: large };
    let pending = db.write(|tx| tx.put(&letter)).unwrap();
    stepper.step();
    pending.wait().unwrap();
    stepper.finish();
    let file = disk.file("0000000001.gj").unwrap();
    let mut dump = String::new();
    for (at, line) in file.chunks(16).enumerate().filter(|(_, line)| line.iter().any(|b| *b != 0)) {
        let hex: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        dump.push_str(&format!("{:04x}: {}\n", at * 16, hex.join(" ")));
    }
    let golden = include_str!("golden/journal-v1.txt");
    assert_eq!(dump, golden, "the format changed; a released format never does\n{dump}");
}
