//! What a daemon says on standard error: its events, to be waited for and counted.
//!
//! Invariant: every line is kept, in order; one that is no JSON is kept as text (a panic's
//! message). Not here: starting the daemon ([`crate::house`]).

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a wait for an event may take before the test fails. Machines that test are slow at
/// times; nothing a test waits for takes more than a second on a quiet one.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Last lines shown when a wait fails.
const LINES_SHOWN: usize = 40;

/// A growing log.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    all: Vec<Line>,
    ended: bool,
}

/// One line of the log.
#[derive(Debug, Clone)]
pub struct Line {
    /// As written.
    pub text: String,
    /// As JSON; null where it is none.
    pub json: Value,
}

impl Line {
    /// Name of the event it tells; empty where it tells none.
    #[must_use]
    pub fn event(&self) -> &str {
        text(&self.json, "event")
    }
}

/// The text of a field; empty where there is none.
#[must_use]
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The number of a field.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn number(value: &Value, field: &str) -> u64 {
    let number = value.get(field).and_then(Value::as_u64);
    assert!(number.is_some(), "no number {field:?} in {value}");
    number.unwrap_or_default()
}

/// A place in the log; a wait looks at what comes after it.
#[derive(Debug, Clone, Copy)]
pub struct Mark(usize);

impl Mark {
    /// The beginning.
    pub const START: Self = Self(0);
}

impl Log {
    /// Reads `source` to its end in a thread of its own.
    #[must_use]
    pub fn read(source: impl Read + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n') {
                let Ok(line) = line else { break };
                let text = String::from_utf8_lossy(&line).into_owned();
                let json = serde_json::from_str(&text).unwrap_or(Value::Null);
                lock(&writer.lines).all.push(Line { text, json });
                writer.grown.notify_all();
            }
            lock(&writer.lines).ended = true;
            writer.grown.notify_all();
        });
        Self { shared, reader: Some(reader) }
    }

    /// The end of the log as it is now.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(lock(&self.shared.lines).all.len())
    }

    /// Waits for an event named `event`, after `mark`, that `wanted` accepts.
    ///
    /// # Panics
    /// When it does not come in time, or the daemon ends before; with the log's last lines.
    pub fn wait(&self, mark: Mark, event: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_count(mark, event, 1, wanted).pop().expect("one was waited for")
    }

    /// Waits until `count` such events stand after `mark`, and returns them.
    ///
    /// # Panics
    /// As [`Log::wait`].
    pub fn wait_count(
        &self,
        mark: Mark,
        event: &str,
        count: usize,
        wanted: impl Fn(&Value) -> bool,
    ) -> Vec<Value> {
        let lines = self.wait_lines(mark, event, count, |l| l.event() == event && wanted(&l.json));
        lines.into_iter().map(|line| line.json).collect()
    }

    /// Waits for a line after `mark` that contains `part`, and returns it.
    ///
    /// # Panics
    /// As [`Log::wait`].
    pub fn wait_text(&self, mark: Mark, part: &str) -> String {
        let mut lines = self.wait_lines(mark, part, 1, |line| line.text.contains(part));
        lines.pop().expect("one was waited for").text
    }

    /// Waits until `count` lines after `mark` are `wanted`; `what` names them in a failure.
    fn wait_lines(
        &self,
        mark: Mark,
        what: &str,
        count: usize,
        wanted: impl Fn(&Line) -> bool,
    ) -> Vec<Line> {
        let until = Instant::now() + PATIENCE;
        let mut found = Vec::new();
        let mut next = mark.0;
        let mut lines = lock(&self.shared.lines);
        loop {
            for line in lines.all.get(next..).unwrap_or_default() {
                if found.len() < count && wanted(line) {
                    found.push(line.clone());
                }
            }
            next = lines.all.len();
            if found.len() == count {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || lines.ended {
                let seen = found.len();
                fail(&format!("waited for {count} × {what}, saw {seen}"), &lines);
            }
            lines = match self.shared.grown.wait_timeout(lines, left) {
                Ok((lines, _)) => lines,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Every event named `event` after `mark`, as far as the log is now.
    #[must_use]
    pub fn events(&self, mark: Mark, event: &str) -> Vec<Value> {
        let lines = lock(&self.shared.lines);
        let after = lines.all.get(mark.0..).unwrap_or_default();
        after.iter().filter(|l| l.event() == event).map(|l| l.json.clone()).collect()
    }

    /// The whole log as text.
    #[must_use]
    pub fn text(&self) -> String {
        lock(&self.shared.lines).all.iter().fold(String::new(), |mut text, line| {
            text.push_str(&line.text);
            text.push('\n');
            text
        })
    }

    /// Fails if anything panicked, failed for good, or an event was lost, up to now.
    ///
    /// # Panics
    /// With the line that tells.
    pub fn assert_healthy(&self) {
        const ILLNESSES: &[&str] = &["panicked at", "SessionPanicked", "StoreFailed"];
        let lines = lock(&self.shared.lines);
        let ill = |line: &&Line| ILLNESSES.iter().any(|illness| line.text.contains(illness));
        if let Some(line) = lines.all.iter().find(ill) {
            fail(&format!("the daemon is not well: {}", line.text), &lines);
        }
    }

    /// Waits for the end of the log: the daemon has ended.
    pub fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            // The reader only pushes to a list; were it to panic, the list still stands.
            drop(reader.join());
        }
    }
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the test with the log's last lines.
#[expect(clippy::panic, reason = "the end of a failed wait")]
fn fail(what: &str, lines: &Lines) -> ! {
    let from = lines.all.len().saturating_sub(LINES_SHOWN);
    let mut text = String::new();
    for line in lines.all.get(from..).unwrap_or_default() {
        writeln!(text, "  {}", line.text).expect("a String takes any text");
    }
    panic!("{what}\nthe log ends so:\n{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_find_events_after_the_mark() {
        let text = "{\"event\":\"A\",\"n\":1}\nnot json\n{\"event\":\"A\",\"n\":2}\n";
        let mut log = Log::read(text.as_bytes());
        assert_eq!(log.wait(Mark::START, "A", |_| true)["n"], 1);
        assert_eq!(log.wait(Mark(1), "A", |_| true)["n"], 2);
        assert_eq!(log.wait_count(Mark::START, "A", 2, |_| true).len(), 2);
        log.finish();
        assert_eq!(log.events(Mark::START, "A").len(), 2);
        log.assert_healthy();
    }

    #[test]
    #[should_panic(expected = "waited for 1 × B, saw 0")]
    fn a_wait_ends_with_the_log() {
        Log::read(&b"{\"event\":\"A\"}\n"[..]).wait(Mark::START, "B", |_| true);
    }

    #[test]
    #[should_panic(expected = "the daemon is not well")]
    fn a_panic_is_an_illness() {
        let mut log = Log::read(&b"thread 'x' panicked at y.rs:1:1:\n"[..]);
        log.finish();
        log.assert_healthy();
    }
}
