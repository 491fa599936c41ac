//! Certificates that others vouch for: a chain up to somebody who is trusted, and a name that fits
//! (RFC 5280 6, RFC 9525).
//!
//! Not here: who is trusted by a record in the DNS (`dane`).

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use crate::net::tls_client::{Check, Fault, FaultKind};

/// Who is trusted. The system's authorities take half a megabyte, and are read when somebody is to
/// prove something first. Cloning gives another handle.
#[derive(Debug, Clone)]
pub(super) struct Roots(Arc<OnceLock<Arc<RootCertStore>>>);

impl Roots {
    /// The authorities in a PEM file, or without one those of the system.
    ///
    /// # Errors
    /// The file cannot be read, or not all of it, or holds no certificate; says which and why.
    pub(super) fn open(file: Option<&Path>) -> Result<Self, String> {
        let ready = match file {
            Some(file) => OnceLock::from(Arc::new(of_file(file)?)),
            None => OnceLock::new(),
        };
        Ok(Self(Arc::new(ready)))
    }

    /// Who they are.
    pub(super) fn get(&self) -> &Arc<RootCertStore> {
        self.0.get_or_init(|| Arc::new(of_system()))
    }
}

/// A system without authorities trusts nobody, and mail goes on where it need not.
fn of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // What cannot be read of the system's is not ours to mend, and the rest is enough.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn of_file(file: &Path) -> Result<RootCertStore, String> {
    let say = |what: &dyn fmt::Display| format!("transport.roots: {}: {what}", file.display());
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|e| say(&e))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|e| say(&e))?;
    }
    if roots.is_empty() {
        return Err(say(&"holds no certificate"));
    }
    Ok(roots)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_come_from_a_file_or_from_the_system() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roots.pem");
        let made = rcgen::generate_simple_self_signed(vec!["mx.test".to_owned()]).unwrap();
        std::fs::write(&file, made.cert.pem()).unwrap();
        assert_eq!(Roots::open(Some(&file)).unwrap().get().len(), 1);
        std::fs::write(&file, "nothing").unwrap();
        let empty = Roots::open(Some(&file)).unwrap_err();
        assert!(empty.contains("roots.pem: holds no certificate"), "{empty}");
        let missing = Roots::open(Some(&folder.path().join("none.pem"))).unwrap_err();
        assert!(missing.starts_with("transport.roots: "), "{missing}");
        assert_eq!(Roots::open(None).unwrap().get().len(), of_system().len());
    }
}
