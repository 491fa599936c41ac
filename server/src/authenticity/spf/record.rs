//! A record, read (RFC 7208 4.6.1, 12).
//!
//! Invariant: what is not in the grammar is an error, and the whole record with it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::verdict::Outcome;
use super::macros::Text;

/// How a record begins.
const VERSION: &str = "v=spf1";

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// In their order.
    pub(super) directives: Vec<Directive>,
    /// Whose record counts when none of them fits. `None` where one is `all`, too.
    pub(super) redirect: Option<Text>,
    /// Where words for those who are refused stand.
    pub(super) explanation: Option<Text>,
}

/// What fits, and the result then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) outcome: Outcome,
    pub(super) mechanism: Mechanism,
}

/// What fits (RFC 7208 5). Without a name the domain itself is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mechanism {
    All,
    Include(Text),
    A(Option<Text>, Width),
    Mx(Option<Text>, Width),
    Ptr(Option<Text>),
    Network(IpAddr, u32),
    Exists(Text),
}

/// How many bits of an address count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Width {
    pub(super) four: u32,
    pub(super) six: u32,
}

/// Whether a text is a record of ours (RFC 7208 4.5).
pub(super) fn is_spf(text: &[u8]) -> bool {
    match text.split_at_checked(VERSION.len()) {
        Some((version, rest)) => {
            version.eq_ignore_ascii_case(VERSION.as_bytes()) && matches!(rest, [] | [b' ', ..])
        }
        None => false,
    }
}

impl Record {
    /// Reads a text for which [`is_spf`] holds.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let Some(terms) = text.get(VERSION.len()..).filter(|terms| terms.is_ascii()) else {
            return Err("it has letters beyond ASCII".to_owned());
        };
        let mut record = Self { directives: Vec::new(), redirect: None, explanation: None };
        for term in terms.split(|&byte| byte == b' ').filter(|term| !term.is_empty()) {
            let term = str::from_utf8(term).unwrap_or_default();
            record.take(term).ok_or_else(|| format!("{term:?} makes no sense"))?;
        }
        // RFC 7208 6.1.
        let is_all = |directive: &Directive| directive.mechanism == Mechanism::All;
        if record.directives.iter().any(is_all) {
            record.redirect = None;
        }
        Ok(record)
    }

    /// Takes one term; `None`: it is none, or one too many.
    fn take(&mut self, term: &str) -> Option<()> {
        if let Some((name, value)) = modifier(term) {
            let slot = match name.to_ascii_lowercase().as_str() {
                "redirect" => &mut self.redirect,
                "exp" => &mut self.explanation,
                // RFC 7208 6: what is unknown is passed over, if it is written as it has to be.
                _ => return Text::any(value).map(drop),
            };
            // RFC 7208 6: each once.
            let is_first = slot.is_none();
            *slot = Some(Text::domain(value)?);
            return is_first.then_some(());
        }
        let (outcome, mechanism) = match term.split_at_checked(1)? {
            ("+", rest) => (Outcome::Pass, rest),
            ("-", rest) => (Outcome::Fail, rest),
            ("~", rest) => (Outcome::SoftFail, rest),
            ("?", rest) => (Outcome::Neutral, rest),
            _ => (Outcome::Pass, term),
        };
        self.directives.push(Directive { outcome, mechanism: mechanism_of(mechanism)? });
        Some(())
    }
}

/// `name=value`, if the term begins with the name of a modifier.
fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let (first, rest) = name.split_at_checked(1)?;
    let letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_name = first.starts_with(|c: char| c.is_ascii_alphabetic()) && rest.chars().all(letter);
    is_name.then_some((name, value))
}

fn mechanism_of(term: &str) -> Option<Mechanism> {
    let end = term.find([':', '/']).unwrap_or(term.len());
    let (name, rest) = term.split_at_checked(end)?;
    match name.to_ascii_lowercase().as_str() {
        "all" => rest.is_empty().then_some(Mechanism::All),
        "include" => Some(Mechanism::Include(Text::domain(rest.strip_prefix(':')?)?)),
        "exists" => Some(Mechanism::Exists(Text::domain(rest.strip_prefix(':')?)?)),
        "a" => with_width(rest).map(|(name, width)| Mechanism::A(name, width)),
        "mx" => with_width(rest).map(|(name, width)| Mechanism::Mx(name, width)),
        "ptr" if rest.is_empty() => Some(Mechanism::Ptr(None)),
        "ptr" => Some(Mechanism::Ptr(Some(Text::domain(rest.strip_prefix(':')?)?))),
        "ip4" => network(rest.strip_prefix(':')?, 32, |base| {
            base.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        }),
        "ip6" => network(rest.strip_prefix(':')?, 128, |base| {
            base.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }),
        _ => None,
    }
}

/// `[":" domain-spec] [dual-cidr-length]`.
fn with_width(rest: &str) -> Option<(Option<Text>, Width)> {
    let (rest, four, six) = widths(rest)?;
    let name = match rest.strip_prefix(':') {
        Some(name) => Some(Text::domain(name)?),
        None if rest.is_empty() => None,
        None => return None,
    };
    Some((name, Width { four, six }))
}

/// Takes `/4bits`, `//6bits` or both off the end. A slash that no number follows belongs to the
/// name.
fn widths(rest: &str) -> Option<(&str, u32, u32)> {
    let (rest, six) = match trailing_number(rest) {
        Some((name, six)) if name.ends_with('/') => (name.strip_suffix('/')?, number(six, 128)?),
        _ => (rest, 128),
    };
    let (rest, four) = match trailing_number(rest) {
        Some((name, four)) => (name, number(four, 32)?),
        None => (rest, 32),
    };
    Some((rest, four, six))
}

/// A slash and digits at the end, without the slash.
fn trailing_number(rest: &str) -> Option<(&str, &str)> {
    let (name, digits) = rest.rsplit_once('/')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some((name, digits))
}

fn network(
    text: &str,
    bits_max: u32,
    address: impl Fn(&str) -> Option<IpAddr>,
) -> Option<Mechanism> {
    let (base, bits) = match text.split_once('/') {
        Some((base, bits)) => (base, number(bits, bits_max)?),
        None => (text, bits_max),
    };
    Some(Mechanism::Network(address(base)?, bits))
}

/// A number without zeros in front.
fn number(text: &str, max: u32) -> Option<u32> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|&number| is_plain && number <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Record, String> {
        assert!(is_spf(text.as_bytes()), "{text}");
        Record::parse(text.as_bytes())
    }

    #[test]
    fn mistakes_spoil_the_record() {
        let wrong = [
            "v=spf1 -all foo",
            "v=spf1 all:x.example",
            "v=spf1 -all +",
            "v=spf1 ip4:1.2.3.4/33",
            "v=spf1 ip4:1.2.3.4/032",
            "v=spf1 ip4:1.2.3",
            "v=spf1 ip4:1.2.3.4/",
            "v=spf1 ip6:1.2.3.4",
            "v=spf1 ip6:::1/129",
            "v=spf1 a/33",
            "v=spf1 a//129",
            "v=spf1 a/24/64",
            "v=spf1 a:",
            "v=spf1 include",
            "v=spf1 exists/24",
            "v=spf1 redirect=a.example redirect=b.example",
            "v=spf1 exp=a.example exp=b.example",
            "v=spf1 redirect=",
            "v=spf1 =x",
            "v=spf1 a\t-all",
        ];
        for text in wrong {
            assert!(read(text).is_err(), "{text}: {:?}", read(text));
        }
    }

    #[test]
    fn widths_stand_at_the_end() {
        let of = |text: &str| match read(text).expect(text).directives.remove(0).mechanism {
            Mechanism::A(name, Width { four, six }) => (name.is_some(), four, six),
            other => panic!("{other:?}"),
        };
        assert_eq!(of("v=spf1 a"), (false, 32, 128));
        assert_eq!(of("v=spf1 a/24"), (false, 24, 128));
        assert_eq!(of("v=spf1 a//64"), (false, 32, 64));
        assert_eq!(of("v=spf1 a/0//0"), (false, 0, 0));
        assert_eq!(of("v=spf1 A:x.example/24//64"), (true, 24, 64));
        assert_eq!(of("v=spf1 a:%{d1r/}.example/8"), (true, 8, 128));
    }

    #[test]
    fn only_records_of_this_version_count() {
        for text in ["v=spf1", "V=SPF1 -all", "v=spf1 "] {
            assert!(is_spf(text.as_bytes()), "{text:?}");
        }
        for text in ["v=spf10", "v=spf1-all", "spf1", "", " v=spf1", "v=spf2.0/pra -all"] {
            assert!(!is_spf(text.as_bytes()), "{text:?}");
        }
    }
}
