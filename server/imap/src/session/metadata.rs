//! GETMETADATA and SETMETADATA, and the filters of SEARCH that are kept there (RFC 5464, RFC 5466).
//!
//! Not here: LIST's METADATA (`list`).

use super::messages::Finish;
use super::{Job, Session};
use crate::command::{GetMetadata, Search, SearchKey, Source};
use crate::grammar::search as grammar;
use crate::machine::{Answer, Request};
use crate::metadata::{Depth, Entry};
use crate::name::MailboxName;
use crate::response::{Code, Out};
use crate::view::Allowed;

/// Deepest nesting of filters within filters. A filter that names itself ends there.
const FILTER_DEPTH_MAX: usize = 8;

/// Most keys of a search with its filters put in.
const FILTERED_KEYS_MAX: usize = 2_000;

/// A GETMETADATA under way.
#[derive(Debug)]
pub(super) struct MetadataJob {
    tag: String,
    get: GetMetadata,
}

/// A SEARCH whose filters are being looked up.
#[derive(Debug)]
pub(super) struct FilterJob {
    tag: String,
    search: Search,
}

/// An entry with its value.
type Valued = (Entry, Vec<u8>);

/// Writes `* METADATA mailbox (entry value …)`: those wanted, with NIL for what is not there (RFC
/// 5464 4.4.1). Values longer than `bytes_max` are left out; the longest of them is returned.
pub(super) fn metadata_line(
    out: &mut Out,
    mailbox: Option<&MailboxName>,
    get: &GetMetadata,
    entries: &[Valued],
) -> Option<u64> {
    let mut longest = None;
    let mut told: Vec<(&Entry, Option<&[u8]>)> = Vec::new();
    for wanted in &get.entries {
        let within = entries.iter().filter(|(entry, _)| entry.is_within(wanted, get.depth));
        for (entry, value) in within {
            let size = value.len() as u64;
            if get.bytes_max.is_some_and(|most| size > most) {
                longest = longest.max(Some(size));
            } else if !told.iter().any(|(known, _)| *known == entry) {
                told.push((entry, Some(value)));
            }
        }
        let is_there = entries.iter().any(|(entry, _)| entry == wanted);
        if !is_there && get.depth == Depth::Zero {
            told.push((wanted, None));
        }
    }
    if told.is_empty() {
        return longest;
    }
    out.raw("* METADATA ");
    match mailbox {
        Some(mailbox) => out.mailbox(mailbox.as_str()),
        None => out.raw("\"\""),
    };
    out.raw(" (");
    for (place, (entry, value)) in told.into_iter().enumerate() {
        out.raw(if place == 0 { "" } else { " " });
        out.astring(entry.as_str()).raw(" ");
        // RFC 5464 5: a value with NUL is a literal8.
        out.raw(if value.is_some_and(|value| value.contains(&0)) { "~" } else { "" });
        out.nstring(value);
    }
    out.say(")");
    longest
}

impl Session {
    pub(super) fn get_metadata(&mut self, tag: String, get: GetMetadata) {
        self.ask = Some(Request::Metadata(get.mailbox.clone()));
        self.job = Some(Job::Metadata(MetadataJob { tag, get }));
    }

    pub(super) fn metadata_answered(&mut self, job: MetadataJob, answer: Option<Answer>) {
        let MetadataJob { tag, get } = job;
        let entries = match answer {
            Some(Answer::Metadata(entries)) => entries,
            answer => return self.misanswered(&tag, answer),
        };
        let longest = metadata_line(&mut self.out, get.mailbox.as_ref(), &get, &entries);
        // RFC 5464 4.2.1: the client learns how long the longest was that it did not get.
        let code = longest.map(Code::MetadataLongEntries);
        let finish = Finish::ok(tag, "GETMETADATA done", Allowed::Everything);
        self.finish_with(Finish { code, ..finish });
    }

    /// A search that names filters: what they stand for is asked first (RFC 5466 3).
    pub(super) fn filtered_search(&mut self, tag: String, search: Search) {
        self.ask = Some(Request::Metadata(None));
        self.job = Some(Job::Filters(Box::new(FilterJob { tag, search })));
    }

    pub(super) fn filters_answered(&mut self, job: FilterJob, answer: Option<Answer>) {
        let FilterJob { tag, mut search } = job;
        let entries = match answer {
            Some(Answer::Metadata(entries)) => entries,
            answer => return self.misanswered(&tag, answer),
        };
        let mut room = FILTERED_KEYS_MAX;
        let is_saving = search.returns.is_some_and(|returns| returns.save);
        let is_selected = search.sources.as_ref().is_none_or(|all| *all == [Source::Selected]);
        match filled(&search.key, &entries, 0, &mut room) {
            // What a filter holds is as good as written out (RFC 5466 3.1).
            Ok(key) if self.enabled.uid_only && key.names_sequences() => self.uid_required(&tag),
            Ok(key) if !is_selected && key.names_selected() => {
                self.bad(&tag, "a filter names messages that the selected mailbox alone can have");
            }
            Ok(key) => {
                search.key = key;
                self.search(tag, search);
            }
            Err(name) => {
                self.search_failed(is_saving);
                let text = "there is no such filter, or it is none that can be used";
                self.no(&tag, Some(&Code::UndefinedFilter(name)), text);
            }
        }
    }
}

/// The key with what filters stand for in their place; `Err` is the name of a filter that stands
/// for nothing.
fn filled(
    key: &SearchKey,
    entries: &[Valued],
    depth: usize,
    room: &mut usize,
) -> Result<SearchKey, String> {
    let mut again = |key: &SearchKey| filled(key, entries, depth, room).map(Box::new);
    Ok(match key {
        SearchKey::Not(key) => SearchKey::Not(again(key)?),
        SearchKey::Fuzzy(key) => SearchKey::Fuzzy(again(key)?),
        SearchKey::Or(one, other) => SearchKey::Or(again(one)?, again(other)?),
        SearchKey::And(keys) => {
            let keys = keys.iter().map(|key| again(key).map(|key| *key));
            SearchKey::And(keys.collect::<Result<_, _>>()?)
        }
        SearchKey::Filter(name) => {
            let value = ["private", "shared"].iter().find_map(|scope| {
                let wanted = Entry::of_filter(scope, name)?;
                entries.iter().find(|(entry, _)| *entry == wanted).map(|(_, value)| value)
            });
            let parsed = value.and_then(|value| grammar::program(value).ok());
            let (Some((key, keys)), true) = (parsed, depth < FILTER_DEPTH_MAX) else {
                return Err(name.clone());
            };
            *room = room.checked_sub(keys).ok_or_else(|| name.clone())?;
            filled(&key, entries, depth + 1, room)?
        }
        other => other.clone(),
    })
}
