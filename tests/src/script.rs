//! Runs the Python programs of `scripts/`: clients nobody here wrote (smtplib, imaplib, ssl).
//!
//! A script takes its arguments as one JSON object, and prints its result as one JSON object, the
//! last line of its standard output; what it prints before is for people who read a failure.
//! Invariant: a script that fails, fails the test with everything it said.
//! Not here: what the scripts do; each says so in its own head.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::house::{Account, House};
use crate::program;

/// Debian's own Python, which has Debian's Python packages, before any other.
#[must_use]
pub fn python() -> Command {
    let system = Path::new("/usr/bin/python3");
    let mut command = Command::new(if system.exists() { system } else { Path::new("python3") });
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
    command
}

/// Runs `scripts/<name>.py` to its end and returns its result.
///
/// # Panics
/// When it fails or its last line is no JSON.
#[must_use]
pub fn run(name: &str, arguments: &Value) -> Value {
    let said = program::run_ok(command(name).arg(arguments.to_string()));
    let last = said.lines().last().unwrap_or_default();
    let result: Result<Value, _> = serde_json::from_str(last);
    assert!(result.is_ok(), "{name}.py ended without a result:\n{said}");
    result.unwrap_or_default()
}

/// What most scripts need to know of a house: its ports and some accounts.
#[must_use]
pub fn about(house: &House, accounts: &[&Account]) -> Value {
    let account = |a: &&Account| json!({"address": a.address, "password": a.password});
    json!({
        "smtp": house.port("Smtp"),
        "submission": house.port("Submission"),
        "submissions": house.port("Submissions"),
        "imap": house.port("Imap"),
        "imaps": house.port("Imaps"),
        "folder": house.folder().to_string_lossy(),
        "accounts": accounts.iter().map(account).collect::<Vec<_>>(),
    })
}

/// The same and more: the fields of `more` added to those of `arguments`.
#[must_use]
pub fn with(mut arguments: Value, more: &Value) -> Value {
    let fields = more.as_object().into_iter().flatten();
    if let Some(told) = arguments.as_object_mut() {
        told.extend(fields.map(|(name, value)| (name.clone(), value.clone())));
    }
    arguments
}

/// Has the first of these accounts send one message through its house's submission door, and waits
/// until that is acknowledged.
///
/// # Panics
/// When it is not.
pub fn send_one(house: &House, accounts: &[&Account], to: &str) {
    let submission = house.port("Submission");
    let order = json!({ "do": "send", "submission": submission, "to": to, "count": 1 });
    let sent = Partner::start("relay", &about(house, accounts)).ask(&order);
    assert_eq!(sent.get("acknowledged"), Some(&json!([0])), "{sent}");
}

/// A script that runs beside the test and is told what to do, one JSON object a line, each answered
/// by one.
#[derive(Debug)]
pub struct Partner {
    name: String,
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Partner {
    /// Starts `scripts/<name>.py`.
    #[must_use]
    pub fn start(name: &str, arguments: &Value) -> Self {
        Self::start_with(name, arguments, |_| {})
    }

    /// The same, with something done to the command first, such as lending it a screen.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_with(name: &str, arguments: &Value, prepare: impl Fn(&mut Command)) -> Self {
        let mut command = command(name);
        prepare(&mut command);
        let mut child = command
            .arg(arguments.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| program::missing("python3", &error));
        let orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Self { name: name.to_owned(), child, orders, answers }
    }

    /// Gives an order without waiting for its answer.
    ///
    /// # Panics
    /// When the script has ended.
    pub fn tell(&mut self, order: &Value) {
        let sent = writeln!(self.orders, "{order}").and_then(|()| self.orders.flush());
        assert!(sent.is_ok(), "{}.py ended before {order}", self.name);
    }

    /// Waits for the next answer.
    ///
    /// # Panics
    /// When the script ends instead.
    pub fn answer(&mut self) -> Value {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        let answer = serde_json::from_str(&line);
        assert!(answer.is_ok(), "{}.py gave no answer: {read:?} {line:?}", self.name);
        answer.unwrap_or_default()
    }

    /// Gives an order and waits for its answer.
    pub fn ask(&mut self, order: &Value) -> Value {
        self.tell(order);
        self.answer()
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        // Both fail only when the script has already ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(name: &str) -> Command {
    let mut command = python();
    command.arg(program::tests_folder().join("scripts").join(format!("{name}.py")));
    command
}
