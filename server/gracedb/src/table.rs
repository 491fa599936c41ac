//! What a Rust struct needs to be a row: made by `#[derive(Table)]`.
//!
//! ```
//! # use gracedb::{schema::Schema, table::Table, view::View};
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
//! fn read(view: &View) -> Result<Option<Account>, gracedb::error::Error> {
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
//! # use gracedb::{table::Table, view::View};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Table, Serialize, Deserialize)]
//! # #[table(id = 1, name = "message")]
//! # struct Message {
//! #     #[key]
//! #     mailbox: u64,
//! #     #[key]
//! #     uid: u32,
//! # }
//! # fn read(view: &View) {
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

use crate::key::Key;
use crate::schema::{IndexDef, TableDef};

pub use gracedb_derive::Table;

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

/// An index in which no two rows share a key.
pub trait UniqueIndex: Index {}
