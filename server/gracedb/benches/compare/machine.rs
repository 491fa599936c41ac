//! What was measured on, said without a name: processor, memory, system, file system, day.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::Outcome;

/// A machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    pub(crate) drive: String,
    /// Year, month and day, UTC.
    pub(crate) day: String,
}

/// What stands after a name and a colon in a file of such lines.
fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
}

/// The numbers a release begins with; what follows may name whoever built it.
fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    release.chars().take_while(|c| is_number(*c)).collect()
}

/// The type of the file system that holds a folder (proc(5), `mountinfo`).
fn file_system(dir: &Path) -> Outcome<String> {
    let number = fs::metadata(dir)?.dev();
    let wanted = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&wanted));
    let kind = line.and_then(|line| line.split_once(" - ")?.1.split(' ').next());
    Ok(kind.unwrap_or("unknown").to_owned())
}

/// What kind of drive a folder is on, by the name its driver gives.
fn drive(dir: &Path) -> Outcome<String> {
    let number = fs::metadata(dir)?.dev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let link = fs::read_link(format!("/sys/dev/block/{major}:{minor}")).unwrap_or_default();
    let name = link.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let kinds = [("vd", "virtio"), ("nvme", "NVMe"), ("sd", "SCSI or SATA"), ("loop", "loop")];
    let kind = kinds.iter().find(|(prefix, _)| name.starts_with(prefix));
    Ok(kind.map_or("unknown", |(_, kind)| kind).to_owned())
}

/// A day since 1970 as year, month and day (Howard Hinnant, `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

impl Machine {
    /// This one, with the drive under a folder.
    pub(crate) fn here(dir: &Path) -> Outcome<Self> {
        let memory = field("/proc/meminfo", "MemTotal");
        let kib: u64 = memory.split(' ').next().unwrap_or_default().parse().unwrap_or(0);
        let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let (year, month, day) = civil(since.as_secs() / 86_400);
        Ok(Self {
            processor: field("/proc/cpuinfo", "model name"),
            processors: std::thread::available_parallelism()?.get(),
            memory_gib: (kib + (1 << 19)) >> 20,
            kernel: kernel(),
            file_system: file_system(dir)?,
            drive: drive(dir)?,
            day: format!("{year}-{month:02}-{day:02}"),
        })
    }
}
