//! Rows on disk become mail in the queue: all at the start, one message at a time afterwards.
//!
//! Not here: how rows change (`settle`, `orders`).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use gracedb::view::View as _;

use grace_ipc::event::{EventKind, TraceId};
use grace_queue::admin::Which;
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
    enter_some(services, queue, now, message, &|row| Some(row.due_ms))
}

/// Sends what waits the way it goes now: at once where that is another than before, or where it was
/// tried in vain at a smart host, which may let us in now; what is being tried, when its attempt
/// ends.
pub(super) fn rerouted(services: &Services, queue: &mut Queue, now: Time) -> Result<(), String> {
    let unread = |e: gracedb::error::Error| format!("outgoing mail cannot be read: {e}");
    let snapshot = services.db.snapshot();
    let mut hops = BTreeSet::new();
    for message in snapshot.scan::<OutgoingRow>() {
        let message = message.map_err(unread)?;
        let mut moved = HashSet::new();
        for row in snapshot.prefix::<OutgoingRecipientRow>(&(message.id,)) {
            let row = row.map_err(unread)?;
            let way = services.router.way(&row.destination, &message.sender);
            let Some(known) = queue.destination_of(message.id, row.number) else { continue };
            let is_stuck = way.smart_host.is_some() && row.attempts > 0;
            if *known == *way.hop && !is_stuck {
                continue;
            }
            let which = Which::Recipient(message.id, row.number);
            if queue.is_tried(message.id, row.number) {
                queue.reroute(now, which, &way.hop);
            } else {
                queue.remove(now, which);
                moved.insert(row.number);
            }
            hops.insert(way.hop);
        }
        // Together, as they were before; what is to wait for its time waits for it.
        enter_some(services, queue, now, &message, &|row| {
            let due_ms = if row.attempts > 0 { now.millis() } else { row.due_ms };
            moved.contains(&row.number).then_some(due_ms)
        })?;
    }
    for hop in hops {
        queue.reopen(now, &hop);
    }
    Ok(())
}

/// Queues those recipients that `due_ms` gives a time to.
fn enter_some(
    services: &Services,
    queue: &mut Queue,
    now: Time,
    message: &OutgoingRow,
    due_ms: &dyn Fn(&OutgoingRecipientRow) -> Option<u64>,
) -> Result<(), String> {
    let mut groups: BTreeMap<Together, Vec<u32>> = BTreeMap::new();
    for row in services.db.snapshot().prefix::<OutgoingRecipientRow>(&(message.id,)) {
        let row = row.map_err(|e| format!("outgoing mail cannot be read: {e}"))?;
        let Some(due_ms) = due_ms(&row) else { continue };
        let next_hop = services.router.next_hop(&row.destination, &message.sender);
        let moments = [row.started_ms, due_ms, row.notice_ms, row.expires_ms];
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
