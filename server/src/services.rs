//! The handles of the lower layers that every session and admin handler is given.
//!
//! Invariant: nothing in here is a session's; cloning is cheap.

use std::sync::Arc;

use gracedb::db::Db;
use rustls::ClientConfig;
use tokio::sync::mpsc::Receiver;

use crate::authenticity::Authenticity;
use crate::config::Config;
use crate::config::limits;
use crate::directory::Directory;
use crate::dns::Resolver;
use crate::history::History;
use crate::mailbox::Mailboxes;
use crate::net::bans::Bans;
use crate::net::gate::Gate;
use crate::net::listener::Porter;
use crate::net::tls::Tls;
use crate::net::tls_client::{self, Proof};
use crate::outgoing::{Order, Outgoing};
use crate::route::Router;
use crate::signing::Signing;
use crate::telemetry::bus::Bus;
use crate::telemetry::stop::Stop;

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
    /// Mail for other servers.
    pub outgoing: Outgoing,
    /// Where it goes.
    pub router: Router,
    /// Keys that sign mail.
    pub signing: Signing,
    /// TLS on its way there.
    pub outgoing_tls: Arc<ClientConfig>,
    /// The same to servers that must prove who they are.
    pub proof: Arc<Proof>,
    /// Events and counts of the past.
    pub history: History,
    /// The database, for its figures.
    pub db: Db,
}

impl Services {
    /// The handles by these settings, over a database that is open; and the orders for who sends
    /// mail to other servers.
    ///
    /// # Errors
    /// A certificate, a name server, an authority or a smart host cannot be used; says which and
    /// what to do.
    pub fn new(config: Arc<Config>, bus: Bus, db: Db) -> Result<(Self, Receiver<Order>), String> {
        let limits = config.limits;
        let dns = Resolver::new(&config.dns)?;
        // Who has just published a record must not be told of the time before.
        let forgetful = limits::Dns { cache_answers: 0, ..config.dns.clone() };
        let forgetful = Resolver::new(&forgetful)?;
        let porter = Porter {
            bus: bus.clone(),
            bans: Arc::new(Bans::new(&limits)),
            gate: Gate::new(limits.connections_max, limits.connections_per_address_max),
            tls: Arc::new(Tls::open(&config)?),
            limits,
            stop: Stop::default(),
        };
        let (outgoing, orders) = Outgoing::new(&config.queue);
        let proof = Proof::open(config.transport.roots_file(&config.data).as_deref())?;
        let services = Self {
            authenticity: Authenticity::new(&config.authenticity, &config.hostname, &dns),
            directory: Directory::new(db.clone(), bus.clone(), limits.password_checks_max),
            mailboxes: Mailboxes::new(db.clone(), bus.clone(), limits.mailboxes_per_account_max),
            outgoing,
            router: Router::new(dns.clone(), &config, db.clone(), bus.clone())?,
            signing: Signing::new(db.clone(), bus, forgetful),
            outgoing_tls: tls_client::any_certificate(),
            proof: Arc::new(proof),
            history: History::new(db.clone(), &config.store),
            dns,
            config,
            porter,
            db,
        };
        Ok((services, orders))
    }
}
