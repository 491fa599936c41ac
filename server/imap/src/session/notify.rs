//! NOTIFY: what happens in mailboxes is told unasked, outside of IDLE too (RFC 5465).
//!
//! ```text
//!   wake ─▶ news of the selected mailbox ─▶ figures of the others ─▶ what is not told yet
//!             EXISTS, EXPUNGE, FETCH          STATUS, LIST, METADATA
//! ```
//! Invariants: of a mailbox every group speaks that covers it, up to one that says NONE; of the
//! selected one's messages only its own; a client that asked for nothing is told nothing unasked;
//! only mailboxes that are told of are remembered, no more than the driver watches.
//! Not here: the grammar (`grammar::notify`), the figures of other mailboxes (`elsewhere`), seeing
//! that something changed (the driver).

use std::collections::{BTreeMap, BTreeSet};

use super::context::After;
use super::elsewhere::Known;
use super::{Job, Session, Stage};
use crate::command::{EventGroup, Events, FetchItem, Notify, Source, Whose};
use crate::fetch::{self, Place, Response};
use crate::machine::{Action, Answer, Listed, Message, Request};
use crate::name::MailboxName;
use crate::response::Code;
use crate::view::{Allowed, View};

/// What a client wants to be told, and what it was told.
#[derive(Debug)]
pub(super) struct Notified {
    groups: Vec<EventGroup>,
    /// Mailboxes as the client knows them; `None`: nobody looked yet.
    pub(super) known: Option<Known>,
    /// What went on in the selected mailbox before is told, whatever is told from now on.
    settled: bool,
    /// Names that a command under way is about.
    asked: Vec<MailboxName>,
    /// Names that the client changed itself since somebody last looked.
    pub(super) own: BTreeSet<MailboxName>,
}

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
    /// UIDs, and what is fetched of each; last first.
    left: Vec<(u32, Vec<FetchItem>)>,
    /// The answer that is being written.
    open: Option<Box<Response>>,
    after: After,
}

impl Notified {
    fn new(groups: Vec<EventGroup>, settled: bool) -> Self {
        Self { groups, known: None, settled, asked: Vec::new(), own: BTreeSet::new() }
    }

    fn selected(&self) -> Option<&EventGroup> {
        self.groups.iter().find(|group| !matches!(group.whose, Whose::Others(_)))
    }

    /// What is told of a mailbox that is not selected; `None`: nothing. RFC 5465 6: several groups
    /// may speak of one. What is to be told of one that NONE names, too, no RFC says: here the
    /// groups that come before.
    pub(super) fn of(&self, listed: &Listed) -> Option<Events> {
        let covering = self.others().filter(|(source, _)| source.covers(listed, None));
        let mut all: Option<Events> = None;
        for (_, events) in covering.take_while(|(_, events)| **events != Events::default()) {
            all.get_or_insert_default().add(events);
        }
        all
    }

    fn others(&self) -> impl Iterator<Item = (&Source, &Events)> {
        self.groups.iter().filter_map(|group| match &group.whose {
            Whose::Others(source) => Some((source, &group.events)),
            _ => None,
        })
    }

    pub(super) fn any(&self, wants: fn(&Events) -> bool) -> bool {
        self.groups.iter().any(|group| wants(&group.events))
    }

    /// Has a view speak as the client wants it.
    pub(super) fn shape(&self, view: &mut View) {
        let events = self.selected().map(|group| &group.events);
        view.hides_messages = self.settled && !events.is_some_and(|events| events.messages);
        view.hide_flags(self.settled && !events.is_some_and(|events| events.flags));
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
        // RFC 5465 3.1: SET tells what has gathered, as NOOP does; NONE need not.
        let settled = groups.is_empty();
        let notified = Notified::new(groups, settled);
        let sources = notified.others().map(|(source, _)| source.clone()).collect();
        let annotations = notified.any(|events| events.metadata || events.server_metadata);
        self.notified = Some(Box::new(notified));
        self.shape_news();
        self.ask = Some(Request::Watch { sources, annotations });
        self.job = Some(Job::Notify(NotifyJob::Watch { tag, status }));
    }

    /// A command has ended: from now on what is told is what the client wants.
    pub(super) fn settle_notify(&mut self) {
        if let Some(notified) = &mut self.notified
            && !std::mem::replace(&mut notified.settled, true)
        {
            self.shape_news();
        }
    }

    /// A request about names goes to the driver.
    pub(super) fn names_asked(&mut self, request: &Request) {
        if let Some(notified) = &mut self.notified {
            notified.asked = match request {
                Request::Create(name, _) | Request::Delete(name) | Request::Subscribe(name, _) => {
                    vec![name.clone()]
                }
                Request::Rename(from, to) => vec![from.clone(), to.clone()],
                _ => Vec::new(),
            };
        }
    }

    /// It was done. The next look takes note of it, whether anything changed or not: what others
    /// do later is told.
    pub(super) fn names_changed(&mut self) {
        if let Some(notified) = &mut self.notified {
            notified.own.extend(notified.asked.drain(..));
            self.woken |= !notified.own.is_empty();
        }
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
                self.first_figures(&figures, status);
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
        self.notified = Some(Box::new(Notified::new(Vec::new(), true)));
        self.shape_news();
    }

    /// The session was woken: looks for what there is to tell.
    pub(super) fn look_for_news(&mut self, after: After) {
        self.woken = false;
        let tells = |view: &View| !(view.hides_messages && view.hides_flags());
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

    /// The messages that came are fetched, if the client wants that, and those that came into the
    /// results of a search that wants that of them; then all goes on.
    pub(super) fn arrived(
        &mut self,
        uids: Vec<u32>,
        wanted: Vec<(u32, Vec<FetchItem>)>,
        after: After,
    ) {
        let items = self.notified.as_ref().map_or(&[][..], |notified| notified.items());
        let came = uids.into_iter().filter(|_| !items.is_empty()).map(|uid| (uid, items.to_vec()));
        let mut all: BTreeMap<u32, Vec<FetchItem>> = came.collect();
        for (uid, items) in wanted {
            let known = all.entry(uid).or_default();
            items.into_iter().for_each(|item| add(known, item));
        }
        for items in all.values_mut() {
            // RFC 7162 3.2.4: with QRESYNC a FETCH that nobody asked for has its UID, with
            // CONDSTORE its MODSEQ.
            if self.enabled.condstore {
                add(items, FetchItem::ModSeq);
            }
            let says_uid = self.enabled.qresync && !self.enabled.uid_only;
            if says_uid && !items.contains(&FetchItem::Uid) {
                items.insert(0, FetchItem::Uid);
            }
        }
        let left = all.into_iter().rev().collect();
        self.arrivals_step(ArrivalsJob { left, open: None, after }, None);
    }

    pub(super) fn arrivals_step(&mut self, mut job: ArrivalsJob, answer: Option<Answer>) {
        if let Some(answer) = answer
            && let Some((uid, items)) = job.left.pop()
            && let Answer::Message(Some(message)) = answer
        {
            job.open = self.arrival(uid, items, Some(message));
        }
        loop {
            if let Some(response) = &mut job.open {
                if !response.go_on(&mut self.out) {
                    self.switch = Some(Action::Flush);
                    self.job = Some(Job::Arrivals(Box::new(job)));
                    return;
                }
                // What has an encoding nobody knows stands there as NIL.
                job.open = None;
            }
            let Some((uid, items)) = job.left.last() else { return self.told(job.after) };
            if let Some(need) = fetch::need(items) {
                self.ask = Some(Request::Read { uid: *uid, need, beside: fetch::beside(items) });
                self.job = Some(Job::Arrivals(Box::new(job)));
                return;
            }
            job.open = self.arrival(*uid, items.clone(), None);
            job.left.pop();
        }
    }

    fn arrival(
        &self,
        uid: u32,
        items: Vec<FetchItem>,
        message: Option<Message>,
    ) -> Option<Box<Response>> {
        let Stage::Selected(selected) = &self.stage else { return None };
        let view = &selected.view;
        let sequence = view.sequence_of(uid)?;
        let row = view.row(sequence)?;
        let place = Place { sequence, uid_only: view.uid_only, is_recent: view.is_recent(uid) };
        Some(Box::new(Response::new(place, row, items.into(), message)))
    }
}

/// Adds what is not among them yet.
fn add(items: &mut Vec<FetchItem>, item: FetchItem) {
    if !items.contains(&item) {
        items.push(item);
    }
}
