//! The grammar of commands (RFC 9051 9, with RFC 3501's older spellings): a complete command's
//! bytes in, a [`Command`] out.
//!
//! Invariants: pure and total; nesting and lengths are bounded, so that no input can exhaust stack
//! or memory.
//! Not here: words (`cursor`), where a command ends (`framer`), states (`session`).

pub(crate) mod append;
pub(crate) mod fetch;
pub(crate) mod mailbox;
pub(crate) mod metadata;
pub(crate) mod notify;
pub(crate) mod rights;
pub(crate) mod search;

use crate::command::{Command, Copy, Secret, Store, Verb};
use crate::cursor::{Cursor, Parsed, Refusal};
use crate::flags::{FlagOperation, Flags, KEYWORDS_MAX, Keyword, SystemFlag};
use crate::response::Code;
use crate::set::{Point, RANGES_MAX, SequenceSet};

/// Most pairs in ID (RFC 2971 3.3).
const ID_PAIRS_MAX: usize = 30;

/// How the reader of names is set: with UTF-8 once the client enabled it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dialect {
    /// Mailbox names are plain UTF-8.
    pub utf8: bool,
    /// SEARCH must not name a charset (RFC 6855 3).
    pub no_charset: bool,
}

/// The tag of a command, if it has one that can be read.
pub fn tag(input: &[u8]) -> Option<String> {
    let mut cursor = Cursor::new(input);
    let tag = cursor.tag().ok()?;
    // RFC 9051 2.2.1: what has no space after its first word has no tag we could answer to.
    (cursor.peek() == Some(b' ')).then(|| tag.to_owned())
}

/// Whether a command that was refused is a SELECT or EXAMINE.
pub(crate) fn selects(input: &[u8]) -> bool {
    let mut cursor = Cursor::new(input);
    let head = cursor.tag().and_then(|_| cursor.space());
    let name = head.and_then(|()| cursor.word("a command"));
    name.is_ok_and(|name| matches!(name.as_str(), "SELECT" | "EXAMINE"))
}

/// Parses one command without its final line end.
pub fn command(input: &[u8], dialect: Dialect) -> Parsed<Command> {
    let mut cursor = Cursor::new(input);
    let tag = cursor.tag()?.to_owned();
    cursor.space()?;
    let name = cursor.word("a command")?;
    let verb = verb(&name, &mut cursor, dialect)?;
    cursor.end()?;
    Ok(Command { tag, verb })
}

fn verb(name: &str, cursor: &mut Cursor<'_>, dialect: Dialect) -> Parsed<Verb> {
    Ok(match name {
        "CAPABILITY" => Verb::Capability,
        "NOOP" => Verb::Noop,
        "LOGOUT" => Verb::Logout,
        "STARTTLS" => Verb::StartTls,
        "CHECK" => Verb::Check,
        "CLOSE" => Verb::Close,
        "UNSELECT" => Verb::Unselect,
        "EXPUNGE" => Verb::Expunge(None),
        "IDLE" => Verb::Idle,
        "NAMESPACE" => Verb::Namespace,
        "UNAUTHENTICATE" => Verb::Unauthenticate,
        "COMPRESS" => {
            cursor.space()?;
            Verb::Compress(cursor.word("a mechanism")?)
        }
        "ID" => id(cursor)?,
        "LOGIN" => login(cursor)?,
        "AUTHENTICATE" => authenticate(cursor)?,
        "ENABLE" => enable(cursor)?,
        "LIST" => mailbox::list(cursor, dialect)?,
        "LSUB" => mailbox::lsub(cursor, dialect)?,
        "CREATE" => mailbox::create(cursor, dialect)?,
        "DELETE" => Verb::Delete(mailbox::argument(cursor, dialect)?),
        "RENAME" => {
            let from = mailbox::argument(cursor, dialect)?;
            Verb::Rename(from, mailbox::new_name(cursor, dialect)?)
        }
        "SUBSCRIBE" => Verb::Subscribe(mailbox::argument(cursor, dialect)?),
        "UNSUBSCRIBE" => Verb::Unsubscribe(mailbox::argument(cursor, dialect)?),
        "GETMETADATA" => metadata::get(cursor, dialect)?,
        "SETMETADATA" => metadata::set(cursor, dialect)?,
        "CANCELUPDATE" => cancel_update(cursor)?,
        "GENURLAUTH" => gen_url_auth(cursor)?,
        "URLFETCH" => url_fetch(cursor)?,
        "RESETKEY" => reset_key(cursor, dialect)?,
        "NOTIFY" => Verb::Notify(notify::notify(cursor, dialect)?),
        "ESEARCH" => search::esearch(cursor, dialect)?,
        "STATUS" => mailbox::status(cursor, dialect)?,
        "SELECT" => mailbox::select(cursor, dialect, false)?,
        "EXAMINE" => mailbox::select(cursor, dialect, true)?,
        "UID" => {
            cursor.space()?;
            let name = cursor.word("a command after UID")?;
            return on_messages(&name, cursor, dialect, true);
        }
        // Extensions that clients try unasked: a `NO` sends them on their way, a `BAD` alarms them.
        "GETANNOTATION" | "SETANNOTATION" | "XLIST" | "XAPPLEPUSHSERVICE" => {
            return not_offered(name, cursor);
        }
        name => match rights::command(name, cursor, dialect) {
            Some(verb) => verb?,
            None => return on_messages(name, cursor, dialect, false),
        },
    })
}

/// The commands that have a UID form.
fn on_messages(name: &str, cursor: &mut Cursor<'_>, dialect: Dialect, uid: bool) -> Parsed<Verb> {
    match (name, uid) {
        ("SEARCH", _) => search::search(cursor, dialect, uid),
        ("SORT", _) => search::sort(cursor, uid),
        ("THREAD", _) => search::thread(cursor, uid),
        ("FETCH", _) => fetch::fetch(cursor, uid),
        ("STORE", _) => store(cursor, uid),
        ("COPY", _) => copy(cursor, dialect, uid, false),
        ("MOVE", _) => copy(cursor, dialect, uid, true),
        ("APPEND", false) | ("REPLACE", _) => {
            append::whole(name, uid, cursor, dialect).map(Verb::Append)
        }
        ("EXPUNGE", true) => {
            cursor.space()?;
            Ok(Verb::Expunge(Some(sequence_set(cursor)?)))
        }
        // Not named: what is no command may be a password (`PASS …`).
        (_, true) => Err(Refusal::Bad("unknown command after UID".to_owned())),
        (_, false) => Err(Refusal::Bad("unknown command".to_owned())),
    }
}

fn not_offered(name: &str, cursor: &mut Cursor<'_>) -> Parsed<Verb> {
    // Whatever its arguments are, we do not read them.
    *cursor = Cursor::new(&[]);
    Ok(Verb::NotOffered(name.to_owned()))
}

fn id(cursor: &mut Cursor<'_>) -> Parsed<Verb> {
    cursor.space()?;
    if cursor.eat_text("NIL") {
        return Ok(Verb::Id(Vec::new()));
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let pairs = cursor.list(0, |cursor| {
        let field = text(cursor.string()?);
        cursor.space()?;
        Ok((field, cursor.nstring()?.map(text)))
    })?;
    if pairs.len() > ID_PAIRS_MAX {
        return Err(Refusal::Bad(format!("ID may hold at most {ID_PAIRS_MAX} pairs")));
    }
    Ok(Verb::Id(pairs))
}

fn login(cursor: &mut Cursor<'_>) -> Parsed<Verb> {
    cursor.space()?;
    let login = cursor.text("a user name")?;
    cursor.space()?;
    let password = Secret(cursor.text("a password")?);
    Ok(Verb::Login { login, password })
}

fn authenticate(cursor: &mut Cursor<'_>) -> Parsed<Verb> {
    cursor.space()?;
    let mechanism = cursor.word("a mechanism")?;
    let initial = if cursor.eat(b' ') {
        let rest = cursor.rest();
        *cursor = Cursor::new(&[]);
        Some(rest.trim_ascii().to_vec())
    } else {
        None
    };
    Ok(Verb::Authenticate { mechanism, initial })
}

fn enable(cursor: &mut Cursor<'_>) -> Parsed<Verb> {
    let mut names = Vec::new();
    while cursor.eat(b' ') {
        if cursor.peek().is_none() {
            break;
        }
        names.push(cursor.word("a capability")?);
    }
    if names.is_empty() { cursor.fail("a space and a capability") } else { Ok(Verb::Enable(names)) }
}

/// `CANCELUPDATE "tag" …` (RFC 5267 4.3.5).
fn cancel_update(cursor: &mut Cursor<'_>) -> Parsed<Verb> {
    let mut tags = Vec::new();
    while cursor.eat(b' ') {
        tags.push(String::from_utf8_lossy(&cursor.string()?).into_owned());
    }
    if tags.is_empty() { cursor.fail("a space and a tag") } else { Ok(Verb::CancelUpdate(tags)) }
}

/// `GENURLAUTH 1*(SP url-rump SP mechanism)` (RFC 4467 9).
fn gen_url_auth(cursor: &mut Cursor<'_>) -> Parsed<Verb> {
    let mut urls = Vec::new();
    while cursor.eat(b' ') {
        let url = cursor.text("a URL")?;
        cursor.space()?;
        urls.push((url, cursor.word("a mechanism")?));
    }
    if urls.is_empty() { cursor.fail("a space and a URL") } else { Ok(Verb::GenUrlAuth(urls)) }
}

/// `URLFETCH 1*(SP url-full)`.
fn url_fetch(cursor: &mut Cursor<'_>) -> Parsed<Verb> {
    let mut urls = Vec::new();
    while cursor.eat(b' ') {
        urls.push(cursor.text("a URL")?);
    }
    if urls.is_empty() { cursor.fail("a space and a URL") } else { Ok(Verb::UrlFetch(urls)) }
}

/// `RESETKEY [SP mailbox *(SP mechanism)]`.
fn reset_key(cursor: &mut Cursor<'_>, dialect: Dialect) -> Parsed<Verb> {
    if cursor.rest().trim_ascii().is_empty() {
        return Ok(Verb::ResetKey(None, Vec::new()));
    }
    let mailbox = mailbox::argument(cursor, dialect)?;
    let mut mechanisms = Vec::new();
    while cursor.eat(b' ') {
        mechanisms.push(cursor.word("a mechanism")?);
    }
    Ok(Verb::ResetKey(Some(mailbox), mechanisms))
}

/// `seq-number`.
pub(crate) fn point(cursor: &mut Cursor<'_>) -> Parsed<Point> {
    if cursor.eat(b'*') {
        return Ok(Point::Last);
    }
    cursor.positive("a message number or '*'").map(Point::Number)
}

/// `sequence-set`, or `$`.
pub(crate) fn sequence_set(cursor: &mut Cursor<'_>) -> Parsed<SequenceSet> {
    if cursor.eat(b'$') {
        return Ok(SequenceSet::Saved);
    }
    let mut ranges = Vec::new();
    loop {
        let first = point(cursor)?;
        let last = if cursor.eat(b':') { point(cursor)? } else { first };
        ranges.push((first, last));
        if ranges.len() > RANGES_MAX {
            let text = format!("a set may hold at most {RANGES_MAX} ranges");
            return Err(Refusal::No(Some(Code::Limit), text));
        }
        if !cursor.eat(b',') {
            return Ok(SequenceSet::Ranges(ranges));
        }
    }
}

/// One flag as a client may set it. `\Recent` is read and dropped: old clients send it back.
fn flag(cursor: &mut Cursor<'_>, flags: &mut Flags) -> Parsed<()> {
    let start = cursor.clone();
    if cursor.eat(b'\\') {
        let name = format!("\\{}", cursor.atom("a flag")?);
        match SystemFlag::parse(&name) {
            Some(flag) => flags.insert(flag),
            None if name.eq_ignore_ascii_case("\\Recent") => {}
            None => return start.fail("a system flag of RFC 9051"),
        }
        return Ok(());
    }
    match Keyword::parse(cursor.atom("a flag")?) {
        Some(keyword) if flags.keywords().len() < KEYWORDS_MAX => flags.insert_keyword(keyword),
        Some(_) => {
            let text = format!("a message may carry at most {KEYWORDS_MAX} keywords");
            return Err(Refusal::No(Some(Code::Limit), text));
        }
        None => return start.fail("a keyword of at most 128 bytes"),
    }
    Ok(())
}

/// `flag-list`.
pub(crate) fn flag_list(cursor: &mut Cursor<'_>) -> Parsed<Flags> {
    let mut flags = Flags::none();
    cursor.list(0, |cursor| flag(cursor, &mut flags))?;
    Ok(flags)
}

fn store(cursor: &mut Cursor<'_>, uid: bool) -> Parsed<Verb> {
    cursor.space()?;
    let set = sequence_set(cursor)?;
    cursor.space()?;
    let mut unchanged_since = None;
    if cursor.eat(b'(') {
        // RFC 7162 3.1.3: store-modifier.
        if !cursor.eat_text("UNCHANGEDSINCE ") {
            return cursor.fail("UNCHANGEDSINCE");
        }
        unchanged_since = Some(cursor.number64("a modification sequence")?);
        cursor.expect(b')', "')'")?;
        cursor.space()?;
    }
    let operation = match cursor.peek() {
        Some(b'+') => FlagOperation::Add,
        Some(b'-') => FlagOperation::Remove,
        _ => FlagOperation::Replace,
    };
    if operation != FlagOperation::Replace {
        let _ = cursor.eat(b'+') || cursor.eat(b'-');
    }
    let silent = match cursor.item_name("FLAGS, +FLAGS or -FLAGS")?.as_str() {
        "FLAGS" => false,
        "FLAGS.SILENT" => true,
        _ => return cursor.fail("FLAGS or FLAGS.SILENT before this"),
    };
    cursor.space()?;
    let flags = if cursor.peek() == Some(b'(') {
        flag_list(cursor)?
    } else {
        // RFC 9051 9: store-att-flags allows flags without parentheses.
        let mut flags = Flags::none();
        flag(cursor, &mut flags)?;
        while cursor.peek() == Some(b' ') && !cursor.rest().trim_ascii().is_empty() {
            cursor.space()?;
            flag(cursor, &mut flags)?;
        }
        flags
    };
    Ok(Verb::Store(Store { uid, set, operation, silent, flags, unchanged_since }))
}

fn copy(cursor: &mut Cursor<'_>, dialect: Dialect, uid: bool, moves: bool) -> Parsed<Verb> {
    cursor.space()?;
    let set = sequence_set(cursor)?;
    let mailbox = mailbox::argument(cursor, dialect)?;
    Ok(Verb::Copy(Copy { uid, set, mailbox, moves }))
}
