//! Telling of what is refused at the door, so that a flood of it is no flood of events.
//!
//! ```text
//!   refused ── the first of its kind ──▶ told at once
//!      └─────── again within a minute ──▶ counted ── the minute is over ──▶ told with the count
//! ```
//! A kind is a door, an address and a reason. Invariants: whatever is refused is told of, in the
//! end with its number; each kind is told of once a minute at most; memory is bounded by
//! `KINDS_MAX`, and those beyond are told of together.
//! Not here: deciding (`gate`, `guard`), counting (`telemetry::counters`, by what is told).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use grace_ipc::event::{EventKind, Service, TraceId};

use super::gate::Full;
use crate::telemetry::bus::{Bus, claim};
use crate::telemetry::stop::Stop;

/// How often one kind is told of.
const PAUSE: Duration = Duration::from_secs(60);
/// Kinds that are told apart: some 3 MB.
const KINDS_MAX: usize = 10_000;
/// What a refused connection did.
pub const CONNECT: &str = "connect";

/// Something that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// At which door.
    pub service: Service,
    /// Where the peer comes from.
    pub peer: SocketAddr,
    /// What it did: [`CONNECT`], or the SMTP command.
    pub command: &'static str,
    /// The setting that forbids it, or the block list.
    pub rule: String,
    /// Why, in words; the same for all that is refused for the same reason.
    pub reason: String,
}

/// Tells of refusals. Cloning gives another handle.
#[derive(Debug, Clone)]
pub struct Refusals {
    bus: Bus,
    kinds: Arc<Mutex<Kinds>>,
}

/// What was told and what was not.
#[derive(Debug, Default)]
struct Kinds {
    known: HashMap<(Service, IpAddr, String), Kind>,
    /// How much was refused beyond what can be told apart.
    others: Option<(Refused, u64)>,
}

#[derive(Debug)]
struct Kind {
    refused: Refused,
    told: Instant,
    untold: u64,
}

impl Refusals {
    /// Tells the bus.
    #[must_use]
    pub fn new(bus: Bus) -> Self {
        Self { bus, kinds: Arc::default() }
    }

    /// A connection was turned away. The first one is told of in the words of version 1.
    pub fn connection(&self, now: Instant, service: Service, peer: SocketAddr, full: Full) {
        let rule = full.rule().to_owned();
        let reason = full.reason();
        self.tell(now, TraceId(0), Refused { service, peer, command: CONNECT, rule, reason });
    }

    /// Something was refused.
    pub fn tell(&self, now: Instant, trace: TraceId, refused: Refused) {
        let told = self.kinds().refuse(now, refused);
        if let Some((refused, count)) = told {
            self.bus.emit(trace, event(refused, count));
        }
    }

    /// Tells of what was counted, as minutes end; until the server stops, and then of the rest.
    pub async fn keep(self, stop: Stop) {
        loop {
            tokio::select! {
                () = sleep(PAUSE) => self.settle(Instant::now(), PAUSE),
                () = stop.wait() => break,
            }
        }
        self.settle(Instant::now(), Duration::ZERO);
    }

    fn settle(&self, now: Instant, pause: Duration) {
        let told = self.kinds().settle(now, pause);
        for (refused, count) in told {
            self.bus.emit(TraceId(0), again(refused, count));
        }
    }

    fn kinds(&self) -> MutexGuard<'_, Kinds> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kinds {
    /// Counts one; returns what is to be told now.
    fn refuse(&mut self, now: Instant, refused: Refused) -> Option<(Refused, u64)> {
        let key = (refused.service, refused.peer.ip(), refused.reason.clone());
        if let Some(kind) = self.known.get_mut(&key) {
            kind.untold += 1;
            kind.refused = refused;
            return kind.due(now, PAUSE);
        }
        if self.known.len() >= KINDS_MAX {
            let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            let reason = "refused to too many addresses to tell of each".to_owned();
            let many = || Refused { peer: nobody, reason, ..refused };
            self.others.get_or_insert_with(|| (many(), 0)).1 += 1;
            return None;
        }
        self.known.insert(key, Kind { refused: refused.clone(), told: now, untold: 0 });
        Some((refused, 1))
    }

    /// What was counted and is to be told after this pause; forgets who is quiet.
    fn settle(&mut self, now: Instant, pause: Duration) -> Vec<(Refused, u64)> {
        let mut told: Vec<(Refused, u64)> = self.others.take().into_iter().collect();
        self.known.retain(|_, kind| {
            let due = kind.due(now, pause);
            let is_quiet = due.is_none() && kind.untold == 0 && now >= kind.told + pause;
            told.extend(due);
            !is_quiet
        });
        told
    }
}

impl Kind {
    /// What is to be told of it now.
    fn due(&mut self, now: Instant, pause: Duration) -> Option<(Refused, u64)> {
        if self.untold == 0 || now < self.told + pause {
            return None;
        }
        self.told = now;
        Some((self.refused.clone(), std::mem::take(&mut self.untold)))
    }
}

/// What is told of the first of its kind.
fn event(refused: Refused, count: u64) -> EventKind {
    let Refused { service, peer, reason, .. } = refused;
    if refused.command == CONNECT && count == 1 {
        return EventKind::ConnectionRefused { service, peer, reason: claim(reason.as_bytes()) };
    }
    again(Refused { reason, ..refused }, count)
}

/// What is told of those after it.
fn again(refused: Refused, count: u64) -> EventKind {
    let Refused { service, peer, command, rule, reason } = refused;
    let (rule, reason) = (claim(rule.as_bytes()), claim(reason.as_bytes()));
    EventKind::DoorRefused { service, peer, command: command.to_owned(), rule, reason, count }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(peer: &str, reason: &str) -> Refused {
        Refused {
            service: Service::Smtp,
            peer: peer.parse().expect("an address"),
            command: "RCPT",
            rule: "bl.example".to_owned(),
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn the_first_is_told_at_once_and_the_others_with_their_number() {
        let (mut kinds, start) = (Kinds::default(), Instant::now());
        let first = refused("192.0.2.1:1", "listed");
        assert_eq!(kinds.refuse(start, first.clone()), Some((first, 1)));
        for port in 2..100 {
            let again = refused(&format!("192.0.2.1:{port}"), "listed");
            assert_eq!(kinds.refuse(start, again), None);
        }
        let other = refused("192.0.2.2:1", "listed");
        assert_eq!(kinds.refuse(start, other.clone()), Some((other, 1)));
        let reason = refused("192.0.2.1:1", "too much");
        assert_eq!(kinds.refuse(start, reason.clone()), Some((reason, 1)));
        assert_eq!(kinds.settle(start + PAUSE / 2, PAUSE), []);
        assert_eq!(kinds.settle(start + PAUSE, PAUSE), [(refused("192.0.2.1:99", "listed"), 98)]);
        assert_eq!(kinds.known.len(), 1, "who is quiet is forgotten");
        assert_eq!(kinds.settle(start + PAUSE * 2, PAUSE), []);
        assert!(kinds.known.is_empty());
    }

    #[test]
    fn a_flood_is_told_once_a_minute() {
        let (mut kinds, start) = (Kinds::default(), Instant::now());
        let (mut told, mut count) = (0, 0);
        for ms in 0..300_000 {
            let now = start + Duration::from_millis(ms);
            if let Some((_, more)) = kinds.refuse(now, refused("192.0.2.1:1", "listed")) {
                (told, count) = (told + 1, count + more);
            }
        }
        let rest: u64 = kinds.settle(start + PAUSE * 9, PAUSE).iter().map(|(_, more)| more).sum();
        assert_eq!((told, count + rest), (5, 300_000));
    }

    #[test]
    fn memory_is_bounded_and_nothing_goes_untold() {
        let (mut kinds, now) = (Kinds::default(), Instant::now());
        let all = u32::try_from(KINDS_MAX).expect("it fits") + 500;
        let peer = |number: u32| SocketAddr::from((Ipv4Addr::from_bits(number), 1));
        let told = (0..all)
            .filter_map(|number| {
                let refused = Refused { peer: peer(number), ..refused("192.0.2.1:1", "listed") };
                kinds.refuse(now, refused)
            })
            .count();
        assert_eq!((told, kinds.known.len()), (KINDS_MAX, KINDS_MAX));
        let rest = kinds.settle(now, PAUSE);
        assert_eq!(rest.iter().map(|(_, count)| count).sum::<u64>(), 500);
    }

    #[tokio::test]
    async fn the_rest_is_told_at_the_end() {
        let (bus, now) = (Bus::new(10), Instant::now());
        let refusals = Refusals::new(bus.clone());
        let peer = "192.0.2.1:7".parse().expect("an address");
        for _ in 0..3 {
            refusals.connection(now, Service::Imap, peer, Full::Banned);
        }
        let stop = Stop::default();
        stop.say();
        refusals.keep(stop).await;
        let told = bus.reader(usize::MAX).take(9).events;
        let told: Vec<&EventKind> = told.iter().map(|event| &event.kind).collect();
        let [EventKind::ConnectionRefused { .. }, EventKind::DoorRefused { count, rule, .. }] =
            told.as_slice()
        else {
            panic!("{told:?}")
        };
        assert_eq!((*count, rule.as_str()), (2, "limits.login_failures_ban"));
        assert_eq!(bus.counters().connections_refused.get(), 3);
    }
}
