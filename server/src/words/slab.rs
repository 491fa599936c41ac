//! A slab: sorted terms and which messages have them, in one run of bytes.
//!
//! ```text
//!   ways, blocks     how many there are: two numbers of four bytes, as all before the lists
//!   way  …           where its list begins, and where the last one ends; each three bytes of a
//!                    term have a way, which others may share
//!   block  …         where it begins, and where the last one ends
//!   list  …          blocks that have terms of this way, ascending: differences
//!   block  …         length of the terms; the terms, each between two line ends; for each term
//!                    the length of its messages; the messages of each: differences of UIDs
//! ```
//! Differences and lengths are numbers of seven bits a byte. Few bytes of a slab are read to find
//! a term: the ways of what is looked for, their lists, and the blocks in all of those.
//! Invariants: what is read is never believed to be whole; a slab that is not what it should be is
//! [`Unread::Malformed`]. It is as large as [`SLAB_BYTES`] and one block at most, and a block as
//! one term of all messages of its segment.
//! Not here: where slabs are kept (`super`), what terms are (`grace_mail::terms`).

use gracedb::error::Error;
use gracedb::large::LargeReader;

use grace_mail::terms::{Place, Sought};

/// A slab is full when it has so many bytes: it is made in memory, three times as large.
pub(super) const SLAB_BYTES: usize = 4 << 20;

/// A block is full when its terms take so many bytes: what is compared for one term that fits.
const BLOCK_TERMS_BYTES: usize = 1 << 10;

/// Or its messages: what is read for one term that fits.
const BLOCK_MESSAGES_BYTES: usize = 8 << 10;

/// With fewer blocks there are no ways: all are read.
const WAYS_BLOCKS_MIN: usize = 8;

/// Most ways, as a power of two. A full slab has some four thousand blocks of three hundred each.
const WAYS_BITS_MAX: u32 = 14;

/// Bits of a block's number beside its way.
const BLOCK_BITS: u32 = u32::BITS - WAYS_BITS_MAX;
const _: () = assert!(SLAB_BYTES / BLOCK_TERMS_BYTES < 1 << (BLOCK_BITS - 1));

/// What separates terms; no term has it.
const LINE_END: u8 = b'\n';

/// Why a slab could not be read.
#[derive(Debug)]
pub(super) enum Unread {
    /// The database failed.
    Store(Error),
    /// It is not what a slab should be.
    Malformed,
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        match error {
            // Damage on the disk: what is lost can be made anew.
            Error::Corrupt { .. } | Error::Unknown { .. } => Self::Malformed,
            error => Self::Store(error),
        }
    }
}

/// Whether what was found is all there can be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Enough(pub(super) bool);

/// Where the bytes of a slab come from.
pub(super) trait Source {
    /// Bytes from an offset on; fewer only at the end.
    fn read(&mut self, offset: u64, bytes: usize) -> Result<Vec<u8>, Error>;
}

impl Source for LargeReader {
    fn read(&mut self, offset: u64, bytes: usize) -> Result<Vec<u8>, Error> {
        // Lengths come from the slab itself.
        let left = self.len().saturating_sub(offset);
        let mut buffer = vec![0; bytes.min(usize::try_from(left).unwrap_or(usize::MAX))];
        let count = self.read_at(offset, &mut buffer)?;
        buffer.truncate(count);
        Ok(buffer)
    }
}

/// Makes slabs of terms that come in their order.
#[derive(Debug, Default)]
pub(super) struct SlabWriter {
    terms: Vec<u8>,
    lengths: Vec<u8>,
    messages: Vec<u8>,
    blocks: Vec<u8>,
    starts: Vec<u32>,
    /// Each way of each block: way, then block.
    ways: Vec<u32>,
}

impl SlabWriter {
    /// Adds a term and its messages, as [`write_uids`] writes them.
    pub(super) fn add(&mut self, term: &str, messages: &[u8]) {
        if self.terms.is_empty() {
            self.terms.push(LINE_END);
        }
        self.terms.extend_from_slice(term.as_bytes());
        self.terms.push(LINE_END);
        write_number(&mut self.lengths, number_of(messages.len()));
        self.messages.extend_from_slice(messages);
        if self.terms.len() >= BLOCK_TERMS_BYTES || self.messages.len() >= BLOCK_MESSAGES_BYTES {
            self.end_block();
        }
    }

    /// Whether the slab should be ended.
    pub(super) fn is_full(&self) -> bool {
        self.blocks.len() >= SLAB_BYTES
    }

    /// Ends the slab; `None`: nothing is in it. What comes then is the next one's.
    pub(super) fn end(&mut self) -> Option<Vec<u8>> {
        self.end_block();
        if self.blocks.is_empty() {
            return None;
        }
        let Self { blocks, mut starts, mut ways, .. } = std::mem::take(self);
        let bits = match starts.len() {
            ..WAYS_BLOCKS_MIN => None,
            blocks => Some((blocks * 8).next_power_of_two().ilog2().min(WAYS_BITS_MAX)),
        };
        let (directory, lists) = match bits {
            None => (Vec::new(), Vec::new()),
            Some(bits) => lists(&mut ways, bits),
        };
        let mut slab = Vec::new();
        put(&mut slab, bits.map_or(0, |bits| 1 << bits));
        put(&mut slab, number_of(starts.len()));
        starts.push(number_of(blocks.len()));
        directory.iter().chain(&starts).for_each(|number| put(&mut slab, *number));
        slab.extend_from_slice(&lists);
        slab.extend_from_slice(&blocks);
        Some(slab)
    }

    fn end_block(&mut self) {
        if self.terms.is_empty() {
            return;
        }
        let block = number_of(self.starts.len());
        self.starts.push(number_of(self.blocks.len()));
        let mut ways: Vec<u32> = ways(&self.terms).collect();
        ways.sort_unstable();
        ways.dedup();
        self.ways.extend(ways.iter().map(|way| way << BLOCK_BITS | block));
        write_number(&mut self.blocks, number_of(self.terms.len()));
        self.blocks.append(&mut self.terms);
        self.blocks.append(&mut self.lengths);
        self.blocks.append(&mut self.messages);
    }
}

/// The list of blocks of each way, and where each begins.
fn lists(ways: &mut [u32], bits: u32) -> (Vec<u32>, Vec<u8>) {
    let fold = |pair: u32| (pair >> BLOCK_BITS >> (WAYS_BITS_MAX - bits), block_of(pair));
    // Ways that become one: their blocks must ascend together.
    ways.sort_unstable_by_key(|pair| fold(*pair));
    let (mut starts, mut lists, mut last) = (vec![0], Vec::new(), None);
    for (way, block) in ways.iter().map(|pair| fold(*pair)) {
        let before = match last {
            Some((same, before)) if same == way => Some(before),
            _ => None,
        };
        while number_of(starts.len()) <= way {
            starts.push(number_of(lists.len()));
        }
        match before {
            Some(before) if before == block => {}
            before => write_number(&mut lists, block - before.unwrap_or_default()),
        }
        last = Some((way, block));
    }
    while number_of(starts.len()) <= 1 << bits {
        starts.push(number_of(lists.len()));
    }
    (starts, lists)
}

fn block_of(pair: u32) -> u32 {
    pair & ((1 << BLOCK_BITS) - 1)
}

/// The ways of all that stands between line ends, or at one.
fn ways(text: &[u8]) -> impl Iterator<Item = u32> + '_ {
    text.windows(3).filter_map(|three| match *three {
        [_, LINE_END, _] => None,
        [one, two, three] => {
            let three = u32::from_be_bytes([0, one, two, three]);
            Some(three.wrapping_mul(0x9e37_79b1) >> (u32::BITS - WAYS_BITS_MAX))
        }
        _ => None,
    })
}

/// A slab that can be looked into.
pub(super) struct Slab<S> {
    source: S,
    ways: u32,
    /// Where each block begins, and where the last one ends, from the first block on.
    starts: Vec<u32>,
    /// Where lists and blocks begin.
    lists_at: u64,
    blocks_at: u64,
}

/// A term, and its messages as they are written.
pub(super) type Entry = (String, Vec<u8>);

impl<S: Source> Slab<S> {
    /// Opens a slab.
    pub(super) fn open(mut source: S) -> Result<Self, Unread> {
        let head = numbers(&source.read(0, 8)?, 2)?;
        let [ways, blocks] = *head.as_slice() else { return Err(Unread::Malformed) };
        let is_sound = (ways == 0 || ways.is_power_of_two()) && ways <= 1 << WAYS_BITS_MAX;
        if !is_sound || blocks >= 1 << BLOCK_BITS {
            return Err(Unread::Malformed);
        }
        let directory = if ways == 0 { 0 } else { u64::from(ways) + 1 };
        let starts_at = 8 + 4 * directory;
        let count = blocks as usize + 1;
        let starts = numbers(&source.read(starts_at, 4 * count)?, count)?;
        let lists_at = starts_at + 4 * count as u64;
        let mut slab = Self { source, ways, starts, lists_at, blocks_at: lists_at };
        if ways > 0 {
            let (_, end) = slab.list_place(ways - 1)?;
            slab.blocks_at += u64::from(end);
        }
        Ok(slab)
    }

    /// How many blocks there are.
    pub(super) fn blocks(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Calls `take` with the messages of each term that a text is in, as they are written, until
    /// it says that it has enough.
    pub(super) fn find(
        &mut self,
        sought: &Sought,
        mut take: impl FnMut(&[u8]) -> Result<Enough, Unread>,
    ) -> Result<Enough, Unread> {
        let text = between_line_ends(sought);
        for place in self.blocks_with(&text)? {
            let block = self.block(place)?;
            let (terms, rest) = terms_of(&block)?;
            // Most blocks are here for others that share the ways.
            if !terms.contains(&text) {
                continue;
            }
            for (term, messages) in entries(terms, rest)? {
                if sought.is_in(term) && take(messages)?.0 {
                    return Ok(Enough(true));
                }
            }
        }
        Ok(Enough(false))
    }

    /// The terms of a block, and the messages of each.
    pub(super) fn entries(&mut self, block: usize) -> Result<Vec<Entry>, Unread> {
        let block = self.block(block)?;
        let (terms, rest) = terms_of(&block)?;
        let own = |(term, messages): (&str, &[u8])| (term.to_owned(), messages.to_vec());
        Ok(entries(terms, rest)?.into_iter().map(own).collect())
    }

    /// The blocks that may have a text.
    fn blocks_with(&mut self, text: &str) -> Result<Vec<usize>, Unread> {
        if self.ways == 0 || text.len() < 3 {
            return Ok((0..self.blocks()).collect());
        }
        let shift = WAYS_BITS_MAX - self.ways.ilog2();
        let mut wanted: Vec<u32> = ways(text.as_bytes()).map(|way| way >> shift).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let places = wanted.into_iter().map(|way| self.list_place(way));
        let mut places = places.collect::<Result<Vec<_>, _>>()?;
        // Their order on disk is that of their ways: what is read at once serves several.
        places.dedup();
        let mut common: Option<Vec<usize>> = None;
        for place in places {
            let list = self.list(place)?;
            let left = match common.take() {
                None => list,
                Some(mut before) => {
                    before.retain(|block| list.binary_search(block).is_ok());
                    before
                }
            };
            if left.is_empty() {
                return Ok(left);
            }
            common = Some(left);
        }
        Ok(common.unwrap_or_else(|| (0..self.blocks()).collect()))
    }

    fn list_place(&mut self, way: u32) -> Result<(u32, u32), Unread> {
        let ends = numbers(&self.source.read(8 + 4 * u64::from(way), 8)?, 2)?;
        match *ends.as_slice() {
            [start, end] if start <= end => Ok((start, end)),
            _ => Err(Unread::Malformed),
        }
    }

    fn list(&mut self, (start, end): (u32, u32)) -> Result<Vec<usize>, Unread> {
        let bytes = self.source.read(self.lists_at + u64::from(start), (end - start) as usize)?;
        let (mut list, mut rest, mut block) = (Vec::new(), bytes.as_slice(), 0_usize);
        while !rest.is_empty() {
            let more = read_number(&mut rest).ok_or(Unread::Malformed)?;
            block = block.checked_add(more as usize).ok_or(Unread::Malformed)?;
            list.push(block);
        }
        Ok(list)
    }

    fn block(&mut self, place: usize) -> Result<Vec<u8>, Unread> {
        let ends = self.starts.get(place..).and_then(|starts| starts.get(..2));
        let Some([start, end]) = ends else { return Err(Unread::Malformed) };
        let bytes = end.checked_sub(*start).ok_or(Unread::Malformed)? as usize;
        let block = self.source.read(self.blocks_at + u64::from(*start), bytes)?;
        if block.len() < bytes { Err(Unread::Malformed) } else { Ok(block) }
    }
}

/// A text as it stands in a block.
fn between_line_ends(sought: &Sought) -> String {
    let text = &sought.text;
    match sought.place {
        Place::Within => text.clone(),
        Place::Begin => format!("\n{text}"),
        Place::End => format!("{text}\n"),
        Place::Whole => format!("\n{text}\n"),
    }
}

/// The terms of a block, and what stands behind them.
fn terms_of(block: &[u8]) -> Result<(&str, &[u8]), Unread> {
    let mut rest = block;
    let length = read_number(&mut rest).ok_or(Unread::Malformed)? as usize;
    let (terms, rest) = rest.split_at_checked(length).ok_or(Unread::Malformed)?;
    Ok((std::str::from_utf8(terms).map_err(|_| Unread::Malformed)?, rest))
}

/// Each term of a block with its messages.
fn entries<'a>(terms: &'a str, mut rest: &'a [u8]) -> Result<Vec<(&'a str, &'a [u8])>, Unread> {
    let inner = terms.strip_prefix('\n').and_then(|terms| terms.strip_suffix('\n'));
    let terms = inner.ok_or(Unread::Malformed)?.split('\n');
    let mut entries = Vec::new();
    for term in terms {
        entries.push((term, read_number(&mut rest).ok_or(Unread::Malformed)? as usize));
    }
    let messages = entries.into_iter().map(|(term, length)| {
        let (own, others) = rest.split_at_checked(length).ok_or(Unread::Malformed)?;
        rest = others;
        Ok((term, own))
    });
    messages.collect()
}

/// Writes ascending UIDs, the first one from `first` on.
pub(super) fn write_uids(uids: impl Iterator<Item = u32>, first: u32) -> Vec<u8> {
    let (mut out, mut before) = (Vec::new(), first);
    for uid in uids {
        write_number(&mut out, uid.saturating_sub(before));
        before = uid;
    }
    out
}

/// Calls `take` with each of the UIDs.
pub(super) fn read_uids(
    mut bytes: &[u8],
    first: u32,
    mut take: impl FnMut(u32),
) -> Result<(), Unread> {
    let mut uid = first;
    while !bytes.is_empty() {
        let more = read_number(&mut bytes).ok_or(Unread::Malformed)?;
        uid = uid.checked_add(more).ok_or(Unread::Malformed)?;
        take(uid);
    }
    Ok(())
}

/// Writes a number, seven bits a byte, the lowest first; the top bit says that more follow.
pub(super) fn write_number(out: &mut Vec<u8>, mut number: u32) {
    loop {
        let [low, ..] = (number & 0x7f).to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn read_number(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0;
    for shift in (0..u32::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn put(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// So many numbers of four bytes.
fn numbers(bytes: &[u8], count: usize) -> Result<Vec<u32>, Unread> {
    let four = bytes.chunks_exact(4).filter_map(|four| four.try_into().ok());
    let numbers: Vec<u32> = four.map(u32::from_le_bytes).collect();
    if numbers.len() == count { Ok(numbers) } else { Err(Unread::Malformed) }
}

/// Sizes here are those of slabs, and lie far below.
fn number_of(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    impl Source for &[u8] {
        fn read(&mut self, offset: u64, bytes: usize) -> Result<Vec<u8>, Error> {
            let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
            let rest = rest.unwrap_or_default();
            Ok(rest.get(..bytes).unwrap_or(rest).to_vec())
        }
    }

    type Terms = BTreeMap<String, Vec<u32>>;

    /// Terms of some letters, so many that slabs of every shape come about.
    fn made(count: u32) -> Terms {
        let term = |number: u32| {
            let letters = ["a", "b", "cd", "é", "日", "00", "x"];
            let mut term = String::new();
            let mut left = u64::from(number.wrapping_mul(2_654_435_761)) << 8 | 1;
            while left > 0 {
                term.push_str(letters[usize::try_from(left % 7).unwrap()]);
                left /= 7;
            }
            (term, (0..=number % 5).map(|step| 10 + number / 7 + step * 3).collect())
        };
        (0..count).map(term).collect()
    }

    fn slab(terms: &Terms) -> Vec<u8> {
        let mut writer = SlabWriter::default();
        terms.iter().for_each(|(term, uids)| {
            writer.add(term, &write_uids(uids.iter().copied(), 10));
        });
        writer.end().unwrap()
    }

    fn found(slab: &[u8], sought: &Sought) -> Result<Vec<u32>, Unread> {
        let mut uids = Vec::new();
        Slab::open(slab)?.find(sought, |bytes| {
            read_uids(bytes, 10, |uid| uids.push(uid))?;
            Ok(Enough(false))
        })?;
        uids.sort_unstable();
        uids.dedup();
        Ok(uids)
    }

    fn expected(terms: &Terms, sought: &Sought) -> Vec<u32> {
        let fits = terms.iter().filter(|(term, _)| sought.is_in(term));
        let mut uids: Vec<u32> = fits.flat_map(|(_, uids)| uids.clone()).collect();
        uids.sort_unstable();
        uids.dedup();
        uids
    }

    #[test]
    fn what_is_in_a_term_is_found_however_large_the_slab() {
        for count in [1, 60, 600, 20_000] {
            let terms = made(count);
            let slab = slab(&terms);
            let some: Vec<&String> = terms.keys().step_by(terms.len().div_ceil(20)).collect();
            let mut texts = vec!["".to_owned(), "q".to_owned(), "a".to_owned(), "zzz".to_owned()];
            for term in some {
                let chars: Vec<char> = term.chars().collect();
                texts.push(term.clone());
                texts.extend((1..chars.len()).map(|from| chars[from..].iter().collect()));
                texts.extend((1..chars.len()).map(|to| chars[..to].iter().collect()));
            }
            for text in texts {
                for place in [Place::Within, Place::Begin, Place::End, Place::Whole] {
                    let sought = Sought { text: text.clone(), place };
                    let uids = found(&slab, &sought).unwrap();
                    assert_eq!(uids, expected(&terms, &sought), "{sought:?} of {count}");
                }
            }
        }
    }

    #[test]
    fn looking_ends_when_there_is_enough() {
        let terms = made(600);
        let (slab, mut calls) = (slab(&terms), 0);
        let sought = Sought { text: "a".to_owned(), place: Place::Within };
        let enough = Slab::open(slab.as_slice()).unwrap().find(&sought, |_| {
            calls += 1;
            Ok(Enough(calls == 3))
        });
        assert!(enough.unwrap().0 && calls == 3);
    }

    #[test]
    fn few_blocks_are_read_for_a_rare_text() {
        let word = |number: u64| -> String {
            let mut left = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let letters = (0..9).map(|_| {
                left = left.rotate_left(7);
                char::from(b'a' + u8::try_from(left % 26).unwrap())
            });
            letters.collect()
        };
        let terms: Terms = (0..20_000).map(|number| (word(number), vec![10])).collect();
        let bytes = slab(&terms);
        let mut slab = Slab::open(bytes.as_slice()).unwrap();
        for text in [word(77), word(19_000), word(1 << 40)] {
            let few = slab.blocks_with(&text).unwrap().len();
            assert!(few * 20 < slab.blocks(), "{text}: {few} of {}", slab.blocks());
            let sought = Sought { text, place: Place::Within };
            let there = if terms.contains_key(&sought.text) { vec![10] } else { Vec::new() };
            assert_eq!(found(&bytes, &sought).unwrap(), there);
        }
    }

    #[test]
    fn damage_is_an_error_or_a_wrong_answer_but_no_panic() {
        let terms = made(600);
        let sound = slab(&terms);
        let sought = Sought { text: "ab".to_owned(), place: Place::Within };
        let mut malformed = 0;
        for at in 0..sound.len().min(4_000) {
            let mut slab = sound.clone();
            slab[at] ^= 0xff;
            malformed += usize::from(found(&slab, &sought).is_err());
            malformed += usize::from(found(&sound[..at], &sought).is_err());
        }
        assert!(malformed > 4_000, "{malformed}");
        assert_eq!(found(&sound, &sought).unwrap(), expected(&terms, &sought));
    }

    #[test]
    fn numbers_come_back() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u32::MAX] {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            assert_eq!(read_number(&mut bytes.as_slice()), Some(number));
        }
        assert_eq!(read_number(&mut [0x80; 5].as_slice()), None);
        assert_eq!(read_number(&mut [0x80].as_slice()), None);
    }
}
