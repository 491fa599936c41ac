//! Bytes that begin where a drive can take them from, past the page cache.
//!
//! Invariant: the address of the first byte is a multiple of [`ALIGN`].

/// What every drive is content with, in bytes.
pub(crate) const ALIGN: usize = 4096;
/// What a write past the page cache is padded to, in bytes.
pub(crate) const SECTOR: usize = 512;

/// A buffer, allocated with room to begin at an aligned address.
pub(crate) struct Aligned {
    bytes: Vec<u8>,
    skip: usize,
}

impl Aligned {
    /// Zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let mut bytes = Vec::<u8>::with_capacity(len + ALIGN);
        let skip = bytes.as_ptr().align_offset(ALIGN).min(ALIGN);
        bytes.resize(skip + len, 0);
        Self { bytes, skip }
    }

    /// The first `len` bytes, to be changed; made longer where they are not enough, with nothing
    /// said of what is in them.
    pub(crate) fn first_mut(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < self.skip + len {
            *self = Self::zeros(len.next_power_of_two());
        }
        self.bytes.get_mut(self.skip..self.skip + len).unwrap_or_default()
    }

    /// The first `len` bytes.
    pub(crate) fn first(&self, len: usize) -> &[u8] {
        self.bytes.get(self.skip..self.skip + len).unwrap_or_default()
    }
}
