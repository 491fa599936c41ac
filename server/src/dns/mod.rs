//! DNS: what mail asks about other hosts, and answers of a kind for each question.
//!
//! ```text
//!   mx, addresses, txt, ptr ─▶ Resolver ─▶ cache ─▶ name servers of [dns], UDP, then TCP
//!                                                   when an answer does not fit
//!                       └─ validated ─▶ validator: the same, and every signature from the trust
//!                                                   anchor down (DNSSEC)
//! ```
//! Invariants: every question ends, at the latest one `timeout_ms` after its last attempt; an
//! answer has at most `records_max` records; "there is none" and "nobody could
//! say" are different errors, for the first refuses mail and the second makes it wait.
//! Not here: which host gets mail (`route`), what a record means (`authenticity`).

mod failure;
pub mod published;
pub mod secure;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod validator;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;

pub use self::failure::{Cause, Failure};
use self::validator::Validator;
use crate::config::limits::Dns;
use crate::config::names::Nameserver;

/// How long an answer is believed, whatever it says of itself: who corrects a mistake is heard the
/// next day.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Likewise that something is not there (RFC 2308 5 asks for three hours at most).
const ABSENCE_AGE_MAX: Duration = Duration::from_secs(3 * 3_600);
/// A checked answer takes this many times as long as one question at most: the keys of each zone
/// above the name are asked for, one zone after the other, where they are not known.
const CHECKED_QUESTIONS: u32 = 4;
/// Questions on their way over one connection to a name server; the next one fails.
const QUESTIONS_AT_ONCE_MAX: usize = 1_024;

/// Asks name servers. Cheap to clone; all clones have one cache.
#[derive(Clone)]
pub struct Resolver {
    inner: Arc<TokioResolver>,
    /// Who checks signatures; `None`: they are not looked at.
    validator: Option<Arc<Validator>>,
    /// Whether answers are those of the validator.
    is_validated: bool,
    records_max: usize,
    /// When nobody waits for an answer any more.
    patience: Duration,
}

/// A host that takes mail for a domain (RFC 5321 5.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mx {
    /// The lowest is tried first.
    pub preference: u16,
    /// Its name, lower case, without the last dot; empty: the domain takes no mail (RFC 7505).
    pub host: String,
}

impl Resolver {
    /// Makes ready to ask, by the settings, else by those of the system.
    ///
    /// # Errors
    /// Nobody is there to be asked, or the trust anchor cannot be read; says what to do.
    pub fn new(settings: &Dns) -> Result<Self, String> {
        let inner = Arc::new(client(settings, None)?);
        let validates = settings.dnssec == "validate";
        let validator = validates.then(|| Validator::new(settings)).transpose()?.map(Arc::new);
        let records_max = usize::try_from(settings.records_max).unwrap_or(usize::MAX);
        let patience = Duration::from_millis(settings.timeout_ms * (settings.attempts + 1));
        Ok(Self { inner, validator, is_validated: false, records_max, patience })
    }

    /// The same resolver, which takes no answer that is not signed as it should be. Where the name
    /// servers know nothing of signatures, or they are not to be looked at, it takes all answers,
    /// and none counts as signed.
    #[must_use]
    pub fn validated(&self) -> Self {
        let patience = self.patience * CHECKED_QUESTIONS;
        Self { is_validated: true, patience, ..self.clone() }
    }

    /// The same resolver, for the library that checks senders.
    #[must_use]
    pub fn hickory(&self) -> &TokioResolver {
        &self.inner
    }

    /// The hosts that take mail for a domain, the most preferred first.
    ///
    /// # Errors
    /// There are none, or nobody could say.
    pub async fn mx(&self, domain: &str) -> Result<Vec<Mx>, Failure> {
        self.mx_of(&self.ask(domain, RecordType::MX).await?, domain)
    }

    fn mx_of(&self, lookup: &Lookup, domain: &str) -> Result<Vec<Mx>, Failure> {
        let mut hosts = of_kind(lookup, |data| match data {
            RData::MX(mx) => Some(Mx { preference: mx.preference, host: written(&mx.exchange) }),
            _ => None,
        });
        hosts.sort_unstable();
        self.some_of(hosts, domain, RecordType::MX)
    }

    /// The addresses of a host, IPv6 before IPv4, each in the order they came.
    ///
    /// # Errors
    /// There are none, or nobody could say. That half of them is known is enough.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Failure> {
        let (six, four) = tokio::join!(self.ipv6(host), self.ipv4(host));
        match (six, four) {
            (Ok(six), Ok(four)) => Ok([six, four].concat()),
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
            // Of two reasons the one that leaves hope.
            (Err(six), Err(four)) if six.is_temporary() && !four.is_temporary() => Err(six),
            (Err(_), Err(four)) => Err(four),
        }
    }

    /// The IPv4 addresses of a host.
    ///
    /// # Errors
    /// There are none, or nobody could say.
    pub async fn ipv4(&self, host: &str) -> Result<Vec<IpAddr>, Failure> {
        let lookup = self.ask(host, RecordType::A).await?;
        let addresses = of_kind(&lookup, |data| match data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            _ => None,
        });
        self.some_of(addresses, host, RecordType::A)
    }

    /// The IPv6 addresses of a host.
    ///
    /// # Errors
    /// There are none, or nobody could say.
    pub async fn ipv6(&self, host: &str) -> Result<Vec<IpAddr>, Failure> {
        let lookup = self.ask(host, RecordType::AAAA).await?;
        let addresses = of_kind(&lookup, |data| match data {
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        });
        self.some_of(addresses, host, RecordType::AAAA)
    }

    /// The texts of a name, each put together of its strings (RFC 7208 3.3). They need not be
    /// UTF-8.
    ///
    /// # Errors
    /// There are none, or nobody could say.
    pub async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, Failure> {
        let lookup = self.ask(name, RecordType::TXT).await?;
        let texts = of_kind(&lookup, |data| match data {
            RData::TXT(text) => Some(text.txt_data.concat()),
            _ => None,
        });
        self.some_of(texts, name, RecordType::TXT)
    }

    /// The names of an address. They are claims: whoever owns the address writes them.
    ///
    /// # Errors
    /// There are none, or nobody could say.
    pub async fn ptr(&self, address: IpAddr) -> Result<Vec<String>, Failure> {
        let name = Name::from(address);
        let asked = address.to_string();
        let lookup = self.look_up(name, &asked, RecordType::PTR).await?;
        let names = of_kind(&lookup, |data| match data {
            RData::PTR(name) => Some(written(name)),
            _ => None,
        });
        self.some_of(names, &asked, RecordType::PTR)
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Result<Lookup, Failure> {
        let failure = |cause| Failure { name: name.to_owned(), kind, cause };
        let asked = name_of(name).ok_or_else(|| failure(Cause::NoName))?;
        self.look_up(asked, name, kind).await
    }

    async fn look_up(&self, name: Name, asked: &str, kind: RecordType) -> Result<Lookup, Failure> {
        let failure = |cause| Failure { name: asked.to_owned(), kind, cause };
        let answer = async {
            let checked = self.validator.as_ref().filter(|_| self.is_validated);
            match checked {
                Some(validator) if validator.is_of_use().await => {
                    validator.resolver().lookup(name, kind).await
                }
                _ => self.inner.lookup(name, kind).await,
            }
        };
        match timeout(self.patience, answer).await {
            Ok(answer) => answer.map_err(|error| failure(Cause::of(&error))),
            Err(_) => Err(failure(Cause::late())),
        }
    }

    /// As many as are taken, if there are any: an answer may hold a chain of aliases alone.
    fn some_of<T>(
        &self,
        mut all: Vec<T>,
        asked: &str,
        kind: RecordType,
    ) -> Result<Vec<T>, Failure> {
        all.truncate(self.records_max);
        if all.is_empty() {
            return Err(Failure { name: asked.to_owned(), kind, cause: Cause::NoRecord });
        }
        Ok(all)
    }
}

/// Who asks the name servers of the settings, and checks signatures if there is an anchor.
fn client(settings: &Dns, anchors: Option<TrustAnchors>) -> Result<TokioResolver, String> {
    let servers = if settings.resolvers.is_empty() {
        system_servers()
    } else {
        settings.resolvers.iter().map(server).collect()
    };
    let config = ResolverConfig::from_name_servers(servers);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options(settings))
        .with_tls_config(no_tls()?);
    if let Some(anchors) = anchors {
        builder = builder.with_trust_anchor(Arc::new(anchors));
    }
    builder.build().map_err(|e| format!("names cannot be looked up: {e}"))
}

/// A name as it is asked about. Labels may hold anything (RFC 2181 11), and what others publish has
/// such names; the dots alone have a meaning here.
fn name_of(text: &str) -> Option<Name> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut name = if text.is_ascii() {
        Name::from_labels(text.split('.').map(str::as_bytes)).ok()?
    } else {
        Name::from_utf8(text).ok()?
    };
    // Nobody's search list has a say in where mail goes.
    name.set_fqdn(true);
    Some(name)
}

/// The records of one kind in an answer.
fn of_kind<T>(lookup: &Lookup, kind: impl Fn(&RData) -> Option<T>) -> Vec<T> {
    lookup.answers().iter().filter_map(|record| kind(&record.data)).collect()
}

/// A name as it is compared and shown: lower case, without the last dot, and what cannot be seen or
/// would be mistaken for another name as `\nnn` (RFC 1035 5.1).
fn written(name: &Name) -> String {
    let mut out = String::new();
    for label in name.iter() {
        if !out.is_empty() {
            out.push('.');
        }
        for &byte in label {
            let letter = char::from(byte.to_ascii_lowercase());
            if byte.is_ascii_graphic() && byte != b'.' && byte != b'\\' {
                out.push(letter);
            } else {
                out.push_str(&format!("\\{byte:03}"));
            }
        }
    }
    out
}

/// The name servers that the system asks.
/// The one on this machine where the system names none, as resolv.conf(5) has it.
fn system_servers() -> Vec<NameServerConfig> {
    let named = read_system_conf().map(|(config, _)| config.into_parts().2).unwrap_or_default();
    if named.is_empty() { vec![server(&Nameserver::LOCAL)] } else { named }
}

fn server(at: &Nameserver) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = at.0.port();
        connection
    });
    NameServerConfig::new(at.0.ip(), true, connections.into())
}

/// No server is asked over TLS; left to itself the library would look for the certificates of the
/// system, and fail where there are none.
fn no_tls() -> Result<ClientConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("names cannot be looked up: {e}"))?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn options(settings: &Dns) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = Duration::from_millis(settings.timeout_ms);
    // The library counts the times it asks again.
    options.attempts = usize::try_from(settings.attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    options.cache_size = settings.cache_answers;
    options.positive_max_ttl = Some(ANSWER_AGE_MAX);
    options.negative_max_ttl = Some(ABSENCE_AGE_MAX);
    options.max_active_requests = QUESTIONS_AT_ONCE_MAX;
    // The file of the machine's own names is no part of the DNS.
    options.use_hosts_file = ResolveHosts::Never;
    options
}
