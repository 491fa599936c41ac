//! A table has a key.

use gracedb::table::Table;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Table)]
#[table(id = 1, name = "account")]
struct Account {
    id: u64,
}

fn main() {}
