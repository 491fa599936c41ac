//! Rows, by key, range, prefix and index.

use std::sync::Arc;
use std::thread;

use gracedb::db::Db;
use gracedb::error::Error;
use gracedb::large::Large;
use gracedb::options::Options;
use gracedb::pending::block_on;
use gracedb::schema::Schema;
use gracedb::table::Table;
use gracedb::view::View;
use serde::{Deserialize, Serialize};

use crate::tables::*;

#[test]
fn rows_come_back_by_key_range_prefix_and_index() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&Options::new(dir.path()));
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
        assert!(snap.contains::<Domain>("grace.test").unwrap());
        assert!(!snap.contains::<Domain>(&"grace".to_owned()).unwrap());
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
    let db = open(&Options::new(dir.path()));
    assert!(db.opened().clean && !db.opened().created);
    check(&db);
}

#[test]
fn a_refused_change_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&Options::new(dir.path()));
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
    let db = open(&Options::new(dir.path()));
    let next = db
        .write(|tx| {
            for n in 0..500 {
                let id = tx.next_id::<Account>()?;
                tx.insert(&account(id, &format!("user{n}"), n % 7))?;
            }
            tx.delete_range::<Account>(100..=199)?;
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
            tx.delete_prefix::<Message, _>(&(1,))?;
            tx.next_id::<Account>()
        })
        .unwrap()
        .wait()
        .unwrap();
    assert_eq!(next, 501);
    drop(db);
    let snap = open(&Options::new(dir.path())).snapshot();
    assert_eq!(snap.scan::<Account>().count(), 500 - 100 - 1 - 101);
    assert_eq!(snap.by_index_range::<AccountByQuota>(..).count(), 298);
    assert_eq!(snap.by_index_prefix::<AccountByAddress>(&("grace.test",)).count(), 298);
    assert_eq!(snap.scan::<Message>().count(), 50);
}

#[test]
fn a_snapshot_shows_what_is_acknowledged_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&Options::new(dir.path()));
    let before = db.snapshot();
    let pending = db.write(|tx| tx.put(&Domain { name: "a.test".into() })).unwrap();
    // The next transaction sees it at once, and waits for it even without a change of its own.
    let seen = db.write(|tx| tx.contains::<Domain>("a.test")).unwrap();
    assert!(block_on(seen).unwrap());
    assert!(db.snapshot().contains::<Domain>("a.test").unwrap());
    pending.wait().unwrap();
    assert!(!before.contains::<Domain>("a.test").unwrap());
}

#[test]
fn many_writers_share_syncs_and_each_row_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&Options::new(dir.path()));
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
    let stats = db.stats().unwrap();
    assert_eq!(stats.commits, 800);
    assert_eq!(db.snapshot().scan::<Message>().count(), 800);
    assert!(stats.syncs < 800, "no commit shared a sync: {stats:?}");
}

#[test]
fn a_second_open_is_refused_until_the_first_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&Options::new(dir.path()));
    let second = Db::open(Options::new(dir.path()), SCHEMA);
    assert!(matches!(second, Err(Error::Locked { .. })));
    db.write(|tx| tx.put(&Domain { name: "a.test".into() })).unwrap().wait().unwrap();
    let snap = db.snapshot();
    db.close();
    let late = db.write(|tx| tx.put(&Domain { name: "b.test".into() }));
    assert!(matches!(late, Err(Error::Closed)));
    assert!(matches!(block_on(db.large_writer().write(&[0; 200_000])), Err(Error::Closed)));
    assert!(open(&Options::new(dir.path())).snapshot().contains::<Domain>("a.test").unwrap());
    assert!(snap.contains::<Domain>("a.test").unwrap());
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
    drop(open(&Options::new(dir.path())));
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
    let db = open(&Options::new(dir.path()));
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
    let Err(error) = Db::open(Options { frozen_max: 0, ..Options::new(dir.path()) }, SCHEMA) else {
        panic!("opened")
    };
    assert!(error.to_string().contains("frozen_max"), "{error}");
}
