//! The bytes of one connection, with a time limit on every write.
//!
//! Invariants: at most [`BUFFER_BYTES`] wait to be written; what was written stays in order.
//! Not here: how long to wait for the client's next bytes (`session`).

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::deflate::Deflate;
use crate::net::stream::Stream;

/// So many bytes are collected before they are written: several TLS records, few system calls.
const BUFFER_BYTES: usize = 64 * 1024;

/// One connection's bytes.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Option<Stream>,
    /// Both sides compress what they say.
    deflate: Option<Box<Deflate>>,
    /// Received behind what was compressed, and not read yet.
    behind: Vec<u8>,
    waiting: Vec<u8>,
    write_wait: Duration,
    bytes: (u64, u64),
}

impl Wire {
    pub(super) fn new(stream: Stream, write_s: u64) -> Self {
        let write_wait = Duration::from_secs(write_s);
        Self {
            stream: Some(stream),
            deflate: None,
            behind: Vec::new(),
            waiting: Vec::new(),
            write_wait,
            bytes: (0, 0),
        }
    }

    fn stream(&mut self) -> io::Result<&mut Stream> {
        self.stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Bytes read and written so far.
    pub(super) fn bytes(&self) -> (u64, u64) {
        self.stream.as_ref().map_or(self.bytes, Stream::bytes)
    }

    /// Takes bytes to be written.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= BUFFER_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Writes everything that waits.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        // An idle session keeps no buffer.
        let mut bytes = std::mem::take(&mut self.waiting);
        if let Some(deflate) = &mut self.deflate {
            bytes = deflate.deflate(&bytes)?;
        }
        let wait = self.write_wait;
        let stream = self.stream()?;
        // A large answer over a slow line is no silence: each piece has its own time.
        for piece in bytes.chunks(BUFFER_BYTES) {
            let written = async {
                stream.write_all(piece).await?;
                stream.flush().await
            };
            timeout(wait, written).await.map_err(|_| {
                io::Error::new(io::ErrorKind::TimedOut, "the client does not read")
            })??;
        }
        Ok(())
    }

    /// See [`Stream::acknowledge_now`].
    pub(super) fn acknowledge_now(&self) {
        if let Some(stream) = &self.stream {
            stream.acknowledge_now();
        }
    }

    /// Reads what has come, at most `bytes_max`; empty: the client hung up. Cancel safe.
    pub(super) async fn read(&mut self, bytes_max: usize) -> io::Result<Vec<u8>> {
        loop {
            if let Some(deflate) = &mut self.deflate {
                let said = deflate.inflate(bytes_max)?;
                if !said.is_empty() {
                    return Ok(said);
                }
            }
            if !self.behind.is_empty() {
                let rest = self.behind.split_off(self.behind.len().min(bytes_max));
                return Ok(std::mem::replace(&mut self.behind, rest));
            }
            let mut bytes = vec![0; bytes_max];
            let count = self.stream()?.read(&mut bytes).await?;
            bytes.truncate(count);
            match &mut self.deflate {
                Some(deflate) if count > 0 => deflate.receive(&bytes),
                _ => return Ok(bytes),
            }
        }
    }

    /// From here on both sides compress (RFC 4978).
    pub(super) fn compress(&mut self) {
        self.deflate = Some(Box::new(Deflate::new()));
    }

    /// From here on neither does (RFC 8437 4.1).
    pub(super) fn end_compression(&mut self) {
        if let Some(deflate) = self.deflate.take() {
            self.behind = deflate.into_rest();
        }
    }

    /// Takes the stream away, for TLS to begin on it. What was received in the clear must not count
    /// as protected (RFC 9051 6.2.1).
    pub(super) fn take(&mut self) -> Option<Stream> {
        self.bytes = self.bytes();
        self.behind.clear();
        self.stream.take()
    }

    /// Gives a stream back.
    pub(super) fn put(&mut self, stream: Stream) {
        self.stream = Some(stream);
    }

    /// Says goodbye to the transport, if it listens.
    pub(super) async fn shut(&mut self) {
        /// A client that reads nothing any more keeps us no longer than this.
        const WAIT: Duration = Duration::from_secs(2);
        if let Ok(stream) = self.stream() {
            let shut = timeout(WAIT, stream.shutdown()).await;
            drop(shut);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn what_came_in_the_clear_is_not_read_behind_tls() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound");
        let mut client = TcpStream::connect(port).await.expect("connects");
        let (server, _) = listener.accept().await.expect("accepts");
        let mut wire = Wire::new(Stream::clear(server), 5);
        // Behind an UNAUTHENTICATE that was compressed: STARTTLS, and more than one read takes.
        wire.behind = b"a STARTTLS\r\nb LOGIN eve x\r\n".to_vec();
        assert_eq!(wire.read(12).await.expect("reads"), b"a STARTTLS\r\n");
        let stream = wire.take().expect("there");
        wire.put(stream);
        client.write_all(b"c NOOP\r\n").await.expect("writes");
        assert_eq!(wire.read(100).await.expect("reads"), b"c NOOP\r\n");
    }
}
