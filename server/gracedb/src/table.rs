//! What a Rust struct needs to be a row: made by `#[derive(Table)]`.
//!
//! ```
//! # use gracedb::{schema::Schema, table::Table, view::{Snapshot, View}};
//! # use serde::{Deserialize, Serialize};
//! #[derive(Table, Serialize, Deserialize)]
//! #[table(id = 3, name = "account")]
//! #[index(id = 1, name = AccountByAddress, fields(domain, local), unique)]
//! pub struct Account {
//!     #[key]
//!     pub id: u64,
//!     pub domain: String,
//!     pub local: String,
//! }
//! const SCHEMA: Schema = Schema::new(&[Account::DEF]);
//! fn read(view: &Snapshot) -> Result<Option<Account>, gracedb::error::Error> {
//!     view.find::<AccountByAddress>(&("grace.test", "ada"))
//! }
//! ```
//! makes `Account: Table` and a type `AccountByAddress: UniqueIndex`. With several `#[key]` fields
//! the key is a tuple in the order of the fields.
//!
//! The compiler refuses a key that does not sort:
//! ```compile_fail,E0277
//! # use gracedb::table::Table;
//! # use serde::{Deserialize, Serialize};
//! #[derive(Table, Serialize, Deserialize)]
//! #[table(id = 1, name = "reading")]
//! struct Reading {
//!     #[key]
//!     degrees: f64,
//! }
//! ```
//! a key of another shape than the table's:
//! ```compile_fail,E0277
//! # use gracedb::{table::Table, view::{Snapshot, View}};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Table, Serialize, Deserialize)]
//! # #[table(id = 1, name = "message")]
//! # struct Message {
//! #     #[key]
//! #     mailbox: u64,
//! #     #[key]
//! #     uid: u32,
//! # }
//! # fn read(view: &Snapshot) {
//! let _ = view.get::<Message>(&(1, "two"));
//! # }
//! ```
//! and two tables with one id:
//! ```compile_fail,E0080
//! # use gracedb::{schema::Schema, table::Table};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Table, Serialize, Deserialize)]
//! # #[table(id = 1, name = "domain")]
//! # struct Domain {
//! #     #[key]
//! #     id: u64,
//! # }
//! const SCHEMA: Schema = Schema::new(&[Domain::DEF, Domain::DEF]);
//! # fn main() { SCHEMA.text(); }
//! ```
//! Not here: the text form of a definition (`schema`), reading and writing (`view`, `write`).

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::Reader;
use crate::error::Error;
use crate::key::Key;
use crate::row;
use crate::schema::{IndexDef, IndexEntry, TableDef};
use crate::space;

pub use gracedb_derive::{Counter, Table};

/// A row of a table.
pub trait Table: Serialize + DeserializeOwned {
    /// The table.
    const DEF: TableDef;
    /// Its key: the one `#[key]` field's type, or a tuple of them.
    type Key: Key;

    /// Appends the sortable bytes of the row's key.
    fn put_key(&self, out: &mut Vec<u8>);

    /// Appends the sortable bytes of the row's key in the index at this place of
    /// [`TableDef::indexes`].
    fn put_index_key(&self, index: usize, out: &mut Vec<u8>);
}

/// A secondary index of a table.
pub trait Index {
    /// The table it belongs to.
    type Row: Table;
    /// Its key: the one field's type, or a tuple of them.
    type Key: Key;
    /// Its definition.
    const DEF: IndexDef;
}

/// Numbers that are added to, by key: made by `#[derive(Counter)]` on a struct whose fields are all
/// `#[key]`.
///
/// ```
/// # use gracedb::{error::Error, schema::Schema, table::Counter, view::View, write::WriteTx};
/// #[derive(Counter)]
/// #[counter(id = 9, name = "delivered")]
/// pub struct Delivered {
///     #[key]
///     pub day: u32,
///     #[key]
///     pub account: u64,
/// }
/// const SCHEMA: Schema = Schema::new(&[Delivered::DEF]);
/// fn deliver(tx: &mut WriteTx<'_>) -> Result<i64, Error> {
///     tx.add::<Delivered>(&(20_000, 7), 1)
/// }
/// ```
pub trait Counter {
    /// The table.
    const DEF: TableDef;
    /// Its key: the one field's type, or a tuple of them.
    type Key: Key;
}

/// The index entries of a row: what [`TableDef::entries`] points to.
pub fn entries_of<T: Table>(
    key: &[u8],
    value: &[u8],
    reader: &dyn Reader,
) -> Result<Vec<IndexEntry>, Error> {
    let row: T = row::decode(T::DEF.name, value, reader)?;
    let mut own = space::head(T::DEF.id, space::ROWS);
    row.put_key(&mut own);
    if own != key {
        let reason = "a row under another row's key".to_owned();
        return Err(Error::Row { table: T::DEF.name, reason });
    }
    let primary = key.get(space::HEAD_LEN..).unwrap_or_default();
    let entry = |(at, index): (usize, &IndexDef)| {
        let mut key = space::head(T::DEF.id, index.id);
        row.put_index_key(at, &mut key);
        if index.unique {
            return (key, primary.to_vec());
        }
        key.extend_from_slice(primary);
        (key, Vec::new())
    };
    Ok(T::DEF.indexes.iter().enumerate().map(entry).collect())
}

/// The same for a counter, which has none.
pub fn no_entries(_: &[u8], _: &[u8], _: &dyn Reader) -> Result<Vec<IndexEntry>, Error> {
    Ok(Vec::new())
}

/// An index in which no two rows share a key.
pub trait UniqueIndex: Index {}
