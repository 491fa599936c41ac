//! Grammar of the commands about rights and quota (RFC 4314 4, RFC 9208 5).
//!
//! Not here: what rights mean (`rights`).

use crate::command::Verb;
use crate::cursor::{Cursor, Parsed};
use crate::grammar::{Dialect, mailbox};
use crate::rights::RightsChange;

/// Longest identifier of somebody, in bytes: an address has at most 254.
const IDENTIFIER_BYTES_MAX: usize = 256;

/// Most resources SETQUOTA names: each that RFC 9208 knows, some times over.
const RESOURCES_MAX: usize = 16;

/// A command about rights, if `name` is one.
pub(crate) fn command(
    name: &str,
    cursor: &mut Cursor<'_>,
    dialect: Dialect,
) -> Option<Parsed<Verb>> {
    Some(match name {
        "GETACL" => mailbox::argument(cursor, dialect).map(Verb::GetAcl),
        "MYRIGHTS" => mailbox::argument(cursor, dialect).map(Verb::MyRights),
        "SETACL" => set_acl(cursor, dialect),
        "DELETEACL" => mailbox::argument(cursor, dialect)
            .and_then(|mailbox| Ok(Verb::DeleteAcl(mailbox, identifier(cursor)?))),
        "LISTRIGHTS" => mailbox::argument(cursor, dialect)
            .and_then(|mailbox| Ok(Verb::ListRights(mailbox, identifier(cursor)?))),
        "GETQUOTA" => root(cursor).map(Verb::GetQuota),
        "GETQUOTAROOT" => mailbox::argument(cursor, dialect).map(Verb::GetQuotaRoot),
        "SETQUOTA" => set_quota(cursor),
        _ => return None,
    })
}

fn identifier(cursor: &mut Cursor<'_>) -> Parsed<String> {
    cursor.space()?;
    let start = cursor.clone();
    let identifier = cursor.text("an identifier")?;
    // RFC 4314 3: BAD where SASLprep fails, which knows no control characters (RFC 4013 2.3).
    let is_sound = !identifier.chars().any(char::is_control);
    match (1..=IDENTIFIER_BYTES_MAX).contains(&identifier.len()) && is_sound {
        true => Ok(identifier),
        false => start.fail("an identifier of at most 256 bytes, without control characters"),
    }
}

fn set_acl(cursor: &mut Cursor<'_>, dialect: Dialect) -> Parsed<Verb> {
    let mailbox = mailbox::argument(cursor, dialect)?;
    let identifier = identifier(cursor)?;
    cursor.space()?;
    let start = cursor.clone();
    let text = cursor.text("rights")?;
    match RightsChange::parse(&text) {
        Some(change) => Ok(Verb::SetAcl(mailbox, identifier, change)),
        // RFC 4314 3.1: "If the server doesn't recognize a right … BAD".
        None => start.fail("rights of RFC 4314"),
    }
}

fn root(cursor: &mut Cursor<'_>) -> Parsed<String> {
    cursor.space()?;
    cursor.text("a quota root")
}

/// `SETQUOTA root (STORAGE 512)`.
fn set_quota(cursor: &mut Cursor<'_>) -> Parsed<Verb> {
    let root = root(cursor)?;
    cursor.space()?;
    let start = cursor.clone();
    let limits = cursor.list(0, |cursor| {
        let resource = cursor.word("a resource")?;
        cursor.space()?;
        Ok((resource, cursor.number64("a limit")?))
    })?;
    if limits.len() > RESOURCES_MAX {
        return start.fail("at most 16 resources");
    }
    Ok(Verb::SetQuota(root, limits))
}
