//! Processes that the rig starts: the system's tools, the writer, the check.
//!
//! Invariants: whoever waits for one waits for its output to end, and never longer than its limit;
//! a process that is dropped is killed and gone.
//! Not here: what is done with their words (`rig`).

use std::io::{self, BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Something that happens while a process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// It said something.
    Line(String),
    /// It says nothing more.
    Ended,
    /// The power went.
    Cut,
}

/// A running process.
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Starts one whose lines are sent to `listener`. Its standard input stays open until it is
    /// dropped.
    pub(super) fn start(command: &mut Command, listener: Sender<Event>) -> Result<Self, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed(command, &error))?;
        if let Some(output) = child.stdout.take() {
            listen(output, listener);
        }
        Ok(Self { child })
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) {
        // It fails only for a process that has ended.
        drop(self.child.kill());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        drop(self.child.wait());
    }
}

fn failed(command: &Command, error: &io::Error) -> String {
    format!("cannot start {}: {error}", command.get_program().display())
}

/// Sends lines until there are no more. Who is not listened to any more ends by itself.
fn listen(output: impl Read + Send + 'static, listener: Sender<Event>) {
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line).into_owned();
            if listener.send(Event::Line(line)).is_err() {
                return;
            }
        }
        drop(listener.send(Event::Ended));
    });
}

/// Lines until the output ends, or until the limit is over: then the second is false.
pub(super) fn lines(events: &Receiver<Event>, limit: Duration) -> (Vec<String>, bool) {
    let deadline = Instant::now() + limit;
    let mut lines = Vec::new();
    loop {
        match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Event::Line(line)) => lines.push(line),
            Ok(Event::Cut) => {}
            Ok(Event::Ended) | Err(RecvTimeoutError::Disconnected) => return (lines, true),
            Err(RecvTimeoutError::Timeout) => return (lines, false),
        }
    }
}

/// Runs a tool of the system to its end and returns what it said.
///
/// # Errors
/// It cannot be started, takes longer than the limit, or fails.
pub(super) fn tool(command: &mut Command, limit: Duration) -> Result<String, String> {
    let called = |command: &Command| {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    };
    let (reader, writer) = io::pipe().map_err(|error| format!("a pipe: {error}"))?;
    let errors = writer.try_clone().map_err(|error| format!("a pipe: {error}"))?;
    command.stdin(Stdio::null()).stdout(writer).stderr(errors);
    let child = command.spawn().map_err(|error| failed(command, &error))?;
    // Our ends of the pipe; else it would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process { child };
    let (sender, events) = channel();
    listen(reader, sender);
    let (lines, has_ended) = lines(&events, limit);
    let said = lines.join("\n");
    if !has_ended {
        return Err(format!("{}: no end after {limit:?}\n{said}", called(command)));
    }
    match process.child.wait() {
        Ok(status) if status.success() => Ok(said),
        Ok(status) => Err(format!("{}: {status}\n{said}", called(command))),
        Err(error) => Err(format!("{}: {error}", called(command))),
    }
}
