//! GraceDb, by its tables and, to read, by the bytes below them.
//!
//! Written is as the daemon does it: a body is streamed in first, then one transaction writes the
//! rows, and its `Pending` is waited for.
//! Not here: the tables (`data`).

use std::path::Path;
use std::sync::Arc;

use gracedb::db::Db;
use gracedb::engine::Reader as Rows;
use gracedb::error::Error;
use gracedb::large::Large;
use gracedb::options::Options;
use gracedb::pending::block_on;
use gracedb::row;
use gracedb::table::Table as _;
use gracedb::view::{Snapshot, View as _};
use gracedb::write::WriteTx;

use crate::Outcome;
use crate::data::{self, BODY_BYTES, Body, Change, Message, Row};
use crate::engine::{Engine, Reader, See};
use crate::pairs;

/// The database by its tables.
pub(crate) struct Grace {
    db: Db,
}

impl Grace {
    pub(crate) fn open(dir: &Path, cache_bytes: Option<usize>) -> Outcome<Self> {
        let mut options = Options::new(dir);
        if let Some(bytes) = cache_bytes {
            options.cache_bytes = bytes;
        }
        Ok(Self { db: Db::open(options, data::SCHEMA)? })
    }

    fn stream(&self, bytes: &[u8]) -> Result<Large, Error> {
        block_on(async {
            let mut writer = self.db.large_writer();
            writer.write(bytes).await?;
            writer.finish().await
        })
    }

    /// The bodies among the changes, in their order.
    fn stream_all(&self, changes: &[Change]) -> Result<Vec<Large>, Error> {
        let bodies = changes.iter().filter_map(|change| match change {
            Change::Body(_, bytes) | Change::Letter(_, bytes) => Some(bytes),
            Change::Row(_) | Change::Flags { .. } => None,
        });
        bodies.map(|bytes| self.stream(bytes)).collect()
    }
}

fn apply(changes: &[Change], bodies: Vec<Large>, tx: &mut WriteTx<'_>) -> Result<(), Error> {
    let mut bodies = bodies.into_iter();
    for change in changes {
        match change {
            Change::Row(row) => tx.put(row)?,
            Change::Body(id, _) => {
                tx.insert(&Body { id: *id, bytes: bodies.next().unwrap_or_default() })?;
            }
            Change::Letter(message, _) => {
                let bytes = bodies.next().unwrap_or_default();
                tx.insert(&Body { id: message.body, bytes })?;
                tx.insert(message)?;
            }
            Change::Flags { mailbox, uid, modseq } => {
                if let Some(mut message) = tx.get::<Message>(&(*mailbox, *uid))? {
                    message.modseq = *modseq;
                    message.flags ^= 1;
                    tx.put(&message)?;
                }
            }
        }
    }
    Ok(())
}

impl Engine for Grace {
    fn commit(&self, _writer: usize, changes: &[Change]) -> Outcome<()> {
        let bodies = self.stream_all(changes)?;
        Ok(self.db.write(|tx| apply(changes, bodies, tx))?.wait()?)
    }

    fn reader(&self) -> Outcome<Box<dyn Reader + '_>> {
        Ok(Box::new(Typed { snapshot: self.db.snapshot(), buffer: vec![0; BODY_BYTES] }))
    }

    fn settle(&self) -> Outcome<()> {
        Ok(self.db.settle()?)
    }
}

struct Typed {
    snapshot: Snapshot,
    /// What a body is read into, as a session that sends bodies has one.
    buffer: Vec<u8>,
}

impl Reader for Typed {
    fn row(&mut self, account: u64, id: u64, see: See<'_>) -> Outcome<bool> {
        let row = self.snapshot.get::<Row>(&(account, id))?;
        Ok(row.map(|row| see(row.text.as_bytes())).is_some())
    }

    fn body(&mut self, id: u64, see: See<'_>) -> Outcome<bool> {
        let Some(body) = self.snapshot.get::<Body>(&id)? else { return Ok(false) };
        let read = self.snapshot.open_large(&body.bytes).read_at(0, &mut self.buffer)?;
        see(self.buffer.get(..read).unwrap_or_default());
        Ok(true)
    }

    fn scan(&mut self, account: u64, id: u64, count: usize, see: See<'_>) -> Outcome<usize> {
        let mut seen = 0;
        for row in self.snapshot.range::<Row>((account, id)..).take(count) {
            see(row?.text.as_bytes());
            seen += 1;
        }
        Ok(seen)
    }
}

/// The same files, read below the tables: what a row costs before it is turned into a struct.
pub(crate) struct Bytes {
    grace: Grace,
}

impl Bytes {
    pub(crate) fn open(dir: &Path, cache_bytes: Option<usize>) -> Outcome<Self> {
        Ok(Self { grace: Grace::open(dir, cache_bytes)? })
    }
}

impl Engine for Bytes {
    fn commit(&self, writer: usize, changes: &[Change]) -> Outcome<()> {
        self.grace.commit(writer, changes)
    }

    fn reader(&self) -> Outcome<Box<dyn Reader + '_>> {
        Ok(Box::new(Untyped { rows: self.grace.db.engine().snapshot(), buffer: Vec::new() }))
    }

    fn settle(&self) -> Outcome<()> {
        self.grace.settle()
    }
}

struct Untyped {
    rows: Arc<dyn Rows>,
    buffer: Vec<u8>,
}

/// A key as it stands in the files: the table's number, the space of its rows, the key.
fn full_key(table: u16, key: &[u8]) -> Vec<u8> {
    let mut full = table.to_be_bytes().to_vec();
    full.push(0);
    full.extend_from_slice(key);
    full
}

impl Reader for Untyped {
    fn row(&mut self, account: u64, id: u64, see: See<'_>) -> Outcome<bool> {
        let found = self.rows.get(&full_key(Row::DEF.id, &pairs::row_key(account, id)))?;
        Ok(found.map(|value| see(&value)).is_some())
    }

    fn body(&mut self, id: u64, see: See<'_>) -> Outcome<bool> {
        let key = full_key(Body::DEF.id, &pairs::body_key(id));
        let Some(value) = self.rows.get(&key)? else { return Ok(false) };
        let larges = row::larges_of(&value).ok_or("a body's row is not a row")?;
        for part in larges.iter().flat_map(|large| large.parts()) {
            self.buffer.resize(part.bytes(), 0);
            self.rows.read_part(part, &mut self.buffer)?;
            see(&self.buffer);
        }
        Ok(true)
    }

    fn scan(&mut self, account: u64, id: u64, count: usize, see: See<'_>) -> Outcome<usize> {
        let low = full_key(Row::DEF.id, &pairs::row_key(account, id));
        let high = full_key(Row::DEF.id + 1, &[]);
        let mut scan = self.rows.scan(&low, Some(&high))?;
        let mut seen = 0;
        while seen < count {
            let Some((_, value)) = scan.next()? else { break };
            see(value);
            seen += 1;
        }
        Ok(seen)
    }
}
