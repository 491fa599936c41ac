//! Looks after the database: damage that work in the background met, and a failure that nobody was
//! told of because nobody was writing.
//!
//! Invariant: each is told once. Not here: failures that somebody's request met (told by whoever
//! serves it).

use std::collections::BTreeSet;
use std::time::Duration;

use gracedb::db::Db;
use tokio::time::sleep;

use grace_ipc::event::{EventKind, TraceId};

use crate::telemetry::bus::Bus;
use crate::telemetry::stop::Stop;

/// How often is looked. Damage that is met waits for an admin's hands, not for seconds.
const LOOK: Duration = Duration::from_secs(60);

/// Tells of damage and of failure, until told to stop.
pub async fn watch(db: Db, bus: Bus, stop: Stop) {
    let mut told = BTreeSet::new();
    loop {
        look(&db, &bus, &mut told);
        tokio::select! {
            () = sleep(LOOK) => {}
            () = stop.wait() => return,
        }
    }
}

/// Tells what was not told yet.
fn look(db: &Db, bus: &Bus, told: &mut BTreeSet<String>) {
    let failure = db.check().err().map(|e| e.to_string());
    let damage = match db.stats() {
        Ok(stats) => stats.damage,
        Err(e) => vec![e.to_string()],
    };
    for what in damage.into_iter().filter(|what| told.insert(what.clone())) {
        bus.emit(TraceId(0), EventKind::StoreDamaged { what });
    }
    for reason in failure.into_iter().filter(|reason| told.insert(reason.clone())) {
        bus.emit(TraceId(0), EventKind::StoreFailed { reason });
    }
}
