//! How a server is called: from where, as whom, with which TLS, and with how much patience.
//!
//! ```text
//!   the way, and what the host must show ─▶ calls, one after the other while TLS alone fails
//!     anything                                ─▶ with TLS
//!     login at a server that is not loopback  ─▶ with it: a password does not go in clear
//!     anything else                           ─▶ with it where it is offered, then without
//! ```
//! Invariant: a password is sent only over TLS, or to this machine.
//! Not here: connections (`connection`), which way mail goes (`route`), what a host must show
//! (`transport`).

use std::net::SocketAddr;
use std::time::Duration;

use grace_smtp::sender::settings::{Settings, TlsPolicy};

use super::connection::{Call, Connection};
use crate::route::Host;
use crate::route::rules::Way;
use crate::services::Services;
use crate::store::routes::Tls;
use crate::transport::Terms;
use crate::transport::decision::Demand;

/// Who calls, and on which way.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) services: &'a Services,
    pub(super) way: &'a Way,
}

impl Caller<'_> {
    /// The calls to make, in order.
    pub(super) fn calls(self, host: &Host, peer: SocketAddr, terms: &Terms) -> Vec<Call> {
        let smart = self.way.smart_host.as_deref();
        let has_login = smart.is_some_and(|smart| smart.login.is_some());
        let policies: &[TlsPolicy] = match terms.demand() {
            Demand::Encryption | Demand::Certificate(_) => &[TlsPolicy::Required],
            Demand::Nothing if has_login && !peer.ip().is_loopback() => &[TlsPolicy::Required],
            Demand::Nothing => &[TlsPolicy::Opportunistic, TlsPolicy::Never],
        };
        let source = self.way.source(peer.ip());
        let call = |policy| Call {
            host: host.name.clone(),
            peer,
            source: source.map(|source| source.address),
            patience: Duration::from_secs(self.services.config.queue.connect_s),
            settings: self.settings(policy, peer),
            terms: terms.clone(),
            is_immediate: smart.is_some_and(|smart| smart.tls == Tls::Immediate),
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
