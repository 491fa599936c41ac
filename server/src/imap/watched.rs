//! Mailboxes that a session is told of besides the selected one (NOTIFY, RFC 5465).
//!
//! ```text
//!   one's own names, subscriptions   rights given to one   names of owners who share   mailboxes
//!            └────────────────────────────┴───── any of them rings ──┴─────────────────────┘
//! ```
//! Invariants: a mailbox is watched before it is read, so that no change is missed; no more are
//! watched than `limits.imap_notify_mailboxes_max`; what one may not look up is not there; of
//! annotations a hash is remembered, not the value.
//! Not here: what is told of them (`grace_imap`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::pin;
use std::task::{Context, Poll};

use gracedb::watch::Watch;

use grace_imap::command::Source;
use grace_imap::machine::{Figures, Listed, Status};
use grace_imap::metadata::Entry;
use grace_imap::name::MailboxName;

use super::translate;
use crate::mailbox::Mailboxes;
use crate::mailbox::rights::Who;
use crate::store::failure::Failure;
use crate::store::messages::MailboxRow;

/// What a session is told of.
pub(super) struct Watched {
    who: Who,
    sources: Vec<Source>,
    /// Names and subscriptions, rights on mailboxes, and annotations if those are told.
    of_account: Vec<Watch>,
    /// Names of the mailboxes of others, by their owners.
    of_owners: HashMap<u64, Vec<Watch>>,
    mailboxes: HashMap<u64, Watch>,
    /// Annotations as they were when somebody last looked, by mailbox and entry.
    noted: Option<Notes>,
}

/// Hashes of annotations.
type Notes = BTreeMap<(u64, String), u64>;

/// What there is to be told.
const TOO_MANY: Failure = Failure::Limit("limits.imap_notify_mailboxes_max is reached");

impl Watched {
    /// Begins to watch.
    pub(super) fn new(
        mailboxes: &Mailboxes,
        who: Who,
        sources: Vec<Source>,
        annotations: bool,
    ) -> Result<Self, Failure> {
        let mut of_account = mailboxes.watch_names(who.account);
        of_account.extend(mailboxes.watch_shares());
        let mut noted = None;
        if annotations {
            of_account.push(mailboxes.watch_metadata(who.account));
            noted = Some(notes(mailboxes, who.account)?);
        }
        let (of_owners, mailboxes) = (HashMap::new(), HashMap::new());
        Ok(Self { who, sources, of_account, of_owners, mailboxes, noted })
    }

    fn watches(&mut self) -> impl Iterator<Item = &mut Watch> {
        let others = self.of_owners.values_mut().flatten();
        self.of_account.iter_mut().chain(others).chain(self.mailboxes.values_mut())
    }

    /// Whether anything changed; else the task is woken when it does.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut changed = false;
        for watch in self.watches() {
            changed |= is_changed(watch, context);
        }
        if changed { Poll::Ready(()) } else { Poll::Pending }
    }

    /// What is watched, as it is now. At most `most` mailboxes may be.
    pub(super) fn figures(&mut self, mailboxes: &Mailboxes, most: u64) -> Result<Figures, Failure> {
        for watch in self.watches() {
            watch.take();
        }
        let mut all = listed(mailboxes, &self.who)?;
        if self.cover(mailboxes, &all, most)? {
            // Something may have happened before they were watched.
            all = listed(mailboxes, &self.who)?;
        }
        let annotated = self.annotated(mailboxes, &all)?;
        let figures = all.into_iter().map(|(listed, seen)| {
            let open = seen.filter(|seen| seen.may_read);
            let status: Option<Status> = open.map(|seen| translate::status(&seen.row));
            (listed, status)
        });
        Ok(Figures { mailboxes: figures.collect(), annotated })
    }

    /// Watches what is to be watched, and that alone. True: some are new.
    fn cover(
        &mut self,
        mailboxes: &Mailboxes,
        all: &[(Listed, Option<Seen>)],
        most: u64,
    ) -> Result<bool, Failure> {
        let covered = |listed: &Listed| self.sources.iter().any(|one| one.covers(listed, None));
        let covered = all.iter().filter(|(listed, _)| covered(listed));
        let wanted: BTreeMap<u64, u64> = covered
            .filter_map(|(_, seen)| seen.as_ref())
            .map(|seen| (seen.row.id, seen.row.account))
            .collect();
        if wanted.len() as u64 > most {
            return Err(TOO_MANY);
        }
        let me = self.who.account;
        let owners: BTreeSet<u64> = wanted.values().copied().filter(|one| *one != me).collect();
        self.mailboxes.retain(|id, _| wanted.contains_key(id));
        self.of_owners.retain(|owner, _| owners.contains(owner));
        let counts = |all: &Self| (all.mailboxes.len(), all.of_owners.len());
        let before = counts(self);
        for id in wanted.into_keys() {
            self.mailboxes.entry(id).or_insert_with(|| mailboxes.watch(id));
        }
        for owner in owners {
            self.of_owners.entry(owner).or_insert_with(|| mailboxes.watch_names(owner));
        }
        Ok(counts(self) != before)
    }

    /// Annotations that changed since the last time.
    fn annotated(
        &mut self,
        mailboxes: &Mailboxes,
        all: &[(Listed, Option<Seen>)],
    ) -> Result<Vec<(Option<MailboxName>, Entry)>, Failure> {
        let Some(before) = &mut self.noted else { return Ok(Vec::new()) };
        let now = notes(mailboxes, self.who.account)?;
        let keys: BTreeSet<&(u64, String)> = now.keys().chain(before.keys()).collect();
        let changed = keys.into_iter().filter(|key| now.get(*key) != before.get(*key));
        let told = changed.filter_map(|(mailbox, entry)| {
            let entry = Entry::parse(entry)?;
            if *mailbox == 0 {
                return Some((None, entry));
            }
            let is_it = |seen: &Seen| seen.row.id == *mailbox;
            let found = all.iter().find(|(_, seen)| seen.as_ref().is_some_and(is_it));
            Some((Some(found?.0.name.clone()), entry))
        });
        let told = told.collect();
        *before = now;
        Ok(told)
    }
}

/// Whether a watch rang; else the task is woken when it does.
pub(super) fn is_changed(watch: &mut Watch, context: &mut Context<'_>) -> bool {
    matches!(pin!(watch.changed()).poll(context), Poll::Ready(Some(_)))
}

/// A mailbox that one may look up.
struct Seen {
    row: MailboxRow,
    may_read: bool,
}

/// Every mailbox that one may look up, and every subscription.
fn listed(mailboxes: &Mailboxes, who: &Who) -> Result<Vec<(Listed, Option<Seen>)>, Failure> {
    let account = who.account;
    let mut subscribed: BTreeSet<String> = mailboxes.subscriptions(account)?.into_iter().collect();
    let mut all = Vec::new();
    let closed = mailboxes.closed(who)?;
    for row in mailboxes.list(account)? {
        let Ok(name) = MailboxName::parse(&row.name) else { continue };
        let subscribed = subscribed.remove(&row.name);
        let special_use = translate::listed_use(row.special_use);
        let seen = Seen { may_read: !closed.contains(&row.id), row };
        all.push((Listed { name, exists: true, subscribed, special_use }, Some(seen)));
    }
    for (name, known) in mailboxes.shared(who)? {
        let subscribed = subscribed.remove(&name);
        let Ok(name) = MailboxName::parse(&name) else { continue };
        let seen = Seen { may_read: known.rights.has(b'r'), row: known.mailbox };
        all.push((Listed { name, exists: true, subscribed, special_use: None }, Some(seen)));
    }
    for name in subscribed {
        let Ok(name) = MailboxName::parse(&name) else { continue };
        let listed = Listed { name, exists: false, subscribed: true, special_use: None };
        all.push((listed, None));
    }
    Ok(all)
}

fn notes(mailboxes: &Mailboxes, account: u64) -> Result<Notes, Failure> {
    let all = mailboxes.metadata_of_all(account)?;
    let hashed = all.into_iter().map(|(mailbox, entry, value)| {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        ((mailbox, entry), hasher.finish())
    });
    Ok(hashed.collect())
}
