//! The admin socket: who may talk, and what is answered.
//!
//! ```text
//!   socket ──▶ serve ──▶ session (one task per connection) ──▶ desk ──▶ directory, mailboxes
//!                            ├── events from the bus, counters from figures
//!                            └── long work on the database, on a thread of its own
//! ```
//! Invariants: the mail path never waits for an admin program; whoever changed something is named
//! in the event of the change. Not here: bytes and roles (`grace_ipc`).

mod database;
mod desk;
mod directory;
mod figures;
mod live;
mod past;
mod people;
mod routes;
mod session;
mod shares;
#[cfg(test)]
#[cfg(unix)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use grace_ipc::transport::listen::{Access, Listener};
use grace_ipc::transport::stdio as streams;

use self::desk::Desk;
use crate::services::Services;

/// Wait after a failed accept: long enough not to spin, short enough to serve again soon.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);

/// The open admin socket.
pub struct Socket {
    listener: Listener,
    desk: Arc<Desk>,
}

/// Opens the admin socket at `services.config.admin`. The doors must be open by then: the desk
/// learns their addresses from their events.
///
/// # Errors
/// Why it cannot be opened, and what to do.
pub fn open(services: &Services) -> Result<Socket, String> {
    let operators_gid = match &services.config.admin_group {
        None => None,
        Some(group) => Some(people::gid_of(group).ok_or_else(|| {
            format!("admin.group: there is no group {group:?}; make it or name another one")
        })?),
    };
    let listener = Listener::bind(&services.config.admin, Access { operators_gid })
        .map_err(|e| format!("admin socket: {e}"))?;
    Ok(Socket { listener, desk: Arc::new(Desk::new(services.clone())) })
}

/// Serves admin sessions until told to stop, then waits for those it started.
pub async fn serve(socket: Socket, services: Services) {
    let Socket { listener, desk } = socket;
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = services.porter.stop.wait() => break,
            accepted = listener.accept() => accepted,
            Some(ended) = sessions.join_next() => {
                report(ended);
                continue;
            }
        };
        match accepted {
            Ok((stream, peer)) => {
                sessions.spawn(session::run(Arc::clone(&desk), stream, peer));
            }
            Err(e) => {
                tracing::error!(target: "grace", event = "AcceptFailed", error = %e);
                tokio::time::sleep(EXHAUSTED_WAIT).await;
            }
        }
    }
    drop(listener);
    while let Some(ended) = sessions.join_next().await {
        report(ended);
    }
}

/// A panic ends its session alone, but not in silence.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(e) = ended
        && e.is_panic()
    {
        tracing::error!(target: "grace", event = "AdminSessionPanicked", error = %e);
    }
}

/// Joins standard input and output to the admin socket until one of them ends. The program has to
/// end after this.
///
/// # Errors
/// The socket is not there, or the connection broke.
pub fn stdio(path: &Path) -> Result<(), String> {
    streams::join(path, std::io::stdin(), std::io::stdout()).map_err(|e| {
        format!(
            "admin socket {}: {e}; is graced running, and may this user talk to it?",
            path.display()
        )
    })
}
