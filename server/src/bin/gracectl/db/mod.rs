//! `gracectl db`: figures, checks, copies and repair of the database.
//!
//! ```text
//!   no --dir    the running daemon does it (live), while mail goes on
//!   --dir DIR   this program does it (closed), on files that no daemon has open: those of a daemon
//!               that is stopped, or a backup
//! ```
//! Invariants: both say the same in the same words; a check that found problems, and a repair that
//! lost something, end with 1. Progress goes to standard error, results to standard output.
//! Not here: the work itself (`gracedb`), how results look ([`show`]).

mod closed;
mod dump;
mod key;
mod live;
mod meter;
pub(crate) mod moment;
mod show;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use grace_ipc::client::Client;
use grace_ipc::role::Role;

use self::closed::Closed;
use self::meter::Meter;
use crate::print::Form;

/// Who does the work, for the help.
pub(crate) const WHO: &str = "Without --dir the running graced does the work while mail goes on, \
    and folders are those of its machine. With --dir this program does it, on a database that no \
    daemon has open, or on a backup.";

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Db {
    /// Sizes, live bytes, levels, counters, and how far back it can be restored
    Stats {
        /// List every segment of the journal, too
        #[arg(long)]
        segments: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Check every byte and everything that belongs together; ends with 1 if there are problems
    Verify {
        #[command(flatten)]
        place: Place,
    },
    /// Copy the database into a folder; into an earlier backup only what is new
    Backup {
        /// Folder for the copy, outside of the data folder; of a running graced a whole path on its
        /// machine
        to: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Copy the database, or a backup (--dir), as it was at a moment into an empty folder
    Restore {
        /// Folder for the copy, as for `backup`
        to: PathBuf,
        #[command(flatten)]
        moment: moment::Wanted,
        #[command(flatten)]
        place: Place,
    },
    /// Merge everything there is to merge, and give back what room can be given back
    Compact {
        #[command(flatten)]
        place: Place,
    },
    /// Encrypt everything anew with a new data key, and let another key file or passphrase open it
    ChangeKey {
        #[command(flatten)]
        new: key::New,
        #[command(flatten)]
        place: Place,
    },
    /// Save what can be read of a broken database into another folder; ends with 1 if anything is
    /// lost
    Repair {
        /// Folder for the sound database: empty, or not there yet
        to: PathBuf,
        /// Folder of the broken database, or a daemon's data folder; nothing in it is changed
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        #[command(flatten)]
        access: Access,
    },
    /// Show a file of a database byte by byte, beside what the bytes mean; ends with 1 if anything
    /// in it is broken
    Dump(dump::Dump),
}

/// Which database.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Folder of a database, of a backup, or a daemon's data folder [default: ask the running
    /// graced]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
}

/// How a database that is not open is opened.
#[derive(Debug, Args)]
pub(crate) struct Access {
    /// With --dir: file with the key, where the database is encrypted [default: the one graced
    /// would use]. A passphrase is asked for, or read from standard input
    #[arg(long, value_name = "FILE", requires = "dir")]
    key_file: Option<PathBuf>,
    /// With --dir: configuration of the graced that the database belongs to [default: as graced]
    #[arg(long, value_name = "FILE", requires = "dir")]
    config: Option<PathBuf>,
}

/// Who does the work.
enum Worker {
    Live(Box<Client>),
    Closed(Box<Closed>),
}

impl Place {
    fn worker(&self, connect: impl FnOnce() -> Result<Client, String>) -> Result<Worker, String> {
        match &self.dir {
            Some(dir) => {
                Closed::find(dir, &self.access).map(|closed| Worker::Closed(Box::new(closed)))
            }
            None => connect().map(|client| Worker::Live(Box::new(client))),
        }
    }
}

/// Does what the command says; says with what to end.
pub(crate) fn run(
    command: Db,
    form: Form,
    connect: &dyn Fn(Role) -> Result<Client, String>,
) -> Result<ExitCode, String> {
    let owner = || connect(Role::Owner);
    match command {
        Db::Stats { segments, place } => {
            let (stats, found) = match place.worker(|| connect(Role::Viewer))? {
                Worker::Closed(closed) => closed.stats()?,
                Worker::Live(client) => live::stats(*client)?,
            };
            show::stats(form, &stats, &found, segments)?;
        }
        Db::Verify { place } => {
            let (worker, mut meter) = (place.worker(owner)?, Meter::start());
            let (verified, problems) = match worker {
                Worker::Closed(closed) => closed.verify(&mut meter)?,
                Worker::Live(client) => live::verify(*client, &mut meter)?,
            };
            show::verified(form, &verified, &problems, meter.stop())?;
            return Ok(ends_with(verified.problems == 0));
        }
        Db::Backup { to, place } => {
            let (worker, mut meter) = (place.worker(owner)?, Meter::start());
            let copied = match worker {
                Worker::Closed(closed) => closed.backup(&to, &mut meter)?,
                Worker::Live(client) => live::backup(*client, &whole(&to), &mut meter)?,
            };
            show::backed_up(form, &copied, meter.stop())?;
        }
        Db::Restore { to, moment, place } => {
            let (worker, mut meter) = (place.worker(owner)?, Meter::start());
            let moment = moment.of(moment::now_us());
            let copied = match worker {
                Worker::Closed(closed) => closed.restore(&to, moment, &mut meter)?,
                Worker::Live(client) => live::restore(*client, &whole(&to), moment, &mut meter)?,
            };
            show::restored(form, &copied, meter.stop())?;
        }
        Db::Compact { place } => {
            let (worker, mut meter) = (place.worker(owner)?, Meter::start());
            let compacted = match worker {
                Worker::Closed(closed) => closed.compact(&mut meter)?,
                Worker::Live(client) => live::compact(*client, &mut meter)?,
            };
            show::compacted(form, compacted, meter.stop())?;
        }
        Db::ChangeKey { new, place } => {
            let changed = match place.worker(owner)? {
                Worker::Closed(closed) => {
                    closed.change_key(&new, new.read()?, &mut Meter::start())?
                }
                Worker::Live(client) => {
                    live::change_key(*client, new.for_daemon(), &mut Meter::start())?
                }
            };
            show::key_changed(form, &changed, new.is_passphrase())?;
        }
        Db::Repair { to, dir, access } => {
            let (closed, mut meter) = (Closed::find(&dir, &access)?, Meter::start());
            let repaired = closed.repair(&to, &mut meter)?;
            show::repaired(form, &repaired, meter.stop())?;
            return Ok(ends_with(repaired.losses_count == 0));
        }
        Db::Dump(wanted) => dump::run(&wanted)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn ends_with(is_sound: bool) -> ExitCode {
    if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A path for the daemon, which has another current folder, and may be on another machine. Anything
/// else is wrong usage, and ends the program as such.
fn whole(to: &Path) -> String {
    match to.to_str() {
        Some(whole) if to.is_absolute() => whole.to_owned(),
        _ => wrong_usage(&format!(
            "{} is not a whole path; name the folder from the root on, such as /backup/grace, for \
             it is one of the daemon's machine\n",
            to.display()
        )),
    }
}

/// What cannot be told from one argument alone.
fn wrong_usage(text: &str) -> ! {
    clap::Error::raw(clap::error::ErrorKind::ArgumentConflict, text).exit()
}
