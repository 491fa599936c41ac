//! Taking away a mailbox, within a transaction.

use gracedb::write::WriteTx;

use super::failure::Failure;
use super::messages::{FactRow, MailboxRow, MessageRow, MetadataRow, Origin, PictureRow, Vanished};
use super::urls::UrlKeyRow;
use super::words::remove_words;
use super::{quota, seed, shares, threads};

/// Removes a mailbox with everything in it and the rights on it; it takes as long for one message
/// as for a million.
pub(crate) fn remove_mailbox(tx: &mut WriteTx<'_>, row: &MailboxRow) -> Result<(), Failure> {
    tx.delete_prefix::<MessageRow, _>(&(row.id,))?;
    tx.delete_prefix::<FactRow, _>(&(row.id,))?;
    tx.delete_prefix::<PictureRow, _>(&(row.id,))?;
    tx.delete_prefix::<Origin, _>(&(row.id,))?;
    tx.delete_prefix::<Vanished, _>(&(row.id,))?;
    tx.delete_prefix::<MetadataRow, _>(&(row.account, row.id))?;
    shares::forget_mailbox(tx, row.id)?;
    quota::forget_mailbox(tx, row)?;
    tx.delete::<UrlKeyRow>(&(row.account, row.id))?;
    remove_words(tx, row.id)?;
    threads::forget_mailbox(tx, row.id)?;
    if row.messages > 0 {
        threads::note_gone(tx, row.account, seed::now_s())?;
    }
    tx.delete::<MailboxRow>(&row.id)?;
    Ok(())
}
