//! Giving room back: files that nobody needs, and segments that hold mostly garbage.
//!
//! ```text
//!   segment: live bytes < a share of it ─▶ what is live is written again at the head,
//!            the rows that point there point to the new place, in transactions like any other
//!            no live bytes ─▶ gone: forgotten, and removed when nobody looks at it any more
//! ```
//! Invariants: a segment goes when no row of the newest state points into it and the transactions
//! that saw to that are on disk; who holds an older state keeps the file.
//! Not here: which rows are dropped (`compact`).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use crate::error::Error;
use crate::format::{self, FileKind};
use crate::large::{Large, Part};
use crate::local::{Local, View, live_bytes, read_part};
use crate::manifest::Edit;
use crate::space;
use crate::sync::locked;
use crate::transact::{Transaction, parts_of};
use crate::version::FileId;

/// Bytes of large values moved in one transaction.
const MOVE_BYTES: usize = 1 << 20;
/// Moving is not worth it when it would write more than this share of the segment, in percent.
const WORTH_PERCENT: u64 = 65;
/// Rows whose pointers are changed in one transaction.
const MOVE_ROWS: usize = 512;
/// Rows of one place that are moved together; a letter copied more often is kept more than once.
const SHARED_ROWS_MAX: usize = 1 << 16;

/// A segment and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentUse {
    pub(crate) number: u64,
    /// Where its records end.
    pub(crate) bytes: u64,
    /// Bytes of large values in it that rows point to.
    pub(crate) live: u64,
}

/// What a place of the journal holds, and the rows that point there.
struct Place {
    part: Part,
    rows: Vec<Vec<u8>>,
}

/// Does one piece of work; false: there is none.
pub(crate) fn step(local: &Local) -> Result<bool, Error> {
    if remove_files(local) || expire(local)? {
        return Ok(true);
    }
    let uses = segments(local)?;
    if let Some(dead) = uses.iter().find(|each| each.live == 0 && is_free(local, each.number)) {
        return drop_segment(local, dead.number).map(|()| true);
    }
    let limit = *locked(&local.clean_limit);
    match pick(local, &uses, limit) {
        Some(segment) => clean(local, segment).map(|()| true),
        None => Ok(false),
    }
}

/// The complete segments whose rows are in runs.
pub(crate) fn segments(local: &Local) -> Result<Vec<SegmentUse>, Error> {
    let live: BTreeMap<u64, u64> = live_bytes(&local.view())?.into_iter().collect();
    let meta = local.meta();
    let segments = meta.manifest.segments.iter().filter(|(_, segment)| segment.gone.is_none());
    Ok(segments
        .map(|(number, segment)| {
            let live = live.get(number).copied().unwrap_or(0);
            SegmentUse { number: *number, bytes: segment.end, live }
        })
        .collect())
}

fn is_free(local: &Local, segment: u64) -> bool {
    !local.commits.pins.is_pinned(segment) && !locked(&local.damaged).contains(&segment)
}

/// The segment whose cleaning gives most room for its work, if one is below the share.
pub(crate) fn pick(local: &Local, uses: &[SegmentUse], percent: u64) -> Option<SegmentUse> {
    let candidates = uses.iter().filter(|each| each.live * 100 < each.bytes * percent);
    let free = candidates.filter(|each| is_free(local, each.number));
    free.min_by_key(|each| each.live * 1000 / each.bytes.max(1)).copied()
}

/// Removes files that nobody needs any more; false: there are none.
pub(crate) fn remove_files(local: &Local) -> bool {
    let files = local.yard.take();
    for (kind, number) in &files {
        // What is used again must hold nothing in the clear that new files do not.
        let key = local.files.get(*kind, *number).map(|file| file.header.key);
        let is_ours = key.is_ok_and(|key| key == local.files.keys().current());
        local.files.forget(*kind, *number);
        if *kind == FileKind::Journal && is_ours && local.commits.room.offer(*number) {
            continue;
        }
        // What cannot be removed now is removed at the next open.
        drop(local.files.disk.remove(&kind.name(*number)));
    }
    !files.is_empty()
}

/// Forgets files that no restore point needs any more; false: there are none.
fn expire(local: &Local) -> Result<bool, Error> {
    let mut meta = local.meta();
    let now_ms = local.now_ms();
    meta.forget_points(local.retained_since(now_ms));
    let files = meta.manifest.forgettable();
    if files.is_empty() {
        return Ok(false);
    }
    let edits: Vec<Edit> = files.iter().map(|file| Edit::Forgotten(*file)).collect();
    meta.commit(now_ms, &edits)?;
    let version = local.commits.version().change([], &[], files);
    local.install(version);
    Ok(true)
}

/// Lets go of a segment that no row points into.
fn drop_segment(local: &Local, segment: u64) -> Result<(), Error> {
    let (mut is_unused, mut dropped) = (true, false);
    local.transact_within(&mut |tx| {
        is_unused = tx.is_unused(segment)?;
        dropped = is_unused && is_free(local, segment);
        if dropped {
            tx.forget_segment(segment);
        }
        Ok(dropped)
    })?;
    if !is_unused {
        // Live bytes and rows do not agree; whoever checks the database finds out how.
        locked(&local.damaged).insert(segment);
    }
    if !dropped {
        return Ok(());
    }
    let mut meta = local.meta();
    let files: [FileId; 1] = [(FileKind::Journal, segment)];
    let mut edits = vec![Edit::SegmentGone(segment, local.commits.sequence())];
    let buried = local.gone(&files, &mut edits);
    meta.commit(local.now_ms(), &edits)?;
    let version = local.commits.version().change([], &[], buried);
    local.install(version);
    local.figures.segments_cleaned.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Moves everything live out of a segment, and learns from what that took.
pub(crate) fn clean(local: &Local, segment: SegmentUse) -> Result<(), Error> {
    let mut after = space::use_prefix(segment.number, None);
    let mut taken = Taken::begin(local);
    loop {
        let places = next_places(local, segment.number, &mut after)?;
        if places.is_empty() {
            learn(local, segment, taken.bytes(local));
            return check_cleaned(local, segment);
        }
        match move_places(local, &places) {
            Ok(bytes) => taken.add(bytes),
            Err(Error::Corrupt { .. }) => {
                // Reading mail tells of it; cleaning must not make it worse.
                locked(&local.damaged).insert(segment.number);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

/// What cleaning takes of the journal.
struct Taken {
    /// The journal's length and the newest transaction before.
    before: (u64, u64),
    transactions: u64,
    bytes: u64,
}

impl Taken {
    fn begin(local: &Local) -> Self {
        Self { before: Self::now(local), transactions: 0, bytes: 0 }
    }

    fn now(local: &Local) -> (u64, u64) {
        let cursor = local.commits.queue().cursor();
        let bytes = cursor.segment * local.options.segment_bytes + cursor.offset;
        (bytes, local.commits.sequence())
    }

    fn add(&mut self, bytes: u64) {
        self.transactions += 1;
        self.bytes += bytes;
    }

    /// Bytes by which the journal grew, if nobody else wrote meanwhile; else those that were ours.
    fn bytes(&self, local: &Local) -> u64 {
        let (bytes, sequence) = Self::now(local);
        let alone = sequence - self.before.1 <= self.transactions;
        if alone { self.bytes.max(bytes.saturating_sub(self.before.0)) } else { self.bytes }
    }
}

/// What is noted beside small values may take as much room as cleaning gives back: then segments as
/// full as this one are left alone from now on.
fn learn(local: &Local, segment: SegmentUse, grown: u64) {
    let share = segment.live * 100 / segment.bytes.max(1);
    let mut limit = locked(&local.clean_limit);
    if grown * 100 > segment.bytes * WORTH_PERCENT {
        *limit = (*limit).min(share.saturating_sub(5));
    } else if grown * 100 < segment.bytes * (WORTH_PERCENT - 15) {
        *limit = (*limit + 1).min(local.options.clean_below_percent);
    }
}

/// A segment without uses has no live bytes, and one that was cleaned has fewer; if not, its uses
/// and rows do not agree, and cleaning it again would not help.
fn check_cleaned(local: &Local, segment: SegmentUse) -> Result<(), Error> {
    let (view, number) = (local.view(), segment.number);
    let value = crate::engine::Reader::get(&view, &space::live_key(Some(number)))?;
    let Some(value) = value else { return Ok(()) };
    let live = crate::row::take_varint(&mut &*value).unwrap_or(u64::MAX);
    let is_used = view.state.has_prefix([], &space::use_prefix(number, None))?;
    if live >= segment.live || !is_used {
        locked(&local.damaged).insert(number);
    }
    Ok(())
}

/// The next places of a segment that are in use, from the key `after` on.
fn next_places(local: &Local, segment: u64, after: &mut Vec<u8>) -> Result<Vec<Place>, Error> {
    let view = local.view();
    let end = space::prefix_end(&space::use_prefix(segment, None));
    let mut walk = crate::engine::Reader::scan(&view, after, end.as_deref())?;
    let (mut places, mut bytes, mut rows) = (Vec::<Place>::new(), 0, 0);
    while let Some((key, _)) = walk.next()? {
        let Some((segment, offset, row)) = space::parse_use(key) else {
            return Err(Error::Internal { what: "a use of a large value is malformed" });
        };
        let is_new = places.last().is_none_or(|place| place.part.offset != offset);
        if (is_new && (bytes >= MOVE_BYTES || rows >= MOVE_ROWS)) || rows >= SHARED_ROWS_MAX {
            *after = key.to_vec();
            return Ok(places);
        }
        rows += 1;
        let row = row.to_vec();
        if is_new {
            let part = Part { segment, offset, len: 0, crc: 0 };
            places.push(Place { part, rows: Vec::new() });
        }
        if let Some(place) = places.last_mut() {
            if place.part.len == 0
                && let Some(part) = find_part(&view, &row, place.part)?
            {
                bytes += part.bytes();
                place.part = part;
            }
            place.rows.push(row);
        }
    }
    // Nothing follows: the next look begins behind all of them.
    *after = end.unwrap_or_default();
    Ok(places)
}

/// The part that a row has at a place.
fn find_part(view: &View, row: &[u8], at: Part) -> Result<Option<Part>, Error> {
    let Some(value) = crate::engine::Reader::get(view, row)? else { return Ok(None) };
    let parts = parts_of(&value)?;
    Ok(parts.into_iter().find(|part| (part.segment, part.offset) == (at.segment, at.offset)))
}

/// Moves places; says by how many bytes the journal grew.
fn move_places(local: &Local, places: &[Place]) -> Result<u64, Error> {
    let mut grown = 0;
    let mut moves = Vec::with_capacity(places.len());
    for place in places {
        if place.part.len == 0 {
            moves.push((place, None));
            continue;
        }
        if !local.pace.spend(place.part.bytes() as u64) {
            return Err(Error::Closed);
        }
        let mut bytes = vec![0; place.part.bytes()];
        read_part(&local.files, &place.part, &mut bytes)?;
        let len = bytes.len() as u64;
        grown += format::record_len(bytes.len());
        let (part, fresh) = local.commits.push_chunk(bytes)?;
        local.figures.moved_bytes.fetch_add(len, Ordering::Relaxed);
        moves.push((
            place,
            Some(Large { bytes: len, parts: [part].into(), fresh: Some(fresh.into()) }),
        ));
    }
    let rows = moves.iter().flat_map(|(place, to)| {
        place.rows.iter().map(|row| (row.as_slice(), &place.part, to.as_ref()))
    });
    let mut rows = rows.peekable();
    // One transaction, unless very many rows share what is moved.
    while rows.peek().is_some() {
        local.transact_within(&mut |tx| {
            while tx.bytes() < local.options.transaction_bytes_max / 4
                && let Some((row, part, to)) = rows.next()
            {
                move_row(tx, row, part, to)?;
            }
            grown += format::record_len(tx.bytes());
            Ok(true)
        })?;
    }
    Ok(grown)
}

/// Changes a row that points to a place; the use of one that does not is taken back.
fn move_row(
    tx: &mut Transaction<'_>,
    row: &[u8],
    part: &Part,
    to: Option<&Large>,
) -> Result<(), Error> {
    let moved = match to {
        Some(to) => tx.move_use(row, part, to)?,
        None => false,
    };
    if moved { Ok(()) } else { tx.drop_stale_use(part, row) }
}
