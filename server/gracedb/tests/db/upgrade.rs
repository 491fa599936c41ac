//! Databases that an earlier format wrote, frozen in `golden`.

use std::collections::BTreeMap;
use std::sync::Arc;

use gracedb::db::Db;
use gracedb::disk::sim::{Fault, SimDisk};
use gracedb::error::Error;
use gracedb::large::Large;
use gracedb::options::Options;
use gracedb::schema::Schema;
use gracedb::seal::Key;
use gracedb::table::Table;
use gracedb::view::View;
use serde::{Deserialize, Serialize};

use crate::tables::check;

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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 2, name = "person")]
#[index(id = 1, name = PersonByName, fields(name), unique)]
struct Person {
    #[key]
    id: u64,
    name: String,
    nick: Option<String>,
    level: i32,
}

const SCHEMA: Schema = Schema::new(&[Letter::DEF, Person::DEF]);
const LETTERS: Schema = Schema::new(&[Letter::DEF]);

/// The files of a dump: `name length`, then `offset: bytes` without what is zero.
fn files(dump: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut name = "";
    for line in dump.lines() {
        match line.split_once(": ") {
            Some((offset, hex)) => {
                let file: &mut Vec<u8> = files.get_mut(name).unwrap();
                let at = usize::from_str_radix(offset, 16).unwrap();
                let hex: String = hex.split_whitespace().collect();
                let byte =
                    |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
                let bytes: Vec<u8> = hex.as_bytes().chunks(2).map(byte).collect();
                if file.len() < at + bytes.len() {
                    file.resize(at + bytes.len(), 0);
                }
                file.get_mut(at..at + bytes.len()).unwrap().copy_from_slice(&bytes);
            }
            None => {
                let (file, len) = line.split_once(' ').unwrap();
                name = file;
                files.insert(name.to_owned(), vec![0; len.parse().unwrap()]);
            }
        }
    }
    files
}

fn golden() -> BTreeMap<String, Vec<u8>> {
    files(include_str!("../golden/database-v1.txt"))
}

fn disk(files: &BTreeMap<String, Vec<u8>>) -> SimDisk {
    let disk = SimDisk::new(3);
    for (name, bytes) in files {
        disk.put_file(name, bytes);
    }
    disk
}

fn options(disk: &SimDisk) -> Options {
    Options {
        segment_bytes: 64 << 10,
        ahead_bytes: 4096,
        chunk_bytes: 700,
        mem_bytes: 4 << 10,
        inline_bytes_max: 64,
        unflushed_bytes: 32 << 10,
        identity: Some(*b"another identity"),
        ..Options::with_disk(Arc::new(disk.clone()))
    }
}

fn body(uid: u16) -> Vec<u8> {
    let line = format!("Subject: letter {uid}\r\n\r\n");
    line.bytes().cycle().take(usize::from(uid) * 41 % 900).collect()
}

/// Mailbox and uid of a letter; its tag, number and body.
type Letters = BTreeMap<(u8, u16), (u8, u64, Vec<u8>)>;

/// What stands in the golden files.
fn letters() -> Letters {
    let mut letters = Letters::new();
    let mailbox = |uid: u16| u8::try_from(uid % 3).unwrap();
    for uid in 0..60 {
        letters.insert((mailbox(uid), uid), (0, u64::from(uid) + 100, body(uid)));
    }
    for uid in (0..60).step_by(7) {
        letters.get_mut(&(mailbox(uid), uid)).unwrap().0 = 9;
        letters.insert((9, uid), (0, u64::from(uid) + 1000, body(uid)));
    }
    for uid in (1..60).step_by(6) {
        letters.remove(&(mailbox(uid), uid));
    }
    letters.retain(|(mailbox, _), _| *mailbox != 2);
    letters
}

fn read(db: &Db) -> Letters {
    let snap = db.snapshot();
    let rows = snap.scan::<Letter>().map(|row| {
        let row = row.unwrap();
        let body = snap.open_large(&row.body).read_all(1 << 20).unwrap();
        ((row.mailbox, row.uid), (row.tag, row.number, body))
    });
    rows.collect()
}

fn check_all(db: &Db) {
    assert_eq!(read(db), letters());
    let snap = db.snapshot();
    let tagged = snap.by_index::<LetterByTag>(&9u8).count();
    assert_eq!(tagged, letters().values().filter(|letter| letter.0 == 9).count());
    assert_eq!(snap.find::<LetterByNumber>(&1007u64).unwrap().unwrap().uid, 7);
    let people: Vec<_> = snap.scan::<Person>().map(|person| person.unwrap()).collect();
    let person = |id: i32, name: &str, nick: Option<&str>| Person {
        id: u64::try_from(id).unwrap(),
        name: name.to_owned(),
        nick: nick.map(str::to_owned),
        level: -id,
    };
    assert_eq!(people, [person(1, "ann", Some("a")), person(2, "bob", None)]);
    check(db);
}

#[test]
fn format_1_is_read_and_rewritten() {
    for key in [None, Some(Key::from_bytes([7; 32]))] {
        let disk = disk(&golden());
        let options = Options { key: key.clone(), ..options(&disk) };
        let db = Db::open(options.clone(), SCHEMA).unwrap();
        assert!(db.opened().upgraded);
        check_all(&db);
        // Ids go on, and so does everything else.
        let id = db.write(|tx| tx.next_id::<Person>()).unwrap().wait().unwrap();
        assert_eq!(id, 4);
        let stats = db.stats().unwrap();
        assert!(stats.live_bytes > 0 && stats.damage.is_empty(), "{stats:?}");
        db.close();
        for name in golden().keys() {
            assert_eq!(disk.file(name), None, "{name} should be gone");
        }
        let db = Db::open(options, SCHEMA).unwrap();
        assert!(!db.opened().upgraded);
        check_all(&db);
    }
}

#[test]
fn the_smallest_one_is_read() {
    let dump = include_str!("../golden/journal-v1.txt");
    let disk = disk(&files(&format!("0000000001.gj 16384\n{dump}")));
    let db = Db::open(options(&disk), LETTERS).unwrap();
    let letter = (3, 4, b"Subject: hi\r\n\r\nhello\r\n".to_vec());
    assert_eq!(read(&db), Letters::from([((1, 2), letter)]));
    check(&db);
}

#[test]
fn the_power_may_go_at_any_moment() {
    let mut cuts = 0;
    for operation in 1.. {
        let disk = disk(&golden());
        disk.plan(operation, Fault::PowerCut);
        let opened = Db::open_stepped(options(&disk), SCHEMA, &[]);
        let is_over = disk.operations() < operation;
        drop(opened);
        disk.restart();
        let db = Db::open(options(&disk), SCHEMA).unwrap_or_else(|e| panic!("{operation}: {e}"));
        check_all(&db);
        if is_over {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 30, "only {cuts} operations");
}

#[test]
fn a_torn_end_is_cut_as_format_1_did() {
    let golden = golden();
    let last = golden.keys().next_back().unwrap().clone();
    let end = golden[&last].iter().rposition(|byte| *byte != 0).unwrap();
    let mut before = letters().len();
    for cut in (4096..=end).rev().step_by(97) {
        let mut files = golden.clone();
        files.get_mut(&last).unwrap()[cut..].fill(0);
        let disk = disk(&files);
        match Db::open(options(&disk), SCHEMA) {
            Ok(db) => {
                check(&db);
                let letters = read(&db).len();
                // What comes before deletes has more letters, never a few less.
                assert!(letters >= before.min(30), "{cut}: {letters}");
                before = letters;
            }
            // Without its beginning the segment speaks of nothing that is known to be on disk.
            Err(error) => panic!("{cut}: {error}"),
        }
    }
}

#[test]
fn damage_is_told_and_nothing_is_changed() {
    let golden = golden();
    for (number, name) in golden.keys().enumerate().take(golden.len() - 1) {
        for offset in (20..16_000).step_by(173) {
            let mut files = golden.clone();
            let byte = &mut files.get_mut(name).unwrap()[offset];
            if *byte == 0 && offset > 4096 {
                continue;
            }
            *byte ^= 0x10;
            let disk = disk(&files);
            match Db::open(options(&disk), SCHEMA) {
                // Padding, or a large value that nothing points to any more.
                Ok(db) => check_all(&db),
                Err(Error::Corrupt { file, .. }) => assert!(
                    golden.keys().skip(number).take(2).any(|name| *name == file),
                    "{file} and not {name} at {offset}"
                ),
                Err(error) => panic!("{name} at {offset}: {error:?}"),
            }
            if let Some(now) = disk.file(name) {
                assert!(now == files[name], "{name} was changed");
            }
        }
    }
}
