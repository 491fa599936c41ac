//! Shared and public mailboxes and quota from outside: what one gives, the other has, at once; what
//! does not fit is not taken, and said so at every door.

use grace_tests::house::{Account, House};
use grace_tests::log::{Mark, number, text};
use grace_tests::program;
use grace_tests::wire::Wire;
use serde_json::json;

/// A client that is logged in.
fn client(house: &House, account: &Account) -> Wire {
    let mut wire = Wire::connect(house.port("Imap"));
    let password = account.password.replace('\\', "\\\\").replace('"', "\\\"");
    let login = format!("C: in LOGIN {} \"{}\"", account.address, escaped(&password));
    wire.check(&format!("S: * OK *\n{login}\nS: in OK *"));
    wire
}

/// A text as it is written in a script.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
}

/// Says a command and returns all lines of its answer.
fn ask(wire: &mut Wire, command: &str) -> Vec<String> {
    wire.send(format!("t {command}\r\n").as_bytes());
    let mut lines = Vec::new();
    loop {
        let line = wire.line();
        assert!(!line.is_empty(), "{command}: the connection ended: {lines:?}");
        let is_last = line.starts_with("t ");
        lines.push(line);
        if is_last {
            return lines;
        }
    }
}

/// The last line of the answer.
fn last(wire: &mut Wire, command: &str) -> String {
    ask(wire, command).pop().unwrap_or_default()
}

fn ok(wire: &mut Wire, command: &str) -> Vec<String> {
    let lines = ask(wire, command);
    assert!(lines.last().is_some_and(|line| line.starts_with("t OK")), "{command}: {lines:?}");
    lines
}

/// Says a command, which is refused with this code.
fn no(wire: &mut Wire, command: &str, code: &str) {
    let line = last(wire, command);
    assert!(line.starts_with(&format!("t NO [{code}]")), "{command}: {line}");
}

/// Puts a message of so many bytes into a mailbox; returns the answer.
fn append(wire: &mut Wire, mailbox: &str, flags: &str, size: usize) -> String {
    last(wire, &format!("APPEND {mailbox} ({flags}) {}", message(size)))
}

/// A message of so many bytes, as a literal.
fn message(size: usize) -> String {
    let head = "Subject: x\r\n\r\n";
    format!("{{{size}+}}\r\n{head}{}", "x".repeat(size - head.len()))
}

fn uid_validity(wire: &mut Wire, mailbox: &str) -> String {
    let status = format!("STATUS {mailbox} (UIDVALIDITY)");
    ok(wire, &status).first().cloned().unwrap_or_default()
}

const SHARED: &str = "\"Other Users/ann@grace.test/INBOX\"";

#[test]
fn what_one_shares_the_other_has_at_once() {
    let mut house = House::start();
    let (ann, bob) = (house.account("ann"), house.account("bob"));
    Wire::deliver(&house, &ann, "first");
    let (mut owner, mut reader) = (client(&house, &ann), client(&house, &bob));
    let validity = uid_validity(&mut owner, "INBOX");
    // What one may not know of is no other than what there is not.
    let hidden = ask(&mut reader, &format!("SELECT {SHARED}"));
    let missing = ask(&mut reader, "SELECT \"Other Users/ghost@grace.test/INBOX\"");
    assert_eq!(hidden, missing);
    assert!(!ok(&mut reader, "LIST \"\" *").iter().any(|line| line.contains("Other Users")));
    ok(&mut owner, "SETACL INBOX bob@grace.test lrswit");
    let listed = ok(&mut reader, "LIST \"\" \"Other Users/*\" RETURN (MYRIGHTS)");
    let above = "* LIST (\\NonExistent \\HasChildren) \"/\" \"Other Users/ann@grace.test\"";
    assert_eq!(listed.first().map(String::as_str), Some(above));
    assert_eq!(listed.get(1).cloned(), Some(format!("* LIST (\\HasNoChildren) \"/\" {SHARED}")));
    assert_eq!(listed.get(2).cloned(), Some(format!("* MYRIGHTS {SHARED} lrswitd")));
    ok(&mut reader, &format!("SUBSCRIBE {SHARED}"));
    ok(&mut reader, &format!("SELECT {SHARED}"));
    ok(&mut owner, "SELECT INBOX");
    // The owner waits in IDLE; the other one flags, appends and delivers.
    owner.check("C: i IDLE\nS: + *");
    ok(&mut reader, "STORE 1 +FLAGS (\\Flagged)");
    owner.check("S: * 1 FETCH (UID 1 FLAGS (\\Flagged))");
    let added = append(&mut reader, SHARED, "\\Seen", 40);
    assert!(added.starts_with("t OK [APPENDUID"), "{added}");
    owner.check("S: * 2 EXISTS\nS: * * RECENT");
    owner.check("C: DONE\nS: i OK *");
    assert_eq!(uid_validity(&mut owner, "INBOX"), validity);
    // Without `e` nothing goes; marked it may be.
    ok(&mut reader, "STORE 2 +FLAGS (\\Deleted)");
    no(&mut reader, "EXPUNGE", "NOPERM");
    no(&mut reader, "MOVE 2 INBOX", "NOPERM");
    ok(&mut reader, "COPY 2 INBOX");
    // The right to read goes, and with it whoever reads.
    reader.check("C: i IDLE\nS: + *");
    ok(&mut owner, "SETACL INBOX bob@grace.test -r");
    reader.check("S: * BYE the selected mailbox is not there any more\n-- closed");
    let mut reader = client(&house, &bob);
    no(&mut reader, &format!("SELECT {SHARED}"), "NOPERM");
    ok(&mut owner, "DELETEACL INBOX bob@grace.test");
    assert_eq!(ask(&mut reader, &format!("SELECT {SHARED}")), hidden);
    ok(&mut owner, "SETACL INBOX anyone lr");
    // All of it is there after a restart.
    drop((owner, reader));
    house.stop();
    house.start_again();
    let (mut owner, mut reader) = (client(&house, &ann), client(&house, &bob));
    let selected = ok(&mut reader, &format!("SELECT {SHARED}"));
    assert!(selected.last().is_some_and(|line| line.starts_with("t OK [READ-ONLY]")));
    let listed = house.ctl_json(&["acl", "list", "ann@grace.test"]);
    let rows: Vec<_> = listed.as_array().into_iter().flatten().collect();
    let rights: Vec<&str> = rows.iter().map(|row| text(row, "rights")).collect();
    assert_eq!(rights, ["lrswipkxteacd", "lr"]);
    assert_eq!(uid_validity(&mut owner, "INBOX"), validity);
    house.ctl_ok(&["acl", "set", "ann@grace.test", "INBOX", "anyone", "none"]);
    assert_eq!(last(&mut reader, "NOOP"), "t OK NOOP done");
    reader.check("S: * BYE the selected mailbox is not there any more\n-- closed");
}

/// RFC 4314 4, row by row: a command works with its rights, and without one of them it does not.
#[test]
fn each_command_needs_its_rights() {
    const ABOVE: &str = "Other Users/ann@grace.test";
    let house = House::start();
    let (ann, bob) = (house.account("ann"), house.account("bob"));
    let (mut owner, mut other) = (client(&house, &ann), client(&house, &bob));
    // What is done (`#`: with the mailbox selected), and the rights it needs.
    let rows: &[(&str, &str)] = &[
        ("STATUS <box> (MESSAGES)", "r"),
        ("SELECT <box>", "r"),
        ("GETQUOTAROOT <box>", "r"),
        ("GETMETADATA <box> /shared/comment", "r"),
        ("SETMETADATA <box> (/private/comment \"x\")", "r"),
        ("SETMETADATA <box> (/shared/comment \"x\")", "rw"),
        ("GETACL <box>", "a"),
        ("LISTRIGHTS <box> anyone", "a"),
        ("SETACL <box> anyone l", "a"),
        ("DELETEACL <box> anyone", "a"),
        ("APPEND <box> {16+}\r\nSubject: x\r\n\r\nyy", "i"),
        ("CREATE <box>/below", "k"),
        ("DELETE <box>", "x"),
        ("RENAME <box> <other>", "x"),
        ("#STORE 1 +FLAGS (\\Seen)", "rs"),
        ("#STORE 1 +FLAGS (\\Deleted)", "rt"),
        ("#STORE 1 +FLAGS (\\Flagged)", "rw"),
        ("#STORE 1 -FLAGS ($Work)", "rw"),
        ("#EXPUNGE", "re"),
        ("#UID EXPUNGE 1", "re"),
        ("#MOVE 1 INBOX", "rte"),
    ];
    let mut walked = 0;
    for (command, needs) in rows {
        for missing in std::iter::once(None).chain(needs.chars().map(Some)) {
            if command.starts_with('#') && missing == Some('r') {
                continue;
            }
            ok(&mut owner, "CREATE Box");
            ok(&mut owner, "CREATE Other");
            append(&mut owner, "Box", "\\Deleted", 30);
            let has: String = needs.chars().filter(|right| Some(*right) != missing).collect();
            ok(&mut owner, &format!("SETACL Box bob@grace.test l{has}"));
            ok(&mut owner, "SETACL Other bob@grace.test lk");
            if command.starts_with('#') {
                ok(&mut other, &format!("SELECT \"{ABOVE}/Box\""));
            }
            // Names hold a space and need their quotes.
            let name = |rest: &str| format!("\"{ABOVE}/{rest}\"");
            let done = command
                .trim_start_matches('#')
                .replace("<box>/below", &name("Box/below"))
                .replace("<other>", &name("Other/Box"))
                .replace("<box>", &name("Box"));
            match missing {
                None => drop(ok(&mut other, &done)),
                Some(_) => no(&mut other, &done, "NOPERM"),
            }
            ask(&mut other, "UNSELECT");
            for name in ["Box/below", "Box", "Other/Box", "Other"] {
                ask(&mut owner, &format!("DELETE {name}"));
            }
            walked += 1;
        }
    }
    assert!(walked > 40, "{walked}");
}

#[test]
fn a_group_has_rights_and_sessions_hear_who_is_in_it() {
    let house = House::start();
    let (ann, bob) = (house.account("ann"), house.account("bob"));
    house.ctl_ok(&["alias", "set", "staff@grace.test", &bob.address]);
    let (mut owner, mut reader) = (client(&house, &ann), client(&house, &bob));
    ok(&mut owner, "CREATE Plans");
    no(&mut owner, "SETACL Plans $ghosts@grace.test lr", "CANNOT");
    ok(&mut owner, "SETACL Plans $staff@grace.test lrs");
    let acl = ok(&mut owner, "GETACL Plans");
    let line = "* ACL Plans \"ann@grace.test\" lrswipkxteacd \"$staff@grace.test\" lrs";
    assert_eq!(acl.first().map(String::as_str), Some(line));
    let plans = "\"Other Users/ann@grace.test/Plans\"";
    let mine = ok(&mut reader, &format!("MYRIGHTS {plans}"));
    assert_eq!(mine.first(), Some(&format!("* MYRIGHTS {plans} lrs")));
    ok(&mut reader, &format!("SELECT {plans}"));
    reader.check("C: i IDLE\nS: + *");
    assert!(append(&mut owner, "Plans", "", 50).starts_with("t OK"));
    // He is told of messages until he is in the group no more.
    reader.check("S: * 1 EXISTS\nS: * * RECENT");
    house.ctl_ok(&["alias", "set", "staff@grace.test", &ann.address]);
    reader.check("S: * BYE the selected mailbox is not there any more\n-- closed");
    let listed = house.ctl_json(&["acl", "list", &ann.address, "Plans"]);
    let rows = listed.as_array().into_iter().flatten();
    let who: Vec<&str> = rows.map(|row| text(row, "who")).collect();
    assert_eq!(who, [ann.address.as_str(), "$staff@grace.test"]);
    house.ctl_ok(&["acl", "set", &ann.address, "Plans", "-$staff@grace.test", "s"]);
}

/// A message to two people that does not say how large it is.
fn both(house: &House, ann_is: &str, ends: &str) {
    let long = format!("C: {}\n", "x".repeat(70)).repeat(30);
    Wire::connect(house.port("Smtp")).check(&format!(
        "S: 220 *
         C: EHLO client.example.org
         S: 250 *
         C: MAIL FROM:<sender@example.org>
         S: 250 *
         C: RCPT TO:<ann@grace.test>
         S: {ann_is}
         C: RCPT TO:<bob@grace.test>
         S: 250 *
         C: DATA
         S: 354 *
         C: Subject: long
         C:
         {long}C: .
         S: {ends}"
    ));
}

#[test]
fn who_is_full_does_not_keep_a_message_from_others() {
    let house = House::start_with("[quota]\naccount_bytes = 1024\n");
    let (ann, bob) = (house.account("ann"), house.account("bob"));
    house.ctl_ok(&["quota", "set", &bob.address, "--bytes", "none"]);
    // Nobody is given more than he may keep; the sender comes again, and the others get it.
    both(&house, "250 *", "452 4.2.2 *");
    assert_eq!((house.messages(&ann), house.messages(&bob)), (0, 0));
    both(&house, "452 4.2.2 *", "250 *");
    assert_eq!((house.messages(&ann), house.messages(&bob)), (0, 1));
    both(&house, "250 *", "452 4.2.2 *");
    // What holds by default is told as such.
    let shown = house.ctl_ok(&["quota", "show", &ann.address]);
    assert!(shown.contains("1.0 KiB (default)"), "{shown}");
    let rows = house.ctl_json(&["quota", "show", &bob.address]);
    assert_eq!((number(&rows[0], "bytes_max"), &rows[0]["bytes_default"]), (0, &json!(false)));
    let mut wire = client(&house, &ann);
    let quota = ok(&mut wire, "GETQUOTA ann@grace.test");
    let line = "* QUOTA \"ann@grace.test\" (STORAGE 0 1)";
    assert_eq!(quota.first().map(String::as_str), Some(line));
    house.ctl_ok(&["quota", "set", &ann.address, "--bytes", "10K"]);
    both(&house, "452 4.2.2 *", "250 *");
    both(&house, "250 *", "250 *");
}

#[test]
fn a_public_mailbox_is_for_its_domain() {
    let house = House::start();
    let (ann, bob) = (house.account("ann"), house.account("bob"));
    house.ctl_ok(&["domain", "create", "other.test"]);
    let eve = house.account_of("eve@other.test", "secret of eve");
    house.ctl_ok(&["public", "create", "grace.test", "News"]);
    house.ctl_ok(&["acl", "set", "@grace.test", "News", &ann.address, "lrswitek"]);
    let (mut ann, mut bob) = (client(&house, &ann), client(&house, &bob));
    assert!(append(&mut ann, "Public/News", "", 50).starts_with("t OK"));
    let news = ok(&mut bob, "LIST \"\" Public/*");
    let line = "* LIST (\\HasNoChildren) \"/\" Public/News";
    assert_eq!(news.first().map(String::as_str), Some(line));
    ok(&mut bob, "SELECT Public/News");
    bob.check("C: i IDLE\nS: + *");
    assert!(append(&mut ann, "Public/News", "", 60).starts_with("t OK"));
    bob.check("S: * 2 EXISTS\nS: * * RECENT");
    bob.check("C: DONE\nS: i OK *");
    assert!(append(&mut bob, "Public/News", "", 50).starts_with("t NO [NOPERM]"));
    ok(&mut ann, "CREATE Public/News/2026");
    no(&mut ann, "CREATE Public/Top", "NOPERM");
    no(&mut bob, "CREATE Public/News/2027", "NOPERM");
    ok(&mut bob, "STATUS Public/News/2026 (MESSAGES)");
    let mut eve = client(&house, &eve);
    no(&mut eve, "SELECT Public/News", "NONEXISTENT");
    assert_eq!(ok(&mut eve, "LIST \"\" Public/*").len(), 1);
    house.ctl_ok(&["public", "rename", "grace.test", "News", "Old"]);
    ok(&mut bob, "STATUS Public/Old/2026 (MESSAGES)");
    let listed = house.ctl_json(&["public", "list", "grace.test"]);
    let rows: Vec<_> = listed.as_array().into_iter().flatten().collect();
    let sizes: Vec<u64> = rows.iter().map(|row| number(row, "stored_bytes")).collect();
    assert_eq!(sizes, [110, 0]);
    let refused = house.ctl(&["public", "create", "grace.test", "Old"]);
    assert!(program::both(&refused).contains("exists already"), "{refused:?}");
    house.ctl_ok(&["public", "delete", "grace.test", "Old/2026"]);
}

/// One recipient of a message of so many bytes, offered by another server.
fn rcpt(house: &House, to: &str, size: &str, answer: &str) {
    Wire::connect(house.port("Smtp")).check(&format!(
        "S: 220 *
         C: EHLO client.example.org
         S: 250 *
         C: MAIL FROM:<sender@example.org>{size}
         S: 250 *
         C: RCPT TO:<{to}@grace.test>
         S: {answer}
         C: QUIT
         S: 221 *"
    ));
}

#[test]
fn who_is_full_takes_nothing_more_until_there_is_room() {
    let mut house = House::start();
    let (ann, bob) = (house.account("ann"), house.account("bob"));
    house.ctl_ok(&["quota", "set", &ann.address, "--bytes", "10K", "--messages", "100"]);
    let mut wire = client(&house, &ann);
    assert!(append(&mut wire, "INBOX", "", 9_000).starts_with("t OK"));
    house.log().wait(Mark::START, "QuotaReached", |event| number(event, "percent") == 80);
    let roots = ok(&mut wire, "GETQUOTAROOT INBOX");
    assert_eq!(roots.first().map(String::as_str), Some("* QUOTAROOT INBOX \"ann@grace.test\""));
    let quota = "* QUOTA \"ann@grace.test\" (STORAGE 9 10 MESSAGE 1 100)";
    assert_eq!(roots.get(1).map(String::as_str), Some(quota));
    assert_eq!(ok(&mut wire, "GETQUOTA ann@grace.test").first().map(String::as_str), Some(quota));
    no(&mut wire, "SETQUOTA ann@grace.test (STORAGE 1000)", "NOPERM");
    // What is left does not do for these.
    assert!(append(&mut wire, "INBOX", "", 2_000).starts_with("t NO [OVERQUOTA]"));
    // Of several the first that does not fit ends it: the next is not let in.
    wire.check(&format!(
        "C: m APPEND INBOX {{2000}}
         S: + *
         c: Subject: x\\r\\n\\r\\n{}
         C:  {{2000}}
         S: m NO [OVERQUOTA] *",
        "x".repeat(1_986)
    ));
    ok(&mut wire, "SELECT INBOX");
    no(&mut wire, "COPY 1 Archive", "OVERQUOTA");
    // It does for one that another makes way for, also where not one more may be.
    house.ctl_ok(&["quota", "set", &ann.address, "--bytes", "10K", "--messages", "1"]);
    assert!(append(&mut wire, "INBOX", "", 50).starts_with("t NO [OVERQUOTA]"));
    ok(&mut wire, &format!("REPLACE 1 INBOX {}", message(9_100)));
    no(&mut wire, &format!("REPLACE 1 INBOX {}", message(10_300)), "OVERQUOTA");
    ok(&mut wire, &format!("REPLACE 1 INBOX {}", message(9_000)));
    house.ctl_ok(&["quota", "set", &ann.address, "--bytes", "10K", "--messages", "100"]);
    rcpt(&house, "ann", " SIZE=2000", "452 4.2.2 *");
    rcpt(&house, "ann", " SIZE=500", "250 *");
    // Of two recipients the one who has room gets it.
    Wire::connect(house.port("Smtp")).check(
        "S: 220 *
         C: EHLO client.example.org
         S: 250 *
         C: MAIL FROM:<sender@example.org> SIZE=2000
         S: 250 *
         C: RCPT TO:<ann@grace.test>
         S: 452 4.2.2 *
         C: RCPT TO:<bob@grace.test>
         S: 250 *
         C: DATA
         S: 354 *
         C: Subject: both
         C:
         C: .
         S: 250 *",
    );
    assert_eq!(house.messages(&bob), 1);
    // Without a size the message itself is looked at, when it is here.
    let long = format!("C: {}\n", "x".repeat(70)).repeat(30);
    Wire::connect(house.port("Smtp")).check(&format!(
        "S: 220 *
         C: EHLO client.example.org
         S: 250 *
         C: MAIL FROM:<sender@example.org>
         S: 250 *
         C: RCPT TO:<ann@grace.test>
         S: 250 *
         C: DATA
         S: 354 *
         C: Subject: long
         C:
         {long}C: .
         S: 452 4.2.2 *"
    ));
    ok(&mut wire, "MOVE 1 Trash");
    drop(wire);
    house.stop();
    house.start_again();
    rcpt(&house, "ann", " SIZE=2000", "452 4.2.2 *");
    let mut wire = client(&house, &ann);
    ok(&mut wire, "SELECT Trash");
    ok(&mut wire, "STORE 1 +FLAGS (\\Deleted)");
    let status = ok(&mut wire, "STATUS Trash (DELETED DELETED-STORAGE)");
    let told = "* STATUS Trash (DELETED 1 DELETED-STORAGE 9000)";
    assert_eq!(status.first().map(String::as_str), Some(told));
    ok(&mut wire, "EXPUNGE");
    rcpt(&house, "ann", " SIZE=2000", "250 *");
    assert!(append(&mut wire, "INBOX", "", 9_000).starts_with("t OK"));
    // The domain as a whole has a limit, too.
    house.ctl_ok(&["quota", "set", "@grace.test", "--messages", "2"]);
    rcpt(&house, "bob", "", "452 4.2.2 *");
    let shown = house.ctl_json(&["quota", "show", "@grace.test"]);
    let row = shown.as_array().and_then(|rows| rows.first()).expect("a row");
    assert_eq!((number(row, "messages"), number(row, "messages_max")), (2, 2));
    house.ctl_ok(&["quota", "set", "@grace.test", "--messages", "none"]);
    rcpt(&house, "bob", "", "250 *");
    let refused = house.ctl(&["quota", "set", "ghost@grace.test", "--bytes", "1G"]);
    assert!(program::both(&refused).contains("there is no account ghost"), "{refused:?}");
}

#[test]
fn a_full_account_can_be_told_for_good() {
    let house = House::start_with("[door]\nmailbox_full = \"refuse\"\n");
    let ann = house.account("ann");
    house.ctl_ok(&["quota", "set", &ann.address, "--bytes", "1K"]);
    rcpt(&house, "ann", " SIZE=2000", "552 5.2.2 *");
    rcpt(&house, "ann", " SIZE=1000", "250 *");
}
