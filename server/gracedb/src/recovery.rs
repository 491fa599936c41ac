//! Opening: from the files to the newest acknowledged state.
//!
//! 1. Every segment's header is checked, and that each goes on where the one before ended.
//! 2. In the last segment the end is found. A record that cannot be read there is the torn end of
//!    the last write, unless a later record says that bytes beyond it were already on disk
//!    (`synced`): then it is corruption.
//! 3. Transactions are replayed in order, every checksum of theirs checked. Chunks of large values
//!    are checked here only where no record vouches for them; else when they are read.
//! 4. The torn end is overwritten with zeros, so that nothing of it can ever follow a later record;
//!    the records no one vouches for are written again, because a system that once failed to sync
//!    them may call its memory of them clean; then both are synced, and so is the folder.
//!
//! Invariants: nothing is written before all is read and found good; a transaction comes back
//! whole or not at all.
//! Not here: going on after corruption; the bytes (`format`).

use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::format::{
    self, ALIGN, Kind, Place, RECORD_HEADER_LEN, RecordAt, RecordHeader, SEGMENT_HEADER_LEN,
    SegmentHeader,
};
use crate::state::State;

/// What is read at a time while records follow each other.
const READ_BYTES_MAX: usize = 256 << 10;
/// What is read first after a jump over a chunk, most of the time one or two small records.
const READ_BYTES_MIN: usize = 4 << 10;
const HEADER_LEN: u64 = SEGMENT_HEADER_LEN as u64;

/// A torn end that was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The segment's file.
    pub file: String,
    /// Where the journal ends now.
    pub offset: u64,
    /// Bytes from there to the last byte of the torn write.
    pub bytes: u64,
}

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// There was no database; now there is.
    pub created: bool,
    /// The last user closed it in good order.
    pub clean: bool,
    /// Segments read.
    pub segments: u64,
    /// Transactions replayed.
    pub transactions: u64,
    /// Bytes of large values in the journal, whether rows point to them or not.
    pub large_bytes: u64,
    /// Bytes of the journal up to its end.
    pub journal_bytes: u64,
    /// The torn end of the last write, which nobody was told is kept.
    pub cut: Option<Cut>,
}

/// A segment being read.
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) header: SegmentHeader,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) len: u64,
}

/// What the files hold.
pub(crate) struct Recovered {
    pub(crate) last: Segment,
    pub(crate) end: u64,
    pub(crate) state: State,
    pub(crate) schema: Option<String>,
    pub(crate) report: Opened,
}

/// Reads the database; `None` when there is none. Removes what an interrupted creation left.
pub(crate) fn recover(disk: &dyn Disk) -> Result<Option<Recovered>, Error> {
    let label = disk.label();
    let names = disk.list().map_err(|error| Error::io("list", &label, error))?;
    for draft in names.iter().filter(|name| name.ends_with(".gj.new")) {
        disk.remove(draft).map_err(|error| Error::io("remove", draft, error))?;
    }
    let mut numbers: Vec<u64> =
        names.iter().filter_map(|name| format::segment_number(name)).collect();
    numbers.sort_unstable();
    let mut segments = Vec::new();
    for number in numbers {
        let segment = open_segment(disk, number)?;
        check_follows(segments.last(), &segment)?;
        segments.push(segment);
    }
    let Some(last) = segments.pop() else { return Ok(None) };

    let mut replay = Replay::default();
    let mut next_start = last.header.previous.offset;
    let ends: Vec<u64> = segments
        .iter()
        .rev()
        .map(|segment| std::mem::replace(&mut next_start, segment.header.previous.offset))
        .collect();
    for (segment, end) in segments.iter().zip(ends.into_iter().rev()) {
        replay.segment(segment, end)?;
    }
    let tail = find_end(&last, &mut replay.report)?;
    replay.segment(&last, tail.end)?;
    settle(&last, &tail)?;
    // The last user may have been killed between naming the segment and making the name durable.
    disk.sync_dir().map_err(|error| Error::io("sync the folder", &label, error))?;

    let Replay { state, schema, mut report } = replay;
    report.segments = segments.len() as u64 + 1;
    if tail.dirty_end > tail.end {
        let bytes = tail.dirty_end - tail.end;
        report.cut = Some(Cut { file: last.name.clone(), offset: tail.end, bytes });
    }
    Ok(Some(Recovered { last, end: tail.end, state, schema, report }))
}

fn open_segment(disk: &dyn Disk, number: u64) -> Result<Segment, Error> {
    let name = format::segment_name(number);
    let file = disk.open(&name).map_err(|error| Error::io("open", &name, error))?;
    let len = file.len().map_err(|error| Error::io("measure", &name, error))?;
    let mut bytes = vec![0; SEGMENT_HEADER_LEN];
    let read = file.read_at(0, &mut bytes).map_err(|error| Error::io("read", &name, error))?;
    bytes.truncate(read);
    let header = SegmentHeader::read(&name, number, &bytes)?;
    Ok(Segment { name, header, file, len })
}

fn check_follows(before: Option<&Segment>, segment: &Segment) -> Result<(), Error> {
    let corrupt =
        |what: String| Err(Error::Corrupt { file: segment.name.clone(), offset: 0, what });
    let previous = segment.header.previous.segment;
    match before {
        None if previous != 0 => corrupt(format!(
            "the segment before it, {}, is missing",
            format::segment_name(previous)
        )),
        Some(before) if before.header.number != previous => corrupt(format!(
            "the segment before it, {}, is missing",
            format::segment_name(previous)
        )),
        Some(before) if before.header.database != segment.header.database => {
            corrupt(format!("it belongs to another database than {}", before.name))
        }
        _ => Ok(()),
    }
}

/// Reads a file forwards through one buffer.
struct Window<'a> {
    segment: &'a Segment,
    buffer: Vec<u8>,
    start: u64,
    read_bytes: usize,
}

impl<'a> Window<'a> {
    fn new(segment: &'a Segment) -> Self {
        Self { segment, buffer: Vec::new(), start: 0, read_bytes: READ_BYTES_MIN }
    }

    /// The bytes from `offset` on: `len` of them, fewer only at the end of the file.
    fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8], Error> {
        let inside = |start: u64, buffer: &[u8]| {
            let skip = usize::try_from(offset.checked_sub(start)?).ok()?;
            (skip <= buffer.len()).then_some(skip)
        };
        let found = inside(self.start, &self.buffer);
        if found.is_none_or(|skip| self.buffer.len() - skip < len) {
            // Reading on: take more at a time. After a jump: little.
            self.read_bytes = match found {
                Some(_) => (self.read_bytes * 2).min(READ_BYTES_MAX),
                None => READ_BYTES_MIN,
            };
            let left =
                usize::try_from(self.segment.len.saturating_sub(offset)).unwrap_or(usize::MAX);
            self.buffer.clear();
            self.buffer.resize(len.max(self.read_bytes).min(left), 0);
            let read = self.segment.file.read_at(offset, &mut self.buffer);
            let read = read.map_err(|error| Error::io("read", &self.segment.name, error))?;
            self.buffer.truncate(read);
            self.start = offset;
        }
        let skip = inside(self.start, &self.buffer).unwrap_or(0);
        let rest = self.buffer.get(skip..).unwrap_or_default();
        Ok(rest.get(..len).unwrap_or(rest))
    }

    fn record(&mut self, offset: u64) -> Result<RecordAt, Error> {
        let SegmentHeader { database, number, .. } = self.segment.header;
        let place = Place { segment: number, offset };
        Ok(RecordHeader::read(&database, place, self.bytes(offset, RECORD_HEADER_LEN)?))
    }

    /// The payload of the record at `offset`; `None` when its checksum is wrong.
    fn payload(&mut self, offset: u64, header: &RecordHeader) -> Result<Option<&[u8]>, Error> {
        let len = usize::try_from(header.len).unwrap_or(usize::MAX);
        let payload = self.bytes(offset + RECORD_HEADER_LEN as u64, len)?;
        Ok((payload.len() == len && crc32c::crc32c(payload) == header.crc).then_some(payload))
    }
}

fn corrupt(segment: &Segment, offset: u64, what: &str) -> Error {
    Error::Corrupt { file: segment.name.clone(), offset, what: what.to_owned() }
}

fn unknown(segment: &Segment, offset: u64, kind: u8, flags: u8) -> Error {
    let what = format!("a record of kind {kind} with flags {flags:#04x}");
    Error::Unknown { file: segment.name.clone(), offset, what }
}

#[derive(Default)]
struct Replay {
    state: State,
    schema: Option<String>,
    report: Opened,
}

impl Replay {
    fn segment(&mut self, segment: &Segment, end: u64) -> Result<(), Error> {
        if segment.header.sequence != self.state.sequence {
            let what = format!(
                "it goes on after transaction {}, but {} is the last one before it",
                segment.header.sequence, self.state.sequence
            );
            return Err(corrupt(segment, 0, &what));
        }
        let mut window = Window::new(segment);
        let mut at = HEADER_LEN;
        while at < end {
            let header = match window.record(at)? {
                RecordAt::Record(header) => header,
                RecordAt::None => return Err(corrupt(segment, at, "no record where one must be")),
                RecordAt::Unknown(kind, flags) => return Err(unknown(segment, at, kind, flags)),
            };
            self.record(&mut window, at, &header)?;
            at += header.total_len();
        }
        if at != end {
            return Err(corrupt(segment, end, "the segment ends within a record"));
        }
        self.report.journal_bytes += end;
        Ok(())
    }

    fn record(
        &mut self,
        window: &mut Window<'_>,
        at: u64,
        header: &RecordHeader,
    ) -> Result<(), Error> {
        let segment = window.segment;
        match header.kind {
            Kind::Chunk => self.report.large_bytes += u64::from(header.len),
            Kind::Mark => {}
            Kind::Schema | Kind::Transaction => {
                let Some(payload) = window.payload(at, header)? else {
                    return Err(corrupt(segment, at, "the record's checksum is wrong"));
                };
                if header.kind == Kind::Schema {
                    let text = String::from_utf8(payload.to_vec());
                    let text = text.map_err(|_| corrupt(segment, at, "the schema is not text"))?;
                    self.schema = Some(text);
                } else {
                    if header.sequence != self.state.sequence + 1 {
                        let what = format!(
                            "transaction {} follows transaction {}",
                            header.sequence, self.state.sequence
                        );
                        return Err(corrupt(segment, at, &what));
                    }
                    self.state.apply(payload).map_err(|what| corrupt(segment, at, what))?;
                    self.state.sequence = header.sequence;
                    self.report.transactions += 1;
                }
            }
        }
        Ok(())
    }
}

/// The end of the last segment.
struct Tail {
    /// Where the records end.
    end: u64,
    /// Up to where some record says that the disk has everything.
    vouched: u64,
    /// Behind the last byte after `end` that is not zero, or `end`.
    dirty_end: u64,
}

fn find_end(segment: &Segment, report: &mut Opened) -> Result<Tail, Error> {
    let mut window = Window::new(segment);
    let (mut at, mut vouched, mut clean) = (HEADER_LEN, HEADER_LEN, false);
    let mut chunks = Vec::new();
    let broken = loop {
        let header = match window.record(at)? {
            RecordAt::Record(header) => header,
            RecordAt::Unknown(kind, flags) => return Err(unknown(segment, at, kind, flags)),
            RecordAt::None => break "no record where one must be",
        };
        if at + header.total_len() > segment.len {
            break "the record is longer than the file";
        }
        match header.kind {
            Kind::Chunk => chunks.push((at, header)),
            Kind::Mark => {}
            Kind::Transaction | Kind::Schema => {
                if window.payload(at, &header)?.is_none() {
                    break "the record's checksum is wrong";
                }
            }
        }
        clean = header.kind == Kind::Mark;
        vouched = vouched.max(header.synced);
        at += header.total_len();
    };
    let (dirty_end, vouched_behind) = look_behind(&mut window, at)?;
    if vouched_behind > at {
        return Err(corrupt(segment, at, broken));
    }
    let mut end = at;
    for (at, header) in chunks.into_iter().filter(|(at, _)| *at >= vouched) {
        if window.payload(at, &header)?.is_none() {
            if vouched_behind > at {
                return Err(corrupt(segment, at, "a large value's checksum is wrong"));
            }
            end = at;
            break;
        }
    }
    report.clean = clean && dirty_end <= end;
    let dirty_end = if end < at { dirty_end.max(at) } else { dirty_end.max(end) };
    Ok(Tail { end, vouched: vouched.min(end), dirty_end })
}

/// Looks through what follows the last record: where the last byte that is not zero ends, and the
/// most that a whole record there says was on disk before it.
fn look_behind(window: &mut Window<'_>, from: u64) -> Result<(u64, u64), Error> {
    let (mut dirty_end, mut vouched) = (from, 0);
    let mut at = from;
    loop {
        let SegmentHeader { database, number, .. } = window.segment.header;
        // Read in steps, each long enough for a header that starts in it.
        let step = READ_BYTES_MAX / 2;
        let bytes = window.bytes(at, step + RECORD_HEADER_LEN)?;
        if bytes.is_empty() {
            return Ok((dirty_end, vouched));
        }
        let step = bytes.len().min(step);
        let stepped = bytes.get(..step).unwrap_or_default();
        if let Some(last) = stepped.iter().rposition(|byte| *byte != 0) {
            dirty_end = at + last as u64 + 1;
            for skip in (0..step).step_by(8) {
                let place = Place { segment: number, offset: at + skip as u64 };
                let here = bytes.get(skip..).unwrap_or_default();
                if let RecordAt::Record(header) = RecordHeader::read(&database, place, here) {
                    vouched = vouched.max(header.synced);
                }
            }
        }
        at += step as u64;
    }
}

/// Makes what was found durable, and what was cut gone.
fn settle(segment: &Segment, tail: &Tail) -> Result<(), Error> {
    let failed = |doing| move |error| Error::io(doing, &segment.name, error);
    let mut window = Window::new(segment);
    let mut at = tail.vouched;
    while at < tail.end {
        let step = usize::try_from(tail.end - at).unwrap_or(usize::MAX).min(READ_BYTES_MAX);
        let bytes = window.bytes(at, step)?;
        if bytes.is_empty() {
            return Err(corrupt(segment, at, "the file became shorter while it was read"));
        }
        segment.file.write_at(at, bytes).map_err(failed("write"))?;
        at += bytes.len() as u64;
    }
    let zeros = vec![0; READ_BYTES_MIN];
    let mut at = tail.end;
    while at < tail.dirty_end {
        let step = usize::try_from(tail.dirty_end - at).unwrap_or(usize::MAX).min(zeros.len());
        let piece = zeros.get(..step).unwrap_or(&zeros);
        segment.file.write_at(at, piece).map_err(failed("write"))?;
        at += step as u64;
    }
    segment.file.sync().map_err(failed("sync"))
}

const _: () = assert!(ALIGN == 8, "look_behind steps by records' alignment");
