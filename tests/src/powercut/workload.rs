//! What is written while the power goes: tables, transactions, and what they must leave.
//!
//! A transaction is known by a seed and three numbers ([`Step`]): the life of the process that made
//! it, its thread, and its turn of that thread. Each leaves its number, counted from 1 without a
//! gap, in one row ([`Tip`]), so the rows found after a power cut must be exactly those of the
//! first so many transactions.
//! Invariants: nothing here depends on when anything happened; texts and bodies of different
//! transactions differ, so a row that is older than it should be is seen.
//! Not here: who writes (`writer`), who compares (`check`).

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

use gracedb::disk::JournalIo;
use gracedb::error::Error;
use gracedb::large::Large;
use gracedb::options::{Ahead, Options};
use gracedb::schema::Schema;
use gracedb::seal::Key;
use gracedb::table::{Counter, Table};
use gracedb::view::{Snapshot, View};
use gracedb::write::WriteTx;
use serde::{Deserialize, Serialize};

use super::Flaw;
use crate::seed::Seed;

/// A row with indexes of every kind, and a large value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 1, name = "letter")]
#[index(id = 1, name = LetterByTag, fields(tag))]
#[index(id = 2, name = LetterByNumber, fields(number), unique)]
#[index(id = 3, name = LetterInMailboxByTag, fields(mailbox, tag))]
pub struct Letter {
    #[key]
    mailbox: u8,
    #[key]
    uid: u16,
    tag: u8,
    number: u64,
    subject: String,
    body: Large,
}

/// A small row without an index, which is replaced without being read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 2, name = "trace")]
pub struct Trace {
    #[key]
    id: u16,
    text: String,
    sheet: Option<Large>,
}

/// Numbers that are added to.
#[derive(Counter)]
#[counter(id = 3, name = "sum")]
pub struct Sum {
    /// Which number.
    #[key]
    pub kind: u8,
}

/// The newest transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 4, name = "tip")]
pub struct Tip {
    #[key]
    id: u8,
    /// Its number, from 1 on.
    pub number: u64,
    /// Whether it was to survive a power cut.
    pub is_synced: bool,
}

/// The tables.
pub const SCHEMA: Schema = Schema::new(&[Letter::DEF, Trace::DEF, Sum::DEF, Tip::DEF]);

const MAILBOXES: u64 = 4;
const UIDS: u64 = 48;
const TRACES: u64 = 400;
const SUMS: u8 = 4;
/// Most letters that one transaction puts.
const LETTERS_MAX: u64 = 8;
/// No body is longer, in bytes.
const BODY_BYTES_MAX: u64 = 100_000;

/// The settings of a seed: small ones, so that all background work happens all the time.
#[must_use]
pub fn options(folder: &Path, seed: u64) -> Options {
    let mut chance = Seed::new(seed ^ 0x5E77_1465);
    let is_encrypted = chance.number().is_multiple_of(2);
    let is_direct = chance.number().is_multiple_of(2);
    let aheads = [Ahead::Zeros, Ahead::Zeros, Ahead::Reserve, Ahead::Reserve, Ahead::Auto];
    let ahead = aheads.get(below(&mut chance, 6)).copied().unwrap_or(Ahead::Nothing);
    Options {
        key: is_encrypted.then(|| Key::from_bytes([7; 32])),
        segment_bytes: (64 << 10) << chance.between(0, 2),
        journal_io: if is_direct { JournalIo::Direct } else { JournalIo::Buffered },
        ahead,
        ahead_bytes: (16 << 10) << chance.between(0, 3),
        chunk_bytes: (2 << 10) << chance.between(0, 4),
        inline_bytes_max: 128,
        queue_bytes_max: 128 << 10,
        buffered_sync_ms: chance.between(5, 50),
        mem_bytes: (4 << 10) << chance.between(0, 4),
        unflushed_bytes: (64 << 10) << chance.between(0, 4),
        block_bytes: 512 << chance.between(0, 3),
        cache_bytes: 256 << 10,
        open_files_max: 16,
        fresh_runs: 2,
        level_bytes: 16 << 10,
        level_factor: 2,
        run_bytes: 8 << 10,
        clean_below_percent: chance.between(50, 80),
        retention_s: u64::from(chance.number().is_multiple_of(4)),
        ..Options::new(folder)
    }
}

fn below(chance: &mut Seed, below: u64) -> usize {
    usize::try_from(chance.number() % below).unwrap_or(0)
}

/// Which transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Process that made it, counted over one database.
    pub life: u64,
    /// Thread of that process.
    pub thread: u64,
    /// Turn of that thread.
    pub turn: u64,
}

/// A text or body: its seed and length.
type Content = (u64, usize);

fn bytes((seed, len): Content) -> Vec<u8> {
    Seed::new(seed).bytes(len)
}

fn text((seed, len): Content) -> String {
    Seed::new(seed).bytes(len).into_iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

/// One change of a transaction.
#[derive(Debug, Clone)]
enum Change {
    /// Letters that share one body.
    PutLetters {
        keys: Vec<(u8, u16)>,
        tag: u8,
        subject: Content,
        body: Content,
    },
    DeleteLetter((u8, u16)),
    DeleteLetters((u8, u16)),
    DeleteMailbox(u8),
    PutTraces {
        ids: Vec<u16>,
        text: Content,
        sheet: Option<Content>,
    },
    DeleteTraces(u16),
    Add(u8, i64),
}

/// A range delete takes so many keys.
const RANGE: u16 = 12;

/// What a transaction does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Whether it is to survive a power cut when it is acknowledged.
    pub is_synced: bool,
    changes: Vec<Change>,
}

impl Plan {
    /// The plan of a step.
    #[must_use]
    pub fn of(seed: u64, step: Step) -> Self {
        let mut chance = Seed::new(seed);
        for number in [step.life, step.thread, step.turn] {
            chance = Seed::new(chance.number() ^ number);
        }
        let is_synced = !chance.number().is_multiple_of(5);
        let count = 1 + below(&mut chance, 3);
        let changes = (0..count).map(|_| Change::draw(&mut chance)).collect();
        Self { is_synced, changes }
    }

    /// The large values that its rows point to, in the order in which [`Plan::make`] takes them.
    #[must_use]
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        let body = |change: &Change| match change {
            Change::PutLetters { body, .. } => Some(bytes(*body)),
            Change::PutTraces { sheet, .. } => sheet.map(bytes),
            _ => None,
        };
        self.changes.iter().filter_map(body).collect()
    }

    /// Makes the changes as transaction `number`.
    ///
    /// # Errors
    /// What the database says.
    pub fn make(&self, tx: &mut WriteTx<'_>, number: u64, bodies: Vec<Large>) -> Result<(), Error> {
        let mut bodies = bodies.into_iter();
        for (at, change) in (0..).zip(&self.changes) {
            change.make(tx, unique(number, at), &mut bodies)?;
        }
        tx.put(&Tip { id: 0, number, is_synced: self.is_synced })
    }
}

/// The number of a change's first letter; no letter ever has the same.
fn unique(number: u64, change: u64) -> u64 {
    (number * LETTERS_MAX + change) * LETTERS_MAX
}

/// The newest transaction's row.
///
/// # Errors
/// What the database says.
pub fn tip(view: &impl View) -> Result<Option<Tip>, Error> {
    view.get::<Tip>(&0)
}

impl Change {
    fn draw(chance: &mut Seed) -> Self {
        let small = |chance: &mut Seed, most: u64| u8::try_from(chance.between(0, most));
        let mailbox = small(chance, MAILBOXES - 1).unwrap_or(0);
        let wide = |chance: &mut Seed, below: u64| u16::try_from(chance.number() % below);
        let key = (mailbox, wide(chance, UIDS).unwrap_or(0));
        match below(chance, 20) {
            0..=6 => {
                let count = chance.between(1, 3).min(LETTERS_MAX);
                let keys = (0..count).map(|_| (mailbox, wide(chance, UIDS).unwrap_or(0)));
                let keys = keys.collect();
                let tag = small(chance, 5).unwrap_or(0);
                // Some subjects are so long that they stand apart from their row.
                let subject = content(chance, 200);
                Self::PutLetters { keys, tag, subject, body: body(chance) }
            }
            7 => Self::DeleteLetter(key),
            8 => Self::DeleteLetters(key),
            9 => Self::DeleteMailbox(mailbox),
            10..=15 => {
                let from = wide(chance, TRACES).unwrap_or(0);
                let ids = (from..).take(1 + below(chance, 12)).collect();
                let sheet = chance.number().is_multiple_of(6).then(|| body(chance));
                Self::PutTraces { ids, text: content(chance, 160), sheet }
            }
            16 => Self::DeleteTraces(wide(chance, TRACES).unwrap_or(0)),
            _ => {
                let kind = small(chance, u64::from(SUMS) - 1).unwrap_or(0);
                Self::Add(kind, i64::from(small(chance, 9).unwrap_or(0)) - 3)
            }
        }
    }

    fn make(
        &self,
        tx: &mut WriteTx<'_>,
        first: u64,
        bodies: &mut impl Iterator<Item = Large>,
    ) -> Result<(), Error> {
        match self {
            Self::PutLetters { keys, tag, subject, .. } => {
                let body = bodies.next().unwrap_or_default();
                for (number, (mailbox, uid)) in (first..).zip(keys) {
                    let (mailbox, uid, tag, subject) = (*mailbox, *uid, *tag, text(*subject));
                    tx.put(&Letter { mailbox, uid, tag, number, subject, body: body.clone() })?;
                }
                Ok(())
            }
            Self::DeleteLetter(key) => tx.delete::<Letter>(key).map(drop),
            Self::DeleteLetters((mailbox, uid)) => {
                tx.delete_range::<Letter>((*mailbox, *uid)..(*mailbox, *uid + RANGE))
            }
            Self::DeleteMailbox(mailbox) => tx.delete_prefix::<Letter, _>(&(*mailbox,)),
            Self::PutTraces { ids, text: content, sheet } => {
                let sheet = sheet.and_then(|_| bodies.next());
                let row = |id: &u16| Trace { id: *id, text: text(*content), sheet: sheet.clone() };
                ids.iter().try_for_each(|id| tx.put(&row(id)))
            }
            Self::DeleteTraces(id) => tx.delete_range::<Trace>(*id..*id + RANGE),
            Self::Add(kind, more) => tx.add::<Sum>(kind, *more).map(drop),
        }
    }
}

fn content(chance: &mut Seed, len_max: u64) -> Content {
    (chance.number(), below(chance, len_max))
}

/// A body: often short, sometimes of many chunks.
fn body(chance: &mut Seed) -> Content {
    let len_max = [600, 600, 12_000, 12_000, BODY_BYTES_MAX].get(below(chance, 5)).copied();
    content(chance, len_max.unwrap_or(BODY_BYTES_MAX))
}

/// What a letter must be: tag, number, subject, body.
type LetterModel = (u8, u64, Content, Content);

/// What the tables must hold.
#[derive(Debug, Clone, Default)]
pub struct Model {
    letters: BTreeMap<(u8, u16), LetterModel>,
    traces: BTreeMap<u16, (Content, Option<Content>)>,
    sums: BTreeMap<u8, i64>,
}

impl Model {
    /// What these transactions leave, the first of which has number 1.
    #[must_use]
    pub fn after(seed: u64, steps: &[Step]) -> Self {
        let mut model = Self::default();
        for (number, step) in (1..).zip(steps) {
            for (at, change) in (0..).zip(&Plan::of(seed, *step).changes) {
                model.apply(change, unique(number, at));
            }
        }
        model
    }

    fn apply(&mut self, change: &Change, first: u64) {
        match change {
            Change::PutLetters { keys, tag, subject, body } => {
                for (number, key) in (first..).zip(keys) {
                    self.letters.insert(*key, (*tag, number, *subject, *body));
                }
            }
            Change::DeleteLetter(key) => drop(self.letters.remove(key)),
            Change::DeleteLetters((mailbox, uid)) => {
                let range = (*mailbox, *uid)..(*mailbox, *uid + RANGE);
                self.letters.retain(|key, _| !range.contains(key));
            }
            Change::DeleteMailbox(mailbox) => self.letters.retain(|key, _| key.0 != *mailbox),
            Change::PutTraces { ids, text, sheet } => {
                self.traces.extend(ids.iter().map(|id| (*id, (*text, *sheet))));
            }
            Change::DeleteTraces(id) => {
                self.traces.retain(|key, _| !(*id..*id + RANGE).contains(key));
            }
            Change::Add(kind, more) => *self.sums.entry(*kind).or_default() += more,
        }
    }
}

/// What is wrong, and in words.
pub type Finding = (Flaw, String);

/// A large value as it was read, or why it could not be.
type Read = Result<Vec<u8>, String>;

fn read(snapshot: &Snapshot, large: &Large) -> Read {
    let bytes_max = usize::try_from(BODY_BYTES_MAX).unwrap_or(usize::MAX);
    snapshot.open_large(large).read_all(bytes_max).map_err(|error| error.to_string())
}

/// Compares every row, large value and index with the model.
#[must_use]
pub fn compare(snapshot: &Snapshot, model: &Model) -> Vec<Finding> {
    let mut findings = Vec::new();
    match snapshot.scan::<Letter>().collect::<Result<Vec<_>, _>>() {
        Ok(letters) => {
            let found = letters.iter().map(|row| {
                let body = read(snapshot, &row.body);
                ((row.mailbox, row.uid), (row.tag, row.number, row.subject.clone(), body))
            });
            let wanted = model.letters.iter().map(|(key, (tag, number, subject, body))| {
                (*key, (*tag, *number, text(*subject), Read::Ok(bytes(*body))))
            });
            differences("letter", found.collect(), wanted.collect(), &mut findings);
            compare_indexes(snapshot, &letters, &mut findings);
        }
        Err(error) => findings.push((Flaw::Wrong, format!("reading letters: {error}"))),
    }
    match snapshot.scan::<Trace>().collect::<Result<Vec<_>, _>>() {
        Ok(traces) => {
            let found = traces.iter().map(|row| {
                let sheet = row.sheet.as_ref().map(|sheet| read(snapshot, sheet));
                (row.id, (row.text.clone(), sheet))
            });
            let wanted = model.traces.iter().map(|(id, (words, sheet))| {
                (*id, (text(*words), sheet.map(|sheet| Read::Ok(bytes(sheet)))))
            });
            differences("trace", found.collect(), wanted.collect(), &mut findings);
        }
        Err(error) => findings.push((Flaw::Wrong, format!("reading traces: {error}"))),
    }
    for kind in 0..SUMS {
        let wanted = model.sums.get(&kind).copied().unwrap_or(0);
        match snapshot.count::<Sum>(&kind) {
            Ok(found) if found == wanted => {}
            found => findings.push((Flaw::Wrong, format!("sum {kind}: {found:?} for {wanted}"))),
        }
    }
    findings
}

/// Rows that should not be there, or should, are part of a transaction; others have wrong values.
fn differences<K: Ord + Debug, V: PartialEq>(
    table: &str,
    found: BTreeMap<K, V>,
    mut wanted: BTreeMap<K, V>,
    findings: &mut Vec<Finding>,
) {
    for (key, value) in found {
        match wanted.remove(&key) {
            None => findings.push((Flaw::Half, format!("{table} {key:?} should not be there"))),
            Some(wanted) if wanted != value => {
                findings.push((Flaw::Wrong, format!("{table} {key:?} has another value")));
            }
            Some(_) => {}
        }
    }
    for key in wanted.into_keys() {
        findings.push((Flaw::Half, format!("{table} {key:?} is missing")));
    }
}

fn compare_indexes(snapshot: &Snapshot, letters: &[Letter], findings: &mut Vec<Finding>) {
    let mut compare = |index: &str, found: Result<Vec<Letter>, Error>, mut wanted: Vec<Letter>| {
        let key = |row: &Letter| (row.mailbox, row.uid);
        let mut found = match found {
            Ok(found) => found,
            Err(error) => return findings.push((Flaw::Wrong, format!("index {index}: {error}"))),
        };
        found.sort_by_key(key);
        wanted.sort_by_key(key);
        if found != wanted {
            findings.push((Flaw::Wrong, format!("index {index} does not fit its rows")));
        }
    };
    let by_tag = snapshot.by_index_range::<LetterByTag>(..).collect();
    compare("by tag", by_tag, letters.to_vec());
    let by_number = snapshot.by_index_range::<LetterByNumber>(..).rev().collect();
    compare("by number", by_number, letters.to_vec());
    let boxes = (0..MAILBOXES).filter_map(|mailbox| u8::try_from(mailbox).ok());
    let in_mailboxes = boxes
        .flat_map(|mailbox| snapshot.by_index_prefix::<LetterInMailboxByTag>(&(mailbox,)))
        .collect();
    compare("in mailbox by tag", in_mailboxes, letters.to_vec());
}

#[cfg(test)]
mod tests {
    use gracedb::db::Db;
    use gracedb::pending::block_on;

    use super::*;

    const SEED: u64 = 11;

    fn step(turn: u64) -> Step {
        Step { life: 1, thread: 0, turn }
    }

    fn large(db: &Db, bytes: &[u8]) -> Large {
        block_on(async {
            let mut writer = db.large_writer();
            writer.write(bytes).await.unwrap();
            writer.finish().await.unwrap()
        })
    }

    /// A database with so many transactions.
    fn database(folder: &Path, count: u64) -> Db {
        let db = Db::open(options(folder, SEED), SCHEMA).unwrap();
        for number in 1..=count {
            let plan = Plan::of(SEED, step(number));
            let bodies = plan.bodies().iter().map(|body| large(&db, body)).collect();
            let pending = db.write(|tx| plan.make(tx, number, bodies)).unwrap();
            pending.wait().unwrap();
        }
        db
    }

    #[test]
    fn the_model_says_what_the_database_holds() {
        let folder = tempfile::tempdir().unwrap();
        let db = database(&folder.path().join("db"), 300);
        let steps: Vec<Step> = (1..=300).map(step).collect();
        assert_eq!(tip(&db.snapshot()).unwrap().unwrap().number, 300);
        assert_eq!(compare(&db.snapshot(), &Model::after(SEED, &steps)), []);
        // One transaction less is another state, and so is one more.
        for count in [299, 298] {
            assert_ne!(compare(&db.snapshot(), &Model::after(SEED, &steps[..count])), []);
        }
        assert!(db.verify(&mut |_| true).unwrap().is_sound());
    }

    #[test]
    fn half_a_transaction_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let db = database(&folder.path().join("db"), 60);
        let steps: Vec<Step> = (1..=60).map(step).collect();
        let model = Model::after(SEED, &steps);
        let trace = db.snapshot().scan::<Trace>().next().unwrap().unwrap();
        db.write(|tx| tx.delete::<Trace>(&trace.id)).unwrap().wait().unwrap();
        assert!(matches!(compare(&db.snapshot(), &model).as_slice(), [(Flaw::Half, _)]));
        let torn = Trace { text: "torn".to_owned(), sheet: None, ..trace };
        db.write(|tx| tx.put(&torn)).unwrap().wait().unwrap();
        assert!(matches!(compare(&db.snapshot(), &model).as_slice(), [(Flaw::Wrong, _)]));
    }
}
