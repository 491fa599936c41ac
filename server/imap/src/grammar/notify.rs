//! Grammar of NOTIFY (RFC 5465 8).
//!
//! Invariants: the selected mailbox is named by one group at most, and is told of messages alone;
//! messages that come and messages that go are told together (RFC 5465 5).
//! Not here: what is told when (`session::notify`).

use super::{Dialect, fetch, search};
use crate::command::{EventGroup, Events, Notify, Source, Whose};
use crate::cursor::{Cursor, Parsed, Refusal};
use crate::response::Code;

/// Most groups in one NOTIFY. Clients send a handful.
const GROUPS_MAX: usize = 100;

/// The events there are, in the words of RFC 5465 8.
pub(crate) const EVENTS: &str = "MessageNew MessageExpunge FlagChange MailboxName \
    SubscriptionChange MailboxMetadataChange ServerMetadataChange";

/// `NOTIFY SET [STATUS] (filter events) …`, or `NOTIFY NONE`.
pub(crate) fn notify(cursor: &mut Cursor<'_>, dialect: Dialect) -> Parsed<Notify> {
    cursor.space()?;
    let start = cursor.clone();
    match cursor.word("SET or NONE")?.as_str() {
        "NONE" => return Ok(Notify::default()),
        "SET" => {}
        _ => return start.fail("SET or NONE"),
    }
    cursor.space()?;
    let status = cursor.eat_text("STATUS ");
    let mut groups = vec![group(cursor, dialect)?];
    while cursor.eat(b' ') && cursor.peek().is_some() {
        groups.push(group(cursor, dialect)?);
        if groups.len() > GROUPS_MAX {
            let text = format!("NOTIFY takes at most {GROUPS_MAX} groups");
            return Err(Refusal::No(Some(Code::Limit), text));
        }
    }
    let is_selected = |group: &&EventGroup| !matches!(group.whose, Whose::Others(_));
    if groups.iter().filter(is_selected).count() > 1 {
        return bad("the selected mailbox stands in one group");
    }
    Ok(Notify { status, groups })
}

fn bad<T>(text: &str) -> Parsed<T> {
    Err(Refusal::Bad(text.to_owned()))
}

fn group(cursor: &mut Cursor<'_>, dialect: Dialect) -> Parsed<EventGroup> {
    cursor.expect(b'(', "'('")?;
    let start = cursor.clone();
    let whose = if cursor.eat_text("SELECTED-DELAYED ") {
        Whose::SelectedDelayed
    } else if cursor.eat_text("SELECTED ") {
        Whose::Selected
    } else {
        let source = search::source(cursor, dialect)?;
        cursor.space()?;
        if matches!(source, Source::Selected | Source::SubtreeOne(_)) {
            return start.fail("mailboxes of NOTIFY");
        }
        Whose::Others(source)
    };
    let events = events(cursor)?;
    cursor.expect(b')', "')'")?;
    let is_selected = !matches!(whose, Whose::Others(_));
    if is_selected && (events.names || events.subscriptions || events.has_metadata()) {
        return bad("of the selected mailbox messages alone are told");
    }
    if !is_selected && !events.items.is_empty() {
        return bad("messages of the selected mailbox alone are fetched");
    }
    Ok(EventGroup { whose, events })
}

fn events(cursor: &mut Cursor<'_>) -> Parsed<Events> {
    let mut events = Events::default();
    if cursor.eat_text("NONE") {
        return Ok(events);
    }
    let (mut comes, mut goes) = (false, false);
    cursor.list(1, |cursor| {
        match cursor.word("an event")?.as_str() {
            "MESSAGENEW" => {
                comes = true;
                if cursor.eat_text(" (") {
                    events.items.extend(fetch::items(cursor)?);
                }
            }
            "MESSAGEEXPUNGE" => goes = true,
            "FLAGCHANGE" => events.flags = true,
            "MAILBOXNAME" => events.names = true,
            "SUBSCRIPTIONCHANGE" => events.subscriptions = true,
            "MAILBOXMETADATACHANGE" => events.metadata = true,
            "SERVERMETADATACHANGE" => events.server_metadata = true,
            // RFC 5465 5: AnnotationChange is for servers that have ANNOTATE.
            _ => {
                let text = "there is no such event here".to_owned();
                return Err(Refusal::No(Some(Code::BadEvent), text));
            }
        }
        Ok(())
    })?;
    // RFC 5465 5: one of them without the other, and FlagChange without both, are refused.
    if comes != goes {
        return bad("MessageNew and MessageExpunge go together");
    }
    if events.flags && !comes {
        return bad("FlagChange needs MessageNew and MessageExpunge");
    }
    events.messages = comes;
    Ok(events)
}

impl Events {
    fn has_metadata(&self) -> bool {
        self.metadata || self.server_metadata
    }

    /// All of these, too. What is fetched is told of the selected mailbox, which one group names.
    pub(crate) fn add(&mut self, others: &Self) {
        self.messages |= others.messages;
        self.flags |= others.flags;
        self.names |= others.names;
        self.subscriptions |= others.subscriptions;
        self.metadata |= others.metadata;
        self.server_metadata |= others.server_metadata;
    }
}
