//! The questions to the DNS, each through the library and each with a deadline.
//!
//! Invariant: an answer that comes too late is a temporary error.

use std::future::Future;

use mail_auth::common::crypto::CryptoError;
use mail_auth::dkim::DkimError;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::{
    ArcOutput, AuthenticatedMessage, DkimOutput, DkimResult, DmarcResult, DnsError, Error,
    IprevResult, MessageAuthenticator, SpfOutput, SpfResult, arc::ArcError, dmarc,
};
use tokio::time::{Instant, timeout_at};

use grace_mail::address::{Charset, Domain};

use super::Facts;
use super::message::{Authors, shown};
use super::spf::{self, Answer, Sender};
use super::verdict::{Dkim, Dmarc, Found, Iprev, Outcome, Policy, Spf};
use crate::dns::Resolver;

/// Why something that is not known yet is a temporary error.
const LATE: &str = "not known in time";

/// What all questions about a message have in common.
pub(super) struct Lookup<'a> {
    pub(super) library: &'a MessageAuthenticator,
    pub(super) resolver: &'a Resolver,
    pub(super) facts: &'a Facts,
    pub(super) hostname: &'a str,
    pub(super) deadline: Instant,
}

/// What became of the signatures: for people, and for the check of the author.
pub(super) struct Signatures<'x> {
    pub(super) shown: Vec<Dkim>,
    pub(super) outputs: Vec<DkimOutput<'x>>,
}

/// What became of the chain.
pub(super) struct Sets {
    pub(super) found: Found,
    /// Who sealed, the first first; of a chain that passes.
    pub(super) sealers: Vec<String>,
}

impl Lookup<'_> {
    async fn in_time<T>(&self, question: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.deadline, question).await.ok()
    }

    /// RFC 8601 3: the address names a host that has the address.
    pub(super) async fn iprev(&self) -> Iprev {
        let Some(output) = self.in_time(self.library.verify_iprev(self.facts.peer)).await else {
            return Iprev { found: Found::because(Outcome::TempError, LATE), name: None };
        };
        let found = match output.result {
            IprevResult::Pass => Found::bare(Outcome::Pass),
            IprevResult::Fail(_) => {
                Found::because(Outcome::Fail, "the name does not have the address")
            }
            IprevResult::TempError(error) => Found::because(Outcome::TempError, words(&error)),
            IprevResult::PermError(error) => Found::because(Outcome::PermError, words(&error)),
            IprevResult::None => Found::bare(Outcome::None),
        };
        let name = output.ptr.as_ref().and_then(|names| names.first());
        let name = name.map(|name| name.trim_end_matches('.').to_owned());
        Iprev { found, name }
    }

    /// RFC 7208 2.3: the name the peer gave itself.
    pub(super) async fn helo(&self) -> Spf {
        let domain = Domain::parse(&self.facts.helo, Charset::Utf8);
        self.spf("", domain.as_ref().map_or("", Domain::as_str)).await
    }

    /// RFC 7208 2.4: the envelope's sender; of a message from nobody the postmaster of who sends.
    pub(super) async fn mail_from(&self) -> Spf {
        self.spf(&self.facts.sender, self.sender_domain()).await
    }

    /// The domain that speaks for the envelope.
    fn sender_domain(&self) -> &str {
        let sender = self.facts.sender.rsplit_once('@');
        sender.map_or(self.facts.helo.as_str(), |(_, domain)| domain)
    }

    async fn spf(&self, address: &str, domain: &str) -> Spf {
        let (ip, helo, hostname) = (self.facts.peer, self.facts.helo.as_str(), self.hostname);
        let sender = Sender { ip, helo, address, hostname };
        let answer = self.in_time(spf::check_host(self.resolver, sender, domain)).await;
        let Answer { found, explanation } = answer.unwrap_or_else(|| Answer {
            found: Found::because(Outcome::TempError, LATE),
            explanation: None,
        });
        // What nobody can be asked about is not shown as somebody's.
        let domain = if domain.starts_with('[') { "" } else { domain };
        Spf { found, domain: domain.to_owned(), explanation }
    }

    pub(super) async fn dkim<'x>(&self, message: &'x AuthenticatedMessage<'x>) -> Signatures<'x> {
        let outputs = match self.in_time(self.library.verify_dkim(message)).await {
            Some(outputs) => outputs,
            None => message.dkim_headers.iter().map(|header| late(&header.header)).collect(),
        };
        let show = |output: &DkimOutput<'_>| {
            output.signature().map(|signature| shown(signature, dkim_found(output.result())))
        };
        Signatures { shown: outputs.iter().filter_map(show).collect(), outputs }
    }

    /// RFC 8617 5.2.
    pub(super) async fn arc<'x>(
        &self,
        message: &'x AuthenticatedMessage<'x>,
        too_long: bool,
    ) -> Sets {
        if too_long {
            let found = Found::because(Outcome::Fail, ArcError::ChainTooLong.to_string());
            return Sets { found, sealers: Vec::new() };
        }
        let Some(output) = self.in_time(self.library.verify_arc(message)).await else {
            return Sets { found: Found::because(Outcome::TempError, LATE), sealers: Vec::new() };
        };
        let found = arc_found(&output, message);
        let passes = found.outcome == Outcome::Pass;
        let sealers = output.sets().iter().map(|set| set.seal.header.d.to_ascii_lowercase());
        Sets { found, sealers: if passes { sealers.collect() } else { Vec::new() } }
    }

    /// RFC 9989: whether the author's domain stands behind one of those that passed.
    pub(super) async fn dmarc(
        &self,
        message: &AuthenticatedMessage<'_>,
        dkim_output: &[DkimOutput<'_>],
        mail_from: &Spf,
        authors: &Authors,
    ) -> Dmarc {
        let nobody = |reason: &str| Dmarc {
            found: Found::because(Outcome::None, reason),
            domain: String::new(),
            policy: Policy::None,
        };
        if authors.addresses.is_empty() {
            return nobody("the message has no author");
        }
        let spf_output = for_library(mail_from);
        let parameters = DmarcParameters {
            message,
            dkim_output,
            dkim2_output: None,
            rfc5321_mail_from_domain: self.sender_domain(),
            spf_output: &spf_output,
        };
        let Some(output) = self.in_time(self.library.verify_dmarc(parameters)).await else {
            let domain = authors.domain().unwrap_or_default().to_owned();
            let found = Found::because(Outcome::TempError, LATE);
            return Dmarc { found, domain, policy: Policy::None };
        };
        if output.domain().is_empty() {
            return nobody("its authors have more than one domain");
        }
        let policy = match output.policy() {
            dmarc::Policy::Reject => Policy::Reject,
            dmarc::Policy::Quarantine => Policy::Quarantine,
            dmarc::Policy::None | dmarc::Policy::Unspecified => Policy::None,
        };
        let found = dmarc_found(output.result());
        Dmarc { found, domain: output.domain().to_owned(), policy }
    }
}

/// A result of ours as the library takes it.
fn for_library(spf: &Spf) -> SpfOutput {
    let result = match spf.found.outcome {
        Outcome::Pass => SpfResult::Pass,
        Outcome::Fail => SpfResult::Fail,
        Outcome::SoftFail => SpfResult::SoftFail,
        Outcome::Neutral => SpfResult::Neutral,
        Outcome::TempError => SpfResult::TempError,
        Outcome::PermError => SpfResult::PermError,
        Outcome::None | Outcome::Policy => SpfResult::None,
    };
    SpfOutput::new(spf.domain.clone()).with_result(result)
}

fn late(signature: &mail_auth::dkim::Signature) -> DkimOutput<'_> {
    let error = Error::Dns(DnsError::Resolver(LATE.to_owned()));
    DkimOutput::temp_err(error).with_signature(signature)
}

/// RFC 8601 2.7.1: a hash that does not fit and a wrong signature fail; what cannot be read is
/// neutral, or an error where the key is to blame.
fn dkim_found(result: &DkimResult) -> Found {
    match result {
        DkimResult::Pass => Found::bare(Outcome::Pass),
        DkimResult::Neutral(Error::Dkim(DkimError::FailedBodyHashMatch)) => {
            Found::because(Outcome::Fail, "the body was changed")
        }
        DkimResult::Neutral(error) => Found::because(Outcome::Neutral, words(error)),
        DkimResult::Fail(error) => Found::because(Outcome::Fail, words(error)),
        DkimResult::PermError(error) => Found::because(Outcome::PermError, words(error)),
        DkimResult::TempError(error) => Found::because(Outcome::TempError, words(error)),
        DkimResult::None => Found::bare(Outcome::None),
    }
}

/// RFC 8617 4.4: a chain passes, fails, or is none.
fn arc_found(output: &ArcOutput<'_>, message: &AuthenticatedMessage<'_>) -> Found {
    // The library asks for signatures only; a chain without any is broken just as well.
    let orphaned = message.ams_headers.is_empty()
        && !(message.as_headers.is_empty() && message.aar_headers.is_empty());
    match output.result() {
        DkimResult::None if orphaned => {
            Found::because(Outcome::Fail, ArcError::BrokenChain.to_string())
        }
        DkimResult::None => Found::bare(Outcome::None),
        DkimResult::Pass => Found::bare(Outcome::Pass),
        DkimResult::TempError(error) => Found::because(Outcome::TempError, words(error)),
        DkimResult::Neutral(error) | DkimResult::Fail(error) | DkimResult::PermError(error) => {
            Found::because(Outcome::Fail, words(error))
        }
    }
}

fn dmarc_found(result: DmarcResult) -> Found {
    match result {
        DmarcResult::Pass => Found::bare(Outcome::Pass),
        DmarcResult::Fail(_) => {
            Found::because(Outcome::Fail, "no signature and no sender of this domain passed")
        }
        DmarcResult::TempError(error) => Found::because(Outcome::TempError, words(&error)),
        DmarcResult::PermError(error) => Found::because(Outcome::PermError, words(&error)),
        DmarcResult::None => Found::bare(Outcome::None),
    }
}

/// An error of the library in words of ours, where its own say little.
fn words(error: &Error) -> String {
    match error {
        Error::Dns(DnsError::RecordNotFound(_)) => "there is no record".to_owned(),
        Error::Dns(DnsError::InvalidRecordType) => "the record cannot be read".to_owned(),
        Error::Dns(DnsError::Resolver(why)) if why.is_empty() => "nobody could say".to_owned(),
        Error::Dns(DnsError::Resolver(why)) => why.clone(),
        Error::Crypto(CryptoError::Library(_) | CryptoError::FailedVerification) => {
            "the signature does not fit".to_owned()
        }
        other => other.to_string(),
    }
}
