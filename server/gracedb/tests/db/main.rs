//! The database as its users see it, over real and simulated files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod copies;
mod damage;
mod inventory;
mod keys;
mod large;
mod migrations;
mod rows;
mod space;
mod tables;
mod upgrade;
