//! Where mail for a destination goes.
//!
//! ```text
//!   example.org ─▶ MX, or the domain itself ─▶ hosts in order ─▶ addresses of each, when tried
//!   [mx.example.org]:2525, [192.0.2.1] ─▶ that host
//!   anything, with a smart host ─▶ the smart host            which: `rules`
//! ```
//! Invariants: a domain that surely takes no mail is told from one that nobody could tell us about;
//! mail that should come to this server is not sent in circles.
//! Not here: connections (`outbound`), questions and answers (`dns`).

pub mod change;
mod order;
pub mod rules;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use gracedb::db::Db;
use gracedb::view::View as _;

use grace_ipc::event::Service;

use self::rules::{Rules, SmartHost, Way};
use crate::config::names::Source;
use crate::config::{Config, Door};
use crate::dns::{Cause, Resolver};
use crate::store::failure::Failure;
use crate::store::routes::RouteRow;
use crate::telemetry::bus::Bus;

/// What is said of mail that would come back to this server (RFC 5321 5.1).
pub const CIRCLE: &str = "the domain's mail should come to this server, which does not know it";

/// Why mail for a destination cannot go anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRoute {
    /// It never will.
    Never {
        /// Enhanced status code (RFC 3463).
        status: (u16, u16, u16),
        /// Why, in words.
        text: String,
    },
    /// Not now.
    Later {
        /// Enhanced status code (RFC 3463).
        status: (u16, u16, u16),
        /// Why, in words.
        text: String,
    },
}

impl NoRoute {
    fn never(status: (u16, u16, u16), text: impl Into<String>) -> Self {
        Self::Never { status, text: text.into() }
    }

    /// RFC 3463 3.5: "unable to route", which includes that the directory server failed.
    fn later(text: impl fmt::Display) -> Self {
        Self::Later { status: (4, 4, 3), text: text.to_string() }
    }
}

/// A server that takes mail for a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name, or its address where there is no name.
    pub name: String,
    /// Its port.
    pub port: u16,
}

/// Finds the way.
#[derive(Clone)]
pub struct Router {
    resolver: Resolver,
    own_name: String,
    port: u16,
    hosts_max: usize,
    /// Where other servers bring mail to this one.
    doors: Arc<[Door]>,
    /// What the settings say, where no route does.
    usual: (Option<Arc<SmartHost>>, Arc<[Source]>),
    rules: Arc<RwLock<Arc<Rules>>>,
    db: Db,
    bus: Bus,
}

impl Router {
    /// A router by the settings and the routes kept in `db`.
    ///
    /// # Errors
    /// The smart host is none, or the routes cannot be read.
    pub fn new(resolver: Resolver, config: &Config, db: Db, bus: Bus) -> Result<Self, String> {
        let settings = &config.queue;
        let port = u16::try_from(settings.port).unwrap_or(25);
        let smart_host = match settings.smart_host.as_str() {
            "none" => None,
            text => Some(smart_host(text, port).ok_or_else(|| {
                format!(
                    "queue.smart_host: {text:?} is not a server such as \"relay.example.org:587\""
                )
            })?),
        };
        let hosts_max = usize::try_from(settings.hosts_max).unwrap_or(usize::MAX);
        let smart_host = smart_host.map(|host| Arc::new(SmartHost::plain(host)));
        let four = settings.source_ipv4.iter().map(|source| &source.0);
        let six = settings.source_ipv6.iter().map(|source| &source.0);
        let sources: Arc<[Source]> = four.chain(six).cloned().collect();
        let doors = config.listen.iter().filter(|door| door.service == Service::Smtp);
        let router = Self {
            resolver,
            own_name: config.hostname.clone(),
            port,
            hosts_max,
            doors: doors.copied().collect(),
            usual: (smart_host, sources),
            rules: Arc::default(),
            db,
            bus,
        };
        router.reload().map_err(|e| format!("the routes of outgoing mail cannot be read: {e}"))?;
        Ok(router)
    }

    /// Goes by what is in the database from now on.
    fn reload(&self) -> Result<(), Failure> {
        // Held while the rows are read: who reads later ones also writes later.
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        let rows = self.db.snapshot().scan::<RouteRow>().collect::<Result<Vec<_>, _>>()?;
        let (smart_host, sources) = self.usual.clone();
        *rules = Arc::new(Rules::new(rows, smart_host, sources));
        Ok(())
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The way to a destination for mail of a sender; empty: nobody's.
    #[must_use]
    pub fn way(&self, destination: &str, sender: &str) -> Way {
        self.rules().way(destination, sender)
    }

    /// What mail for a destination from a sender has in common with other mail: it goes the same
    /// way.
    #[must_use]
    pub fn next_hop(&self, destination: &str, sender: &str) -> String {
        self.way(destination, sender).hop
    }

    /// Our name, where a server at this port may be this one: one that calls itself so is.
    #[must_use]
    pub fn own_name_at(&self, port: u16) -> Option<String> {
        self.has_door(port).then(|| self.own_name.clone())
    }

    fn has_door(&self, port: u16) -> bool {
        self.doors.iter().any(|door| door.address.port() == port)
    }

    /// Whether a connection goes to a door of this server. `local` is its near end.
    #[must_use]
    pub fn is_ourselves(&self, peer: SocketAddr, local: SocketAddr) -> bool {
        self.doors.iter().any(|door| {
            let (at, is_any) = (door.address.ip(), door.address.ip().is_unspecified());
            let is_here = at == peer.ip() || (is_any && peer.ip() == local.ip());
            door.address.port() == peer.port() && is_here
        })
    }

    /// The servers to try for the end of a way, in order; `chance` decides between equals.
    ///
    /// # Errors
    /// There are none, for good or for now.
    pub async fn hosts(&self, to: &str, chance: u64) -> Result<Vec<Host>, NoRoute> {
        if to.starts_with('[') {
            let host = server(to, self.port);
            let words = || format!("{to} is no server");
            return Ok(vec![host.ok_or_else(|| NoRoute::never((5, 1, 2), words()))?]);
        }
        let names = match self.resolver.mx(to).await {
            Ok(exchanges) => order::order(exchanges, &self.own_name, chance)?,
            Err(failure) => match failure.cause {
                // RFC 5321 5.1: without MX the domain itself is the server.
                Cause::NoRecord => vec![to.to_owned()],
                Cause::NotThere | Cause::NoName => {
                    return Err(NoRoute::never((5, 1, 2), failure.to_string()));
                }
                Cause::Temporary(_) | Cause::Bogus => return Err(NoRoute::later(failure)),
            },
        };
        let hosts = names.into_iter().take(self.hosts_max);
        Ok(hosts.map(|name| Host { name, port: self.port }).collect())
    }

    /// The addresses of a server, in the order to try them.
    ///
    /// # Errors
    /// It has none, for good or for now.
    pub async fn addresses(&self, host: &Host) -> Result<Vec<SocketAddr>, NoRoute> {
        if let Ok(address) = host.name.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, host.port)]);
        }
        match self.resolver.addresses(&host.name).await {
            Ok(addresses) => {
                let with_port = |address| SocketAddr::new(address, host.port);
                Ok(addresses.into_iter().map(with_port).collect())
            }
            Err(failure) if failure.is_temporary() => Err(NoRoute::later(failure)),
            Err(failure) => Err(NoRoute::never((5, 4, 4), failure.to_string())),
        }
    }
}

/// `[name]`, `[name]:port`, `[192.0.2.1]`, `[IPv6:2001:db8::1]` (RFC 5321 4.1.3).
fn server(text: &str, port: u16) -> Option<Host> {
    let (name, rest) = text.strip_prefix('[')?.split_once(']')?;
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().ok()?,
        None => port,
    };
    let tagged = name.get(..5).is_some_and(|tag| tag.eq_ignore_ascii_case("IPv6:"));
    let name = if tagged { name.get(5..)? } else { name };
    (!name.is_empty()).then(|| Host { name: name.to_owned(), port })
}

/// `name` or `name:port`.
fn smart_host(text: &str, port: u16) -> Option<Host> {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().ok()?),
        None => (text, port),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_host = !name.is_empty() && name.chars().all(is_name);
    is_host.then(|| Host { name: name.to_lowercase(), port })
}
