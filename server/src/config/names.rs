//! Kinds of values that settings hold as text: addresses of name servers, spans of time.
//!
//! Invariant: whoever holds one holds something that can be used as it is.

use std::net::{AddrParseError, IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
