//! Who else uses the processors: a figure taken beside a compiler is not one of the engine.
//!
//! Of the time that is neither idle nor of an interrupt, what is not ours, not of our children and
//! not of the kernel's own threads (which write our dirty pages) is foreign.
//! Invariant: waiting for quiet is bounded, by figure and by run.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// As much of all processors in foreign use counts as quiet, in percent.
const QUIET_PERCENT: f64 = 20.0;
/// A figure taken while more of them was in foreign use is noisy, in percent.
pub(crate) const NOISY_PERCENT: f64 = 25.0;
/// How long is looked.
const LOOK: Duration = Duration::from_secs(1);
/// Longest wait before one figure.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The kernel's mark of its own threads (`PF_KTHREAD`).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// What the processors did since the start, in ticks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticks {
    all: u64,
    busy: u64,
    stolen: u64,
    own: u64,
    kernel: u64,
}

/// The numbers of a `stat` line of a process, from its state on (proc(5), from field 3).
fn numbers(stat: &str) -> Vec<u64> {
    // The name before may hold anything, a parenthesis as well.
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    rest.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect()
}

fn sum(numbers: &[u64], fields: std::ops::RangeInclusive<usize>) -> u64 {
    numbers.get(fields.start() - 3..=fields.end() - 3).unwrap_or_default().iter().sum()
}

fn kernel_ticks() -> u64 {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ticks = |entry: fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let numbers = numbers(&stat);
        let is_kernel = sum(&numbers, 9..=9) & KERNEL_THREAD != 0;
        if is_kernel { sum(&numbers, 14..=15) } else { 0 }
    };
    processes.map(ticks).sum()
}

/// The counts as of now.
pub(crate) fn look() -> Ticks {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let cpu: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .map(|word| word.parse().unwrap_or(0))
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let own = numbers(&fs::read_to_string("/proc/self/stat").unwrap_or_default());
    Ticks {
        all: cpu.iter().take(8).sum(),
        busy: cpu.iter().take(3).sum(),
        stolen: cpu.get(7).copied().unwrap_or(0),
        own: sum(&own, 14..=17),
        kernel: kernel_ticks(),
    }
}

/// Shares of all processors.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Noise {
    pub(crate) foreign_percent: f64,
    /// Taken by other guests of the same host.
    pub(crate) stolen_percent: f64,
}

impl Ticks {
    /// Who used the processors from `before` to this.
    pub(crate) fn since(self, before: Self) -> Noise {
        let all = self.all.saturating_sub(before.all).max(1);
        let ours = (self.own + self.kernel).saturating_sub(before.own + before.kernel);
        let foreign = self.busy.saturating_sub(before.busy).saturating_sub(ours);
        let percent = |ticks: u64| crate::job::float(100 * ticks) / crate::job::float(all);
        let stolen_percent = percent(self.stolen.saturating_sub(before.stolen));
        Noise { foreign_percent: percent(foreign), stolen_percent }
    }
}

/// What is left of a run's patience.
pub(crate) struct Patience {
    left: Duration,
}

impl Patience {
    pub(crate) fn new(left: Duration) -> Self {
        Self { left }
    }

    /// Waits until others leave the processors alone, while there is patience.
    pub(crate) fn await_quiet(&mut self) {
        let start = Instant::now();
        while !self.left.saturating_sub(start.elapsed()).is_zero() && start.elapsed() < WAIT_MAX {
            let before = look();
            thread::sleep(LOOK);
            if look().since(before).foreign_percent < QUIET_PERCENT {
                break;
            }
        }
        self.left = self.left.saturating_sub(start.elapsed().saturating_sub(LOOK));
    }
}
