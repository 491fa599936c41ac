//! What tables a database has, and how two such lists differ.
//!
//! The schema is stored in the journal as text, one line per fact, so that a person can read it in
//! a hex dump. Invariants: table ids and index ids are unique (checked while compiling); the text
//! depends on the definitions alone. A new table may appear at any open; every other difference is
//! an error until a migration is written.
//! Not here: rows (`table`), where the text is stored (`format`).

use std::fmt::Write as _;

use crate::engine::Reader;
use crate::error::Error;
use crate::migrate::Migration;

/// A field of a table, by name and by the text of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldDef {
    /// Name in the Rust struct.
    pub name: &'static str,
    /// Type as written in the Rust struct.
    pub kind: &'static str,
}

/// A secondary index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexDef {
    /// Number within its table, 1 to 200. Part of the keys on disk.
    pub id: u8,
    /// Name, for messages.
    pub name: &'static str,
    /// Whether two rows may share a key.
    pub unique: bool,
    /// The fields it is made of, in order.
    pub fields: &'static [&'static str],
}

/// What one index says of a row: the full key of its entry and the entry's value.
pub type IndexEntry = (Vec<u8>, Vec<u8>);

/// Gives the index entries of a row, by its full key and its value.
pub type EntriesOf = fn(&[u8], &[u8], &dyn Reader) -> Result<Vec<IndexEntry>, Error>;

/// A table.
#[derive(Debug, Clone, Copy)]
pub struct TableDef {
    /// Number of the table, from 1. Part of the keys on disk.
    pub id: u16,
    /// Name, for messages.
    pub name: &'static str,
    /// Raised by hand when a type inside a field changes, which the field list cannot show.
    pub version: u32,
    /// Names of the key's fields, in order.
    pub key: &'static [&'static str],
    /// All fields, in order.
    pub fields: &'static [FieldDef],
    /// Secondary indexes.
    pub indexes: &'static [IndexDef],
    /// Whether it holds numbers that are added to, instead of rows.
    pub is_counter: bool,
    /// The index entries of a row, by its full key and its value: for who checks a database without
    /// knowing its types.
    pub entries: EntriesOf,
}

/// All tables of a database. Made in a constant, so that a clash of ids does not compile.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    tables: &'static [TableDef],
}

/// Index ids above this are the engine's.
pub const INDEX_ID_MAX: u8 = 200;

#[expect(
    clippy::indexing_slicing,
    reason = "const fn: bounded by the loops, checked while compiling"
)]
impl Schema {
    /// The schema of `tables`. Fails to compile when two tables or two indexes share an id.
    pub const fn new(tables: &'static [TableDef]) -> Self {
        let mut at = 0;
        while at < tables.len() {
            assert!(tables[at].id != 0, "table id 0 belongs to the engine");
            assert!(tables[at].id != u16::MAX, "the last table id has nothing after it");
            check_indexes(&tables[at]);
            let mut other = at + 1;
            while other < tables.len() {
                assert!(tables[at].id != tables[other].id, "two tables have the same id");
                other += 1;
            }
            at += 1;
        }
        Self { tables }
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "const fn: bounded by the loops, checked while compiling"
)]
const fn check_indexes(table: &TableDef) {
    let mut at = 0;
    while at < table.indexes.len() {
        let id = table.indexes[at].id;
        assert!(0 < id && id <= INDEX_ID_MAX, "an index id is not within 1 to 200");
        let mut other = at + 1;
        while other < table.indexes.len() {
            assert!(id != table.indexes[other].id, "two indexes of a table have the same id");
            other += 1;
        }
        at += 1;
    }
}

impl Schema {
    /// The tables.
    pub const fn tables(&self) -> &'static [TableDef] {
        self.tables
    }

    /// The table with this id.
    pub fn table(&self, id: u16) -> Option<&'static TableDef> {
        self.tables.iter().find(|table| table.id == id)
    }

    /// The text kept in the journal: tables by id, one line each for table, key, fields, indexes.
    pub fn text(&self) -> String {
        let mut tables: Vec<&TableDef> = self.tables.iter().collect();
        tables.sort_by_key(|table| table.id);
        let mut text = String::new();
        for table in tables {
            write_table(&mut text, table);
        }
        text
    }

    /// The migration that leads on from the text of the database, if one is needed.
    pub(crate) fn next_migration<'a>(
        &self,
        stored: &str,
        migrations: &'a [Migration],
    ) -> Option<&'a Migration> {
        let ours = self.text();
        let (stored_tables, our_tables) = (sections(stored), sections(&ours));
        let differs = |section: &(&str, Vec<&str>)| !our_tables.contains(section);
        let different: Vec<_> =
            stored_tables.into_iter().filter(|section| differs(section)).collect();
        migrations.iter().find(|migration| {
            let old = table_text(&migration.old);
            different.iter().any(|section| sections(&old).contains(section))
        })
    }

    /// The text of the database after a migration.
    pub(crate) fn migrated(stored: &str, migration: &Migration) -> String {
        let (old, new) = (table_text(&migration.old), migration.new.as_ref().map(table_text));
        let mut tables: Vec<String> = sections(stored)
            .into_iter()
            .map(|(head, lines)| {
                let lines = lines.iter().map(|line| format!("  {line}\n"));
                format!("{head}\n{}", lines.collect::<String>())
            })
            .filter(|section| *section != old)
            .collect();
        tables.extend(new);
        tables.sort_by_key(|section| id_of(section).and_then(|id| id.parse::<u16>().ok()));
        tables.concat()
    }

    /// Compares with the text of the database. `Ok(true)`: only new tables; store our text.
    pub(crate) fn check(&self, stored: &str) -> Result<bool, Error> {
        let ours = self.text();
        if ours == stored {
            return Ok(false);
        }
        let (stored_tables, our_tables) = (sections(stored), sections(&ours));
        let mut differences = Vec::new();
        for (head, lines) in &stored_tables {
            match our_tables.iter().find(|(our_head, _)| id_of(our_head) == id_of(head)) {
                None => {
                    differences.push(format!("the database has \"{head}\", the program does not"));
                }
                Some((our_head, our_lines)) => {
                    if our_head != head {
                        differences.push(format!("database: \"{head}\", program: \"{our_head}\""));
                    }
                    compare_lines(head, lines, our_lines, &mut differences);
                }
            }
        }
        if differences.is_empty() { Ok(true) } else { Err(Error::Schema { differences }) }
    }
}

pub(crate) fn table_text(table: &TableDef) -> String {
    let mut text = String::new();
    write_table(&mut text, table);
    text
}

fn write_table(text: &mut String, table: &TableDef) {
    // Writing to a String cannot fail.
    let kind = if table.is_counter { "counter" } else { "table" };
    let _ = writeln!(text, "{kind} {} {} version {}", table.id, table.name, table.version);
    let _ = writeln!(text, "  key {}", table.key.join(" "));
    for field in table.fields {
        let _ = writeln!(text, "  field {} {}", field.name, field.kind);
    }
    let mut indexes: Vec<&IndexDef> = table.indexes.iter().collect();
    indexes.sort_by_key(|index| index.id);
    for index in indexes {
        let unique = if index.unique { "unique " } else { "" };
        let _ = writeln!(
            text,
            "  index {} {} {unique}{}",
            index.id,
            index.name,
            index.fields.join(" ")
        );
    }
}

pub(crate) fn sections(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut sections: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match sections.last_mut() {
            Some((_, lines)) if line.starts_with(' ') => lines.push(line.trim()),
            _ => sections.push((line, Vec::new())),
        }
    }
    sections
}

fn id_of(head: &str) -> Option<&str> {
    head.split(' ').nth(1)
}

fn compare_lines(head: &str, stored: &[&str], ours: &[&str], differences: &mut Vec<String>) {
    if stored == ours {
        return;
    }
    let before = differences.len();
    for line in stored.iter().filter(|line| !ours.contains(line)) {
        differences.push(format!("{head}: only the database has \"{line}\""));
    }
    for line in ours.iter().filter(|line| !stored.contains(line)) {
        differences.push(format!("{head}: only the program has \"{line}\""));
    }
    if differences.len() == before {
        differences.push(format!("{head}: the same fields in another order"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TableDef = TableDef {
        id: 2,
        name: "a",
        version: 1,
        key: &["id"],
        fields: &[FieldDef { name: "id", kind: "u64" }, FieldDef { name: "name", kind: "String" }],
        indexes: &[IndexDef { id: 1, name: "ByName", unique: true, fields: &["name"] }],
        is_counter: false,
        entries: |_, _, _| Ok(Vec::new()),
    };
    const B: TableDef = TableDef { id: 1, name: "b", indexes: &[], ..A };

    #[test]
    fn text_is_frozen() {
        let text = "table 1 b version 1\n  key id\n  field id u64\n  field name String\n\
                    table 2 a version 1\n  key id\n  field id u64\n  field name String\n  \
                    index 1 ByName unique name\n";
        assert_eq!(Schema::new(&[A, B]).text(), text);
    }

    #[test]
    fn a_new_table_is_welcome_and_every_other_difference_is_named() {
        let stored = Schema::new(&[A]).text();
        assert!(!Schema::new(&[A]).check(&stored).unwrap());
        assert!(Schema::new(&[A, B]).check(&stored).unwrap());
        let Err(Error::Schema { differences }) = Schema::new(&[B]).check(&stored) else { panic!() };
        assert_eq!(differences, ["the database has \"table 2 a version 1\", the program does not"]);
        const CHANGED: TableDef = TableDef {
            fields: &[
                FieldDef { name: "id", kind: "u32" },
                FieldDef { name: "name", kind: "String" },
            ],
            ..A
        };
        let Err(Error::Schema { differences }) = Schema::new(&[CHANGED]).check(&stored) else {
            panic!()
        };
        assert_eq!(
            differences,
            [
                "table 2 a version 1: only the database has \"field id u64\"",
                "table 2 a version 1: only the program has \"field id u32\""
            ]
        );
    }
}
