//! Lists that the daemon answers with, in one piece.
//!
//! Not here: how a list is printed (`print`).

use grace_ipc::client::Client;
use grace_ipc::message::{RequestBody, Rows};

/// Asks for a list; `of` takes the rows out of a part of it, if they are those.
pub(crate) fn rows<T>(
    client: &mut Client,
    body: RequestBody,
    of: impl Fn(Rows) -> Option<Vec<T>>,
) -> Result<Vec<T>, String> {
    gathered(client.request(body).map_err(|e| e.to_string())?.parts, of)
}

/// The rows of all parts.
pub(crate) fn gathered<T>(
    parts: Vec<Rows>,
    of: impl Fn(Rows) -> Option<Vec<T>>,
) -> Result<Vec<T>, String> {
    let mut rows = Vec::new();
    for part in parts {
        rows.extend(of(part).ok_or_else(unfit)?);
    }
    Ok(rows)
}

/// What is said of an answer to another question.
pub(crate) fn unfit() -> String {
    "the daemon gave an answer that does not fit".to_owned()
}
