//! TLS towards other servers.
//!
//! Between mail servers most certificates fit no name and are signed by nobody known; TLS with such
//! a server still keeps out who only listens (RFC 7435), and the alternative is no TLS at all. Who
//! must be sure of the other side asks for a certificate that fits.
//! Invariants: TLS 1.2 or newer; whoever is let through without a fitting certificate has proved at
//! least that the key in it is his.
//! Not here: when which is asked for (`outbound`).

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
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
