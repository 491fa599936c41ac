//! What is on its way to the disk: an ordered queue from many writers to the one committer.
//!
//! Places in the journal are given out here, when something is queued, so that a large value is
//! known to its row before a byte of it is written, and body and row go out in one group.
//! Invariants: entries leave in the order they came; their places are consecutive; the bytes of
//! queued chunks are bounded. When the disk is full everything queued is given up, the places
//! are taken back and the epoch grows, so that a pointer into them is recognized.
//! Not here: writing (`committer`), which transaction is next (`db`).

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::Error;
use crate::format::{self, Kind, Place};
use crate::large::Extent;
use crate::pending::Promise;
use crate::state::State;

/// A record to be written.
pub(crate) struct Record {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    pub(crate) sequence: u64,
    pub(crate) crc: u32,
    pub(crate) payload: Vec<u8>,
}

/// A transaction's claim: the state it makes visible, and who waits for it.
pub(crate) struct Commit {
    pub(crate) state: State,
    pub(crate) promise: Promise,
}

/// One entry of the queue.
pub(crate) enum Entry {
    /// Part of a large value.
    Chunk(Record),
    /// A transaction.
    Transaction(Record, Commit),
    /// A transaction that changed nothing: answered when everything before it is on disk.
    Barrier(Promise),
}

impl Entry {
    pub(crate) fn record(&self) -> Option<&Record> {
        match self {
            Self::Chunk(record) | Self::Transaction(record, _) => Some(record),
            Self::Barrier(_) => None,
        }
    }
}

struct Inner {
    entries: Vec<Entry>,
    chunk_bytes: usize,
    cursor: Place,
    epoch: u64,
    closing: bool,
    dead: Option<Error>,
    waiting: Vec<Waker>,
}

/// The queue.
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    filled: Condvar,
    segment_bytes: u64,
    chunk_bytes_max: usize,
}

impl Queue {
    pub(crate) fn new(cursor: Place, segment_bytes: u64, chunk_bytes_max: usize) -> Self {
        let inner = Inner {
            entries: Vec::new(),
            chunk_bytes: 0,
            cursor,
            epoch: 1,
            closing: false,
            dead: None,
            waiting: Vec::new(),
        };
        Self { inner: Mutex::new(inner), filled: Condvar::new(), segment_bytes, chunk_bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while holding it half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The epoch of places given out now; why nothing is taken any more, if so.
    pub(crate) fn epoch(&self) -> Result<u64, Error> {
        let inner = self.lock();
        inner.check_open()?;
        Ok(inner.epoch)
    }

    /// Ready when there is room for one more chunk.
    pub(crate) fn poll_room(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut inner = self.lock();
        if let Err(error) = inner.check_open() {
            return Poll::Ready(Err(error));
        }
        if inner.chunk_bytes < self.chunk_bytes_max {
            return Poll::Ready(Ok(()));
        }
        inner.waiting.push(context.waker().clone());
        Poll::Pending
    }

    /// Queues a part of a large value; says where it will be, and in which epoch.
    pub(crate) fn push_chunk(&self, payload: Vec<u8>) -> Result<(Extent, u64), Error> {
        let crc = crc32c::crc32c(&payload);
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let mut inner = self.lock();
        inner.check_open()?;
        let place = inner.place(payload.len(), self.segment_bytes);
        inner.chunk_bytes += payload.len();
        inner.entries.push(Entry::Chunk(Record {
            place,
            kind: Kind::Chunk,
            sequence: 0,
            crc,
            payload,
        }));
        let epoch = inner.epoch;
        drop(inner);
        self.filled.notify_one();
        Ok((Extent { segment: place.segment, offset: place.offset, len, crc }, epoch))
    }

    /// Queues a transaction. The caller holds the lock that orders transactions.
    pub(crate) fn push_transaction(&self, payload: Vec<u8>, commit: Commit) -> Result<(), Error> {
        let crc = crc32c::crc32c(&payload);
        let mut inner = self.lock();
        inner.check_open()?;
        let place = inner.place(payload.len(), self.segment_bytes);
        let sequence = commit.state.sequence;
        let record = Record { place, kind: Kind::Transaction, sequence, crc, payload };
        inner.entries.push(Entry::Transaction(record, commit));
        drop(inner);
        self.filled.notify_one();
        Ok(())
    }

    /// Queues a question: is everything before this on disk?
    pub(crate) fn push_barrier(&self, promise: Promise) -> Result<(), Error> {
        let mut inner = self.lock();
        inner.check_open()?;
        inner.entries.push(Entry::Barrier(promise));
        drop(inner);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for entries and takes them all; `None` when closing and nothing is left.
    pub(crate) fn take(&self) -> Option<Vec<Entry>> {
        let mut inner = self.lock();
        while inner.entries.is_empty() {
            if inner.closing {
                return None;
            }
            inner = self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        drop(inner);
        Some(self.take_now())
    }

    /// Takes all entries there are now.
    pub(crate) fn take_now(&self) -> Vec<Entry> {
        let mut inner = self.lock();
        inner.chunk_bytes = 0;
        let entries = std::mem::take(&mut inner.entries);
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        wake(waiting);
        entries
    }

    /// Takes everything away, gives places out from `cursor` again, in a new epoch. With an error,
    /// nothing is taken any more.
    pub(crate) fn give_up(&self, cursor: Place, dead: Option<Error>) -> Vec<Entry> {
        let mut inner = self.lock();
        inner.cursor = cursor;
        inner.epoch += 1;
        inner.chunk_bytes = 0;
        inner.dead = inner.dead.take().or(dead);
        let entries = std::mem::take(&mut inner.entries);
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        wake(waiting);
        entries
    }

    /// Takes nothing more; what is queued still goes out.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.filled.notify_one();
        wake(std::mem::take(&mut self.lock().waiting));
    }
}

fn wake(waiting: Vec<Waker>) {
    for waker in waiting {
        waker.wake();
    }
}

impl Inner {
    fn check_open(&self) -> Result<(), Error> {
        match &self.dead {
            Some(reason) => Err(reason.clone()),
            None if self.closing => Err(Error::Closed),
            None => Ok(()),
        }
    }

    /// Gives out the next place: in this segment if the record fits, else at the start of the next.
    fn place(&mut self, payload: usize, segment_bytes: u64) -> Place {
        let len = format::record_len(payload);
        let header_len = format::SEGMENT_HEADER_LEN as u64;
        if self.cursor.offset + len > segment_bytes && self.cursor.offset > header_len {
            self.cursor = Place { segment: self.cursor.segment + 1, offset: header_len };
        }
        let place = self.cursor;
        self.cursor.offset += len;
        place
    }
}
