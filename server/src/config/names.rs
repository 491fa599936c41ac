//! Kinds of values that settings hold as text: addresses of name servers, domains, networks, spans
//! of time, addresses to send from.
//!
//! Invariant: whoever holds one holds something that can be used as it is.

use std::fmt;
use std::net::{AddrParseError, IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use grace_mail::address::{self, AddressError, Charset};

/// Port of name servers (RFC 1035 4.2).
const DNS_PORT: u16 = 53;

/// Where a name server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nameserver(pub SocketAddr);

impl Nameserver {
    /// The one of this machine.
    pub const LOCAL: Self =
        Self(SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), DNS_PORT));
}

impl FromStr for Nameserver {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let with_port = |address: IpAddr| SocketAddr::new(address, DNS_PORT);
        text.parse().map(with_port).or_else(|_| text.parse()).map(Self)
    }
}

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A text that is no span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSpan;

impl FromStr for Span {
    type Err = NoSpan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, unit_s) = match text.split_at_checked(text.len().saturating_sub(1)) {
            Some((number, "s")) => (number, 1),
            Some((number, "m")) => (number, 60),
            Some((number, "h")) => (number, 3_600),
            Some((number, "d")) => (number, 86_400),
            _ => return Err(NoSpan),
        };
        let count: u64 = number.parse().map_err(|_| NoSpan)?;
        count.checked_mul(unit_s).map(|s| Self(Duration::from_secs(s))).ok_or(NoSpan)
    }
}

/// An address of this machine that mail is sent from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The address.
    pub address: IpAddr,
    /// What we call ourselves there (RFC 5321 4.1.1.1); none: what we do everywhere.
    pub name: Option<String>,
}

/// A text that is no address to send from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSource;

/// `192.0.2.1`, or `192.0.2.1=out.example.org`.
impl FromStr for Source {
    type Err = NoSource;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, name) = match text.split_once('=') {
            Some((address, name)) => {
                let name = address::Domain::parse(name, Charset::Ascii).map_err(|_| NoSource)?;
                (address, Some(name.as_str().to_owned()))
            }
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NoSource)?;
        // From nowhere nothing can be sent, and what goes to many comes from none of them.
        let is_one = !address.is_unspecified() && !address.is_multicast();
        is_one.then_some(Self { address, name }).ok_or(NoSource)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}={name}", self.address),
            None => self.address.fmt(f),
        }
    }
}

/// One of IPv4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceV4(pub Source);

impl FromStr for SourceV4 {
    type Err = NoSource;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let source: Source = text.parse()?;
        source.address.is_ipv4().then_some(Self(source)).ok_or(NoSource)
    }
}

/// One of IPv6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceV6(pub Source);

impl FromStr for SourceV6 {
    type Err = NoSource;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let source: Source = text.parse()?;
        source.address.is_ipv6().then_some(Self(source)).ok_or(NoSource)
    }
}

/// A domain and all below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain(address::Domain);

impl Domain {
    /// Whether a name, lower case as A-labels, is this domain or stands below it.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        let above = name.strip_suffix(self.0.as_str());
        above.is_some_and(|labels| labels.is_empty() || labels.ends_with('.'))
    }
}

impl FromStr for Domain {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        address::Domain::parse(text, Charset::Utf8).map(Self)
    }
}

/// Addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: u128,
    /// How many bits are alike, counted over an IPv6 address.
    bits: u32,
}

impl Network {
    /// How many leading bits are alike, counted over an IPv6 address.
    #[must_use]
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// How many leading bits of an IPv4 address are alike; `None`: it is no network of IPv4.
    #[must_use]
    pub fn ipv4_bits(&self) -> Option<u32> {
        let is_ipv4 = Ipv6Addr::from_bits(self.base).to_ipv4_mapped().is_some();
        self.bits.checked_sub(Ipv6Addr::BITS - 32).filter(|_| is_ipv4)
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let different = wide(address) ^ self.base;
        different.leading_zeros() >= self.bits
    }
}

/// An address as one number; those of IPv4 are those that IPv6 maps.
fn wide(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// `192.0.2.0/24`, `2001:db8::/32`, or one address.
impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (base, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let base: IpAddr = base.parse().map_err(|_| ())?;
        let width = if base.is_ipv4() { 32 } else { Ipv6Addr::BITS };
        let bits = bits.map_or(Ok(width), |bits| bits.parse::<u32>().map_err(|_| ()))?;
        let unused = Ipv6Addr::BITS - width;
        if bits > width {
            return Err(());
        }
        Ok(Self { base: wide(base), bits: bits + unused })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_and_written() {
        for text in ["192.0.2.1", "2001:db8::1", "192.0.2.1=out.example.org"] {
            assert_eq!(
                text.parse::<Source>().map(|source| source.to_string()),
                Ok(text.to_owned())
            );
        }
        for text in ["", "out.example.org", "192.0.2.1=", "192.0.2.1=a b", "0.0.0.0", "ff02::1"] {
            assert_eq!(text.parse::<Source>(), Err(NoSource), "{text}");
        }
        assert!("192.0.2.1".parse::<SourceV4>().is_ok() && "::1".parse::<SourceV4>().is_err());
        assert!("192.0.2.1".parse::<SourceV6>().is_err() && "::1".parse::<SourceV6>().is_ok());
    }

    #[test]
    fn spans_are_read() {
        let seconds = |text: &str| text.parse::<Span>().map(|span| span.0.as_secs());
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("5m"), Ok(300));
        assert_eq!(seconds("2h"), Ok(7_200));
        assert_eq!(seconds("1d"), Ok(86_400));
        for text in ["", "5", "m", "5 m", "-1m", "1.5h", "99999999999999999999s", "5mo"] {
            assert_eq!(seconds(text), Err(NoSpan), "{text:?}");
        }
    }

    #[test]
    fn a_network_has_addresses() {
        let has = |network: &str, address: &str| {
            let network: Network = network.parse().expect("a network");
            network.contains(address.parse().expect("an address"))
        };
        assert!(has("127.0.0.0/8", "127.1.2.3"));
        assert!(!has("127.0.0.0/8", "128.0.0.1"));
        assert!(has("127.0.0.1/8", "127.1.2.3"), "the rest of the base does not count");
        assert!(has("192.0.2.1", "192.0.2.1"));
        assert!(!has("192.0.2.1", "192.0.2.2"));
        assert!(has("2001:db8::/32", "2001:db8:1::1"));
        assert!(!has("2001:db8::/32", "2001:db9::1"));
        assert!(has("0.0.0.0/0", "255.255.255.255"));
        assert!(!has("0.0.0.0/0", "2001:db8::1"));
        assert!(has("::/0", "192.0.2.1"));
        assert!(has("192.0.2.0/24", "::ffff:192.0.2.9"));
        for wrong in ["", "a", "1.2.3.4/33", "::/129", "1.2.3.4/", "1.2.3.4/-1"] {
            assert_eq!(wrong.parse::<Network>(), Err(()), "{wrong:?}");
        }
    }

    #[test]
    fn a_domain_covers_what_is_below() {
        let domain: Domain = "Example.ORG".parse().expect("a domain");
        assert!(domain.covers("example.org") && domain.covers("a.b.example.org"));
        assert!(!domain.covers("anexample.org") && !domain.covers("org") && !domain.covers(""));
    }
}
