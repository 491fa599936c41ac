//! Five thousand SMTP clients that said EHLO and then nothing: what each of them costs.
//!
//! `GRACE_IDLE` says how many. Not here: clients that are no clients (`garbage`), those of IMAP.

#![cfg(target_os = "linux")]

use std::process::Command;
use std::time::Duration;

use grace_tests::house::House;
use grace_tests::script::{self, Partner};
use grace_tests::usage::{self, Usage};
use grace_tests::wire::Wire;
use grace_tests::{figure, program, seed};
use serde_json::json;

/// Clients at once.
const CLIENTS: u64 = 5_000;
/// The same over TLS, each of which must be greeted by some cryptography.
const TLS_CLIENTS: u64 = 1_000;
/// Clients that come and go before memory is looked at: pools and caches fill once.
const WARM: u64 = 100;
/// Most resident memory an idle session may take, in KiB.
const SESSION_KIB_MAX: u64 = 20;
/// Files a process needs beside its connections.
const FILES_MORE: u64 = 256;
/// How long the daemon may take to be as before once all are gone.
const SETTLE: Duration = Duration::from_secs(20);

/// As many from one address as there are, for as long as the test takes.
fn settings(clients: u64) -> String {
    format!(
        "[limits]\nconnections_max = {0}\nconnections_per_address_max = {0}\n\
         smtp_command_s = 3600\n",
        clients + 100
    )
}

/// Lets this process and its children have a file for each connection. The limit is that of all
/// tests here, so none lowers it.
fn more_files(clients: u64) {
    let files = format!("--nofile={0}:{0}", clients.max(CLIENTS) + FILES_MORE);
    let this = std::process::id().to_string();
    program::run_ok(Command::new("prlimit").args(["--pid", &this, &files]));
}

fn greeted(port: u16) -> Wire {
    let mut wire = Wire::connect(port);
    wire.check("S: 220 *\nC: EHLO client.example.org\nS: 250 *");
    wire
}

/// What the daemon costs when all sessions are over.
fn emptied(house: &House) -> Usage {
    let _last = usage::settle(house.id(), SETTLE, |_| house.sessions() == 0);
    house.usage()
}

#[test]
fn an_idle_session_is_small() {
    let clients = seed::times("GRACE_IDLE", CLIENTS);
    more_files(clients);
    let house = House::start_with(&settings(clients));
    let ann = house.account("ann");
    let port = house.port("Smtp");
    drop((0..WARM).map(|_| greeted(port)).collect::<Vec<Wire>>());
    let before = emptied(&house);
    let wires: Vec<Wire> = (0..clients).map(|_| greeted(port)).collect();
    assert_eq!(house.sessions(), clients);
    let with = house.usage();
    let each = with.resident_kib.saturating_sub(before.resident_kib) as f64 / clients as f64;
    figure(&format!(
        "{clients} idle SMTP sessions: {each:.1} KiB each, {} KiB resident in all",
        with.resident_kib
    ));
    assert!(each < SESSION_KIB_MAX as f64, "{before:?} before, {with:?} with {clients}");
    // They are no burden for who has something to say.
    Wire::deliver(&house, &ann, "among many");
    drop(wires);
    let after = usage::settle(house.id(), SETTLE, |now| now.files <= before.files);
    assert!(after.files <= before.files, "{before:?} before, {after:?} after");
    assert_eq!(house.sessions(), 0);
}

#[test]
fn an_idle_session_over_tls_is_told() {
    let clients = seed::times("GRACE_IDLE", TLS_CLIENTS);
    more_files(clients);
    let house = House::start_with(&settings(clients));
    let arguments = script::about(&house, &[]);
    let mut partner = Partner::start("idle", &arguments);
    partner.ask(&json!({ "clients": WARM }));
    partner.ask(&json!({ "clients": 0 }));
    let before = emptied(&house);
    let open = partner.ask(&json!({ "clients": clients }));
    assert_eq!(open["open"], clients, "{open}");
    assert_eq!(house.sessions(), clients);
    let with = house.usage();
    let each = with.resident_kib.saturating_sub(before.resident_kib) as f64 / clients as f64;
    figure(&format!("{clients} idle SMTP sessions over TLS: {each:.1} KiB each"));
    partner.ask(&json!({ "clients": 0 }));
    let after = usage::settle(house.id(), SETTLE, |now| now.files <= before.files);
    assert!(after.files <= before.files, "{before:?} before, {after:?} after");
}
