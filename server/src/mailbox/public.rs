//! Public mailboxes of a domain, and rights as an admin sets them.
//!
//! Invariants: a domain's public mailboxes have one owner, who is no account; the first of them
//! makes it, and it goes with the domain.
//! Not here: what people do with them (`rights`, `names`).

use gracedb::view::View as _;
use gracedb::write::WriteTx;

use grace_imap::rights::{Rights, RightsChange};
use grace_ipc::event::TraceId;

use super::names::canonical;
use super::rights::{ANYONE, acl_of, put_rights};
use super::{Mailboxes, SEPARATOR};
use crate::store::accounts::{AccountByAddress, Domain, domain_name};
use crate::store::failure::Failure;
use crate::store::messages::{MailboxByName, MailboxRow};
use crate::store::refusal::Refusal;
use crate::store::seed::{self, INBOX};
use crate::store::shares::PublicRow;

/// A mailbox and who may do what with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// Its owner: an account's address, or `@domain`.
    pub owner: String,
    /// Its name.
    pub mailbox: String,
    /// An identifier, and its rights.
    pub acl: Vec<(String, Rights)>,
}

impl Mailboxes {
    /// The public mailboxes of a domain, or of all, by domain and name.
    ///
    /// # Errors
    /// There is no such domain, or the database failed.
    pub fn public(&self, domain: Option<&str>) -> Result<Vec<(String, MailboxRow)>, Refusal> {
        let wanted = domain.map(domain_name).transpose()?;
        let snapshot = self.db.snapshot();
        let mut rows = Vec::new();
        for public in snapshot.scan::<PublicRow>() {
            let PublicRow { domain, owner } = public?;
            if wanted.as_ref().is_some_and(|wanted| *wanted != domain) {
                continue;
            }
            for row in snapshot.by_index_prefix::<MailboxByName>(&(owner,)) {
                rows.push((domain.clone(), row?));
            }
        }
        Ok(rows)
    }

    /// Makes a public mailbox; `anyone` gets these rights on it.
    ///
    /// # Errors
    /// There is no such domain, it exists, the name or the rights will not do, or the database
    /// failed.
    pub async fn create_public(
        &self,
        domain: &str,
        name: &str,
        rights: &str,
    ) -> Result<(), Refusal> {
        let rights = parsed(rights)?;
        let owner = self.public_owner(domain).await?;
        let top = name.split(SEPARATOR).next().unwrap_or_default();
        if top.eq_ignore_ascii_case(INBOX) {
            return Err(Refusal::Invalid("INBOX is a name of accounts alone".to_owned()));
        }
        let made = self.create(TraceId(0), owner, name, None).await.map_err(refusal(name))?;
        let put = |tx: &mut WriteTx<'_>| put_rights(tx, &made, ANYONE, rights);
        self.db.write(put)?.await?;
        Ok(())
    }

    /// Removes a public mailbox with all that is in it.
    ///
    /// # Errors
    /// There is none of that name, or the database failed.
    pub async fn delete_public(&self, domain: &str, name: &str) -> Result<(), Refusal> {
        let owner = self.owner(&format!("@{domain}"))?;
        self.delete(TraceId(0), owner, name).await.map_err(refusal(name))
    }

    /// Renames a public mailbox, and those below it.
    ///
    /// # Errors
    /// There is none of that name, the new name is taken or will not do, or the database failed.
    pub async fn rename_public(&self, domain: &str, name: &str, to: &str) -> Result<(), Refusal> {
        let owner = self.owner(&format!("@{domain}"))?;
        self.rename(TraceId(0), owner, name, to).await.map_err(refusal(name))
    }

    /// Who may do what: with one mailbox of an owner, or with each on which others have rights.
    ///
    /// # Errors
    /// There is no such owner or mailbox, or the database failed.
    pub fn shares(&self, owner: &str, name: Option<&str>) -> Result<Vec<Shared>, Refusal> {
        let id = self.owner(owner)?;
        let owner = owner.to_lowercase();
        let snapshot = self.db.snapshot();
        let wanted = name.map(|name| canonical(name).map_err(refusal(name))).transpose()?;
        let is_public = owner.starts_with('@');
        let mut found = Vec::new();
        for row in snapshot.by_index_prefix::<MailboxByName>(&(id,)) {
            let row = row?;
            let acl = acl_of(&snapshot, &row)?;
            let is_wanted = match &wanted {
                Some(wanted) => *wanted == row.name,
                None => is_public || acl.len() > 1,
            };
            if is_wanted {
                found.push(Shared { owner: owner.clone(), mailbox: row.name, acl });
            }
        }
        match name {
            Some(name) if found.is_empty() => Err(Refusal::Missing(format!("mailbox {name}"))),
            _ => Ok(found),
        }
    }

    /// Changes what somebody may do with a mailbox, as an admin: `lrs`, `+w`, `-w`, or nothing.
    ///
    /// # Errors
    /// There is no such owner, mailbox or account, the rights will not do, or the database failed.
    pub async fn set_rights_as_admin(
        &self,
        owner: &str,
        name: &str,
        (identifier, rights): (&str, &str),
    ) -> Result<(), Refusal> {
        let change = parsed(rights)?;
        let id = self.owner(owner)?;
        let name = canonical(name).map_err(refusal(name))?;
        let put = |tx: &mut WriteTx<'_>| -> Result<(), Refusal> {
            let row = tx.find::<MailboxByName>(&(id, name.clone()))?;
            let row = row.ok_or_else(|| Refusal::Missing(format!("mailbox {name}")))?;
            put_rights(tx, &row, identifier, change).map_err(refusal(identifier))
        };
        self.db.write(put)?.await?;
        self.tell(TraceId(0), id, &name, "rights changed");
        Ok(())
    }

    /// The number of an owner: an account by its address, public mailboxes by `@domain`.
    fn owner(&self, name: &str) -> Result<u64, Refusal> {
        let snapshot = self.db.snapshot();
        let found = match name.strip_prefix('@') {
            Some(domain) => {
                let public = snapshot.get::<PublicRow>(domain_name(domain)?.as_str())?;
                public.map(|public| public.owner)
            }
            None => {
                let account = snapshot.find::<AccountByAddress>(name.to_lowercase().as_str())?;
                account.map(|account| account.id)
            }
        };
        found.ok_or_else(|| match name.starts_with('@') {
            true => Refusal::Missing(format!("public mailbox of {name}")),
            false => Refusal::Missing(format!("account {name}")),
        })
    }

    /// The owner of the public mailboxes of a domain; made, should there be none yet.
    async fn public_owner(&self, domain: &str) -> Result<u64, Refusal> {
        let domain = domain_name(domain)?;
        let made = self.db.write(|tx| {
            if let Some(public) = tx.get::<PublicRow>(domain.as_str())? {
                return Ok(public.owner);
            }
            if !tx.contains::<Domain>(domain.as_str())? {
                return Err(Refusal::Missing(format!("domain {domain}")));
            }
            let owner = seed::account_id(tx)?;
            tx.put(&PublicRow { domain: domain.clone(), owner })?;
            Ok(owner)
        })?;
        Ok(made.await?)
    }
}

fn parsed(rights: &str) -> Result<RightsChange, Refusal> {
    RightsChange::parse(rights).ok_or_else(|| {
        Refusal::Invalid(format!(
            "{rights:?} are no rights: some of lrswipkxtea, with + or - before them to change some"
        ))
    })
}

/// What an admin is told of a failure that is about a mailbox, or an identifier, of this name.
fn refusal(name: &str) -> impl Fn(Failure) -> Refusal + use<'_> {
    move |failure| match failure {
        Failure::NoSuchMailbox => Refusal::Missing(format!("mailbox {name}")),
        Failure::Exists => Refusal::Exists(format!("the mailbox {name}")),
        Failure::NotAllowed(why) | Failure::Limit(why) => {
            Refusal::Invalid(format!("{name:?}: {why}"))
        }
        other => Refusal::Store(other),
    }
}
