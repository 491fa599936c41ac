//! What is on its way to the disk: groups of records, in order.
//!
//! Places in the journal are given out here, when something is queued, so that a large value is
//! known to its row before a byte of it is written, and body and row go out in one group.
//! ```text
//!   closed groups, the oldest first │ the open group, which records join
//! ```
//! Invariants: records leave in the order they came; a group lies in one segment, its records one
//! after the other from a whole sector on; the bytes of queued chunks are bounded. When a write
//! fails everything queued is given up, the places are taken back and the epoch grows, so that a
//! pointer into them is recognized.
//! Not here: writing (`journal`), who writes when (`commit`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::crc;
use crate::error::Error;
use crate::format::{self, Kind, Place};
use crate::journal::Record;
use crate::large::Part;
use crate::pending::Round;

/// Records that are written at once.
pub(crate) struct Group {
    pub(crate) place: Place,
    pub(crate) records: Vec<Record>,
    /// The parts of large values among them.
    pub(crate) parts: Vec<Part>,
    /// Bytes they take from `place` on.
    bytes: u64,
    chunk_bytes: usize,
    pub(crate) transactions: u64,
    /// Whether anybody waits for it.
    joined: bool,
    /// Whether it has to be durable.
    pub(crate) sync: bool,
    /// Whether it completes its segment.
    pub(crate) ends: bool,
    pub(crate) round: Arc<Round>,
}

impl Group {
    fn new(place: Place) -> Self {
        Self {
            place,
            records: Vec::new(),
            parts: Vec::new(),
            bytes: 0,
            chunk_bytes: 0,
            transactions: 0,
            joined: false,
            sync: false,
            ends: false,
            round: Arc::default(),
        }
    }

    /// Whether somebody waits for it to be written.
    fn is_wanted(&self) -> bool {
        self.joined || self.transactions > 0
    }

    fn end(&self) -> u64 {
        self.place.offset + self.bytes
    }
}

/// The queue.
pub(crate) struct Queue {
    closed: VecDeque<Group>,
    open: Group,
    align: u64,
    tag_len: usize,
    segment_bytes: u64,
    chunk_bytes: usize,
    chunk_bytes_max: usize,
    pub(crate) epoch: u64,
    /// The life that what is queued belongs to.
    pub(crate) life: u64,
    closing: bool,
    dead: Option<Error>,
    waiting: Vec<Waker>,
}

/// What a queue keeps to.
pub(crate) struct Limits {
    pub(crate) segment_bytes: u64,
    pub(crate) chunk_bytes_max: usize,
}

impl Queue {
    /// A queue that gives out places from `place` on, a new life first of all.
    pub(crate) fn new(
        place: Place,
        align: u32,
        tag_len: usize,
        life: u64,
        limits: &Limits,
    ) -> Self {
        Self {
            closed: VecDeque::new(),
            open: Group::new(place),
            align: u64::from(align),
            tag_len,
            segment_bytes: limits.segment_bytes,
            chunk_bytes: 0,
            chunk_bytes_max: limits.chunk_bytes_max,
            epoch: 1,
            life,
            closing: false,
            dead: None,
            waiting: Vec::new(),
        }
    }

    /// Why nothing is taken any more, if so.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        match &self.dead {
            Some(reason) => Err(reason.clone()),
            None if self.closing => Err(Error::Closed),
            None => Ok(()),
        }
    }

    /// Why nothing is written any more, if so.
    pub(crate) fn check_alive(&self) -> Result<(), Error> {
        self.dead.clone().map_or(Ok(()), Err)
    }

    fn stored_len(&self, payload: usize) -> usize {
        if payload == 0 { 0 } else { payload + self.tag_len }
    }

    /// Whether a record of this size begins the next segment.
    fn must_roll(&self, payload: usize) -> bool {
        let len = format::record_len(self.stored_len(payload)) + format::record_len(0);
        let is_first = self.open.end() == crate::scan::FIRST;
        self.open.end() + len > self.segment_bytes && !is_first
    }

    /// Completes the segment: what follows goes into the next one.
    pub(crate) fn roll(&mut self) {
        self.open.ends = true;
        let segment = self.open.place.segment + 1;
        self.close_group(Place { segment, offset: crate::scan::FIRST });
    }

    /// Closes the open group; what follows begins at `next`.
    fn close_group(&mut self, next: Place) {
        let group = std::mem::replace(&mut self.open, Group::new(next));
        self.closed.push_back(group);
    }

    /// Queues a record and says where it will be.
    fn push(&mut self, record: Record) -> Place {
        if self.must_roll(record.payload.len()) && record.kind != Kind::Life {
            self.roll();
        }
        let place = Place { offset: self.open.end(), ..self.open.place };
        self.open.bytes += format::record_len(self.stored_len(record.payload.len()));
        self.open.records.push(record);
        place
    }

    /// Queues the beginning of a life.
    pub(crate) fn push_life(&mut self, sequence: u64) {
        self.push(Record::empty(Kind::Life, sequence));
    }

    /// Queues a part of a large value; says where it will be.
    pub(crate) fn push_chunk(&mut self, payload: Arc<Vec<u8>>, crc: u32) -> Part {
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        self.chunk_bytes += payload.len();
        self.open.chunk_bytes += payload.len();
        let place = self.push(Record { kind: Kind::Chunk, sequence: 0, crc, payload });
        let part = Part { segment: place.segment, offset: place.offset, len, crc };
        self.open.parts.push(part);
        part
    }

    /// Queues a transaction; says what its caller waits for.
    pub(crate) fn push_transaction(
        &mut self,
        payload: Vec<u8>,
        sequence: u64,
        sync: bool,
    ) -> Arc<Round> {
        let crc = crc::of(&payload);
        let payload = Arc::new(payload);
        self.push(Record { kind: Kind::Transaction, sequence, crc, payload });
        self.open.transactions += 1;
        self.open.sync |= sync;
        Arc::clone(&self.open.round)
    }

    /// What is answered when everything before this is on disk.
    pub(crate) fn join(&mut self, sync: bool) -> Arc<Round> {
        self.open.joined = true;
        self.open.sync |= sync;
        Arc::clone(&self.open.round)
    }

    /// Ready when there is room for one more chunk.
    pub(crate) fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Err(error) = self.check_open() {
            return Poll::Ready(Err(error));
        }
        if self.chunk_bytes < self.chunk_bytes_max {
            return Poll::Ready(Ok(()));
        }
        self.waiting.push(context.waker().clone());
        Poll::Pending
    }

    /// Whether so much waits that it should be written although nobody waits for it.
    pub(crate) fn is_full(&self) -> bool {
        self.chunk_bytes >= self.chunk_bytes_max / 2
    }

    /// Takes the oldest group. What follows begins at a whole sector.
    pub(crate) fn take(&mut self) -> Option<Group> {
        if self.closed.is_empty() {
            if !self.open.is_wanted() && !self.is_full() {
                return None;
            }
            let offset = self.open.end().next_multiple_of(self.align);
            self.close_group(Place { offset, ..self.open.place });
        }
        let group = self.closed.pop_front()?;
        self.chunk_bytes = self.chunk_bytes.saturating_sub(group.chunk_bytes);
        Some(group)
    }

    /// Those who wait for room.
    pub(crate) fn take_waiting(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.waiting)
    }

    /// The round of the group that is to be written next, if anybody waits for it.
    pub(crate) fn next_round(&self) -> Option<Arc<Round>> {
        let group = self.closed.front().unwrap_or(&self.open);
        let wanted = group.is_wanted() || !self.closed.is_empty() || self.is_full();
        wanted.then(|| Arc::clone(&group.round))
    }

    /// Takes everything away and gives places out from `place` again, in a new life and epoch. With
    /// an error, nothing is taken any more.
    pub(crate) fn give_up(&mut self, place: Place, life: u64, dead: Option<Error>) -> Vec<Group> {
        let open = std::mem::replace(&mut self.open, Group::new(place));
        let mut groups: Vec<Group> = self.closed.drain(..).collect();
        groups.push(open);
        self.epoch += 1;
        self.life = life;
        self.chunk_bytes = 0;
        self.dead = self.dead.take().or(dead);
        groups
    }

    /// Takes nothing more; what is queued still goes out.
    pub(crate) fn close(&mut self) {
        self.closing = true;
    }

    /// From now on segments begin with another key: records may be longer.
    pub(crate) fn set_tag_len(&mut self, tag_len: usize) {
        self.tag_len = tag_len;
    }

    /// Where the next record goes, unless it begins the next segment.
    pub(crate) fn cursor(&self) -> Place {
        Place { offset: self.open.end(), ..self.open.place }
    }
}
