//! Databases of format 1.
use crate::disk::Disk;
use crate::error::Error;
use crate::options::Options;
pub(crate) fn is_needed(_disk: &dyn Disk) -> Result<bool, Error> {
    Ok(false)
}
pub(crate) fn run(_options: &Options) -> Result<(), Error> {
    Ok(())
}
