//! How a database is opened: where it is, and every limit it keeps to.
//!
//! Invariant: what [`Options::check`] lets pass works.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::disk::real::RealDisk;
use crate::disk::{Disk, JournalIo};
use crate::error::Error;
use crate::format;
use crate::seal::Key;

/// How room is made ahead of the journal's end, so that a commit's sync need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ahead {
    /// Zeros while commits are small, for they wait for the file system's own journal otherwise;
    /// reserved room while they are large, for then each byte counts that is not written twice.
    #[default]
    Auto,
    /// Zeros are written: the quickest commits, and every byte of the journal is written twice
    /// unless its segment is a recycled one.
    Zeros,
    /// Room is reserved and not written.
    Reserve,
    /// Nothing: for file systems that write elsewhere anyway.
    Nothing,
}

/// How to open a database.
#[derive(Clone)]
pub struct Options {
    /// The folder, real or simulated.
    pub disk: Arc<dyn Disk>,
    /// What encrypts the files; `None`: they are in the clear.
    pub key: Option<Key>,
    /// A segment is followed by the next one at this size, in bytes. 64 MiB: a thousand segments
    /// hold 64 GB of mail.
    pub segment_bytes: u64,
    /// How the journal is written and synced.
    pub journal_io: JournalIo,
    /// How room is made ahead of its end.
    pub ahead: Ahead,
    /// Most room made ahead, in bytes. 8 MiB are some 30 ms of a quick disk.
    pub ahead_bytes: u64,
    /// A large value is cut into chunks of this many bytes; one is held per open writer and reader.
    /// 128 KiB holds nine letters of ten in one chunk.
    pub chunk_bytes: usize,
    /// Fields of a row that take more bytes than this stand in the journal like a large value and
    /// are not written again when runs are merged.
    pub inline_bytes_max: usize,
    /// Bytes of chunks that may be on their way to the disk before writers of large values wait.
    /// 2 MiB is some milliseconds of a disk's work; memory for it is taken three times.
    pub queue_bytes_max: usize,
    /// Most bytes of the operations of one transaction. 16 MiB: some hundred thousand rows.
    pub transaction_bytes_max: usize,
    /// Commits that need not survive a power cut are synced this much later, in milliseconds.
    pub buffered_sync_ms: u64,
    /// Rows in memory are written to disk at this many bytes. Replaying them at open takes some
    /// 20 ms.
    pub mem_bytes: usize,
    /// Rows in memory are also written to disk when the journal has grown by so many bytes.
    pub unflushed_bytes: u64,
    /// Row sets that may wait to be written to disk before commits wait.
    pub frozen_max: usize,
    /// Bytes of a block of an index segment. 4 KiB: what one read of a page costs.
    pub block_bytes: usize,
    /// Bytes of blocks kept in memory.
    pub cache_bytes: usize,
    /// Files kept open for reading.
    pub open_files_max: usize,
    /// Runs of level 0 that are merged into level 1 when there are so many.
    pub fresh_runs: usize,
    /// Bytes of level 1.
    pub level_bytes: u64,
    /// How much larger each further level is.
    pub level_factor: u64,
    /// Bytes of one run of level 1; the runs of further levels are larger.
    pub run_bytes: u64,
    /// Most bytes a second that merging and cleaning write, while they keep up.
    pub background_bytes_s: u64,
    /// A segment is cleaned when rows point to less than this share of it, in percent.
    pub clean_below_percent: u64,
    /// How long every commit stays restorable, in seconds. 0: deleted is deleted.
    pub retention_s: u64,
    /// The time in milliseconds since 1970 UTC, as commits and restore points carry it.
    pub clock: fn() -> u64,
    /// For simulations: the identity of a database that is created, from which every other random
    /// number follows. `None`: all are the system's.
    pub identity: Option<[u8; 16]>,
}

fn system_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Options {
    /// The defaults, for a folder of real files. It is created if it does not exist.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self::with_disk(Arc::new(RealDisk::new(dir)))
    }

    /// The defaults, for any disk.
    pub fn with_disk(disk: Arc<dyn Disk>) -> Self {
        Self {
            disk,
            key: None,
            segment_bytes: 64 << 20,
            journal_io: JournalIo::default(),
            ahead: Ahead::default(),
            ahead_bytes: 8 << 20,
            chunk_bytes: 128 << 10,
            inline_bytes_max: 1 << 10,
            queue_bytes_max: 2 << 20,
            transaction_bytes_max: 16 << 20,
            buffered_sync_ms: 1_000,
            mem_bytes: 8 << 20,
            unflushed_bytes: 64 << 20,
            frozen_max: 2,
            block_bytes: 4 << 10,
            cache_bytes: 32 << 20,
            open_files_max: 256,
            fresh_runs: 4,
            level_bytes: 32 << 20,
            level_factor: 8,
            run_bytes: 8 << 20,
            background_bytes_s: 64 << 20,
            clean_below_percent: 50,
            retention_s: 0,
            clock: system_clock,
            identity: None,
        }
    }

    /// Refuses settings that cannot work.
    pub fn check(&self) -> Result<(), Error> {
        let chunks = 1..=format::PAYLOAD_BYTES_MAX / 4;
        let transactions = (128 << 10)..=format::PAYLOAD_BYTES_MAX - (1 << 10);
        let blocks = 64..=1 << 20;
        let rules = [
            (
                (16 << 10..=4 << 30).contains(&self.segment_bytes)
                    && self.segment_bytes.is_multiple_of(4096),
                "segment_bytes must be a multiple of 4096 between 16 KiB and 4 GiB",
            ),
            (chunks.contains(&self.chunk_bytes), "chunk_bytes must be between 1 and 16 MiB"),
            (self.queue_bytes_max > 0, "queue_bytes_max must not be 0"),
            (
                transactions.contains(&self.transaction_bytes_max),
                "transaction_bytes_max must be between 128 KiB and 64 MiB less 1 KiB",
            ),
            (
                (64..=1 << 19).contains(&self.inline_bytes_max),
                "inline_bytes_max must be between 64 and 512 KiB",
            ),
            (
                (1 << 10..=1 << 30).contains(&self.mem_bytes),
                "mem_bytes must be between 1 KiB and 1 GiB",
            ),
            (self.unflushed_bytes >= 16 << 10, "unflushed_bytes must be at least 16 KiB"),
            (self.frozen_max > 0, "frozen_max must not be 0"),
            (blocks.contains(&self.block_bytes), "block_bytes must be between 64 and 1 MiB"),
            ((2..=16).contains(&self.fresh_runs), "fresh_runs must be between 2 and 16"),
            ((2..=64).contains(&self.level_factor), "level_factor must be between 2 and 64"),
            (self.level_bytes >= 4 << 10, "level_bytes must be at least 4 KiB"),
            (
                (1 << 10..=256 << 20).contains(&self.run_bytes),
                "run_bytes must be between 1 KiB and 256 MiB",
            ),
            (self.background_bytes_s > 0, "background_bytes_s must not be 0"),
            (self.clean_below_percent <= 95, "clean_below_percent must be at most 95"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(Error::Settings { what }),
            None => Ok(()),
        }
    }
}
