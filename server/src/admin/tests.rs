//! The daemon's side with a real store and a real socket, asked by the client that the console
//! uses.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use grace_ipc::client::{self, Client, ClientError};
use grace_ipc::codec;
use grace_ipc::database::DbMoment;
use grace_ipc::dkim::{DkimPublished, DkimRow, DkimState};
use grace_ipc::event::{EventKind, Topic};
use grace_ipc::frame;
use grace_ipc::hello::ClientHello;
use grace_ipc::message::{
    Answer, Code, EventFilter, Push, PushBody, ROWS_PER_PART_MAX, Request, RequestBody, Rows,
    Secret, ServerMessage,
};
use grace_ipc::role::Role;
use grace_ipc::route::{
    DeliveryStep, DeliveryVerdict, RouteOf, RouteTls, RouteTo, StepKind, StepResult,
};
use gracedb::db::Db;
use gracedb::options::Options;
use gracedb::view::View as _;
use tokio::sync::mpsc::Receiver;
use tokio::task::spawn_blocking;

use super::{open, serve};
use crate::config::Config;
use crate::outgoing::{Order, Tested};
use crate::services::Services;
use crate::store;
use crate::store::accounts::Account;
use crate::store::dkim::DkimKeyRow;
use crate::telemetry::bus::Bus;

/// Steps of a test of a delivery here.
const STEPS: u64 = 1_000;

/// Copying goes on at this rate, so that there is time to interfere.
const COPY_BYTES_S: u64 = 8 << 20;

const CONFIG: &str = "hostname = \"mail.example.org\"\n[dns]\nresolvers = [\"127.0.0.1\"]\n";

fn services(folder: &Path) -> (Services, Receiver<Order>) {
    std::fs::write(folder.join("c.toml"), CONFIG).unwrap();
    let mut config = Config::load(Some(&folder.join("c.toml")), Some(folder)).unwrap();
    config.admin = folder.join("admin.sock");
    config.dns.timeout_ms = 100;
    config.limits.admin_sessions_max = 4;
    config.limits.mailboxes_per_account_max = 100;
    let bus = Bus::new(1_000);
    let options =
        Options { background_bytes_s: COPY_BYTES_S, ..Options::new(folder.join("store")) };
    let db = Db::open(options, store::SCHEMA).unwrap();
    Services::new(Arc::new(config), bus, db).unwrap()
}

/// Runs the admin side while `test` plays an admin program on a thread of its own.
async fn check(test: impl FnOnce(&Services) + Send + 'static) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let (services, orders) = services(&data);
    let serving = tokio::spawn(serve(open(&services).unwrap(), services.clone()));
    let sending = tokio::spawn(play_sender(orders));
    let theirs = services.clone();
    spawn_blocking(move || test(&theirs)).await.unwrap();
    services.porter.stop.say();
    tokio::time::timeout(Duration::from_secs(10), serving).await.expect("it stops").unwrap();
    sending.abort();
    assert!(!services.config.admin.exists(), "the socket goes with its server");
    services.db.close();
}

/// Answers tests of a delivery as who sends mail would, with more steps than may wait at once.
async fn play_sender(mut orders: Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        let Order::Test(test) = order else { continue };
        for at_us in 0..STEPS {
            let (kind, result) = (StepKind::Recipient, StepResult::Good);
            let (host, text) = (String::new(), test.to.to_string());
            let step = DeliveryStep { at_us, took_us: 1, kind, result, host, text };
            if test.steps.send(step).await.is_err() {
                break;
            }
        }
        if test.to.to_string() == "endless@example.org" {
            test.steps.closed().await;
            continue;
        }
        let (verdict, text) = (DeliveryVerdict::Later, "because".to_owned());
        drop(test.reply.send(Tested { verdict, text }));
    }
}

fn connect_as(services: &Services, role: Role) -> Result<Client, ClientError> {
    let mut options = client::Options::new("test 1");
    options.role = role;
    Client::connect(&services.config.admin, &options)
}

fn connect(services: &Services) -> Client {
    connect_as(services, Role::Owner).unwrap()
}

fn code(result: Result<(), ClientError>) -> Code {
    match result {
        Err(ClientError::Failed(failure)) => failure.code,
        other => panic!("{other:?}"),
    }
}

fn domain(name: &str) -> RequestBody {
    RequestBody::DomainCreate { name: name.to_owned() }
}

fn account(address: &str) -> RequestBody {
    let password = Secret("correct horse".to_owned());
    RequestBody::AccountCreate { address: address.to_owned(), password }
}

fn events(push: Push) -> Vec<EventKind> {
    match push.body {
        PushBody::Events { lost: 0, events } => events.into_iter().map(|e| e.kind).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_made_listed_told_and_refused() {
    check(|services| {
        let mut client = connect(services);
        let filter = EventFilter { topics: vec![Topic::Directory], trace: None };
        client.subscribe_events(filter, 0, 0).unwrap();
        client.order(domain("Example.ORG")).unwrap();
        client.order(account("Info@example.org")).unwrap();
        let names: Vec<String> = client.domains().unwrap().into_iter().map(|r| r.name).collect();
        assert_eq!(names, ["example.org"]);
        let accounts = client.accounts(Some("example.ORG")).unwrap();
        assert_eq!((accounts.len(), accounts[0].mailboxes), (1, 6));
        assert_eq!(client.accounts(Some("example.net")).unwrap(), []);

        assert_eq!(code(client.order(domain("example.org"))), Code::AlreadyExists);
        assert_eq!(code(client.order(domain("no domain"))), Code::Invalid);
        assert_eq!(code(client.order(account("a@example.net"))), Code::NotFound);
        let gone = RequestBody::AccountDelete { address: "nobody@example.org".to_owned() };
        assert_eq!(code(client.order(gone)), Code::NotFound);

        let stats = client.stats().unwrap();
        assert_eq!((stats.domains, stats.accounts, stats.mailboxes), (1, 1, 6));
        assert!(stats.db_commits >= 2 && stats.resident_bytes > 0);

        let mut told = Vec::new();
        while told.len() < 2 {
            told.extend(events(client.next_push(Some(Duration::from_secs(10))).unwrap()));
        }
        let EventKind::DirectoryChanged { what, change, by } = &told[1] else {
            panic!("{told:?}");
        };
        assert_eq!((what.as_str(), change.as_str()), ("account info@example.org", "created"));
        assert!(by.contains("uid "), "who did it: {by}");
    })
    .await;
}

/// Keys that sign, from their making to the end of their domain. Nobody answers for the DNS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_made_activated_and_gone_with_their_domain() {
    check(|services| {
        let mut client = connect(services);
        client.order(domain("example.org")).unwrap();
        client.order(domain("example.net")).unwrap();
        let create = |name: &str| RequestBody::DkimCreate { domain: name.to_owned() };
        assert_eq!(code(client.order(create("example.com"))), Code::NotFound);
        client.order(create("example.org")).unwrap();
        client.order(create("example.net")).unwrap();
        assert_eq!(code(client.order(create("example.org"))), Code::AlreadyExists);

        let keys = dkim(&mut client, None);
        assert_eq!(keys.len(), 4);
        let keys = dkim(&mut client, Some("EXAMPLE.org"));
        assert_eq!(keys.len(), 2);
        for key in &keys {
            assert_eq!((key.state, key.published), (DkimState::Waiting, DkimPublished::Unknown));
            assert!(!key.published_why.is_empty() && key.record_text.starts_with("v=DKIM1; k="));
            assert_eq!(key.record_name, format!("{}._domainkey.example.org", key.selector));
        }
        let activate = |force| RequestBody::DkimActivate { domain: "example.org".into(), force };
        assert_eq!(code(client.order(activate(false))), Code::Invalid);
        client.order(activate(true)).unwrap();
        assert!(
            dkim(&mut client, Some("example.org")).iter().all(|k| k.state == DkimState::Signing)
        );

        let selector = keys[0].selector.clone();
        let delete = RequestBody::DkimDelete { domain: "example.org".into(), selector };
        client.order(delete.clone()).unwrap();
        assert_eq!(code(client.order(delete)), Code::NotFound);
        client.order(RequestBody::DomainDelete { name: "example.org".into() }).unwrap();
        let left: Vec<DkimKeyRow> =
            services.db.snapshot().scan::<DkimKeyRow>().collect::<Result<_, _>>().unwrap();
        assert!(left.len() == 2 && left.iter().all(|key| key.domain == "example.net"), "{left:?}");
        let gone = RequestBody::DkimList { domain: Some("example.org".into()) };
        assert_eq!(code(client.request(gone).map(drop)), Code::NotFound);
        let mut viewer = connect_as(services, Role::Viewer).unwrap();
        assert_eq!(code(viewer.order(create("example.net"))), Code::Forbidden);
    })
    .await;
}

fn dkim(client: &mut Client, domain: Option<&str>) -> Vec<DkimRow> {
    let body = RequestBody::DkimList { domain: domain.map(str::to_owned) };
    let reply = client.request(body).unwrap();
    let rows = reply.parts.into_iter().flat_map(|part| match part {
        Rows::Dkim(rows) => rows,
        other => panic!("{other:?}"),
    });
    rows.collect()
}

/// Routes by the protocol: no password comes back, and a viewer changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_are_set_listed_and_removed() {
    check(|services| {
        let mut client = connect(services);
        let set = |password: Option<&str>| RequestBody::RouteSet {
            of: RouteOf::Sender,
            pattern: "Example.org".to_owned(),
            to: Some(RouteTo::SmartHost {
                host: "relay.example.net".to_owned(),
                port: 587,
                tls: RouteTls::StartTls,
                login: Some("info".to_owned()),
            }),
            password: password.map(|password| Secret(password.to_owned())),
            sources: vec!["192.0.2.1".to_owned()],
        };
        assert_eq!(code(client.order(set(None))), Code::Invalid, "its password is not known");
        client.order(set(Some("correct horse"))).unwrap();
        client.order(set(None)).unwrap();
        let mut viewer = connect_as(services, Role::Viewer).unwrap();
        let parts = viewer.request(RequestBody::RouteList).unwrap().parts;
        let Some(Rows::Routes(rows)) = parts.first() else { panic!("{parts:?}") };
        assert_eq!((rows.len(), rows[0].pattern.as_str()), (1, "example.org"));
        assert!(!format!("{parts:?}").contains("correct horse"));
        let remove =
            RequestBody::RouteRemove { of: RouteOf::Sender, pattern: "example.org".to_owned() };
        assert_eq!(code(viewer.order(remove.clone())), Code::Forbidden);
        client.order(remove.clone()).unwrap();
        assert_eq!(code(client.order(remove)), Code::NotFound);
        // A password without a login is a mistake, whatever else it says.
        let direct = RequestBody::RouteSet {
            of: RouteOf::Recipient,
            pattern: "*".to_owned(),
            to: Some(RouteTo::Direct),
            password: Some(Secret("correct horse".to_owned())),
            sources: Vec::new(),
        };
        assert_eq!(code(client.order(direct)), Code::Invalid);
    })
    .await;
}

/// A test of a delivery: its steps come as parts before its answer, it takes no turn, and it ends
/// when it is cancelled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_is_tried_for_who_asks() {
    check(|services| {
        let test = |to: &str| RequestBody::DeliveryTest { to: to.to_owned(), from: None };
        let mut operator = connect_as(services, Role::Operator).unwrap();
        let mut next = 0;
        let tested = operator.work(test("info@example.org"), &mut |rows| {
            for step in steps(rows) {
                assert_eq!((step.at_us, step.text.as_str()), (next, "info@example.org"));
                next += 1;
            }
            true
        });
        let Ok(Answer::DeliveryTested { verdict, text }) = tested else { panic!("{tested:?}") };
        assert_eq!((verdict, text.as_str(), next), (DeliveryVerdict::Later, "because", STEPS));
        let mut seen = 0;
        let cancelled = operator.work(test("endless@example.org"), &mut |rows| {
            seen += steps(rows).len() as u64;
            seen < STEPS
        });
        assert_eq!(code(cancelled.map(drop)), Code::Cancelled);
        assert_eq!(code(operator.order(test("no address"))), Code::Invalid);
        let mut viewer = connect_as(services, Role::Viewer).unwrap();
        assert_eq!(code(viewer.order(test("info@example.org"))), Code::Forbidden);
    })
    .await;
}

/// Steps of a part; none where it only says how far it is.
fn steps(rows: Rows) -> Vec<DeliveryStep> {
    match rows {
        Rows::DeliverySteps(steps) => steps,
        Rows::DbProgress(_) => Vec::new(),
        other => panic!("{other:?}"),
    }
}

/// A list longer than what may wait to be sent comes in parts, complete and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_list_comes_in_parts() {
    const COUNT: u64 = 12_345;
    check(|services| {
        let written = services.db.write(|tx| {
            for id in 1..=COUNT {
                let local = "a".repeat(50);
                let address = format!("{id:06}-{local}@example.org");
                let password_hash = String::new();
                tx.insert(&Account { id, address, password_hash, created_us: id })?;
            }
            Ok::<_, gracedb::error::Error>(())
        });
        written.unwrap().wait().unwrap();
        let mut client = connect_as(services, Role::Viewer).unwrap();
        let complete = client.request(RequestBody::AccountList { domain: None }).unwrap();
        let mut next = 1;
        for part in complete.parts {
            let Rows::Accounts(rows) = part else { panic!("{part:?}") };
            assert!(rows.len() <= ROWS_PER_PART_MAX);
            for row in rows {
                assert_eq!(row.created_us, next);
                next += 1;
            }
        }
        assert_eq!(next, COUNT + 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_ends_even_if_its_asker_is_gone() {
    check(|services| {
        let mut watcher = connect(services);
        watcher.order(domain("example.org")).unwrap();
        let filter = EventFilter { topics: vec![Topic::Directory], trace: None };
        watcher.subscribe_events(filter, 0, 0).unwrap();
        // Hello and request in one piece, and gone: the answer to the hello already finds nobody,
        // while the password is hashed.
        let mut bytes = ClientHello::new("test 1", Role::Owner).to_bytes();
        let request = Request { id: 1, body: account("info@example.org") };
        let body = codec::encode(&request).unwrap();
        frame::write(&body, frame::TO_SERVER_BYTES_MAX, &mut bytes).unwrap();
        let mut stream = UnixStream::connect(&services.config.admin).unwrap();
        stream.write_all(&bytes).unwrap();
        drop(stream);
        let told = events(watcher.next_push(Some(Duration::from_secs(20))).unwrap());
        assert!(matches!(&told[0], EventKind::DirectoryChanged { .. }), "{told:?}");
        assert_eq!(watcher.accounts(None).unwrap().len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_are_pushed_after_a_change_only() {
    check(|services| {
        let mut client = connect(services);
        client.subscribe_stats(100).unwrap();
        let stats = |push: Push| match push.body {
            PushBody::Stats(stats) => stats,
            other => panic!("{other:?}"),
        };
        let patience = Some(Duration::from_secs(10));
        assert_eq!(stats(client.next_push(patience).unwrap()).domains, 0);
        let quiet = client.next_push(Some(Duration::from_millis(500)));
        assert!(matches!(quiet, Err(ClientError::TimedOut)), "{quiet:?}");
        client.order(domain("example.org")).unwrap();
        while stats(client.next_push(patience).unwrap()).domains == 0 {}
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_sessions_are_turned_away_until_one_ends() {
    check(|services| {
        let mut open: Vec<Client> = (0..4).map(|_| connect(services)).collect();
        let refused = connect_as(services, Role::Viewer).unwrap_err().to_string();
        assert!(refused.contains("too many admin connections"), "{refused}");
        // The daemon sees a moment later that a client went.
        drop(open.pop());
        let mut tries = 0..1_000;
        while connect_as(services, Role::Viewer).is_err() {
            assert!(tries.next().is_some(), "the place is never free");
            std::thread::yield_now();
        }
        let others = open[0].stats().unwrap().sessions;
        assert!(others.iter().any(|count| count.open >= 3), "{others:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_says_goodbye() {
    check(|services| {
        let mut client = connect(services);
        client.subscribe_events(EventFilter::default(), 0, 0).unwrap();
        services.porter.stop.say();
        let end = client.next_push(Some(Duration::from_secs(10))).unwrap_err();
        let ClientError::Goodbye(failure) = end else { panic!("{end}") };
        assert_eq!(failure.code, Code::Stopping);
    })
    .await;
}

/// Three seconds' worth of copying.
fn fill(services: &Services) {
    for id in 1..=48 {
        let password_hash = "x".repeat(1 << 19);
        let address = format!("{id}@example.org");
        let account = Account { id, address, password_hash, created_us: id };
        services.db.write(|tx| tx.insert(&account)).unwrap().wait().unwrap();
    }
}

/// A folder for a copy, outside of the data folder.
fn target(services: &Services, name: &str) -> PathBuf {
    services.config.data.with_file_name(name)
}

fn backup_to(folder: &Path) -> RequestBody {
    RequestBody::DbBackup { to: folder.display().to_string() }
}

/// Whether a copy is whole: its meta file is written last.
fn is_whole(folder: &Path) -> bool {
    let mut files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
    files.any(|name| name.to_string_lossy().ends_with(".gm"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_looked_at_checked_copied_and_tidied() {
    check(|services| {
        let mut client = connect(services);
        client.order(domain("example.org")).unwrap();
        let complete = connect_as(services, Role::Viewer).unwrap().request(RequestBody::DbStats);
        let complete = complete.unwrap();
        let Answer::DbStats(stats) = complete.answer else { panic!("{complete:?}") };
        assert_eq!(stats.folder, services.config.data.join("store").display().to_string());
        assert!(stats.transaction >= 1 && stats.counters.unwrap().commits >= 1);
        assert!(matches!(&complete.parts[..], [Rows::DbSegments(some)] if some.len() == 1));
        let viewed = connect_as(services, Role::Operator).unwrap().order(RequestBody::DbVerify);
        assert_eq!(code(viewed), Code::Forbidden);

        let mut done = |body| client.work(body, &mut |_| true);
        let Ok(Answer::DbVerified(verified)) = done(RequestBody::DbVerify) else { panic!() };
        assert_eq!((verified.problems, verified.transaction), (0, stats.transaction));
        let to = target(services, "copy");
        let Ok(Answer::DbCopied(copied)) = done(backup_to(&to)) else { panic!() };
        assert_eq!((copied.transaction, copied.files), (stats.transaction, copied.new_files));
        let Ok(Answer::DbCompacted(_)) = done(RequestBody::DbCompact) else { panic!() };
        let newest = DbMoment::Newest;
        let restore = RequestBody::DbRestore { to: to.display().to_string(), moment: newest };
        assert_eq!(code(done(restore).map(drop)), Code::NotEmpty);
        let to = target(services, "future");
        let moment = DbMoment::Transaction { number: 1 << 40 };
        let restore = RequestBody::DbRestore { to: to.display().to_string(), moment };
        assert_eq!(code(done(restore).map(drop)), Code::NotFound);
        let inside = services.config.data.join("copy");
        assert_eq!(code(done(backup_to(&inside)).map(drop)), Code::Invalid);
        assert_eq!(code(done(backup_to(Path::new("copy"))).map(drop)), Code::Invalid);
        // The database of these tests is in the clear.
        let rekey = RequestBody::DbChangeKey { new_key_file: false };
        assert_eq!(code(done(rekey).map(drop)), Code::Unsupported);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_work_goes_alone_and_is_cancelled() {
    check(|services| {
        fill(services);
        let to = target(services, "cancelled");
        let (mut client, mut other) = (connect(services), connect(services));
        let mut heard = 0;
        let ended = client.work(backup_to(&to), &mut |rows| {
            let Rows::DbProgress(progress) = rows else { panic!("{rows:?}") };
            assert!(progress.done <= progress.total, "{progress:?}");
            if heard == 2 {
                // A word that was on its way when the work was cancelled: it may have ended since.
                return false;
            }
            // A word that all is well may come before anybody knows how much there is to do.
            if progress.total > 0 {
                assert!(progress.total > 20 << 20, "{progress:?}");
                heard += 1;
            }
            assert_eq!(code(other.order(RequestBody::DbCompact)), Code::Busy);
            other.order(RequestBody::Ping).expect("others are served meanwhile");
            heard < 2
        });
        assert_eq!(code(ended.map(drop)), Code::Cancelled);
        assert!(!is_whole(&to));
        // What was copied counts when it is begun again.
        let Ok(Answer::DbCopied(copied)) = client.work(backup_to(&to), &mut |_| true) else {
            panic!();
        };
        assert!(is_whole(&to) && copied.bytes > 24 << 20);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_work_ends_with_its_connection() {
    check(|services| {
        fill(services);
        let to = target(services, "abandoned");
        let (mut sender, mut receiver) = connect(services).split();
        sender.send(backup_to(&to)).unwrap();
        // It goes on once it says so.
        let begun = receiver.next_within(Some(Duration::from_secs(10))).unwrap();
        assert!(matches!(begun, ServerMessage::Reply(_)), "{begun:?}");
        drop((sender, receiver));
        let mut client = connect(services);
        let mut tries = 0..1_000_000;
        while let Err(busy) = client.work(RequestBody::DbVerify, &mut |_| true) {
            assert_eq!(code(Err(busy)), Code::Busy);
            assert!(tries.next().is_some(), "the work never ends");
            std::thread::yield_now();
        }
        assert!(!is_whole(&to));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_work_ends_with_the_daemon() {
    check(|services| {
        fill(services);
        let to = target(services, "stopped");
        let mut client = connect(services);
        let ended = client.work(backup_to(&to), &mut |_| {
            services.porter.stop.say();
            true
        });
        let Err(ClientError::Goodbye(failure)) = ended else { panic!("{ended:?}") };
        assert_eq!(failure.code, Code::Stopping);
        // That it has ended is seen by the end of the serving, within the patience of `check`.
    })
    .await;
}
