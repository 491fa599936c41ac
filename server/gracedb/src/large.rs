//! Large values: streamed into the journal once, pointed to by rows, read back in pieces.
//!
//! ```text
//!   write ... write   finish      put(row)   commit synced     every row deleted
//!   Buffered -> Queued -> Large -> Referenced -> Kept        -> garbage
//! ```
//! Parts are queued before the transaction that points to them, in one order, so the transaction's
//! sync covers them. A writer dropped on the way leaves garbage, nothing else.
//! Invariants: a writer holds at most one part, a reader at most one; bytes that fail their
//! checksum are an error and never returned; what nothing points to yet stays while its `Large` is
//! held.
//! Not here: the record around a part (`format`), the pointer inside a row (`row`).

use std::any::Any;
use std::future;
use std::sync::Arc;

use crate::engine::{Engine, Reader};
use crate::error::Error;

/// One part of a large value, by where the store keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) crc: u32,
}

impl Part {
    /// A part that a store keeps at `place`, with the CRC32C of its bytes.
    #[must_use]
    pub fn new(place: (u64, u64), len: u32, crc: u32) -> Self {
        Self { segment: place.0, offset: place.1, len, crc }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        usize::try_from(self.len).unwrap_or(usize::MAX)
    }
}

/// What keeps bytes alive that no row points to yet.
#[derive(Clone)]
pub struct Fresh {
    /// Grows when the store gives up what was on its way.
    pub(crate) epoch: u64,
    /// Their drop is what counts.
    guards: Vec<Arc<dyn Any + Send + Sync>>,
}

impl Fresh {
    /// Both, of one epoch.
    pub(crate) fn joined(mut self, other: Self) -> Self {
        self.guards.extend(other.guards);
        self
    }

    /// Bytes of this epoch of a store, kept alive by a guard.
    pub fn new(epoch: u64, guard: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        Self { epoch, guards: guard.into_iter().collect() }
    }
}

/// A large value, as a field of a row. Cheap to clone; several rows may share one.
#[derive(Clone)]
pub struct Large {
    pub(crate) bytes: u64,
    pub(crate) parts: Arc<[Part]>,
    /// `None`: read from a row.
    pub(crate) fresh: Option<Arc<Fresh>>,
}

impl Large {
    /// A value of these parts, which a row points to.
    pub(crate) fn kept(parts: Vec<Part>) -> Self {
        let bytes = parts.iter().map(|part| u64::from(part.len)).sum();
        Self { bytes, parts: parts.into(), fresh: None }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Its parts, in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }
}

impl PartialEq for Large {
    fn eq(&self, other: &Self) -> bool {
        (self.bytes, &self.parts) == (other.bytes, &other.parts)
    }
}

impl Eq for Large {}

impl std::fmt::Debug for Large {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let first = self.parts.first().map(|part| (part.segment, part.offset));
        f.debug_struct("Large").field("bytes", &self.bytes).field("at", &first).finish()
    }
}

/// The empty value, for rows made before their body.
impl Default for Large {
    fn default() -> Self {
        Self { bytes: 0, parts: Arc::from([]), fresh: None }
    }
}

/// Streams a large value in.
pub struct LargeWriter {
    engine: Arc<dyn Engine>,
    buffer: Vec<u8>,
    part_bytes: usize,
    bytes: u64,
    parts: Vec<Part>,
    fresh: Option<Fresh>,
}

impl LargeWriter {
    pub(crate) fn new(engine: Arc<dyn Engine>) -> Self {
        let part_bytes = engine.part_bytes();
        Self { engine, buffer: Vec::new(), part_bytes, bytes: 0, parts: Vec::new(), fresh: None }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing was written so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Every byte written so far, as long as none of them is on its way to the disk: a value of one
    /// part, until it is finished.
    #[must_use]
    pub fn held(&self) -> Option<&[u8]> {
        self.parts.is_empty().then_some(self.buffer.as_slice())
    }

    /// Appends bytes. Waits when too many bytes are on their way to the disk.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let room = self.part_bytes.saturating_sub(self.buffer.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.buffer.extend_from_slice(now);
            self.bytes += now.len() as u64;
            bytes = later;
            if self.buffer.len() >= self.part_bytes {
                self.push().await?;
            }
        }
        Ok(())
    }

    /// Ends the value. It is kept when a transaction that points to it is acknowledged.
    pub async fn finish(self) -> Result<Large, Error> {
        self.finish_behind(&[]).await
    }

    /// Ends the value with `head` in front of all that was written: what stands on top of a value
    /// may be known last. What is queued already stays where it is.
    pub async fn finish_behind(mut self, head: &[u8]) -> Result<Large, Error> {
        let mut rest = std::mem::take(&mut self.buffer);
        let behind = std::mem::take(&mut self.parts);
        if behind.is_empty() && head.len() + rest.len() <= self.part_bytes {
            // Small values stay one part.
            rest.splice(..0, head.iter().copied());
            self.bytes += head.len() as u64;
            self.buffer = rest;
        } else {
            self.write(head).await?;
            if !self.buffer.is_empty() {
                self.push().await?;
            }
            self.parts.extend(behind);
            self.buffer = rest;
        }
        if !self.buffer.is_empty() {
            self.push().await?;
        }
        let parts = std::mem::take(&mut self.parts).into();
        Ok(Large { bytes: self.bytes, parts, fresh: self.fresh.take().map(Arc::new) })
    }

    /// Ends the value with another one behind all that was written. Both keep their parts: no byte
    /// of the other is written again.
    pub async fn finish_before(mut self, rest: &Large) -> Result<Large, Error> {
        if !self.buffer.is_empty() {
            self.push().await?;
        }
        let fresh = match (self.fresh.take(), &rest.fresh) {
            (own, None) => own.map(Arc::new),
            (None, Some(rest)) => Some(Arc::clone(rest)),
            (Some(own), Some(rest)) if own.epoch == rest.epoch => {
                Some(Arc::new(own.joined(Fresh::clone(rest))))
            }
            (Some(_), Some(_)) => return Err(Error::LargeLost),
        };
        let mut parts = std::mem::take(&mut self.parts);
        parts.extend_from_slice(&rest.parts);
        Ok(Large { bytes: self.bytes + rest.bytes, parts: parts.into(), fresh })
    }

    async fn push(&mut self) -> Result<(), Error> {
        future::poll_fn(|context| self.engine.poll_room(context)).await?;
        let payload = std::mem::take(&mut self.buffer);
        let (part, mut fresh) = self.engine.put_part(payload)?;
        match &mut self.fresh {
            None => self.fresh = Some(fresh),
            Some(known) if known.epoch == fresh.epoch => known.guards.append(&mut fresh.guards),
            Some(_) => return Err(Error::LargeLost),
        }
        self.parts.push(part);
        Ok(())
    }
}

/// Reads a large value. Holds the rows it was found in, so that its bytes stay.
pub struct LargeReader {
    reader: Arc<dyn Reader>,
    large: Large,
    /// The part read last, and where it starts in the value.
    part: Vec<u8>,
    part_start: u64,
}

impl LargeReader {
    pub(crate) fn new(reader: Arc<dyn Reader>, large: Large) -> Self {
        Self { reader, large, part: Vec::new(), part_start: 0 }
    }

    /// Length of the value in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.large.bytes
    }

    /// Whether the value has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.large.bytes == 0
    }

    /// Fills `buffer` from `offset` on; says how many bytes, fewer only at the end of the value.
    /// A part that the buffer has room for is read right into it. After an error nothing is known
    /// of what the buffer holds.
    pub fn read_at(&mut self, mut offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut done = 0;
        while offset < self.large.bytes && done < buffer.len() {
            if !self.has(offset) {
                let (start, part) = self.part_at(offset)?;
                let room = buffer.get_mut(done..).and_then(|rest| rest.get_mut(..part.bytes()));
                if let Some(room) = room.filter(|_| start == offset) {
                    self.reader.read_part(&part, room)?;
                    done += part.bytes();
                    offset += u64::from(part.len);
                    continue;
                }
                self.load(start, &part)?;
            }
            let skip = usize::try_from(offset - self.part_start).unwrap_or(usize::MAX);
            let available = self.part.get(skip..).unwrap_or_default();
            let wanted = buffer.get_mut(done..).unwrap_or_default();
            let count = available.len().min(wanted.len());
            if let (Some(to), Some(from)) = (wanted.get_mut(..count), available.get(..count)) {
                to.copy_from_slice(from);
            }
            done += count;
            offset += count as u64;
        }
        Ok(done)
    }

    /// The whole value, if it has at most `bytes_max` bytes.
    pub fn read_all(&mut self, bytes_max: usize) -> Result<Vec<u8>, Error> {
        read_all(self.reader.as_ref(), &self.large, bytes_max)
    }

    /// Whether the part read last holds byte `offset`.
    fn has(&self, offset: u64) -> bool {
        (self.part_start..self.part_start + self.part.len() as u64).contains(&offset)
    }

    /// The part that holds byte `offset`, and where it starts in the value. There is one: the
    /// parts' lengths sum up to the value's (`row` checks that).
    fn part_at(&self, offset: u64) -> Result<(u64, Part), Error> {
        let mut start = 0;
        for part in self.large.parts.iter() {
            let end = start + u64::from(part.len);
            if (start..end).contains(&offset) {
                return Ok((start, *part));
            }
            start = end;
        }
        Err(Error::Corrupt {
            file: "(row)".to_owned(),
            offset,
            what: "a large value's parts do not cover it".to_owned(),
        })
    }

    /// Makes a part that starts at `start` the one read last.
    fn load(&mut self, start: u64, part: &Part) -> Result<(), Error> {
        self.part.clear();
        self.part.resize(part.bytes(), 0);
        let read = self.reader.read_part(part, &mut self.part);
        if read.is_err() {
            self.part.clear();
        }
        self.part_start = start;
        read
    }
}

/// All bytes of a large value, if there are at most `bytes_max`.
pub(crate) fn read_all(
    reader: &dyn Reader,
    large: &Large,
    bytes_max: usize,
) -> Result<Vec<u8>, Error> {
    let bytes = usize::try_from(large.bytes).unwrap_or(usize::MAX);
    if bytes > bytes_max {
        return Err(Error::TooLarge { what: "a large value", bytes, bytes_max });
    }
    let mut all = vec![0; bytes];
    let mut rest = all.as_mut_slice();
    for part in large.parts.iter() {
        let (piece, after) = rest.split_at_mut_checked(part.bytes()).unwrap_or_default();
        reader.read_part(part, piece)?;
        rest = after;
    }
    Ok(all)
}
