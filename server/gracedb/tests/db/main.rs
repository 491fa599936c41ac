//! The database as its users see it, over real and simulated files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod copies;
mod damage;
mod histories;
mod keys;
mod large;
mod parity;
mod rows;
mod space;
mod tables;
