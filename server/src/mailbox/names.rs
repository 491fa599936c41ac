//! Mailboxes by name: listing, making, renaming, removing, subscribing.
//!
//! Invariants: a name is unique within its account; no name is empty, has an empty level, or a
//! control character; `INBOX` is there in any spelling and can be neither removed nor made.
//! Not here: wildcards and modified UTF-7 (`grace-imap`).

use gracedb::view::View as _;
use gracedb::write::WriteTx;

use grace_ipc::event::{EventKind, TraceId};

use super::rights::inherit;
use super::{Mailboxes, SEPARATOR};
use crate::store::failure::Failure;
use crate::store::messages::{MailboxByName, MailboxRow, SpecialUse, Subscription};
use crate::store::removal::remove_mailbox;
use crate::store::seed::{self, INBOX};
use crate::store::shares::owner_name;

/// Longest mailbox name in bytes: the database's keys stay short, and no client needs more.
pub const NAME_BYTES_MAX: usize = 1_000;
/// Most levels in a name; RFC 9051 sets none, a client's tree view does.
pub const NAME_LEVELS_MAX: usize = 32;

impl Mailboxes {
    /// An account's mailboxes by ascending name.
    ///
    /// # Errors
    /// The database failed.
    pub fn list(&self, account: u64) -> Result<Vec<MailboxRow>, Failure> {
        let snapshot = self.db.snapshot();
        let rows = snapshot.by_index_prefix::<MailboxByName>(&(account,));
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The names an account is subscribed to, ascending.
    ///
    /// # Errors
    /// The database failed.
    pub fn subscriptions(&self, account: u64) -> Result<Vec<String>, Failure> {
        let snapshot = self.db.snapshot();
        let rows = snapshot.prefix::<Subscription>(&(account,));
        Ok(rows.map(|row| row.map(|row| row.name)).collect::<Result<_, _>>()?)
    }

    /// The mailbox of that name.
    ///
    /// # Errors
    /// The database failed.
    pub fn find(&self, account: u64, name: &str) -> Result<Option<MailboxRow>, Failure> {
        let Ok(name) = canonical(name) else { return Ok(None) };
        Ok(self.db.snapshot().find::<MailboxByName>(&(account, name))?)
    }

    /// Makes a mailbox and the levels above it that are missing (RFC 9051 6.3.4).
    ///
    /// # Errors
    /// It exists, the name is not allowed, a limit is reached, or the database failed.
    pub async fn create(
        &self,
        trace: TraceId,
        account: u64,
        name: &str,
        special_use: Option<SpecialUse>,
    ) -> Result<MailboxRow, Failure> {
        // RFC 9051 6.3.4: a trailing separator only declares that names below it will be made.
        let name = canonical(name.strip_suffix(SEPARATOR).unwrap_or(name))?;
        let max = self.mailboxes_per_account_max;
        let row = self
            .db
            .write(|tx| {
                require_account(tx, account)?;
                if find(tx, account, &name)?.is_some() {
                    return Err(Failure::Exists);
                }
                if let Some(wanted) = special_use {
                    claim_use(tx, account, wanted)?;
                }
                make_above(tx, account, &name)?;
                let made = seed::make(tx, account, &name, special_use)?;
                inherit(tx, &made)?;
                hold_limit(tx, account, max)?;
                Ok(made)
            })?
            .await?;
        self.tell(trace, account, &row.name, "created");
        Ok(row)
    }

    /// Removes a mailbox and its messages; names below it stay (RFC 9051 6.3.5).
    ///
    /// # Errors
    /// There is none of that name, it is INBOX, or the database failed.
    pub async fn delete(&self, trace: TraceId, account: u64, name: &str) -> Result<(), Failure> {
        let name = canonical(name)?;
        if name == INBOX {
            return Err(Failure::NotAllowed("INBOX cannot be removed"));
        }
        let row = self
            .db
            .write(|tx| {
                let row = find(tx, account, &name)?.ok_or(Failure::NoSuchMailbox)?;
                remove_mailbox(tx, &row)?;
                Ok::<_, Failure>(row)
            })?
            .await?;
        self.tell(trace, account, &row.name, "deleted");
        Ok(())
    }

    /// Renames a mailbox and the names below it. Renaming INBOX moves its messages into a new
    /// mailbox and leaves it empty (RFC 9051 6.3.6).
    ///
    /// # Errors
    /// There is none of that name, the new name is taken or not allowed, or the database failed.
    pub async fn rename(
        &self,
        trace: TraceId,
        account: u64,
        from: &str,
        to: &str,
    ) -> Result<(), Failure> {
        let from = canonical(from)?;
        let to = canonical(to.strip_suffix(SEPARATOR).unwrap_or(to))?;
        if from == INBOX {
            return self.rename_inbox(trace, account, &to).await;
        }
        if to.strip_prefix(&from).is_some_and(|rest| rest.starts_with(SEPARATOR)) {
            return Err(Failure::NotAllowed("a mailbox cannot be moved below itself"));
        }
        let max = self.mailboxes_per_account_max;
        self.db
            .write(|tx| {
                if find(tx, account, &to)?.is_some() {
                    return Err(Failure::Exists);
                }
                let below = format!("{from}{SEPARATOR}");
                let mut moved = Vec::new();
                for row in tx.by_index_prefix::<MailboxByName>(&(account,)) {
                    let row = row?;
                    if row.name == from || row.name.starts_with(&below) {
                        moved.push(row);
                    }
                }
                if moved.is_empty() {
                    return Err(Failure::NoSuchMailbox);
                }
                if make_above(tx, account, &to)? {
                    hold_limit(tx, account, max)?;
                }
                for row in moved {
                    let rest = row.name.strip_prefix(&from).unwrap_or_default();
                    let name = canonical(&format!("{to}{rest}"))?;
                    if find(tx, account, &name)?.is_some() {
                        return Err(Failure::Exists);
                    }
                    tx.put(&MailboxRow { name, ..row })?;
                }
                Ok(())
            })?
            .await?;
        self.tell(trace, account, &to, "renamed");
        Ok(())
    }

    /// Moves what is in INBOX into a new mailbox.
    async fn rename_inbox(&self, trace: TraceId, account: u64, to: &str) -> Result<(), Failure> {
        let inbox = self.find(account, INBOX)?.ok_or(Failure::NoSuchMailbox)?;
        let target = self.create(trace, account, to, None).await?;
        let uids: Vec<u32> = self.open(inbox.id, false).await?.messages.uids().collect();
        self.move_messages(inbox.id, &uids, target.id).await?;
        Ok(())
    }

    /// Subscribes to a name, or ends that. The mailbox need not exist (RFC 9051 6.3.7).
    ///
    /// # Errors
    /// The name is not allowed, there are as many subscriptions as there may be mailboxes, or the
    /// database failed.
    pub async fn subscribe(&self, account: u64, name: &str, on: bool) -> Result<(), Failure> {
        let name = canonical(name)?;
        let max = self.mailboxes_per_account_max;
        self.db
            .write(|tx| {
                if on {
                    require_account(tx, account)?;
                    let is_new = tx.get::<Subscription>(&(account, name.clone()))?.is_none();
                    if is_new && tx.prefix::<Subscription>(&(account,)).count() as u64 >= max {
                        return Err(Failure::Limit("limits.mailboxes_per_account_max is reached"));
                    }
                    tx.put(&Subscription { account, name })?;
                } else {
                    tx.delete::<Subscription>(&(account, name))?;
                }
                Ok::<_, Failure>(())
            })?
            .await?;
        Ok(())
    }

    /// Tells of a change.
    pub(super) fn tell(&self, trace: TraceId, owner: u64, mailbox: &str, change: &str) {
        let account = owner_name(&self.db.snapshot(), owner).ok().flatten().unwrap_or_default();
        let (mailbox, change) = (mailbox.to_owned(), change.to_owned());
        self.bus.emit(trace, EventKind::MailboxChanged { account, mailbox, change });
    }
}

/// The one spelling of a name, or why it is not allowed.
pub(super) fn canonical(name: &str) -> Result<String, Failure> {
    let (first, rest) = match name.split_once(SEPARATOR) {
        Some((first, rest)) => (first, Some(rest)),
        None => (name, None),
    };
    // RFC 9051 5.1: INBOX is case-insensitive.
    let first = if first.eq_ignore_ascii_case(INBOX) { INBOX } else { first };
    let name = rest.map_or_else(|| first.to_owned(), |rest| format!("{first}{SEPARATOR}{rest}"));
    if name.len() > NAME_BYTES_MAX {
        return Err(Failure::Limit("a mailbox name may have 1000 bytes"));
    }
    if name.split(SEPARATOR).count() > NAME_LEVELS_MAX {
        return Err(Failure::Limit("a mailbox name may have 32 levels"));
    }
    if name.split(SEPARATOR).any(str::is_empty) {
        return Err(Failure::NotAllowed("a mailbox name has no empty level"));
    }
    // RFC 9051 5.1 and RFC 5198 2: wildcards and controls in names only make trouble.
    if name.chars().any(|c| c.is_control() || matches!(c, '*' | '%')) {
        return Err(Failure::NotAllowed(
            "a mailbox name has no control characters, asterisks or percent signs",
        ));
    }
    Ok(name)
}

/// A session may outlive its account; what it made then would be nobody's for ever.
fn require_account(tx: &WriteTx<'_>, account: u64) -> Result<(), Failure> {
    let owner = owner_name(tx, account)?;
    owner.map(drop).ok_or(Failure::NotAllowed("the account was deleted"))
}

fn find(tx: &WriteTx<'_>, account: u64, name: &str) -> Result<Option<MailboxRow>, Failure> {
    Ok(tx.find::<MailboxByName>(&(account, name.to_owned()))?)
}

/// Refuses what gives an account more mailboxes than it may have.
fn hold_limit(tx: &WriteTx<'_>, account: u64, max: u64) -> Result<(), Failure> {
    match tx.by_index_prefix::<MailboxByName>(&(account,)).count() as u64 > max {
        true => Err(Failure::Limit("limits.mailboxes_per_account_max is reached")),
        false => Ok(()),
    }
}

/// Makes the levels above a name that are missing; true: there were some.
fn make_above(tx: &mut WriteTx<'_>, account: u64, name: &str) -> Result<bool, Failure> {
    let mut is_made = false;
    for (at, _) in name.match_indices(SEPARATOR) {
        let Some(above) = name.get(..at) else { continue };
        if find(tx, account, above)?.is_none() {
            let made = seed::make(tx, account, above, None)?;
            inherit(tx, &made)?;
            is_made = true;
        }
    }
    Ok(is_made)
}

/// Takes a special use away from the mailbox that had it: each stands on one (RFC 6154 2).
fn claim_use(tx: &mut WriteTx<'_>, account: u64, wanted: SpecialUse) -> Result<(), Failure> {
    let mut had = Vec::new();
    for row in tx.by_index_prefix::<MailboxByName>(&(account,)) {
        had.extend(Some(row?).filter(|row| row.special_use == wanted as u8));
    }
    for row in had {
        tx.put(&MailboxRow { special_use: 0, ..row })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_spelling() {
        let check = |name: &str, want: Option<&str>| {
            assert_eq!(canonical(name).ok().as_deref(), want, "{name:?}");
        };
        check("inbox", Some("INBOX"));
        check("Inbox/Lists", Some("INBOX/Lists"));
        check("Lists/inbox", Some("Lists/inbox"));
        check("Entwürfe", Some("Entwürfe"));
        check("", None);
        check("a//b", None);
        check("/a", None);
        check("a\r\nb", None);
        check("a*", None);
        check(&"x".repeat(NAME_BYTES_MAX + 1), None);
    }
}
