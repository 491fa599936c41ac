//! The daemon's side of the socket: makes it, guards it, says who comes.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use interprocess::local_socket::ListenerOptions;
use interprocess::local_socket::tokio::{self as local, prelude::*};

use crate::role::Role;
use crate::transport::name_of;

/// One connection, for tokio: `AsyncRead` and `AsyncWrite`, also through a shared reference.
pub type Stream = local::Stream;

/// Who may connect beside the daemon's own user and root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Access {
    /// Members of this group are operators. Has no effect on Windows.
    pub operators_gid: Option<u32>,
}

/// Who came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// User id of its process, where the system tells.
    pub uid: Option<u32>,
    /// Its process id, where the system tells. For the log only: it may be another's by now.
    pub pid: Option<u32>,
    /// The most it may do; `None`: it should not have come this far.
    pub allowed: Option<Role>,
}

/// The open socket. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Listener {
    inner: local::Listener,
    #[cfg(unix)]
    guard: unix::Guard,
}

impl Listener {
    /// Opens the socket at `path`. Has to be called inside a tokio runtime.
    ///
    /// # Errors
    /// Another daemon listens there, something else stands there, or the folder cannot be written.
    pub fn bind(path: &Path, access: Access) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Failed { path: path.to_owned(), source };
        #[cfg(unix)]
        unix::prepare(path, access)?;
        let options = ListenerOptions::new().name(name_of(path).map_err(failed)?);
        #[cfg(unix)]
        let options = unix::close_to_others(options);
        #[cfg(not(unix))]
        let _ = access;
        let inner = options.create_tokio().map_err(failed)?;
        #[cfg(unix)]
        let guard = unix::open_to_group(path, access).map_err(failed)?;
        Ok(Self {
            inner,
            #[cfg(unix)]
            guard,
        })
    }

    /// Waits for the next one who comes.
    ///
    /// # Errors
    /// The system is out of something; worth another try after a moment.
    pub async fn accept(&self) -> io::Result<(Stream, Peer)> {
        let stream = self.inner.accept().await?;
        #[cfg(unix)]
        let peer = self.guard.look_at(&stream);
        // The pipe's access list lets in its owner, administrators and the system, who could as
        // well read the data files.
        #[cfg(not(unix))]
        let peer = Peer { uid: None, pid: None, allowed: Some(Role::Owner) };
        Ok((stream, peer))
    }
}

#[cfg(unix)]
mod unix {
    use std::fs::{self, Permissions};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt as _, chown};
    use std::os::unix::net::UnixStream;
    use std::path::{Path, PathBuf};

    use interprocess::local_socket::{ListenerOptions, traits::StreamCommon as _};
    use interprocess::os::unix::local_socket::ListenerOptionsExt as _;

    use crate::role::Role;
    use crate::transport::listen::{Access, ListenError, Peer, Stream};

    /// Who may come through.
    #[derive(Debug)]
    pub(super) struct Guard {
        path: PathBuf,
        own_uid: u32,
        access: Access,
    }

    /// Makes the folder if there is none, and clears away a socket that nobody listens on.
    pub(super) fn prepare(path: &Path, access: Access) -> Result<(), ListenError> {
        let failed = |source| ListenError::Failed { path: path.to_owned(), source };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty())
            && !folder.exists()
        {
            fs::DirBuilder::new().mode(0o700).create(folder).map_err(failed)?;
            if let Some(gid) = access.operators_gid {
                chown(folder, None, Some(gid)).map_err(failed)?;
                fs::set_permissions(folder, Permissions::from_mode(0o710)).map_err(failed)?;
            }
        }
        let kind = match fs::symlink_metadata(path) {
            Ok(there) => there.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        if !kind.is_socket() {
            return Err(ListenError::NotASocket { path: path.to_owned() });
        }
        match UnixStream::connect(path) {
            Ok(_) => Err(ListenError::InUse { path: path.to_owned() }),
            // Refused means that the file is there and no process holds it open.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(failed)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The file is born with this mode; there is no moment in which it is wider.
    pub(super) fn close_to_others(options: ListenerOptions<'_>) -> ListenerOptions<'_> {
        options.mode(0o600)
    }

    /// Opens the socket to the group, owner first, so that it never belongs to a wrong one.
    pub(super) fn open_to_group(path: &Path, access: Access) -> io::Result<Guard> {
        if let Some(gid) = access.operators_gid {
            chown(path, None, Some(gid))?;
            fs::set_permissions(path, Permissions::from_mode(0o660))?;
        }
        // Who made the file is who we are: the standard library has no other word for it.
        let own_uid = fs::symlink_metadata(path)?.uid();
        Ok(Guard { path: path.to_owned(), own_uid, access })
    }

    impl Guard {
        pub(super) fn look_at(&self, stream: &Stream) -> Peer {
            let Ok(creds) = stream.peer_creds() else {
                return Peer { uid: None, pid: None, allowed: None };
            };
            let uid = creds.euid();
            let pid = creds.pid().and_then(|pid| u32::try_from(pid).ok());
            Peer { uid, pid, allowed: self.allowed(uid) }
        }

        fn allowed(&self, uid: Option<u32>) -> Option<Role> {
            if uid.is_some_and(|uid| uid == 0 || uid == self.own_uid) {
                return Some(Role::Owner);
            }
            // Linux does not tell a peer's further groups. But with this mode and group the kernel
            // lets through the owner, root and members of the group only: whoever is here and
            // neither of the first two is a member. Only as long as nobody widened the mode.
            let gid = self.access.operators_gid?;
            let file = fs::symlink_metadata(&self.path).ok()?;
            (file.gid() == gid && file.mode() & 0o007 == 0).then_some(Role::Operator)
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_role_follows_the_user_and_the_mode() {
            let path = std::env::temp_dir().join(format!("grace-ipc-guard-{}", std::process::id()));
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o660)).unwrap();
            let own_gid = fs::metadata(&path).unwrap().gid();
            let guard = |operators_gid| Guard {
                path: path.clone(),
                own_uid: 500,
                access: Access { operators_gid },
            };
            let table = [
                // group           user       role
                (None, Some(500), Some(Role::Owner)),
                (None, Some(0), Some(Role::Owner)),
                (None, Some(501), None),
                (None, None, None),
                (Some(own_gid), Some(500), Some(Role::Owner)),
                (Some(own_gid), Some(501), Some(Role::Operator)),
                (Some(own_gid + 1), Some(501), None),
            ];
            for (group, uid, role) in table {
                assert_eq!(guard(group).allowed(uid), role, "group {group:?} user {uid:?}");
            }
            fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
            assert_eq!(guard(Some(own_gid)).allowed(Some(501)), None, "the mode was widened");
            fs::remove_file(&path).unwrap();
        }
    }
}

/// The socket could not be opened.
#[derive(Debug)]
pub enum ListenError {
    /// Somebody answers there.
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// Another kind of file stands there.
    NotASocket {
        /// Where.
        path: PathBuf,
    },
    /// The operating system says no.
    Failed {
        /// Where.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path } => {
                write!(f, "another daemon listens on {}; stop it first", path.display())
            }
            Self::NotASocket { path } => {
                write!(f, "{} is not a socket; move it away or set listen.admin", path.display())
            }
            Self::Failed { path, source } => {
                write!(f, "cannot listen on {}: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed { source, .. } => Some(source),
            _ => None,
        }
    }
}
