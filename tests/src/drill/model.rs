//! What the drills do to a database, and what it must then hold.
//!
//! Transactions of puts, copies, changes, deletes and ranges over three tables, with bodies of
//! their own and shared ones, next to a model of plain maps. The database's own transactions,
//! between ours, change no row.
//! Invariants: the model after each transaction of a life is kept under its number, so that
//! whatever a crash leaves can be compared.
//! Not here: when and how the disk fails (`drill`).

use std::collections::BTreeMap;

use gracedb::db::Db;
use gracedb::engine::Durability;
use gracedb::error::Error;
use gracedb::large::Large;
use gracedb::pending::{Pending, block_on};
use gracedb::schema::Schema;
use gracedb::table::{Counter, Table};
use gracedb::view::{Snapshot, View};
use gracedb::write::WriteTx;
use serde::{Deserialize, Serialize};

use crate::seed::Seed;

/// A row with indexes of every kind, and a body.
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

/// A row without an index, which is replaced and deleted without being read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(id = 2, name = "note")]
pub struct Note {
    #[key]
    id: u16,
    text: String,
    sheet: Option<Large>,
}

/// Numbers that are added to.
#[derive(Counter)]
#[counter(id = 3, name = "tally")]
pub struct Tally {
    /// What is counted.
    #[key]
    pub kind: u8,
}

/// The tables.
pub const SCHEMA: Schema = Schema::new(&[Letter::DEF, Note::DEF, Tally::DEF]);

/// A text or body: its seed and length.
type Content = (u64, usize);

/// What a letter must be.
type LetterModel = (u8, u64, Content, Content);

/// What the tables must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    letters: BTreeMap<(u8, u16), LetterModel>,
    notes: BTreeMap<u16, (Content, Option<Content>)>,
    tallies: BTreeMap<u8, i64>,
}

fn bytes((seed, len): Content) -> Vec<u8> {
    Seed::new(seed).bytes(len)
}

fn text((seed, len): Content) -> String {
    Seed::new(seed).bytes(len).into_iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

/// Why a transaction ended.
enum End {
    /// Nothing of it is to be kept.
    Changed,
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// One life of a database, and what it must hold.
pub struct Life {
    /// The database.
    pub db: Db,
    chance: Seed,
    /// The model after each transaction, by number; the first is the one opened with.
    models: BTreeMap<u64, Model>,
    /// The newest transaction that was acknowledged, and the newest that also was on disk.
    acknowledged: (u64, u64),
    next_number: u64,
}

/// A transaction on its way.
pub struct Waiting {
    pending: Pending<u64>,
    is_synced: bool,
}

impl Life {
    /// A life that begins with these rows.
    #[must_use]
    pub fn new(db: Db, seed: u64, model: Model) -> Self {
        let base = db.snapshot().sequence();
        let next_number = model.letters.values().map(|letter| letter.1 + 1).max().unwrap_or(0);
        let (models, acknowledged) = (BTreeMap::from([(base, model)]), (base, base));
        Self { db, chance: Seed::new(seed), models, acknowledged, next_number }
    }

    fn below(&mut self, below: u64) -> u64 {
        self.chance.number() % below
    }

    fn small(&mut self, below: u8) -> u8 {
        u8::try_from(self.below(u64::from(below))).unwrap_or(0)
    }

    /// A number that decides something about the drill, by the same chance.
    pub fn decide(&mut self, below: u64) -> u64 {
        self.below(below)
    }

    /// What the newest transaction made of the rows.
    #[must_use]
    pub fn newest(&self) -> &Model {
        self.models.values().next_back().expect("there is always the first")
    }

    /// The rows as of a transaction.
    #[must_use]
    pub fn model(&self, sequence: u64) -> Option<&Model> {
        self.models.range(..=sequence).next_back().map(|(_, model)| model)
    }

    /// The least that must be there after the process died, and after the power went.
    #[must_use]
    pub fn kept(&self) -> (u64, u64) {
        self.acknowledged
    }

    /// Takes back what was not acknowledged: the database said that it is not there.
    pub fn forget_lost(&mut self) {
        let kept = self.acknowledged.0;
        self.models.retain(|sequence, _| *sequence <= kept);
    }

    /// Waits for a transaction.
    ///
    /// # Errors
    /// What the database says.
    pub fn settle(&mut self, waiting: Waiting) -> Result<(), Error> {
        let sequence = waiting.pending.wait()?;
        self.acknowledged.0 = self.acknowledged.0.max(sequence);
        if waiting.is_synced {
            self.acknowledged.1 = self.acknowledged.1.max(sequence);
        }
        Ok(())
    }

    fn content(&mut self, len_max: u64) -> Content {
        let seed = self.below(1_000);
        (seed, usize::try_from(self.below(len_max)).unwrap_or(0))
    }

    fn large(&mut self, content: Content) -> Result<Large, Error> {
        let bytes = bytes(content);
        block_on(async {
            let mut writer = self.db.large_writer();
            writer.write(&bytes).await?;
            writer.finish().await
        })
    }

    /// Begins a large value that nothing will point to, as who hangs up does.
    ///
    /// # Errors
    /// What the database says.
    pub fn orphan(&mut self) -> Result<(), Error> {
        let mut orphan = self.db.large_writer();
        block_on(orphan.write(&bytes((1, 1_000))))
    }

    /// Runs one transaction of some changes. `None`: it was given up by its closure.
    ///
    /// # Errors
    /// What the database says.
    pub fn transaction(&mut self) -> Result<Option<Waiting>, Error> {
        let mut model = self.newest().clone();
        let mut changes = Vec::new();
        for _ in 0..=self.below(3) {
            let change = self.change(&mut model)?;
            changes.push(change);
        }
        let is_synced = self.below(6) != 0;
        let gives_up = self.below(12) == 0;
        let durability = if is_synced { Durability::Synced } else { Durability::Buffered };
        let mut number = 0;
        let pending = self.db.write_with(durability, |tx| {
            number = tx.sequence();
            for change in &changes {
                if change.make(tx)? {
                    number = tx.sequence() + 1;
                }
            }
            compare_counts(tx, &model);
            if gives_up { Err(End::Changed) } else { Ok(number) }
        });
        match pending {
            Ok(pending) => {
                self.models.insert(number, model);
                Ok(Some(Waiting { pending, is_synced }))
            }
            Err(End::Changed) => Ok(None),
            Err(End::Failed(error)) => Err(error),
        }
    }

    fn key(&mut self) -> (u8, u16) {
        (self.small(3), u16::from(self.small(20)))
    }

    fn change(&mut self, model: &mut Model) -> Result<Change, Error> {
        Ok(match self.below(20) {
            0..=6 => self.put_letters(model)?,
            7..=9 => self.copy_letter(model),
            10 => {
                let key = self.key();
                model.letters.remove(&key);
                Change::DeleteLetter(key)
            }
            11 => {
                let mailbox = self.small(3);
                model.letters.retain(|key, _| key.0 != mailbox);
                Change::DeleteMailbox(mailbox)
            }
            12 => {
                let (mailbox, from) = self.key();
                model.letters.retain(|key, _| key.0 != mailbox || key.1 < from || key.1 > from + 4);
                Change::DeleteLetters(mailbox, from)
            }
            13..=15 => {
                let (id, words) = (u16::from(self.small(24)), self.content(260));
                let sheet = if self.below(3) == 0 { Some(self.content(1_500)) } else { None };
                model.notes.insert(id, (words, sheet));
                let large = sheet.map(|sheet| self.large(sheet)).transpose()?;
                Change::PutNote(Note { id, text: text(words), sheet: large })
            }
            16 => {
                let from = u16::from(self.small(24));
                model.notes.retain(|id, _| *id < from || *id > from + 5);
                Change::DeleteNotes(from)
            }
            17 => {
                let id = u16::from(self.small(24));
                model.notes.remove(&id);
                Change::DeleteNote(id)
            }
            _ => {
                let (kind, more) = (self.small(4), i64::from(self.small(9)) - 3);
                *model.tallies.entry(kind).or_default() += more;
                Change::Add(kind, more)
            }
        })
    }

    fn put_letters(&mut self, model: &mut Model) -> Result<Change, Error> {
        let body = self.content(2_500);
        let large = self.large(body)?;
        let mut letters = Vec::new();
        // One body, several letters.
        for _ in 0..=self.below(2) {
            let ((mailbox, uid), tag) = (self.key(), self.small(4));
            // Some subjects are so long that they stand apart from their row.
            let subject = self.content(200);
            let number = self.next_number;
            self.next_number += 1;
            model.letters.insert((mailbox, uid), (tag, number, subject, body));
            let (subject, body) = (text(subject), large.clone());
            letters.push(Letter { mailbox, uid, tag, number, subject, body });
        }
        Ok(Change::PutLetters(letters))
    }

    /// The same body under another key, or another tag under the same key.
    fn copy_letter(&mut self, model: &mut Model) -> Change {
        let (from, to, tag) = (self.key(), self.key(), self.small(4));
        let to = if self.below(2) == 0 { from } else { to };
        let number = self.next_number;
        self.next_number += 1;
        if let Some(letter) = model.letters.get(&from).copied() {
            model.letters.insert(to, (tag, number, letter.2, letter.3));
        }
        Change::CopyLetter { from, to, tag, number }
    }
}

enum Change {
    PutLetters(Vec<Letter>),
    CopyLetter { from: (u8, u16), to: (u8, u16), tag: u8, number: u64 },
    DeleteLetter((u8, u16)),
    DeleteMailbox(u8),
    DeleteLetters(u8, u16),
    PutNote(Note),
    DeleteNote(u16),
    DeleteNotes(u16),
    Add(u8, i64),
}

impl Change {
    /// Says whether it changed anything: a transaction that does not has no number.
    fn make(&self, tx: &mut WriteTx<'_>) -> Result<bool, Error> {
        match self {
            Self::PutLetters(letters) => letters.iter().try_for_each(|letter| tx.put(letter))?,
            Self::CopyLetter { from, to, tag, number } => match tx.get::<Letter>(from)? {
                Some(letter) => {
                    let ((mailbox, uid), tag, number) = (*to, *tag, *number);
                    tx.put(&Letter { mailbox, uid, tag, number, ..letter })?;
                }
                None => return Ok(false),
            },
            Self::DeleteLetter(key) => return tx.delete::<Letter>(key),
            Self::DeleteMailbox(mailbox) => tx.delete_prefix::<Letter, _>(&(*mailbox,))?,
            Self::DeleteLetters(mailbox, from) => {
                tx.delete_range::<Letter>((*mailbox, *from)..=(*mailbox, *from + 4))?;
            }
            Self::PutNote(note) => tx.put(note)?,
            Self::DeleteNote(id) => return tx.delete::<Note>(id),
            Self::DeleteNotes(from) => tx.delete_range::<Note>(*from..=*from + 5)?,
            Self::Add(kind, more) => drop(tx.add::<Tally>(kind, *more)?),
        }
        Ok(true)
    }
}

/// A quick look from within a transaction. A read that fails is no difference.
fn compare_counts(tx: &WriteTx<'_>, model: &Model) {
    let letters: Result<Vec<Letter>, Error> = tx.scan::<Letter>().rev().collect();
    if let Ok(letters) = letters {
        assert_eq!(letters.len(), model.letters.len(), "letters within a transaction");
    }
}

/// Compares every row, body and index with the model.
///
/// # Errors
/// A read failed. A difference is a panic.
pub fn compare(snapshot: &Snapshot, model: &Model) -> Result<(), Error> {
    let letters: Vec<Letter> = snapshot.scan::<Letter>().collect::<Result<_, _>>()?;
    let found: Vec<_> = letters.iter().map(|letter| (letter.mailbox, letter.uid)).collect();
    assert!(
        found.iter().eq(model.letters.keys()),
        "letters {found:?}, expected {:?}",
        model.letters.keys()
    );
    for (letter, (tag, number, subject, body)) in letters.iter().zip(model.letters.values()) {
        let at = (letter.mailbox, letter.uid);
        assert_eq!((letter.tag, letter.number), (*tag, *number), "letter {at:?}");
        assert!(letter.subject == text(*subject), "the subject of {at:?}");
        let read = snapshot.open_large(&letter.body).read_all(10_000)?;
        assert!(read == bytes(*body), "the body of {at:?}");
    }
    let notes: Vec<Note> = snapshot.scan::<Note>().collect::<Result<_, _>>()?;
    let found: Vec<_> = notes.iter().map(|note| note.id).collect();
    assert!(found.iter().eq(model.notes.keys()), "notes {found:?}");
    for (note, (words, sheet)) in notes.iter().zip(model.notes.values()) {
        assert!(note.text == text(*words), "note {}", note.id);
        let read = match &note.sheet {
            Some(large) => Some(snapshot.open_large(large).read_all(10_000)?),
            None => None,
        };
        assert!(read == sheet.map(bytes), "the sheet of note {}", note.id);
    }
    for kind in 0..4 {
        let count = snapshot.count::<Tally>(&kind)?;
        assert_eq!(count, model.tallies.get(&kind).copied().unwrap_or(0), "tally {kind}");
    }
    compare_indexes(snapshot, &letters)
}

fn compare_indexes(snapshot: &Snapshot, letters: &[Letter]) -> Result<(), Error> {
    let mut by_tag: Vec<_> = letters.iter().map(|row| (row.tag, row.mailbox, row.uid)).collect();
    by_tag.sort_unstable();
    let found: Vec<Letter> =
        snapshot.by_index_range::<LetterByTag>(..).collect::<Result<_, _>>()?;
    assert!(found.iter().map(|row| (row.tag, row.mailbox, row.uid)).eq(by_tag), "index by tag");
    let mut numbers: Vec<_> = letters.iter().map(|row| row.number).collect();
    numbers.sort_unstable();
    let found: Vec<Letter> =
        snapshot.by_index_range::<LetterByNumber>(..).rev().collect::<Result<_, _>>()?;
    assert!(found.iter().rev().map(|row| row.number).eq(numbers), "index by number");
    for mailbox in 0..3 {
        let found: Vec<Letter> = snapshot
            .by_index_prefix::<LetterInMailboxByTag>(&(mailbox,))
            .collect::<Result<_, _>>()?;
        let count = letters.iter().filter(|letter| letter.mailbox == mailbox).count();
        assert_eq!(found.len(), count, "index of mailbox {mailbox}");
    }
    Ok(())
}
