//! SEARCH under way: message after message, then the result (RFC 9051 6.4.4, 7.3.4).
//!
//! Not here: whether a message fits (`crate::search`).

use super::{Job, Selected, Session, Stage};
use crate::command::{Search, SearchKey, SearchReturn};
use crate::machine::{Answer, Message, Need, Request};
use crate::search::{Candidate, Program};
use crate::set;
use crate::view::Allowed;

/// A SEARCH under way.
#[derive(Debug)]
pub(super) struct SearchJob {
    tag: String,
    uid: bool,
    returns: SearchReturn,
    /// Answer with ESEARCH: RETURN was written, or IMAP4rev2 is enabled.
    extended: bool,
    /// The search names a modification sequence, so the answer does too (RFC 7162 3.1.5).
    says_modseq: bool,
    program: Program,
    /// The next message's sequence number.
    sequence: u32,
    /// What was read of the next message.
    read: Option<(Message, Need)>,
    asked: Option<Need>,
    /// Sequence numbers and UIDs that fit, ascending.
    found: Vec<(u32, u32)>,
    modseq: u64,
}

impl Session {
    pub(super) fn search(&mut self, tag: String, search: &Search) {
        let says_modseq = names_modseq(&search.key);
        if says_modseq {
            self.enable_condstore();
        }
        let extended = search.returns.is_some() || self.enabled.rev2;
        let returns =
            search.returns.unwrap_or(SearchReturn { all: true, ..SearchReturn::default() });
        let Some(selected) = self.selected() else { return };
        let program = Program::new(&search.key, &selected.view, &selected.saved);
        self.job = Some(Job::Search(SearchJob {
            tag,
            uid: search.uid,
            returns,
            extended,
            says_modseq,
            program,
            sequence: 1,
            read: None,
            asked: None,
            found: Vec::new(),
            modseq: 0,
        }));
    }

    /// Looks at messages until one must be read or all were looked at.
    pub(super) fn search_step(&mut self, mut job: SearchJob, answer: Option<Answer>) {
        match (job.asked.take(), answer) {
            (None, _) => {}
            (Some(need), Some(Answer::Message(Some(message)))) => {
                job.read = Some((message, need));
            }
            // A message that is gone fits nothing.
            (Some(_), Some(Answer::Message(None))) => job.sequence += 1,
            (Some(_), answer) => return self.misanswered(&job.tag, answer),
        }
        let Stage::Selected(selected) = &mut self.stage else { return };
        loop {
            let Some(row) = selected.view.row(job.sequence) else {
                return self.search_end(&job);
            };
            let read = job.read.as_ref().map(|(message, need)| (message, *need));
            match job.program.fits(Candidate { sequence: job.sequence, row, read }) {
                Ok(fits) => {
                    if fits {
                        job.found.push((job.sequence, row.uid));
                        job.modseq = job.modseq.max(row.modseq);
                    }
                    job.sequence += 1;
                    job.read = None;
                }
                Err(need) => {
                    self.ask = Some(Request::Read { uid: row.uid, need });
                    job.asked = Some(need);
                    break;
                }
            }
        }
        self.job = Some(Job::Search(job));
    }

    fn search_end(&mut self, job: &SearchJob) {
        if job.returns.save
            && let Some(selected) = self.selected()
        {
            save(selected, job);
        }
        let pick = |(sequence, uid): &(u32, u32)| if job.uid { *uid } else { *sequence };
        let numbers: Vec<u32> = job.found.iter().map(pick).collect();
        let modseq = (job.says_modseq && !numbers.is_empty()).then_some(job.modseq);
        if job.extended {
            self.extended_result(job, &numbers, modseq);
        } else {
            self.out.raw("* SEARCH");
            for number in &numbers {
                self.out.raw(" ").number(u64::from(*number));
            }
            if let Some(modseq) = modseq {
                self.out.raw(" (MODSEQ ").number(modseq).raw(")");
            }
            self.out.line();
        }
        let allowed = if job.uid { Allowed::Everything } else { Allowed::NoExpunge };
        self.finish(&job.tag, "SEARCH done", allowed);
    }

    fn extended_result(&mut self, job: &SearchJob, numbers: &[u32], modseq: Option<u64>) {
        let SearchReturn { min, max, all, count, save } = job.returns;
        // RFC 5182 2.1: SAVE alone answers nothing.
        if save && !(min || max || all || count) {
            return;
        }
        self.out.raw("* ESEARCH (TAG ").string(job.tag.as_bytes()).raw(")");
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
        if count {
            self.out.raw(" COUNT ").number(numbers.len() as u64);
        }
        if let Some(modseq) = modseq {
            self.out.raw(" MODSEQ ").number(modseq);
        }
        self.out.line();
    }
}

/// RFC 5182 2.4: with MIN or MAX and without ALL or COUNT, only those are kept.
fn save(selected: &mut Selected, job: &SearchJob) {
    let SearchReturn { min, max, all, count, .. } = job.returns;
    let mut uids = job.found.iter().map(|(_, uid)| *uid);
    selected.saved = match all || count || !(min || max) {
        true => uids.collect(),
        false => {
            let first = uids.clone().next().filter(|_| min);
            let last = uids.next_back().filter(|_| max);
            let mut ends: Vec<u32> = first.into_iter().chain(last).collect();
            ends.dedup();
            ends
        }
    };
}

fn names_modseq(key: &SearchKey) -> bool {
    match key {
        SearchKey::ModSeq(_) => true,
        SearchKey::Not(key) => names_modseq(key),
        SearchKey::Or(one, other) => names_modseq(one) || names_modseq(other),
        SearchKey::And(keys) => keys.iter().any(names_modseq),
        _ => false,
    }
}
