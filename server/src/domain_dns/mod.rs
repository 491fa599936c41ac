//! The DNS of a local domain: what it is to publish, and what is there.
//!
//! ```text
//!   settings, doors, keys, certificate ─▶ facts ─▶ wanted: one row a record, with its reason
//!                          address of our name ─┘     │ pure
//!                                                     ▼
//!                                  check: asks about each, all at once, and compares what it
//!                                         does, not how it is written
//! ```
//! Invariants: nothing is changed anywhere; an answer comes in `TIME_MAX`, whatever the DNS does;
//! what others wrote is cut before it is told.
//! Not here: how keys are made and their records compared (`signing`), fetching a policy
//! (`transport`).

mod check;
mod facts;
#[cfg(test)]
mod tests;
mod wanted;

use std::time::Duration;

use tokio::time::Instant;

use grace_ipc::domain_dns::DomainDnsRow;

use crate::services::Services;
use crate::store::refusal::Refusal;

/// How long it may take in all; somebody sits before a screen.
const TIME_MAX: Duration = Duration::from_secs(10);

/// The records of a domain; if `is_checked`, each with what the DNS says of it.
///
/// # Errors
/// There is no such domain, or the database failed.
pub async fn of(
    services: &Services,
    domain: &str,
    is_checked: bool,
) -> Result<Vec<DomainDnsRow>, Refusal> {
    let deadline = Instant::now() + TIME_MAX;
    let facts = facts::gather(services, domain, deadline).await?;
    let wanted = wanted::records(&facts);
    if !is_checked {
        return Ok(wanted.into_iter().map(|wanted| wanted.row).collect());
    }
    check::all(services, facts, wanted, deadline).await
}
