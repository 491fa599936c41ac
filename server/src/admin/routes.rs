//! Routes of outgoing mail and tests of a delivery, in the protocol's words.
//!
//! ```text
//!   session ──DeliveryTest──▶ here ──order──▶ outbound
//!      ▲                       │ ◀── steps ──────┘  ends when nobody listens any more
//!      └──── parts ◀───────────┘  cancelled? stopping? then nobody listens
//! ```
//! Invariant: no password is answered.
//! Not here: who may ask (`grace_ipc`), which way mail takes (`route`), the test itself
//! (`outbound`).

use zeroize::Zeroizing;

use grace_ipc::database::DbProgress;
use grace_ipc::message::{Answer, Code, Failure, Rows, Secret};
use grace_ipc::route::{ROUTES_PER_PART_MAX, RouteOf, RouteRow, RouteTls, RouteTo};
use grace_mail::address::{Charset, Mailbox};

use super::database::Job;
use super::desk::{Outcome, list, store_failed};
use crate::outgoing::Tested;
use crate::route::change::{Change, Target};
use crate::services::Services;
use crate::store::refusal::Refusal;
use crate::store::routes::{Of, RouteRow as Row, Tls, To};

/// All routes.
pub(super) fn all(services: &Services) -> Result<Outcome, Failure> {
    let rows = services.router.routes().map_err(|e| store_failed(&e))?;
    let rows = rows.iter().map(row).collect();
    Ok(list(rows, ROUTES_PER_PART_MAX, Rows::Routes))
}

/// A route to be set, as it was asked for.
pub(super) struct Asked {
    pub(super) of: RouteOf,
    pub(super) pattern: String,
    pub(super) to: Option<RouteTo>,
    pub(super) password: Option<Secret>,
    pub(super) sources: Vec<String>,
}

/// Sets a route; mail that waits takes it.
pub(super) async fn set(services: &Services, asked: Asked, by: &str) -> Result<(), Refusal> {
    let Asked { of, pattern, to, password, sources } = asked;
    let password = password.map(|password| Zeroizing::new(password.0));
    let to = match to {
        Some(RouteTo::SmartHost { host, port, tls, login }) => {
            Target::SmartHost { host, port, tls: tls_of(tls), login, password }
        }
        _ if password.is_some() => {
            let why = "a password is that of a login at a smart host; say which";
            return Err(Refusal::Invalid(why.to_owned()));
        }
        Some(RouteTo::Direct) => Target::Direct,
        None => Target::Unsaid,
    };
    let change = Change { of: of_of(of), pattern, to, sources };
    services.router.set_route(change, by).await?;
    services.outgoing.routes_changed().await;
    Ok(())
}

/// Removes a route; mail that waits takes the one that is left.
pub(super) async fn remove(
    services: &Services,
    of: RouteOf,
    pattern: &str,
    by: &str,
) -> Result<(), Refusal> {
    services.router.remove_route(of_of(of), pattern, by).await?;
    services.outgoing.routes_changed().await;
    Ok(())
}

/// Tries a delivery up to RCPT.
pub(super) async fn test(
    services: &Services,
    (to, from): (&str, Option<&str>),
    by: &str,
    job: Job,
) -> Result<Outcome, Failure> {
    let to = address(to)?;
    let from = from.map(address).transpose()?;
    tracing::info!(target: "grace", event = "DeliveryTest", to = %to, by);
    let (mut steps, mut answer) = services.outgoing.test(to, from).await;
    let stop = &services.porter.stop;
    loop {
        tokio::select! {
            biased;
            () = job.cancelled() => {
                return Err(Failure::new(Code::Cancelled, "it was cancelled"));
            }
            () = stop.wait() => return Err(Failure::new(Code::Stopping, "the server is stopping")),
            Some(step) = steps.recv() => {
                let doing = format!("after {}", step.kind.name());
                job.tell(DbProgress { doing, done: 0, total: 0 });
                job.part(Rows::DeliverySteps(vec![step])).await;
            }
            tested = &mut answer => {
                let gone = |_| Failure::new(Code::Internal, "mail is not sent any more");
                let Tested { verdict, text } = tested.map_err(gone)?;
                // What was said before the answer comes before it.
                while let Ok(step) = steps.try_recv() {
                    job.part(Rows::DeliverySteps(vec![step])).await;
                }
                return Ok(Outcome::Answer(Answer::DeliveryTested { verdict, text }));
            }
        }
    }
}

fn address(text: &str) -> Result<Mailbox, Failure> {
    Mailbox::parse(text, Charset::Utf8)
        .map_err(|e| Failure::new(Code::Invalid, format!("{text:?} is no address: {e}")))
}

fn row(row: &Row) -> RouteRow {
    let to = match To::from_row(row.to) {
        To::Unsaid => None,
        To::Direct => Some(RouteTo::Direct),
        To::SmartHost => Some(RouteTo::SmartHost {
            host: row.host.clone(),
            port: row.port,
            tls: match Tls::from_row(row.tls) {
                Tls::Opportunistic => RouteTls::Opportunistic,
                Tls::StartTls => RouteTls::StartTls,
                Tls::Immediate => RouteTls::Immediate,
            },
            login: Some(row.login.clone()).filter(|login| !login.is_empty()),
        }),
    };
    RouteRow {
        of: match Of::from_row(row.of) {
            Of::Recipient => RouteOf::Recipient,
            Of::Sender => RouteOf::Sender,
        },
        pattern: row.pattern.clone(),
        to,
        sources: row.sources.clone(),
        changed_us: row.changed_us,
    }
}

fn of_of(of: RouteOf) -> Of {
    match of {
        RouteOf::Recipient => Of::Recipient,
        RouteOf::Sender => Of::Sender,
    }
}

fn tls_of(tls: RouteTls) -> Tls {
    match tls {
        RouteTls::Opportunistic => Tls::Opportunistic,
        RouteTls::StartTls => Tls::StartTls,
        RouteTls::Immediate => Tls::Immediate,
    }
}
