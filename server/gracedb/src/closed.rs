//! A database that is not open, looked at without changing a byte.
//!
//! Invariant: nothing is written, not even what opening would mend.
//! Not here: what it is looked at for (`verify`, `dump`, `restore`).

use std::sync::Arc;

use crate::copy::Moment;
use crate::disk::DiskLock;
use crate::error::Error;
use crate::files::Files;
use crate::frame::Frame;
use crate::index::cache::Cache;
use crate::index::run::Reading;
use crate::manifest::Manifest;
use crate::meta;
use crate::options::Options;
use crate::recover::Until;

/// The database, its folder locked.
pub(crate) struct Closed {
    pub(crate) reading: Arc<Reading>,
    pub(crate) manifest: Manifest,
    _lock: Box<dyn DiskLock>,
}

impl Closed {
    /// Reads the meta file.
    pub(crate) fn open(options: &Options) -> Result<Self, Error> {
        let disk = Arc::clone(&options.disk);
        let label = disk.label();
        let lock = disk.lock().map_err(|error| Error::io("lock", &label, error))?;
        let lock = lock.ok_or_else(|| Error::Locked { dir: label.clone() })?;
        let names = disk.list().map_err(|error| Error::io("list", &label, error))?;
        let number = meta::newest(&names).ok_or(Error::MetaMissing { dir: label })?;
        let loaded = meta::load(disk.as_ref(), number, options.key.as_ref())?;
        let files =
            Arc::new(Files::new(disk, loaded.keys, loaded.database, options.open_files_max));
        let reading = Arc::new(Reading { files, cache: Cache::new(options.cache_bytes) });
        Ok(Self { reading, manifest: loaded.manifest, _lock: lock })
    }

    /// The database as it was at a moment.
    pub(crate) fn frame(&self, moment: Moment) -> Result<Frame, Error> {
        match moment {
            Moment::Newest => Frame::replay(&self.reading, &self.manifest, Until::ALL),
            moment => {
                let newest = Frame::replay(&self.reading, &self.manifest, Until::ALL)?;
                let newest = newest.view.state.sequence;
                Frame::earlier(&self.reading, &self.manifest, moment, newest)
            }
        }
    }
}
