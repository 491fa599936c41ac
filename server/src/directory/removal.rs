//! Removing accounts and domains, with everything that is theirs.
//!
//! Invariants: an account goes in one transaction with the last of its mailboxes, so that what is
//! left of it after a crash can be deleted again; a domain goes only when nobody lives in it, and
//! the keys that sign for it go in the same transaction; what was set about either goes with it,
//! and so does what an account was allowed elsewhere.

use gracedb::view::View as _;
use gracedb::write::WriteTx;

use super::{Directory, Refusal};
use crate::store::accounts::{Account, AccountByAddress, Alias, Domain, domain_name};
use crate::store::dkim::remove_keys;
use crate::store::failure::Failure;
use crate::store::forwards::{AliasTargets, ForwardRow};
use crate::store::logins::remove_logins;
use crate::store::messages::{MailboxByName, MetadataRow, Subscription};
use crate::store::removal::remove_mailbox;
use crate::store::settings::{AddressSettings, DomainSettings};
use crate::store::shares::{PublicRow, QuotaRow, forget_account, forget_group};
use crate::store::threads;

/// Mailboxes removed in one transaction: few milliseconds of work, whatever is in them.
const MAILBOXES_AT_ONCE: usize = 500;

impl Directory {
    /// Removes a domain that has no accounts, with the keys that sign for it.
    ///
    /// # Errors
    /// There is no such domain, it has accounts, or the database failed.
    pub async fn delete_domain(&self, name: &str, by: &str) -> Result<(), Refusal> {
        let name = domain_name(name)?;
        let ending = format!("@{name}");
        let selectors = self
            .db
            .write(|tx| {
                if tx.get::<Domain>(&name)?.is_none() {
                    return Err(Refusal::Missing(format!("domain {name}")));
                }
                for row in tx.by_index_range::<AccountByAddress>(..) {
                    let row = row?;
                    if row.address.ends_with(&ending) {
                        return Err(Refusal::Invalid(format!(
                            "the domain {name} has accounts, such as {}; delete them first",
                            row.address
                        )));
                    }
                }
                for alias in tx.scan::<Alias>() {
                    let alias = alias?;
                    if alias.address.ends_with(&ending) {
                        tx.delete::<Alias>(alias.address.as_str())?;
                        tx.delete::<AddressSettings>(alias.address.as_str())?;
                        tx.delete::<AliasTargets>(alias.address.as_str())?;
                        forget_group(tx, &alias.address)?;
                    }
                }
                forget_public(tx, &name)?;
                let selectors = remove_keys(tx, &name)?;
                tx.delete::<DomainSettings>(&name)?;
                tx.delete::<Domain>(&name)?;
                Ok(selectors)
            })?
            .await?;
        for selector in selectors {
            self.tell(format!("dkim {selector} of {name}"), "deleted", by);
        }
        self.tell(format!("domain {name}"), "deleted", by);
        Ok(())
    }

    /// Removes an account with its mailboxes and messages. How long that takes depends on how many
    /// mailboxes there are, not on what is in them.
    ///
    /// # Errors
    /// There is no such account, or the database failed.
    pub async fn delete_account(&self, address: &str, by: &str) -> Result<(), Refusal> {
        let account = self.require(address)?;
        loop {
            let pending = self.db.write(|tx| delete_some(tx, &account))?;
            if pending.await? {
                break;
            }
        }
        self.cache.forget(account.id);
        self.tickets.revoke(account.id, |_| true);
        self.tell(format!("account {}", account.address), "deleted", by);
        Ok(())
    }
}

/// Forgets that a domain has public mailboxes, if it has none any more.
fn forget_public(tx: &mut WriteTx<'_>, domain: &str) -> Result<(), Refusal> {
    if let Some(public) = tx.get::<PublicRow>(domain)? {
        if let Some(row) = tx.by_index_prefix::<MailboxByName>(&(public.owner,)).next() {
            return Err(Refusal::Invalid(format!(
                "the domain {domain} has public mailboxes, such as {}; delete them first",
                row?.name
            )));
        }
        threads::forget_account(tx, public.owner)?;
        tx.delete::<PublicRow>(domain)?;
    }
    tx.delete::<QuotaRow>(format!("@{domain}").as_str())?;
    Ok(())
}

/// Removes some of an account's mailboxes; with the last of them itself, and then says so.
fn delete_some(tx: &mut WriteTx<'_>, account: &Account) -> Result<bool, Failure> {
    let mut left = tx.by_index_prefix::<MailboxByName>(&(account.id,));
    for mailbox in left.by_ref().take(MAILBOXES_AT_ONCE) {
        remove_mailbox(tx, &mailbox?)?;
    }
    if left.next().is_some() {
        return Ok(false);
    }
    tx.delete_prefix::<Subscription, _>(&(account.id,))?;
    tx.delete_prefix::<MetadataRow, _>(&(account.id,))?;
    remove_logins(tx, account.id)?;
    tx.delete::<AddressSettings>(account.address.as_str())?;
    tx.delete::<ForwardRow>(&account.id)?;
    forget_account(tx, &account.address)?;
    threads::forget_account(tx, account.id)?;
    tx.delete::<Account>(&account.id)?;
    Ok(true)
}
