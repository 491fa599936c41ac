//! Where mail for a destination goes.
//!
//! ```text
//!   example.org ─▶ MX, or the domain itself ─▶ hosts in order ─▶ addresses of each, when tried
//!   [mx.example.org]:2525, [192.0.2.1] ─▶ that host
//!   anything, with a smart host ─▶ the smart host
//! ```
//! Invariants: a domain that surely takes no mail is told from one that nobody could tell us about;
//! mail that should come to this server is not sent in circles.
//! Not here: connections (`outbound`), questions and answers (`dns`).

mod order;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::config::limits::Outgoing;
use crate::dns::{Cause, Resolver};

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
    smart_host: Option<Host>,
}

impl Router {
    /// A router by the settings; `own_name` is this server's.
    ///
    /// # Errors
    /// The smart host is none.
    pub fn new(resolver: Resolver, own_name: &str, settings: &Outgoing) -> Result<Self, String> {
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
        Ok(Self { resolver, own_name: own_name.to_owned(), port, hosts_max, smart_host })
    }

    /// What mail for a destination has in common: it goes to the same servers.
    #[must_use]
    pub fn next_hop(&self, destination: &str) -> String {
        match &self.smart_host {
            Some(host) if !destination.starts_with('[') => {
                format!("[{}]:{}", host.name, host.port)
            }
            _ => destination.to_owned(),
        }
    }

    /// The servers to try for a next hop, in order; `chance` decides between equals.
    ///
    /// # Errors
    /// There are none, for good or for now.
    pub async fn hosts(&self, next_hop: &str, chance: u64) -> Result<Vec<Host>, NoRoute> {
        if next_hop.starts_with('[') {
            let host = server(next_hop, self.port);
            let words = || format!("{next_hop} is no server");
            return Ok(vec![host.ok_or_else(|| NoRoute::never((5, 1, 2), words()))?]);
        }
        let names = match self.resolver.mx(next_hop).await {
            Ok(exchanges) => order::order(exchanges, &self.own_name, chance)?,
            Err(failure) => match failure.cause {
                // RFC 5321 5.1: without MX the domain itself is the server.
                Cause::NoRecord => vec![next_hop.to_owned()],
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read() {
        let host = |text| server(text, 25).map(|host| (host.name, host.port));
        let found = |name: &str, port| Some((name.to_owned(), port));
        assert_eq!(host("[mx.example.org]"), found("mx.example.org", 25));
        assert_eq!(host("[mx.example.org]:2525"), found("mx.example.org", 2525));
        assert_eq!(host("[192.0.2.1]"), found("192.0.2.1", 25));
        assert_eq!(host("[IPv6:2001:db8::1]"), found("2001:db8::1", 25));
        for text in ["mx", "[]", "[mx", "[mx]:", "[mx]:0x", "[mx]:70000"] {
            assert_eq!(host(text), None, "{text}");
        }
        let smart = |text| smart_host(text, 25).map(|host| (host.name, host.port));
        assert_eq!(smart("Relay.example.org"), found("relay.example.org", 25));
        assert_eq!(smart("relay.example.org:587"), found("relay.example.org", 587));
        assert_eq!(smart("relay example:587"), None);
    }
}
