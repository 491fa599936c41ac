//! What is published of a key (RFC 6376 3.6), and whether it is.
//!
//! Not here: how a zone file shows it (`grace_ipc::dkim`).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::dkim::tags::Tags;
use crate::dns::Resolver;
use crate::store::dkim::KeyAlgorithm;

/// A TXT record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it stands, without the last dot.
    pub name: String,
    /// Its text, whole.
    pub text: String,
}

/// What the DNS says of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// It is there, and right.
    Found,
    /// It is not there; why.
    Missing(String),
    /// It would not do; why.
    Wrong(String),
    /// Nobody could say; why.
    Unknown(String),
}

impl Published {
    /// Whether it is there, and right.
    #[must_use]
    pub fn is_found(&self) -> bool {
        *self == Self::Found
    }

    /// Why it is not found; empty when it is.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Found => "",
            Self::Missing(why) | Self::Wrong(why) | Self::Unknown(why) => why,
        }
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found => f.write_str("is found"),
            Self::Missing(why) => write!(f, "is missing: {why}"),
            Self::Wrong(why) => write!(f, "is wrong: {why}"),
            Self::Unknown(why) => write!(f, "could not be looked up: {why}"),
        }
    }
}

impl Record {
    pub(super) fn new(
        domain: &str,
        selector: &str,
        algorithm: KeyAlgorithm,
        public_key: &[u8],
    ) -> Self {
        let kind = match algorithm {
            KeyAlgorithm::Rsa => "rsa",
            KeyAlgorithm::Ed25519 => "ed25519",
        };
        Self {
            name: format!("{selector}._domainkey.{domain}"),
            text: format!("v=DKIM1; k={kind}; p={}", BASE64.encode(public_key)),
        }
    }

    /// Asks whether it is published.
    pub(super) async fn look_up(&self, dns: &Resolver) -> Published {
        let texts = match dns.txt(&self.name).await {
            Ok(texts) => texts,
            Err(failure) if failure.is_temporary() => {
                return Published::Unknown(failure.to_string());
            }
            Err(failure) => return Published::Missing(failure.to_string()),
        };
        match texts.as_slice() {
            [text] => self.compare(text).map_or_else(Published::Wrong, |()| Published::Found),
            // RFC 6376 3.6.2.2: what happens then is anybody's guess.
            several => Published::Wrong(format!("there are {} texts, not one", several.len())),
        }
    }

    /// Whether a text that was found does what this one does. It may be written otherwise, and say
    /// more (RFC 6376 3.6.1).
    fn compare(&self, found: &[u8]) -> Result<(), String> {
        let theirs = Tags::parse(found)?;
        let ours = Tags::parse(self.text.as_bytes())?;
        if theirs.get("v").is_some_and(|version| version != b"DKIM1") {
            return Err("it does not say v=DKIM1".to_owned());
        }
        let kind = |tags: &Tags<'_>| tags.get("k").unwrap_or(b"rsa").to_vec();
        if kind(&theirs) != kind(&ours) {
            let kind = kind(&ours);
            return Err(format!("it does not say k={}", String::from_utf8_lossy(&kind)));
        }
        let key = |tags: &Tags<'_>| {
            let written = tags.get("p").unwrap_or_default().iter().copied();
            written.filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<_>>()
        };
        if key(&theirs).is_empty() {
            return Err("its p= is empty: the key counts as revoked".to_owned());
        }
        if key(&theirs) != key(&ours) {
            return Err("it has another key".to_owned());
        }
        let allows = |tag: &str, words: &[&[u8]]| {
            theirs.get(tag).is_none_or(|list| {
                list.split(|&byte| byte == b':').any(|word| words.contains(&word.trim_ascii()))
            })
        };
        if !allows("h", &[b"sha256"]) {
            return Err("its h= does not allow sha256".to_owned());
        }
        if !allows("s", &[b"*", b"email"]) {
            return Err("its s= does not allow email".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_may_be_written_otherwise() {
        let record = Record::new("example.org", "s", KeyAlgorithm::Ed25519, b"0123456789");
        assert_eq!(record.name, "s._domainkey.example.org");
        assert_eq!(record.text, "v=DKIM1; k=ed25519; p=MDEyMzQ1Njc4OQ==");
        for right in [
            record.text.as_str(),
            "k=ed25519;p=MDEyMzQ1 Njc4OQ==;",
            "v=DKIM1; k=ed25519; h=sha1:sha256; s=email; t=y; n=note; p=MDEyMzQ1Njc4OQ==",
        ] {
            assert_eq!(record.compare(right.as_bytes()), Ok(()), "{right}");
        }
        for (wrong, why) in [
            ("hello", "a tag has no value"),
            ("v=DKIM2; k=ed25519; p=MDEyMzQ1Njc4OQ==", "it does not say v=DKIM1"),
            ("v=DKIM1; p=MDEyMzQ1Njc4OQ==", "it does not say k=ed25519"),
            ("v=DKIM1; k=ed25519; p=", "its p= is empty: the key counts as revoked"),
            ("v=DKIM1; k=ed25519; p=AAAA", "it has another key"),
            ("k=ed25519; p=MDEyMzQ1Njc4OQ==; h=sha1", "its h= does not allow sha256"),
            ("k=ed25519; p=MDEyMzQ1Njc4OQ==; s=web", "its s= does not allow email"),
        ] {
            assert_eq!(record.compare(wrong.as_bytes()), Err(why.to_owned()), "{wrong}");
        }
    }
}
