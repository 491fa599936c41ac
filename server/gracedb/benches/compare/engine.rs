//! What is asked of an engine, and which ones there are.
//!
//! Invariants: a commit is on the drive when it returns; a reader looks at one version.
//! Not here: the engines (`grace`, `sqlite`, `redb`, `fjall`, `lmdb`, `rocks`, `log`).

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::data::Change;
use crate::log::Io;
use crate::{fjall, grace, lmdb, log, redb, rocks, sqlite};

/// An open database.
pub(crate) trait Engine: Send + Sync {
    /// Does all of it as one transaction, durable when this returns. `writer` is the number of the
    /// calling thread, for engines whose handles are not shared.
    fn commit(&self, writer: usize, changes: &[Change]) -> Outcome<()>;

    /// The rows as of now.
    fn reader(&self) -> Outcome<Box<dyn Reader + '_>>;

    /// Waits until work in the background is done, as far as the engine tells.
    fn settle(&self) -> Outcome<()>;
}

/// Sees the bytes of a value.
pub(crate) type See<'a> = &'a mut dyn FnMut(&[u8]);

/// One version of the rows.
pub(crate) trait Reader {
    /// Shows a row; false: there is none.
    fn row(&mut self, account: u64, id: u64, see: See<'_>) -> Outcome<bool>;
    /// Shows a body; false: there is none.
    fn body(&mut self, id: u64, see: See<'_>) -> Outcome<bool>;
    /// Shows up to `count` rows from a key on; says how many.
    fn scan(&mut self, account: u64, id: u64, count: usize, see: See<'_>) -> Outcome<usize>;
}

/// An engine by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// GraceDb by its tables, as its users see it.
    Grace,
    /// GraceDb's rows as bytes, below the tables; for reading only.
    GraceBytes,
    Sqlite,
    Redb,
    Fjall,
    Lmdb,
    Rocksdb,
    /// A log without a database, written through the page cache and synced.
    Log,
    /// The same, written past the page cache.
    LogDirect,
    /// No engine at all: the drive.
    Drive,
}

impl Kind {
    /// Every engine, in the order of the table.
    pub(crate) const ALL: [Self; 9] = [
        Self::Grace,
        Self::GraceBytes,
        Self::Sqlite,
        Self::Redb,
        Self::Fjall,
        Self::Lmdb,
        Self::Rocksdb,
        Self::Log,
        Self::LogDirect,
    ];

    /// Its name, for the table and the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Grace => "gracedb",
            Self::GraceBytes => "gracedb-bytes",
            Self::Sqlite => "sqlite",
            Self::Redb => "redb",
            Self::Fjall => "fjall",
            Self::Lmdb => "lmdb",
            Self::Rocksdb => "rocksdb",
            Self::Log => "log",
            Self::LogDirect => "log-direct",
            Self::Drive => "drive",
        }
    }

    /// The engine of this name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Name of the folder it works in.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::GraceBytes => Self::Grace.name(),
            kind => kind.name(),
        }
    }

    /// Whether it is a database of others.
    pub(crate) fn is_peer(self) -> bool {
        matches!(self, Self::Sqlite | Self::Redb | Self::Fjall | Self::Lmdb | Self::Rocksdb)
    }

    /// Whether it is a log, which can do nothing but commit.
    pub(crate) fn is_log(self) -> bool {
        matches!(self, Self::Log | Self::LogDirect)
    }

    /// Whether it can take rows in and give them back.
    pub(crate) fn is_database(self) -> bool {
        self == Self::Grace || self.is_peer()
    }
}

/// How an engine is opened.
pub(crate) struct Opening<'a> {
    pub(crate) dir: &'a Path,
    /// Bytes of its own cache; `None`: what it takes by itself.
    pub(crate) cache_bytes: Option<usize>,
    /// Threads that will write.
    pub(crate) writers: usize,
    /// Bytes of the room that a log makes before it is measured.
    pub(crate) room_bytes: u64,
}

/// Opens an engine in its folder, which is made if it is not there.
pub(crate) fn open(kind: Kind, opening: &Opening<'_>) -> Outcome<Box<dyn Engine>> {
    std::fs::create_dir_all(opening.dir)?;
    let (dir, cache) = (opening.dir, opening.cache_bytes);
    Ok(match kind {
        Kind::Grace => Box::new(grace::Grace::open(dir, cache)?),
        Kind::GraceBytes => Box::new(grace::Bytes::open(dir, cache)?),
        Kind::Sqlite => Box::new(sqlite::Sqlite::open(dir, cache, opening.writers)?),
        Kind::Redb => Box::new(redb::Redb::open(dir, cache)?),
        Kind::Fjall => Box::new(fjall::Fjall::open(dir, cache)?),
        Kind::Lmdb => Box::new(lmdb::Lmdb::open(dir)?),
        Kind::Rocksdb => Box::new(rocks::Rocks::open(dir, cache)?),
        Kind::Log => Box::new(log::Log::create(dir, Io::Synced, opening.room_bytes)?),
        Kind::LogDirect => Box::new(log::Log::create(dir, Io::Direct, opening.room_bytes)?),
        Kind::Drive => return Err("the drive is not an engine".into()),
    })
}
