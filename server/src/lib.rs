//! The runtime of Grace's daemon: sockets, TLS and storage wired around the pure protocol machines.
//!
//! ```text
//! house → inbound | outbound | imap | admin → domain_dns → mailbox | directory | history
//!       | authenticity | guard | outgoing | route | signing → store | net | dns | dkim
//!       → config | telemetry
//! ```
//! Siblings do not import each other; they meet in the store or through an event.

pub mod admin;
pub mod authenticity;
pub mod config;
pub mod directory;
mod dkim;
pub mod dns;
pub mod domain_dns;
pub mod guard;
pub mod history;
pub mod house;
pub mod imap;
pub mod inbound;
pub mod mailbox;
pub mod net;
pub mod open_files;
pub mod outbound;
pub mod outgoing;
pub mod route;
pub mod services;
pub mod signals;
pub mod signing;
pub mod store;
pub mod telemetry;
pub mod transport;
pub mod welcome;
pub mod words;
