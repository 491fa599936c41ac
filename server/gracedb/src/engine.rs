//! The seam: what typed tables, and everything above them, ask of a store of ordered bytes.
//!
//! GraceDb's own files are one store behind it (`local`), rows in memory are another
//! ([`crate::memory`]); a database of many machines could be a third. Asked are: rows by key and by
//! range, transactions that run alone, large values streamed in and read in pieces, and to be told
//! of changes.
//! Invariants asked of a store: keys sort as bytes; a snapshot never changes; a transaction sees
//! all before it and is there whole or not at all; its ticket is answered when it is durable.
//! Not here: tables, keys and rows (`view`, `write`).

use std::sync::Arc;
use std::task::{Context, Poll};

use crate::error::Error;
use crate::large::{Fresh, Large, Part};
use crate::pending::Ticket;
use crate::state::Value;
use crate::watch::Watch;

/// What an acknowledged transaction survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A power cut: it is on disk.
    #[default]
    Synced,
    /// A killed process. A power cut takes back what was not synced yet, the newest first: for
    /// statistics and traces.
    Buffered,
}

/// What a writer knows of the row that it replaces or deletes.
#[derive(Clone, Copy)]
pub enum Old<'a> {
    /// Nothing: the row was not read.
    Unknown,
    /// Its value, or that there is none.
    Known(Option<&'a [u8]>),
}

/// A store of ordered bytes.
pub trait Engine: Send + Sync + 'static {
    /// The acknowledged rows as of now. Never waits for a writer.
    fn snapshot(&self) -> Arc<dyn Reader>;

    /// Runs `body` now and alone, over the newest rows. `body` says whether what it did is to be
    /// kept; then the ticket says when it is durable.
    fn write(
        &self,
        durability: Durability,
        body: &mut dyn FnMut(&mut dyn Writer) -> bool,
    ) -> Result<Option<Ticket>, Error>;

    /// Bytes of one part of a large value.
    fn part_bytes(&self) -> usize;

    /// Ready when there is room for one more part of a large value.
    fn poll_room(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>>;

    /// Takes a part of a large value in. It stays when a transaction that points to it is
    /// acknowledged while `Fresh` is held.
    fn put_part(&self, bytes: Vec<u8>) -> Result<(Part, Fresh), Error>;

    /// Tells of transactions that are acknowledged from now on and touch keys with this prefix.
    fn watch(&self, prefix: &[u8]) -> Watch;

    /// Why nothing is written any more, if so.
    fn check(&self) -> Result<(), Error>;

    /// Writes what is on its way and ends every thread. Snapshots stay readable.
    fn close(&self);
}

/// Rows as of one moment.
pub trait Reader: Send + Sync {
    /// Number of the newest transaction in it; it grows by one with each.
    fn sequence(&self) -> u64;

    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Value>, Error>;

    /// A walk over the keys from `low` up to, not including, `high`.
    fn scan(&self, low: &[u8], high: Option<&[u8]>) -> Result<Box<dyn Scan>, Error>;

    /// Reads a part of a large value; `bytes` is as long as the part.
    fn read_part(&self, part: &Part, bytes: &mut [u8]) -> Result<(), Error>;

    /// The same rows, to be kept.
    fn share(&self) -> Arc<dyn Reader>;
}

/// A transaction: reads see its own writes.
pub trait Writer: Reader {
    /// Puts a value. `larges` are those it points to, as the value lists them.
    fn put(
        &mut self,
        key: &[u8],
        value: &[u8],
        larges: &[Large],
        old: Old<'_>,
    ) -> Result<(), Error>;

    /// Deletes a key, whether it is there or not.
    fn delete(&mut self, key: &[u8], old: Old<'_>) -> Result<(), Error>;

    /// Deletes the keys from `low` up to, not including, `high`, without looking at them.
    fn delete_range(&mut self, low: &[u8], high: &[u8]) -> Result<(), Error>;

    /// Takes bytes in like a part of a large value, without waiting for room.
    fn put_part(&mut self, bytes: Vec<u8>) -> Result<(Part, Fresh), Error>;

    /// A change that takes several of these steps failed halfway: nothing of the transaction is to
    /// be kept.
    fn spoil(&mut self, error: Error);

    /// Fields of a row that take more bytes than this are kept apart from the row.
    fn inline_bytes_max(&self) -> usize;
}

/// A key and its value.
pub type Entry<'a> = (&'a [u8], &'a [u8]);

/// A walk over keys, from both ends. It owns its version of the rows.
pub trait Scan: Send + Sync {
    /// The next key from the front.
    fn next(&mut self) -> Result<Option<Entry<'_>>, Error>;

    /// The next key from the back.
    fn next_back(&mut self) -> Result<Option<Entry<'_>>, Error>;
}
