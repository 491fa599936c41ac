//! Writing an index segment.
//!
//! Invariants: keys come in order; the file is whole and durable before its name is told to anyone;
//! memory is one block, the hashes of the keys and the index of the blocks.
//! Not here: which rows (`flush`, `compact`).

use std::sync::Arc;

use crate::disk::DiskFile;
use crate::error::Error;
use crate::files::Files;
use crate::format::{FILE_HEADER_LEN, FileHeader, FileKind};
use crate::ranges::Ranges;
use crate::row::put_varint;
use crate::seal::{self, Cipher};

use super::block::{BlockBuilder, common_prefix};
use super::filter;
use super::run::{Footer, RunInfo, Section, SectionKind, section_crc, section_room};

/// Bytes gathered for one write.
const WRITE_BYTES: usize = 256 << 10;

/// A run on its way to the disk.
pub(crate) struct Writer {
    file: Arc<dyn DiskFile>,
    header: FileHeader,
    cipher: Option<Cipher>,
    /// The level it is made for.
    level: u8,
    block_bytes: usize,
    /// Bytes that stand at `written` and are not written yet.
    buffer: Vec<u8>,
    written: u64,
    block: BlockBuilder,
    last_key: Vec<u8>,
    index: BlockBuilder,
    hashes: Vec<u64>,
    first: Option<Box<[u8]>>,
    entries: u64,
    tombstones: u64,
}

impl Writer {
    /// Creates the file, of a run for this level.
    pub(crate) fn create(
        files: &Files,
        number: u64,
        level: usize,
        block_bytes: usize,
    ) -> Result<Self, Error> {
        let name = FileKind::Index.name(number);
        let header = files.new_header(FileKind::Index, number, 8)?;
        let cipher = files.cipher(&header)?;
        let created = files.disk.create(&name);
        let file = created.map_err(|error| Error::writing("create", &name, error))?;
        Ok(Self {
            file,
            header,
            cipher,
            level: u8::try_from(level).unwrap_or(u8::MAX),
            block_bytes,
            buffer: header.to_bytes(&[]),
            written: 0,
            block: BlockBuilder::default(),
            last_key: Vec::new(),
            index: BlockBuilder::default(),
            hashes: Vec::new(),
            first: None,
            entries: 0,
            tombstones: 0,
        })
    }

    /// Bytes of the file so far, without its header.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = self.written + self.buffer.len() as u64 + self.block.bytes() as u64;
        bytes - FILE_HEADER_LEN as u64
    }

    /// Appends an entry; its key is greater than every one before. `None`: a tombstone.
    pub(crate) fn add(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        if self.block.is_empty() {
            self.begin_block(key);
        }
        self.block.add(key, value);
        self.hashes.push(filter::hash(key));
        self.entries += 1;
        self.tombstones += u64::from(value.is_none());
        if self.block.bytes() >= self.block_bytes {
            self.end_block()?;
        }
        Ok(())
    }

    /// Notes the separator of the block that begins with `key`: as short as it can be.
    fn begin_block(&mut self, key: &[u8]) {
        let separator = match self.first {
            None => {
                self.first = Some(key.into());
                &[]
            }
            Some(_) => {
                let shared = common_prefix(&self.last_key, key);
                key.get(..(shared + 1).min(key.len())).unwrap_or(key)
            }
        };
        self.last_key.clear();
        self.last_key.extend_from_slice(separator);
    }

    fn end_block(&mut self) -> Result<(), Error> {
        if self.block.is_empty() {
            return Ok(());
        }
        let last_key = self.block.last_key().to_vec();
        let bytes = self.block.finish();
        let (offset, len) = self.put(SectionKind::Rows, bytes)?;
        let mut place = Vec::with_capacity(12);
        put_varint(offset, &mut place);
        put_varint(len as u64, &mut place);
        self.index.add(&self.last_key, Some(&place));
        self.last_key = last_key;
        Ok(())
    }

    /// Appends a section to the file.
    fn put(&mut self, kind: SectionKind, mut bytes: Vec<u8>) -> Result<Section, Error> {
        let offset = self.written + self.buffer.len() as u64;
        if let Some(cipher) = &self.cipher {
            let tag = cipher.seal(seal::nonce(0, offset), &[kind as u8], &mut bytes)?;
            bytes.extend_from_slice(&tag);
        }
        let crc = section_crc(&self.header, offset, kind, &bytes);
        self.buffer.extend_from_slice(&kind.head(bytes.len()));
        self.buffer.extend_from_slice(&bytes);
        self.buffer.extend_from_slice(&crc.to_le_bytes());
        let end = offset + section_room(bytes.len()) - self.written;
        self.buffer.resize(usize::try_from(end).unwrap_or(usize::MAX), 0);
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok((offset, bytes.len()))
    }

    fn flush(&mut self) -> Result<(), Error> {
        let written = self.file.write_at(self.written, &self.buffer);
        written.map_err(|error| Error::writing("write", &self.name(), error))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn name(&self) -> String {
        FileKind::Index.name(self.header.number)
    }

    /// Ends the file and makes it durable, but for its name.
    pub(crate) fn finish(mut self, ranges: &Ranges, sequence: u64) -> Result<RunInfo, Error> {
        self.end_block()?;
        let mut end = self.last_key.clone();
        if self.first.is_some() {
            end.push(0);
        }
        let index = self.index.finish();
        let index = self.put(SectionKind::Index, index)?;
        let filter = self.put(SectionKind::Filter, filter::build(&self.hashes))?;
        let mut gone = BlockBuilder::default();
        for range in ranges.iter() {
            gone.add(&range.low, Some(&range.high));
        }
        let ranges_at = self.put(SectionKind::Ranges, gone.finish())?;
        let footer = Footer { index, filter, ranges: ranges_at, sequence, level: self.level };
        let at = self.written + self.buffer.len() as u64;
        self.buffer.extend_from_slice(&footer.to_bytes(&self.header, at));
        self.flush()?;
        self.file.sync().map_err(|error| Error::writing("sync", &self.name(), error))?;
        let first = self.first.take().unwrap_or_default();
        let (mut first, mut end) = (first, end.into_boxed_slice());
        if let (Some(lowest), Some(highest)) = (ranges.iter().next(), ranges.iter().next_back()) {
            if self.entries == 0 || lowest.low < first {
                first.clone_from(&lowest.low);
            }
            if highest.high > end {
                end.clone_from(&highest.high);
            }
        }
        Ok(RunInfo {
            number: self.header.number,
            len: self.written,
            entries: self.entries,
            tombstones: self.tombstones,
            ranges: ranges.len() as u64,
            first,
            end,
            sequence,
        })
    }
}
