//! SQLite, by `rusqlite`, compiled in.
//!
//! `journal_mode=WAL`, `synchronous=FULL`: the log is synced by every commit. A connection for each
//! writer, which waits for its turn to write. As it comes but for that and the size of its cache.
//! Not here: keys and values (`pairs`).

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _};

use crate::Outcome;
use crate::data::Change;
use crate::engine::{Engine, Reader, See};
use crate::pairs::{self, Batch, Part};

/// How long a writer waits for its turn before it gives up.
const PATIENCE: Duration = Duration::from_secs(120);

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS rows(k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS mail(k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS bodies(id INTEGER PRIMARY KEY, v BLOB);";

/// The database.
pub(crate) struct Sqlite {
    path: PathBuf,
    cache_bytes: Option<usize>,
    /// One for each writer.
    connections: Vec<Mutex<Connection>>,
}

fn connect(path: &Path, cache_bytes: Option<usize>) -> Outcome<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")?;
    if let Some(bytes) = cache_bytes {
        // A negative number is in KiB.
        connection.execute_batch(&format!("PRAGMA cache_size=-{};", bytes >> 10))?;
    }
    Ok(connection)
}

impl Sqlite {
    pub(crate) fn open(dir: &Path, cache_bytes: Option<usize>, writers: usize) -> Outcome<Self> {
        let path = dir.join("data");
        // The cache is one setting for all: writers share it out.
        let writers = writers.max(1);
        let share = cache_bytes.map(|bytes| bytes / writers);
        let made: Outcome<Vec<_>> =
            (0..writers).map(|_| Ok(Mutex::new(connect(&path, share)?))).collect();
        let sqlite = Self { path, cache_bytes, connections: made? };
        sqlite.connection(0)?.execute_batch(TABLES)?;
        Ok(sqlite)
    }

    fn connection(&self, writer: usize) -> Outcome<MutexGuard<'_, Connection>> {
        let found = self.connections.get(writer).ok_or("more writers than were opened for")?;
        Ok(found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Engine for Sqlite {
    fn commit(&self, writer: usize, changes: &[Change]) -> Outcome<()> {
        let connection = self.connection(writer)?;
        // At once for writing: a transaction that becomes one later may be refused.
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        pairs::apply(changes, &mut Transaction { connection: &connection })?;
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    fn reader(&self) -> Outcome<Box<dyn Reader + '_>> {
        let connection = connect(&self.path, self.cache_bytes)?;
        // One transaction for everything that is read, as the others have it.
        connection.execute_batch("BEGIN")?;
        Ok(Box::new(Version { connection }))
    }

    fn settle(&self) -> Outcome<()> {
        let connection = self.connection(0)?;
        Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }
}

struct Transaction<'c> {
    connection: &'c Connection,
}

/// The number that a body's key holds.
fn body_id(key: &[u8]) -> Outcome<i64> {
    Ok(i64::from_be_bytes(key.try_into()?))
}

impl Batch for Transaction<'_> {
    fn put(&mut self, part: Part, key: &[u8], value: &[u8]) -> Outcome<()> {
        let connection = self.connection;
        match part {
            Part::Rows => connection
                .prepare_cached("INSERT OR REPLACE INTO rows VALUES(?,?)")?
                .execute((key, value))?,
            Part::Mail => connection
                .prepare_cached("INSERT OR REPLACE INTO mail VALUES(?,?)")?
                .execute((key, value))?,
            Part::Bodies => connection
                .prepare_cached("INSERT INTO bodies VALUES(?,?)")?
                .execute((body_id(key)?, value))?,
        };
        Ok(())
    }

    fn delete(&mut self, part: Part, key: &[u8]) -> Outcome<()> {
        let sql = match part {
            Part::Rows => "DELETE FROM rows WHERE k=?",
            Part::Mail => "DELETE FROM mail WHERE k=?",
            Part::Bodies => return Err("bodies stay".into()),
        };
        self.connection.prepare_cached(sql)?.execute([key])?;
        Ok(())
    }

    fn mail(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        let mut found = self.connection.prepare_cached("SELECT v FROM mail WHERE k=?")?;
        Ok(found.query_row([key], |row| row.get(0)).optional()?)
    }
}

struct Version {
    connection: Connection,
}

impl Reader for Version {
    fn row(&mut self, account: u64, id: u64, see: See<'_>) -> Outcome<bool> {
        let mut query = self.connection.prepare_cached("SELECT v FROM rows WHERE k=?")?;
        let mut rows = query.query([pairs::row_key(account, id)])?;
        let Some(row) = rows.next()? else { return Ok(false) };
        see(row.get_ref(0)?.as_blob()?);
        Ok(true)
    }

    fn body(&mut self, id: u64, see: See<'_>) -> Outcome<bool> {
        let mut query = self.connection.prepare_cached("SELECT v FROM bodies WHERE id=?")?;
        let mut rows = query.query([body_id(&pairs::body_key(id))?])?;
        let Some(row) = rows.next()? else { return Ok(false) };
        see(row.get_ref(0)?.as_blob()?);
        Ok(true)
    }

    fn scan(&mut self, account: u64, id: u64, count: usize, see: See<'_>) -> Outcome<usize> {
        const SQL: &str = "SELECT k, v FROM rows WHERE k>=? ORDER BY k LIMIT ?";
        let mut query = self.connection.prepare_cached(SQL)?;
        let mut rows = query.query((pairs::row_key(account, id), i64::try_from(count)?))?;
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            see(row.get_ref(1)?.as_blob()?);
            seen += 1;
        }
        Ok(seen)
    }
}
