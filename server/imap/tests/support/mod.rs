//! A store in memory and a driver without sockets, for conversations with the machine.
//!
//! Invariants: the store keeps the promises of `grace_imap::machine`; a script's server lines must
//! all come, in order, and nothing else.
//! Not here: what is tested.

#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test that is wrong should say so")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use grace_imap::command::{Source, SpecialUse};
use grace_imap::date::DateTime;
use grace_imap::facts::{self, Facts};
use grace_imap::flags::{FlagOperation, Flags, SystemFlag};
use grace_imap::keys::Keys;
use grace_imap::machine::{
    Action, Answer, Beside, Figures, Hits, Listed, Message, Need, Opened, Overheard, PreviewOf,
    Quota, Request, Resource, Sought, Status, Wanted, Why,
};
use grace_imap::metadata::{ENTRIES_MAX, Entry};
use grace_imap::name::MailboxName;
use grace_imap::places::Places;
use grace_imap::rights::Rights;
use grace_imap::rows::Row;
use grace_imap::session::{Session, Settings};
use grace_imap::set::Ranges;
use grace_imap::url::{ImapUrl, Reader};
use grace_imap::view::Changes;
use grace_mail::mime::Tree;
use grace_mail::text;

/// A message in memory.
#[derive(Clone)]
pub(crate) struct Mail {
    pub(crate) flags: Flags,
    pub(crate) modseq: u64,
    pub(crate) date: DateTime,
    pub(crate) saved: DateTime,
    pub(crate) email_id: String,
    /// None: no preview was made of it yet.
    pub(crate) preview: Option<String>,
    pub(crate) thread_id: String,
    pub(crate) bytes: Vec<u8>,
}

/// A mailbox in memory.
#[derive(Clone, Default)]
pub(crate) struct Mailbox {
    pub(crate) uid_validity: u32,
    pub(crate) uid_next: u32,
    pub(crate) modseq: u64,
    pub(crate) mails: BTreeMap<u32, Mail>,
    pub(crate) vanished: Vec<(u64, u32)>,
    pub(crate) special_use: Option<SpecialUse>,
    pub(crate) metadata: BTreeMap<Entry, Vec<u8>>,
    pub(crate) orders: Vec<Arc<Places>>,
}

/// Everything, shared by the sessions of a test.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) mailboxes: BTreeMap<String, Mailbox>,
    pub(crate) subscriptions: Vec<String>,
    pub(crate) validity: u32,
    /// What messages are called or refer to, each with its base subject, and the thread of those.
    pub(crate) threads: BTreeMap<(u64, String), String>,
    pub(crate) metadata: BTreeMap<Entry, Vec<u8>>,
    /// What others may do with any mailbox.
    pub(crate) acl: BTreeMap<String, Rights>,
    /// What the one who is logged in may do with mailboxes; with others: all.
    pub(crate) rights: BTreeMap<String, Rights>,
    /// Nothing more may be kept.
    pub(crate) is_full: bool,
    /// Nothing more may come into this mailbox, from wherever it is.
    pub(crate) full: Option<String>,
    /// The quota roots of every mailbox; empty: the one of [`quota`].
    pub(crate) quotas: Vec<Quota>,
    /// How often the key of a mailbox was changed.
    pub(crate) url_keys: BTreeMap<String, u64>,
    /// So many mailboxes can be watched, if it is set.
    pub(crate) watched_max: Option<usize>,
    /// Flags cannot be written.
    pub(crate) refuses_flags: bool,
}

impl Store {
    fn url_key(&self, name: &str) -> u64 {
        self.url_keys.get(name).copied().unwrap_or_default()
    }

    fn rights(&self, name: &str) -> Rights {
        self.rights.get(name).copied().unwrap_or(Rights::ALL)
    }

    /// Why a mailbox cannot be used: it is not there, or one of these rights is missing.
    fn refusal(&self, name: &str, needed: &str) -> Option<Answer> {
        let rights = self.rights(name);
        if !self.mailboxes.contains_key(name) || !rights.has_any("lrikxa") {
            return Some(Answer::Refused(Why::NoSuchMailbox));
        }
        let missing = needed.bytes().any(|right| !rights.has(right));
        missing.then_some(Answer::Refused(Why::NoPermission))
    }

    /// Whether the nearest mailbox above a name lets others be made below it.
    fn may_make(&self, name: &MailboxName) -> bool {
        let above: Vec<MailboxName> = name.ancestors().collect();
        let there = above.iter().rev().find(|one| self.mailboxes.contains_key(one.as_str()));
        there.is_none_or(|one| self.rights(one.as_str()).has(b'k'))
    }

    /// The flags that are kept of a message that comes into a mailbox.
    fn kept(&self, name: &str, flags: &Flags) -> Flags {
        let rights = self.rights(name);
        let bit = |right: u8, flag: SystemFlag| if rights.has(right) { flag.bit() } else { 0 };
        let seen = bit(b's', SystemFlag::Seen) | bit(b't', SystemFlag::Deleted);
        let others = !(SystemFlag::Seen.bit() | SystemFlag::Deleted.bit());
        let keywords = flags.keywords().iter().map(|keyword| keyword.as_str());
        match rights.has(b'w') {
            true => Flags::from_parts(flags.system_bits() & (seen | others), keywords),
            false => Flags::from_parts(flags.system_bits() & seen, []),
        }
    }

    pub(crate) fn make(&mut self, name: &str) -> &mut Mailbox {
        self.validity += 1;
        let uid_validity = self.validity;
        self.mailboxes.entry(name.to_owned()).or_insert(Mailbox {
            uid_validity,
            uid_next: 1,
            modseq: 1,
            ..Mailbox::default()
        })
    }

    pub(crate) fn deliver(
        &mut self,
        name: &str,
        bytes: &[u8],
        flags: Flags,
        date: DateTime,
    ) -> u32 {
        let mailbox = self.mailboxes.get_mut(name).expect("a mailbox");
        mailbox.modseq += 1;
        let uid = mailbox.uid_next;
        mailbox.uid_next += 1;
        let email_id = format!("E{}-{uid}", mailbox.uid_validity);
        let (modseq, saved, bytes) = (mailbox.modseq, NOW, bytes.to_vec());
        let preview = Facts::of(&bytes).preview;
        let thread_id = thread_of(&mut self.threads, &bytes, format!("T{}", &email_id[1..]));
        let mail = Mail { flags, modseq, date, saved, email_id, preview, thread_id, bytes };
        mailbox.mails.insert(uid, mail);
        uid
    }

    fn metadata(&mut self, name: Option<&MailboxName>) -> Option<&mut BTreeMap<Entry, Vec<u8>>> {
        match name {
            None => Some(&mut self.metadata),
            Some(name) => Some(&mut self.mailboxes.get_mut(name.as_str())?.metadata),
        }
    }

    pub(crate) fn remove(&mut self, name: &str, uids: &[u32]) {
        let mailbox = self.mailboxes.get_mut(name).expect("a mailbox");
        for uid in uids {
            if mailbox.mails.remove(uid).is_some() {
                mailbox.modseq += 1;
                mailbox.vanished.push((mailbox.modseq, *uid));
            }
        }
    }
}

/// A message on its way in: where to, with which flags and date, its bytes.
type Appending = (String, Flags, Option<DateTime>, Vec<u8>);

/// Annotations of mailboxes, and of the account.
type Notes = BTreeMap<(Option<String>, Entry), Vec<u8>>;

/// A session with its driver.
pub(crate) struct Client {
    pub(crate) session: Session,
    store: Rc<RefCell<Store>>,
    selected: Option<String>,
    /// How often the key of its URLs had changed when it was last looked at.
    url_key: u64,
    /// The mailbox last looked into.
    peeked: String,
    append: Vec<Appending>,
    watched: Vec<Source>,
    /// Annotations as they were when the session last looked.
    noted: Notes,
    pub(crate) output: Vec<u8>,
    /// The most bytes that the session had in memory at once for the client.
    pub(crate) longest: usize,
    pub(crate) flushes: usize,
    pub(crate) closed: bool,
    pub(crate) tls: bool,
    pub(crate) compressed: bool,
    pub(crate) refusals: usize,
    pub(crate) introduced: String,
    pub(crate) overheard: Vec<Overheard>,
    pub(crate) now: DateTime,
    /// So many seconds pass with every question to the store.
    pub(crate) waits: i64,
    /// The next question that is about mailboxes or messages is answered so.
    pub(crate) refuse_next: Option<Why>,
}

/// 2026-11-23 19:00:00 +0000.
pub(crate) const NOW: DateTime = DateTime { time_s: 1_795_460_400, zone_min: 0 };

pub(crate) fn settings() -> Settings {
    Settings {
        hostname: "mail.example.org".into(),
        version: "0".into(),
        tls: false,
        offers_starttls: true,
        plain_login: true,
        sasl: Vec::new(),
        append_bytes_max: 1_000_000,
        login_s: 60,
        silence_s: 1_800,
        errors_max: 20,
        login_failures_max: 5,
    }
}

/// Lines of logins that the driver reads, and what it says to them; to some: nothing, it is done.
/// Two lines of no mechanism, those of RFC 7677 3 in base64, the same with `p=tls-exporter`, what
/// answers the server's proof, and what EXTERNAL may say (RFC 4422 A).
const SASL_LINES: [(&str, &str); 9] = [
    ("d2hv", "YW5k"),
    ("cmlnaHQ=", ""),
    (
        "biwsbj11c2VyLHI9ck9wck5HZndFYmVSV2diTkVrcU8=",
        "cj1yT3ByTkdmd0ViZVJXZ2JORWtxTyVodllEcFdVYTJSYVRDQWZ1eEZJbGopaE5sRiRrMCxzPVcyMlphSjBTTlk3c2\
         9Fc1VFamI2Z1E9PSxpPTQwOTY=",
    ),
    (
        "Yz1iaXdzLHI9ck9wck5HZndFYmVSV2diTkVrcU8laHZZRHBXVWEyUmFUQ0FmdXhGSWxqKWhObEYkazAscD1kSHpiWm\
         FwV0lrNGpVaE4rVXRlOXl0YWc5empmTUhnc3FtbWl6N0FuZFZRPQ==",
        "dj02cnJpVFJCaTIzV3BSUi93dHVwK21NaFVaVW4vZEI1bkxUSlJzamw5NUc0PQ==",
    ),
    (
        "cD10bHMtZXhwb3J0ZXIsLG49dXNlcixyPXJPcHJOR2Z3RWJlUldnYk5Fa3FP",
        "cj1yT3ByTkdmd0ViZVJXZ2JORWtxTyVodllEcFdVYTJSYVRDQWZ1eEZJbGopaE5sRiRrMCxzPVcyMlphSjBTTlk3c2\
         9Fc1VFamI2Z1E9PSxpPTQwOTY=",
    ),
    (
        "Yz1jRDEwYkhNdFpYaHdiM0owWlhJc0xBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBLHI9\
         ck9wck5HZndFYmVSV2diTkVrcU8laHZZRHBXVWEyUmFUQ0FmdXhGSWxqKWhObEYkazAscD1EalFuSlZsK1Vzb3BJUm\
         wxck5TZ25DWFJMdDQxTlp5U1hMbjNrc1VSNmVBPQ==",
        "dj1PeDF6T1NHWTBBYm1DYXhoVWFKaHdLSjRjYkhTL3NBRTg0bUhXNmZPSVRnPQ==",
    ),
    ("", ""),
    ("=", ""),
    ("YW5u", ""),
];

impl Client {
    pub(crate) fn new(store: &Rc<RefCell<Store>>, settings: Settings) -> Self {
        let mut client = Self {
            session: Session::new(settings),
            store: Rc::clone(store),
            selected: None,
            url_key: 0,
            peeked: String::new(),
            append: Vec::new(),
            watched: Vec::new(),
            noted: Notes::new(),
            now: NOW,
            waits: 0,
            refuse_next: None,
            compressed: false,
            output: Vec::new(),
            longest: 0,
            flushes: 0,
            closed: false,
            tls: false,
            refusals: 0,
            introduced: String::new(),
            overheard: Vec::new(),
        };
        client.run();
        client
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.session.set_time(self.now.time_s);
        self.session.receive(bytes);
        self.run();
    }

    pub(crate) fn wake(&mut self) {
        self.session.set_time(self.now.time_s);
        self.session.wake();
        self.run();
    }

    pub(crate) fn run(&mut self) {
        while let Some(action) = self.session.poll() {
            match action {
                Action::Send(bytes) => {
                    self.longest = self.longest.max(bytes.len());
                    self.output.extend(bytes);
                }
                Action::SendMessage { uid, start, length } => {
                    let store = self.store.borrow();
                    let name = self.selected.as_ref().expect("selected");
                    let bytes = &store.mailboxes[name].mails[&uid].bytes;
                    let [start, length] =
                        [start, length].map(|number| usize::try_from(number).expect("small"));
                    self.output.extend(&bytes[start..start + length]);
                }
                Action::StartTls => {
                    self.tls = true;
                    self.session.tls_started();
                }
                Action::StartCompression => self.compressed = true,
                Action::EndCompression => self.compressed = false,
                Action::Flush => self.flushes += 1,
                Action::Ask(request) => {
                    let answer = self.serve(request);
                    self.now.time_s += self.waits;
                    self.session.set_time(self.now.time_s);
                    self.session.answer(answer);
                }
                Action::Refused { .. } => self.refusals += 1,
                Action::Introduced(name) => self.introduced = name,
                Action::Overheard(said) => self.overheard.push(said),
                Action::Close(_) => self.closed = true,
            }
        }
    }

    fn serve(&mut self, request: Request) -> Answer {
        if let Some(why) = self.refuse_next.take() {
            return Answer::Refused(why);
        }
        match request {
            Request::Login { login, password, .. } => {
                match login == "ann" && password.0 == "secret \"word\"" {
                    true => Answer::Done,
                    false => Answer::Refused(Why::WrongPassword),
                }
            }
            Request::SaslBegin { initial: None, .. } => Answer::Challenge(String::new()),
            Request::SaslBegin { initial: Some(line), .. } | Request::SaslLine(line) => {
                Self::sasl_line(&line)
            }
            Request::Mailboxes => self.mailboxes(),
            Request::Watch { sources, .. } => {
                self.watched = sources;
                self.noted = self.notes();
                Answer::Done
            }
            Request::Figures => self.figures(),
            Request::UrlSign(_) | Request::UrlRead(_) | Request::UrlReset(_) => {
                self.on_urls(request)
            }
            Request::Open { mailbox, .. } => {
                let opened = self.opened(&mailbox);
                if matches!(opened, Answer::Opened(_)) {
                    self.url_key = self.store.borrow().url_key(mailbox.as_str());
                    self.selected = Some(mailbox.to_string());
                }
                opened
            }
            Request::MyRights(_)
            | Request::ListRights(..)
            | Request::Acl(_)
            | Request::SetAcl(..)
            | Request::DeleteAcl(..)
            | Request::Quota(_)
            | Request::QuotaRoots(_)
            | Request::SetQuota(..) => self.on_rights(request),
            Request::Metadata(_) | Request::SetMetadata(..) => self.on_metadata(request),
            Request::Peek(mailbox) => {
                self.peeked = mailbox.to_string();
                self.opened(&mailbox)
            }
            Request::ReadPeeked { uid, need, beside } => {
                let mut store = self.store.borrow_mut();
                let mailbox = store.mailboxes.get_mut(&self.peeked).expect("looked into");
                let mail = mailbox.mails.get_mut(&uid);
                Answer::Message(mail.map(|mail| read(mail, need, beside)))
            }
            Request::Find { texts, peeked } => self.places(&texts, peeked),
            Request::Leave => {
                self.selected = None;
                Answer::Done
            }
            Request::Logout => {
                self.selected = None;
                Answer::Done
            }
            Request::AppendBegin { .. }
            | Request::AppendChunk(_)
            | Request::AppendUrl(_)
            | Request::AppendEnd
            | Request::AppendCommit { .. }
            | Request::AppendAbort => self.on_appending(request),
            Request::Create(..)
            | Request::Delete(_)
            | Request::Subscribe(..)
            | Request::Status(_)
            | Request::StatusDeleted(_) => self.on_names(request),
            Request::Rename(from, to) => {
                let answer = self.on_names(Request::Rename(from.clone(), to.clone()));
                // The driver knows mailboxes by number.
                if answer == Answer::Done
                    && !from.is_inbox()
                    && let Some(selected) = &mut self.selected
                    && let Some(rest) = selected.strip_prefix(from.as_str())
                {
                    *selected = format!("{to}{rest}");
                }
                answer
            }
            Request::Changes { .. }
            | Request::Vanished { .. }
            | Request::Keys { .. }
            | Request::Places(_)
            | Request::KeepPlaces(_)
            | Request::Read { .. }
            | Request::Facts { .. }
            | Request::Flags { .. }
            | Request::Expunge(_)
            | Request::Copy { .. } => self.on_messages(request),
        }
    }

    /// Answers as `SASL_LINES` have it.
    fn sasl_line(line: &[u8]) -> Answer {
        match SASL_LINES.iter().find(|(said, _)| said.as_bytes() == line) {
            Some((_, "")) => Answer::Done,
            Some((_, challenge)) => Answer::Challenge((*challenge).to_owned()),
            None => Answer::Refused(Why::WrongPassword),
        }
    }

    /// Knows where texts are in messages with an even UID, and nothing of the others.
    fn places(&self, texts: &[Sought], peeked: bool) -> Answer {
        let store = self.store.borrow();
        let name = if peeked { &self.peeked } else { self.selected.as_ref().expect("selected") };
        let Some(mailbox) = store.mailboxes.get(name) else {
            return Answer::Refused(Why::NoSuchMailbox);
        };
        let has = |sought: &Sought, raw: &[u8]| match sought.in_head {
            true => text::message_contains(raw, &Tree::parse(raw), &sought.needle),
            false => text::body_contains(raw, &Tree::parse(raw), &sought.needle),
        };
        let hits = |sought: &Sought| {
            let even = mailbox.mails.iter().filter(|(uid, _)| **uid % 2 == 0);
            let sure =
                even.filter(|(_, mail)| has(sought, &mail.bytes)).map(|(uid, _)| *uid..=*uid);
            let odd = mailbox.mails.keys().filter(|uid| *uid % 2 == 1).map(|uid| *uid..=*uid);
            Hits { sure: Ranges::of(sure), doubt: Ranges::of(odd) }
        };
        Answer::Found(texts.iter().map(hits).collect())
    }

    fn on_rights(&self, request: Request) -> Answer {
        if let Request::Acl(mailbox)
        | Request::ListRights(mailbox, _)
        | Request::SetAcl(mailbox, ..)
        | Request::DeleteAcl(mailbox, _) = &request
            && let Some(refused) = self.store.borrow().refusal(mailbox.as_str(), "a")
        {
            return refused;
        }
        match request {
            Request::MyRights(mailbox) => {
                let store = self.store.borrow();
                let refused = store.refusal(mailbox.as_str(), "");
                refused.unwrap_or_else(|| Answer::Rights(store.rights(mailbox.as_str())))
            }
            Request::ListRights(_, who) => {
                let always = if who == "ann" { "la" } else { "" };
                Answer::Rights(Rights::parse(always).expect("rights"))
            }
            Request::Acl(_) => {
                let acl = self.store.borrow().acl.clone();
                let own = ("ann".to_owned(), Rights::ALL);
                Answer::Acl(std::iter::once(own).chain(acl).collect())
            }
            Request::SetAcl(_, who, change) => {
                let mut store = self.store.borrow_mut();
                let before = store.acl.get(&who).copied().unwrap_or_default();
                store.acl.insert(who, change.apply(before));
                Answer::Done
            }
            Request::DeleteAcl(_, who) => {
                self.store.borrow_mut().acl.remove(&who);
                Answer::Done
            }
            Request::Quota(root) => {
                let found = self.quotas().into_iter().find(|quota| quota.root == root);
                let missing = "there is no such quota root";
                let refused = Answer::Refused(Why::NotAllowed(missing.into()));
                found.map_or(refused, |quota| Answer::Quota(vec![quota]))
            }
            Request::QuotaRoots(_) => Answer::Quota(self.quotas()),
            Request::SetQuota(..) => Answer::Refused(Why::NoPermission),
            other => panic!("{other:?}"),
        }
    }

    fn quotas(&self) -> Vec<Quota> {
        let quotas = self.store.borrow().quotas.clone();
        if quotas.is_empty() { vec![quota(String::new())] } else { quotas }
    }

    fn on_metadata(&self, request: Request) -> Answer {
        match request {
            Request::Metadata(mailbox) => {
                let mut store = self.store.borrow_mut();
                let known = mailbox.as_ref().and_then(|name| store.mailboxes.get(name.as_str()));
                let special_use = known.and_then(|mailbox| mailbox.special_use);
                let Some(entries) = store.metadata(mailbox.as_ref()) else {
                    return Answer::Refused(Why::NoSuchMailbox);
                };
                let mut entries = entries.clone();
                if let Some(special_use) = special_use {
                    entries.insert(Entry::special_use(), special_use.name().into());
                }
                Answer::Metadata(entries.into_iter().collect())
            }
            Request::SetMetadata(mailbox, changes) => {
                let mut store = self.store.borrow_mut();
                let Some(entries) = store.metadata(mailbox.as_ref()) else {
                    return Answer::Refused(Why::NoSuchMailbox);
                };
                if entries.len() + changes.len() > ENTRIES_MAX {
                    return Answer::Refused(Why::MetadataTooMany);
                }
                for (entry, value) in changes {
                    match value {
                        Some(value) => entries.insert(entry, value),
                        None => entries.remove(&entry),
                    };
                }
                Answer::Done
            }
            other => panic!("{other:?}"),
        }
    }

    fn on_appending(&mut self, request: Request) -> Answer {
        match request {
            Request::AppendBegin { mailbox, flags, date, replaces } => {
                let store = self.store.borrow();
                if let Some(refused) = store.refusal(mailbox.as_str(), "i") {
                    return refused;
                }
                // Mailboxes that are full by themselves are of somebody else.
                let is_full = store.is_full && !replaces;
                if is_full || store.full.as_deref() == Some(mailbox.as_str()) {
                    return Answer::Refused(Why::OverQuota);
                }
                drop(store);
                self.append.push((mailbox.to_string(), flags, date, Vec::new()));
                Answer::Done
            }
            Request::AppendChunk(bytes) => {
                self.append.last_mut().expect("begun").3.extend(bytes);
                Answer::Done
            }
            Request::AppendUrl(url) => {
                let store = self.store.borrow();
                let may_read = match &url.access {
                    Some(_) => signed_data(&store, &url).is_some(),
                    None => store.refusal(url.mailbox.as_str(), "r").is_none(),
                };
                if !may_read {
                    return Answer::Refused(Why::BadUrl(url.text));
                }
                let mailbox = store.mailboxes.get(url.mailbox.as_str());
                let is_it = |one: &&Mailbox| url.uid_validity.is_none_or(|v| v == one.uid_validity);
                let mail = mailbox.filter(is_it).and_then(|mailbox| mailbox.mails.get(&url.uid));
                let bytes = mail.and_then(|mail| {
                    let tree = Tree::parse(&mail.bytes);
                    url.section.bytes(&mail.bytes, &tree).map(|bytes| bytes.into_owned())
                });
                let Some(bytes) = bytes else {
                    return Answer::Refused(Why::BadUrl(url.text));
                };
                self.append.last_mut().expect("begun").3.extend(bytes);
                Answer::Done
            }
            Request::AppendEnd => Answer::Done,
            Request::AppendCommit { replaces } => self.commit(replaces),
            Request::AppendAbort => {
                self.append.clear();
                Answer::Done
            }
            other => panic!("{other:?}"),
        }
    }

    fn commit(&mut self, replaces: Option<u32>) -> Answer {
        let mut store = self.store.borrow_mut();
        let selected = self.selected.clone().unwrap_or_default();
        let rights = store.rights(&selected);
        if replaces.is_some() && !(rights.has(b't') && rights.has(b'e')) {
            return Answer::Refused(Why::NoPermission);
        }
        let is_gone = |uid| !store.mailboxes[&selected].mails.contains_key(&uid);
        if replaces.is_some_and(is_gone) {
            return Answer::Refused(Why::MessageGone);
        }
        let (mut uids, mut uid_validity) = (Vec::new(), 0);
        for (name, flags, date, bytes) in std::mem::take(&mut self.append) {
            let flags = store.kept(&name, &flags);
            let uid = store.deliver(&name, &bytes, flags, date.unwrap_or(self.now));
            let mailbox = store.mailboxes.get_mut(&name).expect("there");
            mailbox.mails.get_mut(&uid).expect("just made").saved = self.now;
            uids.push(uid);
            uid_validity = mailbox.uid_validity;
        }
        if let Some(uid) = replaces {
            store.remove(&selected, &[uid]);
        }
        Answer::Appended { uid_validity, uids }
    }

    fn mailboxes(&self) -> Answer {
        let store = self.store.borrow();
        let names = store.mailboxes.keys().chain(&store.subscriptions);
        let mut names: Vec<&String> = names.collect();
        names.sort();
        names.dedup();
        let listed = |name: &String| Listed {
            name: MailboxName::parse(name).expect("a name"),
            exists: store.mailboxes.contains_key(name) && store.rights(name).has(b'l'),
            subscribed: store.subscriptions.contains(name),
            special_use: store.mailboxes.get(name).and_then(|mailbox| mailbox.special_use),
        };
        let listed = names.into_iter().map(listed);
        Answer::Mailboxes(listed.filter(|one| one.exists || one.subscribed).collect())
    }

    fn on_urls(&self, request: Request) -> Answer {
        let mut store = self.store.borrow_mut();
        match request {
            Request::UrlSign(url) => {
                let is_mine = url.server.and_then(|one| one.user).as_deref() == Some("ann");
                match store.mailboxes.contains_key(url.mailbox.as_str()) && is_mine {
                    true => Answer::Signed(token(
                        &store,
                        url.mailbox.as_str(),
                        &url.access.expect("it says who").rump,
                    )),
                    false => Answer::Refused(Why::NoSuchMailbox),
                }
            }
            Request::UrlRead(url) => Answer::UrlData(signed_data(&store, &url)),
            Request::UrlReset(mailbox) => {
                let names: Vec<String> = match mailbox {
                    Some(name) if !store.mailboxes.contains_key(name.as_str()) => {
                        return Answer::Refused(Why::NoSuchMailbox);
                    }
                    Some(name) => vec![name.to_string()],
                    None => store.mailboxes.keys().cloned().collect(),
                };
                names.into_iter().for_each(|name| *store.url_keys.entry(name).or_default() += 1);
                Answer::Done
            }
            other => panic!("{other:?}"),
        }
    }

    fn notes(&self) -> Notes {
        let store = self.store.borrow();
        let of = |name: Option<&String>, notes: &BTreeMap<Entry, Vec<u8>>| {
            let key = |entry: &Entry| (name.cloned(), entry.clone());
            notes.iter().map(|(entry, value)| (key(entry), value.clone())).collect::<Vec<_>>()
        };
        let mut all = of(None, &store.metadata);
        store.mailboxes.iter().for_each(|(name, one)| all.extend(of(Some(name), &one.metadata)));
        all.into_iter().collect()
    }

    fn figures(&mut self) -> Answer {
        let Answer::Mailboxes(listed) = self.mailboxes() else { panic!("mailboxes") };
        let covers = |listed: &&Listed| self.watched.iter().any(|one| one.covers(listed, None));
        let count = listed.iter().filter(covers).count();
        if self.store.borrow().watched_max.is_some_and(|most| count > most) {
            return Answer::Refused(Why::Limit("too many mailboxes".into()));
        }
        let mailboxes = listed.into_iter().map(|listed| {
            let status = match self.on_names(Request::Status(listed.name.clone())) {
                Answer::Status(status) if listed.exists => Some(status),
                _ => None,
            };
            (listed, status)
        });
        let mailboxes = mailboxes.collect();
        let (now, before) = (self.notes(), std::mem::take(&mut self.noted));
        let mut annotated: Vec<_> =
            now.keys().chain(before.keys()).filter(|key| now.get(key) != before.get(key)).collect();
        annotated.sort();
        annotated.dedup();
        let name = |name: &String| MailboxName::parse(name).expect("a name");
        let annotated = annotated.into_iter();
        let annotated =
            annotated.map(|(mailbox, entry)| (mailbox.as_ref().map(name), entry.clone())).collect();
        self.noted = now;
        Answer::Figures(Figures { mailboxes, annotated })
    }

    fn opened(&self, name: &MailboxName) -> Answer {
        let store = self.store.borrow();
        if let Some(refused) = store.refusal(name.as_str(), "r") {
            return refused;
        }
        let mailbox = &store.mailboxes[name.as_str()];
        Answer::Opened(Opened {
            mailbox_id: format!("F{}", mailbox.uid_validity),
            uid_validity: mailbox.uid_validity,
            uid_next: mailbox.uid_next,
            modseq: mailbox.modseq,
            rights: store.rights(name.as_str()),
            recent_from: u32::MAX,
            rows: mailbox.mails.iter().map(|(uid, mail)| row(*uid, mail)).collect(),
        })
    }

    fn on_names(&mut self, request: Request) -> Answer {
        let mut store = self.store.borrow_mut();
        let missing = Answer::Refused(Why::NoSuchMailbox);
        match request {
            Request::Create(name, _) | Request::Rename(_, name) if !store.may_make(&name) => {
                return Answer::Refused(Why::NoPermission);
            }
            Request::Create(name, special_use) => {
                if store.mailboxes.contains_key(name.as_str()) {
                    return Answer::Refused(Why::Exists);
                }
                let mailbox = store.make(name.as_str());
                mailbox.special_use = special_use;
                return Answer::Created(format!("F{}", mailbox.uid_validity));
            }
            Request::Delete(name) => {
                if let Some(refused) = store.refusal(name.as_str(), "x") {
                    return refused;
                }
                if store.mailboxes.remove(name.as_str()).is_none() {
                    return missing;
                }
            }
            Request::Rename(from, to) => {
                // A name that has only others below it is nobody's to refuse.
                if store.mailboxes.contains_key(from.as_str())
                    && let Some(refused) = store.refusal(from.as_str(), "x")
                {
                    return refused;
                }
                if store.mailboxes.contains_key(to.as_str()) {
                    return Answer::Refused(Why::Exists);
                }
                return rename(&mut store, &from, &to);
            }
            Request::Subscribe(name, on) => {
                store.subscriptions.retain(|known| known != name.as_str());
                if on {
                    store.subscriptions.push(name.to_string());
                }
            }
            Request::Status(name) | Request::StatusDeleted(name) => {
                if let Some(refused) = store.refusal(name.as_str(), "r") {
                    return refused;
                }
                let Some(mailbox) = store.mailboxes.get(name.as_str()) else { return missing };
                let count = |flag| {
                    mailbox.mails.values().filter(|mail| mail.flags.has(flag)).count() as u64
                };
                let messages = mailbox.mails.len() as u64;
                return Answer::Status(Status {
                    mailbox_id: format!("F{}", mailbox.uid_validity),
                    messages,
                    recent: 0,
                    unseen: messages - count(SystemFlag::Seen),
                    deleted: count(SystemFlag::Deleted),
                    size: mailbox.mails.values().map(|mail| mail.bytes.len() as u64).sum(),
                    deleted_size: mailbox
                        .mails
                        .values()
                        .filter(|mail| mail.flags.has(SystemFlag::Deleted))
                        .map(|mail| mail.bytes.len() as u64)
                        .sum(),
                    uid_next: mailbox.uid_next,
                    uid_validity: mailbox.uid_validity,
                    modseq: mailbox.modseq,
                });
            }
            other => panic!("{other:?}"),
        }
        Answer::Done
    }

    fn on_messages(&mut self, request: Request) -> Answer {
        let name = self.selected.clone().expect("selected");
        let mut store = self.store.borrow_mut();
        let (refuses_flags, is_full) = (store.refuses_flags, store.is_full);
        let rights = store.rights(&name);
        if !rights.has(b'r') {
            return Answer::Refused(Why::NoSuchMailbox);
        }
        let url_key = store.url_key(&name);
        let Some(mailbox) = store.mailboxes.get_mut(&name) else {
            return Answer::Refused(Why::NoSuchMailbox);
        };
        match request {
            Request::Changes { since } => {
                let url_key = std::mem::replace(&mut self.url_key, url_key) != url_key;
                let changes = changes(mailbox, since);
                Answer::Changes(Changes { rights: Some(rights), url_key, ..changes })
            }
            Request::Vanished { since } => {
                let gone = mailbox.vanished.iter().filter(|(modseq, _)| *modseq > since);
                Answer::Vanished(gone.map(|(_, uid)| *uid..=*uid).collect())
            }
            Request::Keys { uids, need } => {
                let keys = |uid: &u32| {
                    let mail = read(mailbox.mails.get_mut(uid)?, need, Beside::default());
                    Some(Keys::of(*uid, mail.date.time_s, mail.size, &mail.bytes))
                };
                Answer::Keys(uids.iter().filter_map(keys).collect())
            }
            Request::Places(criteria) => {
                let mut orders = mailbox.orders.iter();
                Answer::Places(orders.find(|order| order.criteria() == criteria).cloned())
            }
            Request::KeepPlaces(places) => {
                mailbox.orders.retain(|order| order.criteria() != places.criteria());
                mailbox.orders.push(places);
                Answer::Done
            }
            Request::Read { uid, need, beside } => {
                let mail = mailbox.mails.get_mut(&uid);
                Answer::Message(mail.map(|mail| read(mail, need, beside)))
            }
            Request::Facts { uids, wanted, beside } => {
                let some = &uids[..uids.len().min(FACTS_MAX)];
                let told =
                    |uid: &u32| Some((*uid, told(mailbox.mails.get_mut(uid)?, wanted, beside)));
                let messages = some.iter().filter_map(told).collect();
                Answer::Messages { looked_at: some.len(), messages }
            }
            request @ Request::Flags { .. } => match refuses_flags {
                true => Answer::Refused(Why::Broken),
                false => change_flags(mailbox, request, rights),
            },
            Request::Expunge(_) if !rights.has(b'e') => Answer::Refused(Why::NoPermission),
            Request::Expunge(among) => {
                let deleted = |(uid, mail): &(&u32, &Mail)| {
                    mail.flags.has(SystemFlag::Deleted)
                        && among.as_ref().is_none_or(|uids| uids.contains(uid))
                };
                let uids: Vec<u32> =
                    mailbox.mails.iter().filter(deleted).map(|(uid, _)| *uid).collect();
                store.remove(&name, &uids);
                Answer::Done
            }
            Request::Copy { uids, mailbox: target, moves } => {
                if let Some(refused) = store.refusal(target.as_str(), "i") {
                    return refused;
                }
                if moves && !(rights.has(b't') && rights.has(b'e')) {
                    return Answer::Refused(Why::NoPermission);
                }
                if (is_full && !moves) || store.full.as_deref() == Some(target.as_str()) {
                    return Answer::Refused(Why::OverQuota);
                }
                let mut pairs = Vec::new();
                for uid in uids {
                    let mail = store.mailboxes[&name].mails.get(&uid).cloned();
                    let Some(mail) = mail else { continue };
                    let flags = store.kept(target.as_str(), &mail.flags);
                    let new = store.deliver(target.as_str(), &mail.bytes, flags, mail.date);
                    let made = store.mailboxes.get_mut(target.as_str()).expect("there");
                    let copy = made.mails.get_mut(&new).expect("just made");
                    (copy.email_id, copy.saved) = (mail.email_id, self.now);
                    copy.thread_id = mail.thread_id;
                    pairs.push((uid, new));
                }
                if moves {
                    let gone: Vec<u32> = pairs.iter().map(|pair| pair.0).collect();
                    store.remove(&name, &gone);
                }
                let uid_validity = store.mailboxes[target.as_str()].uid_validity;
                Answer::Copied { uid_validity, pairs }
            }
            other => panic!("{other:?}"),
        }
    }
}

/// What changed after a modification sequence.
fn changes(mailbox: &Mailbox, since: u64) -> Changes {
    let mails = mailbox.mails.iter().filter(|(_, mail)| mail.modseq > since);
    let gone = mailbox.vanished.iter().filter(|(modseq, _)| *modseq > since);
    Changes {
        modseq: mailbox.modseq,
        rows: mails.map(|(uid, mail)| row(*uid, mail)).collect(),
        recent_from: u32::MAX,
        vanished: gone.map(|(_, uid)| *uid..=*uid).collect(),
        rights: None,
        url_key: false,
    }
}

/// Changes flags as far as these rights allow.
fn change_flags(mailbox: &mut Mailbox, request: Request, rights: Rights) -> Answer {
    let Request::Flags { uids, operation, flags, unchanged_since } = request else {
        panic!("not about flags");
    };
    // One right for all flags is enough to see that the session bears the answers.
    if !rights.has_any("swt") {
        return Answer::Refused(Why::NoPermission);
    }
    let may_delete = rights.has(b't');
    let mut refused = Vec::new();
    let modseq = mailbox.modseq + 1;
    for uid in uids {
        let Some(mail) = mailbox.mails.get_mut(&uid) else { continue };
        if unchanged_since.is_some_and(|since| mail.modseq > since) {
            refused.push(uid);
            continue;
        }
        let mut new = mail.flags.changed_by(operation, &flags);
        if !may_delete && mail.flags.has(SystemFlag::Deleted) != new.has(SystemFlag::Deleted) {
            let mut deleted = Flags::none();
            deleted.insert(SystemFlag::Deleted);
            new = new.changed_by(FlagOperation::Remove, &deleted);
        }
        if new != mail.flags {
            mail.flags = new;
            mail.modseq = modseq;
            mailbox.modseq = modseq;
        }
    }
    match may_delete {
        true => Answer::Flagged(refused),
        false => Answer::FlaggedPartly(refused),
    }
}

/// RFC 9051 6.3.6: what is below goes along; INBOX stays, and what is in it goes.
fn rename(store: &mut Store, from: &MailboxName, to: &MailboxName) -> Answer {
    if from.is_inbox() {
        let inbox = store.mailboxes.get_mut("INBOX").expect("INBOX");
        let (mails, modseq) = (std::mem::take(&mut inbox.mails), inbox.modseq);
        let uid_next = inbox.uid_next;
        *store.make(to.as_str()) = Mailbox { mails, modseq, uid_next, ..Mailbox::default() };
        return Answer::Done;
    }
    let names: Vec<String> = store.mailboxes.keys().cloned().collect();
    let goes = |name: &&String| {
        MailboxName::parse(name).is_ok_and(|name| name == *from || name.is_below(from))
    };
    let going: Vec<String> = names.iter().filter(goes).cloned().collect();
    for name in &going {
        let mailbox = store.mailboxes.remove(name).expect("listed");
        store.mailboxes.insert(name.replacen(from.as_str(), to.as_str(), 1), mailbox);
    }
    if going.is_empty() { Answer::Refused(Why::NoSuchMailbox) } else { Answer::Done }
}

/// What signs a URL here: 32 digits that change with the key and with each letter.
fn token(store: &Store, mailbox: &str, rump: &str) -> String {
    let key = store.url_key(mailbox);
    let bytes = rump.bytes().chain(key.to_be_bytes());
    let hash =
        bytes.fold(7_u128, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(0x1_0000_01b3));
    format!("{hash:032x}")
}

/// What a signed URL names, for ann.
fn signed_data(store: &Store, url: &ImapUrl) -> Option<Vec<u8>> {
    let access = url.access.as_ref()?;
    let right = token(store, url.mailbox.as_str(), &access.rump);
    let may_read = match &access.reader {
        Reader::User(user) => user == "ann",
        Reader::Anybody | Reader::Everybody => true,
        Reader::Submit(_) => false,
    };
    if !may_read || access.token.as_ref()?.1 != right {
        return None;
    }
    let mail = store.mailboxes.get(url.mailbox.as_str())?.mails.get(&url.uid)?;
    let bytes = url.section.bytes(&mail.bytes, &Tree::parse(&mail.bytes))?;
    let (start, length) = url.partial.unwrap_or((0, None));
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    let end = length.map_or(bytes.len(), |length| place(start.saturating_add(length)));
    Some(bytes[place(start)..end].to_vec())
}

fn quota(root: String) -> Quota {
    let storage = Resource { name: "STORAGE", usage: 10, limit: 512 };
    Quota { root, resources: vec![storage, Resource { name: "MESSAGE", usage: 3, limit: 9 }] }
}

fn row(uid: u32, mail: &Mail) -> Row {
    Row { uid, modseq: mail.modseq, flags: mail.flags.clone() }
}

/// What was not asked for is not there.
fn read(mail: &mut Mail, need: Need, beside: Beside) -> Message {
    let Beside { origin, thread, preview } = beside;
    if preview == Some(PreviewOf::Any) && mail.preview.is_none() {
        mail.preview = Facts::of(&mail.bytes).preview;
    }
    let end = match need {
        Need::Facts | Need::Held => 0,
        Need::Header => {
            let blank = mail.bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            blank.map_or(mail.bytes.len(), |at| at + 4)
        }
        Need::Whole => mail.bytes.len(),
    };
    Message {
        date: mail.date,
        saved: if origin { mail.saved } else { DateTime { time_s: 0, zone_min: 0 } },
        email_id: if origin { mail.email_id.clone() } else { String::new() },
        thread_id: if thread { mail.thread_id.clone() } else { String::new() },
        preview: preview.and(mail.preview.clone()),
        size: mail.bytes.len() as u64,
        bytes: mail.bytes[..end].to_vec(),
        shape: None,
    }
}

/// Messages that one answer tells of: few, so that answers end amid a command.
const FACTS_MAX: usize = 2;

/// What rows tell of a message; where they keep nothing, the message itself.
fn told(mail: &mut Mail, wanted: Wanted, beside: Beside) -> Message {
    let need = if wanted.fields { Need::Header } else { Need::Facts };
    let mut message = read(mail, need, beside);
    if wanted.fields
        && let Some(fields) = Facts::of(&mail.bytes).fields
    {
        message.bytes = fields;
    }
    message.shape = wanted.shape.then(|| facts::shape(&mail.bytes, &Tree::parse(&mail.bytes)));
    message
}

/// The thread of a message: that of the messages it refers to, or that refer to it, with its base
/// subject, or else a new one.
fn thread_of(threads: &mut BTreeMap<(u64, String), String>, bytes: &[u8], new: String) -> String {
    let keys = Keys::of(0, 0, 0, bytes);
    let names = keys.message_id.iter().chain(&keys.references);
    let names: Vec<_> = names.map(|id| (id.0, keys.subject.to_string())).collect();
    let known = names.iter().find_map(|name| threads.get(name)).cloned().unwrap_or(new);
    for name in names {
        threads.entry(name).or_insert_with(|| known.clone());
    }
    known
}

/// Does what a script says happens outside of the two clients: `deliver INBOX 3` puts three small
/// letters there, `expunge INBOX 2` removes the message with that UID, `flag INBOX 2 \\Seen` sets a
/// flag, `time 3600` lets so many seconds pass, `slow 5` has each question to the store take so
/// long; `mailboxes A A/B` leaves INBOX and these, `subscribed A` subscribes to these alone;
/// `rights INBOX lrs` says what the one who is logged in may do there, `full` that nothing
/// more may be kept, `full Sent` that nothing more may come into this one.
fn outside(store: &Rc<RefCell<Store>>, clients: &mut [Client; 2], text: &str) {
    let words: Vec<&str> = text.split(' ').collect();
    let number = |place: usize| -> u32 { words[place].parse().expect("a number") };
    match words[0] {
        "deliver" => {
            for _ in 0..number(2) {
                let mut store = store.borrow_mut();
                store.deliver(words[1], b"Subject: hi\r\n\r\nhi\r\n", Flags::none(), NOW);
            }
        }
        // `letter INBOX Subject: x|From: y`: a letter with these fields.
        "letter" => {
            let fields = text.splitn(3, ' ').nth(2).expect("fields").replace('|', "\r\n");
            let bytes = format!("{fields}\r\n\r\n{}", "x".repeat(fields.len()));
            let mut store = store.borrow_mut();
            store.deliver(words[1], bytes.as_bytes(), Flags::none(), NOW);
        }
        "expunge" => store.borrow_mut().remove(words[1], &[number(2)]),
        "flag" => {
            let mut store = store.borrow_mut();
            let mailbox = store.mailboxes.get_mut(words[1]).expect("a mailbox");
            mailbox.modseq += 1;
            let mail = mailbox.mails.get_mut(&number(2)).expect("a message");
            mail.modseq = mailbox.modseq;
            mail.flags.insert(SystemFlag::parse(words[3]).expect("a flag"));
        }
        // `mailboxes Fruit Fruit/Apple`: these and INBOX, and no others.
        "mailboxes" => {
            let mut store = store.borrow_mut();
            store.mailboxes.retain(|name, _| name == "INBOX");
            for name in &words[1..] {
                store.make(name);
            }
        }
        "subscribed" => {
            store.borrow_mut().subscriptions = words[1..].iter().map(|&name| name.into()).collect();
        }
        "watched" => store.borrow_mut().watched_max = Some(number(1) as usize),
        "time" => clients.iter_mut().for_each(|client| client.now.time_s += i64::from(number(1))),
        "rights" => {
            let rights = Rights::parse(words.get(2).copied().unwrap_or_default());
            store.borrow_mut().rights.insert(words[1].to_owned(), rights.expect("rights"));
        }
        "full" => match words.get(1) {
            Some(name) => store.borrow_mut().full = Some((*name).to_owned()),
            None => store.borrow_mut().is_full = true,
        },
        // `quota #user/alice MESSAGE 42 1000`: one more root, for every mailbox.
        "quota" => {
            const NAMES: [&str; 2] = ["STORAGE", "MESSAGE"];
            let resource = |three: &[&str]| Resource {
                name: NAMES.into_iter().find(|name| *name == three[0]).expect("a resource"),
                usage: three[1].parse().expect("a number"),
                limit: three[2].parse().expect("a number"),
            };
            let resources = words[2..].chunks(3).map(resource).collect();
            store.borrow_mut().quotas.push(Quota { root: words[1].to_owned(), resources });
        }
        // `old INBOX 2`: the letter came before previews were kept.
        "old" => {
            let mut store = store.borrow_mut();
            let mailbox = store.mailboxes.get_mut(words[1]).expect("a mailbox");
            mailbox.mails.get_mut(&number(2)).expect("a message").preview = None;
        }
        // `threadless INBOX 2`: its thread cannot be kept.
        "threadless" => {
            let mut store = store.borrow_mut();
            let mailbox = store.mailboxes.get_mut(words[1]).expect("a mailbox");
            mailbox.mails.get_mut(&number(2)).expect("a message").thread_id.clear();
        }
        "slow" => clients[0].waits = i64::from(number(1)),
        other => panic!("cannot do {other:?}"),
    }
}

/// Runs a script, once with each block of client lines in one piece and once byte by byte.
///
/// `C:` and `D:` are lines of the first and second client, `S:` and `T:` what they must be told;
/// `…` at the end of one stands for any rest. `-- wake`, `-- closed`, `-- tls` act on or ask about
/// the first client, `-- wake D` the second; other lines with `--` are for [`outside`].
pub(crate) fn check_with(settings: &Settings, store: fn() -> Store, script: &str) {
    for whole in [true, false] {
        let store = Rc::new(RefCell::new(store()));
        let mut clients =
            [Client::new(&store, settings.clone()), Client::new(&store, settings.clone())];
        let mut pending: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
        for line in script.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
            let (kind, text) = line.split_at(2);
            let text = text.strip_prefix(' ').unwrap_or(text);
            match kind {
                "C:" => pending[0].extend(format!("{text}\r\n").bytes()),
                "D:" => pending[1].extend(format!("{text}\r\n").bytes()),
                _ => {
                    for (client, bytes) in clients.iter_mut().zip(&mut pending) {
                        let bytes = std::mem::take(bytes);
                        let step = if whole { bytes.len().max(1) } else { 1 };
                        bytes.chunks(step).for_each(|bytes| client.send(bytes));
                    }
                }
            }
            match (kind, text) {
                ("S:", text) => expect(&mut clients[0], text, script),
                ("T:", text) => expect(&mut clients[1], text, script),
                ("--", "wake") => clients[0].wake(),
                ("--", "wake D") => clients[1].wake(),
                ("--", "closed") => assert!(clients[0].closed, "not closed\n{script}"),
                ("--", "tls") => assert!(clients[0].tls, "no TLS\n{script}"),
                ("--", "compressed") => assert!(clients[0].compressed, "in the clear\n{script}"),
                ("--", "clear") => assert!(!clients[0].compressed, "compressed\n{script}"),
                ("--", text) => outside(&store, &mut clients, text),
                ("C:" | "D:", _) => {}
                other => panic!("cannot read {other:?}"),
            }
        }
        assert!(pending.iter().all(Vec::is_empty), "the script ends with a client line");
        for client in &mut clients {
            pass_over(client);
            let rest = String::from_utf8_lossy(&client.output);
            assert_eq!(rest, "", "the server said more\n{script}");
        }
    }
}

/// RFC 4467 8, which each SELECT says: passed over where a script does not name it.
const URL_MECH: &[u8] = b"* OK [URLMECH INTERNAL] how URLs are signed\r\n";

/// Passes over what a script need not name.
fn pass_over(client: &mut Client) {
    if client.output.starts_with(URL_MECH) {
        client.output.drain(..URL_MECH.len());
    }
}

fn expect(client: &mut Client, text: &str, script: &str) {
    if !text.starts_with("* OK [URLMECH") {
        pass_over(client);
    }
    let end = client.output.windows(2).position(|bytes| bytes == b"\r\n");
    let Some(end) = end else {
        let rest = String::from_utf8_lossy(&client.output).into_owned();
        panic!("expected {text:?}, got {rest:?}\n{script}");
    };
    let line: Vec<u8> = client.output.drain(..end + 2).collect();
    let line = String::from_utf8_lossy(&line[..end]).into_owned();
    let fits = match text.strip_suffix('…') {
        Some(start) => line.starts_with(start),
        None => line == text,
    };
    assert!(fits, "expected {text:?}\n     got {line:?}\n{script}");
}
