//! A policy of MTA-STS from its host, over HTTPS (RFC 8461 3.3).
//!
//! Invariants: the host has shown a certificate for its name; no other place is gone to, whatever
//! it answers; the answer has at most [`POLICY_BYTES_MAX`] bytes and comes within the time set.
//! Not here: what the policy says (`policy`), when it is fetched (`sts`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::dns::Resolver;
use crate::transport::certificate::Roots;

/// Largest policy (RFC 8461 3.2 proposes 64 kilobytes).
const POLICY_BYTES_MAX: usize = 64 * 1_024;
/// Where it lies (RFC 8461 3.3).
const PATH: &str = "/.well-known/mta-sts.txt";

/// Why there is no policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotFetched {
    /// Its host cannot be reached, or answers something else.
    Failed(String),
    /// Its host has no good certificate.
    BadCertificate(String),
}

/// Fetches policies.
#[derive(Clone)]
pub(super) struct Fetcher {
    dns: Resolver,
    roots: Roots,
    port: u16,
    time_max: Duration,
}

impl Fetcher {
    pub(super) fn new(dns: Resolver, roots: Roots, port: u16, time_max: Duration) -> Self {
        Self { dns, roots, port, time_max }
    }

    fn tls(&self) -> Result<TlsConnector, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let roots = Arc::clone(self.roots.get());
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// The text of a domain's policy.
    pub(super) async fn fetch(&self, domain: &str) -> Result<Bytes, NotFetched> {
        let host = format!("mta-sts.{domain}");
        let failed = |text: &str| NotFetched::Failed(format!("{host}: {text}"));
        match timeout(self.time_max, self.exchange(&host)).await {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(NotFetched::Failed(text))) => Err(failed(&text)),
            Ok(Err(NotFetched::BadCertificate(text))) => {
                Err(NotFetched::BadCertificate(format!("{host}: {text}")))
            }
            Err(_) => Err(failed("no answer in time")),
        }
    }

    async fn exchange(&self, host: &str) -> Result<Bytes, NotFetched> {
        let name = ServerName::try_from(host.to_owned()).map_err(failed)?;
        let tcp = self.connect(host).await?;
        let stream = self.tls().map_err(failed)?.connect(name, tcp).await;
        let stream = TokioIo::new(stream.map_err(|error| handshake_failed(&error))?);
        let (mut sender, connection) =
            http1::Builder::new().handshake(stream).await.map_err(failed)?;
        // Ends with this function.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let request = Request::get(PATH).header(HOST, host).body(Empty::<Bytes>::new());
        let request = request.map_err(failed)?;
        let response = sender.send_request(request).await.map_err(failed)?;
        check(&response).map_err(NotFetched::Failed)?;
        let body = Limited::new(response.into_body(), POLICY_BYTES_MAX).collect().await;
        Ok(body.map_err(failed)?.to_bytes())
    }

    async fn connect(&self, host: &str) -> Result<TcpStream, NotFetched> {
        let mut last = "it has no address".to_owned();
        for address in self.dns.addresses(host).await.map_err(failed)? {
            match TcpStream::connect(SocketAddr::new(address, self.port)).await {
                Ok(tcp) => return Ok(tcp),
                Err(error) => last = error.to_string(),
            }
        }
        Err(NotFetched::Failed(last))
    }
}

/// RFC 8461 3.3: 200 and nothing else, not even another place; 3.2: a plain text.
fn check(response: &Response<Incoming>) -> Result<(), String> {
    if response.status() != StatusCode::OK {
        return Err(format!("it answered {}", response.status()));
    }
    let kind = response.headers().get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    let kind = kind.and_then(|kind| kind.split(|b| *b == b';').next()).unwrap_or_default();
    if !kind.trim_ascii().eq_ignore_ascii_case(b"text/plain") {
        return Err("what it answered is no plain text".to_owned());
    }
    Ok(())
}

fn handshake_failed(error: &io::Error) -> NotFetched {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => NotFetched::BadCertificate(error.to_string()),
        _ => NotFetched::Failed(format!("TLS: {error}")),
    }
}

/// The error with what is behind it: those of HTTP say little by themselves.
fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> NotFetched {
    let error = error.into();
    let behind = error.source().map_or_else(String::new, |source| format!(": {source}"));
    NotFetched::Failed(format!("{error}{behind}"))
}
