//! mbsync keeps a Maildir and the server alike: down, again without a change, up, and over a
//! rename.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use grace_tests::house::{Account, House};
use grace_tests::imap::client::Client;
use grace_tests::{corpus, figure, log, program, script, seed};
use serde_json::{Value, json};

/// Messages in the INBOX that is synced. `GRACE_MBSYNC` says how many else.
const MESSAGES: u64 = 10_000;

fn messages() -> usize {
    usize::try_from(seed::times("GRACE_MBSYNC", MESSAGES)).unwrap_or_default()
}

/// One account's Maildir, and mbsync's configuration for it.
struct Copy<'a> {
    house: &'a House,
    account: &'a Account,
    folder: PathBuf,
}

impl<'a> Copy<'a> {
    fn new(house: &'a House, account: &'a Account) -> Self {
        let folder = house.folder().join("copy");
        fs::create_dir_all(folder.join("mail")).expect("the folder is writable");
        Self { house, account, folder }
    }

    fn run(&self) -> String {
        let (folder, port) = (self.folder.display(), self.house.port("Imaps"));
        let certificate = self.house.certificate();
        let password = self.account.password.replace('\\', "\\\\").replace('"', "\\\"");
        let text = format!(
            "IMAPAccount grace\nHost 127.0.0.1\nPort {port}\nUser {}\nPass \"{password}\"\n\
             SSLType IMAPS\nCertificateFile {}\n\n\
             IMAPStore far\nAccount grace\n\n\
             MaildirStore near\nPath {folder}/mail/\nInbox {folder}/mail/INBOX\n\
             SubFolders Verbatim\n\n\
             Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\n\
             Remove Both\nSyncState *\n",
            self.account.address,
            certificate.display()
        );
        let file = self.folder.join("mbsyncrc");
        fs::write(&file, text).expect("the folder is writable");
        program::run_ok(Command::new("mbsync").arg("-c").arg(&file).arg("--all").arg("-V"))
    }

    /// The mail files, by path; mbsync's own state aside.
    fn files(&self) -> Vec<PathBuf> {
        let is_mail = |file: &PathBuf| {
            let folder = file.parent().and_then(Path::file_name).unwrap_or_default();
            folder == "cur" || folder == "new"
        };
        let mut files = corpus::files(&self.folder.join("mail"));
        files.retain(is_mail);
        files
    }

    /// The server's side: every mailbox with its UIDs, flags and digests.
    fn server(&self) -> Value {
        script::run("state", &script::about(self.house, &[self.account]))
    }
}

#[test]
fn a_maildir_is_kept_alike() {
    let house = House::start();
    let ann = house.account("ann");
    let mut arguments = script::about(&house, &[&ann]);
    arguments["messages"] = json!(messages());
    arguments["connections"] = json!(10);
    arguments["seed"] = json!(1);
    let sent = script::run("thousand", &arguments);
    assert_eq!(sent["problems"], json!([]), "{sent:#}");
    arguments["make"] = json!({"Work": 5, "Work/2026": 3, "Grüße & more": 2});
    let before = script::run("state", &arguments);
    let copy = Copy::new(&house, &ann);

    // Down: every message of every mailbox.
    copy.run();
    let files = copy.files();
    assert_eq!(files.len(), messages() + 10, "all mailboxes are there");
    let inbox = files.iter().filter(|file| file.components().any(|c| c.as_os_str() == "INBOX"));
    assert_eq!(inbox.count(), messages());

    // Again: nothing moves, here or there.
    let mark = house.log().mark();
    let said = copy.run();
    assert_eq!(copy.files(), files, "{said}");
    for change in ["MessageAppended", "MessagesExpunged", "MailboxChanged"] {
        let events = house.log().events(mark, change);
        assert!(events.is_empty(), "a second run changes nothing: {events:?}");
    }
    assert_eq!(copy.server(), before, "a first and a second run change nothing on the server");

    goes_up(&house, &copy);
    comes_down(&house, &copy);
    is_renamed(&house, &copy);
    figure(&format!(
        "mbsync: {} messages in 9 mailboxes down, a second run changes nothing, changes go up",
        messages() + 10
    ));
}

/// A flag set here, a message written here, a message deleted here.
fn goes_up(house: &House, copy: &Copy<'_>) {
    let inbox = copy.folder.join("mail/INBOX");
    let read = copy.files().into_iter().find(|f| f.starts_with(&inbox)).expect("there is mail");
    let name = read.file_name().expect("a file").to_string_lossy().into_owned();
    let base = name.split(":2,").next().unwrap_or_default();
    fs::rename(&read, inbox.join("cur").join(format!("{base}:2,FS"))).expect("a flag can be set");
    let gone = copy.files().into_iter().rfind(|f| f.starts_with(&inbox)).expect("there is mail");
    fs::remove_file(&gone).expect("a file can be removed");
    fs::write(inbox.join("new/1.local.host"), "Subject: from here\n\nwritten here\n")
        .expect("the folder is writable");
    let mark = house.log().mark();

    copy.run();

    let appended = house.log().wait(mark, "MessageAppended", |_| true);
    assert_eq!(log::text(&appended, "mailbox"), "INBOX");
    let server = copy.server();
    let inbox = server.pointer("/INBOX/messages").and_then(Value::as_object);
    let inbox = inbox.expect("the inbox is listed");
    assert_eq!(inbox.len(), messages(), "one went, one came");
    let flagged =
        inbox.values().filter(|m| m.get("flags") == Some(&json!(["\\Flagged", "\\Seen"])));
    assert_eq!(flagged.count(), 1, "{server:#}");
    let said = copy.run();
    assert_eq!(copy.server(), server, "and then it is quiet: {said}");
}

/// Flags set and taken at the server, and messages that another session moves there.
fn comes_down(house: &House, copy: &Copy<'_>) {
    let mut other = Client::connect(house.port("Imap")).expect("a session");
    other.login(copy.account).expect("a login");
    let commands = [
        "SELECT Work",
        "STORE 1 +FLAGS (\\Answered)",
        "STORE 2 -FLAGS (\\Seen)",
        "MOVE 4:5 Work/2026",
    ];
    for command in commands {
        other.ok(command).expect("done");
    }
    copy.run();
    let flags = |name: &str| {
        let folder = copy.folder.join("mail").join(name);
        let mut files = copy.files();
        files.retain(|file| file.ancestors().nth(2) == Some(&folder));
        let flags = |file: &PathBuf| {
            let name = file.file_name().expect("a file").to_string_lossy().into_owned();
            name.split_once(":2,").map(|(_, flags)| flags.to_owned()).unwrap_or_default()
        };
        let mut flags: Vec<String> = files.iter().map(flags).collect();
        flags.sort();
        flags
    };
    // Of five, the second and the fourth were seen.
    assert_eq!(flags("Work"), ["", "", "R"]);
    assert_eq!(flags("Work/2026"), ["", "", "", "S", "S"]);
}

/// A mailbox renamed at the server is here under its new name, whole.
fn is_renamed(house: &House, copy: &Copy<'_>) {
    let arguments = script::with(
        script::about(house, &[copy.account]),
        &json!({"rename": {"Work": "Projects"}}),
    );
    let server = script::run("state", &arguments);
    assert!(server.get("Projects/2026").is_some(), "what is below moves too: {server:#}");
    copy.run();
    let below = |name: &str| {
        let folder = copy.folder.join("mail").join(name);
        copy.files().iter().filter(|file| file.starts_with(&folder)).count()
    };
    assert_eq!(below("Projects"), 8);
}
