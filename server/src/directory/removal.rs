//! Removing accounts and domains, with everything that is theirs.
//!
//! Invariant: an account goes with its mailboxes in one transaction; a domain goes only when nobody
//! lives in it.

use super::{Directory, Refusal, parse_domain};
use crate::store::accounts::{Account, AccountByAddress, Domain};
use crate::store::messages::{MailboxByName, MailboxRow, Subscription};
use crate::store::removal::remove_mailbox;

impl Directory {
    /// Removes a domain that has no accounts.
    ///
    /// # Errors
    /// There is no such domain, it has accounts, or the database failed.
    pub async fn delete_domain(&self, name: &str, by: &str) -> Result<(), Refusal> {
        let name = parse_domain(name)?;
        let ending = format!("@{name}");
        self.db
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
                tx.delete::<Domain>(&name)?;
                Ok(())
            })?
            .await?;
        self.tell(format!("domain {name}"), "deleted", by);
        Ok(())
    }

    /// Removes an account with its mailboxes and messages.
    ///
    /// # Errors
    /// There is no such account, or the database failed.
    pub async fn delete_account(&self, address: &str, by: &str) -> Result<(), Refusal> {
        let account = self.require(address)?;
        self.db
            .write(|tx| {
                let mailboxes = tx
                    .by_index_prefix::<MailboxByName>(&(account.id,))
                    .collect::<Result<Vec<MailboxRow>, _>>()?;
                for mailbox in &mailboxes {
                    remove_mailbox(tx, mailbox)?;
                }
                tx.delete_prefix::<Subscription>(&(account.id,))?;
                tx.delete::<Account>(&account.id)?;
                Ok::<_, Refusal>(())
            })?
            .await?;
        self.tell(format!("account {}", account.address), "deleted", by);
        Ok(())
    }
}
