//! The counters of the admin protocol, gathered from those who have them.
//!
//! Invariant: sums over all mailboxes are taken again only after a commit, and for subscriptions at
//! most once a second; a quiet daemon reads nothing. Not here: counting (`telemetry::counters`).

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use grace_ipc::event::Service;
use grace_ipc::message::{EventCount, SessionCount, Stats};

use super::desk::Desk;
use crate::mailbox::read::Totals;
use crate::services::Services;
use crate::store::failure::Failure;
use crate::telemetry::counters::{Counters, SERVICES};

/// How old sums over all mailboxes may be for a subscription: with a hundred thousand mailboxes
/// they take some tens of milliseconds.
const SUMS_AGE_MAX: Duration = Duration::from_secs(1);

/// What has to be read from the database, kept until it may have changed.
#[derive(Debug, Default)]
pub(super) struct Sums {
    last: Mutex<Option<Taken>>,
}

#[derive(Debug, Clone, Copy)]
struct Taken {
    commits: u64,
    at: Instant,
    totals: Totals,
    accounts: u64,
    domains: u64,
}

impl Sums {
    /// The sums now, or those of a moment ago if that will do.
    fn take(&self, services: &Services, commits: u64, exact: bool) -> Result<Taken, Failure> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = *last {
            let fresh = !exact && taken.at.elapsed() < SUMS_AGE_MAX;
            if taken.commits == commits || fresh {
                return Ok(taken);
            }
        }
        let taken = Taken {
            commits,
            at: Instant::now(),
            totals: services.mailboxes.totals()?,
            accounts: services.directory.accounts()?.len() as u64,
            domains: services.directory.domains()?.len() as u64,
        };
        *last = Some(taken);
        Ok(taken)
    }
}

/// The counters now. `exact`: read again what may have changed; else up to a second old.
pub(super) fn stats(desk: &Desk, exact: bool) -> Result<Stats, Failure> {
    let services = desk.services();
    let counters = services.porter.bus.counters();
    let database = services.db.stats()?;
    let sums = desk.sums().take(services, database.sequence, exact)?;
    let (admin_total, admin_open) = desk.sessions();
    let mut sessions = vec![];
    let mut connections_total = 0;
    for service in SERVICES {
        let (total, open) = counters.connections(service);
        connections_total += total;
        sessions.push(SessionCount { service, open: clamp(open), total });
    }
    sessions.push(SessionCount {
        service: Service::Admin,
        open: clamp(admin_open),
        total: admin_total,
    });
    Ok(Stats {
        uptime_s: desk.uptime().as_secs(),
        resident_bytes: resident_bytes(),
        sessions,
        connections_total,
        connections_refused: counters.connections_refused.get(),
        messages_accepted: counters.messages_accepted.get(),
        messages_refused: counters.messages_refused.get(),
        messages_delivered: counters.messages_delivered.get(),
        messages_appended: counters.messages_appended.get(),
        logins_ok: counters.logins_succeeded.get(),
        logins_failed: counters.logins_failed.get(),
        stored_bytes: sums.totals.bytes,
        messages_stored: sums.totals.messages,
        mailboxes: sums.totals.mailboxes,
        accounts: sums.accounts,
        domains: sums.domains,
        db_commits: database.commits,
        db_syncs: database.syncs,
        events: events(counters),
    })
}

/// Counters that have no field of their own.
fn events(counters: &Counters) -> Vec<EventCount> {
    let named = [
        ("CommandRefused", &counters.commands_refused),
        ("DoorRefused", &counters.door_refused),
        ("MessagesExpunged", &counters.messages_expunged),
        ("SessionPanicked", &counters.sessions_panicked),
        ("TlsFailed", &counters.tls_failed),
        ("all", &counters.events),
    ];
    let counts =
        named.map(|(name, counter)| EventCount { name: name.to_owned(), count: counter.get() });
    counts.into_iter().filter(|event| event.count > 0).collect()
}

fn clamp(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Resident memory of this process, in bytes; 0 where the system does not tell.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_is_known() {
        assert!(resident_bytes() > 100 * 1_024);
    }
}
