//! Mail for other servers: how it is taken, looked at, and changed by an admin.
//!
//! ```text
//!   inbound ─▶ draft ─▶ rows, in the transaction of the delivery ─▶ Submitted ─┐
//!   admin ──▶ change ───────────────────────────────────────────▶ Change ──────┴─▶ outbound
//! ```
//! Invariants: what is taken is on disk before anybody hears of it; rows are changed by `outbound`
//! alone once it knows them, so that no attempt meets a row it did not expect.
//! Not here: sending (`outbound`), when (`grace_queue`), the tables (`store::outgoing`).

pub mod list;
mod settings;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use grace_ipc::queue::{QueueChange, QueueFilter};
use grace_ipc::route::{DeliveryStep, DeliveryVerdict};
use grace_mail::address::{Charset, Domain, Host, Mailbox};
use grace_queue::schedule::Life;
use grace_queue::settings::Settings;

use crate::config::limits;
use crate::store::failure::Failure;
use crate::store::outgoing::{Onward, OutgoingRecipientRow, notify};
use crate::telemetry::bus::Moments;

/// Orders that may wait for the sender of mail. It takes them at once; this is for a burst.
const ORDERS_MAX: usize = 1_024;

/// Steps of a test that may wait for who listens; then the test waits.
const STEPS_MAX: usize = 64;

/// What `outbound` is told.
#[derive(Debug)]
pub enum Order {
    /// A message was taken; it is on disk.
    Submitted(u64),
    /// A message came to these recipients here, or went on for them: its sender is to be told.
    Succeeded(Success, Box<Onward>),
    /// An admin wants something done.
    Change {
        /// To which recipients.
        filter: QueueFilter,
        /// What.
        change: QueueChange,
        /// Who asks.
        by: String,
        /// How many there were, or why it was not done.
        reply: oneshot::Sender<Result<Changed, Failure>>,
    },
    /// Mail goes other ways than before.
    Routes,
    /// An admin wants to know whether mail would arrive.
    Test(Box<Test>),
}

/// A delivery to be tried up to RCPT.
#[derive(Debug)]
pub struct Test {
    /// Whom to reach.
    pub to: Mailbox,
    /// From whom; `None`: nobody.
    pub from: Option<Mailbox>,
    /// Is told each step. Who listens no more wants no more.
    pub steps: mpsc::Sender<DeliveryStep>,
    /// What came of it.
    pub reply: oneshot::Sender<Tested>,
}

/// What a test found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tested {
    /// In a word.
    pub verdict: DeliveryVerdict,
    /// In a sentence.
    pub text: String,
}

/// To how many recipients something was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// All of them.
    pub recipients: u64,
    /// Those among them that are being tried: it is done when their attempt ends.
    pub underway: u64,
}

/// What a sender hears of who wants to hear of success (RFC 3461 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Success {
    /// It is in a mailbox here.
    Arrived,
    /// It goes on to several addresses.
    Expanded,
}

/// The desk for outgoing mail. Cloning gives another handle.
#[derive(Debug, Clone)]
pub struct Outgoing {
    orders: mpsc::Sender<Order>,
    waiting: Arc<AtomicU64>,
    waiting_max: u64,
    settings: Arc<Settings>,
}

impl Outgoing {
    /// A desk by these settings, and where its orders come out.
    #[must_use]
    pub fn new(settings: &limits::Outgoing) -> (Self, mpsc::Receiver<Order>) {
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        let waiting_max = settings.recipients_waiting_max;
        let settings = Arc::new(settings::settings(settings));
        (Self { orders, waiting: Arc::default(), waiting_max, settings }, taken)
    }

    /// What the queue goes by.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether one more recipient may wait.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) < self.waiting_max
    }

    /// How many recipients wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Says how many wait now.
    pub fn set_waiting(&self, waiting: u64) {
        self.waiting.store(waiting, Ordering::Relaxed);
    }

    /// Tells that a message is on disk. Where nobody sends any more it goes out after the next
    /// start.
    pub async fn submitted(&self, message: u64) {
        drop(self.orders.send(Order::Submitted(message)).await);
    }

    /// Tells that a message arrived here, or goes on, whose sender asked to hear of it (RFC 3461
    /// 4.1).
    pub async fn succeeded(&self, success: Success, message: Onward) {
        drop(self.orders.send(Order::Succeeded(success, Box::new(message))).await);
    }

    /// Has a delivery tried; gives its steps, and what comes of it. It ends when nobody listens.
    pub async fn test(
        &self,
        to: Mailbox,
        from: Option<Mailbox>,
    ) -> (mpsc::Receiver<DeliveryStep>, oneshot::Receiver<Tested>) {
        let ((steps, told), (reply, answer)) = (mpsc::channel(STEPS_MAX), oneshot::channel());
        let test = Box::new(Test { to, from, steps, reply });
        // Where nobody sends any more there is no answer.
        drop(self.orders.send(Order::Test(test)).await);
        (told, answer)
    }

    /// Tells that mail goes other ways than before, also what waits.
    pub async fn routes_changed(&self) {
        drop(self.orders.send(Order::Routes).await);
    }

    /// Does something to recipients that wait; says to how many. `None`: the server stops.
    pub async fn change(
        &self,
        filter: QueueFilter,
        change: QueueChange,
        by: &str,
    ) -> Option<Result<Changed, Failure>> {
        let (reply, answer) = oneshot::channel();
        let order = Order::Change { filter, change, by: by.to_owned(), reply };
        self.orders.send(order).await.ok()?;
        answer.await.ok()
    }
}

/// Where an admin wants mail to go: a domain as the queue knows it, or a server as `[name]` or
/// `[name]:port`. `None`: it is neither.
#[must_use]
pub fn destination(text: &str) -> Option<String> {
    let Some(server) = text.strip_prefix('[') else {
        return Domain::parse(text, Charset::Utf8).ok().map(|domain| domain.as_str().to_owned());
    };
    let (name, rest) = server.split_once(']')?;
    let is_name = name.parse::<IpAddr>().is_ok() || Domain::parse(name, Charset::Utf8).is_ok();
    let is_port = match rest.strip_prefix(':') {
        Some(port) => port.parse::<u16>().is_ok_and(|port| port > 0),
        None => rest.is_empty(),
    };
    (is_name && is_port).then(|| text.to_lowercase())
}

/// The row of a new recipient: who wants to hear of failures and delays, as RFC 3461 4.1 has it for
/// who says nothing.
#[must_use]
pub fn recipient(
    message: u64,
    number: u32,
    address: &Mailbox,
    life: &Life,
) -> OutgoingRecipientRow {
    let destination = match address.host() {
        Host::Domain(domain) => domain.as_str().to_owned(),
        literal => literal.to_string(),
    };
    OutgoingRecipientRow {
        message,
        number,
        address: address.to_string(),
        destination,
        notify: notify::FAILURE | notify::DELAY,
        original: String::new(),
        held: false,
        attempts: life.attempts,
        started_ms: life.started.millis(),
        due_ms: life.started.millis(),
        notice_ms: life.notice_at.millis(),
        expires_ms: life.expires.millis(),
        is_strict: life.is_strict,
        tried_ms: 0,
        remote: String::new(),
        reason: String::new(),
    }
}

/// A number for a message: the microsecond of its birth, made unique.
#[must_use]
pub fn new_number() -> u64 {
    static MOMENTS: Moments = Moments::new();
    MOMENTS.next_us()
}
