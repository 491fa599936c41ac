//! Joins two plain streams to the socket: how a console speaks through `ssh` without a port.
//!
//! Invariant: the end of either side ends both; what the daemon said before its end still arrives.

use std::io::{self, Read, Write};
use std::path::Path;

use crate::transport::blocking;

/// Bytes carried at once.
const COPY_BYTES: usize = 16 * 1024;

/// Copies `input` to the socket at `path` and the socket to `output` until the daemon closes.
///
/// The thread that reads `input` cannot be woken and is left to the end of the program: call this
/// last.
///
/// # Errors
/// Nobody listens there, or the connection broke.
pub fn join(
    path: &Path,
    mut input: impl Read + Send + 'static,
    mut output: impl Write,
) -> io::Result<()> {
    let (mut from_daemon, mut to_daemon, hangup) = blocking::connect(path)?;
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        // Either the input ended or the daemon did; in both cases there is no more to carry.
        let _ended = copy(&mut input, &mut to_daemon);
        hangup.end_writing();
    })?;
    copy(&mut from_daemon, &mut output)
}

/// Unlike `io::copy` it hands on every piece at once: a reply must not wait for the next one.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut bytes = vec![0; COPY_BYTES];
    loop {
        let length = match from.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(bytes.get(..length).unwrap_or_default())?;
        to.flush()?;
    }
}
