//! Reading mailboxes: what a session sees, and what changed since it last looked.
//!
//! Invariant: one answer comes from one snapshot, so its parts agree with each other.

use gracedb::large::LargeReader;
use tokio::sync::watch;

use super::Mailboxes;
use super::change::get_mailbox;
use crate::store::failure::Failure;
use crate::store::messages::{Body, MailboxRow, MessageByModseq, MessageRow, Vanished};

/// A mailbox and its messages at one moment.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The mailbox.
    pub mailbox: MailboxRow,
    /// Its messages by ascending UID.
    pub messages: Vec<MessageRow>,
}

/// What changed after a mod-sequence.
#[derive(Debug, Clone)]
pub struct Changes {
    /// The mailbox now.
    pub mailbox: MailboxRow,
    /// Messages that are new or changed, by ascending mod-sequence, then UID.
    pub changed: Vec<MessageRow>,
    /// UIDs that are gone, by the time they went.
    pub vanished: Vec<u32>,
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
    /// `recent_from`.
    ///
    /// # Errors
    /// The mailbox is gone, or the database failed.
    pub async fn open(&self, mailbox: u64, claim_recent: bool) -> Result<Opened, Failure> {
        let opened = self.look(mailbox)?;
        if !claim_recent || opened.mailbox.recent_from == opened.mailbox.uid_next {
            return Ok(opened);
        }
        let claimed = self
            .db
            .write(|tx| {
                let row = get_mailbox(tx, mailbox)?;
                let next = MailboxRow { recent_from: row.uid_next, ..row.clone() };
                tx.put(&next)?;
                Ok::<_, Failure>(row)
            })?
            .await?;
        let mut opened = self.look(mailbox)?;
        opened.mailbox.recent_from = claimed.recent_from;
        Ok(opened)
    }

    /// A mailbox and all its messages, from one snapshot.
    fn look(&self, mailbox: u64) -> Result<Opened, Failure> {
        let snapshot = self.db.snapshot();
        let row = snapshot.get::<MailboxRow>(&mailbox)?.ok_or(Failure::NoSuchMailbox)?;
        let messages = snapshot.prefix::<MessageRow>(&(mailbox,)).collect::<Result<_, _>>()?;
        Ok(Opened { mailbox: row, messages })
    }

    /// What changed in a mailbox after `modseq`.
    ///
    /// # Errors
    /// The mailbox is gone, or the database failed.
    pub fn changes_since(&self, mailbox: u64, modseq: u64) -> Result<Changes, Failure> {
        let snapshot = self.db.snapshot();
        let row = snapshot.get::<MailboxRow>(&mailbox)?.ok_or(Failure::NoSuchMailbox)?;
        if row.modseq <= modseq {
            return Ok(Changes { mailbox: row, changed: Vec::new(), vanished: Vec::new() });
        }
        let after = modseq.saturating_add(1);
        let changed = snapshot
            .by_index_range::<MessageByModseq>((mailbox, after, 0)..(mailbox + 1, 0, 0))
            .collect::<Result<_, _>>()?;
        let vanished = snapshot
            .range::<Vanished>((mailbox, after, 0)..(mailbox + 1, 0, 0))
            .map(|gone| gone.map(|gone| gone.uid))
            .collect::<Result<_, _>>()?;
        Ok(Changes { mailbox: row, changed, vanished })
    }

    /// One message's row.
    ///
    /// # Errors
    /// The database failed.
    pub fn message(&self, mailbox: u64, uid: u32) -> Result<Option<MessageRow>, Failure> {
        Ok(self.db.snapshot().get::<MessageRow>(&(mailbox, uid))?)
    }

    /// A reader of a message's bytes; `None` if the message was removed meanwhile.
    ///
    /// # Errors
    /// The database failed.
    pub fn body(&self, message: &MessageRow) -> Result<Option<LargeReader>, Failure> {
        let snapshot = self.db.snapshot();
        let Some(body) = snapshot.get::<Body>(&message.body)? else { return Ok(None) };
        Ok(Some(snapshot.open_large(&body.bytes)?))
    }

    /// Hears of every change in a mailbox from now on; the value is its newest mod-sequence.
    #[must_use]
    pub fn watch(&self, mailbox: u64) -> watch::Receiver<u64> {
        self.wakers.watch(mailbox)
    }
}
