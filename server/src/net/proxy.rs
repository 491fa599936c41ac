//! The PROXY protocol, version 2 (HAProxy's `proxy-protocol.txt`): a proxy says whom it speaks for.
//!
//! ```text
//!   0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A │ 2, command │ family, kind │ length │ addresses │ TLVs
//!                                    12 │          1 │            1 │      2 │         length
//! ```
//! Invariants: what is read is a header, or nothing of the connection is believed; not a byte
//! behind it is taken, for there begins TLS or the dialogue; memory is bounded by
//! `REST_BYTES_MAX`.
//! Not here: who may say it (`listen.proxy_networks`), what follows from the address (`listener`).

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crc_fast::CrcAlgorithm;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How each header begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// How a header of version 1 begins.
const VERSION_1: &[u8] = b"PROXY ";
/// Bytes up to the length.
const HEAD_BYTES: usize = 16;
/// Longest rest that is read: addresses have 216 bytes at most, and what proxies add (names, a
/// client's certificate in short) some hundred.
const REST_BYTES_MAX: usize = 4_096;
/// Type of the checksum (2.2.3 `PP2_TYPE_CRC32C`).
const TYPE_CRC32C: u8 = 0x03;
/// Bytes of addresses by family (2.2).
const INET_BYTES: usize = 12;
const INET6_BYTES: usize = 36;
const UNIX_BYTES: usize = 216;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The proxy speaks for itself, as when it looks whether we are alive; or for somebody without
    /// an IP address. The connection's own addresses hold.
    Proxy,
    /// It speaks for somebody.
    Peer {
        /// Where the peer comes from.
        from: SocketAddr,
        /// What it reached.
        to: SocketAddr,
    },
}

/// Why there is no header.
#[derive(Debug)]
pub enum Failure {
    /// The connection ended or broke.
    Lost(io::Error),
    /// A header of version 1.
    Version1,
    /// Something else.
    NoHeader(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(error) => write!(f, "no header of the PROXY protocol: {error}"),
            Self::Version1 => {
                f.write_str("a header of the PROXY protocol, version 1: set the proxy to version 2")
            }
            Self::NoHeader(what) => write!(f, "no header of the PROXY protocol: {what}"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lost(error) => Some(error),
            Self::Version1 | Self::NoHeader(_) => None,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

/// Reads a header, and no byte more.
///
/// # Errors
/// There is none, or it makes no sense.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Origin, Failure> {
    let mut header = vec![0; HEAD_BYTES];
    // Not all of it at once: what is no header may be shorter, and its sender waits for us.
    let (signature, rest) = header.split_at_mut(SIGNATURE.len());
    stream.read_exact(signature).await?;
    if signature.starts_with(VERSION_1) {
        return Err(Failure::Version1);
    }
    if signature != SIGNATURE {
        return Err(Failure::NoHeader("it begins with something else"));
    }
    stream.read_exact(rest).await?;
    let rest_bytes = match rest {
        [_, _, high, low] => usize::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    };
    if rest_bytes > REST_BYTES_MAX {
        return Err(Failure::NoHeader("it is too long"));
    }
    header.resize(HEAD_BYTES + rest_bytes, 0);
    stream.read_exact(header.get_mut(HEAD_BYTES..).unwrap_or_default()).await?;
    parse(&header)
}

/// What a whole header says.
fn parse(header: &[u8]) -> Result<Origin, Failure> {
    let no = Failure::NoHeader;
    let head = header.strip_prefix(&SIGNATURE).ok_or(no("it begins with something else"))?;
    let [version, family, high, low, rest @ ..] = head else { return Err(no("it is cut off")) };
    if usize::from(u16::from_be_bytes([*high, *low])) != rest.len() {
        return Err(no("its length is wrong"));
    }
    if version >> 4 != 2 {
        return Err(no("it has another version"));
    }
    let cut_off = || no("its addresses are cut off");
    let (origin, values) = match (version & 0xF, family >> 4) {
        // 2.2: a receiver must take LOCAL whatever the family is, and skip the rest.
        (0, _) => return Ok(Origin::Proxy),
        (1, 0) => (Origin::Proxy, rest),
        (1, 1) => {
            let (addresses, values) = rest.split_at_checked(INET_BYTES).ok_or_else(cut_off)?;
            (inet(addresses).ok_or_else(cut_off)?, values)
        }
        (1, 2) => {
            let (addresses, values) = rest.split_at_checked(INET6_BYTES).ok_or_else(cut_off)?;
            (inet6(addresses).ok_or_else(cut_off)?, values)
        }
        (1, 3) => (Origin::Proxy, rest.get(UNIX_BYTES..).ok_or_else(cut_off)?),
        (1, _) => return Err(no("its address family is unknown")),
        _ => return Err(no("its command is unknown")),
    };
    if matches!(origin, Origin::Peer { .. }) && family & 0xF != 1 {
        return Err(no("it is not about TCP"));
    }
    check_values(header, header.len() - values.len())?;
    Ok(origin)
}

fn inet(addresses: &[u8]) -> Option<Origin> {
    let (from, rest) = addresses.split_first_chunk::<4>()?;
    let (to, rest) = rest.split_first_chunk::<4>()?;
    ports(Ipv4Addr::from(*from).into(), Ipv4Addr::from(*to).into(), rest)
}

fn inet6(addresses: &[u8]) -> Option<Origin> {
    let (from, rest) = addresses.split_first_chunk::<16>()?;
    let (to, rest) = rest.split_first_chunk::<16>()?;
    let address = |bytes: &[u8; 16]| IpAddr::from(Ipv6Addr::from(*bytes)).to_canonical();
    ports(address(from), address(to), rest)
}

fn ports(from: IpAddr, to: IpAddr, ports: &[u8]) -> Option<Origin> {
    let [a, b, c, d] = *ports else { return None };
    let at = |address, high, low| SocketAddr::new(address, u16::from_be_bytes([high, low]));
    Some(Origin::Peer { from: at(from, a, b), to: at(to, c, d) })
}

/// Looks over what follows the addresses (2.2.1): it must be whole, and a checksum must be right.
fn check_values(header: &[u8], begin: usize) -> Result<(), Failure> {
    let mut at = begin;
    while let Some([kind, high, low, rest @ ..]) = header.get(at..) {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let value = rest.get(..length).ok_or(Failure::NoHeader("a value is cut off"))?;
        if *kind == TYPE_CRC32C && !is_whole(header, at + 3, value) {
            return Err(Failure::NoHeader("its checksum is wrong"));
        }
        at += 3 + length;
    }
    if at == header.len() { Ok(()) } else { Err(Failure::NoHeader("a value is cut off")) }
}

/// Whether this is the CRC-32C of the header with the sum itself as zeros (2.2.3).
fn is_whole(header: &[u8], at: usize, sum: &[u8]) -> bool {
    let mut blank = header.to_vec();
    let Some(place) = blank.get_mut(at..at + sum.len()) else { return false };
    place.fill(0);
    let expected = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, &blank);
    <[u8; 4]>::try_from(sum).is_ok_and(|sum| u64::from(u32::from_be_bytes(sum)) == expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: u8 = 0x21;
    const LOCAL: u8 = 0x20;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("it fits").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    fn of(from: SocketAddr, to: SocketAddr, values: &[u8]) -> Vec<u8> {
        let mut rest = Vec::new();
        let family = match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                rest.extend([from.octets(), to.octets()].concat());
                0x11
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                rest.extend([from.octets(), to.octets()].concat());
                0x21
            }
            _ => panic!("two families"),
        };
        rest.extend([from.port().to_be_bytes(), to.port().to_be_bytes()].concat());
        rest.extend(values);
        header(PROXY, family, &rest)
    }

    fn value(kind: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).expect("it fits").to_be_bytes();
        [&[kind], &length[..], bytes].concat()
    }

    /// The header with its checksum filled in.
    fn summed(from: SocketAddr, to: SocketAddr, before: &[u8]) -> Vec<u8> {
        let mut header = of(from, to, &[before, &value(TYPE_CRC32C, &[0; 4])].concat());
        let sum = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, &header);
        let sum = u32::try_from(sum).expect("32 bits").to_be_bytes();
        let at = header.len() - 4;
        header[at..].copy_from_slice(&sum);
        header
    }

    async fn read_all(bytes: &[u8]) -> (Result<Origin, String>, usize) {
        let mut rest = bytes;
        let found = read(&mut rest).await.map_err(|failure| failure.to_string());
        (found, rest.len())
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[tokio::test]
    async fn who_is_spoken_for_is_read_and_not_a_byte_more() {
        let values = [value(0x04, &[0; 9]), value(0x01, b"smtp")].concat();
        for (from, to) in [
            (at("192.0.2.1:5000"), at("198.51.100.1:25")),
            (at("[2001:db8::1]:5000"), at("[2001:db8::2]:25")),
        ] {
            for header in [of(from, to, b""), of(from, to, &values), summed(from, to, &values)] {
                let bytes = [header, b"EHLO x\r\n".to_vec()].concat();
                assert_eq!(read_all(&bytes).await, (Ok(Origin::Peer { from, to }), 8));
            }
        }
        let mapped = of(at("[::ffff:192.0.2.1]:5000"), at("[2001:db8::2]:25"), b"");
        let (from, to) = (at("192.0.2.1:5000"), at("[2001:db8::2]:25"));
        assert_eq!(read_all(&mapped).await.0, Ok(Origin::Peer { from, to }));
    }

    #[tokio::test]
    async fn a_proxy_may_speak_for_itself() {
        for bytes in [
            header(LOCAL, 0x00, b""),
            header(LOCAL, 0x11, b"whatever"),
            header(PROXY, 0x00, b""),
            header(PROXY, 0x31, &[7; UNIX_BYTES]),
        ] {
            assert_eq!(read_all(&bytes).await, (Ok(Origin::Proxy), 0));
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_told_apart() {
        let (from, to) = (at("192.0.2.1:5000"), at("198.51.100.1:25"));
        let mut broken = summed(from, to, b"");
        *broken.last_mut().expect("bytes") ^= 1;
        let whole = of(from, to, b"");
        for (bytes, expected) in [
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 5000 25\r\n".to_vec(), "version 1: set the"),
            (b"PROXY UNKNOWN\r\n".to_vec(), "version 1"),
            (b"EHLO mail.example.org\r\n".to_vec(), "begins with something else"),
            (b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03\0".to_vec(), "begins with something else"),
            (header(0x31, 0x11, &[0; 12]), "another version"),
            (header(0x22, 0x11, &[0; 12]), "command is unknown"),
            (header(PROXY, 0x41, &[0; 12]), "family is unknown"),
            (header(PROXY, 0x12, &[0; 12]), "not about TCP"),
            (header(PROXY, 0x11, &[0; 11]), "addresses are cut off"),
            (header(PROXY, 0x21, &[0; 12]), "addresses are cut off"),
            (header(PROXY, 0x31, &[0; 12]), "addresses are cut off"),
            (of(from, to, &[4, 0]), "a value is cut off"),
            (of(from, to, &[4, 0, 2, 0]), "a value is cut off"),
            (of(from, to, &value(TYPE_CRC32C, &[0; 3])), "checksum is wrong"),
            (broken, "checksum is wrong"),
            (header(PROXY, 0x11, &[0; REST_BYTES_MAX + 1]), "too long"),
            (whole[..whole.len() - 1].to_vec(), "early eof"),
            (b"\r\n\r\n".to_vec(), "early eof"),
        ] {
            let (found, _) = read_all(&bytes).await;
            let failure = found.expect_err(expected);
            assert!(failure.contains(expected), "{failure} has no {expected:?}");
        }
    }

    /// Random bytes, and headers with some of their bytes changed: nothing panics, and whatever is
    /// taken for a header says the same when it is written anew.
    #[tokio::test]
    async fn garbage_is_refused() {
        let mut chance = 0x9E37_79B9_7F4A_7C15_u64;
        let mut below = |bound: usize| {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            usize::try_from(chance % bound as u64).expect("it fits")
        };
        let byte = |number: usize| u8::try_from(number % 256).expect("a byte");
        let (mut taken, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let mut bytes = match below(3) {
                0 => (0..below(300)).map(|_| byte(below(256))).collect(),
                1 => summed(at("192.0.2.1:5000"), at("198.51.100.1:25"), &value(1, b"smtp")),
                _ => of(at("[2001:db8::1]:5000"), at("[2001:db8::2]:25"), &value(4, &[0; 5])),
            };
            for _ in 0..below(3) {
                if !bytes.is_empty() {
                    let place = below(bytes.len());
                    bytes[place] = byte(below(256));
                }
            }
            bytes.truncate(below(2 * bytes.len() + 1));
            match read_all(&bytes).await.0 {
                Ok(Origin::Peer { from, to }) if from.is_ipv4() == to.is_ipv4() => {
                    let again = read_all(&of(from, to, b"")).await.0;
                    assert_eq!(again, Ok(Origin::Peer { from, to }));
                    taken += 1;
                }
                Ok(_) => taken += 1,
                Err(_) => refused += 1,
            }
        }
        assert!(taken > 1_000 && refused > 1_000, "{taken} taken, {refused} refused");
    }
}
