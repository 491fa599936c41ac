//! Certificates that others vouch for: a chain up to somebody who is trusted, and a name that fits
//! (RFC 5280 6, RFC 9525).
//!
//! Not here: who is trusted by a record in the DNS (`dane`).

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use crate::net::tls_client::{Check, Fault, FaultKind};

/// Who is trusted: the authorities of the system, or those of a file.
///
/// # Errors
/// The file cannot be read, or holds no certificate; says so.
pub(super) fn roots(setting: &str) -> Result<RootCertStore, String> {
    let say = |what: String| format!("transport.roots: {setting}: {what}");
    let certificates: Vec<CertificateDer<'static>> = if setting == "system" {
        // A system without authorities trusts nobody, and mail goes on where it need not.
        rustls_native_certs::load_native_certs().certs
    } else {
        let read = CertificateDer::pem_file_iter(setting).and_then(Iterator::collect);
        read.map_err(|e| say(e.to_string()))?
    };
    let mut store = RootCertStore::empty();
    let (taken, _) = store.add_parsable_certificates(certificates);
    if taken == 0 && setting != "system" {
        return Err(say("it holds no certificate".to_owned()));
    }
    Ok(store)
}

/// A certificate for one of these names, by somebody of those.
#[derive(Debug)]
pub(super) struct ByRoots {
    /// Who is trusted.
    pub(super) roots: Arc<RootCertStore>,
    /// Names one of which it must have.
    pub(super) names: Vec<String>,
}

impl Check for ByRoots {
    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Fault> {
        let leaf = EndEntityCert::try_from(leaf).map_err(|e| fault(&e))?;
        chain(&leaf, others, &self.roots.roots, now)?;
        names(&leaf, &self.names)
    }
}

/// Whether a chain leads from the certificate up to one of the anchors.
pub(super) fn chain(
    leaf: &EndEntityCert<'_>,
    others: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
    now: UnixTime,
) -> Result<(), Fault> {
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
    let usage = KeyUsage::server_auth();
    leaf.verify_for_usage(algorithms, anchors, others, now, usage, None, None)
        .map(drop)
        .map_err(|error| fault(&error))
}

/// Whether the certificate is for one of the names.
pub(super) fn names(leaf: &EndEntityCert<'_>, names: &[String]) -> Result<(), Fault> {
    let fits = |name: &String| {
        let name = ServerName::try_from(name.as_str());
        name.is_ok_and(|name| leaf.verify_is_valid_for_subject_name(&name).is_ok())
    };
    if names.iter().any(fits) {
        return Ok(());
    }
    let text = format!("the certificate is not for {}", names.join(" or "));
    Err(Fault { kind: FaultKind::HostMismatch, text })
}

/// What webpki found.
pub(super) fn fault(error: &Error) -> Fault {
    let kind = match error {
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } => FaultKind::Expired,
        Error::UnknownIssuer
        | Error::InvalidSignatureForPublicKey
        | Error::CaUsedAsEndEntity
        | Error::EndEntityUsedAsCa => FaultKind::NotTrusted,
        _ => FaultKind::Other,
    };
    let what = match error {
        Error::CertExpired { .. } => "its time is over".to_owned(),
        Error::CertNotValidYet { .. } => "its time has not come".to_owned(),
        Error::UnknownIssuer => "it is signed by nobody trusted".to_owned(),
        Error::CaUsedAsEndEntity => "it is one of an authority".to_owned(),
        other => other.to_string(),
    };
    Fault { kind, text: format!("the certificate cannot be trusted: {what}") }
}
