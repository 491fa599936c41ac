//! Finding the daemon.

use std::io;
use std::path::Path;

use grace_ipc::client::{Client, ClientError, Options};
use grace_ipc::role::Role;

/// Where a daemon listens that was told nothing else: in try mode, and as a service.
const USUAL: [&str; 2] = ["./grace-data/admin.sock", "/run/grace/admin.sock"];

/// Connects to `socket`, or to the first usual place where something is.
pub(crate) fn connect(socket: Option<&Path>, role: Role) -> Result<Client, String> {
    let mut options = Options::new(concat!("gracectl ", env!("CARGO_PKG_VERSION")));
    options.role = role;
    if let Some(socket) = socket {
        return Client::connect(socket, &options).map_err(|e| e.to_string());
    }
    let mut tried = Vec::new();
    for place in USUAL {
        match Client::connect(Path::new(place), &options) {
            // Only where nobody is, the next place may be meant. A daemon that says no is an
            // answer.
            Err(ClientError::Connect { source, .. }) if is_absent(&source) => {
                tried.push(format!("{place} ({source})"));
            }
            other => return other.map_err(|e| e.to_string()),
        }
    }
    let tried = tried.join(" and ");
    Err(format!("no daemon found: is graced running? tried {tried}; --socket PATH names another"))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}
