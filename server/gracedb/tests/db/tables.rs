//! The tables of the tests, and a few rows for them.

use gracedb::db::Db;
use gracedb::large::Large;
use gracedb::options::Options;
use gracedb::pending::block_on;
use gracedb::schema::Schema;
use gracedb::table::{Counter, Table};
use gracedb::view::View;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 1, name = "account")]
#[index(id = 1, name = AccountByAddress, fields(domain, local), unique)]
#[index(id = 2, name = AccountByQuota, fields(quota))]
pub(crate) struct Account {
    #[key]
    pub(crate) id: u64,
    pub(crate) domain: String,
    pub(crate) local: String,
    pub(crate) quota: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 2, name = "message")]
#[index(id = 1, name = MessageByFlag, fields(mailbox, seen))]
pub(crate) struct Message {
    #[key]
    pub(crate) mailbox: u64,
    #[key]
    pub(crate) uid: u32,
    pub(crate) seen: bool,
    pub(crate) body: Large,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 3, name = "domain")]
pub(crate) struct Domain {
    #[key]
    pub(crate) name: String,
}

#[derive(Debug, Counter)]
#[expect(dead_code, reason = "a counter is its key")]
#[counter(id = 4, name = "delivered")]
pub(crate) struct Delivered {
    #[key]
    pub(crate) day: u32,
    #[key]
    pub(crate) account: u64,
}

pub(crate) const SCHEMA: Schema =
    Schema::new(&[Account::DEF, Message::DEF, Domain::DEF, Delivered::DEF]);

pub(crate) fn open(options: &Options) -> Db {
    Db::open(options.clone(), SCHEMA).unwrap()
}

pub(crate) fn account(id: u64, local: &str, quota: i64) -> Account {
    Account { id, domain: "grace.test".into(), local: local.into(), quota }
}

/// Streams a large value in.
pub(crate) fn body(db: &Db, bytes: &[u8]) -> Large {
    block_on(async {
        let mut writer = db.large_writer();
        for piece in bytes.chunks(10_000) {
            writer.write(piece).await.unwrap();
        }
        writer.finish().await.unwrap()
    })
}

/// Bytes that differ by seed.
pub(crate) fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 31 + seed * 17 + at / 251) % 256).unwrap()).collect()
}

/// Puts a message with a body.
pub(crate) fn put_message(db: &Db, mailbox: u64, uid: u32, bytes: &[u8]) {
    let row = Message { mailbox, uid, seen: false, body: body(db, bytes) };
    db.write(|tx| tx.put(&row)).unwrap().wait().unwrap();
}

/// The bytes of a message's body.
pub(crate) fn read_body(view: &impl View, mailbox: u64, uid: u32) -> Option<Vec<u8>> {
    let row = view.get::<Message>(&(mailbox, uid)).unwrap()?;
    Some(view.open_large(&row.body).read_all(64 << 20).unwrap())
}

/// Checks all of a database.
pub(crate) fn check(db: &Db) {
    let report = db.verify(&mut |_| true).unwrap();
    assert!(report.is_sound(), "{report:?}");
}
