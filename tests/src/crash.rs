//! `grace-tests crash`: drills without end, or until one shows a violation.
//!
//! ```text
//!   seed ─▶ its way to fail ─▶ each operation of its workload ─▶ a drill
//! ```
//! Each core takes seeds; another thread tells how far they are, and ends the program when a drill
//! does not come to an end: that is a violation, too.
//! Not here: the drills ([`grace_tests::drill`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use grace_tests::drill::chore::{self, Chore};
use grace_tests::drill::{Drill, Failing, Then, points};

/// What it is called with.
pub(crate) const USAGE: &str = "grace-tests crash [--minutes N] [--from SEED] [--drill NAME]";

/// How long a drill may take; one takes some milliseconds.
const DRILL_LIMIT: Duration = Duration::from_secs(20);
/// How often the number of drills is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What is drilled, in turn.
#[derive(Clone, Copy)]
enum Way {
    /// Transactions.
    Work(Failing, Then),
    /// A chore.
    Chore(Chore, Failing, Then),
}

const WAYS: [Way; 19] = [
    Way::Work(Failing::PowerCut, Then::PowerCut),
    Way::Work(Failing::PowerCut, Then::Restart),
    Way::Work(Failing::Eio, Then::PowerCut),
    Way::Work(Failing::PowerCut, Then::PowerCut),
    Way::Work(Failing::Eio, Then::Restart),
    Way::Work(Failing::Full, Then::PowerCut),
    Way::Work(Failing::Lie, Then::PowerCut),
    Way::Work(Failing::Read, Then::PowerCut),
    Way::Work(Failing::Brim, Then::Restart),
    Way::Work(Failing::Brim, Then::PowerCut),
    Way::Work(Failing::Flip, Then::PowerCut),
    Way::Work(Failing::Flip, Then::Restart),
    Way::Chore(Chore::Backup, Failing::PowerCut, Then::PowerCut),
    Way::Chore(Chore::Again, Failing::PowerCut, Then::PowerCut),
    Way::Chore(Chore::Again, Failing::Eio, Then::Restart),
    Way::Chore(Chore::Rekey, Failing::PowerCut, Then::PowerCut),
    Way::Chore(Chore::Rekey, Failing::Full, Then::PowerCut),
    Way::Chore(Chore::Compact, Failing::PowerCut, Then::PowerCut),
    Way::Chore(Chore::Compact, Failing::Eio, Then::PowerCut),
];

impl Way {
    fn points(self, seed: u64) -> u64 {
        match self {
            Self::Work(failing, _) => points(failing, seed),
            Self::Chore(chore, ..) => chore::points(chore, seed),
        }
    }

    /// The name that repeats the drill.
    fn name(self, seed: u64, operation: u64) -> String {
        match self {
            Self::Work(failing, then) => Drill { failing, then, seed, operation }.to_string(),
            Self::Chore(chore, failing, then) => {
                chore::Drill { chore, failing, then, seed, operation }.to_string()
            }
        }
    }

    fn attempt(self, seed: u64, operation: u64) -> Result<(), String> {
        let attempted = match self {
            Self::Work(failing, then) => Drill { failing, then, seed, operation }.attempt(),
            Self::Chore(chore, failing, then) => {
                chore::Drill { chore, failing, then, seed, operation }.attempt()
            }
        };
        attempted.map_err(|words| format!("drill {}: {words}", self.name(seed, operation)))
    }
}

/// Does what the options say; `None`: they say nothing that makes sense.
pub(crate) fn run(options: &[String]) -> Option<Result<(), String>> {
    let (mut minutes, mut from) = (1u64, 1_000u64);
    for pair in options.chunks(2) {
        let [name, value] = pair else { return None };
        match name.as_str() {
            "--minutes" => minutes = value.parse().ok()?,
            "--from" => from = value.parse().ok()?,
            "--drill" => return Some(replay(value)),
            _ => return None,
        }
    }
    Some(crash(Duration::from_secs(minutes * 60), from))
}

/// Repeats the drill of this name.
fn replay(name: &str) -> Result<(), String> {
    match name.parse::<chore::Drill>() {
        Ok(drill) => drill.attempt(),
        Err(_) => name.parse::<Drill>()?.attempt(),
    }
}

/// The drill of a thread; operation 0 is the run that counts the operations.
#[derive(Clone, Copy)]
struct Running {
    way: Way,
    seed: u64,
    operation: u64,
    since: Instant,
}

/// What the threads that drill share with the one that watches them.
struct Watched {
    /// What each thread does, and since when.
    running: Vec<Mutex<Option<Running>>>,
    points: AtomicU64,
    violation: Mutex<Option<String>>,
}

impl Watched {
    fn found(&self) -> bool {
        locked(&self.violation).is_some()
    }

    /// A drill that does not come to an end.
    fn stuck(&self) -> Option<String> {
        self.running.iter().find_map(|running| {
            let Running { way, seed, operation, since } = (*locked(running))?;
            let name = way.name(seed, operation);
            let seconds = DRILL_LIMIT.as_secs();
            let replay = "replay: cargo run --release -p grace-tests -- crash --drill";
            let words = || format!("drill {name} has not ended in {seconds} s\n{replay} {name}");
            (since.elapsed() > DRILL_LIMIT).then(words)
        })
    }
}

/// Runs drills until the time is over or one shows a violation.
fn crash(limit: Duration, from: u64) -> Result<(), String> {
    let (began, seeds) = (Instant::now(), AtomicU64::new(from));
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let watched = Watched {
        running: (0..cores).map(|_| Mutex::default()).collect(),
        points: AtomicU64::new(0),
        violation: Mutex::default(),
    };
    // A violation is told in one place; a panic's own words would only repeat it.
    std::panic::set_hook(Box::new(|_| {}));
    thread::scope(|scope| {
        let (alive, ended) = mpsc::channel::<()>();
        for running in &watched.running {
            let (alive, seeds, watched) = (alive.clone(), &seeds, &watched);
            scope.spawn(move || {
                drill(&|| began.elapsed() < limit, seeds, running, watched);
                drop(alive);
            });
        }
        drop(alive);
        // Nothing is ever sent: the channel ends with the last thread.
        while ended.recv_timeout(TELL_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
            let points = watched.points.load(Ordering::Relaxed);
            eprintln!("{points} crash points in {:.0} s", began.elapsed().as_secs_f64());
            if let Some(words) = watched.stuck() {
                // A thread cannot be ended from outside.
                eprintln!("{words}");
                std::process::exit(1);
            }
        }
    });
    println!(
        "{} crash points over seeds {from} to {} in {:.0} s",
        watched.points.into_inner(),
        seeds.into_inner() - 1,
        began.elapsed().as_secs_f64()
    );
    match watched.violation.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => {
            println!("no violation");
            Ok(())
        }
        Some(words) => Err(words),
    }
}

/// Runs drills, seed by seed.
fn drill(
    is_time: &dyn Fn() -> bool,
    seeds: &AtomicU64,
    running: &Mutex<Option<Running>>,
    watched: &Watched,
) {
    while is_time() && !watched.found() {
        let seed = seeds.fetch_add(1, Ordering::Relaxed);
        let way = usize::try_from(seed).unwrap_or(0) % WAYS.len();
        let Some(&way) = WAYS.get(way) else { continue };
        *locked(running) = Some(Running { way, seed, operation: 0, since: Instant::now() });
        for operation in 1..=way.points(seed) {
            if !is_time() || watched.found() {
                break;
            }
            *locked(running) = Some(Running { way, seed, operation, since: Instant::now() });
            if let Err(words) = way.attempt(seed, operation) {
                *locked(&watched.violation) = Some(words);
            }
            watched.points.fetch_add(1, Ordering::Relaxed);
        }
        *locked(running) = None;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
