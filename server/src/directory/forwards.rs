//! Where mail goes on to, as an admin sets it: aliases that lead to other aliases and elsewhere,
//! accounts whose mail goes on.
//!
//! Invariants: what is set leads to somebody, not back to itself, and not to more people than one
//! message may have; a target here exists when it is set, and does not count when it is gone.
//! Not here: how it is followed ([`super::expansion`]).

use gracedb::view::View as _;
use gracedb::write::WriteTx;

use grace_mail::address::{Charset, Mailbox as Address};

use super::aliases::{self, ACCOUNTS_MAX};
use super::expansion::{Mode, Step, Walk};
use super::{Directory, Refusal, key};
use crate::store::accounts::{Account, AccountByAddress, Alias, Domain};
use crate::store::failure::Failure;
use crate::store::forwards::{AliasTargets, ForwardRow};
use crate::telemetry::bus::now_us;

/// Addresses an account's mail may go on to. People have one or two others; a group is an alias.
pub const TARGETS_MAX: usize = 20;

/// An alias and all that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownTargets {
    /// Its address; `@domain` for what catches the rest.
    pub address: String,
    /// The accounts, other aliases and addresses elsewhere it stands for.
    pub targets: Vec<String>,
    /// When it was made, microseconds since 1970 UTC.
    pub created_us: u64,
}

/// Where an account's mail goes on to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// The account's address.
    pub account: String,
    /// The addresses.
    pub targets: Vec<String>,
    /// A copy stays here.
    pub keeps: bool,
    /// When it was set, microseconds since 1970 UTC.
    pub created_us: u64,
}

impl Directory {
    /// All aliases with all that they lead to, by address.
    ///
    /// # Errors
    /// The database failed.
    pub fn alias_targets(&self) -> Result<Vec<ShownTargets>, Failure> {
        let snapshot = self.db.snapshot();
        let mut shown = Vec::new();
        for alias in self.aliases()? {
            let more = snapshot.get::<AliasTargets>(&alias.address)?;
            let mut targets = alias.accounts;
            targets.extend(more.into_iter().flat_map(|more| more.targets));
            let (address, created_us) = (alias.address, alias.created_us);
            shown.push(ShownTargets { address, targets, created_us });
        }
        Ok(shown)
    }

    /// Makes an alias, or gives it other targets: accounts, other aliases, addresses elsewhere.
    ///
    /// # Errors
    /// The address is none or an account's, its domain or a target does not exist, it would lead
    /// back to itself or to too many, or the database failed.
    pub async fn set_alias_targets(
        &self,
        address: &str,
        targets: &[String],
        by: &str,
    ) -> Result<(), Refusal> {
        let (address, domain) = aliases::parse(address)?;
        let wanted = parse(targets, ACCOUNTS_MAX)?;
        self.db
            .write(|tx| {
                if tx.get::<Domain>(&domain)?.is_none() {
                    return Err(Refusal::Missing(format!("domain {domain}")));
                }
                if tx.find::<AccountByAddress>(&address)?.is_some() {
                    return Err(Refusal::Exists(format!("the account {address}")));
                }
                self.put_alias(tx, &address, &wanted)
            })?
            .await?;
        self.tell(format!("alias {address}"), "set", by);
        Ok(())
    }

    fn put_alias(
        &self,
        tx: &mut WriteTx<'_>,
        alias: &str,
        wanted: &[Address],
    ) -> Result<(), Refusal> {
        let (mut accounts, mut targets) = (Vec::new(), Vec::new());
        for address in wanted {
            // Its own address alone is an account's; what has a detail is kept as it is written.
            match tx.find::<AccountByAddress>(&key(address))? {
                Some(Account { id, .. }) => accounts.push(id),
                None => targets.push(address.to_string()),
            }
        }
        accounts.sort_unstable();
        accounts.dedup();
        let known = tx.get::<Alias>(alias)?;
        let created_us = known.map_or_else(now_us, |known| known.created_us);
        tx.put(&Alias { address: alias.to_owned(), accounts, created_us })?;
        tx.delete::<AliasTargets>(alias)?;
        if !targets.is_empty() {
            tx.put(&AliasTargets { address: alias.to_owned(), targets })?;
        }
        self.check(tx, wanted, &[alias])
    }

    /// The accounts whose mail goes on, by address, or this one if its does.
    ///
    /// # Errors
    /// There is no such account, or the database failed.
    pub fn forwards(&self, account: Option<&str>) -> Result<Vec<Forward>, Refusal> {
        let snapshot = self.db.snapshot();
        let rows: Vec<ForwardRow> = match account {
            Some(account) => {
                let account = self.require(account)?;
                snapshot.get::<ForwardRow>(&account.id)?.into_iter().collect()
            }
            None => snapshot.scan::<ForwardRow>().collect::<Result<_, _>>()?,
        };
        let mut forwards = Vec::with_capacity(rows.len());
        for ForwardRow { account, targets, keeps, created_us } in rows {
            if let Some(Account { address, .. }) = snapshot.get::<Account>(&account)? {
                forwards.push(Forward { account: address, targets, keeps, created_us });
            }
        }
        forwards.sort_by(|a, b| a.account.cmp(&b.account));
        Ok(forwards)
    }

    /// Lets the mail of an account go on; with `keeps` a copy stays.
    ///
    /// # Errors
    /// There is no such account, a target does not exist, it would lead back to itself or to too
    /// many, or the database failed.
    pub async fn set_forward(
        &self,
        account: &str,
        targets: &[String],
        keeps: bool,
        by: &str,
    ) -> Result<(), Refusal> {
        let Account { id, address, .. } = self.require(account)?;
        let wanted = parse(targets, TARGETS_MAX)?;
        let targets: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        let row = ForwardRow { account: id, targets, keeps, created_us: now_us() };
        self.db
            .write(|tx| {
                if !tx.contains::<Account>(&id)? {
                    return Err(Refusal::Missing(format!("account {address}")));
                }
                tx.put(&row)?;
                self.check(tx, &wanted, &[&address])
            })?
            .await?;
        let change = if keeps { "goes on, with a copy here" } else { "goes on" };
        self.tell(format!("mail of {address}"), change, by);
        Ok(())
    }

    /// Lets the mail of an account stay here.
    ///
    /// # Errors
    /// There is no such account, its mail does not go on, or the database failed.
    pub async fn delete_forward(&self, account: &str, by: &str) -> Result<(), Refusal> {
        let Account { id, address, .. } = self.require(account)?;
        self.db
            .write(|tx| {
                if !tx.contains::<ForwardRow>(&id)? {
                    return Err(Refusal::Missing(format!("forward of {address}")));
                }
                tx.delete::<ForwardRow>(&id)?;
                Ok(())
            })?
            .await?;
        self.tell(format!("mail of {address}"), "stays here", by);
        Ok(())
    }

    /// Follows what was just set, in the transaction that sets it.
    fn check(&self, tx: &WriteTx<'_>, wanted: &[Address], path: &[&str]) -> Result<(), Refusal> {
        for address in wanted {
            match self.step(tx, address)? {
                Step::Nobody => {
                    return Err(Refusal::Missing(format!("account or alias {address}")));
                }
                Step::Rewritten(_) => {
                    let why = format!("{address} stands for the sender of one message");
                    return Err(Refusal::Invalid(why));
                }
                Step::Account(_) | Step::Alias(_) | Step::Elsewhere => {}
            }
        }
        let mut walk = Walk::below(self, tx, Mode::Onward, path);
        for address in wanted {
            walk.visit(address).map_err(|failure| match failure {
                Failure::Limit(limit) => Refusal::Invalid(limit.to_owned()),
                failure => Refusal::Store(failure),
            })?;
        }
        match walk.circle() {
            Some(circle) => Err(Refusal::Invalid(format!("{circle} would lead back to itself"))),
            None => Ok(()),
        }
    }
}

/// Addresses as they are kept, each once.
fn parse(targets: &[String], targets_max: usize) -> Result<Vec<Address>, Refusal> {
    if targets.is_empty() || targets.len() > targets_max {
        return Err(Refusal::Invalid(format!("there are 1 to {targets_max} addresses to go to")));
    }
    let mut parsed = Vec::with_capacity(targets.len());
    for target in targets {
        let address = Address::parse(target, Charset::Utf8)
            .map_err(|e| Refusal::Invalid(format!("{target:?} is not an address: {e}")))?;
        if !parsed.contains(&address) {
            parsed.push(address);
        }
    }
    Ok(parsed)
}
