//! SEARCH, SORT, THREAD and ESEARCH under way: message after message, then what orders them, then
//! the result (RFC 9051 6.4.4 and 7.3.4, RFC 5256, RFC 5267, RFC 7377).
//!
//! ```text
//!   where are its texts? ──▶ does it fit? ──▶ the next one … ──▶ SEARCH: the result
//!                                 ├──▶ rows of some messages     SORT, THREAD: their order
//!                                 └──▶ read a message            (sorting) ──▶ the result
//! ```
//! Not here: whether a message fits (`crate::search`), in which order they stand (`sorting`).

mod sorting;

use std::collections::VecDeque;

use self::sorting::Sorting;
use super::context::Kept;
use super::{Job, Session, Stage, sources};
use crate::command::{Order, Search, SearchKey, SearchReturn, Source};
use crate::machine::{
    Action, Answer, Beside, FACTS_AT_ONCE, Message, Need, Request, Sought, Wanted, Why,
};
use crate::name::MailboxName;
use crate::response::Code;
use crate::search::{self, Candidate, Program};
use crate::set;
use crate::sort::Rank;
use crate::thread::Letter;
use crate::view::{Allowed, View};

/// A SEARCH under way.
#[derive(Debug)]
pub(super) struct SearchJob {
    tag: String,
    uid: bool,
    order: Order,
    returns: SearchReturn,
    /// Answer with ESEARCH: RETURN was written, or IMAP4rev2 is enabled.
    extended: bool,
    /// The search names a modification sequence, so the answer does too (RFC 7162 3.1.5).
    says_modseq: bool,
    program: Program,
    /// What it asks of messages beside rows and bytes.
    beside: Beside,
    /// What is looked for, where the results are kept up to date.
    kept: Option<Kept>,
    /// Several mailboxes are searched.
    multi: Option<Multi>,
    /// The next message's sequence number.
    sequence: u32,
    /// What was read of the next message.
    read: Option<(Message, Need)>,
    /// What rows told of messages from the next one on, and the last UID they were asked about.
    told: VecDeque<(u32, Message)>,
    told_upto: u32,
    asked: Asked,
    /// What fits, ascending; SORT changes that at the end.
    found: Vec<Found>,
    sorting: Sorting,
    /// How SORT orders the first of them.
    ranks: Vec<Rank>,
    /// What THREAD needs to know of the first of them.
    letters: Vec<Letter>,
    /// So many of them were asked about for that.
    keyed: usize,
    /// When the client last heard of this search, in seconds since 1970 UTC.
    told_s: i64,
}

/// A search of several mailboxes (RFC 7377).
#[derive(Debug)]
struct Multi {
    key: SearchKey,
    sources: Vec<Source>,
    left: VecDeque<MailboxName>,
    /// The mailbox that is searched now, and its UIDVALIDITY.
    present: Option<(MailboxName, u32)>,
    /// Its messages, if it is not the selected one.
    view: Option<View>,
}

/// What the store was asked last.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Nothing,
    Mailboxes,
    Peek,
    Find,
    Message(Need),
    /// Rows of these messages.
    Facts(Vec<u32>),
    Keys,
    Places,
    KeepPlaces,
}

/// A message that fits.
#[derive(Debug, Clone, Copy)]
struct Found {
    sequence: u32,
    uid: u32,
    modseq: u64,
    relevancy: u8,
}

/// A search that takes longer tells so as often, in seconds: half of what clients wait before they
/// give a connection up.
const PROGRESS_S: i64 = 10;

/// Comparisons of keys with messages at once: some milliseconds, and others have their turn.
const COMPARISONS_AT_ONCE: usize = 1_000_000;

/// Most keys of one search that look into whole messages. People look for one text or two; what
/// makes searches out of lists of addresses looks into header fields.
const TEXTS_MAX: usize = 200;

/// Most keys of one search that look for what is near: each compares word with word.
const FUZZY_MAX: usize = 20;

impl Session {
    pub(super) fn search(&mut self, tag: String, search: Search) {
        if search.returns.is_some_and(|returns| returns.update) && self.keeps(&tag) {
            return self.bad(&tag, "a search that is kept up to date has this tag");
        }
        let (texts, fuzzy) = search.key.texts();
        if texts > TEXTS_MAX || fuzzy > FUZZY_MAX {
            return self.too_laborious(&tag, &search);
        }
        let says_modseq = search.key.any(&|key| matches!(key, SearchKey::ModSeq(_)));
        if says_modseq {
            self.enable_condstore();
        }
        // RFC 9051 6.4.4: ESEARCH replaces SEARCH, not SORT.
        let is_search = search.order == Order::Mailbox;
        let is_multi = search.sources.is_some();
        let extended = search.returns.is_some() || is_multi || (self.enabled.rev2 && is_search);
        let returns =
            search.returns.unwrap_or(SearchReturn { all: true, ..SearchReturn::default() });
        let now_s = self.now_s;
        let program = match self.selected() {
            Some(selected) => Program::new(&search.key, &selected.view, &selected.saved, now_s),
            None => Program::Constant(false),
        };
        let key = search.key;
        let beside = search::beside(&key);
        let kept = returns.update.then(|| Kept { key: key.clone(), fetch: search.fetch });
        let multi = search.sources.map(|sources| {
            self.ask = Some(Request::Mailboxes);
            Multi { key, sources, left: VecDeque::new(), present: None, view: None }
        });
        let mut job = SearchJob {
            tag,
            uid: search.uid,
            order: search.order,
            returns,
            extended,
            says_modseq,
            program,
            beside,
            kept,
            multi,
            sequence: 1,
            read: None,
            told: VecDeque::new(),
            told_upto: 0,
            asked: if is_multi { Asked::Mailboxes } else { Asked::Nothing },
            found: Vec::new(),
            sorting: Sorting::Begun,
            ranks: Vec::new(),
            letters: Vec::new(),
            keyed: 0,
            told_s: now_s,
        };
        if !is_multi {
            self.search_find(&mut job, false);
        }
        self.job = Some(Job::Search(Box::new(job)));
    }

    /// RFC 5182 2.1: after NO to a search that should be saved the saved result is empty.
    pub(super) fn search_failed(&mut self, saves: bool) {
        if let Some(selected) = self.selected().filter(|_| saves) {
            selected.saved.clear();
        }
    }

    fn too_laborious(&mut self, tag: &str, search: &Search) {
        self.search_failed(search.returns.is_some_and(|returns| returns.save));
        let text = format!("SEARCH takes at most {TEXTS_MAX} texts, {FUZZY_MAX} of them FUZZY");
        self.no(tag, Some(&Code::Limit), &text);
    }

    /// Asks where the texts of the program are, if it has some.
    fn search_find(&mut self, job: &mut SearchJob, peeked: bool) {
        let texts: Vec<Sought> = job.program.texts().into_iter().cloned().collect();
        if !texts.is_empty() {
            self.ask = Some(Request::Find { texts, peeked });
            job.asked = Asked::Find;
        }
    }

    pub(super) fn search_step(&mut self, mut job: SearchJob, answer: Option<Answer>) {
        match (std::mem::replace(&mut job.asked, Asked::Nothing), answer) {
            (Asked::Nothing, _) => {}
            (Asked::Message(need), Some(Answer::Message(Some(message)))) => {
                job.read = Some((message, need));
            }
            (Asked::Facts(uids), Some(Answer::Messages { looked_at, messages })) => {
                let last = uids.get(looked_at.max(1) - 1).or(uids.last());
                job.told_upto = last.copied().unwrap_or_default();
                job.told = messages.into();
            }
            // A message that is gone fits nothing.
            (Asked::Message(_), Some(Answer::Message(None))) => job.sequence += 1,
            (Asked::Find, Some(Answer::Found(places))) => {
                job.program.learn(&mut places.into_iter());
            }
            (Asked::Keys, Some(Answer::Keys(keys))) => return self.search_keys(job, keys),
            (Asked::Places, Some(Answer::Places(places))) => {
                return self.search_places(job, places.as_deref());
            }
            (Asked::KeepPlaces, Some(Answer::Done)) => return self.search_result(job),
            (Asked::Mailboxes, Some(Answer::Mailboxes(listed))) => {
                let selected = self.selected().map(|selected| selected.name.clone());
                if let Some(multi) = &mut job.multi {
                    multi.left = sources::resolve(&multi.sources, &listed, selected.as_ref());
                }
                return self.search_next_mailbox(job);
            }
            (Asked::Peek, Some(Answer::Opened(opened))) => {
                let now_s = self.now_s;
                if let Some(multi) = &mut job.multi {
                    let view = View::new(opened.rows, opened.modseq, opened.recent_from);
                    job.program = Program::new(&multi.key, &view, &[], now_s);
                    multi.view = Some(view);
                    if let Some((_, validity)) = &mut multi.present {
                        *validity = opened.uid_validity;
                    }
                }
                self.search_find(&mut job, true);
            }
            // RFC 7377 2.2: a mailbox that is gone, or is not to be read, is passed over, and so
            // are its messages.
            (_, Some(Answer::Refused(Why::NoSuchMailbox | Why::NoPermission)))
                if job.multi.is_some() =>
            {
                job.found.clear();
                return self.search_next_mailbox(job);
            }
            (_, answer) => {
                self.search_failed(job.returns.save);
                return self.misanswered(&job.tag, answer);
            }
        }
        self.search_progress(&mut job);
        match job.asked {
            Asked::Nothing => self.search_walk(job),
            _ => self.job = Some(Job::Search(Box::new(job))),
        }
    }

    /// Looks at messages until one must be read or all were looked at.
    fn search_walk(&mut self, mut job: SearchJob) {
        let peeked = job.multi.as_ref().and_then(|multi| multi.view.as_ref());
        let is_peeked = peeked.is_some();
        let view = match (peeked, &self.stage) {
            (Some(view), _) => view,
            (None, Stage::Selected(selected)) => &selected.view,
            (None, _) => return,
        };
        let rows_at_once = COMPARISONS_AT_ONCE / job.program.size();
        let begun = job.sequence as usize;
        loop {
            let Some(row) = view.row(job.sequence) else {
                return self.search_ends(job);
            };
            if job.sequence as usize - begun > rows_at_once {
                self.switch = Some(Action::Flush);
                break;
            }
            let read = job.read.as_ref().map(|(message, need)| (message, *need));
            let is_recent = view.is_recent(row.uid);
            let candidate = Candidate { sequence: job.sequence, row: &row, is_recent, read };
            let fits = job.program.fits(candidate).and_then(|fits| match fits {
                true => job.program.relevancy(candidate).map(Some),
                false => Ok(None),
            });
            match fits {
                Ok(relevancy) => {
                    let (sequence, uid, modseq) = (job.sequence, row.uid, row.modseq);
                    let found = |relevancy| Found { sequence, uid, modseq, relevancy };
                    job.found.extend(relevancy.map(found));
                    job.sequence += 1;
                    job.read = None;
                }
                Err(need) if !is_peeked && job.program.is_told_by_rows(need) => {
                    while job.told.pop_front_if(|(uid, _)| *uid < row.uid).is_some() {}
                    match job.told.pop_front_if(|(uid, _)| *uid == row.uid) {
                        Some((_, message)) => job.read = Some((message, Need::Header)),
                        // A message that is gone fits nothing.
                        None if row.uid <= job.told_upto => job.sequence += 1,
                        None => {
                            let uids = next_undecided(&job.program, view, job.sequence);
                            let wanted =
                                Wanted { fields: job.program.reads_fields(), shape: false };
                            let (asked, beside) = (uids.clone(), job.beside);
                            self.ask = Some(Request::Facts { uids, wanted, beside });
                            job.asked = Asked::Facts(asked);
                            break;
                        }
                    }
                }
                Err(need) => {
                    let (uid, beside) = (row.uid, job.beside);
                    self.ask = Some(match is_peeked {
                        true => Request::ReadPeeked { uid, need, beside },
                        false => Request::Read { uid, need, beside },
                    });
                    job.asked = Asked::Message(need);
                    break;
                }
            }
        }
        self.job = Some(Job::Search(Box::new(job)));
    }

    /// Goes on with the next of several mailboxes, or ends.
    fn search_next_mailbox(&mut self, mut job: SearchJob) {
        let Some(multi) = &mut job.multi else { return };
        (multi.present, multi.view) = (None, None);
        let Some(name) = multi.left.pop_front() else {
            if job.kept.is_some() {
                let code = Code::NoUpdate(job.tag.clone());
                let text = "a search of several mailboxes is not kept up to date";
                self.out.status("NO", Some(&code), text);
            }
            return self.finish(&job.tag, "ESEARCH done", Allowed::Everything);
        };
        (job.sequence, job.read) = (1, None);
        (job.told, job.told_upto) = (VecDeque::new(), 0);
        job.found.clear();
        multi.present = Some((name.clone(), 0));
        let now_s = self.now_s;
        if let Stage::Selected(selected) = &self.stage
            && selected.name == name
        {
            multi.present = Some((name, selected.uid_validity));
            job.program = Program::new(&multi.key, &selected.view, &selected.saved, now_s);
            self.search_find(&mut job, false);
            return match job.asked {
                Asked::Nothing => self.search_walk(job),
                _ => self.job = Some(Job::Search(Box::new(job))),
            };
        }
        self.ask = Some(Request::Peek(name));
        job.asked = Asked::Peek;
        self.job = Some(Job::Search(Box::new(job)));
    }

    /// RFC 9585 4: a long search says how far it is.
    fn search_progress(&mut self, job: &mut SearchJob) {
        if self.now_s.saturating_sub(job.told_s) < PROGRESS_S {
            return;
        }
        job.told_s = self.now_s;
        let view = match (job.multi.as_ref().and_then(|multi| multi.view.as_ref()), &self.stage) {
            (Some(view), _) => view,
            (None, Stage::Selected(selected)) => &selected.view,
            (None, _) => return,
        };
        let (done, all) = match job.sorting {
            Sorting::Begun => (u64::from(job.sequence - 1), u64::from(view.count())),
            // RFC 9585 4: with another GOAL the one before it is reached.
            _ => (job.keyed as u64, job.found.len() as u64),
        };
        let code = Code::InProgress(job.tag.clone(), done, all);
        self.out.status("OK", Some(&code), "still searching");
        self.switch = Some(Action::Flush);
    }

    /// The end of a response that is no ESEARCH, and of the command.
    fn search_modseq(&mut self, job: &SearchJob, done: &str) {
        if let Some(modseq) = modseq_of(job).filter(|_| job.says_modseq) {
            self.out.raw(" (MODSEQ ").number(modseq).raw(")");
        }
        self.out.line();
        let allowed = if job.uid { Allowed::Everything } else { Allowed::NoExpunge };
        self.finish(&job.tag, done, allowed);
    }

    fn search_result(&mut self, mut job: SearchJob) {
        if job.returns.save
            && let Some(selected) = self.selected()
        {
            selected.saved = kept(&job);
        }
        let pick = |found: &Found| if job.uid { found.uid } else { found.sequence };
        let numbers: Vec<u32> = job.found.iter().map(pick).collect();
        let (head, done) = match job.order {
            Order::Mailbox => ("* SEARCH", "SEARCH done"),
            _ => ("* SORT", "SORT done"),
        };
        if job.multi.is_some() {
            // RFC 7377 2.1: of mailboxes where nothing is found nothing is said.
            if !job.found.is_empty() {
                self.extended_result(&job, &numbers);
            }
            return self.search_next_mailbox(job);
        }
        if let Some(kept) = job.kept.take() {
            let mut ranks = std::mem::take(&mut job.ranks).into_iter();
            let members = job.found.iter().map(|found| (ranks.next(), found.uid)).collect();
            self.keep_search(&job.tag, job.uid, kept, &job.order, members);
        }
        if job.extended {
            self.extended_result(&job, &numbers);
            let allowed = if job.uid { Allowed::Everything } else { Allowed::NoExpunge };
            return self.finish(&job.tag, done, allowed);
        }
        self.out.raw(head);
        for number in &numbers {
            self.out.raw(" ").number(u64::from(*number));
        }
        self.search_modseq(&job, done);
    }

    fn extended_result(&mut self, job: &SearchJob, numbers: &[u32]) {
        let SearchReturn { min, max, all, count, save, partial, relevancy, .. } = job.returns;
        let modseq = modseq_of(job).filter(|_| job.says_modseq);
        // RFC 5182 2.1: SAVE alone answers nothing.
        if save && !(min || max || all || count || partial.is_some()) {
            return;
        }
        self.out.raw("* ESEARCH (TAG ").string(job.tag.as_bytes());
        let present = job.multi.as_ref().and_then(|multi| multi.present.as_ref());
        if let Some((mailbox, validity)) = present {
            self.out.raw(" MAILBOX ").mailbox(mailbox.as_str());
            self.out.raw(" UIDVALIDITY ").number(u64::from(*validity));
        }
        self.out.raw(")");
        self.out.raw(if job.uid { " UID" } else { "" });
        // RFC 9051 6.4.4: MIN, MAX and ALL are left out where nothing was found.
        if let (true, Some(first)) = (min, numbers.first()) {
            self.out.raw(" MIN ").number(u64::from(*first));
        }
        if let (true, Some(last)) = (max, numbers.last()) {
            self.out.raw(" MAX ").number(u64::from(*last));
        }
        if all && !numbers.is_empty() {
            self.out.raw(" ALL ").raw(&set::print(numbers));
        }
        if let Some(window) = partial {
            // RFC 9394 3.1: NIL for an empty window.
            let some = set::print(window.of(numbers));
            let some = if some.is_empty() { "NIL" } else { &some };
            self.out.raw(&format!(" PARTIAL ({window} {some})"));
        }
        if count {
            self.out.raw(" COUNT ").number(numbers.len() as u64);
        }
        if let Some(modseq) = modseq {
            self.out.raw(" MODSEQ ").number(modseq);
        }
        let scored = partial.map_or(job.found.as_slice(), |window| window.of(&job.found));
        if relevancy && !scored.is_empty() {
            // RFC 6203 4: in the order of the results.
            let scores: Vec<String> = scored.iter().map(|one| one.relevancy.to_string()).collect();
            self.out.raw(&format!(" RELEVANCY ({})", scores.join(" ")));
        }
        self.out.line();
    }
}

/// The next messages about which the view alone does not say whether they fit.
fn next_undecided(program: &Program, view: &View, from: u32) -> Vec<u32> {
    let rows = (from..).map_while(|sequence| Some((sequence, view.row(sequence)?)));
    let rows = rows.take(COMPARISONS_AT_ONCE / program.size());
    let undecided = rows.filter(|(sequence, row)| {
        let is_recent = view.is_recent(row.uid);
        program.fits(Candidate { sequence: *sequence, row, is_recent, read: None }).is_err()
    });
    undecided.take(FACTS_AT_ONCE).map(|(_, row)| row.uid).collect()
}

/// The results that were asked for when neither all of them nor their number was: the first, the
/// last, those in the window. `None`: all count.
fn picked(job: &SearchJob) -> Option<Vec<Found>> {
    let SearchReturn { min, max, all, count, partial, .. } = job.returns;
    if all || count || !(min || max || partial.is_some()) {
        return None;
    }
    let first = job.found.first().filter(|_| min);
    let last = job.found.last().filter(|_| max);
    let window = partial.map_or(&[][..], |window| window.of(&job.found));
    let mut picked: Vec<Found> = first.into_iter().chain(window).chain(last).copied().collect();
    picked.sort_unstable_by_key(|found| found.uid);
    picked.dedup_by_key(|found| found.uid);
    Some(picked)
}

/// RFC 5182 2.4 and RFC 9394 3.3: what SAVE keeps.
fn kept(job: &SearchJob) -> Vec<u32> {
    let picked = picked(job);
    picked.as_ref().unwrap_or(&job.found).iter().map(|found| found.uid).collect()
}

/// RFC 7162 3.1.10: the newest change among the results that are told.
fn modseq_of(job: &SearchJob) -> Option<u64> {
    let picked = picked(job);
    picked.as_ref().unwrap_or(&job.found).iter().map(|found| found.modseq).max()
}
