//! Rights on mailboxes (RFC 4314 2).
//!
//! Invariants: a [`Rights`] holds letters of the RFC alone, each once, in its order; the obsolete
//! `c` (create: `k` and `x`) and `d` (delete: `t` and `e`) are read and written beside what they
//! stand for.
//! Not here: who has which (the driver).

use std::fmt;

/// Every right, in the order RFC 4314 2.1 lists them.
const LETTERS: &[u8] = b"lrswipkxtea";

/// A set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u16);

impl Rights {
    /// Every right there is: what an owner has.
    pub const ALL: Self = Self((1 << LETTERS.len()) - 1);

    /// Reads letters; `None`: one of them is no right.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rights = Self::default();
        for letter in text.bytes() {
            match letter {
                // RFC 4314 2.1.1: c is about mailboxes, d about messages.
                b'c' => rights = rights.and(b"kx"),
                b'd' => rights = rights.and(b"te"),
                letter if LETTERS.contains(&letter) => rights = rights.and(&[letter]),
                _ => return None,
            }
        }
        Some(rights)
    }

    fn and(self, letters: &[u8]) -> Self {
        let bit = |letter: &u8| LETTERS.iter().position(|known| known == letter);
        Self(letters.iter().filter_map(bit).fold(self.0, |bits, at| bits | 1 << at))
    }

    /// As bits, the first for `l`.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// From [`bits`](Self::bits); those that stand for no right are left out.
    pub fn from_bits(bits: u16) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// Whether one of these rights is among them.
    pub fn has_any(self, letters: &str) -> bool {
        letters.bytes().any(|letter| self.has(letter))
    }

    /// Each right by itself, and then the obsolete ones that are among them.
    pub fn letters(self) -> impl Iterator<Item = char> {
        let plain = LETTERS.iter().filter(move |letter| self.has(**letter));
        // RFC 4314 2.1.1: old clients look for these, with any of what they stand for.
        let old = [(self.has_any("kx"), b'c'), (self.has_any("te"), b'd')];
        let old = old.into_iter().filter_map(|(has, letter)| has.then_some(letter));
        plain.copied().chain(old).map(char::from)
    }

    /// Whether a right is among them.
    pub fn has(self, letter: u8) -> bool {
        let at = LETTERS.iter().position(|known| *known == letter);
        at.is_some_and(|at| self.0 >> at & 1 == 1)
    }

    /// These and others.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without others.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.letters().try_for_each(|letter| fmt::Write::write_char(f, letter))
    }
}

/// How SETACL changes what somebody has (RFC 4314 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RightsChange {
    /// These and no others.
    Replace(Rights),
    /// `+`: these too.
    Add(Rights),
    /// `-`: these no more.
    Remove(Rights),
}

impl RightsChange {
    /// Reads `lrs`, `+w` or `-w`.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.split_at_checked(1) {
            Some(("+", rest)) => Self::Add(Rights::parse(rest)?),
            Some(("-", rest)) => Self::Remove(Rights::parse(rest)?),
            _ => Self::Replace(Rights::parse(text)?),
        })
    }

    /// What somebody has afterwards.
    pub fn apply(self, before: Rights) -> Rights {
        match self {
            Self::Replace(rights) => rights,
            Self::Add(rights) => before.with(rights),
            Self::Remove(rights) => before.without(rights),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_bits(text: &str) -> u16 {
        Rights::parse(text).expect("rights").bits()
    }

    #[test]
    fn letters() {
        let check = |text: &str, shown: Option<&str>| {
            let rights = Rights::parse(text).map(|rights| rights.to_string());
            assert_eq!(rights.as_deref(), shown, "{text}");
        };
        check("", Some(""));
        check("srl", Some("lrs"));
        check("llr", Some("lr"));
        check("c", Some("kxc"));
        check("x", Some("xc"));
        check("d", Some("ted"));
        check("te", Some("ted"));
        check("t", Some("td"));
        check("lrz", None);
        check("L", None);
        assert_eq!(Rights::ALL.to_string(), "lrswipkxteacd");
        assert_eq!(Rights::from_bits(u16::MAX), Rights::ALL);
        assert_eq!(Rights::from_bits(has_bits("ra")).to_string(), "ra");
        let has = Rights::parse("lrs").expect("rights");
        let change = |text: &str| RightsChange::parse(text).expect("a change").apply(has);
        assert_eq!(change("+w").to_string(), "lrsw");
        assert_eq!(change("-sw").to_string(), "lr");
        assert_eq!(change("a").to_string(), "a");
        assert_eq!(change("").to_string(), "");
    }
}
