//! Who checks the signatures of answers (DNSSEC, RFC 4035 5), and whether that makes sense here.
//!
//! ```text
//!   Unknown ──probe: the keys of the root──▶ Useful ──a day──▶ asked again, and useful until known
//!      ▲                                 └─▶ Useless ─┐
//!      └──────────── ten minutes ────────────────────┘
//! ```
//! Name servers that strip signatures from answers are still about. With them every answer would
//! look forged, and no mail would go out; so they are asked for what is surely signed first.
//! Invariant: who was seen to pass signatures on is not believed to have lost them by an answer
//! that does not come.
//! Not here: what a signed answer is good for (`transport`).

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::rr::{Name, RecordType};

use crate::config::limits::Dns;

/// How long it is believed that name servers pass signatures on.
const USEFUL_AGE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How long it is believed that they do not: who puts another one in place sees it soon.
const USELESS_AGE_MAX: Duration = Duration::from_secs(600);

/// Checks signatures.
pub(super) struct Validator {
    resolver: TokioResolver,
    /// Whether name servers pass signatures on, and until when that is believed.
    use_until: Mutex<Option<(bool, Instant)>>,
}

impl Validator {
    /// One by the settings.
    ///
    /// # Errors
    /// The trust anchor cannot be read, or nobody is there to be asked; says what to do.
    pub(super) fn new(settings: &Dns) -> Result<Self, String> {
        let anchors = match settings.trust_anchor.as_str() {
            "root" => TrustAnchors::default(),
            file => anchors(Path::new(file))?,
        };
        let resolver = super::client(settings, Some(anchors))?;
        Ok(Self { resolver, use_until: Mutex::new(None) })
    }

    /// Asks, and checks the answer.
    pub(super) fn resolver(&self) -> &TokioResolver {
        &self.resolver
    }

    /// Whether the name servers pass signatures on.
    pub(super) async fn is_of_use(&self) -> bool {
        let known = *self.use_until.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some((is_of_use, until)) if Instant::now() < until => is_of_use,
            known => self.probe(known.is_some_and(|(was_of_use, _)| was_of_use)).await,
        }
    }

    async fn probe(&self, was_of_use: bool) -> bool {
        let answer = self.resolver.lookup(Name::root(), RecordType::DNSKEY).await;
        let is_of_use = match &answer {
            Ok(answer) => {
                let keys = answer.answers();
                keys.iter().any(|key| key.record_type() == RecordType::DNSKEY)
                    && keys
                        .iter()
                        .all(|key| key.record_type() != RecordType::DNSKEY || key.proof.is_secure())
            }
            Err(NetError::Dns(_)) => false,
            Err(_) => was_of_use,
        };
        if !is_of_use {
            let error = answer.err().map_or_else(String::new, |error| error.to_string());
            tracing::warn!(target: "grace", event = "NoDnssec", error);
        }
        let age_max = if is_of_use { USEFUL_AGE_MAX } else { USELESS_AGE_MAX };
        let until = Instant::now() + age_max;
        *self.use_until.lock().unwrap_or_else(PoisonError::into_inner) = Some((is_of_use, until));
        is_of_use
    }
}

/// The keys in a file of DNSKEY records.
fn anchors(file: &Path) -> Result<TrustAnchors, String> {
    let say = |what: String| {
        format!("dns.trust_anchor: {}: {what}; it must hold DNSKEY records", file.display())
    };
    let anchors = TrustAnchors::from_file(file).map_err(|e| say(e.to_string()))?;
    if anchors.is_empty() {
        return Err(say("no key of the root is in it".to_owned()));
    }
    Ok(anchors)
}
