//! Why a question to the DNS has no answer.

use std::fmt;

use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;

/// A question without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What was asked about.
    pub name: String,
    /// The kind of record that was wanted.
    pub kind: RecordType,
    /// Why there is no answer.
    pub cause: Cause,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Nothing may be called that (RFC 1035 2.3.4): a label is empty or too long.
    NoName,
    /// The name does not exist (NXDOMAIN), nor anything below it (RFC 8020).
    NotThere,
    /// The name exists, without a record of this kind (RFC 2308 2.2).
    NoRecord,
    /// Nobody could say: SERVFAIL, no answer in time, no way to ask. Later it may be known.
    Temporary(String),
    /// There is an answer that should be signed, and is not signed as it should (RFC 4033 5).
    /// Whoever wrote it is not the one that was asked; later he may be.
    Bogus,
}

impl Failure {
    /// Whether asking again later makes sense.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self.cause, Cause::Temporary(_) | Cause::Bogus)
    }
}

impl Cause {
    pub(super) fn late() -> Self {
        Self::Temporary("no name server answered in time".to_owned())
    }

    pub(super) fn of(error: &NetError) -> Self {
        match error {
            NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
                ResponseCode::NXDomain => Self::NotThere,
                _ => Self::NoRecord,
            },
            NetError::Dns(DnsError::ResponseCode(code)) => {
                Self::Temporary(format!("the name server answered {code}"))
            }
            NetError::Dns(DnsError::DnssecBogus) => Self::Bogus,
            // What a zone does not sign it need not prove either.
            NetError::Dns(DnsError::Nsec { response, proof, .. }) if !proof.is_bogus() => {
                match response.response_code {
                    ResponseCode::NXDomain => Self::NotThere,
                    _ => Self::NoRecord,
                }
            }
            NetError::Dns(DnsError::Nsec { .. }) => Self::Bogus,
            NetError::Timeout => Self::late(),
            NetError::NoConnections => Self::Temporary("no name server can be reached".to_owned()),
            other => Self::Temporary(other.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, cause } = self;
        match cause {
            Cause::NoName => write!(f, "{name:?} is no domain name"),
            Cause::NotThere => write!(f, "{name} does not exist"),
            Cause::NoRecord => write!(f, "{name} has no {kind} record"),
            Cause::Temporary(why) => write!(f, "looking up {kind} of {name}: {why}"),
            Cause::Bogus => {
                write!(f, "the answer about {kind} of {name} is not signed as it must be (DNSSEC)")
            }
        }
    }
}

impl std::error::Error for Failure {}
