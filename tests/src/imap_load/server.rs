//! The servers that are compared.
//!
//! Invariants: neither uses TLS; both have synced a letter when they say that it is there.
//! Not here: the load, how each is started ([`crate::daemon`], [`grace_tests::dovecot`]).

use grace_tests::dovecot::{self, Dovecot};
use grace_tests::house::{Account, DOMAIN};
use grace_tests::postfix;

use super::client::Client;
use crate::daemon::Daemon;

/// Who is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Ours: encrypted on disk.
    Grace,
    /// One file a letter.
    Dovecot,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Grace => "Grace",
            Self::Dovecot => "Dovecot",
        }
    }
}

/// One that runs.
#[derive(Debug)]
pub(super) enum Server {
    Grace { daemon: Daemon, port: u16 },
    Dovecot(Dovecot),
}

impl Server {
    /// Starts one where so many people have an account.
    pub(super) fn start(kind: Kind, accounts: u32) -> Result<Self, String> {
        match kind {
            Kind::Dovecot => Dovecot::start().map(Self::Dovecot),
            Kind::Grace => Self::grace(accounts, ""),
        }
    }

    /// Starts ours, with some settings of its own.
    pub(super) fn grace(accounts: u32, settings: &str) -> Result<Self, String> {
        let port = postfix::free_port();
        let listen = format!(
            "smtp = []\nsubmission = []\nsubmissions = []\nimap = [\"127.0.0.1:{port}\"]\n\
             imaps = []"
        );
        let daemon = Daemon::start(&listen, settings, port)?;
        let server = Self::Grace { daemon, port };
        for number in 0..accounts {
            if let Self::Grace { daemon, .. } = &server {
                daemon.create(&server.account(number))?;
            }
        }
        Ok(server)
    }

    /// Stops it in order and starts it again.
    pub(super) fn restart(&mut self) -> Result<(), String> {
        match self {
            Self::Grace { daemon, port } => daemon.restart(*port),
            Self::Dovecot(_) => Err("only ours is started again".to_owned()),
        }
    }

    pub(super) fn id(&self) -> u32 {
        match self {
            Self::Grace { daemon, .. } => daemon.id(),
            Self::Dovecot(dovecot) => dovecot.id(),
        }
    }

    fn account(&self, number: u32) -> Account {
        let password = match self {
            Self::Grace { .. } => "a load of mail",
            Self::Dovecot(_) => dovecot::PASSWORD,
        };
        Account { address: format!("u{number}@{DOMAIN}"), password: password.to_owned() }
    }

    /// A connection of one of its people.
    pub(super) fn login(&self, number: u32) -> Result<Client, String> {
        let port = match self {
            Self::Grace { port, .. } => *port,
            Self::Dovecot(dovecot) => dovecot.port(),
        };
        Client::login(port, &self.account(number))
    }
}
