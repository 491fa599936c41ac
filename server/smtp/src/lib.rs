//! SMTP as machines: bytes and time in, actions out.
//!
//! [`receiver`] is the side that mail comes in by, for all three doors (25, 587, 465); [`sender`]
//! is the side it leaves by, to other servers and to smart hosts. The receiver reads [`command`]s
//! (with the paths of [`path`] and the [`parameters`] behind them), decodes bodies ([`body`]) and
//! logins ([`login`], with [`scram`], its [`saslprep`] and [`channel_binding`], and [`bearer`];
//! [`sasl`] has SCRAM for other protocols), answers with [`reply`] lines, and asks its driver what
//! it cannot know. [`trace`] writes the header lines that a receiving server owes. [`dsn`] has what
//! both sides say about notifications. How much of everything is too much: [`settings`].
//! Invariants: no byte from a peer can make anything here panic, grow beyond its named limit, or
//! end a message anywhere but at its real end.
//! Not here: sockets, TLS, the clock, who has a mailbox (`server::inbound`), where mail goes
//! (`server::outbound`).

pub mod bearer;
pub mod body;
pub mod channel_binding;
pub mod command;
pub mod dsn;
pub mod login;
pub mod parameters;
pub mod path;
pub mod receiver;
pub mod reply;
pub mod sasl;
pub mod saslprep;
pub mod scram;
pub mod sender;
pub mod settings;
#[cfg(test)]
mod testing;
pub mod trace;
