//! The page for `docs`: figures, goals, how they were taken, and what is not fair about them.
//!
//! Not here: where it is written (`main`).

use std::fmt::Write as _;

use crate::goals::Judged;
use crate::job::{Job, What};
use crate::plan::{WRITERS, ways};
use crate::samples::Samples;
use crate::table::{columns, failures, figure, losses, number, raw};

/// Where what others measured begins, which this comparison leaves as it is.
pub(crate) const OTHERS: &str = "\n# Mailboxes beside Dovecot\n";

const HEAD: &str = "\
# Benchmarks of GraceDb

GraceDb beside the embedded engines one would take instead, measured in one run on one disk with the
same data. This part of the page is written by the comparison itself;
`server/gracedb/benches/compare` is the whole of it. At the end stand
[mailboxes beside Dovecot](#mailboxes-beside-dovecot).

```sh
cargo bench -p gracedb                                          # parts of GraceDb, some minutes
cargo bench -p gracedb --features peers --bench compare -- --quick
cargo bench -p gracedb --features peers --bench compare         # writes this page; two hours, 30 GB
cargo bench -p gracedb --features peers --bench compare -- --help
```

The feature `peers` brings the other engines in; nothing else builds them. RocksDB is C++ and needs
`libclang` (Debian: `libclang-dev`) and some ten minutes. `GRACE_BENCH_DIR` names the folder for the
data: put it on the disk that is asked about.
";

const HOW: &str = "
## How it is measured

- **Rows.** A row is 200 bytes of text under a 16-byte key; keys are spread over a thousand
  accounts. A letter is a body of 16 KiB and four rows: the message of some 200 bytes, and its
  entries by mod-sequence, by date and by digest.
- **GraceDb** is used by its tables, as the daemon does it: bodies streamed in, then `Db::write`
  and `Pending::wait`; `View::get`, `View::range`, `LargeReader`. `gracedb-bytes` reads the same
  files below the tables: the difference is what turning bytes into a struct costs. Files are not
  encrypted.
- **Commits.** Each of 1, 8 or 64 threads waits for its commit before it makes the next; half a
  second goes by before anything is counted. Rows are committed on top of the loaded set, letters
  on top of a copy of it.
- **Bytes on the drive.** Letters by 8 writers into an empty database, one transaction each, and
  after each one another transaction that changes the flags of an earlier letter. The count is the
  kernel's of the whole drive, after background work has ended and every file was synced, over the
  bytes of the bodies alone. The file system's own journal is in it: GraceDb's groups of letters
  go into room that is reserved and not written, and with each sync ext4 notes that some of it
  holds bytes now. Zeros ahead would spare that and write every byte twice. What the process
  itself wrote stands under *Files, memory, losses*.
- **Reads.** One thread, a set that was read once before. The page cache holds all of it.
- **Open after a kill.** Eight writers take letters in until 60 MiB are acknowledged after
  everything was merged, then SIGKILL. GraceDb writes its rows to disk at 64 MiB, so this is close
  to the most that can be left to be replayed. Counted is from opening to the first row read; cold
  is after the page cache was emptied; but GraceDb writes its journal past the page cache, so what
  it replays comes from the drive in both. Then every acknowledged letter is looked for.
- **Memory.** The most resident memory (`VmHWM`) of one process with the settings an engine comes
  with, which commits rows and letters by 64 writers and then reads everything. It counts mapped
  files, which is all of LMDB's.
- **The bare log** is a log with a checksum, written in groups into files that were written ahead,
  with no index and nothing in the background: what a database on this drive could reach at best.
  `log` uses the page cache and `fdatasync`, `log-direct` one write past it (`O_DIRECT`, `O_DSYNC`)
  at whole sectors.
- **Order.** Every figure is taken from each engine before the next figure is begun, in an order
  that moves on with each repetition. Each has a process of its own. Before it all dirty pages are
  written, and the run waits, for a bounded time, until others leave the processors alone.
- **Noise.** Shown are the median and the ends over the repetitions. A sample during which others
  used a quarter of the processors is left out; `~` marks figures that have none without.

## What is fair, and what is not

- Who syncs once for every commit gets a group commit in front of it as well (one thread commits
  what all wait for as one transaction), and the better figure counts. An application would have to
  bring that itself; GraceDb and RocksDB have it.
- Engines with a cache of their own get the same number of bytes for it. LMDB has none and reads
  from the page cache without copying, which is why its reads have a goal of their own. The page
  cache is the same for all.
- Nothing is compressed and nothing encrypted, by anyone. Apart from that the engines run as they
  come: who tunes one of them for this machine will find better figures for it.
- The others give back bytes; GraceDb gives back a struct, and checks that a new row's key is free,
  and checks the checksum of every body it reads. SQLite checks keys as well. RocksDB and fjall
  check blocks when they read them from a file, not when they are in their caches; LMDB has no
  checksums.
- GraceDb keeps indexes by itself; the others are given the same entries as keys.
- A virtual machine's disk may answer a flush sooner than a disk would. Shares between engines
  carry over to other machines better than the figures do.
";

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn about(samples: &Samples, page: &mut String) {
    let about = &samples.about;
    let machine = &about.machine;
    let _ = writeln!(
        page,
        "\n## This run\n\n{}: {} × {}, {} GiB of memory, Linux {}, {} on a {} drive.",
        machine.day,
        machine.processors,
        machine.processor,
        machine.memory_gib,
        machine.kernel,
        machine.file_system,
        machine.drive,
    );
    let set = about.set;
    let _ = writeln!(
        page,
        "{} rows and {} bodies to read, {} letters while flags change; {} repetitions, {} s a \
         figure; {} MiB of cache.",
        number(crate::job::float(set.rows), 0),
        number(crate::job::float(set.bodies), 0),
        number(crate::job::float(set.letters), 0),
        about.repetitions,
        about.seconds,
        about.cache_bytes >> 20,
    );
    let versions = about.versions.iter().map(|(name, version)| format!("{name} {version}"));
    let _ = writeln!(page, "Crates: {}.", versions.collect::<Vec<_>>().join(", "));
    let (all, noisy) = (samples.all.len(), samples.noisy_count());
    let _ = writeln!(page, "{all} samples, {noisy} of them noisy.");
}

fn goals(judged: &[Judged], page: &mut String) {
    let _ = writeln!(page, "\n## Goals\n\n| | goal | reached | |\n|---|---|---|---|");
    for row in judged {
        for verdict in &row.verdicts {
            let met = if verdict.met { "met" } else { "**missed**" };
            let (name, goal, reached) = (row.row.name, &verdict.goal, &verdict.reached);
            let _ = writeln!(page, "| {name} | {goal} | {reached} | {met} |");
        }
    }
}

fn figures(samples: &Samples, judged: &[Judged], page: &mut String) {
    let columns = columns(samples);
    let names: Vec<&str> = columns.iter().map(|kind| kind.name()).collect();
    let _ = writeln!(
        page,
        "\n## Figures\n\nMedian, with the ends of the repetitions. `+` is with a group commit in \
         front.\n\n| | {} |\n|---|{}",
        names.join(" | "),
        "---:|".repeat(names.len()),
    );
    for row in judged {
        let _ = write!(page, "| {} ({}) |", row.row.name, row.row.unit);
        for kind in &columns {
            let found = row.figures.iter().find(|(other, _, _)| other == kind);
            let text = found.map_or(String::new(), |(_, found, grouped)| {
                let mark = if *grouped { "+" } else { "" };
                format!("{}{mark}", figure(*found, row.row.digits))
            });
            let _ = write!(page, " {text} |");
        }
        page.push('\n');
    }
}

fn drive(samples: &Samples, page: &mut String) {
    let rows = raw(samples);
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(
        page,
        "\n## The drive\n\nSynced appends into room that was written ahead, a second, all streams \
         together.\n\n| bytes | streams | way | appends/s |\n|---:|---:|---|---:|"
    );
    for (bytes, streams, io, found) in rows {
        let io = cell(&io.to_string());
        let _ = writeln!(page, "| {bytes} | {streams} | `{io}` | {} |", figure(found, 0));
    }
}

fn ways_of_commits(samples: &Samples, page: &mut String) {
    let _ = writeln!(
        page,
        "\n## Commits, every way\n\n| engine | what | writers | group commit in front | commits/s | \
         p50 ms | p99 ms | p99.9 ms |\n|---|---|---:|---|---:|---:|---:|---:|"
    );
    for kind in columns(samples) {
        for (what, name) in [(What::Row, "row"), (What::Letter, "letter")] {
            for writers in WRITERS {
                for grouped in ways(kind, writers) {
                    let job = Job::Commits { what, writers, grouped: *grouped };
                    let found = |name: &str| samples.figure(kind, job, name);
                    let Some(rate) = found("commits_s") else { continue };
                    let median =
                        |name| found(name).map_or(String::new(), |figure| number(figure.median, 2));
                    let _ = writeln!(
                        page,
                        "| {} | {name} | {writers} | {} | {} | {} | {} | {} |",
                        kind.name(),
                        if *grouped { "yes" } else { "" },
                        figure(rate, 0),
                        median("p50_ms"),
                        median("p99_ms"),
                        median("p999_ms"),
                    );
                }
            }
        }
    }
}

fn the_rest(samples: &Samples, page: &mut String) {
    let _ = writeln!(
        page,
        "\n## Files, memory, losses\n\n| engine | set on disk, MiB | drive bytes per byte loaded | \
         drive bytes per byte of mail, by the process | letters/s while flags change | most memory \
         not of files, MiB | letters lost by kills |\n|---|---:|---:|---:|---:|---:|---:|"
    );
    for kind in columns(samples).into_iter().filter(|kind| kind.is_database()) {
        let churn = Job::Churn { writers: crate::plan::CHURN_WRITERS, grouped: kind.is_peer() };
        let median = |job, name: &str, by: f64, digits| {
            let found = samples.figure(kind, job, name);
            found.map_or(String::new(), |figure| number(figure.median * by, digits))
        };
        let loaded = samples.figure(kind, Job::Load, "data_bytes").map_or(1.0, |f| f.median);
        let (all, lost) = losses(samples, kind);
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} of {} |",
            kind.name(),
            median(Job::Load, "taken_bytes", 1.0 / f64::from(1 << 20), 0),
            median(Job::Load, "device_bytes", 1.0 / loaded, 2),
            median(churn, "own_bytes_per_byte", 1.0, 2),
            median(churn, "letters_s", 1.0, 0),
            median(Job::Footprint, "anon_kib", 1.0 / 1024.0, 0),
            number(lost, 0),
            number(all, 0),
        );
    }
    for failure in failures(samples) {
        let _ = writeln!(page, "\nFailed: {failure}");
    }
}

/// The page.
pub(crate) fn markdown(samples: &Samples, judged: &[Judged]) -> String {
    let mut page = HEAD.to_owned();
    about(samples, &mut page);
    goals(judged, &mut page);
    figures(samples, judged, &mut page);
    drive(samples, &mut page);
    ways_of_commits(samples, &mut page);
    the_rest(samples, &mut page);
    page.push_str(HOW);
    page
}
