//! What is measured: each row is something that mail programs do all day.
//!
//! Invariants: connections are made and mailboxes are there before the clock runs; all of them
//! begin at once; what is heard is counted, and one letter too few ends the run.
//! Not here: which row comes when ([`super`]), the servers.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Client, Told};
use super::letters::{HIDDEN, RARE, letter};
use super::server::Server;

/// The mailbox of the first account that holds very many letters.
pub(super) const LARGE: &str = "large";
/// The mailbox that is watched.
const WATCHED: &str = "watched";
/// Letters in one APPEND while a large mailbox is filled.
const FILL_AT_ONCE: usize = 100;
/// Letters that watchers are told of.
const NEWS: usize = 30;
/// A command over a whole mailbox is said so often; the middle one counts.
const TIMES: usize = 3;

/// What a figure is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    /// Letters put in, one a command.
    Append { connections: u32 },
    /// Whole letters read, all with one command.
    Bodies { connections: u32 },
    /// Whole letters read, one a command.
    OneByOne { connections: u32 },
    /// From sending a letter until all who watch the mailbox know of it.
    Idle { connections: u32 },
    /// Something about a whole large mailbox.
    Whole { place: usize, connections: u32 },
}

/// A command about a whole mailbox.
pub(super) struct Command {
    /// What it is called in the table.
    pub(super) name: &'static str,
    text: &'static str,
    /// Whether this is what must be told of so many letters.
    is_right: fn(Told, u64) -> bool,
    /// Most connections at once that say it: what takes seconds is not said by many.
    connections_max: u32,
}

const fn each(name: &'static str, text: &'static str, connections_max: u32) -> Command {
    let is_right = |told: Told, messages: u64| told.fetched as u64 == messages;
    Command { name, text, is_right, connections_max }
}

const fn numbers(name: &'static str, text: &'static str) -> Command {
    let is_right = |told: Told, messages: u64| told.numbers as u64 == messages;
    Command { name, text, is_right, connections_max: 1 }
}

/// The fields that Thunderbird asks for of every letter it does not know.
const THUNDERBIRD: &str = "FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc \
    Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To \
    Content-Type Reply-To)])";

/// The commands, in their order.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "SELECT",
        text: "SELECT large",
        is_right: |told, messages| told.exists as u64 == messages,
        connections_max: u32::MAX,
    },
    each("FETCH 1:* (FLAGS)", "FETCH 1:* (FLAGS)", 10),
    each("FETCH 1:* ENVELOPE", "FETCH 1:* (ENVELOPE)", 10),
    each("FETCH 1:* BODYSTRUCTURE", "FETCH 1:* (BODYSTRUCTURE)", 1),
    each("FETCH 1:* as Thunderbird", THUNDERBIRD, 10),
    each("FETCH 1:* (INTERNALDATE RFC822.SIZE)", "FETCH 1:* (INTERNALDATE RFC822.SIZE)", 1),
    numbers("SORT (SUBJECT)", "SORT (SUBJECT) UTF-8 ALL"),
    numbers("SORT (REVERSE DATE)", "SORT (REVERSE DATE) UTF-8 ALL"),
    numbers("THREAD REFERENCES", "THREAD REFERENCES UTF-8 ALL"),
    Command {
        name: "SEARCH HEADER Subject",
        text: "SEARCH HEADER Subject quince",
        is_right: |told, messages| told.numbers as u64 == messages.div_ceil(RARE.1),
        connections_max: 10,
    },
    numbers("SEARCH UNSEEN UNDELETED", "SEARCH UNSEEN UNDELETED"),
    Command {
        name: "SEARCH BODY",
        text: "SEARCH BODY persimmon",
        is_right: |told, messages| told.numbers as u64 == messages.div_ceil(HIDDEN.1),
        connections_max: 1,
    },
];

/// What one figure is, and what it counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Figure {
    /// More is better.
    PerSecond(f64),
    /// Less is better.
    Milliseconds(f64),
}

/// Size of a run.
#[derive(Debug, Clone)]
pub(super) struct Size {
    /// Letters of the large mailbox.
    pub(super) messages: u64,
    /// Letters put in and read for one figure.
    pub(super) letters: u64,
    /// Connections at once, each a row.
    pub(super) connections: Vec<u32>,
}

impl Row {
    /// Every row of a run.
    pub(super) fn all(size: &Size) -> Vec<Self> {
        let mut rows = Vec::new();
        for &connections in &size.connections {
            rows.push(Self::Append { connections });
            rows.push(Self::Bodies { connections });
            rows.push(Self::OneByOne { connections });
            rows.push(Self::Idle { connections });
        }
        for (place, command) in COMMANDS.iter().enumerate() {
            let some = size.connections.iter().filter(|many| **many <= command.connections_max);
            rows.extend(some.map(|&connections| Self::Whole { place, connections }));
        }
        rows
    }

    /// Takes the figure. `turn` numbers the times this is done on this server.
    pub(super) fn measure(self, server: &Server, size: &Size, turn: u32) -> Result<Figure, String> {
        match self {
            Self::Append { connections } => append(server, size, connections, turn),
            Self::Bodies { connections } => bodies(server, size, connections, turn, false),
            Self::OneByOne { connections } => bodies(server, size, connections, turn, true),
            Self::Idle { connections } => idle(server, connections),
            Self::Whole { place, connections } => {
                let command = COMMANDS.get(place).ok_or("there is no such command")?;
                whole(server, size.messages, command, connections)
            }
        }
    }
}

/// Fills the large mailbox.
pub(super) fn fill(server: &Server, messages: u64) -> Result<(), String> {
    let mut client = server.login(0)?;
    client.command(&format!("CREATE {LARGE}"))?;
    for first in (0..messages).step_by(FILL_AT_ONCE) {
        let last = (first + FILL_AT_ONCE as u64).min(messages);
        client.append(LARGE, (first..last).map(letter))?;
    }
    client.command(&format!("CREATE {WATCHED}"))?;
    Ok(())
}

/// Does `work` on every client at once, and says how long all took.
fn at_once<T: Send>(
    clients: Vec<Client>,
    work: impl Fn(usize, &mut Client) -> Result<T, String> + Sync,
) -> Result<(Duration, Vec<T>), String> {
    let barrier = Barrier::new(clients.len() + 1);
    thread::scope(|scope| {
        let lanes: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(place, mut client)| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    work(place, &mut client)
                })
            })
            .collect();
        barrier.wait();
        let begun = Instant::now();
        let mut done = Vec::new();
        for lane in lanes {
            done.push(lane.join().map_err(|_| "a client failed".to_owned())??);
        }
        Ok((begun.elapsed(), done))
    })
}

fn clients(server: &Server, connections: u32) -> Result<Vec<Client>, String> {
    (0..connections).map(|number| server.login(number)).collect()
}

/// The mailbox that a turn puts letters into.
fn filled(connections: u32, turn: u32) -> String {
    format!("load-{connections}-{turn}")
}

/// How many letters one of several connections has its share in.
fn share(size: &Size, connections: u32) -> u64 {
    (size.letters / u64::from(connections)).max(1)
}

fn append(server: &Server, size: &Size, connections: u32, turn: u32) -> Result<Figure, String> {
    let (mailbox, share) = (filled(connections, turn), share(size, connections));
    let mut clients = clients(server, connections)?;
    for client in &mut clients {
        client.command(&format!("CREATE {mailbox}"))?;
    }
    // Made before the clock runs.
    let letters = |place: usize| {
        let first = place as u64 * share;
        (first..first + share).map(letter).collect::<Vec<_>>()
    };
    let all: Vec<Vec<Vec<u8>>> = (0..clients.len()).map(letters).collect();
    let (took, _) = at_once(clients, |place, client| {
        for letter in all.get(place).into_iter().flatten() {
            client.append(&mailbox, [letter.clone()])?;
        }
        Ok(())
    })?;
    Ok(per_second(share * u64::from(connections), took))
}

/// Reads what the same turn put in.
fn bodies(
    server: &Server,
    size: &Size,
    connections: u32,
    turn: u32,
    one_by_one: bool,
) -> Result<Figure, String> {
    let (mailbox, share) = (filled(connections, turn), share(size, connections));
    let mut clients = clients(server, connections)?;
    for client in &mut clients {
        client.command(&format!("SELECT {mailbox}"))?;
    }
    let (took, told) = at_once(clients, |_, client| {
        if !one_by_one {
            return client.command("FETCH 1:* (UID BODY.PEEK[])");
        }
        let mut all = Told::default();
        for number in 1..=share {
            let told = client.command(&format!("FETCH {number} (UID BODY.PEEK[])"))?;
            all.fetched += told.fetched;
            all.literal_bytes += told.literal_bytes;
        }
        Ok(all)
    })?;
    for (place, told) in (0u64..).zip(told) {
        let first = place * share;
        let bytes: u64 = (first..first + share).map(|number| letter(number).len() as u64).sum();
        if told.fetched as u64 != share || told.literal_bytes != bytes {
            return Err(format!("{share} letters of {bytes} bytes were put in; {told:?}"));
        }
    }
    Ok(per_second(share * u64::from(connections), took))
}

fn idle(server: &Server, connections: u32) -> Result<Figure, String> {
    let mut writer = server.login(0)?;
    let mut watchers = Vec::new();
    let mut exists = 0;
    for _ in 0..connections {
        // All of them look into one mailbox, which is the first account's.
        let mut client = server.login(0)?;
        exists = client.command(&format!("SELECT {WATCHED}"))?.exists;
        client.idle()?;
        watchers.push(client);
    }
    let mut took_ms = Vec::new();
    for number in exists..exists + NEWS {
        let begun = Instant::now();
        writer.append(WATCHED, [letter(number as u64)])?;
        for watcher in &mut watchers {
            watcher.wait_exists(number + 1)?;
        }
        took_ms.push(milliseconds(begun.elapsed()));
    }
    for watcher in &mut watchers {
        watcher.done()?;
    }
    Ok(Figure::Milliseconds(middle(took_ms)))
}

fn whole(
    server: &Server,
    messages: u64,
    command: &Command,
    connections: u32,
) -> Result<Figure, String> {
    let mut took_ms = Vec::new();
    // Once to warm what there is to be warmed.
    for time in 0..=TIMES {
        let mut clients: Vec<Client> =
            (0..connections).map(|_| server.login(0)).collect::<Result<_, _>>()?;
        let selects = command.name == "SELECT";
        for client in clients.iter_mut().filter(|_| !selects) {
            client.command(&format!("SELECT {LARGE}"))?;
        }
        let (took, told) = at_once(clients, |_, client| client.command(command.text))?;
        for told in told {
            if !(command.is_right)(told, messages) {
                return Err(format!("{}: of {messages} letters: {told:?}", command.name));
            }
        }
        if time > 0 {
            took_ms.push(milliseconds(took));
        }
    }
    Ok(Figure::Milliseconds(middle(took_ms)))
}

fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn milliseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "some thousand letters")]
fn per_second(letters: u64, took: Duration) -> Figure {
    Figure::PerSecond(letters as f64 / took.as_secs_f64())
}
