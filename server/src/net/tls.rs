//! The server's certificate: read, made if there is none, read again on demand; and what of it ties
//! a login to its connection.
//!
//! Invariants: TLS 1.2 or newer, rustls' own choice of suites; a certificate that cannot be read
//! never replaces one that works; private keys are readable by the daemon's user alone; who shows a
//! certificate where people log in is vouched for by one of `tls.client_authorities`.
//! Not here: certificates from an ACME authority.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use grace_ipc::event::Service;
use grace_smtp::channel_binding;

use crate::config::{Config, TlsFiles};

/// The certificate in use; handshakes under way keep the one they began with.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Both>,
}

/// What handshakes use: with other servers, and with people, who may show a certificate.
#[derive(Debug, Clone)]
struct Both {
    servers: Current,
    people: Current,
}

/// What a handshake uses.
#[derive(Debug, Clone)]
pub struct Current {
    /// Certificate, key, and what rustls chooses.
    pub config: Arc<ServerConfig>,
    /// The `tls-server-end-point` of the certificate (RFC 5929 4.1), if it has one.
    pub end_point: Option<Arc<[u8]>>,
}

impl Tls {
    /// Reads the configured certificate, or the self-signed one in the data folder, which is made
    /// for the host name if it is not there yet.
    ///
    /// # Errors
    /// Says which file cannot be used and why.
    pub fn open(config: &Config) -> Result<Self, String> {
        let files = match &config.tls {
            Some(files) => files.clone(),
            None => self_signed(&config.data.join("tls"), &config.hostname)?,
        };
        let current = RwLock::new(read(&files)?);
        Ok(Self { files, current })
    }

    /// What the next handshake at such a door uses.
    #[must_use]
    pub fn current(&self, service: Service) -> Current {
        let both = self.current.read().unwrap_or_else(PoisonError::into_inner);
        if service == Service::Smtp { both.servers.clone() } else { both.people.clone() }
    }

    /// Reads the files again; on success the next handshake uses them. Returns what was read.
    ///
    /// # Errors
    /// Says which file cannot be used and why; the old certificate stays in use.
    pub fn reload(&self) -> Result<String, String> {
        let fresh = read(&self.files)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(self.files.certificate.display().to_string())
    }

    /// SHA-256 of the certificate's public key, as others are told which one to expect (TLSA,
    /// RFC 6698 2.1.3).
    ///
    /// # Errors
    /// Says which file cannot be used and why.
    pub fn key_sha256(&self) -> Result<[u8; 32], String> {
        let say = |what: &dyn std::fmt::Display| format!("{}: {what}", self.files.key.display());
        let key = PrivateKeyDer::from_pem_file(&self.files.key).map_err(|e| say(&e))?;
        let key = any_supported_type(&key).map_err(|e| say(&e))?;
        let public = key.public_key().ok_or_else(|| say(&"holds a key of an unknown kind"))?;
        let hash = digest(&SHA256, public.as_ref());
        hash.as_ref().try_into().map_err(|_| say(&"has a key without a hash"))
    }
}

/// Reads a chain and its key, and checks that they belong together.
fn read(files: &TlsFiles) -> Result<Both, String> {
    let say = |file: &Path, what: &dyn std::fmt::Display| format!("{}: {what}", file.display());
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(|e| say(&files.certificate, &e))?;
    let Some(own) = chain.first() else {
        return Err(say(&files.certificate, &"holds no certificate"));
    };
    let end_point = channel_binding::server_end_point(own).map(Arc::from);
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| say(&files.key, &e))?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain.clone(), key.clone_key())
        .map_err(|e| say(&files.certificate, &e))?;
    let servers = Current { config: Arc::new(config), end_point };
    let people = match &files.client_authorities {
        None => servers.clone(),
        Some(file) => {
            let roots = Arc::new(authorities(file)?);
            let verifier = WebPkiClientVerifier::builder(roots)
                .allow_unauthenticated()
                .build()
                .map_err(|e| say(file, &e))?;
            let config = ServerConfig::builder()
                .with_client_cert_verifier(verifier)
                .with_single_cert(chain, key)
                .map_err(|e| say(&files.certificate, &e))?;
            Current { config: Arc::new(config), ..servers.clone() }
        }
    };
    Ok(Both { servers, people })
}

/// Authorities in a PEM file.
fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let say = |what: &dyn std::fmt::Display| {
        format!("tls.client_authorities: {}: {what}", file.display())
    };
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|e| say(&e))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|e| say(&e))?;
    }
    if roots.is_empty() { Err(say(&"holds no certificate")) } else { Ok(roots) }
}

/// The self-signed certificate in `folder`, made if it is not there.
fn self_signed(folder: &Path, hostname: &str) -> Result<TlsFiles, String> {
    let files = TlsFiles {
        certificate: folder.join("certificate.pem"),
        key: folder.join("key.pem"),
        client_authorities: None,
    };
    if files.certificate.exists() && files.key.exists() {
        return Ok(files);
    }
    let names = vec![hostname.to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)
        .map_err(|e| format!("a self-signed certificate cannot be made: {e}"))?;
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let say = |file: &PathBuf, e: io::Error| format!("{}: {e}", file.display());
    write_private(&files.key, &made.signing_key.serialize_pem()).map_err(|e| say(&files.key, e))?;
    fs::write(&files.certificate, made.cert.pem()).map_err(|e| say(&files.certificate, e))?;
    Ok(files)
}

/// Writes a file that only its owner may read, from its first byte on.
fn write_private(file: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_self_signed_certificate_is_made_once_and_reads_back() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let first = self_signed(folder.path(), "mail.example.org").expect("made");
        let found = read(&first).expect("rustls takes it");
        assert_eq!(found.people.end_point.expect("a hash of it").len(), 32);
        let key = fs::read(&first.key).expect("there");
        self_signed(folder.path(), "mail.example.org").expect("kept");
        assert_eq!(fs::read(&first.key).expect("there"), key);
    }

    #[cfg(unix)]
    #[test]
    fn the_key_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = self_signed(folder.path(), "mail.example.org").expect("made");
        let mode = fs::metadata(&files.key).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_bad_file_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = self_signed(folder.path(), "mail.example.org").expect("made");
        fs::write(&files.certificate, "nonsense").expect("writable");
        let error = read(&files).expect_err("not a certificate");
        assert!(error.contains("certificate.pem"), "{error}");
        let good = self_signed(&folder.path().join("good"), "mail.example.org").expect("made");
        let none = folder.path().join("none.pem");
        fs::write(&none, "").expect("writable");
        let error = read(&TlsFiles { client_authorities: Some(none), ..good });
        let error = error.expect_err("nobody is trusted");
        assert!(error.contains("tls.client_authorities"), "{error}");
    }
}
