//! The tables of transport security: policies that other domains published, and how it went.
//!
//! Invariant: a number of [`Mode`], [`PolicyType`] or [`TlsResult`] never changes its meaning.
//! Not here: who follows policies and counts results (`transport`).

use serde::{Deserialize, Serialize};

use gracedb::table::Table;

/// A policy of MTA-STS as it was fetched (RFC 8461 3.2).
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 20, name = "sts_policy")]
pub struct StsPolicyRow {
    /// The domain it is of.
    #[key]
    pub domain: String,
    /// The `id` that the domain's record had then (RFC 8461 3.1).
    pub id: String,
    /// As a number of [`Mode`].
    pub mode: u8,
    /// Patterns of its servers' names.
    pub mx: Vec<String>,
    /// How long it holds, in seconds.
    pub max_age_s: u64,
    /// When it was fetched, milliseconds since 1970 UTC.
    pub fetched_ms: u64,
}

/// What a policy asks for (RFC 8461 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Nothing; it ends an earlier one.
    None = 0,
    /// That failures are told of, and mail goes on.
    Testing = 1,
    /// That no mail goes to a server that fails.
    Enforce = 2,
}

impl Mode {
    /// The mode a row's number stands for.
    #[must_use]
    pub fn from_row(number: u8) -> Self {
        match number {
            1 => Self::Testing,
            2 => Self::Enforce,
            _ => Self::None,
        }
    }

    /// As a policy has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Testing => "testing",
            Self::Enforce => "enforce",
        }
    }
}

/// How often one thing came of connections to a server on a day (RFC 8460 4).
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 21, name = "tls_result")]
pub struct TlsResultRow {
    /// The day, counted from 1970-01-01 UTC.
    #[key]
    pub day: u64,
    /// The domain whose policy it is.
    #[key]
    pub domain: String,
    /// As a number of [`PolicyType`].
    #[key]
    pub policy_type: u8,
    /// Tells policies of one domain and type apart: the first eight bytes of the SHA-256 of the
    /// lines of [`TlsResultRow::policy`].
    #[key]
    pub policy_hash: u64,
    /// The server; empty: it did not come to one.
    #[key]
    pub mx_host: String,
    /// As a number of [`TlsResult`].
    #[key]
    pub result: u8,
    /// The policy, as a report has it (`policy-string`): lines of MTA-STS, or records of TLSA.
    pub policy: Vec<String>,
    /// How often.
    pub count: u64,
    /// Our address, the last time; empty: it did not come to that.
    pub sending_ip: String,
    /// The server's address, the last time; likewise.
    pub receiving_ip: String,
    /// What was wrong, the last time.
    pub reason: String,
}

/// Kinds of policies (RFC 8460 4.2, `policy-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PolicyType {
    /// `no-policy-found`
    NoPolicyFound = 0,
    /// `sts`
    Sts = 1,
    /// `tlsa`
    Tlsa = 2,
}

/// What came of a connection (RFC 8460 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TlsResult {
    /// It was encrypted, as the policy asks for.
    Success = 0,
    /// `starttls-not-supported`
    StarttlsNotSupported = 1,
    /// `certificate-host-mismatch`
    CertificateHostMismatch = 2,
    /// `certificate-expired`
    CertificateExpired = 3,
    /// `certificate-not-trusted`
    CertificateNotTrusted = 4,
    /// `validation-failure`
    ValidationFailure = 5,
    /// `tlsa-invalid`
    TlsaInvalid = 6,
    /// `dnssec-invalid`
    DnssecInvalid = 7,
    /// `dane-required`
    DaneRequired = 8,
    /// `sts-policy-fetch-error`
    StsPolicyFetchError = 9,
    /// `sts-policy-invalid`
    StsPolicyInvalid = 10,
    /// `sts-webpki-invalid`
    StsWebpkiInvalid = 11,
}

impl PolicyType {
    /// As a report has it (RFC 8460 4.2).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoPolicyFound => "no-policy-found",
            Self::Sts => "sts",
            Self::Tlsa => "tlsa",
        }
    }
}

impl TlsResult {
    /// As a report has it (RFC 8460 4.3).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::StarttlsNotSupported => "starttls-not-supported",
            Self::CertificateHostMismatch => "certificate-host-mismatch",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotTrusted => "certificate-not-trusted",
            Self::ValidationFailure => "validation-failure",
            Self::TlsaInvalid => "tlsa-invalid",
            Self::DnssecInvalid => "dnssec-invalid",
            Self::DaneRequired => "dane-required",
            Self::StsPolicyFetchError => "sts-policy-fetch-error",
            Self::StsPolicyInvalid => "sts-policy-invalid",
            Self::StsWebpkiInvalid => "sts-webpki-invalid",
        }
    }
}
