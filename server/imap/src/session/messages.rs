//! STORE, COPY, MOVE, EXPUNGE, CLOSE, and how every command ends: with the mailbox's news.
//!
//! Invariants: the news come before the tagged answer and hold no EXPUNGE where RFC 9051 7.5.1
//! forbids it; sequence numbers are resolved before anything else happens.
//! Not here: FETCH (`fetch`), SEARCH (`search`).

use super::context::After;
use super::{Job, Session};
use crate::command::{Copy, Store};
use crate::flags::Flags;
use crate::machine::{Answer, Request, Why};
use crate::response::Code;
use crate::rights::Rights;
use crate::set::{self, SequenceSet};
use crate::view::{Allowed, Changes};

/// The end of a command: the news are asked for, then this is said.
#[derive(Debug)]
pub(super) struct Finish {
    pub(super) tag: String,
    pub(super) status: &'static str,
    pub(super) code: Option<Code>,
    pub(super) text: String,
    pub(super) allowed: Allowed,
    /// Say the newest modification sequence, if the client wants such (RFC 7162 3.2.7).
    pub(super) says_modseq: bool,
}

impl Finish {
    /// A good end.
    pub(super) fn ok(tag: String, text: &str, allowed: Allowed) -> Self {
        let text = text.to_owned();
        Self { tag, status: "OK", code: None, text, allowed, says_modseq: false }
    }

    pub(super) fn says_url_mech(&self) -> bool {
        matches!(self.code, Some(Code::UrlMech))
    }
}

/// A STORE under way.
#[derive(Debug)]
pub(super) struct StoreJob {
    tag: String,
    uid: bool,
    /// UIDs with the flags the client will expect.
    expected: Vec<(u32, Flags)>,
    silent: bool,
    /// UNCHANGEDSINCE was given.
    conditional: bool,
    missing: bool,
}

impl Session {
    /// Ends a command well, with the news of the selected mailbox before.
    pub(super) fn finish(&mut self, tag: &str, text: &str, allowed: Allowed) {
        self.finish_with(Finish::ok(tag.to_owned(), text, allowed));
    }

    pub(super) fn finish_with(&mut self, finish: Finish) {
        let Some(since) = self.selected().map(|selected| selected.view.modseq()) else {
            return self.say_finish(&finish);
        };
        self.ask = Some(Request::Changes { since });
        self.job = Some(Job::Finish(finish));
    }

    pub(super) fn finish_answered(&mut self, finish: Finish, answer: Option<Answer>) {
        if Self::is_gone(answer.as_ref()) {
            self.say_finish(&finish);
            return self.mailbox_is_gone();
        }
        match answer {
            Some(Answer::Changes(changes)) => {
                let allowed = finish.allowed;
                self.tell_then(changes, allowed, After::Finish(finish));
            }
            answer => self.misanswered(&finish.tag, answer),
        }
    }

    /// The news were told; now the answer is.
    pub(super) fn finish_told(&mut self, mut finish: Finish) {
        if finish.says_modseq
            && self.enabled.condstore
            && let Some(selected) = self.selected()
        {
            finish.code = Some(Code::HighestModSeq(selected.view.modseq()));
        }
        self.hold_modseq_back(&mut finish);
        self.say_finish(&finish);
    }

    /// RFC 7162 3.2.1, as its errata have it (EID 1810 of RFC 5162): while an EXPUNGE waits,
    /// changes that came after it may be told. A client that is cut off now and comes back with
    /// the newest MODSEQ it heard would never hear of what went, so it is told from where on to
    /// ask; and once it heard of everything, that it did (RFC 7162 6).
    fn hold_modseq_back(&mut self, finish: &mut Finish) {
        let qresync = self.enabled.qresync;
        let Some(selected) = self.selected() else { return };
        let owes = selected.view.owes_expunge();
        let held = std::mem::replace(&mut selected.holds_modseq_back, owes);
        if !qresync || !(owes || held) {
            return;
        }
        let code = Code::HighestModSeq(selected.view.told_modseq());
        if finish.code.is_none() {
            finish.code = Some(code);
        } else if owes {
            self.out.status("OK", Some(&code), "from here on more is to be told");
        } else if finish.code.as_ref() != Some(&code) {
            self.out.status("OK", Some(&code), "everything was told");
        }
    }

    fn say_finish(&mut self, finish: &Finish) {
        self.settle_notify();
        let Finish { tag, status, code, text, .. } = finish;
        if *status == "NO" {
            self.no(tag, code.as_ref(), text);
        } else {
            self.ok(tag, code.as_ref(), text);
        }
    }

    /// Takes news into the view and tells what may be told; gives the messages that are new.
    pub(super) fn tell(&mut self, changes: Changes, allowed: Allowed) -> Vec<u32> {
        self.take_rights(changes.rights);
        let super::Stage::Selected(selected) = &mut self.stage else { return Vec::new() };
        selected.view.absorb(changes);
        let news = selected.view.untold();
        selected.view.announce(allowed, &mut self.out);
        news
    }

    /// RFC 4314 5.1.1: where rights changed, the client hears which flags it may set by now.
    pub(super) fn take_rights(&mut self, rights: Option<Rights>) {
        let super::Stage::Selected(selected) = &mut self.stage else { return };
        let Some(rights) = rights.filter(|rights| *rights != selected.rights) else { return };
        selected.rights = rights;
        let rights_here = if selected.read_only { Rights::default() } else { rights };
        let code = Code::PermanentFlags(selected.view.permanent_flags(rights_here));
        self.out.say(&format!("* FLAGS ({})", selected.view.flag_names()));
        self.out.status("OK", Some(&code), "these flags are kept from now on");
    }

    /// The UIDs a set names, ascending, or `None` after a BAD: a number beyond the mailbox.
    pub(super) fn named_uids(
        &mut self,
        tag: &str,
        set: &SequenceSet,
        uid: bool,
    ) -> Option<Vec<u32>> {
        let selected = self.selected()?;
        let count = selected.view.count();
        // RFC 9051 9: "message sequence numbers … greater than the number of messages … is an
        // error".
        if !uid && let Some(number) = set.single_beyond(count) {
            self.bad(tag, &format!("there is no message {number}; there are {count}"));
            return None;
        }
        let sequences = selected.view.resolve(set, uid, &selected.saved);
        let rows = selected.view.rows();
        let uid = |sequence: &u32| rows.uid(usize::try_from(*sequence).ok()?.checked_sub(1)?);
        Some(sequences.iter().filter_map(uid).collect())
    }

    pub(super) fn is_read_only(&mut self) -> bool {
        self.selected().is_none_or(|selected| selected.read_only)
    }

    pub(super) fn store(&mut self, tag: String, store: Store) {
        if self.is_read_only() {
            return self.no(&tag, Some(&Code::ReadOnly), "the mailbox was opened with EXAMINE");
        }
        if store.unchanged_since.is_some() {
            self.enable_condstore();
        }
        let Some(uids) = self.named_uids(&tag, &store.set, store.uid) else { return };
        let Store { uid, operation, silent, flags, unchanged_since, .. } = store;
        let Some(selected) = self.selected() else { return };
        let view = &selected.view;
        let row = |uid: &u32| view.row(view.sequence_of(*uid)?);
        let expect = |uid: &u32| Some((*uid, row(uid)?.flags.changed_by(operation, &flags)));
        let expected: Vec<(u32, Flags)> = uids.iter().filter_map(expect).collect();
        let missing = view.owes_expunge();
        let conditional = unchanged_since.is_some();
        self.ask = Some(Request::Flags { uids, operation, flags, unchanged_since });
        self.job = Some(Job::Store(StoreJob { tag, uid, expected, silent, conditional, missing }));
    }

    pub(super) fn store_answered(&mut self, job: StoreJob, answer: Option<Answer>) {
        let (refused, silent) = match answer {
            Some(Answer::Flagged(refused)) => (refused, job.silent),
            // The client would believe in what is not so.
            Some(Answer::FlaggedPartly(refused)) => (refused, false),
            answer => return self.misanswered(&job.tag, answer),
        };
        let Some(selected) = self.selected() else { return };
        for (uid, flags) in job.expected {
            // Only what is conditional leaves messages alone.
            if job.conditional {
                // RFC 7162 3.1.3: the client sees what is there instead, or the MODSEQ that it has
                // to name next time.
                selected.view.owe_flags(uid);
            } else if silent {
                selected.view.believe(uid, flags);
            } else {
                selected.view.owe_flags(uid);
            }
        }
        let numbers: Vec<u32> = match job.uid {
            true => refused,
            false => refused.iter().filter_map(|uid| selected.view.sequence_of(*uid)).collect(),
        };
        let code = (!numbers.is_empty()).then(|| Code::Modified(set::print(&numbers)));
        let allowed = if job.uid { Allowed::Everything } else { Allowed::NoExpunge };
        let text = if job.missing { "STORE done; some messages are gone" } else { "STORE done" };
        self.finish_with(Finish { code, ..Finish::ok(job.tag, text, allowed) });
    }

    pub(super) fn copy(&mut self, tag: String, copy: Copy) {
        if copy.moves && self.is_read_only() {
            return self.no(&tag, Some(&Code::ReadOnly), "the mailbox was opened with EXAMINE");
        }
        let Some(uids) = self.named_uids(&tag, &copy.set, copy.uid) else { return };
        let Copy { mailbox, moves, .. } = copy;
        self.ask = Some(Request::Copy { uids, mailbox, moves });
        self.job = Some(Job::Copy { tag, moves });
    }

    pub(super) fn copy_answered(&mut self, tag: String, moves: bool, answer: Option<Answer>) {
        let (uid_validity, pairs) = match answer {
            Some(Answer::Copied { uid_validity, pairs }) => (uid_validity, pairs),
            // RFC 9051 6.4.7: CREATE would help.
            Some(Answer::Refused(why @ Why::NoSuchMailbox)) => {
                return self.refused(&tag, why, Code::TryCreate);
            }
            answer => return self.misanswered(&tag, answer),
        };
        let (from, to): (Vec<u32>, Vec<u32>) = pairs.into_iter().unzip();
        let code = (!from.is_empty())
            .then(|| Code::CopyUid(uid_validity, set::print(&from), set::print(&to)));
        let text = if moves { "MOVE done" } else { "COPY done" };
        let mut finish = Finish { code, ..Finish::ok(tag, text, Allowed::Everything) };
        if moves && let Some(code) = finish.code.take() {
            // RFC 6851 4.3: COPYUID goes before the EXPUNGEs.
            self.out.status("OK", Some(&code), "moved");
        }
        // RFC 7162 3.2.7 and RFC 6851 4.4.
        finish.says_modseq = moves;
        self.finish_with(finish);
    }

    pub(super) fn expunge(&mut self, tag: String, set: Option<&SequenceSet>) {
        if self.is_read_only() {
            return self.no(&tag, Some(&Code::ReadOnly), "the mailbox was opened with EXAMINE");
        }
        let among = match set {
            None => None,
            Some(set) => match self.named_uids(&tag, set, true) {
                Some(uids) => Some(uids),
                None => return,
            },
        };
        self.ask = Some(Request::Expunge(among));
        self.job = Some(Job::Expunge { tag, closes: false });
    }

    /// RFC 9051 6.4.1: CLOSE expunges in silence, unless the mailbox is read-only.
    pub(super) fn close(&mut self, tag: String) {
        if self.is_read_only() {
            return self.leave(tag, "CLOSE done", None);
        }
        self.ask = Some(Request::Expunge(None));
        self.job = Some(Job::Expunge { tag, closes: true });
    }

    pub(super) fn expunge_answered(&mut self, tag: String, closes: bool, answer: Option<Answer>) {
        match answer {
            // RFC 7162 3.2.8: no HIGHESTMODSEQ here, for what others changed was not told.
            Some(Answer::Done) if closes => self.leave(tag, "CLOSE done", None),
            // RFC 4314 4: it is closed all the same.
            Some(Answer::Refused(Why::NoPermission)) if closes => {
                self.leave(tag, "CLOSE done", None);
            }
            Some(Answer::Done) => {
                let finish = Finish::ok(tag, "EXPUNGE done", Allowed::Everything);
                self.finish_with(Finish { says_modseq: true, ..finish });
            }
            answer => self.misanswered(&tag, answer),
        }
    }
}
