//! IMAP over the network: drives `grace_imap::session` for one connection and does what it asks.
//!
//! ```text
//!   stream ──bytes──▶ session (pure) ──Ask──▶ desk ──▶ directory, mailboxes
//!     ▲────Send, SendMessage──┘  ▲──answer─────┘
//! ```
//! Not here: the protocol (`grace-imap`), the tables (`mailbox`, `directory`).

pub mod session;

mod deflate;
mod desk;
mod may;
mod sasl;
mod translate;
mod urls;
mod watched;
mod wire;
