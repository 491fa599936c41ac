//! Large values: in, out, shared, given up.

use gracedb::db::Db;
use gracedb::error::Error;
use gracedb::options::Options;
use gracedb::pending::block_on;
use gracedb::view::View;

use crate::tables::*;

#[test]
fn large_values_of_every_size_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 1 << 20, ..Options::new(dir.path()) };
    let db = open(&options);
    let sizes = [0, 1, 39, 4_096, 131_071, 131_072, 131_073, 700_000, 3_000_000];
    for (uid, size) in sizes.into_iter().enumerate() {
        let large = body(&db, &pattern(size, uid));
        let uid = u32::try_from(uid).unwrap();
        let put = db.write(|tx| tx.put(&Message { mailbox: 1, uid, seen: false, body: large }));
        put.unwrap().wait().unwrap();
    }
    let check = |db: &Db| {
        let snap = db.snapshot();
        for (uid, size) in sizes.into_iter().enumerate() {
            let row = snap.get::<Message>(&(1, u32::try_from(uid).unwrap())).unwrap().unwrap();
            let mut reader = snap.open_large(&row.body);
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
            snap.open_large(&snap.get::<Message>(&(1, 8)).unwrap().unwrap().body).read_all(10),
            Err(Error::TooLarge { .. })
        ));
        let total: usize = sizes.into_iter().sum();
        assert_eq!(db.stats().unwrap().live_bytes, total as u64);
    };
    check(&db);
    drop(db);
    check(&open(&options));
}

#[test]
fn rows_share_a_body_until_the_last_of_them_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&Options::new(dir.path()));
    let shared = body(&db, &pattern(200_000, 1));
    let put = |tx: &mut gracedb::write::WriteTx<'_>, mailbox, uid, body: &gracedb::large::Large| {
        tx.put(&Message { mailbox, uid, seen: false, body: body.clone() })
    };
    let all = db.write(|tx| {
        (1..=3).try_for_each(|mailbox| put(tx, mailbox, 7, &shared))?;
        put(tx, 1, 8, &shared)
    });
    all.unwrap().wait().unwrap();
    drop(shared);
    assert_eq!(db.stats().unwrap().live_bytes, 200_000);
    // A copy within the database needs no new bytes.
    let copied = db.write(|tx| {
        let row = tx.get::<Message>(&(2, 7))?.unwrap();
        tx.put(&Message { mailbox: 9, ..row })
    });
    copied.unwrap().wait().unwrap();
    assert_eq!(db.stats().unwrap().live_bytes, 200_000);
    for mailbox in [1, 2, 3] {
        let gone = db.write(|tx| tx.delete_prefix::<Message, _>(&(mailbox,)));
        gone.unwrap().wait().unwrap();
    }
    assert_eq!(read_body(&db.snapshot(), 9, 7).unwrap(), pattern(200_000, 1));
    db.write(|tx| tx.delete::<Message>(&(9, 7))).unwrap().wait().unwrap();
    db.settle().unwrap();
    assert_eq!(db.stats().unwrap().live_bytes, 0);
    check(&db);
}

#[test]
fn a_body_that_nothing_points_to_any_more_cannot_be_pointed_to_again() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&Options::new(dir.path()));
    put_message(&db, 1, 1, &pattern(5_000, 1));
    let row = db.snapshot().get::<Message>(&(1, 1)).unwrap().unwrap();
    db.write(|tx| tx.delete::<Message>(&(1, 1))).unwrap().wait().unwrap();
    assert!(matches!(db.write(|tx| tx.put(&row)), Err(Error::LargeLost)));
    // Within one transaction it moves.
    put_message(&db, 1, 2, &pattern(5_000, 2));
    let moved = db.write(|tx| {
        let row = tx.get::<Message>(&(1, 2))?.unwrap();
        tx.put(&Message { mailbox: 5, ..row })?;
        tx.delete::<Message>(&(1, 2))
    });
    moved.unwrap().wait().unwrap();
    assert_eq!(read_body(&db.snapshot(), 5, 2).unwrap(), pattern(5_000, 2));
    check(&db);
}

#[test]
fn fields_that_are_long_stand_in_the_journal_too() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { inline_bytes_max: 100, ..Options::new(dir.path()) };
    let db = open(&options);
    let long = "x".repeat(50_000);
    let row = Account { domain: long.clone(), ..account(1, "ada", 1) };
    // Its index key would be too long.
    assert!(matches!(db.write(|tx| tx.put(&row)), Err(Error::TooLarge { .. })));
    let row = Account { domain: "y".repeat(1_500), ..row };
    db.write(|tx| tx.put(&row)).unwrap().wait().unwrap();
    assert!(db.stats().unwrap().live_bytes > 1_500);
    drop(db);
    let db = open(&options);
    assert_eq!(db.snapshot().get::<Account>(&1).unwrap().unwrap(), row);
    check(&db);
}

#[test]
fn a_head_known_last_stands_first() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new(dir.path());
    let db = open(&options);
    let mut uid = 0;
    let mut expected = Vec::new();
    for head_len in [0, 1, 700, 130_000, 300_000] {
        for body_len in [0, 1, 9_000, 131_071, 131_072, 400_000] {
            let (head, body) = (pattern(head_len, 1), pattern(body_len, 2));
            let large = block_on(async {
                let mut writer = db.large_writer();
                for piece in body.chunks(10_000) {
                    writer.write(piece).await.unwrap();
                }
                writer.finish_behind(&head).await.unwrap()
            });
            assert_eq!(large.len(), (head_len + body_len) as u64);
            let small = head_len + body_len <= 100_000;
            assert!(!small || large.parts().len() <= 1, "{head_len} {body_len}: {large:?}");
            let row = Message { mailbox: 7, uid, seen: false, body: large };
            db.write(|tx| tx.put(&row)).unwrap().wait().unwrap();
            expected.push([head, body].concat());
            uid += 1;
        }
    }
    let read = |db: &Db| {
        for (uid, expected) in (0_u32..).zip(&expected) {
            let found = read_body(&db.snapshot(), 7, uid).unwrap();
            assert!(&found == expected, "message {uid} of {} bytes", expected.len());
        }
        check(db);
    };
    read(&db);
    db.close();
    read(&open(&options));
}
