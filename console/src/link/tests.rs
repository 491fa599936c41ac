//! The link against a daemon behind a real socket.
//!
//! Not here: the daemon itself (the tests of the whole house).

use std::sync::mpsc::{Receiver, channel};

use grace_ipc::event::{EventKind, Service, TraceId};

use super::fake::FakeDaemon;
use super::*;

/// A link whose updates are taken one by one; nothing waits longer than this.
const LONG: Duration = Duration::from_secs(20);

struct Desk {
    link: Link,
    inbox: Arc<Inbox>,
    woken: Receiver<()>,
    seen: Vec<Update>,
}

impl Desk {
    fn new(path: PathBuf) -> Self {
        let (wake, woken) = channel();
        let wake = Mutex::new(wake);
        let inbox = Arc::new(Inbox::new(move || {
            let _ = lock(&wake).send(());
        }));
        let link = Link::start(vec![path], Arc::clone(&inbox)).expect("a thread can be started");
        Self { link, inbox, woken, seen: Vec::new() }
    }

    /// Waits for an update and gives it; everything before it is forgotten.
    #[track_caller]
    fn until<T>(&mut self, mut wanted: impl FnMut(&Update) -> Option<T>) -> T {
        let deadline = Instant::now() + LONG;
        loop {
            while !self.seen.is_empty() {
                if let Some(found) = wanted(&self.seen.remove(0)) {
                    return found;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            self.woken.recv_timeout(left).expect("it never came");
            self.seen.extend(self.inbox.take());
        }
    }

    #[track_caller]
    fn until_event(&mut self, seq: u64) -> u64 {
        self.until(|update| match update {
            Update::Events { events, .. } if events.iter().any(|event| event.seq == seq) => {
                Some(events.len() as u64)
            }
            _ => None,
        })
    }
}

fn connected(update: &Update) -> Option<u64> {
    match update {
        Update::Connected { info, .. } => Some(info.started_us),
        _ => None,
    }
}

fn lost(update: &Update) -> Option<Duration> {
    match update {
        Update::Lost { retry_in, .. } => Some(*retry_in),
        _ => None,
    }
}

fn event(number: u64) -> (u64, u64, EventKind) {
    let address = "127.0.0.1:2525".to_owned();
    (number, number, EventKind::Listening { service: Service::Smtp, address })
}

#[test]
fn it_shows_what_was_and_what_comes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("admin.sock");
    let daemon = FakeDaemon::start(&path, 1);
    let (time, trace, kind) = event(1);
    daemon.emit(time, trace, kind);
    let mut desk = Desk::new(path);
    assert_eq!(desk.until(connected), 1);
    assert_eq!(desk.until_event(1), 1);
    daemon.count(|stats| stats.messages_accepted = 7);
    desk.until(|update| match update {
        Update::Stats(stats) => (stats.messages_accepted == 7).then_some(()),
        _ => None,
    });
    let (time, trace, kind) = event(2);
    daemon.emit(time, trace, kind);
    assert_eq!(desk.until_event(2), 1);
}

#[test]
fn it_comes_back_and_sees_nothing_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("admin.sock");
    let daemon = FakeDaemon::start(&path, 1);
    for number in 1..=3 {
        let (time, trace, kind) = event(number);
        daemon.emit(time, trace, kind);
    }
    let mut desk = Desk::new(path.clone());
    desk.until(connected);
    desk.until_event(3);
    drop(daemon);
    assert_eq!(desk.until(lost), RETRY_MIN);
    // The same life again, with one event more: a daemon whose connection broke.
    let daemon = FakeDaemon::start(&path, 1);
    for number in 1..=4 {
        let (time, trace, kind) = event(number);
        daemon.emit(time, trace, kind);
    }
    desk.link.try_now();
    desk.until(connected);
    assert_eq!(desk.until_event(4), 1, "the first three are known");
    drop(daemon);
    desk.until(lost);
    // Another life: its first event is new.
    let daemon = FakeDaemon::start(&path, 2);
    let (time, trace, kind) = event(1);
    daemon.emit(time, trace, kind);
    desk.link.try_now();
    assert_eq!(desk.until(connected), 2);
    desk.until_event(1);
}

#[test]
fn without_a_daemon_it_tries_less_and_less_often() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut desk = Desk::new(folder.path().join("nobody.sock"));
    let mut waits = Vec::new();
    for _ in 0..4 {
        waits.push(desk.until(lost).as_millis());
        desk.link.try_now();
    }
    assert_eq!(waits, [500, 1_000, 2_000, 4_000]);
    let reason = desk.until(|update| match update {
        Update::Lost { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert!(reason.contains("is graced running?"), "{reason}");
}

#[test]
fn it_ends_at_once_while_connected_and_while_waiting() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("admin.sock");
    let daemon = FakeDaemon::start(&path, 1);
    let mut desk = Desk::new(path);
    desk.until(connected);
    let start = Instant::now();
    drop(desk);
    let mut desk = Desk::new(folder.path().join("nobody.sock"));
    desk.until(lost);
    drop(desk);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    drop(daemon);
}

fn events(count: usize) -> Update {
    let event = Event { seq: 1, time_us: 1, trace: TraceId(0), kind: EventKind::ServerStopping };
    Update::Events { lost: 0, events: vec![event; count] }
}

#[test]
fn many_updates_wake_once() {
    let (wake, woken) = channel();
    let wake = Mutex::new(wake);
    let inbox = Inbox::new(move || {
        let _ = lock(&wake).send(());
    });
    for _ in 0..100 {
        inbox.put(Update::Trying);
    }
    assert_eq!(woken.try_iter().count(), 1);
    assert_eq!(inbox.take().len(), 100);
    inbox.put(Update::Trying);
    assert_eq!(woken.try_iter().count(), 1);
}

#[test]
fn a_window_that_sleeps_loses_old_events_and_is_told() {
    let inbox = Inbox::new(|| ());
    inbox.put(Update::Trying);
    for _ in 0..30 {
        inbox.put(events(1_000));
    }
    let updates = inbox.take();
    assert_eq!(updates.first(), Some(&Update::Trying), "only events are dropped");
    let (mut kept, mut missing) = (0, 0);
    for update in &updates {
        if let Update::Events { lost, events } = update {
            kept += events.len() as u64;
            missing += lost;
        }
    }
    assert_eq!(kept + missing, 30_000);
    assert!(kept <= WAITING_MAX as u64 && kept > 0, "{kept}");
}
