//! CRC32C (Castagnoli, RFC 3720 B.4), by the quickest instructions the machine has.

use crc_fast::CrcAlgorithm;

/// The checksum of some bytes.
#[expect(clippy::cast_possible_truncation, reason = "a checksum of 32 bits in a larger number")]
pub(crate) fn of(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// The checksum of a place: what distinguishes the same bytes elsewhere.
pub(crate) fn of_place(database: &[u8; 16], file: u64, offset: u64) -> u32 {
    let mut place = [0; 32];
    let fields = database.iter().copied().chain(file.to_le_bytes()).chain(offset.to_le_bytes());
    for (to, from) in place.iter_mut().zip(fields) {
        *to = from;
    }
    of(&place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_one_of_the_rfc() {
        assert_eq!(of(&[0; 32]), 0x8A91_36AA);
        assert_eq!(of(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(of(b"123456789"), 0xE306_9283);
    }
}
