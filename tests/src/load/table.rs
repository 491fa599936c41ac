//! What was measured, as tables in Markdown.
//!
//! Not here: the measuring.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;

use grace_tests::program;

use super::server::Kind;
use super::{Cost, OUTBOUND_TIMES};
use crate::spread::Spread;

/// What a figure is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    /// Mail that came in.
    Accepted { sessions: u32, bytes: usize },
    /// Mail that went out.
    Outbound { bytes: usize },
}

impl Row {
    fn name(self) -> String {
        match self {
            Self::Accepted { sessions, bytes } => {
                format!("accepted, {sessions} sessions, {} KiB", bytes >> 10)
            }
            Self::Outbound { bytes } => format!("outbound, {} KiB", bytes >> 10),
        }
    }

    /// How many times as many as Postfix.
    fn goal(self) -> f64 {
        match self {
            Self::Accepted { .. } => 2.0,
            Self::Outbound { .. } => 1.5,
        }
    }
}

#[derive(Debug)]
pub(super) struct Table {
    repetitions: u32,
    messages: usize,
    costs: BTreeMap<(Row, Kind), Vec<Cost>>,
    memory_kib: BTreeMap<(Row, Kind), u64>,
}

impl Table {
    pub(super) fn new(repetitions: u32, messages: usize) -> Self {
        Self { repetitions, messages, costs: BTreeMap::new(), memory_kib: BTreeMap::new() }
    }

    /// Adds a figure, and tells it to whoever waits.
    pub(super) fn add(&mut self, row: Row, kind: Kind, cost: Cost) {
        let Cost { per_second, processor_s_per_thousand } = cost;
        eprintln!(
            "{}: {}: {per_second:.0}/s, {processor_s_per_thousand:.2} s per 1,000",
            row.name(),
            kind.name(),
        );
        self.costs.entry((row, kind)).or_default().push(cost);
    }

    pub(super) fn add_memory(&mut self, row: Row, kind: Kind, kib: u64) {
        eprintln!("{}: {}: {kib} KiB", row.name(), kind.name());
        self.memory_kib.insert((row, kind), kib);
    }

    fn spread(&self, row: Row, kind: Kind, wanted: fn(&Cost) -> f64) -> Spread {
        let costs = self.costs.get(&(row, kind)).map(Vec::as_slice).unwrap_or_default();
        Spread::of(costs.iter().map(wanted).collect())
    }

    pub(super) fn print(&self) {
        let said = |name: &str, arguments: &[&str]| {
            String::from_utf8_lossy(&program::run(Command::new(name).args(arguments)).stdout)
                .trim()
                .to_owned()
        };
        println!(
            "{} cores, Linux {}, Postfix {}. {} repetitions of {} messages, {} when they go out, \
             the servers in turn; median, with the ends.\n",
            thread::available_parallelism().map_or(1, usize::from),
            said("uname", &["-r"]),
            said("postconf", &["-d", "-h", "mail_version"]),
            self.repetitions,
            self.messages,
            self.messages * OUTBOUND_TIMES,
        );
        self.print_goals();
        println!("\n| | server | messages/s | processor s per 1,000 | peak memory MiB |");
        println!("|---|---|---:|---:|---:|");
        for (row, kind) in self.costs.keys() {
            let rate = self.spread(*row, *kind, |cost| cost.per_second).text(0);
            let used = self.spread(*row, *kind, |cost| cost.processor_s_per_thousand).text(2);
            let memory = self.memory_kib.get(&(*row, *kind));
            let memory = memory.map_or_else(String::new, |kib| (kib >> 10).to_string());
            println!("| {} | {} | {rate} | {used} | {memory} |", row.name(), kind.name());
        }
    }

    fn print_goals(&self) {
        println!("| | goal | reached | |");
        println!("|---|---|---|---|");
        let rows: Vec<Row> = self.costs.keys().map(|key| key.0).collect();
        let mut last = None;
        for row in rows {
            if last.replace(row) == Some(row) {
                continue;
            }
            let rate = |kind| self.spread(row, kind, |cost| cost.per_second).middle;
            let times = rate(Kind::Grace) / rate(Kind::Postfix);
            let goal = row.goal();
            let met = if times >= goal { "met" } else { "**missed**" };
            println!("| {} | ≥ {goal:.1} × Postfix | {times:.2} × | {met} |", row.name());
        }
    }
}
