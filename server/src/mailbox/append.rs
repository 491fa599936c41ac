//! Putting messages in: delivery to many, and IMAP's APPEND and REPLACE to one.
//!
//! ```text
//!   upload ──▶ pieces in the journal ──▶ finish ──▶ ONE transaction: rows, counts ──▶ sync
//! ```
//! What clients will ask of it again and again (`facts`) is made of what is still in memory when it
//! ends, which is the whole of nearly every letter.
//! Invariants: a message stands in all its mailboxes or in none; its bytes are written once,
//! however many there are; an upload given up leaves nothing but garbage for the cleaner.

use std::sync::Arc;

use gracedb::large::{Large, LargeWriter};
use gracedb::view::View as _;
use gracedb::write::WriteTx;

use grace_imap::facts::{Facts, header_end};
use grace_ipc::event::{EventKind, TraceId};

use super::Mailboxes;
use super::change::get_mailbox;
use super::expunge::Removal;
use super::{facts, threads};
use crate::store::accounts::Account;
use crate::store::failure::Failure;
use crate::store::messages::{FirstPlace, MailboxRow, MessageRow, Origin, flag};
use crate::store::outgoing::{self, Onward};
use crate::store::quota::{Hold, Ledger};
use crate::store::seed;
use crate::store::shares::owner_name;
use crate::store::threads::note_gone;

/// Keywords one message may have: enough for any client, and a row stays small.
const KEYWORDS_MAX: usize = 128;

/// Bytes of facts in one transaction that puts messages in: those of a thousand letters.
const FACTS_BYTES_MAX: usize = 2 << 20;

/// The header is looked for within so many bytes of a message that is not held until its end: the
/// database holds twice as many, and nearly all headers are a tenth of it.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// A message on its way into the journal.
pub struct Upload {
    writer: LargeWriter,
    /// The header, of a message that is longer than [`HEADER_BYTES_MAX`] and begins with it.
    header: Vec<u8>,
}

/// A message in the journal that nothing points to yet.
#[derive(Debug, Clone)]
pub struct Uploaded {
    bytes: Large,
    /// What is known of it without reading it again.
    facts: Arc<Facts>,
}

/// What a new message starts with.
#[derive(Debug, Clone, Default)]
pub struct Birth {
    /// System flags, as bits of [`flag`].
    pub flags: u8,
    /// Keywords.
    pub keywords: Vec<String>,
    /// INTERNALDATE, seconds since 1970 UTC; `None`: now.
    pub internal_date_s: Option<i64>,
    /// Offset from UTC to show INTERNALDATE with, in minutes.
    pub internal_zone_min: i16,
}

/// Where a message came to stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The account's address, or `@domain` of a public mailbox.
    pub account: String,
    /// The mailbox.
    pub mailbox: u64,
    /// Its name.
    pub name: String,
    /// Its UIDVALIDITY.
    pub uid_validity: u32,
    /// The message's UID there.
    pub uid: u32,
    /// The mod-sequence of the change.
    pub modseq: u64,
}

impl Upload {
    /// Adds bytes; waits while the journal is behind.
    ///
    /// # Errors
    /// The database failed.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.hold_header(bytes);
        self.writer.write(bytes).await?;
        Ok(())
    }

    /// Holds the header back before the bytes it is in are on their way to the disk.
    fn hold_header(&mut self, more: &[u8]) {
        let Some(held) = self.writer.held().filter(|held| held.len() < HEADER_BYTES_MAX) else {
            return;
        };
        if held.len() + more.len() >= HEADER_BYTES_MAX {
            let mut start = held.to_vec();
            let rest = more.get(..HEADER_BYTES_MAX - held.len()).unwrap_or(more);
            start.extend_from_slice(rest);
            start.truncate(header_end(&start, 0).unwrap_or_default());
            self.header = start;
        }
    }

    /// Bytes so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.writer.len()
    }

    /// Ends the message.
    ///
    /// # Errors
    /// The database failed.
    pub async fn finish(self) -> Result<Uploaded, Failure> {
        self.finish_behind(&[]).await
    }

    /// Ends the message with another one behind all that was written.
    ///
    /// # Errors
    /// The database failed.
    pub async fn finish_before(self, rest: &Uploaded) -> Result<Uploaded, Failure> {
        let bytes = self.writer.finish_before(&rest.bytes).await?;
        // Some lines on top: the shape would count others. It is made when it is asked for.
        Ok(Uploaded { bytes, facts: Arc::default() })
    }

    /// Ends the message with `head` in front of all that was written.
    ///
    /// # Errors
    /// The database failed.
    pub async fn finish_behind(self, head: &[u8]) -> Result<Uploaded, Failure> {
        let facts = match self.writer.held() {
            Some(rest) if head.is_empty() => Facts::of(rest),
            Some(rest) => Facts::of(&[head, rest].concat()),
            // Of a large message the end may be all that is left, and the head is whole.
            None if header_end(head, 0).is_some() => Facts::of_header(head),
            None if head.is_empty() && !self.header.is_empty() => Facts::of_header(&self.header),
            None => Facts::default(),
        };
        let bytes = self.writer.finish_behind(head).await?;
        Ok(Uploaded { bytes, facts: Arc::new(facts) })
    }
}

impl Uploaded {
    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes.len()
    }

    /// Its bytes, for a row of another kind.
    #[must_use]
    pub fn bytes(&self) -> Large {
        self.bytes.clone()
    }
}

impl Mailboxes {
    /// Begins a message.
    #[must_use]
    pub fn upload(&self) -> Upload {
        Upload { writer: self.db.large_writer(), header: Vec::new() }
    }

    /// Delivers a message into the INBOX of each account, in one transaction. Done means on disk.
    /// Whom it does not fit keeps it from all: [`without_room`](Self::without_room) says who.
    /// An account given twice gets it once. Telling of it is the caller's part, who knows whose
    /// message it is. `onward` are its copies for recipients elsewhere: they wait for delivery,
    /// written in the same transaction.
    ///
    /// # Errors
    /// One of the accounts is gone or full, or the database failed; the message stands nowhere.
    pub async fn deliver<'a>(
        &self,
        accounts: &[u64],
        message: Uploaded,
        onward: impl IntoIterator<Item = &'a Onward>,
    ) -> Result<Vec<Placed>, Failure> {
        let counted = self.counted(TraceId(0), |tx, ledger| {
            for onward in onward {
                outgoing::enqueue(tx, onward)?;
            }
            deliver_into(tx, seed::inbox, accounts, &message, ledger)
        });
        counted.await
    }

    /// Delivers a message into the mailbox of each account for doubtful mail.
    ///
    /// # Errors
    /// As for [`deliver`](Self::deliver).
    pub async fn put_aside(
        &self,
        accounts: &[u64],
        message: Uploaded,
    ) -> Result<Vec<Placed>, Failure> {
        let counted = self.counted(TraceId(0), |tx, ledger| {
            deliver_into(tx, seed::junk, accounts, &message, ledger)
        });
        counted.await
    }

    /// Appends messages to a mailbox, all or none (RFC 9051 6.3.12, RFC 3502). Done means on disk.
    ///
    /// # Errors
    /// The mailbox is gone, its owner full, or the database failed; the messages stand nowhere.
    pub async fn append(
        &self,
        trace: TraceId,
        mailbox: u64,
        messages: &[(Birth, Uploaded)],
    ) -> Result<Vec<Placed>, Failure> {
        let counted = self.counted(trace, |tx, ledger| append_all(tx, mailbox, messages, ledger));
        let placed = counted.await?;
        self.tell_appended(trace, &placed, messages);
        Ok(placed)
    }

    /// Appends a message and removes another one for good, in one step (RFC 8508).
    ///
    /// # Errors
    /// A mailbox or the message to replace is gone, the owner full, or the database failed; nothing
    /// was done.
    pub async fn replace(
        &self,
        trace: TraceId,
        (from, uid): (u64, u32),
        to: u64,
        message: (Birth, Uploaded),
    ) -> Result<Placed, Failure> {
        let messages = [message];
        let counted = self.counted(trace, |tx, ledger| {
            let old = tx.get::<MessageRow>(&(from, uid))?.ok_or(Failure::NoSuchMessage)?;
            let placed = append_all(tx, to, &messages, ledger)?;
            let mut removal = Removal::begin(tx, from)?;
            removal.take(tx, &old, uid)?;
            let account = get_mailbox(tx, from)?.account;
            note_gone(tx, account, seed::now_s())?;
            removal.end_counted(tx, ledger)?;
            Ok(placed)
        });
        let placed = counted.await?;
        self.tell_appended(trace, &placed, &messages);
        placed.into_iter().next().ok_or(Failure::NoSuchMailbox)
    }

    fn tell_appended(&self, trace: TraceId, placed: &[Placed], messages: &[(Birth, Uploaded)]) {
        for (placed, (_, message)) in placed.iter().zip(messages) {
            let appended = EventKind::MessageAppended {
                account: placed.account.clone(),
                mailbox: placed.name.clone(),
                uid: placed.uid,
                size: message.size(),
            };
            self.bus.emit(trace, appended);
        }
    }
}

/// Appends messages within a transaction, in their order.
fn append_all(
    tx: &mut WriteTx<'_>,
    mailbox: u64,
    messages: &[(Birth, Uploaded)],
    ledger: &mut Ledger,
) -> Result<Vec<Placed>, Failure> {
    let mut all = Vec::with_capacity(messages.len());
    let (none, mut facts_bytes) = (Facts::default(), 0);
    for (birth, message) in messages {
        let row = get_mailbox(tx, mailbox)?;
        let owner = owner_name(tx, row.account)?.ok_or(Failure::NoSuchMailbox)?;
        // Very many at once leave some for later: a transaction has room for so much.
        let facts = if facts_bytes < FACTS_BYTES_MAX { &*message.facts } else { &none };
        facts_bytes += facts::bytes_of(facts) + threads::THREAD_BYTES;
        let placed = place(tx, message, facts, vec![(owner, row)], birth, ledger)?;
        if birth.internal_date_s.is_some() {
            for Placed { mailbox, uid_validity, uid, .. } in &placed {
                let (mailbox, uid, uid_validity) = (*mailbox, *uid, *uid_validity);
                let first = FirstPlace { mailbox, uid_validity, uid };
                tx.put(&Origin { mailbox, uid, saved_s: seed::now_s(), first })?;
            }
        }
        all.extend(placed);
    }
    Ok(all)
}

/// Delivers a message of ours within a transaction, as [`Mailboxes::deliver`] does, but to who is
/// full as well: there is nobody to give it back to.
///
/// # Errors
/// One of the accounts is gone, or the database failed.
pub(crate) fn deliver(
    tx: &mut WriteTx<'_>,
    accounts: &[u64],
    message: &Uploaded,
) -> Result<Vec<Placed>, Failure> {
    let mut ledger = Ledger::default();
    let placed = deliver_into(tx, seed::inbox, accounts, message, &mut ledger)?;
    ledger.settle(tx, Hold::Not)?;
    Ok(placed)
}

fn deliver_into(
    tx: &mut WriteTx<'_>,
    mailbox: fn(&mut WriteTx<'_>, u64) -> Result<MailboxRow, Failure>,
    accounts: &[u64],
    message: &Uploaded,
    ledger: &mut Ledger,
) -> Result<Vec<Placed>, Failure> {
    let mut accounts = accounts.to_vec();
    accounts.sort_unstable();
    accounts.dedup();
    let mut targets = Vec::new();
    for id in accounts {
        // All or none: a sender who hears "stored" never sends again.
        let account = tx.get::<Account>(&id)?.ok_or(Failure::NoSuchMailbox)?;
        targets.push((account.address, mailbox(tx, id)?));
    }
    place(tx, message, &message.facts, targets, &Birth::default(), ledger)
}

/// Puts a row per target.
fn place(
    tx: &mut WriteTx<'_>,
    message: &Uploaded,
    facts: &Facts,
    targets: Vec<(String, MailboxRow)>,
    birth: &Birth,
    ledger: &mut Ledger,
) -> Result<Vec<Placed>, Failure> {
    let mut placed = Vec::with_capacity(targets.len());
    for (account, mut mailbox) in targets {
        let message = MessageRow {
            mailbox: mailbox.id,
            uid: mailbox.uid_next,
            modseq: mailbox.modseq + 1,
            internal_date_s: birth.internal_date_s.unwrap_or_else(seed::now_s),
            internal_zone_min: birth.internal_zone_min,
            flags: birth.flags,
            keywords: birth.keywords.clone(),
            body: message.bytes.clone(),
        };
        admit(tx, &mut mailbox, &message)?;
        facts::keep(tx, &message, facts)?;
        threads::keep(tx, &mailbox, &message, facts)?;
        tx.put(&mailbox)?;
        ledger.comes(&account, 1, message.size());
        placed.push(Placed {
            account,
            mailbox: mailbox.id,
            name: mailbox.name,
            uid_validity: mailbox.uid_validity,
            uid: message.uid,
            modseq: message.modseq,
        });
    }
    Ok(placed)
}

/// Writes a message's row and counts it; the caller writes the mailbox.
pub(super) fn admit(
    tx: &mut WriteTx<'_>,
    mailbox: &mut MailboxRow,
    message: &MessageRow,
) -> Result<(), Failure> {
    const FULL: Failure = Failure::Limit("the mailbox has no UIDs left; make a new one");
    check_keywords(&message.keywords)?;
    mailbox.uid_next = message.uid.checked_add(1).ok_or(FULL)?;
    mailbox.messages = mailbox.messages.checked_add(1).ok_or(FULL)?;
    mailbox.modseq = message.modseq;
    mailbox.bytes += message.size();
    mailbox.unseen += u32::from(message.flags & flag::SEEN == 0);
    mailbox.deleted += u32::from(message.flags & flag::DELETED != 0);
    tx.insert(message)?;
    Ok(())
}

/// Holds the limit on one message's keywords.
pub(super) fn check_keywords(keywords: &[String]) -> Result<(), Failure> {
    if keywords.len() > KEYWORDS_MAX {
        return Err(Failure::Limit("a message may have 128 keywords"));
    }
    Ok(())
}
