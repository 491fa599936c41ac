//! Annotations of mailboxes and of the account: names of entries and limits (RFC 5464).
//!
//! Invariants: an [`Entry`] begins with `/private/` or `/shared/`, is ASCII in lower case, without
//! wildcards and empty levels.
//! Not here: keeping values (the driver), the commands (`session::metadata`).

use std::fmt;

/// Longest name of an entry, in bytes. Names of vendors' entries stay under 100.
pub const ENTRY_BYTES_MAX: usize = 512;

/// Longest value, in bytes: a color, a note, a filter; not a picture.
pub const VALUE_BYTES_MAX: usize = 16 * 1024;

/// Most entries a mailbox, or the account, may have.
pub const ENTRIES_MAX: usize = 100;

/// The name of an entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry(Box<str>);

/// How far below an entry GETMETADATA looks (RFC 5464 4.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// The entry itself.
    #[default]
    Zero,
    /// And those directly below.
    One,
    /// And everything below.
    Infinity,
}

impl Entry {
    /// The only way in.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.to_ascii_lowercase();
        let rest = name.strip_prefix("/private/").or_else(|| name.strip_prefix("/shared/"))?;
        let plain = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && !b"*%".contains(&byte);
        let sound = name.bytes().all(plain) && rest.split('/').all(|level| !level.is_empty());
        (sound && name.len() <= ENTRY_BYTES_MAX).then(|| Self(name.into()))
    }

    /// The entry a filter is kept in (RFC 5466 3.1): `/private/filters/values/name`.
    pub fn of_filter(scope: &str, name: &str) -> Option<Self> {
        Self::parse(&format!("/{scope}/filters/values/{name}"))
    }

    /// The entry that says what a mailbox is for (RFC 6154 4).
    pub fn special_use() -> Self {
        Self("/private/specialuse".into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this entry is asked for by `wanted`.
    pub fn is_within(&self, wanted: &Self, depth: Depth) -> bool {
        if self == wanted {
            return true;
        }
        let below = self.0.strip_prefix(&*wanted.0).and_then(|rest| rest.strip_prefix('/'));
        match depth {
            Depth::Zero => false,
            Depth::One => below.is_some_and(|rest| !rest.contains('/')),
            Depth::Infinity => below.is_some(),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_entries() {
        for good in ["/shared/comment", "/PRIVATE/Filters/Values/x", "/shared/vendor/a/b c"] {
            assert!(Entry::parse(good).is_some(), "{good}");
        }
        let long = format!("/shared/{}", "x".repeat(ENTRY_BYTES_MAX));
        for bad in [
            "",
            "/",
            "/shared/",
            "/other/x",
            "/shared//x",
            "/shared/x/",
            "/shared/*",
            "/shared/\u{e4}",
            &long,
        ] {
            assert!(Entry::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn depth() {
        let entry = |name: &str| Entry::parse(name).expect("an entry");
        let check = |name: &str, fits: [bool; 3]| {
            let wanted = entry("/shared/a");
            let depths = [Depth::Zero, Depth::One, Depth::Infinity];
            assert_eq!(depths.map(|depth| entry(name).is_within(&wanted, depth)), fits, "{name}");
        };
        check("/shared/A", [true, true, true]);
        check("/shared/a/b", [false, true, true]);
        check("/shared/a/b/c", [false, false, true]);
        check("/shared/ab", [false, false, false]);
        check("/private/a", [false, false, false]);
    }
}
