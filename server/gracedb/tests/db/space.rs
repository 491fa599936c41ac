//! Room: what is deleted is given back.

use std::path::Path;
use std::sync::Arc;

use gracedb::db::Db;
use gracedb::disk::sim::SimDisk;
use gracedb::engine::Durability;
use gracedb::error::Error;
use gracedb::options::{Ahead, Options};
use gracedb::pending::Pending;
use gracedb::view::View;

use crate::tables::*;

fn options(dir: &Path) -> Options {
    Options {
        segment_bytes: 1 << 20,
        mem_bytes: 128 << 10,
        unflushed_bytes: 1 << 20,
        level_bytes: 512 << 10,
        run_bytes: 128 << 10,
        ..Options::new(dir)
    }
}

fn folder_bytes(dir: &Path) -> u64 {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

fn fill(db: &Db, mailbox: u64, messages: u32) {
    for uid in 0..messages {
        put_message(db, mailbox, uid, &pattern(20_000, uid as usize));
    }
}

#[test]
fn a_deleted_mailbox_gives_its_room_back() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&options(dir.path()));
    fill(&db, 1, 200);
    fill(&db, 2, 50);
    db.settle().unwrap();
    let before = db.stats().unwrap();
    assert_eq!(before.live_bytes, 250 * 20_000);
    assert!(before.amplification() < 1.5, "{before:?}");
    let gone = db.write(|tx| tx.delete_prefix::<Message, _>(&(1,)));
    gone.unwrap().wait().unwrap();
    db.settle().unwrap();
    let after = db.stats().unwrap();
    assert_eq!(after.live_bytes, 50 * 20_000);
    assert!(after.disk_bytes < before.disk_bytes / 2, "{after:?}");
    assert!(folder_bytes(dir.path()) < before.disk_bytes * 2 / 3);
    for uid in 0..50 {
        assert!(read_body(&db.snapshot(), 2, uid).unwrap() == pattern(20_000, uid as usize));
    }
    check(&db);
}

#[test]
fn deleting_everything_leaves_next_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&options(dir.path()));
    for round in 0..3 {
        fill(&db, round, 100);
        let gone = db.write(|tx| tx.delete_range::<Message>(..));
        gone.unwrap().wait().unwrap();
    }
    db.compact(&mut |_| true).unwrap();
    let stats = db.stats().unwrap();
    assert_eq!((stats.entries, stats.live_bytes), (0, 0), "{stats:?}");
    check(&db);
    db.close();
    assert!(folder_bytes(dir.path()) < 300 << 10, "{} bytes", folder_bytes(dir.path()));
}

#[test]
fn a_snapshot_keeps_what_it_shows_while_everything_is_merged_and_cleaned() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&options(dir.path()));
    fill(&db, 1, 400);
    let snap = db.snapshot();
    let mut walk = snap.prefix::<Message>(&(1,));
    let first = walk.next().unwrap().unwrap();
    let gone = db.write(|tx| tx.delete_prefix::<Message, _>(&(1,)));
    gone.unwrap().wait().unwrap();
    fill(&db, 2, 50);
    db.compact(&mut |_| true).unwrap();
    assert_eq!(first.uid, 0);
    assert_eq!(walk.map(|row| row.unwrap().uid).collect::<Vec<_>>(), (1..400).collect::<Vec<_>>());
    for uid in 0..400 {
        assert!(read_body(&snap, 1, uid).unwrap() == pattern(20_000, uid as usize));
    }
    let held = folder_bytes(dir.path());
    drop(snap);
    db.compact(&mut |_| true).unwrap();
    assert!(folder_bytes(dir.path()) < held / 2, "{} of {held}", folder_bytes(dir.path()));
    check(&db);
}

#[test]
fn compacting_makes_one_level_of_many() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&Options { level_bytes: 4 << 20, ..options(dir.path()) });
    for round in 0..20u64 {
        let rows = db.write(|tx| {
            (0..500).try_for_each(|n| tx.put(&account(n * 20 + round, &format!("{n}-{round}"), 1)))
        });
        rows.unwrap().wait().unwrap();
    }
    db.compact(&mut |_| true).unwrap();
    let stats = db.stats().unwrap();
    let levels: Vec<_> = stats.levels.iter().filter(|(count, _)| *count > 0).collect();
    assert_eq!(levels.len(), 1, "{stats:?}");
    assert_eq!(db.snapshot().scan::<Account>().count(), 10_000);
    check(&db);
}

#[test]
fn a_full_disk_refuses_and_takes_more_when_there_is_room_again() {
    let disk = SimDisk::new(3);
    let options = Options {
        mem_bytes: 1 << 20,
        ..Options { disk: Arc::new(disk.clone()), ..options(Path::new("unused")) }
    };
    let db = open(&options);
    let put = |uid: u32| {
        let body = body(&db, &pattern(20_000, uid as usize));
        let row = Message { mailbox: 1, uid, seen: false, body };
        db.write(|tx| tx.put(&row)).and_then(Pending::wait)
    };
    (0..20).for_each(|uid| put(uid).unwrap());
    for round in 1..4 {
        disk.limit(Some(disk.bytes() + 50_000));
        // The room ahead of the journal is used up first.
        let refused = (0..1_000).find_map(|uid| put(round * 10_000 + uid).err());
        let is_told = matches!(refused, Some(Error::NoSpace { .. } | Error::LargeLost));
        assert!(is_told, "{refused:?}");
        db.check().unwrap();
        assert!(read_body(&db.snapshot(), 1, 7).unwrap() == pattern(20_000, 7));
        disk.limit(None);
        put(round * 10_000 + 5_000).unwrap();
    }
    db.settle().unwrap();
    check(&db);
    let there = db.snapshot().scan::<Message>().count();
    db.close();
    drop(db);
    let db = open(&options);
    assert_eq!(db.snapshot().scan::<Message>().count(), there);
    assert!(read_body(&db.snapshot(), 1, 35_000).unwrap() == pattern(20_000, 35_000));
    check(&db);
}

#[test]
fn writing_rows_to_a_full_disk_is_refused_and_not_tried_without_end() {
    let disk = SimDisk::new(4);
    let (db, stepper) = Db::open_stepped(
        Options { ahead: Ahead::Nothing, ..Options::with_disk(Arc::new(disk.clone())) },
        SCHEMA,
        &[],
    )
    .unwrap();
    let put = |durability, name: &str| {
        let pending = db.write_with(durability, |tx| tx.put(&Domain { name: name.to_owned() }));
        stepper.commit();
        pending.and_then(Pending::wait)
    };
    put(Durability::Buffered, "buffered.example").unwrap();
    stepper.freeze();
    disk.limit(Some(disk.bytes()));
    // From here on the journal cannot even be told that a new life began.
    let refused = put(Durability::Synced, &"x".repeat(4_000));
    assert!(matches!(refused, Err(Error::NoSpace { .. })), "{refused:?}");
    let flushed = stepper.flush();
    assert!(matches!(flushed, Err(Error::NoSpace { .. })), "{flushed:?}");
    // What was buffered was synced on the way.
    let cut = disk.fork(1);
    cut.limit(None);
    cut.cut_power();
    let survivor = Db::open(Options::with_disk(Arc::new(cut)), SCHEMA).unwrap();
    assert_eq!(survivor.snapshot().scan::<Domain>().count(), 1);
    disk.limit(None);
    assert!(stepper.flush().unwrap());
    put(Durability::Synced, "synced.example").unwrap();
    assert_eq!(db.snapshot().scan::<Domain>().count(), 2);
    check(&db);
}

#[test]
fn a_letter_with_two_heads_stands_once_and_is_moved_with_both() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let db = open(&options);
    // As long as it takes some parts, or less than one; and a head of its own for one of the two.
    for (uid, body_len) in [(0, 300_000), (1, 5_000), (2, 0)] {
        let (head, body) = (pattern(900, 1), pattern(body_len, 2));
        let plain = crate::tables::body(&db, &body);
        let headed = gracedb::pending::block_on(async {
            let mut writer = db.large_writer();
            writer.write(&head).await.unwrap();
            writer.finish_before(&plain).await.unwrap()
        });
        assert_eq!(headed.len(), (900 + body_len) as u64);
        let both = db.write(|tx| {
            tx.put(&Message { mailbox: 1, uid, seen: false, body: plain.clone() })?;
            tx.put(&Message { mailbox: 3, uid, seen: false, body: headed.clone() })
        });
        both.unwrap().wait().unwrap();
    }
    db.settle().unwrap();
    assert_eq!(db.stats().unwrap().live_bytes, 305_000 + 3 * 900, "each byte once");
    // What fills the segments beside them goes, so that they are cleaned.
    fill(&db, 2, 120);
    db.settle().unwrap();
    let gone = db.write(|tx| tx.delete_prefix::<Message, _>(&(2,)));
    gone.unwrap().wait().unwrap();
    db.compact(&mut |_| true).unwrap();
    db.settle().unwrap();
    let stats = db.stats().unwrap();
    assert!(stats.damage.is_empty() && stats.segments_cleaned > 0, "{stats:?}");
    assert_eq!(stats.live_bytes, 305_000 + 3 * 900, "{stats:?}");
    let read = |db: &Db| {
        for (uid, body_len) in [(0, 300_000), (1, 5_000), (2, 0)] {
            let (head, body) = (pattern(900, 1), pattern(body_len, 2));
            assert!(read_body(&db.snapshot(), 1, uid).unwrap() == body, "{uid}");
            assert!(read_body(&db.snapshot(), 3, uid).unwrap() == [head, body].concat(), "{uid}");
        }
        check(db);
    };
    read(&db);
    db.close();
    drop(db);
    let db = open(&options);
    read(&db);
    // One of the two goes: what the other needs stays.
    let gone = db.write(|tx| tx.delete_prefix::<Message, _>(&(3,)));
    gone.unwrap().wait().unwrap();
    db.compact(&mut |_| true).unwrap();
    db.settle().unwrap();
    assert_eq!(db.stats().unwrap().live_bytes, 305_000);
    assert!(read_body(&db.snapshot(), 1, 0).unwrap() == pattern(300_000, 2));
    check(&db);
}

#[test]
fn a_letter_that_very_many_rows_share_is_moved_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { transaction_bytes_max: 128 << 10, ..options(dir.path()) };
    let db = open(&options);
    put_message(&db, 1, 0, b"shared by all");
    for from in (1..6_000u32).step_by(100) {
        let copied = db.write(|tx| {
            let row = tx.get::<Message>(&(1, 0))?.unwrap();
            (from..from + 100).try_for_each(|uid| tx.put(&Message { uid, ..row.clone() }))
        });
        copied.unwrap().wait().unwrap();
    }
    // What fills the segment beside it goes, so that it is cleaned.
    fill(&db, 2, 120);
    db.settle().unwrap();
    let gone = db.write(|tx| tx.delete_prefix::<Message, _>(&(2,)));
    gone.unwrap().wait().unwrap();
    db.compact(&mut |_| true).unwrap();
    db.settle().unwrap();
    let stats = db.stats().unwrap();
    assert!(stats.damage.is_empty() && stats.segments_cleaned > 0, "{stats:?}");
    assert_eq!(stats.live_bytes, b"shared by all".len() as u64);
    let snap = db.snapshot();
    assert_eq!(snap.prefix::<Message>(&(1,)).count(), 6_001);
    assert_eq!(read_body(&snap, 1, 5_999).unwrap(), b"shared by all");
    check(&db);
    put_message(&db, 3, 1, b"and it is still written to");
}
