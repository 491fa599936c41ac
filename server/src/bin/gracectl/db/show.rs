//! What came of the work: tables and sentences for people, JSON for programs.
//!
//! Invariants: JSON has the field names of the protocol and exact figures; what was wrong or lost
//! is listed whole, as far as it was told.
//! Not here: progress ([`super::meter`]).

use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use grace_ipc::database::{
    DbCompacted, DbCopied, DbCounters, DbFiles, DbKeyChanged, DbLock, DbProblem, DbPurpose,
    DbSegment, DbStats, DbVerified,
};
use grace_ipc::text::Plain;

use crate::print::{Form, json_line, line, second, table};
use crate::units::{bytes, count, percent, some, span, times};

/// What a repair saved, and what not.
#[derive(Debug, Serialize)]
pub(super) struct Repaired {
    /// Where the sound database is.
    pub(super) folder: String,
    /// Rows in it.
    pub(super) rows: u64,
    /// Bytes of mail in it.
    pub(super) large_bytes: u64,
    /// What is lost or doubtful, in all.
    pub(super) losses_count: u64,
    /// The first ten thousand of those.
    pub(super) losses: Vec<DbProblem>,
}

/// Figures.
pub(super) fn stats(
    form: Form,
    stats: &DbStats,
    segments: &[DbSegment],
    all_segments: bool,
) -> Result<(), String> {
    if form == Form::Json {
        let mut object = serde_json::to_value(stats).map_err(|e| e.to_string())?;
        if let Some(object) = object.as_object_mut() {
            object.insert("segments".to_owned(), json!(segments));
        }
        return json_line(&object);
    }
    line(&head(stats))?;
    line(&window(stats))?;
    if stats.missing_files > 0 {
        let missing = some(stats.missing_files, "file", "files");
        line(&format!("missing: {missing} that rows need; run `gracectl db verify`"))?;
    }
    line("")?;
    files(&stats.files)?;
    line("")?;
    let levels = stats.levels.iter().enumerate().filter(|(_, level)| level.runs > 0);
    let rows: Vec<Vec<String>> = levels
        .map(|(number, level)| {
            vec![
                number.to_string(),
                count(level.runs),
                bytes(level.bytes),
                count(level.entries),
                count(level.tombstones),
            ]
        })
        .collect();
    if !rows.is_empty() {
        table(&["LEVEL", "RUNS", "SIZE", "ENTRIES", "TOMBSTONES"], &rows)?;
        line("")?;
    }
    if all_segments {
        each_segment(segments)?;
    } else {
        shares(segments)?;
    }
    stats.counters.as_ref().map_or(Ok(()), counters)
}

fn head(stats: &DbStats) -> String {
    let what = if stats.is_backup { "backup" } else { "database" };
    let lock = match stats.lock {
        DbLock::Nothing => "not encrypted".to_owned(),
        DbLock::KeyFile => "encrypted, opened by a key file".to_owned(),
        DbLock::Passphrase => "encrypted, opened by a passphrase".to_owned(),
    };
    let keys = match stats.data_keys {
        0 | 1 => String::new(),
        more => format!(", {more} data keys in use"),
    };
    format!("{what} {}, format {}, {lock}{keys}", Plain(&stats.folder), stats.format)
}

fn window(stats: &DbStats) -> String {
    let newest = count(stats.transaction);
    let kept = stats.counters.as_ref().map_or(String::new(), |counters| {
        format!(", kept {}", span(Duration::from_secs(counters.retention_s)))
    });
    if stats.restorable_transaction >= stats.transaction {
        return format!("newest transaction {newest}; nothing earlier can be restored{kept}");
    }
    format!(
        "newest transaction {newest}; restorable from transaction {} on, since {} UTC \
         ({}{kept})",
        count(stats.restorable_transaction),
        second(stats.restorable_us),
        some(stats.restore_points, "restore point", "restore points"),
    )
}

fn files(files: &[DbFiles]) -> Result<(), String> {
    let name = |purpose| match purpose {
        DbPurpose::Rows => "rows",
        DbPurpose::Journal => "journal and mail",
        DbPurpose::Kept => "kept for restoring",
        DbPurpose::Spare => "spare",
        DbPurpose::Meta => "meta and keys",
    };
    let row = |name: &str, files: u64, size: u64, live: Option<u64>| {
        let (live_bytes, amplified) = match live {
            Some(live) => (bytes(live), times(size, live)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        vec![name.to_owned(), count(files), bytes(size), live_bytes, amplified]
    };
    let mut rows: Vec<Vec<String>> = files
        .iter()
        .map(|files| row(name(files.purpose), files.files, files.bytes, files.live_bytes))
        .collect();
    let sum = |field: fn(&DbFiles) -> u64| files.iter().map(field).sum::<u64>();
    let live = sum(|files| files.live_bytes.unwrap_or(0));
    rows.push(row("all", sum(|files| files.files), sum(|files| files.bytes), Some(live)));
    table(&["FILES", "COUNT", "SIZE", "LIVE", "AMPLIFICATION"], &rows)
}

/// Segments by their share of live bytes, in steps of a fifth.
fn shares(segments: &[DbSegment]) -> Result<(), String> {
    const NAMES: [&str; 6] = ["none", "to 20%", "to 40%", "to 60%", "to 80%", "to 100%"];
    let mut sums = [(0, 0, 0); NAMES.len()];
    for segment in segments {
        let share = u128::from(segment.live_bytes) * 100 / u128::from(segment.bytes.max(1));
        let place = usize::try_from(share.div_ceil(20)).unwrap_or(usize::MAX);
        let place = if segment.live_bytes > 0 { place.clamp(1, NAMES.len() - 1) } else { 0 };
        if let Some(sum) = sums.get_mut(place) {
            *sum = (sum.0 + 1, sum.1 + segment.bytes, sum.2 + segment.live_bytes);
        }
    }
    let rows = NAMES.iter().zip(sums).filter(|(_, (number, ..))| *number > 0);
    let rows: Vec<Vec<String>> = rows
        .map(|(name, (number, size, live))| {
            vec![(*name).to_owned(), count(number), bytes(size), bytes(live)]
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    table(&["LIVE SHARE", "SEGMENTS", "WRITTEN", "LIVE"], &rows)
}

fn each_segment(segments: &[DbSegment]) -> Result<(), String> {
    let rows: Vec<Vec<String>> = segments
        .iter()
        .map(|segment| {
            let DbSegment { number, bytes: written, live_bytes } = *segment;
            vec![
                format!("{number:010}.gj"),
                bytes(written),
                bytes(live_bytes),
                percent(live_bytes, written),
            ]
        })
        .collect();
    table(&["SEGMENT", "WRITTEN", "LIVE", "SHARE"], &rows)
}

fn counters(counters: &DbCounters) -> Result<(), String> {
    let DbCounters { cache_hits, cache_misses, commits, syncs, .. } = *counters;
    let looks = cache_hits + cache_misses;
    line("")?;
    line("since it was opened")?;
    let rows = [
        ("transactions", count(commits)),
        ("syncs", format!("{}, {} transactions each", count(syncs), times(commits, syncs))),
        ("new rows in memory", bytes(counters.rows_bytes)),
        (
            "cache",
            format!(
                "{}, {} found of {}",
                bytes(counters.cache_bytes),
                percent(cache_hits, looks),
                count(looks)
            ),
        ),
        (
            "rows written",
            format!(
                "{} in {}",
                bytes(counters.flushed_bytes),
                some(counters.flushes, "run", "runs")
            ),
        ),
        (
            "rows merged",
            format!(
                "{} in {}",
                bytes(counters.merged_bytes),
                some(counters.merges, "merge", "merges")
            ),
        ),
        ("segments given back", count(counters.segments_cleaned)),
        ("mail moved for that", bytes(counters.moved_bytes)),
    ];
    for (name, value) in rows {
        line(&format!("  {name:<20} {value}"))?;
    }
    if !counters.damage.is_empty() {
        line("")?;
        line("damage was met in the background; run `gracectl db verify`:")?;
        counters.damage.iter().try_for_each(|what| line(&format!("  {}", Plain(what))))?;
    }
    Ok(())
}

fn problem(problem: &DbProblem) -> String {
    let (file, what) = (Plain(&problem.file), Plain(&problem.what));
    match problem.offset {
        Some(offset) => format!("  {file} at byte {offset}: {what}"),
        None => format!("  {file}: {what}"),
    }
}

/// Lists what was told, and says how much was not.
fn list(problems: &[DbProblem], all: u64) -> Result<(), String> {
    problems.iter().try_for_each(|each| line(&problem(each)))?;
    match all.saturating_sub(problems.len() as u64) {
        0 => Ok(()),
        more => line(&format!("  … and {} more", count(more))),
    }
}

/// What a check went through.
fn went(verified: &DbVerified, took: Duration) -> String {
    format!(
        "checked {} in {}: {}, {}, {}, {}, {}; up to transaction {}, in {}",
        bytes(verified.bytes),
        some(verified.files, "file", "files"),
        some(verified.records, "record", "records"),
        some(verified.blocks, "block", "blocks"),
        some(verified.rows, "row", "rows"),
        some(verified.entries, "index entry", "index entries"),
        some(verified.pieces, "piece of mail", "pieces of mail"),
        count(verified.transaction),
        span(took),
    )
}

/// What a check found.
pub(super) fn verified(
    form: Form,
    verified: &DbVerified,
    problems: &[DbProblem],
    took: Duration,
) -> Result<(), String> {
    if form == Form::Json {
        return json_line(&json!({ "verified": verified, "problems": problems }));
    }
    if verified.problems == 0 {
        line("sound")?;
        return line(&went(verified, took));
    }
    line(&some(verified.problems, "problem", "problems"))?;
    list(problems, verified.problems)?;
    if verified.files > 0 {
        line(&went(verified, took))?;
    }
    line(
        "what to do: restore a backup (`gracectl db restore`), or save what can be read \
         (`gracectl db repair`)",
    )
}

fn moment(copied: &DbCopied) -> String {
    let DbCopied { transaction, time_us, .. } = *copied;
    format!("transaction {}, {} UTC", count(transaction), second(time_us))
}

/// A backup was made.
pub(super) fn backed_up(form: Form, copied: &DbCopied, took: Duration) -> Result<(), String> {
    if form == Form::Json {
        return json_line(copied);
    }
    line(&format!("backed up to {} up to {}", Plain(&copied.folder), moment(copied)))?;
    line(&format!(
        "{} in {}, new of them {} in {}; took {}",
        bytes(copied.bytes),
        some(copied.files, "file", "files"),
        bytes(copied.new_bytes),
        some(copied.new_files, "file", "files"),
        span(took),
    ))
}

/// A database was restored.
pub(super) fn restored(form: Form, copied: &DbCopied, took: Duration) -> Result<(), String> {
    if form == Form::Json {
        return json_line(copied);
    }
    line(&format!("restored to {} as of {}", Plain(&copied.folder), moment(copied)))?;
    let files = some(copied.files, "file", "files");
    line(&format!("{} in {files}; took {}", bytes(copied.bytes), span(took)))?;
    use_it()
}

/// How a new folder becomes the daemon's.
fn use_it() -> Result<(), String> {
    line(
        "to use it: stop graced, put the folder in the place of `store` in its data folder, see that \
         the key is the one it was written with and that all of it belongs to graced's user, start \
         graced",
    )
}

/// The database is tidied up.
pub(super) fn compacted(form: Form, compacted: DbCompacted, took: Duration) -> Result<(), String> {
    if form == Form::Json {
        return json_line(&compacted);
    }
    let DbCompacted { bytes_before, bytes_after, kept_bytes } = compacted;
    let (before, after) = (bytes(bytes_before), bytes(bytes_after));
    line(&format!("{before} before, {after} after; took {}", span(took)))?;
    if kept_bytes == 0 {
        return Ok(());
    }
    line(&format!(
        "{} of it are kept for restoring, and given back when their time is over \
         (store.restore_hours)",
        bytes(kept_bytes)
    ))
}

/// The database is encrypted anew.
pub(super) fn key_changed(
    form: Form,
    changed: &DbKeyChanged,
    by_passphrase: bool,
) -> Result<(), String> {
    if form == Form::Json {
        return json_line(changed);
    }
    line("encrypted anew with a new data key")?;
    if by_passphrase {
        line("opened by the new passphrase from now on; graced itself needs a key file")?;
    }
    if let Some(file) = &changed.key_file {
        let file = Plain(file);
        line(&format!("opened by {file} from now on; keep a copy of it elsewhere"))?;
    }
    if let Some(file) = &changed.earlier_key_file {
        let file = Plain(file);
        line(&format!(
            "backups made before are opened by {file}: keep it as long as there are any"
        ))?;
    }
    Ok(())
}

/// A broken database was repaired.
pub(super) fn repaired(form: Form, repaired: &Repaired, took: Duration) -> Result<(), String> {
    if form == Form::Json {
        return json_line(repaired);
    }
    line(&format!(
        "saved {} and {} of mail into {}; took {}",
        some(repaired.rows, "row", "rows"),
        bytes(repaired.large_bytes),
        Plain(&repaired.folder),
        span(took),
    ))?;
    if repaired.losses_count == 0 {
        line("nothing is lost")?;
    } else {
        line(&format!("{} lost or doubtful:", count(repaired.losses_count)))?;
        list(&repaired.losses, repaired.losses_count)?;
    }
    use_it()
}
