//! NOTIFY, URLAUTH, conversations and logins by certificate over a real daemon: what its machines
//! cannot show on their own, for it takes the database's watches, its keys, its rows, and TLS.

use std::fs;
use std::path::Path;
use std::process::Command;

use grace_tests::house::{Account, Folder, House};
use grace_tests::wire::Wire;
use grace_tests::{program, script};
use serde_json::{Value, json};

/// A session of somebody, with INBOX selected.
fn reader(house: &House, account: &Account) -> Wire {
    let mut wire = Wire::connect(house.port("Imap"));
    let quoted = account.password.replace('\\', "\\\\").replace('"', "\\\"");
    wire.check("S: * OK *");
    wire.send(format!("a LOGIN {} \"{quoted}\"\r\n", account.address).as_bytes());
    wire.check("S: a OK *\n C: b SELECT INBOX");
    while !wire.line().starts_with("b OK") {}
    wire
}

/// Puts a small letter into a mailbox.
fn append(wire: &mut Wire, mailbox: &str) {
    let letter = "c: Subject: x\\r\\n\\r\\nhello\\r\\n\\r\\n";
    wire.check(&format!("C: p APPEND {mailbox} {{21}}\n S: + *\n {letter}"));
    while !wire.line().starts_with("p OK") {}
}

#[test]
fn what_happens_elsewhere_is_told_between_commands() {
    let house = House::start_with("[limits]\nimap_notify_mailboxes_max = 10\n");
    let ann = house.account("ann");
    let (mut told, mut doing) = (reader(&house, &ann), reader(&house, &ann));
    told.check(
        "C: n NOTIFY SET (selected (MessageNew (uid) MessageExpunge)) (personal (MessageNew \
MessageExpunge MailboxName SubscriptionChange MailboxMetadataChange))
         S: n OK NOTIFY done",
    );
    append(&mut doing, "INBOX");
    told.check("S: * 1 EXISTS\n S: * 1 RECENT\n S: * 1 FETCH (UID 1)");
    append(&mut doing, "Sent");
    told.check("S: * STATUS Sent (UIDVALIDITY * UIDNEXT 2 MESSAGES 1)");
    doing.check("C: d CREATE Lists\n S: d OK *");
    told.check("S: * LIST (\\HasNoChildren) \"/\" Lists\n S: * STATUS Lists (* MESSAGES 0)");
    // A mailbox that was made since is told of, too.
    append(&mut doing, "Lists");
    told.check("S: * STATUS Lists (* MESSAGES 1)");
    doing.check("C: e RENAME Lists Rust\n S: e OK *");
    told.check("S: * LIST (\\HasNoChildren) \"/\" Rust (\"OLDNAME\" (Lists))");
    doing.check("C: f SUBSCRIBE Rust\n S: f OK *");
    told.check("S: * LIST (\\Subscribed \\HasNoChildren) \"/\" Rust");
    doing.check("C: g SETMETADATA Rust (/private/comment \"x\")\n S: g OK *");
    told.check("S: * METADATA Rust /private/comment");
    doing.check("C: h STORE 1 +FLAGS.SILENT (\\\\Deleted)\n S: h OK *\n C: i EXPUNGE");
    while !doing.line().starts_with("i OK") {}
    told.check("S: * 1 EXPUNGE\n S: * 0 RECENT");
    // As many mailboxes as may be watched, and more.
    for number in 0..10 {
        doing.check(&format!("C: m CREATE More{number}\n S: m OK *"));
    }
    while !told.line().starts_with("* OK [NOTIFICATIONOVERFLOW]") {}
    told.check("C: z NOOP\n S: z OK *");
}

/// RFC 5465 5.4 and 5.9: rights that are given and taken are mailboxes that come and go.
#[test]
fn what_happens_in_the_mailboxes_of_others_is_told() {
    let house = House::start();
    let (ann, bob) = (house.account("ann"), house.account("bob"));
    let (mut told, mut owner) = (reader(&house, &ann), reader(&house, &bob));
    told.check(
        "C: n NOTIFY SET (subtree \"Other Users\" (MessageNew MessageExpunge MailboxName))
         S: n OK NOTIFY done",
    );
    let mut does = |command: &str| {
        owner.check(&format!("C: o {command}"));
        while !owner.line().starts_with("o OK") {}
    };
    let list = |attributes: &str, name: &str| {
        format!("S: * LIST ({attributes}) \"/\" \"Other Users/bob@grace.test{name}\"\n ")
    };
    let ours = "S: * STATUS \"Other Users/bob@grace.test/Ours\" (UIDVALIDITY *";
    does("CREATE Ours");
    does("SETACL Ours ann@grace.test l");
    let above = list("\\NonExistent \\HasChildren", "");
    told.check(&format!("{}{above}", list("\\NoAccess \\HasNoChildren", "/Ours")));
    does("SETACL Ours ann@grace.test +r");
    told.check(&format!("{}{ours} MESSAGES 0)", list("\\HasNoChildren", "/Ours")));
    does("APPEND Ours {6+}\\r\\na: b\\r\\n");
    told.check(&format!("{ours} UIDNEXT 2 MESSAGES 1)"));
    does("RENAME Ours Theirs");
    told.check(
        "S: * LIST (\\HasNoChildren) \"/\" \"Other Users/bob@grace.test/Theirs\" \
         (\"OLDNAME\" (\"Other Users/bob@grace.test/Ours\"))",
    );
    does("SETACL Theirs ann@grace.test -r");
    told.check(&list("\\NoAccess \\HasNoChildren", "/Theirs"));
    does("DELETEACL Theirs ann@grace.test");
    let gone = list("\\NonExistent", "/Theirs");
    told.check(&format!("{gone}{}", list("\\NonExistent", "")));
    told.check("C: z NOOP\n S: z OK *");
}

#[test]
fn a_signed_url_is_read_by_whom_it_is_for() {
    let house = House::start();
    let (ann, bob, eve) = (house.account("ann"), house.account("bob"), house.account("eve"));
    let (mut owner, mut friend, mut other) =
        (reader(&house, &ann), reader(&house, &bob), reader(&house, &eve));
    append(&mut owner, "INBOX");
    let place = "imap://ann%40grace.test@mail.grace.test/INBOX/;uid=1/;section=TEXT";
    let signed = |wire: &mut Wire, reader: &str| {
        wire.check(&format!("C: s GENURLAUTH \"{place};urlauth={reader}\" INTERNAL"));
        loop {
            let line = wire.line();
            if let Some(url) = line.strip_prefix("* GENURLAUTH ") {
                wire.check("S: s OK *");
                return url.trim_matches('"').to_owned();
            }
        }
    };
    let for_bob = signed(&mut owner, "user+bob%40grace.test");
    let fetch = |wire: &mut Wire, url: &str, answer: &str| {
        wire.check(&format!("C: u URLFETCH \"{url}\"\n S: * URLFETCH \"{url}\" {answer}"));
        if answer != "NIL" {
            wire.check("S: hello\n S: ");
        }
        wire.check("S: u OK *");
    };
    fetch(&mut friend, &for_bob, "{7}");
    fetch(&mut other, &for_bob, "NIL");
    let for_all = signed(&mut owner, "authuser");
    fetch(&mut other, &for_all, "{7}");
    let mut forged = for_all.clone();
    let last = forged.pop();
    forged.push(if last == Some('0') { '1' } else { '0' });
    fetch(&mut other, &forged, "NIL");
    // Nobody signs for somebody else.
    friend.check(&format!(
        "C: s GENURLAUTH \"{place};urlauth=anonymous\" INTERNAL\n S: s BAD [BADURL *"
    ));
    let nowhere = place.replace("INBOX", "Nowhere");
    owner.check(&format!(
        "C: s GENURLAUTH \"{nowhere};urlauth=anonymous\" INTERNAL\n S: s BAD [BADURL *"
    ));
    // And what was signed is good no more; who has the mailbox open elsewhere hears of it.
    let mut elsewhere = reader(&house, &ann);
    elsewhere.check("C: i IDLE\n S: + *");
    owner.check("C: r RESETKEY INBOX");
    while !owner.line().starts_with("r OK [URLMECH INTERNAL]") {}
    elsewhere.check("S: * OK [URLMECH INTERNAL] *");
    fetch(&mut friend, &for_bob, "NIL");
}

/// Delivers a letter with these fields, one a line, by SMTP.
fn deliver(house: &House, to: &Account, fields: &str) {
    // A subject may be the first of many lines.
    let fields = fields.lines().collect::<Vec<_>>().join("\n C: ");
    Wire::deliver(house, to, &fields);
}

/// What a FETCH of one item answers for each message.
fn fetched(wire: &mut Wire, item: &str) -> Vec<String> {
    wire.check(&format!("C: f FETCH 1:* ({item})"));
    let mut all = Vec::new();
    loop {
        let line = wire.line();
        if line.starts_with("f OK") {
            return all;
        }
        let start = format!(" FETCH ({} ", item.split(' ').next().expect("a word"));
        if let Some((_, value)) = line.split_once(&start) {
            all.push(value.trim_end_matches(')').trim_start_matches('(').to_owned());
        }
    }
}

#[test]
fn a_conversation_has_one_id_and_letters_their_previews_over_a_restart() {
    let mut house = House::start();
    let (ann, bob) = (house.account("ann"), house.account("bob"));
    // The answer comes before what it answers.
    for account in [&ann, &bob] {
        deliver(&house, account, "Re: lunch\nMessage-ID: <b@x>\nReferences: <a@x>");
        deliver(&house, account, "lunch\nMessage-ID: <a@x>");
        deliver(&house, account, "dinner\nMessage-ID: <c@x>\nReferences: <a@x>");
        deliver(&house, account, "RE: [all] lunch\nMessage-ID: <d@x>\nIn-Reply-To: <b@x>");
    }
    let mut wire = reader(&house, &ann);
    let told = fetched(&mut wire, "THREADID");
    let alike = |told: &[String]| {
        told.len() == 4 && told[0] == told[1] && told[1] == told[3] && told[0] != told[2]
    };
    assert!(alike(&told), "{told:?}");
    assert!(told.iter().all(|id| id.starts_with('T')), "{told:?}");
    let theirs = fetched(&mut reader(&house, &bob), "THREADID");
    assert!(alike(&theirs) && theirs.iter().all(|id| !told.contains(id)), "{theirs:?}");
    wire.check(&format!("C: s SEARCH THREADID {}\n S: * SEARCH 1 2 4\n S: s OK *", told[0]));
    wire.check("C: c COPY 2:3 Archive\n S: c OK *\n C: m MOVE 1 Archive");
    while !wire.line().starts_with("m OK") {}
    append(&mut wire, "INBOX");
    let previews = fetched(&mut wire, "PREVIEW (LAZY)");
    assert_eq!(previews, ["\"\"", "\"\"", "\"\"", "\"hello\""]);
    house.kill();
    house.start_again();
    let mut wire = reader(&house, &ann);
    assert_eq!(fetched(&mut wire, "THREADID")[..3], told[1..]);
    assert_eq!(fetched(&mut wire, "PREVIEW (LAZY)"), previews);
    wire.check("C: e EXAMINE Archive");
    while !wire.line().starts_with("e OK") {}
    assert_eq!(fetched(&mut wire, "THREADID"), [1, 2, 0].map(|place: usize| told[place].clone()));
    // What answers the answer now is of the same conversation still.
    deliver(&house, &ann, "Re: lunch\nMessage-ID: <e@x>\nReferences: <a@x> <d@x>");
    let after = fetched(&mut reader(&house, &ann), "THREADID");
    assert_eq!(after.last(), Some(&told[0]), "{after:?}");
}

/// Makes an authority, a certificate for the server, and one of the authority for ann.
fn certificates(folder: &Path) {
    let run = |arguments: &[&str]| {
        program::run_ok(Command::new("openssl").current_dir(folder).args(arguments));
    };
    let new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let make = |more: &[&str]| run(&[&new[..], more].concat());
    make(&["-x509", "-days", "2", "-subj", "/CN=us", "-keyout", "ca.key", "-out", "ca.pem"]);
    let name = "subjectAltName=DNS:localhost";
    let server = ["-subj", "/CN=mail", "-addext", name, "-keyout", "key.pem", "-out", "own.pem"];
    make(&[&["-x509", "-days", "2"][..], &server].concat());
    make(&["-subj", "/CN=ann", "-keyout", "ann.key", "-out", "ann.csr"]);
    fs::write(folder.join("ann.ext"), "subjectAltName=email:ann@grace.test\n").expect("writable");
    let by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "ann.ext"];
    let sign = ["x509", "-req", "-in", "ann.csr", "-days", "2", "-out", "ann.pem"];
    run(&[&sign[..], &by].concat());
}

/// Logs in by EXTERNAL at both doors, with the certificate or without, and tells how it went.
const EXTERNAL: &str = "\
import base64, imaplib, json, smtplib, ssl, sys
folder, imaps, submissions, shown, wish = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
if shown == 'yes':
    context.load_cert_chain(folder + '/ann.pem', folder + '/ann.key')
reader = imaplib.IMAP4_SSL('127.0.0.1', int(imaps), ssl_context=context)
offered = 'AUTH=EXTERNAL' in reader.capabilities
def cancelled(way, *said):
    # Gives up after so many lines; imaplib sends '*' for None. Gives the challenges.
    challenges, lines = [], iter(said)
    try:
        reader.authenticate(way, lambda line: challenges.append(line) or next(lines, None))
    except imaplib.IMAP4.error:
        return challenges
assert len(cancelled('EXTERNAL')) == offered
_, first = cancelled('SCRAM-SHA-256', b'n,,n=ann,r=once')
assert first.startswith(b'r=once'), first
try:
    reader.authenticate('EXTERNAL', lambda challenge: wish.encode())
    imap = 'OK'
except imaplib.IMAP4.error as error:
    imap = 'NO'
sender = smtplib.SMTP_SSL('127.0.0.1', int(submissions), context=context)
sender.ehlo('client.example.org')
ways = sender.esmtp_features['auth'].split()
response = base64.b64encode(wish.encode()).decode() or '='
code, _ = sender.docmd('AUTH', 'EXTERNAL ' + response)
print(json.dumps([offered, imap, 'EXTERNAL' in ways, code]))
";

#[test]
fn a_certificate_logs_its_owner_in() {
    let folder = Folder::new();
    certificates(folder.path());
    let path = folder.path().display();
    let house = House::start_with(&format!(
        "[tls]\ncertificate = \"{path}/own.pem\"\nkey = \"{path}/key.pem\"\n\
         client_authorities = \"{path}/ca.pem\"\n\
         [limits]\nlogin_failure_delay_ms = 0\n"
    ));
    let (ann, _bob) = (house.account("ann"), house.account("bob"));
    let try_it = |shown: &str, wish: &str| -> Value {
        let folder = folder.path().display().to_string();
        let (imaps, submissions) = (house.port("Imaps"), house.port("Submissions"));
        let (imaps, submissions) = (imaps.to_string(), submissions.to_string());
        let arguments = ["-c", EXTERNAL, &folder, &imaps, &submissions, shown, wish];
        let said = program::run_ok(script::python().args(arguments));
        serde_json::from_str(&said).expect("JSON")
    };
    assert_eq!(try_it("yes", ""), json!([true, "OK", true, 235]));
    assert_eq!(try_it("yes", &ann.address), json!([true, "OK", true, 235]));
    assert_eq!(try_it("yes", "bob@grace.test"), json!([true, "NO", true, 535]));
    assert_eq!(try_it("no", ""), json!([false, "NO", false, 504]));
    // Passwords are as good as ever.
    assert!(house.lets_in(&ann.address, &ann.password));
    // The certificate is good, and its owner may not log in.
    house.ctl_ok(&["account", "set", &ann.address, "state", "no-login"]);
    assert_eq!(try_it("yes", ""), json!([true, "NO", true, 535]));
}
