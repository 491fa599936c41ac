//! The texts of MTA-STS: the record that says there is a policy, and the policy (RFC 8461 3).
//!
//! Invariants: whoever holds a [`Policy`] holds one that can be followed: at least one server
//! unless nothing is asked for, an age within bounds; reading never fails but by an error.
//! Not here: where the texts come from (`lookup`), what a policy leads to (`decision`).

use std::fmt;

use grace_mail::address::{Charset, Domain};

use crate::store::transport::Mode;

/// Longest age of a policy, in seconds: a year (RFC 8461 3.2).
const MAX_AGE_S_MAX: u64 = 31_557_600;
/// Patterns of servers that one policy may have. The largest we know of has 12.
const MX_MAX: usize = 200;
/// Longest `id` of a record, in characters (RFC 8461 3.1).
const ID_LEN_MAX: usize = 32;

/// What a domain asks of those who send it mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What it asks for.
    pub mode: Mode,
    /// Patterns of its servers' names, lower case.
    pub mx: Vec<String>,
    /// How long it holds, in seconds.
    pub max_age_s: u64,
}

/// Why a text is no policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyError {
    /// It is not UTF-8.
    NotText,
    /// A line is no `name: value`.
    NotAField,
    /// It is of no version that we know, or of none.
    Version,
    /// Its mode is none, or missing.
    Mode,
    /// Its age is none, missing, or longer than a year.
    MaxAge,
    /// A server's name is none.
    Mx,
    /// It names no server, or very many.
    MxCount,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotText => "it is not UTF-8",
            Self::NotAField => "a line is no field",
            Self::Version => "it has no version STSv1",
            Self::Mode => "it has no mode that is known",
            Self::MaxAge => "it has no max_age of a year at most",
            Self::Mx => "an mx is no name of a server",
            Self::MxCount => "it names no server, or more than any domain has",
        })
    }
}

impl Policy {
    /// Reads a policy (RFC 8461 3.2). Of a field that comes again the first counts, all of `mx`;
    /// fields that nobody knows yet are passed over.
    ///
    /// # Errors
    /// It is none; says why.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        let text = std::str::from_utf8(text).map_err(|_| PolicyError::NotText)?;
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for line in text.split('\n').map(str::trim_end).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or(PolicyError::NotAField)?;
            let value = value.trim_start();
            match name {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" if mx.len() == MX_MAX => return Err(PolicyError::MxCount),
                "mx" => mx.push(pattern(value).ok_or(PolicyError::Mx)?),
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err(PolicyError::Version);
        }
        let mode = match mode {
            Some("enforce") => Mode::Enforce,
            Some("testing") => Mode::Testing,
            Some("none") => Mode::None,
            _ => return Err(PolicyError::Mode),
        };
        if mx.is_empty() && mode != Mode::None {
            return Err(PolicyError::MxCount);
        }
        let max_age_s = max_age.and_then(seconds).ok_or(PolicyError::MaxAge)?;
        Ok(Self { mode, mx, max_age_s })
    }

    /// Whether a server may take mail for the domain (RFC 8461 4.1). A wildcard stands for one
    /// label.
    #[must_use]
    pub fn names(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.mx.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(above) => {
                host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == above)
            }
            None => *pattern == host,
        })
    }

    /// Its lines, as a report has them (RFC 8460 4.2).
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec!["version: STSv1".to_owned(), format!("mode: {}", self.mode.name())];
        lines.extend(self.mx.iter().map(|mx| format!("mx: {mx}")));
        lines.push(format!("max_age: {}", self.max_age_s));
        lines
    }
}

/// `*.example.org` or `mx.example.org`, lower case and as A-labels.
fn pattern(value: &str) -> Option<String> {
    let (wildcard, name) = match value.strip_prefix("*.") {
        Some(name) => ("*.", name),
        None => ("", value),
    };
    let name = Domain::parse(name.strip_suffix('.').unwrap_or(name), Charset::Utf8).ok()?;
    Some(format!("{wildcard}{}", name.as_str()))
}

/// `1*10(DIGIT)`, at most a year.
fn seconds(value: &str) -> Option<u64> {
    let is_number = (1..=10).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
    value.parse().ok().filter(|seconds| is_number && *seconds <= MAX_AGE_S_MAX)
}

/// The `id` in the records of `_mta-sts` (RFC 8461 3.1). `None`: there is no policy, for there is
/// no record of it, or more than one, or one that is wrong.
#[must_use]
pub fn record_id(texts: &[Vec<u8>]) -> Option<String> {
    let mut records = texts.iter().filter_map(|text| {
        let fields = std::str::from_utf8(text).ok()?.strip_prefix("v=STSv1")?;
        fields.trim_start_matches([' ', '\t']).strip_prefix(';')
    });
    let (fields, None) = (records.next()?, records.next()) else { return None };
    let mut id = None;
    for field in fields.split(';').map(|field| field.trim_matches([' ', '\t'])) {
        match field.split_once('=') {
            Some(("id", value)) => id = id.or(Some(value)),
            Some((name, _)) if !name.is_empty() => {}
            None if field.is_empty() => {}
            _ => return None,
        }
    }
    let is_id = |id: &&str| {
        (1..=ID_LEN_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    id.filter(is_id).map(str::to_owned)
}
