//! Several segments of a mailbox become one.
//!
//! ```text
//!   segment ─▶ cursor over its terms ─┐
//!   segment ─▶ cursor                 ├─▶ the least term: messages of all that have it, but for
//!   …                                 ┘   those that are gone ─▶ slab
//! ```
//! Invariants: segments come by ascending UIDs and do not overlap, so that messages of one term
//! ascend; memory is a block of each, the messages of one term and the slab that is made.
//! Not here: which segments, and when (`keeper`).

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use gracedb::error::Error;
use gracedb::large::{Large, LargeReader};
use gracedb::view::{Snapshot, View as _};

use super::bits::Bits;
use super::gather::Made;
use super::slab::{Entry, Slab, SlabWriter, Unread, read_uids, write_uids};
use crate::store::messages::MessageRow;
use crate::store::words::{Field, WordSegmentRow, WordSlabRow};

/// A merge under way.
pub(super) struct Merge {
    snapshot: Snapshot,
    segments: Vec<WordSegmentRow>,
    /// The segment that comes out.
    range: RangeInclusive<u32>,
    /// Messages that are still there.
    live: Bits,
    /// Fields that are to come, and the one that is merged now.
    fields: VecDeque<Field>,
    field: Field,
    cursors: Vec<Cursor>,
    writer: SlabWriter,
    number: u32,
}

impl Merge {
    /// Begins to merge neighbors.
    pub(super) fn begin(snapshot: Snapshot, segments: Vec<WordSegmentRow>) -> Result<Self, Unread> {
        let (Some(one), Some(other)) = (segments.first(), segments.last()) else {
            return Err(Unread::Malformed);
        };
        let (mailbox, range) = (one.mailbox, one.first..=other.last);
        let mut live = Bits::none(&range);
        let ends = (mailbox, *range.start())..=(mailbox, *range.end());
        for message in snapshot.range::<MessageRow>(ends) {
            live.insert(message?.uid);
        }
        let fields = [Field::Body].into();
        let field = Field::Head;
        let cursors = cursors(&snapshot, &segments, field)?;
        let writer = SlabWriter::default();
        Ok(Self { snapshot, segments, range, live, fields, field, cursors, writer, number: 0 })
    }

    /// What the merged segment says of itself.
    pub(super) fn row(&self) -> Option<WordSegmentRow> {
        let first = self.segments.first()?.clone();
        let unsure = self.segments.iter().flat_map(|segment| segment.unsure.iter().copied());
        Some(WordSegmentRow {
            last: *self.range.end(),
            messages: self.live.count(),
            unsure: unsure.filter(|uid| self.live.contains(*uid)).collect(),
            ..first
        })
    }

    /// The next slab; `None`: these were all.
    pub(super) fn next(&mut self) -> Result<Option<Made>, Unread> {
        loop {
            if !self.add_term()? {
                let made = self.end_slab();
                let Some(field) = self.fields.pop_front() else { return Ok(made) };
                let cursors = cursors(&self.snapshot, &self.segments, field)?;
                (self.field, self.cursors, self.number) = (field, cursors, 0);
                if made.is_some() {
                    return Ok(made);
                }
            }
            if self.writer.is_full() {
                return Ok(self.end_slab());
            }
        }
    }

    fn end_slab(&mut self) -> Option<Made> {
        let (field, number) = (self.field, self.number);
        let bytes = self.writer.end()?;
        self.number += 1;
        Some(Made { field, number, bytes })
    }

    /// Adds the least term that is left; says whether there was one.
    fn add_term(&mut self) -> Result<bool, Unread> {
        let mut least: Option<&str> = None;
        for cursor in &mut self.cursors {
            cursor.fill()?;
        }
        for term in self.cursors.iter().filter_map(Cursor::term) {
            least = Some(least.map_or(term, |least| least.min(term)));
        }
        let Some(term) = least.map(str::to_owned) else { return Ok(false) };
        let mut uids = Vec::new();
        for cursor in &mut self.cursors {
            if cursor.term() == Some(&term)
                && let Some((_, messages)) = cursor.entries.pop_front()
            {
                let live = &self.live;
                read_uids(&messages, cursor.first, |uid| {
                    uids.extend(Some(uid).filter(|uid| live.contains(*uid)));
                })?;
            }
        }
        if !uids.is_empty() {
            self.writer.add(&term, &write_uids(uids.into_iter(), *self.range.start()));
        }
        Ok(true)
    }
}

/// A walk over the terms of one field of a segment.
struct Cursor {
    snapshot: Snapshot,
    first: u32,
    /// Slabs that are to come.
    slabs: VecDeque<Large>,
    /// The one that is read, and its next block.
    slab: Option<(Slab<LargeReader>, usize)>,
    entries: VecDeque<Entry>,
}

impl Cursor {
    /// Reads on until there is a term, unless these were all.
    fn fill(&mut self) -> Result<(), Unread> {
        while self.entries.is_empty() {
            match &mut self.slab {
                Some((slab, block)) if *block < slab.blocks() => {
                    self.entries = slab.entries(*block)?.into();
                    *block += 1;
                }
                _ => {
                    let Some(bytes) = self.slabs.pop_front() else { return Ok(()) };
                    self.slab = Some((Slab::open(self.snapshot.open_large(&bytes))?, 0));
                }
            }
        }
        Ok(())
    }

    fn term(&self) -> Option<&str> {
        self.entries.front().map(|(term, _)| term.as_str())
    }
}

fn cursors(
    snapshot: &Snapshot,
    segments: &[WordSegmentRow],
    field: Field,
) -> Result<Vec<Cursor>, Error> {
    let cursor = |segment: &WordSegmentRow| {
        let key = (segment.mailbox, segment.first, field as u8);
        let slabs = snapshot.prefix::<WordSlabRow>(&key).map(|slab| Ok(slab?.bytes));
        Ok(Cursor {
            snapshot: snapshot.clone(),
            first: segment.first,
            slabs: slabs.collect::<Result<_, Error>>()?,
            slab: None,
            entries: VecDeque::new(),
        })
    };
    segments.iter().map(cursor).collect()
}
