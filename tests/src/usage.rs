//! What a process costs, read from `/proc`.
//!
//! Not here: what it did ([`crate::log`]).

use std::fs;
use std::time::{Duration, Instant};

/// A look at one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory, shared pages in full, in KiB (`Rss`).
    pub resident_kib: u64,
    /// Resident memory, shared pages by share, in KiB (`Pss`).
    pub proportional_kib: u64,
    /// Open file descriptors.
    pub files: usize,
    /// Threads.
    pub threads: usize,
}

/// Looks at process `id`.
///
/// # Panics
/// When the process is gone.
#[must_use]
pub fn of(id: u32) -> Usage {
    let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))
        .unwrap_or_else(|error| gone(id, &error));
    let kib = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or_default()
    };
    Usage {
        resident_kib: kib("Rss:"),
        proportional_kib: kib("Pss:"),
        files: entries(id, "fd"),
        threads: entries(id, "task"),
    }
}

/// Waits until `wanted` holds of process `id`, at most `patience`, and returns the last look.
#[must_use]
pub fn settle(id: u32, patience: Duration, wanted: impl Fn(&Usage) -> bool) -> Usage {
    let until = Instant::now() + patience;
    loop {
        let usage = of(id);
        if wanted(&usage) || Instant::now() > until {
            return usage;
        }
        // /proc tells nobody when it changes, so this one is asked again.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The most resident memory process `id` ever had, in KiB (`VmHWM` of proc(5)).
///
/// # Panics
/// When the process is gone.
#[must_use]
pub fn peak_kib(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status"));
    let status = status.unwrap_or_else(|error| gone(id, &error));
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or_default()
}

/// Processor time process `id` has used, in milliseconds.
#[must_use]
pub fn processor_ms(id: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The name in brackets may hold spaces; utime and stime are the 12th and 13th after it, in
    // hundredths of a second (proc(5)).
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 =
        after.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    ticks * 10
}

fn entries(id: u32, folder: &str) -> usize {
    let entries = fs::read_dir(format!("/proc/{id}/{folder}"));
    entries.unwrap_or_else(|error| gone(id, &error)).count()
}

#[expect(clippy::panic, reason = "the process under test must be there")]
fn gone(id: u32, error: &std::io::Error) -> ! {
    panic!("process {id} cannot be looked at: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_size() {
        let usage = of(std::process::id());
        assert!(usage.resident_kib > 100 && usage.files >= 3 && usage.threads >= 1, "{usage:?}");
        assert!(usage.proportional_kib <= usage.resident_kib);
        assert!(peak_kib(std::process::id()) >= usage.resident_kib / 2);
    }
}
