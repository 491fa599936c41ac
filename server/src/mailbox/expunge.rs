//! Removing messages for good.
//!
//! ```text
//!   every message has \Deleted    seen in a snapshot; the mailbox's rows go as one range, at once,
//!                                 if nothing has changed since
//!   some have                     looked for in a snapshot, then removed batch by batch
//! ```
//! Invariants: a message goes only if it has `\Deleted` in the transaction that removes it; what
//! is removed leaves `vanished` rows, one for each run of neighbors; bytes go with the last row
//! that points to them (the database sees to that).
//! Not here: mailboxes that go as a whole (`store::removal`).

use std::ops::RangeInclusive;

use gracedb::view::{Rows, Snapshot, View as _};
use gracedb::write::WriteTx;

use grace_ipc::event::{EventKind, TraceId};

use super::Mailboxes;
use super::batch::Batch;
use super::change::{count_flags, get_mailbox};
use super::{facts, threads};
use crate::store::failure::Failure;
use crate::store::messages::{FactRow, MailboxRow, MessageRow, Origin, Vanished, flag};
use crate::store::quota::{Hold, Ledger};
use crate::store::seed;
use crate::store::shares::owner_name;
use crate::store::threads::{ThreadRow, note_gone};

/// Rows looked at before other tasks have their turn: some milliseconds.
const LOOKS_MAX: usize = 2_000;

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expunged {
    /// How many messages.
    pub count: u64,
    /// Their UIDs, ascending. A range may name UIDs, too, that were not in use any more.
    pub uids: Vec<RangeInclusive<u32>>,
}

/// A message that is to be removed.
#[derive(Debug, Clone, Copy)]
struct Doomed {
    uid: u32,
    /// From here up to it no UID is in use.
    free_from: u32,
}

impl Expunged {
    fn add(&mut self, more: Self) {
        self.count += more.count;
        self.uids.extend(more.uids);
    }
}

impl Mailboxes {
    /// Removes for good the messages that have `\Deleted`; with `among`, only those of them
    /// (UID EXPUNGE, RFC 4315 2.1).
    ///
    /// # Errors
    /// The mailbox is gone, or the database failed; of very many messages some may be removed.
    pub async fn expunge(
        &self,
        trace: TraceId,
        mailbox: u64,
        among: Option<&[u32]>,
    ) -> Result<Expunged, Failure> {
        let mut gone = Expunged::default();
        let done = match among {
            Some(uids) => {
                let mut uids = uids.to_vec();
                uids.sort_unstable();
                uids.dedup();
                self.remove(mailbox, &uids, MessageRow::is_deleted, &mut gone).await
            }
            None => self.expunge_marked(mailbox, &mut gone).await,
        };
        if gone.count > 0 {
            let (account, mailbox) = self.names(mailbox);
            let count = u32::try_from(gone.count).unwrap_or(u32::MAX);
            self.bus.emit(trace, EventKind::MessagesExpunged { account, mailbox, count });
        }
        done.map(|()| gone)
    }

    /// Removes those of some messages, by ascending UID, that `goes` is true of.
    pub(super) async fn remove(
        &self,
        mailbox: u64,
        uids: &[u32],
        goes: impl Fn(&MessageRow) -> bool,
        gone: &mut Expunged,
    ) -> Result<(), Failure> {
        self.in_batches(
            (mailbox, uids),
            0,
            |tx, listed, ledger| {
                let mut removal = Removal::begin(tx, mailbox)?;
                while let Some(message) = listed.next(tx)? {
                    if goes(&message) {
                        removal.take(tx, &message, message.uid)?;
                    }
                }
                removal.end_counted(tx, ledger)
            },
            |removed| gone.add(removed),
        )
        .await
    }

    async fn expunge_marked(&self, mailbox: u64, gone: &mut Expunged) -> Result<(), Failure> {
        let snapshot = self.db.snapshot();
        let row = snapshot.get::<MailboxRow>(&mailbox)?.ok_or(Failure::NoSuchMailbox)?;
        // The counts only say what is worth a try: a message goes for its own flag.
        if row.messages > 0
            && row.messages == row.deleted
            && let Some(all) = Everything::seen(&snapshot, row).await?
        {
            let pending = self.db.write(|tx| take_everything(tx, &all))?;
            if let Some(removed) = pending.await? {
                gone.add(removed);
                return Ok(());
            }
        }
        let rows = self.db.snapshot().prefix::<MessageRow>(&(mailbox,));
        let mut marked = Marked { rows, free_from: 1, over: false };
        // The first transaction only finds out whether there is anything to look for.
        let mut doomed = Vec::new();
        loop {
            let pending = self.db.write(|tx| remove_marked(tx, mailbox, &doomed))?;
            let (removed, left) = pending.await?;
            gone.add(removed);
            if left == 0 || marked.over {
                return Ok(());
            }
            doomed = marked.next_batch().await?;
        }
    }

    /// Address and name for an event.
    fn names(&self, mailbox: u64) -> (String, String) {
        let snapshot = self.db.snapshot();
        let Ok(Some(row)) = snapshot.get::<MailboxRow>(&mailbox) else { return Default::default() };
        let owner = owner_name(&snapshot, row.account).ok().flatten();
        (owner.unwrap_or_default(), row.name)
    }
}

/// A mailbox all of whose messages have `\Deleted`, each of them looked at.
struct Everything {
    mailbox: MailboxRow,
    count: u64,
    last_uid: u32,
}

impl Everything {
    /// Looks at each message in a snapshot, where that holds up nobody; `None`: one is to stay.
    async fn seen(snapshot: &Snapshot, mailbox: MailboxRow) -> Result<Option<Self>, Failure> {
        let mut all = Self { mailbox, count: 0, last_uid: 0 };
        let mut rows = snapshot.prefix::<MessageRow>(&(all.mailbox.id,));
        let mut looks = 0;
        while let Some(message) = rows.next().transpose()? {
            if !message.is_deleted() {
                return Ok(None);
            }
            (all.count, all.last_uid) = (all.count + 1, message.uid);
            looks += 1;
            if looks % LOOKS_MAX == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(Some(all))
    }
}

/// Looks for messages with `\Deleted` in a snapshot, where that holds up nobody.
struct Marked {
    rows: Rows<MessageRow>,
    free_from: u32,
    over: bool,
}

impl Marked {
    /// The next ones, as many as one transaction takes.
    async fn next_batch(&mut self) -> Result<Vec<Doomed>, Failure> {
        let (mut doomed, mut batch, mut looks) = (Vec::new(), Batch::default(), 0);
        while !batch.is_full() {
            let Some(message) = self.rows.next().transpose()? else {
                self.over = true;
                break;
            };
            let next = message.uid.saturating_add(1);
            let free_from = std::mem::replace(&mut self.free_from, next);
            if message.is_deleted() {
                doomed.push(Doomed { uid: message.uid, free_from });
                batch.add(&message);
            }
            looks += 1;
            if looks % LOOKS_MAX == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(doomed)
    }
}

/// Removes all messages of a mailbox, if it is still the one that was looked at: any change gives
/// it another mod-sequence.
fn take_everything(tx: &mut WriteTx<'_>, all: &Everything) -> Result<Option<Expunged>, Failure> {
    let mut removal = Removal::begin(tx, all.mailbox.id)?;
    if removal.mailbox != all.mailbox {
        return Ok(None);
    }
    removal.take_everything(tx, all)?;
    removal.end(tx).map(Some)
}

/// Removes messages that were found to have `\Deleted` and still do. Says how many are left that
/// do.
fn remove_marked(
    tx: &mut WriteTx<'_>,
    mailbox: u64,
    doomed: &[Doomed],
) -> Result<(Expunged, u32), Failure> {
    let mut removal = Removal::begin(tx, mailbox)?;
    for &Doomed { uid, free_from } in doomed {
        let message = tx.get::<MessageRow>(&(mailbox, uid))?;
        if let Some(message) = message.filter(MessageRow::is_deleted) {
            removal.take(tx, &message, free_from)?;
        }
    }
    let left = removal.mailbox.deleted;
    Ok((removal.end(tx)?, left))
}

/// Messages being removed from one mailbox within a transaction.
pub(super) struct Removal {
    mailbox: MailboxRow,
    gone: Expunged,
    /// Bytes of what went.
    bytes: u64,
}

impl Removal {
    pub(super) fn begin(tx: &WriteTx<'_>, mailbox: u64) -> Result<Self, Failure> {
        let (mailbox, gone) = (get_mailbox(tx, mailbox)?, Expunged::default());
        Ok(Self { mailbox, gone, bytes: 0 })
    }

    /// Takes all messages away. What vanished before is within the range that vanishes now.
    fn take_everything(&mut self, tx: &mut WriteTx<'_>, all: &Everything) -> Result<(), Failure> {
        let id = self.mailbox.id;
        tx.delete_prefix::<MessageRow, _>(&(id,))?;
        tx.delete_prefix::<FactRow, _>(&(id,))?;
        tx.delete_prefix::<Origin, _>(&(id,))?;
        tx.delete_prefix::<ThreadRow, _>(&(id,))?;
        tx.delete_prefix::<Vanished, _>(&(id,))?;
        let last = all.last_uid.max(self.mailbox.uid_next.saturating_sub(1));
        self.gone = Expunged { count: all.count, uids: vec![1..=last] };
        let (messages, unseen, deleted, bytes) = (0, 0, 0, 0);
        let uid_next = last.saturating_add(1);
        let row = self.mailbox.clone();
        self.bytes = row.bytes;
        self.mailbox = MailboxRow { messages, unseen, deleted, bytes, uid_next, ..row };
        Ok(())
    }

    /// Takes one message away; messages come by ascending UID. From `free_from` up to it no UID is
    /// in use.
    pub(super) fn take(
        &mut self,
        tx: &mut WriteTx<'_>,
        message: &MessageRow,
        free_from: u32,
    ) -> Result<(), Failure> {
        let MessageRow { mailbox, uid, .. } = *message;
        tx.delete::<MessageRow>(&(mailbox, uid))?;
        facts::forget(tx, mailbox, uid)?;
        threads::forget(tx, mailbox, uid)?;
        if tx.get::<Origin>(&(mailbox, uid))?.is_some() {
            tx.delete::<Origin>(&(mailbox, uid))?;
        }
        let row = &mut self.mailbox;
        row.messages = row.messages.saturating_sub(1);
        row.bytes = row.bytes.saturating_sub(message.size());
        self.bytes += message.size();
        // As if both flags were lost: seen is not counted, deleted neither.
        count_flags(row, message.flags, flag::SEEN);
        self.gone.count += 1;
        match self.gone.uids.last_mut() {
            Some(run) if run.end().saturating_add(1) >= free_from => *run = *run.start()..=uid,
            _ => self.gone.uids.push(uid..=uid),
        }
        Ok(())
    }

    /// Writes down what went, the mailbox, and that its owner uses less.
    pub(super) fn end(self, tx: &mut WriteTx<'_>) -> Result<Expunged, Failure> {
        let mut ledger = Ledger::default();
        let account = self.mailbox.account;
        let gone = self.end_counted(tx, &mut ledger)?;
        if gone.count > 0 {
            note_gone(tx, account, seed::now_s())?;
        }
        ledger.settle(tx, Hold::Not)?;
        Ok(gone)
    }

    /// The same with a ledger that goes on.
    pub(super) fn end_counted(
        self,
        tx: &mut WriteTx<'_>,
        ledger: &mut Ledger,
    ) -> Result<Expunged, Failure> {
        if let Some(owner) = owner_name(tx, self.mailbox.account)? {
            ledger.goes(&owner, self.gone.count, self.bytes);
        }
        let Self { mailbox: mut row, gone, .. } = self;
        if gone.count == 0 {
            return Ok(gone);
        }
        row.modseq += 1;
        let (mailbox, modseq) = (row.id, row.modseq);
        for run in &gone.uids {
            tx.put(&Vanished { mailbox, modseq, first: *run.start(), last: *run.end() })?;
        }
        tx.put(&row)?;
        Ok(gone)
    }
}
