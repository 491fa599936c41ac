//! `smtp-sink`, which comes with Postfix: a server that takes every message and keeps none, or each
//! in a file of its own.
//!
//! Invariant: a dropped one leaves no process behind.
//! Not here: reading what it kept (the tests know what they sent).

use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::{house, log, postfix, program};

/// How often the port is tried.
const ASK_EVERY: Duration = Duration::from_millis(5);
/// Connections that may wait to be taken.
const BACKLOG: &str = "256";

/// A running sink.
#[derive(Debug)]
pub struct Sink {
    child: Child,
    port: u16,
}

impl Sink {
    /// Starts one with some of its options.
    ///
    /// # Panics
    /// When it does not open its port in time.
    #[must_use]
    pub fn start(options: &[&str]) -> Self {
        Self::start_on(postfix::free_port(), options)
    }

    /// Starts one on a port of one's choice.
    ///
    /// # Panics
    /// As [`Sink::start`].
    #[must_use]
    pub fn start_on(port: u16, options: &[&str]) -> Self {
        let mut command = Command::new("smtp-sink");
        command.args(options);
        if postfix::user("self") == Some(0) {
            // It does not run as root.
            command.args(["-u", "postfix"]);
        }
        command.args([&format!("127.0.0.1:{port}"), BACKLOG]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| program::missing("smtp-sink", &error));
        let sink = Self { child, port };
        let until = Instant::now() + log::PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(Instant::now() < until, "smtp-sink does not listen");
            thread::sleep(ASK_EVERY);
        }
        sink
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops its clock: who connects waits for a greeting.
    pub fn pause(&self) {
        house::send_signal(self.child.id(), "STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        house::send_signal(self.child.id(), "CONT");
    }

    /// Waits for its end, which `-M` brings after so many messages.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn wait_end(&mut self, patience: Duration) {
        house::wait(&mut self.child, patience);
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
