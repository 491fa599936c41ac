//! What an attempt, time or an admin did to recipients, written down in one transaction, with the
//! notification of the sender where there is one.
//!
//! ```text
//!   fates, or time ─▶ steps ─▶ notification ─▶ ONE transaction: rows, notification ─▶ events
//! ```
//! Invariants: a recipient's row goes in the same transaction in which its sender's notification
//! comes; what finds the disk full waits for room and is then written, for it has happened.
//! Not here: what a notification says (`notify`), when the next attempt is (`grace_queue`).

use std::collections::HashMap;
use std::time::Duration;

use gracedb::view::View as _;
use gracedb::write::WriteTx;
use tokio::time::sleep;

use grace_ipc::event::{EventKind, TraceId};
use grace_queue::queue::{After, Batch};
use grace_queue::time::Time;

use super::attempt::{Fate, Trouble};
use super::notify::{self, Told, What};
use super::now;
use crate::outgoing::Success;
use crate::services::Services;
use crate::store::failure::Failure;
use crate::store::outgoing::{Onward, OutgoingRecipientRow, OutgoingRow, base32, settle};
use crate::telemetry::bus::claim;

/// How long to wait for room on a full disk before trying again. Nothing tells when there is some.
const ROOM_WAIT: Duration = Duration::from_secs(5);

/// What is to be written after an attempt.
pub(super) struct Settlement {
    pub(super) batch: Batch,
    pub(super) fates: Vec<(u32, Fate)>,
    pub(super) after: After,
    /// Whom an admin gave up meanwhile, and whether their sender is told.
    pub(super) doomed: HashMap<u32, bool>,
}

/// Recipients whose mail is late.
pub(super) struct Late {
    pub(super) message: u64,
    pub(super) recipients: Vec<u32>,
    /// How long we go on.
    pub(super) until: Time,
    /// When the sender is to hear it again.
    pub(super) notice_at: Time,
}

/// What happens to one recipient.
#[derive(Clone)]
enum Step {
    /// Another server has it.
    Sent { remote: String, tls: String, reply: String, notifies: bool, is_traced: bool },
    /// It is tried again.
    Deferred { trouble: Trouble, due: Time },
    /// It waits for an admin.
    Held { trouble: Trouble },
    /// It will not arrive.
    Failed { trouble: Trouble },
    /// An admin took it out, and nobody is told.
    Dropped,
    /// The sender is to hear that it is late.
    Late { until: Time, notice_at: Time },
}

/// A recipient and what happens to it.
struct Change {
    row: OutgoingRecipientRow,
    step: Step,
}

/// Writes down what an attempt brought; gives the notifications that are queued with it.
pub(super) async fn attempted(
    services: Services,
    settlement: Settlement,
) -> Result<Vec<u64>, Failure> {
    let Settlement { batch, fates, after, doomed } = settlement;
    let mut fates: HashMap<u32, Fate> = fates.into_iter().collect();
    let unknown = || Fate::Later(Trouble::found((4, 3, 0), "the attempt broke"));
    let attempts = after.attempts;
    let steps = batch.recipients.iter().filter_map(|&number| {
        let step = match fates.remove(&number).unwrap_or_else(unknown) {
            Fate::Sent { remote, tls, reply, notifies, is_traced } => {
                Step::Sent { remote, tls, reply, notifies, is_traced }
            }
            Fate::Never(trouble) => Step::Failed { trouble },
            _ if doomed.contains_key(&number) => given_up(doomed.get(&number) == Some(&true)),
            _ if after.untried.contains(&number) => return None,
            Fate::Untried if after.expired.contains(&number) => {
                Step::Failed { trouble: expired_trouble() }
            }
            Fate::Later(trouble) if after.expired.contains(&number) => Step::Failed { trouble },
            Fate::Later(trouble) if after.held.contains(&number) => Step::Held { trouble },
            Fate::Later(trouble) if after.rerouted.contains(&number) => {
                Step::Deferred { trouble, due: now() }
            }
            Fate::Later(trouble) => Step::Deferred { trouble, due: after.at? },
            Fate::Untried => return None,
        };
        Some((number, step))
    });
    write(&services, batch.message, steps.collect(), Some(attempts)).await
}

/// Tells senders that their mail is late.
pub(super) async fn late(services: Services, late: Late) -> Result<Vec<u64>, Failure> {
    let Late { message, recipients, until, notice_at } = late;
    let steps = recipients.into_iter().map(|n| (n, Step::Late { until, notice_at }));
    write(&services, message, steps.collect(), None).await
}

/// Gives up what nobody tried any more.
pub(super) async fn expired(
    services: Services,
    message: u64,
    recipients: Vec<u32>,
) -> Result<Vec<u64>, Failure> {
    let step = Step::Failed { trouble: expired_trouble() };
    let steps = recipients.into_iter().map(|number| (number, step.clone()));
    write(&services, message, steps.collect(), None).await
}

/// Takes out what an admin does not want any more.
pub(super) async fn dropped(
    services: Services,
    message: u64,
    recipients: Vec<u32>,
    is_told: bool,
) -> Result<Vec<u64>, Failure> {
    let step = given_up(is_told);
    let steps = recipients.into_iter().map(|number| (number, step.clone()));
    write(&services, message, steps.collect(), None).await
}

/// What an admin's order to give up comes to.
fn given_up(is_told: bool) -> Step {
    let trouble = Trouble::found((5, 0, 0), "the administrator of this server gave it up");
    if is_told { Step::Failed { trouble } } else { Step::Dropped }
}

/// Tells a sender that mail arrived here, or goes on to several.
pub(super) async fn succeeded(
    services: Services,
    success: Success,
    onward: Onward,
) -> Result<Vec<u64>, Failure> {
    let Onward { message, recipients, .. } = onward;
    let what = || match success {
        Success::Arrived => What::Delivered,
        Success::Expanded => What::Expanded,
    };
    let told: Vec<Told> = recipients.into_iter().map(|row| Told { row, what: what() }).collect();
    let Some(notification) = notify::compose(&services, &message, &told).await? else {
        return Ok(Vec::new());
    };
    let places = services.db.write(|tx| notification.put(tx))?.await?;
    Ok(notification.tell(&services, &message, places))
}

/// RFC 3463 3.5: "delivery time expired".
const EXPIRED: (u16, u16, u16) = (4, 4, 7);

fn expired_trouble() -> Trouble {
    Trouble::found(EXPIRED, "it could not be delivered in time")
}

/// Writes until it is written.
async fn write(
    services: &Services,
    message: u64,
    steps: Vec<(u32, Step)>,
    attempts: Option<u16>,
) -> Result<Vec<u64>, Failure> {
    loop {
        match write_once(services, message, &steps, attempts).await {
            Err(Failure::Full(_)) => {
                tokio::select! {
                    () = services.porter.stop.wait() => return Ok(Vec::new()),
                    () = sleep(ROOM_WAIT) => {}
                }
            }
            done => return done,
        }
    }
}

async fn write_once(
    services: &Services,
    message: u64,
    steps: &[(u32, Step)],
    attempts: Option<u16>,
) -> Result<Vec<u64>, Failure> {
    let (row, changes) = {
        let snapshot = services.db.snapshot();
        let Some(row) = snapshot.get::<OutgoingRow>(&message)? else { return Ok(Vec::new()) };
        let mut changes = Vec::with_capacity(steps.len());
        for (number, step) in steps {
            // An admin may have taken it out meanwhile.
            if let Some(row) = snapshot.get::<OutgoingRecipientRow>(&(message, *number))? {
                changes.push(Change { row, step: step.clone() });
            }
        }
        (row, changes)
    };
    let told: Vec<Told> = changes.iter().filter_map(told).collect();
    let notification = notify::compose(services, &row, &told).await?;
    let at = now();
    let pending = services.db.write(|tx| {
        for change in &changes {
            apply(tx, change, attempts, at)?;
        }
        notification.as_ref().map(|notification| notification.put(tx)).transpose()
    })?;
    let delivered = pending.await?;
    changes.iter().for_each(|change| tell(services, &row, change, attempts));
    Ok(match (notification, delivered) {
        (Some(notification), Some(places)) => notification.tell(services, &row, places),
        _ => Vec::new(),
    })
}

/// What the sender may have to hear of it.
fn told(change: &Change) -> Option<Told> {
    let what = match &change.step {
        Step::Sent { remote, reply, is_traced: true, .. } => {
            What::Traced { remote: remote.clone(), reply: reply.clone() }
        }
        Step::Sent { remote, reply, notifies: false, .. } => {
            What::Relayed { remote: remote.clone(), reply: reply.clone() }
        }
        Step::Failed { trouble } => What::Failed(with_last(trouble, &change.row)),
        Step::Late { until, .. } => What::Late(*until),
        _ => return None,
    };
    Some(Told { row: change.row.clone(), what })
}

/// What went wrong; where it is only that time is over, what went wrong last.
fn with_last(trouble: &Trouble, row: &OutgoingRecipientRow) -> Trouble {
    if trouble.status != EXPIRED {
        return trouble.clone();
    }
    // RFC 2852 4: it is the sender who set the time, so that nobody is to try again.
    let status = if row.is_strict { (5, 4, 7) } else { trouble.status };
    if row.reason.is_empty() {
        return Trouble { status, ..trouble.clone() };
    }
    let said = if row.remote.is_empty() { "" } else { " said " };
    let last = format!("{}{said}{}", row.remote, row.reason);
    let reason = format!("{}; the last attempt: {last}", trouble.reason);
    Trouble { status, reason, ..trouble.clone() }
}

/// Changes one recipient's row.
fn apply(
    tx: &mut WriteTx<'_>,
    change: &Change,
    attempts: Option<u16>,
    at: Time,
) -> Result<(), Failure> {
    let key = (change.row.message, change.row.number);
    let Some(row) = tx.get::<OutgoingRecipientRow>(&key)? else { return Ok(()) };
    let tried = |row: OutgoingRecipientRow, trouble: &Trouble| OutgoingRecipientRow {
        attempts: attempts.unwrap_or(row.attempts),
        tried_ms: at.millis(),
        remote: trouble.remote.clone(),
        reason: trouble.reason.clone(),
        ..row
    };
    let row = match &change.step {
        Step::Sent { .. } | Step::Failed { .. } | Step::Dropped => {
            settle(tx, key.0, key.1)?;
            return Ok(());
        }
        Step::Deferred { trouble, due } => {
            OutgoingRecipientRow { due_ms: due.millis(), ..tried(row, trouble) }
        }
        Step::Held { trouble } => OutgoingRecipientRow { held: true, ..tried(row, trouble) },
        Step::Late { notice_at, .. } => {
            OutgoingRecipientRow { notice_ms: notice_at.millis(), ..row }
        }
    };
    tx.put(&row)?;
    Ok(())
}

/// Tells of it.
fn tell(services: &Services, message: &OutgoingRow, change: &Change, attempts: Option<u16>) {
    let queue_id = base32(message.id);
    let recipient = claim(change.row.address.as_bytes());
    let event = match &change.step {
        Step::Sent { remote, tls, reply, .. } => EventKind::RecipientSent {
            queue_id,
            recipient,
            remote: remote.clone(),
            tls: tls.clone(),
            reply: claim(reply.as_bytes()),
        },
        Step::Deferred { trouble, due } => EventKind::RecipientDeferred {
            queue_id,
            recipient,
            remote: trouble.remote.clone(),
            reason: claim(trouble.reason.as_bytes()),
            attempts: u32::from(attempts.unwrap_or(change.row.attempts)),
            next_us: due.millis().saturating_mul(1_000),
        },
        Step::Failed { trouble } => EventKind::RecipientFailed {
            queue_id,
            recipient,
            remote: trouble.remote.clone(),
            reason: claim(with_last(trouble, &change.row).reason.as_bytes()),
        },
        Step::Dropped => EventKind::RecipientFailed {
            queue_id,
            recipient,
            remote: String::new(),
            reason: "the administrator of this server took it out".to_owned(),
        },
        Step::Held { .. } | Step::Late { .. } => return,
    };
    services.porter.bus.emit(TraceId(message.trace), event);
}
