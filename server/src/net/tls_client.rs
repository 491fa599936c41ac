//! TLS towards other servers.
//!
//! Between mail servers most certificates fit no name and are signed by nobody known; TLS with such
//! a server still keeps out who only listens (RFC 7435), and the alternative is no TLS at all. Who
//! must be sure of the other side asks for a certificate that fits.
//! Invariants: TLS 1.2 or newer; whoever is let through without a fitting certificate has proved at
//! least that the key in it is his.
//! Not here: when which is asked for (`outbound`).

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// A configuration that takes any certificate.
#[must_use]
pub fn any_certificate() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(AnyCertificate { provider: Arc::clone(&provider) });
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    // The versions are rustls' own, and its provider has suites for them.
    let config = config.unwrap_or_else(|_| ClientConfig::builder());
    Arc::new(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// A configuration that takes a certificate for the name that is asked for, vouched for by one of
/// these authorities (RFC 9525).
#[must_use]
pub fn verified_certificate(roots: &Arc<RootCertStore>) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    // The versions are rustls' own, and its provider has suites for them.
    let config = config.unwrap_or_else(|_| ClientConfig::builder());
    Arc::new(config.with_root_certificates(Arc::clone(roots)).with_no_client_auth())
}

/// What proves who other servers are. The system's authorities take half a megabyte, and are read
/// when somebody is to prove something first.
#[derive(Debug)]
pub struct Proof {
    ready: OnceLock<(Arc<RootCertStore>, Arc<ClientConfig>)>,
}

impl Proof {
    /// By the authorities in a PEM file, or without one by those of the system.
    ///
    /// # Errors
    /// The file cannot be read, or names none; says what to do.
    pub fn open(file: Option<&Path>) -> Result<Self, String> {
        let ready = match file {
            Some(file) => OnceLock::from(with_client(roots(file)?)),
            None => OnceLock::new(),
        };
        Ok(Self { ready })
    }

    /// Who is believed.
    #[must_use]
    pub fn roots(&self) -> &Arc<RootCertStore> {
        &self.ready().0
    }

    /// A configuration that takes a certificate only if they vouch for it.
    #[must_use]
    pub fn client(&self) -> &Arc<ClientConfig> {
        &self.ready().1
    }

    fn ready(&self) -> &(Arc<RootCertStore>, Arc<ClientConfig>) {
        self.ready.get_or_init(|| with_client(system_roots()))
    }
}

fn with_client(roots: Arc<RootCertStore>) -> (Arc<RootCertStore>, Arc<ClientConfig>) {
    let client = verified_certificate(&roots);
    (roots, client)
}

/// The authorities the system believes; it may have none, and then nobody can prove who he is.
fn system_roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    // What cannot be read of the system's is not ours to mend, and the rest is enough.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(roots)
}

/// The authorities in a PEM file.
///
/// # Errors
/// The file cannot be read, or names none; says what to do.
pub fn roots(file: &Path) -> Result<Arc<RootCertStore>, String> {
    let say = |what: &dyn std::fmt::Display| format!("transport.roots: {}: {what}", file.display());
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|e| say(&e))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|e| say(&e))?;
    }
    if roots.is_empty() {
        return Err(say(&"holds no certificate"));
    }
    Ok(Arc::new(roots))
}

/// Why a chain of certificates does not prove that its owner is the server of this name.
///
/// # Errors
/// The reason, in rustls' words.
pub fn verify(
    roots: &Arc<RootCertStore>,
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    now: SystemTime,
) -> Result<(), String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider);
    let verifier = verifier.build().map_err(|e| e.to_string())?;
    let (leaf, above) = chain.split_first().ok_or_else(|| "there is no certificate".to_owned())?;
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(since);
    verifier.verify_server_cert(leaf, above, name, &[], now).map(drop).map_err(|e| e.to_string())
}

/// Looks at no certificate.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn authorities_come_from_a_file_or_from_the_system() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roots.pem");
        let made = rcgen::generate_simple_self_signed(vec!["mx.test".to_owned()]).unwrap();
        std::fs::write(&file, made.cert.pem()).unwrap();
        assert_eq!(roots(&file).unwrap().len(), 1);
        std::fs::write(&file, "nothing").unwrap();
        let empty = roots(&file).unwrap_err();
        assert!(empty.contains("roots.pem: holds no certificate"), "{empty}");
        let missing = roots(&folder.path().join("none.pem")).unwrap_err();
        assert!(missing.starts_with("transport.roots: "), "{missing}");
        let proof = Proof::open(None).expect("also where the system has none");
        assert_eq!(proof.roots().len(), system_roots().len());
        assert!(Proof::open(Some(&file)).is_err(), "told at the start");
    }

    #[test]
    fn a_certificate_must_fit() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["mx.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let chain = [params.self_signed(&key).unwrap().der().clone()];
        let mut known = RootCertStore::empty();
        known.add(chain[0].clone()).unwrap();
        let known = Arc::new(known);
        let name = |name: &str| ServerName::try_from(name.to_owned()).unwrap();
        let at = |s: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
        let (then, later) = (at(1_790_000_000), at(1_900_000_000));
        assert_eq!(verify(&known, &chain, &name("mx.test"), then), Ok(()));
        let no = |result: Result<(), String>| result.unwrap_err();
        assert!(no(verify(&known, &chain, &name("mx.other"), then)).contains("name"));
        assert!(no(verify(&known, &chain, &name("mx.test"), later)).contains("expired"));
        assert!(!no(verify(&known, &[], &name("mx.test"), then)).is_empty());
        let none = Arc::new(RootCertStore::empty());
        assert!(!no(verify(&none, &chain, &name("mx.test"), then)).is_empty());
    }
}
