//! What counts as one address and as one network.
//!
//! Not here: networks that settings name (`config::names`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::limits::DoorRules;

/// How many leading bits are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefixes {
    ipv4_network: u32,
    ipv6_address: u32,
    ipv6_network: u32,
}

impl Prefixes {
    /// As the settings have it where they say nothing.
    pub(super) const USUAL: Self = Self { ipv4_network: 24, ipv6_address: 64, ipv6_network: 48 };

    /// By these settings.
    #[must_use]
    pub fn new(rules: &DoorRules) -> Self {
        let bits = |bits: u64| u32::try_from(bits).unwrap_or(u32::MAX);
        Self {
            ipv4_network: bits(rules.ipv4_network_bits),
            ipv6_address: bits(rules.ipv6_address_bits),
            ipv6_network: bits(rules.ipv6_network_bits),
        }
    }

    /// What counts as one address: an address of IPv4, or the beginning of one of IPv6.
    #[must_use]
    pub fn address(self, address: IpAddr) -> IpAddr {
        cut(address, Ipv4Addr::BITS, self.ipv6_address)
    }

    /// What counts as one network.
    #[must_use]
    pub fn network(self, address: IpAddr) -> IpAddr {
        cut(address, self.ipv4_network, self.ipv6_network)
    }
}

/// The address with the bits behind its first ones cleared.
fn cut(address: IpAddr, ipv4_bits: u32, ipv6_bits: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(Ipv4Addr::BITS.saturating_sub(ipv4_bits));
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask.unwrap_or_default()))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(Ipv6Addr::BITS.saturating_sub(ipv6_bits));
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask.unwrap_or_default()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_cut() {
        let prefixes = Prefixes::new(&DoorRules::default());
        assert_eq!(prefixes, Prefixes::USUAL);
        let check = |address: &str, one: &str, network: &str| {
            let address: IpAddr = address.parse().expect("an address");
            let found = (prefixes.address(address), prefixes.network(address));
            let wanted = (one.parse().expect("one"), network.parse().expect("one"));
            assert_eq!(found, wanted, "{address}");
        };
        check("192.0.2.77", "192.0.2.77", "192.0.2.0");
        check("::ffff:192.0.2.77", "192.0.2.77", "192.0.2.0");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", "2001:db8:1::");
        assert_eq!(cut(IpAddr::V4(Ipv4Addr::BROADCAST), 0, 0), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        assert_eq!(
            cut("::1".parse().expect("one"), 32, 128),
            "::1".parse::<IpAddr>().expect("one")
        );
    }
}
