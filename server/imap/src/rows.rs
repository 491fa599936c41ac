//! The messages of a mailbox by ascending UID, in little memory, shared by all who look at it.
//!
//! ```text
//!   Rows ─▶ chunk of some thousand messages: UIDs │ modification sequences │ flags │ keywords
//!        ─▶ chunk …          a clone shares the chunks; who changes one makes it its own
//! ```
//! Invariants: UIDs ascend; a clone takes the same time for a thousand messages and for a million;
//! a message takes 13 bytes, or 15 in a chunk where some have keywords.
//! Not here: what a client was told of them (`view`).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::flags::{Flags, Keyword, SystemFlag};

/// Messages of a chunk: its copy, made for one change, takes some microseconds.
const CHUNK_MAX: usize = 4_096;

/// A message as a session sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its UID.
    pub uid: u32,
    /// The modification sequence of its last change.
    pub modseq: u64,
    /// Its flags.
    pub flags: Flags,
}

/// Rows by ascending UID.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    chunks: Vec<Arc<Chunk>>,
    /// How many rows stand before each chunk.
    before: Vec<usize>,
    count: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Chunk {
    uids: Vec<u32>,
    modseqs: Vec<u64>,
    system: Vec<u8>,
    /// Sets of keywords that occur, each once; none is not among them.
    sets: Vec<Box<[Keyword]>>,
    /// Which of them each row has, counted from 1; 0: none. Empty while no row has any.
    set_of: Vec<u16>,
}

impl Chunk {
    fn row(&self, at: usize) -> Option<Row> {
        let (uid, modseq) = (*self.uids.get(at)?, *self.modseqs.get(at)?);
        let set = self.set_of.get(at).copied().unwrap_or_default();
        let set = usize::from(set).checked_sub(1).and_then(|set| self.sets.get(set));
        let flags = Flags::from_known(*self.system.get(at)?, set.map(|set| set.to_vec()));
        Some(Row { uid, modseq, flags })
    }

    /// The number of a set of keywords.
    fn set(&mut self, keywords: &[Keyword]) -> u16 {
        if keywords.is_empty() {
            return 0;
        }
        // Spellings are kept, though two that differ only in case are one keyword.
        let spelled = |set: &[Keyword]| {
            set.iter().map(Keyword::as_str).eq(keywords.iter().map(Keyword::as_str))
        };
        let known = self.sets.iter().position(|set| spelled(set));
        let place = known.unwrap_or_else(|| {
            self.sets.push(keywords.into());
            self.sets.len() - 1
        });
        // A chunk has fewer rows than there are numbers, but sets may be left behind by changes.
        u16::try_from(place + 1).unwrap_or_default()
    }

    /// Forgets sets that no row has any more, before their numbers run out.
    fn tidy(&mut self) {
        if self.sets.len() < CHUNK_MAX * 2 {
            return;
        }
        let rows: Vec<Row> = (0..self.uids.len()).filter_map(|at| self.row(at)).collect();
        *self = Self::default();
        for row in &rows {
            self.insert(self.uids.len(), row);
        }
    }

    fn insert(&mut self, at: usize, row: &Row) {
        let set = self.set(row.flags.keywords());
        if set > 0 {
            self.set_of.resize(self.uids.len(), 0);
        }
        self.uids.insert(at, row.uid);
        self.modseqs.insert(at, row.modseq);
        self.system.insert(at, row.flags.system_bits());
        if !self.set_of.is_empty() || set > 0 {
            self.set_of.insert(at, set);
        }
    }

    fn replace(&mut self, at: usize, row: &Row) {
        self.tidy();
        let set = self.set(row.flags.keywords());
        if set > 0 {
            self.set_of.resize(self.uids.len(), 0);
        }
        let slots = (self.modseqs.get_mut(at), self.system.get_mut(at));
        if let (Some(modseq), Some(system)) = slots {
            (*modseq, *system) = (row.modseq, row.flags.system_bits());
        }
        if let Some(slot) = self.set_of.get_mut(at) {
            *slot = set;
        }
    }

    fn remove(&mut self, places: std::ops::Range<usize>) {
        self.uids.drain(places.clone());
        self.modseqs.drain(places.clone());
        self.system.drain(places.clone());
        if !self.set_of.is_empty() {
            self.set_of.drain(places);
        }
    }
}

impl Rows {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The row at a place, counted from 0.
    pub fn get(&self, place: usize) -> Option<Row> {
        let (chunk, at) = self.chunk_at(place)?;
        self.chunks.get(chunk)?.row(at)
    }

    /// The UID at a place.
    pub fn uid(&self, place: usize) -> Option<u32> {
        let (chunk, at) = self.chunk_at(place)?;
        self.chunks.get(chunk)?.uids.get(at).copied()
    }

    /// The last UID.
    pub fn last_uid(&self) -> Option<u32> {
        self.chunks.last().and_then(|chunk| chunk.uids.last().copied())
    }

    /// The last row.
    pub fn last(&self) -> Option<Row> {
        self.get(self.count.checked_sub(1)?)
    }

    /// The place of a UID, or where it would be.
    pub fn find(&self, uid: u32) -> Result<usize, usize> {
        // The last chunk that begins at or before it.
        let begins = |chunk: &Arc<Chunk>| chunk.uids.first().is_some_and(|first| *first <= uid);
        let Some(number) = self.chunks.partition_point(begins).checked_sub(1) else {
            return Err(0);
        };
        let before = self.before.get(number).copied().unwrap_or_default();
        let Some(chunk) = self.chunks.get(number) else { return Err(before) };
        match chunk.uids.binary_search(&uid) {
            Ok(at) => Ok(before + at),
            Err(at) => Err(before + at),
        }
    }

    /// How many rows have a UID below this one.
    pub fn below(&self, uid: u32) -> usize {
        match self.find(uid) {
            Ok(place) | Err(place) => place,
        }
    }

    /// Every row, from a place on.
    pub fn iter_from(&self, place: usize) -> impl Iterator<Item = Row> + '_ {
        let (first, at) = self.chunk_at(place).unwrap_or((self.chunks.len(), 0));
        let chunks = self.chunks.get(first..).unwrap_or_default().iter().enumerate();
        chunks.flat_map(move |(number, chunk)| {
            let from = if number == 0 { at } else { 0 };
            (from..chunk.uids.len()).filter_map(|at| chunk.row(at))
        })
    }

    /// Every row.
    pub fn iter(&self) -> impl Iterator<Item = Row> + '_ {
        self.iter_from(0)
    }

    /// Every UID.
    pub fn uids(&self) -> impl Iterator<Item = u32> + '_ {
        self.chunks.iter().flat_map(|chunk| chunk.uids.iter().copied())
    }

    /// Every keyword that a row has, and a few that some had.
    pub fn keywords(&self) -> BTreeSet<Keyword> {
        let sets = self.chunks.iter().flat_map(|chunk| chunk.sets.iter());
        sets.flat_map(|set| set.iter()).cloned().collect()
    }

    /// The place of the first row that lacks a flag.
    pub fn first_without(&self, flag: SystemFlag) -> Option<usize> {
        let lacks = |system: &u8| system & flag.bit() == 0;
        self.chunks
            .iter()
            .zip(&self.before)
            .find_map(|(chunk, before)| chunk.system.iter().position(lacks).map(|at| before + at))
    }

    /// Puts a row at the end; its UID is above all others.
    pub fn push(&mut self, row: &Row) {
        if self.chunks.last().is_none_or(|chunk| chunk.uids.len() >= CHUNK_MAX) {
            self.chunks.push(Arc::default());
            self.before.push(self.count);
        }
        if let Some(chunk) = self.chunks.last_mut() {
            let chunk = Arc::make_mut(chunk);
            chunk.insert(chunk.uids.len(), row);
            self.count += 1;
        }
    }

    /// Writes the row at a place over, which has the same UID.
    pub fn replace(&mut self, place: usize, row: &Row) {
        if let Some((chunk, at)) = self.chunk_at(place)
            && let Some(chunk) = self.chunks.get_mut(chunk)
        {
            Arc::make_mut(chunk).replace(at, row);
        }
    }

    /// Takes rows with these UIDs out; says how many there were.
    pub fn remove(&mut self, uids: RangeInclusive<u32>) -> usize {
        let mut removed = 0;
        let ends = |chunk: &Arc<Chunk>| chunk.uids.last().is_some_and(|last| last < uids.start());
        let first = self.chunks.partition_point(ends);
        for chunk in self.chunks.get_mut(first..).unwrap_or_default() {
            if chunk.uids.first().is_some_and(|first| first > uids.end()) {
                break;
            }
            let from = chunk.uids.partition_point(|uid| uid < uids.start());
            let to = chunk.uids.partition_point(|uid| uid <= uids.end());
            if from < to {
                removed += to - from;
                Arc::make_mut(chunk).remove(from..to);
            }
        }
        if removed > 0 {
            self.chunks.retain(|chunk| !chunk.uids.is_empty());
            self.count_again();
        }
        removed
    }

    fn count_again(&mut self) {
        self.before.clear();
        self.count = 0;
        for chunk in &self.chunks {
            self.before.push(self.count);
            self.count += chunk.uids.len();
        }
    }

    /// Bytes they take, roughly.
    pub fn bytes(&self) -> usize {
        let words = |chunk: &Chunk| -> usize {
            let words = chunk.sets.iter().flat_map(|set| set.iter());
            words.map(|word| size_of::<Keyword>() + word.as_str().len()).sum()
        };
        let bytes = |chunk: &Arc<Chunk>| {
            13 * chunk.uids.len() + 2 * chunk.set_of.len() + words(chunk) + 128
        };
        self.chunks.iter().map(bytes).sum()
    }

    /// The chunk that holds a place, and where in it.
    fn chunk_at(&self, place: usize) -> Option<(usize, usize)> {
        if place >= self.count {
            return None;
        }
        let number = self.before.partition_point(|before| *before <= place).checked_sub(1)?;
        Some((number, place - self.before.get(number)?))
    }
}

impl FromIterator<Row> for Rows {
    /// Rows by ascending UID.
    fn from_iter<I: IntoIterator<Item = Row>>(rows: I) -> Self {
        let mut all = Self::default();
        for row in rows {
            all.push(&row);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(uid: u32, bits: u8, keywords: &[&str]) -> Row {
        let flags = Flags::from_parts(bits, keywords.iter().copied());
        Row { uid, modseq: u64::from(uid) + 1, flags }
    }

    /// Who keeps rows within a limit hears of keywords, too.
    #[test]
    fn keywords_count() {
        let words: Vec<String> = (0..640).map(|word| format!("{word:0128}")).collect();
        let of = |uid: u32| -> Row {
            let words = words.iter().skip(uid as usize * 64 - 64).take(64);
            row(uid, 0, &words.map(String::as_str).collect::<Vec<_>>())
        };
        let rows: Rows = (1..=10).map(of).collect();
        assert!(rows.bytes() > 640 * 128, "{}", rows.bytes());
    }

    /// What a list of rows would hold, step by step beside the chunks.
    #[test]
    fn rows_are_what_a_list_would_be() {
        let mut list: Vec<Row> = Vec::new();
        let mut rows = Rows::default();
        for uid in (1..30_000).step_by(3) {
            let keywords: &[&str] = if uid % 7 == 0 { &["$Junk", "a"] } else { &[] };
            list.push(row(uid, 1, keywords));
            rows.push(&row(uid, 1, keywords));
        }
        let shared = rows.clone();
        for gone in [1..=1, 50..=9_000, 13_000..=13_005, 29_990..=40_000] {
            let before = list.len();
            list.retain(|row| !gone.contains(&row.uid));
            assert_eq!(rows.remove(gone), before - list.len());
        }
        for place in [0, 7, 5_000, list.len() - 1] {
            let new = row(list[place].uid, 2, &["B", "$Junk"]);
            rows.replace(place, &new);
            list[place] = new;
        }
        list.push(row(50_000, 0, &["b"]));
        rows.push(&row(50_000, 0, &["b"]));
        assert!(rows.iter().eq(list.iter().cloned()) && rows.len() == list.len());
        assert!(rows.iter_from(4_500).eq(list[4_500..].iter().cloned()));
        assert!(rows.uids().eq(list.iter().map(|row| row.uid)));
        for uid in 0..30_100 {
            let place = list.binary_search_by_key(&uid, |row| row.uid);
            assert_eq!(rows.find(uid), place, "{uid}");
        }
        for place in 0..=list.len() {
            assert_eq!(rows.get(place).as_ref(), list.get(place));
        }
        assert_eq!(rows.first_without(SystemFlag::Seen), Some(0));
        assert_eq!(rows.keywords().len(), 3);
        // Whoever shared them sees what was there.
        assert_eq!((shared.len(), shared.first_without(SystemFlag::Seen)), (10_000, None));
        assert_eq!(shared.get(2_000).map(|row| row.uid), Some(6_001));
    }
}
