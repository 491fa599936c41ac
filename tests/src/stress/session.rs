//! One session: does its steps, believes what it is told, and asks the log whether that can be.
//!
//! Not here: which steps (`step`), what is known to be true (`truth`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::step::{Kind, Step, WHOLE};
use super::truth::{Act, Outcome, Truth};
use super::{FLAGS, MAILBOXES, content};
use crate::house::Account;
use crate::imap::client::{Client, Reply};
use crate::imap::picture::{ANY, Dialect, Moment, Picture};
use crate::imap::syntax::{Response, Status};
use crate::seed::Seed;

/// Above so many messages in its mailbox a session removes some where it would have made one: the
/// checks look at each.
const MAILS_MAX: usize = 80;

/// FETCH, STORE and SEARCH by number: nothing may go meanwhile.
const HELD: Moment = Moment { expunges: false, news: true };

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    name: String,
    client: Client,
    seed: Seed,
    truth: Arc<Truth>,
    contents: Arc<AtomicU64>,
    pub(super) mailbox: &'static str,
    pub(super) picture: Picture,
    /// What STATUS said last of a mailbox: UIDNEXT and HIGHESTMODSEQ.
    figures: [(u64, u64); MAILBOXES.len()],
    /// Steps done.
    pub(super) steps: u64,
}

/// How the session with this number speaks.
pub(super) fn dialect(number: usize) -> Dialect {
    let plain = Dialect::default();
    match number % 5 {
        0 => plain,
        1 => Dialect { condstore: true, ..plain },
        2 => Dialect { condstore: true, qresync: true, ..plain },
        3 => Dialect { rev2: true, ..plain },
        _ => Dialect { condstore: true, qresync: true, uid_only: true, rev2: true },
    }
}

impl Session {
    /// Logs in and selects a mailbox.
    pub(super) fn begin(
        port: u16,
        account: &Account,
        (truth, contents): (Arc<Truth>, Arc<AtomicU64>),
        (name, dialect, seed): (String, Dialect, Seed),
    ) -> Result<Self, String> {
        let mut client = Client::connect(port)?;
        client.login(account)?;
        let enabled = [
            (dialect.rev2, "IMAP4rev2"),
            (dialect.condstore && !dialect.qresync, "CONDSTORE"),
            (dialect.qresync, "QRESYNC"),
            (dialect.uid_only, "UIDONLY"),
        ];
        let enabled: Vec<&str> =
            enabled.iter().filter(|(is_on, _)| *is_on).map(|(_, name)| *name).collect();
        if !enabled.is_empty() {
            client.ok(&format!("ENABLE {}", enabled.join(" ")))?;
        }
        let picture = Picture::new(dialect);
        let figures = [(0, 0); MAILBOXES.len()];
        let [mailbox, ..] = MAILBOXES;
        let steps = 0;
        let mut session =
            Self { name, client, seed, truth, contents, mailbox, picture, figures, steps };
        session.select(mailbox).map_err(|why| session.wrong(&why))?;
        Ok(session)
    }

    /// What went wrong, and in which session.
    fn wrong(&self, why: &str) -> String {
        let why = if why.contains("the conversation before") {
            why.to_owned()
        } else {
            self.client.wrong(why)
        };
        format!("{} in {}, step {}: {why}", self.name, self.mailbox, self.steps)
    }

    /// Does so many steps.
    pub(super) fn run(&mut self, steps: u64) -> Result<(), String> {
        for _ in 0..steps {
            let step = Step::draw(&mut self.seed);
            self.steps += 1;
            self.step(&step).map_err(|why| self.wrong(&format!("{why}\nin {step:?}")))?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let is_full = self.picture.mails.len() > MAILS_MAX;
        match step.kind {
            Kind::Append | Kind::Copy if is_full => {
                self.mark(step, 10)?;
                self.expunge(None)
            }
            Kind::Append => self.append(step),
            Kind::AppendRefused => self.append_refused(),
            Kind::Look => self.look(),
            Kind::Store | Kind::StoreUnchanged => self.store(step),
            Kind::Mark => self.mark(step, step.count),
            Kind::Expunge => self.expunge(None),
            Kind::UidExpunge => {
                let (uids, _) = self.meant(step, 10);
                if uids.is_empty() { Ok(()) } else { self.expunge(Some(uids)) }
            }
            Kind::Copy | Kind::Move => self.transfer(step),
            Kind::Search => self.search(step),
            Kind::FetchFlags => self.fetch_flags(step),
            Kind::FetchBody => self.fetch_body(step),
            Kind::Idle => self.idle(step.idle_ms),
            Kind::Select => self.select(if step.other { self.mailbox } else { self.elsewhere() }),
            Kind::Close => self.close(),
            Kind::Status => self.status(),
        }
    }

    fn elsewhere(&self) -> &'static str {
        MAILBOXES.into_iter().find(|name| *name != self.mailbox).unwrap_or(self.mailbox)
    }

    /// Whether a command is by UID.
    fn by_uid(&self, step: &Step) -> bool {
        step.uid || self.picture.dialect.uid_only
    }

    /// The messages a step means, as UIDs and as the set of a command.
    fn meant(&self, step: &Step, count: usize) -> (Vec<u32>, String) {
        let mails = &self.picture.mails;
        let from = step.place * mails.len() / WHOLE;
        let until = mails.len().min(from + count);
        let uids: Vec<u32> =
            mails.get(from..until).unwrap_or_default().iter().filter_map(|it| it.uid).collect();
        let set = if self.by_uid(step) {
            uids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
        } else {
            format!("{}:{}", from + 1, until)
        };
        (uids, set)
    }

    /// Takes in what a command told.
    fn hear(&mut self, reply: &Reply, moment: Moment) -> Result<(), String> {
        for response in &reply.untagged {
            self.picture.hear(response, moment)?;
        }
        self.picture.status(&reply.status)
    }

    /// Asks for what it does not know yet.
    fn learn(&mut self) -> Result<(), String> {
        while let Some(first) = self.picture.first_unknown() {
            let items = match self.picture.dialect.condstore {
                true => "(UID FLAGS MODSEQ)",
                false => "(UID FLAGS)",
            };
            if self.picture.dialect.uid_only {
                let known = self.picture.uids();
                let before = first.checked_sub(2).and_then(|place| known.get(place));
                let above = before.map_or(1, |uid| uid + 1);
                let reply = self.client.ok(&format!("UID FETCH {above}:* {items}"))?;
                self.hear(&reply, Moment { expunges: true, news: false })?;
            } else {
                let reply = self.client.ok(&format!("FETCH {first}:* {items}"))?;
                self.hear(&reply, Moment { expunges: false, news: false })?;
            }
        }
        Ok(())
    }

    /// Runs a command that tells all news; what is believed then must be possible.
    fn checked(&mut self, command: &str, moment: Moment) -> Result<Reply, String> {
        let look = self.truth.look();
        let reply = self.client.ok(command)?;
        self.hear(&reply, moment)?;
        self.learn()?;
        // Where an EXPUNGE is owed, the picture is not whole.
        if moment.expunges {
            self.truth.check(look, self.mailbox, &self.picture)?;
        } else {
            self.truth.look_no_more(look);
        }
        Ok(reply)
    }

    /// NOOP.
    pub(super) fn look(&mut self) -> Result<(), String> {
        self.checked("NOOP", ANY).map(drop)
    }

    fn select(&mut self, mailbox: &'static str) -> Result<(), String> {
        let dialect = self.picture.dialect;
        let before = std::mem::replace(&mut self.picture, Picture::new(dialect));
        let knows = dialect.qresync && before.validity > 0 && self.mailbox == mailbox;
        self.mailbox = mailbox;
        if !knows {
            return self.checked(&format!("SELECT {mailbox}"), ANY).map(drop);
        }
        let look = self.truth.look();
        let (validity, highest) = (before.validity, before.highest);
        let command = format!("SELECT {mailbox} (QRESYNC ({validity} {highest}))");
        let reply = self.client.ok(&command)?;
        self.picture = before.resynced(&reply.untagged, &reply.status)?;
        self.learn()?;
        self.truth.check(look, mailbox, &self.picture)
    }

    fn append(&mut self, step: &Step) -> Result<(), String> {
        let number = self.contents.fetch_add(1, Ordering::Relaxed);
        let mailbox = if step.other { self.mailbox } else { self.elsewhere() };
        let flags = if step.uid { step.flags() } else { Vec::new() };
        let message = content::message(number);
        let command =
            format!("APPEND {mailbox} ({}) {{{}+}}\r\n{message}", flags.join(" "), message.len());
        let look = self.truth.look();
        let ticket = self.truth.begin(Act::Append { mailbox, content: number, flags });
        let reply = self.client.ok(&command)?;
        let code: Vec<&str> = reply.status.code.iter().map(String::as_str).collect();
        let ["APPENDUID", _, uid] = code.as_slice() else { return Err("no APPENDUID".to_owned()) };
        let uid = uid.parse().map_err(|_| "no UID".to_owned())?;
        self.truth.end(ticket, &Outcome::Appended(uid));
        self.hear(&reply, ANY)?;
        self.learn()?;
        self.truth.check(look, self.mailbox, &self.picture)
    }

    /// RFC 3502 6.3.11: one message of several that is refused takes the others back.
    fn append_refused(&mut self) -> Result<(), String> {
        let number = self.contents.fetch_add(1, Ordering::Relaxed);
        let message = content::message(number);
        let (mailbox, flags) = (self.mailbox, Vec::new());
        let command = format!("APPEND {mailbox} {{{}+}}\r\n{message} {{0+}}\r\n", message.len());
        let ticket = self.truth.begin(Act::Append { mailbox, content: number, flags });
        let reply = self.client.command(&command)?;
        if reply.status.word != "NO" {
            return Err("a message without bytes was not refused".to_owned());
        }
        self.truth.end(ticket, &Outcome::Refused);
        self.hear(&reply, ANY)?;
        self.learn()
    }

    fn mark(&mut self, step: &Step, count: usize) -> Result<(), String> {
        let (uids, set) = self.meant(step, count);
        self.change(step, (uids, &set), ("+", vec!["\\Deleted"]), None)
    }

    fn store(&mut self, step: &Step) -> Result<(), String> {
        let since = (step.kind == Kind::StoreUnchanged).then_some(());
        let since = since.filter(|()| self.picture.dialect.condstore);
        let (uids, set) = self.meant(step, step.count);
        let newest =
            uids.iter().filter_map(|uid| self.picture.mail(*uid)).map(|it| it.modseq).max();
        let since = since.and(newest);
        self.change(step, (uids, &set), (step.sign, step.flags()), since)
    }

    /// STORE, told to the log.
    fn change(
        &mut self,
        step: &Step,
        (uids, set): (Vec<u32>, &str),
        (sign, flags): (&'static str, Vec<&'static str>),
        since: Option<u64>,
    ) -> Result<(), String> {
        if uids.is_empty() {
            return Ok(());
        }
        let by_uid = self.by_uid(step);
        let writes: Vec<(&'static str, bool)> = match sign {
            "+" => flags.iter().map(|flag| (*flag, true)).collect(),
            "-" => flags.iter().map(|flag| (*flag, false)).collect(),
            _ => FLAGS.iter().map(|flag| (*flag, flags.contains(flag))).collect(),
        };
        if step.other {
            self.believe(&uids, &writes);
        }
        let act = Act::Store { mailbox: self.mailbox, uids: uids.clone(), flags: writes };
        let look = self.truth.look();
        let ticket = self.truth.begin(act);
        let command = format!(
            "{}STORE {set} {}{sign}FLAGS{} ({})",
            if by_uid { "UID " } else { "" },
            since.map_or_else(String::new, |since| format!("(UNCHANGEDSINCE {since}) ")),
            if step.other { ".SILENT" } else { "" },
            flags.join(" ")
        );
        let reply = self.client.ok(&command)?;
        let left = left_alone(&reply.status, by_uid, &self.picture);
        if since.is_none() && !left.is_empty() {
            return Err("MODIFIED without UNCHANGEDSINCE".to_owned());
        }
        self.truth.end(ticket, &Outcome::DoneBut(left));
        self.hear(&reply, if by_uid { ANY } else { HELD })?;
        self.learn()?;
        if !by_uid {
            self.truth.look_no_more(look);
            return Ok(());
        }
        self.truth.check(look, self.mailbox, &self.picture)
    }

    /// What is stored in silence is believed without being told.
    fn believe(&mut self, uids: &[u32], writes: &[(&'static str, bool)]) {
        let mails = self.picture.mails.iter_mut();
        let meant = mails.filter(|mail| mail.uid.is_some_and(|uid| uids.contains(&uid)));
        for flags in meant.filter_map(|mail| mail.flags.as_mut()) {
            for (flag, value) in writes {
                if *value {
                    flags.insert((*flag).to_owned());
                } else {
                    flags.remove(*flag);
                }
            }
        }
    }

    fn expunge(&mut self, among: Option<Vec<u32>>) -> Result<(), String> {
        let command = match &among {
            Some(uids) => {
                let set: Vec<String> = uids.iter().map(u32::to_string).collect();
                format!("UID EXPUNGE {}", set.join(","))
            }
            None if self.picture.dialect.uid_only => "UID EXPUNGE 1:*".to_owned(),
            None => "EXPUNGE".to_owned(),
        };
        // By UID only those go that the session knows.
        let among = match among {
            None if self.picture.dialect.uid_only => Some(self.picture.uids()),
            among => among,
        };
        let ticket = self.truth.begin(Act::Expunge { mailbox: self.mailbox, among });
        let look = self.truth.look();
        let reply = self.client.ok(&command)?;
        self.truth.end(ticket, &Outcome::Done);
        self.hear(&reply, ANY)?;
        self.learn()?;
        self.truth.check(look, self.mailbox, &self.picture)
    }

    fn close(&mut self) -> Result<(), String> {
        let ticket = self.truth.begin(Act::Expunge { mailbox: self.mailbox, among: None });
        let reply = self.client.ok("CLOSE")?;
        self.truth.end(ticket, &Outcome::Done);
        let told = reply.untagged.iter().find(|it| !matches!(it, Response::Status(_)));
        if let Some(told) = told {
            return Err(format!("CLOSE told of {told:?}"));
        }
        // What went is not told: of the picture nothing is sure but by asking.
        let mailbox = self.mailbox;
        self.picture.validity = 0;
        self.select(mailbox)
    }

    fn transfer(&mut self, step: &Step) -> Result<(), String> {
        let (uids, set) = self.meant(step, step.count);
        if uids.is_empty() {
            return Ok(());
        }
        let by_uid = self.by_uid(step);
        let moves = step.kind == Kind::Move;
        let to = if step.other && !moves { self.mailbox } else { self.elsewhere() };
        let look = self.truth.look();
        let act = Act::Transfer { from: self.mailbox, uids, to, moves };
        let ticket = self.truth.begin(act);
        let command = format!(
            "{}{} {set} {to}",
            if by_uid { "UID " } else { "" },
            if moves { "MOVE" } else { "COPY" }
        );
        let reply = self.client.ok(&command)?;
        let mut statuses = vec![&reply.status];
        statuses.extend(reply.untagged.iter().filter_map(|response| match response {
            Response::Status(status) => Some(status),
            _ => None,
        }));
        let pairs = statuses.into_iter().find_map(copied);
        self.truth.end(ticket, &Outcome::Transferred(pairs.unwrap_or_default()));
        self.hear(&reply, ANY)?;
        self.learn()?;
        self.truth.check(look, self.mailbox, &self.picture)
    }

    fn search(&mut self, step: &Step) -> Result<(), String> {
        let by_uid = self.by_uid(step);
        let flags = step.flags();
        let (key, flag) = match flags.first().copied() {
            Some("\\Seen") => ("UNSEEN", "\\Seen"),
            Some("\\Answered") => ("UNANSWERED", "\\Answered"),
            Some("\\Flagged") => ("UNFLAGGED", "\\Flagged"),
            Some("\\Draft") => ("UNDRAFT", "\\Draft"),
            _ => ("UNKEYWORD $One", "$One"),
        };
        let lacks = |it: &crate::imap::picture::Known| {
            it.flags.as_ref().is_some_and(|flags| !flags.contains(flag))
        };
        // The picture before the answer: that is what the session was told until now.
        let lacking = self.picture.mails.iter().zip(1u32..).filter(|(it, _)| lacks(it));
        let expected: Vec<u32> =
            lacking.filter_map(|(it, number)| if by_uid { it.uid } else { Some(number) }).collect();
        let command = format!("{}SEARCH {key}", if by_uid { "UID " } else { "" });
        let moment = if by_uid { ANY } else { HELD };
        let reply = self.checked(&command, moment)?;
        let found = found(&reply);
        if found != expected {
            return Err(format!("{key} found {found:?} where the session knows of {expected:?}"));
        }
        Ok(())
    }

    fn fetch_flags(&mut self, step: &Step) -> Result<(), String> {
        let (uids, set) = self.meant(step, 20);
        if uids.is_empty() {
            return Ok(());
        }
        let by_uid = self.by_uid(step);
        let command = format!("{}FETCH {set} (UID FLAGS)", if by_uid { "UID " } else { "" });
        let moment = Moment { expunges: by_uid, news: false };
        let reply = self.checked(&command, moment)?;
        let told: Vec<u32> = reply.untagged.iter().filter_map(uid_of).collect();
        match uids.iter().find(|uid| !told.contains(uid)) {
            Some(uid) => Err(format!("nothing was told of UID {uid}")),
            None => Ok(()),
        }
    }

    fn fetch_body(&mut self, step: &Step) -> Result<(), String> {
        let (uids, set) = self.meant(step, step.count);
        if uids.is_empty() {
            return Ok(());
        }
        let by_uid = self.by_uid(step);
        let peek = if step.other { ".PEEK" } else { "" };
        let command = format!("{}FETCH {set} (UID BODY{peek}[])", if by_uid { "UID " } else { "" });
        let flags = if step.other { Vec::new() } else { vec![("\\Seen", true)] };
        let ticket = self.truth.begin(Act::Store { mailbox: self.mailbox, uids, flags });
        let reply = self.client.command(&command)?;
        let missing = reply.status.code.first().is_some_and(|code| code == "EXPUNGEISSUED");
        if reply.status.word != "OK" && !missing {
            return Err("refused".to_owned());
        }
        self.truth.end(ticket, &Outcome::Done);
        self.hear(&reply, Moment { expunges: by_uid, news: false })?;
        for response in &reply.untagged {
            let (Response::Fetch(_, fetched) | Response::UidFetch(_, fetched)) = response else {
                continue;
            };
            let (Some(uid), Some(body)) = (uid_of(response), &fetched.body) else { continue };
            let number = content::number(body).ok_or_else(|| format!("UID {uid} is broken"))?;
            let known = self.truth.content(self.mailbox, uid);
            if known.is_some_and(|known| known != number) {
                return Err(format!("UID {uid} holds {number}, not {known:?}"));
            }
        }
        self.learn()
    }

    fn idle(&mut self, wait_ms: u64) -> Result<(), String> {
        let tag = self.client.send("IDLE")?;
        // Up to the continuation nothing is said; after it, what happened meanwhile.
        match self.client.response()? {
            Response::Continue => {}
            other => return Err(format!("IDLE began with {other:?}")),
        }
        let mut wait = Duration::from_millis(wait_ms);
        while let Some(response) = self.client.response_within(wait)? {
            self.picture.hear(&response, ANY)?;
            wait = Duration::from_millis(1);
        }
        let look = self.truth.look();
        self.client.write("DONE\r\n")?;
        let reply = self.client.reply(&tag)?;
        if reply.status.word != "OK" {
            return Err("IDLE was refused".to_owned());
        }
        self.hear(&reply, ANY)?;
        self.learn()?;
        self.truth.check(look, self.mailbox, &self.picture)
    }

    fn status(&mut self) -> Result<(), String> {
        let mailbox = self.elsewhere();
        let reply = self.checked(&format!("STATUS {mailbox} (UIDNEXT HIGHESTMODSEQ)"), ANY)?;
        let found = reply.untagged.iter().find_map(|response| match response {
            Response::MailboxStatus(name, figures) if name == mailbox => Some(figures),
            _ => None,
        });
        let figures = found.ok_or("no STATUS")?;
        let figure = |name: &str| figures.iter().find(|(it, _)| it == name).map(|(_, it)| *it);
        let (Some(next), Some(modseq)) = (figure("UIDNEXT"), figure("HIGHESTMODSEQ")) else {
            return Err("STATUS lacks what was asked for".to_owned());
        };
        let place = MAILBOXES.iter().position(|name| *name == mailbox).unwrap_or_default();
        let known = self.figures.get_mut(place).ok_or("no such mailbox")?;
        if next < known.0 || modseq < known.1 {
            return Err(format!("{mailbox} went back from {known:?}"));
        }
        *known = (next, modseq);
        // RFC 7162 3.1: to ask for HIGHESTMODSEQ is to want mod-sequences.
        self.picture.dialect.condstore = true;
        Ok(())
    }
}

/// UIDs of a MODIFIED code (RFC 7162 3.1.3).
fn left_alone(status: &Status, by_uid: bool, picture: &Picture) -> Vec<u32> {
    let code: Vec<&str> = status.code.iter().map(String::as_str).collect();
    let ["MODIFIED", set] = code.as_slice() else { return Vec::new() };
    let named = crate::imap::syntax::ranges(set).unwrap_or_default().into_iter().flatten();
    if by_uid {
        return named.collect();
    }
    let uid = |number: u32| {
        picture.mails.get(usize::try_from(number).ok()?.checked_sub(1)?).and_then(|it| it.uid)
    };
    named.filter_map(uid).collect()
}

/// Pairs of a COPYUID code (RFC 4315 3).
fn copied(status: &Status) -> Option<Vec<(u32, u32)>> {
    let code: Vec<&str> = status.code.iter().map(String::as_str).collect();
    let ["COPYUID", _, from, to] = code.as_slice() else { return None };
    let uids = |set| Some(crate::imap::syntax::ranges(set)?.into_iter().flatten());
    Some(uids(from)?.zip(uids(to)?).collect())
}

/// What SEARCH or ESEARCH found.
fn found(reply: &Reply) -> Vec<u32> {
    let found = reply.untagged.iter().flat_map(|response| match response {
        Response::Search(numbers) => numbers.clone(),
        Response::Esearch(ranges) => ranges.iter().flat_map(Clone::clone).collect(),
        _ => Vec::new(),
    });
    found.collect()
}

fn uid_of(response: &Response) -> Option<u32> {
    match response {
        Response::Fetch(_, fetched) => fetched.uid,
        Response::UidFetch(uid, _) => Some(*uid),
        _ => None,
    }
}
