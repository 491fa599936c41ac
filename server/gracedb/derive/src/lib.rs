//! The Table derive macro of GraceDb.
