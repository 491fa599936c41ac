//! Mailbox names: their wire spellings (modified UTF-7 of RFC 3501 5.1.3, UTF-8 of RFC 9051 5.1)
//! and LIST's patterns.
//!
//! Invariants: a [`MailboxName`] is UTF-8 of 1..=[`NAME_BYTES_MAX`] bytes without control
//! characters and wildcards, its levels are separated by [`SEPARATOR`] and none is empty; `INBOX`
//! in any case is one mailbox (RFC 9051 5.1).
//! Not here: whether a mailbox exists.

use std::collections::HashMap;
use std::fmt;

use base64::{Engine, alphabet, engine};

/// What separates the levels of a name.
pub const SEPARATOR: char = '/';

/// The level above what other people share (RFC 2342 3): what most servers call it.
pub const OTHER_USERS: &str = "Other Users";

/// The level above mailboxes that are nobody's own (RFC 2342 3): the shortest word for it.
pub const PUBLIC: &str = "Public";

/// Longest name, in bytes of UTF-8. A client's screen ends long before.
pub const NAME_BYTES_MAX: usize = 1_000;

/// Most levels of a name. LIST walks them; nobody nests deeper by hand.
pub const LEVELS_MAX: usize = 32;

/// RFC 3501 5.1.3: base64 with `,` for `/` and no padding.
const MODIFIED_BASE64: engine::GeneralPurpose = {
    const SPELLING: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";
    let alphabet = match alphabet::Alphabet::new(SPELLING) {
        Ok(alphabet) => alphabet,
        Err(_) => alphabet::STANDARD,
    };
    engine::GeneralPurpose::new(
        &alphabet,
        engine::GeneralPurposeConfig::new()
            .with_encode_padding(false)
            .with_decode_padding_mode(engine::DecodePaddingMode::RequireNone)
            .with_decode_allow_trailing_bits(true),
    )
};

/// A mailbox's name, checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxName(Box<str>);

impl MailboxName {
    /// The name every account has.
    pub fn inbox() -> Self {
        Self("INBOX".into())
    }

    /// The only way in. `Err` says what is wrong with the name, for the client to read.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        // RFC 9051 6.3.4: a trailing separator only says that children will follow.
        let text = text.strip_suffix(SEPARATOR).unwrap_or(text);
        if text.is_empty() {
            return Err("a mailbox name must not be empty");
        }
        if text.len() > NAME_BYTES_MAX {
            return Err("a mailbox name may have at most 1000 bytes");
        }
        if text.split(SEPARATOR).count() > LEVELS_MAX {
            return Err("a mailbox name may have at most 32 levels");
        }
        if text.split(SEPARATOR).any(str::is_empty) {
            return Err("a level of a mailbox name must not be empty");
        }
        if text.chars().any(|c| c.is_control() || c == '%' || c == '*') {
            return Err("a mailbox name must not hold control characters, % or *");
        }
        let (top, rest) = text.split_once(SEPARATOR).unzip();
        let top = top.unwrap_or(text);
        if !top.eq_ignore_ascii_case("INBOX") {
            return Ok(Self(text.into()));
        }
        Ok(Self(rest.map_or("INBOX".into(), |rest| format!("INBOX/{rest}").into())))
    }

    /// The name in UTF-8.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the INBOX.
    pub fn is_inbox(&self) -> bool {
        &*self.0 == "INBOX"
    }

    /// Whether it is in nobody else's namespace (RFC 2342).
    pub fn is_personal(&self) -> bool {
        let top = self.0.split(SEPARATOR).next().unwrap_or_default();
        ![OTHER_USERS, PUBLIC].contains(&top)
    }

    /// Whether `self` lies below `parent`, at any depth.
    pub fn is_below(&self, parent: &Self) -> bool {
        self.0.strip_prefix(&*parent.0).is_some_and(|rest| rest.starts_with(SEPARATOR))
    }

    /// What it is called once `from`, which it is or lies below, is called `to`; `None`: as it was.
    pub fn moved(&self, from: &Self, to: &Self) -> Option<Self> {
        let rest = self.0.strip_prefix(&*from.0)?;
        let is_meant = rest.is_empty() || rest.starts_with(SEPARATOR);
        is_meant.then(|| Self(format!("{to}{rest}").into()))
    }

    /// The names above this one, outermost first.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        self.0
            .match_indices(SEPARATOR)
            .filter_map(|(end, _)| self.0.get(..end).map(|name| Self(name.into())))
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a client wrote where a mailbox name belongs, as text. Modified UTF-7 is decoded wherever it
/// is sound; with `utf8` (RFC 9051 5.1, RFC 6855 3) names are plain UTF-8 and `&` is a letter.
pub fn decode(wire: &[u8], utf8: bool) -> Option<String> {
    let text = std::str::from_utf8(wire).ok()?;
    if utf8 || !text.contains('&') {
        return Some(text.to_owned());
    }
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, shifted)) = rest.split_once('&') {
        name.push_str(plain);
        let (code, after) = shifted.split_once('-')?;
        rest = after;
        if code.is_empty() {
            name.push('&');
            continue;
        }
        let bytes = MODIFIED_BASE64.decode(code).ok()?;
        let mut units = bytes.chunks_exact(2);
        if !units.remainder().is_empty() {
            return None;
        }
        let units = units.by_ref().filter_map(|pair| pair.try_into().ok().map(u16::from_be_bytes));
        for letter in char::decode_utf16(units) {
            name.push(letter.ok()?);
        }
    }
    name.push_str(rest);
    Some(name)
}

/// A name in modified UTF-7.
pub fn encode_utf7(name: &str) -> String {
    let mut wire = String::with_capacity(name.len());
    let mut shifted: Vec<u8> = Vec::new();
    let flush = |shifted: &mut Vec<u8>, wire: &mut String| {
        if !shifted.is_empty() {
            wire.push('&');
            wire.push_str(&MODIFIED_BASE64.encode(&*shifted));
            wire.push('-');
            shifted.clear();
        }
    };
    for letter in name.chars() {
        if (' '..='~').contains(&letter) {
            flush(&mut shifted, &mut wire);
            wire.push(letter);
            if letter == '&' {
                wire.push('-');
            }
        } else {
            let mut units = [0; 2];
            shifted.extend(letter.encode_utf16(&mut units).iter().flat_map(|u| u.to_be_bytes()));
        }
    }
    flush(&mut shifted, &mut wire);
    wire
}

/// A pattern of LIST, made ready for many names: `*` is anything, `%` anything but a separator (RFC
/// 9051 6.3.9). Places of the pattern are bits: each letter of a name moves 64 at once, so that a
/// hostile pattern cannot explode.
#[derive(Debug)]
pub struct Pattern {
    /// Where each letter is wanted.
    letters: HashMap<char, Vec<u64>>,
    /// Where `*` stands, and where `%`.
    any: Vec<u64>,
    level: Vec<u64>,
    /// Letters that a name must have at least.
    least: usize,
    /// How many places there are.
    places: usize,
}

impl Pattern {
    /// Prepares a pattern.
    pub fn new(pattern: &str) -> Self {
        let mut places: Vec<char> = pattern.chars().collect();
        let is_wild = |letter: char| matches!(letter, '*' | '%');
        // A run of wildcards is worth its strongest one: no two of them are neighbors.
        places.dedup_by(|next, kept| {
            let both = is_wild(*next) && is_wild(*kept);
            if both && *next == '*' {
                *kept = '*';
            }
            both
        });
        let nowhere = vec![0; places.len() / 64 + 1];
        let (mut letters, mut any) = (HashMap::<char, Vec<u64>>::new(), nowhere.clone());
        let (mut level, mut least) = (nowhere.clone(), 0);
        for (place, letter) in places.iter().enumerate() {
            let bits = match letter {
                '*' => &mut any,
                '%' => &mut level,
                letter => {
                    least += 1;
                    letters.entry(*letter).or_insert_with(|| nowhere.clone())
                }
            };
            if let Some(word) = bits.get_mut(place / 64) {
                *word |= 1 << (place % 64);
            }
        }
        Self { letters, any, level, least, places: places.len() }
    }

    /// Whether a name fits.
    pub fn fits(&self, name: &str) -> bool {
        if self.least > name.len() {
            return false;
        }
        // The places that fit the name read so far.
        let mut reached = vec![0; self.any.len()];
        if let Some(first) = reached.first_mut() {
            *first = 1;
        }
        self.pass_wildcards(&mut reached);
        for letter in name.chars() {
            let mut wanted = self.letters.get(&letter).into_iter().flatten();
            let mut carry = 0;
            for ((word, any), level) in reached.iter_mut().zip(&self.any).zip(&self.level) {
                let wild = if letter == SEPARATOR { *any } else { any | level };
                let steps = *word & wanted.next().copied().unwrap_or_default();
                *word = (*word & wild) | (steps << 1) | carry;
                carry = steps >> 63;
            }
            self.pass_wildcards(&mut reached);
        }
        let last = reached.get(self.places / 64).copied().unwrap_or_default();
        last >> (self.places % 64) & 1 == 1
    }

    /// A wildcard may stand for nothing: whoever reached it has also reached what follows.
    fn pass_wildcards(&self, reached: &mut [u64]) {
        let mut carry = 0;
        for ((word, any), level) in reached.iter_mut().zip(&self.any).zip(&self.level) {
            let wild = *word & (any | level);
            *word |= (wild << 1) | carry;
            carry = wild >> 63;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modified_utf7() {
        let check = |name: &str, wire: &str| {
            assert_eq!(encode_utf7(name), wire);
            assert_eq!(decode(wire.as_bytes(), false).as_deref(), Some(name));
        };
        // RFC 3501 5.1.3's examples, and what clients really make.
        check("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        check("Entwürfe", "Entw&APw-rfe");
        check("A&B", "A&-B");
        check("😀", "&2D3eAA-");
        check("Gelöschte Objekte", "Gel&APY-schte Objekte");
        assert_eq!(decode(b"A&B", false), None);
        assert_eq!(decode(b"A&B", true).as_deref(), Some("A&B"));
        assert_eq!(decode(b"&2D0-", false), None, "half a surrogate pair");
        assert_eq!(decode("Entwürfe".as_bytes(), false).as_deref(), Some("Entwürfe"));
        assert_eq!(decode(b"\xff", true), None);
    }

    #[test]
    fn names() {
        let name = |text: &str| MailboxName::parse(text).map(|name| name.to_string());
        assert_eq!(name("inBox"), Ok("INBOX".into()));
        assert_eq!(name("inbox/Sub"), Ok("INBOX/Sub".into()));
        assert_eq!(name("Inboxes"), Ok("Inboxes".into()));
        assert_eq!(name("a/b/"), Ok("a/b".into()));
        for bad in ["", "/", "a//b", "/a", "a*", "a\u{7f}", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(name(bad).is_err(), "{bad}");
        }
        let deep = MailboxName::parse("a/b/c").expect("a name");
        let above: Vec<_> = deep.ancestors().map(|name| name.to_string()).collect();
        assert_eq!(above, ["a", "a/b"]);
        assert!(deep.is_below(&MailboxName::parse("a").expect("a name")));
    }

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).fits(name)
    }

    #[test]
    fn patterns() {
        let check = |pattern: &str, fits: &[&str], not: &[&str]| {
            for name in fits {
                assert!(matches(pattern, name), "{pattern} {name}");
            }
            for name in not {
                assert!(!matches(pattern, name), "{pattern} {name}");
            }
        };
        check("*", &["a", "a/b", ""], &[]);
        check("%", &["a", "Entwürfe"], &["a/b"]);
        check("a/%", &["a/b", "a/"], &["a", "a/b/c"]);
        check("*b%c", &["a/bc", "bxxc", "bbc"], &["b/c", "b"]);
        check("INBOX", &["INBOX"], &["INBOX/a"]);
        check("a%*%b", &["ab", "a/b"], &["a/"]);
        check("a%%b", &["ab", "axb"], &["a/b"]);
        // Patterns of more than one word of bits, with wildcards and letters at its ends.
        for length in 60..140 {
            let name = format!("{}/b", "ä".repeat(length));
            for fitting in ["*", "%/b", "ä%/%", "*b", "%ä/*"] {
                let pattern = format!("{}{fitting}", "ä".repeat(length - 1));
                assert!(matches(&pattern, &name), "{pattern}");
            }
            for other in ["%", "%b", "ää/b", "*bb", "*ä"] {
                let pattern = format!("{}{other}", "ä".repeat(length - 1));
                assert!(!matches(&pattern, &name), "{pattern}");
            }
        }
        let hostile = "*a".repeat(200);
        assert!(!matches(&hostile, &"a".repeat(199)));
        let (near, letters) = (format!("{}b", "*a".repeat(900)), "a".repeat(999));
        // Minutes, if every letter of the name met every letter of the pattern.
        let (wild, long, name) = ("*%".repeat(16_000), "*x".repeat(16_000), "x/".repeat(200));
        for _ in 0..200 {
            assert!(matches(&wild, &name));
            assert!(!matches(&long, &name));
            assert!(!matches(&near, &letters));
        }
    }
}
