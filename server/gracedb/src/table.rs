//! What a Rust struct needs to be a row: made by `#[derive(Table)]`.
//!
//! ```ignore
//! #[derive(Table, Serialize, Deserialize)]
//! #[table(id = 3, name = "account")]
//! #[index(id = 1, name = AccountByAddress, fields(domain, local), unique)]
//! pub struct Account {
//!     #[key]
//!     pub id: u64,
//!     pub domain: String,
//!     pub local: String,
//! }
//! ```
//! makes `Account: Table` and a type `AccountByAddress: UniqueIndex`. With several `#[key]` fields
//! the key is a tuple in the order of the fields.
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
