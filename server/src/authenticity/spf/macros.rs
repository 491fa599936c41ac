//! Texts with `%{…}` in them (RFC 7208 7).
//!
//! Invariant: a [`Text`] was checked when it was read; filling it in cannot fail.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

/// What letters stand for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    /// The peer's address.
    pub(super) ip: IpAddr,
    /// What the peer called itself.
    pub(super) helo: &'a str,
    /// The sender, before the `@`.
    pub(super) local: &'a str,
    /// And behind it.
    pub(super) of: &'a str,
    /// Our own name.
    pub(super) hostname: &'a str,
}

/// A text, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Plain(String),
    Macro(Macro),
}

/// `%{`, a letter, how many labels from the right, `r` for backwards, separators, `}`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Macro {
    letter: char,
    /// The letter was a capital: what it stands for goes into a URL.
    escaped: bool,
    labels: Option<usize>,
    backwards: bool,
    separators: String,
}

/// Where a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Record,
    Explanation,
}

impl Text {
    /// A `domain-spec`: it ends in a macro or in a label that is no number (RFC 7208 7.1).
    pub(super) fn domain(text: &str) -> Option<Self> {
        let read = Self::any(text)?;
        match read.0.last()? {
            Piece::Macro(_) => Some(read),
            // `%%`, `%_` and `%-` end no domain, and leave nothing there that a label could have.
            Piece::Plain(plain) => {
                let plain = plain.strip_suffix('.').unwrap_or(plain);
                let label = plain.rsplit_once('.')?.1;
                is_top_label(label).then_some(read)
            }
        }
    }

    /// A `macro-string`, as it stands in a record.
    pub(super) fn any(text: &str) -> Option<Self> {
        read(text, Place::Record)
    }

    /// An `explain-string`.
    pub(super) fn explanation(text: &[u8]) -> Option<Self> {
        read(str::from_utf8(text).ok()?, Place::Explanation)
    }

    /// Whether `%{p}` stands in it.
    pub(super) fn asks_for_proof(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Macro(Macro { letter: 'p', .. })))
    }

    /// Fills it in, for a record of this domain; `proven` is what `%{p}` stands for.
    pub(super) fn expand(&self, facts: &Facts<'_>, domain: &str, proven: &str) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Plain(plain) => out.push_str(plain),
                Piece::Macro(part) => out.push_str(&part.expand(facts, domain, proven)),
            }
        }
        out
    }
}

/// RFC 7208 7.1: letters, digits and hyphens inside, and not digits alone.
fn is_top_label(label: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
    !label.is_empty()
        && label.chars().all(inside)
        && !label.starts_with('-')
        && !label.ends_with('-')
        && !label.chars().all(|c| c.is_ascii_digit())
}

fn read(text: &str, place: Place) -> Option<Text> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        rest = rest.get(letter.len_utf8()..)?;
        if letter != '%' {
            // RFC 7208 7.1: what can be seen, and in an explanation a space.
            let is_literal = letter.is_ascii_graphic();
            let is_space = letter == ' ' && place == Place::Explanation;
            plain.push(Some(letter).filter(|_| is_literal || is_space)?);
            continue;
        }
        let (next, after) = rest.split_at_checked(1)?;
        match next {
            "%" => plain.push('%'),
            "_" => plain.push(' '),
            "-" => plain.push_str("%20"),
            "{" => {
                let (inner, after) = after.split_once('}')?;
                if !plain.is_empty() {
                    pieces.push(Piece::Plain(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Macro(Macro::read(inner, place)?));
                rest = after;
                continue;
            }
            _ => return None,
        }
        rest = after;
    }
    if !plain.is_empty() {
        pieces.push(Piece::Plain(plain));
    }
    Some(Text(pieces))
}

impl Macro {
    fn read(inner: &str, place: Place) -> Option<Self> {
        let mut letters = inner.chars();
        let letter = letters.next()?;
        let known = match place {
            Place::Record => "slodiphv",
            // RFC 7208 7.2: these only there.
            Place::Explanation => "slodiphvcrt",
        };
        let lower = letter.to_ascii_lowercase();
        if !known.contains(lower) {
            return None;
        }
        let rest = letters.as_str();
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (labels, rest) = rest.split_at_checked(digits)?;
        let labels = match labels {
            "" => None,
            // A number beyond all labels means all of them.
            labels => Some(labels.parse().unwrap_or(usize::MAX)).filter(|&labels| labels > 0),
        };
        let (backwards, separators) = match rest.strip_prefix(['r', 'R']) {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let is_zero = digits > 0 && labels.is_none();
        if is_zero || !separators.chars().all(|c| ".-+,/_=".contains(c)) {
            return None;
        }
        Some(Self {
            letter: lower,
            escaped: letter.is_ascii_uppercase(),
            labels,
            backwards,
            separators: separators.to_owned(),
        })
    }

    fn expand(&self, facts: &Facts<'_>, domain: &str, proven: &str) -> String {
        let value = match self.letter {
            's' => format!("{}@{}", facts.local, facts.of),
            'l' => facts.local.to_owned(),
            'o' => facts.of.to_owned(),
            'd' => domain.to_owned(),
            'i' => dotted(facts.ip),
            'p' => proven.to_owned(),
            'v' => if facts.ip.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            'h' => facts.helo.to_owned(),
            'c' => facts.ip.to_string(),
            'r' => facts.hostname.to_owned(),
            't' => now_s().to_string(),
            _ => String::new(),
        };
        let value = self.transformed(&value);
        if self.escaped { escaped(&value) } else { value }
    }

    fn transformed(&self, value: &str) -> String {
        if self.labels.is_none() && !self.backwards && self.separators.is_empty() {
            return value.to_owned();
        }
        let separators = if self.separators.is_empty() { "." } else { &self.separators };
        let mut labels: Vec<&str> = value.split(|c| separators.contains(c)).collect();
        if self.backwards {
            labels.reverse();
        }
        let skip = labels.len().saturating_sub(self.labels.unwrap_or(usize::MAX));
        labels.get(skip..).unwrap_or_default().join(".")
    }
}

/// An address as labels: of IPv6 each digit is one.
fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let digits: Vec<String> =
                format!("{:032x}", ip.to_bits()).chars().map(String::from).collect();
            digits.join(".")
        }
    }
}

/// RFC 3986 2.1, 2.3.
fn escaped(value: &str) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let written = write!(out, "%{byte:02X}");
            debug_assert!(written.is_ok(), "a String takes any text");
        }
    }
    out
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7208 7.4.
    #[test]
    fn the_examples_of_the_rfc() {
        let four = Facts {
            ip: "192.0.2.3".parse().expect("an address"),
            helo: "mail.example",
            local: "strong-bad",
            of: "email.example.com",
            hostname: "mx.grace.test",
        };
        let six = Facts { ip: "2001:db8::cb01".parse().expect("an address"), ..four };
        let nibbles = "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2";
        let rows = [
            (four, "%{s}", "strong-bad@email.example.com"),
            (four, "%{o}", "email.example.com"),
            (four, "%{d4}", "email.example.com"),
            (four, "%{d3}", "email.example.com"),
            (four, "%{d2}", "example.com"),
            (four, "%{d1}", "com"),
            (four, "%{dr}", "com.example.email"),
            (four, "%{d2r}", "example.email"),
            (four, "%{l}", "strong-bad"),
            (four, "%{l-}", "strong.bad"),
            (four, "%{lr}", "strong-bad"),
            (four, "%{lr-}", "bad.strong"),
            (four, "%{l1r-}", "strong"),
            (four, "%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            (four, "%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
            (four, "%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
            (six, "%{ir}.%{v}._spf.%{d2}", &format!("{nibbles}.ip6._spf.example.com")),
            (four, "%%%_%-", "% %20"),
            (four, "%{S}", "strong-bad%40email.example.com"),
        ];
        for (facts, text, expected) in rows {
            let read = Text::any(text).expect(text);
            assert_eq!(read.expand(&facts, "email.example.com", ""), expected, "{text}");
        }
    }

    #[test]
    fn mistakes_are_found() {
        let wrong =
            ["%", "%(", "%{", "%{}", "%{x}", "%{d0}", "%{d*}", "%{dr*}", "%{c}", "%{d", "a b", "é"];
        for text in wrong {
            assert_eq!(Text::any(text), None, "{text}");
        }
        let no_domain = ["", "com", "a.1", "a.-b", "a.b-", "a..", "a.b%%", "%{d}.1", "a/b", ".."];
        for text in no_domain {
            assert_eq!(Text::domain(text), None, "{text}");
        }
        for text in ["a.b", "a.b.", "%{d}", "x%{d}", "_a.1b", "a.b-c"] {
            assert!(Text::domain(text).is_some(), "{text}");
        }
        assert!(Text::explanation(b"%{c} at %{t} by %{r}").is_some());
        assert_eq!(Text::explanation(b"caf\xc3\xa9"), None);
    }
}
