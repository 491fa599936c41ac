//! What is said about the DNS of a local domain: the records to publish, and what is there.
//!
//! Invariants: as those of [`crate::message`]; everything here came with version 4.
//! Not here: the request itself ([`crate::message`]), how a record is judged (`domain_dns` of the
//! daemon).

use serde::{Deserialize, Serialize};

/// Records in one part of a reply. With what was found and advice each takes 8 KiB at most.
pub const DOMAIN_DNS_ROWS_PER_PART_MAX: usize = 100;

/// Longest string of a TXT record, in bytes (RFC 1035 3.3): a longer text is several.
const TXT_STRING_BYTES_MAX: usize = 255;

/// One record to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainDnsRow {
    /// What it is for.
    pub purpose: DnsPurpose,
    /// Its type, such as `MX`; `file` is no record but a file that is fetched from the name.
    pub record_type: String,
    /// Where it stands, without the last dot.
    pub name: String,
    /// What it says, as a zone file has it but for the quotes of a text; a file's lines are
    /// separated by LF. Empty: it is not known here; `advice` says more.
    pub value: String,
    /// How long others may remember it, in seconds.
    pub ttl_s: u32,
    /// How much it matters.
    pub importance: DnsImportance,
    /// Why, in a sentence.
    pub why: String,
    /// What the DNS says of it.
    pub verdict: DnsVerdict,
    /// What is there, as far as that is known.
    pub found: Vec<String>,
    /// What is wrong and what to do; may say something of a record that is right, too.
    pub advice: String,
}

impl DomainDnsRow {
    /// The record as a line of a zone file (RFC 1035 5.1); as a comment what is no record.
    #[must_use]
    pub fn zone_line(&self) -> String {
        let Self { name, value, record_type, ttl_s, .. } = self;
        if value.is_empty() {
            return format!("; {name}. {record_type}: {}", self.advice);
        }
        match record_type.as_str() {
            "file" => {
                let lines = value.lines().map(|line| format!("\n;   {line}"));
                format!("; a file at {name}:{}", lines.collect::<String>())
            }
            "TXT" => format!("{name}. {ttl_s} IN TXT {}", quoted(value)),
            _ => format!("{name}. {ttl_s} IN {record_type} {value}"),
        }
    }
}

/// A text as strings in quotes (RFC 1035 5.1).
fn quoted(text: &str) -> String {
    let strings = text.as_bytes().chunks(TXT_STRING_BYTES_MAX).map(|string| {
        let string = String::from_utf8_lossy(string).replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{string}\"")
    });
    strings.collect::<Vec<_>>().join(" ")
}

/// What a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DnsPurpose {
    /// Which server takes the domain's mail (RFC 5321 5.1).
    Mx,
    /// Where that server is.
    Address,
    /// Who may send for the domain (RFC 7208).
    Spf,
    /// A key that signs its mail (RFC 6376).
    Dkim,
    /// What others are to do with mail that is not its own (RFC 9989).
    Dmarc,
    /// That mail for it comes encrypted to known servers only (RFC 8461).
    MtaSts,
    /// Whom to tell of trouble with encryption (RFC 8460).
    TlsReports,
    /// Which key the server has (DANE, RFC 7672).
    Tlsa,
    /// Where mail programs find it (RFC 6186, 8314).
    Service,
    /// Where mail programs fetch their settings.
    Autoconfig,
    /// The name of an address (RFC 8601 3).
    Reverse,
}

impl DnsPurpose {
    /// Every purpose, in the order of the wire.
    pub const ALL: [Self; 11] = [
        Self::Mx,
        Self::Address,
        Self::Spf,
        Self::Dkim,
        Self::Dmarc,
        Self::MtaSts,
        Self::TlsReports,
        Self::Tlsa,
        Self::Service,
        Self::Autoconfig,
        Self::Reverse,
    ];

    /// What it is, in a word, for lists.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mx => "MX",
            Self::Address => "address",
            Self::Spf => "SPF",
            Self::Dkim => "DKIM",
            Self::Dmarc => "DMARC",
            Self::MtaSts => "MTA-STS",
            Self::TlsReports => "TLS-RPT",
            Self::Tlsa => "TLSA",
            Self::Service => "service",
            Self::Autoconfig => "autoconfig",
            Self::Reverse => "reverse",
        }
    }
}

/// How much a record matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DnsImportance {
    /// Without it mail does not come or is not taken.
    Required,
    /// Without it mail is trusted less.
    Recommended,
    /// It makes something easier or safer.
    Optional,
}

impl DnsImportance {
    /// Every one, in the order of the wire.
    pub const ALL: [Self; 3] = [Self::Required, Self::Recommended, Self::Optional];

    /// What it is, in a word, for lists.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Recommended => "recommended",
            Self::Optional => "optional",
        }
    }
}

/// What the DNS says of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DnsVerdict {
    /// What is there does what this record does.
    Found,
    /// There is nothing.
    Missing,
    /// What is there does something else.
    Wrong,
    /// Nobody could say.
    Unknown,
    /// Nobody was asked.
    Unchecked,
}

impl DnsVerdict {
    /// Every one, in the order of the wire.
    pub const ALL: [Self; 5] =
        [Self::Found, Self::Missing, Self::Wrong, Self::Unknown, Self::Unchecked];

    /// What it is, in a word, for lists.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Unknown => "unknown",
            Self::Unchecked => "unchecked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_lines_of_a_zone_and_the_rest_comments() {
        let line = |record_type: &str, value: &str| {
            let row = DomainDnsRow {
                purpose: DnsPurpose::Mx,
                record_type: record_type.to_owned(),
                name: "example.org".to_owned(),
                value: value.to_owned(),
                ttl_s: 3_600,
                importance: DnsImportance::Required,
                why: String::new(),
                verdict: DnsVerdict::Unchecked,
                found: Vec::new(),
                advice: "its address".to_owned(),
            };
            row.zone_line()
        };
        let mx = line("MX", "10 mail.example.org.");
        assert_eq!(mx, "example.org. 3600 IN MX 10 mail.example.org.");
        assert_eq!(line("TXT", "a \"b\""), r#"example.org. 3600 IN TXT "a \"b\"""#);
        let long = "x".repeat(256);
        let (first, rest) = long.split_at(255);
        assert_eq!(line("TXT", &long), format!("example.org. 3600 IN TXT \"{first}\" \"{rest}\""));
        assert_eq!(line("file", "a\nb"), "; a file at example.org:\n;   a\n;   b");
        assert_eq!(line("A", ""), "; example.org. A: its address");
    }
}
