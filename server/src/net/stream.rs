//! A connection's bytes, in clear or over TLS, counted.
//!
//! Invariants: the counts are of bytes above TLS; a stream is in clear or encrypted, never half.
//! Not here: time limits on single reads and writes (the session knows how long it will wait).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::{ClientConfig, ProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use grace_smtp::channel_binding::{ChannelBindings, EXPORTER_BYTES, EXPORTER_LABEL};

use super::client_names;
use super::tls::Current;

/// A connection's bytes.
#[derive(Debug)]
pub struct Stream {
    wire: Wire,
    bytes_in: u64,
    bytes_out: u64,
}

#[derive(Debug)]
enum Wire {
    Clear(TcpStream),
    Tls(Box<Tls>),
}

#[derive(Debug)]
struct Tls {
    stream: TlsStream<TcpStream>,
    /// The `tls-server-end-point` of our certificate; none where we are the client.
    end_point: Option<Arc<[u8]>>,
}

/// What was agreed in a TLS handshake, in the names of the IANA registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// Such as `TLSv1.3`.
    pub version: String,
    /// Such as `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
}

impl Stream {
    /// A connection in clear.
    #[must_use]
    pub fn clear(tcp: TcpStream) -> Self {
        Self { wire: Wire::Clear(tcp), bytes_in: 0, bytes_out: 0 }
    }

    /// Does the server's side of a TLS handshake. Bytes the client sent in clear and nobody read
    /// yet are taken as part of the handshake and break it, which is what a STARTTLS injection
    /// deserves.
    ///
    /// # Errors
    /// The handshake failed, the client went away, or the stream is encrypted already.
    pub async fn start_tls(self, current: Current) -> io::Result<Self> {
        let Wire::Clear(tcp) = self.wire else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "TLS is up already"));
        };
        let Current { config, end_point } = current;
        let stream = TlsAcceptor::from(config).accept(tcp).await?.into();
        let wire = Wire::Tls(Box::new(Tls { stream, end_point }));
        Ok(Self { wire, bytes_in: self.bytes_in, bytes_out: self.bytes_out })
    }

    /// Does the client's side of a TLS handshake with the server of this name.
    ///
    /// # Errors
    /// The handshake failed, the server went away, or the stream is encrypted already.
    pub async fn connect_tls(
        self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let Wire::Clear(tcp) = self.wire else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "TLS is up already"));
        };
        let stream = TlsConnector::from(config).connect(name, tcp).await?.into();
        let wire = Wire::Tls(Box::new(Tls { stream, end_point: None }));
        Ok(Self { wire, bytes_in: self.bytes_in, bytes_out: self.bytes_out })
    }

    /// Whether the bytes are encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self.wire, Wire::Tls(_))
    }

    /// What was agreed on, if the bytes are encrypted.
    #[must_use]
    pub fn tls_info(&self) -> Option<TlsInfo> {
        let Wire::Tls(tls) = &self.wire else { return None };
        let (_, session) = tls.stream.get_ref();
        Some(TlsInfo {
            version: session
                .protocol_version()
                .map_or_else(String::new, |v| format!("{v:?}").replace('_', ".")),
            cipher: session.negotiated_cipher_suite().map_or_else(String::new, |suite| {
                // rustls says TLS13_, the registry TLS_.
                format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
            }),
        })
    }

    /// What can tie a login to this connection.
    #[must_use]
    pub fn bindings(&self) -> ChannelBindings {
        let Wire::Tls(tls) = &self.wire else { return ChannelBindings::default() };
        ChannelBindings {
            exporter: exporter(&tls.stream),
            server_end_point: tls.end_point.as_deref().map(<[u8]>::to_vec),
        }
    }

    /// The certificates the other side showed, its own first.
    #[must_use]
    pub fn peer_certificates(&self) -> Vec<CertificateDer<'static>> {
        let Wire::Tls(tls) = &self.wire else { return Vec::new() };
        let shown = tls.stream.get_ref().1.peer_certificates().unwrap_or_default();
        shown.iter().map(|certificate| certificate.clone().into_owned()).collect()
    }

    /// The mail addresses in the certificate that the other side showed, if it did.
    #[must_use]
    pub fn peer_addresses(&self) -> Vec<String> {
        let shown = self.peer_certificates();
        shown.first().map(|own| client_names::addresses(own)).unwrap_or_default()
    }

    /// Asks the system to acknowledge at once what came. A client that keeps small writes back
    /// until all before is acknowledged (RFC 896), and a system that keeps acknowledgments back,
    /// cost each other some 40 ms. Holds for a while only; where a system has no such switch,
    /// nothing happens.
    pub fn acknowledge_now(&self) {
        #[cfg(target_os = "linux")]
        {
            let tcp = match &self.wire {
                Wire::Clear(tcp) => tcp,
                Wire::Tls(tls) => tls.stream.get_ref().0,
            };
            // A connection that is broken shows it at the next read.
            let asked = tcp.set_quickack(true);
            drop(asked);
        }
    }

    /// Bytes read and written so far.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.bytes_in, self.bytes_out)
    }
}

/// `tls-exporter` (RFC 9266): of TLS 1.3 alone. In 1.2 it would need an extended master secret, and
/// rustls does not tell whether there is one.
fn exporter(stream: &TlsStream<TcpStream>) -> Option<[u8; EXPORTER_BYTES]> {
    let TlsStream::Server(server) = stream else { return None };
    let (_, session) = server.get_ref();
    if session.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return None;
    }
    session.export_keying_material([0; EXPORTER_BYTES], EXPORTER_LABEL, Some(&[])).ok()
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(match &mut self.wire {
            Wire::Clear(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Wire::Tls(tls) => Pin::new(&mut tls.stream).poll_read(cx, buf),
        })?;
        self.bytes_in += (buf.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(match &mut self.wire {
            Wire::Clear(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Wire::Tls(tls) => Pin::new(&mut tls.stream).poll_write(cx, buf),
        })?;
        self.bytes_out += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Clear(tcp) => Pin::new(tcp).poll_flush(cx),
            Wire::Tls(tls) => Pin::new(&mut tls.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Clear(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Wire::Tls(tls) => Pin::new(&mut tls.stream).poll_shutdown(cx),
        }
    }
}
