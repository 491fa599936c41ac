//! Transport security on the way out: what a server must show before it gets a message, and what
//! came of it.
//!
//! ```text
//!   next hop ─▶ Destination: is its list of servers signed? its policy (MTA-STS)
//!   server ───▶ addresses signed? TLSA records ─┐
//!   message ──▶ REQUIRETLS, TLS-Required: No ───┴▶ decide ─▶ Terms: what is checked, and whether
//!                                                               that decides ─▶ results, by day
//! ```
//! Invariants: one place decides ([`decision`]); what is required is known before connecting, and
//! nobody gets a message who fails it; results are counted, whatever was decided.
//! Not here: connections (`outbound`), questions to the DNS (`dns`).

mod certificate;
mod dane;
pub mod decision;
pub mod results;
pub mod sts;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use gracedb::db::Db;
use rustls_pki_types::{CertificateDer, UnixTime};

use grace_mail::header;

use self::certificate::{ByRoots, Roots};
use self::dane::ByRecords;
use self::decision::{Basis, Dane, Demand, Facts, Sts, Unfit, Wish, decide};
use self::results::{Applied, Noted, Results};
use self::sts::policy::Policy;
use self::sts::{Found, Policies};
use crate::config::limits;
use crate::config::names::Domain;
use crate::dns::secure::{Security, Tlsa};
use crate::dns::{Cause, Failure, Resolver};
use crate::net::tls_client::{Check, Client, Fault, FaultKind};
use crate::store::transport::{Mode, PolicyType, TlsResult};

/// What is known of transport security. Cloning gives another handle.
#[derive(Clone)]
pub struct Transport {
    dns: Resolver,
    /// `None`: policies are not followed.
    policies: Option<Policies>,
    results: Results,
    /// Whether what comes of servers is counted.
    counts: bool,
    roots: Roots,
    required: Arc<[Domain]>,
}

/// A next hop, before one of its servers is chosen.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The domain, or the server an admin named.
    name: String,
    /// Its name behind all aliases.
    expanded: String,
    is_domain: bool,
    /// Whether a route asks it, a smart host, to prove who it is.
    is_routed: bool,
    /// Whether it is sure which servers are its own.
    is_sure: bool,
    /// Why nothing is sure: nobody could say, or somebody lied.
    is_unknown: bool,
    sts: Found,
}

/// What one server must show.
#[derive(Debug, Clone)]
pub struct Terms {
    demand: Demand,
    /// The policy that results are counted for; `None`: they are not.
    applied: Option<Applied>,
    /// Whether something was wrong before anybody was connected to: that was counted.
    is_amiss: bool,
    check: Option<Arc<dyn Check>>,
    mx_host: String,
    /// The name asked for in the handshake.
    tls_name: String,
}

/// How a connection came about.
#[derive(Debug, Clone, Copy)]
pub enum Ended<'a> {
    /// It is encrypted; what the check said of the certificate, where there was one.
    Encrypted(Option<&'a Fault>),
    /// The handshake failed; what the check said, and what the error was.
    Broken(Option<&'a Fault>, &'a str),
    /// The server does not offer TLS.
    Clear,
}

/// What the DNS says of a server's certificate.
struct DaneFound {
    state: Dane,
    records: Vec<Tlsa>,
    /// The name they stand at (RFC 7672 2.2.3).
    base: String,
    why: String,
}

impl Transport {
    /// By the settings; `data` is where their files are.
    ///
    /// # Errors
    /// The file of trusted authorities cannot be read; says what to do.
    pub fn new(
        db: Db,
        dns: &Resolver,
        settings: &limits::Transport,
        data: &Path,
    ) -> Result<Self, String> {
        let roots = Roots::open(settings.roots_file(data).as_deref())?;
        let results = Results::new(db.clone(), settings);
        let policies = (settings.mta_sts == "obey").then(|| {
            // Signatures add nothing here: whose policy it is its host's certificate says.
            Policies::new(db, dns.clone(), roots.clone(), results.clone(), settings)
        });
        let (dns, required) = (dns.validated(), settings.required.clone().into());
        Ok(Self { dns, policies, results, counts: true, roots, required })
    }

    /// Policies of others; `None`: they are not followed.
    #[must_use]
    pub fn policies(&self) -> Option<&Policies> {
        self.policies.as_ref()
    }

    /// The same, which counts nothing of servers: for who sends no mail.
    #[must_use]
    pub fn uncounted(&self) -> Self {
        Self { counts: false, ..self.clone() }
    }

    /// What is known of a next hop: a domain, or a server as `[name]` or `[name]:port`;
    /// `is_routed`: one that a route asks to prove who it is.
    pub async fn destination(&self, next_hop: &str, is_routed: bool) -> Destination {
        if let Some(server) = next_hop.strip_prefix('[') {
            let name = server.split(']').next().unwrap_or_default().to_owned();
            let expanded = name.clone();
            let (is_domain, is_sure, is_unknown, sts) = (false, true, false, Found::None);
            return Destination { name, expanded, is_domain, is_routed, is_sure, is_unknown, sts };
        }
        let policy = async {
            match &self.policies {
                Some(policies) => policies.find(next_hop).await,
                None => Found::None,
            }
        };
        let (mx, sts) = tokio::join!(self.dns.secure_mx(next_hop), policy);
        let name = next_hop.to_owned();
        let (expanded, is_sure, is_unknown) = match mx {
            Ok(mx) => (mx.name, mx.security == Security::Secure, false),
            // RFC 5321 5.1: without MX the domain itself is the server, and nobody gave its name.
            Err(Failure { cause: Cause::NoRecord, .. }) => (name.clone(), true, false),
            Err(_) => (name.clone(), false, true),
        };
        let is_domain = true;
        Destination { name, expanded, is_domain, is_routed, is_sure, is_unknown, sts }
    }

    /// What a server of a destination must show; `waives` says whether the message passes policies
    /// over, and is asked only where there is one.
    ///
    /// # Errors
    /// It gets no message; says why.
    pub async fn terms(
        &self,
        destination: &Destination,
        (host, port): (&str, u16),
        require_tls: bool,
        waives: impl FnOnce() -> bool,
    ) -> Result<Terms, Unfit> {
        let dane = self.dane(destination, host, port).await;
        let (sts, is_named) = match &destination.sts {
            Found::None => (Sts::None, false),
            Found::Unknown(_) => (Sts::Unknown, false),
            Found::Policy(policy) => (stance(policy), policy.names(host)),
        };
        let facts = Facts {
            wish: Wish { require_tls, waives: false },
            dane: dane.state,
            sts,
            is_named,
            is_sure: destination.is_sure,
            is_listed: self.is_listed(destination, host),
            is_routed: destination.is_routed,
        };
        let decided = decide(&facts);
        let may_waive = !matches!(decided, Ok(Demand::Nothing)) && !destination.is_routed;
        if may_waive && !require_tls && waives() {
            return Ok(Terms::none(host, None));
        }
        let applied = applied(destination, &dane, sts);
        let known = applied.as_ref();
        let is_amiss = known.is_some_and(|of| self.note_before(of, host, &facts, &dane.why));
        let demand = decided?;
        let (check, tls_name) = self.check(demand, &facts, destination, host, dane);
        Ok(Terms { demand, is_amiss, check, tls_name, ..Terms::none(host, applied) })
    }

    /// Counts what came of a connection.
    pub fn note(&self, terms: &Terms, between: Option<(IpAddr, IpAddr)>, ended: Ended<'_>) {
        let applied = terms.applied.as_ref().filter(|_| self.counts && !terms.is_amiss);
        let Some(applied) = applied else { return };
        let (result, reason) = match ended {
            Ended::Encrypted(None) => (TlsResult::Success, ""),
            Ended::Encrypted(Some(fault)) | Ended::Broken(Some(fault), _) => {
                (result(fault), fault.text.as_str())
            }
            Ended::Broken(None, error) => (TlsResult::ValidationFailure, error),
            Ended::Clear => (TlsResult::StarttlsNotSupported, ""),
        };
        let mx_host = &terms.mx_host;
        self.results.note(&Noted { applied, mx_host, result, between, reason });
    }

    /// Whether certificates, the server's own first, prove that it is the one of this name by the
    /// authorities that are trusted, whatever is asked of it.
    ///
    /// # Errors
    /// They do not; says why.
    pub fn proves(&self, chain: &[CertificateDer<'_>], host: &str) -> Result<(), Fault> {
        let Some((leaf, others)) = chain.split_first() else {
            let text = "there is no certificate".to_owned();
            return Err(Fault { kind: FaultKind::Other, text });
        };
        let by_roots =
            ByRoots { roots: Arc::clone(self.roots.get()), names: vec![host.to_owned()] };
        by_roots.check(leaf, others, UnixTime::now())
    }

    /// Counts what is wrong before anybody is connected to; says whether something is.
    fn note_before(&self, applied: &Applied, mx_host: &str, facts: &Facts, why: &str) -> bool {
        let (result, reason) = match (facts.dane, facts.sts) {
            (Dane::Unknown, _) => (TlsResult::DnssecInvalid, why),
            (Dane::Unusable, _) => (TlsResult::TlsaInvalid, "no record can be followed"),
            (Dane::Absent, Sts::Testing | Sts::Enforce) if !facts.is_named => {
                (TlsResult::ValidationFailure, "the policy does not name the server")
            }
            _ => return false,
        };
        if self.counts {
            self.results.note(&Noted { applied, mx_host, result, between: None, reason });
        }
        true
    }

    /// What the DNS says of a server's certificate (RFC 7672 2.2).
    async fn dane(&self, destination: &Destination, host: &str, port: u16) -> DaneFound {
        let found = |state, why: &str| DaneFound {
            state,
            records: Vec::new(),
            base: host.to_owned(),
            why: why.to_owned(),
        };
        if destination.is_unknown {
            return found(Dane::Unknown, "which servers it has is not known");
        }
        if destination.is_routed || !destination.is_sure || host.parse::<IpAddr>().is_ok() {
            return found(Dane::Absent, "");
        }
        let behind = match self.dns.secure_host(host).await {
            Ok(behind) if behind.security == Security::Secure => behind.name,
            Err(failure) if failure.is_temporary() => {
                return found(Dane::Unknown, &failure.to_string());
            }
            // RFC 7672 2.2.2: where addresses are not signed, TLSA records are not asked for.
            _ => return found(Dane::Absent, ""),
        };
        // RFC 7672 2.2.3: first the name behind all aliases, then the one that was given.
        let given = (behind != host).then(|| host.to_owned());
        for base in [Some(behind), given].into_iter().flatten() {
            match self.dns.tlsa(&format!("_{port}._tcp.{base}")).await {
                Ok(records) if records.is_empty() => {}
                Ok(records) => {
                    let records = dane::usable(&records);
                    let state = if records.is_empty() { Dane::Unusable } else { Dane::Usable };
                    return DaneFound { state, records, base, why: String::new() };
                }
                Err(failure) if failure.is_temporary() => {
                    return found(Dane::Unknown, &failure.to_string());
                }
                Err(_) => {}
            }
        }
        found(Dane::Absent, "")
    }

    /// What is checked of a certificate, and the name to ask for in the handshake.
    fn check(
        &self,
        demand: Demand,
        facts: &Facts,
        destination: &Destination,
        host: &str,
        dane: DaneFound,
    ) -> (Option<Arc<dyn Check>>, String) {
        let by_roots = |names| -> Arc<dyn Check> {
            Arc::new(ByRoots { roots: Arc::clone(self.roots.get()), names })
        };
        let host = host.to_owned();
        let names = match demand {
            Demand::Certificate(Basis::Dane) => {
                let DaneFound { records, base, .. } = dane;
                let Destination { name, expanded, .. } = destination;
                // RFC 7672 3.2.2: the server's name, or the domain's, for the list is signed.
                let mut names = vec![base.clone(), host, name.clone(), expanded.clone()];
                names.dedup();
                return (Some(Arc::new(ByRecords { records, names })), base);
            }
            Demand::Certificate(Basis::MtaSts | Basis::RequireTls | Basis::Route) => {
                vec![host.clone()]
            }
            Demand::Certificate(Basis::Listed) => listed_names(destination, &host),
            Demand::Nothing if facts.sts == Sts::Testing && facts.is_named => vec![host.clone()],
            Demand::Nothing | Demand::Encryption => return (None, host),
        };
        (Some(by_roots(names)), host)
    }

    fn is_listed(&self, destination: &Destination, host: &str) -> bool {
        let name = if destination.is_domain { &destination.name } else { host };
        self.required.iter().any(|domain| domain.covers(name))
    }
}

/// The names that will do where an admin wants to be sure. Where nobody vouches for the server's
/// name, it must be one of the domain's own.
fn listed_names(destination: &Destination, host: &str) -> Vec<String> {
    let domain = destination.name.clone();
    let is_below = host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'));
    if destination.is_sure || is_below { vec![host.to_owned(), domain] } else { vec![domain] }
}

fn stance(policy: &Policy) -> Sts {
    match policy.mode {
        Mode::None => Sts::None,
        Mode::Testing => Sts::Testing,
        Mode::Enforce => Sts::Enforce,
    }
}

/// The policy that results are counted for: the one that stands above. `None`: what a smart host
/// shows that we ask ourselves is nobody's to be told.
fn applied(destination: &Destination, dane: &DaneFound, sts: Sts) -> Option<Applied> {
    if destination.is_routed {
        return None;
    }
    let domain = destination.name.clone();
    let (policy_type, lines) = match (dane.state, &destination.sts) {
        (Dane::Usable | Dane::Unusable | Dane::Unknown, _) => {
            (PolicyType::Tlsa, dane.records.iter().map(ToString::to_string).collect())
        }
        (Dane::Absent, Found::Policy(policy)) if sts != Sts::None => {
            (PolicyType::Sts, policy.lines())
        }
        _ => (PolicyType::NoPolicyFound, Vec::new()),
    };
    Some(Applied { domain, policy_type, lines })
}

fn result(fault: &Fault) -> TlsResult {
    match fault.kind {
        FaultKind::HostMismatch => TlsResult::CertificateHostMismatch,
        FaultKind::Expired => TlsResult::CertificateExpired,
        FaultKind::NotTrusted => TlsResult::CertificateNotTrusted,
        FaultKind::Other => TlsResult::ValidationFailure,
    }
}

impl Terms {
    /// That nothing is asked.
    fn none(host: &str, applied: Option<Applied>) -> Self {
        let (mx_host, tls_name) = (host.to_owned(), host.to_owned());
        let (demand, is_amiss, check) = (Demand::Nothing, false, None);
        Self { demand, applied, is_amiss, check, mx_host, tls_name }
    }

    /// What is asked for.
    #[must_use]
    pub fn demand(&self) -> Demand {
        self.demand
    }

    /// The handshake that shows it.
    #[must_use]
    pub fn client(&self) -> Client {
        let decides = matches!(self.demand, Demand::Certificate(_));
        Client::new(self.check.clone(), decides)
    }

    /// The name to ask for in the handshake.
    #[must_use]
    pub fn tls_name(&self) -> &str {
        &self.tls_name
    }

    /// Whether a connection that was made on other terms is good enough for these: nobody is
    /// trusted for what was not asked of him.
    #[must_use]
    pub fn are_met_by(&self, made: &Self, is_encrypted: bool, is_verified: bool) -> bool {
        let is_verified = is_encrypted && is_verified;
        match (self.demand, made.demand) {
            (Demand::Nothing, _) => true,
            (Demand::Encryption, _) => is_encrypted,
            (Demand::Certificate(Basis::Listed), Demand::Certificate(_)) => is_verified,
            (
                Demand::Certificate(Basis::RequireTls),
                Demand::Certificate(Basis::Dane | Basis::MtaSts | Basis::RequireTls | Basis::Route),
            )
            | (
                Demand::Certificate(Basis::Route),
                Demand::Certificate(Basis::RequireTls | Basis::Route),
            ) => is_verified,
            (Demand::Certificate(_), demand) => {
                is_verified && demand == self.demand && made.applied == self.applied
            }
        }
    }

    /// Whether something is wrong that does not keep mail back: a policy that is only tested does
    /// not name the server, or no record can be followed.
    #[must_use]
    pub fn is_amiss(&self) -> bool {
        self.is_amiss
    }

    /// What the server must show and by which policy, for people to read; `None`: nothing.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let (host, applied) = (&self.mx_host, self.applied.as_ref());
        let is_tested = applied.is_some_and(|applied| applied.policy_type == PolicyType::Sts);
        let count = applied.map_or(0, |applied| applied.lines.len());
        Some(match self.demand {
            Demand::Nothing if is_tested && self.is_amiss => {
                format!("MTA-STS testing: {host} is not listed, and gets mail for now")
            }
            Demand::Nothing if is_tested => {
                format!("MTA-STS testing: {host} is listed, and gets mail for now in any case")
            }
            Demand::Nothing => return None,
            Demand::Encryption => {
                "DANE: none of the records published can be followed; TLS is a must".to_owned()
            }
            Demand::Certificate(Basis::Dane) => match count {
                1 => "DANE: the certificate must fit the record published".to_owned(),
                _ => format!("DANE: the certificate must fit one of {count} records published"),
            },
            Demand::Certificate(Basis::MtaSts) => {
                format!("MTA-STS enforce: {host} is listed, and must prove who it is")
            }
            Demand::Certificate(Basis::RequireTls) => {
                format!("REQUIRETLS: {host} must prove who it is")
            }
            Demand::Certificate(Basis::Listed) => {
                format!("transport.required: {host} must prove who it is")
            }
            Demand::Certificate(Basis::Route) => {
                format!("route: {host} must prove who it is")
            }
        })
    }

    /// By what a certificate was found good.
    #[must_use]
    pub fn verified_by(&self) -> &'static str {
        match self.demand {
            Demand::Certificate(Basis::Dane) => "DANE",
            Demand::Certificate(Basis::MtaSts) => "MTA-STS",
            Demand::Certificate(Basis::RequireTls | Basis::Listed | Basis::Route) => {
                "a trusted authority"
            }
            Demand::Nothing | Demand::Encryption => "MTA-STS (testing)",
        }
    }
}

/// Who asks for it, as it stands in the reason of a failure; empty: nobody.
impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domain = self.applied.as_ref().map_or("", |applied| applied.domain.as_str());
        match self.demand {
            Demand::Nothing => Ok(()),
            Demand::Encryption => write!(f, "asked for by {}'s TLSA records", self.mx_host),
            Demand::Certificate(Basis::Dane) => {
                write!(f, "asked for by {}'s TLSA records (DANE)", self.mx_host)
            }
            Demand::Certificate(Basis::MtaSts) => {
                write!(f, "asked for by {domain}'s policy (MTA-STS, enforce)")
            }
            Demand::Certificate(Basis::RequireTls) => {
                f.write_str("asked for by the message (REQUIRETLS)")
            }
            Demand::Certificate(Basis::Listed) => {
                f.write_str("asked for by this server's settings (transport.required)")
            }
            Demand::Certificate(Basis::Route) => f.write_str("asked for by the route"),
        }
    }
}

/// Whether a message's header passes policies over (RFC 8689 5: `TLS-Required: No`).
#[must_use]
pub fn waives(header: &[u8]) -> bool {
    header::value(header, b"tls-required")
        .is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"no"))
}
