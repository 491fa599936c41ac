//! Changing messages: flags, copies, moves.
//!
//! Invariants: all changes of one transaction carry one mod-sequence; a copy shares the bytes of
//! what it is a copy of.
//! Not here: removal (`expunge`), how much one transaction takes (`batch`), who may (`rights`).

use gracedb::view::View;
use gracedb::write::WriteTx;

use super::Mailboxes;
use super::append::{admit, check_keywords};
use super::batch::Listed;
use super::expunge::{Expunged, Removal};
use super::{facts, threads};
use crate::store::failure::Failure;
use crate::store::messages::{FirstPlace, MailboxRow, MessageRow, Origin, flag};
use crate::store::quota::Ledger;
use crate::store::seed;
use crate::store::shares::owner_name;
use crate::store::threads::note_gone;

/// So few messages are looked at before a writer is asked for: what a person opens.
const FEW: usize = 100;

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

/// Flags that somebody may change (RFC 4314 4): each of them is his to change, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlagMask {
    /// System flags, as bits of [`flag`].
    pub flags: u8,
    /// Keywords.
    pub keywords: bool,
}

impl FlagMask {
    /// All flags.
    pub const ALL: Self = Self { flags: u8::MAX, keywords: true };
    /// No flags.
    pub const NONE: Self = Self { flags: 0, keywords: false };
}

/// Where copies go, and which flags of theirs go with them.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The mailbox.
    pub mailbox: u64,
    /// Flags that are kept.
    pub keeps: FlagMask,
}

impl From<u64> for Target {
    fn from(mailbox: u64) -> Self {
        Self { mailbox, keeps: FlagMask::ALL }
    }
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
    /// Leave other flags alone.
    pub within: FlagMask,
}

/// What a copy or move did (RFC 4315 3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// UIDVALIDITY of the mailbox the messages are in now.
    pub uid_validity: u32,
    /// UIDs there, old and new, in the old order.
    pub uids: Vec<(u32, u32)>,
}

impl Copied {
    fn add(&mut self, more: Self) {
        self.uid_validity = more.uid_validity;
        self.uids.extend(more.uids);
    }
}

impl Mailboxes {
    /// Changes flags of the messages among `uids` that exist. Returns the UIDs that were left alone
    /// because of [`FlagChange::unchanged_since`].
    ///
    /// # Errors
    /// The mailbox is gone, too many keywords, or the database failed; of very many messages some
    /// may be changed.
    pub async fn store_flags(
        &self,
        mailbox: u64,
        uids: &[u32],
        change: &FlagChange,
    ) -> Result<Vec<u32>, Failure> {
        if self.changes_nothing(mailbox, uids, change)? {
            return Ok(Vec::new());
        }
        let growth_bytes = change.keywords.iter().map(String::len).sum();
        let mut left = Vec::new();
        self.in_batches(
            (mailbox, uids),
            growth_bytes,
            |tx, listed, _| store_some(tx, mailbox, listed, change),
            |alone| left.extend(alone),
        )
        .await?;
        Ok(left)
    }

    /// Whether these messages, if they are few, have every flag that is to be added: what is read
    /// again and again has `\\Seen`, and nobody is to wait for a writer because of it.
    fn changes_nothing(
        &self,
        mailbox: u64,
        uids: &[u32],
        change: &FlagChange,
    ) -> Result<bool, Failure> {
        let is_plain = change.verb == FlagVerb::Add
            && change.keywords.is_empty()
            && change.unchanged_since.is_none();
        let snapshot = self.db.snapshot();
        if !is_plain || uids.len() > FEW || !snapshot.contains::<MailboxRow>(&mailbox)? {
            return Ok(false);
        }
        let added = change.flags & change.within.flags;
        for uid in uids {
            let message = snapshot.get::<MessageRow>(&(mailbox, *uid))?;
            if message.is_some_and(|message| message.flags & added != added) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Copies the messages among `uids` that exist, flags and dates kept, bytes shared.
    ///
    /// # Errors
    /// One of the mailboxes is gone, the owner full, or the database failed; nothing was copied.
    /// Only if it fails amid very many messages and cannot take them back either, some stay.
    pub async fn copy(
        &self,
        from: u64,
        uids: &[u32],
        to: impl Into<Target>,
    ) -> Result<Copied, Failure> {
        let to = to.into();
        self.settle_threads(from, uids).await?;
        let mut copied = Copied::default();
        let all = self.in_batches(
            (from, uids),
            0,
            |tx, listed, ledger| {
                let (copied, messages) = copy_some(tx, listed, from, to)?;
                count_copies(tx, ledger, to.mailbox, &messages)?;
                Ok(copied)
            },
            |some| copied.add(some),
        );
        let Err(failure) = all.await else { return Ok(copied) };
        // RFC 9051 6.4.7: "partial copy MUST NOT be done".
        let made: Vec<u32> = copied.uids.iter().map(|&(_, new)| new).collect();
        if !made.is_empty() {
            let to = to.mailbox;
            let taken_back = self.remove(to, &made, |_| true, &mut Expunged::default()).await;
            if let Err(error) = taken_back {
                tracing::error!(target: "grace", event = "CopyNotTakenBack", mailbox = to, %error);
            }
        }
        Err(failure)
    }

    /// Moves the messages among `uids` that exist (RFC 6851): each is in one of the two mailboxes
    /// at every moment. A move into the same mailbox gives new UIDs.
    ///
    /// # Errors
    /// One of the mailboxes is gone, another owner is full, or the database failed; of very many
    /// messages some may be moved (RFC 6851 3.3).
    pub async fn move_messages(
        &self,
        from: u64,
        uids: &[u32],
        to: impl Into<Target>,
    ) -> Result<Copied, Failure> {
        let to = to.into();
        self.settle_threads(from, uids).await?;
        let mut moved = Copied::default();
        self.in_batches(
            (from, uids),
            0,
            |tx, listed, ledger| {
                let (copied, messages) = copy_some(tx, listed, from, to)?;
                let mut removal = Removal::begin(tx, from)?;
                for message in &messages {
                    removal.take(tx, message, message.uid)?;
                }
                note_left(tx, from, to.mailbox)?;
                // With one owner that is nothing: who is full may put things away.
                removal.end_counted(tx, ledger)?;
                count_copies(tx, ledger, to.mailbox, &messages)?;
                Ok(copied)
            },
            |some| moved.add(some),
        )
        .await?;
        Ok(moved)
    }
}

impl FlagChange {
    /// Applies the change to one message.
    fn apply(&self, message: &mut MessageRow) -> Result<(), Failure> {
        // RFC 9051 2.3.2: keywords are case-insensitive.
        let has = |list: &[String], word: &str| list.iter().any(|k| k.eq_ignore_ascii_case(word));
        let FlagMask { flags: mask, keywords } = self.within;
        let keywords: &[String] = if keywords { &self.keywords } else { &[] };
        match self.verb {
            FlagVerb::Replace => {
                message.flags = (message.flags & !mask) | (self.flags & mask);
                if self.within.keywords {
                    message.keywords.clone_from(&self.keywords);
                }
            }
            FlagVerb::Add => {
                message.flags |= self.flags & mask;
                for keyword in keywords {
                    if !has(&message.keywords, keyword) {
                        message.keywords.push(keyword.clone());
                    }
                }
            }
            FlagVerb::Remove => {
                message.flags &= !(self.flags & mask);
                message.keywords.retain(|keyword| !has(keywords, keyword));
            }
        }
        check_keywords(&message.keywords)
    }
}

pub(super) fn get_mailbox(tx: &WriteTx<'_>, id: u64) -> Result<MailboxRow, Failure> {
    tx.get::<MailboxRow>(&id)?.ok_or(Failure::NoSuchMailbox)
}

/// Keeps a mailbox's counts when a message's flags change.
pub(super) fn count_flags(mailbox: &mut MailboxRow, before: u8, after: u8) {
    let step = |count: &mut u32, was: bool, is: bool| match (was, is) {
        (false, true) => *count = count.saturating_add(1),
        (true, false) => *count = count.saturating_sub(1),
        _ => {}
    };
    step(&mut mailbox.unseen, before & flag::SEEN == 0, after & flag::SEEN == 0);
    step(&mut mailbox.deleted, before & flag::DELETED != 0, after & flag::DELETED != 0);
}

/// Changes flags within a transaction; returns the UIDs that were left alone.
fn store_some(
    tx: &mut WriteTx<'_>,
    mailbox: u64,
    listed: &mut Listed<'_>,
    change: &FlagChange,
) -> Result<Vec<u32>, Failure> {
    let mut row = get_mailbox(tx, mailbox)?;
    let modseq = row.modseq + 1;
    let mut left = Vec::new();
    while let Some(before) = listed.next(tx)? {
        if change.unchanged_since.is_some_and(|since| before.modseq > since) {
            left.push(before.uid);
            continue;
        }
        let mut message = before.clone();
        change.apply(&mut message)?;
        if message == before {
            continue;
        }
        message.modseq = modseq;
        count_flags(&mut row, before.flags, message.flags);
        tx.put(&message)?;
        row.modseq = modseq;
    }
    if row.modseq == modseq {
        tx.put(&row)?;
    }
    Ok(left)
}

/// Where a message of a mailbox first stood.
pub(super) fn first_place(
    view: &impl View,
    mailbox: &MailboxRow,
    uid: u32,
) -> Result<FirstPlace, Failure> {
    let origin = view.get::<Origin>(&(mailbox.id, uid))?;
    let here = FirstPlace { mailbox: mailbox.id, uid_validity: mailbox.uid_validity, uid };
    Ok(origin.map_or(here, |origin| origin.first))
}

/// Copies within a transaction; also returns what the copies were made of.
fn copy_some(
    tx: &mut WriteTx<'_>,
    listed: &mut Listed<'_>,
    from: u64,
    to: Target,
) -> Result<(Copied, Vec<MessageRow>), Failure> {
    let Target { mailbox: to, keeps } = to;
    let mut target = get_mailbox(tx, to)?;
    let source = get_mailbox(tx, from)?;
    let (modseq, saved_s) = (target.modseq + 1, seed::now_s());
    let mut copied = Copied { uid_validity: target.uid_validity, uids: Vec::new() };
    let mut messages = Vec::new();
    while let Some(message) = listed.next(tx)? {
        let uid = target.uid_next;
        let mut copy = MessageRow { mailbox: to, uid, modseq, ..message.clone() };
        copy.flags &= keeps.flags;
        if !keeps.keywords {
            copy.keywords.clear();
        }
        admit(tx, &mut target, &copy)?;
        let first = first_place(tx, &source, message.uid)?;
        tx.put(&Origin { mailbox: to, uid, saved_s, first })?;
        listed.add_bytes(facts::copy(tx, (from, message.uid), (to, uid))?);
        listed.add_bytes(threads::copy(tx, (&source, &message), (&target, uid))?);
        copied.uids.push((message.uid, uid));
        messages.push(message);
    }
    if !messages.is_empty() {
        tx.put(&target)?;
    }
    Ok((copied, messages))
}

/// Notes that messages left an account, if those that went from one mailbox to another did.
fn note_left(tx: &mut WriteTx<'_>, from: u64, to: u64) -> Result<(), Failure> {
    let (from, to) = (get_mailbox(tx, from)?.account, get_mailbox(tx, to)?.account);
    if from != to {
        note_gone(tx, from, seed::now_s())?;
    }
    Ok(())
}

/// Counts copies for the owner of the mailbox that they are in.
fn count_copies(
    tx: &WriteTx<'_>,
    ledger: &mut Ledger,
    to: u64,
    messages: &[MessageRow],
) -> Result<(), Failure> {
    if let Some(owner) = owner_name(tx, get_mailbox(tx, to)?.account)? {
        let bytes = messages.iter().map(MessageRow::size).sum();
        ledger.comes(&owner, messages.len() as u64, bytes);
    }
    Ok(())
}
