//! Whether a domain lets an address send for it: SPF (RFC 7208).
//!
//! ```text
//!   domain ─▶ its record ─▶ directives, left to right ─▶ the first that fits has the result
//!                              │ a, mx, ptr, exists: names     include: another domain's record
//!                              └ ip4, ip6, all: nothing asked  redirect: that one's instead
//! ```
//! Invariants: a record with a mistake anywhere is an error as a whole; no more than ten terms ask
//! the DNS and no more than two of them in vain, whatever records say of each other; an evaluation
//! ends with one of the seven results of RFC 7208 2.6.
//! Ours, since the library `mail-auth` takes mistakes for other records, knows no limit for
//! questions in vain, and disagrees with 59 of the 203 tests of the RFC's suite.
//! Not here: how long it may take (`lookup`).

mod macros;
mod record;

use std::net::IpAddr;

use super::verdict::{Found, Outcome};
use crate::dns::{Cause, Failure, Resolver};
use macros::{Facts, Text};
use record::{Directive, Mechanism, Record, Width};

/// RFC 7208 4.6.4: terms that ask the DNS, in all records together.
const TERMS_MAX: u32 = 10;
/// RFC 7208 4.6.4: questions that find nothing.
const VOIDS_MAX: u32 = 2;
/// RFC 7208 4.6.4: hosts of one `mx`, and names of one `ptr`.
const NAMES_MAX: usize = 10;
/// Longest explanation that is kept, in bytes: the domain's words fit in one reply.
const EXPLANATION_BYTES_MAX: usize = 400;

/// Who asks to be let through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender<'a> {
    /// Where the message comes from.
    pub(super) ip: IpAddr,
    /// What the peer called itself.
    pub(super) helo: &'a str,
    /// The sender, or nobody; then the postmaster of the domain that is asked.
    pub(super) address: &'a str,
    /// Our own name.
    pub(super) hostname: &'a str,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) found: Found,
    /// What the domain has to say to those it refuses.
    pub(super) explanation: Option<String>,
}

/// Asks a domain (RFC 7208 4.1).
pub(super) async fn check_host(resolver: &Resolver, sender: Sender<'_>, domain: &str) -> Answer {
    if !is_domain(domain) {
        let found = Found::because(Outcome::None, "there is no domain to ask");
        return Answer { found, explanation: None };
    }
    let (local, of) = match sender.address.rsplit_once('@') {
        Some((local, of)) if !local.is_empty() => (local, of),
        // RFC 7208 4.3.
        Some((_, of)) => ("postmaster", of),
        None => ("postmaster", domain),
    };
    let facts = Facts { ip: sender.ip, helo: sender.helo, local, of, hostname: sender.hostname };
    let mut evaluation = Evaluation { resolver, facts, terms: 0, voids: 0 };
    match evaluation.host(domain.to_owned()).await {
        Ok(Matched { outcome: Outcome::Fail, domain, explanation: Some(text) }) => {
            let explanation = evaluation.explain(&text, &domain).await;
            Answer { found: Found::bare(Outcome::Fail), explanation }
        }
        Ok(Matched { outcome, .. }) => Answer { found: Found::bare(outcome), explanation: None },
        Err(stop) => Answer { found: stop.0, explanation: None },
    }
}

/// RFC 7208 4.3: labels of the right length, and more than one.
fn is_domain(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| (1..=63).contains(&label.len());
    name.len() <= 253 && name.contains('.') && name.split('.').all(label)
}

/// The directive that fitted, or none did.
struct Matched {
    outcome: Outcome,
    /// Whose record it stands in.
    domain: String,
    /// Where that record says to look for words.
    explanation: Option<Text>,
}

/// An evaluation that ends at once, and with what.
struct Stop(Found);

impl Stop {
    fn wrong(why: impl Into<String>) -> Self {
        Self(Found::because(Outcome::PermError, why))
    }
}

/// One evaluation, over all records it leads to.
struct Evaluation<'a> {
    resolver: &'a Resolver,
    facts: Facts<'a>,
    terms: u32,
    voids: u32,
}

impl Evaluation<'_> {
    /// Asks one domain; those it includes are asked the same way.
    async fn host(&mut self, mut domain: String) -> Result<Matched, Stop> {
        let mut is_first = true;
        loop {
            let found = self.record(&domain).await?;
            let Some(record) = found else {
                if is_first {
                    return Ok(Matched { outcome: Outcome::None, domain, explanation: None });
                }
                // RFC 7208 6.1.
                return Err(Stop::wrong(format!(
                    "{domain}, which is redirected to, has no record"
                )));
            };
            is_first = false;
            for directive in &record.directives {
                if self.fits(directive, &domain).await? {
                    let (outcome, explanation) = (directive.outcome, record.explanation);
                    return Ok(Matched { outcome, domain, explanation });
                }
            }
            let Some(redirect) = record.redirect else {
                return Ok(Matched { outcome: Outcome::Neutral, domain, explanation: None });
            };
            self.count()?;
            domain = self.name(&redirect, &domain).await;
        }
    }

    /// The one record of a domain (RFC 7208 4.5).
    async fn record(&mut self, domain: &str) -> Result<Option<Record>, Stop> {
        let texts = match self.resolver.txt(domain).await {
            Ok(texts) => texts,
            Err(failure) if failure.is_temporary() => return Err(temporary(&failure)),
            Err(_) => return Ok(None),
        };
        let mut records = texts.iter().filter(|text| record::is_spf(text));
        let Some(record) = records.next() else { return Ok(None) };
        if records.next().is_some() {
            return Err(Stop::wrong(format!("{domain} has more than one record")));
        }
        let wrong = |why: String| Stop::wrong(format!("the record of {domain}: {why}"));
        Record::parse(record).map(Some).map_err(wrong)
    }

    async fn fits(&mut self, directive: &Directive, domain: &str) -> Result<bool, Stop> {
        match &directive.mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Network(base, bits) => Ok(within(self.facts.ip, *base, *bits)),
            Mechanism::Include(of) => self.includes(of, domain).await,
            Mechanism::A(of, width) => {
                self.count()?;
                let name = self.name_or(of.as_ref(), domain).await;
                self.has_address(&name, *width).await
            }
            Mechanism::Mx(of, width) => self.is_mail_host(of.as_ref(), domain, *width).await,
            Mechanism::Ptr(of) => self.is_named(of.as_ref(), domain).await,
            Mechanism::Exists(of) => {
                self.count()?;
                let name = self.name(of, domain).await;
                // RFC 7208 5.7: of IPv4, whatever the peer's.
                let addresses = self.resolver.ipv4(&name).await;
                Ok(!self.found(addresses)?.is_empty())
            }
        }
    }

    /// RFC 7208 5.2.
    async fn includes(&mut self, of: &Text, domain: &str) -> Result<bool, Stop> {
        self.count()?;
        let name = self.name(of, domain).await;
        match Box::pin(self.host(name.clone())).await?.outcome {
            Outcome::Pass => Ok(true),
            Outcome::None => Err(Stop::wrong(format!("{name}, which is included, has no record"))),
            _ => Ok(false),
        }
    }

    /// RFC 7208 5.4.
    async fn is_mail_host(
        &mut self,
        of: Option<&Text>,
        domain: &str,
        width: Width,
    ) -> Result<bool, Stop> {
        self.count()?;
        let name = self.name_or(of, domain).await;
        let hosts = self.resolver.mx(&name).await;
        let hosts = self.found(hosts)?;
        if hosts.len() > NAMES_MAX {
            return Err(Stop::wrong(format!("{name} has more than {NAMES_MAX} mail hosts")));
        }
        for host in hosts {
            if !host.host.is_empty() && self.has_address(&host.host, width).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn has_address(&mut self, name: &str, width: Width) -> Result<bool, Stop> {
        let ip = self.facts.ip;
        let (addresses, bits) = match ip {
            IpAddr::V4(_) => (self.resolver.ipv4(name).await, width.four),
            IpAddr::V6(_) => (self.resolver.ipv6(name).await, width.six),
        };
        Ok(self.found(addresses)?.iter().any(|&address| within(ip, address, bits)))
    }

    /// RFC 7208 5.5: a name of the address, proven, at or below the domain.
    async fn is_named(&mut self, of: Option<&Text>, domain: &str) -> Result<bool, Stop> {
        self.count()?;
        let name = self.name_or(of, domain).await;
        Ok(self.proven_names().await.iter().any(|proven| is_below(proven, &name)))
    }

    /// The names of the address that have the address. Errors are no names.
    async fn proven_names(&self) -> Vec<String> {
        let ip = self.facts.ip;
        let names = self.resolver.ptr(ip).await.unwrap_or_default();
        let mut proven = Vec::new();
        for name in names.into_iter().take(NAMES_MAX) {
            let addresses = match ip {
                IpAddr::V4(_) => self.resolver.ipv4(&name).await,
                IpAddr::V6(_) => self.resolver.ipv6(&name).await,
            };
            if addresses.is_ok_and(|addresses| addresses.contains(&ip)) {
                proven.push(name);
            }
        }
        proven
    }

    /// The name for `%{p}` (RFC 7208 7.3): the domain itself, one below it, or any.
    async fn proven_name(&self, domain: &str) -> String {
        let names = self.proven_names().await;
        let itself = names.iter().find(|name| name.eq_ignore_ascii_case(domain));
        let below = || names.iter().find(|name| is_below(name, domain));
        let best = itself.or_else(below).or_else(|| names.first());
        best.cloned().unwrap_or_else(|| "unknown".to_owned())
    }

    async fn name_or(&self, text: Option<&Text>, domain: &str) -> String {
        match text {
            Some(text) => self.name(text, domain).await,
            None => domain.to_owned(),
        }
    }

    /// The name that a text stands for. One that is too long loses labels on its left (RFC 7208
    /// 7.3).
    async fn name(&self, text: &Text, domain: &str) -> String {
        let name = self.expanded(text, domain).await;
        let mut name = name.strip_suffix('.').unwrap_or(&name);
        while name.len() > 253
            && let Some((_, rest)) = name.split_once('.')
        {
            name = rest;
        }
        name.to_owned()
    }

    async fn expanded(&self, text: &Text, domain: &str) -> String {
        let proven =
            if text.asks_for_proof() { self.proven_name(domain).await } else { String::new() };
        text.expand(&self.facts, domain, &proven)
    }

    /// The domain's words for those it refuses (RFC 7208 6.2); whatever is wrong, there are none.
    async fn explain(&self, at: &Text, domain: &str) -> Option<String> {
        let name = self.name(at, domain).await;
        let texts = self.resolver.txt(&name).await.ok()?;
        let [text] = texts.as_slice() else { return None };
        let words = self.expanded(&Text::explanation(text)?, domain).await;
        let is_plain = words.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        let mut words = Some(words).filter(|_| is_plain)?;
        words.truncate(EXPLANATION_BYTES_MAX);
        Some(words)
    }

    /// One more term that asks the DNS.
    fn count(&mut self) -> Result<(), Stop> {
        self.terms += 1;
        if self.terms > TERMS_MAX {
            return Err(Stop::wrong(format!("more than {TERMS_MAX} terms ask the DNS")));
        }
        Ok(())
    }

    /// What was found; nothing, where there is nothing (RFC 7208 4.6.4, 5).
    fn found<T>(&mut self, answer: Result<Vec<T>, Failure>) -> Result<Vec<T>, Stop> {
        let failure = match answer {
            Ok(found) => return Ok(found),
            Err(failure) if failure.is_temporary() => return Err(temporary(&failure)),
            Err(failure) => failure,
        };
        if failure.cause != Cause::NoName {
            self.voids += 1;
        }
        if self.voids > VOIDS_MAX {
            return Err(Stop::wrong(format!("more than {VOIDS_MAX} questions find nothing")));
        }
        Ok(Vec::new())
    }
}

fn temporary(failure: &Failure) -> Stop {
    Stop(Found::because(Outcome::TempError, failure.to_string()))
}

/// Whether two addresses of one kind begin with the same bits.
fn within(ip: IpAddr, base: IpAddr, bits: u32) -> bool {
    match (ip, base) {
        (IpAddr::V4(ip), IpAddr::V4(base)) => {
            (ip.to_bits() ^ base.to_bits()).leading_zeros() >= bits
        }
        (IpAddr::V6(ip), IpAddr::V6(base)) => {
            (ip.to_bits() ^ base.to_bits()).leading_zeros() >= bits
        }
        _ => false,
    }
}

/// Whether a name is the domain or stands below it.
fn is_below(name: &str, domain: &str) -> bool {
    let (name, domain) = (name.to_ascii_lowercase(), domain.to_ascii_lowercase());
    let labels = name.strip_suffix(&domain);
    labels.is_some_and(|labels| labels.is_empty() || labels.ends_with('.'))
}
