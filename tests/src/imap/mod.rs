//! An IMAP client of our own that believes nothing but what it is told, and complains about what it
//! may not be told.
//!
//! ```text
//!   client   bytes ──syntax──▶ responses ──▶ picture: number ─▶ UID ─▶ flags, mod-sequence
//! ```
//! Invariant: the picture is made of untagged responses alone (and of what was stored in silence),
//! by the rules of RFC 9051, RFC 7162 and RFC 9586.
//! Not here: what is said on such connections ([`crate::stress`], [`crate::resync`]).

pub mod client;
pub mod picture;
pub mod syntax;
