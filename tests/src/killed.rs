//! A sender with a full queue, killed at random moments until everything has arrived.
//!
//! ```text
//!   submit ─▶ graced ══▶ smtp-sink -d: one file a message      the judge reads these files,
//!               ▲  └─▶ log: RecipientSent, when and which      and the logs of all lives
//!            SIGKILL, started again, SIGKILL …
//! ```
//! What must hold: every message that was acknowledged arrives whole; none arrives after the log
//! said that it was sent, and none twice in one life of the sender. So each copy too many is of a
//! delivery that was under way at one kill, which is known, and no kill has more of them than there
//! may be deliveries at once.
//! Not here: messages that come in while it is killed (`scenarios/outbound.rs`).

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::house::{Folder, House};
use crate::log::{self, Log, Mark};
use crate::postfix;
use crate::seed::Seed;
use crate::sink::Sink;
use crate::submit::{self, Load};

/// Deliveries to one destination at once, by the settings a house has.
const UNDER_WAY_MAX: usize = 20;
/// Connections over which the queue is filled.
const FILLING: usize = 4;
/// Bytes of a message.
const BYTES: usize = 4_096;
/// Who gets it.
const FAR: &str = "bob@far.test";
/// Longest time from a message's arrival to the kill, in microseconds: longer than a delivery.
const MOMENT_US_MAX: u64 = 5_000;
/// Longest time until some more messages have arrived.
const ARRIVAL_PATIENCE: Duration = Duration::from_secs(60);
/// How often the sink's folder, or the queue, is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// What chance began with.
    pub seed: u64,
    /// How often it was killed with mail left to send.
    pub kills: u64,
    /// Messages that were acknowledged, all of which arrived.
    pub messages: u64,
    /// Copies beyond the first.
    pub again: usize,
    /// How many of them the median kill caused.
    pub again_median: usize,
    /// How many the worst.
    pub again_max: usize,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, kills, messages, again, again_median, again_max } = self;
        write!(
            f,
            "{kills} kills (seed {seed}) of a sender with {messages} messages: 0 lost, {again} sent \
             again, each under way at a kill (median {again_median}, at most {again_max} of the \
             {UNDER_WAY_MAX} there may be)"
        )
    }
}

/// One copy of a message, as the sink kept it.
#[derive(Debug)]
struct Arrived {
    number: u64,
    queue_id: String,
    at_us: u64,
}

/// Fills a queue with so many messages, kills its sender so often, and judges.
///
/// # Panics
/// When a message is lost, broken, or sent again though it was known to be sent.
#[must_use]
pub fn run(messages: u64, kills: u64) -> Outcome {
    let mut chance = Seed::of_today();
    let seed = chance.start();
    let folder = Folder::new();
    let dump = dump_folder(folder.path());
    let sink = Sink::start(&["-d", &format!("{}/%s.", dump.display())]);
    let mut house = House::start_with(&format!(
        "[queue]\nsmart_host = \"127.0.0.1:{}\"\nretry_after = [\"1s\"]\n\
         [door]\nmessages_per_hour_account = 0\n",
        sink.port()
    ));
    let ann = house.account("ann");
    // Who connects to it now waits for a greeting, so that the queue fills first.
    sink.pause();
    let load = Load { from: &ann, to: FAR, bytes: BYTES, connections: FILLING };
    let acknowledged = submit::submit(house.port("Submission"), load, &(0..messages));
    assert_eq!(acknowledged.len() as u64, messages, "the queue takes everything");
    sink.resume();

    let (mut told, mut killed) = (BTreeMap::new(), 0);
    // When each life but the first began.
    let mut lives: Vec<u64> = Vec::new();
    // Half as much in the mean as there is for each kill, so that all of them meet a full queue.
    let share_max = messages / kills.max(1);
    while killed < kills {
        let wanted = count(&dump) + chance.between(0, share_max);
        wait_until("more has arrived", || count(&dump) >= wanted.min(messages));
        if count(&dump) >= messages {
            break;
        }
        // The moment is the test's input, not a wait for something.
        thread::sleep(Duration::from_micros(chance.between(0, MOMENT_US_MAX)));
        told.extend(sent(&house.kill()));
        killed += 1;
        lives.push(now_us());
        house.start_again();
    }
    let is_done = || house.ctl_json(&["queue", "list"]).as_array().is_some_and(Vec::is_empty);
    wait_until("the queue is empty", is_done);
    told.extend(sent(house.log()));
    house.stop();
    drop(sink);
    let mut again = judge(&arrivals(&dump), &told, &lives, messages, seed);
    again.sort_unstable();
    let (again_median, again_max) = (
        again.get(again.len() / 2).copied().unwrap_or_default(),
        again.last().copied().unwrap_or_default(),
    );
    assert!(again_max <= UNDER_WAY_MAX, "seed {seed}: {again:?} sent again after each kill");
    let again = again.into_iter().sum();
    Outcome { seed, kills: killed, messages, again, again_median, again_max }
}

/// Compares what arrived with what was sent and what the sender said of it, and returns for each
/// kill how many deliveries were under way that were made again.
fn judge(
    arrived: &[Arrived],
    told: &BTreeMap<String, u64>,
    lives: &[u64],
    messages: u64,
    seed: u64,
) -> Vec<usize> {
    let mut copies = vec![Vec::new(); usize::try_from(messages).unwrap_or_default()];
    for Arrived { number, queue_id, at_us } in arrived {
        let place = usize::try_from(*number).ok().and_then(|number| copies.get_mut(number));
        let life = lives.partition_point(|begun_us| begun_us <= at_us);
        place.expect("only numbered messages were sent").push(life);
        // The file's time is that of its last byte, before the sink said 250.
        let sent_us = told.get(queue_id).copied().unwrap_or(u64::MAX);
        assert!(
            *at_us <= sent_us,
            "seed {seed}: number {number} arrived at {at_us} once more, sent since {sent_us}"
        );
    }
    let is_lost = |number: &usize| copies.get(*number).is_some_and(Vec::is_empty);
    let lost: Vec<usize> = (0..copies.len()).filter(is_lost).collect();
    assert!(lost.is_empty(), "seed {seed}: lost {lost:?}");
    let mut again = vec![0; lives.len()];
    for (number, lives) in copies.iter_mut().enumerate() {
        lives.sort_unstable();
        for (life, next) in lives.iter().zip(lives.iter().skip(1)) {
            assert!(life < next, "seed {seed}: number {number} came twice in one life");
            // It came in this life and was not known to be sent when that was ended.
            *again.get_mut(*life).expect("another life follows") += 1;
        }
    }
    again
}

/// Now, as files' times are.
fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Which messages a log says are sent, and when.
fn sent(log: &Log) -> BTreeMap<String, u64> {
    let events = log.events(Mark::START, "RecipientSent");
    events.iter().map(|e| (log::text(e, "queue_id").to_owned(), log::number(e, "ts"))).collect()
}

/// A folder that the sink may write to.
fn dump_folder(folder: &Path) -> PathBuf {
    let dump = folder.join("arrived");
    fs::create_dir(&dump).expect("the folder is writable");
    for path in [folder, &dump] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("the folder is ours");
    }
    chown(&dump, postfix::user("postfix"), None).expect("root gives a folder away");
    dump
}

fn count(dump: &Path) -> u64 {
    fs::read_dir(dump).expect("the folder is there").count() as u64
}

/// Every message that arrived whole. A file that ends early is of a delivery that was cut off.
fn arrivals(dump: &Path) -> Vec<Arrived> {
    let entries = fs::read_dir(dump).expect("the folder is there");
    let mut arrived = Vec::new();
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        let text = fs::read_to_string(&path).expect("the file can be read");
        let meta = fs::metadata(&path).expect("the file is there");
        let nanos = u64::try_from(meta.mtime_nsec()).unwrap_or_default();
        let at_us = u64::try_from(meta.mtime()).unwrap_or_default() * 1_000_000 + nanos / 1_000;
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        if body.trim_end() != submit::body(BYTES).replace("\r\n", "\n").trim_end() {
            continue;
        }
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let number = field("Subject: number ").and_then(|number| number.parse().ok());
        let queue_id = field("\tid ").unwrap_or_default();
        let queue_id = queue_id.trim_end_matches(';').to_owned();
        arrived.push(Arrived { number: number.expect("a number"), queue_id, at_us });
    }
    arrived
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + ARRIVAL_PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "waited until {what}");
        // Neither the folder nor the queue tells us.
        thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(number: u64, at_us: u64) -> Arrived {
        Arrived { number, queue_id: format!("q{number}"), at_us }
    }

    fn told() -> BTreeMap<String, u64> {
        BTreeMap::from([("q0".to_owned(), 20), ("q1".to_owned(), 30)])
    }

    #[test]
    fn a_copy_before_it_was_known_is_allowed_once_a_life() {
        let arrived = [arrived(0, 5), arrived(0, 12), arrived(0, 19), arrived(1, 29)];
        assert_eq!(judge(&arrived, &told(), &[10, 15, 25], 2, 0), [1, 1, 0]);
    }

    #[test]
    #[should_panic(expected = "number 0 came twice in one life")]
    fn two_in_one_life_are_not() {
        judge(&[arrived(0, 11), arrived(0, 12), arrived(1, 29)], &told(), &[10], 2, 0);
    }

    #[test]
    #[should_panic(expected = "arrived at 21 once more")]
    fn a_copy_after_it_was_known_is_not() {
        judge(&[arrived(0, 5), arrived(0, 21), arrived(1, 29)], &told(), &[10], 2, 0);
    }

    #[test]
    #[should_panic(expected = "lost [1]")]
    fn nothing_may_be_lost() {
        judge(&[arrived(0, 5)], &told(), &[], 2, 0);
    }
}
