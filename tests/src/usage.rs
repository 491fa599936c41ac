//! What a process costs, read from `/proc`.
//!
//! Not here: what it did ([`crate::log`]).

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
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
    Usage {
        resident_kib: field_kib(&rollup, "Rss:"),
        proportional_kib: field_kib(&rollup, "Pss:"),
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
    field_kib(&status, "VmHWM:")
}

/// Lets [`peak_kib`] of process `id` begin anew with what it has now.
///
/// # Panics
/// When the process is gone.
pub fn forget_peak(id: u32) {
    fs::write(format!("/proc/{id}/clear_refs"), "5").expect("the process is there and ours");
}

/// Processor time process `id` has used, in milliseconds.
#[must_use]
pub fn processor_ms(id: u32) -> u64 {
    // utime and stime are the 12th and 13th after the name, in hundredths of a second (proc(5)).
    stat(id).iter().skip(11).take(2).sum::<u64>() * 10
}

/// Process `id` and all that it started, and they, that live now.
#[must_use]
pub fn family(id: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|child: u32| Some((child, u32::try_from(*stat(child).get(1)?).ok()?)))
        .collect();
    let mut family = vec![id];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(parents.iter().filter(|pair| pair.1 == parent).map(|pair| pair.0));
        next += 1;
    }
    family
}

/// Processor time that process `id` and all that it started have used, those that ended too, in
/// milliseconds: whoever waits for a process inherits its time.
#[must_use]
pub fn family_processor_ms(id: u32) -> u64 {
    // utime, stime, cutime and cstime.
    let ticks = |id: u32| stat(id).iter().skip(11).take(4).sum::<u64>();
    family(id).into_iter().map(ticks).sum::<u64>() * 10
}

/// Memory of process `id` and all that it started, shared pages by share, in KiB.
#[must_use]
pub fn family_kib(id: u32) -> u64 {
    let kib = |id: u32| {
        let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
        field_kib(&rollup, "Pss:")
    };
    family(id).into_iter().map(kib).sum()
}

/// Waits until process `id` and all that it started use no processor any more, and returns what
/// they have used, in milliseconds.
///
/// # Errors
/// They do not rest within `patience`.
pub fn rest(id: u32, patience: Duration) -> Result<u64, String> {
    /// So long without work is rest.
    const REST: Duration = Duration::from_millis(500);
    let until = Instant::now() + patience;
    let mut used_ms = family_processor_ms(id);
    while Instant::now() < until {
        // Resting is that time passes and nothing happens.
        std::thread::sleep(REST);
        let now_ms = family_processor_ms(id);
        if now_ms <= used_ms + 10 {
            return Ok(now_ms);
        }
        used_ms = now_ms;
    }
    Err(format!("process {id} does not rest within {patience:?}"))
}

/// The most memory process `id` and all that it started have while `work` is done, in KiB, and what
/// `work` returned. Looking costs time: what is measured must not be measured meanwhile.
pub fn peak_during<T>(id: u32, work: impl FnOnce() -> T) -> (T, u64) {
    /// How often memory is looked at.
    const LOOK_EVERY: Duration = Duration::from_millis(50);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = family_kib(id).max(most);
                std::thread::sleep(LOOK_EVERY);
            }
            most
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        (done, looking.join().unwrap_or_default())
    })
}

/// What stands after the name in `/proc/<id>/stat`: the state, which is no number and 0 here, the
/// parent, and so on. Nothing for a process that is gone.
fn stat(id: u32) -> Vec<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The name in brackets may hold spaces.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after.split_whitespace().map(|word| word.parse().unwrap_or_default()).collect()
}

fn field_kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or_default()
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
        assert!(family_kib(std::process::id()) > 100);
        assert!(family(std::process::id()).contains(&std::process::id()));
    }
}
