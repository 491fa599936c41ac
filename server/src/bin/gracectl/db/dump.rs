//! `gracectl db dump`: a file of a database, byte by byte, beside what the bytes mean.
//!
//! Needs no daemon and disturbs none. Not here: how it is laid out (`gracedb::dump`).

use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::sync::Arc;

use gracedb::disk::Disk;
use gracedb::disk::real::RealDisk;
use gracedb::dump::{self, Wanted};
use gracedb::error::Error;

use graced::config::Config;
use graced::store::closed;

use super::Access;
use super::closed::find_key;

/// Which file to show, and which part of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Dump {
    /// Folder of a database, of a backup, or a daemon's data folder; a daemon may have it open
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    access: Access,
    /// The file to show, such as 0000000001.gj
    file: String,
    /// Begin with the record or section that this byte of the file is in
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    at: u64,
    /// Show so many records or sections at most
    #[arg(long, value_name = "COUNT", default_value_t = u64::MAX, hide_default_value = true)]
    records: u64,
}

/// Shows it on standard output. What is broken is shown, too, and ends with an error.
pub(crate) fn run(arguments: &Dump) -> Result<(), String> {
    let Dump { dir, access, file, at, records } = arguments;
    let folder = closed::find(dir)?;
    let config = Config::load(access.config.as_deref(), None).map_err(|e| e.to_string())?;
    // Without the key it is shown as it stands on disk.
    let (_, (key, _)) = find_key(&folder, &config, access)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(folder));
    let mut out = BufWriter::new(io::stdout().lock());
    let wanted = Wanted { at: *at, records: *records };
    let dumped = dump::file(&disk, key.as_ref(), file, wanted, &mut out);
    let dumped = match dumped.and_then(|dumped| flush(&mut out).map(|()| dumped)) {
        // Who reads has seen enough.
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
            return Ok(());
        }
        other => other.map_err(|error| error.to_string())?,
    };
    match dumped.broken {
        0 => Ok(()),
        1 => Err(format!("{file}: one place is broken")),
        many => Err(format!("{file}: {many} places are broken")),
    }
}

fn flush(out: &mut impl io::Write) -> Result<(), Error> {
    out.flush().map_err(|error| Error::Io {
        doing: "write",
        file: "the output".to_owned(),
        source: Arc::new(error),
    })
}
