//! What is said about the daemon's database: figures, problems, copies, and how far work is.
//!
//! Invariants: as those of [`crate::message`]; everything here came with version 2. A folder is one
//! of the daemon's machine, whole paths only.
//! Not here: the requests themselves ([`crate::message`]), the database (`gracedb`).

use serde::{Deserialize, Serialize};

/// Problems in one part of a reply. With texts of 1000 bytes a part stays under 300 KiB.
pub const PROBLEMS_PER_PART_MAX: usize = 200;

/// How far long work is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DbProgress {
    /// What is being done, in a word or two.
    pub doing: String,
    /// Bytes dealt with.
    pub done: u64,
    /// Bytes there are in all, as far as known; it may grow.
    pub total: u64,
}

/// A moment of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DbMoment {
    /// The newest there is.
    Newest,
    /// Right after the transaction with this number.
    Transaction {
        /// Its number.
        number: u64,
    },
    /// After the last transaction made up to a time.
    Time {
        /// Microseconds since 1970-01-01 UTC.
        time_us: u64,
    },
}

/// What opens the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DbLock {
    /// Nothing: it is not encrypted.
    Nothing,
    /// A key file.
    KeyFile,
    /// A passphrase.
    Passphrase,
}

/// What a file of the database is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DbPurpose {
    /// Runs of sorted rows.
    Rows,
    /// The journal: transactions, and mail where it was first written.
    Journal,
    /// What is gone and kept for restore points.
    Kept,
    /// Segments written ahead or to be used again, and what is about to be removed.
    Spare,
    /// The meta file, and the copy of its keys.
    Meta,
}

/// Files of one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DbFiles {
    /// What they are there for.
    pub purpose: DbPurpose,
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those of them that count; none: not told apart.
    pub live_bytes: Option<u64>,
}

/// Runs of one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DbLevel {
    /// How many.
    pub runs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Values and tombstones in them.
    pub entries: u64,
    /// The tombstones among those.
    pub tombstones: u64,
}

/// A segment of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DbSegment {
    /// Its number, which is its file's name.
    pub number: u64,
    /// Where its records end.
    pub bytes: u64,
    /// Bytes of mail in it that rows point to.
    pub live_bytes: u64,
}

/// Counters of an open database, from its opening on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DbCounters {
    /// How long every moment stays restorable, in seconds.
    pub retention_s: u64,
    /// Bytes of rows in memory.
    pub rows_bytes: u64,
    /// Bytes of blocks in the cache.
    pub cache_bytes: u64,
    /// How often a block was found in the cache.
    pub cache_hits: u64,
    /// How often it was not.
    pub cache_misses: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Groups of them that were synced.
    pub syncs: u64,
    /// Row sets written to disk.
    pub flushes: u64,
    /// Bytes of those.
    pub flushed_bytes: u64,
    /// Merges of runs.
    pub merges: u64,
    /// Bytes those wrote.
    pub merged_bytes: u64,
    /// Segments given back.
    pub segments_cleaned: u64,
    /// Bytes moved for that.
    pub moved_bytes: u64,
    /// Damage that was met in the background, in words.
    pub damage: Vec<String>,
}

/// Figures of a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DbStats {
    /// Its folder.
    pub folder: String,
    /// The folder is a backup.
    pub is_backup: bool,
    /// Version of the files' format.
    pub format: u32,
    /// What opens it.
    pub lock: DbLock,
    /// Data keys that files are encrypted with.
    pub data_keys: u64,
    /// Number of the newest transaction.
    pub transaction: u64,
    /// The first transaction that it can be brought back to.
    pub restorable_transaction: u64,
    /// The time of the oldest restore point, in microseconds since 1970-01-01 UTC.
    pub restorable_us: u64,
    /// Restore points.
    pub restore_points: u64,
    /// Files that rows need and that are not there.
    pub missing_files: u64,
    /// Files by purpose.
    pub files: Vec<DbFiles>,
    /// Levels of runs, from level 0 on.
    pub levels: Vec<DbLevel>,
    /// Counters, if it is open.
    pub counters: Option<DbCounters>,
}

/// Something in the database is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DbProblem {
    /// The file, or the table.
    pub file: String,
    /// Where in the file, in bytes from its start.
    pub offset: Option<u64>,
    /// What.
    pub what: String,
}

/// What a check went through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DbVerified {
    /// Number of the newest transaction.
    pub transaction: u64,
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Records of the journal.
    pub records: u64,
    /// Blocks of runs.
    pub blocks: u64,
    /// Rows.
    pub rows: u64,
    /// Index entries.
    pub entries: u64,
    /// Pieces of mail that rows point to.
    pub pieces: u64,
    /// Problems in all. No more than a thousand are told one by one.
    pub problems: u64,
}

/// A copy of the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DbCopied {
    /// Where it is.
    pub folder: String,
    /// The newest transaction in it.
    pub transaction: u64,
    /// When that was made, in microseconds since 1970-01-01 UTC.
    pub time_us: u64,
    /// Files of the copy.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those of the files that were not there already.
    pub new_files: u64,
    /// Their bytes.
    pub new_bytes: u64,
}

/// What tidying up gave back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DbCompacted {
    /// Bytes of all files before.
    pub bytes_before: u64,
    /// Bytes of all files after.
    pub bytes_after: u64,
    /// Those of them that are kept for restore points only, and go when their time is over.
    pub kept_bytes: u64,
}

/// The database is encrypted anew.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DbKeyChanged {
    /// The key file that opens it now; none: the same as before.
    pub key_file: Option<String>,
    /// Where the earlier key is kept; backups made before need it.
    pub earlier_key_file: Option<String>,
}
