//! What an account starts with.

use gracedb::view::View as _;
use gracedb::write::WriteTx;

use super::accounts::Account;
use super::failure::Failure;
use super::messages::{
    MailboxByName, MailboxRow, MessageRow, SpecialUse, Subscription, UidValidity,
};
use crate::telemetry::bus::now_us;

/// The mailbox every account has (RFC 9051 5.1).
pub const INBOX: &str = "INBOX";

/// Mailboxes a new account starts with, under the names most clients look for.
const FIRST_MAILBOXES: &[(&str, Option<SpecialUse>)] = &[
    (INBOX, None),
    ("Drafts", Some(SpecialUse::Drafts)),
    ("Sent", Some(SpecialUse::Sent)),
    ("Archive", Some(SpecialUse::Archive)),
    ("Junk", Some(SpecialUse::Junk)),
    ("Trash", Some(SpecialUse::Trash)),
];

/// A number for a new account. Mailboxes may have outlived the row of theirs, in a database that
/// was repaired; nobody else gets them.
pub(crate) fn account_id(tx: &mut WriteTx<'_>) -> Result<u64, Failure> {
    loop {
        let id = tx.next_id::<Account>()?;
        if tx.by_index_prefix::<MailboxByName>(&(id,)).next().is_none() {
            return Ok(id);
        }
    }
}

/// Makes the mailboxes of a new account, subscribed.
pub(crate) fn first_mailboxes(tx: &mut WriteTx<'_>, account: u64) -> Result<(), Failure> {
    for &(name, special_use) in FIRST_MAILBOXES {
        make(tx, account, name, special_use)?;
        tx.put(&Subscription { account, name: name.to_owned() })?;
    }
    Ok(())
}

/// An account's INBOX; made anew should it be missing.
pub(crate) fn inbox(tx: &mut WriteTx<'_>, account: u64) -> Result<MailboxRow, Failure> {
    match tx.find::<MailboxByName>(&(account, INBOX.to_owned()))? {
        Some(inbox) => Ok(inbox),
        None => make(tx, account, INBOX, None),
    }
}

/// An account's mailbox for doubtful mail, however it is called; made anew should it be missing.
pub(crate) fn junk(tx: &mut WriteTx<'_>, account: u64) -> Result<MailboxRow, Failure> {
    const JUNK: &str = "Junk";
    let mut marked = None;
    for row in tx.by_index_prefix::<MailboxByName>(&(account,)) {
        let row = row?;
        if SpecialUse::from_row(row.special_use) == Some(SpecialUse::Junk) {
            marked = Some(row);
            break;
        }
    }
    if let Some(marked) = marked {
        return Ok(marked);
    }
    match tx.find::<MailboxByName>(&(account, JUNK.to_owned()))? {
        Some(named) => Ok(named),
        None => make(tx, account, JUNK, Some(SpecialUse::Junk)),
    }
}

/// Makes one mailbox.
pub(crate) fn make(
    tx: &mut WriteTx<'_>,
    account: u64,
    name: &str,
    special_use: Option<SpecialUse>,
) -> Result<MailboxRow, Failure> {
    let row = MailboxRow {
        id: free_id(tx)?,
        account,
        name: name.to_owned(),
        special_use: special_use.map_or(0, |known| known as u8),
        uid_validity: next_uid_validity(tx)?,
        uid_next: 1,
        modseq: 1,
        recent_from: 1,
        messages: 0,
        unseen: 0,
        deleted: 0,
        bytes: 0,
    };
    tx.insert(&row)?;
    Ok(row)
}

/// A number for a new mailbox. Messages may have outlived the row of theirs, in a database that was
/// repaired; nobody else gets them.
fn free_id(tx: &mut WriteTx<'_>) -> Result<u64, Failure> {
    loop {
        let id = tx.next_id::<MailboxRow>()?;
        if tx.prefix::<MessageRow>(&(id,)).next().is_none() {
            return Ok(id);
        }
    }
}

/// RFC 9051 2.3.1.1 recommends the time of creation. Counting on from the last one keeps two made
/// within one second apart, and a clock that was set back from giving one out again.
pub(super) fn next_uid_validity(tx: &mut WriteTx<'_>) -> Result<u32, Failure> {
    let last = tx.get::<UidValidity>(&0)?.map_or(0, |row| row.last);
    const NONE: Failure = Failure::Limit("no UIDVALIDITY is left; the clock is beyond 2106");
    let now = u32::try_from(now_s()).map_err(|_| NONE)?;
    let last = now.max(last.checked_add(1).ok_or(NONE)?);
    tx.put(&UidValidity { one: 0, last })?;
    Ok(last)
}

/// Seconds since 1970 UTC.
pub(crate) fn now_s() -> i64 {
    i64::try_from(now_us() / 1_000_000).unwrap_or(i64::MAX)
}
