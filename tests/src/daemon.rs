//! A daemon to be measured: as a fresh installation, its log in a file as a service's is.
//!
//! Invariants: its settings are those of a fresh installation, but for ports, and for limits that
//! keep strangers and stolen passwords from doing what a load does; it ends when dropped, and with
//! whoever started it.
//! Not here: the load.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use grace_tests::house::{self, Account, DOMAIN, Folder, HOSTNAME};
use grace_tests::{log, program};

/// One that runs.
#[derive(Debug)]
pub(crate) struct Daemon {
    folder: Folder,
    child: Child,
}

impl Daemon {
    /// Starts one that listens as `listen` says, lines of that section, with `more` settings behind
    /// a line of `[limits]`; returns when `port` and the admin's socket are open and the domain is
    /// made.
    pub(crate) fn start(listen: &str, more: &str, port: u16) -> Result<Self, String> {
        let folder = Folder::new();
        let at = folder.path().to_string_lossy().into_owned();
        let configuration = format!(
            "hostname = \"{HOSTNAME}\"\ndata = \"{at}/data\"\n\
             [listen]\n{listen}\nadmin = \"{at}/admin.sock\"\n\
             [limits]\nconnections_per_address_max = 1000\n{more}\n"
        );
        let file = folder.path().join("graced.toml");
        fs::write(&file, configuration).map_err(|error| error.to_string())?;
        let child = Self::spawn(&folder)?;
        let daemon = Self { folder, child };
        daemon.wait_open(port)?;
        daemon.ctl(&["domain", "create", DOMAIN]);
        Ok(daemon)
    }

    fn spawn(folder: &Folder) -> Result<Child, String> {
        program::bound(program::ours("graced"))
            .arg("--config")
            .arg(folder.path().join("graced.toml"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(house::output_file(&folder.path().join("log")))
            .spawn()
            .map_err(|error| format!("graced: {error}"))
    }

    /// Stops it in order and starts it again on what is there.
    pub(crate) fn restart(&mut self, port: u16) -> Result<(), String> {
        house::send_signal(self.child.id(), "TERM");
        house::wait(&mut self.child, log::PATIENCE);
        self.child = Self::spawn(&self.folder)?;
        self.wait_open(port)
    }

    fn wait_open(&self, port: u16) -> Result<(), String> {
        let until = Instant::now() + log::PATIENCE;
        let admin = self.folder.path().join("admin.sock");
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
            || UnixStream::connect(&admin).is_err()
        {
            if Instant::now() > until {
                let said = fs::read_to_string(self.folder.path().join("log"));
                return Err(format!("graced does not open: {}", said.unwrap_or_default()));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Makes an account.
    pub(crate) fn create(&self, account: &Account) -> Result<(), String> {
        let file = self.folder.path().join("password");
        fs::write(&file, &account.password).map_err(|error| error.to_string())?;
        let file = file.to_string_lossy();
        self.ctl(&["account", "create", &account.address, "--password-file", &file]);
        Ok(())
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn ctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(program::ours("gracectl"));
        command.arg("--socket").arg(self.folder.path().join("admin.sock"));
        program::run_ok(command.args(arguments))
    }

    /// What `gracectl` lists.
    pub(crate) fn rows(&self, arguments: &[&str]) -> Result<Vec<Value>, String> {
        let text = self.ctl(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
