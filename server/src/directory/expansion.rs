//! Who gets a message: its recipients followed through aliases and forwards, once for the whole
//! envelope.
//!
//! ```text
//!   envelope ─▶ address ─┬▶ account ─┬▶ itself, unless it goes on and keeps nothing
//!                        │           └▶ forward ─▶ address …
//!                        ├▶ alias ─▶ accounts, address …
//!                        └▶ elsewhere: it goes on, in the name of who led there
//! ```
//! Invariants: nobody gets a message twice, however many ways lead to him; what goes in circles
//! ends, and an account whose forward leads nowhere keeps its mail; work and memory are bounded by
//! [`DEPTH_MAX`] and the copies that one message may have.
//! Not here: what is done with the message (`inbound`), who may set what ([`super::forwards`]).

use std::collections::{HashMap, HashSet};

use gracedb::view::View;

use grace_mail::address::{Charset, Mailbox as Address};

use super::{Directory, Person, key, postmaster};
use crate::store::accounts::Account;
use crate::store::failure::Failure;
use crate::store::forwards::ForwardRow;

/// Aliases and forwards that may lead to each other in a row: a company, its departments, their
/// teams, their people are four.
pub const DEPTH_MAX: usize = 10;

const TOO_DEEP: Failure = Failure::Limit("aliases lead through too many others");
const TOO_MANY: Failure = Failure::Limit("the message would go to too many people");

/// How forwards are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As they are set.
    Onward,
    /// Not at all: doubtful mail stays here.
    Here,
}

/// Who gets a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expansion {
    /// The accounts here, each once.
    pub accounts: Vec<u64>,
    /// The addresses elsewhere, each once.
    pub onward: Vec<Onward>,
    /// What became of each recipient of the envelope.
    pub recipients: Vec<Reached>,
}

/// Somebody elsewhere who gets a message because one here stands for him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onward {
    /// His address.
    pub address: Address,
    /// The address here that leads there.
    pub by: Address,
    /// Which recipient of the envelope led there.
    pub recipient: usize,
    /// The account of that address keeps a copy.
    pub is_kept: bool,
}

/// What became of one recipient of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// It is an address elsewhere itself.
    Elsewhere,
    /// It leads to nobody.
    Nobody,
    /// It leads to as many accounts here and addresses elsewhere that no recipient before it led
    /// to; to none, where others led to all of them.
    Somebody {
        /// Accounts here.
        here: usize,
        /// Addresses elsewhere.
        onward: usize,
    },
}

/// What an address leads to, one step of it.
pub(super) enum Step {
    Account(Account),
    Alias(Meant),
    Rewritten(Address),
    Nobody,
    Elsewhere,
}

/// What an alias stands for.
pub(super) struct Meant {
    pub(super) accounts: Vec<Account>,
    /// Other aliases and addresses elsewhere.
    pub(super) targets: Vec<String>,
}

impl Directory {
    /// Who gets a message for these recipients; `None` is `<Postmaster>` (RFC 5321 4.5.1).
    ///
    /// # Errors
    /// There are too many, or the database failed.
    pub fn expand(
        &self,
        recipients: &[Option<&Address>],
        mode: Mode,
    ) -> Result<Expansion, Failure> {
        let snapshot = self.db.snapshot();
        let mut walk = Walk::below(self, &snapshot, mode, &[]);
        if recipients.len() > 1 {
            // Who is named himself gets it as himself.
            let direct = recipients.iter().flatten().filter(|address| walk.is_elsewhere(address));
            walk.seen = direct.map(|&address| address.clone()).collect();
        }
        for (at, recipient) in recipients.iter().enumerate() {
            let reached = walk.recipient(at, *recipient)?;
            walk.found.recipients.push(reached);
        }
        Ok(walk.found)
    }

    /// The accounts here that an address stands for, whether or not they keep what it is sent.
    pub(super) fn people(&self, address: &Address) -> Result<Vec<Person>, Failure> {
        let snapshot = self.db.snapshot();
        let mut walk = Walk::below(self, &snapshot, Mode::Here, &[]);
        walk.recipient(0, Some(address))?;
        Ok(walk.people)
    }
}

/// One way through the directory.
pub(super) struct Walk<'a, V> {
    directory: &'a Directory,
    view: &'a V,
    mode: Mode,
    found: Expansion,
    people: Vec<Person>,
    /// Addresses elsewhere that get it.
    seen: HashSet<Address>,
    /// What was followed, and whether it led to somebody.
    known: HashMap<String, bool>,
    /// What is being followed.
    path: Vec<String>,
    /// What led back to itself.
    circle: Option<String>,
    /// Which recipient of the envelope it is followed for.
    recipient: usize,
}

/// Who leads to an address.
struct By<'a> {
    address: &'a Address,
    is_kept: bool,
}

impl<'a, V: View> Walk<'a, V> {
    /// A way that begins below these.
    pub(super) fn below(directory: &'a Directory, view: &'a V, mode: Mode, path: &[&str]) -> Self {
        Self {
            directory,
            view,
            mode,
            found: Expansion::default(),
            people: Vec::new(),
            seen: HashSet::new(),
            known: HashMap::new(),
            path: path.iter().map(|&key| key.to_owned()).collect(),
            circle: None,
            recipient: 0,
        }
    }

    /// Follows an address, to see where it leads.
    pub(super) fn visit(&mut self, address: &Address) -> Result<(), Failure> {
        self.recipient(0, Some(address)).map(drop)
    }

    /// What led back to itself, if anything did.
    pub(super) fn circle(&self) -> Option<&str> {
        self.circle.as_deref()
    }

    fn is_elsewhere(&self, address: &Address) -> bool {
        matches!(self.directory.step(self.view, address), Ok(Step::Elsewhere))
    }

    /// Follows a recipient of the envelope.
    fn recipient(&mut self, at: usize, address: Option<&Address>) -> Result<Reached, Failure> {
        self.recipient = at;
        // What led to nobody may have been cut short by what it was followed for.
        self.known.retain(|_, is_somebody| *is_somebody);
        let before = (self.found.accounts.len(), self.found.onward.len());
        let is_somebody = match address {
            None => match postmaster(self.view)? {
                Some(account) => self.account(account)?,
                None => false,
            },
            Some(address) => match self.directory.step(self.view, address)? {
                Step::Elsewhere => return Ok(Reached::Elsewhere),
                Step::Rewritten(sender) => self.follow(&sender, &By { address, is_kept: false })?,
                step => self.lead(address, step)?,
            },
        };
        let here = self.found.accounts.len() - before.0;
        let onward = self.found.onward.len() - before.1;
        Ok(if is_somebody { Reached::Somebody { here, onward } } else { Reached::Nobody })
    }

    /// Follows an address that `by` leads to. Says whether somebody gets the message for it.
    fn follow(&mut self, address: &Address, by: &By<'_>) -> Result<bool, Failure> {
        match self.directory.step(self.view, address)? {
            Step::Elsewhere if self.mode == Mode::Here => Ok(false),
            Step::Elsewhere => {
                if self.seen.insert(address.clone()) {
                    self.check_count()?;
                    self.found.onward.push(Onward {
                        address: address.clone(),
                        by: by.address.clone(),
                        recipient: self.recipient,
                        is_kept: by.is_kept,
                    });
                }
                Ok(true)
            }
            // Whoever sets such an address means somebody who is asked once.
            Step::Rewritten(_) => Ok(false),
            step => self.lead(address, step),
        }
    }

    fn lead(&mut self, address: &Address, step: Step) -> Result<bool, Failure> {
        match step {
            Step::Account(account) => self.account(account),
            Step::Alias(meant) => self.alias(address, meant),
            Step::Rewritten(_) | Step::Nobody | Step::Elsewhere => Ok(false),
        }
    }

    fn alias(&mut self, address: &Address, meant: Meant) -> Result<bool, Failure> {
        let key = key(address);
        if let Some(known) = self.begin(&key)? {
            return Ok(known);
        }
        let mut is_somebody = false;
        for account in meant.accounts {
            is_somebody |= self.account(account)?;
        }
        let by = By { address, is_kept: false };
        is_somebody |= self.targets(&meant.targets, &by)?;
        self.end(key, is_somebody);
        Ok(is_somebody)
    }

    fn account(&mut self, account: Account) -> Result<bool, Failure> {
        let Account { id, address, .. } = account;
        if let Some(known) = self.begin(&address)? {
            return Ok(known);
        }
        self.people.push(Person { id, address: address.clone() });
        let forward = match self.mode {
            Mode::Onward => self.view.get::<ForwardRow>(&id)?,
            Mode::Here => None,
        };
        let own = Address::parse(&address, Charset::Utf8);
        let stays = match (forward, own) {
            (Some(forward), Ok(own)) => {
                let by = By { address: &own, is_kept: forward.keeps };
                // Who leads to nobody would lose what he is sent.
                !self.targets(&forward.targets, &by)? || forward.keeps
            }
            _ => true,
        };
        if stays {
            self.check_count()?;
            self.found.accounts.push(id);
        }
        self.end(address, true);
        Ok(true)
    }

    fn targets(&mut self, targets: &[String], by: &By<'_>) -> Result<bool, Failure> {
        let mut is_somebody = false;
        for target in targets {
            if let Ok(target) = Address::parse(target, Charset::Utf8) {
                is_somebody |= self.follow(&target, by)?;
            }
        }
        Ok(is_somebody)
    }

    /// Begins to follow something; `Some`: that is done already, or is being done.
    fn begin(&mut self, key: &str) -> Result<Option<bool>, Failure> {
        if let Some(known) = self.known.get(key) {
            return Ok(Some(*known));
        }
        if self.path.iter().any(|on_path| on_path == key) {
            self.circle = Some(key.to_owned());
            return Ok(Some(false));
        }
        if self.path.len() >= DEPTH_MAX {
            return Err(TOO_DEEP);
        }
        self.path.push(key.to_owned());
        Ok(None)
    }

    fn end(&mut self, key: String, is_somebody: bool) {
        self.path.pop();
        self.known.insert(key, is_somebody);
    }

    fn check_count(&self) -> Result<(), Failure> {
        let count = self.found.accounts.len() + self.found.onward.len();
        if (count as u64) < self.directory.copies_max { Ok(()) } else { Err(TOO_MANY) }
    }
}
