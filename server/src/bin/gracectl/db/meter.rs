//! Progress of long work, on one line of a terminal that is drawn over and over, and the interrupt
//! that ends the work.
//!
//! ```text
//!   journal [########--------]  50%  1.0 GiB of 2.0 GiB  320 MiB/s  3 s left
//! ```
//! Where standard error is no terminal there is a plain line every half minute, for logs.
//! Invariants: nothing of it is left on the terminal when the work is over; the first interrupt
//! asks the work to end, the second ends the program.
//! Not here: results ([`super::show`]).

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use grace_ipc::database::DbProgress;
use grace_ipc::text::Plain;

use crate::units::{bytes, span};

/// Least time between two drawings.
const DRAW_WAIT: Duration = Duration::from_millis(100);
/// Time between two plain lines.
const LINE_WAIT: Duration = Duration::from_secs(30);
/// Nothing is drawn for work that is over by then.
const QUIET: Duration = Duration::from_millis(300);
/// Columns of the bar.
const BAR: usize = 16;
/// Columns of a terminal that does not tell.
const COLUMNS: usize = 80;
/// The rate is that of about the last so many seconds.
const RATE_S: f64 = 3.0;

/// Follows one work.
pub(super) struct Meter {
    begun: Instant,
    drawn: Option<Instant>,
    is_terminal: bool,
    is_shown: bool,
    rate: Rate,
    interrupted: Arc<AtomicBool>,
}

impl Meter {
    pub(super) fn start() -> Self {
        Self {
            begun: Instant::now(),
            drawn: None,
            is_terminal: io::stderr().is_terminal(),
            is_shown: false,
            rate: Rate::default(),
            interrupted: interrupts(),
        }
    }

    /// Takes the newest word; says whether to go on.
    pub(super) fn hear(&mut self, progress: &DbProgress) -> bool {
        let (now, wait) = (Instant::now(), if self.is_terminal { DRAW_WAIT } else { LINE_WAIT });
        self.rate.take(progress.done, now.duration_since(self.begun).as_secs_f64());
        let due = match self.drawn {
            Some(drawn) => now.duration_since(drawn) >= wait,
            None => now.duration_since(self.begun) >= if self.is_terminal { QUIET } else { wait },
        };
        if due {
            self.drawn = Some(now);
            self.draw(&line(progress, self.rate.bytes_s));
        }
        !self.interrupted.load(Ordering::Relaxed)
    }

    /// A line that cannot be written is no reason to end the work.
    fn draw(&mut self, line: &str) {
        let mut err = io::stderr().lock();
        if self.is_terminal {
            let line: String = line.chars().take(columns().saturating_sub(1)).collect();
            drop(write!(err, "\r{line}\x1b[K").and_then(|()| err.flush()));
            self.is_shown = true;
        } else {
            drop(writeln!(err, "{line}"));
        }
    }

    /// Takes the line off the terminal.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let mut err = io::stderr().lock();
            drop(write!(err, "\r\x1b[K").and_then(|()| err.flush()));
        }
    }

    /// The work is over; says how long it took.
    pub(super) fn stop(mut self) -> Duration {
        self.clear();
        self.begun.elapsed()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.clear();
    }
}

/// How fast work goes on.
#[derive(Debug, Default, Clone, Copy)]
struct Rate {
    bytes_s: f64,
    done: u64,
    at_s: f64,
}

impl Rate {
    fn take(&mut self, done: u64, at_s: f64) {
        let (step_s, step) = (at_s - self.at_s, done.saturating_sub(self.done));
        if step_s <= 0.0 {
            return;
        }
        let share = if self.at_s == 0.0 { 1.0 } else { (step_s / RATE_S).min(1.0) };
        self.bytes_s += (float(step) / step_s - self.bytes_s) * share;
        (self.done, self.at_s) = (done, at_s);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

/// What is shown.
fn line(progress: &DbProgress, bytes_s: f64) -> String {
    let DbProgress { doing, done, total } = progress;
    let doing = Plain(doing);
    if *total == 0 {
        return format!("{doing} …");
    }
    let share = u128::from(*done.min(total)) * 1_000 / u128::from(*total);
    let permille = usize::try_from(share).unwrap_or(0);
    let filled = permille * BAR / 1_000;
    let bar = format!("{}{}", "#".repeat(filled), "-".repeat(BAR - filled));
    let percent = permille / 10;
    let mut line = format!("{doing} [{bar}] {percent:>3}%  {} of {}", bytes(*done), bytes(*total));
    if bytes_s >= 1.0 {
        let left_s = float(total - done.min(total)) / bytes_s;
        let rate = Duration::from_secs_f64(1.0).mul_f64(bytes_s.min(1e15)).as_secs();
        let left = Duration::from_secs_f64(left_s.ceil().clamp(1.0, 1e9));
        line.push_str(&format!("  {}/s  {} left", bytes(rate), span(left)));
    }
    line
}

#[cfg(unix)]
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(COLUMNS)
}

#[cfg(not(unix))]
fn columns() -> usize {
    COLUMNS
}

/// Hears the interrupts of this process from now on, on a thread of its own.
fn interrupts() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let said = Arc::clone(&interrupted);
    let listen = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                said.store(true, Ordering::Relaxed);
            }
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(EXIT_INTERRUPTED);
            }
        });
    };
    // Without it an interrupt ends the program at once, as ever.
    drop(std::thread::Builder::new().name("interrupts".to_owned()).spawn(listen));
    interrupted
}

/// What a shell reports of a program that an interrupt ended.
const EXIT_INTERRUPTED: i32 = 130;

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done: u64, total: u64) -> DbProgress {
        DbProgress { doing: "journal".to_owned(), done, total }
    }

    #[test]
    fn the_line_says_how_far_and_how_long() {
        let half = line(&progress(1 << 30, 2 << 30), 256.0 * 1_048_576.0);
        let expected = "journal [########--------]  50%  1.0 GiB of 2.0 GiB  256 MiB/s  4 s left";
        assert_eq!(half, expected);
        assert_eq!(line(&progress(0, 0), 0.0), "journal …");
        let full = line(&progress(5, 5), 0.0);
        assert_eq!(full, "journal [################] 100%  5 B of 5 B");
        assert!(line(&progress(9, 5), 1.0).contains("100%"), "more than was known");
    }

    #[test]
    fn the_rate_follows_what_happens() {
        let mut rate = Rate::default();
        rate.take(1_000, 1.0);
        assert!((rate.bytes_s - 1_000.0).abs() < 1.0);
        for second in 2..40 {
            rate.take(1_000 + (second - 1) * 3_000, float(second));
        }
        assert!((rate.bytes_s - 3_000.0).abs() < 1.0, "{rate:?}");
    }
}
