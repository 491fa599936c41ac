//! THREADID: which conversation a message belongs to (RFC 8474 5.2).
//!
//! ```text
//!   Message-ID, References ─┐ each with the  ┌─ none is known   ─▶ a new conversation
//!   (else In-Reply-To)     ─┴ base subject: ─┼─ one is          ─▶ its conversation
//!                             names          └─ several, which  ─▶ the oldest of them; those that
//!                                               differ             are, stay
//! ```
//! As RFC 8621 3 proposes it: two messages of one account belong together if they share an
//! identifier and the base subject. A name is known from the first message on that has it or refers
//! to it, so that it does not matter which comes first.
//! Invariants: a message's conversation is on disk before it is told, and is never another one;
//! copies have that of what they are a copy of, whoever gets them. A message that is stored gets
//! its conversation in the transaction that stores it; what came before there were any, or was too
//! large to be looked at then, gets it from `chores`, or when it is asked for. Names go, by
//! `chores`, when the account has no message of their conversation any more.
//! Not here: what identifiers and base subjects are (`grace_imap::keys`), THREAD (`grace_imap`).

use gracedb::error::Error as StoreError;
use gracedb::view::{Snapshot, View as _};
use gracedb::write::WriteTx;

use grace_imap::facts::{FORMAT, Facts};
use grace_imap::keys::{Keys, MessageId};

use super::Mailboxes;
use super::change::{first_place, get_mailbox};
use super::facts::{Walk, read_header};
use crate::store::failure::Failure;
use crate::store::messages::{FactKind, FactRow, FirstPlace, MailboxRow, MessageRow};
use crate::store::seed;
use crate::store::threads::{Chore, ChoreRow, Thread, ThreadReferenceRow, ThreadRow, note_unmade};

/// References looked at from the front: the first one names the conversation, and programs that cut
/// long lists keep it (RFC 5537 3.4.4).
const FIRST_REFERENCES: usize = 4;

/// References looked at from the end: those that the message answers. A conversation would have to
/// lose so many letters in a row to fall apart.
const LAST_REFERENCES: usize = 16;

/// Messages whose conversations are made in one transaction: some milliseconds, if their headers
/// must be read.
const MADE_AT_ONCE: usize = 250;

/// Whose names places are, while conversations are made of old mail: nobody's, for a copy may be in
/// another account. No account has this number.
pub(super) const PLACES: u64 = 0;

/// Bytes that a conversation takes in a transaction, roughly, for a message with few references.
pub(super) const THREAD_BYTES: usize = 200;

impl Mailboxes {
    /// The conversations of messages, by ascending UID; made where there is none yet. Messages that
    /// are gone are left out, and so are those whose conversation cannot be kept now.
    ///
    /// # Errors
    /// The mailbox is gone, or the database cannot be read.
    pub async fn threads(&self, mailbox: u64, uids: &[u32]) -> Result<Vec<(u32, Thread)>, Failure> {
        let snapshot = self.db.snapshot();
        let mut rows = Walk::over(uids, |first, last| {
            snapshot.range::<ThreadRow>((mailbox, first)..=(mailbox, last))
        });
        let (mut threads, mut missing) = (Vec::with_capacity(uids.len()), Vec::new());
        for &uid in uids {
            let get = || snapshot.get::<ThreadRow>(&(mailbox, uid));
            match rows.at(uid, |row| row.uid, get)? {
                Some(row) => threads.push((uid, row.thread)),
                None => missing.push(uid),
            }
        }
        drop(rows);
        for some in missing.chunks(MADE_AT_ONCE) {
            threads.extend(self.make_threads(&snapshot, mailbox, some).await?);
        }
        threads.sort_unstable_by_key(|(uid, _)| *uid);
        Ok(threads)
    }

    /// Sees to it that messages have their conversations before they are copied: two that are one
    /// message must never have two.
    pub(super) async fn settle_threads(&self, mailbox: u64, uids: &[u32]) -> Result<(), Failure> {
        if !has_unmade(&self.db.snapshot(), mailbox)? {
            return Ok(());
        }
        for some in uids.chunks(MADE_AT_ONCE) {
            self.threads(mailbox, some).await?;
        }
        Ok(())
    }

    async fn make_threads(
        &self,
        snapshot: &Snapshot,
        mailbox: u64,
        uids: &[u32],
    ) -> Result<Vec<(u32, Thread)>, Failure> {
        let mut messages = Vec::new();
        for &uid in uids {
            if let Some(message) = snapshot.get::<MessageRow>(&(mailbox, uid))? {
                let keys = keys_of(snapshot, &message)?;
                messages.push((message, keys));
            }
        }
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let made = self.db.write(|tx| {
            let row = get_mailbox(tx, mailbox)?;
            let mut threads = Vec::new();
            for (message, keys) in &messages {
                // It may be gone since.
                if tx.contains::<MessageRow>(&(mailbox, message.uid))? {
                    threads.push((message.uid, make(tx, &row, message, keys)?));
                }
            }
            Ok::<_, Failure>(threads)
        });
        let made = match made {
            Ok(pending) => pending.await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        match made {
            // What is not on disk is not told. Reading goes on, though nothing can be written.
            Err(failure @ (Failure::Full(_) | Failure::Store(_))) => {
                tracing::debug!(target: "grace", event = "ThreadsNotKept", error = %failure);
                Ok(Vec::new())
            }
            made => made,
        }
    }
}

/// Whether a mailbox may hold messages that have no conversation yet.
fn has_unmade(snapshot: &Snapshot, mailbox: u64) -> Result<bool, StoreError> {
    let is_noted = snapshot.contains::<ChoreRow>(&(Chore::Noted as u8, 0, 0))?;
    let mut unmade = snapshot.prefix::<ChoreRow>(&(Chore::Make as u8, mailbox));
    Ok(!is_noted || unmade.next().transpose()?.is_some())
}

/// What there is to go by: from a row, or else from the message.
pub(super) fn keys_of(snapshot: &Snapshot, message: &MessageRow) -> Result<Keys, Failure> {
    let MessageRow { mailbox, uid, internal_date_s, .. } = *message;
    let row = snapshot.get::<FactRow>(&(mailbox, FactKind::Keys as u8, uid))?;
    let row = row.filter(|row| row.format == FORMAT);
    let kept = row.and_then(|row| Keys::unpack(uid, internal_date_s, row.size, &row.bytes.0));
    match kept {
        Some(keys) => Ok(keys),
        None => {
            let block = read_header(&mut snapshot.open_large(&message.body))?;
            Ok(Keys::of(uid, internal_date_s, message.size(), &block))
        }
    }
}

/// Puts a new message into its conversation, or notes that this is to be done, where what was made
/// of it does not say enough.
pub(super) fn keep(
    tx: &mut WriteTx<'_>,
    mailbox: &MailboxRow,
    message: &MessageRow,
    facts: &Facts,
) -> Result<(), Failure> {
    let MessageRow { uid, internal_date_s, .. } = *message;
    let packed = facts.keys.as_deref();
    let keys = packed.and_then(|keys| Keys::unpack(uid, internal_date_s, message.size(), keys));
    match &keys {
        Some(keys) => {
            let uid_validity = mailbox.uid_validity;
            let first = FirstPlace { mailbox: mailbox.id, uid_validity, uid };
            assign(tx, mailbox.account, message, first, keys)?;
        }
        // None of another message that had its place before a repair.
        None => forget(tx, mailbox.id, uid)?,
    }
    if keys.is_none() || facts.preview.is_none() {
        note_unmade(tx, (mailbox.id, uid), seed::now_s())?;
    }
    Ok(())
}

/// Puts a message that came without one into its conversation.
pub(super) fn make(
    tx: &mut WriteTx<'_>,
    mailbox: &MailboxRow,
    message: &MessageRow,
    keys: &Keys,
) -> Result<Thread, Failure> {
    let MessageRow { mailbox: id, uid, .. } = *message;
    if let Some(row) = tx.get::<ThreadRow>(&(id, uid))? {
        return Ok(row.thread);
    }
    let first = first_place(tx, mailbox, uid)?;
    let place = place_name(&first);
    // A copy that was made before?
    if let Some(twin) = tx.get::<ThreadReferenceRow>(&(PLACES, place))? {
        let thread = twin.thread;
        tx.put(&ThreadRow { mailbox: id, uid, thread })?;
        name(tx, mailbox.account, keys, thread)?;
        return Ok(thread);
    }
    let thread = assign(tx, mailbox.account, message, first, keys)?;
    tx.put(&ThreadReferenceRow { account: PLACES, name: place, thread })?;
    Ok(thread)
}

/// Finds the conversation of a message, or begins one, and writes down that it belongs there.
fn assign(
    tx: &mut WriteTx<'_>,
    account: u64,
    message: &MessageRow,
    first: FirstPlace,
    keys: &Keys,
) -> Result<Thread, Failure> {
    let own = keys.message_id.map(|id| name_of(id, keys));
    let mut oldest: Option<Thread> = None;
    let mut unknown = Vec::new();
    for name in names(keys) {
        match tx.get::<ThreadReferenceRow>(&(account, name))? {
            Some(row) => {
                oldest = Some(oldest.map_or(row.thread, |oldest| oldest.min(row.thread)));
                // Where it belongs itself is certain now.
                if Some(name) == own {
                    unknown.push(name);
                }
            }
            None => unknown.push(name),
        }
    }
    let thread = oldest.unwrap_or(Thread { begun_s: message.internal_date_s, first });
    for name in unknown {
        tx.put(&ThreadReferenceRow { account, name, thread })?;
    }
    tx.put(&ThreadRow { mailbox: message.mailbox, uid: message.uid, thread })?;
    Ok(thread)
}

/// Has those names of a message that nobody knows stand for a conversation.
fn name(tx: &mut WriteTx<'_>, account: u64, keys: &Keys, thread: Thread) -> Result<(), Failure> {
    for name in names(keys) {
        if !tx.contains::<ThreadReferenceRow>(&(account, name))? {
            tx.put(&ThreadReferenceRow { account, name, thread })?;
        }
    }
    Ok(())
}

/// Gives a copy the conversation of what it is a copy of; says how many bytes that took. In another
/// account its names become known as well.
pub(super) fn copy(
    tx: &mut WriteTx<'_>,
    (from, original): (&MailboxRow, &MessageRow),
    (to, uid): (&MailboxRow, u32),
) -> Result<usize, Failure> {
    let place = (from.id, original.uid);
    let Some(row) = tx.get::<ThreadRow>(&place)? else {
        forget(tx, to.id, uid)?;
        note_unmade(tx, (to.id, uid), seed::now_s())?;
        return Ok(THREAD_BYTES);
    };
    tx.put(&ThreadRow { mailbox: to.id, uid, thread: row.thread })?;
    if from.account != to.account
        && let Some(fact) = tx.get::<FactRow>(&(from.id, FactKind::Keys as u8, original.uid))?
        && fact.format == FORMAT
        && let Some(keys) = Keys::unpack(uid, 0, 0, &fact.bytes.0)
    {
        name(tx, to.account, &keys, row.thread)?;
    }
    Ok(THREAD_BYTES)
}

/// Forgets the conversation of a message that goes.
pub(super) fn forget(tx: &mut WriteTx<'_>, mailbox: u64, uid: u32) -> Result<(), Failure> {
    tx.delete::<ThreadRow>(&(mailbox, uid))?;
    Ok(())
}

/// What a message is called and refers to, each once.
fn names(keys: &Keys) -> Vec<u64> {
    let all = keys.references.as_slice();
    let (first, rest) = all.split_at_checked(FIRST_REFERENCES).unwrap_or((all, &[]));
    let last = rest.get(rest.len().saturating_sub(LAST_REFERENCES)..).unwrap_or_default();
    let ids = keys.message_id.iter().chain(first).chain(last);
    let mut names: Vec<u64> = ids.map(|id| name_of(*id, keys)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn name_of(id: MessageId, keys: &Keys) -> u64 {
    hashed(id.0, keys.subject.bytes())
}

fn place_name(place: &FirstPlace) -> u64 {
    let FirstPlace { mailbox, uid_validity, uid } = place;
    let numbers = [*mailbox, u64::from(*uid_validity), u64::from(*uid)];
    hashed(0, numbers.into_iter().flat_map(u64::to_le_bytes))
}

/// FNV-1a: what is kept must mean the same to the next program. Who makes two names alike has two
/// letters of his stand in one conversation, as a reference would.
fn hashed(start: u64, bytes: impl Iterator<Item = u8>) -> u64 {
    let begin = 0xcbf2_9ce4_8422_2325_u64;
    let all = start.to_le_bytes().into_iter().chain(bytes);
    all.fold(begin, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_identifiers_with_a_subject() {
        let keys = |text: &str| Keys::of(1, 0, 0, text.replace('\n', "\r\n").as_bytes());
        let check = |one: &str, other: &str, shared: usize| {
            let (one, other) = (names(&keys(one)), names(&keys(other)));
            let both = one.iter().filter(|name| other.contains(name)).count();
            assert_eq!(both, shared, "{one:?} {other:?}");
        };
        let first = "Message-ID: <a@x>\nSubject: lunch\n\n";
        check(first, "Message-ID: <b@x>\nIn-Reply-To: <a@x>\nSubject: Re: lunch\n\n", 1);
        check(first, "References: <0@x> <a@x>\nSubject: [list] Re:  LUNCH (fwd)\n\n", 1);
        check(first, "References: <a@x>\nSubject: dinner\n\n", 0);
        check(first, "References: <A@x>\nSubject: lunch\n\n", 0);
        check(first, "Subject: lunch\n\n", 0);
        check("Message-ID: <a@x>\n\n", "References: <a@x> <a@x>\nSubject: Re:\n\n", 1);
    }

    #[test]
    fn of_many_references_the_first_and_the_last_are_looked_at() {
        let list = |from: u32, to: u32| -> String {
            (from..to).map(|number| format!(" <{number}@x>\r\n")).collect()
        };
        let of = |list: String| names(&Keys::of(1, 0, 0, format!("References:{list}").as_bytes()));
        let most = FIRST_REFERENCES + LAST_REFERENCES;
        assert_eq!(of(list(0, 20)).len(), most);
        let many = of(list(0, 150));
        assert_eq!(many.len(), most);
        let both = [of(list(0, 4)), of(list(134, 150))].concat();
        assert!(both.iter().all(|name| many.contains(name)));
        assert_eq!(of(list(0, 1)).len(), 1);
    }
}
