//! Whether a message fits a SEARCH (RFC 9051 6.4.4).
//!
//! Invariants: a message is read no further than its answer needs: first the view's row, then date
//! and size, the header, the whole. Knowing more never changes an answer already given. Where the
//! store knows in which messages a text is ([`Program::learn`]), only those in doubt are read.
//! Not here: walking the mailbox and printing the result (`session`).

use std::cell::{OnceCell, RefCell};
use std::sync::Arc;

use grace_mail::date::Date;
use grace_mail::header;
use grace_mail::mime::Tree;
use grace_mail::text::{self, Needle};

use crate::command::{SearchKey, When};
use crate::date::Day;
use crate::facts;
use crate::flags::{Keyword, SystemFlag};
use crate::fuzzy::Fuzzy;
use crate::machine::{Beside, Hits, Message, Need, Sought};
use crate::rows::Row;
use crate::set::{Ranges, SequenceSet};
use crate::view::View;

/// A search made ready for many messages.
#[derive(Debug)]
pub enum Program {
    /// Every message, or none.
    Constant(bool),
    /// Sequence numbers.
    Sequence(Ranges),
    /// UIDs.
    Uid(Ranges),
    /// UIDs that `$` stands for, ascending; a search may name it very often.
    Kept(Arc<[u32]>),
    /// A system flag.
    Flag(SystemFlag),
    /// A keyword.
    Keyword(Keyword),
    /// `\Recent`
    Recent,
    /// The modification sequence is at least this.
    ModSeq(u64),
    /// INTERNALDATE.
    Internal(When, Day),
    /// The Date field.
    Sent(When, Day),
    /// The day of SAVEDATE.
    Saved(When, Day),
    /// INTERNALDATE is this moment or later.
    NotBefore(i64),
    /// INTERNALDATE is this moment or earlier.
    NotAfter(i64),
    /// EMAILID.
    EmailId(String),
    /// THREADID.
    ThreadId(String),
    /// More bytes than this.
    Larger(u64),
    /// Fewer bytes than this.
    Smaller(u64),
    /// A header field.
    Header(String, Needle),
    /// A text in the body, or in header and body; and where the store says it is.
    Text(Sought, Hits),
    /// A text that may be nearly there.
    Fuzzy(Within, Fuzzy),
    /// Not this.
    Not(Box<Self>),
    /// One of these.
    Any(Vec<Self>),
    /// All of these.
    All(Vec<Self>),
}

/// What a search asks of messages beside rows and bytes.
pub fn beside(key: &SearchKey) -> Beside {
    Beside {
        origin: key.any(&|key| matches!(key, SearchKey::Saved(..) | SearchKey::EmailId(_))),
        thread: key.any(&|key| matches!(key, SearchKey::ThreadId(_))),
        preview: None,
    }
}

/// Where a text is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Within {
    /// In header fields of this name.
    Fields(String),
    /// In the body.
    Body,
    /// In header and body.
    Everything,
}

/// What is known of a message so far.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its sequence number.
    pub sequence: u32,
    /// Its row.
    pub row: &'a Row,
    /// It is recent.
    pub is_recent: bool,
    /// What was read of it, and how much that is.
    pub read: Option<(&'a Message, Need)>,
}

impl Program {
    /// Prepares a search for a mailbox. `saved` are the UIDs `$` stands for, `now_s` is the time.
    pub fn new(key: &SearchKey, view: &View, saved: &[u32], now_s: i64) -> Self {
        Self::make(key, view, &saved.into(), now_s, false)
    }

    fn make(key: &SearchKey, view: &View, saved: &Arc<[u32]>, now_s: i64, fuzzy: bool) -> Self {
        let again = |key: &SearchKey| Self::make(key, view, saved, now_s, fuzzy);
        let set = |set: &SequenceSet, last: u32, make: fn(Ranges) -> Self| match set {
            SequenceSet::Saved => Self::Kept(Arc::clone(saved)),
            SequenceSet::Ranges(_) => make(set.resolve(last)),
        };
        match key {
            SearchKey::All => Self::Constant(true),
            SearchKey::Sequence(numbers) => set(numbers, view.count(), Self::Sequence),
            SearchKey::Uid(numbers) => set(numbers, view.last_uid(), Self::Uid),
            SearchKey::Flag(flag) => Self::Flag(*flag),
            SearchKey::Keyword(keyword) => Self::Keyword(keyword.clone()),
            SearchKey::Recent => Self::Recent,
            SearchKey::ModSeq(modseq) => Self::ModSeq(*modseq),
            SearchKey::Internal(when, day) => Self::Internal(*when, *day),
            SearchKey::Sent(when, day) => Self::Sent(*when, *day),
            SearchKey::Saved(when, day) => Self::Saved(*when, *day),
            // RFC 5032 3: both hold at the moment itself.
            SearchKey::Younger(s) => Self::NotBefore(now_s.saturating_sub(i64::from(*s))),
            SearchKey::Older(s) => Self::NotAfter(now_s.saturating_sub(i64::from(*s))),
            SearchKey::EmailId(id) => Self::EmailId(id.clone()),
            SearchKey::ThreadId(id) => Self::ThreadId(id.clone()),
            // Filters were put in before (`session::metadata`); none is left.
            SearchKey::Filter(_) => Self::Constant(false),
            SearchKey::Larger(bytes) => Self::Larger(*bytes),
            SearchKey::Smaller(bytes) => Self::Smaller(*bytes),
            SearchKey::Fuzzy(key) => Self::make(key, view, saved, now_s, true),
            // RFC 6203 3: an empty text asks only whether the field is there.
            SearchKey::Header(name, text) if fuzzy && !text.is_empty() => {
                Self::Fuzzy(Within::Fields(name.clone()), Fuzzy::new(text))
            }
            SearchKey::Body(text) if fuzzy => Self::Fuzzy(Within::Body, Fuzzy::new(text)),
            SearchKey::Text(text) if fuzzy => Self::Fuzzy(Within::Everything, Fuzzy::new(text)),
            SearchKey::Header(name, text) => Self::Header(name.clone(), Needle::new(text)),
            SearchKey::Body(text) => Self::text(text, false),
            SearchKey::Text(text) => Self::text(text, true),
            SearchKey::Not(key) => Self::Not(Box::new(again(key))),
            SearchKey::Or(one, other) => Self::Any(vec![again(one), again(other)]),
            SearchKey::And(keys) => Self::All(keys.iter().map(again).collect()),
        }
    }

    fn text(text: &str, in_head: bool) -> Self {
        Self::Text(Sought { needle: Needle::new(text), in_head }, Hits::unknown())
    }

    /// The texts whose places would be good to know.
    pub fn texts(&self) -> Vec<&Sought> {
        match self {
            Self::Text(sought, _) => vec![sought],
            Self::Not(program) => program.texts(),
            Self::Any(programs) | Self::All(programs) => {
                programs.iter().flat_map(Self::texts).collect()
            }
            _ => Vec::new(),
        }
    }

    /// How many comparisons a message costs at most.
    pub fn size(&self) -> usize {
        match self {
            Self::Not(program) => 1 + program.size(),
            Self::Any(programs) | Self::All(programs) => {
                1 + programs.iter().map(Self::size).sum::<usize>()
            }
            _ => 1,
        }
    }

    /// Takes in where its texts are, in the order of [`texts`](Self::texts).
    pub fn learn(&mut self, places: &mut impl Iterator<Item = Hits>) {
        match self {
            Self::Text(_, hits) => *hits = places.next().unwrap_or_else(Hits::unknown),
            Self::Not(program) => program.learn(places),
            Self::Any(programs) | Self::All(programs) => {
                programs.iter_mut().for_each(|program| program.learn(places));
            }
            _ => {}
        }
    }

    /// Whether the message fits; `Err` says how much more of it must be read to know.
    ///
    /// # Errors
    /// More of the message is needed.
    pub fn fits(&self, candidate: Candidate<'_>) -> Result<bool, Need> {
        self.holds(candidate, &Texts::default())
    }

    fn holds(&self, candidate: Candidate<'_>, texts: &Texts) -> Result<bool, Need> {
        let row = candidate.row;
        Ok(match self {
            Self::Constant(answer) => *answer,
            Self::Sequence(set) => set.contains(candidate.sequence),
            Self::Uid(set) => set.contains(row.uid),
            Self::Kept(uids) => uids.binary_search(&row.uid).is_ok(),
            Self::Flag(flag) => row.flags.has(*flag),
            Self::Keyword(keyword) => row.flags.has_keyword(keyword),
            Self::Recent => candidate.is_recent,
            Self::ModSeq(modseq) => row.modseq >= *modseq,
            Self::Internal(when, day) => {
                let message = candidate.upto(Need::Facts)?;
                compare(*when, message.date.day(), *day)
            }
            Self::Saved(when, day) => {
                let message = candidate.upto(Need::Facts)?;
                compare(*when, message.saved.day(), *day)
            }
            Self::NotBefore(s) => candidate.upto(Need::Facts)?.date.time_s >= *s,
            Self::NotAfter(s) => candidate.upto(Need::Facts)?.date.time_s <= *s,
            Self::EmailId(id) => candidate.upto(Need::Facts)?.email_id == *id,
            Self::ThreadId(id) => candidate.upto(Need::Facts)?.thread_id == *id,
            Self::Larger(bytes) => candidate.upto(Need::Facts)?.size > *bytes,
            Self::Smaller(bytes) => candidate.upto(Need::Facts)?.size < *bytes,
            Self::Sent(when, day) => {
                let message = candidate.upto(Need::Header)?;
                let value = header::value(head(message), b"Date");
                let sent = value.and_then(|value| Date::parse(&value));
                sent.is_some_and(|date| compare(*when, Day(date.days()), *day))
            }
            Self::Header(name, needle) => {
                let message = candidate.upto(Need::Header)?;
                let mut values = text::of_fields(head(message), name.as_bytes());
                values.any(|value| needle.is_in(&value))
            }
            Self::Text(sought, hits) => match hits.of(row.uid) {
                Some(answer) => answer,
                None => texts.have(&candidate.upto(Need::Whole)?.bytes, sought),
            },
            Self::Fuzzy(within, fuzzy) => score(within, fuzzy, candidate)? > 0,
            Self::Not(program) => !program.holds(candidate, texts)?,
            Self::Any(programs) => return some_is(programs, candidate, texts, true),
            Self::All(programs) => {
                return some_is(programs, candidate, texts, false).map(|found| !found);
            }
        })
    }
}

impl Program {
    /// Whether rows tell what is needed: of the header they keep some fields.
    pub fn is_told_by_rows(&self, need: Need) -> bool {
        need <= Need::Header && self.every_field(&facts::keeps)
    }

    /// Whether header fields are looked at.
    pub fn reads_fields(&self) -> bool {
        !self.every_field(&|_| false)
    }

    /// Whether `holds` is true of the name of every header field that is looked at.
    fn every_field(&self, holds: &dyn Fn(&[u8]) -> bool) -> bool {
        match self {
            Self::Sent(..) => holds(b"Date"),
            Self::Header(name, _) | Self::Fuzzy(Within::Fields(name), _) => holds(name.as_bytes()),
            Self::Not(program) => program.every_field(holds),
            Self::Any(programs) | Self::All(programs) => {
                programs.iter().all(|program| program.every_field(holds))
            }
            _ => true,
        }
    }

    /// How well a message fits that fits: 1 to 100, the mean over what was looked for with FUZZY
    /// and found (RFC 6203 4).
    ///
    /// # Errors
    /// More of the message is needed.
    pub fn relevancy(&self, candidate: Candidate<'_>) -> Result<u8, Need> {
        let mut scores = Vec::new();
        self.scores(candidate, &mut scores)?;
        let sum: usize = scores.iter().map(|score| usize::from(*score)).sum();
        let mean = sum.checked_div(scores.len()).unwrap_or(100);
        Ok(u8::try_from(mean).unwrap_or(100))
    }

    fn scores(&self, candidate: Candidate<'_>, scores: &mut Vec<u8>) -> Result<(), Need> {
        match self {
            Self::Fuzzy(within, fuzzy) => {
                scores.extend(Some(score(within, fuzzy, candidate)?).filter(|score| *score > 0));
            }
            Self::Any(programs) | Self::All(programs) => {
                for program in programs {
                    program.scores(candidate, scores)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// How near a text is to what a message says: 0 if not at all.
fn score(within: &Within, fuzzy: &Fuzzy, candidate: Candidate<'_>) -> Result<u8, Need> {
    let mut nearness = fuzzy.begin();
    if let Within::Fields(name) = within {
        let block = head(candidate.upto(Need::Header)?);
        text::of_fields(block, name.as_bytes()).for_each(|value| nearness.look(&value));
        return Ok(nearness.score());
    }
    let raw = &candidate.upto(Need::Whole)?.bytes;
    let tree = Tree::parse(raw);
    for (place, part) in tree.parts().enumerate() {
        let block = raw.get(part.header.clone()).unwrap_or_default();
        if place > 0 || *within == Within::Everything {
            nearness.look(&text::of_header(block));
        }
        if let Some(said) = text::of_part(raw, part) {
            nearness.look(&said);
        }
    }
    Ok(nearness.score())
}

/// Whether one of the programs gives `wanted`: cheap answers first, whatever the order written.
fn some_is(
    programs: &[Program],
    candidate: Candidate<'_>,
    texts: &Texts,
    wanted: bool,
) -> Result<bool, Need> {
    let mut need: Option<Need> = None;
    for program in programs {
        match program.holds(candidate, texts) {
            Ok(answer) if answer == wanted => return Ok(true),
            Ok(_) => {}
            Err(more) => need = Some(need.map_or(more, |need| need.min(more))),
        }
    }
    need.map_or(Ok(false), Err)
}

/// The texts of a message, decoded and folded once for all keys that look for some, as far as they
/// looked.
#[derive(Debug, Default)]
struct Texts {
    tree: OnceCell<Tree>,
    head: OnceCell<Option<String>>,
    /// Of each part of the body.
    parts: RefCell<Vec<Vec<String>>>,
}

impl Texts {
    /// Whether what is looked for is in one of them.
    fn have(&self, raw: &[u8], sought: &Sought) -> bool {
        let tree = self.tree.get_or_init(|| Tree::parse(raw));
        let is_in = |text: &String| sought.needle.is_in_folded(text);
        let head = || text::of_head(raw, tree).map(|text| text::fold(&text));
        if sought.in_head && self.head.get_or_init(head).as_ref().is_some_and(is_in) {
            return true;
        }
        let mut parts = self.parts.borrow_mut();
        if parts.iter().flatten().any(is_in) {
            return true;
        }
        for part in tree.parts().skip(parts.len()) {
            let folded = text::of_body_part(raw, part).map(|text| text::fold(&text));
            let folded: Vec<String> = folded.collect();
            let found = folded.iter().any(is_in);
            parts.push(folded);
            if found {
                return true;
            }
        }
        false
    }
}

impl<'a> Candidate<'a> {
    /// The message, if it was read so far.
    fn upto(&self, need: Need) -> Result<&'a Message, Need> {
        match self.read {
            Some((message, have)) if have >= need => Ok(message),
            _ => Err(need),
        }
    }
}

/// The message's header; the same whether only it was read or everything.
fn head(message: &Message) -> &[u8] {
    let bytes = message.bytes.as_slice();
    let mut at = 0;
    while let Some(line) = header::line_at(bytes, at) {
        at += line.len();
        if header::is_blank(line) {
            break;
        }
    }
    bytes.get(..at).unwrap_or_default()
}

fn compare(when: When, found: Day, wanted: Day) -> bool {
    match when {
        When::Before => found < wanted,
        When::On => found == wanted,
        When::Since => found >= wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A search that names `$` two thousand times would else hold two thousand copies.
    #[test]
    fn what_was_saved_is_held_once() {
        let key = SearchKey::And(vec![SearchKey::Uid(SequenceSet::Saved); 3]);
        let Program::All(programs) = Program::new(&key, &View::default(), &[1, 2], 0) else {
            panic!("not all of them");
        };
        let held: Vec<&Arc<[u32]>> = programs
            .iter()
            .map(|program| match program {
                Program::Kept(uids) => uids,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(**held[0], [1, 2]);
        assert!(held.iter().all(|uids| Arc::ptr_eq(uids, held[0])));
    }
}
