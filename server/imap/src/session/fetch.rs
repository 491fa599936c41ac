//! FETCH under way: message after message, then `\Seen`, then the end.
//!
//! ```text
//!   flags, UIDs            the view knows them                      ─▶ one answer after the other
//!   ENVELOPE, fields …     rows of some messages are asked for      ─▶ answers for all of them
//!   bodies                 each message is opened by itself         ─▶ its answer
//! ```
//! Invariants: nothing is read of a message beyond what its items need; `\Seen` is set for what was
//! really given, in one request at the end, and the answers already say so (RFC 9051 6.4.5); if it
//! cannot be set, what was given stands, and the true flags are told.
//! Not here: what an answer looks like (`crate::fetch`).

use std::collections::VecDeque;
use std::sync::Arc;

use super::messages::Finish;
use super::{Job, Session, Stage};
use crate::command::{Fetch, FetchItem};
use crate::fetch::{self, Response};
use crate::flags::{FlagOperation, Flags, SystemFlag};
use crate::machine::{Action, Answer, Beside, FACTS_AT_ONCE, Message, Need, Request, Wanted, Why};
use crate::response::Code;
use crate::set::{Ranges, SequenceSet};
use crate::view::Allowed;

/// A FETCH under way.
#[derive(Debug)]
pub(super) struct FetchJob {
    tag: String,
    uid: bool,
    items: Arc<[FetchItem]>,
    /// The same, with the flags that change because of it.
    items_and_flags: Arc<[FetchItem]>,
    need: Option<Need>,
    /// What rows tell of it all.
    wanted: Option<Wanted>,
    beside: Beside,
    /// The messages still to give, last first.
    left: Vec<u32>,
    /// So many of them rows were asked about.
    looked_at: usize,
    /// What they told of those that are there.
    told: VecDeque<(u32, Message)>,
    sets_seen: bool,
    /// UIDs that were given, if they become seen: others may have taken `\Seen` from what had it
    /// when this session last looked.
    given: Vec<u32>,
    /// Those of them that the client was told `\Seen` of.
    seen: Vec<u32>,
    /// They could not be given it.
    unmarked: bool,
    /// A message was gone.
    missing: bool,
    unknown_encoding: bool,
    /// The answer that is being written.
    open: Option<Box<Response>>,
    /// Those of the set that the client may believe in and that went meanwhile are told first:
    /// the UIDs it named.
    vanished: Option<Ranges>,
    /// What the last request was for.
    asked: Asked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    Vanished,
    Message,
    Facts,
    Seen,
}

/// RFC 9051 6.4.5: flags that change "SHOULD be included as part of the FETCH responses".
fn and_flags(items: &[FetchItem]) -> Vec<FetchItem> {
    let flags = (!items.contains(&FetchItem::Flags)).then_some(FetchItem::Flags);
    flags.into_iter().chain(items.iter().cloned()).collect()
}

impl Session {
    pub(super) fn fetch(&mut self, tag: String, fetch: Fetch) {
        let Fetch { uid, set, mut items, changed_since, vanished, partial } = fetch;
        if vanished && !self.enabled.qresync {
            return self.bad(&tag, "VANISHED needs ENABLE QRESYNC first");
        }
        if changed_since.is_some() || items.contains(&FetchItem::ModSeq) {
            self.enable_condstore();
        }
        // RFC 9051 6.4.9: a UID FETCH always tells the UID; UIDFETCH says it anyway.
        if uid && !self.enabled.uid_only && !items.contains(&FetchItem::Uid) {
            items.insert(0, FetchItem::Uid);
        }
        let Some(mut left) = self.named_uids(&tag, &set, uid) else { return };
        let Some(selected) = self.selected() else { return };
        let named = vanished.then(|| match &set {
            SequenceSet::Saved => Ranges::of(selected.saved.iter().map(|uid| *uid..=*uid)),
            // The last message itself may be gone: here `*` has no end.
            set => set.resolve(u32::MAX),
        });
        if let Some(since) = changed_since {
            let view = &selected.view;
            let row = |uid: &u32| view.row(view.sequence_of(*uid)?);
            left.retain(|uid| row(uid).is_some_and(|row| row.modseq > since));
        }
        if let Some(window) = partial {
            left = window.of(&left).to_vec();
        }
        left.reverse();
        // RFC 4314 4: without `s` nothing becomes seen.
        let may_see = !selected.read_only && selected.rights.has(b's');
        let sets_seen = may_see && items.iter().any(FetchItem::sets_seen);
        let asked = match (changed_since, vanished) {
            (Some(since), true) => {
                self.ask = Some(Request::Vanished { since });
                Asked::Vanished
            }
            _ => Asked::Nothing,
        };
        self.job = Some(Job::Fetch(FetchJob {
            tag,
            uid,
            need: fetch::need(&items),
            wanted: fetch::wanted(&items),
            beside: fetch::beside(&items),
            items_and_flags: and_flags(&items).into(),
            items: items.into(),
            left,
            looked_at: 0,
            told: VecDeque::new(),
            sets_seen,
            given: Vec::new(),
            seen: Vec::new(),
            unmarked: false,
            missing: false,
            unknown_encoding: false,
            open: None,
            vanished: named,
            asked,
        }));
    }

    /// Gives one message, or asks for what it takes.
    pub(super) fn fetch_step(&mut self, mut job: FetchJob, answer: Option<Answer>) {
        match (std::mem::replace(&mut job.asked, Asked::Nothing), answer) {
            (Asked::Nothing, _) => {
                if let Some(response) = job.open.take() {
                    self.write(&mut job, *response);
                }
            }
            (Asked::Vanished, Some(Answer::Vanished(gone))) => {
                if let (Some(named), Some(selected)) = (job.vanished.take(), self.selected()) {
                    // RFC 7162 3.2.6: those of the set, before the messages.
                    let gone = selected.view.missing(&Ranges::of(gone).and(&named));
                    self.out.vanished("(EARLIER) ", &gone);
                }
            }
            (Asked::Message, Some(Answer::Message(Some(message)))) => {
                self.give(&mut job, Some(message));
            }
            (Asked::Facts, Some(Answer::Messages { looked_at, messages })) => {
                (job.looked_at, job.told) = (looked_at.max(1), messages.into());
            }
            (Asked::Message, Some(Answer::Message(None))) => {
                job.left.pop();
                job.missing = true;
            }
            (Asked::Seen, Some(Answer::Flagged(_))) => return self.fetch_end(job),
            // What was given stays given, whether the store is full or broken, or the right gone.
            (
                Asked::Seen,
                Some(Answer::Refused(
                    Why::Limit(_) | Why::OverQuota | Why::Broken | Why::NoPermission,
                )),
            ) => {
                self.unsee(&job.seen);
                job.unmarked = true;
                return self.fetch_end(job);
            }
            (_, answer) => return self.misanswered(&job.tag, answer),
        }
        if job.open.is_some() {
            self.job = Some(Job::Fetch(job));
            return;
        }
        let Some(uid) = job.left.last().copied() else {
            if job.given.is_empty() {
                return self.fetch_end(job);
            }
            let mut flags = Flags::none();
            flags.insert(SystemFlag::Seen);
            self.ask = Some(Request::Flags {
                uids: std::mem::take(&mut job.given),
                operation: FlagOperation::Add,
                flags,
                unchanged_since: None,
            });
            job.asked = Asked::Seen;
            self.job = Some(Job::Fetch(job));
            return;
        };
        match (job.need, job.wanted) {
            (Some(_), Some(wanted)) if job.looked_at == 0 => {
                let next = job.left.iter().rev().take(FACTS_AT_ONCE).copied().collect();
                self.ask = Some(Request::Facts { uids: next, wanted, beside: job.beside });
                job.asked = Asked::Facts;
            }
            (Some(_), Some(_)) => self.give_told(&mut job),
            (Some(need), None) => {
                self.ask = Some(Request::Read { uid, need, beside: job.beside });
                job.asked = Asked::Message;
            }
            (None, _) => {
                while !self.out.is_full() && !job.left.is_empty() {
                    self.give(&mut job, None);
                }
            }
        }
        self.job = Some(Job::Fetch(job));
    }

    /// Writes answers from what rows told, as many as fit.
    fn give_told(&mut self, job: &mut FetchJob) {
        while job.looked_at > 0 && job.open.is_none() && !self.out.is_full() {
            let Some(uid) = job.left.last() else { return };
            job.looked_at -= 1;
            match job.told.pop_front_if(|(told, _)| told == uid) {
                Some((_, message)) => self.give(job, Some(message)),
                None => {
                    job.left.pop();
                    job.missing = true;
                }
            }
        }
    }

    /// Begins the answer for the next message.
    fn give(&mut self, job: &mut FetchJob, message: Option<Message>) {
        let (Some(uid), Stage::Selected(selected)) = (job.left.pop(), &mut self.stage) else {
            return;
        };
        let view = &mut selected.view;
        let Some(sequence) = view.sequence_of(uid) else { return };
        let Some(row) = view.row(sequence) else { return };
        job.given.extend(Some(uid).filter(|_| job.sets_seen));
        let becomes_seen = job.sets_seen && !row.flags.has(SystemFlag::Seen);
        let mut row = row;
        let mut items = &job.items;
        if becomes_seen {
            row.flags.insert(SystemFlag::Seen);
            view.believe(uid, row.flags.clone());
            job.seen.push(uid);
            items = &job.items_and_flags;
        }
        let (uid_only, is_recent) = (view.uid_only, view.is_recent(uid));
        let place = fetch::Place { sequence, uid_only, is_recent };
        let response = Response::new(place, row, Arc::clone(items), message);
        self.write(job, response);
    }

    /// Writes on at an answer: what does not go at once waits until this was sent.
    fn write(&mut self, job: &mut FetchJob, mut response: Response) {
        if response.go_on(&mut self.out) {
            job.unknown_encoding |= response.ends().is_err();
        } else {
            job.open = Some(Box::new(response));
            self.switch = Some(Action::Flush);
        }
    }

    /// The client was told `\Seen`, and it could not be kept: it hears the truth next.
    fn unsee(&mut self, uids: &[u32]) {
        let Stage::Selected(selected) = &mut self.stage else { return };
        let mut seen = Flags::none();
        seen.insert(SystemFlag::Seen);
        let view = &mut selected.view;
        for &uid in uids {
            let Some(row) = view.sequence_of(uid).and_then(|sequence| view.row(sequence)) else {
                continue;
            };
            let flags = row.flags.changed_by(FlagOperation::Remove, &seen);
            view.believe(uid, flags);
            view.owe_flags(uid);
        }
    }

    fn fetch_end(&mut self, job: FetchJob) {
        let allowed = if job.uid { Allowed::Everything } else { Allowed::NoExpunge };
        let (status, code, text) = match (job.unknown_encoding, job.missing && !job.uid) {
            (true, _) => ("NO", Some(Code::UnknownCte), "a part has an unknown encoding"),
            // RFC 2180 4.1.2 and RFC 5530 3: the client may not know yet that they are gone.
            (_, true) => ("NO", Some(Code::ExpungeIssued), "some of the messages are gone"),
            _ if job.unmarked => ("OK", None, "FETCH done, but \\Seen could not be kept"),
            _ => ("OK", None, "FETCH done"),
        };
        self.finish_with(Finish { status, code, ..Finish::ok(job.tag, text, allowed) });
    }
}
