//! The handles of the lower layers that every session and admin handler is given.
//!
//! Invariant: nothing in here is a session's; cloning is cheap.

use std::sync::Arc;

use gracedb::db::Db;

use crate::authenticity::Authenticity;
use crate::config::Config;
use crate::directory::Directory;
use crate::dns::Resolver;
use crate::history::History;
use crate::mailbox::Mailboxes;
use crate::net::listener::Porter;

/// What a session may use.
#[derive(Clone)]
pub struct Services {
    /// The checked configuration.
    pub config: Arc<Config>,
    /// Events, limits, certificate, and the word to stop.
    pub porter: Porter,
    /// Names and addresses of others.
    pub dns: Resolver,
    /// Who mail is really from.
    pub authenticity: Authenticity,
    /// Domains and accounts.
    pub directory: Directory,
    /// Mailboxes and messages.
    pub mailboxes: Mailboxes,
    /// Events and counts of the past.
    pub history: History,
    /// The database, for its figures.
    pub db: Db,
}
