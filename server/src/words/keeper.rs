//! Makes the index: follows what came, merges what has become many, and forgets what is of no use.
//!
//! ```text
//!   look ─▶ mailboxes with something to do ─▶ each: of another format, or broken ─▶ forgotten
//!                                                   segments of one size          ─▶ merged
//!                                                   messages without a segment    ─▶ gathered
//!                                                   most messages are gone        ─▶ merged
//! ```
//! Work comes in steps of some milliseconds on a thread of its own, with a rest after each by the
//! settings. Invariants: a segment and what it replaces change in one transaction, and only while
//! the mailbox is there under the UIDVALIDITY it was made for; a stop ends the work after a step,
//! and what was not written is done again.
//! Not here: what segments hold (`gather`, `merge`).

use std::collections::HashMap;
use std::time::Duration;

use gracedb::engine::Durability;
use gracedb::error::Error as StoreError;
use gracedb::large::Large;
use gracedb::view::{Rows, Snapshot, View as _};
use gracedb::write::WriteTx;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::bits::SPAN_MAX;
use super::gather::{Gathered, Made};
use super::merge::Merge;
use super::slab::Unread;
use super::{Words, format, is_of_use};
use crate::store::failure::Failure;
use crate::store::messages::{MailboxRow, MessageRow};
use crate::store::words::{WordSegmentRow, WordSlabRow, remove_all_words, remove_words};
use crate::telemetry::stop::Stop;

/// How long a step takes, but for one message: as long others may wait for the processor.
const STEP: Duration = Duration::from_millis(20);

/// So many segments of one size become one. Each message is written anew whenever there are four
/// times as many, and a search reads three segments of each size at most.
const MERGED_AT_ONCE: usize = 4;

/// How many times longer than looking for work took is waited until the next look.
const LOOK_SHARE: u32 = 20;

/// How long is waited after a failure: a full disk is not emptied in seconds.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// How much of a processor the work may take, and who ends it.
struct Pace {
    percent: u32,
    stop: Stop,
}

impl Pace {
    /// Rests after work; says whether to go on.
    async fn rest(&self, begun: Instant) -> bool {
        let rest = begun.elapsed() * (100 - self.percent.min(100)) / self.percent.max(1);
        tokio::select! {
            () = self.stop.wait() => {}
            () = sleep(rest) => {}
        }
        !self.stop.is_said()
    }
}

impl Words {
    /// Keeps the index until told to stop.
    pub async fn keep(self, stop: Stop) {
        if !self.is_on() {
            return tell(self.forget_all().await);
        }
        let percent = u32::try_from(self.settings.index_share_percent).unwrap_or(100);
        let pace = Pace { percent, stop };
        let mut seen = None;
        loop {
            let mut wait = Duration::from_secs(self.settings.index_look_s);
            let newest = self.db.snapshot().sequence();
            if seen.replace(newest) != Some(newest) {
                match self.pass(&pace).await {
                    Ok(looked) => wait = wait.max(looked * LOOK_SHARE),
                    Err(failure) => {
                        (seen, wait) = (None, wait.max(AFTER_FAILURE));
                        tell(Err(failure));
                    }
                }
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = pace.stop.wait() => return,
            }
        }
    }

    /// Brings the index up to what there is now, without a rest.
    ///
    /// # Errors
    /// The database failed.
    pub async fn catch_up(&self) -> Result<(), Failure> {
        if !self.is_on() {
            return self.forget_all().await;
        }
        self.pass(&Pace { percent: 100, stop: Stop::default() }).await.map(drop)
    }

    /// Does all there is to do; says how long it took to find out what that is.
    async fn pass(&self, pace: &Pace) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let words = self.clone();
        let mailboxes = run(move || words.look()).await?;
        let looked = begun.elapsed();
        for mailbox in mailboxes {
            if !self.tend(mailbox, pace).await? {
                break;
            }
        }
        Ok(looked)
    }

    /// The mailboxes with something to do.
    fn look(&self) -> Result<Vec<u64>, Failure> {
        let snapshot = self.db.snapshot();
        let mut by_mailbox: HashMap<u64, Vec<WordSegmentRow>> = HashMap::new();
        for segment in snapshot.scan::<WordSegmentRow>() {
            let segment = segment?;
            by_mailbox.entry(segment.mailbox).or_default().push(segment);
        }
        let mut mailboxes = Vec::new();
        for row in snapshot.scan::<MailboxRow>() {
            let row = row?;
            let segments = by_mailbox.remove(&row.id).unwrap_or_default();
            if self.is_broken(row.id) || self.todo(&row, &segments).is_some() {
                mailboxes.push(row.id);
            }
        }
        Ok(mailboxes)
    }

    /// Does what there is to do for a mailbox; says whether to go on.
    async fn tend(&self, mailbox: u64, pace: &Pace) -> Result<bool, Failure> {
        loop {
            if self.take_broken(mailbox) {
                self.forget(mailbox).await?;
            }
            let snapshot = self.db.snapshot();
            let Some(row) = snapshot.get::<MailboxRow>(&mailbox)? else { return Ok(true) };
            let segments = snapshot.prefix::<WordSegmentRow>(&(mailbox,));
            let segments = segments.collect::<Result<Vec<_>, StoreError>>()?;
            let goes_on = match self.todo(&row, &segments) {
                None => return Ok(true),
                Some(Work::Forget) => {
                    self.forget(mailbox).await?;
                    true
                }
                Some(Work::Gather(first)) => self.gather(snapshot, row, first, pace).await?,
                Some(Work::Merge(from, to)) => {
                    let some = segments.get(from..to).unwrap_or_default().to_vec();
                    self.merge(snapshot, some, pace).await?
                }
            };
            if !goes_on {
                return Ok(false);
            }
        }
    }

    /// What is to be done for a mailbox next.
    fn todo(&self, row: &MailboxRow, segments: &[WordSegmentRow]) -> Option<Work> {
        if segments.iter().any(|segment| !is_of_use(segment, row)) {
            return Some(Work::Forget);
        }
        if let Some(from) = crowded(segments) {
            return Some(Work::Merge(from, segments.len()));
        }
        let first = segments.last().map_or(Some(1), |last| last.last.checked_add(1))?;
        let wait = self.settings.index_wait_messages;
        if u64::from(row.uid_next.saturating_sub(first)) >= wait {
            return Some(Work::Gather(first));
        }
        let known: u64 = segments.iter().map(|segment| u64::from(segment.messages)).sum();
        (known > 2 * u64::from(row.messages) + wait)
            .then_some(Work::Merge(0, segments.len()))
            .filter(|_| spans(segments) <= SPAN_MAX)
    }

    /// Makes a segment of messages from a UID on, as many as memory holds.
    async fn gather(
        &self,
        snapshot: Snapshot,
        mailbox: MailboxRow,
        first: u32,
        pace: &Pace,
    ) -> Result<bool, Failure> {
        let mut reading = Reading::new(snapshot, &mailbox, first);
        let bytes_max = usize::try_from(self.settings.index_memory_bytes).unwrap_or(usize::MAX);
        while !reading.is_over && reading.gathered.bytes < bytes_max {
            let begun = Instant::now();
            reading = run(move || reading.step(bytes_max)).await?;
            if !pace.rest(begun).await {
                return Ok(false);
            }
        }
        let Reading { last, gathered, .. } = reading;
        let segment = WordSegmentRow {
            mailbox: mailbox.id,
            first,
            last,
            uid_validity: mailbox.uid_validity,
            format: format(),
            messages: gathered.messages,
            unsure: gathered.unsure.clone(),
        };
        let begun = Instant::now();
        let made = run(move || Ok(gathered.into_slabs())).await?;
        let goes_on = pace.rest(begun).await;
        let mut slabs = Vec::with_capacity(made.len());
        for made in made {
            slabs.push(self.upload(&segment, made).await?);
        }
        self.put(segment, slabs, &[]).await?;
        Ok(goes_on)
    }

    /// Makes one segment of several.
    async fn merge(
        &self,
        snapshot: Snapshot,
        segments: Vec<WordSegmentRow>,
        pace: &Pace,
    ) -> Result<bool, Failure> {
        let Some(mailbox) = segments.first().map(|segment| segment.mailbox) else {
            return Ok(true);
        };
        let replaced: Vec<u32> = segments.iter().map(|segment| segment.first).collect();
        let merged = self.merged(snapshot, segments, pace).await;
        match merged {
            Ok(Some((segment, slabs))) => {
                self.put(segment, slabs, &replaced).await?;
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(Unread::Store(error)) => Err(error.into()),
            Err(Unread::Malformed) => {
                self.tell_broken(mailbox);
                Ok(true)
            }
        }
    }

    /// The segment that several become; `None`: it was stopped.
    async fn merged(
        &self,
        snapshot: Snapshot,
        segments: Vec<WordSegmentRow>,
        pace: &Pace,
    ) -> Result<Option<(WordSegmentRow, Vec<WordSlabRow>)>, Unread> {
        let mut merge = blocking(move || Merge::begin(snapshot, segments)).await?;
        let segment = merge.row().ok_or(Unread::Malformed)?;
        let mut slabs = Vec::new();
        loop {
            let begun = Instant::now();
            let (after, made) = blocking(move || {
                let made = merge.next()?;
                Ok::<_, Unread>((merge, made))
            })
            .await?;
            merge = after;
            let Some(made) = made else { return Ok(Some((segment, slabs))) };
            slabs.push(self.upload(&segment, made).await?);
            if !pace.rest(begun).await {
                return Ok(None);
            }
        }
    }

    async fn upload(
        &self,
        segment: &WordSegmentRow,
        made: Made,
    ) -> Result<WordSlabRow, StoreError> {
        let Made { field, number, bytes } = made;
        let mut writer = self.db.large_writer();
        writer.write(&bytes).await?;
        let bytes: Large = writer.finish().await?;
        let (mailbox, first) = (segment.mailbox, segment.first);
        Ok(WordSlabRow { mailbox, first, field: field as u8, number, bytes })
    }

    /// Puts a segment in the place of others, if its mailbox is still there.
    async fn put(
        &self,
        segment: WordSegmentRow,
        slabs: Vec<WordSlabRow>,
        replaced: &[u32],
    ) -> Result<(), Failure> {
        self.write(|tx| {
            let mailbox = tx.get::<MailboxRow>(&segment.mailbox)?;
            if mailbox.is_none_or(|row| row.uid_validity != segment.uid_validity) {
                return Ok(());
            }
            for first in replaced {
                tx.delete::<WordSegmentRow>(&(segment.mailbox, *first))?;
                tx.delete_prefix::<WordSlabRow, _>(&(segment.mailbox, *first))?;
            }
            slabs.iter().try_for_each(|slab| tx.put(slab))?;
            tx.put(&segment)
        })
        .await
    }

    async fn forget(&self, mailbox: u64) -> Result<(), Failure> {
        self.write(|tx| remove_words(tx, mailbox)).await
    }

    async fn forget_all(&self) -> Result<(), Failure> {
        let snapshot = self.db.snapshot();
        let is_empty = snapshot.scan::<WordSegmentRow>().next().is_none();
        if is_empty { Ok(()) } else { self.write(remove_all_words).await }
    }

    /// Writes what a power cut may take back: then it is made again.
    async fn write(
        &self,
        transaction: impl FnOnce(&mut WriteTx<'_>) -> Result<(), StoreError>,
    ) -> Result<(), Failure> {
        Ok(self.db.write_with(Durability::Buffered, transaction)?.await?)
    }
}

/// What is to be done for a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Its segments are of no use.
    Forget,
    /// Messages from this UID on have no segment.
    Gather(u32),
    /// Segments from one place up to, not including, another are to be one.
    Merge(usize, usize),
}

/// From which segment on all are to be one: there are enough of one size.
fn crowded(segments: &[WordSegmentRow]) -> Option<usize> {
    let size = |segment: &WordSegmentRow| segment.messages.max(1).ilog(4);
    let mut sizes: Vec<u32> = segments.iter().map(size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes.into_iter().find_map(|most| {
        let rest = segments.iter().rev().take_while(|segment| size(segment) <= most).count();
        let from = segments.len() - rest;
        let enough = rest >= MERGED_AT_ONCE;
        (enough && spans(segments.get(from..)?) <= SPAN_MAX).then_some(from)
    })
}

/// UIDs from the first to the last of some segments.
fn spans(segments: &[WordSegmentRow]) -> u32 {
    match (segments.first(), segments.last()) {
        (Some(one), Some(other)) => other.last.saturating_sub(one.first).saturating_add(1),
        _ => 0,
    }
}

/// Messages that are read for a segment.
struct Reading {
    snapshot: Snapshot,
    rows: Rows<MessageRow>,
    gathered: Gathered,
    /// All messages up to this UID were read.
    last: u32,
    /// The last UID that may be read.
    end: u32,
    is_over: bool,
}

impl Reading {
    fn new(snapshot: Snapshot, mailbox: &MailboxRow, first: u32) -> Self {
        // What the snapshot does not have gets a greater UID.
        let end = mailbox.uid_next.saturating_sub(1).min(first.saturating_add(SPAN_MAX - 1));
        let rows = snapshot.range::<MessageRow>((mailbox.id, first)..=(mailbox.id, end));
        let gathered = Gathered::new(first);
        Self { snapshot, rows, gathered, last: end, end, is_over: false }
    }

    /// Reads some messages.
    fn step(mut self, bytes_max: usize) -> Result<Self, Failure> {
        let begun = Instant::now();
        while begun.elapsed() < STEP && self.gathered.bytes < bytes_max {
            let Some(message) = self.rows.next().transpose()? else {
                (self.last, self.is_over) = (self.end, true);
                return Ok(self);
            };
            let size = usize::try_from(message.size()).unwrap_or(usize::MAX);
            match self.snapshot.open_large(&message.body).read_all(size) {
                Ok(raw) => self.gathered.add(message.uid, &raw),
                // Whoever looks for something in it meets the damage, and tells of it.
                Err(StoreError::Corrupt { .. } | StoreError::Unknown { .. }) => {
                    self.gathered.add_unread(message.uid);
                }
                Err(error) => return Err(error.into()),
            }
            self.last = message.uid;
        }
        Ok(self)
    }
}

/// Runs work on a thread where it holds up nobody.
async fn blocking<T: Send + 'static, E: From<StoreError> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    // It fails only where the runtime ends, and the database with it.
    spawn_blocking(work).await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
}

async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    blocking(work).await
}

/// Tells of a failure: it is tried again at the next look.
fn tell(done: Result<(), Failure>) {
    if let Err(error) = done {
        tracing::warn!(target: "grace", event = "SearchIndexNotMade", %error);
    }
}
