//! What the one who is logged in may do: the rights each request needs (RFC 4314 4).
//!
//! ```text
//!   STATUS, SELECT  r    COPY, APPEND  i    EXPUNGE  e    DELETE  x    GETACL, SETACL  a
//!   STORE  s for \Seen, t for \Deleted, w for all others    MOVE  t and e, and i there
//! ```
//! Invariants: rights are those of now: the database tells when those on the selected mailbox have
//! changed, all others are read for each request; who may not read the selected mailbox any more is
//! told that it is gone.
//! Not here: what rights there are on a mailbox (`mailbox::rights`).

use std::task::Context;

use gracedb::watch::Watch;

use grace_imap::flags::{Flags, SystemFlag};
use grace_imap::rights::Rights;

use super::watched::is_changed;
use crate::mailbox::Mailboxes;
use crate::mailbox::change::FlagMask;
use crate::mailbox::rights::{Known, Who};
use crate::store::failure::Failure;
use crate::store::messages::flag;

/// What may be done with the selected mailbox.
pub(super) struct May {
    mailbox: u64,
    owner: u64,
    rights: Rights,
    /// They may be others by now.
    stale: bool,
    /// They differ from what the client was told.
    untold: bool,
    changes: Vec<Watch>,
}

impl May {
    /// Begins to look after the rights on a mailbox that is being selected; the watches are older
    /// than what is known.
    pub(super) fn new(known: &Known, changes: Vec<Watch>) -> Self {
        let Known { mailbox, rights } = known;
        let (mailbox, owner, rights) = (mailbox.id, mailbox.account, *rights);
        Self { mailbox, owner, rights, stale: false, untold: false, changes }
    }

    /// Whose quota its messages count to.
    pub(super) fn owner(&self) -> u64 {
        self.owner
    }

    /// Whether rights on it changed; else the task is woken when they do.
    pub(super) fn is_changed(&mut self, context: &mut Context<'_>) -> bool {
        let mut changed = false;
        for watch in &mut self.changes {
            changed |= is_changed(watch, context);
        }
        self.stale |= changed;
        changed
    }

    /// The mailbox, if it may still be read, and the rights on it.
    pub(super) fn now(
        &mut self,
        mailboxes: &Mailboxes,
        who: impl FnOnce() -> Result<Who, Failure>,
    ) -> Result<(u64, Rights), Failure> {
        for watch in &mut self.changes {
            self.stale |= watch.take();
        }
        if self.stale {
            let rights = mailboxes.rights(&who()?, self.mailbox)?;
            self.untold |= rights != self.rights;
            (self.rights, self.stale) = (rights, false);
        }
        match self.rights.has(b'r') {
            true => Ok((self.mailbox, self.rights)),
            false => Err(Failure::NoSuchMailbox),
        }
    }

    /// The rights, if the client does not know them yet.
    pub(super) fn news(&mut self) -> Option<Rights> {
        std::mem::take(&mut self.untold).then_some(self.rights)
    }
}

/// Which flags may be changed.
pub(super) fn mask(rights: Rights) -> FlagMask {
    let bit = |right: u8, bit: u8| if rights.has(right) { bit } else { 0 };
    let others = !(flag::SEEN | flag::DELETED);
    FlagMask {
        flags: bit(b's', flag::SEEN) | bit(b't', flag::DELETED) | bit(b'w', others),
        keywords: rights.has(b'w'),
    }
}

/// Whether flags are among those that may be changed: all of them, some or none.
pub(super) fn share(flags: &Flags, replaces: bool, may: FlagMask) -> Share {
    let has_keywords = replaces || !flags.keywords().is_empty();
    let named = if replaces { every_flag() } else { flags.system_bits() };
    let all = named & !may.flags == 0 && (may.keywords || !has_keywords);
    let some = named & may.flags != 0 || (may.keywords && has_keywords);
    match (all, some) {
        (true, _) => Share::All,
        (false, true) => Share::Some,
        (false, false) => Share::None,
    }
}

fn every_flag() -> u8 {
    SystemFlag::ALL.iter().fold(0, |bits, flag| bits | flag.bit())
}

/// How many of some flags may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    All,
    Some,
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_for_flags() {
        let check = |rights: &str, names: (u8, &[&str]), replaces: bool, want: Share| {
            let may = mask(Rights::parse(rights).expect("rights"));
            let flags = Flags::from_parts(names.0, names.1.iter().copied());
            assert_eq!(share(&flags, replaces, may), want, "{rights} {names:?} {replaces}");
        };
        let none: &[&str] = &[];
        check("lrs", (flag::SEEN, none), false, Share::All);
        check("lrs", (flag::DELETED, none), false, Share::None);
        check("lrs", (flag::SEEN | flag::DELETED, none), false, Share::Some);
        check("lrt", (flag::DELETED, none), false, Share::All);
        check("lrt", (flag::FLAGGED, none), false, Share::None);
        check("lrw", (flag::FLAGGED | flag::ANSWERED | flag::DRAFT, &["$Work"]), false, Share::All);
        check("lrw", (flag::SEEN, none), false, Share::None);
        check("lrs", (0, &["$Work"]), false, Share::None);
        check("lrs", (flag::SEEN, &["$Work"]), false, Share::Some);
        // FLAGS takes away what it does not name, too.
        check("lrs", (flag::SEEN, none), true, Share::Some);
        check("lrswt", (0, none), true, Share::All);
        check("lr", (0, none), true, Share::None);
        check("lr", (0, none), false, Share::All);
    }
}
