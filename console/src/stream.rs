//! The events the console keeps, and those of them that pass the filter.
//!
//! Invariants: at most [`KEPT_MAX`] events are kept, the newest; a row's number never changes while
//! it lives, so the list does not jump when old ones go; the counts agree with what is kept. Not
//! here: where events come from (`link`), how rows look (`screen`).

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use grace_ipc::event::{Event, EventKind, Service, Topic, TraceId};

use crate::filter::Filter;
use crate::units::{self, Zone};
use crate::words::{self, Line, Weight};

/// Events kept. Half an hour of a busy server, about 8 MB, and filtering them takes milliseconds.
pub(crate) const KEPT_MAX: usize = 10_000;

/// Connections whose door is remembered; a server has fewer open at once.
const DOORS_MAX: usize = 20_000;

/// Which part of the house is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    #[default]
    Everything,
    Messages,
    Logins,
    Connections,
    Mailboxes,
    Server,
    Problems,
}

impl Scope {
    pub(crate) const ALL: [Self; 7] = [
        Self::Everything,
        Self::Messages,
        Self::Logins,
        Self::Connections,
        Self::Mailboxes,
        Self::Server,
        Self::Problems,
    ];

    fn holds(self, row: &Row) -> bool {
        match self {
            Self::Everything => true,
            Self::Messages => row.topic == Some(Topic::Message),
            Self::Logins => row.topic == Some(Topic::Login),
            Self::Connections => row.topic == Some(Topic::Connection),
            Self::Mailboxes => row.topic == Some(Topic::Mailbox),
            Self::Server => {
                matches!(row.topic, Some(Topic::Server | Topic::Store | Topic::Directory) | None)
            }
            Self::Problems => row.weight >= Weight::Caution,
        }
    }
}

/// One event, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) time_us: u64,
    pub(crate) trace: TraceId,
    pub(crate) topic: Option<Topic>,
    pub(crate) weight: Weight,
    pub(crate) state: &'static str,
    pub(crate) time: Arc<str>,
    pub(crate) service: Option<Service>,
    pub(crate) sentence: Arc<str>,
    /// The peer, or what else there is to say in figures.
    pub(crate) detail: Arc<str>,
    /// What there is to say beside the sentence.
    pub(crate) facts: Arc<str>,
    /// Everything about it in one line, for the clipboard and screen readers.
    pub(crate) whole: Arc<str>,
    /// The same in lower case, for the filter.
    found_by: String,
}

impl Row {
    fn from_line(
        line: Line,
        time_us: u64,
        trace: TraceId,
        topic: Option<Topic>,
        zone: Zone,
    ) -> Self {
        let time = units::clock(time_us, zone);
        let peer = line.peer.map(|peer| peer.to_string()).unwrap_or_default();
        let service = line.service.map_or("", Service::name);
        let whole = joined(&[&time, line.state, service, &line.sentence, &line.detail, &peer]);
        let trace_name = if trace.0 == 0 { String::new() } else { Filter::trace(trace) };
        let facts = joined(&[&time, service, &line.detail, &peer, &trace_name]);
        let detail = if peer.is_empty() { line.detail } else { peer };
        Self {
            time_us,
            trace,
            topic,
            weight: line.weight,
            state: line.state,
            service: line.service,
            sentence: line.sentence.into(),
            detail: detail.into(),
            facts: facts.into(),
            found_by: whole.to_lowercase(),
            whole: whole.into(),
            time: time.into(),
        }
    }
}

fn joined(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    parts.join(" · ")
}

/// The events.
#[derive(Debug)]
pub(crate) struct Stream {
    zone: Zone,
    rows: VecDeque<Row>,
    /// Number of the first row kept.
    first: u64,
    counts: [u64; Scope::ALL.len()],
    scope: Scope,
    filter: Filter,
    /// Numbers of the rows that pass, and how many such went before.
    shown: VecDeque<u64>,
    shown_first: u64,
    /// Grows whenever other rows pass.
    epoch: u64,
    /// Where the list stops while it is paused.
    frozen: Option<u64>,
    /// Which door the open connections came through: a delivered message does not say.
    doors: HashMap<TraceId, Service>,
}

impl Stream {
    pub(crate) fn new(zone: Zone) -> Self {
        Self {
            zone,
            rows: VecDeque::new(),
            first: 0,
            counts: [0; Scope::ALL.len()],
            scope: Scope::default(),
            filter: Filter::default(),
            shown: VecDeque::new(),
            shown_first: 0,
            epoch: 0,
            frozen: None,
            doors: HashMap::new(),
        }
    }

    pub(crate) fn add(&mut self, event: &Event) {
        let mut line = words::line(&event.kind);
        let trace = event.trace;
        match line.service {
            Some(_) if matches!(event.kind, EventKind::ConnectionClosed { .. }) => {
                self.doors.remove(&trace);
            }
            Some(service) if trace.0 != 0 => {
                if self.doors.len() >= DOORS_MAX {
                    self.doors.clear();
                }
                self.doors.insert(trace, service);
            }
            _ => line.service = self.doors.get(&trace).copied().or(line.service),
        }
        let topic = Some(event.kind.topic());
        self.push(Row::from_line(line, event.time_us, trace, topic, self.zone));
    }

    /// Notes that events are missing here.
    pub(crate) fn add_gap(&mut self, lost: u64, time_us: u64) {
        let row = Row::from_line(words::gap(lost), time_us, TraceId(0), None, self.zone);
        self.push(row);
    }

    fn push(&mut self, row: Row) {
        if self.rows.len() >= KEPT_MAX {
            self.forget_oldest();
        }
        let number = self.first + self.rows.len() as u64;
        self.count(&row, true);
        if self.passes(&row) {
            self.shown.push_back(number);
        }
        self.rows.push_back(row);
    }

    fn forget_oldest(&mut self) {
        let Some(row) = self.rows.pop_front() else { return };
        self.count(&row, false);
        if self.shown.front() == Some(&self.first) {
            self.shown.pop_front();
            self.shown_first += 1;
        }
        self.first += 1;
    }

    fn count(&mut self, row: &Row, more: bool) {
        for (scope, count) in Scope::ALL.iter().zip(&mut self.counts) {
            if scope.holds(row) {
                *count = if more { *count + 1 } else { count.saturating_sub(1) };
            }
        }
    }

    fn passes(&self, row: &Row) -> bool {
        self.scope.holds(row) && self.filter.passes(&row.found_by, row.trace)
    }

    /// Shows what passes this text and belongs to this part.
    pub(crate) fn show(&mut self, filter: Filter, scope: Scope) {
        if filter == self.filter && scope == self.scope {
            return;
        }
        (self.filter, self.scope) = (filter, scope);
        let passing = (self.first..).zip(&self.rows).filter(|(_, row)| self.passes(row));
        self.shown = passing.map(|(number, _)| number).collect();
        self.shown_first = 0;
        self.epoch += 1;
        if self.frozen.is_some() {
            self.frozen = Some(self.end());
        }
    }

    /// Stops the list where it is, or lets it go on.
    pub(crate) fn pause(&mut self, paused: bool) {
        self.frozen = paused.then(|| self.end());
    }

    fn end(&self) -> u64 {
        self.shown_first + self.shown.len() as u64
    }

    /// The numbers of the rows of the list.
    pub(crate) fn numbers(&self) -> Range<u64> {
        let end = self.frozen.map_or(self.end(), |frozen| frozen.max(self.shown_first));
        self.shown_first..end
    }

    /// Rows that came while the list is paused.
    pub(crate) fn waiting(&self) -> u64 {
        self.end() - self.numbers().end
    }

    /// A row of the list.
    pub(crate) fn row(&self, number: u64) -> Option<&Row> {
        let index = usize::try_from(number.checked_sub(self.shown_first)?).ok()?;
        let row = self.shown.get(index)?.checked_sub(self.first)?;
        self.rows.get(usize::try_from(row).ok()?)
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn scope(&self) -> Scope {
        self.scope
    }

    /// Events kept.
    pub(crate) fn kept(&self) -> usize {
        self.rows.len()
    }

    /// Rows that pass.
    pub(crate) fn passing(&self) -> usize {
        self.shown.len()
    }

    /// Events kept of one part.
    pub(crate) fn count_of(&self, scope: Scope) -> u64 {
        let found = Scope::ALL.iter().zip(&self.counts).find(|(one, _)| **one == scope);
        found.map_or(0, |(_, count)| *count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::tests::all;

    fn event(seq: u64, kind: EventKind) -> Event {
        Event { seq, time_us: seq * 1_000_000, trace: TraceId(seq % 3), kind }
    }

    fn filled(count: u64) -> Stream {
        let mut stream = Stream::new(Zone::Utc);
        let kinds = all();
        for (seq, kind) in (1..=count).zip(kinds.iter().cycle()) {
            stream.add(&event(seq, kind.clone()));
        }
        stream
    }

    #[test]
    fn counts_follow_what_is_kept() {
        let mut stream = filled(KEPT_MAX as u64 + 500);
        assert_eq!(stream.kept(), KEPT_MAX);
        for scope in Scope::ALL {
            stream.show(Filter::default(), scope);
            assert_eq!(stream.passing() as u64, stream.count_of(scope), "{scope:?}");
        }
        let parts =
            [Scope::Messages, Scope::Logins, Scope::Connections, Scope::Mailboxes, Scope::Server];
        let sum: u64 = parts.iter().map(|scope| stream.count_of(*scope)).sum();
        assert_eq!(sum, stream.count_of(Scope::Everything), "every event has one home");
    }

    #[test]
    fn a_row_keeps_its_number_while_older_ones_go() {
        let mut stream = filled(KEPT_MAX as u64);
        let number = stream.numbers().end - 1;
        let row = stream.row(number).expect("the newest row").clone();
        for seq in 0..100 {
            stream.add(&event(seq, all().remove(1)));
        }
        assert_eq!(stream.row(number), Some(&row));
        assert_eq!(stream.row(50), None, "forgotten");
        assert_eq!(stream.numbers(), 100..KEPT_MAX as u64 + 100);
    }

    #[test]
    fn the_filter_applies_to_old_and_new() {
        let mut stream = filled(2 * all().len() as u64);
        stream.show(Filter::parse("otto inbox"), Scope::Everything);
        let before = stream.passing();
        assert!(before > 0 && before < stream.kept());
        let epoch = stream.epoch();
        for kind in all() {
            stream.add(&event(99, kind));
        }
        assert_eq!(stream.passing(), before + before / 2);
        assert_eq!(stream.epoch(), epoch, "the same rows with some more");
        stream.show(Filter::parse("trace:2"), Scope::Everything);
        assert_ne!(stream.epoch(), epoch);
        assert!(
            (stream.numbers())
                .all(|number| { stream.row(number).is_some_and(|row| row.trace == TraceId(2)) })
        );
    }

    #[test]
    fn pausing_holds_the_list_and_counts_on() {
        let mut stream = filled(10);
        stream.pause(true);
        for kind in all() {
            stream.add(&event(99, kind));
        }
        assert_eq!(stream.numbers(), 0..10);
        assert_eq!(stream.waiting(), all().len() as u64);
        stream.pause(false);
        assert_eq!(stream.waiting(), 0);
        assert_eq!(stream.numbers().end, 10 + all().len() as u64);
    }

    #[test]
    fn a_message_is_told_with_the_door_it_came_through() {
        let mut stream = Stream::new(Zone::Utc);
        let kinds = all();
        let one = |is: fn(&EventKind) -> bool| {
            kinds.iter().find(|kind| is(kind)).cloned().expect("one of every kind")
        };
        let message = || one(|kind| matches!(kind, EventKind::MessageAccepted { .. }));
        stream.add(&event(1, one(|kind| matches!(kind, EventKind::ConnectionOpened { .. }))));
        stream.add(&event(1, message()));
        stream.add(&event(1, one(|kind| matches!(kind, EventKind::ConnectionClosed { .. }))));
        // Of a connection that nobody knows any more.
        stream.add(&event(1, message()));
        let services: Vec<_> = (0..4).map(|n| stream.row(n).and_then(|row| row.service)).collect();
        assert_eq!(services, [Some(Service::Smtp), Some(Service::Smtp), Some(Service::Smtp), None]);
        assert!(stream.doors.is_empty());
    }

    #[test]
    fn a_gap_is_told_as_a_row() {
        let mut stream = filled(1);
        stream.add_gap(131, 5_000_000);
        let row = stream.row(1).expect("the gap");
        assert!(row.sentence.starts_with("131 events came faster"), "{}", row.sentence);
        assert_eq!(stream.count_of(Scope::Problems), 1);
    }
}
