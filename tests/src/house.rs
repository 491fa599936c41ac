//! Runs a daemon in a folder of its own on free loopback ports, and talks to it through `gracectl`.
//!
//! The ports are the daemon's choice (configured as 0) and read from its log, so that any number of
//! houses stand side by side. Invariants: [`House::start`] returns when every door is open; a
//! dropped house leaves no process behind; when a test fails, the daemon's log is shown with it.
//! `GRACE_KEEP=1` keeps the folder. Not here: mail clients ([`crate::script`], [`crate::wire`]).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::log::{self, Log, Mark};
use crate::program;
use crate::script;
use crate::usage::{self, Usage};

/// The domain every house starts with.
pub const DOMAIN: &str = "grace.test";
/// The name a house's daemon greets with.
pub const HOSTNAME: &str = "mail.grace.test";
/// How long a graceful stop may take before the test fails. The daemon's own `shutdown_s` is 10.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// A folder, its configuration, and the daemon that runs in it.
#[derive(Debug)]
pub struct House {
    folder: Folder,
    daemon: Option<Daemon>,
}

/// One run of `graced`.
#[derive(Debug)]
struct Daemon {
    child: Child,
    log: Log,
    ports: BTreeMap<String, u16>,
    opening: Duration,
}

/// Somebody with a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Address, which is the login too.
    pub address: String,
    /// Password.
    pub password: String,
}

/// A temporary folder, kept if `GRACE_KEEP` says so.
#[derive(Debug)]
pub struct Folder(Option<TempDir>);

impl Folder {
    /// A new empty folder.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("grace-test-").tempdir();
        Self(Some(folder.expect("the temporary folder is writable")))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.as_ref().expect("held until dropped").path()
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::env::var_os("GRACE_KEEP").is_some() {
            let kept = self.0.take().map(TempDir::keep);
            crate::figure(&format!("kept {kept:?}"));
        }
    }
}

impl House {
    /// Makes a folder, a configuration and the domain, and starts the daemon.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// The same with more configuration, such as `[limits]` and settings below it.
    #[must_use]
    pub fn start_with(configuration: &str) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), configuration)
    }

    /// The same with the door for other servers at this address: where several houses write to
    /// each other, each needs an address of its own and all the same port.
    #[must_use]
    pub fn start_at(smtp: SocketAddr, configuration: &str) -> Self {
        Self::start_named(HOSTNAME, smtp, configuration)
    }

    /// The same with a name of its own: who meets his own name elsewhere takes it for a circle.
    #[must_use]
    pub fn start_named(hostname: &str, smtp: SocketAddr, configuration: &str) -> Self {
        let folder = Folder::new();
        let text = configuration_text(folder.path(), hostname, smtp, configuration);
        fs::write(folder.path().join("graced.toml"), text).expect("the folder is writable");
        let mut house = Self { folder, daemon: None };
        house.start_again();
        house.ctl_ok(&["domain", "create", DOMAIN]);
        house
    }

    /// Starts the daemon on what is there.
    ///
    /// # Panics
    /// When it does not open every door in time.
    pub fn start_again(&mut self) {
        assert!(self.daemon.is_none(), "the daemon runs");
        let begun = Instant::now();
        let mut child = Command::new(program::ours("graced"))
            .arg("--config")
            .arg(self.folder.path().join("graced.toml"))
            .args(["--log-format", "json"])
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("graced starts");
        let log = Log::read(child.stderr.take().expect("piped"));
        // Kept before the wait, so that a failed wait ends the process too.
        let daemon = Daemon { child, log, ports: BTreeMap::new(), opening: Duration::ZERO };
        let daemon = self.daemon.insert(daemon);
        daemon.log.wait(Mark::START, "ServerStarted", |_| true);
        daemon.opening = begun.elapsed();
        daemon.ports = ports(&daemon.log);
    }

    /// The folder of this house; clients may write below it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The daemon's data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// The admin socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder().join("admin.sock")
    }

    /// What the running daemon says.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.daemon().log
    }

    /// The port of a door, by the name it has in the log: `Smtp`, `Submission`, `Submissions`,
    /// `Imap`, `Imaps`.
    #[must_use]
    pub fn port(&self, service: &str) -> u16 {
        *self.daemon().ports.get(service).expect("a door of that name is open")
    }

    /// Process id of the daemon.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.daemon().child.id()
    }

    /// What the daemon costs now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        usage::of(self.id())
    }

    /// From the start of the process to the last open door.
    #[must_use]
    pub fn opening(&self) -> Duration {
        self.daemon().opening
    }

    /// Makes an account in the house's domain.
    #[must_use]
    pub fn account(&self, name: &str) -> Account {
        let password = format!("pass word of {name} \"quoted\\\"");
        self.account_of(&format!("{name}@{DOMAIN}"), &password)
    }

    /// Makes an account in any domain that the house has.
    pub fn account_of(&self, address: &str, password: &str) -> Account {
        let account = Account { address: address.to_owned(), password: password.to_owned() };
        let name = address.split('@').next().unwrap_or(address);
        let file = self.folder().join(format!("{name}.password"));
        fs::write(&file, &account.password).expect("the folder is writable");
        let file = file.to_string_lossy();
        self.ctl_ok(&["account", "create", &account.address, "--password-file", &file]);
        account
    }

    /// A file with the certificate the daemon shows, for clients that rightly ask for one.
    ///
    /// # Panics
    /// When the daemon shows none.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        let code = "import ssl, sys\n\
                    print(ssl.get_server_certificate(('127.0.0.1', int(sys.argv[1]))))";
        let port = self.port("Imaps").to_string();
        let pem = program::run_ok(script::python().args(["-c", code, &port]));
        let file = self.folder().join("certificate.pem");
        fs::write(&file, pem).expect("the folder is writable");
        file
    }

    /// Logs in over IMAPS and opens the inbox; whether that works.
    #[must_use]
    pub fn lets_in(&self, address: &str, password: &str) -> bool {
        let url = format!("imaps://127.0.0.1:{}/INBOX?ALL", self.port("Imaps"));
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--insecure", "--user", &format!("{address}:{password}"), &url]);
        program::run(&mut curl).status.success()
    }

    /// Runs `gracectl` and returns what it said.
    #[must_use]
    pub fn ctl(&self, arguments: &[&str]) -> Output {
        program::run(self.ctl_command().args(arguments))
    }

    /// `gracectl` for this house, for tests that need the process itself.
    #[must_use]
    pub fn ctl_command(&self) -> Command {
        let mut command = Command::new(program::ours("gracectl"));
        command.arg("--socket").arg(self.socket());
        command
    }

    /// Runs `gracectl`, which must succeed, and returns its standard output.
    pub fn ctl_ok(&self, arguments: &[&str]) -> String {
        program::run_ok(self.ctl_command().args(arguments))
    }

    /// Runs `gracectl … --json`, which must succeed and say JSON.
    #[must_use]
    pub fn ctl_json(&self, arguments: &[&str]) -> Value {
        let text = program::run_ok(self.ctl_command().args(arguments).arg("--json"));
        let json = serde_json::from_str(&text);
        json.unwrap_or_else(|error| Value::String(format!("not JSON ({error}): {text}")))
    }

    /// Messages an account has, as an admin sees it.
    ///
    /// # Panics
    /// When the account is not listed.
    #[must_use]
    pub fn messages(&self, account: &Account) -> u64 {
        let accounts = self.ctl_json(&["account", "list"]);
        let mut rows = accounts.as_array().into_iter().flatten();
        let row = rows.find(|row| log::text(row, "address") == account.address);
        log::number(row.expect("the account is listed"), "messages")
    }

    /// Open mail sessions, by the daemon's own counters.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        let stats = self.ctl_json(&["stats"]);
        let doors = stats.get("sessions").and_then(Value::as_array).expect("sessions by door");
        let mail = doors.iter().filter(|door| log::text(door, "service") != "Admin");
        mail.map(|door| log::number(door, "open")).sum()
    }

    /// Sends the daemon a signal by name (`TERM`, `HUP`).
    pub fn signal(&self, name: &str) {
        send_signal(self.id(), name);
    }

    /// Asks the daemon to stop and waits for it; returns how long that took.
    ///
    /// # Panics
    /// When it does not end with 0 in time, or was not well.
    pub fn stop(&mut self) -> Duration {
        let begun = Instant::now();
        self.signal("TERM");
        self.stop_was_asked();
        begun.elapsed()
    }

    /// Waits for the daemon after it was asked to stop by another way than [`House::stop`].
    ///
    /// # Panics
    /// As [`House::stop`].
    pub fn stop_was_asked(&mut self) {
        let (status, _) = self.wait_end();
        assert!(status.success(), "graced was asked to stop and ended with {status}");
    }

    /// Kills the daemon as a power cut of the process would: no warning, nothing finished. Returns
    /// what it said in its life.
    pub fn kill(&mut self) -> Log {
        let daemon = self.daemon.as_mut().expect("the daemon runs");
        daemon.child.kill().expect("the daemon runs");
        self.wait_end().1
    }

    /// Waits for the daemon's end and looks at its log once more.
    fn wait_end(&mut self) -> (ExitStatus, Log) {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        let status = wait(&mut daemon.child, STOP_PATIENCE);
        daemon.log.finish();
        daemon.log.assert_healthy();
        (status, daemon.log)
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("the daemon runs")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        // Both fail only when the process has already ended, which is what is wanted.
        drop(daemon.child.kill());
        drop(daemon.child.wait());
        daemon.log.finish();
        if std::thread::panicking() {
            let kept = std::env::temp_dir().join(format!("graced-{}.log", daemon.child.id()));
            drop(fs::write(&kept, daemon.log.text()));
            crate::figure(&format!("the failed test's daemon log is {}", kept.display()));
        } else {
            daemon.log.assert_healthy();
        }
    }
}

/// Sends process `id` a signal by name; the shell has `kill` built in.
pub fn send_signal(id: u32, name: &str) {
    program::run_ok(Command::new("sh").args(["-c", "kill -$0 $1", name, &id.to_string()]));
}

/// Waits for a child, at most `patience`.
///
/// # Panics
/// When it has not ended by then; it is killed first.
pub fn wait(child: &mut Child, patience: Duration) -> ExitStatus {
    let until = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status;
        }
        let late = Instant::now() > until;
        if late {
            drop(child.kill());
            drop(child.wait());
        }
        assert!(!late, "the process did not end within {patience:?}");
        // The standard library has no wait with an end.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The configuration of a house; its own settings come last, so that a table may open there.
fn configuration_text(folder: &Path, hostname: &str, smtp: SocketAddr, more: &str) -> String {
    let folder = folder.display();
    format!(
        "hostname = \"{hostname}\"\n\
         data = \"{folder}/data\"\n\
         [listen]\n\
         smtp = [\"{smtp}\"]\n\
         submission = [\"127.0.0.1:0\"]\n\
         submissions = [\"127.0.0.1:0\"]\n\
         imap = [\"127.0.0.1:0\"]\n\
         imaps = [\"127.0.0.1:0\"]\n\
         admin = \"{folder}/admin.sock\"\n\
         {more}\n"
    )
}

/// The ports the daemon chose, by service.
fn ports(log: &Log) -> BTreeMap<String, u16> {
    let mut ports = BTreeMap::new();
    for event in log.events(Mark::START, "Listening") {
        let port = log::text(&event, "address").rsplit_once(':');
        if let Some(Ok(port)) = port.map(|(_, port)| port.parse()) {
            ports.insert(log::text(&event, "service").to_owned(), port);
        }
    }
    ports
}

/// A file of the house for a program to write its output to.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn output_file(path: &Path) -> Stdio {
    Stdio::from(File::create(path).expect("the folder is writable"))
}
