//! The end of SORT and THREAD: what was found is put in order (RFC 5256, RFC 5957).
//!
//! ```text
//!   is the order known? ─yes─▶ keys of a few, for messages that came since ─┐
//!                       ─no──▶ keys of some messages, and the next ones … ──┴─▶ the result
//! ```
//! Invariant: a message that is gone before its keys were told is left out.
//! Not here: what orders (`crate::sort`, `crate::places`, `crate::thread`), the result (`super`).

use std::sync::Arc;

use super::{Asked, Found, SearchJob};
use crate::command::Order;
use crate::keys::Keys;
use crate::machine::{Need, Request};
use crate::places::{Insertion, Places};
use crate::session::{Job, Session, Stage};
use crate::sort::{self, Rank};
use crate::thread::{self, Letter};

/// Messages whose keys are asked for at once: some milliseconds for the store, and others have
/// their turn in between.
const KEYS_AT_ONCE: usize = 200;

/// How SORT finds its order.
#[derive(Debug)]
pub(super) enum Sorting {
    /// It was not asked yet whether it is known.
    Begun,
    /// It is, and new messages are put into it.
    Inserting(Insertion),
    /// By the keys of all messages.
    Anew,
}

impl Session {
    /// Everything was looked at: what orders it is asked for, or the result is told.
    pub(super) fn search_ends(&mut self, mut job: SearchJob) {
        let need = match &job.order {
            Order::Mailbox => return self.search_result(job),
            Order::Sort(criteria) => {
                // A search that is kept up to date needs what orders it.
                let may_be_known = matches!(job.sorting, Sorting::Begun)
                    && job.multi.is_none()
                    && job.kept.is_none()
                    && job.found.len() > 1
                    && Places::is_lasting(criteria);
                if may_be_known {
                    self.ask = Some(Request::Places(criteria.clone()));
                    job.asked = Asked::Places;
                    self.job = Some(Job::Search(Box::new(job)));
                    return;
                }
                sort::need(criteria)
            }
            Order::Thread(_) => Need::Header,
        };
        job.sorting = Sorting::Anew;
        let rest = job.found.get(job.keyed..).unwrap_or_default();
        let uids: Vec<u32> = rest.iter().take(KEYS_AT_ONCE).map(|found| found.uid).collect();
        if uids.is_empty() {
            return self.search_ordered(job);
        }
        job.asked = Asked::Keys;
        self.ask = Some(Request::Keys { uids, need });
        self.job = Some(Job::Search(Box::new(job)));
    }

    /// The order of what was sorted so before, if it is known, begins the one looked for.
    pub(super) fn search_places(&mut self, mut job: SearchJob, places: Option<&Places>) {
        let uids = job.found.iter().map(|found| found.uid);
        match places.and_then(|places| places.order(uids)) {
            Some(insertion) => self.search_inserts(job, insertion),
            None => {
                job.sorting = Sorting::Anew;
                self.search_ends(job);
            }
        }
    }

    fn search_inserts(&mut self, mut job: SearchJob, insertion: Insertion) {
        let Order::Sort(criteria) = &job.order else { return };
        let uids = insertion.wants();
        if !uids.is_empty() {
            self.ask = Some(Request::Keys { uids, need: sort::need(criteria) });
            job.asked = Asked::Keys;
            job.sorting = Sorting::Inserting(insertion);
            self.job = Some(Job::Search(Box::new(job)));
            return;
        }
        let is_new = insertion.is_new();
        let by_uid = std::mem::take(&mut job.found);
        let found = |uid: u32| {
            let at = by_uid.binary_search_by_key(&uid, |found| found.uid).ok()?;
            by_uid.get(at).copied()
        };
        job.found = insertion.finish().into_iter().filter_map(found).collect();
        match is_new {
            true => self.search_keeps(job),
            false => self.search_result(job),
        }
    }

    /// Takes the keys of some messages in; those that are gone fit no more.
    pub(super) fn search_keys(&mut self, mut job: SearchJob, keys: Vec<Keys>) {
        self.search_progress(&mut job);
        if let Sorting::Inserting(mut insertion) =
            std::mem::replace(&mut job.sorting, Sorting::Anew)
        {
            return match insertion.learn(keys) {
                true => self.search_inserts(job, insertion),
                false => self.search_ends(job),
            };
        }
        let later = job.found.split_off((job.keyed + KEYS_AT_ONCE).min(job.found.len()));
        let asked = job.found.split_off(job.keyed);
        let mut keys = keys.into_iter().peekable();
        for found in asked {
            let Some(keys) = keys.next_if(|keys| keys.uid == found.uid) else { continue };
            match &job.order {
                Order::Sort(criteria) => job.ranks.push(Rank::new(criteria, keys, found.relevancy)),
                _ => {
                    let number = if job.uid { found.uid } else { found.sequence };
                    job.letters.push(Letter::new(number, &keys));
                }
            }
            job.found.push(found);
        }
        job.keyed = job.found.len();
        job.found.extend(later);
        self.search_ends(job);
    }

    /// Tells the sorted result, or the threads.
    fn search_ordered(&mut self, mut job: SearchJob) {
        if let Order::Thread(algorithm) = job.order {
            self.out.raw("* THREAD");
            let threads = thread::threads(algorithm, &job.letters);
            self.out.raw(if threads.is_empty() { "" } else { " " });
            thread::write(&mut self.out, &threads);
            return self.search_modseq(&job, "THREAD done");
        }
        let found = std::mem::take(&mut job.found);
        let ranks = std::mem::take(&mut job.ranks);
        let mut both: Vec<(Rank, Found)> = ranks.into_iter().zip(found).collect();
        // Stable: RFC 5256 3, "in which case … sorted by sequence number".
        both.sort_by(|one, other| one.0.cmp(&other.0));
        (job.ranks, job.found) = both.into_iter().unzip();
        self.search_keeps(job);
    }

    /// Has the order kept, if it is that of the whole mailbox, and tells the result then.
    fn search_keeps(&mut self, mut job: SearchJob) {
        if let (Order::Sort(criteria), None, Stage::Selected(selected)) =
            (&job.order, &job.multi, &self.stage)
            && job.found.len() == selected.view.rows().len()
            && job.found.len() > 1
            && Places::is_lasting(criteria)
        {
            let places = Places::new(criteria, job.found.iter().map(|found| found.uid));
            self.ask = Some(Request::KeepPlaces(Arc::new(places)));
            job.asked = Asked::KeepPlaces;
            self.job = Some(Job::Search(Box::new(job)));
            return;
        }
        self.search_result(job);
    }
}
