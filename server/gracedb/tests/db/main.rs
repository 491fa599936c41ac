//! The database as its users see it, over real and simulated files.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::cast_possible_truncation, reason = "small numbers of tests")]

mod copies;
mod damage;
mod histories;
mod inventory;
mod keys;
mod large;
mod migrations;
mod parity;
mod rows;
mod space;
mod tables;
mod upgrade;
