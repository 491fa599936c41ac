//! Which box has the keyboard, and where Tab goes.
//!
//! Invariants: Tab order is reading order; the ring shows only when the keyboard moved the focus.
//! Not here: what keys do in a box (`ui`).

use crate::key::Key;
use crate::node::Tree;

/// The focus.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Focus {
    key: Option<Key>,
    visible: bool,
}

impl Focus {
    /// The box that has it.
    pub fn key(self) -> Option<Key> {
        self.key
    }

    /// The box around which a ring is drawn.
    pub fn ring(self) -> Option<Key> {
        self.key.filter(|_| self.visible)
    }

    pub(crate) fn take(&mut self, key: Key, visible: bool) {
        *self = Self { key: Some(key), visible };
    }

    pub(crate) fn show(&mut self) {
        self.visible = true;
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn keep_if(&mut self, keep: impl FnOnce(Key) -> bool) {
        if self.key.is_some_and(|key| !keep(key)) {
            self.clear();
        }
    }

    /// Goes to the next box, or the one before; around at the end.
    pub(crate) fn step(&mut self, tree: &Tree, back: bool) {
        let stops: Vec<Key> = tree
            .iter()
            .filter(|node| node.spec.sense.takes_focus() && !node.spec.meaning.disabled)
            .filter(|node| !node.visible().is_empty())
            .map(|node| node.key)
            .collect();
        let here = self.key.and_then(|key| stops.iter().position(|stop| *stop == key));
        let next = match (here, back) {
            (None, false) => 0,
            (None, true) | (Some(0), true) => stops.len().saturating_sub(1),
            (Some(at), true) => at - 1,
            (Some(at), false) => (at + 1) % stops.len(),
        };
        if let Some(key) = stops.get(next) {
            self.take(*key, true);
        }
    }
}
