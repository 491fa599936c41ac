//! LIST and LSUB (RFC 9051 6.3.9, RFC 3501 6.3.9, RFC 5258, RFC 5819, RFC 6154, RFC 8440,
//! RFC 9590).
//!
//! Not here: matching names (`name`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::mailbox::{status_line, status_request};
use super::metadata::metadata_line;
use super::rights::my_rights_line;
use super::{Job, Session};
use crate::command::{GetMetadata, List, StatusItem};
use crate::machine::{Answer, Listed, Request};
use crate::name::{self, MailboxName};
use crate::view::Allowed;

/// A LIST or LSUB under way.
#[derive(Debug)]
pub(super) struct ListJob {
    tag: String,
    list: List,
    lsub: bool,
    /// What is still to be told of mailboxes; the first is being asked for.
    rest: VecDeque<(MailboxName, Rest)>,
    listed: bool,
}

/// What is told of a mailbox behind its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Status,
    MyRights,
    Metadata,
}

/// What one line says.
#[derive(Debug, Default)]
struct Line {
    exists: bool,
    subscribed: bool,
    has_children: bool,
    /// A name below this one fits, but does not stand in the list itself (RFC 5258 3.5).
    child_info: bool,
    special_use: Option<&'static str>,
}

impl Session {
    pub(super) fn list(&mut self, tag: String, list: List) {
        // RFC 9051 6.3.9: an empty pattern asks for the separator.
        if !list.extended && list.patterns.iter().all(String::is_empty) {
            self.out.say("* LIST (\\Noselect) \"/\" \"\"");
            return self.finish(&tag, "LIST done", Allowed::Everything);
        }
        self.start_list(tag, list, false);
    }

    pub(super) fn lsub(&mut self, tag: String, reference: String, pattern: String) {
        let list =
            List { reference, patterns: vec![pattern], only_subscribed: true, ..List::default() };
        self.start_list(tag, list, true);
    }

    fn start_list(&mut self, tag: String, list: List, lsub: bool) {
        self.ask = Some(Request::Mailboxes);
        let rest = VecDeque::new();
        let job = ListJob { tag, list, lsub, rest, listed: false };
        self.job = Some(Job::List(Box::new(job)));
    }

    pub(super) fn list_answered(&mut self, mut job: ListJob, answer: Option<Answer>) {
        match answer {
            Some(Answer::Mailboxes(mailboxes)) if !job.listed => {
                job.listed = true;
                let status = job.list.return_status.is_some().then_some(Rest::Status);
                let rights = job.list.return_my_rights.then_some(Rest::MyRights);
                let metadata = (!job.list.return_metadata.is_empty()).then_some(Rest::Metadata);
                for (mailbox, line) in lines(&job.list, &mailboxes) {
                    self.list_line(&job, &mailbox, &line);
                    let rest = status.into_iter().chain(rights).chain(metadata);
                    let rest = rest.filter(|_| line.exists);
                    job.rest.extend(rest.map(|rest| (mailbox.clone(), rest)));
                }
            }
            Some(Answer::Status(status)) => {
                if let Some((mailbox, _)) = job.rest.pop_front() {
                    let items = job.list.return_status.as_deref().unwrap_or_default();
                    let most = self.settings.append_bytes_max;
                    status_line(&mut self.out, &mailbox, items, &status, most);
                }
            }
            Some(Answer::Rights(mine)) => {
                if let Some((mailbox, _)) = job.rest.pop_front() {
                    my_rights_line(&mut self.out, &mailbox, mine);
                }
            }
            Some(Answer::Metadata(entries)) => {
                if let Some((mailbox, _)) = job.rest.pop_front() {
                    let entries_wanted = job.list.return_metadata.clone();
                    let get = GetMetadata { entries: entries_wanted, ..GetMetadata::default() };
                    metadata_line(&mut self.out, Some(&mailbox), &get, &entries);
                }
            }
            // RFC 5819 2: a mailbox that went meanwhile simply has no STATUS.
            Some(Answer::Refused(_)) if job.listed => {
                job.rest.pop_front();
            }
            answer => return self.misanswered(&job.tag, answer),
        }
        if let Some((mailbox, rest)) = job.rest.front() {
            self.ask = Some(match rest {
                Rest::Status => {
                    let items = job.list.return_status.as_deref().unwrap_or_default();
                    status_request(mailbox.clone(), items)
                }
                Rest::MyRights => Request::MyRights(mailbox.clone()),
                Rest::Metadata => Request::Metadata(Some(mailbox.clone())),
            });
            self.job = Some(Job::List(Box::new(job)));
            return;
        }
        let wants_modseq = |items: &Vec<StatusItem>| items.contains(&StatusItem::HighestModSeq);
        if job.list.return_status.as_ref().is_some_and(wants_modseq) {
            self.enable_condstore();
        }
        let done = if job.lsub { "LSUB done" } else { "LIST done" };
        self.finish(&job.tag, done, Allowed::Everything);
    }

    fn list_line(&mut self, job: &ListJob, mailbox: &MailboxName, line: &Line) {
        let list = &job.list;
        let mut attributes: Vec<&str> = Vec::new();
        if job.lsub {
            // RFC 3501 6.3.9: \Noselect stands for a parent that is not subscribed itself.
            attributes.extend((!line.subscribed).then_some("\\Noselect"));
        } else {
            if !line.exists {
                // RFC 9051 7.3.1: \NonExistent implies \Noselect, which old clients look for.
                attributes.push("\\NonExistent");
                attributes.extend((!list.extended).then_some("\\Noselect"));
            }
            if line.subscribed && (list.return_subscribed || list.only_subscribed) {
                attributes.push("\\Subscribed");
            }
            attributes.push(if line.has_children { "\\HasChildren" } else { "\\HasNoChildren" });
            attributes.extend(line.special_use);
        }
        self.out.raw(if job.lsub { "* LSUB (" } else { "* LIST (" });
        self.out.raw(&attributes.join(" ")).raw(") \"/\" ").mailbox(mailbox.as_str());
        if line.child_info {
            self.out.raw(" (\"CHILDINFO\" (\"SUBSCRIBED\"))");
        }
        self.out.line();
    }
}

/// The lines of a LIST in the order of their names, INBOX first.
fn lines(list: &List, mailboxes: &[Listed]) -> Vec<(MailboxName, Line)> {
    let mut known: BTreeMap<MailboxName, Line> = BTreeMap::new();
    for mailbox in mailboxes {
        for parent in mailbox.name.ancestors() {
            known.entry(parent).or_default().has_children |= mailbox.exists;
        }
        let line = known.entry(mailbox.name.clone()).or_default();
        line.exists |= mailbox.exists;
        line.subscribed |= mailbox.subscribed;
        line.special_use = mailbox.special_use.map(|special| special.name());
    }
    let patterns: Vec<String> =
        list.patterns.iter().map(|pattern| format!("{}{pattern}", list.reference)).collect();
    let fits = |name: &str| patterns.iter().any(|pattern| name_fits(pattern, name));
    let recursive = list.recursive_match || patterns.iter().any(|pattern| pattern.ends_with('%'));
    let selected = |line: &Line| {
        (!list.only_subscribed || line.subscribed)
            && (!list.only_special_use || line.special_use.is_some())
            && (line.exists || list.only_subscribed)
    };
    let parents: BTreeSet<MailboxName> = match list.only_subscribed && recursive {
        true => known
            .iter()
            .filter(|(_, line)| selected(line))
            .flat_map(|(name, _)| name.ancestors().collect::<Vec<_>>())
            .collect(),
        false => BTreeSet::new(),
    };
    let mut found: Vec<(MailboxName, Line)> = Vec::new();
    for (name, mut line) in known {
        if !fits(name.as_str()) {
            continue;
        }
        let is_parent = parents.contains(&name);
        line.child_info = is_parent && list.recursive_match;
        // RFC 3501 6.3.9: LSUB with % names the parent of a subscribed mailbox too. A level that
        // exists only through what is below it is listed as \NonExistent (RFC 9051 6.3.9).
        let implied = !list.only_subscribed && !list.only_special_use && line.has_children;
        let lsub_parent = is_parent && (list.recursive_match || !list.extended);
        if selected(&line) || implied || lsub_parent {
            found.push((name, line));
        }
    }
    found.sort_by_key(|(name, _)| !name.is_inbox());
    found
}

/// RFC 9051 5.1: INBOX fits in any case.
fn name_fits(pattern: &str, name: &str) -> bool {
    if name::matches(pattern, name) {
        return true;
    }
    let Some(rest) = name.strip_prefix("INBOX") else { return false };
    (rest.is_empty() || rest.starts_with(name::SEPARATOR))
        && pattern.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("INBOX"))
        && pattern.get(5..).is_some_and(|end| name::matches(&format!("INBOX{end}"), name))
}
