//! A web server on loopback that gives out one text as a policy of MTA-STS, and certificates of an
//! authority of the test's own.
//!
//! Invariant: it ends with its handle; what it is told to say it says to the next who asks.
//! Not here: what a daemon makes of the policy.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData as _,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Somebody who signs certificates.
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Identity {
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// When there is no chance to be had.
    #[must_use]
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("signed");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate for a name.
    ///
    /// # Panics
    /// When it is no name.
    #[must_use]
    pub fn identity(&self, name: &str) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        Identity { certificate, key }
    }

    /// Writes its certificate into a file of a folder, for `[transport] roots`.
    ///
    /// # Panics
    /// When the folder cannot be written to.
    #[must_use]
    pub fn write(&self, folder: &Path) -> PathBuf {
        let file = folder.join("roots.pem");
        fs::write(&file, self.certificate.pem()).expect("the folder is writable");
        file
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Identity {
    /// Writes certificate and key to where a daemon's settings name them.
    ///
    /// # Panics
    /// When the folder cannot be written to.
    pub fn write(&self, folder: &Path) {
        fs::write(folder.join("chain.pem"), self.certificate.pem()).expect("writable");
        fs::write(folder.join("key.pem"), self.key.serialize_pem()).expect("writable");
    }

    /// Its key, as records of it have it (`3 1 0`, RFC 6698).
    #[must_use]
    pub fn spki(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }
}

/// A running web server.
pub struct PolicyHost {
    port: u16,
    policy: Arc<Mutex<String>>,
    _runtime: Runtime,
}

impl PolicyHost {
    /// Starts one that shows this certificate and gives out this policy.
    ///
    /// # Panics
    /// When loopback has no free port.
    #[must_use]
    pub fn start(identity: &Identity, policy: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread");
        let chain = vec![CertificateDer::from(identity.certificate.der().to_vec())];
        let key = PrivateKeyDer::Pkcs8(identity.key.serialize_der().into());
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        let acceptor = TlsAcceptor::from(Arc::new(config.expect("they belong together")));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let policy = Arc::new(Mutex::new(policy.to_owned()));
        let said = Arc::clone(&policy);
        runtime.spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let text = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // Who asks may hang up.
                drop(serve(&acceptor, tcp, &text).await);
            }
        });
        Self { port, policy, _runtime: runtime }
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Gives out another policy from now on.
    pub fn say(&self, policy: &str) {
        policy.clone_into(&mut self.policy.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

async fn serve(acceptor: &TlsAcceptor, tcp: TcpStream, policy: &str) -> std::io::Result<()> {
    let mut stream = acceptor.accept(tcp).await?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let is_right = request.starts_with(b"GET /.well-known/mta-sts.txt ");
    let (head, body) = if is_right { ("200 OK", policy) } else { ("404 Not Found", "") };
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {head}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
