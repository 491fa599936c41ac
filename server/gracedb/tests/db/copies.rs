//! Backups, and databases brought back to earlier moments.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use gracedb::copy::{self, Moment};
use gracedb::db::Db;
use gracedb::disk::Disk;
use gracedb::disk::real::RealDisk;
use gracedb::error::Error;
use gracedb::options::Options;
use gracedb::verify;
use gracedb::view::View;

use crate::tables::*;

/// Small limits, so that a few rows go all the way: flushed, merged, cleaned.
fn small(dir: &Path) -> Options {
    Options {
        segment_bytes: 64 << 10,
        chunk_bytes: 8 << 10,
        mem_bytes: 16 << 10,
        unflushed_bytes: 64 << 10,
        level_bytes: 32 << 10,
        run_bytes: 16 << 10,
        ..Options::new(dir)
    }
}

fn disk(dir: &Path) -> Arc<dyn Disk> {
    Arc::new(RealDisk::new(dir))
}

/// Everything in a database, for comparing.
fn contents(db: &Db) -> BTreeMap<(u64, u32), Vec<u8>> {
    let snap = db.snapshot();
    let rows = snap.scan::<Message>().map(|row| row.unwrap());
    rows.map(|row| ((row.mailbox, row.uid), read_body(&snap, row.mailbox, row.uid).unwrap()))
        .collect()
}

/// Some work that changes a lot: messages come, change and go.
fn work(db: &Db, round: u32) {
    for uid in round * 20..round * 20 + 20 {
        put_message(db, u64::from(uid % 3), uid, &pattern(1_000 + 97 * uid as usize % 9_000, 1));
    }
    let changed = db.write(|tx| {
        for uid in (0..round * 20).step_by(3) {
            if let Some(row) = tx.get::<Message>(&(u64::from(uid % 3), uid))? {
                tx.put(&Message { seen: !row.seen, ..row })?;
            }
            tx.delete::<Message>(&(u64::from(uid % 3), uid / 2))?;
        }
        Ok::<_, Error>(())
    });
    changed.unwrap().wait().unwrap();
}

fn go_on(_: gracedb::progress::Progress) -> bool {
    true
}

fn verified(options: &Options) {
    let report = verify::closed(options, SCHEMA, &mut go_on).unwrap();
    assert!(report.is_sound(), "{report:?}");
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_backup_of_a_running_database_is_one_moment_of_it() {
    let (dir, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let db = open(&small(dir.path()));
    (0..6).for_each(|round| work(&db, round));
    let stop = AtomicU64::new(0);
    let expected = thread::scope(|scope| {
        let (writing, stop) = (db.clone(), &stop);
        scope.spawn(move || {
            let mut round = 6;
            while stop.load(Ordering::Relaxed) == 0 {
                work(&writing, round);
                round += 1;
            }
        });
        let copied = db.backup(&disk(to.path()), &mut go_on).unwrap();
        stop.store(1, Ordering::Relaxed);
        copied
    });
    verified(&Options::new(to.path()));
    let copy = open(&Options::new(to.path()));
    assert_eq!(copy.snapshot().sequence(), expected.sequence);
    let (whole, part) = (contents(&db), contents(&copy));
    assert!(!part.is_empty() && whole.len() >= part.len());
    // What it holds is what each message was given, whenever that was.
    for ((_, uid), bytes) in &part {
        assert!(*bytes == pattern(1_000 + 97 * *uid as usize % 9_000, 1), "{uid}");
    }
    // The copy is a database like any other.
    work(&copy, 100);
    check(&copy);
}

#[test]
fn backing_up_again_copies_what_is_new_and_removes_what_is_gone() {
    let (dir, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let db = open(&small(dir.path()));
    (0..30).for_each(|round| work(&db, round));
    let first = db.backup(&disk(to.path()), &mut go_on).unwrap();
    assert_eq!((first.files, first.bytes), (first.new_files, first.new_bytes));
    let again = db.backup(&disk(to.path()), &mut go_on).unwrap();
    assert!(again.new_bytes < first.bytes / 4, "{again:?}");
    put_message(&db, 50, 1, b"one more");
    let third = db.backup(&disk(to.path()), &mut go_on).unwrap();
    assert!(third.new_bytes < first.bytes / 2, "{third:?}");
    assert_eq!(third.sequence, db.snapshot().sequence());
    let gone = db.write(|tx| tx.delete_range::<Message>(..));
    gone.unwrap().wait().unwrap();
    db.compact(&mut go_on).unwrap();
    let last = db.backup(&disk(to.path()), &mut go_on).unwrap();
    assert!(last.bytes < first.bytes / 4, "{last:?}");
    // One file of notes, and the meta file.
    assert_eq!(names(to.path()).len() as u64, last.files + 3, "{:?}", names(to.path()));
    verified(&Options::new(to.path()));
    assert_eq!(contents(&open(&Options::new(to.path()))), BTreeMap::new());
}

#[test]
fn a_backup_is_restored_into_an_empty_folder_and_nowhere_else() {
    let (dir, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let db = open(&small(dir.path()));
    (0..5).for_each(|round| work(&db, round));
    db.backup(&disk(to.path()), &mut go_on).unwrap();
    let expected = contents(&db);
    let before = names(to.path());
    let back = tempfile::tempdir().unwrap();
    let from = Options::new(to.path());
    let restore = |dir: &Path| copy::restore_closed(&from, Moment::Newest, &disk(dir), &mut go_on);
    restore(back.path()).unwrap();
    assert_eq!(names(to.path()), before, "restoring changed the backup");
    assert_eq!(contents(&open(&Options::new(back.path()))), expected);
    assert!(matches!(restore(back.path()), Err(Error::NotEmpty { .. })));
    // Nor is a backup written over a database, or over a backup of another one.
    drop(open(&Options::new(back.path())));
    let over = db.backup(&disk(back.path()), &mut go_on);
    assert!(matches!(over, Err(Error::NotEmpty { .. })));
    let other = tempfile::tempdir().unwrap();
    let over = open(&small(other.path())).backup(&disk(to.path()), &mut go_on);
    assert!(matches!(over, Err(Error::NotEmpty { .. })));
    verified(&from);
}

#[test]
fn a_backup_that_was_stopped_leaves_the_earlier_one() {
    let (dir, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let db = open(&small(dir.path()));
    (0..5).for_each(|round| work(&db, round));
    db.backup(&disk(to.path()), &mut go_on).unwrap();
    let expected = contents(&db);
    (5..9).for_each(|round| work(&db, round));
    db.compact(&mut go_on).unwrap();
    let stopped = db.backup(&disk(to.path()), &mut |progress| progress.doing != "finish");
    assert!(matches!(stopped, Err(Error::Stopped)));
    verified(&Options::new(to.path()));
    let back = tempfile::tempdir().unwrap();
    let from = Options::new(to.path());
    copy::restore_closed(&from, Moment::Newest, &disk(back.path()), &mut go_on).unwrap();
    assert_eq!(contents(&open(&Options::new(back.path()))), expected);
    db.backup(&disk(to.path()), &mut go_on).unwrap();
    verified(&from);
    assert_eq!(contents(&open(&from)), contents(&db));
}

/// A clock that goes on by a second with each look.
fn ticking() -> u64 {
    static NOW: AtomicU64 = AtomicU64::new(1_000_000);
    NOW.fetch_add(1_000, Ordering::Relaxed)
}

#[test]
fn every_commit_within_the_window_can_be_brought_back() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { retention_s: 1 << 30, clock: ticking, ..small(dir.path()) };
    let mut db = open(&options);
    let mut moments = vec![(db.snapshot().sequence(), ticking(), contents(&db))];
    for round in 0..24 {
        work(&db, round);
        if round == 15 {
            drop(db);
            db = open(&options);
        }
        if round % 8 == 5 {
            db.compact(&mut go_on).unwrap();
        }
        moments.push((db.snapshot().sequence(), ticking(), contents(&db)));
    }
    let restored = |moment: Moment, live: bool| {
        let to = tempfile::tempdir().unwrap();
        let copied = if live {
            db.restore_to(moment, &disk(to.path()), &mut go_on)
        } else {
            copy::restore_closed(&options, moment, &disk(to.path()), &mut go_on)
        };
        let copied = copied.unwrap();
        verified(&Options::new(to.path()));
        let copy = open(&Options::new(to.path()));
        assert_eq!(copy.snapshot().sequence(), copied.sequence);
        let found = contents(&copy);
        work(&copy, 200);
        check(&copy);
        found
    };
    for (sequence, time_ms, expected) in &moments {
        assert_eq!(restored(Moment::Transaction(*sequence), true), *expected, "at {sequence}");
        assert_eq!(restored(Moment::Time { ms: *time_ms }, true), *expected, "at {time_ms} ms");
    }
    let newest = db.snapshot().sequence();
    let to = tempfile::tempdir().unwrap();
    let refused = db.restore_to(Moment::Transaction(newest + 1), &disk(to.path()), &mut go_on);
    let Err(Error::NotRestorable { last, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(last, newest);
    db.close();
    for (sequence, time_ms, expected) in moments.iter().step_by(5) {
        assert_eq!(restored(Moment::Transaction(*sequence), false), *expected, "at {sequence}");
        assert_eq!(restored(Moment::Time { ms: *time_ms }, false), *expected, "at {time_ms} ms");
    }
}

#[test]
fn the_newest_commit_can_be_brought_back_while_others_follow() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&Options::new(dir.path()));
    work(&db, 0);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let rounds = (0..100_000).take_while(|_| !is_over.load(Ordering::Relaxed));
            rounds.for_each(|uid| put_message(&db, 9, uid, &pattern(10, 1)));
        });
        for turn in 0..120 {
            let to = tempfile::tempdir().unwrap();
            let newest = db.snapshot().sequence();
            let moment = match turn % 2 {
                0 => Moment::Transaction(newest),
                _ => Moment::Time { ms: u64::MAX / 2 },
            };
            let copied = db.restore_to(moment, &disk(to.path()), &mut go_on);
            let copied = copied.unwrap_or_else(|error| {
                is_over.store(true, Ordering::Relaxed);
                panic!("{moment:?}: {error}")
            });
            assert!(copied.sequence >= newest, "{moment:?}: {copied:?}");
        }
        is_over.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
}

#[test]
fn what_is_older_than_the_window_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Options { retention_s: 1 << 30, ..small(dir.path()) };
    let db = open(&kept);
    (0..30).for_each(|round| work(&db, round));
    db.compact(&mut go_on).unwrap();
    let large = db.stats().unwrap().disk_bytes;
    drop(db);
    let db = open(&Options { retention_s: 0, ..kept });
    db.compact(&mut go_on).unwrap();
    let small = db.stats().unwrap().disk_bytes;
    assert!(small < large / 2, "{small} of {large} bytes are left");
    let to = tempfile::tempdir().unwrap();
    let refused = db.restore_to(Moment::Transaction(3), &disk(to.path()), &mut go_on);
    assert!(matches!(refused, Err(Error::NotRestorable { .. })), "{refused:?}");
    let newest = Moment::Transaction(db.snapshot().sequence());
    db.restore_to(newest, &disk(to.path()), &mut go_on).unwrap();
    assert_eq!(contents(&open(&Options::new(to.path()))), contents(&db));
    check(&db);
}

#[test]
fn copying_that_was_stopped_can_be_begun_again() {
    let (dir, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let db = open(&small(dir.path()));
    (0..20).for_each(|round| work(&db, round));
    // Large enough to be told of on the way.
    for uid in 5_000..5_100 {
        put_message(&db, 9, uid, &pattern(100_000, 1));
    }
    let stopped = |told: &mut u32| {
        *told += 1;
        *told < 3
    };
    let mut told = 0;
    let backup = db.backup(&disk(to.path()), &mut |_| stopped(&mut told));
    assert!(matches!(backup, Err(Error::Stopped)), "{backup:?}");
    let begun = names(to.path()).len();
    assert!(begun > 3, "some was copied");
    let copied = db.backup(&disk(to.path()), &mut go_on).unwrap();
    assert!(copied.new_files < copied.files, "{copied:?}");
    verified(&Options::new(to.path()));

    let back = tempfile::tempdir().unwrap();
    let mut told = 0;
    let newest = Moment::Newest;
    let restore = db.restore_to(newest, &disk(back.path()), &mut |_| stopped(&mut told));
    assert!(matches!(restore, Err(Error::Stopped)), "{restore:?}");
    assert_eq!(names(back.path()), ["lock"]);
    db.restore_to(newest, &disk(back.path()), &mut go_on).unwrap();
    verified(&Options::new(back.path()));
}

#[test]
fn a_copy_is_marked_until_the_program_has_settled_it() {
    let (dir, to, back) = (
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
        [(); 3].map(|()| tempfile::tempdir().unwrap()),
    );
    let [restored, of_backup, closed] = &back;
    let db = open(&small(dir.path()));
    work(&db, 1);
    assert!(!db.is_copy().unwrap(), "a new database is none");
    db.restore_to(Moment::Newest, &disk(restored.path()), &mut go_on).unwrap();
    db.backup(&disk(to.path()), &mut go_on).unwrap();
    work(&db, 2);
    db.backup(&disk(to.path()), &mut go_on).unwrap();
    assert!(!db.is_copy().unwrap(), "nor is one that was copied");
    db.close();
    let backup = Options::new(to.path());
    copy::restore_closed(&backup, Moment::Newest, &disk(of_backup.path()), &mut go_on).unwrap();
    copy::restore_closed(&small(dir.path()), Moment::Newest, &disk(closed.path()), &mut go_on)
        .unwrap();
    for folder in [restored, of_backup, closed, &to] {
        for _ in 0..2 {
            let db = open(&small(folder.path()));
            assert!(db.is_copy().unwrap(), "until it is settled");
            check(&db);
            db.close();
        }
        let db = open(&small(folder.path()));
        db.settle_copy().unwrap();
        assert!(!db.is_copy().unwrap());
        work(&db, 3);
        db.settle().unwrap();
        db.close();
        assert!(!open(&small(folder.path())).is_copy().unwrap());
    }
    // A copy of one that was settled is a copy again.
    let again = tempfile::tempdir().unwrap();
    open(&small(closed.path()))
        .restore_to(Moment::Newest, &disk(again.path()), &mut go_on)
        .unwrap();
    let db = open(&small(again.path()));
    assert!(db.is_copy().unwrap());
    check(&db);
}

#[test]
fn a_backup_of_an_earlier_program_is_marked_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&small(dir.path()));
    work(&db, 1);
    db.close();
    // Such a backup has the note and no mark.
    fs::write(dir.path().join("backup"), "This folder is a backup").unwrap();
    let db = open(&small(dir.path()));
    assert!(db.is_copy().unwrap());
    db.close();
    assert!(!dir.path().join("backup").exists());
    assert!(open(&small(dir.path())).is_copy().unwrap());
}
