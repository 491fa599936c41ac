//! The bytes that journal segments and meta files have in common: headers of files and of records.
//!
//! `docs/gracedb-format.md` draws them; golden bytes below hold them still. Invariants: a record
//! header's checksum covers where it stands (database, file, offset), so bytes copied, moved or
//! left over from another life of the file, or written by a mail's author, are never a record; the
//! life in it tells apart what different openings of the database wrote to the same place.
//! Not here: reading files (`scan`), writing them (`journal`, `meta`), index segments (`index`).

use crate::crc;
use crate::error::Error;

/// Version of every file of the database.
pub(crate) const VERSION: u32 = 2;
/// Bytes of a file's header: a sector of its own on any disk, so that no later write touches it.
pub(crate) const FILE_HEADER_LEN: usize = 4096;
/// First bytes of a record.
pub(crate) const RECORD_MAGIC: [u8; 4] = *b"GrRc";
/// Bytes of a record's header.
pub(crate) const RECORD_HEADER_LEN: usize = 48;
/// Records start at multiples of this.
pub(crate) const ALIGN: u64 = 8;
/// Most bytes of a record's payload, whatever the settings: bounds what a reader allocates.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 64 << 20;
/// The flag of a record that ends a group: the next one starts at a multiple of the file's align.
const LAST: u8 = 1;
/// The flag of a payload that is encrypted and followed by its tag.
const SEALED: u8 = 2;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The operations of a transaction.
    Transaction = 1,
    /// A part of a large value.
    Chunk = 2,
    /// Nothing but its `synced` field: written by a clean close.
    Mark = 4,
    /// The database was opened: a new life begins.
    Life = 5,
    /// The segment is complete; the next one goes on.
    End = 6,
    /// Edits of the meta file.
    Edits = 16,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Transaction, Self::Chunk, Self::Mark, Self::Life, Self::End, Self::Edits]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A place in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// What a file of the database is, told by the ending of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FileKind {
    Journal,
    Index,
    Meta,
    /// A copy of the keys that stand in the meta file, for whoever mends a broken one.
    Keys,
}

impl FileKind {
    const ALL: [Self; 4] = [Self::Journal, Self::Index, Self::Meta, Self::Keys];

    const fn ending(self) -> &'static str {
        match self {
            Self::Journal => ".gj",
            Self::Index => ".gi",
            Self::Meta => ".gm",
            Self::Keys => ".gk",
        }
    }

    const fn magic(self) -> [u8; 8] {
        match self {
            Self::Journal => *b"GraceDbJ",
            Self::Index => *b"GraceDbI",
            Self::Meta => *b"GraceDbM",
            Self::Keys => *b"GraceDbK",
        }
    }

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Journal => "a journal segment",
            Self::Index => "an index segment",
            Self::Meta => "a meta file",
            Self::Keys => "a file of keys",
        }
    }

    /// Name of the file with this number.
    pub(crate) fn name(self, number: u64) -> String {
        format!("{number:010}{}", self.ending())
    }

    /// Name of a file on its way to getting its name.
    pub(crate) fn draft(self, number: u64) -> String {
        format!("{}{DRAFT}", self.name(number))
    }

    /// The kind and number a name stands for.
    pub(crate) fn parse(name: &str) -> Option<(Self, u64)> {
        Self::ALL.into_iter().find_map(|kind| {
            let number = name.strip_suffix(kind.ending())?.parse().ok()?;
            (kind.name(number) == name).then_some((kind, number))
        })
    }
}

/// Ending of a file that has no name yet.
pub(crate) const DRAFT: &str = ".new";

/// Name of a journal segment's file.
pub(crate) fn segment_name(number: u64) -> String {
    FileKind::Journal.name(number)
}

/// Bytes a record takes, with its header and the padding after it.
pub(crate) fn record_len(payload: usize) -> u64 {
    ((RECORD_HEADER_LEN + payload) as u64).next_multiple_of(ALIGN)
}

/// Takes fixed fields off the front of a header.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

/// What every file of the database starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) kind: FileKind,
    pub(crate) database: [u8; 16],
    pub(crate) number: u64,
    /// Groups of records start at multiples of this many bytes.
    pub(crate) align: u32,
    /// The data key the file is encrypted with; 0: it is not.
    pub(crate) key: u32,
    /// The file was another one before: what stands behind its records is not torn.
    pub(crate) recycled: bool,
    /// Random: tells the file from every other one that ever had its number, and no two files share
    /// a cipher key.
    pub(crate) salt: [u8; 16],
}

/// Where the fields above end and a kind's own begin.
pub(crate) const FILE_FIELDS_LEN: usize = 72;

impl FileHeader {
    /// The whole header, with a kind's own fields in it.
    pub(crate) fn to_bytes(self, own: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FILE_HEADER_LEN);
        bytes.extend_from_slice(&self.kind.magic());
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&4096u32.to_le_bytes());
        bytes.extend_from_slice(&self.database);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.align.to_le_bytes());
        bytes.extend_from_slice(&u32::from(self.key != 0).to_le_bytes());
        bytes.extend_from_slice(&self.key.to_le_bytes());
        bytes.extend_from_slice(&u32::from(self.recycled).to_le_bytes());
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(own);
        bytes.resize(FILE_HEADER_LEN - 4, 0);
        bytes.extend_from_slice(&crc::of(&bytes).to_le_bytes());
        bytes
    }

    /// Checks and reads the header of `file`; also gives the kind's own fields.
    pub(crate) fn read<'a>(
        file: &str,
        kind: FileKind,
        number: u64,
        bytes: &'a [u8],
    ) -> Result<(Self, &'a [u8]), Error> {
        let corrupt =
            |what: &str| Error::Corrupt { file: file.to_owned(), offset: 0, what: what.to_owned() };
        let unknown = |offset, what: String| Error::Unknown { file: file.to_owned(), offset, what };
        let (body, crc) = bytes
            .get(..FILE_HEADER_LEN)
            .and_then(<[u8]>::split_last_chunk::<4>)
            .ok_or_else(|| corrupt("the file is shorter than its header"))?;
        let short = || corrupt("the file's header is too short");
        let mut fields = Fields(body);
        if fields.take() != Some(kind.magic()) {
            return Err(corrupt(&format!("this is not {}", kind.words())));
        }
        // The version stands before the checksum, which a later version may keep elsewhere.
        let version = fields.u32().ok_or_else(short)?;
        if version != VERSION {
            if u32::from_le_bytes(*crc) == crc::of(&with_our_version(body)) {
                return Err(corrupt("the format version is damaged"));
            }
            let what = format!("format version {version}, this program knows {VERSION}");
            return Err(unknown(8, what));
        }
        if u32::from_le_bytes(*crc) != crc::of(body) {
            return Err(corrupt("the file header's checksum is wrong"));
        }
        let _header_len = fields.u32().ok_or_else(short)?;
        let database = fields.take().ok_or_else(short)?;
        let found = fields.u64().ok_or_else(short)?;
        let align = fields.u32().ok_or_else(short)?;
        let cipher = fields.u32().ok_or_else(short)?;
        let key = fields.u32().ok_or_else(short)?;
        let recycled = fields.u32().ok_or_else(short)?;
        let salt = fields.take().ok_or_else(short)?;
        if cipher > 1 || recycled > 1 {
            let what = format!("cipher {cipher} and flags {recycled:#x}");
            return Err(unknown(44, what));
        }
        if found != number {
            return Err(corrupt(&format!("the file holds number {found}")));
        }
        if !align.is_power_of_two() || u64::from(align) < ALIGN || align > 4096 {
            return Err(corrupt(&format!("groups aligned to {align} bytes")));
        }
        let recycled = recycled == 1;
        Ok((Self { kind, database, number, align, key, recycled, salt }, fields.0))
    }
}

impl FileHeader {
    /// What a header says whose checksum is wrong, as far as that matters for reading on.
    pub(crate) fn guess(kind: FileKind, database: [u8; 16], number: u64, bytes: &[u8]) -> Self {
        let mut fields = Fields(bytes.get(40..).unwrap_or_default());
        let align = fields.u32().unwrap_or(0);
        let (_cipher, key) = (fields.u32(), fields.u32().unwrap_or(0));
        let (_flags, salt) = (fields.u32(), fields.take().unwrap_or_default());
        let align = if align.is_power_of_two() && align <= 4096 { align.max(8) } else { 512 };
        Self { kind, database, number, align, key, recycled: true, salt }
    }
}

/// The same header with the version of this program. If the checksum fits then, nothing else can
/// be meant than damage to the version: a newer program's checksum covers its own.
fn with_our_version(body: &[u8]) -> Vec<u8> {
    let mut ours = body.to_vec();
    if let Some(version) = ours.get_mut(8..12) {
        version.copy_from_slice(&VERSION.to_le_bytes());
    }
    ours
}

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) kind: Kind,
    /// Whether it is the last of its group.
    pub(crate) last: bool,
    /// Whether the payload is encrypted.
    pub(crate) sealed: bool,
    /// Bytes of the payload as it stands in the file, its tag included.
    pub(crate) len: u32,
    /// Checksum of those bytes.
    pub(crate) crc: u32,
    /// Random number of the opening of the database that wrote it.
    pub(crate) life: u64,
    /// Number of the transaction, or of the last one before a life; 0 for other kinds.
    pub(crate) sequence: u64,
    /// Bytes of this file that were known to be on disk when the record was written.
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

    /// Where the next record starts, if this one starts at `offset`.
    pub(crate) fn next_offset(&self, offset: u64, align: u32) -> u64 {
        let end = offset.saturating_add(self.total_len());
        if self.last { end.next_multiple_of(u64::from(align)) } else { end }
    }

    /// What the cipher authenticates along with the payload.
    pub(crate) fn authenticated(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let fields = [u64::from(self.kind as u8), self.life, self.sequence];
        for (to, field) in bytes.chunks_exact_mut(8).zip(fields) {
            to.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn to_bytes(self, database: &[u8; 16], place: Place) -> [u8; RECORD_HEADER_LEN] {
        let mut bytes = [0; RECORD_HEADER_LEN];
        let flags = if self.last { LAST } else { 0 } | if self.sealed { SEALED } else { 0 };
        let mut put = |at: usize, field: &[u8]| {
            if let Some(to) = bytes.get_mut(at..at + field.len()) {
                to.copy_from_slice(field);
            }
        };
        put(0, &RECORD_MAGIC);
        put(4, &[self.kind as u8, flags]);
        put(8, &self.len.to_le_bytes());
        put(12, &self.crc.to_le_bytes());
        put(16, &self.life.to_le_bytes());
        put(24, &self.sequence.to_le_bytes());
        put(32, &self.synced.to_le_bytes());
        if let Some((body, crc)) = bytes.split_last_chunk_mut::<4>() {
            *crc = header_crc(database, place, body).to_le_bytes();
        }
        bytes
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
        let known = flags & !(LAST | SEALED) == 0 && (reserved_1, reserved_2) == (0, 0);
        let Some(kind) = Kind::from_byte(kind)
            .filter(|_| known)
            .filter(|_| usize::try_from(len).is_ok_and(|len| len <= PAYLOAD_BYTES_MAX))
        else {
            return Some(RecordAt::Unknown(kind, flags));
        };
        let header = Self {
            kind,
            last: flags & LAST != 0,
            sealed: flags & SEALED != 0,
            len,
            crc: fields.u32()?,
            life: fields.u64()?,
            sequence: fields.u64()?,
            synced: fields.u64()?,
        };
        // What a newer program writes here may be what the record means.
        Some(match fields.u32()? {
            0 => RecordAt::Record(header),
            _ => RecordAt::Unknown(kind as u8, flags),
        })
    }
}

/// The checksum of a record's header: covers where it stands.
pub(crate) fn header_crc(database: &[u8; 16], place: Place, body: &[u8]) -> u32 {
    crc::of(body) ^ crc::of_place(database, place.segment, place.offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATABASE: [u8; 16] = *b"0123456789abcdef";
    const PLACE: Place = Place { segment: 3, offset: 4096 };

    fn segment() -> FileHeader {
        FileHeader {
            kind: FileKind::Journal,
            database: DATABASE,
            number: 3,
            align: 512,
            key: 9,
            recycled: true,
            salt: *b"salt salt salt s",
        }
    }

    fn record() -> RecordHeader {
        RecordHeader {
            kind: Kind::Transaction,
            last: true,
            sealed: true,
            len: 5,
            crc: 0xAABB_CCDD,
            life: 0x0102_0304_0506_0708,
            sequence: 78,
            synced: 4096,
        }
    }

    fn read(number: u64, bytes: &[u8]) -> Result<FileHeader, Error> {
        FileHeader::read("f", FileKind::Journal, number, bytes).map(|(header, _)| header)
    }

    #[test]
    fn the_file_header_is_frozen() {
        let bytes = segment().to_bytes(&[7, 8]);
        #[rustfmt::skip]
        assert_eq!(bytes[..76], [
            b'G', b'r', b'a', b'c', b'e', b'D', b'b', b'J', 2, 0, 0, 0, 0, 16, 0, 0,
            b'0', b'1', b'2', b'3', b'4', b'5', b'6', b'7',
            b'8', b'9', b'a', b'b', b'c', b'd', b'e', b'f',
            3, 0, 0, 0, 0, 0, 0, 0,   0, 2, 0, 0, 1, 0, 0, 0,
            9, 0, 0, 0, 1, 0, 0, 0,
            b's', b'a', b'l', b't', b' ', b's', b'a', b'l',
            b't', b' ', b's', b'a', b'l', b't', b' ', b's',
            7, 8, 0, 0,
        ]);
        assert!(bytes[76..4092].iter().all(|byte| *byte == 0));
        assert_eq!(bytes[4092..], [212, 183, 93, 146]);
        let (header, own) = FileHeader::read("f", FileKind::Journal, 3, &bytes).unwrap();
        assert_eq!((header, &own[..2]), (segment(), [7, 8].as_slice()));
    }

    #[test]
    fn the_record_header_is_frozen() {
        let bytes = record().to_bytes(&DATABASE, PLACE);
        #[rustfmt::skip]
        assert_eq!(bytes, [
            b'G', b'r', b'R', b'c', 1, 3, 0, 0, 5, 0, 0, 0, 0xDD, 0xCC, 0xBB, 0xAA,
            8, 7, 6, 5, 4, 3, 2, 1,  78, 0, 0, 0, 0, 0, 0, 0,  0, 16, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0,  114, 219, 6, 87,
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
        let bytes = segment().to_bytes(&[]);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(read(3, &flipped), Err(Error::Corrupt { .. })), "{bit}");
        }
    }

    #[test]
    fn a_newer_program_is_named_not_called_corruption() {
        let mut bytes = segment().to_bytes(&[]);
        bytes[8] = 3;
        let checksum = crc::of(&bytes[..4092]).to_le_bytes();
        bytes[4092..].copy_from_slice(&checksum);
        let error = read(3, &bytes).unwrap_err().to_string();
        assert!(error.contains("format version 3"), "{error}");
        // One whose checksum is elsewhere, too.
        bytes[4092..].fill(0);
        let error = read(3, &bytes).unwrap_err().to_string();
        assert!(error.contains("format version 3"), "{error}");
    }

    #[test]
    fn groups_start_at_whole_sectors() {
        let header = record();
        assert_eq!(header.total_len(), 56);
        assert_eq!(header.next_offset(4096, 512), 4608);
        assert_eq!(RecordHeader { last: false, ..header }.next_offset(4096, 512), 4152);
    }

    #[test]
    fn names() {
        assert_eq!(segment_name(7), "0000000007.gj");
        assert_eq!(FileKind::parse("0000000007.gj"), Some((FileKind::Journal, 7)));
        assert_eq!(FileKind::parse("0000000012.gi"), Some((FileKind::Index, 12)));
        assert_eq!(FileKind::parse("7.gj"), None);
        assert_eq!(FileKind::parse("0000000007.gj.new"), None);
    }
}
