//! The client's socket for plain threads.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use interprocess::local_socket::{Stream, prelude::*};

use crate::transport::name_of;

/// What the client reads from, writes to, and ends the connection with.
pub(crate) type Parts = (Box<dyn Read + Send>, Box<dyn Write + Send>, Hangup);

/// Connects to a local socket.
///
/// # Errors
/// Nobody listens there, or we may not.
pub(crate) fn connect(path: &Path) -> io::Result<Parts> {
    let stream = Arc::new(Stream::connect(name_of(path)?)?);
    let half = || Box::new(Shared(Arc::clone(&stream)));
    Ok((half(), half(), Hangup(Some(Arc::clone(&stream)))))
}

struct Shared(Arc<Stream>);

impl Read for Shared {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(bytes)
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.0).flush()
    }
}

/// Ends a connection from any thread and bounds its waits. Does nothing over plain streams.
#[derive(Debug, Clone)]
pub(crate) struct Hangup(Option<Arc<Stream>>);

impl Hangup {
    /// For streams that cannot be ended from here.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Wakes whoever reads, with the end of the stream.
    pub(crate) fn hang_up(&self) {
        #[cfg(unix)]
        if let Some(Stream::UdSocket(socket)) = self.0.as_deref() {
            // An error means that it has ended already.
            let _ended = socket.inner().shutdown(std::net::Shutdown::Both);
        }
    }

    /// Says that nothing more will be written; what the other side says is still read.
    pub(crate) fn end_writing(&self) {
        #[cfg(unix)]
        if let Some(Stream::UdSocket(socket)) = self.0.as_deref() {
            let _ended = socket.inner().shutdown(std::net::Shutdown::Write);
        }
    }

    /// Bounds every read from now on.
    pub(crate) fn bound_reads(&self, patience: Option<Duration>) -> io::Result<()> {
        let Some(stream) = self.0.as_deref() else { return Ok(()) };
        unless_unsupported(stream.set_recv_timeout(at_least_a_moment(patience)))
    }

    /// Bounds every write from now on.
    pub(crate) fn bound_writes(&self, patience: Option<Duration>) -> io::Result<()> {
        let Some(stream) = self.0.as_deref() else { return Ok(()) };
        unless_unsupported(stream.set_send_timeout(at_least_a_moment(patience)))
    }
}

/// The system takes zero for "no bound".
fn at_least_a_moment(patience: Option<Duration>) -> Option<Duration> {
    patience.map(|time| time.max(Duration::from_millis(1)))
}

/// Named pipes know no timeouts; there a wait ends with the daemon.
fn unless_unsupported(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        other => other,
    }
}
