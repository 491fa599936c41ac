//! Local sockets: a Unix socket, or a named pipe on Windows.
//!
//! Who may connect is decided twice: by the operating system, which lets nobody through the file
//! mode (or the pipe's access list), and by the peer's user id, which says what the visitor may do.
//! Invariants: the socket is never open to more people than it will be in the end, not for a
//! moment; a socket file is removed only when nobody answers behind it.
//! Not here: what is said ([`crate::session`]).

pub mod blocking;
pub mod listen;
pub mod stdio;

use std::io;
use std::path::Path;

use interprocess::local_socket::{GenericFilePath, Name, ToFsName};

/// The name of a socket for the operating system. On Windows a path without the pipe prefix gets
/// it, so that one setting serves both.
fn name_of(path: &Path) -> io::Result<Name<'static>> {
    #[cfg(windows)]
    {
        let prefix = r"\\.\pipe\";
        if !path.as_os_str().to_string_lossy().starts_with(prefix) {
            let tail = path.to_string_lossy().replace(['/', '\\', ':'], "-");
            return format!("{prefix}{tail}").to_fs_name::<GenericFilePath>();
        }
    }
    path.to_path_buf().to_fs_name::<GenericFilePath>()
}
