//! Mail addresses of the envelope: `Mailbox`, `LocalPart`, `Host` and `Domain` (RFC 5321 4.1.2).
//!
//! Invariants: a `Domain` is lower-case A-labels however it was written, so that two spellings of
//! one domain are equal; a `LocalPart` holds what the quotes mean and never a control character, so
//! that an address can stand in a header or a reply line as it is; nothing here is longer than its
//! named limit. Whether two local parts are the same person is the directory's decision: the case
//! is kept.
//! Not here: header addresses with display names and comments (RFC 5322), the angle brackets and
//! source routes of an SMTP path (`grace_smtp::path`), who lives where (`server::directory`).

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Longest local part, in bytes. RFC 5321 4.5.3.1.1 asks for 64 at least and 4.5.3.1 for no limit
/// where possible: return addresses that name their recipient (VERP) are often longer than 64.
pub const LOCAL_PART_BYTES_MAX: usize = 128;
/// Longest domain, in bytes (RFC 1035 2.3.4: 255 in the DNS, 253 as text).
pub const DOMAIN_BYTES_MAX: usize = 253;
/// Longest label of a domain, in bytes (RFC 1035 2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;
/// Longest address, in bytes: a path has 256 with its angle brackets (RFC 5321 4.5.3.1.3).
pub const ADDRESS_BYTES_MAX: usize = 254;

const _: () = assert!(64 <= LOCAL_PART_BYTES_MAX);
const _: () = assert!(LOCAL_PART_BYTES_MAX < ADDRESS_BYTES_MAX);

/// Which characters an address may have: it depends on the SMTPUTF8 parameter of the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// ASCII only (RFC 5321).
    Ascii,
    /// UTF-8 in the local part, U-labels in the domain (RFC 6531 3.3).
    Utf8,
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressError {
    /// There is no `@` with something on both sides of it.
    NoAt,
    /// Longer than [`ADDRESS_BYTES_MAX`], or one part of it longer than its own limit.
    TooLong,
    /// The local part is neither a dot-string nor a quoted string.
    BadLocalPart,
    /// The domain is no name a host can have.
    BadDomain,
    /// The address literal in brackets is no IP address.
    BadLiteral,
    /// Characters beyond ASCII where [`Charset::Ascii`] was asked for.
    NotAscii,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAt => "an address is user@domain",
            Self::TooLong => "the address is too long",
            Self::BadLocalPart => "the part before the @ is not valid",
            Self::BadDomain => "the domain is not valid",
            Self::BadLiteral => "the address literal is not valid",
            Self::NotAscii => "the address has characters beyond ASCII",
        })
    }
}

impl std::error::Error for AddressError {}

/// `user@host`: who a message is from or for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mailbox {
    local: LocalPart,
    host: Host,
}

impl Mailbox {
    /// Reads `Mailbox = Local-part "@" ( Domain / address-literal )` (RFC 5321 4.1.2).
    pub fn parse(text: &str, charset: Charset) -> Result<Self, AddressError> {
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        // Neither a domain nor a literal can hold an `@`; a quoted local part can.
        let (local, host) = text.rsplit_once('@').ok_or(AddressError::NoAt)?;
        if local.is_empty() || host.is_empty() {
            return Err(AddressError::NoAt);
        }
        let host = Host::parse(host, charset)?;
        // U-labels grow as they become A-labels, and what is kept must be read again.
        if let Host::Domain(domain) = &host
            && local.len() + 1 + domain.as_str().len() > ADDRESS_BYTES_MAX
        {
            return Err(AddressError::TooLong);
        }
        Ok(Self::new(LocalPart::parse(local, charset)?, host))
    }

    /// Joins two checked parts.
    pub fn new(local: LocalPart, host: Host) -> Self {
        Self { local, host }
    }

    /// The part before the `@`, without quotes.
    pub fn local(&self) -> &LocalPart {
        &self.local
    }

    /// The part after the `@`.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The domain; `None` for an address literal.
    pub fn domain(&self) -> Option<&Domain> {
        match &self.host {
            Host::Domain(domain) => Some(domain),
            Host::Literal(_) => None,
        }
    }

    /// Whether the address can travel without SMTPUTF8 (RFC 6531 3.4).
    pub fn is_ascii(&self) -> bool {
        self.local.as_str().is_ascii()
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.host)
    }
}

/// Reads with [`Charset::Utf8`]: for configuration and admin requests.
impl FromStr for Mailbox {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text, Charset::Utf8)
    }
}

/// The part before the `@`: what its quotes mean. `"a b"@c` has the local part `a b`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalPart(Box<str>);

impl LocalPart {
    /// Reads `Local-part = Dot-string / Quoted-string` (RFC 5321 4.1.2, RFC 6531 3.3).
    pub fn parse(text: &str, charset: Charset) -> Result<Self, AddressError> {
        if text.len() > LOCAL_PART_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        if charset == Charset::Ascii && !text.is_ascii() {
            return Err(AddressError::NotAscii);
        }
        if let Some(quoted) = text.strip_prefix('"') {
            let quoted = quoted.strip_suffix('"').ok_or(AddressError::BadLocalPart)?;
            return Ok(Self(unquote(quoted)?.into()));
        }
        if !is_dot_string(text) {
            return Err(AddressError::BadLocalPart);
        }
        Ok(Self(text.into()))
    }

    /// A local part of this text, as its quotes would mean it.
    pub fn of_text(text: &str) -> Result<Self, AddressError> {
        if text.len() > LOCAL_PART_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(AddressError::BadLocalPart);
        }
        Ok(Self(text.into()))
    }

    /// The text, without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LocalPart {
    /// Quotes only where it must be (RFC 5321 4.1.2: the quoted form is to be avoided).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(&self.0) {
            return f.write_str(&self.0);
        }
        f.write_str("\"")?;
        for character in self.0.chars() {
            if matches!(character, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{character}")?;
        }
        f.write_str("\"")
    }
}

/// Takes the backslashes out of what stood between the quotes.
fn unquote(quoted: &str) -> Result<String, AddressError> {
    let mut plain = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        let meant = match character {
            '"' => return Err(AddressError::BadLocalPart),
            // RFC 5321 4.1.2: quoted-pairSMTP = %d92 %d32-126.
            '\\' => characters.next().ok_or(AddressError::BadLocalPart)?,
            other => other,
        };
        if meant.is_control() {
            return Err(AddressError::BadLocalPart);
        }
        plain.push(meant);
    }
    Ok(plain)
}

/// `Dot-string = Atom *("." Atom)`, with UTF8-non-ascii as atext (RFC 6531 3.3).
fn is_dot_string(text: &str) -> bool {
    let is_atext = |c: char| {
        c.is_ascii_alphanumeric()
            || "!#$%&'*+-/=?^_`{|}~".contains(c)
            || (!c.is_ascii() && !c.is_control() && !c.is_whitespace())
    };
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// The part after the `@`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A name of the DNS.
    Domain(Domain),
    /// `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 4.1.3).
    Literal(IpAddr),
}

impl Host {
    /// Reads a domain or, in brackets, an address literal.
    pub fn parse(text: &str, charset: Charset) -> Result<Self, AddressError> {
        match text.strip_prefix('[') {
            Some(literal) => {
                let literal = literal.strip_suffix(']').ok_or(AddressError::BadLiteral)?;
                parse_literal(literal).map(Self::Literal)
            }
            None => Domain::parse(text, charset).map(Self::Domain),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => domain.fmt(f),
            Self::Literal(IpAddr::V4(ip)) => write!(f, "[{ip}]"),
            // RFC 5321 4.1.3: IPv6-address-literal = "IPv6:" IPv6-addr.
            Self::Literal(IpAddr::V6(ip)) => write!(f, "[IPv6:{ip}]"),
        }
    }
}

fn parse_literal(literal: &str) -> Result<IpAddr, AddressError> {
    let ip = match literal.split_at_checked(5) {
        Some((tag, rest)) if tag.eq_ignore_ascii_case("IPv6:") => {
            rest.parse::<Ipv6Addr>().map(IpAddr::V6)
        }
        _ => literal.parse::<Ipv4Addr>().map(IpAddr::V4),
    };
    ip.map_err(|_| AddressError::BadLiteral)
}

/// A domain: lower-case A-labels, 1..=253 bytes, no dot at the end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Box<str>);

impl Domain {
    /// Reads a domain. U-labels become A-labels, where `charset` allows them at all
    /// (RFC 6531 3.3, RFC 5890 2.3.2.1).
    pub fn parse(text: &str, charset: Charset) -> Result<Self, AddressError> {
        let name: Cow<'_, str> = if text.is_ascii() {
            Cow::Owned(text.to_ascii_lowercase())
        } else if charset == Charset::Ascii {
            return Err(AddressError::NotAscii);
        } else if text.len() > DOMAIN_BYTES_MAX {
            return Err(AddressError::TooLong);
        } else {
            Cow::Owned(idna::domain_to_ascii(text).map_err(|_| AddressError::BadDomain)?)
        };
        if name.len() > DOMAIN_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        if name.is_empty() || !name.split('.').all(is_label) {
            return Err(AddressError::BadDomain);
        }
        Ok(Self(name.into()))
    }

    /// The domain as A-labels, the way the DNS wants it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The domain for people to read: U-labels where there are any.
    pub fn to_unicode(&self) -> String {
        let (unicode, result) = idna::domain_to_unicode(&self.0);
        if result.is_ok() { unicode } else { self.0.to_string() }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads with [`Charset::Utf8`]: for configuration and admin requests.
impl FromStr for Domain {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text, Charset::Utf8)
    }
}

/// `sub-domain = Let-dig [Ldh-str]` (RFC 5321 4.1.2), and `_`, which real sending hosts have.
fn is_label(label: &str) -> bool {
    label.len() <= LABEL_BYTES_MAX
        && !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses, and compares the printed form or the error's text.
    #[track_caller]
    fn check(charset: Charset, text: &str, expected: &str) {
        let found = match Mailbox::parse(text, charset) {
            Ok(mailbox) => {
                let printed = mailbox.to_string();
                assert_eq!(Mailbox::parse(&printed, charset).as_ref(), Ok(&mailbox), "{printed}");
                printed
            }
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn plain_addresses_keep_the_local_case_and_lower_the_domain() {
        check(Charset::Ascii, "Anna.Example@Example.ORG", "Anna.Example@example.org");
        check(
            Charset::Ascii,
            "a+b=c/d_e!#$%&'*?^`{|}~@x.example",
            "a+b=c/d_e!#$%&'*?^`{|}~@x.example",
        );
        check(Charset::Ascii, "a@localhost", "a@localhost");
        check(Charset::Ascii, "a@mail_1.example", "a@mail_1.example");
    }

    #[test]
    fn quoted_local_parts_mean_what_stands_in_them() {
        check(Charset::Ascii, "\"anna\"@x.example", "anna@x.example");
        check(Charset::Ascii, "\"a b\"@x.example", "\"a b\"@x.example");
        check(Charset::Ascii, "\"a@b\"@x.example", "\"a@b\"@x.example");
        check(Charset::Ascii, "\"a\\\"b\\\\\"@x.example", "\"a\\\"b\\\\\"@x.example");
        check(Charset::Ascii, "\"\"@x.example", "\"\"@x.example");
        check(Charset::Ascii, "\"a\"b\"@x.example", "BadLocalPart");
        check(Charset::Ascii, "\"a\\\"@x.example", "BadLocalPart");
        check(Charset::Ascii, "\"@x.example", "BadLocalPart");
        check(Charset::Ascii, "\"a\rb\"@x.example", "BadLocalPart");
    }

    #[test]
    fn literals() {
        check(Charset::Ascii, "a@[192.0.2.1]", "a@[192.0.2.1]");
        check(Charset::Ascii, "a@[ipv6:2001:DB8::1]", "a@[IPv6:2001:db8::1]");
        check(Charset::Ascii, "a@[2001:db8::1]", "BadLiteral");
        check(Charset::Ascii, "a@[192.0.2.1", "BadLiteral");
        check(Charset::Ascii, "a@[300.0.2.1]", "BadLiteral");
        check(Charset::Ascii, "a@[]", "BadLiteral");
    }

    #[test]
    fn what_is_no_address() {
        for text in ["", "a", "@", "a@", "@x.example"] {
            check(Charset::Ascii, text, "NoAt");
        }
        for text in [".a@x", "a.@x", "a..b@x", "a b@x", "a@b@x", "a\0@x", "a(b)@x", "a\"b@x"] {
            check(Charset::Ascii, text, "BadLocalPart");
        }
        for text in ["a@x..example", "a@.x", "a@x.", "a@-x", "a@x-", "a@x y", "a@x\r\n", "a@x>"] {
            check(Charset::Ascii, text, "BadDomain");
        }
    }

    #[test]
    fn limits() {
        let label = "d".repeat(LABEL_BYTES_MAX);
        let name = |length: usize| "l".repeat(length);
        assert!(Mailbox::parse(&format!("{}@{label}", name(128)), Charset::Ascii).is_ok());
        check(Charset::Ascii, &format!("{}@x", name(129)), "TooLong");
        check(Charset::Ascii, &format!("a@{label}d"), "BadDomain");
        let long = format!("a@{label}.{label}.{label}.{label}");
        check(Charset::Ascii, &long, "TooLong");
        check(Charset::Utf8, &format!("a@ü{}", "ü".repeat(200)), "TooLong");
        assert!(Domain::parse(&"a.".repeat(127), Charset::Ascii).is_err());
        // 240 bytes as A-labels, of 90 as U-labels.
        let grows = format!("{}ü", "ü.".repeat(29));
        assert!(Mailbox::parse(&format!("{}@{grows}", name(14)), Charset::Utf8).is_ok());
        check(Charset::Utf8, &format!("{}@{grows}", name(15)), "TooLong");
    }

    #[test]
    fn international_addresses_need_the_flag() {
        check(Charset::Ascii, "grüße@x.example", "NotAscii");
        check(Charset::Ascii, "a@bücher.example", "NotAscii");
        check(Charset::Utf8, "grüße@x.example", "grüße@x.example");
        check(Charset::Utf8, "a@Bücher.example", "a@xn--bcher-kva.example");
        check(Charset::Utf8, "a@XN--BCHER-KVA.example", "a@xn--bcher-kva.example");
        check(Charset::Utf8, "a\u{85}b@x.example", "BadLocalPart");
        check(Charset::Utf8, "a\u{2003}b@x.example", "BadLocalPart");
        let mailbox: Mailbox = "a@bücher.example".parse().unwrap();
        assert_eq!(mailbox.domain().unwrap().to_unicode(), "bücher.example");
        assert!(mailbox.is_ascii());
    }
}
