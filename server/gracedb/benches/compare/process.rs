//! What this process has cost so far, from `/proc`, and waiting for what tells nobody.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Outcome;

/// Between two looks at memory.
const LOOK: Duration = Duration::from_millis(10);
/// Between two looks at background work.
const STEP: Duration = Duration::from_millis(10);
/// Background work that has not ended by then is left alone.
const PATIENCE: Duration = Duration::from_secs(120);

fn status_kib(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The most resident memory this process ever had, in KiB, mapped files counted too.
pub(crate) fn peak_kib() -> u64 {
    status_kib("VmHWM:")
}

/// Looks every few milliseconds at the memory that is not of files.
pub(crate) struct Watcher {
    peak_kib: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(crate) fn start() -> Self {
        let (peak_kib, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (peak, ends) = (Arc::clone(&peak_kib), Arc::clone(&over));
        // `/proc` tells nobody when it changes, so it is asked again and again.
        let look = move || {
            while !ends.load(Ordering::Relaxed) {
                peak.fetch_max(status_kib("RssAnon:"), Ordering::Relaxed);
                thread::sleep(LOOK);
            }
        };
        Self { peak_kib, over, thread: Some(thread::spawn(look)) }
    }

    /// The most it saw, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        self.peak_kib.fetch_max(status_kib("RssAnon:"), Ordering::Relaxed);
        self.peak_kib.load(Ordering::Relaxed)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Bytes this process has sent to drives, as the kernel counts them: without the file system's own.
pub(crate) fn written_bytes() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let field = |name: &str| {
        let line = io.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().parse::<u64>().unwrap_or(0)
    };
    field("write_bytes:").saturating_sub(field("cancelled_write_bytes:"))
}

/// Waits until background work was not seen for `quiet`: an engine that only answers a question is
/// asked again and again.
pub(crate) fn await_quiet(quiet: Duration, is_quiet: impl Fn() -> Outcome<bool>) -> Outcome<()> {
    let begun = Instant::now();
    let mut since = begun;
    while since.elapsed() < quiet && begun.elapsed() < PATIENCE {
        if !is_quiet()? {
            since = Instant::now();
        }
        thread::sleep(STEP);
    }
    Ok(())
}
