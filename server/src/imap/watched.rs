//! Mailboxes that a session is told of besides the selected one (NOTIFY, RFC 5465).
//!
//! Invariants: a mailbox is watched before it is read, so that no change is missed; no more are
//! watched than `limits.imap_notify_mailboxes_max`; of annotations a hash is remembered, not the
//! value.
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
use crate::store::failure::Failure;
use crate::store::messages::MailboxRow;

/// What a session is told of.
pub(super) struct Watched {
    account: u64,
    sources: Vec<Source>,
    /// Names and subscriptions, and annotations if those are told.
    of_account: Vec<Watch>,
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
        account: u64,
        sources: Vec<Source>,
        annotations: bool,
    ) -> Result<Self, Failure> {
        let mut of_account = mailboxes.watch_names(account);
        let mut noted = None;
        if annotations {
            of_account.push(mailboxes.watch_metadata(account));
            noted = Some(notes(mailboxes, account)?);
        }
        Ok(Self { account, sources, of_account, mailboxes: HashMap::new(), noted })
    }

    /// Whether anything changed; else the task is woken when it does.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut changed = false;
        for watch in self.of_account.iter_mut().chain(self.mailboxes.values_mut()) {
            changed |= is_changed(watch, context);
        }
        if changed { Poll::Ready(()) } else { Poll::Pending }
    }

    /// What is watched, as it is now. At most `most` mailboxes may be.
    pub(super) fn figures(&mut self, mailboxes: &Mailboxes, most: u64) -> Result<Figures, Failure> {
        for watch in self.of_account.iter_mut().chain(self.mailboxes.values_mut()) {
            watch.take();
        }
        let mut all = listed(mailboxes, self.account)?;
        if self.cover(mailboxes, &all, most)? {
            // Something may have happened before they were watched.
            all = listed(mailboxes, self.account)?;
        }
        let annotated = self.annotated(mailboxes, &all)?;
        let figures = all.into_iter().map(|(listed, row)| {
            let status: Option<Status> = row.as_ref().map(translate::status);
            (listed, status)
        });
        Ok(Figures { mailboxes: figures.collect(), annotated })
    }

    /// Watches what is to be watched, and that alone. True: some are new.
    fn cover(
        &mut self,
        mailboxes: &Mailboxes,
        all: &[(Listed, Option<MailboxRow>)],
        most: u64,
    ) -> Result<bool, Failure> {
        let covered = |listed: &Listed| self.sources.iter().any(|one| one.covers(listed, None));
        let covered = all.iter().filter(|(listed, _)| covered(listed));
        let wanted: BTreeSet<u64> =
            covered.filter_map(|(_, row)| row.as_ref()).map(|row| row.id).collect();
        if wanted.len() as u64 > most {
            return Err(TOO_MANY);
        }
        self.mailboxes.retain(|id, _| wanted.contains(id));
        let before = self.mailboxes.len();
        for id in wanted {
            self.mailboxes.entry(id).or_insert_with(|| mailboxes.watch(id));
        }
        Ok(self.mailboxes.len() > before)
    }

    /// Annotations that changed since the last time.
    fn annotated(
        &mut self,
        mailboxes: &Mailboxes,
        all: &[(Listed, Option<MailboxRow>)],
    ) -> Result<Vec<(Option<MailboxName>, Entry)>, Failure> {
        let Some(before) = &mut self.noted else { return Ok(Vec::new()) };
        let now = notes(mailboxes, self.account)?;
        let keys: BTreeSet<&(u64, String)> = now.keys().chain(before.keys()).collect();
        let changed = keys.into_iter().filter(|key| now.get(*key) != before.get(*key));
        let told = changed.filter_map(|(mailbox, entry)| {
            let entry = Entry::parse(entry)?;
            if *mailbox == 0 {
                return Some((None, entry));
            }
            let is_it = |row: &MailboxRow| row.id == *mailbox;
            let found = all.iter().find(|(_, row)| row.as_ref().is_some_and(is_it));
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

/// Every mailbox and every subscription.
fn listed(
    mailboxes: &Mailboxes,
    account: u64,
) -> Result<Vec<(Listed, Option<MailboxRow>)>, Failure> {
    let mut subscribed: BTreeSet<String> = mailboxes.subscriptions(account)?.into_iter().collect();
    let mut all = Vec::new();
    for row in mailboxes.list(account)? {
        let Ok(name) = MailboxName::parse(&row.name) else { continue };
        let subscribed = subscribed.remove(&row.name);
        let special_use = translate::listed_use(row.special_use);
        all.push((Listed { name, exists: true, subscribed, special_use }, Some(row)));
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
