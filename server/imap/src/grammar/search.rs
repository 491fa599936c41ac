//! Grammar of SEARCH (RFC 9051 6.4.4), SORT and THREAD (RFC 5256 5) and their UID forms.
//!
//! Invariants: keys nest at most [`DEPTH_MAX`] deep and count at most [`KEYS_MAX`], so that running
//! a search costs a bounded number of comparisons for each message.
//! Not here: what the keys mean (`search`).

use crate::command::{FetchItem, Order, Search, SearchKey, SearchReturn, Source, Verb, When};
use crate::cursor::{Cursor, Parsed, Refusal};
use crate::date::Day;
use crate::flags::{Keyword, SystemFlag};
use crate::grammar::fetch::{self, window};
use crate::grammar::{Dialect, mailbox, sequence_set};
use crate::name::MailboxName;
use crate::response::Code;
use crate::sort::{Criterion, Key};
use crate::thread::Algorithm;

/// Deepest nesting of NOT, OR and parentheses. People's filters nest three or four.
const DEPTH_MAX: usize = 64;

/// Most sort keys: each of them twice.
const CRITERIA_MAX: usize = 2 * Key::NAMES.len();

/// Most mailboxes in one list of NOTIFY or ESEARCH: each mailbox there is, is compared with each.
const NAMES_MAX: usize = 1_000;

/// Most keys of one search.
const KEYS_MAX: usize = 2_000;

pub(crate) fn search(cursor: &mut Cursor<'_>, dialect: Dialect, uid: bool) -> Parsed<Verb> {
    cursor.space()?;
    let (returns, fetch) = returns(cursor)?;
    if cursor.eat_text("CHARSET ") {
        if dialect.no_charset {
            let text = "SEARCH must not name a charset after ENABLE UTF8=ACCEPT";
            return Err(Refusal::Bad(text.to_owned()));
        }
        if let Err(refusal) = charset(cursor) {
            return Err(beside_filter(cursor, refusal));
        }
    }
    let key = Reader { keys: 0 }.keys_until_end(cursor)?;
    let order = Order::Mailbox;
    Ok(Verb::Search(Search { uid, order, sources: None, returns, fetch, key }))
}

/// Whether a command that could not be read to its end is a SEARCH with SAVE.
pub(crate) fn saves(input: &[u8]) -> bool {
    let mut cursor = Cursor::new(input);
    let head = cursor.tag().and_then(|_| cursor.space());
    let is_search = cursor.eat_text("UID SEARCH ") || cursor.eat_text("SEARCH ");
    if head.is_err() || !is_search {
        return false;
    }
    matches!(returns(&mut cursor), Ok((Some(SearchReturn { save: true, .. }), _)))
}

/// `ESEARCH [IN (sources)] [RETURN (…)] [CHARSET …] keys` (RFC 7377 2).
pub(crate) fn esearch(cursor: &mut Cursor<'_>, dialect: Dialect) -> Parsed<Verb> {
    let mut sources = vec![Source::Selected];
    let start = cursor.clone();
    if cursor.eat_text(" IN ") {
        sources = cursor.list(1, |cursor| {
            // RFC 7377 2.2: NOTIFY alone has it.
            match cursor.clone().eat_text("SELECTED-DELAYED") {
                true => cursor.fail("a source without delay"),
                false => source(cursor, dialect),
            }
        })?;
    }
    let found = search(cursor, dialect, true)?;
    let Verb::Search(search) = found else { return Ok(found) };
    // RFC 7377 2.1: numbers of messages mean nothing where several mailboxes are searched.
    let is_selected = sources == [Source::Selected];
    if !is_selected && search.key.names_selected() {
        return start.fail("no sequence numbers and no '$' behind this");
    }
    if search.returns.is_some_and(|returns| returns.save) && !is_selected {
        return start.fail("no SAVE for several mailboxes behind this");
    }
    Ok(Verb::Search(Search { sources: Some(sources), ..search }))
}

/// `filter-mailboxes` (RFC 5465 8) with `subtree-one` (RFC 7377 2.2).
pub(super) fn source(cursor: &mut Cursor<'_>, dialect: Dialect) -> Parsed<Source> {
    let start = cursor.clone();
    let word = cursor.word("a kind of mailboxes")?;
    Ok(match word.as_str() {
        "SELECTED" | "SELECTED-DELAYED" => Source::Selected,
        "INBOXES" => Source::Inboxes,
        "PERSONAL" => Source::Personal,
        "SUBSCRIBED" => Source::Subscribed,
        "SUBTREE" => Source::Subtree(mailboxes(cursor, dialect)?),
        "SUBTREE-ONE" => Source::SubtreeOne(mailboxes(cursor, dialect)?),
        "MAILBOXES" => Source::Mailboxes(mailboxes(cursor, dialect)?),
        _ => return start.fail("selected, inboxes, personal, subscribed, subtree or mailboxes"),
    })
}

/// `one-or-more-mailbox`. RFC 5465 3.1: names of no mailbox are passed over, and so are those that
/// no mailbox can have (`a*`, RFC 5465 6.6).
fn mailboxes(cursor: &mut Cursor<'_>, dialect: Dialect) -> Parsed<Vec<MailboxName>> {
    let name = |cursor: &mut Cursor<'_>| {
        Ok(mailbox::name_of(&cursor.astring("a mailbox name")?, dialect).ok())
    };
    cursor.space()?;
    let names = match cursor.peek() {
        Some(b'(') => cursor.list(1, name)?,
        _ => vec![name(cursor)?],
    };
    if names.len() > NAMES_MAX {
        let text = format!("at most {NAMES_MAX} mailboxes can be named one by one");
        return Err(Refusal::No(Some(Code::Limit), text));
    }
    Ok(names.into_iter().flatten().collect())
}

/// `objectid = 1*255(ALPHA / DIGIT / "_" / "-")` (RFC 8474 7).
fn object_id(cursor: &mut Cursor<'_>) -> Parsed<String> {
    const OBJECT_ID_BYTES_MAX: usize = 255;
    let start = cursor.clone();
    let id = cursor.text("an object identifier")?;
    let is_one = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match (1..=OBJECT_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(is_one) {
        true => Ok(id),
        false => start.fail("an object identifier of at most 255 letters, digits, _ and -"),
    }
}

/// The value of a filter (RFC 5466 3.1): `[CHARSET …] keys`; also how many keys it has.
pub(crate) fn program(value: &[u8]) -> Parsed<(SearchKey, usize)> {
    let mut cursor = Cursor::new(value);
    if cursor.eat_text("CHARSET ") {
        charset(&mut cursor)?;
    }
    let mut reader = Reader { keys: 0 };
    let key = reader.keys_until_end(&mut cursor)?;
    cursor.end()?;
    Ok((key, reader.keys))
}

/// `SORT [RETURN (…)] (REVERSE DATE) UTF-8 keys` (RFC 5256 5, RFC 5267 5).
pub(crate) fn sort(cursor: &mut Cursor<'_>, uid: bool) -> Parsed<Verb> {
    cursor.space()?;
    let start = cursor.clone();
    let (returns, fetch) = returns(cursor)?;
    if returns.is_some_and(|returns| returns.save) {
        // RFC 5182 2.1 gives SAVE to SEARCH alone.
        return start.fail("RETURN without SAVE");
    }
    let criteria = cursor.list(1, |cursor| {
        let reverse = cursor.eat_text("REVERSE ");
        let start = cursor.clone();
        let word = cursor.word("a sort key")?;
        match Key::NAMES.iter().find(|(_, name)| *name == word) {
            Some((key, _)) => Ok(Criterion { key: *key, reverse }),
            None => start.fail("a sort key"),
        }
    })?;
    if criteria.len() > CRITERIA_MAX {
        let text = format!("SORT takes at most {CRITERIA_MAX} keys");
        return Err(Refusal::No(Some(Code::Limit), text));
    }
    cursor.space()?;
    charset(cursor)?;
    let key = Reader { keys: 0 }.keys_until_end(cursor)?;
    let order = Order::Sort(criteria);
    Ok(Verb::Search(Search { uid, order, sources: None, returns, fetch, key }))
}

/// `THREAD REFERENCES UTF-8 keys` (RFC 5256 5).
pub(crate) fn thread(cursor: &mut Cursor<'_>, uid: bool) -> Parsed<Verb> {
    cursor.space()?;
    let start = cursor.clone();
    let word = cursor.word("a thread algorithm")?;
    let Some((algorithm, _)) = Algorithm::NAMES.iter().find(|(_, name)| *name == word) else {
        return start.fail("ORDEREDSUBJECT, REFERENCES or REFS");
    };
    cursor.space()?;
    charset(cursor)?;
    let key = Reader { keys: 0 }.keys_until_end(cursor)?;
    let (order, fetch) = (Order::Thread(*algorithm), Vec::new());
    Ok(Verb::Search(Search { uid, order, sources: None, returns: None, fetch, key }))
}

/// `RETURN (…)` and the space behind it; what is fetched of messages that come later.
fn returns(cursor: &mut Cursor<'_>) -> Parsed<(Option<SearchReturn>, Vec<FetchItem>)> {
    if !cursor.eat_text("RETURN ") {
        return Ok((None, Vec::new()));
    }
    let (returns, fetch) = return_options(cursor)?;
    cursor.space()?;
    Ok((Some(returns), fetch))
}

/// The name of a charset and the space behind it.
fn charset(cursor: &mut Cursor<'_>) -> Parsed<()> {
    let charset = cursor.text("a charset")?;
    // RFC 9051 6.4.4: US-ASCII and UTF-8 must be known.
    if !["US-ASCII", "UTF-8"].iter().any(|known| known.eq_ignore_ascii_case(&charset)) {
        let text = "the charset must be US-ASCII or UTF-8".to_owned();
        return Err(Refusal::No(Some(Code::BadCharset), text));
    }
    cursor.space()
}

/// RFC 5466 3.1: a charset that is not known is BAD where filters are named, which are in UTF-8.
fn beside_filter(cursor: &mut Cursor<'_>, refusal: Refusal) -> Refusal {
    let key = cursor.space().and_then(|()| Reader { keys: 0 }.keys_until_end(cursor));
    match (refusal, key) {
        (Refusal::No(Some(code), text), Ok(key)) if key.any(&SearchKey::is_filter) => {
            Refusal::BadWith(code, text)
        }
        (refusal, _) => refusal,
    }
}

fn return_options(cursor: &mut Cursor<'_>) -> Parsed<(SearchReturn, Vec<FetchItem>)> {
    let (mut returns, mut fetch) = (SearchReturn::default(), Vec::new());
    let start = cursor.clone();
    cursor.list(0, |cursor| {
        let before = cursor.clone();
        match cursor.word("a result option")?.as_str() {
            "MIN" => returns.min = true,
            "MAX" => returns.max = true,
            "ALL" => returns.all = true,
            "COUNT" => returns.count = true,
            "SAVE" => returns.save = true,
            "RELEVANCY" => returns.relevancy = true,
            "UPDATE" => {
                returns.update = true;
                if cursor.eat_text(" (") {
                    fetch = fetch::items(cursor)?;
                }
            }
            // RFC 5267 4.2: a hint that the search will be made again; it costs the same.
            "CONTEXT" => {}
            "PARTIAL" if returns.partial.is_none() => {
                cursor.space()?;
                returns.partial = Some(window(cursor)?);
            }
            _ => return before.fail("a result option that is known"),
        }
        Ok(())
    })?;
    // RFC 9394 3.1: "MUST NOT contain more than one PARTIAL or ALL".
    if returns.all && returns.partial.is_some() {
        return start.fail("either ALL or PARTIAL, not both");
    }
    // RFC 9051 6.4.4: "RETURN ()" is "RETURN (ALL)"; scores stand beside results (RFC 6203 4).
    let SearchReturn { min, max, all, count, save, partial, .. } = returns;
    returns.all |= !(min || max || all || count || save || partial.is_some());
    Ok((returns, fetch))
}

struct Reader {
    keys: usize,
}

impl Reader {
    fn keys_until_end(&mut self, cursor: &mut Cursor<'_>) -> Parsed<SearchKey> {
        let mut keys = vec![self.key(cursor, 0)?];
        while cursor.peek() == Some(b' ') && !cursor.rest().trim_ascii().is_empty() {
            cursor.space()?;
            keys.push(self.key(cursor, 0)?);
        }
        Ok(joined(keys))
    }

    fn key(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Parsed<SearchKey> {
        self.keys += 1;
        if depth > DEPTH_MAX || self.keys > KEYS_MAX {
            let text = format!("SEARCH takes at most {KEYS_MAX} keys, nested {DEPTH_MAX} deep");
            return Err(Refusal::No(Some(Code::Limit), text));
        }
        match cursor.peek() {
            Some(b'(') => {
                let keys = cursor.list(1, |cursor| self.key(cursor, depth + 1))?;
                return Ok(joined(keys));
            }
            Some(b'0'..=b'9' | b'*' | b'$') => {
                return sequence_set(cursor).map(SearchKey::Sequence);
            }
            _ => {}
        }
        let start = cursor.clone();
        let word = cursor.word("a search key")?;
        if let Some(key) = bare(&word) {
            return Ok(key);
        }
        if let Some(key) = with_text(&word, cursor)? {
            return Ok(key);
        }
        match word.as_str() {
            "FILTER" => {
                cursor.space()?;
                let start = cursor.clone();
                match cursor.atom("the name of a filter")? {
                    name if name.contains('/') => start.fail("the name of a filter, without '/'"),
                    name => Ok(SearchKey::Filter(name.to_owned())),
                }
            }
            "FUZZY" => {
                cursor.space()?;
                Ok(SearchKey::Fuzzy(Box::new(self.key(cursor, depth + 1)?)))
            }
            "NOT" => {
                cursor.space()?;
                Ok(not(self.key(cursor, depth + 1)?))
            }
            "OR" => {
                cursor.space()?;
                let one = self.key(cursor, depth + 1)?;
                cursor.space()?;
                let other = self.key(cursor, depth + 1)?;
                Ok(SearchKey::Or(Box::new(one), Box::new(other)))
            }
            _ => with_value(&word, cursor, &start),
        }
    }
}

fn joined(mut keys: Vec<SearchKey>) -> SearchKey {
    match keys.len() {
        1 => keys.pop().unwrap_or(SearchKey::All),
        _ => SearchKey::And(keys),
    }
}

fn not(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}

/// Keys without an argument.
fn bare(word: &str) -> Option<SearchKey> {
    use SystemFlag::{Answered, Deleted, Draft, Flagged, Seen};
    let flag = SearchKey::Flag;
    Some(match word {
        "ALL" => SearchKey::All,
        "ANSWERED" => flag(Answered),
        "DELETED" => flag(Deleted),
        "DRAFT" => flag(Draft),
        "FLAGGED" => flag(Flagged),
        "SEEN" => flag(Seen),
        "UNANSWERED" => not(flag(Answered)),
        "UNDELETED" => not(flag(Deleted)),
        "UNDRAFT" => not(flag(Draft)),
        "UNFLAGGED" => not(flag(Flagged)),
        "UNSEEN" => not(flag(Seen)),
        "RECENT" => SearchKey::Recent,
        // RFC 8514 4.3: every mailbox here keeps it.
        "SAVEDATESUPPORTED" => SearchKey::All,
        "OLD" => not(SearchKey::Recent),
        // RFC 3501 6.4.4: "functionally equivalent to (RECENT UNSEEN)".
        "NEW" => SearchKey::And(vec![SearchKey::Recent, not(flag(Seen))]),
        _ => return None,
    })
}

/// Keys that look for a text.
fn with_text(word: &str, cursor: &mut Cursor<'_>) -> Parsed<Option<SearchKey>> {
    let mut text = || {
        cursor.space()?;
        cursor.text("a text to look for")
    };
    Ok(Some(match word {
        "BCC" | "CC" | "FROM" | "SUBJECT" | "TO" => SearchKey::Header(word.to_owned(), text()?),
        "BODY" => SearchKey::Body(text()?),
        "TEXT" => SearchKey::Text(text()?),
        "HEADER" => {
            let field = text()?.to_ascii_uppercase();
            SearchKey::Header(field, text()?)
        }
        _ => return Ok(None),
    }))
}

/// Keys with a date, a number, a keyword or a set.
fn with_value(word: &str, cursor: &mut Cursor<'_>, start: &Cursor<'_>) -> Parsed<SearchKey> {
    Ok(match word {
        "BEFORE" => SearchKey::Internal(When::Before, day(cursor)?),
        "ON" => SearchKey::Internal(When::On, day(cursor)?),
        "SINCE" => SearchKey::Internal(When::Since, day(cursor)?),
        "SENTBEFORE" => SearchKey::Sent(When::Before, day(cursor)?),
        "SENTON" => SearchKey::Sent(When::On, day(cursor)?),
        "SENTSINCE" => SearchKey::Sent(When::Since, day(cursor)?),
        "SAVEDBEFORE" => SearchKey::Saved(When::Before, day(cursor)?),
        "SAVEDON" => SearchKey::Saved(When::On, day(cursor)?),
        "SAVEDSINCE" => SearchKey::Saved(When::Since, day(cursor)?),
        "YOUNGER" | "OLDER" => {
            cursor.space()?;
            let seconds = cursor.positive("a number of seconds")?;
            if word == "YOUNGER" { SearchKey::Younger(seconds) } else { SearchKey::Older(seconds) }
        }
        "EMAILID" | "THREADID" => {
            cursor.space()?;
            let id = object_id(cursor)?;
            if word == "EMAILID" { SearchKey::EmailId(id) } else { SearchKey::ThreadId(id) }
        }
        "LARGER" | "SMALLER" => {
            cursor.space()?;
            let bytes = cursor.number64("a size in bytes")?;
            if word == "LARGER" { SearchKey::Larger(bytes) } else { SearchKey::Smaller(bytes) }
        }
        "KEYWORD" | "UNKEYWORD" => {
            cursor.space()?;
            let before = cursor.clone();
            let Some(keyword) = Keyword::parse(cursor.atom("a keyword")?) else {
                return before.fail("a keyword of at most 128 bytes");
            };
            let key = SearchKey::Keyword(keyword);
            if word == "KEYWORD" { key } else { not(key) }
        }
        "UID" => {
            cursor.space()?;
            SearchKey::Uid(sequence_set(cursor)?)
        }
        "MODSEQ" => mod_sequence(cursor)?,
        _ => return start.fail("a search key"),
    })
}

/// `date`: bare or quoted.
fn day(cursor: &mut Cursor<'_>) -> Parsed<Day> {
    cursor.space()?;
    let start = cursor.clone();
    let text = cursor.text("a date")?;
    Day::parse(&text).map_or_else(|| start.fail("a date such as 1-Feb-1994"), Ok)
}

/// RFC 7162 3.1.5: `MODSEQ ["/flags/\\draft" all] 620162338`; we keep one sequence for all
/// metadata.
fn mod_sequence(cursor: &mut Cursor<'_>) -> Parsed<SearchKey> {
    cursor.space()?;
    if cursor.peek() == Some(b'"') {
        cursor.string()?;
        cursor.space()?;
        let scope = cursor.word("priv, shared or all")?;
        if !["PRIV", "SHARED", "ALL"].contains(&scope.as_str()) {
            return cursor.fail("priv, shared or all before this");
        }
        cursor.space()?;
    }
    Ok(SearchKey::ModSeq(cursor.number64("a modification sequence")?))
}
