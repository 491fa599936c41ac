//! GraceDb: an embedded, journal-first database with typed tables.
//!
//! ```text
//!   table, key, row, schema, migrate    rows <-> bytes; what tables there are
//!   db, view, write, large, watch       handles, snapshots, transactions, bodies, being told
//!   ───────────── engine: the seam ─────────────  memory: rows in memory, for tests
//!   local                               our own files
//!     transact, queue, commit, journal, ahead     from a transaction to an answer
//!     tree, ranges, mem, state                    rows in memory, by version
//!     flush, index, version, compact              rows on disk, level by level
//!     clean, pins, upkeep                         giving room back
//!     meta, manifest, recover, scan               which files count; opening them
//!     frame, copy, mark, verify, inventory, closed    looking at all of it; backups
//!     salvage, repair, words                      what is left of a broken one
//!     seal, files, format, disk                   keys, files, bytes
//! ```
//! Invariants: what is acknowledged is on disk; what is not is all there or not at all after a
//! crash; bytes that fail a checksum are an error and never data. Not here: mail.

// The derive macro says `::gracedb`, here too.
extern crate self as gracedb;

mod ahead;
mod clean;
mod closed;
mod commit;
mod compact;
pub mod copy;
mod crc;
pub mod db;
pub mod disk;
pub mod dump;
pub mod engine;
pub mod error;
mod files;
mod flush;
mod format;
mod frame;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
#[cfg(test)]
mod golden;
mod index;
pub mod inventory;
mod journal;
pub mod key;
pub mod large;
mod local;
mod manifest;
mod mark;
mod mem;
pub mod memory;
mod meta;
pub mod migrate;
pub mod options;
mod pace;
pub mod pending;
mod pins;
pub mod progress;
mod queue;
mod ranges;
pub mod recover;
pub mod repair;
pub mod row;
mod salvage;
mod scan;
pub mod schema;
pub mod seal;
mod space;
pub mod state;
mod sync;
pub mod table;
mod transact;
mod tree;
mod unwritten;
mod upgrade;
pub mod upkeep;
pub mod verify;
mod version;
pub mod view;
pub mod watch;
mod words;
pub mod workers;
pub mod write;
