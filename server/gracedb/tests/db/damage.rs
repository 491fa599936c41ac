//! Bytes on the disk that are not what was written: found, told, never taken for data; and what is
//! left is saved.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gracedb::db::Db;
use gracedb::error::Error;
use gracedb::options::Options;
use gracedb::repair::{self, Repaired};
use gracedb::schema::Schema;
use gracedb::seal::Key;
use gracedb::table::{Counter, Table};
use gracedb::verify;
use gracedb::view::View;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::tables::*;

/// Small limits, so that there are many files of each kind.
fn options(dir: &Path, encrypted: bool) -> Options {
    Options {
        key: encrypted.then(|| Key::from_bytes([5; 32])),
        segment_bytes: 32 << 10,
        chunk_bytes: 4 << 10,
        mem_bytes: 8 << 10,
        level_bytes: 16 << 10,
        run_bytes: 8 << 10,
        block_bytes: 512,
        cache_bytes: 64 << 10,
        ..Options::new(dir)
    }
}

/// What is in a database, by row; a body that cannot be read is told of.
type Contents = BTreeMap<(u64, u32), (bool, Vec<u8>)>;

/// The rows of a database, which must be those of `expected` or errors.
fn compare(db: &Db, expected: &Contents) -> Result<(), Error> {
    let snap = db.snapshot();
    let mut found = 0;
    for row in snap.scan::<Message>() {
        let row = row?;
        let (seen, body) = &expected[&(row.mailbox, row.uid)];
        assert_eq!(row.seen, *seen, "{row:?}");
        let read = snap.open_large(&row.body).read_all(1 << 20)?;
        assert!(read == *body, "{row:?}");
        found += 1;
    }
    assert_eq!(found, expected.len(), "rows are missing and nothing was told");
    for row in snap.by_index_prefix::<MessageByFlag>(&(1,)) {
        assert_eq!(row?.mailbox, 1);
    }
    Ok(())
}

/// A database with a bit of everything, closed in good order.
fn made(dir: &Path, encrypted: bool) -> Contents {
    let db = open(&options(dir, encrypted));
    let mut contents = Contents::new();
    for round in 0..6u32 {
        for uid in round * 20..round * 20 + 20 {
            let (mailbox, body) = (u64::from(uid % 3), pattern(500 + 61 * uid as usize, 3));
            put_message(&db, mailbox, uid, &body);
            contents.insert((mailbox, uid), (false, body));
        }
        let changed = db.write(|tx| {
            for uid in (0..round * 20).step_by(4) {
                let key = (u64::from(uid % 3), uid);
                if let Some(row) = tx.get::<Message>(&key)? {
                    tx.put(&Message { seen: true, ..row })?;
                    contents.get_mut(&key).unwrap().0 = true;
                }
                let key = (u64::from(uid / 2 % 3), uid / 2);
                tx.delete::<Message>(&key)?;
                contents.remove(&key);
            }
            Ok::<_, Error>(())
        });
        changed.unwrap().wait().unwrap();
        if round == 2 {
            let gone = db.write(|tx| {
                tx.next_id::<Account>()?;
                tx.delete_prefix::<Message, _>(&(2,))
            });
            gone.unwrap().wait().unwrap();
            contents.retain(|(mailbox, _), _| *mailbox != 2);
        }
    }
    check(&db);
    db.settle().unwrap();
    // Something that is in the journal alone.
    put_message(&db, 9, 9, b"the newest");
    contents.insert((9, 9), (false, b"the newest".to_vec()));
    db.close();
    contents
}

fn copied(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    to
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending.len() == 2));
    files.sort();
    files
}

/// Saves what can be saved, checks that it is sound, and gives what was told and what is there.
fn repaired(dir: &Path, encrypted: bool) -> Result<(Repaired, TempDir), Error> {
    let (to, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let done = repair::closed(
        &options(dir, encrypted),
        options(to.path(), encrypted),
        Options::new(scratch.path()),
        SCHEMA,
        &mut |_| true,
    )?;
    let report = verify::closed(&options(to.path(), encrypted), SCHEMA, &mut |_| true).unwrap();
    assert!(report.is_sound(), "{report:?}");
    Ok((done, to))
}

/// What was saved is what was there, and what was not saved was told.
fn check_repaired(dir: &Path, encrypted: bool, expected: &Contents, case: &str) {
    let (done, to) = match repaired(dir, encrypted) {
        Ok(done) => done,
        Err(error) => panic!("{case}: {error}"),
    };
    let db = open(&options(to.path(), encrypted));
    let snap = db.snapshot();
    let (mut same, mut other) = (0, 0);
    for row in snap.scan::<Message>() {
        let row = row.unwrap();
        let read = snap.open_large(&row.body).read_all(1 << 20).unwrap();
        match expected.get(&(row.mailbox, row.uid)) {
            Some((seen, body)) if *seen == row.seen => {
                assert!(read == *body, "{case}: {row:?}");
                same += 1;
            }
            // An older version, or one that was deleted.
            _ => other += 1,
        }
    }
    let is_whole = same == expected.len() && other == 0;
    assert!(is_whole || done.losses_count > 0, "{case}: {same} rows and {other} older, none told");
    assert!(same * 2 > expected.len(), "{case}: only {same} rows: {done:?}");
}

fn case(expected: &Contents, dir: &Path, encrypted: bool, name: &str, is_part_of_db: bool) {
    let report = verify::closed(&options(dir, encrypted), SCHEMA, &mut |_| true);
    let is_told = !report.as_ref().is_ok_and(verify::Report::is_sound);
    assert!(is_told || !is_part_of_db, "{name}: {report:?}");
    check_repaired(dir, encrypted, expected, name);
    match Db::open(options(dir, encrypted), SCHEMA) {
        Ok(db) => {
            let compared = compare(&db, expected);
            let is_plain =
                matches!(compared, Ok(()) | Err(Error::Corrupt { .. } | Error::Row { .. }));
            assert!(is_plain, "{name}: {compared:?}");
        }
        Err(Error::Corrupt { .. } | Error::Unknown { .. } | Error::MetaMissing { .. }) => {}
        Err(error) => panic!("{name}: {error:?}"),
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let mut seed = 99;
    for encrypted in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let expected = made(dir.path(), encrypted);
        compare(&open(&options(copied(dir.path()).path(), encrypted)), &expected).unwrap();
        for _ in 0..60 {
            let broken = copied(dir.path());
            let files = files(broken.path());
            let path = &files[gracedb::disk::sim::next_random(&mut seed) as usize % files.len()];
            let mut bytes = fs::read(path).unwrap();
            let bit = gracedb::disk::sim::next_random(&mut seed) as usize % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(path, &bytes).unwrap();
            let name = format!("{} bit {bit}", path.file_name().unwrap().display());
            // Padding holds nothing, and the copy of the keys is read by nobody.
            case(&expected, broken.path(), encrypted, &name, false);
        }
    }
}

/// What is expected where the journal's last file is gone: if it held the newest row alone, nothing
/// that is left tells that there was such a file.
fn without_what_nobody_knows(expected: &Contents, dir: &Path, encrypted: bool) -> Contents {
    let (done, to) = repaired(dir, encrypted).unwrap();
    let newest = open(&options(to.path(), encrypted)).snapshot().get::<Message>(&(9, 9)).unwrap();
    let mut expected = expected.clone();
    if done.losses_count == 0 && newest.is_none() {
        expected.remove(&(9, 9)).unwrap();
    }
    expected
}

#[test]
fn every_kind_of_file_is_missed_and_what_is_left_is_saved() {
    for encrypted in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let expected = made(dir.path(), encrypted);
        let all = files(dir.path());
        for ending in ["gj", "gi", "gm"] {
            let broken = copied(dir.path());
            let path = all.iter().rfind(|path| path.extension().unwrap() == ending).unwrap();
            let name = path.file_name().unwrap();
            fs::remove_file(broken.path().join(name)).unwrap();
            let name = name.display().to_string();
            if ending == "gm" {
                assert!(matches!(
                    Db::open(options(broken.path(), encrypted), SCHEMA),
                    Err(Error::MetaMissing { .. })
                ));
                check_repaired(broken.path(), encrypted, &expected, &name);
            } else {
                let expected = match ending {
                    "gj" => without_what_nobody_knows(&expected, broken.path(), encrypted),
                    _ => expected.clone(),
                };
                case(&expected, broken.path(), encrypted, &name, ending == "gi");
            }
        }
    }
}

#[test]
fn a_broken_sector_costs_what_stood_in_it() {
    let mut seed = 7;
    for encrypted in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let expected = made(dir.path(), encrypted);
        for path in files(dir.path()) {
            let broken = copied(dir.path());
            let path = broken.path().join(path.file_name().unwrap());
            let mut bytes = fs::read(&path).unwrap();
            let sectors = bytes.len().div_ceil(512);
            let at = gracedb::disk::sim::next_random(&mut seed) as usize % sectors * 512;
            let end = (at + 512).min(bytes.len());
            bytes[at..end].fill(0xE5);
            fs::write(&path, &bytes).unwrap();
            let name = format!("{} sector at {at}", path.file_name().unwrap().display());
            case(&expected, broken.path(), encrypted, &name, false);
        }
    }
}

#[test]
fn a_sound_database_is_repaired_into_the_same() {
    for encrypted in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let expected = made(dir.path(), encrypted);
        let (done, to) = repaired(dir.path(), encrypted).unwrap();
        assert_eq!(done.losses, []);
        let db = open(&options(to.path(), encrypted));
        compare(&db, &expected).unwrap();
        assert_eq!(done.rows, expected.len() as u64);
        // Numbers that were given out are not given out again.
        let next = db.write(|tx| tx.next_id::<Account>()).unwrap().wait().unwrap();
        assert!(next > 1, "{next}");
    }
}

#[test]
fn every_broken_block_is_named_with_what_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path(), false);
    let biggest = files(dir.path()).into_iter().filter(|path| path.extension().unwrap() == "gi");
    let biggest = biggest.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&biggest).unwrap();
    // In two blocks of rows, which stand behind the header.
    let at = [4096 + 40, 4096 + 4 * 700];
    for at in at {
        bytes[at] ^= 1;
    }
    fs::write(&biggest, bytes).unwrap();
    let report = verify::closed(&options(dir.path(), false), SCHEMA, &mut |_| true).unwrap();
    let name = biggest.file_name().unwrap().to_str().unwrap();
    let named = report.problems.iter().filter(|problem| {
        problem.file == name && problem.what.contains("it holds what there is from ")
    });
    let offsets: Vec<u64> = named.filter_map(|problem| problem.offset).collect();
    assert_eq!(offsets.len(), 2, "{report:?}");
    assert!(offsets.iter().zip(at).all(|(offset, at)| *offset <= at as u64), "{report:?}");
    assert!(report.blocks > 0, "{report:?}");
}

#[test]
fn segments_behind_a_missing_or_torn_one_are_never_removed() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        segment_bytes: 64 << 10,
        unflushed_bytes: 1 << 30,
        mem_bytes: 64 << 20,
        ..Options::new(dir.path())
    };
    let db = open(&options);
    for uid in 0..60 {
        put_message(&db, 1, uid, &pattern(5_000, 3));
    }
    db.close();
    drop(db);
    let mut segments = files(dir.path());
    segments.retain(|path| path.extension().unwrap() == "gj");
    assert!(segments.len() > 3, "{segments:?}");
    let middle = segments.get(1).unwrap();
    let whole = fs::read(middle).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let broken = |from: usize| {
        let mut bytes = whole.clone();
        bytes.get_mut(from..).unwrap().fill(0);
        bytes
    };
    // Its end is gone, half of it is, all of it is.
    for bytes in [Some(broken(end - 600)), Some(broken(end / 2)), None] {
        match &bytes {
            Some(bytes) => fs::write(middle, bytes).unwrap(),
            None => fs::remove_file(middle).unwrap(),
        }
        let error = Db::open(options.clone(), SCHEMA).err().unwrap();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        let left = segments.iter().filter(|path| path.exists()).count();
        assert_eq!(left, segments.len() - usize::from(bytes.is_none()));
    }
    fs::write(middle, whole).unwrap();
    let db = open(&options);
    assert_eq!(db.snapshot().scan::<Message>().count(), 60);
    check(&db);
}

#[test]
fn no_number_is_given_out_again_though_every_row_that_had_one_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    // As if neither the accounts nor their counter could be read.
    let db = open(&options(dir.path(), false));
    put_message(&db, 1, 1, b"somebody's");
    db.close();
    let (first, second) =
        (repaired(dir.path(), false).unwrap(), repaired(dir.path(), false).unwrap());
    let next = |to: &TempDir| {
        let db = open(&options(to.path(), false));
        db.write(|tx| tx.next_id::<Account>()).unwrap().wait().unwrap()
    };
    let (first, second) = (next(&first.1), next(&second.1));
    assert!(first > 1 << 40 && second > 1 << 40 && first != second, "{first}, {second}");
}

#[test]
fn a_repaired_database_is_marked_as_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path(), false);
    let (_, to) = repaired(dir.path(), false).unwrap();
    let db = open(&options(to.path(), false));
    assert!(db.is_copy().unwrap());
    db.settle_copy().unwrap();
    db.close();
    assert!(!open(&options(to.path(), false)).is_copy().unwrap());
}

#[test]
fn a_database_with_tables_of_another_program_is_not_repaired_by_this_one() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path(), false);
    let (to, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let repair = |schema| {
        let to = options(to.path(), false);
        let scratch = Options::new(scratch.path());
        repair::closed(&options(dir.path(), false), to, scratch, schema, &mut |_| true)
    };
    const OTHER: Schema = Schema::new(&[Account::DEF, Domain::DEF, Delivered::DEF]);
    let refused = repair(OTHER).unwrap_err();
    let Error::Schema { differences } = refused else { panic!("{refused:?}") };
    assert!(differences[0].contains("table 2 message"), "{differences:?}");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing was begun");
    // Tables that are only new are welcome, as at any opening.
    const MORE: Schema =
        Schema::new(&[Account::DEF, Message::DEF, Domain::DEF, Delivered::DEF, Newer::DEF]);
    assert_eq!(repair(MORE).unwrap().losses, []);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 9, name = "newer")]
struct Newer {
    #[key]
    id: u64,
}
