//! The client against a session over a real local socket.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use grace_ipc::client::{Client, ClientError, Options};
use grace_ipc::database::{DbCompacted, DbProgress};
use grace_ipc::event::{Event, EventKind, TraceId};
use grace_ipc::message::{
    AccountRow, Answer, Code, DomainRow, EventFilter, Failure, PushBody, RequestBody, Rows,
    ServerMessage,
};
use grace_ipc::role::Role;
use grace_ipc::session::asker::Greeting;
use grace_ipc::session::server::{Session, Settings, Step};
use grace_ipc::transport::listen::{Access, Listener, Peer, Stream};
use grace_ipc::transport::stdio;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::samples;

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("grace-ipc-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A small daemon: answers from the samples, sends 1,000 events on subscription, and stops when it
/// is told to delete the domain "stop.test".
async fn serve(mut stream: Stream, peer: Peer) {
    let settings = Settings {
        software: "graced test".into(),
        allowed: peer.allowed,
        busy: false,
        events_kept_max: 1_000,
    };
    let mut session = Session::new(settings, Instant::now());
    let mut buffer = vec![0; 4_096];
    loop {
        let now = Instant::now();
        while let Some(step) = session.poll(now) {
            match step {
                Step::Ask { id, body } => answer(&mut session, id, body),
                Step::BeginEvents { .. } => {
                    session.begin_events(&step, &[]);
                    for seq in 1..=1_000 {
                        let kind = EventKind::ServerStopping;
                        let event = Event { seq, time_us: 0, trace: TraceId(0), kind };
                        session.offer(&Arc::new(event));
                    }
                }
                Step::StatsDue => session.offer_stats(now, &samples::stats()),
                Step::Cancel { id } => {
                    session.failed(id, Failure::new(Code::Cancelled, "it was cancelled"));
                }
                Step::Opened { .. } => {}
                Step::Close { .. } => return,
            }
        }
        let out = session.fill().to_vec();
        if !out.is_empty() {
            let Ok(()) = stream.write_all(&out).await else { return };
            session.sent(out.len());
            continue;
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => session.receive(Instant::now(), &buffer[..length]),
        }
    }
}

fn answer(session: &mut Session, id: u32, body: RequestBody) {
    match body {
        RequestBody::ServerInfo => session.done(id, Answer::ServerInfo(samples::server_info())),
        RequestBody::Stats => session.done(id, Answer::Stats(samples::stats())),
        // Goes on until it is cancelled.
        RequestBody::DbVerify => session.part(id, Rows::DbProgress(DbProgress::default())),
        RequestBody::DbCompact => {
            session.part(id, Rows::DbProgress(DbProgress::default()));
            session.done(id, Answer::DbCompacted(DbCompacted::default()));
        }
        RequestBody::DomainList => {
            for name in ["a.example", "b.example", "c.example"] {
                let row = DomainRow { name: name.into(), accounts: 1, created_us: 0 };
                session.part(id, Rows::Domains(vec![row]));
            }
            session.done(id, Answer::ListEnd { rows: 3 });
        }
        RequestBody::AccountList { domain } => {
            let row = AccountRow {
                address: format!("a@{}", domain.unwrap_or_default()),
                mailboxes: 1,
                messages: 2,
                stored_bytes: 3,
                created_us: 4,
            };
            session.part(id, Rows::Accounts(vec![row]));
            session.done(id, Answer::ListEnd { rows: 1 });
        }
        RequestBody::DomainDelete { name } if name == "stop.test" => {
            session.done(id, Answer::Done);
            session.goodbye(Instant::now(), Failure::new(Code::Stopping, "the daemon stops"));
        }
        _ => session.failed(id, Failure::new(Code::NotFound, "no such thing")),
    }
}

/// Runs a small daemon on `socket` while the test's own thread plays the client.
fn with_daemon(socket: &Path, test: impl FnOnce()) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = {
        let _inside = runtime.enter();
        Listener::bind(socket, Access::default()).unwrap()
    };
    runtime.spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            tokio::spawn(serve(stream, peer));
        }
    });
    test();
    runtime.shutdown_timeout(Duration::from_secs(5));
}

fn options() -> Options {
    Options::new("test 1")
}

#[test]
fn a_client_asks_and_hears() {
    let folder = Folder::new("asks");
    with_daemon(&folder.socket(), || {
        let mut client = Client::connect(&folder.socket(), &options()).unwrap();
        assert_eq!(client.welcome().role, Role::Owner);
        assert_eq!(client.welcome().software, "graced test");
        client.order(RequestBody::Ping).unwrap();
        assert_eq!(client.server_info().unwrap(), samples::server_info());
        assert_eq!(client.stats().unwrap(), samples::stats());
        let names: Vec<String> =
            client.domains().unwrap().into_iter().map(|row| row.name).collect();
        assert_eq!(names, ["a.example", "b.example", "c.example"]);
        assert_eq!(client.accounts(Some("b.example")).unwrap()[0].address, "a@b.example");
        let create = RequestBody::DomainCreate { name: "x".into() };
        let failed = client.order(create).unwrap_err();
        assert!(matches!(&failed, ClientError::Failed(failure) if failure.code == Code::NotFound));
        client.order(RequestBody::Ping).expect("a refused request does not end the connection");
    });
}

#[test]
fn long_work_is_followed_and_cancelled() {
    let folder = Folder::new("work");
    with_daemon(&folder.socket(), || {
        let mut client = Client::connect(&folder.socket(), &options()).unwrap();
        let mut heard = Vec::new();
        let done = client.work(RequestBody::DbCompact, &mut |rows| {
            heard.push(rows);
            true
        });
        assert_eq!(done.unwrap(), Answer::DbCompacted(DbCompacted::default()));
        assert_eq!(heard, [Rows::DbProgress(DbProgress::default())]);
        let ended = client.work(RequestBody::DbVerify, &mut |_| false).unwrap_err();
        let ClientError::Failed(failure) = ended else { panic!("{ended}") };
        assert_eq!(failure.code, Code::Cancelled);
        client.order(RequestBody::Ping).expect("the connection goes on");
    });
}

#[test]
fn pushes_that_come_before_a_reply_are_kept() {
    let folder = Folder::new("pushes");
    with_daemon(&folder.socket(), || {
        let mut client = Client::connect(&folder.socket(), &options()).unwrap();
        let events = client.subscribe_events(EventFilter::default(), 0, 0).unwrap();
        let counters = client.subscribe_stats(100).unwrap();
        client.order(RequestBody::Ping).unwrap();
        let (mut next, mut counted) = (1, 0);
        while next <= 1_000 || counted == 0 {
            let push = client.next_push(Some(Duration::from_secs(10))).unwrap();
            match push.body {
                PushBody::Events { lost, events: some } => {
                    assert_eq!((push.subscription, lost), (events, 0));
                    assert_eq!(some[0].seq, next);
                    next += some.len() as u64;
                }
                PushBody::Stats(stats) => {
                    assert_eq!((push.subscription, stats), (counters, samples::stats()));
                    counted += 1;
                }
            }
        }
        let nothing = client.next_push(Some(Duration::from_millis(150))).unwrap_err();
        assert!(matches!(nothing, ClientError::TimedOut), "{nothing}");
        client.order(RequestBody::Ping).expect("the connection goes on");
    });
}

#[test]
fn two_threads_share_a_connection() {
    let folder = Folder::new("split");
    with_daemon(&folder.socket(), || {
        let client = Client::connect(&folder.socket(), &options()).unwrap();
        let (mut sender, mut receiver) = client.split();
        let (tell, told) = std::sync::mpsc::channel();
        let hearing = std::thread::spawn(move || {
            loop {
                match receiver.next() {
                    Ok(message) => tell.send(message).unwrap(),
                    Err(error) => return error,
                }
            }
        });
        let id = sender.send(RequestBody::Ping).unwrap();
        match told.recv_timeout(Duration::from_secs(10)).unwrap() {
            ServerMessage::Reply(reply) => assert_eq!(reply.id, id),
            other => panic!("{other:?}"),
        }
        sender.hang_up();
        let end = hearing.join().unwrap();
        assert!(matches!(end, ClientError::Closed { inside_message: false }), "{end}");
    });
}

#[test]
fn a_goodbye_is_heard() {
    let folder = Folder::new("goodbye");
    with_daemon(&folder.socket(), || {
        let mut client = Client::connect(&folder.socket(), &options()).unwrap();
        client.order(RequestBody::DomainDelete { name: "stop.test".into() }).unwrap();
        let end = client.next_push(None).unwrap_err().to_string();
        assert_eq!(end, "the daemon ended the connection: the daemon stops");
    });
}

#[test]
fn the_socket_is_closed_to_others_from_birth() {
    let folder = Folder::new("mode");
    with_daemon(&folder.socket(), || {
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.socket()), 0o600);
        assert_eq!(mode(&folder.0), 0o700);
    });
    assert!(!folder.socket().exists(), "the socket went with its daemon");
}

#[tokio::test]
async fn only_a_dead_socket_is_cleared_away() {
    let folder = Folder::new("stale");
    let path = folder.socket();
    let first = Listener::bind(&path, Access::default()).unwrap();
    let second = Listener::bind(&path, Access::default()).unwrap_err().to_string();
    assert_eq!(second, format!("another daemon listens on {}; stop it first", path.display()));
    drop(first);
    // A process that was killed leaves its file behind.
    drop(UnixListener::bind(&path).unwrap());
    assert!(std::fs::metadata(&path).unwrap().file_type().is_socket());
    drop(Listener::bind(&path, Access::default()).unwrap());
    std::fs::write(&path, "not ours").unwrap();
    let other = Listener::bind(&path, Access::default()).unwrap_err().to_string();
    assert!(other.contains("is not a socket"), "{other}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "not ours");
}

#[test]
fn nobody_there_is_said_plainly() {
    let error = Client::connect(Path::new("/nonexistent/admin.sock"), &options()).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("cannot connect to /nonexistent/admin.sock: "), "{text}");
    assert!(text.ends_with("; is graced running?"), "{text}");
}

/// The other side of a plain socket, played by hand.
fn played(play: impl FnOnce(UnixStream) + Send + 'static) -> Result<Client, ClientError> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let other = std::thread::spawn(move || play(theirs));
    let read = Box::new(ours.try_clone().unwrap());
    let client = Client::over(read, Box::new(ours), &options());
    other.join().unwrap();
    client
}

#[test]
fn a_stranger_is_told_from_a_server() {
    let error = played(|mut there| there.write_all(b"220 smtp.example ESMTP\r\n").unwrap());
    let text = error.unwrap_err().to_string();
    assert!(text.contains("it began with \"220 smtp.example"), "{text}");
    let gone = played(|mut there| {
        let mut hello = [0; 8];
        there.read_exact(&mut hello).unwrap();
    });
    assert_eq!(gone.unwrap_err().to_string(), "the connection was closed");
}

/// What `graced admin-stdio` does, with a request that is already there when it starts.
#[test]
fn two_streams_can_stand_for_the_socket() {
    let folder = Folder::new("stdio");
    with_daemon(&folder.socket(), || {
        let mut greeting = Greeting::new("test 1", Role::Viewer);
        let input = std::io::Cursor::new(greeting.to_bytes());
        let mut output = Vec::new();
        stdio::join(&folder.socket(), input, &mut output).unwrap();
        let established = greeting.receive(&output).unwrap().unwrap();
        assert_eq!(established.welcome.role, Role::Viewer);
    });
}
