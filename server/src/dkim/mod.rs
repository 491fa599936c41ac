//! What signing a message and checking its signatures have in common (RFC 6376): the hash of a
//! body, and lists of tags.
//!
//! Not here: who signs (`signing`), what a signature is worth (`authenticity`).

pub(crate) mod body;
#[cfg(test)]
pub(crate) mod suites;
pub(crate) mod tags;
