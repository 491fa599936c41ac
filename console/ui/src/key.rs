//! Stable names of boxes: the parent's key and the box's own id, hashed.
//!
//! Invariants: the same path gives the same key in every frame and every run (no random seed), so
//! keys can be written into tests and handed to screen readers. Not here: what is kept under a key.

use std::hash::{Hash, Hasher};

/// The name of one box. The default names none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u64);

impl Key {
    /// The key of the window's root box.
    pub const ROOT: Self = Self(FNV_OFFSET);

    /// The key of the child `id` of this box.
    pub fn child(self, id: impl Hash) -> Self {
        let mut hasher = Fnv(self.0 ^ SALT);
        id.hash(&mut hasher);
        Self(hasher.finish())
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
/// Keeps a child with an empty id from sharing its parent's key.
const SALT: u64 = 0x9e37_79b9_7f4a_7c15;

/// FNV-1a: tiny, and the same everywhere.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_stable_and_apart() {
        let a = Key::ROOT.child("list");
        assert_eq!(a, Key::ROOT.child("list"));
        assert_ne!(a, Key::ROOT.child("lisu"));
        assert_ne!(a.child(1_u64), a.child(2_u64));
        assert_ne!(a.child(1_u64), Key::ROOT.child(1_u64));
        assert_ne!(Key::ROOT.child(""), Key::ROOT);
    }
}
