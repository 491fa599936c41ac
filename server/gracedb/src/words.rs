//! Keys in words, for people who look for what is lost or look at bytes.
//!
//! Goes by the text of the schema that the database keeps itself, so that it needs no program that
//! knows the tables. Invariant: any bytes have words; those that are no key are shown as they are.
//! Not here: values (`dump`).

use std::fmt::Write as _;

use crate::key::KeyPart;
use crate::schema;
use crate::space;

/// Bytes of a text or of hexadecimal digits shown.
const SHOWN_BYTES: usize = 64;

/// The tables of a database, by name.
#[derive(Debug, Default)]
pub(crate) struct Words {
    tables: Vec<TableWords>,
}

#[derive(Debug)]
struct TableWords {
    id: u16,
    name: String,
    is_counter: bool,
    key: Fields,
    indexes: Vec<IndexWords>,
}

#[derive(Debug)]
struct IndexWords {
    id: u8,
    name: String,
    /// What stands in its keys: its fields, and unless it is unique, the fields of the row's key.
    fields: Fields,
}

/// Name and type of each field of a key.
type Fields = Vec<(String, String)>;

impl Words {
    /// Reads a schema's text; what is not understood is left out.
    pub(crate) fn new(schema: &str) -> Self {
        let sections = schema::sections(schema).into_iter();
        Self { tables: sections.filter_map(|(head, lines)| table(head, &lines)).collect() }
    }

    /// A full key in words.
    pub(crate) fn key(&self, key: &[u8]) -> String {
        let [high, low, space, rest @ ..] = key else { return format!("key {}", hex(key)) };
        match u16::from_be_bytes([*high, *low]) {
            0 => self.own(*space, key),
            id => self.of_table(id, *space, rest),
        }
    }

    /// The name of a table.
    pub(crate) fn table(&self, id: u16) -> String {
        let known = self.tables.iter().find(|table| table.id == id);
        known.map_or_else(|| format!("table {id}"), |table| table.name.clone())
    }

    /// Whether a table holds numbers that are added to, instead of rows.
    pub(crate) fn is_counter(&self, id: u16) -> bool {
        self.tables.iter().any(|table| table.id == id && table.is_counter)
    }

    /// One of the engine's own keys.
    fn own(&self, space: u8, key: &[u8]) -> String {
        if let Some((segment, offset, row)) = space::parse_use(key) {
            return format!("use of segment {segment} at {offset} by {}", self.key(row));
        }
        if let Some(segment) = space::parse_live(key) {
            return format!("live bytes of segment {segment}");
        }
        if let (3, Some(id)) = (space, key.get(space::HEAD_LEN..).and_then(|id| id.try_into().ok()))
        {
            return format!("migration of {}", self.table(u16::from_be_bytes(id)));
        }
        if key == space::copy_key() {
            return "mark of a copy".to_owned();
        }
        format!("engine key {}", hex(key))
    }

    fn of_table(&self, id: u16, space: u8, rest: &[u8]) -> String {
        let name = self.table(id);
        let table = self.tables.iter().find(|table| table.id == id);
        let with_fields = |head: String, fields: &[(String, String)]| fields_in(head, fields, rest);
        match (space, table) {
            (space::COUNTER, _) => format!("{name} counter of ids"),
            (space::ROWS, Some(table)) => with_fields(name, &table.key),
            (space::STAGE, Some(table)) => with_fields(format!("{name} in migration"), &table.key),
            (index, Some(table)) => match table.indexes.iter().find(|each| each.id == index) {
                Some(index) => with_fields(format!("{name} index {}", index.name), &index.fields),
                None => format!("{name} index {index} {}", hex(rest)),
            },
            (space, None) => format!("{name} space {space} {}", hex(rest)),
        }
    }
}

fn table(head: &str, lines: &[&str]) -> Option<TableWords> {
    let mut words = head.split(' ').skip(1);
    let (id, name) = (words.next()?.parse().ok()?, words.next()?.to_owned());
    let kind_of = |name: &str| {
        let fields = lines.iter().filter_map(|line| line.strip_prefix("field "));
        let mut fields = fields.filter_map(|field| field.split_once(' '));
        fields.find(|(field, _)| *field == name).map_or(String::new(), |(_, kind)| kind.to_owned())
    };
    let with_kinds = |names: &str| -> Fields {
        names.split(' ').map(|name| (name.to_owned(), kind_of(name))).collect()
    };
    let key = lines.iter().find_map(|line| line.strip_prefix("key ")).map(with_kinds)?;
    let indexes = lines.iter().filter_map(|line| {
        let (id, rest) = line.strip_prefix("index ")?.split_once(' ')?;
        let (name, fields) = rest.split_once(' ')?;
        let fields = match fields.strip_prefix("unique ") {
            Some(fields) => with_kinds(fields),
            None => with_kinds(fields).into_iter().chain(key.iter().cloned()).collect(),
        };
        Some(IndexWords { id: id.parse().ok()?, name: name.to_owned(), fields })
    });
    let indexes = indexes.collect();
    let is_counter = head.starts_with("counter ");
    Some(TableWords { id, name, is_counter, key, indexes })
}

/// The fields that stand in a key, and in hexadecimal digits what follows those that are known.
fn fields_in(mut words: String, fields: &[(String, String)], mut rest: &[u8]) -> String {
    for (name, kind) in fields {
        let Some(value) = take(kind, &mut rest) else { break };
        // Writing to a String cannot fail.
        let _ = write!(words, " {name}={value}");
    }
    if !rest.is_empty() {
        let _ = write!(words, " …{}", hex(rest));
    }
    words
}

/// Takes a part of a key of this type off; `None`: it is none, or the type is not known.
fn take(kind: &str, bytes: &mut &[u8]) -> Option<String> {
    fn number<P: KeyPart + ToString>(bytes: &mut &[u8]) -> Option<String> {
        P::take(bytes).map(|part| part.to_string())
    }
    if let Some(inner) = kind.strip_prefix("Option<").and_then(|kind| kind.strip_suffix('>')) {
        let (is_some, rest) = bytes.split_first()?;
        *bytes = rest;
        return if *is_some == 0 { Some("none".to_owned()) } else { take(inner, bytes) };
    }
    if let Some(count) = kind.strip_prefix("[u8;").and_then(|kind| kind.strip_suffix(']')) {
        let (taken, rest) = bytes.split_at_checked(count.trim().parse().ok()?)?;
        *bytes = rest;
        return Some(hex(taken));
    }
    match kind {
        "u8" => number::<u8>(bytes),
        "u16" => number::<u16>(bytes),
        "u32" => number::<u32>(bytes),
        "u64" => number::<u64>(bytes),
        "u128" => number::<u128>(bytes),
        "i8" => number::<i8>(bytes),
        "i16" => number::<i16>(bytes),
        "i32" => number::<i32>(bytes),
        "i64" => number::<i64>(bytes),
        "bool" => number::<bool>(bytes),
        "String" => String::take(bytes).map(|text| text_in_words(&text)),
        "Vec<u8>" => Vec::<u8>::take(bytes).map(|bytes| hex(&bytes)),
        _ => None,
    }
}

fn text_in_words(text: &str) -> String {
    match text.char_indices().nth(SHOWN_BYTES) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// Hexadecimal digits, cut off where they are many.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let shown = bytes.get(..SHOWN_BYTES).unwrap_or(bytes);
    let mut digits: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
    if shown.len() < bytes.len() {
        digits.push('…');
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = "\
        table 3 message version 1\n  key mailbox uid\n  field mailbox u64\n  field uid u32\n  \
        field seen bool\n  field id [u8; 2]\n  index 1 ByFlag seen\n  index 2 ById unique id\n\
        table 4 name version 2\n  key name\n  field name Option<String>\n";

    #[test]
    fn keys_have_words() {
        let words = Words::new(SCHEMA);
        let mut row = space::head(3, space::ROWS);
        KeyPart::put(&7u64, &mut row);
        KeyPart::put(&9u32, &mut row);
        assert_eq!(words.key(&row), "message mailbox=7 uid=9");
        let of_use = space::use_key(5, 4096, &row);
        assert_eq!(words.key(&of_use), "use of segment 5 at 4096 by message mailbox=7 uid=9");
        let mut index = space::head(3, 1);
        index.extend_from_slice(&[1, 0, 0]);
        assert_eq!(words.key(&index), "message index ByFlag seen=true …0000");
        index.truncate(space::HEAD_LEN + 1);
        index.extend_from_slice(row.get(space::HEAD_LEN..).unwrap());
        assert_eq!(words.key(&index), "message index ByFlag seen=true mailbox=7 uid=9");
        let mut unique = space::head(3, 2);
        unique.extend_from_slice(&[0xAB, 0xCD]);
        assert_eq!(words.key(&unique), "message index ById id=abcd");
        let mut name = space::head(4, space::STAGE);
        KeyPart::put(&Some("a\"b".to_owned()), &mut name);
        assert_eq!(words.key(&name), "name in migration name=\"a\\\"b\"");
        assert_eq!(words.key(&space::head(4, space::COUNTER)), "name counter of ids");
        assert_eq!(words.key(&space::live_key(Some(8))), "live bytes of segment 8");
        assert_eq!(words.key(&space::migration_key(3)), "migration of message");
        assert_eq!(words.key(&space::copy_key()), "mark of a copy");
    }

    #[test]
    fn bytes_that_are_no_key_are_shown() {
        let words = Words::new(SCHEMA);
        assert_eq!(words.key(&[1]), "key 01");
        assert_eq!(words.key(&[0, 9, 0, 1]), "table 9 space 0 01");
        assert_eq!(words.key(&[0, 3, 0, 1, 2]), "message …0102");
        assert_eq!(words.key(&[0, 3, 77, 1]), "message index 77 01");
        assert_eq!(words.key(&[0, 0, 9, 1]), "engine key 00000901");
    }
}
