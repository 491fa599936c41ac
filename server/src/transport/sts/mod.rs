//! MTA-STS: policies that domains publish over HTTPS (RFC 8461), fetched, kept and renewed.
//!
//! ```text
//!   _mta-sts.example.org TXT ─▶ id ──known, and young──▶ the policy that is kept
//!            │ none, or no answer      └─new, or half its time is over─▶ fetch ─▶ kept
//!            └──▶ the one that is kept, for as long as it holds   ◀── failed ──┘
//! ```
//! Invariants: a policy that holds is followed, whoever keeps us from its domain's records
//! (RFC 8461 5.1); a fetch that failed is not repeated for `FAILURE_WAIT`.
//! Not here: what follows from a policy (`decision`).

mod fetch;
pub mod policy;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gracedb::db::Db;
use gracedb::error::Error;
use gracedb::view::View as _;

use self::fetch::{Fetcher, NotFetched};
use self::policy::{Policy, record_id};
use super::certificate::Roots;
use super::results::{Applied, Noted, Results};
use crate::config::limits;
use crate::dns::{Failure, Resolver};
use crate::store::transport::{Mode, PolicyType, StsPolicyRow, TlsResult};
use crate::telemetry::bus::now_us;

/// How long a fetch that failed is not repeated (RFC 8461 3.3: five minutes at least).
const FAILURE_WAIT: Duration = Duration::from_secs(300);
/// Failed fetches that are remembered. Beyond, they are repeated too soon.
const FAILURES_MAX: usize = 10_000;
/// A policy is fetched anew when it is as old as this, or has half its time behind it: so that it
/// never runs out where mail goes (RFC 8461 10.2).
const RENEW_MS_MAX: u64 = 24 * 3_600 * 1_000;

/// What is known of a domain's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It has none.
    None,
    /// It may have one, and nobody could say; why.
    Unknown(String),
    /// This one.
    Policy(Policy),
}

/// Why a policy that is looked at helps nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// Its host does not give it out.
    Missing(String),
    /// It does, and nobody believes it.
    Wrong(String),
}

/// Policies of others. Cloning gives another handle.
#[derive(Clone)]
pub struct Policies {
    db: Db,
    dns: Resolver,
    fetcher: Fetcher,
    results: Results,
    kept_max: u64,
    /// Domains whose policy could not be fetched, until when they are left alone, and why.
    failed: Arc<Mutex<HashMap<String, (Instant, String)>>>,
}

impl Policies {
    /// Policies kept in `db`; their hosts are believed by these roots.
    pub(super) fn new(
        db: Db,
        dns: Resolver,
        roots: Roots,
        results: Results,
        settings: &limits::Transport,
    ) -> Self {
        let port = u16::try_from(settings.mta_sts_port).unwrap_or(443);
        let time_max = Duration::from_secs(settings.mta_sts_fetch_s);
        let fetcher = Fetcher::new(dns.clone(), roots, port, time_max);
        let kept_max = settings.mta_sts_policies_max;
        Self { db, dns, fetcher, results, kept_max, failed: Arc::default() }
    }

    /// The policy of a domain that is to be followed now.
    pub async fn find(&self, domain: &str) -> Found {
        let now_ms = now_us() / 1_000;
        let kept = self.db.snapshot().get::<StsPolicyRow>(&domain.to_owned());
        let kept = kept.ok().flatten().filter(|row| row.holds(now_ms));
        let id = match self.dns.txt(&format!("_mta-sts.{domain}")).await {
            Ok(texts) => Ok(record_id(&texts)),
            Err(failure) if failure.is_temporary() => Err(failure),
            Err(_) => Ok(None),
        };
        match (kept, id) {
            (Some(kept), Ok(Some(id))) if kept.id == id && kept.is_young(now_ms) => kept.found(),
            (kept, Ok(Some(id))) => self.renew(domain, &id, kept).await,
            // RFC 8461 5.1: that the record is gone ends no policy, only its time does.
            (Some(kept), _) => kept.found(),
            (None, Ok(None)) => Found::None,
            (None, Err(failure)) => Found::Unknown(unasked(&failure)),
        }
    }

    /// The policy a domain's host gives out now, whatever its record says of it; nothing is kept or
    /// counted.
    ///
    /// # Errors
    /// Whether it is there at all, and what is wrong.
    pub async fn look(&self, domain: &str) -> Result<Policy, Unfit> {
        let text = self.fetcher.fetch(domain).await.map_err(|error| match error {
            NotFetched::Failed(why) => Unfit::Missing(why),
            NotFetched::BadCertificate(why) => Unfit::Wrong(why),
        })?;
        Policy::parse(&text).map_err(|error| Unfit::Wrong(error.to_string()))
    }

    /// Fetches a policy; where that fails, the kept one holds on.
    async fn renew(&self, domain: &str, id: &str, kept: Option<StsPolicyRow>) -> Found {
        let why = match self.recent_failure(domain) {
            Some(why) => why,
            None => match self.fetch(domain, id).await {
                Ok(row) => return row.found(),
                Err((result, why)) => {
                    self.failed(domain, result, &why);
                    why
                }
            },
        };
        kept.map_or(Found::Unknown(why), |kept| kept.found())
    }

    async fn fetch(&self, domain: &str, id: &str) -> Result<StsPolicyRow, (TlsResult, String)> {
        let text = self.fetcher.fetch(domain).await.map_err(|error| match error {
            NotFetched::Failed(why) => (TlsResult::StsPolicyFetchError, why),
            NotFetched::BadCertificate(why) => (TlsResult::StsWebpkiInvalid, why),
        })?;
        let policy = Policy::parse(&text)
            .map_err(|error| (TlsResult::StsPolicyInvalid, format!("mta-sts.{domain}: {error}")))?;
        let row = StsPolicyRow {
            domain: domain.to_owned(),
            id: id.to_owned(),
            mode: policy.mode as u8,
            mx: policy.mx,
            max_age_s: policy.max_age_s,
            fetched_ms: now_us() / 1_000,
        };
        let kept = match self.db.write(|tx| keep(tx, &row, self.kept_max)) {
            Ok(pending) => pending.await,
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            // It is followed now, and fetched again for the next message.
            tracing::warn!(target: "grace", event = "StsPolicyNotKept", domain, error = %error);
        }
        Ok(row)
    }

    fn recent_failure(&self, domain: &str) -> Option<String> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, why) = failed.get(domain)?;
        (Instant::now() < *until).then(|| why.clone())
    }

    /// Remembers a failure, and counts it.
    fn failed(&self, domain: &str, result: TlsResult, why: &str) {
        let now = Instant::now();
        {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            if failed.len() >= FAILURES_MAX {
                failed.retain(|_, (until, _)| now < *until);
            }
            if failed.len() < FAILURES_MAX {
                failed.insert(domain.to_owned(), (now + FAILURE_WAIT, why.to_owned()));
            }
        }
        let applied =
            Applied { domain: domain.to_owned(), policy_type: PolicyType::Sts, lines: Vec::new() };
        let (mx_host, between) = ("", None);
        self.results.note(&Noted { applied: &applied, mx_host, result, between, reason: why });
    }
}

/// Writes a policy, if there is room or one of the domain's was there.
fn keep(
    tx: &mut gracedb::write::WriteTx<'_>,
    row: &StsPolicyRow,
    kept_max: u64,
) -> Result<(), Error> {
    if tx.get::<StsPolicyRow>(&row.domain)?.is_none() {
        let mut count = 0;
        let mut over = Vec::new();
        for kept in tx.scan::<StsPolicyRow>() {
            let kept = kept?;
            if kept.holds(row.fetched_ms) {
                count += 1;
            } else {
                over.push(kept.domain);
            }
        }
        for domain in over {
            tx.delete::<StsPolicyRow>(&domain)?;
        }
        if count >= kept_max {
            return Ok(());
        }
    }
    tx.put(row)
}

impl StsPolicyRow {
    /// Whether it is to be followed still.
    fn holds(&self, now_ms: u64) -> bool {
        now_ms < self.fetched_ms.saturating_add(self.max_age_s.saturating_mul(1_000))
    }

    /// Whether it need not be fetched anew.
    fn is_young(&self, now_ms: u64) -> bool {
        let renew_ms = (self.max_age_s.saturating_mul(1_000) / 2).min(RENEW_MS_MAX);
        now_ms < self.fetched_ms.saturating_add(renew_ms)
    }

    fn found(&self) -> Found {
        let (mode, mx) = (Mode::from_row(self.mode), self.mx.clone());
        Found::Policy(Policy { mode, mx, max_age_s: self.max_age_s })
    }
}

fn unasked(failure: &Failure) -> String {
    format!("whether it has a policy is not known: {failure}")
}
