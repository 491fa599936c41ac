//! A queue with a clock that the test turns.

use std::time::Duration;

use grace_queue::capacity::Behavior;
use grace_queue::queue::{After, Batch, Mail, Outcome, Queue};
use grace_queue::schedule::Life;
use grace_queue::settings::Settings;
use grace_queue::time::Time;

/// When every test begins.
pub(crate) const START: Time = Time::from_secs(1_800_000_000);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// A queue and the present time.
pub(crate) struct Office {
    pub(crate) queue: Queue,
    pub(crate) now: Time,
    pub(crate) settings: Settings,
}

impl Office {
    pub(crate) fn new(change: impl Fn(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        change(&mut settings);
        let queue = Queue::new(settings.clone(), 1).unwrap();
        Self { queue, now: START, settings }
    }

    pub(crate) fn life(&self) -> Life {
        Life::new(&self.settings.schedule, self.now, None, None)
    }

    /// A message from sender 1 for recipients 0, 1, 2 … of a destination.
    pub(crate) fn post(&mut self, message: u64, count: u32, destination: &str) {
        self.post_from(1, message, count, destination);
    }

    pub(crate) fn post_from(&mut self, sender: u64, message: u64, count: u32, destination: &str) {
        let recipients: Vec<u32> = (0..count).collect();
        let life = self.life();
        let mail = mail(message, &recipients, destination, life);
        self.queue.add(self.now, &Mail { sender, ..mail }).unwrap();
    }

    pub(crate) fn next(&mut self) -> Option<Batch> {
        self.queue.next(self.now)
    }

    /// Everything that may be tried now.
    pub(crate) fn all(&mut self) -> Vec<Batch> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// The attempt delivers to everybody.
    pub(crate) fn delivered(&mut self, batch: &Batch) -> After {
        let settled = &batch.recipients;
        self.ended(batch, Behavior::Well, settled, &[])
    }

    /// The attempt fails for everybody.
    pub(crate) fn failed(&mut self, batch: &Batch, behavior: Behavior) -> After {
        self.ended(batch, behavior, &[], &[])
    }

    pub(crate) fn ended(
        &mut self,
        batch: &Batch,
        behavior: Behavior,
        settled: &[u32],
        untried: &[u32],
    ) -> After {
        let reason = (behavior != Behavior::Well).then_some("421 4.3.2 not now");
        let outcome = Outcome { behavior, settled, untried, reason };
        let after = self.queue.finished(self.now, batch.id, &outcome);
        self.queue.written(self.now, batch.id);
        after
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    /// How long the queue wants to sleep.
    pub(crate) fn sleeps(&self) -> Option<Duration> {
        self.queue.wake_at().map(|at| at.since(self.now))
    }
}

pub(crate) fn mail<'a>(
    message: u64,
    recipients: &'a [u32],
    destination: &'a str,
    life: Life,
) -> Mail<'a> {
    Mail { message, recipients, destination, sender: 1, priority: 0, life, due: life.started }
}
