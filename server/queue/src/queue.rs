//! The queue: what is tried next, and what follows from how it went.
//!
//! ```text
//!   add ──▶ wait ──next()──▶ Batch ──▶ the attempt ──finished()─▶ settled: gone
//!             ▲  └──lapsed()─▶ late: tell the sender                later: waits again
//!             └──────────────────────────────────────────────────── expired: gone, tell the sender
//! ```
//! The driver keeps everything on disk and the queue knows it only by number. After each step it
//! calls [`Queue::next`] and [`Queue::lapsed`] until they have nothing, and sleeps until
//! [`Queue::wake_at`].
//!
//! Invariants: a recipient that was added is in the queue until it is settled, expired or removed,
//! each of which happens once; never more attempts at once than allowed, in all and per
//! destination; no step costs more than the logarithm of what waits.
//! Not here: what an admin may do to it ([`crate::admin`]), sockets, the store, notifications.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use crate::capacity::{Attempt, Behavior};
use crate::destinations::Destinations;
use crate::lines::{Lines, Place};
use crate::random::Random;
use crate::schedule::{self, Life, Next};
use crate::settings::{Settings, SettingsError};
use crate::slab::Slab;
use crate::time::Time;
use crate::transaction::{Recipients, State, Transaction};

/// Most transactions kept in memory: some 5 GB of them. What does not fit stays on disk.
pub const TRANSACTIONS_MAX: usize = 20_000_000;

/// One message for one destination, to be queued.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    /// The message's number.
    pub message: u64,
    /// The numbers of its recipients at this destination. Each is added once.
    pub recipients: &'a [u32],
    /// The next hop, by any name that is the same for the same hosts.
    pub destination: &'a str,
    /// Who is to be treated fairly: an account's number, or a hash of the return path.
    pub sender: u64,
    /// MT-PRIORITY (RFC 6710): -9 to 9, 0 where nobody asked.
    pub priority: i8,
    /// Its age and its attempts.
    pub life: Life,
    /// When it is to be tried next: `life.started` for a new one.
    pub due: Time,
}

/// There is no room for another transaction in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue holds as many transactions as it can")
    }
}

impl std::error::Error for Full {}

/// The number of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(u64);

/// What is to be tried now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The attempt's number, for [`Queue::finished`].
    pub id: BatchId,
    /// The message.
    pub message: u64,
    /// Its recipients.
    pub recipients: Vec<u32>,
    /// Where to. Connections are kept for reuse under this name.
    pub destination: Arc<str>,
    /// Whether an idle connection will do. It will not where the last we heard was that nobody is
    /// there.
    pub may_reuse: bool,
    /// Which attempt of this mail it is, from 1.
    pub attempt: u16,
}

/// How an attempt went. Recipients that are not named failed and are to be tried later: what is
/// forgotten here is never lost.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'a> {
    /// How the hosts behaved.
    pub behavior: Behavior,
    /// Delivered, or refused for good.
    pub settled: &'a [u32],
    /// Those the host was not asked about, or would not hear of in this transaction (452 of
    /// RFC 5321 4.5.3.1.10). They go again at once, unless nobody else got an answer either.
    pub untried: &'a [u32],
    /// Why it failed, for people to read.
    pub reason: Option<&'a str>,
}

/// What became of those that were not settled. To be written to disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct After {
    /// They wait for [`After::at`], with [`After::attempts`] behind them.
    pub later: Vec<u32>,
    /// They go again at once; the attempt does not count.
    pub untried: Vec<u32>,
    /// An admin asked for them to be held while they were tried.
    pub held: Vec<u32>,
    /// An admin sent them another way while they were tried: they are due there now.
    pub rerouted: Vec<u32>,
    /// We gave them up; they have left the queue.
    pub expired: Vec<u32>,
    /// When those of `later` are due.
    pub at: Option<Time>,
    /// Their attempts so far, for all but `untried`.
    pub attempts: u16,
}

/// What time did to mail that nobody tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lapse {
    /// The sender is to hear that it is late.
    Late {
        /// The message.
        message: u64,
        /// Its recipients.
        recipients: Vec<u32>,
        /// Where they are.
        destination: Arc<str>,
        /// How long we go on.
        until: Time,
        /// When the next such word is due; to be kept as `notice_at` of its life.
        notice_at: Time,
    },
    /// We gave it up; it has left the queue.
    Expired {
        /// The message.
        message: u64,
        /// Its recipients.
        recipients: Vec<u32>,
        /// Where they are.
        destination: Arc<str>,
    },
}

/// An attempt on its way.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    slot: u32,
    /// Where it runs, wherever the mail is to go next.
    to: u32,
    /// Recipients that are to be held if they fail.
    pub(crate) hold: BTreeSet<u32>,
    /// Recipients that are to go to another destination if they fail.
    pub(crate) reroute: BTreeMap<u32, Arc<str>>,
}

/// Everything that waits.
#[derive(Debug, Clone)]
pub struct Queue {
    pub(crate) settings: Settings,
    random: Random,
    pub(crate) transactions: Slab<Transaction>,
    pub(crate) by_message: BTreeSet<(u64, u32)>,
    pub(crate) destinations: Destinations,
    lines: Lines,
    timers: BTreeSet<(Time, u32)>,
    pub(crate) running: BTreeMap<BatchId, Running>,
    /// Attempts that ended and are not written down, and where they were made.
    unwritten: BTreeMap<BatchId, u32>,
    next_batch: u64,
    lapses: VecDeque<Lapse>,
    recipients: usize,
    /// The next turn is one among senders, not among destinations.
    is_senders_turn: bool,
}

impl Queue {
    /// An empty queue. Its chances follow from `seed`.
    ///
    /// # Errors If it cannot work by these settings.
    pub fn new(settings: Settings, seed: u64) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Self {
            settings,
            random: Random::new(seed),
            transactions: Slab::new(),
            by_message: BTreeSet::new(),
            destinations: Destinations::new(),
            lines: Lines::default(),
            timers: BTreeSet::new(),
            running: BTreeMap::new(),
            unwritten: BTreeMap::new(),
            next_batch: 0,
            lapses: VecDeque::new(),
            recipients: 0,
            is_senders_turn: false,
        })
    }

    /// Recipients in the queue: waiting, being tried and held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.recipients
    }

    /// Whether any recipient of a message is in the queue.
    #[must_use]
    pub fn contains(&self, message: u64) -> bool {
        self.by_message.range((message, 0)..=(message, u32::MAX)).next().is_some()
    }

    /// Whether nothing waits, is tried or held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.recipients == 0
    }

    /// Queues mail, new or read from disk after a restart.
    ///
    /// # Errors If memory is full. Some recipients may have found room; [`Queue::remove`] takes
    /// them out again.
    pub fn add(&mut self, now: Time, mail: &Mail<'_>) -> Result<(), Full> {
        self.enter(now, mail, State::Sleeping)
    }

    /// The same for mail that an admin held before the restart.
    ///
    /// # Errors As for [`Queue::add`].
    pub fn add_held(&mut self, now: Time, mail: &Mail<'_>) -> Result<(), Full> {
        self.enter(now, mail, State::Held)
    }

    fn enter(&mut self, now: Time, mail: &Mail<'_>, state: State) -> Result<(), Full> {
        let limits = &self.settings.limits;
        let to = self.destinations.enter(mail.destination, limits).ok_or(Full)?;
        for recipients in mail.recipients.chunks(self.settings.limits.recipients_max) {
            let transaction = Transaction {
                message: mail.message,
                recipients: recipients.to_vec().into(),
                sender: mail.sender,
                priority: mail.priority,
                to,
                life: self.with_a_last_chance(now, mail.life),
                due: mail.due,
                state,
            };
            let slot = self.insert(transaction).ok_or(Full)?;
            self.park(slot, now);
        }
        self.destinations.changed(to, now, &self.settings.limits);
        Ok(())
    }

    /// What is to be tried now, if anything.
    pub fn next(&mut self, now: Time) -> Option<Batch> {
        self.advance(now);
        if self.running.len() + self.unwritten.len() >= self.settings.limits.running_max {
            return None;
        }
        let place = self.next_place()?;
        self.unpark(place.slot);
        let transaction = self.transactions.get_mut(place.slot)?;
        transaction.state = State::Running;
        let destination = self.destinations.get_mut(place.to)?;
        destination.start(now);
        let batch = Batch {
            id: BatchId(self.next_batch),
            message: transaction.message,
            recipients: transaction.recipients.as_slice().to_vec(),
            destination: Arc::clone(&destination.name),
            may_reuse: !destination.capacity.is_in_doubt(),
            attempt: transaction.life.attempts.saturating_add(1),
        };
        self.next_batch += 1;
        let running = Running {
            slot: place.slot,
            to: place.to,
            hold: BTreeSet::new(),
            reroute: BTreeMap::new(),
        };
        self.running.insert(batch.id, running);
        self.destinations.changed(place.to, now, &self.settings.limits);
        Some(batch)
    }

    /// Whose turn it is. Turns go to the next destination and to the next sender, one after the
    /// other: the first keeps a large destination from holding back small ones, the second a sender
    /// with mail for ten thousand destinations from holding back one with a single letter.
    fn next_place(&mut self) -> Option<Place> {
        self.is_senders_turn = !self.is_senders_turn;
        if !self.is_senders_turn {
            let destinations = &self.destinations;
            let is_open = |to| destinations.is_open(to);
            if let Some(place) = self.lines.next_sender(destinations.last(), is_open) {
                return Some(place);
            }
        }
        let to = self.destinations.next_open()?;
        let destination = self.destinations.get_mut(to)?;
        let place = self.lines.next_at(to, destination.last_sender)?;
        destination.last_sender = place.sender;
        Some(place)
    }

    /// What happened to mail by time alone, if anything more.
    pub fn lapsed(&mut self, now: Time) -> Option<Lapse> {
        self.advance(now);
        self.lapses.pop_front()
    }

    /// When [`Queue::next`] or [`Queue::lapsed`] may have something, if nothing else happens first.
    #[must_use]
    pub fn wake_at(&self) -> Option<Time> {
        let timer = self.timers.first().map(|&(at, _)| at);
        timer.into_iter().chain(self.destinations.opens_at()).min()
    }

    /// An attempt ended at `now`; its place stays taken until it is [`written`](Self::written). A
    /// number that is not on its way changes nothing.
    pub fn finished(&mut self, now: Time, id: BatchId, outcome: &Outcome<'_>) -> After {
        let Some(running) = self.running.remove(&id) else { return After::default() };
        self.learn(now, id, running.to, outcome);
        let Some(transaction) = self.transactions.get_mut(running.slot) else {
            return After::default();
        };
        let asked = transaction.recipients.len();
        let settled = sorted(outcome.settled);
        let gone = transaction.recipients.take(|number| settled.contains(&number)).len();
        let untried = sorted(outcome.untried);
        let rerouted = take_rerouted(&mut transaction.recipients, &running);
        let untried = transaction.recipients.take(|number| untried.contains(&number));
        let held = transaction.recipients.take(|number| running.hold.contains(&number));
        let later = transaction.recipients.take(|_| true);
        self.recipients = self.recipients.saturating_sub(gone);
        // Who hangs up before the first recipient would be called again at once, for ever.
        let (later, untried) =
            if untried.len() == asked { (untried, Vec::new()) } else { (later, untried) };
        let Some(template) = self.take(running.slot) else { return After::default() };
        // They left the transaction and have not found their next place yet.
        let moved: usize =
            rerouted.values().map(|(waiting, held)| waiting.len() + held.len()).sum();
        self.recipients = self.recipients.saturating_sub(moved);
        let mut after = self.go_on(now, &template, Failed { later, untried, held });
        self.go_another_way(now, &template, rerouted, &mut after);
        self.destinations.changed(template.to, now, &self.settings.limits);
        self.destinations.changed(running.to, now, &self.settings.limits);
        after
    }

    /// What came of an attempt is on disk: now another may take its place. Who is killed makes
    /// those again that are not written down, so there must not be more of them than attempts.
    pub fn written(&mut self, now: Time, id: BatchId) {
        let Some(to) = self.unwritten.remove(&id) else { return };
        if let Some(destination) = self.destinations.get_mut(to) {
            destination.unwritten = destination.unwritten.saturating_sub(1);
        }
        self.destinations.changed(to, now, &self.settings.limits);
    }

    /// Puts back what was not settled, each group as its own transaction.
    fn go_on(&mut self, now: Time, template: &Transaction, failed: Failed) -> After {
        let Failed { later, untried, held } = failed;
        let attempts = template.life.attempts.saturating_add(1);
        let mut after = After { attempts, ..After::default() };
        let life = Life { attempts, ..template.life };
        let again = Transaction { life, due: now, ..template.clone() };
        if !untried.is_empty() {
            after.untried.clone_from(&untried);
            self.put_back(now, &Transaction { life: template.life, ..again.clone() }, untried);
        }
        if !held.is_empty() {
            after.held.clone_from(&held);
            self.put_back(now, &Transaction { state: State::Held, ..again.clone() }, held);
        }
        if later.is_empty() {
            return after;
        }
        let jitter = self.random.next();
        match schedule::after_failure(&self.settings.schedule, &life, now, jitter) {
            Next::Retry(due) => {
                after.at = Some(due);
                after.later.clone_from(&later);
                self.put_back(now, &Transaction { due, ..again }, later);
            }
            Next::Expired => {
                self.recipients = self.recipients.saturating_sub(later.len());
                after.expired = later;
            }
        }
        after
    }

    /// Puts those back that an admin sent to another destination meanwhile, each way as its own
    /// transaction.
    fn go_another_way(
        &mut self,
        now: Time,
        template: &Transaction,
        rerouted: Rerouted,
        after: &mut After,
    ) {
        let attempts = template.life.attempts.saturating_add(1);
        let again =
            Transaction { life: Life { attempts, ..template.life }, due: now, ..template.clone() };
        for (name, (waiting, held)) in rerouted {
            // With no room for another destination they stay where they were.
            let to = self.destinations.enter(&name, &self.settings.limits).unwrap_or(template.to);
            for (state, recipients) in [(State::Sleeping, waiting), (State::Held, held)] {
                if recipients.is_empty() {
                    continue;
                }
                let list = if state == State::Held { &mut after.held } else { &mut after.rerouted };
                list.extend(&recipients);
                let recipients = Recipients::from(recipients);
                let moved = Transaction { recipients, to, state, ..again.clone() };
                if let Some(slot) = self.insert_again(moved) {
                    self.park(slot, now);
                }
            }
            self.destinations.changed(to, now, &self.settings.limits);
        }
    }

    fn put_back(&mut self, now: Time, template: &Transaction, recipients: Vec<u32>) {
        self.recipients = self.recipients.saturating_sub(recipients.len());
        let state = match template.state {
            State::Held => State::Held,
            State::Sleeping | State::Ready | State::Running => State::Sleeping,
        };
        let recipients = Recipients::from(recipients);
        if let Some(slot) = self.insert_again(Transaction { recipients, state, ..template.clone() })
        {
            self.park(slot, now);
        }
    }

    fn learn(&mut self, now: Time, id: BatchId, to: u32, outcome: &Outcome<'_>) {
        let chance = self.random.next();
        let Some(destination) = self.destinations.get_mut(to) else { return };
        destination.running = destination.running.saturating_sub(1);
        destination.unwritten += 1;
        self.unwritten.insert(id, to);
        let attempt = Attempt { number: id.0, next: self.next_batch, ended: now };
        let limits = &self.settings.limits;
        destination.capacity.learn(limits, outcome.behavior, attempt, chance);
        if let Some(reason) = outcome.reason {
            destination.blame(reason);
        }
    }

    /// Lets time pass.
    fn advance(&mut self, now: Time) {
        self.destinations.advance(now, &self.settings.limits);
        while let Some(&(at, slot)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            self.unpark(slot);
            self.lapse(slot, now);
            self.park(slot, now);
        }
    }

    /// Does what is due to a transaction that nobody tries.
    fn lapse(&mut self, slot: u32, now: Time) {
        let Some(transaction) = self.transactions.get_mut(slot) else { return };
        let Some(destination) = self.destinations.get(transaction.to) else { return };
        let (message, destination) = (transaction.message, Arc::clone(&destination.name));
        let recipients = transaction.recipients.as_slice().to_vec();
        let until = transaction.life.expires;
        if until <= now {
            self.lapses.push_back(Lapse::Expired { message, recipients, destination });
            let to = transaction.to;
            self.take(slot);
            self.destinations.changed(to, now, &self.settings.limits);
        } else if transaction.life.delay_notice_due(now) {
            let notice_at = now.after(self.settings.schedule.notice_every);
            transaction.life.notice_at = notice_at;
            let late = Lapse::Late { message, recipients, destination, until, notice_at };
            self.lapses.push_back(late);
        }
    }

    /// What came too late through no fault of its own, after a restart or a hold, is tried once
    /// before its sender hears that it is late, or that we gave it up where the sender did not set
    /// the end.
    pub(crate) fn with_a_last_chance(&self, now: Time, life: Life) -> Life {
        let soon = now.after(self.settings.schedule.last_call);
        let expires = if life.is_strict { life.expires } else { life.expires.max(soon) };
        // A moment that is yet to come may be one that the sender set (RFC 2852).
        let notice_at = if life.notice_at > now { life.notice_at } else { soon };
        Life { expires, notice_at, ..life }
    }

    /// Takes a transaction in, without a place to wait.
    fn insert(&mut self, transaction: Transaction) -> Option<u32> {
        if self.transactions.len() >= TRANSACTIONS_MAX {
            return None;
        }
        self.insert_again(transaction)
    }

    /// The same for one that was in before: it has its room.
    pub(crate) fn insert_again(&mut self, transaction: Transaction) -> Option<u32> {
        let (message, to) = (transaction.message, transaction.to);
        let recipients = transaction.recipients.len();
        let slot = self.transactions.insert(transaction)?;
        self.recipients += recipients;
        self.by_message.insert((message, slot));
        if let Some(destination) = self.destinations.get_mut(to) {
            destination.transactions += 1;
        }
        Some(slot)
    }

    /// Takes a transaction out that has no place to wait.
    pub(crate) fn take(&mut self, slot: u32) -> Option<Transaction> {
        let transaction = self.transactions.remove(slot)?;
        self.recipients = self.recipients.saturating_sub(transaction.recipients.len());
        self.by_message.remove(&(transaction.message, slot));
        if let Some(destination) = self.destinations.get_mut(transaction.to) {
            destination.transactions = destination.transactions.saturating_sub(1);
        }
        Some(transaction)
    }

    /// Gives a transaction another destination.
    pub(crate) fn move_to(&mut self, slot: u32, now: Time, to: u32) {
        self.unpark(slot);
        let Some(transaction) = self.transactions.get_mut(slot) else { return };
        let from = std::mem::replace(&mut transaction.to, to);
        transaction.due = now;
        if let Some(destination) = self.destinations.get_mut(from) {
            destination.transactions = destination.transactions.saturating_sub(1);
        }
        if let Some(destination) = self.destinations.get_mut(to) {
            destination.transactions += 1;
        }
        self.park(slot, now);
        self.destinations.changed(from, now, &self.settings.limits);
    }

    /// Takes recipients out of a transaction that has no place to wait.
    pub(crate) fn forget(&mut self, slot: u32, numbers: &[u32]) {
        let Some(transaction) = self.transactions.get_mut(slot) else { return };
        let gone = transaction.recipients.take(|number| numbers.contains(&number)).len();
        self.recipients = self.recipients.saturating_sub(gone);
    }

    /// Gives a transaction the place to wait that its state and its due time ask for.
    pub(crate) fn park(&mut self, slot: u32, now: Time) {
        let Some(transaction) = self.transactions.get_mut(slot) else { return };
        let Some(destination) = self.destinations.get_mut(transaction.to) else { return };
        let recipients = transaction.recipients.len();
        match transaction.state {
            State::Running => return,
            State::Held => destination.held += recipients,
            State::Sleeping | State::Ready if transaction.due <= now => {
                transaction.state = State::Ready;
                destination.waiting += recipients;
                destination.ready += 1;
                self.lines.insert(place(slot, transaction));
            }
            State::Sleeping | State::Ready => {
                transaction.state = State::Sleeping;
                destination.waiting += recipients;
            }
        }
        self.timers.extend(transaction.timer().map(|at| (at, slot)));
        self.destinations.changed(transaction.to, now, &self.settings.limits);
    }

    /// Takes a transaction from where it waits; it stays in the queue.
    pub(crate) fn unpark(&mut self, slot: u32) {
        let Some(transaction) = self.transactions.get(slot) else { return };
        let Some(destination) = self.destinations.get_mut(transaction.to) else { return };
        let recipients = transaction.recipients.len();
        if let Some(at) = transaction.timer() {
            self.timers.remove(&(at, slot));
        }
        match transaction.state {
            State::Running => {}
            State::Held => destination.held = destination.held.saturating_sub(recipients),
            State::Ready => {
                destination.waiting = destination.waiting.saturating_sub(recipients);
                destination.ready = destination.ready.saturating_sub(1);
                self.lines.remove(place(slot, transaction));
            }
            State::Sleeping => {
                destination.waiting = destination.waiting.saturating_sub(recipients);
            }
        }
    }

    /// The attempt that a transaction is in.
    pub(crate) fn running_of(&mut self, slot: u32) -> Option<&mut Running> {
        self.running.values_mut().find(|running| running.slot == slot)
    }
}

/// Those of an attempt that were not settled.
struct Failed {
    later: Vec<u32>,
    untried: Vec<u32>,
    held: Vec<u32>,
}

/// By destination: those that wait there, and those that are held.
type Rerouted = BTreeMap<Arc<str>, (Vec<u32>, Vec<u32>)>;

/// Takes out who goes another way now.
fn take_rerouted(recipients: &mut Recipients, running: &Running) -> Rerouted {
    let mut by_destination = Rerouted::new();
    for number in recipients.take(|number| running.reroute.contains_key(&number)) {
        let Some(to) = running.reroute.get(&number) else { continue };
        let (waiting, held) = by_destination.entry(Arc::clone(to)).or_default();
        if running.hold.contains(&number) { held.push(number) } else { waiting.push(number) }
    }
    by_destination
}

fn place(slot: u32, transaction: &Transaction) -> Place {
    Place {
        to: transaction.to,
        sender: transaction.sender,
        priority: Reverse(transaction.priority),
        due: transaction.due,
        slot,
    }
}

fn sorted(numbers: &[u32]) -> BTreeSet<u32> {
    numbers.iter().copied().collect()
}
