//! DNS lists of addresses (RFC 5782): asked all at once, and left alone while they do not answer.
//!
//! ```text
//!   192.0.2.99 ─▶ 99.2.0.192.bl.example A ─▶ 127.0.0.2: listed ─▶ TXT: why
//!                                        ├─▶ no such name: not listed
//!                                        └─▶ no answer, so often in a row; or an answer that no
//!                                            list gives ─▶ left alone for a while
//! ```
//! Invariants: no list holds a session up longer than `list_time_max_ms`; who has not answered by
//! then has not listed. Answers are cached by the resolver.
//! Not here: what follows ([`super`]).

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout;

use grace_ipc::event::{EventKind, TEXT_MAX, TraceId};

use crate::config::limits::DoorRules;
use crate::config::lists::{DnsList, Says};
use crate::dns::Resolver;
use crate::telemetry::bus::{Bus, claim};

/// Lists, and how they do.
#[derive(Clone)]
pub(super) struct Lists {
    lists: Arc<[List]>,
    resolver: Resolver,
    bus: Bus,
    time_max: Duration,
}

struct List {
    setting: DnsList,
    patience: Mutex<Patience>,
}

/// An address that is on a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The list's name in the DNS.
    pub zone: String,
    /// What it answered.
    pub answer: Ipv4Addr,
    /// Why, in its words; empty: it does not say.
    pub text: String,
}

impl Lists {
    pub(super) fn new(
        lists: &[DnsList],
        rules: &DoorRules,
        resolver: &Resolver,
        bus: &Bus,
    ) -> Self {
        let list = |setting: &DnsList| List {
            setting: setting.clone(),
            patience: Mutex::new(Patience {
                failures: 0,
                failures_max: u32::try_from(rules.list_failures_max).unwrap_or(u32::MAX),
                pause: Duration::from_secs(rules.list_pause_s),
                until: None,
            }),
        };
        Self {
            lists: lists.iter().map(list).collect(),
            resolver: resolver.clone(),
            bus: bus.clone(),
            time_max: Duration::from_millis(rules.list_time_max_ms),
        }
    }

    /// The lists that have an address, in the order of the setting.
    pub(super) async fn ask(&self, address: IpAddr) -> Vec<Listing> {
        let mut questions = JoinSet::new();
        for at in 0..self.lists.len() {
            let lists = self.clone();
            questions
                .spawn(async move { lists.ask_one(at, address).await.map(|found| (at, found)) });
        }
        let mut found: Vec<(usize, Listing)> =
            questions.join_all().await.into_iter().flatten().collect();
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, listing)| listing).collect()
    }

    async fn ask_one(&self, at: usize, address: IpAddr) -> Option<Listing> {
        let list = self.lists.get(at)?;
        if !list.patience().may_ask(Instant::now()) {
            return None;
        }
        let zone = list.setting.zone();
        let name = question(zone, address);
        let answer = match timeout(self.time_max, self.resolver.ipv4(&name)).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(failure)) if !failure.is_temporary() => Vec::new(),
            Ok(Err(failure)) => return self.failed(list, &failure.to_string()),
            Err(_) => return self.failed(list, "no answer in time"),
        };
        let four = |answer: &IpAddr| match answer {
            IpAddr::V4(answer) => Some(*answer),
            IpAddr::V6(_) => None,
        };
        let answers: Vec<Ipv4Addr> = answer.iter().filter_map(four).collect();
        match list.setting.says(&answers) {
            Says::Unusable(answer) => {
                let reason = format!("it answers {answer}, which is no answer of a list");
                if list.patience().give_up(Instant::now()) {
                    self.tell(list, false, reason);
                }
                None
            }
            says => {
                if list.patience().answered() {
                    self.tell(list, true, "it answers".to_owned());
                }
                let Says::Listed(answer) = says else { return None };
                let text = self.text(&name).await;
                Some(Listing { zone: zone.to_owned(), answer, text })
            }
        }
    }

    /// What a list says of an address it has (RFC 5782 2.1).
    async fn text(&self, name: &str) -> String {
        match timeout(self.time_max, self.resolver.txt(name)).await {
            Ok(Ok(texts)) => texts.first().map(|text| claim(text)).unwrap_or_default(),
            Ok(Err(_)) | Err(_) => String::new(),
        }
    }

    fn failed(&self, list: &List, reason: &str) -> Option<Listing> {
        if list.patience().failed(Instant::now()) {
            self.tell(list, false, claim(reason.as_bytes()));
        }
        None
    }

    fn tell(&self, list: &List, is_asked: bool, reason: String) {
        debug_assert!(reason.len() <= TEXT_MAX, "an event carries no more");
        let list = list.setting.zone().to_owned();
        self.bus.emit(TraceId(0), EventKind::BlockListChanged { list, is_asked, reason });
    }
}

impl List {
    fn patience(&self) -> MutexGuard<'_, Patience> {
        self.patience.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name to ask a list for (RFC 5782 2.1, 2.4): the address backwards, by bytes or by nibbles.
fn question(zone: &str, address: IpAddr) -> String {
    let mut name = String::new();
    let written = match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            write!(name, "{d}.{c}.{b}.{a}.")
        }
        IpAddr::V6(address) => address
            .octets()
            .iter()
            .rev()
            .try_for_each(|byte| write!(name, "{:x}.{:x}.", byte & 0xF, byte >> 4)),
    };
    debug_assert!(written.is_ok(), "a String takes any text");
    name + zone
}

/// How long a list that does not answer is asked all the same.
#[derive(Debug)]
struct Patience {
    failures: u32,
    failures_max: u32,
    pause: Duration,
    /// Until when it is left alone; past: it has not answered since.
    until: Option<Instant>,
}

impl Patience {
    fn may_ask(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// It did not answer. Says whether it is left alone from now on and was not before.
    fn failed(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        // After a pause one more failure is enough: mail must not wait for it thrice again.
        (self.failures >= self.failures_max || self.until.is_some()) && self.give_up(now)
    }

    /// It is of no use. Says whether that is new.
    fn give_up(&mut self, now: Instant) -> bool {
        self.until.replace(now + self.pause).is_none()
    }

    /// It answered. Says whether it had been left alone.
    fn answered(&mut self) -> bool {
        self.failures = 0;
        self.until.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::RecordType;

    use super::*;
    use crate::dns::testing::{Server, Zone};

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    async fn lists(lists: &[&str], zone: Zone) -> (Lists, Server, Bus) {
        let server = Server::start(zone).await;
        let rules = DoorRules { list_time_max_ms: 200, ..DoorRules::default() };
        let lists: Vec<DnsList> = lists.iter().map(|l| l.parse().expect("a list")).collect();
        let bus = Bus::new(99);
        (Lists::new(&lists, &rules, &server.resolver(), &bus), server, bus)
    }

    fn told(bus: &Bus) -> Vec<(String, bool)> {
        let events = bus.reader(usize::MAX).take(99).events;
        let told = events.iter().filter_map(|event| match &event.kind {
            EventKind::BlockListChanged { list, is_asked, .. } => Some((list.clone(), *is_asked)),
            _ => None,
        });
        told.collect()
    }

    #[test]
    fn addresses_are_asked_for_backwards() {
        assert_eq!(question("bl.example", ip("192.0.2.99")), "99.2.0.192.bl.example");
        assert_eq!(question("bl.example", ip("::ffff:192.0.2.99")), "99.2.0.192.bl.example");
        assert_eq!(
            question("bl.example", ip("2001:db8:1:2:3:4:567:89ab")),
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bl.example",
            "the example of RFC 5782 2.4"
        );
    }

    #[test]
    fn a_list_that_does_not_answer_is_left_alone() {
        let pause = Duration::from_secs(600);
        let mut patience = Patience { failures: 0, failures_max: 3, pause, until: None };
        let start = Instant::now();
        assert!(!patience.failed(start) && !patience.failed(start));
        assert!(!patience.answered());
        assert!(!patience.failed(start) && !patience.failed(start));
        assert!(patience.may_ask(start));
        assert!(patience.failed(start), "three in a row");
        assert!(!patience.may_ask(start) && !patience.may_ask(start + pause / 2));
        assert!(patience.may_ask(start + pause));
        assert!(!patience.failed(start + pause), "that was told before");
        assert!(!patience.may_ask(start + pause), "one is enough now");
        assert!(patience.may_ask(start + pause * 2));
        assert!(patience.answered(), "it is back");
        assert!(!patience.failed(start + pause * 2));
    }

    #[tokio::test]
    async fn all_lists_are_asked_and_those_that_have_it_say_why() {
        let zone = Zone::default()
            .a("99.2.0.192.one.example", "127.0.0.4")
            .txt("99.2.0.192.one.example", "spam seen, see https://one.example/")
            .a("99.2.0.192.two.example", "127.0.0.2")
            .a("99.2.0.192.some.example", "127.0.0.9")
            .a("x.three.example", "192.0.2.1");
        let all = ["three.example", "two.example", "some.example=127.0.0.2", "one.example"];
        let (lists, _server, bus) = lists(&all, zone).await;
        let found = lists.ask(ip("192.0.2.99")).await;
        let listing = |zone: &str, answer: [u8; 4], text: &str| Listing {
            zone: zone.to_owned(),
            answer: answer.into(),
            text: text.to_owned(),
        };
        assert_eq!(
            found,
            [
                listing("two.example", [127, 0, 0, 2], ""),
                listing("one.example", [127, 0, 0, 4], "spam seen, see https://one.example/"),
            ]
        );
        assert_eq!(lists.ask(ip("192.0.2.98")).await, []);
        assert_eq!(told(&bus), []);
    }

    #[tokio::test]
    async fn a_dead_list_is_asked_three_times_and_then_not() {
        let zone = Zone::default()
            .silent("99.2.0.192.dead.example", RecordType::A)
            .a("99.2.0.192.good.example", "127.0.0.2");
        let (lists, _server, bus) = lists(&["dead.example", "good.example"], zone).await;
        for _ in 0..3 {
            assert_eq!(lists.ask(ip("192.0.2.99")).await.len(), 1);
        }
        assert_eq!(told(&bus), [("dead.example".to_owned(), false)]);
        let is_asked = |at: usize| lists.lists[at].patience().may_ask(Instant::now());
        assert_eq!((is_asked(0), is_asked(1)), (false, true));
        assert_eq!(lists.ask(ip("192.0.2.99")).await.len(), 1);
        assert_eq!(told(&bus).len(), 1);
    }

    #[tokio::test]
    async fn a_list_that_refuses_us_lists_nobody() {
        let zone = Zone::default()
            .a("99.2.0.192.bl.example", "127.255.255.254")
            .a("99.2.0.192.sold.example", "198.51.100.1");
        let (lists, _server, bus) = lists(&["bl.example", "sold.example"], zone).await;
        assert_eq!(lists.ask(ip("192.0.2.99")).await, []);
        let mut told = told(&bus);
        told.sort();
        let left = |list: &str| (list.to_owned(), false);
        assert_eq!(told, [left("bl.example"), left("sold.example")]);
    }
}
