//! GraceDb: an embedded, journal-first database with typed tables.
