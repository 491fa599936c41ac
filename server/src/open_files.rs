//! How many files and connections the system lets the daemon have open.
//!
//! Systems start programs with room for 1,024, which is less than the connections the settings
//! allow, and let each raise that itself (`getrlimit(2)`: the soft limit, up to the hard one).
//! Not here: what the connections are (`net`), how many there may be (`config`).

use std::cmp::min;

use crate::config::Config;

/// Files the daemon itself has open at most: its database, its sockets, its log.
const FILES_OF_ITS_OWN: u64 = 1_000;

/// Makes room for what the settings allow, and tells the log where the system refuses.
pub fn raise(config: &Config) {
    let limits = &config.limits;
    let wanted = limits.connections_max + config.queue.attempts_max + FILES_OF_ITS_OWN;
    if let Err(allowed) = raise_to(wanted) {
        tracing::warn!(
            target: "grace",
            event = "FewOpenFiles",
            wanted,
            allowed,
            advice = "raise the hard limit (LimitNOFILE= of the service, ulimit -Hn), or lower \
                      limits.connections_max",
        );
    }
}

/// Makes room for so many; else says how many there may be.
#[cfg(unix)]
fn raise_to(wanted: u64) -> Result<(), u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(now) = current.filter(|now| *now < wanted) else { return Ok(()) };
    let possible = maximum.map_or(wanted, |maximum| min(maximum, wanted));
    let is_raised =
        setrlimit(Resource::Nofile, Rlimit { current: Some(possible), maximum }).is_ok();
    let allowed = if is_raised { possible } else { now };
    if allowed < wanted { Err(allowed) } else { Ok(()) }
}

/// Other systems have no such limit.
#[cfg(not(unix))]
fn raise_to(_: u64) -> Result<(), u64> {
    Ok(())
}
