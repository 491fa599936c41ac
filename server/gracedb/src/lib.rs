//! GraceDb: an embedded, journal-first database with typed tables.
//!
//! ```text
//!   table, key, row    rows <-> bytes            db          handles, transactions, snapshots
//!   schema             what tables there are     queue       from many writers to one thread
//!   tree, state        all rows, by version      committer   the one that writes and syncs
//!   view, write        reading and changing      journal     the segment being written
//!   large, segments    bodies, in and out        recovery    from files to the newest state
//!                                                format      bytes
//!                                                disk        files, real or simulated
//! ```
//! Invariants: what is acknowledged is on disk; what is not is all there or not at all after a
//! crash; bytes that fail a checksum are an error and never data. Not here: mail.

// The derive macro says `::gracedb`, here too.
extern crate self as gracedb;

mod committer;
pub mod db;
pub mod disk;
pub mod error;
mod format;
mod journal;
pub mod key;
pub mod large;
pub mod pending;
mod queue;
pub mod recovery;
pub mod row;
pub mod schema;
mod segments;
mod space;
mod state;
pub mod table;
mod tree;
pub mod view;
pub mod write;
