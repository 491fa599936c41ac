//! Whether the names of a peer fit its address: the one in EHLO, and those its address has.
//!
//! Invariant: what the DNS cannot say now speaks against nobody.
//! Not here: names that no host can have (`grace_smtp::receiver`), what follows ([`super`]).

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::timeout;

use grace_mail::address::{Charset, Host};

use crate::dns::Resolver;

/// Names of an address that are looked at (RFC 7208 4.6.4 has the same bound).
const NAMES_MAX: usize = 10;

/// Whether a name and an address belong together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fit {
    /// They do.
    Fits,
    /// They do not.
    Differs,
    /// Nobody asked, or nobody could say.
    #[default]
    Unknown,
}

/// What is found in time; nothing is, unless it is asked for.
pub(super) async fn in_time(
    time_max: Duration,
    is_asked: bool,
    question: impl Future<Output = Fit>,
) -> Fit {
    if is_asked { timeout(time_max, question).await.unwrap_or_default() } else { Fit::Unknown }
}

/// Whether the name in EHLO has the peer's address.
pub(super) async fn helo(resolver: &Resolver, peer: IpAddr, claim: &str) -> Fit {
    match Host::parse(claim.strip_suffix('.').unwrap_or(claim), Charset::Ascii) {
        Ok(Host::Literal(address)) if address.to_canonical() == peer => Fit::Fits,
        Ok(Host::Domain(name)) => has(resolver, name.as_str(), peer).await,
        Ok(Host::Literal(_)) | Err(_) => Fit::Differs,
    }
}

/// Whether a name of the address has the address (iprev, RFC 8601 3).
pub(super) async fn iprev(resolver: &Resolver, peer: IpAddr) -> Fit {
    let names = match resolver.ptr(peer).await {
        Ok(names) => names,
        Err(failure) if failure.is_temporary() => return Fit::Unknown,
        Err(_) => return Fit::Differs,
    };
    let mut found = Fit::Differs;
    for name in names.iter().take(NAMES_MAX) {
        match has(resolver, name, peer).await {
            Fit::Fits => return Fit::Fits,
            Fit::Unknown => found = Fit::Unknown,
            Fit::Differs => {}
        }
    }
    found
}

async fn has(resolver: &Resolver, name: &str, peer: IpAddr) -> Fit {
    let answer = match peer {
        IpAddr::V4(_) => resolver.ipv4(name).await,
        IpAddr::V6(_) => resolver.ipv6(name).await,
    };
    match answer {
        Ok(addresses) if addresses.contains(&peer) => Fit::Fits,
        Err(failure) if failure.is_temporary() => Fit::Unknown,
        Ok(_) | Err(_) => Fit::Differs,
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::RecordType;

    use super::*;
    use crate::dns::testing::{Server, Zone};

    #[tokio::test]
    async fn names_fit_their_address_or_not() {
        let zone = Zone::default()
            .a("mx.example", "192.0.2.1")
            .aaaa("mx.example", "2001:db8::1")
            .broken("down.example", RecordType::A)
            .ptr("192.0.2.1", "other.example")
            .ptr("192.0.2.1", "mx.example")
            .ptr("192.0.2.2", "mx.example")
            .ptr("192.0.2.3", "down.example");
        let server = Server::start(zone).await;
        let resolver = server.resolver();
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        for (peer, claim, expected) in [
            ("192.0.2.1", "mx.example", Fit::Fits),
            ("192.0.2.1", "MX.example.", Fit::Fits),
            ("2001:db8::1", "mx.example", Fit::Fits),
            ("192.0.2.1", "[192.0.2.1]", Fit::Fits),
            ("192.0.2.2", "mx.example", Fit::Differs),
            ("192.0.2.1", "[192.0.2.2]", Fit::Differs),
            ("192.0.2.1", "none.example", Fit::Differs),
            ("192.0.2.1", "not a name", Fit::Differs),
            ("192.0.2.1", "down.example", Fit::Unknown),
        ] {
            assert_eq!(helo(&resolver, ip(peer), claim).await, expected, "{claim} at {peer}");
        }
        for (peer, expected) in [
            ("192.0.2.1", Fit::Fits),
            ("192.0.2.2", Fit::Differs),
            ("192.0.2.3", Fit::Unknown),
            ("192.0.2.4", Fit::Differs),
        ] {
            assert_eq!(iprev(&resolver, ip(peer)).await, expected, "{peer}");
        }
    }
}
