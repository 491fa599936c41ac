//! fjall.
//!
//! A log-structured merge tree with a journal of its own. A commit is a batch whose journal is
//! synced; bodies are kept apart from their keys. Nothing is compressed, as nowhere else here.
//! Not here: keys and values (`pairs`).

use std::path::Path;
use std::time::Duration;

use ::fjall::config::CompressionPolicy;
use ::fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions,
    OwnedWriteBatch, PersistMode,
};

use crate::Outcome;
use crate::data::Change;
use crate::engine::{Engine, Reader, See};
use crate::pairs::{self, Batch, Part};
use crate::process;

/// Background work has ended when nothing was seen of it for so long.
const QUIET: Duration = Duration::from_millis(500);

/// The database.
pub(crate) struct Fjall {
    db: Database,
    rows: Keyspace,
    mail: Keyspace,
    bodies: Keyspace,
}

impl Fjall {
    pub(crate) fn open(dir: &Path, cache_bytes: Option<usize>) -> Outcome<Self> {
        let mut builder = Database::builder(dir).journal_compression(CompressionType::None);
        if let Some(bytes) = cache_bytes {
            builder = builder.cache_size(bytes as u64);
        }
        let db = builder.open()?;
        let plain = || {
            let uncompressed = CompressionPolicy::disabled();
            KeyspaceCreateOptions::default().data_block_compression_policy(uncompressed)
        };
        let apart = || {
            let separated = KvSeparationOptions::default().compression(CompressionType::None);
            plain().with_kv_separation(Some(separated))
        };
        let (rows, mail) = (db.keyspace("rows", plain)?, db.keyspace("mail", plain)?);
        let bodies = db.keyspace("bodies", apart)?;
        Ok(Self { db, rows, mail, bodies })
    }

    fn part(&self, part: Part) -> &Keyspace {
        match part {
            Part::Rows => &self.rows,
            Part::Mail => &self.mail,
            Part::Bodies => &self.bodies,
        }
    }
}

impl Engine for Fjall {
    fn commit(&self, _writer: usize, changes: &[Change]) -> Outcome<()> {
        let batch = self.db.batch().durability(Some(PersistMode::SyncData));
        let mut batch = Writes { fjall: self, batch };
        pairs::apply(changes, &mut batch)?;
        Ok(batch.batch.commit()?)
    }

    fn reader(&self) -> Outcome<Box<dyn Reader + '_>> {
        Ok(Box::new(Newest { fjall: self }))
    }

    fn settle(&self) -> Outcome<()> {
        for part in [&self.rows, &self.mail, &self.bodies] {
            part.rotate_memtable_and_wait()?;
        }
        process::await_quiet(QUIET, || {
            Ok(self.db.active_compactions() == 0 && self.db.outstanding_flushes() == 0)
        })
    }
}

struct Writes<'db> {
    fjall: &'db Fjall,
    batch: OwnedWriteBatch,
}

impl Batch for Writes<'_> {
    fn put(&mut self, part: Part, key: &[u8], value: &[u8]) -> Outcome<()> {
        self.batch.insert(self.fjall.part(part), key, value);
        Ok(())
    }

    fn delete(&mut self, part: Part, key: &[u8]) -> Outcome<()> {
        self.batch.remove(self.fjall.part(part), key);
        Ok(())
    }

    fn mail(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        Ok(self.fjall.mail.get(key)?.map(|value| value.to_vec()))
    }
}

/// The newest rows: nobody writes while they are read.
struct Newest<'db> {
    fjall: &'db Fjall,
}

impl Reader for Newest<'_> {
    fn row(&mut self, account: u64, id: u64, see: See<'_>) -> Outcome<bool> {
        let found = self.fjall.rows.get(pairs::row_key(account, id))?;
        Ok(found.map(|value| see(&value)).is_some())
    }

    fn body(&mut self, id: u64, see: See<'_>) -> Outcome<bool> {
        let found = self.fjall.bodies.get(pairs::body_key(id))?;
        Ok(found.map(|value| see(&value)).is_some())
    }

    fn scan(&mut self, account: u64, id: u64, count: usize, see: See<'_>) -> Outcome<usize> {
        let mut seen = 0;
        for guard in self.fjall.rows.range(pairs::row_key(account, id)..).take(count) {
            see(&guard.into_inner()?.1);
            seen += 1;
        }
        Ok(seen)
    }
}
