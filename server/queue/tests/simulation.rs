//! Days of mail to hosts that die, recover and storm, against a plain model.
//!
//! ```text
//!   Post ─ new mail ─▶ queue ─ Batch ─▶ World: a host, well, busy or dead at that hour
//!                        ▲                        │
//!                        └──────── outcome ◀──────┘      Model: what each recipient must be doing
//! ```
//! A seed gives the same days again: `GRACE_SEED=n cargo test -p grace-queue --test simulation`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[expect(dead_code, reason = "only its constants are of use here")]
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::{MINUTE, START};
use grace_queue::admin::Which;
use grace_queue::capacity::Behavior;
use grace_queue::queue::{Batch, Lapse, Mail, Outcome, Queue};
use grace_queue::random::Random;
use grace_queue::schedule::Life;
use grace_queue::settings::Settings;
use grace_queue::time::Time;

const HOSTS: usize = 12;
const POSTS: u64 = 600;
/// Mail comes in for two days; after ten all of it is settled or given up.
const POST_HOURS: u64 = 48;
const END: Duration = Duration::from_secs(10 * 24 * 3_600);
const RUNNING_MAX: usize = 20;
/// That nothing starves is looked for after so many events: it asks every recipient.
const STARVING_EVERY: u64 = 10;

/// What a host does at an hour of the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// 421 to half of what comes.
    Storm,
    /// 450 to everybody.
    Greylisting,
    Dead,
}

/// The moods of all hosts: each keeps one for some hours.
struct World {
    moods: Vec<Vec<Mood>>,
}

impl World {
    fn new(random: &mut Random) -> Self {
        let hours = usize::try_from(END.as_secs() / 3_600 + 24).unwrap();
        let moods = (0..HOSTS).map(|host| {
            let mut moods = Vec::new();
            while moods.len() < hours {
                let mood = match (host, random.next() % 10) {
                    // One is dead for good, one is always well.
                    (0, _) => Mood::Dead,
                    (1, _) | (_, 0..5) => Mood::Well,
                    (_, 5..7) => Mood::Storm,
                    (_, 7) => Mood::Greylisting,
                    _ => Mood::Dead,
                };
                let lasts = usize::try_from(1 + random.next() % 12).unwrap();
                moods.extend(std::iter::repeat_n(mood, lasts));
            }
            moods
        });
        Self { moods: moods.collect() }
    }

    fn mood(&self, host: usize, now: Time) -> Mood {
        let hour = usize::try_from(now.since(START).as_secs() / 3_600).unwrap();
        self.moods[host].get(hour).copied().unwrap_or(Mood::Dead)
    }
}

/// What a recipient is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waits(Time),
    Runs,
    /// Runs, and is to be held if it fails.
    RunsThenHeld,
    Held,
}

struct Simulation {
    queue: Queue,
    settings: Settings,
    random: Random,
    world: World,
    now: Time,
    waiting: BTreeMap<(u64, u32), (usize, State)>,
    running: BTreeMap<(Time, u64), (Batch, Time)>,
    started: u64,
    posted: usize,
    delivered: usize,
    expired: usize,
    removed: usize,
    events: u64,
    /// Attempts at hosts that were dead when they began.
    wasted: BTreeMap<usize, usize>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut settings = Settings::default();
        settings.limits.running_max = RUNNING_MAX;
        settings.limits.recipients_max = 10;
        settings.limits.destination_max = 10;
        let mut random = Random::new(seed);
        let world = World::new(&mut random);
        Self {
            queue: Queue::new(settings.clone(), seed).unwrap(),
            settings,
            random,
            world,
            now: START,
            waiting: BTreeMap::new(),
            running: BTreeMap::new(),
            started: 0,
            posted: 0,
            delivered: 0,
            expired: 0,
            removed: 0,
            events: 0,
            wasted: BTreeMap::new(),
        }
    }

    /// Times at which mail comes in.
    fn post_times(&mut self) -> BTreeSet<(Time, u64)> {
        let span = POST_HOURS * 3_600_000;
        let times = (0..POSTS).map(|message| {
            (START.after(Duration::from_millis(self.random.next() % span)), message)
        });
        times.collect()
    }

    fn run(&mut self) {
        let mut posts = self.post_times();
        let end = START.after(END);
        loop {
            let post = posts.first().map(|&(at, _)| at);
            let attempt = self.running.first_key_value().map(|(&(at, _), _)| at);
            let events = [post, attempt, self.queue.wake_at()];
            let Some(at) = events.into_iter().flatten().min() else { break };
            assert!(at < end, "still waiting at the end: {:?}", self.waiting);
            self.now = at.max(self.now);
            if post == Some(at) {
                let (_, message) = posts.pop_first().unwrap();
                self.post(message);
            } else if attempt == Some(at) {
                let (_, (batch, started)) = self.running.pop_first().unwrap();
                self.end(&batch, started);
            }
            self.interfere();
            self.drain();
        }
    }

    /// An admin who cannot leave it alone, for two days and a half.
    fn interfere(&mut self) {
        self.events += 1;
        let message = self.random.next() % POSTS;
        let is_late = self.now > START.after(Duration::from_secs((POST_HOURS + 12) * 3_600));
        let count = match self.random.next() % 400 {
            _ if is_late => self.release(Which::All),
            0..4 => self.hold(message),
            4 => self.release(Which::All),
            5 => self.remove(message),
            6 => self.reroute(),
            _ => return,
        };
        assert!(count <= self.waiting.len() + self.removed);
    }

    fn hold(&mut self, message: u64) -> usize {
        let mut count = 0;
        for (_, state) in
            self.waiting.range_mut((message, 0)..(message + 1, 0)).map(|found| found.1)
        {
            (*state, count) = match *state {
                State::Waits(_) => (State::Held, count + 1),
                State::Runs | State::RunsThenHeld => (State::RunsThenHeld, count + 1),
                State::Held => (State::Held, count),
            };
        }
        assert_eq!(self.queue.hold(self.now, Which::Message(message)), count);
        count
    }

    fn release(&mut self, which: Which<'_>) -> usize {
        let mut count = 0;
        for (_, state) in self.waiting.values_mut() {
            (*state, count) = match *state {
                State::Held => (State::Waits(self.now), count + 1),
                State::RunsThenHeld => (State::Runs, count + 1),
                other => (other, count),
            };
        }
        assert_eq!(self.queue.release(self.now, which), count);
        count
    }

    fn remove(&mut self, message: u64) -> usize {
        let removed = self.queue.remove(self.now, Which::Message(message));
        let range = self.waiting.range((message, 0)..(message + 1, 0));
        let known: Vec<(u64, u32)> = range.map(|(&entry, _)| entry).collect();
        assert_eq!(removed.iter().copied().collect::<BTreeSet<_>>(), known.into_iter().collect());
        self.waiting.retain(|entry, _| entry.0 != message);
        self.removed += removed.len();
        removed.len()
    }

    fn reroute(&mut self) -> usize {
        for (host, state) in self.waiting.values_mut().filter(|(host, _)| *host == 2) {
            *host = 3;
            if let State::Waits(due) = state {
                *due = self.now;
            }
        }
        self.queue.reroute(self.now, Which::Destination("host2"), "host3")
    }

    /// Mail to several hosts at once; sender 0 writes to many, the others to few.
    fn post(&mut self, message: u64) {
        let sender = if self.random.next().is_multiple_of(4) { 1 + message % 7 } else { 0 };
        let hosts = if sender == 0 { 6 } else { 1 };
        let life = Life::new(&self.settings.schedule, self.now, None, None);
        let mut first = 0;
        let mut chosen = BTreeSet::new();
        for _ in 0..hosts {
            chosen.insert(usize::try_from(self.random.next() % HOSTS as u64).unwrap());
        }
        for host in chosen {
            let count = u32::try_from(1 + self.random.next() % 15).unwrap();
            let recipients: Vec<u32> = (first..first + count).collect();
            first += count;
            let destination = format!("host{host}");
            let mail = Mail {
                message,
                recipients: &recipients,
                destination: &destination,
                sender,
                priority: 0,
                life,
                due: self.now,
            };
            self.queue.add(self.now, &mail).unwrap();
            self.posted += recipients.len();
            for recipient in recipients {
                self.waiting.insert((message, recipient), (host, State::Waits(self.now)));
            }
        }
    }

    /// Takes all there is to take, and checks that nothing else could be.
    fn drain(&mut self) {
        while let Some(batch) = self.queue.next(self.now) {
            self.begin(batch);
        }
        while let Some(lapse) = self.queue.lapsed(self.now) {
            if let Lapse::Expired { message, recipients, .. } = lapse {
                self.expire(message, &recipients);
            }
        }
        assert_eq!(self.queue.len(), self.waiting.len(), "nothing is forgotten");
        assert_eq!(self.queue.len(), self.posted - self.left());
        if self.events.is_multiple_of(STARVING_EVERY) {
            self.nothing_starves();
        }
    }

    fn begin(&mut self, batch: Batch) {
        let host: usize = batch.destination.strip_prefix("host").unwrap().parse().unwrap();
        for &recipient in &batch.recipients {
            let (at, state) = self.waiting.get_mut(&(batch.message, recipient)).unwrap();
            let State::Waits(due) = *state else { panic!("{recipient} is tried twice at once") };
            assert!(due <= self.now && *at == host, "not before its time, not elsewhere");
            *state = State::Runs;
        }
        assert!(batch.recipients.len() <= self.settings.limits.recipients_max);
        if self.world.mood(host, self.now) == Mood::Dead {
            *self.wasted.entry(host).or_default() += 1;
        }
        let lasts = Duration::from_millis(50 + self.random.next() % 20_000);
        self.running.insert((self.now.after(lasts), self.started), (batch, self.now));
        self.started += 1;
        assert!(self.running.len() <= RUNNING_MAX, "never more than allowed");
        let name = format!("host{host}");
        let here = self.running.values().filter(|(other, _)| *other.destination == *name);
        assert!(here.count() <= 10, "nor at one destination");
    }

    fn end(&mut self, batch: &Batch, started: Time) {
        let host: usize = batch.destination.strip_prefix("host").unwrap().parse().unwrap();
        let mut settled = Vec::new();
        let behavior = match self.world.mood(host, started) {
            Mood::Dead => Behavior::Unreachable,
            Mood::Storm if self.random.next().is_multiple_of(2) => Behavior::Busy,
            Mood::Greylisting => Behavior::Well,
            Mood::Well | Mood::Storm => {
                let is_settled = |_: &&u32| !self.random.next().is_multiple_of(10);
                settled = batch.recipients.iter().filter(is_settled).copied().collect();
                Behavior::Well
            }
        };
        let outcome = Outcome { behavior, settled: &settled, untried: &[], reason: None };
        let after = self.queue.finished(self.now, batch.id, &outcome);
        self.queue.written(self.now, batch.id);
        for recipient in settled {
            // An admin may have taken it out meanwhile; nothing else does.
            match self.waiting.remove(&(batch.message, recipient)) {
                Some((_, State::Runs | State::RunsThenHeld)) => self.delivered += 1,
                other => assert!(other.is_none() && self.removed > 0, "delivered once: {other:?}"),
            }
        }
        for &recipient in &after.held {
            let (_, state) = self.waiting.get_mut(&(batch.message, recipient)).unwrap();
            assert_eq!(std::mem::replace(state, State::Held), State::RunsThenHeld);
        }
        for &recipient in &after.rerouted {
            let (_, state) = self.waiting.get_mut(&(batch.message, recipient)).unwrap();
            assert_eq!(std::mem::replace(state, State::Waits(self.now)), State::Runs);
        }
        for &recipient in &after.later {
            let at = after.at.expect("what is tried later has a time");
            assert!(at > self.now);
            let (_, state) = self.waiting.get_mut(&(batch.message, recipient)).unwrap();
            assert_eq!(std::mem::replace(state, State::Waits(at)), State::Runs);
        }
        self.expire(batch.message, &after.expired);
    }

    fn expire(&mut self, message: u64, recipients: &[u32]) {
        for &recipient in recipients {
            self.expired += 1;
            self.waiting.remove(&(message, recipient)).expect("expired once");
        }
    }

    fn left(&self) -> usize {
        self.delivered + self.expired + self.removed
    }

    /// Whoever is due waits for a reason: all attempts are taken, or its destination is full or
    /// left alone.
    fn nothing_starves(&self) {
        if self.running.len() >= RUNNING_MAX {
            return;
        }
        let figures: BTreeMap<String, _> = self
            .queue
            .figures(self.now, None)
            .map(|figures| (figures.destination.to_string(), figures))
            .collect();
        for (entry, (host, state)) in &self.waiting {
            let figures = &figures[&format!("host{host}")];
            let is_open = figures.closed_until.is_none() && figures.running < figures.limit;
            let is_due = matches!(state, State::Waits(due) if *due <= self.now);
            assert!(!is_due || !is_open, "{entry:?} starves at {figures:?}");
        }
    }
}

fn seeds() -> Vec<u64> {
    match std::env::var("GRACE_SEED") {
        Ok(seed) => vec![seed.parse().expect("GRACE_SEED is a number")],
        Err(_) => (1..=12).collect(),
    }
}

#[test]
fn every_recipient_is_delivered_or_given_up_once() {
    for seed in seeds() {
        let mut simulation = Simulation::new(seed);
        simulation.run();
        let Simulation { posted, delivered, expired, removed, started, wasted, world, .. } =
            &simulation;
        let dead = *wasted.get(&0).unwrap_or(&0);
        println!(
            "seed {seed}: {posted} recipients, {delivered} delivered, {expired} given up, \
             {removed} removed, {started} attempts, {dead} at the dead host"
        );
        assert_eq!(*posted, simulation.left());
        assert!(simulation.queue.is_empty());
        assert!(*delivered > posted / 2 && *expired > 0, "the days have both");
        for host in 0..HOSTS {
            let hours = world.moods[host].iter().filter(|mood| **mood == Mood::Dead).count();
            let wasted = wasted.get(&host).copied().unwrap_or_default();
            // At most 10 that were on their way and six while the wait grows to an hour, each time
            // it dies; then one for each 48 minutes.
            let deaths = world.moods[host]
                .windows(2)
                .filter(|pair| pair[0] != Mood::Dead && pair[1] == Mood::Dead)
                .count()
                + 1;
            let bound = deaths * 16 + hours * 60 / 48;
            assert!(wasted <= bound, "seed {seed}: {wasted} attempts at dead host {host}");
        }
        assert!(dead <= 8 + 8 * 24 * 60 / 48, "{dead} attempts at a host dead for days");
    }
}

#[test]
fn what_the_queue_does_follows_from_the_seed() {
    let run = |seed| {
        let mut simulation = Simulation::new(seed);
        simulation.run();
        (simulation.started, simulation.delivered, simulation.expired, simulation.wasted)
    };
    assert_eq!(run(3), run(3));
}

/// All hosts are well and slow, all senders want all of them, one of them a thousand times as much.
#[test]
fn turns_go_round_senders_of_very_different_volume() {
    for seed in seeds() {
        let mut random = Random::new(seed);
        let mut settings = Settings::default();
        settings.limits.running_max = 4;
        let life = Life::new(&settings.schedule, START, None, None);
        let mut queue = Queue::new(settings, seed).unwrap();
        let mut message = 0;
        let volumes = [5_000, 5, 5, 5, 5];
        for (sender, volume) in (1..).zip(volumes) {
            for _ in 0..volume {
                let destination = format!("host{}", random.next() % 5);
                let mail = Mail {
                    message,
                    recipients: &[0],
                    destination: &destination,
                    sender,
                    priority: 0,
                    life,
                    due: START,
                };
                queue.add(START, &mail).unwrap();
                message += 1;
            }
        }
        let (mut running, mut small, mut turns) = (Vec::new(), 20, 0);
        while small > 0 {
            while let Some(batch) = queue.next(START.after(MINUTE)) {
                small -= u64::from(batch.message >= 5_000);
                turns += 1;
                running.push(batch);
            }
            let index = usize::try_from(random.next() % running.len() as u64).unwrap();
            let batch = running.swap_remove(index);
            let settled = &batch.recipients;
            let outcome = Outcome { behavior: Behavior::Well, settled, untried: &[], reason: None };
            queue.finished(START.after(MINUTE), batch.id, &outcome);
            queue.written(START.after(MINUTE), batch.id);
        }
        // Each of the five gets every fifth turn or more: 5 × 5 turns, twice that with the turns
        // that go to destinations where only the large one has mail.
        assert!(turns <= 50, "seed {seed}: {turns} turns for 20 letters beside 5,000");
    }
}
