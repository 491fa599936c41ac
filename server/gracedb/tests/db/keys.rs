//! Encryption at rest.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use gracedb::db::Db;
use gracedb::disk::sim::SimDisk;
use gracedb::error::Error;
use gracedb::options::Options;
use gracedb::seal::Key;
use gracedb::view::View;

use crate::tables::*;

const SECRET: &[u8] = b"a word that stands nowhere else: xyzzyplugh";

fn options(dir: &Path, key: u8) -> Options {
    let key = Some(Key::from_bytes([key; 32]));
    Options {
        key,
        mem_bytes: 16 << 10,
        segment_bytes: 64 << 10,
        chunk_bytes: 8 << 10,
        ..Options::new(dir)
    }
}

fn fill(db: &Db, from: u32) {
    for uid in from..from + 40 {
        put_message(db, 1, uid, &SECRET.repeat(uid as usize % 300 + 1));
    }
    let rows = db.write(|tx| {
        (0..200).try_for_each(|id| {
            let id = u64::from(from) * 1_000 + id;
            tx.insert(&account(id, &format!("xyzzyplugh{id}"), 1))
        })
    });
    rows.unwrap().wait().unwrap();
}

fn is_filled(db: &Db, from: u32) {
    let snap = db.snapshot();
    for uid in from..from + 40 {
        assert!(read_body(&snap, 1, uid).unwrap() == SECRET.repeat(uid as usize % 300 + 1));
    }
    let id = u64::from(from) * 1_000 + 7;
    assert_eq!(snap.get::<Account>(&id).unwrap().unwrap().local, format!("xyzzyplugh{id}"));
}

/// The files that hold the secret in the clear.
fn leaks(dir: &Path) -> Vec<String> {
    let mut leaks = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        if bytes.windows(10).any(|window| window == b"xyzzyplugh") {
            leaks.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    leaks
}

#[test]
fn nothing_is_in_the_clear_and_only_the_key_opens_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&options(dir.path(), 1));
    fill(&db, 0);
    assert_eq!(leaks(dir.path()), Vec::<String>::new());
    db.settle().unwrap();
    assert_eq!(leaks(dir.path()), Vec::<String>::new());
    check(&db);
    db.close();
    let before = fs::read_dir(dir.path()).unwrap().count();
    let wrong = Db::open(options(dir.path(), 2), SCHEMA);
    assert!(matches!(wrong, Err(Error::WrongKey { .. })));
    let none = Db::open(Options { key: None, ..options(dir.path(), 1) }, SCHEMA);
    assert!(matches!(none, Err(Error::KeyNeeded { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), before);
    is_filled(&open(&options(dir.path(), 1)), 0);
}

#[test]
fn a_database_in_the_clear_is_encrypted_when_it_is_given_a_key_and_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let plain = Options { key: None, ..options(dir.path(), 1) };
    let db = open(&plain);
    fill(&db, 0);
    assert!(!leaks(dir.path()).is_empty(), "this test would see nothing");
    db.close();
    let db = open(&options(dir.path(), 1));
    is_filled(&db, 0);
    fill(&db, 100);
    db.compact(&mut |_| true).unwrap();
    assert_eq!(leaks(dir.path()), Vec::<String>::new());
    check(&db);
    db.close();
    assert!(matches!(Db::open(plain, SCHEMA), Err(Error::KeyNeeded { .. })));
    let db = open(&options(dir.path(), 1));
    is_filled(&db, 0);
    is_filled(&db, 100);
}

#[test]
fn the_key_is_changed_while_the_database_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&options(dir.path(), 1));
    fill(&db, 0);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut uid = 1_000;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                put_message(&db, 2, uid, &SECRET.repeat(20));
                uid += 1;
            }
            uid
        });
        let new = Key::from_passphrase("correct horse battery staple");
        db.change_key(Some(&new), &mut |_| true).unwrap();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let end = writing.join().unwrap();
        assert_eq!(db.snapshot().prefix::<Message>(&(2,)).count(), end as usize - 1_000);
    });
    is_filled(&db, 0);
    db.close();
    let old = Db::open(options(dir.path(), 1), SCHEMA);
    assert!(matches!(old, Err(Error::KeyNeeded { .. })));
    let key = Some(Key::from_passphrase("wrong horse"));
    let wrong = Db::open(Options { key, ..options(dir.path(), 1) }, SCHEMA);
    assert!(matches!(wrong, Err(Error::WrongKey { .. })));
    let key = Some(Key::from_passphrase("correct horse battery staple"));
    let db = open(&Options { key, ..options(dir.path(), 1) });
    is_filled(&db, 0);
    // Data keys alone are changed as well, and the old ones are forgotten.
    for _ in 0..40 {
        db.change_key(None, &mut |_| true).unwrap();
    }
    is_filled(&db, 0);
    check(&db);
}

#[test]
fn a_key_that_a_full_disk_refused_is_not_taken_later() {
    let disk = SimDisk::new(5);
    let with = |key| Options { disk: Arc::new(disk.clone()), ..options(Path::new("unused"), key) };
    let db = open(&with(1));
    fill(&db, 0);
    db.settle().unwrap();
    disk.limit(Some(disk.bytes()));
    let mut words = 0;
    let refused = db.change_key(Some(&Key::from_bytes([2; 32])), &mut |_| {
        words += 1;
        true
    });
    assert!(matches!(refused, Err(Error::NoSpace { .. })), "{refused:?}");
    assert_eq!(words, 0);
    disk.limit(None);
    fill(&db, 100);
    db.settle().unwrap();
    db.close();
    let closed = db.change_key(Some(&Key::from_bytes([2; 32])), &mut |_| true);
    assert!(matches!(closed, Err(Error::Closed)), "{closed:?}");
    let db = open(&with(1));
    is_filled(&db, 0);
    is_filled(&db, 100);
}
