//! Accepting connections: the gate, what a proxy says, TLS from the first byte where the door asks
//! for it, and one task per connection that nothing outlives.
//!
//! ```text
//!   accept ──▶ [PROXY header] ──▶ gate ──▶ [TLS] ──▶ session ──▶ closed
//!                                  └─ full: a word in the protocol's own language, closed
//! ```
//! Invariants: every `ConnectionOpened` is followed by one `ConnectionClosed`, whatever happens in
//! between; a panic in a session ends that session alone; from a proxy's networks nothing is
//! listened to but what begins with whom it speaks for.
//! Not here: the sessions themselves (given as a function).

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use grace_ipc::event::{EventKind, Service, TraceId};

use super::Visit;
use super::bans::Bans;
use super::gate::{Full, Gate, Pass};
use super::proxy::{self, Origin};
use super::refusals::{CONNECT, Refusals, Refused};
use super::sessions::Sessions;
use super::stream::Stream;
use super::tls::Tls;
use crate::config::limits::Limits;
use crate::config::names::Network;
use crate::telemetry::bus::{Bus, claim};
use crate::telemetry::stop::Stop;

/// How long to wait when the system has no descriptor or memory left for another connection: long
/// enough not to spin, short enough to serve again soon.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);
/// How long a refused peer may take to hear why.
const REFUSAL_WAIT: Duration = Duration::from_secs(1);
/// Refusals spoken at once; beyond, connections are closed without a word.
const REFUSALS_MAX: usize = 64;

/// What every listener needs.
#[derive(Debug, Clone)]
pub struct Porter {
    /// Where events go.
    pub bus: Bus,
    /// Who may come in.
    pub gate: Arc<Gate>,
    /// Who guessed too many passwords.
    pub bans: Arc<Bans>,
    /// Tells of those who may not.
    pub refusals: Refusals,
    /// Those who are in.
    pub sessions: Sessions,
    /// Who says whom it speaks for.
    pub proxies: Arc<[Network]>,
    /// How long it may take to say so.
    pub proxy_header: Duration,
    /// The certificate.
    pub tls: Arc<Tls>,
    /// The limits.
    pub limits: Limits,
    /// When to stop.
    pub stop: Stop,
}

impl Porter {
    /// Lets a connection in; that of a proxy until it says whom it speaks for.
    fn admit(&self, service: Service, address: IpAddr) -> Result<Pass, Full> {
        let mut pass = self.gate.enter_unknown()?;
        if !self.is_proxy(address) {
            self.name(&mut pass, service, address)?;
        }
        Ok(pass)
    }

    /// Says where a connection comes from. Other servers log in nowhere, so theirs is not barred by
    /// what guests of the same address did.
    fn name(&self, pass: &mut Pass, service: Service, address: IpAddr) -> Result<(), Full> {
        let now = Instant::now();
        if service != Service::Smtp && self.bans.is_banned(now, address) {
            return Err(Full::Banned);
        }
        pass.name(now, address)
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies.iter().any(|network| network.contains(address))
    }
}

/// How a session ended: its stream, if it is still there, for the byte counts, and why, in words.
#[derive(Debug)]
pub struct Ended {
    /// Bytes read and written.
    pub bytes: (u64, u64),
    /// Why, in words for the log.
    pub reason: String,
}

/// Accepts connections until told to stop, then waits for the sessions it started.
pub async fn serve<S, F>(porter: Porter, service: Service, listener: TcpListener, session: S)
where
    S: Fn(Visit) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Ended> + Send + 'static,
{
    let mut sessions = JoinSet::new();
    let mut refusals = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = porter.stop.wait() => break,
            accepted = listener.accept() => accepted,
            Some(_) = sessions.join_next() => continue,
            Some(_) = refusals.join_next() => continue,
        };
        match accepted {
            Ok((tcp, peer)) => match porter.admit(service, peer.ip()) {
                Ok(pass) => {
                    let knock = Knock { porter: porter.clone(), pass, service, tcp, peer };
                    sessions.spawn(knock.answer(session.clone()));
                }
                Err(full) => {
                    porter.refusals.connection(Instant::now(), service, peer, full);
                    if refusals.len() < REFUSALS_MAX {
                        refusals.spawn(refuse(tcp, service, full));
                    }
                }
            },
            // The peer went away while waiting to be accepted (accept(2)): no fault of the
            // listener.
            Err(e) if is_of_the_peer(&e) => {}
            Err(e) => {
                tracing::error!(target: "grace", event = "AcceptFailed", error = %e);
                tokio::time::sleep(EXHAUSTED_WAIT).await;
            }
        }
    }
    drop(listener);
    while sessions.join_next().await.is_some() {}
}

/// One accepted connection before anything was said.
struct Knock {
    porter: Porter,
    pass: Pass,
    service: Service,
    tcp: TcpStream,
    peer: SocketAddr,
}

impl Knock {
    /// Runs the connection to its end, and tells of both.
    async fn answer<S, F>(mut self, session: S)
    where
        S: Fn(Visit) -> F,
        F: Future<Output = Ended>,
    {
        let mut reached = None;
        if self.porter.is_proxy(self.peer.ip()) {
            match self.introduce().await {
                Ok(Origin::Peer { from, to }) => (self.peer, reached) = (from, Some(to)),
                Ok(Origin::Proxy) => {}
                Err(reason) => return self.not_introduced(reason),
            }
            let Self { porter, pass, service, peer, .. } = &mut self;
            if let Err(full) = porter.name(pass, *service, peer.ip()) {
                porter.refusals.connection(Instant::now(), *service, *peer, full);
                return refuse(self.tcp, self.service, full).await;
            }
        }
        let Self { porter, pass: _pass, service, tcp, peer } = self;
        let trace = porter.bus.new_trace();
        porter.bus.emit(trace, EventKind::ConnectionOpened { service, peer });
        let mut farewell = Farewell {
            bus: porter.bus.clone(),
            service,
            peer,
            trace,
            began: Instant::now(),
            ended: Ended { bytes: (0, 0), reason: "the session was cut off".to_owned() },
        };
        farewell.ended =
            match caught(visit(porter, service, tcp, (peer, reached), trace, session)).await {
                Some(ended) => ended,
                None => {
                    farewell.bus.emit(trace, EventKind::SessionPanicked { service, peer });
                    Ended { bytes: (0, 0), reason: "the session panicked".to_owned() }
                }
            };
    }
}

impl Knock {
    /// Hears from a proxy whom it speaks for.
    async fn introduce(&mut self) -> Result<Origin, String> {
        let wait = self.porter.proxy_header;
        tokio::select! {
            () = self.porter.stop.wait() => Err("the server stops".to_owned()),
            said = timeout(wait, proxy::read(&mut self.tcp)) => match said {
                Ok(said) => said.map_err(|failure| failure.to_string()),
                Err(_) => {
                    let s = wait.as_secs();
                    Err(format!("no header of the PROXY protocol within {s} s"))
                }
            },
        }
    }

    /// Tells of a proxy that did not say whom it speaks for.
    fn not_introduced(self, reason: String) {
        let refused = Refused {
            service: self.service,
            peer: self.peer,
            command: CONNECT,
            rule: "listen.proxy_networks".to_owned(),
            reason,
        };
        self.porter.refusals.tell(Instant::now(), TraceId(0), refused);
    }
}

/// Tells of a connection's end when it is dropped, so that no way of ending can forget it.
struct Farewell {
    bus: Bus,
    service: Service,
    peer: SocketAddr,
    trace: TraceId,
    began: Instant,
    ended: Ended,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let (bytes_in, bytes_out) = self.ended.bytes;
        let closed = EventKind::ConnectionClosed {
            service: self.service,
            peer: self.peer,
            reason: std::mem::take(&mut self.ended.reason),
            duration_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            bytes_in,
            bytes_out,
        };
        self.bus.emit(self.trace, closed);
    }
}

/// Runs a future; `None` if it panicked, and then it is never polled again.
async fn caught<F: Future>(future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        match polled {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

/// TLS where it comes first, then the session.
async fn visit<S, F>(
    porter: Porter,
    service: Service,
    tcp: TcpStream,
    (peer, reached): (SocketAddr, Option<SocketAddr>),
    trace: TraceId,
    session: S,
) -> Ended
where
    S: Fn(Visit) -> F,
    F: Future<Output = Ended>,
{
    // Replies are whole when they are written; waiting for more would only delay them.
    let prepared = tcp.set_nodelay(true).and_then(|()| tcp.local_addr());
    let local = match prepared {
        Ok(local) => reached.unwrap_or(local),
        Err(e) => return Ended { bytes: (0, 0), reason: e.to_string() },
    };
    let live = Arc::new(porter.sessions.begin(service, peer, trace));
    let mut stream = Stream::clear(tcp);
    if matches!(service, Service::Submissions | Service::Imaps) {
        // On the heap, and gone afterwards: each session would have room for it else.
        match Box::pin(secure(&porter, service, peer, trace, stream)).await {
            Ok(secured) => stream = secured,
            Err(reason) => return Ended { bytes: (0, 0), reason },
        }
    }
    if let Some(info) = stream.tls_info() {
        live.secured(&info);
    }
    session(Visit { service, peer, local, trace, live, stream }).await
}

/// Brings TLS up within its time, and tells how it went.
///
/// # Errors
/// Why it did not come up, in words; the connection is gone.
pub async fn secure(
    porter: &Porter,
    service: Service,
    peer: SocketAddr,
    trace: TraceId,
    stream: Stream,
) -> Result<Stream, String> {
    let wait = Duration::from_secs(porter.limits.tls_handshake_s);
    let outcome = tokio::select! {
        () = porter.stop.wait() => Err("the server stops".to_owned()),
        done = timeout(wait, stream.start_tls(porter.tls.current(service))) => match done {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(e)) => Err(claim(e.to_string().as_bytes())),
            Err(_) => Err(format!("no TLS handshake within {} s", wait.as_secs())),
        },
    };
    match &outcome {
        Ok(stream) => {
            if let Some(info) = stream.tls_info() {
                let (version, cipher) = (info.version, info.cipher);
                let up = EventKind::TlsEstablished { service, peer, version, cipher };
                porter.bus.emit(trace, up);
            }
        }
        Err(reason) => {
            let reason = reason.clone();
            porter.bus.emit(trace, EventKind::TlsFailed { service, peer, reason });
        }
    }
    outcome.map_err(|reason| format!("TLS: {reason}"))
}

/// Says why in the protocol's own words, where nothing has to be encrypted first.
async fn refuse(mut tcp: TcpStream, service: Service, full: Full) {
    let words = match (service, full) {
        // RFC 5321 3.8: 421 closes the channel.
        (Service::Smtp | Service::Submission, Full::House) => {
            "421 4.3.2 Too many connections, try again later\r\n"
        }
        (Service::Smtp | Service::Submission, Full::Address | Full::AddressRate) => {
            "421 4.7.0 Too many connections from your address\r\n"
        }
        (Service::Smtp | Service::Submission, Full::Network | Full::NetworkRate) => {
            "421 4.7.0 Too many connections from your network\r\n"
        }
        (Service::Submission, Full::Banned) => {
            "421 4.7.0 Too many failed logins from your address, try again later\r\n"
        }
        // RFC 9051 7.1.5: BYE as a greeting refuses the connection.
        (Service::Imap, Full::Banned) => {
            "* BYE [UNAVAILABLE] Too many failed logins from your address, try again later\r\n"
        }
        (Service::Imap, _) => "* BYE [UNAVAILABLE] Too many connections, try again later\r\n",
        _ => return,
    };
    let said = timeout(REFUSAL_WAIT, tcp.write_all(words.as_bytes())).await;
    drop((said, tcp));
}

/// Errors of accept(2) that speak of the connection, not of us.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
