//! How often and how long, how many at once: every number the queue goes by.
//!
//! Not here: where the values come from (`server::config`).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Most waits written out one by one. What comes after them is every few hours anyway.
pub const DELAYS_MAX: usize = 32;
/// Most attempts at once that can be asked for: each holds a socket and a buffer.
pub const RUNNING_MAX: usize = 20_000;
/// Most recipients of one transaction that can be asked for. RFC 5321 4.5.3.1.8 makes everybody
/// take 100; with more at once a single refusal sends more of them round again.
pub const RECIPIENTS_MAX: usize = 10_000;

/// When an attempt is made again, and when we give up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Waits after the first failed attempts, in order. Most trouble is over in minutes: a host
    /// that restarts, a greylisting peer (which wants 1 to 5 minutes).
    pub delays: Vec<Duration>,
    /// Shortest wait after those (RFC 5321 4.5.4.1: 2 or 3 hours is the usual slow interval).
    pub late_min: Duration,
    /// Longest wait after those. Chance picks one in between, so that what failed together does not
    /// come back together.
    pub late_max: Duration,
    /// How long a message is tried (RFC 5321 4.5.4.1: 4 to 5 days at least).
    pub lifetime: Duration,
    /// How long before the end the last attempt is made; or what is tried after a restart that came
    /// too late still has, for one attempt.
    pub last_call: Duration,
    /// When the sender first hears that a message is late. Four hours are past every short outage.
    pub first_notice: Duration,
    /// How long until the sender hears it again.
    pub notice_every: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            delays: vec![MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR],
            late_min: 2 * HOUR,
            late_max: 4 * HOUR,
            lifetime: 5 * DAY,
            last_call: 5 * MINUTE,
            first_notice: 4 * HOUR,
            notice_every: DAY,
        }
    }
}

/// How many attempts at once, and how we meet a host in trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Attempts at once, over all destinations: bounds our sockets and memory.
    pub running_max: usize,
    /// Attempts at once to a destination we know nothing of. Big providers refuse a stranger who
    /// opens more than a handful.
    pub destination_start: u32,
    /// Most attempts at once to one destination, however well it goes.
    pub destination_max: u32,
    /// How many attempts must go well before one more at once is dared.
    pub successes_per_step: u32,
    /// How long a destination that could not be reached is left alone at first.
    pub back_off_first: Duration,
    /// How long at most. It doubles from the first to this.
    pub back_off_max: Duration,
    /// Attempts per minute to one destination; none: as many as go through.
    pub attempts_per_minute: Option<u32>,
    /// The same for single destinations, by their name.
    pub rates: BTreeMap<String, u32>,
    /// Recipients of one transaction.
    pub recipients_max: usize,
    /// How long we remember what we learned of a destination that nothing waits for.
    pub idle_keep: Duration,
    /// How many such destinations we remember. Mail to invented domains must not fill the memory.
    pub idle_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            running_max: 500,
            destination_start: 5,
            destination_max: 20,
            successes_per_step: 5,
            back_off_first: MINUTE,
            back_off_max: HOUR,
            attempts_per_minute: None,
            rates: BTreeMap::new(),
            recipients_max: 100,
            idle_keep: HOUR,
            idle_max: 10_000,
        }
    }
}

/// Everything the queue must know before the first message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// When an attempt is made again.
    pub schedule: Schedule,
    /// How many attempts at once.
    pub limits: Limits,
}

/// A setting that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingsError {
    /// Which one.
    pub name: &'static str,
    /// What it must be.
    pub must: &'static str,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be {}", self.name, self.must)
    }
}

impl std::error::Error for SettingsError {}

impl Settings {
    /// Whether a queue can work by these.
    ///
    /// # Errors The first setting that it cannot work by.
    pub fn check(&self) -> Result<(), SettingsError> {
        let Schedule { delays, late_min, late_max, lifetime, .. } = &self.schedule;
        let Schedule { last_call, first_notice, notice_every, .. } = &self.schedule;
        let limits = &self.limits;
        let delays_fit =
            delays.len() <= DELAYS_MAX && delays.iter().all(|delay| (SECOND..=DAY).contains(delay));
        let starts = 1..=limits.destination_max;
        let backs_off = SECOND..=limits.back_off_max;
        let rates = limits.rates.values().chain(&limits.attempts_per_minute);
        let rates_fit = rates.into_iter().all(|rate| (1..=PER_MINUTE_MAX).contains(rate));
        let transactions = 1..=RECIPIENTS_MAX;
        #[rustfmt::skip]
        let rules: &[(bool, &'static str, &'static str)] = &[
            (delays_fit, "delays", "at most 32 waits of one second to one day"),
            ((MINUTE..=DAY).contains(late_min), "late_min", "between one minute and one day"),
            ((*late_min..=DAY).contains(late_max), "late_max", "between late_min and one day"),
            ((HOUR..=30 * DAY).contains(lifetime), "lifetime", "between one hour and 30 days"),
            ((SECOND..HOUR).contains(last_call), "last_call", "between one second and one hour"),
            (*first_notice >= MINUTE, "first_notice", "one minute at least"),
            (*notice_every >= HOUR, "notice_every", "one hour at least"),
            ((1..=RUNNING_MAX).contains(&limits.running_max),
                "running_max", "between 1 and 20,000"),
            (starts.contains(&limits.destination_start),
                "destination_start", "between 1 and destination_max"),
            (limits.successes_per_step >= 1, "successes_per_step", "1 at least"),
            (backs_off.contains(&limits.back_off_first),
                "back_off_first", "between one second and back_off_max"),
            (limits.back_off_max <= DAY, "back_off_max", "one day at most"),
            (rates_fit, "attempts_per_minute", "between 1 and 60,000"),
            (transactions.contains(&limits.recipients_max),
                "recipients_max", "between 1 and 10,000"),
        ];
        match rules.iter().find(|(holds, ..)| !holds) {
            Some(&(_, name, must)) => Err(SettingsError { name, must }),
            None => Ok(()),
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// One attempt a millisecond: what a rate can still be told apart from none.
const PER_MINUTE_MAX: u32 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl Fn(&mut Settings), expected: &str) {
        let mut settings = Settings::default();
        change(&mut settings);
        let found = settings.check().err().map(|error| error.name).unwrap_or_default();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_defaults_work_and_each_rule_bites() {
        check(|_| {}, "");
        check(|s| s.schedule.delays.clear(), "");
        check(|s| s.schedule.delays.push(Duration::ZERO), "delays");
        check(|s| s.schedule.delays = vec![MINUTE; DELAYS_MAX + 1], "delays");
        check(|s| s.schedule.late_min = Duration::ZERO, "late_min");
        check(|s| s.schedule.late_max = HOUR, "late_max");
        check(|s| s.schedule.lifetime = MINUTE, "lifetime");
        check(|s| s.schedule.last_call = HOUR, "last_call");
        check(|s| s.schedule.first_notice = Duration::ZERO, "first_notice");
        check(|s| s.schedule.notice_every = MINUTE, "notice_every");
        check(|s| s.limits.running_max = 0, "running_max");
        check(|s| s.limits.destination_start = 0, "destination_start");
        check(|s| s.limits.destination_start = 21, "destination_start");
        check(|s| s.limits.destination_max = 0, "destination_start");
        check(|s| s.limits.successes_per_step = 0, "successes_per_step");
        check(|s| s.limits.back_off_first = 2 * HOUR, "back_off_first");
        check(|s| s.limits.back_off_max = 2 * DAY, "back_off_max");
        check(|s| s.limits.attempts_per_minute = Some(0), "attempts_per_minute");
        check(|s| s.limits.rates.extend([("x".to_owned(), 0)]), "attempts_per_minute");
        check(|s| s.limits.recipients_max = 0, "recipients_max");
    }

    #[test]
    fn an_error_says_what_to_write_instead() {
        let error = SettingsError { name: "late_max", must: "between late_min and one day" };
        assert_eq!(error.to_string(), "late_max must be between late_min and one day");
    }
}
