//! The data as keys and values, for engines that know nothing else.
//!
//! ```text
//!   rows      account │ id                       -> text
//!   bodies    id                                 -> bytes
//!   mail      1 │ mailbox │ uid                  -> modseq │ date │ digest │ flags │ body │
//!   subject
//!             2 │ mailbox │ modseq │ mailbox, uid -> nothing: by mod-sequence
//!             3 │ mailbox │ date   │ mailbox, uid -> nothing: by date
//!             4 │ digest           │ mailbox, uid -> nothing: by digest
//! ```
//! These are the rows and index entries that GraceDb's tables make of the same data. Numbers are
//! big-endian in keys, so that they sort.
//! Not here: what an engine does with them (`lmdb`, `redb`, …).

use crate::Outcome;
use crate::data::{Change, Message, SUBJECT_BYTES};

/// Which of an engine's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Rows,
    Mail,
    Bodies,
}

/// A transaction of an engine.
pub(crate) trait Batch {
    /// Writes a value.
    fn put(&mut self, part: Part, key: &[u8], value: &[u8]) -> Outcome<()>;
    /// Deletes a value that is there.
    fn delete(&mut self, part: Part, key: &[u8]) -> Outcome<()>;
    /// The value of a key of [`Part::Mail`].
    fn mail(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>>;
}

const MESSAGE: u8 = 1;
const BY_MODSEQ: u8 = 2;
const BY_DATE: u8 = 3;
const BY_DIGEST: u8 = 4;

/// Bytes of a message's value.
const VALUE_BYTES: usize = 8 + 8 + 16 + 1 + 8 + SUBJECT_BYTES;
/// Where its flags are.
const FLAGS_AT: usize = 32;
/// Longest key.
const KEY_BYTES: usize = 1 + 16 + 16;

/// A key, without an allocation.
struct Joined {
    bytes: [u8; KEY_BYTES],
    len: usize,
}

impl Joined {
    fn new(tag: u8) -> Self {
        Self { bytes: [tag; KEY_BYTES], len: 1 }
    }

    fn with(mut self, more: &[u8]) -> Self {
        let end = (self.len + more.len()).min(KEY_BYTES);
        for (to, from) in self.bytes.iter_mut().skip(self.len).zip(more) {
            *to = *from;
        }
        self.len = end;
        self
    }

    fn number(self, number: u64) -> Self {
        self.with(&number.to_be_bytes())
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Key of a row.
pub(crate) fn row_key(account: u64, id: u64) -> [u8; 16] {
    ((u128::from(account) << 64) | u128::from(id)).to_be_bytes()
}

/// Key of a body.
pub(crate) fn body_key(id: u64) -> [u8; 8] {
    id.to_be_bytes()
}

fn message_key(mailbox: u64, uid: u64) -> Joined {
    Joined::new(MESSAGE).number(mailbox).number(uid)
}

fn modseq_key(mailbox: u64, modseq: u64, uid: u64) -> Joined {
    Joined::new(BY_MODSEQ).number(mailbox).number(modseq).number(mailbox).number(uid)
}

fn message_value(message: &Message) -> Vec<u8> {
    let mut value = Vec::with_capacity(VALUE_BYTES);
    value.extend_from_slice(&message.modseq.to_le_bytes());
    value.extend_from_slice(&message.date_s.to_le_bytes());
    value.extend_from_slice(&message.digest);
    value.push(message.flags);
    value.extend_from_slice(&message.body.to_le_bytes());
    value.extend_from_slice(message.subject.as_bytes());
    value
}

fn put_letter(message: &Message, body: &[u8], batch: &mut impl Batch) -> Outcome<()> {
    let Message { mailbox, uid, modseq, date_s, .. } = *message;
    batch.put(Part::Bodies, &body_key(message.body), body)?;
    batch.put(Part::Mail, message_key(mailbox, uid).bytes(), &message_value(message))?;
    batch.put(Part::Mail, modseq_key(mailbox, modseq, uid).bytes(), &[])?;
    let by_date = Joined::new(BY_DATE).number(mailbox).number(date_s).number(mailbox).number(uid);
    batch.put(Part::Mail, by_date.bytes(), &[])?;
    let by_digest = Joined::new(BY_DIGEST).with(&message.digest).number(mailbox).number(uid);
    batch.put(Part::Mail, by_digest.bytes(), &[])
}

fn put_flags(mailbox: u64, uid: u64, modseq: u64, batch: &mut impl Batch) -> Outcome<()> {
    let key = message_key(mailbox, uid);
    let missing = || format!("the message {mailbox}/{uid} is gone");
    let mut value = batch.mail(key.bytes())?.ok_or_else(missing)?;
    let Some(head) = value.first_chunk_mut::<8>() else { return Err(missing().into()) };
    let old = u64::from_le_bytes(*head);
    *head = modseq.to_le_bytes();
    if let Some(flags) = value.get_mut(FLAGS_AT) {
        *flags ^= 1;
    }
    batch.delete(Part::Mail, modseq_key(mailbox, old, uid).bytes())?;
    batch.put(Part::Mail, modseq_key(mailbox, modseq, uid).bytes(), &[])?;
    batch.put(Part::Mail, key.bytes(), &value)
}

/// Does all of it within one transaction.
pub(crate) fn apply(changes: &[Change], batch: &mut impl Batch) -> Outcome<()> {
    for change in changes {
        match change {
            Change::Row(row) => {
                batch.put(Part::Rows, &row_key(row.account, row.id), row.text.as_bytes())?;
            }
            Change::Body(id, bytes) => batch.put(Part::Bodies, &body_key(*id), bytes)?,
            Change::Letter(message, body) => put_letter(message, body, batch)?,
            Change::Flags { mailbox, uid, modseq } => put_flags(*mailbox, *uid, *modseq, batch)?,
        }
    }
    Ok(())
}
