//! What waits, for who looks.

use gracedb::db::Db;
use gracedb::view::View as _;

use grace_ipc::queue::{QueueFilter, QueueRow};

use crate::store::failure::Failure;
use crate::store::outgoing::{OutgoingRecipientRow, OutgoingRow, base32, from_base32};

/// The recipients that fit, by message, and at most so many.
///
/// # Errors
/// The database failed.
pub fn list(db: &Db, filter: &QueueFilter, rows_max: usize) -> Result<Vec<QueueRow>, Failure> {
    let mut rows = Vec::new();
    walk(db, filter, |message, recipient| {
        rows.push(row(message, recipient));
        rows.len() < rows_max
    })?;
    Ok(rows)
}

/// Shows every recipient that fits, until told that it is enough.
///
/// # Errors
/// The database failed.
pub(crate) fn walk(
    db: &Db,
    filter: &QueueFilter,
    mut show: impl FnMut(&OutgoingRow, &OutgoingRecipientRow) -> bool,
) -> Result<(), Failure> {
    let snapshot = db.snapshot();
    let fits = |wanted: &Option<String>, found: &str| {
        wanted.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(found))
    };
    let messages: Vec<_> = match &filter.queue_id {
        // A number that is none is that of no message.
        Some(id) => {
            let id = from_base32(id);
            id.map(|id| snapshot.get::<OutgoingRow>(&id))
                .transpose()?
                .flatten()
                .into_iter()
                .collect()
        }
        None => Vec::new(),
    };
    let all = filter.queue_id.is_none().then(|| snapshot.scan::<OutgoingRow>());
    let messages = messages.into_iter().map(Ok).chain(all.into_iter().flatten());
    for message in messages {
        let message = message?;
        if !fits(&filter.sender, &message.sender) {
            continue;
        }
        for recipient in snapshot.prefix::<OutgoingRecipientRow>(&(message.id,)) {
            let recipient = recipient?;
            let is_wanted = fits(&filter.recipient, &recipient.address)
                && fits(&filter.destination, &recipient.destination);
            if is_wanted && !show(&message, &recipient) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn row(message: &OutgoingRow, recipient: &OutgoingRecipientRow) -> QueueRow {
    QueueRow {
        queue_id: base32(message.id),
        trace: message.trace,
        sender: message.sender.clone(),
        recipient: recipient.address.clone(),
        destination: recipient.destination.clone(),
        size: message.body.len(),
        created_us: message.created_ms.saturating_mul(1_000),
        next_us: recipient.due_ms.saturating_mul(1_000),
        attempts: u32::from(recipient.attempts),
        held: recipient.held,
        remote: recipient.remote.clone(),
        reason: recipient.reason.clone(),
    }
}
