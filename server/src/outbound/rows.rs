//! Rows on disk become mail in the queue: all at the start, one message at a time afterwards.
//!
//! Not here: how rows change (`settle`, `orders`).

use std::collections::BTreeMap;

use gracedb::view::View as _;

use grace_ipc::event::{EventKind, TraceId};
use grace_queue::queue::{Mail, Queue};
use grace_queue::schedule::Life;
use grace_queue::time::Time;

use crate::services::Services;
use crate::store::outgoing::{OutgoingRecipientRow, OutgoingRow};

/// Queues everything that is on disk. What cannot be read is told of and does not keep the rest
/// back.
pub(super) fn load(services: &Services, queue: &mut Queue, now: Time) {
    let snapshot = services.db.snapshot();
    for message in snapshot.scan::<OutgoingRow>() {
        let entered = message
            .map_err(|e| format!("outgoing mail cannot be read: {e}"))
            .and_then(|message| enter(services, queue, now, &message));
        if let Err(what) = entered {
            services.porter.bus.emit(TraceId(0), EventKind::StoreDamaged { what });
        }
    }
}

/// Queues a message that is on disk by now.
pub(super) fn submitted(
    services: &Services,
    queue: &mut Queue,
    now: Time,
    message: u64,
) -> Result<(), String> {
    // Taken while this started, it was found on disk before it was told of.
    if queue.contains(message) {
        return Ok(());
    }
    let found = services.db.snapshot().get::<OutgoingRow>(&message);
    match found.map_err(|e| format!("outgoing mail cannot be read: {e}"))? {
        Some(message) => enter(services, queue, now, &message),
        None => Ok(()),
    }
}

/// Recipients that are tried together: those of one destination that have fared the same.
type Together = (String, bool, [u64; 4], u16, bool);

fn enter(
    services: &Services,
    queue: &mut Queue,
    now: Time,
    message: &OutgoingRow,
) -> Result<(), String> {
    let mut groups: BTreeMap<Together, Vec<u32>> = BTreeMap::new();
    for row in services.db.snapshot().prefix::<OutgoingRecipientRow>(&(message.id,)) {
        let row = row.map_err(|e| format!("outgoing mail cannot be read: {e}"))?;
        let next_hop = services.router.next_hop(&row.destination);
        let moments = [row.started_ms, row.due_ms, row.notice_ms, row.expires_ms];
        let together = (next_hop, row.held, moments, row.attempts, row.is_strict);
        groups.entry(together).or_default().push(row.number);
    }
    for ((destination, held, moments, attempts, is_strict), recipients) in groups {
        let [started, due, notice_at, expires] = moments.map(Time::from_millis);
        let mail = Mail {
            message: message.id,
            recipients: &recipients,
            destination: &destination,
            sender: message.account,
            priority: message.priority,
            life: Life { started, expires, notice_at, attempts, is_strict },
            due,
        };
        let entered = if held { queue.add_held(now, &mail) } else { queue.add(now, &mail) };
        // It stays on disk, and the next start finds room for it.
        entered.map_err(|full| format!("outgoing mail: {full}"))?;
    }
    Ok(())
}
