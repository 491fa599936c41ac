//! Both sides of a connection as machines: bytes and `now` in, bytes and steps out.
//!
//! Not here: sockets and threads ([`crate::transport`], [`crate::client`], the daemon's admin
//! task).

pub mod asker;
pub mod server;
mod subscription;
