//! The thread that talks to the daemon.
//!
//! It connects, says what it wants to see, puts whatever comes into the [`Inbox`] and wakes the
//! window; after a break it comes back by itself, asking only for events it has not seen.
//! Invariants: the window's thread never waits for it; what the window has not taken yet is
//! bounded; the console asks for the role of a viewer, so nothing here can change the daemon. Not
//! here: what is shown.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use grace_ipc::client::{Client, ClientError, Options, Sender};
use grace_ipc::event::Event;
use grace_ipc::message::{EventFilter, PushBody, RequestBody, ServerInfo, Stats};
use grace_ipc::role::Role;

use crate::stream;

/// First and longest wait before another try; it doubles in between.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Longest wait for an answer: the daemon is on this machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// A silent daemon is asked whether it lives.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Counters come at most so often.
const STATS_INTERVAL_MS: u32 = 500;
/// Events the window has not taken yet; more are counted and dropped.
const WAITING_MAX: usize = stream::KEPT_MAX;

/// What the thread has to tell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Update {
    /// A try has begun.
    Trying,
    /// The daemon answered.
    Connected {
        info: ServerInfo,
        role: Role,
        software: String,
    },
    Stats(Stats),
    Events {
        lost: u64,
        events: Vec<Event>,
    },
    /// The connection ended or did not come about; the next try follows after `retry_in`.
    Lost {
        reason: String,
        retry_in: Duration,
    },
}

/// What waits for the window.
pub(crate) struct Inbox {
    updates: Mutex<Waiting>,
    told: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Waiting {
    updates: Vec<Update>,
    events: usize,
}

impl Inbox {
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { updates: Mutex::default(), told: AtomicBool::new(false), wake: Box::new(wake) }
    }

    /// Takes everything there is.
    pub(crate) fn take(&self) -> Vec<Update> {
        self.told.store(false, Ordering::Release);
        let mut waiting = lock(&self.updates);
        waiting.events = 0;
        std::mem::take(&mut waiting.updates)
    }

    fn put(&self, update: Update) {
        let mut waiting = lock(&self.updates);
        if let Update::Events { events, .. } = &update {
            waiting.events += events.len();
        }
        waiting.updates.push(update);
        if waiting.events > WAITING_MAX {
            drop_oldest_events(&mut waiting);
        }
        drop(waiting);
        // One wake for many updates: the window takes all of them at once.
        if !self.told.swap(true, Ordering::AcqRel) {
            (self.wake)();
        }
    }
}

/// Empties the oldest pushes, telling the next one how many are missing.
fn drop_oldest_events(waiting: &mut Waiting) {
    let mut carried = 0;
    for update in &mut waiting.updates {
        let Update::Events { lost, events } = update else { continue };
        *lost += carried;
        carried = 0;
        if waiting.events > WAITING_MAX / 2 {
            carried = *lost + events.len() as u64;
            waiting.events -= events.len();
            *lost = 0;
            events.clear();
        }
    }
    if carried > 0 {
        waiting.updates.push(Update::Events { lost: carried, events: Vec::new() });
    }
    waiting.updates.retain(
        |update| !matches!(update, Update::Events { lost: 0, events } if events.is_empty()),
    );
}

/// What the window tells the thread.
#[derive(Default)]
struct Orders {
    state: Mutex<Order>,
    changed: Condvar,
}

#[derive(Default)]
struct Order {
    stop: bool,
    try_now: bool,
    /// Ends the connection that stands, so that a waiting read returns.
    line: Option<Sender>,
}

/// The thread's handle; dropping it ends the thread.
pub(crate) struct Link {
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// Starts the thread. Of the sockets the first that exists is used.
    pub(crate) fn start(sockets: Vec<PathBuf>, inbox: Arc<Inbox>) -> std::io::Result<Self> {
        let orders = Arc::new(Orders::default());
        let mut talker = Talker {
            sockets,
            inbox,
            orders: Arc::clone(&orders),
            last_seq: 0,
            started_us: 0,
            retry: RETRY_MIN,
        };
        let thread =
            std::thread::Builder::new().name("link".to_owned()).spawn(move || talker.run())?;
        Ok(Self { orders, thread: Some(thread) })
    }

    /// Cuts the wait for the next try short.
    pub(crate) fn try_now(&self) {
        lock(&self.orders.state).try_now = true;
        self.orders.changed.notify_all();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut order = lock(&self.orders.state);
        order.stop = true;
        if let Some(line) = &order.line {
            line.hang_up();
        }
        drop(order);
        self.orders.changed.notify_all();
        // On Windows a waiting read ends only with the daemon; there the thread ends with us.
        if let Some(thread) = self.thread.take().filter(|_| cfg!(unix)) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

struct Talker {
    sockets: Vec<PathBuf>,
    inbox: Arc<Inbox>,
    orders: Arc<Orders>,
    /// The newest event that arrived, of the daemon that started then.
    last_seq: u64,
    started_us: u64,
    retry: Duration,
}

impl Talker {
    fn run(&mut self) {
        while !lock(&self.orders.state).stop {
            self.inbox.put(Update::Trying);
            let Err(reason) = self.talk() else { return };
            lock(&self.orders.state).line = None;
            if lock(&self.orders.state).stop {
                return;
            }
            let retry_in = self.retry;
            self.retry = (self.retry * 2).min(RETRY_MAX);
            self.inbox.put(Update::Lost { reason: reason.to_string(), retry_in });
            self.rest(retry_in);
        }
    }

    /// One connection from beginning to end.
    fn talk(&mut self) -> Result<(), ClientError> {
        let mut options = Options::new(concat!("grace-console ", env!("CARGO_PKG_VERSION")));
        options.role = Role::Viewer;
        options.patience = Some(PATIENCE);
        let mut client = Client::connect(&self.socket(), &options)?;
        let info = client.server_info()?;
        if info.started_us != self.started_us {
            (self.started_us, self.last_seq) = (info.started_us, 0);
        }
        let welcome = client.welcome();
        let (role, software) = (welcome.role, welcome.software.clone());
        self.inbox.put(Update::Connected { info, role, software });
        self.retry = RETRY_MIN;
        client.subscribe_stats(STATS_INTERVAL_MS)?;
        let backlog = u32::try_from(stream::KEPT_MAX).unwrap_or(u32::MAX);
        client.subscribe_events(EventFilter::default(), backlog, self.last_seq)?;
        self.listen(client)
    }

    /// Hears until the connection ends.
    fn listen(&mut self, client: Client) -> Result<(), ClientError> {
        let (sender, mut receiver) = client.split();
        {
            let mut order = lock(&self.orders.state);
            if order.stop {
                return Ok(());
            }
            order.line = Some(sender);
        }
        let mut heard = Instant::now();
        loop {
            match receiver.next_within(Some(SILENCE_MAX)) {
                Ok(grace_ipc::message::ServerMessage::Push(push)) => self.take(push.body),
                Ok(grace_ipc::message::ServerMessage::Goodbye(failure)) => {
                    return Err(ClientError::Goodbye(failure));
                }
                Ok(grace_ipc::message::ServerMessage::Reply(_)) => {}
                // Silence is no death; two silences after a question are.
                Err(ClientError::TimedOut) if heard.elapsed() < 3 * SILENCE_MAX => {
                    if let Some(line) = &mut lock(&self.orders.state).line {
                        line.send(RequestBody::Ping)?;
                    }
                    continue;
                }
                Err(error) => return Err(error),
            }
            heard = Instant::now();
        }
    }

    fn take(&mut self, body: PushBody) {
        match body {
            PushBody::Stats(stats) => self.inbox.put(Update::Stats(stats)),
            PushBody::Events { lost, events } => {
                if let Some(last) = events.last() {
                    self.last_seq = last.seq;
                }
                self.inbox.put(Update::Events { lost, events });
            }
        }
    }

    fn socket(&self) -> PathBuf {
        let found = self.sockets.iter().find(|path| path.exists());
        found.or(self.sockets.first()).cloned().unwrap_or_default()
    }

    /// Waits, unless somebody wants it sooner.
    fn rest(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut order = lock(&self.orders.state);
        while !order.stop && !order.try_now {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.orders.changed.wait_timeout(order, left);
            order = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        order.try_now = false;
    }
}

/// A thread that panicked left at worst a whole update out.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, unix))]
mod fake;
#[cfg(all(test, unix))]
mod tests;
