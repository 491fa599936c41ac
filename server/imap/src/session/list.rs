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
use crate::name::{MailboxName, Pattern, SEPARATOR};
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

/// What is told of a mailbox.
#[derive(Debug, Clone)]
enum Rest {
    Line(Line),
    /// Its line, which waits for its STATUS.
    Status(Line),
    MyRights,
    Metadata,
}

/// What one line says.
#[derive(Debug, Clone, Default)]
struct Line {
    exists: bool,
    /// It is what was asked for, and not only above that.
    is_meant: bool,
    subscribed: bool,
    has_children: bool,
    /// A name below this one is what was asked for (RFC 5258 3.5).
    child_info: bool,
    special_use: Option<&'static str>,
    /// It cannot be opened by who asks.
    no_select: bool,
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
        let told = if job.listed { job.rest.pop_front() } else { None };
        match (told, answer) {
            (None, Some(Answer::Mailboxes(mailboxes))) if !job.listed => {
                job.listed = true;
                job.rest = parts(&job.list, lines(&job.list, &mailboxes));
            }
            (Some((mailbox, Rest::Status(line))), Some(Answer::Status(status))) => {
                self.list_line(&job, &mailbox, &line);
                let items = job.list.return_status.as_deref().unwrap_or_default();
                let most = self.settings.append_bytes_max;
                status_line(&mut self.out, &mailbox, items, &status, most);
            }
            // RFC 5819 2: what cannot be opened is \Noselect and has no STATUS.
            (Some((mailbox, Rest::Status(line))), Some(Answer::Refused(_))) => {
                self.list_line(&job, &mailbox, &Line { no_select: true, ..line });
            }
            (Some((mailbox, _)), Some(Answer::Rights(mine))) => {
                my_rights_line(&mut self.out, &mailbox, mine);
            }
            (Some((mailbox, _)), Some(Answer::Metadata(entries))) => {
                let entries_wanted = job.list.return_metadata.clone();
                let get = GetMetadata { entries: entries_wanted, ..GetMetadata::default() };
                metadata_line(&mut self.out, Some(&mailbox), &get, &entries);
            }
            // It went meanwhile.
            (Some(_), Some(Answer::Refused(_))) => {}
            (_, answer) => return self.misanswered(&job.tag, answer),
        }
        self.list_next(job);
    }

    /// Goes on with the next thing that is told, or ends.
    fn list_next(&mut self, mut job: ListJob) {
        while let Some((mailbox, Rest::Line(line))) =
            job.rest.pop_front_if(|(_, rest)| matches!(rest, Rest::Line(_)))
        {
            self.list_line(&job, &mailbox, &line);
        }
        if let Some((mailbox, rest)) = job.rest.front() {
            self.ask = Some(match rest {
                Rest::Line(_) | Rest::Status(_) => {
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
            attributes.extend(line.no_select.then_some("\\Noselect"));
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

/// What a LIST tells, in its order: the lines, each with its STATUS behind it (RFC 5819 2), then
/// the rest. Nothing but its line is told of what only stands above what was asked for.
fn parts(list: &List, lines: Vec<(MailboxName, Line)>) -> VecDeque<(MailboxName, Rest)> {
    let rights = list.return_my_rights.then_some(Rest::MyRights);
    let metadata = (!list.return_metadata.is_empty()).then_some(Rest::Metadata);
    let (mut first, mut rest) = (VecDeque::new(), VecDeque::new());
    for (mailbox, line) in lines {
        let is_told = line.exists && line.is_meant;
        if is_told {
            let more = rights.iter().chain(&metadata);
            rest.extend(more.map(|one| (mailbox.clone(), one.clone())));
        }
        let status = is_told && list.return_status.is_some();
        first.push_back((mailbox, if status { Rest::Status(line) } else { Rest::Line(line) }));
    }
    first.append(&mut rest);
    first
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
    let whole = |pattern: &String| Wanted::new(&format!("{}{pattern}", list.reference));
    let patterns: Vec<Wanted> = list.patterns.iter().map(whole).collect();
    let fits = |name: &str| patterns.iter().any(|pattern| pattern.fits(name));
    let ends_with_level = |pattern: &String| match pattern.is_empty() {
        true => list.reference.ends_with('%'),
        false => pattern.ends_with('%'),
    };
    let recursive = list.recursive_match || list.patterns.iter().any(ends_with_level);
    let selected = |line: &Line| {
        (!list.only_subscribed || line.subscribed)
            && (!list.only_special_use || line.special_use.is_some())
            && (line.exists || list.only_subscribed)
    };
    let (parents, apart) = match list.only_subscribed && recursive {
        true => above(&known, &selected, &fits),
        false => Default::default(),
    };
    let mut found: Vec<(MailboxName, Line)> = Vec::new();
    for (name, mut line) in known {
        if !fits(name.as_str()) {
            continue;
        }
        line.child_info = list.recursive_match && parents.contains(&name);
        line.is_meant = selected(&line);
        // RFC 3501 6.3.9: LSUB with % names the parent of a subscribed mailbox too. A level that
        // exists only through what is below it is listed as \NonExistent (RFC 9051 6.3.9).
        let implied = !list.only_subscribed && !list.only_special_use && line.has_children;
        let is_parent = apart.contains(&name) && (list.recursive_match || !list.extended);
        if line.is_meant || implied || is_parent {
            found.push((name, line));
        }
    }
    found.sort_by_key(|(name, _)| !name.is_inbox());
    found
}

/// The names above those that are asked for, and which of them stand above one that no pattern
/// names: RFC 9051 6.3.9.6 lists a parent for its own sake, or for what is not listed.
fn above(
    known: &BTreeMap<MailboxName, Line>,
    selected: &impl Fn(&Line) -> bool,
    fits: &impl Fn(&str) -> bool,
) -> (BTreeSet<MailboxName>, BTreeSet<MailboxName>) {
    let (mut parents, mut apart) = (BTreeSet::new(), BTreeSet::new());
    for (name, _) in known.iter().filter(|(_, line)| selected(line)) {
        parents.extend(name.ancestors());
        if !fits(name.as_str()) {
            apart.extend(name.ancestors());
        }
    }
    (parents, apart)
}

/// A pattern, and what it is where its first level is the INBOX: that fits in any case (RFC 9051
/// 5.1).
struct Wanted {
    pattern: Pattern,
    of_inbox: Option<Pattern>,
}

impl Wanted {
    fn new(pattern: &str) -> Self {
        let (top, rest) = pattern.split_at_checked(5).unwrap_or_default();
        let is_inbox = top.eq_ignore_ascii_case("INBOX") && top != "INBOX";
        let of_inbox = is_inbox.then(|| Pattern::new(&format!("INBOX{rest}")));
        Self { pattern: Pattern::new(pattern), of_inbox }
    }

    fn fits(&self, name: &str) -> bool {
        let in_inbox =
            || name.strip_prefix("INBOX").is_some_and(|rest| !rest.starts_with(|c| c != SEPARATOR));
        self.pattern.fits(name)
            || self.of_inbox.as_ref().is_some_and(|pattern| in_inbox() && pattern.fits(name))
    }
}
