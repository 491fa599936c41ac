//! Several clients do random things to one mailbox; what each was told must add up to the truth.
//!
//! Invariants checked: every EXPUNGE and FETCH speaks of a message the client knows; no EXPUNGE
//! comes while FETCH, STORE or SEARCH by sequence number are answered, nor between commands; after
//! a NOOP the picture of each client equals the mailbox. A seed is a bug report.

#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test that is wrong should say so")]

mod support;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use grace_imap::flags::{Flags, SystemFlag};
use support::{Client, NOW, Store, settings};

/// Small and good enough (Marsaglia's xorshift64).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(most).expect("small")).expect("small")
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// What a client knows of a message: its UID and flags, once it was told.
#[derive(Clone, Default, Debug)]
struct Known {
    uid: Option<u32>,
    flags: Option<BTreeSet<String>>,
}

/// A client that believes what it is told.
struct Believer {
    client: Client,
    messages: Vec<Known>,
    tags: u32,
    idle: bool,
    /// UIDs without `\\Seen`, as a search that is kept up to date says.
    unseen: BTreeSet<u32>,
}

/// The numbers of a set.
fn numbers(set: &str) -> impl Iterator<Item = u32> + '_ {
    set.split(',').filter(|part| !part.is_empty()).flat_map(|part| {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        let number = |text: &str| text.parse::<u32>().expect("a number");
        number(first)..=number(last)
    })
}

impl Believer {
    fn new(store: &Rc<RefCell<Store>>) -> Self {
        let client = Client::new(store, settings());
        let (messages, unseen) = (Vec::new(), BTreeSet::new());
        let mut believer = Self { client, messages, tags: 0, idle: false, unseen };
        believer.client.output.clear();
        believer.command("LOGIN ann \"secret \\\"word\\\"\"", true);
        believer.command("SELECT INBOX", true);
        believer.command("UID SEARCH RETURN (UPDATE ALL) UNSEEN", true);
        believer
    }

    fn command(&mut self, command: &str, may_expunge: bool) {
        self.tags += 1;
        let line = format!("t{} {command}\r\n", self.tags);
        self.client.send(line.as_bytes());
        let tag = format!("t{} ", self.tags);
        let end = self.hear(may_expunge);
        let end = end.strip_prefix(&tag).unwrap_or_else(|| panic!("{command}: no answer in {end}"));
        assert!(end.starts_with("OK") || end.contains("EXPUNGEISSUED"), "{command}: {end}");
    }

    /// Reads everything that was said; the last line is returned.
    fn hear(&mut self, may_expunge: bool) -> String {
        let output = std::mem::take(&mut self.client.output);
        let output = String::from_utf8(output).expect("text");
        let mut last = String::new();
        for line in output.lines() {
            last = line.to_owned();
            let words: Vec<&str> = line.split(' ').collect();
            if line.starts_with("* ESEARCH") {
                self.searched(&words);
            }
            let number = words.get(1).and_then(|word| word.parse::<usize>().ok());
            let (Some(number), Some(what)) = (number, words.get(2)) else { continue };
            match *what {
                "EXISTS" => {
                    assert!(number >= self.messages.len(), "EXISTS shrinks: {line}");
                    self.messages.resize(number, Known::default());
                }
                "EXPUNGE" => {
                    assert!(may_expunge, "an EXPUNGE at a forbidden moment: {output}");
                    assert!((1..=self.messages.len()).contains(&number), "{line}");
                    self.messages.remove(number - 1);
                }
                "FETCH" => self.fetched(number, line),
                _ => {}
            }
        }
        last
    }

    /// News of the search that is kept up to date.
    fn searched(&mut self, words: &[&str]) {
        let after = |word: &str, places: usize| {
            let at = words.iter().position(|known| *known == word)?;
            words.get(at + places).map(|set| set.trim_end_matches(')'))
        };
        for uid in after("ALL", 1).into_iter().flat_map(numbers) {
            self.unseen.insert(uid);
        }
        for uid in after("ADDTO", 2).into_iter().flat_map(numbers) {
            assert!(self.unseen.insert(uid), "{uid} came twice: {words:?}");
        }
        for uid in after("REMOVEFROM", 2).into_iter().flat_map(numbers) {
            assert!(self.unseen.remove(&uid), "{uid} was not there: {words:?}");
        }
    }

    fn fetched(&mut self, number: usize, line: &str) {
        assert!((1..=self.messages.len()).contains(&number), "unknown message: {line}");
        let known = &mut self.messages[number - 1];
        if let Some(rest) = line.split("UID ").nth(1) {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            let uid = digits.parse().expect("a number");
            assert!(known.uid.is_none_or(|old| old == uid), "{known:?} became {line}");
            known.uid = Some(uid);
        }
        if let Some(rest) = line.split("FLAGS (").nth(1) {
            let names = rest.split(')').next().expect("a list").split(' ');
            known.flags = Some(names.filter(|name| !name.is_empty()).map(str::to_owned).collect());
        }
    }

    /// A random command.
    fn act(&mut self, random: &mut Random) {
        if self.idle {
            if random.below(3) == 0 {
                self.client.send(b"DONE\r\n");
                self.hear(true);
                self.idle = false;
            } else {
                self.client.wake();
                self.hear(true);
            }
            return;
        }
        let count = self.messages.len();
        let number = 1 + random.below(count.max(1));
        let flag = random.pick(&["\\Seen", "\\Deleted", "\\Flagged", "$One", "$Two"]);
        let sign = random.pick(&["+", "-"]);
        match random.below(11) {
            0 => self.command("NOOP", true),
            1 => self.command("EXPUNGE", true),
            2 => self.command("FETCH 1:* (UID FLAGS)", false),
            3 => self.command("UID FETCH 1:* (FLAGS)", true),
            4 => self.command("SEARCH UNSEEN", false),
            5 => self.command("UID SEARCH BODY x", true),
            6 if count > 0 => self.command(&format!("STORE {number} {sign}FLAGS ({flag})"), false),
            7 if count > 0 => {
                let known = &mut self.messages[number - 1];
                if let Some(flags) = &mut known.flags {
                    if sign == "+" {
                        flags.insert(flag.into())
                    } else {
                        flags.remove(flag)
                    };
                }
                let command = format!("STORE {number} {sign}FLAGS.SILENT ({flag})");
                self.command(&command, false);
            }
            8 if count > 0 => self.command(&format!("COPY {number} INBOX"), true),
            9 if count > 0 => self.command(&format!("MOVE {number} Other"), true),
            10 => {
                self.client.send(b"i IDLE\r\n");
                self.hear(true);
                self.idle = true;
            }
            _ => self.command("APPEND INBOX {3+}\r\nabc", true),
        }
    }

    /// What was told must be what is.
    fn compare(&mut self, store: &Rc<RefCell<Store>>) {
        if self.idle {
            self.client.wake();
            self.hear(true);
        } else {
            self.command("NOOP", true);
        }
        let store = store.borrow();
        let mails = &store.mailboxes["INBOX"].mails;
        assert_eq!(self.messages.len(), mails.len());
        let is_unseen = |mail: &support::Mail| !mail.flags.has(SystemFlag::Seen);
        let unseen = mails.iter().filter(|(_, mail)| is_unseen(mail)).map(|(uid, _)| *uid);
        assert_eq!(self.unseen, unseen.collect::<BTreeSet<u32>>());
        for (known, (uid, mail)) in self.messages.iter().zip(mails) {
            assert!(known.uid.is_none_or(|known| known == *uid), "{known:?} is {uid}");
            let flags: BTreeSet<String> = mail.flags.names().map(str::to_owned).collect();
            assert!(
                known.flags.as_ref().is_none_or(|known| *known == flags),
                "{known:?} {flags:?}"
            );
        }
    }
}

#[test]
fn every_client_sees_the_truth_in_order() {
    for seed in 1..=300 {
        let mut store = Store::default();
        store.make("INBOX");
        store.make("Other");
        for _ in 0..5 {
            store.deliver("INBOX", b"x", Flags::none(), NOW);
        }
        let store = Rc::new(RefCell::new(store));
        let mut random = Random::new(seed);
        let mut clients: Vec<Believer> = (0..3).map(|_| Believer::new(&store)).collect();
        for step in 0..200 {
            if random.below(4) == 0 {
                store.borrow_mut().deliver("INBOX", b"x y", Flags::none(), NOW);
            }
            let who = random.below(clients.len());
            clients[who].act(&mut random);
            if step % 50 == 49 {
                clients.iter_mut().for_each(|client| client.compare(&store));
            }
        }
    }
}

/// Bytes that mean nothing, or nearly something: no panic, and always an end.
#[test]
fn garbage_is_survived() {
    const PIECES: &[&str] = &[
        "a ",
        "LOGIN ",
        "ann ",
        "\"secret \\\"word\\\"\"",
        "\r\n",
        "{3}\r\n",
        "{3+}\r\n",
        "{99999999999}\r\n",
        "~{2+}\r\n",
        "SELECT INBOX",
        "FETCH 1:* ",
        "(BODY[1.2]<0.5>)",
        "UID ",
        "SEARCH ",
        "NOT (",
        "OR ",
        "\\Seen",
        "STORE 1 +FLAGS ",
        "APPEND INBOX ",
        "\0",
        "\"",
        "(",
        ")",
        "*",
        "$",
        "IDLE",
        "DONE\r\n",
        "AUTHENTICATE PLAIN",
        "=",
        "LIST \"\" \"*\" RETURN (STATUS (",
        "é",
        "ENABLE IMAP4rev2",
        "STARTTLS",
        "RETURN (SAVE)",
        "BODY.PEEK[HEADER.FIELDS (a b)]",
        "MOVE 1 Other",
        "SORT (REVERSE DATE) UTF-8 ",
        "THREAD REFS UTF-8 ",
        "RETURN (UPDATE PARTIAL -1:-2) ",
        "FUZZY ",
        "FILTER x",
        "ESEARCH IN (personal subtree (a)) ",
        "CATENATE (TEXT {1+}\r\n",
        "URL \"/INBOX/;UID=1\"",
        "REPLACE 1 INBOX ",
        "ENABLE QRESYNC UIDONLY",
        " (QRESYNC (1 2 1:3 (1 1)))",
        "SETMETADATA INBOX (/private/x \"y\")",
        "SETACL INBOX bob +lrs",
        "PREVIEW (LAZY)",
        "CHANGEDSINCE 1 VANISHED",
        "COMPRESS DEFLATE",
        "UNAUTHENTICATE",
        "+",
        "]",
        "{",
    ];
    for seed in 1..=2_000 {
        let mut store = Store::default();
        store.make("INBOX");
        store.make("Other");
        store.deliver("INBOX", b"Subject: a\r\n\r\nb", Flags::none(), NOW);
        let store = Rc::new(RefCell::new(store));
        let mut random = Random::new(seed);
        let mut client = Client::new(&store, settings());
        if seed % 2 == 0 {
            client.send(b"a LOGIN ann \"secret \\\"word\\\"\"\r\na SELECT INBOX\r\n");
        }
        for _ in 0..200 {
            if client.closed {
                break;
            }
            if random.below(8) == 0 {
                let noise: Vec<u8> =
                    (0..random.below(40)).map(|_| random.below(256).to_le_bytes()[0]).collect();
                client.send(&noise);
            } else if random.below(5) == 0 {
                client.send(b"\r\na ");
            } else {
                client.send(random.pick(PIECES).as_bytes());
            }
        }
        client.session.timeout();
        client.run();
        assert!(client.closed, "seed {seed}");
    }
}
