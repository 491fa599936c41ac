//! The servers that are compared, and how each is asked what it has.
//!
//! Not here: the load, how a daemon is started ([`crate::daemon`]).

use std::path::Path;

use grace_tests::house::Account;
use grace_tests::log;
use grace_tests::postfix::{self, Postfix};
use grace_tests::submit::{self, Load};

use crate::daemon::Daemon;

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
            Self::Grace(grace) => grace.daemon.id(),
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
            Self::Grace(grace) => grace.daemon.folder(),
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
            Self::Grace(grace) => Ok(grace.daemon.rows(&["queue", "list", "--most", "100"])?.len()),
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

/// A daemon that takes mail and has mail to send.
#[derive(Debug)]
pub(super) struct Grace {
    daemon: Daemon,
    smtp: u16,
    submission: u16,
    account: Account,
}

impl Grace {
    fn start(sink: u16) -> Result<Self, String> {
        let (smtp, submission) = (postfix::free_port(), postfix::free_port());
        let listen = format!(
            "smtp = [\"127.0.0.1:{smtp}\"]\nsubmission = [\"127.0.0.1:{submission}\"]\n\
             submissions = []\nimap = []\nimaps = []"
        );
        let queue = format!(
            "[door]\nmessages_per_hour_account = 0\nrecipients_per_hour_account = 0\n\
             [queue]\nsmart_host = \"127.0.0.1:{sink}\""
        );
        let daemon = Daemon::start(&listen, &queue, submission)?;
        let account =
            Account { address: RECIPIENT.to_owned(), password: "a load of mail".to_owned() };
        daemon.create(&account)?;
        Ok(Self { daemon, smtp, submission, account })
    }

    fn messages(&self) -> Result<usize, String> {
        let rows = self.daemon.rows(&["account", "list"])?;
        let count = rows.first().map(|row| log::number(row, "messages"));
        usize::try_from(count.unwrap_or_default()).map_err(|error| error.to_string())
    }
}
