//! What is known of this server before anybody is asked about a domain's records.
//!
//! Not here: what follows from it ([`super::wanted`]).

use std::net::IpAddr;

use tokio::time::{Instant, timeout_at};

use grace_ipc::event::Service;

use crate::dns::{Failure, Resolver};
use crate::services::Services;
use crate::signing::Key;
use crate::store::accounts::domain_name;
use crate::store::refusal::Refusal;

/// Addresses of one server that are looked at; nobody's mail server has more.
const ADDRESSES_MAX: usize = 16;

/// What is known.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// The domain, as A-labels.
    pub(super) domain: String,
    /// The name this server calls itself.
    pub(super) hostname: String,
    /// Where it is reached.
    pub(super) addresses: Addresses,
    /// The addresses its mail comes from at other servers.
    pub(super) sending: Vec<IpAddr>,
    /// The server that all its mail goes through, if there is one: a name or an address.
    pub(super) relay: Option<String>,
    /// Its keys, those that wait and those that are retired, too.
    pub(super) keys: Vec<Key>,
    /// SHA-256 of the public key of its certificate (RFC 6698 2.1.3).
    pub(super) key_sha256: Option<[u8; 32]>,
    /// Nobody else vouches for its certificate.
    pub(super) is_self_signed: bool,
    /// The doors for people, with their ports.
    pub(super) offered: Vec<(Service, u16)>,
}

/// Where a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Addresses {
    /// Its settings say so.
    Known(Vec<IpAddr>),
    /// The DNS says so, and the settings do not say otherwise.
    Named(Vec<IpAddr>),
    /// Nobody says.
    Unknown,
}

impl Addresses {
    pub(super) fn list(&self) -> &[IpAddr] {
        match self {
            Self::Known(list) | Self::Named(list) => list,
            Self::Unknown => &[],
        }
    }
}

/// Gathers what is known; whatever the DNS does, in time.
pub(super) async fn gather(
    services: &Services,
    domain: &str,
    deadline: Instant,
) -> Result<Facts, Refusal> {
    let domain = domain_name(domain)?;
    let keys = services.signing.list(Some(&domain))?;
    let config = &services.config;
    let dns = &services.dns_anew;
    let relay = match config.queue.smart_host.as_str() {
        "none" => None,
        host => Some(host.split(':').next().unwrap_or_default().to_owned()),
    };
    let (named, relaying) = tokio::join!(
        in_time(deadline, dns.addresses(&config.hostname)),
        sending_of(dns, relay.as_deref(), deadline)
    );
    let doors = config.listen.iter().filter(|door| door.service == Service::Smtp);
    let known: Vec<IpAddr> =
        doors.map(|door| door.address.ip()).filter(|ip| is_reachable(*ip)).collect();
    let some = |list: Vec<IpAddr>| list.into_iter().take(ADDRESSES_MAX).collect();
    let addresses = match named {
        _ if !known.is_empty() => Addresses::Known(some(known)),
        Some(Ok(named)) => Addresses::Named(some(named)),
        _ => Addresses::Unknown,
    };
    let sending = match relay {
        Some(_) => some(relaying),
        None => addresses.list().to_vec(),
    };
    let people = [Service::Submissions, Service::Submission, Service::Imaps, Service::Imap];
    let door = |service: Service| {
        let door = config.listen.iter().find(|door| door.service == service)?;
        // Port 0 takes a free one, which nobody can be told beforehand.
        let port = Some(door.address.port()).filter(|port| *port > 0);
        Some((service, port.unwrap_or(standard_port(service))))
    };
    Ok(Facts {
        domain,
        hostname: config.hostname.to_lowercase(),
        addresses,
        sending,
        relay,
        keys,
        key_sha256: services.porter.tls.key_sha256().ok(),
        is_self_signed: config.tls.is_none(),
        offered: people.into_iter().filter_map(door).collect(),
    })
}

/// The addresses of the server that mail goes through.
async fn sending_of(dns: &Resolver, relay: Option<&str>, deadline: Instant) -> Vec<IpAddr> {
    let Some(relay) = relay else { return Vec::new() };
    match relay.parse() {
        Ok(address) => vec![address],
        Err(_) => match in_time(deadline, dns.addresses(relay)).await {
            Some(Ok(addresses)) => addresses,
            _ => Vec::new(),
        },
    }
}

async fn in_time<T>(
    deadline: Instant,
    question: impl Future<Output = Result<T, Failure>>,
) -> Option<Result<T, Failure>> {
    timeout_at(deadline, question).await.ok()
}

/// The port of a service as its standard has it (RFC 8314, 6409, 9051).
pub(super) fn standard_port(service: Service) -> u16 {
    match service {
        Service::Submission => 587,
        Service::Submissions => 465,
        Service::Imap => 143,
        _ => 993,
    }
}

/// Whether somebody far away can reach an address: not one of this machine or of a network that
/// ends at the next router (RFC 6890).
pub(super) fn is_reachable(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            // RFC 6598: addresses that providers share out behind one of theirs.
            let is_shared = first == 100 && (64..128).contains(&second);
            let is_near = ip.is_private() || ip.is_loopback() || ip.is_link_local();
            !(is_near || is_shared || first == 0 || ip.is_multicast() || ip.is_broadcast())
        }
        IpAddr::V6(ip) => {
            let is_near = ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local();
            !(is_near || ip.is_unspecified() || ip.is_multicast())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_next_room_are_told_from_those_of_the_world() {
        let reachable = |ip: &str| is_reachable(ip.parse().expect("an address"));
        for far in ["192.0.2.1", "100.63.0.1", "100.128.0.1", "2001:db8::1", "::ffff:192.0.2.1"] {
            assert!(reachable(far), "{far}");
        }
        for near in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.1.1",
            "172.16.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "::",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!reachable(near), "{near}");
        }
    }
}
