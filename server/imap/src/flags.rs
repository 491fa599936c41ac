//! Message flags: the five system flags and keywords (RFC 9051 2.3.2).
//!
//! Invariants: a [`Keyword`] is an atom of 1..=[`KEYWORD_BYTES_MAX`] bytes; two keywords that
//! differ only in case are one; the keywords of [`Flags`] are sorted and never repeat.
//! Not here: `\Recent`, which is a session's picture and never stored (`view`).

use std::{cmp::Ordering, fmt};

/// Longest keyword, in bytes. Thunderbird's and Gmail's label names stay under 64; the limit keeps
/// one message's flags small.
pub const KEYWORD_BYTES_MAX: usize = 128;

/// Most keywords one message may carry. The clients known to us use fewer than ten.
pub const KEYWORDS_MAX: usize = 64;

/// A flag that the standard defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SystemFlag {
    /// `\Answered`
    Answered,
    /// `\Flagged`
    Flagged,
    /// `\Deleted`
    Deleted,
    /// `\Seen`
    Seen,
    /// `\Draft`
    Draft,
}

impl SystemFlag {
    /// Every system flag in the order we print them.
    pub const ALL: [Self; 5] =
        [Self::Answered, Self::Flagged, Self::Deleted, Self::Seen, Self::Draft];

    /// The flag as the wire spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "\\Answered",
            Self::Flagged => "\\Flagged",
            Self::Deleted => "\\Deleted",
            Self::Seen => "\\Seen",
            Self::Draft => "\\Draft",
        }
    }

    /// The flag's bit in [`Flags::system_bits`], which is how the store keeps it: never to be
    /// changed.
    pub const fn bit(self) -> u8 {
        match self {
            Self::Seen => 1,
            Self::Answered => 2,
            Self::Flagged => 4,
            Self::Deleted => 8,
            Self::Draft => 16,
        }
    }

    /// The flag of a spelling such as `\seen`, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flag| flag.name().eq_ignore_ascii_case(text))
    }
}

/// A flag that a client made up, or that a registry lists (`$Forwarded`, `$Junk`).
#[derive(Debug, Clone)]
pub struct Keyword(Box<str>);

impl Keyword {
    /// The only way in: an atom of bearable length.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=KEYWORD_BYTES_MAX).contains(&text.len());
        // RFC 9051 9: flag-keyword is an atom; `]` would end a response code.
        let atom =
            text.bytes().all(|byte| byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte));
        (fits && atom).then(|| Self(text.into()))
    }

    /// The keyword as it was first spelled.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for Keyword {
    fn cmp(&self, other: &Self) -> Ordering {
        let lower = |keyword: &Self| keyword.0.bytes().map(|b| b.to_ascii_lowercase()).collect();
        let (ours, theirs): (Vec<u8>, Vec<u8>) = (lower(self), lower(other));
        ours.cmp(&theirs)
    }
}

impl PartialOrd for Keyword {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Keyword {}

/// The flags of one message, or those named in a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    system: u8,
    keywords: Vec<Keyword>,
}

impl Flags {
    /// No flag at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// Flags from their stored form: system bits (see [`SystemFlag::bit`]) and keywords. Bits and
    /// spellings that are no flags are left out.
    pub fn from_parts<'a>(system: u8, keywords: impl IntoIterator<Item = &'a str>) -> Self {
        let known = SystemFlag::ALL.into_iter().fold(0, |bits, flag| bits | flag.bit());
        let mut flags = Self { system: system & known, keywords: Vec::new() };
        for keyword in keywords.into_iter().filter_map(Keyword::parse) {
            flags.insert_keyword(keyword);
        }
        flags
    }

    /// The same from parts that flags were taken apart into before.
    pub(crate) fn from_known(system: u8, keywords: Option<Vec<Keyword>>) -> Self {
        Self { system, keywords: keywords.unwrap_or_default() }
    }

    /// The system flags as bits.
    pub fn system_bits(&self) -> u8 {
        self.system
    }

    /// The keywords, sorted.
    pub fn keywords(&self) -> &[Keyword] {
        &self.keywords
    }

    /// Whether a system flag is set.
    pub fn has(&self, flag: SystemFlag) -> bool {
        self.system & flag.bit() != 0
    }

    /// Whether a keyword is set.
    pub fn has_keyword(&self, keyword: &Keyword) -> bool {
        self.keywords.binary_search(keyword).is_ok()
    }

    /// Sets a system flag.
    pub fn insert(&mut self, flag: SystemFlag) {
        self.system |= flag.bit();
    }

    /// Sets a keyword.
    pub fn insert_keyword(&mut self, keyword: Keyword) {
        if let Err(place) = self.keywords.binary_search(&keyword) {
            self.keywords.insert(place, keyword);
        }
    }

    /// These flags after a STORE.
    pub fn changed_by(&self, operation: FlagOperation, named: &Self) -> Self {
        match operation {
            FlagOperation::Replace => named.clone(),
            FlagOperation::Add => {
                let mut flags = self.clone();
                flags.system |= named.system;
                for keyword in &named.keywords {
                    flags.insert_keyword(keyword.clone());
                }
                flags
            }
            FlagOperation::Remove => {
                let mut flags = self.clone();
                flags.system &= !named.system;
                flags.keywords.retain(|keyword| !named.has_keyword(keyword));
                flags
            }
        }
    }

    /// Every flag as the wire spells it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let system = SystemFlag::ALL.into_iter().filter(|flag| self.has(*flag));
        system.map(|flag| -> &str { flag.name() }).chain(self.keywords.iter().map(Keyword::as_str))
    }
}

/// What STORE does with the flags it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagOperation {
    /// `FLAGS`: these and no others.
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(system: &[SystemFlag], keywords: &[&str]) -> Flags {
        let bits = system.iter().fold(0, |bits, flag| bits | flag.bit());
        Flags::from_parts(bits, keywords.iter().copied())
    }

    #[test]
    fn a_keyword_is_one_whatever_its_case() {
        let both = flags(&[], &["$Junk", "$JUNK", "apple"]);
        assert_eq!(both.names().collect::<Vec<_>>(), ["$Junk", "apple"]);
        assert!(Keyword::parse("with space").is_none());
        assert!(Keyword::parse("").is_none());
        assert!(Keyword::parse("\\Seen").is_none());
    }

    #[test]
    fn store_operations() {
        let old = flags(&[SystemFlag::Seen], &["a", "b"]);
        let named = flags(&[SystemFlag::Draft], &["B", "c"]);
        let names = |flags: Flags| flags.names().map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert_eq!(names(old.changed_by(FlagOperation::Add, &named)), "\\Seen \\Draft a b c");
        assert_eq!(names(old.changed_by(FlagOperation::Remove, &named)), "\\Seen a");
        assert_eq!(names(old.changed_by(FlagOperation::Replace, &named)), "\\Draft B c");
    }
}
