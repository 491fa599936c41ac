//! Walking over one run, and over runs that stand side by side in a level.
//!
//! The first blocks come through the cache; a walk that goes on reads ahead, past the cache, so
//! that a long scan does not push out what others use.
//! Invariants: a cursor owns what it walks over; after an error it stands nowhere.
//! Not here: layers over each other (`merge`).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::error::Error;
use crate::ranges::Range as Gone;

use super::block::Block;
use super::run::{Head, Run};

/// Blocks read one by one before a walk reads ahead.
const CALM_BLOCKS: usize = 2;
/// Blocks read at once by a walk that goes on.
const AHEAD_BLOCKS: usize = 16;

/// A walk over one run.
pub(crate) struct RunCursor {
    run: Arc<Run>,
    head: Arc<Head>,
    /// The block it is in, and that block's number.
    block: Option<Arc<[u8]>>,
    number: usize,
    at: usize,
    /// Entries of the block.
    len: usize,
    key: Vec<u8>,
    prefix_len: usize,
    value: Option<Range<usize>>,
    valid: bool,
    /// Blocks gone through one after the other.
    steps: usize,
    /// Blocks that follow, read already.
    ahead: VecDeque<Arc<[u8]>>,
    /// Whether nothing it reads is to go through the cache.
    past_cache: bool,
}

impl RunCursor {
    pub(crate) fn new(run: Arc<Run>) -> Result<Self, Error> {
        let head = run.head()?.into_arc();
        Ok(Self {
            run,
            head,
            block: None,
            number: 0,
            at: 0,
            len: 0,
            key: Vec::new(),
            prefix_len: 0,
            value: None,
            valid: false,
            steps: 0,
            ahead: VecDeque::new(),
            past_cache: false,
        })
    }

    /// For one who reads all of it once: nothing goes through the cache.
    pub(crate) fn past_cache(run: Arc<Run>) -> Result<Self, Error> {
        Ok(Self { past_cache: true, steps: CALM_BLOCKS, ..Self::new(run)? })
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.valid
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// `None`: a tombstone.
    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.block.as_ref()?.get(self.value.clone()?)
    }

    fn current(&self) -> Option<Block<'_>> {
        self.block.as_ref().and_then(|bytes| Block::parse(bytes))
    }

    fn broken(&self) -> Error {
        self.run.broken(0, "a block without order")
    }

    /// Makes block `number` the current one; false: there is none.
    fn enter(&mut self, number: usize) -> Result<bool, Error> {
        self.valid = false;
        if number >= self.head.blocks() {
            return Ok(false);
        }
        let follows = self.block.is_some() && number == self.number + 1;
        let block = match self.ahead.pop_front().filter(|_| follows) {
            Some(block) => block,
            None => {
                self.ahead.clear();
                self.load(number, follows)?
            }
        };
        self.block = Some(block);
        self.number = number;
        let block = self.block.as_ref().and_then(|bytes| Block::parse(bytes));
        let block = block.ok_or_else(|| self.broken())?;
        self.key.clear();
        self.key.extend_from_slice(block.prefix());
        (self.prefix_len, self.len) = (self.key.len(), block.len());
        Ok(true)
    }

    fn load(&mut self, number: usize, follows: bool) -> Result<Arc<[u8]>, Error> {
        self.steps = if follows {
            self.steps + 1
        } else if self.past_cache {
            self.steps
        } else {
            0
        };
        let broken = || self.run.broken(0, "a block without a place");
        let head = &self.head;
        let place = head.place(number).ok_or_else(broken)?;
        if self.steps < CALM_BLOCKS {
            return self.run.block(place);
        }
        let end = (number + AHEAD_BLOCKS).min(head.blocks());
        let places: Option<Vec<_>> = (number..end).map(|number| head.place(number)).collect();
        self.ahead = self.run.read_blocks(&places.ok_or_else(broken)?)?.into();
        self.ahead.pop_front().ok_or_else(broken)
    }

    /// Takes key and value of the entry it stands at.
    fn stand(&mut self) -> Result<(), Error> {
        let block = self.block.as_ref().and_then(|bytes| Block::parse(bytes));
        let Some((block, entry)) = block.and_then(|block| Some((block, block.entry(self.at)?)))
        else {
            self.valid = false;
            return Err(self.broken());
        };
        self.key.truncate(self.prefix_len);
        self.key.extend_from_slice(block.bytes(entry.suffix));
        self.value = entry.value;
        self.valid = true;
        Ok(())
    }

    /// Stands on the first entry not before `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<(), Error> {
        let number = self.head.block_of(key).unwrap_or(0);
        if !self.enter(number)? {
            return Ok(());
        }
        let found = self.current().and_then(|block| block.find(key));
        let found = found.ok_or_else(|| self.broken())?;
        self.at = found.unwrap_or_else(|at| at);
        if self.at < self.len { self.stand() } else { self.enter_next() }
    }

    /// Stands on the last entry before `key`; with `None`, on the very last one.
    pub(crate) fn seek_before(&mut self, key: Option<&[u8]>) -> Result<(), Error> {
        let last = self.head.blocks().saturating_sub(1);
        let of_key = |key| self.head.block_of(key).unwrap_or(0);
        let number = key.map_or(last, of_key);
        if !self.enter(number)? {
            return Ok(());
        }
        let end = match key {
            None => self.len,
            Some(key) => {
                let found = self.current().and_then(|block| block.find(key));
                let found = found.ok_or_else(|| self.broken())?;
                found.unwrap_or_else(|at| at)
            }
        };
        self.at = end;
        self.previous()
    }

    pub(crate) fn next(&mut self) -> Result<(), Error> {
        self.at += 1;
        if self.at < self.len { self.stand() } else { self.enter_next() }
    }

    fn enter_next(&mut self) -> Result<(), Error> {
        self.at = 0;
        if self.enter(self.number + 1)? { self.stand() } else { Ok(()) }
    }

    pub(crate) fn previous(&mut self) -> Result<(), Error> {
        if let Some(before) = self.at.checked_sub(1) {
            self.at = before;
            return self.stand();
        }
        let Some(number) = self.number.checked_sub(1) else {
            self.valid = false;
            return Ok(());
        };
        if self.enter(number)? {
            self.at = self.len.saturating_sub(1);
            self.stand()?;
        }
        Ok(())
    }
}

/// A walk over runs that stand side by side: none reaches into another.
pub(crate) struct LevelCursor {
    runs: Arc<Vec<Arc<Run>>>,
    current: Option<RunCursor>,
    number: usize,
    past_cache: bool,
}

impl LevelCursor {
    pub(crate) fn new(runs: Arc<Vec<Arc<Run>>>) -> Self {
        Self { runs, current: None, number: 0, past_cache: false }
    }

    /// For one who reads all of it once: nothing goes through the cache.
    pub(crate) fn past_cache(runs: Arc<Vec<Arc<Run>>>) -> Self {
        Self { past_cache: true, ..Self::new(runs) }
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.current.as_ref().is_some_and(RunCursor::is_valid)
    }

    pub(crate) fn key(&self) -> &[u8] {
        self.current.as_ref().map_or(&[], RunCursor::key)
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.current.as_ref().and_then(RunCursor::value)
    }

    fn enter(&mut self, number: usize) -> Result<Option<&mut RunCursor>, Error> {
        let Some(run) = self.runs.get(number) else {
            self.current = None;
            return Ok(None);
        };
        if self.number != number || self.current.is_none() {
            self.current = None;
            let run = Arc::clone(run);
            let open = if self.past_cache { RunCursor::past_cache } else { RunCursor::new };
            self.current = Some(open(run)?);
            self.number = number;
        }
        Ok(self.current.as_mut())
    }

    /// The run that reaches beyond `key` first.
    fn run_of(&self, key: &[u8]) -> usize {
        self.runs.partition_point(|run| *run.info.end <= *key)
    }

    /// The range of keys that are gone that `key` is in.
    pub(crate) fn covering(&self, key: &[u8]) -> Result<Option<Gone>, Error> {
        let Some(run) = self.runs.get(self.run_of(key)) else { return Ok(None) };
        if run.info.ranges == 0 || !run.reaches(key) {
            return Ok(None);
        }
        Ok(run.head()?.ranges.covering(key).cloned())
    }

    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<(), Error> {
        let number = self.run_of(key);
        if let Some(run) = self.enter(number)? {
            run.seek(key)?;
            self.skip_forward()?;
        }
        Ok(())
    }

    pub(crate) fn seek_before(&mut self, key: Option<&[u8]>) -> Result<(), Error> {
        let last = self.runs.len().saturating_sub(1);
        let number = key.map_or(last, |key| self.run_of(key).min(last));
        if let Some(run) = self.enter(number)? {
            run.seek_before(key)?;
            self.skip_backward()?;
        }
        Ok(())
    }

    pub(crate) fn next(&mut self) -> Result<(), Error> {
        if let Some(run) = &mut self.current {
            run.next()?;
        }
        self.skip_forward()
    }

    pub(crate) fn previous(&mut self) -> Result<(), Error> {
        if let Some(run) = &mut self.current {
            run.previous()?;
        }
        self.skip_backward()
    }

    /// Goes on to the next run that has an entry.
    fn skip_forward(&mut self) -> Result<(), Error> {
        while !self.is_valid() && self.number + 1 < self.runs.len() {
            if let Some(run) = self.enter(self.number + 1)? {
                run.seek(&[])?;
            }
        }
        Ok(())
    }

    fn skip_backward(&mut self) -> Result<(), Error> {
        while !self.is_valid()
            && let Some(number) = self.number.checked_sub(1)
        {
            if let Some(run) = self.enter(number)? {
                run.seek_before(None)?;
            }
        }
        Ok(())
    }
}
