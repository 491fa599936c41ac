//! What the meta file says: which files there are, which there were, and how far the runs go.
//!
//! Every change of it is an *edition*. Each flush makes a restore point: the runs of its edition,
//! and the journal from there on, lead to any transaction after it. A file that is gone is
//! remembered as long as that takes it.
//! ```text
//!   edits: code u8, then varints; text and keys: length varint, bytes
//!   1 run: level, number, length, entries, tombstones, ranges, sequence, first key, end
//!   2 run gone: number          3 run moved: number, level
//!   4 flushed: sequence, segment, offset, life
//!   5 segment: number, end      6 segment gone: number, sequence
//!   7 schema: text              8 restorable: sequence        9 forgotten: kind, number
//! ```
//! Invariants: edits apply in order and only so; a file number is never given out twice; the runs
//! of every restore point are remembered, and the segments of every transaction from
//! [`Manifest::restorable`] on.
//! Not here: the bytes around edits, and when they are durable (`meta`).

use std::collections::BTreeMap;

use crate::format::{FileKind, Place};
use crate::index::run::RunInfo;
use crate::row::{put_varint, take_varint};
use crate::version::{FileId, LEVELS};

/// How far the rows on disk go: where replay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flushed {
    /// The newest transaction in the runs.
    pub(crate) sequence: u64,
    /// Where the journal goes on after it.
    pub(crate) place: Place,
    /// The life that the record there belongs to, unless it begins one.
    pub(crate) life: u64,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    Run(usize, RunInfo),
    RunGone(u64),
    RunMoved(u64, usize),
    Flushed(Flushed),
    Segment(u64, u64),
    SegmentGone(u64, u64),
    Schema(String),
    Restorable(u64),
    Forgotten(FileId),
}

/// When something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct When {
    pub(crate) edition: u64,
    /// Milliseconds since 1970 UTC.
    pub(crate) time_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunEntry {
    pub(crate) info: RunInfo,
    /// Its level from some editions on; the first is that of its birth.
    levels: Vec<(u64, usize)>,
    /// The edition that did without it.
    pub(crate) gone: Option<u64>,
}

impl RunEntry {
    pub(crate) fn level(&self) -> usize {
        self.levels.last().map_or(0, |(_, level)| *level)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentEntry {
    /// Where its records end.
    pub(crate) end: u64,
    /// The transaction after which no row points into it.
    pub(crate) gone: Option<u64>,
}

/// A moment that the database can be brought back to, and to any transaction after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Point {
    pub(crate) when: When,
    pub(crate) flushed: Flushed,
}

/// What the meta file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) edition: u64,
    pub(crate) runs: BTreeMap<u64, RunEntry>,
    /// Journal segments whose rows are all in runs.
    pub(crate) segments: BTreeMap<u64, SegmentEntry>,
    /// The newest last.
    pub(crate) points: Vec<Point>,
    /// The first transaction that the database can be brought back to.
    pub(crate) restorable: u64,
    pub(crate) schema: Option<String>,
}

impl Manifest {
    /// That of a database without rows.
    pub(crate) fn empty(time_ms: u64) -> Self {
        let point = Point { when: When { edition: 0, time_ms }, ..Point::default() };
        Self { points: vec![point], ..Self::default() }
    }

    /// Lets the journal of a database without rows begin at a place of its own.
    pub(crate) fn begin_at(&mut self, place: Place) {
        for point in &mut self.points {
            point.flushed.place = place;
        }
    }

    /// How far the rows on disk go.
    pub(crate) fn flushed(&self) -> Flushed {
        self.points.last().map_or_else(Flushed::default, |point| point.flushed)
    }

    /// Does what edits say, as the edition that is theirs. An error says what does not fit.
    pub(crate) fn apply(&mut self, when: When, edits: &[Edit]) -> Result<(), &'static str> {
        if when.edition < self.edition {
            return Err("editions do not follow each other");
        }
        self.edition = when.edition;
        edits.iter().try_for_each(|edit| self.apply_one(when, edit))
    }

    fn apply_one(&mut self, when: When, edit: &Edit) -> Result<(), &'static str> {
        const NO_RUN: &str = "an edit is about a run that is not there";
        match edit {
            Edit::Run(level, info) => {
                let levels = vec![(when.edition, *level)];
                let entry = RunEntry { info: info.clone(), levels, gone: None };
                if self.runs.insert(info.number, entry).is_some() {
                    return Err("a run is there twice");
                }
            }
            Edit::RunGone(number) => {
                self.runs.get_mut(number).ok_or(NO_RUN)?.gone = Some(when.edition);
            }
            Edit::RunMoved(number, level) => {
                let entry = self.runs.get_mut(number).ok_or(NO_RUN)?;
                entry.levels.push((when.edition, *level));
            }
            Edit::Flushed(flushed) => self.points.push(Point { when, flushed: *flushed }),
            Edit::Segment(number, end) => {
                self.segments.insert(*number, SegmentEntry { end: *end, gone: None });
            }
            Edit::SegmentGone(number, sequence) => {
                let entry = self.segments.get_mut(number);
                entry.ok_or("an edit is about a segment that is not there")?.gone = Some(*sequence);
            }
            Edit::Schema(text) => self.schema = Some(text.clone()),
            Edit::Restorable(sequence) => self.restorable = self.restorable.max(*sequence),
            Edit::Forgotten((kind, number)) => self.forget(*kind, *number),
        }
        Ok(())
    }

    fn forget(&mut self, kind: FileKind, number: u64) {
        match kind {
            FileKind::Index => {
                if let Some(run) = self.runs.remove(&number) {
                    self.forget_editions(run.gone.unwrap_or(self.edition));
                }
            }
            FileKind::Journal => {
                if let Some(segment) = self.segments.remove(&number) {
                    self.restorable = self.restorable.max(segment.gone.unwrap_or(0));
                }
            }
            FileKind::Meta | FileKind::Keys => {}
        }
    }

    /// The runs of editions before this one are not all there any more. What the last point says is
    /// true of the runs as they are now, too.
    fn forget_editions(&mut self, before: u64) {
        if let Some(last) = self.points.last_mut()
            && last.when.edition < before
        {
            last.when.edition = self.edition;
        }
        self.points.retain(|point| point.when.edition >= before);
        self.note_oldest();
    }

    fn note_oldest(&mut self) {
        let oldest = self.points.first().map_or(0, |point| point.flushed.sequence);
        self.restorable = self.restorable.max(oldest);
    }

    /// Forgets restore points from before `since_ms`, but for the newest of them. What files no
    /// point needs any more can then be forgotten, too.
    pub(crate) fn forget_points(&mut self, since_ms: u64) {
        let newer = self.points.partition_point(|point| point.when.time_ms < since_ms);
        let keep_from = newer.saturating_sub(1).min(self.points.len().saturating_sub(1));
        self.points.drain(..keep_from);
        self.note_oldest();
    }

    /// Files that are gone and that no restore point needs.
    pub(crate) fn forgettable(&self) -> Vec<FileId> {
        let oldest = self.points.first().copied().unwrap_or_default();
        let runs = self
            .runs
            .iter()
            .filter(|(_, run)| run.gone.is_some_and(|gone| gone <= oldest.when.edition));
        let segments = self.segments.iter().filter(|(_, segment)| {
            segment.gone.is_some_and(|gone| gone <= oldest.flushed.sequence)
        });
        runs.map(|(number, _)| (FileKind::Index, *number))
            .chain(segments.map(|(number, _)| (FileKind::Journal, *number)))
            .collect()
    }

    /// The newest restore point that leads to a transaction; `None`: none does.
    pub(crate) fn point_for(&self, sequence: u64) -> Option<Point> {
        let points = self.points.iter().rev();
        let mut before = points.filter(|point| point.flushed.sequence <= sequence);
        before.next().copied().filter(|_| sequence >= self.restorable)
    }

    /// The newest restore point that leads to the last transaction up to a time.
    pub(crate) fn point_before(&self, time_ms: u64) -> Option<Point> {
        self.points.iter().rev().find(|point| point.when.time_ms <= time_ms).copied()
    }

    /// The manifest as it was right after a restore point, with nothing of later or earlier in it
    /// but the segments.
    pub(crate) fn as_of(&self, point: &Point) -> Self {
        let edition = point.when.edition;
        let mut runs = BTreeMap::new();
        for (number, run) in &self.runs {
            let known = run.levels.iter().rev().find(|(since, _)| *since <= edition);
            if let Some(&(_, level)) = known
                && run.gone.is_none_or(|gone| gone > edition)
            {
                let entry = RunEntry { levels: vec![(edition, level)], gone: None, ..run.clone() };
                runs.insert(*number, entry);
            }
        }
        Self { edition, runs, points: vec![*point], ..self.clone() }
    }

    /// The edits that make this manifest out of an empty one, by edition.
    pub(crate) fn edits(&self) -> Vec<(When, Vec<Edit>)> {
        let mut all: BTreeMap<u64, (u64, Vec<Edit>)> = BTreeMap::new();
        let mut note = |edition: u64, time_ms: u64, edit: Edit| {
            let entry = all.entry(edition).or_default();
            entry.0 = entry.0.max(time_ms);
            entry.1.push(edit);
        };
        for (number, segment) in &self.segments {
            note(0, 0, Edit::Segment(*number, segment.end));
            if let Some(gone) = segment.gone {
                note(0, 0, Edit::SegmentGone(*number, gone));
            }
        }
        for run in self.runs.values() {
            let mut levels = run.levels.iter();
            if let Some(&(born, level)) = levels.next() {
                note(born, 0, Edit::Run(level, run.info.clone()));
            }
            for &(edition, level) in levels {
                note(edition, 0, Edit::RunMoved(run.info.number, level));
            }
            if let Some(gone) = run.gone {
                note(gone, 0, Edit::RunGone(run.info.number));
            }
        }
        for point in &self.points {
            note(point.when.edition, point.when.time_ms, Edit::Flushed(point.flushed));
        }
        if let Some(schema) = self.schema.clone() {
            note(self.edition, 0, Edit::Schema(schema));
        }
        note(self.edition, 0, Edit::Restorable(self.restorable));
        let when = |edition, time_ms| When { edition, time_ms };
        all.into_iter().map(|(edition, (time, edits))| (when(edition, time), edits)).collect()
    }

    /// The largest number a file of the manifest has.
    pub(crate) fn last_run(&self) -> u64 {
        self.runs.keys().next_back().copied().unwrap_or(0)
    }
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take_varint(bytes)?).ok()?;
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

/// Appends the bytes of edits of one edition.
pub(crate) fn encode(when: When, edits: &[Edit], out: &mut Vec<u8>) {
    put_varint(when.edition, out);
    put_varint(when.time_ms, out);
    for edit in edits {
        let (code, numbers): (u8, Vec<u64>) = match edit {
            Edit::Run(level, info) => {
                let RunInfo { number, len, entries, tombstones, ranges, sequence, .. } = *info;
                (1, vec![*level as u64, number, len, entries, tombstones, ranges, sequence])
            }
            Edit::RunGone(number) => (2, vec![*number]),
            Edit::RunMoved(number, level) => (3, vec![*number, *level as u64]),
            Edit::Flushed(Flushed { sequence, place, life }) => {
                (4, vec![*sequence, place.segment, place.offset, *life])
            }
            Edit::Segment(number, end) => (5, vec![*number, *end]),
            Edit::SegmentGone(number, sequence) => (6, vec![*number, *sequence]),
            Edit::Schema(_) => (7, vec![]),
            Edit::Restorable(sequence) => (8, vec![*sequence]),
            Edit::Forgotten((kind, number)) => (9, vec![*kind as u64, *number]),
        };
        out.push(code);
        numbers.into_iter().for_each(|number| put_varint(number, out));
        match edit {
            Edit::Run(_, info) => {
                put_bytes(&info.first, out);
                put_bytes(&info.end, out);
            }
            Edit::Schema(text) => put_bytes(text.as_bytes(), out),
            _ => {}
        }
    }
}

/// Reads what [`encode`] wrote; `None`: it is something else.
pub(crate) fn decode(mut bytes: &[u8]) -> Option<(When, Vec<Edit>)> {
    let when = When { edition: take_varint(&mut bytes)?, time_ms: take_varint(&mut bytes)? };
    let mut edits = Vec::new();
    while !bytes.is_empty() {
        edits.push(take_edit(&mut bytes)?);
    }
    Some((when, edits))
}

/// Takes the first edit off; `None`: there is none.
pub(crate) fn take_edit(bytes: &mut &[u8]) -> Option<Edit> {
    let (&code, rest) = bytes.split_first()?;
    *bytes = rest;
    decode_edit(code, bytes)
}

fn decode_edit(code: u8, bytes: &mut &[u8]) -> Option<Edit> {
    let level = |bytes: &mut &[u8]| {
        usize::try_from(take_varint(bytes)?).ok().filter(|level| *level <= LEVELS)
    };
    Some(match code {
        1 => {
            let level = level(bytes)?;
            let mut number = || take_varint(bytes);
            let (id, len, entries) = (number()?, number()?, number()?);
            let (tombstones, ranges, sequence) = (number()?, number()?, number()?);
            let first = take_bytes(bytes)?.into();
            let end = take_bytes(bytes)?.into();
            let info =
                RunInfo { number: id, len, entries, tombstones, ranges, first, end, sequence };
            Edit::Run(level, info)
        }
        2 => Edit::RunGone(take_varint(bytes)?),
        3 => Edit::RunMoved(take_varint(bytes)?, level(bytes)?),
        4 => {
            let sequence = take_varint(bytes)?;
            let place = Place { segment: take_varint(bytes)?, offset: take_varint(bytes)? };
            Edit::Flushed(Flushed { sequence, place, life: take_varint(bytes)? })
        }
        5 => Edit::Segment(take_varint(bytes)?, take_varint(bytes)?),
        6 => Edit::SegmentGone(take_varint(bytes)?, take_varint(bytes)?),
        7 => Edit::Schema(String::from_utf8(take_bytes(bytes)?.to_vec()).ok()?),
        8 => Edit::Restorable(take_varint(bytes)?),
        9 => {
            let kind = match take_varint(bytes)? {
                0 => FileKind::Journal,
                1 => FileKind::Index,
                _ => return None,
            };
            Edit::Forgotten((kind, take_varint(bytes)?))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(number: u64) -> RunInfo {
        RunInfo {
            number,
            len: 5000,
            entries: 10,
            tombstones: 1,
            ranges: 0,
            first: Box::from(*b"\0\x01\0a"),
            end: Box::from(*b"\0\x01\0z"),
            sequence: 300,
        }
    }

    fn when(edition: u64) -> When {
        When { edition, time_ms: 1_000 * edition }
    }

    fn flushed(sequence: u64) -> Edit {
        let place = Place { segment: sequence, offset: 4096 };
        Edit::Flushed(Flushed { sequence, place, life: 9 })
    }

    fn history() -> Manifest {
        let mut manifest = Manifest::empty(500);
        let editions: [&[Edit]; 6] = [
            &[Edit::Schema("table 1 a".into())],
            &[Edit::Run(0, info(1)), flushed(1)],
            &[Edit::Run(0, info(2)), flushed(2), Edit::Segment(1, 8192)],
            &[Edit::Run(1, info(3)), Edit::RunGone(1), Edit::RunGone(2)],
            &[Edit::RunMoved(3, 2), Edit::SegmentGone(1, 5)],
            &[Edit::Run(0, info(4)), flushed(6)],
        ];
        for (edition, edits) in (1..).zip(editions) {
            manifest.apply(when(edition), edits).unwrap();
        }
        manifest
    }

    #[test]
    fn edits_are_frozen_and_come_back() {
        let edits = vec![
            Edit::Run(1, info(7)),
            Edit::RunGone(6),
            Edit::RunMoved(5, 2),
            flushed(8),
            Edit::Segment(3, 512),
            Edit::SegmentGone(2, 300),
            Edit::Schema("s".into()),
            Edit::Restorable(9),
            Edit::Forgotten((FileKind::Index, 1)),
        ];
        let mut bytes = Vec::new();
        encode(When { edition: 4, time_ms: 5 }, &edits, &mut bytes);
        #[rustfmt::skip]
        assert_eq!(bytes, [
            4, 5,
            1, 1, 7, 0x88, 0x27, 10, 1, 0, 0xAC, 2, 4, 0, 1, 0, b'a', 4, 0, 1, 0, b'z',
            2, 6,  3, 5, 2,  4, 8, 8, 0x80, 0x20, 9,  5, 3, 0x80, 4,  6, 2, 0xAC, 2,
            7, 1, b's',  8, 9,  9, 1, 1,
        ]);
        assert_eq!(decode(&bytes), Some((When { edition: 4, time_ms: 5 }, edits)));
        for len in 3..bytes.len() {
            let _ = decode(&bytes[..len]);
        }
    }

    fn again(manifest: &Manifest) -> Manifest {
        let mut again = Manifest::default();
        for (when, edits) in manifest.edits() {
            again.apply(when, &edits).unwrap();
        }
        again
    }

    #[test]
    fn a_manifest_is_made_anew_from_its_edits() {
        let mut manifest = history();
        assert_eq!(again(&manifest), manifest);
        manifest.forget_points(7_000);
        let forgotten: Vec<_> = manifest.forgettable().into_iter().map(Edit::Forgotten).collect();
        manifest.apply(when(7), &forgotten).unwrap();
        assert_eq!(again(&manifest), manifest);
    }

    #[test]
    fn the_files_of_a_restore_point_are_known_until_it_is_forgotten() {
        let mut manifest = history();
        let point = manifest.point_for(5).unwrap();
        assert_eq!((point.flushed.sequence, point.when.edition), (2, 3));
        assert_eq!(manifest.point_before(2_999), manifest.point_for(1));
        assert_eq!(manifest.point_for(0), Some(manifest.points[0]));
        let then = manifest.as_of(&point);
        let levels: Vec<_> = then.runs.iter().map(|(number, run)| (*number, run.level())).collect();
        assert_eq!(levels, [(1, 0), (2, 0)]);
        assert_eq!(then.flushed().sequence, 2);
        assert_eq!(manifest.forgettable(), []);
        // The newest point before the window is kept: the window begins between two points.
        manifest.forget_points(5_000);
        assert_eq!((manifest.points.len(), manifest.restorable), (2, 2));
        assert_eq!((manifest.point_for(1), manifest.point_before(2_999)), (None, None));
        assert_eq!(manifest.forgettable(), []);
        manifest.forget_points(7_000);
        assert_eq!(manifest.points.len(), 1);
        let gone = [(FileKind::Index, 1), (FileKind::Index, 2), (FileKind::Journal, 1)];
        assert_eq!(manifest.forgettable(), gone);
    }

    #[test]
    fn what_is_forgotten_at_once_ends_what_can_be_restored() {
        let mut manifest = history();
        let edits = [Edit::Run(1, info(5)), Edit::RunGone(4), Edit::RunGone(3)];
        let forgotten = [3, 4].map(|number| Edit::Forgotten((FileKind::Index, number)));
        manifest.apply(when(8), &[edits.as_slice(), &forgotten].concat()).unwrap();
        let point = manifest.point_for(6).unwrap();
        assert_eq!((manifest.points.len(), point.when.edition), (1, 8));
        assert_eq!((manifest.point_for(5), manifest.restorable), (None, 6));
        assert_eq!(manifest.as_of(&point).runs.keys().collect::<Vec<_>>(), [&5]);
        let edits = [
            Edit::Segment(2, 4096),
            Edit::SegmentGone(2, 9),
            Edit::Forgotten((FileKind::Journal, 2)),
        ];
        manifest.apply(when(9), &edits).unwrap();
        assert_eq!((manifest.point_for(8), manifest.restorable), (None, 9));
        assert_eq!(again(&manifest), manifest);
    }

    #[test]
    fn edits_that_do_not_fit_are_refused() {
        let mut manifest = history();
        for bad in [Edit::RunGone(77), Edit::SegmentGone(9, 1), Edit::Run(0, info(4))] {
            assert!(manifest.clone().apply(when(7), &[bad]).is_err());
        }
        assert!(manifest.apply(when(2), &[]).is_err());
    }
}
