//! The handles of the lower layers that every session and admin handler is given.
//!
//! Invariant: nothing in here is a session's; cloning is cheap.

use std::sync::Arc;
use std::time::Duration;

use gracedb::db::Db;
use tokio::sync::mpsc::Receiver;

use crate::authenticity::Authenticity;
use crate::config::Config;
use crate::config::limits;
use crate::directory::Directory;
use crate::dns::Resolver;
use crate::guard::Guard;
use crate::history::History;
use crate::mailbox::Mailboxes;
use crate::net::bans::Bans;
use crate::net::gate::Gate;
use crate::net::listener::Porter;
use crate::net::refusals::Refusals;
use crate::net::sessions::Sessions;
use crate::net::tls::Tls;
use crate::outgoing::{Order, Outgoing};
use crate::route::Router;
use crate::signing::Signing;
use crate::telemetry::bus::Bus;
use crate::telemetry::stop::Stop;
use crate::transport::Transport;
use crate::words::Words;

/// What a session may use.
#[derive(Clone)]
pub struct Services {
    /// The checked configuration.
    pub config: Arc<Config>,
    /// Events, limits, certificate, and the word to stop.
    pub porter: Porter,
    /// Names and addresses of others.
    pub dns: Resolver,
    /// The same, without a memory: for who has just published a record.
    pub dns_anew: Resolver,
    /// Who mail is really from.
    pub authenticity: Authenticity,
    /// Who may send, and strangers.
    pub guard: Guard,
    /// Domains and accounts.
    pub directory: Directory,
    /// Mailboxes and messages.
    pub mailboxes: Mailboxes,
    /// Which texts are in which messages.
    pub words: Words,
    /// Mail for other servers.
    pub outgoing: Outgoing,
    /// Where it goes.
    pub router: Router,
    /// Keys that sign mail.
    pub signing: Signing,
    /// How sure it must be of who is there.
    pub transport: Transport,
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
            gate: Gate::new(&limits, &config.door),
            refusals: Refusals::new(bus.clone()),
            sessions: Sessions::default(),
            proxies: config.proxies.clone().into(),
            proxy_header: Duration::from_secs(config.door.proxy_header_s),
            tls: Arc::new(Tls::open(&config)?),
            limits,
            stop: Stop::default(),
        };
        let (outgoing, orders) = Outgoing::new(&config.queue);
        let services = Self {
            authenticity: Authenticity::new(&config.authenticity, &config.hostname, &dns),
            directory: Directory::new(db.clone(), bus.clone(), &limits),
            guard: Guard::new(&config.door, &dns, db.clone(), &bus)?,
            mailboxes: Mailboxes::new(db.clone(), bus.clone(), &limits).with_quota(&config.quota),
            words: Words::new(db.clone(), &config.search),
            outgoing,
            router: Router::new(dns.validated(), &config, db.clone(), bus.clone())?,
            signing: Signing::new(db.clone(), bus, forgetful.clone()),
            dns_anew: forgetful,
            transport: Transport::new(db.clone(), &dns, &config.transport, &config.data)?,
            history: History::new(db.clone(), &config.store),
            dns,
            config,
            porter,
            db,
        };
        Ok((services, orders))
    }
}
