//! Bytes that came and are not yet understood.
//!
//! Invariants: bytes that were taken are wiped, for there may have been a password; an empty input
//! holds no memory beyond what a command needs, since most sessions are idle most of the time.
//! Not here: how much may come (`Receiver::room`).

use zeroize::Zeroizing;

/// Memory an idle session keeps for its input, in bytes.
const IDLE_BYTES_MAX: usize = 1_024;

/// A queue of bytes.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
    /// How much of a line that is too long was dropped so far.
    dropped_bytes: usize,
}

impl Input {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Forgets the first `count` bytes.
    pub(super) fn skip(&mut self, count: usize) {
        let end = self.start.saturating_add(count).min(self.bytes.len());
        if let Some(taken) = self.bytes.get_mut(self.start..end) {
            taken.fill(0);
        }
        self.start = end;
        if self.is_empty() {
            self.bytes.clear();
            self.start = 0;
            if self.bytes.capacity() > IDLE_BYTES_MAX {
                self.bytes = Vec::new();
            }
        }
    }

    /// Takes the first `count` bytes out.
    pub(super) fn take(&mut self, count: usize) -> Zeroizing<Vec<u8>> {
        let taken = self.as_slice().get(..count).unwrap_or_default().to_vec();
        self.skip(count);
        Zeroizing::new(taken)
    }

    /// Drops what there is of a line that is too long; says how much of it was dropped in all.
    pub(super) fn drop_part_of_line(&mut self) -> usize {
        self.dropped_bytes = self.dropped_bytes.saturating_add(self.len());
        self.clear();
        self.dropped_bytes
    }

    /// Whether the input begins in the middle of a line that is too long.
    pub(super) fn is_in_long_line(&self) -> bool {
        self.dropped_bytes > 0
    }

    /// The line's end was found: says whether the line was too long.
    pub(super) fn end_long_line(&mut self) -> bool {
        std::mem::take(&mut self.dropped_bytes) > 0
    }

    pub(super) fn clear(&mut self) {
        self.skip(self.len());
    }
}
