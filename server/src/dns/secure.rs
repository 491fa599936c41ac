//! What a signed answer says besides its records: that nobody on the way changed it (RFC 4033 5).
//!
//! Invariants: an answer is [`Security::Secure`] only if every record of it is, the aliases on the
//! way included; "bogus" is no answer but a failure.
//! Not here: what follows from it (`transport`).

use std::fmt;

use hickory_resolver::lookup::Lookup;
use hickory_resolver::proto::rr::{RData, RecordType};

use super::{Failure, Mx, Resolver, name_of, of_kind, written};

/// Aliases that are followed: what comes after them in an answer is not looked at.
const ALIASES_MAX: usize = 8;

/// Whether an answer is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Signed, from the trust anchor down.
    Secure,
    /// Not signed, and it need not be; or nobody looked.
    Insecure,
}

/// The servers of a domain, and whether the domain itself says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecureMx {
    /// The servers, the most preferred first.
    pub hosts: Vec<Mx>,
    /// Whether the list is signed.
    pub security: Security,
    /// The domain's name behind all aliases.
    pub name: String,
}

/// What is known of a host that has addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecureHost {
    /// Whether its addresses are signed, all aliases on the way included.
    pub security: Security,
    /// Its name behind all aliases.
    pub name: String,
}

/// A TLSA record (RFC 6698 2), unchecked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tlsa {
    /// Certificate usage.
    pub usage: u8,
    /// Selector.
    pub selector: u8,
    /// Matching type.
    pub matching: u8,
    /// Certificate association data.
    pub data: Vec<u8>,
}

impl fmt::Display for Tlsa {
    /// As a zone file has it (RFC 6698 2.2).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} ", self.usage, self.selector, self.matching)?;
        self.data.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Resolver {
    /// As [`Resolver::mx`], and whether that is signed.
    ///
    /// # Errors
    /// There are none, or nobody could say.
    pub async fn secure_mx(&self, domain: &str) -> Result<SecureMx, Failure> {
        let lookup = self.ask(domain, RecordType::MX).await?;
        let hosts = self.mx_of(&lookup, domain)?;
        Ok(SecureMx { hosts, security: security(&lookup), name: behind_aliases(&lookup, domain) })
    }

    /// Whether a host's addresses are signed. One kind of address is enough (RFC 7672 2.2.2).
    ///
    /// # Errors
    /// It has no address, or nobody could say of either kind.
    pub async fn secure_host(&self, host: &str) -> Result<SecureHost, Failure> {
        let (six, four) =
            tokio::join!(self.ask(host, RecordType::AAAA), self.ask(host, RecordType::A));
        // Of two reasons the one that leaves hope.
        let lookups = match (six, four) {
            (Err(six), Err(_)) if six.is_temporary() => return Err(six),
            (Err(_), Err(four)) => return Err(four),
            (six, four) => [six.ok(), four.ok()],
        };
        let mut found = None;
        for lookup in lookups.into_iter().flatten() {
            let host =
                SecureHost { security: security(&lookup), name: behind_aliases(&lookup, host) };
            if found.is_none() || host.security == Security::Secure {
                found = Some(host);
            }
        }
        let none = SecureHost { security: Security::Insecure, name: host.to_owned() };
        Ok(found.unwrap_or(none))
    }

    /// The TLSA records of a name, if they are signed; else none: unsigned ones say nothing
    /// (RFC 7672 2.2).
    ///
    /// # Errors
    /// There are none, or nobody could say.
    pub async fn tlsa(&self, name: &str) -> Result<Vec<Tlsa>, Failure> {
        let lookup = self.ask(name, RecordType::TLSA).await?;
        if security(&lookup) == Security::Insecure {
            return Ok(Vec::new());
        }
        self.some_of(tlsa_of(&lookup), name, RecordType::TLSA)
    }
}

/// The TLSA records of an answer.
pub(super) fn tlsa_of(lookup: &Lookup) -> Vec<Tlsa> {
    of_kind(lookup, |data| match data {
        RData::TLSA(record) => Some(Tlsa {
            usage: record.cert_usage.into(),
            selector: record.selector.into(),
            matching: record.matching.into(),
            data: record.cert_data.clone(),
        }),
        _ => None,
    })
}

fn security(lookup: &Lookup) -> Security {
    let mut records =
        lookup.answers().iter().filter(|record| record.record_type() != RecordType::RRSIG);
    let is_there = !lookup.answers().is_empty();
    if is_there && records.all(|record| record.proof.is_secure()) {
        Security::Secure
    } else {
        Security::Insecure
    }
}

/// The name at the end of the aliases in an answer (RFC 1034 3.6.2).
fn behind_aliases(lookup: &Lookup, asked: &str) -> String {
    let Some(mut name) = name_of(asked) else { return asked.to_owned() };
    for _ in 0..ALIASES_MAX {
        let alias = lookup.answers().iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == name => Some(target.0.clone()),
            _ => None,
        });
        match alias {
            Some(target) => name = target,
            None => break,
        }
    }
    written(&name)
}
