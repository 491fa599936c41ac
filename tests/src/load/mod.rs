//! `grace-tests smtp-load`: Grace beside Debian's Postfix under the same load, on the same disk, in
//! the same run.
//!
//! ```text
//!   accepted   smtp-source ═10 or 100 sessions═▶ server        messages/s until the last 250
//!   outbound   (filled while the sink stands still) server ═▶ smtp-sink     until it has them all
//! ```
//! Each figure comes from a server just started, warmed by some messages; the servers take turns,
//! and memory is looked at in a turn of its own, for looking costs time. Processor time is counted
//! until the server rests. Invariants: both sync before they say 250; both have as many
//! connections; what was acknowledged is counted again in the server, or the run is void.
//! Not here: how each is started and asked ([`server`]), how it is told ([`table`]).

mod server;
mod table;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use grace_tests::house;
use grace_tests::sink::Sink;
use grace_tests::{postfix, usage};

use server::{Kind, Server};
use table::{Row, Table};

/// What it is called with.
pub(crate) const USAGE: &str = "grace-tests smtp-load [--repetitions N] [--messages N]";

/// Sessions at once and bytes of a message.
const POINTS: [(u32, usize); 4] = [(10, 4_096), (100, 4_096), (10, 65_536), (100, 65_536)];
/// Who is compared when mail comes in. Postfix does two things with it: it hands it on at once, or
/// puts it aside and does nothing more, which no server can do with less work.
const RECEIVERS: [Kind; 3] = [Kind::Grace, Kind::Postfix, Kind::PostfixAside];
/// Who is compared when mail goes out.
const SENDERS: [Kind; 2] = [Kind::Grace, Kind::Postfix];
/// Bytes of a message that goes out.
const OUTBOUND_BYTES: usize = 4_096;
/// So many go out for each that comes in: a second must not be all.
const OUTBOUND_TIMES: usize = 2;
/// Deliveries at once, by the settings of both. The sink leaves after the last message, and who has
/// not heard its answer tries that one again.
const UNHEARD_MAX: usize = 20;
/// Messages that warm a server: its processes run, its files have room.
const WARM: usize = 300;
/// Longest time one load may take.
const LOAD_PATIENCE: Duration = Duration::from_secs(600);
/// How long a server may take until it rests.
const REST_PATIENCE: Duration = Duration::from_secs(120);

/// What is to be done.
#[derive(Debug, Clone, Copy)]
struct Order {
    repetitions: u32,
    messages: usize,
}

/// What one load cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    per_second: f64,
    processor_s_per_thousand: f64,
}

/// Does what the options say; `None`: they say nothing that makes sense.
pub(crate) fn run(options: &[String]) -> Option<Result<(), String>> {
    let mut order = Order { repetitions: 3, messages: 4_000 };
    for pair in options.chunks(2) {
        let [name, value] = pair else { return None };
        match name.as_str() {
            "--repetitions" => order.repetitions = value.parse().ok().filter(|n| *n > 0)?,
            "--messages" => order.messages = value.parse().ok().filter(|n| *n >= 100)?,
            _ => return None,
        }
    }
    Some(match postfix::absent() {
        Some(why) => Err(format!("SKIPPED: {why}")),
        None => compare(order),
    })
}

fn compare(order: Order) -> Result<(), String> {
    let mut table = Table::new(order.repetitions, order.messages);
    for repetition in 0..order.repetitions {
        for (sessions, bytes) in POINTS {
            for kind in in_turn(&RECEIVERS, repetition) {
                let cost = accept(kind, sessions, bytes, order.messages)?;
                table.add(Row::Accepted { sessions, bytes }, kind, cost);
            }
        }
        for kind in in_turn(&SENDERS, repetition) {
            let cost = outbound(kind, order.messages)?;
            table.add(Row::Outbound { bytes: OUTBOUND_BYTES }, kind, cost);
        }
    }
    for (sessions, bytes) in POINTS {
        for kind in RECEIVERS {
            let kib = peak(kind, sessions, bytes, order.messages)?;
            table.add_memory(Row::Accepted { sessions, bytes }, kind, kib);
        }
    }
    table.print();
    Ok(())
}

/// The same servers, another one first each time.
fn in_turn(kinds: &[Kind], repetition: u32) -> Vec<Kind> {
    let mut kinds = kinds.to_vec();
    let first = repetition as usize % kinds.len().max(1);
    kinds.rotate_left(first);
    kinds
}

/// Has a server take messages, and says what that cost.
fn accept(kind: Kind, sessions: u32, bytes: usize, messages: usize) -> Result<Cost, String> {
    let sink = Sink::start(&[]);
    let server = warmed(kind, sessions, bytes, sink.port())?;
    let before_ms = usage::rest(server.id(), REST_PATIENCE)?;
    let begun = Instant::now();
    source(&server, sessions, bytes, messages)?;
    let took = begun.elapsed();
    let used_ms = usage::rest(server.id(), REST_PATIENCE)? - before_ms;
    server.check_accepted(WARM + messages)?;
    Ok(cost(messages, took, used_ms))
}

/// The most memory all processes of a server have while it takes messages, in KiB.
fn peak(kind: Kind, sessions: u32, bytes: usize, messages: usize) -> Result<u64, String> {
    let sink = Sink::start(&[]);
    let server = warmed(kind, sessions, bytes, sink.port())?;
    let (sent, most) =
        usage::peak_during(server.id(), || source(&server, sessions, bytes, messages));
    sent.map(|()| most)
}

/// Has a server hand over messages that it already has, and says what that cost.
fn outbound(kind: Kind, messages: usize) -> Result<Cost, String> {
    let messages = messages * OUTBOUND_TIMES;
    let count = messages.to_string();
    let mut sink = Sink::start(&["-M", &count]);
    let server = Server::start(kind, sink.port())?;
    // Whoever connects now waits for a greeting: the queue fills, and begins when the sink does.
    sink.pause();
    server.fill(messages, OUTBOUND_BYTES)?;
    let before_ms = usage::rest(server.id(), REST_PATIENCE)?;
    let begun = Instant::now();
    sink.resume();
    sink.wait_end(LOAD_PATIENCE);
    let took = begun.elapsed();
    let used_ms = usage::rest(server.id(), REST_PATIENCE)? - before_ms;
    let left = server.waiting()?;
    if left > UNHEARD_MAX {
        return Err(format!("the sink has {messages} messages, and {left} still wait"));
    }
    Ok(cost(messages, took, used_ms))
}

fn warmed(kind: Kind, sessions: u32, bytes: usize, sink: u16) -> Result<Server, String> {
    let server = Server::start(kind, sink)?;
    source(&server, sessions, bytes, WARM)?;
    Ok(server)
}

/// Sends messages, each over a connection of its own, as servers do that have one for us.
fn source(server: &Server, sessions: u32, bytes: usize, messages: usize) -> Result<(), String> {
    let mut command = Command::new("smtp-source");
    command.args(["-s", &sessions.to_string(), "-m", &messages.to_string()]);
    command.args(["-l", &bytes.to_string(), "-M", "client.example.org"]);
    command.args(["-f", "sender@example.org", "-t", server.recipient()]);
    command.arg(format!("127.0.0.1:{}", server.port()));
    let said = PathBuf::from(server.folder()).join("smtp-source");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(house::output_file(&said));
    let mut child = command.spawn().map_err(|error| format!("smtp-source: {error}"))?;
    let status = house::wait(&mut child, LOAD_PATIENCE);
    let words = std::fs::read_to_string(&said).unwrap_or_default();
    if status.success() { Ok(()) } else { Err(format!("smtp-source: {status}: {words}")) }
}

#[expect(clippy::cast_precision_loss, reason = "some thousand messages, some minutes")]
fn cost(messages: usize, took: Duration, used_ms: u64) -> Cost {
    let messages = messages as f64;
    Cost {
        per_second: messages / took.as_secs_f64(),
        processor_s_per_thousand: used_ms as f64 / messages,
    }
}
