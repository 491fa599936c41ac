//! One IMAP connection: reads, lets the machine decide, does what it says.
//!
//! Invariants: every read and write has a time limit; a message goes to the client through one
//! small buffer; a client that vanishes leaves nothing behind; a stop is told with BYE.
//! Not here: the protocol (`grace_imap`), the store (`desk`).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use grace_imap::machine::{Action, Overheard};
use grace_imap::session::{Session, Settings};
use grace_ipc::event::EventKind;

use super::desk::Desk;
use super::sasl::Sasl;
use super::wire::Wire;
use crate::net::Visit;
use crate::net::listener::{Ended, secure};
use crate::net::sessions::Live;
use crate::net::transcript::Scribe;
use crate::services::Services;
use crate::store::seed;
use crate::telemetry::bus::claim;

/// Read at once between commands, in bytes. Commands are short.
const READ_BYTES: usize = 2 * 1024;

/// Read at once in IDLE, in bytes: `DONE` is what comes, and ten thousand sessions each wait with
/// such a buffer.
const READ_IDLE_BYTES: usize = 64;

/// Read at once while a message comes in, in bytes.
const READ_MESSAGE_BYTES: usize = 64 * 1024;

/// Copied at once from the store to the client, in bytes.
const COPY_BYTES: usize = 32 * 1024;

/// How often a client in IDLE hears something, so that NAT boxes remember the connection (RFC 5382
/// 5 asks them for two hours, many give five minutes) and a client that is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(4 * 60);

/// How long a session keeps its thread before others have their turn; one step of it may take
/// longer.
const TURN: Duration = Duration::from_millis(5);

/// Runs one session to its end.
pub async fn run(services: Services, visit: Visit) -> Ended {
    let mut driver = Driver::new(services, visit);
    let reason = match driver.serve().await {
        Ok(reason) | Err(reason) => reason,
    };
    driver.wire.shut().await;
    Ended { bytes: driver.wire.bytes(), reason }
}

struct Driver {
    services: Services,
    session: Session,
    desk: Desk,
    wire: Wire,
    visit: About,
    /// Its place in the list of those that are open.
    live: Arc<Live>,
    /// Writes down what is spoken, while somebody listens in.
    scribe: Option<Box<Scribe>>,
    /// Since when it has its thread.
    turn: Instant,
}

/// What is left of a visit once its stream is with the wire.
struct About {
    service: grace_ipc::event::Service,
    peer: std::net::SocketAddr,
    trace: grace_ipc::event::TraceId,
}

/// What ended the waiting.
enum Heard {
    Bytes(Vec<u8>),
    Change,
    Stop,
    /// The session is to end, or somebody listens in.
    Asked,
    Revoked,
    Silence,
    KeepAlive,
}

impl Driver {
    fn new(services: Services, visit: Visit) -> Self {
        let Visit { service, peer, trace, live, stream, .. } = visit;
        let limits = &services.config.limits;
        let sasl = Sasl::new(stream.bindings(), stream.peer_addresses());
        let settings = Settings {
            hostname: services.config.hostname.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            tls: stream.is_tls(),
            offers_starttls: true,
            // Nobody can listen in on a connection that never leaves this machine.
            plain_login: peer.ip().to_canonical().is_loopback(),
            sasl: sasl.offered(),
            append_bytes_max: limits.message_bytes_max,
            login_s: limits.imap_login_s,
            silence_s: limits.imap_idle_s,
            errors_max: limits.imap_errors_max,
            login_failures_max: limits.login_failures_max,
        };
        let wire = Wire::new(stream, limits.write_s);
        let mut desk = Desk::new(services.clone(), service, peer, trace, Arc::clone(&live));
        desk.sasl = sasl;
        let session = Session::new(settings);
        let visit = About { service, peer, trace };
        Self { services, session, desk, wire, visit, live, scribe: None, turn: Instant::now() }
    }

    /// Serves until the session is closed, and says why; `Err` says why it was cut.
    async fn serve(&mut self) -> Result<String, String> {
        let mut began = Instant::now();
        let mut was_stranger = true;
        let mut answered_at = began;
        let mut has_spoken = false;
        loop {
            while let Some(action) = self.session.poll() {
                match action {
                    Action::Close(reason) => {
                        self.wire.flush().await.map_err(|error| error.to_string())?;
                        return Ok(reason);
                    }
                    // Between two steps of a command, which may go on for hours.
                    Action::Ask(_) if self.is_cut_off() => {}
                    action => self.act(action).await?,
                }
            }
            self.wire.flush().await.map_err(|error| error.to_string())?;
            // A client is silent only from our answer on, which may take it long to read.
            if std::mem::take(&mut has_spoken) {
                answered_at = Instant::now();
            }
            // Before a login the clock is not wound up again by every byte.
            let is_stranger = !self.session.is_authenticated();
            if is_stranger && !was_stranger {
                // It logged out of its account (RFC 8437), and may take its time anew.
                began = Instant::now();
            }
            was_stranger = is_stranger;
            let since = if is_stranger { began } else { answered_at };
            let deadline = since + Duration::from_secs(self.session.silence_s_max());
            self.be_listed();
            let heard = self.listen(deadline).await?;
            self.turn = Instant::now();
            self.session.set_time(seed::now_s());
            match heard {
                Heard::Bytes(bytes) => {
                    has_spoken = true;
                    self.session.receive(&bytes);
                }
                Heard::Change => self.session.wake(),
                Heard::Stop => self.session.stop(),
                Heard::Asked if self.live.is_over() => self.session.disconnect(),
                Heard::Asked => {}
                Heard::Revoked => self.session.revoke_login(),
                Heard::Silence => self.session.timeout(),
                Heard::KeepAlive => self.session.keep_alive(),
            }
        }
    }

    /// Whether the session is to end now, whatever is under way; it says so then.
    fn is_cut_off(&mut self) -> bool {
        match (self.live.is_over(), self.desk.is_revoked()) {
            (true, _) => self.session.disconnect(),
            (false, true) => self.session.revoke_login(),
            (false, false) => return false,
        }
        true
    }

    /// Tells the list what it shows, and begins or ends to write down what is spoken.
    fn be_listed(&mut self) {
        self.live.count(self.wire.bytes());
        self.live.commanded(self.session.last_command());
        let is_watched = self.live.is_watched();
        if is_watched != self.scribe.is_some() {
            self.scribe = is_watched.then(|| Box::new(Scribe::new(true)));
            self.session.listen_in(is_watched);
        }
    }

    /// Waits for whatever comes first.
    async fn listen(&mut self, deadline: Instant) -> Result<Heard, String> {
        let (idle, wakes) = (self.session.is_idle(), self.session.wants_wake());
        let mut bytes_max = if idle { READ_IDLE_BYTES } else { READ_BYTES };
        if self.session.is_receiving() {
            bytes_max = READ_MESSAGE_BYTES;
            // Many clients write the line end after a literal on its own: 51 ms for an APPEND
            // without this, 0.4 ms with it.
            self.wire.acknowledge_now();
        }
        let keep_alive = Instant::now() + KEEP_ALIVE;
        let revoked = self.desk.revoked();
        tokio::select! {
            biased;
            () = self.services.porter.stop.wait() => Ok(Heard::Stop),
            () = revoked => Ok(Heard::Revoked),
            () = self.live.asked() => Ok(Heard::Asked),
            () = self.desk.changed(), if wakes => Ok(Heard::Change),
            () = sleep_until(keep_alive), if idle => Ok(Heard::KeepAlive),
            // Before the bytes: a stranger who never pauses is a stranger still.
            () = sleep_until(deadline) => Ok(Heard::Silence),
            read = self.wire.read(bytes_max) => match read {
                Ok(bytes) if bytes.is_empty() => Err("the client hung up".to_owned()),
                Ok(bytes) => Ok(Heard::Bytes(bytes)),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    /// A long SEARCH or FETCH finds all it needs in memory or in the database, and never waits:
    /// others want the thread, too.
    async fn take_turns(&mut self) {
        if self.turn.elapsed() >= TURN {
            tokio::task::yield_now().await;
            self.turn = Instant::now();
        }
    }

    async fn act(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Send(bytes) => {
                self.write_down(&bytes);
                self.wire.write(&bytes).await.map_err(|error| error.to_string())?;
            }
            Action::SendMessage { uid, start, length } => {
                self.send_message(uid, start, length).await?;
            }
            Action::Ask(request) => {
                self.take_turns().await;
                let answer = self.desk.serve(request).await;
                self.session.set_time(seed::now_s());
                self.session.answer(answer);
            }
            Action::Flush => {
                self.wire.flush().await.map_err(|error| error.to_string())?;
                self.take_turns().await;
            }
            Action::StartTls => self.start_tls().await?,
            Action::StartCompression => {
                self.wire.flush().await.map_err(|error| error.to_string())?;
                self.wire.compress();
            }
            Action::EndCompression => {
                self.wire.flush().await.map_err(|error| error.to_string())?;
                self.wire.end_compression();
            }
            Action::Refused { command, reply } => {
                let About { service, peer, trace } = self.visit;
                let (command, reply) = (claim(command.as_bytes()), claim(reply.as_bytes()));
                let refused = EventKind::CommandRefused { service, peer, command, reply };
                self.services.porter.bus.emit(trace, refused);
            }
            Action::Introduced(client) => self.live.introduced(&client),
            Action::Overheard(said) => self.overhear(&said),
            // `serve` keeps it for itself.
            Action::Close(_) => {}
        }
        Ok(())
    }

    /// Tells those who listen in what goes to the client.
    fn write_down(&mut self, bytes: &[u8]) {
        if let Some(scribe) = &mut self.scribe {
            scribe.sent(&self.live, bytes);
        }
    }

    /// The same of what the client said.
    fn overhear(&mut self, said: &Overheard) {
        let Some(scribe) = &mut self.scribe else { return };
        match said {
            Overheard::Line(text) => scribe.heard(&self.live, text),
            Overheard::Message(bytes) if bytes.is_empty() => scribe.message_ends(&self.live),
            Overheard::Message(bytes) => scribe.message(&self.live, bytes),
        }
    }

    /// Copies a piece of the message last read from the store to the client.
    async fn send_message(&mut self, uid: u32, start: u64, length: u64) -> Result<(), String> {
        let end = start + length;
        let mut at = start;
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(COPY_BYTES).min(COPY_BYTES);
            let mut buffer = vec![0; most];
            let reader = self.desk.held(uid).ok_or("a message was not held")?;
            let read = reader.read_at(at, &mut buffer);
            let read = read.map_err(|error| {
                tracing::error!(target: "grace", event = "MessageUnreadable", uid, error = %error);
                self.desk.tell_damage(&error);
                "a message could not be read"
            })?;
            if read == 0 {
                tracing::error!(target: "grace", event = "MessageTooShort", uid, at, end);
                return Err("a message is shorter than its row says".to_owned());
            }
            buffer.truncate(read);
            self.write_down(&buffer);
            self.wire.write(&buffer).await.map_err(|error| error.to_string())?;
            at += read as u64;
        }
        Ok(())
    }

    async fn start_tls(&mut self) -> Result<(), String> {
        self.wire.flush().await.map_err(|error| error.to_string())?;
        let About { service, peer, trace } = self.visit;
        let stream = self.wire.take().ok_or("the connection is gone")?;
        let stream = secure(&self.services.porter, service, peer, trace, stream).await?;
        stream.tls_info().iter().for_each(|info| self.live.secured(info));
        self.desk.sasl = Sasl::new(stream.bindings(), stream.peer_addresses());
        self.wire.put(stream);
        self.session.offer_sasl(self.desk.sasl.offered());
        self.session.tls_started();
        Ok(())
    }
}
