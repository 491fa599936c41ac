//! How answers look: tables for people, JSON for programs.
//!
//! JSON has the field names of the protocol. An event is one line with its fields beside its name,
//! as the daemon's own JSON log has it. Invariant: text that came from outside cannot steer the
//! terminal.

use std::io::{self, Write as _};

use serde::Serialize;
use serde_json::{Map, Value, json};

use grace_ipc::event::Event;
use grace_ipc::message::{AccountRow, DomainRow, ServerInfo, Stats};
use grace_ipc::text::Plain;
use grace_mail::date::civil_from_days;

/// For whom to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Writes one line to standard output.
pub(crate) fn line(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        // Whoever reads this has seen enough (`| head`): that is no failure.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => Err(format!("standard output: {e}")),
        Ok(()) => Ok(()),
    }
}

/// Writes one line of JSON to standard output.
pub(crate) fn json_line(value: &impl Serialize) -> Result<(), String> {
    line(&serde_json::to_string(value).map_err(|e| e.to_string())?)
}

/// Columns as wide as their widest cell; numbers to the right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> Result<(), String> {
    columns(head, rows).iter().try_for_each(|text| line(text))
}

/// The lines of a table.
pub(crate) fn columns(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let lines = || std::iter::once(&head).chain(rows);
    let width = |column: usize| {
        let cells = lines().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines().map(line).collect()
}

/// Says that a change was made.
pub(crate) fn done(form: Form, change: &str, what: &str) -> Result<(), String> {
    match form {
        Form::Text => line(&format!("{} {change}", Plain(what))),
        Form::Json => json_line(&json!({ "change": change, "what": what })),
    }
}

/// The domains.
pub(crate) fn domains(form: Form, rows: &[DomainRow]) -> Result<(), String> {
    if form == Form::Json {
        return json_line(&rows);
    }
    let cells = rows.iter().map(|row| {
        vec![Plain(&row.name).to_string(), row.accounts.to_string(), day(row.created_us)]
    });
    table(&["DOMAIN", "ACCOUNTS", "SINCE"], &cells.collect::<Vec<_>>())
}

/// The accounts.
pub(crate) fn accounts(form: Form, rows: &[AccountRow]) -> Result<(), String> {
    if form == Form::Json {
        return json_line(&rows);
    }
    let cells = rows.iter().map(|row| {
        vec![
            Plain(&row.address).to_string(),
            row.mailboxes.to_string(),
            row.messages.to_string(),
            row.stored_bytes.to_string(),
            day(row.created_us),
        ]
    });
    let head = ["ADDRESS", "MAILBOXES", "MESSAGES", "BYTES", "SINCE"];
    table(&head, &cells.collect::<Vec<_>>())
}

/// The daemon.
pub(crate) fn info(form: Form, info: &ServerInfo) -> Result<(), String> {
    if form == Form::Json {
        return json_line(info);
    }
    let ServerInfo { version, hostname, started_us, pid, data_folder, doors } = info;
    line(&format!("graced {version} on {}, process {pid}", Plain(hostname)))?;
    line(&format!("running since {}, data in {}", time(*started_us), Plain(data_folder)))?;
    for door in doors {
        line(&format!("  {:<12} {}", door.service.name(), Plain(&door.address)))?;
    }
    Ok(())
}

/// The counters.
pub(crate) fn stats(form: Form, stats: &Stats) -> Result<(), String> {
    if form == Form::Json {
        return json_line(stats);
    }
    let count = |name: &str, value: u64| line(&format!("{name:<24} {value:>14}"));
    count("uptime, s", stats.uptime_s)?;
    count("memory, bytes", stats.resident_bytes)?;
    count("domains", stats.domains)?;
    count("accounts", stats.accounts)?;
    count("mailboxes", stats.mailboxes)?;
    count("messages stored", stats.messages_stored)?;
    count("bytes stored", stats.stored_bytes)?;
    count("messages accepted", stats.messages_accepted)?;
    count("messages delivered", stats.messages_delivered)?;
    count("messages appended", stats.messages_appended)?;
    count("messages refused", stats.messages_refused)?;
    count("logins, good", stats.logins_ok)?;
    count("logins, failed", stats.logins_failed)?;
    count("connections, all", stats.connections_total)?;
    count("connections, refused", stats.connections_refused)?;
    for session in &stats.sessions {
        let name = format!("{}, open / all", session.service.name());
        line(&format!("{name:<24} {:>5} / {:>6}", session.open, session.total))?;
    }
    count("database commits", stats.db_commits)?;
    count("database syncs", stats.db_syncs)?;
    for event in &stats.events {
        count(&format!("events, {}", Plain(&event.name)), event.count)?;
    }
    Ok(())
}

/// One event.
pub(crate) fn event(form: Form, event: &Event) -> Result<(), String> {
    match form {
        Form::Text => {
            let trace = if event.trace.0 == 0 { "-".to_owned() } else { event.trace.0.to_string() };
            line(&format!("{} {trace:>16}  {}", time(event.time_us), event.kind))
        }
        Form::Json => json_line(&flat(event)?),
    }
}

/// Events are missing here.
pub(crate) fn lost(form: Form, count: u64) -> Result<(), String> {
    match form {
        Form::Text => line(&format!("… {count} events are missing here: this reader was too slow")),
        Form::Json => json_line(&json!({ "event": "EventsLost", "count": count })),
    }
}

fn flat(event: &Event) -> Result<Value, String> {
    let mut object = Map::new();
    object.insert("seq".to_owned(), event.seq.into());
    object.insert("ts".to_owned(), event.time_us.into());
    object.insert("event".to_owned(), event.kind.name().into());
    object.insert("trace".to_owned(), event.trace.0.into());
    // serde writes a variant with fields as {"Name": {fields}}.
    if let Value::Object(kind) = serde_json::to_value(&event.kind).map_err(|e| e.to_string())? {
        for (_, fields) in kind {
            if let Value::Object(fields) = fields {
                object.extend(fields);
            }
        }
    }
    Ok(Value::Object(object))
}

/// `2026-11-23 19:40:12.123` in UTC.
pub(crate) fn time(time_us: u64) -> String {
    let ms = time_us / 1_000;
    let (hour, minute, second) = (ms / 3_600_000 % 24, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{} {hour:02}:{minute:02}:{second:02}.{:03}", day(time_us), ms % 1_000)
}

/// `2026-11-23 19:40:12` in UTC.
pub(crate) fn second(time_us: u64) -> String {
    let text = time(time_us);
    text.split('.').next().unwrap_or_default().to_owned()
}

/// `2026-11-23` in UTC.
fn day(time_us: u64) -> String {
    let days = i64::try_from(time_us / 86_400_000_000).unwrap_or(i64::MAX);
    let (year, month, day) = civil_from_days(days);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use grace_ipc::event::{EventKind, TraceId};

    use super::*;

    #[test]
    fn days_are_of_the_calendar() {
        let table = [
            (0, "1970-01-01 00:00:00.000"),
            (951_782_399_999_999, "2000-02-28 23:59:59.999"),
            (951_782_400_000_000, "2000-02-29 00:00:00.000"),
            (1_709_164_800_000_000, "2024-02-29 00:00:00.000"),
            (1_790_000_000_000_000, "2026-09-21 14:13:20.000"),
            (4_107_542_400_000_000, "2100-03-01 00:00:00.000"),
        ];
        for (time_us, expected) in table {
            assert_eq!(time(time_us), expected);
        }
    }

    #[test]
    fn an_event_is_flat() {
        let kind = EventKind::ServerStarted { version: "1".to_owned() };
        let event = Event { seq: 3, time_us: 4, trace: TraceId(5), kind };
        let expected = json!({
            "seq": 3, "ts": 4, "trace": 5, "event": "ServerStarted", "version": "1"
        });
        assert_eq!(flat(&event).unwrap(), expected);
    }
}
