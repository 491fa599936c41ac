//! Who may connect: how many connections are open over all, per address and per network, and how
//! many new ones come in a minute.
//!
//! Invariants: every pass handed out is counted until it is dropped, whatever ends the session; who
//! is trusted is counted over all alone.
//! Not here: who guessed passwords ([`super::bans`]), what a session may do (`guard`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::prefixes::Prefixes;
use super::rates::Rates;
use crate::config::limits::{DoorRules, Limits};
use crate::config::names::Network;

/// What new connections are counted in.
const MINUTE: Duration = Duration::from_secs(60);

/// Why a connection may not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// `limits.connections_max` is reached.
    House,
    /// `limits.connections_per_address_max` is reached.
    Address,
    /// `door.connections_per_network_max` is reached.
    Network,
    /// `door.connections_per_minute_address` is reached.
    AddressRate,
    /// `door.connections_per_minute_network` is reached.
    NetworkRate,
    /// The address guessed too many passwords (`limits.login_failures_ban`).
    Banned,
}

impl Full {
    /// The setting.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::House => "limits.connections_max",
            Self::Address => "limits.connections_per_address_max",
            Self::Network => "door.connections_per_network_max",
            Self::AddressRate => "door.connections_per_minute_address",
            Self::NetworkRate => "door.connections_per_minute_network",
            Self::Banned => "limits.login_failures_ban",
        }
    }

    /// The reason in words, naming the setting.
    #[must_use]
    pub fn reason(self) -> String {
        match self {
            Self::Banned => format!("too many failed logins ({})", self.rule()),
            _ => format!("{} is reached", self.rule()),
        }
    }
}

/// Counts open connections.
#[derive(Debug)]
pub struct Gate {
    open: Mutex<Open>,
    house_max: u64,
    address_max: u64,
    network_max: u64,
    prefixes: Prefixes,
    trusted: Vec<Network>,
}

#[derive(Debug)]
struct Open {
    house: u64,
    addresses: HashMap<IpAddr, u64>,
    networks: HashMap<IpAddr, u64>,
    address_rates: Rates<IpAddr>,
    network_rates: Rates<IpAddr>,
}

/// The right to be connected; dropping it gives the place back.
#[derive(Debug)]
pub struct Pass {
    gate: Arc<Gate>,
    /// Who has it, where that is counted.
    of: Option<IpAddr>,
}

impl Gate {
    /// A gate by these settings.
    #[must_use]
    pub fn new(limits: &Limits, rules: &DoorRules) -> Arc<Self> {
        let rates = |count| Rates::new(count, MINUTE, rules.counted_max);
        let open = Open {
            house: 0,
            addresses: HashMap::new(),
            networks: HashMap::new(),
            address_rates: rates(rules.connections_per_minute_address),
            network_rates: rates(rules.connections_per_minute_network),
        };
        let no_limit = |max: u64| if max == 0 { u64::MAX } else { max };
        Arc::new(Self {
            open: Mutex::new(open),
            house_max: limits.connections_max,
            address_max: limits.connections_per_address_max,
            network_max: no_limit(rules.connections_per_network_max),
            prefixes: Prefixes::new(rules),
            trusted: rules.trusted_networks.clone(),
        })
    }

    /// Lets a connection in, or says which limit is reached.
    ///
    /// # Errors
    /// Which of the limits is reached.
    pub fn enter(self: &Arc<Self>, now: Instant, address: IpAddr) -> Result<Pass, Full> {
        let mut pass = self.enter_unknown()?;
        pass.name(now, address)?;
        Ok(pass)
    }

    /// Lets a connection in of which is not known yet where it comes from.
    ///
    /// # Errors
    /// The house is full.
    pub fn enter_unknown(self: &Arc<Self>) -> Result<Pass, Full> {
        let mut open = self.open();
        if open.house >= self.house_max {
            return Err(Full::House);
        }
        open.house += 1;
        drop(open);
        Ok(Pass { gate: Arc::clone(self), of: None })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// Says where the connection comes from, once.
    ///
    /// # Errors
    /// Which limit of that address or its network is reached.
    pub fn name(&mut self, now: Instant, address: IpAddr) -> Result<(), Full> {
        let gate = &self.gate;
        let canonical = address.to_canonical();
        if gate.trusted.iter().any(|network| network.contains(canonical)) {
            return Ok(());
        }
        let (one, network) = (gate.prefixes.address(address), gate.prefixes.network(address));
        let mut open = gate.open();
        let Open { addresses, networks, address_rates, network_rates, .. } = &mut *open;
        // Attempts count whether they succeed or not: who comes too often stays away that way.
        address_rates.take(now, one).map_err(|_| Full::AddressRate)?;
        network_rates.take(now, network).map_err(|_| Full::NetworkRate)?;
        let count = |counts: &HashMap<IpAddr, u64>, of| counts.get(&of).copied().unwrap_or(0);
        if count(addresses, one) >= gate.address_max {
            return Err(Full::Address);
        }
        if count(networks, network) >= gate.network_max {
            return Err(Full::Network);
        }
        *addresses.entry(one).or_default() += 1;
        *networks.entry(network).or_default() += 1;
        drop(open);
        self.of = Some(address);
        Ok(())
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let prefixes = self.gate.prefixes;
        let mut open = self.gate.open();
        open.house = open.house.saturating_sub(1);
        let Some(address) = self.of else { return };
        give_back(&mut open.addresses, prefixes.address(address));
        give_back(&mut open.networks, prefixes.network(address));
    }
}

/// One less is open; who has none is forgotten.
fn give_back(counts: &mut HashMap<IpAddr, u64>, of: IpAddr) {
    if let Some(count) = counts.get_mut(&of) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&of);
        }
    }
}

/// What counts as one address where passwords are guessed: an IPv4 address, or an IPv6 /64, which
/// one customer usually has whole (RFC 6177 2).
pub(super) fn network(address: IpAddr) -> IpAddr {
    Prefixes::USUAL.address(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn gate(house: u64, address: u64, network: u64) -> Arc<Gate> {
        let limits = Limits {
            connections_max: house,
            connections_per_address_max: address,
            ..Limits::default()
        };
        let rules = DoorRules { connections_per_network_max: network, ..DoorRules::default() };
        Gate::new(&limits, &rules)
    }

    #[test]
    fn all_limits_hold_and_passes_come_back() {
        let (gate, now) = (gate(4, 2, 3), Instant::now());
        let enter = |address: &str| gate.enter(now, ip(address));
        let first = enter("192.0.2.1").expect("room");
        let _second = enter("::ffff:192.0.2.1").expect("room");
        assert_eq!(enter("192.0.2.1").expect_err("two are in"), Full::Address);
        let _third = enter("192.0.2.2").expect("room");
        assert_eq!(enter("192.0.2.3").expect_err("three of the network"), Full::Network);
        let _fourth = enter("198.51.100.1").expect("room");
        assert_eq!(enter("203.0.113.1").expect_err("four are in"), Full::House);
        drop(first);
        assert!(enter("192.0.2.1").is_ok());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let (gate, now) = (gate(9, 1, 2), Instant::now());
        let _pass = gate.enter(now, ip("2001:db8::1")).expect("room");
        assert_eq!(gate.enter(now, ip("2001:db8::2")).expect_err("one is in"), Full::Address);
        let _pass = gate.enter(now, ip("2001:db8:0:1::1")).expect("room");
        assert_eq!(gate.enter(now, ip("2001:db8:0:2::1")).expect_err("two"), Full::Network);
        assert!(gate.enter(now, ip("2001:db8:1::1")).is_ok());
    }

    #[test]
    fn who_comes_too_often_waits() {
        let rules = DoorRules {
            connections_per_minute_address: 2,
            connections_per_minute_network: 3,
            ..DoorRules::default()
        };
        let (gate, now) = (Gate::new(&Limits::default(), &rules), Instant::now());
        let enter = |now, address: &str| gate.enter(now, ip(address)).map(drop);
        assert_eq!(enter(now, "192.0.2.1"), Ok(()));
        assert_eq!(enter(now, "192.0.2.1"), Ok(()));
        assert_eq!(enter(now, "192.0.2.1"), Err(Full::AddressRate));
        assert_eq!(enter(now, "192.0.2.2"), Ok(()));
        assert_eq!(enter(now, "192.0.2.3"), Err(Full::NetworkRate));
        assert_eq!(enter(now, "127.0.0.1"), Ok(()));
        assert!((0..100).all(|_| enter(now, "127.0.0.1").is_ok()), "this machine is trusted");
        assert_eq!(enter(now + MINUTE / 2, "192.0.2.1"), Ok(()));
    }

    #[test]
    fn nothing_is_kept_of_those_who_left() {
        let gate = gate(9, 9, 9);
        drop(gate.enter(Instant::now(), ip("192.0.2.1")));
        drop(gate.enter_unknown());
        let open = gate.open();
        assert!(open.addresses.is_empty() && open.networks.is_empty());
        assert_eq!(open.house, 0);
    }
}
