//! IMAP (RFC 9051 and RFC 3501) as machines: bytes in, actions out.
//!
//! ```text
//!   bytes ─▶ framer ─▶ grammar ─▶ session ──Ask──▶ driver ─▶ store
//!                                  │   ▲───answer────┘
//!                 fetch search view structure ─▶ response ─▶ bytes
//! ```
//! Not here: sockets, TLS, the store, the clock (`server::imap`); reading mail (`grace-mail`).

pub mod command;
pub mod cursor;
pub mod date;
pub mod facts;
pub mod fetch;
pub mod flags;
pub mod framer;
pub mod fuzzy;
pub mod grammar;
pub mod keys;
pub mod machine;
pub mod metadata;
pub mod name;
pub mod places;
pub mod preview;
pub mod response;
pub mod rights;
pub mod rows;
pub mod search;
pub mod session;
pub mod set;
pub mod sort;
pub mod structure;
pub mod thread;
pub mod url;
pub mod view;
