//! What NOTIFY tells of mailboxes that are not selected: LIST, STATUS and METADATA (RFC 5465 5).
//!
//! ```text
//!   as they were ─┐
//!   as they are ──┴─▶ names that went ─▶ names that came, figures ─▶ parents ─▶ annotations
//!                       LIST               LIST, STATUS                LIST       METADATA
//! ```
//! Invariants: each name is told once; what the client did itself to a name is not told; attributes
//! are those that LIST gives.
//! Not here: asking, and what is told of the selected mailbox (`notify`).

use std::collections::{BTreeMap, BTreeSet};

use super::Session;
use super::mailbox::status_line;
use super::notify::Notified;
use crate::command::{Events, StatusItem};
use crate::machine::{Figures, Listed, Status};
use crate::metadata::Entry;
use crate::name::MailboxName;
use crate::response::Out;

/// A mailbox or subscription as the client knows it.
#[derive(Debug)]
pub(super) struct Sight {
    listed: Listed,
    /// `None`: it is not there, or may not be read.
    status: Option<Status>,
}

/// What the client was told of.
pub(super) type Known = BTreeMap<MailboxName, Sight>;

/// Everything as it is now, by name.
type Now<'a> = BTreeMap<&'a MailboxName, &'a (Listed, Option<Status>)>;

/// A name that is there, but not for this one to read.
fn is_closed(listed: &Listed, status: Option<&Status>) -> bool {
    listed.exists && status.is_none()
}

impl Session {
    /// RFC 5465 3.1: the figures of every mailbox whose messages are told of, but the selected, if
    /// they were asked for; and names of which nothing can be told.
    pub(super) fn first_figures(&mut self, figures: &Figures, status: bool) {
        let selected = self.selected().map(|selected| selected.name.clone());
        let Some(notified) = &self.notified else { return };
        let telling = Telling {
            condstore: self.enabled.condstore,
            append_bytes_max: self.settings.append_bytes_max,
            selected: selected.as_ref(),
            parents: parents(figures),
            own: &BTreeSet::new(),
            told: BTreeSet::new(),
            out: &mut self.out,
        };
        telling.first(notified, figures, status);
    }

    pub(super) fn remember(&mut self, figures: Figures) {
        if let Some(notified) = &mut self.notified {
            let all = figures.mailboxes.into_iter();
            let told = all.filter(|(listed, _)| notified.of(listed).is_some());
            let sight =
                |(listed, status): (Listed, _)| (listed.name.clone(), Sight { listed, status });
            notified.known = Some(told.map(sight).collect());
        }
    }

    /// Tells what differs from what was told.
    pub(super) fn tell_figures(&mut self, figures: Figures) {
        let selected = self.selected().map(|selected| selected.name.clone());
        let Some(mut notified) = self.notified.take() else { return };
        let known = notified.known.take().unwrap_or_default();
        let own = std::mem::take(&mut notified.own);
        let telling = Telling {
            condstore: self.enabled.condstore,
            append_bytes_max: self.settings.append_bytes_max,
            selected: selected.as_ref(),
            parents: parents(&figures),
            own: &own,
            told: BTreeSet::new(),
            out: &mut self.out,
        };
        telling.differences(&notified, &known, &figures);
        self.notified = Some(notified);
        self.remember(figures);
    }
}

/// Names with mailboxes below them.
fn parents(figures: &Figures) -> BTreeSet<MailboxName> {
    let there = figures.mailboxes.iter().filter(|(listed, _)| listed.exists);
    there.flat_map(|(listed, _)| listed.name.ancestors().collect::<Vec<_>>()).collect()
}

/// What STATUS says of a mailbox (RFC 5465 5.1 to 5.3).
fn status_items(events: &Events, modseq: bool) -> Vec<StatusItem> {
    let mut items = vec![StatusItem::UidValidity, StatusItem::UidNext, StatusItem::Messages];
    if events.flags {
        items.push(StatusItem::Unseen);
    }
    if modseq {
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
    let gone = known.iter().filter(|(name, sight)| sight.listed.exists && !now.contains(name));
    let gone: BTreeMap<&str, &MailboxName> = gone
        .filter_map(|(name, sight)| Some((sight.status.as_ref()?.mailbox_id.as_str(), name)))
        .collect();
    let pair = |(listed, status): &(Listed, Option<Status>)| {
        let old = gone.get(status.as_ref()?.mailbox_id.as_str())?;
        notified.of(listed).filter(|events| events.names)?;
        Some((listed.name.clone(), (*old).clone()))
    };
    figures.mailboxes.iter().filter_map(pair).collect()
}

/// Whether a mailbox has another name only because one above it has (RFC 5465 5.4).
fn moved_along(moved: &BTreeMap<MailboxName, MailboxName>, new: &MailboxName) -> bool {
    let Some(old) = moved.get(new) else { return false };
    new.ancestors().any(|above| {
        let tail = new.as_str().strip_prefix(above.as_str());
        let before = moved.get(&above).map(MailboxName::as_str);
        before.is_some_and(|before| old.as_str().strip_prefix(before) == tail)
    })
}

/// Telling.
struct Telling<'a> {
    condstore: bool,
    append_bytes_max: u64,
    selected: Option<&'a MailboxName>,
    /// Names with others below them.
    parents: BTreeSet<MailboxName>,
    /// Names the client changed itself.
    own: &'a BTreeSet<MailboxName>,
    /// Names that were told.
    told: BTreeSet<MailboxName>,
    out: &'a mut Out,
}

impl Telling<'_> {
    fn first(mut self, notified: &Notified, figures: &Figures, status: bool) {
        for (listed, figure) in &figures.mailboxes {
            let Some(events) = notified.of(listed) else { continue };
            if is_closed(listed, figure.as_ref()) {
                self.list(listed, None, None);
            } else if let Some(figure) = figure
                && status
                && events.messages
            {
                // With FlagChange HIGHESTMODSEQ is told whether CONDSTORE is on or not.
                self.status(listed, &events, events.flags, figure);
            }
        }
    }

    fn differences(mut self, notified: &Notified, known: &Known, figures: &Figures) {
        let moved = moved(notified, known, figures);
        let now: Now = figures.mailboxes.iter().map(|one| (&one.0.name, one)).collect();
        let mut above = self.gone(notified, known, &now, &moved);
        for (listed, status) in &figures.mailboxes {
            let before = known.get(&listed.name);
            // A subscription that ended may be why a mailbox is not covered any more.
            let events = notified.of(listed).or_else(|| notified.of(&before?.listed));
            if let Some(events) = events
                && self.name(&events, (listed, status.as_ref()), before, &moved)
            {
                above.extend(listed.name.ancestors().last());
            }
        }
        self.parents(notified, &now, above);
        self.annotated(notified, figures);
    }

    /// Names that are there no more; gives those right above them.
    fn gone(
        &mut self,
        notified: &Notified,
        known: &Known,
        now: &Now<'_>,
        moved: &BTreeMap<MailboxName, MailboxName>,
    ) -> BTreeSet<MailboxName> {
        let mut above = BTreeSet::new();
        for (name, Sight { listed: was, .. }) in known {
            let still = now.get(name).map(|(listed, _)| listed);
            let Some(events) = notified.of(was) else { continue };
            let is_moved = moved.values().any(|old| old == name);
            let went = was.exists && !still.is_some_and(|listed| listed.exists);
            let unsubscribed = was.subscribed && still.is_none();
            let left = Listed { exists: false, subscribed: false, ..was.clone() };
            if events.names && went && !is_moved {
                self.list(still.unwrap_or(&left), None, None);
                above.extend(name.ancestors().last().filter(|_| !self.own.contains(name)));
            } else if events.subscriptions && unsubscribed {
                self.list(&left, None, None);
            }
        }
        above
    }

    /// A mailbox that is there, or a subscription that is. True: it was made since.
    fn name(
        &mut self,
        events: &Events,
        (listed, status): (&Listed, Option<&Status>),
        before: Option<&Sight>,
        moved: &BTreeMap<MailboxName, MailboxName>,
    ) -> bool {
        let was = before.map(|sight| &sight.listed);
        let known = before.and_then(|sight| sight.status.as_ref());
        let is_made = listed.exists && !was.is_some_and(|was| was.exists);
        let old = moved.get(&listed.name);
        let tells_name = events.names && is_made && !moved_along(moved, &listed.name);
        let changed = listed.subscribed != was.is_some_and(|was| was.subscribed);
        // RFC 5465 5.9: the right to read came or went.
        let opened = listed.exists && !is_made && known.is_some() != status.is_some();
        if tells_name || opened || (events.subscriptions && changed) {
            self.list(listed, status, old.filter(|_| tells_name));
        }
        let is_own = is_made && self.own.contains(&listed.name);
        if let Some(status) = status
            && events.messages
            && !is_own
        {
            let differs = match known {
                Some(known) if events.flags => {
                    (known.uid_validity, known.modseq) != (status.uid_validity, status.modseq)
                }
                Some(known) => {
                    let figures = |one: &Status| (one.uid_validity, one.uid_next, one.messages);
                    figures(known) != figures(status)
                }
                // RFC 5465 5.4: a mailbox that is new to the client.
                None => old.is_none(),
            };
            if differs {
                self.status(listed, events, self.condstore, status);
            }
        }
        tells_name && old.is_none() && !is_own
    }

    /// RFC 5465 5.4: the name right above one that was made or removed is affected, too.
    fn parents(&mut self, notified: &Notified, now: &Now<'_>, above: BTreeSet<MailboxName>) {
        for name in above {
            let implied =
                Listed { name: name.clone(), exists: false, subscribed: false, special_use: None };
            let implied = (implied, None);
            let (listed, status) = now.get(&name).copied().unwrap_or(&implied);
            if !self.told.contains(&name) && notified.of(listed).is_some_and(|events| events.names)
            {
                self.list(listed, status.as_ref(), None);
            }
        }
    }

    /// RFC 5465 5.6 and 5.7, in the words of RFC 5464 4.4.2.
    fn annotated(&mut self, notified: &Notified, figures: &Figures) {
        for (mailbox, entry) in &figures.annotated {
            let is_wanted = match mailbox {
                None => notified.any(|events| events.server_metadata),
                Some(name) => {
                    let found = figures.mailboxes.iter().find(|(listed, _)| listed.name == *name);
                    let events = found.and_then(|(listed, _)| notified.of(listed));
                    events.is_some_and(|events| events.metadata)
                }
            };
            if is_wanted {
                self.metadata(mailbox.as_ref(), entry);
            }
        }
    }

    fn metadata(&mut self, mailbox: Option<&MailboxName>, entry: &Entry) {
        self.out.raw("* METADATA ");
        match mailbox {
            Some(name) => self.out.mailbox(name.as_str()),
            None => self.out.raw("\"\""),
        };
        self.out.raw(" ").astring(&entry.to_string()).line();
    }

    fn status(&mut self, listed: &Listed, events: &Events, modseq: bool, status: &Status) {
        // RFC 5465 3.1: of messages of the selected mailbox its own group speaks.
        if self.selected != Some(&listed.name) {
            let items = status_items(events, modseq || self.condstore);
            status_line(self.out, &listed.name, &items, status, self.append_bytes_max);
        }
    }

    fn list(&mut self, listed: &Listed, status: Option<&Status>, old: Option<&MailboxName>) {
        let name = &listed.name;
        self.told.insert(name.clone());
        // RFC 5465 5: what the client did itself it knows.
        if self.own.contains(name) {
            return;
        }
        let mut attributes = Vec::new();
        attributes.extend((!listed.exists).then_some("\\NonExistent"));
        attributes.extend(is_closed(listed, status).then_some("\\NoAccess"));
        attributes.extend(listed.subscribed.then_some("\\Subscribed"));
        match self.parents.contains(name) {
            true => attributes.push("\\HasChildren"),
            false => attributes.extend(listed.exists.then_some("\\HasNoChildren")),
        }
        attributes.extend(listed.special_use.map(|special| special.name()));
        self.out.raw("* LIST (").raw(&attributes.join(" ")).raw(") \"/\" ");
        self.out.mailbox(name.as_str());
        if let Some(old) = old {
            self.out.raw(" (\"OLDNAME\" (").mailbox(old.as_str()).raw("))");
        }
        self.out.line();
    }
}
