//! Reading what can be read of a broken database.
//!
//! ```text
//!   meta file    its edits, without the broken ones; its keys from their copy if need be
//!   runs         by their index, or without it from section to section
//!   journal      by its records, going on at the next whole one after a broken one
//! ```
//! Everything comes out from the oldest to the newest, so that later says what counts.
//! Invariants: nothing is changed; what fails its checksum is told of and never given out; memory
//! is bounded by one section and by what the meta file lists.
//! Not here: making a database of it (`repair`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::files::{Files, OpenFile};
use crate::format::{
    ALIGN, FILE_FIELDS_LEN, FILE_HEADER_LEN, FileHeader, FileKind, Kind, RecordAt, segment_name,
};
use crate::index::block::Block;
use crate::index::guide::Guide;
use crate::index::run::{
    BLOCK_BYTES_MAX, CRC_LEN, Footer, HEAD_LEN, Section, SectionKind, read_ranges, section_room,
    unpack,
};
use crate::large::Part;
use crate::local;
use crate::manifest::{self, Manifest};
use crate::meta;
use crate::ranges::Ranges;
use crate::row;
use crate::scan::{FIRST, Scan};
use crate::seal::{Key, Keyring};
use crate::words::Words;

/// Any bytes may look like the head of a large section. After so many bytes whose checksum was made
/// for nothing, some tenths of a second, only blocks of rows are looked for, which are small.
pub(crate) const IN_VAIN_MAX: u64 = 1 << 30;
/// Bytes that records start at multiples of.
const ALIGN_BYTES: usize = 8;
const _: () = assert!(ALIGN_BYTES as u64 == ALIGN);

/// Something that could not be read.
pub(crate) type Told<'a> = &'a mut dyn FnMut(&str, Option<u64>, String);

/// Takes an entry of a run: key and value, `None` if the key is gone.
type TakeEntry<'a> = &'a mut dyn FnMut(&[u8], Option<&[u8]>) -> Result<(), Error>;
/// Takes the number and operations of a transaction.
type TakeTransaction<'a> = &'a mut dyn FnMut(u64, &[u8]) -> Result<(), Error>;

/// A broken database.
pub(crate) struct Wreck {
    pub(crate) files: Arc<Files>,
    pub(crate) manifest: Manifest,
    pub(crate) words: Words,
    /// The meta file does not say all it said.
    meta_is_broken: bool,
    names: BTreeSet<String>,
}

/// A run, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
}

impl Wreck {
    /// Reads the meta file as far as that goes.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        key: Option<&Key>,
        told: Told<'_>,
    ) -> Result<Self, Error> {
        let label = disk.label();
        let names = disk.list().map_err(|error| Error::io("list", &label, error))?;
        let newest = meta::newest(&names);
        let names: BTreeSet<String> = names.into_iter().collect();
        if !names.iter().any(|name| FileKind::parse(name).is_some()) {
            return Err(Error::MetaMissing { dir: label });
        }
        let header = newest.and_then(|number| read_header(disk, FileKind::Meta, number));
        let copies = names.iter().rev().filter_map(|name| FileKind::parse(name));
        let copy = copies
            .filter(|(kind, _)| *kind == FileKind::Keys)
            .find_map(|(kind, number)| read_header(disk, kind, number));
        let database = match header.as_ref().or(copy.as_ref()) {
            Some((header, _)) => header.database,
            None => database_of(disk, &names)?,
        };
        let keys = [header.as_ref(), copy.as_ref()].into_iter().flatten();
        let own = keys.map(|(_, own)| own.as_slice()).find(|own| own.iter().any(|b| *b != 0));
        let keys = match own {
            Some(own) => Keyring::read(&label, database, own, key)?,
            None => Keyring::plain(database),
        };
        let files = Arc::new(Files::new(Arc::clone(disk), keys, database, 64));
        let (mut manifest, mut meta_is_broken) = (Manifest::default(), true);
        match (newest, header) {
            (Some(number), Some((header, _))) => {
                meta_is_broken = read_edits(&files, header, &mut manifest, told)?;
                if meta_is_broken {
                    let what = "some of its records cannot be read; what was deleted or replaced \
                                lately may come back";
                    told(&FileKind::Meta.name(number), None, what.to_owned());
                }
            }
            _ => {
                let what = "it cannot be read; what was deleted or replaced may come back";
                told("(the meta file)", None, what.to_owned());
            }
        }
        let words = Words::new(manifest.schema.as_deref().unwrap_or_default());
        Ok(Self { files, manifest, words, meta_is_broken, names })
    }

    /// The runs that count, the oldest first.
    pub(crate) fn runs(&self, told: Told<'_>) -> Vec<Found> {
        let mut runs: Vec<(usize, u64, Found)> = Vec::new();
        let lives = self.manifest.runs.values().filter(|run| run.gone.is_none());
        for run in lives {
            let (number, bytes) = (run.info.number, run.info.len);
            let name = FileKind::Index.name(number);
            if self.names.contains(&name) {
                runs.push((run.level(), run.info.sequence, Found { number, bytes }));
            } else if !self.meta_is_broken {
                let keys = self.between(&run.info.first, Some(&run.info.end));
                told(&name, None, format!("the file is missing; lost are rows among {keys}"));
            }
        }
        if self.meta_is_broken {
            let files = self.names.iter().filter_map(|name| FileKind::parse(name));
            let unknown = files.filter(|(kind, number)| {
                *kind == FileKind::Index && !self.manifest.runs.contains_key(number)
            });
            for (kind, number) in unknown {
                let Ok(file) = self.files.get_broken(kind, number) else { continue };
                let Ok(bytes) = file.file.len() else { continue };
                let footer = Footer::read(&file, bytes);
                let (level, sequence) =
                    footer.map_or((0, 0), |footer| (usize::from(footer.level), footer.sequence));
                runs.push((level, sequence, Found { number, bytes }));
            }
        }
        // Deeper levels are older, and in level 0 the order is that of the transactions.
        runs.sort_by_key(|(level, sequence, found)| {
            (std::cmp::Reverse(*level), *sequence, found.number)
        });
        runs.into_iter().map(|(.., found)| found).collect()
    }

    /// The newest transaction that is in runs, as far as anybody knows.
    pub(crate) fn flushed(&self) -> u64 {
        let known = self.manifest.flushed().sequence;
        if !self.meta_is_broken {
            return known;
        }
        let runs = self.names.iter().filter_map(|name| FileKind::parse(name));
        let of_run = |(kind, number): (FileKind, u64)| {
            let file = self.files.get_broken(kind, number).ok()?;
            Footer::read(&file, file.file.len().ok()?).ok().map(|footer| footer.sequence)
        };
        let runs = runs.filter(|(kind, _)| *kind == FileKind::Index).filter_map(of_run);
        runs.chain([known]).max().unwrap_or(0)
    }

    fn between(&self, low: &[u8], high: Option<&[u8]>) -> String {
        let high = high.map_or("the end".to_owned(), |high| self.words.key(high));
        format!("{} to {high}", self.words.key(low))
    }

    /// Gives out every entry of a run, ranges first. `None` for a value: the key is gone.
    pub(crate) fn read_run(
        &self,
        run: Found,
        told: Told<'_>,
        ranges: &mut dyn FnMut(&Ranges) -> Result<(), Error>,
        entry: TakeEntry<'_>,
    ) -> Result<(), Error> {
        let name = FileKind::Index.name(run.number);
        let file = match self.files.get_broken(FileKind::Index, run.number) {
            Ok(file) => file,
            Err(error) => {
                told(&name, None, format!("lost are its rows: {error}"));
                return Ok(());
            }
        };
        match head_of(&file, run.bytes) {
            Ok((guide, gone)) => {
                ranges(&gone)?;
                self.read_by_guide(&file, &guide, told, entry)
            }
            Err(error) => {
                told(&name, None, format!("read without its index: {error}"));
                let len = file.file.len().unwrap_or(run.bytes).max(run.bytes);
                self.walk(&file, len, told, ranges, entry)
            }
        }
    }

    fn read_by_guide(
        &self,
        file: &OpenFile,
        guide: &Guide,
        told: Told<'_>,
        entry: TakeEntry<'_>,
    ) -> Result<(), Error> {
        for number in 0..guide.blocks() {
            let place = guide.place(number);
            let read = place.and_then(|place| read_section(file, place, SectionKind::Rows));
            let given = read.as_deref().map(|bytes| give(bytes, entry)).transpose()?.flatten();
            if given.is_none() {
                let low = guide.separator(number).unwrap_or_default();
                let high = guide.separator(number + 1);
                let keys = self.between(&low, high.as_deref());
                let what =
                    format!("lost are rows among {keys}; older ones may stand in their place");
                told(&file.name(), place.map(|place| place.0), what);
            }
        }
        Ok(())
    }

    /// Goes from section to section.
    fn walk(
        &self,
        file: &OpenFile,
        len: u64,
        told: Told<'_>,
        ranges: &mut dyn FnMut(&Ranges) -> Result<(), Error>,
        entry: TakeEntry<'_>,
    ) -> Result<(), Error> {
        let mut sections = Vec::new();
        let (mut at, mut lost_from) = (FILE_HEADER_LEN as u64, None);
        let mut in_vain = 0;
        while at + ALIGN <= len {
            let found = head_at(file.file.as_ref(), at, len);
            let found =
                found.filter(|(kind, _)| *kind == SectionKind::Rows || in_vain < IN_VAIN_MAX);
            in_vain += found.map_or(0, |(_, section)| section.1 as u64);
            match found {
                Some((kind, section)) if read_section(file, section, kind).is_some() => {
                    in_vain = in_vain.saturating_sub(section.1 as u64);
                    if let Some(from) = lost_from.take() {
                        let what = format!("lost are the rows in {} bytes", at - from);
                        told(&file.name(), Some(from), what);
                    }
                    sections.push((kind, section));
                    at += section_room(section.1);
                }
                _ => {
                    lost_from = lost_from.or(Some(at));
                    at += ALIGN;
                }
            }
        }
        for (kind, section) in &sections {
            if *kind == SectionKind::Ranges
                && let Some(gone) = read_section(file, *section, *kind)
                && let Some(gone) = read_ranges(&gone)
            {
                ranges(&gone)?;
            }
        }
        for (kind, section) in sections {
            if kind == SectionKind::Rows
                && let Some(bytes) = read_section(file, section, kind)
            {
                give(&bytes, entry)?;
            }
        }
        Ok(())
    }

    /// Gives out the operations of every transaction after `flushed`, in order.
    pub(crate) fn read_journal(
        &self,
        flushed: u64,
        told: Told<'_>,
        transaction: TakeTransaction<'_>,
    ) -> Result<(), Error> {
        let first = if self.meta_is_broken { 0 } else { self.manifest.flushed().place.segment };
        let files = self.names.iter().filter_map(|name| FileKind::parse(name));
        let segments =
            files.filter(|(kind, number)| *kind == FileKind::Journal && *number >= first);
        let mut last = flushed;
        for (_, number) in segments {
            self.read_segment(number, &mut last, told, transaction)?;
        }
        Ok(())
    }

    fn read_segment(
        &self,
        number: u64,
        last: &mut u64,
        told: Told<'_>,
        transaction: TakeTransaction<'_>,
    ) -> Result<(), Error> {
        let name = segment_name(number);
        let file = match self.files.get_broken(FileKind::Journal, number) {
            Ok(file) => file,
            Err(error) => {
                told(&name, None, error.to_string());
                return Ok(());
            }
        };
        let cipher = self.files.cipher(&file.header)?;
        let mut scan = Scan::new(file.header, Arc::clone(&file.file), cipher)?;
        let (mut at, mut life, mut broken_from) = (FIRST, None, None);
        while at < scan.len {
            let record = match scan.record(at) {
                Ok(RecordAt::Record(header)) => Some(header),
                Ok(_) => None,
                Err(error) => {
                    told(&name, Some(at), error.to_string());
                    None
                }
            };
            // What an older life of the file has left behind is not of this journal.
            let ours = record.filter(|header| {
                header.kind == Kind::Life || life.is_none_or(|life| header.life == life)
            });
            let Some(header) = ours else {
                broken_from = broken_from.or(Some(at));
                at += ALIGN;
                continue;
            };
            let payload = match header.kind {
                Kind::Transaction if header.sequence > *last => scan.payload(at, &header)?,
                _ => Some(Vec::new()),
            };
            life = Some(header.life);
            if let Some(from) = broken_from.take()
                && at - from >= u64::from(scan.header.align)
            {
                told(&name, Some(from), format!("{} bytes cannot be read", at - from));
            }
            let Some(payload) = payload else {
                let number = header.sequence;
                told(&name, Some(at), format!("lost is transaction {number}"));
                at = header.next_offset(at, scan.header.align);
                continue;
            };
            let mut operations = payload.as_slice();
            if header.kind == Kind::Transaction
                && header.sequence > *last
                && row::take_varint(&mut operations).is_some()
            {
                if header.sequence > *last + 1 {
                    let (from, to) = (*last + 1, header.sequence - 1);
                    told(&name, Some(at), format!("lost are transactions {from} to {to}"));
                }
                transaction(header.sequence, operations)?;
                *last = header.sequence;
            }
            at = header.next_offset(at, scan.header.align);
        }
        Ok(())
    }

    /// Reads a part of a large value, even if its segment's header is broken.
    pub(crate) fn read_part(&self, part: &Part, bytes: &mut [u8]) -> Result<(), Error> {
        let open = self.files.get_broken(FileKind::Journal, part.segment)?;
        local::read_part_of(&self.files, &open, part, bytes)
    }
}

/// The header of a file and its kind's own fields, if they are whole.
fn read_header(disk: &Arc<dyn Disk>, kind: FileKind, number: u64) -> Option<(FileHeader, Vec<u8>)> {
    let name = kind.name(number);
    let mut bytes = vec![0; FILE_HEADER_LEN];
    let read = disk.open(&name).ok()?.read_at(0, &mut bytes).ok()?;
    bytes.truncate(read);
    let (header, own) = FileHeader::read(&name, kind, number, &bytes).ok()?;
    Some((header, own.to_vec()))
}

/// The database that most files belong to.
fn database_of(disk: &Arc<dyn Disk>, names: &BTreeSet<String>) -> Result<[u8; 16], Error> {
    let mut votes: BTreeMap<[u8; 16], usize> = BTreeMap::new();
    for (kind, number) in names.iter().filter_map(|name| FileKind::parse(name)) {
        if let Some((header, _)) = read_header(disk, kind, number) {
            if header.key != 0 {
                // Its keys stood in the files that cannot be read.
                let file = kind.name(number);
                let what = "the keys of this database cannot be read any more".to_owned();
                let offset = FILE_FIELDS_LEN as u64;
                return Err(Error::Corrupt { file, offset, what });
            }
            *votes.entry(header.database).or_default() += 1;
        }
    }
    let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
    most.map(|(database, _)| database).ok_or_else(|| Error::MetaMissing { dir: disk.label() })
}

/// Applies every edit that can be read; says whether some cannot.
fn read_edits(
    files: &Files,
    header: FileHeader,
    manifest: &mut Manifest,
    told: Told<'_>,
) -> Result<bool, Error> {
    let name = header.kind.name(header.number);
    let file = files.disk.open(&name).map_err(|error| Error::io("open", &name, error))?;
    let mut scan = Scan::new(header, file, files.cipher(&header)?)?;
    let (mut at, mut is_broken, mut life, mut count) = (FIRST, false, None, 0);
    while at < scan.len {
        let record = match scan.record(at) {
            Ok(RecordAt::Record(header)) if header.kind == Kind::Edits => Some(header),
            Ok(_) => None,
            Err(error) => {
                told(&name, Some(at), error.to_string());
                None
            }
        };
        let Some(header) = record.filter(|record| *life.get_or_insert(record.life) == record.life)
        else {
            // Between records and after them there is nothing; anything else was a record.
            is_broken |= scan.bytes(at, ALIGN_BYTES)?.iter().any(|byte| *byte != 0);
            at += ALIGN;
            continue;
        };
        // A gap in the numbers is a record that could not be found.
        is_broken = is_broken || header.sequence != count + 1;
        count = header.sequence;
        let decoded = scan.payload(at, &header)?.and_then(|payload| manifest::decode(&payload));
        match decoded {
            Some((when, edits)) => {
                for edit in edits {
                    // What is about something that was never heard of is left out.
                    let applied = manifest.apply(when, std::slice::from_ref(&edit));
                    is_broken = is_broken || applied.is_err();
                }
            }
            // A torn last record was never reported as done.
            None => is_broken = is_broken || header.next_offset(at, 8) < scan.len,
        }
        at = header.next_offset(at, scan.header.align);
    }
    Ok(is_broken || count == 0)
}

/// Index and ranges of a run.
fn head_of(file: &OpenFile, len: u64) -> Result<(Guide, Ranges), Error> {
    let footer = Footer::read(file, len)?;
    let corrupt = |at: Section, what| file.corrupt(at.0, what);
    let index = read_section(file, footer.index, SectionKind::Index)
        .ok_or_else(|| corrupt(footer.index, "the index cannot be read"))?;
    let ranges = read_section(file, footer.ranges, SectionKind::Ranges)
        .and_then(|bytes| read_ranges(&bytes))
        .ok_or_else(|| corrupt(footer.ranges, "the ranges cannot be read"))?;
    let guide = Guide::new(index).ok_or_else(|| corrupt(footer.index, "not an index"))?;
    Ok((guide, ranges))
}

/// What the head of a section at `offset` says, if it may be one.
pub(crate) fn head_at(
    file: &dyn DiskFile,
    offset: u64,
    len: u64,
) -> Option<(SectionKind, Section)> {
    let mut head = [0; HEAD_LEN];
    let read = file.read_at(offset, &mut head).ok()?;
    let (kind, stored) = SectionKind::of_head(head).filter(|_| read == HEAD_LEN)?;
    let is_plausible = stored > 0
        && (kind != SectionKind::Rows || stored <= BLOCK_BYTES_MAX)
        && offset + (HEAD_LEN + stored + CRC_LEN) as u64 <= len;
    is_plausible.then_some((kind, (offset, stored)))
}

fn read_section(file: &OpenFile, (offset, len): Section, kind: SectionKind) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len + CRC_LEN];
    let read = file.file.read_at(offset + HEAD_LEN as u64, &mut bytes).ok()?;
    if read != bytes.len() {
        return None;
    }
    let len = unpack(file, offset, kind, &mut bytes).ok()?;
    bytes.truncate(len);
    Some(bytes)
}

/// Gives out the entries of a block; `None`: it is none.
fn give(bytes: &[u8], entry: TakeEntry<'_>) -> Result<Option<()>, Error> {
    let Some(block) = Block::parse(bytes) else { return Ok(None) };
    for at in 0..block.len() {
        let (Some(suffix), Some(value)) = (block.suffix(at), block.value(at)) else {
            return Ok(None);
        };
        entry(&[block.prefix(), suffix].concat(), value)?;
    }
    Ok(Some(()))
}
