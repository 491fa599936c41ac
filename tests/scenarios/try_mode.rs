//! What a stranger sees who types `graced` in an empty folder: two accounts, what to type next, and
//! that it works when typed.
//!
//! Try mode has fixed ports; where one is taken, this says so and skips.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use grace_tests::house::{self, Folder};
use grace_tests::log::{Log, Mark};
use grace_tests::{figure, program, skipped};

/// The ports try mode promises.
const PORTS: &[u16] = &[2525, 2587, 2465, 2143, 2993];
/// How long it may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// The accounts in what was printed: address and password side by side.
fn accounts(printed: &str) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let mut words = line.split_whitespace();
        let (address, password) = (words.next()?, words.next()?);
        let is_pair = address.ends_with("@grace.test") && words.next().is_none();
        is_pair.then(|| (address.to_owned(), password.to_owned()))
    };
    printed.lines().filter_map(pair).collect()
}

/// The commands printed to be typed next: indented lines, joined where one ends with a backslash.
fn commands(printed: &str) -> Vec<String> {
    let joined = printed.replace("\\\n", " ");
    let indented = joined.lines().filter_map(|line| line.strip_prefix("    "));
    indented
        .filter(|line| !line.starts_with(' ') && line.contains("curl"))
        .map(str::to_owned)
        .collect()
}

fn start(folder: &Path) -> (std::process::Child, Log) {
    let mut child = Command::new(program::ours("graced"))
        .args(["--log-format", "json"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(house::output_file(&folder.join("printed")))
        .stderr(Stdio::piped())
        .spawn()
        .expect("graced starts");
    let log = Log::read(child.stderr.take().expect("piped"));
    (child, log)
}

#[test]
fn a_stranger_types_one_word() {
    if let Some(port) =
        PORTS.iter().find(|&&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err())
    {
        skipped(&format!("a_stranger_types_one_word: port {port} is taken"));
        return;
    }
    if Path::new("/etc/grace/graced.toml").exists() {
        skipped("a_stranger_types_one_word: this machine has a configuration");
        return;
    }
    let folder = Folder::new();
    let (mut daemon, log) = start(folder.path());
    log.wait(Mark::START, "ServerStarted", |_| true);
    let printed = fs::read_to_string(folder.path().join("printed")).expect("it was printed");
    let accounts = accounts(&printed);
    assert_eq!(accounts.len(), 2, "{printed}");
    let commands = commands(&printed);
    assert!(commands.len() >= 2, "what to type next: {printed}");

    // What is printed works when it is typed. curl asks for the password at a terminal; here it is
    // put where a person would type it.
    let hello = accounts.iter().find(|(address, _)| address.starts_with("hello")).expect("hello@");
    let typed = |command: &str| {
        let user = format!("--user {}", hello.0);
        let command = command.replace(&user, &format!("{user}:'{}'", hello.1));
        program::run_ok(Command::new("sh").args(["-c", &command]).current_dir(folder.path()))
    };
    let mark = log.mark();
    let mut read = String::new();
    for command in &commands {
        if command.contains("imaps:") {
            log.wait(mark, "MessageDelivered", |_| true);
            read = typed(command);
        } else {
            typed(command);
        }
    }
    assert!(read.contains("It works."), "{read}");
    let mut list = Command::new(program::ours("gracectl"));
    let listed = program::run_ok(list.args(["account", "list"]).current_dir(folder.path()));
    assert!(accounts.iter().all(|(address, _)| listed.contains(address)), "{listed}");

    // The passwords are kept nowhere, and a second start shows and makes nothing.
    house::send_signal(daemon.id(), "INT");
    assert!(house::wait(&mut daemon, STOP_PATIENCE).success());
    let journal = program::run(
        Command::new("grep").args(["-rlF", "-e", &hello.1]).arg(folder.path().join("grace-data")),
    );
    assert_eq!(journal.status.code(), Some(1), "{}", program::both(&journal));
    let (mut again, log) = start(folder.path());
    log.wait(Mark::START, "ServerStarted", |_| true);
    let printed = fs::read_to_string(folder.path().join("printed")).expect("it was opened");
    assert!(self::accounts(&printed).is_empty(), "{printed}");
    house::send_signal(again.id(), "TERM");
    assert!(house::wait(&mut again, STOP_PATIENCE).success());
    figure("try mode: the printed commands work as printed");
}
