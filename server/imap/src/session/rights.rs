//! GETACL, SETACL, DELETEACL, LISTRIGHTS, MYRIGHTS, and GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 4314,
//! RFC 9208).
//!
//! Not here: who has which rights, how much fits (the driver).

use super::{Job, Session};
use crate::command::Verb;
use crate::machine::{Answer, Quota, Request};
use crate::name::MailboxName;
use crate::response::Out;
use crate::rights::Rights;
use crate::view::Allowed;

/// A question about rights or quota that the store is asked.
#[derive(Debug)]
pub(super) struct RightsJob {
    tag: String,
    ask: Ask,
}

#[derive(Debug)]
enum Ask {
    GetAcl(MailboxName),
    ListRights(MailboxName, String),
    MyRights(MailboxName),
    GetQuota,
    GetQuotaRoot(MailboxName),
}

/// Writes `* MYRIGHTS mailbox rights`.
pub(super) fn my_rights_line(out: &mut Out, mailbox: &MailboxName, rights: Rights) {
    out.raw("* MYRIGHTS ").mailbox(mailbox.as_str()).raw(" ").astring(&rights.to_string()).line();
}

impl Session {
    /// A command about rights or quota.
    pub(super) fn rights(&mut self, tag: String, verb: Verb) {
        let (request, ask) = match verb {
            Verb::GetAcl(mailbox) => (Request::Acl(mailbox.clone()), Ask::GetAcl(mailbox)),
            Verb::ListRights(mailbox, who) => {
                let request = Request::ListRights(mailbox.clone(), who.clone());
                (request, Ask::ListRights(mailbox, who))
            }
            Verb::MyRights(mailbox) => (Request::MyRights(mailbox.clone()), Ask::MyRights(mailbox)),
            Verb::GetQuota(root) => (Request::Quota(root), Ask::GetQuota),
            Verb::GetQuotaRoot(mailbox) => {
                (Request::QuotaRoots(mailbox.clone()), Ask::GetQuotaRoot(mailbox))
            }
            Verb::SetAcl(mailbox, who, change) => {
                return self.simply(tag, Request::SetAcl(mailbox, who, change), "SETACL done");
            }
            Verb::DeleteAcl(mailbox, who) => {
                return self.simply(tag, Request::DeleteAcl(mailbox, who), "DELETEACL done");
            }
            Verb::SetQuota(root, limits) => {
                return self.simply(tag, Request::SetQuota(root, limits), "SETQUOTA done");
            }
            _ => return,
        };
        self.ask = Some(request);
        self.job = Some(Job::Rights(RightsJob { tag, ask }));
    }

    pub(super) fn rights_answered(&mut self, job: RightsJob, answer: Option<Answer>) {
        let RightsJob { tag, ask } = job;
        let out = &mut self.out;
        let done = match (ask, answer) {
            (Ask::GetAcl(mailbox), Some(Answer::Acl(entries))) => {
                out.raw("* ACL ").mailbox(mailbox.as_str());
                for (who, rights) in entries {
                    out.raw(" ").astring(&who).raw(" ").astring(&rights.to_string());
                }
                out.line();
                "GETACL done"
            }
            (Ask::ListRights(mailbox, who), Some(Answer::Rights(always))) => {
                out.raw("* LISTRIGHTS ").mailbox(mailbox.as_str()).raw(" ").astring(&who);
                // RFC 4314 3.4: those always granted, then those that can be, each by itself.
                out.raw(" ").astring(&always.to_string());
                for letter in Rights::ALL.without(always).letters() {
                    out.raw(" ").raw(&letter.to_string());
                }
                out.line();
                "LISTRIGHTS done"
            }
            (Ask::MyRights(mailbox), Some(Answer::Rights(mine))) => {
                my_rights_line(out, &mailbox, mine);
                "MYRIGHTS done"
            }
            (Ask::GetQuota, Some(Answer::Quota(roots))) => {
                roots.iter().for_each(|root| quota_line(out, root));
                "GETQUOTA done"
            }
            (Ask::GetQuotaRoot(mailbox), Some(Answer::Quota(roots))) => {
                out.raw("* QUOTAROOT ").mailbox(mailbox.as_str());
                for root in &roots {
                    out.raw(" ").astring(&root.root);
                }
                out.line();
                roots.iter().for_each(|root| quota_line(out, root));
                "GETQUOTAROOT done"
            }
            (_, answer) => return self.misanswered(&tag, answer),
        };
        self.finish(&tag, done, Allowed::Everything);
    }
}

/// Writes `* QUOTA root (STORAGE 10 512)`.
fn quota_line(out: &mut Out, quota: &Quota) {
    out.raw("* QUOTA ").astring(&quota.root).raw(" (");
    for (place, resource) in quota.resources.iter().enumerate() {
        out.raw(if place == 0 { "" } else { " " }).raw(resource.name);
        out.raw(" ").number(resource.usage).raw(" ").number(resource.limit);
    }
    out.say(")");
}
