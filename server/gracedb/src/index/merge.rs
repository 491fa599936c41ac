//! Walking over layers that lie over each other, as if they were one.
//!
//! Layers are sorted from the newest to the oldest. Of several entries with one key the newest
//! counts; a tombstone hides older ones; a layer's ranges hide what older layers hold.
//! Invariants: keys come in order, each once, and only those that are there.
//! Not here: dropping what is hidden for good (`compact`).

use crate::error::Error;
use crate::ranges::{Range, Ranges};
use crate::tree;

use super::cursor::{LevelCursor, RunCursor};

/// One layer.
pub(crate) enum Layer {
    /// Rows in memory, and the ranges deleted in them.
    Mem(tree::Cursor, Ranges),
    /// A run; whether its ranges matter.
    Run(Box<RunCursor>, bool),
    /// Runs side by side; whether their ranges matter.
    Level(Box<LevelCursor>, bool),
}

impl Layer {
    pub(crate) fn is_valid(&self) -> bool {
        match self {
            Self::Mem(cursor, _) => cursor.is_valid(),
            Self::Run(cursor, _) => cursor.is_valid(),
            Self::Level(cursor, _) => cursor.is_valid(),
        }
    }

    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Self::Mem(cursor, _) => cursor.key(),
            Self::Run(cursor, _) => cursor.key(),
            Self::Level(cursor, _) => cursor.key(),
        }
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Mem(cursor, _) => cursor.value(),
            Self::Run(cursor, _) => cursor.value(),
            Self::Level(cursor, _) => cursor.value(),
        }
    }

    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<(), Error> {
        match self {
            Self::Mem(cursor, _) => cursor.seek(key),
            Self::Run(cursor, _) => cursor.seek(key)?,
            Self::Level(cursor, _) => cursor.seek(key)?,
        }
        Ok(())
    }

    pub(crate) fn seek_before(&mut self, key: Option<&[u8]>) -> Result<(), Error> {
        match self {
            Self::Mem(cursor, _) => cursor.seek_before(key),
            Self::Run(cursor, _) => cursor.seek_before(key)?,
            Self::Level(cursor, _) => cursor.seek_before(key)?,
        }
        Ok(())
    }

    pub(crate) fn next(&mut self) -> Result<(), Error> {
        match self {
            Self::Mem(cursor, _) => cursor.next(),
            Self::Run(cursor, _) => cursor.next()?,
            Self::Level(cursor, _) => cursor.next()?,
        }
        Ok(())
    }

    fn previous(&mut self) -> Result<(), Error> {
        match self {
            Self::Mem(cursor, _) => cursor.previous(),
            Self::Run(cursor, _) => cursor.previous()?,
            Self::Level(cursor, _) => cursor.previous()?,
        }
        Ok(())
    }

    /// Whether it has ranges that matter.
    fn has_ranges(&self) -> bool {
        match self {
            Self::Mem(_, ranges) => !ranges.is_empty(),
            Self::Run(_, has_ranges) | Self::Level(_, has_ranges) => *has_ranges,
        }
    }

    /// The range of this layer that `key` is in.
    pub(crate) fn covering(&self, key: &[u8]) -> Result<Option<Range>, Error> {
        match self {
            Self::Mem(_, ranges) => Ok(ranges.covering(key).cloned()),
            Self::Run(cursor, _) => Ok(cursor.head().ranges.covering(key).cloned()),
            Self::Level(cursor, _) => cursor.covering(key),
        }
    }
}

/// A walk over all layers.
pub(crate) struct Merge {
    layers: Vec<Layer>,
    /// The layers that stand on the key the walk stands on, the newest first.
    standing: Vec<usize>,
    has_ranges: bool,
}

impl Merge {
    /// A walk that stands nowhere yet; `layers` from the newest to the oldest.
    pub(crate) fn new(layers: Vec<Layer>) -> Self {
        let has_ranges = layers.iter().any(Layer::has_ranges);
        Self { layers, standing: Vec::new(), has_ranges }
    }

    pub(crate) fn is_valid(&self) -> bool {
        !self.standing.is_empty()
    }

    fn winner(&self) -> Option<&Layer> {
        self.standing.first().and_then(|at| self.layers.get(*at))
    }

    /// The key it stands on.
    pub(crate) fn key(&self) -> &[u8] {
        self.winner().map_or(&[], Layer::key)
    }

    /// The value it stands on.
    pub(crate) fn value(&self) -> &[u8] {
        self.winner().and_then(Layer::value).unwrap_or_default()
    }

    /// Stands on the first key that is there and not before `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<(), Error> {
        self.standing.clear();
        for layer in &mut self.layers {
            layer.seek(key)?;
        }
        self.settle(true)
    }

    /// Stands on the last key that is there and before `key`; with `None`, the very last.
    pub(crate) fn seek_before(&mut self, key: Option<&[u8]>) -> Result<(), Error> {
        self.standing.clear();
        for layer in &mut self.layers {
            layer.seek_before(key)?;
        }
        self.settle(false)
    }

    /// Goes on to the next key.
    pub(crate) fn next(&mut self) -> Result<(), Error> {
        self.step(true)?;
        self.settle(true)
    }

    /// Goes back to the key before.
    pub(crate) fn previous(&mut self) -> Result<(), Error> {
        self.step(false)?;
        self.settle(false)
    }

    fn step(&mut self, forward: bool) -> Result<(), Error> {
        let standing = std::mem::take(&mut self.standing);
        for at in &standing {
            if let Some(layer) = self.layers.get_mut(*at) {
                if forward { layer.next()? } else { layer.previous()? }
            }
        }
        self.standing = standing;
        Ok(())
    }

    /// Finds the layers that stand on the key that comes next.
    fn choose(&mut self, forward: bool) {
        self.standing.clear();
        let mut best: &[u8] = &[];
        for (at, layer) in self.layers.iter().enumerate() {
            if !layer.is_valid() {
                continue;
            }
            let key = layer.key();
            let order = if self.standing.is_empty() {
                std::cmp::Ordering::Less
            } else if forward {
                key.cmp(best)
            } else {
                best.cmp(key)
            };
            match order {
                std::cmp::Ordering::Less => {
                    self.standing.clear();
                    self.standing.push(at);
                    best = key;
                }
                std::cmp::Ordering::Equal => self.standing.push(at),
                std::cmp::Ordering::Greater => {}
            }
        }
    }

    /// Goes on until it stands on something that is there.
    fn settle(&mut self, forward: bool) -> Result<(), Error> {
        loop {
            self.choose(forward);
            let Some(&newest) = self.standing.first() else { return Ok(()) };
            if self.has_ranges
                && let Some(range) = self.hiding(newest)?
            {
                let standing = std::mem::take(&mut self.standing);
                for at in standing {
                    let Some(layer) = self.layers.get_mut(at) else { continue };
                    if forward {
                        layer.seek(&range.high)?;
                    } else {
                        layer.seek_before(Some(&range.low))?;
                    }
                }
            } else if self.winner().is_some_and(|layer| layer.value().is_none()) {
                self.step(forward)?;
            } else {
                return Ok(());
            }
        }
    }

    /// A range of a newer layer that hides the key that layer `at` stands on.
    fn hiding(&self, at: usize) -> Result<Option<Range>, Error> {
        let key = self.layers.get(at).map_or(&[][..], Layer::key);
        for layer in self.layers.iter().take(at).filter(|layer| layer.has_ranges()) {
            if let Some(range) = layer.covering(key)? {
                return Ok(Some(range));
            }
        }
        Ok(None)
    }
}
