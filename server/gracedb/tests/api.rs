//! The database as its users see it, over real files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::thread;

use gracedb::db::{Db, Options};
use gracedb::error::Error;
use gracedb::large::Large;
use gracedb::pending::block_on;
use gracedb::schema::Schema;
use gracedb::table::Table;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 1, name = "account")]
#[index(id = 1, name = AccountByAddress, fields(domain, local), unique)]
#[index(id = 2, name = AccountByQuota, fields(quota))]
struct Account {
    #[key]
    id: u64,
    domain: String,
    local: String,
    quota: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 2, name = "message")]
struct Message {
    #[key]
    mailbox: u64,
    #[key]
    uid: u32,
    seen: bool,
    body: Large,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 3, name = "domain")]
struct Domain {
    #[key]
    name: String,
}

const SCHEMA: Schema = Schema::new(&[Account::DEF, Message::DEF, Domain::DEF]);

fn open(dir: &tempfile::TempDir) -> Db {
    Db::open(Options::new(dir.path()), SCHEMA).unwrap()
}

fn account(id: u64, local: &str, quota: i64) -> Account {
    Account { id, domain: "grace.test".into(), local: local.into(), quota }
}

fn body(db: &Db, bytes: &[u8]) -> Large {
    block_on(async {
        let mut writer = db.large_writer();
        for piece in bytes.chunks(10_000) {
            writer.write(piece).await.unwrap();
        }
        writer.finish().await.unwrap()
    })
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 31 + seed * 17 + at / 251) % 256).unwrap()).collect()
}

#[test]
fn rows_come_back_by_key_range_prefix_and_index() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    assert!(db.opened().created);
    db.write(|tx| {
        for (id, local, quota) in [(1, "ada", 5), (2, "bob", -5), (3, "eve", 5)] {
            tx.insert(&account(id, local, quota))?;
        }
        for (mailbox, uid) in [(1, 1), (1, 2), (1, 9), (2, 1)] {
            tx.put(&Message { mailbox, uid, seen: false, body: Large::default() })?;
        }
        tx.put(&Domain { name: "grace.test".into() })
    })
    .unwrap()
    .wait()
    .unwrap();
    let check = |db: &Db| {
        let snap = db.snapshot();
        let uids = |rows: gracedb::view::Rows<Message>| {
            rows.map(|row| row.unwrap().uid).collect::<Vec<_>>()
        };
        assert_eq!(snap.get::<Account>(&2).unwrap().unwrap().local, "bob");
        assert_eq!(snap.get::<Message>(&(1, 9)).unwrap().unwrap().uid, 9);
        assert!(snap.get::<Message>(&(1, 3)).unwrap().is_none());
        assert!(snap.contains::<Domain>("grace.test"));
        assert!(!snap.contains::<Domain>(&"grace".to_owned()));
        assert_eq!(uids(snap.prefix::<Message>(&(1,))), [1, 2, 9]);
        assert_eq!(uids(snap.range::<Message>((1, 2)..)), [2, 9, 1]);
        assert_eq!(uids(snap.range::<Message>((1, 2)..=(1, 9))), [2, 9]);
        assert_eq!(snap.scan::<Message>().next_back().unwrap().unwrap().mailbox, 2);
        let found = snap.find::<AccountByAddress>(&("grace.test", "eve")).unwrap();
        assert_eq!(found.unwrap().id, 3);
        assert!(snap.find::<AccountByAddress>(&("grace.test", "ev")).unwrap().is_none());
        let ids = |rows: gracedb::view::IndexRows<AccountByQuota>| {
            rows.map(|row| row.unwrap().id).collect::<Vec<_>>()
        };
        assert_eq!(ids(snap.by_index::<AccountByQuota>(&5)), [1, 3]);
        assert_eq!(ids(snap.by_index_range::<AccountByQuota>(..=5)), [2, 1, 3]);
        assert_eq!(ids(snap.by_index_range::<AccountByQuota>(-5..5)), [2]);
        let after = (std::ops::Bound::Excluded(-5), std::ops::Bound::Unbounded);
        assert_eq!(ids(snap.by_index_range::<AccountByQuota>(after)), [1, 3]);
        let domain = snap.by_index_prefix::<AccountByAddress>(&("grace.test",));
        assert_eq!(domain.rev().map(|row| row.unwrap().id).collect::<Vec<_>>(), [3, 2, 1]);
    };
    check(&db);
    drop(db);
    let db = open(&dir);
    assert!(db.opened().clean && !db.opened().created);
    check(&db);
    assert_eq!(db.stats().rows, 8);
}

#[test]
fn a_refused_change_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    db.write(|tx| {
        tx.insert(&account(1, "ada", 1))?;
        tx.insert(&account(2, "bob", 1))?;
        assert!(matches!(tx.insert(&account(1, "new", 1)), Err(Error::KeyExists { .. })));
        assert!(matches!(tx.insert(&account(3, "ada", 1)), Err(Error::NotUnique { .. })));
        assert!(matches!(tx.put(&account(2, "ada", 9)), Err(Error::NotUnique { .. })));
        tx.put(&account(2, "bob", 7))
    })
    .unwrap()
    .wait()
    .unwrap();
    let failed = db.write(|tx| {
        tx.delete::<Account>(&1)?;
        tx.next_id::<Account>()?;
        Err::<(), _>(Error::Closed)
    });
    assert!(failed.is_err());
    let snap = db.snapshot();
    assert_eq!(snap.sequence(), 1);
    assert_eq!(snap.scan::<Account>().count(), 2);
    assert_eq!(snap.by_index::<AccountByQuota>(&1).count(), 1);
    assert_eq!(snap.by_index::<AccountByQuota>(&7).count(), 1);
}

#[test]
fn deleting_takes_the_index_entries_along() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let ids = db
        .write(|tx| {
            for n in 0..500 {
                let id = tx.next_id::<Account>()?;
                tx.insert(&account(id, &format!("user{n}"), n % 7))?;
            }
            let gone = tx.delete_range::<Account>(100..=199)?;
            assert!(tx.delete::<Account>(&1)?);
            assert!(!tx.delete::<Account>(&1)?);
            // A walk over the rows as they were, while they change.
            for row in tx.range::<Account>(400..) {
                tx.delete::<Account>(&row?.id)?;
            }
            for uid in 0..50 {
                for mailbox in [1, 2] {
                    tx.put(&Message { mailbox, uid, seen: true, body: Large::default() })?;
                }
            }
            tx.delete_prefix::<Message>(&(1,))?;
            Ok::<_, Error>((gone, tx.next_id::<Account>()?))
        })
        .unwrap()
        .wait()
        .unwrap();
    assert_eq!(ids, (100, 501));
    drop(db);
    let snap = open(&dir).snapshot();
    assert_eq!(snap.scan::<Account>().count(), 500 - 100 - 1 - 101);
    assert_eq!(snap.by_index_range::<AccountByQuota>(..).count(), 298);
    assert_eq!(snap.by_index_prefix::<AccountByAddress>(&("grace.test",)).count(), 298);
    assert_eq!(snap.scan::<Message>().count(), 50);
}

#[test]
fn large_values_of_every_size_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 1 << 20, ..Options::new(dir.path()) };
    let db = Db::open(options.clone(), SCHEMA).unwrap();
    let sizes = [0, 1, 39, 4_096, 131_071, 131_072, 131_073, 700_000, 3_000_000];
    for (uid, size) in sizes.into_iter().enumerate() {
        let large = body(&db, &pattern(size, uid));
        let uid = u32::try_from(uid).unwrap();
        let put = db.write(|tx| tx.put(&Message { mailbox: 1, uid, seen: false, body: large }));
        put.unwrap().wait().unwrap();
    }
    assert!(db.stats().segments > 3, "{:?}", db.stats());
    let check = |db: &Db| {
        let snap = db.snapshot();
        for (uid, size) in sizes.into_iter().enumerate() {
            let row = snap.get::<Message>(&(1, u32::try_from(uid).unwrap())).unwrap().unwrap();
            let mut reader = snap.open_large(&row.body).unwrap();
            let whole = pattern(size, uid);
            assert_eq!(reader.len(), size as u64);
            assert!(reader.read_all(4_000_000).unwrap() == whole, "{size}");
            let mut piece = [0; 100];
            for offset in [0, 130_000, 131_050, size.saturating_sub(50)] {
                let count = reader.read_at(offset as u64, &mut piece).unwrap();
                let expected = whole.get(offset..(offset + 100).min(size)).unwrap_or_default();
                assert_eq!(&piece[..count], expected);
            }
        }
        assert!(matches!(
            snap.open_large(&snap.get::<Message>(&(1, 8)).unwrap().unwrap().body)
                .unwrap()
                .read_all(10),
            Err(Error::TooLarge { .. })
        ));
        let total: usize = sizes.into_iter().sum();
        assert_eq!(db.stats().large_bytes_live, total as u64);
        assert_eq!(db.stats().large_bytes_stored, total as u64);
    };
    check(&db);
    drop(db);
    check(&Db::open(options, SCHEMA).unwrap());
}

#[test]
fn a_snapshot_shows_what_is_acknowledged_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let before = db.snapshot();
    let pending = db.write(|tx| tx.put(&Domain { name: "a.test".into() })).unwrap();
    // The next transaction sees it at once, and waits for it even without a change of its own.
    let seen = db.write(|tx| Ok::<_, Error>(tx.contains::<Domain>("a.test"))).unwrap();
    assert!(block_on(seen).unwrap());
    assert!(db.snapshot().contains::<Domain>("a.test"));
    pending.wait().unwrap();
    assert!(!before.contains::<Domain>("a.test"));
}

#[test]
fn many_writers_share_syncs_and_each_row_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    thread::scope(|scope| {
        for mailbox in 0..16 {
            let db = db.clone();
            scope.spawn(move || {
                for uid in 0..50 {
                    let body = body(&db, &pattern(5_000, uid as usize));
                    let row = Message { mailbox, uid, seen: false, body };
                    db.write(|tx| tx.insert(&row)).unwrap().wait().unwrap();
                    let snap = db.snapshot();
                    assert_eq!(snap.get::<Message>(&(mailbox, uid)).unwrap().unwrap(), row);
                }
            });
        }
    });
    let stats = db.stats();
    assert_eq!((stats.commits, stats.rows), (800, 800));
    assert!(stats.syncs < 800, "no commit shared a sync: {stats:?}");
}

#[test]
fn a_second_open_is_refused_until_the_first_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let second = Db::open(Options::new(dir.path()), SCHEMA);
    assert!(matches!(second, Err(Error::Locked { .. })));
    db.write(|tx| tx.put(&Domain { name: "a.test".into() })).unwrap().wait().unwrap();
    let snap = db.snapshot();
    db.close();
    let late = db.write(|tx| tx.put(&Domain { name: "b.test".into() }));
    assert!(matches!(late, Err(Error::Closed)));
    assert!(matches!(block_on(db.large_writer().write(&[0; 200_000])), Err(Error::Closed)));
    assert!(open(&dir).snapshot().contains::<Domain>("a.test"));
    assert!(snap.contains::<Domain>("a.test"));
}

#[test]
fn a_new_table_is_added_and_a_changed_one_named() {
    #[derive(Serialize, Deserialize, Table)]
    #[table(id = 3, name = "domain")]
    struct Renamed {
        #[key]
        name: Vec<u8>,
    }
    const SMALLER: Schema = Schema::new(&[Domain::DEF]);
    const OTHER: Schema = Schema::new(&[Account::DEF, Message::DEF, Renamed::DEF]);
    let dir = tempfile::tempdir().unwrap();
    drop(Db::open(Options::new(dir.path()), SMALLER).unwrap());
    drop(Db::open(Options::new(dir.path()), SCHEMA).unwrap());
    let Err(error) = Db::open(Options::new(dir.path()), SMALLER) else { panic!("opened") };
    assert!(error.to_string().contains("table 1 account"), "{error}");
    let Err(error) = Db::open(Options::new(dir.path()), OTHER) else { panic!("opened") };
    assert!(error.to_string().contains("only the program has \"field name Vec<u8>\""), "{error}");
    drop(open(&dir));
}

#[test]
fn handles_are_what_servers_need() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Db>();
    check::<gracedb::view::Snapshot>();
    check::<gracedb::view::Rows<Message>>();
    check::<gracedb::large::LargeWriter>();
    check::<gracedb::large::LargeReader>();
    check::<gracedb::pending::Pending<u64>>();
    check::<Arc<Error>>();
}

#[test]
fn limits_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let long = Domain { name: "x".repeat(5_000) };
    assert!(matches!(db.write(|tx| tx.put(&long)), Err(Error::TooLarge { .. })));
    let huge = Account { domain: "y".repeat(2 << 20), ..account(1, "a", 1) };
    assert!(matches!(db.write(|tx| tx.put(&huge)), Err(Error::TooLarge { .. })));
    let many = db.write(|tx| {
        (0..40).try_for_each(|n| {
            tx.put(&Message { mailbox: n, uid: 0, seen: false, body: Large::default() })?;
            let local = format!("{n}{}", "z".repeat(3_000));
            tx.put(&Account { domain: "y".repeat(1_000), ..account(n, &local, 1) })
        })
    });
    many.unwrap().wait().unwrap();
    let Err(error) = Db::open(Options { ahead_bytes: 5, ..Options::new(dir.path()) }, SCHEMA)
    else {
        panic!("opened")
    };
    assert!(error.to_string().contains("ahead_bytes"), "{error}");
}
