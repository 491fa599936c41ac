//! Does what a session asks of the directory and the mailboxes.
//!
//! Invariants: every request gets one answer; nothing is answered as done before it is on disk; an
//! upload that is not committed is dropped with the desk.
//! Not here: the conversation (`session`).

use std::collections::BTreeSet;
use std::net::SocketAddr;

use zeroize::Zeroizing;

use gracedb::error::Error as StoreError;
use gracedb::large::LargeReader;
use gracedb::watch::Watch;

use grace_imap::command::Secret;
use grace_imap::date::DateTime;
use grace_imap::flags::{FlagOperation, Flags};
use grace_imap::keys::Keys;
use grace_imap::machine::{Answer, Listed, Message, Need, Request, START_BYTES, Wanted, Why};
use grace_imap::metadata::Entry;
use grace_imap::name::MailboxName;
use grace_imap::rights::Rights;
use grace_imap::url::ImapUrl;
use grace_ipc::event::{EventKind, Service, TraceId};
use grace_mail::mime::Tree;

use super::sasl::Sasl;
use super::translate;
use crate::directory::Person;
use crate::directory::guest::{Guest, Verdict};
use crate::directory::tickets::{Ticket, revoked};
use crate::mailbox::append::{Birth, Upload, Uploaded};
use crate::mailbox::change::FlagChange;
use crate::mailbox::facts::{self, read_header};
use crate::mailbox::{metadata, picture};
use crate::services::Services;
use crate::store::failure::Failure;
use crate::store::messages::MailboxRow;

/// The desk of one session.
pub(super) struct Desk {
    services: Services,
    trace: TraceId,
    pub(super) guest: Guest,
    pub(super) sasl: Sasl,
    person: Option<Person>,
    /// Theirs, for as long as they may be in.
    ticket: Option<Ticket>,
    /// The selected mailbox's number.
    selected: Option<u64>,
    /// The mailbox last looked into.
    peeked: Option<u64>,
    /// Hears of changes in the selected mailbox.
    watch: Option<Watch>,
    /// The message last read, held for the bytes that go straight to the client. What is held
    /// keeps what was deleted since from giving its room back, so only while it is read.
    held: Option<(u32, LargeReader)>,
    append: Option<Append>,
}

/// Messages on their way in.
struct Append {
    mailbox: u64,
    /// Those that are whole.
    whole: Vec<(Birth, Uploaded)>,
    /// The one that comes in now.
    open: Option<(Birth, Upload)>,
}

/// Either an answer, or why not.
type Served = Result<Answer, Failure>;

impl Desk {
    pub(super) fn new(
        services: Services,
        service: Service,
        peer: SocketAddr,
        trace: TraceId,
    ) -> Self {
        let porter = services.porter.clone();
        let guest = Guest::new(services.directory.clone(), porter, service, peer, trace);
        Self {
            services,
            trace,
            guest,
            sasl: Sasl::default(),
            person: None,
            ticket: None,
            selected: None,
            peeked: None,
            watch: None,
            held: None,
            append: None,
        }
    }

    /// Waits until the selected mailbox changes; forever, if there is none. Cancel safe.
    pub(super) async fn changed(&mut self) {
        if let Some(watch) = &mut self.watch
            && watch.changed().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }

    /// Waits until the login is not good any more; forever, if there is none. Cancel safe.
    pub(super) fn revoked(&self) -> impl Future<Output = ()> + use<> {
        revoked(self.ticket.as_ref())
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
                (self.person, self.ticket) = (None, None);
                Ok(Answer::Done)
            }
            Request::AppendBegin { mailbox, flags, date } => {
                self.append_begin(&mailbox, &flags, date)
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
            Request::Read { uid, need, origin } => self.read(self.selected, uid, need, origin),
            // Nobody shares mailboxes, and nobody is limited yet: not announced.
            Request::MyRights(mailbox) => self.find(&mailbox).map(|_| Answer::Rights(Rights::ALL)),
            Request::Acl(_)
            | Request::SetAcl(..)
            | Request::DeleteAcl(..)
            | Request::Quota(_)
            | Request::QuotaRoots(_)
            | Request::SetQuota(..) => Err(Failure::NotAllowed("this is not offered here")),
            Request::Metadata(mailbox) => self.metadata(mailbox.as_ref()),
            Request::SetMetadata(mailbox, changes) => {
                self.set_metadata(mailbox.as_ref(), changes).await
            }
            Request::Peek(mailbox) => self.peek(&mailbox).await,
            Request::ReadPeeked { uid, need, origin } => self.read(self.peeked, uid, need, origin),
            Request::Facts { uids, wanted, origin } => self.facts(&uids, wanted, origin),
            Request::Keys { uids, need } => self.keys(&uids, need),
            Request::Changes { since } => self.changes(since),
            Request::Vanished { since } => self.vanished(since),
            Request::Flags { uids, operation, flags, unchanged_since } => {
                self.flags(&uids, operation, &flags, unchanged_since).await
            }
            Request::Expunge(among) => self.expunge(among.as_deref()).await,
            Request::Copy { uids, mailbox, moves } => self.copy(&uids, &mailbox, moves).await,
            Request::Open { mailbox, read_only } => self.open(&mailbox, read_only).await,
            Request::Mailboxes => self.mailboxes(),
            Request::Status(mailbox) => {
                self.find(&mailbox).map(|mailbox| Answer::Status(translate::status(&mailbox)))
            }
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
                (self.person, self.ticket) = (Some(person), Some(ticket));
                Answer::Done
            }
            Verdict::No => Answer::Refused(Why::WrongPassword),
            Verdict::Limited => Answer::Refused(Why::LoginLimited),
            Verdict::NotNow => Answer::Refused(Why::Broken),
        }
    }

    fn account(&self) -> Result<u64, Failure> {
        // The machine asks nothing of the store before a login.
        self.person.as_ref().map(|person| person.id).ok_or(Failure::NotAllowed("log in first"))
    }

    fn selected(&self) -> Result<u64, Failure> {
        self.selected.ok_or(Failure::NoSuchMailbox)
    }

    fn find(&self, name: &MailboxName) -> Result<MailboxRow, Failure> {
        let found = self.services.mailboxes.find(self.account()?, name.as_str())?;
        found.ok_or(Failure::NoSuchMailbox)
    }

    fn leave(&mut self) {
        self.selected = None;
        self.watch = None;
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
        // RFC 9051 6.3.7: what is left are subscriptions that outlived their mailbox.
        for name in subscribed {
            let Ok(name) = MailboxName::parse(&name) else { continue };
            listed.push(Listed { name, exists: false, subscribed: true, special_use: None });
        }
        Ok(Answer::Mailboxes(listed))
    }

    /// The number annotations of a mailbox, or of the account, are kept under.
    fn annotated(&self, name: Option<&MailboxName>) -> Result<u64, Failure> {
        name.map_or(Ok(0), |name| self.find(name).map(|mailbox| mailbox.id))
    }

    fn metadata(&self, name: Option<&MailboxName>) -> Served {
        let mailbox = self.annotated(name)?;
        let entries = self.services.mailboxes.metadata(self.account()?, mailbox)?;
        let known = |(entry, value): (String, Vec<u8>)| Some((Entry::parse(&entry)?, value));
        Ok(Answer::Metadata(entries.into_iter().filter_map(known).collect()))
    }

    async fn set_metadata(
        &self,
        name: Option<&MailboxName>,
        changes: Vec<(Entry, Option<Vec<u8>>)>,
    ) -> Served {
        let (account, mailbox) = (self.account()?, self.annotated(name)?);
        let changes: Vec<(String, Option<Vec<u8>>)> =
            changes.into_iter().map(|(entry, value)| (entry.to_string(), value)).collect();
        match self.services.mailboxes.set_metadata(account, mailbox, &changes).await {
            Err(Failure::Limit(metadata::TOO_MANY)) => Ok(Answer::Refused(Why::MetadataTooMany)),
            done => done.map(|()| Answer::Done),
        }
    }

    async fn change_names(&mut self, request: Request) -> Served {
        let account = self.account()?;
        let (mailboxes, trace) = (&self.services.mailboxes, self.trace);
        match request {
            Request::Create(name, special_use) => {
                let special_use = special_use.map(translate::special_use);
                let made = mailboxes.create(trace, account, name.as_str(), special_use).await?;
                return Ok(Answer::Created(translate::mailbox_id(&made)));
            }
            Request::Delete(name) => mailboxes.delete(trace, account, name.as_str()).await?,
            Request::Rename(from, to) => {
                mailboxes.rename(trace, account, from.as_str(), to.as_str()).await?;
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

    async fn open(&mut self, name: &MailboxName, read_only: bool) -> Served {
        self.leave();
        let mailbox = self.find(name)?.id;
        // Watching before looking: a change in between wakes us once too often, never too seldom.
        let watch = self.services.mailboxes.watch(mailbox);
        let opened = self.services.mailboxes.open(mailbox, !read_only).await?;
        self.selected = Some(mailbox);
        self.watch = Some(watch);
        let account = self.person.as_ref().map_or_else(String::new, |p| p.address.clone());
        let selected = EventKind::MailboxSelected {
            account,
            mailbox: opened.mailbox.name.clone(),
            messages: opened.mailbox.messages,
        };
        self.services.porter.bus.emit(self.trace, selected);
        Ok(Answer::Opened(translate::opened(opened)))
    }

    fn changes(&mut self, since: u64) -> Served {
        let mailbox = self.selected()?;
        if let Some(watch) = &mut self.watch {
            watch.take();
        }
        let changes = self
            .services
            .mailboxes
            .changes_since(mailbox, since, |_, message| picture::row(message))?;
        Ok(Answer::Changes(translate::changes(changes)))
    }

    fn vanished(&self, since: u64) -> Served {
        let gone = self.services.mailboxes.vanished_since(self.selected()?, since)?;
        Ok(Answer::Vanished(gone))
    }

    async fn peek(&mut self, name: &MailboxName) -> Served {
        let mailbox = self.find(name)?.id;
        let opened = self.services.mailboxes.open(mailbox, false).await?;
        self.peeked = Some(mailbox);
        Ok(Answer::Opened(translate::opened(opened)))
    }

    fn read(&mut self, mailbox: Option<u64>, uid: u32, need: Need, origin: bool) -> Served {
        let mailbox = mailbox.ok_or(Failure::NoSuchMailbox)?;
        let Some((row, mut reader)) = self.services.mailboxes.message(mailbox, uid)? else {
            return Ok(Answer::Message(None));
        };
        let date = translate::date(&row);
        let (size, bytes) = (row.size(), Vec::new());
        let email_id = String::new();
        let mut message = Message { date, saved: date, email_id, size, bytes, shape: None };
        if origin {
            self.add_origin(&mut message, (mailbox, uid))?;
        }
        if need > Need::Facts {
            message.bytes = match need {
                Need::Facts | Need::Held => Vec::new(),
                Need::Header => read_header(&mut reader)?,
                Need::Start => read_start(&mut reader)?,
                Need::Whole => {
                    let size = usize::try_from(reader.len()).unwrap_or(usize::MAX);
                    reader.read_all(size)?
                }
            };
            self.held = Some((uid, reader));
        }
        Ok(Answer::Message(Some(message)))
    }

    /// Adds where a message came from.
    fn add_origin(&self, message: &mut Message, place: (u64, u32)) -> Result<(), Failure> {
        let (saved_s, first) = self.services.mailboxes.origin(place, message.date.time_s)?;
        message.saved = DateTime { time_s: saved_s, zone_min: 0 };
        message.email_id = translate::email_id(&first);
        Ok(())
    }

    fn facts(&self, uids: &[u32], wanted: Wanted, origin: bool) -> Served {
        let mailbox = self.selected()?;
        let Wanted { fields, shape } = wanted;
        let wanted = facts::Wanted { fields, shape, keys: false };
        let (looked_at, known) = self.services.mailboxes.known(mailbox, uids, wanted)?;
        let mut messages = Vec::with_capacity(known.len());
        for one in known {
            let uid = one.uid;
            let mut message = translate::known(one);
            if origin {
                self.add_origin(&mut message, (mailbox, uid))?;
            }
            messages.push((uid, message));
        }
        Ok(Answer::Messages { looked_at, messages })
    }

    fn keys(&self, uids: &[u32], need: Need) -> Served {
        let mailbox = self.selected()?;
        let wanted = facts::Wanted { keys: need > Need::Facts, ..facts::Wanted::default() };
        let (mut rest, mut all) = (uids, Vec::with_capacity(uids.len()));
        while !rest.is_empty() {
            let (looked_at, known) = self.services.mailboxes.known(mailbox, rest, wanted)?;
            let keys = |one: facts::Known| {
                let facts::Known { uid, internal_date_s: arrival_s, size, .. } = one;
                one.keys.unwrap_or_else(|| Keys::of(uid, arrival_s, size, &[]))
            };
            all.extend(known.into_iter().map(keys));
            rest = rest.get(looked_at.max(1)..).unwrap_or_default();
        }
        Ok(Answer::Keys(all))
    }

    async fn flags(
        &mut self,
        uids: &[u32],
        operation: FlagOperation,
        flags: &Flags,
        unchanged_since: Option<u64>,
    ) -> Served {
        let change = FlagChange {
            verb: translate::verb(operation),
            flags: flags.system_bits(),
            keywords: translate::keywords(flags),
            unchanged_since,
        };
        let left = self.services.mailboxes.store_flags(self.selected()?, uids, &change).await?;
        Ok(Answer::Flagged(left))
    }

    async fn expunge(&mut self, among: Option<&[u32]>) -> Served {
        let mailbox = self.selected()?;
        self.services.mailboxes.expunge(self.trace, mailbox, among).await?;
        Ok(Answer::Done)
    }

    async fn copy(&mut self, uids: &[u32], target: &MailboxName, moves: bool) -> Served {
        let (from, to) = (self.selected()?, self.find(target)?.id);
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
    ) -> Served {
        let mailbox = self.find(name)?.id;
        let birth = Birth {
            flags: flags.system_bits(),
            keywords: translate::keywords(flags),
            internal_date_s: date.map(|date| date.time_s),
            internal_zone_min: date.map_or(0, |date| date.zone_min),
        };
        let upload = self.services.mailboxes.upload();
        let append = self.append.get_or_insert(Append { mailbox, whole: Vec::new(), open: None });
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

    /// The next bytes of the message stand in another one of this account (RFC 4469).
    async fn append_url(&mut self, url: &ImapUrl) -> Served {
        if let Some(server) = &url.server {
            let person = self.person.as_ref().map(|person| person.address.as_str());
            let host = self.services.config.hostname.to_ascii_lowercase();
            let is_mine = server.user.as_deref().is_none_or(|user| Some(user) == person);
            if server.host != host || !is_mine {
                return Err(Failure::NotAllowed("it is elsewhere"));
            }
        }
        let mailbox = self.find(&url.mailbox)?;
        if url.uid_validity.is_some_and(|validity| validity != mailbox.uid_validity) {
            return Err(Failure::NoSuchMailbox);
        }
        let found = self.services.mailboxes.message(mailbox.id, url.uid)?;
        let (row, mut reader) = found.ok_or(Failure::NoSuchMessage)?;
        let raw = reader.read_all(usize::try_from(row.size()).unwrap_or(usize::MAX))?;
        let bytes = url.section.bytes(&raw, &Tree::parse(&raw)).ok_or(Failure::NoSuchMessage)?;
        let (start, length) = url.partial.unwrap_or((0, None));
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let end = length.map_or(bytes.len(), |length| place(start.saturating_add(length)));
        self.append_chunk(bytes.get(place(start)..end).unwrap_or_default()).await
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
        let mailboxes = &self.services.mailboxes;
        let placed = match replaces {
            Some(uid) => {
                let message = whole.pop().ok_or(NO_MESSAGE)?;
                let old = (self.selected()?, uid);
                vec![mailboxes.replace(self.trace, old, mailbox, message).await?]
            }
            None => mailboxes.append(self.trace, mailbox, &whole).await?,
        };
        let uid_validity = placed.first().map_or(0, |placed| placed.uid_validity);
        Ok(Answer::Appended { uid_validity, uids: placed.iter().map(|one| one.uid).collect() })
    }
}

/// The machine begins a message before it sends or ends one.
const NO_MESSAGE: Failure = Failure::NotAllowed("there is no message");

/// The header, and whatever else is in the first [`START_BYTES`].
fn read_start(reader: &mut LargeReader) -> Result<Vec<u8>, Failure> {
    let mut start = read_header(reader)?;
    let end = usize::try_from(reader.len()).unwrap_or(usize::MAX).min(START_BYTES);
    while start.len() < end {
        let mut piece = vec![0; end - start.len()];
        let count = reader.read_at(start.len() as u64, &mut piece)?;
        if count == 0 {
            break;
        }
        start.extend_from_slice(piece.get(..count).unwrap_or_default());
    }
    Ok(start)
}
