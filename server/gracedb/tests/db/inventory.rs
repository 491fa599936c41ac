//! What a database says it takes is what the folder holds.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use gracedb::disk::Disk;
use gracedb::disk::real::RealDisk;
use gracedb::error::Error;
use gracedb::inventory::{self, Inventory, Purpose};
use gracedb::options::Options;
use gracedb::seal::{Key, LockedBy};

use crate::tables::*;

fn small(dir: &Path) -> Options {
    Options {
        segment_bytes: 64 << 10,
        chunk_bytes: 8 << 10,
        mem_bytes: 16 << 10,
        unflushed_bytes: 64 << 10,
        level_bytes: 32 << 10,
        run_bytes: 16 << 10,
        retention_s: 3_600,
        key: Some(Key::from_bytes([7; 32])),
        ..Options::new(dir)
    }
}

/// Bytes of the database's own files.
fn folder_bytes(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let ours = files.filter(|file| file.file_name() != "lock" && file.file_name() != "backup");
    ours.map(|file| file.metadata().unwrap().len()).sum()
}

fn of(inventory: &Inventory, purpose: Purpose) -> (u64, u64) {
    let files = inventory.files.iter().find(|files| files.purpose == purpose).unwrap();
    (files.files, files.bytes)
}

#[test]
fn every_file_is_counted_once_open_or_closed() {
    let (dir, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let db = open(&small(dir.path()));
    for uid in 0..120 {
        put_message(&db, u64::from(uid % 3), uid, &pattern(4_000, uid as usize));
    }
    let gone = db.write(|tx| tx.delete_prefix::<Message, _>(&(1,)));
    gone.unwrap().wait().unwrap();
    db.compact(&mut |_| true).unwrap();
    let open = db.inventory().unwrap();
    let live: u64 = open.segments.iter().map(|segment| segment.live_bytes).sum();
    assert_eq!(live, 80 * 4_000);
    assert_eq!(live, db.stats().unwrap().live_bytes);
    assert!(of(&open, Purpose::Kept).1 > 40 * 4_000, "deleted mail is kept: {open:?}");
    assert!(open.points > 1 && open.restorable < open.sequence && open.restorable_ms > 0);
    let backup: Arc<dyn Disk> = Arc::new(RealDisk::new(to.path()));
    db.backup(&backup, &mut |_| true).unwrap();
    db.close();

    let closed = inventory::closed(&small(dir.path())).unwrap();
    assert_eq!(closed.bytes(), folder_bytes(dir.path()));
    assert_eq!((closed.sequence, closed.missing), (open.sequence, 0));
    assert_eq!((closed.locked_by, closed.data_keys), (LockedBy::KeyFile, 1));
    assert!(!closed.is_backup);
    let copy = inventory::closed(&small(to.path())).unwrap();
    assert_eq!(copy.bytes(), folder_bytes(to.path()));
    assert_eq!(of(&copy, Purpose::Kept), (0, 0));
    assert!(copy.is_backup);
}

#[test]
fn a_folder_says_what_opens_it() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(dir.path());
    assert!(matches!(LockedBy::of(&disk), Err(Error::MetaMissing { .. })));
    open(&Options { key: None, ..small(dir.path()) }).close();
    assert_eq!(LockedBy::of(&disk).unwrap(), LockedBy::Nothing);
    open(&small(dir.path())).close();
    assert_eq!(LockedBy::of(&disk).unwrap(), LockedBy::KeyFile);
    let db = open(&small(dir.path()));
    db.change_key(Some(&Key::from_passphrase("correct horse")), &mut |_| true).unwrap();
    db.close();
    assert_eq!(LockedBy::of(&disk).unwrap(), LockedBy::Passphrase);
    // A broken meta file does not hide it: there is a copy of the keys.
    let names = disk.list().unwrap();
    let meta = names.iter().filter(|name| name.ends_with(".gm")).max().unwrap();
    fs::write(dir.path().join(meta), [0; 100]).unwrap();
    assert_eq!(LockedBy::of(&disk).unwrap(), LockedBy::Passphrase);
}
