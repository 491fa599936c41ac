//! A mailbox of a million letters, Grace alone: how soon it is open.
//!
//! Invariants: cold is the first look after a start, once with what the system has of the files in
//! its own memory and once without; the index of texts is off, for making it would keep the
//! processor busy for minutes.
//! Not here: the comparison ([`super`]).

use std::fs;
use std::time::{Duration, Instant};

use grace_tests::usage;

use super::letters::letter;
use super::server::Server;

/// So many letters there are in the end: the next power of two.
const MESSAGES: usize = 1 << 20;
/// Letters that are put in one by one before they are doubled.
const FIRST: usize = 1 << 6;
/// Looks, and starts for cold ones.
const TIMES: usize = 7;
/// How long the daemon may take until it rests.
const REST_PATIENCE: Duration = Duration::from_secs(900);

/// Takes the figures and prints them.
pub(super) fn run() -> Result<(), String> {
    let mut server = Server::grace(1, "[search]\nindex = \"off\"")?;
    let mut client = server.login(0)?;
    client.command("CREATE large")?;
    client.append("large", (0..FIRST as u64).map(letter))?;
    client.command("SELECT large")?;
    let mut there = FIRST;
    while there < MESSAGES {
        client.command(&format!("COPY 1:{there} large"))?;
        there *= 2;
        eprintln!("{there} letters");
    }
    drop(client);
    usage::rest(server.id(), REST_PATIENCE)?;
    let mut warm = Vec::new();
    for _ in 0..=TIMES {
        warm.push(select(&server)?);
    }
    // The first one may have found something to do for those after it.
    let first = warm.remove(0);
    let (mut cold, mut from_disk) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        usage::rest(server.id(), REST_PATIENCE)?;
        server.restart()?;
        cold.push(select(&server)?);
        usage::rest(server.id(), REST_PATIENCE)?;
        server.restart()?;
        fs::write("/proc/sys/vm/drop_caches", "1")
            .map_err(|error| format!("the page cache cannot be emptied; are you root? {error}"))?;
        from_disk.push(select(&server)?);
    }
    let after = usage::of(server.id());
    println!("| SELECT of a mailbox of {MESSAGES} letters | ms |\n|---|---:|");
    let all = [("first", vec![first]), ("warm", warm), ("cold", cold), ("from disk", from_disk)];
    for (name, mut took) in all {
        took.sort();
        let figures = [0, took.len() / 2, took.len() - 1]
            .map(|at| took.get(at).copied().unwrap_or_default().as_secs_f64() * 1_000.0);
        let [least, middle, most] = figures;
        println!("| {name} | {middle:.1} [{least:.1}–{most:.1}] |");
    }
    println!("\nMemory after the last cold one: {} MiB.", after.resident_kib >> 10);
    Ok(())
}

fn select(server: &Server) -> Result<Duration, String> {
    let mut client = server.login(0)?;
    let begun = Instant::now();
    let told = client.command("SELECT large")?;
    let took = begun.elapsed();
    if told.exists != MESSAGES {
        return Err(format!("there are {} letters", told.exists));
    }
    Ok(took)
}
