//! Changing messages: flags, copies, moves, removal.
//!
//! Invariants: all changes of one command carry one mod-sequence; a message that is removed leaves
//! a `vanished` row; a body goes with its last message.

use gracedb::write::WriteTx;

use grace_ipc::event::{EventKind, TraceId};

use super::Mailboxes;
use super::append::{admit, check_keywords};
use crate::store::accounts::Account;
use crate::store::failure::Failure;
use crate::store::messages::{Body, MailboxRow, MessageRow, Vanished, flag};
use crate::store::removal::unrefer;

/// How flags are changed (RFC 9051 6.4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagVerb {
    /// `FLAGS`
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

/// A change of flags.
#[derive(Debug, Clone)]
pub struct FlagChange {
    /// What to do with the flags below.
    pub verb: FlagVerb,
    /// System flags, as bits of [`flag`].
    pub flags: u8,
    /// Keywords.
    pub keywords: Vec<String>,
    /// Leave messages alone that changed after this mod-sequence (RFC 7162 3.1.3).
    pub unchanged_since: Option<u64>,
}

/// What a copy or move did (RFC 4315 3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// UIDVALIDITY of the mailbox the messages are in now.
    pub uid_validity: u32,
    /// UIDs there, old and new, in the old order.
    pub uids: Vec<(u32, u32)>,
}

impl Mailboxes {
    /// Changes flags of the messages among `uids` that exist. Returns the UIDs that were left alone
    /// because of [`FlagChange::unchanged_since`].
    ///
    /// # Errors
    /// The mailbox is gone, too many keywords, or the database failed; nothing changed.
    pub async fn store_flags(
        &self,
        mailbox: u64,
        uids: &[u32],
        change: &FlagChange,
    ) -> Result<Vec<u32>, Failure> {
        let (left, changed, modseq) = self
            .db
            .write(|tx| {
                let mut row = get_mailbox(tx, mailbox)?;
                let modseq = row.modseq + 1;
                let (mut left, mut changed) = (Vec::new(), false);
                for &uid in uids {
                    let Some(mut message) = tx.get::<MessageRow>(&(mailbox, uid))? else {
                        continue;
                    };
                    if change.unchanged_since.is_some_and(|since| message.modseq > since) {
                        left.push(uid);
                        continue;
                    }
                    let before = message.clone();
                    change.apply(&mut message)?;
                    if message == before {
                        continue;
                    }
                    message.modseq = modseq;
                    count_flags(&mut row, before.flags, message.flags);
                    tx.put(&message)?;
                    changed = true;
                }
                if changed {
                    row.modseq = modseq;
                    tx.put(&row)?;
                }
                Ok::<_, Failure>((left, changed, modseq))
            })?
            .await?;
        if changed {
            self.wakers.wake(mailbox, modseq);
        }
        Ok(left)
    }

    /// Copies the messages among `uids` that exist, flags and dates kept, bodies shared.
    ///
    /// # Errors
    /// One of the mailboxes is gone, or the database failed; nothing was copied.
    pub async fn copy(&self, from: u64, uids: &[u32], to: u64) -> Result<Copied, Failure> {
        let (copied, modseq) = self
            .db
            .write(|tx| {
                get_mailbox(tx, from)?;
                copy(tx, from, uids, to)
            })?
            .await?;
        self.wakers.wake(to, modseq);
        Ok(copied)
    }

    /// Moves the messages among `uids` that exist (RFC 6851): each is in one of the two mailboxes
    /// at every moment. A move into the same mailbox gives new UIDs.
    ///
    /// # Errors
    /// One of the mailboxes is gone, or the database failed; nothing was moved.
    pub async fn move_messages(&self, from: u64, uids: &[u32], to: u64) -> Result<Copied, Failure> {
        let (copied, modseqs) = self
            .db
            .write(|tx| {
                let (copied, to_modseq) = copy(tx, from, uids, to)?;
                let gone: Vec<u32> = copied.uids.iter().map(|&(old, _)| old).collect();
                let (_, from_modseq) = remove(tx, from, &gone)?;
                Ok::<_, Failure>((copied, (from_modseq, to_modseq)))
            })?
            .await?;
        self.wakers.wake(from, modseqs.0);
        self.wakers.wake(to, modseqs.1);
        Ok(copied)
    }

    /// Removes for good the messages that have `\Deleted`; with `among`, only those of them
    /// (UID EXPUNGE, RFC 4315 2.1). Returns their UIDs, ascending.
    ///
    /// # Errors
    /// The mailbox is gone, or the database failed; nothing was removed.
    pub async fn expunge(
        &self,
        trace: TraceId,
        mailbox: u64,
        among: Option<&[u32]>,
    ) -> Result<Vec<u32>, Failure> {
        let (gone, modseq, names) = self
            .db
            .write(|tx| {
                let row = get_mailbox(tx, mailbox)?;
                let account = tx.get::<Account>(&row.account)?;
                let mut gone = Vec::new();
                match among {
                    Some(uids) => {
                        for &uid in uids {
                            let message = tx.get::<MessageRow>(&(mailbox, uid))?;
                            gone.extend(message.filter(is_deleted).map(|m| m.uid));
                        }
                    }
                    None if row.deleted == 0 => {}
                    None => {
                        for message in tx.prefix::<MessageRow>(&(mailbox,)) {
                            gone.extend(Some(message?).filter(is_deleted).map(|m| m.uid));
                        }
                    }
                }
                gone.sort_unstable();
                gone.dedup();
                let (gone, modseq) = remove(tx, mailbox, &gone)?;
                let account = account.map_or_else(String::new, |account| account.address);
                Ok::<_, Failure>((gone, modseq, (account, row.name)))
            })?
            .await?;
        if !gone.is_empty() {
            self.wakers.wake(mailbox, modseq);
            let (account, mailbox) = names;
            let count = u32::try_from(gone.len()).unwrap_or(u32::MAX);
            self.bus.emit(trace, EventKind::MessagesExpunged { account, mailbox, count });
        }
        Ok(gone)
    }
}

impl FlagChange {
    /// Applies the change to one message.
    fn apply(&self, message: &mut MessageRow) -> Result<(), Failure> {
        // RFC 9051 2.3.2: keywords are case-insensitive.
        let has = |list: &[String], word: &str| list.iter().any(|k| k.eq_ignore_ascii_case(word));
        match self.verb {
            FlagVerb::Replace => {
                message.flags = self.flags;
                message.keywords.clone_from(&self.keywords);
            }
            FlagVerb::Add => {
                message.flags |= self.flags;
                for keyword in &self.keywords {
                    if !has(&message.keywords, keyword) {
                        message.keywords.push(keyword.clone());
                    }
                }
            }
            FlagVerb::Remove => {
                message.flags &= !self.flags;
                message.keywords.retain(|keyword| !has(&self.keywords, keyword));
            }
        }
        check_keywords(&message.keywords)
    }
}

fn is_deleted(message: &MessageRow) -> bool {
    message.flags & flag::DELETED != 0
}

pub(super) fn get_mailbox(tx: &WriteTx<'_>, id: u64) -> Result<MailboxRow, Failure> {
    tx.get::<MailboxRow>(&id)?.ok_or(Failure::NoSuchMailbox)
}

/// Keeps a mailbox's counts when a message's flags change.
fn count_flags(mailbox: &mut MailboxRow, before: u8, after: u8) {
    let step = |count: &mut u32, was: bool, is: bool| match (was, is) {
        (false, true) => *count = count.saturating_add(1),
        (true, false) => *count = count.saturating_sub(1),
        _ => {}
    };
    step(&mut mailbox.unseen, before & flag::SEEN == 0, after & flag::SEEN == 0);
    step(&mut mailbox.deleted, before & flag::DELETED != 0, after & flag::DELETED != 0);
}

/// Copies within a transaction; returns what was copied and the target's mod-sequence.
fn copy(tx: &mut WriteTx<'_>, from: u64, uids: &[u32], to: u64) -> Result<(Copied, u64), Failure> {
    let mut target = get_mailbox(tx, to)?;
    let modseq = target.modseq + 1;
    let mut copied = Copied { uid_validity: target.uid_validity, uids: Vec::new() };
    for &uid in uids {
        let Some(message) = tx.get::<MessageRow>(&(from, uid))? else { continue };
        refer(tx, message.body)?;
        let message = MessageRow { mailbox: to, uid: target.uid_next, modseq, ..message };
        admit(tx, &mut target, &message)?;
        copied.uids.push((uid, message.uid));
    }
    if !copied.uids.is_empty() {
        tx.put(&target)?;
    }
    Ok((copied, target.modseq))
}

/// Removes messages within a transaction; returns those that were there, and the mod-sequence.
pub(super) fn remove(
    tx: &mut WriteTx<'_>,
    mailbox: u64,
    uids: &[u32],
) -> Result<(Vec<u32>, u64), Failure> {
    let mut row = get_mailbox(tx, mailbox)?;
    let modseq = row.modseq + 1;
    let mut gone = Vec::with_capacity(uids.len());
    for &uid in uids {
        let Some(message) = tx.get::<MessageRow>(&(mailbox, uid))? else { continue };
        tx.delete::<MessageRow>(&(mailbox, uid))?;
        tx.put(&Vanished { mailbox, modseq, uid })?;
        unrefer(tx, message.body)?;
        row.messages = row.messages.saturating_sub(1);
        row.bytes = row.bytes.saturating_sub(message.size);
        // As if both flags were lost: seen is not counted, deleted neither.
        count_flags(&mut row, message.flags, flag::SEEN);
        gone.push(uid);
    }
    if !gone.is_empty() {
        row.modseq = modseq;
        tx.put(&row)?;
    }
    Ok((gone, row.modseq))
}

/// One more message points to a body.
fn refer(tx: &mut WriteTx<'_>, body: u64) -> Result<(), Failure> {
    if let Some(mut row) = tx.get::<Body>(&body)? {
        row.references = row
            .references
            .checked_add(1)
            .ok_or(Failure::Limit("too many copies of one message"))?;
        tx.put(&row)?;
    }
    Ok(())
}
