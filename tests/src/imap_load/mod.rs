//! `grace-tests imap-load`: Grace beside Debian's Dovecot under the same load, on the same disk, in
//! the same run.
//!
//! ```text
//!   fill a mailbox of each ─▶ row after row, the servers in turn ─▶ once more, memory looked at
//!   --million: Grace alone, a mailbox doubled by COPY until it holds a million letters
//! ```
//! Both run all the time, and who has no turn rests. Processor time is counted until a server rests
//! again. Invariants: both have the same letters; both have as many connections; each answer is
//! counted, or the run is void.
//! Not here: what is measured ([`rows`]), how it is told ([`table`]).

mod client;
mod letters;
mod million;
mod rows;
mod server;
mod table;

use std::time::Duration;

use grace_tests::{dovecot, usage};

use rows::{Figure, Row, Size};
use server::{Kind, Server};
use table::Table;

/// What it is called with.
pub(crate) const USAGE: &str = "grace-tests imap-load [--repetitions N] [--messages N] \
    [--letters N] [--connections N,N…] [--only WORD] [--million]";

/// How long a server may take until it rests: merging what a large mailbox left takes a while.
const REST_PATIENCE: Duration = Duration::from_secs(300);

/// What is to be done.
#[derive(Debug, Clone)]
struct Order {
    repetitions: u32,
    size: Size,
    /// Only rows whose names hold this.
    only: String,
}

/// What one row cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    figure: Figure,
    processor_s: f64,
}

/// Does what the options say; `None`: they say nothing that makes sense.
pub(crate) fn run(options: &[String]) -> Option<Result<(), String>> {
    let size = Size { messages: 100_000, letters: 4_000, connections: vec![1, 10, 50] };
    let mut order = Order { repetitions: 3, size, only: String::new() };
    let mut rest = options;
    while let Some((name, after)) = rest.split_first() {
        if name == "--million" {
            return after.is_empty().then(million::run);
        }
        let (value, after) = after.split_first()?;
        rest = after;
        match name.as_str() {
            "--repetitions" => order.repetitions = value.parse().ok().filter(|n| *n > 0)?,
            "--messages" => order.size.messages = value.parse().ok().filter(|n| *n > 0)?,
            "--letters" => order.size.letters = value.parse().ok().filter(|n| *n > 0)?,
            "--connections" => {
                let numbers = value.split(',').map(|n| n.parse().ok().filter(|n| *n > 0));
                order.size.connections = numbers.collect::<Option<_>>()?;
            }
            "--only" => order.only.clone_from(value),
            _ => return None,
        }
    }
    Some(match dovecot::absent() {
        Some(why) => Err(format!("SKIPPED: {why}")),
        None => compare(&order),
    })
}

fn compare(order: &Order) -> Result<(), String> {
    let accounts = order.size.connections.iter().copied().max().unwrap_or(1);
    let mut servers = Vec::new();
    for kind in [Kind::Grace, Kind::Dovecot] {
        let server = Server::start(kind, accounts)?;
        rows::fill(&server, order.size.messages)?;
        usage::rest(server.id(), REST_PATIENCE)?;
        servers.push((kind, server));
    }
    let all = Row::all(&order.size);
    let rows: Vec<Row> = all.into_iter().filter(|row| row.name().contains(&order.only)).collect();
    let mut table = Table::new(order.repetitions, &order.size);
    for turn in 0..order.repetitions {
        for &row in &rows {
            for (kind, server) in &servers {
                table.add(row, *kind, measure(row, server, &order.size, turn)?);
            }
            servers.reverse();
        }
    }
    for &row in &rows {
        for (kind, server) in &servers {
            let work = || row.measure(server, &order.size, order.repetitions);
            let (done, kib) = usage::peak_during(server.id(), work);
            match done {
                Ok(_) => table.add_memory(row, *kind, kib),
                // What was measured before is worth a table all the same.
                Err(error) => eprintln!("{}: {}: memory: {error}", row.name(), kind.name()),
            }
        }
    }
    table.print();
    Ok(())
}

fn measure(row: Row, server: &Server, size: &Size, turn: u32) -> Result<Cost, String> {
    let before_ms = usage::rest(server.id(), REST_PATIENCE)?;
    let figure = row.measure(server, size, turn);
    let figure = figure.map_err(|error| format!("{}: {error}", row.name()))?;
    let used_ms = usage::rest(server.id(), REST_PATIENCE)?.saturating_sub(before_ms);
    #[expect(clippy::cast_precision_loss, reason = "some minutes at most")]
    let processor_s = used_ms as f64 / 1_000.0;
    Ok(Cost { figure, processor_s })
}
