//! Sessions that are open and mailboxes, as an admin sees them.
//!
//! ```text
//!   session ──SessionTranscript──▶ here ──listens in──▶ net::sessions
//!      ▲                            │ lines, as they are spoken
//!      └────── parts ◀──────────────┘ until the session ends, or nobody wants to know
//! ```
//! Invariant: whoever listens in, or ends a session, is named in the log.
//! Not here: which there are (`net::sessions`), what is secret in their lines (`net::transcript`).

use std::sync::atomic::Ordering;

use grace_ipc::database::DbProgress;
use grace_ipc::live::{
    MAILBOXES_PER_PART_MAX, MailboxRow, SESSION_LINES_PER_PART_MAX, SESSIONS_PER_PART_MAX,
    SessionChoice, SessionFilter,
};
use grace_ipc::message::{Answer, Code, Failure, Rows};

use super::database::Job;
use super::desk::{Outcome, list, store_failed};
use crate::net::sessions::Deaf;
use crate::services::Services;
use crate::store::messages::MailboxRow as Mailbox;

/// The sessions that fit.
pub(super) fn sessions(services: &Services, filter: &SessionFilter) -> Outcome {
    list(services.porter.sessions.list(filter), SESSIONS_PER_PART_MAX, Rows::Sessions)
}

/// Ends a session.
pub(super) fn disconnect(services: &Services, session: u64, by: &str) -> Result<Outcome, Failure> {
    if !services.porter.sessions.end(session) {
        return Err(gone(session));
    }
    tracing::info!(target: "grace", event = "SessionDisconnected", session, by);
    Ok(Outcome::Answer(Answer::Done))
}

/// Tells what is spoken in a session until it ends.
pub(super) async fn transcript(
    services: &Services,
    which: SessionChoice,
    bodies: bool,
    by: &str,
    job: Job,
) -> Result<Outcome, Failure> {
    let (named, wanted) = (which.clone(), format!("{which:?}"));
    let mut watching =
        services.porter.sessions.watch(which, bodies).map_err(|deaf| match deaf {
            Deaf::Gone => gone(if let SessionChoice::Session(id) = named { id } else { 0 }),
            Deaf::TooMany => Failure::new(Code::Busy, "too many listen in already"),
        })?;
    tracing::info!(target: "grace", event = "SessionWatched", which = wanted, bodies, by);
    let stop = &services.porter.stop;
    let (mut lines, mut some) = (0, Vec::with_capacity(SESSION_LINES_PER_PART_MAX));
    loop {
        tokio::select! {
            biased;
            () = job.cancelled() => {
                return Err(Failure::new(Code::Cancelled, "it was cancelled"));
            }
            () = stop.wait() => return Err(Failure::new(Code::Stopping, "the server is stopping")),
            count = watching.lines.recv_many(&mut some, SESSION_LINES_PER_PART_MAX) => {
                if count == 0 {
                    let lost = watching.lost.load(Ordering::Relaxed);
                    return Ok(Outcome::Answer(Answer::SessionEnded { lines, lost }));
                }
                lines += count as u64;
                let doing = "listening in".to_owned();
                job.tell(DbProgress { doing, done: lines, total: 0 });
                job.part(Rows::SessionLines(std::mem::take(&mut some))).await;
            }
        }
    }
}

/// The mailboxes of an account.
pub(super) fn mailboxes(services: &Services, account: &str) -> Result<Outcome, Failure> {
    let found = services.directory.account(account).map_err(|e| store_failed(&e))?;
    let missing = || Failure::new(Code::NotFound, format!("there is no account {account}"));
    let id = found.ok_or_else(missing)?.id;
    let rows = services.mailboxes.list(id).map_err(|e| store_failed(&e))?;
    let rows = rows.into_iter().map(row).collect();
    Ok(list(rows, MAILBOXES_PER_PART_MAX, Rows::Mailboxes))
}

fn row(row: Mailbox) -> MailboxRow {
    MailboxRow {
        name: row.name,
        messages: row.messages,
        unseen: row.unseen,
        stored_bytes: row.bytes,
        uid_next: row.uid_next,
        uid_validity: row.uid_validity,
    }
}

fn gone(session: u64) -> Failure {
    Failure::new(Code::NotFound, format!("there is no session {session}; it may have ended"))
}
