//! Commands over very many messages: batch by batch, each one transaction.
//!
//! A transaction holds up every other writer and stands in memory as a whole. A long command is a
//! row of them, each with a mod-sequence of its own (RFC 7162 3.1 leaves that to the server); other
//! sessions see it come about, and deliveries go on in between.
//! Invariants: a batch takes at least one message; what it did is on disk before the next begins.

use gracedb::view::View as _;
use gracedb::write::WriteTx;

use grace_ipc::event::TraceId;

use super::Mailboxes;
use crate::store::failure::Failure;
use crate::store::messages::MessageRow;
use crate::store::quota::Ledger;

/// Messages looked at in one transaction: some milliseconds of work, which is what a sync takes on
/// many disks, so that a delivery meanwhile waits hardly longer than it does anyway.
const MESSAGES_MAX: usize = 500;

/// Bytes that the rows of one transaction take, roughly: some milliseconds of a disk's writing, and
/// far from what a transaction may have.
const BYTES_MAX: usize = 1 << 20;

/// Bytes of a message's row, its index entry, where it came from, and the note that it points to
/// its body.
const ROW_BYTES: usize = 320;

/// Bytes for each piece of its body.
const PIECE_BYTES: usize = 64;

/// Counts what a transaction takes.
#[derive(Debug, Default)]
pub(super) struct Batch {
    messages: usize,
    bytes: usize,
}

impl Batch {
    /// Whether the next message belongs to the next transaction.
    pub(super) fn is_full(&self) -> bool {
        self.messages >= MESSAGES_MAX || self.bytes >= BYTES_MAX
    }

    /// Counts bytes of other rows.
    pub(super) fn add_bytes(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Counts a message.
    pub(super) fn add(&mut self, message: &MessageRow) {
        let keywords = message.keywords.iter().map(String::len).sum::<usize>();
        self.messages += 1;
        self.bytes += ROW_BYTES + keywords + PIECE_BYTES * message.body.parts().len();
    }
}

/// Messages that a command names, as many of them as one transaction takes.
pub(super) struct Listed<'a> {
    mailbox: u64,
    rest: &'a [u32],
    batch: Batch,
    /// Bytes by which the command may lengthen each row.
    growth_bytes: usize,
}

impl Listed<'_> {
    /// Counts bytes of other rows that the command writes.
    pub(super) fn add_bytes(&mut self, bytes: usize) {
        self.batch.add_bytes(bytes);
    }

    /// The next one that exists; `None`: there is none, or it belongs to the next transaction.
    pub(super) fn next(&mut self, tx: &WriteTx<'_>) -> Result<Option<MessageRow>, Failure> {
        while !self.batch.is_full()
            && let Some((&uid, rest)) = self.rest.split_first()
        {
            self.rest = rest;
            if let Some(message) = tx.get::<MessageRow>(&(self.mailbox, uid))? {
                self.batch.add(&message);
                self.batch.bytes += self.growth_bytes;
                return Ok(Some(message));
            }
            self.batch.messages += 1;
        }
        Ok(None)
    }
}

/// What one transaction gave.
type Done<T> = Result<T, Failure>;

impl Mailboxes {
    /// Runs `change` in one transaction after the other until all of `uids` had their turn, in at
    /// least one; each is [`counted`](Self::counted). `done` takes what a transaction gave when it
    /// is on disk.
    pub(super) async fn in_batches<T>(
        &self,
        (mailbox, uids): (u64, &[u32]),
        growth_bytes: usize,
        mut change: impl FnMut(&mut WriteTx<'_>, &mut Listed<'_>, &mut Ledger) -> Done<T>,
        mut done: impl FnMut(T),
    ) -> Result<(), Failure> {
        let mut rest = uids;
        loop {
            let counted = self.counted(TraceId(0), |tx, ledger| {
                let mut listed = Listed { mailbox, rest, batch: Batch::default(), growth_bytes };
                let value = change(tx, &mut listed, ledger)?;
                Ok((value, listed.rest))
            });
            let (value, left) = counted.await?;
            done(value);
            rest = left;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }
}
