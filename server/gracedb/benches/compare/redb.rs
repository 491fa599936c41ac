//! redb.
//!
//! A copy-on-write tree in one file. Every commit syncs (`Durability::Immediate`); one transaction
//! writes at a time. As it comes, but for the size of its cache.
//! Not here: keys and values (`pairs`).

use std::path::Path;

use ::redb::{
    Builder, Database, Durability, ReadOnlyTable, ReadableDatabase as _, ReadableTable as _,
    TableDefinition, WriteTransaction,
};

use crate::Outcome;
use crate::data::Change;
use crate::engine::{Engine, Reader, See};
use crate::pairs::{self, Batch, Part};

type Bytes = &'static [u8];
type Definition = TableDefinition<'static, Bytes, Bytes>;

const ROWS: Definition = TableDefinition::new("rows");
const MAIL: Definition = TableDefinition::new("mail");
const BODIES: Definition = TableDefinition::new("bodies");

/// The database.
pub(crate) struct Redb {
    db: Database,
}

impl Redb {
    pub(crate) fn open(dir: &Path, cache_bytes: Option<usize>) -> Outcome<Self> {
        let mut builder = Builder::new();
        if let Some(bytes) = cache_bytes {
            builder.set_cache_size(bytes);
        }
        let path = dir.join("data");
        let is_new = !path.exists();
        let db = builder.create(path)?;
        if is_new {
            let txn = db.begin_write()?;
            for definition in [ROWS, MAIL, BODIES] {
                txn.open_table(definition)?;
            }
            txn.commit()?;
        }
        Ok(Self { db })
    }
}

impl Engine for Redb {
    fn commit(&self, _writer: usize, changes: &[Change]) -> Outcome<()> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(Durability::Immediate)?;
        let mut batch = Transaction { txn: &txn, rows: None, mail: None, bodies: None };
        pairs::apply(changes, &mut batch)?;
        drop(batch);
        Ok(txn.commit()?)
    }

    fn reader(&self) -> Outcome<Box<dyn Reader + '_>> {
        let txn = self.db.begin_read()?;
        Ok(Box::new(Version { rows: txn.open_table(ROWS)?, bodies: txn.open_table(BODIES)? }))
    }

    /// Nothing is done in the background.
    fn settle(&self) -> Outcome<()> {
        Ok(())
    }
}

type Table<'txn> = ::redb::Table<'txn, Bytes, Bytes>;

/// A transaction with those of its tables that are needed: opening one costs.
struct Transaction<'txn> {
    txn: &'txn WriteTransaction,
    rows: Option<Table<'txn>>,
    mail: Option<Table<'txn>>,
    bodies: Option<Table<'txn>>,
}

impl<'txn> Transaction<'txn> {
    fn table(&mut self, part: Part) -> Outcome<&mut Table<'txn>> {
        let (table, definition) = match part {
            Part::Rows => (&mut self.rows, ROWS),
            Part::Mail => (&mut self.mail, MAIL),
            Part::Bodies => (&mut self.bodies, BODIES),
        };
        Ok(match table {
            Some(table) => table,
            closed => closed.insert(self.txn.open_table(definition)?),
        })
    }
}

impl Batch for Transaction<'_> {
    fn put(&mut self, part: Part, key: &[u8], value: &[u8]) -> Outcome<()> {
        self.table(part)?.insert(key, value)?;
        Ok(())
    }

    fn delete(&mut self, part: Part, key: &[u8]) -> Outcome<()> {
        self.table(part)?.remove(key)?;
        Ok(())
    }

    fn mail(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        Ok(self.table(Part::Mail)?.get(key)?.map(|value| value.value().to_vec()))
    }
}

struct Version {
    rows: ReadOnlyTable<Bytes, Bytes>,
    bodies: ReadOnlyTable<Bytes, Bytes>,
}

impl Reader for Version {
    fn row(&mut self, account: u64, id: u64, see: See<'_>) -> Outcome<bool> {
        let found = self.rows.get(pairs::row_key(account, id).as_slice())?;
        Ok(found.map(|value| see(value.value())).is_some())
    }

    fn body(&mut self, id: u64, see: See<'_>) -> Outcome<bool> {
        let found = self.bodies.get(pairs::body_key(id).as_slice())?;
        Ok(found.map(|value| see(value.value())).is_some())
    }

    fn scan(&mut self, account: u64, id: u64, count: usize, see: See<'_>) -> Outcome<usize> {
        let low = pairs::row_key(account, id);
        let mut seen = 0;
        for pair in self.rows.range(low.as_slice()..)?.take(count) {
            see(pair?.1.value());
            seen += 1;
        }
        Ok(seen)
    }
}
