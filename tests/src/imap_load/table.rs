//! What was measured, as tables in Markdown.
//!
//! Not here: the measuring.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;

use grace_tests::program;

use super::Cost;
use super::rows::{COMMANDS, Figure, Row, Size};
use super::server::Kind;
use crate::spread::Spread;

#[derive(Debug)]
pub(super) struct Table {
    repetitions: u32,
    size: Size,
    costs: BTreeMap<(Row, Kind), Vec<Cost>>,
    memory_kib: BTreeMap<(Row, Kind), u64>,
}

impl Row {
    /// What it is called.
    pub(super) fn name(self) -> String {
        let (what, connections) = match self {
            Self::Append { connections } => ("APPEND", connections),
            Self::Bodies { connections } => ("FETCH 1:* BODY.PEEK[]", connections),
            Self::OneByOne { connections } => ("FETCH n BODY.PEEK[]", connections),
            Self::Idle { connections } => ("IDLE hears of a letter", connections),
            Self::Whole { place, connections } => {
                (COMMANDS.get(place).map_or("", |command| command.name), connections)
            }
        };
        format!("{what}, {connections}")
    }

    /// How many times as good as Dovecot.
    fn goal(self) -> f64 {
        match self {
            Self::Append { connections: 10 } => 2.0,
            Self::Bodies { .. } | Self::OneByOne { .. } => 1.3,
            _ => 1.0,
        }
    }
}

impl Figure {
    fn number(self) -> f64 {
        let (Self::PerSecond(number) | Self::Milliseconds(number)) = self;
        number
    }
}

impl Table {
    pub(super) fn new(repetitions: u32, size: &Size) -> Self {
        let (costs, memory_kib) = (BTreeMap::new(), BTreeMap::new());
        Self { repetitions, size: size.clone(), costs, memory_kib }
    }

    /// Adds a figure, and tells it to whoever waits.
    pub(super) fn add(&mut self, row: Row, kind: Kind, cost: Cost) {
        let Cost { figure, processor_s } = cost;
        let (name, server) = (row.name(), kind.name());
        match figure {
            Figure::PerSecond(rate) => eprintln!("{name}: {server}: {rate:.0}/s, {processor_s} s"),
            Figure::Milliseconds(ms) => eprintln!("{name}: {server}: {ms:.1} ms, {processor_s} s"),
        }
        self.costs.entry((row, kind)).or_default().push(cost);
    }

    pub(super) fn add_memory(&mut self, row: Row, kind: Kind, kib: u64) {
        self.memory_kib.insert((row, kind), kib);
    }

    fn spread(&self, row: Row, kind: Kind, wanted: fn(&Cost) -> f64) -> Spread {
        let costs = self.costs.get(&(row, kind)).map(Vec::as_slice).unwrap_or_default();
        Spread::of(costs.iter().map(wanted).collect())
    }

    /// How many times as good as Dovecot, and whether less is better.
    fn times(&self, row: Row) -> (f64, bool) {
        let rate = |kind| self.spread(row, kind, |cost| cost.figure.number()).middle;
        let (ours, theirs) = (rate(Kind::Grace), rate(Kind::Dovecot));
        let first = self.costs.get(&(row, Kind::Grace)).and_then(|costs| costs.first());
        match first.map(|cost| cost.figure) {
            Some(Figure::Milliseconds(_)) => (theirs / ours, true),
            _ => (ours / theirs, false),
        }
    }

    pub(super) fn print(&self) {
        let said = |name: &str, arguments: &[&str]| {
            String::from_utf8_lossy(&program::run(Command::new(name).args(arguments)).stdout)
                .trim()
                .to_owned()
        };
        println!(
            "{} cores, Linux {}, Dovecot {}. {} repetitions, the servers in turn; a mailbox of {} \
             letters, {} put in and read for a figure. Behind the comma: connections at once. \
             Median, with the ends; processor seconds of server and all its processes; the most \
             memory they had in a turn of its own.\n",
            thread::available_parallelism().map_or(1, usize::from),
            said("uname", &["-r"]),
            said("dovecot", &["--version"]),
            self.repetitions,
            self.size.messages,
            self.size.letters,
        );
        println!("| | | Grace | Dovecot | × | goal | | CPU s | | MiB | |");
        println!("|---|---|---:|---:|---:|---:|---|---:|---:|---:|---:|");
        let mut rows: Vec<Row> = self.costs.keys().map(|key| key.0).collect();
        rows.dedup();
        for row in rows {
            self.print_row(row);
        }
    }

    fn print_row(&self, row: Row) {
        let (times, is_time) = self.times(row);
        let (unit, digits) = if is_time { ("ms", 1) } else { ("/s", 0) };
        let rate = |kind| self.spread(row, kind, |cost| cost.figure.number()).text(digits);
        let used = |kind| self.spread(row, kind, |cost| cost.processor_s).middle;
        let memory = |kind| {
            let kib = self.memory_kib.get(&(row, kind));
            kib.map_or_else(|| "?".to_owned(), |kib| (kib >> 10).to_string())
        };
        let goal = row.goal();
        let met = if times >= goal { "met" } else { "**missed**" };
        print!("| {} | {unit} ", row.name());
        println!(
            "| {} | {} | {times:.2} | ≥ {goal:.1} | {met} | {:.2} | {:.2} | {} | {} |",
            rate(Kind::Grace),
            rate(Kind::Dovecot),
            used(Kind::Grace),
            used(Kind::Dovecot),
            memory(Kind::Grace),
            memory(Kind::Dovecot),
        );
    }
}
