//! Who a message is really from: SPF, DKIM, DMARC, ARC and the name of the peer's address, while
//! its body streams by.
//!
//! ```text
//!   begin(facts, header block) ─▶ Check ─▶ feed(body) … ─▶ finish ─▶ Verdict ─▶ field, event,
//!                                 which hashes   hashes       │                  consequence
//!                                 are needed                  └ all that needs DNS, at once and
//!                                                               within `time_max_s`
//! ```
//! Invariants: no body is held, whatever its size; every question ends in time, and what is not
//! known by then is a temporary error, never a pass. DKIM, DMARC, ARC and iprev are judged by the
//! library `mail-auth`, SPF by `spf`; what follows is decided here.
//! Not here: signatures and keys (`mail-auth`), where the message goes (`inbound`).

mod lookup;
mod message;
mod policy;
pub mod results;
mod spf;
#[cfg(test)]
mod tests;
mod trust;
pub mod verdict;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mail_auth::MessageAuthenticator;
use tokio::time::Instant;

use self::lookup::Lookup;
use self::message::Examined;
use self::spf::Sender;
use self::verdict::{Found, Outcome, Verdict};
use crate::config::limits;
use crate::dkim::body::BodyHashes;
use crate::dns::Resolver;

/// Checks senders. Cheap to clone.
#[derive(Clone)]
pub struct Authenticity(Arc<Inner>);

struct Inner {
    library: MessageAuthenticator,
    resolver: Resolver,
    settings: limits::Authenticity,
    hostname: String,
}

/// What is known of a message before its first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Where it comes from.
    pub peer: IpAddr,
    /// What the peer called itself. A claim.
    pub helo: String,
    /// The envelope's sender; empty: nobody.
    pub sender: String,
}

/// A message on its way in, being checked.
pub struct Check {
    authenticity: Authenticity,
    facts: Facts,
    hashes: BodyHashes,
}

impl Authenticity {
    /// Checks by these settings, for the server of this name.
    #[must_use]
    pub fn new(settings: &limits::Authenticity, hostname: &str, resolver: &Resolver) -> Self {
        Self(Arc::new(Inner {
            library: MessageAuthenticator(resolver.hickory().clone()),
            resolver: resolver.clone(),
            settings: settings.clone(),
            hostname: hostname.to_owned(),
        }))
    }

    /// Whether mail from there is checked at all.
    #[must_use]
    pub fn concerns(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        !self.0.settings.unchecked_networks.iter().any(|network| network.contains(peer))
    }

    /// What a domain says of an address that sends for it (SPF), by a resolver of one's choice.
    pub async fn sender_policy(&self, resolver: &Resolver, domain: &str, ip: IpAddr) -> Found {
        let hostname = &self.0.hostname;
        let sender = Sender { ip, helo: hostname, address: "", hostname };
        spf::check_host(resolver, sender, domain).await.found
    }

    /// The domain that a peer may speak for by SPF: that of the envelope's sender, or its own where
    /// there is none. For who must know before there is a message.
    pub async fn speaks_for(&self, facts: &Facts) -> Option<String> {
        let Inner { library, resolver, settings, hostname } = &*self.0;
        let deadline = Instant::now() + Duration::from_secs(settings.time_max_s);
        let lookup = Lookup { library, resolver, facts, hostname, deadline };
        let spf = lookup.mail_from().await;
        let is_known = spf.found.outcome == Outcome::Pass && !spf.domain.is_empty();
        is_known.then_some(spf.domain)
    }

    /// Begins with a message whose header block is here.
    #[must_use]
    pub fn begin(&self, facts: Facts, header: &[u8]) -> Check {
        let hashes = Examined::new(header).body_hashes();
        let peer = facts.peer.to_canonical();
        Check { authenticity: self.clone(), facts: Facts { peer, ..facts }, hashes }
    }
}

impl Check {
    /// The next piece of the body.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.hashes.feed(bytes);
    }

    /// The body is whole: finds out all the rest. `header` is the block it began with.
    pub async fn finish(self, header: &[u8]) -> Verdict {
        let Self { authenticity, facts, hashes } = self;
        let Inner { library, resolver, settings, hostname } = &*authenticity.0;
        let examined = Examined::new(header);
        let authors = examined.authors().clone();
        let too_long = examined.chain_is_too_long();
        let (message, settled) = examined.with_body(&hashes.finish());
        let deadline = Instant::now() + Duration::from_secs(settings.time_max_s);
        let lookup = Lookup { library, resolver, facts: &facts, hostname, deadline };
        let (iprev, helo, mail_from, dkim, arc) = tokio::join!(
            lookup.iprev(),
            lookup.helo(),
            lookup.mail_from(),
            lookup.dkim(&message),
            lookup.arc(&message, too_long),
        );
        let dmarc = lookup.dmarc(&message, &dkim.outputs, &mail_from, &authors).await;
        let mut signatures = settled;
        signatures.extend(dkim.shown);
        let arc = trust::of(&arc, &message, &settings.arc_trusted);
        let consequence = policy::consequence(settings, &authors, &dmarc, &arc);
        let peer = facts.peer;
        Verdict { peer, iprev, helo, mail_from, dkim: signatures, arc, dmarc, consequence }
    }
}
