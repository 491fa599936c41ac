//! What is said about the keys that sign the mail of local domains (DKIM, RFC 6376).
//!
//! Invariants: as those of [`crate::message`]; everything here came with version 3.
//! Not here: the requests themselves ([`crate::message`]), what keys do (`signing` of the daemon).

use serde::{Deserialize, Serialize};

/// Keys in one part of a reply. With two long domains, a record and a reason each a part stays
/// under 500 KiB.
pub const DKIM_ROWS_PER_PART_MAX: usize = 250;

/// Longest string of a TXT record, in bytes (RFC 1035 3.3): a longer text is several.
const TXT_STRING_BYTES_MAX: usize = 255;

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DkimRow {
    /// The domain that signs, in A-labels.
    pub domain: String,
    /// What the key is called there.
    pub selector: String,
    /// How it signs.
    pub algorithm: DkimAlgorithm,
    /// What it is good for.
    pub state: DkimState,
    /// When it was made, in microseconds since 1970-01-01 UTC.
    pub created_us: u64,
    /// When its state changed last, in microseconds since 1970-01-01 UTC.
    pub changed_us: u64,
    /// Name of the TXT record to publish, without the last dot.
    pub record_name: String,
    /// Its text, whole.
    pub record_text: String,
    /// What the DNS says of it.
    pub published: DkimPublished,
    /// Why it is not found, in words; empty if it is.
    pub published_why: String,
}

impl DkimRow {
    /// The record as a line of a zone file (RFC 1035 5.1).
    #[must_use]
    pub fn zone_line(&self) -> String {
        let strings = self.record_text.as_bytes().chunks(TXT_STRING_BYTES_MAX);
        let strings = strings.map(|string| format!("\"{}\"", String::from_utf8_lossy(string)));
        let strings: Vec<String> = strings.collect();
        format!("{}. IN TXT ( {} )", self.record_name, strings.join(" "))
    }
}

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DkimAlgorithm {
    /// RSA of 2048 bits with SHA-256.
    Rsa,
    /// Ed25519 with SHA-256.
    Ed25519,
}

impl DkimAlgorithm {
    /// Its name, for lists.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::Ed25519 => "Ed25519",
        }
    }
}

/// What a key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DkimState {
    /// It was made; its record is to be published, and then it is to be activated.
    Waiting,
    /// It signs.
    Signing,
    /// It signs no more; its record stays published while mail it signed is on its way.
    Retired,
}

impl DkimState {
    /// What it is, in a word, for lists.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Signing => "signing",
            Self::Retired => "retired",
        }
    }
}

/// What the DNS says of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DkimPublished {
    /// It is there, and right.
    Found,
    /// It is not there.
    Missing,
    /// It would not do.
    Wrong,
    /// Nobody could say.
    Unknown,
}

impl DkimPublished {
    /// What it is, in a word, for lists.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_several_strings() {
        let mut row = DkimRow {
            domain: "example.org".to_owned(),
            selector: "s".to_owned(),
            algorithm: DkimAlgorithm::Rsa,
            state: DkimState::Waiting,
            created_us: 0,
            changed_us: 0,
            record_name: "s._domainkey.example.org".to_owned(),
            record_text: "v=DKIM1; p=AA".to_owned(),
            published: DkimPublished::Found,
            published_why: String::new(),
        };
        assert_eq!(row.zone_line(), "s._domainkey.example.org. IN TXT ( \"v=DKIM1; p=AA\" )");
        row.record_text = "x".repeat(256);
        let long = "x".repeat(255);
        let expected = format!("s._domainkey.example.org. IN TXT ( \"{long}\" \"x\" )");
        assert_eq!(row.zone_line(), expected);
    }
}
