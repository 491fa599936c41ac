//! Debian's Postfix in a folder of its own on a free loopback port: a server nobody here wrote.
//!
//! ```text
//!   Postfix::start(settings) ─▶ folder/{etc,queue,data,maillog} ─▶ master ─▶ smtpd, qmgr, smtp …
//! ```
//! Invariants: [`Postfix::start`] returns when the port is open; nothing of the machine's own
//! Postfix is read or written; a dropped one leaves no process behind.
//! Not here: what tests say to it; the sink it may send to ([`crate::sink`]).

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::house::{self, Folder};
use crate::{log, program};

/// How long it may take to start, or to write a line that a test waits for.
const PATIENCE: Duration = log::PATIENCE;
/// How long it may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// How often a file is asked whether it has grown: nobody tells us.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// A running Postfix.
#[derive(Debug)]
pub struct Postfix {
    folder: Folder,
    script: Child,
    port: u16,
}

/// Why it cannot run here; none when it can.
#[must_use]
pub fn absent() -> Option<&'static str> {
    if !Path::new("/usr/lib/postfix/sbin/master").exists() {
        return Some("postfix is not installed");
    }
    // It starts as root and gives that up itself.
    (user("self").is_none_or(|id| id != 0)).then_some("postfix can only be started by root")
}

impl Postfix {
    /// Starts one with more settings, one a line as in `main.cf`.
    ///
    /// # Panics
    /// When it does not open its port in time.
    #[must_use]
    pub fn start(settings: &str) -> Self {
        Self::start_on(free_port(), settings)
    }

    /// The same on a port of one's choice.
    ///
    /// # Panics
    /// As [`Postfix::start`].
    #[must_use]
    pub fn start_on(port: u16, settings: &str) -> Self {
        let folder = Folder::new();
        let at = folder.path();
        fs::set_permissions(at, Permissions::from_mode(0o755)).expect("the folder is ours");
        for name in ["etc", "queue", "data"] {
            fs::create_dir(at.join(name)).expect("the folder is writable");
        }
        chown(at.join("data"), user("postfix"), None).expect("root gives a folder away");
        let filled = |text: &str| {
            let text = text.replace("@DIR@", &at.to_string_lossy());
            text.replace("@PORT@", &port.to_string())
        };
        let main = filled(&[include_str!("main.cf"), settings, "\n"].concat());
        fs::write(at.join("etc/main.cf"), main).expect("the folder is writable");
        let master = filled(include_str!("master.cf"));
        fs::write(at.join("etc/master.cf"), master).expect("the folder is writable");
        let script = Command::new("postfix")
            .arg("-c")
            .arg(at.join("etc"))
            .arg("start-fg")
            .stdin(Stdio::null())
            .stdout(house::output_file(&at.join("said")))
            .stderr(Stdio::null())
            .spawn();
        let script = script.unwrap_or_else(|error| program::missing("postfix", &error));
        let postfix = Self { folder, script, port };
        postfix.wait_until("it listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        postfix
    }

    /// Its port for mail.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its folder; `@DIR@` in settings.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Process id of its master, whose children do the work.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.wait_until("the master has a number", || {
            let text = fs::read_to_string(self.folder().join("data/master.lock")).ok()?;
            text.trim().parse().ok()
        })
    }

    /// Tries everything that waits, now.
    pub fn flush(&self) {
        program::run_ok(self.tool("postqueue").arg("-f"));
    }

    /// How many messages wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        program::run_ok(self.tool("postqueue").arg("-j")).lines().count()
    }

    /// What it wrote into its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder().join("maillog")).unwrap_or_default()
    }

    /// Waits for a line of its log that contains all `parts`, and returns it.
    ///
    /// # Panics
    /// When none comes in time, with its log.
    pub fn wait_log(&self, parts: &[&str]) -> String {
        self.wait_until(&format!("its log says {parts:?}"), || {
            let log = self.log();
            let mut lines = log.lines();
            let line = lines.find(|line| parts.iter().all(|part| line.contains(part)));
            line.map(str::to_owned)
        })
    }

    /// Waits until `look` finds something.
    ///
    /// # Panics
    /// When it does not in time, with the log.
    pub fn wait_until<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            let said = || fs::read_to_string(self.folder().join("said")).unwrap_or_default();
            let late = Instant::now() > until;
            assert!(!late, "Postfix: waited until {what}\n{}{}", said(), self.log());
            thread::sleep(ASK_EVERY);
        }
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.arg("-c").arg(self.folder().join("etc"));
        command
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let lock = fs::read_to_string(self.folder().join("data/master.lock"));
        if let Some(id) = lock.ok().and_then(|text| text.trim().parse::<u32>().ok()) {
            // The master takes its children along. It fails when there is no master any more.
            drop(program::run(Command::new("kill").arg(id.to_string())));
            let until = Instant::now() + STOP_PATIENCE;
            while matches!(self.script.try_wait(), Ok(None)) && Instant::now() < until {
                thread::sleep(ASK_EVERY);
            }
        }
        drop(self.script.kill());
        drop(self.script.wait());
    }
}

/// A port that nobody listened on a moment ago: Postfix takes none by itself.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("bound").port()
}

/// The number of a user; of who runs this for `self`.
#[must_use]
pub fn user(name: &str) -> Option<u32> {
    let mut command = Command::new("id");
    command.arg("-u");
    if name != "self" {
        command.arg(name);
    }
    String::from_utf8_lossy(&program::run(&mut command).stdout).trim().parse().ok()
}
