//! The words the daemon and its admin programs speak.
//!
//! `docs/admin-protocol.md` tells the same byte by byte. From the bottom up: [`frame`] cuts a
//! stream into frames, [`codec`] makes messages of them, [`message`], [`event`], [`database`],
//! [`queue`], [`directory`], [`dkim`], [`domain_dns`], [`route`], [`share`], [`trace`] and [`live`]
//! are the messages, [`hello`] is how two versions meet, [`session`] holds both sides as machines
//! without a socket, [`transport`] and [`client`] put them on local sockets.

pub mod client;
pub mod codec;
pub mod database;
pub mod directory;
pub mod dkim;
pub mod domain_dns;
pub mod event;
pub mod frame;
pub mod hello;
pub mod live;
pub mod message;
pub mod queue;
pub mod role;
pub mod route;
pub mod session;
pub mod share;
pub mod text;
pub mod trace;
pub mod transport;
pub mod version;
