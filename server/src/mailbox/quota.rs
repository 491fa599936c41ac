//! How much an account, and a domain as a whole, may keep.
//!
//! Invariants: a limit below what is kept takes nothing away; it only lets nothing more in.
//! Not here: counting, and holding limits, in the transaction that changes something
//! (`store::quota`).

use gracedb::view::{Snapshot, View as _};

use grace_ipc::event::{EventKind, TraceId};

use super::Mailboxes;
use crate::store::accounts::{Account, AccountByAddress, Domain, domain_name};
use crate::store::failure::Failure;
use crate::store::messages::{MailboxRow, MessageRow};
use crate::store::quota::roots;
use crate::store::refusal::Refusal;
use crate::store::shares::{QuotaRow, owner_name};

impl Mailboxes {
    /// The quota roots an owner's mailboxes count to, those that have a limit.
    ///
    /// # Errors
    /// The owner is gone, or the database failed.
    pub fn quota_roots(&self, owner: u64) -> Result<Vec<QuotaRow>, Failure> {
        let rows = rows_of(&self.db.snapshot(), owner)?;
        Ok(rows.into_iter().filter(|row| row.bytes_max > 0 || row.messages_max > 0).collect())
    }

    /// Whether an owner has room for a message of so many bytes.
    ///
    /// # Errors
    /// The owner is gone, or the database failed.
    pub fn has_room(&self, owner: u64, bytes: u64) -> Result<bool, Failure> {
        let rows = rows_of(&self.db.snapshot(), owner)?;
        let fits = |row: &QuotaRow| {
            let room = row.bytes_max == 0 || row.bytes.saturating_add(bytes) <= row.bytes_max;
            room && !row.is_full()
        };
        Ok(rows.iter().all(fits))
    }

    /// Bytes of the messages in a mailbox that have `\Deleted` (RFC 9208 4.1.4).
    ///
    /// # Errors
    /// The database failed.
    pub fn deleted_bytes(&self, mailbox: &MailboxRow) -> Result<u64, Failure> {
        let (mut bytes, mut left) = (0_u64, mailbox.deleted);
        let snapshot = self.db.snapshot();
        let mut rows = snapshot.prefix::<MessageRow>(&(mailbox.id,));
        while left > 0
            && let Some(message) = rows.next().transpose()?
        {
            if message.is_deleted() {
                bytes = bytes.saturating_add(message.size());
                left -= 1;
            }
        }
        Ok(bytes)
    }

    /// What is used and what may be: of one account or `@domain`, or of all that there are.
    ///
    /// # Errors
    /// There is none of that name, or the database failed.
    pub fn quotas(&self, of: Option<&str>) -> Result<Vec<QuotaRow>, Refusal> {
        let snapshot = self.db.snapshot();
        let empty = |of: String| QuotaRow { of, ..QuotaRow::default() };
        if let Some(of) = of {
            let of = existing(&snapshot, of)?;
            let row = snapshot.get::<QuotaRow>(of.as_str())?;
            return Ok(vec![row.unwrap_or(empty(of))]);
        }
        let mut names = Vec::new();
        for domain in snapshot.scan::<Domain>() {
            names.push(format!("@{}", domain?.name));
        }
        for account in snapshot.scan::<Account>() {
            names.push(account?.address);
        }
        names.sort_unstable();
        let row = |of: String| {
            let row = snapshot.get::<QuotaRow>(of.as_str())?;
            Ok(row.unwrap_or(empty(of)))
        };
        names.into_iter().map(row).collect()
    }

    /// Sets limits of an account or `@domain`; 0: none; `None`: as it was.
    ///
    /// # Errors
    /// There is none of that name, or the database failed.
    pub async fn set_quota(
        &self,
        of: &str,
        (bytes_max, messages_max): (Option<u64>, Option<u64>),
        by: &str,
    ) -> Result<(), Refusal> {
        let pending = self.db.write(|tx| {
            let of = existing(tx, of)?;
            let row = tx.get::<QuotaRow>(of.as_str())?;
            let mut row = row.unwrap_or(QuotaRow { of, ..QuotaRow::default() });
            row.bytes_max = bytes_max.unwrap_or(row.bytes_max);
            row.messages_max = messages_max.unwrap_or(row.messages_max);
            tx.put(&row)?;
            Ok::<_, Refusal>(row)
        })?;
        let QuotaRow { of, bytes_max, messages_max, .. } = pending.await?;
        let change = format!("quota set to {bytes_max} bytes and {messages_max} messages");
        let set = EventKind::DirectoryChanged { what: of, change, by: by.to_owned() };
        self.bus.emit(TraceId(0), set);
        Ok(())
    }
}

/// What an owner's mailboxes count to.
fn rows_of(snapshot: &Snapshot, owner: u64) -> Result<Vec<QuotaRow>, Failure> {
    let owner = owner_name(snapshot, owner)?.ok_or(Failure::NoSuchMailbox)?;
    let mut rows = Vec::new();
    for root in roots(&owner) {
        rows.extend(snapshot.get::<QuotaRow>(root.as_str())?);
    }
    Ok(rows)
}

/// The one spelling of an account's address or of `@domain`, which must be there.
fn existing(view: &impl gracedb::view::View, of: &str) -> Result<String, Refusal> {
    if let Some(domain) = of.strip_prefix('@') {
        let domain = domain_name(domain)?;
        return match view.contains::<Domain>(domain.as_str())? {
            true => Ok(format!("@{domain}")),
            false => Err(Refusal::Missing(format!("domain {domain}"))),
        };
    }
    let account = view.find::<AccountByAddress>(of.to_lowercase().as_str())?;
    account
        .map(|account| account.address)
        .ok_or_else(|| Refusal::Missing(format!("account {of}; a domain is written @{of}")))
}
