//! Clients as they are: sessions of Gmail, Outlook and Proton, of desktop programs, bots and
//! scanners, from files a person can read (`corpus/smtp`), over sockets and TLS; and whatever a
//! scanner or a fuzzer says first. Each is answered, and forgotten.
//!
//! What a conversation file says is told in `scripts/replay.py`. Not here: random bytes
//! (`garbage`).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use grace_tests::house::House;
use grace_tests::log;
use grace_tests::script::{self, Partner};
use grace_tests::usage::{self, Usage};
use grace_tests::wire::{self, Wire};
use grace_tests::{corpus, figure, program};
use serde_json::{Value, json};

/// How often all conversations are held before memory is looked at: pools and caches fill once.
const ROUNDS_WARM: u64 = 4;
/// How often after that.
const ROUNDS: u64 = 10;
/// What sessions leave behind is the question here, not what the database keeps of them on purpose.
const SETTINGS: &str = "[store]\ntrace_hours = 0\n[search]\nindex = \"off\"\n\
     [limits]\nlogin_failure_delay_ms = 0\nlogin_failures_ban = 0\n";
/// How much resident memory may grow meanwhile, in KiB: the database keeps some rows for each
/// message that stays.
const GROWTH_KIB_MAX: u64 = 4_096;
/// How long the daemon may take to be as before once all are gone.
const SETTLE: Duration = Duration::from_secs(20);
/// How long a client waits for the server to have done with it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The conversations.
fn conversations() -> Vec<PathBuf> {
    let mut files = corpus::files(&program::tests_folder().join("corpus/smtp"));
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    assert!(files.len() > 20, "{files:?}");
    files
}

/// What scanners and fuzzers begin with: ours, and foreign ones where they are.
fn openings() -> Vec<Vec<u8>> {
    let own = [
        &b"\r\n\r\n"[..],
        b"GET / HTTP/1.0\r\n\r\n",
        b"OPTIONS / RTSP/1.0\r\n\r\n",
        b"OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/TCP nm\r\n\r\n",
        b"EHLO\r\n",
        b"HELP\r\n",
        b"\x16\x03\0\0S\x01\0\0O\x03\0?G\xd7\xf7",
        b"\x80\x9e\x01\x03\x01\0u\0\0\0 \0\0f",
        b"\x03\0\0*%\xe0\0\0\0\0\0Cookie: mstshash=x\r\n",
        b"\0\x1e\0\x06\x01\0\0\x01\0\0\0\0\0\0\x07version\x04bind\0\0\x10\0\x03",
        b"l\0\x0b\0\0\0\0\0\0\0\0\0",
        b"\0\0\0\xa4\xffSMBr\0\0\0\0\x08\x01@",
        b"0\x0c\x02\x01\x01`\x07\x02\x01\x02\x04\0\x80\0",
        b"\x01default\n",
        b"JRMI\0\x02K",
    ];
    let mut openings: Vec<Vec<u8>> = own.iter().map(|bytes| bytes.to_vec()).collect();
    if let Some(folder) = corpus::shared("smtp", "replay, foreign openings") {
        let table = fs::read_to_string(folder.join("probes/nmap-probes.tsv")).unwrap_or_default();
        let probes = table.lines().skip(1).filter_map(|line| line.rsplit('\t').next());
        openings.extend(probes.map(wire::unescape).filter(|bytes| !bytes.is_empty()));
        let seeds = corpus::files(&folder).into_iter();
        let seeds = seeds.filter(|file| file.extension().is_some_and(|end| end == "raw"));
        openings.extend(seeds.filter_map(|file| fs::read(file).ok()));
    }
    openings
}

/// Says something and no more, and listens to the end.
fn pour(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the door is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    // The server may have had enough before it has all.
    drop(stream.write_all(bytes));
    drop(stream.shutdown(Shutdown::Write));
    let mut said = Vec::new();
    let end = stream.read_to_end(&mut said);
    let is_over = !matches!(&end, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(is_over, "no end of the connection after {:?}", bytes.escape_ascii().to_string());
    said
}

/// What the daemon costs when all sessions are over.
fn emptied(house: &House) -> Usage {
    let _last = usage::settle(house.id(), SETTLE, |_| house.sessions() == 0);
    house.usage()
}

fn assert_forgotten(house: &House, before: &Usage, what: &str) {
    emptied(house);
    // A thread for slow work that has none goes after ten seconds.
    let is_before = |now: &Usage| now.files <= before.files && now.threads <= before.threads;
    let after = usage::settle(house.id(), SETTLE, is_before);
    assert_eq!(house.sessions(), 0, "{what}");
    assert!(after.files <= before.files, "{what}: {before:?} before, {after:?} after");
    assert!(after.threads <= before.threads, "{what}: {before:?} before, {after:?} after");
    let growth_kib = after.resident_kib.saturating_sub(before.resident_kib);
    figure(&format!("{what}: {growth_kib} KiB more resident, no file and no thread more"));
    assert!(growth_kib <= GROWTH_KIB_MAX, "{what}: {before:?} before, {after:?} after");
}

#[test]
fn every_client_is_answered_and_forgotten() {
    let house = House::start_with(SETTINGS);
    let ann = house.account("ann");
    let files = conversations();
    let names: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
    let arguments = script::with(script::about(&house, &[&ann]), &json!({ "files": names }));
    let mut partner = Partner::start("replay", &arguments);
    let mut play = |rounds: u64| {
        let played = partner.ask(&json!({ "rounds": rounds }));
        let problems = played["problems"].as_array().into_iter().flatten();
        let problems: Vec<&str> = problems.filter_map(Value::as_str).collect();
        assert!(problems.is_empty(), "{}", problems.join("\n\n"));
        log::number(&played, "kept")
    };
    let mut kept = play(ROUNDS_WARM);
    let before = emptied(&house);
    kept += play(ROUNDS);
    assert_eq!(house.messages(&ann), kept, "what was acknowledged is there, and nothing else");
    let count = ROUNDS * files.len() as u64;
    assert_forgotten(&house, &before, &format!("{count} conversations of real clients"));
}

#[test]
fn every_opening_is_answered_or_hung_up_on() {
    let house = House::start_with(SETTINGS);
    let ann = house.account("ann");
    let openings = openings();
    let doors = ["Smtp", "Submission", "Submissions"].map(|door| house.port(door));
    let all = || {
        for opening in &openings {
            for door in doors {
                let said = pour(door, opening);
                let is_reply = said.is_empty() || said[0].is_ascii_digit() || said[0] < 0x20;
                assert!(is_reply, "{:?}", said.escape_ascii().to_string());
            }
        }
    };
    (0..ROUNDS_WARM).for_each(|_| all());
    let before = emptied(&house);
    (0..ROUNDS).for_each(|_| all());
    let count = ROUNDS * 3 * openings.len() as u64;
    assert_forgotten(&house, &before, &format!("{count} openings of scanners and fuzzers"));
    Wire::deliver(&house, &ann, "all is well");
}

#[test]
fn who_speaks_before_the_greeting_is_turned_away() {
    let settings = "[limits]\nsmtp_greet_pause_ms = 60000\n";
    let house = House::start_with(settings);
    let said = pour(house.port("Smtp"), b"EHLO ylmf-pc\r\n");
    assert!(said.starts_with(b"554 5.5.1 "), "{:?}", said.escape_ascii().to_string());
    assert_eq!(emptied(&house).files, house.usage().files);
    assert_eq!(house.sessions(), 0);
}
