//! Debian's Dovecot in a folder of its own on a free loopback port: a mail store nobody here wrote.
//!
//! ```text
//!   Dovecot::start() ─▶ folder/{dovecot.conf,mail,dovecot.log} ─▶ dovecot ─▶ imap-login, imap …
//! ```
//! Invariants: [`Dovecot::start`] returns when the port is open; nothing of the machine's own
//! Dovecot is read or written; it ends when dropped, and with whoever started it.
//! Not here: what is said to it.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::house::{self, Folder};
use crate::{log, postfix, program};

/// The password of every login.
pub const PASSWORD: &str = "pass";
/// How long it may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// How often its port is asked whether it is open: nobody tells us.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// Whose files the mail is.
const OWNER: &str = "mail";

/// A running Dovecot.
#[derive(Debug)]
pub struct Dovecot {
    folder: Folder,
    master: Child,
    port: u16,
}

/// Why it cannot run here; none when it can.
#[must_use]
pub fn absent() -> Option<&'static str> {
    if !Path::new("/usr/lib/dovecot/imap").exists() {
        return Some("dovecot is not installed (Debian: dovecot-imapd)");
    }
    // It starts as root and gives that up itself.
    (postfix::user("self") != Some(0)).then_some("dovecot can only be started by root")
}

impl Dovecot {
    /// Starts one.
    ///
    /// # Errors
    /// It does not open its port in time: what it said.
    ///
    /// # Panics
    /// The temporary folder cannot be written, or a tool is missing.
    pub fn start() -> Result<Self, String> {
        let (folder, port) = (Folder::new(), postfix::free_port());
        let at = folder.path();
        // Its processes give root up on the way to the mail.
        fs::set_permissions(at, Permissions::from_mode(0o755)).expect("the folder is ours");
        fs::create_dir(at.join("mail")).expect("the folder is writable");
        let owner = postfix::user(OWNER);
        chown(at.join("mail"), owner, owner).expect("root gives a folder away");
        let text = include_str!("dovecot.conf").replace("@DIR@", &at.to_string_lossy());
        let text = text.replace("@PORT@", &port.to_string()).replace("@PASSWORD@", PASSWORD);
        let file = at.join("dovecot.conf");
        fs::write(&file, text).expect("the folder is writable");
        let mut command = program::bound("dovecot");
        command.arg("-F").arg("-c").arg(&file).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(house::output_file(&at.join("said")));
        let master = command.spawn().unwrap_or_else(|error| program::missing("setpriv", &error));
        let dovecot = Self { folder, master, port };
        let until = Instant::now() + log::PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if Instant::now() > until {
                return Err(format!("dovecot does not open its port: {}", dovecot.said()));
            }
            thread::sleep(ASK_EVERY);
        }
        Ok(dovecot)
    }

    /// Its port for IMAP.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Process id of its master, whose children do the work.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.master.id()
    }

    fn said(&self) -> String {
        let text = |name: &str| fs::read_to_string(self.folder.path().join(name));
        [text("said"), text("dovecot.log")].map(Result::unwrap_or_default).concat()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // The master takes its children along. It fails when there is no master any more.
        drop(program::run(Command::new("kill").arg(self.master.id().to_string())));
        let until = Instant::now() + STOP_PATIENCE;
        while matches!(self.master.try_wait(), Ok(None)) && Instant::now() < until {
            thread::sleep(ASK_EVERY);
        }
        drop(self.master.kill());
        drop(self.master.wait());
    }
}
