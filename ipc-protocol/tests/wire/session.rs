//! The daemon's side in conversation with a client's side, without a socket and with our own clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use grace_ipc::codec;
use grace_ipc::database::DbProgress;
use grace_ipc::event::{Event, EventKind, TraceId};
use grace_ipc::frame;
use grace_ipc::hello::ClientHello;
use grace_ipc::message::{
    Answer, Code, EventFilter, Failure, Outcome, PushBody, Reply, Request, RequestBody, Rows,
    ServerMessage, Stats,
};
use grace_ipc::role::Role;
use grace_ipc::session::asker::{Established, Greeting};
use grace_ipc::session::server::{CLOSING_WAIT, HELLO_WAIT, Session, Settings, Step};
use grace_ipc::version::{NEWEST, Version};

use crate::samples;

/// Both sides and the clock.
struct Talk {
    session: Session,
    client: Established,
    now: Instant,
}

fn settings() -> Settings {
    Settings {
        software: "graced test".into(),
        allowed: Some(Role::Owner),
        busy: false,
        events_kept_max: 10,
    }
}

impl Talk {
    fn begin(role: Role) -> Self {
        let now = Instant::now();
        let mut session = Session::new(settings(), now);
        let mut greeting = Greeting::new("test 1", role);
        session.receive(now, &greeting.to_bytes());
        assert!(matches!(session.poll(now), Some(Step::Opened { .. })));
        let hello = session.fill().to_vec();
        session.sent(hello.len());
        let client = greeting.receive(&hello).unwrap().unwrap();
        Self { session, client, now }
    }

    fn ask(&mut self, body: RequestBody) -> u32 {
        let (id, bytes) = self.client.asker.ask(body).unwrap();
        self.session.receive(self.now, &bytes);
        id
    }

    fn poll(&mut self) -> Option<Step> {
        self.session.poll(self.now)
    }

    /// Everything the client hears now.
    fn hear(&mut self) -> Vec<ServerMessage> {
        let mut heard = Vec::new();
        loop {
            let bytes = self.session.fill().to_vec();
            if bytes.is_empty() {
                return heard;
            }
            self.session.sent(bytes.len());
            self.client.hearer.receive(&bytes);
            while let Some(message) = self.client.hearer.next().unwrap() {
                heard.push(message);
            }
        }
    }

    fn hear_failure(&mut self) -> (u32, Code, String) {
        match self.hear().pop() {
            Some(ServerMessage::Reply(Reply { id, outcome: Outcome::Failed(failure) })) => {
                (id, failure.code, failure.text)
            }
            other => panic!("heard {other:?}"),
        }
    }

    /// What pushes bring: lost counts and event numbers.
    fn hear_events(&mut self) -> Vec<(u64, Vec<u64>)> {
        let pushes = self.hear().into_iter().filter_map(|message| match message {
            ServerMessage::Push(push) => match push.body {
                PushBody::Events { lost, events } => {
                    Some((lost, events.iter().map(|event| event.seq).collect()))
                }
                PushBody::Stats(_) => None,
            },
            _ => None,
        });
        pushes.collect()
    }

    fn subscribe(&mut self, filter: EventFilter, backlog: u32, after: u64, past: &[Arc<Event>]) {
        let body = RequestBody::SubscribeEvents { filter, backlog, after_seq: after };
        self.ask(body);
        let step = self.poll().unwrap();
        self.session.begin_events(&step, past);
    }
}

fn event(seq: u64) -> Arc<Event> {
    Arc::new(Event { seq, time_us: seq, trace: TraceId(seq % 2), kind: EventKind::ServerStopping })
}

fn events(numbers: impl Iterator<Item = u64>) -> Vec<Arc<Event>> {
    numbers.map(event).collect()
}

fn done(id: u32) -> ServerMessage {
    ServerMessage::Reply(Reply { id, outcome: Outcome::Done(Answer::Done) })
}

#[test]
fn requests_are_answered_one_by_one() {
    let mut talk = Talk::begin(Role::Owner);
    let first = talk.ask(RequestBody::DomainList);
    let second = talk.ask(RequestBody::Ping);
    assert_eq!(talk.poll(), Some(Step::Ask { id: first, body: RequestBody::DomainList }));
    assert_eq!(talk.poll(), None, "the second waits");
    assert!(!talk.session.wants_bytes(), "and nothing more is read");
    talk.session.part(first, Rows::Domains(Vec::new()));
    talk.session.done(first, Answer::ListEnd { rows: 0 });
    assert_eq!(talk.poll(), None);
    assert!(talk.session.wants_bytes());
    let ids: Vec<u32> = talk
        .hear()
        .iter()
        .map(|message| match message {
            ServerMessage::Reply(reply) => reply.id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, [first, first, second]);
}

fn progress(done: u64) -> Rows {
    Rows::DbProgress(DbProgress { doing: "journal".into(), done, total: 10 })
}

#[test]
fn long_work_tells_how_far_it_is_and_can_be_cancelled() {
    let mut talk = Talk::begin(Role::Owner);
    let work = talk.ask(RequestBody::DbVerify);
    assert_eq!(talk.poll(), Some(Step::Ask { id: work, body: RequestBody::DbVerify }));
    talk.session.part(work, progress(1));
    let told = ServerMessage::Reply(Reply { id: work, outcome: Outcome::Part(progress(1)) });
    assert_eq!(talk.hear(), [told]);
    let wrong = talk.ask(RequestBody::Cancel { request: work + 9 });
    assert_eq!(talk.poll(), None);
    let text = format!("no work is going on for a request {}", work + 9);
    assert_eq!(talk.hear_failure(), (wrong, Code::NotFound, text));
    let cancel = talk.ask(RequestBody::Cancel { request: work });
    assert_eq!(talk.poll(), Some(Step::Cancel { id: work }));
    assert_eq!(talk.hear(), [done(cancel)], "that it ends is told before it has ended");
    talk.session.failed(work, Failure::new(Code::Cancelled, "it was cancelled"));
    assert_eq!(talk.hear_failure().1, Code::Cancelled);
    let late = talk.ask(RequestBody::Cancel { request: work });
    assert_eq!(talk.poll(), None);
    assert_eq!(talk.hear_failure().0, late, "there is nothing to cancel any more");
}

#[test]
fn what_comes_behind_long_work_waits_its_turn() {
    let mut talk = Talk::begin(Role::Owner);
    let work = talk.ask(RequestBody::DbCompact);
    talk.poll().unwrap();
    assert!(talk.session.wants_bytes(), "a cancel may come");
    let second = talk.ask(RequestBody::DomainList);
    talk.ask(RequestBody::Ping);
    assert_eq!(talk.poll(), None);
    assert!(!talk.session.wants_bytes(), "one request waits, and nothing more is read");
    talk.session.done(work, Answer::Done);
    assert_eq!(talk.poll(), Some(Step::Ask { id: second, body: RequestBody::DomainList }));
    // What is no long work is not cancelled, and what comes behind it is not looked at.
    talk.ask(RequestBody::Cancel { request: second });
    assert_eq!(talk.poll(), None);
    talk.session.done(second, Answer::ListEnd { rows: 0 });
    assert_eq!(talk.poll(), None);
    assert_eq!(talk.hear_failure().1, Code::NotFound);
}

/// Who speaks version 1 goes on as before, and is told what it cannot have.
#[test]
fn a_peer_of_version_1_is_spared_the_database() {
    let now = Instant::now();
    let mut session = Session::new(settings(), now);
    let hello = ClientHello { newest: 1, ..ClientHello::new("test 1", Role::Owner) };
    session.receive(now, &hello.to_bytes());
    let opened = session.poll(now);
    assert!(matches!(opened, Some(Step::Opened { version: Version::V1, .. })), "{opened:?}");
    let length = session.fill().len();
    session.sent(length);
    for (_, Request { body, .. }) in samples::requests() {
        let rule = body.rule();
        let mut frame = Vec::new();
        let bytes = codec::encode(&Request { id: 1, body }).unwrap();
        frame::write(&bytes, frame::TO_SERVER_BYTES_MAX, &mut frame).unwrap();
        session.receive(now, &frame);
        if rule.since == Version::V1 {
            match session.poll(now) {
                Some(Step::Ask { id, .. } | Step::BeginEvents { id, .. }) => {
                    session.done(id, Answer::Done);
                }
                other => assert!(matches!(other, None | Some(Step::StatsDue)), "{other:?}"),
            }
            let length = session.fill().len();
            session.sent(length);
            continue;
        }
        while let Some(step) = session.poll(now) {
            assert_eq!(step, Step::StatsDue, "{}", rule.name);
            session.offer_stats(now, &Stats::default());
        }
        let said = String::from_utf8_lossy(session.fill()).into_owned();
        let expected = format!("{} is not part of version 1", rule.name);
        assert!(said.contains(&expected), "{said}");
        let length = session.fill().len();
        session.sent(length);
    }
}

/// Walks the whole table: every request in every role, against the roles written down here.
#[test]
fn a_role_may_do_what_the_table_says() {
    #[rustfmt::skip]
    let table = [
        ("Ping",               Role::Viewer),
        ("ServerInfo",         Role::Viewer),
        ("Stats",              Role::Viewer),
        ("DomainList",         Role::Viewer),
        ("DomainCreate",       Role::Owner),
        ("DomainDelete",       Role::Owner),
        ("AccountList",        Role::Viewer),
        ("AccountCreate",      Role::Operator),
        ("AccountDelete",      Role::Owner),
        ("AccountSetPassword", Role::Operator),
        ("SubscribeEvents",    Role::Viewer),
        ("SubscribeStats",     Role::Viewer),
        ("Unsubscribe",        Role::Viewer),
        ("DbStats",            Role::Viewer),
        ("DbVerify",           Role::Owner),
        ("DbBackup",           Role::Owner),
        ("DbCompact",          Role::Owner),
        ("DbRestore",          Role::Owner),
        ("DbChangeKey",        Role::Owner),
        ("Cancel",             Role::Viewer),
        ("QueueList",          Role::Viewer),
        ("QueueChange",        Role::Operator),
        ("DkimList",           Role::Viewer),
        ("DkimCreate",         Role::Owner),
        ("DkimActivate",       Role::Owner),
        ("DkimDelete",         Role::Owner),
        ("AliasList",          Role::Viewer),
        ("AliasSet",           Role::Operator),
        ("AliasDelete",        Role::Operator),
        ("AppPasswordList",    Role::Viewer),
        ("AppPasswordCreate",  Role::Operator),
        ("AppPasswordDelete",  Role::Operator),
        ("DomainSettings",     Role::Viewer),
        ("DomainSet",          Role::Operator),
        ("AddressSettings",    Role::Viewer),
        ("AddressSet",         Role::Operator),
        ("DomainDns",          Role::Viewer),
        ("TraceSearch",        Role::Viewer),
        ("TraceShow",          Role::Viewer),
        ("AliasTargetsList",   Role::Viewer),
        ("AliasTargetsSet",    Role::Operator),
        ("ForwardList",        Role::Viewer),
        ("ForwardSet",         Role::Operator),
        ("ForwardDelete",      Role::Operator),
        ("RouteList",          Role::Viewer),
        ("RouteSet",           Role::Owner),
        ("RouteRemove",        Role::Owner),
        ("DeliveryTest",       Role::Operator),
        ("QuotaList",          Role::Viewer),
        ("QuotaSet",           Role::Operator),
        ("RightsList",         Role::Viewer),
        ("RightsSet",          Role::Operator),
        ("PublicList",         Role::Viewer),
        ("PublicCreate",       Role::Operator),
        ("PublicDelete",       Role::Owner),
        ("PublicRename",       Role::Operator),
        ("SessionList",        Role::Viewer),
        ("SessionDisconnect",  Role::Operator),
        ("SessionTranscript",  Role::Owner),
        ("MailboxList",        Role::Viewer),
        ("QuotaDefaults",      Role::Viewer),
    ];
    let mut walked = 0;
    for (_, Request { body, .. }) in samples::requests() {
        let name = body.rule().name;
        let (_, needs) = table.iter().find(|(row, _)| *row == name).unwrap();
        for role in Role::ALL {
            let mut talk = Talk::begin(role);
            let id = talk.ask(body.clone());
            let step = talk.poll();
            let heard = talk.hear();
            let refused = heard.iter().any(|message| match message {
                ServerMessage::Reply(Reply { id: answered, outcome: Outcome::Failed(failure) }) => {
                    *answered == id && failure.code == Code::Forbidden
                }
                _ => false,
            });
            assert_eq!(refused, role < *needs, "{name} as {role}");
            assert!(!(refused && step.is_some()), "{name} as {role} was refused and done");
        }
        walked += 1;
    }
    assert!(walked >= table.len());
}

#[test]
fn a_forbidden_request_says_what_it_needs() {
    let mut talk = Talk::begin(Role::Viewer);
    let id = talk.ask(RequestBody::DomainDelete { name: "example.org".into() });
    assert_eq!(talk.poll(), None);
    let text = "DomainDelete needs the role owner, you are viewer".to_owned();
    assert_eq!(talk.hear_failure(), (id, Code::Forbidden, text));
}

#[test]
fn an_unknown_request_is_answered_and_the_talk_goes_on() {
    let mut talk = Talk::begin(Role::Owner);
    let mut frame = Vec::new();
    frame::write(&[9, 200, 1, 2, 3], 100, &mut frame).unwrap();
    talk.session.receive(talk.now, &frame);
    assert_eq!(talk.poll(), None);
    let (id, code, text) = talk.hear_failure();
    assert_eq!((id, code), (9, Code::Malformed));
    let begin = format!("the request is none of version {}, or damaged: ", NEWEST.number());
    assert!(text.starts_with(&begin), "{text}");
    let id = talk.ask(RequestBody::Ping);
    assert_eq!(talk.poll(), None);
    assert_eq!(talk.hear(), [done(id)]);
}

#[test]
fn a_damaged_stream_ends_with_a_goodbye() {
    let mut talk = Talk::begin(Role::Owner);
    talk.session.receive(talk.now, &u32::MAX.to_le_bytes());
    assert_eq!(talk.poll(), None, "the goodbye has to leave first");
    let text = "a frame claims 4294967295 bytes, 65536 are allowed".to_owned();
    let goodbye = ServerMessage::Goodbye(Failure::new(Code::Malformed, text.clone()));
    assert_eq!(talk.hear(), [goodbye]);
    assert_eq!(talk.poll(), Some(Step::Close { reason: text }));
    assert_eq!(talk.poll(), None);
}

#[test]
fn who_does_not_read_the_goodbye_is_left() {
    let mut talk = Talk::begin(Role::Owner);
    talk.session.goodbye(talk.now, Failure::new(Code::Stopping, "the daemon stops"));
    assert_eq!(talk.poll(), None);
    assert_eq!(talk.session.deadline(), Some(talk.now + CLOSING_WAIT));
    talk.now += CLOSING_WAIT;
    assert_eq!(talk.poll(), Some(Step::Close { reason: "the daemon stops".into() }));
}

#[test]
fn who_says_nothing_is_left() {
    let now = Instant::now();
    let mut session = Session::new(settings(), now);
    assert_eq!(session.deadline(), Some(now + HELLO_WAIT));
    assert_eq!(session.poll(now), None);
    let reason = "no hello in time".to_owned();
    assert_eq!(session.poll(now + HELLO_WAIT), Some(Step::Close { reason }));
    assert_eq!(session.fill(), b"");
}

#[test]
fn who_may_not_talk_is_told() {
    for (allowed, busy) in [(None, false), (Some(Role::Owner), true)] {
        let now = Instant::now();
        let mut session = Session::new(Settings { allowed, busy, ..settings() }, now);
        let mut greeting = Greeting::new("test 1", Role::Viewer);
        session.receive(now, &greeting.to_bytes());
        assert_eq!(session.poll(now), None, "the hello has to leave first");
        let hello = session.fill().to_vec();
        session.sent(hello.len());
        assert!(greeting.receive(&hello).is_err());
        assert!(matches!(session.poll(now), Some(Step::Close { .. })));
    }
}

#[test]
fn a_slow_reader_loses_the_oldest_and_is_told_how_many() {
    let mut talk = Talk::begin(Role::Viewer);
    talk.subscribe(EventFilter::default(), 0, 0, &[]);
    talk.hear();
    for event in events(1..=35) {
        talk.session.offer(&event);
    }
    assert_eq!(talk.hear_events(), [(25, (26..=35).collect())]);
    talk.session.add_lost(3);
    talk.session.offer(&event(40));
    assert_eq!(talk.hear_events(), [(3, vec![40])]);
    assert_eq!(talk.hear_events(), []);
}

/// The peer does not read at all: what waits stays small however much happens.
#[test]
fn a_stuck_reader_costs_a_bounded_buffer() {
    let mut talk = Talk::begin(Role::Viewer);
    talk.subscribe(EventFilter::default(), 0, 0, &[]);
    talk.hear();
    let mut most = 0;
    for seq in 1..=200_000 {
        talk.session.offer(&event(seq));
        most = most.max(talk.session.fill().len());
    }
    assert!(most < 80 * 1024, "{most} bytes wait");
    let heard = talk.hear_events();
    let seen: u64 = heard.iter().map(|(lost, numbers)| lost + numbers.len() as u64).sum();
    assert_eq!(seen, 200_000, "every event is either there or counted");
    assert_eq!(heard.last().unwrap().1.last(), Some(&200_000), "and the newest is there");
}

#[test]
fn a_subscription_begins_in_the_past() {
    let past = events(5..=14);
    let filter = EventFilter { trace: Some(TraceId(1)), ..EventFilter::default() };
    #[rustfmt::skip]
    let table = [
        // filter, backlog, after    lost, events
        (EventFilter::default(),  3,  0, vec![(0, vec![12, 13, 14])]),
        (EventFilter::default(),  0,  0, vec![]),
        (EventFilter::default(), 99,  0, vec![(0, (5..=14).collect::<Vec<u64>>())]),
        (filter,                  3,  0, vec![(0, vec![9, 11, 13])]),
        (EventFilter::default(), 99, 12, vec![(0, vec![13, 14])]),
        (EventFilter::default(), 99, 14, vec![]),
        // What the daemon has forgotten is lost, and so is what the backlog leaves out.
        (EventFilter::default(), 99,  2, vec![(2, (5..=14).collect::<Vec<u64>>())]),
        (EventFilter::default(),  4,  8, vec![(2, vec![11, 12, 13, 14])]),
    ];
    for (filter, backlog, after, expected) in table {
        let mut talk = Talk::begin(Role::Viewer);
        talk.subscribe(filter.clone(), backlog, after, &past);
        assert_eq!(talk.hear_events(), expected, "{filter:?} {backlog} {after}");
        // The bus brings the last of the past again, and news.
        talk.session.offer(&event(14));
        talk.session.offer(&event(15));
        assert_eq!(talk.hear_events(), [(0, vec![15])]);
    }
}

/// However long the past is, it comes before the next answer.
#[test]
fn the_past_comes_before_the_next_answer() {
    let mut talk = Talk::begin(Role::Viewer);
    let past = events(1..=10);
    talk.subscribe(EventFilter::default(), 10, 0, &past);
    let ping = talk.ask(RequestBody::Ping);
    assert_eq!(talk.poll(), None);
    let heard = talk.hear();
    assert!(matches!(&heard[1], ServerMessage::Push(_)), "{heard:?}");
    assert_eq!(heard[2..], [done(ping)]);
}

#[test]
fn unsubscribe_is_the_end() {
    let mut talk = Talk::begin(Role::Viewer);
    talk.subscribe(EventFilter::default(), 0, 0, &[]);
    talk.session.offer(&event(1));
    let id = talk.ask(RequestBody::Unsubscribe { subscription: 1 });
    assert_eq!(talk.poll(), None);
    talk.session.offer(&event(2));
    let heard = talk.hear();
    assert_eq!(heard.last(), Some(&done(id)), "{heard:?}");
    assert!(!talk.session.wants_events());
    let id = talk.ask(RequestBody::Unsubscribe { subscription: 1 });
    assert_eq!(talk.poll(), None);
    assert_eq!(talk.hear_failure(), (id, Code::NotFound, "there is no subscription 1".to_owned()));
}

#[test]
fn counters_are_pushed_when_they_change() {
    let mut talk = Talk::begin(Role::Viewer);
    talk.ask(RequestBody::SubscribeStats { interval_ms: 1_000 });
    let mut stats = samples::stats();
    let pushed = |talk: &mut Talk, after: Duration, stats: &Stats| {
        talk.now += after;
        if talk.poll() == Some(Step::StatsDue) {
            talk.session.offer_stats(talk.now, stats);
        }
        let is_push = |message: &ServerMessage| matches!(message, ServerMessage::Push(_));
        talk.hear().iter().filter(|message| is_push(message)).count()
    };
    let second = Duration::from_secs(1);
    assert_eq!(pushed(&mut talk, Duration::ZERO, &stats), 1, "at once");
    stats.messages_accepted += 1;
    assert_eq!(pushed(&mut talk, second / 2, &stats), 0, "too early");
    assert_eq!(pushed(&mut talk, second / 2, &stats), 1);
    stats.uptime_s += 1;
    stats.resident_bytes += 4_096;
    assert_eq!(pushed(&mut talk, second, &stats), 0, "nothing happened");
    assert_eq!(talk.session.deadline(), Some(talk.now + second));
    stats.logins_failed += 1;
    assert_eq!(pushed(&mut talk, second * 5, &stats), 1);
}

#[test]
fn a_connection_has_a_bounded_number_of_subscriptions() {
    let mut talk = Talk::begin(Role::Viewer);
    for _ in 0..16 {
        talk.subscribe(EventFilter::default(), 0, 0, &[]);
    }
    talk.hear();
    let id = talk.ask(RequestBody::SubscribeStats { interval_ms: 0 });
    assert_eq!(talk.poll(), None);
    let text = "a connection has 16 subscriptions at most".to_owned();
    assert_eq!(talk.hear_failure(), (id, Code::Busy, text));
}

#[test]
fn an_id_in_use_is_refused() {
    let mut talk = Talk::begin(Role::Viewer);
    talk.subscribe(EventFilter::default(), 0, 0, &[]);
    talk.hear();
    let body = RequestBody::SubscribeStats { interval_ms: 0 };
    let mut frame = Vec::new();
    let request = codec::encode(&Request { id: 1, body }).unwrap();
    frame::write(&request, 100, &mut frame).unwrap();
    talk.session.receive(talk.now, &frame);
    assert_eq!(talk.poll(), None);
    let (id, code, _) = talk.hear_failure();
    assert_eq!((id, code), (1, Code::Invalid));
}

/// Answers pile up only so far: then the session reads no more requests.
#[test]
fn a_greedy_asker_waits_for_its_own_reading() {
    let mut talk = Talk::begin(Role::Viewer);
    let mut asked = 0_u32;
    while talk.session.wants_bytes() {
        talk.ask(RequestBody::Ping);
        asked += 1;
        assert_eq!(talk.poll(), None);
        assert!(asked < 100_000, "never full");
    }
    assert_eq!(talk.hear().len(), usize::try_from(asked).unwrap());
    assert!(talk.session.wants_bytes());
}

#[test]
fn a_password_is_not_shown() {
    let (_, request) = samples::requests().swap_remove(7);
    let shown = format!("{request:?}");
    assert!(shown.contains("AccountCreate") && !shown.contains("horse"), "{shown}");
}

/// An order that was given for mail under way is answered in the words the peer knows.
#[test]
fn an_older_peer_hears_an_older_answer() {
    let answer = Answer::QueueOrdered { recipients: 3, underway: 2 };
    assert_eq!(answer.clone().in_words_of(Version::V4), answer);
    let older = Answer::QueueChanged { recipients: 3 };
    assert_eq!(answer.in_words_of(Version::V3), older);
    assert_eq!(older.clone().in_words_of(Version::V1), older);
}
