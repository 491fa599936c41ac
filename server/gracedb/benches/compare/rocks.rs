//! RocksDB.
//!
//! A log-structured merge tree, with bodies in blob files and a filter over every table. Every
//! commit syncs its log; writers that come together share one write by themselves. Nothing is
//! compressed, as nowhere else here.
//! Not here: keys and values (`pairs`).

use std::path::Path;
use std::time::Duration;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, Options,
    WriteBatch, WriteOptions,
};

use crate::Outcome;
use crate::data::Change;
use crate::engine::{Engine, Reader, See};
use crate::pairs::{self, Batch, Part};
use crate::process;

const NAMES: [&str; 3] = ["default", "mail", "bodies"];
/// Bits of the filter for each key: one lookup in a hundred is sent to a table in vain.
const FILTER_BITS: f64 = 10.0;
/// Values of this size go to blob files, in bytes.
const APART_BYTES: u64 = 4096;
/// Background work has ended when nothing was seen of it for so long.
const QUIET: Duration = Duration::from_millis(500);

/// The database.
pub(crate) struct Rocks {
    db: DB,
}

fn family(cache: Option<&Cache>, apart: bool) -> Options {
    let mut table = BlockBasedOptions::default();
    if let Some(cache) = cache {
        table.set_block_cache(cache);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    }
    table.set_bloom_filter(FILTER_BITS, false);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    options.set_enable_blob_files(apart);
    options.set_min_blob_size(APART_BYTES);
    options.set_enable_blob_gc(apart);
    options
}

impl Rocks {
    pub(crate) fn open(dir: &Path, cache_bytes: Option<usize>) -> Outcome<Self> {
        let cache = cache_bytes.map(Cache::new_lru_cache);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let families = NAMES.map(|name| {
            ColumnFamilyDescriptor::new(name, family(cache.as_ref(), name == "bodies"))
        });
        Ok(Self { db: DB::open_cf_descriptors(&options, dir, families)? })
    }

    fn part(&self, part: Part) -> Outcome<&ColumnFamily> {
        let name = match part {
            Part::Rows => "default",
            Part::Mail => "mail",
            Part::Bodies => "bodies",
        };
        self.db.cf_handle(name).ok_or_else(|| format!("RocksDB lost its family {name}").into())
    }

    fn is_quiet(&self) -> Outcome<bool> {
        const WORK: [&str; 4] = [
            "rocksdb.num-running-compactions",
            "rocksdb.compaction-pending",
            "rocksdb.num-running-flushes",
            "rocksdb.mem-table-flush-pending",
        ];
        for part in [Part::Rows, Part::Mail, Part::Bodies] {
            for property in WORK {
                let count = self.db.property_int_value_cf(self.part(part)?, property)?;
                if count.unwrap_or(0) > 0 {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

impl Engine for Rocks {
    fn commit(&self, _writer: usize, changes: &[Change]) -> Outcome<()> {
        let mut batch = Writes { rocks: self, batch: WriteBatch::default() };
        pairs::apply(changes, &mut batch)?;
        let mut options = WriteOptions::default();
        options.set_sync(true);
        Ok(self.db.write_opt(batch.batch, &options)?)
    }

    fn reader(&self) -> Outcome<Box<dyn Reader + '_>> {
        let (rows, bodies) = (self.part(Part::Rows)?, self.part(Part::Bodies)?);
        Ok(Box::new(Newest { db: &self.db, rows, bodies }))
    }

    fn settle(&self) -> Outcome<()> {
        for part in [Part::Rows, Part::Mail, Part::Bodies] {
            self.db.flush_cf(self.part(part)?)?;
        }
        process::await_quiet(QUIET, || self.is_quiet())
    }
}

struct Writes<'db> {
    rocks: &'db Rocks,
    batch: WriteBatch,
}

impl Batch for Writes<'_> {
    fn put(&mut self, part: Part, key: &[u8], value: &[u8]) -> Outcome<()> {
        self.batch.put_cf(self.rocks.part(part)?, key, value);
        Ok(())
    }

    fn delete(&mut self, part: Part, key: &[u8]) -> Outcome<()> {
        self.batch.delete_cf(self.rocks.part(part)?, key);
        Ok(())
    }

    fn mail(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        Ok(self.rocks.db.get_cf(self.rocks.part(Part::Mail)?, key)?)
    }
}

/// The newest rows: nobody writes while they are read.
struct Newest<'db> {
    db: &'db DB,
    rows: &'db ColumnFamily,
    bodies: &'db ColumnFamily,
}

impl Reader for Newest<'_> {
    fn row(&mut self, account: u64, id: u64, see: See<'_>) -> Outcome<bool> {
        let found = self.db.get_pinned_cf(self.rows, pairs::row_key(account, id))?;
        Ok(found.map(|value| see(&value)).is_some())
    }

    fn body(&mut self, id: u64, see: See<'_>) -> Outcome<bool> {
        let found = self.db.get_pinned_cf(self.bodies, pairs::body_key(id))?;
        Ok(found.map(|value| see(&value)).is_some())
    }

    fn scan(&mut self, account: u64, id: u64, count: usize, see: See<'_>) -> Outcome<usize> {
        let mut rows = self.db.raw_iterator_cf(self.rows);
        rows.seek(pairs::row_key(account, id));
        let mut seen = 0;
        while seen < count {
            let Some(value) = rows.value() else { break };
            see(value);
            rows.next();
            seen += 1;
        }
        rows.status()?;
        Ok(seen)
    }
}
