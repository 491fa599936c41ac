//! Conversations with the machine: every command, its refusals, two clients side by side.

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use grace_imap::flags::Flags;
use support::{Client, NOW, Store, check_with, settings};

const FIRST: &[u8] = b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\n\
    From: Fred Foobar <foobar@Blurdybloop.example>\r\n\
    Subject: afternoon meeting\r\n\
    To: mooch@owatagu.siam.edu.example\r\n\
    Message-Id: <B27397-0100000@Blurdybloop.example>\r\n\
    \r\n\
    Hello Joe, do you think we can meet at 3:30 tomorrow?\r\n";

const SECOND: &[u8] = b"From: Ann <ann@example.org>\r\n\
    Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n\
    MIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=b\r\n\
    \r\n\
    --b\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    \r\n\
    See the picture.\r\n\
    --b\r\n\
    Content-Type: image/gif; name=\"a b.gif\"\r\n\
    Content-Transfer-Encoding: base64\r\n\
    Content-Disposition: attachment; filename=\"a b.gif\"\r\n\
    \r\n\
    R0lGAAE=\r\n\
    --b--\r\n";

fn store() -> Store {
    let mut store = Store::default();
    for name in ["INBOX", "Sent", "Lists", "Lists/rust", "Entwürfe"] {
        store.make(name);
    }
    store.subscriptions = vec!["INBOX".into(), "Lists/rust".into(), "Lost".into()];
    store.mailboxes.get_mut("Sent").expect("made").special_use =
        Some(grace_imap::command::SpecialUse::Sent);
    store.deliver("INBOX", FIRST, Flags::from_parts(1, []), NOW);
    store.deliver("INBOX", SECOND, Flags::from_parts(0, ["$Junk"]), NOW);
    store.deliver("INBOX", b"Subject: three\r\n\r\nbody three\r\n", Flags::none(), NOW);
    store
}

fn check(script: &str) {
    check_with(&settings(), store, script);
}

const GREETING: &str = "S: * OK [CAPABILITY IMAP4rev1 IMAP4rev2 …\nT: * OK …\n";

/// After the login, with nothing selected.
fn check_in(script: &str) {
    let login = "C: in LOGIN ann {13}\nS: + …\nC: secret \"word\"\nS: in OK …\n";
    check(&format!("{GREETING}{login}{script}"));
}

/// With INBOX selected.
fn check_selected(script: &str) {
    let select = "C: se SELECT INBOX\nS: * FLAGS …\nS: * OK [PERMANENTFLAGS …\nS: * 3 EXISTS\n\
                  S: * 0 RECENT\nS: * OK [UNSEEN 2] …\nS: * OK [UIDVALIDITY 1] …\n\
                  S: * OK [UIDNEXT 4] …\nS: * OK [HIGHESTMODSEQ 4] …\n\
                  S: * OK [MAILBOXID (F1)] …\n\
                  S: se OK [READ-WRITE] SELECT done\n";
    check_in(&format!("{select}{script}"));
}

/// With INBOX selected by two clients.
fn check_both(script: &str) {
    let second = "D: in LOGIN ann \"secret \\\"word\\\"\"\nT: in OK …\n\
                  D: se SELECT INBOX\nT: * FLAGS …\nT: * OK …\nT: * 3 EXISTS\nT: * 0 RECENT\n\
                  T: * OK …\nT: * OK …\nT: * OK …\nT: * OK …\nT: * OK …\n\
                  T: se OK [READ-WRITE] SELECT done\n";
    check_selected(&format!("{second}{script}"));
}

#[test]
fn before_the_login() {
    check(&format!(
        "{GREETING}
        C: a CAPABILITY
        S: * CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE STARTTLS AUTH=PLAIN \
            AUTH=LOGIN
        S: a OK CAPABILITY done
        C: b NOOP
        S: b OK NOOP done
        C: c ID (\"name\" \"test\" \"os\" NIL)
        S: * ID (\"name\" \"Grace\" \"version\" \"0\")
        S: c OK ID done
        C: d SELECT INBOX
        S: d BAD log in first
        C: e LOGIN ann wrong
        S: e NO [AUTHENTICATIONFAILED] the user name or password is wrong
        C: f AUTHENTICATE PLAIN
        S: + 
        C: *
        S: f BAD AUTHENTICATE was cancelled
        C: g AUTHENTICATE PLAIN AGFubgBzZWNyZXQgIndvcmQi
        S: g OK [CAPABILITY IMAP4rev1 …
        C: h LOGIN ann x
        S: h BAD you are logged in already
        C: i LOGOUT
        S: * BYE see you
        S: i OK LOGOUT done
        -- closed"
    ));
    check(&format!(
        "{GREETING}
        C: f AUTHENTICATE LOGIN
        S: + VXNlcm5hbWU6
        C: YW5u
        S: + UGFzc3dvcmQ6
        C: c2VjcmV0ICJ3b3JkIg==
        S: f OK [CAPABILITY …
        C: g AUTHENTICATE CRAM-MD5
        S: g BAD you are logged in already"
    ));
    check(&format!(
        "{GREETING}
        C: a AUTHENTICATE CRAM-MD5
        S: a NO [CANNOT] this mechanism is not offered
        C: b AUTHENTICATE PLAIN !!!
        S: b BAD expected base64 of UTF-8
        C: c AUTHENTICATE PLAIN AGFubg==
        S: c BAD expected a user name and a password after NULs"
    ));
}

/// The driver's own way, of two lines: "who" and "right".
#[test]
fn the_driver_may_know_more_ways_to_log_in() {
    let mut settings = settings();
    settings.sasl = vec!["X-TWO-LINES"];
    check_with(
        &settings,
        store,
        "S: * OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE STARTTLS \
            AUTH=X-TWO-LINES AUTH=PLAIN AUTH=LOGIN] mail.example.org Grace ready
        T: * OK …
        C: a AUTHENTICATE X-TWO-LINES
        S: + 
        C: d2hv
        S: + YW5k
        C: *
        S: a BAD AUTHENTICATE was cancelled
        C: b AUTHENTICATE x-two-lines d2hv
        S: + YW5k
        C: d3Jvbmc=
        S: b NO [AUTHENTICATIONFAILED] the user name or password is wrong
        C: c AUTHENTICATE X-TWO-LINES d2hv
        S: + YW5k
        C: cmlnaHQ=
        S: c OK [CAPABILITY IMAP4rev1 …
        C: d AUTHENTICATE X-TWO-LINES d2hv
        S: d BAD you are logged in already",
    );
    settings.plain_login = false;
    check_with(
        &settings,
        store,
        "S: * OK …
        T: * OK …
        C: a AUTHENTICATE X-TWO-LINES d2hv
        S: a NO [PRIVACYREQUIRED] begin TLS before you log in",
    );
}

#[test]
fn tls_comes_before_passwords() {
    let mut settings = settings();
    settings.plain_login = false;
    check_with(
        &settings,
        store,
        "S: * OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE STARTTLS \
            LOGINDISABLED] mail.example.org Grace ready
        T: * OK …
        C: a LOGIN ann x
        S: a NO [PRIVACYREQUIRED] begin TLS before you log in
        C: b AUTHENTICATE PLAIN AGFubgBzZWNyZXQgIndvcmQi
        S: b NO [PRIVACYREQUIRED] begin TLS before you log in
        C: c STARTTLS
        S: c OK begin TLS now
        -- tls
        C: d STARTTLS
        S: d BAD TLS is up already
        C: e AUTHENTICATE PLAIN AGFubgBzZWNyZXQgIndvcmQi
        S: e OK …",
    );
}

#[test]
fn strangers_who_talk_nonsense_are_sent_away() {
    check(&format!(
        "{GREETING}
        C: GET / HTTP/1.1
        S: GET BAD …
        C: Host: x
        S: Host: BAD unknown command
        C: a
        S: * BAD expected a space, but the command ends
        C: +
        S: * BAD expected a tag, found '+' in column 1
        C: c FROB
        S: c BAD unknown command
        S: * BYE too many bad commands
        -- closed"
    ));
    check(&format!(
        "{GREETING}
        C: a LOGIN ann 1
        S: a NO …
        C: a LOGIN ann 2
        S: a NO …
        C: a LOGIN ann 3
        S: a NO …
        C: a LOGIN ann 4
        S: a NO …
        C: a LOGIN ann 5
        S: a NO …
        S: * BYE too many failed logins
        -- closed"
    ));
}

#[test]
fn lists() {
    check_in(
        "C: a LIST \"\" \"\"
        S: * LIST (\\Noselect) \"/\" \"\"
        S: a OK LIST done
        C: b LIST \"\" *
        S: * LIST (\\HasNoChildren) \"/\" INBOX
        S: * LIST (\\HasNoChildren) \"/\" Entw&APw-rfe
        S: * LIST (\\HasChildren) \"/\" Lists
        S: * LIST (\\HasNoChildren) \"/\" Lists/rust
        S: * LIST (\\HasNoChildren \\Sent) \"/\" Sent
        S: b OK LIST done
        C: c LIST \"Lists/\" %
        S: * LIST (\\HasNoChildren) \"/\" Lists/rust
        S: c OK LIST done
        C: d LIST \"\" inbox
        S: * LIST (\\HasNoChildren) \"/\" INBOX
        S: d OK LIST done
        C: e LIST (SUBSCRIBED) \"\" \"*\" RETURN (SPECIAL-USE)
        S: * LIST (\\Subscribed \\HasNoChildren) \"/\" INBOX
        S: * LIST (\\Subscribed \\HasNoChildren) \"/\" Lists/rust
        S: * LIST (\\NonExistent \\Subscribed \\HasNoChildren) \"/\" Lost
        S: e OK LIST done
        C: f LIST \"\" (INBOX \"Se%\") RETURN (SUBSCRIBED CHILDREN STATUS (MESSAGES UNSEEN))
        S: * LIST (\\Subscribed \\HasNoChildren) \"/\" INBOX
        S: * STATUS INBOX (MESSAGES 3 UNSEEN 2)
        S: * LIST (\\HasNoChildren \\Sent) \"/\" Sent
        S: * STATUS Sent (MESSAGES 0 UNSEEN 0)
        S: f OK LIST done
        C: g LIST (SPECIAL-USE) \"\" *
        S: * LIST (\\HasNoChildren \\Sent) \"/\" Sent
        S: g OK LIST done
        C: h LSUB \"\" %
        S: * LSUB () \"/\" INBOX
        S: * LSUB (\\Noselect) \"/\" Lists
        S: * LSUB () \"/\" Lost
        S: h OK LSUB done
        C: i LIST (SUBSCRIBED RECURSIVEMATCH) \"\" %
        S: * LIST (\\Subscribed \\HasNoChildren) \"/\" INBOX
        S: * LIST (\\HasChildren) \"/\" Lists (\"CHILDINFO\" (\"SUBSCRIBED\"))
        S: * LIST (\\NonExistent \\Subscribed \\HasNoChildren) \"/\" Lost
        S: i OK LIST done
        C: j LIST (RECURSIVEMATCH) \"\" %
        S: j BAD …
        C: k LIST \"\"
        S: k BAD expected a space, but the command ends",
    );
}

#[test]
fn mailboxes() {
    check_in(
        "C: a CREATE new/deep/
        S: a OK [MAILBOXID (F6)] CREATE done
        C: b CREATE new/deep
        S: b NO [ALREADYEXISTS] there is a mailbox of that name
        C: c CREATE Trash (USE (\\Trash))
        S: c OK [MAILBOXID (F7)] CREATE done
        C: d CREATE Odd (USE (\\Odd))
        S: d NO [USEATTR] …
        C: e CREATE \"a*\"
        S: e NO [CANNOT] …
        C: f RENAME Trash Bin
        S: f OK RENAME done
        C: g DELETE Trash
        S: g NO [NONEXISTENT] there is no such mailbox
        C: h SUBSCRIBE Bin
        S: h OK SUBSCRIBE done
        C: i UNSUBSCRIBE Bin
        S: i OK UNSUBSCRIBE done
        C: j STATUS inbox (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE)
        S: * STATUS INBOX (MESSAGES 3 RECENT 0 UIDNEXT 4 UIDVALIDITY 1 UNSEEN 2 DELETED 0 SIZE …
        S: j OK STATUS done
        C: k STATUS nowhere (MESSAGES)
        S: k NO [NONEXISTENT] there is no such mailbox
        C: l STATUS INBOX ()
        S: l BAD …
        C: m NAMESPACE
        S: * NAMESPACE ((\"\" \"/\")) ((\"Other Users/\" \"/\")) ((\"Public/\" \"/\"))
        S: m OK NAMESPACE done
        C: n GETANNOTATION INBOX
        S: n NO [CANNOT] GETANNOTATION is not offered here
        C: o STATUS {8}
        S: + …
        C: Entw&AP (MESSAGES)
        S: o NO [CANNOT] the mailbox name is not sound modified UTF-7
        C: p ENABLE FROB
        S: * ENABLED
        S: p OK ENABLE done",
    );
}

#[test]
fn imap4rev2() {
    check_in(
        "C: a ENABLE IMAP4rev2
        S: * ENABLED IMAP4rev2
        S: a OK ENABLE done
        C: b SELECT \"Entwürfe\"
        S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)
        S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] these flags \
            are kept
        S: * 0 EXISTS
        S: * OK [UIDVALIDITY 5] UIDs are valid
        S: * OK [UIDNEXT 1] the next UID
        S: * OK [HIGHESTMODSEQ 1] the newest change
        S: * OK [MAILBOXID (F5)] …
        S: * LIST () \"/\" \"Entwürfe\"
        S: b OK [READ-WRITE] SELECT done
        C: c SEARCH ALL
        S: * ESEARCH (TAG \"c\")
        S: c OK SEARCH done
        C: d ENABLE CONDSTORE
        S: * ENABLED CONDSTORE
        S: * OK [HIGHESTMODSEQ 1] the newest change
        S: d OK ENABLE done
        C: e SELECT nowhere
        S: * OK [CLOSED] the previous mailbox is left
        S: e NO [NONEXISTENT] there is no such mailbox
        C: f FETCH 1 FLAGS
        S: f BAD select a mailbox first",
    );
}

#[test]
fn fetches() {
    check_selected(
        "C: a FETCH 1:* (FLAGS UID)
        S: * 1 FETCH (FLAGS (\\Seen) UID 1)
        S: * 2 FETCH (FLAGS ($Junk) UID 2)
        S: * 3 FETCH (FLAGS () UID 3)
        S: a OK FETCH done
        C: b FETCH 1 FULL
        S: * 1 FETCH (FLAGS (\\Seen) INTERNALDATE \"23-Nov-2026 19:00:00 +0000\" RFC822.SIZE 257 \
            ENVELOPE (\"Mon, 7 Feb 1994 21:52:25 -0800\" \"afternoon meeting\" ((\"Fred Foobar\" \
            NIL \"foobar\" \"Blurdybloop.example\")) ((\"Fred Foobar\" NIL \"foobar\" \
            \"Blurdybloop.example\")) ((\"Fred Foobar\" NIL \"foobar\" \"Blurdybloop.example\")) \
            ((NIL NIL \"mooch\" \"owatagu.siam.edu.example\")) NIL NIL NIL \
            \"<B27397-0100000@Blurdybloop.example>\") BODY (\"TEXT\" \"PLAIN\" (\"CHARSET\" \
            \"us-ascii\") NIL NIL \"7BIT\" 55 1))
        S: b OK FETCH done
        C: c UID FETCH 2 BODYSTRUCTURE
        S: * 2 FETCH (UID 2 BODYSTRUCTURE ((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"utf-8\") NIL NIL \
            \"7BIT\" 16 0 NIL NIL NIL NIL)(\"IMAGE\" \"GIF\" (\"NAME\" \"a b.gif\") NIL NIL \
            \"BASE64\" 8 NIL (\"ATTACHMENT\" (\"FILENAME\" \"a b.gif\")) NIL NIL) \"MIXED\" \
            (\"BOUNDARY\" \"b\") NIL NIL NIL))
        S: c OK FETCH done
        C: d FETCH 3 BODY.PEEK[]
        S: * 3 FETCH (BODY[] {30}
        S: Subject: three
        S: 
        S: body three
        S: )
        S: d OK FETCH done
        C: e FETCH 3 (BODY[TEXT]<5.3> UID)
        S: * 3 FETCH (FLAGS (\\Seen) BODY[TEXT]<5> {3}
        S: thr UID 3)
        S: e OK FETCH done
        C: f FETCH 3 BODY.PEEK[HEADER.FIELDS (subject \"From\")]<0.9>
        S: * 3 FETCH (BODY[HEADER.FIELDS (SUBJECT FROM)]<0> {9}
        S: Subject: )
        S: f OK FETCH done
        C: g FETCH 2 (BODY.PEEK[2.MIME] BINARY.PEEK[2] BINARY.SIZE[2] BODY.PEEK[9])
        S: * 2 FETCH (BODY[2.MIME] {131}
        S: Content-Type: image/gif; name=\"a b.gif\"
        S: Content-Transfer-Encoding: base64
        S: Content-Disposition: attachment; filename=\"a b.gif\"
        S: 
        S:  BINARY[2] ~{5}
        S: GIF\0\u{1} BINARY.SIZE[2] 5 BODY[9] NIL)
        S: g OK FETCH done
        C: h FETCH 3 RFC822.peek
        S: * 3 FETCH (RFC822 {30}
        S: Subject: three
        S: 
        S: body three
        S: )
        S: h OK FETCH done
        C: i FETCH 4 FLAGS
        S: i BAD there is no message 4; there are 3
        C: j UID FETCH 4:* FLAGS
        S: * 3 FETCH (UID 3 FLAGS (\\Seen))
        S: j OK FETCH done
        C: k FETCH 1 (FLAGS FROB)
        S: k BAD expected a FETCH item, found 'F' in column 18
        C: l FETCH 1 BODY[MIME]
        S: l BAD …
        C: m FETCH 0 FLAGS
        S: m BAD expected a message number or '*' from 1 on, found '0' in column 9
        C: n FETCH 1 BODY[1]<0.0>
        S: n BAD …",
    );
}

#[test]
fn searches() {
    check_selected(
        "C: a SEARCH ALL
        S: * SEARCH 1 2 3
        S: a OK SEARCH done
        C: b SEARCH UNSEEN KEYWORD $junk
        S: * SEARCH 2
        S: b OK SEARCH done
        C: c SEARCH CHARSET UTF-8 SUBJECT {7}
        S: + …
        C: GRÜSSE
        S: * SEARCH 2
        S: c OK SEARCH done
        C: d SEARCH OR FROM foobar (BODY picture NOT SEEN)
        S: * SEARCH 1 2
        S: d OK SEARCH done
        C: e SEARCH SENTON 7-Feb-1994
        S: * SEARCH 1
        S: e OK SEARCH done
        C: f SEARCH SINCE 23-Nov-2026 BEFORE 24-Nov-2026 ON \"23-Nov-2026\"
        S: * SEARCH 1 2 3
        S: f OK SEARCH done
        C: g SEARCH LARGER 257
        S: * SEARCH 2
        S: g OK SEARCH done
        C: h SEARCH HEADER Message-ID \"\"
        S: * SEARCH 1
        S: h OK SEARCH done
        C: i UID SEARCH RETURN (MIN MAX COUNT ALL) TEXT e
        S: * ESEARCH (TAG \"i\") UID MIN 1 MAX 3 ALL 1:3 COUNT 3
        S: i OK SEARCH done
        C: j SEARCH RETURN (SAVE) UNSEEN
        S: j OK SEARCH done
        C: k FETCH $ UID
        S: * 2 FETCH (UID 2)
        S: * 3 FETCH (UID 3)
        S: k OK FETCH done
        C: l SEARCH RETURN (COUNT) $ 3
        S: * ESEARCH (TAG \"l\") COUNT 1
        S: l OK SEARCH done
        C: m SEARCH TEXT nowhere
        S: * SEARCH
        S: m OK SEARCH done
        C: n SEARCH CHARSET KOI8-R ALL
        S: n NO [BADCHARSET (US-ASCII UTF-8)] the charset must be US-ASCII or UTF-8
        C: o SEARCH FROB
        S: o BAD expected a search key, found 'F' in column 10
        C: p SEARCH SINCE 31-Feb-2026
        S: p BAD expected a date such as 1-Feb-1994, found '3' in column 16
        C: p2 UID FETCH 1:* (FLAGS) (CHANGEDSINCE 3 VANISHED)
        S: p2 BAD VANISHED needs ENABLE QRESYNC first
        C: p3 SELECT INBOX (QRESYNC (1 2))
        S: p3 BAD QRESYNC needs ENABLE QRESYNC first
        C: p4 FETCH 1:* (UID) (CHANGEDSINCE 3)
        S: * OK [HIGHESTMODSEQ 4] the newest change
        S: * 3 FETCH (UID 3 MODSEQ (4))
        S: p4 OK FETCH done
        C: q SEARCH MODSEQ 4
        S: * SEARCH 3 (MODSEQ 4)
        S: q OK SEARCH done
        C: r UID SEARCH UID 2:* NOT 3 RECENT
        S: * SEARCH
        S: r OK SEARCH done",
    );
    check_selected(&format!(
        "C: a SEARCH {}ALL
        S: a NO [LIMIT] SEARCH takes at most 2000 keys, nested 64 deep",
        "NOT ".repeat(70)
    ));
}

#[test]
fn stores() {
    check_selected(
        "C: a STORE 1 +FLAGS (\\Flagged $New)
        S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Junk $New)
        S: * 1 FETCH (UID 1 FLAGS (\\Flagged \\Seen $New))
        S: a OK STORE done
        C: b STORE 1 -FLAGS.SILENT \\Flagged $New
        S: b OK STORE done
        C: c UID STORE 2:3 FLAGS ()
        S: * 2 FETCH (UID 2 FLAGS ())
        S: * 3 FETCH (UID 3 FLAGS ())
        S: c OK STORE done
        C: d STORE 9 FLAGS ()
        S: d BAD there is no message 9; there are 3
        C: e STORE 1 FLAGS (\\Odd)
        S: e BAD expected a system flag of RFC 9051, found '\\' in column 18
        C: f STORE 1 (UNCHANGEDSINCE 1) +FLAGS.SILENT (\\Draft)
        S: * OK [HIGHESTMODSEQ 7] …
        S: * 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (6))
        S: f OK [MODIFIED 1] STORE done
        C: g STORE 1 (UNCHANGEDSINCE 9) +FLAGS.SILENT (\\Draft)
        S: * 1 FETCH (UID 1 FLAGS (\\Seen \\Draft) MODSEQ (8))
        S: g OK STORE done
        C: h EXAMINE INBOX
        S: * OK [CLOSED] …
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS ()] …
        S: * 3 EXISTS
        S: * 0 RECENT
        S: * OK [UNSEEN 2] …
        S: * OK …
        S: * OK …
        S: * OK …
        S: * OK …
        S: h OK [READ-ONLY] EXAMINE done
        C: i STORE 1 FLAGS ()
        S: i NO [READ-ONLY] the mailbox was opened with EXAMINE
        C: j EXPUNGE
        S: j NO [READ-ONLY] the mailbox was opened with EXAMINE
        C: k FETCH 2 BODY[1]
        S: * 2 FETCH (BODY[1] {16}
        S: See the picture.)
        S: k OK FETCH done",
    );
}

#[test]
fn copies_moves_and_removal() {
    check_selected(
        "C: a COPY 1,3 Sent
        S: a OK [COPYUID 2 1,3 1:2] COPY done
        C: b UID COPY 77 Sent
        S: b OK COPY done
        C: c COPY 1 nowhere
        S: c NO [TRYCREATE] there is no such mailbox
        C: d UID MOVE 2 Sent
        S: * OK [COPYUID 2 2 3] moved
        S: * 2 EXPUNGE
        S: d OK MOVE done
        C: e STORE 1:2 +FLAGS.SILENT (\\Deleted)
        S: e OK STORE done
        C: f UID EXPUNGE 3:*
        S: * 2 EXPUNGE
        S: f OK EXPUNGE done
        C: g EXPUNGE
        S: * 1 EXPUNGE
        S: g OK EXPUNGE done
        C: h FETCH 1:* FLAGS
        S: h OK FETCH done
        C: i UNSELECT
        S: i OK UNSELECT done
        C: j CLOSE
        S: j BAD select a mailbox first",
    );
    check_selected(
        "C: a STORE 1,3 +FLAGS.SILENT \\Deleted
        S: a OK STORE done
        C: b CLOSE
        S: b OK CLOSE done
        C: c STATUS INBOX (MESSAGES)
        S: * STATUS INBOX (MESSAGES 1)
        S: c OK STATUS done",
    );
}

#[test]
fn appends() {
    check_selected(
        "C: a APPEND Sent (\\Seen) \"17-Jul-1996 02:44:25 -0700\" {8}
        S: + send the message
        C: a: b
        C: 
        C: 
        S: a OK [APPENDUID 2 1] APPEND done
        C: b APPEND {5+}
        C: INBOX {6+}
        C: a: b
        C: 
        S: * 4 EXISTS
        S: b OK [APPENDUID 1 4] APPEND done
        C: c APPEND nowhere {6}
        S: c NO [TRYCREATE] there is no such mailbox
        C: d APPEND nowhere {6+}
        C: a: b
        C: 
        C: e NOOP
        S: d NO [TRYCREATE] there is no such mailbox
        S: e OK NOOP done
        C: f APPEND Sent {2000000}
        S: f NO [TOOBIG] a message may have at most 1000000 bytes
        C: g APPEND Sent (\\Seen {6}
        S: g BAD …
        C: h APPEND Sent \"yesterday\" {6}
        S: h BAD expected a date such as \"17-Jul-1996 02:44:25 -0700\", found '\"' in column 15
        C: j APPEND Sent {2+}
        C: ab x
        S: j BAD expected flags, a date or the message as a literal, found 'x' in column 2
        C: k APPEND Sent UTF8 (~{2+}
        C: ab)
        S: k OK [APPENDUID 2 2] APPEND done
        C: k2 APPEND Sent ~{4+}
        C: a\0bc
        S: k2 NO [UNKNOWN-CTE] a message here cannot hold NUL outside of an encoding
        C: l APPEND Sent
        S: l BAD …
        C: m UID FETCH 4 (INTERNALDATE RFC822.SIZE)
        S: * 4 FETCH (UID 4 INTERNALDATE \"23-Nov-2026 19:00:00 +0000\" RFC822.SIZE 6)
        S: m OK FETCH done",
    );
}

#[test]
fn two_clients_see_each_other() {
    check_both(
        "D: a STORE 1 +FLAGS (\\Deleted)
        T: * 1 FETCH (UID 1 FLAGS (\\Deleted \\Seen))
        T: a OK STORE done
        C: b STORE 3 +FLAGS.SILENT (\\Flagged)
        S: * 1 FETCH (UID 1 FLAGS (\\Deleted \\Seen))
        S: b OK STORE done
        D: c EXPUNGE
        T: * 1 EXPUNGE
        T: * 2 FETCH (UID 3 FLAGS (\\Flagged))
        T: c OK EXPUNGE done
        C: d FETCH 2 UID
        S: * 2 FETCH (UID 2)
        S: d OK FETCH done
        C: e FETCH 1 BODY.PEEK[TEXT]
        S: e NO [EXPUNGEISSUED] some of the messages are gone
        C: f SEARCH ALL
        S: * SEARCH 1 2 3
        S: f OK SEARCH done
        C: g UID FETCH 3 FLAGS
        S: * 3 FETCH (UID 3 FLAGS (\\Flagged))
        S: * 1 EXPUNGE
        S: g OK FETCH done
        C: h FETCH 2 UID
        S: * 2 FETCH (UID 3)
        S: h OK FETCH done",
    );
    check_both(
        "C: a IDLE
        S: + idling; say DONE to end
        D: b APPEND INBOX {2+}
        D: ab
        T: * 4 EXISTS
        T: b OK [APPENDUID 1 4] APPEND done
        -- wake
        S: * 4 EXISTS
        D: c STORE 2:4 FLAGS (\\Deleted)
        T: * 2 FETCH (UID 2 FLAGS (\\Deleted))
        T: * 3 FETCH (UID 3 FLAGS (\\Deleted))
        T: * 4 FETCH (UID 4 FLAGS (\\Deleted))
        T: c OK STORE done
        D: d EXPUNGE
        T: * 4 EXPUNGE
        T: * 3 EXPUNGE
        T: * 2 EXPUNGE
        T: d OK EXPUNGE done
        -- wake
        S: * 4 EXPUNGE
        S: * 3 EXPUNGE
        S: * 2 EXPUNGE
        C: done
        S: a OK IDLE done
        C: e FETCH 1 UID
        S: * 1 FETCH (UID 1)
        S: e OK FETCH done
        C: f IDLE
        S: + idling; say DONE to end
        C: g NOOP
        S: f BAD expected DONE
        D: h DELETE INBOX
        T: * OK [CLOSED] the mailbox is left
        T: h OK DELETE done
        C: i NOOP
        S: i OK NOOP done
        S: * BYE the selected mailbox is not there any more
        -- closed",
    );
}

#[test]
fn what_cannot_be_marked_as_seen_is_given_all_the_same() {
    let broken = || Store { refuses_flags: true, ..store() };
    let script = format!(
        "{GREETING}C: in LOGIN ann \"secret \\\"word\\\"\"
        S: in OK …
        C: a SELECT INBOX
        S: * FLAGS …
        S: * OK …
        S: * 3 EXISTS
        S: * 0 RECENT
        S: * OK …
        S: * OK …
        S: * OK …
        S: * OK …
        S: * OK …
        S: a OK …
        C: b FETCH 3 BODY[TEXT]
        S: * 3 FETCH (FLAGS (\\Seen) BODY[TEXT] {{12}}
        S: body three
        S: )
        S: * 3 FETCH (UID 3 FLAGS ())
        S: b OK FETCH done, but \\Seen could not be kept
        C: c STORE 3 +FLAGS (\\Seen)
        S: c NO …"
    );
    check_with(&settings(), broken, &script);
}

#[test]
fn limits() {
    let long = "x".repeat(70_000);
    check_in(&format!(
        "C: a SEARCH {long}
        S: a BAD a command may have at most 65536 bytes
        C: b LOGIN {{70000}}
        S: b BAD a command may have at most 65536 bytes, its literals included
        C: c NOOP
        S: c OK NOOP done"
    ));
    check(&format!(
        "{GREETING}C: a LOGIN {{9000}}
        S: a BAD a command may have at most 8192 bytes, its literals included
        C: b APPEND INBOX {{10}}
        S: b BAD log in first"
    ));
}

/// However many pieces of a large letter one FETCH asks for, one of them is in memory at a time.
#[test]
fn many_pieces_of_a_large_letter_go_one_by_one() {
    const BODY_BYTES: usize = 400_000;
    let mut store = store();
    let letter = [b"Subject: large\r\n\r\n".as_slice(), &[b'x'; BODY_BYTES]].concat();
    let uid = store.deliver("INBOX", &letter, Flags::none(), NOW);
    let mut client = Client::new(&Rc::new(RefCell::new(store)), settings());
    client.send(b"a LOGIN ann \"secret \\\"word\\\"\"\r\nb SELECT INBOX\r\n");
    client.output.clear();
    let pieces: Vec<String> =
        (0..50).map(|start| format!("BODY.PEEK[TEXT]<{start}.{BODY_BYTES}>")).collect();
    client.send(format!("c UID FETCH {uid} ({})\r\n", pieces.join(" ")).as_bytes());
    assert!(client.output.len() > 49 * BODY_BYTES, "{}", client.output.len());
    assert!(client.output.ends_with(b"c OK FETCH done\r\n"));
    assert!(client.longest < 2 * BODY_BYTES, "{}", client.longest);
}

#[test]
fn fetch_items_are_counted() {
    let items = |count: usize| -> String {
        let items: Vec<String> = (1..=count).map(|part| format!("BODY.PEEK[{part}]")).collect();
        items.join(" ")
    };
    check_selected(&format!(
        "C: a FETCH 1 (FLAGS UID FLAGS {} UID)\nS: * 1 FETCH (FLAGS (\\Seen) UID 1 …\n\
         S: a OK FETCH done\nC: b FETCH 1 ({})\nS: b NO [LIMIT] FETCH takes at most 500 items\n",
        "BODY.PEEK[9] ".repeat(3_000).trim_end(),
        items(501),
    ));
}

#[test]
fn texts_of_a_search_are_counted() {
    let texts = |key: &str, count: usize| vec![key; count].join(" ");
    check_selected(&format!(
        "C: a SEARCH RETURN (SAVE) 1\nS: a OK …\nC: b SEARCH {}\nS: * SEARCH 1\nS: b OK …\n\
         C: c SEARCH RETURN (SAVE) {}\nS: c NO [LIMIT] …\n\
         C: d SEARCH $\nS: * SEARCH\nS: d OK …\n\
         C: e SEARCH FUZZY ({})\nS: e NO [LIMIT] …\nC: f SEARCH {}\nS: * SEARCH 1\nS: f OK …\n",
        texts("BODY joe", 200),
        texts("NOT BODY x", 201),
        texts("SUBJECT afternoon", 21),
        texts("SUBJECT afternoon", 201),
    ));
}

/// A long look at the flags of many messages is one of many short ones, and no message is left out
/// or told twice.
#[test]
fn a_search_of_many_messages_gives_others_their_turn() {
    const MESSAGES: u32 = 3_000;
    let mut store = store();
    for _ in 3..MESSAGES {
        store.deliver("INBOX", b"\r\n", Flags::none(), NOW);
    }
    let mut client = Client::new(&Rc::new(RefCell::new(store)), settings());
    client.send(b"a LOGIN ann \"secret \\\"word\\\"\"\r\nb SELECT INBOX\r\n");
    client.output.clear();
    let before = client.flushes;
    let keys = vec!["UNKEYWORD $Gone"; 1_500].join(" ");
    client.send(format!("c SEARCH RETURN (ALL COUNT) {keys}\r\n").as_bytes());
    let said = String::from_utf8(client.output).expect("text");
    assert!(said.contains(&format!(" ALL 1:{MESSAGES} COUNT {MESSAGES}\r\n")), "{said}");
    assert!(client.flushes - before >= 4, "{}", client.flushes);
}

#[test]
fn patterns_and_names_are_counted() {
    let (pattern, names) = ("a".repeat(4_001), "a ".repeat(1_001));
    check_in(&format!(
        "C: a LIST {pattern} {pattern}\nS: a NO [LIMIT] …\n\
         C: b LIST {pattern} (a {pattern})\nS: b NO [LIMIT] …\n\
         C: c LSUB {pattern} {pattern}\nS: c NO [LIMIT] …\n\
         C: d LIST \"\" {pattern}\nS: d OK …\n\
         C: e NOTIFY SET (MAILBOXES ({0}) (MailboxName))\nS: e NO [LIMIT] …\n\
         C: f ESEARCH IN (MAILBOXES ({0})) ALL\nS: f NO [LIMIT] …\n",
        names.trim_end(),
    ));
}

/// Sound commands, given where they are illegal: a client in a circle never ends by itself.
#[test]
fn commands_out_of_place_are_bad_ones_too() {
    check(&format!(
        "{GREETING}
        C: a LIST \"\" *
        S: a BAD log in first
        C: b SELECT INBOX
        S: b BAD log in first
        C: c SELECT \"%\"
        S: c NO [CANNOT] …
        C: d APPEND INBOX {{1+}}
        C: x
        S: d BAD log in first
        C: e FETCH 1 FLAGS
        S: e BAD log in first
        S: * BYE too many bad commands
        -- closed"
    ));
    let fetches = |tag: &str| format!("C: {tag} FETCH 1 FLAGS\nS: {tag} BAD select …\n");
    let nineteen = |tag: &str| (0..19).map(|time| fetches(&format!("{tag}{time}"))).collect();
    let (before, behind): (String, String) = (nineteen("x"), nineteen("y"));
    check_in(&format!(
        "{before}C: a NOOP\nS: a OK NOOP done\n{behind}{}\
         S: * BYE too many bad commands\n-- closed",
        fetches("last")
    ));
}
