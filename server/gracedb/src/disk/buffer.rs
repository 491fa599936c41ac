//! A growing byte buffer that starts where a drive can read it directly.
//!
//! Invariant: the address of its first byte is a multiple of [`MEMORY_ALIGN`].
//! Not here: what goes in (`journal`).

use super::MEMORY_ALIGN;

/// The buffer. The vector is allocated with room to begin at an aligned address.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    skip: usize,
}

impl Buffer {
    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.skip..).unwrap_or_default()
    }

    /// The bytes from `at` on, to be changed.
    pub(crate) fn tail_mut(&mut self, at: usize) -> &mut [u8] {
        self.bytes.get_mut(self.skip + at..).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.skip)
    }

    /// Makes room for `more` bytes without moving afterwards.
    pub(crate) fn reserve(&mut self, more: usize) {
        let len = self.len();
        if self.bytes.capacity() >= self.skip + len + more && self.is_aligned() {
            return;
        }
        let room = (len + more).next_power_of_two();
        let mut bytes = Vec::<u8>::with_capacity(room + MEMORY_ALIGN);
        let skip = bytes.as_ptr().align_offset(MEMORY_ALIGN).min(MEMORY_ALIGN);
        bytes.resize(skip, 0);
        bytes.extend_from_slice(self.bytes());
        (self.bytes, self.skip) = (bytes, skip);
    }

    fn is_aligned(&self) -> bool {
        self.bytes().as_ptr().addr().is_multiple_of(MEMORY_ALIGN)
    }

    /// Appends bytes.
    pub(crate) fn extend(&mut self, more: &[u8]) {
        self.reserve(more.len());
        self.bytes.extend_from_slice(more);
    }

    /// Appends zeros up to a multiple of `align`.
    pub(crate) fn pad(&mut self, align: usize) {
        let len = self.len().next_multiple_of(align.max(1));
        self.reserve(len - self.len());
        self.bytes.resize(self.skip + len, 0);
    }

    /// Forgets the bytes, and the memory beyond `keep` bytes of it.
    pub(crate) fn clear(&mut self, keep: usize) {
        self.bytes.truncate(self.skip);
        if self.bytes.capacity() > keep + 2 * MEMORY_ALIGN {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_aligned_however_it_grows() {
        let mut buffer = Buffer::default();
        for round in 0..3 {
            for len in [1, 5_000, 70_000, 1] {
                buffer.extend(&vec![7; len]);
                assert!(buffer.is_aligned());
            }
            assert_eq!(buffer.len(), 75_002);
            assert!(buffer.bytes().iter().all(|byte| *byte == 7));
            buffer.pad(512);
            assert_eq!(buffer.len(), 75_264);
            assert!(buffer.is_aligned());
            buffer.clear(if round == 0 { 1 << 20 } else { 0 });
            assert_eq!(buffer.len(), 0);
        }
    }
}
