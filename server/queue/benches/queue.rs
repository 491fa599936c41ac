//! Mail in, mail tried, mail out: how many a second, and how much memory while it waits.
//!
//! `cargo bench -p grace-queue [-- FILTER]`
//! ```text
//!   round   one add, one next, one finished, beside so many that wait
//!   fill    so many adds: time and memory of what waits for its turn
//!   sleep   the same for what waits for its time
//! ```
//! Each message has one recipient, the costly case; a thousand senders write to ten thousand
//! destinations. Not here: the disk, which costs far more.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench fails by panicking")]

use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use grace_queue::capacity::Behavior;
use grace_queue::queue::{Mail, Outcome, Queue};
use grace_queue::schedule::Life;
use grace_queue::settings::{Schedule, Settings};
use grace_queue::time::Time;

#[global_allocator]
static MEMORY: AllocProfiler = AllocProfiler::system();

const NOW: Time = Time::from_secs(1_800_000_000);
const SIZES: [u64; 3] = [1_000, 100_000, 1_000_000];
const SENDERS: u64 = 1_000;
const DESTINATIONS: u64 = 10_000;
/// Messages of one measured round.
const ROUND: u64 = 1_000;

fn main() {
    divan::main();
}

struct Post {
    names: Vec<String>,
    life: Life,
    next: u64,
}

impl Post {
    fn new() -> Self {
        let names = (0..DESTINATIONS).map(|number| format!("destination{number}.example"));
        let life = Life::new(&Schedule::default(), NOW, None, None);
        Self { names: names.collect(), life, next: 0 }
    }

    fn add(&mut self, queue: &mut Queue, due: Time) {
        // Senders and destinations in an order that is none.
        let mixed = self.next.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let destination = &self.names[usize::try_from(mixed % DESTINATIONS).unwrap()];
        let mail = Mail {
            message: self.next,
            recipients: &[0],
            destination,
            sender: mixed / DESTINATIONS % SENDERS,
            priority: 0,
            life: self.life,
            due,
        };
        queue.add(NOW, &mail).unwrap();
        self.next += 1;
    }
}

fn queue() -> Queue {
    Queue::new(Settings::default(), 1).unwrap()
}

#[divan::bench(args = SIZES, sample_count = 50)]
fn round(bencher: Bencher<'_, '_>, waiting: u64) {
    let (mut queue, mut post) = (queue(), Post::new());
    for _ in 0..waiting {
        post.add(&mut queue, NOW);
    }
    bencher.counter(ItemsCount::new(ROUND)).bench_local(|| {
        for _ in 0..ROUND {
            post.add(&mut queue, NOW);
            let batch = queue.next(NOW).unwrap();
            let settled = &batch.recipients;
            let behavior = Behavior::Well;
            let outcome = Outcome { behavior, settled, untried: &[], reason: None };
            queue.finished(NOW, batch.id, &outcome);
            queue.written(NOW, batch.id);
        }
    });
}

#[divan::bench(args = SIZES, sample_count = 3)]
fn fill(bencher: Bencher<'_, '_>, waiting: u64) {
    filled(bencher, waiting, NOW);
}

#[divan::bench(args = SIZES, sample_count = 3)]
fn sleep(bencher: Bencher<'_, '_>, waiting: u64) {
    filled(bencher, waiting, NOW.after(Duration::from_secs(60)));
}

fn filled(bencher: Bencher<'_, '_>, waiting: u64, due: Time) {
    bencher.counter(ItemsCount::new(waiting)).with_inputs(Post::new).bench_local_values(|post| {
        let (mut queue, mut post) = (queue(), post);
        for _ in 0..waiting {
            post.add(&mut queue, due);
        }
        queue
    });
}
