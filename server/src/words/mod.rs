//! The index of texts: in which messages of a mailbox a text is, without reading them.
//!
//! ```text
//!   messages, some time after they came ─▶ keeper: gather, merge ─▶ segments: slabs of terms
//!                                                                       │
//!   texts that are looked for ─────────────────────────────────────▶ find ─▶ where they are for
//!                                                  sure; what is in doubt, whoever asks must read
//! ```
//! A segment is of all messages of a mailbox between two UIDs. UIDs only grow and a message never
//! changes, so it stays true for ever; what came after the last one is in doubt, and nothing is
//! answered from an index that is behind. It follows from the messages alone: it may be missing, be
//! of another format, or be lost with the power; then more is in doubt until it is made anew.
//! Invariants: a message is among the sure ones if and only if the text is in it, unless it is in
//! doubt; nobody waits for the keeper.
//! Not here: what the texts of a message are, and what of them is a term (`grace_mail`).

mod bits;
mod gather;
mod keeper;
mod merge;
mod slab;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gracedb::db::Db;
use gracedb::error::Error as StoreError;
use gracedb::large::Large;
use gracedb::view::{Snapshot, View as _};

use grace_mail::terms::{Plan, Sought};
use grace_mail::text::Needle;

use self::bits::Bits;
use self::slab::{Enough, Slab, Unread, read_uids};
use crate::config::limits::Search;
use crate::store::failure::Failure;
use crate::store::messages::MailboxRow;
use crate::store::words::{Field, WordSegmentRow, WordSlabRow};

/// How terms and slabs are made, today. Whoever changes either adds one.
const FORMAT: u32 = 1;

/// Texts of one search that are looked for; those behind are in doubt everywhere. People write two
/// or three.
const TEXTS_MAX: usize = 64;

/// The index of texts. Cloning gives another handle.
#[derive(Clone)]
pub struct Words {
    db: Db,
    settings: Search,
    /// Mailboxes whose index cannot be read: it is made anew.
    broken: Arc<Mutex<BTreeSet<u64>>>,
}

/// A text that is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The text.
    pub needle: Needle,
    /// Also in the message's own header.
    pub in_head: bool,
}

/// Where a text is, by UID, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// It is in these messages.
    pub sure: Vec<RangeInclusive<u32>>,
    /// It may be in these, if they exist; it is in no others.
    pub doubt: Vec<RangeInclusive<u32>>,
}

impl Words {
    /// The index kept in `db`.
    #[must_use]
    pub fn new(db: Db, settings: &Search) -> Self {
        Self { db, settings: settings.clone(), broken: Arc::default() }
    }

    /// Says of each text in which messages of a mailbox it is.
    ///
    /// # Errors
    /// The database failed.
    pub async fn find(&self, mailbox: u64, texts: Vec<Text>) -> Result<Vec<Found>, Failure> {
        let (words, snapshot) = (self.clone(), self.db.snapshot());
        let found = move || words.find_now(&snapshot, mailbox, &texts);
        tokio::task::spawn_blocking(found).await.map_err(|_| Failure::Store(StoreError::Closed))?
    }

    fn find_now(
        &self,
        snapshot: &Snapshot,
        mailbox: u64,
        texts: &[Text],
    ) -> Result<Vec<Found>, Failure> {
        let plans: Vec<Plan> =
            texts.iter().take(TEXTS_MAX).map(|text| Plan::new(&text.needle)).collect();
        let mut found = vec![Found::default(); plans.len()];
        let mut next = Some(1);
        for segment in self.segments(snapshot, mailbox)? {
            if let Some(from) = next.filter(|from| *from < segment.first) {
                found.iter_mut().for_each(|found| found.doubt.push(from..=segment.first - 1));
            }
            next = segment.last.checked_add(1);
            let slabs = Slabs::of(snapshot, &segment)?;
            for ((text, plan), found) in texts.iter().zip(&plans).zip(&mut found) {
                match slabs.find(plan, text.in_head) {
                    Ok(bits) => found.add(&segment, plan, &bits),
                    Err(Unread::Store(error)) => return Err(error.into()),
                    Err(Unread::Malformed) => {
                        self.tell_broken(mailbox);
                        found.doubt.push(segment.first..=segment.last);
                    }
                }
            }
        }
        if let Some(from) = next {
            found.iter_mut().for_each(|found| found.doubt.push(from..=u32::MAX));
        }
        let all = Found { sure: Vec::new(), doubt: vec![1..=u32::MAX] };
        found.resize(texts.len(), all);
        Ok(found)
    }

    /// The segments of a mailbox that are of use, ascending.
    fn segments(
        &self,
        snapshot: &Snapshot,
        mailbox: u64,
    ) -> Result<Vec<WordSegmentRow>, StoreError> {
        let Some(row) = snapshot.get::<MailboxRow>(&mailbox)? else { return Ok(Vec::new()) };
        if !self.is_on() {
            return Ok(Vec::new());
        }
        let mut segments = Vec::new();
        for segment in snapshot.prefix::<WordSegmentRow>(&(mailbox,)) {
            segments.push(segment?);
        }
        segments.retain(|segment| is_of_use(segment, &row));
        Ok(segments)
    }

    fn is_on(&self) -> bool {
        self.settings.index == "on"
    }

    fn broken(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_broken(&self, mailbox: u64) -> bool {
        self.broken().contains(&mailbox)
    }

    fn take_broken(&self, mailbox: u64) -> bool {
        self.broken().remove(&mailbox)
    }

    fn tell_broken(&self, mailbox: u64) {
        if self.broken().insert(mailbox) {
            tracing::warn!(
                target: "grace", event = "SearchIndexBroken", mailbox, "it is made anew"
            );
        }
    }
}

/// Whether a segment can be read today, and is of the messages the mailbox has.
fn is_of_use(segment: &WordSegmentRow, mailbox: &MailboxRow) -> bool {
    segment.format == format() && segment.uid_validity == mailbox.uid_validity
}

/// The format, and the Unicode that letters and their cases are of: with another one, terms may be
/// others.
fn format() -> u32 {
    let (major, minor, update) = char::UNICODE_VERSION;
    FORMAT << 24 | u32::from(major) << 16 | u32::from(minor) << 8 | u32::from(update)
}

impl Found {
    /// Adds what a segment says.
    fn add(&mut self, segment: &WordSegmentRow, plan: &Plan, bits: &Bits) {
        if plan.sought.is_empty() {
            self.doubt.push(segment.first..=segment.last);
            return;
        }
        let mut doubt: Vec<u32> =
            segment.unsure.iter().filter(|uid| !bits.contains(**uid)).copied().collect();
        if plan.is_exact {
            bits.iter().for_each(|uid| push(&mut self.sure, uid));
        } else {
            doubt.extend(bits.iter());
            doubt.sort_unstable();
        }
        doubt.into_iter().for_each(|uid| push(&mut self.doubt, uid));
    }
}

/// Adds a UID that is greater than all before.
fn push(ranges: &mut Vec<RangeInclusive<u32>>, uid: u32) {
    match ranges.last_mut() {
        Some(last) if last.end().checked_add(1) == Some(uid) => *last = *last.start()..=uid,
        _ => ranges.push(uid..=uid),
    }
}

/// The slabs of a segment.
struct Slabs<'a> {
    snapshot: &'a Snapshot,
    range: RangeInclusive<u32>,
    messages: u32,
    head: Vec<Large>,
    body: Vec<Large>,
}

impl<'a> Slabs<'a> {
    fn of(snapshot: &'a Snapshot, segment: &WordSegmentRow) -> Result<Self, StoreError> {
        let (range, messages) = (segment.first..=segment.last, segment.messages);
        let mut slabs = Self { snapshot, range, messages, head: Vec::new(), body: Vec::new() };
        for slab in snapshot.prefix::<WordSlabRow>(&(segment.mailbox, segment.first)) {
            let WordSlabRow { field, bytes, .. } = slab?;
            if field == Field::Head as u8 { slabs.head.push(bytes) } else { slabs.body.push(bytes) }
        }
        Ok(slabs)
    }

    /// The messages whose terms contain what a plan looks for, in one of the fields.
    fn find(&self, plan: &Plan, in_head: bool) -> Result<Bits, Unread> {
        let mut found = self.with_all(&self.body, &plan.sought)?;
        if in_head && found.count() < self.messages {
            found.add(&self.with_all(&self.head, &plan.sought)?);
        }
        Ok(found)
    }

    fn with_all(&self, slabs: &[Large], sought: &[Sought]) -> Result<Bits, Unread> {
        let mut common: Option<Bits> = None;
        for one in sought {
            let mut bits = Bits::none(&self.range);
            for slab in slabs {
                let mut slab = Slab::open(self.snapshot.open_large(slab))?;
                let first = *self.range.start();
                let enough = slab.find(one, |uids| {
                    read_uids(uids, first, |uid| bits.insert(uid))?;
                    // A common piece of a word is in all of them before long.
                    Ok(Enough(bits.count() >= self.messages))
                })?;
                if enough.0 {
                    break;
                }
            }
            match &mut common {
                None => common = Some(bits),
                Some(common) => common.keep(&bits),
            }
            if common.as_ref().is_some_and(|common| common.count() == 0) {
                break;
            }
        }
        Ok(common.unwrap_or_else(|| Bits::none(&self.range)))
    }
}
