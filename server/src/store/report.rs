//! What the database says of itself, in the words of the admin protocol.
//!
//! Invariant: nothing is left out but what the protocol has no place for; times become
//! microseconds.
//! Not here: most of the asking (`admin` for an open one, `gracectl` for one that is not).

use std::error::Error as _;

use gracedb::copy::{Copied, Moment};
use gracedb::db::{Db, Stats};
use gracedb::error::Error;
use gracedb::inventory::{Inventory, Purpose};
use gracedb::progress::{Progress, Watcher};
use gracedb::seal::LockedBy;
use gracedb::upkeep::Compacted;
use gracedb::verify::{Problem, Report};

use grace_ipc::database::{
    DbCompacted, DbCopied, DbCounters, DbFiles, DbLevel, DbLock, DbMoment, DbProblem, DbProgress,
    DbPurpose, DbSegment, DbStats, DbVerified,
};
use grace_mail::date::Date;

/// Microseconds in a millisecond.
const US_PER_MS: u64 = 1_000;

/// The error with what caused it: its own text names the file and what to do, the system's says
/// why.
#[must_use]
pub fn error(error: &Error) -> String {
    if let Error::NotRestorable { moment: Moment::Time { ms }, first, last } = error {
        let time = i64::try_from(ms / 1_000).ok().and_then(Date::from_timestamp);
        let time = time.map_or_else(|| format!("{ms} ms since 1970"), |time| time.to_rfc5322());
        return format!(
            "{time} is not a time that the database can be brought back to; those are the ones \
             right after transactions {first} to {last}"
        );
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let words = source.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = source.source();
    }
    text
}

/// How far work is.
#[must_use]
pub fn progress(progress: Progress) -> DbProgress {
    let Progress { doing, done, total } = progress;
    DbProgress { doing: doing.to_owned(), done, total }
}

/// The moment that was asked for.
#[must_use]
pub fn moment(moment: DbMoment) -> Moment {
    match moment {
        DbMoment::Newest => Moment::Newest,
        DbMoment::Transaction { number } => Moment::Transaction(number),
        DbMoment::Time { time_us } => Moment::Time { ms: time_us / US_PER_MS },
    }
}

/// Figures; `open` has the counters of an open database, with how long moments are kept in seconds.
#[must_use]
pub fn stats(folder: String, found: &Inventory, open: Option<(&Stats, u64)>) -> DbStats {
    let files = found.files.iter().map(|files| DbFiles {
        purpose: purpose(files.purpose),
        files: files.files,
        bytes: files.bytes,
        live_bytes: files.live_bytes,
    });
    let levels = found.levels.iter().map(|level| DbLevel {
        runs: level.runs,
        bytes: level.bytes,
        entries: level.entries,
        tombstones: level.tombstones,
    });
    DbStats {
        folder,
        is_backup: found.is_backup,
        format: found.format,
        lock: match found.locked_by {
            LockedBy::Nothing => DbLock::Nothing,
            LockedBy::KeyFile => DbLock::KeyFile,
            LockedBy::Passphrase => DbLock::Passphrase,
        },
        data_keys: found.data_keys,
        transaction: found.sequence,
        restorable_transaction: found.restorable,
        restorable_us: found.restorable_ms.saturating_mul(US_PER_MS),
        restore_points: found.points,
        missing_files: found.missing,
        files: files.collect(),
        levels: levels.collect(),
        counters: open.map(|(stats, retention_s)| counters(stats, retention_s)),
    }
}

fn purpose(purpose: Purpose) -> DbPurpose {
    match purpose {
        Purpose::Rows => DbPurpose::Rows,
        Purpose::Journal => DbPurpose::Journal,
        Purpose::Kept => DbPurpose::Kept,
        Purpose::Spare => DbPurpose::Spare,
        Purpose::Meta => DbPurpose::Meta,
    }
}

fn counters(stats: &Stats, retention_s: u64) -> DbCounters {
    DbCounters {
        retention_s,
        rows_bytes: stats.mem_bytes,
        cache_bytes: stats.cache_bytes,
        cache_hits: stats.cache_hits,
        cache_misses: stats.cache_misses,
        commits: stats.commits,
        syncs: stats.syncs,
        flushes: stats.flushes,
        flushed_bytes: stats.flushed_bytes,
        merges: stats.compactions,
        merged_bytes: stats.compacted_bytes,
        segments_cleaned: stats.segments_cleaned,
        moved_bytes: stats.moved_bytes,
        damage: stats.damage.clone(),
    }
}

/// The journal's segments.
#[must_use]
pub fn segments(found: &Inventory) -> Vec<DbSegment> {
    let segments = found.segments.iter().map(|segment| DbSegment {
        number: segment.number,
        bytes: segment.bytes,
        live_bytes: segment.live_bytes,
    });
    segments.collect()
}

/// A problem, or a loss.
#[must_use]
pub fn problem(problem: &Problem) -> DbProblem {
    let Problem { file, offset, what } = problem.clone();
    DbProblem { file, offset, what }
}

/// What a check went through.
#[must_use]
pub fn verified(report: &Report) -> DbVerified {
    DbVerified {
        transaction: report.sequence,
        files: report.files,
        bytes: report.bytes,
        records: report.records,
        blocks: report.blocks,
        rows: report.rows,
        entries: report.entries,
        pieces: report.parts,
        problems: report.problems_count,
    }
}

/// A copy.
#[must_use]
pub fn copied(folder: String, copied: &Copied) -> DbCopied {
    DbCopied {
        folder,
        transaction: copied.sequence,
        time_us: copied.time_ms.saturating_mul(US_PER_MS),
        files: copied.files,
        bytes: copied.bytes,
        new_files: copied.new_files,
        new_bytes: copied.new_bytes,
    }
}

/// Tidies everything up.
///
/// # Errors
/// As those of `Db::compact`.
pub fn compact(db: &Db, watcher: Watcher<'_>) -> Result<DbCompacted, Error> {
    let Compacted { bytes_before, bytes_after } = db.compact(watcher)?;
    let files = db.inventory()?.files;
    let kept = files.iter().filter(|files| files.purpose == Purpose::Kept);
    Ok(DbCompacted { bytes_before, bytes_after, kept_bytes: kept.map(|files| files.bytes).sum() })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn an_error_says_why() {
        let full = Arc::new(io::Error::new(io::ErrorKind::PermissionDenied, "no permission"));
        let io = Error::Io { doing: "create", file: "a.gj".to_owned(), source: full };
        assert_eq!(error(&io), "a.gj: create failed: no permission");
        assert_eq!(error(&Error::Stopped), "stopped");
        let moment = Moment::Time { ms: 1_790_000_000_000 };
        let late = error(&Error::NotRestorable { moment, first: 3, last: 9 });
        assert!(late.starts_with("Mon, 21 Sep 2026 14:13:20 +0000 is not a time"), "{late}");
        assert!(late.ends_with("transactions 3 to 9"), "{late}");
    }

    #[test]
    fn times_change_their_unit() {
        assert_eq!(moment(DbMoment::Time { time_us: 1_500_999 }), Moment::Time { ms: 1_500 });
        let made = Copied { time_ms: 7, ..Copied::default() };
        assert_eq!(copied("/b".to_owned(), &made).time_us, 7_000);
    }
}
