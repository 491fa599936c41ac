//! Messages that a URL names: those of this account (CATENATE, RFC 4469), and those of others that
//! are signed for who is logged in (URLAUTH, RFC 4467).
//!
//! Invariants: of another account only what its owner signed is read; whatever is wrong with a URL,
//! its reader learns no more than that.
//! Not here: URLs (`grace_imap::url`), keys (`mailbox::urls`).

use grace_imap::machine::Answer;
use grace_imap::name::MailboxName;
use grace_imap::url::{ImapUrl, Reader, Server};
use grace_mail::mime::Tree;

use super::desk::{Desk, Served};
use crate::store::failure::Failure;
use crate::store::messages::MailboxRow;

impl Desk {
    /// Whether a URL is of this host and account.
    fn is_mine(&self, server: &Server) -> bool {
        let person = self.address();
        let user = server.user.as_deref();
        self.is_here(server) && user.is_none_or(|user| user.eq_ignore_ascii_case(person))
    }

    fn is_here(&self, server: &Server) -> bool {
        server.host.eq_ignore_ascii_case(&self.services().config.hostname)
    }

    /// The mailbox of a URL of this account.
    fn named(&self, url: &ImapUrl) -> Result<MailboxRow, Failure> {
        if url.server.as_ref().is_some_and(|server| !self.is_mine(server)) {
            return Err(Failure::NoSuchMailbox);
        }
        valid(self.find(&url.mailbox)?, url)
    }

    /// The same, if the mailbox is this account's own: of others nobody gives anything away.
    fn own(&self, url: &ImapUrl) -> Result<MailboxRow, Failure> {
        let (account, mailbox) = (self.account()?, self.named(url)?);
        if mailbox.account == account { Ok(mailbox) } else { Err(Failure::NoSuchMailbox) }
    }

    /// What a URL names that stands in a message on its way in.
    pub(super) fn catenated(&self, url: &ImapUrl) -> Result<Vec<u8>, Failure> {
        let is_signed = url.access.as_ref().is_some_and(|access| access.token.is_some());
        let mailbox = if is_signed { self.signed(url)? } else { self.named(url)?.id };
        self.part(mailbox, url)
    }

    /// Signs a URL of this account.
    pub(super) async fn url_sign(&self, url: &ImapUrl) -> Served {
        let (account, mailbox) = (self.account()?, self.own(url)?);
        let access = url.access.as_ref().ok_or(Failure::NoSuchMailbox)?;
        let mailboxes = &self.services().mailboxes;
        Ok(Answer::Signed(mailboxes.sign(account, mailbox.id, &access.rump).await?))
    }

    /// What a signed URL names, if who is logged in may read it.
    pub(super) fn url_read(&self, url: &ImapUrl) -> Served {
        let read = self.signed(url).and_then(|mailbox| self.part(mailbox, url));
        match read {
            Ok(bytes) => Ok(Answer::UrlData(Some(bytes))),
            Err(Failure::Store(error)) => Err(Failure::Store(error)),
            Err(_) => Ok(Answer::UrlData(None)),
        }
    }

    /// Forgets keys.
    pub(super) async fn url_reset(&self, mailbox: Option<&MailboxName>) -> Served {
        let mailbox = mailbox.map(|name| self.find(name)).transpose()?;
        let account = self.account()?;
        if mailbox.as_ref().is_some_and(|mailbox| mailbox.account != account) {
            return Err(Failure::NoPermission);
        }
        let mailbox = mailbox.map(|mailbox| mailbox.id);
        self.services().mailboxes.forget_keys(account, mailbox).await?;
        Ok(Answer::Done)
    }

    /// The mailbox of a URL that is signed, and for who is logged in.
    fn signed(&self, url: &ImapUrl) -> Result<u64, Failure> {
        let no = Failure::NoSuchMailbox;
        let (Some(server), Some(access)) = (&url.server, &url.access) else { return Err(no) };
        let (Some(user), Some((_, token))) = (&server.user, &access.token) else { return Err(no) };
        let may_read = match &access.reader {
            Reader::User(user) => user.eq_ignore_ascii_case(self.address()),
            Reader::Anybody | Reader::Everybody => true,
            // Nobody who logs in here is a server that sends mail for others.
            Reader::Submit(_) => false,
        };
        if !may_read || !self.is_here(server) {
            return Err(no);
        }
        let services = self.services();
        let Some(owner) = services.directory.account(user)? else { return Err(no) };
        let found = services.mailboxes.find(owner.id, url.mailbox.as_str())?;
        let mailbox = valid(found.ok_or(Failure::NoSuchMailbox)?, url)?;
        match services.mailboxes.is_signed(owner.id, mailbox.id, &access.rump, token)? {
            true => Ok(mailbox.id),
            false => Err(no),
        }
    }

    /// The part of a message that a URL names.
    fn part(&self, mailbox: u64, url: &ImapUrl) -> Result<Vec<u8>, Failure> {
        let found = self.services().mailboxes.message(mailbox, url.uid)?;
        let (row, mut reader) = found.ok_or(Failure::NoSuchMessage)?;
        let raw = reader.read_all(usize::try_from(row.size()).unwrap_or(usize::MAX))?;
        let bytes = url.section.bytes(&raw, &Tree::parse(&raw)).ok_or(Failure::NoSuchMessage)?;
        let (start, length) = url.partial.unwrap_or((0, None));
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let end = length.map_or(bytes.len(), |length| place(start.saturating_add(length)));
        Ok(bytes.get(place(start)..end).unwrap_or_default().to_vec())
    }
}

/// The mailbox, if it is the one that the URL means.
fn valid(mailbox: MailboxRow, url: &ImapUrl) -> Result<MailboxRow, Failure> {
    match url.uid_validity.is_some_and(|validity| validity != mailbox.uid_validity) {
        true => Err(Failure::NoSuchMailbox),
        false => Ok(mailbox),
    }
}
