//! Asks the DNS about each record, and compares what is there by what it does.
//!
//! Invariants: all are asked about at once, [`LOOKS_AT_ONCE_MAX`] at a time; what is not known by
//! the deadline is unknown; what is found is cut to [`FOUND_MAX`] texts.
//! Not here: which records there should be ([`super::wanted`]).

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use grace_ipc::domain_dns::{DnsVerdict, DomainDnsRow};

use super::facts::{Facts, is_reachable};
use super::wanted::{Look, Wanted};
use crate::authenticity::Authenticity;
use crate::authenticity::verdict::Outcome;
use crate::dkim::tags::Tags;
use crate::dns::{Failure, Resolver};
use crate::services::Services;
use crate::signing::record::Published;
use crate::store::refusal::Refusal;
use crate::store::transport::Mode;
use crate::telemetry::bus::claim;
use crate::transport::Transport;
use crate::transport::sts::Unfit;

/// Records asked about at once.
const LOOKS_AT_ONCE_MAX: usize = 16;
/// Texts of one answer that are told: who has more has other worries.
const FOUND_MAX: usize = 10;
/// An address that nobody has (RFC 5737): whoever lets it send lets everybody.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 77));

/// What the DNS says of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    verdict: DnsVerdict,
    found: Vec<String>,
    advice: String,
}

/// Asks about all.
pub(super) async fn all(
    services: &Services,
    facts: Facts,
    wanted: Vec<Wanted>,
    deadline: Instant,
) -> Result<Vec<DomainDnsRow>, Refusal> {
    let keys = services.signing.check(Some(&facts.domain));
    let looker = Looker {
        dns: services.dns_anew.clone(),
        authenticity: services.authenticity.clone(),
        transport: services.transport.clone(),
        facts: Arc::new(facts.clone()),
    };
    let (keys, mut findings) = tokio::join!(keys, looker.ask(&wanted, deadline));
    let mut keys: HashMap<String, Published> =
        keys?.into_iter().map(|(key, published)| (key.selector, published)).collect();
    let rows = wanted.into_iter().enumerate().map(|(place, Wanted { row, look })| {
        let finding = match look {
            Look::Dkim(selector) => keys.remove(&selector).map(|found| signed(&row, &found)),
            _ => findings.remove(&place),
        };
        finding.unwrap_or_else(late).told(row)
    });
    Ok(rows.collect())
}

/// Who asks.
#[derive(Clone)]
struct Looker {
    dns: Resolver,
    authenticity: Authenticity,
    transport: Transport,
    facts: Arc<Facts>,
}

impl Looker {
    /// What is said of each, by its place, as far as it is said in time.
    async fn ask(self, wanted: &[Wanted], deadline: Instant) -> HashMap<usize, Finding> {
        let turns = Arc::new(Semaphore::new(LOOKS_AT_ONCE_MAX));
        let mut tasks = JoinSet::new();
        for (place, wanted) in wanted.iter().enumerate() {
            let (looker, turns, wanted) = (self.clone(), Arc::clone(&turns), wanted.clone());
            tasks.spawn(async move {
                let finding = timeout_at(deadline, async {
                    let _turn = turns.acquire().await;
                    looker.look(&wanted).await
                });
                (place, finding.await.ok())
            });
        }
        let mut findings = HashMap::new();
        while let Some(done) = tasks.join_next().await {
            if let Ok((place, Some(finding))) = done {
                findings.insert(place, finding);
            }
        }
        findings
    }

    async fn look(&self, Wanted { row, look }: &Wanted) -> Finding {
        match look {
            Look::Mx => self.mx(row).await,
            Look::Address(ip, is_known) => self.address(*ip, *is_known).await,
            Look::AnyAddress => match self.dns.addresses(&self.facts.hostname).await {
                Ok(addresses) => Finding::found(texts(&addresses)),
                Err(failure) => Finding::of(&failure, row),
            },
            Look::Spf(sending) => self.sender_policy(row, sending).await,
            Look::Dmarc => self.text(row, b"v=DMARC1", dmarc).await,
            Look::PolicyText => self.text(row, b"v=STSv1", policy_text).await,
            Look::TlsReports => self.text(row, b"v=TLSRPTv1", tls_reports).await,
            Look::PolicyHost | Look::Settings => self.host(row).await,
            Look::Tlsa(key) => self.tlsa(row, key).await,
            Look::Offered(port) => self.offered(row, *port).await,
            Look::NotOffered => self.not_offered(row).await,
            Look::Reverse(ip) => self.reverse(row, *ip).await,
            Look::Absent => Finding::new(DnsVerdict::Missing, Vec::new(), &row.advice),
            Look::PolicyFile => self.policy_file().await,
            // The keys' owner looks for these.
            Look::Dkim(_) => Finding::new(DnsVerdict::Unchecked, Vec::new(), &row.advice),
        }
    }

    async fn mx(&self, row: &DomainDnsRow) -> Finding {
        let hostname = &self.facts.hostname;
        let hosts = match self.dns.mx(&row.name).await {
            Ok(hosts) => hosts,
            Err(failure) => return Finding::of(&failure, row),
        };
        let found = hosts.iter().map(|mx| format!("{} {}.", mx.preference, mx.host)).collect();
        if hosts.iter().any(|mx| mx.host.is_empty()) {
            let advice = "it says that the domain takes no mail (RFC 7505); publish this instead";
            return Finding::new(DnsVerdict::Wrong, found, advice);
        }
        let Some(ours) = hosts.iter().find(|mx| mx.host == *hostname) else {
            let advice = format!(
                "mail goes to other servers than {hostname}; publish this, or leave it if those \
                 pass mail on to here"
            );
            return Finding::new(DnsVerdict::Wrong, found, advice);
        };
        if !hostname.contains('.') {
            let advice = "this server has no name in the DNS: set `hostname` in its settings";
            return Finding::new(DnsVerdict::Wrong, found, advice);
        }
        if let Ok(names) = self.dns.aliased(hostname).await {
            let name = names.first().map_or("", String::as_str);
            let advice = format!(
                "{hostname} is an alias (CNAME) of {name}, and a mail server may not be (RFC 2181 \
                 10.3): publish addresses of {hostname} instead"
            );
            return Finding::new(DnsVerdict::Wrong, found, advice);
        }
        let earlier = hosts.iter().find(|mx| mx.preference < ours.preference);
        let advice = earlier.map(|mx| format!("{} is asked before this server", mx.host));
        Finding::new(DnsVerdict::Found, found, advice.unwrap_or_default())
    }

    async fn address(&self, ip: IpAddr, is_known: bool) -> Finding {
        let hostname = &self.facts.hostname;
        let answer = match ip {
            IpAddr::V4(_) => self.dns.ipv4(hostname).await,
            IpAddr::V6(_) => self.dns.ipv6(hostname).await,
        };
        let addresses = match answer {
            Ok(addresses) => addresses,
            Err(failure) if failure.is_temporary() => return Finding::unknown(&failure),
            Err(_) => {
                let advice = "nobody finds this server by its name at this address";
                return Finding::new(DnsVerdict::Missing, Vec::new(), advice);
            }
        };
        let found = texts(&addresses);
        if !addresses.contains(&ip) {
            let advice = "others look for this server at another address than its own";
            return Finding::new(DnsVerdict::Wrong, found, advice);
        }
        if !is_reachable(ip) {
            let advice = "nobody outside of this network reaches that address";
            return Finding::new(DnsVerdict::Wrong, found, advice);
        }
        let advice = match addresses.len() {
            _ if !is_known => "whether that is this server is not known here",
            1 => "",
            _ => "the other addresses must lead to this server, too",
        };
        Finding::new(DnsVerdict::Found, found, advice)
    }

    /// Asks as another server does when mail comes from these.
    async fn sender_policy(&self, row: &DomainDnsRow, sending: &[IpAddr]) -> Finding {
        let asked = |ip| self.authenticity.sender_policy(&self.dns, &row.name, ip);
        let stranger = asked(STRANGER).await;
        let texts = match self.dns.txt(&row.name).await {
            Ok(texts) => texts,
            Err(failure) => return Finding::of(&failure, row),
        };
        let found = told(texts.iter().filter(|text| begins(text, b"v=spf1")));
        match stranger.outcome {
            Outcome::None => return Finding::missing(row),
            Outcome::TempError => return Finding::unknown(&stranger.reason),
            Outcome::PermError => return Finding::new(DnsVerdict::Wrong, found, &stranger.reason),
            Outcome::Pass => {
                let advice = "it lets everybody send for the domain";
                return Finding::new(DnsVerdict::Wrong, found, advice);
            }
            _ => {}
        }
        for &ip in sending.iter().take(FOUND_MAX) {
            let answer = asked(ip).await;
            match answer.outcome {
                Outcome::Pass => {}
                Outcome::TempError => return Finding::unknown(&answer.reason),
                outcome => {
                    let reason =
                        if answer.reason.is_empty() { outcome.word() } else { &answer.reason };
                    let advice =
                        format!("it does not let {ip} send, where mail comes from: {reason}");
                    return Finding::new(DnsVerdict::Wrong, found, advice);
                }
            }
        }
        if sending.is_empty() {
            let advice = "the addresses that mail comes from are not known here";
            return Finding::new(DnsVerdict::Unknown, found, advice);
        }
        Finding::found(found)
    }

    /// A text of which there must be one that begins so, and that `compare` agrees with. `compare`
    /// gives advice on what is right, or what is wrong.
    async fn text(
        &self,
        row: &DomainDnsRow,
        beginning: &[u8],
        compare: fn(&Tags<'_>) -> Result<&'static str, String>,
    ) -> Finding {
        let all = match self.dns.txt(&row.name).await {
            Ok(all) => all,
            Err(failure) => return Finding::of(&failure, row),
        };
        let ours: Vec<&Vec<u8>> = all.iter().filter(|text| begins(text, beginning)).collect();
        let found = told(all.iter());
        let compared = match ours.as_slice() {
            [] => {
                let version = String::from_utf8_lossy(beginning);
                Err(format!("no text there begins with {version}"))
            }
            [text] => Tags::parse(text).map_err(str::to_owned).and_then(|tags| compare(&tags)),
            several => Err(format!("there are {}, and then none counts", several.len())),
        };
        match compared {
            Ok(advice) => Finding::new(DnsVerdict::Found, found, advice),
            Err(advice) => Finding::new(DnsVerdict::Wrong, found, advice),
        }
    }

    /// A name that leads to any host.
    async fn host(&self, row: &DomainDnsRow) -> Finding {
        let (addresses, ours) =
            tokio::join!(self.dns.addresses(&row.name), self.dns.addresses(&self.facts.hostname));
        match addresses {
            Ok(addresses) => {
                let ours = ours.unwrap_or_default();
                let is_ours = addresses.iter().any(|address| ours.contains(address));
                let advice = if is_ours { "" } else { "it leads to another server than this one" };
                Finding::new(DnsVerdict::Found, texts(&addresses), advice)
            }
            Err(failure) => Finding::of(&failure, row),
        }
    }

    /// Fetches the policy as others do (RFC 8461 3.3), and looks whether it lets mail come here.
    async fn policy_file(&self) -> Finding {
        let Some(policies) = self.transport.policies() else {
            let advice = "transport.mta_sts is off, so it is not fetched";
            return Finding::new(DnsVerdict::Unchecked, Vec::new(), advice);
        };
        let Facts { domain, hostname, .. } = &*self.facts;
        let policy = match policies.look(domain).await {
            Ok(policy) => policy,
            Err(Unfit::Missing(why)) => {
                let advice = format!("it is not served: {why}");
                return Finding::new(DnsVerdict::Missing, Vec::new(), advice);
            }
            Err(Unfit::Wrong(why)) => return Finding::new(DnsVerdict::Wrong, Vec::new(), why),
        };
        let found = policy.lines();
        if policy.mode != Mode::None && !policy.names(hostname) {
            let advice = format!("it does not name {hostname}: who obeys it brings no mail here");
            return Finding::new(DnsVerdict::Wrong, found, advice);
        }
        let advice = match policy.mode {
            Mode::Enforce => "",
            Mode::Testing => "testing: what is wrong is reported, and mail comes nevertheless",
            Mode::None => "its mode is none: there is no policy",
        };
        Finding::new(DnsVerdict::Found, found, advice)
    }

    async fn tlsa(&self, row: &DomainDnsRow, key: &[u8; 32]) -> Finding {
        let all = match self.dns.associations(&row.name).await {
            Ok(all) => all,
            Err(failure) => return Finding::of(&failure, row),
        };
        let shown = all.iter().map(|one| claim(one.to_string().as_bytes()));
        let found = shown.take(FOUND_MAX).collect();
        let is_ours = all.iter().any(|one| {
            (one.usage, one.selector, one.matching) == (3, 1, 1) && one.data == key.as_slice()
        });
        if is_ours {
            return Finding::found(found);
        }
        let advice = "no record has the key in use: servers that check it deliver nothing";
        Finding::new(DnsVerdict::Wrong, found, advice)
    }

    async fn offered(&self, row: &DomainDnsRow, port: u16) -> Finding {
        let all = match self.dns.services(&row.name).await {
            Ok(all) => all,
            Err(failure) => return Finding::of(&failure, row),
        };
        let found = all.iter().take(FOUND_MAX).map(|one| format!("{} {}.", one.port, one.host));
        let found = found.collect();
        if all.iter().any(|one| one.host == self.facts.hostname && one.port == port) {
            return Finding::found(found);
        }
        let advice = if all.iter().all(|one| one.host.is_empty()) {
            "it says that the service is not offered, and it is"
        } else {
            "mail programs look for the service in another place"
        };
        Finding::new(DnsVerdict::Wrong, found, advice)
    }

    async fn not_offered(&self, row: &DomainDnsRow) -> Finding {
        match self.dns.services(&row.name).await {
            Ok(all) if all.iter().all(|one| one.host.is_empty()) => {
                Finding::found(vec![".".to_owned()])
            }
            Ok(all) => {
                let shown = all.iter().take(FOUND_MAX);
                let found = shown.map(|one| format!("{} {}.", one.port, one.host)).collect();
                let advice = "the service is not offered here; remove it if it means this server";
                Finding::new(DnsVerdict::Wrong, found, advice)
            }
            Err(failure) => Finding::of(&failure, row),
        }
    }

    /// RFC 8601 3: the address has a name, and the name has the address.
    async fn reverse(&self, row: &DomainDnsRow, ip: IpAddr) -> Finding {
        let names = match self.dns.ptr(ip).await {
            Ok(names) => names,
            Err(failure) => return Finding::of(&failure, row),
        };
        let found: Vec<String> = names.iter().take(FOUND_MAX).cloned().collect();
        let mut leads_back = None;
        for name in &found {
            if self.dns.addresses(name).await.is_ok_and(|addresses| addresses.contains(&ip)) {
                leads_back = Some(name);
                if *name == self.facts.hostname {
                    return Finding::found(found);
                }
            }
        }
        match leads_back {
            Some(name) => {
                let advice = format!(
                    "its name is {name}; some servers want the one that this server greets with, {}",
                    self.facts.hostname
                );
                Finding::new(DnsVerdict::Found, found, advice)
            }
            None => {
                let advice = "its name does not have this address; many servers refuse its mail";
                Finding::new(DnsVerdict::Wrong, found, advice)
            }
        }
    }
}

/// RFC 9989 4.7.
fn dmarc(tags: &Tags<'_>) -> Result<&'static str, String> {
    match tags.get("p") {
        Some(b"reject" | b"quarantine") => Ok(""),
        Some(b"none") => Ok("p=none: forged mail is reported and taken; raise it to quarantine \
                             when the reports show nothing of your own"),
        Some(other) => Err(format!("p={} is no policy", claim(other))),
        None => Err("it has no policy, p=".to_owned()),
    }
}

/// RFC 8461 3.1.
fn policy_text(tags: &Tags<'_>) -> Result<&'static str, String> {
    let id = tags.get("id").unwrap_or_default();
    if (1..=32).contains(&id.len()) && id.iter().all(u8::is_ascii_alphanumeric) {
        return Ok("");
    }
    Err("its id is not 1 to 32 letters and digits".to_owned())
}

/// RFC 8460 3.
fn tls_reports(tags: &Tags<'_>) -> Result<&'static str, String> {
    let rua = tags.get("rua").unwrap_or_default();
    if begins(rua, b"mailto:") || begins(rua, b"https:") {
        return Ok("");
    }
    Err("it names no place for reports, rua=mailto:…".to_owned())
}

/// What became of a key's record, in the words of all.
fn signed(row: &DomainDnsRow, published: &Published) -> Finding {
    match published {
        Published::Found => Finding::found(vec![row.value.clone()]),
        Published::Missing(_) => Finding::missing(row),
        Published::Wrong(why) => Finding::new(DnsVerdict::Wrong, Vec::new(), why),
        Published::Unknown(why) => Finding::unknown(why),
    }
}

fn late() -> Finding {
    Finding::unknown("the DNS did not answer in time")
}

/// Whether a text begins so, capitals or not.
fn begins(text: &[u8], beginning: &[u8]) -> bool {
    text.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning))
}

fn told<'a>(texts: impl Iterator<Item = &'a Vec<u8>>) -> Vec<String> {
    texts.take(FOUND_MAX).map(|text| claim(text)).collect()
}

fn texts(addresses: &[IpAddr]) -> Vec<String> {
    addresses.iter().take(FOUND_MAX).map(ToString::to_string).collect()
}

impl Finding {
    fn new(verdict: DnsVerdict, found: Vec<String>, advice: impl Into<String>) -> Self {
        Self { verdict, found, advice: advice.into() }
    }

    fn found(found: Vec<String>) -> Self {
        Self::new(DnsVerdict::Found, found, "")
    }

    /// What is advised of the record beforehand is what is to be done.
    fn missing(row: &DomainDnsRow) -> Self {
        let advice = if row.advice.is_empty() { "publish it" } else { &row.advice };
        Self::new(DnsVerdict::Missing, Vec::new(), advice)
    }

    fn unknown(why: impl fmt::Display) -> Self {
        Self::new(DnsVerdict::Unknown, Vec::new(), why.to_string())
    }

    /// There is no answer.
    fn of(failure: &Failure, row: &DomainDnsRow) -> Self {
        if failure.is_temporary() { Self::unknown(failure) } else { Self::missing(row) }
    }

    fn told(self, row: DomainDnsRow) -> DomainDnsRow {
        let Self { verdict, mut found, advice } = self;
        found.truncate(FOUND_MAX);
        DomainDnsRow { verdict, found, advice: claim(advice.as_bytes()), ..row }
    }
}
