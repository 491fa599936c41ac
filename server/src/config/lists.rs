//! Kinds of values that settings of `[door]` hold as text: DNS lists, and networks that may relay.
//!
//! Invariant: no network that may relay is the whole Internet or a large part of it.
//! Not here: asking a list (`guard`).

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use grace_mail::address::{Charset, Domain};

use super::names::Network;

/// Answers that list nothing but say that the list cannot be asked like this: public resolvers, or
/// too many questions (the convention of the large lists).
const REFUSALS: RangeInclusive<Ipv4Addr> =
    Ipv4Addr::new(127, 255, 255, 0)..=Ipv4Addr::new(127, 255, 255, 255);
/// What lists an address where nothing else is expected. 127.0.0.1 lists nothing: it is what a
/// list answers that wants to be left alone (RFC 5782 2.1 has 127.0.0.2 for a first answer).
const USUAL: RangeInclusive<Ipv4Addr> =
    Ipv4Addr::new(127, 0, 0, 2)..=Ipv4Addr::new(127, 255, 254, 255);
/// Where all answers of lists lie (RFC 5782 2.1).
const LOOPBACK: RangeInclusive<Ipv4Addr> =
    Ipv4Addr::new(127, 0, 0, 0)..=Ipv4Addr::new(127, 255, 255, 255);

/// A DNS list of addresses (RFC 5782): `zen.example.org`, or with the answers that count,
/// `zen.example.org=127.0.0.2-127.0.0.11,127.0.0.20`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsList {
    zone: Domain,
    answers: Vec<RangeInclusive<Ipv4Addr>>,
}

/// A text that is no list, or no network that may relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unusable;

/// What a list says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// The address is not on it.
    Nothing,
    /// The address is on it; the answer that says so.
    Listed(Ipv4Addr),
    /// It does not do what a list does; the answer that shows it.
    Unusable(Ipv4Addr),
}

impl DnsList {
    /// Its name in the DNS.
    #[must_use]
    pub fn zone(&self) -> &str {
        self.zone.as_str()
    }

    /// What its answers mean.
    #[must_use]
    pub fn says(&self, answers: &[Ipv4Addr]) -> Says {
        let counts =
            |&&answer: &&Ipv4Addr| self.answers.iter().any(|range| range.contains(&answer));
        if let Some(&answer) = answers.iter().find(counts) {
            return Says::Listed(answer);
        }
        // A zone that was given up and sold answers every question with its new owner's address.
        let is_strange =
            |&&answer: &&Ipv4Addr| REFUSALS.contains(&answer) || !LOOPBACK.contains(&answer);
        answers.iter().find(is_strange).map_or(Says::Nothing, |&answer| Says::Unusable(answer))
    }
}

impl FromStr for DnsList {
    type Err = Unusable;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (zone, answers) = text.split_once('=').map_or((text, None), |(z, a)| (z, Some(a)));
        let zone = Domain::parse(zone.trim(), Charset::Utf8).map_err(|_| Unusable)?;
        let answers = match answers {
            None => vec![USUAL],
            Some(answers) => answers.split(',').map(range).collect::<Result<_, _>>()?,
        };
        Ok(Self { zone, answers })
    }
}

/// `127.0.0.2`, or `127.0.0.2-127.0.0.11`.
fn range(text: &str) -> Result<RangeInclusive<Ipv4Addr>, Unusable> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let address = |text: &str| text.trim().parse::<Ipv4Addr>().map_err(|_| Unusable);
    let range = address(first)?..=address(last)?;
    let is_answer = LOOPBACK.contains(range.start()) && LOOPBACK.contains(range.end());
    if range.is_empty() || !is_answer { Err(Unusable) } else { Ok(range) }
}

/// A network that may send to anywhere without a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayNetwork(pub Network);

/// Fewest leading bits of such a network. The largest that one house can have is 10.0.0.0/8
/// (RFC 1918 3), or fd00::/8 (RFC 4193 3.1); whoever writes a larger one has made a mistake, and
/// would be an open relay.
const RELAY_BITS_MIN: u32 = 8;

impl FromStr for RelayNetwork {
    type Err = Unusable;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network: Network = text.parse().map_err(|()| Unusable)?;
        // All of IPv4 has its place in IPv6, too, and a network may be written around it.
        let has_all_ipv4 =
            network.ipv4_bits().is_none() && network.contains(Ipv4Addr::UNSPECIFIED.into());
        let bits = network.ipv4_bits().unwrap_or(network.bits());
        if bits < RELAY_BITS_MIN || has_all_ipv4 { Err(Unusable) } else { Ok(Self(network)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(list: &str, answers: &[&str]) -> Says {
        let list: DnsList = list.parse().expect("a list");
        let answers: Vec<Ipv4Addr> = answers.iter().map(|a| a.parse().expect("IPv4")).collect();
        list.says(&answers)
    }

    fn listed(answer: &str) -> Says {
        Says::Listed(answer.parse().expect("IPv4"))
    }

    #[test]
    fn a_list_says_what_was_agreed() {
        assert_eq!(says("bl.example", &["127.0.0.2"]), listed("127.0.0.2"));
        assert_eq!(says("bl.example", &["127.0.0.1"]), Says::Nothing);
        assert_eq!(says("bl.example", &[]), Says::Nothing);
        let some = "bl.example=127.0.0.2-127.0.0.11, 127.0.0.20";
        assert_eq!(says(some, &["127.0.0.11"]), listed("127.0.0.11"));
        assert_eq!(says(some, &["127.0.0.12", "127.0.0.20"]), listed("127.0.0.20"));
        assert_eq!(says(some, &["127.0.0.12"]), Says::Nothing);
    }

    #[test]
    fn a_list_that_does_not_answer_us_lists_nobody() {
        for answer in ["127.255.255.254", "127.255.255.252", "192.0.2.1", "0.0.0.0"] {
            let unusable = Says::Unusable(answer.parse().expect("IPv4"));
            assert_eq!(says("bl.example", &[answer]), unusable, "{answer}");
            assert_eq!(says("bl.example=127.0.0.2", &[answer]), unusable, "{answer}");
        }
        let wanted = "bl.example=127.255.255.254";
        assert_eq!(says(wanted, &["127.255.255.254"]), listed("127.255.255.254"));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["", "=127.0.0.2", "bl.example=", "bl.example=127.0.0.9-127.0.0.2"] {
            assert_eq!(text.parse::<DnsList>(), Err(Unusable), "{text:?}");
        }
        for text in ["bl.example=192.0.2.1", "bl.example=127.0.0.2-", "a b", "b..c", "x=y"] {
            assert_eq!(text.parse::<DnsList>(), Err(Unusable), "{text:?}");
        }
    }

    #[test]
    fn nobody_relays_for_the_world_by_mistake() {
        for text in [
            "0.0.0.0/0",
            "0.0.0.0/1",
            "128.0.0.0/1",
            "10.0.0.0/7",
            "::/0",
            "::/8",
            "::/80",
            "2000::/3",
            "::ffff:0.0.0.0/96",
            "::ffff:128.0.0.0/97",
            "::ffff:0:0/90",
            "nonsense",
        ] {
            assert_eq!(text.parse::<RelayNetwork>(), Err(Unusable), "{text:?}");
        }
        for text in [
            "10.0.0.0/8",
            "192.0.2.1",
            "0.0.0.0/8",
            "::ffff:10.0.0.0/104",
            "fd00::/8",
            "2001:db8::/32",
            "::1",
        ] {
            assert!(text.parse::<RelayNetwork>().is_ok(), "{text:?}");
        }
    }
}
