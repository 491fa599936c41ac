//! How a server is called: from where, as whom, with which TLS, and with how much patience.
//!
//! ```text
//!   the way, and what the message asks ─▶ calls, one after the other while TLS alone fails
//!     smart host, TLS demanded                ─▶ with it
//!     message demands TLS (RFC 8689)          ─▶ with it
//!     login at a server that is not loopback  ─▶ with it: a password does not go in clear
//!     anything else                           ─▶ with it where it is offered, then without
//! ```
//! What else a domain demands of TLS (MTA-STS, DANE) is to be decided here, too, and to be told by
//! a test of a delivery ([`Caller::demands`]).
//! Invariant: a password is sent only over TLS, or to this machine.
//! Not here: connections (`connection`), which way mail goes (`route`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use grace_smtp::sender::settings::{Settings, TlsPolicy};

use super::connection::{Call, Connection};
use crate::route::Host;
use crate::route::rules::Way;
use crate::services::Services;
use crate::store::routes::Tls;

/// Who calls, and on which way.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) services: &'a Services,
    pub(super) way: &'a Way,
}

impl Caller<'_> {
    /// What is demanded of TLS at a host, in words; `None`: nothing.
    pub(super) fn demands(self, host: &Host) -> Option<String> {
        let name = &host.name;
        match self.way.smart_host.as_ref()?.tls {
            Tls::Opportunistic => None,
            Tls::StartTls => Some(format!("the route asks for STARTTLS and proof of {name}")),
            Tls::Immediate => Some(format!("the route asks for TLS at once and proof of {name}")),
        }
    }

    /// The calls to make, in order.
    pub(super) fn calls(self, host: &Host, peer: SocketAddr, require_tls: bool) -> Vec<Call> {
        let smart = self.way.smart_host.as_deref();
        let tls = smart.map_or(Tls::Opportunistic, |smart| smart.tls);
        let has_login = smart.is_some_and(|smart| smart.login.is_some());
        let policies: &[TlsPolicy] = match tls {
            Tls::StartTls | Tls::Immediate => &[TlsPolicy::Required],
            Tls::Opportunistic if require_tls => &[TlsPolicy::Required],
            Tls::Opportunistic if has_login && !peer.ip().is_loopback() => &[TlsPolicy::Required],
            Tls::Opportunistic => &[TlsPolicy::Opportunistic, TlsPolicy::Never],
        };
        let is_proof = tls != Tls::Opportunistic;
        let services = self.services;
        let config = if is_proof { services.proof.client() } else { &services.outgoing_tls };
        let source = self.way.source(peer.ip());
        let call = |policy| Call {
            host: host.name.clone(),
            peer,
            source: source.map(|source| source.address),
            patience: Duration::from_secs(services.config.queue.connect_s),
            settings: self.settings(policy, peer),
            config: Arc::clone(config),
            is_proof,
            is_immediate: tls == Tls::Immediate,
            watcher: None,
        };
        policies.iter().map(|&policy| call(policy)).collect()
    }

    fn settings(self, policy: TlsPolicy, peer: SocketAddr) -> Settings {
        let (config, router) = (&self.services.config, &self.services.router);
        let queue = &config.queue;
        let command_timeout = Duration::from_secs(queue.command_s);
        let source = self.way.source(peer.ip());
        let name = source.and_then(|source| source.name.as_ref()).unwrap_or(&config.hostname);
        Settings {
            login: self.way.smart_host.as_ref().and_then(|smart| smart.login.clone()),
            login_without_tls: peer.ip().is_loopback(),
            own_name: router.own_name_at(peer.port()),
            recipients_max: usize::try_from(queue.recipients_per_transaction_max).unwrap_or(100),
            greeting_timeout: Duration::from_secs(queue.greeting_s),
            hello_timeout: command_timeout,
            mail_timeout: command_timeout,
            rcpt_timeout: command_timeout,
            data_timeout: Duration::from_secs(queue.data_s),
            block_timeout: Duration::from_secs(queue.body_s),
            end_timeout: Duration::from_secs(queue.end_s),
            // The connection waits in our hands, and is closed when we say so.
            idle_timeout: Duration::from_secs(queue.idle_s + 5),
            ..Settings::new(name.clone(), policy)
        }
    }
}

/// Whether a connection goes to this very server.
pub(super) fn is_ourselves(services: &Services, connection: &Connection) -> bool {
    let local = connection.local();
    local.is_some_and(|local| services.router.is_ourselves(connection.peer(), local))
}
