//! A daemon that is none: the protocol's own session machine behind a socket, for tests.
//!
//! Invariants: it speaks every byte as the real daemon does; dropping it closes the socket and
//! every connection. Not here: mail.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use grace_ipc::event::{Event, EventKind, TraceId};
use grace_ipc::message::{Answer, Failure, RequestBody, ServerInfo, Stats};
use grace_ipc::role::Role;
use grace_ipc::session::server::{EVENTS_KEPT_MAX_DEFAULT, Session, Settings, Step};

/// How long the daemon waits for bytes before it looks for something to push.
const TICK: Duration = Duration::from_millis(5);

/// What the daemon knows; shared with its connections.
#[derive(Default)]
struct World {
    events: Mutex<Vec<Arc<Event>>>,
    stats: Mutex<Stats>,
    stop: AtomicBool,
    started_us: u64,
}

/// A daemon.
pub(crate) struct FakeDaemon {
    world: Arc<World>,
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl FakeDaemon {
    /// Listens at `path`; `life` tells one daemon from the next.
    pub(crate) fn start(path: &Path, life: u64) -> Self {
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).expect("the test's own folder can be written");
        listener.set_nonblocking(true).expect("a listener can be made not to wait");
        let world = Arc::new(World { started_us: life, ..World::default() });
        let shared = Arc::clone(&world);
        let thread = std::thread::spawn(move || accept(&listener, &shared));
        Self { world, path: path.to_owned(), thread: Some(thread) }
    }

    /// Something happens.
    pub(crate) fn emit(&self, time_us: u64, trace: u64, kind: EventKind) {
        let mut events = self.world.events.lock().expect("no test panics while it holds this");
        let seq = events.len() as u64 + 1;
        events.push(Arc::new(Event { seq, time_us, trace: TraceId(trace), kind }));
    }

    /// The counters change.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut self.world.stats.lock().expect("no test panics while it holds this"));
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        self.world.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

fn accept(listener: &UnixListener, world: &Arc<World>) {
    let mut serving = Vec::new();
    while !world.stop.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => {
                let world = Arc::clone(world);
                serving.push(std::thread::spawn(move || serve(stream, &world)));
            }
            Err(_) => std::thread::sleep(TICK),
        }
    }
    for thread in serving {
        let _ = thread.join();
    }
}

fn serve(mut stream: UnixStream, world: &World) {
    stream.set_nonblocking(false).expect("a socket can be made to wait");
    stream.set_read_timeout(Some(TICK)).expect("a socket can be made to wait for a while");
    let settings = Settings {
        software: "graced 0.1.0".to_owned(),
        allowed: Some(Role::Owner),
        busy: false,
        events_kept_max: EVENTS_KEPT_MAX_DEFAULT,
    };
    let mut session = Session::new(settings, Instant::now());
    let mut offered = 0;
    let mut bytes = [0; 4096];
    while !world.stop.load(Ordering::SeqCst) {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(length) => session.receive(Instant::now(), bytes.get(..length).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
        let events = world.events.lock().expect("no test panics while it holds this").clone();
        while let Some(step) = session.poll(Instant::now()) {
            match step {
                Step::Close { .. } => return,
                Step::Opened { .. } | Step::Cancel { .. } => {}
                Step::StatsDue => {
                    let stats = world.stats.lock().expect("as above").clone();
                    session.offer_stats(Instant::now(), &stats);
                }
                Step::BeginEvents { .. } => {
                    session.begin_events(&step, &events);
                    offered = events.len();
                }
                Step::Ask { id, body } => answer(&mut session, world, id, &body),
            }
        }
        for event in events.iter().skip(offered) {
            session.offer(event);
        }
        offered = events.len();
        let out = session.fill().to_vec();
        if stream.write_all(&out).is_err() {
            return;
        }
        session.sent(out.len());
    }
}

fn answer(session: &mut Session, world: &World, id: u32, body: &RequestBody) {
    match body {
        RequestBody::ServerInfo => {
            let info = ServerInfo {
                version: "0.1.0".to_owned(),
                hostname: "mail.grace.test".to_owned(),
                started_us: world.started_us,
                pid: 7,
                data_folder: "grace-data".to_owned(),
                doors: Vec::new(),
            };
            session.done(id, Answer::ServerInfo(info));
        }
        _ => {
            let code = grace_ipc::message::Code::Unsupported;
            session.failed(id, Failure::new(code, "a fake daemon only tells who it is"));
        }
    }
}
