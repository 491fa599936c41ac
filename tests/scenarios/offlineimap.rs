//! OfflineIMAP keeps a Maildir and the server alike, both ways: what is new, flags, what goes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use grace_tests::house::{Account, House};
use grace_tests::imap::client::Client;
use grace_tests::{corpus, figure, program, script, skipped};
use serde_json::{Value, json};

/// What the certificate is known by.
const FINGERPRINT: &str = "import hashlib, ssl, sys\n\
    pem = ssl.get_server_certificate(('127.0.0.1', int(sys.argv[1])))\n\
    print(hashlib.sha1(ssl.PEM_cert_to_DER_cert(pem)).hexdigest())";

/// One account's Maildir, and the program's configuration for it.
struct Copy<'a> {
    house: &'a House,
    account: &'a Account,
    folder: PathBuf,
}

impl<'a> Copy<'a> {
    fn new(house: &'a House, account: &'a Account) -> Self {
        let folder = house.folder().join("offline");
        fs::create_dir_all(folder.join("mail")).expect("the folder is writable");
        let port = house.port("Imaps");
        let mut python = script::python();
        let print = program::run_ok(python.args(["-c", FINGERPRINT, &port.to_string()]));
        let at = folder.display();
        let text = format!(
            "[general]\nmetadata = {at}/meta\naccounts = grace\nui = quiet\nfsync = false\n\
             [Account grace]\nlocalrepository = near\nremoterepository = far\n\
             [Repository near]\ntype = Maildir\nlocalfolders = {at}/mail\n\
             [Repository far]\ntype = IMAP\nremotehost = 127.0.0.1\nremoteport = {port}\n\
             remoteuser = {}\nremotepassfile = {at}/password\nssl = yes\n\
             cert_fingerprint = {}\n",
            account.address,
            print.trim()
        );
        fs::write(folder.join("rc"), text).expect("the folder is writable");
        fs::write(folder.join("password"), &account.password).expect("the folder is writable");
        Self { house, account, folder }
    }

    fn run(&self) {
        let mut command = Command::new("timeout");
        command.args(["120", "offlineimap", "-o", "-c"]).arg(self.folder.join("rc"));
        program::run_ok(command.env("HOME", &self.folder));
    }

    /// The mail files of a mailbox, by path.
    fn files(&self, mailbox: &str) -> Vec<PathBuf> {
        let folder = self.folder.join("mail").join(mailbox);
        let mut files = corpus::files(&folder);
        files.retain(|file| !file.starts_with(folder.join("tmp")));
        files
    }

    /// The server's side: every mailbox with its UIDs, flags and digests.
    fn server(&self) -> Value {
        script::run("state", &script::about(self.house, &[self.account]))
    }
}

fn flags(file: &std::path::Path) -> String {
    let name = file.file_name().expect("a file").to_string_lossy().into_owned();
    name.rsplit_once(":2,").map(|(_, flags)| flags.to_owned()).unwrap_or_default()
}

#[test]
fn a_maildir_is_kept_alike() {
    if Command::new("offlineimap").arg("--version").output().is_err() {
        return skipped("offlineimap is not installed");
    }
    let house = House::start();
    let ann = house.account("ann");
    let arguments = script::about(&house, &[&ann]);
    let make = json!({ "make": { "Work": 6, "Work/2026": 3 } });
    let before = script::run("state", &script::with(arguments, &make));
    let copy = Copy::new(&house, &ann);

    // Down: every message, with its flags; and once more, which changes nothing on either side.
    copy.run();
    let files = copy.files("Work");
    assert_eq!((files.len(), copy.files("Work.2026").len()), (6, 3));
    assert_eq!(files.iter().filter(|file| flags(file).contains('S')).count(), 3);
    copy.run();
    assert_eq!((copy.files("Work"), copy.server()), (files.clone(), before));

    // Up: one is flagged here, one is deleted, one is new.
    let work = copy.folder.join("mail/Work");
    let [flagged, gone] = [0, 1].map(|place| files.get(place).expect("there are six").clone());
    let name = flagged.file_name().expect("a file").to_string_lossy().into_owned();
    let (base, _) = name.rsplit_once(":2,").expect("flags");
    fs::rename(&flagged, work.join(format!("cur/{base}:2,FRS"))).expect("a flag can be set");
    fs::remove_file(gone).expect("a file can be removed");
    fs::write(work.join("new/1.local.host"), "Subject: from here\n\nwritten here\n")
        .expect("the folder is writable");
    copy.run();
    let server = copy.server();
    let messages = server.pointer("/Work/messages").and_then(Value::as_object);
    let messages = messages.expect("the mailbox is listed");
    assert_eq!(messages.len(), 6, "one went, one came: {server:#}");
    let all = json!(["\\Answered", "\\Flagged", "\\Seen"]);
    let found = messages.values().filter(|message| message.get("flags") == Some(&all));
    assert_eq!(found.count(), 1, "{server:#}");

    // Down again: what another session does.
    let mut other = Client::connect(house.port("Imap")).expect("a session");
    other.login(&ann).expect("a login");
    for command in ["SELECT Work/2026", "STORE 1 +FLAGS (\\Draft)", "MOVE 3 Work"] {
        other.ok(command).expect("done");
    }
    copy.run();
    let below = copy.files("Work.2026");
    assert_eq!((below.len(), copy.files("Work").len()), (2, 7));
    assert_eq!(below.iter().filter(|file| flags(file).contains('D')).count(), 1, "{below:?}");
    figure("offlineimap: new mail, flags, deletions and moves of both sides are on both sides");
}
