//! No acknowledgment before the disk has the message, seen from the system's side: every call of
//! the daemon is watched (`strace`) while messages come in.
//!
//! ```text
//!   recvfrom(… the message's last line …) ─▶ write to the journal, synced ─▶ sendto("250 2.0.0 …
//! ```
//! A write to the journal is synced when its file was opened so (`O_DSYNC`), or when a sync of the
//! file that begins after it has returned. So it is with the OK of every IMAP command that changes
//! something. Not here: what a power cut leaves (`powercut`).

#![cfg(target_os = "linux")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use grace_tests::house::{self, House};
use grace_tests::wire::Wire;
use grace_tests::{figure, skipped};

/// What is watched: whatever reads from a peer, writes anywhere, or syncs.
const CALLS: &str = "read,readv,recvfrom,recvmsg,write,writev,pwrite64,pwritev,pwritev2,sendto,\
                     sendmsg,sendmmsg,sendfile,splice,fsync,fdatasync,sync_file_range,msync,\
                     io_uring_setup,io_uring_enter,io_submit";
/// Of `open(2)`: each write returns when the drive has it (`O_SYNC` has this bit, too).
const O_DSYNC: u32 = 0o10_000;
/// Messages that are sent.
const MESSAGES: usize = 5;
/// Bytes of each.
const BYTES: usize = 3_000;

/// Commands of IMAP that change something, in an order in which each has something to change.
const COMMANDS: &[&str] = &[
    "CREATE Work",
    "STORE 1 +FLAGS (\\Seen)",
    "STORE 1 -FLAGS.SILENT (\\Seen)",
    "COPY 1 Work",
    "MOVE 2 Work",
    "STORE 1 +FLAGS (\\Deleted)",
    "UID EXPUNGE 1:*",
    "STORE 1 +FLAGS (\\Deleted $One)",
    "EXPUNGE",
    "FETCH 1 BODY[]",
    "STORE 1 +FLAGS (\\Deleted)",
    "CLOSE",
    "SUBSCRIBE Work",
    "SETMETADATA Work (/private/comment \"x\")",
    "RENAME Work Play",
    "DELETE Play",
];

/// The last line of a message, by which its arrival is known.
fn marker(number: usize) -> String {
    format!("the end of number {number}.")
}

#[test]
fn direct_writes_are_on_disk_before_an_acknowledgment() {
    acknowledged_after_sync("direct");
}

#[test]
fn buffered_writes_are_on_disk_before_an_acknowledgment() {
    acknowledged_after_sync("buffered");
}

#[test]
fn direct_writes_are_on_disk_before_an_ok() {
    commands_done_after_sync("direct");
}

#[test]
fn buffered_writes_are_on_disk_before_an_ok() {
    commands_done_after_sync("buffered");
}

/// Runs every command of IMAP that changes something, and one APPEND more than there are messages.
fn commands_done_after_sync(journal_io: &str) {
    let house = House::start_with(&format!("[store]\njournal_io = \"{journal_io}\"\n"));
    let ann = house.account("ann");
    let mut wire = Wire::connect(house.port("Imap"));
    let password = ann.password.replace('\\', "\\\\").replace('"', "\\\"");
    said(&mut wire, "l", &format!("LOGIN {} \"{password}\"", ann.address));
    said(&mut wire, "s", "SELECT INBOX");
    let trace = house.folder().join("trace");
    let mut watcher = match watch(house.id(), &trace) {
        Ok(watcher) => watcher,
        Err(why) => return skipped(&format!("the order of syncs and OKs: {why}")),
    };
    let mut watched = Vec::new();
    for number in 0..MESSAGES {
        let body = format!("{}\r\n{}\r\n", "x".repeat(BYTES), marker(number));
        let (tag, size) = (format!("a{number}x"), body.len());
        said(&mut wire, &tag, &format!("APPEND INBOX {{{size}+}}\r\n{body}"));
        watched.push((marker(number), tag, BYTES));
    }
    for (number, command) in COMMANDS.iter().enumerate() {
        let tag = format!("c{number}x");
        said(&mut wire, &tag, command);
        watched.push((format!("{tag} {}", command.escape_default()), tag, 1));
    }
    let (synced, rings) = look_at_files(house.id());
    house::send_signal(watcher.id(), "INT");
    house::wait(&mut watcher, grace_tests::log::PATIENCE);
    assert_eq!(rings, 0, "what goes through a ring is not seen here");
    let text = String::from_utf8_lossy(&fs::read(&trace).expect("strace wrote it")).into_owned();
    for (arrives, tag, bytes_min) in &watched {
        let judged = judge(&text, &synced, (arrives, &format!("{tag} OK ")), *bytes_min);
        assert!(judged.is_ok(), "{journal_io}, {arrives:?}: {judged:?} in\n{text}");
    }
    let count = watched.len();
    figure(&format!("{journal_io} journal: {count} of {count} IMAP commands synced before OK"));
}

/// Sends a command of IMAP and reads up to its OK.
fn said(wire: &mut Wire, tag: &str, command: &str) {
    wire.send(format!("{tag} {command}\r\n").as_bytes());
    loop {
        let line = wire.line();
        assert!(!line.is_empty(), "{command} ended the connection");
        if let Some(status) = line.strip_prefix(&format!("{tag} ")) {
            return assert!(status.starts_with("OK"), "{command}: {line}");
        }
    }
}

fn acknowledged_after_sync(journal_io: &str) {
    let house = House::start_with(&format!("[store]\njournal_io = \"{journal_io}\"\n"));
    let ann = house.account("ann");
    Wire::deliver(&house, &ann, "before anybody watches");
    let trace = house.folder().join("trace");
    let mut watcher = match watch(house.id(), &trace) {
        Ok(watcher) => watcher,
        Err(why) => return skipped(&format!("the order of syncs and answers: {why}")),
    };
    for number in 0..MESSAGES {
        let filling = format!("C: {}\n", "x".repeat(74)).repeat(BYTES / 76);
        Wire::connect(house.port("Smtp")).check(&format!(
            "S: 220 *
             C: EHLO client.example.org
             S: 250 *
             C: MAIL FROM:<sender@example.org>
             S: 250 *
             C: RCPT TO:<{}>
             S: 250 *
             C: DATA
             S: 354 *
             C: Subject: watched
             C:
             {filling}
             C: {}
             C: .
             S: 250 2.0.0 *",
            ann.address,
            marker(number),
        ));
    }
    let (synced, rings) = look_at_files(house.id());
    house::send_signal(watcher.id(), "INT");
    house::wait(&mut watcher, grace_tests::log::PATIENCE);
    assert_eq!(rings, 0, "what goes through a ring is not seen here");
    let text = String::from_utf8_lossy(&fs::read(&trace).expect("strace wrote it")).into_owned();
    for number in 0..MESSAGES {
        let judged = judge(&text, &synced, (&marker(number), "\"250 2.0.0"), BYTES);
        assert!(judged.is_ok(), "{journal_io}, message {number}: {judged:?} in\n{text}");
    }
    figure(&format!("{journal_io} journal: {MESSAGES} of {MESSAGES} messages synced before 250"));
}

/// Has `strace` look over a process's shoulder; returns when it does.
fn watch(id: u32, trace: &Path) -> Result<Child, String> {
    let mut command = Command::new("strace");
    command.args(["-f", "-yy", "-s", "4096", "-e", &format!("trace={CALLS}"), "-o"]);
    command.arg(trace).arg("-p").arg(id.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut watcher = command.spawn().map_err(|error| format!("strace does not start: {error}"))?;
    let mut said = BufReader::new(watcher.stderr.take().expect("piped"));
    let mut line = String::new();
    // Its first line says that it watches, or why it cannot.
    drop(said.read_line(&mut line));
    if line.contains("attached") {
        // What it says later is not read; it must not be held up by that.
        std::thread::spawn(move || drop(std::io::copy(&mut said, &mut std::io::sink())));
        return Ok(watcher);
    }
    house::wait(&mut watcher, grace_tests::log::PATIENCE);
    Err(format!("strace cannot watch: {}", line.trim()))
}

/// Which open files sync each write by themselves, and how many rings there are.
fn look_at_files(id: u32) -> (BTreeSet<u32>, usize) {
    let (mut synced, mut rings) = (BTreeSet::new(), 0);
    let folder = fs::read_dir(format!("/proc/{id}/fd")).expect("the daemon runs");
    for entry in folder.flatten() {
        let number = entry.file_name().to_string_lossy().into_owned();
        let target = fs::read_link(entry.path()).unwrap_or_default();
        rings += usize::from(target.to_string_lossy().contains("io_uring"));
        let info = fs::read_to_string(format!("/proc/{id}/fdinfo/{number}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        if flags.is_some_and(|flags| flags & O_DSYNC != 0) {
            synced.extend(number.parse::<u32>());
        }
    }
    (synced, rings)
}

/// One line of a trace: the beginning or the end of a call, or both.
struct Call<'a> {
    thread: &'a str,
    name: &'a str,
    file: u32,
    text: &'a str,
    begins: bool,
    returned: Option<i64>,
}

/// `27 pwrite64(13</x/1.gj>, "..."..., 512, 4096) = 512`, `27 fsync(5</x> <unfinished ...>`,
/// `27 <... fsync resumed>) = 0`
fn call(line: &str) -> Option<Call<'_>> {
    let (thread, rest) = line.split_once(' ')?;
    let text = rest.trim_start();
    let returned = text.rsplit_once(" = ").and_then(|(_, value)| {
        value.split_whitespace().next().and_then(|value| value.parse().ok())
    });
    if let Some(rest) = text.strip_prefix("<... ") {
        let (name, _) = rest.split_once(" resumed>")?;
        return Some(Call { thread, name, file: 0, text, begins: false, returned });
    }
    let (name, arguments) = text.split_once('(')?;
    let digits = arguments.split(|c: char| !c.is_ascii_digit()).next()?;
    let returned = returned.filter(|_| !text.ends_with("<unfinished ...>"));
    Some(Call { thread, name, file: digits.parse().unwrap_or(0), text, begins: true, returned })
}

/// Looks whether what arrived with this marker was on disk when it was acknowledged by this answer.
fn judge(
    trace: &str,
    synced: &BTreeSet<u32>,
    (marker, answer): (&str, &str),
    bytes_min: usize,
) -> Result<(), String> {
    let bytes_min = i64::try_from(bytes_min).unwrap_or(i64::MAX);
    let mut has_arrived = false;
    // What each thread is in the middle of, if it began after the arrival, and what was written and
    // not synced then: a sync is of what was written before it began.
    let mut under_way: BTreeMap<&str, (Call<'_>, i64)> = BTreeMap::new();
    // Events are written too, and nobody waits for those: what counts is what is on disk.
    let (mut synced_bytes, mut unsynced_bytes) = (0i64, 0i64);
    for call in trace.lines().filter_map(call) {
        if !has_arrived {
            has_arrived = call.text.contains(marker) && call.returned.is_some();
            continue;
        }
        if call.begins && call.name.starts_with("send") && call.text.contains(answer) {
            let told = format!("{synced_bytes} bytes synced, {unsynced_bytes} not");
            return if synced_bytes >= bytes_min { Ok(()) } else { Err(told) };
        }
        let Some(returned) = call.returned else {
            under_way.insert(call.thread, (call, unsynced_bytes));
            continue;
        };
        // A call that began before the arrival says nothing about what came with it.
        let begun =
            if call.begins { Some((call, unsynced_bytes)) } else { under_way.remove(call.thread) };
        let begun = begun.filter(|(begun, _)| begun.text.contains(".gj>"));
        let Some((begun, before_bytes)) = begun else { continue };
        match begun.name {
            "pwrite64" | "pwritev2" | "write" | "pwritev" if returned > 0 => {
                // Room that is made ahead holds nothing yet.
                if begun.text.contains(">, \"\\0\\0\\0\\0\\0\\0\\0\\0") {
                    continue;
                }
                if synced.contains(&begun.file) {
                    synced_bytes += returned;
                } else {
                    unsynced_bytes += returned;
                }
            }
            "fsync" | "fdatasync" if returned == 0 => {
                let covered_bytes = before_bytes.min(unsynced_bytes);
                synced_bytes += covered_bytes;
                unsynced_bytes -= covered_bytes;
            }
            _ => {}
        }
    }
    Err(format!("arrived: {has_arrived}, and no acknowledgment"))
}

#[test]
fn traces_are_judged() {
    const ARRIVES: &str = "7 recvfrom(9<TCP:[1]>, \"x the end\\r\\n.\\r\\n\", 20, 0) = 20\n";
    const WRITES: &str = "8 pwrite64(5</d/1.gj>, \"GrRc\"..., 4096, 0) = 4096\n";
    const BEGINS: &str = "8 pwrite64(5</d/1.gj>, \"GrRc\"..., 4096, 0 <unfinished ...>\n";
    const RETURNS: &str = "8 <... pwrite64 resumed>) = 4096\n";
    const SYNCS: &str = "8 fdatasync(5</d/1.gj>) = 0\n";
    const ANSWERS: &str = "7 sendto(9<TCP:[1]>, \"250 2.0.0 ok\"..., 30) = 30\n";
    const ANSWER: (&str, &str) = ("the end", "\"250 2.0.0");
    let judged = |lines: &[&str], synced: &[u32]| {
        judge(&lines.concat(), &synced.iter().copied().collect(), ANSWER, 4_000).is_ok()
    };
    assert!(judged(&[ARRIVES, WRITES, ANSWERS], &[5]));
    assert!(judged(&[ARRIVES, BEGINS, RETURNS, ANSWERS], &[5]));
    assert!(judged(&[ARRIVES, WRITES, SYNCS, ANSWERS], &[]));
    assert!(!judged(&[ARRIVES, WRITES, ANSWERS], &[]), "written, not synced");
    assert!(!judged(&[ARRIVES, ANSWERS, WRITES], &[5]), "answered before it was written");
    assert!(!judged(&[ARRIVES, BEGINS, ANSWERS, RETURNS], &[5]), "answered meanwhile");
    assert!(!judged(&[WRITES, ARRIVES, ANSWERS], &[5]), "written before it came");
    assert!(!judged(&[BEGINS, ARRIVES, RETURNS, ANSWERS], &[5]), "begun before it came");
    assert!(!judged(&[ARRIVES, SYNCS, WRITES, ANSWERS], &[]), "synced too early");
    assert!(!judged(&[ARRIVES, SYNCS, ANSWERS], &[]), "nothing written");
    const SYNC_BEGINS: &str = "9 fdatasync(5</d/1.gj> <unfinished ...>\n";
    const SYNC_RETURNS: &str = "9 <... fdatasync resumed>) = 0\n";
    assert!(judged(&[ARRIVES, WRITES, SYNC_BEGINS, SYNC_RETURNS, ANSWERS], &[]));
    assert!(!judged(&[ARRIVES, SYNC_BEGINS, WRITES, SYNC_RETURNS, ANSWERS], &[]), "begun before");
}
