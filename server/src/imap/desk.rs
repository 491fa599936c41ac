//! Does what a session asks of the directory and the mailboxes.
//!
//! Invariants: every request gets one answer; nothing is answered as done before it is on disk; an
//! upload that is not committed is dropped with the desk.
//! Not here: the conversation (`session`), which request needs which right (`may`).

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use zeroize::Zeroizing;

use gracedb::error::Error as StoreError;
use gracedb::large::LargeReader;
use gracedb::watch::Watch;

use grace_imap::command::{Secret, Source};
use grace_imap::date::DateTime;
use grace_imap::flags::{FlagOperation, Flags};
use grace_imap::keys::Keys;
use grace_imap::machine::{
    Answer, Beside, Figures, Listed, Message, Need, Request, Sought, Wanted, Why,
};
use grace_imap::metadata::Entry;
use grace_imap::name::MailboxName;
use grace_imap::places::Places;
use grace_imap::rights::{Rights, RightsChange};
use grace_imap::sort::Criterion;
use grace_imap::url::ImapUrl;
use grace_ipc::event::{EventKind, Service, TraceId};

use super::may::{self, May, Share};
use super::sasl::Sasl;
use super::translate;
use super::watched::{Watched, is_changed};
use crate::directory::Person;
use crate::directory::guest::{Guest, Verdict};
use crate::directory::tickets::{Ticket, revoked};
use crate::mailbox::append::{Birth, Upload, Uploaded};
use crate::mailbox::change::{FlagChange, FlagMask, Target};
use crate::mailbox::facts::{self, read_header};
use crate::mailbox::rights::{Known, Who};
use crate::mailbox::{metadata, picture};
use crate::net::sessions::Live;
use crate::services::Services;
use crate::store::failure::Failure;
use crate::store::messages::MailboxRow;

/// The desk of one session.
pub(super) struct Desk {
    services: Services,
    trace: TraceId,
    live: Arc<Live>,
    pub(super) guest: Guest,
    pub(super) sasl: Sasl,
    person: Option<Person>,
    /// Theirs, for as long as they may be in.
    ticket: Option<Ticket>,
    /// The selected mailbox, and what may be done with it.
    selected: Option<May>,
    /// The mailbox last looked into.
    peeked: Option<u64>,
    /// Hears of changes in the selected mailbox.
    watch: Option<Watch>,
    /// Hears of another key for the URLs of its messages, whether it did, and the key's mark.
    url_key: Option<Watch>,
    url_key_rang: bool,
    url_key_mark: Option<u64>,
    /// Hears of changes in others, if they are to be told.
    watched: Option<Box<Watched>>,
    /// The message last read, held for the bytes that go straight to the client. What is held
    /// keeps what was deleted since from giving its room back, so only while it is read.
    held: Option<(u32, LargeReader)>,
    append: Option<Append>,
}

/// Messages on their way in.
struct Append {
    mailbox: u64,
    owner: u64,
    /// Flags that may be set there.
    keeps: FlagMask,
    /// Those that are whole.
    whole: Vec<(Birth, Uploaded)>,
    /// The one that comes in now.
    open: Option<(Birth, Upload)>,
}

/// Either an answer, or why not.
pub(super) type Served = Result<Answer, Failure>;

impl Desk {
    pub(super) fn new(
        services: Services,
        service: Service,
        peer: SocketAddr,
        trace: TraceId,
        live: Arc<Live>,
    ) -> Self {
        let porter = services.porter.clone();
        let guest = Guest::new(services.directory.clone(), porter, service, peer, trace);
        Self {
            services,
            trace,
            live,
            guest,
            sasl: Sasl::default(),
            person: None,
            ticket: None,
            selected: None,
            peeked: None,
            watch: None,
            url_key: None,
            url_key_rang: false,
            url_key_mark: None,
            watched: None,
            held: None,
            append: None,
        }
    }

    /// Waits until a mailbox changes that is to be told of; forever, if there is none. Cancel safe.
    pub(super) fn changed(&mut self) -> impl Future<Output = ()> + '_ {
        poll_fn(|context| {
            let selected = self.watch.as_mut().is_some_and(|one| is_changed(one, context));
            let rights = self.selected.as_mut().is_some_and(|may| may.is_changed(context));
            let url_key = self.url_key.as_mut().is_some_and(|one| is_changed(one, context));
            self.url_key_rang |= url_key;
            let other = self.watched.as_mut().is_some_and(|all| all.poll(context).is_ready());
            if selected || rights || url_key || other { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    /// Waits until the login is not good any more; forever, if there is none. Cancel safe.
    pub(super) fn revoked(&self) -> impl Future<Output = ()> + use<> {
        revoked(self.ticket.as_ref())
    }

    /// Whether the login is not good any more.
    pub(super) fn is_revoked(&self) -> bool {
        self.ticket.as_ref().is_some_and(Ticket::is_revoked)
    }

    /// The message last read with [`Need::Held`] or more.
    pub(super) fn held(&mut self, uid: u32) -> Option<&mut LargeReader> {
        self.held.as_mut().filter(|(held, _)| *held == uid).map(|(_, reader)| reader)
    }

    /// Tells of damage in a message of this account.
    pub(super) fn tell_damage(&self, error: &StoreError) {
        let account = self.person.as_ref().map_or("", |person| &person.address);
        self.services.mailboxes.tell_damage(self.trace, account, error);
    }

    /// Does what was asked.
    pub(super) async fn serve(&mut self, request: Request) -> Answer {
        if !matches!(request, Request::Read { .. }) {
            // The machine has everything sent before it asks for something else.
            self.held = None;
        }
        let served = match request {
            Request::Login { login, password, mechanism } => {
                return self.login(&login, password, mechanism).await;
            }
            Request::SaslBegin { mechanism, initial } => {
                return self.sasl_begin(mechanism, initial).await;
            }
            Request::SaslLine(line) => return self.sasl_line(&line).await,
            Request::Leave => {
                self.leave();
                Ok(Answer::Done)
            }
            Request::Logout => {
                self.leave();
                self.watched = None;
                (self.person, self.ticket, self.peeked) = (None, None, None);
                self.live.logged_in("");
                Ok(Answer::Done)
            }
            Request::AppendBegin { mailbox, flags, date, replaces } => {
                self.append_begin(&mailbox, &flags, date, replaces)
            }
            Request::AppendChunk(bytes) => self.append_chunk(&bytes).await,
            Request::AppendUrl(url) => match self.append_url(&url).await {
                Ok(answer) => Ok(answer),
                Err(Failure::Store(error)) => Err(Failure::Store(error)),
                Err(_) => return Answer::Refused(Why::BadUrl(url.text)),
            },
            Request::AppendEnd => self.append_end().await,
            Request::AppendCommit { replaces } => self.append_commit(replaces).await,
            Request::AppendAbort => {
                self.append = None;
                Ok(Answer::Done)
            }
            Request::Read { uid, need, beside } => match self.selected() {
                Ok((mailbox, _)) => self.read((mailbox, uid), need, beside).await,
                Err(failure) => Err(failure),
            },
            Request::MyRights(_)
            | Request::ListRights(..)
            | Request::Acl(_)
            | Request::SetAcl(..)
            | Request::DeleteAcl(..) => self.rights(request).await,
            Request::Quota(root) => self.quota(&root),
            Request::QuotaRoots(mailbox) => self.quota_roots(&mailbox),
            // Limits are an admin's.
            Request::SetQuota(..) => Err(Failure::NoPermission),
            Request::Metadata(mailbox) => self.metadata(mailbox.as_ref()),
            Request::SetMetadata(mailbox, changes) => {
                self.set_metadata(mailbox.as_ref(), changes).await
            }
            Request::Peek(mailbox) => self.peek(&mailbox).await,
            Request::ReadPeeked { uid, need, beside } => match self.peeked() {
                Ok(mailbox) => self.read((mailbox, uid), need, beside).await,
                Err(failure) => Err(failure),
            },
            Request::Facts { uids, wanted, beside } => self.facts(&uids, wanted, beside).await,
            Request::Find { texts, peeked } => self.places(texts, peeked).await,
            Request::Keys { uids, need } => self.keys(&uids, need),
            Request::Places(criteria) => self.order(&criteria),
            Request::KeepPlaces(places) => self.keep_order(places),
            Request::Changes { since } => self.changes(since),
            Request::Vanished { since } => self.vanished(since),
            Request::Flags { uids, operation, flags, unchanged_since } => {
                self.flags(&uids, operation, &flags, unchanged_since).await
            }
            Request::Expunge(among) => self.expunge(among.as_deref()).await,
            Request::Copy { uids, mailbox, moves } => self.copy(&uids, &mailbox, moves).await,
            Request::Open { mailbox, read_only } => self.open(&mailbox, read_only).await,
            Request::Mailboxes => self.mailboxes(),
            Request::Status(mailbox) => self.status(&mailbox, false).await,
            Request::StatusDeleted(mailbox) => self.status(&mailbox, true).await,
            Request::Watch { sources, annotations } => self.watch_others(sources, annotations),
            Request::Figures => self.figures(),
            Request::UrlSign(url) => self.url_sign(&url).await,
            Request::UrlRead(url) => self.url_read(&url),
            Request::UrlReset(mailbox) => self.url_reset(mailbox.as_ref()).await,
            request => self.change_names(request).await,
        };
        served.unwrap_or_else(|failure| {
            if let Failure::Store(error) = &failure {
                self.tell_damage(error);
            }
            if let Failure::Store(_) | Failure::Full(_) = failure {
                let reason = failure.to_string();
                self.services.porter.bus.emit(self.trace, EventKind::StoreFailed { reason });
            }
            Answer::Refused(translate::why(&failure))
        })
    }

    async fn login(&mut self, login: &str, password: Secret, mechanism: &str) -> Answer {
        let password = Zeroizing::new(password.0.into_bytes());
        let verdict = self.guest.password(mechanism, login, password).await;
        self.admit(verdict)
    }

    /// Lets in who may.
    pub(super) fn admit(&mut self, verdict: Verdict) -> Answer {
        match verdict {
            Verdict::Welcome(person, ticket) => {
                self.live.logged_in(&person.address);
                (self.person, self.ticket) = (Some(person), Some(ticket));
                Answer::Done
            }
            Verdict::No => Answer::Refused(Why::WrongPassword),
            Verdict::Limited => Answer::Refused(Why::LoginLimited),
            Verdict::NotNow => Answer::Refused(Why::Broken),
        }
    }

    pub(super) fn services(&self) -> &Services {
        &self.services
    }

    /// The address of who is logged in.
    pub(super) fn address(&self) -> &str {
        self.person.as_ref().map_or("", |person| &person.address)
    }

    pub(super) fn account(&self) -> Result<u64, Failure> {
        // The machine asks nothing of the store before a login.
        self.person.as_ref().map(|person| person.id).ok_or(Failure::NotAllowed("log in first"))
    }

    fn who(&self) -> Result<Who, Failure> {
        who(self.person.as_ref())
    }

    /// The selected mailbox, which may be read, and what else may be done with it.
    fn selected(&mut self) -> Result<(u64, Rights), Failure> {
        let person = self.person.as_ref();
        let may = self.selected.as_mut().ok_or(Failure::NoSuchMailbox)?;
        may.now(&self.services.mailboxes, || who(person))
    }

    /// The same, if all these rights are there.
    fn selected_for(&mut self, needed: &str) -> Result<u64, Failure> {
        let (mailbox, rights) = self.selected()?;
        match needed.bytes().all(|right| rights.has(right)) {
            true => Ok(mailbox),
            false => Err(Failure::NoPermission),
        }
    }

    /// A mailbox by its name, if these rights are there.
    fn permitted(&self, name: &MailboxName, needed: &str) -> Result<Known, Failure> {
        self.services.mailboxes.permitted(&self.who()?, name.as_str(), needed)
    }

    /// A mailbox that may be read.
    pub(super) fn find(&self, name: &MailboxName) -> Result<MailboxRow, Failure> {
        self.permitted(name, "r").map(|known| known.mailbox)
    }

    fn leave(&mut self) {
        self.selected = None;
        self.live.selected("");
        self.watch = None;
        (self.url_key, self.url_key_rang) = (None, false);
        self.held = None;
    }

    fn mailboxes(&self) -> Served {
        let account = self.account()?;
        let mut subscribed: BTreeSet<String> =
            self.services.mailboxes.subscriptions(account)?.into_iter().collect();
        let mut listed = Vec::new();
        for mailbox in self.services.mailboxes.list(account)? {
            let Ok(name) = MailboxName::parse(&mailbox.name) else { continue };
            listed.push(Listed {
                name,
                exists: true,
                subscribed: subscribed.remove(&mailbox.name),
                special_use: translate::listed_use(mailbox.special_use),
            });
        }
        for (name, _) in self.services.mailboxes.shared(&self.who()?)? {
            let is_subscribed = subscribed.remove(&name);
            let Ok(name) = MailboxName::parse(&name) else { continue };
            // What it is to its owner it is not to others.
            let special_use = None;
            listed.push(Listed { name, exists: true, subscribed: is_subscribed, special_use });
        }
        // RFC 9051 6.3.7: what is left are subscriptions that outlived their mailbox.
        for name in subscribed {
            let Ok(name) = MailboxName::parse(&name) else { continue };
            listed.push(Listed { name, exists: false, subscribed: true, special_use: None });
        }
        Ok(Answer::Mailboxes(listed))
    }

    async fn status(&self, name: &MailboxName, deleted: bool) -> Served {
        let mailbox = self.permitted(name, "r")?.mailbox;
        let mut status = translate::status(&mailbox);
        if deleted {
            status.deleted_size = self.services.mailboxes.deleted_bytes(&mailbox).await?;
        }
        Ok(Answer::Status(status))
    }

    async fn rights(&self, request: Request) -> Served {
        let (mailboxes, who) = (&self.services.mailboxes, self.who()?);
        Ok(match request {
            Request::MyRights(name) => Answer::Rights(mailboxes.known(&who, name.as_str())?.rights),
            Request::ListRights(name, identifier) => {
                Answer::Rights(mailboxes.lasting(&who, name.as_str(), &identifier)?)
            }
            Request::Acl(name) => Answer::Acl(mailboxes.acl(&who, name.as_str())?),
            Request::SetAcl(name, identifier, change) => {
                self.set_rights(&name, &identifier, change).await?
            }
            Request::DeleteAcl(name, identifier) => {
                let nothing = RightsChange::Replace(Rights::default());
                self.set_rights(&name, &identifier, nothing).await?
            }
            other => {
                debug_assert!(false, "not about rights: {other:?}");
                return Err(Failure::NotAllowed("this cannot be done"));
            }
        })
    }

    async fn set_rights(
        &self,
        name: &MailboxName,
        identifier: &str,
        change: RightsChange,
    ) -> Served {
        let (mailboxes, who) = (&self.services.mailboxes, self.who()?);
        let change = (identifier, change);
        mailboxes.set_rights(self.trace, &who, name.as_str(), change).await?;
        Ok(Answer::Done)
    }

    /// One of the roots of one's own mailboxes.
    fn quota(&self, root: &str) -> Served {
        let roots = self.services.mailboxes.quota_roots(self.account()?)?;
        let root = root.to_lowercase();
        let found: Vec<_> = roots.iter().filter(|one| one.of == root).collect();
        match found.is_empty() {
            true => Err(Failure::NotAllowed("there is no such quota root")),
            false => Ok(Answer::Quota(found.into_iter().map(translate::quota).collect())),
        }
    }

    /// RFC 9208 4.1.2: the mailbox need not exist.
    fn quota_roots(&self, name: &MailboxName) -> Served {
        let owner = match self.permitted(name, "r") {
            Ok(known) => known.mailbox.account,
            Err(Failure::NoSuchMailbox) if name.is_personal() => self.account()?,
            Err(failure) => return Err(failure),
        };
        let roots = self.services.mailboxes.quota_roots(owner)?;
        Ok(Answer::Quota(roots.iter().map(translate::quota).collect()))
    }

    fn watch_others(&mut self, sources: Vec<Source>, annotations: bool) -> Served {
        self.watched = None;
        if !sources.is_empty() {
            let mailboxes = &self.services.mailboxes;
            let watched = Watched::new(mailboxes, self.who()?, sources, annotations)?;
            self.watched = Some(Box::new(watched));
        }
        Ok(Answer::Done)
    }

    fn figures(&mut self) -> Served {
        let most = self.services.config.limits.imap_notify_mailboxes_max;
        let figures = match &mut self.watched {
            None => Ok(Figures::default()),
            Some(watched) => watched.figures(&self.services.mailboxes, most),
        };
        if figures.is_err() {
            self.watched = None;
        }
        figures.map(Answer::Figures)
    }

    /// The number annotations of a mailbox, or of the account, are kept under.
    fn annotated(&self, name: Option<&MailboxName>, needed: &str) -> Result<u64, Failure> {
        name.map_or(Ok(0), |name| Ok(self.permitted(name, needed)?.mailbox.id))
    }

    fn metadata(&self, name: Option<&MailboxName>) -> Served {
        let account = self.account()?;
        let row = name.map(|name| self.find(name)).transpose()?;
        let mailbox = row.as_ref().map_or(0, |row| row.id);
        let entries = self.services.mailboxes.metadata(account, mailbox)?;
        let known = |(entry, value): (String, Vec<u8>)| Some((Entry::parse(&entry)?, value));
        let mut entries: Vec<_> = entries.into_iter().filter_map(known).collect();
        // RFC 6154 4: what a mailbox is for is its owner's to know.
        let special = Entry::special_use();
        entries.retain(|(entry, _)| *entry != special);
        let own = row.filter(|row| row.account == account);
        if let Some(one) = own.and_then(|row| translate::listed_use(row.special_use)) {
            let place = entries.partition_point(|(entry, _)| *entry < special);
            entries.insert(place, (special, one.name().into()));
        }
        Ok(Answer::Metadata(entries))
    }

    async fn set_metadata(
        &self,
        name: Option<&MailboxName>,
        changes: Vec<(Entry, Option<Vec<u8>>)>,
    ) -> Served {
        // RFC 5464 3.3: what all see is changed by who may change what all see.
        let is_shared = |(entry, _): &(Entry, _)| entry.as_str().starts_with("/shared/");
        let needed = if changes.iter().any(is_shared) { "rw" } else { "r" };
        let (account, mailbox) = (self.account()?, self.annotated(name, needed)?);
        let changes: Vec<(String, Option<Vec<u8>>)> =
            changes.into_iter().map(|(entry, value)| (entry.to_string(), value)).collect();
        match self.services.mailboxes.set_metadata(account, mailbox, &changes).await {
            Err(Failure::Limit(metadata::TOO_MANY)) => Ok(Answer::Refused(Why::MetadataTooMany)),
            done => done.map(|()| Answer::Done),
        }
    }

    async fn change_names(&mut self, request: Request) -> Served {
        let (account, who) = (self.account()?, self.who()?);
        let (mailboxes, trace) = (&self.services.mailboxes, self.trace);
        match request {
            Request::Create(name, special_use) => {
                let (owner, name) = mailboxes.creatable(&who, name.as_str())?;
                if owner != account && special_use.is_some() {
                    return Err(Failure::NotAllowed("only its owner says what a mailbox is for"));
                }
                let special_use = special_use.map(translate::special_use);
                let made = mailboxes.create(trace, owner, &name, special_use).await?;
                return Ok(Answer::Created(translate::mailbox_id(&made)));
            }
            Request::Delete(name) => {
                let gone = self.permitted(&name, "x")?.mailbox;
                mailboxes.delete(trace, gone.account, &gone.name).await?;
            }
            Request::Rename(from, to) => {
                let (owner, from) = self.renamable(&from)?;
                let (new_owner, to) = mailboxes.creatable(&who, to.as_str())?;
                if owner != new_owner {
                    return Err(Failure::NotAllowed("a mailbox stays with its owner"));
                }
                mailboxes.rename(trace, owner, &from, &to).await?;
            }
            Request::Subscribe(name, on) => {
                mailboxes.subscribe(account, name.as_str(), on).await?;
            }
            other => {
                debug_assert!(false, "not about names: {other:?}");
                return Err(Failure::NotAllowed("this cannot be done"));
            }
        }
        Ok(Answer::Done)
    }

    /// Whose mailbox is renamed, and how its owner calls it. A level that only others stand on is
    /// its owner's to rename.
    fn renamable(&self, name: &MailboxName) -> Result<(u64, String), Failure> {
        match self.permitted(name, "x") {
            Ok(Known { mailbox, .. }) => Ok((mailbox.account, mailbox.name)),
            Err(Failure::NoSuchMailbox) if name.is_personal() => {
                Ok((self.account()?, name.to_string()))
            }
            Err(failure) => Err(failure),
        }
    }

    async fn open(&mut self, name: &MailboxName, read_only: bool) -> Served {
        self.leave();
        let mailboxes = &self.services.mailboxes;
        let found = self.permitted(name, "r")?.mailbox;
        let mailbox = found.id;
        // Watching before looking: a change in between wakes us once too often, never too seldom.
        let watch = mailboxes.watch(mailbox);
        let watch_rights = mailboxes.watch_rights(&self.who()?, &found);
        let watch_key = mailboxes.watch_key(self.account()?, mailbox);
        let mark = mailboxes.key_mark(self.account()?, mailbox)?;
        let known = self.permitted(name, "r")?;
        let claims = !read_only && known.rights.has_any("swite");
        let opened = mailboxes.open(mailbox, claims).await?;
        self.selected = Some(May::new(&known, watch_rights));
        self.live.selected(&opened.mailbox.name);
        self.watch = Some(watch);
        self.url_key = Some(watch_key);
        self.url_key_mark = mark;
        let account = self.person.as_ref().map_or_else(String::new, |p| p.address.clone());
        let selected = EventKind::MailboxSelected {
            account,
            mailbox: opened.mailbox.name.clone(),
            messages: opened.mailbox.messages,
        };
        self.services.porter.bus.emit(self.trace, selected);
        Ok(Answer::Opened(translate::opened(opened, known.rights)))
    }

    fn changes(&mut self, since: u64) -> Served {
        let (mailbox, _) = self.selected()?;
        let rights = self.selected.as_mut().and_then(May::news);
        if let Some(watch) = &mut self.watch {
            watch.take();
        }
        let changes = self
            .services
            .mailboxes
            .changes_since(mailbox, since, |_, message| picture::row(message))?;
        let url_key = self.is_other_key(mailbox)?;
        Ok(Answer::Changes(translate::changes(changes, rights, url_key)))
    }

    /// Whether the key of the selected mailbox was taken away since: what it signed is good
    /// no more. The first one takes nothing away.
    fn is_other_key(&mut self, mailbox: u64) -> Result<bool, Failure> {
        let rang = self.url_key.as_mut().is_some_and(Watch::take);
        if !std::mem::take(&mut self.url_key_rang) && !rang {
            return Ok(false);
        }
        let mark = self.services.mailboxes.key_mark(self.account()?, mailbox)?;
        let before = std::mem::replace(&mut self.url_key_mark, mark);
        Ok(before.is_some() && before != mark)
    }

    fn vanished(&mut self, since: u64) -> Served {
        let (mailbox, _) = self.selected()?;
        let gone = self.services.mailboxes.vanished_since(mailbox, since)?;
        Ok(Answer::Vanished(gone))
    }

    async fn peek(&mut self, name: &MailboxName) -> Served {
        let Known { mailbox, rights } = self.permitted(name, "r")?;
        let opened = self.services.mailboxes.open(mailbox.id, false).await?;
        self.peeked = Some(mailbox.id);
        Ok(Answer::Opened(translate::opened(opened, rights)))
    }

    /// The mailbox last looked into.
    fn peeked(&self) -> Result<u64, Failure> {
        self.peeked.ok_or(Failure::NoSuchMailbox)
    }

    async fn read(&mut self, place: (u64, u32), need: Need, beside: Beside) -> Served {
        let (mailbox, uid) = place;
        let mailboxes = &self.services.mailboxes;
        let Some((row, mut reader)) = mailboxes.message(mailbox, uid)? else {
            return Ok(Answer::Message(None));
        };
        let mut message = translate::message(translate::date(&row), row.size(), Vec::new());
        if beside.preview.is_some() {
            let wanted = facts::Wanted { preview: beside.preview, ..facts::Wanted::default() };
            let (_, known) = mailboxes.facts(mailbox, &[uid], wanted)?;
            message.preview = known.into_iter().next().and_then(|known| known.preview);
        }
        if beside.thread {
            let thread = mailboxes.threads(mailbox, &[uid]).await?.into_iter().next();
            message.thread_id =
                thread.map(|(_, one)| translate::thread_id(&one)).unwrap_or_default();
        }
        if beside.origin {
            self.add_origin(&mut message, place)?;
        }
        if need > Need::Facts {
            message.bytes = match need {
                Need::Facts | Need::Held => Vec::new(),
                Need::Header => read_header(&mut reader)?,
                Need::Whole => {
                    let size = usize::try_from(reader.len()).unwrap_or(usize::MAX);
                    reader.read_all(size)?
                }
            };
            self.held = Some((uid, reader));
        }
        Ok(Answer::Message(Some(message)))
    }

    async fn places(&mut self, texts: Vec<Sought>, peeked: bool) -> Served {
        let mailbox = match peeked {
            true => self.peeked()?,
            false => self.selected()?.0,
        };
        let texts = texts.into_iter().map(translate::text).collect();
        let found = self.services.words.find(mailbox, texts).await?;
        Ok(Answer::Found(found.into_iter().map(translate::hits).collect()))
    }

    /// Adds where a message came from.
    fn add_origin(&self, message: &mut Message, place: (u64, u32)) -> Result<(), Failure> {
        let (saved_s, first) = self.services.mailboxes.origin(place, message.date.time_s)?;
        message.saved = DateTime { time_s: saved_s, zone_min: 0 };
        message.email_id = translate::email_id(&first);
        Ok(())
    }

    async fn facts(&mut self, uids: &[u32], wanted: Wanted, beside: Beside) -> Served {
        let (mailbox, _) = self.selected()?;
        let Wanted { fields, shape } = wanted;
        let wanted = facts::Wanted { fields, shape, keys: false, preview: beside.preview };
        let mailboxes = &self.services.mailboxes;
        let (looked_at, known) = mailboxes.facts(mailbox, uids, wanted)?;
        let threads = match beside.thread {
            true => {
                let told: Vec<u32> = known.iter().map(|known| known.uid).collect();
                mailboxes.threads(mailbox, &told).await?
            }
            false => Vec::new(),
        };
        let mut threads = threads.iter().peekable();
        let mut messages = Vec::with_capacity(known.len());
        for one in known {
            let uid = one.uid;
            let mut message = translate::known(one);
            if beside.origin {
                self.add_origin(&mut message, (mailbox, uid))?;
            }
            if let Some((_, thread)) = threads.next_if(|(told, _)| *told == uid) {
                message.thread_id = translate::thread_id(thread);
            }
            messages.push((uid, message));
        }
        Ok(Answer::Messages { looked_at, messages })
    }

    fn keys(&mut self, uids: &[u32], need: Need) -> Served {
        let (mailbox, _) = self.selected()?;
        let wanted = facts::Wanted { keys: need > Need::Facts, ..facts::Wanted::default() };
        let (mut rest, mut all) = (uids, Vec::with_capacity(uids.len()));
        while !rest.is_empty() {
            let (looked_at, known) = self.services.mailboxes.facts(mailbox, rest, wanted)?;
            let keys = |one: facts::Known| {
                let facts::Known { uid, internal_date_s: arrival_s, size, .. } = one;
                one.keys.unwrap_or_else(|| Keys::of(uid, arrival_s, size, &[]))
            };
            all.extend(known.into_iter().map(keys));
            rest = rest.get(looked_at.max(1)..).unwrap_or_default();
        }
        Ok(Answer::Keys(all))
    }

    fn order(&mut self, criteria: &[Criterion]) -> Served {
        let (mailbox, _) = self.selected()?;
        Ok(Answer::Places(self.services.mailboxes.order(mailbox, criteria)))
    }

    fn keep_order(&mut self, places: Arc<Places>) -> Served {
        let (mailbox, _) = self.selected()?;
        self.services.mailboxes.keep_order(mailbox, places);
        Ok(Answer::Done)
    }

    async fn flags(
        &mut self,
        uids: &[u32],
        operation: FlagOperation,
        flags: &Flags,
        unchanged_since: Option<u64>,
    ) -> Served {
        let (mailbox, rights) = self.selected()?;
        let within = may::mask(rights);
        let share = may::share(flags, operation == FlagOperation::Replace, within);
        if share == Share::None {
            return Err(Failure::NoPermission);
        }
        let change = FlagChange {
            verb: translate::verb(operation),
            flags: flags.system_bits(),
            keywords: translate::keywords(flags),
            unchanged_since,
            within,
        };
        let left = self.services.mailboxes.store_flags(mailbox, uids, &change).await?;
        Ok(match share {
            Share::All => Answer::Flagged(left),
            _ => Answer::FlaggedPartly(left),
        })
    }

    async fn expunge(&mut self, among: Option<&[u32]>) -> Served {
        let mailbox = self.selected_for("e")?;
        self.services.mailboxes.expunge(self.trace, mailbox, among).await?;
        Ok(Answer::Done)
    }

    async fn copy(&mut self, uids: &[u32], target: &MailboxName, moves: bool) -> Served {
        // RFC 6851 4.2: to move is to copy, to mark and to expunge.
        let from = self.selected_for(if moves { "te" } else { "" })?;
        let Known { mailbox, rights } = self.permitted(target, "i")?;
        let to = Target { mailbox: mailbox.id, keeps: may::mask(rights) };
        let mailboxes = &self.services.mailboxes;
        let copied = match moves {
            true => mailboxes.move_messages(from, uids, to).await?,
            false => mailboxes.copy(from, uids, to).await?,
        };
        Ok(Answer::Copied { uid_validity: copied.uid_validity, pairs: copied.uids })
    }

    fn append_begin(
        &mut self,
        name: &MailboxName,
        flags: &Flags,
        date: Option<DateTime>,
        replaces: bool,
    ) -> Served {
        let (mailbox, owner, keeps, bytes) = match &self.append {
            Some(Append { mailbox, owner, keeps, whole, .. }) => {
                (*mailbox, *owner, *keeps, whole.iter().map(|(_, one)| one.size()).sum())
            }
            None => {
                let Known { mailbox, rights } = self.permitted(name, "i")?;
                (mailbox.id, mailbox.account, may::mask(rights), 0)
            }
        };
        // RFC 8508 3.4: what counts is how much more it is than the one that goes.
        let makes_way = replaces && self.selected.as_ref().map(May::owner) == Some(owner);
        if !makes_way && !self.services.mailboxes.has_room(owner, bytes)? {
            // Before the message was sent; whether it fits is seen when it is here.
            return Err(Failure::OverQuota);
        }
        let keywords = if keeps.keywords { translate::keywords(flags) } else { Vec::new() };
        let birth = Birth {
            flags: flags.system_bits() & keeps.flags,
            keywords,
            internal_date_s: date.map(|date| date.time_s),
            internal_zone_min: date.map_or(0, |date| date.zone_min),
        };
        let upload = self.services.mailboxes.upload();
        let (whole, open) = (Vec::new(), None);
        let append = self.append.get_or_insert(Append { mailbox, owner, keeps, whole, open });
        append.open = Some((birth, upload));
        Ok(Answer::Done)
    }

    async fn append_chunk(&mut self, bytes: &[u8]) -> Served {
        let most = self.services.config.limits.message_bytes_max;
        let open = self.append.as_mut().and_then(|append| append.open.as_mut());
        let (_, upload) = open.ok_or(NO_MESSAGE)?;
        // The machine knows each literal's size, not that of all pieces of a CATENATE.
        if upload.size() + bytes.len() as u64 > most {
            return Ok(Answer::Refused(Why::TooBig));
        }
        upload.write(bytes).await?;
        Ok(Answer::Done)
    }

    /// The next bytes of the message are those a URL names (RFC 4469).
    async fn append_url(&mut self, url: &ImapUrl) -> Served {
        let bytes = self.catenated(url)?;
        self.append_chunk(&bytes).await
    }

    async fn append_end(&mut self) -> Served {
        let append = self.append.as_mut().ok_or(NO_MESSAGE)?;
        let (birth, upload) = append.open.take().ok_or(NO_MESSAGE)?;
        if upload.size() == 0 {
            return Err(Failure::NotAllowed("the message is empty"));
        }
        append.whole.push((birth, upload.finish().await?));
        Ok(Answer::Done)
    }

    async fn append_commit(&mut self, replaces: Option<u32>) -> Served {
        let Append { mailbox, mut whole, .. } = self.append.take().ok_or(NO_MESSAGE)?;
        let placed = match replaces {
            Some(uid) => {
                let message = whole.pop().ok_or(NO_MESSAGE)?;
                let old = (self.selected_for("te")?, uid);
                let mailboxes = &self.services.mailboxes;
                vec![mailboxes.replace(self.trace, old, mailbox, message).await?]
            }
            None => self.services.mailboxes.append(self.trace, mailbox, &whole).await?,
        };
        let uid_validity = placed.first().map_or(0, |placed| placed.uid_validity);
        Ok(Answer::Appended { uid_validity, uids: placed.iter().map(|one| one.uid).collect() })
    }
}

/// Who asks, in the words of the mailboxes.
fn who(person: Option<&Person>) -> Result<Who, Failure> {
    let person = person.ok_or(Failure::NotAllowed("log in first"))?;
    Ok(Who { account: person.id, address: person.address.clone() })
}

/// The machine begins a message before it sends or ends one.
const NO_MESSAGE: Failure = Failure::NotAllowed("there is no message");
