//! Messages found by everything they can be found by, over pages of hours and through their end.

use std::sync::Arc;

use grace_ipc::event::{EventKind, Service};
use gracedb::db::Db;
use gracedb::options::Options;
use tempfile::TempDir;

use super::super::index::Index;
use super::super::traces;
use super::*;
use crate::config::limits::Store;
use crate::store::SCHEMA;

const HOUR_US: u64 = 3_600_000_000;
const BEGAN_US: u64 = 1_790_000_000_000_000;

/// What is kept, and a clock.
struct Kept {
    history: History,
    index: Index,
    now_us: u64,
    _folder: TempDir,
}

impl Kept {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(Options::new(folder.path()), SCHEMA).unwrap();
        let history = History::new(db, &Store::default());
        Self { history, index: Index::default(), now_us: BEGAN_US, _folder: folder }
    }

    /// Something happens, a millisecond after what was before, and is written by itself.
    fn tell(&mut self, trace: u64, kind: EventKind) {
        self.now_us += 1_000;
        let event = Event { seq: 1, time_us: self.now_us, trace: TraceId(trace), kind };
        let (events, index) = ([Arc::new(event)], &mut self.index);
        let written = self.history.db.write(|tx| traces::put(tx, &events, index)).unwrap();
        written.wait().unwrap();
    }

    /// A connection that brings a message; gives its number.
    fn message(&mut self, sender: &str, recipients: &[&str], message_id: &str) -> String {
        let trace = self.connect();
        let queue_id = self.identify(trace, sender, recipients, message_id);
        let (sender, id) = (sender.to_owned(), queue_id.clone());
        let recipients = 1;
        let accepted = EventKind::MessageAccepted { queue_id: id, sender, recipients, size: 42 };
        self.tell(trace, accepted);
        queue_id
    }

    fn connect(&mut self) -> u64 {
        let trace = self.now_us + 1;
        let peer = "192.0.2.1:25".parse().unwrap();
        self.tell(trace, EventKind::ConnectionOpened { service: Service::Smtp, peer });
        trace
    }

    fn identify(&mut self, trace: u64, from: &str, to: &[&str], message_id: &str) -> String {
        let queue_id = base32(self.now_us + 2);
        let identified = EventKind::MessageIdentified {
            queue_id: queue_id.clone(),
            sender: from.to_owned(),
            message_id: message_id.to_owned(),
            recipients: to.iter().map(|&to| to.to_owned()).collect(),
            about: String::new(),
        };
        self.tell(trace, identified);
        queue_id
    }

    fn delivered(&mut self, trace: u64, queue_id: &str, account: &str, mailbox: &str) {
        let (account, mailbox) = (account.to_owned(), mailbox.to_owned());
        let queue_id = queue_id.to_owned();
        let kind = EventKind::MessageDelivered { queue_id, account, mailbox, uid: 1, size: 42 };
        self.tell(trace, kind);
    }

    fn deferred(&mut self, trace: u64, queue_id: &str, recipient: &str) {
        let deferred = EventKind::RecipientDeferred {
            queue_id: queue_id.to_owned(),
            recipient: recipient.to_owned(),
            remote: "mx.far.test".to_owned(),
            reason: "451 later".to_owned(),
            attempts: 1,
            next_us: 0,
        };
        self.tell(trace, deferred);
    }

    fn failed(&mut self, trace: u64, queue_id: &str, recipient: &str) {
        let failed = EventKind::RecipientFailed {
            queue_id: queue_id.to_owned(),
            recipient: recipient.to_owned(),
            remote: "mx.far.test".to_owned(),
            reason: "550 no".to_owned(),
        };
        self.tell(trace, failed);
    }

    fn find(&self, filter: &TraceFilter) -> Vec<TraceRow> {
        let found = self.history.search(filter, 1_000, None).unwrap();
        assert_eq!(found.next, None);
        found.rows
    }

    fn ids(&self, filter: &TraceFilter) -> Vec<String> {
        self.find(filter).into_iter().map(|row| row.queue_id).collect()
    }
}

fn by(change: impl FnOnce(&mut TraceFilter)) -> TraceFilter {
    let mut filter = TraceFilter::default();
    change(&mut filter);
    filter
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn a_message_is_found_by_each_of_its_names_and_is_one_story() {
    let mut kept = Kept::open();
    let other = kept.message("eve@far.test", &["carl@grace.test"], "2@far.test");
    let id = kept.message("Ann@Grace.TEST", &["bob@far.test", "dora@far.test"], "1@Grace.test");
    let trace = kept.find(&by(|f| f.queue_id = Some(id.clone())))[0].trace;
    // Hours later, on pages of their own.
    kept.now_us += 2 * HOUR_US;
    kept.deferred(trace, &id, "bob@far.test");
    kept.now_us += 2 * HOUR_US;
    kept.failed(trace, &id, "bob@far.test");
    for filter in [
        by(|f| f.sender = some("ann@grace.test")),
        by(|f| f.sender = some("@grace.test")),
        by(|f| f.sender = some("A*@grace.test")),
        by(|f| f.recipient = some("<bob@FAR.test>")),
        by(|f| f.recipient = some("@far.test")),
        by(|f| f.message_id = some(" <1@grace.test> ")),
        by(|f| f.message_id = some("1@grace.test")),
        by(|f| f.queue_id = Some(id.to_uppercase())),
        by(|f| f.outcome = Some(TraceOutcome::Deferred)),
        by(|f| f.outcome = Some(TraceOutcome::Failed)),
        by(|f| (f.sender, f.recipient) = (some("@grace.test"), some("dora@far.test"))),
    ] {
        assert_eq!(kept.ids(&filter), [id.as_str()], "{filter:?}");
    }
    for filter in [
        by(|f| f.sender = some("nn@grace.test")),
        by(|f| f.sender = some("@grace.tes")),
        by(|f| f.sender = some("@race.test")),
        by(|f| f.sender = some("")),
        by(|f| f.recipient = some("*b@far.test")),
        by(|f| (f.sender, f.recipient) = (some("@grace.test"), some("carl@grace.test"))),
        by(|f| f.message_id = some("1@grace")),
        by(|f| f.from_us = Some(BEGAN_US + HOUR_US)),
        by(|f| f.to_us = Some(BEGAN_US)),
        by(|f| f.outcome = Some(TraceOutcome::Junk)),
    ] {
        assert_eq!(kept.ids(&filter), [""; 0], "{filter:?}");
    }
    assert_eq!(
        kept.ids(&TraceFilter::default()),
        [id.as_str(), other.as_str()],
        "the newest first"
    );
    let row = &kept.find(&by(|f| f.sender = some("ann@grace.test")))[0];
    assert_eq!((row.deferred, row.failed, row.recipients_count, row.size), (1, 1, 2, 42));
    assert_eq!(row.recipients, ["bob@far.test", "dora@far.test"]);
    assert_eq!((row.reason.as_str(), row.outcome()), ("550 no", "bounced"));
    let story = kept.history.story(&id).unwrap();
    let names: Vec<&str> = story.iter().map(|event| event.kind.name()).collect();
    assert_eq!(
        names,
        [
            "ConnectionOpened",
            "MessageIdentified",
            "MessageAccepted",
            "RecipientDeferred",
            "RecipientFailed"
        ]
    );
    let connection = kept.history.story(&trace.to_string()).unwrap();
    assert_eq!(connection, story);
    assert!(matches!(kept.history.story("4711"), Err(Refusal::Missing(_))));
}

#[test]
fn what_was_refused_is_found() {
    let mut kept = Kept::open();
    let trace = kept.connect();
    let peer = "192.0.2.1:25".parse().unwrap();
    let refused = EventKind::RecipientRefused {
        peer,
        sender: "eve@far.test".to_owned(),
        recipient: "nobody@grace.test".to_owned(),
        reply: "550 5.1.1 no mailbox".to_owned(),
    };
    kept.tell(trace, refused);
    let command = "MAIL FROM:<mallory@far.test>".to_owned();
    let reply = "553 5.7.1 no".to_owned();
    let other = kept.connect();
    let service = Service::Submission;
    kept.tell(other, EventKind::CommandRefused { service, peer, command, reply: reply.clone() });
    // The one before was taken, this one is not, and the one after has no name.
    let taken = kept.identify(other, "first@far.test", &["carl@grace.test"], "");
    let sender = "first@far.test".to_owned();
    let queue_id = taken.clone();
    kept.tell(other, EventKind::MessageAccepted { queue_id, sender, recipients: 1, size: 1 });
    let id = kept.identify(other, "second@far.test", &["carl@grace.test"], "");
    for sender in ["second@far.test", "third@far.test"] {
        let (sender, reply) = (sender.to_owned(), reply.clone());
        kept.tell(other, EventKind::MessageRefused { sender, reply });
    }
    let row = |sender: &str| {
        let rows = kept.find(&by(|f| f.sender = some(sender)));
        let row = rows.first().expect("it is found");
        (row.queue_id.clone(), row.trace, row.refused, row.reason.clone())
    };
    let none = String::new;
    assert_eq!(row("eve@far.test"), (none(), trace, 1, "550 5.1.1 no mailbox".to_owned()));
    assert_eq!(row("mallory@far.test"), (none(), other, 2, reply.clone()));
    assert_eq!(row("third@far.test"), (none(), other, 2, reply.clone()));
    assert_eq!(row("first@far.test"), (taken, other, 0, none()));
    assert_eq!(row("second@far.test"), (id, other, 1, reply));
    let to_nobody = kept.find(&by(|f| f.recipient = some("nobody@grace.test")));
    assert_eq!(to_nobody.len(), 1);
    assert_eq!(to_nobody[0].outcome(), "refused");
    assert_eq!(kept.find(&by(|f| f.outcome = Some(TraceOutcome::Refused))).len(), 3);
}

#[test]
fn doubtful_mail_is_told_apart() {
    let mut kept = Kept::open();
    let trace = kept.connect();
    let aside = kept.identify(trace, "eve@far.test", &["carl@grace.test"], "");
    let text = String::new;
    let checked = EventKind::SenderChecked {
        peer: "192.0.2.1:25".parse().unwrap(),
        sender: text(),
        author: text(),
        iprev: text(),
        spf: text(),
        dkim: text(),
        arc: text(),
        dmarc: text(),
        consequence: "quarantined".to_owned(),
        reason: text(),
    };
    kept.tell(trace, checked);
    kept.delivered(trace, &aside, "carl@grace.test", "Spam");
    let filed = kept.message("eve@far.test", &["info@grace.test"], "");
    kept.delivered(trace + 1, &filed, "carl@grace.test", "Junk");
    let good = kept.message("eve@far.test", &["carl@grace.test"], "");
    kept.delivered(trace + 2, &good, "carl@grace.test", "INBOX");
    let junk = by(|f| f.outcome = Some(TraceOutcome::Junk));
    assert_eq!(kept.ids(&junk), [filed.as_str(), aside.as_str()]);
    assert_eq!(kept.ids(&by(|f| f.outcome = Some(TraceOutcome::Delivered))), [good.as_str()]);
    // By the address it was sent to, and by the account that has it.
    assert_eq!(kept.ids(&by(|f| f.recipient = some("info@grace.test"))), [filed.as_str()]);
    assert_eq!(kept.ids(&by(|f| f.recipient = some("carl@grace.test"))).len(), 3);
}

#[test]
fn pages_of_an_answer_are_the_whole_answer() {
    let mut kept = Kept::open();
    let mut all: Vec<String> = Vec::new();
    for number in 0..100 {
        // Some on every page, and of every other page some that go on on the next one.
        if number % 10 == 0 {
            kept.now_us += HOUR_US;
            if let Some(id) = all.last().cloned() {
                kept.deferred(1, &id, "late@far.test");
            }
        }
        let sender = format!("ann{}@grace.test", number % 3);
        all.push(kept.message(&sender, &["bob@far.test"], "1@grace.test"));
    }
    all.reverse();
    for (filter, count) in [
        (TraceFilter::default(), 100),
        (by(|f| f.sender = some("@grace.test")), 100),
        (by(|f| f.sender = some("ann1@grace.test")), 33),
        (by(|f| f.recipient = some("late@far.test")), 9),
        (by(|f| f.outcome = Some(TraceOutcome::Deferred)), 9),
    ] {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let part = kept.history.search(&filter, 7, before).unwrap();
            assert!(part.rows.len() <= 7);
            found.extend(part.rows.into_iter().map(|row| row.queue_id));
            before = part.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(found.len(), count, "{filter:?}");
        assert!(
            all.iter().filter(|id| found.contains(id)).eq(found.iter()),
            "{filter:?}: in order"
        );
    }
}

#[test]
fn more_stories_than_are_held_are_the_newest() {
    let mut stories = Stories::new(3);
    for story in [5, 1, 9, 3, 7, 7, 2] {
        stories.hold(story);
    }
    assert_eq!(stories.held.iter().copied().collect::<Vec<_>>(), [5, 7, 9]);
    assert_eq!(stories.floor, 4);
    assert!(stories.is_beyond(3) && !stories.is_beyond(4));
    stories.cut(6);
    stories.hold(5);
    assert_eq!(stories.held.iter().copied().collect::<Vec<_>>(), [7, 9]);
}

#[test]
fn what_goes_is_not_found_and_what_stays_is() {
    let mut kept = Kept::open();
    let gone = kept.message("ann@grace.test", &["bob@far.test"], "1@grace.test");
    let old = kept.message("ann@grace.test", &["eve@far.test"], "2@grace.test");
    kept.now_us += 2 * HOUR_US;
    kept.deferred(7, &old, "eve@far.test");
    kept.now_us += 2 * HOUR_US;
    let new = kept.message("ann@grace.test", &["bob@far.test"], "3@grace.test");
    let expire = |kept: &Kept, oldest_us, rows_max| {
        let cut = kept.history.db.write(|tx| traces::expire(tx, oldest_us, rows_max));
        cut.unwrap().wait().unwrap();
    };
    expire(&kept, BEGAN_US + HOUR_US, 1_000);
    assert_eq!(kept.ids(&by(|f| f.sender = some("ann@grace.test"))), [new.as_str()]);
    assert_eq!(kept.ids(&by(|f| f.queue_id = Some(gone.clone()))), [""; 0]);
    // Its beginning is gone, what happened later is not.
    assert_eq!(kept.ids(&by(|f| f.recipient = some("eve@far.test"))), [old.as_str()]);
    let view = kept.history.db.snapshot();
    assert_eq!(view.scan::<TraceLaterRow>().count(), 0, "none is from after the oldest page");
    expire(&kept, u64::MAX, 0);
    let view = kept.history.db.snapshot();
    assert_eq!(view.scan::<TracedRow>().count() + view.scan::<TraceWordRow>().count(), 0);
    assert_eq!(kept.ids(&TraceFilter::default()), [""; 0]);
}
