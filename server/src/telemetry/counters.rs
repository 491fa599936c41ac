//! Counters and gauges, fed by the events alone: whatever is counted was also told.
//!
//! Invariant: a gauge of open connections is the opened minus the closed ones.
//! Not here: figures of the database and the process (`admin` asks those who have them).

use std::sync::atomic::{AtomicU64, Ordering};

use grace_ipc::event::{EventKind, Service};

/// Services with a counter each, in the order of the arrays below.
pub const SERVICES: [Service; 5] =
    [Service::Smtp, Service::Submission, Service::Submissions, Service::Imap, Service::Imaps];

/// Everything counted since the daemon started.
#[derive(Debug, Default)]
pub struct Counters {
    opened: [AtomicU64; SERVICES.len()],
    closed: [AtomicU64; SERVICES.len()],
    /// Connections turned away at the door.
    pub connections_refused: Counter,
    /// Senders and recipients refused by rules of the door.
    pub door_refused: Counter,
    /// Commands answered with a refusal.
    pub commands_refused: Counter,
    /// Successful logins.
    pub logins_succeeded: Counter,
    /// Failed logins.
    pub logins_failed: Counter,
    /// Messages acknowledged by SMTP.
    pub messages_accepted: Counter,
    /// Messages refused after their data began.
    pub messages_refused: Counter,
    /// Messages placed into mailboxes, one per mailbox.
    pub messages_delivered: Counter,
    /// Messages stored by APPEND.
    pub messages_appended: Counter,
    /// Messages removed for good.
    pub messages_expunged: Counter,
    /// TLS handshakes that failed.
    pub tls_failed: Counter,
    /// Sessions that ended by a panic of ours.
    pub sessions_panicked: Counter,
    /// Events of every kind.
    pub events: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Its value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
}

impl Counters {
    /// Counts one event.
    pub(super) fn count(&self, kind: &EventKind) {
        self.events.add(1);
        match kind {
            EventKind::ConnectionOpened { service, .. } => bump(&self.opened, *service),
            EventKind::ConnectionClosed { service, .. } => bump(&self.closed, *service),
            EventKind::ConnectionRefused { .. } => self.connections_refused.add(1),
            EventKind::DoorRefused { command, count, .. } => match command.as_str() {
                "connect" => self.connections_refused.add(*count),
                _ => self.door_refused.add(*count),
            },
            EventKind::CommandRefused { .. } => self.commands_refused.add(1),
            EventKind::LoginSucceeded { .. } => self.logins_succeeded.add(1),
            EventKind::LoginFailed { .. } => self.logins_failed.add(1),
            EventKind::MessageAccepted { .. } => self.messages_accepted.add(1),
            EventKind::MessageRefused { .. } => self.messages_refused.add(1),
            EventKind::MessageDelivered { .. } => self.messages_delivered.add(1),
            EventKind::MessageAppended { .. } => self.messages_appended.add(1),
            EventKind::MessagesExpunged { count, .. } => {
                self.messages_expunged.add(u64::from(*count));
            }
            EventKind::TlsFailed { .. } => self.tls_failed.add(1),
            EventKind::SessionPanicked { .. } => self.sessions_panicked.add(1),
            _ => {}
        }
    }

    /// Connections opened on `service` since the start, and those open now.
    #[must_use]
    pub fn connections(&self, service: Service) -> (u64, u64) {
        // Closed is read first: a connection closing in between must not make the gauge negative.
        let closed = read(&self.closed, service);
        let opened = read(&self.opened, service);
        (opened, opened.saturating_sub(closed))
    }
}

/// The slot of a service in the arrays; admin sessions are not counted here.
fn slot(counters: &[AtomicU64; SERVICES.len()], service: Service) -> Option<&AtomicU64> {
    let index = SERVICES.iter().position(|&s| s == service)?;
    counters.get(index)
}

fn bump(counters: &[AtomicU64; SERVICES.len()], service: Service) {
    if let Some(counter) = slot(counters, service) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn read(counters: &[AtomicU64; SERVICES.len()], service: Service) -> u64 {
    slot(counters, service).map_or(0, |counter| counter.load(Ordering::Relaxed))
}
