//! One index segment: what it says about itself, and reading its blocks.
//!
//! ```text
//!   header 4096 │ rows │ rows │ … │ index │ filter │ ranges │ footer 64
//!   each but the ends: head u32: length, and in the top four bits what it is: 0 rows, 1 index …
//!         │ bytes │ tag if encrypted │ crc32c of place, head and bytes │ zeros to a multiple of 8
//!   index: a block; key: less than or equal to the first key of a block, greater than the last
//!          one before it; value: where the block starts and its length, varints
//!   ranges: a block; key and value: the ends of a range of keys that are gone
//!   footer: "GrIxFoot" │ offset u64 and length u32 of index, filter and ranges
//!         │ newest transaction u64 │ level it was made for u8 │ zeros │ crc32c
//! ```
//! A reader goes by the index; whoever mends a file whose index is gone goes from head to head.
//! Invariant: bytes that fail a check are an error, with file and offset, and never a row.
//! Not here: making one (`writer`), walking over it (`cursor`).

use std::iter::repeat_n;
use std::ops::{Deref, Range};
use std::sync::{Arc, OnceLock, Weak};

use crate::crc;
use crate::error::Error;
use crate::files::{Files, OpenFile};
use crate::format::{ALIGN, Fields, FileHeader, FileKind};
use crate::mem::Found;
use crate::ranges::Ranges;
use crate::seal;
use crate::sync::{Mutex, locked};

use super::block::Block;
use super::cache::Cache;
use super::filter;
use super::guide::Guide;

/// Bytes of the footer.
pub(crate) const FOOTER_LEN: usize = 64;
pub(crate) const FOOTER_MAGIC: [u8; 8] = *b"GrIxFoot";
/// Bytes before a section.
pub(crate) const HEAD_LEN: usize = 4;
/// Bits of a head that are a length.
const LEN_BITS: u32 = 28;
const LEN_MASK: u32 = (1 << LEN_BITS) - 1;
/// Bytes of the checksum after a section.
pub(crate) const CRC_LEN: usize = 4;
/// Largest block of rows a reader takes in: one row of the largest size, and room for its key.
pub(crate) const BLOCK_BYTES_MAX: usize = 4 << 20;
/// Largest index or filter of one run a reader takes in.
const SECTION_BYTES_MAX: usize = LEN_MASK as usize;

/// What the meta file keeps of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunInfo {
    pub(crate) number: u64,
    /// Bytes of the file.
    pub(crate) len: u64,
    /// Values and tombstones.
    pub(crate) entries: u64,
    pub(crate) tombstones: u64,
    /// Ranges of keys that are gone.
    pub(crate) ranges: u64,
    /// The first key, of an entry or a range.
    pub(crate) first: Box<[u8]>,
    /// Greater than every key in it.
    pub(crate) end: Box<[u8]>,
    /// The newest transaction in it.
    pub(crate) sequence: u64,
}

/// What a run says about itself, in memory.
pub(crate) struct Head {
    guide: Guide,
    filter: Vec<u8>,
    pub(crate) ranges: Ranges,
}

impl Head {
    /// Blocks of rows.
    pub(crate) fn blocks(&self) -> usize {
        self.guide.blocks()
    }

    pub(crate) fn weight(&self) -> usize {
        let ends = |range: &crate::ranges::Range| range.low.len() + range.high.len() + 64;
        let ranges: usize = self.ranges.iter().map(ends).sum();
        self.guide.weight() + self.filter.len() + ranges
    }

    /// The number of the block that may hold `key`. `None`: there is none.
    pub(crate) fn block_of(&self, key: &[u8]) -> Option<usize> {
        self.guide.block_of(key)
    }

    /// What the keys of a block are not less than. `None`: there is no such block.
    pub(crate) fn separator(&self, block: usize) -> Option<Vec<u8>> {
        self.guide.separator(block)
    }

    /// Where a block stands: offset and length.
    pub(crate) fn place(&self, block: usize) -> Option<(u64, usize)> {
        self.guide.place(block)
    }
}

/// What reading a run takes.
pub(crate) struct Reading {
    pub(crate) files: Arc<Files>,
    pub(crate) cache: Cache,
}

/// A run.
pub(crate) struct Run {
    pub(crate) info: RunInfo,
    pub(crate) reading: Arc<Reading>,
    /// The head, for good, while there is room for all of them.
    head: OnceLock<Arc<Head>>,
    /// Else the one that was read last, while somebody has it.
    lent: Mutex<Weak<Head>>,
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(head) = self.head.get() {
            self.reading.cache.unpin(head.weight());
        }
    }
}

/// A head, held by its run or by who asked.
pub(crate) enum HeadRef<'a> {
    Pinned(&'a Arc<Head>),
    Kept(Arc<Head>),
}

impl Deref for HeadRef<'_> {
    type Target = Head;

    fn deref(&self) -> &Head {
        match self {
            Self::Pinned(head) => head,
            Self::Kept(head) => head,
        }
    }
}

impl HeadRef<'_> {
    pub(crate) fn into_arc(self) -> Arc<Head> {
        match self {
            Self::Pinned(head) => Arc::clone(head),
            Self::Kept(head) => head,
        }
    }
}

/// Where a section stands, and its stored bytes.
pub(crate) type Section = (u64, usize);

/// What a file ends with.
pub(crate) struct Footer {
    pub(crate) index: Section,
    pub(crate) filter: Section,
    pub(crate) ranges: Section,
    /// The newest transaction in it.
    pub(crate) sequence: u64,
    /// The level it was made for.
    pub(crate) level: u8,
}

impl Footer {
    /// The footer's bytes, to stand at `offset`.
    pub(crate) fn to_bytes(&self, file: &FileHeader, offset: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FOOTER_LEN);
        bytes.extend_from_slice(&FOOTER_MAGIC);
        for (offset, len) in [self.index, self.filter, self.ranges] {
            bytes.extend_from_slice(&offset.to_le_bytes());
            bytes.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        }
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.push(self.level);
        bytes.resize(FOOTER_LEN - CRC_LEN, 0);
        let crc = footer_crc(file, offset, &bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads and checks the footer of a file of `len` bytes.
    pub(crate) fn read(file: &OpenFile, len: u64) -> Result<Self, Error> {
        let at = len.saturating_sub(FOOTER_LEN as u64);
        let corrupt = |what: &str| file.corrupt(at, what);
        let mut footer = [0; FOOTER_LEN];
        let read = file.file.read_at(at, &mut footer);
        let read = read.map_err(|error| Error::io("read", &file.name(), error))?;
        if read != FOOTER_LEN {
            return Err(corrupt("the file is shorter than it was when it was finished"));
        }
        let Some((body, crc)) = footer.split_last_chunk::<CRC_LEN>() else {
            return Err(corrupt("an empty footer"));
        };
        let mut fields = Fields(body);
        if fields.take() != Some(FOOTER_MAGIC)
            || u32::from_le_bytes(*crc) != footer_crc(&file.header, at, body)
        {
            return Err(corrupt("the footer's checksum is wrong"));
        }
        let mut section = || {
            let offset = fields.u64()?;
            let len = usize::try_from(fields.u32()?).ok()?;
            let inside = offset.checked_add(len as u64)? <= at && len <= SECTION_BYTES_MAX;
            inside.then_some((offset, len))
        };
        let (Some(index), Some(filter), Some(ranges)) = (section(), section(), section()) else {
            return Err(corrupt("the footer leads out of the file"));
        };
        let (sequence, level) = (fields.u64(), fields.take::<1>());
        let sequence = sequence.ok_or_else(|| corrupt("an empty footer"))?;
        let [level] = level.ok_or_else(|| corrupt("an empty footer"))?;
        Ok(Self { index, filter, ranges, sequence, level })
    }
}

/// The ranges that a section of them lists; `None`: it is none.
pub(crate) fn read_ranges(bytes: &[u8]) -> Option<Ranges> {
    let block = Block::parse(bytes)?;
    let mut ranges = Ranges::default();
    for at in 0..block.len() {
        let low = [block.prefix(), block.suffix(at)?].concat();
        ranges.add(&low, block.value(at)??);
    }
    Some(ranges)
}

/// The bytes of a value, wherever they are kept.
pub(crate) struct BlockValue {
    block: Arc<[u8]>,
    range: Range<usize>,
}

impl Deref for BlockValue {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.block.get(self.range.clone()).unwrap_or_default()
    }
}

/// What a section of the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SectionKind {
    Rows = 0,
    Index = 1,
    Filter = 2,
    Ranges = 3,
}

impl SectionKind {
    /// What a head says: the kind, and how many bytes are stored.
    pub(crate) fn of_head(head: [u8; HEAD_LEN]) -> Option<(Self, usize)> {
        let head = u32::from_le_bytes(head);
        let kinds = [Self::Rows, Self::Index, Self::Filter, Self::Ranges].into_iter();
        let kind = kinds.into_iter().find(|kind| *kind as u32 == head >> LEN_BITS)?;
        Some((kind, usize::try_from(head & LEN_MASK).ok()?))
    }

    /// What stands before a section with so many stored bytes.
    pub(crate) fn head(self, len: usize) -> [u8; HEAD_LEN] {
        let len = u32::try_from(len).unwrap_or(u32::MAX) & LEN_MASK;
        (((self as u32) << LEN_BITS) | len).to_le_bytes()
    }
}

/// The checksum of a section: covers where it stands, what it is and how long.
pub(crate) fn section_crc(file: &FileHeader, offset: u64, kind: SectionKind, bytes: &[u8]) -> u32 {
    let place = crc::of_place(&file.database, file.number, offset);
    crc::of(bytes) ^ crc::of(&kind.head(bytes.len())) ^ place
}

/// The checksum of the footer, which stands at `offset`.
pub(crate) fn footer_crc(file: &FileHeader, offset: u64, body: &[u8]) -> u32 {
    crc::of(body) ^ crc::of_place(&file.database, file.number, offset)
}

/// Bytes that a section of `len` stored bytes takes in the file.
pub(crate) fn section_room(len: usize) -> u64 {
    ((HEAD_LEN + len + CRC_LEN) as u64).next_multiple_of(ALIGN)
}

/// Checks a section, given with its checksum, and decrypts it in place; says how long it is.
pub(crate) fn unpack(
    file: &OpenFile,
    offset: u64,
    kind: SectionKind,
    bytes: &mut [u8],
) -> Result<usize, Error> {
    let (stored, crc) = bytes
        .split_last_chunk_mut::<CRC_LEN>()
        .ok_or_else(|| file.corrupt(offset, "an empty block"))?;
    if section_crc(&file.header, offset, kind, stored) != u32::from_le_bytes(*crc) {
        return Err(file.corrupt(offset, "a block's checksum is wrong"));
    }
    match &file.cipher {
        None => Ok(stored.len()),
        Some(cipher) => cipher
            .open(seal::nonce(0, offset), &[kind as u8], stored)
            .map(|plain| plain.len())
            .ok_or_else(|| file.corrupt(offset, "a block's encryption does not verify")),
    }
}

/// Reads a section into bytes that have room for it and its checksum; says how long it is.
fn read_into(
    file: &OpenFile,
    offset: u64,
    kind: SectionKind,
    bytes: &mut [u8],
) -> Result<usize, Error> {
    let read = file.file.read_at(offset + HEAD_LEN as u64, bytes);
    let read = read.map_err(|error| Error::io("read", &file.name(), error))?;
    if read != bytes.len() {
        return Err(file.corrupt(offset, "the file ends within a block"));
    }
    unpack(file, offset, kind, bytes)
}

fn read_section(
    file: &OpenFile,
    (offset, len): (u64, usize),
    kind: SectionKind,
) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; len + CRC_LEN];
    let len = read_into(file, offset, kind, &mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}

impl Run {
    pub(crate) fn new(info: RunInfo, reading: Arc<Reading>) -> Self {
        Self { info, reading, head: OnceLock::new(), lent: Mutex::default() }
    }

    pub(crate) fn file(&self) -> Result<Arc<OpenFile>, Error> {
        self.reading.files.get(FileKind::Index, self.info.number)
    }

    /// Whether a key may be in it, or in one of its ranges.
    pub(crate) fn reaches(&self, key: &[u8]) -> bool {
        *self.info.first <= *key && *key < *self.info.end
    }

    /// Whether any key from `low` up to, not including, `high` may be in it.
    pub(crate) fn overlaps(&self, low: &[u8], high: &[u8]) -> bool {
        *self.info.first < *high && *low < *self.info.end
    }

    /// Index, filter and ranges.
    pub(crate) fn head(&self) -> Result<HeadRef<'_>, Error> {
        if let Some(pinned) = self.head.get() {
            return Ok(HeadRef::Pinned(pinned));
        }
        let mut lent = locked(&self.lent);
        if let Some(head) = lent.upgrade() {
            return Ok(HeadRef::Kept(head));
        }
        let head = Arc::new(self.read_head()?);
        let cache = &self.reading.cache;
        if !cache.pin(head.weight()) {
            *lent = Arc::downgrade(&head);
        } else if self.head.set(Arc::clone(&head)).is_err() {
            cache.unpin(head.weight());
        }
        Ok(HeadRef::Kept(head))
    }

    fn read_head(&self) -> Result<Head, Error> {
        let file = self.file()?;
        let footer = Footer::read(&file, self.info.len)?;
        let corrupt = |what: &str| file.corrupt(footer.index.0, what);
        let index = read_section(&file, footer.index, SectionKind::Index)?;
        let gone = read_section(&file, footer.ranges, SectionKind::Ranges)?;
        let ranges = read_ranges(&gone).ok_or_else(|| corrupt("ranges that are none"))?;
        let filter = read_section(&file, footer.filter, SectionKind::Filter)?;
        let guide = Guide::new(index).ok_or_else(|| corrupt("an index that is none"))?;
        Ok(Head { guide, filter, ranges })
    }

    /// A block that stands there, from the cache or the file.
    pub(crate) fn block(&self, place: (u64, usize)) -> Result<Arc<[u8]>, Error> {
        let cache = &self.reading.cache;
        if let Some(block) = cache.get(self.info.number, place.0) {
            return Ok(block);
        }
        let block = self.read_block(place)?;
        cache.put(self.info.number, place.0, &block);
        Ok(block)
    }

    fn read_block(&self, (offset, len): (u64, usize)) -> Result<Arc<[u8]>, Error> {
        let file = self.file()?;
        if len > BLOCK_BYTES_MAX {
            return Err(file.corrupt(offset, "a block larger than any that is written"));
        }
        // In place: what follows the block, its tag and checksum, is of no harm there.
        let mut bytes: Arc<[u8]> = repeat_n(0, len + CRC_LEN).collect();
        let room = Arc::get_mut(&mut bytes).ok_or_else(|| self.broken(offset, "a shared block"))?;
        read_into(&file, offset, SectionKind::Rows, room)?;
        Ok(bytes)
    }

    /// Blocks that stand one after the other, read at once and past the cache.
    pub(crate) fn read_blocks(&self, places: &[(u64, usize)]) -> Result<Vec<Arc<[u8]>>, Error> {
        let (Some(first), Some(last)) = (places.first(), places.last()) else {
            return Ok(Vec::new());
        };
        let file = self.file()?;
        let total = last.0.saturating_sub(first.0) + section_room(last.1);
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        if total > BLOCK_BYTES_MAX * 2 {
            return Err(file.corrupt(first.0, "blocks larger than any that are written"));
        }
        let mut bytes = vec![0; total];
        let read = file.file.read_at(first.0, &mut bytes);
        let read = read.map_err(|error| Error::io("read", &file.name(), error))?;
        bytes.truncate(read);
        let mut blocks = Vec::with_capacity(places.len());
        for &(offset, len) in places {
            let start = usize::try_from(offset.saturating_sub(first.0)).unwrap_or(usize::MAX);
            let piece = start
                .checked_add(HEAD_LEN + CRC_LEN)
                .and_then(|end| end.checked_add(len))
                .and_then(|end| bytes.get_mut(start + HEAD_LEN..end))
                .ok_or_else(|| file.corrupt(offset, "the file ends within a block"))?;
            let len = unpack(&file, offset, SectionKind::Rows, piece)?;
            blocks.push(piece.get(..len).unwrap_or_default().into());
        }
        Ok(blocks)
    }

    /// What the run says of a key with this hash.
    pub(crate) fn get(&self, key: &[u8], hash: u64) -> Result<Found<BlockValue>, Error> {
        let head = self.head()?;
        if filter::passes(&head.filter, hash)
            && let Some(number) = head.block_of(key)
        {
            let broken = |offset| self.broken(offset, "a block without order");
            let place = head.place(number).ok_or_else(|| broken(0))?;
            let bytes = self.block(place)?;
            let block = Block::parse(&bytes).ok_or_else(|| broken(place.0))?;
            if let Ok(at) = block.find(key).ok_or_else(|| broken(place.0))? {
                let entry = block.entry(at).ok_or_else(|| broken(place.0))?;
                return Ok(match entry.value {
                    Some(range) => Found::Value(BlockValue { block: bytes, range }),
                    None => Found::Gone,
                });
            }
        }
        let gone = self.info.ranges > 0 && head.ranges.covering(key).is_some();
        Ok(if gone { Found::Gone } else { Found::NotHere })
    }

    /// Something that passed its checksum and yet is not what a writer makes.
    pub(crate) fn broken(&self, offset: u64, what: &str) -> Error {
        let file = FileKind::Index.name(self.info.number);
        Error::Corrupt { file, offset, what: what.to_owned() }
    }
}
