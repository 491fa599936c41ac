//! The bytes of a journal segment: its header, and the headers of its records.
//!
//! `docs/gracedb-format.md` draws them; golden bytes below hold them still. Invariants: a record
//! header's checksum covers where it stands (database, segment, offset), so bytes copied, moved or
//! left over from another life of the file, or written by a mail's author, are never a record.
//! Not here: reading files (`recovery`), writing them (`journal`).

use crate::error::Error;

/// First bytes of a segment.
const MAGIC: [u8; 8] = *b"GraceDbJ";
/// Version of everything in this module, `state` and `row`.
pub(crate) const VERSION: u32 = 1;
/// Bytes of a segment's header: a sector of its own on any disk, so that no later write touches it.
pub(crate) const SEGMENT_HEADER_LEN: usize = 4096;
/// First bytes of a record.
const RECORD_MAGIC: [u8; 4] = *b"GrRc";
/// Bytes of a record's header.
pub(crate) const RECORD_HEADER_LEN: usize = 40;
/// Records start at multiples of this.
pub(crate) const ALIGN: u64 = 8;
/// Most bytes of a record's payload, whatever the settings: bounds what a reader allocates.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The operations of a transaction.
    Transaction = 1,
    /// A part of a large value.
    Chunk = 2,
    /// The schema's text.
    Schema = 3,
    /// Nothing but its `synced` field: written by a clean close.
    Mark = 4,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Transaction),
            2 => Some(Self::Chunk),
            3 => Some(Self::Schema),
            4 => Some(Self::Mark),
            _ => None,
        }
    }
}

/// A place in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// Name of a segment's file.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:010}.gj")
}

/// Number of the segment with this file name.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".gj")?.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}

/// Bytes a record takes, with its header and the padding after it.
pub(crate) fn record_len(payload: usize) -> u64 {
    ((RECORD_HEADER_LEN + payload) as u64).next_multiple_of(ALIGN)
}

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) database: [u8; 16],
    pub(crate) number: u64,
    /// The segment before, 0 for none, and where its records end.
    pub(crate) previous: Place,
    /// Number of the last transaction before this segment.
    pub(crate) sequence: u64,
}

/// Takes fixed fields off the front of a header.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

impl SegmentHeader {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&4096u32.to_le_bytes());
        bytes.extend_from_slice(&self.database);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.previous.segment.to_le_bytes());
        bytes.extend_from_slice(&self.previous.offset.to_le_bytes());
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        // Cipher (0: none), key id, salt, and the rest: reserved, zero.
        bytes.resize(SEGMENT_HEADER_LEN - 4, 0);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// Checks and reads the header of `file`, which ought to be segment `number`.
    pub(crate) fn read(file: &str, number: u64, bytes: &[u8]) -> Result<Self, Error> {
        let corrupt =
            |what: &str| Error::Corrupt { file: file.to_owned(), offset: 0, what: what.to_owned() };
        let unknown = |what: String| Error::Unknown { file: file.to_owned(), offset: 8, what };
        let (body, crc) = bytes
            .split_last_chunk::<4>()
            .filter(|_| bytes.len() == SEGMENT_HEADER_LEN)
            .ok_or_else(|| corrupt("the segment is shorter than its header"))?;
        let short = || corrupt("the segment's header is too short");
        let mut fields = Fields(body);
        if fields.take() != Some(MAGIC) {
            return Err(corrupt("this is not a journal segment"));
        }
        // The version stands before the checksum, which a later version may keep elsewhere.
        let version = fields.u32().ok_or_else(short)?;
        if version > VERSION {
            return Err(unknown(format!("format version {version}, this program knows {VERSION}")));
        }
        if u32::from_le_bytes(*crc) != crc32c::crc32c(body) {
            return Err(corrupt("the segment header's checksum is wrong"));
        }
        let _header_len = fields.u32().ok_or_else(short)?;
        let header = Self {
            database: fields.take().ok_or_else(short)?,
            number: fields.u64().ok_or_else(short)?,
            previous: Place {
                segment: fields.u64().ok_or_else(short)?,
                offset: fields.u64().ok_or_else(short)?,
            },
            sequence: fields.u64().ok_or_else(short)?,
        };
        let cipher = fields.u32().ok_or_else(short)?;
        if cipher != 0 {
            return Err(unknown(format!("cipher {cipher}")));
        }
        if header.number != number {
            return Err(corrupt(&format!("the file holds segment {}", header.number)));
        }
        Ok(header)
    }
}

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) kind: Kind,
    pub(crate) len: u32,
    pub(crate) crc: u32,
    /// Number of the transaction; 0 for other kinds.
    pub(crate) sequence: u64,
    /// Bytes of this segment that were known to be on disk when the record was written.
    pub(crate) synced: u64,
}

/// What stands where a record may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordAt {
    /// A record.
    Record(RecordHeader),
    /// No record: nothing was written here, or not all of it.
    None,
    /// A whole header of a kind or with flags that only a newer program writes.
    Unknown(u8, u8),
}

impl RecordHeader {
    /// Bytes of the record, with header and padding.
    pub(crate) fn total_len(&self) -> u64 {
        record_len(usize::try_from(self.len).unwrap_or(usize::MAX / 2))
    }

    pub(crate) fn to_bytes(self, database: &[u8; 16], place: Place) -> [u8; RECORD_HEADER_LEN] {
        let mut bytes = Vec::with_capacity(RECORD_HEADER_LEN);
        bytes.extend_from_slice(&RECORD_MAGIC);
        // Kind; flags (reserved, zero); reserved.
        bytes.extend_from_slice(&[self.kind as u8, 0, 0, 0]);
        bytes.extend_from_slice(&self.len.to_le_bytes());
        bytes.extend_from_slice(&self.crc.to_le_bytes());
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.synced.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&header_crc(database, place, &bytes).to_le_bytes());
        bytes.try_into().unwrap_or([0; RECORD_HEADER_LEN])
    }

    pub(crate) fn read(database: &[u8; 16], place: Place, bytes: &[u8]) -> RecordAt {
        Self::parse(database, place, bytes).unwrap_or(RecordAt::None)
    }

    fn parse(database: &[u8; 16], place: Place, bytes: &[u8]) -> Option<RecordAt> {
        let bytes = bytes.get(..RECORD_HEADER_LEN)?;
        let mut fields = Fields(bytes);
        if fields.take()? != RECORD_MAGIC {
            return None;
        }
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if u32::from_le_bytes(*crc) != header_crc(database, place, body) {
            return None;
        }
        let [kind, flags, reserved_1, reserved_2] = fields.take()?;
        let len = fields.u32()?;
        let Some(kind) = Kind::from_byte(kind)
            .filter(|_| [flags, reserved_1, reserved_2] == [0; 3])
            .filter(|_| usize::try_from(len).is_ok_and(|len| len <= PAYLOAD_BYTES_MAX))
        else {
            return Some(RecordAt::Unknown(kind, flags));
        };
        let header =
            Self { kind, len, crc: fields.u32()?, sequence: fields.u64()?, synced: fields.u64()? };
        Some(RecordAt::Record(header))
    }
}

fn header_crc(database: &[u8; 16], place: Place, body: &[u8]) -> u32 {
    let crc = crc32c::crc32c(database);
    let crc = crc32c::crc32c_append(crc, &place.segment.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &place.offset.to_le_bytes());
    crc32c::crc32c_append(crc, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATABASE: [u8; 16] = *b"0123456789abcdef";
    const PLACE: Place = Place { segment: 3, offset: 4096 };

    fn segment() -> SegmentHeader {
        let previous = Place { segment: 2, offset: 8192 };
        SegmentHeader { database: DATABASE, number: 3, previous, sequence: 77 }
    }

    fn record() -> RecordHeader {
        RecordHeader {
            kind: Kind::Transaction,
            len: 5,
            crc: 0xAABB_CCDD,
            sequence: 78,
            synced: 4096,
        }
    }

    #[test]
    fn the_segment_header_is_frozen() {
        let bytes = segment().to_bytes();
        #[rustfmt::skip]
        assert_eq!(bytes[..64], [
            b'G', b'r', b'a', b'c', b'e', b'D', b'b', b'J', 1, 0, 0, 0, 0, 16, 0, 0,
            b'0', b'1', b'2', b'3', b'4', b'5', b'6', b'7',
            b'8', b'9', b'a', b'b', b'c', b'd', b'e', b'f',
            3, 0, 0, 0, 0, 0, 0, 0,   2, 0, 0, 0, 0, 0, 0, 0,
            0, 32, 0, 0, 0, 0, 0, 0,  77, 0, 0, 0, 0, 0, 0, 0,
        ]);
        assert!(bytes[64..4092].iter().all(|byte| *byte == 0));
        assert_eq!(bytes[4092..], 0x5A62_6D08u32.to_le_bytes());
        assert_eq!(SegmentHeader::read("f", 3, &bytes).unwrap(), segment());
    }

    #[test]
    fn the_record_header_is_frozen() {
        let bytes = record().to_bytes(&DATABASE, PLACE);
        #[rustfmt::skip]
        assert_eq!(bytes, [
            b'G', b'r', b'R', b'c', 1, 0, 0, 0, 5, 0, 0, 0, 0xDD, 0xCC, 0xBB, 0xAA,
            78, 0, 0, 0, 0, 0, 0, 0,  0, 16, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0,
            45, 161, 7, 108,
        ]);
        assert_eq!(RecordHeader::read(&DATABASE, PLACE, &bytes), RecordAt::Record(record()));
    }

    #[test]
    fn a_record_is_one_only_where_it_was_written() {
        let bytes = record().to_bytes(&DATABASE, PLACE);
        let elsewhere = [
            (DATABASE, Place { segment: 4, ..PLACE }),
            (DATABASE, Place { offset: 4104, ..PLACE }),
            ([0; 16], PLACE),
        ];
        for (database, place) in elsewhere {
            assert_eq!(RecordHeader::read(&database, place, &bytes), RecordAt::None);
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let bytes = record().to_bytes(&DATABASE, PLACE);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::read(&DATABASE, PLACE, &flipped), RecordAt::None, "{bit}");
        }
        let bytes = segment().to_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::read("f", 3, &flipped).is_err(), "{bit}");
        }
    }

    #[test]
    fn a_newer_program_is_named_not_called_corruption() {
        let mut bytes = segment().to_bytes();
        bytes[8] = 2;
        let error = SegmentHeader::read("f", 3, &bytes).unwrap_err().to_string();
        assert!(error.contains("format version 2"), "{error}");
    }

    #[test]
    fn names() {
        assert_eq!(segment_name(7), "0000000007.gj");
        assert_eq!(segment_number("0000000007.gj"), Some(7));
        assert_eq!(segment_number("7.gj"), None);
        assert_eq!(segment_number("0000000007.gj.new"), None);
    }
}
