//! Databases of earlier programs: their tables, and how each becomes one of today's.
//!
//! ```text
//!   message ──▶ body (references, bytes)   becomes   message with its bytes
//!   vanished (mailbox, modseq, uid)        becomes   vanished (mailbox, modseq, first) to last
//! ```
//! Invariants: a table here never changes; a migration reads nothing but these tables.
//! Not here: how a migration survives a crash (`gracedb::migrate`).

use serde::{Deserialize, Serialize};

use gracedb::error::Error;
use gracedb::large::Large;
use gracedb::migrate::Migration;
use gracedb::table::Table;
use gracedb::view::{Snapshot, View as _};

use super::messages;

/// A message that points to a body.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 5, name = "message")]
#[index(id = 1, name = MessageByModseq1, fields(mailbox, modseq, uid))]
pub(super) struct Message1 {
    #[key]
    pub(super) mailbox: u64,
    #[key]
    pub(super) uid: u32,
    pub(super) modseq: u64,
    pub(super) internal_date_s: i64,
    pub(super) internal_zone_min: i16,
    pub(super) size: u64,
    pub(super) flags: u8,
    pub(super) keywords: Vec<String>,
    pub(super) body: u64,
}

/// A message's bytes, with a count of the messages that point here.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 6, name = "body")]
pub(super) struct Body1 {
    #[key]
    pub(super) id: u64,
    pub(super) references: u32,
    pub(super) bytes: Large,
}

/// One message that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 7, name = "vanished")]
pub(super) struct Vanished1 {
    #[key]
    pub(super) mailbox: u64,
    #[key]
    pub(super) modseq: u64,
    #[key]
    pub(super) uid: u32,
}

/// What leads from the tables of earlier programs to today's, in the order in which it is done.
pub(super) fn migrations() -> Vec<Migration> {
    vec![
        Migration::rows(message),
        Migration::rows(vanished),
        // Only now: messages were made from them.
        Migration::drop::<Body1>(),
    ]
}

fn message(view: &Snapshot, old: Message1) -> Result<Option<messages::MessageRow>, Error> {
    let Some(body) = view.get::<Body1>(&old.body)? else {
        // Nobody can read it, and all others are to be read.
        tracing::warn!(
            target: "grace", event = "MessageWithoutBody",
            mailbox = old.mailbox, uid = old.uid, body = old.body,
            "its bytes are lost; it is left out"
        );
        return Ok(None);
    };
    Ok(Some(messages::MessageRow {
        mailbox: old.mailbox,
        uid: old.uid,
        modseq: old.modseq,
        internal_date_s: old.internal_date_s,
        internal_zone_min: old.internal_zone_min,
        flags: old.flags,
        keywords: old.keywords,
        body: body.bytes,
    }))
}

/// The first of neighbors that went together stands for all of them.
#[expect(clippy::needless_pass_by_value, reason = "a migration is given the row")]
fn vanished(view: &Snapshot, old: Vanished1) -> Result<Option<messages::Vanished>, Error> {
    let Vanished1 { mailbox, modseq, uid } = old;
    if let Some(before) = uid.checked_sub(1)
        && view.contains::<Vanished1>(&(mailbox, modseq, before))?
    {
        return Ok(None);
    }
    let mut last = uid;
    for next in view.range::<Vanished1>((mailbox, modseq, uid)..=(mailbox, modseq, u32::MAX)) {
        let next = next?.uid;
        if next > last.saturating_add(1) {
            break;
        }
        last = next;
    }
    Ok(Some(messages::Vanished { mailbox, modseq, first: uid, last }))
}

#[cfg(test)]
mod tests {
    use gracedb::db::Db;
    use gracedb::options::Options;
    use gracedb::pending::block_on;
    use gracedb::schema::Schema;

    use super::super::SCHEMA;
    use super::super::messages::MessageRow;
    use super::*;

    #[test]
    fn a_message_without_its_bytes_keeps_no_other_from_being_read() {
        const EARLIER: Schema = Schema::new(&[Message1::DEF, Body1::DEF, Vanished1::DEF]);
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(Options::new(folder.path()), EARLIER).unwrap();
        let bytes = block_on(async {
            let mut writer = db.large_writer();
            writer.write(b"hello").await.unwrap();
            writer.finish().await.unwrap()
        });
        let message = |uid, body| Message1 {
            mailbox: 1,
            uid,
            modseq: 1,
            internal_date_s: 0,
            internal_zone_min: 0,
            size: 5,
            flags: 0,
            keywords: Vec::new(),
            body,
        };
        let put = db.write(|tx| {
            tx.put(&Body1 { id: 7, references: 1, bytes: bytes.clone() })?;
            tx.put(&message(1, 8))?;
            tx.put(&message(2, 7))
        });
        put.unwrap().wait().unwrap();
        db.close();
        let db = Db::open_with(Options::new(folder.path()), SCHEMA, &migrations()).unwrap();
        let view = db.snapshot();
        let left = view.scan::<MessageRow>().map(|row| row.unwrap().uid).collect::<Vec<_>>();
        assert_eq!(left, [2]);
    }
}
