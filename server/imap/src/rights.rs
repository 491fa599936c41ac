//! Rights on mailboxes (RFC 4314 2).
//!
//! Invariants: a [`Rights`] holds letters of the RFC alone, each once, in its order; the obsolete
//! `c` and `d` are read and written beside what they stand for.
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
                // RFC 4314 2.1.1: c is create, d is everything about removal.
                b'c' => rights = rights.and(b"k"),
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
        for letter in LETTERS.iter().filter(|letter| self.has(**letter)) {
            fmt::Write::write_char(f, char::from(*letter))?;
        }
        // RFC 4314 2.1.1: old clients look for these.
        let old = [(self.has(b'k'), "c"), (self.has(b't') && self.has(b'e'), "d")];
        old.iter().filter(|(has, _)| *has).try_for_each(|(_, letter)| f.write_str(letter))
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

    #[test]
    fn letters() {
        let check = |text: &str, shown: Option<&str>| {
            let rights = Rights::parse(text).map(|rights| rights.to_string());
            assert_eq!(rights.as_deref(), shown, "{text}");
        };
        check("", Some(""));
        check("srl", Some("lrs"));
        check("llr", Some("lr"));
        check("c", Some("kc"));
        check("d", Some("ted"));
        check("te", Some("ted"));
        check("t", Some("t"));
        check("lrz", None);
        check("L", None);
        assert_eq!(Rights::ALL.to_string(), "lrswipkxteacd");
        let has = Rights::parse("lrs").expect("rights");
        let change = |text: &str| RightsChange::parse(text).expect("a change").apply(has);
        assert_eq!(change("+w").to_string(), "lrsw");
        assert_eq!(change("-sw").to_string(), "lr");
        assert_eq!(change("a").to_string(), "a");
        assert_eq!(change("").to_string(), "");
    }
}
