//! Questions about what a domain publishes for others to find its servers by.
//!
//! Not here: what mail asks on its way ([`super`]), what the answers mean (`domain_dns`).

use hickory_resolver::proto::rr::{RData, RecordType};

use super::secure::{Tlsa, tlsa_of};
use super::{Failure, Resolver, of_kind, written};

/// Where a service is (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The host, as [`super::Mx`] has it; empty: the service is not offered.
    pub host: String,
    /// Its port there.
    pub port: u16,
}

impl Resolver {
    /// Where a service is, by a name such as `_imaps._tcp.example.org`.
    ///
    /// # Errors
    /// Nothing is said of it, or nobody could say.
    pub async fn services(&self, name: &str) -> Result<Vec<Service>, Failure> {
        let lookup = self.ask(name, RecordType::SRV).await?;
        let services = of_kind(&lookup, |data| match data {
            RData::SRV(srv) => Some(Service { host: written(&srv.target), port: srv.port }),
            _ => None,
        });
        self.some_of(services, name, RecordType::SRV)
    }

    /// The name that a name is an alias of.
    ///
    /// # Errors
    /// It is none, or nobody could say.
    pub async fn aliased(&self, name: &str) -> Result<Vec<String>, Failure> {
        let lookup = self.ask(name, RecordType::CNAME).await?;
        let names = of_kind(&lookup, |data| match data {
            RData::CNAME(name) => Some(written(&name.0)),
            _ => None,
        });
        self.some_of(names, name, RecordType::CNAME)
    }

    /// The certificates of a server, by a name such as `_25._tcp.mail.example.org`. Whether the
    /// answer is signed is not looked at.
    ///
    /// # Errors
    /// Nothing is said of them, or nobody could say.
    pub async fn associations(&self, name: &str) -> Result<Vec<Tlsa>, Failure> {
        let lookup = self.ask(name, RecordType::TLSA).await?;
        self.some_of(tlsa_of(&lookup), name, RecordType::TLSA)
    }
}
