//! SELECT, EXAMINE, CLOSE, UNSELECT, STATUS, DELETE.
//!
//! Invariant: the old mailbox is left before the new one is opened, whether that succeeds or not
//! (RFC 9051 6.3.2).
//! Not here: the list of mailboxes (`list`), their messages (`messages`).

use super::{Job, Selected, Session, Stage};
use crate::command::StatusItem;
use crate::machine::{Answer, Opened, Request, Status, Why};
use crate::name::MailboxName;
use crate::response::{Code, Out};
use crate::view::{Allowed, View};

/// A SELECT under way.
#[derive(Debug)]
pub(super) struct SelectJob {
    tag: String,
    mailbox: MailboxName,
    read_only: bool,
}

/// Writes `* STATUS name (…)`.
pub(super) fn status_line(
    out: &mut Out,
    mailbox: &MailboxName,
    items: &[StatusItem],
    status: &Status,
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
            StatusItem::Size => status.size,
            StatusItem::HighestModSeq => status.modseq,
        };
        out.raw(if place == 0 { "" } else { " " });
        out.raw(name.map_or("", |(_, name)| name)).raw(" ").number(figure);
    }
    out.say(")");
}

impl Session {
    pub(super) fn status(&mut self, tag: String, mailbox: MailboxName, items: Vec<StatusItem>) {
        if items.contains(&StatusItem::HighestModSeq) {
            self.enable_condstore();
        }
        self.ask = Some(Request::Status(mailbox.clone()));
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
                status_line(&mut self.out, mailbox, items, &status);
                self.finish(tag, "STATUS done", Allowed::Everything);
            }
            answer => self.misanswered(tag, answer),
        }
    }

    /// RFC 7162 3.1: a client that uses CONDSTORE once gets MODSEQ from then on.
    pub(super) fn enable_condstore(&mut self) {
        self.enabled.condstore = true;
        if let Some(selected) = self.selected() {
            selected.view.condstore = true;
        }
    }

    pub(super) fn select(
        &mut self,
        tag: String,
        mailbox: MailboxName,
        read_only: bool,
        condstore: bool,
    ) {
        if condstore {
            self.enable_condstore();
        }
        if matches!(self.stage, Stage::Selected(_)) {
            self.stage = Stage::Authenticated;
            // RFC 9051 7.1: what follows is about the new mailbox.
            self.out.status("OK", Some(&Code::Closed), "the previous mailbox is left");
        }
        self.ask = Some(Request::Open { mailbox: mailbox.clone(), read_only });
        self.job = Some(Job::Select(SelectJob { tag, mailbox, read_only }));
    }

    pub(super) fn select_answered(&mut self, job: SelectJob, answer: Option<Answer>) {
        let opened = match answer {
            Some(Answer::Opened(opened)) => opened,
            answer => return self.misanswered(&job.tag, answer),
        };
        let Opened { uid_validity, uid_next, modseq, rows } = opened;
        let mut view = View::new(rows, modseq);
        view.condstore = self.enabled.condstore;
        view.says_recent = !self.enabled.rev2;
        let out = &mut self.out;
        let flags = view.flag_names();
        out.say(&format!("* FLAGS ({flags})"));
        // RFC 9051 7.1: \* lets clients make up keywords.
        let permanent = if job.read_only { String::new() } else { format!("{flags} \\*") };
        let permanent = Code::PermanentFlags(permanent);
        out.status("OK", Some(&permanent), "these flags are kept");
        out.say(&format!("* {} EXISTS", view.count()));
        if !self.enabled.rev2 {
            // RFC 9051 appendix E: RECENT and UNSEEN are gone from IMAP4rev2.
            out.say(&format!("* {} RECENT", view.recent_count()));
            if let Some(unseen) = view.first_unseen() {
                out.status("OK", Some(&Code::Unseen(unseen)), "the first unseen message");
            }
        }
        out.status("OK", Some(&Code::UidValidity(uid_validity)), "UIDs are valid");
        out.status("OK", Some(&Code::UidNext(uid_next)), "the next UID");
        out.status("OK", Some(&Code::HighestModSeq(modseq)), "the newest change");
        if self.enabled.rev2 {
            // RFC 9051 6.3.2: a LIST response is required.
            out.raw("* LIST () \"/\" ").mailbox(job.mailbox.as_str()).line();
        }
        let (code, done) = match job.read_only {
            true => (Code::ReadOnly, "EXAMINE done"),
            false => (Code::ReadWrite, "SELECT done"),
        };
        out.tagged(&job.tag, "OK", Some(&code), done);
        self.stage = Stage::Selected(Box::new(Selected {
            name: job.mailbox,
            read_only: job.read_only,
            view,
            saved: Vec::new(),
        }));
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

    /// Somebody else deleted the selected mailbox. RFC 2180 3.3: there is no better word for it.
    pub(super) fn mailbox_is_gone(&mut self) {
        self.bye(None, "the selected mailbox was deleted");
    }

    pub(super) fn is_gone(answer: Option<&Answer>) -> bool {
        matches!(answer, Some(Answer::Refused(Why::NoSuchMailbox)))
    }
}
