//! Messages of the past, looked for by their words, their time and what came of them.
//!
//! ```text
//!   words ─▶ stories of each, the newest [`STORIES_MAX`] ─▶ those in all ─▶ rows of all their
//!   time, outcome ─▶ stories of the rows themselves ─┘                     pages, merged
//! ```
//! Where there are more stories than are held, the answer ends where the ones held do, and says
//! where to go on. Invariants: an answer has all that fits down to its end; work and memory are
//! bounded by the constants here, whatever is looked for.
//! Not here: what is kept, and how (`index`).

use std::collections::BTreeSet;
use std::ops::Range;

use gracedb::view::{Snapshot, View as _};

use grace_ipc::event::{Event, TraceId};
use grace_ipc::trace::{TraceFilter, TraceOutcome, TraceRow};

use super::History;
use super::index::{address_word, folded, merged};
use super::story::{Notices, Story};
use crate::store::failure::Failure;
use crate::store::outgoing::{base32, from_base32};
use crate::store::refusal::Refusal;
use crate::store::traces::{StoryId, TraceLaterRow, TracePage, TraceWordRow, TracedRow, WordKind};

/// Stories of one word that are held at once: a megabyte or two.
const STORIES_MAX: usize = 50_000;
/// Stories whose rows are read for one answer: a second of work.
const READ_MAX: usize = 20_000;
/// Events on pages whose rows are looked through for one time and outcome; a row stands for some
/// six of them, so this is a second of work.
const SCANNED_MAX: u64 = 2_000_000;
/// Events of one story. A message to a thousand recipients, tried for days, has fewer.
const EVENTS_MAX: usize = 20_000;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The messages, the newest first.
    pub rows: Vec<TraceRow>,
    /// Before which place to go on; `None`: these were all.
    pub next: Option<u64>,
}

impl History {
    /// Messages, and refusals before there was one, that fit; of those before a place, and at most
    /// so many.
    ///
    /// # Errors
    /// Something that is looked for is written in a way nothing is; or the database failed.
    pub fn search(
        &self,
        filter: &TraceFilter,
        rows_max: usize,
        before: Option<u64>,
    ) -> Result<Found, Refusal> {
        let wanted = wanted(filter)?;
        let start = StoryId::first_of(filter.from_us.unwrap_or_default()).number();
        let end = StoryId::first_of(filter.to_us.unwrap_or(u64::MAX)).number();
        let range = start..end.min(before.unwrap_or(u64::MAX));
        let past = Past::open(self.db.snapshot())?;
        let (stories, floor) = past.stories(&wanted, filter.outcome, &range, rows_max)?;
        let mut rows = Vec::new();
        for (read, &story) in stories.iter().rev().enumerate() {
            if read == READ_MAX || rows.len() == rows_max {
                // From here on it goes on, with this one.
                return Ok(Found { rows, next: Some(story + 1) });
            }
            let row = past.row(StoryId::from_number(story))?;
            rows.extend(row.map(told).filter(|row| filter.outcome.is_none_or(|o| came_to(row, o))));
        }
        let next = Some(floor).filter(|floor| *floor > range.start);
        Ok(Found { rows, next })
    }

    /// What happened to the message with this number, from its connection on, or on the connection
    /// with this trace; the oldest first.
    ///
    /// # Errors
    /// Nothing is kept of it; or the database failed.
    pub fn story(&self, id: &str) -> Result<Vec<Event>, Refusal> {
        let past = Past::open(self.db.snapshot())?;
        if let Some(number) = from_base32(id)
            && let Some(row) = past.row(StoryId::message(number))?
        {
            let mut notices = Notices::default();
            for event in self.trace(TraceId(row.trace))? {
                notices.note(&event?.kind);
            }
            let mut story = Story::of(&base32(number), notices);
            let events = self.trace(TraceId(row.trace))?;
            let part = events.filter(|event| event.as_ref().map_or(true, |e| story.takes(&e.kind)));
            return Ok(part.take(EVENTS_MAX).collect::<Result<_, _>>()?);
        }
        let trace = id.parse().map(TraceId).unwrap_or_default();
        let events: Vec<Event> = self.trace(trace)?.take(EVENTS_MAX).collect::<Result<_, _>>()?;
        if events.is_empty() {
            return Err(Refusal::Missing(format!("event of {id:?} that is still kept")));
        }
        Ok(events)
    }
}

/// A word that is looked for.
enum Wanted {
    /// This one.
    Word(WordKind, String),
    /// One that begins so.
    Beginning(WordKind, String),
    /// The message with this number.
    Message(StoryId),
}

/// What a filter looks for by words.
fn wanted(filter: &TraceFilter) -> Result<Vec<Wanted>, Refusal> {
    let TraceFilter { sender, recipient, message_id, queue_id, .. } = filter;
    let mut all = Vec::new();
    all.extend(sender.as_deref().map(|sender| address(WordKind::Sender, sender)));
    all.extend(recipient.as_deref().map(|recipient| address(WordKind::Recipient, recipient)));
    all.extend(message_id.as_deref().map(|id| {
        let id = id.trim();
        let bare = id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or(id);
        Wanted::Word(WordKind::MessageId, folded(bare))
    }));
    if let Some(id) = queue_id {
        let none = || Refusal::Invalid(format!("{id:?} is not the number of a message"));
        all.push(Wanted::Message(StoryId::message(from_base32(id).ok_or_else(none)?)));
    }
    Ok(all)
}

/// `ann@example.org`, `@example.org`, `an*@example.org`, or nobody.
fn address(kind: WordKind, text: &str) -> Wanted {
    let text = text.trim();
    let text = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
    match text.rsplit_once('@') {
        Some(("", domain)) => Wanted::Beginning(kind, folded(&format!("{domain}@"))),
        Some((local, domain)) if local.ends_with('*') => {
            let beginning = local.trim_end_matches('*');
            Wanted::Beginning(kind, folded(&format!("{domain}@{beginning}")))
        }
        _ => Wanted::Word(kind, address_word(text)),
    }
}

/// Stories in their order, all from the floor on.
struct Stories {
    held: BTreeSet<u64>,
    floor: u64,
    max: usize,
}

impl Stories {
    fn new(max: usize) -> Self {
        Self { held: BTreeSet::new(), floor: 0, max }
    }

    /// Holds one; the oldest goes where there are too many.
    fn hold(&mut self, story: u64) {
        if story >= self.floor {
            self.held.insert(story);
            if self.held.len() > self.max
                && let Some(oldest) = self.held.pop_first()
            {
                self.floor = oldest + 1;
            }
        }
    }

    /// Lets go of all before a story.
    fn cut(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
        self.held = self.held.split_off(&self.floor);
    }

    /// Whether nothing that began before a story is wanted any more.
    fn is_beyond(&self, story: u64) -> bool {
        story < self.floor
    }
}

/// The past as of one moment.
struct Past {
    view: Snapshot,
    /// By their beginning.
    pages: Vec<TracePage>,
}

impl Past {
    fn open(view: Snapshot) -> Result<Self, Failure> {
        let pages = view.scan::<TracePage>().collect::<Result<_, _>>()?;
        Ok(Self { view, pages })
    }

    /// The stories in all that is wanted, and from which on they are all.
    fn stories(
        &self,
        wanted: &[Wanted],
        outcome: Option<TraceOutcome>,
        range: &Range<u64>,
        rows_max: usize,
    ) -> Result<(Vec<u64>, u64), Failure> {
        let (first, others) = match wanted.split_first() {
            Some((first, others)) => (self.of_word(first, range)?, others),
            None => (self.of_time(outcome, range, rows_max.saturating_add(1))?, wanted),
        };
        let Stories { mut held, mut floor, .. } = first;
        for other in others {
            let other = self.of_word(other, range)?;
            held.retain(|story| other.held.contains(story));
            floor = floor.max(other.floor);
        }
        Ok((held.split_off(&floor).into_iter().collect(), floor))
    }

    /// The stories that have a word.
    fn of_word(&self, wanted: &Wanted, range: &Range<u64>) -> Result<Stories, Failure> {
        let mut stories = Stories::new(STORIES_MAX);
        let (kind, low, high) = match wanted {
            Wanted::Message(story) => {
                if range.contains(&story.number()) {
                    stories.hold(story.number());
                }
                return Ok(stories);
            }
            Wanted::Word(kind, word) => {
                (*kind as u8, (word.clone(), range.start), (word.clone(), range.end))
            }
            Wanted::Beginning(kind, word) => {
                (*kind as u8, (word.clone(), 0), (format!("{word}{}", char::MAX), 0))
            }
        };
        for page in self.pages_back(range) {
            if stories.is_beyond(StoryId::first_of(page.newest_us + 1).number()) {
                break;
            }
            let from = (page.began_us, kind, low.0.clone(), low.1);
            let to = (page.began_us, kind, high.0.clone(), high.1);
            for row in self.view.range::<TraceWordRow>(from..to).rev() {
                let story = row?.story;
                if range.contains(&story) {
                    stories.hold(story);
                }
            }
        }
        Ok(stories)
    }

    /// The stories of a time of which something came to this.
    fn of_time(
        &self,
        outcome: Option<TraceOutcome>,
        range: &Range<u64>,
        max: usize,
    ) -> Result<Stories, Failure> {
        let (mut stories, mut scanned) = (Stories::new(max), 0);
        for page in self.pages_back(range) {
            // Nothing on this page and on older ones began later.
            let end = StoryId::first_of(page.newest_us + 1).number();
            if stories.is_beyond(end) {
                break;
            }
            if scanned >= SCANNED_MAX {
                stories.cut(end);
                break;
            }
            scanned += u64::from(page.rows);
            let rows = (page.began_us, range.start)..(page.began_us, range.end);
            for row in self.view.range::<TracedRow>(rows).rev() {
                let row = row?;
                if stories.is_beyond(row.story) {
                    break;
                }
                let story = row.story;
                if outcome.is_none_or(|outcome| came_to(&told(row), outcome)) {
                    stories.hold(story);
                }
            }
        }
        Ok(stories)
    }

    /// Pages that may have stories of a range, the newest first.
    fn pages_back(&self, range: &Range<u64>) -> impl Iterator<Item = &TracePage> {
        let from_us = StoryId::from_number(range.start).began_us();
        self.pages.iter().rev().filter(move |page| page.newest_us >= from_us)
    }

    /// What all pages say of a story; `None`: nothing.
    fn row(&self, story: StoryId) -> Result<Option<TracedRow>, Failure> {
        let mut whole: Option<TracedRow> = None;
        for page in self.pages_of(story)? {
            if let Some(row) = self.view.get::<TracedRow>(&(page, story.number()))? {
                whole = Some(match whole {
                    Some(earlier) => merged(earlier, row),
                    None => row,
                });
            }
        }
        Ok(whole)
    }

    /// The pages that may say something of a story, in their order.
    fn pages_of(&self, story: StoryId) -> Result<BTreeSet<u64>, Failure> {
        let began = self.pages.partition_point(|page| page.began_us <= story.began_us());
        if began == 0 {
            // Of what is older than all pages nobody knows any more where it goes on.
            return Ok(self.pages.iter().map(|page| page.began_us).collect());
        }
        // Clocks of two threads may disagree about which came first: the one before, too.
        let near = self.pages.get(began.saturating_sub(2)..began).unwrap_or_default();
        let mut pages: BTreeSet<u64> = near.iter().map(|page| page.began_us).collect();
        for later in self.view.prefix::<TraceLaterRow>(&(story.number(),)) {
            pages.insert(later?.page);
        }
        Ok(pages)
    }
}

/// Whether something of it came to this.
fn came_to(row: &TraceRow, outcome: TraceOutcome) -> bool {
    let count = match outcome {
        TraceOutcome::Delivered => row.delivered,
        TraceOutcome::Junk => row.junk,
        TraceOutcome::Deferred => row.deferred,
        TraceOutcome::Failed => row.failed,
        TraceOutcome::Refused => row.refused,
    };
    count > 0
}

/// A row in the protocol's words.
fn told(row: TracedRow) -> TraceRow {
    let story = StoryId::from_number(row.story);
    let named = u32::try_from(row.recipients.len()).unwrap_or(u32::MAX);
    TraceRow {
        place: row.story,
        queue_id: if story.is_message() { base32(story.began_us()) } else { String::new() },
        trace: row.trace,
        began_us: story.began_us(),
        last_us: row.last_us,
        sender: row.sender.unwrap_or_default(),
        recipients_count: row.recipients_count.max(named),
        recipients: row.recipients,
        message_id: row.message_id,
        size: row.size,
        delivered: row.delivered,
        junk: row.junk,
        deferred: row.deferred,
        failed: row.failed,
        refused: row.refused,
        reason: row.reason,
    }
}

#[cfg(test)]
mod tests;
