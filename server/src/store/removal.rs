//! Taking away a mailbox, within a transaction.

use gracedb::write::WriteTx;

use super::failure::Failure;
use super::messages::{MailboxRow, MessageRow, MetadataRow, Origin, Vanished};
use super::words::remove_words;

/// Removes a mailbox with everything in it; it takes as long for one message as for a million.
pub(crate) fn remove_mailbox(tx: &mut WriteTx<'_>, row: &MailboxRow) -> Result<(), Failure> {
    tx.delete_prefix::<MessageRow, _>(&(row.id,))?;
    tx.delete_prefix::<Origin, _>(&(row.id,))?;
    tx.delete_prefix::<Vanished, _>(&(row.id,))?;
    tx.delete_prefix::<MetadataRow, _>(&(row.account, row.id))?;
    remove_words(tx, row.id)?;
    tx.delete::<MailboxRow>(&row.id)?;
    Ok(())
}
