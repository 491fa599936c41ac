//! The admin protocol seen from outside: its bytes, its sessions, its sockets.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test a panic is the verdict"
)]

#[cfg(unix)]
mod client;
mod document;
mod garbage;
mod golden;
mod meeting;
mod samples;
mod session;
