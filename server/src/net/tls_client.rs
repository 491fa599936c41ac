//! TLS towards other servers.
//!
//! Between mail servers most certificates fit no name and are signed by nobody known; TLS with such
//! a server still keeps out who only listens (RFC 7435), and the alternative is no TLS at all. Who
//! must be sure of the other side brings a [`Check`], and says whether it decides or is only heard.
//!
//! ```text
//!   handshake ─▶ certificate ─▶ Check ─▶ Witness: what it said
//!                                 └─ it decides, and said no ─▶ the handshake fails
//! ```
//! Invariants: TLS 1.2 or newer; whoever is let through has proved at least that the key in his
//! certificate is his; every handshake is checked, for no session is taken up again.
//! Not here: which check is asked for (`transport`), when to connect (`outbound`).

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// What is asked of a certificate.
pub trait Check: fmt::Debug + Send + Sync {
    /// Whether the certificate is good, with what came along with it.
    ///
    /// # Errors
    /// It is not; says why.
    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Fault>;
}

/// Why a certificate is not good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind of fault.
    pub kind: FaultKind,
    /// What is wrong, in words.
    pub text: String,
}

/// Kinds of faults, as those who are told of them tell them apart (RFC 8460 4.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// It is for other names.
    HostMismatch,
    /// Its time is over, or has not come.
    Expired,
    /// It is signed by nobody we trust.
    NotTrusted,
    /// Anything else.
    Other,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// What rustls found.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        let kind = match error {
            Error::InvalidCertificate(error) => kind_of(error),
            _ => FaultKind::Other,
        };
        Self { kind, text: error.to_string() }
    }
}

fn kind_of(error: &CertificateError) -> FaultKind {
    match error {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            FaultKind::HostMismatch
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => FaultKind::Expired,
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::Revoked => FaultKind::NotTrusted,
        CertificateError::Other(OtherError(other)) => {
            other.downcast_ref::<Fault>().map_or(FaultKind::Other, |fault| fault.kind)
        }
        _ => FaultKind::Other,
    }
}

/// Remembers what a check said in a handshake.
#[derive(Debug, Default)]
pub struct Witness(OnceLock<Result<(), Fault>>);

impl Witness {
    /// What the check said; `None`: it was not asked, or there is none.
    #[must_use]
    pub fn verdict(&self) -> Option<&Result<(), Fault>> {
        self.0.get()
    }

    /// Whether a check found the certificate good.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        matches!(self.0.get(), Some(Ok(())))
    }
}

/// One handshake to come. It is for one: what was checked in another says nothing of this one.
#[derive(Debug, Clone)]
pub struct Client {
    /// The configuration.
    pub config: Arc<ClientConfig>,
    /// What the check said, afterwards.
    pub witness: Arc<Witness>,
}

impl Client {
    /// A handshake with this check; `decides`: it fails where the check says no.
    #[must_use]
    pub fn new(check: Option<Arc<dyn Check>>, decides: bool) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let witness = Arc::new(Witness::default());
        let verifier = Arc::new(Verifier {
            provider: Arc::clone(&provider),
            check,
            decides,
            witness: Arc::clone(&witness),
        });
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        // The versions are rustls' own, and its provider has suites for them.
        let config = config.unwrap_or_else(|_| ClientConfig::builder());
        let mut config =
            config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        config.resumption = Resumption::disabled();
        Self { config: Arc::new(config), witness }
    }

    /// One that takes any certificate.
    #[must_use]
    pub fn any_certificate() -> Self {
        Self::new(None, false)
    }
}

/// Asks a check.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    check: Option<Arc<dyn Check>>,
    decides: bool,
    witness: Arc<Witness>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(check) = &self.check else { return Ok(ServerCertVerified::assertion()) };
        let verdict = check.check(leaf, others, now);
        let verdict = self.witness.0.get_or_init(|| verdict);
        match verdict {
            Err(fault) if self.decides => {
                let other = OtherError(Arc::new(fault.clone()));
                Err(Error::InvalidCertificate(CertificateError::Other(other)))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
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
