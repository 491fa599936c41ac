//! One connection to another server: the sender machine of `grace-smtp` joined to a stream and to
//! the bytes of a message. It decides nothing about SMTP.
//!
//! ```text
//!   disk ─▶ a piece ─▶ Sender ─▶ bytes to write ─┐
//!                        ▲  └─▶ notes, for who     ├─ one poll: writes and reads at once
//!                        │      watches a test     │
//!                        └────── bytes read ◀────┘
//! ```
//! Invariants: what the peer says is read also while we write, so that two that both write first
//! cannot lock each other up; every wait has the machine's deadline; one piece of the message is in
//! memory at a time.
//! Not here: the rules of SMTP (`grace_smtp::sender`), where to connect (`attempt`).

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use gracedb::large::LargeReader;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout};

use grace_smtp::sender::job::Job;
use grace_smtp::sender::outcome::Outcome;
use grace_smtp::sender::settings::{BODY_PIECE_BYTES_MAX, Settings};
use grace_smtp::sender::{Action, CloseReason, Note, Sender, Tls};

use crate::net::dial;
use crate::net::stream::Stream;
use crate::net::tls_client::Client;
use crate::transport::{Ended, Terms};

/// Memory to read replies into, in bytes.
const READ_BYTES: usize = 4 * 1_024;
/// How much of a message is read at first to see its header, in bytes: most have less.
const HEADER_READ_BYTES: usize = 16 * 1_024;
/// How long a server that we part from may take to hear it.
const FAREWELL_WAIT: Duration = Duration::from_secs(5);

/// How a server is called.
pub(super) struct Call {
    /// Its name.
    pub(super) host: String,
    /// Its address.
    pub(super) peer: SocketAddr,
    /// Where the connection comes from; `None`: from where the system likes.
    pub(super) source: Option<IpAddr>,
    /// How long it may take to accept the connection.
    pub(super) patience: Duration,
    /// How it is spoken to.
    pub(super) settings: Settings,
    /// What it must show.
    pub(super) terms: Terms,
    /// Whether TLS comes first (RFC 8314 3.3).
    pub(super) is_immediate: bool,
    /// Who watches; only what tests of a delivery say is bounded.
    pub(super) watcher: Option<Watcher>,
}

/// Is told what happens on a connection.
pub(super) type Watcher = mpsc::UnboundedSender<Seen>;

/// What happens on a connection.
pub(super) enum Seen {
    /// A line of the dialogue.
    Note(Note),
    /// A handshake ended so; with the certificates that were shown, the server's own first.
    Handshake(Instant, Result<(Tls, Vec<CertificateDer<'static>>), String>),
}

/// A connection that is open, or was.
pub(super) struct Connection {
    /// `None` while a handshake has it, and when that failed.
    stream: Option<Stream>,
    sender: Sender,
    terms: Terms,
    client: Client,
    host: String,
    peer: SocketAddr,
    local: Option<SocketAddr>,
    watcher: Option<Watcher>,
    /// What is to be written, and how much of it is.
    output: Vec<u8>,
    written: usize,
    is_flushed: bool,
    is_ready: bool,
    /// Why the handshake failed, if it did.
    tls_failed: Option<String>,
}

/// What came of a job.
pub(super) struct Sent {
    /// What became of each recipient, in the order of the job.
    pub(super) outcomes: Vec<Outcome>,
    /// Whether another job may follow.
    pub(super) is_open: bool,
}

/// What the network brought.
enum Event {
    Read(usize),
    Wrote,
    Gone,
    Late,
}

impl Connection {
    /// Connects to an address of a host.
    ///
    /// # Errors
    /// Nobody answers there, or TLS that is to come first does not come about; in words.
    pub(super) async fn open(call: Call) -> Result<Self, String> {
        let Call { host, peer, source, patience, settings, terms, watcher, .. } = call;
        let tcp = match timeout(patience, dial::connect(peer, source)).await {
            Ok(Ok(tcp)) => tcp,
            Ok(Err(e)) => return Err(format!("{peer} cannot be reached: {e}")),
            Err(_) => {
                return Err(format!("{peer} did not answer in {} s", patience.as_secs()));
            }
        };
        // Commands are small and each waits for its reply; where that cannot be set they are slow.
        drop(tcp.set_nodelay(true));
        let mut connection = Self {
            local: tcp.local_addr().ok(),
            stream: Some(Stream::clear(tcp)),
            sender: Sender::new(Instant::now(), settings.clone(), None),
            client: terms.client(),
            terms,
            host,
            peer,
            watcher,
            output: Vec::new(),
            written: 0,
            is_flushed: true,
            is_ready: false,
            tls_failed: None,
        };
        if call.is_immediate {
            let tls = match timeout(settings.tls_timeout, connection.handshake()).await {
                Ok(done) => done.map_err(|e| format!("TLS with {peer} failed: {e}"))?,
                Err(_) => return Err(format!("TLS with {peer} did not come about in time")),
            };
            connection.sender = Sender::new(Instant::now(), settings, Some(tls));
        }
        Ok(connection)
    }

    /// The far end.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The near end.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// The server at the other end.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// What it had to show.
    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// How it is encrypted, and by what the server's certificate was found good; empty: not at all.
    pub(super) fn tls(&self) -> String {
        let Some(tls) = self.sender.tls() else { return String::new() };
        let verified = if tls.is_verified {
            format!(", verified by {}", self.terms.verified_by())
        } else {
            String::new()
        };
        format!("{} {}{verified}", tls.version, tls.cipher)
    }

    /// Whether it was a handshake that failed: without TLS it may work.
    pub(super) fn tls_failed(&self) -> bool {
        self.tls_failed.is_some()
    }

    /// Whether it is good enough for a message that asks for these terms.
    pub(super) fn meets(&self, terms: &Terms) -> bool {
        let tls = self.sender.tls();
        terms.are_met_by(&self.terms, tls.is_some(), tls.is_some_and(|tls| tls.is_verified))
    }

    /// What came of encrypting it; `None`: it did not come to that.
    pub(super) fn ended(&self) -> Option<Ended<'_>> {
        let verdict = self.client.witness.verdict();
        let fault = verdict.and_then(|verdict| verdict.as_ref().err());
        match (&self.tls_failed, self.sender.tls()) {
            (Some(error), _) => Some(Ended::Broken(fault, error)),
            (None, Some(_)) => Some(Ended::Encrypted(fault)),
            (None, None) => None,
        }
    }

    /// The addresses of both ends, ours first.
    pub(super) fn between(&self) -> Option<(IpAddr, IpAddr)> {
        Some((self.local?.ip(), self.peer.ip()))
    }

    /// Sends one message. `None`: this session takes none any more, and nothing was sent. `verdict`
    /// says whether the end of the message waits for its answer, or the answer for its reader.
    pub(super) async fn send(
        &mut self,
        job: Job,
        body: &mut Body,
        verdict: &watch::Sender<bool>,
    ) -> Option<Sent> {
        self.sender.deliver(Instant::now(), job).ok()?;
        self.is_ready = false;
        let (mut outcomes, mut wants_body) = (None, false);
        loop {
            while let Some(action) = self.sender.poll() {
                match action {
                    Action::Send(bytes) => self.queue(&bytes),
                    Action::StartTls => self.start_tls().await,
                    Action::NeedBody => wants_body = true,
                    Action::Settled(settled) => (outcomes, wants_body) = (Some(settled), false),
                    Action::Ready => self.is_ready = true,
                    Action::Note(note) => self.tell(|| Seen::Note(note)),
                    Action::Close(_) => {
                        self.tell_verdict(verdict, outcomes.is_some());
                        return self.finished(outcomes).await;
                    }
                }
            }
            self.tell_verdict(verdict, outcomes.is_some());
            if self.is_ready
                && let Some(outcomes) = outcomes.take()
            {
                return Some(Sent { outcomes, is_open: true });
            }
            // The next piece is read when the last one is written: one at a time is in memory.
            if wants_body && self.written == self.output.len() {
                wants_body = false;
                self.give(body);
                // Before a byte of the end is written.
                self.tell_verdict(verdict, false);
            } else {
                self.wait().await;
            }
        }
    }

    /// An outcome that is heard but not handed over yet must not get lost either.
    fn tell_verdict(&self, verdict: &watch::Sender<bool>, has_outcome: bool) {
        let awaits = self.sender.awaits_verdict() || has_outcome;
        verdict.send_if_modified(|told| std::mem::replace(told, awaits) != awaits);
    }

    fn tell(&self, seen: impl FnOnce() -> Seen) {
        if let Some(watcher) = &self.watcher {
            // Who watched may be gone.
            drop(watcher.send(seen()));
        }
    }

    /// Says goodbye, and waits until it is heard.
    pub(super) async fn quit(mut self) {
        let farewell = self.say_goodbye();
        // Nothing depends on it: all that was sent is settled.
        drop(timeout(FAREWELL_WAIT, farewell).await);
    }

    async fn finished(&mut self, outcomes: Option<Vec<Outcome>>) -> Option<Sent> {
        self.close().await;
        Some(Sent { outcomes: outcomes?, is_open: false })
    }

    /// Says goodbye, in a task of its own.
    pub(super) fn part(self) {
        tokio::spawn(self.quit());
    }

    async fn say_goodbye(&mut self) {
        self.sender.quit(Instant::now());
        loop {
            while let Some(action) = self.sender.poll() {
                match action {
                    Action::Send(bytes) => self.queue(&bytes),
                    Action::Note(note) => self.tell(|| Seen::Note(note)),
                    Action::Close(CloseReason::Failed(_)) => return,
                    Action::Close(_) => return self.close().await,
                    _ => {}
                }
            }
            self.wait().await;
        }
    }

    fn queue(&mut self, bytes: &[u8]) {
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
        }
        self.output.extend_from_slice(bytes);
        self.is_flushed = false;
    }

    /// Hands over the next piece of the message.
    fn give(&mut self, body: &mut Body) {
        let now = Instant::now();
        match body.next() {
            Ok(Some(piece)) => self.sender.body(now, piece),
            Ok(None) => self.sender.body_end(now),
            Err(Unreadable) => self.sender.body_failed(now),
        }
    }

    /// Waits until something was written or read, or time is over, and tells the machine.
    async fn wait(&mut self) {
        let deadline = self.sender.deadline();
        let room = self.sender.room().min(READ_BYTES);
        let mut buffer = [0; READ_BYTES];
        let event = {
            let exchange = self.exchange(buffer.get_mut(..room).unwrap_or_default());
            tokio::select! {
                event = exchange => event,
                () = sleep_until(deadline.unwrap_or_else(Instant::now).into()) => Event::Late,
            }
        };
        let now = Instant::now();
        match event {
            Event::Read(count) => {
                self.sender.receive(now, buffer.get(..count).unwrap_or_default());
            }
            Event::Wrote => {}
            Event::Gone => self.sender.peer_gone(now),
            Event::Late => self.sender.timeout(now),
        }
    }

    /// Reads and writes, whichever goes on first.
    async fn exchange(&mut self, buffer: &mut [u8]) -> Event {
        poll_fn(|context| self.poll_exchange(context, buffer)).await
    }

    fn poll_exchange(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Event> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Event::Gone) };
        let mut stream = Pin::new(stream);
        if !buffer.is_empty() {
            let mut read = ReadBuf::new(buffer);
            match stream.as_mut().poll_read(context, &mut read) {
                Poll::Ready(Ok(())) if read.filled().is_empty() => return Poll::Ready(Event::Gone),
                Poll::Ready(Ok(())) => return Poll::Ready(Event::Read(read.filled().len())),
                Poll::Ready(Err(_)) => return Poll::Ready(Event::Gone),
                Poll::Pending => {}
            }
        }
        let left = self.output.get(self.written..).unwrap_or_default();
        if !left.is_empty() {
            return match stream.poll_write(context, left) {
                Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Event::Gone),
                Poll::Ready(Ok(count)) => {
                    self.written += count;
                    Poll::Ready(Event::Wrote)
                }
                Poll::Pending => Poll::Pending,
            };
        }
        if !self.is_flushed {
            return match stream.poll_flush(context) {
                Poll::Ready(Ok(())) => {
                    self.is_flushed = true;
                    Poll::Ready(Event::Wrote)
                }
                Poll::Ready(Err(_)) => Poll::Ready(Event::Gone),
                Poll::Pending => Poll::Pending,
            };
        }
        Poll::Pending
    }

    /// Writes what is left in clear, then does the handshake.
    async fn start_tls(&mut self) {
        let outcome = match self.sender.deadline() {
            Some(deadline) => {
                let deadline = deadline.into();
                let handshake = self.handshake();
                match tokio::time::timeout_at(deadline, handshake).await {
                    Ok(done) => done,
                    Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
                }
            }
            None => self.handshake().await,
        };
        let now = Instant::now();
        match outcome {
            Ok(tls) => self.sender.tls_started(now, tls),
            Err(error) => {
                self.tls_failed = Some(error.to_string());
                self.sender.tls_failed(now, &error.to_string());
            }
        }
    }

    async fn handshake(&mut self) -> io::Result<Tls> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        let mut stream = self.stream.take().ok_or_else(gone)?;
        let left = self.output.get(self.written..).unwrap_or_default();
        stream.write_all(left).await?;
        stream.flush().await?;
        (self.written, self.is_flushed) = (self.output.len(), true);
        let name = server_name(self.terms.tls_name(), self.peer);
        let stream = match stream.connect_tls(Arc::clone(&self.client.config), name).await {
            Ok(stream) => stream,
            Err(error) => {
                self.tell(|| Seen::Handshake(Instant::now(), Err(error.to_string())));
                return Err(error);
            }
        };
        let info = stream.tls_info().ok_or_else(gone)?;
        let is_verified = self.client.witness.is_verified();
        let tls = Tls { version: info.version, cipher: info.cipher, is_verified };
        let chain = || stream.peer_certificates();
        self.tell(|| Seen::Handshake(Instant::now(), Ok((tls.clone(), chain()))));
        self.stream = Some(stream);
        Ok(tls)
    }

    /// Writes what is left, and closes our side.
    async fn close(&mut self) {
        let Some(mut stream) = self.stream.take() else { return };
        let left = self.output.get(self.written..).unwrap_or_default().to_vec();
        let farewell = async {
            stream.write_all(&left).await?;
            stream.shutdown().await
        };
        // The session is over either way.
        drop(timeout(FAREWELL_WAIT, farewell).await);
    }
}

/// The name to ask a server for in the handshake.
fn server_name(host: &str, peer: SocketAddr) -> ServerName<'static> {
    ServerName::try_from(host.to_owned())
        .unwrap_or_else(|_| ServerName::IpAddress(peer.ip().into()))
}

/// The bytes of a message, piece by piece.
pub(super) struct Body {
    /// `None`: there is no message, and a piece of it cannot be read.
    reader: Option<LargeReader>,
    offset: u64,
    piece: Vec<u8>,
}

/// The message cannot be read.
struct Unreadable;

impl Body {
    pub(super) fn new(reader: LargeReader) -> Self {
        Self { reader: Some(reader), offset: 0, piece: Vec::new() }
    }

    /// That of no message, for who goes as far as RCPT.
    pub(super) fn none() -> Self {
        Self { reader: None, offset: 0, piece: Vec::new() }
    }

    /// Begins anew, for another try.
    pub(super) fn rewind(&mut self) {
        self.offset = 0;
    }

    /// The header block of the message, as far as it has so many bytes.
    pub(super) fn header(&mut self, bytes_max: usize) -> Vec<u8> {
        let Some(reader) = &mut self.reader else { return Vec::new() };
        let mut header = vec![0; HEADER_READ_BYTES.min(bytes_max)];
        loop {
            let count = reader.read_at(0, &mut header).unwrap_or_default();
            let is_whole = header.windows(4).any(|end| end == b"\r\n\r\n");
            if is_whole || count < header.len() || header.len() >= bytes_max {
                header.truncate(count);
                return header;
            }
            header.resize((header.len() * 2).min(bytes_max), 0);
        }
    }

    fn next(&mut self) -> Result<Option<&[u8]>, Unreadable> {
        let reader = self.reader.as_mut().ok_or(Unreadable)?;
        self.piece.resize(BODY_PIECE_BYTES_MAX / 2, 0);
        let count = reader.read_at(self.offset, &mut self.piece).map_err(|_| Unreadable)?;
        self.offset += count as u64;
        let piece = self.piece.get(..count).unwrap_or_default();
        Ok((!piece.is_empty()).then_some(piece))
    }
}
