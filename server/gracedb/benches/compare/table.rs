//! The figures for a terminal, and numbers as people read them.
//!
//! Not here: the page for `docs` (`page`).

use std::fmt::Write as _;

use crate::engine::Kind;
use crate::goals::Judged;
use crate::job::Job;
use crate::log::Io;
use crate::plan::{RAW_BYTES, RAW_STREAMS};
use crate::samples::{Figure, Sample, Samples};

/// A number with a point and groups of three digits.
pub(crate) fn number(value: f64, digits: usize) -> String {
    let plain = format!("{value:.digits$}");
    let (whole, rest) = plain.split_once('.').map_or((plain.as_str(), None), |(w, r)| (w, Some(r)));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match rest {
        Some(rest) => format!("{grouped}.{rest}"),
        None => grouped,
    }
}

/// A figure with its ends.
pub(crate) fn figure(figure: Figure, digits: usize) -> String {
    let mark = if figure.noisy { "~" } else { "" };
    let median = number(figure.median, digits);
    if figure.count == 1 {
        return format!("{mark}{median}");
    }
    let (least, most) = (number(figure.least, digits), number(figure.most, digits));
    format!("{mark}{median} [{least}–{most}]")
}

/// One sample as it comes in.
pub(crate) fn line(sample: &Sample) -> String {
    let mut line = format!("{}: {}:", sample.engine.name(), sample.job);
    if let Some(reason) = &sample.failed {
        let _ = write!(line, " FAILED: {reason}");
    }
    for (name, value) in &sample.figures {
        let digits = if *value < 100.0 { 2 } else { 0 };
        let _ = write!(line, " {name} {}", number(*value, digits));
    }
    let _ = write!(line, "; foreign {:.0} %", sample.foreign_percent);
    line
}

/// The engines that have a column.
pub(crate) fn columns(samples: &Samples) -> Vec<Kind> {
    samples.about.engines.clone()
}

/// The drive by itself: appends a second by size, streams and way.
pub(crate) fn raw(samples: &Samples) -> Vec<(usize, usize, Io, Figure)> {
    let mut rows = Vec::new();
    for bytes in RAW_BYTES {
        for streams in RAW_STREAMS {
            for io in [Io::Synced, Io::Direct] {
                let job = Job::Raw { io, bytes, streams };
                let found = samples.figure(Kind::Drive, job, "appends_s");
                rows.extend(found.map(|figure| (bytes, streams, io, figure)));
            }
        }
    }
    rows
}

/// Acknowledged letters that were looked for after kills, and how many were gone.
pub(crate) fn losses(samples: &Samples, kind: Kind) -> (f64, f64) {
    let opened = samples.all.iter().filter(|s| s.engine == kind).filter_map(|sample| {
        Some((sample.figures.get("acknowledged")?, sample.figures.get("lost")?))
    });
    opened.fold((0.0, 0.0), |sum, (all, lost)| (sum.0 + all, sum.1 + lost))
}

/// What failed, in words.
pub(crate) fn failures(samples: &Samples) -> Vec<String> {
    let failed = samples.all.iter().filter_map(|sample| {
        let reason = sample.failed.as_ref()?;
        Some(format!("{}, {}: {reason}", sample.engine.name(), sample.job))
    });
    failed.collect()
}

/// Everything.
pub(crate) fn text(samples: &Samples, judged: &[Judged]) -> String {
    let mut text = String::new();
    for row in judged {
        let _ = writeln!(text, "\n{} ({})", row.row.name, row.row.unit);
        for (kind, figure_of, grouped) in &row.figures {
            let grouped = if *grouped { " (group commit in front)" } else { "" };
            let figure = figure(*figure_of, row.row.digits);
            let _ = writeln!(text, "  {:<14} {figure}{grouped}", kind.name());
        }
        for verdict in &row.verdicts {
            let met = if verdict.met { "met" } else { "MISSED" };
            let _ = writeln!(text, "  goal {}: {}: {met}", verdict.goal, verdict.reached);
        }
    }
    let raw = raw(samples);
    if !raw.is_empty() {
        let _ = writeln!(text, "\nsynced appends a second, no engine");
    }
    for (bytes, streams, io, found) in raw {
        let figure = figure(found, 0);
        let _ = writeln!(text, "  {bytes:>5} bytes, {streams} streams, {io:<17} {figure}");
    }
    for kind in columns(samples) {
        let (all, lost) = losses(samples, kind);
        if all > 0.0 {
            let (name, all) = (kind.name(), number(all, 0));
            let _ = writeln!(text, "\n{name}: {lost} of {all} acknowledged letters lost by kills");
        }
    }
    for failure in failures(samples) {
        let _ = writeln!(text, "\nFAILED: {failure}");
    }
    let (all, noisy) = (samples.all.len(), samples.noisy_count());
    let goals: Vec<bool> = judged.iter().flat_map(|row| &row.verdicts).map(|v| v.met).collect();
    let met = goals.iter().filter(|met| **met).count();
    let _ = writeln!(
        text,
        "\n{all} samples, {noisy} of them noisy; {met} of {} goals met",
        goals.len()
    );
    text
}
