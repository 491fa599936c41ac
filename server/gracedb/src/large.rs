//! Large values: streamed into the journal once, pointed to by rows, read back in pieces.
//!
//! ```text
//!   write ... write   finish      put(row)   commit synced     every row deleted
//!   Buffered -> Queued -> Large -> Referenced -> Kept        -> garbage
//! ```
//! Chunks are queued before the transaction that points to them, in one order, so the
//! transaction's sync covers them. A writer dropped on the way leaves garbage, nothing else.
//! Invariants: a writer holds at most one chunk, a reader at most one; bytes that fail their
//! checksum are an error and never returned.
//! Not here: the record around a chunk (`format`), the pointer inside a row (`row`).

use std::future;
use std::sync::Arc;

use crate::error::Error;
use crate::queue::Queue;
use crate::segments::Segments;

/// One chunk of a large value in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) crc: u32,
}

/// A large value, as a field of a row. Cheap to clone; several rows may share one.
#[derive(Clone)]
pub struct Large {
    pub(crate) bytes: u64,
    pub(crate) extents: Arc<[Extent]>,
    /// 0: read from a row. Else: the queue's epoch in which it was written.
    pub(crate) epoch: u64,
}

impl Large {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

impl PartialEq for Large {
    fn eq(&self, other: &Self) -> bool {
        (self.bytes, &self.extents) == (other.bytes, &other.extents)
    }
}

impl Eq for Large {}

impl std::fmt::Debug for Large {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let first = self.extents.first().map(|extent| (extent.segment, extent.offset));
        f.debug_struct("Large").field("bytes", &self.bytes).field("at", &first).finish()
    }
}

/// The empty value, for rows made before their body.
impl Default for Large {
    fn default() -> Self {
        Self { bytes: 0, extents: Arc::from([]), epoch: 0 }
    }
}

/// Streams a large value in.
pub struct LargeWriter {
    queue: Arc<Queue>,
    buffer: Vec<u8>,
    chunk_bytes: usize,
    bytes: u64,
    extents: Vec<Extent>,
    epoch: Option<u64>,
}

impl LargeWriter {
    pub(crate) fn new(queue: Arc<Queue>, chunk_bytes: usize) -> Self {
        Self { queue, buffer: Vec::new(), chunk_bytes, bytes: 0, extents: Vec::new(), epoch: None }
    }

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing was written so far.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Appends bytes. Waits when too many bytes are on their way to the disk.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let room = self.chunk_bytes.saturating_sub(self.buffer.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.buffer.extend_from_slice(now);
            self.bytes += now.len() as u64;
            bytes = later;
            if self.buffer.len() >= self.chunk_bytes {
                self.push().await?;
            }
        }
        Ok(())
    }

    /// Ends the value. It is kept when a transaction that points to it is acknowledged.
    pub async fn finish(mut self) -> Result<Large, Error> {
        if !self.buffer.is_empty() {
            self.push().await?;
        }
        let epoch = self.epoch.unwrap_or(0);
        Ok(Large { bytes: self.bytes, extents: std::mem::take(&mut self.extents).into(), epoch })
    }

    async fn push(&mut self) -> Result<(), Error> {
        future::poll_fn(|context| self.queue.poll_room(context)).await?;
        let payload = std::mem::take(&mut self.buffer);
        let (extent, epoch) = self.queue.push_chunk(payload)?;
        if *self.epoch.get_or_insert(epoch) != epoch {
            return Err(Error::LargeLost);
        }
        self.extents.push(extent);
        Ok(())
    }
}

/// Reads a large value.
pub struct LargeReader {
    segments: Arc<Segments>,
    large: Large,
    /// The chunk read last, and where it starts in the value.
    chunk: Vec<u8>,
    chunk_start: u64,
}

impl LargeReader {
    pub(crate) fn new(segments: Arc<Segments>, large: Large) -> Self {
        Self { segments, large, chunk: Vec::new(), chunk_start: 0 }
    }

    /// Length of the value in bytes.
    pub fn len(&self) -> u64 {
        self.large.bytes
    }

    /// Whether the value has no bytes.
    pub fn is_empty(&self) -> bool {
        self.large.bytes == 0
    }

    /// Fills `buffer` from `offset` on; says how many bytes, fewer only at the end of the value.
    pub fn read_at(&mut self, mut offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut done = 0;
        while offset < self.large.bytes && done < buffer.len() {
            self.load(offset)?;
            let skip = usize::try_from(offset - self.chunk_start).unwrap_or(usize::MAX);
            let available = self.chunk.get(skip..).unwrap_or_default();
            let wanted = buffer.get_mut(done..).unwrap_or_default();
            let count = available.len().min(wanted.len());
            for (to, from) in wanted.iter_mut().zip(available) {
                *to = *from;
            }
            done += count;
            offset += count as u64;
        }
        Ok(done)
    }

    /// The whole value, if it has at most `bytes_max` bytes.
    pub fn read_all(&mut self, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let bytes = usize::try_from(self.large.bytes).unwrap_or(usize::MAX);
        if bytes > bytes_max {
            return Err(Error::TooLarge { what: "a large value", bytes, bytes_max });
        }
        let mut all = vec![0; bytes];
        self.read_at(0, &mut all)?;
        Ok(all)
    }

    /// Makes the chunk that holds byte `offset` the current one. There is one: the extents' lengths
    /// sum up to the value's (`row` checks that).
    fn load(&mut self, offset: u64) -> Result<(), Error> {
        let within = |start: u64, len: u64| (start..start + len).contains(&offset);
        if within(self.chunk_start, self.chunk.len() as u64) {
            return Ok(());
        }
        let mut start = 0;
        for extent in self.large.extents.iter() {
            if within(start, u64::from(extent.len)) {
                self.segments.read(extent, &mut self.chunk)?;
                self.chunk_start = start;
                return Ok(());
            }
            start += u64::from(extent.len);
        }
        Err(Error::Corrupt {
            file: "(row)".to_owned(),
            offset,
            what: "a large value's parts do not cover it".to_owned(),
        })
    }
}
