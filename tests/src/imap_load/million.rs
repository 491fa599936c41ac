//! A mailbox of a million letters, Grace alone: how soon it is open.
//!
//! Invariant: cold is the first look after a start; what the system has in its own memory stays
//! there.
//! Not here: the comparison ([`super`]).

use std::time::{Duration, Instant};

use grace_tests::usage;

use super::letters::letter;
use super::server::{Kind, Server};

/// So many letters there are in the end: the next power of two.
const MESSAGES: usize = 1 << 20;
/// Letters that are put in one by one before they are doubled.
const FIRST: usize = 1 << 6;
/// Warm looks; the middle one counts.
const TIMES: usize = 7;
/// How long the daemon may take until it rests.
const REST_PATIENCE: Duration = Duration::from_secs(900);

/// Takes the figures and prints them.
pub(super) fn run() -> Result<(), String> {
    let mut server = Server::start(Kind::Grace, 1)?;
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
    warm.sort();
    usage::rest(server.id(), REST_PATIENCE)?;
    server.restart()?;
    let cold = select(&server)?;
    let after = usage::of(server.id());
    println!("| SELECT of a mailbox of {MESSAGES} letters | ms |\n|---|---:|");
    let middle = warm.get(TIMES / 2).copied().unwrap_or_default();
    for (name, took) in [("first", first), ("warm", middle), ("cold", cold)] {
        println!("| {name} | {:.1} |", took.as_secs_f64() * 1_000.0);
    }
    println!("\nMemory after the cold one: {} MiB.", after.resident_kib >> 10);
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
