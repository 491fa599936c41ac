//! What mailboxes hold, UIDs and flags, and the orders they were sorted in, kept for those who open
//! or sort them next.
//!
//! ```text
//!   in memory ─┐ as of an earlier mod-sequence
//!   stored    ─┴─▶ what changed since ─▶ as of now ─▶ in memory, and sometimes stored anew
//!   neither   ───▶ every message's row ─▶
//! ```
//! Invariants: a picture and all that changed after its mod-sequence is what the mailbox holds, so
//! that one of any age will do; pictures in memory take no more than a setting allows; losing one
//! loses nothing.
//! Not here: what one session was told (`grace_imap::view`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use gracedb::db::Db;
use gracedb::engine::Durability;
use gracedb::error::Error as StoreError;
use gracedb::view::{Snapshot, View as _};

use grace_imap::flags::{Flags, Keyword};
use grace_imap::places::Places;
use grace_imap::rows::{Row, Rows};
use grace_imap::sort::Criterion;

use crate::store::failure::Failure;
use crate::store::messages::{
    Bytes, MailboxRow, MessageByModseq, MessageRow, PictureRow, Vanished,
};

/// Messages of one stored row: some 12 KiB.
const PART_MESSAGES: usize = 4_096;

/// Mailboxes with fewer messages are read row by row in some milliseconds.
const STORED_MESSAGES_MIN: u32 = 10_000;

/// Of a mailbox with more, the rows of a picture would be too much for one transaction.
const STORED_MESSAGES_MAX: u32 = 4_000_000;

/// A stored picture is made anew when more than one message in so many has changed since.
const STORED_CHANGES_SHARE: usize = 16;

/// So many changes are always looked up one by one; beyond, only up to a quarter of the messages,
/// for reading all of them in order is quicker then.
const CHANGES_MIN: usize = 1_000;

/// Rows looked at before other tasks have their turn: some milliseconds.
const LOOKS_MAX: usize = 2_000;

/// Version of the bytes of a stored part.
const FORMAT: u8 = 1;

/// A mailbox's messages as of a mod-sequence.
#[derive(Debug, Clone, Default)]
struct Picture {
    modseq: u64,
    rows: Rows,
    /// Changes since it was stored; `None`: it is not.
    unstored: Option<usize>,
}

/// Pictures in memory.
#[derive(Debug)]
pub(super) struct Pictures {
    kept: Mutex<Kept>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Kept {
    by_mailbox: HashMap<u64, Entry>,
    /// What they take.
    bytes: usize,
    /// Grows with every use.
    turn: u64,
}

#[derive(Debug)]
struct Entry {
    picture: Picture,
    /// How it was sorted, the latest last.
    orders: Vec<Arc<Places>>,
    /// What all that takes.
    bytes: usize,
    /// The turn of its last use.
    used: u64,
}

/// Bytes of an entry beside its rows.
const ENTRY_BYTES: usize = 256;

/// Orders kept of a mailbox: clients sort by date or arrival, and now and then by a column that
/// somebody clicks on.
const ORDERS_MAX: usize = 4;

impl Kept {
    fn remove(&mut self, mailbox: u64) -> Option<Entry> {
        let entry = self.by_mailbox.remove(&mailbox)?;
        self.bytes -= entry.bytes;
        Some(entry)
    }

    /// Keeps this of a mailbox; what was not used for longest makes room, some of it at once.
    fn put(
        &mut self,
        mailbox: u64,
        picture: Picture,
        mut orders: Vec<Arc<Places>>,
        bytes_max: usize,
    ) {
        self.turn += 1;
        let own = picture.rows.bytes() + ENTRY_BYTES;
        let with =
            |orders: &[Arc<Places>]| own + orders.iter().map(|order| order.bytes()).sum::<usize>();
        while orders.len() > ORDERS_MAX || (with(&orders) > bytes_max && !orders.is_empty()) {
            orders.remove(0);
        }
        let bytes = with(&orders);
        if bytes > bytes_max {
            return;
        }
        self.bytes += bytes;
        self.by_mailbox.insert(mailbox, Entry { picture, orders, bytes, used: self.turn });
        if self.bytes <= bytes_max {
            return;
        }
        let mut oldest: Vec<(u64, u64)> =
            self.by_mailbox.iter().map(|(mailbox, entry)| (entry.used, *mailbox)).collect();
        oldest.sort_unstable();
        // The newest stays, whatever it takes.
        oldest.pop();
        for (_, mailbox) in oldest {
            if self.bytes <= bytes_max / 8 * 7 {
                return;
            }
            self.remove(mailbox);
        }
    }
}

impl Pictures {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { kept: Mutex::default(), bytes_max }
    }

    fn get(&self, mailbox: u64) -> Option<Picture> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.turn += 1;
        let turn = kept.turn;
        let entry = kept.by_mailbox.get_mut(&mailbox)?;
        entry.used = turn;
        Some(entry.picture.clone())
    }

    /// Keeps a picture.
    fn put(&self, mailbox: u64, picture: Picture) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let orders = kept.remove(mailbox).map(|entry| entry.orders).unwrap_or_default();
        kept.put(mailbox, picture, orders, self.bytes_max);
    }

    /// The order in which a mailbox was last sorted by these criteria, if that is known.
    pub(super) fn order(&self, mailbox: u64, criteria: &[Criterion]) -> Option<Arc<Places>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.turn += 1;
        let turn = kept.turn;
        let entry = kept.by_mailbox.get_mut(&mailbox)?;
        entry.used = turn;
        let at = entry.orders.iter().position(|order| order.criteria() == criteria)?;
        // The next one that is forgotten is another one.
        let order = entry.orders.remove(at);
        entry.orders.push(Arc::clone(&order));
        Some(order)
    }

    /// Keeps an order beside the picture of a mailbox, as long as that is kept.
    pub(super) fn keep_order(&self, mailbox: u64, order: Arc<Places>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Entry { picture, mut orders, .. }) = kept.remove(mailbox) else { return };
        orders.retain(|other| other.criteria() != order.criteria());
        orders.push(order);
        kept.put(mailbox, picture, orders, self.bytes_max);
    }

    /// What a mailbox holds, and the mailbox, as of now.
    pub(super) async fn look(&self, db: &Db, id: u64) -> Result<(MailboxRow, Rows), Failure> {
        // Before the snapshot, which then is no older.
        let kept = self.get(id);
        let snapshot = db.snapshot();
        let mailbox = snapshot.get::<MailboxRow>(&id)?.ok_or(Failure::NoSuchMailbox)?;
        let known = match kept {
            Some(picture) => Some(picture),
            None => stored(&snapshot, &mailbox)?,
        };
        let is_current = known.as_ref().is_some_and(|known| known.modseq == mailbox.modseq);
        let mut picture = match known {
            Some(picture) => match caught_up(&snapshot, &mailbox, picture)? {
                Some(picture) => picture,
                None => read(&snapshot, &mailbox).await?,
            },
            None => read(&snapshot, &mailbox).await?,
        };
        let rows = picture.rows.clone();
        if !is_current || picture.unstored.is_none() {
            store(db, &mailbox, &mut picture);
        }
        self.put(id, picture);
        Ok((mailbox, rows))
    }
}

/// A message as sessions see it.
#[must_use]
pub fn row(message: &MessageRow) -> Row {
    let keywords = message.keywords.iter().map(String::as_str);
    let flags = Flags::from_parts(message.flags, keywords);
    Row { uid: message.uid, modseq: message.modseq, flags }
}

/// Every message's row.
async fn read(snapshot: &Snapshot, mailbox: &MailboxRow) -> Result<Picture, Failure> {
    let mut rows = Rows::default();
    for message in snapshot.prefix::<MessageRow>(&(mailbox.id,)) {
        rows.push(&row(&message?));
        if rows.len().is_multiple_of(LOOKS_MAX) {
            tokio::task::yield_now().await;
        }
    }
    Ok(Picture { modseq: mailbox.modseq, rows, unstored: None })
}

/// An earlier picture with what changed since; `None`: that is too much.
fn caught_up(
    snapshot: &Snapshot,
    mailbox: &MailboxRow,
    mut picture: Picture,
) -> Result<Option<Picture>, Failure> {
    if picture.modseq == mailbox.modseq {
        return Ok(Some(picture));
    }
    let (id, after) = (mailbox.id, picture.modseq.saturating_add(1));
    let mut changes = 0;
    for gone in snapshot.range::<Vanished>((id, after, 0)..(id + 1, 0, 0)) {
        let gone = gone?;
        changes += picture.rows.remove(gone.first..=gone.last);
    }
    let most = (picture.rows.len() / 4).max(CHANGES_MIN);
    let mut changed = Vec::new();
    for message in snapshot.by_index_range::<MessageByModseq>((id, after)..(id + 1, 0)) {
        changed.push(row(&message?));
        if changed.len() > most {
            return Ok(None);
        }
    }
    changes += changed.len();
    changed.sort_unstable_by_key(|row| row.uid);
    for row in changed {
        match picture.rows.find(row.uid) {
            Ok(place) => picture.rows.replace(place, &row),
            Err(place) if place == picture.rows.len() => picture.rows.push(&row),
            // UIDs only grow, so this is no picture of this mailbox.
            Err(_) => return Ok(None),
        }
    }
    picture.modseq = mailbox.modseq;
    picture.unstored = picture.unstored.map(|before| before + changes);
    Ok(Some(picture))
}

/// The stored picture of a mailbox, if there is a whole one.
fn stored(snapshot: &Snapshot, mailbox: &MailboxRow) -> Result<Option<Picture>, Failure> {
    let mut picture = Picture { unstored: Some(0), ..Picture::default() };
    let mut parts = 0;
    for (number, part) in (0..).zip(snapshot.prefix::<PictureRow>(&(mailbox.id,))) {
        let part = part?;
        if number == 0 {
            (picture.modseq, parts) = (part.modseq, part.parts);
        }
        let is_right = part.part == number
            && (part.modseq, part.parts) == (picture.modseq, parts)
            && part.uid_validity == mailbox.uid_validity
            && part.modseq <= mailbox.modseq;
        if !is_right || take(&part.bytes.0, &mut picture.rows).is_none() {
            return Ok(None);
        }
        parts = part.parts;
        if number + 1 == parts {
            return Ok(Some(picture));
        }
    }
    Ok(None)
}

/// Stores a picture of a large mailbox, unless the stored one is nearly the same.
fn store(db: &Db, mailbox: &MailboxRow, picture: &mut Picture) {
    let is_large = (STORED_MESSAGES_MIN..=STORED_MESSAGES_MAX).contains(&mailbox.messages);
    let changes_max = picture.rows.len() / STORED_CHANGES_SHARE;
    if !is_large || picture.unstored.is_some_and(|changes| changes <= changes_max) {
        return;
    }
    let rows = parts(mailbox, picture);
    let kept = db.write_with(Durability::Buffered, |tx| {
        // It may be gone since.
        if tx.contains::<MailboxRow>(&mailbox.id)? {
            tx.delete_prefix::<PictureRow, _>(&(mailbox.id,))?;
            for row in &rows {
                tx.put(row)?;
            }
        }
        Ok::<_, StoreError>(())
    });
    match kept {
        Ok(_) => picture.unstored = Some(0),
        // The next one to look reads every row again.
        Err(error) => {
            let mailbox = mailbox.id;
            tracing::debug!(target: "grace", event = "PictureNotKept", mailbox, %error);
        }
    }
}

fn parts(mailbox: &MailboxRow, picture: &Picture) -> Vec<PictureRow> {
    let count = picture.rows.len().div_ceil(PART_MESSAGES);
    let parts = u32::try_from(count).unwrap_or(u32::MAX);
    let (mut bytes, mut all) = (Vec::new(), Vec::with_capacity(count));
    let mut rows = picture.rows.iter();
    for part in 0..parts {
        bytes.clear();
        put(&mut rows, &mut bytes);
        all.push(PictureRow {
            mailbox: mailbox.id,
            part,
            parts,
            uid_validity: mailbox.uid_validity,
            modseq: picture.modseq,
            bytes: Bytes(bytes.clone()),
        });
    }
    all
}

/// Writes the next rows of a part: [`FORMAT`], then of each row how far its UID and its
/// mod-sequence are from those before, its flags, and how many keywords it has, with those.
fn put(rows: &mut impl Iterator<Item = Row>, bytes: &mut Vec<u8>) {
    bytes.push(FORMAT);
    let (mut uid, mut modseq) = (0, 0);
    for row in rows.take(PART_MESSAGES) {
        put_number(u64::from(row.uid - uid), bytes);
        let (more, less) = (row.modseq.wrapping_sub(modseq), modseq.wrapping_sub(row.modseq));
        put_number(if row.modseq >= modseq { more << 1 } else { less << 1 | 1 }, bytes);
        bytes.push(row.flags.system_bits());
        put_number(row.flags.keywords().len() as u64, bytes);
        for keyword in row.flags.keywords().iter().map(Keyword::as_str) {
            put_number(keyword.len() as u64, bytes);
            bytes.extend_from_slice(keyword.as_bytes());
        }
        (uid, modseq) = (row.uid, row.modseq);
    }
}

/// Reads the rows of a part behind those that are there. `None`: these are not the bytes of one.
fn take(mut bytes: &[u8], rows: &mut Rows) -> Option<()> {
    let rest = &mut bytes;
    if take_byte(rest)? != FORMAT {
        return None;
    }
    let (mut uid, mut modseq) = (0u32, 0u64);
    while !rest.is_empty() {
        uid = uid.checked_add(u32::try_from(take_number(rest)?).ok()?)?;
        let step = take_number(rest)?;
        let far = step >> 1;
        modseq = if step & 1 == 0 { modseq.checked_add(far)? } else { modseq.checked_sub(far)? };
        let system = take_byte(rest)?;
        let count = take_number(rest)?;
        let flags = if count == 0 {
            Flags::from_parts(system, [])
        } else {
            let keywords: Option<Vec<&str>> = (0..count).map(|_| take_text(rest)).collect();
            Flags::from_parts(system, keywords?)
        };
        if rows.last_uid().is_some_and(|last| last >= uid) {
            return None;
        }
        rows.push(&Row { uid, modseq, flags });
    }
    Some(())
}

fn put_number(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap_or_default());
}

fn take_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*byte)
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take_byte(bytes)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(take_number(bytes)?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_what_was_put_into_them() {
        let row = |uid: u32, modseq: u64, bits: u8, keywords: &[&str]| {
            let flags = Flags::from_parts(bits, keywords.iter().copied());
            Row { uid, modseq, flags }
        };
        let mut rows: Rows = [
            row(1, u64::MAX / 2, 0, &[]),
            row(7, 3, 31, &["$Junk", "Work"]),
            row(900, 3, 1, &[]),
            row(u32::MAX, 1 << 40, 0, &["x"]),
        ]
        .into_iter()
        .collect();
        let mut bytes = Vec::new();
        put(&mut rows.iter(), &mut bytes);
        let mut back = Rows::default();
        take(&bytes, &mut back).unwrap();
        assert_eq!(back, rows);
        assert_eq!(take(&bytes, &mut back), None, "the same UIDs once more");
        for cut in 1..bytes.len() {
            let mut some = Rows::default();
            // Cut between two rows it is a shorter part.
            if take(&bytes[..cut], &mut some).is_some() {
                assert!(some.len() < rows.len());
            }
        }
        rows.remove(7..=7);
        assert_ne!(back, rows);
    }

    #[test]
    fn pictures_that_were_not_used_for_longest_make_room() {
        let picture = |count: u32| Picture {
            rows: (1..=count).map(|uid| Row { uid, modseq: 1, flags: Flags::none() }).collect(),
            ..Picture::default()
        };
        let one = picture(1_000).rows.bytes() + ENTRY_BYTES;
        let pictures = Pictures::new(one * 8);
        (1..=8).for_each(|mailbox| pictures.put(mailbox, picture(1_000)));
        assert!(pictures.get(1).is_some());
        pictures.put(9, picture(1_000));
        let kept: Vec<u64> = (1..=9).filter(|one| pictures.get(*one).is_some()).collect();
        assert_eq!(kept, [1, 4, 5, 6, 7, 8, 9]);
        pictures.put(9, picture(100_000));
        assert!(pictures.get(9).is_none(), "larger than all there is");
        assert_eq!(pictures.kept.lock().unwrap().bytes, one * 6);
    }

    #[test]
    fn orders_are_kept_beside_a_picture_and_count() {
        use grace_imap::sort::Key;
        let rows: Rows =
            (1..=1_000).map(|uid| Row { uid, modseq: 1, flags: Flags::none() }).collect();
        let picture = Picture { rows, ..Picture::default() };
        let by = |key: Key| [Criterion { key, reverse: false }];
        let order = |key: Key| Arc::new(Places::new(&by(key), 1..=1_000));
        let own = picture.rows.bytes() + ENTRY_BYTES;
        let pictures = Pictures::new(own + 2 * order(Key::Date).bytes());
        pictures.keep_order(1, order(Key::Date));
        assert_eq!(pictures.order(1, &by(Key::Date)), None, "there is no picture");

        pictures.put(1, picture.clone());
        pictures.keep_order(1, order(Key::Date));
        pictures.keep_order(1, order(Key::From));
        pictures.put(1, picture.clone());
        assert_eq!(pictures.order(1, &by(Key::Date)), Some(order(Key::Date)));
        assert_eq!(pictures.order(2, &by(Key::Date)), None);
        // The one that was not used makes room, and the picture stays.
        pictures.keep_order(1, order(Key::Size));
        assert_eq!(pictures.order(1, &by(Key::From)), None);
        assert!(pictures.order(1, &by(Key::Date)).is_some() && pictures.get(1).is_some());
        assert_eq!(pictures.kept.lock().unwrap().bytes, pictures.bytes_max);
        // The same once more counts once.
        pictures.keep_order(1, order(Key::Date));
        assert!(pictures.order(1, &by(Key::Size)).is_some());
        assert_eq!(pictures.kept.lock().unwrap().bytes, pictures.bytes_max);
    }
}
