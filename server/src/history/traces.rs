//! What happened to connections and messages: kept, cut, and looked up.
//!
//! Invariants: events keep their order; a page is changed only while it is the newest.
//! Not here: when this is done ([`super`]), what an event says (`grace_ipc`).

use std::sync::Arc;

use gracedb::error::Error as StoreError;
use gracedb::view::View as _;
use gracedb::write::WriteTx;

use grace_ipc::event::{Event, TraceId};

use super::History;
use super::index::{Draft, Index};
use crate::store::failure::Failure;
use crate::store::traces::{
    StoryId, TraceById, TraceLaterRow, TracePage, TraceRow, TraceWordRow, TracedRow,
};

/// Events on one page at most: what goes at once when there are too many.
pub(super) const PAGE_ROWS_MAX: u32 = 16_384;
/// Time between the first and the last event on a page, in microseconds: an hour.
const PAGE_US_MAX: u64 = 3_600_000_000;

/// Where an event stands among those that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    page: u64,
    number: u32,
}

impl History {
    /// Events of one connection or message, the oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub fn trace(
        &self,
        trace: TraceId,
    ) -> Result<impl Iterator<Item = Result<Event, Failure>> + use<>, Failure> {
        let snapshot = self.db.snapshot();
        // A trace is named by the microsecond in which it began: pages from before have none of it.
        let pages = snapshot.scan::<TracePage>().filter_map(|page| match page {
            Ok(page) => (page.newest_us >= trace.0).then_some(Ok(page.began_us)),
            Err(e) => Some(Err(e)),
        });
        let pages = pages.collect::<Result<Vec<u64>, _>>()?;
        let rows = pages
            .into_iter()
            .flat_map(move |page| snapshot.by_index::<TraceById>(&(page, trace.0)));
        Ok(rows.map(|row| Ok(event(row?))))
    }

    /// All events with their places, the newest first: from the newest of all on, or from the one
    /// before a place.
    pub fn past(
        &self,
        before: Option<Place>,
    ) -> impl Iterator<Item = Result<(Place, Event), Failure>> + use<> {
        let snapshot = self.db.snapshot();
        let rows = match before {
            Some(Place { page, number }) => snapshot.range::<TraceRow>(..(page, number)),
            None => snapshot.scan::<TraceRow>(),
        };
        rows.rev().map(|row| {
            let row = row?;
            Ok((Place { page: row.page, number: row.number }, event(row)))
        })
    }
}

fn event(row: TraceRow) -> Event {
    Event { seq: row.seq, time_us: row.time_us, trace: TraceId(row.trace), kind: row.kind }
}

/// Keeps events, in order, and what their messages are found by. True if a page began: time to see
/// whether there are too many.
pub(super) fn put(
    tx: &mut WriteTx<'_>,
    events: &[Arc<Event>],
    index: &mut Index,
) -> Result<bool, StoreError> {
    let mut begins_page = false;
    let mut draft = Draft::default();
    let mut open = tx.scan::<TracePage>().next_back().transpose()?;
    for event in events {
        let page = match open.take() {
            Some(page) if has_room(&page, event) => page,
            full => {
                let after_us = full.as_ref().map_or(0, |full| full.began_us + 1);
                full.map_or(Ok(()), |full| tx.put(&full))?;
                begins_page = true;
                TracePage { began_us: event.time_us.max(after_us), newest_us: 0, rows: 0 }
            }
        };
        tx.put(&TraceRow {
            page: page.began_us,
            number: page.rows,
            trace: event.trace.0,
            seq: event.seq,
            time_us: event.time_us,
            kind: event.kind.clone(),
        })?;
        index.note(&mut draft, page.began_us, event);
        let newest_us = page.newest_us.max(event.time_us);
        open = Some(TracePage { newest_us, rows: page.rows + 1, ..page });
    }
    open.map_or(Ok(()), |page| tx.put(&page))?;
    draft.write(tx)?;
    Ok(begins_page)
}

fn has_room(page: &TracePage, event: &Event) -> bool {
    page.rows < PAGE_ROWS_MAX && event.time_us.saturating_sub(page.began_us) < PAGE_US_MAX
}

/// Lets go of pages whose newest event is from before `oldest_us`, and of the oldest ones while
/// there are more than `rows_max` events.
pub(super) fn expire(
    tx: &mut WriteTx<'_>,
    oldest_us: u64,
    rows_max: u64,
) -> Result<(), StoreError> {
    let pages = tx.scan::<TracePage>().collect::<Result<Vec<_>, _>>()?;
    let mut rows: u64 = pages.iter().map(|page| u64::from(page.rows)).sum();
    let mut went = false;
    for page in pages {
        if page.newest_us >= oldest_us && rows <= rows_max {
            // What began before the oldest page is looked for on every page.
            let first = StoryId::first_of(page.began_us).number();
            return if went { tx.delete_range::<TraceLaterRow>(..(first, 0)) } else { Ok(()) };
        }
        went = true;
        tx.delete_prefix::<TraceRow, _>(&(page.began_us,))?;
        tx.delete_prefix::<TracedRow, _>(&(page.began_us,))?;
        tx.delete_prefix::<TraceWordRow, _>(&(page.began_us,))?;
        tx.delete::<TracePage>(&page.began_us)?;
        rows -= u64::from(page.rows);
    }
    if went { tx.delete_range::<TraceLaterRow>(..) } else { Ok(()) }
}
