//! Grammar of the commands that name mailboxes: LIST and its options (RFC 9051 6.3.9, RFC 5258),
//! SELECT, STATUS, CREATE.
//!
//! Invariants: a name that cannot be a mailbox's is refused with `NO`, not `BAD`: the grammar is
//! kept.
//! Not here: the other commands (`grammar`).

use crate::command::{List, Resync, SpecialUse, StatusItem, Verb};
use crate::cursor::{Cursor, Parsed, Refusal};
use crate::grammar::{Dialect, metadata, sequence_set};
use crate::name::{self, MailboxName, NAME_BYTES_MAX};
use crate::response::Code;
use crate::set::{Point, SequenceSet};

/// Most patterns of one LIST. Clients send one to three.
const PATTERNS_MAX: usize = 64;

/// Most bytes of all patterns of one LIST, each with its reference: some of the longest names.
const PATTERN_BYTES_MAX: usize = 8 * NAME_BYTES_MAX;

/// Most pairs of sequence match data. RFC 7162 3.2.5.2 thinks of some dozens, in steps that double.
const MATCHES_MAX: usize = 10_000;

/// A space and a mailbox name.
pub(crate) fn argument(cursor: &mut Cursor<'_>, dialect: Dialect) -> Parsed<MailboxName> {
    cursor.space()?;
    name_of(&cursor.astring("a mailbox name")?, dialect)
}

/// A space and the name of a mailbox that is to be made.
pub(crate) fn new_name(cursor: &mut Cursor<'_>, dialect: Dialect) -> Parsed<MailboxName> {
    let name = argument(cursor, dialect)?;
    // RFC 6855 3: these end a line as control characters do.
    match name.as_str().contains(['\u{2028}', '\u{2029}']) {
        true => {
            let text = "a mailbox name must not hold line or paragraph separators";
            Err(Refusal::No(Some(Code::Cannot), text.to_owned()))
        }
        false => Ok(name),
    }
}

pub(crate) fn name_of(wire: &[u8], dialect: Dialect) -> Parsed<MailboxName> {
    let refuse = |text: &str| Refusal::No(Some(Code::Cannot), text.to_owned());
    let Some(text) = name::decode(wire, dialect.utf8) else {
        let form = if dialect.utf8 { "UTF-8" } else { "modified UTF-7" };
        return Err(refuse(&format!("the mailbox name is not sound {form}")));
    };
    MailboxName::parse(&text).map_err(refuse)
}

/// A reference or pattern: like a name, but nothing is checked; what fits no mailbox finds none.
fn pattern_of(wire: &[u8], dialect: Dialect) -> String {
    let text = name::decode(wire, dialect.utf8);
    text.unwrap_or_else(|| String::from_utf8_lossy(wire).into_owned())
}

/// `LIST [(selection)] reference patterns [RETURN (options)]`.
pub(crate) fn list(cursor: &mut Cursor<'_>, dialect: Dialect) -> Parsed<Verb> {
    let mut list = List::default();
    cursor.space()?;
    if cursor.peek() == Some(b'(') {
        list.extended = true;
        cursor.list(0, |cursor| selection_option(cursor, &mut list))?;
        if list.recursive_match && !list.only_subscribed {
            // RFC 5258 3.5: RECURSIVEMATCH cannot stand alone.
            return cursor.fail("SUBSCRIBED beside RECURSIVEMATCH");
        }
        cursor.space()?;
    }
    list.reference = pattern_of(&cursor.astring("a reference name")?, dialect);
    cursor.space()?;
    if cursor.peek() == Some(b'(') {
        list.extended = true;
        let patterns = cursor.list(1, Cursor::list_mailbox)?;
        list.patterns = patterns.iter().map(|wire| pattern_of(wire, dialect)).collect();
    } else {
        list.patterns = vec![pattern_of(&cursor.list_mailbox()?, dialect)];
    }
    bounded(&list.reference, &list.patterns)?;
    if cursor.eat_text(" RETURN ") {
        list.extended = true;
        cursor.list(0, |cursor| return_option(cursor, &mut list))?;
    }
    Ok(Verb::List(list))
}

/// Holds the limits on patterns.
fn bounded(reference: &str, patterns: &[String]) -> Parsed<()> {
    let bytes = patterns.iter().map(|pattern| reference.len() + pattern.len());
    if patterns.len() > PATTERNS_MAX || bytes.sum::<usize>() > PATTERN_BYTES_MAX {
        let most = format!("{PATTERNS_MAX} patterns of {PATTERN_BYTES_MAX} bytes together");
        return Err(Refusal::No(Some(Code::Limit), format!("LIST takes at most {most}")));
    }
    Ok(())
}

fn selection_option(cursor: &mut Cursor<'_>, list: &mut List) -> Parsed<()> {
    match cursor.word("a selection option")?.as_str() {
        "SUBSCRIBED" => list.only_subscribed = true,
        "RECURSIVEMATCH" => list.recursive_match = true,
        "SPECIAL-USE" => list.only_special_use = true,
        // RFC 5258 3.1: there are no remote mailboxes here, so nothing changes.
        "REMOTE" => {}
        _ => return cursor.fail("a known LIST selection option before this"),
    }
    Ok(())
}

fn return_option(cursor: &mut Cursor<'_>, list: &mut List) -> Parsed<()> {
    match cursor.word("a return option")?.as_str() {
        "SUBSCRIBED" => list.return_subscribed = true,
        "CHILDREN" => list.return_children = true,
        "SPECIAL-USE" => list.return_special_use = true,
        "STATUS" => {
            cursor.space()?;
            list.return_status = Some(status_items(cursor)?);
        }
        "MYRIGHTS" => list.return_my_rights = true,
        "METADATA" => {
            cursor.space()?;
            list.return_metadata = metadata::entries(cursor)?;
        }
        _ => return cursor.fail("a known LIST return option before this"),
    }
    Ok(())
}

pub(crate) fn lsub(cursor: &mut Cursor<'_>, dialect: Dialect) -> Parsed<Verb> {
    cursor.space()?;
    let reference = pattern_of(&cursor.astring("a reference name")?, dialect);
    cursor.space()?;
    let pattern = pattern_of(&cursor.list_mailbox()?, dialect);
    bounded(&reference, std::slice::from_ref(&pattern))?;
    Ok(Verb::Lsub(reference, pattern))
}

/// `CREATE mailbox [(USE (\Sent))]`.
pub(crate) fn create(cursor: &mut Cursor<'_>, dialect: Dialect) -> Parsed<Verb> {
    let mailbox = new_name(cursor, dialect)?;
    let mut special_use = None;
    if cursor.eat_text(" (USE ") {
        let uses = cursor.list(0, |cursor| {
            cursor.expect(b'\\', "a special use")?;
            Ok(format!("\\{}", cursor.atom("a special use")?))
        })?;
        cursor.expect(b')', "')'")?;
        special_use = match uses.as_slice() {
            [] => None,
            [one] => SpecialUse::parse(one),
            _ => None,
        };
        if special_use.is_none() && !uses.is_empty() {
            // RFC 6154 3: USEATTR where the use is not supported.
            let text = "a mailbox may have one special use, of those in RFC 6154";
            return Err(Refusal::No(Some(Code::UseAttr), text.to_owned()));
        }
    }
    Ok(Verb::Create(mailbox, special_use))
}

pub(crate) fn status(cursor: &mut Cursor<'_>, dialect: Dialect) -> Parsed<Verb> {
    let mailbox = argument(cursor, dialect)?;
    cursor.space()?;
    Ok(Verb::Status(mailbox, status_items(cursor)?))
}

fn status_items(cursor: &mut Cursor<'_>) -> Parsed<Vec<StatusItem>> {
    cursor.list(1, |cursor| {
        let start = cursor.clone();
        let word = cursor.word("a status item")?;
        let found = StatusItem::NAMES.iter().find(|(_, name)| *name == word);
        match found {
            Some((item, _)) => Ok(*item),
            None => start.fail("a status item"),
        }
    })
}

/// `SELECT mailbox [(CONDSTORE QRESYNC (…))]`.
pub(crate) fn select(cursor: &mut Cursor<'_>, dialect: Dialect, read_only: bool) -> Parsed<Verb> {
    let mut spelling = cursor.clone();
    let mailbox = argument(cursor, dialect)?;
    spelling.space()?;
    let spelled = name::decode(&spelling.astring("a mailbox name")?, dialect.utf8);
    let spelled = spelled.filter(|spelled| spelled != mailbox.as_str());
    let (mut condstore, mut resync) = (false, None);
    if cursor.eat(b' ') && cursor.peek().is_some() {
        cursor.list(1, |cursor| {
            if cursor.eat_text("QRESYNC ") {
                resync = Some(resync_values(cursor)?);
            } else if cursor.eat_text("CONDSTORE") {
                condstore = true;
            } else {
                return cursor.fail("CONDSTORE or QRESYNC");
            }
            Ok(())
        })?;
    }
    Ok(Verb::Select { mailbox, spelled, read_only, condstore, resync })
}

/// `(67890007 90060115194045000 41:211,214:541 (1,3 41,44))` (RFC 7162 7: select-param).
fn resync_values(cursor: &mut Cursor<'_>) -> Parsed<Resync> {
    cursor.expect(b'(', "'('")?;
    let uid_validity = cursor.positive("a UIDVALIDITY")?;
    cursor.space()?;
    let modseq = cursor.number64("a modification sequence")?;
    let mut resync = Resync { uid_validity, modseq, known: None, matches: Vec::new() };
    if cursor.eat(b' ') {
        if cursor.peek() != Some(b'(') {
            resync.known = Some(known_set(cursor)?);
        }
        if resync.known.is_none() || cursor.eat(b' ') {
            resync.matches = sequence_matches(cursor)?;
        }
    }
    cursor.expect(b')', "')'")?;
    Ok(resync)
}

/// `known-uids`: a set without `*` and `$`.
fn known_set(cursor: &mut Cursor<'_>) -> Parsed<SequenceSet> {
    let start = cursor.clone();
    let set = sequence_set(cursor)?;
    let is_known = |point: &Point| matches!(point, Point::Number(_));
    match &set {
        SequenceSet::Ranges(all) if all.iter().all(|(a, b)| is_known(a) && is_known(b)) => Ok(set),
        _ => start.fail("a set of known numbers, without '*' and '$'"),
    }
}

/// `(1,3,7 41,44,50)`: both sets ascend and have as many numbers.
fn sequence_matches(cursor: &mut Cursor<'_>) -> Parsed<Vec<(u32, u32)>> {
    let start = cursor.clone();
    cursor.expect(b'(', "'('")?;
    let sequences = known_set(cursor)?;
    cursor.space()?;
    let uids = known_set(cursor)?;
    cursor.expect(b')', "')'")?;
    let (sequences, uids) = (sequences.ascending(MATCHES_MAX), uids.ascending(MATCHES_MAX));
    match (sequences, uids) {
        (Some(sequences), Some(uids)) if sequences.len() == uids.len() => {
            Ok(sequences.into_iter().zip(uids).collect())
        }
        _ => start.fail("two ascending sets of as many numbers, 10,000 at most"),
    }
}
