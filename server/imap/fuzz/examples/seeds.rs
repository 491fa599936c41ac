//! Writes inputs to begin with, one folder per target: `seeds corpus`.

use std::path::PathBuf;
use std::{env, fs, io};

use grace_imap_fuzz::{TARGETS, seeds};

fn main() -> io::Result<()> {
    let folder = PathBuf::from(env::args().nth(1).unwrap_or_else(|| "corpus".to_owned()));
    for target in TARGETS {
        let folder = folder.join(format!("{target:?}").to_lowercase());
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds(target).iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
