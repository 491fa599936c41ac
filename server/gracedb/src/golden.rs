//! Small databases whose files never change: the format, frozen.
//!
//! ```text
//!   script ─▶ files ─▶ compared with tests/golden/<database>/<file>.hex, their dumps with .dump
//!   tests/golden ─▶ a disk ─▶ opened, checked, the rows compared with rows.txt beside them
//! ```
//! A file that differs means that databases in the world can no longer be read, or that new ones
//! can no longer be read by older programs: it takes a new format version. What has become
//! different on purpose is written anew by `GRACE_BLESS=1 cargo test -p gracedb golden`.
//! Invariants: chance and time are fixed, for this thread of this test alone; the files are both
//! written and read. Not here: a reader that knows nothing but the page (`tests/format`).

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::db::Db;
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::dump::{self, Wanted};
use crate::engine::Reader;
use crate::files::Files;
use crate::format::{FileHeader, FileKind, Place};
use crate::index::run::RunInfo;
use crate::large::Large;
use crate::manifest::{Edit, Flushed, Manifest};
use crate::meta::{self, Meta};
use crate::options::Options;
use crate::pending::block_on;
use crate::row;
use crate::schema::Schema;
use crate::seal::fixed::Fixed;
use crate::seal::{Key, Keyring};
use crate::table::{Counter, Table};
use crate::workers::Stepper;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 1, name = "letter")]
#[index(id = 1, name = LetterByTag, fields(tag))]
#[index(id = 2, name = LetterByName, fields(name), unique)]
struct Letter {
    #[key]
    mailbox: u16,
    #[key]
    uid: u64,
    tag: Option<i8>,
    name: String,
    body: Large,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 2, name = "town")]
struct Town {
    #[key]
    name: String,
    height: i32,
    known: bool,
}

#[derive(Debug, Counter)]
#[counter(id = 3, name = "read")]
#[expect(dead_code, reason = "a counter is nothing but its definition")]
struct Read {
    #[key]
    day: u32,
}

const SCHEMA: Schema = Schema::new(&[Letter::DEF, Town::DEF, Read::DEF]);

/// The key of the encrypted one.
const KEY: [u8; 32] = *b"thirty-two bytes that are no key";
/// The key that opens a sample.
pub(crate) fn key_of(name: &str) -> Option<Key> {
    (name == "sealed").then(|| Key::from_bytes(KEY))
}

/// The passphrase of the keys alone.
const PASSPHRASE: &str = "correct horse battery staple";

fn options(disk: &SimDisk, key: Option<Key>) -> Options {
    Options {
        key,
        segment_bytes: 16 << 10,
        chunk_bytes: 4 << 10,
        inline_bytes_max: 64,
        block_bytes: 256,
        fresh_runs: 2,
        retention_s: 3600,
        clock: || 1_800_000_000_000,
        ..Options::with_disk(Arc::new(disk.clone()))
    }
}

fn open(disk: &SimDisk, key: Option<Key>) -> (Db, Stepper) {
    Db::open_stepped(options(disk, key), SCHEMA, &[]).unwrap()
}

/// A large value.
fn large(db: &Db, bytes: &[u8]) -> Large {
    block_on(async {
        let mut writer = db.large_writer();
        writer.write(bytes).await.unwrap();
        writer.finish().await.unwrap()
    })
}

fn letter(mailbox: u16, uid: u64, tag: Option<i8>, name: &str, body: Large) -> Letter {
    Letter { mailbox, uid, tag, name: name.into(), body }
}

fn write(db: &Db, rows: &[Letter], more: impl Fn(&mut crate::write::WriteTx<'_>)) {
    let pending = db.write(|tx| {
        rows.iter().try_for_each(|row| tx.put(row))?;
        more(tx);
        Ok::<_, crate::error::Error>(())
    });
    pending.unwrap().wait().unwrap();
}

/// Everything the format knows, in the clear: two lives, two journal segments and part of a third,
/// runs on two levels, tombstones and ranges, rows that are replayed.
fn plain() -> SimDisk {
    let _fixed = Fixed::new(1);
    let disk = SimDisk::new(1);
    let (db, stepper) = open(&disk, None);
    let body = large(&db, b"Subject: one\r\n\r\nThe first letter.\r\n");
    write(
        &db,
        &[
            letter(1, 1, Some(-3), "one", body.clone()),
            letter(2, 1, None, "the same once more", body),
        ],
        |tx| {
            assert_eq!(tx.next_id::<Letter>().unwrap(), 1);
            tx.add::<Read>(&20_000, 300).unwrap();
            for (name, height) in [("Bergen", 12), ("a\0b", -1), ("", 8848)] {
                tx.put(&Town { name: name.into(), height, known: height > 0 }).unwrap();
            }
        },
    );
    let long = "a name that is longer than fits a row, ".repeat(2);
    write(&db, &[letter(3, 7, Some(5), &long, Large::default())], |_| {});
    stepper.freeze();
    assert!(stepper.flush().unwrap());
    write(&db, &[letter(1, 1, Some(4), "one", Large::default())], |tx| {
        assert!(tx.delete::<Letter>(&(2, 1)).unwrap());
        tx.delete_range::<Town>("B".to_owned().."C".to_owned()).unwrap();
        tx.add::<Read>(&20_000, -301).unwrap();
    });
    stepper.freeze();
    assert!(stepper.flush().unwrap());
    stepper.finish();
    drop(db);

    let (db, stepper) = open(&disk, None);
    // Zeros, which golden files leave out.
    let body = large(&db, &[0; 12_000]);
    write(&db, &[letter(4, 1, Some(0), "zeros", body)], |_| {});
    for uid in 2..5 {
        let row = letter(4, uid, Some(1), &format!("letter {uid} of mailbox 4"), Large::default());
        write(&db, &[row], |_| {});
    }
    let other = "another name that is longer than fits a row, ".repeat(2);
    write(&db, &[letter(4, 300, Some(127), &other, Large::default())], |_| {});
    stepper.freeze();
    assert!(stepper.flush().unwrap());
    while stepper.compact().unwrap() || stepper.clean().unwrap() {}
    let body = large(&db, &[0; 9_000]);
    write(&db, &[letter(5, 1, Some(0), "more zeros", body)], |_| {});
    write(&db, &[letter(5, 2, None, "the last", Large::default())], |tx| {
        assert!(tx.delete::<Letter>(&(4, 3)).unwrap());
        tx.delete_prefix::<Letter, _>(&(3,)).unwrap();
    });
    // What follows is a crash.
    drop((db, stepper));
    disk
}

/// The same things encrypted, and the data key changed once.
fn sealed() -> SimDisk {
    let _fixed = Fixed::new(2);
    let disk = SimDisk::new(2);
    let (db, stepper) = open(&disk, Some(Key::from_bytes(KEY)));
    let body = large(&db, b"Subject: one\r\n\r\nThe first letter.\r\n");
    write(&db, &[letter(1, 1, Some(-3), "one", body)], |_| {});
    stepper.freeze();
    assert!(stepper.flush().unwrap());
    db.change_key(None, &mut |_| true).unwrap();
    write(&db, &[letter(1, 2, None, "two", Large::default())], |_| {});
    stepper.finish();
    drop(db);
    disk
}

/// A backup of the one in the clear, while it is open.
fn backup() -> SimDisk {
    let disk = plain();
    let _fixed = Fixed::new(3);
    let (db, stepper) = open(&disk, None);
    let copy = SimDisk::new(3);
    let to: Arc<dyn Disk> = Arc::new(copy.clone());
    db.backup(&to, &mut |_| true).unwrap();
    drop((db, stepper));
    copy
}

/// A meta file with an edit of every kind, of a database that is not there.
fn edits() -> SimDisk {
    let _fixed = Fixed::new(4);
    let disk = SimDisk::new(4);
    let key = Key::from_passphrase(PASSPHRASE);
    drop(Db::open_stepped(options(&disk, Some(key)), Schema::new(&[]), &[]).unwrap());
    for name in disk.list().unwrap() {
        if !name.ends_with(".gk") {
            disk.remove(&name).unwrap();
        }
    }
    let files = Files::new(Arc::new(disk.clone()), Keyring::plain([4; 16]), [4; 16], 8);
    let mut meta = Meta::create(Arc::new(files), Manifest::empty(1_800_000_000_000), 300).unwrap();
    let run = |number| RunInfo {
        number,
        len: 5000,
        entries: 300,
        tombstones: 2,
        ranges: 1,
        first: Box::from(*b"\0\x01\0a"),
        end: Box::from(*b"\0\x01\0z"),
        sequence: 77,
    };
    let place = Place { segment: 3, offset: 8192 };
    let flushed = Flushed { sequence: 77, place, life: 0x0102_0304_0506_0708 };
    let all: [&[Edit]; 3] = [
        &[Edit::Schema("table 1 t version 1\n  key k\n  field k u8\n".into())],
        &[
            Edit::Run(0, run(1)),
            Edit::Run(0, run(2)),
            Edit::Segment(1, 9000),
            Edit::Segment(2, 8704),
        ],
        &[
            Edit::RunGone(1),
            Edit::RunMoved(2, 1),
            Edit::Flushed(flushed),
            Edit::SegmentGone(1, 76),
            Edit::Restorable(12),
            Edit::Forgotten((FileKind::Index, 1)),
            Edit::Forgotten((FileKind::Journal, 1)),
        ],
    ];
    for edits in all {
        meta.commit(1_800_000_000_001, edits).unwrap();
    }
    disk
}

/// Name and script.
type Sample = (&'static str, fn() -> SimDisk);

const SAMPLES: [Sample; 4] =
    [("plain", plain), ("sealed", sealed), ("backup", backup), ("edits", edits)];

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Sixteen bytes a line, the letters among them beside them; lines of zeros are left out. The last
/// line says where the file ends.
fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, at) in bytes.chunks(16).zip((0..).step_by(16)) {
        if line.iter().all(|byte| *byte == 0) {
            continue;
        }
        let pairs: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let letter = |&byte: &u8| if byte.is_ascii_graphic() { char::from(byte) } else { '.' };
        let letters: String = line.iter().map(letter).collect();
        writeln!(text, "{at:04x}: {:<47}  {letters}", pairs.join(" ")).unwrap();
    }
    writeln!(text, "{:04x}:", bytes.len()).unwrap();
    text
}

fn from_hex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines() {
        let (at, rest) = line.split_once(':').unwrap();
        bytes.resize(usize::from_str_radix(at, 16).unwrap(), 0);
        let pairs = rest.trim_start().split("  ").next().unwrap_or_default();
        let pairs = pairs.split(' ').filter(|pair| !pair.is_empty());
        bytes.extend(pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()));
    }
    bytes
}

/// The golden files of a sample, as files.
pub(crate) fn golden_disk(name: &str) -> SimDisk {
    let disk = SimDisk::new(9);
    for entry in fs::read_dir(folder(name)).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        if let Some(file) = file.strip_suffix(".hex") {
            disk.put_file(file, &from_hex(&fs::read_to_string(&path).unwrap()));
        }
    }
    disk
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A row in words: texts in hexadecimal digits, large values by their number.
fn words(key: &[u8], value: &[u8], reader: &dyn Reader) -> String {
    match key {
        [0, 1, ..] => {
            let row: Letter = row::decode("letter", value, reader).unwrap();
            let tag = row.tag.map_or("none".to_owned(), |tag| tag.to_string());
            let (mailbox, uid, name) = (row.mailbox, row.uid, hex(row.name.as_bytes()));
            format!("letter mailbox={mailbox} uid={uid} tag={tag} name={name} body=#0")
        }
        [0, 2, ..] => {
            let Town { name, height, known } = row::decode("town", value, reader).unwrap();
            format!("town name={} height={height} known={known}", hex(name.as_bytes()))
        }
        _ => {
            let day = u32::from_be_bytes(key[3..].try_into().unwrap());
            format!("read day={day} count {}", row::decode_count("read", value).unwrap())
        }
    }
}

/// Every row, in hexadecimal digits; below it its fields, and the length and checksum of its large
/// values.
fn rows(db: &Db) -> String {
    let reader = db.engine().snapshot();
    let mut walk = reader.scan(&[], None).unwrap();
    let mut text = String::new();
    while let Some((key, value)) = walk.next().unwrap() {
        writeln!(text, "{} {}", hex(key), hex(value)).unwrap();
        if crate::space::is_row(key) {
            writeln!(text, "  {}", words(key, value, reader.as_ref())).unwrap();
            for large in row::larges_of(value).unwrap() {
                let bytes = crate::large::read_all(reader.as_ref(), &large, 1 << 20).unwrap();
                let (len, crc) = (bytes.len(), crate::crc::of(&bytes));
                writeln!(text, "  {len} bytes, crc32c {crc:08x}").unwrap();
            }
        }
    }
    text
}

/// Compares texts with what stands in the folder of a sample, or writes them there.
fn compare(name: &str, texts: &[(String, String)]) {
    let folder = folder(name);
    if std::env::var_os("GRACE_BLESS").is_some() {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        texts.iter().for_each(|(file, text)| fs::write(folder.join(file), text).unwrap());
    }
    let mut there: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut now: Vec<String> = texts.iter().map(|(file, _)| file.clone()).collect();
    there.sort();
    now.sort();
    assert_eq!(there, now, "{name}: other files than were frozen");
    for (file, text) in texts {
        let frozen = fs::read_to_string(folder.join(file)).unwrap();
        let differs = frozen.lines().zip(text.lines()).find(|(frozen, now)| frozen != now);
        assert!(
            frozen == *text,
            "tests/golden/{name}/{file} is not what is written now. If a byte of a file differs, \
             that is a new format version. At first: {differs:?}; \
             `GRACE_BLESS=1 cargo test -p gracedb golden` writes it anew"
        );
    }
}

/// Everything in a file, in words.
pub(crate) fn dump_of(disk: &SimDisk, key: Option<&Key>, name: &str) -> String {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut text = Vec::new();
    dump::file(&disk, key, name, Wanted::default(), &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Each file, and what a dump shows of it: of an encrypted one with the key and without.
fn texts(disk: &SimDisk, sample: &str, key: Option<&Key>) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for name in disk.list().unwrap() {
        texts.push((format!("{name}.hex"), to_hex(&disk.file(&name).unwrap())));
        // Most of a backup is a copy.
        let is_shown = sample != "backup" || name.ends_with(".gm");
        if is_shown && FileKind::parse(&name).is_some() {
            texts.push((format!("{name}.dump"), dump_of(disk, key, &name)));
        }
        if key.is_some() && name == "0000000003.gj" {
            texts.push((format!("{name}.without-key.dump"), dump_of(disk, None, &name)));
        }
    }
    texts
}

/// One test, so that no file is read while it is written anew.
#[test]
fn golden_files_are_written_as_ever_and_read() {
    for (name, script) in SAMPLES {
        let (disk, key) = (script(), key_of(name));
        let mut texts = texts(&disk, name, key.as_ref());
        if name != "edits" {
            let (db, stepper) = open(&disk.fork(0), key.clone());
            texts.push(("rows.txt".to_owned(), rows(&db)));
            drop((db, stepper));
        }
        compare(name, &texts);
        match name {
            "edits" => read_edits_and_keys(&golden_disk(name)),
            _ => read_database(name, key),
        }
    }
}

fn read_database(name: &str, key: Option<Key>) {
    let (db, stepper) = open(&golden_disk(name), key);
    let report = db.verify(&mut |_| true).unwrap();
    assert!(report.is_sound(), "{name}: {report:?}");
    let frozen = fs::read_to_string(folder(name).join("rows.txt")).unwrap();
    assert_eq!(rows(&db), frozen, "{name}");
    drop((db, stepper));
}

fn read_edits_and_keys(disk: &SimDisk) {
    let loaded = meta::load(disk, 300, None).unwrap();
    let runs: Vec<_> = loaded.manifest.runs.iter().collect();
    assert_eq!((runs.len(), runs[0].1.level(), loaded.cut), (1, 1, 0));
    assert_eq!(loaded.manifest.segments.keys().collect::<Vec<_>>(), [&2]);
    assert_eq!((loaded.manifest.restorable, loaded.manifest.flushed().sequence), (77, 77));
    let name = FileKind::Keys.name(1);
    let bytes = disk.file(&name).unwrap();
    let (header, own) = FileHeader::read(&name, FileKind::Keys, 1, &bytes).unwrap();
    let key = Key::from_passphrase(PASSPHRASE);
    let keys = Keyring::read(&name, header.database, own, Some(&key)).unwrap();
    assert_eq!((keys.current(), keys.numbers()), (1, vec![1]));
}

#[test]
fn hexadecimal_text_comes_back() {
    let bytes: Vec<u8> = (0..100).map(|n| if n / 16 % 2 == 0 { 0 } else { n }).collect();
    assert_eq!(from_hex(&to_hex(&bytes)), bytes);
}
