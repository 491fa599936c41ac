//! Taking away mailboxes and references to bodies, within a transaction.

use gracedb::write::WriteTx;

use super::failure::Failure;
use super::messages::{Body, MailboxRow, MessageRow, Vanished};

/// Removes a mailbox with everything in it.
pub(crate) fn remove_mailbox(tx: &mut WriteTx<'_>, row: &MailboxRow) -> Result<(), Failure> {
    let mut bodies = Vec::new();
    for message in tx.prefix::<MessageRow>(&(row.id,)) {
        bodies.push(message?.body);
    }
    for body in bodies {
        unrefer(tx, body)?;
    }
    tx.delete_prefix::<MessageRow>(&(row.id,))?;
    tx.delete_prefix::<Vanished>(&(row.id,))?;
    tx.delete::<MailboxRow>(&row.id)?;
    Ok(())
}

/// One message less points to a body; the last one takes it along.
pub(crate) fn unrefer(tx: &mut WriteTx<'_>, body: u64) -> Result<(), Failure> {
    let Some(mut row) = tx.get::<Body>(&body)? else { return Ok(()) };
    row.references = row.references.saturating_sub(1);
    if row.references == 0 {
        tx.delete::<Body>(&body)?;
    } else {
        tx.put(&row)?;
    }
    Ok(())
}
