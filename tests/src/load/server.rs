//! The servers that are compared, and how each is asked what it has.
//!
//! Invariant: settings are those of a fresh installation, but for ports, and for limits that keep
//! strangers and stolen passwords from doing what a load does: connections from one address, mail
//! of one account in an hour.
//! Not here: the load.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use grace_tests::house::{self, Account, DOMAIN, Folder, HOSTNAME};
use grace_tests::postfix::{self, Postfix};
use grace_tests::submit::{self, Load};
use grace_tests::{log, program};

/// Connections over which mail is put into a queue.
const FILLING: u32 = 8;
/// Who gets mail from outside.
const RECIPIENT: &str = "ann@grace.test";
/// Who mail goes out to.
const FAR: &str = "bob@far.test";

/// Who is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Ours: delivers into a mailbox, encrypted.
    Grace,
    /// Takes mail and hands it on to the sink.
    Postfix,
    /// Takes mail and puts it aside.
    PostfixAside,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Grace => "Grace",
            Self::Postfix => "Postfix",
            Self::PostfixAside => "Postfix, put aside",
        }
    }
}

/// One that runs.
#[derive(Debug)]
pub(super) enum Server {
    Grace(Grace),
    Postfix { postfix: Postfix, is_aside: bool },
}

impl Server {
    /// Starts one whose mail for others goes to the sink.
    pub(super) fn start(kind: Kind, sink: u16) -> Result<Self, String> {
        let transport = format!("default_transport = smtp:[127.0.0.1]:{sink}\n");
        // A message that a header makes wait stays where it is written first.
        let aside = "header_checks = static:HOLD\n";
        Ok(match kind {
            Kind::Grace => Self::Grace(Grace::start(sink)?),
            Kind::Postfix => Self::Postfix { postfix: Postfix::start(&transport), is_aside: false },
            Kind::PostfixAside => {
                let settings = [&transport, aside].concat();
                Self::Postfix { postfix: Postfix::start(&settings), is_aside: true }
            }
        })
    }

    pub(super) fn id(&self) -> u32 {
        match self {
            Self::Grace(grace) => grace.child.id(),
            Self::Postfix { postfix, .. } => postfix.id(),
        }
    }

    pub(super) fn port(&self) -> u16 {
        match self {
            Self::Grace(grace) => grace.smtp,
            Self::Postfix { postfix, .. } => postfix.port(),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        match self {
            Self::Grace(grace) => grace.folder.path(),
            Self::Postfix { postfix, .. } => postfix.folder(),
        }
    }

    pub(super) fn recipient(&self) -> &'static str {
        match self {
            Self::Grace(_) => RECIPIENT,
            Self::Postfix { .. } => FAR,
        }
    }

    /// Whether it has what it acknowledged.
    pub(super) fn check_accepted(&self, messages: usize) -> Result<(), String> {
        let found = match self {
            Self::Grace(grace) => grace.messages()?,
            Self::Postfix { postfix, is_aside: true } => postfix.waiting(),
            Self::Postfix { postfix, .. } => {
                postfix.wait_until("everything is handed on", || {
                    (postfix.waiting() == 0).then_some(())
                });
                postfix.log().matches("status=sent").count()
            }
        };
        if found == messages {
            return Ok(());
        }
        Err(format!("{messages} messages were acknowledged, {found} are there"))
    }

    /// How many messages wait for other servers.
    pub(super) fn waiting(&self) -> Result<usize, String> {
        match self {
            Self::Grace(grace) => Ok(grace.rows(&["queue", "list", "--most", "100"])?.len()),
            Self::Postfix { postfix, .. } => Ok(postfix.waiting()),
        }
    }

    /// Puts messages into its queue.
    pub(super) fn fill(&self, messages: usize, bytes: usize) -> Result<(), String> {
        match self {
            Self::Grace(grace) => {
                let load =
                    Load { from: &grace.account, to: FAR, bytes, connections: FILLING as usize };
                let numbers = 0..messages as u64;
                let done = submit::submit(grace.submission, load, &numbers).len();
                if done == messages { Ok(()) } else { Err(format!("{done} were taken")) }
            }
            Self::Postfix { .. } => super::source(self, FILLING, bytes, messages),
        }
    }
}

/// A daemon whose log goes to a file, as a service's does.
#[derive(Debug)]
pub(super) struct Grace {
    folder: Folder,
    child: Child,
    smtp: u16,
    submission: u16,
    account: Account,
}

impl Grace {
    fn start(sink: u16) -> Result<Self, String> {
        let (folder, smtp, submission) =
            (Folder::new(), postfix::free_port(), postfix::free_port());
        let at = folder.path().to_string_lossy().into_owned();
        let configuration = format!(
            "hostname = \"{HOSTNAME}\"\ndata = \"{at}/data\"\n\
             [listen]\nsmtp = [\"127.0.0.1:{smtp}\"]\n\
             submission = [\"127.0.0.1:{submission}\"]\nsubmissions = []\nimap = []\nimaps = []\n\
             admin = \"{at}/admin.sock\"\n\
             [limits]\nconnections_per_address_max = 1000\n\
             [door]\nmessages_per_hour_account = 0\nrecipients_per_hour_account = 0\n\
             [queue]\nsmart_host = \"127.0.0.1:{sink}\"\n"
        );
        let file = folder.path().join("graced.toml");
        fs::write(&file, configuration).map_err(|error| error.to_string())?;
        let child = Command::new(program::ours("graced"))
            .arg("--config")
            .arg(&file)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(house::output_file(&folder.path().join("log")))
            .spawn()
            .map_err(|error| format!("graced: {error}"))?;
        let account =
            Account { address: RECIPIENT.to_owned(), password: "a load of mail".to_owned() };
        let grace = Self { folder, child, smtp, submission, account };
        grace.furnish()?;
        Ok(grace)
    }

    /// Waits until it is open, and makes the domain and the account.
    fn furnish(&self) -> Result<(), String> {
        let until = Instant::now() + log::PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.submission)).is_err() {
            if Instant::now() > until {
                let said = fs::read_to_string(self.folder.path().join("log"));
                return Err(format!("graced does not open: {}", said.unwrap_or_default()));
            }
            thread::sleep(Duration::from_millis(5));
        }
        let file = self.folder.path().join("password");
        fs::write(&file, &self.account.password).map_err(|error| error.to_string())?;
        self.ctl(&["domain", "create", DOMAIN]);
        let file = file.to_string_lossy();
        self.ctl(&["account", "create", RECIPIENT, "--password-file", &file]);
        Ok(())
    }

    fn ctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(program::ours("gracectl"));
        command.arg("--socket").arg(self.folder.path().join("admin.sock"));
        program::run_ok(command.args(arguments))
    }

    fn rows(&self, arguments: &[&str]) -> Result<Vec<Value>, String> {
        let text = self.ctl(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
    }

    fn messages(&self) -> Result<usize, String> {
        let rows = self.rows(&["account", "list"])?;
        let count = rows.first().map(|row| log::number(row, "messages"));
        usize::try_from(count.unwrap_or_default()).map_err(|error| error.to_string())
    }
}

impl Drop for Grace {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
