//! Kinds of values that settings hold as text: addresses of name servers.
//!
//! Invariant: whoever holds one holds something that can be used as it is.

use std::net::{AddrParseError, IpAddr, SocketAddr};
use std::str::FromStr;

/// Port of name servers (RFC 1035 4.2).
const DNS_PORT: u16 = 53;

/// Where a name server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nameserver(pub SocketAddr);

impl FromStr for Nameserver {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let with_port = |address: IpAddr| SocketAddr::new(address, DNS_PORT);
        text.parse().map(with_port).or_else(|_| text.parse()).map(Self)
    }
}
