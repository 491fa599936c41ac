//! Certificates for tests: an authority of their own, and what it signs.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair,
    PublicKeyData as _, date_time_ymd,
};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Somebody who signs certificates.
pub(crate) struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate, those above it, and its key.
pub(crate) struct Leaf {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// The certificate's key as it stands in it (SubjectPublicKeyInfo).
    pub(crate) spki: Vec<u8>,
    key: PrivateKeyDer<'static>,
}

/// When a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    Now,
    Over,
}

fn params(names: &[&str], time: Time) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(if time == Time::Over { 2001 } else { 2099 }, 1, 1);
    params
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        Self::signed(name, None)
    }

    /// One that this one signs.
    pub(crate) fn below(&self, name: &str) -> Self {
        Self::signed(name, Some(self))
    }

    fn signed(name: &str, by: Option<&Self>) -> Self {
        let mut params = params(&[], Time::Now);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = match by {
            Some(above) => params.signed_by(&key, &above.issuer).expect("signed"),
            None => params.self_signed(&key).expect("signed"),
        };
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    /// Its key as it stands in its certificate.
    pub(crate) fn spki(&self) -> Vec<u8> {
        self.issuer.key().subject_public_key_info()
    }

    /// A certificate for these names, with this one's above it.
    pub(crate) fn leaf(&self, names: &[&str], time: Time) -> Leaf {
        let key = KeyPair::generate().expect("a key");
        let leaf = params(names, time).signed_by(&key, &self.issuer).expect("signed");
        Leaf {
            chain: vec![leaf.der().clone(), self.der()],
            spki: key.subject_public_key_info(),
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        }
    }

    /// Writes its certificate where `transport.roots` can name it.
    pub(crate) fn write(&self, folder: &Path) -> String {
        let file = folder.join("roots.pem");
        std::fs::write(&file, self.certificate.pem()).expect("writable");
        file.to_string_lossy().into_owned()
    }
}

/// A certificate that only itself vouches for.
pub(crate) fn self_signed(names: &[&str], time: Time) -> Leaf {
    let key = KeyPair::generate().expect("a key");
    let leaf = params(names, time).self_signed(&key).expect("signed");
    Leaf {
        chain: vec![leaf.der().clone()],
        spki: key.subject_public_key_info(),
        key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
    }
}

impl Leaf {
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key());
        Arc::new(config.expect("a chain and its key"))
    }
}

/// Serves one canned answer over HTTPS; gives the port. It ends with the set.
pub(crate) async fn https(leaf: &Leaf, answer: Vec<u8>, tasks: &mut JoinSet<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let port = listener.local_addr().expect("a bound socket").port();
    let acceptor = TlsAcceptor::from(leaf.server());
    tasks.spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(tcp).await else { continue };
            // The other side may hang up whenever it likes.
            drop(answered(stream, &answer).await);
        }
    });
    port
}

async fn answered(mut stream: TlsStream<TcpStream>, answer: &[u8]) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    assert!(request.starts_with(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n"));
    stream.write_all(answer).await?;
    stream.shutdown().await
}
