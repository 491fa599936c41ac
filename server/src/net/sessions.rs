//! Sessions that are open: which there are, the end of one, and listening in.
//!
//! ```text
//!   listener ─▶ Live, until it is dropped ─▶ Sessions ◀─ list, end, listen in: the admin
//!                 ▲ who, what, how much        │
//!   session ──────┴──── waits for `asked` ◀────┘ it is to end, or somebody listens
//! ```
//! Invariants: a session stands in the list from its first byte to its last, whatever ends it; it
//! costs some hundred bytes there; nobody who listens ever slows it down.
//! Not here: lines and their secrets (`transcript`, and the machines of the protocols).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::sync::mpsc::{self, Receiver, Sender, error::TrySendError};

use grace_ipc::event::{Service, TraceId};
use grace_ipc::live::{SessionChoice, SessionFilter, SessionLine, SessionRow, SessionSide};

use super::stream::TlsInfo;
use crate::telemetry::bus::claim;

/// Lines that wait for one who listens; at 2 KiB each they take 2 MiB at most. Beyond, lines are
/// lost and counted.
const LINES_MAX: usize = 1_000;

/// How many may listen in on one session.
const WATCHERS_MAX: usize = 4;

/// How many may wait for a session that has not begun.
const EXPECTED_MAX: usize = 32;

/// All sessions. Cloning gives another handle.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    all: BTreeMap<u64, Arc<Entry>>,
    /// Who waits for the next session of somebody.
    expected: Vec<(SessionChoice, Tap)>,
}

/// What is known of a session.
#[derive(Debug)]
struct Entry {
    id: u64,
    service: Service,
    peer: SocketAddr,
    began_us: u64,
    heard_us: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// It is to end.
    is_over: AtomicBool,
    /// Somebody listens.
    is_watched: AtomicBool,
    bell: Notify,
    told: Mutex<Told>,
}

/// What it told of itself, and who listens.
#[derive(Debug, Default)]
struct Told {
    tls: String,
    account: String,
    client: String,
    mailbox: String,
    command: &'static str,
    taps: Vec<Tap>,
}

/// Where lines go.
#[derive(Debug)]
struct Tap {
    lines: Sender<SessionLine>,
    bodies: bool,
    lost: Arc<AtomicU64>,
    lost_told: u64,
}

/// Somebody who listens in. The lines end with the session.
#[derive(Debug)]
pub struct Watching {
    /// What is spoken.
    pub lines: Receiver<SessionLine>,
    /// How many lines were lost in all.
    pub lost: Arc<AtomicU64>,
}

/// Whom a line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Everybody who listens.
    All,
    /// Those who want what messages consist of.
    Bodies,
    /// The others.
    Sizes,
}

/// Why nobody can listen in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deaf {
    /// There is no such session.
    Gone,
    /// Too many listen, or wait, already.
    TooMany,
}

/// A session's own place in the list, until it is dropped.
#[derive(Debug)]
pub struct Live {
    sessions: Sessions,
    entry: Arc<Entry>,
}

impl Sessions {
    /// A connection was accepted.
    #[must_use]
    pub fn begin(&self, service: Service, peer: SocketAddr, trace: TraceId) -> Live {
        let now = now_us();
        let entry = Arc::new(Entry {
            id: trace.0,
            service,
            peer,
            began_us: now,
            heard_us: AtomicU64::new(now),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            is_watched: AtomicBool::new(false),
            bell: Notify::new(),
            told: Mutex::new(Told::default()),
        });
        let from = SessionChoice::NextFrom(peer.ip().to_canonical());
        let mut open = self.open();
        open.all.insert(trace.0, Arc::clone(&entry));
        open.meet(&from, &entry);
        drop(open);
        Live { sessions: self.clone(), entry }
    }

    /// Those that fit, in the order they began.
    #[must_use]
    pub fn list(&self, filter: &SessionFilter) -> Vec<SessionRow> {
        let entries: Vec<Arc<Entry>> = self.open().all.values().cloned().collect();
        let peer = filter.peer.map(|peer| peer.to_canonical());
        let fits = |entry: &&Arc<Entry>| peer.is_none_or(|peer| entry.is_from(peer));
        let rows = entries.iter().filter(fits).map(|entry| entry.row());
        let account = filter.account.as_ref().map(|account| account.to_lowercase());
        rows.filter(|row| account.as_ref().is_none_or(|one| row.account == *one)).collect()
    }

    /// Ends a session. False: there is none of this number.
    #[must_use]
    pub fn end(&self, id: u64) -> bool {
        let found = self.open().all.get(&id).cloned();
        if let Some(entry) = &found {
            entry.is_over.store(true, Ordering::Release);
            entry.bell.notify_one();
        }
        found.is_some()
    }

    /// Listens in on a session.
    ///
    /// # Errors
    /// There is none, or too many listen.
    pub fn watch(&self, which: SessionChoice, bodies: bool) -> Result<Watching, Deaf> {
        let (lines, receiver) = mpsc::channel(LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let watching = Watching { lines: receiver, lost: Arc::clone(&lost) };
        let tap = Tap { lines, bodies, lost, lost_told: 0 };
        let mut open = self.open();
        match which {
            SessionChoice::Session(id) => {
                let entry = open.all.get(&id).cloned().ok_or(Deaf::Gone)?;
                drop(open);
                entry.add(tap).map(|()| watching)
            }
            SessionChoice::NextFrom(address) => {
                let from = SessionChoice::NextFrom(address.to_canonical());
                open.expect(from, tap).map(|()| watching)
            }
            SessionChoice::NextOf(account) => {
                let of = SessionChoice::NextOf(account.to_lowercase());
                open.expect(of, tap).map(|()| watching)
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn expect(&mut self, whom: SessionChoice, tap: Tap) -> Result<(), Deaf> {
        self.expected.retain(|(_, tap)| !tap.lines.is_closed());
        if self.expected.len() >= EXPECTED_MAX {
            return Err(Deaf::TooMany);
        }
        self.expected.push((whom, tap));
        Ok(())
    }

    /// Lets those listen in on a session who waited for it.
    fn meet(&mut self, whom: &SessionChoice, entry: &Entry) {
        for (_, tap) in self.expected.extract_if(.., |(expected, _)| expected == whom) {
            // Where too many listen already, this one's lines simply end.
            let added = entry.add(tap);
            debug_assert!(matches!(added, Ok(()) | Err(Deaf::TooMany)));
        }
    }
}

impl Entry {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_from(&self, address: IpAddr) -> bool {
        self.peer.ip().to_canonical() == address
    }

    fn add(&self, tap: Tap) -> Result<(), Deaf> {
        let mut told = self.told();
        told.taps.retain(|tap| !tap.lines.is_closed());
        if told.taps.len() >= WATCHERS_MAX {
            return Err(Deaf::TooMany);
        }
        told.taps.push(tap);
        self.is_watched.store(true, Ordering::Release);
        drop(told);
        self.bell.notify_one();
        Ok(())
    }

    fn row(&self) -> SessionRow {
        let told = self.told();
        SessionRow {
            id: self.id,
            service: self.service,
            peer: self.peer,
            began_us: self.began_us,
            heard_us: self.heard_us.load(Ordering::Relaxed),
            tls: told.tls.clone(),
            account: told.account.clone(),
            client: told.client.clone(),
            mailbox: told.mailbox.clone(),
            command: told.command.to_owned(),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            watchers: u32::try_from(told.taps.len()).unwrap_or(u32::MAX),
        }
    }
}

impl Live {
    /// Something was heard; so many bytes came and went by now.
    pub fn count(&self, (bytes_in, bytes_out): (u64, u64)) {
        self.entry.bytes_out.store(bytes_out, Ordering::Relaxed);
        if self.entry.bytes_in.swap(bytes_in, Ordering::Relaxed) != bytes_in {
            self.entry.heard_us.store(now_us(), Ordering::Relaxed);
        }
    }

    /// TLS is up.
    pub fn secured(&self, tls: &TlsInfo) {
        let tls = format!("{} {}", tls.version, tls.cipher);
        self.note(&format!("TLS is up: {tls}"));
        self.entry.told().tls = tls;
    }

    /// Tells those who listen what happens between the lines.
    fn note(&self, text: &str) {
        if self.is_watched() {
            self.say(SessionSide::Note, For::All, text);
        }
    }

    /// Somebody logged in; nobody is with an empty address.
    pub fn logged_in(&self, account: &str) {
        self.entry.told().account = account.to_owned();
        if !account.is_empty() {
            let of = SessionChoice::NextOf(account.to_lowercase());
            self.sessions.open().meet(&of, &self.entry);
            self.note(&format!("logged in as {account}"));
        }
    }

    /// What the other end calls itself.
    pub fn introduced(&self, client: &str) {
        let mut told = self.entry.told();
        if told.client != client {
            told.client = claim(client.as_bytes());
        }
    }

    /// A mailbox was selected; none is with an empty name.
    pub fn selected(&self, mailbox: &str) {
        self.entry.told().mailbox = mailbox.to_owned();
    }

    /// The last command.
    pub fn commanded(&self, command: &'static str) {
        self.entry.told().command = command;
    }

    /// Waits until [`Live::is_over`] or [`Live::is_watched`] may have changed. Cancel safe.
    pub async fn asked(&self) {
        self.entry.bell.notified().await;
    }

    /// Whether the session is to end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.entry.is_over.load(Ordering::Acquire)
    }

    /// Whether somebody listens.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.entry.is_watched.load(Ordering::Acquire)
    }

    /// Tells those who listen a line. Never waits: who is slow loses it.
    pub fn say(&self, side: SessionSide, whom: For, text: &str) {
        let at_us = now_us();
        let mut told = self.entry.told();
        told.taps.retain_mut(|tap| {
            let concerns = match whom {
                For::All => true,
                For::Bodies => tap.bodies,
                For::Sizes => !tap.bodies,
            };
            !concerns || tap.say(at_us, side, text)
        });
        if told.taps.is_empty() {
            self.entry.is_watched.store(false, Ordering::Release);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.sessions.open().all.remove(&self.entry.id);
        self.note("the session ended");
        self.entry.told().taps.clear();
    }
}

impl Tap {
    /// Tells a line. False: nobody listens any more.
    fn say(&mut self, at_us: u64, side: SessionSide, text: &str) -> bool {
        let lost_now = self.lost.load(Ordering::Relaxed);
        let lost = lost_now - self.lost_told;
        match self.lines.try_send(SessionLine { at_us, side, lost, text: text.to_owned() }) {
            Ok(()) => {
                self.lost_told = lost_now;
                true
            }
            Err(TrySendError::Full(_)) => {
                self.lost.store(lost_now + 1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }
}

fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn texts(watching: &mut Watching) -> Vec<String> {
        std::iter::from_fn(|| watching.lines.try_recv().ok()).map(|line| line.text).collect()
    }

    #[test]
    fn a_session_is_listed_until_it_ends() {
        let sessions = Sessions::default();
        let live = sessions.begin(Service::Imap, peer("192.0.2.1:1"), TraceId(7));
        live.logged_in("ann@grace.test");
        live.selected("INBOX");
        live.commanded("FETCH");
        live.count((10, 20));
        let other = sessions.begin(Service::Smtp, peer("[::ffff:192.0.2.2]:1"), TraceId(8));
        let rows = sessions.list(&SessionFilter::default());
        assert_eq!(rows.len(), 2);
        let row = rows.first().expect("two");
        assert_eq!(
            (row.id, row.account.as_str(), row.command.as_str()),
            (7, "ann@grace.test", "FETCH")
        );
        assert_eq!((row.bytes_in, row.bytes_out), (10, 20));
        let of = |account: Option<&str>, from: Option<&str>| {
            let (account, peer) =
                (account.map(str::to_owned), from.map(|a| a.parse().expect("IP")));
            let rows = sessions.list(&SessionFilter { account, peer });
            rows.iter().map(|row| row.id).collect::<Vec<_>>()
        };
        assert_eq!(of(Some("ann@grace.test"), None), [7]);
        assert_eq!(of(None, Some("192.0.2.2")), [8]);
        assert_eq!(of(Some("bob@grace.test"), None), [0; 0]);
        drop(live);
        assert_eq!(of(None, None), [8]);
        drop(other);
        assert!(!sessions.end(8), "it is gone");
    }

    #[tokio::test]
    async fn a_session_hears_that_it_is_to_end() {
        let sessions = Sessions::default();
        let live = sessions.begin(Service::Imap, peer("192.0.2.1:1"), TraceId(7));
        assert!(!live.is_over());
        assert!(sessions.end(7));
        // Said before anybody waits, and heard all the same.
        live.asked().await;
        assert!(live.is_over());
    }

    #[test]
    fn who_listens_hears_until_the_end_and_who_is_slow_is_told() {
        let sessions = Sessions::default();
        let live = sessions.begin(Service::Imap, peer("192.0.2.1:1"), TraceId(7));
        assert!(!live.is_watched());
        let mut plain = sessions.watch(SessionChoice::Session(7), false).expect("it is there");
        let mut bodies = sessions.watch(SessionChoice::Session(7), true).expect("it is there");
        assert!(live.is_watched());
        live.say(SessionSide::Client, For::All, "one");
        live.say(SessionSide::Client, For::Bodies, "two");
        live.say(SessionSide::Client, For::Sizes, "three");
        assert_eq!(texts(&mut plain), ["one", "three"]);
        assert_eq!(texts(&mut bodies), ["one", "two"]);
        drop(bodies);
        for _ in 0..LINES_MAX + 5 {
            live.say(SessionSide::Server, For::All, "more");
        }
        assert_eq!(texts(&mut plain).len(), LINES_MAX);
        live.say(SessionSide::Server, For::All, "on");
        let line = plain.lines.try_recv().expect("there is room again");
        assert_eq!((line.text.as_str(), line.lost), ("on", 5));
        drop(live);
        assert_eq!(texts(&mut plain), ["the session ended"]);
        assert_eq!(plain.lost.load(Ordering::Relaxed), 5);
        assert_eq!(sessions.watch(SessionChoice::Session(7), false).err(), Some(Deaf::Gone));
    }

    #[test]
    fn nobody_listens_any_more_once_all_have_gone() {
        let sessions = Sessions::default();
        let live = sessions.begin(Service::Imap, peer("192.0.2.1:1"), TraceId(7));
        let watching = sessions.watch(SessionChoice::Session(7), false);
        drop(watching);
        live.say(SessionSide::Client, For::All, "one");
        assert!(!live.is_watched());
    }

    #[test]
    fn the_next_session_of_somebody_is_waited_for() {
        let sessions = Sessions::default();
        let of = |which| sessions.watch(which, false).expect("there is room");
        let mut next = of(SessionChoice::NextOf("ann@grace.test".to_owned()));
        let mut from = of(SessionChoice::NextFrom("192.0.2.1".parse().expect("an address")));
        let live = sessions.begin(Service::Imap, peer("192.0.2.1:1"), TraceId(7));
        live.say(SessionSide::Client, For::All, "before");
        live.logged_in("ann@grace.test");
        live.say(SessionSide::Client, For::All, "after");
        let login = "logged in as ann@grace.test";
        assert_eq!(texts(&mut next), [login, "after"]);
        assert_eq!(texts(&mut from), ["before", login, "after"]);
        let second = sessions.begin(Service::Imap, peer("192.0.2.1:2"), TraceId(8));
        assert!(!second.is_watched(), "one session was asked for");
    }

    #[test]
    fn listeners_are_bounded() {
        let sessions = Sessions::default();
        let live = sessions.begin(Service::Imap, peer("192.0.2.1:1"), TraceId(7));
        let watch = || sessions.watch(SessionChoice::Session(7), false);
        let all: Vec<_> = (0..WATCHERS_MAX).map(|_| watch().expect("room")).collect();
        assert_eq!(watch().err(), Some(Deaf::TooMany));
        drop(all);
        assert!(watch().is_ok(), "those who left make room");
        let expect = || sessions.watch(SessionChoice::NextOf("x".to_owned()), false);
        let all: Vec<_> = (0..EXPECTED_MAX).map(|_| expect().expect("room")).collect();
        assert_eq!(expect().err(), Some(Deaf::TooMany));
        drop((all, live));
    }
}
