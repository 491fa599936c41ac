//! DANE: a server's certificate as its TLSA records have it (RFC 6698, 7671, 7672).
//!
//! ```text
//!   records ─▶ usable: usage 2 or 3, the strongest digest of each kind
//!      3 DANE-EE   the certificate or its key is the record's, and nothing else is looked at
//!      2 DANE-TA   a certificate above it is the record's: a chain up to that, a name that fits
//! ```
//! Invariants: a record that cannot be used says nothing; of digests, only the strongest of a usage
//! and selector counts (RFC 7671 9), so that a broken one helps nobody.
//! Not here: whether the records are signed (`dns::secure`), when they are asked for.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use rustls_pki_types::{CertificateDer, Der, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, anchor_from_trusted_cert};

use super::certificate;
use crate::dns::secure::Tlsa;
use crate::net::certificate::sequence;
use crate::net::tls_client::{Check, Fault, FaultKind};

/// DANE-TA: the record is of somebody who signs the server's certificate (RFC 7671 5.2).
const DANE_TA: u8 = 2;
/// DANE-EE: the record is of the server's certificate itself (RFC 7671 5.1).
const DANE_EE: u8 = 3;
/// The whole certificate.
const SELECT_CERTIFICATE: u8 = 0;
/// Its key (SubjectPublicKeyInfo).
const SELECT_KEY: u8 = 1;
/// As it is.
const MATCH_FULL: u8 = 0;
/// Its SHA-256.
const MATCH_SHA256: u8 = 1;
/// Its SHA-512.
const MATCH_SHA512: u8 = 2;
/// Certificates above the server's that are looked at. Real chains have four at most.
const CHAIN_MAX: usize = 10;

/// The records that can be followed (RFC 7672 3.1: usages 0 and 1 cannot, for nobody agreed on who
/// is trusted beyond the DNS).
#[must_use]
pub(super) fn usable(records: &[Tlsa]) -> Vec<Tlsa> {
    let mut usable: Vec<Tlsa> =
        records.iter().filter(|record| is_usable(record)).cloned().collect();
    let has_strong = |usage, selector| {
        records.iter().any(|record| {
            is_usable(record)
                && (record.usage, record.selector) == (usage, selector)
                && record.matching == MATCH_SHA512
        })
    };
    // RFC 7671 9: the weaker digest is there for those who do not know the stronger one.
    usable.retain(|record| {
        record.matching != MATCH_SHA256 || !has_strong(record.usage, record.selector)
    });
    usable.sort_unstable();
    usable.dedup();
    usable
}

fn is_usable(record: &Tlsa) -> bool {
    let Tlsa { usage, selector, matching, data } = record;
    let has_length = match *matching {
        MATCH_FULL => match *selector {
            SELECT_CERTIFICATE => is_certificate(data),
            _ => sequence(data).is_some(),
        },
        MATCH_SHA256 => data.len() == 32,
        MATCH_SHA512 => data.len() == 64,
        _ => false,
    };
    matches!(*usage, DANE_TA | DANE_EE)
        && matches!(*selector, SELECT_CERTIFICATE | SELECT_KEY)
        && has_length
}

fn is_certificate(data: &[u8]) -> bool {
    anchor_from_trusted_cert(&CertificateDer::from(data)).is_ok()
}

/// What a server's usable records ask of its certificate.
#[derive(Debug)]
pub(super) struct ByRecords {
    /// The records, usable ones.
    pub(super) records: Vec<Tlsa>,
    /// Names one of which a certificate must have that others vouch for (RFC 7672 3.2.2).
    pub(super) names: Vec<String>,
}

impl Check for ByRecords {
    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Fault> {
        let is_of = |usage: u8| move |record: &&Tlsa| record.usage == usage;
        // RFC 7672 3.1.1: neither names nor time are looked at; the record stands for both.
        if self.records.iter().filter(is_of(DANE_EE)).any(|record| matches(record, leaf)) {
            return Ok(());
        }
        let mut last = None;
        for record in self.records.iter().filter(is_of(DANE_TA)) {
            match self.below(record, leaf, others, now) {
                Ok(()) => return Ok(()),
                Err(fault) => last = last.or(fault),
            }
        }
        Err(last.unwrap_or_else(|| Fault {
            kind: FaultKind::Other,
            text: "the certificate is that of no TLSA record".to_owned(),
        }))
    }
}

impl ByRecords {
    /// Whether the certificate is vouched for by whom the record names. `Err(None)`: he is not in
    /// the chain.
    fn below(
        &self,
        record: &Tlsa,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Option<Fault>> {
        let others = others.get(..others.len().min(CHAIN_MAX)).unwrap_or_default();
        let mut anchors: Vec<TrustAnchor<'_>> = others
            .iter()
            .filter(|certificate| matches(record, certificate))
            .filter_map(|certificate| anchor_from_trusted_cert(certificate).ok())
            .collect();
        let whole = CertificateDer::from(record.data.as_slice());
        let top = others.last().unwrap_or(leaf);
        let top = EndEntityCert::try_from(top);
        match (record.selector, record.matching) {
            // RFC 7671 5.2.2: with the whole certificate in the DNS it need not be in the chain.
            (SELECT_CERTIFICATE, MATCH_FULL) => anchors.extend(anchor_from_trusted_cert(&whole)),
            // RFC 7671 5.2.3: nor with its whole key; then it is whoever signed the last one.
            (SELECT_KEY, MATCH_FULL) if anchors.is_empty() => {
                anchors.extend(top.as_ref().ok().and_then(|top| signer(top, &record.data)));
            }
            _ => {}
        }
        if anchors.is_empty() {
            return Err(None);
        }
        let leaf = EndEntityCert::try_from(leaf).map_err(|e| certificate::fault(&e))?;
        certificate::chain(&leaf, others, &anchors, now)?;
        Ok(certificate::names(&leaf, &self.names)?)
    }
}

/// Who signed a certificate, if this is his key.
fn signer<'a>(certificate: &'a EndEntityCert<'_>, key: &'a [u8]) -> Option<TrustAnchor<'a>> {
    Some(TrustAnchor {
        subject: Der::from(certificate.issuer()),
        subject_public_key_info: Der::from(sequence(key)?),
        name_constraints: None,
    })
}

/// Whether a certificate is the record's.
fn matches(record: &Tlsa, certificate: &CertificateDer<'_>) -> bool {
    let key;
    let selected: &[u8] = match record.selector {
        SELECT_CERTIFICATE => certificate.as_ref(),
        _ => match EndEntityCert::try_from(certificate) {
            Ok(parsed) => {
                key = parsed.subject_public_key_info();
                key.as_ref()
            }
            Err(_) => return false,
        },
    };
    match record.matching {
        MATCH_FULL => record.data == selected,
        MATCH_SHA256 => record.data == digest(&SHA256, selected).as_ref(),
        MATCH_SHA512 => record.data == digest(&SHA512, selected).as_ref(),
        _ => false,
    }
}
