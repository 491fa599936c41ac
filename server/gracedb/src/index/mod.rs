//! Index segments: sorted runs of rows on disk, and walking over them.
//!
//! ```text
//!   writer ─▶ file: header │ blocks … │ index │ filter │ ranges │ footer ─▶ run ─▶ cache ─▶ block
//!   cursor: one run      level: runs side by side      merge: layers over each other
//! ```
//! Invariants: a file is written once and never changed; a block is used only when its checksum,
//! and its tag if it is encrypted, say that it is the one written.
//! Not here: which runs there are (`version`), when they are merged (`compact`).

pub(crate) mod block;
pub(crate) mod cache;
pub(crate) mod cursor;
pub(crate) mod filter;
pub(crate) mod guide;
pub(crate) mod merge;
pub(crate) mod run;
pub(crate) mod writer;
