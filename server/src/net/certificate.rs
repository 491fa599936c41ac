//! What a certificate says of itself (RFC 5280), for people to read.
//!
//! ```text
//!   Certificate { tbs { version, serial, algorithm, issuer, validity, subject, …, extensions } … }
//!                                                                subjectAltName ◀──┘
//! ```
//! Invariants: whatever the bytes are, this ends and says what it could read; nothing is believed
//! for it.
//! Not here: whether a certificate fits and who vouches for it (rustls).

use std::net::{Ipv4Addr, Ipv6Addr};

use grace_mail::date::days_from_civil;

/// Names that are read of one certificate: those of large providers have dozens.
const NAMES_MAX: usize = 100;

/// What a certificate says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Names and addresses it is for; without any the common name of its subject.
    pub names: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// From when on it counts, seconds since 1970 UTC.
    pub from_s: i64,
    /// Until when.
    pub until_s: i64,
}

impl Facts {
    /// Reads a certificate in DER. `None`: it is none.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let mut certificate = Der(Der(der).expect_tag(SEQUENCE)?);
        let mut tbs = Der(certificate.expect_tag(SEQUENCE)?);
        if tbs.peek() == Some(VERSION) {
            tbs.next()?;
        }
        tbs.expect_tag(INTEGER)?;
        tbs.expect_tag(SEQUENCE)?;
        let issuer = Der(tbs.expect_tag(SEQUENCE)?);
        let mut validity = Der(tbs.expect_tag(SEQUENCE)?);
        let (from_s, until_s) = (validity.time()?, validity.time()?);
        let subject = Der(tbs.expect_tag(SEQUENCE)?);
        let mut names = Vec::new();
        while let Some((tag, content)) = tbs.next() {
            if tag == EXTENSIONS {
                names = alternative_names(content).unwrap_or_default();
            }
        }
        if names.is_empty() {
            names.extend(subject.attribute(COMMON_NAME));
        }
        let parts = [COMMON_NAME, ORGANIZATION].map(|kind| issuer.attribute(kind));
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        Some(Self { names, issuer: parts.join(", "), from_s, until_s })
    }
}

/// What stands in a SEQUENCE of DER that fills the bytes (X.690 8.9).
#[must_use]
pub fn sequence(der: &[u8]) -> Option<&[u8]> {
    let mut all = Der(der);
    let content = all.expect_tag(SEQUENCE)?;
    all.0.is_empty().then_some(content)
}

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// rfc822Name
const MAIL_ADDRESS: u8 = 0x81;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.4.10
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
/// 2.5.29.17
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

/// Values in DER, one after the other (X.690).
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value: its tag and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // 0x80 is no length in DER, and more than four bytes of it no certificate has.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn expect_tag(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }

    /// An attribute of a name, printable; the first of its kind.
    fn attribute(mut self, wanted: &[u8]) -> Option<String> {
        while let Some((SET, set)) = self.next() {
            let mut attribute = Der(Der(set).expect_tag(SEQUENCE)?);
            if attribute.expect_tag(OID)? == wanted {
                return attribute.next().map(|(_, value)| printable(value));
            }
        }
        None
    }

    /// A moment, in seconds since 1970 UTC (RFC 5280 4.1.2.5).
    fn time(&mut self) -> Option<i64> {
        let (tag, text) = self.next()?;
        let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = text.split_at_checked(2)?;
                let year: i64 = year.parse().ok()?;
                (if year < 50 { 2_000 + year } else { 1_900 + year }, rest)
            }
            GENERALIZED_TIME => {
                let (year, rest) = text.split_at_checked(4)?;
                (year.parse().ok()?, rest)
            }
            _ => return None,
        };
        let two = |at: usize| rest.get(at..at + 2)?.parse::<u8>().ok();
        let (month, day) = (two(0)?, two(2)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let seconds = i64::from(two(4)?) * 3_600 + i64::from(two(6)?) * 60 + i64::from(two(8)?);
        Some(days_from_civil(year, month, day) * 86_400 + seconds)
    }
}

/// The mail addresses that a certificate (DER) names, at most so many. `None`: it has no names.
pub(super) fn mail_addresses(der: &[u8], most: usize) -> Option<Vec<String>> {
    let mut certificate = Der(Der(der).expect_tag(SEQUENCE)?);
    let mut tbs = Der(certificate.expect_tag(SEQUENCE)?);
    let extensions = loop {
        if let (EXTENSIONS, extensions) = tbs.next()? {
            break extensions;
        }
    };
    let mut all = general_names(extensions)?;
    let mut found = Vec::new();
    while let Some((tag, name)) = all.next()
        && found.len() < most
    {
        if tag == MAIL_ADDRESS {
            found.extend(str::from_utf8(name).map(str::to_owned));
        }
    }
    Some(found)
}

/// Names and addresses of hosts in the extension that has them.
fn alternative_names(extensions: &[u8]) -> Option<Vec<String>> {
    let mut all = general_names(extensions)?;
    let mut names = Vec::new();
    while let Some((tag, name)) = all.next()
        && names.len() < NAMES_MAX
    {
        match tag {
            DNS_NAME => names.push(printable(name)),
            IP_ADDRESS => names.extend(address(name)),
            _ => {}
        }
    }
    Some(names)
}

/// The values of the extension that has names (RFC 5280 4.2.1.6).
fn general_names(extensions: &[u8]) -> Option<Der<'_>> {
    let mut extensions = Der(Der(extensions).expect_tag(SEQUENCE)?);
    while let Some((SEQUENCE, extension)) = extensions.next() {
        let mut extension = Der(extension);
        if extension.expect_tag(OID)? != ALTERNATIVE_NAMES {
            continue;
        }
        let value = match extension.next()? {
            (OCTETS, value) => value,
            // Whether it is critical comes first.
            _ => extension.expect_tag(OCTETS)?,
        };
        return Der(value).expect_tag(SEQUENCE).map(Der);
    }
    None
}

fn address(bytes: &[u8]) -> Option<String> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|four| Ipv4Addr::from(four).to_string()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|six| Ipv6Addr::from(six).to_string()),
        _ => None,
    }
}

/// What strangers wrote, on one line.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let names = vec!["mx.example.org".to_owned(), "192.0.2.1".to_owned(), "::1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_tells_its_names_its_issuer_and_its_time() {
        let der = made(|params| {
            params.distinguished_name.push(DnType::CommonName, "Test CA\r\n");
            params.distinguished_name.push(DnType::OrganizationName, "Grace");
            params.not_before = rcgen::date_time_ymd(2026, 11, 30);
            params.not_after = rcgen::date_time_ymd(2061, 3, 1);
        });
        let facts = Facts::read(&der).unwrap();
        assert_eq!(facts.names, ["mx.example.org", "192.0.2.1", "::1"]);
        assert_eq!(facts.issuer, "Test CA??, Grace");
        // One of them is written with two digits of the year, the other with four.
        assert_eq!((facts.from_s, facts.until_s), (1_795_996_800, 2_876_860_800));
    }

    #[test]
    fn without_names_its_subject_stands_for_it() {
        let der = made(|params| {
            params.subject_alt_names.clear();
            params.distinguished_name.push(DnType::CommonName, "old.example.org");
        });
        assert_eq!(Facts::read(&der).unwrap().names, ["old.example.org"]);
    }

    #[test]
    fn damage_ends_in_nothing_worse_than_nothing() {
        let der = made(|_| {});
        for at in 0..der.len() {
            let mut cut = der.clone();
            cut.truncate(at);
            assert_eq!(Facts::read(&cut), None, "cut at {at}");
            for bit in 0..8 {
                let mut other = der.clone();
                other[at] ^= 1 << bit;
                drop(Facts::read(&other));
            }
        }
        for bytes in [&b""[..], &[0x30], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0x80]] {
            assert_eq!(Facts::read(bytes), None);
        }
    }
}
