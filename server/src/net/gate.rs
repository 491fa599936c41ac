//! How many connections may be open, over all and per address.
//!
//! Invariant: every pass handed out is counted until it is dropped, whatever ends the session.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why a connection may not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// `limits.connections_max` is reached.
    House,
    /// `limits.connections_per_address_max` is reached.
    Address,
    /// The address guessed too many passwords (`limits.login_failures_ban`).
    Banned,
}

impl Full {
    /// The reason in words, naming the setting.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::House => "limits.connections_max is reached",
            Self::Address => "limits.connections_per_address_max is reached",
            Self::Banned => "too many failed logins (limits.login_failures_ban)",
        }
    }
}

/// Counts open connections.
#[derive(Debug)]
pub struct Gate {
    open: Mutex<Open>,
    house_max: u64,
    address_max: u64,
}

#[derive(Debug, Default)]
struct Open {
    house: u64,
    addresses: HashMap<IpAddr, u64>,
}

/// The right to be connected; dropping it gives the place back.
#[derive(Debug)]
pub struct Pass {
    gate: Arc<Gate>,
    address: IpAddr,
}

impl Gate {
    /// A gate with its two limits.
    #[must_use]
    pub fn new(house_max: u64, address_max: u64) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), house_max, address_max })
    }

    /// Lets a connection in, or says which limit is reached.
    ///
    /// # Errors
    /// Which of the two limits is reached.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Pass, Full> {
        let address = network(address);
        let mut open = self.open();
        if open.house >= self.house_max {
            return Err(Full::House);
        }
        let count = open.addresses.entry(address).or_default();
        if *count >= self.address_max {
            return Err(Full::Address);
        }
        *count += 1;
        open.house += 1;
        drop(open);
        Ok(Pass { gate: Arc::clone(self), address })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut open = self.gate.open();
        open.house = open.house.saturating_sub(1);
        if let Some(count) = open.addresses.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.addresses.remove(&self.address);
            }
        }
    }
}

/// What counts as one address: an IPv4 address, or an IPv6 /64, which one customer usually has
/// whole (RFC 6177 2).
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn both_limits_hold_and_passes_come_back() {
        let gate = Gate::new(3, 2);
        let first = gate.enter(ip("192.0.2.1")).expect("room");
        let _second = gate.enter(ip("::ffff:192.0.2.1")).expect("room");
        assert_eq!(gate.enter(ip("192.0.2.1")).expect_err("two are in"), Full::Address);
        let _third = gate.enter(ip("192.0.2.2")).expect("room");
        assert_eq!(gate.enter(ip("192.0.2.3")).expect_err("three are in"), Full::House);
        drop(first);
        assert!(gate.enter(ip("192.0.2.1")).is_ok());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let gate = Gate::new(9, 1);
        let _pass = gate.enter(ip("2001:db8::1")).expect("room");
        assert!(gate.enter(ip("2001:db8::2")).is_err());
        assert!(gate.enter(ip("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn nothing_is_kept_of_those_who_left() {
        let gate = Gate::new(9, 9);
        drop(gate.enter(ip("192.0.2.1")));
        assert!(gate.open().addresses.is_empty());
        assert_eq!(gate.open().house, 0);
    }
}
