//! How much an account, and a domain as a whole, may keep.
//!
//! ```text
//!   what lets messages in ─▶ counted: ledger, limits ─▶ on disk ─▶ QuotaReached
//! ```
//! Invariants: a limit below what is kept takes nothing away; it only lets nothing more in; who is
//! near a limit is told of in one place, however he came there.
//! Not here: counting, and holding limits (`store::quota`).

use std::collections::BTreeMap;

use gracedb::view::{Snapshot, View as _};
use gracedb::write::WriteTx;

use grace_ipc::event::{EventKind, TraceId};
use grace_ipc::share::ANY_NUMBER;

use super::Mailboxes;
use crate::store::accounts::{Account, AccountByAddress, Domain, domain_name};
use crate::store::failure::Failure;
use crate::store::messages::{MailboxRow, MessageRow};
use crate::store::quota::{Defaults, Hold, Ledger, Reached, roots, without_room};
use crate::store::refusal::Refusal;
use crate::store::shares::{QuotaRow, owner_name};

/// Rows looked at before other tasks have their turn: some milliseconds.
const LOOKS_MAX: usize = 2_000;

impl Mailboxes {
    /// The quota roots an owner's mailboxes count to, those that have a limit.
    ///
    /// # Errors
    /// The owner is gone, or the database failed.
    pub fn quota_roots(&self, owner: u64) -> Result<Vec<QuotaRow>, Failure> {
        let rows = self.rows_of(&self.db.snapshot(), owner)?;
        Ok(rows.into_iter().filter(|row| row.bytes_max > 0 || row.messages_max > 0).collect())
    }

    /// Whether an owner has room for a message of so many bytes.
    ///
    /// # Errors
    /// The owner is gone, or the database failed.
    pub fn has_room(&self, owner: u64, bytes: u64) -> Result<bool, Failure> {
        let rows = self.rows_of(&self.db.snapshot(), owner)?;
        Ok(rows.iter().all(|row| row.has_room(bytes)))
    }

    /// Those of some accounts that have no room for a message of so many bytes when each of them
    /// that has takes it. Accounts that are gone are not among them.
    ///
    /// # Errors
    /// The database failed.
    pub fn without_room(&self, accounts: &[u64], bytes: u64) -> Result<Vec<u64>, Failure> {
        let snapshot = self.db.snapshot();
        let mut owners: BTreeMap<String, u64> = BTreeMap::new();
        for &id in accounts {
            if let Some(account) = snapshot.get::<Account>(&id)? {
                owners.insert(account.address, id);
            }
        }
        let names = owners.keys().map(String::as_str);
        let without = without_room(&snapshot, names, bytes, &self.quota)?;
        Ok(without.into_iter().filter_map(|name| owners.get(name).copied()).collect())
    }

    /// Runs `change` in one transaction, with a ledger for what comes and goes in it. Nothing is
    /// done if that goes beyond a limit; who is near one by it is told of when it is on disk.
    pub(super) async fn counted<T>(
        &self,
        trace: TraceId,
        change: impl FnOnce(&mut WriteTx<'_>, &mut Ledger) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let pending = self.db.write(|tx| {
            let mut ledger = Ledger::default();
            let value = change(tx, &mut ledger)?;
            let reached = ledger.settle(tx, Hold::Within(&self.quota))?;
            Ok::<_, Failure>((value, reached))
        })?;
        let (value, reached) = pending.await?;
        self.tell_reached(trace, reached);
        Ok(value)
    }

    fn tell_reached(&self, trace: TraceId, reached: impl IntoIterator<Item = Reached>) {
        for Reached { of, percent } in reached {
            self.bus.emit(trace, EventKind::QuotaReached { of, percent });
        }
    }

    /// What an owner's mailboxes count to, with the limits that hold.
    fn rows_of(&self, snapshot: &Snapshot, owner: u64) -> Result<Vec<QuotaRow>, Failure> {
        let owner = owner_name(snapshot, owner)?.ok_or(Failure::NoSuchMailbox)?;
        let rows = roots(&owner).into_iter().map(|of| {
            let row = snapshot.get::<QuotaRow>(of.as_str())?;
            Ok(row.unwrap_or(QuotaRow { of, ..QuotaRow::default() }).limited(&self.quota))
        });
        rows.collect()
    }

    /// What may be kept where nobody set a limit.
    #[must_use]
    pub fn quota_defaults(&self) -> Defaults {
        self.quota
    }

    /// Bytes of the messages in a mailbox that have `\Deleted` (RFC 9208 4.1.4).
    ///
    /// # Errors
    /// The database failed.
    pub async fn deleted_bytes(&self, mailbox: &MailboxRow) -> Result<u64, Failure> {
        let (mut bytes, mut left, mut looks) = (0_u64, mailbox.deleted, 0);
        let snapshot = self.db.snapshot();
        let mut rows = snapshot.prefix::<MessageRow>(&(mailbox.id,));
        while left > 0
            && let Some(message) = rows.next().transpose()?
        {
            if message.is_deleted() {
                bytes = bytes.saturating_add(message.size());
                left -= 1;
            }
            looks += 1;
            if looks % LOOKS_MAX == 0 {
                tokio::task::yield_now().await;
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

    /// Sets limits of an account or `@domain`; 0: the default, [`ANY_NUMBER`]: none, whatever the
    /// default; `None`: as it was.
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
            let before = row.unwrap_or(QuotaRow { of, ..QuotaRow::default() });
            let mut row = before.clone();
            row.bytes_max = bytes_max.unwrap_or(row.bytes_max);
            row.messages_max = messages_max.unwrap_or(row.messages_max);
            tx.put(&row)?;
            Ok::<_, Refusal>((before, row))
        })?;
        let (before, row) = pending.await?;
        let (bytes, messages) = (words(row.bytes_max), words(row.messages_max));
        let change = format!("quota set to {bytes} bytes and {messages} messages");
        let what = row.of.clone();
        let set = EventKind::DirectoryChanged { what, change, by: by.to_owned() };
        self.bus.emit(TraceId(0), set);
        let reached = row.limited(&self.quota).reached(&before.limited(&self.quota));
        self.tell_reached(TraceId(0), reached);
        Ok(())
    }
}

/// A limit in words.
fn words(limit: u64) -> String {
    match limit {
        0 => "the default of".to_owned(),
        ANY_NUMBER => "any number of".to_owned(),
        limit => limit.to_string(),
    }
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
