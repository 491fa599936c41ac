//! The log: a reader of the bus that turns each event into one `tracing` line on standard error.
//!
//! Two shapes, one line per event each: for people `12:03:11.042 info  MessageAccepted queue_id=…
//! …`, for machines `{"ts":…,"level":"info","event":"MessageAccepted","queue_id":…}`. Lines of
//! libraries come through the same door, with their text as `message`.
//! Invariant: the mail path never waits for the log; a log that cannot keep up says how much it
//! lost.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use grace_ipc::event::{Event, EventKind, TraceId};

use super::bus::{Batch, Reader};
use super::stop::Stop;

/// Target of lines that are events of ours; their fields travel as one JSON object.
const TARGET: &str = "grace";
/// Events taken from the bus at once.
const BATCH_MAX: usize = 256;

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Sends `tracing` to standard error. `RUST_LOG` chooses more or less than the default.
pub fn install(format: Format) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,{TARGET}=info")));
    let installed = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .event_format(Lines { format })
        .try_init();
    debug_assert!(installed.is_ok(), "the log is installed once, by main");
}

/// Writes events as they come, until told to be silent; what was emitted before that is still
/// written.
pub async fn follow(mut reader: Reader, silence: Stop) {
    loop {
        tokio::select! {
            batch = reader.next(BATCH_MAX) => write(&batch),
            () = silence.wait() => break,
        }
    }
    write(&reader.take(usize::MAX));
}

/// Writes one batch.
fn write(batch: &Batch) {
    if batch.lost > 0 {
        let data = serde_json::json!({ "count": batch.lost }).to_string();
        tracing::warn!(target: TARGET, event = "EventsLost", data);
    }
    for event in &batch.events {
        line(event);
    }
}

/// Writes one event.
fn line(event: &Event) {
    let (name, mut fields) = flatten(&event.kind);
    if event.trace != TraceId(0) {
        fields.insert("trace".to_owned(), Value::from(event.trace.0));
    }
    let data = Value::Object(fields).to_string();
    let ts = event.time_us;
    match event.kind {
        EventKind::StoreFailed { .. }
        | EventKind::StoreDamaged { .. }
        | EventKind::SessionPanicked { .. }
        | EventKind::CertificateRejected { .. } => {
            tracing::error!(target: TARGET, event = name, ts, data);
        }
        EventKind::LoginFailed { .. }
        | EventKind::ConnectionRefused { .. }
        | EventKind::DoorRefused { .. }
        | EventKind::BlockListChanged { is_asked: false, .. }
        | EventKind::MessageRefused { .. } => {
            tracing::warn!(target: TARGET, event = name, ts, data);
        }
        _ => tracing::info!(target: TARGET, event = name, ts, data),
    }
}

/// An event's name and fields, as serde sees them.
fn flatten(kind: &EventKind) -> (String, Map<String, Value>) {
    match serde_json::to_value(kind) {
        Ok(Value::String(name)) => (name, Map::new()),
        Ok(Value::Object(object)) => match object.into_iter().next() {
            Some((name, Value::Object(fields))) => (name, fields),
            Some((name, _)) => (name, Map::new()),
            None => (String::new(), Map::new()),
        },
        _ => (String::new(), Map::new()),
    }
}

/// Formats one line.
struct Lines {
    format: Format,
}

/// The fields of one `tracing` event.
#[derive(Default)]
struct Fields {
    event: Option<String>,
    ts: Option<u64>,
    data: Option<String>,
    others: Vec<(String, String)>,
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "ts" => self.ts = Some(value),
            name => self.others.push((name.to_owned(), value.to_string())),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "event" => self.event = Some(value.to_owned()),
            "data" => self.data = Some(value.to_owned()),
            name => self.others.push((name.to_owned(), value.to_owned())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.others.push((field.name().to_owned(), format!("{value:?}")));
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level().as_str().to_lowercase();
        let name = fields.event.take().unwrap_or_else(|| event.metadata().target().to_owned());
        let mut data = match fields.data.as_deref().map(serde_json::from_str) {
            Some(Ok(Value::Object(data))) => data,
            _ => Map::new(),
        };
        data.extend(fields.others.into_iter().map(|(k, v)| (k, Value::from(v))));
        let ts = fields.ts.unwrap_or_else(super::bus::now_us);
        match self.format {
            Format::Json => write_json(&mut writer, ts, &level, name, data),
            Format::Human => write_human(&mut writer, ts, &level, &name, &data),
        }
    }
}

fn write_json(
    writer: &mut Writer<'_>,
    ts: u64,
    level: &str,
    name: String,
    data: Map<String, Value>,
) -> fmt::Result {
    let mut object = Map::new();
    object.insert("ts".to_owned(), Value::from(ts));
    object.insert("level".to_owned(), Value::from(level));
    object.insert("event".to_owned(), Value::from(name));
    object.extend(data);
    writeln!(writer, "{}", Value::Object(object))
}

fn write_human(
    writer: &mut Writer<'_>,
    ts: u64,
    level: &str,
    name: &str,
    data: &Map<String, Value>,
) -> fmt::Result {
    let ms = ts / 1_000;
    let (hour, minute, second) = (ms / 3_600_000 % 24, ms / 60_000 % 60, ms / 1_000 % 60);
    write!(writer, "{hour:02}:{minute:02}:{second:02}.{:03} {level:<5} {name}", ms % 1_000)?;
    for (key, value) in data {
        match value {
            Value::String(text) if is_plain(text) => write!(writer, " {key}={text}")?,
            Value::String(text) => write!(writer, " {key}={text:?}")?,
            other => write!(writer, " {key}={other}")?,
        }
    }
    writer.write_char('\n')
}

/// Whether a text can stand in a line without quotes.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_flattens_to_its_name_and_fields() {
        let (name, fields) = flatten(&EventKind::ServerStarted { version: "1.2".to_owned() });
        assert_eq!(name, "ServerStarted");
        assert_eq!(fields.get("version"), Some(&Value::from("1.2")));
        assert_eq!(flatten(&EventKind::ServerStopping).0, "ServerStopping");
    }
}
