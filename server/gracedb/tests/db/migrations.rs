//! Tables that change from one program to the next.

use std::sync::Arc;

use gracedb::db::Db;
use gracedb::disk::sim::{Fault, SimDisk};
use gracedb::error::Error;
use gracedb::large::Large;
use gracedb::migrate::Migration;
use gracedb::options::Options;
use gracedb::pending::block_on;
use gracedb::schema::Schema;
use gracedb::table::Table;
use gracedb::view::{Snapshot, View};
use serde::{Deserialize, Serialize};

use crate::tables::{check, pattern};

/// As the first program has it: a note, and its text apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 1, name = "note")]
#[index(id = 1, name = NoteByText1, fields(text))]
struct Note1 {
    #[key]
    id: u32,
    text: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 2, name = "text")]
struct Text1 {
    #[key]
    id: u64,
    bytes: Large,
}

/// As the second one has it: a note with its text, which nobody else has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 1, name = "note", version = 2)]
#[index(id = 1, name = NoteByDay, fields(day))]
#[index(id = 2, name = NoteByName2, fields(name), unique)]
struct Note2 {
    #[key]
    day: u8,
    #[key]
    id: u32,
    name: String,
    text: Large,
}

/// As the third one has it: only an index is new.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 1, name = "note", version = 3)]
#[index(id = 1, name = NoteById, fields(id))]
#[index(id = 2, name = NoteByName3, fields(name), unique)]
struct Note3 {
    #[key]
    day: u8,
    #[key]
    id: u32,
    name: String,
    text: Large,
}

const FIRST: Schema = Schema::new(&[Note1::DEF, Text1::DEF]);
const SECOND: Schema = Schema::new(&[Note2::DEF]);
const THIRD: Schema = Schema::new(&[Note3::DEF]);
/// Two notes in three stay; with more than one batch of them.
const NOTES: u32 = 900;

fn day(id: u32) -> u8 {
    u8::try_from(id % 7).unwrap()
}

fn text(id: u32) -> Vec<u8> {
    pattern(usize::try_from(id % 50).unwrap() * 20, 5)
}

/// The second program leaves every third note out.
#[expect(clippy::needless_pass_by_value, reason = "a migration is given the row")]
fn second(view: &Snapshot, old: Note1) -> Result<Option<Note2>, Error> {
    let Note1 { id, text } = old;
    if id.is_multiple_of(3) {
        return Ok(None);
    }
    let text = view.get::<Text1>(&text)?.map(|text| text.bytes).unwrap_or_default();
    Ok(Some(Note2 { day: day(id), id, name: format!("note {id}"), text }))
}

fn to_second() -> Vec<Migration> {
    vec![Migration::rows(second), Migration::drop::<Text1>()]
}

fn to_third() -> Vec<Migration> {
    let third = |_: &Snapshot, old: Note2| {
        let Note2 { day, id, name, text } = old;
        Ok(Some(Note3 { day, id, name, text }))
    };
    to_second().into_iter().chain([Migration::rows(third)]).collect()
}

fn options(disk: &SimDisk) -> Options {
    Options {
        segment_bytes: 128 << 10,
        mem_bytes: 16 << 10,
        unflushed_bytes: 64 << 10,
        ahead_bytes: 8 << 10,
        chunk_bytes: 600,
        identity: Some(*b"notes and notes!"),
        ..Options::with_disk(Arc::new(disk.clone()))
    }
}

/// A database of the first program.
fn first(notes: u32) -> SimDisk {
    let disk = SimDisk::new(11);
    let (db, stepper) = Db::open_stepped(options(&disk), FIRST, &[]).unwrap();
    for from in (0..notes).step_by(50) {
        let done = db.write(|tx| {
            for id in from..(from + 50).min(notes) {
                let bytes = block_on(async {
                    let mut writer = db.large_writer();
                    writer.write(&text(id)).await?;
                    writer.finish().await
                })?;
                let text = u64::from(id) + 5_000;
                tx.insert(&Text1 { id: text, bytes })?;
                tx.insert(&Note1 { id, text })?;
            }
            tx.next_id::<Text1>()
        });
        stepper.commit();
        done.unwrap().wait().unwrap();
        while stepper.flush().unwrap() {}
    }
    stepper.finish();
    disk
}

fn check_second(db: &Db, notes: u32) {
    check_notes::<Note2>(db, notes, |note| (note.day, note.id, note.name, note.text));
    let snap = db.snapshot();
    let of_day = snap.by_index::<NoteByDay>(&3u8).count();
    let expected = (0..notes).filter(|id| !id.is_multiple_of(3) && day(*id) == 3).count();
    assert_eq!(of_day, expected);
    assert_eq!(snap.find::<NoteByName2>("note 10").unwrap().map(|note| note.id), Some(10));
}

fn check_third(db: &Db, notes: u32) {
    check_notes::<Note3>(db, notes, |note| (note.day, note.id, note.name, note.text));
    let snap = db.snapshot();
    let ids = snap.by_index_range::<NoteById>(..).map(|note| note.unwrap().id);
    let expected: Vec<_> = (0..notes).filter(|id| !id.is_multiple_of(3)).collect();
    assert_eq!(ids.collect::<Vec<_>>(), expected);
    assert_eq!(snap.find::<NoteByName3>("note 10").unwrap().map(|note| note.id), Some(10));
}

fn check_notes<T: Table>(db: &Db, notes: u32, fields: impl Fn(T) -> (u8, u32, String, Large)) {
    let snap = db.snapshot();
    let mut expected: Vec<_> = (0..notes).filter(|id| !id.is_multiple_of(3)).collect();
    expected.sort_by_key(|id| (day(*id), *id));
    let found: Vec<_> = snap.scan::<T>().map(|note| fields(note.unwrap())).collect();
    assert_eq!(found.iter().map(|note| note.1).collect::<Vec<_>>(), expected);
    for (on, id, name, body) in found {
        assert_eq!((on, name), (day(id), format!("note {id}")));
        assert_eq!(snap.open_large(&body).read_all(1 << 20).unwrap(), text(id));
    }
    check(db);
}

#[test]
fn a_table_becomes_another_and_another_goes() {
    let disk = first(NOTES);
    let db = Db::open_with(options(&disk), SECOND, &to_second()).unwrap();
    check_second(&db, NOTES);
    db.close();
    // What was done once is not done again, with the migrations or without.
    let db = Db::open(options(&disk), SECOND).unwrap();
    check_second(&db, NOTES);
    db.close();
    let db = Db::open_with(options(&disk), THIRD, &to_third()).unwrap();
    check_third(&db, NOTES);
}

#[test]
fn programs_may_be_left_out() {
    let disk = first(NOTES);
    let db = Db::open_with(options(&disk), THIRD, &to_third()).unwrap();
    check_third(&db, NOTES);
}

#[test]
fn without_a_migration_nothing_is_touched() {
    let disk = first(40);
    let before = disk.fork(1);
    let error = Db::open(options(&disk), SECOND).err().unwrap();
    let told = error.to_string();
    assert!(matches!(error, Error::Schema { .. }), "{told}");
    assert!(told.contains("note") && told.contains("text"), "{told}");
    for disk in [disk, before] {
        let db = Db::open(options(&disk), FIRST).unwrap();
        assert_eq!(db.snapshot().scan::<Note1>().count(), 40);
        check(&db);
    }
}

#[test]
fn a_migration_that_fails_leaves_the_database_to_the_older_program() {
    let disk = first(NOTES);
    let failing = |view: &Snapshot, old: Note1| match old.id {
        700 => Err(Error::Row { table: "note", reason: "nobody knows this one".to_owned() }),
        _ => second(view, old),
    };
    let migrations = [Migration::rows(failing), Migration::drop::<Text1>()];
    let error = Db::open_with(options(&disk), SECOND, &migrations).err().unwrap().to_string();
    assert!(error.contains("nobody knows this one"), "{error}");
    let db = Db::open(options(&disk), FIRST).unwrap();
    assert_eq!(db.snapshot().scan::<Note1>().count(), NOTES as usize);
    check(&db);
    db.close();
    let db = Db::open_with(options(&disk), SECOND, &to_second()).unwrap();
    check_second(&db, NOTES);
}

#[test]
fn the_power_may_go_at_any_moment_of_a_migration() {
    // Over a batch, so that there is more than one step of each kind.
    let notes = 800;
    let made = first(notes);
    let mut cuts = 0;
    for operation in (0..).step_by(3) {
        let disk = made.fork(operation);
        disk.plan(disk.operations() + operation, Fault::PowerCut);
        let planned = disk.operations() + operation;
        let opened = Db::open_stepped(options(&disk), SECOND, &to_second());
        let is_over = disk.operations() < planned;
        drop(opened);
        disk.restart();
        let db = Db::open_with(options(&disk), SECOND, &to_second());
        let db = db.unwrap_or_else(|error| panic!("cut at {operation}: {error}"));
        check_second(&db, notes);
        if is_over {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 8, "only {cuts} cuts");
}
