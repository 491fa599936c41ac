//! `gracectl trace`: messages of the past, and what became of one.
//!
//! Not here: what is kept, and for how long (`store.trace_hours` of the daemon).

use clap::{Args, Subcommand, ValueEnum};

use grace_ipc::client::Client;
use grace_ipc::event::Event;
use grace_ipc::message::{Answer, RequestBody, Rows};
use grace_ipc::role::Role;
use grace_ipc::text::Plain;
use grace_ipc::trace::{TraceFilter, TraceOutcome, TraceRow};

use crate::ask;
use crate::db::moment;
use crate::print::{self, Form};

#[derive(Debug, Subcommand)]
pub(crate) enum Trace {
    /// List messages, the newest first; what is given must fit
    Search(Search),
    /// Show what happened to one, from its connection to the last attempt
    Show {
        /// Its number, or what stands there for a connection
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Search {
    /// From this sender: an address, @domain, begin*@domain; "<>" are notifications
    #[arg(long, value_name = "ADDRESS")]
    sender: Option<String>,
    /// To this recipient, likewise
    #[arg(long, value_name = "ADDRESS")]
    recipient: Option<String>,
    /// With this Message-ID
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// With this number
    #[arg(long, value_name = "QUEUE-ID")]
    queue_id: Option<String>,
    /// That began at or after this time, such as 2026-11-26T14:46:54Z, or so long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment::past_us)]
    since: Option<u64>,
    /// That began before this time, likewise
    #[arg(long, value_name = "TIME", value_parser = moment::past_us)]
    until: Option<u64>,
    /// Of which something came to this
    #[arg(long, value_enum)]
    outcome: Option<Outcome>,
    /// Most messages to list
    #[arg(long, value_name = "N", default_value_t = 100)]
    most: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Outcome {
    Delivered,
    Junk,
    Deferred,
    Bounced,
    Refused,
}

impl Outcome {
    fn outcome(self) -> TraceOutcome {
        match self {
            Self::Delivered => TraceOutcome::Delivered,
            Self::Junk => TraceOutcome::Junk,
            Self::Deferred => TraceOutcome::Deferred,
            Self::Bounced => TraceOutcome::Failed,
            Self::Refused => TraceOutcome::Refused,
        }
    }
}

/// Does what the command says.
pub(crate) fn run(
    command: Trace,
    form: Form,
    connect: &dyn Fn(Role) -> Result<Client, String>,
) -> Result<(), String> {
    let mut client = connect(Role::Viewer)?;
    match command {
        Trace::Search(search) => {
            let (rows, is_all) = find(&mut client, search)?;
            if form == Form::Json {
                return print::json_line(&rows);
            }
            list(&rows).iter().try_for_each(|line| print::line(line))?;
            if is_all { Ok(()) } else { print::line("there are more; --most N lists them") }
        }
        Trace::Show { id } => {
            let events = show(&mut client, id)?;
            match form {
                Form::Json => events.iter().try_for_each(|event| print::event(form, event)),
                Form::Text => tell(&events).iter().try_for_each(|line| print::line(line)),
            }
        }
    }
}

/// Asks until there are enough; also says whether those were all.
fn find(client: &mut Client, search: Search) -> Result<(Vec<TraceRow>, bool), String> {
    let Search { sender, recipient, message_id, queue_id, since, until, outcome, most } = search;
    let outcome = outcome.map(Outcome::outcome);
    let (from_us, to_us) = (since, until);
    let filter = TraceFilter { sender, recipient, message_id, queue_id, from_us, to_us, outcome };
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let (mut rows, mut before) = (Vec::new(), None);
    loop {
        let left = u32::try_from(most.saturating_sub(rows.len())).unwrap_or(u32::MAX);
        let body = RequestBody::TraceSearch { filter: filter.clone(), rows_max: left, before };
        let complete = client.request(body).map_err(|e| e.to_string())?;
        let of = |part| if let Rows::Traces(rows) = part { Some(rows) } else { None };
        rows.extend(ask::gathered(complete.parts, of)?);
        let Answer::TracesEnd { next, .. } = complete.answer else { return Err(ask::unfit()) };
        if next.is_none() || rows.len() >= most {
            return Ok((rows, next.is_none()));
        }
        before = next;
    }
}

fn show(client: &mut Client, id: String) -> Result<Vec<Event>, String> {
    let of = |part| if let Rows::Events(rows) = part { Some(rows) } else { None };
    ask::rows(client, RequestBody::TraceShow { id }, of)
}

/// A table, and below it what was said of those that did not simply arrive.
fn list(rows: &[TraceRow]) -> Vec<String> {
    let cells: Vec<_> = rows.iter().map(cells).collect();
    let mut lines = print::columns(&["ID", "BEGAN", "FROM", "TO", "BYTES", "OUTCOME"], &cells);
    for row in rows.iter().filter(|row| !row.reason.is_empty()) {
        lines.push(format!("{}: {}", id(row), Plain(&row.reason)));
    }
    lines
}

fn cells(row: &TraceRow) -> Vec<String> {
    let sender = if row.sender.is_empty() { "<>" } else { &row.sender };
    let first = row.recipients.first().map_or("-", String::as_str);
    let more = match row.recipients_count {
        0 | 1 => String::new(),
        count => format!(" +{}", count - 1),
    };
    vec![
        id(row),
        print::second(row.began_us),
        Plain(sender).to_string(),
        format!("{}{more}", Plain(first)),
        row.size.to_string(),
        row.outcome().to_owned(),
    ]
}

/// What is asked for to see it.
fn id(row: &TraceRow) -> String {
    if row.queue_id.is_empty() { row.trace.to_string() } else { Plain(&row.queue_id).to_string() }
}

/// One line an event: its time, and how long after the one before.
fn tell(events: &[Event]) -> Vec<String> {
    let mut before_us = events.first().map_or(0, |first| first.time_us);
    let line = |event: &Event| {
        let after = event.time_us.saturating_sub(before_us);
        before_us = event.time_us;
        let after = format!("+{}", crate::units::span(std::time::Duration::from_micros(after)));
        format!("{} {after:>12}  {}", print::time(event.time_us), event.kind)
    };
    events.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use grace_ipc::event::{EventKind, Service, TraceId};

    use super::*;

    const BEGAN_US: u64 = 1_790_000_000_000_000;

    #[test]
    fn a_list_is_a_table_and_the_reasons_below_it() {
        let sent = TraceRow {
            queue_id: "1jw2aa3bbcc".to_owned(),
            trace: BEGAN_US,
            began_us: BEGAN_US,
            sender: "ann@grace.test".to_owned(),
            recipients: vec!["bob@far.test".to_owned(), "eve@far.test".to_owned()],
            recipients_count: 3,
            size: 4_190,
            delivered: 3,
            ..TraceRow::default()
        };
        let refused = TraceRow {
            queue_id: String::new(),
            sender: String::new(),
            recipients: vec!["no\nbody@grace.test".to_owned()],
            recipients_count: 1,
            size: 0,
            delivered: 0,
            refused: 1,
            reason: "550 5.1.1 no mailbox here".to_owned(),
            ..sent.clone()
        };
        let expected = [
            "ID                              BEGAN            FROM                   TO  BYTES    OUTCOME",
            "1jw2aa3bbcc       2026-09-21 14:13:20  ann@grace.test      bob@far.test +2   4190  delivered",
            "1790000000000000  2026-09-21 14:13:20              <>  no\\nbody@grace.test      0    refused",
            "1790000000000000: 550 5.1.1 no mailbox here",
        ];
        assert_eq!(list(&[sent, refused]), expected);
    }

    #[test]
    fn a_story_has_its_times() {
        let event = |time_us: u64, kind| Event { seq: 1, time_us, trace: TraceId(1), kind };
        let peer = "192.0.2.1:4711".parse().unwrap();
        let events = [
            event(BEGAN_US, EventKind::ConnectionOpened { service: Service::Smtp, peer }),
            event(
                BEGAN_US + 3_600_250_000,
                EventKind::RecipientFailed {
                    queue_id: "4f2a".to_owned(),
                    recipient: "bob@far.test".to_owned(),
                    remote: "mx.far.test".to_owned(),
                    reason: "550 5.1.1 no".to_owned(),
                },
            ),
        ];
        let expected = [
            "2026-09-21 14:13:20.000        +0 ms  smtp connection from 192.0.2.1:4711",
            "2026-09-21 15:13:20.250         +1 h  4f2a to bob@far.test given up: mx.far.test: 550 5.1.1 no",
        ];
        assert_eq!(tell(&events), expected);
    }
}
