//! Checking that everything is as it was written, and that what belongs together agrees.
//!
//! ```text
//!   journal segments   every record's checksum, and tag; one follows the other up to the end
//!   index segments     every block's checksum, and tag; keys in order; levels side by side
//!   rows               decode; have exactly their index entries; point to bytes that are there
//!   uses, live bytes   agree with the rows
//! ```
//! Invariants: nothing is changed; one problem does not hide the next; memory is bounded.
//! Not here: mending (`repair`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::closed::Closed;
use crate::copy::Moment;
use crate::db::Db;
use crate::engine::Reader;
use crate::error::Error;
use crate::files;
use crate::format::{FileKind, Kind, Place, RecordAt, segment_name};
use crate::frame::Frame;
use crate::index::cursor::RunCursor;
use crate::index::run::Run;
use crate::large::Part;
use crate::local::{View, live_bytes, read_part};
use crate::options::Options;
use crate::progress::{Count, Watcher};
use crate::row;
use crate::scan::{FIRST, Scan};
use crate::schema::Schema;
use crate::space;
use crate::transact::parts_of;
use crate::words::Words;

/// Problems told one by one; beyond that they are only counted.
const PROBLEMS_MAX: usize = 1_000;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, or the table.
    pub file: String,
    /// Where in the file, in bytes from its start.
    pub offset: Option<u64>,
    /// What.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "{} at byte {offset}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Number of the newest transaction.
    pub sequence: u64,
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Records of the journal.
    pub records: u64,
    /// Blocks of index segments.
    pub blocks: u64,
    /// Rows.
    pub rows: u64,
    /// Index entries.
    pub entries: u64,
    /// Parts of large values that rows point to.
    pub parts: u64,
    /// Uses left by rows that were replaced or deleted without being read; merging takes them back.
    pub stale_uses: u64,
    /// What is wrong, up to a thousand.
    pub problems: Vec<Problem>,
    /// How many problems there are in all.
    pub problems_count: u64,
    /// Those that were told: a broken block is met once for each row that is looked for in it.
    told: BTreeSet<Problem>,
}

impl Report {
    /// Whether all is well.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems_count == 0
    }

    fn note(&mut self, file: &str, offset: Option<u64>, what: impl Into<String>) {
        let problem = Problem { file: file.to_owned(), offset, what: what.into() };
        // The same problem twice is one, told in more words or in fewer. Beyond what is told,
        // nobody compares.
        let more = self.told.range(problem.clone()..).next();
        let is_same = |told: &Problem| {
            (&told.file, told.offset) == (&problem.file, problem.offset)
                && told.what.starts_with(&problem.what)
        };
        if more.is_some_and(is_same) {
            return;
        }
        self.problems_count += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.told.insert(problem.clone());
            self.problems.push(problem);
        }
    }

    /// Notes what an error says; errors that end the check come back.
    fn note_error(&mut self, error: Error) -> Result<(), Error> {
        match error {
            Error::Stopped => return Err(error),
            Error::Corrupt { file, offset, what } | Error::Unknown { file, offset, what } => {
                self.note(&file, Some(offset), what);
            }
            Error::Io { doing, file, source } => {
                self.note(&file, None, format!("{doing} failed: {source}"));
            }
            Error::Row { table, reason } => self.note(table, None, reason),
            error => self.note("(database)", None, error.to_string()),
        }
        Ok(())
    }
}

/// Checks an open database while it goes on.
pub(crate) fn open(db: &Db, watcher: &mut Watcher<'_>) -> Result<Report, Error> {
    let local = db.local()?;
    // What is on its way is part of what is checked.
    local.commits.settle()?;
    Check::new(local.frame(), db.schema()).run(watcher)
}

/// Checks a database that is not open, or a backup: its folder is only read.
pub fn closed(
    options: &Options,
    schema: Schema,
    mut watcher: Watcher<'_>,
) -> Result<Report, Error> {
    let closed = Closed::open(options)?;
    Check::new(closed.frame(Moment::Newest)?, schema).run(&mut watcher)
}

struct Check {
    files: Arc<files::Files>,
    schema: Schema,
    /// Keys in words.
    words: Words,
    view: View,
    /// Journal segments with their ends.
    segments: BTreeMap<u64, u64>,
    report: Report,
}

impl Check {
    fn new(frame: Frame, schema: Schema) -> Self {
        let report = Report { sequence: frame.view.state.sequence, ..Report::default() };
        let Frame { reading, manifest, view, segments, .. } = frame;
        let words = Words::new(manifest.schema.as_deref().unwrap_or_default());
        Self { files: Arc::clone(&reading.files), schema, words, view, segments, report }
    }

    fn run(mut self, watcher: &mut Watcher<'_>) -> Result<Report, Error> {
        let segments = std::mem::take(&mut self.segments);
        let runs: Vec<(usize, Arc<Run>)> = {
            let runs = self.view.state.base.version.runs();
            runs.map(|(level, run)| (level, Arc::clone(run))).collect()
        };
        let run_bytes: u64 = runs.iter().map(|(_, run)| run.info.len).sum();
        let total = segments.values().sum::<u64>() + 2 * run_bytes;
        let mut count = Count::new(watcher, total);
        count.begin("journal")?;
        for (number, end) in &segments {
            let checked = self.segment(*number, *end, &mut count);
            self.keep_going(checked)?;
        }
        count.begin("index")?;
        self.levels();
        for (_, run) in &runs {
            match self.run_file(run, &mut count) {
                Err(Error::Stopped) => return Err(Error::Stopped),
                Err(error) => self.blocks(run, error)?,
                Ok(()) => {}
            }
        }
        count.begin("rows")?;
        match self.rows(&mut count) {
            Err(Error::Stopped) => return Err(Error::Stopped),
            Err(error) => {
                self.report.note_error(error)?;
                let what = "rows behind what is broken were not compared with their index entries";
                self.report.note("(rows)", None, what);
            }
            Ok(()) => {}
        }
        let checked = self.uses();
        self.keep_going(checked)?;
        count.begin("done")?;
        Ok(self.report)
    }

    fn keep_going(&mut self, checked: Result<(), Error>) -> Result<(), Error> {
        checked.or_else(|error| self.report.note_error(error))
    }

    /// Goes through the records of a segment, whose end is known.
    fn segment(&mut self, number: u64, end: u64, count: &mut Count<'_, '_>) -> Result<(), Error> {
        self.report.files += 1;
        let name = segment_name(number);
        let file = self.files.disk.open(&name).map_err(|error| Error::io("open", &name, error))?;
        let header = files::read_header(file.as_ref(), FileKind::Journal, number)?;
        if header.database != self.files.database {
            let what = "it belongs to another database".to_owned();
            return Err(Error::Corrupt { file: name, offset: 16, what });
        }
        let mut scan = Scan::new(header, file, self.files.cipher(&header)?)?;
        let mut at = FIRST;
        while at < end {
            let header = match scan.record(at)? {
                RecordAt::Record(header) => header,
                RecordAt::None => return Err(scan.corrupt(at, "no record where one must be")),
                RecordAt::Unknown(kind, flags) => return Err(scan.unknown(at, kind, flags)),
            };
            let payload = scan.payload(at, &header)?;
            match payload {
                None => self.report.note(&name, Some(at), "the record's checksum is wrong"),
                Some(payload) if header.kind == Kind::Transaction => {
                    let mut operations = payload.as_slice();
                    let applied = row::take_varint(&mut operations)
                        .ok_or("a transaction without a time")
                        .and_then(|_| {
                            crate::state::apply(&mut crate::mem::Mem::default(), operations)
                        });
                    if let Err(what) = applied {
                        self.report.note(&name, Some(at), what);
                    }
                }
                Some(_) => {}
            }
            self.report.records += 1;
            let next = header.next_offset(at, scan.header.align);
            self.report.bytes += next - at;
            count.add(next - at)?;
            at = next;
        }
        if at != end {
            return Err(scan.corrupt(end, "the segment ends within a record"));
        }
        Ok(())
    }

    /// Runs of one level stand side by side.
    fn levels(&mut self) {
        let version = self.view.state.base.version.clone();
        for level in &version.levels {
            for pair in level.windows(2) {
                let [left, right] = pair else { continue };
                if left.info.end > right.info.first {
                    let name = FileKind::Index.name(right.info.number);
                    let what =
                        format!("it reaches into {}", FileKind::Index.name(left.info.number));
                    self.report.note(&name, None, what);
                }
            }
        }
    }

    fn run_file(&mut self, run: &Arc<Run>, count: &mut Count<'_, '_>) -> Result<(), Error> {
        self.report.files += 1;
        let info = run.info.clone();
        let name = FileKind::Index.name(info.number);
        let (mut entries, mut tombstones) = (0, 0);
        let mut cursor = RunCursor::past_cache(Arc::clone(run))?;
        cursor.seek(&[])?;
        let mut before: Option<Vec<u8>> = None;
        while cursor.is_valid() {
            let key = cursor.key();
            if before.as_deref().is_some_and(|before| before >= key) {
                self.report.note(&name, None, "keys out of order");
            }
            if !run.reaches(key) {
                self.report.note(&name, None, "a key outside of what the meta file says");
            }
            entries += 1;
            tombstones += u64::from(cursor.value().is_none());
            let bytes = (key.len() + cursor.value().map_or(0, <[u8]>::len)) as u64;
            count.add(bytes)?;
            before = Some(key.to_vec());
            cursor.next()?;
        }
        let head = run.head()?;
        let (blocks, ranges) = (head.blocks(), head.ranges.len() as u64);
        if (entries, tombstones, ranges) != (info.entries, info.tombstones, info.ranges) {
            self.report.note(&name, None, "it has not as many entries as the meta file says");
        }
        self.report.blocks += blocks as u64;
        self.report.bytes += info.len;
        Ok(())
    }

    /// Looks for every broken block of a run that could not be read to its end, and says what it
    /// hits.
    fn blocks(&mut self, run: &Arc<Run>, error: Error) -> Result<(), Error> {
        let head = match run.head() {
            Ok(head) => head,
            Err(error) => return self.report.note_error(error),
        };
        let mut found = false;
        for block in 0..head.blocks() {
            let read = head.place(block).map(|place| run.read_blocks(&[place]));
            let Some(Err(Error::Corrupt { file, offset, what })) = read else {
                self.report.blocks += u64::from(matches!(read, Some(Ok(_))));
                continue;
            };
            let low = head.separator(block).filter(|low| !low.is_empty());
            let low = low.map(|low| self.words.key(&low));
            let high = head.separator(block + 1).map(|high| self.words.key(&high));
            let low = low.unwrap_or_else(|| "the beginning".to_owned());
            let high = high.unwrap_or_else(|| "the end".to_owned());
            let what = format!("{what}; it holds what there is from {low} to {high}");
            self.report.note(&file, Some(offset), what);
            found = true;
        }
        if found { Ok(()) } else { self.report.note_error(error) }
    }

    /// Every row decodes and has its index entries and bytes; nothing else has.
    fn rows(&mut self, count: &mut Count<'_, '_>) -> Result<(), Error> {
        let view = View::new(self.view.state.clone(), Arc::clone(&self.view.files));
        let mut walk = view.scan(&[0, 1], None)?;
        let (mut expected, mut found) = (0u64, 0u64);
        while let Some((key, value)) = walk.next()? {
            count.add((key.len() + value.len()) as u64)?;
            let [high, low, space, ..] = *key else {
                self.report.note("(rows)", None, "a key without a table");
                continue;
            };
            let id = u16::from_be_bytes([high, low]);
            let Some(table) = self.schema.table(id) else {
                self.report.note(
                    "(rows)",
                    None,
                    format!("a key of table {id}, which is not there"),
                );
                continue;
            };
            match space {
                space::ROWS => {
                    self.report.rows += 1;
                    let checked = self.row(&view, table, key, value);
                    match checked {
                        Ok(entries) => expected += entries,
                        Err(error) => self.report.note_error(error)?,
                    }
                }
                space::COUNTER => {}
                space::STAGE => {
                    self.report.note(table.name, None, "a row that a migration has left");
                }
                _ => found += 1,
            }
        }
        self.report.entries = found;
        if expected != found {
            let what = format!("{found} index entries, but the rows have {expected}");
            self.report.note("(indexes)", None, what);
        }
        Ok(())
    }

    /// Checks one row; says how many index entries it has.
    fn row(
        &mut self,
        view: &View,
        table: &crate::schema::TableDef,
        key: &[u8],
        value: &[u8],
    ) -> Result<u64, Error> {
        if table.is_counter {
            row::decode_count(table.name, value)?;
            return Ok(0);
        }
        for part in parts_of(value)? {
            self.report.parts += 1;
            let use_key = space::use_key(part.segment, part.offset, key);
            if view.get(&use_key)?.is_none() {
                self.report.note(table.name, None, "a row points to bytes without a use of them");
            }
            let read = read_part(&self.files, &part, &mut vec![0; part.bytes()]);
            self.keep_going(read.map_err(|error| self.hits(error, key)))?;
        }
        let entries = (table.entries)(key, value, view)?;
        for (entry, expected) in &entries {
            if view.get(entry)?.as_deref() != Some(expected.as_slice()) {
                self.report.note(table.name, None, "a row without one of its index entries");
            }
        }
        Ok(entries.len() as u64)
    }

    /// Damage, with the row that it hits.
    fn hits(&self, error: Error, key: &[u8]) -> Error {
        match error {
            Error::Corrupt { file, offset, what } => {
                let what = format!("{what}; it is part of {}", self.words.key(key));
                Error::Corrupt { file, offset, what }
            }
            error => error,
        }
    }

    /// Uses and live bytes agree.
    fn uses(&mut self) -> Result<(), Error> {
        let mut live: BTreeMap<u64, u64> = live_bytes(&self.view)?.into_iter().collect();
        let prefix = space::head(0, 1);
        let end = space::prefix_end(&prefix);
        let mut walk = self.view.scan(&prefix, end.as_deref())?;
        let (mut at, mut sums) = (Place::default(), BTreeMap::<u64, u64>::new());
        let mut segments = BTreeSet::new();
        while let Some((key, value)) = walk.next()? {
            let parsed = space::parse_use(key).zip(row::take_varint(&mut &*value));
            let Some(((segment, offset, row), len)) = parsed else {
                self.report.note("(uses)", None, "a use that is malformed");
                continue;
            };
            let here = Place { segment, offset };
            if here != at {
                *sums.entry(segment).or_default() += len;
                at = here;
            }
            segments.insert(segment);
            let pointed = self.view.get(row)?.map_or(Ok(Vec::new()), |value| parts_of(&value))?;
            let points = |part: &Part| (part.segment, part.offset) == (segment, offset);
            if !pointed.iter().any(points) {
                self.report.stale_uses += 1;
            }
        }
        for (segment, sum) in sums {
            if live.remove(&segment) != Some(sum) {
                let what = "its live bytes are not those that rows point to";
                self.report.note(&segment_name(segment), None, what);
            }
        }
        for segment in live.keys() {
            let what = "it has live bytes that no row points to";
            self.report.note(&segment_name(*segment), None, what);
        }
        Ok(())
    }
}
