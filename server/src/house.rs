//! The house: opens the store, opens the doors, and closes everything in the right order.
//!
//! ```text
//!   start:  store ─▶ (a copy made ready) ─▶ certificate ─▶ doors ─▶ (first accounts)
//!           ─▶ admin socket ─▶ history ─▶ ServerStarted
//!   stop:   doors shut ─▶ sessions finish what was acknowledged ─▶ history written
//!           ─▶ store closed ─▶ last log lines
//! ```
//! Invariants: nothing is acknowledged before the store is open; when [`run`] returns no task of
//! ours is alive and the store is closed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::timeout;

use grace_ipc::event::{EventKind, Service, TraceId};

use crate::config::{Config, Door};
use crate::mailbox::chores::Chores;
use crate::net::listener::{self, Ended};
use crate::net::{Visit, door};
use crate::outgoing::Order;
use crate::services::Services;
use crate::signals::{Signal, Signals};
use crate::store::health;
use crate::telemetry::bus::Bus;
use crate::telemetry::log;
use crate::telemetry::stop::Stop;
use crate::{admin, imap, inbound, open_files, outbound, store, welcome};

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Serves until told to stop by a signal.
///
/// # Errors
/// Why the daemon cannot start or could not go on, in words for the admin.
pub async fn run(config: Config) -> Result<(), String> {
    let bus = Bus::new(usize::try_from(config.limits.events_kept).unwrap_or(usize::MAX));
    let silence = Stop::default();
    let log = tokio::spawn(log::follow(bus.reader(usize::MAX), silence.clone()));
    let result = serve(Arc::new(config), &bus).await;
    silence.say();
    let last_line = log.await;
    drop(last_line);
    result
}

/// Everything between the first and the last event.
async fn serve(config: Arc<Config>, bus: &Bus) -> Result<(), String> {
    open_files::raise(&config);
    let mut signals = Signals::new().map_err(|e| format!("signals cannot be heard: {e}"))?;
    let (services, orders) = furnish(Arc::clone(&config), bus)?;
    let doors = open_doors(&config, bus)?;
    // Only now: passwords are shown once, and a start that fails for a taken port must not use it
    // up.
    welcome::first_start(&services).await?;
    let mut tasks = JoinSet::new();
    for (door, listener) in doors {
        let service = door.service;
        let porter = services.porter.clone();
        let services = Arc::new(services.clone());
        let session = move |visit: Visit| session(Arc::clone(&services), visit);
        tasks.spawn(listener::serve(porter, service, listener, session));
    }
    let socket = admin::open(&services)?;
    let address = config.admin.display().to_string();
    bus.emit(TraceId(0), EventKind::Listening { service: Service::Admin, address });
    tasks.spawn(admin::serve(socket, services.clone()));
    tasks.spawn(send(services.clone(), orders));
    // These hear of the end last: what the sessions tell on their way out is kept, too.
    let (end, mut keepers) = (Stop::default(), JoinSet::new());
    keepers.spawn(services.history.clone().keep(bus.clone(), end.clone()));
    keepers.spawn(services.guard.clone().keep(end.clone()));
    keepers.spawn(services.porter.refusals.clone().keep(end.clone()));
    keepers.spawn(services.words.clone().keep(end.clone()));
    keepers.spawn(Chores::new(services.db.clone(), &config.store).keep(end.clone()));
    keepers.spawn(health::watch(services.db.clone(), bus.clone(), end.clone()));
    bus.emit(TraceId(0), EventKind::ServerStarted { version: VERSION.to_owned() });
    while let Signal::Reload = signals.next().await {
        reload(&services);
    }
    bus.emit(TraceId(0), EventKind::ServerStopping);
    services.porter.stop.say();
    let grace = Duration::from_secs(config.limits.shutdown_s);
    let left = timeout(grace, async { while tasks.join_next().await.is_some() {} }).await;
    if left.is_err() {
        // Nothing acknowledged is lost by this: what is acknowledged is on disk.
        tasks.shutdown().await;
    }
    end.say();
    while keepers.join_next().await.is_some() {}
    let db = services.db.clone();
    drop(services);
    // What cannot be written any more was acknowledged to nobody, but an admin must hear of it.
    let sound = db.check().map_err(|e| format!("the database failed: {e}"));
    db.close();
    sound
}

/// Opens the store and the certificate, and gathers the handles.
fn furnish(config: Arc<Config>, bus: &Bus) -> Result<(Services, Receiver<Order>), String> {
    std::fs::create_dir_all(&config.data).map_err(|e| {
        let data = config.data.display();
        format!("the data folder {data} cannot be made: {e}; make it, or choose another (`data`)")
    })?;
    let began = Instant::now();
    let db = store::open::open(&config)?;
    let opened = db.opened();
    let event = EventKind::StoreOpened {
        replayed: opened.transactions,
        cut_bytes: opened.cut.as_ref().map_or(0, |cut| cut.bytes) + opened.meta_cut_bytes,
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    bus.emit(TraceId(0), event);
    store::copied::renew(&db)
        .map_err(|e| format!("the restored database cannot be made ready: {e}"))?;
    store::quota::count_once(&db).map_err(|e| format!("usage cannot be counted: {e}"))?;
    Services::new(config, bus.clone(), db)
}

/// Opens every door, or says which one cannot be opened and what to do.
fn open_doors(config: &Config, bus: &Bus) -> Result<Vec<(Door, TcpListener)>, String> {
    let mut doors = Vec::new();
    for &wanted in &config.listen {
        let listener = match door::open(wanted.address) {
            Ok(listener) => listener,
            Err(e) if door::is_missing_ipv6(wanted.address, &e) => continue,
            Err(e) => return Err(door::advice(wanted.address, &e)),
        };
        let address = listener.local_addr().map_err(|e| e.to_string())?.to_string();
        bus.emit(TraceId(0), EventKind::Listening { service: wanted.service, address });
        doors.push((wanted, listener));
    }
    Ok(doors)
}

/// Sends what is to go to other servers.
async fn send(services: Services, orders: Receiver<Order>) {
    let (bus, stop) = (services.porter.bus.clone(), services.porter.stop.clone());
    if let Err(reason) = outbound::run(services, orders, stop).await {
        let reason = format!("mail to other servers is not sent any more: {reason}");
        bus.emit(TraceId(0), EventKind::StoreFailed { reason });
    }
}

/// One connection, by what is spoken at its door: with the memory that one needs, not the other.
async fn session(services: Arc<Services>, visit: Visit) -> Ended {
    let of_its_own = || Services::clone(&services);
    match visit.service {
        Service::Imap | Service::Imaps => Box::pin(imap::session::run(of_its_own(), visit)).await,
        _ => Box::pin(inbound::session::run(of_its_own(), visit)).await,
    }
}

/// Reads the certificate again.
fn reload(services: &Services) {
    let event = match services.porter.tls.reload() {
        Ok(file) => EventKind::CertificateReloaded { file },
        Err(reason) => EventKind::CertificateRejected { reason },
    };
    services.porter.bus.emit(TraceId(0), event);
}
