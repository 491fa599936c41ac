//! LMDB, by `heed`.
//!
//! Its files are mapped and the page cache is its only cache. Every commit syncs; one transaction
//! writes at a time. As it comes, but for the size of the map.
//! Not here: keys and values (`pairs`).

use std::ops::Bound;
use std::path::Path;

use heed::types::Bytes;
use heed::{Database, Env, EnvOpenOptions, RoTxn, RwTxn, WithTls};

use crate::Outcome;
use crate::data::Change;
use crate::engine::{Engine, Reader, See};
use crate::pairs::{self, Batch, Part};

/// Room in the address space for the file to grow in, in bytes. Never taken before it is used.
const MAP_BYTES: usize = 64 << 30;
/// Readers at once: one a thread.
const READERS: u32 = 256;

type Table = Database<'static, Bytes, Bytes>;

#[derive(Clone, Copy)]
struct Tables {
    rows: Table,
    mail: Table,
    bodies: Table,
}

impl Tables {
    fn of(&self, part: Part) -> &Table {
        match part {
            Part::Rows => &self.rows,
            Part::Mail => &self.mail,
            Part::Bodies => &self.bodies,
        }
    }
}

/// The database.
pub(crate) struct Lmdb {
    env: Env,
    tables: Tables,
}

impl Lmdb {
    pub(crate) fn open(dir: &Path) -> Outcome<Self> {
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_BYTES).max_dbs(8).max_readers(READERS);
        // SAFETY: the file is in a folder of this run, one process at a time opens it, and nobody
        // else writes to it while it is mapped.
        #[expect(unsafe_code, reason = "a file is mapped, and LMDB has no other way")]
        let env = unsafe { options.open(dir)? };
        let table = |name: &str| -> Outcome<Table> {
            let made = env.create_databases_and_commit(
                env.write_txn()?,
                |maker, transaction| -> Result<_, heed::Error> {
                    let table = maker.create_database::<Bytes, Bytes>(transaction, Some(name))?;
                    Ok(heed::CommitOrAbort::<_, ()>::Commit(table))
                },
            )?;
            Ok(made.unwrap_commit())
        };
        let tables =
            Tables { rows: table("rows")?, mail: table("mail")?, bodies: table("bodies")? };
        Ok(Self { env, tables })
    }
}

impl Engine for Lmdb {
    fn commit(&self, _writer: usize, changes: &[Change]) -> Outcome<()> {
        let mut batch = Transaction { txn: self.env.write_txn()?, tables: self.tables };
        pairs::apply(changes, &mut batch)?;
        Ok(batch.txn.commit()?)
    }

    fn reader(&self) -> Outcome<Box<dyn Reader + '_>> {
        Ok(Box::new(Version { txn: self.env.read_txn()?, tables: self.tables }))
    }

    /// Nothing is done in the background.
    fn settle(&self) -> Outcome<()> {
        Ok(())
    }
}

struct Transaction<'env> {
    txn: RwTxn<'env>,
    tables: Tables,
}

impl Batch for Transaction<'_> {
    fn put(&mut self, part: Part, key: &[u8], value: &[u8]) -> Outcome<()> {
        Ok(self.tables.of(part).put(&mut self.txn, key, value)?)
    }

    fn delete(&mut self, part: Part, key: &[u8]) -> Outcome<()> {
        self.tables.of(part).delete(&mut self.txn, key)?;
        Ok(())
    }

    fn mail(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        Ok(self.tables.mail.get(&self.txn, key)?.map(<[u8]>::to_vec))
    }
}

struct Version<'env> {
    txn: RoTxn<'env, WithTls>,
    tables: Tables,
}

impl Reader for Version<'_> {
    fn row(&mut self, account: u64, id: u64, see: See<'_>) -> Outcome<bool> {
        let found = self.tables.rows.get(&self.txn, &pairs::row_key(account, id))?;
        Ok(found.map(see).is_some())
    }

    fn body(&mut self, id: u64, see: See<'_>) -> Outcome<bool> {
        let found = self.tables.bodies.get(&self.txn, &pairs::body_key(id))?;
        Ok(found.map(see).is_some())
    }

    fn scan(&mut self, account: u64, id: u64, count: usize, see: See<'_>) -> Outcome<usize> {
        let low = pairs::row_key(account, id);
        let range = (Bound::Included(low.as_slice()), Bound::Unbounded);
        let mut seen = 0;
        for pair in self.tables.rows.range(&self.txn, &range)?.take(count) {
            see(pair?.1);
            seen += 1;
        }
        Ok(seen)
    }
}
