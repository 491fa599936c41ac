//! SELECT, EXAMINE, CLOSE, UNSELECT, STATUS, DELETE.
//!
//! Invariant: the old mailbox is left before the new one is opened, whether that succeeds or not
//! (RFC 9051 6.3.2).
//! Not here: the list of mailboxes (`list`), their messages (`messages`).

use super::{Job, Selected, Session, Stage};
use crate::command::{Resync, StatusItem, Verb};
use crate::machine::{Answer, Opened, Request, Status, Why};
use crate::name::MailboxName;
use crate::response::{Code, Out};
use crate::rights::Rights;
use crate::set::Ranges;
use crate::view::{Allowed, View};

/// A SELECT under way.
#[derive(Debug)]
pub(super) struct SelectJob {
    tag: String,
    mailbox: MailboxName,
    spelled: Option<String>,
    read_only: bool,
    resync: Option<Resync>,
}

/// What a client that comes back has missed is being asked for.
#[derive(Debug)]
pub(super) struct ResyncJob {
    tag: String,
    resync: Resync,
}

/// Writes `* STATUS name (…)`.
pub(super) fn status_line(
    out: &mut Out,
    mailbox: &MailboxName,
    items: &[StatusItem],
    status: &Status,
    append_bytes_max: u64,
) {
    out.raw("* STATUS ").mailbox(mailbox.as_str()).raw(" (");
    for (place, item) in items.iter().enumerate() {
        let name = StatusItem::NAMES.iter().find(|(known, _)| known == item);
        let figure = match item {
            StatusItem::Messages => status.messages,
            StatusItem::Recent => status.recent,
            StatusItem::UidNext => u64::from(status.uid_next),
            StatusItem::UidValidity => u64::from(status.uid_validity),
            StatusItem::Unseen => status.unseen,
            StatusItem::Deleted => status.deleted,
            StatusItem::DeletedStorage => status.deleted_size,
            StatusItem::Size => status.size,
            StatusItem::HighestModSeq => status.modseq,
            StatusItem::AppendLimit => append_bytes_max,
            StatusItem::MailboxId => {
                out.raw(if place == 0 { "" } else { " " });
                out.raw("MAILBOXID (").raw(&status.mailbox_id).raw(")");
                continue;
            }
        };
        out.raw(if place == 0 { "" } else { " " });
        out.raw(name.map_or("", |(_, name)| name)).raw(" ").number(figure);
    }
    out.say(")");
}

/// What the store is asked for these items.
pub(super) fn status_request(mailbox: MailboxName, items: &[StatusItem]) -> Request {
    match items.contains(&StatusItem::DeletedStorage) {
        true => Request::StatusDeleted(mailbox),
        false => Request::Status(mailbox),
    }
}

impl Session {
    pub(super) fn status(&mut self, tag: String, mailbox: MailboxName, items: Vec<StatusItem>) {
        if items.contains(&StatusItem::HighestModSeq) {
            self.enable_condstore();
        }
        self.ask = Some(status_request(mailbox.clone(), &items));
        self.job = Some(Job::Status { tag, mailbox, items });
    }

    pub(super) fn status_answered(
        &mut self,
        tag: &str,
        mailbox: &MailboxName,
        items: &[StatusItem],
        answer: Option<Answer>,
    ) {
        match answer {
            Some(Answer::Status(status)) => {
                let most = self.settings.append_bytes_max;
                status_line(&mut self.out, mailbox, items, &status, most);
                self.finish(tag, "STATUS done", Allowed::Everything);
            }
            answer => self.misanswered(tag, answer),
        }
    }

    /// RFC 7162 3.1: a client that uses CONDSTORE once gets MODSEQ from then on.
    pub(super) fn enable_condstore(&mut self) {
        let before = std::mem::replace(&mut self.enabled.condstore, true);
        let Some(selected) = self.selected() else { return };
        selected.view.condstore = true;
        let modseq = selected.view.told_modseq();
        if !before {
            // RFC 7162 3.1.1: it learns from where on.
            self.out.status("OK", Some(&Code::HighestModSeq(modseq)), "the newest change");
        }
    }

    pub(super) fn select(&mut self, tag: String, verb: Verb) {
        let Verb::Select { mailbox, spelled, read_only, condstore, resync } = verb else { return };
        match &resync {
            // RFC 7162 3.2.5: "ENABLE QRESYNC" comes first.
            Some(_) if !self.enabled.qresync => {
                return self.bad(&tag, "QRESYNC needs ENABLE QRESYNC first");
            }
            // RFC 9586 3: sequence match data is made of numbers.
            Some(resync) if self.enabled.uid_only && !resync.matches.is_empty() => {
                return self.uid_required(&tag);
            }
            _ => {}
        }
        if matches!(self.stage, Stage::Selected(_)) {
            self.stage = Stage::Authenticated;
            // RFC 9051 7.1: what follows is about the new mailbox.
            self.out.status("OK", Some(&Code::Closed), "the previous mailbox is left");
        }
        if condstore {
            self.enable_condstore();
        }
        self.ask = Some(Request::Open { mailbox: mailbox.clone(), read_only });
        self.job = Some(Job::Select(SelectJob { tag, mailbox, spelled, read_only, resync }));
    }

    pub(super) fn select_answered(&mut self, job: SelectJob, answer: Option<Answer>) {
        let opened = match answer {
            Some(Answer::Opened(opened)) => opened,
            answer => return self.misanswered(&job.tag, answer),
        };
        let Opened { mailbox_id, uid_validity, uid_next, modseq, rights, recent_from, rows } =
            opened;
        let mut view = View::new(rows, modseq, recent_from);
        self.enabled.shape(&mut view);
        if let Some(notified) = &self.notified {
            notified.shape(&mut view);
        }
        let out = &mut self.out;
        let flags = view.flag_names();
        out.say(&format!("* FLAGS ({flags})"));
        let rights_here = if job.read_only { Rights::default() } else { rights };
        let permanent = Code::PermanentFlags(view.permanent_flags(rights_here));
        out.status("OK", Some(&permanent), "these flags are kept");
        out.say(&format!("* {} EXISTS", view.count()));
        if !self.enabled.rev2 {
            // RFC 9051 appendix E: RECENT and UNSEEN are gone from IMAP4rev2.
            out.say(&format!("* {} RECENT", view.recent_count()));
            if let Some(unseen) = view.first_unseen().filter(|_| !view.uid_only) {
                out.status("OK", Some(&Code::Unseen(unseen)), "the first unseen message");
            }
        }
        out.status("OK", Some(&Code::UidValidity(uid_validity)), "UIDs are valid");
        out.status("OK", Some(&Code::UidNext(uid_next)), "the next UID");
        out.status("OK", Some(&Code::HighestModSeq(modseq)), "the newest change");
        out.status("OK", Some(&Code::MailboxId(mailbox_id)), "the mailbox for ever");
        // RFC 4467 8: not where somebody may listen.
        if self.settings.tls || self.settings.plain_login {
            out.status("OK", Some(&Code::UrlMech), "how URLs are signed");
        }
        if self.enabled.rev2 {
            // RFC 9051 6.3.2: a LIST response is required, which says what became of the spelling.
            out.raw("* LIST () \"/\" ").mailbox(job.mailbox.as_str());
            if let Some(spelled) = &job.spelled {
                out.raw(" (\"OLDNAME\" (").mailbox(spelled).raw("))");
            }
            out.line();
        }
        self.stage = Stage::Selected(Box::new(Selected {
            name: job.mailbox,
            uid_validity,
            read_only: job.read_only,
            rights,
            view,
            holds_modseq_back: false,
            saved: Vec::new(),
            contexts: Vec::new(),
        }));
        match job.resync {
            // RFC 7162 3.2.5.1: with another UIDVALIDITY the client knows nothing.
            Some(resync) if resync.uid_validity == uid_validity => {
                self.ask = Some(Request::Vanished { since: resync.modseq });
                self.job = Some(Job::Resync(ResyncJob { tag: job.tag, resync }));
            }
            _ => self.say_selected(&job.tag),
        }
    }

    fn say_selected(&mut self, tag: &str) {
        // RFC 4314 5.2: with none of these rights nothing can be changed.
        let may_change = self.selected().is_some_and(|one| one.rights.has_any("swite"));
        let (code, done) = match (self.is_read_only(), may_change) {
            (true, _) => (Code::ReadOnly, "EXAMINE done"),
            (false, true) => (Code::ReadWrite, "SELECT done"),
            (false, false) => (Code::ReadOnly, "SELECT done"),
        };
        self.ok(tag, Some(&code), done);
    }

    /// Tells a client that comes back what it missed: first what went, then what changed (RFC 7162
    /// 3.2.5.1).
    pub(super) fn resync_answered(&mut self, job: ResyncJob, answer: Option<Answer>) {
        let ResyncJob { tag, resync } = job;
        let gone = match answer {
            Some(Answer::Vanished(gone)) => Ranges::of(gone),
            answer => {
                self.stage = Stage::Authenticated;
                return self.misanswered(&tag, answer);
            }
        };
        let Stage::Selected(selected) = &mut self.stage else { return };
        let view = &selected.view;
        let known = match &resync.known {
            Some(known) => known.resolve(0),
            None => Ranges::of([1..=u32::MAX]),
        };
        // RFC 7162 3.2.5.2: where number and UID still agree, nothing below went.
        let agreed = resync.matches.iter().rev();
        let agreed =
            agreed.map(|(sequence, uid)| (view.sequence_of(*uid) == Some(*sequence), *uid));
        let intact = agreed.filter(|(agrees, _)| *agrees).map(|(_, uid)| uid).next().unwrap_or(0);
        let above = Ranges::of(intact.checked_add(1).map(|first| first..=u32::MAX));
        let gone = view.missing(&gone.and(&known).and(&above));
        self.out.vanished("(EARLIER) ", &gone);
        for row in view.rows().iter().filter(|row| row.modseq > resync.modseq) {
            if resync.known.is_none() || known.contains(row.uid) {
                view.say_flags(row.uid, &mut self.out);
            }
        }
        self.say_selected(&tag);
    }

    /// Leaves the selected mailbox, and then asks for `then`, if anything.
    pub(super) fn leave(&mut self, tag: String, done: &'static str, then: Option<Request>) {
        self.stage = Stage::Authenticated;
        self.ask = Some(Request::Leave);
        self.job = Some(Job::Leave { tag, done, then });
    }

    pub(super) fn left(&mut self, tag: String, done: &'static str, then: Option<Request>) {
        match then {
            Some(request) => self.simply(tag, request, done),
            None => self.ok(&tag, None, done),
        }
    }

    pub(super) fn delete(&mut self, tag: String, mailbox: MailboxName) {
        let selected = self.selected().is_some_and(|selected| selected.name == mailbox);
        let request = Request::Delete(mailbox);
        if selected {
            self.out.status("OK", Some(&Code::Closed), "the mailbox is left");
            return self.leave(tag, "DELETE done", Some(request));
        }
        self.simply(tag, request, "DELETE done");
    }

    pub(super) fn rename(&mut self, tag: String, from: MailboxName, to: MailboxName) {
        let request = Request::Rename(from.clone(), to.clone());
        self.names_asked(&request);
        self.ask = Some(request);
        self.job = Some(Job::Rename { tag, from, to });
    }

    /// The selected mailbox goes by its new name from then on; INBOX keeps its own (RFC 9051
    /// 6.3.6).
    pub(super) fn renamed(
        &mut self,
        tag: &str,
        from: &MailboxName,
        to: &MailboxName,
        answer: Option<Answer>,
    ) {
        if let (Some(Answer::Done), Stage::Selected(selected)) = (&answer, &mut self.stage)
            && !from.is_inbox()
            && let Some(name) = selected.name.moved(from, to)
        {
            selected.name = name;
        }
        self.simple_answered(tag, "RENAME done", answer);
    }

    /// Somebody else deleted the selected mailbox, or took the right to read it. RFC 2180 3.3 and
    /// RFC 4314 5.1.1: there is no better word for it.
    pub(super) fn mailbox_is_gone(&mut self) {
        self.bye(None, "the selected mailbox is not there any more");
    }

    pub(super) fn is_gone(answer: Option<&Answer>) -> bool {
        matches!(answer, Some(Answer::Refused(Why::NoSuchMailbox)))
    }
}
