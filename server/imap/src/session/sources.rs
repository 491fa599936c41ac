//! Which mailboxes ESEARCH searches (RFC 7377 2.2).
//!
//! Invariant: each mailbox stands once in the list, in the order of names.
//! Not here: searching them (`search`).

use std::collections::VecDeque;

use crate::command::{Source, SpecialUse};
use crate::machine::Listed;
use crate::name::{MailboxName, SEPARATOR};

/// The mailboxes that the sources name, beside those among `listed` the ones that are named
/// themselves: they are searched without "l", too. Which of them are there, the search finds out.
pub(super) fn resolve(
    sources: &[Source],
    listed: &[Listed],
    selected: Option<&MailboxName>,
) -> VecDeque<MailboxName> {
    let is_named = |one: &&Listed| sources.iter().any(|source| source.covers(one, selected));
    let found = listed.iter().filter(|one| one.exists).filter(is_named).map(|one| &one.name);
    let by_name = sources.iter().flat_map(|source| match source {
        Source::Selected => selected.map(std::slice::from_ref).unwrap_or_default(),
        Source::Mailboxes(names) => names,
        _ => &[],
    });
    let mut names: Vec<&MailboxName> = found.chain(by_name).collect();
    names.sort();
    names.dedup();
    names.into_iter().cloned().collect()
}

impl Source {
    /// Whether it names this mailbox.
    pub fn covers(&self, listed: &Listed, selected: Option<&MailboxName>) -> bool {
        let name = &listed.name;
        match self {
            Self::Selected => selected == Some(name),
            // RFC 5465 6.3: those that messages may be delivered to.
            Self::Inboxes => name.is_inbox() || listed.special_use == Some(SpecialUse::Junk),
            Self::Personal => name.is_personal(),
            Self::Subscribed => listed.subscribed,
            Self::Mailboxes(names) => names.contains(name),
            Self::Subtree(tops) => tops.iter().any(|top| name == top || name.is_below(top)),
            Self::SubtreeOne(tops) => tops.iter().any(|top| {
                let depth = |name: &MailboxName| name.as_str().split(SEPARATOR).count();
                name == top || (name.is_below(top) && depth(name) == depth(top) + 1)
            }),
        }
    }
}
