//! Searches that go on: RETURN (UPDATE), whose results are kept up to date (RFC 5267 4.3).
//!
//! ```text
//!   news of the mailbox ─▶ does each changed message fit each search? ─▶ REMOVEFROM
//!                                                                      ─▶ EXPUNGE, EXISTS, FETCH
//!                                                                      ─▶ ADDTO
//! ```
//! Invariants: a message leaves the results before its EXPUNGE and enters them after its EXISTS, so
//! that numbers mean what the client thinks; a mailbox that is left takes its searches with it.
//! Not here: the first results (`search`).

use std::collections::BTreeSet;

use super::messages::Finish;
use super::{Job, Session, Stage};
use crate::command::{FetchItem, Order, SearchKey};
use crate::machine::{Answer, Message, Need, Request};
use crate::response::{Code, Out};
use crate::search::{self, Candidate, Program};
use crate::set;
use crate::sort::{self, Criterion, Rank};
use crate::view::{Allowed, Changes, View};

/// Most searches of one session that are kept up to date: each is run for every message that
/// changes. Clients keep one for each view they show.
const CONTEXTS_MAX: usize = 10;

/// Most results of all of them together, each with what orders it: some dozen megabytes.
const MEMBERS_MAX: usize = 200_000;

/// Places and numbers in one response: clients read lines into buffers of 8 KiB.
const PAIRS_MAX: usize = 400;

/// What a search is kept up to date for.
#[derive(Debug)]
pub(super) struct Kept {
    /// What is looked for.
    pub(super) key: SearchKey,
    /// What is fetched of messages that come into the results (RFC 5465 7).
    pub(super) fetch: Vec<FetchItem>,
}

/// A search whose results are kept up to date.
#[derive(Debug)]
pub(super) struct Context {
    tag: String,
    uid: bool,
    key: SearchKey,
    fetch: Vec<FetchItem>,
    /// Of a SORT.
    criteria: Vec<Criterion>,
    /// UIDs that fit, in their order, with what orders them.
    members: Vec<(Option<Rank>, u32)>,
    /// The same UIDs.
    uids: BTreeSet<u32>,
}

/// News that are being compared with the searches.
#[derive(Debug)]
pub(super) struct UpdateJob {
    after: After,
    allowed: Allowed,
    /// Messages that are new or changed.
    uids: Vec<u32>,
    /// The next one, and the search it is compared with.
    place: usize,
    context: usize,
    program: Option<Program>,
    read: Option<(Message, Need)>,
    asked: Asked,
    added: Vec<(usize, Option<Rank>, u32)>,
    removed: Vec<(usize, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    Message(Need),
    Keys,
}

/// What goes on once the news were told.
#[derive(Debug)]
pub(super) enum After {
    Finish(Finish),
    Idle {
        tag: String,
    },
    /// It was between two commands.
    Between,
}

impl Context {
    /// What the client calls a message. RFC 9586 3: by its UID, once it gave numbers up.
    fn number(&mut self, view: &View, uid: u32) -> Option<u32> {
        self.uid |= view.uid_only;
        if self.uid { Some(uid) } else { view.sequence_of(uid) }
    }

    /// Takes messages out and says so: the last first, so that no place shifts under the next.
    fn leave(&mut self, view: &View, leaving: impl Iterator<Item = u32>, out: &mut Out) {
        let leaving: BTreeSet<u32> = leaving.filter(|uid| self.uids.remove(uid)).collect();
        if leaving.is_empty() {
            return;
        }
        let members = self.members.iter().map(|(_, uid)| *uid).enumerate().rev();
        let goes: Vec<(usize, u32)> = members.filter(|(_, uid)| leaving.contains(uid)).collect();
        let told = goes.into_iter().filter_map(|(at, uid)| Some((at, self.number(view, uid)?)));
        let told: Vec<(usize, u32)> = told.collect();
        self.members.retain(|(_, uid)| !leaving.contains(uid));
        self.say("REMOVEFROM", &told, out);
    }

    /// Puts messages in and says so.
    fn enter(&mut self, view: &View, added: Vec<(Option<Rank>, u32)>, out: &mut Out) {
        let mut told = Vec::with_capacity(added.len());
        for (rank, uid) in added {
            let before = |member: &(Option<Rank>, u32)| (&member.0, member.1) < (&rank, uid);
            let at = self.members.partition_point(before);
            told.extend(self.number(view, uid).map(|number| (at, number)));
            self.members.insert(at, (rank, uid));
            self.uids.insert(uid);
        }
        self.say("ADDTO", &told, out);
    }

    /// Says places, from 0 on, and numbers. RFC 5267 4.3.1: the place in a SEARCH is 0 on the wire,
    /// in a SORT it counts from 1.
    fn say(&self, word: &str, told: &[(usize, u32)], out: &mut Out) {
        for some in told.chunks(PAIRS_MAX) {
            let pairs = match self.criteria.is_empty() {
                true => {
                    let mut numbers: Vec<u32> = some.iter().map(|(_, number)| *number).collect();
                    numbers.sort_unstable();
                    format!("0 {}", set::print(&numbers))
                }
                false => {
                    let pair = |(at, number): &(usize, u32)| format!("{} {number}", at + 1);
                    some.iter().map(pair).collect::<Vec<_>>().join(" ")
                }
            };
            out.raw("* ESEARCH (TAG ").string(self.tag.as_bytes()).raw(")");
            out.raw(if self.uid { " UID " } else { " " });
            out.raw(word).raw(" (").raw(&pairs).say(")");
        }
    }
}

impl Session {
    /// A search with UPDATE gave its first results. RFC 5267 4.3: where it cannot be kept up to
    /// date, NOUPDATE says so.
    pub(super) fn keep_search(
        &mut self,
        tag: &str,
        uid: bool,
        Kept { key, fetch }: Kept,
        order: &Order,
        members: Vec<(Option<Rank>, u32)>,
    ) {
        let criteria = match order {
            Order::Sort(criteria) => criteria.clone(),
            _ => Vec::new(),
        };
        // What numbers name changes with every EXPUNGE; what is near changes with nothing at all.
        let moves = key.any(&|key| matches!(key, SearchKey::Sequence(_)));
        let Some(selected) = self.selected() else { return };
        let held: usize = selected.contexts.iter().map(|one| one.members.len()).sum();
        let is_full = selected.contexts.len() >= CONTEXTS_MAX || held + members.len() > MEMBERS_MAX;
        if moves || is_full {
            let code = Code::NoUpdate(tag.to_owned());
            return self.out.status("NO", Some(&code), "the search is not kept up to date");
        }
        let tag = tag.to_owned();
        let uids = members.iter().map(|(_, uid)| *uid).collect();
        selected.contexts.push(Context { tag, uid, key, fetch, criteria, members, uids });
    }

    /// Whether a search that is kept up to date has this tag (RFC 5267 4.3).
    pub(super) fn keeps(&mut self, tag: &str) -> bool {
        let of =
            |selected: &mut super::Selected| selected.contexts.iter().any(|one| one.tag == tag);
        self.selected().is_some_and(of)
    }

    pub(super) fn cancel_update(&mut self, tag: &str, tags: &[String]) {
        if let Some(selected) = self.selected() {
            selected.contexts.retain(|context| !tags.contains(&context.tag));
        }
        self.finish(tag, "CANCELUPDATE done", Allowed::Everything);
    }

    /// Tells news, those of the kept searches too, and then goes on.
    pub(super) fn tell_then(&mut self, changes: Changes, allowed: Allowed, after: After) {
        let keeps = self.selected().is_some_and(|selected| !selected.contexts.is_empty());
        let allowed = self.allowed(allowed, &after);
        if changes.url_key && !matches!(&after, After::Finish(finish) if finish.says_url_mech()) {
            self.out.status("OK", Some(&Code::UrlMech), "URLs are signed with another key");
        }
        if !keeps {
            let news = self.tell(changes, allowed);
            return self.arrived(news, Vec::new(), after);
        }
        let mut uids: Vec<u32> = changes.rows.iter().map(|row| row.uid).collect();
        uids.sort_unstable();
        self.take_rights(changes.rights);
        if let Some(selected) = self.selected() {
            selected.view.absorb(changes);
        }
        self.update_step(
            UpdateJob {
                after,
                allowed,
                uids,
                place: 0,
                context: 0,
                program: None,
                read: None,
                asked: Asked::Nothing,
                added: Vec::new(),
                removed: Vec::new(),
            },
            None,
        );
    }

    pub(super) fn update_step(&mut self, mut job: UpdateJob, answer: Option<Answer>) {
        let now_s = self.now_s;
        let Stage::Selected(selected) = &mut self.stage else { return };
        match (std::mem::replace(&mut job.asked, Asked::Nothing), answer) {
            (Asked::Nothing, _) => {}
            (Asked::Message(need), Some(Answer::Message(Some(message)))) => {
                job.read = Some((message, need));
            }
            (Asked::Keys, Some(Answer::Keys(keys))) => {
                if let Some(context) = selected.contexts.get(job.context) {
                    let ranked = keys.into_iter().map(|keys| {
                        let uid = keys.uid;
                        (job.context, Some(Rank::new(&context.criteria, keys, 100)), uid)
                    });
                    job.added.extend(ranked);
                }
                (job.place, job.read) = (job.place + 1, None);
            }
            // It is gone, or cannot be read: its EXPUNGE takes it out, if it comes to that.
            _ => (job.place, job.read) = (job.place + 1, None),
        }
        while let Some(context) = selected.contexts.get(job.context) {
            let Some(&uid) = job.uids.get(job.place) else {
                (job.context, job.place, job.program) = (job.context + 1, 0, None);
                continue;
            };
            let view = &selected.view;
            let program =
                job.program.get_or_insert_with(|| Program::new(&context.key, view, &[], now_s));
            let found = view.sequence_of(uid).and_then(|at| Some((at, view.row(at)?)));
            let Some((sequence, row)) = found else {
                job.place += 1;
                continue;
            };
            let read = job.read.as_ref().map(|(message, need)| (message, *need));
            let is_recent = view.is_recent(uid);
            let candidate = Candidate { sequence, row: &row, is_recent, read };
            match (program.fits(candidate), context.uids.contains(&uid)) {
                (Ok(true), false) if context.criteria.is_empty() => {
                    job.added.push((job.context, None, uid));
                }
                (Ok(true), false) => {
                    let need = sort::need(&context.criteria);
                    self.ask = Some(Request::Keys { uids: vec![uid], need });
                    job.asked = Asked::Keys;
                    self.job = Some(Job::Update(Box::new(job)));
                    return;
                }
                (Ok(false), true) => job.removed.push((job.context, uid)),
                (Ok(_), _) => {}
                (Err(need), _) => {
                    let beside = search::beside(&context.key);
                    self.ask = Some(Request::Read { uid, need, beside });
                    job.asked = Asked::Message(need);
                    self.job = Some(Job::Update(Box::new(job)));
                    return;
                }
            }
            (job.place, job.read) = (job.place + 1, None);
        }
        self.update_ends(job);
    }

    /// Everything was compared: it is told.
    fn update_ends(&mut self, job: UpdateJob) {
        let UpdateJob { after, allowed, mut added, removed, .. } = job;
        let (mut news, mut wanted) = (Vec::new(), Vec::new());
        if let Stage::Selected(selected) = &mut self.stage {
            let super::Selected { view, contexts, .. } = &mut **selected;
            for (place, context) in contexts.iter_mut().enumerate() {
                let ours = removed.iter().filter(|(of, _)| *of == place).map(|(_, uid)| *uid);
                let gone = view.gone().filter(|_| allowed == Allowed::Everything);
                context.leave(view, ours.chain(gone), &mut self.out);
            }
            news = view.untold();
            view.announce(allowed, &mut self.out);
            for (place, context) in contexts.iter_mut().enumerate() {
                let ours = added.extract_if(.., |(of, ..)| *of == place);
                let ours: Vec<(Option<Rank>, u32)> =
                    ours.map(|(_, rank, uid)| (rank, uid)).collect();
                let fetched = ours.iter().filter(|_| !context.fetch.is_empty());
                wanted.extend(fetched.map(|(_, uid)| (*uid, context.fetch.clone())));
                context.enter(view, ours, &mut self.out);
            }
        }
        self.arrived(news, wanted, after);
    }

    /// What may be told: where a client does not want to hear of messages, only what it removes
    /// itself (RFC 5465 3).
    fn allowed(&mut self, allowed: Allowed, after: &After) -> Allowed {
        let removes = matches!(after, After::Finish(finish) if finish.says_modseq);
        let hides = self.selected().is_some_and(|selected| selected.view.hides_messages);
        if hides && !removes { Allowed::NoExpunge } else { allowed }
    }

    /// The news of the selected mailbox were told.
    pub(super) fn told(&mut self, after: After) {
        match after {
            After::Finish(finish) => self.finish_told(finish),
            after => self.look_at_others(after),
        }
    }

    /// All news were told.
    pub(super) fn go_on(&mut self, after: After) {
        match after {
            After::Idle { tag } => self.job = Some(Job::Idle { tag, asked: false }),
            After::Finish(finish) => self.finish_told(finish),
            After::Between => {}
        }
    }
}
