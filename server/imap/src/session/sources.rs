//! Which mailboxes ESEARCH searches (RFC 7377 2.2).
//!
//! Invariant: each mailbox stands once in the list, in the order of names; the selected one that is
//! called otherwise by now stands in front.
//! Not here: searching them (`search`).

use std::collections::VecDeque;

use crate::command::{Source, SpecialUse};
use crate::machine::Listed;
use crate::name::{MailboxName, SEPARATOR};

/// The mailboxes among `listed` that the sources name. Those that do not exist are passed over.
pub(super) fn resolve(
    sources: &[Source],
    listed: &[Listed],
    selected: Option<&MailboxName>,
) -> VecDeque<MailboxName> {
    let mut names: Vec<&Listed> = listed.iter().filter(|listed| listed.exists).collect();
    names.sort_by(|one, other| one.name.cmp(&other.name));
    names.dedup_by(|one, other| one.name == other.name);
    let is_named = |listed: &&Listed| sources.iter().any(|one| one.covers(listed, selected));
    let named = names.into_iter().filter(is_named).map(|listed| listed.name.clone());
    let mut named: VecDeque<MailboxName> = named.collect();
    // Somebody else gave it another name: it is the selected one all the same.
    if let Some(selected) = selected
        && sources.contains(&Source::Selected)
        && !named.contains(selected)
    {
        named.push_front(selected.clone());
    }
    named
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
