//! Annotations of mailboxes and accounts (RFC 5464).
//!
//! Invariant: no mailbox and no account has more than [`ENTRIES_MAX`] of them; a value's size is
//! bounded by who calls.
//! Not here: names of entries (`grace-imap`).

use gracedb::view::View as _;

use super::Mailboxes;
use super::change::get_mailbox;
use crate::store::accounts::Account;
use crate::store::failure::Failure;
use crate::store::messages::{MailboxRow, MetadataRow};

/// Most annotations of one mailbox, or of an account itself.
pub const ENTRIES_MAX: usize = 100;

/// What [`Failure::Limit`] says when there are as many.
pub const TOO_MANY: &str = "there are as many annotations as there may be";

/// Whether an entry is for all who may read the mailbox, and not for one alone.
fn is_shared(entry: &str) -> bool {
    entry.starts_with("/shared/")
}

impl Mailboxes {
    /// The annotations of a mailbox, or with 0 those of the account, by ascending name. Of a
    /// mailbox of somebody else's: his shared ones, and one's own private ones (RFC 5464 3.1).
    ///
    /// # Errors
    /// The database failed.
    pub fn metadata(&self, account: u64, mailbox: u64) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        let snapshot = self.db.snapshot();
        let owner = match snapshot.get::<MailboxRow>(&mailbox)? {
            Some(row) => row.account,
            None => account,
        };
        let private = snapshot.prefix::<MetadataRow>(&(account, mailbox));
        let mut found: Vec<(String, Vec<u8>)> =
            private.map(|row| row.map(|row| (row.entry, row.value))).collect::<Result<_, _>>()?;
        if owner != account {
            found.retain(|(entry, _)| !is_shared(entry));
            for row in snapshot.prefix::<MetadataRow>(&(owner, mailbox)) {
                let MetadataRow { entry, value, .. } = row?;
                if is_shared(&entry) {
                    found.push((entry, value));
                }
            }
        }
        Ok(found)
    }

    /// The annotations of an account and of all its mailboxes: the mailbox, or 0, the name and the
    /// value.
    ///
    /// # Errors
    /// The database failed.
    pub fn metadata_of_all(&self, account: u64) -> Result<Vec<(u64, String, Vec<u8>)>, Failure> {
        let snapshot = self.db.snapshot();
        let rows = snapshot.prefix::<MetadataRow>(&(account,));
        let parts = |row: MetadataRow| (row.mailbox, row.entry, row.value);
        Ok(rows.map(|row| row.map(parts)).collect::<Result<_, _>>()?)
    }

    /// Sets annotations, or removes those without a value, all or none. Done means on disk.
    ///
    /// # Errors
    /// The mailbox or account is gone, there would be too many, or the database failed.
    pub async fn set_metadata(
        &self,
        account: u64,
        mailbox: u64,
        changes: &[(String, Option<Vec<u8>>)],
    ) -> Result<(), Failure> {
        let pending = self.db.write(|tx| {
            let owner = if mailbox == 0 {
                tx.get::<Account>(&account)?.ok_or(Failure::NoSuchMailbox)?.id
            } else {
                get_mailbox(tx, mailbox)?.account
            };
            let me = account;
            for (entry, value) in changes {
                let account = if is_shared(entry) { owner } else { me };
                match value {
                    Some(value) => {
                        let (entry, value) = (entry.clone(), value.clone());
                        tx.put(&MetadataRow { account, mailbox, entry, value })?;
                    }
                    None => {
                        tx.delete::<MetadataRow>(&(account, mailbox, entry.clone()))?;
                    }
                }
            }
            for account in [owner, me] {
                if tx.prefix::<MetadataRow>(&(account, mailbox)).count() > ENTRIES_MAX {
                    return Err(Failure::Limit(TOO_MANY));
                }
            }
            Ok::<_, Failure>(())
        })?;
        Ok(pending.await?)
    }
}
