//! Grammar of APPEND and REPLACE around the messages they carry (RFC 9051 6.3.12, RFC 3502, RFC
//! 4469, RFC 8508).
//!
//! ```text
//!   tag APPEND mailbox ─▶ message ─▶ literal ────────────────▶ message, or the end
//!                            ├─▶ UTF8 ( ─▶ literal ─▶ ) ─────────▲
//!                            └─▶ CATENATE ( ─▶ TEXT literal ─▶ ) ┤
//!                                     ├▶ UTF8 ( ─▶ literal ─▶ ) ) ┤
//!                                     └▶ URL astring ─▶ ) ────────┘
//! ```
//! Invariants: messages stream past; what is read here is the text between them, piece by piece,
//! and [`Expects`] says where the reading stands.
//! Not here: the literals themselves (`session::append`).

use crate::command::{Append, AppendPiece, Replaced};
use crate::cursor::{Cursor, Parsed};
use crate::date;
use crate::flags::Flags;
use crate::grammar::{Dialect, flag_list, mailbox, point};
use crate::name::MailboxName;

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expects {
    /// A message, or after the first one the end.
    Message { first: bool },
    /// A literal was the whole message: it ends.
    MessageEnd,
    /// A literal was a message in `UTF8 (`: `)`.
    Utf8End,
    /// Another piece of a message, or after the first one `)`.
    Part { first: bool },
    /// A literal was a piece of a message in `UTF8 (`: `)` (RFC 6855 4).
    PartUtf8End,
}

/// Reads a command whose line so far ends with the announcement of a literal (cut off). `Some` if
/// it is an APPEND or REPLACE and the literal belongs to a message; `None` if it is any other.
pub(crate) fn head(input: &[u8], dialect: Dialect) -> Option<Parsed<(String, Append, Expects)>> {
    let mut cursor = Cursor::new(input);
    let tag = cursor.tag().ok()?.to_owned();
    cursor.space().ok()?;
    let name = cursor.word("a command").ok()?;
    let uid = name == "UID";
    let name = match uid {
        true => {
            cursor.space().ok()?;
            cursor.word("a command").ok()?
        }
        false => name,
    };
    if !matches!((name.as_str(), uid), ("APPEND", false) | ("REPLACE", _)) {
        return None;
    }
    let mut expects = Expects::Message { first: true };
    match command(&name, uid, &mut cursor, dialect, Some(&mut expects)) {
        Ok(None) => None,
        Ok(Some(append)) => Some(Ok((tag, append, expects))),
        Err(refusal) => Some(Err(refusal)),
    }
}

/// Reads a whole command without a literal of a message.
pub(crate) fn whole(
    name: &str,
    uid: bool,
    cursor: &mut Cursor<'_>,
    dialect: Dialect,
) -> Parsed<Append> {
    match command(name, uid, cursor, dialect, None)? {
        Some(append) => Ok(append),
        None => cursor.fail("a message"),
    }
}

/// With `expects` the command goes on with a literal.
fn command(
    name: &str,
    uid: bool,
    cursor: &mut Cursor<'_>,
    dialect: Dialect,
    expects: Option<&mut Expects>,
) -> Parsed<Option<Append>> {
    let announced = expects.is_some();
    let mut start = Expects::Message { first: true };
    cursor.space()?;
    let mut replaces = None;
    if name == "REPLACE" {
        replaces = Some(Replaced { uid, number: point(cursor)? });
        cursor.space()?;
    }
    if announced && cursor.peek().is_none() {
        // The mailbox name itself is the literal that was just announced.
        return Ok(None);
    }
    let wire = cursor.astring("a mailbox name")?;
    if announced && cursor.peek().is_none() {
        return Ok(None);
    }
    let pieces = pieces(cursor, expects.unwrap_or(&mut start), announced)?;
    let Some(pieces) = pieces else { return Ok(None) };
    // A grammar error comes before a bad name, for it says more.
    let mailbox: MailboxName = mailbox::name_of(&wire, dialect)?;
    Ok(Some(Append { mailbox, replaces, pieces }))
}

/// Reads what stands between two literals, or after the last. `None`: the literal that comes is a
/// word of the command, not of a message.
pub(crate) fn pieces(
    cursor: &mut Cursor<'_>,
    expects: &mut Expects,
    announced: bool,
) -> Parsed<Option<Vec<AppendPiece>>> {
    let mut pieces = Vec::new();
    loop {
        *expects = match *expects {
            Expects::MessageEnd => {
                pieces.push(AppendPiece::End);
                Expects::Message { first: false }
            }
            Expects::Utf8End => {
                cursor.expect(b')', "')' after the message")?;
                pieces.push(AppendPiece::End);
                Expects::Message { first: false }
            }
            Expects::Message { first } => {
                if !first && !announced && cursor.rest().trim_ascii_end().is_empty() {
                    cursor.end()?;
                    pieces.push(AppendPiece::Done);
                    return Ok(Some(pieces));
                }
                pieces.push(begin(cursor)?);
                if cursor.eat_text("CATENATE (") {
                    Expects::Part { first: true }
                } else {
                    let utf8 = cursor.eat_text("UTF8 (");
                    if !announced || cursor.peek().is_some() {
                        return cursor.fail("flags, a date or the message as a literal");
                    }
                    pieces.push(AppendPiece::Literal { part: false });
                    *expects = if utf8 { Expects::Utf8End } else { Expects::MessageEnd };
                    return Ok(Some(pieces));
                }
            }
            Expects::PartUtf8End => {
                cursor.expect(b')', "')' after the text")?;
                Expects::Part { first: false }
            }
            Expects::Part { first: false } if cursor.eat(b')') => {
                pieces.push(AppendPiece::End);
                Expects::Message { first: false }
            }
            Expects::Part { first } => {
                if !first {
                    cursor.space()?;
                }
                let is_utf8 = cursor.eat_text("UTF8 (");
                let is_text = is_utf8 || cursor.eat_text("TEXT ");
                if !is_text && !cursor.eat_text("URL ") {
                    return cursor.fail("TEXT, UTF8 or URL");
                }
                let at_literal = announced && cursor.peek().is_none();
                match (is_text, at_literal) {
                    (true, true) => {
                        pieces.push(AppendPiece::Literal { part: true });
                        *expects = match is_utf8 {
                            true => Expects::PartUtf8End,
                            false => Expects::Part { first: false },
                        };
                        return Ok(Some(pieces));
                    }
                    (true, false) => return cursor.fail("a literal"),
                    (false, true) => return Ok(None),
                    (false, false) => pieces.push(AppendPiece::Url(cursor.text("a URL")?)),
                }
                Expects::Part { first: false }
            }
        };
    }
}

/// Flags and date before a message.
fn begin(cursor: &mut Cursor<'_>) -> Parsed<AppendPiece> {
    cursor.space()?;
    let (mut flags, mut date) = (Flags::none(), None);
    if cursor.peek() == Some(b'(') {
        flags = flag_list(cursor)?;
        cursor.space()?;
    }
    if cursor.peek() == Some(b'"') {
        let start = cursor.clone();
        let text = cursor.string()?;
        date = std::str::from_utf8(&text).ok().and_then(date::parse_date_time);
        if date.is_none() {
            return start.fail("a date such as \"17-Jul-1996 02:44:25 -0700\"");
        }
        cursor.space()?;
    }
    Ok(AppendPiece::Begin(flags, date))
}
