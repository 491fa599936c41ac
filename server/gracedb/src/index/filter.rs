//! A filter: says of most keys that are not in a run that they are not, without reading it.
//!
//! A blocked Bloom filter: a key's bits all lie in one line of 64 bytes, so that asking touches
//! memory once. Ten bits a key let about one foreign key in a hundred through.
//! Invariant: a key that was added passes. The hash and the layout are part of the file format.

/// Bytes of a line.
const LINE: usize = 64;
/// Bits set per key.
const PROBES: u32 = 6;
/// Bits kept per key.
const BITS_PER_KEY: usize = 10;

/// A 64-bit hash of a key: folded multiplications over words of 8 bytes.
pub(crate) fn hash(key: &[u8]) -> u64 {
    let mut state = 0x243F_6A88_85A3_08D3 ^ (key.len() as u64);
    let mut words = key.chunks_exact(8);
    for word in &mut words {
        let word = word.first_chunk::<8>().map_or(0, |word| u64::from_le_bytes(*word));
        state = fold(state ^ word, 0x9E37_79B9_7F4A_7C15);
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(words.remainder()) {
        *to = *from;
    }
    fold(state ^ u64::from_le_bytes(last), 0xD6E8_FEB8_6659_FD93)
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves of a product are wanted")]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// The bits of a hash: a line, and the positions in it.
#[expect(clippy::cast_possible_truncation, reason = "a share of `lines`, and low bits, are wanted")]
fn bits(hash: u64, lines: usize) -> (usize, impl Iterator<Item = usize>) {
    let line = ((u128::from(hash) * lines as u128) >> 64) as usize;
    let (start, step) = (hash as u32, ((hash >> 17) as u32) | 1);
    let at = move |probe: u32| (start.wrapping_add(probe.wrapping_mul(step)) >> 23) as usize;
    (line, (0..PROBES).map(at))
}

/// The filter of keys with these hashes.
pub(crate) fn build(hashes: &[u64]) -> Vec<u8> {
    let lines = (hashes.len() * BITS_PER_KEY).div_ceil(LINE * 8);
    let mut filter = vec![0; lines * LINE];
    for &hash in hashes {
        let (line, positions) = bits(hash, lines);
        let Some(line) = filter.get_mut(line * LINE..(line + 1) * LINE) else { continue };
        for position in positions {
            if let Some(byte) = line.get_mut(position / 8) {
                *byte |= 1 << (position % 8);
            }
        }
    }
    filter
}

/// Whether a key with this hash may have been added.
pub(crate) fn passes(filter: &[u8], hash: u64) -> bool {
    let lines = filter.len() / LINE;
    let (line, mut positions) = bits(hash, lines);
    let Some(line) = filter.get(line * LINE..(line + 1) * LINE) else { return false };
    positions.all(|at| line.get(at / 8).is_some_and(|byte| byte & (1 << (at % 8)) != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Vec<u8> {
        [b"\0\x05\0".as_slice(), &(n % 97).to_be_bytes(), &n.to_be_bytes()].concat()
    }

    #[test]
    fn what_was_added_passes_and_little_else() {
        let hashes: Vec<u64> = (0..20_000).map(|n| hash(&key(n))).collect();
        let filter = build(&hashes);
        assert!(hashes.iter().all(|hash| passes(&filter, *hash)));
        let wrong = (20_000..120_000).filter(|n| passes(&filter, hash(&key(*n)))).count();
        assert!(wrong < 2_500, "{wrong} of 100,000 foreign keys pass");
        assert!(!passes(&build(&[]), 7));
    }

    #[test]
    fn the_hash_is_frozen() {
        assert_eq!(hash(b""), 215668962258908695);
        assert_eq!(hash(b"a"), 2386449115153468394);
        assert_eq!(hash(b"\0\x05\0\0\0\0\0\0\0\0\x01"), 10618076906357804834);
        assert_eq!(build(&[hash(b"a")]).iter().map(|byte| byte.count_ones()).sum::<u32>(), 6);
    }
}
