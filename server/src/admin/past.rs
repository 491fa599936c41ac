//! Messages of the past, for who asks.
//!
//! Invariant: the database is read on a thread of its own; no session waits for a search.
//! Not here: how they are found (`history`).

use tokio::task::{JoinError, spawn_blocking};

use grace_ipc::message::{Answer, Code, Failure, Rows};
use grace_ipc::trace::{
    TRACE_EVENTS_PER_PART_MAX, TRACE_ROWS_MAX, TRACE_ROWS_PER_PART_MAX, TraceFilter,
};

use super::desk::{Outcome, list, parts, refused};
use crate::history::search::Found;
use crate::services::Services;

/// Messages that fit.
pub(super) async fn search(
    services: &Services,
    filter: TraceFilter,
    rows_max: u32,
    before: Option<u64>,
) -> Result<Outcome, Failure> {
    let history = services.history.clone();
    let rows_max = usize::try_from(rows_max.clamp(1, TRACE_ROWS_MAX)).unwrap_or(usize::MAX);
    let search = move || history.search(&filter, rows_max, before);
    let found = spawn_blocking(search).await.map_err(|e| broken(&e))?;
    let Found { rows, next } = found.map_err(|e| refused(&e))?;
    let end = Answer::TracesEnd { rows: rows.len() as u64, next };
    Ok(Outcome::Parts(parts(rows, TRACE_ROWS_PER_PART_MAX, Rows::Traces), end))
}

/// What happened to one.
pub(super) async fn story(services: &Services, id: String) -> Result<Outcome, Failure> {
    let history = services.history.clone();
    let story = spawn_blocking(move || history.story(&id)).await.map_err(|e| broken(&e))?;
    let events = story.map_err(|e| refused(&e))?;
    Ok(list(events, TRACE_EVENTS_PER_PART_MAX, Rows::Events))
}

/// A fault of ours in the middle of work.
fn broken(error: &JoinError) -> Failure {
    Failure::new(Code::Internal, format!("the work broke: {error}"))
}
