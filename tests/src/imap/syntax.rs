//! What an IMAP server says, read by the grammar of RFC 9051 section 9.
//!
//! Not here: reading it off a connection ([`super::client`]), what it means ([`super::picture`]).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// A word of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An atom, a number, `NIL`.
    Atom(String),
    /// A string, quoted or literal.
    Text(Vec<u8>),
    /// A list in brackets.
    List(Vec<Self>),
}

/// A status response, tagged (with that tag) or not (`*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The tag.
    pub tag: String,
    /// `OK`, `NO`, `BAD`, `BYE`, `PREAUTH`.
    pub word: String,
    /// What stands in square brackets, in words.
    pub code: Vec<String>,
    /// The rest of the line.
    pub text: String,
}

/// What one FETCH says of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// UID.
    pub uid: Option<u32>,
    /// FLAGS, without `\Recent`, which each session has for itself.
    pub flags: Option<BTreeSet<String>>,
    /// MODSEQ.
    pub modseq: Option<u64>,
    /// BODY[].
    pub body: Option<Vec<u8>>,
}

/// One response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// `+ …`
    Continue,
    /// `tag OK …`
    Tagged(Status),
    /// `* OK …`, `* BYE …`
    Status(Status),
    /// `* n EXISTS`
    Exists(u32),
    /// `* n EXPUNGE`
    Expunge(u32),
    /// `* n FETCH (…)`
    Fetch(u32, Fetched),
    /// `* uid UIDFETCH (…)`
    UidFetch(u32, Fetched),
    /// `* VANISHED …`; true with `(EARLIER)`.
    Vanished(bool, Vec<RangeInclusive<u32>>),
    /// `* SEARCH …`
    Search(Vec<u32>),
    /// `* ESEARCH … ALL …`
    Esearch(Vec<RangeInclusive<u32>>),
    /// `* STATUS name (…)`
    MailboxStatus(String, Vec<(String, u64)>),
    /// Anything else.
    Other(String),
}

/// Reads one response: a line without its CRLF, literals and their bytes in it.
///
/// # Errors
/// It does not follow the grammar.
pub fn response(line: &[u8]) -> Result<Response, String> {
    let broken = |why: &str| format!("{why}: {}", line.escape_ascii());
    if line.starts_with(b"+") {
        return Ok(Response::Continue);
    }
    let text = String::from_utf8_lossy(line).into_owned();
    let (tag, rest) = text.split_once(' ').ok_or_else(|| broken("one word"))?;
    let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
    if ["OK", "NO", "BAD", "BYE", "PREAUTH"].contains(&word) {
        let status = status(tag, word, after);
        return Ok(if tag == "*" { Response::Status(status) } else { Response::Tagged(status) });
    }
    if tag != "*" {
        return Err(broken("a tagged line that is no status"));
    }
    if let Ok(number) = word.parse::<u32>() {
        return numbered(number, line, after).ok_or_else(|| broken("a number without a meaning"));
    }
    let numbers = || after.split_whitespace().map_while(|number| number.parse().ok());
    Ok(match word {
        "VANISHED" => {
            let (earlier, set) = match after.strip_prefix("(EARLIER) ") {
                Some(set) => (true, set),
                None => (false, after),
            };
            Response::Vanished(earlier, ranges(set).ok_or_else(|| broken("no set of UIDs"))?)
        }
        "SEARCH" => Response::Search(numbers().collect()),
        "ESEARCH" => {
            let mut words = after.split(' ').skip_while(|word| *word != "ALL").skip(1);
            let all = words.next().map_or(Some(Vec::new()), ranges);
            Response::Esearch(all.ok_or_else(|| broken("no set"))?)
        }
        "STATUS" => mailbox_status(after).ok_or_else(|| broken("no STATUS"))?,
        _ => Response::Other(text),
    })
}

fn status(tag: &str, word: &str, rest: &str) -> Status {
    let (code, text) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((code, text)) => (code, text.trim_start()),
        None => ("", rest),
    };
    let code = code.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    Status { tag: tag.to_owned(), word: word.to_owned(), code, text: text.to_owned() }
}

/// `1,3:5` as ranges.
#[must_use]
pub fn ranges(set: &str) -> Option<Vec<RangeInclusive<u32>>> {
    let one = |part: &str| {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    set.split(',').map(one).collect()
}

fn numbered(number: u32, line: &[u8], after: &str) -> Option<Response> {
    let (word, _) = after.split_once(' ').unwrap_or((after, ""));
    Some(match word {
        "EXISTS" => Response::Exists(number),
        "EXPUNGE" => Response::Expunge(number),
        "RECENT" => Response::Other(after.to_owned()),
        "FETCH" | "UIDFETCH" => {
            let at = line.windows(6).position(|window| window == b"FETCH ")? + 6;
            let mut rest = line.get(at..)?;
            let Value::List(items) = value(&mut rest)? else { return None };
            let fetched = fetched(&items)?;
            if !rest.is_empty() {
                return None;
            }
            match word {
                "FETCH" => Response::Fetch(number, fetched),
                _ => Response::UidFetch(number, fetched),
            }
        }
        _ => return None,
    })
}

fn fetched(items: &[Value]) -> Option<Fetched> {
    let mut fetched = Fetched::default();
    for pair in items.chunks(2) {
        let [Value::Atom(name), content] = pair else { return None };
        match (name.as_str(), content) {
            ("UID", Value::Atom(number)) => fetched.uid = Some(number.parse().ok()?),
            ("FLAGS", Value::List(flags)) => {
                let name = |flag: &Value| match flag {
                    Value::Atom(name) => Some(name.clone()),
                    _ => None,
                };
                let names: Option<BTreeSet<String>> = flags.iter().map(name).collect();
                let mut names = names?;
                names.remove("\\Recent");
                fetched.flags = Some(names);
            }
            ("MODSEQ", Value::List(numbers)) => {
                let [Value::Atom(number)] = numbers.as_slice() else { return None };
                fetched.modseq = Some(number.parse().ok()?);
            }
            ("BODY[]", Value::Text(bytes)) => fetched.body = Some(bytes.clone()),
            _ => {}
        }
    }
    Some(fetched)
}

fn mailbox_status(after: &str) -> Option<Response> {
    let (name, figures) = after.rsplit_once(" (")?;
    let words: Vec<&str> = figures.trim_end_matches(')').split(' ').collect();
    let pair = |pair: &[&str]| match pair {
        [name, figure] => Some(((*name).to_owned(), figure.parse().ok()?)),
        _ => None,
    };
    let figures = words.chunks(2).map(pair).collect::<Option<_>>()?;
    Some(Response::MailboxStatus(name.trim_matches('"').to_owned(), figures))
}

/// Takes one value off the front, and the space behind it.
fn value(rest: &mut &[u8]) -> Option<Value> {
    let (&first, after) = rest.split_first()?;
    let found = match first {
        b'(' => {
            *rest = after;
            let mut values = Vec::new();
            while !rest.starts_with(b")") {
                values.push(value(rest)?);
            }
            *rest = rest.get(1..)?;
            Value::List(values)
        }
        b'"' => quoted(rest)?,
        b'{' | b'~' => {
            let start = rest.iter().position(|byte| *byte == b'{')? + 1;
            let end = rest.iter().position(|byte| *byte == b'}')?;
            let length: usize = std::str::from_utf8(rest.get(start..end)?).ok()?.parse().ok()?;
            // Behind the brace comes CRLF.
            let bytes = rest.get(end + 3..)?.get(..length)?;
            *rest = rest.get(end + 3 + length..)?;
            Value::Text(bytes.to_vec())
        }
        _ => atom(rest)?,
    };
    *rest = rest.strip_prefix(b" ").unwrap_or(rest);
    Some(found)
}

fn quoted(rest: &mut &[u8]) -> Option<Value> {
    let mut bytes = Vec::new();
    let mut places = rest.iter().copied().enumerate().skip(1);
    while let Some((at, byte)) = places.next() {
        match byte {
            b'"' => {
                *rest = rest.get(at + 1..)?;
                return Some(Value::Text(bytes));
            }
            b'\\' => bytes.push(places.next()?.1),
            byte => bytes.push(byte),
        }
    }
    None
}

/// An atom ends with a space or a bracket; what stands in square brackets is part of it.
fn atom(rest: &mut &[u8]) -> Option<Value> {
    let mut depth = 0usize;
    let ends = |byte: u8| {
        match byte {
            b'[' => depth += 1,
            b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && matches!(byte, b' ' | b'(' | b')' | b'"' | b'{' | b'\r')
    };
    let end = rest.iter().copied().position(ends).unwrap_or(rest.len());
    if end == 0 {
        return None;
    }
    let (word, after) = rest.split_at(end);
    *rest = after;
    Some(Value::Atom(String::from_utf8_lossy(word).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_read() {
        let read = |line: &str| response(line.as_bytes()).expect("well formed");
        assert_eq!(read("* 3 EXISTS"), Response::Exists(3));
        assert_eq!(
            read("* VANISHED (EARLIER) 1,3:5"),
            Response::Vanished(true, vec![1..=1, 3..=5])
        );
        assert_eq!(read("* SEARCH 2 4 (MODSEQ 9)"), Response::Search(vec![2, 4]));
        assert_eq!(read("* ESEARCH (TAG \"a\") UID ALL 1:2"), Response::Esearch(vec![1..=2]));
        let flags = BTreeSet::from(["\\Seen".to_owned(), "$One".to_owned()]);
        let whole = Fetched {
            uid: Some(7),
            flags: Some(flags),
            modseq: Some(9),
            body: Some(b"a)\r\nb".to_vec()),
        };
        assert_eq!(
            read("* 2 FETCH (UID 7 FLAGS (\\Seen \\Recent $One) MODSEQ (9) BODY[] {5}\r\na)\r\nb)"),
            Response::Fetch(2, whole)
        );
        let Response::Tagged(status) = read("a OK [COPYUID 1 2:3 4:5] done") else {
            panic!("tagged")
        };
        assert_eq!(status.code, ["COPYUID", "1", "2:3", "4:5"]);
        assert!(response(b"* 2 FETCH (UID 7").is_err() && response(b"a b c").is_err());
    }
}
