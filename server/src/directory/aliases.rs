//! Addresses that stand for accounts: other names, groups, and what catches the rest of a domain.
//!
//! ```text
//!   address ─▶ account ─▶ alias ─▶ both without the detail ─▶ postmaster ─▶ @domain ─▶ nobody
//! ```
//! Invariants: an account of the same address comes first; an alias that stands for nobody any more
//! is none.
//! Not here: accounts themselves (`directory`), aliases that lead to others or elsewhere
//! ([`super::forwards`]).

use gracedb::view::View;

use super::expansion::Meant;
use super::{Directory, Refusal, key};
use crate::store::accounts::{Account, AccountByAddress, Alias, Domain};
use crate::store::failure::Failure;
use crate::store::forwards::AliasTargets;
use crate::store::settings::AddressSettings;
use crate::store::shares::forget_group;
use crate::telemetry::bus::now_us;
use grace_mail::address::{Charset, Domain as DomainName, Mailbox as Address};

/// Accounts one alias may stand for: a company's all-hands; more is a mailing list.
pub const ACCOUNTS_MAX: usize = 1_000;

/// An alias as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its address; `@domain` for what catches the rest.
    pub address: String,
    /// The addresses of the accounts it stands for.
    pub accounts: Vec<String>,
    /// When it was made, microseconds since 1970 UTC.
    pub created_us: u64,
}

impl Directory {
    /// All aliases, by address, with those of their accounts that are still there.
    ///
    /// # Errors
    /// The database failed.
    pub fn aliases(&self) -> Result<Vec<Shown>, Failure> {
        let snapshot = self.db.snapshot();
        let mut shown = Vec::new();
        for alias in snapshot.scan::<Alias>() {
            let alias = alias?;
            let accounts = accounts(&snapshot, &alias)?;
            shown.push(Shown {
                accounts: accounts.into_iter().map(|account| account.address).collect(),
                address: alias.address,
                created_us: alias.created_us,
            });
        }
        Ok(shown)
    }

    /// Makes an alias, or gives it other accounts.
    ///
    /// # Errors
    /// The address is none or an account's, its domain or an account does not exist, or the
    /// database failed.
    pub async fn set_alias(
        &self,
        address: &str,
        accounts: &[String],
        by: &str,
    ) -> Result<(), Refusal> {
        let (address, domain) = parse(address)?;
        if accounts.is_empty() || accounts.len() > ACCOUNTS_MAX {
            let why = format!("an alias stands for 1 to {ACCOUNTS_MAX} accounts");
            return Err(Refusal::Invalid(why));
        }
        let wanted: Vec<String> = accounts.iter().map(|account| account.to_lowercase()).collect();
        let alias = address.clone();
        self.db
            .write(|tx| {
                if tx.get::<Domain>(&domain)?.is_none() {
                    return Err(Refusal::Missing(format!("domain {domain}")));
                }
                if tx.find::<AccountByAddress>(&alias)?.is_some() {
                    return Err(Refusal::Exists(format!("the account {alias}")));
                }
                let mut accounts = Vec::new();
                for address in &wanted {
                    let account = tx.find::<AccountByAddress>(address)?;
                    let missing = || Refusal::Missing(format!("account {address}"));
                    accounts.push(account.ok_or_else(missing)?.id);
                }
                accounts.sort_unstable();
                accounts.dedup();
                let created_us =
                    tx.get::<Alias>(&alias)?.map_or_else(now_us, |known| known.created_us);
                tx.put(&Alias { address: alias.clone(), accounts, created_us })?;
                tx.delete::<AliasTargets>(&alias)?;
                Ok(())
            })?
            .await?;
        self.tell(format!("alias {address}"), "set", by);
        Ok(())
    }

    /// Removes an alias.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub async fn delete_alias(&self, address: &str, by: &str) -> Result<(), Refusal> {
        let (address, _) = parse(address)?;
        let alias = address.clone();
        self.db
            .write(|tx| {
                if tx.get::<Alias>(&alias)?.is_none() {
                    return Err(Refusal::Missing(format!("alias {alias}")));
                }
                tx.delete::<Alias>(&alias)?;
                tx.delete::<AddressSettings>(&alias)?;
                tx.delete::<AliasTargets>(&alias)?;
                forget_group(tx, &alias)?;
                Ok(())
            })?
            .await?;
        self.tell(format!("alias {address}"), "deleted", by);
        Ok(())
    }
}

/// What an address stands for; `None`: it is no alias, or all of that is gone.
pub(super) fn meant(view: &impl View, address: &str) -> Result<Option<Meant>, Failure> {
    let Some(alias) = view.get::<Alias>(address)? else { return Ok(None) };
    let accounts = accounts(view, &alias)?;
    let targets = view.get::<AliasTargets>(address)?.map(|more| more.targets).unwrap_or_default();
    let is_somebody = !accounts.is_empty() || !targets.is_empty();
    Ok(is_somebody.then_some(Meant { accounts, targets }))
}

fn accounts(view: &impl View, alias: &Alias) -> Result<Vec<Account>, Failure> {
    let found =
        alias.accounts.iter().map(|id| view.get::<Account>(id)).filter_map(Result::transpose);
    Ok(found.collect::<Result<_, _>>()?)
}

/// The address of an alias as it is kept, and its domain.
pub(super) fn parse(address: &str) -> Result<(String, String), Refusal> {
    let wrong = |why: &dyn std::fmt::Display| {
        Refusal::Invalid(format!("{address:?} is no address for an alias: {why}"))
    };
    if let Some(domain) = address.strip_prefix('@') {
        let domain = DomainName::parse(domain, Charset::Utf8).map_err(|e| wrong(&e))?;
        return Ok((format!("@{}", domain.as_str()), domain.as_str().to_owned()));
    }
    let parsed = Address::parse(address, Charset::Utf8).map_err(|e| wrong(&e))?;
    let domain = parsed.domain().map(|domain| domain.as_str().to_owned());
    Ok((key(&parsed), domain.ok_or_else(|| wrong(&"it needs a domain"))?))
}
