//! NOTIFY: what happens in mailboxes is told unasked, outside of IDLE too (RFC 5465).
//!
//! ```text
//!   wake ─▶ news of the selected mailbox ─▶ figures of the others ─▶ what is not told yet
//!             EXISTS, EXPUNGE, FETCH          STATUS, LIST, METADATA
//! ```
//! Invariants: of a mailbox the first group speaks that covers it, of the selected one only its
//! own; a client that asked for nothing is told nothing unasked; only mailboxes that are told of
//! are remembered, no more than the driver watches.
//! Not here: the grammar (`grammar::notify`), noticing changes (the driver).

use std::collections::{BTreeMap, BTreeSet};

use super::context::After;
use super::mailbox::status_line;
use super::{Job, Session, Stage};
use crate::command::{EventGroup, Events, FetchItem, Notify, Source, StatusItem, Whose};
use crate::fetch::{self, Place};
use crate::machine::{Answer, Figures, Listed, Message, Need, Request, Status};
use crate::metadata::Entry;
use crate::name::MailboxName;
use crate::response::{Code, Out};
use crate::view::{Allowed, View};

/// What a client wants to be told, and what it was told.
#[derive(Debug)]
pub(super) struct Notified {
    groups: Vec<EventGroup>,
    /// Mailboxes as the client knows them; `None`: nobody looked yet.
    known: Option<Known>,
}

/// Names, whether they are subscribed, and the figures of those that exist.
type Known = BTreeMap<MailboxName, (bool, Option<Status>)>;

/// A NOTIFY under way, or the figures of a wake.
#[derive(Debug)]
pub(super) enum NotifyJob {
    /// The driver begins to watch.
    Watch { tag: String, status: bool },
    /// It looks for the first time.
    First { tag: String, status: bool },
    /// The news of the selected mailbox are asked for.
    Selected(After),
    /// It looks again.
    Again(After),
}

/// New messages that are fetched before all goes on.
#[derive(Debug)]
pub(super) struct ArrivalsJob {
    /// Last first.
    left: Vec<u32>,
    items: Vec<FetchItem>,
    need: Option<Need>,
    after: After,
}

impl Notified {
    fn selected(&self) -> Option<&EventGroup> {
        self.groups.iter().find(|group| !matches!(group.whose, Whose::Others(_)))
    }

    /// What is told of a mailbox that is not selected.
    fn of(&self, listed: &Listed) -> Option<&Events> {
        let covers = |group: &&EventGroup| match &group.whose {
            Whose::Others(source) => source.covers(listed, None),
            _ => false,
        };
        self.groups.iter().find(covers).map(|group| &group.events)
    }

    fn others(&self) -> impl Iterator<Item = (&Source, &Events)> {
        self.groups.iter().filter_map(|group| match &group.whose {
            Whose::Others(source) => Some((source, &group.events)),
            _ => None,
        })
    }

    fn any(&self, wants: fn(&Events) -> bool) -> bool {
        self.groups.iter().any(|group| wants(&group.events))
    }

    /// Has a view speak as the client wants it.
    pub(super) fn shape(&self, view: &mut View) {
        let events = self.selected().map(|group| &group.events);
        view.hides_messages = !events.is_some_and(|events| events.messages);
        view.hides_flags = !events.is_some_and(|events| events.flags);
    }

    /// What is fetched of a new message of the selected mailbox.
    pub(super) fn items(&self) -> &[FetchItem] {
        self.selected().map_or(&[], |group| &group.events.items)
    }
}

impl Session {
    /// Whether the driver is to wake the session when something changed.
    pub fn wants_wake(&self) -> bool {
        self.is_idle() || (self.job.is_none() && self.notified.is_some())
    }

    pub(super) fn notify(&mut self, tag: String, notify: Notify) {
        let Notify { status, groups } = notify;
        let notified = Notified { groups, known: None };
        let sources = notified.others().map(|(source, _)| source.clone()).collect();
        let annotations = notified.any(|events| events.metadata || events.server_metadata);
        self.notified = Some(Box::new(notified));
        self.shape_news();
        self.ask = Some(Request::Watch { sources, annotations });
        self.job = Some(Job::Notify(NotifyJob::Watch { tag, status }));
    }

    fn shape_news(&mut self) {
        if let (Some(notified), Stage::Selected(selected)) = (&self.notified, &mut self.stage) {
            notified.shape(&mut selected.view);
        }
    }

    pub(super) fn notify_answered(&mut self, job: NotifyJob, answer: Option<Answer>) {
        match (job, answer) {
            (NotifyJob::Watch { tag, status }, Some(Answer::Done)) => {
                if self.notified.as_ref().is_some_and(|known| known.others().next().is_some()) {
                    self.ask = Some(Request::Figures);
                    self.job = Some(Job::Notify(NotifyJob::First { tag, status }));
                } else {
                    self.finish(&tag, "NOTIFY done", Allowed::Everything);
                }
            }
            (NotifyJob::First { tag, status }, Some(Answer::Figures(figures))) => {
                if status {
                    self.first_status(&figures);
                }
                self.remember(figures);
                self.finish(&tag, "NOTIFY done", Allowed::Everything);
            }
            (NotifyJob::Selected(after), Some(Answer::Changes(changes))) => {
                let is_immediate = matches!(
                    self.notified.as_ref().and_then(|notified| notified.selected()),
                    Some(EventGroup { whose: Whose::Selected, .. })
                );
                // RFC 5465 6.2, and RFC 9051 6.3.13 of IDLE.
                let allowed = match is_immediate || matches!(after, After::Idle { .. }) {
                    true => Allowed::Everything,
                    false => Allowed::NoExpunge,
                };
                self.tell_then(changes, allowed, after);
            }
            (NotifyJob::Selected(_), answer) if Self::is_gone(answer.as_ref()) => {
                self.mailbox_is_gone();
            }
            (NotifyJob::Again(after), Some(Answer::Figures(figures))) => {
                self.tell_figures(figures);
                self.go_on(after);
            }
            (NotifyJob::Watch { tag, .. } | NotifyJob::First { tag, .. }, Some(answer)) => {
                self.overflow();
                self.misanswered(&tag, Some(answer));
            }
            (NotifyJob::Again(after) | NotifyJob::Selected(after), _) => {
                self.overflow();
                self.go_on(after);
            }
            (_, None) => {}
        }
    }

    /// RFC 5465 5.8: from here on it is as after NOTIFY NONE.
    fn overflow(&mut self) {
        let text = "there is more to tell than can be told";
        self.out.status("OK", Some(&Code::NotificationOverflow), text);
        self.notified = Some(Box::new(Notified { groups: Vec::new(), known: None }));
        self.shape_news();
    }

    /// The session was woken: looks for what there is to tell.
    pub(super) fn look_for_news(&mut self, after: After) {
        self.woken = false;
        let tells = |view: &View| !(view.hides_messages && view.hides_flags);
        let since = self.selected().map(|selected| &selected.view).filter(|view| tells(view));
        match since.map(View::modseq) {
            Some(since) => {
                self.ask = Some(Request::Changes { since });
                self.job = Some(Job::Notify(NotifyJob::Selected(after)));
            }
            None => self.look_at_others(after),
        }
    }

    /// The selected mailbox was told of: now the others, if they are.
    pub(super) fn look_at_others(&mut self, after: After) {
        match &self.notified {
            Some(notified) if notified.known.is_some() => {
                self.ask = Some(Request::Figures);
                self.job = Some(Job::Notify(NotifyJob::Again(after)));
            }
            _ => self.go_on(after),
        }
    }

    /// RFC 5465 3.1: the figures of every mailbox whose messages are told of, but the selected.
    fn first_status(&mut self, figures: &Figures) {
        let selected = self.selected().map(|selected| selected.name.clone());
        let (condstore, most) = (self.enabled.condstore, self.settings.append_bytes_max);
        let Some(notified) = &self.notified else { return };
        for (listed, status) in &figures.mailboxes {
            let events = notified.of(listed).filter(|events| events.messages);
            if let (Some(events), Some(status)) = (events, status)
                && selected.as_ref() != Some(&listed.name)
            {
                let items = status_items(events, condstore);
                status_line(&mut self.out, &listed.name, &items, status, most);
            }
        }
    }

    fn remember(&mut self, figures: Figures) {
        if let Some(notified) = &mut self.notified {
            let all = figures.mailboxes.into_iter();
            let told = all.filter(|(listed, _)| notified.of(listed).is_some());
            let entry = |(listed, status): (Listed, _)| (listed.name, (listed.subscribed, status));
            notified.known = Some(told.map(entry).collect());
        }
    }

    /// Tells what differs from what was told.
    fn tell_figures(&mut self, figures: Figures) {
        let selected = self.selected().map(|selected| selected.name.clone());
        let Some(mut notified) = self.notified.take() else { return };
        let known = notified.known.take().unwrap_or_default();
        let told = Told {
            condstore: self.enabled.condstore,
            append_bytes_max: self.settings.append_bytes_max,
            selected: selected.as_ref(),
            moved: moved(&notified, &known, &figures),
            known: &known,
            out: &mut self.out,
        };
        told.tell(&notified, &figures);
        self.notified = Some(notified);
        self.remember(figures);
    }

    /// The messages that came are fetched, if the client wants that, and then all goes on.
    pub(super) fn arrived(&mut self, uids: Vec<u32>, after: After) {
        let items = self.notified.as_ref().map_or(&[][..], |notified| notified.items());
        if items.is_empty() || uids.is_empty() {
            return self.told(after);
        }
        let mut items = items.to_vec();
        // RFC 7162 3.2.4: with QRESYNC a FETCH that nobody asked for has its UID, with CONDSTORE
        // its MODSEQ.
        if self.enabled.condstore && !items.contains(&FetchItem::ModSeq) {
            items.push(FetchItem::ModSeq);
        }
        if self.enabled.qresync && !self.enabled.uid_only && !items.contains(&FetchItem::Uid) {
            items.insert(0, FetchItem::Uid);
        }
        let (left, need) = (uids.into_iter().rev().collect(), fetch::need(&items));
        self.arrivals_step(ArrivalsJob { left, items, need, after }, None);
    }

    pub(super) fn arrivals_step(&mut self, mut job: ArrivalsJob, answer: Option<Answer>) {
        if let Some(answer) = answer
            && let Some(uid) = job.left.pop()
            && let Answer::Message(Some(message)) = answer
        {
            self.arrival(uid, &job.items, Some(&message));
        }
        let Some(&uid) = job.left.last() else { return self.told(job.after) };
        match job.need {
            Some(need) => {
                let beside = fetch::beside(&job.items);
                self.ask = Some(Request::Read { uid, need, beside });
                self.job = Some(Job::Arrivals(Box::new(job)));
            }
            None => {
                while let Some(uid) = job.left.pop() {
                    self.arrival(uid, &job.items, None);
                }
                self.told(job.after);
            }
        }
    }

    fn arrival(&mut self, uid: u32, items: &[FetchItem], message: Option<&Message>) {
        let Stage::Selected(selected) = &self.stage else { return };
        let view = &selected.view;
        let Some(sequence) = view.sequence_of(uid) else { return };
        let Some(row) = view.row(sequence) else { return };
        let is_recent = view.is_recent(uid);
        let place = Place { sequence, uid_only: view.uid_only, is_recent };
        // What has an encoding nobody knows stands there as NIL.
        fetch::response(&mut self.out, place, &row, items, message).ok();
    }
}

/// What STATUS says of a mailbox (RFC 5465 5.1 to 5.3).
fn status_items(events: &Events, condstore: bool) -> Vec<StatusItem> {
    let mut items = vec![StatusItem::UidValidity, StatusItem::UidNext, StatusItem::Messages];
    if events.flags {
        items.push(StatusItem::Unseen);
    }
    if condstore {
        items.push(StatusItem::HighestModSeq);
    }
    items
}

/// New names that are told, and the old ones they had: MAILBOXID stays.
fn moved(
    notified: &Notified,
    known: &Known,
    figures: &Figures,
) -> BTreeMap<MailboxName, MailboxName> {
    let now: BTreeSet<&MailboxName> =
        figures.mailboxes.iter().filter(|(l, _)| l.exists).map(|(l, _)| &l.name).collect();
    let gone = known.iter().filter(|(name, (_, status))| status.is_some() && !now.contains(name));
    let gone: BTreeMap<&str, &MailboxName> = gone
        .filter_map(|(name, (_, status))| Some((status.as_ref()?.mailbox_id.as_str(), name)))
        .collect();
    let pair = |(listed, status): &(Listed, Option<Status>)| {
        let old = gone.get(status.as_ref()?.mailbox_id.as_str())?;
        notified.of(listed).filter(|events| events.names)?;
        Some((listed.name.clone(), (*old).clone()))
    };
    figures.mailboxes.iter().filter_map(pair).collect()
}

/// Telling differences.
struct Told<'a> {
    condstore: bool,
    append_bytes_max: u64,
    selected: Option<&'a MailboxName>,
    moved: BTreeMap<MailboxName, MailboxName>,
    known: &'a Known,
    out: &'a mut Out,
}

impl Told<'_> {
    fn tell(mut self, notified: &Notified, figures: &Figures) {
        self.gone(notified, figures);
        for (listed, status) in &figures.mailboxes {
            let before = self.known.get(&listed.name);
            // A subscription that ended may be why a mailbox is not covered any more.
            let was =
                before.map(|(subscribed, _)| Listed { subscribed: *subscribed, ..listed.clone() });
            let events = notified.of(listed).or_else(|| notified.of(was.as_ref()?));
            if let Some(events) = events {
                self.name(events, listed, status.as_ref(), before);
            }
        }
        self.annotated(notified, &figures.annotated, figures);
    }

    /// Names that are there no more (RFC 5465 5.4).
    fn gone(&mut self, notified: &Notified, figures: &Figures) {
        let now: BTreeMap<&MailboxName, &Listed> =
            figures.mailboxes.iter().map(|(listed, _)| (&listed.name, listed)).collect();
        for (name, (subscribed, status)) in self.known {
            let still = now.get(name);
            let was = Listed {
                name: name.clone(),
                exists: status.is_some(),
                subscribed: *subscribed,
                special_use: None,
            };
            let Some(events) = notified.of(&was) else { continue };
            let is_moved = self.moved.values().any(|old| old == name);
            let went = status.is_some() && !still.is_some_and(|listed| listed.exists);
            if events.names && went && !is_moved {
                self.list(name, &["\\NonExistent"], None);
            } else if events.subscriptions && *subscribed && still.is_none() {
                let exists = if status.is_some() { &[][..] } else { &["\\NonExistent"][..] };
                self.list(name, exists, None);
            }
        }
    }

    /// A mailbox that is there, or a subscription that is.
    fn name(
        &mut self,
        events: &Events,
        listed: &Listed,
        status: Option<&Status>,
        before: Option<&(bool, Option<Status>)>,
    ) {
        let (was_subscribed, known) = match before {
            Some((subscribed, status)) => (*subscribed, status.as_ref()),
            None => (false, None),
        };
        let is_made = listed.exists && known.is_none();
        let old = self.moved.get(&listed.name).cloned();
        let tells_name = events.names && is_made;
        if tells_name || (events.subscriptions && listed.subscribed != was_subscribed) {
            let mut attributes = Vec::new();
            attributes.extend((!listed.exists).then_some("\\NonExistent"));
            attributes.extend(listed.subscribed.then_some("\\Subscribed"));
            self.list(&listed.name, &attributes, old.as_ref().filter(|_| tells_name));
        }
        let Some(status) = status.filter(|_| events.messages) else { return };
        let differs = match known {
            Some(known) if events.flags => known.modseq != status.modseq,
            Some(known) => (known.uid_next, known.messages) != (status.uid_next, status.messages),
            // RFC 5465 5.4: a mailbox that is new to the client.
            None => old.is_none(),
        };
        if differs && self.selected != Some(&listed.name) {
            let items = status_items(events, self.condstore);
            status_line(self.out, &listed.name, &items, status, self.append_bytes_max);
        }
    }

    /// RFC 5465 5.6 and 5.7, in the words of RFC 5464 4.4.2.
    fn annotated(
        &mut self,
        notified: &Notified,
        annotated: &[(Option<MailboxName>, Entry)],
        figures: &Figures,
    ) {
        for (mailbox, entry) in annotated {
            let is_wanted = match mailbox {
                None => notified.any(|events| events.server_metadata),
                Some(name) => {
                    let found = figures.mailboxes.iter().find(|(listed, _)| listed.name == *name);
                    let events = found.and_then(|(listed, _)| notified.of(listed));
                    events.is_some_and(|events| events.metadata)
                }
            };
            if is_wanted {
                self.out.raw("* METADATA ");
                match mailbox {
                    Some(name) => self.out.mailbox(name.as_str()),
                    None => self.out.raw("\"\""),
                };
                self.out.raw(" ").astring(&entry.to_string()).line();
            }
        }
    }

    fn list(&mut self, name: &MailboxName, attributes: &[&str], old: Option<&MailboxName>) {
        self.out.raw("* LIST (").raw(&attributes.join(" ")).raw(") \"/\" ");
        self.out.mailbox(name.as_str());
        if let Some(old) = old {
            self.out.raw(" (\"OLDNAME\" (").mailbox(old.as_str()).raw("))");
        }
        self.out.line();
    }
}
