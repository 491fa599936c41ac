//! Reading mailboxes: what a session sees, and what changed since it last looked.
//!
//! Invariant: one answer comes from one snapshot, so its parts agree with each other.

use std::ops::RangeInclusive;
use std::sync::Arc;

use gracedb::large::LargeReader;
use gracedb::view::{Snapshot, View as _};
use gracedb::watch::Watch;

use grace_imap::places::Places;
use grace_imap::rows::Rows;
use grace_imap::sort::Criterion;
use grace_ipc::event::{EventKind, TraceId};

use super::Mailboxes;
use super::change::get_mailbox;
use crate::store::failure::Failure;
use crate::store::messages::{
    FirstPlace, MailboxByName, MailboxRow, MessageByModseq, MessageRow, MetadataRow, Origin,
    Subscription, Vanished,
};

/// A mailbox and its messages at one moment.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The mailbox.
    pub mailbox: MailboxRow,
    /// Its messages.
    pub messages: Rows,
}

/// What changed after a mod-sequence.
#[derive(Debug, Clone)]
pub struct Changes<T> {
    /// The mailbox now.
    pub mailbox: MailboxRow,
    /// Messages that are new or changed, by ascending mod-sequence, then UID, each as much of it as
    /// was wanted.
    pub changed: Vec<T>,
    /// UIDs that are gone, by the time they went; among them some that were not in use.
    pub vanished: Vec<RangeInclusive<u32>>,
}

/// Sums over all mailboxes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Mailboxes.
    pub mailboxes: u64,
    /// Messages in them.
    pub messages: u64,
    /// Bytes of those messages, each counted in every mailbox it is in.
    pub bytes: u64,
}

impl Totals {
    /// Counts one mailbox.
    pub(super) fn add(&mut self, row: &MailboxRow) {
        self.mailboxes += 1;
        self.messages += u64::from(row.messages);
        self.bytes += row.bytes;
    }
}

impl Mailboxes {
    /// Sums over all mailboxes; reads every mailbox's row, no message's.
    ///
    /// # Errors
    /// The database failed.
    pub fn totals(&self) -> Result<Totals, Failure> {
        let snapshot = self.db.snapshot();
        let mut totals = Totals::default();
        for row in snapshot.scan::<MailboxRow>() {
            totals.add(&row?);
        }
        Ok(totals)
    }

    /// A mailbox and all its messages. With `claim_recent`, the messages that are `\Recent` now are
    /// no longer so for anyone else (RFC 3501 2.3.2); they are those from the returned row's
    /// `recent_from`. While nothing can be written they stay `\Recent` for the next one, too; that
    /// is told, and no reason not to read.
    ///
    /// # Errors
    /// The mailbox is gone, or the database cannot be read.
    pub async fn open(&self, mailbox: u64, claim_recent: bool) -> Result<Opened, Failure> {
        let row = find(&self.db.snapshot(), mailbox)?;
        let mut recent_from = None;
        if claim_recent && row.recent_from != row.uid_next {
            recent_from = Some(match self.claim_recent(mailbox).await {
                Ok(recent_from) => recent_from,
                Err(failure @ (Failure::Full(_) | Failure::Store(_))) => {
                    let reason = failure.to_string();
                    self.bus.emit(TraceId(0), EventKind::StoreFailed { reason });
                    row.recent_from
                }
                Err(failure) => return Err(failure),
            });
        }
        let (row, messages) = self.pictures.look(&self.db, mailbox).await?;
        let recent_from = recent_from.unwrap_or(row.recent_from);
        Ok(Opened { mailbox: MailboxRow { recent_from, ..row }, messages })
    }

    /// The order in which a mailbox was last sorted by these criteria, if it is known.
    #[must_use]
    pub fn order(&self, mailbox: u64, criteria: &[Criterion]) -> Option<Arc<Places>> {
        self.pictures.order(mailbox, criteria)
    }

    /// Keeps the order of a mailbox for those who sort it so next, while there is room.
    pub fn keep_order(&self, mailbox: u64, order: Arc<Places>) {
        self.pictures.keep_order(mailbox, order);
    }

    /// Makes messages `\Recent` for one session alone; returns the first one's UID.
    async fn claim_recent(&self, mailbox: u64) -> Result<u32, Failure> {
        let pending = self.db.write(|tx| {
            let row = get_mailbox(tx, mailbox)?;
            tx.put(&MailboxRow { recent_from: row.uid_next, ..row.clone() })?;
            Ok::<_, Failure>(row.recent_from)
        })?;
        Ok(pending.await?)
    }

    /// What changed in a mailbox after `modseq`; of each message what `want` makes of it.
    ///
    /// # Errors
    /// The mailbox is gone, or the database failed.
    pub fn changes_since<T>(
        &self,
        mailbox: u64,
        modseq: u64,
        want: impl Fn(&MailboxRow, &MessageRow) -> T,
    ) -> Result<Changes<T>, Failure> {
        let snapshot = self.db.snapshot();
        let row = find(&snapshot, mailbox)?;
        if row.modseq <= modseq {
            return Ok(Changes { mailbox: row, changed: Vec::new(), vanished: Vec::new() });
        }
        let after = modseq.saturating_add(1);
        let changed = snapshot
            .by_index_range::<MessageByModseq>((mailbox, after)..(mailbox + 1, 0))
            .map(|message| message.map(|message| want(&row, &message)))
            .collect::<Result<_, _>>()?;
        let vanished = snapshot
            .range::<Vanished>((mailbox, after, 0)..(mailbox + 1, 0, 0))
            .map(|gone| gone.map(|gone| gone.first..=gone.last))
            .collect::<Result<_, _>>()?;
        Ok(Changes { mailbox: row, changed, vanished })
    }

    /// UIDs that went from a mailbox after `modseq`, by the time they went; among them some that
    /// were not in use.
    ///
    /// # Errors
    /// The mailbox is gone, or the database failed.
    pub fn vanished_since(
        &self,
        mailbox: u64,
        modseq: u64,
    ) -> Result<Vec<RangeInclusive<u32>>, Failure> {
        let snapshot = self.db.snapshot();
        find(&snapshot, mailbox)?;
        let after = modseq.saturating_add(1);
        let gone = snapshot.range::<Vanished>((mailbox, after, 0)..(mailbox + 1, 0, 0));
        Ok(gone.map(|gone| gone.map(|gone| gone.first..=gone.last)).collect::<Result<_, _>>()?)
    }

    /// When the message at a place was put there, in seconds since 1970 UTC, and where it first
    /// stood. `internal_date_s` is its INTERNALDATE.
    ///
    /// # Errors
    /// The mailbox is gone, or the database failed.
    pub fn origin(
        &self,
        (mailbox, uid): (u64, u32),
        internal_date_s: i64,
    ) -> Result<(i64, FirstPlace), Failure> {
        let snapshot = self.db.snapshot();
        if let Some(origin) = snapshot.get::<Origin>(&(mailbox, uid))? {
            return Ok((origin.saved_s, origin.first));
        }
        let uid_validity = find(&snapshot, mailbox)?.uid_validity;
        Ok((internal_date_s, FirstPlace { mailbox, uid_validity, uid }))
    }

    /// One message's row, and a reader of its bytes, which stay as long as the reader is held.
    ///
    /// # Errors
    /// The database failed.
    pub fn message(
        &self,
        mailbox: u64,
        uid: u32,
    ) -> Result<Option<(MessageRow, LargeReader)>, Failure> {
        let snapshot = self.db.snapshot();
        let Some(message) = snapshot.get::<MessageRow>(&(mailbox, uid))? else { return Ok(None) };
        let reader = snapshot.open_large(&message.body);
        Ok(Some((message, reader)))
    }

    /// Tells when a mailbox of an account is made, renamed or removed, and when a subscription
    /// begins or ends, when it is on disk.
    #[must_use]
    pub fn watch_names(&self, account: u64) -> Vec<Watch> {
        let names = self.db.watch_index::<MailboxByName>(&(account,));
        vec![names, self.db.watch::<Subscription>(&(account,))]
    }

    /// Tells when an annotation of an account or of its mailboxes changes, when it is on disk.
    #[must_use]
    pub fn watch_metadata(&self, account: u64) -> Watch {
        self.db.watch::<MetadataRow>(&(account,))
    }

    /// Tells of every change of a message in a mailbox from now on, of new ones and of those that
    /// go, when it is on disk.
    #[must_use]
    pub fn watch(&self, mailbox: u64) -> Watch {
        // Each change gives a message another place in this index; what the database does to rows
        // by itself gives it none.
        self.db.watch_index::<MessageByModseq>(&(mailbox,))
    }
}

fn find(snapshot: &Snapshot, mailbox: u64) -> Result<MailboxRow, Failure> {
    snapshot.get::<MailboxRow>(&mailbox)?.ok_or(Failure::NoSuchMailbox)
}
