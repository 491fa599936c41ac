//! The programs people type: curl, swaks, openssl, neomutt; and a program built on imapclient. Each
//! through every door it can use, with the certificate checked where the program can be given it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use grace_tests::house::{Account, DOMAIN, HOSTNAME, House};
use grace_tests::log::Mark;
use grace_tests::{figure, program, script, skipped};
use serde_json::json;

/// A house with one account and the daemon's certificate in a file.
struct Scene {
    house: House,
    ann: Account,
    certificate: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let house = House::start();
        let ann = house.account("ann");
        let certificate = house.certificate();
        Self { house, ann, certificate }
    }

    /// curl that trusts the daemon's certificate by its name and finds that name on loopback.
    fn curl(&self, service: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("curl");
        let port = self.house.port(service);
        command
            .args(["--silent", "--show-error", "--fail", "--max-time", "30"])
            .arg("--cacert")
            .arg(&self.certificate)
            .args(["--resolve", &format!("{HOSTNAME}:{port}:127.0.0.1")])
            .args(["--user", &format!("{}:{}", self.ann.address, self.ann.password)])
            .args(arguments);
        command
    }

    fn url(&self, scheme: &str, service: &str, path: &str) -> String {
        format!("{scheme}://{HOSTNAME}:{}/{path}", self.house.port(service))
    }

    fn swaks(&self, service: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("swaks");
        command
            .args(["--server", "127.0.0.1", "--port", &self.house.port(service).to_string()])
            .args(["--helo", "client.example.org", "--timeout", "30"])
            .args(["--to", &self.ann.address, "--from", &self.ann.address])
            .args(arguments);
        program::run(&mut command)
    }

    fn openssl(&self, service: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-connect", &format!("127.0.0.1:{}", self.house.port(service))])
            .args(["-verify_return_error", "-verify_hostname", HOSTNAME, "-CAfile"])
            .arg(&self.certificate)
            .args(arguments);
        program::run(&mut command)
    }
}

#[test]
fn curl_sends_and_reads() {
    let scene = Scene::new();
    let message = scene.house.folder().join("message.eml");
    let text = "From: ann@grace.test\r\nSubject: by curl\r\n\r\nHello from curl.\r\n";
    fs::write(&message, text).expect("the folder is writable");
    let file = message.to_string_lossy().into_owned();
    let send = ["--mail-from", &scene.ann.address, "--mail-rcpt", &scene.ann.address, "-T", &file];
    for (scheme, service, more) in [
        ("smtp", "Smtp", &["--ssl-reqd"][..]),
        ("smtp", "Submission", &["--ssl-reqd"][..]),
        ("smtps", "Submissions", &[][..]),
    ] {
        let mut command = scene.curl(service, &send);
        if service == "Smtp" {
            // No login is offered to other servers, and curl then insists on one it was given.
            command = scene.curl(service, &[&send[..], &["--user", ""][..]].concat());
        }
        program::run_ok(command.args(more).arg(scene.url(scheme, service, "client.example.org")));
    }
    for (scheme, service, more) in [("imaps", "Imaps", &[][..]), ("imap", "Imap", &["--ssl-reqd"])]
    {
        for number in ["1", "2", "3"] {
            let path = format!("INBOX;MAILINDEX={number}");
            let mut command = scene.curl(service, more);
            let read = program::run_ok(command.arg(scene.url(scheme, service, &path)));
            assert!(read.ends_with(text), "{read}");
        }
    }
    let mut append = scene.curl("Imaps", &["-T", &file]);
    program::run_ok(append.arg(scene.url("imaps", "Imaps", "Drafts")));
    let mut fetch = scene.curl("Imaps", &[]);
    let draft = program::run_ok(fetch.arg(scene.url("imaps", "Imaps", "Drafts;UID=1")));
    assert_eq!(draft, text, "what was appended comes back, byte for byte");
    let mut section = scene.curl("Imaps", &[]);
    let url = scene.url("imaps", "Imaps", "Drafts;UID=1;SECTION=TEXT");
    assert_eq!(program::run_ok(section.arg(url)), "Hello from curl.\r\n");
    let mut list = scene.curl("Imaps", &[]);
    let listed = program::run_ok(list.arg(scene.url("imaps", "Imaps", "")));
    for (name, special_use) in [("INBOX", ""), ("Drafts", "\\Drafts"), ("Sent", "\\Sent")] {
        let is_it = |line: &str| line.ends_with(name) && line.contains(special_use);
        assert!(listed.lines().any(is_it), "{name} in {listed}");
    }
    let mut search = scene.curl("Imaps", &["-X", "SEARCH SUBJECT curl"]);
    let found = program::run_ok(search.arg(scene.url("imaps", "Imaps", "INBOX")));
    assert_eq!(found.trim(), "* SEARCH 1 2 3");
}

#[test]
fn swaks_by_every_door() {
    let scene = Scene::new();
    let login = ["--auth-user", &scene.ann.address, "--auth-password", &scene.ann.password];
    let ways: &[(&str, &[&str], bool)] = &[
        ("Smtp", &[], false),
        ("Smtp", &["--tls"], false),
        ("Submission", &["--tls", "--auth", "PLAIN"], true),
        ("Submission", &["--tls", "--auth", "LOGIN"], true),
        ("Submissions", &["--tls-on-connect", "--auth", "PLAIN"], true),
        ("Submissions", &["--tls-on-connect", "--auth", "LOGIN"], true),
    ];
    for (service, arguments, with_login) in ways {
        let login = if *with_login { &login[..] } else { &[] };
        let arguments = [arguments, login].concat();
        let output = scene.swaks(service, &arguments);
        assert!(output.status.success(), "{service} {arguments:?}: {}", program::both(&output));
    }
    scene.house.log().wait_count(Mark::START, "MessageDelivered", ways.len(), |_| true);
    // Wrong password: swaks ends with 28, "authentication failed".
    let wrong = ["--tls-on-connect", "--auth", "PLAIN", "--auth-user", &scene.ann.address];
    let output = scene.swaks("Submissions", &[&wrong[..], &["--auth-password", "no"][..]].concat());
    assert_eq!(output.status.code(), Some(28), "{}", program::both(&output));
    // A recipient who is not here: 24, "no recipient was accepted".
    let output = scene.swaks("Smtp", &["--to", &format!("nobody@{DOMAIN}")]);
    assert_eq!(output.status.code(), Some(24), "{}", program::both(&output));
}

#[test]
fn openssl_agrees_on_tls() {
    let scene = Scene::new();
    let doors: &[(&str, &[&str])] = &[
        ("Smtp", &["-starttls", "smtp"]),
        ("Submission", &["-starttls", "smtp"]),
        ("Submissions", &[]),
        ("Imap", &["-starttls", "imap"]),
        ("Imaps", &[]),
    ];
    for (service, arguments) in doors {
        for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            let output = scene.openssl(service, &[arguments, &[version][..]].concat());
            let said = program::both(&output);
            assert!(output.status.success(), "{service} {name}: {said}");
            assert!(said.contains("Verify return code: 0 (ok)"), "{service} {name}: {said}");
            assert!(said.contains(&format!("New, {name}")), "{service} {name}: {said}");
        }
        // RFC 8996: older ones are not to be spoken. SECLEVEL=0 lets this openssl try.
        for version in ["-tls1", "-tls1_1"] {
            let old = [version, "-cipher", "ALL:@SECLEVEL=0"];
            let output = scene.openssl(service, &[arguments, &old[..]].concat());
            let said = program::both(&output);
            assert!(
                !output.status.success() && said.contains("alert"),
                "{service} {version}: {said}"
            );
        }
    }
    let failed = scene.house.log().wait_count(Mark::START, "TlsFailed", 2 * doors.len(), |_| true);
    assert!(failed.iter().all(|event| event["reason"].as_str().is_some_and(|why| !why.is_empty())));
    figure("openssl: TLS 1.2 and 1.3 at all five doors, certificate verified; 1.0 and 1.1 refused");
}

#[test]
fn somebody_reads_his_mail_with_neomutt() {
    let scene = Scene::new();
    let bob = scene.house.account("bob");
    let ctl = scene.house.ctl_command();
    let ctl = std::iter::once(ctl.get_program()).chain(ctl.get_args());
    let ctl: Vec<_> = ctl.map(|word| word.to_string_lossy()).collect();
    let more = json!({ "certificate": scene.certificate.to_string_lossy(), "ctl": ctl });
    let arguments = script::about(&scene.house, &[&scene.ann, &bob]);
    let result = script::run("neomutt", &script::with(arguments, &more));
    assert_eq!(result["problems"], json!([]), "{result:#}");
    figure(&format!(
        "neomutt: {} checks of a day with it, three runs with one cache",
        result["checks"]
    ));
}

#[test]
fn a_program_built_on_imapclient_has_its_day() {
    let scene = Scene::new();
    // Debian has no package of it: `tests/run` puts it into a folder, which it names.
    let path = std::env::var("GRACE_PYTHON").unwrap_or_default();
    let arguments = script::about(&scene.house, &[&scene.ann]);
    let result = script::run("imapclient_day", &script::with(arguments, &json!({ "path": path })));
    if let Some(why) = result.get("absent") {
        return skipped(&format!("imapclient: {why}"));
    }
    assert_eq!(result["problems"], json!([]), "{result:#}");
    figure(&format!("imapclient: {} checks of what a program does all day", result["checks"]));
}
