//! The parts of GraceDb, one by one: commits, reads, opening, keys, checksums.
//!
//! `cargo bench -p gracedb --bench engine [-- FILTER]`
//! ```text
//!   commit   synced, buffered, letter        how many a second, all writers together
//!   read     row, body, scan                 from the cache, and past it
//!   open     after a close
//!   bytes    keys, crc32c
//! ```
//! The data goes to a temporary folder, below `GRACE_BENCH_DIR` if that is set: the disk is what
//! counts for a commit. Not here: other engines (`benches/compare`).

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crc_fast::CrcAlgorithm;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use gracedb::db::Db;
use gracedb::engine::Durability;
use gracedb::key::Key;
use gracedb::large::Large;
use gracedb::options::Options;
use gracedb::pending::block_on;
use gracedb::schema::Schema;
use gracedb::table::Table;
use gracedb::view::View as _;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// Commits of one writer in one round.
const COMMITS: u64 = 64;
/// Rows to read: some 45 MB, more than the small cache and less than the large one.
const ROWS: u64 = 200_000;
/// Rows of one transaction while they are brought in.
const ROWS_AT_ONCE: u64 = 5_000;
const BODIES: u64 = 1_000;
const BODY_BYTES: usize = 16 << 10;
const TEXT_BYTES: usize = 200;
/// A cache that holds all rows, and one that holds next to none.
const LARGE_CACHE: usize = 128 << 20;
const SMALL_CACHE: usize = 64 << 10;

fn main() {
    divan::main();
}

#[derive(Table, Serialize, Deserialize)]
#[table(id = 1, name = "row")]
struct Row {
    #[key]
    account: u64,
    #[key]
    id: u64,
    text: String,
}

#[derive(Table, Serialize, Deserialize)]
#[table(id = 2, name = "message")]
#[index(id = 1, name = MessageByModseq, fields(mailbox, modseq))]
#[index(id = 2, name = MessageByDate, fields(mailbox, date_s))]
#[index(id = 3, name = MessageByDigest, fields(digest))]
struct Message {
    #[key]
    mailbox: u64,
    #[key]
    uid: u64,
    modseq: u64,
    date_s: u64,
    digest: u64,
    body: Large,
    subject: String,
}

const SCHEMA: Schema = Schema::new(&[Row::DEF, Message::DEF]);

/// Spreads numbers, as keys of mail are spread.
fn mixed(number: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31)
}

fn row(id: u64) -> Row {
    let text = format!("{:016x}", mixed(id)).repeat(TEXT_BYTES.div_ceil(16));
    Row { account: mixed(id) % 1_000, id, text: text.get(..TEXT_BYTES).unwrap().to_owned() }
}

fn folder() -> TempDir {
    let build = || PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let dir = std::env::var_os("GRACE_BENCH_DIR").map_or_else(build, PathBuf::from);
    tempfile::tempdir_in(dir).unwrap()
}

fn open(dir: &TempDir, cache_bytes: usize) -> Db {
    let options = Options { cache_bytes, ..Options::new(dir.path()) };
    Db::open(options, SCHEMA).unwrap()
}

fn body(db: &Db, bytes: &[u8]) -> Large {
    block_on(async {
        let mut writer = db.large_writer();
        writer.write(bytes).await.unwrap();
        writer.finish().await.unwrap()
    })
}

fn deliver(db: &Db, id: u64, bytes: &[u8]) {
    let (mailbox, modseq, date_s, digest) = (mixed(id) % 1_000, id, 1_700_000_000 + id, mixed(id));
    let subject = row(id).text;
    let body = body(db, bytes);
    let message = Message { mailbox, uid: id, modseq, date_s, digest, body, subject };
    db.write(|tx| tx.insert(&message)).unwrap().wait().unwrap();
}

/// Every round `writers` threads do `each` so many times, with another number every time.
fn rounds(bencher: Bencher<'_, '_>, writers: u64, each: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    let write = || (0..COMMITS).for_each(|_| each(next.fetch_add(1, Ordering::Relaxed)));
    bencher.counter(ItemsCount::new(writers * COMMITS)).bench(|| {
        thread::scope(|scope| {
            for _ in 0..writers {
                scope.spawn(write);
            }
        });
    });
}

/// A database with rows and bodies in its runs.
fn filled(dir: &TempDir, cache_bytes: usize) -> Db {
    let db = open(dir, cache_bytes);
    for first in (0..ROWS).step_by(usize::try_from(ROWS_AT_ONCE).unwrap()) {
        let rows = (first..first + ROWS_AT_ONCE).map(row);
        db.write(|tx| rows.into_iter().try_for_each(|row| tx.put(&row))).unwrap().wait().unwrap();
    }
    let bytes = vec![0xA5; BODY_BYTES];
    (0..BODIES).for_each(|id| deliver(&db, id, &bytes));
    db.settle().unwrap();
    db
}

mod commit {
    use super::*;

    #[divan::bench(args = [1, 8, 64], sample_count = 20, sample_size = 1)]
    fn synced(bencher: Bencher<'_, '_>, writers: u64) {
        let dir = folder();
        let db = open(&dir, LARGE_CACHE);
        rounds(bencher, writers, |id| {
            db.write(|tx| tx.put(&row(id))).unwrap().wait().unwrap();
        });
    }

    #[divan::bench(args = [1, 8], sample_count = 20, sample_size = 1)]
    fn buffered(bencher: Bencher<'_, '_>, writers: u64) {
        let dir = folder();
        let db = open(&dir, LARGE_CACHE);
        rounds(bencher, writers, |id| {
            let pending = db.write_with(Durability::Buffered, |tx| tx.put(&row(id)));
            pending.unwrap().wait().unwrap();
        });
    }

    #[divan::bench(args = [1, 8, 64], sample_count = 20, sample_size = 1)]
    fn letter(bencher: Bencher<'_, '_>, writers: u64) {
        let dir = folder();
        let db = open(&dir, LARGE_CACHE);
        let bytes = vec![0xA5; BODY_BYTES];
        rounds(bencher, writers, |id| deliver(&db, id, &bytes));
    }
}

mod read {
    use super::*;

    #[divan::bench(args = [LARGE_CACHE, SMALL_CACHE])]
    fn row_by_key(bencher: Bencher<'_, '_>, cache_bytes: usize) {
        let dir = folder();
        let db = filled(&dir, cache_bytes);
        let snapshot = db.snapshot();
        let all = snapshot.scan::<Row>().try_fold(0, |count, row| row.map(|_| count + 1));
        assert_eq!(all.unwrap(), ROWS);
        let next = AtomicU64::new(0);
        bencher.bench(|| {
            let id = mixed(next.fetch_add(1, Ordering::Relaxed)) % ROWS;
            snapshot.get::<Row>(&(mixed(id) % 1_000, id)).unwrap().unwrap()
        });
    }

    #[divan::bench]
    fn body_of_16_kib(bencher: Bencher<'_, '_>) {
        let dir = folder();
        let db = filled(&dir, LARGE_CACHE);
        let snapshot = db.snapshot();
        let next = AtomicU64::new(0);
        bencher.counter(BytesCount::new(BODY_BYTES)).bench(|| {
            let id = mixed(next.fetch_add(1, Ordering::Relaxed)) % BODIES;
            let message = snapshot.get::<Message>(&(mixed(id) % 1_000, id)).unwrap().unwrap();
            snapshot.open_large(&message.body).read_all(BODY_BYTES).unwrap()
        });
    }

    #[divan::bench(args = [LARGE_CACHE, SMALL_CACHE], sample_count = 10)]
    fn scan(bencher: Bencher<'_, '_>, cache_bytes: usize) {
        let dir = folder();
        let db = filled(&dir, cache_bytes);
        let snapshot = db.snapshot();
        bencher.counter(ItemsCount::new(ROWS)).bench(|| {
            let count = snapshot.scan::<Row>().try_fold(0, |n, row| row.map(|_| n + 1));
            assert_eq!(count.unwrap(), ROWS);
        });
    }
}

mod opening {
    use super::*;

    #[divan::bench(sample_count = 20, sample_size = 1)]
    fn after_a_close(bencher: Bencher<'_, '_>) {
        let dir = folder();
        filled(&dir, LARGE_CACHE).close();
        // The database of the round before is closed before the next one is opened, and not
        // counted.
        bencher.bench(|| open(&dir, LARGE_CACHE));
    }
}

mod bytes {
    use super::*;

    #[divan::bench]
    fn put_key(bencher: Bencher<'_, '_>) {
        let mut out = Vec::with_capacity(64);
        bencher.bench_local(|| {
            out.clear();
            Key::put(black_box(&(7u64, "ada@grace.test".to_owned(), 42u32)), &mut out);
            out.len()
        });
    }

    #[divan::bench]
    fn take_key(bencher: Bencher<'_, '_>) {
        let mut bytes = Vec::new();
        Key::put(&(7u64, "ada@grace.test".to_owned(), 42u32), &mut bytes);
        bencher.bench(|| <(u64, String, u32)>::take(&mut black_box(bytes.as_slice())).unwrap());
    }

    /// The checksum that every record and block carries.
    #[divan::bench(args = [4 << 10, 16 << 10, 128 << 10])]
    fn crc32c(bencher: Bencher<'_, '_>, len: usize) {
        let bytes = vec![0xA5; len];
        bencher
            .counter(BytesCount::new(len))
            .bench(|| crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, black_box(&bytes)));
    }
}
