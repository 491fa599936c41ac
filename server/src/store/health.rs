//! Looks after the database: damage that work in the background met, and a failure that nobody was
//! told of because nobody was writing.
//!
//! Invariant: each is told once; a failure that was over, once more.
//! Not here: failures that somebody's request met (told by whoever serves it).

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
    let mut told = Told::default();
    loop {
        for news in told.look(&db) {
            bus.emit(TraceId(0), news);
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            () = stop.wait() => return,
        }
    }
}

/// What was told already.
#[derive(Debug, Default)]
struct Told {
    damage: BTreeSet<String>,
    /// What fails now, unless all is well.
    failure: Option<String>,
}

impl Told {
    /// What is to be told now.
    fn look(&mut self, db: &Db) -> Vec<EventKind> {
        let failure = db.check().err().map(|e| e.to_string());
        let damage = match db.stats() {
            Ok(stats) => stats.damage,
            Err(e) => vec![e.to_string()],
        };
        self.news(failure, damage)
    }

    /// What is new: damage stays told, a failure is told again once it was over.
    fn news(&mut self, failure: Option<String>, damage: Vec<String>) -> Vec<EventKind> {
        let new = damage.into_iter().filter(|what| self.damage.insert(what.clone()));
        let mut news: Vec<EventKind> = new.map(|what| EventKind::StoreDamaged { what }).collect();
        if failure != self.failure {
            news.extend(failure.clone().map(|reason| EventKind::StoreFailed { reason }));
            self.failure = failure;
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_again_once_it_was_over_and_damage_is_not() {
        let mut told = Told::default();
        let full = || Some("the disk is full".to_owned());
        let failed = [EventKind::StoreFailed { reason: full().unwrap() }];
        assert_eq!(told.news(full(), Vec::new()), failed);
        assert_eq!(told.news(full(), Vec::new()), []);
        assert_eq!(told.news(None, vec!["a.gj".to_owned()]).len(), 1);
        assert_eq!(told.news(full(), vec!["a.gj".to_owned()]), failed);
    }
}
