//! The rig: puts the drive, a loop device, ext4 and the writer on top of each other, cuts the
//! power, and looks at what is left.
//!
//! ```text
//!   new drive ─▶ mounted ─▶ the writer works ─▶ the power goes ─▶ mounted again ─▶ checked
//!                   ▲                                                  │              │
//!                   └──────────── the next life, often checked only afterwards ◀──────┘
//! ```
//! Invariants: everything waits for an event and has a limit; mounts live in a namespace that ends
//! with the rig, a loop device goes with its mount, a writer with its standard input, so nothing is
//! left behind however the rig ends. While the check runs, the drive keeps what it found, and only
//! then takes over what the check made of it.
//! Not here: what a cut leaves (`cache`), counting (`report`).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::cache::Cut;
use super::case::Case;
use super::drive::Drive;
use super::programs::{Event, Process, lines, tool};
use super::report::{Report, Work};
use super::workload::{Finding, Step};
use super::{Flaw, Mode, Order, end_with_input};
use crate::seed::Seed;
use crate::{figure, skipped};

/// Bytes of the drive: room for the rows, for what waits to be cleaned, and for ext4.
const DRIVE_BYTES: usize = 96 << 20;
/// Writes and syncs of the drive after which the power goes: tens of milliseconds of work.
const OPERATIONS_MAX: u64 = 3_000;
/// The same while the database is being opened.
const OPERATIONS_OPENING: u64 = 30;
/// Power cuts that one database lives through, at most.
const LIVES_MAX: u64 = 10;
/// The power goes after this long even if the writer has not come as far as it should.
const WORK_LIMIT: Duration = Duration::from_secs(3);
/// How long a tool of the system may take.
const TOOL_LIMIT: Duration = Duration::from_secs(30);
/// How long opening and comparing may take.
const CHECK_LIMIT: Duration = Duration::from_secs(60);
/// Images kept of drives with which something is wrong.
const KEPT_MAX: u64 = 5;
/// How everything of a rig is called, with its process id behind it.
const NAME: &str = "grace-powercut-";
/// Words kept of a process that died.
const WORDS_MAX: usize = 2_000;

/// How the rig is called again.
const COMMAND: &str = "cargo run --release -p grace-tests --features powercut -- powercut";

fn tell(line: &str) {
    // Nobody reads; the exit code says the rest.
    drop(io::stdout().write_all(format!("{line}\n").as_bytes()));
}

/// Starts the rig in a mount namespace of its own, or says why it cannot be.
///
/// # Errors
/// What the rig found.
pub(super) fn start(order: &Order, options: &[String]) -> Result<(), String> {
    if let Some(why) = obstacle() {
        skipped(&format!("power cuts: {why}"));
        return Ok(());
    }
    let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--"]).arg(program).arg("powercut-rig");
    // The seed once more: if none was given, it is new.
    command.args(options).args(["--seed", &order.seed.to_string()]);
    // It ends when its standard input does, so it ends with us.
    let child = command.stdin(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("cannot start unshare: {error}"))?;
    let input = child.stdin.take();
    let status = child.wait().map_err(|error| format!("the rig: {error}"))?;
    drop(input);
    if status.success() { Ok(()) } else { Err("the power-cut rig has failed".to_owned()) }
}

/// What is missing for a rig.
fn obstacle() -> Option<String> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !is_root {
        return Some("only root can mount a drive; run it as root".to_owned());
    }
    for device in ["/dev/fuse", "/dev/loop-control"] {
        if let Err(error) = File::options().read(true).write(true).open(device) {
            return Some(format!("{device}: {error}; load the kernel's modules fuse and loop"));
        }
    }
    for (program, asks) in [("losetup", "--version"), ("mkfs.ext4", "-V"), ("umount", "--version")]
    {
        if let Err(error) = tool(Command::new(program).arg(asks), TOOL_LIMIT) {
            return Some(format!("{error}; install util-linux, mount and e2fsprogs"));
        }
    }
    let mut namespace = Command::new("unshare");
    namespace.args(["--mount", "--propagation", "private", "--", "true"]);
    tool(&mut namespace, TOOL_LIMIT).err().map(|error| format!("no mount namespace: {error}"))
}

/// Runs the rig, in its own namespace.
///
/// # Errors
/// What it found, or why it cannot go on.
pub(super) fn run(order: &Order) -> Result<(), String> {
    end_with_input();
    clear_leftovers()?;
    let rig = Rig::new()?;
    if let Some(image) = &order.image {
        return rig.examine(image);
    }
    let began = Instant::now();
    tell(&format!("seed {}", order.seed));
    let mut report = Report::default();
    let kinds: Vec<(Mode, usize)> =
        order.modes.iter().flat_map(|mode| order.sectors.iter().map(|s| (*mode, *s))).collect();
    let share = order.cuts.div_ceil(kinds.len().max(1) as u64);
    // Kinds in turn, so that an early end leaves all of them with some.
    for (seed, kind) in (order.seed..).zip(kinds.iter().cycle()) {
        let left = kinds.iter().filter(|kind| report.cuts_of(**kind) < share).count();
        if left == 0 {
            break;
        }
        let lives = share.saturating_sub(report.cuts_of(*kind));
        if lives > 0 {
            let before = report.cuts();
            let database = Database::new(&rig, order, *kind, seed);
            database.run(lives, &mut report)?;
            if before / 100 != report.cuts() / 100 {
                tell(&format!("{} cuts, {} flaws", report.cuts(), report.flaws()));
            }
        }
    }
    tell(&format!("\n{report}"));
    figure(&report.figure(began.elapsed()));
    match (order.syncs, report.flaws()) {
        (true, 0) => Ok(()),
        (true, count) => Err(format!("{count} times something was wrong after a power cut")),
        (false, 0) => Err("syncs were left out and nothing was lost: the rig is blind".to_owned()),
        (false, _) => {
            tell("syncs were left out, and the rig saw what that costs");
            Ok(())
        }
    }
}

/// The process id in a name of ours, if there is no such process.
fn is_orphan(name: &str) -> bool {
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let process = name.rsplit('/').next().and_then(|name| name.strip_prefix(NAME)).map(digits);
    process.is_some_and(|id| !id.is_empty() && !Path::new("/proc").join(id).exists())
}

/// Gives back what rigs have left that were killed: empty folders and, if it was in the one bad
/// moment, a loop device.
fn clear_leftovers() -> Result<(), String> {
    let mut list = Command::new("losetup");
    list.args(["--list", "--noheadings", "--raw", "--output", "NAME,BACK-FILE"]);
    for line in tool(&mut list, TOOL_LIMIT)?.lines() {
        if let Some((device, file)) = line.split_once(' ')
            && is_orphan(file)
        {
            tool(Command::new("losetup").args(["--detach", device]), TOOL_LIMIT)?;
        }
    }
    let folder = std::env::temp_dir();
    let entries =
        fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(is_orphan) {
            fs::remove_dir_all(entry.path())
                .map_err(|error| format!("{}: {error}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// The drive and where it is mounted.
struct Rig {
    drive: Drive,
    /// The drive as a file.
    file: PathBuf,
    /// A drive with an empty file system.
    empty: Vec<u8>,
    /// Mountpoints and files of this run; it goes after the drive.
    folder: Folder,
}

impl Drop for Rig {
    fn drop(&mut self) {
        // It fails when nothing is mounted.
        drop(tool(Command::new("umount").arg(self.disk()), TOOL_LIMIT));
    }
}

/// A folder that goes when it is not needed any more.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is by the next rig.
        drop(fs::remove_dir_all(&self.0));
    }
}

impl Rig {
    fn new() -> Result<Self, String> {
        let name = format!("{NAME}{}", process::id());
        let folder = Folder(std::env::temp_dir().join(&name));
        let (mountpoint, file) = (folder.0.join("drive"), format!("{name}.img"));
        for folder in [&mountpoint, &folder.0.join("disk")] {
            fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let drive = Drive::mount(&mountpoint, &file, DRIVE_BYTES)
            .map_err(|error| format!("mounting {}: {error}", mountpoint.display()))?;
        let mut rig = Self { drive, file: mountpoint.join(file), empty: Vec::new(), folder };
        let mut format = Command::new("mkfs.ext4");
        // All of it now: nothing is to be done later behind the database's back.
        format.args(["-q", "-F", "-b", "4096", "-E"]);
        format.arg("lazy_itable_init=0,lazy_journal_init=0,nodiscard").arg(&rig.file);
        tool(&mut format, TOOL_LIMIT)?;
        rig.await_released()?;
        rig.drive.cache().sync();
        rig.empty = rig.drive.cache().durable().to_vec();
        Ok(rig)
    }

    /// Where ext4 is mounted.
    fn disk(&self) -> PathBuf {
        self.folder.0.join("disk")
    }

    fn database(&self) -> PathBuf {
        self.disk().join("db")
    }

    fn case_file(&self) -> PathBuf {
        self.folder.0.join("case")
    }

    /// What a process says on its standard error.
    fn words_file(&self) -> PathBuf {
        self.folder.0.join("words")
    }

    fn await_released(&self) -> Result<(), String> {
        let is_released = self.drive.await_released(TOOL_LIMIT);
        is_released.then_some(()).ok_or_else(|| "somebody keeps the drive's file open".to_owned())
    }

    /// Mounts the file system.
    ///
    /// # Errors
    /// There is no loop device. The inner one: the file system cannot be mounted.
    fn mount(&self, sector_bytes: usize) -> Result<Result<(), String>, String> {
        let mut attach = Command::new("losetup");
        attach.args(["--find", "--show", "--sector-size", &sector_bytes.to_string()]);
        let device = tool(attach.arg(&self.file), TOOL_LIMIT)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "ext4", "-o", "noatime", device.trim()]).arg(self.disk());
        let mounted = tool(&mut mount, TOOL_LIMIT);
        // It goes with the mount from now on.
        tool(Command::new("losetup").args(["--detach", device.trim()]), TOOL_LIMIT)?;
        if mounted.is_err() {
            self.await_released()?;
        }
        Ok(mounted.map(drop))
    }

    fn unmount(&self) -> Result<(), String> {
        tool(Command::new("umount").arg(self.disk()), TOOL_LIMIT)?;
        self.await_released()
    }

    /// A process of this program.
    fn process(&self, word: &str, arguments: &[&str]) -> Result<Command, String> {
        let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
        let words = File::create(self.words_file());
        let words = words.map_err(|error| format!("{}: {error}", self.words_file().display()))?;
        let mut command = Command::new(program);
        command.arg(word).arg(self.database()).args(arguments).stderr(words);
        Ok(command)
    }

    fn words(&self) -> String {
        let words = fs::read(self.words_file()).unwrap_or_default();
        let start = words.len().saturating_sub(WORDS_MAX);
        String::from_utf8_lossy(words.get(start..).unwrap_or_default()).into_owned()
    }

    /// Opens what is on the drive and compares it with the case.
    fn check(&self, case: &Case, life: u64) -> Result<Checked, String> {
        let path = self.case_file();
        case.write(&path)?;
        let (sender, events) = channel();
        let arguments = [&*path.to_string_lossy(), &life.to_string()];
        let mut command = self.process("powercut-check", &arguments)?;
        let process = Process::start(&mut command, sender)?;
        let (lines, has_ended) = lines(&events, CHECK_LIMIT);
        drop(process);
        let mut checked = Checked::default();
        for line in &lines {
            if let Some(number) = line.strip_prefix("tip ") {
                checked.number = number.parse().unwrap_or(0);
            } else if let Some((flaw, words)) =
                line.strip_prefix("found ").and_then(|found| found.split_once(' '))
            {
                checked.findings.push((flaw.parse()?, words.to_owned()));
            }
        }
        if lines.last().map(String::as_str) != Some("done") {
            let how = if has_ended { "died" } else { "does not come to an end" };
            let words = format!("the check {how}; {}", self.words());
            checked.findings.push((Flaw::Unopened, words));
        }
        Ok(checked)
    }

    /// Checks the image of a drive that was kept.
    fn examine(&self, image: &Path) -> Result<(), String> {
        let failed = |error: io::Error| format!("{}: {error}", image.display());
        let bytes = fs::read(image).map_err(failed)?;
        if bytes.len() != self.drive.cache().bytes() {
            return Err(format!("{}: not the image of a drive of this rig", image.display()));
        }
        let case = Case::read(&image.with_extension("case"))?;
        self.drive.cache().load(&bytes);
        self.mount(case.sector_bytes)??;
        let checked = self.check(&case, 0)?;
        self.unmount()?;
        tell(&format!("{} transactions are there, {} must be", checked.number, case.floor));
        for (flaw, words) in &checked.findings {
            tell(&format!("{}: {words}", flaw.name()));
        }
        if checked.findings.is_empty() { Ok(()) } else { Err("something is wrong".to_owned()) }
    }
}

/// What a check found.
#[derive(Default)]
struct Checked {
    /// Transactions that are there.
    number: u64,
    findings: Vec<Finding>,
}

/// One database and its power cuts.
struct Database<'a> {
    rig: &'a Rig,
    order: &'a Order,
    mode: Mode,
    case: Case,
    chance: Seed,
    /// Transactions that were promised and are not there.
    lost: u64,
}

impl<'a> Database<'a> {
    fn new(rig: &'a Rig, order: &'a Order, (mode, sector_bytes): (Mode, usize), seed: u64) -> Self {
        let case = Case { seed, sector_bytes, ..Case::default() };
        Self { rig, order, mode, case, chance: Seed::new(seed ^ 0xC07), lost: 0 }
    }

    fn kind(&self) -> (Mode, usize) {
        (self.mode, self.case.sector_bytes)
    }

    /// Cuts the power up to `lives` times, until something is wrong.
    fn run(mut self, lives: u64, report: &mut Report) -> Result<(), String> {
        let rig = self.rig;
        let lives = lives.min(self.chance.between(LIVES_MAX / 2, LIVES_MAX));
        rig.drive.cache().load(&rig.empty);
        rig.mount(self.case.sector_bytes)??;
        for life in 1..=lives {
            let (work, mut findings) = self.live(life)?;
            report.cut(self.kind(), &work);
            rig.unmount()?;
            rig.drive.cache().restore();
            if let Err(words) = rig.mount(self.case.sector_bytes)? {
                report.unmounted(self.kind());
                tell(&format!("ext4 cannot be mounted, life {life} of {}: {words}", self.name()));
                return Ok(());
            }
            // Now and then the writer comes first, so that the power also goes while it recovers.
            let is_checked = !self.chance.number().is_multiple_of(4) || life == lives;
            if findings.is_empty() && is_checked {
                findings = self.check(life)?;
            }
            if !findings.is_empty() {
                self.complain(life, &findings, report)?;
                break;
            }
        }
        rig.unmount()
    }

    /// Lets the writer work until the power goes.
    fn live(&mut self, life: u64) -> Result<(Work, Vec<Finding>), String> {
        let rig = self.rig;
        let chance = &mut self.chance;
        let operations = if chance.number().is_multiple_of(4) {
            chance.between(1, OPERATIONS_OPENING)
        } else {
            chance.between(OPERATIONS_OPENING, OPERATIONS_MAX)
        };
        let sector_bytes = self.case.sector_bytes;
        let cut = Cut { mode: self.mode, sector_bytes, seed: chance.number() };
        let (sender, events) = channel();
        let (seed, number) = (self.case.seed.to_string(), life.to_string());
        let mut command = rig.process("powercut-writer", &[&seed, &number])?;
        rig.drive.cache().hold(!self.order.syncs);
        rig.drive.arm(operations, cut, sender.clone());
        let mut writer = Process::start(&mut command, sender)?;
        let (mut work, mut findings) = (Work::default(), Vec::new());
        let deadline = Instant::now() + WORK_LIMIT;
        let has_ended = loop {
            match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Line(line)) => {
                    self.hear(&line, &mut work, &mut findings);
                    if !findings.is_empty() {
                        break false;
                    }
                }
                Ok(Event::Ended) => break true,
                Ok(Event::Cut) | Err(RecvTimeoutError::Timeout) => break false,
                Err(RecvTimeoutError::Disconnected) => break true,
            }
        };
        if has_ended && !rig.drive.cache().is_off() {
            findings.push((Flaw::Failed, format!("the writer died; {}", rig.words())));
        }
        rig.drive.cache().cut(&cut);
        work.unsynced = rig.drive.cache().unsynced_at_cut();
        writer.kill();
        if !has_ended {
            // What it had said before it was killed.
            let (lines, has_ended) = lines(&events, TOOL_LIMIT);
            if findings.is_empty() {
                lines.iter().for_each(|line| self.hear(line, &mut work, &mut findings));
            }
            if !has_ended {
                return Err("the writer was killed and does not end".to_owned());
            }
        }
        Ok((work, findings))
    }

    /// Takes in a line of the writer.
    fn hear(&mut self, line: &str, work: &mut Work, findings: &mut Vec<Finding>) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let numbers: Vec<u64> = rest.split(' ').map_while(|text| text.parse().ok()).collect();
        match (word, numbers.as_slice()) {
            ("ready", [number]) => {
                work.was_open = true;
                findings.extend(self.found(*number));
            }
            ("+", [number, life, thread, turn]) => {
                let step = Step { life: *life, thread: *thread, turn: *turn };
                work.begun += 1;
                if let Err(words) = self.case.begin(*number, step) {
                    findings.push((Flaw::Half, words));
                }
            }
            ("=", [number]) => {
                work.acknowledged += 1;
                self.case.floor = self.case.floor.max(*number);
            }
            ("did", [flushes, merges, cleaned]) => work.background = [*flushes, *merges, *cleaned],
            // Without power everything may fail, but nothing may panic.
            ("!", _) if self.rig.drive.cache().is_off() && !rest.starts_with("panic") => {}
            ("!", _) => {
                let is_open = !rest.starts_with("open:");
                let flaw = if is_open { Flaw::Failed } else { Flaw::Unopened };
                findings.push((flaw, rest.to_owned()));
            }
            // The line that the kill has cut short.
            _ => {}
        }
    }

    /// The database was opened and holds so many transactions: all of them must stay.
    fn found(&mut self, number: u64) -> Option<Finding> {
        let (floor, made) = (self.case.floor, self.case.made());
        if number < floor {
            self.lost = floor - number;
            return Some((Flaw::Lost, format!("{number} are there, {floor} were promised")));
        }
        if number > made {
            return Some((Flaw::Half, format!("{number} are there, {made} were made")));
        }
        self.case.steps.truncate(usize::try_from(number).unwrap_or(usize::MAX));
        self.case.floor = number;
        None
    }

    /// Checks what is there. The drive stays as it was if something is wrong.
    fn check(&mut self, life: u64) -> Result<Vec<Finding>, String> {
        let rig = self.rig;
        rig.drive.cache().hold(true);
        let checked = rig.check(&self.case, life)?;
        let mut findings = checked.findings;
        if findings.iter().any(|finding| finding.0 == Flaw::Lost) {
            self.lost = self.case.floor.saturating_sub(checked.number);
        }
        if findings.is_empty() {
            rig.drive.cache().hold(false);
            findings.extend(self.found(checked.number));
        }
        Ok(findings)
    }

    /// Which database this is.
    fn name(&self) -> String {
        format!("mode {} sector {} seed {}", self.mode, self.case.sector_bytes, self.case.seed)
    }

    /// Says what is wrong, how to see it again, and keeps the drive.
    fn complain(&self, life: u64, findings: &[Finding], report: &mut Report) -> Result<(), String> {
        let flaws: BTreeSet<Flaw> = findings.iter().map(|finding| finding.0).collect();
        let before = report.flaws();
        report.wrong(self.kind(), &flaws, self.lost);
        tell(&format!("life {life} of {}:", self.name()));
        for (flaw, words) in findings {
            tell(&format!("  {}: {words}", flaw.name()));
        }
        if !self.order.syncs || before >= KEPT_MAX {
            return Ok(());
        }
        let folder = std::env::temp_dir().join("grace-powercut.kept");
        let image = folder.join(format!("{}-{life}.img", self.name().replace(' ', "-")));
        fs::create_dir_all(&folder)
            .and_then(|()| keep(&image, self.rig.drive.cache().durable()))
            .map_err(|error| format!("{}: {error}", image.display()))?;
        self.case.write(&image.with_extension("case"))?;
        let (mode, sector, seed) = (self.mode, self.case.sector_bytes, self.case.seed);
        tell(&format!("  the drive: {COMMAND} --image {}", image.display()));
        tell(&format!(
            "  replay: {COMMAND} --mode {mode} --sector {sector} --seed {seed} --cuts {life}"
        ));
        Ok(())
    }
}

/// Writes the image of a drive, which is empty for the most part.
fn keep(path: &Path, image: &[u8]) -> io::Result<()> {
    const PIECE: usize = 4096;
    let file = File::create(path)?;
    file.set_len(image.len() as u64)?;
    for (at, piece) in (0..).step_by(PIECE).zip(image.chunks(PIECE)) {
        if piece.iter().any(|byte| *byte != 0) {
            file.write_all_at(piece, at)?;
        }
    }
    Ok(())
}
