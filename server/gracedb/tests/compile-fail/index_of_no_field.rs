//! An index names fields that exist.

use gracedb::table::Table;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Table)]
#[table(id = 1, name = "account")]
#[index(id = 1, name = ByName, fields(nmae))]
struct Account {
    #[key]
    id: u64,
    name: String,
}

fn main() {}
